//! Two judges in the terminal.

use std::fmt::Write;

use serde_json::json;
use wimhf::Audited;
use wimhf::audit::{Among, Audit, AuditRow};
use wimhf::report::text::{points, thousands};
use wimhf::store::Estimate;

/// Features that a screen shows.
const SHOWN: usize = 12;
/// Features in which annotators agree least that a screen shows.
const LEAST: usize = 5;

/// What was found, for programs.
pub fn value(audited: &Audited) -> serde_json::Value {
    let Audited { found, among, judge, reference, .. } = audited;
    let mut value = wimhf::export::audit::record(found.as_ref(), among.as_ref(), judge, reference);
    if let Some(fields) = value.as_object_mut() {
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
    if let Some(found) = &audited.found {
        judges(out, found, (&audited.judge, &audited.reference), all)?;
    }
    if let Some(found) = &audited.among {
        if audited.found.is_some() {
            out.push('\n');
        }
        annotators(out, found, all)?;
    }
    let files: Vec<String> = audited.files.iter().map(|file| file.display().to_string()).collect();
    writeln!(out, "\nWrote {}. `wimhf report RUN` puts it on the page.", files.join(", "))
}

/// How far the annotators agree with each other.
fn annotators(out: &mut String, found: &Among, all: bool) -> std::fmt::Result {
    let alpha = |of: &Estimate| {
        format!("{:.2} [{:.2}, {:.2}], {} pairs", of.value, of.low, of.high, thousands(of.n))
            .replace('-', "−")
    };
    writeln!(
        out,
        "{} annotators among themselves: Krippendorff's α {} that several judged (1: all agree, 0: as often as by chance).",
        thousands(found.people),
        alpha(&found.alpha)
    )?;
    if found.features.is_empty() {
        return Ok(());
    }
    writeln!(out, "Least where one response:")?;
    let most = if all { found.features.len() } else { LEAST };
    for row in found.features.iter().take(most) {
        writeln!(out, "  {:<52} {}", row.description, alpha(&row.alpha))?;
    }
    if found.features.len() > most {
        writeln!(out, "… {} more: `--all`.", found.features.len() - most)?;
    }
    Ok(())
}

fn judges(out: &mut String, found: &Audit, (judge, reference): (&str, &str), all: bool) -> std::fmt::Result {
    writeln!(out, "{judge} beside {reference}, on the same {} pairs.", thousands(found.pairs))?;
    let kappa = found
        .kappa
        .map_or(String::new(), |kappa| format!("; beyond chance {kappa:.2} of 1").replace('-', "−"));
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
            "\nNo feature is rewarded differently beyond chance: {} were compared, length held fixed, except where it is the feature.",
            found.features.len()
        )?;
        if let Some(first) = found.features.first().filter(|first| first.difference.value != 0.0) {
            writeln!(out, "The surest lead: {}", line(first, judge))?;
        }
    } else {
        writeln!(
            out,
            "\n{} of {} features {} rewarded differently beyond chance. How many points more often such a response wins with\n\
             {judge} than with {reference} (with each from −100, always loses, to +100, always wins), from all labels of both;\n\
             length held fixed, except where it is the feature:",
            differing.len(),
            found.features.len(),
            if differing.len() == 1 { "is" } else { "are" }
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
    Ok(())
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
