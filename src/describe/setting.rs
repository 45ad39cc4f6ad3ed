//! What there is to describe, and what every describer needs of it.

use std::collections::HashMap;

use super::feature::Reading;
use super::known::ConceptBank;
use super::phrases::stem;
use super::presence::Firing;
use crate::config::DescribeConfig;
use crate::context::Cancel;
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Split};
use crate::statistics::correlation::{Correlation, pearson};

/// An entry of a dictionary as a run uses it.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedEntry {
    /// Its number in the dictionary's autoencoder.
    pub number: u32,
    /// Its id in the dictionary.
    pub id: String,
    /// A few words.
    pub name: String,
    /// Completes "The response …".
    pub definition: String,
    /// Sentences that say it.
    pub examples: Vec<String>,
    /// The level from which on a reader agrees.
    pub clear: f32,
    /// Whether its name was found true enough for statements.
    pub speaks: bool,
    /// How readers judged the name, where they did.
    pub reading: Option<Reading>,
}

/// Words of an embedder's vocabulary, and where they lie.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    words: Vec<String>,
    /// Where each stands.
    place: HashMap<String, usize>,
    /// Less their mean, unit length, `[words, dimensions]`.
    vectors: Matrix,
}

impl Vocabulary {
    /// Of words and their vectors `[words, dimensions]`.
    pub fn new(words: Vec<String>, mut vectors: Matrix) -> Self {
        let mut mean = vec![0f64; vectors.cols];
        for row in vectors.values.chunks_exact(vectors.cols.max(1)) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value));
        }
        let count = words.len().max(1) as f64;
        for row in vectors.values.chunks_exact_mut(vectors.cols.max(1)) {
            row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= (mean / count) as f32);
            unit(row);
        }
        let place = words.iter().cloned().zip(0..).collect();
        Self { words, place, vectors }
    }

    /// The words near a direction with their cosines, the nearest first.
    pub(super) fn near(&self, direction: &[f32]) -> Vec<(f32, &str)> {
        let mut direction = direction.to_vec();
        unit(&mut direction);
        let cosine =
            |row: usize| -> f32 { self.vectors.row(row).iter().zip(&direction).map(|(a, b)| a * b).sum() };
        let mut near: Vec<(f32, usize)> = (0..self.words.len())
            .map(|word| (cosine(word), word))
            .filter(|(cosine, _)| *cosine > NEAR_ENOUGH)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        near.into_iter().map(|(cosine, word)| (cosine, self.words[word].as_str())).collect()
    }

    /// The mean cosine of two of these words; 0 where fewer than two are known.
    pub(super) fn coherence<'w>(&self, words: impl Iterator<Item = &'w str>) -> f64 {
        let rows: Vec<&[f32]> =
            words.filter_map(|word| Some(self.vectors.row(*self.place.get(word)?))).collect();
        let n = rows.len() as f64;
        if rows.len() < 2 {
            return 0.0;
        }
        // The square of their sum holds every pair twice, and each with itself.
        let mut sum = vec![0f64; self.vectors.cols];
        for row in &rows {
            sum.iter_mut().zip(*row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        (sum.iter().map(|x| x * x).sum::<f64>() - n) / (n * (n - 1.0))
    }

    /// The first few words of [`Vocabulary::near`], no two of one stem.
    pub(super) fn nearest(near: &[(f32, &str)]) -> Vec<String> {
        let mut named: Vec<String> = Vec::new();
        for (_, word) in near {
            // "grandmother" and "grandmothers" are one word to a reader.
            if named.len() < NEAR && named.iter().all(|other| stem(other) != stem(word)) {
                named.push((*word).to_owned());
            }
        }
        named
    }
}

/// What there is to describe.
pub struct Found<'a> {
    /// What fires in the sentences: `learned` features first, then those of the dictionary.
    pub firing: &'a Firing,
    /// Features of the autoencoder over this dataset's sentences.
    pub learned: usize,
    /// The others of `firing`.
    pub dictionary: &'a [NamedEntry],
    /// Directions of the learned features in the embedder's space, `[learned, dimensions]`.
    pub decoder: &'a Matrix,
    /// Activations of the autoencoder over differences, `[pairs, difference]`.
    pub difference: &'a Matrix,
    /// How well each learned feature comes back from half of the sentences; NaN or missing where that is unknown.
    pub stability: &'a [f64],
    /// The same of the features on differences.
    pub difference_stability: &'a [f64],
    /// The known concepts' measurements, `[pairs, concepts]`, in the bank's order.
    pub known: &'a Matrix,
    /// Words of the embedder's vocabulary and where they lie.
    pub vocabulary: &'a Vocabulary,
}

/// The dataset and how to judge descriptions of it.
pub struct Setting<'a> {
    /// The dataset.
    pub pairs: &'a Pairs,
    /// The side of each pair.
    pub sides: &'a [Split],
    /// Concepts with detectors.
    pub bank: &'a ConceptBank,
    /// What counts as true.
    pub config: &'a DescribeConfig,
    /// Activations correlated more than this say the same thing.
    pub redundant_above: f64,
    /// Whether to stop.
    pub cancel: &'a Cancel,
}

/// Pairs of either kind whose texts are read: a fidelity of so many is known to a few hundredths.
const READ: usize = 4_000;

/// Sides as lists of pairs.
pub(super) struct Sides {
    /// Words are chosen on these.
    pub(super) choose: Vec<u32>,
    pub(super) held_out: Vec<u32>,
    /// Those of `choose` and of `held_out` whose texts are read, ascending; at most [`READ`] each.
    pub(super) read_choose: Vec<u32>,
    pub(super) read_held_out: Vec<u32>,
    /// Whether a sentence stands in a response that is not held out, `[sentences]`.
    pub(super) open: Vec<bool>,
}

impl Sides {
    pub(super) fn new(pairs: &Pairs, sides: &[Split], firing: &Firing) -> Self {
        let on = |side: Split| -> Vec<u32> {
            (0u32..).zip(sides).filter(|(_, at)| **at == side).map(|(pair, _)| pair).collect()
        };
        let (train, describe, held_out) = (on(Split::Train), on(Split::Validation), on(Split::Test));
        let mut open = vec![false; firing.table.len()];
        for &pair in train.iter().chain(&describe) {
            for slot in [pair as usize, firing.pairs() + pair as usize] {
                for &sentence in firing.table.of(slot) {
                    if let Some(open) = open.get_mut(sentence as usize) {
                        *open = true;
                    }
                }
            }
        }
        let mut choose = [train, describe].concat();
        choose.sort_unstable();
        // By their ids, which are hashes, so that the order of rows decides nothing.
        let some = |from: &[u32]| -> Vec<u32> {
            let mut some = from.to_vec();
            some.sort_by(|&a, &b| pairs.pair_id[a as usize].cmp(&pairs.pair_id[b as usize]));
            some.truncate(READ);
            some.sort_unstable();
            some
        };
        let (read_choose, read_held_out) = (some(&choose), some(&held_out));
        Self { choose, held_out, read_choose, read_held_out, open }
    }
}

/// A judge's reading of a graded difference: −1, 0 or +1.
pub(super) fn reading(value: f32) -> f32 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// Pearson correlation of `sign · z` and a reading over those of `pairs` where z is not 0.
pub(super) fn fidelity(z: &[f32], reading: &[f32], sign: f64, pairs: &[u32]) -> Option<Correlation> {
    let (x, y): (Vec<f64>, Vec<f64>) = pairs
        .iter()
        .map(|&pair| pair as usize)
        .filter(|&pair| z[pair] != 0.0)
        .map(|pair| (sign * f64::from(z[pair]), f64::from(reading[pair])))
        .unzip();
    Some(pearson(&x, &y)).filter(|c| c.r.is_finite() && c.p.is_finite())
}

/// The `count` pairs with the largest |z|, strongest first; ties in the pairs' order.
pub fn strongest(z: &[f32], pairs: &[u32], count: usize) -> Vec<u32> {
    let mut active: Vec<u32> = pairs.iter().copied().filter(|&pair| z[pair as usize] != 0.0).collect();
    active.sort_by(|&a, &b| z[b as usize].abs().total_cmp(&z[a as usize].abs()).then(a.cmp(&b)));
    active.truncate(count);
    active
}

pub(super) fn unit(vector: &mut [f32]) {
    let norm = vector.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt() as f32;
    if norm > 0.0 {
        vector.iter_mut().for_each(|value| *value /= norm);
    }
}

/// Nearest words that are named, and the least cosine to be near.
const NEAR: usize = 4;

const NEAR_ENOUGH: f32 = 0.25;
