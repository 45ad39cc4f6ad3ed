//! UltraFeedback: an `instruction` and `completions` with a `response` and scores each.

use polars::prelude::DataFrame;

use super::{Choice, How, Plan, Shape, Taken};
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::ranked::Rankings;
use crate::pairs::records::Records;
use crate::pairs::texts;

pub(super) struct UltraFeedback;

/// What may be scored, and where the score stands in a completion.
const SCORES: [(&str, &[&str]); 6] = [
    ("overall", &["overall_score"]),
    ("fine-grained", &["fine-grained_score"]),
    ("helpfulness", &["annotations", "helpfulness", "Rating"]),
    ("honesty", &["annotations", "honesty", "Rating"]),
    ("instruction_following", &["annotations", "instruction_following", "Rating"]),
    ("truthfulness", &["annotations", "truthfulness", "Rating"]),
];

impl Shape for UltraFeedback {
    fn name(&self) -> &'static str {
        "UltraFeedback completions"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["instruction", "completions"]
    }

    fn recognise(&self, columns: &Columns) -> Option<Plan> {
        let completions = columns.find(&["completions"])?;
        columns.has_records(&completions).then_some(())?;
        Some(Plan {
            prompt: Some(columns.find(&["instruction", "prompt"])?),
            more: vec![completions],
            ranked: true,
            choices: SCORES
                .iter()
                .map(|(name, _)| Choice { name, column: None, usual: *name == "overall" })
                .collect(),
            ..Plan::default()
        })
    }

    fn take(&self, frame: &DataFrame, plan: &Plan, how: &How<'_>) -> Result<Taken, PairsError> {
        let instruction = texts::text(plan.column(frame, 0, how.path)?, how.path)?;
        let completions =
            Records::new(plan.column(frame, 1, how.path)?, "completions (lists of records)", how.path)?;
        let response = completions.texts("response").ok_or_else(|| plan.no_field(1, "response", how.path))?;
        let wanted = plan.choice.unwrap_or("overall");
        let path = SCORES.iter().find(|(name, _)| *name == wanted).map_or(SCORES[0].1, |(_, path)| *path);
        let scores = completions.numbers(path).ok_or_else(|| plan.no_field(1, &path.join("."), how.path))?;
        let mut rankings = Rankings::new(response);
        for row in 0..frame.height() {
            let members: Vec<(u32, f64)> = completions
                .range(row)
                .map(|i| (i as u32, scores.get(i).copied().unwrap_or(f64::NAN)))
                .collect();
            rankings.add(row as u32, instruction.get(row).unwrap_or(""), &members);
        }
        Ok(rankings.pairs(how.pairing))
    }
}
