import assert from "node:assert/strict";
import { focused, names, search, tile, until } from "./steps.mjs";

const panel = (page) => page.locator(".teach");
const mark = (page, name, how) => page.locator(`.tile:has(.tile-name:text-is("${name}")) .mark.${how}`);
const says = (page, text) => panel(page).locator(`text=${text}`).first().waitFor();

async function begin(page, name) {
  await page.click("[aria-label='Teach a concept']");
  await page.fill("dialog input", name);
  await page.keyboard.press("Enter");
  await panel(page).waitFor();
}

export async function marks_change_the_list_and_are_saved_as_a_tag({ open }) {
  const page = await open("#/search?in=colours");
  await tile(page, 0).waitFor();
  await begin(page, "my red");
  assert.match(decodeURIComponent(page.url()), /teach=my\+red/);
  // A no alone tells nothing yet, and waits for the first yes.
  await mark(page, "blue.png", "no").click();
  await says(page, "0 yes · 1 no");
  await mark(page, "red.png", "yes").click();
  await says(page, "1 yes · 1 no · holds for");
  await panel(page).locator(".main").click();
  const found = await until(() => names(page), (seen) => ["red.png", "turned.jpg"].includes(seen[0]) && !seen.includes("blue.png"), "red first, and no blue");
  const other = found.find((name) => name !== "red.png");
  await mark(page, other, "no").click();
  await until(() => names(page), (seen) => seen.length && !seen.includes(other), `a list without ${other}`);
  // What was marked is asked about no more; what is marked there counts as well.
  const suggested = panel(page).locator(".teach-next li");
  await suggested.first().waitFor();
  await suggested.first().locator(".mark.no").click();
  await says(page, "1 yes · 3 no");
  await says(page, "mark 4 more “yes”");

  await panel(page).locator("text=Save as a tag").click();
  await page.fill("dialog input", "colours/red");
  await page.locator("dialog [role=status]", { hasText: "get" }).waitFor();
  await page.locator("dialog .main").click();
  await page.locator(".note", { hasText: "tagged as colours/red" }).waitFor();
  await search(page, "tag:colours ");
  await until(() => names(page), (seen) => seen.includes("red.png"), "the tagged ones");

  // Marks outlive the visit; the library leads back to them.
  await page.goto(page.url().replace(/#.*/, "#/libraries/colours"));
  await page.locator(".chip-text", { hasText: "my red" }).click();
  await says(page, "1 yes · 3 no");
  assert.equal(await mark(page, "red.png", "yes").getAttribute("aria-pressed"), "true");
  await panel(page).locator("text=Forget").click();
  await panel(page).locator("text=Forget it, with its marks?").click();
  await panel(page).waitFor({ state: "detached" });
  await page.locator(".note", { hasText: "forgotten" }).waitFor();
}

export async function taught_by_a_selection_and_by_keys({ open }) {
  const page = await open("#/search?q=red&in=colours");
  await tile(page, 0).waitFor();
  await tile(page, 0).focus();
  await page.keyboard.press("x");
  await page.keyboard.press("ArrowRight");
  await until(() => focused(page), (seen) => seen === "1", "the focus on the second");
  await page.keyboard.press("x");
  await page.locator("[aria-label='Teach by these']").click();
  await page.fill("dialog input", "warm");
  await page.keyboard.press("Enter");
  await says(page, "2 yes · 0 no");
  assert.match(decodeURIComponent(page.url()), /q=concept:warm/);
  await tile(page, 0).focus();
  await page.keyboard.press("y"); // taken back
  await says(page, "1 yes · 0 no");
  await tile(page, 0).focus();
  await page.keyboard.press("n");
  await says(page, "1 yes · 1 no");
  // Stricter: at the end nothing is left but what was marked.
  const before = await page.locator(".tile").count();
  const slider = panel(page).locator("input[type=range]");
  await slider.fill("95");
  await until(() => page.locator(".tile").count(), (seen) => seen >= 1 && seen < before, "fewer");
  await says(page, "0.95");
  await page.locator("[aria-label='Stop teaching']").click();
  await panel(page).waitFor({ state: "detached" });
  await until(() => page.locator(".marks").evaluateAll((all) => all.map((one) => one.parentElement.outerHTML.slice(0, 300))), (seen) => !seen.length, "no marks");
}
