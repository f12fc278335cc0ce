import assert from "node:assert/strict";
import { firstIs, search, tile, until } from "./steps.mjs";

export async function a_key_is_asked_for_and_sent({ open, key }) {
  const page = await open();
  await page.locator("dialog", { hasText: "A key is needed" }).waitFor();
  await page.fill("dialog input", "xl_wrong");
  await page.keyboard.press("Enter");
  await page.locator("#wrong-key", { hasText: "does not know" }).waitFor();
  await page.fill("dialog input", key);
  await page.keyboard.press("Enter");
  await tile(page, 0).waitFor();
  await search(page, "green");
  await firstIs(page, "green.png");
  // An <img> cannot send a key, so pictures come as blobs.
  await until(() => page.locator(".tile img.there").count(), (count) => count > 5, "pictures");
  assert.match(await page.locator(".tile img.there").first().getAttribute("src"), /^blob:/);
  assert.ok(!page.url().includes(key));
  assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes("xl_")), false);
  // A key that may only read makes no library.
  await page.locator("nav a", { hasText: "Libraries" }).click();
  await page.locator(".card").waitFor();
  assert.equal(await page.locator(".card.new").count(), 0);
  await page.reload();
  await page.locator(".card").waitFor();
  await page.locator("button", { hasText: "Forget the key" }).click();
  await page.locator("dialog", { hasText: "A key is needed" }).waitFor();
}
