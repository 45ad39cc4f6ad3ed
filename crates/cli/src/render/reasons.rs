//! What people say and what they do, in the terminal.

use std::fmt::Write;

use serde_json::json;
use wimhf::ReasonsFound;
use wimhf::reasons::{NEVER, ReasonRow, Verdict, Wanted};
use wimhf::report::text::{shortened, thousands};
use wimhf::store::Estimate;

/// Features that a screen shows.
const SHOWN: usize = 10;
/// Themes that a screen shows.
const THEMES: usize = 5;

/// What was found, for programs.
pub fn value(done: &ReasonsFound) -> serde_json::Value {
    let mut value = serde_json::to_value(&done.found).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("columns".into(), json!(done.columns));
        fields.insert("files".into(), json!(done.files));
    }
    value
}

/// The text for a terminal or a pipe, ending with a newline.
pub fn terminal(done: &ReasonsFound, all: bool) -> String {
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = terminal_into(&mut out, done, all);
    out
}

/// "70 [66, 74]", of 100.
fn of_100(share: &Estimate) -> String {
    format!("{:.0} [{:.0}, {:.0}]", share.value * 100.0, share.low * 100.0, share.high * 100.0)
}

fn cell(share: Option<&Estimate>) -> String {
    share.map_or_else(|| "–".to_owned(), of_100)
}

fn terminal_into(out: &mut String, done: &ReasonsFound, all: bool) -> std::fmt::Result {
    let found = &done.found;
    writeln!(
        out,
        "{} reasons on {} pairs ({}). {} say something of what a response is like{}.",
        thousands(found.reasons),
        thousands(found.pairs),
        done.columns.join(", "),
        thousands(found.saying),
        found.naming.as_ref().map_or(String::new(), |naming| format!(
            "; of these,\n{} of 100 name a feature of the run",
            of_100(naming)
        ))
    )?;
    if let Some(seen) = &found.is_true {
        writeln!(
            out,
            "Where they say which response has more of it and the two differ, that is so in {} of 100 ({} statements).",
            of_100(seen),
            thousands(seen.n)
        )?;
    }
    if let Some(followed) = &found.followed {
        writeln!(
            out,
            "Where they call it good or bad and the two differ, the label goes the same way in {} of 100 ({} statements):\n\
             {:.0} of 100 are stated and not followed.",
            of_100(followed),
            thousands(followed.n),
            100.0 - (followed.value * 100.0).round()
        )?;
    }
    features(out, &found.features, all)?;
    covered(out, done)?;
    themes(out, done, all)?;
    for note in &found.notes {
        writeln!(out, "Note: {note}.")?;
    }
    let files: Vec<String> = done.files.iter().map(|file| file.display().to_string()).collect();
    writeln!(out, "\nWrote {}. `wimhf report RUN` puts it on the page.", files.join(", "))
}

fn features(out: &mut String, rows: &[ReasonRow], all: bool) -> std::fmt::Result {
    let named: Vec<&ReasonRow> = rows.iter().filter(|row| row.reasons > 0).collect();
    if named.is_empty() {
        return writeln!(out, "\nNo reason names a feature of the run.");
    }
    writeln!(
        out,
        "\n{:<34} {:>7} {:>6} {:>5}   {:<14} {:<14} verdict",
        "stated (of 100, 95 % interval)", "reasons", "good", "bad", "followed", "true of pair"
    )?;
    let most = if all { named.len() } else { SHOWN };
    for row in named.iter().take(most) {
        writeln!(
            out,
            "  {:<32} {:>7} {:>6} {:>5}   {:<14} {:<14} {}",
            shortened(&row.description, 32),
            thousands(row.reasons),
            thousands(row.merit),
            thousands(row.fault),
            cell(row.followed.as_ref()),
            cell(row.is_true.as_ref()),
            row.verdict.map_or("too few", Verdict::name).replace('_', " ")
        )?;
    }
    if named.len() > most {
        writeln!(out, "… {} more: `--all`.", named.len() - most)?;
    }
    let silent: Vec<&ReasonRow> = rows.iter().filter(|row| row.never_stated).collect();
    if !silent.is_empty() {
        writeln!(
            out,
            "\nFollowed and hardly ever stated (by fewer than {:.0} of 100 reasons where the two differ):",
            NEVER * 100.0
        )?;
    }
    for row in &silent {
        let verb = if row.principle == Some(Wanted::Avoid) { "Avoid" } else { "Prefer" };
        let share = cell(row.named_where_it_differs.as_ref());
        writeln!(out, "  {verb} the response that {} ({share} of 100)", shortened(&row.description, 60))?;
    }
    Ok(())
}

fn covered(out: &mut String, done: &ReasonsFound) -> std::fmt::Result {
    let coverage = &done.found.coverage;
    let Some(share) = coverage.coverage.as_ref().filter(|_| coverage.principles > 0) else { return Ok(()) };
    writeln!(
        out,
        "\nOf {} things praised or complained about, the principles explain {} of 100 (handed round at random: {}).",
        thousands(coverage.aspects),
        of_100(share),
        cell(coverage.coverage_floor.as_ref())
    )?;
    writeln!(
        out,
        "{} of {} principles explain any of them; {} of these explain nothing that another does not.",
        coverage.active, coverage.principles, coverage.redundant
    )
}

fn themes(out: &mut String, done: &ReasonsFound, all: bool) -> std::fmt::Result {
    let themes = &done.found.themes;
    if themes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWhat reasons say and no feature covers:")?;
    let most = if all { themes.len() } else { THEMES };
    for theme in themes.iter().take(most) {
        let quote =
            theme.quotes.first().map_or(String::new(), |quote| format!(" “{}”", shortened(quote, 60)));
        writeln!(out, "  {} ({} of 100):{quote}", theme.words.join(", "), of_100(&theme.reasons))?;
    }
    if themes.len() > most {
        writeln!(out, "… {} more: `--all`.", themes.len() - most)?;
    }
    Ok(())
}
