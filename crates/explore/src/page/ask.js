// Questions in words, where a language model is named; and the tools that it would use, by hand.
import { get, post, state } from "./api.js";
import { heading, link, trouble } from "./app.js";
import { choice, count, el, labelled, share, words } from "./text.js";

const isEstimate = (value) => value && typeof value === "object" && "value" in value && "low" in value && "high" in value;
const isRow = (value) => value && typeof value === "object" && !Array.isArray(value) && !isEstimate(value);
const plain = (value) => value === null || ["string", "number", "boolean", "undefined"].includes(typeof value);

/** A value of an answer; what names a pair or a feature is a link to it. */
function shown(value, key) {
  if (isEstimate(value)) return el("span", { text: `${share(value.value)} (95 % interval ${share(value.low)} to ${share(value.high)}${value.n === undefined ? "" : `, n = ${count(value.n)}`})` });
  if (value === null || value === undefined) return el("span", { class: "soft", text: "none" });
  if (typeof value === "number") return el("span", { text: Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4))) });
  if (typeof value === "boolean") return el("span", { text: value ? "yes" : "no" });
  if (typeof value === "string") {
    if (/^pair(_?ids?)?s?$/i.test(key)) return el("a", { href: link("pair", {}, value), text: value });
    if (/^(feature(_?ids?)?s?|id|merged_into)$/i.test(key) && state.features.has(value)) return el("a", { dir: "auto", href: link("pairs", { feature: value }), text: key === "id" ? value : words(state.features.get(value)) });
    return el("span", { class: "text", dir: "auto", text: value });
  }
  if (Array.isArray(value)) {
    if (!value.length) return el("span", { class: "soft", text: "none" });
    if (value.every(isRow)) return table(value);
    return el("ul", {}, value.map((one) => el("li", {}, shown(one, key))));
  }
  return el("dl", {}, Object.entries(value).flatMap(([name, one]) => [el("dt", { text: name.replaceAll("_", " ") }), el("dd", {}, shown(one, name))]));
}

function table(rows) {
  const columns = [...new Set(rows.slice(0, 200).flatMap((row) => Object.keys(row)))];
  return el(
    "div",
    { class: "wide", tabIndex: 0, role: "group", "aria-label": "Table" },
    el("table", {}, el("thead", {}, el("tr", {}, columns.map((name) => el("th", { scope: "col", text: name.replaceAll("_", " ") })))), el("tbody", {}, rows.slice(0, 500).map((row) => el("tr", {}, columns.map((name) => el("td", { class: typeof row[name] === "number" ? "n" : "" }, shown(row[name], name))))))),
    rows.length > 500 ? el("p", { class: "soft", text: `The first 500 of ${count(rows.length)}.` }) : "",
  );
}

const raw = (value) => el("details", {}, el("summary", { text: "As JSON" }), el("pre", { class: "text", tabIndex: 0, text: JSON.stringify(value, null, 1).slice(0, 200000) }));

export function open(root) {
  const { info } = state;
  const asked = new AbortController();
  root.append(heading("Ask"));
  if (info.model) root.append(question(info.model, asked.signal));
  else root.append(el("p", { id: "no-model" }, "No language model is named, so questions in words are not answered here. Start `wimhf explore` with `--model MODEL` (the manual's chapter on language models says which), or use the tools by hand: they give the same figures."));
  const place = el("section", { "aria-labelledby": "tools-title" }, el("h2", { id: "tools-title", text: "Tools by hand" }));
  root.append(place);
  byHand(place, asked.signal);
  return { leave: () => asked.abort() };
}

function question(model, signal) {
  const input = el("textarea", { id: "question", rows: 3, required: true, maxLength: 4000 });
  const button = el("button", { type: "submit", class: "main", text: "Ask" });
  const status = el("p", { role: "status", class: "soft" });
  const answer = el("div", { id: "answer" });
  const form = el("form", { class: "ask" }, labelled("Your question about this data", input, "broad"), el("div", { class: "tools" }, button), el("p", { class: "soft" }, "Answered by ", el("bdi", { text: model }), " with the tools below. What stands in the answer and not in what the tools said is struck out."));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!input.value.trim() || button.disabled) return;
    button.disabled = true;
    status.textContent = "Being answered; this can take a minute.";
    answer.replaceChildren();
    try {
      const found = await post("/api/ask", { question: input.value.trim() }, { signal });
      answer.replaceChildren(...answered(found));
      status.textContent = "Answered.";
    } catch (error) {
      if (error.name === "AbortError") return;
      status.textContent = "";
      answer.replaceChildren(trouble(error));
    }
    button.disabled = false;
  });
  return el("section", { "aria-label": "Question" }, form, status, answer);
}

function answered({ answer, checked, unsupported, told, calls, pair_ids, spent }) {
  const text = el("div", { class: "answer text", dir: "auto" });
  const wrong = [...new Set(unsupported ?? [])].filter(Boolean).sort((a, b) => b.length - a.length);
  if (wrong.length) {
    // A figure is struck where it stands by itself: "12" is not struck within "112".
    const safe = wrong.map((one) => `(?<![\\p{L}\\p{N}.,])${one.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\p{L}\\p{N}])`);
    const pattern = new RegExp(safe.join("|"), "gu");
    let done = 0;
    for (const { index, 0: hit } of answer.matchAll(pattern)) {
      text.append(answer.slice(done, index), el("del", { text: hit }), el("span", { class: "flag", text: "not in what the tools said" }));
      done = index + hit.length;
    }
    text.append(answer.slice(done));
  } else text.textContent = answer;
  return [
    text,
    el("p", { class: "soft", text: !checked ? "The figures of this answer were not checked." : wrong.length ? `Not in what the tools said: ${wrong.join("; ")}.` : "Every figure of this answer stands in what the tools said." }),
    ...(told?.length ? [el("p", { class: "soft", text: "The model came to no answer with the tools, so it was told what the run says of the question's words. Go by these lines: such a model may misread them." }), el("ul", { id: "told" }, told.map((line) => el("li", { dir: "auto", text: line })))] : []),
    ...(pair_ids?.length ? [el("p", {}, "Pairs: ", pair_ids.flatMap((id, i) => [i ? ", " : "", el("a", { href: link("pair", {}, id), text: id })]))] : []),
    ...(calls?.length ? [el("details", {}, el("summary", { text: `What the tools were asked and said (${calls.length})` }), calls.map((call) => el("section", {}, el("h3", { text: call.tool }), el("p", { class: "soft text", text: JSON.stringify(call.arguments) }), shown(call.result, ""), raw(call.result))))] : []),
    ...(spent ? [el("p", { class: "soft", dir: "auto", text: spent })] : []),
  ];
}

async function byHand(place, signal) {
  let tools;
  try {
    ({ tools } = await get("/api/tools", {}, { signal }));
  } catch (error) {
    if (error.name !== "AbortError") place.append(trouble(error));
    return;
  }
  if (!tools.length) {
    place.append(el("p", { class: "soft", text: "There are none." }));
    return;
  }
  const status = el("p", { role: "status", id: "tool-status", class: "soft" });
  const answer = el("div", { id: "tool-answer" });
  const form = el("form", { class: "toolform", id: "tool-form" });
  const describe = el("p", { class: "soft", id: "tool-what" });
  const select = choice(tools.map((one) => [one.name, one.name.replaceAll("_", " ")]), tools[0].name, () => draw(), { id: "tool" });
  place.append(el("div", { class: "tools" }, labelled("Tool", select)), describe, form, status, answer);
  let fields = [];
  let running = null;

  function draw() {
    const tool = tools.find((one) => one.name === select.value);
    describe.textContent = tool.description;
    status.textContent = "";
    answer.replaceChildren();
    const { properties = {}, required = [] } = tool.parameters ?? {};
    fields = Object.entries(properties).map(([name, schema]) => field(name, schema, required.includes(name)));
    form.replaceChildren(...fields.map(({ part }) => part), el("button", { type: "submit", class: "main", id: "tool-run", text: "Use it" }));
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    const mine = (running = new AbortController());
    const given = {};
    for (const one of fields) {
      let value;
      try {
        value = one.read();
      } catch {
        status.textContent = `${one.name}: this is not valid JSON.`;
        return;
      }
      if (value !== undefined) given[one.name] = value;
    }
    status.textContent = "Being worked out…";
    try {
      const found = await post("/api/tools/" + encodeURIComponent(select.value), given, { signal: AbortSignal.any ? AbortSignal.any([signal, mine.signal]) : mine.signal });
      answer.replaceChildren(shown(found, ""), raw(found));
      status.textContent = "Done.";
    } catch (error) {
      if (error.name === "AbortError") return;
      status.textContent = "";
      answer.replaceChildren(trouble(error));
    }
  });
  draw();
}

/** A control for a parameter of a tool, from its JSON schema. */
function field(name, schema, required) {
  const types = [schema.type ?? (schema.anyOf ?? schema.oneOf ?? []).map((one) => one.type)].flat().filter((type) => type !== "null");
  const options = schema.enum ?? (schema.anyOf ?? schema.oneOf ?? []).find((one) => one.enum)?.enum;
  const title = (schema.title ?? name).replaceAll("_", " ") + (required ? "" : " (may be left out)");
  const id = "arg-" + name;
  const hint = schema.description ? el("p", { class: "soft hint", id: id + "-hint", text: schema.description }) : null;
  const described = { id, name, "aria-describedby": hint ? hint.id : null };
  let control;
  let read;
  if (options) {
    control = choice([...(required ? [] : [["", "as usual"]]), ...options.filter((one) => one !== null).map((one) => [String(one), String(one)])], schema.default === undefined ? "" : String(schema.default), null, described);
    read = () => (control.value === "" ? undefined : options.find((one) => String(one) === control.value));
  } else if (types[0] === "boolean") {
    control = choice([...(required ? [] : [["", "as usual"]]), ["true", "yes"], ["false", "no"]], schema.default === undefined ? "" : String(schema.default), null, described);
    read = () => (control.value === "" ? undefined : control.value === "true");
  } else if (types[0] === "number" || types[0] === "integer") {
    control = el("input", { type: "number", step: types[0] === "integer" ? 1 : "any", min: schema.minimum, max: schema.maximum, required, value: schema.default ?? "", ...described });
    read = () => (control.value === "" ? undefined : Number(control.value));
  } else if (types[0] === "array" || types[0] === "object") {
    control = el("textarea", { rows: 2, required, placeholder: types[0] === "array" ? "one on each line" : "{}", ...described });
    const of = schema.items?.type;
    read = () => {
      const text = control.value.trim();
      if (!text) return undefined;
      if (types[0] === "array" && !text.startsWith("[")) return text.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => (of === "number" || of === "integer" ? Number(line) : line));
      return JSON.parse(text);
    };
  } else {
    if (/^(sql|query|statement)$/.test(name)) {
      control = el("textarea", { rows: 4, required, spellcheck: false, ...described });
      return { name, read: () => control.value.trim() || undefined, part: el("div", { class: "field" }, labelled(title, control), hint) };
    }
    const feature = /feature/.test(name);
    const listed = feature ? el("datalist", { id: id + "-list" }, state.info.features.map((one) => el("option", { value: one.id, text: words(one) }))) : null;
    control = el("input", { type: "text", required, autocomplete: "off", value: schema.default ?? "", list: listed?.id, ...described });
    read = () => (control.value.trim() === "" ? undefined : control.value.trim());
    return { name, read, part: el("div", { class: "field" }, labelled(title, control), listed, hint) };
  }
  return { name, read, part: el("div", { class: "field" }, labelled(title, control), hint) };
}
