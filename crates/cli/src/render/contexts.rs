//! Where it holds, in the terminal.

use std::fmt::Write;

use serde_json::json;
use wimhf::ContextsFound;
use wimhf::contexts::{ContextSource, Dependence};
use wimhf::report::text::{points, thousands};
use wimhf::store::Estimate;

/// Leads that a screen shows where nothing is claimed, and with `--all`.
const LEADS: usize = 3;
const MORE: usize = 30;

/// What was found, for programs.
pub fn value(done: &ContextsFound) -> serde_json::Value {
    let mut value = serde_json::to_value(&done.found).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("files".into(), json!(done.files));
    }
    value
}

/// The text for a terminal or a pipe, ending with a newline.
pub fn terminal(done: &ContextsFound, all: bool) -> String {
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = terminal_into(&mut out, done, all);
    out
}

fn figure(of: &Estimate) -> String {
    format!("{} [{}, {}] (n {})", points(of.value), points(of.low), points(of.high), thousands(of.n))
}

fn line(row: &Dependence) -> String {
    format!("there {}; elsewhere {}", figure(&row.inside), figure(&row.outside))
}

fn terminal_into(out: &mut String, done: &ContextsFound, all: bool) -> std::fmt::Result {
    let found = &done.found;
    let claims: Vec<&Dependence> = found.claims().collect();
    writeln!(
        out,
        "{} features in {} kinds of request, on {} labels: {}.",
        thousands(found.features),
        found.contexts.len(),
        thousands(found.labels),
        match claims.len() {
            0 => "none is seen to depend on the request".to_owned(),
            1 => "one case depends on the request".to_owned(),
            n => format!("{n} cases depend on the request"),
        }
    )?;
    for row in &claims {
        writeln!(out, "\n{}.\n  {}", row.statement, line(row))?;
    }
    if !claims.is_empty() {
        writeln!(
            out,
            "\nHow much more often the side with it wins, in points, 95 % interval, length held fixed; corrected over all {} that were\nlooked at, figures from prompts that took no part in the choice.",
            thousands(found.tested)
        )?;
    } else if let Some(size) = found.detectable {
        writeln!(
            out,
            "With so few labels in each kind of request, a difference had to be about {:.0} points to be told from chance.",
            size * 100.0
        )?;
    }
    let shown = if all {
        MORE
    } else if claims.is_empty() {
        LEADS
    } else {
        0
    };
    let leads: Vec<&Dependence> = found.rows.iter().filter(|row| row.kind.is_none()).take(shown).collect();
    if !leads.is_empty() {
        writeln!(out, "\nLeads, which may be chance (in points, length held fixed):")?;
    }
    for row in leads {
        writeln!(out, "  {}, where {}: {}", row.description, row.context, line(row))?;
    }
    if all {
        writeln!(out, "\nKinds of request:")?;
        for context in &found.contexts {
            let examples: Vec<String> = context.examples.iter().map(|text| format!("“{text}”")).collect();
            let like = match (context.source, examples.is_empty()) {
                (ContextSource::Topic, false) => format!(", such as {}", examples.join(", ")),
                _ => String::new(),
            };
            writeln!(out, "  {:>3.0} of 100 labels: {}{like}", context.share * 100.0, context.text)?;
        }
    }
    for note in &found.notes {
        writeln!(out, "Note: {note}.")?;
    }
    writeln!(
        out,
        "\n{}",
        done.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    )
}
