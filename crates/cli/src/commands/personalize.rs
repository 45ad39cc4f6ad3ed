//! `wimhf personalize RUN`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wimhf::PersonalizeRequest;

use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf personalize runs/mine
  wimhf personalize runs/mine --groups age,country
  wimhf personalize runs/mine --by user_id --features lists,emoji --min-pairs 20
  wimhf personalize runs/mine --update new_labels.parquet")]
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
    /// Add new labels to the weights that stand in the run, without the old labels: a table with
    /// `annotator_id`, `label`, `length_delta` and the features' activations by id.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["by", "groups"])]
    update: Option<String>,
    /// Do not measure what the weights are worth for new annotators, which is the slowest part.
    #[arg(long)]
    no_evaluation: bool,
    /// Print the result and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Replace files even where they are of another kind than what is written.
    #[arg(long)]
    force: bool,
    /// Folder for the weights, the scorer and the record [default: RUN].
    #[arg(long, value_name = "FOLDER", conflicts_with = "dry_run")]
    out: Option<PathBuf>,
}

/// Runs the subcommand.
pub fn run(arguments: PersonalizeArguments, call: &Call) -> Result<(), Failure> {
    let run = open_run(&arguments.run, &call.context)?;
    let request = PersonalizeRequest {
        by: arguments.by,
        features: arguments.features,
        min_pairs: arguments.min_pairs as usize,
        groups: arguments.groups,
        evaluate: !arguments.no_evaluation,
        dry_run: arguments.dry_run,
        out: arguments.out,
        force: arguments.force,
    };
    let (made, mut text) = match &arguments.update {
        Some(data) => {
            let made = run.update_personal(data, &request)?;
            let text = render::personalize::render_update(&made.found, &made.updated);
            (made, text)
        }
        None => {
            let made = run.personalize(&request)?;
            let text = render::personalize::render(&made.found, call.colour());
            (made, text)
        }
    };
    if call.json {
        let updated: Vec<_> = made.updated.iter().map(render::personalize::updated).collect();
        return call.value(&json!({"found": made.found, "updated": updated, "files": made.files}));
    }
    if !made.files.is_empty() {
        text += &render::written(&made.files);
    }
    print(&text)
}
