//! `wimhf export RUN`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use serde_json::json;
use wimhf::store::output::Kind;
use wimhf::{ExportFormat, ExportRequest};
use wimhf_explore::{Opened, rating};

use super::{Call, Failure, open_run};

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf export runs/sample --format annotated-pairs --side all
  wimhf export runs/sample --format trl --out train.parquet
  wimhf export runs/sample --format csv")]
pub struct ExportArguments {
    /// Run directory that `analyze` left.
    run: PathBuf,
    /// annotated-pairs: JSON for Feedback Forensics and ICAI; trl: `prompt`, `chosen`, `rejected` for trainers
    /// (JSON lines, or Parquet by the name of `--out`); icai: CSV for Inverse Constitutional AI; csv: a table
    /// with every principle's activation; rating-tasks: descriptions to be read blind in Label Studio, whose answers come back with
    /// `wimhf explore RUN --verdicts FILE`.
    #[arg(long, value_enum)]
    format: Format,
    /// File to write [default: annotated_pairs.json, trl.jsonl, icai.csv, pairs.csv or rating_tasks.json in the run].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file that `--out` names.
    #[arg(long)]
    force: bool,
    /// Which labels [default: held-out for annotated-pairs, since its figures are read as measurements; else all].
    #[arg(long, value_enum)]
    side: Option<Which>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    AnnotatedPairs,
    Trl,
    Icai,
    Csv,
    RatingTasks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    HeldOut,
    All,
}

impl Format {
    /// What the library writes; the explorer knows which pairs are to be read.
    fn of_library(self) -> Option<ExportFormat> {
        Some(match self {
            Self::AnnotatedPairs => ExportFormat::AnnotatedPairs,
            Self::Trl => ExportFormat::Trl,
            Self::Icai => ExportFormat::Icai,
            Self::Csv => ExportFormat::Csv,
            Self::RatingTasks => return None,
        })
    }
}

/// Tasks for people who read in another tool.
fn rating_tasks(arguments: &ExportArguments, call: &Call) -> Result<(), Failure> {
    let run = open_run(&arguments.run, &call.context)?;
    let path = arguments.out.clone().unwrap_or_else(|| run.path.join("rating_tasks.json"));
    run.may_write(&path, "--out", Kind::Json, arguments.force).map_err(wimhf::Error::from)?;
    let beside = path.with_extension("xml");
    let ours =
        wimhf::limits::read_to_string(&beside).map_or(!beside.exists(), |text| text.starts_with("<View>"));
    if !ours && !arguments.force {
        return Err(Failure::mistake(format!(
            "`{}` is there already and is not how Label Studio shows tasks\nhint: another name for `--out`, or `--force`",
            beside.display()
        )));
    }
    let opened = Opened::open(&arguments.run, false, &call.context)?;
    opened.prepare();
    let (tasks, files) = rating::write(&opened, &path)?;
    call.answer(&json!({"files": files, "tasks": tasks}), |_| {
        format!("{tasks} tasks\n{}\n{}\n", files[0].display(), files[1].display())
    })
}

/// Runs the subcommand.
pub fn run(arguments: ExportArguments, call: &Call) -> Result<(), Failure> {
    let Some(format) = arguments.format.of_library() else { return rating_tasks(&arguments, call) };
    let run = open_run(&arguments.run, &call.context)?;
    let written = run.export(&ExportRequest {
        format,
        out: arguments.out,
        held_out: arguments.side.map(|side| side == Which::HeldOut),
        force: arguments.force,
    })?;
    if written.rows == 0 {
        call.note(&format!(
            "the run has no {}labels, so the file holds no rows",
            if written.held_out { "held-out " } else { "" }
        ));
    }
    let value = json!({"file": written.path, "rows": written.rows, "held_out_only": written.held_out});
    call.answer(&value, |_| format!("{}\n", written.path.display()))
}
