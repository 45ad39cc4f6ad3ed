//! Responses to a dictionary without names.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Card, Dictionary, DictionaryError, Entry, SCHEMA_VERSION};
use crate::context::{Context, Observer};
use crate::embed::{Embedder, embed_texts};
use crate::matrix::Matrix;
use crate::pairs::Pairs;
use crate::sae::{
    self, Checkpoint, Compute, Control, Progress, SentenceSae, SparseRows, TrainReport, clear_levels,
    sentence_config, train_sentences,
};
use crate::sentences::{SentenceTable, Which, weighted, without_near_copies};

/// Fewer different sentences make no dictionary.
const FEWEST: usize = 200;
/// What is clear in answers to fewer prompts is what one question is about, not a way of answering.
const FEWEST_PROMPTS: usize = 10;
/// What a feature says is clear where it makes up a tenth of what the sentence says at least: z ≥ √.1 of the vectors'
/// mean length about their mean. Below, readers see nothing of it in most sentences.
const TENTH: f32 = 0.316;
/// Share of the training sentences that say when to stop.
const VALIDATION: u64 = 20;

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Features, M; `None`: by the number of sentences, see [`sentence_config`].
    pub features: Option<usize>,
    /// Features active in a sentence, K; `None`: by M.
    pub active: Option<usize>,
    /// Share of the prompts whose responses training does not see: θ is set on them, and names are checked.
    pub held_back: f64,
    /// Sentences to train on at most; of more, those with the lowest hash.
    pub sentences_max: usize,
    /// For everything random.
    pub seed: u64,
    /// Keys, folders and the request to stop that embedding needs.
    pub context: Context,
    /// Names of the data, for the card.
    pub sources: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            features: None,
            active: None,
            held_back: 0.15,
            sentences_max: 1_000_000,
            seed: 0,
            context: Context::default(),
            sources: Vec::new(),
        }
    }
}

/// Who hears how it goes, and may stop it.
pub trait Listener {
    /// Texts embedded, of so many.
    fn embedding(&mut self, done: usize, texts: usize);
    /// Training goes on.
    fn training(&mut self, progress: Progress) -> Control;
    /// A sentence that the user should read.
    fn note(&mut self, text: &str);
}

/// Trains a dictionary on the responses of `pairs`; labels are not looked at. With `checkpoint`, training that was
/// killed goes on.
///
/// # Errors
/// [`DictionaryError::Few`], and what embedding or training reports.
pub fn train(
    pairs: &Pairs,
    embedder: &dyn Embedder,
    settings: &Settings,
    compute: &Compute,
    checkpoint: Option<&Path>,
    listener: &mut dyn Listener,
) -> Result<(Dictionary, TrainReport), DictionaryError> {
    let table = SentenceTable::of_pairs(pairs);
    let parts = Parts::new(pairs, &table, settings.held_back, settings.seed);
    let seen = table.sample(&parts.seen, settings.sentences_max, settings.seed);
    let fresh = table.sample(&parts.fresh, settings.sentences_max / 8, settings.seed);
    if seen.len() < FEWEST {
        return Err(DictionaryError::Few { found: seen.len(), needed: FEWEST });
    }
    if seen.len() < parts.seen.len() {
        listener.note(&format!(
            "trained on {} of {} different sentences, those with the lowest hash",
            seen.len(),
            parts.seen.len()
        ));
    }
    let rows = [seen.as_slice(), fresh.as_slice()].concat();
    let vectors = vectors(&table, &rows, embedder, &settings.context, listener)?;
    // Both lists ascend in the order of hashes, so every twentieth is drawn at random.
    let (mut learned, mut judged) = (Vec::new(), Vec::new());
    for row in 0..seen.len() as u32 {
        if u64::from(row) % VALIDATION == VALIDATION - 1 { &mut judged } else { &mut learned }.push(row);
    }
    let calibrate: Vec<u32> = (seen.len() as u32..rows.len() as u32).collect();
    let count = |&row: &u32| {
        let sentence = rows.get(row as usize).copied().unwrap_or_default();
        parts.counts.get(sentence as usize).copied().unwrap_or_default()
    };
    let groups: Vec<u32> = learned
        .iter()
        .map(|&row| rows.get(row as usize).and_then(|&sentence| parts.prompt.get(sentence as usize)))
        .map(|group| group.copied().unwrap_or_default())
        .collect();
    let learned = without_near_copies(&learned, &groups, &vectors);
    let different = learned.len();
    let learned: Vec<u32> = weighted(learned.iter().map(count))
        .into_iter()
        .filter_map(|at| learned.get(at as usize).copied())
        .collect();

    let features = settings.features.unwrap_or_else(|| sae::features_for(&learned, 640));
    let active = settings.active.unwrap_or(if features > 256 { 4 } else { 3 }.min(features));
    // It is trained once: as long as it gets better.
    let mut config =
        sae::SaeConfig { features, active, epochs_max: 40, ..sentence_config(&learned, settings.seed) };
    // Not nested: prefixes spend the loss on the first features and leave what one question is about to the others. Of
    // 640 features on seven sets 504 were clear in answers to ten prompts or more without them, 420 with.
    config.prefixes = vec![config.features];
    let print = fingerprint(&vectors, &learned, &config);
    let checkpoint = checkpoint.map(|path| Checkpoint { path: path.into(), print });
    let (model, report) = train_sentences(
        &vectors,
        &learned,
        &judged,
        &calibrate,
        &config,
        compute,
        checkpoint.as_ref(),
        &mut |progress| listener.training(progress),
    )?;
    let prompts: Vec<u32> =
        seen.iter().filter_map(|&sentence| parts.prompt.get(sentence as usize)).copied().collect();
    let dictionary = assemble(model, &vectors, &prompts, different, embedder, settings, &report)?;
    Ok((dictionary, report))
}

/// The autoencoder as it will be read back, with an entry for each feature that is clear in answers to enough prompts.
/// The first rows are the sentences that training saw, `prompts` says what they answer; it learned from `different`.
fn assemble(
    model: SentenceSae,
    vectors: &Matrix,
    prompts: &[u32],
    different: usize,
    embedder: &dyn Embedder,
    settings: &Settings,
    report: &TrainReport,
) -> Result<Dictionary, DictionaryError> {
    let seen = prompts.len();
    let seen_rows = Matrix {
        values: vectors.values.get(..seen * vectors.cols).unwrap_or_default().to_vec(),
        cols: vectors.cols,
    };
    let path = Path::new(super::WEIGHTS_FILE);
    let broken = |reason: String| DictionaryError::Format { path: path.into(), reason };
    let rounded = |model: &SentenceSae| -> Result<(SentenceSae, Vec<u8>), DictionaryError> {
        let bytes = model.to_bytes(true).map_err(broken)?;
        Ok((SentenceSae::from_bytes(&bytes, path)?, bytes))
    };
    let (model, _) = rounded(&model)?;
    let z = model.activations(&seen_rows)?;
    let floor = TENTH * length(&seen_rows, &model.mean);
    let clear_levels =
        |z: &SparseRows| -> Vec<f32> { clear_levels(z).into_iter().map(|level| level.max(floor)).collect() };
    let wide = |(column, level): (Vec<(u32, f32)>, f32)| -> bool {
        let clear = column.iter().filter(|(_, z)| *z >= level);
        let prompts: HashSet<u32> =
            clear.filter_map(|&(row, _)| prompts.get(row as usize)).copied().collect();
        prompts.len() >= FEWEST_PROMPTS
    };
    let wide: Vec<bool> = z.columns().into_iter().zip(clear_levels(&z)).map(wide).collect();
    let kept: Vec<u32> = (0u32..).zip(&wide).filter(|(_, wide)| **wide).map(|(feature, _)| feature).collect();
    if kept.is_empty() {
        return Err(DictionaryError::Few { found: seen, needed: 10 * FEWEST });
    }
    let (model, bytes) = rounded(&model.select(&kept))?;
    let z = model.activations(&seen_rows)?;
    let levels = clear_levels(&z);
    let width = model.features().saturating_sub(1).to_string().len().max(3);
    let entries: Vec<Entry> = z
        .columns()
        .iter()
        .zip(levels)
        .enumerate()
        .map(|(number, (column, clear_level))| Entry {
            id: format!("d{number:0width$}"),
            clear_level,
            share: column.len() as f32 / seen.max(1) as f32,
            ..Entry::default()
        })
        .collect();
    let card = Card {
        schema_version: SCHEMA_VERSION,
        embedder: embedder.identity(),
        dimensions: model.dimensions(),
        features: model.features(),
        active: report.active,
        sources: settings.sources.clone(),
        sentences: different,
        held_back: settings.held_back,
        seed: settings.seed,
        nmse: report.nmse,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Dictionary::new(model, entries, card, Sha256::digest(&bytes).to_vec()))
}

/// Root mean square of the vectors' distance from `mean`.
fn length(vectors: &Matrix, mean: &[f32]) -> f32 {
    let square = |row: &[f32]| row.iter().zip(mean).map(|(x, mean)| f64::from(x - mean).powi(2)).sum::<f64>();
    let sum: f64 = vectors.values.chunks_exact(vectors.cols.max(1)).map(square).sum();
    (sum / vectors.rows().max(1) as f64).sqrt() as f32
}

/// Which sentences training sees, and which it never does.
pub(super) struct Parts {
    /// In some response to a prompt that is not held back.
    pub(super) seen: Vec<u32>,
    /// In responses to held-back prompts only.
    pub(super) fresh: Vec<u32>,
    /// How often each sentence of the table stands in a response to a prompt that is not held back.
    counts: Vec<u32>,
    /// The prompt to which each sentence was said first, by number.
    prompt: Vec<u32>,
}

impl Parts {
    /// A prompt is held back by its own hash, so that the same prompts are in every call and every dataset.
    pub(super) fn new(pairs: &Pairs, table: &SentenceTable, share: f64, seed: u64) -> Self {
        let count = pairs.response_a.len();
        let held: Vec<bool> = (0..count).map(|pair| held_back(pairs.prompt.get(pair), share, seed)).collect();
        let counts = table.counts(|slot| held.get(slot % count.max(1)) == Some(&false));
        let of =
            |seen: bool| (0u32..).zip(&counts).filter(|&(_, &n)| (n > 0) == seen).map(|(i, _)| i).collect();
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut prompt = vec![u32::MAX; table.len()];
        for pair in 0..count {
            let next = numbers.len() as u32;
            // Without a prompt, a pair stands for itself; such numbers come from the other end.
            let number = match pairs.prompt.get(pair) {
                "" => u32::MAX - 1 - pair as u32,
                text => *numbers.entry(text).or_insert(next),
            };
            for which in [Which::A, Which::B] {
                for &sentence in table.response(pair, which) {
                    if let Some(prompt) =
                        prompt.get_mut(sentence as usize).filter(|prompt| **prompt == u32::MAX)
                    {
                        *prompt = number;
                    }
                }
            }
        }
        Self { seen: of(true), fresh: of(false), counts, prompt }
    }
}

fn held_back(prompt: &str, share: f64, seed: u64) -> bool {
    let mut hash = Sha256::new();
    hash.update(b"dictionary, held back");
    hash.update(seed.to_le_bytes());
    hash.update(prompt.as_bytes());
    let draw = hash.finalize().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    (draw as f64) < share * u64::MAX as f64
}

/// The vectors of some sentences, `[sentences, dimensions]`.
pub(super) fn vectors(
    table: &SentenceTable,
    sentences: &[u32],
    embedder: &dyn Embedder,
    context: &Context,
    listener: &mut dyn Listener,
) -> Result<Matrix, DictionaryError> {
    let text = |row: usize| sentences.get(row).map_or("", |&sentence| table.text(sentence as usize));
    Ok(embed_texts(embedder, sentences.len(), &text, context, &mut Relay(listener, sentences.len()))?.0)
}

struct Relay<'l>(&'l mut dyn Listener, usize);

impl Observer for Relay<'_> {
    fn advance(&mut self, texts: usize) {
        self.0.embedding(texts, self.1);
    }

    fn note(&mut self, text: &str) {
        self.0.note(text);
    }
}

/// What a checkpoint has to be of.
fn fingerprint(vectors: &Matrix, learned: &[u32], config: &sae::SaeConfig) -> String {
    let mut hash = Sha256::new();
    hash.update(bytemuck::cast_slice::<f32, u8>(&vectors.values));
    hash.update(bytemuck::cast_slice::<u32, u8>(learned));
    hash.update(serde_json::to_string(config).unwrap_or_default());
    format!("{:x}", hash.finalize())
}
