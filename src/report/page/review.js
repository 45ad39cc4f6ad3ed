// Decides candidates one after the other, keeps what was decided in the browser, and saves it as a table.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const { run, candidates } = JSON.parse(byId("data").textContent);
  const cards = candidates.map((_, place) => byId("c" + place));
  const place = "wimhf review " + run;
  const key = (one) => one.row + " " + one.pair_id;
  const decided = new Map();
  const past = [];
  let current = -1;

  // A page opened from a file may be refused its memory: then what is saved is the table alone.
  const recall = () => {
    try {
      return JSON.parse(localStorage.getItem(place) || "{}");
    } catch {
      return {};
    }
  };
  const keep = () => {
    try {
      localStorage.setItem(place, JSON.stringify(Object.fromEntries(decided)));
    } catch {
      // Nothing to do: the table can still be saved.
    }
  };
  const before = recall();
  for (const one of candidates) {
    const word = before[key(one)] ?? one.decision;
    if (word) decided.set(key(one), word);
  }

  const matches = (word) => {
    const wanted = byId("review-show").value;
    if (!wanted) return true;
    if (wanted === "open") return !word;
    return wanted === "reject" ? word === "reject" : Boolean(word) && word !== "reject";
  };
  const show = () => {
    let rejected = 0;
    candidates.forEach((one, at) => {
      const word = decided.get(key(one)) || "";
      rejected += word === "reject";
      for (const button of cards[at].querySelectorAll("[data-word]")) {
        button.setAttribute("aria-pressed", String(button.dataset.word === word));
      }
      cards[at].hidden = !matches(word) && at !== current;
    });
    const changed = decided.size - rejected;
    byId("review-count").textContent =
      `${decided.size} of ${candidates.length} decided: ${changed} to change, ${rejected} rejected`;
    byId("review-undo").disabled = past.length === 0;
  };
  const go = (at) => {
    if (at < 0 || at >= cards.length) return;
    current = at;
    show();
    cards[at].focus({ preventScroll: true });
    cards[at].scrollIntoView({ block: "start" });
  };
  const step = (by) => {
    let at = current + by;
    while (at >= 0 && at < cards.length && !matches(decided.get(key(candidates[at])) || "")) at += by;
    go(at);
  };
  const decide = (at, word) => {
    const name = key(candidates[at]);
    past.push([at, decided.get(name)]);
    if (decided.get(name) === word) decided.delete(name);
    else decided.set(name, word);
    keep();
    current = at;
    show();
  };
  const undo = () => {
    const last = past.pop();
    if (!last) return;
    const name = key(candidates[last[0]]);
    if (last[1] === undefined) decided.delete(name);
    else decided.set(name, last[1]);
    keep();
    go(last[0]);
  };
  const save = () => {
    const columns = ["row", "decision", "pair_id", "action", "score", "rule", "reason"];
    // What a spreadsheet would run as a formula is kept as text.
    const cell = (text) => {
      const safe = /^[=+\-@\t\r\n]/.test(text) && Number.isNaN(Number(text)) ? "'" + text : text;
      return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
    };
    const line = (one) =>
      columns.map((name) => cell(String(name === "decision" ? decided.get(key(one)) || "" : one[name]))).join(",");
    const table = [columns.join(","), ...candidates.map(line)].join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table], { type: "text/csv" }));
    link.download = "decisions.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  };

  byId("review-tools").hidden = false;
  cards.forEach((card, at) => {
    const group = card.querySelector(".choose");
    group.hidden = false;
    // The end of a conversation is what the responses answer.
    const prompt = card.querySelector(".prompt");
    prompt.scrollTop = prompt.scrollHeight;
    group.addEventListener("click", (event) => {
      const word = event.target.dataset && event.target.dataset.word;
      if (word) decide(at, word);
    });
    card.addEventListener("focusin", () => {
      current = at;
    });
  });
  byId("review-show").addEventListener("change", show);
  byId("review-undo").addEventListener("click", undo);
  byId("review-save").addEventListener("click", save);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, textarea")) return;
    const word = { a: "accept", d: "drop", t: "tie", r: "reject" }[event.key];
    if (word && current >= 0) {
      decide(current, word);
      step(1);
    } else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "u") undo();
    else return;
    event.preventDefault();
  });
  show();
})();
