//! Judgements that are not independent: clusters, and the variance they leave.

use std::collections::HashMap;

use faer::Mat;

use crate::pairs::MISSING;

/// Which judgements belong together, along one or more dimensions (prompt, annotator).
///
/// With several dimensions the variance is that of Cameron, Gelbach & Miller (2011): the sum over
/// all combinations of dimensions, intersections with alternating sign (V₁ + V₂ − V₁₂). Without
/// any, every judgement is its own cluster, which gives the heteroscedasticity-robust variance.
#[derive(Debug, Clone, Default)]
pub struct Clusters {
    terms: Vec<Term>,
    rows: usize,
}

/// One combination of dimensions.
#[derive(Debug, Clone)]
struct Term {
    sign: f64,
    /// Dense cluster number of every row.
    id: Vec<u32>,
    count: usize,
    /// Whether this is one dimension alone, not an intersection.
    single: bool,
}

/// A cluster-robust "meat": the variance of a sum of scores.
pub(crate) struct Meat {
    /// Symmetric, `[k, k]`, with the small-sample factors in it.
    pub(crate) matrix: Mat<f64>,
    /// Clusters − 1 in the dimension that has fewest; what a t interval uses.
    pub(crate) df: f64,
}

impl Clusters {
    /// Clusters of `rows` judgements from one id column per dimension, each `[rows]`.
    ///
    /// [`MISSING`] is a cluster of its own. A column of another length counts as missing beyond its end.
    pub fn new(rows: usize, dimensions: &[Vec<u32>]) -> Self {
        let own: Vec<Vec<u32>> = dimensions.iter().map(|ids| dense(rows, ids)).collect();
        if own.is_empty() {
            let singletons = Term { sign: 1.0, id: (0..rows as u32).collect(), count: rows, single: true };
            return Self { terms: vec![singletons], rows };
        }
        let terms = (1_u32..1 << own.len().min(8))
            .map(|combination| {
                let mut chosen = own.iter().enumerate().filter(|(d, _)| combination >> d & 1 == 1);
                let first = chosen.next().map(|(_, ids)| ids.clone()).unwrap_or_default();
                let id = chosen.fold(first, |id, (_, other)| intersect(&id, other));
                let count = id.iter().max().map_or(0, |&max| max as usize + 1);
                let single = combination.is_power_of_two();
                let sign = if combination.count_ones() % 2 == 1 { 1.0 } else { -1.0 };
                Term { sign, id, count, single }
            })
            .collect();
        Self { terms, rows }
    }

    /// Number of judgements.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Cluster of a judgement in the first dimension (the prompt, where there is one).
    pub(crate) fn first(&self, row: usize) -> u32 {
        self.terms.first().and_then(|term| term.id.get(row)).copied().unwrap_or(row as u32)
    }

    /// Σ over clusters of (summed scores)(summed scores)ᵀ.
    ///
    /// `scores` is row-major `[used, k]`; `rows` says which judgements those are (all, where `None`).
    /// As in statsmodels, each term carries G/(G−1)·(n−1)/(n−`parameters`). `None` when some
    /// dimension has fewer than two clusters.
    pub(crate) fn meat(
        &self,
        rows: Option<&[u32]>,
        scores: &[f64],
        k: usize,
        parameters: usize,
    ) -> Option<Meat> {
        let n = scores.len() / k.max(1);
        let mut matrix = Mat::<f64>::zeros(k, k);
        let mut df = f64::INFINITY;
        for term in &self.terms {
            let (groups, sums) = term.summed(rows, scores, k);
            if groups < 2 || n <= parameters {
                return None;
            }
            let (g, n) = (groups as f64, n as f64);
            let factor = term.sign * g / (g - 1.0) * (n - 1.0) / (n - parameters as f64);
            for sum in sums.chunks_exact(k) {
                for j in 0..k {
                    for i in 0..=j {
                        matrix[(j, i)] += factor * sum[i] * sum[j];
                    }
                }
            }
            if term.single {
                df = df.min(g - 1.0);
            }
        }
        for j in 0..k {
            for i in 0..j {
                matrix[(i, j)] = matrix[(j, i)];
            }
        }
        Some(Meat { matrix, df })
    }

    /// Variance of Σ of one influence value per judgement, and its degrees of freedom.
    ///
    /// Where the alternating sum comes out negative, the largest single dimension is taken.
    pub(crate) fn variance(
        &self,
        rows: Option<&[u32]>,
        influence: &[f64],
        parameters: usize,
    ) -> Option<(f64, f64)> {
        let meat = self.meat(rows, influence, 1, parameters)?;
        let variance = meat.matrix[(0, 0)];
        if variance > 0.0 || self.terms.len() == 1 {
            return Some((variance.max(0.0), meat.df));
        }
        let alone = self.terms.iter().filter(|term| term.single).map(|term| {
            let (_, sums) = term.summed(rows, influence, 1);
            sums.iter().map(|sum| sum * sum).sum::<f64>()
        });
        Some((alone.fold(0.0, f64::max), meat.df))
    }
}

impl Term {
    /// Number of clusters present and the scores summed within each, `[count, k]`.
    fn summed(&self, rows: Option<&[u32]>, scores: &[f64], k: usize) -> (usize, Vec<f64>) {
        let mut sums = vec![0.0; self.count * k];
        let mut present = vec![false; self.count];
        let mut add = |row: usize, score: &[f64]| {
            let Some(&id) = self.id.get(row) else { return };
            let id = id as usize;
            present[id] = true;
            for (sum, value) in sums[id * k..(id + 1) * k].iter_mut().zip(score) {
                *sum += value;
            }
        };
        match rows {
            Some(rows) => rows.iter().zip(scores.chunks_exact(k)).for_each(|(&row, s)| add(row as usize, s)),
            None => scores.chunks_exact(k).enumerate().for_each(|(row, s)| add(row, s)),
        }
        (present.iter().filter(|&&present| present).count(), sums)
    }
}

/// Cluster numbers from 0 without gaps; missing ones get a number of their own.
fn dense(rows: usize, ids: &[u32]) -> Vec<u32> {
    let mut number = HashMap::new();
    let mut next = 0_u32;
    (0..rows)
        .map(|row| {
            let id = ids.get(row).copied().unwrap_or(MISSING);
            let fresh = next;
            let given = if id == MISSING { fresh } else { *number.entry(id).or_insert(fresh) };
            next += u32::from(given == fresh);
            given
        })
        .collect()
}

/// Clusters that agree in both dimensions.
fn intersect(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut number = HashMap::new();
    a.iter()
        .zip(b)
        .map(|(&a, &b)| {
            let next = number.len() as u32;
            *number.entry((a, b)).or_insert(next)
        })
        .collect()
}

/// Repairs a covariance with a negative variance: its negative eigenvalues become 0.
///
/// V₁ + V₂ − V₁₂ need not be a covariance; this is the repair its authors propose. It raises every
/// variance, so it is kept for when one is needed.
pub(crate) fn repair(covariance: Mat<f64>) -> Mat<f64> {
    if (0..covariance.nrows()).all(|j| covariance[(j, j)] >= 0.0) {
        return covariance;
    }
    crate::matrix::fixed_order();
    let Ok(eigen) = covariance.self_adjoint_eigen(faer::Side::Lower) else { return covariance };
    let values = eigen.S().column_vector();
    let clipped =
        Mat::from_fn(covariance.nrows(), covariance.ncols(), |i, j| eigen.U()[(i, j)] * values[j].max(0.0));
    clipped * eigen.U().transpose()
}
