//! Logistic regression by maximum likelihood, for small dense designs.
//!
//! Newton's method on standardised columns, with step halving. Columns that cannot be estimated are
//! left out by name, separation is proved by its direction and answered with Firth's bounded
//! estimate, and everything that can go wrong is an outcome, not an error.

use std::ops::Range;

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::solvers::{DenseSolveCore, Llt, Solve};
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;

use super::clusters::{Clusters, Influence, repair};
use super::numeric::{
    LANES, add_scaled, dot, logistic_block, mean_sd, normal_p, sigmoid, student_p, vectorised,
};
use crate::matrix::Matrix;

/// Rows that are worked on at once: they fit into the nearest cache.
const BLOCK: usize = 512;
/// Rows per parallel task; fixed, so that sums do not depend on the number of threads.
const TASK: usize = 16 * BLOCK;
/// A column is collinear when the columns before it leave less than this share of its variance.
const COLLINEAR: f64 = 1e-10;
/// Coefficients up to which a fit's leverages are computed row by row.
const NARROW: usize = 16;
/// Newton steps before giving up; separated fits are recognised long before.
const MAX_STEPS: usize = 80;

/// How a fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The maximum-likelihood estimate.
    Fitted,
    /// Some combination of the columns predicts every label; the estimate is Firth's, which is finite.
    Separated,
    /// Some combination predicts the labels of all rows but those on its edge; the estimate is Firth's.
    QuasiSeparated,
    /// Newton's method did not settle; the estimate is Firth's.
    NotConverged,
    /// The column never varies: no estimate.
    Constant,
    /// The columns before it determine the column: no estimate.
    Collinear,
    /// All labels are the same: no estimate.
    OneClass,
    /// Fewer rows than an estimate needs: no estimate.
    TooFewRows,
    /// A value is missing or infinite: no estimate.
    NotFinite,
}

impl Outcome {
    /// Whether there are figures at all.
    pub fn has_estimate(self) -> bool {
        matches!(self, Self::Fitted | Self::Separated | Self::QuasiSeparated | Self::NotConverged)
    }

    /// What a reader should know; `None` where all is well.
    pub fn note(self) -> Option<&'static str> {
        Some(match self {
            Self::Fitted => return None,
            Self::Separated => "predicts every label, so only a bounded estimate (Firth) is given",
            Self::QuasiSeparated => {
                "one side always has the same label, so only a bounded estimate (Firth) is given"
            }
            Self::NotConverged => "the fit did not settle, so only a bounded estimate (Firth) is given",
            Self::Constant => "never varies",
            Self::Collinear => "cannot be told apart from the control or the features before it",
            Self::OneClass => "all labels are the same",
            Self::TooFewRows => "too few labelled pairs",
            Self::NotFinite => "has missing or infinite values",
        })
    }
}

/// A named column of a design.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// What reports call it.
    pub name: &'a str,
    /// One value per row.
    pub values: &'a [f64],
}

/// One estimated coefficient.
#[derive(Debug, Clone, PartialEq)]
pub struct Coefficient {
    /// The column's name; `intercept` for the first.
    pub name: String,
    /// How this column ended: figures are NaN unless [`Outcome::has_estimate`].
    pub outcome: Outcome,
    /// Log-odds per unit of the column.
    pub value: f64,
    /// Standard error from the information matrix.
    pub se: f64,
    /// Two-sided p-value of `value / se` under the normal distribution.
    pub p: f64,
    /// Cluster-robust standard error; NaN where there are fewer than two clusters.
    pub se_clustered: f64,
    /// Two-sided p-value of `value / se_clustered` under t with clusters − 1 degrees of freedom.
    pub p_clustered: f64,
    /// Standard deviation of the column (divisor n); `value · sd` is the effect of one SD.
    pub sd: f64,
}

/// A fitted logistic regression.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The intercept, then every column in the order given.
    pub coefficients: Vec<Coefficient>,
    /// How the fit as a whole ended.
    pub outcome: Outcome,
    /// Log-likelihood at the estimate (without Firth's penalty).
    pub log_likelihood: f64,
    /// Covariance of the estimated coefficients, in their order, without those that were left out.
    pub covariance: Mat<f64>,
    /// The cluster-robust covariance, where clusters were given and there are at least two.
    pub covariance_clustered: Option<Mat<f64>>,
    /// Newton steps taken.
    pub iterations: usize,
}

/// Fits P(y = 1) = σ(intercept + columns·β) by maximum likelihood.
///
/// `y` lies between 0 and 1 (soft labels: fractional logit). Columns that are constant or that the
/// columns before them determine are left out and say so. Agrees with statsmodels' `Logit`, the
/// clustered figures with its `cov_type="cluster"` and `use_t=True`.
pub fn fit(columns: &[Column<'_>], y: &[f64], clusters: Option<&Clusters>) -> Fit {
    let n = y.len();
    let values: Vec<Vec<f64>> = columns
        .iter()
        .map(|column| (0..n).map(|row| column.values.get(row).copied().unwrap_or(f64::NAN)).collect())
        .collect();
    let design = Design::new(&values, y.to_vec(), vec![1.0; n]);
    let fitted = design.fit();
    let robust = clusters.and_then(|clusters| fitted.robust(clusters, &design.scores(&fitted), None));
    // Undoes the standardisation: β = β̃/sd, and the intercept takes the means.
    let k = design.kept.len() + 1;
    let mut back = Mat::<f64>::zeros(k, k);
    back[(0, 0)] = 1.0;
    for (j, &(_, mean, sd)) in design.kept.iter().enumerate() {
        back[(j + 1, j + 1)] = 1.0 / sd;
        back[(0, j + 1)] = -mean / sd;
    }
    let raw = |covariance: &Mat<f64>| &back * covariance * back.transpose();
    let estimate = fitted.outcome.has_estimate();
    let value: Vec<f64> = (0..k)
        .map(|i| if estimate { (0..k).map(|j| back[(i, j)] * fitted.beta[j]).sum() } else { f64::NAN })
        .collect();
    let covariance = raw(&fitted.covariance);
    let covariance_clustered = robust.as_ref().map(|robust| raw(&robust.covariance));
    let coefficient = |name: &str, at: usize, sd: f64| {
        let se = covariance[(at, at)].sqrt();
        let se_clustered = covariance_clustered.as_ref().map_or(f64::NAN, |c| c[(at, at)].sqrt());
        Coefficient {
            name: name.to_owned(),
            outcome: fitted.outcome,
            value: value[at],
            se,
            p: normal_p(value[at] / se),
            se_clustered,
            p_clustered: robust
                .as_ref()
                .map_or(f64::NAN, |robust| student_p(value[at] / se_clustered, robust.df)),
            sd,
        }
    };
    let mut coefficients = vec![coefficient("intercept", 0, 0.0)];
    for (index, column) in columns.iter().enumerate() {
        let kept = design.kept.iter().position(|&(kept, ..)| kept == index);
        coefficients.push(match (kept, design.dropped.iter().find(|(dropped, _)| *dropped == index)) {
            (Some(at), _) => coefficient(column.name, at + 1, design.kept[at].2),
            (None, dropped) => Coefficient {
                name: column.name.to_owned(),
                outcome: dropped.map_or(fitted.outcome, |&(_, outcome)| outcome),
                value: f64::NAN,
                se: f64::NAN,
                p: f64::NAN,
                se_clustered: f64::NAN,
                p_clustered: f64::NAN,
                sd: f64::NAN,
            },
        });
    }
    Fit {
        coefficients,
        outcome: fitted.outcome,
        log_likelihood: fitted.log_likelihood,
        covariance,
        covariance_clustered,
        iterations: fitted.iterations,
    }
}

/// A design ready to fit: an intercept and standardised columns, linearly independent.
#[derive(Clone)]
pub(crate) struct Design {
    /// Column-major, `[rows, 1 + kept]`; the first column is ones.
    values: Vec<f64>,
    /// Rows of the Cholesky factor of the kept columns' correlation matrix.
    factor: Vec<Vec<f64>>,
    /// Columns looked at so far.
    seen: usize,
    /// Σ of the labels that a row stands for.
    success: Vec<f64>,
    /// Number of judgements that a row stands for.
    weight: Vec<f64>,
    /// The kept columns: index in the input, mean, standard deviation.
    pub(crate) kept: Vec<(usize, f64, f64)>,
    /// The columns left out: index in the input, reason.
    pub(crate) dropped: Vec<(usize, Outcome)>,
}

/// An estimate on the standardised scale.
pub(crate) struct Fitted {
    pub(crate) outcome: Outcome,
    /// Intercept first; empty without an estimate.
    pub(crate) beta: Vec<f64>,
    /// Inverse information, `[k, k]`; NaN without an estimate.
    pub(crate) covariance: Mat<f64>,
    pub(crate) log_likelihood: f64,
    iterations: usize,
}

/// A cluster-robust covariance and the degrees of freedom to use with it.
pub(crate) struct Robust {
    pub(crate) covariance: Mat<f64>,
    pub(crate) df: f64,
}

/// Log-likelihood and its derivatives at some coefficients.
pub(crate) struct Evaluation {
    pub(crate) log_likelihood: f64,
    pub(crate) gradient: Vec<f64>,
    /// Negative Hessian = information, `[k, k]`.
    pub(crate) information: Mat<f64>,
}

impl Design {
    /// Standardises `columns` and leaves out what cannot be estimated; earlier columns take precedence.
    pub(crate) fn new(columns: &[Vec<f64>], success: Vec<f64>, weight: Vec<f64>) -> Self {
        let n = success.len();
        let mut design = Self {
            values: vec![1.0; n],
            factor: Vec::new(),
            seen: 0,
            success,
            weight,
            kept: Vec::new(),
            dropped: Vec::new(),
        };
        columns.iter().for_each(|column| design.push(column));
        design
    }

    /// The same design with one more column.
    pub(crate) fn with(&self, column: &[f64]) -> Self {
        let mut design = self.clone();
        design.push(column);
        design
    }

    /// Standardises a column and keeps it, or says why not.
    fn push(&mut self, column: &[f64]) {
        let n = self.rows();
        let index = self.seen;
        self.seen += 1;
        if !column.iter().all(|x| x.is_finite()) {
            self.dropped.push((index, Outcome::NotFinite));
            return;
        }
        let (mean, sd) = mean_sd(column.iter().copied().zip(self.weight.iter().copied()));
        let first = column.first().copied().unwrap_or(0.0);
        if column.iter().all(|&x| x == first) || sd <= 1e-13 * mean.abs() || !sd.is_normal() {
            self.dropped.push((index, Outcome::Constant));
            return;
        }
        let total: f64 = self.weight.iter().sum();
        let start = self.values.len();
        self.values.extend(column.iter().map(|x| (x - mean) / sd));
        let (before, new) = self.values.split_at(start);
        let weighted: Vec<f64> = new.iter().zip(&self.weight).map(|(x, w)| x * w / total).collect();
        let mut row: Vec<f64> = Vec::with_capacity(self.factor.len() + 1);
        for (earlier, column) in self.factor.iter().zip(before.chunks_exact(n).skip(1)) {
            let correlation = vectorised(
                #[inline(always)]
                || dot(column, &weighted),
            );
            let projected: f64 = earlier.iter().zip(&row).map(|(a, b)| a * b).sum();
            row.push((correlation - projected) / earlier[row.len()]);
        }
        let left = 1.0 - row.iter().map(|x| x * x).sum::<f64>();
        if left < COLLINEAR {
            self.values.truncate(start);
            self.dropped.push((index, Outcome::Collinear));
        } else {
            row.push(left.sqrt());
            self.factor.push(row);
            self.kept.push((index, mean, sd));
        }
    }

    /// A design of an intercept and columns that are standardised already, `[1 + columns, rows]`.
    pub(crate) fn standardised(values: Vec<f64>, y: Vec<f64>) -> Self {
        let n = y.len();
        let columns = (values.len() / n.max(1)).saturating_sub(1);
        let kept = (0..columns).map(|index| (index, 0.0, 1.0)).collect();
        Self {
            values,
            factor: Vec::new(),
            seen: columns,
            weight: vec![1.0; n],
            success: y,
            kept,
            dropped: Vec::new(),
        }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.success.len()
    }

    /// Number of coefficients, the intercept included.
    fn cols(&self) -> usize {
        self.kept.len() + 1
    }

    /// The rows `range` of column `j`.
    fn part(&self, j: usize, range: &Range<usize>) -> &[f64] {
        let start = j * self.rows();
        &self.values[start + range.start..start + range.end]
    }

    /// The linear predictor of some rows, into `eta`.
    #[inline(always)]
    fn predict(&self, beta: &[f64], range: &Range<usize>, eta: &mut [f64]) {
        eta.fill(0.0);
        for (j, &b) in beta.iter().enumerate() {
            if b != 0.0 {
                add_scaled(eta, b, self.part(j, range));
            }
        }
    }

    /// Calls `task` for every run of rows, in parallel where that pays; results in order.
    fn tasks<T: Send>(&self, task: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
        let n = self.rows();
        let range = |i: usize| i * TASK..n.min((i + 1) * TASK);
        let count = n.div_ceil(TASK);
        if n * self.cols() < 1 << 17 {
            (0..count).map(|i| task(range(i))).collect()
        } else {
            (0..count).into_par_iter().map(|i| task(range(i))).collect()
        }
    }

    /// Log-likelihood, gradient and information at `beta`.
    pub(crate) fn evaluate(&self, beta: &[f64]) -> Evaluation {
        let k = self.cols();
        let parts = self.tasks(|range| self.evaluate_rows(beta, range));
        let mut sum =
            Evaluation { log_likelihood: 0.0, gradient: vec![0.0; k], information: Mat::zeros(k, k) };
        for part in parts {
            sum.log_likelihood += part.log_likelihood;
            add_scaled(&mut sum.gradient, 1.0, &part.gradient);
            sum.information += part.information;
        }
        for j in 0..k {
            for i in 0..j {
                sum.information[(i, j)] = sum.information[(j, i)];
            }
        }
        sum
    }

    fn evaluate_rows(&self, beta: &[f64], rows: Range<usize>) -> Evaluation {
        let (n, k) = (self.rows(), self.cols());
        let (mut eta, mut curvature) = ([0.0; BLOCK], [0.0; BLOCK]);
        let mut scaled = vec![0.0; BLOCK * k];
        let mut out =
            Evaluation { log_likelihood: 0.0, gradient: vec![0.0; k], information: Mat::zeros(k, k) };
        for start in rows.clone().step_by(BLOCK) {
            let range = start..rows.end.min(start + BLOCK);
            let len = range.len();
            vectorised(
                #[inline(always)]
                || {
                    let (eta, curvature) = (&mut eta[..len], &mut curvature[..len]);
                    self.predict(beta, &range, eta);
                    out.log_likelihood += logistic_block(
                        eta,
                        &self.success[range.clone()],
                        &self.weight[range.clone()],
                        curvature,
                    );
                    for j in 0..k {
                        let column = self.part(j, &range);
                        out.gradient[j] += dot(column, eta);
                        let scaled = &mut scaled[j * len..(j + 1) * len];
                        for ((scaled, x), v) in scaled.iter_mut().zip(column).zip(curvature.iter()) {
                            *scaled = x * v;
                        }
                        if k <= 8 {
                            for i in 0..=j {
                                out.information[(j, i)] += dot(scaled, self.part(i, &range));
                            }
                        }
                    }
                },
            );
            if k > 8 {
                let scaled = MatRef::from_column_major_slice(&scaled[..len * k], len, k);
                let columns = MatRef::from_column_major_slice_with_stride(
                    &self.values[start..(k - 1) * n + range.end],
                    len,
                    k,
                    n,
                );
                matmul(
                    &mut out.information,
                    BlockStructure::TriangularLower,
                    Accum::Add,
                    scaled.transpose(),
                    BlockStructure::Rectangular,
                    columns,
                    BlockStructure::Rectangular,
                    1.0,
                    Par::Seq,
                );
            }
        }
        out
    }

    /// The maximum-likelihood estimate, or Firth's where there is none.
    pub(crate) fn fit(&self) -> Fitted {
        let k = self.cols();
        let total: f64 = self.weight.iter().sum();
        let positive: f64 = self.success.iter().sum();
        let none = |outcome| Fitted {
            outcome,
            beta: Vec::new(),
            covariance: Mat::full(k, k, f64::NAN),
            log_likelihood: f64::NAN,
            iterations: 0,
        };
        if total <= k as f64 {
            return none(Outcome::TooFewRows);
        }
        if !positive.is_finite() {
            return none(Outcome::NotFinite);
        }
        if positive <= 0.0 || positive >= total {
            return none(Outcome::OneClass);
        }
        let mut beta = vec![0.0; k];
        beta[0] = (positive / (total - positive)).ln();
        self.newton(beta.clone())
            .unwrap_or_else(|outcome| self.firth(beta, outcome).unwrap_or_else(|| none(Outcome::Collinear)))
    }

    /// Newton's method; fails with the reason when there is no finite maximum.
    fn newton(&self, mut beta: Vec<f64>) -> Result<Fitted, Outcome> {
        let mut at = self.evaluate(&beta);
        let mut step = vec![0.0; beta.len()];
        for iteration in 1..=MAX_STEPS {
            let Some(factor) = cholesky(&at.information) else {
                return Err(self.separated_along(&step).unwrap_or(Outcome::NotConverged));
            };
            step = solve(&factor, &at.gradient);
            let size = step.iter().fold(0.0_f64, |max, s| max.max(s.abs()));
            let scale = beta.iter().fold(1.0_f64, |max, b| max.max(b.abs()));
            if size <= 1e-8 * scale {
                // Quadratic convergence: the error after this step is of the order of its square.
                add_scaled(&mut beta, 1.0, &step);
                return Ok(Fitted {
                    outcome: Outcome::Fitted,
                    beta,
                    covariance: factor.inverse(),
                    log_likelihood: at.log_likelihood,
                    iterations: iteration,
                });
            }
            // A finite maximum is reached long before this; towards an infinite one, steps keep
            // their size and turn into its direction.
            if iteration >= 12
                && iteration % 4 == 0
                && let Some(outcome) = self.separated_along(&step)
            {
                return Err(outcome);
            }
            let mut length = 1.0;
            loop {
                let mut next = beta.clone();
                add_scaled(&mut next, length, &step);
                let there = self.evaluate(&next);
                if there.log_likelihood >= at.log_likelihood - 1e-12 * at.log_likelihood.abs() {
                    (beta, at) = (next, there);
                    break;
                }
                length /= 2.0;
                if length < 1e-10 {
                    return Err(self.separated_along(&step).unwrap_or(Outcome::NotConverged));
                }
            }
        }
        Err(Outcome::NotConverged)
    }

    /// Whether moving along `direction` for ever lowers no row's likelihood: then no maximum exists.
    fn separated_along(&self, direction: &[f64]) -> Option<Outcome> {
        let n = self.rows();
        let mut eta = vec![0.0; n];
        self.predict(direction, &(0..n), &mut eta);
        let edge = 1e-6 * eta.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
        if edge <= 0.0 || edge.is_nan() {
            return None;
        }
        let mut complete = true;
        for ((&eta, &s), &w) in eta.iter().zip(&self.success).zip(&self.weight) {
            let margin = if s <= 0.0 {
                -eta
            } else if s >= w {
                eta
            } else {
                // Both labels at the same place: any move hurts one of them.
                -eta.abs()
            };
            if margin < -edge {
                return None;
            }
            complete &= margin > edge;
        }
        Some(if complete { Outcome::Separated } else { Outcome::QuasiSeparated })
    }

    /// Firth's estimate: the likelihood times Jeffreys' prior, |information|^½. It always exists.
    fn firth(&self, mut beta: Vec<f64>, outcome: Outcome) -> Option<Fitted> {
        let k = self.cols();
        let penalised = |beta: &[f64]| {
            let at = self.evaluate(beta);
            let factor = cholesky(&at.information)?;
            let half_log_det: f64 = (0..k).map(|j| factor.L()[(j, j)].ln()).sum();
            Some((at, factor, half_log_det))
        };
        let (mut at, mut factor, mut half_log_det) = penalised(&beta)?;
        for iteration in 1..=200 {
            let covariance = factor.inverse();
            // Score with Firth's correction Σ hᵢ(½ − pᵢ)xᵢ, hᵢ the leverage of row i.
            let mut score = at.gradient.clone();
            for part in self.tasks(|range| self.correction(&beta, &covariance, range)) {
                add_scaled(&mut score, 1.0, &part);
            }
            let mut step = solve(&factor, &score);
            let size = step.iter().fold(0.0_f64, |max, s| max.max(s.abs()));
            if size <= 1e-9 || iteration == 200 {
                return Some(Fitted {
                    outcome,
                    beta,
                    covariance,
                    log_likelihood: at.log_likelihood,
                    iterations: iteration,
                });
            }
            step.iter_mut().for_each(|s| *s *= (5.0 / size).min(1.0));
            let goal = at.log_likelihood + half_log_det;
            let mut length = 1.0;
            loop {
                let mut next = beta.clone();
                add_scaled(&mut next, length, &step);
                match penalised(&next) {
                    Some((there, there_factor, there_det))
                        if there.log_likelihood + there_det >= goal - 1e-12 * goal.abs() =>
                    {
                        (beta, at, factor, half_log_det) = (next, there, there_factor, there_det);
                        break;
                    }
                    _ if length < 1e-6 => {
                        return Some(Fitted {
                            outcome,
                            beta,
                            covariance,
                            log_likelihood: at.log_likelihood,
                            iterations: iteration,
                        });
                    }
                    _ => length /= 2.0,
                }
            }
        }
        None
    }

    /// Σ hᵢ(½ − pᵢ)xᵢ over some rows, hᵢ = wᵢp(1−p)·xᵢᵀ·`covariance`·xᵢ the leverage of row i.
    fn correction(&self, beta: &[f64], covariance: &Mat<f64>, rows: Range<usize>) -> Vec<f64> {
        let k = self.cols();
        let mut out = vec![0.0; k];
        let (mut eta, mut leverage, mut along) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
        for start in rows.clone().step_by(BLOCK) {
            let range = start..rows.end.min(start + BLOCK);
            let len = range.len();
            let (eta, leverage, along) = (&mut eta[..len], &mut leverage[..len], &mut along[..len]);
            vectorised(
                #[inline(always)]
                || {
                    self.predict(beta, &range, eta);
                    leverage.fill(0.0);
                    for i in 0..k {
                        along.fill(0.0);
                        (0..k).for_each(|j| add_scaled(along, covariance[(i, j)], self.part(j, &range)));
                        for ((h, a), x) in leverage.iter_mut().zip(along.iter()).zip(self.part(i, &range)) {
                            *h += a * x;
                        }
                    }
                    for ((h, &eta), w) in leverage.iter_mut().zip(eta.iter()).zip(&self.weight[range.clone()])
                    {
                        let p = sigmoid(eta);
                        *h *= w * p * sigmoid(-eta) * (0.5 - p);
                    }
                    for (j, out) in out.iter_mut().enumerate() {
                        *out += dot(self.part(j, &range), leverage);
                    }
                },
            );
        }
        out
    }

    /// The residual s − w·p of every row at `beta`.
    pub(crate) fn residuals(&self, beta: &[f64]) -> Vec<f64> {
        let parts = self.tasks(|range| {
            let mut eta = vec![0.0; range.len()];
            let mut unused = vec![0.0; range.len()];
            vectorised(
                #[inline(always)]
                || {
                    self.predict(beta, &range, &mut eta);
                    let (success, weight) = (&self.success[range.clone()], &self.weight[range.clone()]);
                    logistic_block(&mut eta, success, weight, &mut unused);
                },
            );
            eta
        });
        parts.concat()
    }

    /// w·p(1−p) of every row at the estimate.
    pub(crate) fn curvature(&self, fitted: &Fitted) -> Vec<f64> {
        let mut eta = vec![0.0; self.rows()];
        vectorised(
            #[inline(always)]
            || {
                self.predict(&fitted.beta, &(0..self.rows()), &mut eta);
                for (eta, w) in eta.iter_mut().zip(&self.weight) {
                    *eta = w * sigmoid(*eta) * sigmoid(-*eta);
                }
            },
        );
        eta
    }

    /// Xᵀ·`values` over the standardised columns, the intercept's first.
    pub(crate) fn products(&self, values: &[f64]) -> Vec<f64> {
        self.values.chunks_exact(self.rows().max(1)).map(|column| dot(column, values)).collect()
    }

    /// What the score test of each column in `features` of `matrix` is made of; `rows` are the design's rows in the
    /// matrix. One pass, and most activations are 0: they are passed over, which changes no sum.
    pub(crate) fn sums_with(
        &self,
        matrix: &Matrix,
        rows: &[u32],
        features: &[usize],
        residuals: &[f64],
        curvature: &[f64],
    ) -> Vec<Sums> {
        // The partial sums of `dot`, so that a column gives what it gives there.
        let (n, k) = (self.rows(), self.cols());
        let whole = n / LANES * LANES;
        let mut sums =
            vec![Sums { score: 0.0, own: 0.0, shared: vec![0.0; (LANES + 1) * k] }; features.len()];
        // The design's row, gathered once for all features.
        let mut x = vec![0.0; k];
        for (at, &row) in rows.iter().enumerate() {
            let mut gathered = false;
            let start = row as usize * matrix.cols;
            let values = matrix.values.get(start..start + matrix.cols).unwrap_or_default();
            let lane = if at < whole { at % LANES } else { LANES };
            for (sums, &feature) in sums.iter_mut().zip(features) {
                let z = values.get(feature).map_or(f64::NAN, |&z| f64::from(z));
                if z == 0.0 {
                    continue;
                }
                let weighted = z * curvature[at];
                sums.score += z * residuals[at];
                sums.own += z * weighted;
                if !std::mem::replace(&mut gathered, true) {
                    x.iter_mut().enumerate().for_each(|(j, x)| *x = self.values[j * n + at]);
                }
                let lane = &mut sums.shared[lane * k..(lane + 1) * k];
                lane.iter_mut().zip(&x).for_each(|(slot, x)| *slot += x * weighted);
            }
        }
        for sums in &mut sums {
            let lanes = &sums.shared;
            let total =
                |j: usize| (0..LANES).map(|lane| lanes[lane * k + j]).sum::<f64>() + lanes[LANES * k + j];
            sums.shared = (0..k).map(total).collect();
        }
        sums
    }

    /// What turning the 0/1 column at position `at` of [`Self::kept`] from 0 to 1 does to the
    /// probability, averaged over the rows with everything else as it is.
    pub(crate) fn switch(&self, fitted: &Fitted, at: usize) -> Switch {
        let (n, k) = (self.rows(), self.cols());
        let total: f64 = self.weight.iter().sum();
        let column = at + 1;
        let (_, mean, sd) = self.kept[at];
        let (on, off) = ((1.0 - mean) / sd, -mean / sd);
        let mut eta = vec![0.0; n];
        self.predict(&fitted.beta, &(0..n), &mut eta);
        let (mut gaps, mut slopes) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let mut value = 0.0;
        for ((eta, x), w) in eta.iter().zip(self.part(column, &(0..n))).zip(&self.weight) {
            let rest = eta - fitted.beta[column] * x;
            let (p1, p0) =
                (sigmoid(rest + fitted.beta[column] * on), sigmoid(rest + fitted.beta[column] * off));
            let share = w / total;
            gaps.push(p1 - p0);
            value += share * (p1 - p0);
            slopes.push((share * p1 * (1.0 - p1), share * p0 * (1.0 - p0)));
        }
        // Column by column: they lie in memory like that.
        let mut derivative = vec![0.0; k];
        for (j, derivative) in derivative.iter_mut().enumerate() {
            for (&x, (slope1, slope0)) in self.part(j, &(0..n)).iter().zip(&slopes) {
                let (x1, x0) = if j == column { (on, off) } else { (x, x) };
                *derivative += slope1 * x1 - slope0 * x0;
            }
        }
        let weights: Vec<f64> =
            (0..k).map(|j| (0..k).map(|i| derivative[i] * fitted.covariance[(i, j)]).sum()).collect();
        let average: Vec<f64> =
            gaps.iter().zip(&self.weight).map(|(gap, w)| w * (gap - value) / total).collect();
        let by_model = average.iter().map(|a| a * a).sum::<f64>()
            + weights.iter().zip(&derivative).map(|(w, d)| w * d).sum::<f64>();
        let influence = self.influence(&self.shares(fitted), &weights, Some(&average));
        Switch { value, influence, by_model }
    }

    /// What the influences of all coefficients of a fit have in common.
    pub(crate) fn shares(&self, fitted: &Fitted) -> Shares {
        let (n, k) = (self.rows(), self.cols());
        let taken = match cholesky(&fitted.covariance) {
            Some(factor) if k <= NARROW => {
                let lower = factor.L();
                let mut taken = vec![0.0; n * k];
                let mut column = vec![0.0; BLOCK];
                for start in (0..n).step_by(BLOCK) {
                    let range = start..n.min(start + BLOCK);
                    let column = &mut column[..range.len()];
                    for j in 0..k {
                        column.fill(0.0);
                        vectorised(
                            #[inline(always)]
                            || (j..k).for_each(|i| add_scaled(column, lower[(i, j)], self.part(i, &range))),
                        );
                        let rows = taken[start * k..].chunks_exact_mut(k);
                        rows.zip(column.iter()).for_each(|(row, &x)| row[j] = x);
                    }
                }
                taken
            }
            // A wide fit takes up k of n on the whole; which row gives how much of that is not worth k² a row.
            _ => Vec::new(),
        };
        Shares { residuals: self.residuals(&fitted.beta), curvature: self.curvature(fitted), taken }
    }

    /// What every row adds to the deviation of Σ `weights`·β, and, where given, of an average beside it; `weights`
    /// is the covariance times the derivative by the coefficients.
    pub(crate) fn influence(&self, shares: &Shares, weights: &[f64], average: Option<&[f64]>) -> Influence {
        let (n, k) = (self.rows(), self.cols());
        let mut fit = vec![0.0; n];
        vectorised(
            #[inline(always)]
            || self.predict(weights, &(0..n), &mut fit),
        );
        let curvature = &shares.curvature;
        let mut out = Influence { value: shares.residuals.clone(), ..Influence::default() };
        for ((value, &fit), at) in out.value.iter_mut().zip(&fit).zip(0..) {
            *value = *value * fit + average.map_or(0.0, |average| average[at]);
        }
        let own = |at: usize| average.map_or(0.0, |average| average[at].powi(2));
        out.spread = (0..n).map(|at| (own(at) + fit[at] * fit[at] * curvature[at]).sqrt()).collect();
        if shares.taken.is_empty() {
            let share = (k as f64 / n.max(1) as f64).sqrt();
            out.taken = 1;
            out.hat = out.spread.iter().map(|spread| spread * share).collect();
        } else {
            out.taken = k;
            out.hat = shares.taken.clone();
            for ((hat, fit), curvature) in out.hat.chunks_exact_mut(k).zip(&fit).zip(curvature) {
                let scale = fit * curvature;
                hat.iter_mut().for_each(|x| *x *= scale);
            }
        }
        out
    }

    /// The score test of adding `column` (`[rows]`) to the fit: z, and what the rows add to it. It needs no
    /// estimate of the column's coefficient, so it is there where none is finite. `None` where the column adds
    /// nothing to those in the fit.
    pub(crate) fn score_test(&self, fitted: &Fitted, column: &[f64]) -> Option<(f64, Influence)> {
        let n = self.rows();
        let curvature = self.curvature(fitted);
        let weighted: Vec<f64> = column.iter().zip(&curvature).map(|(x, v)| x * v).collect();
        let shared = self.products(&weighted);
        let coefficients: Vec<f64> = (0..shared.len())
            .map(|i| (0..shared.len()).map(|j| fitted.covariance[(i, j)] * shared[j]).sum())
            .collect();
        let mut explained = vec![0.0; n];
        self.predict(&coefficients, &(0..n), &mut explained);
        let left: Vec<f64> = column.iter().zip(&explained).map(|(x, e)| x - e).collect();
        let value: Vec<f64> = self.residuals(&fitted.beta).iter().zip(&left).map(|(r, x)| r * x).collect();
        let all: f64 = column.iter().zip(&weighted).map(|(x, w)| x * w).sum();
        let own: f64 = left.iter().zip(&curvature).map(|(x, v)| x * x * v).sum();
        if own.is_nan() || own <= 1e-9 * all {
            return None;
        }
        let spread: Vec<f64> = left.iter().zip(&curvature).map(|(x, v)| x * v.sqrt()).collect();
        let share = (self.cols() as f64 / n.max(1) as f64).sqrt();
        let hat = spread.iter().map(|spread| spread.abs() * share).collect();
        Some((value.iter().sum(), Influence { value, spread, hat, taken: 1, is_mean: false }))
    }

    /// The score (s − w·p)·x of every row, row-major `[rows, k]`; empty without an estimate.
    pub(crate) fn scores(&self, fitted: &Fitted) -> Vec<f64> {
        let (n, k) = (self.rows(), self.cols());
        if !fitted.outcome.has_estimate() {
            return Vec::new();
        }
        let mut scores = vec![0.0; n * k];
        for (row, (score, residual)) in
            scores.chunks_exact_mut(k).zip(self.residuals(&fitted.beta)).enumerate()
        {
            for (j, score) in score.iter_mut().enumerate() {
                *score = residual * self.values[j * n + row];
            }
        }
        scores
    }
}

/// What the score test of a column is made of.
#[derive(Clone)]
pub(crate) struct Sums {
    /// Σ z·(s − w·p).
    pub(crate) score: f64,
    /// Σ z²·w·p(1−p).
    pub(crate) own: f64,
    /// Σ z·w·p(1−p)·x of every column in the fit.
    pub(crate) shared: Vec<f64>,
}

/// What the influences of all coefficients of a fit have in common; see [`Design::shares`].
pub(crate) struct Shares {
    residuals: Vec<f64>,
    curvature: Vec<f64>,
    /// Row-major `[rows, k]`: what a unit of the fitted value takes up of each row; empty for wide fits.
    taken: Vec<f64>,
}

/// An average change of the probability, and what it varies by.
pub(crate) struct Switch {
    pub(crate) value: f64,
    /// What each row adds to the estimate's deviation.
    pub(crate) influence: Influence,
    /// Variance if the model were true and all rows independent.
    pub(crate) by_model: f64,
}

impl Fitted {
    /// The cluster-robust covariance of the estimate from its `scores`, row-major `[used, k]`.
    pub(crate) fn robust(&self, clusters: &Clusters, scores: &[f64], rows: Option<&[u32]>) -> Option<Robust> {
        if !self.outcome.has_estimate() {
            return None;
        }
        let k = self.beta.len();
        let meat = clusters.meat(rows, scores, k, k)?;
        let covariance = &self.covariance * meat.matrix * &self.covariance;
        Some(Robust { covariance: repair(covariance), df: meat.df })
    }
}

/// Cholesky factor of a symmetric matrix; `None` when it is not positive definite.
pub(crate) fn cholesky(matrix: &Mat<f64>) -> Option<Llt<f64>> {
    // faer reports a bad pivot only where it is ≤ 0 or NaN; one that is rounding noise is as bad.
    crate::matrix::fixed_order();
    let factor = matrix.llt(Side::Lower).ok()?;
    let sound = (0..matrix.nrows()).all(|j| {
        let pivot = factor.L()[(j, j)];
        pivot * pivot > 1e-14 * matrix[(j, j)] && pivot.is_finite()
    });
    sound.then_some(factor)
}

/// Solves A·x = `right` from A's Cholesky factor.
pub(crate) fn solve(factor: &Llt<f64>, right: &[f64]) -> Vec<f64> {
    let mut x = right.to_vec();
    let n = x.len();
    factor.solve_in_place(MatMut::from_column_major_slice_mut(&mut x, n, 1));
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firths_correction_by_blocks_is_the_sum_over_rows() {
        // More than one task and one block, neither of them even.
        let (n, k) = (TASK + 2 * BLOCK + 37, 5);
        let value = |at: usize| ((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / 8e6 - 1.0;
        let columns: Vec<Vec<f64>> =
            (0..k - 1).map(|j| (0..n).map(|row| value(row * k + j)).collect()).collect();
        let design = Design::new(&columns, vec![0.5; n], (0..n).map(|row| 1.0 + (row % 3) as f64).collect());
        assert_eq!(design.cols(), k);
        let beta: Vec<f64> = (0..k).map(|j| (j as f64).sin()).collect();
        let covariance = Mat::from_fn(k, k, |i, j| 1.0 / (1.0 + (i + j) as f64));
        let x = |row: usize, j: usize| design.values[j * n + row];
        let mut expected = vec![0.0; k];
        for row in 0..n {
            let eta: f64 = (0..k).map(|j| beta[j] * x(row, j)).sum();
            let p = 1.0 / (1.0 + (-eta).exp());
            let form: f64 = (0..k)
                .flat_map(|i| (0..k).map(move |j| (i, j)))
                .map(|(i, j)| x(row, i) * covariance[(i, j)] * x(row, j))
                .sum();
            let leverage = design.weight[row] * p * (1.0 - p) * form;
            (0..k).for_each(|j| expected[j] += leverage * (0.5 - p) * x(row, j));
        }
        let mut found = vec![0.0; k];
        for part in design.tasks(|range| design.correction(&beta, &covariance, range)) {
            add_scaled(&mut found, 1.0, &part);
        }
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found / expected - 1.0).abs() < 1e-10, "{found} instead of {expected}");
        }
    }
}
