//! Several responses in a row: a list of records with a text and a rank or score each (Nectar), or a list of
//! texts beside a list of scores.

use polars::prelude::*;

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter, find, prompt};
use crate::pairs::ranked::Rankings;
use crate::pairs::records::{Records, lists, numbers_in};
use crate::pairs::texts;

pub(super) struct Listed;

/// Names of the column.
const LISTS: [&str; 13] = [
    "answers",
    "responses",
    "completions",
    "candidates",
    "generations",
    "outputs",
    "replies",
    "texts",
    "samples",
    "options",
    "all_responses",
    "model_responses",
    "generated_responses",
];
/// Names of the text in a record.
const TEXT: [&str; 9] =
    ["answer", "response", "text", "completion", "content", "output", "generation", "value", "response_text"];
/// Names of a rank: 1 is best.
const RANK: [&str; 3] = ["rank", "ranking", "position"];
/// Names of a score: more is better.
const SCORE: [&str; 9] = [
    "score",
    "rating",
    "overall_score",
    "reward",
    "preference",
    "overall",
    "overall_rating",
    "quality",
    "grade",
];
/// Names of a list of scores beside the texts.
const SCORES: [&str; 9] =
    ["scores", "ratings", "score", "rating", "rewards", "ranks", "rank", "labels", "overall_scores"];

/// Field names of a list of records.
fn fields(dtype: Option<&DataType>) -> Vec<String> {
    match dtype {
        Some(DataType::List(inner)) => match &**inner {
            DataType::Struct(fields) => fields.iter().map(|field| field.name().to_string()).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn among<'a>(names: &[&'a str], fields: &[String]) -> Option<&'a str> {
    names.iter().find(|name| fields.iter().any(|field| field == *name)).copied()
}

impl FormatAdapter for Listed {
    fn name(&self) -> &'static str {
        "ranked responses, several a row"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["prompt", "answers"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let records = |name: &String| {
            let fields = fields(columns.dtype(name));
            among(&TEXT, &fields).is_some()
                && (among(&RANK, &fields).is_some() || among(&SCORE, &fields).is_some())
        };
        let texts = |name: &String| matches!(columns.dtype(name), Some(DataType::List(inner)) if **inner == DataType::String);
        let scalars = |name: &String| matches!(columns.dtype(name), Some(DataType::List(inner)) if inner.is_numeric() || **inner == DataType::String);
        let found: Vec<String> = LISTS.iter().filter_map(|name| columns.find(&[name])).collect();
        let (more, label) = match found.iter().find(|name| records(name)) {
            Some(name) => (vec![name.clone()], None),
            None => {
                let name = found.iter().find(|name| texts(name))?;
                let scores = SCORES
                    .iter()
                    .filter_map(|score| columns.find(&[score]))
                    .find(|s| scalars(s) && s != name)?;
                (vec![name.clone()], Some(scores))
            }
        };
        Some(ColumnMap {
            prompt: prompt(columns, &[more.first().map_or("", String::as_str)]),
            more,
            label,
            ranked: true,
            last_resort: true,
            ..ColumnMap::default()
        })
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        let name = plan.more.first().map_or("", String::as_str);
        let column = find(frame, name, how.path)?;
        let no_field = |field: &str| PairsError::NoField {
            path: how.path.to_owned(),
            name: name.to_owned(),
            field: field.to_owned(),
        };
        let prompt = match plan.prompt_cells(frame, how.path)? {
            Some(cells) => cells.into_text(),
            None => StringChunked::full_null("prompt".into(), frame.height()),
        };
        let (ranges, texts, scores, unit) = match &plan.label {
            None => {
                let records = Records::new(column, "responses (lists of records)", how.path)?;
                let known = fields(Some(column.dtype()));
                let name = among(&TEXT, &known).ok_or_else(|| no_field("response"))?;
                let text = match records.texts(name) {
                    Some(text) => text,
                    // It may be a message or a record of its own, as Gemini writes them.
                    None => {
                        let field = records.field(name).ok_or_else(|| no_field(name))?;
                        texts::text(&field.into_column(), how.path)?
                    }
                };
                let (field, sign) = match among(&RANK, &known) {
                    Some(rank) => (rank, -1.0),
                    None => (among(&SCORE, &known).ok_or_else(|| no_field("score"))?, 1.0),
                };
                let scores = records.numbers(&[field]).ok_or_else(|| no_field(field))?;
                let scores = scores.into_iter().map(|score| sign * score).collect::<Vec<f64>>();
                let ranges: Vec<_> = (0..frame.height()).map(|row| records.range(row)).collect();
                (ranges, text, scores, field)
            }
            Some(label) => {
                let (ranges, texts) = lists(column, how.path)?;
                let (places, numbers) = numbers_in(find(frame, label, how.path)?, how.path)?;
                let sign = if label.to_lowercase().starts_with("rank") { -1.0 } else { 1.0 };
                // A score for every text, or the row has none.
                let mut scores = vec![f64::NAN; texts.len()];
                for (range, place) in
                    ranges.iter().zip(&places).filter(|(range, place)| range.len() == place.len())
                {
                    for (at, from) in range.clone().zip(place.clone()) {
                        if let (Some(slot), Some(score)) = (scores.get_mut(at), numbers.get(from)) {
                            *slot = sign * score;
                        }
                    }
                }
                (ranges, texts, scores, label.as_str())
            }
        };
        let mut rankings = Rankings::new(texts);
        for (row, range) in ranges.iter().enumerate() {
            let members: Vec<(u32, f64)> =
                range.clone().map(|i| (i as u32, scores.get(i).copied().unwrap_or(f64::NAN))).collect();
            rankings.add(row as u32, prompt.get(row).unwrap_or(""), &members);
        }
        let mut taken = rankings.pairs(how.pairing);
        let lower = unit.to_lowercase().contains("rank") || unit == "position";
        let better = if lower { "the lower the better" } else { "the higher the better" };
        taken.notes.push(format!("responses of `{name}` by their `{unit}`, {better}"));
        Ok(taken)
    }
}
