// Walks through the page that `wimhf explore` serves, by mouse and by keyboard, in a real browser.
//
//   node explore.mjs URL [--shots FOLDER]
//
// URL is the link that the program printed, with its token. Fails on a console message, a break of the page's policy, a
// request to anywhere else, a dialog, a control that does not work, a decision that is lost or doubled, a serious finding of
// axe-core, a text that widens the page, or content that jumps. What it edits it takes back; decisions are those of a
// reviewer that nobody else is.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const { source: axe } = createRequire(import.meta.url)("axe-core");
const args = process.argv.slice(2);
const flag = args.indexOf("--shots");
const shots = flag < 0 ? null : args.splice(flag, 2)[1];
assert.equal(args.length, 1, "name the address");
if (shots) mkdirSync(shots, { recursive: true });
const url = new URL(args[0]);
const token = url.searchParams.get("token");
assert.ok(token, "the address has its token");
const PERSON = `walk ${Date.now().toString(36)}`;

const browser = await chromium.launch({
  executablePath: process.env.WIMHF_CHROMIUM ?? "/usr/bin/chromium",
  args: "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync".split(" "),
});

/** Asks the server without the page. */
async function ask(path, body, params = {}) {
  const address = new URL(path, url);
  for (const [key, value] of Object.entries(params)) address.searchParams.set(key, value);
  for (;;) {
    const answer = await fetch(address, { method: body ? "POST" : "GET", headers: { "X-Wimhf-Token": token, "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
    if (answer.status !== 503) {
      assert.ok(answer.ok, `${path}: ${answer.status} ${answer.ok ? "" : await answer.text()}`);
      return answer.json();
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
while (!(await ask("/api/run")).index.ready) await new Promise((resolve) => setTimeout(resolve, 500));
const info = await ask("/api/run");
assert.ok(!info.read_only, "the server takes decisions");

/** Waits until it holds. */
async function until(what, holds, most = 20000) {
  const end = Date.now() + most;
  let last;
  while (Date.now() < end) {
    try {
      if (await holds()) return;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  assert.fail(`waited for: ${what}${last ? ` (${last.message})` : ""}`);
}

async function open(width, scheme) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, acceptDownloads: true, permissions: ["clipboard-read", "clipboard-write"] });
  const page = await context.newPage();
  const wrong = [];
  const state = { away: false };
  page.on("console", (message) => {
    if (!state.away || !/Failed to load resource/.test(message.text())) wrong.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== url.origin) wrong.push(`request: ${request.url().slice(0, 200)}`);
  });
  await page.addInitScript(() => {
    window.broken = [];
    window.jumped = 0;
    document.addEventListener("securitypolicyviolation", (event) => window.broken.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        if (entry.hadRecentInput) continue;
        window.jumped += entry.value;
        window.movers = [...(window.movers ?? []), ...entry.sources.map(({ node }) => `${node?.nodeName} ${node?.id ?? ""} ${node?.className ?? ""}: ${entry.value.toFixed(3)}`)];
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  await page.goto(url.href);
  return { context, page, wrong, state, name: `${width}-${scheme}` };
}

/** What every view must be. */
async function sound({ page, name }, view) {
  await page.locator("main h1").waitFor();
  await until(`${view} is still`, () => page.evaluate(() => !document.querySelector("[aria-busy=true]")), 60000);
  await page.waitForTimeout(120);
  const found = await page.evaluate(() => ({
    foreign: [...document.querySelectorAll('img, iframe, object, embed, body style, [style]:not([style=""]), [onclick], [onerror], [onload]')].map((one) => one.outerHTML.slice(0, 160)),
    scripts: document.scripts.length,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    broken: window.broken,
    jumped: window.jumped,
    movers: (window.movers ?? []).slice(-12).join("; "),
    touched: window.touched,
  }));
  assert.deepEqual(found.foreign, [], `${view}: elements that are not ours`);
  assert.equal(found.scripts, 1, `${view}: scripts`);
  assert.ok(found.wide <= 0, `${view}, ${name}: ${found.wide} px wider than the window`);
  assert.deepEqual(found.broken, [], `${view}: the policy was broken`);
  assert.equal(found.touched, undefined, `${view}: a text ran as script`);
  assert.ok(found.jumped < 0.1, `${view}, ${name}: content jumped by ${found.jumped}: ${found.movers}`);
  // Through the debugger, since the page's policy rightly keeps foreign scripts out.
  const said = await page.evaluate(() => document.body.innerText);
  assert.ok(!/\b(NaN|undefined|null|\[object)\b/.test(said.replace(/“[^”]*”/g, "")), `${view}: ${/.{40}\b(NaN|undefined|null|\[object)\b/.exec(said)?.[0]}`);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.deepEqual(serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(" | ")}`), [], `axe-core: ${view}, ${name}`);
  if (shots) await page.screenshot({ path: `${shots}/${view}-${name}.png`, fullPage: false });
}

const byMouse = (page) => ({
  press: (selector) => page.locator(selector).first().click(),
  type: (selector, text) => page.locator(selector).fill(text),
  view: async (title) => page.locator("#views a", { hasText: title }).first().click(),
});
const byKeys = (page) => ({
  press: async (selector) => {
    await page.locator(selector).first().focus();
    await page.keyboard.press("Enter");
  },
  type: async (selector, text) => {
    await page.locator(selector).focus();
    await page.keyboard.press("Control+A");
    await page.keyboard.press("Delete");
    if (text) await page.keyboard.insertText(text);
  },
  view: async (title) => {
    await page.locator("#views a", { hasText: title }).first().focus();
    await page.keyboard.press("Enter");
  },
});

const text = (page, selector) => page.locator(selector).first().textContent();
const rowIds = (page) => page.$$eval("#rows .row", (rows) => rows.map((row) => row.dataset.pair));
const quiet = async (page) => {
  await page.waitForTimeout(220);
  await until("the list is there", () => page.evaluate(() => !document.querySelector("#rows[aria-busy]") && document.querySelector("#found").textContent !== ""));
};
const total = async (page) => {
  const said = await text(page, "#found");
  return said.startsWith("No pair") ? 0 : Number(said.match(/([\d,]+) pairs?/)[1].replaceAll(",", ""));
};
const pairOf = (id) => ask("/api/pair/" + encodeURIComponent(id));
/** Records of a table in which a cell may have line ends. */
function records(table) {
  let [inside, number] = [false, 0];
  for (const sign of table) {
    if (sign === '"') inside = !inside;
    else if (sign === "\n" && !inside) number++;
  }
  return table.endsWith("\n") ? number : number + 1;
}

async function walkPairs(session, act) {
  const { page, context } = session;
  await quiet(page);
  const all = await total(page);
  assert.equal(all, info.runs[0].pairs, "all pairs are found without a filter");
  await sound(session, "pairs");

  // A word of a pair that stands somewhere in the middle.
  const shown = await rowIds(page);
  const sample = await pairOf(shown[Math.min(shown.length - 1, 12)]);
  const word = [...(sample.prompt + " " + sample.a).matchAll(/(?<![\p{L}\p{N}_'’-])[a-z]{5,9}(?![\p{L}\p{N}_'’-])/gu)].map(([found]) => found)[0];
  assert.ok(word, "a word to look for");
  await act.type("#q", word);
  await quiet(page);
  const found = await rowIds(page);
  assert.ok(found.length >= 1, `${word} is found`);
  for (const id of found) {
    const pair = await pairOf(id);
    assert.match(`${pair.prompt}\n${pair.a}\n${pair.b}`.normalize("NFKD"), new RegExp(word, "iu"), `${word} stands in ${id}`);
  }
  assert.ok((await total(page)) <= all);
  const excerpts = (await page.$$eval("#rows .text", (texts) => texts.map((one) => one.textContent))).join("\n");
  if (excerpts.toLowerCase().includes(word)) assert.ok((await page.locator("#rows mark").count()) >= 1, "what was searched is marked");
  await act.type("#q", "zzqxjkw");
  await quiet(page);
  assert.match(await text(page, "#found"), /^No pair/);
  await act.type("#q", "");
  await quiet(page);
  assert.equal(await total(page), all);

  // Labels part the pairs.
  const parts = [];
  for (const label of ["A", "B", "tie", "none"]) {
    await page.locator("#label").selectOption(label);
    await quiet(page);
    parts.push(await total(page));
  }
  assert.equal(parts.reduce((a, b) => a + b), all, `every pair has one label: ${parts}`);
  await page.locator("#label").selectOption("");
  await quiet(page);

  // A feature, chosen by its words, on one side.
  const names = await page.$$eval("#feature-list option", (options) => options.slice(0, 12).map((option) => option.value));
  let chosen = null;
  for (const name of names) {
    await act.type("#feature", name);
    await quiet(page);
    await page.locator("#side").selectOption("A");
    await quiet(page);
    if ((await total(page)) >= 3) {
      chosen = name;
      break;
    }
  }
  assert.ok(chosen, "a feature shows in some response A");
  const feature = new URLSearchParams((await page.evaluate(() => location.hash)).split("?")[1]).get("feature");
  assert.ok(info.features.some((one) => one.id === feature), "the address names the feature");
  const sideA = await total(page);
  for (const facts of await page.$$eval("#rows .facts", (list) => list.map((one) => one.textContent))) assert.match(facts, /more of it in A/);
  await page.locator("#side").selectOption("B");
  await quiet(page);
  const sideB = await total(page);
  await page.locator("#side").selectOption("any");
  await quiet(page);
  assert.equal(await total(page), sideA + sideB, "any is A or B");
  await page.locator("#sort").selectOption("activation");
  await quiet(page);
  const strong = await page.$$eval("#rows .facts", (list) => list.map((one) => Number(one.textContent.match(/strength ([\d.]+)/)[1])));
  assert.deepEqual(strong, [...strong].sort((a, b) => b - a), "the strongest first");
  await act.press("#turn");
  await quiet(page);
  const weak = await page.$$eval("#rows .facts", (list) => list.map((one) => Number(one.textContent.match(/strength ([\d.]+)/)[1])));
  assert.deepEqual(weak, [...weak].sort((a, b) => a - b), "the weakest first");
  await act.press("#turn");
  await quiet(page);
  const list = await rowIds(page);
  const details = await Promise.all(list.slice(0, 8).map(pairOf));
  const showing = details.findIndex((pair) => pair.features.some((one) => one.id === feature && one.marks.a.length + one.marks.b.length > 0));
  if (showing >= 0) await until("the sentences in the list are marked", async () => (await page.locator("#rows mark.shows").count()) >= 1);
  await sound(session, "pairs-feature");

  // The selection as a file; of more than one holds, that is said.
  const narrowed = (await total(page)) > info.downloads;
  if (narrowed) {
    await act.press("#downloads [data-format=csv]");
    await until("too many for a file is said", async () => /go into one file/.test(await text(page, "#pairs-said")));
    await act.type("#q", (details[0].prompt.match(/[\p{L}\p{N}]+/gu) ?? []).slice(-4).join(" "));
    await quiet(page);
    assert.ok((await total(page)) >= 1 && (await total(page)) <= info.downloads, "a narrower search finds fewer");
  }
  const inFile = narrowed ? await rowIds(page) : list;
  const [file] = await Promise.all([page.waitForEvent("download"), act.press("#downloads [data-format=csv]")]);
  assert.match(file.suggestedFilename(), /\.csv$/);
  const table = readFileSync(await file.path(), "utf8");
  for (const id of inFile) assert.ok(table.includes(id), `${id} is in the file`);
  assert.equal(records(table), (await total(page)) + 1, "one record for each pair");
  if (narrowed) await act.type("#q", "");
  await quiet(page);

  // The link of the list shows the list again.
  await act.press("#copy-link");
  await until("the link is copied", async () => /copied/.test(await text(page, "#pairs-said")));
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  const other = await context.newPage();
  await other.goto(copied);
  await other.locator("#rows .row").first().waitFor();
  await quiet(other);
  assert.deepEqual(await rowIds(other), list);
  await other.close();

  // A pair: its texts whole, its marks, its words compared, the next and the one before.
  const at = Math.max(0, showing);
  await act.press(`#rows .row:nth-child(${at + 1}) a.to`);
  await page.locator(".response .body").nth(1).waitFor();
  await until("the pair is there", () => page.evaluate((id) => document.querySelector("h1").textContent.includes(id), list[at]));
  const pair = details[at];
  assert.deepEqual(await page.$$eval(".response .body", (bodies) => bodies.map((one) => one.textContent)), [pair.a, pair.b], "both texts are whole");
  if (showing >= 0) assert.ok((await page.locator(".response mark.shows").count()) >= 1, "the sentences are marked");
  await act.press("#diff");
  if (pair.a !== pair.b && pair.a.length + pair.b.length < 20000) assert.ok((await page.locator(".only").count()) >= 1, "what differs is marked");
  assert.deepEqual(await page.$$eval(".response .body", (bodies) => bodies.map((one) => one.textContent)), [pair.a, pair.b], "both texts are whole, compared");
  await sound(session, "pair");
  await act.press("#diff");
  assert.equal(await page.locator(".only").count(), 0);
  await until("there is a next one", () => page.evaluate(() => !document.querySelector("#pair-on").disabled));
  await page.keyboard.press("j");
  await until("the next pair", () => page.evaluate((id) => document.querySelector("h1").textContent.includes(id), list[at + 1]));
  await until("there is one before", () => page.evaluate(() => !document.querySelector("#pair-back").disabled));
  await page.keyboard.press("k");
  await until("the pair before", () => page.evaluate((id) => document.querySelector("h1").textContent === `Pair ${id}`, list[at]));
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1", "the focus is at the title");
  await act.press("#pair-id");
  await until("the id is copied", async () => /copied/.test(await text(page, "#pair-said")));
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), list[at]);
  await page.keyboard.press("Escape");
  await quiet(page);
  assert.deepEqual(await rowIds(page), list, "back to the same list");
  await act.press("#clear");
  await quiet(page);
  assert.equal(await total(page), all);
}

const mine = async () => (await ask("/api/review", null, { reviewer: PERSON, limit: 1 })).mine;
const saved = (page) => until("all is saved", () => page.evaluate(() => !Object.keys(localStorage).some((key) => key.startsWith("wimhf unsaved "))));
const onCard = (page) => page.$eval("#card article", (card) => `${card.dataset.row} ${card.dataset.pair}`);

async function walkReview(session, act, first) {
  const { page, state } = session;
  await act.view("Review");
  await page.locator("h1", { hasText: "Review" }).waitFor();
  if (await page.locator("#who-name").count()) {
    await act.type("#who-name", PERSON);
    await page.keyboard.press("Enter");
  }
  await until("the count is there", async () => /decided by you/.test(await text(page, "#review-count")));
  if ((await ask("/api/review", null, { reviewer: PERSON, limit: 1 })).candidates < 8) {
    console.log("explore: fewer than 8 proposals, the review was not walked");
    return;
  }
  await page.locator("#card article").waitFor();
  await sound(session, "review");
  const before = await mine();
  const figures = async (accepted, rejected, skipped) => {
    await saved(page);
    const now = await mine();
    assert.deepEqual([now.accepted - before.accepted, now.rejected - before.rejected, now.skipped - before.skipped], [accepted, rejected, skipped]);
    await until("the count says so", async () => (await text(page, "#review-count")).includes(`${now.accepted} accepted, ${now.rejected} rejected, ${now.skipped} skipped`) && !/being saved/.test(await text(page, "#review-count")));
  };
  const cards = [await onCard(page)];
  const decide = async (key) => {
    if (first) await page.keyboard.press(key);
    else await act.press(`#card [data-key=${key}]`);
  };
  for (const key of ["a", "r", "s"]) {
    await decide(key);
    await until("the next one comes", async () => (await onCard(page)) !== cards.at(-1));
    cards.push(await onCard(page));
  }
  assert.equal(new Set(cards).size, 4, "four proposals");
  await figures(1, 1, 1);
  await decide("u");
  await until("the skipped one is back", async () => (await onCard(page)) === cards[2]);
  await figures(1, 1, 0);
  // Taken back after the page was opened again, too.
  await page.reload();
  await page.locator("#card article").waitFor();
  await figures(1, 1, 0);
  await decide("u");
  await until("the rejected one is back", async () => (await onCard(page)) === cards[1]);
  await figures(1, 0, 0);
  await decide("r");
  await figures(1, 1, 0);

  // An answer that is lost does not make two of one decision.
  state.away = true;
  await page.route("**/api/decisions*", async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 1 });
  await decide("a");
  await figures(2, 1, 0);
  // Without the server, what is decided waits; nothing is lost.
  await session.context.setOffline(true);
  await decide("r");
  await decide("a");
  await until("it says what is not saved", async () => /Not saved yet: 2, trying again/.test(await text(page, "#saved")));
  assert.equal((await mine()).accepted - before.accepted, 2);
  if (shots) await page.screenshot({ path: `${shots}/review-away-${session.name}.png` });
  await session.context.setOffline(false);
  await figures(3, 2, 0);
  await until("the line is empty", async () => (await text(page, "#saved")) === "");
  state.away = false;
  const [file] = await Promise.all([page.waitForEvent("download"), act.press("#decisions-csv")]);
  assert.match(readFileSync(await file.path(), "utf8").split("\n")[0], /row.*decision|decision.*row/);
  await sound(session, "review-decided");
}

async function walkValidate(session, act) {
  const { page } = session;
  await act.view("Validate");
  await page.locator("#validate-sentence").waitFor();
  await until("the count is there", async () => /judged by you/.test(await text(page, "#validate-count")));
  await sound(session, "validate");
  const done = async () => Number((await text(page, "#validate-count")).match(/^([\d,]+) of/)?.[1].replaceAll(",", "") ?? NaN);
  const before = await done();
  if (!(await page.locator("#task article").count())) {
    console.log("explore: no tasks, the validation was not walked");
    return;
  }
  for (const [i, key] of ["1", "b", "u"].entries()) {
    const answered = await ask("/api/validate", null, { rater: PERSON });
    if (!answered.task) break;
    await page.locator("#task article").waitFor();
    assert.ok(!/preferred/.test(await text(page, "#task")) || /preferred/.test(answered.task.first + answered.task.second + answered.task.prompt + answered.task.text), "the label is not told");
    if (session.name.startsWith("390")) await act.press(`#task [data-key="${key}"]`);
    else await page.keyboard.press(key);
    await until("it is counted", async () => (await done()) === before + i + 1);
  }
  await saved(page);
  assert.equal((await ask("/api/validate", null, { rater: PERSON })).done, before + 3);
}

async function walkPrinciples(session, act) {
  const { page } = session;
  await act.view("Principles");
  await page.locator("#features .feature").first().waitFor();
  await until("the constitution is there", () => page.evaluate(() => document.querySelector("#working").textContent === ""), 120000);
  await sound(session, "principles");
  const one = info.features.find((feature) => feature.speaks && feature.principle === null && !feature.reworded && !feature.hidden) ?? info.features.at(-1);
  await act.type("#features-q", one.id);
  await until("it is found", async () => (await page.locator(`#features .feature[data-feature="${one.id}"]`).count()) === 1 && (await page.locator("#features .feature").count()) < 20);
  const inside = (selector) => `[data-feature="${one.id}"] ${selector}`;
  const now = async () => (await ask("/api/run")).features.find((feature) => feature.id === one.id);
  await act.press(inside("[data-act=edit]"));
  await sound(session, "principles-edit");
  const words = `says it in the words of ${PERSON}`;
  try {
    await act.type(inside("input[id$=-words]"), words);
    await page.keyboard.press("Enter");
    await until("the server has the words", async () => (await now()).reworded === words);
    await until("the list has the words", async () => (await text(page, inside(".name a"))) === words);
    await act.press(inside("[data-act=hide]"));
    await until("the server hides it", async () => (await now()).hidden);
    await until("the list says so", async () => /hidden/.test(await text(page, inside(".line1"))));
    await until("the costs are worked out", () => page.evaluate(() => document.querySelector("#working").textContent === ""), 120000);
    await sound(session, "principles-edited");
    await act.press(inside("[data-act=hide]"));
    await until("the server shows it again", async () => !(await now()).hidden);
    await act.press(inside("[data-act=original]"));
    await until("the server has the words as before", async () => !(await now()).reworded);
  } finally {
    await ask("/api/edits", { feature: one.id, reworded: "", hidden: false });
  }
  await saved(page);
}

async function walkMap(session, act) {
  const { page } = session;
  await act.view("Map");
  await page.locator("#map-list li").first().waitFor();
  assert.equal(await page.locator(".dot").count(), await page.locator("#map-list li").count());
  await page.locator("#map-list a").first().focus();
  assert.match(await text(page, "#map-told"), /points|not measured/);
  assert.equal(await page.locator(".dot.lit").count(), 1);
  await sound(session, "map");
  await act.press("#map-list a");
  await quiet(page);
  assert.match(await page.evaluate(() => location.hash), /^#\/pairs\?feature=/);
}

async function walkAsk(session, act) {
  const { page } = session;
  await act.view("Ask");
  await page.locator("#tool").waitFor();
  assert.equal(await page.locator("#no-model").count(), info.model ? 0 : 1);
  const names = await page.$$eval("#tool option", (options) => options.map((option) => option.value));
  const name = names.find((one) => /principles/.test(one)) ?? names[0];
  await page.locator("#tool").selectOption(name);
  await act.press("#tool-run");
  await until("the tool has answered", async () => (await text(page, "#tool-status")) === "Done.", 60000);
  assert.ok((await text(page, "#tool-answer")).length > 20);
  await sound(session, "ask");
}

async function walkRuns(session, act) {
  if (info.runs.length < 2) return;
  const { page } = session;
  await act.view("Side by side");
  await page.locator("tbody tr").first().waitFor();
  await sound(session, "runs");
}

const times = { search: [], filter: [] };
for (const [width, scheme] of [[1280, "light"], [390, "dark"]]) {
  const session = await open(width, scheme);
  const { page, wrong } = session;
  const act = width > 400 ? byMouse(page) : byKeys(page);
  await page.locator("#rows .row").first().waitFor();
  await walkPairs(session, act);
  for (const name of ["search", "filter"]) times[name].push(...(await page.evaluate((what) => performance.getEntriesByName(what, "measure").map((one) => one.duration), name)));
  await walkReview(session, act, width > 400);
  await walkValidate(session, act);
  await walkPrinciples(session, act);
  await walkMap(session, act);
  await walkAsk(session, act);
  await walkRuns(session, act);
  assert.deepEqual(wrong, []);
  await session.context.close();
}

// An address without a valid token says what to do.
{
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(new URL("/?token=wrong", url).href);
  const said = (await page.textContent("body")) ?? "";
  assert.match(said, /token/, "what to do without a token");
  await context.close();
}
await browser.close();
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
console.log("explore: walked");
console.log(`search ${median(times.search).toFixed(0)} ms, filter ${median(times.filter).toFixed(0)} ms (of ${times.search.length} and ${times.filter.length}, the longest ${Math.max(...times.search).toFixed(0)} and ${Math.max(...times.filter).toFixed(0)} ms)`);
