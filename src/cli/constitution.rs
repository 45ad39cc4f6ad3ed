//! `wimhf constitution RUN`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::language::{NamedModel, SpendingArguments, bills};
use super::{Failure, colour, print};
use crate::constitution::by_model::{Asking, ByModel};
use crate::constitution::choose::Aim;
use crate::constitution::edits::{EditError, EditFile};
use crate::constitution::reconstruct::{Options, Reconstruction, reconstruct};
use crate::describe::Described;
use crate::finished::{FinishedError, FinishedRun};
use crate::language::open::Role;
use crate::report::bill;
use crate::report::constitution as report;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
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
    /// What the list is chosen for (a model's as for linear); linear and vote are always measured.
    #[arg(long, value_enum, default_value_t = ExecutorArgument::Linear)]
    executor: ExecutorArgument,
    /// Pin, drop, reorder or reword principles (TOML), and see what each edit costs.
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    /// Print the result and write nothing; of a model, print what asking it would take, and ask nothing.
    #[arg(long)]
    dry_run: bool,
    /// Folder for constitution.md, constitution.json and constitution.prompt.txt [default: RUN].
    #[arg(long, value_name = "FOLDER", conflicts_with = "dry_run")]
    out: Option<PathBuf>,
    /// The language model that applies the list, seeing nothing but its words and one pair at a time.
    #[arg(long, value_name = "MODEL", help_heading = MODELS)]
    model: Option<String>,
    /// Also make a list as Inverse Constitutional AI does, with the same model, and have it applied to the same pairs.
    #[arg(long, requires = "model", help_heading = MODELS)]
    icai: bool,
    /// Held-out pairs that the model is asked about, drawn by the run's seed [default: 300].
    #[arg(long, value_name = "N", requires = "model", value_parser = clap::value_parser!(u32).range(1..), help_heading = MODELS)]
    pairs: Option<u32>,
    /// Pairs in one call [default: 5].
    #[arg(long, value_name = "N", requires = "model", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = MODELS)]
    pairs_per_call: Option<u32>,
    /// Address of an OpenAI-compatible server; the key is taken from OPENAI_API_KEY
    /// [default: OPENAI_BASE_URL, or OpenAI's].
    #[arg(long, value_name = "URL", requires = "model", help_heading = MODELS)]
    base_url: Option<String>,
    /// Most requests at once [default: 8].
    #[arg(long, value_name = "N", env = "WIMHF_CONCURRENCY", help_heading = MODELS)]
    concurrency: Option<usize>,
    #[command(flatten)]
    spending: SpendingArguments,
}

const MODELS: &str = "Language models";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExecutorArgument {
    /// A weight per principle.
    Linear,
    /// A majority vote of the principles.
    Vote,
    /// A language model that reads them (`--model`).
    Model,
}

/// A name that is not in the run, or edits that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum ResolveError {
    Edit(#[from] EditError),
    Run(#[from] FinishedError),
}

/// Pairs that a model is asked about, and in one call.
const PAIRS: u32 = 300;
const PAIRS_PER_CALL: u32 = 5;

/// Has the model apply the list, and says what that took.
fn ask(
    asking: &Asking<'_>,
    found: &Reconstruction,
    described: &Described,
    model: &NamedModel,
    seed: u64,
) -> Result<ByModel, Failure> {
    let (outcome, spent) = model.ask(seed, |chat, progress| {
        asking.ask(found, described, chat, &mut |name, done, total| progress.calls(name, done, total))
    })?;
    let mut by_model = outcome.map_err(|error| {
        let code = if error.is_stop() {
            130
        } else if error.is_users() {
            2
        } else {
            1
        };
        Failure::new(code, &error.into())
    })?;
    by_model.server.clone_from(&model.named.base_url);
    by_model.spent = spent;
    Ok(by_model)
}

/// Runs the subcommand.
pub fn run(arguments: ConstitutionArguments) -> Result<(), Failure> {
    let user = |error: anyhow::Error| Failure::new(2, &error);
    if arguments.model.is_none()
        && (arguments.executor == ExecutorArgument::Model || arguments.spending.typed())
    {
        return Err(user(anyhow::anyhow!(
            "no language model is named\nhint: `--executor model --model MODEL`"
        )));
    }
    let run = FinishedRun::open(&arguments.run).map_err(super::finished)?;
    let model = |name: &str| {
        let (config, url) = (&run.manifest.config.describe.language, arguments.base_url.as_deref());
        arguments.spending.model(config, name, Role::Executor, url, arguments.concurrency)
    };
    let model = arguments.model.as_deref().map(model).transpose()?;
    let edits = match &arguments.edit {
        Some(path) => EditFile::read(path)
            .map_err(ResolveError::from)
            .and_then(|file| file.resolve(path, |name| Ok(run.feature(name)?)))
            .map_err(|error: ResolveError| user(error.into()))?,
        None => Vec::new(),
    };
    let source = run.source().map_err(super::finished)?;
    let described = run.described().map_err(super::finished)?;
    let deltas = run.deltas(&source).map_err(super::finished)?;
    let options = Options {
        principles: arguments.principles.map(usize::from),
        aim: match arguments.executor {
            ExecutorArgument::Linear | ExecutorArgument::Model => Aim::Linear,
            ExecutorArgument::Vote => Aim::Vote,
        },
        edits,
        seed: run.manifest.seed,
        redundant_above: run.manifest.config.principles.redundant_above,
        alpha: run.manifest.config.principles.alpha,
    };
    let found = reconstruct(&source.pairs, &source.sides, &described, &deltas, &options);
    let Some(mut found) = found else {
        return Err(user(anyhow::anyhow!(
            "the run in `{}` has no usable labels to reconstruct: both sides must be preferred somewhere, on explore and on \
             held-out pairs\nhint: name the label column with `wimhf analyze {} --label-column …`",
            run.path.display(),
            run.manifest.dataset.path
        )));
    };
    found.dataset.clone_from(&run.manifest.dataset.path);
    let mut bill = String::new();
    if let Some(model) = &model {
        let asking = Asking::new(
            &source.pairs,
            &source.sides,
            &model.prompts,
            arguments.pairs.unwrap_or(PAIRS) as usize,
            arguments.pairs_per_call.unwrap_or(PAIRS_PER_CALL) as usize,
            arguments.icai,
            options.seed,
        );
        if arguments.dry_run {
            let bills = bills(&model.named, asking.forecast(&found));
            bill = format!("\n{}", bill::render("having a language model apply the constitution", &bills));
        } else if !found.principles.is_empty() {
            found.by_model = Some(ask(&asking, &found, &described, model, options.seed)?);
        }
    }
    let mut text = report::render(&found, colour(&std::io::stdout()));
    text += &bill;
    if !arguments.dry_run {
        let folder = arguments.out.as_ref().unwrap_or(&run.path);
        std::fs::create_dir_all(folder).map_err(|error| {
            user(anyhow::Error::new(error).context(format!("cannot create `{}`", folder.display())))
        })?;
        let written = report::write(folder, &found).map_err(|error| super::finished(error.into()))?;
        let files: Vec<String> = written.iter().map(|file| folder.join(file).display().to_string()).collect();
        text += &format!("\nWritten: {}\n", files.join(", "));
    }
    print(&text)
}
