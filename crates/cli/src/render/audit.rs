//! Two judges in the terminal.

use std::fmt::Write;

use serde_json::json;
use wimhf::Audited;
use wimhf::audit::AuditRow;
use wimhf::report::text::{points, thousands};
use wimhf::store::Estimate;

/// Features that a screen shows.
const SHOWN: usize = 12;

/// What was found, for programs.
pub fn value(audited: &Audited) -> serde_json::Value {
    let mut value = serde_json::to_value(&audited.found).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("judge".into(), json!(audited.judge));
        fields.insert("reference".into(), json!(audited.reference));
        fields.insert("files".into(), json!(audited.files));
    }
    value
}

/// The text for a terminal or a pipe, ending with a newline.
pub fn terminal(audited: &Audited, all: bool) -> String {
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = terminal_into(&mut out, audited, all);
    out
}

fn percent(share: &Estimate) -> String {
    format!("{:.0} [{:.0}, {:.0}] of 100", share.value * 100.0, share.low * 100.0, share.high * 100.0)
}

fn terminal_into(out: &mut String, audited: &Audited, all: bool) -> std::fmt::Result {
    let found = &audited.found;
    let (judge, reference) = (&audited.judge, &audited.reference);
    writeln!(out, "{judge} beside {reference}, on the same {} pairs.", thousands(found.pairs))?;
    let kappa = found.kappa.map_or(String::new(), |kappa| format!("; beyond chance {kappa:.2} of 1"));
    writeln!(
        out,
        "Where both prefer a response ({} pairs), it is the same one in {}{kappa}.",
        thousands(found.decided),
        percent(&found.agreement)
    )?;
    let differing: Vec<&AuditRow> = found.features.iter().filter(|row| row.differs).collect();
    if differing.is_empty() {
        writeln!(
            out,
            "\nNo feature is rewarded differently beyond chance: {} were compared.",
            found.features.len()
        )?;
        if let Some(first) = found.features.first() {
            writeln!(out, "The surest lead: {}", line(first, judge))?;
        }
    } else {
        writeln!(
            out,
            "\n{} of {} features are rewarded differently beyond chance. How many points of 100 more often such a response wins\n\
             with {judge} than with {reference}, length held fixed:",
            differing.len(),
            found.features.len()
        )?;
    }
    let shown: Vec<&AuditRow> =
        if all { found.features.iter().collect() } else { differing.iter().copied().take(SHOWN).collect() };
    for row in &shown {
        writeln!(out, "  {}", line(row, judge))?;
    }
    if shown.len() < differing.len() {
        writeln!(out, "… {} more: `--all`.", differing.len() - shown.len())?;
    }
    if let Some(auc) = &found.disagreement_auc {
        writeln!(
            out,
            "\nWhere they disagree, length and features tell whom {judge} prefers {:.0} times in 100 [{:.0}, {:.0}] (guessing 50).",
            auc.value * 100.0,
            auc.low * 100.0,
            auc.high * 100.0
        )?;
    }
    for note in &found.notes {
        writeln!(out, "Note: {note}.")?;
    }
    let files: Vec<String> = audited.files.iter().map(|file| file.display().to_string()).collect();
    writeln!(out, "\nWrote {}.", files.join(", "))
}

fn line(row: &AuditRow, judge: &str) -> String {
    format!(
        "{:<52} {:>4} [{}, {}]   ({} with {judge}, {} without; {} pairs)",
        row.description,
        points(row.difference.value),
        points(row.difference.low),
        points(row.difference.high),
        points(row.judge.value),
        points(row.reference.value),
        thousands(row.difference.n)
    )
}
