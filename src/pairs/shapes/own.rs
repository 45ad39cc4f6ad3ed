//! This project's own: `prompt`, `response_A`, `response_B`, `label`.

use super::{Plan, Shape};
use crate::pairs::columns::Columns;

pub(super) struct Own;

impl Shape for Own {
    fn name(&self) -> &'static str {
        "prompt, response_A, response_B"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["prompt", "response_A", "response_B", "label"]
    }

    fn recognise(&self, columns: &Columns) -> Option<Plan> {
        let plan = Plan {
            prompt: columns.find(&["prompt"]),
            first: columns.find(&["response_A"])?,
            second: columns.find(&["response_B"])?,
            label: columns.find(&["label"]),
            ..Plan::default()
        };
        Some(Plan { certain: plan.prompt.is_some() && plan.label.is_some(), ..plan })
    }
}
