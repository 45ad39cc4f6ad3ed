//! Labels as they come (1/0, true/false, `A`/`b`/`model_a`/`tie`, soft shares), as the share for A.

use std::collections::BTreeMap;

use polars::prelude::*;

use super::columns::{shorten, type_name};
use super::error::PairsError;

/// Labels of a column, one per row of the source.
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// Share of preference for the first response; NaN where there is none.
    pub values: Vec<f32>,
    /// Rows with a label that means nothing here, and the value.
    pub unknown: Vec<(u32, String)>,
    /// Rows without a label, where that does not mean a tie.
    pub missing: Vec<u32>,
    /// What the user should know about the reading.
    pub notes: Vec<String>,
}

/// One cell, read on its own.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Number(f64),
    Word(f32),
    Missing,
    Unknown,
}

/// Reads a label column. `None`: it holds no label at all.
///
/// A missing cell is a tie where the labels are numbers, as in this project's own shape; among
/// words it is a row without label.
pub(super) fn read(column: &Column, path: &str) -> Result<Option<Labels>, PairsError> {
    let name = column.name().to_string();
    let wrong_type = || PairsError::ColumnType {
        path: path.to_owned(),
        name: name.clone(),
        found: type_name(column.dtype()),
        expected: "labels",
        hint: "name the column with one label per row with `--label-column`",
    };
    let dtype = column.dtype();
    let is_text = matches!(dtype, DataType::String | DataType::Categorical(..) | DataType::Enum(..));
    let mut texts = None;
    let cells: Vec<Cell> = if is_text {
        let text = column.cast(&DataType::String).map_err(|_| wrong_type())?;
        let text = text.str().map_err(|_| wrong_type())?.clone();
        let cells = text.iter().map(|cell| cell.map_or(Cell::Missing, word)).collect();
        texts = Some(text);
        cells
    } else if dtype.is_numeric() || dtype.is_bool() || dtype.is_decimal() || dtype.is_null() {
        let numbers = column.cast(&DataType::Float64).map_err(|_| wrong_type())?;
        let numbers = numbers.f64().map_err(|_| wrong_type())?;
        numbers.iter().map(|cell| cell.filter(|x| !x.is_nan()).map_or(Cell::Missing, Cell::Number)).collect()
    } else {
        return Err(wrong_type());
    };
    if cells.iter().all(|cell| *cell == Cell::Missing) {
        return Ok(None);
    }

    let numeric = cells.iter().all(|cell| matches!(cell, Cell::Number(_) | Cell::Missing));
    let mut labels = Labels::default();
    let signed = numeric && signed_codes(&cells);
    if signed {
        labels
            .notes
            .push(format!("label column `{name}`: −1, 0 and 1 read as B preferred, tie, A preferred"));
    }
    if numeric && let Some(detail) = one_two_codes(&cells) {
        return Err(PairsError::Labels { path: path.to_owned(), name, detail });
    }
    let shown = |row: usize, cell: &Cell| match (&texts, cell) {
        (Some(texts), _) => shorten(texts.get(row).unwrap_or_default()),
        (None, Cell::Number(x)) => x.to_string(),
        _ => "?".to_owned(),
    };
    labels.values.reserve_exact(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        labels.values.push(match *cell {
            Cell::Number(x) if signed => ((x + 1.0) / 2.0) as f32,
            Cell::Number(x) if (0.0..=1.0).contains(&x) => x as f32,
            Cell::Word(share) => share,
            Cell::Missing if numeric => 0.5,
            Cell::Missing => {
                labels.missing.push(row as u32);
                f32::NAN
            }
            Cell::Number(_) | Cell::Unknown => {
                labels.unknown.push((row as u32, shown(row, cell)));
                f32::NAN
            }
        });
    }
    if labels.unknown.len() + labels.missing.len() == cells.len() {
        return Err(PairsError::Labels { path: path.to_owned(), name, detail: values_seen(&labels.unknown) });
    }
    Ok(Some(labels))
}

/// −1/0/1, with at least one −1.
fn signed_codes(cells: &[Cell]) -> bool {
    let mut any = false;
    for cell in cells {
        match cell {
            Cell::Number(x) if *x == -1.0 => any = true,
            Cell::Number(x) if *x == 0.0 || *x == 1.0 => {}
            Cell::Number(_) => return false,
            _ => {}
        }
    }
    any
}

/// The codes 1 and 2 (and 0) are in use, where 0 may be a tie or nothing: guessing would invert labels.
fn one_two_codes(cells: &[Cell]) -> Option<String> {
    let count = |code: f64| cells.iter().filter(|cell| **cell == Cell::Number(code)).count();
    let (zeros, ones, twos) = (count(0.0), count(1.0), count(2.0));
    let numbers = cells.iter().filter(|cell| matches!(cell, Cell::Number(_))).count();
    (twos * 5 > numbers && zeros + ones + twos == numbers)
        .then(|| format!("codes 0 ({zeros} rows), 1 ({ones}) and 2 ({twos}) have no agreed meaning"))
}

/// The most frequent values that were not understood.
fn values_seen(unknown: &[(u32, String)]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, value) in unknown {
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
    let mut shown: Vec<String> =
        counts.iter().take(8).map(|(value, count)| format!("`{value}` ({count})")).collect();
    if counts.len() > 8 {
        shown.push(format!("and {} more", counts.len() - 8));
    }
    format!("values seen are {}", shown.join(", "))
}

/// Reads a label that is text.
fn word(text: &str) -> Cell {
    let text = text.trim().trim_matches(['[', ']', '"', '\'']).to_lowercase();
    if text.is_empty() || matches!(&*text, "null" | "nan") {
        return Cell::Missing;
    }
    if let Ok(number) = text.parse::<f64>() {
        return if number.is_finite() { Cell::Number(number) } else { Cell::Unknown };
    }
    match &*text {
        "true" | "first" | "left" => return Cell::Word(1.0),
        "false" | "second" | "right" => return Cell::Word(0.0),
        "tie" | "draw" | "equal" | "same" | "both" | "neither" | "bothbad" => return Cell::Word(0.5),
        "tie (bothbad)" | "both_bad" | "both bad" | "tie_bothbad" | "tie (both bad)" | "both_good" => {
            return Cell::Word(0.5);
        }
        _ => {}
    }
    const STEMS: [&str; 14] = [
        "",
        "model",
        "response",
        "text",
        "answer",
        "output",
        "conversation",
        "assistant",
        "option",
        "completion",
        "human_ref",
        "candidate",
        "side",
        "choice",
    ];
    let (stem, letter) = match text.rsplit_once(['_', ' ', '-']) {
        Some((stem, letter)) => (stem, letter),
        None => ("", &*text),
    };
    match letter {
        "a" if STEMS.contains(&stem) => Cell::Word(1.0),
        "b" if STEMS.contains(&stem) => Cell::Word(0.0),
        _ => Cell::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(cells: &[Option<&str>]) -> Result<Option<Labels>, PairsError> {
        read(&Column::new("label".into(), cells), "test")
    }

    #[test]
    fn words_and_numeric_strings() {
        let labels = of_text(&[
            Some("A"),
            Some("b"),
            Some(" Tie "),
            Some("model_a"),
            Some("response B"),
            Some("tie (bothbad)"),
            Some("1"),
            Some("0.25"),
            Some("true"),
            Some("[[A]]"),
            Some("text_b"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(labels.values, [1.0, 0.0, 0.5, 1.0, 0.0, 0.5, 1.0, 0.25, 1.0, 1.0, 0.0]);
        assert!(labels.unknown.is_empty() && labels.missing.is_empty());
    }

    #[test]
    fn a_missing_cell_is_a_tie_among_numbers_only() {
        let column = Column::new("label".into(), [Some(1i64), None, Some(0)]);
        assert_eq!(read(&column, "t").unwrap().unwrap().values, [1.0, 0.5, 0.0]);
        let column = Column::new("label".into(), [1.0, f64::NAN]);
        assert_eq!(read(&column, "t").unwrap().unwrap().values, [1.0, 0.5]);
        assert_eq!(of_text(&[Some("1"), None]).unwrap().unwrap().values, [1.0, 0.5]);
        let words = of_text(&[Some("A"), None, Some("")]).unwrap().unwrap();
        assert_eq!(words.missing, [1, 2]);
        assert!(of_text(&[None, None]).unwrap().is_none());
    }

    #[test]
    fn unknown_values_are_named() {
        let labels = of_text(&[Some("A"), Some("maybe"), Some("a better one")]).unwrap().unwrap();
        assert_eq!(labels.unknown, [(1, "maybe".into()), (2, "a better one".into())]);
        let message = of_text(&[Some("good"), Some("bad"), Some("bad")]).unwrap_err().to_string();
        assert!(message.contains("`bad` (2), `good` (1)"), "{message}");
    }

    #[test]
    fn other_codes_are_read_or_refused_but_never_guessed() {
        let labels = read(&Column::new("y".into(), [1i32, -1, 0]), "t").unwrap().unwrap();
        assert_eq!(labels.values, [1.0, 0.0, 0.5]);
        assert_eq!(labels.notes.len(), 1);
        let message = read(&Column::new("y".into(), [1i32, 2, 0, 2]), "t").unwrap_err().to_string();
        assert!(message.contains("2 (2)"), "{message}");
        let labels = read(&Column::new("y".into(), [0.0, 1.0, 7.0]), "t").unwrap().unwrap();
        assert_eq!(labels.unknown, [(2, "7".into())]);
    }

    #[test]
    fn lists_are_no_labels() {
        let inner = Series::new("".into(), [1i64]);
        let message = read(&Column::new("y".into(), [inner]), "t").unwrap_err().to_string();
        assert!(message.contains("list of number"), "{message}");
    }
}
