//! The shapes in which preference data comes, one file each.
//!
//! A new shape is a file with a [`Shape`] and a line in [`ALL`]; nothing else changes.

mod annotated_pairs;
mod arena;
mod chosen_rejected;
mod community_alignment;
mod icai;
mod oasst;
mod own;
mod pku;
mod prism;
mod prism_utterances;
mod scored;
mod shp;
mod transcripts;
mod ultrafeedback;

use polars::prelude::*;

use super::columns::{Columns, type_name};
use super::error::PairsError;
use super::records;
use super::texts::{self, Texts};
use crate::config::Pairing;

/// Every shape that is recognised; where two need the same columns, the more special one first.
const ALL: [&dyn Shape; 14] = [
    &own::Own,
    &transcripts::Transcripts,
    &chosen_rejected::ChosenRejected,
    &arena::Arena,
    &pku::Pku,
    &shp::Shp,
    &prism::Prism,
    &prism_utterances::PrismUtterances,
    &community_alignment::CommunityAlignment,
    &oasst::OpenAssistant,
    &ultrafeedback::UltraFeedback,
    &icai::Icai,
    &annotated_pairs::AnnotatedPairs,
    &scored::Scored,
];

/// Names that an annotator's id goes by, in every shape.
const ANNOTATOR: [&str; 2] = ["annotator_id", "annotator"];

/// One way to lay out pairs in columns.
pub(super) trait Shape: Sync {
    /// Its name, said aloud when it is recognised.
    fn name(&self) -> &'static str;

    /// Columns of its own, for the message about a table that lacks some of them.
    fn needs(&self) -> &'static [&'static str];

    /// Which columns hold what, if the table has the columns of this shape.
    fn recognise(&self, columns: &Columns) -> Option<Plan>;

    /// Whether the texts are of this shape too; asked when another shape has the same columns.
    fn accepts(&self, _frame: &DataFrame, _plan: &Plan) -> bool {
        true
    }

    /// Prompt and responses where a row is a pair; the first response is the one that label 1 prefers.
    fn texts(&self, frame: &DataFrame, plan: &Plan, path: &str) -> Result<Texts, PairsError> {
        plan.plain_texts(frame, false, path)
    }

    /// The pairs of a table: a row each, unless the shape makes several of a row or one of several rows.
    fn take(&self, frame: &DataFrame, plan: &Plan, how: &How<'_>) -> Result<Taken, PairsError> {
        Ok(Taken::rowwise(self.texts(frame, plan, how.path)?))
    }

    /// The rows of a JSON file that is no table, if it is one of this shape's; `Err` says what is wrong with it.
    fn document(&self, _bytes: &[u8]) -> Option<Result<DataFrame, String>> {
        None
    }
}

/// What the user chose about making pairs.
pub(super) struct How<'a> {
    /// For several responses to a prompt.
    pub pairing: Pairing,
    /// The source as given, for messages.
    pub path: &'a str,
}

/// What a shape makes of a table, `[pairs]`.
pub(super) struct Taken {
    /// Prompt and the two responses.
    pub texts: Texts,
    /// Row in the table; `None`: pair `i` is row `i`.
    pub rows: Option<Vec<u32>>,
    /// Share of preference for the first response; `None`: see the label column.
    pub labels: Option<Vec<f32>>,
    /// What makes no pair: row and reason.
    pub left_out: Vec<(u32, String)>,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

impl Taken {
    fn rowwise(texts: Texts) -> Self {
        Self { texts, rows: None, labels: None, left_out: Vec::new(), notes: Vec::new() }
    }
}

/// One of several labels that a source carries.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// As in `--preference NAME`.
    pub name: &'static str,
    /// Its label column, where it has one.
    pub column: Option<String>,
    /// Taken when the user says nothing.
    pub usual: bool,
}

/// Which columns hold what.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    /// Prompt, where the table has one.
    pub prompt: Option<String>,
    /// The response that label 1 prefers; empty where a row is no pair.
    pub first: String,
    /// The other response.
    pub second: String,
    /// Further columns that the shape reads, in its own order.
    pub more: Vec<String>,
    /// Label, or score or rank; without it, all pairs are unlabelled unless `chosen_first`.
    pub label: Option<String>,
    /// Annotator's id.
    pub annotator: Option<String>,
    /// Which dataset a row comes from, in a table of several.
    pub dataset: Option<String>,
    /// Keys that the split must keep together.
    pub groups: Vec<String>,
    /// Labels that the user may choose from.
    pub choices: Vec<Choice>,
    /// The one that was chosen.
    pub choice: Option<&'static str>,
    /// The first response is always the preferred one.
    pub chosen_first: bool,
    /// The label is the number of the preferred response: 0 the first, 1 the second.
    pub label_is_number_of_preferred: bool,
    /// Pairs are made of several ranked or scored responses.
    pub ranked: bool,
    /// So complete a match that no other shape is asked.
    pub certain: bool,
    /// So common names that any other shape goes first.
    pub last_resort: bool,
}

impl Plan {
    /// What each column is for, in the order in which a shape counts them.
    pub fn roles(&self) -> Vec<(&'static str, &String)> {
        let named = |role, name: &'_ Option<String>| name.is_some().then_some(role);
        let mut all: Vec<(&'static str, &String)> = Vec::new();
        all.extend(named("prompt", &self.prompt).zip(self.prompt.as_ref()));
        if !self.ranked {
            let (first, second) =
                if self.chosen_first { ("preferred", "other") } else { ("response A", "response B") };
            all.extend([(first, &self.first), (second, &self.second)]);
        }
        all.extend(self.more.iter().map(|name| ("read", name)));
        let label = if self.ranked { "score" } else { "label" };
        all.extend(named(label, &self.label).zip(self.label.as_ref()));
        all.extend(named("annotator", &self.annotator).zip(self.annotator.as_ref()));
        all.extend(named("dataset", &self.dataset).zip(self.dataset.as_ref()));
        all.extend(self.groups.iter().map(|name| ("kept together", name)));
        all
    }

    /// The columns it needs, each once.
    pub fn columns(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for (_, name) in self.roles() {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        all
    }

    /// Prompt (where there is one) and further columns, by their place.
    fn column<'a>(&self, frame: &'a DataFrame, place: usize, path: &str) -> Result<&'a Column, PairsError> {
        let name = self.prompt.iter().chain(&self.more).nth(place);
        find(frame, name.map_or("", String::as_str), path)
    }

    /// The column of the label, score or rank.
    fn label_column<'a>(&self, frame: &'a DataFrame, path: &str) -> Result<&'a Column, PairsError> {
        find(frame, self.label.as_deref().unwrap_or(""), path)
    }

    /// A column of records lacks a field.
    fn no_field(&self, place: usize, field: &str, path: &str) -> PairsError {
        let name = self.prompt.iter().chain(&self.more).nth(place).cloned().unwrap_or_default();
        PairsError::NoField { path: path.to_owned(), name, field: field.to_owned() }
    }

    /// Texts straight from the columns.
    fn plain_texts(&self, frame: &DataFrame, strip: bool, path: &str) -> Result<Texts, PairsError> {
        let prompt = self.prompt.as_deref().map(|name| find(frame, name, path)).transpose()?;
        let (first, second) = (find(frame, &self.first, path)?, find(frame, &self.second, path)?);
        texts::from_columns(prompt, first, second, strip, path)
    }
}

fn find<'a>(frame: &'a DataFrame, name: &str, path: &str) -> Result<&'a Column, PairsError> {
    frame.column(name).map_err(|_| PairsError::NoColumn {
        path: path.to_owned(),
        flag: "the recognised shape",
        name: name.to_owned(),
        hint: "report this as a defect".to_owned(),
    })
}

/// A column of ids as texts.
pub(super) fn keys(column: &Column, path: &str) -> Result<StringChunked, PairsError> {
    let wrong = || PairsError::ColumnType {
        path: path.to_owned(),
        name: column.name().to_string(),
        found: type_name(column.dtype()),
        expected: "ids (texts or numbers)",
        hint: "name a column with one id per row",
    };
    if column.dtype().is_nested() {
        return Err(wrong());
    }
    let text = column.cast(&DataType::String).map_err(|_| wrong())?;
    Ok(text.str().map_err(|_| wrong())?.rechunk().into_owned())
}

/// A column of scores, ranks or turns; NaN where there is none.
fn numbers(column: &Column, path: &str) -> Result<Vec<f64>, PairsError> {
    records::numbers(column.as_materialized_series()).ok_or_else(|| PairsError::ColumnType {
        path: path.to_owned(),
        name: column.name().to_string(),
        found: type_name(column.dtype()),
        expected: "numbers",
        hint: "name the column with one number per row with `--label-column`",
    })
}

/// The rows of a JSON file that is no table, with the name of the shape that knows it.
pub(super) fn document(bytes: &[u8]) -> Option<(&'static str, Result<DataFrame, String>)> {
    ALL.iter().find_map(|shape| Some((shape.name(), shape.document(bytes)?)))
}

/// The shape of a table with these columns, more than one where only the texts can tell, the more
/// special first; `known` is the name of the shape where the file itself told it. `Err` holds the names of
/// shapes that want different columns.
pub(super) fn candidates(
    columns: &Columns,
    known: Option<&str>,
) -> Result<Vec<(&'static dyn Shape, Plan)>, Vec<&'static str>> {
    let mut found: Vec<(&'static dyn Shape, Plan)> = Vec::new();
    for shape in ALL {
        if known.is_some_and(|name| name != shape.name()) {
            continue;
        }
        if let Some(mut plan) = shape.recognise(columns) {
            if plan.annotator.is_none() {
                plan.annotator = columns.find(&ANNOTATOR);
            }
            plan.dataset = dataset(columns);
            if let Some(group) = columns.find(&["conversation_id"])
                && !plan.groups.contains(&group)
            {
                plan.groups.push(group);
            }
            if plan.certain {
                return Ok(vec![(shape, plan)]);
            }
            found.push((shape, plan));
        }
    }
    if found.iter().any(|(_, plan)| !plan.last_resort) {
        found.retain(|(_, plan)| !plan.last_resort);
    }
    let same = |a: &Plan, b: &Plan| (&a.first, &a.second, &a.more) == (&b.first, &b.second, &b.more);
    match found.first() {
        Some((_, first)) if found.iter().any(|(_, plan)| !same(first, plan)) => {
            Err(found.iter().map(|(shape, _)| shape.name()).collect())
        }
        _ => Ok(found),
    }
}

/// The column that says which dataset a row comes from.
fn dataset(columns: &Columns) -> Option<String> {
    columns.find(&["dataset"]).filter(|name| columns.dtype(name).is_some_and(|dtype| !dtype.is_nested()))
}

/// The shape that most of whose columns are there, and which are not.
pub(super) fn closest(columns: &Columns) -> Option<(&'static str, Vec<&'static str>)> {
    let missing = |shape: &&'static dyn Shape| {
        let lacks: Vec<&'static str> =
            shape.needs().iter().filter(|name| columns.find(&[name]).is_none()).copied().collect();
        let there = shape.needs().len() - lacks.len();
        // One `prompt` is no resemblance.
        (there >= 2 && there >= lacks.len()).then(|| (lacks.len(), shape.name(), lacks))
    };
    let (_, name, lacks) = ALL.iter().filter_map(missing).min_by_key(|(count, ..)| *count)?;
    Some((name, lacks))
}

/// Columns named by hand: this project's own shape under other names.
pub(super) fn by_hand(columns: &Columns, first: &str, second: &str) -> (&'static dyn Shape, Plan) {
    let plan = Plan {
        prompt: columns.find(&["prompt"]),
        first: first.to_owned(),
        second: second.to_owned(),
        label: columns.find(&["label"]),
        annotator: columns.find(&ANNOTATOR),
        dataset: dataset(columns),
        groups: columns.find(&["conversation_id"]).into_iter().collect(),
        ..Plan::default()
    };
    (&own::Own, plan)
}

#[cfg(test)]
mod tests;
