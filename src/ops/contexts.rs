//! Where it holds: which features are rewarded in some kinds of request and not in others.

use std::path::PathBuf;

use crate::contexts::{self, Contexts, Look, Question};
use crate::describe::known::ConceptBankError;
use crate::embed::EmbedError;
use crate::export::contexts as tables;
use crate::pairs::{self, Pairs, PairsError};
use crate::relabel::unsafe_content::Reader;
use crate::run::{Run, RunError};
use crate::store::{StoreError, write_json};

/// Which contexts to look at beside those that the prompts have by themselves.
#[derive(Debug, Clone, Default)]
pub struct ContextsRequest {
    /// Columns of the run's dataset: each common value is a context.
    pub columns: Vec<String>,
    /// The folder to write to; `RUN/contexts` where none is given.
    pub out: Option<PathBuf>,
    /// Replace files of another kind.
    pub force: bool,
}

/// What came out, and where it was written.
#[derive(Debug, Clone)]
pub struct ContextsFound {
    /// What depends on the request.
    pub found: Contexts,
    /// `contexts.json` and `contexts.csv`.
    pub files: Vec<PathBuf>,
}

/// Why nothing was looked at.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // some variants are their sources
pub enum ContextsError {
    /// The columns are not in one file on disk.
    #[error(
        "columns are read from one dataset on disk, and this run has several sources or one on the Hub\nhint: put them into one file, or download the dataset"
    )]
    Sources,
    /// A column that says nothing.
    #[error(
        "`{column}` has fewer than two different values in the run's pairs ({values}), so it divides them into nothing\nhint: a context is a column with a few values, such as a topic or a language"
    )]
    Constant { column: String, values: usize },
    /// A column of texts of their own.
    #[error(
        "no value of `{0}` stands in one pair of thirty: it is no kind of request\nhint: a context is a column with a few values, such as a topic or a language"
    )]
    Unique(String),
    /// No labels.
    #[error(
        "the run has no labels that prefer a response, so nothing says what is rewarded where\nhint: `--label-column` of `wimhf analyze` names the column with the labels"
    )]
    NoLabels,
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Pairs(#[from] PairsError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Concepts(#[from] ConceptBankError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks at every feature in every kind of request.
///
/// # Errors
/// See [`ContextsError`].
pub fn contexts(run: &Run, request: &ContextsRequest) -> Result<ContextsFound, ContextsError> {
    let folder = request.out.clone().unwrap_or_else(|| run.path.join("contexts"));
    let names = ["contexts.json", "contexts.csv"];
    // Before the work; where there is no folder yet, nothing can be replaced.
    if folder.exists() {
        run.may_write_into(&folder, &names, &[], request.force)?;
    }
    let source = run.source()?;
    let mut all = Vec::new();
    for column in &request.columns {
        let values = values(run, &source.pairs, column)?;
        let own = contexts::of_column(column, &values);
        let most = values.len() / 30;
        match own.len() {
            0 | 1 => return Err(ContextsError::Constant { column: column.clone(), values: own.len() }),
            _ if !own.iter().any(|c| c.inside.iter().filter(|inside| **inside).count() > most) => {
                return Err(ContextsError::Unique(column.clone()));
            }
            _ => all.extend(own),
        }
    }
    let cancel = &run.context.cancel;
    let reader = Reader::new(None)?;
    all.extend(contexts::found(&source.pairs, run.manifest.config.seed, &reader, cancel)?.contexts);
    let described = run.described()?;
    let principles = run.findings.features();
    let question = Question { principles: &principles, look: Look::All };
    let found = contexts::measure(&source.pairs, &source.sides, &described, all, question, cancel)
        .map_err(EmbedError::from)?;
    if found.labels == 0 {
        return Err(ContextsError::NoLabels);
    }
    std::fs::create_dir_all(&folder).map_err(|source| StoreError::Io {
        action: "make the folder",
        path: folder.clone(),
        source,
    })?;
    run.may_write_into(&folder, &names, &[], request.force)?;
    let (json, csv) = (folder.join("contexts.json"), folder.join("contexts.csv"));
    write_json(&json, &tables::record(&found))?;
    tables::write(&csv, &found)?;
    Ok(ContextsFound { found, files: vec![json, csv] })
}

/// What stands in a column of the run's dataset, by pair: of the first row that judges it.
fn values(run: &Run, pairs: &Pairs, column: &str) -> Result<Vec<String>, ContextsError> {
    let sources = run.sources();
    let data = match sources.as_slice() {
        [one] if !one.starts_with("hf://") => one,
        _ => return Err(ContextsError::Sources),
    };
    let texts = pairs::column(data, column, "--column")?;
    let mut values = vec![String::new(); pairs.pair_id.len()];
    let judgements = &pairs.judgements;
    for (&pair, &row) in judgements.pair.iter().zip(&judgements.row) {
        let value = &mut values[pair as usize];
        if value.is_empty()
            && let Some(Some(text)) = texts.get(row as usize)
        {
            text.trim().clone_into(value);
        }
    }
    Ok(values)
}
