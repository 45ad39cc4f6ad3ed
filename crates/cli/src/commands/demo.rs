//! `wimhf demo`

use std::path::PathBuf;

use clap::Args;

use wimhf::store::write_bytes;
use wimhf::{AnalyzeRequest, Context};

use super::{Failure, colour, print};
use crate::progress::Progress;
use crate::render::terminal;

/// The sample, so that the demonstration needs no file.
const SAMPLE: &[u8] = include_bytes!("../../../../data/sample.parquet");

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
    /// Nothing on stderr but errors.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the subcommand.
pub fn run(arguments: DemoArguments, context: &Context) -> Result<(), Failure> {
    let folder = &arguments.out;
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::new(2, &anyhow::Error::new(error).context(format!("cannot create `{}`", folder.display())))
    })?;
    let data = folder.join("sample.parquet");
    if wimhf::limits::read(&data).ok().as_deref() != Some(SAMPLE) {
        write_bytes(&data, SAMPLE).map_err(wimhf::Error::from)?;
    }
    let mut request = AnalyzeRequest::new(&data.display().to_string(), folder.join("run"));
    request.spending.context = context.clone();
    let analysis = wimhf::analyze(&request, &mut Progress::new(arguments.quiet))?;
    print(&terminal::render(&analysis, colour(&std::io::stdout())))?;
    print(
        "\nThe sample is made up: its labels come from a formula in which refusals, length, lists, emoji, hedging, slang, a closing\n\
         question, numbers, examples and flattery count, and bold, exclamation marks and sending to a professional do not.\n\
         Your own data: wimhf analyze dataset.parquet\n",
    )?;
    if arguments.open { super::report::open(&analysis.run.join("report.html")) } else { Ok(()) }
}
