// Finds pairs: by words, by what shows in them, by who judged them; a page of 25 at a time.
import { download, get, state } from "./api.js";
import { featureField, heading, link, readdress, trouble, whole } from "./app.js";
import { brief, choice, copy, count, el, excerpt, hits, labelled, later, layered, many, percent, preferred, say, share } from "./text.js";

export const FILTERS = ["q", "feature", "side", "label", "annotator", "model", "context", "candidate", "decided", "sort", "descending"];
const PAGE = 25;

/** What the server is asked for, of what the address says. */
export const filters = (params) => Object.fromEntries(FILTERS.filter((name) => params[name]).map((name) => [name, params[name]]));

// The last page that was found, for "next" and "back" in a pair.
export const listing = { key: "", offset: 0, rows: [], total: 0 };
export const keyOf = (wanted) => JSON.stringify([state.run, wanted]);

const details = new Map();
/** A pair; kept for a while. */
export async function fetchPair(id, signal, fresh = false) {
  const key = `${state.run} ${id}`;
  if (!fresh && details.has(key)) return details.get(key);
  const found = await get("/api/pair/" + encodeURIComponent(id), {}, { signal, name: "pair" });
  found.prompt ??= "";
  details.delete(key);
  details.set(key, found);
  if (details.size > 60) details.delete(details.keys().next().value);
  return found;
}
export const forget = (id) => details.delete(`${state.run} ${id}`);

const SORTS = [
  ["", "as they stand in the data"],
  ["activation", "how strongly the feature shows"],
  ["surprise", "how surprising the label is"],
  ["certainty", "how sure the expectation is"],
  ["length", "how long the texts are"],
];

export function open(root, { params }) {
  let wanted = filters(params);
  let offset = Math.max(0, Number(params.offset) || 0);
  let asked = null;
  const { info } = state;

  const query = el("input", { type: "search", id: "q", autocomplete: "off", spellcheck: false, placeholder: 'words, "a phrase", start*' });
  const type = later(() => set("q", query.value.trim(), false));
  query.addEventListener("input", type);
  query.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      type.cancel();
      set("q", query.value.trim(), true);
    }
  });
  const feature = featureField(wanted.feature, (id) => set("feature", id), { id: "feature" });
  const pick = (name, options) => choice(options, "", (value) => set(name, value), { id: name });
  const side = pick("side", [["", "in either"], ["A", "more in A"], ["B", "more in B"], ["preferred", "more in the preferred one"], ["other", "more in the other one"], ["any", "in one of them"], ["none", "in neither"]]);
  const label = pick("label", [["", "any"], ["A", "A preferred"], ["B", "B preferred"], ["tie", "a tie"], ["none", "no label"]]);
  // Few names are chosen from a list, many are typed.
  const typed = (name, all, total, hint) => {
    if (total <= 30) return { input: pick(name, [["", "any"], ...all.map((one) => [one.name, `${one.name} (${count(one.pairs)})`])]) };
    const input = el("input", { type: "search", id: name, list: name + "-list", autocomplete: "off", placeholder: hint });
    // While a name is being typed nothing is asked for: only a whole one is looked for.
    const names = new Set(all.map((one) => one.name));
    input.addEventListener("input", () => (input.value === "" || names.has(input.value)) && set(name, input.value));
    input.addEventListener("change", () => set(name, input.value.trim()));
    return { input, list: el("datalist", { id: name + "-list" }, all.map((one) => el("option", { value: one.name }))) };
  };
  const annotator = info.annotators.length ? typed("annotator", info.annotators, info.annotators_total, `one of ${count(info.annotators_total)}`) : null;
  const model = info.models.length ? typed("model", info.models, info.models.length, `one of ${count(info.models.length)}`) : null;
  const context = info.contexts.length ? pick("context", [["", "any"], ...info.contexts.map((one) => [one.id, `${brief(one.text, 60)} (${count(one.pairs)})`])]) : null;
  const candidate = pick("candidate", [["", "any"], ["1", "only with a proposed change"], ...(info.actions.length > 1 ? info.actions.map((action) => [action, `only: ${action}`]) : [])]);
  const decided = pick("decided", [["", "any"], ["open", "not decided yet"], ["decided", "decided"]]);
  const sort = choice(SORTS, "", (value) => {
    wanted.descending = value ? "1" : "";
    set("sort", value);
  }, { id: "sort" });
  const turn = el("button", { type: "button", id: "turn", on: { click: () => set("descending", wanted.descending === "1" ? "0" : "1") } });
  const clear = el("button", { type: "button", id: "clear", text: "Clear all", on: { click: () => {
    type.cancel();
    wanted = {};
    offset = 0;
    controls();
    readdress(here(), true);
    look();
    query.focus();
  } } });

  const controls = () => {
    if (document.activeElement !== query) query.value = wanted.q ?? "";
    if (document.activeElement !== feature.input) feature.set(wanted.feature);
    side.value = wanted.side ?? "";
    side.disabled = !wanted.feature;
    for (const [name, one] of Object.entries({ label, context, candidate, decided, sort, annotator: annotator?.input, model: model?.input })) {
      if (one && document.activeElement !== one) one.value = wanted[name] ?? "";
    }
    sort.options[1].disabled = !wanted.feature;
    const down = wanted.descending === "1";
    const names = { activation: ["weakest first", "strongest first"], surprise: ["least first", "most first"], certainty: ["least sure first", "surest first"], length: ["shortest first", "longest first"] }[wanted.sort] ?? ["first to last", "last to first"];
    turn.textContent = names[down ? 1 : 0];
    turn.setAttribute("aria-label", `Order: ${turn.textContent}. Turn round`);
    clear.disabled = !Object.keys(wanted).length;
  };

  const found = el("p", { id: "found", role: "status" });
  const said = el("span", { class: "soft", id: "pairs-said", role: "status" });
  const saves = el("span", { class: "links", id: "downloads" });
  const rows = el("ol", { class: "rows", id: "rows" });
  const pages = el("nav", { class: "pages", "aria-label": "Pages of pairs" });
  root.append(
    heading("Pairs"),
    el(
      "form",
      { class: "filters", id: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
      labelled("Search in prompts and responses", query, "broad"),
      labelled("Feature", feature.input, "broad"),
      feature.list,
      labelled("Where it shows", side),
      labelled("Label", label),
      annotator && labelled("Annotator", annotator.input),
      annotator?.list,
      model && labelled("Model", model.input),
      model?.list,
      context && labelled("Kind of request", context),
      labelled("Proposed change", candidate),
      labelled("Decided", decided),
      labelled("Order by", sort),
      el("div", { class: "buttons" }, turn, clear),
    ),
    el("div", { class: "results" }, found, el("div", { class: "tools" }, el("button", { type: "button", id: "copy-link", text: "Copy link", on: { click: () => copy(whole(here()), "Link", said) } }), el("span", { text: "Download these:" }), saves, said)),
    rows,
    pages,
  );

  function here() {
    return link("pairs", { ...wanted, offset: offset || "" });
  }
  function set(name, value, step = true) {
    if ((wanted[name] ?? "") === value && name !== "sort") return;
    if (value) wanted[name] = value;
    else delete wanted[name];
    if (!wanted.feature) {
      delete wanted.side;
      if (wanted.sort === "activation") delete wanted.sort, delete wanted.descending;
    }
    if (!wanted.descending) delete wanted.descending;
    offset = 0;
    readdress(here(), step);
    controls();
    look();
  }

  const move = (to) => {
    offset = to;
    readdress(here(), true);
    look().then(() => {
      found.scrollIntoView({ block: "start" });
      rows.querySelector("a")?.focus({ preventScroll: true });
    });
  };

  async function look() {
    asked?.abort();
    const mine = (asked = new AbortController());
    const key = keyOf(wanted);
    rows.setAttribute("aria-busy", "true");
    saves.replaceChildren(...[["csv", "CSV"], ["jsonl", "JSONL"], ["trl", "TRL"], ["parquet", "Parquet"]].map(([format, name]) => el("a", { href: download("/api/download", { ...wanted, format }), download: "", data: { format }, text: name, on: { click: (event) => tooMany(event, key) } })));
    try {
      const page = await get("/api/pairs", { ...wanted, offset: offset || "", limit: PAGE }, {
        signal: mine.signal,
        name: wanted.q ? "search" : Object.keys(wanted).length ? "filter" : "pairs",
        progress: (done) => (found.textContent = `The pairs are being made searchable: ${percent(done)}`),
      });
      Object.assign(listing, { key, offset, rows: page.rows, total: page.total });
      const number = page.total === 0 ? "No pair fits" : `${page.at_least ? "At least " : ""}${many(page.total, "pair")} of ${count(page.of)}`;
      found.textContent = number + (page.total > PAGE ? `, ${count(offset + 1)} to ${count(offset + page.rows.length)} shown` : "");
      rows.start = offset + 1;
      rows.replaceChildren(...page.rows.map((row, i) => drawn(row, offset + i)));
      turnPages(page);
      if (wanted.feature) evidence(page.rows, mine.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      found.textContent = "";
      rows.replaceChildren(el("li", { class: "none" }, trouble(error, look)));
      pages.replaceChildren();
      say(error.message);
    }
    if (mine === asked) rows.removeAttribute("aria-busy");
  }

  /** A file holds only so many; the browser would save the refusal under the file's name. */
  function tooMany(event, key) {
    const most = state.info.downloads;
    const over = listing.key === key && listing.total > most;
    said.textContent = over ? `At most ${many(most, "pair")} go into one file: narrow the filter, or write all of them with wimhf export.` : "";
    if (over) event.preventDefault();
  }

  function text(name, letter, body, ranges, chosen) {
    const cut = excerpt(body, ranges);
    const shown = layered(el("span", { class: "text", dir: "auto" }), cut.text, [{ ranges: cut.ranges, tag: "mark" }]);
    return el("div", { class: "cell" + (chosen ? " won" : ""), data: { text: letter } }, el("span", { class: "what", text: name }), shown);
  }

  function drawn(row, at) {
    row.prompt ??= "";
    const won = row.label === null || row.label === undefined ? "" : row.label > 0.5 ? "A" : row.label < 0.5 ? "B" : "";
    const q = wanted.q ?? "";
    const facts = [el("span", { class: won ? "badge" : "", text: preferred(row.label, row.labels) })];
    if (row.side) facts.push(el("span", { text: `more of it in ${row.side}, strength ${share(row.activation)}` }));
    if (row.surprise !== null && row.surprise !== undefined) facts.push(el("span", { text: `surprise ${share(row.surprise)} of 1` }));
    if (wanted.sort === "certainty" && typeof row.certainty === "number") facts.push(el("span", { text: `expectation ${share(row.certainty)} sure of 1` }));
    if (row.candidate) facts.push(el("span", { class: "flag", text: `proposed: ${row.candidate}` }));
    if (row.decisions) facts.push(el("span", { class: "done", text: many(row.decisions, "decision") }));
    const name = row.prompt || row.a || "(empty)";
    return el(
      "li",
      { class: "row", data: { pair: row.pair_id } },
      el("div", { class: "facts" }, el("a", { class: "to", href: link("pair", { ...wanted, at }, row.pair_id), "aria-label": `Open pair ${count(at + 1)}: ${brief(name, 100)}`, text: `Pair ${count(at + 1)}` }), facts),
      el("div", { class: "cells" }, text("Prompt", "prompt", row.prompt, hits(row.prompt, q)), text("A", "a", row.a, hits(row.a, q), won === "A"), text("B", "b", row.b, hits(row.b, q), won === "B")),
    );
  }

  // The sentences in which the chosen feature shows stand in the whole texts; they are fetched for the rows that are looked at.
  function evidence(list, signal) {
    const open = [...list];
    const work = async () => {
      for (let row = open.shift(); row && !signal.aborted; row = open.shift()) {
        try {
          const pair = await fetchPair(row.pair_id, signal);
          const here = pair.features.find((one) => one.id === wanted.feature);
          const item = rows.querySelector(`[data-pair="${CSS.escape(row.pair_id)}"]`);
          if (!here || !item || signal.aborted) continue;
          for (const letter of ["a", "b"]) {
            const marks = here.marks[letter];
            if (!marks.length) continue;
            const cut = excerpt(pair[letter], marks);
            const place = item.querySelector(`[data-text=${letter}] .text`);
            place.replaceChildren();
            layered(place, cut.text, [{ ranges: cut.ranges, tag: "mark", class: "shows" }]);
          }
        } catch {
          // The row stays as it is.
        }
      }
    };
    for (let i = 0; i < 3; i++) work();
  }

  function turnPages({ total, at_least }) {
    const last = Math.max(0, Math.ceil(total / PAGE) - 1);
    const now = Math.floor(offset / PAGE);
    const button = (name, to, enabled) => el("button", { type: "button", disabled: !enabled, text: name, on: { click: () => move(to * PAGE) } });
    pages.hidden = total <= PAGE && now === 0;
    pages.replaceChildren(button("First", 0, now > 0), button("Back", now - 1, now > 0), el("span", { text: `Page ${count(now + 1)} of ${at_least ? "at least " : ""}${count(last + 1)}` }), button("Next", now + 1, now < last), button("Last", last, now < last));
  }

  controls();
  look();
  return {
    update({ params: changed }) {
      type.cancel();
      const next = filters(changed);
      const to = Math.max(0, Number(changed.offset) || 0);
      if (JSON.stringify(next) === JSON.stringify(filters(wanted)) && to === offset) return;
      wanted = next;
      offset = to;
      query.value = wanted.q ?? "";
      controls();
      look();
    },
    key(key) {
      const all = [...rows.querySelectorAll("a.to")];
      if (key === "/") query.focus();
      else if ((key === "j" || key === "k") && all.length) {
        const at = all.indexOf(document.activeElement);
        const to = at < 0 ? 0 : at + (key === "j" ? 1 : -1);
        all[Math.max(0, Math.min(all.length - 1, to))].focus();
      } else return false;
      return true;
    },
    indexed: look,
    saved: () => {},
    leave() {
      type.cancel();
      asked?.abort();
    },
  };
}
