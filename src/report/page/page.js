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

  // A pair with its prompt, its responses and who judged it.
  const drawn = ([index, z, marksA, marksB]) => {
    const pair = data.pairs[index];
    const parts = [];
    if (pair.p) {
      const prompt = scrollable(make("div", "prompt text", pair.p), "Prompt");
      prompt.dir = "auto";
      parts.push(prompt);
    }
    const both = make("div", "pair");
    both.append(response("A", pair, pair.a, marksA, z > 0), response("B", pair, pair.b, marksB, z < 0));
    parts.push(both);
    if (pair.w) parts.push(make("p", "soft", "Annotator: " + pair.w));
    return parts;
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
    place.append(...drawn(entry));
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
      if (chosen && button.closest("details")) button.closest("details").open = true;
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

  // Every pair of the page, searched and filtered.
  const search = byId("pairs");
  if (search) {
    search.hidden = false;
    const [words, feature, label, who] = ["query", "feature", "label", "annotator"].map((id) => byId("pairs-" + id));
    const name = (pair, index) => "pair-" + (pair.id || index);
    // More than five are counted, not named.
    const named = (pair) => (pair.w ? pair.w.replace(/ and \d+ more$/, "").split(", ") : []);
    const told = (pair) => (pair.y > 0.5 ? "A" : pair.y < 0.5 ? "B" : "tie");
    for (const [id, { text }] of Object.entries(data.items)) {
      const option = make("option", "", text.length > 70 ? text.slice(0, 69).replace(/\s+\S*$/, "") + "…" : text);
      option.value = id;
      feature.append(option);
    }
    const people = [...new Set(data.pairs.flatMap((pair) => (named(pair))))].sort();
    byId("pairs-annotator-label").hidden = people.length === 0;
    for (const person of people) {
      const option = make("option", "", person);
      option.value = person;
      who.append(option);
    }
    let found = [];
    let place = 0;
    const show = () => {
      place = Math.max(0, Math.min(place, found.length - 1));
      const entry = found[place];
      byId("pairs-count").textContent = found.length ? `${place + 1} of ${found.length}` : "none";
      byId("pairs-back").disabled = place === 0;
      byId("pairs-on").disabled = place >= found.length - 1;
      byId("pairs-copy").disabled = byId("pairs-save").disabled = found.length === 0;
      const link = byId("pairs-link");
      link.hidden = !entry;
      byId("pairs-said").textContent = "";
      byId("pairs-pair").replaceChildren(...(entry ? drawn(entry) : [make("p", "soft", "No pair fits.")]));
      if (entry) link.href = "#" + name(data.pairs[entry[0]], entry[0]);
    };
    const look = () => {
      const wanted = words.value.trim().toLowerCase();
      const of = feature.value && data.items[feature.value];
      const entries = of ? [...of.for, ...of.against] : data.pairs.map((_, index) => [index, 0, [], []]);
      found = entries.filter(([index]) => {
        const pair = data.pairs[index];
        const { p, a, b } = pair;
        return (
          (!wanted || [p, a, b].some((text) => text && text.toLowerCase().includes(wanted))) &&
          (!label.value || told(pair) === label.value) &&
          (!who.value || named(pair).includes(who.value))
        );
      });
      place = 0;
      show();
    };
    const lines = () =>
      found
        .map(([index]) => {
          const { p, a, b, y, n, w, id } = data.pairs[index];
          return JSON.stringify({ id, prompt: p, response_A: a, response_B: b, label: y, labels: n, annotators: w });
        })
        .join("\n") + "\n";
    const said = (text) => (byId("pairs-said").textContent = text);
    words.addEventListener("input", look);
    for (const select of [feature, label, who]) select.addEventListener("change", look);
    byId("pairs-back").addEventListener("click", () => (place--, show()));
    byId("pairs-on").addEventListener("click", () => (place++, show()));
    byId("pairs-copy").addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(lines());
        said(`${found.length} copied`);
      } catch {
        said("The browser does not allow it; download them instead.");
      }
    });
    byId("pairs-save").addEventListener("click", () => {
      const link = make("a");
      link.href = URL.createObjectURL(new Blob([lines()], { type: "application/x-ndjson" }));
      link.download = "pairs.jsonl";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      said(`${found.length} downloaded; long texts are cut as they are shown here`);
    });
    const jump = () => {
      const wanted = location.hash.slice(1);
      if (!wanted.startsWith("pair-")) return;
      const index = data.pairs.findIndex((pair, index) => name(pair, index) === wanted);
      if (index < 0) return;
      words.value = feature.value = label.value = who.value = "";
      look();
      place = index;
      show();
      search.scrollIntoView({ block: "start" });
      byId("pairs-title").focus({ preventScroll: true });
    };
    window.addEventListener("hashchange", jump);
    look();
    jump();
  }

  // On paper nothing can be opened: the clearest pair for each principle and the clearest against it.
  const paper = make("section");
  paper.id = "printed";
  panel.after(paper);
  window.addEventListener("beforeprint", () => {
    paper.replaceChildren(make("h2", "", "Evidence: the clearest pair for and against"));
    const rows = [...document.querySelectorAll("#principles-table tbody tr:not([hidden]) button.open")];
    for (const button of rows.length ? rows : openers.slice(0, 10)) {
      const one = data.items[button.dataset.feature];
      if (!one) continue;
      paper.append(make("h3", "", one.text), make("p", "soft", one.effect));
      sides.forEach((side, i) => {
        if (one[side].length) paper.append(make("h4", "", one.titles[i]), ...drawn(one[side][0]));
      });
    }
  });
  window.addEventListener("afterprint", () => paper.replaceChildren());

  const asked = location.hash.slice(1).replace(/^pair-.*/, "");
  const first = openers[0];
  if (!open(asked, openers.find((button) => button.dataset.feature === asked) || first || null, false) && first) {
    open(first.dataset.feature, first, false);
  }
})();
