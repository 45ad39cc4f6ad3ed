//! `wimhf judge RUN --concept "…"`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::language::LanguageArguments;
use super::{Failure, print};
use crate::analyze::spent_in_words;
use crate::config::LanguageConfig;
use crate::describe::known::Bank;
use crate::describe::model_judge::{CountingJudge, ModelJudge, Wording};
use crate::describe::own;
use crate::finished::FinishedRun;
use crate::language::open::{self, Role};
use crate::language::spending::Purse;
use crate::pairs::Side;
use crate::report::judged::{self, Judged};

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
pub fn run(arguments: JudgeArguments) -> Result<(), Failure> {
    let user = |error: anyhow::Error| Failure::new(2, &error);
    let mut concepts: Vec<String> = Vec::new();
    for concept in &arguments.concepts {
        let words = concept.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = words.strip_prefix("The response ").unwrap_or(&words).trim_end_matches('.').to_owned();
        if words.is_empty() || words.chars().count() > 300 {
            return Err(user(anyhow::anyhow!(
                "`--concept` needs a few words that complete \"The response …\", such as 'uses humour'"
            )));
        }
        if !concepts.contains(&words) {
            concepts.push(words);
        }
    }
    if arguments.pairs == 0 || arguments.pairs_per_call == 0 {
        return Err(user(anyhow::anyhow!("`--pairs` and `--pairs-per-call` must be at least 1")));
    }
    let finished = |error: crate::finished::FinishedError| {
        let code = if error.is_users() { 2 } else { 1 };
        Failure::new(code, &error.into())
    };
    let run = FinishedRun::open(&arguments.run).map_err(finished)?;
    let source = run.source().map_err(finished)?;
    let mut config: LanguageConfig = run.manifest.config.describe.language.clone();
    let spending = arguments.language.over(&mut config, arguments.base_url.as_deref(), arguments.concurrency);
    if config.judge.is_none() && config.writer.is_none() {
        return Err(user(anyhow::anyhow!("no model is named\nhint: `--judge MODEL`")));
    }
    let held_out: Vec<u32> = (0u32..)
        .zip(&source.sides)
        .filter(|(_, side)| **side == Side::HeldOut)
        .map(|(pair, _)| pair)
        .collect();
    let seed = run.manifest.seed;
    let pairs = own::sample(&held_out, arguments.pairs, seed);
    let prompts = open::prompts(&config).map_err(|error| user(error.into()))?;
    let prompt = prompts.get("judge");
    let mut second = config.clone();
    second.judge.clone_from(&arguments.second_judge);
    let named = |config: &LanguageConfig| {
        open::named(config, Role::Judge, &spending).map_err(|error| user(error.into()))
    };
    let mut models = vec![named(&config)?];
    if arguments.second_judge.is_some() {
        models.push(named(&second)?);
    }
    if arguments.language.dry_run {
        let mut counting = CountingJudge::new(&source.pairs, &prompt, Wording::DESCRIPTIONS);
        let Ok(_) = own::read(&mut counting, &concepts, &pairs, arguments.pairs_per_call);
        return print(&judged::forecast(&models, &counting.forecast));
    }

    let purse = Arc::new(Purse::new(spending.limits));
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    let mut read = Vec::new();
    let mut outcome = Ok(());
    for model in models {
        let mut model = model.open(&spending, &purse, seed).map_err(|error| user(error.into()))?;
        let mut silent = |_: usize| {};
        let mut judge = ModelJudge {
            model: &mut model,
            pairs: &source.pairs,
            prompt: &prompt,
            wording: Wording::DESCRIPTIONS,
            progress: &mut silent,
        };
        match own::read(&mut judge, &concepts, &pairs, arguments.pairs_per_call) {
            Ok(readings) => read.push(readings),
            Err(error) => {
                let code = if error.is_stop() { 130 } else { 2 };
                outcome = Err(Failure::new(code, &error.into()));
                break;
            }
        }
    }
    if !arguments.quiet {
        for text in std::iter::once(spent_in_words(&purse.spent())).chain(purse.told()) {
            // A closed stderr is no reason to stop.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("note: {text}\n"));
        }
    }
    outcome?;
    let bank = match &run.manifest.config.describe.concepts {
        Some(path) => Bank::with_file(path),
        None => Bank::boxed(),
    }
    .map_err(|error| user(error.into()))?;
    let activations = run.activations().map_err(finished)?;
    let found: Vec<Judged> = concepts
        .iter()
        .enumerate()
        .map(|(at, concept)| {
            let second = read.get(1).and_then(|readings| readings.get(at));
            judged::measure(concept, &read[0][at], second, &run, &source, &activations, &bank)
        })
        .collect();
    if arguments.json {
        let text = serde_json::to_string_pretty(&found).map_err(|error| Failure::new(1, &error.into()))?;
        return print(&format!("{text}\n"));
    }
    print(&judged::render(&found, &names))
}
