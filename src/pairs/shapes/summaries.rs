//! OpenAI's summarize-from-feedback: `info` with the post, two `summaries`, and the number of the `choice`.

use polars::prelude::*;

use crate::pairs::ReadOptions;
use crate::pairs::codes::Codes;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter, find};
use crate::pairs::records::Records;
use crate::pairs::texts::{self, Texts};

pub(super) struct Summaries;

impl FormatAdapter for Summaries {
    fn name(&self) -> &'static str {
        "summarize-from-feedback comparisons"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["info", "summaries", "choice"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let summaries = columns.find(&["summaries"]).filter(|name| columns.has_records(name))?;
        Some(ColumnMap {
            prompt: columns.find(&["info", "post", "article", "prompt"]),
            // Both responses stand in one column.
            first: summaries.clone(),
            second: String::new(),
            label: Some(columns.find(&["choice"])?),
            codes: Some(Codes::Index),
            annotator: columns.find(&["worker"]),
            ..ColumnMap::default()
        })
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        let column = find(frame, &plan.first, how.path)?;
        let summaries = Records::new(column, "summaries (lists of two records)", how.path)?;
        let text = summaries.texts("text").ok_or_else(|| PairsError::NoField {
            path: how.path.to_owned(),
            name: plan.first.clone(),
            field: "text".into(),
        })?;
        let prompt = match &plan.prompt {
            Some(name) => texts::text(find(frame, name, how.path)?, how.path)?,
            None => StringChunked::full_null("prompt".into(), frame.height()),
        };
        let mut problems = Vec::new();
        let rows: Vec<std::ops::Range<usize>> = (0..frame.height()).map(|row| summaries.range(row)).collect();
        let side = |at: usize| -> StringChunked {
            rows.iter()
                .map(|range| (range.len() == 2).then(|| text.get(range.start + at)).flatten())
                .collect()
        };
        for (row, range) in (0u32..).zip(&rows) {
            if range.len() != 2 {
                problems.push((row, "not two summaries"));
            }
        }
        let texts = Texts { prompt, first: side(0), second: side(1), problems, ..Texts::default() };
        Ok(ExtractedPairs::rowwise(texts))
    }
}
