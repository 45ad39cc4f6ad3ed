//! `wimhf reasons RUN`: do they do what they say?

use std::path::PathBuf;

use clap::Args;
use wimhf::ReasonsRequest;

use super::data::two_names;
use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf reasons runs/mine --reason-column why
  wimhf reasons runs/mine --reason-column why --reason-column comment
  wimhf reasons runs/mine --critique-columns critique_a,critique_b")]
pub struct ReasonsArguments {
    /// Run directory that `analyze` finished.
    run: PathBuf,
    /// Column of the run's dataset with people's own words about a pair, in English; may be given several times.
    #[arg(long = "reason-column", value_name = "COLUMN")]
    reason_columns: Vec<String>,
    /// Columns with a text about the first response and one about the second.
    #[arg(long, value_name = "FIRST,SECOND", value_parser = two_names)]
    critique_columns: Option<(String, String)>,
    /// Folder for reasons.json and reasons.csv [default: RUN/reasons].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Show every feature that is named, and every theme.
    #[arg(long)]
    all: bool,
    /// Replace files of another kind, too.
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand.
pub fn run(arguments: ReasonsArguments, call: &Call) -> Result<(), Failure> {
    let run = open_run(&arguments.run, &call.context)?;
    let done = run.reasons(&ReasonsRequest {
        reason_columns: arguments.reason_columns,
        critique_columns: arguments.critique_columns,
        out: arguments.out,
        force: arguments.force,
    })?;
    if call.json {
        return call.value(&render::reasons::value(&done));
    }
    print(&render::reasons::terminal(&done, arguments.all))
}
