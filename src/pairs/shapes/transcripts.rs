//! Anthropic HH-RLHF: `chosen` and `rejected` are whole transcripts whose shared beginning is the prompt.

use polars::prelude::*;

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, FormatAdapter};
use crate::pairs::texts::{Texts, text};
use crate::pairs::turns::{MARKS, marks, split};

pub(super) struct Transcripts;

impl FormatAdapter for Transcripts {
    fn name(&self) -> &'static str {
        "chosen/rejected transcripts"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["chosen", "rejected"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let first = columns.find(&["chosen"])?;
        let second = columns.find(&["rejected"])?;
        let texts = [&first, &second].iter().all(|name| columns.dtype(name) == Some(&DataType::String));
        texts.then(|| ColumnMap { first, second, chosen_first: true, ..ColumnMap::default() })
    }

    fn accepts(&self, frame: &DataFrame, plan: &ColumnMap) -> bool {
        let Some(chosen) = frame.column(&plan.first).ok().and_then(|column| column.str().ok()) else {
            return false;
        };
        marks(chosen).is_some()
    }

    fn texts(&self, frame: &DataFrame, plan: &ColumnMap, path: &str) -> Result<Texts, PairsError> {
        let column = |name: &str| match frame.column(name) {
            Ok(column) => text(column, path),
            Err(_) => Ok(StringChunked::full_null(PlSmallStr::EMPTY, frame.height())),
        };
        let (chosen, rejected) = (column(&plan.first)?, column(&plan.second)?);
        let marks = marks(&chosen).unwrap_or(MARKS[0]);
        let rows = chosen.len();
        let builder = || StringChunkedBuilder::new(PlSmallStr::EMPTY, rows);
        let (mut prompt, mut first, mut second) = (builder(), builder(), builder());
        let mut problems = Vec::new();
        for row in 0..rows {
            let (Some(a), Some(b)) = (chosen.get(row), rejected.get(row)) else {
                prompt.append_null();
                first.append_null();
                second.append_null();
                continue;
            };
            let (p, a, b) = split(a, b, marks).unwrap_or_else(|| {
                problems.push((row as u32, "no shared prompt in the transcripts"));
                ("", a, b)
            });
            prompt.append_value(p);
            first.append_value(a);
            second.append_value(b);
        }
        Ok(Texts {
            prompt: prompt.finish(),
            first: first.finish(),
            second: second.finish(),
            problems,
            ..Texts::default()
        })
    }
}
