//! What personal weights are worth, measured honestly.
//!
//! Annotators are divided into folds. For those of a fold, everything that is learned from labels of others (the
//! population's weights, which features are personal, τ) comes from the other folds, without any prompt that the
//! fold is tested on. Of an annotator's own labels k are used to find its weights; all the others are predicted, on
//! whichever side of the split they are: features and their words were found without labels, so that no side has
//! seen one.

use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::matrix::Matrix;
use crate::store::Estimate;

use super::heterogeneity::belief;
use super::labelled::Labelled;
use super::population::{Belief, Population, sigmoid};

/// Numbers of own labels that are tried.
pub const KS: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Folds of annotators.
pub(super) const FOLDS: usize = 5;
/// Random choices of the k labels that are averaged: many where there are few labels, which is where luck weighs most.
const DRAWS: std::ops::RangeInclusive<usize> = 5..=20;
/// Labels divided by this are the choices.
const DRAWN: usize = 60_000;
/// Labels that must be left to predict.
const LEFT: usize = 4;
/// Resamplings of the annotators, and the work that they may be.
const RESAMPLES: usize = 1000;
const WORK: usize = 20_000_000;
/// Spread, per standard size of the activation, that stands for none: with it, weights are not shrunk.
const UNSHRUNK: f64 = 10.0;
/// Number of own labels that the calibration is shown for.
const CALIBRATED: usize = 16;

/// What was learned from the other folds.
#[derive(Debug, Clone)]
pub(super) struct Learned {
    pub(super) population: Population,
    /// Features with personal weights.
    pub(super) features: Vec<usize>,
    /// Their τ per unit of activation.
    pub(super) tau: Vec<f64>,
    /// Standard sizes of the features of the population's model.
    pub(super) scales: Vec<f64>,
}

/// The gain by k own labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// Own labels used.
    pub k: usize,
    /// `random` or `active` (the most telling pairs first, chosen without their labels).
    pub choice: String,
    /// `shrunk`, `unshrunk` (each annotator by itself, personal features only), `unshrunk_all` (every
    /// feature of the model).
    pub weights: String,
    /// AUC on the remaining labels with the population's weights.
    pub population_auc: f64,
    /// Gain in AUC; the interval resamples annotators.
    pub auc_gain: Estimate,
    /// Gain in log-likelihood per label, in nats.
    pub likelihood_gain: Estimate,
    /// Annotators.
    pub annotators: usize,
}

/// Predicted and observed, on remaining labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Mean predicted probability that A is preferred.
    pub predicted: f64,
    /// Share of A among the labels, with its interval.
    pub observed: Estimate,
}

/// The evaluation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// By k, choice and kind of weights.
    pub gains: Vec<Gain>,
    /// Of the shrunk weights from [`CALIBRATED`] own labels (or the largest k that was possible).
    pub calibration: Vec<CalibrationBin>,
    /// The k of the calibration.
    pub calibration_k: usize,
    /// Folds in which some feature was found to be personal.
    pub folds_personal: usize,
    /// Folds.
    pub folds: usize,
    /// Annotators that could be tested at some k.
    pub annotators: usize,
}

impl Evaluation {
    /// The gain of shrunk weights from `k` randomly chosen labels.
    pub fn gain(&self, k: usize, choice: &str, weights: &str) -> Option<&Gain> {
        self.gains.iter().find(|gain| gain.k == k && gain.choice == choice && gain.weights == weights)
    }
}

/// Predictions of one way of doing it: whose, label, log-odds of the population and with own weights.
#[derive(Debug, Clone, Default)]
struct Predictions {
    who: Vec<u32>,
    y: Vec<f64>,
    population: Vec<f64>,
    personal: Vec<f64>,
}

impl Predictions {
    fn append(&mut self, mut other: Self) {
        self.who.append(&mut other.who);
        self.y.append(&mut other.y);
        self.population.append(&mut other.population);
        self.personal.append(&mut other.personal);
    }
}

const WAYS: [(&str, &str); 4] =
    [("random", "shrunk"), ("active", "shrunk"), ("random", "unshrunk"), ("random", "unshrunk_all")];

/// A fold for every annotator; the same for everyone who asks.
pub(super) fn folds(annotators: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..annotators).collect();
    order.shuffle(&mut crate::rng::stream(seed, "personalize folds"));
    let count = FOLDS.min(annotators.max(1));
    let mut fold = vec![0; annotators];
    for (place, who) in order.into_iter().enumerate() {
        fold[who] = place % count;
    }
    fold
}

/// Runs the evaluation; `learn` gives what a fold's training labels teach, or `None` where they teach
/// nothing.
pub(super) fn evaluate(
    columns: &Matrix,
    labels: &Labelled,
    min_pairs: usize,
    seed: u64,
    learn: impl Fn(&[u32]) -> Option<Learned> + Sync,
) -> Evaluation {
    let everything = labels.by_annotator(&labels.all());
    let fold = folds(labels.names.len(), seed);
    let count = FOLDS.min(labels.names.len().max(1));
    let mut out = Evaluation { folds: count, ..Evaluation::default() };
    let mut predictions: Vec<Vec<Predictions>> = vec![vec![Predictions::default(); WAYS.len()]; KS.len()];
    for number in 0..count {
        let here: Vec<usize> = (0..everything.len())
            .filter(|&who| fold[who] == number && everything[who].len() >= min_pairs.max(1 + LEFT))
            .collect();
        // Prompts that this fold is tested on teach nothing about it.
        let tested: std::collections::HashSet<u32> =
            (here.iter().flat_map(|&who| &everything[who])).map(|&row| labels.prompt[row as usize]).collect();
        let train: Vec<u32> = (labels.all().into_iter())
            .filter(|&row| {
                let who = labels.annotator[row as usize] as usize;
                let other = fold.get(who).is_none_or(|own| *own != number);
                other && !tested.contains(&labels.prompt[row as usize])
            })
            .collect();
        let Some(learned) = learn(&train) else { continue };
        out.folds_personal += usize::from(!learned.features.is_empty());
        let found: Vec<Vec<Vec<Predictions>>> = here
            .par_iter()
            .map(|&who| predict(columns, labels, &everything[who], who as u32, &learned, seed))
            .collect();
        for own in found {
            for (all, own) in predictions.iter_mut().zip(own) {
                for (all, own) in all.iter_mut().zip(own) {
                    all.append(own);
                }
            }
        }
    }
    let distinct = |who: &[u32]| {
        let mut who = who.to_vec();
        who.sort_unstable();
        who.dedup();
        who.len()
    };
    for (k, ways) in KS.iter().zip(&predictions) {
        for ((choice, weights), predictions) in WAYS.iter().zip(ways) {
            let annotators = distinct(&predictions.who);
            out.annotators = out.annotators.max(annotators);
            if let Some((population_auc, auc_gain, likelihood_gain)) = gains(predictions, seed) {
                out.gains.push(Gain {
                    k: *k,
                    choice: (*choice).into(),
                    weights: (*weights).into(),
                    population_auc,
                    auc_gain,
                    likelihood_gain,
                    annotators,
                });
            }
        }
    }
    let usable = |at: &usize| KS[*at] <= CALIBRATED && !predictions[*at][0].y.is_empty();
    if let Some(at) = (0..KS.len()).rev().find(usable) {
        out.calibration_k = KS[at];
        out.calibration = calibration(&predictions[at][0]);
    }
    out
}

/// Predictions for one annotator, `[ks][ways]`.
fn predict(
    columns: &Matrix,
    labels: &Labelled,
    own: &[u32],
    who: u32,
    learned: &Learned,
    seed: u64,
) -> Vec<Vec<Predictions>> {
    let mut random = crate::rng::stream(seed, &format!("personalize {}", labels.names[who as usize]));
    let mut own = own.to_vec();
    let all = &learned.population.features;
    let wide_all: Vec<f64> = learned.scales.iter().map(|scale| UNSHRUNK / scale).collect();
    let wide: Vec<f64> = (learned.features.iter())
        .map(|feature| all.iter().position(|other| other == feature).map_or(UNSHRUNK, |at| wide_all[at]))
        .collect();
    (KS.iter())
        .map(|&k| {
            let mut out = vec![Predictions::default(); WAYS.len()];
            if k + LEFT > own.len() {
                return out;
            }
            let draws = (DRAWN / labels.y.len().max(1)).clamp(*DRAWS.start(), *DRAWS.end());
            for _ in 0..draws {
                own.shuffle(&mut random);
                // Every way is tested on the same labels: the telling pairs come out of one half as the random ones do.
                let (pool, test) = own.split_at((own.len() / 2).max(k));
                let mut predict = |way: usize, features: &[usize], tau: &[f64], some: &[u32]| {
                    let belief = belief(columns, features, &learned.population, tau, labels, some);
                    out[way].append(scores(columns, labels, test, who, learned, features, &belief));
                };
                let some = &pool[..k];
                predict(0, &learned.features, &learned.tau, some);
                predict(1, &learned.features, &learned.tau, &most_telling(columns, labels, pool, learned, k));
                predict(2, &learned.features, &wide, some);
                predict(3, all, &wide_all, some);
            }
            out
        })
        .collect()
}

fn scores(
    columns: &Matrix,
    labels: &Labelled,
    test: &[u32],
    who: u32,
    learned: &Learned,
    features: &[usize],
    belief: &Belief,
) -> Predictions {
    let mut out = Predictions::default();
    for &row in test {
        let z = columns.row(labels.pair[row as usize] as usize);
        let eta = learned.population.eta(columns, labels, row);
        let own: f64 = features.iter().zip(&belief.mean).map(|(&f, d)| d * f64::from(z[f])).sum();
        out.who.push(who);
        out.y.push(labels.y[row as usize]);
        out.population.push(eta);
        out.personal.push(eta + own);
    }
    out
}

/// The `k` pairs that would say most about the annotator's deviations, chosen one after the other
/// without looking at labels: the largest p(1−p)·zᵀCz, C being what is still uncertain.
fn most_telling(columns: &Matrix, labels: &Labelled, pool: &[u32], learned: &Learned, k: usize) -> Vec<u32> {
    let d = learned.features.len();
    let mut covariance: Vec<f64> = (0..d * d)
        .map(|at| if at % (d + 1) == 0 { learned.tau[at / (d + 1)].powi(2) } else { 0.0 })
        .collect();
    let mut open: Vec<(u32, Vec<f64>, f64)> = (pool.iter())
        .map(|&row| {
            let z = columns.row(labels.pair[row as usize] as usize);
            let p = sigmoid(learned.population.eta(columns, labels, row));
            (row, learned.features.iter().map(|&f| f64::from(z[f])).collect(), p * (1.0 - p))
        })
        .collect();
    let mut chosen = Vec::with_capacity(k);
    while chosen.len() < k && !open.is_empty() {
        let spread = |z: &[f64]| -> Vec<f64> {
            (0..d).map(|i| (0..d).map(|j| covariance[i * d + j] * z[j]).sum()).collect()
        };
        let told =
            |(_, z, w): &(u32, Vec<f64>, f64)| w * spread(z).iter().zip(z).map(|(a, b)| a * b).sum::<f64>();
        let best = (0..open.len()).max_by(|&a, &b| told(&open[a]).total_cmp(&told(&open[b])).then(b.cmp(&a)));
        let Some(best) = best else { break };
        let (row, z, w) = open.remove(best);
        // What is known after a label of this pair (Sherman & Morrison).
        let cz = spread(&z);
        let scale = w / (1.0 + w * cz.iter().zip(&z).map(|(a, b)| a * b).sum::<f64>());
        for i in 0..d {
            for j in 0..d {
                covariance[i * d + j] -= scale * cz[i] * cz[j];
            }
        }
        chosen.push(row);
    }
    chosen
}

/// AUC where every row counts as often as its annotator was drawn; rows sorted once.
struct Ranking {
    order: Vec<u32>,
    /// Whether a row has the score of the one before it.
    tied: Vec<bool>,
}

impl Ranking {
    fn new(score: &[f64]) -> Self {
        let mut order: Vec<u32> = (0..score.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| score[a as usize].total_cmp(&score[b as usize]));
        let tied = (0..order.len())
            .map(|at| at > 0 && score[order[at] as usize] == score[order[at - 1] as usize])
            .collect();
        Self { order, tied }
    }

    fn auc(&self, y: &[f64], weight: impl Fn(usize) -> f64) -> f64 {
        let (mut positive, mut negative, mut sum) = (0.0, 0.0, 0.0);
        // Of the rows with the same score.
        let (mut tie_positive, mut tie_negative) = (0.0, 0.0);
        for (&row, &tied) in self.order.iter().zip(&self.tied) {
            if !tied {
                sum += tie_positive * (negative + tie_negative / 2.0);
                positive += tie_positive;
                negative += tie_negative;
                (tie_positive, tie_negative) = (0.0, 0.0);
            }
            let (row, w) = (row as usize, weight(row as usize));
            tie_positive += w * y[row];
            tie_negative += w * (1.0 - y[row]);
        }
        sum += tie_positive * (negative + tie_negative / 2.0);
        sum / ((positive + tie_positive) * (negative + tie_negative))
    }
}

/// AUC of the population's weights, gain in AUC and in likelihood, with intervals over annotators.
fn gains(predictions: &Predictions, seed: u64) -> Option<(f64, Estimate, Estimate)> {
    let n = predictions.y.len();
    let a: f64 = predictions.y.iter().sum();
    if n == 0 || a <= 0.0 || a >= n as f64 {
        return None;
    }
    let most = predictions.who.iter().max().map_or(0, |&who| who as usize + 1);
    let mut present: Vec<u32> = predictions.who.clone();
    present.sort_unstable();
    present.dedup();
    let (before, after) = (Ranking::new(&predictions.population), Ranking::new(&predictions.personal));
    let log =
        |eta: f64, y: f64| y * sigmoid(eta).max(1e-300).ln() + (1.0 - y) * sigmoid(-eta).max(1e-300).ln();
    let likelihood: Vec<f64> = (0..n)
        .map(|at| {
            let y = predictions.y[at];
            log(predictions.personal[at], y) - log(predictions.population[at], y)
        })
        .collect();
    let value = |count: &[f64]| {
        let weight = |row: usize| count[predictions.who[row] as usize];
        let total: f64 = (0..n).map(weight).sum();
        let gained: f64 = likelihood.iter().enumerate().map(|(row, gain)| weight(row) * gain).sum();
        let base = before.auc(&predictions.y, weight);
        (base, after.auc(&predictions.y, weight) - base, gained / total)
    };
    let (base, auc, nats) = value(&vec![1.0; most]);
    let resamples = (WORK / (2 * n)).clamp(200, RESAMPLES);
    let drawn: Vec<(f64, f64)> = (0..resamples)
        .into_par_iter()
        .map(|number| {
            let mut random = crate::rng::stream(seed, &format!("bootstrap {number}"));
            let mut count = vec![0.0; most];
            for _ in 0..present.len() {
                count[present[random.random_range(0..present.len())] as usize] += 1.0;
            }
            let (_, auc, nats) = value(&count);
            (auc, nats)
        })
        .collect();
    let figure = |value: f64, mut values: Vec<f64>| {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (values.len().saturating_sub(1)) as f64 * share;
            values.get(place.round() as usize).copied().unwrap_or(f64::NAN)
        };
        Estimate { value, low: at(0.025), high: at(0.975), n }
    };
    Some((
        base,
        figure(auc, drawn.iter().map(|d| d.0).collect()),
        figure(nats, drawn.iter().map(|d| d.1).collect()),
    ))
}

/// Ten bins of equal size by the predicted probability.
fn calibration(predictions: &Predictions) -> Vec<CalibrationBin> {
    let n = predictions.y.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| predictions.personal[a].total_cmp(&predictions.personal[b]));
    let bins = 10.min(n / 20).max(1);
    (0..bins)
        .map(|bin| {
            let rows = &order[n * bin / bins..n * (bin + 1) / bins];
            let y: Vec<f64> = rows.iter().map(|&row| predictions.y[row]).collect();
            let who: Vec<u32> = rows.iter().map(|&row| predictions.who[row]).collect();
            let clusters = crate::effects::Clusters::new(rows.len(), &[who]);
            CalibrationBin {
                predicted: rows.iter().map(|&row| sigmoid(predictions.personal[row])).sum::<f64>()
                    / rows.len().max(1) as f64,
                observed: crate::constitution::executor::mean(&y, &clusters, 0.0),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weighted_auc_is_that_of_the_repeated_rows() {
        let (score, y) = ([0.1, 0.4, 0.4, 0.8, 0.3], [0.0, 1.0, 0.0, 1.0, 1.0]);
        let count = [2.0, 1.0, 3.0, 0.0, 1.0];
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for at in 0..5 {
            for _ in 0..count[at] as usize {
                scores.push(score[at]);
                labels.push(y[at]);
            }
        }
        let clusters = crate::effects::Clusters::new(labels.len(), &[]);
        let expected = crate::effects::auc(&scores, &labels, &clusters).unwrap().value;
        let ours = Ranking::new(&score).auc(&y, |row| count[row]);
        assert!((ours - expected).abs() < 1e-12, "{ours} {expected}");
    }

    #[test]
    fn telling_pairs_are_those_with_the_feature_and_not_twice_the_same_direction() {
        let columns = Matrix { values: vec![0.0, 0.0, 3.0, 0.0, 2.5, 0.0, 0.0, 1.0], cols: 2 };
        let labels = Labelled {
            pair: vec![0, 1, 2, 3],
            y: vec![1.0; 4],
            length: vec![0.0; 4],
            annotator: vec![0; 4],
            judgement: vec![0, 1, 2, 3],
            prompt: vec![0; 4],
            names: vec!["x".into()],
        };
        let learned = Learned {
            population: Population::default(),
            features: vec![0, 1],
            tau: vec![1.0, 1.0],
            scales: Vec::new(),
        };
        assert_eq!(most_telling(&columns, &labels, &[0, 1, 2, 3], &learned, 2), vec![1, 2]);
        let learned = Learned { tau: vec![1.0, 3.0], ..learned };
        assert_eq!(most_telling(&columns, &labels, &[0, 1, 2, 3], &learned, 2), vec![1, 3]);
    }
}
