//! Personal weights in the terminal.

use std::fmt::Write;

use comfy_table::{Attribute, Cell};
use wimhf::personalize::{Gain, Heterogeneity, KS, Personalization, Updated};
use wimhf::report::text::{coefficient as signed, p_value, personal_worth, thousands};
use wimhf::store::Estimate;

use super::terminal::{number, table};

/// Features of each kind that are listed; the rest stands in `personalize.json`.
const LISTED: usize = 12;

/// A gain in AUC with three decimals and its interval.
fn gain(figure: &Estimate) -> String {
    let three = |value: f64| {
        let text = format!("{:.3}", value.abs());
        match text.as_str() {
            "0.000" => "0".to_owned(),
            _ if value > 0.0 => format!("+{text}"),
            _ => format!("−{text}"),
        }
    };
    format!("{} [{}, {}]", three(figure.value), three(figure.low), three(figure.high))
}

/// What the user reads; ends with a newline.
pub fn render(found: &Personalization, colour: bool) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = render_into(&mut text, found, colour);
    text
}

fn tests_table(tests: &[&Heterogeneity], colour: bool) -> String {
    let mut shown = table(colour);
    shown.set_header([
        "feature",
        "mean effect",
        "τ",
        "τ by PM",
        "other sign",
        "p",
        "corrected",
        "annotators",
    ]);
    for test in tests {
        shown.add_row([
            Cell::new(&test.short).add_attribute(Attribute::Bold),
            number(format!("{} [{}, {}]", signed(test.beta), signed(test.beta_low), signed(test.beta_high))),
            number(format!("{:.2} [{:.2}, {:.2}]", test.tau, test.tau_low, test.tau_high)),
            number(format!("{:.2}", test.tau_pm)),
            number(format!("{:.0} %", test.opposite * 100.0)),
            number(p_value(test.p)),
            number(p_value(test.p_holm)),
            number(thousands(test.annotators)),
        ]);
    }
    shown.to_string()
}

fn render_into(out: &mut String, found: &Personalization, colour: bool) -> std::fmt::Result {
    writeln!(
        out,
        "{} labels by {} annotators (`{}`), {} of them with at least {} labels.",
        thousands(found.labels),
        thousands(found.annotators),
        found.by,
        thousands(found.annotators_enough),
        found.min_pairs
    )?;
    for note in &found.notes {
        writeln!(out, "Note: {note}.")?;
    }
    if let Some(sentence) = personal_worth(&found.evaluation) {
        writeln!(out, "{sentence}")?;
    }
    let tested = found.tests.iter().filter(|test| !test.p.is_nan()).count();
    let subjective: Vec<&Heterogeneity> = found.tests.iter().filter(|test| test.subjective).collect();
    writeln!(out)?;
    if subjective.is_empty() {
        writeln!(
            out,
            "None of {tested} features differs between annotators beyond chance (corrected). The nearest:"
        )?;
    } else {
        writeln!(
            out,
            "{} of {tested} features differ{} between annotators beyond chance (corrected):",
            subjective.len(),
            if subjective.len() == 1 { "s" } else { "" }
        )?;
    }
    let shown: Vec<&Heterogeneity> = match subjective.is_empty() {
        true => found.tests.iter().filter(|test| !test.p.is_nan()).take(5).collect(),
        false => subjective.into_iter().take(LISTED).collect(),
    };
    writeln!(out, "{}", tests_table(&shown, colour))?;
    let likely: Vec<&str> = (found.tests.iter())
        .filter(|test| test.personal && !test.subjective && !test.safety)
        .map(|test| test.short.as_str())
        .collect();
    if !likely.is_empty() {
        writeln!(
            out,
            "Likely to differ, too, and therefore with weights of its own (false discovery rate 5 %): {}.",
            likely.join(", ")
        )?;
    }
    writeln!(
        out,
        "mean effect and τ (spread between annotators, REML): log-odds per standard size of the feature, length and the other \
         features held fixed, 95 % intervals; other sign: share of annotators who feel the opposite, if effects are normal."
    )?;
    groups(out, found, colour)?;
    evaluation(out, found, colour)
}

fn groups(out: &mut String, found: &Personalization, colour: bool) -> std::fmt::Result {
    if found.groups.is_empty() {
        return Ok(());
    }
    let clear: Vec<_> = found.groups.iter().filter(|test| test.p_holm < 0.05).take(LISTED).collect();
    writeln!(out)?;
    if clear.is_empty() {
        let p = found.groups.first().map_or(f64::NAN, |test| test.p_holm);
        writeln!(
            out,
            "No group of annotators differs from the others beyond chance ({} tests; smallest corrected p {}).",
            found.groups.len(),
            p_value(p)
        )?;
        return Ok(());
    }
    writeln!(out, "Groups of annotators that differ ({} tests, corrected):", found.groups.len())?;
    let mut shown = table(colour);
    shown.set_header(["column", "feature", "p, corrected", "group", "annotators", "effect"]);
    for test in clear {
        for (at, group) in test.groups.iter().take(LISTED).enumerate() {
            let first = |text: &str| if at == 0 { text.to_owned() } else { String::new() };
            shown.add_row([
                Cell::new(first(&test.column)),
                Cell::new(first(&test.short)),
                number(first(&p_value(test.p_holm))),
                Cell::new(&group.value),
                number(thousands(group.annotators)),
                number(format!("{} [{}, {}]", signed(group.beta), signed(group.low), signed(group.high))),
            ]);
        }
    }
    writeln!(out, "{shown}")
}

fn evaluation(out: &mut String, found: &Personalization, colour: bool) -> std::fmt::Result {
    let evaluation = &found.evaluation;
    if evaluation.folds == 0 {
        return Ok(());
    }
    writeln!(out)?;
    if evaluation.gains.is_empty() {
        return writeln!(
            out,
            "What personal weights are worth could not be measured: too few labels per annotator."
        );
    }
    writeln!(
        out,
        "What k labels of a new annotator are worth: gain in AUC on its other labels (interval over annotators). \
         Everything else comes from other annotators; personal features were found in {} of {} folds.",
        evaluation.folds_personal, evaluation.folds
    )?;
    let mut shown = table(colour);
    shown.set_header([
        "k",
        "population AUC",
        "random k",
        "telling k",
        "not shrunk",
        "not shrunk, all features",
        "annotators",
    ]);
    for k in KS {
        let Some(first) = evaluation.gain(k, "random", "shrunk") else { continue };
        let cell = |found: Option<&Gain>| number(found.map_or("–".into(), |found| gain(&found.auc_gain)));
        shown.add_row([
            number(k.to_string()),
            number(format!("{:.3}", first.population_auc)),
            cell(Some(first)),
            cell(evaluation.gain(k, "active", "shrunk")),
            cell(evaluation.gain(k, "random", "unshrunk")),
            cell(evaluation.gain(k, "random", "unshrunk_all")),
            number(thousands(first.annotators)),
        ]);
    }
    writeln!(out, "{shown}")?;
    if !evaluation.calibration.is_empty() {
        writeln!(out)?;
        writeln!(out, "Calibration of the shrunk weights from {} labels", evaluation.calibration_k)?;
        let mut bins = table(colour);
        bins.set_header(["predicted P(A)", "observed", "labels"]);
        for bin in &evaluation.calibration {
            let observed = &bin.observed;
            bins.add_row([
                number(format!("{:.0} %", bin.predicted * 100.0)),
                number(format!(
                    "{:.0} % [{:.0}, {:.0}]",
                    observed.value * 100.0,
                    observed.low * 100.0,
                    observed.high * 100.0
                )),
                number(thousands(observed.n)),
            ]);
        }
        writeln!(out, "{bins}")?;
        writeln!(
            out,
            "Each remaining label is counted once per draw of the {} labels.",
            evaluation.calibration_k
        )?;
    }
    Ok(())
}

/// What an update did to one annotator, for programs.
pub fn updated(done: &Updated) -> serde_json::Value {
    serde_json::json!({
        "annotator": done.annotator, "added": done.added, "new": done.is_new, "weights": done.weights
    })
}

/// Annotators of an update that are listed.
const UPDATED: usize = 10;

/// What an update did; ends with a newline.
pub fn render_update(found: &Personalization, done: &[Updated]) -> String {
    let mut out = String::new();
    let added: usize = done.iter().map(|who| who.added).sum();
    let new = done.iter().filter(|who| who.is_new).count();
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "{} labels added to {} annotators, {} of them new; the population's weights and τ stay.",
        thousands(added),
        thousands(done.len()),
        thousands(new)
    );
    for who in done.iter().take(UPDATED) {
        let weights: Vec<String> = (found.features.iter().zip(&who.weights))
            .map(|(feature, (before, after))| {
                let per = |weight: f64| signed(weight * feature.scale);
                format!("{} {} → {}", feature.short, per(*before), per(*after))
            })
            .collect();
        let _ =
            writeln!(out, "  · {} ({} labels): {}", who.annotator, thousands(who.added), weights.join(", "));
    }
    if done.len() > UPDATED {
        let _ = writeln!(out, "  … and {} more", thousands(done.len() - UPDATED));
    }
    if found.features.is_empty() {
        let _ = writeln!(out, "No feature is personal, so no weight changed.");
    }
    out
}
