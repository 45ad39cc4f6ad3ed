// Several runs side by side: what is associated with the label in each.
import { get, state } from "./api.js";
import { heading, link, trouble } from "./app.js";
import { count, el, labelled, later, points } from "./text.js";

export function open(root) {
  const asked = new AbortController();
  const query = el("input", { type: "search", id: "runs-q", autocomplete: "off" });
  const number = el("p", { class: "soft", role: "status", id: "runs-count" });
  const place = el("div", { "aria-busy": "true" });
  root.append(heading("Side by side"), el("p", { class: "soft", text: "How many points more often the response with more of it wins, in each run, with the 95 % interval and the number of labels." }), el("div", { class: "tools" }, labelled("Search", query, "broad")), number, place);

  async function look() {
    try {
      const { rows, runs } = await get("/api/runs", {}, { signal: asked.signal, name: "runs" });
      const cell = (one, i) =>
        el("td", { class: "n", data: { name: runs[i] } }, one?.win
          ? [el("strong", { class: one.win.low > 0 ? "prefer" : one.win.high < 0 ? "avoid" : "", text: points(one.win.value) }), ` (${points(one.win.low)} to ${points(one.win.high)}, n = ${count(one.win.n)})`, one.principle ? el("span", { class: "rank", text: `principle ${one.principle}` }) : null]
          : el("span", { class: "soft", text: one?.principle ? `principle ${one.principle}` : "not measured" }));
      const drawn = rows.map((row) => ({ text: row.text.toLowerCase(), row: el("tr", {}, el("th", { scope: "row" }, state.features.has(row.feature) ? el("a", { dir: "auto", href: link("pairs", { feature: row.feature }), text: row.text }) : el("span", { dir: "auto", text: row.text })), row.cells.map(cell)) }));
      const filter = () => {
        const wanted = query.value.trim().toLowerCase();
        let shown = 0;
        for (const one of drawn) shown += !(one.row.hidden = !one.text.includes(wanted));
        number.textContent = `${count(shown)} of ${count(drawn.length)} shown`;
      };
      query.addEventListener("input", later(filter));
      place.replaceChildren(el("div", { class: "wide", tabIndex: 0, role: "group", "aria-label": "Runs side by side" }, el("table", { class: "stack" }, el("caption", { text: "Points more often" }), el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "What" }), runs.map((name) => el("th", { scope: "col", class: "n" }, el("bdi", { text: name }))))), el("tbody", {}, drawn.map((one) => one.row)))));
      filter();
    } catch (error) {
      if (error.name !== "AbortError") place.replaceChildren(trouble(error, look));
    }
    place.removeAttribute("aria-busy");
  }

  look();
  return { leave: () => asked.abort() };
}
