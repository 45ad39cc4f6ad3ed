//! `wimhf demo`

use std::path::PathBuf;

use clap::Args;

use wimhf::AnalyzeRequest;
use wimhf::store::write_bytes;

use super::{Call, Failure};
use crate::render::{analysis_value, terminal};

/// The sample, so that the demonstration needs no file.
const SAMPLE: &[u8] = include_bytes!("../../../../data/sample.parquet");

/// What the demonstration adds to the answer.
const SAID: &str = "
The sample is made up: a formula rewards lists, length, numbers, examples and closing questions,
punishes refusals, emoji, hedging, slang and flattery, and cares for nothing else much.
Your own data: wimhf analyze dataset.parquet
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf demo
  wimhf demo --out somewhere --open")]
pub struct DemoArguments {
    /// Folder for the sample and its run.
    #[arg(long, value_name = "FOLDER", default_value = "wimhf-demo")]
    out: PathBuf,
    /// Open the report in the browser.
    #[arg(long)]
    open: bool,
}

/// Runs the subcommand.
pub fn run(arguments: DemoArguments, call: &Call) -> Result<(), Failure> {
    let folder = &arguments.out;
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::new(2, &anyhow::Error::new(error).context(format!("cannot create `{}`", folder.display())))
    })?;
    let data = folder.join("sample.parquet");
    if wimhf::limits::read(&data).ok().as_deref() != Some(SAMPLE) {
        write_bytes(&data, SAMPLE).map_err(wimhf::Error::from)?;
    }
    let mut request = AnalyzeRequest::new(&data.display().to_string(), folder.join("run"));
    request.spending.context = call.context.clone();
    let analysis = wimhf::analyze(&request, &mut call.progress())?;
    let view = terminal::View { colour: call.colour(), all: false, taken: SAID.lines().count() };
    call.answer(&analysis_value(&analysis), |_| terminal::render(&analysis, view) + SAID)?;
    if arguments.open { super::report::open(&analysis.run.join("report.html")) } else { Ok(()) }
}
