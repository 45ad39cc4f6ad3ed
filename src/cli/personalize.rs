//! `wimhf personalize RUN`

use std::path::PathBuf;

use clap::Args;

use super::{Failure, colour, print};
use crate::analyze::AnalyzeError;
use crate::finished::{FinishedError, FinishedRun, Source};
use crate::pairs;
use crate::personalize::{Allowed, Names, Options, personalize};
use crate::report::personalize as report;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf personalize runs/mine
  wimhf personalize runs/mine --groups age,country
  wimhf personalize runs/mine --by user_id --features lists,emoji --min-pairs 20")]
pub struct PersonalizeArguments {
    /// A finished run directory.
    run: PathBuf,
    /// Column of the dataset that says whose label it is [default: the run's annotators].
    #[arg(long, value_name = "COLUMN")]
    by: Option<String>,
    /// Features that may be personal, by id, concept or label; `subjective` takes those that differ
    /// between annotators, without safety-relevant ones.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "subjective")]
    features: Vec<String>,
    /// Labels from which on an annotator gets weights of its own.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    min_pairs: u32,
    /// Columns that group the annotators, to test whether groups differ.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    groups: Vec<String>,
    /// Do not measure what the weights are worth for new annotators, which is the slowest part.
    #[arg(long)]
    no_evaluation: bool,
    /// Print the result and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Folder for the weights, the scorer and the record [default: RUN].
    #[arg(long, value_name = "FOLDER", conflicts_with = "dry_run")]
    out: Option<PathBuf>,
}

/// A column's value for every judgement of the run.
fn names(
    run: &FinishedRun,
    source: &Source,
    column: &str,
    flag: &'static str,
) -> Result<Names, FinishedError> {
    let values = pairs::values(run.data(), column, flag).map_err(AnalyzeError::from)?;
    let judged: Vec<Option<String>> = (source.pairs.judgements.row.iter())
        .map(|&row| values.get(row as usize).cloned().flatten())
        .collect();
    Ok(Names::from_values(&judged))
}

/// Runs the subcommand.
pub fn run(arguments: PersonalizeArguments) -> Result<(), Failure> {
    let user = |error: anyhow::Error| Failure::new(2, &error);
    let run = FinishedRun::open(&arguments.run).map_err(super::finished)?;
    let allowed = match &arguments.features[..] {
        [only] if only.trim() == "subjective" => Allowed::Subjective,
        wanted => {
            let mut found = Vec::new();
            for name in wanted {
                let feature = run.feature(name).map_err(super::finished)?;
                if !found.contains(&feature) {
                    found.push(feature);
                }
            }
            Allowed::Named(found)
        }
    };
    let source = run.source().map_err(super::finished)?;
    let by = match &arguments.by {
        Some(column) => names(&run, &source, column, "--by").map_err(super::finished)?,
        None => Names::annotators(&source.pairs),
    };
    let groups = (arguments.groups.iter())
        .map(|column| Ok((column.clone(), names(&run, &source, column, "--groups")?)))
        .collect::<Result<Vec<_>, FinishedError>>()
        .map_err(super::finished)?;
    let described = run.described().map_err(super::finished)?;
    let config = &run.manifest.config;
    let by_name = arguments.by.clone().or_else(|| config.data.annotator_column.clone());
    let options = Options {
        by,
        by_name: by_name.unwrap_or_else(|| "annotator_id".into()),
        groups,
        allowed,
        min_pairs: arguments.min_pairs as usize,
        alpha: config.principles.alpha,
        evaluate: !arguments.no_evaluation,
        seed: run.manifest.seed,
        redundant_above: config.principles.redundant_above,
    };
    let mut found = personalize(&source.pairs, &source.sides, &described, &options)
        .map_err(|error| user(error.into()))?;
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
