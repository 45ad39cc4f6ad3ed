//! `wimhf contexts RUN`: where it holds.

use std::path::PathBuf;

use clap::Args;
use wimhf::ContextsRequest;

use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf contexts runs/mine
  wimhf contexts runs/mine --column domain --column language")]
pub struct ContextsArguments {
    /// Run directory that `analyze` finished.
    run: PathBuf,
    /// Column of the run's dataset whose values are contexts, too; may be given several times.
    #[arg(long = "column", value_name = "COLUMN")]
    columns: Vec<String>,
    /// Folder for contexts.json and contexts.csv [default: RUN/contexts].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Show more of what was looked at.
    #[arg(long)]
    all: bool,
    /// Replace files of another kind, too.
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand.
pub fn run(arguments: ContextsArguments, call: &Call) -> Result<(), Failure> {
    let run = open_run(&arguments.run, &call.context)?;
    let done = run.contexts(&ContextsRequest {
        columns: arguments.columns,
        out: arguments.out,
        force: arguments.force,
    })?;
    if call.json {
        return call.value(&render::contexts::value(&done));
    }
    print(&render::contexts::terminal(&done, arguments.all))
}
