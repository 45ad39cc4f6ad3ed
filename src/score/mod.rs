//! New pairs through a finished run: its features, how likely A is preferred, and what decides it.
//!
//! ```text
//! s = weight_length · ℓ + weight_ratio · log((1 + words of A) / (1 + words of B)) + Σ_f weight_f · z_f
//!     + Σ over claims (f, kind of request) of weight_fk · z_f, where the prompt is of that kind
//! P(A preferred) = σ(slope · s)
//! ```
//!
//! The weights are a ridge-logistic over both lengths and every feature (standardised columns, no intercept: swapping
//! A and B gives 1 − P), its penalty chosen by cross-validation; one choice is to use no feature at all. How good it is
//! is measured first, with weights and penalty from the run's `train` and `describe` labels, on `held_out` ones. Then it
//! is fitted again on all labels, and the slope that makes the probabilities honest comes from scores that each fifth
//! of the labels gets from the other four. Both stand in `RUN/score/weights.json`, so that other programs can apply
//! them. `analyze` makes them, its last stage; a run of a version that did not gets them when it is first scored.

pub mod drift;
pub mod scorer;
pub mod stream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use polars::prelude::*;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::context::{Cancel, Stopped};
use crate::contexts::Context;
use crate::describe::{Feature, FeatureSource};
use crate::effects::auc;
use crate::effects::clusters::Clusters;
use crate::effects::logistic::Outcome;
use crate::effects::penalised::{Penalty, fit};
use crate::matrix::Matrix;
use crate::run::{Run, RunError};
use crate::store::{Estimate, Manifest, StoreError, write_json};
use crate::suggest::nearest;

/// Version of `weights.json`.
pub const SCHEMA_VERSION: u64 = 2;
/// Penalties to choose from, as scikit-learn's C over standardised columns; `None` is no feature at all.
const CS: [Option<f64>; 9] =
    [None, Some(1e-4), Some(3e-4), Some(0.001), Some(0.003), Some(0.01), Some(0.03), Some(0.1), Some(1.0)];
/// Labels that the penalty is chosen on at most.
const TUNED_ON: usize = 20_000;
/// Parts for choosing the penalty and for calibrating.
const FOLDS: u64 = 5;
/// Ridge of the lengths, as a share of their variance: none to speak of.
const FREE: f64 = 1e-6;
/// Judged pairs that the weights are fitted on; more would not move them.
const MOST_LABELS: usize = 100_000;
/// Reasons given for a pair.
const REASONS: usize = 3;
/// Share of all that speaks for or against A that a reason must make up.
const WORTH_SAYING: f64 = 0.1;

/// Why new pairs cannot be scored.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // some variants are their sources
pub enum ScoreError {
    /// The run has no labels to learn weights from.
    #[error(
        "the run's dataset has no labels to learn from{0}, so nothing says which response is preferred\nhint: analyse a dataset with labels"
    )]
    NoLabels(&'static str),
    /// There are no personal weights.
    #[error(
        "the run has no personal weights: `{0}` is missing\nhint: `wimhf personalize RUN` makes them, or leave `--annotator` out"
    )]
    NoWeights(PathBuf),
    /// The file of personal weights is not as expected.
    #[error(
        "the personal weights in `{path}` cannot be used: {message}\nhint: `wimhf personalize RUN` makes them anew"
    )]
    Weights { path: PathBuf, message: String },
    /// Nobody of that name.
    #[error("there are no personal weights for the annotator `{name}`\nhint: {hint}")]
    NoAnnotator { name: String, hint: String },
    /// A batch that cannot be read.
    #[error("`{path}` cannot be read: {message}\nhint: {hint}")]
    Input { path: String, message: String, hint: String },
    /// Vectors are needed, texts are not enough.
    #[error(
        "the run was made from vectors in `{a}` and `{b}`; `{path}` has no such columns\nhint: add them, made by the same embedder"
    )]
    NoVectors { path: String, a: String, b: String },
    /// Somebody asked to stop.
    #[error("stopped; what was written by then stays")]
    Stopped,
    #[error(transparent)]
    Finished(#[from] RunError),
    #[error(transparent)]
    Pairs(#[from] crate::pairs::PairsError),
    #[error(transparent)]
    Run(#[from] StoreError),
}

impl From<Stopped> for ScoreError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl ScoreError {
    /// Whether somebody asked to stop.
    pub fn is_stop(&self) -> bool {
        match self {
            Self::Stopped => true,
            Self::Finished(error) => error.is_stop(),
            _ => false,
        }
    }

    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        match self {
            Self::Finished(error) => error.is_users(),
            Self::Run(error) => error.is_users(),
            _ => true,
        }
    }
}

/// Weights of the length difference and of every feature, `RUN/score/weights.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weights {
    /// Version of the file.
    pub schema_version: u64,
    /// The stage of the run that they were made from.
    pub fingerprint: String,
    /// How they are used.
    pub formula: String,
    /// `feature_id`s in the order of the weights.
    pub features: Vec<String>,
    /// With texts: length and every feature.
    pub full: Fitted,
    /// With vectors only: the features of the autoencoder over differences, nothing of length.
    pub vectors: Fitted,
    /// Kinds of request in which a feature has a weight of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<Context>,
    /// How the run's own pairs look, for comparison with new ones.
    pub looks: drift::BaselineStats,
}

/// One fit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fitted {
    /// Per word more in A.
    pub length: f64,
    /// Per unit of log((1 + words of A) / (1 + words of B)).
    pub length_ratio: f64,
    /// Per unit of activation, `[features]`; 0 where a feature is not used.
    pub weights: Vec<f64>,
    /// What is added in a kind of request, where the run claims that a feature is rewarded otherwise there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_context: Vec<ByContext>,
    /// Makes the probabilities honest on labels that did not make the weights.
    pub slope: f64,
    /// Labels that the weights come from.
    pub labels: usize,
    /// The penalty, as C over standardised columns; `None` where no feature predicts better than length.
    pub c: Option<f64>,
    /// The same model fitted on the other sides' labels, on held-out ones.
    pub held_out: Option<Quality>,
}

/// A weight that counts in one kind of request alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ByContext {
    /// Index into [`Weights::contexts`].
    pub context: usize,
    /// Index into [`Weights::features`].
    pub feature: usize,
    /// Per unit of activation, on top of the feature's own weight.
    pub weight: f64,
}

/// Features that a run claims to be rewarded otherwise in some kinds of request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claimed<'a> {
    /// The kinds of request.
    pub contexts: &'a [Context],
    /// Whether each pair is of each kind, `[contexts][pairs]`.
    pub inside: &'a [Vec<bool>],
    /// Kind and feature, by index.
    pub terms: &'a [(usize, usize)],
}

impl Claimed<'_> {
    /// Kinds that a pair is of.
    fn of(&self, pair: u32) -> Vec<bool> {
        self.inside.iter().map(|inside| inside.get(pair as usize) == Some(&true)).collect()
    }
}

/// How the lengths of a pair's responses differ.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lengths {
    /// Words of A minus words of B.
    pub delta: f32,
    /// log((1 + words of A) / (1 + words of B)).
    pub log_ratio: f32,
}

impl Lengths {
    /// Of a pair.
    pub fn of(pairs: &crate::pairs::Pairs, row: usize) -> Self {
        let at = |column: &[f32]| column.get(row).copied().unwrap_or(0.0);
        Self { delta: at(&pairs.length_delta), log_ratio: at(&pairs.log_length_ratio) }
    }
}

/// How good the probabilities are on held-out labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Area under the ROC curve.
    pub auc: Estimate,
    /// Mean negative log-likelihood of the labels, in nats; log 2 = .693 is a coin.
    #[serde(default)]
    pub log_loss: f64,
    /// Share of labels on the side that is held for likelier.
    pub agreement: Estimate,
    /// Mean |P − share of A preferred| over tenths of P, weighted by their labels.
    pub calibration_error: f64,
}

/// Where the weights stand in a run.
pub const WEIGHTS: &str = "score/weights.json";

/// A run as far as weights need it.
#[derive(Debug, Clone, Copy)]
pub struct Learned<'a> {
    /// The run directory, with its pairs and activations.
    pub path: &'a Path,
    /// What `run.json` says: the stages up to the principles are done.
    pub manifest: &'a Manifest,
    /// Every feature, themes included.
    pub features: &'a [Feature],
    /// `[pairs, features]`
    pub activations: &'a Matrix,
    /// What depends on the kind of request.
    pub claimed: Claimed<'a>,
}

impl Weights {
    /// Those of the run; of a run without any they are made now, and kept where that is possible.
    ///
    /// # Errors
    /// [`ScoreError::NoLabels`], or where a file of the run cannot be read.
    pub fn of(run: &Run) -> Result<Self, ScoreError> {
        let path = run.path.join(WEIGHTS);
        if let Ok(bytes) = crate::limits::read(&path)
            && let Ok(kept) = serde_json::from_slice::<Self>(&bytes)
            && kept.schema_version == SCHEMA_VERSION
            && kept.fingerprint == fingerprint(&run.manifest)
        {
            return Ok(kept);
        }
        let activations = run.activations()?;
        let Run { path, manifest, features, .. } = run;
        let made = Self::fit(
            Learned { path, manifest, features, activations: &activations, claimed: Claimed::default() },
            &run.context.cancel,
        )?;
        // A disk that nothing can be written to keeps nobody from scoring: the next call makes them again.
        let _ = made.keep(&run.path);
        Ok(made)
    }

    /// From the labels of a run whose pairs and activations stand in their files.
    ///
    /// # Errors
    /// As for [`Self::of`], and [`ScoreError::Stopped`].
    pub fn fit(run: Learned<'_>, cancel: &Cancel) -> Result<Self, ScoreError> {
        let labels = RunLabels::read(run.path, run.manifest.seed)?;
        let (activations, features, claimed) = (run.activations, run.features, run.claimed);
        let found = features.iter().filter(|feature| feature.source.is_found()).count();
        let delta: Vec<f32> = labels.length.iter().map(|lengths| lengths.delta).collect();
        let looks = drift::BaselineStats::of(activations, &delta, found, run.manifest.metrics.nmse);
        let all: Vec<usize> = (0..activations.cols).collect();
        // What labels found looks better on these labels than it is, in every fifth of them.
        let unseen = |column: &usize| features[*column].source != FeatureSource::Theme;
        let unseen: Vec<usize> = all.iter().copied().filter(unseen).collect();
        let full = labels.fit(activations, (&unseen, claimed), true, cancel)?;
        let of_vectors = |column: &usize| features[*column].source == FeatureSource::Difference;
        let of_vectors: Vec<usize> = all.iter().copied().filter(of_vectors).collect();
        let vectors = labels.fit(activations, (&of_vectors, Claimed::default()), false, cancel)?;
        let formula = "score = length * (words in A - words in B) + length_ratio * log((1 + words in A) / (1 + words in B)) + sum(weights * activations)";
        let by_context = match claimed.terms.is_empty() {
            true => "",
            false => {
                " + sum(by_context.weight * activations[by_context.feature], where the prompt is of by_context.context)"
            }
        };
        Ok(Self {
            schema_version: SCHEMA_VERSION,
            fingerprint: fingerprint(run.manifest),
            formula: format!("{formula}{by_context}; P(A preferred) = 1 / (1 + exp(-slope * score))"),
            features: features.iter().map(|feature| feature.feature_id.clone()).collect(),
            full,
            vectors,
            contexts: claimed.contexts.to_vec(),
            looks,
        })
    }

    /// Writes them into a run directory.
    ///
    /// # Errors
    /// Where that is not possible.
    pub fn keep(&self, run: &Path) -> Result<(), StoreError> {
        let path = run.join(WEIGHTS);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Io {
                action: "make the folder",
                path: folder.into(),
                source,
            })?;
        }
        write_json(&path, self)
    }
}

/// Of the stage that the weights are made from.
fn fingerprint(manifest: &Manifest) -> String {
    let stage = manifest.stages.iter().find(|stage| stage.name == "principles");
    stage.map(|stage| stage.fingerprint.clone()).unwrap_or_default()
}

/// The run's own labels, `[labels]`, from its `pairs.parquet`.
struct RunLabels {
    /// Row of the pair in `activations.parquet`.
    pair: Vec<u32>,
    label: Vec<f64>,
    length: Vec<Lengths>,
    /// The same for all pairs of a prompt.
    group: Vec<u64>,
    held_out: Vec<bool>,
    annotator: Vec<u32>,
}

impl RunLabels {
    fn read(run: &Path, seed: u64) -> Result<Self, ScoreError> {
        let path = run.join("pairs.parquet");
        let failed = |message: String| StoreError::Content { path: path.clone(), message };
        let open = |path: &std::path::Path, columns: &[&str]| -> Result<DataFrame, StoreError> {
            let io = |source| StoreError::Io { action: "read", path: path.into(), source };
            let file = crate::limits::open(path).map_err(io)?;
            let names = columns.iter().map(|name| (*name).to_owned()).collect();
            let read = ParquetReader::new(file).with_columns(Some(names)).finish();
            read.map_err(|error| StoreError::Content { path: path.into(), message: error.to_string() })
        };
        let names =
            ["pair_id", "side", "label", "annotator_id", "length_delta", "length_log_ratio", "prompt_id"];
        // Runs of older versions have neither of the last two.
        let table = open(&path, &names).or_else(|_| open(&path, &names[..5]))?;
        let has = |name: &str| table.column(name).is_ok();
        let ids = open(&run.join("activations.parquet"), &["pair_id"])?;
        let text = |table: &DataFrame, name: &str| -> Result<StringChunked, StoreError> {
            let column = table.column(name).map_err(|error| failed(error.to_string()))?;
            Ok(column.str().map_err(|error| failed(error.to_string()))?.clone())
        };
        let ids = text(&ids, "pair_id")?;
        let place: std::collections::HashMap<&str, u32> = ids.iter().flatten().zip(0..).collect();
        let numbers = |name: &str| -> Result<Vec<Option<f64>>, StoreError> {
            let column = table.column(name).and_then(|column| column.cast(&DataType::Float64));
            let column = column.map_err(|error| failed(error.to_string()))?;
            Ok(column.f64().map_err(|error| failed(error.to_string()))?.iter().collect())
        };
        let (label, length) = (numbers("label")?, numbers("length_delta")?);
        let ratio = if has("length_log_ratio") { numbers("length_log_ratio")? } else { Vec::new() };
        let (pair_id, side, who) =
            (text(&table, "pair_id")?, text(&table, "side")?, text(&table, "annotator_id")?);
        let prompt = if has("prompt_id") { Some(text(&table, "prompt_id")?) } else { None };
        let mut people: std::collections::HashMap<&str, u32> = std::collections::HashMap::new();
        let mut found = Self {
            pair: vec![],
            label: vec![],
            length: vec![],
            group: vec![],
            held_out: vec![],
            annotator: vec![],
        };
        for row in 0..table.height() {
            let id = pair_id.get(row).unwrap_or("");
            let pair = *place.get(id).ok_or_else(|| failed(format!("pair `{id}` has no activations")))?;
            let next = people.len() as u32;
            found.pair.push(pair);
            found.label.push(label[row].unwrap_or(f64::NAN));
            found.length.push(Lengths {
                delta: length[row].unwrap_or(0.0) as f32,
                log_ratio: ratio.get(row).copied().flatten().unwrap_or(0.0) as f32,
            });
            let group = prompt.as_ref().and_then(|prompt| prompt.get(row)).unwrap_or(id);
            found.group.push(crate::rng::of_content(seed, "score folds", &[group]));
            found.held_out.push(side.get(row) == Some("held_out"));
            found.annotator.push(match who.get(row) {
                Some(name) => *people.entry(name).or_insert(next),
                None => crate::pairs::MISSING,
            });
        }
        Ok(found)
    }

    /// Rows with a preference, held-out or not, evenly thinned out to at most [`MOST_LABELS`].
    fn usable(&self, wanted: impl Fn(bool) -> bool) -> Vec<usize> {
        let all: Vec<usize> = (0..self.pair.len())
            .filter(|&row| wanted(self.held_out[row]) && !self.label[row].is_nan() && self.label[row] != 0.5)
            .collect();
        if all.len() <= MOST_LABELS {
            return all;
        }
        (0..MOST_LABELS).map(|i| all[i * all.len() / MOST_LABELS]).collect()
    }

    /// Weights of `columns`, with or without length: measured, then fitted on all labels. What is claimed of kinds of request
    /// was chosen with all labels, so it takes no part in the measuring.
    fn fit(
        &self,
        activations: &Matrix,
        (columns, claimed): (&[usize], Claimed<'_>),
        length: bool,
        cancel: &Cancel,
    ) -> Result<Fitted, ScoreError> {
        if columns.is_empty() && !length {
            return Ok(Fitted { weights: vec![0.0; activations.cols], ..Fitted::default() });
        }
        let job = Job { labels: self, activations, columns, claimed: Claimed::default(), length, cancel };
        let (explore, held_out) = (self.usable(|held_out| !held_out), self.usable(|held_out| held_out));
        let c = job.strength(&explore)?;
        let tried = job.weights(&explore, c).map_err(|outcome| ScoreError::NoLabels(why(outcome)))?;
        let (scores, labels) = job.scores(&tried, &held_out);
        let quality = self.quality(&held_out, &scores, &labels, job.slope(&explore, c));

        let all = self.usable(|_| true);
        let job = Job { claimed, ..job };
        let c = job.strength(&all)?;
        let mut fitted = job.weights(&all, c).map_err(|outcome| ScoreError::NoLabels(why(outcome)))?;
        fitted.c = c;
        fitted.held_out = quality;
        fitted.slope = job.slope(&all, c);
        // Once somebody wants it to stop, parts are left out.
        cancel.check()?;
        Ok(fitted)
    }

    fn quality(&self, rows: &[usize], scores: &[f64], labels: &[f64], slope: f64) -> Option<Quality> {
        let pairs: Vec<u32> = rows.iter().map(|&row| self.pair[row]).collect();
        let people: Vec<u32> = rows.iter().map(|&row| self.annotator[row]).collect();
        let mut dimensions = vec![pairs.clone()];
        if people.iter().any(|id| *id != people[0]) {
            dimensions.push(people);
        }
        let clusters = Clusters::new(rows.len(), &dimensions);
        let auc = auc(scores, labels, &clusters)?;
        let hits: Vec<f64> = scores
            .iter()
            .zip(labels)
            .map(|(s, y)| if *s == 0.0 { 0.5 } else { f64::from(u8::from((*s > 0.0) == (*y > 0.5))) })
            .collect();
        let mut tenths = vec![(0.0, 0.0, 0.0); 10];
        let mut log_loss = 0.0;
        for (s, y) in scores.iter().zip(labels) {
            // Seen from the likelier side, so that the order of the responses does not matter.
            let eta = slope * s;
            log_loss += eta.max(0.0) - y * eta + (-eta.abs()).exp().ln_1p();
            let p = sigmoid(eta);
            let (p, y) = if p < 0.5 { (1.0 - p, 1.0 - y) } else { (p, *y) };
            let tenth = &mut tenths[((p - 0.5) * 20.0).floor().clamp(0.0, 9.0) as usize];
            *tenth = (tenth.0 + p, tenth.1 + y, tenth.2 + 1.0);
        }
        let n = scores.len() as f64;
        let error = tenths.iter().filter(|(_, _, n)| *n > 0.0).map(|(p, y, _)| (p - y).abs() / n).sum();
        Some(Quality {
            auc,
            log_loss: log_loss / n,
            agreement: crate::relabel::evaluate::share(&hits, &clusters),
            calibration_error: error,
        })
    }
}

/// One fit of some columns.
struct Job<'a> {
    labels: &'a RunLabels,
    activations: &'a Matrix,
    columns: &'a [usize],
    claimed: Claimed<'a>,
    length: bool,
    cancel: &'a Cancel,
}

impl Job<'_> {
    /// Columns before the features.
    fn lengths(&self) -> usize {
        if self.length { 2 } else { 0 }
    }

    /// What some labels are fitted on: lengths, features and what is claimed, and the labels.
    fn design(&self, rows: &[usize]) -> (Matrix, Vec<f64>) {
        let terms = self.claimed.terms;
        let cols = self.columns.len() + self.lengths() + terms.len();
        let mut design = Matrix { values: Vec::with_capacity(cols * rows.len()), cols };
        let mut y = Vec::with_capacity(rows.len());
        for &row in rows {
            let z = self.activations.row(self.labels.pair[row] as usize);
            if self.length {
                let Lengths { delta, log_ratio } = self.labels.length[row];
                design.values.extend([delta, log_ratio]);
            }
            design.values.extend(self.columns.iter().map(|&column| z[column]));
            let inside = self.claimed.of(self.labels.pair[row]);
            design
                .values
                .extend(terms.iter().map(|&(kind, column)| if inside[kind] { z[column] } else { 0.0 }));
            y.push(self.labels.label[row]);
        }
        (design, y)
    }

    /// The ridge-logistic at C on some labels.
    fn weights(&self, rows: &[usize], c: Option<f64>) -> Result<Fitted, Outcome> {
        let (design, y) = self.design(rows);
        self.weights_of(&design, &(0..rows.len() as u32).collect::<Vec<u32>>(), &y, c)
    }

    /// The same of some `rows` of a design, whose labels are `y`.
    fn weights_of(
        &self,
        design: &Matrix,
        rows: &[u32],
        y: &[f64],
        c: Option<f64>,
    ) -> Result<Fitted, Outcome> {
        let (terms, cols) = (self.claimed.terms, design.cols);
        // Through the origin: a pair counts the same whichever response stands first.
        let n = rows.len().max(1) as f64;
        let mut factors = vec![0.0; cols];
        for &row in rows {
            let values = design.row(row as usize);
            factors.iter_mut().zip(values).for_each(|(f, &x)| *f += f64::from(x) * f64::from(x) / n);
        }
        // A column that never varies has nothing to be weighed by.
        factors.iter_mut().filter(|f| **f == 0.0).for_each(|f| *f = 1.0);
        // No feature at all is a penalty that leaves none.
        let c = c.unwrap_or(1e-9);
        factors[..self.lengths()].iter_mut().for_each(|f| *f *= FREE * c / 2.0);
        let penalty =
            Penalty { c, factors, through_origin: true, tolerance: Penalty::default().tolerance / 2.0 };
        let linear = fit(design, rows, y, &penalty)?;
        let mut weights = vec![0.0; self.activations.cols];
        for (&column, &weight) in self.columns.iter().zip(&linear.coefficients[self.lengths()..]) {
            weights[column] = weight;
        }
        let own = linear.coefficients[self.lengths() + self.columns.len()..].iter();
        let by_context = terms.iter().zip(own);
        let by_context =
            by_context.map(|(&(context, feature), &weight)| ByContext { context, feature, weight }).collect();
        let at = |place: usize| if self.length { linear.coefficients[place] } else { 0.0 };
        Ok(Fitted {
            length: at(0),
            length_ratio: at(1),
            weights,
            by_context,
            slope: 1.0,
            labels: rows.len(),
            c: None,
            held_out: None,
        })
    }

    /// Scores and labels of some rows.
    fn scores(&self, fitted: &Fitted, rows: &[usize]) -> (Vec<f64>, Vec<f64>) {
        let score = |&row: &usize| {
            let pair = self.labels.pair[row];
            let inside = self.claimed.of(pair);
            fitted.score(self.activations.row(pair as usize), self.labels.length[row], &inside)
        };
        (rows.iter().map(score).collect(), rows.iter().map(|&row| self.labels.label[row]).collect())
    }

    /// Scores and labels of every row, from weights that the other parts made; prompts stay together. `None` where they
    /// make none, or somebody wants it to stop.
    fn crossed(
        &self,
        rows: &[usize],
        (design, y): &(Matrix, Vec<f64>),
        c: Option<f64>,
    ) -> Option<(Vec<f64>, Vec<f64>)> {
        let parts: Option<Vec<_>> = (0..FOLDS)
            .into_par_iter()
            .map(|number| {
                self.cancel.check().ok()?;
                let (left, rest): (Vec<u32>, Vec<u32>) = (0..rows.len() as u32)
                    .partition(|&at| self.labels.group[rows[at as usize]] % FOLDS == number);
                if left.is_empty() {
                    return Some((Vec::new(), Vec::new()));
                }
                let labels: Vec<f64> = rest.iter().map(|&at| y[at as usize]).collect();
                let fitted = self.weights_of(design, &rest, &labels, c).ok()?;
                Some(self.scores(&fitted, &left.iter().map(|&at| rows[at as usize]).collect::<Vec<_>>()))
            })
            .collect();
        let mut all = (Vec::new(), Vec::new());
        for (scores, labels) in parts? {
            all.0.extend(scores);
            all.1.extend(labels);
        }
        Some(all)
    }

    /// The C that predicts best.
    fn strength(&self, rows: &[usize]) -> Result<Option<f64>, Stopped> {
        let step = rows.len().div_ceil(TUNED_ON).max(1);
        let rows: Vec<usize> = rows.iter().copied().step_by(step).collect();
        let design = self.design(&rows);
        let mut best = (f64::INFINITY, None);
        // Without length there is nothing that no feature leaves.
        for c in CS.into_iter().filter(|c| self.length || c.is_some()) {
            let Some((scores, labels)) = self.crossed(&rows, &design, c) else { continue };
            let loss = |(s, y): (&f64, &f64)| s.max(0.0) - y * s + (-s.abs()).exp().ln_1p();
            let loss: f64 = scores.iter().zip(&labels).map(loss).sum();
            if loss < best.0 {
                best = (loss, c);
            }
        }
        self.cancel.check()?;
        // Too few labels to compare on: a penalty that lets little through.
        Ok(if best.0.is_infinite() { Some(0.01) } else { best.1 })
    }

    /// What makes the probabilities honest: from scores of labels that did not make them.
    fn slope(&self, rows: &[usize], c: Option<f64>) -> f64 {
        let crossed = self.crossed(rows, &self.design(rows), c);
        crossed.map_or(1.0, |(scores, labels)| slope(&scores, &labels))
    }
}

fn why(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::OneClass => " (all of them are the same)",
        Outcome::TooFewRows => " (fewer than two)",
        _ => "",
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The slope of a logit through the origin, between 0 and 5; 1 where nothing can be fitted.
fn slope(scores: &[f64], labels: &[f64]) -> f64 {
    let mut slope = 1.0;
    for _ in 0..100 {
        let (mut gradient, mut curvature) = (0.0, 0.0);
        for (s, y) in scores.iter().zip(labels) {
            let p = sigmoid(slope * s);
            gradient += (y - p) * s;
            curvature += p * (1.0 - p) * s * s;
        }
        if curvature <= 1e-12 {
            return 1.0;
        }
        let step = (gradient / curvature).clamp(-1.0, 1.0);
        slope = (slope + step).clamp(0.0, 5.0);
        if step.abs() < 1e-9 {
            break;
        }
    }
    slope
}

impl Fitted {
    /// Log-odds before the slope; `inside` says which of [`Weights::contexts`] the prompt is of.
    pub fn score(&self, activations: &[f32], lengths: Lengths, inside: &[bool]) -> f64 {
        let features: f64 = self.weights.iter().zip(activations).map(|(w, &z)| w * f64::from(z)).sum();
        let there = self.by_context.iter().filter(|own| inside.get(own.context) == Some(&true));
        let there =
            there.map(|own| own.weight * f64::from(activations.get(own.feature).copied().unwrap_or(0.0)));
        features + self.by_length(lengths) + there.sum::<f64>()
    }

    /// The weights where the prompt is of these kinds.
    fn there(&self, inside: &[bool]) -> Vec<f64> {
        let mut weights = self.weights.clone();
        for own in self.by_context.iter().filter(|own| inside.get(own.context) == Some(&true)) {
            if let Some(weight) = weights.get_mut(own.feature) {
                *weight += own.weight;
            }
        }
        weights
    }

    /// What length adds to it.
    fn by_length(&self, lengths: Lengths) -> f64 {
        self.length * f64::from(lengths.delta) + self.length_ratio * f64::from(lengths.log_ratio)
    }

    /// The same for one annotator: the differences between his weights and the population's are added.
    pub fn personal(&self, person: &Person) -> Self {
        let mut own = self.clone();
        for (weight, shift) in own.weights.iter_mut().zip(&person.shift) {
            // The slope is applied to the sum; personal weights are honest log-odds already.
            *weight += shift / if own.slope > 0.0 { own.slope } else { 1.0 };
        }
        own
    }

    /// Calibrated P(A preferred).
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(self.slope * score)
    }
}

/// One annotator's own weights minus the population's, per unit of activation.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// The annotator.
    pub name: String,
    /// `[features]`, 0 where the annotator is like the population.
    pub shift: Vec<f64>,
    /// Labels behind them.
    pub n: usize,
}

impl Person {
    /// From `RUN/annotator_weights.parquet`.
    ///
    /// # Errors
    /// Where there is no such file, or nobody of that name in it.
    pub fn of(run: &Run, name: &str) -> Result<Self, ScoreError> {
        let path = run.path.join("annotator_weights.parquet");
        if !path.exists() {
            return Err(ScoreError::NoWeights(path));
        }
        let bad = |message: String| ScoreError::Weights { path: path.clone(), message };
        let file = crate::limits::open(&path).map_err(|error| bad(error.to_string()))?;
        let table = ParquetReader::new(file).finish().map_err(|error| bad(error.to_string()))?;
        let column = |name: &str, to: &DataType| {
            table.column(name).and_then(|column| column.cast(to)).map_err(|error| bad(error.to_string()))
        };
        let (who, feature) =
            (column("annotator", &DataType::String)?, column("feature_id", &DataType::String)?);
        let numbers: Vec<Column> = ["population_weight", "personal_weight", "n"]
            .iter()
            .map(|name| column(name, &DataType::Float64))
            .collect::<Result<_, _>>()?;
        let text = |column: &Column, row: usize| -> Option<String> {
            column.str().ok().and_then(|text| text.get(row)).map(str::to_owned)
        };
        let number = |at: usize, row: usize| numbers[at].f64().ok().and_then(|values| values.get(row));
        let mut person = Self { name: name.to_owned(), shift: vec![0.0; run.features.len()], n: 0 };
        let mut found = false;
        let mut names: Vec<String> = Vec::new();
        for row in 0..table.height() {
            let Some(annotator) = text(&who, row) else { continue };
            if annotator != name {
                names.push(annotator);
                continue;
            }
            found = true;
            let id = text(&feature, row).unwrap_or_default();
            let Some(index) = run.features.iter().position(|feature| feature.feature_id == id) else {
                return Err(bad(format!("the run has no feature `{id}`")));
            };
            let (Some(population), Some(own)) = (number(0, row), number(1, row)) else {
                return Err(bad(format!("the weight of `{id}` is missing")));
            };
            person.shift[index] = own - population;
            person.n = person.n.max(number(2, row).unwrap_or(0.0) as usize);
        }
        if found {
            return Ok(person);
        }
        names.sort_unstable();
        names.dedup();
        let near = nearest(name, names.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`? the file knows {} annotators", names.len()),
            None => format!("`annotator_weights.parquet` knows {} annotators", names.len()),
        };
        Err(ScoreError::NoAnnotator { name: name.to_owned(), hint })
    }
}

/// A reason for a side.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// The feature; `None` for length.
    pub feature: Option<usize>,
    /// Log-odds for A.
    pub share: f64,
    /// It makes up little of the whole, and is only the largest of many.
    pub one_of_many: bool,
}

/// What decides a pair: the largest contributions to its log-odds, those that are worth saying. Where none is, many
/// small ones add up, and the largest on the side that they add up to is named.
pub fn reasons(fitted: &Fitted, activations: &[f32], lengths: Lengths, inside: &[bool]) -> Vec<Reason> {
    let reason = |feature, share| Reason { feature, share, one_of_many: false };
    let weights = fitted.there(inside);
    let features = weights.iter().zip(activations).enumerate();
    let features = features.map(|(feature, (w, &z))| reason(Some(feature), fitted.slope * w * f64::from(z)));
    let length = reason(None, fitted.slope * fitted.by_length(lengths));
    let mut all: Vec<Reason> = features.chain([length]).filter(|reason| reason.share != 0.0).collect();
    let total: f64 = all.iter().map(|reason| reason.share.abs()).sum();
    let sum: f64 = all.iter().map(|reason| reason.share).sum();
    all.sort_by(|a, b| b.share.abs().total_cmp(&a.share.abs()));
    let largest = all.iter().find(|reason| reason.share * sum > 0.0).cloned();
    all.truncate(REASONS);
    all.retain(|reason| reason.share.abs() >= WORTH_SAYING * total);
    if all.is_empty() {
        all.extend(largest.map(|reason| Reason { one_of_many: true, ..reason }));
    }
    all
}

/// The principle of each feature, by its index: rank and statement.
pub fn principles(run: &Run) -> BTreeMap<usize, (usize, String)> {
    let at = |id: &str| run.features.iter().position(|feature: &Feature| feature.feature_id == id);
    run.findings
        .principles
        .iter()
        .flat_map(|principle| {
            principle
                .feature_ids
                .iter()
                .filter_map(move |id| Some((at(id)?, (principle.rank, principle.statement.clone()))))
        })
        .collect()
}
