//! L2-penalised logistic regression for wide designs: probes over whole embeddings.
//!
//! L-BFGS, preconditioned with the curvature of a sample of the rows, so that a few passes over the
//! data are enough. The data are read where they lie, row by row; nothing of size `[rows, columns]`
//! is copied.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::solvers::Llt;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

use super::logistic::{Outcome, cholesky, solve};
use super::numeric::{add_scaled, add_scaled4, dot, dot4, logistic_block, sigmoid, vectorised};
use crate::matrix::Matrix;

/// Rows worked on at once: two visits, the second from cache.
const BLOCK: usize = 16;
/// Rows per parallel task; fixed, so that sums do not depend on the number of threads.
const TASK: usize = 4096;
/// Where not more than one value in so many is other than 0, zeros are passed over.
const SPARSE: usize = 3;
/// Columns up to which the preconditioner knows how columns go together; beyond, only their sizes.
const DENSE: usize = 2048;
/// Iterations after which the curvature is taken anew.
const REFRESH: usize = 15;
/// Steps that the quasi-Newton approximation remembers.
const MEMORY: usize = 12;

/// How [`fit`] penalises and when it stops.
#[derive(Debug, Clone, PartialEq)]
pub struct Penalty {
    /// scikit-learn's C: the objective is Σ loss + |w|²/(2C). The intercept is free.
    pub c: f64,
    /// Factor of wⱼ² per column, `[columns]`; empty = 1. The columns' variances give the fit that
    /// standardised columns would.
    pub factors: Vec<f64>,
    /// Whether there is no intercept: then a column's sign may be turned together with the label, and nothing changes.
    pub through_origin: bool,
    /// Stop when the expected squared error, in units of the coefficients' standard errors and summed
    /// over them, falls below this.
    pub tolerance: f64,
}

impl Default for Penalty {
    fn default() -> Self {
        Self { c: 1.0, factors: Vec::new(), through_origin: false, tolerance: 1e-5 }
    }
}

impl Penalty {
    /// As exact as double precision allows, for comparisons.
    pub fn tight(self) -> Self {
        Self { tolerance: 1e-18, ..self }
    }
}

/// A fitted linear score.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Added to every score.
    pub intercept: f64,
    /// One weight per column.
    pub coefficients: Vec<f64>,
    /// Passes over the data that it took.
    pub passes: usize,
    /// Whether the tolerance was reached; if not, the rounding of the sums stood before it.
    pub converged: bool,
}

impl Linear {
    /// Log-odds at the given rows of `matrix`; NaN for a row that it does not have.
    pub fn score(&self, matrix: &Matrix, rows: &[u32]) -> Vec<f64> {
        let missing = vec![f32::NAN; matrix.cols];
        let mut out = vec![0.0; rows.len()];
        out.par_chunks_mut(TASK).zip(rows.par_chunks(TASK)).for_each(|(out, rows)| {
            vectorised(
                #[inline(always)]
                || {
                    for (out, rows) in out.chunks_mut(4).zip(rows.chunks(4)) {
                        let four = four(matrix, rows, &missing);
                        for (out, value) in out.iter_mut().zip(dot4(four, &self.coefficients)) {
                            *out = value + self.intercept;
                        }
                    }
                },
            );
        });
        out
    }
}

/// The one-sided 5 % point of the normal distribution.
const BEYOND_CHANCE: f64 = 1.645;

/// Which of some penalties predicts best, by the loss of each judgement; `None` where it is not better than `nothing` at
/// the 5 % level: on few labels the best of many is often better by luck.
pub(super) fn better(nothing: Option<&[f64]>, tried: &[(f64, Vec<f64>)]) -> Option<f64> {
    let total = |losses: &[f64]| losses.iter().sum::<f64>();
    let (c, losses) = tried.iter().min_by(|a, b| total(&a.1).total_cmp(&total(&b.1)))?;
    let Some(nothing) = nothing else { return Some(*c) };
    let n = losses.len().max(1) as f64;
    let gains: Vec<f64> = nothing.iter().zip(losses).map(|(nothing, loss)| nothing - loss).collect();
    let mean = total(&gains) / n;
    let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / n;
    (mean > BEYOND_CHANCE * (variance / n).sqrt()).then_some(*c)
}

/// Fits P(y = 1) = σ(intercept + x·w) with an L2 penalty, x the given rows of `matrix`.
///
/// The objective is scikit-learn's `LogisticRegression` with `C`; `y` may be soft.
///
/// # Errors
/// The outcome that stands in the way: one class only, no rows, or values that are not finite.
pub fn fit(matrix: &Matrix, rows: &[u32], y: &[f64], penalty: &Penalty) -> Result<Linear, Outcome> {
    let n = y.len().min(rows.len());
    let rows = &rows[..n];
    let problem = Problem {
        matrix,
        rows,
        y: &y[..n],
        ridge: (0..matrix.cols).map(|j| penalty.factors.get(j).copied().unwrap_or(1.0) / penalty.c).collect(),
        through_origin: penalty.through_origin,
        sparse: SparseRows::new(matrix, rows),
    };
    let positive: f64 = problem.y.iter().sum();
    if n < if penalty.through_origin { 1 } else { 2 } {
        return Err(Outcome::TooFewRows);
    }
    if problem.rows.iter().any(|&row| row as usize >= matrix.rows()) {
        return Err(Outcome::NotFinite);
    }
    let mut theta = vec![0.0; matrix.cols + 1];
    if !penalty.through_origin {
        if positive <= 0.0 || positive >= n as f64 {
            return Err(Outcome::OneClass);
        }
        theta[matrix.cols] = (positive / (n as f64 - positive)).ln();
    }
    problem.minimise(theta, penalty.tolerance).ok_or(Outcome::NotFinite)
}

/// The objective; the parameters are the weights, then the intercept.
struct Problem<'a> {
    matrix: &'a Matrix,
    rows: &'a [u32],
    y: &'a [f64],
    ridge: Vec<f64>,
    /// The intercept stays 0.
    through_origin: bool,
    /// The rows without their zeros, where most values are.
    sparse: Option<SparseRows>,
}

/// Rows without their zeros.
struct SparseRows {
    /// Where each row begins among the values, and the end.
    start: Vec<usize>,
    column: Vec<u32>,
    value: Vec<f32>,
}

impl SparseRows {
    /// Of the given rows; `None` where too few values are 0 for it to be faster.
    fn new(matrix: &Matrix, rows: &[u32]) -> Option<Self> {
        let sampled = rows.iter().step_by((rows.len() / 512).max(1));
        let (mut all, mut some) = (0, 0);
        for values in sampled.filter_map(|&row| row_of(matrix, row)) {
            all += values.len();
            some += values.iter().filter(|x| **x != 0.0).count();
        }
        if some * SPARSE > all {
            return None;
        }
        let mut out =
            Self { start: Vec::with_capacity(rows.len() + 1), column: Vec::new(), value: Vec::new() };
        for &row in rows {
            out.start.push(out.value.len());
            for (column, &value) in row_of(matrix, row).unwrap_or_default().iter().enumerate() {
                if value != 0.0 {
                    out.column.push(column as u32);
                    out.value.push(value);
                }
            }
        }
        out.start.push(out.value.len());
        Some(out)
    }

    /// The columns and values of the row at `place` that are not 0.
    fn row(&self, place: usize) -> (&[u32], &[f32]) {
        let range = self.start[place]..self.start[place + 1];
        (&self.column[range.clone()], &self.value[range])
    }

    /// Σ x·w over the row at `place`; four sums at a time, so that one need not wait for the other.
    fn dot(&self, place: usize, weights: &[f64]) -> f64 {
        let (columns, values) = self.row(place);
        let mut sums = [0.0; 4];
        for (columns, values) in columns.chunks(4).zip(values.chunks(4)) {
            for ((sum, &column), &x) in sums.iter_mut().zip(columns).zip(values) {
                *sum += f64::from(x) * weights[column as usize];
            }
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }
}

fn row_of(matrix: &Matrix, row: u32) -> Option<&[f32]> {
    let start = row as usize * matrix.cols;
    matrix.values.get(start..start + matrix.cols)
}

impl Problem<'_> {
    /// Objective and gradient.
    fn evaluate(&self, theta: &[f64]) -> (f64, Vec<f64>) {
        let d = self.matrix.cols;
        let parts: Vec<(f64, Vec<f64>)> = self
            .rows
            .par_chunks(TASK)
            .zip(self.y.par_chunks(TASK))
            .enumerate()
            .map(|(task, (rows, y))| match &self.sparse {
                Some(sparse) => self.evaluate_sparse(sparse, theta, task * TASK, y),
                None => self.evaluate_rows(theta, rows, y),
            })
            .collect();
        let mut gradient = vec![0.0; d + 1];
        let mut value = 0.0;
        for (part, part_gradient) in parts {
            value -= part;
            add_scaled(&mut gradient, -1.0, &part_gradient);
        }
        for ((g, w), ridge) in gradient.iter_mut().zip(theta).zip(&self.ridge) {
            value += ridge * w * w / 2.0;
            *g += ridge * w;
        }
        if self.through_origin {
            gradient[d] = 0.0;
        }
        (value, gradient)
    }

    /// [`Self::evaluate_rows`] of the rows from `first` on, zeros passed over.
    fn evaluate_sparse(
        &self,
        sparse: &SparseRows,
        theta: &[f64],
        first: usize,
        y: &[f64],
    ) -> (f64, Vec<f64>) {
        let d = self.matrix.cols;
        let (weights, intercept) = theta.split_at(d);
        let mut gradient = vec![0.0; d + 1];
        let mut value = 0.0;
        let (mut eta, mut unused) = ([0.0; BLOCK], [0.0; BLOCK]);
        for (block, y) in y.chunks(BLOCK).enumerate() {
            let rows = first + block * BLOCK..first + block * BLOCK + y.len();
            let eta = &mut eta[..y.len()];
            for (eta, row) in eta.iter_mut().zip(rows.clone()) {
                *eta = sparse.dot(row, weights) + intercept[0];
            }
            value += vectorised(
                #[inline(always)]
                || logistic_block(eta, y, &[1.0; BLOCK], &mut unused),
            );
            for (&residual, row) in eta.iter().zip(rows) {
                let (columns, values) = sparse.row(row);
                for (&column, &x) in columns.iter().zip(values) {
                    gradient[column as usize] += residual * f64::from(x);
                }
                gradient[d] += residual;
            }
        }
        (value, gradient)
    }

    /// Log-likelihood and its gradient over some rows.
    fn evaluate_rows(&self, theta: &[f64], rows: &[u32], y: &[f64]) -> (f64, Vec<f64>) {
        let d = self.matrix.cols;
        let (weights, intercept) = theta.split_at(d);
        let mut gradient = vec![0.0; d + 1];
        let mut value = 0.0;
        let zeros = vec![0.0_f32; d];
        vectorised(
            #[inline(always)]
            || {
                let (mut eta, mut unused) = ([0.0; BLOCK], [0.0; BLOCK]);
                for (rows, y) in rows.chunks(BLOCK).zip(y.chunks(BLOCK)) {
                    let eta = &mut eta[..rows.len()];
                    for (eta, rows) in eta.chunks_mut(4).zip(rows.chunks(4)) {
                        let sums = dot4(four(self.matrix, rows, &zeros), weights);
                        eta.iter_mut().zip(sums).for_each(|(eta, sum)| *eta = sum + intercept[0]);
                    }
                    value += logistic_block(eta, y, &[1.0; BLOCK], &mut unused);
                    for (residual, rows) in eta.chunks(4).zip(rows.chunks(4)) {
                        let mut factors = [0.0; 4];
                        factors[..residual.len()].copy_from_slice(residual);
                        add_scaled4(&mut gradient[..d], factors, four(self.matrix, rows, &zeros));
                        gradient[d] += residual.iter().sum::<f64>();
                    }
                }
            },
        );
        (value, gradient)
    }

    /// Cholesky factor of the Hessian over `rows` of weight `curvature`, divided by `scale` both ways.
    fn factor(&self, rows: &[u32], curvature: &[f64], scale: &[f64]) -> Option<Llt<f64>> {
        let k = scale.len();
        let mut gram = Mat::<f32>::zeros(k, k);
        let mut block = Vec::with_capacity(1024 * k);
        let inverse: Vec<f32> = scale.iter().map(|scale| (1.0 / scale) as f32).collect();
        let intercept = [if self.through_origin { 0.0 } else { 1.0 }];
        for (rows, curvature) in rows.chunks(1024).zip(curvature.chunks(1024)) {
            block.clear();
            for (&row, v) in rows.iter().zip(curvature) {
                let root = v.sqrt() as f32;
                let values = self.matrix.row(row as usize).iter().chain(&intercept);
                block.extend(values.zip(&inverse).map(|(x, s)| root * x * s));
            }
            let block = MatRef::from_row_major_slice(&block, rows.len(), k);
            matmul(
                &mut gram,
                BlockStructure::TriangularLower,
                Accum::Add,
                block.transpose(),
                BlockStructure::Rectangular,
                block,
                BlockStructure::Rectangular,
                1.0,
                if k < 128 { Par::Seq } else { Par::rayon(0) },
            );
        }
        // Single precision: a little more on the diagonal keeps the matrix definite.
        [1e-6, 1e-3].into_iter().find_map(|more| {
            cholesky(&Mat::from_fn(k, k, |i, j| {
                if i == j { 1.0 + more } else { f64::from(gram[(i.max(j), i.min(j))]) }
            }))
        })
    }

    /// L-BFGS from `theta`; `None` when the objective is not finite.
    fn minimise(&self, mut theta: Vec<f64>, tolerance: f64) -> Option<Linear> {
        let mut curvature = Curvature::new(self, &theta);
        let (mut value, mut gradient) = self.evaluate(&theta);
        let mut passes = 1;
        let mut memory: Vec<(Vec<f64>, Vec<f64>, f64)> = Vec::new();
        let done = |theta: &[f64], passes, converged| {
            let (weights, intercept) = theta.split_at(theta.len() - 1);
            Some(Linear { intercept: intercept[0], coefficients: weights.to_vec(), passes, converged })
        };
        for iteration in 1..=500 {
            if iteration % REFRESH == 0 {
                // Hard problems only: probabilities near 0 and 1 have moved the curvature.
                curvature = Curvature::new(self, &theta);
                memory.clear();
            }
            if !value.is_finite() || !gradient.iter().all(|g| g.is_finite()) {
                return None;
            }
            let direction = descent(&gradient, &memory, &curvature);
            let slope = dot(&gradient, &direction);
            // −slope estimates twice the distance to the minimum: Newton's decrement.
            if -slope <= tolerance {
                return done(&theta, passes, true);
            }
            let mut length = 1.0;
            let (next, next_value, next_gradient) = loop {
                let mut next = theta.clone();
                add_scaled(&mut next, length, &direction);
                let (next_value, next_gradient) = self.evaluate(&next);
                passes += 1;
                let enough = next_value <= value + 1e-4 * length * slope;
                // Near the minimum the values are equal up to rounding; the slope still tells.
                let flat = next_value <= value + 1e-11 * value.abs()
                    && dot(&next_gradient, &direction).abs() <= 0.9 * slope.abs();
                if enough || flat {
                    break (next, next_value, next_gradient);
                }
                length *= 0.5;
                if length < 1e-9 {
                    return done(&theta, passes, false);
                }
            };
            let step: Vec<f64> = next.iter().zip(&theta).map(|(a, b)| a - b).collect();
            let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
            let product = dot(&step, &change);
            if product > 1e-14 * dot(&change, &change).sqrt() * dot(&step, &step).sqrt() {
                if memory.len() == MEMORY {
                    memory.remove(0);
                }
                memory.push((step, change, product));
            }
            (theta, value, gradient) = (next, next_value, next_gradient);
        }
        done(&theta, passes, false)
    }
}

/// −H·gradient, H the approximate inverse Hessian: the preconditioner corrected by past steps.
fn descent(gradient: &[f64], memory: &[(Vec<f64>, Vec<f64>, f64)], curvature: &Curvature) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for (step, change, product) in memory.iter().rev() {
        let share = dot(step, &direction) / product;
        add_scaled(&mut direction, -share, change);
        shares.push(share);
    }
    direction = curvature.apply_inverse(&direction);
    for ((step, change, product), share) in memory.iter().zip(shares.into_iter().rev()) {
        let correction = dot(change, &direction) / product;
        add_scaled(&mut direction, share - correction, step);
    }
    direction
}

/// An approximation of the Hessian that is cheap to solve with.
struct Curvature {
    /// Square root of the Hessian's diagonal.
    scale: Vec<f64>,
    /// Factor of the Hessian scaled to a diagonal of ones; `None` = without the rest of it.
    factor: Option<Llt<f64>>,
}

impl Curvature {
    /// From evenly spaced rows, at `theta`.
    fn new(problem: &Problem<'_>, theta: &[f64]) -> Self {
        let (n, d) = (problem.rows.len(), problem.matrix.cols);
        let used = n.min(if d <= DENSE { 512.max(12 * d) } else { 2048 });
        let rows: Vec<u32> = (0..used).map(|i| problem.rows[i * n / used]).collect();
        let share = n as f64 / used as f64;
        let (weights, intercept) = theta.split_at(d);
        let now =
            Linear { intercept: intercept[0], coefficients: weights.to_vec(), passes: 0, converged: false };
        let curvature: Vec<f64> = now
            .score(problem.matrix, &rows)
            .iter()
            .map(|&eta| share * sigmoid(eta) * sigmoid(-eta))
            .collect();
        let mut scale = vec![0.0; d + 1];
        for (&row, v) in rows.iter().zip(&curvature) {
            for (scale, &x) in scale.iter_mut().zip(problem.matrix.row(row as usize)) {
                *scale += v * f64::from(x) * f64::from(x);
            }
            scale[d] += if problem.through_origin { 0.0 } else { *v };
        }
        for (j, scale) in scale.iter_mut().enumerate() {
            let size = (*scale + problem.ridge.get(j).unwrap_or(&0.0)).sqrt();
            *scale = if size.is_normal() { size } else { 1.0 };
        }
        let factor = (d <= DENSE).then(|| problem.factor(&rows, &curvature, &scale)).flatten();
        Self { scale, factor }
    }

    fn apply_inverse(&self, gradient: &[f64]) -> Vec<f64> {
        let scaled: Vec<f64> = gradient.iter().zip(&self.scale).map(|(g, s)| g / s).collect();
        let solved = match &self.factor {
            Some(factor) => solve(factor, &scaled),
            None => scaled,
        };
        solved.iter().zip(&self.scale).map(|(x, s)| x / s).collect()
    }
}

/// Up to four rows of `matrix`, the absent ones replaced by `filler`.
#[inline(always)]
fn four<'a>(matrix: &'a Matrix, rows: &[u32], filler: &'a [f32]) -> [&'a [f32]; 4] {
    let mut out = [filler; 4];
    for (out, &row) in out.iter_mut().zip(rows) {
        let start = row as usize * matrix.cols;
        *out = matrix.values.get(start..start + matrix.cols).unwrap_or(filler);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_passed_over_without_changing_a_sum() {
        // Neither rows nor columns come out even.
        let (n, d) = (4_999, 43);
        let mut matrix = Matrix::zeros(n, d);
        for (at, value) in matrix.values.iter_mut().enumerate() {
            let hash = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            if hash.is_multiple_of(7) {
                *value = (hash % 1_001) as f32 / 500.0 - 1.0;
            }
        }
        let rows: Vec<u32> = (0..n as u32).rev().collect();
        let y: Vec<f64> = (0..n).map(|row| f64::from(u8::from(row % 3 == 0))).collect();
        let problem = |sparse| Problem {
            matrix: &matrix,
            rows: &rows,
            y: &y,
            ridge: vec![0.5; d],
            through_origin: false,
            sparse,
        };
        let sparse = SparseRows::new(&matrix, &rows);
        assert!(sparse.is_some());
        let theta: Vec<f64> = (0..=d).map(|j| (j as f64 * 0.7).sin()).collect();
        let (there, gradient) = problem(sparse).evaluate(&theta);
        let (value, dense) = problem(None).evaluate(&theta);
        assert!((there / value - 1.0).abs() < 1e-13, "{there} instead of {value}");
        let size = dense.iter().fold(0.0_f64, |max, g| max.max(g.abs()));
        for (a, b) in gradient.iter().zip(&dense) {
            assert!((a - b).abs() < 1e-13 * size, "{a} instead of {b}");
        }
        // Where most values are something, they are read as they lie.
        let full = Matrix { values: vec![1.0; 100], cols: 10 };
        assert!(SparseRows::new(&full, &[0, 1, 2]).is_none());
    }
}
