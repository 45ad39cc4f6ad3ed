// Two browsers decide about labels at once while the server is killed at random moments and started again on the same port:
// what either person decided is in the journal in the end, each once.
//
//   node two.mjs WIMHF RUN SECONDS
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [program, run, seconds] = [process.argv[2], process.argv[3], Number(process.argv[4] ?? 20)];
let seed = 7;
const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// One token for all servers, as a person keeps the page open: it is told to each by its environment.
const token = "0123456789abcdef".repeat(3);
let port = 0;
const once = async () => {
  const server = spawn(program, ["explore", run, "--no-open", "--quiet", "--port", String(port)], {
    env: { ...process.env, WIMHF_EXPLORE_TOKEN: token },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const line = await new Promise((done) => {
    createInterface(server.stdout).once("line", done);
    server.once("exit", () => done(null));
  });
  if (line === null) return null;
  port = Number(new URL(line).port);
  return server;
};
// The system may keep the port for a moment, or lend it to a connection of the browser's.
const start = async () => {
  for (let turn = 0; turn < 100; turn += 1) {
    const server = await once();
    if (server !== null) return server;
    await wait(200);
  }
  throw new Error("the server does not start again");
};
const kill = async (server) => {
  const gone = new Promise((done) => server.once("exit", done));
  server.kill("SIGKILL");
  await gone;
};
const ask = async (path) => {
  const answer = await fetch(`http://127.0.0.1:${port}/api/${path}`, { headers: { "X-Wimhf-Token": token } });
  return { status: answer.status, text: await answer.text() };
};
const address = () => `http://127.0.0.1:${port}/?token=${token}&turn=${Math.floor(1e6 * Math.random())}#/review`;
const ready = async () => {
  for (;;) {
    const about = JSON.parse((await ask("run")).text);
    if (about.index.ready) return;
    await wait(50);
  }
};

let server = await start();
process.on("exit", () => server.kill("SIGKILL"));
await ready();
// What was decided in this run before is none of it.
const before = new Set(JSON.parse((await ask("journal")).text).decisions.map((one) => one.id));
const browser = await chromium.launch({
  executablePath: process.env.WIMHF_CHROMIUM ?? "/usr/bin/chromium",
  args: "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split(" "),
});
const people = ["anna", "ben"];
const keys = { accept: "a", reject: "r", drop: "d", tie: "t", skip: "s" };
const pages = [];
for (const name of people) {
  const context = await browser.newContext();
  const page = await context.newPage();
  // What a person decides, as the page itself sends it: each id once, with its word.
  const sent = new Map();
  page.on("request", (request) => {
    if (request.method() === "POST" && request.url().includes("/api/decisions")) {
      const body = request.postDataJSON();
      sent.set(body.id, body);
    }
  });
  await page.addInitScript((name) => localStorage.setItem("wimhf name", name), name);
  await page.goto(address());
  pages.push({ name, page, sent });
}

const until = Date.now() + seconds * 1000;
// A slow machine takes longer for the same: it goes on until each person has decided often enough to say something.
const ENOUGH = 20;
const over = () => Date.now() >= until + 20_000 * seconds || (Date.now() >= until && pages.every(({ sent }) => sent.size > ENOUGH));
let kills = 0;
const killer = (async () => {
  while (!over()) {
    // One in five is killed while it starts; the others once they serve, however long that takes here.
    if (random() < 0.8) await ready();
    await wait(2500 * random());
    await kill(server);
    kills += 1;
    await wait(300 * random());
    server = await start();
  }
})();
const decide = async ({ page }) => {
  while (!over()) {
    const word = Object.keys(keys)[Math.floor(5 * random())];
    await page.keyboard.press(random() < 0.1 ? "u" : keys[word]);
    // About as many decisions in all as there are proposals.
    await wait((seconds * 1000 / 150) * (0.5 + random()));
    // The page is opened again, as often as it takes where the server is away.
    for (let again = random() < 0.02; again; ) {
      again = await page.goto(address()).then(() => false, () => wait(200).then(() => true));
    }
  }
};
await Promise.all([killer, ...pages.map(decide)]);
await ready();

// Everything that waits is sent by itself.
for (const { name, page } of pages) {
  for (let turn = 0; ; turn += 1) {
    const left = await page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("wimhf unsaved ")).length);
    if (left === 0) break;
    assert.ok(turn < 600, `${name}: ${left} decisions are not sent`);
    await wait(100);
  }
}
const journal = JSON.parse((await ask("journal")).text);
let all = 0;
for (const { name, sent } of pages) {
  const own = journal.decisions.filter((one) => one.reviewer === name && !before.has(one.id));
  const ids = own.map((one) => one.id);
  assert.equal(new Set(ids).size, ids.length, "doubled");
  assert.deepEqual(ids.toSorted(), [...sent.keys()].toSorted(), `${name}: lost or made up`);
  for (const one of own) {
    const body = sent.get(one.id);
    assert.deepEqual([one.pair_id, one.row, one.decision], [body.pair_id, body.row, body.decision]);
  }
  assert.ok(own.length > ENOUGH, `${name} decided ${own.length} times`);
  all += own.length;
}
await browser.close();
await kill(server);
console.log(`${all} decisions of two people, ${kills} kills: nothing lost, nothing doubled`);
process.exit(0);
