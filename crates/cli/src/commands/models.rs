//! `wimhf models RUN`: which models win, and why.

use std::path::PathBuf;

use clap::Args;
use wimhf::RateRequest;

use super::data::two_names;
use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf models runs/arena
  wimhf models runs/mine --model-columns generator_left,generator_right
  wimhf models runs/arena --json")]
pub struct ModelsArguments {
    /// Run directory that `analyze` finished.
    run: PathBuf,
    /// Columns with the model of the first and of the second response [default: model_a,model_b and the like].
    #[arg(long, value_name = "FIRST,SECOND", value_parser = two_names)]
    model_columns: Option<(String, String)>,
    /// Folder for models.json and models.csv [default: RUN/models].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Show every model and trait.
    #[arg(long)]
    all: bool,
    /// Replace files of another kind, too.
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand.
pub fn run(arguments: ModelsArguments, call: &Call) -> Result<(), Failure> {
    let run = open_run(&arguments.run, &call.context)?;
    let rated = run.models(&RateRequest {
        columns: arguments.model_columns,
        out: arguments.out,
        force: arguments.force,
    })?;
    if call.json {
        return call.value(&render::models::value(&rated));
    }
    print(&render::models::terminal(&rated, arguments.all))
}
