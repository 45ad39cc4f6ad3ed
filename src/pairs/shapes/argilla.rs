//! Argilla's datasets as tables: fields as columns, and a column of answers to the question, several a row.

use polars::prelude::*;
use serde_json::Value;

use super::paired;
use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::dedup::gather;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter, find};
use crate::pairs::records::json_of;
use crate::pairs::texts::Texts;

pub(super) struct ArgillaTable;

/// Whether a column holds answers with who gave them.
fn answers(dtype: &DataType) -> bool {
    match dtype {
        DataType::List(inner) => match &**inner {
            DataType::Struct(fields) => {
                let has = |name: &str| fields.iter().any(|field| field.name() == name);
                has("value") && (has("user_id") || has("status"))
            }
            _ => false,
        },
        _ => false,
    }
}

/// The first choice of an answer: a value, or the best ranked of several; the empty text is a tie at the top.
pub(super) fn first_choice(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(ranked) => {
            let rank = |item: &Value| item.get("rank").and_then(Value::as_f64);
            let best = ranked.iter().filter_map(rank).fold(f64::INFINITY, f64::min);
            let mut top = ranked.iter().filter(|item| rank(item).is_none_or(|rank| rank == best));
            let first = top.next()?;
            // A list without ranks is in their order.
            if rank(first).is_some() && top.next().is_some() {
                return Some("tie".to_owned());
            }
            first_choice(first.get("value").unwrap_or(first))
        }
        Value::Object(fields) => first_choice(fields.get("value")?),
        Value::Null => None,
    }
}

impl FormatAdapter for ArgillaTable {
    fn name(&self) -> &'static str {
        "Argilla dataset"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let about = |name: &&String| {
            let name = name.to_lowercase();
            ["prefer", "rank", "choice", "best", "better", "compar", "winner"]
                .iter()
                .any(|word| name.contains(word))
        };
        let of_records: Vec<&String> =
            columns.0.iter().filter(|(_, dtype)| answers(dtype)).map(|(name, _)| name).collect();
        let flat: Vec<&String> = (columns.0.iter().map(|(name, _)| name))
            .filter(|name| name.ends_with(".responses") && columns.dtype(&format!("{name}.users")).is_some())
            .collect();
        let pick = |names: &[&String]| {
            names.iter().find(|name| about(name)).or(names.first()).map(|name| (*name).clone())
        };
        let (question, beside) = match pick(&of_records) {
            Some(name) => (name, Vec::new()),
            None => {
                let name = pick(&flat)?;
                let beside = ["users", "status"].map(|what| format!("{name}.{what}"));
                (name, beside.into_iter().filter(|name| columns.dtype(name).is_some()).collect())
            }
        };
        let rest = columns.0.iter().filter(|(name, _)| {
            *name != question && !name.contains(".responses") && !name.contains("suggestion")
        });
        let found = paired::responses(&Columns(rest.cloned().collect()))?;
        Some(ColumnMap { more: std::iter::once(question).chain(beside).collect(), certain: true, ..found })
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        let texts = plan.plain_texts(frame, false, how.path)?;
        let name = plan.more.first().map_or("", String::as_str);
        let column = find(frame, name, how.path)?.as_materialized_series().clone();
        // Lists beside the answers: who gave each, and whether it was handed in.
        let beside = |end: &str| {
            let name = plan.more.iter().skip(1).find(|name| name.ends_with(end));
            name.map(|name| Ok(find(frame, name, how.path)?.as_materialized_series().clone())).transpose()
        };
        let (users, statuses) = (beside(".users")?, beside(".status")?);
        let (mut rows, mut labels, mut who) =
            (Vec::new(), Vec::<Option<String>>::new(), Vec::<Option<String>>::new());
        let text = |value: &Value| value.as_str().map(str::to_owned);
        for (row, cell) in (0u32..).zip(column.iter()) {
            let of_row = |column: &Option<Series>| {
                column.as_ref().and_then(|column| column.get(row as usize).ok()).map(|cell| json_of(&cell))
            };
            let (users, statuses) = (of_row(&users), of_row(&statuses));
            let given = match json_of(&cell) {
                Value::Array(given) => given,
                _ => Vec::new(),
            };
            let mut any = false;
            for (at, answer) in given.iter().enumerate() {
                let status = answer.get("status").or_else(|| statuses.as_ref()?.get(at));
                let status = status.and_then(Value::as_str).unwrap_or("submitted");
                if matches!(status, "discarded" | "draft") {
                    continue;
                }
                any = true;
                rows.push(row);
                labels.push(first_choice(answer));
                let user = answer.get("user_id").or_else(|| users.as_ref()?.get(at)).and_then(text);
                who.push(user);
            }
            if !any {
                rows.push(row);
                labels.push(None);
                who.push(None);
            }
        }
        let pick = |column: &StringChunked| gather(column, rows.iter().copied());
        let labels: StringChunked = labels.into_iter().collect();
        Ok(ExtractedPairs {
            texts: Texts {
                prompt: pick(&texts.prompt),
                first: pick(&texts.first),
                second: pick(&texts.second),
                problems: Vec::new(),
                notes: texts.notes,
            },
            labels: None,
            written: Some(labels.with_name(name.into()).into_column()),
            annotators: Some(who.into_iter().collect()),
            rows: Some(rows),
            left_out: Vec::new(),
            notes: vec![format!(
                "a label for each answer in `{name}`; answers that were discarded are not counted"
            )],
        })
    }
}
