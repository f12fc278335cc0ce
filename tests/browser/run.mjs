// node run.mjs FILE/SCENARIO '{"address": …}': one scenario of scenarios/FILE.mjs in a fresh browser.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(import.meta.dirname, "../../web/package.json"));
const { chromium } = require("playwright-core");

const [, , scenario, text] = process.argv;
const given = JSON.parse(text);
const [file, name] = scenario.split("/");
const { [name]: act } = await import(`./scenarios/${file}.mjs`);
if (!act) throw new Error(`there is no scenario ${scenario}`);

const browser = await chromium.launch({ executablePath: given.chromium, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const troubles = [];

/** A page of its own. What a browser complains about fails the scenario, unless it is expected. */
async function open(hash = "", { expected = null, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ["clipboard-read", "clipboard-write"], ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const note = (message) => expected?.test(message) || troubles.push(message);
  page.on("pageerror", (error) => note(`error in the page: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && note(`console: ${message.text()}`));
  page.on("request", (request) => /^(https?:)/.test(request.url()) && !request.url().startsWith(given.address) && note(`asked elsewhere: ${request.url()}`));
  await page.goto(`${given.address}/${hash}`);
  return page;
}

try {
  await act({ ...given, open, axe: require.resolve("axe-core/axe.min.js") });
  if (troubles.length) throw new Error(troubles.join("\n"));
} finally {
  await browser.close();
}
