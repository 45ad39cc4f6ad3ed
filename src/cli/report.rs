//! `wimhf report RUN`

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, finished, print};
use crate::apply::SentenceReader;
use crate::finished::FinishedRun;
use crate::personalize;
use crate::report::page;
use crate::run::write_bytes;
use crate::sae::DeviceChoice;

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
}

/// Runs the subcommand.
pub fn run(arguments: ReportArguments) -> Result<(), Failure> {
    let run = FinishedRun::open(&arguments.run).map_err(finished)?;
    let source = run.source().map_err(finished)?;
    let described = run.described().map_err(finished)?;
    let bank = run.bank().map_err(finished)?;
    let sentences = SentenceReader::of(&run, DeviceChoice::Auto).map_err(finished)?;
    let annotators = personalize::differences(&source.pairs, &described, &run.manifest.config);
    let page = page::render(page::Input {
        manifest: &run.manifest,
        findings: &run.findings,
        described: &described,
        pairs: &source.pairs,
        sides: &source.sides,
        bank: &bank,
        sentences: &sentences,
        annotators: annotators.as_ref(),
        anonymise: arguments.anonymise,
    });
    let name = if arguments.anonymise { "report.anonymised.html" } else { "report.html" };
    let path = arguments.out.unwrap_or_else(|| run.path.join(name));
    write_bytes(&path, page.as_bytes()).map_err(|error| Failure::new(2, &error.into()))?;
    print(&format!("{}\n", path.display()))?;
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
