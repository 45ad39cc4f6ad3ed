//! `wimhf models RUN`: which models win, and why.

use std::path::PathBuf;

use clap::Args;
use wimhf::RateRequest;

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
    #[arg(long, value_name = "FIRST,SECOND", value_delimiter = ',', num_args = 1..=2)]
    model_columns: Vec<String>,
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
    let columns = match arguments.model_columns.as_slice() {
        [] => None,
        [first, second] => Some((first.clone(), second.clone())),
        _ => {
            return Err(Failure::mistake(
                "`--model-columns` names two columns\nhint: `--model-columns FIRST,SECOND`",
            ));
        }
    };
    let run = open_run(&arguments.run, &call.context)?;
    let rated = run.models(&RateRequest { columns, out: arguments.out, force: arguments.force })?;
    if call.json {
        return call.value(&render::models::value(&rated));
    }
    print(&render::models::terminal(&rated, arguments.all))
}
