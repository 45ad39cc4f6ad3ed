//! A row per response with a thumb up or down (KTO): responses to one prompt, the good against the bad.

use std::collections::HashMap;

use polars::prelude::*;

use crate::config::Pairing;
use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter, find, keys, prompt};
use crate::pairs::labels;
use crate::pairs::ranked::Rankings;
use crate::pairs::texts;

pub(super) struct Unpaired;

/// Words for thumbs besides true and false.
const GOOD: [&str; 12] = [
    "true",
    "1",
    "1.0",
    "good",
    "up",
    "desirable",
    "positive",
    "chosen",
    "accepted",
    "like",
    "yes",
    "thumbs_up",
];
const BAD: [&str; 13] = [
    "false",
    "0",
    "0.0",
    "bad",
    "down",
    "undesirable",
    "negative",
    "rejected",
    "refused",
    "dislike",
    "no",
    "-1",
    "thumbs_down",
];

/// Names of the column of thumbs.
const THUMB: [&str; 6] = ["label", "kto_tag", "thumb", "is_good", "feedback", "desirable"];

/// The column that may say whether a row's one response is good.
pub(in crate::pairs) fn thumb(columns: &Columns) -> Option<String> {
    columns.find(&THUMB).filter(|name| columns.dtype(name).is_some_and(|dtype| !dtype.is_nested()))
}

impl FormatAdapter for Unpaired {
    fn name(&self) -> &'static str {
        "unpaired responses with a thumb each (KTO)"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["prompt", "completion", "label"]
    }

    fn recognise(&self, columns: &Columns, options: &ReadOptions) -> Option<ColumnMap> {
        let response = columns.find(&["completion", "response", "output", "answer"])?;
        let label = match &options.label_column {
            Some(_) => return None,
            None => columns.find(&THUMB)?,
        };
        let prompt = prompt(columns, &[&response, &label]);
        // A conversation that ends with its answer is no prompt of it.
        Some(ColumnMap {
            prompt: Some(prompt?),
            more: vec![response],
            label: Some(label),
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
        let response = texts::text(find(frame, name, how.path)?, how.path)?;
        let prompt = match plan.prompt_cells(frame, how.path)? {
            Some(cells) => cells.into_text(),
            None => StringChunked::full_null("prompt".into(), frame.height()),
        };
        let column = plan.label_column(frame, how.path)?;
        let thumbs = thumbs(column, how.path)?;
        let mut groups: Vec<[Vec<u32>; 2]> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut rankings = Rankings::new(response);
        for (row, thumb) in (0u32..).zip(&thumbs) {
            let Some(thumb) = thumb else {
                rankings.leave_out(row, "response without a thumb");
                continue;
            };
            let at = *known.entry(prompt.get(row as usize).unwrap_or("")).or_insert_with(|| {
                groups.push(Default::default());
                groups.len() - 1
            });
            groups[at][usize::from(!thumb)].push(row);
        }
        let mut paired = 0;
        for [good, bad] in &groups {
            if good.is_empty() || bad.is_empty() {
                for &row in good.iter().chain(bad) {
                    rankings.leave_out(row, "unpaired: no response of the other kind to its prompt");
                }
                continue;
            }
            paired += 1;
            let (good, bad) = match how.pairing {
                Pairing::BestVsRest => (good.as_slice(), bad.as_slice()),
                Pairing::TopVsBottom => (&good[..1], &bad[..1]),
            };
            for &good in good {
                let members: Vec<(u32, f64)> =
                    std::iter::once((good, 1.0)).chain(bad.iter().map(|&row| (row, 0.0))).collect();
                rankings.add(good, prompt.get(good as usize).unwrap_or(""), &members);
            }
        }
        if paired == 0 {
            return Err(PairsError::NotPairs {
                path: how.path.to_owned(),
                detail: format!(
                    "its rows are unpaired responses with a thumb each (`{}`), and no prompt has both a good and a bad one",
                    column.name()
                ),
                hint:
                    "preferences between two responses are needed; a score can be named with `--label-column`"
                        .into(),
            });
        }
        let mut taken = rankings.pairs(how.pairing);
        taken.notes.push(format!(
            "unpaired responses: on {paired} of {} prompts the good ones are set against the bad ones",
            groups.len()
        ));
        Ok(taken)
    }
}

/// Up or down, for every row; a word that is neither is asked about.
fn thumbs(column: &Column, path: &str) -> Result<Vec<Option<bool>>, PairsError> {
    let keys = keys(column, path)?;
    let read = |text: &str| {
        let text = text.trim().to_lowercase();
        match (GOOD.contains(&&*text), BAD.contains(&&*text)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    };
    let mut open: Vec<String> = Vec::new();
    let found = keys
        .iter()
        .map(|cell| {
            let cell = cell.filter(|cell| !labels::says_nothing(cell))?;
            let thumb = read(cell);
            if thumb.is_none() && !open.iter().any(|other| other == cell) {
                open.push(cell.to_owned());
            }
            thumb
        })
        .collect();
    if open.is_empty() {
        return Ok(found);
    }
    let shown: Vec<String> =
        open.iter().take(8).map(|value| format!("`{}`", crate::pairs::columns::shorten(value))).collect();
    Err(PairsError::Labels {
        path: path.to_owned(),
        name: column.name().to_string(),
        detail: format!("a thumb is true or false (or 1 and 0, good and bad), and this column also holds {}", shown.join(", ")),
        hint: "name a column of scores with `--label-column`, or the columns of two responses with `--response-a-column` and \
               `--response-b-column`"
            .into(),
    })
}
