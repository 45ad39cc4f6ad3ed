// Decides proposals one after the other; every decision lies in the browser until the server has it.
import { download, get, keep, state, unsavedHere, uuid, who, whoForm } from "./api.js";
import { heading, link, trouble } from "./app.js";
import { count, el, folded, many, rate, say, share } from "./text.js";

const LONG = 1500;
const WORDS = [
  ["a", "accept", "Accept the proposal"],
  ["r", "reject", "Reject it: the label is right"],
  ["d", "drop", "Drop the pair"],
  ["t", "tie", "It is a tie"],
  ["s", "skip", "Skip"],
];
const TOLD = { accept: "Accepted", reject: "Rejected", drop: "Dropped", tie: "Called a tie", skip: "Skipped", flip: "Turned round" };
const MEANS = { flip: "turn the label round", drop: "drop the pair", tie: "call it a tie" };

export function open(root) {
  const { info } = state;
  const progress = el("p", { id: "review-count" });
  const card = el("div", { id: "card" });
  const figures = el("section", { class: "short", id: "figures", "aria-labelledby": "figures-title" });
  const form = info.read_only ? null : whoForm(() => restart());
  root.append(heading("Review proposed changes"), el("p", { class: "soft", text: "A proposal names a label that does not fit what most labels of this data go with. Read the pair, then say whether the proposal is right: nobody changes a label before you do." }));
  if (form) root.append(form);
  root.append(progress, card, figures);

  let queue = [];
  let past = [];
  let done = new Set();
  let latest = null;
  let filling = null;
  let counting = null;
  let ended = false;
  const name = (one) => `${one.row} ${one.pair_id}`;

  // What this person has decided and the server may not know yet.
  const pending = () => {
    const open = [];
    for (const { path, body } of unsavedHere()) {
      if (body.reviewer !== who.name) continue;
      if (path === "/api/decisions") open.push(name(body));
      else if (path === "/api/undo") open.pop();
    }
    return open;
  };

  function restart() {
    queue = [];
    past = [];
    done = new Set();
    latest = null;
    ended = false;
    fill(true);
  }

  async function fill(first) {
    if (!who.name && !info.read_only) {
      progress.textContent = "";
      card.replaceChildren();
      return measure();
    }
    filling?.abort();
    const mine = (filling = new AbortController());
    try {
      const found = await get("/api/review", { reviewer: who.name || "", limit: 20 }, { signal: mine.signal, name: "review", progress: () => (progress.textContent = "The proposals are being worked out") });
      take(found);
      const there = new Set([...queue.map(name), ...done, ...pending()]);
      const more = found.queue.filter((one) => !there.has(name(one)));
      ended = found.queue.length < 20;
      const empty = queue.length === 0;
      queue.push(...more);
      if (first || empty) draw();
      else counts();
    } catch (error) {
      if (error.name !== "AbortError") card.replaceChildren(trouble(error, () => fill(first)));
    } finally {
      if (filling === mine) filling = null;
    }
  }

  async function measure() {
    counting?.abort();
    const mine = (counting = new AbortController());
    try {
      take(await get("/api/review", { reviewer: who.name || "", limit: 1 }, { signal: mine.signal }));
    } catch {
      // The next decision asks again.
    }
  }

  function take(found) {
    latest = found;
    counts();
    const people = found.people.map((one) => el("tr", {}, el("th", { scope: "row" }, el("bdi", { text: one.reviewer })), ["decided", "accepted", "rejected", "skipped"].map((key) => el("td", { class: "n", text: count(one[key]) }))));
    figures.replaceChildren(
      el("h2", { id: "figures-title", text: "What the decisions say so far" }),
      el("p", { id: "precision" }, el("strong", { text: "How often a proposal was right: " }), rate(found.precision)),
      el("p", { class: found.enough ? "" : "soft", id: "enough", dir: "auto", text: found.sentence }),
      ...(found.agreement ? [el("p", { id: "agreement", dir: "auto", text: found.agreement })] : []),
      el("p", { class: "soft", dir: "auto", text: found.source }),
      ...(people.length ? [el("div", { class: "wide", tabIndex: 0, role: "group", "aria-label": "Who decided" }, el("table", {}, el("caption", { text: "Who decided how many" }), el("thead", {}, el("tr", {}, ["Who", "Decided", "Accepted", "Rejected", "Skipped"].map((text, i) => el("th", { scope: "col", class: i ? "n" : "", text })))), el("tbody", {}, people)))] : []),
      el("p", {}, el("a", { id: "decisions-csv", href: download("/api/decisions.csv"), download: "", text: "decisions.csv" }), " is the table that `wimhf relabel` carries out."),
    );
  }

  function counts() {
    if (!latest) return;
    const { mine, candidates } = latest;
    const open = pending().length;
    progress.textContent = `${count(mine.decided)} of ${many(candidates, "proposal")} decided by you: ${count(mine.accepted)} accepted, ${count(mine.rejected)} rejected, ${count(mine.skipped)} skipped${open ? `; ${count(open)} being saved` : ""}`;
  }

  function draw() {
    const one = queue[0];
    if (!one) {
      const waits = pending().length > 0;
      card.replaceChildren(el("p", { class: "none", tabIndex: -1, text: filling || waits || !ended ? "The next proposals are being fetched." : latest?.candidates ? "Nothing is left: you have decided every proposal." : "There are no proposals." }));
      if (!info.read_only && past.length + (latest?.mine.decided ?? 0) > 0) card.append(el("button", { type: "button", data: { key: "u" }, text: "Take the last one back (u)", on: { click: undo } }));
      return;
    }
    const box = (letter, text, won) => {
      const body = el("div", { class: "body text", text });
      return el("section", { class: "response" + (won ? " won" : ""), "aria-label": won ? "Preferred response" : "Other response" }, el("h3", { class: "small" }, won ? el("span", { class: "badge", text: "✓ preferred by the label" }) : el("span", { text: "the other one" }), el("span", { class: "soft", text: `response ${letter}` })), ...folded(body, won ? "Text of the preferred response" : "Text of the other response", text.length > LONG));
    };
    one.prompt ??= "";
    const other = one.preferred_is === "A" ? "B" : "A";
    const title = el("h2", { id: "card-title", class: "small", tabIndex: -1 }, `Proposed: ${MEANS[one.action] ?? one.action}`, el("span", { class: "soft", text: ` certainty ${share(one.score)} of 1` }));
    const prompt = el("div", { class: "prompt text" + (one.prompt.length > LONG ? " long" : ""), text: one.prompt });
    card.replaceChildren(
      el(
        "article",
        { class: "card", "aria-labelledby": "card-title", data: { pair: one.pair_id, row: one.row } },
        title,
        el("p", { class: "reason", dir: "auto", text: one.reason }),
        one.prompt ? folded(prompt, "Prompt", one.prompt.length > LONG) : null,
        el("div", { class: "pair" }, box(one.preferred_is, one.preferred, true), box(other, one.other, false)),
        info.read_only
          ? el("div", { class: "choose" }, el("button", { type: "button", text: "Next", on: { click: () => (queue.shift(), draw(), queue.length < 5 && !ended && fill(false)) } }))
          : el("div", { class: "choose" }, WORDS.map(([key, word, text]) => el("button", { type: "button", data: { word, key }, text: `${text} (${key.toUpperCase()})`, on: { click: () => decide(word) } })), el("button", { type: "button", data: { key: "u" }, text: "Take back (U)", on: { click: undo } })),
        el("p", { class: "soft" }, el("a", { href: link("pair", {}, one.pair_id), text: "Open the pair" }), one.rule ? [" · ", el("span", { dir: "auto", text: `Rule: ${one.rule}` })] : null),
      ),
    );
    // The end of a conversation is what the responses answer.
    prompt.scrollTop = prompt.scrollHeight;
  }

  const next = () => {
    draw();
    const title = document.getElementById("card-title") ?? card.querySelector("[tabindex]");
    title?.focus({ preventScroll: true });
    if (card.getBoundingClientRect().top < 0) card.scrollIntoView({ block: "start" });
  };

  function decide(word) {
    const one = queue.shift();
    if (!one) return;
    if (!who.name) {
      queue.unshift(one);
      form.ask();
      return;
    }
    past.push(one);
    done.add(name(one));
    keep("/api/decisions", { id: uuid(), reviewer: who.name, pair_id: one.pair_id, row: one.row, decision: word });
    next();
    counts();
    say(TOLD[word]);
    if (queue.length < 5 && !ended && !filling) fill(false);
  }

  function undo() {
    if (!who.name) return;
    const one = past.pop();
    const answer = keep("/api/undo", { id: uuid(), reviewer: who.name });
    if (one) {
      done.delete(name(one));
      queue.unshift(one);
      next();
      say("Taken back");
    }
    counts();
    answer.then(
      ({ undone }) => {
        if (one && undone && name(undone) === name(one)) return;
        if (!undone) {
          say("There is nothing to take back");
          if (one) restart();
          return;
        }
        // It was another one: what another window or an earlier visit decided comes back by itself.
        done.delete(name(undone));
        say(`Taken back: ${TOLD[undone.decision] ?? undone.decision}`);
        if (one) {
          restart();
          return;
        }
        returned(undone);
      },
      () => restart(),
    );
  }

  // After a reload the texts of what is taken back are asked for again.
  async function returned(undone) {
    try {
      const found = await get("/api/review", { reviewer: who.name, limit: 200 });
      take(found);
      const back = found.queue.find((one) => name(one) === name(undone));
      queue = queue.filter((one) => name(one) !== name(undone));
      if (back) queue.unshift(back);
      next();
    } catch {
      restart();
    }
  }

  restart();
  return {
    key(key) {
      if (info.read_only || !who.name) return false;
      if (key.toLowerCase() === "u") undo();
      else {
        const found = WORDS.find(([one]) => one === key.toLowerCase());
        if (!found || !queue.length) return false;
        decide(found[1]);
      }
      return true;
    },
    saved(entry, answer) {
      if (!["/api/decisions", "/api/undo"].includes(entry.path)) return;
      if (!answer) return void restart();
      counts();
      measure();
      if (!queue.length && !pending().length && !filling) fill(false);
    },
    leave() {
      filling?.abort();
      counting?.abort();
    },
  };
}
