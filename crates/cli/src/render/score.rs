//! Scored pairs in the terminal: how many, how sure, and how they differ from the run's.

use std::fmt::Write;

use wimhf::report::text::{excerpt, thousands};
use wimhf::run::Run;
use wimhf::score::drift::Drift;
use wimhf::score::scorer::Summary;

/// Shifts of features that are named.
const NAMED: usize = 5;

/// What was scored, how far to trust it, and warnings; text that ends with a newline.
pub fn summary(run: &Run, summary: &Summary, out: &str) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write_summary(&mut text, run, summary, out);
    text
}

fn write_summary(text: &mut String, run: &Run, summary: &Summary, out: &str) -> std::fmt::Result {
    let left: usize = summary.problems.values().sum();
    writeln!(
        text,
        "Scored {} of {} rows ({}); wrote {}.",
        thousands(summary.rows - left),
        thousands(summary.rows),
        summary.shape,
        if out == "-" { "the stream" } else { out }
    )?;
    for (reason, count) in &summary.problems {
        writeln!(text, "  not scored: {} with {reason}", thousands(*count))?;
    }
    match &summary.fitted.held_out {
        Some(quality) => writeln!(
            text,
            "On the run's own held-out labels ({}) these weights agree with {:.0} % [{:.0}, {:.0}], AUC {:.2} [{:.2}, {:.2}]; their probabilities are off by {:.1} points on average.",
            thousands(quality.agreement.n),
            quality.agreement.value * 100.0,
            quality.agreement.low * 100.0,
            quality.agreement.high * 100.0,
            quality.auc.value,
            quality.auc.low,
            quality.auc.high,
            quality.calibration_error * 100.0
        )?,
        None => writeln!(
            text,
            "The run has no held-out labels, so nothing says how good these probabilities are."
        )?,
    }
    for warning in warnings(run, &summary.drift) {
        writeln!(text, "warning: {warning}")?;
    }
    Ok(())
}

/// The same for programs.
pub fn value(run: &Run, summary: &Summary, out: &str) -> serde_json::Value {
    let held_out = summary.fitted.held_out.as_ref();
    serde_json::json!({
        "out": out,
        "rows": summary.rows,
        "not_scored": summary.problems,
        "shape": summary.shape,
        "held_out_agreement": held_out.map(|quality| quality.agreement),
        "held_out_auc": held_out.map(|quality| quality.auc),
        "calibration_error": held_out.map(|quality| quality.calibration_error),
        "warnings": warnings(run, &summary.drift),
    })
}

/// How new pairs differ from the run's, in words.
pub fn warnings(run: &Run, drift: &[Drift]) -> Vec<String> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let shifts = drift.iter().filter(|one| matches!(one, Drift::Prevalence { .. })).count();
    let mut found = Vec::new();
    let mut named = 0;
    for one in drift {
        match one {
            Drift::Prevalence { feature, before, now } => {
                named += 1;
                if named > NAMED {
                    continue;
                }
                let feature = &run.features[*feature];
                let name = if feature.short.is_empty() { &feature.feature_id } else { &feature.short };
                found.push(format!(
                    "the new pairs look unlike the run's: they differ in `{}` in {} of the pairs, {} before",
                    excerpt(name, 60),
                    percent(*now),
                    percent(*before)
                ));
            }
            Drift::Silent { before, now } => found.push(format!(
                "no feature of the autoencoder is active in {} of the new pairs, {} before",
                percent(*now),
                percent(*before)
            )),
            Drift::Error { before, now } => found.push(format!(
                "the autoencoder leaves {} of the new differences unexplained, {} before: they lie outside of what it has learned",
                percent(*now),
                percent(*before)
            )),
            Drift::Length { before, now } => found.push(format!(
                "the new responses differ by {now:.0} words on average, {before:.0} before"
            )),
        }
    }
    if shifts > NAMED {
        found.push(format!("{} more features shifted by more than 10 points", shifts - NAMED));
    }
    if !found.is_empty() {
        found.push("probabilities were made honest on the run's pairs and may be off on these".into());
    }
    found
}
