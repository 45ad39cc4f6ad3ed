//! The ranked table and the ladder, for a terminal or a pipe.

use std::fmt::Write;

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, Width, presets,
};

use wimhf::Analysis;
use wimhf::constitution::{Finding, Principle};
use wimhf::report::text::{
    FEATURE_SETS, dataset_line, explained_in_words, fidelity, interval, nothing_confirmed, thousands,
};

/// Findings of each kind that are listed; the rest is counted and stands in the files.
const LISTED: usize = 8;

/// The whole result as text that ends with a newline; ANSI colour only where asked for.
pub fn render(analysis: &Analysis, colour: bool) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = render_into(&mut text, analysis, colour);
    text
}

fn render_into(out: &mut String, analysis: &Analysis, colour: bool) -> std::fmt::Result {
    let manifest = &analysis.manifest;
    let (data, metrics, findings) = (&manifest.dataset, &manifest.metrics, &analysis.findings);
    writeln!(out, "{}: {}", data.path, dataset_line(manifest))?;
    writeln!(out)?;

    if metrics.judgements_held_out == 0 {
        writeln!(
            out,
            "No usable labels, so no effects: this dataset's measurable preferences are in features.parquet."
        )?;
    } else if findings.principles.is_empty() {
        writeln!(out, "{}", nothing_confirmed(findings, metrics.judgements))?;
    } else {
        writeln!(
            out,
            "Principles associated with the labels ({} labels). Δ is the difference in win rate, in points, with a 95 % \
             interval, measured on labels that took no part in choosing; response length is held fixed, except where it is the principle. ◂ marks what was tested.",
            thousands(metrics.judgements)
        )?;
        writeln!(out, "{}", principle_table(&findings.principles, colour))?;
        if findings.principles.iter().any(|p| p.flags.iter().any(|flag| flag == "safety_risk")) {
            writeln!(
                out,
                "safety risk: the labels reward the less safe side; open the evidence before training on them."
            )?;
            for principle in &findings.principles {
                if let Some(requests) = principle.risk_requests {
                    writeln!(out, "  {}: {}.", principle.rank, requests.sentence())?;
                }
            }
        }
    }

    if let Some(sentence) = findings.looked.as_ref().and_then(|looked| looked.length.sentence()) {
        writeln!(out, "{sentence}")?;
    }

    if !manifest.metrics.auc.is_empty() && metrics.judgements_held_out > 0 {
        writeln!(out)?;
        writeln!(out, "How well each set predicts held-out labels (AUC, 95 % interval)")?;
        writeln!(out, "{}", ladder_table(analysis, colour))?;
        if let Some(sentence) = explained_in_words(metrics) {
            writeln!(out, "{sentence}")?;
        }
    }

    list(
        out,
        "Measurable, and not rewarded either way (whole interval within ±10 points):",
        &findings.indifferent,
    )?;
    list(
        out,
        "Left unexplained (features that no description fits; the sentences at which they fire are hints, not names):",
        &findings.unexplained,
    )?;

    writeln!(out)?;
    let run = analysis.run.display();
    writeln!(out, "Read on: {run}/report.html (evidence), {run}/constitution.md, {run}/features.parquet")?;
    Ok(())
}

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

fn principle_table(principles: &[Principle], colour: bool) -> String {
    let mut table = table(colour);
    table.set_header(["#", "Principle", "Δ, others fixed", "Δ by itself", "applies to", "fidelity", "flags"]);
    // The principle is what is read: it gets its room first.
    let room = table.width().unwrap_or(120) / 3;
    if let Some(column) = table.column_mut(1) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(room.min(48))));
    }
    for principle in principles {
        let shade = if principle.direction == "prefer" { Color::Green } else { Color::Red };
        // What was tested stands out: by colour, and by a mark where there is none.
        let cell = |basis: &str, text: String| {
            let is_tested = principle.basis == basis;
            let cell = number(if is_tested { format!("{text} ◂") } else { format!("{text}  ") });
            if colour && is_tested { cell.fg(shade) } else { cell }
        };
        let joint = interval(principle.win_delta_joint, principle.win_low_joint, principle.win_high_joint);
        let alone = interval(principle.win_delta_alone, principle.win_low_alone, principle.win_high_alone);
        table.add_row([
            number(principle.rank.to_string()),
            Cell::new(&principle.statement).add_attribute(Attribute::Bold),
            cell("joint", joint),
            cell("alone", alone),
            number(format!("{:.0} %", principle.prevalence * 100.0)),
            number(fidelity(principle)),
            Cell::new(principle.flags.join(", ").replace('_', " ")),
        ]);
    }
    table.to_string()
}

fn ladder_table(analysis: &Analysis, colour: bool) -> String {
    let mut table = table(colour);
    let metrics = &analysis.manifest.metrics;
    for (rung, name) in FEATURE_SETS {
        let Some(figure) = metrics.auc.get(rung) else { continue };
        table.add_row([
            Cell::new(name),
            number(match figure {
                Some(f) => format!("{:.3} [{:.3}, {:.3}]", f.value, f.low, f.high),
                None => format!("– {}", metrics.auc_missing.get(rung).map_or("", String::as_str)),
            }),
        ]);
    }
    table.to_string()
}

fn list(out: &mut String, title: &str, findings: &[Finding]) -> std::fmt::Result {
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(out, "{title}")?;
    for finding in findings.iter().take(LISTED) {
        let effect = match finding.win_delta {
            Some(_) => format!(", {}", interval(finding.win_delta, finding.win_low, finding.win_high)),
            None => String::new(),
        };
        writeln!(
            out,
            "  · {} ({}: {:.0} % of labels{effect})",
            finding.text,
            finding.feature_id,
            finding.prevalence * 100.0
        )?;
    }
    if findings.len() > LISTED {
        writeln!(out, "  … and {} more in principles.json", findings.len() - LISTED)?;
    }
    Ok(())
}
