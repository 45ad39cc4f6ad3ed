//! How well sets of features predict labels they were not fitted on, from length to the embedding.

use std::borrow::Cow;

use rayon::prelude::*;

use super::Estimate;
use super::auc::Ranking;
use super::control::Control;
use super::lasso::{Lasso, Solution};
use super::logistic::Outcome;
use super::numeric::gather_columns;
use super::penalised::{Linear, Penalty, better, fit};
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
/// L1 penalties that a rung of features chooses from, in units of what chance pulls a column with; strongest first.
const LAMBDAS: [f64; 7] = [2.0, 1.4, 1.0, 0.7, 0.5, 0.3, 0.15];
/// Values of features up to which their weights are held back by L1, which takes longer; with more it matters less.
const SELECTED: usize = 1_000_000;
/// Folds that they are compared on.
const FOLDS: u32 = 5;
/// Judgements that penalties are compared on, at most: which of seven is best shows on fewer than a fit takes.
const TUNED_ON: usize = 20_000;
/// Share of its penalty that length keeps: none to speak of, and the fit is still determined.
const FREE: f64 = 1e-6;
/// Why a rung has no AUC once somebody wants the ladder to stop.
const STOPPED: &str = "it was stopped";
/// Why a rung has no AUC.
const ONE_CLASS: &str = "the labels that it would be measured on are all the same";
/// Judgements per column from which on the penalty no longer matters.
const PLENTY: usize = 200;

/// Log-odds of the second rows by fits on the first, one for each penalty; `None` where a fit failed.
type Tried<'a> = dyn Fn(&[u32], &[u32]) -> Vec<Option<Vec<f64>>> + Sync + 'a;

/// How the weights of columns are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shrinkage {
    /// L1: some are 0. For features, most of which tell nothing.
    Select,
    /// L2: all are small. For the directions of an embedding.
    Shrink,
}

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    /// `length`, `top5`, `top10`, `learned`, `known`, `learned_and_known`, `all`, `tfidf`, `embedding`.
    pub name: &'static str,
    /// AUC on judgements that it was not fitted on, or why there is none.
    pub auc: Result<Estimate, &'static str>,
    /// This rung's AUC minus that of the embedding, on the same judgements; `None` for the embedding itself and
    /// where either is missing.
    pub minus_embedding: Option<Estimate>,
    /// The same against length alone.
    pub minus_length: Option<Estimate>,
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

/// Which labels rungs are fitted on, and which they are measured on.
pub struct Measure<'a> {
    /// The judgements that are measured.
    on: Cow<'a, Sample>,
    /// Judgements that are fitted on, and places of `on` that are measured with that fit.
    fits: Vec<(Cow<'a, Sample>, Vec<usize>)>,
}

impl<'a> Measure<'a> {
    /// Fitted on `explore`, measured on `held_out`.
    pub fn split(explore: &'a Sample, held_out: &'a Sample) -> Self {
        let all = (0..held_out.len()).collect();
        Self { on: Cow::Borrowed(held_out), fits: vec![(Cow::Borrowed(explore), all)] }
    }

    /// Every part of `sample` is measured with a fit on the others; `part` is that of each judgement. Only for columns
    /// that no label took part in finding. `None` where some part's others are too few to be fitted on.
    pub fn crossed(sample: &'a Sample, part: &[u8]) -> Option<Self> {
        let mut parts = part.to_vec();
        parts.sort_unstable();
        parts.dedup();
        let fits: Vec<(Cow<'a, Sample>, Vec<usize>)> = (parts.into_iter())
            .map(|number| {
                let (own, others): (Vec<usize>, Vec<usize>) =
                    (0..sample.len()).partition(|&at| part[at] == number);
                (Cow::Owned(sample.subset(&others)), own)
            })
            .collect();
        let both = |fit: &Sample| fit.y().iter().any(|y| *y < 0.5) && fit.y().iter().any(|y| *y > 0.5);
        (fits.len() > 1 && fits.iter().all(|(fit, _)| both(fit)))
            .then_some(Self { on: Cow::Borrowed(sample), fits })
    }

    /// The same judgements parted once more: each is then scored by the mean of fits, none of which saw it, so that
    /// less of a figure is the luck of one parting.
    #[must_use]
    pub fn and_crossed(mut self, part: &[u8]) -> Self {
        if let Cow::Borrowed(sample) = self.on
            && let Some(again) = Self::crossed(sample, part)
        {
            self.fits.extend(again.fits);
        }
        self
    }

    /// The log-odds that `of` gives to each judgement measured, by a fit on others.
    fn score(
        &self,
        of: impl Fn(&Sample, &Sample) -> Result<Vec<f64>, &'static str>,
    ) -> Result<Ranking, &'static str> {
        let mut score = vec![0.0; self.on.len()];
        for (fit, places) in &self.fits {
            let own = of(fit, &self.on.subset(places))?;
            // One fit is surer of itself than the other: only the order within a part is its own.
            let size = (own.iter().map(|x| x * x).sum::<f64>() / own.len().max(1) as f64).sqrt();
            let unit = if size > 0.0 && size.is_finite() { size } else { 1.0 };
            places.iter().zip(own).for_each(|(&at, own)| score[at] += own / unit);
        }
        Ranking::new(&score, self.on.y()).ok_or(ONE_CLASS)
    }
}

/// Climbs the ladder: each rung is fitted on other judgements than it is measured on.
///
/// `activations` is `[pairs, features]`: first the `learned` columns of the autoencoder, then the
/// `known` concepts, then whatever else there is. Every rung is a logistic
/// over both lengths (difference and log ratio, not penalised) and its columns, standardised by the
/// judgements of the fit, with the penalty that predicts best within them, prompts kept together: L1 for features (L2
/// where there is a lot to fit), L2 for the peers. One choice is to use no column at all, so a rung says what its
/// columns add to length. That holds for what the features are compared with, too: `tfidf` (words and pairs of words, A minus B) and `embedding` (the whole
/// vectors, a black box). The top 5 and 10 are the learned features that the L1 path over the
/// judgements of the fit takes first.
pub fn ladder(
    activations: &Matrix,
    learned: usize,
    known: usize,
    peers: Peers<'_>,
    measure: &Measure<'_>,
) -> Vec<Rung> {
    let learned = learned.min(activations.cols);
    let both = (learned + known).min(activations.cols);
    let fitted = |columns: &Matrix, features: &[usize]| {
        measure.score(|fit, on| score_while(columns, features, (fit, on), Shrinkage::Select, peers.cancel))
    };
    let probe = probe(peers, measure);
    let length = fitted(activations, &[]);
    let rung = |name, ranking| compared(name, ranking, (&length, &probe), measure);
    let nothing = |name, why| rung(name, Err(why));
    let mut rungs = vec![rung("length", length.clone())];

    if learned == 0 {
        rungs.extend(["top5", "top10", "learned"].map(|name| nothing(name, "no learned features")));
    } else {
        let first = columns(activations, learned);
        let strongest = |count: usize| {
            measure.score(|fit, on| {
                let lasso = Lasso::new(&first, fit, Control::Length).map_err(reason)?;
                let first = lasso.select(count).active();
                score_while(activations, &first, (fit, on), Shrinkage::Shrink, peers.cancel)
            })
        };
        rungs.push(rung("top5", strongest(5)));
        rungs.push(rung("top10", strongest(10)));
        rungs.push(rung("learned", fitted(activations, &(0..learned).collect::<Vec<_>>())));
    }
    if both == learned {
        rungs.push(nothing("known", "no known concepts"));
    } else {
        rungs.push(rung("known", fitted(activations, &(learned..both).collect::<Vec<_>>())));
    }
    rungs.push(match both {
        0 => nothing("learned_and_known", "no features"),
        both => rung("learned_and_known", fitted(activations, &(0..both).collect::<Vec<_>>())),
    });
    if let Some(pairs) = peers.texts {
        rungs.push(rung("tfidf", measure.score(|fit, on| tfidf::score(pairs, fit, on, peers.cancel))));
    }
    rungs.push(rung("embedding", probe.clone()));
    rungs
}

/// The rung `all`, every column of `activations`, among them what labels found: compared with length and the embedding
/// by the same judgements.
pub fn all_of_it(activations: &Matrix, peers: Peers<'_>, measure: &Measure<'_>) -> Rung {
    let fitted = |features: &[usize]| {
        measure
            .score(|fit, on| score_while(activations, features, (fit, on), Shrinkage::Select, peers.cancel))
    };
    let every: Vec<usize> = (0..activations.cols).collect();
    compared("all", fitted(&every), (&fitted(&[]), &probe(peers, measure)), measure)
}

/// The rung `embedding`, if there are embeddings.
fn probe(peers: Peers<'_>, measure: &Measure<'_>) -> Result<Ranking, &'static str> {
    let deltas = peers.deltas.ok_or("no embeddings")?;
    let all: Vec<usize> = (0..deltas.cols).collect();
    measure.score(|fit, on| score_while(deltas, &all, (fit, on), Shrinkage::Shrink, peers.cancel))
}

/// A rung beside length and the embedding, measured on the same judgements.
fn compared(
    name: &'static str,
    ranking: Result<Ranking, &'static str>,
    (length, probe): (&Result<Ranking, &'static str>, &Result<Ranking, &'static str>),
    measure: &Measure<'_>,
) -> Rung {
    let clusters = measure.on.clusters();
    let minus = |other: &Result<Ranking, &'static str>| {
        ranking.as_ref().ok().zip(other.as_ref().ok()).and_then(|(own, other)| own.minus(other, clusters))
    };
    Rung {
        name,
        minus_embedding: minus(probe).filter(|_| name != "embedding"),
        minus_length: minus(length).filter(|_| name != "length"),
        auc: ranking.and_then(|ranking| ranking.figure(clusters).ok_or(ONE_CLASS)),
    }
}

/// The first columns of a matrix.
fn columns(matrix: &Matrix, count: usize) -> Cow<'_, Matrix> {
    if count == matrix.cols {
        return Cow::Borrowed(matrix);
    }
    let values = matrix.values.chunks_exact(matrix.cols).flat_map(|row| &row[..count]).copied().collect();
    Cow::Owned(Matrix { values, cols: count })
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
    score_while(deltas, &all, (explore, held_out), Shrinkage::Shrink, None)
}

/// Log-odds of the judgements `held_out` by both lengths and the given columns of `activations`
/// `[pairs, features]`, without intercept, fitted on `explore`: what every rung is.
///
/// # Errors
/// Why it could not be fitted.
pub fn features_score(
    activations: &Matrix,
    features: &[usize],
    explore: &Sample,
    held_out: &Sample,
) -> Result<Vec<f64>, &'static str> {
    score_while(activations, features, (explore, held_out), Shrinkage::Select, None)
}

/// The same for work that somebody may stop; the reason is then [`STOPPED`].
fn score_while(
    activations: &Matrix,
    features: &[usize],
    (explore, held_out): (&Sample, &Sample),
    shrinkage: Shrinkage,
    cancel: Option<&Cancel>,
) -> Result<Vec<f64>, &'static str> {
    let thin = (explore.len() * (features.len() + 2)).div_ceil(PROBE_VALUES).max(1);
    let kept: Vec<usize> = (0..explore.len()).step_by(thin).collect();
    let thinned = (thin > 1).then(|| explore.subset(&kept));
    let explore = thinned.as_ref().unwrap_or(explore);
    let learned = design(activations, features, explore)?;
    let tuned = tuned(&learned, explore, shrinkage, cancel)?;
    let measured = design(activations, features, held_out)?;
    // How often the first response wins is nothing that columns tell, and fits on other judgements differ in it.
    let linear = Linear { intercept: 0.0, ..tuned };
    Ok(linear.score(&measured, &(0..held_out.len() as u32).collect::<Vec<u32>>()))
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

/// A logistic of `design` (one row per judgement of `explore`, both lengths first) with the penalty that predicts best.
fn tuned(
    design: &Matrix,
    explore: &Sample,
    shrinkage: Shrinkage,
    cancel: Option<&Cancel>,
) -> Result<Linear, &'static str> {
    let rows: Vec<u32> = (0..explore.len() as u32).collect();
    let variances = variances(design, explore.len());
    let held_back = |strength: Option<f64>| {
        fit(design, &rows, explore.y(), &penalty(&variances, strength)).map_err(reason)
    };
    let features = design.cols.saturating_sub(LENGTHS);
    if features == 0 {
        return held_back(None);
    }
    if explore.len() >= PLENTY * design.cols {
        return held_back(Some(CS[0]));
    }
    let select = shrinkage == Shrinkage::Select && explore.len() * features <= SELECTED;
    let strength = if select {
        let path = |fitted: &[u32], on: &[u32]| path(design, fitted, explore, on, &LAMBDAS);
        strength(design, explore, &variances, &LAMBDAS, &path, cancel)
    } else {
        let each = |fitted: &[u32], on: &[u32]| {
            let y = labels(explore, fitted);
            let at = |&c: &f64| {
                Some(fit(design, fitted, &y, &penalty(&variances, Some(c))).ok()?.score(design, on))
            };
            CS.iter().map(at).collect()
        };
        strength(design, explore, &variances, &CS, &each, cancel)
    };
    if cancel.is_some_and(Cancel::requested) {
        return Err(STOPPED);
    }
    match strength {
        Some(multiple) if select => selected(design, &rows, explore, multiple),
        other => held_back(other),
    }
}

/// The labels of some judgements.
fn labels(sample: &Sample, rows: &[u32]) -> Vec<f64> {
    rows.iter().map(|&row| sample.y()[row as usize]).collect()
}

/// The columns of `design` at some of its rows as an L1 problem, both lengths free.
fn lasso(design: &Matrix, rows: &[u32], sample: &Sample) -> Result<(Lasso, f64), Outcome> {
    let features: Vec<usize> = (LENGTHS..design.cols).collect();
    let length = |column: usize| {
        rows.iter().map(|&row| f64::from(design.values[row as usize * design.cols + column])).collect()
    };
    let controls: Vec<Vec<f64>> = (0..LENGTHS).map(length).collect();
    let lasso = Lasso::beside(&controls, gather_columns(design, &features, rows), labels(sample, rows))?;
    // The largest of so many pulls, if none of the columns has anything to do with the label.
    let chance = 0.5 * (2.0 * (features.len().max(2) as f64).ln() / rows.len().max(1) as f64).sqrt();
    Ok((lasso, chance))
}

/// Log-odds of the rows `on` at each of the L1 penalties, fitted on the rows `fitted`.
fn path(
    design: &Matrix,
    fitted: &[u32],
    sample: &Sample,
    on: &[u32],
    multiples: &[f64],
) -> Vec<Option<Vec<f64>>> {
    let Ok((lasso, chance)) = lasso(design, fitted, sample) else { return vec![None; multiples.len()] };
    let lambdas: Vec<f64> = multiples.iter().map(|multiple| multiple * chance).collect();
    (lasso.path(&lambdas).iter())
        .map(|solution| Some(linear(&lasso, solution, lasso.shift(solution)).score(design, on)))
        .collect()
}

/// The fit at an L1 penalty.
fn selected(design: &Matrix, rows: &[u32], sample: &Sample, multiple: f64) -> Result<Linear, &'static str> {
    let (lasso, chance) = lasso(design, rows, sample).map_err(reason)?;
    let down: Vec<f64> = LAMBDAS.iter().filter(|other| **other >= multiple).map(|m| m * chance).collect();
    let solution = lasso.path(&down).pop().ok_or("could not be fitted")?;
    Ok(linear(&lasso, &solution, lasso.shift(&solution)))
}

/// An L1 solution as weights of the columns as they are.
fn linear(lasso: &Lasso, solution: &Solution, intercept: f64) -> Linear {
    Linear { intercept, coefficients: lasso.raw(solution), passes: 0, converged: true }
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

/// The penalty, of those in `of`, with the best likelihood of judgements that it was not fitted on, prompts kept together;
/// `None` where it is not better than the lengths alone beyond chance. `tried` gives the log-odds of some rows by fits on
/// others, one for each penalty.
fn strength(
    design: &Matrix,
    explore: &Sample,
    variances: &[f64],
    of: &[f64],
    tried: &Tried<'_>,
    cancel: Option<&Cancel>,
) -> Option<f64> {
    let step = explore.len().div_ceil(TUNED_ON).max(1);
    let folds: Vec<(Vec<u32>, Vec<u32>)> = (0..FOLDS)
        .map(|number| {
            (0..explore.len() as u32)
                .step_by(step)
                .partition(|&row| fold(explore, row as usize) % FOLDS != number)
        })
        .collect();
    let loss = |(eta, y): (&f64, f64)| eta.max(0.0) - y * eta + (-eta.abs()).exp().ln_1p();
    // Of each fold, what the lengths lose, then each penalty.
    let lost: Vec<Vec<Option<Vec<f64>>>> = folds
        .par_iter()
        .map(|(fitted, left)| {
            if cancel.is_some_and(Cancel::requested) {
                return vec![None; 1 + of.len()];
            }
            let nothing = fit(design, fitted, &labels(explore, fitted), &penalty(variances, None));
            let nothing = nothing.ok().map(|linear| linear.score(design, left));
            let y = labels(explore, left);
            let losses = |eta: Vec<f64>| eta.iter().zip(y.iter().copied()).map(loss).collect();
            std::iter::once(nothing).chain(tried(fitted, left)).map(|eta| eta.map(losses)).collect()
        })
        .collect();
    let whole = |at: usize| -> Option<Vec<f64>> {
        let parts: Option<Vec<&[f64]>> = lost.iter().map(|fold| fold.get(at)?.as_deref()).collect();
        parts.map(|parts| parts.concat())
    };
    let tried: Vec<(f64, Vec<f64>)> =
        of.iter().enumerate().filter_map(|(at, &penalty)| Some((penalty, whole(at + 1)?))).collect();
    better(whole(0).as_deref(), &tried)
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
