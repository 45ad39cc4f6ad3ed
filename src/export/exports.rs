//! Tables for other tools: TRL's preference format, ICAI's CSV, and a plain CSV.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

use polars::prelude::*;

use super::rows::{Rows, rows};
use super::tables::{cell, write_plain_csv};
use crate::constitution::Principle;
use crate::describe::Feature;
use crate::matrix::Matrix;
use crate::pairs::{MISSING, Pairs, Split};
use crate::store::{StoreError, write_file, write_parquet};
use crate::store::{failed, frame};

/// The dataset and what of it is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The dataset.
    pub pairs: &'a Pairs,
    /// The side of each pair, `[pairs]`.
    pub sides: &'a [Split],
    /// Only the held-out labels.
    pub held_out: bool,
}

impl<'a> Input<'a> {
    /// Prompt, A, B, label and annotator of a judgement.
    fn row(&self, judgement: u32) -> (u32, &'a str, [&'a str; 2], f32, Option<&'a str>) {
        let judgements = &self.pairs.judgements;
        let at = judgement as usize;
        let pair = judgements.pair[at] as usize;
        let annotator = judgements.annotator[at];
        let name = (annotator != MISSING).then(|| self.pairs.annotators.get(annotator as usize)).flatten();
        let texts = [self.pairs.response_a.get(pair), self.pairs.response_b.get(pair)];
        (pair as u32, self.pairs.prompt.get(pair), texts, judgements.label[at], name.map(String::as_str))
    }

    fn rows(&self, ties: bool) -> Vec<u32> {
        rows(self.pairs, self.sides, Rows { held_out: self.held_out, ties, unlabelled: false })
    }

    fn has_prompts(&self) -> bool {
        (0..self.pairs.prompt.len()).any(|pair| !self.pairs.prompt.get(pair).is_empty())
    }
}

/// What TRL's trainers read: `prompt` (where there are any), `chosen`, `rejected`, and where each row comes
/// from. Parquet where the name ends so, else JSON lines. Ties have no chosen side and are left out.
///
/// Returns the rows written.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_trl(path: &Path, input: Input<'_>) -> Result<usize, StoreError> {
    let all = input.rows(false);
    let prompts = input.has_prompts();
    let chosen_first = |texts: [&'_ str; 2], label: f32| {
        if label > 0.5 {
            (texts[0].to_owned(), texts[1].to_owned())
        } else {
            (texts[1].to_owned(), texts[0].to_owned())
        }
    };
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
        let (mut prompt, mut chosen, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        let (mut id, mut row, mut who) = (Vec::new(), Vec::new(), Vec::new());
        for &judgement in &all {
            let (pair, text, texts, label, name) = input.row(judgement);
            let (won, lost) = chosen_first(texts, label);
            prompt.push(text);
            chosen.push(won);
            rejected.push(lost);
            id.push(input.pairs.pair_id[pair as usize].as_str());
            row.push(input.pairs.judgements.row[judgement as usize]);
            who.push(name);
        }
        let mut columns = Vec::new();
        if prompts {
            columns.push(Column::new("prompt".into(), prompt));
        }
        columns.extend([
            Column::new("chosen".into(), chosen),
            Column::new("rejected".into(), rejected),
            Column::new("pair_id".into(), id),
            Column::new("row".into(), row),
            Column::new("annotator_id".into(), who),
        ]);
        write_parquet(path, &mut frame(path, columns)?)?;
        return Ok(all.len());
    }
    write_file(path, |out| {
        let io = |source| StoreError::Io { action: "write", path: path.into(), source };
        for &judgement in &all {
            let (pair, text, texts, label, name) = input.row(judgement);
            let (won, lost) = chosen_first(texts, label);
            let mut value = serde_json::Map::new();
            if prompts {
                value.insert("prompt".into(), text.into());
            }
            value.insert("chosen".into(), won.into());
            value.insert("rejected".into(), lost.into());
            value.insert("pair_id".into(), input.pairs.pair_id[pair as usize].clone().into());
            value.insert("row".into(), input.pairs.judgements.row[judgement as usize].into());
            value.insert("annotator_id".into(), name.into());
            serde_json::to_writer(&mut *out, &value).map_err(|error| io(std::io::Error::other(error)))?;
            out.write_all(b"\n").map_err(io)?;
        }
        Ok(())
    })?;
    Ok(all.len())
}

/// What Inverse Constitutional AI reads: `text_a`, `text_b`, `preferred_text`, `input`. It knows no ties.
///
/// Returns the rows written.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_icai(path: &Path, input: Input<'_>) -> Result<usize, StoreError> {
    let all = input.rows(false);
    let header = ["text_a", "text_b", "preferred_text", "input", "annotator_id", "pair_id", "row"];
    let lines = all.iter().map(|&judgement| {
        let (pair, prompt, [a, b], label, name) = input.row(judgement);
        [
            a.to_owned(),
            b.to_owned(),
            if label > 0.5 { "text_a" } else { "text_b" }.to_owned(),
            prompt.to_owned(),
            name.unwrap_or("").to_owned(),
            input.pairs.pair_id[pair as usize].clone(),
            input.pairs.judgements.row[judgement as usize].to_string(),
        ]
    });
    write_plain_csv(path, &header, lines)?;
    Ok(all.len())
}

fn strings<'a>(cells: &'a [Cow<'_, str>]) -> Vec<&'a str> {
    cells.iter().map(|cell| &**cell).collect()
}

/// A table for a spreadsheet, which is also a dataset of this program's own shape: the texts, the label,
/// and how much more of each principle is in A than in B.
///
/// Returns the rows written.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_table(
    path: &Path,
    input: Input<'_>,
    principles: &[Principle],
    features: &[Feature],
    activations: &Matrix,
) -> Result<usize, StoreError> {
    let all = input.rows(true);
    let (mut id, mut row, mut side) = (Vec::new(), Vec::new(), Vec::new());
    let (mut prompt, mut a, mut b) = (Vec::new(), Vec::new(), Vec::new());
    let (mut label, mut who) = (Vec::new(), Vec::new());
    for &judgement in &all {
        let (pair, text, texts, given, name) = input.row(judgement);
        id.push(input.pairs.pair_id[pair as usize].as_str());
        row.push(input.pairs.judgements.row[judgement as usize]);
        side.push(input.sides[pair as usize].name());
        prompt.push(cell(text));
        a.push(cell(texts[0]));
        b.push(cell(texts[1]));
        label.push(f64::from(given));
        who.push(name.map(cell));
    }
    let (prompt, a, b) = (strings(&prompt), strings(&a), strings(&b));
    let who: Vec<Option<&str>> = who.iter().map(Option::as_deref).collect();
    let mut columns = vec![
        Column::new("pair_id".into(), id),
        Column::new("row".into(), row),
        Column::new("side".into(), side),
        Column::new("prompt".into(), prompt),
        Column::new("response_A".into(), a),
        Column::new("response_B".into(), b),
        Column::new("label".into(), label),
        Column::new("annotator_id".into(), who),
    ];
    for principle in principles {
        let Some(name) = principle.feature_ids.first() else { continue };
        let Some(column) = features.iter().position(|feature| &feature.feature_id == name) else { continue };
        let values: Vec<f32> = all
            .iter()
            .map(|&at| activations.row(input.pairs.judgements.pair[at as usize] as usize)[column])
            .collect();
        columns.push(Column::new(name.as_str().into(), values));
    }
    let mut table = frame(path, columns)?;
    write_file(path, |out| CsvWriter::new(out).finish(&mut table).map_err(failed("write", path)))?;
    Ok(all.len())
}
