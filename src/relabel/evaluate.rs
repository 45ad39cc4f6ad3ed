//! What relabelling does to a reward model, at the scale of a laptop.
//!
//! Two probes stand in for a reward model: a ridge-logistic on the embedding's deltas, and one on the run's
//! features. Each is trained on the original labels and on the changed ones, for flipping and for dropping and
//! for several numbers of labels, and judged on preference data that the user names: what should improve
//! (safety) and what should stay (everything else). A reward model reads the request as well, so both probes
//! see what safety depends on: the embedding's delta, and the safety features, also times how unsafe the
//! request reads.
//!
//! An evaluation pair whose prompt is among the training pairs is judged by a probe that was trained without
//! any pair of that prompt (five folds). Without evaluation data the run's own held-out labels are used, in two
//! parts: requests that read unsafe with a clearly safer response, which should win, and all other labels.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::decisions::{Decision, Decisions, relabelled};
use super::unsafe_content::Reader;
use crate::dataset::read_options;
use crate::effects::logistic::Outcome;
use crate::effects::penalised::{Linear, Penalty, fit};
use crate::effects::table::LabelledSample;
use crate::effects::{Clusters, Sample};
use crate::featurizer::Featurizer;
use crate::matrix::Matrix;
use crate::pairs::rewrite::Action;
use crate::pairs::{self, Labels, Pairs, Split};
use crate::run::{Run, RunError, Source};
use crate::sae::DeviceChoice;
use crate::statistics::{Z95, share::wilson_of};
use crate::store::Estimate;

/// Parts that the training pairs are cut into where evaluation pairs are among them.
const FOLDS: usize = 5;
/// Shares of the marked labels that are changed, the highest scores first.
const SHARES: [f64; 3] = [0.25, 0.5, 1.0];
/// Fewer changed labels than this say nothing.
const FEWEST: usize = 4;
/// Embeddings of more dimensions are seen without the request.
const WIDE: usize = 512;

/// Why the evaluation cannot be done.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // two variants are their sources
pub enum EvaluateError {
    /// The evaluation data have no labels.
    #[error("the evaluation data `{0}` have no label that prefers one response")]
    NoLabels(String),
    /// The run's vectors were the user's, and the evaluation data have none.
    #[error(
        "the run was made from vectors in `{a}` and `{b}`, which the evaluation data `{path}` lack\nhint: add those two columns to it"
    )]
    NoVectors {
        /// The evaluation data.
        path: String,
        /// The columns.
        a: String,
        /// The columns.
        b: String,
    },
    /// Nothing is held out to evaluate on.
    #[error(
        "the run holds out no labels to evaluate on\nhint: name evaluation data with `--evaluate EVALSET`"
    )]
    NothingHeldOut,
    /// The probe cannot be trained.
    #[error("no probe can be trained on the run's labels: {0}")]
    Probe(&'static str),
    #[error(transparent)]
    Finished(#[from] RunError),
    #[error("the evaluation data cannot be used: {0}")]
    Read(#[from] pairs::PairsError),
}

impl EvaluateError {
    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        match self {
            Self::Finished(error) => error.is_users(),
            _ => true,
        }
    }
}

/// One probe after one way to change the labels, on one set.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// `embedding` or `features`.
    pub probe: &'static str,
    /// What was done to the labels; `None` for the original ones.
    pub action: Option<Action>,
    /// Labels changed.
    pub changed: usize,
    /// Labels that the probe was trained on.
    pub trained_on: usize,
    /// Share of the set's labels that it agrees with.
    pub accuracy: Estimate,
    /// The same minus that of the probe on the original labels, paired; `None` for the latter.
    pub change: Option<Estimate>,
}

/// Accuracies on one evaluation set.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// The set's name.
    pub name: String,
    /// Labels without ties.
    pub labels: usize,
    /// Of these, labels about prompts that are among the training pairs.
    pub overlapping: usize,
    /// First the original of each probe.
    pub rows: Vec<Row>,
}

/// A set to judge on.
struct Set {
    name: String,
    embedding: Arc<Matrix>,
    features: Arc<Matrix>,
    sample: Sample,
    /// Fold of each label whose prompt is among the training pairs.
    fold: Vec<Option<usize>>,
}

/// Which labels a probe sees, `[judgements]`; NaN for none.
struct Condition {
    action: Option<Action>,
    changed: usize,
    labels: Vec<f32>,
}

/// Trains probes on the labels before and after `marked`, and judges them on `sets` (preference data of any
/// shape that `analyze` reads), or on the run's own held-out labels where none is named.
///
/// # Errors
/// [`EvaluateError`].
#[allow(
    clippy::too_many_lines,
    reason = "a loop over probes, conditions and sets with one table of what was before"
)]
pub fn evaluate(
    run: &Run,
    source: &Source,
    activations: &Matrix,
    decisions: &Decisions,
    reader: &Reader,
    sets: &[String],
) -> Result<Vec<Table>, EvaluateError> {
    let Decisions { marked, safer, weights: safety_features, .. } = decisions;
    let deltas = run.deltas(source)?;
    let train = Inputs {
        embedding: with_context(&deltas, &source.pairs, reader, &in_context(&deltas), false),
        features: with_context(
            activations,
            &source.pairs,
            reader,
            &safety_features.iter().map(|(feature, _)| *feature).collect::<Vec<_>>(),
            true,
        ),
        keys: keys(&source.pairs),
    };
    let own = sets.is_empty();
    let sets = if own {
        own_sets(source, &train, safer)?
    } else {
        let apparatus = Featurizer::of(run, DeviceChoice::Auto)?;
        let known: HashSet<u64> = train.keys.iter().copied().collect();
        sets.iter()
            .map(|path| read_set(run, &apparatus, path, reader, safety_features, &known))
            .collect::<Result<Vec<_>, _>>()?
    };

    let sides: &[Split] = if own {
        &[Split::Train, Split::Validation]
    } else {
        &[Split::Train, Split::Validation, Split::Test]
    };
    let judgements = &source.pairs.judgements;
    let usable = |at: usize, labels: &[f32]| {
        let label = labels[at];
        !label.is_nan() && label != 0.5 && sides.contains(&source.sides[judgements.pair[at] as usize])
    };
    let reachable: Vec<Decision> =
        marked.iter().filter(|d| sides.contains(&source.sides[d.pair as usize])).cloned().collect();
    let conditions = conditions(&source.pairs, &reachable);
    let folds: Vec<usize> = train.keys.iter().map(|key| (key % FOLDS as u64) as usize).collect();
    let overlap = sets.iter().any(|set| set.fold.iter().any(Option::is_some));

    let mut tables: Vec<Table> = sets
        .iter()
        .map(|set| Table {
            name: set.name.clone(),
            labels: set.sample.len(),
            overlapping: set.fold.iter().filter(|fold| fold.is_some()).count(),
            rows: Vec::new(),
        })
        .collect();
    for probe in ["embedding", "features"] {
        let matrix = train.matrix(probe);
        let mut before: Vec<Vec<f64>> = Vec::new();
        for condition in &conditions {
            let train_on = |left_out: Option<usize>| -> Result<Linear, EvaluateError> {
                let (mut rows, mut y) = (Vec::new(), Vec::new());
                for (at, &pair) in judgements.pair.iter().enumerate() {
                    if usable(at, &condition.labels) && Some(folds[pair as usize]) != left_out {
                        rows.push(pair);
                        y.push(f64::from(condition.labels[at]));
                    }
                }
                probe_on(matrix, &rows, &y, probe == "features")
            };
            let trained_on = (0..condition.labels.len()).filter(|&at| usable(at, &condition.labels)).count();
            let whole = train_on(None)?;
            let parts = (0..FOLDS)
                .filter(|_| overlap)
                .map(|fold| train_on(Some(fold)))
                .collect::<Result<Vec<_>, _>>()?;
            for (index, (set, table)) in sets.iter().zip(&mut tables).enumerate() {
                let matrix = set.matrix(probe);
                let scores = |model: &Linear| model.score(matrix, set.sample.row());
                let (all, by_fold) = (scores(&whole), parts.iter().map(scores).collect::<Vec<_>>());
                let correct: Vec<f64> = (0..set.sample.len())
                    .map(|at| {
                        let score = match set.fold[at] {
                            Some(fold) => by_fold[fold][at],
                            None => all[at],
                        };
                        agreement(score, set.sample.y()[at])
                    })
                    .collect();
                let change = before.get(index).map(|before| change(before, &correct, &set.sample));
                table.rows.push(Row {
                    probe,
                    action: condition.action,
                    changed: condition.changed,
                    trained_on,
                    accuracy: share(&correct, set.sample.clusters()),
                    change,
                });
                if condition.action.is_none() {
                    before.push(correct);
                }
            }
        }
    }
    Ok(tables)
}

/// What probes are trained on.
struct Inputs {
    embedding: Arc<Matrix>,
    features: Arc<Matrix>,
    /// Of the prompt, or of the responses where there is none, `[pairs]`.
    keys: Vec<u64>,
}

impl Inputs {
    fn matrix(&self, probe: &str) -> &Matrix {
        if probe == "embedding" { &self.embedding } else { &self.features }
    }
}

impl Set {
    fn matrix(&self, probe: &str) -> &Matrix {
        if probe == "embedding" { &self.embedding } else { &self.features }
    }
}

/// The columns of `matrix`, then those of `with` times how unsafe the request reads; the length difference
/// before them where asked for.
fn with_context(
    matrix: &Matrix,
    pairs: &Pairs,
    reader: &Reader,
    with: &[usize],
    length: bool,
) -> Arc<Matrix> {
    use rayon::prelude::*;
    let cols = usize::from(length) + matrix.cols + with.len();
    let unsafe_scores: Vec<f32> = (0..matrix.rows())
        .into_par_iter()
        .map(|pair| reader.read(pairs.prompt.get(pair)).score as f32)
        .collect();
    let mut values = Vec::with_capacity(cols * matrix.rows());
    for (pair, score) in unsafe_scores.iter().enumerate() {
        let row = matrix.row(pair);
        if length {
            values.push(pairs.length_delta[pair]);
        }
        values.extend_from_slice(row);
        values.extend(with.iter().map(|&column| row[column] * score));
    }
    Arc::new(Matrix { values, cols })
}

/// The embedding's columns that are also seen with the request; none of wide ones, which would not fit twice.
fn in_context(deltas: &Matrix) -> Vec<usize> {
    if deltas.cols <= WIDE { (0..deltas.cols).collect() } else { Vec::new() }
}

/// The prompt's key, or that of the two responses where there is no prompt.
fn keys(pairs: &Pairs) -> Vec<u64> {
    (0..pairs.pair_id.len())
        .map(|pair| {
            let prompt = pairs.prompt.get(pair).trim();
            let mut hash = Sha256::new();
            if prompt.is_empty() {
                let (a, b) = (pairs.response_a.get(pair), pairs.response_b.get(pair));
                hash.update(a.min(b).as_bytes());
                hash.update([0]);
                hash.update(a.max(b).as_bytes());
            } else {
                hash.update(prompt.as_bytes());
            }
            hash.finalize().iter().take(8).fold(0, |key, &byte| key << 8 | u64::from(byte))
        })
        .collect()
}

/// The original labels, then every action with every share.
fn conditions(pairs: &Pairs, marked: &[Decision]) -> Vec<Condition> {
    let mut all = vec![Condition { action: None, changed: 0, labels: pairs.judgements.label.clone() }];
    let mut counts: Vec<usize> =
        SHARES.iter().map(|share| (marked.len() as f64 * share).round() as usize).collect();
    counts.retain(|&count| count >= FEWEST || (count > 0 && count == marked.len()));
    counts.dedup();
    for action in [Action::Flip, Action::Drop] {
        for &count in &counts {
            let changed: Vec<Decision> =
                marked.iter().take(count).map(|d| Decision { action, ..d.clone() }).collect();
            all.push(Condition { action: Some(action), changed: count, labels: relabelled(pairs, &changed) });
        }
    }
    all
}

fn probe_on(matrix: &Matrix, rows: &[u32], y: &[f64], standardise: bool) -> Result<Linear, EvaluateError> {
    let mut penalty = Penalty::default();
    if standardise {
        // Penalising by the variance is the same as standardising.
        let n = rows.len().max(1) as f64;
        let mut mean = vec![0.0; matrix.cols];
        let mut square = vec![0.0; matrix.cols];
        for &row in rows {
            for ((mean, square), &x) in mean.iter_mut().zip(&mut square).zip(matrix.row(row as usize)) {
                *mean += f64::from(x) / n;
                *square += f64::from(x) * f64::from(x) / n;
            }
        }
        penalty.factors = square.iter().zip(&mean).map(|(s, m)| (s - m * m).max(0.0)).collect();
        // A column that never varies has nothing to be weighed by.
        penalty.factors.iter_mut().filter(|f| **f == 0.0).for_each(|f| *f = 1.0);
    }
    fit(matrix, rows, y, &penalty)
        .map_err(|outcome: Outcome| EvaluateError::Probe(outcome.note().unwrap_or("could not be fitted")))
}

/// 1 where the score's side is the label's, half where it has none.
fn agreement(score: f64, y: f64) -> f64 {
    if score == 0.0 {
        0.5
    } else if (score > 0.0) == (y > 0.5) {
        1.0
    } else {
        0.0
    }
}

/// Share of agreement with Wilson's interval at the sample size that the clusters leave.
pub(crate) fn share(correct: &[f64], clusters: &Clusters) -> Estimate {
    let n = correct.len() as f64;
    let p = correct.iter().sum::<f64>() / n;
    let influence: Vec<f64> = correct.iter().map(|c| (c - p) / n).collect();
    let binomial = p * (1.0 - p) / n;
    let design = match clusters.variance(None, &influence) {
        Some((variance, _)) if binomial > 0.0 => (variance / binomial).max(1.0),
        _ => 1.0,
    };
    let m = n / design;
    let [value, low, high] = wilson_of(p, m);
    Estimate { value, low, high, n: correct.len() }
}

/// Difference of two agreements on the same labels.
fn change(before: &[f64], after: &[f64], sample: &Sample) -> Estimate {
    let n = after.len() as f64;
    let difference: Vec<f64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    let value = difference.iter().sum::<f64>() / n;
    let influence: Vec<f64> = difference.iter().map(|d| (d - value) / n).collect();
    let variance = sample.clusters().variance(None, &influence).map_or(0.0, |(variance, _)| variance);
    let half = Z95 * variance.sqrt();
    Estimate { value, low: value - half, high: value + half, n: after.len() }
}

/// The run's own held-out labels: safety, and everything else.
fn own_sets(source: &Source, train: &Inputs, safer: &[(u32, bool)]) -> Result<Vec<Set>, EvaluateError> {
    let pairs = &source.pairs;
    let safer: HashMap<u32, bool> = safer.iter().copied().collect();
    let mut sets = Vec::new();
    for (name, about_safety) in
        [("safety (own held-out pairs)", true), ("all else (own held-out labels)", false)]
    {
        let mut part = pairs.clone();
        let mut judgements = Labels::default();
        let given = &pairs.judgements;
        let mut seen = HashSet::new();
        for at in 0..given.pair.len() {
            let pair = given.pair[at];
            let label = match safer.get(&pair) {
                // The safer response should win, whoever was asked; each pair once.
                Some(&a_is_safer) if about_safety && seen.insert(pair) => f32::from(u8::from(a_is_safer)),
                None if !about_safety => given.label[at],
                _ => continue,
            };
            judgements.pair.push(pair);
            judgements.row.push(given.row[at]);
            judgements.annotator.push(given.annotator[at]);
            judgements.swapped.push(given.swapped[at]);
            judgements.label.push(label);
        }
        part.judgements = judgements;
        let sample = LabelledSample::on(&part, &source.sides, &[Split::Test]).sample;
        if sample.is_empty() {
            continue;
        }
        sets.push(Set {
            name: name.into(),
            embedding: train.embedding.clone(),
            features: train.features.clone(),
            fold: vec![None; sample.len()],
            sample,
        });
    }
    if sets.is_empty() { Err(EvaluateError::NothingHeldOut) } else { Ok(sets) }
}

/// Preference data that the user names.
fn read_set(
    run: &Run,
    apparatus: &Featurizer,
    path: &str,
    reader: &Reader,
    safety_features: &[(usize, f64)],
    known: &HashSet<u64>,
) -> Result<Set, EvaluateError> {
    let config = &run.manifest.config;
    let mut options = pairs::ReadOptions {
        embedding_columns: config.data.embedding_columns.clone(),
        seed: config.seed,
        ..pairs::ReadOptions::default()
    };
    // The columns' names are the run's own where the set has them.
    let of_run = read_options(config);
    let (set, _) = match pairs::read(path, &pairs::ReadOptions { group_columns: Vec::new(), ..of_run }) {
        Ok(read) => read,
        Err(pairs::PairsError::NoColumn { flag: "--embedding-columns", .. }) => {
            let (a, b) = options.embedding_columns.take().unwrap_or_default();
            return Err(EvaluateError::NoVectors { path: path.to_owned(), a, b });
        }
        Err(pairs::PairsError::NoColumn { .. }) => pairs::read(path, &options)?,
        Err(error) => return Err(error.into()),
    };
    let sides = vec![Split::Test; set.pair_id.len()];
    let sample = LabelledSample::on(&set, &sides, &[Split::Test]).sample;
    if sample.is_empty() {
        return Err(EvaluateError::NoLabels(path.to_owned()));
    }
    let deltas = apparatus.deltas(&set)?.ok_or_else(|| {
        let (a, b) = config.data.embedding_columns.clone().unwrap_or_default();
        EvaluateError::NoVectors { path: path.to_owned(), a, b }
    })?;
    let activations = apparatus.activations(&set, &deltas)?;
    let keys = keys(&set);
    let fold = sample
        .row()
        .iter()
        .map(|&pair| Some(keys[pair as usize]).filter(|key| known.contains(key)))
        .map(|key| key.map(|key| (key % FOLDS as u64) as usize))
        .collect();
    let safety: Vec<usize> = safety_features.iter().map(|(feature, _)| *feature).collect();
    Ok(Set {
        name: name_of(path),
        embedding: with_context(&deltas, &set, reader, &in_context(&deltas), false),
        features: with_context(&activations, &set, reader, &safety, true),
        sample,
        fold,
    })
}

/// A file's name without its ending.
fn name_of(path: &str) -> String {
    Path::new(path).file_stem().map_or_else(|| path.to_owned(), |stem| stem.to_string_lossy().into_owned())
}
