// A reader in a real browser: opens a chapter of a served site, runs it, solves an exercise wrongly and then rightly.
//     CHAPTER=name EXERCISE="checks.check_…(" ANSWERS='[[code, words of the verdict], …]' \
//     node site.mjs URL CHROMIUM PLAYWRIGHT-CORE [FOLDER for screenshots]
// prints one line of JSON.  Whatever is not on the site's own host is refused, and noted.
import path from "node:path";
import { createRequire } from "node:module";

const [url, executablePath, library, pictures] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(path.resolve(library));
const { CHAPTER, EXERCISE, ANSWERS } = process.env;
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const report = { elsewhere: [], verdicts: [] };
const started = performance.now();
const seconds = () => Math.round((performance.now() - started) / 100) / 10;
const browser = await chromium.launch({ executablePath, args: QUIET });
let page;
const shot = async (name) => pictures && (await page?.screenshot({ path: path.join(pictures, `${name}.png`) }));
try {
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.route("**", (route) => {
    const to = new URL(route.request().url());
    if (to.origin === new URL(url).origin || to.protocol === "data:" || to.protocol === "blob:") return route.continue();
    report.elsewhere.push(to.origin);
    return route.abort();
  });
  page.setDefaultTimeout(150_000);
  await page.goto(`${url}/notebooks/index.html?path=notebooks/${CHAPTER}.ipynb`);
  await page.locator(".jp-CodeCell").first().waitFor();
  report.opened = seconds();
  await shot("opened");
  const cell = page.locator(".jp-CodeCell", { hasText: EXERCISE });
  const output = cell.locator(".jp-OutputArea");

  // from a clean kernel, with the stored outputs taken away: what is seen then was computed here
  const menu = async (name, item) => {
    await page.getByRole("menuitem", { name, exact: true }).click();
    await page.getByRole("menuitem", { name: item }).first().click();
  };
  await menu("Edit", "Clear Outputs of All Cells");
  await menu("Run", "Run All Cells");
  const figure = page.locator(".jp-CodeCell img").first();
  await figure.waitFor({ state: "attached" });
  report.figure = await figure.evaluate(async (image) => { await image.decode(); return image.naturalWidth; });
  report.figures = seconds();
  await figure.scrollIntoViewIfNeeded();
  await shot("figure");

  for (const [i, [text, expected]] of JSON.parse(ANSWERS).entries()) {
    await cell.scrollIntoViewIfNeeded(); // a cell out of sight has no editor yet
    await cell.locator(".cm-content").click();
    await page.keyboard.press("Control+a");
    await page.keyboard.insertText(text);
    await page.keyboard.press("Shift+Enter");
    await output.filter({ hasText: expected }).waitFor();
    report.verdicts.push((await output.innerText()).trim().slice(0, 300));
    await cell.scrollIntoViewIfNeeded();
    await shot(`verdict-${i}`);
  }
  report.seconds = seconds();
} catch (error) {
  report.failed = String(error.message ?? error).slice(0, 1500);
  await shot("failed");
} finally {
  await browser.close();
}
console.log(JSON.stringify(report));
process.exit(report.failed ? 1 : 0);
