//! A row per response: `prompt`, `response` and a score, rating or rank; rows with one prompt compete.

use std::collections::HashMap;

use polars::prelude::*;

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{
    ANNOTATOR, Choice, ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter, find, keys, numbers, prompt,
};
use crate::pairs::ranked::Rankings;
use crate::pairs::texts;

pub(super) struct Scored;

/// Names of a score, the surest first.
const SCORE: [&str; 10] = [
    "score",
    "rating",
    "rank",
    "overall_score",
    "reward",
    "overall_rating",
    "quality",
    "grade",
    "overall",
    "human_score",
];
/// HelpSteer 2's ratings: overall helpfulness unless told otherwise.
const ATTRIBUTES: [&str; 5] = ["helpfulness", "correctness", "coherence", "complexity", "verbosity"];

impl FormatAdapter for Scored {
    fn name(&self) -> &'static str {
        "scored responses, one a row"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["prompt", "response", "score"]
    }

    fn recognise(&self, columns: &Columns, options: &ReadOptions) -> Option<ColumnMap> {
        let response = columns.find(&["response", "completion", "answer", "output", "generation"])?;
        let prompt = options.prompt_column.clone().or_else(|| prompt(columns, &[&response]))?;
        let number = |name: &String| columns.dtype(name).is_some_and(|dtype| !dtype.is_nested());
        let mut plan = ColumnMap {
            prompt: Some(prompt),
            more: vec![response],
            label: options.label_column.clone().or_else(|| columns.find(&SCORE).filter(number)),
            annotator: columns.find(&ANNOTATOR).or_else(|| columns.find(&["user_id"])),
            ranked: true,
            last_resort: true,
            ..ColumnMap::default()
        };
        if plan.label.is_none() {
            let choice = |name: &&'static str| {
                let column = columns.find(&[name])?;
                Some(Choice { name, column: Some(column), usual: *name == "helpfulness" })
            };
            plan.choices = ATTRIBUTES.iter().filter_map(choice).collect();
            (plan.choices.len() > 1).then_some(())?;
        }
        Some(plan)
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        let name = plan.more.first().map_or("", String::as_str);
        let response = texts::text(find(frame, name, how.path)?, how.path)?;
        let prompt = match plan.prompt_cells(frame, how.path)? {
            Some(cells) => cells.into_text(),
            None => StringChunked::full_null("prompt".into(), frame.height()),
        };
        let score = numbers(plan.label_column(frame, how.path)?, how.path)?;
        let lower_is_better = plan.label.as_deref().is_some_and(|name| name.to_lowercase().contains("rank"));
        let annotator = match plan.annotator.as_deref().map(|name| frame.column(name)) {
            Some(Ok(column)) => Some(keys(column, how.path)?),
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
        let mut taken = rankings.pairs(how.pairing);
        let better = if lower_is_better { "the lower the better" } else { "the higher the better" };
        let name = plan.label.as_deref().unwrap_or_default();
        let others =
            plan.choices.iter().map(|choice| choice.name).filter(|other| Some(*other) != plan.choice);
        let others: Vec<String> = others.map(|name| format!("`{name}`")).collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!("; `--preference` takes {} instead", others.join(", "))
        };
        taken.notes.push(format!("responses to one prompt by their `{name}`, {better}{others}"));
        Ok(taken)
    }
}
