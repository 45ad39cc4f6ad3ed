//! Batches of new pairs through the run: what comes in goes out with columns added.
//!
//! | column | content |
//! |---|---|
//! | `wimhf_pair_id` | hash of prompt and the two responses as they stand here; the run's own where it has the pair |
//! | `wimhf_p_a` | calibrated P(A preferred); of single responses `wimhf_reward`, log-odds against nothing said |
//! | `wimhf_log_odds` | the same as log-odds |
//! | `wimhf_because` | what decides it, in words (`--explain`) |
//! | `wimhf_note` | why a row could not be scored; its other columns are null |
//! | `learned_00`, `known_refuses`, … | activations, more in A above 0 |
//!
//! Columns of vectors are left out; every other column passes through.

use std::collections::BTreeMap;
use std::sync::Arc;

use polars::prelude::*;

use super::drift::{self, Drift, Sum};
use super::{Fitted, Lengths, Person, Reason, ScoreError, Weights, principles, reasons};
use crate::contexts::Kinds;
use crate::describe::FeatureSource;
use crate::featurizer::Featurizer;
use crate::matrix::Matrix;
use crate::pairs::rows::RowReader;
use crate::pairs::{PairsError, ReadOptions};
use crate::run::{Run, RunError};
use crate::sae::DeviceChoice;

/// What is written besides the probability.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Weights of one annotator.
    pub person: Option<Person>,
    /// Reasons in words, and who puts them into words.
    pub explain: Option<Words>,
    /// No columns of activations.
    pub no_features: bool,
    /// Columns named by hand.
    pub columns: ReadOptions,
    /// Where a model on this machine embeds.
    pub device: DeviceChoice,
}

/// Puts reasons into words, the report's business: of which run, by which principles, for which activations and
/// length, with which probability.
pub type Words = fn(&Run, &BTreeMap<usize, (usize, String)>, &[Reason], &[f32], f32, Option<f64>) -> String;

/// A finished run ready to score: its embedder, its features and its weights, opened once. Owned, and may be shared
/// between threads; a row's figures do not depend on the rows that it comes with.
pub struct Scorer {
    run: Arc<Run>,
    featurizer: Featurizer,
    weights: Weights,
    kinds: Kinds,
    principles: BTreeMap<usize, (usize, String)>,
    options: Options,
}

impl Scorer {
    /// Opens what the run needs.
    ///
    /// # Errors
    /// Where the run has no labels to learn from, or its embedder or files cannot be used.
    pub fn new(run: Arc<Run>, options: Options) -> Result<Self, ScoreError> {
        let featurizer = Featurizer::of(&run, options.device)?;
        let weights = Weights::of(&run)?;
        let principles = principles(&run);
        let kinds = Kinds::new(weights.contexts.clone()).map_err(RunError::from)?;
        Ok(Self { run, featurizer, weights, kinds, principles, options })
    }

    /// The run.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The rows of one table with what was found about them.
    ///
    /// # Errors
    /// Where the columns hold nothing to score, or one does not hold what its name says.
    pub fn transform(&self, frame: &DataFrame) -> Result<DataFrame, ScoreError> {
        self.pass(frame.schema(), "the table")?.score(frame)
    }

    /// Ready for the batches of a table with the columns `schema`; `path` is what messages call it.
    ///
    /// # Errors
    /// Where the columns hold nothing to score.
    pub fn pass(&self, schema: &Schema, path: &str) -> Result<Pass<'_>, ScoreError> {
        let config = &self.run.manifest.config;
        let mut columns = self.options.columns.clone();
        columns.seed = config.seed;
        if columns.embedding_columns.is_none() {
            columns.embedding_columns.clone_from(&config.data.embedding_columns);
        }
        // The names that the run was told, where the new table has them too.
        let there = |name: &Option<String>| name.clone().filter(|name| schema.contains(name));
        if columns.response_a_column.is_none() && columns.response_b_column.is_none() {
            let (a, b) = (there(&config.data.response_a_column), there(&config.data.response_b_column));
            if a.is_some() && b.is_some() {
                (columns.response_a_column, columns.response_b_column) = (a, b);
            }
        }
        if columns.prompt_column.is_none() {
            columns.prompt_column = there(&config.data.prompt_column);
        }
        let reader = RowReader::new(schema, path, &columns).map_err(|error| match error {
            PairsError::NoColumn { flag: "--embedding-columns", .. } => {
                let (a, b) = columns.embedding_columns.clone().unwrap_or_default();
                ScoreError::NoVectors { path: path.to_owned(), a, b }
            }
            other => other.into(),
        })?;
        let fitted = if reader.has_texts() { &self.weights.full } else { &self.weights.vectors };
        let fitted = match &self.options.person {
            Some(person) => fitted.personal(person),
            None => fitted.clone(),
        };
        let sum = Sum::new(self.featurizer.features(), self.featurizer.found());
        Ok(Pass { scorer: self, columns, fitted, reader, sum, problems: BTreeMap::new(), rows: 0 })
    }
}

/// The batches of one table, one after the other.
pub struct Pass<'s> {
    scorer: &'s Scorer,
    columns: ReadOptions,
    fitted: Fitted,
    reader: RowReader,
    sum: Sum,
    problems: BTreeMap<&'static str, usize>,
    rows: usize,
}

/// What passed by.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Rows.
    pub rows: usize,
    /// Rows that could not be scored, by reason.
    pub problems: BTreeMap<&'static str, usize>,
    /// How the new pairs differ from the run's.
    pub drift: Vec<Drift>,
    /// What a row held.
    pub shape: &'static str,
    /// The weights that were used.
    pub fitted: Fitted,
}

impl Pass<'_> {
    /// The rows of `frame` with what was found about them.
    ///
    /// # Errors
    /// Where a column does not hold what its name says, or vectors are of another size.
    pub fn score(&mut self, frame: &DataFrame) -> Result<DataFrame, ScoreError> {
        let rows = frame.height();
        let read = self.reader.read(frame)?;
        let mut pairs = read.pairs;
        let bad: Vec<usize> = (0..rows).filter(|&row| read.problems[row].is_some()).collect();
        let dimensions = self.scorer.featurizer.dimensions();
        if let Some(own) = &mut pairs.own_deltas {
            if own.cols == 0 {
                *own = Matrix::zeros(rows, dimensions);
            }
            for &row in &bad {
                own.row_mut(row).fill(0.0);
            }
        }
        let deltas =
            self.scorer.featurizer.deltas(&pairs)?.unwrap_or_else(|| Matrix::zeros(rows, dimensions));
        let activations = if self.reader.has_texts() {
            self.scorer.featurizer.activations(&pairs, &deltas)?
        } else {
            self.scorer.featurizer.of_vectors(&deltas)?
        };
        self.count(&read.problems, &activations, &pairs.length_delta, &deltas)?;

        let inside: Vec<Vec<bool>> = match self.fitted.by_context.is_empty() {
            true => vec![Vec::new(); rows],
            false => (0..rows).map(|row| self.scorer.kinds.of(pairs.prompt.get(row))).collect(),
        };
        let good = |row: usize| read.problems[row].is_none();
        let mut odds: Vec<Option<f64>> = Vec::with_capacity(rows);
        for (row, inside) in inside.iter().enumerate() {
            let score = self.fitted.score(activations.row(row), Lengths::of(&pairs, row), inside);
            odds.push(good(row).then_some(score * self.fitted.slope));
        }
        let single = self.reader.is_single();
        let mut out: Vec<Column> = Vec::new();
        let vectors = self.columns.embedding_columns.clone();
        let is_vector = |name: &str| vectors.as_ref().is_some_and(|(a, b)| name == a || name == b);
        let mut added: Vec<Column> = Vec::new();
        if self.reader.has_texts() {
            added.push(Column::new("wimhf_pair_id".into(), &pairs.pair_id));
        }
        if single {
            added.push(Column::new("wimhf_reward".into(), &odds));
        } else {
            let p: Vec<Option<f64>> =
                odds.iter().map(|odds| odds.map(|x| 1.0 / (1.0 + (-x).exp()))).collect();
            added.push(Column::new("wimhf_p_a".into(), p));
            added.push(Column::new("wimhf_log_odds".into(), &odds));
        }
        if let Some(words) = self.scorer.options.explain {
            let because: Vec<Option<String>> = (0..rows)
                .map(|row| {
                    let (z, length) = (activations.row(row), pairs.length_delta[row]);
                    let why = reasons(&self.fitted, z, Lengths::of(&pairs, row), &inside[row]);
                    let p = odds[row].filter(|_| !single).map(|x| 1.0 / (1.0 + (-x).exp()));
                    good(row).then(|| words(&self.scorer.run, &self.scorer.principles, &why, z, length, p))
                })
                .collect();
            added.push(Column::new("wimhf_because".into(), because));
        }
        added.push(Column::new("wimhf_note".into(), &read.problems));
        if !self.scorer.options.no_features {
            for (index, feature) in self.scorer.run.features.iter().enumerate() {
                // Of vectors alone only the features on differences can be told.
                let told = self.reader.has_texts() || feature.source == FeatureSource::Difference;
                let values: Vec<Option<f32>> = (0..rows)
                    .map(|row| activations.row(row).get(index).copied().filter(|_| told && good(row)))
                    .collect();
                added.push(Column::new(feature.feature_id.as_str().into(), values));
            }
        }
        for column in frame.columns() {
            let name = column.name();
            if !is_vector(name) && added.iter().all(|other| other.name() != name) {
                out.push(column.clone());
            }
        }
        out.extend(added);
        let failed = |error: PolarsError| {
            let message = error.to_string();
            ScoreError::Input { path: "a batch".into(), message, hint: "report this as a defect".into() }
        };
        DataFrame::new(rows, out).map_err(failed)
    }

    fn count(
        &mut self,
        problems: &[Option<&'static str>],
        activations: &Matrix,
        lengths: &[f32],
        deltas: &Matrix,
    ) -> Result<(), ScoreError> {
        self.rows += problems.len();
        for reason in problems.iter().flatten() {
            *self.problems.entry(reason).or_default() += 1;
        }
        if self.reader.is_single() {
            return Ok(());
        }
        let rows: Vec<u32> =
            (0u32..).zip(problems).filter(|(_, problem)| problem.is_none()).map(|(row, _)| row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let sae = self.scorer.featurizer.sae();
        let nmse = sae.nmse(deltas, Some(&rows), sae.features()).map_err(RunError::from)?;
        let lengths: Vec<f32> = rows.iter().map(|&row| lengths[row as usize]).collect();
        self.sum.add(&activations.select_rows(&rows), &lengths, Some(nmse));
        Ok(())
    }

    /// What passed by, and how it differs from the run's pairs.
    pub fn summary(self) -> Summary {
        let looks = self.sum.looks();
        let mut before = self.scorer.weights.looks.clone();
        if !self.reader.has_texts() {
            // Only the features on differences can be told from vectors: the others are silent in both.
            for (prevalence, feature) in before.prevalence.iter_mut().zip(&self.scorer.run.features) {
                if feature.source != FeatureSource::Difference {
                    *prevalence = 0.0;
                }
            }
            before.silent = looks.silent;
        }
        Summary {
            rows: self.rows,
            problems: self.problems,
            drift: drift::compare(&before, &looks, self.reader.has_texts()),
            shape: self.reader.describe(),
            fitted: self.fitted,
        }
    }
}
