import assert from "node:assert/strict";
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
  await is("0");
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
  await page.selectOption(".toolbar select", "day");
  await page.locator(".grid-heading h2", { hasText: "14 November 2023" }).waitFor();
  assert.match(page.url(), /arrange=day/);
}

export async function selected_results_are_exported({ open }) {
  const page = await open("#/search?q=red");
  await firstIs(page, "red.png", "turned.jpg");
  for (const index of [0, 1]) {
    await tile(page, index).hover();
    await page.locator(".tile-choose").nth(index).click();
  }
  const [json] = await Promise.all([page.waitForEvent("download"), page.locator(".selection button", { hasText: "JSON" }).click()]);
  const items = JSON.parse(readFileSync(await json.path(), "utf8"));
  assert.deepEqual(items.map((one) => one.name).sort(), ["red.png", "turned.jpg"]);
  const [csv] = await Promise.all([page.waitForEvent("download"), page.locator(".selection button", { hasText: "CSV" }).click()]);
  const lines = readFileSync(await csv.path(), "utf8").trim().split("\r\n");
  assert.equal(lines.length, 3);
  assert.match(lines[0], /^item,library,kind,name,path,score/);
  await page.locator("[aria-label='Clear the selection']").click();
  await page.locator(".selection").waitFor({ state: "detached" });
}
