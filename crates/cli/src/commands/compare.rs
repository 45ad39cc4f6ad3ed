//! `wimhf compare RUN RUN…` and `wimhf compare RUN --by COLUMN`

use std::path::PathBuf;

use clap::Args;
use wimhf::{CompareRequest, Run};

use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf compare runs/arena runs/hh runs/prism
  wimhf compare runs/sample --by prompt_topic
  wimhf compare runs/sample --by model_A --out compared")]
pub struct CompareArguments {
    /// Run directories that `analyze` left; with `--by` one of them.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Compare the groups of one dataset by this column: language, model, country; numbers and dates with many
    /// values are cut into quarters.
    #[arg(long, value_name = "COLUMN")]
    by: Option<String>,
    /// Folder for comparison.html and comparison.json [default: beside the first run].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Leave out annotators' ids, e-mail addresses, links, handles, long numbers and the names of models from
    /// the page.
    #[arg(long)]
    anonymise: bool,
    /// Open the page in the browser.
    #[arg(long)]
    open: bool,
}

/// Runs the subcommand.
pub fn run(arguments: CompareArguments, call: &Call) -> Result<(), Failure> {
    let runs =
        arguments.runs.iter().map(|path| open_run(path, &call.context)).collect::<Result<Vec<Run>, _>>()?;
    let runs: Vec<&Run> = runs.iter().collect();
    let request = CompareRequest { by: arguments.by, out: arguments.out, anonymise: arguments.anonymise };
    let found = wimhf::compare(&runs, &request)?;
    if call.json {
        // The record as it was written.
        let text = wimhf::limits::read_to_string(&found.json).map_err(|source| {
            wimhf::Error::from(wimhf::store::StoreError::Io {
                action: "read",
                path: found.json.clone(),
                source,
            })
        })?;
        print(&format!("{}\n", super::in_ascii_where_odd(text.trim_end())))?;
    } else {
        print(&format!(
            "{}\nRead on: {}, comparison.json\n",
            render::comparison::terminal(&found),
            found.page.display()
        ))?;
    }
    if arguments.open { super::report::open(&found.page) } else { Ok(()) }
}
