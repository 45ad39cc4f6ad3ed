//! New pairs through a finished run, from a table to a table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::DataFrame;

use crate::pairs::ReadOptions;
use crate::report::score::reasons_in_words;
use crate::run::{Run, RunError};
use crate::sae::DeviceChoice;
use crate::score::scorer::{Options, Scorer, Summary};
use crate::score::stream::{Sink, SinkError, Source};
use crate::score::{Person, ScoreError};
use crate::store::StoreError;
use crate::store::output::{self, Kind, Output};

/// How pairs are scored.
#[derive(Debug, Clone, Default)]
pub struct ScorerRequest {
    /// The personal weights of this annotator.
    pub annotator: Option<String>,
    /// Say in words what decides each pair.
    pub explain: bool,
    /// Leave out the columns of activations.
    pub no_features: bool,
    /// Columns named by hand.
    pub columns: ReadOptions,
    /// Where a model on this machine embeds the texts.
    pub device: DeviceChoice,
}

/// What is scored, and where the result goes.
#[derive(Debug, Clone, Default)]
pub struct ScoreRequest {
    /// Parquet, JSON lines, or `-` for an Arrow IPC stream on stdin.
    pub new: String,
    /// Parquet, JSON lines by its name, or `-` for an Arrow IPC stream on stdout; `RUN/score/NAME` where none is given.
    pub out: Option<String>,
    /// How.
    pub how: ScorerRequest,
    /// Replace the file even where it is of another kind.
    pub force: bool,
}

/// What was scored, and where it is.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The file, or `-`.
    pub out: String,
    /// What passed by; `None` where whoever read the stream had enough.
    pub summary: Option<Summary>,
}

/// The run ready to score, opened once.
///
/// # Errors
/// Where the run has no labels or no such annotator, or cannot be applied.
pub fn scorer(run: Arc<Run>, request: &ScorerRequest) -> Result<Scorer, ScoreError> {
    let person = request.annotator.as_deref().map(|name| Person::of(&run, name)).transpose()?;
    let options = Options {
        person,
        explain: request.explain.then_some(reasons_in_words),
        no_features: request.no_features,
        columns: request.columns.clone(),
        device: request.device,
    };
    Scorer::new(run, options)
}

/// Scores a table, batch by batch.
///
/// # Errors
/// See [`ScoreError`].
pub fn score(run: &Run, request: &ScoreRequest) -> Result<Scored, ScoreError> {
    let scorer = scorer(Arc::new(run.clone()), &request.how)?;
    let mut source = Source::open(&request.new)?;
    let schema = source.schema().clone();
    let mut pass = scorer.pass(&schema, &request.new)?;
    let out = match &request.out {
        Some(out) => out.clone(),
        None if request.new == "-" => "-".to_owned(),
        None => default_out(&run.path, &request.new),
    };
    if let Some(folder) = Path::new(&out).parent().filter(|_| request.out.is_none() && out != "-") {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Io {
            action: "make the folder",
            path: folder.into(),
            source,
        })?;
    }
    if out != "-" {
        let path = Path::new(&out);
        let lines = matches!(Kind::of_name(path), Kind::Json | Kind::JsonLines);
        let mut inputs = output::inputs(&run.manifest);
        inputs.push(PathBuf::from(&request.new));
        let flag = if request.out.is_some() { "--out" } else { "NEW" };
        let kind = if lines { Kind::JsonLines } else { Kind::Parquet };
        let output = Output { path, flag, kind, run: Some(&run.path), inputs: &inputs, force: request.force };
        output.check().map_err(RunError::from)?;
    }
    let mut sink = Sink::open(&out)?;
    let closed = |out: String| Ok(Scored { out, summary: None });
    let mut nothing = true;
    while let Some(batch) = source.next_batch()? {
        run.context.cancel.check()?;
        nothing = false;
        match sink.write(&mut pass.score(&batch)?) {
            Ok(()) => {}
            // Whoever reads has enough.
            Err(SinkError::Closed) => return closed(out),
            Err(SinkError::Failed(error)) => return Err(error.into()),
        }
    }
    if nothing {
        // A table without rows has its columns all the same.
        let empty = DataFrame::empty_with_schema(&schema);
        match sink.write(&mut pass.score(&empty)?) {
            Ok(()) | Err(SinkError::Closed) => {}
            Err(SinkError::Failed(error)) => return Err(error.into()),
        }
    }
    match sink.finish() {
        Ok(()) | Err(SinkError::Closed) => {}
        Err(SinkError::Failed(error)) => return Err(error.into()),
    }
    Ok(Scored { out, summary: Some(pass.summary()) })
}

/// `RUN/score/NAME`, as Parquet unless the input is JSON lines.
fn default_out(run: &Path, new: &str) -> String {
    let name =
        Path::new(new).file_name().map_or_else(|| "new".into(), |name| name.to_string_lossy().into_owned());
    let json = [".jsonl", ".ndjson", ".json"].iter().any(|ending| name.to_lowercase().ends_with(ending));
    let name = if json || name.ends_with(".parquet") { name } else { format!("{name}.parquet") };
    run.join("score").join(name).display().to_string()
}
