//! Scored pairs in words: why a side is held for likelier, and how new pairs differ from the run's.

use std::fmt::Write;

use super::{excerpt, thousands};
use crate::describe::{Feature, FeatureSource};
use crate::finished::FinishedRun;
use crate::score::drift::Drift;
use crate::score::pass::Summary;
use crate::score::{Reason, principles};

/// Shifts of features that are named.
const NAMED: usize = 5;

/// What decides a pair: "A preferred with 71 %: B refuses or declines to help (for A, 0.91; principle 1)".
///
/// Without `p` it is about one response, not about a pair.
pub fn reasons_in_words<'a>(
    run: &'a FinishedRun,
) -> impl Fn(&[Reason], &[f32], f32, Option<f64>) -> String + Sync + 'a {
    let principles = principles(run);
    move |reasons, activations, length, p| {
        let mut out = match p {
            Some(p) if p >= 0.5 => format!("A preferred with {:.0} %", p * 100.0),
            Some(p) => format!("B preferred with {:.0} %", (1.0 - p) * 100.0),
            None => "reward".to_owned(),
        };
        let said: Vec<String> = reasons
            .iter()
            .map(|reason| {
                let (more_in_a, what) = match reason.feature {
                    Some(at) => {
                        let z = activations.get(at).copied().unwrap_or(0.0);
                        (z > 0.0, run.features.get(at).map_or(String::new(), clause))
                    }
                    None if p.is_some() => {
                        let words = length.abs();
                        let unit = if words == 1.0 { "word" } else { "words" };
                        (length > 0.0, format!("is longer by {words:.0} {unit}"))
                    }
                    None => (true, format!("has {length:.0} words")),
                };
                let who = match (p.is_some(), more_in_a) {
                    (false, true) => "it",
                    (false, false) => "it does the opposite of what",
                    (true, true) => "A",
                    (true, false) => "B",
                };
                let size = reason.share.abs();
                let side = match (p.is_some(), reason.share > 0.0) {
                    (true, true) => "for A, ",
                    (true, false) => "for B, ",
                    (false, true) => "+",
                    (false, false) => "−",
                };
                let rank = reason.feature.and_then(|at| principles.get(&at));
                let rank = rank.map_or(String::new(), |(rank, _)| format!("; principle {rank}"));
                format!("{who} {what} ({side}{size:.2}{rank})")
            })
            .collect();
        if said.is_empty() {
            out.push_str(": nothing that the run knows sets the two apart");
        } else {
            out.push_str(match reasons {
                [only] if only.one_of_many => ": many small differences add up, the largest: ",
                _ => ": ",
            });
            out.push_str(&said.join("; "));
        }
        out
    }
}

/// What the side with more of a feature does.
fn clause(feature: &Feature) -> String {
    if !feature.description.is_empty() && feature.source != FeatureSource::Theme {
        return feature.description.clone();
    }
    if !feature.description.is_empty() {
        return format!("says more of {}", feature.description);
    }
    match feature.typical.first() {
        None => format!("has more of `{}`", feature.feature_id),
        Some(quote) => format!("has more of `{}` (such as “{quote}”)", feature.feature_id),
    }
}

/// What was scored, how far to trust it, and warnings; text that ends with a newline.
pub fn summary(run: &FinishedRun, summary: &Summary, out: &str) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write_summary(&mut text, run, summary, out);
    text
}

fn write_summary(text: &mut String, run: &FinishedRun, summary: &Summary, out: &str) -> std::fmt::Result {
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

/// How new pairs differ from the run's, in words.
pub fn warnings(run: &FinishedRun, drift: &[Drift]) -> Vec<String> {
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
