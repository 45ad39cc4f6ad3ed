//! Executors: whoever labels pairs by a constitution alone.
//!
//! How well a list of principles reconstructs labels depends on who applies it, so every figure names
//! its executor. Two of them need no language model: [`Linear`] weighs how much more of each principle
//! a side has, [`Vote`] only counts heads.

use crate::effects::Clusters;
use crate::effects::penalised::{Penalty, fit};
use crate::effects::{Estimate, Sample, quantile_95};
use crate::matrix::Matrix;

/// One principle as an executor sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrincipleRule {
    /// Column of the activations.
    pub feature: usize,
    /// +1 to prefer the side with more of it, −1 to avoid it.
    pub sign: f64,
    /// Size of the activation from which the two sides clearly differ.
    pub threshold: f64,
    /// Share of its votes that the labels it was chosen on agree with.
    pub accuracy: f64,
}

impl PrincipleRule {
    /// +1 for A, −1 for B, 0 where the sides do not clearly differ; `z` seen from A.
    pub fn vote(&self, z: f32) -> f64 {
        let z = f64::from(z);
        if z == 0.0 || z.abs() < self.threshold { 0.0 } else { self.sign * z.signum() }
    }
}

/// Labels pairs by a constitution and nothing else.
pub trait Executor: Sync {
    /// What reports call it.
    fn name(&self) -> &'static str;

    /// Confidence that A is preferred, 0 to 1, for every judgement of `sample`; ½ where the
    /// constitution leaves it open.
    fn decide(&self, articles: &[PrincipleRule], sample: &Sample) -> Vec<f64>;
}

/// A weight per principle, fitted on the labels that the constitution was made from.
///
/// P(A) = σ(Σ wⱼ·zⱼ): no intercept and no length, since no principle speaks of them. A weight that
/// would turn a principle around is 0 instead.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// Activations, `[pairs, features]`.
    pub columns: &'a Matrix,
    /// What the weights are fitted on.
    pub explore: &'a Sample,
}

impl Linear<'_> {
    /// One weight per principle, log-odds per unit of its activation, never against its sign.
    pub fn weights(&self, articles: &[PrincipleRule]) -> Vec<f64> {
        let mut free: Vec<usize> = (0..articles.len()).collect();
        let mut weights = vec![0.0; articles.len()];
        while !free.is_empty() {
            let features: Vec<usize> = free.iter().map(|&at| articles[at].feature).collect();
            let design = gather(self.columns, &features, self.explore.row());
            let rows: Vec<u32> = (0..self.explore.len() as u32).collect();
            let penalty = Penalty { factors: mean_squares(&design), ..Penalty::default() };
            let Ok(linear) = fit(&design, &rows, self.explore.y(), &penalty) else { break };
            let against =
                |&(place, _): &(usize, usize)| linear.coefficients[place] * articles[free[place]].sign <= 0.0;
            let turned: Vec<usize> =
                free.iter().copied().enumerate().filter(against).map(|(_, at)| at).collect();
            if turned.is_empty() {
                for (&at, weight) in free.iter().zip(&linear.coefficients) {
                    weights[at] = *weight;
                }
                break;
            }
            free.retain(|at| !turned.contains(at));
        }
        weights
    }
}

impl Executor for Linear<'_> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn decide(&self, articles: &[PrincipleRule], sample: &Sample) -> Vec<f64> {
        let weights = self.weights(articles);
        (sample.row().iter())
            .map(|&pair| {
                let z = self.columns.row(pair as usize);
                let eta: f64 = articles.iter().zip(&weights).map(|(a, w)| w * f64::from(z[a.feature])).sum();
                1.0 / (1.0 + (-eta).exp())
            })
            .collect()
    }
}

/// Every principle has one vote; the majority decides, and where it is split, the first principle in
/// the list that has an opinion.
#[derive(Debug, Clone, Copy)]
pub struct Vote<'a> {
    /// Activations, `[pairs, features]`.
    pub columns: &'a Matrix,
}

impl Vote<'_> {
    /// The balance of the votes for A and the first opinion in the list, for one pair.
    fn count(&self, articles: &[PrincipleRule], pair: u32) -> (f64, f64) {
        let z = self.columns.row(pair as usize);
        articles.iter().fold((0.0, 0.0), |(sum, first), article| {
            let vote = article.vote(z[article.feature]);
            (sum + vote, if first == 0.0 { vote } else { first })
        })
    }

    /// Share of the judgements on which the votes are split evenly and the order decides.
    pub fn split(&self, articles: &[PrincipleRule], sample: &Sample) -> f64 {
        let split = |&&pair: &&u32| {
            let (sum, first) = self.count(articles, pair);
            sum == 0.0 && first != 0.0
        };
        sample.row().iter().filter(split).count() as f64 / sample.len().max(1) as f64
    }
}

impl Executor for Vote<'_> {
    fn name(&self) -> &'static str {
        "vote"
    }

    fn decide(&self, articles: &[PrincipleRule], sample: &Sample) -> Vec<f64> {
        let places = articles.len().max(1) as f64;
        (sample.row().iter())
            .map(|&pair| {
                let (sum, first) = self.count(articles, pair);
                // A split is decided, but with less confidence than any majority.
                0.5 + (sum + if sum == 0.0 { first / 2.0 } else { 0.0 }) / (2.0 * places)
            })
            .collect()
    }
}

/// How far each decision agrees with its label, 0 to 1; ½ where nothing was decided.
pub fn agrees(decisions: &[f64], y: &[f64]) -> Vec<f64> {
    (decisions.iter().zip(y))
        .map(|(&p, &y)| {
            if p > 0.5 {
                y
            } else if p < 0.5 {
                1.0 - y
            } else {
                0.5
            }
        })
        .collect()
}

/// Mean of one value per judgement with its clustered 95 % interval, kept within `least` and 1.
pub fn mean(values: &[f64], clusters: &Clusters, least: f64) -> Estimate {
    let n = values.len();
    let value = values.iter().sum::<f64>() / n.max(1) as f64;
    let influence: Vec<f64> = values.iter().map(|v| (v - value) / n as f64).collect();
    let half = clusters
        .variance(None, &influence)
        .map(|(variance, df)| quantile_95(Some(df)) * variance.max(0.0).sqrt());
    match half.filter(|half| half.is_finite()) {
        Some(half) => Estimate { value, low: (value - half).max(least), high: (value + half).min(1.0), n },
        None => Estimate { value, low: least, high: 1.0, n },
    }
}

/// Mean difference of two values per judgement with its clustered 95 % interval.
pub fn difference(a: &[f64], b: &[f64], clusters: &Clusters) -> Estimate {
    let values: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    mean(&values, clusters, -1.0)
}

/// Columns of `matrix` at the given rows, `[rows, features]`.
pub(crate) fn gather(matrix: &Matrix, features: &[usize], rows: &[u32]) -> Matrix {
    let mut values = Vec::with_capacity(features.len() * rows.len());
    for &row in rows {
        let z = matrix.row(row as usize);
        values.extend(features.iter().map(|&feature| z[feature]));
    }
    Matrix { values, cols: features.len() }
}

/// Mean square of every column: penalising by it is the same as scaling the columns to size 1.
pub(crate) fn mean_squares(matrix: &Matrix) -> Vec<f64> {
    let n = matrix.rows().max(1) as f64;
    let mut sums = vec![0.0; matrix.cols];
    for row in matrix.values.chunks_exact(matrix.cols.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x).powi(2) / n);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(y: Vec<f64>) -> Sample {
        let n = y.len();
        Sample::new(y, vec![0.0; n], (0..n as u32).collect(), &[]).unwrap()
    }

    fn articles(signs: &[f64]) -> Vec<PrincipleRule> {
        signs
            .iter()
            .enumerate()
            .map(|(feature, &sign)| PrincipleRule { feature, sign, threshold: 0.0, accuracy: 0.5 })
            .collect()
    }

    #[test]
    fn votes_are_counted_and_a_split_is_decided_by_the_order() {
        // Three principles over four pairs: 2:1 for A, split (the first opinion is the second
        // principle's), nobody, one for B.
        let columns =
            Matrix { values: vec![1.0, 1.0, -1.0, 0.0, 2.0, 3.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0], cols: 3 };
        let vote = Vote { columns: &columns };
        let labels = sample(vec![1.0, 1.0, 1.0, 1.0]);
        let list = articles(&[1.0, 1.0, -1.0]);
        let decided = vote.decide(&list, &labels);
        assert_eq!(agrees(&decided, labels.y()), vec![1.0, 1.0, 0.5, 0.0]);
        assert!(decided[1] < decided[0], "a split is less sure than a majority");
        assert_eq!(vote.split(&list, &labels), 0.25);
        let turned = vec![list[2], list[0], list[1]];
        assert_eq!(agrees(&vote.decide(&turned, &labels), labels.y()), vec![1.0, 0.0, 0.5, 0.0]);
    }

    #[test]
    fn a_threshold_takes_small_differences_for_none() {
        let article = PrincipleRule { feature: 0, sign: -1.0, threshold: 2.0, accuracy: 0.5 };
        assert_eq!([1.9, 2.0, -5.0, 0.0].map(|z| article.vote(z)), [0.0, -1.0, 1.0, 0.0]);
    }

    #[test]
    fn swapping_the_sides_turns_every_decision() {
        let columns = Matrix { values: (0..60).map(|i| ((i * 7) % 11) as f32 - 5.0).collect(), cols: 3 };
        let turned = Matrix { values: columns.values.iter().map(|z| -z).collect(), cols: 3 };
        let y: Vec<f64> = (0..20).map(|i| f64::from(u8::from(columns.row(i)[0] > 0.0))).collect();
        let (there, back) = (sample(y.clone()), sample(y.iter().map(|y| 1.0 - y).collect()));
        let list = articles(&[1.0, -1.0, 1.0]);
        let one = Linear { columns: &columns, explore: &there }.decide(&list, &there);
        let other = Linear { columns: &turned, explore: &back }.decide(&list, &back);
        for (a, b) in one.iter().zip(other) {
            assert!((a + b - 1.0).abs() < 1e-6, "{a} {b}");
        }
        let votes = Vote { columns: &columns }.decide(&list, &there);
        let other = Vote { columns: &turned }.decide(&list, &back);
        assert!(votes.iter().zip(&other).all(|(a, b)| (a + b - 1.0).abs() < 1e-12));
    }

    #[test]
    fn no_weight_goes_against_its_principle() {
        let columns =
            Matrix { values: (0..400).map(|i| (((i * 37) % 101) as f32 - 50.0) / 50.0).collect(), cols: 2 };
        let y: Vec<f64> = (0..200).map(|i| f64::from(u8::from(columns.row(i)[0] > 0.1))).collect();
        let labels = sample(y);
        let linear = Linear { columns: &columns, explore: &labels };
        let right = linear.weights(&articles(&[1.0, 1.0]));
        assert!(right[0] > 1.0);
        assert_eq!(linear.weights(&articles(&[-1.0, 1.0]))[0], 0.0);
    }

    #[test]
    fn the_interval_of_a_share_is_the_usual_one() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 5 != 0))).collect();
        let figure = mean(&values, &Clusters::new(400, &[]), 0.0);
        let half = 1.966 * (0.16f64 / 400.0).sqrt();
        assert!((figure.value - 0.8).abs() < 1e-12 && (figure.high - 0.8 - half).abs() < 1e-3, "{figure:?}");
        let none = difference(&values, &values, &Clusters::new(400, &[]));
        assert_eq!((none.value, none.low, none.high), (0.0, 0.0, 0.0));
    }
}
