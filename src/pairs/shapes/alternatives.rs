//! Lists of good and of bad responses to a prompt (RewardBench 2), or one list with the good one first.

use polars::prelude::*;

use super::chosen_rejected::{columns_of, has_texts};
use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::dedup::gather;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter, find, prompt};
use crate::pairs::records::lists;
use crate::pairs::texts::{self, Texts};

pub(super) struct Alternatives;

impl FormatAdapter for Alternatives {
    fn name(&self) -> &'static str {
        "lists of chosen and rejected responses"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["prompt", "chosen", "rejected"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let lists = columns_of(columns).filter(|(a, b)| has_texts(columns, a) && has_texts(columns, b));
        // LLaMA-Factory's older form: two outputs, the better one first.
        let outputs = || {
            let output = columns.find(&["output"]).filter(|name| has_texts(columns, name))?;
            columns.find(&["instruction"])?;
            Some(vec![output])
        };
        let more = lists.map(|(a, b)| vec![a, b]).or_else(outputs)?;
        let taken: Vec<&str> = more.iter().map(String::as_str).collect();
        Some(ColumnMap {
            prompt: prompt(columns, &taken),
            more,
            ranked: true,
            certain: true,
            ..ColumnMap::default()
        })
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        let column = |place: usize| {
            let name = plan.more.get(place).map_or("", String::as_str);
            lists(find(frame, name, how.path)?, how.path)
        };
        let (chosen, texts_of) = column(0)?;
        let rejected = if plan.more.len() > 1 { Some(column(1)?) } else { None };
        let prompt = match plan.prompt_cells(frame, how.path)? {
            Some(cells) => cells.into_text(),
            None => StringChunked::full_null("prompt".into(), frame.height()),
        };
        let (mut rows, mut first, mut second, mut left_out) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in 0..frame.height() {
            let good = chosen.get(row).cloned().unwrap_or(0..0);
            let (good, bad) = match &rejected {
                Some((rejected, _)) => (good, rejected.get(row).cloned().unwrap_or(0..0)),
                None => (good.start..good.end.min(good.start + 1), good.end.min(good.start + 1)..good.end),
            };
            if good.is_empty() || bad.is_empty() {
                left_out.push((row as u32, "no response of one kind".to_owned()));
            }
            for good in good {
                for bad in bad.clone() {
                    rows.push(row as u32);
                    first.push(good as u32);
                    second.push(bad as u32);
                }
            }
        }
        let others = rejected.as_ref().map_or(&texts_of, |(_, texts)| texts);
        let labels = Some(vec![1.0; rows.len()]);
        Ok(ExtractedPairs {
            texts: Texts {
                prompt: gather(&prompt, rows.iter().copied()),
                first: gather(&texts_of, first.into_iter()),
                second: gather(others, second.into_iter()),
                ..Texts::default()
            },
            rows: Some(rows),
            labels,
            written: None,
            annotators: None,
            left_out,
            notes: vec!["every chosen response of a row against every rejected one".into()],
        })
    }
}

/// Prompts as texts.
impl texts::Cells {
    pub(super) fn into_text(self) -> StringChunked {
        match self {
            texts::Cells::Text(text) => text,
            texts::Cells::Messages(messages) => messages.rendered(),
        }
    }
}
