//! From rows of the source to pairs, each once, and what was said about them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use polars::prelude::*;
use rand::Rng;
use sha2::{Digest, Sha256};

use super::texts::Texts;
use super::{Labels, MISSING, Pairs, Repeats, TextColumn};
use crate::matrix::Matrix;
use crate::rng;

/// Distinct unknown label values that are counted one by one.
const MAX_REASONS: usize = 24;

/// Everything read, one entry per pair of the source, before any of them is left out or merged.
#[derive(Default)]
pub(super) struct Rows {
    /// Prompt and responses.
    pub texts: Texts,
    /// Share of preference for the first response; `None` without labels.
    pub labels: Option<Vec<f32>>,
    /// Annotators' names.
    pub annotators: Option<StringChunked>,
    /// Names of the datasets.
    pub datasets: Option<StringChunked>,
    /// Further keys, name and column.
    pub groups: Vec<(String, StringChunked)>,
    /// The user's own vectors' differences, first − second.
    pub deltas: Option<Matrix>,
    /// Where the source always has the preferred response first, so that its order must not be kept.
    pub chosen_first: Vec<bool>,
}

/// Which rows are left out, and why.
#[derive(Debug, Default)]
pub(super) struct Drops {
    /// 0 = kept, else 1 + index into `reasons`.
    codes: Vec<u16>,
    reasons: Vec<String>,
}

impl Drops {
    /// Nothing left out yet of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { codes: vec![0; rows], reasons: Vec::new() }
    }

    /// Leaves a row out; the first reason given stands.
    pub fn add(&mut self, row: usize, reason: &str) {
        let Some(code) = self.codes.get_mut(row).filter(|code| **code == 0) else { return };
        let index = self.reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
            let known = if self.reasons.len() < MAX_REASONS { reason } else { "other reasons" };
            self.reasons.iter().position(|other| other == known).unwrap_or_else(|| {
                self.reasons.push(known.to_owned());
                self.reasons.len() - 1
            })
        });
        *code = index as u16 + 1;
    }

    /// Those of another source below these.
    pub fn append(&mut self, below: &Self) {
        let start = self.codes.len();
        self.codes.resize(start + below.codes.len(), 0);
        for (row, reason) in below.list() {
            self.add(start + row as usize, &reason);
        }
    }

    /// Whether a row is still in.
    fn keeps(&self, row: usize) -> bool {
        self.codes.get(row) == Some(&0)
    }

    /// The rows left out, in order, with their reasons.
    pub fn list(&self) -> Vec<(u32, String)> {
        let rows = self.codes.iter().enumerate();
        rows.filter_map(|(row, code)| {
            let reason = self.reasons.get(usize::from(*code).checked_sub(1)?)?;
            Some((row as u32, reason.clone()))
        })
        .collect()
    }
}

/// Leaves out what cannot be used and merges rows about the same pair.
///
/// Two rows are about the same pair when the prompt and the unordered responses are the same texts.
/// A pair stands in the order of the source; where the source has both orders, or always puts the
/// preferred response first, the texts (and in the latter case the seed) decide, so that the order
/// of the rows never matters.
pub(super) fn assemble(rows: Rows, mut drops: Drops, seed: u64) -> (Pairs, Drops) {
    let Rows { texts, labels, annotators, datasets, groups, deltas, chosen_first } = rows;
    refuse_texts(&texts, &mut drops);
    let count = texts.first.len();

    // Same number = same text, over prompts and responses together.
    let mut numbers: HashMap<&str, u32> = HashMap::with_capacity(count);
    let mut number = |text| {
        let next = numbers.len() as u32;
        *numbers.entry(text).or_insert(next)
    };
    let mut seen: HashMap<(u32, u32, u32), u32> = HashMap::with_capacity(count);
    let mut found: Vec<Found> = Vec::new();
    // Used rows: row, pair, number of the first response.
    let mut used: Vec<(u32, u32, u32)> = Vec::with_capacity(count);
    for row in 0..count {
        let (Some(first), Some(second)) = (texts.first.get(row), texts.second.get(row)) else { continue };
        if !drops.keeps(row) {
            continue;
        }
        let prompt = number(texts.prompt.get(row).unwrap_or(""));
        let (first, second) = (number(first), number(second));
        let key = (prompt, first.min(second), first.max(second));
        let pair = *seen.entry(key).or_insert_with(|| {
            found.push(Found { row: row as u32, prompt, first, both_orders: false, flip: false });
            found.len() as u32 - 1
        });
        if let Some(pair) = found.get_mut(pair as usize) {
            pair.both_orders |= pair.first != first;
        }
        used.push((row as u32, pair, first));
    }
    drop(seen);
    drop(numbers);

    let pair_id = orient(&mut found, &texts, &chosen_first, seed);
    let judgements = judge(&used, &found, labels.as_deref(), annotators.as_ref(), &mut drops);
    let group_keys =
        groups.into_iter().map(|(name, keys)| (name, group(&keys, &used, found.len()))).collect();
    let (response_a, response_b) = responses(&texts, &found);
    let prompt = gather(&texts.prompt, found.iter().map(|pair| pair.row));
    let (length_delta, log_length_ratio) = (0..found.len())
        .map(|i| [&response_a, &response_b].map(|text| words(text.get(i).unwrap_or(""))))
        .map(|[a, b]| (a as f32 - b as f32, log_ratio(a, b)))
        .unzip();
    let mut keys: HashMap<u32, u32> = HashMap::new();
    let prompt_key = found
        .iter()
        .enumerate()
        .map(|(i, pair)| {
            if prompt.get(i).unwrap_or("").trim().is_empty() {
                return MISSING;
            }
            let next = keys.len() as u32;
            *keys.entry(pair.prompt).or_insert(next)
        })
        .collect();
    let (judgements, (annotator, annotators), repeats) = judgements;
    let (dataset, datasets) = number_datasets(datasets.as_ref(), &found);
    let pairs = Pairs {
        pair_id,
        prompt: TextColumn(prompt),
        response_a: TextColumn(response_a),
        response_b: TextColumn(response_b),
        prompt_key,
        group_keys,
        length_delta,
        log_length_ratio,
        own_deltas: deltas.map(|matrix| keep_rows(matrix, &found)),
        datasets,
        dataset,
        annotators,
        judgements: Labels { annotator, ..judgements },
        repeats,
    };
    (pairs, drops)
}

/// The dataset of each pair and the datasets' names.
fn number_datasets(names: Option<&StringChunked>, found: &[Found]) -> (Vec<u32>, Vec<String>) {
    let Some(names) = names else { return (Vec::new(), Vec::new()) };
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut order = Vec::new();
    let of_pair = found.iter().map(|pair| {
        let Some(name) = names.get(pair.row as usize).filter(|name| !name.trim().is_empty()) else {
            return MISSING;
        };
        let next = known.len() as u32;
        *known.entry(name).or_insert_with(|| {
            order.push(name.to_owned());
            next
        })
    });
    let of_pair = of_pair.collect();
    (of_pair, order)
}

/// A pair as it was first met.
struct Found {
    row: u32,
    prompt: u32,
    first: u32,
    both_orders: bool,
    /// It stands in [`Pairs`] the other way round than in `row`.
    flip: bool,
}

fn refuse_texts(texts: &Texts, drops: &mut Drops) {
    for (row, reason) in &texts.problems {
        drops.add(*row as usize, reason);
    }
    for row in 0..texts.first.len() {
        match (texts.first.get(row), texts.second.get(row)) {
            (Some(a), Some(b)) => {
                let (a, b) = (a.trim(), b.trim());
                if a.is_empty() || b.is_empty() {
                    drops.add(row, "empty response");
                } else if a == b {
                    drops.add(row, "identical responses");
                }
            }
            _ => drops.add(row, "missing or unreadable response"),
        }
    }
}

/// Decides how each pair stands and names it.
fn orient(found: &mut [Found], texts: &Texts, chosen_first: &[bool], seed: u64) -> Vec<String> {
    let key = rng::stream(seed, "orientation").next_u64();
    found
        .iter_mut()
        .map(|pair| {
            let row = pair.row as usize;
            let prompt = texts.prompt.get(row).unwrap_or("");
            let first = texts.first.get(row).unwrap_or("");
            let second = texts.second.get(row).unwrap_or("");
            let chosen_first = chosen_first.get(row).copied().unwrap_or(false);
            let as_read = pair_hash(prompt, first, second);
            if !(chosen_first || pair.both_orders) {
                return hex(&as_read);
            }
            let turned = pair_hash(prompt, second, first);
            let (low, high) = if as_read < turned { (as_read, turned) } else { (turned, as_read) };
            let pick_high = chosen_first && {
                let coin = Sha256::new().chain_update(key.to_le_bytes()).chain_update(low).finalize();
                coin.first().is_some_and(|byte| byte & 1 == 1)
            };
            let id = if pick_high { high } else { low };
            pair.flip = id != as_read;
            hex(&id)
        })
        .collect()
}

/// SHA-256 over prompt, A and B, each after its length, so that no two triples run together.
pub(super) fn pair_hash(prompt: &str, a: &str, b: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    for text in [prompt, a, b] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let mut short = [0; 16];
    short.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    short
}

pub(super) fn hex(bytes: &[u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS.get(usize::from(value & 15)).copied().unwrap_or(b'0'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Labels as judgements about the pairs: the same annotator, or nobody named, speaks once per pair.
///
/// The annotators' indices and names come beside it, and the rows that said something again.
fn judge(
    used: &[(u32, u32, u32)],
    found: &[Found],
    labels: Option<&[f32]>,
    annotators: Option<&StringChunked>,
    drops: &mut Drops,
) -> (Labels, (Vec<u32>, Vec<String>), Repeats) {
    let mut names: HashMap<&str, u32> = HashMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut spoken: HashMap<(u32, u32), u32> = HashMap::with_capacity(used.len());
    let mut judgements = Labels::default();
    let mut annotator_of: Vec<u32> = Vec::new();
    // Per judgement: sum and number of the labels that were given; whether they differ.
    let mut sums: Vec<(f64, u32, bool)> = Vec::new();
    let mut repeats = Repeats::default();
    for &(row, pair, first) in used {
        let name =
            annotators.and_then(|names| names.get(row as usize)).filter(|name| !name.trim().is_empty());
        let annotator = name.map_or(MISSING, |name| {
            let next = names.len() as u32;
            *names.entry(name).or_insert_with(|| {
                order.push(name.to_owned());
                next
            })
        });
        let Some(about) = found.get(pair as usize) else { continue };
        let swapped = (about.first != first) != about.flip;
        let given = labels.and_then(|labels| labels.get(row as usize)).copied().unwrap_or(f32::NAN);
        let label = if swapped { 1.0 - given } else { given };
        match spoken.entry((pair, annotator)) {
            Entry::Vacant(entry) => {
                entry.insert(sums.len() as u32);
                sums.push((f64::from(label), 1, false));
                judgements.pair.push(pair);
                judgements.row.push(row);
                judgements.swapped.push(swapped);
                judgements.label.push(label);
                annotator_of.push(annotator);
            }
            Entry::Occupied(entry) => {
                let index = *entry.get();
                let before = judgements.label.get(index as usize).copied().unwrap_or(f32::NAN);
                if let Some((sum, count, differ)) = sums.get_mut(index as usize) {
                    *sum += f64::from(label);
                    *count += 1;
                    *differ |= label != before && !(label.is_nan() && before.is_nan());
                }
                repeats.judgement.push(index);
                repeats.row.push(row);
                repeats.swapped.push(swapped);
                repeats.label.push(label);
            }
        }
    }
    for (&row, &index) in repeats.row.iter().zip(&repeats.judgement) {
        let differ = sums.get(index as usize).is_some_and(|(_, _, differ)| *differ);
        drops.add(row as usize, if differ { "conflicting labels merged" } else { "duplicate" });
    }
    for (index, (label, (sum, count, differ))) in judgements.label.iter_mut().zip(sums).enumerate() {
        if differ {
            repeats.judgement.push(index as u32);
            repeats.row.extend(judgements.row.get(index));
            repeats.swapped.extend(judgements.swapped.get(index));
            repeats.label.push(*label);
            *label = (sum / f64::from(count)) as f32;
        }
    }
    (judgements, (annotator_of, order), repeats)
}

/// Keys of a column per pair; keys that meet in one pair become one.
fn group(keys: &StringChunked, used: &[(u32, u32, u32)], pairs: usize) -> Vec<u32> {
    let mut names: HashMap<&str, u32> = HashMap::new();
    let mut parents: Vec<u32> = Vec::new();
    let mut of_pair = vec![MISSING; pairs];
    for &(row, pair, _) in used {
        let Some(key) = keys.get(row as usize).filter(|key| !key.trim().is_empty()) else { continue };
        let next = names.len() as u32;
        let number = *names.entry(key).or_insert_with(|| {
            parents.push(next);
            next
        });
        if let Some(slot) = of_pair.get_mut(pair as usize) {
            if *slot == MISSING {
                *slot = number;
            } else {
                super::split::union(&mut parents, *slot, number);
            }
        }
    }
    for slot in of_pair.iter_mut().filter(|slot| **slot != MISSING) {
        *slot = super::split::find(&mut parents, *slot);
    }
    of_pair
}

/// Responses A and B in the pairs' order; texts are shared with the source's table, not copied.
fn responses(texts: &Texts, found: &[Found]) -> (StringChunked, StringChunked) {
    if !found.iter().any(|pair| pair.flip) {
        let rows = || found.iter().map(|pair| pair.row);
        return (gather(&texts.first, rows()), gather(&texts.second, rows()));
    }
    // One column of both, to pick from either by number; row numbers are below half of `u32`'s range.
    let mut both = texts.first.clone();
    let offset = texts.first.len() as u32;
    if both.append(&texts.second).is_err() {
        both = texts.first.iter().chain(texts.second.iter()).collect();
    }
    let both = both.rechunk().into_owned();
    let pick = |second: bool| {
        gather(&both, found.iter().map(|pair| if second != pair.flip { pair.row + offset } else { pair.row }))
    };
    (pick(false), pick(true))
}

/// The given rows of a column, in one chunk. Rows that are not there become null.
pub(super) fn gather(column: &StringChunked, rows: impl Iterator<Item = u32>) -> StringChunked {
    let rows: Vec<IdxSize> = rows.map(|row| row as IdxSize).collect();
    if rows.len() == column.len() && rows.iter().enumerate().all(|(i, row)| *row as usize == i) {
        return column.rechunk().into_owned();
    }
    match column.take(rows.as_slice()) {
        Ok(taken) => taken.rechunk().into_owned(),
        Err(_) => rows.iter().map(|row| column.get(*row as usize)).collect(),
    }
}

/// The pairs' rows of the matrix, moved to its front in place, turned where the pair stands turned.
fn keep_rows(mut matrix: Matrix, found: &[Found]) -> Matrix {
    let width = matrix.cols;
    for (to, pair) in found.iter().enumerate() {
        // Pairs are in the order of their first rows, so nothing is overwritten before it is read.
        let from = pair.row as usize * width;
        let to = to * width;
        if from != to && from + width <= matrix.values.len() {
            matrix.values.copy_within(from..from + width, to);
        }
        if pair.flip
            && let Some(row) = matrix.values.get_mut(to..to + width)
        {
            row.iter_mut().for_each(|x| *x = -*x);
        }
    }
    matrix.values.truncate(found.len() * width);
    matrix
}

/// log((1 + a) / (1 + b)) of two lengths.
pub(super) fn log_ratio(a: usize, b: usize) -> f32 {
    (((1 + a) as f64).ln() - ((1 + b) as f64).ln()) as f32
}

/// Number of words: runs of anything but white space.
pub(super) fn words(text: &str) -> usize {
    if !text.is_ascii() {
        return text.split_whitespace().count();
    }
    let mut before = true;
    let mut count = 0;
    for byte in text.bytes() {
        let space = matches!(byte, b' ' | 9..=13);
        count += usize::from(before & !space);
        before = space;
    }
    count
}
