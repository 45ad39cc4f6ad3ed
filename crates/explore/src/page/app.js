// Opens the page: says what is looked at, and shows the view that the address names.
import { get, onSaved, retry, state, token } from "./api.js";
import { choice, count, el, many, say, words } from "./text.js";

const byId = (id) => document.getElementById(id);
const main = byId("main");

const VIEWS = {
  pairs: { title: "Pairs", load: () => import("./pairs.js") },
  pair: { title: "Pair", load: () => import("./pair.js"), under: "pairs" },
  review: { title: "Review", load: () => import("./review.js") },
  validate: { title: "Validate", load: () => import("./validate.js") },
  principles: { title: "Principles", load: () => import("./features.js") },
  map: { title: "Map", load: () => import("./map.js") },
  ask: { title: "Ask", load: () => import("./ask.js") },
  runs: { title: "Side by side", load: () => import("./runs.js"), several: true },
};

/** The address of a view. Empty parameters are left out. */
export function link(view, params = {}, id) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) if (value !== "" && value !== null && value !== undefined) query.set(key, value);
  if (state.run) query.set("run", state.run);
  const text = query.toString();
  return `#/${view}${id === undefined ? "" : "/" + encodeURIComponent(id)}${text ? "?" + text : ""}`;
}

/** The whole address, to be copied. */
export const whole = (hash) => location.origin + location.pathname + location.search + hash;

function parse() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, ...rest] = path.split("/");
  let id = rest.join("/");
  try {
    id = decodeURIComponent(id);
  } catch {
    // Taken as it stands.
  }
  const params = Object.fromEntries(new URLSearchParams(query));
  const run = Number(params.run ?? 0);
  delete params.run;
  return { view: Object.hasOwn(VIEWS, view) ? view : "pairs", id, params, run: Number.isInteger(run) && run >= 0 ? run : 0 };
}

let shown = null;
let turn = 0;

/** Shows what the address says. */
async function route() {
  const here = parse();
  const mine = ++turn;
  if (!state.info || state.run !== here.run) {
    shown?.leave?.();
    shown = null;
    state.run = here.run;
    state.info = null;
    if (!(await refresh())) return;
    if (mine !== turn) return;
  }
  head(here.view);
  if (state.info.index.ready) byId("indexing")?.remove();
  if (shown?.view === here.view && shown.update) {
    shown.update(here);
    return;
  }
  shown?.leave?.();
  shown = null;
  const { title, load } = VIEWS[here.view];
  const { open } = await load();
  if (mine !== turn) return;
  const root = el("div", { class: "view", data: { view: here.view } });
  const view = open(root, here);
  shown = { ...view, view: here.view };
  const first = !main.querySelector("h1");
  main.replaceChildren(root);
  view.ready?.();
  document.title = `${title} · ${state.info.runs[state.run]?.dataset ?? ""} · wimhf explore`;
  if (!first) {
    const heading = main.querySelector("h1");
    heading?.focus({ preventScroll: true });
    scrollTo(0, 0);
    say(title);
  }
}

/** Puts other parameters into the address without a new view: `step` true makes it a step that "back" takes back. */
export function readdress(hash, step) {
  if (hash === location.hash) return;
  history[step ? "pushState" : "replaceState"](null, "", hash);
}

/** Goes to another view. */
export function go(hash) {
  if (location.hash === hash) route();
  else location.hash = hash;
}

/** A heading of a view. */
export const heading = (text) => el("h1", { tabIndex: -1, text });

/** What went wrong, in place of what was asked for. */
export function trouble(error, again) {
  const box = el("div", { class: "trouble", role: "alert" }, el("p", { text: error.message }));
  if (error.hint) box.append(el("p", { class: "soft", text: error.hint }));
  if (again && ![401, 403].includes(error.status)) box.append(el("button", { type: "button", text: "Try again", on: { click: again } }));
  return box;
}

/** Fetches what is known about the run; the features by their id. */
export async function refresh() {
  const wanted = state.run;
  try {
    const info = await get("/api/run");
    if (state.run !== wanted) return false;
    take(info);
    return true;
  } catch (error) {
    byId("about").textContent = "";
    main.replaceChildren(heading("This cannot be opened"), trouble(error, () => route()));
    return false;
  }
}

function take(info) {
  state.info = info;
  state.features = new Map(info.features.map((feature) => [feature.id, feature]));
  const run = info.runs[info.run] ?? info.runs[0];
  byId("dataset").textContent = run ? run.dataset : "wimhf explore";
  byId("about").textContent = run ? `${run.name}: ${many(run.pairs, "pair")}, ${many(run.labels, "label")}` : "";
  byId("version").textContent = `wimhf ${info.version}. Everything here comes from the program on this computer; nothing is sent anywhere else.`;
  const chooser = byId("chooser");
  chooser.hidden = info.runs.length < 2;
  if (info.runs.length > 1) {
    const select = choice(info.runs.map((one) => [String(one.index), `${one.name} (${one.dataset})`]), String(state.run), (value) => {
      const { view } = parse();
      state.run = Number(value);
      const hash = link(view === "pair" ? "pairs" : view);
      state.run = -1;
      go(hash);
    }, { id: "run" });
    chooser.replaceChildren(el("label", { htmlFor: "run" }, el("span", { text: "Run" }), select));
  }
  const notices = byId("notices");
  const list = [];
  if (info.read_only) list.push(el("p", { class: "notice", id: "read-only", text: "Read-only: you can look at everything; nothing can be decided or changed here." }));
  if (info.anonymise) list.push(el("p", { class: "notice", text: "Anonymised: the ids of annotators and the names of models are left out." }));
  if (info.index.trouble) list.push(el("p", { class: "notice bad", text: info.index.trouble }));
  if (!info.index.ready) list.push(indexing(info.index.progress));
  notices.replaceChildren(...list);
  if (!info.index.ready) setTimeout(watch, 1000);
  retry();
}

function indexing(progress) {
  const bar = el("progress", { id: "index", max: 1, value: progress });
  return el("p", { class: "notice", id: "indexing" }, el("label", { htmlFor: "index", text: "Making the pairs searchable: " }), bar, " ", el("span", { text: `${Math.round(progress * 100)} %` }));
}

let watching = false;
async function watch() {
  if (watching || !state.info || state.info.index.ready) return;
  watching = true;
  const wanted = state.run;
  try {
    const info = await get("/api/run");
    if (state.run !== wanted || !state.info) return;
    state.info.index = info.index;
    if (info.index.ready) {
      take(info);
      // The line stays until the next view, so that nothing jumps.
      byId("notices").append(el("p", { class: "notice", id: "indexing", text: "The pairs can be searched now." }));
      say("The pairs can be searched now");
      shown?.indexed?.();
    } else {
      byId("indexing")?.replaceWith(indexing(info.index.progress));
    }
  } catch {
    // The view says what is wrong.
  } finally {
    watching = false;
    if (state.info && !state.info.index.ready) setTimeout(watch, 1000);
  }
}

function head(view) {
  const active = VIEWS[view].under ?? view;
  const list = el("ul");
  for (const [name, { title, under, several }] of Object.entries(VIEWS)) {
    if (under || (several && state.info.runs.length < 2)) continue;
    list.append(el("li", {}, el("a", { href: link(name), text: title, "aria-current": name === active ? "page" : null })));
  }
  byId("views").replaceChildren(list);
}

/** The features that can be chosen, with words that say which is which. */
export function choosable() {
  const taken = new Map();
  const found = [];
  for (const feature of state.info.features) {
    if (feature.hidden || feature.merged_into) continue;
    let name = words(feature);
    if (taken.has(name)) name = `${name} (${feature.id})`;
    taken.set(name, feature.id);
    found.push({ id: feature.id, name });
  }
  return found;
}

/** A field in which a feature is searched by its words. `change` gets an id, or "" for none. */
export function featureField(value, change, props = {}) {
  const all = choosable();
  const byName = new Map(all.map(({ id, name }) => [name, id]));
  const nameOf = (id) => all.find((one) => one.id === id)?.name ?? (words(state.features.get(id)) || id);
  const list = el("datalist", { id: (props.id ?? "feature") + "-list" }, all.map(({ name }) => el("option", { value: name })));
  const input = el("input", { type: "search", autocomplete: "off", placeholder: `any of ${count(all.length)}`, list: list.id, ...props, value: value ? nameOf(value) : "" });
  let last = value ?? "";
  const take = (final) => {
    const text = input.value.trim();
    const id = text === "" ? "" : (byName.get(text) ?? (state.features.has(text) ? text : null));
    const wrong = id === null && final;
    input.setAttribute("aria-invalid", String(wrong));
    input.setCustomValidity(wrong ? "Choose one from the list" : "");
    if (wrong) say("No feature has these words: choose one from the list");
    if (id !== null && id !== last) {
      last = id;
      change(id);
    }
  };
  input.addEventListener("input", () => take(false));
  input.addEventListener("change", () => take(true));
  return {
    input,
    list,
    set(id) {
      last = id ?? "";
      input.value = id ? nameOf(id) : "";
      input.setAttribute("aria-invalid", "false");
    },
  };
}

const keysOn = byId("keys-on");
try {
  keysOn.checked = localStorage.getItem("wimhf keys") !== "off";
} catch {
  // They work.
}
keysOn.addEventListener("change", () => {
  try {
    localStorage.setItem("wimhf keys", keysOn.checked ? "on" : "off");
  } catch {
    // Until the page is left.
  }
});
document.addEventListener("keydown", (event) => {
  if (!keysOn.checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
  if (event.target instanceof Element && event.target.closest("input:not([type=checkbox]), select, textarea")) return;
  if (shown?.key?.(event.key)) event.preventDefault();
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  (main.querySelector("h1") ?? main).focus();
});
onSaved((entry, answer) => shown?.saved?.(entry, answer));
window.addEventListener("hashchange", route);
if (!token) {
  byId("about").textContent = "";
  main.replaceChildren(heading("This cannot be opened"), trouble(new Error("The address has no valid token: open the link that `wimhf explore` printed")));
} else {
  route();
}
