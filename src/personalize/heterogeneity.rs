//! Whether a feature means different things to different annotators, and how much.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::context::Cancel;
use crate::matrix::Matrix;
use crate::pairs::MISSING;
use crate::statistics::multiplicity::holm;
use crate::statistics::random_effects::{ChiTest, Estimates, chi_squared_p};

use super::labelled::{Labelled, Names};
use super::population::{Belief, Population, own_coefficient, sigmoid};

/// How the annotators differ in one feature's effect. Coefficients are log-odds per standard size (root
/// mean square over the labels) of the activation, with length and the other features held fixed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heterogeneity {
    /// The feature.
    pub feature_id: String,
    /// What it measures, in words.
    pub description: String,
    /// A label of a few words.
    pub short: String,
    /// Index into the features of the run.
    #[serde(skip)]
    pub feature: usize,
    /// Annotators with labels enough for a coefficient of their own.
    pub annotators: usize,
    /// Their labels.
    pub labels: usize,
    /// Mean effect over annotators.
    #[serde(with = "nan_as_null")]
    pub beta: f64,
    /// Lower end of its 95 % interval.
    #[serde(with = "nan_as_null")]
    pub beta_low: f64,
    /// Upper end.
    #[serde(with = "nan_as_null")]
    pub beta_high: f64,
    /// Standard deviation between annotators by restricted maximum likelihood.
    #[serde(with = "nan_as_null")]
    pub tau: f64,
    /// The same by Paule and Mandel.
    #[serde(with = "nan_as_null")]
    pub tau_pm: f64,
    /// Lower end of τ's 95 % interval (Q-profile).
    #[serde(with = "nan_as_null")]
    pub tau_low: f64,
    /// Upper end.
    #[serde(with = "nan_as_null")]
    pub tau_high: f64,
    /// Cochran's Q of the annotators' own coefficients.
    pub q: Option<ChiTest>,
    /// p-value of the score test of τ = 0, which needs no estimate per annotator: the decision.
    #[serde(with = "nan_as_null")]
    pub p: f64,
    /// The same, corrected (Holm) over the features tested.
    #[serde(with = "nan_as_null")]
    pub p_holm: f64,
    /// Share of the annotators whose effect has the other sign, if effects are normal.
    #[serde(with = "nan_as_null")]
    pub opposite: f64,
    /// Differs between annotators beyond chance, also when the stronger ones are accounted for: what is
    /// said about annotators.
    pub subjective: bool,
    /// The same at a false discovery rate instead of a family-wise error rate: what weights may depend on. They
    /// are shrunk by τ, so that one feature too many costs little and one too few costs all of its gain.
    pub personal: bool,
    /// Flagged as safety-relevant: left alone unless named.
    pub safety: bool,
    /// Root mean square of the activation.
    #[serde(with = "nan_as_null")]
    pub scale: f64,
    /// The annotators' own coefficients and which annotators these are; not written.
    #[serde(skip)]
    pub own: Estimates,
    /// Index of the annotator of each.
    #[serde(skip)]
    pub whose: Vec<u32>,
}

/// Whether groups of annotators differ in a feature's effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupTest {
    /// The column that groups the annotators.
    pub column: String,
    /// The feature.
    pub feature_id: String,
    /// Its label.
    pub short: String,
    /// Likelihood-ratio test, annotators' own differences allowed for.
    pub test: ChiTest,
    /// p corrected (Holm) over features and columns.
    #[serde(with = "nan_as_null")]
    pub p_holm: f64,
    /// The groups.
    pub groups: Vec<GroupEffect>,
}

/// A feature's effect in one group of annotators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupEffect {
    /// The value of the column.
    pub value: String,
    /// Annotators.
    pub annotators: usize,
    /// Mean effect.
    pub beta: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// JSON has no number for "could not be estimated": `null` there, NaN here.
mod nan_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Some(*value).filter(|value| value.is_finite()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// A feature's activations over some labels, scaled to a root mean square of 1.
#[derive(Debug, Clone)]
pub(super) struct Scaled {
    pub(super) scale: f64,
    /// `[rows]`
    pub(super) z: Vec<f64>,
}

impl Scaled {
    pub(super) fn new(columns: &Matrix, feature: usize, labels: &Labelled, rows: &[u32]) -> Self {
        let mut z: Vec<f64> = (rows.iter())
            .map(|&row| f64::from(columns.row(labels.pair[row as usize] as usize)[feature]))
            .collect();
        let scale = (z.iter().map(|z| z * z).sum::<f64>() / z.len().max(1) as f64).sqrt();
        let scale = if scale.is_normal() { scale } else { 1.0 };
        z.iter_mut().for_each(|z| *z /= scale);
        Self { scale, z }
    }
}

/// Score test of "this feature has the same effect for every annotator".
///
/// Sₐ = Σ z·(y − p) over an annotator's labels has mean 0 and variance Vₐ = Σ z²p(1−p) if it has. The
/// statistic ΣSₐ² is compared with a scaled χ² of its mean and variance (Satterthwaite), kurtosis and the
/// estimated common coefficient included. Unlike a test of estimated coefficients it is right with a
/// handful of labels per annotator, and all-one-label annotators are no trouble.
pub(super) fn score_test(z: &[f64], y: &[f64], eta: &[f64], annotator: &[u32], annotators: usize) -> f64 {
    // S, V, fourth cumulant.
    let mut sums = vec![(0.0, 0.0, 0.0); annotators];
    for (at, &who) in annotator.iter().enumerate() {
        let Some(slot) = sums.get_mut(who as usize) else { continue };
        let p = sigmoid(eta[at]);
        let w = p * (1.0 - p);
        let square = z[at] * z[at];
        slot.0 += z[at] * (y[at] - p);
        slot.1 += square * w;
        slot.2 += square * square * w * (1.0 - 6.0 * w);
    }
    let total: f64 = sums.iter().map(|(_, v, _)| v).sum();
    let score: f64 = sums.iter().map(|(s, ..)| s).sum();
    if total <= 0.0 || sums.iter().filter(|(_, v, _)| *v > 0.0).count() < 2 {
        return f64::NAN;
    }
    let (mut statistic, mut mean, mut variance, mut squares) = (0.0, 0.0, 0.0, 0.0);
    for (s, v, k4) in &sums {
        let share = v / total;
        // What the common coefficient takes up.
        statistic += (s - share * score).powi(2);
        let own = v * (1.0 - share);
        mean += own;
        variance += 2.0 * own * own + k4 * (1.0 - share).powi(4);
        squares += v * v;
    }
    let cross: f64 = sums.iter().map(|(_, v, _)| v * v * (squares - v * v)).sum();
    variance += 2.0 * cross / (total * total);
    if variance <= 0.0 || mean <= 0.0 {
        return f64::NAN;
    }
    let (scale, df) = (variance / (2.0 * mean), 2.0 * mean * mean / variance);
    chi_squared_p(statistic / scale, df)
}

/// The common coefficient of a scaled feature on top of `eta`, which then holds it: a few Newton steps.
fn add_common(z: &[f64], y: &[f64], eta: &mut [f64]) -> f64 {
    let mut beta = 0.0;
    for _ in 0..25 {
        let (mut score, mut information) = (0.0, 1e-9);
        for ((z, y), eta) in z.iter().zip(y).zip(eta.iter()) {
            let p = sigmoid(*eta);
            score += z * (y - p);
            information += z * z * p * (1.0 - p);
        }
        let step: f64 = (score / information).clamp(-1.0, 1.0);
        beta += step;
        eta.iter_mut().zip(z).for_each(|(eta, z)| *eta += step * z);
        if step.abs() < 1e-10 {
            break;
        }
    }
    beta
}

/// Sampling variance from which on an annotator's own coefficient says nothing: its labels hardly differ
/// in the feature.
const VAGUE: f64 = 10.0;

/// Tests and measures every feature of `family` on the labels `rows`; once somebody wants it to stop, no more of them.
pub(super) fn measure(
    columns: &Matrix,
    family: &[usize],
    population: &Population,
    labels: &Labelled,
    rows: &[u32],
    min_pairs: usize,
    cancel: &Cancel,
) -> Vec<Heterogeneity> {
    let y: Vec<f64> = rows.iter().map(|&row| labels.y[row as usize]).collect();
    let annotator: Vec<u32> = rows.iter().map(|&row| labels.annotator[row as usize]).collect();
    let eta: Vec<f64> = rows.iter().map(|&row| population.eta(columns, labels, row)).collect();
    let annotators = labels.names.len();
    // Places in `rows` per annotator.
    let mut own = vec![Vec::new(); annotators];
    for (at, &who) in annotator.iter().enumerate() {
        if let Some(own) = own.get_mut(who as usize) {
            own.push(at);
        }
    }
    let mut found: Vec<Heterogeneity> = (family.par_iter())
        .take_any_while(|_| !cancel.requested())
        .map(|&feature| {
            let scaled = Scaled::new(columns, feature, labels, rows);
            let z = &scaled.z;
            let mut eta = eta.clone();
            // The common coefficient, free of the ridge and of what the model leaves out.
            let common = population.weight(feature) * scaled.scale + add_common(z, &y, &mut eta);
            let mut out = Heterogeneity {
                feature,
                scale: scaled.scale,
                p: score_test(z, &y, &eta, &annotator, annotators),
                ..Heterogeneity::default()
            };
            for (who, own) in own.iter().enumerate().filter(|(_, own)| own.len() >= min_pairs) {
                let pick = |values: &[f64]| own.iter().map(|&at| values[at]).collect::<Vec<f64>>();
                let estimate = own_coefficient(&pick(z), &pick(&y), &pick(&eta));
                if let Some((deviation, variance)) = estimate.filter(|(_, v)| *v <= VAGUE) {
                    out.own.y.push(common + deviation);
                    out.own.v.push(variance);
                    out.whose.push(who as u32);
                    out.labels += own.len();
                }
            }
            out.annotators = out.own.len();
            if out.annotators >= 2 {
                let tau2 = out.own.reml();
                out.tau = tau2.sqrt();
                out.tau_pm = out.own.paule_mandel().sqrt();
                let (low, high) = out.own.q_profile();
                (out.tau_low, out.tau_high) = (low.sqrt(), high.sqrt());
                let (mean, se) = out.own.mean(tau2);
                (out.beta, out.beta_low, out.beta_high) = (mean, mean - 1.96 * se, mean + 1.96 * se);
                out.q = Some(out.own.cochran());
                out.opposite = match out.tau > 0.0 {
                    true => Normal::standard().cdf(-mean.abs() / out.tau),
                    false => 0.0,
                };
            } else {
                (out.beta, out.beta_low, out.beta_high) = (common, f64::NAN, f64::NAN);
            }
            out
        })
        .collect();
    let corrected = holm(&found.iter().map(|row| row.p).collect::<Vec<_>>());
    for (row, p) in found.iter_mut().zip(corrected) {
        row.p_holm = p;
    }
    found
}

/// The most features that may be personal by themselves; each costs labels of every annotator.
const MOST_SUBJECTIVE: usize = 10;

/// Marks the subjective and the personal features: significant after correction (Holm; Benjamini and Hochberg),
/// one after the other, each with the annotators' deviations on the earlier ones held fixed, so that what merely
/// moves with a subjective feature is not taken for one. The first step is the same for both: where nothing
/// differs, anything is found with probability `alpha` at most.
pub(super) fn mark_subjective(
    found: &mut [Heterogeneity],
    columns: &Matrix,
    population: &Population,
    labels: &Labelled,
    rows: &[u32],
    alpha: f64,
) {
    let y: Vec<f64> = rows.iter().map(|&row| labels.y[row as usize]).collect();
    let annotator: Vec<u32> = rows.iter().map(|&row| labels.annotator[row as usize]).collect();
    let base: Vec<f64> = rows.iter().map(|&row| population.eta(columns, labels, row)).collect();
    let (mut chosen, mut certain): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut eta = base.clone();
    let by_annotator = labels.by_annotator(rows);
    while chosen.len() < MOST_SUBJECTIVE {
        let tests: Vec<f64> = (found.par_iter().enumerate())
            .map(|(at, row)| {
                let open = row.tau > 0.0 && !chosen.contains(&at);
                if !open {
                    return f64::NAN;
                }
                if chosen.is_empty() {
                    return row.p;
                }
                let scaled = Scaled::new(columns, row.feature, labels, rows);
                let mut eta = eta.clone();
                add_common(&scaled.z, &y, &mut eta);
                score_test(&scaled.z, &y, &eta, &annotator, labels.names.len())
            })
            .collect();
        // The family stays what it was at the first look.
        let family = found.iter().filter(|row| !row.p.is_nan()).count() as f64;
        let best =
            (0..tests.len()).filter(|&at| !tests[at].is_nan()).min_by(|&a, &b| tests[a].total_cmp(&tests[b]));
        let likely = |at: &usize| tests[*at] * family < alpha * (chosen.len() + 1) as f64;
        let Some(best) = best.filter(likely) else { break };
        if found[best].p_holm < alpha && tests[best] * (family - certain.len() as f64).max(1.0) < alpha {
            certain.push(best);
        }
        chosen.push(best);
        let features: Vec<usize> = chosen.iter().map(|&at| found[at].feature).collect();
        let tau: Vec<f64> = chosen.iter().map(|&at| found[at].tau / found[at].scale).collect();
        let beliefs: Vec<Belief> = (by_annotator.par_iter())
            .map(|own| belief(columns, &features, population, &tau, labels, own))
            .collect();
        eta = (rows.iter().zip(&base))
            .map(|(&row, base)| {
                let who = labels.annotator[row as usize];
                let z = columns.row(labels.pair[row as usize] as usize);
                base + beliefs.get(who as usize).map_or(0.0, |belief| {
                    features.iter().zip(&belief.mean).map(|(&f, d)| d * f64::from(z[f])).sum()
                })
            })
            .collect();
    }
    for at in chosen {
        found[at].personal = true;
    }
    for at in certain {
        found[at].subjective = true;
    }
}

/// What some labels of one annotator say about its deviations.
pub(super) fn belief(
    columns: &Matrix,
    features: &[usize],
    population: &Population,
    tau: &[f64],
    labels: &Labelled,
    rows: &[u32],
) -> Belief {
    let mut z = Vec::with_capacity(rows.len() * features.len());
    let (mut y, mut offset) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for &row in rows {
        let activations = columns.row(labels.pair[row as usize] as usize);
        z.extend(features.iter().map(|&feature| f64::from(activations[feature])));
        y.push(labels.y[row as usize]);
        offset.push(population.eta(columns, labels, row));
    }
    Belief::prior(tau).update(&z, &y, &offset)
}

/// Every feature against every grouping of the annotators. `columns` hold a value per judgement; an
/// annotator belongs where most of its labels do.
pub(super) fn group_tests(
    found: &[Heterogeneity],
    columns: &[(String, Names)],
    labels: &Labelled,
    seed: u64,
) -> Vec<GroupTest> {
    let mut tests: Vec<GroupTest> = Vec::new();
    for (column, values) in columns {
        let member = membership(values, labels);
        let these: Vec<GroupTest> = (found.par_iter())
            .filter_map(|row| {
                let mut random = crate::rng::stream(seed, &format!("groups {column} {}", row.feature_id));
                // Only annotators whose group is known, groups renumbered without gaps.
                let (mut set, mut group, mut names) = (Estimates::default(), Vec::new(), Vec::new());
                for ((y, v), &who) in row.own.y.iter().zip(&row.own.v).zip(&row.whose) {
                    let Some(value) = member[who as usize] else { continue };
                    let number = names.iter().position(|name| *name == value).unwrap_or_else(|| {
                        names.push(value);
                        names.len() - 1
                    });
                    set.y.push(*y);
                    set.v.push(*v);
                    group.push(number as u32);
                }
                let test = set.groups(&group, &mut random)?;
                let tau2 = set.reml();
                let effects = (names.iter().enumerate())
                    .map(|(number, &value)| {
                        let of = |values: &[f64]| {
                            (values.iter().zip(&group))
                                .filter(|(_, g)| **g as usize == number)
                                .map(|(x, _)| *x)
                                .collect::<Vec<f64>>()
                        };
                        let own = Estimates { y: of(&set.y), v: of(&set.v) };
                        let (beta, se) = own.mean(tau2);
                        GroupEffect {
                            value: values.names[value as usize].clone(),
                            annotators: own.len(),
                            beta,
                            low: beta - 1.96 * se,
                            high: beta + 1.96 * se,
                        }
                    })
                    .collect();
                Some(GroupTest {
                    column: column.clone(),
                    feature_id: row.feature_id.clone(),
                    short: row.short.clone(),
                    test,
                    p_holm: f64::NAN,
                    groups: effects,
                })
            })
            .collect();
        tests.extend(these);
    }
    let corrected = holm(&tests.iter().map(|test| test.test.p).collect::<Vec<_>>());
    for (test, p) in tests.iter_mut().zip(corrected) {
        test.p_holm = p;
    }
    tests.sort_by(|a, b| a.test.p.total_cmp(&b.test.p));
    tests
}

/// The value that most of each annotator's labels have, `[annotators]`.
fn membership(values: &Names, labels: &Labelled) -> Vec<Option<u32>> {
    let mut counts = vec![std::collections::BTreeMap::<u32, usize>::new(); labels.names.len()];
    for (&who, &judgement) in labels.annotator.iter().zip(&labels.judgement) {
        let value = values.of.get(judgement as usize).copied().unwrap_or(MISSING);
        if let Some(own) = counts.get_mut(who as usize).filter(|_| value != MISSING) {
            *own.entry(value).or_default() += 1;
        }
    }
    counts.iter().map(|own| own.iter().max_by_key(|(_, n)| **n).map(|(value, _)| *value)).collect()
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::statistics::random_effects::normal;

    /// Score-test p-values of simulated annotators who differ by `tau`.
    fn p_values(tau: f64, annotators: usize, labels: usize, repetitions: usize) -> Vec<f64> {
        let mut random = crate::rng::stream(5, &format!("score {tau} {annotators} {labels}"));
        (0..repetitions)
            .map(|_| {
                let (mut z, mut y, mut eta, mut who) = (vec![], vec![], vec![], vec![]);
                for annotator in 0..annotators {
                    let own = 0.7 + tau * normal(&mut random);
                    for _ in 0..labels {
                        let active: f64 = random.random();
                        let value = if active < 0.2 {
                            1.0
                        } else if active < 0.4 {
                            -1.0
                        } else {
                            0.0
                        };
                        let base = 1.2 * normal(&mut random);
                        let p = sigmoid(base + own * value);
                        z.push(value);
                        y.push(f64::from(u8::from(random.random::<f64>() < p)));
                        eta.push(base);
                        who.push(annotator as u32);
                    }
                }
                add_common(&z, &y, &mut eta);
                score_test(&z, &y, &eta, &who, annotators)
            })
            .collect()
    }

    #[test]
    fn without_differences_the_score_test_is_right_even_with_few_labels() {
        for (annotators, labels) in [(80, 6), (80, 40), (12, 20)] {
            let p = p_values(0.0, annotators, labels, 600);
            let share = |below: f64| p.iter().filter(|p| **p < below).count() as f64 / p.len() as f64;
            // Standard deviations: .009 at 5 %, .0013 at .1 %.
            assert!((0.015..=0.09).contains(&share(0.05)), "{annotators} × {labels}: {}", share(0.05));
            assert!(share(0.001) <= 0.01, "{annotators} × {labels}: {} below .001", share(0.001));
        }
    }

    #[test]
    fn differences_are_found() {
        let p = p_values(0.7, 80, 40, 50);
        assert!(p.iter().filter(|p| **p < 1e-3).count() >= 45, "{p:?}");
    }
}
