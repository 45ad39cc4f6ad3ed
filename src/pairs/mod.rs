//! What a preference dataset is: pairs of responses to a prompt, and who preferred which.

pub(crate) mod arrow_size;
mod codes;
mod column;
mod columns;
mod container;
mod dedup;
mod dialect;
mod error;
mod features;
mod format;
mod inspect;
mod json_rows;
mod labels;
mod literal;
mod options;
mod order;
mod pieces;
mod ranked;
mod read;
mod records;
pub mod rewrite;
pub mod rows;
mod sample;
mod shapes;
mod sides;
mod source;
pub mod split;
mod table;
mod texts;
mod turns;
mod vectors;

use std::collections::BTreeMap;
use std::path::PathBuf;

use polars::prelude::StringChunked;

use crate::matrix::Matrix;

pub use codes::{LabelMap, LabelScale, Meaning};
pub use column::{column, describe_columns, find_columns};
pub use error::PairsError;
pub use inspect::{Inspection, inspect};
pub use options::ReadOptions;
pub use order::{canonical, refuse_one_sided};
pub use read::{read, read_all, values};
pub use source::{Source, dataset_name};
pub use split::split;

/// A column of texts, `[pairs]`; shares its buffers with the table it was read from.
#[derive(Debug, Clone, Default)]
pub struct TextColumn(pub StringChunked);

impl TextColumn {
    /// Number of texts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Text `index`; the empty string where it is missing.
    pub fn get(&self, index: usize) -> &str {
        self.0.get(index).unwrap_or("")
    }
}

/// Marks "no annotator named" and "no key" in the integer columns below.
pub const MISSING: u32 = u32::MAX;

/// The pairs of a dataset, deduplicated on prompt and unordered responses, `[pairs]`.
///
/// What people said about them stands in [`Labels`]: one pair may have several.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    /// Stable hash of prompt and the two responses in order: 32 hex digits.
    pub pair_id: Vec<String>,
    /// The prompt; empty where the dataset has none.
    pub prompt: TextColumn,
    /// The first response.
    pub response_a: TextColumn,
    /// The second response.
    pub response_b: TextColumn,
    /// Same number = same prompt, `[pairs]`; [`MISSING`] for an empty prompt. A cluster of the intervals.
    pub prompt_key: Vec<u32>,
    /// Keys of further columns that must not be torn apart by the split: name and key per pair.
    pub group_keys: Vec<(String, Vec<u32>)>,
    /// Word-count difference A − B, `[pairs]`.
    pub length_delta: Vec<f32>,
    /// log((1 + words of A) / (1 + words of B)), `[pairs]`.
    pub log_length_ratio: Vec<f32>,
    /// `e(A) − e(B)` where the user brought vectors (`--embedding-columns`), `[pairs, dimensions]`.
    pub own_deltas: Option<Matrix>,
    /// Names of the datasets; [`Pairs::dataset`] points into it. Empty for a single source without such a column.
    pub datasets: Vec<String>,
    /// Which dataset a pair was first met in, `[pairs]`; empty like `datasets`, [`MISSING`] where not said.
    pub dataset: Vec<u32>,
    /// Names of the annotators; [`Labels::annotator`] points into it. Empty without annotators.
    pub annotators: Vec<String>,
    /// Every label that was given, columnar.
    pub judgements: Labels,
    /// Rows that say again what an earlier row says.
    pub repeats: Repeats,
}

/// Rows of the source about a pair that its annotator has judged before, `[repeats]`: what is done to a
/// pair must be done to them, too. Where such rows differ in their labels, the first one is here as well.
#[derive(Debug, Clone, Default)]
pub struct Repeats {
    /// Index into [`Labels`]: the row that counts.
    pub judgement: Vec<u32>,
    /// Row in the source, from 0.
    pub row: Vec<u32>,
    /// The source has this pair's responses the other way round.
    pub swapped: Vec<bool>,
    /// The row's own label, as in [`Labels::label`], which holds the mean of all.
    pub label: Vec<f32>,
}

/// Which files and columns the pairs came from, for what writes them back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    /// The files, in the order of their rows.
    pub files: Vec<PathBuf>,
    /// Rows in each of them.
    pub rows: Vec<usize>,
    /// Column with the prompt.
    pub prompt: Option<String>,
    /// Column with the response that label 1 prefers.
    pub first: String,
    /// Column with the other response.
    pub second: String,
    /// Column with the label.
    pub label: Option<String>,
    /// Two columns that say together who wins, instead of one label.
    pub label_pair: Option<(String, String)>,
    /// The first response is always the preferred one; there is no label.
    pub chosen_first: bool,
    /// Columns about the first response and about the second: they change places with them.
    pub twins: Vec<(String, String)>,
    /// How labels are written.
    codes: codes::Codes,
}

/// Labels, one row per used row of the source, `[judgements]`.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// Index into [`Pairs`].
    pub pair: Vec<u32>,
    /// Row in the source, from 0.
    pub row: Vec<u32>,
    /// The source has this pair's responses the other way round.
    pub swapped: Vec<bool>,
    /// Share of preference for A *as the pair stands in [`Pairs`]*: 1, 0, .5 = tie, between = soft; NaN = no label.
    pub label: Vec<f32>,
    /// Index into [`Pairs::annotators`], or [`MISSING`].
    pub annotator: Vec<u32>,
}

impl Pairs {
    /// Some pairs (ascending) with their labels, without their texts and without what only writing them back needs.
    pub(crate) fn without_texts(&self, rows: &[u32]) -> Self {
        let mut place = vec![MISSING; self.pair_id.len()];
        rows.iter().zip(0..).for_each(|(&row, at)| place[row as usize] = at);
        let there: Vec<usize> = (0..self.judgements.pair.len())
            .filter(|&at| place[self.judgements.pair[at] as usize] != MISSING)
            .collect();
        let own = &self.judgements;
        let judgements = Labels {
            pair: there.iter().map(|&at| place[own.pair[at] as usize]).collect(),
            row: there.iter().map(|&at| own.row[at]).collect(),
            swapped: there.iter().map(|&at| own.swapped[at]).collect(),
            label: there.iter().map(|&at| own.label[at]).collect(),
            annotator: there.iter().map(|&at| own.annotator[at]).collect(),
        };
        let pick = |values: &[f32]| {
            rows.iter().filter_map(|&row| values.get(row as usize)).copied().collect::<Vec<f32>>()
        };
        Self {
            pair_id: rows.iter().map(|&row| self.pair_id[row as usize].clone()).collect(),
            prompt_key: rows.iter().map(|&row| self.prompt_key[row as usize]).collect(),
            length_delta: pick(&self.length_delta),
            log_length_ratio: pick(&self.log_length_ratio),
            annotators: self.annotators.clone(),
            judgements,
            ..Self::default()
        }
    }
}

/// What reading did with the source, for the run's record.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ReadReport {
    /// Path, folder or glob as given.
    pub path: String,
    /// Name of the shape that was recognised ("chosen/rejected transcripts").
    pub shape: String,
    /// SHA-256 over the files' bytes, in order.
    pub fingerprint: String,
    /// Rows in the source; where a row is several pairs or several rows are one, the pairs made and what made none.
    pub pairs_read: usize,
    /// Of these, how many became judgements.
    pub pairs_used: usize,
    /// Left out, by reason.
    pub dropped: BTreeMap<String, usize>,
    /// Which rows were left out and why.
    #[serde(skip)]
    pub dropped_rows: Vec<DroppedRow>,
    /// Every source on its own.
    pub sources: Vec<SourceReport>,
    /// Sentences the user should read once (no label column, chosen-first shuffled, …).
    pub notes: Vec<String>,
    /// Files and columns.
    #[serde(skip)]
    pub layout: Layout,
}

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedRow {
    /// Index into [`ReadReport::sources`].
    pub source: usize,
    /// Row in that source, from 0.
    pub row: u32,
    /// Why.
    pub reason: String,
}

/// What reading did with one of the sources.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SourceReport {
    /// Its name as a dataset.
    pub dataset: String,
    /// Path, folder, glob or `hf://` name.
    pub path: String,
    /// Number of files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The shape that was recognised.
    pub shape: String,
    /// Every column with its type, in order.
    pub columns: Vec<ColumnReport>,
    /// Which of the two was shown first is not known: A and B were shuffled by the seed.
    pub shuffled: bool,
    /// Rows in the files.
    pub rows: usize,
    /// Rows, or pairs made and what made none.
    pub pairs_read: usize,
    /// Of these, how many became judgements.
    pub pairs_used: usize,
}

/// A column and what it is read as.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ColumnReport {
    /// Its name.
    pub name: String,
    /// Its type in plain words.
    pub r#type: String,
    /// "prompt", "label", …; `None`: not read.
    pub role: Option<String>,
}

/// The side of the split a pair is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The autoencoder learns from these.
    Train,
    /// Descriptions are written and chosen on these.
    #[serde(rename = "describe")]
    Validation,
    /// Every figure that is shown comes from these.
    #[serde(rename = "held_out")]
    Test,
    /// Left alone: a sweep looks at no pair that the analysis after it is measured on.
    Apart,
}

impl Split {
    /// The name in files: `train`, `describe`, `held_out`; `apart` stands in none.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "describe",
            Split::Test => "held_out",
            Split::Apart => "apart",
        }
    }
}

#[cfg(test)]
mod tests;

/// Mean label of each pair over its judgements, NaN where it has none.
pub fn mean_labels(pairs: &Pairs) -> Vec<f32> {
    let mut sums = vec![(0f32, 0u32); pairs.pair_id.len()];
    for (&pair, &label) in pairs.judgements.pair.iter().zip(&pairs.judgements.label) {
        if !label.is_nan() {
            let slot = &mut sums[pair as usize];
            *slot = (slot.0 + label, slot.1 + 1);
        }
    }
    sums.into_iter().map(|(sum, n)| if n > 0 { sum / n as f32 } else { f32::NAN }).collect()
}
