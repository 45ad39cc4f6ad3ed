//! Ratings of models in the terminal.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;
use wimhf::Rated;
use wimhf::ratings::{ModelRow, Style};
use wimhf::report::text::{thousands, wrapped};
use wimhf::store::Estimate;

/// Models that a screen shows.
const SHOWN: usize = 12;
/// Traits of a model that a screen shows.
const TRAITS: usize = 2;
/// Features whose worth a screen shows.
const WORTH: usize = 4;

/// What was found, for programs.
pub fn value(rated: &Rated) -> serde_json::Value {
    let mut value = serde_json::to_value(&rated.found).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("columns".into(), json!([rated.columns.0, rated.columns.1]));
        fields.insert("files".into(), json!(rated.files));
    }
    value
}

/// The text for a terminal or a pipe, ending with a newline.
pub fn terminal(rated: &Rated, all: bool) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = terminal_into(&mut text, rated, all);
    let width = super::terminal::width();
    let lines =
        text.lines().flat_map(|line| match line.chars().count() > width && !line.starts_with(['─', ' ']) {
            true => wrapped(line, width, 2),
            false => vec![line.to_owned()],
        });
    lines.map(|line| line + "\n").collect()
}

fn points(rating: Option<Estimate>) -> String {
    rating.map_or("–".into(), |r| format!("{:.0} [{:.0}, {:.0}]", r.value, r.low, r.high))
}

fn terminal_into(out: &mut String, rated: &Rated, all: bool) -> std::fmt::Result {
    let found = &rated.found;
    writeln!(
        out,
        "{} models in {} comparisons of {} prompts ({} ties; columns {}, {}).",
        thousands(found.models.len()),
        thousands(found.battles),
        thousands(found.prompts),
        thousands(found.ties),
        rated.columns.0,
        rated.columns.1
    )?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.force_no_tty();
    if table.width().is_none() {
        table.set_width(super::terminal::width().min(160) as u16);
    }
    table.set_header(["#", "model", "won", "rating", "same length and format", "all held fixed"]);
    let shown = if all { found.models.len() } else { found.models.len().min(SHOWN) };
    for row in &found.models[..shown] {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let place = match row.rank {
            [place, best, worst] if best == worst => place.to_string(),
            [place, best, worst] => format!("{place} ({best}–{worst})"),
        };
        table.add_row([
            right(place),
            Cell::new(format!("{}{}", row.model, if row.note.is_some() { " *" } else { "" })),
            right(format!("{:.0} % of {}", row.win_rate.value * 100.0, thousands(row.battles))),
            right(points(row.rating)),
            right(points(row.rating_style)),
            right(points(row.rating_all)),
        ]);
    }
    writeln!(out, "{table}")?;
    if shown < found.models.len() {
        writeln!(out, "… {} more: `--all`.", found.models.len() - shown)?;
    }
    writeln!(
        out,
        "Rating: 1000 is the mean, 400 more win ten times as often; 95 % intervals. Places in brackets are those that chance leaves open."
    )?;
    worth(out, "Length and format", &found.style)?;
    worth(out, "All of it", &found.all)?;
    let mut said = false;
    for row in &found.models[..shown] {
        let traits = traits(row, if all { usize::MAX } else { TRAITS });
        if !traits.is_empty() {
            if !said {
                writeln!(
                    out,
                    "\nWhat a model does more (+) or less (−) often than those it meets, in points of 100:"
                )?;
                said = true;
            }
            writeln!(out, "· {}: {traits}", row.model)?;
        }
    }
    for row in found.models[..shown].iter() {
        if let Some(note) = &row.note {
            writeln!(out, "* {}: {note}.", row.model)?;
        }
    }
    for note in &found.notes {
        writeln!(out, "Note: {note}.")?;
    }
    let files: Vec<String> = rated.files.iter().map(|file| file.display().to_string()).collect();
    writeln!(out, "\nWrote {}. `wimhf report RUN` puts it on the page.", files.join(", "))
}

/// What features are worth, the surest first.
fn worth(out: &mut String, name: &str, held: &[Style]) -> std::fmt::Result {
    let sure = |style: &&Style| style.points.low > 0.0 || style.points.high < 0.0;
    let mut sure: Vec<&Style> = held.iter().filter(sure).collect();
    sure.sort_by(|x, y| y.points.value.abs().total_cmp(&x.points.value.abs()));
    if held.is_empty() {
        return Ok(());
    }
    let said: Vec<String> = sure
        .iter()
        .take(WORTH)
        .map(|style| format!("{} {:+.0}", style.description, style.points.value).replace('-', "−"))
        .collect();
    match said.is_empty() {
        true => writeln!(out, "{name}: nothing of it surely moves a rating."),
        false => writeln!(out, "{name}, rating points for one standard deviation more: {}.", said.join("; ")),
    }
}

fn traits(row: &ModelRow, most: usize) -> String {
    let said = row.traits.iter().take(most).map(|t| {
        let points = t.points.map_or(String::new(), |points| format!(", {points:+.0} of its rating"));
        format!("{} {:+.0}{points}", t.description, t.more.value * 100.0).replace('-', "−")
    });
    said.collect::<Vec<_>>().join("; ")
}
