//! `wimhf constitution RUN`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use wimhf::ConstitutionRequest;
use wimhf::constitution::choose::Objective;
use wimhf::ops::constitution::{ConstitutionError, MODEL_PAIRS, PAIRS_PER_CALL};

use super::language::{HEADING as MODELS, SpendingArguments};
use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf constitution runs/mine
  wimhf constitution runs/mine --principles 5 --executor vote")]
#[command(after_long_help = "Examples:
  wimhf constitution runs/mine
  wimhf constitution runs/mine --principles 5 --executor vote
  wimhf constitution runs/mine --edit constitution.toml --dry-run
  wimhf constitution runs/mine --executor model --model gpt-5-mini --dry-run
  wimhf constitution runs/mine --executor model --model qwen3 --base-url http://localhost:8000/v1 --icai

constitution.toml:
  pin = [\"refuses\", \"emoji:avoid\"]   # in the list; a direction of your own is allowed and costs
  drop = [\"longer\"]
  order = [\"refuses\"]                 # in front
  [reword]
  refuses = \"Prefer the response that declines what would hurt somebody\"")]
pub struct ConstitutionArguments {
    /// A finished run directory.
    run: PathBuf,
    /// Number of principles [default: where the cross-validated curve is flat].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    principles: Option<u16>,
    /// What the list is chosen for: linear, vote or model [default: linear].
    ///
    /// A model's is chosen as for linear; linear and vote are always measured.
    #[arg(long, value_enum, hide_possible_values = true, hide_default_value = true, default_value_t = ExecutorArgument::Linear)]
    executor: ExecutorArgument,
    /// Pin, drop, reorder or reword principles (TOML); see what it costs.
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    /// Print the result, write nothing, ask no model.
    ///
    /// Of a model, print what asking it would take.
    #[arg(long)]
    dry_run: bool,
    /// Folder for the files [default: RUN].
    ///
    /// constitution.md, constitution.json and constitution.prompt.txt.
    #[arg(long, value_name = "FOLDER", conflicts_with = "dry_run")]
    out: Option<PathBuf>,
    /// The language model that applies the list.
    ///
    /// It sees nothing but the list's words and one pair at a time.
    #[arg(long, value_name = "MODEL", help_heading = MODELS)]
    model: Option<String>,
    /// Also make and apply a list as Inverse Constitutional AI does.
    ///
    /// With the same model, on the same pairs.
    #[arg(long, requires = "model", help_heading = MODELS)]
    icai: bool,
    /// Held-out pairs that the model is asked about [default: 300].
    ///
    /// Drawn by the run's seed.
    #[arg(long, value_name = "N", requires = "model", value_parser = clap::value_parser!(u32).range(1..), help_heading = MODELS)]
    pairs: Option<u32>,
    /// Pairs in one call [default: 5].
    #[arg(long, value_name = "N", requires = "model", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = MODELS)]
    pairs_per_call: Option<u32>,
    /// Its OpenAI-compatible server [default: OPENAI_BASE_URL, or OpenAI's].
    ///
    /// The key is taken from OPENAI_API_KEY.
    #[arg(long, value_name = "URL", requires = "model", help_heading = MODELS)]
    base_url: Option<String>,
    /// Most requests at once [default: 8].
    #[arg(long, value_name = "N", env = "WIMHF_CONCURRENCY", hide_short_help = true, help_heading = MODELS)]
    concurrency: Option<usize>,
    #[command(flatten)]
    spending: SpendingArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExecutorArgument {
    /// A weight per principle.
    Linear,
    /// A majority vote of the principles.
    Vote,
    /// A language model that reads them (`--model`).
    Model,
}

/// Runs the subcommand.
pub fn run(arguments: ConstitutionArguments, call: &Call) -> Result<(), Failure> {
    if arguments.model.is_none()
        && (arguments.executor == ExecutorArgument::Model || arguments.spending.typed())
    {
        return Err(wimhf::Error::from(ConstitutionError::NoModel).into());
    }
    let run = open_run(&arguments.run, &call.context)?;
    let (model, url) = (arguments.model.as_deref(), arguments.base_url.as_deref());
    let request = ConstitutionRequest {
        principles: arguments.principles.map(usize::from),
        objective: match arguments.executor {
            ExecutorArgument::Linear | ExecutorArgument::Model => Objective::Linear,
            ExecutorArgument::Vote => Objective::Vote,
        },
        edits: arguments.edit,
        dry_run: arguments.dry_run,
        out: arguments.out,
        model: arguments.spending.request(model, url, arguments.concurrency, &call.context),
        icai: arguments.icai,
        pairs: arguments.pairs.map_or(MODEL_PAIRS, |pairs| pairs as usize),
        pairs_per_call: arguments.pairs_per_call.map_or(PAIRS_PER_CALL, |pairs| pairs as usize),
    };
    let made = run.constitution(&request, &mut call.progress())?;
    if call.json {
        return call.value(&json!({"found": made.found, "cost": made.cost, "files": made.files}));
    }
    let mut text = render::constitution::render(&made.found, call.colour());
    if request.dry_run && request.model.model.is_some() {
        let what = "having a language model apply the constitution";
        text += &format!("\n{}", render::bill::render(what, &made.cost));
    }
    if !made.files.is_empty() {
        text += &render::written(&made.files);
    }
    print(&text)
}
