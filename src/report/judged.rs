//! Concepts of the user's own, measured by a language model: figures and their words.

use std::fmt::Write;

use serde::Serialize;

use crate::describe::FeatureSource;
use crate::describe::judging::Reading;
use crate::describe::known::Bank;
use crate::describe::own::{self, Agreement, Readings};
use crate::effects::Control;
use crate::effects::feature::feature_effects;
use crate::effects::table::Labels;
use crate::finished::{FinishedRun, Source};
use crate::language::open::Named;
use crate::language::spending::Forecast;
use crate::matrix::Matrix;
use crate::pairs::Side;
use crate::statistics::correlation::{Correlation, pearson};

/// A concept as a judge sees it in a run's held-out pairs.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// Completes "The response …".
    pub concept: String,
    /// Pairs that were read in both orders.
    pub pairs: usize,
    /// Pairs without a readable answer.
    pub missing: usize,
    /// Share of the pairs in which the concept tells the responses apart, with a 95 % interval.
    pub prevalence: [f64; 3],
    /// Labels of the pairs read, ties left out.
    pub labels: usize,
    /// Difference in win rate, with a 95 % interval, response length held fixed; `None` without an estimate.
    pub win_delta: Option<[f64; 3]>,
    /// Two-sided p-value of no difference.
    pub p: Option<f64>,
    /// Labels that it stands on.
    pub win_labels: usize,
    /// The judge's answers in one order against the other.
    pub with_itself: Agreement,
    /// How much more often it names the first response than the second.
    pub taste_for_the_first: f64,
    /// The second judge's answers against the first's.
    pub with_second_judge: Option<Agreement>,
    /// The concept of the bank that it agrees with most: its id and the correlation of the readings. The best
    /// of many, so too high.
    pub nearest_detector: Option<(String, Correlation)>,
}

/// The share `k/n` with Wilson's 95 % interval.
fn share(k: usize, n: usize) -> [f64; 3] {
    if n == 0 {
        return [0.0, 0.0, 1.0];
    }
    let (k, n, z) = (k as f64, n as f64, 1.959_963_984_540_054_f64);
    let p = k / n;
    let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    [p, (centre - half).max(0.0), (centre + half).min(1.0)]
}

/// What the readings say.
pub fn measure(
    concept: &str,
    readings: &Readings,
    second: Option<&Readings>,
    run: &FinishedRun,
    source: &Source,
    activations: &Matrix,
    bank: &Bank,
) -> Judged {
    let value = |reading: &Reading| {
        let value = Readings::value(reading);
        // Less than half of an answer, in both orders together, is no answer.
        if value.abs() < 0.25 { 0.0 } else { value }
    };
    let n = readings.read.len();
    let apart = readings.read.iter().filter(|reading| value(reading) != 0.0).count();
    // Only the labels of pairs that were read.
    let mut column = Matrix::zeros(source.pairs.pair_id.len(), 1);
    let mut sides = vec![Side::Train; source.sides.len()];
    for reading in &readings.read {
        column.row_mut(reading.pair as usize)[0] = value(reading);
        sides[reading.pair as usize] = Side::HeldOut;
    }
    let labels = Labels::on(&source.pairs, &sides, &[Side::HeldOut]);
    let effect = feature_effects(&column, &labels.sample, Control::Length).first().copied();
    let win = effect.map(|effect| effect.win).filter(|win| win.value.is_finite() && win.low.is_finite());
    let x: Vec<f64> = readings.read.iter().map(|reading| f64::from(value(reading))).collect();
    let nearest_detector = run
        .features
        .iter()
        .enumerate()
        .filter(|(_, feature)| feature.source == FeatureSource::Known)
        .filter_map(|(index, feature)| {
            let id = feature.concept.clone()?;
            bank.concepts().iter().find(|concept| concept.id == id)?;
            let y: Vec<f64> = readings
                .read
                .iter()
                .map(|reading| f64::from(activations.row(reading.pair as usize)[index]))
                .map(|z| if z == 0.0 { 0.0 } else { z.signum() })
                .collect();
            Some((id, pearson(&x, &y))).filter(|(_, c)| c.r.is_finite() && c.p.is_finite())
        })
        .max_by(|a, b| a.1.r.total_cmp(&b.1.r));
    Judged {
        concept: concept.to_owned(),
        pairs: n,
        missing: readings.missing,
        prevalence: share(apart, n),
        labels: labels.sample.len(),
        win_delta: win.map(|win| [win.value, win.low, win.high]),
        p: win.map(|win| win.p).filter(|p| p.is_finite()),
        win_labels: win.map_or(0, |win| win.n),
        with_itself: own::with_itself(&readings.read),
        taste_for_the_first: own::taste(&readings.read),
        with_second_judge: second.map(|second| own::with_another(&readings.read, &second.read)),
        nearest_detector,
    }
}

fn agreement(out: &mut String, name: &str, found: &Agreement) {
    let kappa = found.kappa.map_or("not defined".to_owned(), |kappa| format!("{kappa:.2}"));
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "  {name}: the same answer in {:.0} % of {} pairs (Cohen's κ {kappa})",
        100.0 * found.same,
        found.n
    );
}

/// The figures in words.
pub fn render(found: &[Judged], judges: &[String]) -> String {
    let mut out = String::new();
    let judge = judges.first().map_or("", String::as_str);
    for judged in found {
        let _ = writeln!(out, "The response {}", judged.concept);
        let _ = writeln!(
            out,
            "  read by {judge} in {} held-out pairs, each in both orders{}",
            judged.pairs,
            match judged.missing {
                0 => String::new(),
                missing => format!("; {missing} more could not be read and are missing"),
            }
        );
        let points = |share: f64| 100.0 * share;
        let [share, low, high] = judged.prevalence;
        let _ = writeln!(
            out,
            "  tells the responses apart in {:.0} % of them [{:.0}, {:.0}]",
            points(share),
            points(low),
            points(high)
        );
        match judged.win_delta {
            Some([value, low, high]) => {
                let _ = writeln!(
                    out,
                    "  associated with {:+.0} [{:+.0}, {:+.0}] points of win rate, response length held fixed ({} labels{})",
                    points(value),
                    points(low),
                    points(high),
                    judged.win_labels,
                    judged.p.map_or(String::new(), |p| format!(", p = {p:.2e}"))
                );
            }
            None => {
                let _ = writeln!(
                    out,
                    "  no effect can be estimated: {} labels, of which {} tell the responses apart in it",
                    judged.labels, judged.win_labels
                );
            }
        }
        agreement(&mut out, "with itself, orders swapped", &judged.with_itself);
        let _ = writeln!(
            out,
            "  taste for the response shown first: {:+.0} points (cancelled by asking in both orders)",
            points(judged.taste_for_the_first)
        );
        if let Some(second) = &judged.with_second_judge {
            agreement(&mut out, &format!("with {}", judges.get(1).map_or("", String::as_str)), second);
        }
        if let Some((id, c)) = &judged.nearest_detector {
            let _ = writeln!(
                out,
                "  nearest detector of the bank: `{id}`, r = {:.2} [{:.2}, {:.2}] over {} pairs (the best of the bank, so too high)",
                c.r, c.low, c.high, c.n
            );
        }
        out.push('\n');
    }
    out
}

/// What judging will take.
pub fn forecast(models: &[Named], counted: &Forecast) -> String {
    let mut out = String::new();
    for model in models {
        let dollars = model.price.map_or("price not known".to_owned(), |p| {
            format!("${:.4}", p.of(counted.tokens_in, counted.tokens_out))
        });
        let _ = writeln!(
            out,
            "{} at {}: {} calls, about {} tokens in and {} out, {dollars}",
            model.name, model.base_url, counted.calls, counted.tokens_in, counted.tokens_out
        );
    }
    out.push_str("Nothing has been asked.\n");
    out
}
