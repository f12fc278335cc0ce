import assert from "node:assert/strict";
import { until } from "./steps.mjs";

export async function labels_pairs_and_matrix({ open, pictures }) {
  const page = await open("#/workbench/labels");
  await page.fill("textarea", "green\nred\nblue");
  await page.setInputFiles("input[type=file]", `${pictures}/red.png`);
  const bars = page.locator(".bars.large li");
  await until(() => bars.count(), (count) => count === 3, "three bars");
  assert.match(await bars.first().textContent(), /^red/);
  const shares = (await page.locator(".bar-value").allTextContents()).map((text) => parseFloat(text.replace("<", "")));
  assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 100) < 2, `${shares}`);

  await page.locator("[role=tab]", { hasText: "Pairs" }).click();
  await page.fill(".pairs input", "red");
  await page.locator(".verdict b").waitFor();
  assert.match(await page.locator(".verdict").textContent(), /\d %.*similarity 0\.\d{3}/);

  await page.locator("[role=tab]", { hasText: "Pairs" }).press("ArrowRight");
  await page.setInputFiles("input[type=file]", `${pictures}/green.png`);
  await page.fill("textarea", "red\ngreen");
  await until(() => page.locator(".matrix tbody td").count(), (count) => count === 4, "two by two");
  const cells = (await page.locator(".matrix tbody td").allTextContents()).map(Number);
  assert.ok(cells[1] > cells[0] && cells[2] > cells[3], `green then red: ${cells}`);
  await page.selectOption(".bench select", "images");
  await until(() => page.locator(".matrix tbody td").first().textContent(), (seen) => seen === "1.000", "a picture with itself");
}

export async function the_map({ open }) {
  const page = await open("#/workbench/map");
  const canvas = page.locator(".map canvas");
  await canvas.waitFor();
  await page.locator("text=17 pictures").waitFor();
  await canvas.focus();
  await page.keyboard.press("+");
  await page.keyboard.press("0");
  // To a picture: the middle is looked at with keys, so one goes where one is.
  for (const key of ["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowLeft", "ArrowLeft"]) {
    if (await page.locator(".map-card").count()) break;
    await page.keyboard.press(key);
    await page.waitForTimeout(60);
  }
  const box = await canvas.boundingBox();
  for (let x = 20; x < box.width && !(await page.locator(".map-card").count()); x += 30) {
    for (let y = 20; y < box.height && !(await page.locator(".map-card").count()); y += 36) await page.mouse.move(box.x + x, box.y + y);
  }
  await page.locator(".map-card img.there").waitFor();
  await page.keyboard.press("Enter");
  await page.locator(".lightbox").waitFor();
}
