//! The population's model, and one annotator's deviation from it.

use faer::Mat;
use serde::{Deserialize, Serialize};

use crate::constitution::executor::{gather, mean_squares};
use crate::describe::Feature;
use crate::effects::logistic::{cholesky, solve};
use crate::effects::penalised::{Penalty, fit};
use crate::effects::table::control_of;
use crate::effects::{Control, Outcome};
use crate::matrix::Matrix;

use super::labelled::Labelled;

/// P(A) = σ(intercept + length · ℓ + Σ wⱼ·zⱼ), for everybody.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Population {
    /// Log-odds of A where nothing differs.
    pub intercept: f64,
    /// Log-odds per word of difference; 0 where a feature about length is in the model.
    pub length: f64,
    /// Columns of the activations.
    pub features: Vec<usize>,
    /// Log-odds per unit of activation, `[features]`.
    pub weights: Vec<f64>,
}

impl Population {
    /// Fits the model on some labels.
    ///
    /// # Errors
    /// The outcome that stands in the way: no labels, or one class only.
    pub fn fit(
        columns: &Matrix,
        features: &[usize],
        words: &[Feature],
        labels: &Labelled,
        rows: &[u32],
    ) -> Result<Self, Outcome> {
        let pairs: Vec<u32> = rows.iter().map(|&row| labels.pair[row as usize]).collect();
        let y: Vec<f64> = rows.iter().map(|&row| labels.y[row as usize]).collect();
        let controlled = features.iter().all(|&feature| control_of(&words[feature]) == Control::Length);
        let z = gather(columns, features, &pairs);
        let cols = features.len() + 1;
        let mut design = Matrix { values: Vec::with_capacity(rows.len() * cols), cols };
        for (at, &row) in rows.iter().enumerate() {
            let length = if controlled { labels.length[row as usize] as f32 } else { 0.0 };
            design.values.push(length);
            design.values.extend_from_slice(&z.values[at * features.len()..(at + 1) * features.len()]);
        }
        let penalty = Penalty { factors: mean_squares(&design), ..Penalty::default() };
        let numbered: Vec<u32> = (0..rows.len() as u32).collect();
        let linear = fit(&design, &numbered, &y, &penalty)?;
        Ok(Self {
            intercept: linear.intercept,
            length: if controlled { linear.coefficients[0] } else { 0.0 },
            features: features.to_vec(),
            weights: linear.coefficients[1..].to_vec(),
        })
    }

    /// Log-odds of A for one label's pair.
    pub fn eta(&self, columns: &Matrix, labels: &Labelled, row: u32) -> f64 {
        let z = columns.row(labels.pair[row as usize] as usize);
        let features: f64 =
            self.features.iter().zip(&self.weights).map(|(&feature, w)| w * f64::from(z[feature])).sum();
        self.intercept + self.length * labels.length[row as usize] + features
    }

    /// The weight of a feature; 0 where the model does not have it.
    pub fn weight(&self, feature: usize) -> f64 {
        let at = self.features.iter().position(|other| *other == feature);
        at.map_or(0.0, |at| self.weights[at])
    }
}

pub(super) fn sigmoid(eta: f64) -> f64 {
    1.0 / (1.0 + (-eta).exp())
}

/// log(1 + e^η) without overflow.
fn softplus(eta: f64) -> f64 {
    eta.max(0.0) + (-eta.abs()).exp().ln_1p()
}

/// One annotator's own coefficient of one feature, as a deviation from the population, and its variance.
///
/// Firth's estimate (it exists for any labels and is nearly unbiased) with everything else at the
/// population's values (`offset`). The variance is the inverse information at the population's
/// coefficient, not at the estimate: with a few dozen labels the latter grows with the estimate, and the
/// pooling would then discount exactly the annotators who differ (in simulations with 40 labels each, τ = .6
/// came out as .47 that way and as .62 this way). `None` where the feature never varies.
pub fn own_coefficient(z: &[f64], y: &[f64], offset: &[f64]) -> Option<(f64, f64)> {
    // Where the feature is in neither or alike in both, its coefficient changes nothing.
    let differ: Vec<usize> = (0..z.len()).filter(|&at| z[at] != 0.0).collect();
    let pick = |values: &[f64]| differ.iter().map(|&at| values[at]).collect::<Vec<f64>>();
    let (z, y, offset) = (&pick(z), &pick(y), &pick(offset));
    let information = |d: f64| {
        (z.iter().zip(offset)).fold((0.0, 0.0), |(info, slope), (z, offset)| {
            let p = sigmoid(offset + d * z);
            let w = p * (1.0 - p) * z * z;
            (info + w, slope + w * (1.0 - 2.0 * p) * z)
        })
    };
    let goal = |d: f64| {
        let likelihood: f64 = (z.iter().zip(y).zip(offset))
            .map(|((z, y), offset)| y * (offset + d * z) - softplus(offset + d * z))
            .sum();
        likelihood + 0.5 * information(d).0.ln()
    };
    let (at_population, _) = information(0.0);
    if !(at_population.is_normal() && at_population > 1e-9) {
        return None;
    }
    // Far out the information vanishes and with it every digit.
    let largest = z.iter().fold(0.0_f64, |max, z| max.max(z.abs()));
    let edge = 15.0 / largest;
    let mut d = 0.0;
    let mut now = goal(d);
    for _ in 0..200 {
        let (info, slope) = information(d);
        let score: f64 =
            (z.iter().zip(y).zip(offset)).map(|((z, y), offset)| z * (y - sigmoid(offset + d * z))).sum();
        let mut step = (score + 0.5 * slope / info) / info;
        step = step.clamp(-2.0 / largest, 2.0 / largest);
        if step.abs() <= 1e-11 * d.abs().max(1.0) {
            break;
        }
        loop {
            let next = (d + step).clamp(-edge, edge);
            let there = goal(next);
            if there >= now - 1e-13 * now.abs() {
                (d, now) = (next, there);
                break;
            }
            step /= 2.0;
            if step.abs() < 1e-13 {
                break;
            }
        }
        if step.abs() < 1e-12 || d.abs() >= edge {
            break;
        }
    }
    d.is_finite().then_some((d, 1.0 / at_population))
}

/// What is known about an annotator's deviations from the population: N(mean, precision⁻¹).
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    /// Deviations, `[features]`.
    pub mean: Vec<f64>,
    /// Inverse covariance, `[features, features]`.
    pub precision: Mat<f64>,
}

impl Belief {
    /// Before any label: nobody is known to differ, by τ per feature.
    pub fn prior(tau: &[f64]) -> Self {
        let k = tau.len();
        // A τ of 0 leaves no room to differ; the precision is large, but a number.
        let precision =
            Mat::from_fn(k, k, |i, j| if i == j { (tau[i] * tau[i]).max(1e-12).recip() } else { 0.0 });
        Self { mean: vec![0.0; k], precision }
    }

    /// After more labels: penalised Newton steps (IRLS) with this belief as the prior.
    ///
    /// `z` is row-major `[labels, features]`; `offset` is what the population says. The result can be
    /// updated again, which is the streaming form: it equals the fit on all labels up to the curvature
    /// being taken where it was.
    pub fn update(&self, z: &[f64], y: &[f64], offset: &[f64]) -> Self {
        let k = self.mean.len();
        if k == 0 || y.is_empty() {
            return self.clone();
        }
        let eta = |mean: &[f64], row: usize| {
            offset[row] + z[row * k..(row + 1) * k].iter().zip(mean).map(|(z, d)| z * d).sum::<f64>()
        };
        let goal = |mean: &[f64]| {
            let likelihood: f64 = (0..y.len())
                .map(|row| {
                    let eta = eta(mean, row);
                    y[row] * eta - softplus(eta)
                })
                .sum();
            likelihood - 0.5 * self.distance(mean)
        };
        let hessian = |mean: &[f64]| {
            let mut hessian = self.precision.clone();
            for row in 0..y.len() {
                let p = sigmoid(eta(mean, row));
                let w = p * (1.0 - p);
                let z = &z[row * k..(row + 1) * k];
                for j in 0..k {
                    for i in 0..k {
                        hessian[(i, j)] += w * z[i] * z[j];
                    }
                }
            }
            hessian
        };
        let mut mean = self.mean.clone();
        let mut now = goal(&mean);
        for _ in 0..100 {
            let mut gradient: Vec<f64> = (0..k)
                .map(|j| (0..k).map(|i| self.precision[(j, i)] * (self.mean[i] - mean[i])).sum())
                .collect();
            for row in 0..y.len() {
                let residual = y[row] - sigmoid(eta(&mean, row));
                for (g, z) in gradient.iter_mut().zip(&z[row * k..(row + 1) * k]) {
                    *g += residual * z;
                }
            }
            let Some(factor) = cholesky(&hessian(&mean)) else { break };
            let step = solve(&factor, &gradient);
            let size = step.iter().fold(0.0_f64, |max, s| max.max(s.abs()));
            if size.is_nan() || size < 1e-11 {
                break;
            }
            let mut length = 1.0;
            loop {
                let next: Vec<f64> = mean.iter().zip(&step).map(|(m, s)| m + length * s).collect();
                let there = goal(&next);
                if there >= now - 1e-13 * now.abs() {
                    (mean, now) = (next, there);
                    break;
                }
                length /= 2.0;
                if length < 1e-9 {
                    break;
                }
            }
            if length < 1e-9 {
                break;
            }
        }
        let precision = hessian(&mean);
        Self { mean, precision }
    }

    /// Squared distance from the belief's mean in units of its spread.
    fn distance(&self, mean: &[f64]) -> f64 {
        let k = mean.len();
        let off: Vec<f64> = mean.iter().zip(&self.mean).map(|(a, b)| a - b).collect();
        (0..k).map(|i| (0..k).map(|j| off[i] * self.precision[(i, j)] * off[j]).sum::<f64>()).sum()
    }

    /// Standard deviation of every deviation; NaN where the precision is not definite.
    pub fn sd(&self) -> Vec<f64> {
        let k = self.mean.len();
        let Some(factor) = cholesky(&self.precision) else { return vec![f64::NAN; k] };
        (0..k)
            .map(|j| {
                let mut unit = vec![0.0; k];
                unit[j] = 1.0;
                solve(&factor, &unit)[j].sqrt()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(value: &serde_json::Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    }

    fn fixture() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/fixtures/personalize/weights.json")).unwrap()
    }

    #[test]
    fn own_coefficients_and_shrunk_weights_equal_the_fixture() {
        let fixture = fixture();
        let tau = numbers(&fixture["tau"]);
        for annotator in fixture["annotators"].as_array().unwrap() {
            let [z, y, offset] = ["z", "y", "offset"].map(|name| numbers(&annotator[name]));
            let first: Vec<f64> = z.iter().step_by(2).copied().collect();
            let (own, variance) = own_coefficient(&first, &y, &offset).unwrap();
            let expected = annotator["own"].as_f64().unwrap();
            assert!((own - expected).abs() < 1e-5, "{own} where the fixture has {expected}");
            assert!((variance - annotator["own_variance"].as_f64().unwrap()).abs() < 1e-9);
            let belief = Belief::prior(&tau).update(&z, &y, &offset);
            for (ours, theirs) in belief.mean.iter().zip(numbers(&annotator["shrunk"])) {
                assert!((ours - theirs).abs() < 1e-6, "{ours} where the fixture has {theirs}");
            }
            for (ours, theirs) in belief.sd().iter().zip(numbers(&annotator["sd"])) {
                assert!((ours - theirs).abs() < 1e-6, "{ours} where the fixture has {theirs}");
            }
        }
    }

    #[test]
    fn a_stream_of_labels_ends_near_where_all_of_them_at_once_do() {
        let fixture = fixture();
        let tau = numbers(&fixture["tau"]);
        let annotator = &fixture["annotators"][3];
        let [z, y, offset] = ["z", "y", "offset"].map(|name| numbers(&annotator[name]));
        let at_once = Belief::prior(&tau).update(&z, &y, &offset);
        let mut belief = Belief::prior(&tau);
        for row in 0..y.len() {
            belief = belief.update(&z[2 * row..2 * row + 2], &y[row..=row], &offset[row..=row]);
        }
        for ((stream, all), sd) in belief.mean.iter().zip(&at_once.mean).zip(at_once.sd()) {
            assert!((stream - all).abs() < 0.35 * sd, "{stream} {all} ± {sd}");
        }
        for (stream, all) in belief.sd().iter().zip(at_once.sd()) {
            assert!((stream / all - 1.0).abs() < 0.1, "{stream} {all}");
        }
    }

    #[test]
    fn no_labels_leave_the_prior_and_no_room_leaves_the_population() {
        let prior = Belief::prior(&[0.5, 0.2]);
        assert_eq!(prior.update(&[], &[], &[]), prior);
        assert!((prior.sd()[0] - 0.5).abs() < 1e-12);
        let none = Belief::prior(&[0.0]).update(&[1.0; 50], &[1.0; 50], &[0.0; 50]);
        assert!(none.mean[0].abs() < 1e-6);
        assert_eq!(own_coefficient(&[0.0, 0.0], &[1.0, 0.0], &[0.0, 0.0]), None);
    }
}
