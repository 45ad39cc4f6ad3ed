//! `chosen` and `rejected`, or other names in that order, texts or messages, with or without `prompt`: most sets
//! for DPO.

use polars::prelude::{DataFrame, DataType};

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, FormatAdapter, prompt};
use crate::pairs::texts::Texts;

pub(super) struct ChosenRejected;

/// Names of the preferred response and of the other, as trainers and datasets have them; the surest first.
const NAMES: [(&str, &str); 12] = [
    ("chosen", "rejected"),
    // OpenAI's preference format.
    ("preferred_output", "non_preferred_output"),
    // ms-swift.
    ("response", "rejected_response"),
    ("messages", "rejected_response"),
    ("messages", "rejected_messages"),
    // Stack Exchange, paired: j was voted higher.
    ("response_j", "response_k"),
    ("chosen_response", "rejected_response"),
    ("accepted", "rejected"),
    ("preferred", "dispreferred"),
    ("y_w", "y_l"),
    ("response", "rejected"),
    ("completion", "rejected_completion"),
];

/// The two columns, where the table has them.
pub(super) fn columns_of(columns: &Columns) -> Option<(String, String)> {
    let text = |name: &String| {
        columns
            .dtype(name)
            .is_some_and(|dtype| !(dtype.is_numeric() || dtype.is_bool() || dtype.is_temporal()))
    };
    NAMES.iter().find_map(|(first, second)| {
        let (first, second) = (columns.find(&[first])?, columns.find(&[second])?);
        (text(&first) && text(&second)).then_some((first, second))
    })
}

/// Whether a column holds lists of texts.
pub(super) fn has_texts(columns: &Columns, name: &str) -> bool {
    matches!(columns.dtype(name), Some(DataType::List(inner)) if **inner == DataType::String)
}

impl FormatAdapter for ChosenRejected {
    fn name(&self) -> &'static str {
        "chosen/rejected"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["prompt", "chosen", "rejected"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let (first, second) = columns_of(columns)?;
        // Several of each: see `alternatives`.
        if has_texts(columns, &first) && has_texts(columns, &second) {
            return None;
        }
        Some(ColumnMap {
            prompt: prompt(columns, &[&first, &second]),
            first,
            second,
            chosen_first: true,
            ..ColumnMap::default()
        })
    }

    fn texts(&self, frame: &DataFrame, plan: &ColumnMap, path: &str) -> Result<Texts, PairsError> {
        plan.plain_texts(frame, true, path)
    }
}
