// What the page does beyond standing still: sort and filter the table, page through the evidence.
// Texts of the dataset reach the page as text nodes only.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const make = (name, classes, text) => {
    const element = document.createElement(name);
    if (classes) element.className = classes;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // The table of principles.
  const table = byId("principles-table");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const tools = byId("principles-tools");
    tools.hidden = false;
    const [query, direction, flagged, count] = ["query", "direction", "flagged", "count"].map((id) => byId("principles-" + id));
    const filter = () => {
      const wanted = query.value.trim().toLowerCase();
      let shown = 0;
      for (const row of rows) {
        const fits =
          row.dataset.text.includes(wanted) &&
          (!direction.value || row.dataset.direction === direction.value) &&
          (!flagged.checked || row.dataset.flags !== "");
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = `${shown} of ${rows.length} shown`;
    };
    query.addEventListener("input", filter);
    direction.addEventListener("change", filter);
    flagged.addEventListener("change", filter);
    filter();
    for (const button of table.querySelectorAll("button.sort")) {
      button.addEventListener("click", () => {
        const head = button.closest("th");
        const key = button.dataset.key;
        const up = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up === 1 ? "ascending" : "descending");
        const value = (row) => row.dataset[key];
        const compare = key === "text" ? (a, b) => value(a).localeCompare(value(b)) : (a, b) => value(a) - value(b);
        rows.sort((a, b) => up * compare(a, b) || a.dataset.rank - b.dataset.rank);
        body.append(...rows);
      });
    }
  }

  // The evidence.
  const panel = byId("evidence");
  if (!panel) return;
  const sides = ["for", "against"];
  const openers = [...document.querySelectorAll("button.open")];
  const at = {};
  let item = null;
  let opener = null;
  const query = byId("evidence-query");

  const fits = ([pair]) => {
    const wanted = query.value.trim().toLowerCase();
    if (!wanted) return true;
    const { p, a, b, w } = data.pairs[pair];
    return [p, a, b, w].some((text) => text && text.toLowerCase().includes(wanted));
  };

  const marked = (parent, text, marks) => {
    let done = 0;
    for (let i = 0; i + 1 < marks.length; i += 2) {
      parent.append(text.slice(done, marks[i]), make("mark", "", text.slice(marks[i], marks[i + 1])));
      done = marks[i + 1];
    }
    parent.append(text.slice(done));
  };

  const scrollable = (element, label) => {
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", label);
    return element;
  };

  const response = (letter, pair, text, marks, more) => {
    const share = letter === "A" ? pair.y : 1 - pair.y;
    const box = make("div", "response" + (share > 0.5 ? " won" : ""));
    const head = make("h4", "", "Response " + letter);
    if (share > 0.5) {
      head.append(make("span", "badge", pair.n > 1 ? `✓ preferred (${Math.round(share * 100)} % of ${pair.n} labels)` : "✓ preferred"));
    }
    if (more) head.append(make("span", "soft", "more of it"));
    const body = scrollable(make("div", "body text"), "Text of response " + letter);
    body.dir = "auto";
    marked(body, text, marks);
    box.append(head, body);
    return box;
  };

  const draw = (side) => {
    const found = item[side].filter(fits);
    at[side] = Math.max(0, Math.min(at[side], found.length - 1));
    const entry = found[at[side]];
    byId(side + "-count").textContent = found.length ? `${at[side] + 1} of ${found.length}` : "none";
    byId(side + "-back").disabled = at[side] === 0;
    byId(side + "-on").disabled = at[side] >= found.length - 1;
    const place = byId(side + "-pair");
    place.replaceChildren();
    if (!entry) {
      place.append(make("p", "soft", query.value ? "No pair with these words." : "No such pair among the held-out ones."));
      return;
    }
    const [index, z, marksA, marksB] = entry;
    const pair = data.pairs[index];
    if (pair.p) {
      const prompt = scrollable(make("div", "prompt text", pair.p), "Prompt");
      prompt.dir = "auto";
      place.append(prompt);
    }
    const both = make("div", "pair");
    both.append(response("A", pair, pair.a, marksA, z > 0), response("B", pair, pair.b, marksB, z < 0));
    place.append(both);
    if (pair.w) place.append(make("p", "soft", "Annotator: " + pair.w));
  };

  const open = (id, from, move) => {
    if (!Object.hasOwn(data.items, id)) return false;
    item = data.items[id];
    opener = from;
    query.value = "";
    for (const side of sides) at[side] = 0;
    byId("evidence-title").textContent = item.text;
    byId("evidence-effect").textContent = item.effect;
    sides.forEach((side, i) => {
      byId(side + "-title").textContent = item.titles[i];
    });
    for (const button of openers) {
      const chosen = button.dataset.feature === id;
      button.setAttribute("aria-expanded", String(chosen));
      button.closest("tr").classList.toggle("chosen", chosen);
    }
    panel.hidden = false;
    sides.forEach(draw);
    if (move) {
      panel.scrollIntoView({ block: "start" });
      byId("evidence-title").focus({ preventScroll: true });
      try {
        history.replaceState(null, "", "#" + id);
      } catch {
        // Some viewers forbid it; the page works without.
      }
    }
    return true;
  };

  const turn = (side, by) => {
    at[side] += by;
    draw(side);
  };

  for (const button of openers) {
    button.setAttribute("aria-controls", "evidence");
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => open(button.dataset.feature, button, true));
  }
  for (const side of sides) {
    byId(side + "-back").addEventListener("click", () => turn(side, -1));
    byId(side + "-on").addEventListener("click", () => turn(side, 1));
    byId(side).addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === "ArrowLeft") turn(side, -1);
      else if (event.key === "ArrowRight") turn(side, 1);
      else return;
      event.preventDefault();
    });
  }
  query.addEventListener("input", () => {
    for (const side of sides) {
      at[side] = 0;
      draw(side);
    }
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !opener) return;
    opener.focus();
    opener.scrollIntoView({ block: "center" });
  });

  const asked = location.hash.slice(1);
  const first = openers[0];
  if (!open(asked, openers.find((button) => button.dataset.feature === asked) || first || null, false) && first) {
    open(first.dataset.feature, first, false);
  }
})();
