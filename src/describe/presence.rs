//! From what fires in sentences to what sets two responses apart.
//!
//! ```text
//! h_j(response) = max over its sentences of z_j(s)              how clearly it is there
//! presence      = [h_j(A) ≥ clear_j] − [h_j(B) ≥ clear_j]       −1, 0, +1: what words, win rates and evidence go by
//! t_j(response) = Σ over its sentences of z_j(s) / √n           how much of it there is; n sentences, from θ/2 on
//! z_j(pair)     = t_j(A) − t_j(B)                               graded, of a learned feature: what fits use
//!                 h_j(A) − h_j(B)                               graded, of the dictionary's
//! ```
//!
//! How much is said, faint sentences with it, predicts labels better than the clearest sentence (hh, MiniLM, AUC of the
//! learned features .69 against .665), and speaks no better: so fits go by the one, and words by the other. The dictionary's
//! words were read where they are clear; what is said of them goes by that.
//!
//! A feature that is named by phrases is present where they stand in a sentence in which it is clear, and absent where they
//! stand nowhere; any other response says nothing. On hh half of the pairs in which such a feature was clear did not have
//! its words: what was then said of the words was true of something else.
//!
//! Faint activations are noise to a reader (METHOD §2b). Where a feature's activations have two humps its clear level
//! lies in the valley between them; where they have one, the lower two fifths are faint. Counts decide, so that the order of the
//! rows changes no bit.

use rayon::prelude::*;

use super::wording::Wording;
use crate::matrix::Matrix;
use crate::sae::SparseRows;
use crate::sentences::SentenceTable;

/// What fires in which sentence of a dataset.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The different sentences, and which response holds which.
    pub table: SentenceTable,
    /// Activations above θ, `[sentences, features]`.
    pub z: SparseRows,
    /// Those of learned features, which come first, from [`FROM`] · θ up to θ: they count in sums alone; `None` in runs of earlier versions, whose graded activations
    /// are those of the clearest sentence.
    pub faint: Option<SparseRows>,
}

/// Share of θ from which on an activation counts in sums.
pub const FROM: f32 = 0.5;

/// Bins of a histogram of log activations.
const BINS: usize = 32;
/// The histogram is smoothed so many times with (1, 2, 1)/4: a few sentences that stand in many responses are no humps.
const SMOOTHED: usize = 6;
/// A valley is at most so deep against the lower of its two humps.
const VALLEY: f64 = 0.5;
/// Share of the activations that must lie on either side of a valley.
const SIDE: f64 = 0.1;
/// Share of the activations that counts as faint where there is no valley.
const FAINT: f64 = 0.4;
/// Activations from which on a histogram has a shape.
const SHAPED: u64 = 20;

/// A phrase stands in a response; a phrase stands in a sentence in which its feature is clear.
const STANDS: u8 = 1;
const CLEAR: u8 = 2;

impl Firing {
    /// Number of pairs.
    pub fn pairs(&self) -> usize {
        self.table.responses() / 2
    }

    /// Without the columns that are not `kept` (`[features]`).
    pub fn retain(&mut self, kept: &[bool]) {
        self.z.retain(kept);
        if let Some(faint) = &mut self.faint {
            faint.retain(kept);
        }
    }

    /// The graded activations `[pairs, features]`: how much of each learned feature is in A and not in B. `highest` is what
    /// [`Self::differences`] gives: its memory is used again.
    pub fn graded(&self, mut highest: Matrix) -> Matrix {
        let Some(faint) = &self.faint else { return highest };
        let (pairs, learned) = (self.pairs(), faint.cols.min(highest.cols));
        let total = |slot: usize, sums: &mut [f32]| {
            sums.fill(0.0);
            let sentences = self.table.of(slot);
            for &sentence in sentences {
                for part in [&self.z, faint] {
                    let (index, value) = part.row(sentence as usize);
                    for (&feature, &value) in index.iter().zip(value) {
                        if let Some(sum) = sums.get_mut(feature as usize) {
                            *sum += value;
                        }
                    }
                }
            }
            let root = (sentences.len().max(1) as f32).sqrt();
            sums.iter_mut().for_each(|sum| *sum /= root);
        };
        // Each response by itself, so that a pair turned round gives the opposite to the last bit.
        highest.values.par_chunks_mut(highest.cols.max(1)).enumerate().for_each_init(
            || (vec![0f32; learned], vec![0f32; learned]),
            |(a, b), (pair, row)| {
                total(pair, a);
                total(pairs + pair, b);
                row.iter_mut().zip(a.iter().zip(b.iter())).for_each(|(z, (a, b))| *z = a - b);
            },
        );
        highest
    }

    /// How clearly each feature is in response number `slot`: A of every pair, then B; added to `row`, which is zero.
    fn highest(&self, slot: usize, row: &mut [f32]) {
        for &sentence in self.table.of(slot) {
            let (index, value) = self.z.row(sentence as usize);
            for (&feature, &value) in index.iter().zip(value) {
                if let Some(slot) = row.get_mut(feature as usize)
                    && value > *slot
                {
                    *slot = value;
                }
            }
        }
    }

    /// Where features that are named by phrases are present, `[pairs, named features]`: in A alone (1) where a sentence of A
    /// in which it is clear has one of them, and none stands anywhere in B; in B alone (−1) likewise; else 0. Whoever reads
    /// the words finds them.
    pub(crate) fn where_worded(&self, wording: &Wording, clear: &[f32]) -> Vec<i8> {
        let (pairs, named) = (self.pairs(), wording.features());
        if named.is_empty() {
            return Vec::new();
        }
        let worded: Vec<Vec<u32>> = (0..self.table.len())
            .into_par_iter()
            .map(|sentence| wording.in_sentence(self.table.text(sentence)))
            .collect();
        // Per response and feature: nothing, a phrase, a phrase in a sentence in which it is clear.
        let read = |slot: usize, found: &mut [u8]| {
            for &sentence in self.table.of(slot) {
                let (index, value) = self.z.row(sentence as usize);
                for feature in &worded[sentence as usize] {
                    let fires = index.binary_search(feature).is_ok_and(|at| {
                        clear.get(*feature as usize).is_some_and(|&clear| is_clear(value[at], clear))
                    });
                    if let Ok(at) = named.binary_search(feature) {
                        found[at] = found[at].max(if fires { CLEAR } else { STANDS });
                    }
                }
            }
        };
        let mut presence = vec![0i8; pairs * named.len()];
        presence.par_chunks_mut(named.len()).enumerate().for_each_init(
            || (vec![0u8; named.len()], vec![0u8; named.len()]),
            |(a, b), (pair, presence)| {
                a.fill(0);
                b.fill(0);
                read(pair, a);
                read(pairs + pair, b);
                for (there, (a, b)) in presence.iter_mut().zip(a.iter().zip(b.iter())) {
                    *there = match (*a, *b) {
                        (CLEAR, 0) => 1,
                        (0, CLEAR) => -1,
                        _ => 0,
                    };
                }
            },
        );
        presence
    }

    /// The sentences of response number `slot` in which `feature` is at least so clear, each once.
    pub fn sentences_in(&self, slot: usize, feature: usize, clear: f32) -> Vec<&str> {
        let mut found: Vec<u32> = Vec::new();
        for &sentence in self.table.of(slot) {
            let (index, value) = self.z.row(sentence as usize);
            let fires = index.iter().zip(value).any(|(&at, &z)| at as usize == feature && z >= clear);
            if fires && !found.contains(&sentence) {
                found.push(sentence);
            }
        }
        found.into_iter().map(|sentence| self.table.text(sentence as usize)).collect()
    }

    /// The level from which on each feature counts as present in a response, `[features]`; infinite where it never is.
    pub fn clear_levels(&self) -> Vec<f32> {
        let cols = self.z.cols;
        let slots = self.table.responses();
        let range = self.each(
            || vec![(f32::INFINITY, 0f32); cols],
            slots,
            |range, feature, value| {
                range[feature] = (range[feature].0.min(value), range[feature].1.max(value))
            },
            |one, other| one.iter_mut().zip(other).for_each(|(a, b)| *a = (a.0.min(b.0), a.1.max(b.1))),
        );
        let bin = |(low, high): (f32, f32), value: f32| {
            let share = f64::from((value / low).ln()) / f64::from((high / low).ln()).max(1e-9);
            ((share * BINS as f64) as usize).min(BINS - 1)
        };
        let counts = self.each(
            || vec![[0u64; BINS]; cols],
            slots,
            |counts, feature, value| counts[feature][bin(range[feature], value)] += 1,
            |one, other| {
                one.iter_mut().zip(other).for_each(|(a, b)| a.iter_mut().zip(b).for_each(|(a, b)| *a += b));
            },
        );
        (counts.iter().zip(&range))
            .map(|(counts, &(low, high))| match boundary(counts) {
                Some(bin) => low * (high / low).powf(bin as f32 / BINS as f32),
                None => f32::INFINITY,
            })
            .collect()
    }

    /// Every positive value of every response, gathered block by block.
    fn each<T: Send>(
        &self,
        empty: impl Fn() -> T + Sync + Send,
        slots: usize,
        add: impl Fn(&mut T, usize, f32) + Sync + Send,
        join: impl Fn(&mut T, T) + Sync + Send,
    ) -> T {
        (0..slots)
            .into_par_iter()
            .fold(
                || (empty(), vec![0f32; self.z.cols]),
                |(mut all, mut row), slot| {
                    row.fill(0.0);
                    self.highest(slot, &mut row);
                    for (feature, &value) in row.iter().enumerate().filter(|(_, value)| **value > 0.0) {
                        add(&mut all, feature, value);
                    }
                    (all, row)
                },
            )
            .map(|(all, _)| all)
            .reduce(&empty, |mut one, other| {
                join(&mut one, other);
                one
            })
    }

    /// Share of the pairs in which each feature is present in one response alone, `[features]`.
    pub fn prevalence(&self, clear: &[f32]) -> Vec<f64> {
        let (pairs, cols) = (self.pairs(), self.z.cols);
        let counts = (0..pairs)
            .into_par_iter()
            .fold(
                || (vec![0u64; cols], vec![0f32; cols], vec![0f32; cols]),
                |(mut counts, mut a, mut b), pair| {
                    a.fill(0.0);
                    b.fill(0.0);
                    self.highest(pair, &mut a);
                    self.highest(pairs + pair, &mut b);
                    for (feature, count) in counts.iter_mut().enumerate() {
                        *count += u64::from(
                            is_clear(a[feature], clear[feature]) != is_clear(b[feature], clear[feature]),
                        );
                    }
                    (counts, a, b)
                },
            )
            .map(|(counts, ..)| counts)
            .reduce(
                || vec![0; cols],
                |mut one, other| {
                    one.iter_mut().zip(other).for_each(|(a, b)| *a += b);
                    one
                },
            );
        counts.into_iter().map(|count| count as f64 / pairs.max(1) as f64).collect()
    }

    /// Differences of the clearest sentences, and of clear presence, both `[pairs, features]`.
    pub fn differences(&self, clear: &[f32]) -> (Matrix, Matrix) {
        let (pairs, cols) = (self.pairs(), self.z.cols);
        let (mut graded, mut presence) = (Matrix::zeros(pairs, cols), Matrix::zeros(pairs, cols));
        if cols == 0 {
            return (graded, presence);
        }
        graded
            .values
            .par_chunks_mut(cols)
            .zip(presence.values.par_chunks_mut(cols))
            .enumerate()
            .for_each_init(
                || (vec![0f32; cols], vec![0f32; cols]),
                |(a, b), (pair, (graded, presence))| {
                    a.fill(0.0);
                    b.fill(0.0);
                    self.highest(pair, a);
                    self.highest(pairs + pair, b);
                    for feature in 0..cols {
                        let (a, b, clear) = (a[feature], b[feature], clear[feature]);
                        graded[feature] = a - b;
                        presence[feature] =
                            f32::from(u8::from(is_clear(a, clear))) - f32::from(u8::from(is_clear(b, clear)));
                    }
                },
            );
        (graded, presence)
    }
}

fn is_clear(value: f32, clear: f32) -> bool {
    value > 0.0 && value >= clear
}

/// The bin from which on a feature is clear: the valley between two humps, else above the faint ones; `None` without any value.
fn boundary(counts: &[u64; BINS]) -> Option<usize> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let mut smooth: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
    for _ in 0..SMOOTHED {
        let at = |bin: isize| smooth[bin.clamp(0, BINS as isize - 1) as usize];
        smooth = (0..BINS as isize).map(|bin| (at(bin - 1) + 2.0 * at(bin) + at(bin + 1)) / 4.0).collect();
    }
    let share = |bin: usize| counts[bin..].iter().sum::<u64>() as f64 / total as f64;
    let highest = |bins: &[f64]| bins.iter().copied().fold(0.0, f64::max);
    let valley = (2..BINS - 2)
        .filter(|&bin| (SIDE..=1.0 - SIDE).contains(&share(bin)))
        .map(|bin| (smooth[bin] / highest(&smooth[..bin]).min(highest(&smooth[bin + 1..])).max(1e-9), bin))
        .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
        .filter(|(depth, _)| *depth < VALLEY && total >= SHAPED);
    let above = || (0..BINS).rev().find(|&bin| share(bin) >= 1.0 - FAINT).unwrap_or(0);
    Some(valley.map_or_else(above, |(_, bin)| bin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::Feature;

    /// Three sentences; features fire as given.
    fn firing(texts: &[&str], z: &[(&str, u32, f32)], cols: usize) -> Firing {
        let table = SentenceTable::of_texts(texts.len(), |slot| texts[slot]);
        let mut rows = SparseRows { cols, indptr: vec![0], ..SparseRows::default() };
        for sentence in 0..table.len() {
            for (text, feature, value) in z.iter().filter(|(text, ..)| *text == table.text(sentence)) {
                assert!(!text.is_empty());
                rows.index.push(*feature);
                rows.value.push(*value);
            }
            rows.indptr.push(rows.index.len());
        }
        Firing { table, z: rows, faint: None }
    }

    #[test]
    fn a_pair_is_the_difference_of_its_clearest_sentences() {
        // Two pairs: A of both, then B of both.
        let texts = ["I know. I doubt it.", "I know.", "I know. I know.", "Perhaps I doubt it."];
        let z = [("I know.", 0, 2.0), ("I doubt it.", 0, 3.0), ("Perhaps I doubt it.", 1, 1.0)];
        let firing = firing(&texts, &z, 2);
        let (graded, presence) = firing.differences(&[2.5, 0.5]);
        assert_eq!(graded.values, [1.0, 0.0, 2.0, -1.0]);
        assert_eq!(presence.values, [1.0, 0.0, 0.0, -1.0]);
    }

    #[test]
    fn fits_go_by_how_much_there_is() {
        let texts = ["I know. I doubt it.", "I know.", "I know. I know. Who?", "Who?"];
        let mut firing = firing(&texts, &[("I know.", 0, 2.0), ("I doubt it.", 0, 3.0)], 1);
        // Pairs: A of both, then B of both.
        let (highest, _) = firing.differences(&[1.0]);
        assert_eq!(firing.graded(highest.clone()).values, highest.values);
        let who = (0..firing.table.len()).find(|&at| firing.table.text(at) == "Who?").unwrap();
        let mut faint = SparseRows { cols: 1, indptr: vec![0], ..SparseRows::default() };
        for sentence in 0..firing.table.len() {
            if sentence == who {
                faint.index.push(0);
                faint.value.push(0.5);
            }
            faint.indptr.push(faint.index.len());
        }
        firing.faint = Some(faint);
        let graded = firing.graded(highest).values;
        let right = [5.0 / 2f32.sqrt() - 4.5 / 3f32.sqrt(), 2.0 - 0.5];
        assert!(graded.iter().zip(right).all(|(ours, right)| (ours - right).abs() < 1e-6), "{graded:?}");
    }

    #[test]
    fn a_feature_named_by_phrases_is_present_where_they_stand() {
        // Pairs: clear with the phrase; clear without it; with the phrase, but not clear; clear with it against the phrase alone.
        let says = ["I don't know. Ask Ann.", "Who can tell?", "I don't mind.", "I don’t know!"];
        let other = ["Ask Ann.", "Ask Ann.", "Ask Ann.", "I don't mind."];
        let z = [("I don't know.", 0, 2.0), ("Who can tell?", 0, 3.0), ("I don’t know!", 0, 2.5)];
        let one = firing(&[says, other].concat(), &z, 1);
        let named = Feature { phrases: vec!["i don't".into()], ..Feature::default() };
        let there = |firing: &Firing, feature: &Feature| {
            firing.where_worded(&Wording::of(std::iter::once(feature)), &[1.0])
        };
        assert_eq!(one.differences(&[1.0]).1.values, [1.0, 1.0, 0.0, 1.0]);
        assert!(there(&one, &Feature::default()).is_empty());
        assert_eq!(there(&one, &named), [1, 0, 0, 0]);
        let turned = firing(&[other, says].concat(), &z, 1);
        assert_eq!(there(&turned, &named), [-1, 0, 0, 0]);
    }

    #[test]
    fn the_clear_level_lies_between_two_humps() {
        let mut counts = [0u64; BINS];
        for (bin, count) in counts.iter_mut().enumerate() {
            let hump = |at: f64, size: f64| size * (-((bin as f64 - at) / 3.0).powi(2)).exp();
            *count = (hump(6.0, 400.0) + hump(25.0, 100.0)) as u64;
        }
        let found = boundary(&counts).unwrap();
        assert!((12..=20).contains(&found), "{found}");
        // One hump: three fifths of it are clear.
        let single: [u64; BINS] =
            std::array::from_fn(|bin| (100.0 * (-((bin as f64 - 10.0) / 4.0).powi(2)).exp()) as u64);
        let found = boundary(&single).unwrap();
        assert!((8..=10).contains(&found), "{found}");
        assert_eq!(boundary(&[0; BINS]), None);
    }
}
