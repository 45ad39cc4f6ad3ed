//! `wimhf constitution RUN`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Failure, colour, print};
use crate::constitution::choose::Aim;
use crate::constitution::edits::{EditError, EditFile};
use crate::constitution::reconstruct::{Options, reconstruct};
use crate::finished::{FinishedError, FinishedRun};
use crate::report::constitution as report;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf constitution runs/mine
  wimhf constitution runs/mine --principles 5 --executor vote
  wimhf constitution runs/mine --edit constitution.toml --dry-run

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
    /// What the list is chosen for; both executors are always measured.
    #[arg(long, value_enum, default_value_t = ExecutorArgument::Linear)]
    executor: ExecutorArgument,
    /// Pin, drop, reorder or reword principles (TOML), and see what each edit costs.
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    /// Print the result and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Folder for constitution.md, constitution.json and constitution.prompt.txt [default: RUN].
    #[arg(long, value_name = "FOLDER", conflicts_with = "dry_run")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExecutorArgument {
    /// A weight per principle.
    Linear,
    /// A majority vote of the principles.
    Vote,
}

/// A name that is not in the run, or edits that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum ResolveError {
    Edit(#[from] EditError),
    Run(#[from] FinishedError),
}

/// Runs the subcommand.
pub fn run(arguments: ConstitutionArguments) -> Result<(), Failure> {
    let user = |error: anyhow::Error| Failure::new(2, &error);
    let run = FinishedRun::open(&arguments.run).map_err(super::finished)?;
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
            ExecutorArgument::Linear => Aim::Linear,
            ExecutorArgument::Vote => Aim::Vote,
        },
        edits,
        seed: run.manifest.seed,
        redundant_above: run.manifest.config.principles.redundant_above,
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
    let mut text = report::render(&found, colour(&std::io::stdout()));
    if !arguments.dry_run {
        let folder = arguments.out.as_ref().unwrap_or(&run.path);
        std::fs::create_dir_all(folder).map_err(|error| {
            user(anyhow::Error::new(error).context(format!("cannot create `{}`", folder.display())))
        })?;
        report::write(folder, &found).map_err(|error| super::finished(error.into()))?;
        let files: Vec<String> =
            report::FILES.iter().map(|file| folder.join(file).display().to_string()).collect();
        text += &format!("\nWritten: {}\n", files.join(", "));
    }
    print(&text)
}
