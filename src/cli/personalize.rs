//! `wimhf personalize RUN`

use std::path::PathBuf;

use clap::Args;

use super::{Failure, colour, print};
use crate::analyze::AnalyzeError;
use crate::finished::{FinishedError, FinishedRun, Source};
use crate::pairs;
use crate::personalize::{
    Allowed, Names, NewLabels, Options, Personalization, PersonalizeError, personalize,
};
use crate::report::personalize as report;
use crate::run::output::{self, inputs};

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
    /// Folder for the weights, the scorer and the record [default: RUN].
    #[arg(long, value_name = "FOLDER", conflicts_with = "dry_run")]
    out: Option<PathBuf>,
    /// Replace files in FOLDER even where they are of another kind.
    #[arg(long)]
    force: bool,
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
    if let Some(folder) = arguments.out.as_ref().filter(|folder| folder.is_dir()) {
        // Before the work, not after it.
        let read = inputs(&run.manifest);
        output::check_folder(folder, &report::FILES, Some(&arguments.run), &read, arguments.force)
            .map_err(|error| user(error.into()))?;
    }
    if let Some(data) = &arguments.update {
        return update(&arguments, data, &run);
    }
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
    let mut found = personalize(&source.pairs, &described, &options).map_err(|error| user(error.into()))?;
    found.dataset.clone_from(&run.manifest.dataset.path);
    let text = report::render(&found, colour(&std::io::stdout()));
    finish(&arguments, &found, &inputs(&run.manifest), text)
}

/// Writes the files unless it is a dry run, and prints.
fn finish(
    arguments: &PersonalizeArguments,
    found: &Personalization,
    inputs: &[PathBuf],
    mut text: String,
) -> Result<(), Failure> {
    if !arguments.dry_run {
        let folder = arguments.out.as_ref().unwrap_or(&arguments.run);
        std::fs::create_dir_all(folder).map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("cannot create `{}`", folder.display()));
            Failure::new(2, &error)
        })?;
        output::check_folder(folder, &report::FILES, Some(&arguments.run), inputs, arguments.force)
            .map_err(|error| Failure::new(2, &error.into()))?;
        report::write(folder, found).map_err(|error| super::finished(error.into()))?;
        let files: Vec<String> =
            report::FILES.iter().map(|file| folder.join(file).display().to_string()).collect();
        text += &format!("\nWritten: {}\n", files.join(", "));
    }
    print(&text)
}

/// Adds new labels to the record that an earlier call left.
fn update(arguments: &PersonalizeArguments, data: &str, run: &FinishedRun) -> Result<(), Failure> {
    let user = |error: PersonalizeError| Failure::new(2, &error.into());
    let path = arguments.run.join("personalize.json");
    let no_record = |why: String| user(PersonalizeError::NoRecord { path: path.clone(), why });
    let bytes = std::fs::read(&path).map_err(|error| no_record(error.to_string()))?;
    let mut found: Personalization =
        serde_json::from_slice(&bytes).map_err(|error| no_record(error.to_string()))?;
    let new = new_labels(data, &found)?;
    let done = found.update(&new).map_err(|id| {
        user(PersonalizeError::NewLabels { path: data.to_owned(), why: format!("no column `{id}`") })
    })?;
    let text = report::render_update(&found, &done);
    let mut read = inputs(&run.manifest);
    read.push(PathBuf::from(data));
    finish(arguments, &found, &read, text)
}

/// New labels from a table; ties and rows without label or annotator are left out.
fn new_labels(data: &str, found: &Personalization) -> Result<NewLabels, Failure> {
    let column = |name: &str| {
        pairs::values(data, name, "--update")
            .map_err(|error| super::finished(AnalyzeError::from(error).into()))
    };
    let numbers = |name: &str| -> Result<Vec<Option<f64>>, Failure> {
        let parse = |value: Option<String>| {
            let value = value.filter(|value| !value.trim().is_empty());
            value.map(|value| value.trim().parse::<f64>().ok().filter(|x| x.is_finite()).ok_or(value))
        };
        (column(name)?.into_iter().enumerate())
            .map(|(row, value)| match parse(value) {
                None => Ok(None),
                Some(Ok(value)) => Ok(Some(value)),
                Some(Err(value)) => Err(Failure::new(
                    2,
                    &PersonalizeError::NewLabels {
                        path: data.to_owned(),
                        why: format!("`{value}` in row {row} of `{name}` is not a number"),
                    }
                    .into(),
                )),
            })
            .collect()
    };
    let (who, label, length) = (column("annotator_id")?, numbers("label")?, numbers("length_delta")?);
    let usable = |row: &usize| {
        let labelled = label[*row].is_some_and(|y| (0.0..=1.0).contains(&y) && y != 0.5);
        labelled && length[*row].is_some() && who[*row].as_deref().is_some_and(|who| !who.trim().is_empty())
    };
    let rows: Vec<usize> = (0..label.len()).filter(usable).collect();
    let pick =
        |values: &[Option<f64>]| rows.iter().map(|&row| values[row].unwrap_or(0.0)).collect::<Vec<f64>>();
    let mut new = NewLabels {
        annotator: rows.iter().map(|&row| who[row].clone().unwrap_or_default().trim().to_owned()).collect(),
        y: pick(&label),
        length: pick(&length),
        ..NewLabels::default()
    };
    for feature in &found.population {
        new.activations.insert(feature.feature_id.clone(), pick(&numbers(&feature.feature_id)?));
    }
    if new.y.is_empty() {
        let why = "no row has an annotator, a length and a label other than a tie".to_owned();
        let error = PersonalizeError::NewLabels { path: data.to_owned(), why };
        return Err(Failure::new(2, &error.into()));
    }
    Ok(new)
}
