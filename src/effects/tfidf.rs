//! What anyone would try first: TF-IDF of words and pairs of words, A minus B, with both lengths, in a penalised
//! logistic regression. A rung of the ladder, so that what the features say can be held against it.

use std::collections::HashMap;

use rayon::prelude::*;

use super::numeric::sigmoid;
use super::penalised::better;
use super::sample::{Sample, fold};
use crate::context::Cancel;
use crate::pairs::Pairs;

/// Pairs that it is fitted on at most; more would not move it, and each holds hundreds of terms.
const MOST: usize = 20_000;
/// Labels that the penalty is chosen on at most.
const TUNED_ON: usize = 5_000;
/// Responses that a term must occur in.
const FEWEST: u32 = 3;
/// Most terms, the commonest.
const TERMS: usize = 200_000;
/// scikit-learn's C that are tried beside no term at all.
const CS: [f64; 4] = [0.1, 0.3, 1.0, 3.0];
/// Pairs that are read by one task.
const PART: usize = 512;
/// Folds that they are compared on.
const FOLDS: u32 = 5;
/// Ridge of the lengths: none to speak of, and the fit is still determined.
const FREE: f64 = 1e-6;

/// Rows of few values.
#[derive(Debug, Default)]
struct Sparse {
    start: Vec<usize>,
    column: Vec<u32>,
    value: Vec<f32>,
}

impl Sparse {
    fn row(&self, at: usize) -> impl Iterator<Item = (usize, f64)> {
        let range = self.start[at]..self.start[at + 1];
        self.column[range.clone()]
            .iter()
            .zip(&self.value[range])
            .map(|(&column, &value)| (column as usize, f64::from(value)))
    }
}

/// Log-odds of the judgements `held_out` by TF-IDF differences and lengths, fitted on `explore`; rows are pairs.
///
/// # Errors
/// Why it could not be fitted.
pub fn score(
    pairs: &Pairs,
    explore: &Sample,
    held_out: &Sample,
    cancel: Option<&Cancel>,
) -> Result<Vec<f64>, &'static str> {
    const STOPPED: &str = "it was stopped";
    let fitted = thinned(pairs, explore, MOST);
    if fitted.is_empty() {
        return Err("too few labelled pairs");
    }
    let learn: Vec<u32> = fitted.iter().map(|&at| explore.row()[at]).collect();
    let vocabulary = Vocabulary::of(pairs, &learn, cancel).ok_or(STOPPED)?;
    let learned = Rows::new(pairs, &vocabulary, explore, &fitted, cancel).ok_or(STOPPED)?;
    let all: Vec<usize> = (0..held_out.len()).collect();
    let measured = Rows::new(pairs, &vocabulary, held_out, &all, cancel).ok_or(STOPPED)?;
    let c = learned.strength();
    let fit =
        learned.fit(&(0..learned.y.len()).collect::<Vec<_>>(), c).ok_or("the labels are all the same")?;
    // Without the intercept, as the other rungs.
    Ok((0..all.len()).map(|at| measured.eta(&fit, at) - fit[learned.terms + 2]).collect())
}

/// At most `most` judgements, those of the pairs with the lowest ids: hashes, so that the order of rows plays no part.
fn thinned(pairs: &Pairs, sample: &Sample, most: usize) -> Vec<usize> {
    let mut at: Vec<usize> = (0..sample.len()).collect();
    if at.len() > most {
        at.sort_by_key(|&at| (&pairs.pair_id[sample.row()[at] as usize], at));
        at.truncate(most);
    }
    at
}

/// Words of at least two letters, lower case, and pairs of neighbours, as hashes.
fn terms(text: &str) -> HashMap<u64, u32> {
    let mut counts = HashMap::new();
    let mut before: Option<u64> = None;
    for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| word.len() > 1) {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for c in word.chars().flat_map(char::to_lowercase) {
            hash = (hash ^ u64::from(u32::from(c))).wrapping_mul(0x0100_0000_01b3);
        }
        *counts.entry(hash).or_default() += 1;
        if let Some(before) = before {
            *counts.entry(before.rotate_left(21).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash).or_default() +=
                1;
        }
        before = Some(hash);
    }
    counts
}

/// Terms with their column and their inverse document frequency.
struct Vocabulary {
    of: HashMap<u64, (u32, f32)>,
}

impl Vocabulary {
    /// `None` where somebody wants it to stop.
    fn of(pairs: &Pairs, learn: &[u32], cancel: Option<&Cancel>) -> Option<Self> {
        let mut unique = learn.to_vec();
        unique.sort_unstable();
        unique.dedup();
        let count = |pairs_of: &[u32]| -> Option<HashMap<u64, u32>> {
            let mut frequency: HashMap<u64, u32> = HashMap::new();
            for &pair in pairs_of {
                if cancel.is_some_and(Cancel::requested) {
                    return None;
                }
                for text in [pairs.response_a.get(pair as usize), pairs.response_b.get(pair as usize)] {
                    terms(text).keys().for_each(|term| *frequency.entry(*term).or_default() += 1);
                }
            }
            Some(frequency)
        };
        let parts: Option<Vec<HashMap<u64, u32>>> = unique.par_chunks(PART).map(count).collect();
        let mut frequency: HashMap<u64, u32> = HashMap::new();
        for (term, n) in parts?.into_iter().flatten() {
            *frequency.entry(term).or_default() += n;
        }
        let documents = 2.0 * unique.len() as f32;
        let mut kept: Vec<(u32, u64)> =
            frequency.into_iter().map(|(term, n)| (n, term)).filter(|(n, _)| *n >= FEWEST).collect();
        kept.sort_unstable_by(|a, b| b.cmp(a));
        kept.truncate(TERMS);
        let idf = |n: u32| ((1.0 + documents) / (1.0 + n as f32)).ln() + 1.0;
        let of = kept.into_iter().zip(0..).map(|((n, term), column)| (term, (column, idf(n)))).collect();
        Some(Self { of })
    }

    /// A text's terms, of unit length.
    fn read(&self, text: &str, sign: f32, into: &mut Vec<(u32, f32)>) {
        let start = into.len();
        into.extend(terms(text).iter().filter_map(|(term, &n)| {
            self.of.get(term).map(|&(column, idf)| (column, sign * idf * (1.0 + (n as f32).ln())))
        }));
        // A hash map's order is another one in every process; sums are not to depend on it.
        into[start..].sort_unstable_by_key(|entry| entry.0);
        let norm = into[start..].iter().map(|(_, v)| v * v).sum::<f32>().sqrt();
        if norm > 0.0 {
            into[start..].iter_mut().for_each(|(_, v)| *v /= norm);
        }
    }
}

/// Judgements with their terms and lengths.
struct Rows<'c> {
    sparse: Sparse,
    /// Both lengths, as they are.
    dense: Vec<[f64; 2]>,
    scale: [f64; 2],
    y: Vec<f64>,
    fold: Vec<u32>,
    terms: usize,
    cancel: Option<&'c Cancel>,
}

/// Weights of the terms, then of both lengths, then the intercept.
type Fit = Vec<f64>;

impl<'c> Rows<'c> {
    /// `None` where somebody wants it to stop.
    fn new(
        pairs: &Pairs,
        vocabulary: &Vocabulary,
        sample: &Sample,
        at: &[usize],
        cancel: Option<&'c Cancel>,
    ) -> Option<Self> {
        let read = |part: &[usize]| -> Option<Sparse> {
            let mut sparse = Sparse::default();
            let mut entries = Vec::new();
            for &at in part {
                if cancel.is_some_and(Cancel::requested) {
                    return None;
                }
                let pair = sample.row()[at] as usize;
                entries.clear();
                vocabulary.read(pairs.response_a.get(pair), 1.0, &mut entries);
                vocabulary.read(pairs.response_b.get(pair), -1.0, &mut entries);
                // The order of two that are equal plays no part: their sum is the same either way.
                entries.sort_unstable_by_key(|entry| entry.0);
                for both in entries.chunk_by(|a, b| a.0 == b.0) {
                    let value: f32 = both.iter().map(|entry| entry.1).sum();
                    if value != 0.0 {
                        sparse.column.push(both[0].0);
                        sparse.value.push(value);
                    }
                }
                sparse.start.push(sparse.column.len());
            }
            Some(sparse)
        };
        let parts: Option<Vec<Sparse>> = at.par_chunks(PART).map(read).collect();
        let mut sparse = Sparse { start: vec![0], ..Sparse::default() };
        for part in parts? {
            let before = sparse.column.len();
            sparse.start.extend(part.start.iter().map(|end| before + end));
            sparse.column.extend(part.column);
            sparse.value.extend(part.value);
        }
        let dense: Vec<[f64; 2]> = at
            .iter()
            .map(|&at| [sample.length()[at], sample.ratio().get(at).copied().unwrap_or(0.0)])
            .collect();
        let n = at.len().max(1) as f64;
        let scale = [0, 1].map(|j| {
            let square: f64 = dense.iter().map(|row| row[j] * row[j]).sum::<f64>() / n;
            if square > 0.0 { square.sqrt() } else { 1.0 }
        });
        Some(Self {
            sparse,
            dense,
            scale,
            y: at.iter().map(|&at| sample.y()[at]).collect(),
            fold: at.iter().map(|&at| fold(sample, at) % FOLDS).collect(),
            terms: vocabulary.of.len(),
            cancel,
        })
    }

    fn eta(&self, fit: &Fit, at: usize) -> f64 {
        let terms: f64 = self.sparse.row(at).map(|(column, value)| fit[column] * value).sum();
        let [a, b] = self.dense[at];
        terms + fit[self.terms] * a + fit[self.terms + 1] * b + fit[self.terms + 2]
    }

    /// The C that predicts best, prompts kept together; `None` for no terms at all, where none is better beyond chance.
    fn strength(&self) -> Option<f64> {
        let rows: Vec<usize> = (0..self.y.len().min(TUNED_ON)).collect();
        let unlikely = |c: Option<f64>| -> Option<Vec<f64>> {
            let mut losses = Vec::with_capacity(rows.len());
            for number in 0..FOLDS {
                let (left, rest): (Vec<usize>, Vec<usize>) =
                    rows.iter().partition(|&&at| self.fold[at] == number);
                let fit = self.fit(&rest, c)?;
                losses.extend(left.iter().map(|&at| {
                    let eta = self.eta(&fit, at);
                    eta.max(0.0) - self.y[at] * eta + (-eta.abs()).exp().ln_1p()
                }));
            }
            Some(losses)
        };
        let tried: Vec<(f64, Vec<f64>)> = CS.iter().filter_map(|&c| Some((c, unlikely(Some(c))?))).collect();
        better(unlikely(None).as_deref(), &tried)
    }

    /// Newton's method with conjugate gradients; the terms at C, the lengths and the intercept free.
    fn fit(&self, rows: &[usize], c: Option<f64>) -> Option<Fit> {
        let positive: f64 = rows.iter().map(|&at| self.y[at]).sum();
        if !(positive > 0.0 && positive < rows.len() as f64) {
            return None;
        }
        let size = self.terms + 3;
        let free = [self.scale[0], self.scale[1], 1.0];
        let ridge = |j: usize| match j.checked_sub(self.terms) {
            Some(at) => FREE * free[at] * free[at],
            None => c.map_or(0.0, |c| 1.0 / c),
        };
        // Σ over rows of weight · x.
        let spread = |weights: &[f64]| {
            let mut out = vec![0.0; size];
            for (&at, &weight) in rows.iter().zip(weights) {
                if c.is_some() {
                    self.sparse.row(at).for_each(|(column, value)| out[column] += weight * value);
                }
                let [a, b] = self.dense[at];
                out[self.terms] += weight * a;
                out[self.terms + 1] += weight * b;
                out[self.terms + 2] += weight;
            }
            out
        };
        let mut fit = vec![0.0; size];
        for _ in 0..30 {
            if self.cancel.is_some_and(Cancel::requested) {
                return None;
            }
            let eta: Vec<f64> = rows.iter().map(|&at| self.eta(&fit, at)).collect();
            let residual: Vec<f64> =
                eta.iter().zip(rows).map(|(eta, &at)| self.y[at] - sigmoid(*eta)).collect();
            let curvature: Vec<f64> = eta.iter().map(|eta| sigmoid(*eta) * sigmoid(-eta)).collect();
            let mut gradient = spread(&residual);
            gradient.iter_mut().zip(&fit).enumerate().for_each(|(j, (g, w))| *g -= ridge(j) * w);
            let product = |v: &Fit| {
                let along: Vec<f64> =
                    rows.iter().zip(&curvature).map(|(&at, k)| k * self.eta(v, at)).collect();
                let mut out = spread(&along);
                out.iter_mut().zip(v).enumerate().for_each(|(j, (out, v))| *out += ridge(j) * v);
                out
            };
            // The lengths have other units than the terms: their curvature is the preconditioner.
            let mut diagonal: Vec<f64> = (0..size).map(|j| ridge(j).max(1e-12)).collect();
            for (&at, k) in rows.iter().zip(&curvature) {
                let [a, b] = self.dense[at];
                for (slot, x) in diagonal[self.terms..].iter_mut().zip([a, b, 1.0]) {
                    *slot += k * x * x;
                }
            }
            let step = conjugate_gradients(&gradient, &diagonal, product);
            let size: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
            fit.iter_mut().zip(&step).for_each(|(w, s)| *w += s);
            if size < 1e-6 * rows.len() as f64 {
                break;
            }
        }
        fit.iter().all(|w| w.is_finite()).then_some(fit)
    }
}

/// Solves H·x = b roughly, H by its products.
fn conjugate_gradients(b: &[f64], diagonal: &[f64], product: impl Fn(&Vec<f64>) -> Vec<f64>) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let scaled = |r: &[f64]| r.iter().zip(diagonal).map(|(r, d)| r / d).collect::<Vec<f64>>();
    let mut x = vec![0.0; b.len()];
    let mut residual = b.to_vec();
    let mut direction = scaled(&residual);
    let mut size = dot(&residual, &direction);
    let enough = 1e-4 * size;
    for _ in 0..100 {
        if size <= enough || size <= 0.0 {
            break;
        }
        let along = product(&direction);
        let length = size / dot(&direction, &along);
        x.iter_mut().zip(&direction).for_each(|(x, d)| *x += length * d);
        residual.iter_mut().zip(&along).for_each(|(r, a)| *r -= length * a);
        let preconditioned = scaled(&residual);
        let next = dot(&residual, &preconditioned);
        let turn = next / size;
        direction.iter_mut().zip(&preconditioned).for_each(|(d, p)| *d = p + turn * *d);
        size = next;
    }
    x
}
