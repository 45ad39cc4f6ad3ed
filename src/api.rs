//! The facade: every verb as a function from a request to a value, with one error.
//!
//! ```no_run
//! use wimhf::{AnalyzeRequest, Run, ScorerRequest};
//!
//! # fn main() -> Result<(), wimhf::Error> {
//! let analysis = wimhf::analyze(&AnalyzeRequest::new("dataset.parquet", "runs/mine"), &mut ())?;
//! println!("{} principles", analysis.findings.principles.len());
//! let run = Run::open("runs/mine")?;
//! let scorer = run.scorer(&ScorerRequest::default())?;
//! # let _ = scorer;
//! # Ok(())
//! # }
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crate::config::Config;
pub use crate::context::{Cancel, Context, Observer};
pub use crate::error::{Door, Error, ErrorKind};
pub use crate::ops::analyze::{Analysis, Request as AnalyzeRequest};
pub use crate::ops::audit::{AuditRequest, Audited};
pub use crate::ops::compare::{CompareRequest, Comparison};
pub use crate::ops::constitution::{Constitution, ConstitutionRequest, ConstitutionSample};
pub use crate::ops::contexts::{ContextsFound, ContextsRequest};
pub use crate::ops::embed::{EmbedRequest, Embedded};
pub use crate::ops::export::{ExportFormat, ExportRequest, Exported};
pub use crate::ops::inspect::Inspection;
pub use crate::ops::judge::{JudgeRequest, Judgement};
pub use crate::ops::models::{CostEstimate, ModelRequest};
pub use crate::ops::personalize::{PersonalizeRequest, Personalized};
pub use crate::ops::rate::{RateRequest, Rated};
pub use crate::ops::reasons::{ReasonsFound, ReasonsRequest};
pub use crate::ops::relabel::{RelabelRequest, Relabelled, Review};
pub use crate::ops::report::ReportRequest;
pub use crate::ops::score::{ScoreRequest, Scored, ScorerRequest};
pub use crate::ops::sweep::{Grid, Sweep};
pub use crate::pairs::rewrite::Undone;
pub use crate::run::Run;
pub use crate::score::scorer::Scorer;

use crate::ops;

/// Runs every stage that is not finished yet, leaves a run directory, and returns the findings.
///
/// # Errors
/// Finished stages stay, and the same request goes on after them.
pub fn analyze(request: &AnalyzeRequest, observer: &mut dyn Observer) -> Result<Analysis, Error> {
    Ok(ops::analyze::analyze(request, observer)?)
}

/// What describing by language models would cost, by stage, before any of them is asked.
///
/// # Errors
/// As for [`analyze`].
pub fn forecast(request: &AnalyzeRequest, observer: &mut dyn Observer) -> Result<Vec<CostEstimate>, Error> {
    Ok(ops::analyze::forecast(request, observer)?)
}

/// Settings and seeds of the autoencoder side by side, held-out pairs left alone.
///
/// # Errors
/// As for [`analyze`].
pub fn sweep(request: &AnalyzeRequest, grid: &Grid, observer: &mut dyn Observer) -> Result<Sweep, Error> {
    Ok(ops::sweep::sweep(request, grid, observer)?)
}

/// What a dataset holds, before anything is run on it.
///
/// # Errors
/// Where the data cannot be found or read.
pub fn inspect(
    data: &[String],
    config: &Config,
    context: &Context,
    observer: &mut dyn Observer,
) -> Result<Inspection, Error> {
    Ok(ops::inspect::inspect(data, config, context, observer)?)
}

/// Adds the vectors of both responses to every row of a file or stream of pairs, for `analyze --embedding-columns`.
///
/// # Errors
/// Where the pairs cannot be read, the embedder is not on this machine, or the result cannot be written.
pub fn embed(request: &EmbedRequest, context: &Context) -> Result<Embedded, Error> {
    Ok(ops::embed::embed(request, context)?)
}

/// The same concepts in several runs, or in the groups of one dataset.
///
/// # Errors
/// Where there is nothing to compare, or a run cannot be used.
pub fn compare(runs: &[&Run], request: &CompareRequest) -> Result<Comparison, Error> {
    Ok(ops::compare::compare(runs, request)?)
}

/// Restores the original of a relabelled file or folder.
///
/// # Errors
/// Where it was not relabelled by this program, or cannot be read or written.
pub fn undo_relabel(file: &Path, out: Option<&Path>, force: bool) -> Result<Vec<Undone>, Error> {
    Ok(ops::relabel::undo(file, out, force)?)
}

impl Run {
    /// The run ready to score: owned, `Send + Sync`, opened once, from a table to a table.
    ///
    /// # Errors
    /// Where the run has no labels or no such annotator, or cannot be applied.
    pub fn scorer(&self, request: &ScorerRequest) -> Result<Scorer, Error> {
        Ok(ops::score::scorer(Arc::new(self.clone()), request)?)
    }

    /// Scores a file or stream, batch by batch.
    ///
    /// # Errors
    /// Where the pairs cannot be read or scored, or the result cannot be written.
    pub fn score(&self, request: &ScoreRequest) -> Result<Scored, Error> {
        Ok(ops::score::score(self, request)?)
    }

    /// Marks labels that go against a rule, and writes the changed dataset unless it is a dry run.
    ///
    /// # Errors
    /// Where a rule names no feature, or the dataset has changed or cannot be written.
    pub fn relabel(
        &self,
        request: &RelabelRequest,
        observer: &mut dyn Observer,
    ) -> Result<Relabelled, Error> {
        Ok(ops::relabel::relabel(self, request, observer)?)
    }

    /// What differs between annotators, and weights of their own.
    ///
    /// # Errors
    /// Where there are too few annotators or labels, or a column is missing.
    pub fn personalize(&self, request: &PersonalizeRequest) -> Result<Personalized, Error> {
        Ok(ops::personalize::personalize(self, request)?)
    }

    /// Adds new labels to the personal weights that stand in the run.
    ///
    /// # Errors
    /// Where there are none, or the table lacks a column.
    pub fn update_personal(&self, data: &str, request: &PersonalizeRequest) -> Result<Personalized, Error> {
        Ok(ops::personalize::update(self, data, request)?)
    }

    /// The few principles from which most of the labels can be told.
    ///
    /// # Errors
    /// Where the run has no labels, or a model cannot be asked.
    pub fn constitution(
        &self,
        request: &ConstitutionRequest,
        observer: &mut dyn Observer,
    ) -> Result<Constitution, Error> {
        Ok(ops::constitution::constitution(self, request, observer)?)
    }

    /// The same on some of the labels, which are in memory: what it would be, without writing it or asking a model.
    ///
    /// # Errors
    /// Where there are no labels, or the edits cannot be used.
    pub fn constitution_of(
        &self,
        sample: &ConstitutionSample<'_>,
        request: &ConstitutionRequest,
        observer: &mut dyn Observer,
    ) -> Result<Constitution, Error> {
        Ok(ops::constitution::constitution_of(self, sample, request, observer)?)
    }

    /// Which models win, and why: ratings without and with what the responses are like held fixed.
    ///
    /// # Errors
    /// Where no columns name models, or there are too few comparisons.
    pub fn models(&self, request: &RateRequest) -> Result<Rated, Error> {
        Ok(ops::rate::rate(self, request)?)
    }

    /// Two judges on the same pairs: which features one rewards more than the other.
    ///
    /// # Errors
    /// Where no judge is named, or it has judged too few of the run's pairs.
    pub fn audit(&self, request: &AuditRequest) -> Result<Audited, Error> {
        Ok(ops::audit::audit(self, request)?)
    }

    /// Where it holds: which features are rewarded in some kinds of request and not in others.
    ///
    /// # Errors
    /// Where a column is not there or divides the pairs into nothing, or the run has no labels.
    pub fn contexts(&self, request: &ContextsRequest) -> Result<ContextsFound, Error> {
        Ok(ops::contexts::contexts(self, request)?)
    }

    /// Do they do what they say? People's own words about the pairs, beside their labels.
    ///
    /// # Errors
    /// Where no column holds reasons in English, or too few of them stand on pairs of the run.
    pub fn reasons(&self, request: &ReasonsRequest) -> Result<ReasonsFound, Error> {
        Ok(ops::reasons::reasons(self, request)?)
    }

    /// Concepts of the user's own, read by a language model.
    ///
    /// # Errors
    /// Where a model cannot be asked.
    pub fn judge(&self, request: &JudgeRequest, observer: &mut dyn Observer) -> Result<Judgement, Error> {
        Ok(ops::judge::judge(self, request, observer)?)
    }

    /// Writes the page again, and says where.
    ///
    /// # Errors
    /// Where the dataset is gone or has changed, or the file cannot be written.
    pub fn report(&self, request: &ReportRequest) -> Result<PathBuf, Error> {
        Ok(ops::report::report(self, request)?)
    }

    /// Writes the pairs for another tool.
    ///
    /// # Errors
    /// As for [`Self::report`].
    pub fn export(&self, request: &ExportRequest) -> Result<Exported, Error> {
        Ok(ops::export::export(self, request)?)
    }
}
