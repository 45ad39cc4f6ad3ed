//! `wimhf export RUN`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Failure, finished, print};
use crate::finished::FinishedRun;
use crate::report::{annotated_pairs, exports};

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

/// Runs the subcommand.
pub fn run(arguments: ExportArguments) -> Result<(), Failure> {
    let run = FinishedRun::open(&arguments.run).map_err(finished)?;
    let source = run.source().map_err(finished)?;
    let name = match arguments.format {
        // The run's own file holds held-out labels; all of them go beside it.
        Format::AnnotatedPairs if arguments.side == Some(Which::All) => "annotated_pairs.all.json",
        Format::AnnotatedPairs => "annotated_pairs.json",
        Format::Trl => "trl.jsonl",
        Format::Icai => "icai.csv",
        Format::Csv => "pairs.csv",
    };
    let path = arguments.out.unwrap_or_else(|| run.path.join(name));
    let held_out = match arguments.side {
        Some(side) => side == Which::HeldOut,
        None => arguments.format == Format::AnnotatedPairs,
    };
    let input = exports::Input { pairs: &source.pairs, sides: &source.sides, held_out };
    let principles = &run.findings.principles;
    let written = match arguments.format {
        Format::AnnotatedPairs => annotated_pairs::write(
            &path,
            annotated_pairs::Input {
                dataset: &run.manifest.dataset.path,
                principles,
                features: &run.features,
                presence: &run.presence().map_err(finished)?,
                pairs: &source.pairs,
                sides: &source.sides,
                held_out,
            },
        ),
        Format::Trl => exports::write_trl(&path, input),
        Format::Icai => exports::write_icai(&path, input),
        Format::Csv => {
            let activations = run.activations().map_err(finished)?;
            exports::write_table(&path, input, principles, &run.features, &activations)
        }
    };
    let written =
        written.map_err(|error| Failure::new(if error.is_users() { 2 } else { 1 }, &error.into()))?;
    if written == 0 {
        eprintln!(
            "note: the run has no {}labels, so the file holds no rows",
            if held_out { "held-out " } else { "" }
        );
    }
    print(&format!("{}\n", path.display()))
}
