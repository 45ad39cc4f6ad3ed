//! The inverse constitution in the terminal.

use std::fmt::Write;

use comfy_table::{Attribute, Cell};
use wimhf::constitution::reconstruct::{ConstitutionPrinciple, Reconstruction};
use wimhf::report::constitution::{
    accuracy, change, model_rows, model_sentences, model_title, none_holds, rows, sentences, share, strength,
};
use wimhf::report::text::thousands;
use wimhf::store::Estimate;

use super::terminal::{number, table};

/// What the user reads in a terminal or a pipe; ends with a newline.
pub fn render(found: &Reconstruction, colour: bool) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = render_into(&mut text, found, colour);
    text
}

fn render_into(out: &mut String, found: &Reconstruction, colour: bool) -> std::fmt::Result {
    if found.principles.is_empty() {
        writeln!(out, "No constitution: {}. No file for a system prompt is written.", none_holds(found))?;
    } else {
        writeln!(
            out,
            "{} principle{}, chosen for the {} executor on {} labels; every figure is on {} others, with 95 % intervals.",
            found.principles.len(),
            if found.principles.len() == 1 { "" } else { "s" },
            found.executor,
            thousands(found.labels_explore),
            thousands(found.labels_held_out)
        )?;
        let mut principles = table(colour);
        principles.set_header(["#", "Principle", "speaks", "accuracy", "strength", "without it", "flags"]);
        for principle in &found.principles {
            principles.add_row([
                number(principle.rank.to_string()),
                Cell::new(&principle.statement).add_attribute(Attribute::Bold),
                number(format!("{:.0} %", principle.agreement.relevance * 100.0)),
                number(accuracy(&principle.agreement)),
                number(strength(&principle.agreement)),
                number(loss(found, principle)),
                Cell::new(principle.flags.join(", ").replace('_', " ")),
            ]);
        }
        writeln!(out, "{principles}")?;
        writeln!(
            out,
            "speaks: share of labels whose two responses clearly differ in it; accuracy: share of those that it gets right; \
             strength: right minus wrong over all labels, in points; without it: change of the agreement, in points."
        )?;
    }
    writeln!(out)?;
    writeln!(out, "Agreement with held-out labels, and how far the constitution is above (points)")?;
    let mut agreement = table(colour);
    for [name, figure, above] in rows(found) {
        agreement.add_row([Cell::new(name), number(figure), number(above)]);
    }
    writeln!(out, "{agreement}")?;
    writeln!(
        out,
        "For random principles the brackets hold 95 % of 100 lists, not an interval of their mean."
    )?;
    if let Some(by_model) = &found.by_model {
        writeln!(out)?;
        writeln!(out, "{}", model_title(by_model))?;
        let mut executed = table(colour);
        executed.set_header(["list, executor", "agreement", "our list by the model, above it"]);
        for [name, figure, above] in model_rows(found, by_model) {
            executed.add_row([Cell::new(name), number(figure), number(above)]);
        }
        writeln!(out, "{executed}")?;
        for sentence in model_sentences(by_model) {
            writeln!(out, "{sentence}.")?;
        }
        if let Some(icai) = &by_model.icai {
            for rule in icai.rules.iter().filter(|rule| rule.rank.is_some()) {
                writeln!(
                    out,
                    "  {}. {} ({} for, {} against)",
                    rule.rank.unwrap_or(0),
                    rule.statement,
                    rule.supporting,
                    rule.against
                )?;
            }
        }
    }
    if found.curve.len() > 1 {
        writeln!(out)?;
        writeln!(out, "Agreement by number of principles (the curve goes on past the list's end)")?;
        let mut curve = table(colour);
        curve.set_header(["principles", "linear", "vote"]);
        for point in &found.curve {
            let end = if point.principles == found.principles.len() { " ◂" } else { "" };
            curve.add_row([
                number(format!("{}{end}", point.principles)),
                number(share(&point.linear)),
                number(share(&point.vote)),
            ]);
        }
        writeln!(out, "{curve}")?;
    }
    writeln!(out)?;
    for sentence in sentences(found) {
        writeln!(out, "{sentence}.")?;
    }
    if !found.edits.is_empty() {
        writeln!(out)?;
        writeln!(out, "What each edit changes by itself (agreement, points)")?;
        let mut edits = table(colour);
        edits.set_header(["edit", "linear", "vote"]);
        for edit in &found.edits {
            edits.add_row([Cell::new(&edit.edit), number(change(&edit.linear)), number(change(&edit.vote))]);
        }
        writeln!(out, "{edits}")?;
    }
    Ok(())
}

/// What the list's executor loses without a principle.
fn loss(found: &Reconstruction, principle: &ConstitutionPrinciple) -> String {
    let loss = if found.executor == "vote" { &principle.drop_vote } else { &principle.drop_linear };
    loss.as_ref().map_or("–".into(), |loss| {
        change(&Estimate { value: -loss.value, low: -loss.high, high: -loss.low, n: loss.n })
    })
}
