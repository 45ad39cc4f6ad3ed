//! `wimhf score RUN NEW`: new pairs through a finished run.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::analyze::DeviceArgument;
use super::{Failure, door, print};
use crate::finished::FinishedRun;
use crate::pairs::ReadOptions;
use crate::report;
use crate::run::RunError;
use crate::run::output::{Kind, Output, inputs};
use crate::score::pass::{Options, Pass};
use crate::score::stream::{Sink, SinkError, Source};
use crate::score::{Person, ScoreError};

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf score runs/mine new.parquet --explain
  wimhf score runs/mine new.jsonl --out scored.jsonl --no-features
  wimhf score runs/mine new.parquet --annotator ann_07
  producer | wimhf score runs/mine - | consumer        (Arrow IPC streams)")]
pub struct ScoreArguments {
    /// Run directory that `analyze` finished.
    run: PathBuf,
    /// Pairs or single responses: Parquet, JSON lines, or `-` for an Arrow IPC stream on stdin.
    new: String,
    /// Parquet, or JSON lines for names ending in .jsonl; `-` for an Arrow IPC stream on stdout [default:
    /// RUN/score/NAME; `-` where NEW is `-`].
    #[arg(long, value_name = "FILE")]
    out: Option<String>,
    /// The personal weights of this annotator, as `wimhf personalize` made them.
    #[arg(long, value_name = "ID")]
    annotator: Option<String>,
    /// Say in words what decides each pair.
    #[arg(long)]
    explain: bool,
    /// Leave out the columns of activations.
    #[arg(long)]
    no_features: bool,
    /// Column with the prompt.
    #[arg(long, value_name = "COLUMN")]
    prompt_column: Option<String>,
    /// Column with response A.
    #[arg(long, value_name = "COLUMN", requires = "response_b_column")]
    response_a_column: Option<String>,
    /// Column with response B.
    #[arg(long, value_name = "COLUMN", requires = "response_a_column")]
    response_b_column: Option<String>,
    /// Two columns with vectors made by the run's embedder [default: the run's].
    #[arg(long, value_name = "A,B", value_parser = super::data::two_names)]
    embedding_columns: Option<(String, String)>,
    /// Where a model on this machine embeds the texts.
    #[arg(long, value_enum, default_value_t = DeviceArgument::Auto, env = "WIMHF_DEVICE")]
    device: DeviceArgument,
    /// Replace FILE even where it is another kind of file.
    #[arg(long)]
    force: bool,
    /// Nothing on stderr but errors.
    #[arg(long, short)]
    quiet: bool,
}

fn failure(error: impl Into<ScoreError>) -> Failure {
    let error = error.into();
    let code = if error.is_users() { 2 } else { 1 };
    Failure::new(code, &anyhow::Error::new(error))
}

/// Runs the subcommand.
pub fn run(arguments: ScoreArguments) -> Result<(), Failure> {
    let run = FinishedRun::open(&arguments.run).map_err(failure)?;
    let person = match &arguments.annotator {
        Some(name) => Some(Person::of(&run, name).map_err(failure)?),
        None => None,
    };
    let mut source = Source::open(&arguments.new).map_err(failure)?;
    let words = report::score::reasons_in_words(&run);
    let options = Options {
        person,
        explain: arguments.explain,
        no_features: arguments.no_features,
        device: arguments.device.into(),
        columns: ReadOptions {
            prompt_column: arguments.prompt_column.clone(),
            response_a_column: arguments.response_a_column.clone(),
            response_b_column: arguments.response_b_column.clone(),
            embedding_columns: arguments.embedding_columns.clone(),
            ..ReadOptions::default()
        },
    };
    let schema = source.schema().clone();
    let mut pass = Pass::new(&run, &schema, &arguments.new, options, &words).map_err(failure)?;
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None if arguments.new == "-" => "-".to_owned(),
        None => default_out(&run.path, &arguments.new),
    };
    if let Some(folder) = Path::new(&out).parent().filter(|_| arguments.out.is_none() && out != "-") {
        std::fs::create_dir_all(folder).map_err(|source| {
            failure(RunError::Io { action: "make the folder", path: folder.into(), source })
        })?;
    }
    if out != "-" {
        let path = Path::new(&out);
        let lines = matches!(Kind::of_name(path), Kind::Json | Kind::JsonLines);
        let mut read = inputs(&run.manifest);
        read.push(PathBuf::from(&arguments.new));
        door(&Output {
            path,
            flag: if arguments.out.is_some() { "--out" } else { "NEW" },
            kind: if lines { Kind::JsonLines } else { Kind::Parquet },
            run: Some(&run.path),
            inputs: &read,
            force: arguments.force,
        })?;
    }
    let mut sink = Sink::open(&out).map_err(failure)?;
    let mut nothing = true;
    while let Some(batch) = source.next_batch().map_err(failure)? {
        nothing = false;
        let mut scored = pass.score(&batch).map_err(failure)?;
        match sink.write(&mut scored) {
            Ok(()) => {}
            // Whoever reads has enough.
            Err(SinkError::Closed) => return Ok(()),
            Err(SinkError::Failed(error)) => return Err(failure(error)),
        }
    }
    if nothing {
        // A table without rows has its columns all the same.
        let empty = polars::prelude::DataFrame::empty_with_schema(&schema);
        let mut scored = pass.score(&empty).map_err(failure)?;
        match sink.write(&mut scored) {
            Ok(()) | Err(SinkError::Closed) => {}
            Err(SinkError::Failed(error)) => return Err(failure(error)),
        }
    }
    match sink.finish() {
        Ok(()) | Err(SinkError::Closed) => {}
        Err(SinkError::Failed(error)) => return Err(failure(error)),
    }
    let text = report::score::summary(&run, &pass.summary(), &out);
    if out == "-" {
        // Data goes to stdout, everything else to stderr.
        if !arguments.quiet {
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        return Ok(());
    }
    if arguments.quiet { Ok(()) } else { print(&text) }
}

/// `RUN/score/NAME`, as Parquet unless the input is JSON lines.
fn default_out(run: &Path, new: &str) -> String {
    let name =
        Path::new(new).file_name().map_or_else(|| "new".into(), |name| name.to_string_lossy().into_owned());
    let json = [".jsonl", ".ndjson", ".json"].iter().any(|ending| name.to_lowercase().ends_with(ending));
    let name = if json || name.ends_with(".parquet") { name } else { format!("{name}.parquet") };
    run.join("score").join(name).display().to_string()
}
