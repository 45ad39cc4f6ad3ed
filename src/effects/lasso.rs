//! L1-penalised logistic regression: which few features predict the label best together.
//!
//! The objective is mean loss + λ·Σ|βⱼ| over standardised features; intercept and lengths are free.
//! Newton's quadratic model of the loss is minimised by coordinate descent, over a working set of
//! features that grows until no feature outside it wants to enter.

use faer::Mat;
use rayon::prelude::*;

use super::control::Control;
use super::logistic::{Design, Evaluation, Outcome};
use super::numeric::{add_scaled, dot_f32, gather_columns, mean_sd, vectorised};
use super::sample::Sample;
use crate::matrix::Matrix;

/// λ relative to the largest sensible one below which nothing more is expected to enter.
const SMALLEST: f64 = 1e-5;
/// Rounds of coordinate descent in one quadratic model; only columns that determine one another, or
/// labels that are all predicted, ask for more, and there the next model helps more than another round.
const SWEEPS: usize = 4_000;
/// Change of a standardised coefficient that counts as none.
const SETTLED: f64 = 1e-8;

/// A problem whose solutions are asked for at several penalties.
pub struct Lasso {
    /// Raw features, `[features, judgements]`.
    columns: Vec<f32>,
    /// Mean and standard deviation of every feature; the latter 0 for one that cannot enter.
    moments: Vec<(f64, f64)>,
    /// Standardised controls, one after the other; empty without one.
    controls: Vec<f64>,
    /// Mean and standard deviation of each; the latter 0 for one that is left out.
    spreads: Vec<(f64, f64)>,
    y: Vec<f64>,
    /// Intercept and control without any feature.
    null: Vec<f64>,
    /// |gradient| of every feature there, `[features]`.
    pull: Vec<f64>,
}

/// A solution at one penalty.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The penalty λ on the mean loss; scikit-learn's C is 1/(n·λ).
    pub lambda: f64,
    /// The intercept, for standardised columns.
    pub intercept: f64,
    /// Coefficients of the standardised controls, the length difference first; 0 for one that does not vary.
    pub controls: Vec<f64>,
    /// Coefficients of the standardised features, `[features]`.
    pub coefficients: Vec<f64>,
}

impl Solution {
    /// The features with a coefficient, strongest first.
    pub fn active(&self) -> Vec<usize> {
        let size = |&feature: &usize| self.coefficients[feature].abs();
        let mut active: Vec<usize> =
            (0..self.coefficients.len()).filter(|&feature| self.coefficients[feature] != 0.0).collect();
        active.sort_by(|a, b| size(b).total_cmp(&size(a)));
        active
    }
}

/// The features in use, their data, and the coefficients (intercept, control, features).
struct Working {
    features: Vec<usize>,
    design: Design,
    free: usize,
    theta: Vec<f64>,
}

impl Lasso {
    /// The problem of predicting the sample's labels from the columns of `matrix`.
    ///
    /// # Errors
    /// The outcome that stands in the way: no rows or one class only. Features that are constant or
    /// not finite never enter.
    pub fn new(matrix: &Matrix, sample: &Sample, control: Control) -> Result<Self, Outcome> {
        let all: Vec<usize> = (0..matrix.cols).collect();
        let controls = match control {
            Control::Length => vec![sample.length().to_vec()],
            _ => Vec::new(),
        };
        Self::beside(&controls, gather_columns(matrix, &all, sample.row()), sample.y().to_vec())
    }

    /// The same for columns at every judgement, `[features, judgements]`, beside any free ones, each `[judgements]`.
    pub(super) fn beside(controls: &[Vec<f64>], columns: Vec<f32>, y: Vec<f64>) -> Result<Self, Outcome> {
        let n = y.len();
        if n < 3 {
            return Err(Outcome::TooFewRows);
        }
        let moments = columns
            .par_chunks_exact(n)
            .map(|column| {
                let constant = column.iter().all(|&x| x == column[0]);
                let (mean, sd) = mean_sd(column.iter().map(|&x| (f64::from(x), 1.0)));
                (mean, if constant || !sd.is_normal() || !mean.is_finite() { 0.0 } else { sd })
            })
            .collect();
        let mut lasso = Self {
            columns,
            moments,
            controls: Vec::new(),
            spreads: Vec::new(),
            y,
            null: Vec::new(),
            pull: Vec::new(),
        };
        // Of controls that say the same, as both lengths do where every pair differs by as much, one is enough.
        let kept = Design::new(controls, lasso.y.clone(), vec![1.0; n]).kept;
        for (index, control) in controls.iter().enumerate() {
            let (mean, sd) = match kept.iter().find(|(own, ..)| *own == index) {
                Some(&(_, mean, sd)) => (mean, sd),
                None => (0.0, 0.0),
            };
            lasso.spreads.push((mean, sd));
            lasso.controls.extend(control.iter().filter(|_| sd > 0.0).map(|x| (x - mean) / sd));
        }
        let design = lasso.design(&[]);
        let fitted = design.fit();
        if !fitted.outcome.has_estimate() {
            return Err(fitted.outcome);
        }
        lasso.pull = lasso.pull_at(&design.residuals(&fitted.beta));
        lasso.null = fitted.beta;
        Ok(lasso)
    }

    /// The penalty from which on no feature is active.
    pub fn lambda_max(&self) -> f64 {
        self.pull.iter().fold(0.0, |max, &pull| max.max(pull))
    }

    /// The solutions at the given penalties, each started from the one before; large ones first is fastest.
    pub fn path(&self, lambdas: &[f64]) -> Vec<Solution> {
        let mut working = self.working(&[], None);
        lambdas
            .iter()
            .map(|&lambda| {
                let last = working.theta.iter().skip(working.free).zip(&working.features);
                let active: Vec<usize> = last.filter(|(b, _)| **b != 0.0).map(|(_, &f)| f).collect();
                working = self.working(&active, Some(&working));
                loop {
                    working.solve(lambda);
                    let Some(grown) = self.grown(&working, lambda) else { break };
                    working = grown;
                }
                self.solution(&working, lambda)
            })
            .collect()
    }

    /// The solution at a penalty at which `count` features are active, found by bisection.
    ///
    /// With fewer usable features it has fewer active; where several enter at once, the strongest
    /// `count` keep their coefficients.
    pub fn select(&self, count: usize) -> Solution {
        let mut order: Vec<usize> = (0..self.moments.len()).filter(|&f| self.moments[f].1 > 0.0).collect();
        order.sort_by(|&a, &b| self.pull[b].total_cmp(&self.pull[a]).then(a.cmp(&b)));
        let count = count.min(order.len());
        let first = &order[..order.len().min(2 * count + 8)];
        let mut working = self.working(first, None);
        let top = self.lambda_max();
        loop {
            let lambda = working.find(count, top);
            match self.grown(&working, lambda) {
                Some(grown) => working = grown,
                None => {
                    let mut solution = self.solution(&working, lambda);
                    for surplus in solution.active().into_iter().skip(count) {
                        solution.coefficients[surplus] = 0.0;
                    }
                    return solution;
                }
            }
        }
    }

    /// Intercept, control and the given features, standardised.
    fn design(&self, features: &[usize]) -> Design {
        let n = self.y.len();
        let mut values = Vec::with_capacity((features.len() + 1) * n + self.controls.len());
        values.resize(n, 1.0);
        values.extend_from_slice(&self.controls);
        for &feature in features {
            let (mean, sd) = self.moments[feature];
            let column = &self.columns[feature * n..(feature + 1) * n];
            values.extend(column.iter().map(|&x| (f64::from(x) - mean) / sd));
        }
        Design::standardised(values, self.y.clone())
    }

    /// A working set, with the coefficients that its features have in `from`.
    fn working(&self, features: &[usize], from: Option<&Working>) -> Working {
        let mut theta = from.map_or_else(|| self.null.clone(), |from| from.theta[..from.free].to_vec());
        let free = theta.len();
        theta.extend(features.iter().map(|feature| {
            from.and_then(|from| {
                let at = from.features.iter().position(|other| other == feature)?;
                Some(from.theta[from.free + at])
            })
            .unwrap_or(0.0)
        }));
        Working { design: self.design(features), features: features.to_vec(), free, theta }
    }

    /// The working set with the features that its solution leaves out wrongly; `None` if there are none.
    fn grown(&self, working: &Working, lambda: f64) -> Option<Working> {
        let pull = self.pull_at(&working.design.residuals(&working.theta));
        let mut more: Vec<usize> = (0..pull.len())
            .filter(|f| pull[*f] > lambda * (1.0 + 1e-6) + 1e-12 && !working.features.contains(f))
            .collect();
        if more.is_empty() {
            return None;
        }
        more.sort_by(|&a, &b| pull[b].total_cmp(&pull[a]));
        more.truncate(working.features.len().max(16));
        Some(self.working(&[working.features.clone(), more].concat(), Some(working)))
    }

    /// |Σ x̃·residual| / n of every feature: what λ has to hold back.
    fn pull_at(&self, residuals: &[f64]) -> Vec<f64> {
        let n = self.y.len();
        let total: f64 = residuals.iter().sum();
        (self.columns.par_chunks_exact(n).zip(&self.moments))
            .map(|(column, &(mean, sd))| {
                if sd <= 0.0 {
                    return 0.0;
                }
                let product = vectorised(
                    #[inline(always)]
                    || dot_f32(column, residuals),
                );
                ((product - mean * total) / sd).abs() / n as f64
            })
            .collect()
    }

    fn solution(&self, working: &Working, lambda: f64) -> Solution {
        let mut coefficients = vec![0.0; self.moments.len()];
        for (&feature, &b) in working.features.iter().zip(&working.theta[working.free..]) {
            coefficients[feature] = b;
        }
        let mut free = working.theta[1..working.free].iter();
        let control =
            |&(_, sd): &(f64, f64)| if sd > 0.0 { free.next().copied().unwrap_or(0.0) } else { 0.0 };
        let controls = self.spreads.iter().map(control).collect();
        Solution { lambda, intercept: working.theta[0], controls, coefficients }
    }

    /// What a solution adds to the weighed columns as they are.
    pub(super) fn shift(&self, solution: &Solution) -> f64 {
        let spreads = self.spreads.iter().chain(&self.moments);
        let off: f64 = self.raw(solution).iter().zip(spreads).map(|(weight, (mean, _))| weight * mean).sum();
        solution.intercept - off
    }

    /// What a solution weighs each control and each feature by as they are, not standardised.
    pub(super) fn raw(&self, solution: &Solution) -> Vec<f64> {
        let weights = solution.controls.iter().chain(&solution.coefficients);
        let spreads = self.spreads.iter().chain(&self.moments);
        weights.zip(spreads).map(|(weight, &(_, sd))| if sd > 0.0 { weight / sd } else { 0.0 }).collect()
    }
}

impl Working {
    /// Newton's quadratic model of the mean loss at the current coefficients, and that loss.
    fn model(&self) -> (Model, f64) {
        let n = self.design.rows() as f64;
        let Evaluation { log_likelihood, gradient, information } = self.design.evaluate(&self.theta);
        let gradient = gradient.iter().map(|g| g / n).collect();
        let hessian = information * faer::Scale(1.0 / n);
        (Model { at: self.theta.clone(), gradient, hessian, free: self.free }, -log_likelihood / n)
    }

    fn penalty(&self, theta: &[f64]) -> f64 {
        theta[self.free..].iter().map(|b| b.abs()).sum()
    }

    fn active(&self) -> usize {
        self.theta[self.free..].iter().filter(|b| **b != 0.0).count()
    }

    /// Minimises mean loss + λ·Σ|β| over the working set.
    fn solve(&mut self, lambda: f64) {
        let (mut model, mut loss) = self.model();
        for _ in 0..50 {
            let mut goal = self.theta.clone();
            model.minimise(lambda, &mut goal);
            let step: Vec<f64> = goal.iter().zip(&self.theta).map(|(a, b)| a - b).collect();
            let size = step.iter().fold(0.0_f64, |max, s| max.max(s.abs()));
            if size <= 1e-4 {
                // Newton's error is of the order of the square of its step.
                self.theta = goal;
                return;
            }
            let before = loss + lambda * self.penalty(&self.theta);
            let start = std::mem::replace(&mut self.theta, goal);
            let mut length = 1.0;
            (model, loss) = loop {
                let (there, there_loss) = self.model();
                if there_loss + lambda * self.penalty(&self.theta) <= before + 1e-14 || length < 1e-6 {
                    break (there, there_loss);
                }
                length /= 2.0;
                self.theta.clone_from(&start);
                add_scaled(&mut self.theta, length, &step);
            };
        }
    }

    /// Solves at a penalty with `count` active features and returns the penalty.
    ///
    /// The search runs in the quadratic model, where a solution costs nothing, and the model is
    /// renewed where it lands; only if that misses are penalties tried on the loss itself.
    fn find(&mut self, count: usize, top: f64) -> f64 {
        let mut lambda = top;
        for _ in 0..4 {
            let (model, _) = self.model();
            let mut theta = self.theta.clone();
            lambda = bisect(count, top, |lambda| {
                model.minimise(lambda, &mut theta);
                theta[self.free..].iter().filter(|b| **b != 0.0).count()
            });
            let moved = theta.iter().zip(&self.theta).fold(0.0_f64, |max, (a, b)| max.max((a - b).abs()));
            self.theta = theta;
            if moved < 1e-3 {
                break;
            }
        }
        self.solve(lambda);
        if self.active() != count {
            lambda = bisect(count, top, |lambda| {
                self.solve(lambda);
                self.active()
            });
        }
        lambda
    }
}

/// A penalty at which `active` reports `count`, or the largest tried one at which it reports more;
/// the last call of `active` is at the penalty returned.
fn bisect(count: usize, top: f64, mut active: impl FnMut(f64) -> usize) -> f64 {
    let (mut low, mut high) = ((top * SMALLEST).ln(), top.ln());
    if count == 0 || !low.is_finite() {
        active(top);
        return top;
    }
    if active(low.exp()) <= count {
        return low.exp();
    }
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        match active(middle.exp()).cmp(&count) {
            std::cmp::Ordering::Equal => return middle.exp(),
            std::cmp::Ordering::Less => high = middle,
            std::cmp::Ordering::Greater => low = middle,
        }
    }
    active(low.exp());
    low.exp()
}

/// loss(at) − gradient·(θ − at) + ½(θ − at)ᵀ·hessian·(θ − at)
struct Model {
    at: Vec<f64>,
    gradient: Vec<f64>,
    hessian: Mat<f64>,
    free: usize,
}

impl Model {
    /// Coordinate descent on the model + λ·Σ|θ| from `theta`; the first `free` are not penalised.
    fn minimise(&self, lambda: f64, theta: &mut [f64]) {
        let k = theta.len();
        // The model's downhill slope at `theta`, kept up to date.
        let mut slope = self.gradient.clone();
        for (j, (now, at)) in theta.iter().zip(&self.at).enumerate() {
            let moved = now - at;
            if moved != 0.0 {
                slope.iter_mut().enumerate().for_each(|(i, slope)| *slope -= moved * self.hessian[(i, j)]);
            }
        }
        let update = |j: usize, theta: &mut [f64], slope: &mut [f64]| {
            let curvature = self.hessian[(j, j)];
            if curvature <= 1e-300 {
                return 0.0;
            }
            let pull = slope[j] + curvature * theta[j];
            let held = if j < self.free { 0.0 } else { lambda };
            let new = if pull > held {
                (pull - held) / curvature
            } else if pull < -held {
                (pull + held) / curvature
            } else {
                0.0
            };
            let change = new - theta[j];
            if change != 0.0 {
                theta[j] = new;
                let column = self.hessian.col(j).try_as_col_major();
                match column {
                    Some(column) => add_scaled(slope, -change, column.as_slice()),
                    None => {
                        slope.iter_mut().enumerate().for_each(|(i, s)| *s -= change * self.hessian[(i, j)])
                    }
                }
            }
            change.abs()
        };
        let mut sweeps = 0;
        while sweeps < SWEEPS {
            let change = (0..k).fold(0.0_f64, |max, j| max.max(update(j, theta, &mut slope)));
            sweeps += 1;
            if change <= SETTLED {
                return;
            }
            // The zeros rarely change: settle the rest before looking at them again.
            let inside: Vec<usize> = (0..k).filter(|&j| j < self.free || theta[j] != 0.0).collect();
            for _ in 0..200 {
                let change = inside.iter().fold(0.0_f64, |max, &j| max.max(update(j, theta, &mut slope)));
                sweeps += 1;
                if change <= SETTLED {
                    break;
                }
            }
        }
    }
}
