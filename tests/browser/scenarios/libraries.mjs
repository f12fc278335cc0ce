import assert from "node:assert/strict";
import { firstIs, until } from "./steps.mjs";

export async function uploads_with_progress_and_failures({ open, pictures }) {
  const page = await open("#/libraries");
  await page.fill(".card.new input", "trip");
  await page.keyboard.press("Enter");
  await page.locator("h1", { hasText: "trip" }).waitFor();
  const files = ["meadow.png", "poppy.png", "poppy again.jpg", "broken.jpg", "sea.zip"].map((name) => `${pictures}/uploads/${name}`);
  await page.setInputFiles("#files", files);
  await page.locator(".job").waitFor();
  await page.locator(".job.done").waitFor();
  const failures = page.locator(".failures");
  assert.match(await failures.textContent(), /1 file failed/);
  assert.match(await failures.locator("tbody").textContent(), /broken\.jpg.+/);
  await until(() => page.locator(".numbers").textContent(), (seen) => seen.startsWith("4pictures"), "four pictures");
  await page.locator("text=Look for duplicates").click();
  await page.locator(".cluster").waitFor();
  assert.deepEqual((await page.locator(".twin-name").allTextContents()).sort(), ["poppy again.jpg", "poppy.png"]);
  await page.locator("a", { hasText: "Show pictures" }).click();
  await page.fill("#search", "green");
  await page.keyboard.press("Enter");
  await firstIs(page, "meadow.png");
  assert.match(page.url(), /in=trip/);
}

export async function a_folder_of_the_service({ open, pictures }) {
  const page = await open("#/libraries", { expected: /403/ });
  await page.fill(".card.new input", "folders");
  await page.keyboard.press("Enter");
  await page.locator(".add-folder input").fill("/etc");
  await page.keyboard.press("Enter");
  await page.locator(".add-folder .wrong").waitFor();
  await page.locator(".add-folder input").fill(`${pictures}/more`);
  await page.keyboard.press("Enter");
  await page.locator(".job.done").waitFor();
  await until(() => page.locator(".numbers").textContent(), (seen) => seen.startsWith("12pictures"), "twelve pictures");
}
