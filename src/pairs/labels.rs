//! Labels as they come (1/0, true/false, `A`/`b`/`model_a`/`tie`, soft shares), as the share for A.

use std::collections::BTreeMap;

use polars::prelude::*;

use super::columns::{shorten, type_name};
use super::error::PairsError;

/// Labels of a column, one per row of the source.
#[derive(Debug, Default)]
pub(super) struct LabelColumn {
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
pub(super) fn read(column: &Column, path: &str) -> Result<Option<LabelColumn>, PairsError> {
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
    let mut labels = LabelColumn::default();
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

/// Whether a column of labels holds a −1; `None` where its labels are not all −1, 0 or 1.
pub(super) fn signs(column: &Column) -> Option<bool> {
    let text = column.cast(&DataType::String).ok()?;
    let mut minus = false;
    for cell in text.str().ok()?.iter().flatten() {
        match if cell.trim().is_empty() { Cell::Missing } else { word(cell) } {
            Cell::Number(-1.0) => minus = true,
            Cell::Number(x) if x == 0.0 || x == 1.0 => {}
            Cell::Missing => {}
            _ => return None,
        }
    }
    Some(minus)
}

/// The label that says the opposite, written the same way; `None` where there is none.
///
/// A tie is its own opposite. What [`word`] reads in the result is 1 − what it reads in `text`.
pub(super) fn opposite(text: &str, signed: bool) -> Option<String> {
    let core = text.trim().trim_matches(['[', ']', '"', '\'']);
    let at = text.find(core)?;
    let (before, after) = (text.get(..at)?, text.get(at + core.len()..)?);
    let turned = match word(core) {
        Cell::Number(x) if signed => number_like(core, -x),
        Cell::Number(x) if (0.0..=1.0).contains(&x) => number_like(core, 1.0 - x),
        Cell::Word(0.5) => core.to_owned(),
        Cell::Word(_) => other_word(core)?,
        Cell::Number(_) | Cell::Missing | Cell::Unknown => return None,
    };
    Some(format!("{before}{turned}{after}"))
}

/// The label that says tie where `text` says a side.
pub(super) fn tie(text: &str, signed: bool) -> Option<String> {
    Some(match word(text) {
        Cell::Number(_) if signed => "0".into(),
        Cell::Number(_) => "0.5".into(),
        Cell::Word(_) => "tie".into(),
        Cell::Missing | Cell::Unknown => return None,
    })
}

/// `value` with as many decimals as `like` is written with, or as many as it needs.
fn number_like(like: &str, value: f64) -> String {
    let decimals = like.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let short = format!("{:.decimals$}", value + 0.0);
    match short.parse::<f64>() {
        Ok(same) if (same - value).abs() < 1e-12 => short,
        _ => value.to_string(),
    }
}

/// The other one of two words, in the same case.
fn other_word(core: &str) -> Option<String> {
    const PAIRS: [(&str, &str); 4] = [("true", "false"), ("first", "second"), ("left", "right"), ("a", "b")];
    let lower = core.to_lowercase();
    for (one, other) in PAIRS.into_iter().flat_map(|(one, other)| [(one, other), (other, one)]) {
        let ends = lower.strip_suffix(one).is_some_and(|stem| stem.is_empty() || one.len() == 1);
        if lower.len() != core.len() || !ends {
            continue;
        }
        let cut = core.len() - one.len();
        let (stem, ending) = (core.get(..cut)?, core.get(cut..)?);
        let ending = if ending.chars().all(char::is_uppercase) {
            other.to_uppercase()
        } else if ending.chars().next().is_some_and(char::is_uppercase) {
            other.chars().take(1).flat_map(char::to_uppercase).chain(other.chars().skip(1)).collect()
        } else {
            other.to_owned()
        };
        return Some(format!("{stem}{ending}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(cells: &[Option<&str>]) -> Result<Option<LabelColumn>, PairsError> {
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
    fn an_opposite_reads_as_the_opposite_and_a_tie_as_a_tie() {
        let read = |text: &str| match word(text) {
            Cell::Word(share) => f64::from(share),
            Cell::Number(x) => x,
            other => panic!("{text}: {other:?}"),
        };
        for text in [
            "A",
            "b",
            " B ",
            "[[A]]",
            "model_a",
            "Model_B",
            "MODEL_A",
            "response A",
            "text_b",
            "true",
            "False",
            "FIRST",
            "Second",
            "left",
            "1",
            "0",
            "1.0",
            "0.25",
            "0.125",
            ".5",
            "tie",
            "tie (bothbad)",
            "1e-3",
        ] {
            let turned = opposite(text, false).unwrap();
            assert!((read(&turned) - (1.0 - read(text))).abs() < 1e-12, "{text} → {turned}");
            assert_eq!(read(&tie(text, false).unwrap()), 0.5);
        }
        assert_eq!(opposite("1.0", false).as_deref(), Some("0.0"));
        assert_eq!(opposite("Model_B", false).as_deref(), Some("Model_A"));
        assert_eq!(opposite("[[B]]", false).as_deref(), Some("[[A]]"));
        for (text, other) in [("-1", "1"), ("1", "-1"), ("0", "0"), ("1.0", "-1.0")] {
            assert_eq!(opposite(text, true).as_deref(), Some(other));
        }
        for text in ["", "null", "7", "maybe"] {
            assert_eq!(opposite(text, false), None, "{text}");
        }
    }

    #[test]
    fn lists_are_no_labels() {
        let inner = Series::new("".into(), [1i64]);
        let message = read(&Column::new("y".into(), [inner]), "t").unwrap_err().to_string();
        assert!(message.contains("list of number"), "{message}");
    }
}
