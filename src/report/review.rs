//! The page on which the candidates of a relabelling are read and decided, one after the other.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::html::{Document, escape};
use super::page::STYLE;
use super::text::thousands;
use crate::pairs::Pairs;
use crate::relabel::{Decision, Decisions};

/// What the page does.
const SCRIPT: &str = include_str!("page/review.js");

/// Candidates on one page; the table has all.
pub const SHOWN: usize = 1_000;

/// The page for what was marked in `pairs`.
///
/// `run` names the run, so that what is decided in one browser for one run is not taken for another's. `decided` are the
/// decisions of an earlier table, by row and pair. `precision` is what is known of marks like these, as a sentence.
pub fn page(
    run: &str,
    decisions: &Decisions,
    pairs: &Pairs,
    decided: &HashMap<(String, String), String>,
    precision: Option<&str>,
) -> String {
    let shown = &decisions.marked[..decisions.marked.len().min(SHOWN)];
    let data = json!({
        "run": run,
        "candidates": shown.iter().map(|mark| candidate(mark, pairs, decided)).collect::<Vec<_>>(),
    });
    let mut body = String::new();
    // Writing into a string cannot fail.
    let _ = body_into(&mut body, decisions, shown, pairs, precision);
    Document { title: "Labels to review", style: STYLE, script: SCRIPT, data: Some(&data), body: &body }
        .render()
}

fn key(mark: &Decision, pairs: &Pairs) -> (String, String) {
    let row = pairs.judgements.row[mark.judgement as usize];
    (row.to_string(), pairs.pair_id[mark.pair as usize].clone())
}

fn candidate(mark: &Decision, pairs: &Pairs, decided: &HashMap<(String, String), String>) -> Value {
    let key = key(mark, pairs);
    let word = decided.get(&key).map_or("", String::as_str);
    json!({
        "row": key.0, "pair_id": key.1, "action": mark.action.name(), "score": mark.score,
        "rule": mark.rules.join(", "), "reason": mark.reason, "decision": word,
    })
}

fn body_into(
    out: &mut String,
    decisions: &Decisions,
    shown: &[Decision],
    pairs: &Pairs,
    precision: Option<&str>,
) -> std::fmt::Result {
    let all = decisions.marked.len();
    let few = shown.len() < all;
    write!(
        out,
        "<a class=\"skip\" href=\"#candidates\">Skip to the labels</a>\n<header class=\"top\"><h1>{} labels to review</h1>\n\
         <p>{} of {} labels with a preference may be wrong, the surest first{}. Nothing has been changed. Read both responses, \
         then decide; what you decide is kept in this browser.</p>\n",
        thousands(all),
        thousands(all),
        thousands(decisions.labels),
        if few {
            format!(" (the first {}; the table has all)", thousands(shown.len()))
        } else {
            String::new()
        },
    )?;
    if let Some(precision) = precision {
        writeln!(out, "<p class=\"soft\">{}</p>", escape(precision))?;
    }
    out.push_str(
        "</header>\n<main id=\"main\">\n<div class=\"tools\" id=\"review-tools\" hidden>\
         <label>Show <select id=\"review-show\"><option value=\"\">all</option><option value=\"open\">undecided</option>\
         <option value=\"change\">accepted or changed</option><option value=\"reject\">rejected</option></select></label>\
         <button type=\"button\" id=\"review-undo\" disabled>Undo</button>\
         <button type=\"button\" id=\"review-save\">Save decisions.csv</button>\
         <span id=\"review-count\" role=\"status\" class=\"soft\"></span></div>\n\
         <p class=\"soft keys\">Keys: <kbd>a</kbd> accept, <kbd>d</kbd> drop the pair, <kbd>t</kbd> call it a tie, \
         <kbd>r</kbd> reject (the label is right), <kbd>j</kbd> and <kbd>k</kbd> next and previous, <kbd>u</kbd> undo. Then: \
         <code>wimhf relabel RUN --decisions decisions.csv --out FILE</code>.</p>\n\
         <section id=\"candidates\" aria-label=\"Labels to review\">\n",
    );
    for (place, mark) in shown.iter().enumerate() {
        article(out, place, mark, pairs)?;
    }
    out.push_str("</section>\n</main>\n<footer><p>Made by wimhf. Scores are associations in texts, no proof: a person decides.</p></footer>\n");
    Ok(())
}

fn article(out: &mut String, place: usize, mark: &Decision, pairs: &Pairs) -> std::fmt::Result {
    let at = mark.pair as usize;
    let label = pairs.judgements.label[mark.judgement as usize];
    let (a, b) = (pairs.response_a.get(at), pairs.response_b.get(at));
    let (won, lost) = if label > 0.5 { (a, b) } else { (b, a) };
    let row = pairs.judgements.row[mark.judgement as usize];
    let action = mark.action.name();
    write!(
        out,
        "<article class=\"short\" id=\"c{place}\" tabindex=\"-1\" aria-labelledby=\"h{place}\"><h3 id=\"h{place}\">{}. Row {row} \
         <span class=\"soft\">score {:.2}</span></h3>\n<p class=\"soft\">{}</p>\n\
         <div class=\"prompt text\" dir=\"auto\" tabindex=\"0\" role=\"region\" aria-label=\"Prompt of row {row}\">{}</div>\n<div class=\"pair\">",
        place + 1,
        mark.score,
        escape(&format!("{}: {}", mark.rules.join(", "), mark.reason)),
        escape(pairs.prompt.get(at)),
    )?;
    for (class, name, text) in [(" won", "Preferred by the label", won), ("", "The other response", lost)] {
        write!(
            out,
            "<div class=\"response{class}\"><h4>{name}</h4><div class=\"body text\" dir=\"auto\" tabindex=\"0\" role=\"region\" aria-label=\"{name}, row {row}\">{}</div></div>",
            escape(text)
        )?;
    }
    write!(
        out,
        "</div>\n<div class=\"tools choose\" role=\"group\" aria-label=\"Decision about row {row}\" hidden>\
         <button type=\"button\" data-word=\"accept\" aria-pressed=\"false\">Accept: {action}</button>\
         <button type=\"button\" data-word=\"drop\" aria-pressed=\"false\">Drop</button>\
         <button type=\"button\" data-word=\"tie\" aria-pressed=\"false\">Tie</button>\
         <button type=\"button\" data-word=\"reject\" aria-pressed=\"false\">Reject</button></div></article>\n"
    )
}
