// One pair: both responses side by side, what shows in them, and what is decided about its label.
import { get, keep, state, uuid, who, whoForm } from "./api.js";
import { go, heading, link, trouble, whole } from "./app.js";
import { fetchPair, filters, forget, keyOf, listing } from "./pairs.js";
import { choice, copy, count, differences, el, folded, hits, labelled, layered, percent, preferred, say, share, words } from "./text.js";

const VERBS = { accept: "accepted", reject: "label kept", flip: "turned round", drop: "dropped", tie: "called a tie", skip: "skipped" };
const LONG = 1500;
let compare = false;

export function open(root, here) {
  const title = heading("Pair");
  const place = el("div", { class: "one" });
  const said = el("span", { class: "soft", id: "pair-said", role: "status" });
  const back = el("button", { type: "button", id: "pair-back", text: "Back (k)", disabled: true });
  const on = el("button", { type: "button", id: "pair-on", text: "Next (j)", disabled: true });
  const position = el("span", { id: "pair-place" });
  const up = el("a", { id: "pair-up", text: "To the list" });
  root.append(
    el("div", { class: "bar" }, up, back, position, on, el("button", { type: "button", id: "pair-link", text: "Copy link", on: { click: () => copy(whole(location.hash), "Link", said) } }), el("button", { type: "button", id: "pair-id", text: "Copy pair id", on: { click: () => copy(pair?.pair_id ?? here.id, "Id", said) } }), said),
    title,
    place,
  );
  let pair = null;
  let wanted = {};
  let at = null;
  let asked = null;
  let near = {};
  let chosen = "";
  let redraw = null;
  let act = null;

  const step = (way) => {
    const target = near[way];
    if (target) go(link("pair", { ...wanted, at: target.at }, target.pair_id));
    else say(way === "on" ? "This is the last one" : "This is the first one");
  };
  back.addEventListener("click", () => step("back"));
  on.addEventListener("click", () => step("on"));

  async function show({ id, params }, focus) {
    asked?.abort();
    const mine = (asked = new AbortController());
    wanted = filters(params);
    at = params.at === undefined ? null : Math.max(0, Number(params.at) || 0);
    up.href = link("pairs", { ...wanted, offset: at ? Math.floor(at / 25) * 25 || "" : "" });
    near = {};
    place.setAttribute("aria-busy", "true");
    try {
      pair = await fetchPair(id, mine.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      place.removeAttribute("aria-busy");
      place.replaceChildren(trouble(error, () => show({ id, params }, focus)));
      return;
    }
    const found = pair.features.map((one) => one.id);
    chosen = found.includes(params.feature) ? params.feature : found.includes(chosen) ? chosen : (pair.features.find((one) => one.marks.a.length || one.marks.b.length)?.id ?? "");
    at ??= Object.keys(wanted).length ? null : pair.at;
    title.textContent = `Pair ${pair.pair_id}`;
    position.textContent = at === null ? "" : count(at + 1);
    said.textContent = "";
    place.replaceChildren(...body());
    place.removeAttribute("aria-busy");
    if (focus) {
      title.focus({ preventScroll: true });
      scrollTo(0, 0);
      say(`Pair ${at === null ? pair.pair_id : count(at + 1)}`);
    }
    neighbours(mine.signal);
  }

  // The two beside it in what was found; the place in the address may be a little off after a decision.
  async function neighbours(signal) {
    if (at === null) return;
    back.disabled = on.disabled = true;
    try {
      const from = Math.max(0, at - 2);
      let page = listing;
      const inside = listing.key === keyOf(wanted) && at - 1 >= listing.offset - (listing.offset === 0 ? 1 : 0) && (at + 1 < listing.offset + listing.rows.length || at + 1 >= listing.total);
      let first = listing.offset;
      if (!inside || !listing.rows.some((row) => row.pair_id === pair.pair_id)) {
        page = await get("/api/pairs", { ...wanted, offset: from || "", limit: 5 }, { signal });
        first = from;
      }
      const i = page.rows.findIndex((row) => row.pair_id === pair.pair_id);
      const row = (n) => page.rows[n] && { pair_id: page.rows[n].pair_id, at: first + n };
      near = i >= 0 ? { back: row(i - 1), on: row(i + 1) } : { back: row(at - 1 - first), on: row(at - first) };
      position.textContent = `${count((i >= 0 ? first + i : at) + 1)} of ${count(page.total)}`;
      back.disabled = !near.back;
      on.disabled = !near.on;
      // The next one is there before it is asked for.
      if (near.on) fetchPair(near.on.pair_id, signal).catch(() => {});
    } catch {
      // There is no way on then; the list has it.
    }
  }

  function body() {
    const parts = [];
    const prompt = el("div", { class: "prompt text" + (pair.prompt.length > LONG ? " long" : "") });
    layered(prompt, pair.prompt, [{ ranges: hits(pair.prompt, wanted.q ?? ""), tag: "mark" }]);
    if (pair.prompt) parts.push(el("h2", { class: "small", text: "Prompt" }), ...folded(prompt, "Prompt", pair.prompt.length > LONG));
    prompt.scrollTop = 0;

    const texts = {};
    const box = (letter, key) => {
      const won = pair.label !== null && (letter === "A" ? pair.label > 0.5 : pair.label < 0.5);
      const bodyText = el("div", { class: "body text" });
      texts[key] = bodyText;
      return el(
        "section",
        { class: "response" + (won ? " won" : ""), "aria-label": `Response ${letter}` },
        el("h2", { class: "small" }, el("span", { text: `Response ${letter}` }), won && el("span", { class: "badge", text: "✓ preferred" + (pair.labels.length > 1 ? ` (${percent(letter === "A" ? pair.label : 1 - pair.label)} of ${pair.labels.length} labels)` : "") }), pair.models?.[letter === "A" ? 0 : 1] && el("bdi", { class: "soft", text: pair.models[letter === "A" ? 0 : 1] }), el("span", { class: "soft more", data: { letter } })),
        ...folded(bodyText, `Text of response ${letter}`, pair[key].length > LONG),
      );
    };
    const both = el("div", { class: "pair" }, box("A", "a"), box("B", "b"));
    const how = el("span", { class: "soft", id: "diff-how", role: "status" });
    const toggle = el("button", { type: "button", id: "diff", "aria-pressed": String(compare), text: "Compare words", on: { click: () => ((compare = !compare), redraw()) } });
    const named = pair.features.map((one) => [one.id, `${words(state.features.get(one.id) ?? one)}: more in ${one.side}, strength ${share(one.activation)}`]);
    const mark = choice([["", named.length ? "nothing" : "nothing was found in this pair"], ...named], chosen, (value) => ((chosen = value), redraw()), { id: "mark" });
    let difference = null;
    redraw = () => {
      const one = pair.features.find(({ id }) => id === chosen);
      mark.value = chosen;
      toggle.setAttribute("aria-pressed", String(compare));
      if (compare) difference ??= differences(pair.a, pair.b);
      how.textContent = !compare ? "" : difference.how ? `Underlined: what stands only in this one, ${difference.how}` : "The texts are too long and too different to compare";
      ["a", "b"].forEach((key, side) => {
        const layers = [{ ranges: one?.marks[key] ?? [], tag: "mark", class: "shows" }];
        if (compare) layers.push({ ranges: difference.ranges[side], tag: "span", class: "only" });
        else if (!one) layers.push({ ranges: hits(pair[key], wanted.q ?? ""), tag: "mark" });
        texts[key].replaceChildren();
        layered(texts[key], pair[key], layers);
      });
      for (const span of both.querySelectorAll(".more")) span.textContent = one?.side === span.dataset.letter ? "more of it" : "";
    };
    redraw();
    parts.push(el("div", { class: "tools pairtools" }, labelled("Mark the sentences where this shows", mark, "broad"), toggle, how), both);
    parts.push(decide(), facts());
    return parts.filter(Boolean);
  }

  function facts() {
    const list = el("dl");
    const fact = (name, ...text) => list.append(el("dt", { text: name }), el("dd", {}, ...text));
    fact("Label", preferred(pair.label, pair.labels.length));
    if (pair.probability !== null && pair.probability !== undefined) fact("Expected", `A preferred with probability ${share(pair.probability)}, from what was found in other pairs${typeof pair.surprise === "number" ? `; surprise of this label ${share(pair.surprise)} of 1` : ""}`);
    const people = pair.labels.filter((one) => one.annotator);
    if (people.length) fact("Annotators", people.map((one, i) => [i ? "; " : "", el("bdi", { text: one.annotator }), `: ${preferred(one.label, 1)}`]).flat());
    if (pair.contexts?.length) fact("Kind of request", pair.contexts.join("; "));
    if (pair.features.length) {
      const all = el("ul", { class: "found" }, pair.features.map((one) => el("li", {}, el("a", { dir: "auto", href: link("pairs", { feature: one.id, sort: "activation", descending: 1 }), text: words(state.features.get(one.id) ?? one) }), ` (more in ${one.side}, strength ${share(one.activation)})`)));
      fact(`Found (${pair.features.length})`, all);
    }
    if (pair.decisions.length) fact("Decisions", pair.decisions.map((one, i) => [i ? "; " : "", el("bdi", { text: one.reviewer }), `: ${VERBS[one.decision] ?? one.decision} (${one.time.slice(0, 16).replace("T", " ")})`]).flat());
    return el("details", { class: "facts-box", open: true }, el("summary", { text: "About this pair" }), list);
  }

  function decide() {
    act = null;
    if (state.info.read_only) return null;
    const box = el("section", { class: "decide", "aria-labelledby": "decide-title" }, el("h2", { class: "small", id: "decide-title", text: "Is the label right?" }));
    if (pair.candidate) box.append(el("p", { class: "proposal" }, el("strong", { text: `Proposed: ${pair.candidate.action}` }), ` (certainty ${share(pair.candidate.score)} of 1). `, el("span", { dir: "auto", text: pair.candidate.reason })));
    if (!pair.labels.length) {
      box.append(el("p", { class: "soft", text: "Nobody labelled this pair, so there is no label to decide about." }));
      return box;
    }
    const form = whoForm(() => {});
    let row = pair.candidate?.row ?? pair.labels[0].row;
    const buttons = el("div", { class: "choose" });
    const answer = el("p", { role: "status", id: "decided" });
    const current = () => pair.labels.find((one) => one.row === row) ?? pair.labels[0];
    const right = (letter) => {
      const { label } = current();
      if (label === null || label === undefined || label === 0.5) return null;
      const holds = letter === "A" ? label > 0.5 : label < 0.5;
      if (holds) return "reject";
      return pair.candidate?.row === row && pair.candidate.action === "flip" ? "accept" : "flip";
    };
    const send = (decision, told) => {
      if (!who.name) return form.ask();
      const { pair_id } = pair;
      forget(pair_id);
      keep("/api/decisions", { id: uuid(), reviewer: who.name, pair_id, row, decision }).then(
        () => {
          if (pair.pair_id === pair_id) answer.textContent = `Saved: ${told}`;
        },
        () => {},
      );
      answer.textContent = `Being saved: ${told}`;
    };
    const undo = () => {
      if (!who.name) return form.ask();
      forget(pair.pair_id);
      answer.textContent = "Being taken back";
      keep("/api/undo", { id: uuid(), reviewer: who.name }).then(
        ({ undone }) => {
          if (undone) forget(undone.pair_id);
          answer.replaceChildren(undone ? `Taken back: ${VERBS[undone.decision] ?? undone.decision}, ` : "You have decided nothing that could be taken back");
          if (undone) answer.append(undone.pair_id === pair.pair_id ? "this pair" : el("a", { href: link("pair", {}, undone.pair_id), text: "another pair" }));
        },
        () => {},
      );
    };
    const choices = () => {
      const made = [];
      const add = (key, text, decision, told) => made.push([key, text, decision, told]);
      for (const letter of ["A", "B"]) {
        const decision = right(letter);
        if (decision) add(letter.toLowerCase(), `${letter} is right`, decision, decision === "reject" ? `the label stays, ${letter} is right` : `the label is turned round, ${letter} is right`);
      }
      add("t", "It is a tie", "tie", "a tie");
      add("d", "Drop the pair", "drop", "the pair is dropped");
      add("s", "Skip", "skip", "skipped");
      return made;
    };
    const draw = () => {
      buttons.replaceChildren(...choices().map(([key, text, decision, told]) => el("button", { type: "button", data: { decision, key }, text: `${text} (${key})`, on: { click: () => send(decision, told) } })), el("button", { type: "button", data: { key: "u" }, text: "Take back (u)", on: { click: undo } }));
      if (current().label === 0.5) answer.textContent = "This label is a tie.";
    };
    if (pair.labels.length > 1) {
      box.append(el("div", { class: "tools" }, labelled("Which label", choice(pair.labels.map((one) => [String(one.row), `${one.annotator ? one.annotator + ": " : ""}${preferred(one.label, 1)} (row ${one.row})`]), String(row), (value) => ((row = Number(value)), draw()), { id: "which" }), "broad")));
    }
    act = (key) => {
      const button = buttons.querySelector(`[data-key="${key}"]`);
      button?.click();
      return Boolean(button);
    };
    draw();
    box.append(form, buttons, answer);
    return box;
  }

  show(here, false);
  return {
    update: (next) => show(next, true),
    key(key) {
      if (key === "j") step("on");
      else if (key === "k") step("back");
      else if (key === "Escape") go(up.getAttribute("href"));
      else if (key === "w") (compare = !compare), redraw?.();
      else if (/^[abtdsu]$/.test(key)) return act?.(key) ?? false;
      else return false;
      return true;
    },
    indexed: () => pair && neighbours(asked.signal),
    leave: () => asked?.abort(),
  };
}
