//! `wimhf judge RUN --concept "…"`

use std::path::PathBuf;

use clap::Args;
use wimhf::{Context, JudgeRequest};

use super::language::LanguageArguments;
use super::{Failure, open_run, print};
use crate::progress::Progress;
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
    /// Address of an OpenAI-compatible server; the key is taken from OPENAI_API_KEY
    /// [default: OPENAI_BASE_URL, or OpenAI's].
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Most requests at once [default: 8].
    #[arg(long, value_name = "N", env = "WIMHF_CONCURRENCY")]
    concurrency: Option<usize>,
    #[command(flatten)]
    language: LanguageArguments,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Nothing on stderr but errors.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the subcommand.
pub fn run(arguments: JudgeArguments, context: &Context) -> Result<(), Failure> {
    let run = open_run(&arguments.run, context)?;
    let mut settings = run.manifest.config.describe.language.clone();
    let judge =
        arguments.language.over(&mut settings, arguments.base_url.as_deref(), arguments.concurrency, context);
    let request = JudgeRequest {
        concepts: arguments.concepts,
        pairs: arguments.pairs,
        pairs_per_call: arguments.pairs_per_call,
        judge,
        settings,
        second_judge: arguments.second_judge,
        dry_run: arguments.language.dry_run,
    };
    let found = run.judge(&request, &mut Progress::new(arguments.quiet))?;
    if request.dry_run {
        return print(&judged::forecast(&found.cost));
    }
    if arguments.json {
        let text =
            serde_json::to_string_pretty(&found.concepts).map_err(|error| Failure::new(1, &error.into()))?;
        return print(&format!("{text}\n"));
    }
    print(&judged::render(&found))
}
