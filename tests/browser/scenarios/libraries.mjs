import assert from "node:assert/strict";
import { crc32, deflateSync } from "node:zlib";
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

/** A grey picture, which no colour is looked for with: a PNG made by hand. */
function png(shade) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const size = Buffer.alloc(4);
    size.writeUInt32BE(data.length);
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([size, body, sum]);
  };
  const head = Buffer.from([0, 0, 0, 8, 0, 0, 0, 8, 8, 2, 0, 0, 0]);
  const line = Buffer.from([0, ...Array.from({ length: 8 }, () => [shade, shade, shade]).flat()]);
  return Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", head), chunk("IDAT", deflateSync(Buffer.concat(Array(8).fill(line)))), chunk("IEND", Buffer.alloc(0))]);
}

export async function many_files_are_one_upload({ open }) {
  const page = await open("#/libraries");
  await page.fill(".card.new input", "Many Files");
  await page.keyboard.press("Enter");
  // A name that cannot be is not sent.
  assert.equal(await page.locator("input:invalid").count(), 1);
  await page.fill(".card.new input", "many");
  await page.keyboard.press("Enter");
  await page.locator("h1", { hasText: "many" }).waitFor();
  const files = Array.from({ length: 230 }, (_, at) => ({ name: `${at}.png`, mimeType: "image/png", buffer: at % 50 === 7 ? Buffer.from(`nothing ${at}`) : png(at) }));
  await page.setInputFiles("#files", files.slice(0, 120));
  // More may be given while others are on their way.
  await page.setInputFiles("#files", files.slice(120));
  await until(() => page.locator(".numbers").textContent(), (seen) => seen.startsWith("225pictures"), "all but those that are none", 60_000);
  await page.locator(".job.done").waitFor();
  assert.equal(await page.locator(".job").count(), 1);
  assert.match(await page.locator(".job").textContent(), /230 of 230.*5 files failed/);
  await page.reload();
  await page.locator(".job.done").waitFor();
  assert.equal(await page.locator(".job").count(), 1);
}

export async function duplicates_are_selected_but_for_the_first({ open, pictures }) {
  const page = await open("#/libraries");
  await page.fill(".card.new input", "twice");
  await page.keyboard.press("Enter");
  await page.setInputFiles("#files", ["poppy.png", "poppy again.jpg", "meadow.png"].map((name) => `${pictures}/uploads/${name}`));
  await page.locator(".job.done").waitFor();
  await page.locator("button", { hasText: "Look for duplicates" }).click();
  await page.locator(".keep", { hasText: "to keep" }).waitFor();
  await page.locator("button", { hasText: "Select all but the first of each: 1" }).click();
  await page.locator(".selection", { hasText: "1 selected" }).waitFor();
}
