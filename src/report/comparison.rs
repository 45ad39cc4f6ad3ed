//! A comparison for people: the page with the heat map.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::Value;

use super::evidence::{self, Item};
use super::html::{Document, escape};
use super::page::{SCRIPT, STYLE};
use super::text::{interval, points, thousands};
use crate::compare::{BLANK_BELOW, Cell, Part, Row};
use crate::constitution::select::evidence_pairs;
use crate::describe::Feature;
use crate::describe::known::ConceptBank;
use crate::featurizer::SentenceReader;

/// Rows whose pairs a page holds.
const OPENED: usize = 40;
/// Pairs of a list.
const PAIRS: usize = 15;

/// What a comparison is shown from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// What is compared, in the order of the cells.
    pub parts: &'a [Part<'a>],
    /// Known concepts, sorted by how surely they differ.
    pub known: &'a [Row],
    /// Learned features that match, with their words in the other run and the cosine of their directions.
    pub learned: &'a [(Row, String, f64)],
    /// Features of each part's run, `[parts]`.
    pub features: &'a [&'a [Feature]],
    /// The detectors of each part's run, `[parts]`.
    pub banks: &'a [&'a ConceptBank],
    /// What finds the features of each part's run in sentences, `[parts]`.
    pub sentences: &'a [&'a SentenceReader],
    /// Sentences that the reader should know.
    pub notes: &'a [String],
    /// Leave out annotators' ids and obvious personal data.
    pub anonymise: bool,
}

impl Input<'_> {
    /// Labels of a part.
    pub fn labels(&self, part: usize) -> usize {
        self.known.first().and_then(|row| row.cells.get(part)).map_or(0, |cell| cell.n)
    }
}

/// What a row is about, completing "The response …".
pub fn clause(row: &Row) -> &str {
    if row.clause.is_empty() { &row.description } else { &row.clause }
}

/// A cell's effect with its interval; empty without one.
pub fn shown(cell: &Cell) -> String {
    if cell.win_delta.is_none() {
        String::new()
    } else {
        interval(cell.win_delta, cell.win_low, cell.win_high)
    }
}

/// A p-value to three digits: `.012`, `< .001`.
pub fn p_value(p: f64) -> String {
    if p < 0.001 { "< .001".into() } else { format!("{p:.3}").trim_start_matches('0').to_owned() }
}

/// The page: a heat map that sorts and filters, and the evidence behind its rows.
pub fn page(input: Input<'_>) -> String {
    let data = data(input);
    let mut body = String::new();
    // Writing into a string cannot fail.
    let _ = body_into(&mut body, input, &data);
    let title = format!("What the labels of {} reward, compared", names(input.parts));
    Document { title: &title, style: STYLE, script: SCRIPT, data: Some(&data), body: &body }.render()
}

fn body_into(out: &mut String, input: Input<'_>, data: &Value) -> std::fmt::Result {
    let differing: Vec<&Row> = input.known.iter().filter(|row| row.differs).collect();
    write!(
        out,
        "<a class=\"skip\" href=\"#main\">Skip to the findings</a>\n<header class=\"top\"><h1>What the labels of {} reward, compared</h1>\n\
         <p class=\"soft\">{}. The same concepts are measured in each of them; {} are common enough for their difference to be tested.</p>\n<nav aria-label=\"Sections\"><ul><li><a href=\"#principles\">Concepts</a></li><li><a href=\"#evidence\">Evidence</a></li>",
        escape(&names(input.parts)),
        escape(&sizes(input)),
        tested(input.known)
    )?;
    if !input.learned.is_empty() {
        out.push_str("<li><a href=\"#learned\">Learned features</a></li>");
    }
    out.push_str(
        "<li><a href=\"#made\">How this was made</a></li></ul></nav></header>\n<main id=\"main\">\n",
    );
    out.push_str("<section class=\"short\" aria-labelledby=\"short\"><h2 id=\"short\">In short</h2><ul>");
    if differing.is_empty() {
        write!(
            out,
            "<li>No difference is beyond chance: {} concepts were compared, corrected for their number at 1 %.</li>",
            tested(input.known)
        )?;
    } else {
        write!(
            out,
            "<li>{} of {} concepts differ beyond chance, corrected for their number at 1 %.</li>",
            differing.len(),
            tested(input.known)
        )?;
    }
    for row in differing.iter().take(4) {
        let Some((low, high)) = extremes(row) else { continue };
        write!(
            out,
            "<li>A response that <strong>{}</strong> wins {} in {}, and {} in {}{}.</li>",
            escape(clause(row)),
            size(&row.cells[high]),
            escape(&input.parts[high].name),
            size(&row.cells[low]),
            escape(&input.parts[low].name),
            if row.reverses { ": the direction reverses" } else { "" }
        )?;
    }
    out.push_str("</ul></section>\n<h2 id=\"principles\">Concepts</h2>\n");
    write!(
        out,
        "<p>Each number is how much more often the response with more of it wins, in percentage points, response length held \
         fixed, with its 95 % interval. The same detectors read every part, and every label counts, since \
         no label took part in choosing a concept. Blank: fewer than {:.0} % of the pairs differ in it. Open a concept to read the pairs in which its two extremes differ.</p>\n\
         <div class=\"tools\" id=\"principles-tools\" hidden><label>Search <input type=\"search\" id=\"principles-query\"></label>\
         <label>On average <select id=\"principles-direction\"><option value=\"\">all</option><option value=\"prefer\">rewarded</option>\
         <option value=\"avoid\">punished</option></select></label>\
         <label><input type=\"checkbox\" id=\"principles-flagged\"> only what differs</label>\
         <output id=\"principles-count\" class=\"soft\"></output></div>\n",
        BLANK_BELOW * 100.0
    )?;
    table(out, input, data)?;
    panel(out);
    learned(out, input)?;
    out.push_str("<h2 id=\"made\">How this was made</h2>\n<dl>");
    for (index, part) in input.parts.iter().enumerate() {
        write!(
            out,
            "<dt>{}</dt><dd>{} labels, ties left out{}</dd>",
            escape(&part.name),
            thousands(input.labels(index)),
            if input.anonymise { String::new() } else { format!(", of {}", escape(&part.dataset)) }
        )?;
    }
    write!(out, "<dt>Program</dt><dd>wimhf {}</dd>", env!("CARGO_PKG_VERSION"))?;
    out.push_str(
        "<dt>Test</dt><dd>that the effects are equal in all parts: Wald, F, with the covariance of effects that share prompts or annotators; \
         corrected by Holm over the concepts. In each part the intervals are clustered by prompt and annotator.</dd>",
    );
    for note in input.notes {
        write!(out, "<dt>Note</dt><dd>{}</dd>", escape(note))?;
    }
    out.push_str("</dl>\n</main>\n<footer><p>Associations in the labels at hand, never causes. This file needs no network and sends nothing.</p></footer>");
    Ok(())
}

/// Every concept with a cell for each part.
fn table(out: &mut String, input: Input<'_>, data: &Value) -> std::fmt::Result {
    let sort = |key: &str, class: &str, name: &str, sorted: &str| {
        format!(
            "<th scope=\"col\" class=\"{class}\"{sorted}><button type=\"button\" class=\"sort\" data-key=\"{key}\">{name}</button></th>"
        )
    };
    out.push_str(
        "<div class=\"wide\"><table class=\"stack heat\" id=\"principles-table\"><caption>Concepts, the surest difference first</caption><thead><tr>",
    );
    out.push_str(&sort("rank", "n", "#", " aria-sort=\"ascending\""));
    out.push_str(&sort("text", "", "The response that …", ""));
    for (index, part) in input.parts.iter().enumerate() {
        out.push_str(&sort(&format!("c{index}"), "n", &escape(&part.name), ""));
    }
    out.push_str(&sort("p", "n", "p (Holm)", ""));
    out.push_str("</tr></thead><tbody>\n");
    let with_evidence = |id: &str| data["items"].get(id).is_some();
    for (rank, row) in
        input.known.iter().filter(|row| row.cells.iter().any(|c| c.win_delta.is_some())).enumerate()
    {
        let present: Vec<f64> = row.cells.iter().filter_map(|cell| cell.win_delta).collect();
        let mean = present.iter().sum::<f64>() / present.len().max(1) as f64;
        write!(
            out,
            "<tr data-text=\"{}\" data-direction=\"{}\" data-flags=\"{}\" data-rank=\"{}\" data-p=\"{}\"",
            escape(&clause(row).to_lowercase()),
            if mean >= 0.0 { "prefer" } else { "avoid" },
            if row.differs { "differs" } else { "" },
            rank + 1,
            row.p_holm.unwrap_or(2.0),
        )?;
        for (index, cell) in row.cells.iter().enumerate() {
            // What is blank sorts below everything.
            write!(out, " data-c{index}=\"{}\"", cell.win_delta.unwrap_or(-9.0))?;
        }
        write!(out, "><td class=\"n\" data-name=\"Rank\">{}</td><th scope=\"row\">", rank + 1)?;
        if with_evidence(&row.feature_id) {
            write!(
                out,
                "<button type=\"button\" class=\"open\" data-feature=\"{}\">{}</button>",
                escape(&row.feature_id),
                escape(clause(row))
            )?;
        } else {
            out.push_str(&escape(clause(row)));
        }
        if row.reverses {
            out.push_str("<span class=\"flag\">reverses</span>");
        } else if row.differs {
            out.push_str("<span class=\"flag\">differs</span>");
        }
        out.push_str("</th>");
        heat(out, row, input.parts)?;
        writeln!(
            out,
            "<td class=\"n\" data-name=\"p (Holm)\">{}</td></tr>",
            row.p_holm.map_or("–".into(), p_value)
        )?;
    }
    out.push_str("</tbody></table></div>\n");
    Ok(())
}

/// Parts that a heading names; more are counted.
const NAMED: usize = 3;

/// What is compared: "helpful, harmless and arena".
fn names(parts: &[Part<'_>]) -> String {
    let mut names: Vec<String> =
        parts.iter().take(NAMED).map(|part| super::text::excerpt(&part.name, 40)).collect();
    if parts.len() > NAMED {
        names.push(format!("{} more", parts.len() - NAMED));
    }
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// Each of them with its labels.
fn sizes(input: Input<'_>) -> String {
    let size = |(index, part): (usize, &Part<'_>)| {
        format!("{}: {} labels", part.name, thousands(input.labels(index)))
    };
    input.parts.iter().enumerate().map(size).collect::<Vec<_>>().join("; ")
}

/// One coloured cell a part.
fn heat(out: &mut String, row: &Row, parts: &[Part<'_>]) -> std::fmt::Result {
    for (cell, part) in row.cells.iter().zip(parts) {
        let name = escape(&part.name);
        match (cell.win_delta, cell.win_low, cell.win_high) {
            (Some(value), Some(low), Some(high)) => write!(
                out,
                "<td class=\"n {}\" data-name=\"{name}\">{} <span class=\"ends\">[{}, {}]</span></td>",
                shade(value),
                points(value),
                points(low),
                points(high)
            )?,
            _ => write!(
                out,
                "<td class=\"n soft\" data-name=\"{name}\"><span class=\"ends\">{:.0} % differ</span></td>",
                cell.prevalence * 100.0
            )?,
        }
    }
    Ok(())
}

/// The class of a cell's colour: five steps on each side of nothing.
fn shade(value: f64) -> String {
    let step = ((value.abs() * 100.0 + 5.0) / 10.0).floor().clamp(0.0, 5.0);
    if step == 0.0 { "h0".into() } else { format!("h{}{step:.0}", if value > 0.0 { "p" } else { "m" }) }
}

fn size(cell: &Cell) -> String {
    let value = cell.win_delta.unwrap_or(0.0);
    format!(
        "{:.0} points {} often (95 % interval {} to {})",
        value.abs() * 100.0,
        if value >= 0.0 { "more" } else { "less" },
        points(cell.win_low.unwrap_or(0.0)),
        points(cell.win_high.unwrap_or(0.0))
    )
}

/// The parts with the smallest and with the largest effect.
fn extremes(row: &Row) -> Option<(usize, usize)> {
    let present =
        || row.cells.iter().enumerate().filter_map(|(at, cell)| cell.win_delta.map(|value| (at, value)));
    let low = present().min_by(|a, b| a.1.total_cmp(&b.1))?.0;
    let high = present().max_by(|a, b| a.1.total_cmp(&b.1))?.0;
    (low != high).then_some((low, high))
}

fn panel(out: &mut String) {
    out.push_str(
        "<section id=\"evidence\" aria-labelledby=\"evidence-title\" hidden><h2 id=\"evidence-title\" tabindex=\"-1\">Evidence</h2>\
         <p id=\"evidence-effect\"></p><div class=\"tools\"><label>Search the pairs <input type=\"search\" id=\"evidence-query\"></label>\
         <span class=\"soft keys\">The clearest pairs first. What shows the concept is highlighted. Keys: ← and → turn the page, Esc goes back to the list.</span></div>\
         <div class=\"columns\">",
    );
    for side in ["for", "against"] {
        out.push_str(&format!(
            "<div class=\"column\" id=\"{side}\" role=\"group\" aria-labelledby=\"{side}-title\"><header><h3 id=\"{side}-title\">Pairs</h3>\
             <div class=\"turn\"><button type=\"button\" id=\"{side}-back\" aria-label=\"Previous pair\">←</button>\
             <span id=\"{side}-count\" aria-live=\"polite\"></span>\
             <button type=\"button\" id=\"{side}-on\" aria-label=\"Next pair\">→</button></div></header><div id=\"{side}-pair\"></div></div>"
        ));
    }
    out.push_str("</div></section>\n");
}

fn learned(out: &mut String, input: Input<'_>) -> std::fmt::Result {
    if input.learned.is_empty() {
        return Ok(());
    }
    out.push_str(
        "<h2 id=\"learned\">Learned features that match</h2>\n<div class=\"wide\"><table class=\"stack heat\"><caption>Features of the two autoencoders \
         whose directions are each other’s nearest; the sign is that of the first run</caption><thead><tr><th scope=\"col\">In the first run</th>\
         <th scope=\"col\">In the other</th><th scope=\"col\" class=\"n\">cosine</th>",
    );
    for part in input.parts {
        write!(out, "<th scope=\"col\" class=\"n\">{}</th>", escape(&part.name))?;
    }
    out.push_str("<th scope=\"col\" class=\"n\">p (Holm)</th></tr></thead><tbody>\n");
    for (row, other, cosine) in input.learned {
        let words = if row.description.is_empty() { "unexplained" } else { row.description.as_str() };
        let other = if other.is_empty() { "unexplained" } else { other.as_str() };
        write!(
            out,
            "<tr><th scope=\"row\">{} <span class=\"soft\">{}</span></th><td data-name=\"In the other\">{}</td><td class=\"n\" data-name=\"Cosine\">{}</td>",
            escape(words),
            escape(&row.feature_id),
            escape(other),
            super::plots::label(format!("{cosine:.2}"))
        )?;
        heat(out, row, input.parts)?;
        writeln!(
            out,
            "<td class=\"n\" data-name=\"p (Holm)\">{}</td></tr>",
            row.p_holm.map_or("–".into(), p_value)
        )?;
    }
    out.push_str("</tbody></table></div>\n");
    Ok(())
}

/// The pairs behind the surest rows: of the part with the largest effect those in which more of it won, of the
/// part with the smallest those in which less of it won.
fn data(input: Input<'_>) -> Value {
    let rows: Vec<(&Row, usize, usize)> = (input.known.iter())
        .filter(|row| row.p.is_some())
        .filter_map(|row| extremes(row).map(|(low, high)| (row, low, high)))
        .take(OPENED)
        .collect();
    let mut items = serde_json::Map::new();
    let mut pairs: Vec<Value> = Vec::new();
    for (index, part) in input.parts.iter().enumerate() {
        let column = |id: &str| input.features[index].iter().position(|feature| feature.feature_id == id);
        let labels = labels(part);
        let means: Vec<(u32, f64)> = {
            let mut means: Vec<(u32, f64)> = labels
                .iter()
                .enumerate()
                .filter(|(_, (_, n))| *n > 0)
                .map(|(at, (mean, _))| (at as u32, f64::from(*mean)))
                .collect();
            means.sort_unstable_by_key(|(pair, _)| *pair);
            means
        };
        let here: Vec<Item<'_>> = rows
            .iter()
            .filter(|(_, low, high)| *low == index || *high == index)
            .filter_map(|(row, _, high)| {
                let column = column(&row.feature_id)?;
                let wins = *high == index;
                let (supporting, _) = evidence_pairs(
                    |pair| part.activations.row(pair as usize)[column],
                    wins,
                    part.pairs,
                    &means,
                    PAIRS,
                );
                Some(Item {
                    feature: &input.features[index][column],
                    column,
                    text: format!("The response that {}", clause(row)),
                    effect: String::new(),
                    titles: ["", ""],
                    supporting,
                    against: Vec::new(),
                })
            })
            .collect();
        let source = evidence::Source {
            pairs: part.pairs,
            activation: &|pair, column| part.activations.row(pair)[column],
            labels: &labels,
            bank: input.banks[index],
            sentences: input.sentences[index],
            anonymise: input.anonymise,
        };
        let mut packed = evidence::pack(&here, source, evidence::BYTES / input.parts.len().max(1));
        let offset = pairs.len() as u64;
        if let Some(found) = packed["pairs"].as_array_mut() {
            pairs.append(found);
        }
        for (row, low, high) in rows.iter().filter(|(_, low, high)| *low == index || *high == index) {
            let mut list = packed["items"][&row.feature_id]["for"].take();
            for entry in list.as_array_mut().into_iter().flatten() {
                entry[0] = (entry[0].as_u64().unwrap_or(0) + offset).into();
            }
            let slot =
                items.entry(row.feature_id.clone()).or_insert_with(|| item(row, *low, *high, input.parts));
            slot[if *high == index { "for" } else { "against" }] =
                if list.is_array() { list } else { Value::Array(Vec::new()) };
        }
    }
    serde_json::json!({"items": items, "pairs": pairs})
}

/// A row's evidence without its pairs.
fn item(row: &Row, low: usize, high: usize, parts: &[Part<'_>]) -> Value {
    let (in_high, in_low) = (&row.cells[high], &row.cells[low]);
    let gap = row.differences.iter().find_map(|d| match (d.of, d.to) {
        (of, to) if (of, to) == (high, low) => Some((d.value, d.low, d.high)),
        (of, to) if (of, to) == (low, high) => Some((-d.value, -d.high, -d.low)),
        _ => None,
    });
    let gap = gap.map_or(String::new(), |(value, low, high)| {
        format!(" The difference is {}.", interval(Some(value), Some(low), Some(high)))
    });
    serde_json::json!({
        "text": format!("The response that {}", clause(row)),
        "effect": format!(
            "Win rate in {}: {} points, {:.0} % of {} labels differ in it; in {}: {} points, {:.0} % of {} labels.{gap}",
            parts[high].name, shown(in_high), in_high.prevalence * 100.0, thousands(in_high.n),
            parts[low].name, shown(in_low), in_low.prevalence * 100.0, thousands(in_low.n),
        ),
        "titles": [
            format!("{}: the side with more of it won", parts[high].name),
            format!("{}: the side with less of it won", parts[low].name),
        ],
        "for": [],
        "against": [],
    })
}

/// Mean label and number of labels of each pair in a part, ties left out.
fn labels(part: &Part<'_>) -> Vec<(f32, u32)> {
    let judgements = &part.pairs.judgements;
    let mut sums: HashMap<u32, (f32, u32)> = HashMap::new();
    for &at in &part.judgements {
        let label = judgements.label[at as usize];
        if !label.is_nan() && label != 0.5 {
            let slot = sums.entry(judgements.pair[at as usize]).or_default();
            *slot = (slot.0 + label, slot.1 + 1);
        }
    }
    (0..part.pairs.pair_id.len() as u32)
        .map(|pair| sums.get(&pair).map_or((0.5, 0), |&(sum, n)| (sum / n as f32, n)))
        .collect()
}

/// Differences that were tested.
pub fn tested(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.p.is_some()).count()
}
