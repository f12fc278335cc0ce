import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { firstIs, focused, search, tile, until } from "./steps.mjs";

export async function everything_by_keys_alone({ open }) {
  const page = await open();
  await tile(page, 0).waitFor();
  await page.keyboard.press("?");
  await page.locator("dialog[open]").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("dialog[open]").waitFor({ state: "detached" });
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("/");
  assert.equal(await focused(page), "search");
  await page.keyboard.type("red");
  await page.keyboard.press("Enter");
  await firstIs(page, "red.png", "turned.jpg");
  await page.keyboard.press("ArrowDown");
  const is = (wanted) => until(() => focused(page), (seen) => seen === wanted, `the focus on ${wanted}`);
  await is("0");
  await page.keyboard.press("ArrowRight");
  await is("1");
  await page.keyboard.press("x");
  await page.keyboard.press("ArrowRight");
  await is("2");
  await page.keyboard.press("x");
  await page.locator("text=2 selected").waitFor();
  await page.keyboard.press("End");
  await is("16");
  await page.keyboard.press("ArrowUp");
  await until(() => focused(page), (seen) => Number(seen) < 16, "the line above");
  await page.keyboard.press("Home");
  await is("0");
  await page.keyboard.press("Enter");
  await page.locator(".lightbox").waitFor();
  const name = await page.locator(".details h2").textContent();
  await page.keyboard.press("ArrowRight");
  await until(() => page.locator(".details h2").textContent(), (seen) => seen !== name, "the next picture");
  await page.keyboard.press("Escape");
  await page.locator(".lightbox").waitFor({ state: "detached" });
  // Where one has come to, not where one began.
  await is("1");
  // The actions of the tile with the focus come next.
  await page.keyboard.press("Tab");
  assert.match(await page.evaluate(() => document.activeElement.className), /tile-choose/);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.locator("[role=menu]").waitFor();
  assert.match(await page.evaluate(() => document.activeElement.textContent), /More like this/);
  await page.keyboard.press("Escape");
  assert.match(await page.evaluate(() => document.activeElement.className), /tile-more/);
}

const hit = (id, relevance) => ({
  item: `made:${id}`, library: "colours", id, kind: "image", name: `${id}.jpg`, path: `/p/${id}.jpg`, score: 1 - id / 20_000, relevance,
  width: [300, 200, 400][id % 3], height: 250, size: 1000, modified: 1.7e9, taken: null, camera: null, text: null, caption: null, tags: [], online: true, version: "a",
});

/** Answer searches with made-up results, as many as asked for. */
async function madeUp(page, total, relevant) {
  await page.route("**/v1/search", async (route) => {
    const { k, offset } = route.request().postDataJSON();
    const hits = Array.from({ length: Math.max(0, Math.min(k, total - offset)) }, (_, at) => hit(offset + at, offset + at < relevant ? 0.9 : 0.1));
    await route.fulfill({ json: { query: "x", hits, relevance_ends: Math.max(0, Math.min(hits.length, relevant - offset)), took_ms: 1 } });
  });
  await page.route("**/thumbnail*", (route) => route.fulfill({ contentType: "image/svg+xml", body: '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3 2"><rect width="3" height="2"/></svg>' }));
}

export async function ten_thousand_results_are_few_elements({ open }) {
  const page = await open();
  await madeUp(page, 12_000, 30);
  await search(page, "many");
  const end = page.locator(".end", { hasText: "The first 10,000 results" });
  for (let turn = 0; turn < 300 && !(await end.count()); turn++) {
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await page.waitForTimeout(40);
  }
  await end.waitFor();
  assert.ok((await page.locator(".tile").count()) < 200);
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight / 2));
  await until(() => page.locator(".tile img.there").count(), (count) => count > 5, "pictures in the middle");
  const middle = await page.locator(".tile-open").last().getAttribute("data-tile");
  assert.ok(Number(middle) > 3000, middle);
  // The tile that has the focus is kept, so keys go on from where they were.
  await tile(page, Number(middle)).focus();
  await page.evaluate(() => scrollTo(0, 0));
  await page.waitForTimeout(300);
  assert.equal(await focused(page), middle);
  await page.keyboard.press("End");
  await until(() => focused(page), (seen) => seen === "9999", "the last");
}

export async function what_flies_by_is_not_waited_for({ open }) {
  const page = await open("", { expected: /ERR_ABORTED/ });
  await madeUp(page, 2000, 0);
  await page.unroute("**/thumbnail*");
  // Nothing comes: what is asked for stays asked for, until it is out of sight.
  const asked = new Set();
  const idOf = (request) => /made%3A(\d+)/.exec(request.url())?.[1] ?? "other";
  await page.route("**/thumbnail*", () => undefined);
  // Both by the page's events, which keep their order: a route may be told of a request after its end.
  page.on("request", (request) => request.url().includes("/thumbnail") && asked.add(idOf(request)));
  page.on("requestfailed", (request) => asked.delete(idOf(request)));
  // On a slow machine, where tiles are gone before the browser has painted them.
  const slow = await page.context().newCDPSession(page);
  await slow.send("Emulation.setCPUThrottlingRate", { rate: 10 });
  await search(page, "many");
  await until(() => asked.has("12"), (seen) => seen, "the first pictures");
  for (let turn = 0; turn < 4; turn++) {
    await page.evaluate(() => scrollBy(0, 2500));
    await page.waitForTimeout(250);
  }
  const waitedFor = async () => ({ asked: asked.size, inSight: await page.locator(".tile").count() });
  await until(waitedFor, (seen) => seen.asked > 0 && seen.asked <= seen.inSight, "at most those in sight");
  assert.ok(!asked.has("12"));
}

export async function grouped_by_date_and_where_relevance_ends({ open }) {
  const page = await open();
  await madeUp(page, 60, 12);
  await search(page, "some");
  await page.locator(".grid-heading.ends").waitFor();
  assert.match(await page.locator(".found").textContent(), /12 relevant of 60/);
  const above = await page.locator(".grid-row").evaluateAll((rows) => {
    const line = document.querySelector(".grid-heading.ends").getBoundingClientRect().top;
    return rows.filter((row) => row.getBoundingClientRect().top < line).flatMap((row) => [...row.children]).length;
  });
  assert.equal(above, 12);
  await page.selectOption("#arrange", "day");
  await page.locator(".grid-heading h2", { hasText: "14 Nov 2023" }).waitFor();
  assert.match(page.url(), /arrange=day/);
  // By date stand the relevant ones; of how many more is said, and can be chosen.
  assert.match(await page.locator("#best option:checked").textContent(), /the 12 relevant/);
  assert.equal(await page.locator(".tile").count(), 12);
  await page.selectOption("#best", { label: "of the best 50" });
  await page.locator(".end", { hasText: "The best 50" }).waitFor();
  assert.match(page.url(), /best=50/);
}

export async function selected_results_are_exported({ open }) {
  const page = await open("#/search?q=red");
  await firstIs(page, "red.png", "turned.jpg");
  for (const index of [0, 1]) {
    await tile(page, index).hover();
    await page.locator(".tile-choose").nth(index).click();
  }
  const saved = async (what) => {
    await page.locator(".selection [aria-label='Export']").click();
    return (await Promise.all([page.waitForEvent("download"), page.locator("[role=menuitem]", { hasText: what }).click()]))[0];
  };
  const json = await saved("JSON");
  const items = JSON.parse(readFileSync(await json.path(), "utf8"));
  assert.deepEqual(items.map((one) => one.name).sort(), ["red.png", "turned.jpg"]);
  const csv = await saved("CSV");
  const lines = readFileSync(await csv.path(), "utf8").trim().split("\r\n");
  assert.equal(lines.length, 3);
  assert.match(lines[0], /^item,library,kind,name,path,score/);
  await page.locator(".selection [aria-label='Export']").click();
  await page.locator("[role=menuitem]", { hasText: "Copy the paths" }).click();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^\/.+(red\.png|turned\.jpg)\n\/.+(red\.png|turned\.jpg)$/);
  const [zip] = await Promise.all([page.waitForEvent("download"), page.locator("[aria-label='Download them']").click()]);
  const names = execFileSync("python3", ["-m", "zipfile", "-l", await zip.path()], { encoding: "utf8" });
  assert.match(names, /red\.png[^]*turned\.jpg|turned\.jpg[^]*red\.png/);
  execFileSync("python3", ["-m", "zipfile", "-t", await zip.path()]);
  await page.locator("[aria-label='More like these']").click();
  await until(() => decodeURIComponent(page.url()), (seen) => (seen.match(/~colours:\d+/g) ?? []).length === 2, "both in the query");
  await page.locator("[aria-label='Clear the selection']").click();
  await page.locator(".selection").waitFor({ state: "detached" });
}

export async function chosen_by_touch({ open }) {
  const page = await open("#/search?q=red", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await firstIs(page, "red.png", "turned.jpg");
  // A corner that shows nothing chooses nothing.
  await tile(page, 0).tap({ position: { x: 12, y: 12 } });
  await page.locator(".lightbox").waitFor();
  await page.locator(".over.close").tap();
  await page.locator(".lightbox").waitFor({ state: "detached" });
  await page.locator(".tile-more").first().tap();
  await page.locator("[role=menuitem]", { hasText: "Select" }).tap();
  await page.locator("text=1 selected").waitFor();
  await tile(page, 1).tap();
  await page.locator("text=2 selected").waitFor();
  assert.equal(await page.locator(".lightbox").count(), 0);
}
