// What one had is there when one comes back, and what is new is told.
import assert from "node:assert/strict";
import { drop, firstIs, names, search, tile, until } from "./steps.mjs";

const scrolled = (page) => page.evaluate(() => Math.round(scrollY));

export async function coming_back_finds_what_one_left({ open }) {
  const page = await open("", { viewport: { width: 700, height: 420 } });
  await search(page, "red");
  await firstIs(page, "red.png", "turned.jpg");
  await page.evaluate(() => scrollTo(0, 500));
  await until(() => page.evaluate(() => history.state?.scroll), (seen) => seen === 500, "the place is kept");
  const last = (await names(page)).at(-1);
  await tile(page, 9).focus();
  await page.keyboard.press("m");
  await page.locator(".chip .chip-picture").waitFor();
  // New results begin at their beginning.
  await until(() => scrolled(page), (seen) => seen === 0, "at the top");
  await page.goBack();
  await until(() => scrolled(page), (seen) => seen === 500, "where one was");
  assert.ok((await names(page)).includes(last));
  // Other views and back: the search is the one that one left.
  await page.locator("nav a", { hasText: "Libraries" }).click();
  await page.locator("h1", { hasText: "Libraries" }).waitFor();
  assert.equal(await scrolled(page), 0);
  await page.locator("nav a", { hasText: "Search" }).click();
  await firstIs(page, "red.png", "turned.jpg");
  assert.equal(await page.inputValue("#search"), "red");
  await page.locator("nav a", { hasText: "Workbench" }).click();
  await page.fill("textarea", "my own label");
  await page.locator("[role=tab]", { hasText: "Map" }).click();
  await page.locator("[role=tab]", { hasText: "Labels" }).click();
  assert.equal(await page.inputValue("textarea"), "my own label");
  await page.locator("h1").click();
  await page.keyboard.press("/");
  await until(() => page.evaluate(() => document.activeElement?.id), (seen) => seen === "search", "the box, from the workbench");
}

export async function closing_a_picture_is_the_way_back({ open }) {
  const page = await open("#/search?q=red");
  await firstIs(page, "red.png", "turned.jpg");
  const before = await page.evaluate(() => history.length);
  for (const turn of [1, 2, 3]) {
    await tile(page, turn).click();
    await page.locator(".lightbox").waitFor();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Escape");
    await page.locator(".lightbox").waitFor({ state: "detached" });
  }
  assert.ok((await page.evaluate(() => history.length)) <= before + 1);
  await page.goBack().catch(() => null);
  assert.equal(await page.locator(".lightbox").count(), 0);
}

export async function the_first_pictures_are_dropped_where_they_are_missed({ open, pictures }) {
  const page = await open();
  await page.locator(".empty", { hasText: "No pictures here yet" }).waitFor();
  await page.locator(".drop-zone").waitFor();
  await drop(page, "main", `${pictures}/red.png`, "image/png");
  await until(() => names(page), (seen) => seen.join() === "red.png", "the first picture");
  // From now on a picture that is dropped is one to search by.
  await drop(page, "main", `${pictures}/green.png`, "image/png");
  await page.locator(".chip img").waitFor();
}

export async function what_is_new_is_told({ open, pictures }) {
  const page = await open("#/search?in=colours");
  await tile(page, 0).waitFor();
  await page.locator("nav a", { hasText: "Libraries" }).click();
  await page.fill(".card.new input", "growing");
  await page.keyboard.press("Enter");
  await page.locator("h1", { hasText: "growing" }).waitFor();
  await page.locator("a", { hasText: "Show pictures" }).click();
  await page.locator(".empty", { hasText: "No pictures here yet" }).waitFor();
  // Somebody else adds one, and who waits for the first sees it come.
  const other = await open("#/libraries/growing");
  await other.setInputFiles("#files", `${pictures}/red.png`);
  await other.locator(".job.done").waitFor();
  await page.evaluate(() => dispatchEvent(new Event("focus")));
  await until(() => names(page), (seen) => seen.join() === "red.png", "the first picture");
  await other.setInputFiles("#files", `${pictures}/green.png`);
  await other.locator(".numbers", { hasText: "2pictures" }).waitFor();
  await page.evaluate(() => dispatchEvent(new Event("focus")));
  await page.locator("button", { hasText: "Show what is new" }).click();
  await until(() => page.locator(".tile").count(), (count) => count === 2, "both");
  // What was there too much is taken away again.
  await tile(page, 0).click();
  await page.locator(".details button", { hasText: "Remove" }).click();
  await page.locator("button", { hasText: "Remove it" }).click();
  await page.locator(".note", { hasText: "was deleted" }).waitFor();
  await page.keyboard.press("Escape");
  await until(() => page.locator(".tile").count(), (count) => count === 1, "the other one");
}
