// Decides labels on the page of a review, by mouse and by keyboard, in a real browser and without a network.
//
//   node review.mjs review.html
//
// Fails on a console message, a request, a control that does not work, a decision that is lost, a table that does not say
// what was decided, a serious finding of axe-core, or a text that widens the page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const { source: axe } = createRequire(import.meta.url)("axe-core");
const url = pathToFileURL(resolve(process.argv[2])).href;
const browser = await chromium.launch({
  executablePath: process.env.WIMHF_CHROMIUM ?? "/usr/bin/chromium",
  args: "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync".split(" "),
});
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, offline: true, acceptDownloads: true });
const page = await context.newPage();
const wrong = [];
page.on("console", (message) => wrong.push(`console: ${message.text()}`));
page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
page.on("dialog", (dialog) => dialog.dismiss().then(() => wrong.push("dialog")));
page.on("request", (request) => {
  if (!request.url().startsWith(url) && !request.url().startsWith("blob:")) wrong.push(`request: ${request.url().slice(0, 200)}`);
});
await page.goto(url);
const count = () => page.locator("#review-count").textContent();
const pressed = (at) => page.locator(`#c${at} [aria-pressed=true]`).evaluateAll((all) => all.map((one) => one.dataset.word));
const cards = await page.locator("article").count();
assert.ok(cards >= 5, `${cards} candidates`);
assert.match(await count(), new RegExp(`^0 of ${cards} decided`));

// By keyboard: the next one comes by itself, and what was wrong is taken back.
for (const key of ["j", "a", "r", "d", "t"]) await page.keyboard.press(key);
assert.match(await count(), /^4 of .* decided: 3 to change, 1 rejected/);
assert.deepEqual([await pressed(0), await pressed(1), await pressed(2), await pressed(3)], [["accept"], ["reject"], ["drop"], ["tie"]]);
await page.keyboard.press("u");
assert.deepEqual(await pressed(3), []);
// By mouse; a second click takes it back.
await page.locator("#c4 [data-word=accept]").click();
await page.locator("#c4 [data-word=accept]").click();
assert.deepEqual(await pressed(4), []);
await page.locator("#c4 [data-word=reject]").click();
await page.locator("#review-undo").click();
assert.deepEqual(await pressed(4), []);
assert.match(await count(), /^3 of .* decided: 2 to change, 1 rejected/);

// What is decided is still there when the page is opened again.
await page.reload();
assert.match(await count(), /^3 of .* decided: 2 to change, 1 rejected/);
await page.locator("#review-show").selectOption("reject");
assert.equal(await page.locator("article:visible").count(), 1);
await page.locator("#review-show").selectOption("open");
assert.equal(await page.locator("article:visible").count(), cards - 3);
await page.locator("#review-show").selectOption("");

// The table says what was decided, row by row.
const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#review-save").click()]);
assert.equal(download.suggestedFilename(), "decisions.csv");
const target = resolve(process.argv[2], "..", "saved.csv");
await download.saveAs(target);
const lines = readFileSync(target, "utf8").split("\n");
assert.equal(lines[0], "row,decision,pair_id,action,score,rule,reason");
assert.deepEqual(lines.slice(1, 5).map((line) => line.split(",")[1]), ["accept", "reject", "drop", ""]);

for (const [width, scheme] of [[1280, "light"], [390, "dark"]]) {
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme: scheme });
  const broad = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(broad <= 0, `${broad} pixels too wide at ${width}`);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const serious = violations.filter((found) => ["serious", "critical"].includes(found.impact));
  assert.deepEqual(serious.map((found) => `${found.id}: ${found.nodes[0].html.slice(0, 160)}`), []);
}
assert.deepEqual(wrong, []);
await browser.close();
console.log(`${process.argv[2]}: decided`);
