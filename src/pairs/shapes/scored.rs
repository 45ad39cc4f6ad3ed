//! A row per response: `prompt`, `response` and a `score`, `rating` or `rank`; rows with one prompt compete.

use std::collections::HashMap;

use polars::prelude::DataFrame;

use super::{ANNOTATOR, How, Plan, Shape, Taken};
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::ranked::Rankings;
use crate::pairs::texts;

pub(super) struct Scored;

impl Shape for Scored {
    fn name(&self) -> &'static str {
        "scored responses, one a row"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["prompt", "response", "score"]
    }

    fn recognise(&self, columns: &Columns) -> Option<Plan> {
        Some(Plan {
            prompt: Some(columns.find(&["prompt", "instruction", "question"])?),
            more: vec![columns.find(&["response", "completion", "answer"])?],
            label: Some(columns.find(&["score", "rating", "rank"])?),
            annotator: columns.find(&ANNOTATOR).or_else(|| columns.find(&["user_id"])),
            ranked: true,
            last_resort: true,
            ..Plan::default()
        })
    }

    fn take(&self, frame: &DataFrame, plan: &Plan, how: &How<'_>) -> Result<Taken, PairsError> {
        let prompt = texts::text(plan.column(frame, 0, how.path)?, how.path)?;
        let response = texts::text(plan.column(frame, 1, how.path)?, how.path)?;
        let score = super::numbers(plan.label_column(frame, how.path)?, how.path)?;
        let lower_is_better = plan.label.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("rank"));
        let annotator = match plan.annotator.as_deref().map(|name| frame.column(name)) {
            Some(Ok(column)) => Some(super::keys(column, how.path)?),
            _ => None,
        };
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut known: HashMap<(&str, &str), usize> = HashMap::new();
        for row in 0..frame.height() {
            let who = annotator.as_ref().and_then(|names| names.get(row)).unwrap_or("");
            let at = *known.entry((prompt.get(row).unwrap_or(""), who)).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[at].push(row as u32);
        }
        let mut rankings = Rankings::new(response);
        for rows in &groups {
            let Some(&row) = rows.first() else { continue };
            let sign = if lower_is_better { -1.0 } else { 1.0 };
            let members: Vec<(u32, f64)> =
                rows.iter().map(|&row| (row, sign * score[row as usize])).collect();
            rankings.add(row, prompt.get(row as usize).unwrap_or(""), &members);
        }
        Ok(rankings.pairs(how.pairing))
    }
}
