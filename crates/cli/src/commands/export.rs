//! `wimhf export RUN`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use serde_json::json;
use wimhf::{ExportFormat, ExportRequest};

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
    /// with every principle's activation.
    #[arg(long, value_enum)]
    format: Format,
    /// File to write [default: annotated_pairs.json, trl.jsonl, icai.csv or pairs.csv in the run].
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    HeldOut,
    All,
}

impl From<Format> for ExportFormat {
    fn from(typed: Format) -> Self {
        match typed {
            Format::AnnotatedPairs => Self::AnnotatedPairs,
            Format::Trl => Self::Trl,
            Format::Icai => Self::Icai,
            Format::Csv => Self::Csv,
        }
    }
}

/// Runs the subcommand.
pub fn run(arguments: ExportArguments, call: &Call) -> Result<(), Failure> {
    let run = open_run(&arguments.run, &call.context)?;
    let written = run.export(&ExportRequest {
        format: arguments.format.into(),
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
