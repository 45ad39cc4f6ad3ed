//! `chosen` and `rejected`, texts or message lists, with or without `prompt`: most sets for DPO.

use polars::prelude::DataFrame;

use super::{Plan, Shape};
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::texts::Texts;

pub(super) struct ChosenRejected;

impl Shape for ChosenRejected {
    fn name(&self) -> &'static str {
        "chosen/rejected"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["prompt", "chosen", "rejected"]
    }

    fn recognise(&self, columns: &Columns) -> Option<Plan> {
        Some(Plan {
            prompt: columns.find(&["prompt", "instruction", "question"]),
            first: columns.find(&["chosen"])?,
            second: columns.find(&["rejected"])?,
            chosen_first: true,
            ..Plan::default()
        })
    }

    fn texts(&self, frame: &DataFrame, plan: &Plan, path: &str) -> Result<Texts, PairsError> {
        plan.plain_texts(frame, true, path)
    }
}
