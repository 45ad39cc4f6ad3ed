//! `run.json`: what was run, on what, and what came out.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{SCHEMA_VERSION, StoreError};
use super::spent::Spent;
use crate::config::Config;
use crate::limits;

/// What the graded activation of a sentence feature is: what fits use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grading {
    /// That of a response's clearest sentence: in runs of earlier versions.
    #[default]
    Clearest,
    /// Σ over a response's sentences, divided by the square root of their number. The dictionary's entries, whose words were
    /// read where they are clear, stay with the clearest sentence.
    Total,
}

/// The record of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Version of the layout, [`SCHEMA_VERSION`].
    pub schema_version: u64,
    /// Version of the program that wrote this.
    pub version: String,
    /// The full effective settings.
    pub config: Config,
    /// The run's seed.
    pub seed: u64,
    /// The adapter or processor that the autoencoder ran on.
    pub device: String,
    /// `wgpu` or `cpu`.
    pub backend: String,
    /// Name and revision of the embedder.
    pub embedder: String,
    /// What was embedded, and what it took.
    pub embedding: EmbeddingRecord,
    /// Version of the dictionary of sentence features that was used; `None` without one.
    pub dictionary: Option<String>,
    /// What the graded activations of sentence features are.
    pub grading: Grading,
    /// The language models that described, and what they took; empty without any.
    pub language: LanguageRecord,
    /// The data.
    pub dataset: DatasetRecord,
    /// What was done, in order.
    pub stages: Vec<StageRecord>,
    /// What came out.
    pub metrics: Metrics,
    /// Sentences that the user was told.
    pub notes: Vec<String>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            config: Config::default(),
            seed: 0,
            device: String::new(),
            backend: String::new(),
            embedder: String::new(),
            embedding: EmbeddingRecord::default(),
            dictionary: None,
            grading: Grading::default(),
            language: LanguageRecord::default(),
            dataset: DatasetRecord::default(),
            stages: Vec::new(),
            metrics: Metrics::default(),
            notes: Vec::new(),
        }
    }
}

impl Manifest {
    /// Whether this is the record of a run, of whatever version: JSON that names the layout's version and the
    /// program's. What has one is a run, and nothing else.
    pub fn is_one(path: &Path) -> bool {
        let Ok(bytes) = limits::read_file(path, limits::RECORD) else { return false };
        if limits::json_depth(&bytes).is_err() {
            return false;
        }
        let value = serde_json::from_slice::<serde_json::Value>(&bytes).unwrap_or_default();
        value.get("schema_version").is_some_and(serde_json::Value::is_u64)
            && ["version", "dataset", "stages"].iter().any(|name| value.get(name).is_some())
    }

    /// Reads `run.json`. A record of another schema is returned with its version and defaults for the rest.
    ///
    /// # Errors
    /// [`StoreError::Io`], or [`StoreError::Damaged`] for what is not such a record.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let damaged = |message: String| StoreError::Damaged { path: path.into(), message };
        let bytes = limits::read_file(path, limits::RECORD).map_err(|error| match error {
            limits::ReadError::Io(source) => StoreError::Io { action: "read", path: path.into(), source },
            other => damaged(other.to_string()),
        })?;
        limits::json_depth(&bytes).map_err(|(_, too_much)| damaged(too_much.to_string()))?;
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let version = value
            .get("schema_version")
            .and_then(serde_json::Value::as_u64)
            .ok_or_else(|| damaged("it has no `schema_version`".into()))?;
        if version != SCHEMA_VERSION {
            return Ok(Self { schema_version: version, ..Self::default() });
        }
        serde_json::from_value(value).map_err(|error| damaged(error.to_string()))
    }
}

/// What was embedded, with what, and what it took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EmbeddingRecord {
    /// As the user named it, with the revision that was used.
    pub source: String,
    /// The template that was filled with prompt and response.
    pub template: String,
    /// Length of a vector.
    pub dimensions: usize,
    /// Longest text that is read, in tokens, where there is a limit.
    pub max_tokens: Option<usize>,
    /// Different texts in the dataset.
    pub texts: usize,
    /// Those whose vectors were in the cache, or came into it by another run.
    pub from_cache: usize,
    /// Those that were embedded now.
    pub embedded: usize,
    /// Of all of them, how many are longer than is read, and were cut now or in an earlier run.
    pub cut: u64,
    /// Those that the embedder refused; their pairs count as not different.
    pub refused: usize,
    /// Tokens embedded now, as far as known.
    pub tokens: u64,
    /// Requests that were answered, whether or not the answers could be used.
    pub requests: u64,
    /// Requests that were sent, those that were refused or got no answer included.
    pub sent: u64,
    /// What they cost in dollars, where the price was given.
    pub dollars: Option<f64>,
}

/// The language models of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LanguageRecord {
    /// The model that wrote, and its server.
    pub writer: String,
    /// The model that judged, and its server.
    pub judge: String,
    /// What was spent by purpose (`write`, `judge`, `shorten`), over all calls that this run took.
    pub spent: BTreeMap<String, Spent>,
}

/// The data of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatasetRecord {
    /// As the user named it.
    pub path: String,
    /// Where that is, from the root.
    pub location: String,
    /// SHA-256 over the files.
    pub fingerprint: String,
    /// The recognised shape.
    pub shape: String,
    /// Rows in the source.
    pub pairs_read: usize,
    /// Rows that became judgements.
    pub pairs_used: usize,
    /// Distinct pairs after deduplication.
    pub pairs_unique: usize,
    /// Annotators with an id.
    pub annotators: usize,
    /// Rows left out, by reason; `dropped.csv` lists them.
    pub dropped: BTreeMap<String, usize>,
    /// Every source on its own.
    pub sources: Vec<SourceRecord>,
}

/// One of the sources of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceRecord {
    /// Its name as a dataset.
    pub dataset: String,
    /// As the user named it; with its commit, where it is of the Hub.
    pub path: String,
    /// Where that is, from the root.
    pub location: String,
    /// The recognised shape.
    pub shape: String,
    /// Rows in its files.
    pub rows: usize,
    /// The same, or pairs made of them and what made none.
    pub pairs_read: usize,
    /// Of these, how many became judgements.
    pub pairs_used: usize,
}

/// One stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageRecord {
    /// `pairs`, `embed`, `sentences`, `sae`, `describe`, `themes`, `effects`, `principles`, `report`, `annotated_pairs`,
    /// `score`.
    pub name: String,
    /// Wall-clock seconds of the run that did it.
    pub seconds: f64,
    /// `done` in this call, or `reused` from an earlier one.
    pub status: String,
    /// Of everything that determines the outputs.
    pub fingerprint: String,
    /// The files it wrote.
    pub outputs: Vec<OutputRecord>,
}

/// A file that a stage wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputRecord {
    /// Relative to the run directory.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 over its bytes; empty in runs of older versions, whose outputs count as touched.
    #[serde(default)]
    pub sha256: String,
}

/// A figure with its 95 % interval and sample size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Rows it was computed on.
    pub n: usize,
}

/// What came out, on held-out pairs unless the name says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// AUC of each rung of the ladder; a rung that could not be computed is `null`.
    pub auc: BTreeMap<String, Option<Estimate>>,
    /// AUC of each rung minus that of the embedding probe on the same labels, with the interval of the difference.
    pub auc_minus_embedding: BTreeMap<String, Estimate>,
    /// The same minus that of both lengths alone.
    pub auc_minus_length: BTreeMap<String, Estimate>,
    /// Why a rung is `null`.
    pub auc_missing: BTreeMap<String, String>,
    /// Normalised mean squared error of the autoencoder over differences; [0, 1], lower is better.
    pub nmse: Option<f64>,
    /// The same for each Matryoshka prefix, by its number of features.
    pub nmse_prefixes: BTreeMap<String, f64>,
    /// Mean number of active features per pair.
    pub active_mean: Option<f64>,
    /// Features that are never active.
    pub dead: Option<usize>,
    /// Epochs that the autoencoder ran.
    pub epochs: Option<usize>,
    /// Pairs per side.
    pub pairs_train: usize,
    /// Pairs per side.
    pub pairs_describe: usize,
    /// Pairs per side.
    pub pairs_held_out: usize,
    /// All labels without ties: the rows of every effect that no label took part in finding.
    pub judgements: usize,
    /// Labels without ties on held-out pairs: the rows of the ladder and of what labels found.
    pub judgements_held_out: usize,
    /// Ties on held-out pairs.
    pub ties_held_out: usize,
    /// The autoencoder over sentences; `None` in the paper's mode.
    pub sentences: Option<SentenceMetrics>,
    /// Features learned from this dataset's sentences.
    pub features_learned: usize,
    /// Features of the autoencoder over differences.
    pub features_difference: usize,
    /// Features of the dictionary.
    pub features_dictionary: usize,
    /// Of all these, those with a kept description.
    pub features_described: usize,
    /// Known concepts measured.
    pub features_known: usize,
    /// Themes of words found in what neither explains.
    pub features_themes: usize,
    /// What was tested: the family of the principles' correction.
    pub candidates: usize,
    /// Principles found.
    pub principles: usize,
}

/// The autoencoder over sentences.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SentenceMetrics {
    /// Sentences that it was learned from, one that several responses hold counted several times.
    pub learned_from: usize,
    /// Features, M.
    pub features: usize,
    /// Normalised mean squared error on sentences that were set aside.
    pub nmse: Option<f64>,
    /// Mean number of active features per sentence there.
    pub active_mean: Option<f64>,
    /// Features that are never active.
    pub dead: usize,
    /// Epochs.
    pub epochs: usize,
}
