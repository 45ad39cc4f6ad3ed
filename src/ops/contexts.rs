//! Where it holds: which features are rewarded in some kinds of request and not in others.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::contexts::{self, Context, Contexts, Look, Question};
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
    /// A column about the labels, not about the pairs.
    #[error(
        "`{0}` has several values for the same pair: it says something of the label and nothing of the request\nhint: `wimhf personalize` compares annotators, `wimhf audit` two judges; a context is a column such as a topic or a language"
    )]
    PerLabel(String),
    /// A column of texts of their own.
    #[error(
        "no value of `{0}` stands in one pair of thirty: it is no kind of request\nhint: a context is a column with a few values, such as a topic or a language"
    )]
    Unique(String),
    /// A name that no kind of request has.
    #[error("there is no kind of request `{id}`\nhint: one of {known}, or `COLUMN=VALUE` of the dataset")]
    Unknown { id: String, known: String },
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
    // Those of the run stay, those of the request come on top.
    let mut columns = run.manifest.config.contexts.columns.clone();
    columns.extend(
        request.columns.iter().filter(|column| !columns.contains(column)).cloned().collect::<Vec<_>>(),
    );
    let mut all = of_columns(&run.sources(), &source.pairs, &columns, "--column")?;
    let cancel = &run.context.cancel;
    let reader = Reader::new(None)?;
    all.extend(contexts::found(&source.pairs, run.manifest.config.seed, &reader, cancel)?.contexts);
    let described = run.described()?;
    let principles = run.findings.features();
    let question = Question { principles: &principles, look: Look::All };
    let mut found = contexts::measure(&source.pairs, &source.sides, &described, all, question, cancel)
        .map_err(EmbedError::from)?;
    if found.labels == 0 {
        return Err(ContextsError::NoLabels);
    }
    for column in &columns {
        let of_it = |context: &Context| context.context_id.starts_with(&format!("{column}="));
        if !found.contexts.iter().any(of_it) {
            found.notes.push(format!(
                "`{column}` is left out: each of its values holds less than 3 or more than 97 of 100 labels, or says what another kind of request says"
            ));
        }
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

/// The values of some columns of a dataset as kinds of request; `flag` is what the user named them with.
///
/// # Errors
/// Where a column is not there, divides the pairs into nothing or is no kind of request.
pub(crate) fn of_columns(
    sources: &[String],
    pairs: &Pairs,
    columns: &[String],
    flag: &'static str,
) -> Result<Vec<Context>, ContextsError> {
    let mut all = Vec::new();
    for column in columns {
        let (values, differing) = values(sources, pairs, column, flag)?;
        if 20 * differing > values.len() {
            return Err(ContextsError::PerLabel(column.clone()));
        }
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
    Ok(all)
}

/// The kind of request of this id: one that the prompts have by themselves, or `COLUMN=VALUE`.
///
/// # Errors
/// Where there is none, with those that there are.
pub(crate) fn named(run: &Run, pairs: &Pairs, id: &str) -> Result<Context, ContextsError> {
    let own = match id.split_once('=') {
        Some((column, _)) => of_columns(&run.sources(), pairs, &[column.to_owned()], "context")?,
        None => {
            contexts::found(pairs, run.manifest.config.seed, &Reader::new(None)?, &run.context.cancel)?
                .contexts
        }
    };
    let ids: Vec<String> = own.iter().map(|context| context.context_id.clone()).collect();
    own.into_iter()
        .find(|context| context.context_id == id)
        .ok_or_else(|| ContextsError::Unknown { id: id.to_owned(), known: ids.join(", ") })
}

/// What stands in a column of the dataset, by pair: of the first row that judges it; and in how many pairs another row says
/// something else.
fn values(
    sources: &[String],
    pairs: &Pairs,
    column: &str,
    flag: &'static str,
) -> Result<(Vec<String>, usize), ContextsError> {
    let data = match sources {
        [one] if !one.starts_with("hf://") => one,
        _ => return Err(ContextsError::Sources),
    };
    let texts = pairs::column(data, column, flag)?;
    let mut values = vec![String::new(); pairs.pair_id.len()];
    let mut differing = HashSet::new();
    let judgements = &pairs.judgements;
    for (&pair, &row) in judgements.pair.iter().zip(&judgements.row) {
        let value = &mut values[pair as usize];
        let Some(Some(text)) = texts.get(row as usize) else { continue };
        if value.is_empty() {
            text.trim().clone_into(value);
        } else if value != text.trim() {
            differing.insert(pair);
        }
    }
    Ok((values, differing.len()))
}
