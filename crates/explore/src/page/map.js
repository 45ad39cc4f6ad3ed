// What was found, as dots: near each other what shows in the same responses.
import { get, state } from "./api.js";
import { go, heading, link, trouble } from "./app.js";
import { brief, count, el, labelled, later, percent, points, svg, words } from "./text.js";

const [WIDE, HIGH] = [1000, 700];

export function open(root) {
  const asked = new AbortController();
  const place = el("div", { class: "map", "aria-busy": "true" }, el("p", { class: "soft", text: "The map is being drawn." }));
  root.append(heading("Map"), el("p", { class: "soft", text: "Near each other: what tends to show in the same pairs. The larger a dot, the more pairs it shows in. A full dot goes with being preferred, a ring with not being preferred, a grey one with neither as far as is known. A line: often in the same response; a dashed one: often in opposite responses." }), place);

  async function look() {
    try {
      const found = await get("/api/map", {}, { signal: asked.signal, name: "map" });
      place.removeAttribute("aria-busy");
      draw(found);
    } catch (error) {
      if (error.name !== "AbortError") place.replaceChildren(trouble(error, look));
    }
  }

  function draw({ features, links }) {
    const known = features.filter((one) => !state.features.get(one.id)?.hidden);
    const at = new Map(known.map((one) => [one.id, [30 + one.x * (WIDE - 60), 30 + (1 - one.y) * (HIGH - 60)]]));
    const textOf = (one) => (state.features.has(one.id) ? words(state.features.get(one.id)) : one.text);
    const measured = (one) => typeof one.effect === "number";
    const effect = (one) => (measured(one) ? `${points(one.effect)} points (95 % interval ${points(one.low)} to ${points(one.high)}${typeof one.n === "number" ? `, n = ${count(one.n)}` : ""})` : "not measured");
    const told = (one) => `${textOf(one)}: ${effect(one)}, in ${percent(one.prevalence)} of the pairs${one.principle ? `, principle ${one.principle}` : ""}`;
    const dots = new Map();
    const shown = el("p", { class: "told", id: "map-told", dir: "auto", text: "Point at a dot, or move through the list, to read its words." });
    const lines = svg("g", { class: "links" }, links.filter((one) => at.has(one.a) && at.has(one.b)).map((one) => svg("line", { x1: at.get(one.a)[0], y1: at.get(one.a)[1], x2: at.get(one.b)[0], y2: at.get(one.b)[1], "stroke-width": 0.5 + 3 * Math.abs(one.share), class: one.share < 0 ? "apart" : "", "data-a": one.a, "data-b": one.b })));
    const picture = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `Map of ${count(known.length)} features; the list beside it says the same` }, lines);
    const items = new Map();
    let lit = null;
    const light = (id) => {
      if (lit === id) return;
      lit = id;
      for (const [key, dot] of dots) dot.classList.toggle("lit", key === id);
      for (const [key, item] of items) item.classList.toggle("lit", key === id);
      for (const line of lines.children) line.classList.toggle("lit", line.dataset.a === id || line.dataset.b === id);
      const one = known.find((feature) => feature.id === id);
      if (one) shown.textContent = told(one);
    };
    const target = (one) => link("pairs", { feature: one.id, sort: "activation", descending: 1 });
    // The large ones lie below, so that every dot can be reached.
    for (const one of [...known].sort((a, b) => b.prevalence - a.prevalence)) {
      const [cx, cy] = at.get(one.id);
      const unclear = !measured(one) || (one.low <= 0 && one.high >= 0);
      const dot = svg("circle", { cx, cy, r: 4 + 22 * Math.sqrt(Math.max(0, Math.min(1, one.prevalence))), class: `dot ${unclear ? "unclear" : one.effect < 0 ? "minus" : "plus"}`, "data-feature": one.id });
      dot.addEventListener("pointerenter", () => light(one.id));
      dot.addEventListener("click", () => go(target(one)));
      dots.set(one.id, dot);
      picture.append(dot);
    }
    // Words beside the dots of principles, as far as they do not cover each other.
    const taken = [];
    const names = svg("g", { class: "names", "aria-hidden": "true" });
    for (const one of known.filter((feature) => feature.principle).sort((a, b) => a.principle - b.principle).slice(0, 24)) {
      const name = brief(state.features.get(one.id)?.short || textOf(one), 34);
      const [cx, cy] = at.get(one.id);
      const width = name.length * 8.2;
      const left = Math.max(4, Math.min(WIDE - width - 4, cx - width / 2));
      const top = cy - 10 - 22 * Math.sqrt(one.prevalence);
      const box = [left, top - 16, left + width, top + 4];
      if (top < 18 || taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
      taken.push(box);
      const text = svg("text", { x: left, y: top });
      text.textContent = name;
      names.append(text);
    }
    picture.append(names);

    const list = el("ol", { class: "maplist", id: "map-list", tabIndex: 0, "aria-label": "What was found" });
    const query = el("input", { type: "search", id: "map-q", autocomplete: "off" });
    const number = el("p", { class: "soft", role: "status", id: "map-count" });
    const sorted = [...known].sort((a, b) => (a.principle ?? 1e9) - (b.principle ?? 1e9) || Math.abs(b.effect ?? 0) - Math.abs(a.effect ?? 0));
    for (const one of sorted) {
      const item = el("li", { data: { feature: one.id } }, el("a", { dir: "auto", href: target(one), text: textOf(one) }), el("span", { class: "soft", text: ` ${effect(one)}, in ${percent(one.prevalence)} of the pairs` }));
      item.addEventListener("pointerenter", () => light(one.id));
      item.addEventListener("focusin", () => light(one.id));
      items.set(one.id, item);
      list.append(item);
    }
    const filter = () => {
      const wanted = query.value.trim().toLowerCase();
      let fits = 0;
      for (const one of known) {
        const fit = textOf(one).toLowerCase().includes(wanted);
        items.get(one.id).hidden = !fit;
        dots.get(one.id).classList.toggle("out", !fit);
        fits += fit;
      }
      number.textContent = `${count(fits)} of ${count(known.length)} shown`;
    };
    query.addEventListener("input", later(filter));
    place.replaceChildren(el("div", { class: "picture" }, picture, shown), el("div", { class: "listbox" }, labelled("Search", query, "broad"), number, list));
    filter();
  }

  look();
  return { leave: () => asked.abort() };
}
