// What scenarios share.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

export const tile = (page, index) => page.locator(`[data-tile="${index}"]`);

/** Names of the results in sight, in their order. */
export const names = (page) => page.locator(".tile-name").allTextContents();

/** Until something holds; it says what it saw last. */
export async function until(see, holds, what, milliseconds = 15_000) {
  const end = Date.now() + milliseconds;
  let seen;
  do {
    seen = await see();
    if (holds(seen)) return seen;
    await new Promise((go) => setTimeout(go, 60));
  } while (Date.now() < end);
  return assert.fail(`${what}: saw ${JSON.stringify(seen)}`);
}

export const firstIs = (page, ...wanted) => until(() => names(page), (seen) => wanted.includes(seen[0]), `${wanted.join(" or ")} first`);

export async function search(page, text) {
  await page.fill("#search", text);
  await page.press("#search", "Enter");
}

/** Drop a file of this machine on a part of the page. */
export async function drop(page, selector, file, type) {
  const data = await page.evaluateHandle(([bytes, name, kind]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0))], name, { type: kind }));
    return transfer;
  }, [readFileSync(file).toString("base64"), basename(file), type]);
  for (const event of ["dragenter", "dragover", "drop"]) await page.dispatchEvent(selector, event, { dataTransfer: data });
}

export const focused = (page) => page.evaluate(() => document.activeElement?.dataset.tile ?? document.activeElement?.id ?? "");
