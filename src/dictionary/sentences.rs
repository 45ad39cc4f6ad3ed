//! Sentences for those who give names and for those who check them.

use std::collections::HashSet;

use rand::seq::SliceRandom;
use serde::Serialize;

use super::train::{Parts, vectors};
use super::{Dictionary, DictionaryError, Listener};
use crate::context::Context;
use crate::embed::Embedder;
use crate::pairs::Pairs;
use crate::rng;
use crate::sentences::{SentenceKind, SentenceTable};

/// Sentences that are looked at, at most.
const LOOKED_AT: usize = 400_000;

/// Which sentences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Split {
    /// Those that training saw: for names.
    #[default]
    Trained,
    /// Those that it did not, from responses to other prompts: for checking names.
    Fresh,
}

/// How many.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportSettings {
    /// Keys, folders and the request to stop that embedding needs.
    pub context: Context,
    /// Sentences in which an entry is clear, spread over their strengths.
    pub clear: usize,
    /// Sentences in which it is not active at all.
    pub silent: usize,
    /// Of which side.
    pub side: Split,
    /// For the draw.
    pub seed: u64,
}

impl Default for ExportSettings {
    fn default() -> Self {
        Self { context: Context::default(), clear: 14, silent: 10, side: Split::Trained, seed: 0 }
    }
}

/// What is handed out of one entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// The entry.
    pub id: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// From which activation on it is clear.
    pub clear_level: f32,
    /// Share of the sentences looked at in which it is clear.
    pub clear_share: f64,
    /// Sentences in which it is clear, the strongest first.
    pub clear: Vec<ExportedSentence>,
    /// Sentences in which it is silent.
    pub silent: Vec<ExportedSentence>,
}

/// One of its sentences.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportedSentence {
    /// Its words.
    pub text: String,
    /// What it is.
    pub kind: SentenceKind,
    /// The entry's activation; 0 where it is silent.
    pub strength: f32,
    /// Share of the entry's active sentences that are weaker, 0 … 1.
    pub rank: f64,
}

/// For every entry some sentences of the responses of `pairs`, the same for the same seed. Sentences that begin with the
/// same words count as one where there are others: eight models' answers to one question say nothing new.
///
/// # Errors
/// [`DictionaryError::Embedder`], and what embedding reports.
pub fn export(
    dictionary: &Dictionary,
    pairs: &Pairs,
    embedder: &dyn Embedder,
    settings: &ExportSettings,
    listener: &mut dyn Listener,
) -> Result<Vec<Exported>, DictionaryError> {
    dictionary.expect_embedder(&embedder.identity())?;
    let table = SentenceTable::of_pairs(pairs);
    let parts = Parts::new(pairs, &table, dictionary.card.held_back, dictionary.card.seed);
    let side = if settings.side == Split::Trained { parts.seen } else { parts.fresh };
    let rows = table.sample(&side, LOOKED_AT, settings.seed);
    let vectors = vectors(&table, &rows, embedder, &settings.context, listener)?;
    let columns = dictionary.activations(&vectors)?.columns();
    let mut all = Vec::new();
    for (number, (entry, mut column)) in dictionary.entries.iter().zip(columns).enumerate() {
        // The strongest first; equal ones in the order of hashes.
        column.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let clear = column.partition_point(|&(_, z)| z >= entry.clear_level);
        let mut random = rng::stream(settings.seed, &format!("sentences of entry {number}"));
        let text = |row: u32| rows.get(row as usize).map_or("", |&sentence| table.text(sentence as usize));
        let sentence = |row: u32, strength: f32, rank: f64| ExportedSentence {
            text: text(row).to_owned(),
            kind: rows
                .get(row as usize)
                .map_or(SentenceKind::Prose, |&sentence| table.kind(sentence as usize)),
            strength,
            rank,
        };
        let mut taken: HashSet<String> = HashSet::new();
        let mut chosen: Vec<usize> = Vec::new();
        // From each layer of strengths one at random.
        for layer in 0..settings.clear.min(clear) {
            let wanted = settings.clear.min(clear);
            let mut places: Vec<usize> = (clear * layer / wanted..clear * (layer + 1) / wanted).collect();
            places.shuffle(&mut random);
            let new = places
                .iter()
                .copied()
                .find(|&at| column.get(at).is_some_and(|&(row, _)| !taken.contains(&beginning(text(row)))));
            if let Some(at) = new.or(places.first().copied()) {
                taken.insert(column.get(at).map(|&(row, _)| beginning(text(row))).unwrap_or_default());
                chosen.push(at);
            }
        }
        chosen.sort_unstable();
        let rank = |at: usize| 1.0 - at as f64 / column.len().max(1) as f64;
        let clear_sentences = chosen
            .iter()
            .filter_map(|&at| column.get(at).map(|&(row, z)| sentence(row, z, rank(at))))
            .collect();
        let active: HashSet<u32> = column.iter().map(|&(row, _)| row).collect();
        let mut silent: Vec<u32> = (0..rows.len() as u32).filter(|row| !active.contains(row)).collect();
        let (drawn, _) = silent.partial_shuffle(&mut random, settings.silent);
        all.push(Exported {
            id: entry.id.clone(),
            name: entry.name.clone(),
            clear_level: entry.clear_level,
            clear_share: clear as f64 / rows.len().max(1) as f64,
            clear: clear_sentences,
            silent: drawn.iter().map(|&row| sentence(row, 0.0, 0.0)).collect(),
        });
    }
    Ok(all)
}

/// The first words of a sentence, by which near copies are told.
fn beginning(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.take(4).map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}
