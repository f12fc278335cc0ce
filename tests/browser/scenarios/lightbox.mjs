import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { firstIs, tile, until } from "./steps.mjs";

export async function shows_why_and_where({ open, pictures }) {
  const page = await open("#/search?q=red+-blue");
  await firstIs(page, "red.png", "turned.jpg");
  await tile(page, 0).click();
  const bars = page.locator(".details .bars li");
  await until(() => bars.count(), (count) => count === 2, "a bar for each term");
  assert.match(await bars.nth(0).textContent(), /red/);
  assert.match(await bars.nth(1).textContent(), /blue × −0.5/);
  await page.locator("button", { hasText: "Show where" }).click();
  await page.locator("canvas.heat").waitFor();
  const width = await page.locator("canvas.heat").evaluate((canvas) => canvas.width);
  assert.equal(width, 7);
  await page.locator("button", { hasText: "Hide where" }).click();
  await page.locator("canvas.heat").waitFor({ state: "detached" });
  await until(() => page.locator(".original.there").count(), (count) => count === 1, "the file itself");
  await page.locator("button", { hasText: "Copy path" }).click();
  const path = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(path, /(red\.png|turned\.jpg)$/);
  const [file] = await Promise.all([page.waitForEvent("download"), page.locator(".details button", { hasText: "Download" }).click()]);
  const name = file.suggestedFilename();
  assert.deepEqual(readFileSync(await file.path()), readFileSync(`${pictures}/${name}`));
  await page.fill("[aria-label='Add a tag']", "garden");
  await page.keyboard.press("Enter");
  await page.locator(".tags .chip", { hasText: "garden" }).waitFor();
  assert.match(page.url(), /item=colours/);
  await page.goBack();
  await page.locator(".lightbox").waitFor({ state: "detached" });
  const linked = await open("#/search?q=tag:garden");
  await until(() => linked.locator(".tile").count(), (count) => count === 1, "what was tagged");
}

export async function comes_nearer_and_turns_the_pages({ open }) {
  const page = await open("#/search?q=red");
  await firstIs(page, "red.png", "turned.jpg");
  await tile(page, 0).click();
  const picture = page.locator(".stage-picture");
  const shown = page.locator(".details h2");
  const name = await shown.textContent();
  await picture.waitFor();
  await page.keyboard.press("z");
  await page.locator(".stage-picture.near").waitFor();
  const place = () => page.locator(".stage-zoom").evaluate((one) => one.style.transform);
  const before = await place();
  await page.keyboard.press("ArrowRight");
  await until(place, (seen) => seen !== before, "it moved");
  assert.equal(await shown.textContent(), name);
  await page.keyboard.press("0");
  await page.locator(".stage-picture.near").waitFor({ state: "detached" });
  await picture.click();
  await page.locator(".stage-picture.near").waitFor();
  await picture.click();
  await page.locator(".stage-picture.near").waitFor({ state: "detached" });
  // A drag across is the next one; another the other way is this one again.
  const box = await picture.boundingBox();
  const drag = async (from, to) => {
    await page.mouse.move(box.x + from * box.width, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + to * box.width, box.y + box.height / 2, { steps: 5 });
    await page.mouse.up();
  };
  await drag(0.8, 0.3);
  await until(() => shown.textContent(), (seen) => seen !== name, "the next");
  await drag(0.3, 0.8);
  await until(() => shown.textContent(), (seen) => seen === name, "the first");
  await page.keyboard.press("i");
  await page.locator(".details").waitFor({ state: "detached" });
  await page.locator("[aria-label='Details']").click();
  await page.locator(".details").waitFor();
}
