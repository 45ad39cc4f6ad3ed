//! How well sets of features predict labels they were not fitted on, from length to the embedding.

use rayon::prelude::*;

use super::Estimate;
use super::auc::Ranking;
use super::control::Control;
use super::lasso::Lasso;
use super::logistic::Outcome;
use super::penalised::{Linear, Penalty, fit};
use super::sample::{Sample, fold};
use super::tfidf;
use crate::context::Cancel;
use crate::matrix::Matrix;
use crate::pairs::Pairs;

/// Penalties that a rung chooses from, as scikit-learn's C over standardised columns; weakest first. Beside them
/// stands no column at all but the lengths, so that adding columns need not lower a rung.
const CS: [f64; 7] = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001];
/// Values that the embedding probe is fitted on at most: beyond, judgements are thinned out.
const PROBE_VALUES: usize = 60_000_000;
/// Folds that they are compared on.
const FOLDS: u32 = 5;
/// Judgements that penalties are compared on, at most: which of seven is best shows on fewer than a fit takes.
const TUNED_ON: usize = 20_000;
/// Share of its penalty that length keeps: none to speak of, and the fit is still determined.
const FREE: f64 = 1e-6;
/// Why a rung has no AUC once somebody wants the ladder to stop.
const STOPPED: &str = "it was stopped";
/// Why a rung has no AUC.
const ONE_CLASS: &str = "the held-out labels are all the same";
/// Judgements per column from which on the penalty no longer matters.
const PLENTY: usize = 200;

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    /// `length`, `top5`, `top10`, `learned`, `known`, `learned_and_known`, `all`, `tfidf`, `embedding`.
    pub name: &'static str,
    /// AUC on held-out judgements, or why there is none.
    pub auc: Result<Estimate, &'static str>,
    /// This rung's AUC minus that of the embedding, on the same judgements; `None` for the embedding itself and
    /// where either is missing.
    pub minus_embedding: Option<Estimate>,
    /// The same against length alone.
    pub minus_length: Option<Estimate>,
    /// The activation columns that it uses.
    pub features: Vec<usize>,
}

/// What the features are held against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peers<'a> {
    /// `e(A) − e(B)`, `[pairs, dimensions]`.
    pub deltas: Option<&'a Matrix>,
    /// The texts, for words.
    pub texts: Option<&'a Pairs>,
    /// Whether somebody wants it to stop: then what is left of the rungs is missing.
    pub cancel: Option<&'a Cancel>,
}

/// Climbs the ladder: each rung is fitted on `explore` and measured on `held_out`.
///
/// `activations` is `[pairs, features]`: first the `learned` columns of the autoencoder, then the
/// `known` concepts, then whatever else there is (a rung `all` where there is something). Every rung is a logistic
/// over both lengths (difference and log ratio, not penalised) and its columns, standardised by the explore
/// judgements, with the L2 penalty that predicts best within the explore judgements, prompts kept together; one
/// choice is to use no column at all, so a rung says what its columns add to length. That holds for what the
/// features are compared with, too: `tfidf` (words and pairs of words, A minus B) and `embedding` (the whole
/// vectors, a black box). The top 5 and 10 are the learned features that the L1 path over the explore judgements
/// takes first.
pub fn ladder(
    activations: &Matrix,
    learned: usize,
    known: usize,
    peers: Peers<'_>,
    explore: &Sample,
    held_out: &Sample,
) -> Vec<Rung> {
    let learned = learned.min(activations.cols);
    let both = (learned + known).min(activations.cols);
    let rank = |score: Result<Vec<f64>, &'static str>| {
        score.and_then(|score| Ranking::new(&score, held_out.y()).ok_or(ONE_CLASS))
    };
    let fitted = |columns: &Matrix, features: &[usize]| {
        rank(features_score_while(columns, features, explore, held_out, peers.cancel))
    };
    let probe = peers.deltas.ok_or("no embeddings");
    let probe = probe.and_then(|deltas| fitted(deltas, &(0..deltas.cols).collect::<Vec<_>>()));
    let length = fitted(activations, &[]);
    let clusters = held_out.clusters();
    let rung = |name, ranking: Result<Ranking, &'static str>, features| {
        let minus = |other: &Result<Ranking, &'static str>| {
            ranking.as_ref().ok().zip(other.as_ref().ok()).and_then(|(own, other)| own.minus(other, clusters))
        };
        Rung {
            name,
            minus_embedding: minus(&probe).filter(|_| name != "embedding"),
            minus_length: minus(&length).filter(|_| name != "length"),
            auc: ranking.and_then(|ranking| ranking.figure(clusters).ok_or(ONE_CLASS)),
            features,
        }
    };
    let of_features = |name, features: Vec<usize>| rung(name, fitted(activations, &features), features);
    let nothing = |name, why| rung(name, Err(why), Vec::new());
    let mut rungs = vec![rung("length", length.clone(), Vec::new())];

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
    if let Some(pairs) = peers.texts {
        rungs.push(rung("tfidf", rank(tfidf::score(pairs, explore, held_out, peers.cancel)), Vec::new()));
    }
    rungs.push(rung("embedding", probe.clone(), Vec::new()));
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

/// Log-odds of the judgements `held_out` by both lengths and the whole deltas, fitted on `explore`: the
/// `embedding` rung.
///
/// # Errors
/// Why it could not be fitted.
pub fn embedding_score(
    deltas: &Matrix,
    explore: &Sample,
    held_out: &Sample,
) -> Result<Vec<f64>, &'static str> {
    let all: Vec<usize> = (0..deltas.cols).collect();
    features_score(deltas, &all, explore, held_out)
}

/// Log-odds of the judgements `held_out` by both lengths and the given columns of `activations`
/// `[pairs, features]`, fitted on `explore`: what every rung is.
///
/// # Errors
/// Why it could not be fitted.
pub fn features_score(
    activations: &Matrix,
    features: &[usize],
    explore: &Sample,
    held_out: &Sample,
) -> Result<Vec<f64>, &'static str> {
    features_score_while(activations, features, explore, held_out, None)
}

/// The same for work that somebody may stop; the reason is then [`STOPPED`].
fn features_score_while(
    activations: &Matrix,
    features: &[usize],
    explore: &Sample,
    held_out: &Sample,
    cancel: Option<&Cancel>,
) -> Result<Vec<f64>, &'static str> {
    let thin = (explore.len() * (features.len() + 2)).div_ceil(PROBE_VALUES).max(1);
    let kept: Vec<usize> = (0..explore.len()).step_by(thin).collect();
    let thinned = (thin > 1).then(|| explore.subset(&kept));
    let explore = thinned.as_ref().unwrap_or(explore);
    let learned = design(activations, features, explore)?;
    let tuned = Tuned::new(&learned, explore, cancel)?;
    let measured = design(activations, features, held_out)?;
    Ok(tuned.linear.score(&measured, &(0..held_out.len() as u32).collect::<Vec<u32>>()))
}

/// Columns before the features: both lengths.
const LENGTHS: usize = 2;

/// Both lengths and the given columns at every judgement.
fn design(activations: &Matrix, features: &[usize], sample: &Sample) -> Result<Matrix, &'static str> {
    let cols = features.len() + LENGTHS;
    let mut design = Matrix { values: Vec::with_capacity(cols * sample.len()), cols };
    for (at, (&row, &length)) in sample.row().iter().zip(sample.length()).enumerate() {
        let start = row as usize * activations.cols;
        let values =
            activations.values.get(start..start + activations.cols).ok_or("a pair has no activations")?;
        design.values.push(length as f32);
        design.values.push(sample.ratio().get(at).map_or(0.0, |ratio| *ratio as f32));
        design.values.extend(features.iter().map(|&feature| values[feature]));
    }
    Ok(design)
}

/// A logistic with the penalty that predicts best.
pub(crate) struct Tuned {
    pub(crate) linear: Linear,
}

impl Tuned {
    /// Fits `design` (one row per judgement of `explore`, both lengths first).
    fn new(design: &Matrix, explore: &Sample, cancel: Option<&Cancel>) -> Result<Self, &'static str> {
        let rows: Vec<u32> = (0..explore.len() as u32).collect();
        let variances = variances(design, explore.len());
        let c = strength(design, explore, &variances, cancel);
        if cancel.is_some_and(Cancel::requested) {
            return Err(STOPPED);
        }
        let linear = fit(design, &rows, explore.y(), &penalty(&variances, c)).map_err(reason)?;
        Ok(Self { linear })
    }
}

/// The penalty at C: as if columns were standardised, the lengths free; without a C no column but the lengths.
fn penalty(variances: &[f64], c: Option<f64>) -> Penalty {
    // A weight of no size at all, and nothing that rounding could make of it.
    const NONE: f64 = 1e-9;
    let c = c.unwrap_or(NONE);
    // Penalising by the variance is the same as standardising; one that never varies has nothing to be weighed by.
    let factor = |(at, &variance): (usize, &f64)| {
        let variance = if variance > 0.0 { variance } else { 1.0 };
        if at < LENGTHS { variance * FREE * c } else { variance }
    };
    Penalty { c, factors: variances.iter().enumerate().map(factor).collect(), ..Penalty::default() }
}

/// The C with the best likelihood of judgements that it was not fitted on, prompts kept together; `None` where the
/// lengths alone predict best.
fn strength(design: &Matrix, explore: &Sample, variances: &[f64], cancel: Option<&Cancel>) -> Option<f64> {
    if design.cols <= LENGTHS {
        return None;
    }
    if explore.len() >= PLENTY * design.cols {
        return Some(CS[0]);
    }
    let step = explore.len().div_ceil(TUNED_ON).max(1);
    let folds: Vec<(Vec<u32>, Vec<u32>)> = (0..FOLDS)
        .map(|number| {
            (0..explore.len() as u32)
                .step_by(step)
                .partition(|&row| fold(explore, row as usize) % FOLDS != number)
        })
        .collect();
    let labels = |rows: &[u32]| -> Vec<f64> { rows.iter().map(|&row| explore.y()[row as usize]).collect() };
    let unlikely = |c: Option<f64>| -> Option<f64> {
        let penalty = penalty(variances, c);
        let parts: Option<Vec<f64>> = folds
            .par_iter()
            .map(|(fitted, left)| {
                if cancel.is_some_and(Cancel::requested) {
                    return None;
                }
                let linear = fit(design, fitted, &labels(fitted), &penalty).ok()?;
                let eta = linear.score(design, left);
                let loss = |(eta, y): (&f64, f64)| eta.max(0.0) - y * eta + (-eta.abs()).exp().ln_1p();
                Some(eta.iter().zip(labels(left)).map(loss).sum())
            })
            .collect();
        parts.map(|parts| parts.iter().sum())
    };
    let mut best = (unlikely(None).unwrap_or(f64::INFINITY), None);
    for c in CS {
        if let Some(loss) = unlikely(Some(c))
            && loss < best.0
        {
            best = (loss, Some(c));
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
