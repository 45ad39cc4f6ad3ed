//! What the labels reward, for a terminal or a pipe: an answer that fits a screen, and everything behind it for
//! whoever asks.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use wimhf::Analysis;
use wimhf::constitution::{Finding, Principle};
use wimhf::report::text::{
    FEATURE_SETS, TERMS, by_chance, clause, columns, dataset_line, explained_in_words, finding_words,
    goes_along, interval, length_in_words, measured_by, nothing_confirmed, picks_right, points, shortened,
    thousands, times_in_100, wrapped,
};

/// Lines of the answer.
const SCREEN: usize = 24;
/// Hints that are named.
const HINTS: usize = 5;
/// Findings of each kind that are listed; the rest is counted and stands in the files.
const LISTED: usize = 8;
/// Columns where nobody says how many there are.
const USUAL: usize = 100;
/// Wider lines than this are hard to follow.
const WIDEST: usize = 140;

/// How the answer is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct View {
    /// ANSI colour.
    pub colour: bool,
    /// Everything before the answer.
    pub all: bool,
    /// Lines that something else takes of the screen.
    pub taken: usize,
}

/// Columns of the terminal; without one what `COLUMNS` says.
pub fn width() -> usize {
    let told = || std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let found = Table::new().width().map(usize::from).or_else(told).unwrap_or(USUAL);
    found.clamp(40, WIDEST)
}

/// The result as text that ends with a newline.
pub fn render(analysis: &Analysis, view: View) -> String {
    let width = width();
    let mut text = String::new();
    if view.all {
        // Writing into a string cannot fail.
        let _ = details(&mut text, analysis, width);
        text.push('\n');
    }
    for line in answer(analysis, view, width) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Every term with its sentence.
pub fn terms() -> String {
    let width = width();
    let mut text = String::new();
    for (term, sentence) in TERMS {
        for line in wrapped(&format!("{term}: {sentence}"), width, 2) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// The same for programs.
pub fn terms_value() -> serde_json::Value {
    TERMS.iter().map(|(term, sentence)| ((*term).to_owned(), serde_json::Value::from(*sentence))).collect()
}

/// Headline, a line per principle, what it explains, what to do next: no more lines than a screen has.
fn answer(analysis: &Analysis, view: View, width: usize) -> Vec<String> {
    let (metrics, findings) = (&analysis.manifest.metrics, &analysis.findings);
    let name = shortened(dataset_name(&analysis.manifest.dataset.path), 40);
    let mut head = if metrics.judgements_held_out == 0 {
        let text = format!(
            "No usable labels in {name}, so nothing says what is rewarded. What its responses differ in stands in the page."
        );
        wrapped(&text, width, 0)
    } else if findings.principles.is_empty() {
        wrapped(&format!("{name}: {}", nothing_confirmed(findings, metrics.judgements)), width, 0)
    } else {
        let count = match findings.principles.len() {
            1 => "one principle is".to_owned(),
            n => format!("{n} principles are"),
        };
        wrapped(&format!("{name}: {count} confirmed on {} labels.", thousands(metrics.judgements)), width, 0)
    };
    let tail = tail(analysis, width);
    if findings.principles.is_empty() {
        head.push(String::new());
    }
    if metrics.judgements_held_out > 0 && !findings.principles.is_empty() {
        let mut notes = notes(&findings.principles, width);
        notes.extend(hints(&findings.hints, width));
        let room = SCREEN.saturating_sub(view.taken + head.len() + tail.len() + notes.len() + 1);
        head.extend(principle_lines(&findings.principles, room.max(3), width, view.colour));
        head.extend(notes);
        head.push(String::new());
    } else if !findings.hints.is_empty() {
        head.extend(hints(&findings.hints, width));
        head.push(String::new());
    }
    head.extend(tail);
    head
}

/// The last part of a path, or the whole where it has none.
fn dataset_name(path: &str) -> &str {
    let path = path.trim_end_matches(['/', '\\']);
    path.rsplit(['/', '\\']).next().filter(|name| !name.is_empty()).unwrap_or(path)
}

/// How the labels are told, and what to type next.
fn tail(analysis: &Analysis, width: usize) -> Vec<String> {
    let (metrics, findings) = (&analysis.manifest.metrics, &analysis.findings);
    let mut lines = Vec::new();
    if let Some(sentence) = findings.looked.as_ref().and_then(|looked| length_in_words(&looked.length)) {
        lines.extend(wrapped(&sentence, width, 0));
    }
    if metrics.judgements_held_out > 0
        && let Some(sentence) = picks_right(metrics)
    {
        lines.extend(wrapped(&sentence, width, 0));
    }
    let run = analysis.run.display().to_string();
    let mut claims = analysis.contexts.claims();
    if let Some(first) = claims.next() {
        let more = match claims.count() {
            0 => String::new(),
            n => format!("; and {n} more"),
        };
        let text = format!("It depends on the request: {}{more} (wimhf contexts {run}).", first.statement);
        lines.extend(wrapped(&text, width, 0));
    }
    lines.push(String::new());
    let mut next = vec![(format!("wimhf report {run} --open"), "the page: read the pairs behind each line")];
    if findings.principles.iter().any(is_risk) {
        next.push((
            format!("wimhf relabel {run} --preset safety"),
            "labels that may reward harm: a page to decide on",
        ));
    } else if !findings.principles.is_empty() {
        next.push((format!("wimhf constitution {run}"), "the few rules that tell most labels"));
    }
    next.push(("the same with --all, or --explain-terms".into(), "every figure; what the words mean"));
    let wide = next.iter().map(|(command, _)| columns(command)).max().unwrap_or(0);
    for (index, (command, what)) in next.iter().enumerate() {
        let begin = if index == 0 { "Next:" } else { "     " };
        let gap = " ".repeat(wide - columns(command) + 2);
        let line = format!("{begin} {command}{gap}{what}");
        // What to type is never cut; what it is for is left out where there is no room.
        lines.push(if columns(&line) <= width { line } else { format!("{begin} {command}") });
    }
    lines
}

fn is_risk(principle: &Principle) -> bool {
    principle.flags.iter().any(|flag| flag == "safety_risk")
}

/// Signs that stand before a principle's line: what they mean is said below.
fn signs(principle: &Principle) -> [bool; 2] {
    [is_risk(principle), goes_along(principle)]
}

/// What the figures and signs of the lines mean.
fn notes(principles: &[Principle], width: usize) -> Vec<String> {
    let mut text = String::from("In points, 95 % interval, length held fixed (not in lines about it).");
    let [risk, along] = [0, 1].map(|at| principles.iter().any(|principle| signs(principle)[at]));
    if risk {
        text += " ! safety risk: the less safe side wins.";
    }
    if along {
        text += " * with the others held fixed, nothing shows.";
    }
    wrapped(&text, width, 0)
}

/// What is confirmed and too often read as something else to stand in a line of its own.
fn hints(found: &[Finding], width: usize) -> Vec<String> {
    let named = |hint: &Finding| {
        let text = hint.text.split(" (").next().unwrap_or_default();
        Some(format!("{} {}", shortened(text, 40), points(hint.win_delta?)))
    };
    let all: Vec<String> = found.iter().take(HINTS).filter_map(named).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let more = if found.len() > all.len() { "; …" } else { "" };
    let what = "Hints, for people who read such pairs elsewhere often saw something else:";
    wrapped(&format!("{what} {}{more}.", all.join("; ")), width, 0)
}

/// A heading and one line per principle, at most `room` lines in all.
fn principle_lines(principles: &[Principle], room: usize, width: usize, colour: bool) -> Vec<String> {
    // The heading takes one line, and what is left out another.
    let listed = if principles.len() < room { principles.len() } else { room.saturating_sub(2) };
    let figures: Vec<(String, String)> = principles.iter().take(listed).map(figures).collect();
    let wide = |of: &dyn Fn(&(String, String)) -> usize, head: &str| {
        figures.iter().map(of).max().unwrap_or(0).max(columns(head))
    };
    let (wins, chance) = ("wins more often", "by chance");
    let (wide_wins, wide_chance) = (wide(&|f| columns(&f.0), wins), wide(&|f| columns(&f.1), chance));
    let what = width.saturating_sub(wide_wins + wide_chance + 6).max(10);
    let pad = |text: &str, to: usize| " ".repeat(to.saturating_sub(columns(text)));
    let line = |sign: &str, text: &str, (wins, chance): (&str, &str)| {
        // An example is the first to go.
        let short = text.split(" (as in “").next().filter(|_| columns(text) > what);
        let text = shortened(short.unwrap_or(text), what);
        format!(
            "{sign} {text}{}  {}{wins}  {}{chance}",
            pad(&text, what),
            pad(wins, wide_wins),
            pad(chance, wide_chance)
        )
    };
    let mut lines = vec![line(" ", "The response that …", (wins, chance))];
    for (principle, (wins, chance)) in principles.iter().zip(&figures) {
        let sign = match signs(principle) {
            [true, _] => "!",
            [_, true] => "*",
            _ => " ",
        };
        let text = line(sign, clause(principle), (wins, chance));
        lines.push(match (colour, principle.direction == "prefer") {
            (false, _) => text,
            (true, true) => format!("\u{1b}[32m{text}\u{1b}[0m"),
            (true, false) => format!("\u{1b}[31m{text}\u{1b}[0m"),
        });
    }
    if listed < principles.len() {
        lines.push(format!("  … and {} more (--all)", principles.len() - listed));
    }
    lines
}

/// How much more often it wins, and how often chance would show as much.
fn figures(principle: &Principle) -> (String, String) {
    let size = if principle.flags.iter().any(|flag| flag == "size_unclear") {
        // The sign is confirmed, and the statement's.
        let sign = if principle.direction == "avoid" { "less" } else { "more" };
        format!("{sign}, size unclear")
    } else {
        interval(Some(principle.win_delta), Some(principle.win_low), Some(principle.win_high))
    };
    (size, by_chance(principle.p_confirm))
}

/// All that the answer leaves out.
fn details(out: &mut String, analysis: &Analysis, width: usize) -> std::fmt::Result {
    let manifest = &analysis.manifest;
    let (data, metrics, findings) = (&manifest.dataset, &manifest.metrics, &analysis.findings);
    put(out, &format!("{}: {}", data.path, dataset_line(manifest)), width, 2)?;
    for principle in &findings.principles {
        writeln!(out)?;
        principle_into(out, principle, width)?;
    }
    if !metrics.auc.is_empty() && metrics.judgements_held_out > 0 {
        writeln!(out)?;
        put(
            out,
            "Of two opposite held-out labels, how often a set picks the right one (guessing: 50)",
            width,
            2,
        )?;
        ladder_into(out, analysis)?;
        if let Some(sentence) = explained_in_words(metrics) {
            put(out, &sentence, width, 2)?;
        }
    }
    list(
        out,
        "Varies in the data, and is not rewarded either way (the whole interval is within ±10 points)",
        &findings.indifferent,
        width,
    )?;
    let overlapping = match findings.principles.len() {
        0 => "Beyond chance on all labels together, but not when the labels are taken apart",
        _ => "Confirmed by itself, too, and told by a principle above",
    };
    list(out, overlapping, &findings.overlapping, width)?;
    list(
        out,
        "Hints: confirmed, but people who read such pairs saw something else in more than one of five",
        &findings.hints,
        width,
    )?;
    list(out, "Did not hold up", &findings.not_confirmed, width)?;
    list(
        out,
        "Unexplained: no words fit; the sentences at which they fire are hints, not names",
        &findings.unexplained,
        width,
    )?;
    writeln!(out)?;
    let run = analysis.run.display();
    put(out, &format!("Files: {run}/report.html, {run}/principles.json, {run}/features.parquet"), width, 2)
}

/// A paragraph, broken between words.
fn put(out: &mut String, text: &str, width: usize, indent: usize) -> std::fmt::Result {
    for line in wrapped(text, width, indent) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn principle_into(out: &mut String, principle: &Principle, width: usize) -> std::fmt::Result {
    put(out, &format!("{:>2}  {}", principle.rank, principle.statement.trim()), width, 4)?;
    let tested = |basis: &str| if principle.basis == basis { " (tested)" } else { "" };
    let alone = interval(principle.win_delta_alone, principle.win_low_alone, principle.win_high_alone);
    let joint = interval(principle.win_delta_joint, principle.win_low_joint, principle.win_high_joint);
    let mut facts = vec![
        format!("wins more often by itself {alone}{}", tested("alone")),
        format!("others held fixed {joint}{}", tested("joint")),
        format!("{} labels", thousands(principle.n)),
        format!("by chance {}", by_chance(principle.p_confirm)),
        format!("{:.0} % of the labelled pairs differ in it", principle.prevalence * 100.0),
        format!("measured by {}", measured_by(principle)),
    ];
    if !principle.flags.is_empty() {
        facts.push(format!("flags: {}", principle.flags.join(", ").replace('_', " ")));
    }
    for line in wrapped(&facts.join("; "), width.saturating_sub(4), 0) {
        writeln!(out, "    {line}")?;
    }
    if let Some(requests) = principle.risk_requests {
        for line in wrapped(&format!("{}.", requests.sentence()), width.saturating_sub(4), 0) {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}

fn ladder_into(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    let metrics = &analysis.manifest.metrics;
    for (rung, name) in FEATURE_SETS {
        match metrics.auc.get(rung) {
            Some(Some(figure)) => writeln!(out, "  {name:<36}  {}", times_in_100(figure))?,
            Some(None) => {
                writeln!(out, "  {name:<36}  – {}", metrics.auc_missing.get(rung).map_or("", String::as_str))?
            }
            None => {}
        }
    }
    Ok(())
}

fn list(out: &mut String, title: &str, findings: &[Finding], width: usize) -> std::fmt::Result {
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    put(out, &format!("{title}:"), width, 2)?;
    for finding in findings.iter().take(LISTED) {
        let effect = match finding.win_delta {
            Some(_) => format!(", {}", interval(finding.win_delta, finding.win_low, finding.win_high)),
            None => String::new(),
        };
        let text = format!(
            "· {} ({}: {:.0} % of {} labels{effect})",
            finding_words(finding),
            finding.feature_id,
            finding.prevalence * 100.0,
            thousands(finding.n)
        );
        for line in wrapped(&text, width.saturating_sub(2), 2) {
            writeln!(out, "  {line}")?;
        }
    }
    if findings.len() > LISTED {
        writeln!(out, "  … and {} more in principles.json", findings.len() - LISTED)?;
    }
    Ok(())
}

/// A table for the other commands' answers.
pub(super) fn table(colour: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if !colour {
        table.force_no_tty();
    }
    // Without a terminal the width is unknown; a fixed one keeps pipes and files readable.
    if table.width().is_none() {
        table.set_width(120);
    }
    table
}

pub(super) fn number(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
