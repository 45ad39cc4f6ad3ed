//! What differs between annotators, and weights of their own.

use std::path::PathBuf;

use crate::export::personalize as files;
use crate::pairs::{self, PairsError};
use crate::personalize::{
    self, Allowed, Names, NewLabels, Options, Personalization, PersonalizeError, Updated,
};
use crate::run::{Run, RunError, Source};
use crate::store::StoreError;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct PersonalizeRequest {
    /// Column of the dataset that says whose label it is; the run's annotators where none is given.
    pub by: Option<String>,
    /// Features that may be personal, by id, concept or label; empty: those that differ between annotators, without
    /// safety-relevant ones.
    pub features: Vec<String>,
    /// Labels from which on an annotator gets weights of its own.
    pub min_pairs: usize,
    /// Columns that group the annotators, to test whether groups differ.
    pub groups: Vec<String>,
    /// Measure what the weights are worth for new annotators, which is the slowest part.
    pub evaluate: bool,
    /// Write nothing.
    pub dry_run: bool,
    /// The folder to write to; the run's where none is given.
    pub out: Option<PathBuf>,
    /// Replace files even where they are of another kind.
    pub force: bool,
}

impl Default for PersonalizeRequest {
    fn default() -> Self {
        Self {
            by: None,
            features: Vec::new(),
            min_pairs: 8,
            groups: Vec::new(),
            evaluate: true,
            dry_run: false,
            out: None,
            force: false,
        }
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Personalized {
    /// Everything that was found.
    pub found: Personalization,
    /// What an update changed.
    pub updated: Vec<Updated>,
    /// The files that were written.
    pub files: Vec<PathBuf>,
}

/// Why there are no personal weights.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source
pub enum PersonalizeFailure {
    #[error(transparent)]
    Personalize(#[from] PersonalizeError),
    #[error(transparent)]
    Pairs(#[from] PairsError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds what differs between annotators, and gives each weights of its own.
///
/// # Errors
/// See [`PersonalizeFailure`].
pub fn personalize(run: &Run, request: &PersonalizeRequest) -> Result<Personalized, PersonalizeFailure> {
    if let Some(folder) = request.out.as_ref().filter(|folder| folder.is_dir() && !request.dry_run) {
        // Before the work, not after it.
        run.may_write_into(folder, &files::FILES, &[], request.force)?;
    }
    let allowed = allowed(run, &request.features)?;
    let source = run.source()?;
    let by = match &request.by {
        Some(column) => names(run, &source, column, "--by")?,
        None => Names::annotators(&source.pairs),
    };
    let groups = (request.groups.iter())
        .map(|column| Ok((column.clone(), names(run, &source, column, "--groups")?)))
        .collect::<Result<Vec<_>, PersonalizeFailure>>()?;
    let described = run.described()?;
    let config = &run.manifest.config;
    let by_name = request.by.clone().or_else(|| config.data.annotator_column.clone());
    let options = Options {
        by,
        by_name: by_name.unwrap_or_else(|| "annotator_id".into()),
        groups,
        allowed,
        min_pairs: request.min_pairs.max(1),
        alpha: config.principles.alpha,
        evaluate: request.evaluate,
        seed: run.manifest.seed,
        redundant_above: config.principles.redundant_above,
        cancel: run.context.cancel.clone(),
    };
    let mut found = personalize::personalize(&source.pairs, &described, &options)?;
    found.dataset.clone_from(&run.manifest.dataset.path);
    let files = write(run, &found, request, &[])?;
    Ok(Personalized { found, updated: Vec::new(), files })
}

/// Adds new labels to the weights that stand in the run, without the old labels. `data` is a table with
/// `annotator_id`, `label`, `length_delta` and the features' activations by id; of the request only where to write
/// counts.
///
/// # Errors
/// See [`PersonalizeFailure`].
pub fn update(
    run: &Run,
    data: &str,
    request: &PersonalizeRequest,
) -> Result<Personalized, PersonalizeFailure> {
    let path = run.path.join("personalize.json");
    let no_record = |why: String| PersonalizeError::NoRecord { path: path.clone(), why };
    let bytes = crate::limits::read(&path).map_err(|error| no_record(error.to_string()))?;
    let mut found: Personalization =
        serde_json::from_slice(&bytes).map_err(|error| no_record(error.to_string()))?;
    let new = new_labels(data, &found)?;
    let updated = found.update(&new).map_err(|id| PersonalizeError::NewLabels {
        path: data.to_owned(),
        why: format!("no column `{id}`"),
    })?;
    let files = write(run, &found, request, &[PathBuf::from(data)])?;
    Ok(Personalized { found, updated, files })
}

fn allowed(run: &Run, wanted: &[String]) -> Result<Allowed, RunError> {
    match wanted {
        [] => Ok(Allowed::Subjective),
        [only] if only.trim() == "subjective" => Ok(Allowed::Subjective),
        wanted => {
            let mut found = Vec::new();
            for name in wanted {
                let feature = run.feature(name)?;
                if !found.contains(&feature) {
                    found.push(feature);
                }
            }
            Ok(Allowed::Named(found))
        }
    }
}

/// A column's value for every judgement of the run.
fn names(run: &Run, source: &Source, column: &str, flag: &'static str) -> Result<Names, PairsError> {
    let values = pairs::values(run.data(), column, flag)?;
    let judged: Vec<Option<String>> = (source.pairs.judgements.row.iter())
        .map(|&row| values.get(row as usize).cloned().flatten())
        .collect();
    Ok(Names::from_values(&judged))
}

/// Writes the files unless it is a dry run, and names them.
fn write(
    run: &Run,
    found: &Personalization,
    request: &PersonalizeRequest,
    read: &[PathBuf],
) -> Result<Vec<PathBuf>, PersonalizeFailure> {
    if request.dry_run {
        return Ok(Vec::new());
    }
    let folder = request.out.as_ref().unwrap_or(&run.path);
    std::fs::create_dir_all(folder).map_err(|source| StoreError::Io {
        action: "make the folder",
        path: folder.clone(),
        source,
    })?;
    run.may_write_into(folder, &files::FILES, read, request.force)?;
    files::write(folder, found)?;
    Ok(files::FILES.iter().map(|file| folder.join(file)).collect())
}

/// New labels from a table; ties and rows without label or annotator are left out.
fn new_labels(data: &str, found: &Personalization) -> Result<NewLabels, PersonalizeFailure> {
    let column = |name: &str| pairs::values(data, name, "--update");
    let numbers = |name: &str| -> Result<Vec<Option<f64>>, PersonalizeFailure> {
        let parse = |value: Option<String>| {
            let value = value.filter(|value| !value.trim().is_empty());
            value.map(|value| value.trim().parse::<f64>().ok().filter(|x| x.is_finite()).ok_or(value))
        };
        (column(name)?.into_iter().enumerate())
            .map(|(row, value)| match parse(value) {
                None => Ok(None),
                Some(Ok(value)) => Ok(Some(value)),
                Some(Err(value)) => Err(PersonalizeError::NewLabels {
                    path: data.to_owned(),
                    why: format!("`{value}` in row {row} of `{name}` is not a number"),
                }
                .into()),
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
        return Err(PersonalizeError::NewLabels { path: data.to_owned(), why }.into());
    }
    Ok(new)
}
