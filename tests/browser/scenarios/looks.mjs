import assert from "node:assert/strict";
import { firstIs, search, tile, until } from "./steps.mjs";

const ground = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
const isDark = ([red]) => red < 60;

export async function dark_and_light({ open }) {
  const dark = await open("", { colorScheme: "dark" });
  assert.ok(isDark(await ground(dark)));
  const light = await open("", { colorScheme: "light" });
  assert.ok(!isDark(await ground(light)));
  const button = light.locator("[aria-label^='Colours']");
  await button.click();
  await button.click();
  assert.ok(isDark(await ground(light)));
  await light.reload();
  assert.ok(isDark(await ground(light)));
}

const VIEWS = ["#/search", "#/search?q=red", "#/search?q=red&teach=seen", "#/search?arrange=day", "#/libraries", "#/libraries/colours", "#/workbench/labels", "#/workbench/pairs", "#/workbench/matrix", "#/workbench/map"];

export async function a_phone({ open, address }) {
  const page = await open("", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
  for (const view of VIEWS) {
    await page.goto(`${address}/${view}`);
    await page.waitForTimeout(300);
    const [inside, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(inside <= window && window === 390, `${view} is ${inside} wide in ${window}`);
  }
  await page.goto(`${address}/#/search?q=red`);
  await tile(page, 0).tap();
  await page.locator(".lightbox .details").waitFor();
  await page.locator(".over.close").tap();
  await page.locator(".tile-more").first().tap();
  await page.locator("[role=menu]").waitFor();
}

/** Results that break off are taken up where they broke off, and not begun anew. */
export async function a_page_that_fails_is_asked_for_again({ open }) {
  const page = await open("", { expected: /500/, viewport: { width: 1000, height: 500 } });
  let isBroken = true;
  await page.route("**/v1/search", async (route) => {
    const { k, offset } = route.request().postDataJSON();
    if (offset && isBroken) return route.fulfill({ status: 500, json: { title: "It broke", status: 500, code: "internal" } });
    const hits = Array.from({ length: k }, (_, at) => ({ item: `made:${offset + at}`, library: "colours", id: at, kind: "image", name: `${offset + at}.jpg`, path: "/p", score: 0.5, relevance: null, width: 300, height: 200, size: 1, modified: 1, taken: null, camera: null, text: null, caption: null, tags: [], online: true, version: "a" }));
    await route.fulfill({ json: { query: "x", hits, relevance_ends: null, took_ms: 1 } });
  });
  await page.route("**/thumbnail*", (route) => route.fulfill({ contentType: "image/svg+xml", body: '<svg xmlns="http://www.w3.org/2000/svg"/>' }));
  await search(page, "many");
  await until(() => page.evaluate(() => (scrollTo(0, document.body.scrollHeight), document.querySelector(".end")?.textContent ?? "")), (seen) => seen.includes("It broke"), "the failure at the end");
  const before = await page.evaluate(() => scrollY);
  isBroken = false;
  await page.locator(".end button").click();
  await until(() => page.evaluate(() => document.body.scrollHeight), (seen) => seen > 2 * before, "the next page below the first");
  assert.ok((await page.evaluate(() => scrollY)) >= before - 200);
}

export async function offline_and_back({ open }) {
  const page = await open("", { expected: /ERR_INTERNET_DISCONNECTED/ });
  await tile(page, 0).waitFor();
  await page.context().setOffline(true);
  await search(page, "green");
  await page.locator(".away", { hasText: "does not answer" }).waitFor();
  // What was there stays, and the search is made up for when the service is back.
  assert.ok((await page.locator(".tile").count()) > 5);
  await page.context().setOffline(false);
  await page.locator(".away").waitFor({ state: "detached" });
  await firstIs(page, "green.png");
}

async function findings(page, axe) {
  await page.addScriptTag({ path: axe }).catch(() => page.evaluate(axe));
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary ?? ""}`).join(" | ")}`);
}

export async function no_finding_of_axe({ open, address, axe, pictures }) {
  for (const colorScheme of ["light", "dark"]) {
    const page = await open("", { colorScheme, bypassCSP: true, expected: /400/ });
    const check = async (what) => assert.deepEqual(await findings(page, axe), [], `${what}, ${colorScheme}`);
    for (const view of [...VIEWS, "#/search?q=red&item=colours:1", "#/search?q=befor:1", "#/search?q=width:>9999"]) {
      await page.goto("about:blank");
      await page.goto(`${address}/${view}`);
      await page.waitForTimeout(900);
      await check(view);
    }
    await page.goto("about:blank");
    await page.goto(`${address}/#/search?q=red+-blue+ext:png`);
    await tile(page, 0).waitFor();
    await page.keyboard.press("?");
    await check("help");
    await page.keyboard.press("Escape");
    await page.click("[aria-label='Teach a concept']");
    await check("what is to be taught");
    await page.fill("dialog input", `seen ${colorScheme}`);
    await page.keyboard.press("Enter");
    await page.locator(".mark.yes").first().click();
    await page.locator(".teach-next li").first().waitFor();
    await page.locator(".mark.no").nth(1).click();
    await page.waitForTimeout(600);
    await check("what is taught");
    await page.click("text=Save as a tag");
    await page.locator("dialog [role=status]").waitFor();
    await check("a tag to be saved");
    await page.keyboard.press("Escape");
    await page.click("[aria-label='Stop teaching']");
    await tile(page, 0).focus();
    await page.keyboard.press("x");
    await page.locator(".tile-more").first().click();
    await check("menu and selection");
    await page.keyboard.press("Escape");
    await page.locator(".selection [aria-label='Export']").click();
    await check("the menu of a selection");
    await page.keyboard.press("Escape");
    await page.locator("#search").pressSequentially("ta");
    await page.locator("[role=option]").first().waitFor();
    await check("completions");
    await page.goto(`${address}/#/workbench/matrix`);
    await page.setInputFiles("input[type=file]", [`${pictures}/red.png`, `${pictures}/green.png`]);
    await page.locator(".matrix").waitFor();
    await page.waitForTimeout(500);
    await check("a matrix");
  }
}

export async function first_paint_is_early({ open, address }) {
  const page = await open();
  const paints = [];
  for (let turn = 0; turn < 5; turn++) {
    await page.goto("about:blank");
    await page.goto(address);
    paints.push(await until(() => page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime), (time) => time > 0, "a paint"));
  }
  // The machine may have other work; the page itself is as fast as its fastest time.
  assert.ok(Math.min(...paints) <= 300, `${paints.map(Math.round)}`);
}
