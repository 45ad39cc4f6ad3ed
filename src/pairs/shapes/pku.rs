//! PKU-SafeRLHF: `response_0`, `response_1`, and the number of the more helpful and of the safer one.

use super::{Choice, Plan, Shape};
use crate::pairs::columns::Columns;

pub(super) struct Pku;

impl Shape for Pku {
    fn name(&self) -> &'static str {
        "PKU-SafeRLHF"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["prompt", "response_0", "response_1", "better_response_id", "safer_response_id"]
    }

    fn recognise(&self, columns: &Columns) -> Option<Plan> {
        let choice = |name, column| {
            columns.find(&[column]).map(|column| Choice { name, column: Some(column), usual: false })
        };
        let choices: Vec<Choice> =
            [choice("helpful", "better_response_id"), choice("safe", "safer_response_id")]
                .into_iter()
                .flatten()
                .collect();
        (!choices.is_empty()).then_some(())?;
        Some(Plan {
            prompt: columns.find(&["prompt"]),
            first: columns.find(&["response_0"])?,
            second: columns.find(&["response_1"])?,
            // The number of the preferred response, so 0 is the first.
            label_is_number_of_preferred: true,
            choices,
            ..Plan::default()
        })
    }
}
