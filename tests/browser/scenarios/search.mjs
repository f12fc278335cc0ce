import assert from "node:assert/strict";
import { drop, firstIs, names, search, tile, until } from "./steps.mjs";

export async function words_find_pictures_and_the_way_back_works({ open }) {
  const page = await open();
  await search(page, "red");
  await firstIs(page, "red.png", "turned.jpg");
  assert.match(page.url(), /q=red/);
  await search(page, "green");
  await firstIs(page, "green.png");
  await page.goBack();
  await firstIs(page, "red.png", "turned.jpg");
  assert.equal(await page.inputValue("#search"), "red");
  await page.reload();
  await firstIs(page, "red.png", "turned.jpg");
  await page.locator("[aria-label='Clear the search']").click();
  await until(() => page.locator(".tile").count(), (count) => count === 17, "all pictures");
}

export async function filters_are_completed_and_become_chips({ open }) {
  const page = await open();
  await page.locator("#search").pressSequentially("red ex");
  await page.locator("[role=option]", { hasText: "ext:" }).waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.equal(await page.inputValue("#search"), "red ext:");
  await page.locator("[role=option]", { hasText: "ext:webp" }).waitFor();
  await page.keyboard.type("webp ");
  await page.locator(".chip", { hasText: "ext webp" }).waitFor();
  assert.equal(await page.inputValue("#search"), "red ");
  await until(() => names(page), (seen) => seen.join() === "tall.webp", "only the WebP");
  await page.keyboard.press("Home");
  await page.keyboard.press("Backspace");
  assert.equal(await page.inputValue("#search"), "red ext:webp");
  await page.keyboard.press("Enter");
  await page.locator("[aria-label='Remove ext webp']").click();
  await firstIs(page, "red.png", "turned.jpg");
}

export async function a_mistake_is_shown_where_it_stands({ open }) {
  const page = await open("", { expected: /400/ });
  await search(page, "red befor:2023");
  const trouble = page.locator(".trouble");
  await trouble.waitFor();
  assert.match(await trouble.textContent(), /befor/);
  assert.match(await trouble.textContent(), /Did you mean before/);
  const [line, pointer] = (await page.locator(".pointer").textContent()).split("\n");
  assert.equal(line.slice(pointer.indexOf("▲"), pointer.indexOf("▲") + 5), "befor");
}

export async function a_picture_that_is_dropped_is_searched_by_and_combined({ open, pictures }) {
  const page = await open();
  await drop(page, "main", `${pictures}/green.png`, "image/png");
  await firstIs(page, "green.png");
  await page.locator(".chip img").waitFor();
  await drop(page, "main", `${pictures}/red.png`, "image/png");
  await until(() => page.locator(".chip img").count(), (count) => count === 2, "two pictures");
  // Pressed, a picture offers what it may count.
  await page.locator("[aria-label^='Like green.png']").click();
  await page.locator("[role=menuitem]", { hasText: "Without it" }).click();
  await firstIs(page, "red.png", "turned.jpg");
  await page.locator("[aria-label='Remove green.png']").click();
  await page.locator("[aria-label='Remove red.png']").click();
  await page.setInputFiles("#picture", `${pictures}/blue.png`);
  await firstIs(page, "blue.png", "tall.webp");
  await search(page, "ext:png");
  await firstIs(page, "blue.png");
}

export async function more_less_and_without_this({ open }) {
  const page = await open("#/search?q=path:*.png");
  await firstIs(page, ...["red", "green", "blue"].map((name) => `${name}.png`), ...Array.from({ length: 12 }, (_, at) => `${at}.png`));
  const at = (await names(page)).indexOf("green.png");
  await tile(page, at).focus();
  await page.keyboard.press("m");
  await firstIs(page, "green.png");
  assert.match(decodeURIComponent(page.url()), /~colours:\d+/);
  await page.locator(".chip .chip-picture").waitFor();
  await page.locator(".chip [aria-haspopup=menu]").click();
  await page.locator("[role=menuitem]", { hasText: "Twice as much" }).click();
  await until(() => decodeURIComponent(page.url()), (seen) => /q=.*2\*~colours:\d+/.test(seen), "twice as much");
  await firstIs(page, "green.png");
  const red = (await names(page)).indexOf("red.png");
  await tile(page, red).hover();
  await page.locator(".tile-more").nth(red).click();
  await page.locator("[role=menuitem]", { hasText: "Less like this" }).click();
  assert.match(decodeURIComponent(page.url()), /-0\.2\*~colours:\d+/);
  await firstIs(page, "green.png");
  // It is all that is wanted: without it there would be nothing to look for.
  await tile(page, 0).focus();
  await page.keyboard.press("w");
  await page.locator(".note", { hasText: "what you look for" }).waitFor();
  const blue = (await names(page)).indexOf("blue.png");
  await tile(page, blue).focus();
  await page.keyboard.press("w");
  await until(() => decodeURIComponent(page.url()), (seen) => /-~colours:\d+/.test(seen), "without blue");
  await firstIs(page, "green.png");
}

export async function upright_is_upright({ open }) {
  const page = await open("#/search?q=ext:jpg");
  await firstIs(page, "turned.jpg");
  const image = page.locator(".tile img.there");
  const { width, height } = await image.evaluate((one) => ({ width: one.naturalWidth, height: one.naturalHeight }));
  assert.ok(height > width, `${width} × ${height}`);
}
