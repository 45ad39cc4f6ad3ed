//! The different sentences of a dataset, and which response holds which.

use std::collections::HashMap;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{SentenceKind, split};
use crate::pairs::Pairs;

/// Texts that are taken apart at a time.
const BLOCK: usize = 4096;

/// Which response of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// Response A.
    A,
    /// Response B.
    B,
}

/// Each different sentence (words and kind) once, in the order of their hashes, and for every response the numbers of
/// its sentences in its own order, repeats included. So numbers depend on which sentences there are, not on the order
/// of rows.
///
/// Texts lie in one arena, numbers in one vector: a million pairs take little more than their distinct words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SentenceTable {
    arena: String,
    /// Where sentence i ends in the arena.
    ends: Vec<usize>,
    kinds: Vec<SentenceKind>,
    hashes: Vec<u64>,
    /// Sentences' numbers, response after response.
    members: Vec<u32>,
    /// Where response i ends in `members`.
    responses: Vec<usize>,
}

impl SentenceTable {
    /// The sentences of both responses of every pair.
    pub fn of_pairs(pairs: &Pairs) -> Self {
        let count = pairs.response_a.len();
        Self::of_texts(2 * count, |slot| {
            let column = if slot < count { &pairs.response_a } else { &pairs.response_b };
            column.get(slot % count.max(1))
        })
    }

    /// The sentences of `count` texts, read by number.
    pub fn of_texts<'a>(count: usize, text: impl Fn(usize) -> &'a str + Sync) -> Self {
        let mut table = Self::default();
        let mut known: HashMap<u64, u32> = HashMap::new();
        for from in (0..count).step_by(BLOCK) {
            let parts: Vec<_> = (from..(from + BLOCK).min(count))
                .into_par_iter()
                .map(|number| {
                    let text = text(number);
                    let hashed = |sentence: super::Sentence| (sentence, hash(sentence.of(text)));
                    (text, split(text).into_iter().map(hashed).collect::<Vec<_>>())
                })
                .collect();
            for (text, sentences) in parts {
                for (sentence, hash) in sentences {
                    let number = table.number(&mut known, sentence.of(text), sentence.kind, hash);
                    table.members.push(number);
                }
                table.responses.push(table.members.len());
            }
        }
        drop(known);
        table.sorted()
    }

    /// The same with sentences in the order of their hashes.
    fn sorted(self) -> Self {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        let by = |&number: &u32| (self.hash(number as usize), self.kind(number as usize));
        order.par_sort_unstable_by(|a, b| {
            by(a).cmp(&by(b)).then_with(|| self.text(*a as usize).cmp(self.text(*b as usize)))
        });
        let mut new = Self { arena: String::with_capacity(self.arena.len()), ..Self::default() };
        let mut number = vec![0u32; order.len()];
        for (now, &before) in (0u32..).zip(&order) {
            let before = before as usize;
            new.arena.push_str(self.text(before));
            new.ends.push(new.arena.len());
            new.kinds.push(self.kind(before));
            new.hashes.push(self.hash(before));
            if let Some(slot) = number.get_mut(before) {
                *slot = now;
            }
        }
        new.members =
            self.members.iter().filter_map(|&before| number.get(before as usize)).copied().collect();
        new.responses = self.responses;
        new
    }

    fn number(&mut self, known: &mut HashMap<u64, u32>, text: &str, kind: SentenceKind, hash: u64) -> u32 {
        // The same words as a heading and as prose are two sentences; so are, should it ever happen, two texts of one
        // hash.
        let mut key = mixed(kind as u64, hash);
        while let Some(&number) = known.get(&key) {
            if self.kind(number as usize) == kind && self.text(number as usize) == text {
                return number;
            }
            key = key.wrapping_add(1);
        }
        let number = self.ends.len() as u32;
        known.insert(key, number);
        self.arena.push_str(text);
        self.ends.push(self.arena.len());
        self.kinds.push(kind);
        self.hashes.push(hash);
        number
    }

    /// Number of different sentences, S.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Number of responses: all A, then all B, for [`SentenceTable::of_pairs`].
    pub fn responses(&self) -> usize {
        self.responses.len()
    }

    /// The words of a sentence; empty for a number that there is not.
    pub fn text(&self, sentence: usize) -> &str {
        let start = sentence.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let span = start.zip(self.ends.get(sentence).copied());
        span.and_then(|(start, end)| self.arena.get(start..end)).unwrap_or("")
    }

    /// What a sentence is.
    pub fn kind(&self, sentence: usize) -> SentenceKind {
        self.kinds.get(sentence).copied().unwrap_or_default()
    }

    /// A number that only the words of a sentence decide, the same on every machine.
    pub fn hash(&self, sentence: usize) -> u64 {
        self.hashes.get(sentence).copied().unwrap_or_default()
    }

    /// The sentences of text number `text`, in its order, repeats included.
    pub fn of(&self, text: usize) -> &[u32] {
        let start = text.checked_sub(1).map_or(Some(0), |before| self.responses.get(before).copied());
        let span = start.zip(self.responses.get(text).copied());
        span.and_then(|(start, end)| self.members.get(start..end)).unwrap_or_default()
    }

    /// The sentences of a response of a pair.
    pub fn response(&self, pair: usize, which: Which) -> &[u32] {
        let pairs = self.responses() / 2;
        self.of(match which {
            Which::A => pair,
            Which::B => pairs + pair,
        })
    }

    /// How often each sentence stands in those of the texts for which `counted` holds, repeats included, `[sentences]`.
    pub fn counts(&self, counted: impl Fn(usize) -> bool) -> Vec<u32> {
        let mut counts = vec![0; self.len()];
        for text in (0..self.responses()).filter(|&text| counted(text)) {
            for &sentence in self.of(text) {
                if let Some(count) = counts.get_mut(sentence as usize) {
                    *count += 1;
                }
            }
        }
        counts
    }

    /// Up to `most` of the sentences `from`, those with the lowest hash under `seed`, ascending by number. Which they
    /// are depends on the sentences and the seed alone, not on the order of rows.
    pub fn sample(&self, from: &[u32], most: usize, seed: u64) -> Vec<u32> {
        if from.len() <= most {
            let mut all = from.to_vec();
            all.sort_unstable();
            return all;
        }
        let mut drawn: Vec<(u64, u8, u32)> = from
            .iter()
            .map(|&sentence| {
                let at = sentence as usize;
                (mixed(seed, self.hash(at)), self.kind(at) as u8, sentence)
            })
            .collect();
        if most > 0 {
            drawn.select_nth_unstable(most - 1);
        }
        drawn.truncate(most);
        let mut drawn: Vec<u32> = drawn.into_iter().map(|(_, _, sentence)| sentence).collect();
        drawn.sort_unstable();
        drawn
    }
}

/// The positions of `counts`, each as often as the square root of its count says (once for a count of 1 to 2, twice for 3
/// to 6, …), none for 0: what an autoencoder over sentences is trained on. Once each would make every greeting as rare
/// as a sentence that nobody says again, and by count boilerplate would be most of what is learned.
pub fn weighted(counts: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let times = |count: u32| f64::from(count).sqrt().round() as usize;
    (0u32..).zip(counts).flat_map(|(at, count)| std::iter::repeat_n(at, times(count))).collect()
}

/// The first eight bytes of a text's SHA-256.
fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// SplitMix64's finish over both: every bit of either decides every bit of the result.
fn mixed(seed: u64, hash: u64) -> u64 {
    let mut z = hash ^ seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
