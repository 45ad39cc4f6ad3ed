//! Judgements that are not independent: clusters, and the variance they leave.

use std::collections::HashMap;

use faer::Mat;

use super::numeric::dot;
use crate::pairs::MISSING;

/// Annotators are a sample of people only from so many on, counted as 1 / Σ share²: nine tenths from one
/// person and a tenth from seven others are 1.2. Fewer are taken as they are, and a figure is about them.
pub const FEWEST_PEOPLE: f64 = 4.0;
/// People, counted likewise, up to whom their tastes are estimated from each one's own estimate, too. The variance of a few
/// sums rests on the one or two who gave most labels: with eight people of shares 1, ½, ⅓ … one in nine features without
/// an effect had p < .05, with fifty (who count as twelve) one in sixteen. Between two whole numbers, so that equal
/// shares stand on one side for sure.
const FEW_PEOPLE: f64 = 20.5;
/// Share of a cluster's spread that a fit takes up at most, so that one that decides alone has a figure.
const MOST_LEVERAGE: f64 = 0.98;
/// Share of all spread up to which a cluster's is what rounding leaves of none: the fit explains its rows.
const ROUNDING: f64 = 1e-18;

/// Which judgements belong together, along one or more dimensions (prompt, annotator).
///
/// The first dimension is the base. Its variance is the sandwich of Bell & McCaffrey (2002) in its scalar
/// form: what a cluster adds, divided by the share of its spread that the fit left of it, so that it is
/// unbiased however unequal the clusters are; the degrees of freedom are Satterthwaite's under a common
/// correlation within clusters (Imbens & Kolesár 2016). A further dimension (annotators) adds what its own
/// clusters vary by beyond their intersections with the first (Cameron, Gelbach & Miller 2011), where that is
/// more than nothing and [`FEWEST_PEOPLE`] are there; the degrees of freedom then are those of the sum (Welch). Where
/// they are few it is at least what the moments of each person's own estimate give (DerSimonian & Laird 1986), and the
/// degrees of freedom are Satterthwaite's for that.
/// So annotators who agree cost nothing, annotators who differ count as people, and one who has given most of
/// the labels cannot hide the variance of the others, whose sum mirrors his own in every fit.
///
/// Without a dimension every judgement is its own cluster, which gives the heteroscedasticity-robust variance.
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

/// What the variance of an estimate is made of, one row per judgement used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Influence {
    /// What the judgement adds to the estimate's deviation from the truth.
    pub(crate) value: Vec<f64>,
    /// The standard deviation of that if the model were true and the judgements independent; any sign.
    pub(crate) spread: Vec<f64>,
    /// Row-major `[used, taken]`: what of it the fit takes up. The squared length of a cluster's sum is the part
    /// of its spread that its residuals no longer show.
    pub(crate) hat: Vec<f64>,
    /// Columns of `hat`.
    pub(crate) taken: usize,
    /// The spreads are the values' own sizes, for want of a model: who has the few exceptions then looks like all there
    /// is.
    pub(crate) is_mean: bool,
}

impl Influence {
    /// Of a mean of the judgements, or a figure that is like one: one degree of freedom, shared by all alike.
    pub(crate) fn of_mean(value: &[f64]) -> Self {
        let share = (value.len().max(1) as f64).sqrt().recip();
        Self {
            value: value.to_vec(),
            spread: value.iter().map(|v| v.abs()).collect(),
            hat: value.iter().map(|v| v.abs() * share).collect(),
            taken: 1,
            is_mean: true,
        }
    }
}

/// A cluster-robust variance and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sandwich {
    pub(crate) variance: f64,
    /// Degrees of freedom of a t interval with it.
    pub(crate) df: f64,
    /// 1 / Σ share² of the clusters' spreads.
    effective: f64,
    /// Clusters that have a spread.
    present: f64,
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

    /// The clusters of some of the judgements, by position.
    pub(crate) fn subset(&self, at: &[usize]) -> Self {
        let some = |term: &Term| Term { id: at.iter().map(|&at| term.id[at]).collect(), ..term.clone() };
        Self { terms: self.terms.iter().map(some).collect(), rows: at.len() }
    }

    /// Number of judgements.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Cluster of a judgement in the first dimension (the prompt, where there is one).
    pub(crate) fn first(&self, row: usize) -> u32 {
        self.terms.first().and_then(|term| term.id.get(row)).copied().unwrap_or(row as u32)
    }

    /// Number of clusters along one dimension alone.
    pub(crate) fn count(&self, dimension: usize) -> usize {
        let present = |ids: &[u32]| ids.iter().collect::<std::collections::HashSet<_>>().len();
        self.along(dimension).map_or(0, present)
    }

    /// Cluster of every judgement along one dimension alone.
    pub(crate) fn along(&self, dimension: usize) -> Option<&[u32]> {
        self.terms.get((1_usize << dimension) - 1).filter(|term| term.single).map(|term| term.id.as_slice())
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

    /// Variance of a mean-like Σ of one influence value per judgement, and its degrees of freedom.
    pub(crate) fn variance(&self, rows: Option<&[u32]>, influence: &[f64]) -> Option<(f64, f64)> {
        if influence.iter().all(|value| *value == 0.0) {
            // Nothing varies: that is known for sure, where there is more than one cluster to see it in.
            let clusters = self.count(0) as f64;
            return (clusters > 1.0).then_some((0.0, clusters - 1.0));
        }
        let found = self.sandwich(rows, &Influence::of_mean(influence))?;
        Some((found.variance, found.df))
    }

    /// Variance of an estimate from what its judgements add to it; see [`Clusters`]. `rows` says which
    /// judgements those are (all, where `None`). `None` where the first dimension has fewer than two clusters.
    pub(crate) fn sandwich(&self, rows: Option<&[u32]>, influence: &Influence) -> Option<Sandwich> {
        let base = self.terms.first()?.sandwich(rows, influence)?;
        let (mut variance, mut uncertain) = (base.variance, base.variance.powi(2) / base.df);
        let mut most = f64::INFINITY;
        for dimension in 1.. {
            let (alone, with_base) = ((1_usize << dimension) - 1, 1_usize << dimension);
            let (Some(alone), Some(both)) = (self.terms.get(alone), self.terms.get(with_base)) else { break };
            let Some(people) = alone.sandwich(rows, influence) else { continue };
            if people.effective < FEWEST_PEOPLE {
                continue;
            }
            let within = both.sandwich(rows, influence).map_or(people.variance, |both| both.variance);
            let count = if influence.is_mean { people.present } else { people.effective };
            let tastes = (count <= FEW_PEOPLE).then(|| alone.tastes(rows, influence, within)).flatten();
            let beyond = tastes.map_or(f64::NEG_INFINITY, |(added, _)| added).max(people.variance - within);
            if beyond > 0.0 {
                variance += beyond;
                // It is a difference, and as uncertain as the larger of the two.
                uncertain += beyond * people.variance / people.df;
                most = tastes.map_or(most, |(_, df)| most.min(df));
            }
        }
        let df = match most < f64::INFINITY {
            true => most.min(base.df),
            false if uncertain > 0.0 => variance * variance / uncertain,
            false => base.df,
        };
        Some(Sandwich { variance, df, ..base })
    }
}

/// What one cluster adds.
#[derive(Debug, Clone, Default)]
struct Sum {
    value: f64,
    /// Σ of the squared values, of the squared spreads, and of the spreads' sizes.
    squares: f64,
    spread: f64,
    reach: f64,
}

impl Term {
    /// The variance along this dimension alone.
    fn sandwich(&self, rows: Option<&[u32]>, influence: &Influence) -> Option<Sandwich> {
        let taken = influence.taken;
        let mut sums = vec![Sum::default(); self.count];
        let mut hats = vec![0.0; self.count * taken];
        for (at, (&value, &spread)) in influence.value.iter().zip(&influence.spread).enumerate() {
            let row = rows.map_or(at, |rows| rows.get(at).map_or(usize::MAX, |row| *row as usize));
            let Some(&id) = self.id.get(row) else { continue };
            let id = id as usize;
            let sum = &mut sums[id];
            sum.value += value;
            sum.squares += value * value;
            sum.spread += spread * spread;
            sum.reach += spread.abs();
            let own = &influence.hat[at * taken..(at + 1) * taken];
            hats[id * taken..(id + 1) * taken].iter_mut().zip(own).for_each(|(sum, x)| *sum += x);
        }
        let all: f64 = sums.iter().map(|sum| sum.spread).sum();
        let there = |spread: f64| spread > ROUNDING * all;
        let present = sums.iter().filter(|sum| there(sum.spread)).count();
        if present < 2 {
            return None;
        }
        // The correlation within clusters that the values show, between none and all.
        let (mut shown, mut possible) = (0.0, 0.0);
        for sum in &sums {
            shown += sum.value * sum.value - sum.squares;
            possible += sum.reach * sum.reach - sum.spread;
        }
        let correlation = if possible > 1e-9 * all { (shown / possible).clamp(0.0, 1.0) } else { 0.0 };

        let (mut variance, mut first, mut second, mut shares) = (0.0, 0.0, 0.0, 0.0);
        let mut mixed = vec![0.0; taken * taken];
        for (sum, hat) in sums.iter().zip(hats.chunks(taken.max(1))) {
            if !there(sum.spread) {
                continue;
            }
            let left = 1.0 - (dot(hat, hat) / sum.spread).min(MOST_LEVERAGE);
            let expected = (1.0 - correlation) * sum.spread + correlation * sum.reach * sum.reach;
            variance += sum.value * sum.value / left;
            first += expected;
            // Σ of the squares of the working covariance of the clusters' sums: the diagonal …
            second += (expected / left).powi(2) * (1.0 - 2.0 * (1.0 - left));
            shares += sum.spread * sum.spread;
            let scale = expected / sum.spread / left;
            for (slots, &a) in mixed.chunks_exact_mut(taken).zip(hat) {
                slots.iter_mut().zip(hat).for_each(|(slot, &b)| *slot += scale * a * b);
            }
        }
        // … and what the fit makes them share.
        second += dot(&mixed, &mixed);
        let df = (first * first / second).clamp(0.5, present as f64);
        Some(Sandwich { variance, df, effective: all * all / shares, present: present as f64 })
    }

    /// What differing tastes add to the variance of the estimate, and its degrees of freedom, from the moments of the clusters' own estimates
    /// (DerSimonian & Laird 1986): `within` is the variance without them. A cluster's own estimate is its sum over its
    /// share w of the spread, with variance τ² + `within` / w; Q = Σ w (own − all)² / `within` has the mean
    /// k − 1 + τ² (1 − Σ w²) / `within`, and τ² Σ w² is what is added. Negative where they differ less than chance has
    /// it.
    fn tastes(&self, rows: Option<&[u32]>, influence: &Influence, within: f64) -> Option<(f64, f64)> {
        let mut sums = vec![(0.0, 0.0); self.count];
        for (at, (&value, &spread)) in influence.value.iter().zip(&influence.spread).enumerate() {
            let row = rows.map_or(at, |rows| rows.get(at).map_or(usize::MAX, |row| *row as usize));
            let Some(sum) = self.id.get(row).and_then(|id| sums.get_mut(*id as usize)) else { continue };
            sum.0 += value;
            sum.1 += spread * spread;
        }
        let all: f64 = sums.iter().map(|(_, spread)| spread).sum();
        sums.retain(|(_, spread)| *spread > ROUNDING * all);
        let power = |n: i32| sums.iter().map(|(_, spread)| (spread / all).powi(n)).sum::<f64>();
        let (second, third, free) = (power(2), power(3), sums.len() as f64 - 1.0);
        let left = 1.0 - second;
        if free < 1.0 || within <= 0.0 || left <= 0.0 {
            return None;
        }
        let q: f64 = sums.iter().map(|(value, spread)| value * value / (spread / all)).sum::<f64>() / within;
        // The median of χ² (Wilson & Hilferty), not its mean: too small half of the time, not more often.
        let median = free * (1.0 - 2.0 / (9.0 * free)).powi(3);
        let tau = within * (q - median) / left;
        // Q is a quadratic form in estimates with variances τ² + within / w: its mean and variance by their traces.
        let t = tau.max(0.0);
        let mean = t * left + within * free;
        let variance = t * t * (second - 2.0 * third + second * second)
            + 2.0 * t * within * left
            + within * within * free;
        Some((tau * second, mean * mean / variance))
    }

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
