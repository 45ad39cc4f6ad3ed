//! UltraFeedback: an `instruction` and `completions` with a `response` and scores each.

use polars::prelude::DataFrame;

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{Choice, ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter};
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

impl FormatAdapter for UltraFeedback {
    fn name(&self) -> &'static str {
        "UltraFeedback completions"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["instruction", "completions"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let completions = columns.find(&["completions"])?;
        columns.has_records(&completions).then_some(())?;
        Some(ColumnMap {
            prompt: Some(columns.find(&["instruction", "prompt"])?),
            more: vec![completions],
            ranked: true,
            choices: SCORES
                .iter()
                .map(|(name, _)| Choice { name, column: None, usual: *name == "overall" })
                .collect(),
            ..ColumnMap::default()
        })
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
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
        let mut taken = rankings.pairs(how.pairing);
        taken.notes.extend(contradictions(&completions, frame.height(), wanted));
        Ok(taken)
    }
}

/// How often overall and fine-grained scores prefer different responses: an overall 10 is at times a mistaken 1.
fn contradictions(completions: &Records, rows: usize, wanted: &str) -> Option<String> {
    let other = match wanted {
        "overall" => "fine-grained",
        "fine-grained" => "overall",
        _ => return None,
    };
    let (overall, fine) = (completions.numbers(SCORES[0].1)?, completions.numbers(SCORES[1].1)?);
    let (mut compared, mut against) = (0usize, 0usize);
    for row in 0..rows {
        let range = completions.range(row);
        for one in range.clone() {
            for two in one + 1..range.end {
                let by =
                    |scores: &[f64]| Some(scores.get(one)? - scores.get(two)?).filter(|by| by.abs() > 0.0);
                if let (Some(a), Some(b)) = (by(&overall), by(&fine)) {
                    compared += 1;
                    against += usize::from((a > 0.0) != (b > 0.0));
                }
            }
        }
    }
    (against > 0).then(|| {
        format!(
            "overall and fine-grained scores contradict each other in {against} of {compared} comparisons; \
             `--preference {other}` takes the other one"
        )
    })
}
