//! Reads quoted sentences in pairs, without looking at the feature that they are for.
//!
//! A few quoted sentences are a point in the space of the boxed embedder (whatever the run's own is). A response says such
//! things where one of its sentences lies near enough; how near is set on pairs that are not held out. What comes of it is a
//! hint and no name: readers of the quotes alone found what such features share in one pair of seven.

use rayon::prelude::*;

use super::presence::Firing;
use super::said::Said;
use super::setting::unit;
use crate::context::Cancel;
use crate::embed::{BundledEmbedder, EmbedError, Embedder};
use crate::matrix::Matrix;
use crate::statistics::correlation::pearson;

/// Texts embedded at a time.
const BLOCK: usize = 512;
/// Shares of the similarities of active responses that are tried as the least similarity.
const LEVELS: [f64; 7] = [0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8];
/// No row.
const NONE: u32 = u32::MAX;

/// Vectors of the sentences of some pairs.
pub(super) struct Reader {
    embedder: BundledEmbedder,
    /// Row of each sentence in `vectors`, [`NONE`] for most.
    row: Vec<u32>,
    vectors: Matrix,
    /// Pairs that are read, ascending.
    choose: Vec<u32>,
}

impl Reader {
    pub(super) fn new(firing: &Firing, choose: &[u32], cancel: &Cancel) -> Result<Self, EmbedError> {
        let embedder = BundledEmbedder::load()?;
        let mut row = vec![NONE; firing.table.len()];
        let mut wanted = Vec::new();
        for &pair in choose {
            for slot in [pair as usize, firing.pairs() + pair as usize] {
                for &sentence in firing.table.of(slot) {
                    if let Some(row) = row.get_mut(sentence as usize).filter(|row| **row == NONE) {
                        *row = wanted.len() as u32;
                        wanted.push(sentence);
                    }
                }
            }
        }
        let blocks: Result<Vec<Matrix>, EmbedError> = wanted
            .par_chunks(BLOCK)
            .map(|block| {
                cancel.check()?;
                let texts: Vec<&str> = block.iter().map(|&s| firing.table.text(s as usize)).collect();
                embedder.embed(&texts)
            })
            .collect();
        let cols = embedder.dimensions().unwrap_or(0);
        let values = blocks?.into_iter().flat_map(|block| block.values).collect();
        Ok(Self { embedder, row, vectors: Matrix { values, cols }, choose: choose.to_vec() })
    }

    /// Pairs that are read and not held out.
    pub(super) fn choose(&self) -> &[u32] {
        &self.choose
    }

    /// The vector of a sentence that is read.
    pub(super) fn vector(&self, sentence: u32) -> Option<&[f32]> {
        let row = *self.row.get(sentence as usize)?;
        (row != NONE).then(|| self.vectors.row(row as usize))
    }

    /// Where the quotes point.
    fn centre(&self, said: &Said) -> Vec<f32> {
        let quotes: Vec<&str> = said.quotes.iter().map(String::as_str).collect();
        let mut centre = vec![0f32; self.vectors.cols];
        if let Ok(rows) = self.embedder.embed(&quotes) {
            for row in 0..rows.rows() {
                centre.iter_mut().zip(rows.row(row)).for_each(|(centre, value)| *centre += value);
            }
        }
        unit(&mut centre);
        centre
    }

    /// The most similar sentence of both responses of each pair.
    fn similarities(&self, firing: &Firing, centre: &[f32], pairs: &[u32]) -> Vec<(f32, f32)> {
        let of = |slot: usize| {
            let sentences = firing.table.of(slot).iter().filter_map(|&sentence| self.vector(sentence));
            sentences.map(|v| v.iter().zip(centre).map(|(a, b)| a * b).sum::<f32>()).fold(-1.0, f32::max)
        };
        pairs.iter().map(|&pair| (of(pair as usize), of(firing.pairs() + pair as usize))).collect()
    }

    /// How the words' reading goes with `column` (`[pairs]`, 0 where the feature is in neither response or both) on
    /// the pairs that are not held out, and the least similarity that is best there.
    pub(super) fn chosen(&self, firing: &Firing, said: &Said, column: &[f32]) -> Option<(f64, f32)> {
        let active: Vec<u32> =
            self.choose.iter().copied().filter(|&pair| column[pair as usize] != 0.0).collect();
        let found = self.similarities(firing, &self.centre(said), &active);
        let z: Vec<f64> = active.iter().map(|&pair| f64::from(column[pair as usize])).collect();
        // On the side that has it.
        let mut there: Vec<f32> =
            found.iter().zip(&z).map(|(&(a, b), z)| if *z > 0.0 { a } else { b }).collect();
        there.sort_unstable_by(f32::total_cmp);
        let level = |share: f64| there.get((share * there.len() as f64) as usize).copied();
        LEVELS
            .into_iter()
            .filter_map(|share| {
                let least = level(share)?;
                let read: Vec<f64> = found.iter().map(|&pair| says(pair, least)).collect();
                Some((pearson(&z, &read).r, least)).filter(|(r, _)| r.is_finite())
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))
    }
}

/// Which response says it, if one alone does.
fn says((a, b): (f32, f32), least: f32) -> f64 {
    f64::from(u8::from(a >= least)) - f64::from(u8::from(b >= least))
}
