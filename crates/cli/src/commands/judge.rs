//! `wimhf judge RUN --concept "…"`

use std::path::PathBuf;

use clap::Args;
use wimhf::JudgeRequest;

use super::language::{HEADING as MODELS, LanguageArguments};
use super::{Call, Failure, open_run};
use crate::render::judged;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf judge runs/mine --concept 'uses humour' --judge gpt-5-mini
  wimhf judge runs/mine --concept 'uses humour' --concept 'gives a price' --judge qwen3 --base-url http://localhost:8000/v1
  wimhf judge runs/mine --concept 'uses humour' --judge gpt-5-mini --second-judge gpt-4.1-mini --dry-run")]
pub struct JudgeArguments {
    /// The run directory.
    run: PathBuf,
    /// What a response may do, completing \"The response …\"; may be given several times.
    #[arg(long = "concept", value_name = "WORDS", required = true)]
    concepts: Vec<String>,
    /// How many of the run's held-out pairs are read.
    #[arg(long, value_name = "N", default_value_t = 300)]
    pairs: usize,
    /// Pairs in one call.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pairs_per_call: usize,
    /// Another model that reads the same pairs, to see how far the two agree.
    #[arg(long, value_name = "MODEL")]
    second_judge: Option<String>,
    /// The OpenAI-compatible server [default: OPENAI_BASE_URL, or OpenAI's].
    ///
    /// The key is taken from OPENAI_API_KEY.
    #[arg(long, value_name = "URL", help_heading = MODELS)]
    base_url: Option<String>,
    /// Most requests at once [default: 8].
    #[arg(long, value_name = "N", env = "WIMHF_CONCURRENCY", hide_short_help = true, help_heading = MODELS)]
    concurrency: Option<usize>,
    #[command(flatten)]
    language: LanguageArguments,
}

/// Runs the subcommand.
pub fn run(arguments: JudgeArguments, call: &Call) -> Result<(), Failure> {
    let run = open_run(&arguments.run, &call.context)?;
    let mut settings = run.manifest.config.describe.language.clone();
    let judge = arguments.language.over(
        &mut settings,
        arguments.base_url.as_deref(),
        arguments.concurrency,
        &call.context,
    );
    let request = JudgeRequest {
        concepts: arguments.concepts,
        pairs: arguments.pairs,
        pairs_per_call: arguments.pairs_per_call,
        judge,
        settings,
        second_judge: arguments.second_judge,
        dry_run: arguments.language.dry_run,
    };
    let found = run.judge(&request, &mut call.progress())?;
    if request.dry_run {
        return call.answer(&found.cost, |_| judged::forecast(&found.cost));
    }
    call.answer(&found.concepts, |_| judged::render(&found))
}
