//! Which models win, and why: ratings of the models whose responses a dataset compares.

use std::path::PathBuf;

use crate::describe::FeatureSource;
use crate::export::ratings as tables;
use crate::pairs::{self, PairsError};
use crate::ratings::{self, Battles, Covariate, ModelRatings};
use crate::run::{Run, RunError};
use crate::store::{StoreError, write_json};

/// Columns that name the models, in the order in which they are looked for, large or small letters alike.
pub const MODEL_COLUMNS: [(&str, &str); 8] = [
    ("model_a", "model_b"),
    ("model_1", "model_2"),
    ("model1", "model2"),
    ("model_left", "model_right"),
    ("chosen_model", "rejected_model"),
    ("chosen-model", "rejected-model"),
    ("generator_1", "generator_2"),
    ("system_a", "system_b"),
];
/// Known concepts that are format, beside both lengths.
const FORMAT: [&str; 10] =
    ["lists", "steps", "headings", "tables", "code", "bold", "italics", "emoji", "exclamation", "paragraphs"];

/// What is rated, and where the result goes.
#[derive(Debug, Clone, Default)]
pub struct RateRequest {
    /// The columns that name the models of the first and the second response; looked for where they are not named.
    pub columns: Option<(String, String)>,
    /// The folder to write to; `RUN/models` where none is given.
    pub out: Option<PathBuf>,
    /// Replace files that are no ratings.
    pub force: bool,
}

/// What came out, and where it was written.
#[derive(Debug, Clone)]
pub struct Rated {
    /// Every model.
    pub found: ModelRatings,
    /// The columns that named them.
    pub columns: (String, String),
    /// `models.json` and `models.csv`.
    pub files: Vec<PathBuf>,
}

/// Why there are no ratings.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // some variants are their sources
pub enum RateError {
    /// No columns name models.
    #[error(
        "no columns of `{data}` name the models\nhint: `--model-columns FIRST,SECOND`, the columns with the model of each response; columns seen: {seen}"
    )]
    NoColumns { data: String, seen: String },
    /// The columns are not in one file on disk.
    #[error(
        "models are read from columns of one dataset on disk, and this run has several sources or one on the Hub\nhint: put them into one file, or download the dataset"
    )]
    Sources,
    /// Nothing to rate.
    #[error(
        "`{0}` and `{1}` name {2} models in {3} labelled comparisons, which is too few to rate\nhint: name the columns with the model of each response, `--model-columns FIRST,SECOND`"
    )]
    Few(String, String, usize, usize),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Pairs(#[from] PairsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Rates the models of a run's dataset, and writes the table and the record.
///
/// # Errors
/// See [`RateError`].
pub fn rate(run: &Run, request: &RateRequest) -> Result<Rated, RateError> {
    let folder = request.out.clone().unwrap_or_else(|| run.path.join("models"));
    // Before the work; where there is no folder yet, nothing can be replaced.
    if folder.exists() {
        run.may_write_into(&folder, &["models.json", "models.csv"], &[], request.force)?;
    }
    let sources = run.sources();
    let data = match sources.as_slice() {
        [one] if !one.starts_with("hf://") => one,
        _ => return Err(RateError::Sources),
    };
    let (columns, first, second) = named(data, request)?;
    let source = run.source()?;
    let battles = Battles::new(&source.pairs, &first, &second);
    if battles.models.len() < 2 || battles.battles.len() < battles.models.len() {
        return Err(RateError::Few(columns.0, columns.1, battles.models.len(), battles.battles.len()));
    }
    let activations = run.stated()?;
    let presence = run.presence()?;
    let own = |name: &str, description: &str, values: &[f32]| Covariate {
        id: name.to_owned(),
        description: description.to_owned(),
        values: values.iter().map(|value| f64::from(*value)).collect(),
    };
    let lengths = [
        own("length", "has more words", &source.pairs.length_delta),
        own("length_ratio", "is longer in proportion", &source.pairs.log_length_ratio),
    ];
    let speaks = |at: &usize| {
        let feature = &run.features[*at];
        let is_theme = feature.source == FeatureSource::Theme;
        feature.speaks() && feature.is_said() && !is_theme && !feature.is_about("length")
    };
    let mut speaking: Vec<usize> = (0..run.features.len()).filter(speaks).collect();
    let frequency = |at: usize| (0..presence.rows()).filter(|pair| presence.row(*pair)[at] != 0.0).count();
    let counted: Vec<usize> = (0..run.features.len()).map(frequency).collect();
    speaking.sort_by(|x, y| counted[*y].cmp(&counted[*x]).then(x.cmp(y)));
    let covariate = |at: usize| {
        let feature = &run.features[at];
        own(&feature.feature_id, &feature.description, &activations.column(at))
    };
    let is_format =
        |at: &usize| FORMAT.iter().any(|id| run.features[*at].feature_id == format!("known_{id}"));
    let (format, others): (Vec<usize>, Vec<usize>) = speaking.iter().partition(|at| is_format(at));
    let style: Vec<Covariate> =
        lengths.iter().cloned().chain(format.iter().map(|at| covariate(*at))).collect();
    let all: Vec<Covariate> = style.iter().cloned().chain(others.iter().map(|at| covariate(*at))).collect();
    let traits: Vec<(usize, String, String)> = (speaking.iter())
        .map(|at| (*at, run.features[*at].feature_id.clone(), run.features[*at].description.clone()))
        .collect();
    let found = ratings::report(ratings::Input {
        pairs: &source.pairs,
        battles: &battles,
        style: &style,
        all: &all,
        presence: &presence,
        traits: &traits,
    });
    std::fs::create_dir_all(&folder).map_err(|source| StoreError::Io {
        action: "make the folder",
        path: folder.clone(),
        source,
    })?;
    run.may_write_into(&folder, &["models.json", "models.csv"], &[], request.force)?;
    let (json, csv) = (folder.join("models.json"), folder.join("models.csv"));
    write_json(&json, &tables::record(&found, &columns))?;
    tables::write(&csv, &found)?;
    Ok(Rated { found, columns, files: vec![json, csv] })
}

/// The columns with the models, and what stands in them row by row.
#[allow(clippy::type_complexity, reason = "two names and two columns")]
fn named(
    data: &str,
    request: &RateRequest,
) -> Result<((String, String), Vec<Option<String>>, Vec<Option<String>>), RateError> {
    let read = |name: &str| pairs::column(data, name, "--model-columns");
    if let Some((first, second)) = &request.columns {
        return Ok(((first.clone(), second.clone()), read(first)?, read(second)?));
    }
    let Some((first, second)) = pairs::find_columns(data, &MODEL_COLUMNS)? else {
        return Err(RateError::NoColumns { data: data.to_owned(), seen: pairs::describe_columns(data)? });
    };
    let (one, other) = (read(&first)?, read(&second)?);
    Ok(((first, second), one, other))
}
