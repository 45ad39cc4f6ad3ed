// Principles and all that was found: how strongly each goes with the labels, its words, and the constitution made of them.
import { get, keep, state } from "./api.js";
import { featureField, heading, link, readdress, refresh, trouble } from "./app.js";
import { choice, count, el, labelled, later, many, percent, rate, say, svg, wins, words } from "./text.js";

const PAGE = 40;
const SOURCES = { known: "a fixed rule", dictionary: "the dictionary", learned: "this data", difference: "differences between responses", theme: "a theme of words" };
const SHOW = [
  ["", "principles first"],
  ["principles", "principles only"],
  ["flagged", "flagged only"],
  ["hidden", "hidden only"],
  ["edited", "edited only"],
];

export function open(root, { params }) {
  const { info } = state;
  let wanted = { q: params.q ?? "", show: params.show ?? "", more: PAGE };
  const expanded = new Set();
  let rules = null;
  let asked = null;
  const query = el("input", { type: "search", id: "features-q", autocomplete: "off", value: wanted.q });
  query.addEventListener("input", later(() => change({ q: query.value.trim() })));
  const show = choice(SHOW, wanted.show, (value) => change({ show: value }), { id: "features-show" });
  const shown = el("p", { id: "features-count", role: "status" });
  const list = el("ol", { class: "features", id: "features" });
  const more = el("button", { type: "button", id: "features-more", text: "Show more", on: { click: () => ((wanted.more += PAGE), draw()) } });
  const side = el("aside", { class: "constitution", id: "constitution", tabIndex: 0, "aria-labelledby": "constitution-title" }, el("h2", { class: "small", id: "constitution-title", text: "The constitution" }), el("p", { role: "status", class: "soft", id: "working", text: "being worked out…" }), el("div", { id: "rules" }));
  root.append(
    heading("Principles and what was found"),
    el("p", { class: "soft", text: "What the preferred responses have more of, or less of. Each is associated with the label; that it is the reason for the label is not shown." }),
    el("div", { class: "beside" }, el("section", { "aria-label": "What was found" }, el("div", { class: "tools" }, labelled("Search", query, "broad"), labelled("Show", show)), shown, axis(), list, more), side),
  );

  function change(next) {
    wanted = { ...wanted, ...next, more: PAGE };
    readdress(link("principles", { q: wanted.q, show: wanted.show }), false);
    draw();
  }

  const all = () => state.info.features;
  const largest = () => Math.max(0.05, ...all().filter((one) => one.win).map((one) => Math.max(Math.abs(one.win.low), Math.abs(one.win.high), Math.abs(one.win.value))));
  let reach = largest();

  function axis() {
    return el("p", { class: "soft legend" }, "The bar: how many points more often the response with more of it wins, with its 95 % interval; the line in the middle is no difference.");
  }

  function bar(win) {
    if (!win) return el("span", { class: "bar-place" });
    const x = (value) => 100 + (Math.max(-reach, Math.min(reach, value)) / reach) * 96;
    const [from, to] = [x(0), x(win.value)].sort((a, b) => a - b);
    const unclear = win.low <= 0 && win.high >= 0;
    return svg(
      "svg",
      { viewBox: "0 0 200 18", class: "effect", role: "img", "aria-label": wins(win), preserveAspectRatio: "none" },
      svg("rect", { x: from, y: 4, width: Math.max(0.5, to - from), height: 10, class: unclear ? "unclear" : win.value < 0 ? "minus" : "plus" }),
      svg("line", { x1: 100, x2: 100, y1: 0, y2: 18, class: "zero" }),
      svg("line", { x1: x(win.low), x2: x(win.high), y1: 9, y2: 9, class: "interval" }),
      svg("line", { x1: x(win.low), x2: x(win.low), y1: 5, y2: 13, class: "interval" }),
      svg("line", { x1: x(win.high), x2: x(win.high), y1: 5, y2: 13, class: "interval" }),
    );
  }

  function fits(one) {
    const text = `${one.text} ${one.short ?? ""} ${one.reworded ?? ""} ${one.statement ?? ""} ${one.id}`.toLowerCase();
    if (!wanted.q.toLowerCase().split(/\s+/).every((word) => text.includes(word))) return false;
    if (wanted.show === "principles") return one.principle !== null;
    if (wanted.show === "flagged") return one.flagged || one.flags.length > 0;
    if (wanted.show === "hidden") return one.hidden || Boolean(one.merged_into);
    if (wanted.show === "edited") return edited(one);
    return true;
  }
  const edited = (one) => one.hidden || one.flagged || Boolean(one.reworded) || Boolean(one.merged_into) || pinned(one.id) || dropped(one.id);
  const pinned = (id) => state.features.get(id)?.pinned ?? Boolean(rules?.rules.find((one) => one.feature === id)?.pinned);
  const dropped = (id) => state.features.get(id)?.dropped ?? Boolean(rules?.dropped.some((one) => one.feature === id));

  function draw() {
    const found = all().filter(fits);
    const held = document.activeElement?.closest?.("[data-feature]")?.dataset.feature;
    const heldBy = document.activeElement?.dataset?.act;
    shown.textContent = `${count(found.length)} of ${count(all().length)} shown${found.length > wanted.more ? `, the first ${count(wanted.more)} here` : ""}`;
    list.replaceChildren(...found.slice(0, wanted.more).map(drawn));
    more.hidden = found.length <= wanted.more;
    if (held && heldBy) list.querySelector(`[data-feature="${CSS.escape(held)}"] [data-act="${heldBy}"]`)?.focus({ preventScroll: true });
  }

  function drawn(one) {
    const name = words(one);
    const open = expanded.has(one.id);
    const flags = [
      one.principle !== null && el("span", { class: "rank", text: `principle ${one.principle}` }),
      ...one.flags.map((flag) => el("span", { class: "flag", text: flag })),
      one.flagged && el("span", { class: "flag", text: "flagged by you" }),
      one.hidden && el("span", { class: "flag", text: "hidden" }),
      one.merged_into && el("span", { class: "flag", text: `merged into: ${words(state.features.get(one.merged_into)) || one.merged_into}` }),
      pinned(one.id) && el("span", { class: "flag", text: "pinned" }),
      dropped(one.id) && el("span", { class: "flag", text: "dropped from the constitution" }),
    ];
    const facts = [wins(one.win)];
    if (typeof one.prevalence === "number") facts.push(`shows in ${percent(one.prevalence)} of the pairs`);
    if (one.fidelity) facts.push(`readers agreed with the words: ${rate(one.fidelity)}`);
    if (!one.speaks) facts.push("no words are known to fit it");
    facts.push(`found by ${SOURCES[one.source] ?? one.source}`);
    return el(
      "li",
      { class: "feature" + (one.hidden || one.merged_into ? " away" : ""), data: { feature: one.id } },
      el("div", { class: "line1" }, el("h2", { class: "name" }, el("a", { dir: "auto", href: link("pairs", { feature: one.id, sort: "activation", descending: 1 }), title: "Its pairs", text: name })), flags, !info.read_only && el("button", { type: "button", class: "edit", "aria-expanded": String(open), "aria-label": `${open ? "Close" : "Edit"}: ${name}`, data: { act: "edit" }, text: open ? "Close" : "Edit", on: { click: () => (open ? expanded.delete(one.id) : expanded.add(one.id), draw()) } })),
      one.reworded ? el("p", { class: "soft", dir: "auto", text: `Before: ${one.text}` }) : null,
      one.statement ? el("p", { class: "statement", dir: "auto", text: one.statement }) : null,
      bar(one.win),
      el("p", { class: "soft", text: facts.join("; ") + "." }),
      open ? editor(one) : null,
    );
  }

  function editor(one) {
    const id = "e" + [...state.features.keys()].indexOf(one.id);
    const input = el("input", { id: id + "-words", value: one.reworded ?? one.text, maxLength: 500, autocomplete: "off" });
    const toggle = (act, now, yes, no, field) => el("button", { type: "button", data: { act }, text: now ? no : yes, on: { click: () => edit(one.id, { [field]: !now }, now ? no : yes) } });
    let into = one.merged_into ?? "";
    const field = featureField(into, (value) => (into = value), { id: id + "-merge", placeholder: "words of another one" });
    return el(
      "div",
      { class: "editor" },
      el("form", { class: "tools", on: { submit: (event) => (event.preventDefault(), edit(one.id, { reworded: input.value.trim() === one.text ? "" : input.value.trim() }, "Reworded")) } }, labelled("Other words", input, "broad"), el("button", { type: "submit", data: { act: "reword" }, text: "Reword" }), one.reworded && el("button", { type: "button", data: { act: "original" }, text: "The words as before", on: { click: () => edit(one.id, { reworded: "" }, "The words are as before") } })),
      el("div", { class: "tools" }, toggle("hide", one.hidden, "Hide", "Show again", "hidden"), toggle("flag", one.flagged, "Flag", "Take the flag off", "flagged"), toggle("pin", pinned(one.id), "Pin in the constitution", "Unpin", "pinned"), toggle("drop", dropped(one.id), "Drop from the constitution", "Put back into the constitution", "dropped")),
      el("form", { class: "tools", on: { submit: (event) => {
        event.preventDefault();
        if (into && into !== one.id) edit(one.id, { merged_into: into }, "Merged");
        else say("Choose another one to merge it into");
      } } }, labelled("Says the same as", field.input, "broad"), field.list, el("button", { type: "submit", data: { act: "merge" }, text: "Merge" }), one.merged_into && el("button", { type: "button", data: { act: "unmerge" }, text: "Keep apart", on: { click: () => edit(one.id, { merged_into: "" }, "Kept apart") } })),
    );
  }

  function edit(feature, fields, told) {
    keep("/api/edits", { feature, ...fields });
    // What was said is shown at once; the server's word follows.
    Object.assign(state.features.get(feature), fields);
    say(told);
    draw();
  }

  async function constitution() {
    asked?.abort();
    const mine = (asked = new AbortController());
    const working = side.querySelector("#working");
    working.textContent = "being worked out…";
    side.setAttribute("aria-busy", "true");
    try {
      rules = await get("/api/constitution", {}, { signal: mine.signal, name: "constitution", progress: (done) => (working.textContent = `being worked out… ${percent(done)}`) });
      const rule = (one) => el("li", {}, el("span", { class: one.direction === "avoid" ? "avoid" : "prefer", dir: "auto", text: one.statement }), one.pinned && el("span", { class: "flag", text: "pinned" }), one.accuracy && el("span", { class: "soft", text: ` right ${rate(one.accuracy)}` }));
      side.querySelector("#rules").replaceChildren(
        el("p", { dir: "auto", text: rules.sentence }),
        ...(rules.accuracy ? [el("p", {}, el("strong", { text: "All rules together pick the preferred response: " }), rate(rules.accuracy))] : []),
        el("ol", {}, rules.rules.map(rule)),
        ...(rules.costs.length ? [el("h3", { text: "What the edits cost" }), el("ul", { id: "costs" }, rules.costs.map((text) => el("li", { dir: "auto", text })))] : []),
        ...(rules.dropped.length ? [el("h3", { text: "Dropped" }), el("ul", {}, rules.dropped.map((one) => el("li", { dir: "auto", text: one.statement })))] : []),
        el("p", { class: "soft" }, "Edits are written to ", el("code", { text: rules.file }), "; `wimhf` takes them from there."),
      );
      working.textContent = "";
      draw();
    } catch (error) {
      if (error.name === "AbortError") return;
      working.textContent = "";
      side.querySelector("#rules").replaceChildren(trouble(error, constitution));
    }
    if (asked === mine) side.removeAttribute("aria-busy");
  }

  draw();
  constitution();
  return {
    async saved(entry, answer) {
      if (entry.path !== "/api/edits") return;
      if (!(await refresh())) return;
      reach = largest();
      draw();
      if (answer) constitution();
    },
    update({ params: next }) {
      wanted = { q: next.q ?? "", show: next.show ?? "", more: PAGE };
      query.value = wanted.q;
      show.value = wanted.show;
      draw();
    },
    leave: () => asked?.abort(),
  };
}
