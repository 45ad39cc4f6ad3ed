//! `wimhf report RUN`

use std::path::{Path, PathBuf};

use clap::Args;

use serde_json::json;
use wimhf::ReportRequest;

use super::{Call, Failure, open_run};

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf report runs/sample --open
  wimhf report runs/sample --anonymise --out to-share.html")]
pub struct ReportArguments {
    /// Run directory that `analyze` left.
    run: PathBuf,
    /// Leave out annotators' ids, the data's folder, e-mail addresses, links, handles, long numbers and the
    /// names of models; names of people are not looked for.
    #[arg(long)]
    anonymise: bool,
    /// File to write [default: RUN/report.html, or RUN/report.anonymised.html].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Open it in the browser.
    #[arg(long)]
    open: bool,
    /// Replace FILE even where it is another kind of file.
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand.
pub fn run(arguments: ReportArguments, call: &Call) -> Result<(), Failure> {
    let run = open_run(&arguments.run, &call.context)?;
    let path = run.report(&ReportRequest {
        anonymise: arguments.anonymise,
        out: arguments.out,
        force: arguments.force,
    })?;
    call.answer(&json!({"page": path}), |_| format!("{}\n", path.display()))?;
    if arguments.open { open(&path) } else { Ok(()) }
}

/// Opens a page in the browser.
pub(super) fn open(path: &Path) -> Result<(), Failure> {
    open::that_detached(path).map_err(|error| {
        let error = anyhow::Error::new(error);
        Failure::new(
            2,
            &error.context(format!("the page is written, but no program opens `{}`", path.display())),
        )
    })
}
