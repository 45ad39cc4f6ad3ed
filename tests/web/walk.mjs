// Walks through a page by mouse and by keyboard, in a real browser and without a network.
//
//   node walk.mjs PAGE.html… [--shots FOLDER]
//
// Fails on a console message, a request to anywhere, a dialog, a script that is not ours, a control that does
// not work, a serious finding of axe-core, a text that widens the page, or content that jumps.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const { source: axe } = createRequire(import.meta.url)("axe-core");
const words = process.argv.slice(2);
const flag = words.indexOf("--shots");
const shots = flag < 0 ? null : words.splice(flag, 2)[1];
assert.ok(words.length, "name at least one page");
if (shots) mkdirSync(shots, { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.WIMHF_CHROMIUM ?? "/usr/bin/chromium",
  args: "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync".split(" "),
});

/** Opens a page, and notes whatever a page that needs nothing must not do. */
async function open(file, width, scheme) {
  const url = pathToFileURL(resolve(file)).href;
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, offline: true });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => wrong.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (request.url().split("#")[0] !== url) wrong.push(`request: ${request.url().slice(0, 200)}`);
  });
  await page.addInitScript(() => {
    window.jumped = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.jumped += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
  await page.goto(url);
  return { page, wrong, close: () => context.close() };
}

async function accessible(page, when) {
  // Through the debugger, since the page's policy rightly keeps foreign scripts out.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const told = serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
  assert.deepEqual(told, [], `axe-core, ${when}`);
}

async function sound(page, when, still = true) {
  const found = await page.evaluate(() => ({
    foreign: [...document.querySelectorAll("img, iframe, object, embed, link, form, body style, [style], [onclick], [onerror], [onload]")].map((element) => element.outerHTML.slice(0, 160)),
    scripts: document.scripts.length,
    wide: document.documentElement.scrollWidth - innerWidth,
    jumped: window.jumped,
    touched: window.touched,
  }));
  assert.deepEqual(found.foreign, [], `${when}: elements that are not ours`);
  assert.ok(found.scripts <= 2, `${when}: ${found.scripts} scripts`);
  assert.ok(found.wide <= 0, `${when}: the page is ${found.wide} px wider than its window`);
  assert.ok(!still || found.jumped < 0.1, `${when}: content jumped by ${found.jumped}`);
  assert.equal(found.touched, undefined, `${when}: a text ran as script`);
}

const text = (page, selector) => page.locator(selector).first().textContent();
const count = (page) => text(page, "#for-count").then((found) => found.match(/^(\d+) of (\d+)$/)?.slice(1).map(Number) ?? null);
const ranks = (page) => page.$$eval("#principles-table tbody tr:not([hidden])", (rows) => rows.map((row) => Number(row.dataset.rank)));

/** Searches and filters over all pairs of the page. */
async function walkPairs(page, act) {
  if ((await page.locator("#pairs").count()) === 0) return;
  const place = () => text(page, "#pairs-count").then((found) => found.match(/^(\d+) of (\d+)$/)?.slice(1).map(Number) ?? [0, 0]);
  const [at, all] = await place();
  assert.ok(at === 1 && all >= 1, "the pairs are there");
  if (all > 1) {
    await act.press("#pairs-on");
    assert.deepEqual(await place(), [2, all]);
    const link = await page.getAttribute("#pairs-link", "href");
    assert.match(link, /^#pair-\w+$/);
    await act.press("#pairs-back");
    assert.deepEqual(await place(), [1, all]);
  }
  const counts = [];
  for (const label of ["A", "B", "tie"]) {
    await act.choose("#pairs-label", label);
    counts.push((await place())[1]);
  }
  await act.choose("#pairs-label", "");
  assert.equal(counts.reduce((a, b) => a + b), all, "every pair has one label");
  const feature = await page.$eval("#pairs-feature", (select) => select.options[1].value);
  await act.choose("#pairs-feature", feature);
  assert.ok((await place())[1] >= 1 && (await place())[1] <= all);
  await act.choose("#pairs-feature", "");
  await act.type("#pairs-query", "\u{1F9FF} no pair says this");
  assert.equal(await text(page, "#pairs-count"), "none");
  assert.ok(await page.isDisabled("#pairs-save"));
  await act.type("#pairs-query", "");
  assert.equal((await place())[1], all);
  const download = page.waitForEvent("download");
  await act.press("#pairs-save");
  assert.equal((await download).suggestedFilename(), "pairs.jsonl");
}

/** Sorts, filters, searches, opens and turns pages, `act` saying how. */
async function walk(page, act) {
  const principles = await page.$$eval("#principles-table tbody tr", (rows) => rows.length);
  if (principles > 0) {
    const keys = await page.$$eval("#principles-table button.sort", (buttons) => buttons.map((button) => button.dataset.key));
    for (const key of keys) {
      const sorted = async (up) => {
        const values = await page.$$eval("#principles-table tbody tr", (rows, key) => rows.map((row) => row.dataset[key]), key);
        const compare = key === "text" ? (a, b) => a.localeCompare(b) : (a, b) => a - b;
        assert.deepEqual(values, [...values].sort((a, b) => (up ? 1 : -1) * compare(a, b)), `sorted by ${key}`);
      };
      const button = `#principles-table button.sort[data-key=${key}]`;
      const up = () => page.$eval(button, (button) => button.closest("th").getAttribute("aria-sort") === "ascending");
      await act.press(button);
      await sorted(await up());
      const before = await up();
      await act.press(button);
      assert.notEqual(await up(), before, `${key} turns its order`);
      await sorted(await up());
    }
    if (!(await page.$eval("#principles-table th", (head) => head.getAttribute("aria-sort") === "ascending"))) {
      await act.press("#principles-table button.sort[data-key=rank]");
      if ((await ranks(page))[0] !== 1) await act.press("#principles-table button.sort[data-key=rank]");
    }
    assert.equal((await ranks(page))[0], 1);

    const last = await page.locator("#principles-table button.open").last().textContent();
    await act.type("#principles-query", last.slice(0, 60));
    assert.ok((await ranks(page)).length >= 1 && (await ranks(page)).length <= principles);
    assert.match(await text(page, "#principles-count"), new RegExp(`^\\d+ of ${principles} shown$`));
    await act.type("#principles-query", "nothing says this");
    assert.deepEqual(await ranks(page), []);
    await act.type("#principles-query", "");
    assert.equal((await ranks(page)).length, principles);
    for (const way of ["prefer", "avoid"]) {
      await act.choose("#principles-direction", way);
      const ways = await page.$$eval("#principles-table tbody tr:not([hidden])", (rows) => rows.map((row) => row.dataset.direction));
      assert.ok(ways.every((found) => found === way));
    }
    await act.choose("#principles-direction", "");
    await act.press("#principles-flagged");
    const flags = await page.$$eval("#principles-table tbody tr:not([hidden])", (rows) => rows.map((row) => row.dataset.flags));
    assert.ok(flags.every((found) => found !== ""));
    await act.press("#principles-flagged");
    assert.equal((await ranks(page)).length, principles);
  }

  // What is folded is opened first, as a reader would.
  for (const summary of await page.locator("details > summary").all()) await summary.evaluate((element) => (element.parentElement.open = true));
  const openers = page.locator("button.open");
  const all = await openers.count();
  if (all === 0) return;
  await walkPairs(page, act);
  for (const index of new Set([0, Math.min(1, all - 1), all - 1])) {
    await openers.nth(index).evaluate((button) => (button.id = "opener-under-test"));
    const says = await text(page, "#opener-under-test");
    await act.press("#opener-under-test");
    assert.ok((await text(page, "#evidence-title")).endsWith(says), says);
    assert.equal(await page.getAttribute("#opener-under-test", "aria-expanded"), "true");
    assert.equal(await page.evaluate(() => document.activeElement.id), "evidence-title", "focus goes to what was opened");
    for (const side of ["for", "against"]) {
      const place = () => text(page, `#${side}-count`).then((found) => found.split(" of ").map(Number));
      const [at, of] = await place();
      if (Number.isNaN(at)) continue;
      assert.equal(at, 1);
      assert.ok(await page.isDisabled(`#${side}-back`));
      for (let pair = 2; pair <= Math.min(of, 4); pair++) {
        await act.press(`#${side}-on`);
        assert.deepEqual(await place(), [pair, of]);
      }
      if (of > 1) {
        await act.press(`#${side}-back`);
        assert.deepEqual(await place(), [Math.min(of, 4) - 1, of]);
        await act.arrows(`#${side}`, Math.min(of, 4) - 1, place);
      } else {
        assert.ok(await page.isDisabled(`#${side}-on`));
      }
      const won = await page.$$eval(`#${side}-pair .won .badge`, (badges) => badges.length);
      assert.ok(won <= 1);
    }
    const before = await count(page);
    if (before) {
      const word = (await text(page, "#for-pair .body")).trim().split(/\s+/)[0].slice(0, 30);
      await act.type("#evidence-query", word);
      const after = await count(page);
      assert.ok(after && after[0] === 1 && after[1] >= 1 && after[1] <= before[1], `${word}: ${after} of ${before}`);
      await act.type("#evidence-query", "\u{1F9FF} no pair says this");
      assert.equal(await text(page, "#for-count"), "none");
      await act.type("#evidence-query", "");
      assert.equal((await count(page))[1], before[1]);
    }
    await act.leave();
    assert.equal(await page.evaluate(() => document.activeElement.id), "opener-under-test", "Escape goes back");
    await openers.nth(index).evaluate((button) => button.removeAttribute("id"));
  }
}

const byMouse = (page) => ({
  press: (selector) => page.click(selector),
  choose: (selector, value) => page.selectOption(selector, value),
  type: (selector, words) => page.fill(selector, words),
  arrows: async (selector, at, place) => {
    // At the first pair there is no way back.
    if (at > 1) await page.click(`${selector}-back`);
    assert.deepEqual((await place())[0], Math.max(1, at - 1));
  },
  leave: () => page.keyboard.press("Escape"),
});

/** Nothing but keys: the way to a control is the Tab key. */
const byKeyboard = (page) => {
  const reach = async (selector) => {
    for (const key of ["Tab", "Shift+Tab"]) {
      for (let tries = 0; tries < 400; tries++) {
        if (await page.evaluate((selector) => document.activeElement?.matches(selector), selector)) {
          const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
          assert.notEqual(outline, "none", `${selector} shows that it has the focus`);
          return;
        }
        await page.keyboard.press(key);
      }
    }
    assert.fail(`${selector} cannot be reached with the Tab key`);
  };
  return {
    press: async (selector) => {
      await reach(selector);
      await page.keyboard.press("Space");
    },
    choose: async (selector, value) => {
      await reach(selector);
      const options = await page.$eval(selector, (select) => [...select.options].map((option) => option.value));
      await page.keyboard.press("Home");
      for (let i = 0; i < options.indexOf(value); i++) await page.keyboard.press("ArrowDown");
      assert.equal(await page.$eval(selector, (select) => select.value), value);
    },
    type: async (selector, words) => {
      await reach(selector);
      await page.keyboard.press("Control+A");
      await page.keyboard.press("Delete");
      await page.keyboard.insertText(words);
    },
    arrows: async (selector, at, place) => {
      await reach(`${selector} button:not(:disabled), ${selector} [tabindex]`);
      await page.keyboard.press("ArrowLeft");
      assert.equal((await place())[0], Math.max(1, at - 1));
      await page.keyboard.press("ArrowRight");
    },
    leave: async () => {
      await reach("#evidence button:not(:disabled), #evidence input, #evidence [tabindex]");
      await page.keyboard.press("Escape");
    },
  };
};

let failed = false;
for (const file of words) {
  const name = `${basename(dirname(resolve(file))).replace(/[^\w.-]/g, "")}-${basename(file, ".html")}`;
  try {
    for (const [width, scheme, act] of [
      [1440, "light", byMouse],
      [1440, "dark", byKeyboard],
      [390, "light", byKeyboard],
      [390, "dark", byMouse],
    ]) {
      const when = `${file} at ${width} px, ${scheme}, ${act.name}`;
      const { page, wrong, close } = await open(file, width, scheme);
      if (shots) await page.screenshot({ path: `${shots}/${name}-${width}-${scheme}.png`, fullPage: true, caret: "initial" });
      await sound(page, when);
      await accessible(page, when);
      await walk(page, act(page));
      await accessible(page, `${when}, after the walk`);
      // What a control changes may move; only what moves by itself is wrong, and that was looked at before.
      await sound(page, `${when}, after the walk`, false);
      if (shots) await page.screenshot({ path: `${shots}/${name}-${width}-${scheme}-walked.png`, caret: "initial" });
      await page.emulateMedia({ media: "print" });
      await sound(page, `${when}, printed`, false);
      assert.equal(await page.locator("nav:visible, .tools:visible, .turn:visible").count(), 0, "controls are not printed");
      const pdf = await page.pdf({ format: "A4" });
      assert.ok(pdf.length > 10_000, "a page to print");
      assert.deepEqual(wrong, [], when);
      await close();
    }
    console.log(`${file}: walked`);
  } catch (error) {
    failed = true;
    console.error(`${file}: ${error.stack}`);
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
