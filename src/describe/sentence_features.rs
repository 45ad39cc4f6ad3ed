//! The autoencoders that read sentences: learned here, and the dictionary's, applied to any texts.
//!
//! ```text
//! sentence ──► embedder ──► learned here
//!          └──► the dictionary's embedder ──► dictionary ──► its features
//! ```
//!
//! The two embedders are one in a run with the boxed one. A dictionary belongs to the vectors that it was trained on and
//! read with, so it brings its own embedder where a run has another: its names are as true there, and runs have the same
//! features whatever their embedder.
//!
//! A sentence's activations depend on its own words alone, so a pair has the same features whatever it comes with.
//!
//! Learning uses the sentences of all responses, held-out ones too: no label is looked at, so nothing that is shown
//! about labels is flattered, and small datasets have few enough of them. What is shown about the autoencoder itself is
//! measured on the sentences that were set aside.

use super::feature::Reading;
use super::presence::{FROM, Firing};
use super::setting::NamedEntry;
use crate::context::{Context, Observer};
use crate::dictionary::{Dictionary, EntryKind};
use crate::embed::{BundledEmbedder, EmbedError, Embedder, embed_texts};
use crate::matrix::Matrix;
use crate::sae::{
    Compute, Control, Progress, SaeConfig, SaeError, SentenceSae, SparseRows, TrainReport, sentence_config,
    train_sentences,
};
use crate::sentences::SentenceTable;
use crate::store::Grading;

/// Different sentences that are learned from, at most: those with the lowest hash. Memory is bounded by them.
const LEARNED_FROM: usize = 150_000;
/// Rows that training sees, about (400 steps), and the limits of the epochs that makes: what comes after changes no typical
/// sentence. Halves, of which only the directions matter, have half as many epochs.
const SEEN: usize = 200_000;
const EPOCHS: (usize, usize) = (6, 30);
/// One sentence of so many is set aside: it says when to stop, and sets θ.
const ASIDE: usize = 10;
/// Rows (sentences, weighted) and different sentences for each feature; features in steps of so many, and their limits.
/// Fewer features merge what is different, more split what is one.
const ROWS_EACH: usize = 80;
const DIFFERENT_EACH: usize = 4;
const STEP: usize = 16;
const MOST: usize = 512;
/// Share of the responses in which an average feature is active: what is much rarer can be told nothing about in a
/// dataset of usual size, and makes every test of the others stricter.
const SHARE: f64 = 0.12;
/// Features active in a sentence: it says a few things.
const ACTIVE: usize = 3;
/// Sentences embedded at a time.
const BLOCK: usize = 32_768;
/// Sentences on which stability is measured, at most.
const MEASURED: usize = 20_000;

/// Why sentences could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source
pub enum SentenceError {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Sae(#[from] SaeError),
}

/// What turns sentences into features: learned ones first, then the dictionary's.
#[derive(Debug, Clone, Default)]
pub struct SentenceModels {
    /// Learned on this dataset's sentences; `None` where there was nothing to learn from.
    pub learned: Option<SentenceSae>,
    /// The dictionary, where sentences are read.
    pub dictionary: Option<DictionaryModel>,
    /// What graded activations are.
    pub grading: Grading,
}

/// A dictionary's autoencoder as a run uses it.
#[derive(Debug, Clone)]
pub struct DictionaryModel {
    /// All of it.
    pub sae: SentenceSae,
    /// Entries that are features of the run.
    pub used: Vec<u32>,
    /// What embeds for it, where that is not the run's embedder.
    own: Option<BundledEmbedder>,
}

impl SentenceModels {
    /// Features that were learned.
    pub fn learned_features(&self) -> usize {
        self.learned.as_ref().map_or(0, SentenceSae::features)
    }

    /// All features.
    pub fn features(&self) -> usize {
        self.learned_features() + self.dictionary.as_ref().map_or(0, |dictionary| dictionary.used.len())
    }

    /// Activations `[sentences, features]` of `count` sentences, and the vectors of `embedder`, `[sentences, dimensions]`.
    ///
    /// # Errors
    /// Where an embedder fails, or its vectors are not of the autoencoder's size or not finite.
    pub fn read<'t>(
        &self,
        count: usize,
        text: &dyn Fn(usize) -> &'t str,
        embedder: &dyn Embedder,
        context: &Context,
        listener: &mut dyn Observer,
    ) -> Result<(SparseRows, Matrix), SentenceError> {
        self.read_above(1.0, count, text, embedder, context, listener)
    }

    /// The same; learned features from `from` · θ on.
    fn read_above<'t>(
        &self,
        from: f32,
        count: usize,
        text: &dyn Fn(usize) -> &'t str,
        embedder: &dyn Embedder,
        context: &Context,
        listener: &mut dyn Observer,
    ) -> Result<(SparseRows, Matrix), SentenceError> {
        let (vectors, _) = embed_texts(embedder, count, text, context, listener)?;
        let own = self.dictionary.as_ref().and_then(|dictionary| dictionary.own.as_ref());
        let own = own.map(|own| embed_texts(own, count, text, context, &mut ())).transpose()?;
        let z = self.above(from, &vectors, own.as_ref().map_or(&vectors, |(own, _)| own))?;
        Ok((z, vectors))
    }

    /// θ of every feature.
    fn thresholds(&self) -> Vec<f32> {
        let learned = self.learned.iter().flat_map(|sae| vec![sae.threshold; sae.features()]);
        let dictionary = self.dictionary.iter().flat_map(|own| vec![own.sae.threshold; own.used.len()]);
        learned.chain(dictionary).collect()
    }

    /// Activations of vectors of the run's embedder, above `from` · θ, and of the dictionary's.
    fn above(&self, from: f32, vectors: &Matrix, for_dictionary: &Matrix) -> Result<SparseRows, SaeError> {
        let learned = match &self.learned {
            Some(learned) => learned.above(vectors, from * learned.threshold)?,
            None => SparseRows { indptr: vec![0; vectors.rows() + 1], ..SparseRows::default() },
        };
        let Some(DictionaryModel { sae, used, .. }) = &self.dictionary else { return Ok(learned) };
        let all = sae.activations(for_dictionary)?;
        let mut column = vec![None; sae.features()];
        for (at, &feature) in used.iter().enumerate() {
            if let Some(slot) = column.get_mut(feature as usize) {
                *slot = Some((learned.cols + at) as u32);
            }
        }
        let mut both =
            SparseRows { indptr: vec![0], cols: learned.cols + used.len(), ..SparseRows::default() };
        for row in 0..vectors.rows() {
            let (index, value) = learned.row(row);
            both.index.extend(index);
            both.value.extend(value);
            let (index, value) = all.row(row);
            for (&feature, &value) in index.iter().zip(value) {
                if let Some(Some(column)) = column.get(feature as usize) {
                    both.index.push(*column);
                    both.value.push(value);
                }
            }
            both.indptr.push(both.index.len());
        }
        Ok(both)
    }

    /// What fires in which sentence of `table`; each different one is embedded once.
    ///
    /// # Errors
    /// Where the embedder fails, or its vectors are not of the autoencoder's size.
    pub fn fire(
        &self,
        table: SentenceTable,
        embedder: &dyn Embedder,
        context: &Context,
        listener: &mut dyn Observer,
    ) -> Result<Firing, SentenceError> {
        let empty = || SparseRows { indptr: vec![0], cols: self.features(), ..SparseRows::default() };
        let mut z = empty();
        let totals = self.grading == Grading::Total;
        let mut faint = totals.then(|| SparseRows { cols: self.learned_features(), ..empty() });
        if z.cols == 0 {
            z.indptr.resize(table.len() + 1, 0);
            return Ok(Firing { table, z, faint });
        }
        let thresholds = self.thresholds();
        let least = if totals { FROM } else { 1.0 };
        for from in (0..table.len()).step_by(BLOCK) {
            context.cancel.check().map_err(EmbedError::from)?;
            let count = BLOCK.min(table.len() - from);
            let text = |at: usize| table.text(from + at);
            let (block, _) = self.read_above(least, count, &text, embedder, context, listener)?;
            match &mut faint {
                Some(faint) => {
                    let (above, below) = block.parted(&thresholds);
                    z.append(above);
                    faint.append(below);
                }
                None => z.append(block),
            }
        }
        Ok(Firing { table, z, faint })
    }
}

/// The dictionary in the program that reads the vectors of the embedder with this identity, else the one that brings its
/// own embedder.
pub fn bundled_dictionary(identity: &str) -> Option<Dictionary> {
    // Its files were compiled in, and a test reads them: there is no damage to tell a user of.
    Dictionary::bundled_for(identity).ok().flatten().or_else(|| Dictionary::bundled().ok())
}

/// The named entries of a dictionary.
pub fn named_entries(dictionary: &Dictionary) -> Vec<NamedEntry> {
    let entries = (0u32..).zip(&dictionary.entries);
    entries
        .filter_map(|(number, entry)| {
            let name = entry.name.clone()?;
            let says = match (&entry.definition, entry.kind) {
                // How one sentence is said or looks is not how the whole response does.
                (Some(definition), Some(EntryKind::Style | EntryKind::Format)) => {
                    format!("in places {definition}")
                }
                (Some(definition), _) => definition.clone(),
                // What a sentence is about is no clause by itself.
                (None, Some(EntryKind::Topic)) => format!("speaks of {name}"),
                (None, _) => name.clone(),
            };
            Some(NamedEntry {
                number,
                id: entry.id.clone(),
                name,
                definition: says,
                examples: entry.examples.clone(),
                clear: entry.clear_level,
                speaks: entry.speaks(),
                reading: entry.truth.map(|truth| Reading {
                    right: truth.firing_true,
                    n: truth.firing_n,
                    found: truth.firing_true,
                    of: truth.firing_true + truth.silent_true,
                }),
            })
        })
        .collect()
}

impl DictionaryModel {
    /// A dictionary with all its named entries in use, in a run whose embedder has this identity.
    ///
    /// # Errors
    /// [`EmbedError::Model`] only where the program was built from damaged files.
    pub fn new(dictionary: &Dictionary, identity: &str) -> Result<Self, EmbedError> {
        let used = named_entries(dictionary).into_iter().map(|entry| entry.number).collect();
        let own = (dictionary.card.embedder != identity).then(BundledEmbedder::load).transpose()?;
        Ok(Self { sae: dictionary.sae().clone(), used, own })
    }

    /// With the entries of these ids alone in use, in their order.
    pub fn only(&mut self, dictionary: &Dictionary, ids: &[&str]) {
        self.used = ids.iter().filter_map(|id| dictionary.find(id).ok()).map(|at| at as u32).collect();
    }
}

/// How many features are learned, and what came out.
#[derive(Debug, Clone)]
pub struct LearnedSentences {
    /// The autoencoder.
    pub model: SentenceSae,
    /// How training went; its stability says how well each feature comes back from half of the sentences.
    pub report: TrainReport,
}

/// Sentences to learn from, in an order that only their words decide, and their vectors.
pub struct SentenceMaterial {
    /// `[sentences, dimensions]`, as they are: what the dictionary leaves of them has no meaning that a reader finds
    /// again (of 32 features learned on it on hh none had words that fit .3; of 64 on the sentences themselves, 25), and
    /// what both say is said once.
    vectors: Matrix,
    /// How often each counts: the square root of its mentions, as in [`crate::sentences::weighted`].
    weights: Vec<u32>,
    /// Sentences of an average response.
    per_response: f64,
}

impl SentenceMaterial {
    /// Embeds what is learned from.
    ///
    /// # Errors
    /// Where the embedder fails.
    pub fn new(
        table: &SentenceTable,
        embedder: &dyn Embedder,
        seed: u64,
        context: &Context,
        listener: &mut dyn Observer,
    ) -> Result<Self, SentenceError> {
        let all: Vec<u32> = (0..table.len() as u32).collect();
        let mut sample = table.sample(&all, LEARNED_FROM, seed);
        sample.sort_by_key(|&sentence| (table.hash(sentence as usize), table.kind(sentence as usize)));
        let counts = table.counts(|_| true);
        let mentions = sample.iter().map(|&sentence| counts.get(sentence as usize).copied().unwrap_or(1));
        let weights = mentions.map(|count| f64::from(count).sqrt().round().max(1.0) as u32).collect();
        let text = |at: usize| sample.get(at).map_or("", |&sentence| table.text(sentence as usize));
        let (vectors, _) = embed_texts(embedder, sample.len(), &text, context, listener)?;
        let mentions: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        let per_response = mentions as f64 / table.responses().max(1) as f64;
        Ok(Self { vectors, weights, per_response })
    }

    /// The sizes that suit the sentences, with M and K as asked where they are.
    pub fn config(&self, features: Option<usize>, active: Option<usize>, seed: u64) -> SaeConfig {
        let all: Vec<u32> = (0..self.weights.len() as u32).collect();
        let rows = self.weighted(&all);
        let common = (ACTIVE as f64 * self.per_response / SHARE) as usize;
        let suits = common.min(rows.len() / ROWS_EACH).min(all.len() / DIFFERENT_EACH);
        let m = features.unwrap_or(((suits + STEP / 2) / STEP * STEP).clamp(STEP, MOST));
        let k = active.unwrap_or(ACTIVE).clamp(1, m);
        let usual = sentence_config(&rows, seed);
        let epochs = (SEEN / rows.len().max(1)).clamp(EPOCHS.0, EPOCHS.1);
        SaeConfig {
            features: m,
            active: k,
            prefixes: vec![(m / 4).max(1), m],
            epochs_max: epochs,
            epochs_min: usual.epochs_min.min(epochs),
            ..usual
        }
    }

    /// Rows, each as often as it counts.
    fn weighted(&self, rows: &[u32]) -> Vec<u32> {
        let times = |row: u32| self.weights.get(row as usize).copied().unwrap_or(1) as usize;
        rows.iter().flat_map(|&row| std::iter::repeat_n(row, times(row))).collect()
    }

    /// Learns features, and learns them again from either half of the sentences.
    ///
    /// # Errors
    /// Those of [`train_sentences`].
    pub fn learn(
        &self,
        config: &SaeConfig,
        compute: &Compute,
        events: &mut dyn FnMut(Progress) -> Control,
    ) -> Result<LearnedSentences, SaeError> {
        let rows: Vec<u32> = (0..self.weights.len() as u32).collect();
        let (aside, learned): (Vec<u32>, Vec<u32>) =
            rows.iter().partition(|&&row| row as usize % ASIDE == ASIDE / 2);
        let (model, mut report) = self.once(&learned, &aside, config, compute, events)?;
        let mut halves = Vec::new();
        for parity in [0, 1] {
            let half: Vec<u32> = learned.iter().copied().skip(parity).step_by(2).collect();
            let config = SaeConfig {
                seed: config.seed.wrapping_add(1 + parity as u64),
                epochs_max: config.epochs_max.div_ceil(2),
                epochs_min: config.epochs_min.div_ceil(2),
                ..config.clone()
            };
            // Of a half nobody wants to hear losses, but whoever wants to stop is asked.
            let mut ask = |_: Progress| events(Progress::Step { epoch: 0, step: 0, steps: 0 });
            let half = self.once(&half, &aside, &config, compute, &mut ask);
            if let Err(stopped @ SaeError::Stopped { .. }) = half {
                return Err(stopped);
            }
            // Half of a small dataset may be too small; its stability is unknown then, not zero.
            halves.extend(half.ok().map(|(half, _)| half));
        }
        report.stability = Vec::new();
        if halves.len() == 2 {
            report.stability = stability(&model, &halves, &self.measured())?;
        }
        Ok(LearnedSentences { model, report })
    }

    /// The vectors that stability is measured on.
    pub fn measured(&self) -> Matrix {
        let step = self.weights.len().div_ceil(MEASURED).max(1);
        let rows: Vec<u32> = (0..self.weights.len() as u32).step_by(step).collect();
        self.vectors.select_rows(&rows)
    }

    fn once(
        &self,
        learned: &[u32],
        aside: &[u32],
        config: &SaeConfig,
        compute: &Compute,
        events: &mut dyn FnMut(Progress) -> Control,
    ) -> Result<(SentenceSae, TrainReport), SaeError> {
        let weighted = self.weighted(learned);
        train_sentences(&self.vectors, &weighted, aside, aside, config, compute, None, events)
    }
}

/// For each feature the best correlation of its activations with a feature's of another model, the mean over the others;
/// `[features]`, on the vectors `x` `[sentences, dimensions]`.
///
/// # Errors
/// What [`SentenceSae::activations`] reports.
pub fn stability(model: &SentenceSae, others: &[SentenceSae], x: &Matrix) -> Result<Vec<f64>, SaeError> {
    let own = Columns::of(&model.activations(x)?);
    let mut sums = vec![0.0; model.features()];
    for other in others {
        let their = Columns::of(&other.activations(x)?);
        for (feature, sum) in sums.iter_mut().enumerate() {
            let best = (0..their.columns.len()).map(|other| own.correlation(feature, &their, other));
            *sum += best.fold(0.0, f64::max);
        }
    }
    Ok(sums.into_iter().map(|sum| sum / others.len().max(1) as f64).collect())
}

/// Sparse columns with their means and norms about them.
struct Columns {
    columns: Vec<Vec<(u32, f32)>>,
    moments: Vec<(f64, f64)>,
    rows: f64,
}

impl Columns {
    fn of(z: &SparseRows) -> Self {
        let (columns, rows) = (z.columns(), z.rows().max(1) as f64);
        let moments = columns
            .iter()
            .map(|column| {
                let sum: f64 = column.iter().map(|&(_, z)| f64::from(z)).sum();
                let square: f64 = column.iter().map(|&(_, z)| f64::from(z) * f64::from(z)).sum();
                (sum / rows, (square - sum * sum / rows).max(0.0).sqrt())
            })
            .collect();
        Self { columns, moments, rows }
    }

    fn correlation(&self, own: usize, other: &Self, their: usize) -> f64 {
        let ((mean, norm), (their_mean, their_norm)) = (self.moments[own], other.moments[their]);
        if norm == 0.0 || their_norm == 0.0 {
            return 0.0;
        }
        let (a, b) = (&self.columns[own], &other.columns[their]);
        let (mut i, mut j, mut dot) = (0, 0, 0.0);
        while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
            match x.0.cmp(&y.0) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => {
                    dot += f64::from(x.1) * f64::from(y.1);
                    (i, j) = (i + 1, j + 1);
                }
            }
        }
        (dot - self.rows * mean * their_mean) / (norm * their_norm)
    }
}
