//! `report.html`: the findings for the eyes, in one file that needs nothing else.
//!
//! What stands still (sentences, tables, plots) is HTML made here; the script only sorts, filters and
//! turns the pages of the evidence. Every text of the dataset is hostile until escaped or handed over as
//! data, and the content policy forbids any script or request that is not ours.

mod questions;

use std::fmt::Write;

use super::evidence::{self, Item, MOST};
use super::html::{Document, escape};
use super::plots::{self, Interval, Scale};
use super::text::{
    FEATURE_SETS, TERMS, by_chance, clause, coefficient, dataset_line, explained_in_words, finding_words,
    interval, length_in_words, measured_by, nothing_confirmed, p_value, personal_worth, picks_right, points,
    thousands,
};
use crate::constitution::{Finding, Findings, Principle, select};
use crate::contexts::{Contexts, Dependence};
use crate::describe::Described;
use crate::describe::known::ConceptBank;
use crate::effects::table::LabelledSample;
use crate::featurizer::SentenceReader;
use crate::pairs::{MISSING, Pairs, Split};
use crate::personalize::{Heterogeneity, Personalization};
use crate::store::{Estimate, Manifest};

pub use questions::{AuditRecord, Questions};

pub(super) const STYLE: &str = include_str!("page.css");
pub(super) const SCRIPT: &str = include_str!("page.js");
/// Features in which annotators do not differ that are listed all the same, the nearest first.
const NEAREST: usize = 5;
/// Pairs for and against, each, of a feature that is no principle.
const FEWER: usize = 12;

/// What a page is made of.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// `run.json`.
    pub manifest: &'a Manifest,
    /// Principles and what else the labels say.
    pub findings: &'a Findings,
    /// What depends on the request.
    pub contexts: &'a Contexts,
    /// What else was asked of the run.
    pub questions: &'a Questions,
    /// Features and activations.
    pub described: &'a Described,
    /// The dataset.
    pub pairs: &'a Pairs,
    /// The side of each pair, `[pairs]`.
    pub sides: &'a [Split],
    /// The detectors that described them.
    pub bank: &'a ConceptBank,
    /// What finds features in sentences.
    pub sentences: &'a SentenceReader,
    /// How annotators differ, where there are several ([`crate::personalize::differences`]).
    pub annotators: Option<&'a Personalization>,
    /// Leave out annotators' ids and obvious personal data.
    pub anonymise: bool,
}

/// The page.
pub fn render(input: Input<'_>) -> String {
    let extra = Extra::new(input);
    let items = items(input, &extra);
    let labels = labels(input.pairs);
    let source = evidence::Source {
        pairs: input.pairs,
        activation: &|pair, column| input.described.shown(pair, column),
        labels: &labels,
        bank: input.bank,
        sentences: input.sentences,
        anonymise: input.anonymise,
    };
    let data = evidence::pack(&items, source, evidence::BYTES);
    let mut body = String::new();
    // Writing into a string cannot fail.
    let _ = write_body(&mut body, input, &extra, &items, &labels);
    let title = format!("What the labels of {} reward", name(input));
    Document { title: &title, style: STYLE, script: SCRIPT, data: Some(&data), body: &body }.render()
}

/// Findings that the page adds or leaves out.
struct Extra {
    /// What the responses differ in, where no label says what is rewarded.
    measurable: Vec<Finding>,
    /// Unexplained features that are ever active.
    unexplained: Vec<Finding>,
}

impl Extra {
    fn new(input: Input<'_>) -> Self {
        let Input { described, sides, findings, manifest, .. } = input;
        let held_out: Vec<usize> = (0..sides.len()).filter(|&at| sides[at] == Split::Test).collect();
        let share = |column: usize| {
            let active = held_out.iter().filter(|&&pair| described.presence.row(pair)[column] != 0.0).count();
            active as f64 / held_out.len().max(1) as f64
        };
        let alive = |finding: &&Finding| {
            let column = described.features.iter().position(|f| f.feature_id == finding.feature_id);
            column.is_none_or(|column| share(column) > 0.0)
        };
        let unexplained = findings.unexplained.iter().filter(alive).cloned().collect();
        let mut measurable: Vec<Finding> = Vec::new();
        if manifest.metrics.judgements_held_out == 0 {
            for (column, feature) in described.features.iter().enumerate() {
                let prevalence = share(column);
                if prevalence >= 0.05 && !feature.description.is_empty() && feature.redundant_with.is_none() {
                    measurable.push(Finding {
                        feature_id: feature.feature_id.clone(),
                        text: feature.description.clone(),
                        prevalence,
                        n: held_out.len(),
                        ..Finding::default()
                    });
                }
            }
            measurable.sort_by(|a, b| b.prevalence.total_cmp(&a.prevalence));
        }
        Self { measurable, unexplained }
    }
}

/// The dataset's name without its folder, which is nobody's business.
fn name(input: Input<'_>) -> String {
    let path = input.manifest.dataset.path.trim_end_matches(['/', '\\']);
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let name: String = name.chars().take(120).collect();
    if name.is_empty() { "the dataset".into() } else { name }
}

/// Mean label and number of labels of each pair, ties included.
fn labels(pairs: &Pairs) -> Vec<(f32, u32)> {
    let mut sums = vec![(0f32, 0u32); pairs.pair_id.len()];
    for (&pair, &label) in pairs.judgements.pair.iter().zip(&pairs.judgements.label) {
        if !label.is_nan() {
            let slot = &mut sums[pair as usize];
            *slot = (slot.0 + label, slot.1 + 1);
        }
    }
    sums.into_iter().map(|(sum, n)| (if n > 0 { sum / n as f32 } else { 0.5 }, n)).collect()
}

/// Every feature that the page names, with its evidence.
fn items<'a>(input: Input<'a>, extra: &Extra) -> Vec<Item<'a>> {
    let Input { described, pairs, findings, .. } = input;
    let means = LabelledSample::on(pairs, input.sides, &[Split::Test]).pair_means();
    let column = |id: &str| described.features.iter().position(|feature| feature.feature_id == id);
    let item = |id: &str, text: String, effect: String, prefer: Option<bool>| {
        let column = column(id)?;
        let feature = &described.features[column];
        let count = if prefer.is_some() { MOST } else { FEWER };
        let (titles, supporting, against) = if means.is_empty() {
            // Without labels there is nothing to be for or against.
            let positive = |pair: &&u32| described.shown(**pair as usize, column) > 0.0;
            let (more, less): (Vec<u32>, Vec<u32>) = feature.examples.iter().partition(positive);
            (["More of it in A", "More of it in B"], more, less)
        } else {
            let (supporting, against) = select::evidence_pairs(
                |pair| described.shown(pair as usize, column),
                prefer.unwrap_or(true),
                pairs,
                &means,
                count,
            );
            let titles = match prefer {
                Some(_) => ["Evidence for it", "Evidence against it"],
                None => ["The side with more of it won", "The side with less of it won"],
            };
            let [supporting, against] = apart(&pairs.prompt_key, [supporting, against]);
            (titles, supporting, against)
        };
        Some(Item { feature, column, text, effect, titles, supporting, against })
    };
    let principles = findings.principles.iter().filter_map(|principle| {
        let id = principle.feature_ids.first()?;
        item(id, principle.statement.clone(), effect_of(principle), Some(principle.direction == "prefer"))
    });
    let others = [
        &extra.measurable,
        &findings.overlapping,
        &findings.hints,
        &findings.not_confirmed,
        &findings.indifferent,
        &extra.unexplained,
    ];
    let others = others.into_iter().flatten().filter_map(|finding| {
        if means.is_empty() {
            let effect = "There are no labels, so nothing says whether it is rewarded.".to_owned();
            return item(&finding.feature_id, finding_words(finding), effect, None);
        }
        let effect = format!(
            "By itself, the response with more of it wins {} points more often; {:.0} % of the labelled pairs differ in it; \
             tested on {} labels.",
            interval(finding.win_delta, finding.win_low, finding.win_high),
            finding.prevalence * 100.0,
            thousands(finding.n)
        );
        item(&finding.feature_id, finding_words(finding), effect, None)
    });
    principles.chain(others).collect()
}

/// Two lists of pairs, read side by side: those whose prompt was met before them in either stand behind the others, so
/// that the first ones are not the same question again.
fn apart(prompts: &[u32], lists: [Vec<u32>; 2]) -> [Vec<u32>; 2] {
    let mut met = std::collections::HashSet::new();
    let (mut first, mut again) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for depth in 0..lists.iter().map(Vec::len).max().unwrap_or(0) {
        for (side, list) in lists.iter().enumerate() {
            let Some(&pair) = list.get(depth) else { continue };
            let prompt = prompts.get(pair as usize).copied().unwrap_or(MISSING);
            // Pairs without a prompt share none.
            let is_new = prompt == MISSING || met.insert(prompt);
            if is_new { first[side].push(pair) } else { again[side].push(pair) }
        }
    }
    for (list, rest) in first.iter_mut().zip(again) {
        list.extend(rest);
    }
    first
}

/// A principle's effect as a sentence.
fn effect_of(p: &Principle) -> String {
    let fixed = match (p.basis.as_str(), p.length_controlled) {
        ("joint", true) => "length and the other principles held fixed",
        ("joint", false) => "the other principles held fixed",
        (_, true) => "length held fixed",
        (_, false) => "nothing held fixed",
    };
    format!(
        "The response with more of it wins {} points {} often (95 % interval {} to {}, {} labels), {fixed}; {:.0} % of the \
         labelled pairs differ in it. Measured by {}.",
        format_args!("{:.0}", p.win_delta.abs() * 100.0),
        if p.win_delta >= 0.0 { "more" } else { "less" },
        points(p.win_low),
        points(p.win_high),
        thousands(p.n),
        p.prevalence * 100.0,
        measured_by(p)
    )
}

/// The title and the contents.
fn top(out: &mut String, input: Input<'_>, has_items: bool) -> std::fmt::Result {
    write!(
        out,
        "<a class=\"skip\" href=\"#main\">Skip to the findings</a>\n<header class=\"top\"><h1>What the labels of {} reward</h1>\n\
         <p class=\"soft\">{}.</p>\n<nav aria-label=\"Sections\"><ul><li><a href=\"#principles\">Principles</a></li>",
        escape(&name(input)),
        escape(&dataset_line(input.manifest)),
    )?;
    if has_items {
        out.push_str(
            "<li><a href=\"#evidence\">Evidence</a></li><li><a href=\"#pairs\">Search the pairs</a></li>",
        );
    }
    out.push_str("<li><a href=\"#ladder\">How much it explains</a></li>");
    out.push_str(&input.questions.entries());
    if input.annotators.is_some() {
        out.push_str("<li><a href=\"#annotators\">Annotators</a></li>");
    }
    out.push_str(
        "<li><a href=\"#words\">What the words mean</a></li><li><a href=\"#dataset\">The data</a></li>\
         <li><a href=\"#made\">How this was made</a></li></ul></nav></header>\n<main id=\"main\">\n",
    );
    Ok(())
}

fn write_body(
    out: &mut String,
    input: Input<'_>,
    extra: &Extra,
    items: &[Item<'_>],
    labels: &[(f32, u32)],
) -> std::fmt::Result {
    let Input { manifest, findings, .. } = input;
    let has_items = !items.is_empty();
    top(out, input, has_items)?;
    short(out, input)?;
    principles(out, input, items)?;
    measurable(out, &extra.measurable, items)?;
    if has_items {
        panel(out);
        search(out);
    }
    ladder(out, manifest)?;
    where_it_holds(out, input.contexts)?;
    input.questions.write(out, &|id, text| opener(items, id, "", text))?;
    list(
        out,
        "Measurable, and not rewarded either way",
        "The whole interval lies within ±10 percentage points.",
        &findings.indifferent,
        items,
        false,
    )?;
    list(
        out,
        "Told by a principle above",
        "Confirmed by itself, too; the labels do not tell it apart from a principle that it moves with.",
        &findings.overlapping,
        items,
        false,
    )?;
    list(
        out,
        "Hints",
        "Confirmed, but people who read such pairs saw something else in more than one of five. Read the pairs before you use it.",
        &findings.hints,
        items,
        false,
    )?;
    list(
        out,
        "Did not hold up",
        "Associated with the label on the pairs used for exploring, but not confirmed.",
        &findings.not_confirmed,
        items,
        false,
    )?;
    list(
        out,
        "Left unexplained",
        "Learned from the texts, and no words fit; the sentences at which they fire are hints, not names.",
        &extra.unexplained,
        items,
        true,
    )?;
    if let Some(found) = input.annotators {
        annotators(out, found)?;
    }
    words(out)?;
    data(out, input, labels)?;
    made(out, input)?;
    out.push_str("</main>\n<footer><p>Associations in the labels at hand, never causes. This file needs no network and sends nothing.</p></footer>");
    Ok(())
}

/// What a reader with one minute takes away.
fn short(out: &mut String, input: Input<'_>) -> std::fmt::Result {
    let Input { manifest, findings, .. } = input;
    let metrics = &manifest.metrics;
    out.push_str("<section class=\"short\" aria-labelledby=\"short\"><h2 id=\"short\">In short</h2><ul>");
    if metrics.judgements_held_out == 0 {
        out.push_str("<li>The dataset has no usable labels, so nothing says what is rewarded; what its responses differ in stands below.</li>");
    } else if findings.principles.is_empty() {
        write!(out, "<li>{}</li>", escape(&nothing_confirmed(findings, metrics.judgements)))?;
    }
    for (direction, verb) in [("prefer", "Rewarded"), ("avoid", "Punished")] {
        let these = findings.principles.iter().filter(|p| p.direction == direction);
        // One of which nobody can say how large it is stands in the table, not in what is read first.
        let mut these = these.filter(|p| !p.flags.iter().any(|flag| flag == "size_unclear")).peekable();
        if these.peek().is_none() {
            continue;
        }
        let named: Vec<&Principle> = these.by_ref().take(3).collect();
        let list: Vec<String> = (named.iter())
            .map(|p| {
                let (value, low, high) = (points(p.win_delta), points(p.win_low), points(p.win_high));
                format!("a response that <strong>{}</strong> ({value} [{low}, {high}])", escape(clause(p)))
            })
            .collect();
        let rest = these.count();
        let more = if rest > 0 { format!("; and {rest} more below") } else { String::new() };
        let least_sure = named.iter().map(|p| p.p_confirm).fold(0.0, f64::max);
        write!(
            out,
            "<li>{verb}: {}{more}. (Wins so many points more often, 95 % interval; by chance {}.)</li>",
            list.join("; "),
            escape(&by_chance(least_sure))
        )?;
    }
    let risks: Vec<&Principle> =
        findings.principles.iter().filter(|p| p.flags.iter().any(|flag| flag == "safety_risk")).collect();
    if let Some(first) = risks.first() {
        write!(
            out,
            "<li><span class=\"flag\">safety risk</span> The labels reward the less safe side: <em>{}</em>{}{}. Open its evidence before training on them.</li>",
            escape(&lower_first(&first.statement)),
            first.risk_requests.map_or(String::new(), |requests| format!(" ({})", requests.sentence())),
            if risks.len() > 1 { format!(" and {} more", risks.len() - 1) } else { String::new() }
        )?;
    }
    if let Some(sentence) = findings.looked.as_ref().and_then(|looked| length_in_words(&looked.length)) {
        write!(out, "<li>{}</li>", escape(&sentence))?;
    }
    if metrics.judgements_held_out > 0 {
        let sentences = [picks_right(metrics), explained_in_words(metrics)];
        let text = sentences.into_iter().flatten().collect::<Vec<_>>().join(" ");
        if !text.is_empty() {
            write!(out, "<li>{}</li>", escape(&text))?;
        }
    }
    let differ: Vec<String> = (input.annotators.iter())
        .flat_map(|found| found.tests.iter().filter(|test| test.subjective).take(3))
        .map(|test| {
            let opposite = format!("{:.0}", test.opposite * 100.0);
            format!(
                "<strong>{}</strong> (for about {opposite} % of them it works the other way)",
                escape(&test.short)
            )
        })
        .collect();
    if !differ.is_empty() {
        write!(out, "<li>Annotators do not agree about: {}.</li>", differ.join("; "))?;
    }
    if !findings.principles.is_empty() {
        let next = if risks.is_empty() {
            "click a principle and read the pairs for it and against it before believing the sentence."
        } else {
            "read the pairs behind the safety risk first; <code>wimhf relabel RUN --preset safety</code> lays labels that may reward harm before you."
        };
        write!(out, "<li>What now: {next} Figures are associations, not causes.</li>")?;
    }
    out.push_str("</ul></section>\n");
    Ok(())
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn flags(principle: &Principle) -> String {
    let flag = |flag: &String| format!("<span class=\"flag\">{}</span>", escape(&flag.replace('_', " ")));
    principle.flags.iter().map(flag).collect()
}

/// A button that opens a feature's evidence, or the text alone where it has none.
fn opener(items: &[Item<'_>], id: &str, class: &str, text: &str) -> String {
    if items.iter().any(|item| item.feature.feature_id == id) {
        format!(
            "<button type=\"button\" class=\"open {class}\" data-feature=\"{}\">{}</button>",
            escape(id),
            escape(text)
        )
    } else {
        format!("<span class=\"{class}\">{}</span>", escape(text))
    }
}

fn principles(out: &mut String, input: Input<'_>, items: &[Item<'_>]) -> std::fmt::Result {
    let Input { manifest, findings, .. } = input;
    out.push_str("<h2 id=\"principles\">Principles</h2>\n");
    if findings.principles.is_empty() {
        let why = if manifest.metrics.judgements_held_out == 0 {
            "The dataset has no usable labels."
        } else {
            "None is confirmed. What was measured all the same stands below."
        };
        return writeln!(out, "<p>{why}</p>");
    }
    let ends = findings
        .principles
        .iter()
        .flat_map(|p| [p.win_low, p.win_high].into_iter().chain(p.win_low_alone).chain(p.win_high_alone));
    let scale = Scale::around(0.0, 0.1, ends);
    write!(
        out,
        "<p>Every property was tested on {} labels, and the number of tries is counted. The effect is how much more often the \
         response with more of it wins, in percentage points, on labels that took no part in choosing; length is held fixed, except where it is the \
         principle. In bold is what was tested: where principles go together, the labels do not say which of them counts. \
         <a href=\"#words\">What the words mean</a></p>\n\
         <div class=\"tools\" id=\"principles-tools\" hidden><label>Search <input type=\"search\" id=\"principles-query\"></label>\
         <label>Direction <select id=\"principles-direction\"><option value=\"\">all</option><option value=\"prefer\">prefer</option>\
         <option value=\"avoid\">avoid</option></select></label>\
         <label><input type=\"checkbox\" id=\"principles-flagged\"> only flagged</label>\
         <output id=\"principles-count\" class=\"soft\"></output></div>\n\
         <noscript><p class=\"soft\">Without scripts the evidence cannot be opened; <code>principles.json</code> names its pairs.</p></noscript>\n\
         <div class=\"wide\"><table class=\"stack\" id=\"principles-table\"><caption>Principles, the strongest first; open one to read its evidence</caption><thead><tr>",
        thousands(manifest.metrics.judgements),
    )?;
    for (key, class, name) in [("rank", "n", "#"), ("text", "", "Principle")] {
        let sorted = if key == "rank" { " aria-sort=\"ascending\"" } else { "" };
        write!(
            out,
            "<th scope=\"col\" class=\"{class}\"{sorted}><button type=\"button\" class=\"sort\" data-key=\"{key}\">{name}</button></th>"
        )?;
    }
    write!(
        out,
        "<th scope=\"col\"><span>Wins more often, in points</span>{}</th>",
        plots::axis(&scale, |x| plots::label(format!("{:.0}", x * 100.0)))
    )?;
    for (key, name) in [
        ("joint", "others held fixed"),
        ("alone", "by itself"),
        ("chance", "by chance"),
        ("prevalence", "differ in it"),
        ("fidelity", "measured by"),
    ] {
        write!(
            out,
            "<th scope=\"col\" class=\"n\"><button type=\"button\" class=\"sort\" data-key=\"{key}\">{name}</button></th>"
        )?;
    }
    out.push_str("</tr></thead><tbody>\n");
    for principle in &findings.principles {
        principle_row(out, principle, &scale, items)?;
    }
    out.push_str("</tbody></table></div>\n");
    out.push_str(
        "<p class=\"soft\">Flags: <em>size unclear</em>, confirmed, but few labels say how large it is without having chosen it; \
         <em>safety</em>, worth a look; <em>safety risk</em>, the labels reward the less safe side; <em>length</em>, about length itself; \
         <em>rare</em>, few pairs differ in it; <em>redundant</em>, moves with another property.</p>\n",
    );
    Ok(())
}

fn principle_row(out: &mut String, p: &Principle, scale: &Scale, items: &[Item<'_>]) -> std::fmt::Result {
    let id = p.feature_ids.first().map_or("", String::as_str);
    let tested = |basis: &str| if p.basis == basis { "n tested" } else { "n" };
    let key = |value: Option<f64>| value.unwrap_or(0.0);
    let colour = if p.direction == "prefer" { plots::GOOD } else { plots::BAD };
    writeln!(
        out,
        "<tr data-text=\"{}\" data-direction=\"{}\" data-flags=\"{}\" data-rank=\"{}\" data-joint=\"{}\" data-alone=\"{}\" \
         data-chance=\"{}\" data-prevalence=\"{}\" data-fidelity=\"{}\"><td class=\"n\" data-name=\"Rank\">{}</td><th scope=\"row\">{}{}</th><td class=\"forest\">{}</td>\
         <td class=\"{}\" data-name=\"Others held fixed\">{}</td><td class=\"{}\" data-name=\"By itself\">{}</td>\
         <td class=\"n\" data-name=\"By chance\">{}</td><td class=\"n\" data-name=\"Differ in it\">{:.0} %</td>\
         <td data-name=\"Measured by\">{}</td></tr>",
        escape(&p.statement.to_lowercase()),
        escape(&p.direction),
        escape(&p.flags.join(" ")),
        p.rank,
        key(p.win_delta_joint),
        key(p.win_delta_alone),
        p.p_confirm,
        p.prevalence,
        // What is its own detector is as true as can be.
        p.fidelity.unwrap_or(1.0),
        p.rank,
        opener(items, id, &p.direction, &p.statement),
        flags(p),
        plots::row(Some(Interval { value: p.win_delta, low: p.win_low, high: p.win_high }), scale, colour),
        tested("joint"),
        interval(p.win_delta_joint, p.win_low_joint, p.win_high_joint),
        tested("alone"),
        interval(p.win_delta_alone, p.win_low_alone, p.win_high_alone),
        escape(&by_chance(p.p_confirm)),
        p.prevalence * 100.0,
        escape(&measured_by(p)),
    )
}

/// The frame that the script fills.
fn panel(out: &mut String) {
    out.push_str(
        "<section id=\"evidence\" aria-labelledby=\"evidence-title\" hidden><h2 id=\"evidence-title\" tabindex=\"-1\">Evidence</h2>\
         <p id=\"evidence-effect\"></p><div class=\"tools\"><label>Search the pairs <input type=\"search\" id=\"evidence-query\"></label>\
         <span class=\"soft keys\">Held-out pairs, the clearest first. What shows the principle is highlighted. Keys: ← and → turn the page, Esc goes back to the list.</span></div>\
         <div class=\"columns\">",
    );
    for (side, title) in [("for", "Evidence for it"), ("against", "Evidence against it")] {
        out.push_str(&format!(
            "<div class=\"column\" id=\"{side}\" role=\"group\" aria-labelledby=\"{side}-title\"><header><h3 id=\"{side}-title\">{title}</h3>\
             <div class=\"turn\"><button type=\"button\" id=\"{side}-back\" aria-label=\"Previous pair\">←</button>\
             <span id=\"{side}-count\" aria-live=\"polite\"></span>\
             <button type=\"button\" id=\"{side}-on\" aria-label=\"Next pair\">→</button></div></header><div id=\"{side}-pair\"></div></div>"
        ));
    }
    out.push_str("</div></section>\n");
}

/// Search and filters over every pair that the page holds; the script fills them.
fn search(out: &mut String) {
    out.push_str(
        "<section id=\"pairs\" aria-labelledby=\"pairs-title\" hidden><h2 id=\"pairs-title\" tabindex=\"-1\">Search the pairs</h2>\
         <p>The pairs that this page holds as evidence; all pairs of the data are in the run’s <code>pairs.parquet</code> and \
         <code>wimhf export RUN --format csv</code>.</p>\
         <div class=\"tools\"><label>Words <input type=\"search\" id=\"pairs-query\"></label>\
         <label>Property <select id=\"pairs-feature\"><option value=\"\">any</option></select></label>\
         <label>Preferred <select id=\"pairs-label\"><option value=\"\">any</option><option value=\"A\">A</option>\
         <option value=\"B\">B</option><option value=\"tie\">neither, or labels differ</option></select></label>\
         <label id=\"pairs-annotator-label\" hidden>Annotator <select id=\"pairs-annotator\"><option value=\"\">any</option></select></label></div>\
         <div class=\"tools\"><div class=\"turn\"><button type=\"button\" id=\"pairs-back\" aria-label=\"Previous pair\">←</button>\
         <span id=\"pairs-count\" aria-live=\"polite\"></span><button type=\"button\" id=\"pairs-on\" aria-label=\"Next pair\">→</button></div>\
         <a id=\"pairs-link\" href=\"#pairs\">Link to this pair</a>\
         <button type=\"button\" id=\"pairs-copy\">Copy what is found</button>\
         <button type=\"button\" id=\"pairs-save\">Download it as JSON lines</button><output id=\"pairs-said\" class=\"soft\"></output></div>\
         <div id=\"pairs-pair\"></div></section>\n",
    );
}

/// What the words mean.
fn words(out: &mut String) -> std::fmt::Result {
    out.push_str("<h2 id=\"words\">What the words mean</h2>\n<dl>");
    for (term, sentence) in TERMS {
        write!(out, "<dt>{}</dt><dd>{}</dd>", escape(term), escape(sentence))?;
    }
    out.push_str("</dl>\n");
    Ok(())
}

fn ladder(out: &mut String, manifest: &Manifest) -> std::fmt::Result {
    let metrics = &manifest.metrics;
    out.push_str("<h2 id=\"ladder\">How much of the labels this explains</h2>\n");
    if metrics.auc.values().all(Option::is_none) {
        return writeln!(out, "<p>No rung could be measured: there are too few labels of both kinds.</p>");
    }
    let ends = metrics.auc.values().flatten().flat_map(|figure| [figure.low, figure.high]);
    let scale = Scale::around(0.5, 0.1, ends);
    write!(
        out,
        "<p>Take two labels of which one went to the first response and one to the second: how many times in 100 a fit on \
         other labels tells which is which. 50 is guessing, 100 perfect (statisticians call it AUC).</p>\n\
         <div class=\"wide\"><table class=\"stack\"><caption>Picks the right one of two opposite labels, with</caption><thead><tr><th scope=\"col\">What is known</th><th scope=\"col\"><span>times in 100</span>{}</th><th scope=\"col\" class=\"n\">times in 100</th>\
         <th scope=\"col\" class=\"n\">95 % interval</th><th scope=\"col\" class=\"n\">labels</th></tr></thead><tbody>\n",
        plots::axis(&scale, |x| plots::label(format!("{:.0}", x * 100.0)))
    )?;
    for (rung, name) in FEATURE_SETS {
        match metrics.auc.get(rung) {
            Some(Some(f)) => writeln!(
                out,
                "<tr><th scope=\"row\">{name}</th><td class=\"forest\">{}</td><td class=\"n\" data-name=\"Times in 100\">{:.1}</td>\
                 <td class=\"n\" data-name=\"95 % interval\">{:.1} – {:.1}</td><td class=\"n\" data-name=\"Labels\">{}</td></tr>",
                plots::row(
                    Some(Interval { value: f.value, low: f.low, high: f.high }),
                    &scale,
                    if rung == "embedding" || rung == "length" { plots::SOFT } else { plots::INK }
                ),
                f.value * 100.0,
                f.low * 100.0,
                f.high * 100.0,
                thousands(f.n)
            )?,
            Some(None) => writeln!(
                out,
                "<tr><th scope=\"row\">{name}</th><td></td><td class=\"n\">–</td><td colspan=\"2\">{}</td></tr>",
                escape(metrics.auc_missing.get(rung).map_or("", String::as_str))
            )?,
            None => {}
        }
    }
    out.push_str("</tbody></table></div>\n");
    if let Some(sentence) = explained_in_words(metrics) {
        writeln!(out, "<p>{sentence}</p>")?;
    }
    Ok(())
}

/// What the responses differ in, where there are no labels.
fn where_it_holds(out: &mut String, found: &Contexts) -> std::fmt::Result {
    if found.tested == 0 {
        return Ok(());
    }
    out.push_str("<section aria-labelledby=\"where\"><h2 id=\"where\">Where it holds</h2>");
    let looked = format!(
        "{} features in {} kinds of request, on {} labels",
        thousands(found.features),
        found.contexts.len(),
        thousands(found.labels)
    );
    let claims: Vec<&Dependence> = found.claims().collect();
    if claims.is_empty() {
        let size = found.detectable.map_or_else(String::new, |size| {
            format!(" With so few labels in each, a difference had to be about {:.0} points to be told from chance.", size * 100.0)
        });
        write!(
            out,
            "<p class=\"soft\">Nothing is seen to depend on the kind of request: {looked}.{size}</p></section>"
        )?;
        return Ok(());
    }
    write!(
        out,
        "<p class=\"soft\">Rewarded otherwise in some kinds of request than elsewhere, beyond chance: {looked}. In points, 95 % interval, length held fixed; from prompts that took no part in the choice.</p>\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Where it holds\"><table><thead><tr><th scope=\"col\">What</th><th scope=\"col\" class=\"num\">there</th><th scope=\"col\" class=\"num\">elsewhere</th></tr></thead><tbody>"
    )?;
    for row in claims {
        let figure = |of: &Estimate| {
            format!(
                "{} [{}, {}] <span class=\"soft\">n {}</span>",
                points(of.value),
                points(of.low),
                points(of.high),
                thousands(of.n)
            )
        };
        let like = found
            .contexts
            .iter()
            .find(|context| context.context_id == row.context_id)
            .and_then(|context| context.examples.first())
            .map_or_else(String::new, |text| {
                format!(" <span class=\"soft\">Such as “{}”.</span>", escape(text))
            });
        write!(
            out,
            "<tr><th scope=\"row\">{}.{like}</th><td class=\"num\">{}</td><td class=\"num\">{}</td></tr>",
            escape(&row.statement),
            figure(&row.inside),
            figure(&row.outside)
        )?;
    }
    out.push_str("</tbody></table></div></section>");
    Ok(())
}

fn measurable(out: &mut String, findings: &[Finding], items: &[Item<'_>]) -> std::fmt::Result {
    if findings.is_empty() {
        return Ok(());
    }
    out.push_str(
        "<h2>What the two responses differ in</h2>\n<div class=\"wide\"><table class=\"stack\"><caption>Known concepts and described features, \
         the most frequent difference first; open one to read its pairs</caption><thead><tr><th scope=\"col\">Feature</th>\
         <th scope=\"col\" class=\"n\">differs in</th><th scope=\"col\" class=\"n\">held-out pairs</th></tr></thead><tbody>\n",
    );
    for finding in findings {
        writeln!(
            out,
            "<tr><th scope=\"row\">{} <span class=\"soft\">{}</span></th><td class=\"n\" data-name=\"Differs in\">{:.0} %</td>\
             <td class=\"n\" data-name=\"Held-out pairs\">{}</td></tr>",
            opener(items, &finding.feature_id, "", &finding.text),
            escape(&finding.feature_id),
            finding.prevalence * 100.0,
            thousands(finding.n)
        )?;
    }
    out.push_str("</tbody></table></div>\n");
    Ok(())
}

fn list(
    out: &mut String,
    title: &str,
    what: &str,
    findings: &[Finding],
    items: &[Item<'_>],
    folded: bool,
) -> std::fmt::Result {
    if findings.is_empty() {
        return Ok(());
    }
    let (open, close) = match folded {
        true => (
            format!("<details><summary>{} of them: show</summary>\n", thousands(findings.len())),
            "</details>\n",
        ),
        false => (String::new(), ""),
    };
    let scale = Scale::around(
        0.0,
        0.1,
        findings.iter().flat_map(|f| f.win_low.into_iter().chain(f.win_high)).map(|end| end.clamp(-0.6, 0.6)),
    );
    write!(
        out,
        "<h2>{title}</h2>\n{open}<div class=\"wide\"><table class=\"stack\"><caption>{what}</caption><thead><tr><th scope=\"col\">Feature</th>\
         <th scope=\"col\"><span>Wins more often, in points</span>{}</th><th scope=\"col\" class=\"n\">by itself</th>\
         <th scope=\"col\" class=\"n\">differ in it</th><th scope=\"col\">overlaps with</th></tr></thead><tbody>\n",
        plots::axis(&scale, |x| plots::label(format!("{:.0}", x * 100.0)))
    )?;
    for finding in findings {
        let drawn = match (finding.win_delta, finding.win_low, finding.win_high) {
            (Some(value), Some(low), Some(high)) => Some(Interval { value, low, high }),
            _ => None,
        };
        let overlaps = finding.overlaps.as_deref().unwrap_or("");
        writeln!(
            out,
            "<tr><th scope=\"row\">{} <span class=\"soft\">{}</span></th><td class=\"forest\">{}</td>\
             <td class=\"n\" data-name=\"By itself\">{}</td><td class=\"n\" data-name=\"Differ in it\">{:.0} %</td><td class=\"soft\"{}>{}</td></tr>",
            opener(items, &finding.feature_id, "", &finding_words(finding)),
            escape(&finding.feature_id),
            plots::row(drawn, &scale, plots::SOFT),
            interval(finding.win_delta, finding.win_low, finding.win_high),
            finding.prevalence * 100.0,
            if overlaps.is_empty() { "" } else { " data-name=\"Overlaps with\"" },
            escape(overlaps)
        )?;
    }
    write!(out, "</tbody></table></div>\n{close}")
}

/// Whether the principles are everybody's.
fn annotators(out: &mut String, found: &Personalization) -> std::fmt::Result {
    let tested = found.tests.iter().filter(|test| !test.p.is_nan());
    let subjective: Vec<&Heterogeneity> = tested.clone().filter(|test| test.subjective).collect();
    let count = tested.clone().count();
    let shown: Vec<&Heterogeneity> = match subjective.is_empty() {
        true => tested.take(NEAREST).collect(),
        false => subjective.clone(),
    };
    let verdict = match subjective.len() {
        0 => format!("None of {count} features differs between them beyond chance; the nearest:"),
        1 => format!("One of {count} features differs between them beyond chance:"),
        n => format!("{n} of {count} features differ between them beyond chance:"),
    };
    let worth = personal_worth(&found.evaluation).unwrap_or_else(|| {
        let what = if subjective.is_empty() {
            "Nothing says that weights of their own are worth it"
        } else {
            "Weights of their own may be worth it"
        };
        format!("{what}: wimhf personalize measures it.")
    });
    let ends = shown.iter().flat_map(|test| [test.beta_low, test.beta_high]);
    let scale = Scale::around(0.0, 0.5, ends);
    write!(
        out,
        "<h2 id=\"annotators\">Do annotators agree?</h2>\n<p>{} labels of all three sides by {} annotators, {} of them with at least {}. {verdict} {}</p>\n\
         <div class=\"wide\"><table class=\"stack\"><caption>Mean effect and τ, its standard deviation between annotators, in log-odds per \
         standard size of the feature, length and the other features held fixed; 95 % intervals</caption><thead><tr><th scope=\"col\">Feature</th>\
         <th scope=\"col\"><span>Mean effect</span>{}</th><th scope=\"col\" class=\"n\">mean effect</th><th scope=\"col\" class=\"n\">τ</th>\
         <th scope=\"col\" class=\"n\">other sign</th><th scope=\"col\" class=\"n\">p, corrected</th><th scope=\"col\" class=\"n\">annotators</th></tr></thead><tbody>\n",
        thousands(found.labels),
        thousands(found.annotators),
        thousands(found.annotators_enough),
        found.min_pairs,
        escape(&worth),
        plots::axis(&scale, |x| plots::label(format!("{x}")))
    )?;
    for test in shown {
        let finite = [test.beta, test.beta_low, test.beta_high].iter().all(|value| value.is_finite());
        let drawn = finite.then_some(Interval { value: test.beta, low: test.beta_low, high: test.beta_high });
        writeln!(
            out,
            "<tr><th scope=\"row\">{} <span class=\"soft\">{}</span></th><td class=\"forest\">{}</td>\
             <td class=\"n\" data-name=\"Mean effect\">{} [{}, {}]</td><td class=\"n\" data-name=\"τ\">{:.2} [{:.2}, {:.2}]</td>\
             <td class=\"n\" data-name=\"Other sign\">{:.0} %</td><td class=\"n\" data-name=\"p, corrected\">{}</td>\
             <td class=\"n\" data-name=\"Annotators\">{}</td></tr>",
            escape(&test.short),
            escape(&test.feature_id),
            plots::row(drawn, &scale, plots::INK),
            coefficient(test.beta),
            coefficient(test.beta_low),
            coefficient(test.beta_high),
            test.tau,
            test.tau_low,
            test.tau_high,
            test.opposite * 100.0,
            p_value(test.p_holm),
            thousands(test.annotators)
        )?;
    }
    out.push_str(
        "</tbody></table></div>\n<p class=\"soft\">Other sign: the share of annotators for whom it works the other way, if effects are normal. \
         Weights of their own: <code>wimhf personalize</code>.</p>\n",
    );
    Ok(())
}

/// What was read, and what was left out.
fn data(out: &mut String, input: Input<'_>, labels: &[(f32, u32)]) -> std::fmt::Result {
    let Input { manifest, pairs, .. } = input;
    let (record, metrics) = (&manifest.dataset, &manifest.metrics);
    let given: Vec<f32> = pairs.judgements.label.iter().copied().filter(|label| !label.is_nan()).collect();
    let ties = given.iter().filter(|label| **label == 0.5).count();
    let decided = given.len() - ties;
    let a = given.iter().filter(|label| **label > 0.5).count();
    out.push_str("<h2 id=\"dataset\">The data</h2>\n<dl>");
    let mut fact = |name: &str, value: String| write!(out, "<dt>{name}</dt><dd>{value}</dd>");
    if !input.anonymise {
        fact("Source", escape(&record.path))?;
    }
    fact("Shape", escape(&record.shape))?;
    fact(
        "Rows",
        format!(
            "{} read, {} used, {} distinct pairs",
            thousands(record.pairs_read),
            thousands(record.pairs_used),
            thousands(record.pairs_unique)
        ),
    )?;
    if record.annotators > 0 {
        fact("Annotators", thousands(record.annotators))?;
    }
    if !given.is_empty() {
        let share = if decided > 0 { 100.0 * a as f64 / decided as f64 } else { 0.0 };
        fact(
            "Labels",
            format!(
                "{}: A preferred in {share:.0} % of those that decide, {} ties; {} pairs have several",
                thousands(given.len()),
                thousands(ties),
                thousands(labels.iter().filter(|(_, n)| *n > 1).count())
            ),
        )?;
    }
    fact(
        "Sides",
        format!(
            "{} pairs to train on, {} to describe on, {} held out (every figure is from these; {} labels, {} ties left aside)",
            thousands(metrics.pairs_train),
            thousands(metrics.pairs_describe),
            thousands(metrics.pairs_held_out),
            thousands(metrics.judgements_held_out),
            thousands(metrics.ties_held_out)
        ),
    )?;
    let dropped: Vec<String> = (record.dropped.iter())
        .map(|(reason, count)| format!("{} {}", thousands(*count), escape(reason)))
        .collect();
    fact(
        "Left out",
        if dropped.is_empty() {
            "nothing".into()
        } else {
            format!("{} (<code>dropped.csv</code>)", dropped.join(", "))
        },
    )?;
    out.push_str("</dl>\n");
    Ok(())
}

fn made(out: &mut String, input: Input<'_>) -> std::fmt::Result {
    let manifest = input.manifest;
    let metrics = &manifest.metrics;
    out.push_str("<h2 id=\"made\">How this was made</h2>\n<dl>");
    let mut fact = |name: &str, value: String| write!(out, "<dt>{name}</dt><dd>{value}</dd>");
    fact("Program", format!("wimhf {}", escape(&manifest.version)))?;
    fact("Embedder", escape(&manifest.embedder))?;
    if !input.anonymise {
        fact("Device", format!("{} ({})", escape(&manifest.device), escape(&manifest.backend)))?;
    }
    fact("Seed", manifest.seed.to_string())?;
    if let Some(sentences) = &metrics.sentences {
        let mut text = format!(
            "over sentences: M = {} features, learned from {} sentences",
            sentences.features,
            thousands(sentences.learned_from)
        );
        if let (Some(nmse), Some(active)) = (sentences.nmse, sentences.active_mean) {
            write!(
                text,
                "; on those set aside: normalised error {nmse:.3}, {active:.2} active per sentence, {} never active",
                sentences.dead
            )?;
        }
        fact("Autoencoder", text)?;
    }
    let (features, active) = manifest.config.sae.difference();
    let mut sae = format!("over differences: M = {features} features, K = {active} active");
    if let (Some(nmse), Some(active), Some(dead)) = (metrics.nmse, metrics.active_mean, metrics.dead) {
        write!(
            sae,
            "; on {} held-out pairs: normalised error {nmse:.3}, {active:.2} active per pair, {dead} never active",
            thousands(metrics.pairs_held_out)
        )?;
    }
    fact("Autoencoder", sae)?;
    fact(
        "Features",
        format!(
            "{} of this dataset's sentences, {} of differences, {} of the dictionary ({} described), {} known concepts, {} themes of words; {} were tested",
            metrics.features_learned,
            metrics.features_difference,
            metrics.features_dictionary,
            metrics.features_described,
            metrics.features_known,
            metrics.features_themes,
            metrics.candidates
        ),
    )?;
    for note in &manifest.notes {
        // A note may quote names of files and columns.
        if !(input.anonymise && note.contains('`')) {
            fact("Note", escape(note))?;
        }
    }
    if input.anonymise {
        fact(
            "Anonymised",
            "annotators' ids, the source's folder, e-mail addresses, links, handles, network addresses, long numbers and the names of \
             models and their makers were removed by pattern; names of people and places were not looked for"
                .into(),
        )?;
    }
    out.push_str("</dl>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pairs_are_of_different_prompts() {
        // Pairs 0, 1, 2, 6 and 7 share a prompt; 8 and 9 have none.
        let prompts = [5, 5, 5, 1, 2, 3, 5, 5, MISSING, MISSING];
        let [supporting, against] = apart(&prompts, [vec![0, 1, 3, 4, 8], vec![2, 6, 5, 9, 7]]);
        assert_eq!(supporting, [0, 3, 4, 8, 1]);
        assert_eq!(against, [5, 9, 2, 6, 7]);
        let first: Vec<u32> =
            supporting[..3].iter().chain(&against[..1]).map(|&pair| prompts[pair as usize]).collect();
        assert_eq!(first.iter().collect::<std::collections::HashSet<_>>().len(), first.len());
        // Where there is nothing else, nothing is left out.
        assert_eq!(apart(&[7, 7], [vec![0], vec![1]]), [vec![0], vec![1]]);
    }
}
