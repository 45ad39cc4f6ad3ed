// Asks the server, and keeps what was decided until the server has it.
import { el, many } from "./text.js";

export const token = new URLSearchParams(location.search).get("token") ?? "";
const HEADERS = { "X-Wimhf-Token": token };
const NO_TOKEN = "The address has no valid token: open the link that `wimhf explore` printed";

/** What the server says about the run; filled by app.js, and again after an edit. */
export const state = { run: 0, info: null, features: new Map() };

export class Problem extends Error {
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint || "";
  }
}

const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });

const waiting = new Map();
function tell(key, text) {
  if (text) waiting.set(key, text);
  else waiting.delete(key);
  const shown = [...new Set(waiting.values())].join(" ");
  const place = document.getElementById("waiting");
  if (place.textContent !== shown) place.textContent = shown;
}

async function problem(answer) {
  let said = {};
  try {
    said = await answer.json();
  } catch {
    // Not ours; the status says enough.
  }
  if (answer.status === 401 || (answer.status === 403 && !state.info?.read_only)) return new Problem(answer.status, NO_TOKEN, "");
  return new Problem(answer.status, said.error || `The server answered ${answer.status}.`, said.hint);
}

export function address(path, params = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries({ run: state.run || "", ...params })) if (value !== "" && value !== null && value !== undefined) query.set(key, value);
  const text = query.toString();
  return path + (text ? "?" + text : "");
}

/** A link to a file that the server makes. */
export const download = (path, params) => address(path, { ...params, token });

/** Asks until there is an answer: a server that is away or still at work is asked again, until `signal` says no. */
export async function get(path, params, { signal, progress, name } = {}) {
  const key = Symbol(path);
  try {
    for (;;) {
      signal?.throwIfAborted();
      const begun = performance.now();
      let answer;
      try {
        answer = await fetch(address(path, params), { headers: HEADERS, signal, cache: "no-store" });
      } catch (error) {
        if (error.name === "AbortError") throw error;
        tell(key, "The server does not answer. Is `wimhf explore` still running? Trying again.");
        await pause(1500, signal);
        continue;
      }
      if (answer.status === 503) {
        const { progress: done } = await answer.json().catch(() => ({}));
        tell(key, "");
        progress?.(done ?? 0);
        await pause(1000, signal);
        continue;
      }
      if (!answer.ok) throw await problem(answer);
      const found = await answer.json();
      if (name) performance.measure(name, { start: begun, end: performance.now(), detail: path });
      return found;
    }
  } finally {
    tell(key, "");
  }
}

/** Sends once, for questions: what must not be lost goes through `keep`. */
export async function post(path, body, { signal } = {}) {
  let answer;
  try {
    answer = await fetch(address(path), { method: "POST", headers: { ...HEADERS, "Content-Type": "application/json" }, body: JSON.stringify(body), signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not answer. Is `wimhf explore` still running?", "");
  }
  if (!answer.ok) throw await problem(answer);
  return answer.json();
}

// What is to be saved lies in the browser, one entry a key, until the server has said that it has it.
const PREFIX = "wimhf unsaved ";
const memory = new Map();
const promises = new Map();
const listeners = new Set();
let last = 0;
let timer = 0;
let wait = 0;
let busy = false;
let held = "";

export const uuid = () =>
  crypto.randomUUID?.() ??
  [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte, i) => ((i === 6 ? (byte & 15) | 64 : i === 8 ? (byte & 63) | 128 : byte) + 256).toString(16).slice(1) + ([3, 5, 7, 9].includes(i) ? "-" : ""))
    .join("");

const place = () => {
  const one = state.info?.runs[state.run];
  return one ? [one.path, one.dataset, one.pairs].join("|") : "";
};
const put = (entry) => {
  try {
    localStorage.setItem(PREFIX + entry.key, JSON.stringify(entry));
    memory.delete(entry.key);
  } catch {
    memory.set(entry.key, entry);
  }
};
const drop = (key) => {
  memory.delete(key);
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // Then it never lay there.
  }
};

/** What is not saved yet, the oldest first. */
export function unsaved() {
  const found = [...memory.values()];
  try {
    for (let i = 0; i < localStorage.length; i++) {
      const key = localStorage.key(i);
      if (!key.startsWith(PREFIX)) continue;
      try {
        const entry = JSON.parse(localStorage.getItem(key));
        if (entry?.path && !memory.has(entry.key)) found.push(entry);
      } catch {
        // Not one of ours.
      }
    }
  } catch {
    // No memory is allowed here.
  }
  return found.sort((a, b) => a.at - b.at);
}
export const unsavedHere = () => unsaved().filter((entry) => entry.place === place() && !entry.refused);
export const onSaved = (act) => (listeners.add(act), () => listeners.delete(act));

/** Puts it into the browser's memory and sends it; resolves to the answer, which may be much later. */
export function keep(path, body) {
  last = Math.max(last + 1, Date.now());
  const entry = { key: `${last} ${uuid()}`, at: last, place: place(), path, body };
  put(entry);
  const answered = new Promise((resolve, reject) => promises.set(entry.key, { resolve, reject }));
  answered.catch(() => {});
  show();
  wait = 0;
  flush();
  return answered;
}

function show() {
  const all = unsaved();
  const open = all.filter((entry) => !entry.refused && entry.place === place());
  const other = all.filter((entry) => !entry.refused && entry.place !== place() && state.info && !runOf(entry));
  let text = "";
  if (held && open.length) text = `Not saved yet: ${open.length}. ${held}`;
  else if (wait && open.length) text = `Not saved yet: ${open.length}, trying again`;
  if (memory.size) text += " This browser keeps nothing: leave the page open until all is saved.";
  if (other.length) text += ` ${many(other.length, "decision waits", "decisions wait")} for a run that is not served now.`;
  const line = document.getElementById("saved");
  if (line.textContent !== text) line.textContent = text;
  const refused = all.filter((entry) => entry.refused);
  const box = document.getElementById("refused");
  box.replaceChildren();
  if (refused.length) {
    box.append(
      el("p", { class: "bad", role: "alert", text: `${many(refused.length, "decision")} could not be saved: ${refused[0].refused}` }),
      el("button", { type: "button", text: "Try again", on: { click: () => (refused.forEach(({ refused: _, ...entry }) => put(entry)), retry()) } }),
      el("button", { type: "button", text: refused.length === 1 ? "Forget it" : "Forget them", on: { click: () => (refused.forEach((entry) => drop(entry.key)), show()) } }),
    );
  }
}

const runOf = (entry) => {
  const index = state.info?.runs.findIndex((one) => [one.path, one.dataset, one.pairs].join("|") === entry.place) ?? -1;
  return index < 0 ? null : { index };
};

export function retry() {
  wait = 0;
  clearTimeout(timer);
  show();
  flush();
}

// One after the other, in the order in which they were made, and in one tab at a time.
async function flush() {
  if (busy || !state.info || state.info.read_only) return;
  busy = true;
  clearTimeout(timer);
  try {
    const work = async () => {
      for (;;) {
        const entry = unsaved().find((one) => !one.refused && runOf(one));
        if (!entry) return (wait = 0);
        if (!(await send(entry))) return 0;
      }
    };
    await (navigator.locks ? navigator.locks.request("wimhf unsaved", work) : work());
  } finally {
    busy = false;
    show();
    if (wait) timer = setTimeout(flush, wait);
  }
}

async function send(entry) {
  let answer;
  try {
    const query = runOf(entry).index;
    answer = await fetch(entry.path + (query ? `?run=${query}` : ""), {
      method: "POST",
      headers: { ...HEADERS, "Content-Type": "application/json" },
      body: JSON.stringify(entry.body),
      signal: AbortSignal.timeout(20000),
      cache: "no-store",
    });
    held = "";
    if (answer.ok) {
      const found = await answer.json();
      drop(entry.key);
      wait = 0;
      promises.get(entry.key)?.resolve(found);
      promises.delete(entry.key);
      show();
      for (const act of listeners) act(entry, found);
      return true;
    }
  } catch {
    answer = null;
  }
  if (answer && answer.status >= 400 && answer.status < 500 && ![401, 403, 408, 425, 429].includes(answer.status)) {
    const found = await problem(answer);
    put({ ...entry, refused: [found.message, found.hint].filter(Boolean).join(" ") });
    promises.get(entry.key)?.reject(found);
    promises.delete(entry.key);
    for (const act of listeners) act(entry, null);
    return true;
  }
  if (answer && [401, 403].includes(answer.status)) held = NO_TOKEN + ". What you decided is kept in this browser.";
  wait = Math.min(10000, wait ? wait * 2 : 500);
  show();
  return false;
}

window.addEventListener("online", retry);
// Another window has saved what was decided in this one.
window.addEventListener("storage", ({ key, oldValue, newValue }) => {
  if (!key?.startsWith(PREFIX)) return;
  show();
  if (newValue !== null) return;
  try {
    const entry = JSON.parse(oldValue);
    const waiting = promises.get(entry.key);
    promises.delete(entry.key);
    waiting?.resolve({});
    for (const act of listeners) act(entry, {});
  } catch {
    // Not one of ours.
  }
});
window.addEventListener("beforeunload", (event) => {
  if (memory.size) event.preventDefault();
});

/** The name of who decides, kept in this browser. */
export const who = {
  get name() {
    try {
      return localStorage.getItem("wimhf name") ?? who.kept;
    } catch {
      return who.kept;
    }
  },
  kept: "",
  set(name) {
    who.kept = name;
    try {
      localStorage.setItem("wimhf name", name);
    } catch {
      // Then it is asked again next time.
    }
  },
};

/** Asks for the name, or says it; `changed` is called when it is another. */
export function whoForm(changed) {
  const box = el("div", { class: "who" });
  const said = () => {
    const change = el("button", { type: "button", text: "Change", "aria-label": "Change your name", on: { click: () => ask(true) } });
    box.replaceChildren(el("p", {}, "You decide as ", el("bdi", { class: "name", text: who.name }), " ", change));
  };
  const ask = (focus) => {
    const input = el("input", { id: "who-name", required: true, maxLength: 80, autocomplete: "name", value: who.name, list: "who-known" });
    const form = el(
      "form",
      {
        class: "tools",
        on: {
          submit: (event) => {
            event.preventDefault();
            const name = input.value.trim();
            if (!name) return;
            who.set(name);
            said();
            changed(name);
          },
        },
      },
      el("label", { htmlFor: "who-name" }, el("span", { text: "Your name or initials" }), input),
      el("datalist", { id: "who-known" }, (state.info?.reviewers ?? []).map((value) => el("option", { value }))),
      el("button", { type: "submit", class: "main", text: who.name ? "Save" : "Begin" }),
    );
    box.replaceChildren(form, el("p", { class: "soft", text: "It is written beside what you decide, and kept in this browser." }));
    if (focus) input.focus();
  };
  if (who.name) said();
  else ask(false);
  box.ask = () => ask(true);
  return box;
}
