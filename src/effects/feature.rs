//! What one feature has to do with the label: β and Δwin-rate, and features taken together.

use rayon::prelude::*;

use super::logistic::{Design, Fitted, Outcome};
use super::numeric::{gather_columns, normal_p, quantile_95, sigmoid, student_p};
use super::sample::Sample;
use crate::matrix::Matrix;

/// What is held constant when a feature's effect is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Control {
    /// The word-count difference of the two responses.
    #[default]
    Length,
    /// Nothing; for features that are themselves about length.
    Nothing,
}

/// A feature's association with the label. Figures are NaN where there is no estimate.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Effect {
    /// How the fit of β ended.
    pub outcome: Outcome,
    /// Judgements used.
    pub n: usize,
    /// Share of the judged pairs with z ≠ 0.
    pub prevalence: f64,
    /// Log-odds per standard deviation of z, the control held constant.
    pub beta: f64,
    /// Standard error of β by maximum likelihood.
    pub beta_se: f64,
    /// Two-sided p-value of β by maximum likelihood (Wald, normal).
    pub beta_p: f64,
    /// Cluster-robust standard error of β.
    pub beta_se_clustered: f64,
    /// Two-sided p-value of β with the clustered error (t, fewest clusters − 1 degrees of freedom).
    pub beta_p_clustered: f64,
    /// How the win rate moves.
    pub win: WinDelta,
}

/// How much more often the side with more of a feature wins, the control held constant.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct WinDelta {
    /// How the fit ended.
    pub outcome: Outcome,
    /// Change of the win rate, −1 to 1.
    pub value: f64,
    /// Clustered standard error.
    pub se: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Two-sided p-value of no change.
    pub p: f64,
    /// Judgements used: those of pairs with z ≠ 0.
    pub n: usize,
}

/// A feature's effect among others, all in one fit. Figures are NaN where there is no estimate.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Conditional {
    /// Column of the matrix.
    pub feature: usize,
    /// How the fit of this column ended.
    pub outcome: Outcome,
    /// Log-odds per standard deviation of z, the other features and the control held constant.
    pub beta: f64,
    /// Standard error of β by maximum likelihood.
    pub beta_se: f64,
    /// Two-sided p-value of β by maximum likelihood.
    pub beta_p: f64,
    /// Cluster-robust standard error of β.
    pub beta_se_clustered: f64,
    /// Two-sided p-value of β with the clustered error.
    pub beta_p_clustered: f64,
}

/// The effect of every column of `matrix` (`[pairs, features]`) by itself, in parallel.
///
/// β is the coefficient of P(y = 1) = σ(α + β·z + γ·ℓ), z and the length difference ℓ standardised
/// over the sample (divisor n). Δwin-rate is described at [`feature_effect`]. A feature that cannot
/// be estimated says why and disturbs no other.
pub fn feature_effects(matrix: &Matrix, sample: &Sample, control: Control) -> Vec<Effect> {
    if sample.is_empty() {
        return (0..matrix.cols).map(|_| feature_effect(&[], sample, control)).collect();
    }
    gather_columns(matrix, sample.row())
        .par_chunks_exact(sample.len())
        .map(|z| feature_effect(z, sample, control))
        .collect()
}

/// The effect of one feature from its value at every judgement, `[judgements]`.
///
/// Δwin-rate leaves out judgements with z = 0, puts D = 1 where z > 0 and 0 else in the place of z,
/// fits again, and averages σ(α + β + γℓ) − σ(α + γℓ) over the judgements left. Its interval is the
/// clustered delta method over everything that varies: the coefficients and the average.
pub fn feature_effect(z: &[f32], sample: &Sample, control: Control) -> Effect {
    let none = |outcome| Effect {
        outcome,
        n: sample.len(),
        prevalence: sample.prevalence(z),
        beta: f64::NAN,
        beta_se: f64::NAN,
        beta_p: f64::NAN,
        beta_se_clustered: f64::NAN,
        beta_p_clustered: f64::NAN,
        win: WinDelta::none(outcome, z.iter().filter(|&&z| z != 0.0).count()),
    };
    if z.len() != sample.len() || !z.iter().all(|z| z.is_finite()) {
        return none(Outcome::NotFinite);
    }
    if sample.is_empty() {
        return none(Outcome::TooFewRows);
    }
    let design = compress(z, sample, control);
    if let Some(&(_, outcome)) = design.dropped.iter().find(|(index, _)| *index == Z) {
        return none(outcome);
    }
    let fitted = design.fit();
    let win = win_delta(z, sample, control);
    if !fitted.outcome.has_estimate() {
        return Effect { win, ..none(fitted.outcome) };
    }
    let at = fitted.beta.len() - 1;
    let beta = fitted.beta[at];
    let beta_se = fitted.covariance[(at, at)].sqrt();
    let line = Line::new(&design, &fitted);
    // One influence value per judgement: its share in β's deviation from the truth.
    let weights: Vec<f64> = (0..=at).map(|j| fitted.covariance[(at, j)]).collect();
    let by_length: Vec<(f64, f64)> = (sample.lengths.value.iter())
        .map(|&length| (line.eta(length, 0.0), line.combine(&weights, length, 0.0)))
        .map(|(eta, influence)| (sigmoid(eta), influence))
        .collect();
    let slope = weights[at] / line.z.1;
    let influence: Vec<f64> = (z.iter().zip(sample.y()).zip(&sample.lengths.group))
        .map(|((&z, y), &group)| {
            let (p, base) = by_length[group as usize];
            if z == 0.0 {
                return base * (y - p);
            }
            let z = f64::from(z);
            (base + slope * z) * (y - sigmoid(line.eta(sample.lengths.value[group as usize], z)))
        })
        .collect();
    let (beta_se_clustered, df) = sample
        .clusters()
        .variance(None, &influence, at + 1)
        .map_or((f64::NAN, f64::NAN), |(variance, df)| (variance.sqrt(), df));
    Effect {
        outcome: fitted.outcome,
        n: sample.len(),
        prevalence: sample.prevalence(z),
        beta,
        beta_se,
        beta_p: normal_p(beta / beta_se),
        beta_se_clustered,
        beta_p_clustered: student_p(beta / beta_se_clustered, df),
        win,
    }
}

/// The effects of several columns of `matrix` in one fit, with the control.
///
/// Features that the control or earlier ones determine are left out and say so.
pub fn conditional_effects(
    matrix: &Matrix,
    features: &[usize],
    sample: &Sample,
    control: Control,
) -> Vec<Conditional> {
    let controls = usize::from(control == Control::Length);
    let design = design_of(matrix, features, sample, control);
    let fitted = design.fit();
    let robust = fitted.robust(sample.clusters(), &design.scores(&fitted), None);
    let estimate = |(index, &feature): (usize, &usize)| {
        let kept = design.kept.iter().position(|&(kept, ..)| kept == index + controls);
        let dropped = design.dropped.iter().find(|&&(dropped, _)| dropped == index + controls);
        let (beta, variance, clustered) = match kept {
            Some(at) if fitted.outcome.has_estimate() => {
                let at = at + 1;
                let clustered = robust.as_ref().map_or(f64::NAN, |robust| robust.covariance[(at, at)]);
                (fitted.beta[at], fitted.covariance[(at, at)], clustered)
            }
            _ => (f64::NAN, f64::NAN, f64::NAN),
        };
        Conditional {
            feature,
            outcome: dropped.map_or(fitted.outcome, |&(_, outcome)| outcome),
            beta,
            beta_se: variance.sqrt(),
            beta_p: normal_p(beta / variance.sqrt()),
            beta_se_clustered: clustered.sqrt(),
            beta_p_clustered: robust
                .as_ref()
                .map_or(f64::NAN, |robust| student_p(beta / clustered.sqrt(), robust.df)),
        }
    };
    features.iter().enumerate().map(estimate).collect()
}

/// Position of the control and of the feature among a design's columns: the control comes first, so
/// that a feature which equals it is the one left out.
const CONTROL: usize = 0;
const Z: usize = 1;

/// The control column, constant (and so left out) when nothing is controlled for.
fn control_column(lengths: impl Iterator<Item = f64>, control: Control) -> Vec<f64> {
    match control {
        Control::Length => lengths.collect(),
        Control::Nothing => lengths.map(|_| 0.0).collect(),
    }
}

/// The design of one feature, the judgements with z = 0 summed up by length difference.
///
/// Such judgements have equal rows, so the likelihood stays the same; a sparse feature then costs
/// its active judgements and a few hundred groups instead of the whole sample.
fn compress(z: &[f32], sample: &Sample, control: Control) -> Design {
    let lengths = &sample.lengths;
    let (mut weight, mut success) = (lengths.weight.clone(), lengths.success.clone());
    let active: Vec<usize> = (0..z.len()).filter(|&row| z[row] != 0.0).collect();
    for &row in &active {
        let group = lengths.group[row] as usize;
        weight[group] -= 1.0;
        success[group] -= sample.y()[row];
    }
    let groups: Vec<usize> = (0..weight.len()).filter(|&group| weight[group] > 0.5).collect();
    let length = (groups.iter().map(|&group| lengths.value[group]))
        .chain(active.iter().map(|&row| sample.length()[row]));
    let feature: Vec<f64> =
        (groups.iter().map(|_| 0.0)).chain(active.iter().map(|&row| f64::from(z[row]))).collect();
    let columns = [control_column(length, control), feature];
    // Differences of sums of soft labels can miss 0 and the weight by rounding.
    let left = |&group: &usize| {
        let (s, w) = (success[group], weight[group]);
        let exact = if s < 1e-9 { 0.0 } else { s };
        if w - exact < 1e-9 { w } else { exact }
    };
    let success: Vec<f64> =
        groups.iter().map(left).chain(active.iter().map(|&row| sample.y()[row])).collect();
    let weight = groups.iter().map(|&group| weight[group]).chain(active.iter().map(|_| 1.0)).collect();
    Design::new(&columns, success, weight)
}

/// A fitted logit as a function of the raw length difference and the raw feature.
struct Line {
    intercept: f64,
    length: f64,
    feature: f64,
    /// Mean and standard deviation of the control, where it is in the fit.
    control: Option<(f64, f64)>,
    /// Mean and standard deviation of the feature.
    z: (f64, f64),
}

impl Line {
    fn new(design: &Design, fitted: &Fitted) -> Self {
        let mut line =
            Self { intercept: fitted.beta[0], length: 0.0, feature: 0.0, control: None, z: (0.0, 1.0) };
        for (&(index, mean, sd), &beta) in design.kept.iter().zip(&fitted.beta[1..]) {
            line.intercept -= beta * mean / sd;
            if index == CONTROL {
                line.length = beta / sd;
                line.control = Some((mean, sd));
            } else {
                line.feature = beta / sd;
                line.z = (mean, sd);
            }
        }
        line
    }

    fn eta(&self, length: f64, z: f64) -> f64 {
        self.intercept + self.length * length + self.feature * z
    }

    /// Σ weightⱼ·xⱼ over the standardised design row (1, ℓ̃, z̃) as far as its columns are in the fit.
    fn combine(&self, weights: &[f64], length: f64, z: f64) -> f64 {
        let z = (z - self.z.0) / self.z.1;
        match (self.control, weights) {
            (Some((mean, sd)), &[one, control, feature]) => {
                one + control * (length - mean) / sd + feature * z
            }
            (None, &[one, feature]) => one + feature * z,
            _ => f64::NAN,
        }
    }
}

/// Δwin-rate; see [`feature_effect`].
fn win_delta(z: &[f32], sample: &Sample, control: Control) -> WinDelta {
    win_influence(z, sample, control).0
}

/// Δwin-rate, and what each judgement with z ≠ 0 adds to its deviation from the truth; nothing where there
/// is no estimate.
pub(crate) fn win_influence(z: &[f32], sample: &Sample, control: Control) -> (WinDelta, Vec<(u32, f64)>) {
    let lengths = &sample.lengths;
    let rows: Vec<u32> = (0..z.len() as u32).filter(|&row| z[row as usize] != 0.0).collect();
    let n = rows.len();
    // Equal design rows summed up: one cell per length difference and D.
    let mut cells = vec![(0.0, 0.0); 2 * lengths.value.len()];
    let cell = |row: u32| 2 * lengths.group[row as usize] as usize + usize::from(z[row as usize] > 0.0);
    for &row in &rows {
        let (weight, success) = &mut cells[cell(row)];
        *weight += 1.0;
        *success += sample.y()[row as usize];
    }
    let used: Vec<usize> = (0..cells.len()).filter(|&at| cells[at].0 > 0.0).collect();
    let columns = [
        control_column(used.iter().map(|&at| lengths.value[at / 2]), control),
        used.iter().map(|&at| (at % 2) as f64).collect(),
    ];
    let weight: Vec<f64> = used.iter().map(|&at| cells[at].0).collect();
    let success = used.iter().map(|&at| cells[at].1).collect();
    let design = Design::new(&columns, success, weight.clone());
    if let Some(&(_, outcome)) = design.dropped.iter().find(|(index, _)| *index == Z) {
        return (WinDelta::none(if n == 0 { Outcome::TooFewRows } else { outcome }, n), Vec::new());
    }
    let fitted = design.fit();
    if !fitted.outcome.has_estimate() {
        return (WinDelta::none(fitted.outcome, n), Vec::new());
    }
    let line = Line::new(&design, &fitted);
    let k = fitted.beta.len();
    let total = n as f64;

    // The average difference and its derivative by the coefficients.
    let unit = |j: usize| -> Vec<f64> { (0..k).map(|i| f64::from(u8::from(i == j))).collect() };
    let units: Vec<Vec<f64>> = (0..k).map(unit).collect();
    let mut value = 0.0;
    let mut derivative = vec![0.0; k];
    for (&at, w) in used.iter().zip(&weight) {
        let length = lengths.value[at / 2];
        let (p1, p0) = (sigmoid(line.eta(length, 1.0)), sigmoid(line.eta(length, 0.0)));
        value += w / total * (p1 - p0);
        for (derivative, unit) in derivative.iter_mut().zip(&units) {
            let (x1, x0) = (line.combine(unit, length, 1.0), line.combine(unit, length, 0.0));
            *derivative += w / total * (p1 * (1.0 - p1) * x1 - p0 * (1.0 - p0) * x0);
        }
    }
    let weights: Vec<f64> =
        (0..k).map(|j| (0..k).map(|i| derivative[i] * fitted.covariance[(i, j)]).sum()).collect();

    // What one judgement adds to the estimate's deviation: through the average and through the fit.
    let mut deviation = vec![(0.0, 0.0, 0.0); cells.len()];
    let mut spread = 0.0;
    for (&at, w) in used.iter().zip(&weight) {
        let (length, d) = (lengths.value[at / 2], (at % 2) as f64);
        let gap = sigmoid(line.eta(length, 1.0)) - sigmoid(line.eta(length, 0.0)) - value;
        deviation[at] = (gap / total, line.combine(&weights, length, d), sigmoid(line.eta(length, d)));
        spread += w * (gap / total).powi(2);
    }
    let influence: Vec<f64> = rows
        .iter()
        .map(|&row| {
            let (average, fit, p) = deviation[cell(row)];
            average + fit * (sample.y()[row as usize] - p)
        })
        .collect();
    let by_model: f64 = spread + weights.iter().zip(&derivative).map(|(w, d)| w * d).sum::<f64>();
    let robust = sample.clusters().variance(Some(&rows), &influence, k);
    let win = WinDelta::new(fitted.outcome, value, robust, by_model, n);
    (win, rows.into_iter().zip(influence).collect())
}

/// What a fit of the columns `inside` and the control leaves of each label: y − p̂, and p̂(1 − p̂).
///
/// `None` where nothing can be fitted.
pub fn unexplained(
    matrix: &Matrix,
    inside: &[usize],
    sample: &Sample,
    control: Control,
) -> Option<(Vec<f64>, Vec<f64>)> {
    let design = design_of(matrix, inside, sample, control);
    let fitted = design.fit();
    let estimate = fitted.outcome.has_estimate();
    estimate.then(|| (design.residuals(&fitted.beta), design.curvature(&fitted)))
}

/// The control and the columns `inside` of `matrix` at every judgement.
fn design_of(matrix: &Matrix, inside: &[usize], sample: &Sample, control: Control) -> Design {
    let controls = usize::from(control == Control::Length);
    let mut columns = vec![sample.length().to_vec(); controls];
    columns.extend(inside.iter().map(|&feature| {
        let value = |&row: &u32| {
            matrix.values.get(row as usize * matrix.cols + feature).filter(|_| feature < matrix.cols)
        };
        sample.row().iter().map(|row| value(row).map_or(f64::NAN, |&z| f64::from(z))).collect()
    }));
    Design::new(&columns, sample.y().to_vec(), vec![1.0; sample.len()])
}

/// For every column of `matrix`, the score test of adding it to a fit of the columns `inside` and the
/// control: a z-value, its sign that of the column's coefficient, 0 where it would add nothing.
///
/// One fit serves all columns, so this is how to ask which one to try next.
pub fn score_tests(matrix: &Matrix, inside: &[usize], sample: &Sample, control: Control) -> Vec<f64> {
    let n = sample.len();
    if n == 0 {
        return vec![0.0; matrix.cols];
    }
    let columns = gather_columns(matrix, sample.row());
    let design = design_of(matrix, inside, sample, control);
    let fitted = design.fit();
    if !fitted.outcome.has_estimate() {
        return vec![0.0; matrix.cols];
    }
    let curvature = design.curvature(&fitted);
    let residuals = design.residuals(&fitted.beta);
    columns
        .par_chunks_exact(n)
        .map(|z| {
            // The sum of a column with a gap is not finite; so is its test, and that is no test.
            let score: f64 = z.iter().zip(&residuals).map(|(&z, r)| f64::from(z) * r).sum();
            let weighted: Vec<f64> = z.iter().zip(&curvature).map(|(&z, v)| f64::from(z) * v).collect();
            let own: f64 = z.iter().zip(&weighted).map(|(&z, w)| f64::from(z) * w).sum();
            let shared = design.products(&weighted);
            let explained: f64 = (0..shared.len())
                .map(|i| {
                    (0..shared.len()).map(|j| fitted.covariance[(i, j)] * shared[j]).sum::<f64>() * shared[i]
                })
                .sum();
            let left = own - explained;
            if left > 1e-9 * own { score / left.sqrt() } else { 0.0 }
        })
        .map(|z| if z.is_finite() { z } else { 0.0 })
        .collect()
}

/// The Δwin-rates of several columns of `matrix`, each with the others and the control held fixed.
///
/// As in [`feature_effect`], but the fit over the judgements where a feature is active holds the other
/// features, too. Features that the others determine there have no estimate.
pub fn conditional_win_deltas(
    matrix: &Matrix,
    features: &[usize],
    sample: &Sample,
    control: Control,
) -> Vec<WinDelta> {
    let value = |row: u32, feature: usize| {
        let at = row as usize * matrix.cols + feature;
        matrix.values.get(at).filter(|_| feature < matrix.cols).map_or(f64::NAN, |&z| f64::from(z))
    };
    features
        .par_iter()
        .map(|&feature| {
            let rows: Vec<u32> = (0..sample.len() as u32)
                .filter(|&at| value(sample.row()[at as usize], feature) != 0.0)
                .collect();
            let column = |get: &dyn Fn(u32) -> f64| rows.iter().map(|&at| get(at)).collect::<Vec<f64>>();
            let mut columns = Vec::with_capacity(features.len() + 1);
            if control == Control::Length {
                columns.push(column(&|at| sample.length()[at as usize]));
            }
            for &other in features.iter().filter(|&&other| other != feature) {
                columns.push(column(&|at| value(sample.row()[at as usize], other)));
            }
            let last = columns.len();
            columns.push(column(&|at| f64::from(u8::from(value(sample.row()[at as usize], feature) > 0.0))));
            let y = column(&|at| sample.y()[at as usize]);
            let design = Design::new(&columns, y, vec![1.0; rows.len()]);
            drop(columns);
            let Some(at) = design.kept.iter().position(|&(index, ..)| index == last) else {
                let why =
                    design.dropped.iter().find(|(index, _)| *index == last).map(|&(_, outcome)| outcome);
                return WinDelta::none(why.unwrap_or(Outcome::TooFewRows), rows.len());
            };
            let fitted = design.fit();
            if !fitted.outcome.has_estimate() {
                return WinDelta::none(fitted.outcome, rows.len());
            }
            let switch = design.switch(&fitted, at);
            let robust = sample.clusters().variance(Some(&rows), &switch.influence, fitted.beta.len());
            WinDelta::new(fitted.outcome, switch.value, robust, switch.by_model, rows.len())
        })
        .collect()
}

impl WinDelta {
    /// From the cluster-robust variance with its degrees of freedom, where there is one.
    fn new(outcome: Outcome, value: f64, robust: Option<(f64, f64)>, by_model: f64, n: usize) -> Self {
        let (variance, df) = match robust {
            // Where an arm has one label only, its residuals say nothing about how sure that is.
            Some((variance, df)) if outcome == Outcome::Fitted => (variance, Some(df)),
            Some((variance, df)) => (variance.max(by_model), Some(df)),
            None => (by_model, None),
        };
        let se = variance.sqrt();
        let half = quantile_95(df) * se;
        Self {
            outcome,
            value,
            se,
            low: (value - half).max(-1.0),
            high: (value + half).min(1.0),
            p: df.map_or_else(|| normal_p(value / se), |df| student_p(value / se, df)),
            n,
        }
    }

    fn none(outcome: Outcome, n: usize) -> Self {
        let nan = f64::NAN;
        Self { outcome, value: nan, se: nan, low: nan, high: nan, p: nan, n }
    }
}
