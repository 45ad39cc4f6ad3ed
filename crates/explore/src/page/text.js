// Small things that every view needs: elements, figures in words, marked texts, differences of words.
// A text of the dataset reaches the page as a text node only.

/** An element; what stands in `props` is set as a property, or as an attribute where there is no such property. */
export function el(name, props = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") element.className = value;
    else if (key === "text") element.textContent = value;
    else if (key === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key in element && key !== "list" && key !== "form") element[key] = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of a drawing. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(key, String(value));
  element.append(...children.flat().filter(Boolean));
  return element;
}

export const count = (n) => (typeof n === "number" ? n.toLocaleString("en-GB") : "?");
export const many = (n, one, more = one + "s") => `${count(n)} ${n === 1 ? one : more}`;
export const percent = (x) => `${Math.round(x * 100)} %`;
export const points = (x) => {
  const rounded = Math.round(Math.abs(x) * 100);
  return rounded === 0 ? "0" : (x < 0 ? "−" : "+") + rounded;
};
export const share = (x) => (typeof x === "number" ? x.toFixed(2) : "?");

/** A share of judgements with what is known about it. */
export function rate(found) {
  if (!found) return "not known yet";
  return `${percent(found.value)} (95 % interval ${Math.round(found.low * 100)} to ${percent(found.high)}, n = ${count(found.n)})`;
}

/** How many points more often the response with more of it wins. */
export function wins(found) {
  if (!found) return "not measured";
  return `wins ${points(Math.abs(found.value)).replace(/^[+−]/, "")} points ${found.value < 0 ? "less" : "more"} often (95 % interval ${points(found.low)} to ${points(found.high)}, ${many(found.n, "label")})`;
}

/** Which response the label prefers, in words; `label` is the mean preference for A. */
export function preferred(label, labels) {
  if (label === null || label === undefined) return "no label";
  const of = labels > 1 ? ` (${percent(label > 0.5 ? label : 1 - label)} of ${labels} labels)` : "";
  if (label > 0.5) return "A preferred" + of;
  if (label < 0.5) return "B preferred" + of;
  return labels > 1 ? `a tie (of ${labels} labels)` : "a tie";
}

/** The words of a feature, as edited. */
export const words = (feature) => (feature ? feature.reworded || feature.text || feature.id : "");
export const brief = (text, most = 80) => (text.length > most ? text.slice(0, most - 1).replace(/\s+\S*$/, "") + "…" : text);

/** Appends `text`, cut where a range of a layer begins or ends. `layers`: [{ranges: [[from, to]], tag, class}], the outermost first. */
export function layered(parent, text, layers) {
  const edges = new Set([0, text.length]);
  for (const { ranges } of layers) for (const [from, to] of ranges) edges.add(Math.min(from, text.length)).add(Math.min(to, text.length));
  const cuts = [...edges].sort((a, b) => a - b);
  const sorted = layers.map((layer) => ({ ...layer, at: 0, ranges: [...layer.ranges].sort((a, b) => a[0] - b[0]) }));
  const parts = document.createDocumentFragment();
  for (let i = 0; i + 1 < cuts.length; i++) {
    const [from, to] = [cuts[i], cuts[i + 1]];
    let node = document.createTextNode(text.slice(from, to));
    for (let l = sorted.length - 1; l >= 0; l--) {
      const layer = sorted[l];
      while (layer.at < layer.ranges.length && layer.ranges[layer.at][1] <= from) layer.at++;
      const range = layer.ranges[layer.at];
      if (range && range[0] <= from && to <= range[1]) node = el(layer.tag, { class: layer.class }, node);
    }
    parts.append(node);
  }
  parent.append(parts);
  return parent;
}

/** Where the words of a search stand in a text. */
export function hits(text, query) {
  const wanted = [];
  for (const [, phrase, word] of query.matchAll(/"([^"]+)"|([^\s"]+)/g)) {
    const plain = (phrase ?? word).replace(/\*+$/, "").trim();
    if (plain) wanted.push(plain.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  }
  if (!wanted.length) return [];
  const found = [];
  for (const { index, 0: hit } of text.matchAll(new RegExp(wanted.join("|"), "giu"))) if (hit) found.push([index, index + hit.length]);
  return found;
}

/** About `most` characters around the first range, with ranges that fit the cut. */
export function excerpt(text, ranges, most = 320) {
  const first = ranges.length ? ranges[0][0] : 0;
  let from = text.length <= most ? 0 : Math.max(0, Math.min(first - 60, text.length - most));
  if (from > 0 && /[\udc00-\udfff]/.test(text[from])) from--;
  const cut = text.slice(from, from + most);
  const [before, after] = [from > 0 ? "… " : "", from + most < text.length ? " …" : ""];
  const shift = before.length - from;
  return {
    text: before + cut + after,
    ranges: ranges
      .map(([a, b]) => [Math.max(a + shift, before.length), Math.min(b + shift, before.length + cut.length)])
      .filter(([a, b]) => a < b),
  };
}

const pieces = (text, how) => text.match(how) ?? [];
const WORDS = /\s+|[\p{L}\p{N}\p{M}_'’]+|[^\s\p{L}\p{N}\p{M}_'’]/gu;
const SENTENCES = /[^\n.!?。]*[.!?。]+["')\]]*\s*|[^\n.!?。]*\n+|[^\n.!?。]+/gu;
const LINES = /[^\n]*\n|[^\n]+/gu;

/** Myers' greedy O(ND) over two lists; which of each list stand in both. null where more than `bound` steps are needed. */
export function same(a, b, bound) {
  const [n, m] = [a.length, b.length];
  const offset = Math.min(bound, n + m) + 1;
  const front = new Int32Array(2 * offset + 1);
  const trace = [];
  let found = -1;
  for (let d = 0; d < offset && found < 0; d++) {
    for (let k = -d; k <= d; k += 2) {
      let x = k === -d || (k !== d && front[offset + k - 1] < front[offset + k + 1]) ? front[offset + k + 1] : front[offset + k - 1] + 1;
      let y = x - k;
      while (x < n && y < m && a[x] === b[y]) x++, y++;
      front[offset + k] = x;
      if (x >= n && y >= m) {
        found = d;
        break;
      }
    }
    trace.push(front.slice(offset - d - 1, offset + d + 2));
  }
  if (found < 0) return null;
  const [inA, inB] = [new Uint8Array(n), new Uint8Array(m)];
  let [x, y] = [n, m];
  for (let d = found; d > 0; d--) {
    const before = trace[d - 1];
    const at = (k) => before[k + d];
    const k = x - y;
    const from = k === -d || (k !== d && at(k - 1) < at(k + 1)) ? k + 1 : k - 1;
    const [px, py] = [at(from), at(from) - from];
    while (x > px && y > py) inA[--x] = inB[--y] = 1;
    [x, y] = [px, py];
  }
  while (x > 0 && y > 0) inA[--x] = inB[--y] = 1;
  return [inA, inB];
}

function compared(a, b, how, most, bound) {
  const [left, right] = [pieces(a, how), pieces(b, how)];
  if (left.length + right.length > most) return null;
  // What both begin and end with needs no work.
  let head = 0;
  while (head < left.length && head < right.length && left[head] === right[head]) head++;
  let tail = 0;
  while (tail < left.length - head && tail < right.length - head && left[left.length - 1 - tail] === right[right.length - 1 - tail]) tail++;
  const common = same(left.slice(head, left.length - tail), right.slice(head, right.length - tail), bound);
  if (!common) return null;
  return [left, right].map((list, side) => {
    const ranges = [];
    let place = 0;
    list.forEach((piece, i) => {
      const inside = i >= head && i < list.length - tail;
      const differs = inside && !common[side][i - head];
      const last = ranges.at(-1);
      if (differs) {
        if (last && (last[1] === place || !a || !/\S/.test((side ? b : a).slice(last[1], place)))) last[1] = place + piece.length;
        else ranges.push([place, place + piece.length]);
      }
      place += piece.length;
    });
    return ranges;
  });
}

/** What stands in one text and not in the other: word by word, of long texts sentence by sentence. */
export function differences(a, b) {
  const byWord = compared(a, b, WORDS, 12000, 3000);
  if (byWord) return { ranges: byWord, how: "word by word" };
  const bySentence = compared(a, b, SENTENCES, 12000, 3000);
  if (bySentence) return { ranges: bySentence, how: "sentence by sentence, since the texts are long" };
  const byLine = compared(a, b, LINES, 12000, 3000);
  if (byLine) return { ranges: byLine, how: "line by line, since the texts are long" };
  return { ranges: [[], []], how: null };
}

/** Says something to people who hear the page. */
export function say(text) {
  const place = document.getElementById("said");
  place.textContent = "";
  setTimeout(() => (place.textContent = text), 30);
}

/** Copies; says what to do where the browser forbids it. */
export async function copy(text, what, place) {
  try {
    await navigator.clipboard.writeText(text);
    place.textContent = `${what} copied`;
  } catch {
    place.textContent = `The browser does not allow it. Copy it by hand: ${text}`;
  }
}

/** A box with a text that can be scrolled by keyboard, and unfolded where it is long. */
export function folded(body, label, long) {
  body.tabIndex = 0;
  body.setAttribute("role", "group");
  body.setAttribute("aria-label", label);
  body.dir = "auto";
  if (!long) return [body];
  const button = el("button", { type: "button", class: "fold", "aria-expanded": "false", text: "Show all of it" });
  button.addEventListener("click", () => {
    const open = body.classList.toggle("open");
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Fold it" : "Show all of it";
  });
  return [body, button];
}

/** Waits until nothing more is typed. */
export function later(act, wait = 150) {
  let timer = 0;
  const run = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), wait);
  };
  run.cancel = () => clearTimeout(timer);
  return run;
}

let made = 0;
/** A label with its control. */
export function labelled(text, control, extra) {
  control.id ||= "c" + ++made;
  return el("label", { htmlFor: control.id, class: extra }, el("span", { text }), control);
}

/** A select; `options`: [[value, text]]. */
export function choice(options, value, change, props = {}) {
  const select = el("select", props, options.map(([key, text]) => el("option", { value: key, text })));
  select.value = value ?? "";
  if (select.selectedIndex < 0) select.selectedIndex = 0;
  if (change) select.addEventListener("change", () => change(select.value));
  return select;
}
