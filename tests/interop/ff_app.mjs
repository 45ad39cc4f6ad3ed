// Opens annotated_pairs.json in Feedback Forensics' own app, in a real browser, and does what its users do.
//
//   node ff_app.mjs annotated_pairs.json… [--shots FOLDER]
//
// WIMHF_PYTHON names a Python with the packages of requirements.txt; the browser's driver is that of tests/web.
// Fails on a red message or box in the page, an error of its scripts, and a traceback, a warning of Python or an ERROR
// in the app's log; on a yellow message too, unless the file has no principles: the app then has no rows to show.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";

const { chromium } = createRequire(new URL("../web/walk.mjs", import.meta.url))("playwright-core");
const [words, python] = [process.argv.slice(2), process.env.WIMHF_PYTHON];
const flag = words.indexOf("--shots");
const shots = flag < 0 ? null : words.splice(flag, 2)[1];
assert.ok(words.length && python, "name at least one annotated_pairs.json, and a Python in WIMHF_PYTHON");

const browser = await chromium.launch({
  executablePath: process.env.WIMHF_CHROMIUM ?? "/usr/bin/chromium",
  args: "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync".split(" "),
});
const folder = mkdtempSync(join(tmpdir(), "ff-app-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

async function until(done, why) {
  for (let tries = 0; !(await done()); tries++) {
    assert.ok(tries < 600, why());
    await new Promise((next) => setTimeout(next, 200));
  }
}

/** The app over one file, as `feedback-forensics -d FILE` starts it. */
async function serve(file) {
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const { port } = free.address();
  free.close();
  const env = { ...process.env, GRADIO_SERVER_NAME: "127.0.0.1", GRADIO_SERVER_PORT: port, GRADIO_ANALYTICS_ENABLED: "False", GRADIO_TEMP_DIR: folder, HF_HUB_OFFLINE: "1" };
  const child = spawn(python, ["-m", "feedback_forensics.app.main", "-d", file], { cwd: folder, env });
  const app = { url: `http://127.0.0.1:${port}/`, log: "", stop: () => child.kill("SIGKILL") };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (app.log += text));
  process.on("exit", app.stop);
  await until(() => fetch(app.url).then(({ ok }) => ok, () => child.exitCode !== null), () => `the app did not start:\n${app.log}`);
  assert.equal(child.exitCode, null, app.log);
  return app;
}

/** Opens the page, and notes what it says: its messages go away by themselves. */
async function open(url) {
  const page = await (await browser.newContext({ viewport: { width: 1400, height: 1000 } })).newPage();
  const said = [];
  // Nothing but the app itself: what it wants from elsewhere (a script of Gradio's) it does without.
  await page.route((to) => !to.href.startsWith(url), (route) => route.abort());
  page.on("pageerror", ({ message }) => said.push(`error: ${message}`));
  page.on("console", (it) => it.type() === "error" && it.location().url.startsWith(url) && said.push(`error: ${it.text()}`));
  await page.exposeFunction("said", (text) => said.push(text));
  await page.addInitScript(() => {
    const kind = (toast) => ["info", "warning", "success"].find((name) => toast.classList.contains(name)) ?? "error";
    const seen = new WeakSet();
    const look = (toast) => seen.has(toast) || (seen.add(toast), window.said(`${kind(toast)}: ${toast.innerText.replace(/\s+/g, " ")}`));
    new MutationObserver(() => document.querySelectorAll(".toast-body").forEach(look)).observe(document, { childList: true, subtree: true });
  });
  await page.goto(url);
  return { page, said };
}

async function check(file) {
  const { metadata, annotators } = JSON.parse(readFileSync(file, "utf-8"));
  const principles = Object.values(annotators).filter(({ type }) => type === "principle");
  const app = await serve(file);
  const { page, said } = await open(app.url);
  // Every part of the page has a mark that is hidden when it is done; where it failed, the mark stays and says so.
  const marks = (which) => page.$$eval(".wrap.default:not(.hide), .wrap.center:not(.hide)", (all, which) => all.filter((mark) => !!mark.querySelector(".error") === which).length, which);
  let [steps, still] = [0, 0];
  const step = async (what, act) => {
    await act();
    [steps, still] = [steps + 1, 0];
    await until(async () => (still = (await marks(false)) ? 0 : still + 1) > 4, () => `${file}: ${what}: still at work after two minutes`);
    if (shots) await page.screenshot({ path: join(shots, `${basename(dirname(file))}-${String(what).replace(/\W+/g, "-")}.png`), fullPage: true });
    const wrong = said.filter((text) => text.startsWith("error") || (principles.length && text.startsWith("warning")));
    wrong.push(...app.log.split("\n").filter((line) => /Traceback|\bERROR\b|\w*(Error|Warning): /.test(line)));
    const boxes = await marks(true);
    assert.ok(!wrong.length && !boxes, `${file}: ${what}: ${boxes} red boxes\n${wrong.join("\n")}`);
  };
  const loaded = (times) => () => until(() => said.filter((text) => text.startsWith("info: Info Loading data")).length >= times, () => `the app loads nothing:\n${app.log}`);
  const choose = (label, option) => async () => {
    await page.getByLabel(label).click();
    await page.getByRole("option", { name: option }).dispatchEvent("mousedown");
  };
  const run = (times) => () => page.getByRole("button", { name: "Run analysis" }).click().then(loaded(times));
  await step("opened", loaded(1));
  assert.ok((await page.locator("body").innerText()).includes(`Default: ${annotators[metadata.default_annotator].name}`), "the labels are chosen");
  await step("run", run(2));
  // Without rows, its menus of the table fail for every file.
  if (principles.length) {
    for (const metric of ["Strength with stats", "Relevance", "Cohen's kappa", /Strength$/]) await step(`metric ${metric}`, choose(/^Metric$/, metric));
    const table = page.locator("table").last();
    assert.equal(await table.locator("tbody tr").count(), principles.length, `${file}: a row for every principle`);
    await step("pairs behind a value", () => table.locator("tbody td").last().click());
    assert.ok(await page.getByText("Comparison ID").isVisible(), `${file}: the pair is shown`);
    await step("back", () => page.getByLabel("Numerical overview").click());
    await step("advanced", () => page.getByLabel("Advanced settings").click());
    for (const [at, key] of metadata.available_metadata_keys_per_comparison.entries()) {
      await step(`by ${key}`, choose(/Group dataset by column/, key));
      await step(`run by ${key}`, run(3 + at));
    }
  }
  await page.context().close();
  app.stop();
  console.log(`${file}: ${principles.length} principles, ${steps} steps, no error`);
}

for (const file of words) await check(resolve(file));
await browser.close();
