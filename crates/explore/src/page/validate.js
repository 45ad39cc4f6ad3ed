// Asks people, blind, whether the words of a feature are true of a response.
import { download, get, keep, state, unsavedHere, uuid, who, whoForm } from "./api.js";
import { heading, link, trouble } from "./app.js";
import { count, el, folded, many, rate, say, share } from "./text.js";

const ANSWERS = [
  ["1", "first", "The first"],
  ["2", "second", "The second"],
  ["b", "both", "Both"],
  ["n", "neither", "Neither"],
  ["u", "unsure", "Unsure"],
];
const LONG = 1500;

export function open(root) {
  const { info } = state;
  const form = info.read_only ? null : whoForm(() => look());
  const progress = el("p", { id: "validate-count" });
  const bar = el("progress", { id: "validate-bar", "aria-label": "Judged so far", max: 1, value: 0, hidden: true });
  const card = el("div", { id: "task" });
  const table = el("section", { id: "judged", "aria-label": "How often people agree with the words" });
  root.append(heading("Do the words fit?"), el("p", { class: "soft", text: "You see the words for something that was found, and two responses; you do not see which was preferred, nor what was measured. Say of which response the words are true." }));
  if (form) root.append(form);
  root.append(el("p", { class: "bar" }, bar), progress, card, table);
  let asked = null;
  let task = null;

  async function look(focus = false) {
    asked?.abort();
    const mine = (asked = new AbortController());
    card.setAttribute("aria-busy", "true");
    try {
      const found = await get("/api/validate", { rater: who.name || "" }, { signal: mine.signal, name: "validate", progress: () => (progress.textContent = "The tasks are being made") });
      task = who.name && !info.read_only ? found.task : null;
      progress.textContent = who.name ? `${count(found.done)} of ${many(found.of, "task")} judged by you` : many(found.of, "task");
      bar.hidden = !who.name;
      bar.max = Math.max(1, found.of);
      bar.value = found.done;
      draw(found);
      tell(found);
      if (focus) card.querySelector("h2")?.focus({ preventScroll: true });
    } catch (error) {
      if (error.name !== "AbortError") card.replaceChildren(trouble(error, () => look()));
    }
    if (asked === mine) card.removeAttribute("aria-busy");
  }

  function draw(found) {
    if (!task) {
      card.replaceChildren(el("p", { class: "none", tabIndex: -1, text: info.read_only || !who.name ? "" : found.of ? "Nothing is left: you have judged every task." : "There are no tasks." }));
      return;
    }
    const box = (name, text) => {
      const body = el("div", { class: "body text", text });
      return el("section", { class: "response", "aria-label": `${name} response` }, el("h3", { class: "small", text: `${name} response` }), ...folded(body, `Text of the ${name.toLowerCase()} response`, text.length > LONG));
    };
    task.prompt ??= "";
    const prompt = el("div", { class: "prompt text" + (task.prompt.length > LONG ? " long" : ""), text: task.prompt });
    card.replaceChildren(
      el(
        "article",
        { class: "card", "aria-labelledby": "task-title", data: { feature: task.feature, pair: task.pair_id } },
        el("h2", { id: "task-title", class: "small", tabIndex: -1 }, "Is this true of the first response, the second, both or neither? ", el("q", { class: "words", dir: "auto", text: task.text })),
        task.prompt ? folded(prompt, "Prompt", task.prompt.length > LONG) : null,
        el("div", { class: "pair" }, box("First", task.first), box("Second", task.second)),
        el("div", { class: "choose" }, ANSWERS.map(([key, answer, text]) => el("button", { type: "button", data: { answer, key }, text: `${text} (${key.toUpperCase()})`, on: { click: () => decide(answer) } }))),
      ),
    );
    prompt.scrollTop = prompt.scrollHeight;
  }

  function tell(found) {
    const row = (one) =>
      el(
        "tr",
        { class: one.rename ? "rename" : "" },
        el("th", { scope: "row" }, el("a", { dir: "auto", href: link("pairs", { feature: one.feature, sort: "activation", descending: 1 }), text: one.text || one.feature }), one.rename && el("span", { class: "flag", text: "other words needed" })),
        el("td", { data: { name: "People agree with the words" }, text: one.right ? rate(one.right) : `not known yet (n = ${count(one.judged)})` }),
        el("td", { data: { name: "Earlier readers agreed" }, text: one.machine ? rate(one.machine) : "nobody has read it" }),
        el("td", { class: "n", data: { name: "Judged" }, text: `${count(one.judged)} by ${many(one.raters, "person", "people")}` }),
        el("td", { class: "n", data: { name: "People agree with each other" }, text: typeof one.alpha === "number" ? `${share(one.alpha)} of 1` : one.raters > 1 ? "not known yet" : "one person" }),
      );
    const filled = [...found.features].sort((a, b) => b.rename - a.rename || b.judged - a.judged);
    const names = ["Words", "People agree with the words", "Earlier readers agreed", "Judged", "People agree with each other"];
    table.replaceChildren(
      el("p", { id: "validate-sentence", dir: "auto", text: found.sentence }),
      el("div", { class: "wide", tabIndex: 0, role: "group", "aria-label": "Words and how often people agree with them" }, el("table", { class: "stack" }, el("caption", { text: "How often people agreed with the words; those that need other words first" }), el("thead", {}, el("tr", {}, names.map((text, i) => el("th", { scope: "col", class: i > 2 ? "n" : "", text })))), el("tbody", {}, filled.map(row)))),
      el("p", {}, el("a", { href: download("/api/verdicts.csv"), download: "", id: "verdicts-csv", text: "verdicts.csv" }), " is the table of all answers. Other words are given under ", el("a", { href: link("principles"), text: "Principles" }), "."),
    );
  }

  function decide(answer) {
    if (!task || !who.name || card.hasAttribute("aria-busy")) return;
    const { feature, pair_id } = task;
    task = null;
    keep("/api/verdicts", { id: uuid(), rater: who.name, feature, pair_id, answer });
    card.setAttribute("aria-busy", "true");
    progress.textContent = "Being saved; the next one comes then";
    say("Noted");
  }

  look();
  return {
    key(key) {
      const found = ANSWERS.find(([one]) => one === key.toLowerCase());
      if (!found || !task) return false;
      decide(found[1]);
      return true;
    },
    saved(entry) {
      if (entry.path === "/api/verdicts" && !unsavedHere().some((one) => one.path === "/api/verdicts")) look(true);
    },
    indexed: () => look(),
    leave: () => asked?.abort(),
  };
}
