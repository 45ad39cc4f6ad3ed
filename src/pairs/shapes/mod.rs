//! The shapes in which preference data comes, one file each.
//!
//! A new shape is a file with a [`Shape`] and a line in [`ALL`]; nothing else changes.

mod arena;
mod chosen_rejected;
mod icai;
mod own;
mod shp;
mod transcripts;

use polars::prelude::DataFrame;

use super::columns::Columns;
use super::error::PairsError;
use super::texts::{self, Texts};

/// Every shape that is recognised; where two need the same columns, the more special one first.
const ALL: [&dyn Shape; 6] = [
    &own::Own,
    &transcripts::Transcripts,
    &chosen_rejected::ChosenRejected,
    &arena::Arena,
    &shp::Shp,
    &icai::Icai,
];

/// Names that an annotator's id goes by, in every shape.
const ANNOTATOR: [&str; 2] = ["annotator_id", "annotator"];

/// One way to lay out pairs in columns.
pub(super) trait Shape: Sync {
    /// Its name, said aloud when it is recognised.
    fn name(&self) -> &'static str;

    /// Which columns hold what, if the table has the columns of this shape.
    fn recognise(&self, columns: &Columns) -> Option<Plan>;

    /// Whether the texts are of this shape too; asked when another shape has the same columns.
    fn accepts(&self, _frame: &DataFrame, _plan: &Plan) -> bool {
        true
    }

    /// Prompt and responses, row by row; the first response is the one that label 1 prefers.
    fn texts(&self, frame: &DataFrame, plan: &Plan, path: &str) -> Result<Texts, PairsError> {
        plan.plain_texts(frame, false, path)
    }
}

/// Which columns hold what.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    /// Prompt, where the table has one.
    pub prompt: Option<String>,
    /// The response that label 1 prefers.
    pub first: String,
    /// The other response.
    pub second: String,
    /// Label; without it, all pairs are unlabelled unless `chosen_first`.
    pub label: Option<String>,
    /// Annotator's id.
    pub annotator: Option<String>,
    /// Keys that the split must keep together.
    pub groups: Vec<String>,
    /// The first response is always the preferred one.
    pub chosen_first: bool,
    /// So complete a match that no other shape is asked.
    pub certain: bool,
}

impl Plan {
    /// The columns it needs, each once.
    pub fn columns(&self) -> Vec<String> {
        let named = [&self.prompt, &self.label, &self.annotator].into_iter().flatten();
        let mut all: Vec<String> = Vec::new();
        for name in named.chain([&self.first, &self.second]).chain(&self.groups) {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        all
    }

    /// Texts straight from the columns.
    fn plain_texts(&self, frame: &DataFrame, strip: bool, path: &str) -> Result<Texts, PairsError> {
        let column = |name: &str| {
            frame.column(name).map_err(|_| PairsError::NoColumn {
                path: path.to_owned(),
                flag: "the recognised shape",
                name: name.to_owned(),
                hint: "report this as a defect".to_owned(),
            })
        };
        let prompt = self.prompt.as_deref().map(column).transpose()?;
        texts::from_columns(prompt, column(&self.first)?, column(&self.second)?, strip, path)
    }
}

/// The shape of a table with these columns, more than one where only the texts can tell, the more
/// special first. `Err` holds the names of shapes that want different columns.
pub(super) fn candidates(columns: &Columns) -> Result<Vec<(&'static dyn Shape, Plan)>, Vec<&'static str>> {
    let mut found: Vec<(&'static dyn Shape, Plan)> = Vec::new();
    for shape in ALL {
        if let Some(mut plan) = shape.recognise(columns) {
            if plan.annotator.is_none() {
                plan.annotator = columns.find(&ANNOTATOR);
            }
            plan.groups.extend(columns.find(&["conversation_id"]));
            if plan.certain {
                return Ok(vec![(shape, plan)]);
            }
            found.push((shape, plan));
        }
    }
    let same = |a: &Plan, b: &Plan| a.first == b.first && a.second == b.second;
    match found.first() {
        Some((_, first)) if found.iter().any(|(_, plan)| !same(first, plan)) => {
            Err(found.iter().map(|(shape, _)| shape.name()).collect())
        }
        _ => Ok(found),
    }
}

/// Columns named by hand: this project's own shape under other names.
pub(super) fn by_hand(columns: &Columns, first: &str, second: &str) -> (&'static dyn Shape, Plan) {
    let plan = Plan {
        prompt: columns.find(&["prompt"]),
        first: first.to_owned(),
        second: second.to_owned(),
        label: columns.find(&["label"]),
        annotator: columns.find(&ANNOTATOR),
        groups: columns.find(&["conversation_id"]).into_iter().collect(),
        ..Plan::default()
    };
    (&own::Own, plan)
}
