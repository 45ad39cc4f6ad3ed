//! How well sets of features predict labels they were not fitted on, from length to the embedding.

use rayon::prelude::*;

use super::Estimate;
use super::auc::Ranking;
use super::feature::Control;
use super::lasso::Lasso;
use super::logistic::Outcome;
use super::penalised::{Penalty, fit};
use super::sample::Sample;
use crate::matrix::Matrix;

/// Penalties that a rung chooses from, as scikit-learn's C over standardised columns; weakest first.
const CS: [f64; 6] = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003];
/// Folds that they are compared on.
const FOLDS: u32 = 5;
/// Share of its penalty that length keeps: none to speak of, and the fit is still determined.
const FREE: f64 = 1e-6;
/// Why a rung has no AUC.
const ONE_CLASS: &str = "the held-out labels are all the same";
/// Judgements per column from which on the penalty no longer matters.
const PLENTY: usize = 50;

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    /// `length`, `top5`, `top10`, `learned`, `known`, `learned_and_known`, `all`, `embedding`.
    pub name: &'static str,
    /// AUC on held-out judgements, or why there is none.
    pub auc: Result<Estimate, &'static str>,
    /// This rung's AUC minus that of the embedding, on the same judgements; `None` for the embedding itself and
    /// where either is missing.
    pub minus_embedding: Option<Estimate>,
    /// The activation columns that it uses.
    pub features: Vec<usize>,
}

/// Climbs the ladder: each rung is fitted on `explore` and measured on `held_out`.
///
/// `activations` is `[pairs, features]`: first the `learned` columns of the autoencoder, then the
/// `known` concepts, then whatever else there is (a rung `all` where there is something); `deltas` is
/// `[pairs, dimensions]`. Every rung but the embedding is an L2 logistic over the length difference and
/// its features, standardised by the explore judgements' standard deviation, with the penalty that predicts
/// best within the explore judgements (a hundred features and a thousand labels need a strong one); length is
/// in all of them and not penalised, so that a rung says what its features add to it. The top 5 and 10 are the learned features that the L1 path over the explore judgements takes
/// first. The embedding rung is what one would measure without this program: a logistic with C = 1
/// over the raw deltas and nothing else.
pub fn ladder(
    activations: &Matrix,
    learned: usize,
    known: usize,
    deltas: Option<&Matrix>,
    explore: &Sample,
    held_out: &Sample,
) -> Vec<Rung> {
    let learned = learned.min(activations.cols);
    let both = (learned + known).min(activations.cols);
    let probe = deltas.ok_or("no embeddings").and_then(|deltas| {
        Ranking::new(&embedding_score(deltas, explore, held_out)?, held_out.y()).ok_or(ONE_CLASS)
    });
    let clusters = held_out.clusters();
    let of_features = |name, features: Vec<usize>| {
        let ranking = features_score(activations, &features, explore, held_out)
            .and_then(|score| Ranking::new(&score, held_out.y()).ok_or(ONE_CLASS));
        let minus = |(ranking, probe): (&Ranking, &Ranking)| ranking.minus(probe, clusters);
        Rung {
            name,
            minus_embedding: ranking.as_ref().ok().zip(probe.as_ref().ok()).and_then(minus),
            auc: ranking.and_then(|ranking| ranking.figure(clusters).ok_or(ONE_CLASS)),
            features,
        }
    };
    let nothing = |name, why| Rung { name, auc: Err(why), minus_embedding: None, features: Vec::new() };
    let mut rungs = vec![of_features("length", Vec::new())];

    if learned == 0 {
        rungs.extend(["top5", "top10", "learned"].map(|name| nothing(name, "no learned features")));
    } else {
        match Lasso::new(&columns(activations, learned), explore, Control::Length) {
            Ok(lasso) => {
                rungs.push(of_features("top5", lasso.select(5).active()));
                rungs.push(of_features("top10", lasso.select(10).active()));
            }
            Err(outcome) => rungs.extend(["top5", "top10"].map(|name| nothing(name, reason(outcome)))),
        }
        rungs.push(of_features("learned", (0..learned).collect()));
    }
    if both == learned {
        rungs.push(nothing("known", "no known concepts"));
    } else {
        rungs.push(of_features("known", (learned..both).collect()));
    }
    rungs.push(match both {
        0 => nothing("learned_and_known", "no features"),
        both => of_features("learned_and_known", (0..both).collect()),
    });
    if both < activations.cols {
        rungs.push(of_features("all", (0..activations.cols).collect()));
    }
    rungs.push(Rung {
        name: "embedding",
        auc: probe.as_ref().map_err(|why| *why).and_then(|probe| probe.figure(clusters).ok_or(ONE_CLASS)),
        minus_embedding: None,
        features: Vec::new(),
    });
    rungs
}

/// The first columns of a matrix.
fn columns(matrix: &Matrix, count: usize) -> std::borrow::Cow<'_, Matrix> {
    if count == matrix.cols {
        return std::borrow::Cow::Borrowed(matrix);
    }
    let values = matrix.values.chunks_exact(matrix.cols).flat_map(|row| &row[..count]).copied().collect();
    std::borrow::Cow::Owned(Matrix { values, cols: count })
}

/// Log-odds of the judgements `held_out` by the raw deltas, fitted on `explore`: the `embedding` rung.
///
/// # Errors
/// Why it could not be fitted.
pub fn embedding_score(
    deltas: &Matrix,
    explore: &Sample,
    held_out: &Sample,
) -> Result<Vec<f64>, &'static str> {
    let probe = fit(deltas, explore.row(), explore.y(), &Penalty::default()).map_err(reason)?;
    Ok(probe.score(deltas, held_out.row()))
}

/// Log-odds of the judgements `held_out` by length and the given columns of `activations`
/// `[pairs, features]`, fitted on `explore`: what every other rung is.
///
/// # Errors
/// Why it could not be fitted.
pub fn features_score(
    activations: &Matrix,
    features: &[usize],
    explore: &Sample,
    held_out: &Sample,
) -> Result<Vec<f64>, &'static str> {
    let cols = features.len() + 1;
    let mut design = Matrix { values: Vec::with_capacity(cols * (explore.len() + held_out.len())), cols };
    for sample in [explore, held_out] {
        for (&row, &length) in sample.row().iter().zip(sample.length()) {
            let start = row as usize * activations.cols;
            let values =
                activations.values.get(start..start + activations.cols).ok_or("a pair has no activations")?;
            design.values.push(length as f32);
            design.values.extend(features.iter().map(|&feature| values[feature]));
        }
    }
    let rows: Vec<u32> = (0..(explore.len() + held_out.len()) as u32).collect();
    let (fitted, measured) = rows.split_at(explore.len());
    // Penalising by the variance is the same as standardising.
    let mut penalty = Penalty { factors: variances(&design, explore.len()), ..Penalty::default() };
    // Length is what the features add to: where they say nothing, it alone is left.
    if let Some(length) = penalty.factors.first_mut() {
        *length *= FREE;
    }
    penalty.c = strength(&design, explore, &penalty);
    let linear = fit(&design, fitted, explore.y(), &penalty).map_err(reason)?;
    Ok(linear.score(&design, measured))
}

/// The C with the best likelihood of judgements that it was not fitted on, prompts kept together.
///
/// `design` has the rows of `explore` first. Only `explore` is looked at.
fn strength(design: &Matrix, explore: &Sample, penalty: &Penalty) -> f64 {
    let weakest = CS[0];
    if design.cols < 2 || explore.len() >= PLENTY * design.cols {
        return weakest;
    }
    // Cluster numbers follow the data's order; the folds should not.
    let fold = |row: usize| explore.clusters().first(row).wrapping_mul(0x9e37_79b1) >> 16 & 0xffff;
    let folds: Vec<(Vec<u32>, Vec<u32>)> = (0..FOLDS)
        .map(|number| (0..explore.len() as u32).partition(|&row| fold(row as usize) % FOLDS != number))
        .collect();
    let labels = |rows: &[u32]| -> Vec<f64> { rows.iter().map(|&row| explore.y()[row as usize]).collect() };
    let unlikely = |c: f64| -> Option<f64> {
        let penalty = Penalty { c, ..penalty.clone() };
        let parts: Option<Vec<f64>> = folds
            .par_iter()
            .map(|(fitted, left)| {
                let linear = fit(design, fitted, &labels(fitted), &penalty).ok()?;
                let eta = linear.score(design, left);
                let loss = |(eta, y): (&f64, f64)| eta.max(0.0) - y * eta + (-eta.abs()).exp().ln_1p();
                Some(eta.iter().zip(labels(left)).map(loss).sum())
            })
            .collect();
        parts.map(|parts| parts.iter().sum())
    };
    let mut best = (f64::INFINITY, weakest);
    for c in CS {
        if let Some(loss) = unlikely(c)
            && loss < best.0
        {
            best = (loss, c);
        }
    }
    best.1
}

/// Variance of every column over the first `rows` rows.
fn variances(matrix: &Matrix, rows: usize) -> Vec<f64> {
    let n = rows as f64;
    let rows = || matrix.values.chunks_exact(matrix.cols).take(rows);
    let mut mean = vec![0.0; matrix.cols];
    for row in rows() {
        mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / n);
    }
    let mut variance = vec![0.0; matrix.cols];
    for row in rows() {
        for ((variance, mean), &x) in variance.iter_mut().zip(&mean).zip(row) {
            *variance += (f64::from(x) - mean).powi(2) / n;
        }
    }
    variance
}

fn reason(outcome: Outcome) -> &'static str {
    outcome.note().unwrap_or("could not be fitted")
}
