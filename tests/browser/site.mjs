// A reader in a real browser: opens chapter 03 of a served site, runs it, solves an exercise wrongly and then rightly.
//     node site.mjs URL CHROMIUM PLAYWRIGHT-CORE [FOLDER for screenshots]
// prints one line of JSON.  Whatever is not on the site's own host is refused, and noted.
import path from "node:path";
import { createRequire } from "node:module";

const [url, executablePath, library, pictures] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(path.resolve(library));
const report = { elsewhere: [], verdicts: [] };
const started = performance.now();
const seconds = () => Math.round((performance.now() - started) / 100) / 10;
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
let page;
try {
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.route("**", (route) => {
    const to = new URL(route.request().url());
    if (to.origin === new URL(url).origin || to.protocol === "data:" || to.protocol === "blob:") return route.continue();
    report.elsewhere.push(to.origin);
    return route.abort();
  });
  page.setDefaultTimeout(420_000);
  await page.goto(`${url}/lab/index.html?path=notebooks/03_softmax_cross_entropy_layer_norm.ipynb`);
  await page.locator(".jp-CodeCell").first().waitFor();
  report.opened = seconds();
  const cell = page.locator(".jp-CodeCell", { hasText: "checks.check_03_softmax_backward(" });
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
  if (pictures) {
    await figure.scrollIntoViewIfNeeded();
    await page.screenshot({ path: path.join(pictures, "figure.png") });
  }

  const [wrong, right] = JSON.parse(process.env.ANSWERS);
  for (const [i, [text, expected]] of [wrong, right].entries()) {
    await cell.locator(".cm-content").click();
    await page.keyboard.press("Control+a");
    await page.keyboard.insertText(text);
    await page.keyboard.press("Shift+Enter");
    await output.filter({ hasText: expected }).waitFor();
    report.verdicts.push((await output.innerText()).trim().slice(0, 300));
    if (pictures) {
      await cell.scrollIntoViewIfNeeded();
      await page.screenshot({ path: path.join(pictures, `verdict-${i}.png`) });
    }
  }
  report.seconds = seconds();
} catch (error) {
  report.failed = String(error.message ?? error).slice(0, 1500);
  if (pictures && page) await page.screenshot({ path: path.join(pictures, "failed.png") });
} finally {
  await browser.close();
}
console.log(JSON.stringify(report));
process.exit(report.failed ? 1 : 0);
