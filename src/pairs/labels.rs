//! A label column, understood as a whole or not at all.
//!
//! All different values of the column are looked at first; then one way to write labels ([`Codes`]) has to read
//! every one of them. Where none does, or where which end of a scale is for A cannot be known, the user is asked
//! one question with the options that answer it.

use std::collections::HashMap;

use polars::prelude::*;

use super::codes::{Codes, LabelMap, LabelScale, Meaning, Said, nothing, number, word};
use super::columns::{shorten, type_name};
use super::error::PairsError;
use super::format::LabelPair;
use super::records;
use super::sides::{self, Order};

/// Values that a question shows.
const SHOWN: usize = 8;

/// One label in so many may be a slip of the pen.
const SLIPS: usize = 500;

/// Labels of a column, one per row of the source.
#[derive(Debug, Default)]
pub(super) struct LabelColumn {
    /// Share of preference for the first response; NaN where there is none.
    pub values: Vec<f32>,
    /// Rows without a label, where that does not mean a tie.
    pub missing: Vec<u32>,
    /// Rows with a slip of the pen, and what stands there.
    pub unknown: Vec<(u32, String)>,
    /// What the user should know about the reading.
    pub notes: Vec<String>,
    /// How they are written.
    pub codes: Codes,
}

/// What is known about a label column besides its cells.
#[derive(Default)]
pub(super) struct Hints<'a> {
    /// Names of the two response columns.
    pub responses: [&'a str; 2],
    /// Said by hand, value by value.
    pub map: Option<&'a LabelMap>,
    /// Said by hand, for a scale.
    pub scale: Option<LabelScale>,
    /// Names behind the numbers of a `ClassLabel` column.
    pub classes: Option<&'a [String]>,
    /// The published meaning of the format that was recognised.
    pub known: Option<Codes>,
    /// Cells are text by necessity (CSV): an empty one was not judged; elsewhere a missing number is a tie.
    pub empty_is_nothing: bool,
    /// What stands in the row for each of the two responses, where a label may repeat that.
    pub named: Vec<[StringChunked; 2]>,
    /// The beginning of the two responses of a row, for a question.
    pub example: Option<&'a dyn Fn(usize) -> Option<[String; 2]>>,
    /// Source as given.
    pub path: &'a str,
}

/// Reads a label column. `None`: it holds no label at all.
///
/// # Errors
/// [`PairsError::Labels`], a question, where the column is not understood as a whole.
pub(super) fn read(column: &Column, hints: &Hints<'_>) -> Result<Option<LabelColumn>, PairsError> {
    let mut cells = Written::new(column, hints.path)?;
    if cells.values.is_empty() {
        return Ok(None);
    }
    let mut strays = Vec::new();
    let codes = match choose(&cells, hints).and_then(|codes| by_names(&cells, hints, codes)) {
        Ok(codes) => codes,
        // Whatever its values repeat of a row is then the one that lost.
        Err(question) if names_the_loser(&cells, hints) => return Err(ask(&cells, hints, loser(question))),
        Err(question @ (Question::Reversed(..) | Question::Turned(_))) => {
            return Err(ask(&cells, hints, question));
        }
        Err(question) => {
            match (by_column(&cells, hints), by_row(&cells, hints), without_strays(&cells, hints)) {
                (Some(codes), ..) => codes,
                (_, Some(labels), _) => return Ok(Some(labels)),
                (.., Some((rest, codes))) => {
                    let all = std::mem::replace(&mut cells, rest).values;
                    strays = all.into_iter().filter(|value| !cells.values.contains(value)).collect();
                    codes
                }
                _ => return Err(ask(&cells, hints, question)),
            }
        }
    };
    // Every value is one of the codes, or the column is not understood.
    let mut said: HashMap<&str, Said> = HashMap::new();
    for (value, _) in &cells.values {
        match codes.read(value) {
            Some(what) => drop(said.insert(value, what)),
            None => return Err(ask(&cells, hints, Question::Unread(codes))),
        }
    }
    let null_is = null(&cells, hints, &codes);
    let mut labels = LabelColumn { codes, ..LabelColumn::default() };
    labels.values.reserve_exact(cells.texts.len());
    let mut empty = 0;
    for (row, cell) in (0u32..).zip(cells.texts.iter()) {
        let what = match cell.map(str::trim).filter(|cell| !cell.is_empty()) {
            Some(cell) => said.get(cell).copied(),
            None => {
                empty += 1;
                Some(null_is)
            }
        };
        labels.values.push(match what {
            Some(Said::Share(share)) => share,
            Some(Said::Nothing) => {
                labels.missing.push(row);
                f32::NAN
            }
            None => {
                labels.unknown.push((row, shorten(cell.unwrap_or_default())));
                f32::NAN
            }
        });
    }
    labels.notes.push(told(&cells, &labels, hints));
    let name = &cells.name;
    if empty > 0 && null_is == Said::Share(0.5) {
        labels.notes.push(format!(
            "label column `{name}`: {empty} rows without a value read as ties, as this project's own labels say it"
        ));
    }
    if !strays.is_empty() {
        let shown: Vec<String> =
            strays.iter().map(|(value, count)| format!("`{}` ({count})", shorten(value))).collect();
        labels.notes.push(format!(
            "label column `{name}`: {} rows left out, whose labels are none of these: {}; `--label-map` says what they mean",
            labels.unknown.len(),
            shown.join(", ")
        ));
    }
    Ok(Some(labels))
}

/// The column without slips of the pen: at most one label in [`SLIPS`], where all others are of the documented
/// codes. Codes of a scale are never so rare.
fn without_strays(cells: &Written, hints: &Hints<'_>) -> Option<(Written, Codes)> {
    let free =
        hints.map.is_none() && hints.scale.is_none() && hints.known.is_none() && hints.classes.is_none();
    let total: usize = cells.values.iter().map(|(_, count)| count).sum();
    let documented = |(value, _): &(String, usize)| {
        nothing(value) || matches!(Codes::Words { zero: false }.read(value), Some(Said::Share(_)))
    };
    let (values, strays): (Vec<_>, Vec<_>) = cells.values.iter().cloned().partition(documented);
    let slips: usize = strays.iter().map(|(_, count)| count).sum();
    // Both sides must be there: 1 alone may go with 2.
    let says = |wanted: fn(f32) -> bool| {
        let read = |value: &str| Codes::Words { zero: false }.read(value);
        values.iter().any(|(value, _)| matches!(read(value), Some(Said::Share(share)) if wanted(share)))
    };
    (free && slips * SLIPS <= total && says(|share| share > 0.5) && says(|share| share < 0.5))
        .then_some(())?;
    let rest = Written { values, name: cells.name.clone(), texts: cells.texts.clone(), ..*cells };
    let codes = choose(&rest, hints).and_then(|codes| by_names(&rest, hints, codes)).ok();
    Some((rest, codes.filter(|codes| matches!(codes, Codes::Shares | Codes::Words { .. }))?))
}

/// Labels of two columns: an outcome each (and one for ties), or a score each.
///
/// # Errors
/// [`PairsError::Labels`] where they are neither.
pub(super) fn of_pair(
    frame: &DataFrame,
    pair: &LabelPair,
    path: &str,
) -> Result<(Vec<f32>, String), PairsError> {
    let column = |name: &str| {
        let found =
            frame.column(name).ok().and_then(|column| records::numbers(column.as_materialized_series()));
        found.ok_or_else(|| unclear(name, path))
    };
    let (first, second) = (column(&pair.first)?, column(&pair.second)?);
    let tie = pair.tie.as_deref().map(column).transpose()?;
    let tie_at = |row: usize| tie.as_ref().map_or(0.0, |tie| tie.get(row).copied().unwrap_or(0.0));
    let names = format!("`{}` and `{}`", pair.first, pair.second);
    let mut values = Vec::with_capacity(first.len());
    for (row, (a, b)) in first.iter().zip(&second).enumerate() {
        let share = match (a, b, tie_at(row)) {
            (a, b, _) if a.is_nan() || b.is_nan() => f64::NAN,
            (a, b, _) if pair.scores => (1.0 + (a > b) as u8 as f64 - (a < b) as u8 as f64) / 2.0,
            (a, b, t) if [*a, *b, t].iter().any(|x| !(0.0..=1.0).contains(x)) => {
                return Err(unclear(&names, path));
            }
            // Nobody has judged it, where a column would say that it is a tie.
            (a, b, t) if a + b + t == 0.0 && tie.is_some() => f64::NAN,
            (a, b, t) if a + b + t == 0.0 || a + b > 1.0 + 1e-6 => 0.5 + 0.0 * t,
            (a, b, t) => (a + t / 2.0) / (a + b + t),
        };
        values.push(share as f32);
    }
    let ties = values.iter().filter(|value| **value == 0.5).count();
    let given = values.iter().filter(|value| !value.is_nan()).count() - ties;
    let how =
        if pair.scores { "the higher one is preferred" } else { "1 in the column of the preferred one" };
    let tied = pair.tie.as_ref().map(|name| format!(", ties in `{name}`")).unwrap_or_default();
    Ok((values, format!("labels from {names}: {how}{tied}; {given} labels, {ties} ties")))
}

fn unclear(name: &str, path: &str) -> PairsError {
    PairsError::Labels {
        path: path.to_owned(),
        name: name.trim_matches('`').to_owned(),
        detail: "they should be numbers: 0 or 1 for an outcome, or a score for each response".into(),
        hint: "name another column with `--label-column`".into(),
    }
}

/// What a cell without a value means.
fn null(cells: &Written, hints: &Hints<'_>, codes: &Codes) -> Said {
    if let Codes::Map(_) = codes {
        return codes.read("").unwrap_or(Said::Nothing);
    }
    // Only this project's own labels, and none that a format or the user has given other codes.
    let own = matches!(codes, Codes::Shares | Codes::Words { .. }) && hints.known.is_none();
    if own && cells.typed && !hints.empty_is_nothing && hints.classes.is_none() {
        return Said::Share(0.5);
    }
    Said::Nothing
}

/// A label column as text, with its different values.
struct Written {
    name: String,
    texts: StringChunked,
    /// Different values without the empty ones, most frequent first, with the rows that have them.
    values: Vec<(String, usize)>,
    /// The column itself is one of numbers, or of true and false.
    typed: bool,
}

impl Written {
    fn new(column: &Column, path: &str) -> Result<Self, PairsError> {
        let name = column.name().to_string();
        let wrong_type = || PairsError::ColumnType {
            path: path.to_owned(),
            name: name.clone(),
            found: type_name(column.dtype()),
            expected: "labels",
            hint: "name the column with one label per row with `--label-column`",
        };
        let dtype = column.dtype();
        let texts: StringChunked = match dtype {
            DataType::String | DataType::Categorical(..) | DataType::Enum(..) | DataType::Boolean => {
                let text = column.cast(&DataType::String).map_err(|_| wrong_type())?;
                text.str().map_err(|_| wrong_type())?.clone()
            }
            _ if dtype.is_numeric() || dtype.is_decimal() || dtype.is_null() => {
                let numbers = column.cast(&DataType::Float64).map_err(|_| wrong_type())?;
                let numbers = numbers.f64().map_err(|_| wrong_type())?;
                numbers.iter().map(|cell| cell.filter(|x| !x.is_nan()).map(|x| x.to_string())).collect()
            }
            DataType::List(inner) if !inner.is_nested() => {
                // Lists of one label, as annotation tools write them.
                let series = column.as_materialized_series();
                let one = |cell: AnyValue<'_>| match records::json_of(&cell) {
                    serde_json::Value::Array(values) => match values.as_slice() {
                        [] => Some(None),
                        [serde_json::Value::String(text)] => Some(Some(text.clone())),
                        [serde_json::Value::Null] => Some(None),
                        [other] => Some(Some(other.to_string())),
                        _ => None,
                    },
                    _ => Some(None),
                };
                let cells: Option<Vec<Option<String>>> = series.iter().map(one).collect();
                cells.ok_or_else(wrong_type)?.into_iter().collect()
            }
            _ => return Err(wrong_type()),
        };
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for cell in texts.iter().flatten().map(str::trim).filter(|cell| !cell.is_empty()) {
            *counts.entry(cell).or_default() += 1;
        }
        let mut values: Vec<(String, usize)> =
            counts.into_iter().map(|(value, count)| (value.to_owned(), count)).collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        if values.iter().all(|(value, _)| nothing(value)) {
            values.clear();
        }
        let typed = dtype.is_numeric() || dtype.is_decimal() || dtype.is_bool();
        Ok(Self { name, typed, values, texts })
    }

    /// The different values without those that say nothing.
    fn said(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(value, _)| value.as_str()).filter(|value| !nothing(value))
    }
}

/// Whether a cell says that there is no label.
pub(super) fn says_nothing(cell: &str) -> bool {
    nothing(cell.trim())
}

/// What has to be asked.
enum Question {
    /// Some values mean nothing here.
    Unread(Codes),
    /// Which end is for A; the lower and the upper one.
    Direction(f64, f64),
    /// What 0, 1 and 2 are.
    ZeroOneTwo,
    /// Whether 0 and 1 are the number of the preferred response.
    Index,
    /// A scale by hand that is not what was said: why, and with which codes the numbers would be read.
    Hand(String, Option<Codes>),
    /// The column's own name may turn its values round.
    Reversed(Turn, Option<Codes>),
    /// The responses stand in the other order than their names say, and some values name neither.
    Turned(Codes),
}

/// What may turn the values of a column round.
#[derive(Clone, Copy)]
enum Turn {
    /// It is named for the response that lost.
    Loser,
    /// It is named for the second response.
    Second,
    /// The responses stand in the other order than their names say.
    Order,
}

impl Turn {
    /// When its values mean the opposite, and when they do not.
    fn cases(self) -> [&'static str; 2] {
        match self {
            Self::Loser => ["if they name the one that lost", "if the one that won"],
            Self::Second => ["if true or a high value is for B", "if it is for A"],
            Self::Order => ["if they go by the columns' names", "if by their places"],
        }
    }
}

/// Whether the column is named for the response that lost, and nobody has said what its values mean.
fn names_the_loser(cells: &Written, hints: &Hints<'_>) -> bool {
    let free = hints.map.is_none() && hints.scale.is_none() && hints.known.is_none();
    free && sides::is_of_loser(&cells.name)
}

/// The question about a column that is named for the loser, whatever else had to be asked about it.
fn loser(question: Question) -> Question {
    let otherwise = match question {
        Question::Reversed(_, otherwise) => otherwise,
        Question::Index => Some(Codes::Index),
        Question::Unread(codes) | Question::Turned(codes) => Some(codes),
        Question::Direction(..) | Question::ZeroOneTwo | Question::Hand(..) => None,
    };
    Question::Reversed(Turn::Loser, otherwise)
}

/// Codes with what the names of the columns say about them: `response_b` is that column, whichever is A, and 1 under
/// `b_is_better` is for B.
fn by_names(cells: &Written, hints: &Hints<'_>, codes: Codes) -> Result<Codes, Question> {
    if hints.map.is_some() || hints.scale.is_some() || hints.known.is_some() {
        return Ok(codes);
    }
    if names_the_loser(cells, hints) {
        return Err(loser(Question::Unread(codes)));
    }
    let counts = cells.said().filter(|value| says_how_far(value, hints)).count();
    let about = sides::about(&cells.name, hints.responses);
    if counts > 0 && about == Some(1) && !matches!(codes, Codes::Numbered | Codes::Index) {
        return Err(Question::Reversed(Turn::Second, Some(codes)));
    }
    let [first, second] = hints.responses;
    match sides::order(first, second) {
        Order::Plain => Ok(codes),
        // `a_is_better` says which column it means by itself.
        Order::Turned if counts == cells.said().count() && about == Some(0) => Ok(codes),
        Order::Turned if counts > 0 => Err(Question::Turned(codes)),
        Order::Turned => Ok(Codes::Map(turned(cells, &codes))),
        Order::Some => {
            // "Answer 2" is none of `answer_1` and `answer_3`.
            let own = sides::apart(first, second).unwrap_or_default();
            let digits = own.0.bytes().all(|byte| byte.is_ascii_digit());
            let counted = |word: &String| {
                sides::of_several(word) && word.bytes().all(|byte| byte.is_ascii_digit()) == digits
            };
            let names = |value: &str| number(value).is_none() && sides::words(value).iter().any(counted);
            if cells.said().any(names) { Err(Question::Unread(codes)) } else { Ok(codes) }
        }
    }
}

/// Whether a value says how far something holds, as a number does and true does, and names no response.
fn says_how_far(value: &str, hints: &Hints<'_>) -> bool {
    let name = hints.classes.zip(number(value)).and_then(|(names, x)| class_name(names, x));
    let value = name.unwrap_or(value);
    number(value).is_some() || ["true", "false"].iter().any(|word| value.trim().eq_ignore_ascii_case(word))
}

/// What each value of the column means where the two responses stand in the other order than their names.
fn turned(cells: &Written, codes: &Codes) -> Vec<(String, Meaning)> {
    let meaning = |value: &str| match codes.read(value) {
        Some(Said::Share(share)) if share > 0.5 => Some(Meaning::B),
        Some(Said::Share(share)) if share < 0.5 => Some(Meaning::A),
        Some(Said::Share(_)) => Some(Meaning::Tie),
        Some(Said::Nothing) => Some(Meaning::Skip),
        None => None,
    };
    cells.values.iter().filter_map(|(value, _)| Some((value.clone(), meaning(value)?))).collect()
}

/// The name behind the number of a class; −1 and the like have none.
fn class_name(names: &[String], x: f64) -> Option<&str> {
    (x >= 0.0 && x.fract() == 0.0).then(|| names.get(x as usize))?.map(String::as_str)
}

/// The one way of writing labels that can read the column.
fn choose(cells: &Written, hints: &Hints<'_>) -> Result<Codes, Question> {
    if let Some(map) = hints.map {
        return Ok(Codes::Map(map.0.clone()));
    }
    let numbers: Vec<f64> = cells.said().filter_map(number).collect();
    let whole = numbers.iter().all(|x| x.fract() == 0.0);
    let (low, high) =
        numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
    if let Some(LabelScale { first, second }) = hints.scale {
        let within = low >= first.min(second) && high <= first.max(second);
        let words: Vec<String> = (cells.said().filter(|value| number(value).is_none()).take(4))
            .map(|value| format!("`{}`", shorten(value)))
            .collect();
        if !words.is_empty() {
            let why =
                format!("{} is no number, and `--label-scale` is about numbers alone", words.join(", "));
            return Err(Question::Hand(why, Some(Codes::Scale { first, second, soft: false })));
        }
        if !within {
            let ends = format!("`--label-scale {first}..{second}` does not hold all of its values");
            return Err(Question::Hand(ends, None));
        }
        // Whole steps are grades; anything between them, or more steps than a grade has, are shares.
        return Ok(Codes::Scale { first, second, soft: !whole || (first - second).abs() > 20.0 });
    }
    let zero = zero_based(cells, hints);
    let all_numbers = numbers.len() == cells.said().count();
    if let Some(names) = hints.classes.filter(|_| all_numbers && whole) {
        let codes = Codes::Classes { names: names.to_vec(), zero: names.iter().any(|n| n.ends_with('0')) };
        let read = cells.said().all(|value| codes.read(value).is_some());
        return if read { Ok(codes) } else { Err(Question::Unread(codes)) };
    }
    if let Some(known) = &hints.known {
        return match cells.said().all(|value| known.read(value).is_some()) {
            true => Ok(known.clone()),
            false => Err(Question::Unread(known.clone())),
        };
    }
    let numbered = numbered_responses(hints);
    let words = Codes::Words { zero };
    let percent = cells.said().any(|value| value.ends_with('%'));
    if !all_numbers {
        // Words, with numbers beside them only where those are shares.
        let codes = match numbers.is_empty() || low >= 0.0 && high <= 1.0 {
            true => words,
            false if numbered && low >= 1.0 && high <= 2.0 => Codes::Numbered,
            false => return Err(Question::Unread(words)),
        };
        let read = cells.said().all(|value| codes.read(value).is_some());
        return if read { Ok(codes) } else { Err(Question::Unread(codes)) };
    }
    let whole_in = |a: f64, b: f64| whole && low >= a && high <= b;
    if percent {
        return Err(Question::Direction(0.0, 100.0));
    }
    if low >= 0.0 && high <= 1.0 {
        // Where the responses are counted from 0, so may be the preferred one.
        let place = names_a_place(&cells.name)
            || hints.responses[0].ends_with('0') && hints.responses[1].ends_with('1');
        return if whole && place { Err(Question::Index) } else { Ok(Codes::Shares) };
    }
    if low < 0.0 {
        return match (whole_in(-1.0, 1.0), low.abs().max(high).ceil()) {
            (true, _) => Ok(Codes::Signs),
            (false, end) => Err(Question::Direction(-end, end)),
        };
    }
    if numbered && low >= 1.0 && high <= 2.0 {
        return Ok(Codes::Numbered);
    }
    if whole_in(0.0, 2.0) && low == 0.0 {
        return Err(Question::ZeroOneTwo);
    }
    let low = if low >= 1.0 && high <= 10.0 { 1.0 } else { low.min(0.0) };
    let high = if high > 10.0 && high <= 100.0 { 100.0 } else { high.ceil() };
    Err(Question::Direction(if high == 100.0 { 0.0 } else { low }, high))
}

/// Whether `response_0` is the first response: a zero stands in the labels, or in the names of the columns.
fn zero_based(cells: &Written, hints: &Hints<'_>) -> bool {
    let ends =
        |text: &str| text.trim_end_matches([']', '"', '\'', ' ']).ends_with('0') && number(text).is_none();
    cells.said().any(ends) || hints.responses.iter().any(|name| name.ends_with('0'))
}

/// Whether the two response columns are numbered 1 and 2.
fn numbered_responses(hints: &Hints<'_>) -> bool {
    let [first, second] = hints.responses;
    first.ends_with('1') && second.ends_with('2') && !first.ends_with("11")
}

/// Whether a column's name says that its numbers are places: 0 would be the first response.
fn names_a_place(name: &str) -> bool {
    let name = name.to_lowercase();
    let parts: Vec<&str> = name.split(['_', '-', ' ', '.']).collect();
    parts.iter().any(|part| {
        ["id", "idx", "index", "number", "position", "choice", "chosen", "selected"].contains(part)
    })
}

/// Labels that are the names of the two columns, or the words by which these differ.
fn by_column(cells: &Written, hints: &Hints<'_>) -> Option<Codes> {
    let [first, second] = hints.responses;
    let free = hints.map.is_none() && hints.scale.is_none() && hints.known.is_none();
    (free && !first.is_empty()).then_some(())?;
    let own = sides::apart(first, second);
    let is = |value: &str, name: &str, word: Option<&String>| {
        let short = word.filter(|word| number(word).is_none() && !nothing(word));
        value == name || short.is_some_and(|word| value.trim().eq_ignore_ascii_case(word))
    };
    let (mut map, mut some) = (Vec::new(), false);
    for (value, _) in &cells.values {
        let sides =
            (is(value, first, own.as_ref().map(|(a, _)| a)), is(value, second, own.as_ref().map(|(_, b)| b)));
        let meaning = match sides {
            (true, false) => Meaning::A,
            (false, true) => Meaning::B,
            _ if nothing(value) => Meaning::Skip,
            _ if word(value, false) == Some(0.5) => Meaning::Tie,
            _ => return None,
        };
        some |= matches!(meaning, Meaning::A | Meaning::B);
        map.push((value.clone(), meaning));
    }
    some.then(|| {
        // What stands on one side only may be turned to the other.
        for (name, meaning) in [(first, Meaning::A), (second, Meaning::B)] {
            if !map.iter().any(|(_, other)| *other == meaning) {
                map.push((name.to_owned(), meaning));
            }
        }
        Codes::Map(map)
    })
}

/// Labels that repeat what stands in their row: the name of a model, the text of a response, a column's name.
fn by_row(cells: &Written, hints: &Hints<'_>) -> Option<LabelColumn> {
    (hints.map.is_none() && hints.scale.is_none()).then_some(())?;
    let plain = |text: &str| text.trim().to_owned();
    for named in &hints.named {
        let [first, second] = named;
        let mut labels = LabelColumn { codes: Codes::Map(Vec::new()), ..LabelColumn::default() };
        let (mut repeated, mut ties) = (0, 0);
        let understood = cells.texts.iter().enumerate().all(|(row, cell)| {
            let Some(cell) = cell.map(str::trim).filter(|cell| !nothing(cell)) else {
                labels.missing.push(row as u32);
                labels.values.push(f32::NAN);
                return true;
            };
            let is = |column: &StringChunked| column.get(row).is_some_and(|text| plain(text) == cell);
            let share = match (is(first), is(second)) {
                (true, false) => 1.0,
                (false, true) => 0.0,
                // The same model on both sides: which one is meant cannot be known.
                (true, true) => return false,
                (false, false) => match word(cell, false) {
                    Some(0.5) => 0.5,
                    _ => return false,
                },
            };
            if share == 0.5 {
                ties += 1
            } else {
                repeated += 1
            }
            labels.values.push(share);
            true
        });
        if understood && repeated > 0 {
            labels.notes.push(format!(
                "label column `{}`: the value of `{}` in its row is for A, that of `{}` for B; {repeated} labels, {ties} ties",
                cells.name,
                first.name(),
                second.name()
            ));
            return Some(labels);
        }
    }
    None
}

/// "label column `overall_preference`: −3 … 3, negative = first is better; 54 labels, 6 ties".
fn told(cells: &Written, labels: &LabelColumn, hints: &Hints<'_>) -> String {
    let [first, second] = match hints.responses {
        ["", _] | [_, ""] => ["the first response", "the second"].map(str::to_owned),
        names => names.map(|name| format!("`{}`", shorten(name))),
    };
    let how = match &labels.codes {
        Codes::Shares => format!("1 is for {first}, 0 for {second}"),
        Codes::Signs => format!("1 is for {first}, −1 for {second}, 0 a tie"),
        Codes::Scale { first: end, second: other, soft } => {
            let grades = if *soft { "shares between" } else { "the middle is a tie" };
            format!("{end} … {other}, {end} is for {first}, {other} for {second}, {grades}")
        }
        Codes::Words { .. } => {
            let of = |wanted: &dyn Fn(f32) -> bool| {
                let read = |value: &str| matches!(labels.codes.read(value), Some(Said::Share(share)) if wanted(share));
                let all: Vec<String> = cells
                    .said()
                    .filter(|value| read(value))
                    .take(4)
                    .map(|value| format!("`{}`", shorten(value)))
                    .collect();
                if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
            };
            format!("{} for {first}, {} for {second}", of(&|share| share > 0.5), of(&|share| share < 0.5))
        }
        Codes::Numbered => format!("1 is for {first}, 2 for {second}, shares between"),
        Codes::Index => format!("0 is for {first}, 1 for {second}"),
        Codes::Map(map) => {
            let said = |(value, meaning): &(String, Meaning)| {
                let meaning = match meaning {
                    Meaning::A => "A",
                    Meaning::B => "B",
                    Meaning::Tie => "a tie",
                    Meaning::Skip => "no label",
                };
                format!("`{}` is {meaning}", shorten(value))
            };
            let whose = if hints.map.is_some() { "by hand" } else { "by the columns' names" };
            format!("{whose}, {}", map.iter().map(said).collect::<Vec<_>>().join(", "))
        }
        Codes::Classes { names, .. } => {
            let said = names.iter().enumerate().map(|(i, name)| format!("{i} is `{}`", shorten(name)));
            format!("names of its classes, {}", said.collect::<Vec<_>>().join(", "))
        }
    };
    let ties = labels.values.iter().filter(|value| **value == 0.5).count();
    let given = labels.values.iter().filter(|value| !value.is_nan()).count() - ties;
    let none = match labels.missing.len() {
        0 => String::new(),
        count => format!(", {count} rows without"),
    };
    format!("label column `{}`: {how}; {given} labels, {ties} ties{none}", cells.name)
}

/// The question, with the values, an example and the options that answer it.
fn ask(cells: &Written, hints: &Hints<'_>, question: Question) -> PairsError {
    let count = cells.values.len();
    let mut shown: Vec<String> = (cells.values.iter().take(SHOWN))
        .map(|(value, count)| {
            let name = hints.classes.zip(number(value)).and_then(|(names, x)| class_name(names, x));
            let name = name.map(|name| format!(" = {}", shorten(name))).unwrap_or_default();
            format!("`{}`{name} ({count})", shorten(value))
        })
        .collect();
    if count > SHOWN {
        shown.push(format!("and {} more", count - SHOWN));
    }
    let [first, second] = match hints.responses {
        ["", _] | [_, ""] => ["the first response".to_owned(), "the second".to_owned()],
        names => names.map(|name| format!("`{}`", shorten(name))),
    };
    let sides = format!("A is {first}, B is {second}");
    let (why, hint) = match question {
        Question::Direction(low, high) => (
            format!("which end means that {first} is preferred cannot be known from them"),
            format!(
                "if {low} is for {first}, add `--label-scale={low}..{high}`; if {high} is, `--label-scale={high}..{low}`"
            ),
        ),
        Question::ZeroOneTwo => (
            "0, 1 and 2 have no agreed meaning".into(),
            format!(
                "say it: `--label-map 0=A,1=tie,2=B`, `--label-map 1=A,2=B,0=tie`, or as it is ({sides})"
            ),
        ),
        Question::Index => (
            format!("0 may be the number of the first response, or mean that {second} is preferred"),
            format!("if 0 is for {first}, add `--label-map 0=A,1=B`; if 1 is, `--label-map 1=A,0=B`"),
        ),
        Question::Hand(why, None) => {
            (why, format!("its lowest and highest values belong into it, A's end first (A is {first})"))
        }
        Question::Hand(why, Some(codes)) => {
            let known = |value: &str| {
                codes.read(value).or_else(|| word(value, false).filter(|s| *s == 0.5).map(Said::Share))
            };
            (
                why,
                format!(
                    "say it value by value instead: `--label-map '{}'` ({sides})",
                    suggested(cells, &known)
                ),
            )
        }
        Question::Reversed(turn, otherwise) => {
            let whose = match turn {
                Turn::Loser => "that lost",
                Turn::Second | Turn::Order => "called B here",
            };
            let why = format!("its name is about the response {whose}, so that they may mean the opposite");
            (why, reversed(cells, otherwise.as_ref(), turn, hints, &sides))
        }
        Question::Turned(codes) => {
            let why = format!(
                "{first} is read as A and {second} as B, and whether its values name them by these places or by their \
                 names cannot be known"
            );
            (why, reversed(cells, Some(&codes), Turn::Order, hints, &sides))
        }
        Question::Unread(codes) => {
            let plain = sides::order(hints.responses[0], hints.responses[1]) == Order::Plain;
            unread(cells, &|value| understood(value, &codes, hints), plain, &sides)
        }
    };
    let mut detail = format!("{count} different values, {}; {why}", shown.join(", "));
    if let Some(example) = example(cells, hints) {
        detail.push_str(&example);
    }
    PairsError::Labels { path: hints.path.to_owned(), name: cells.name.clone(), detail, hint }
}

/// A map to type: what is known, then what is not, with a `?` that no map is read with.
fn suggested(cells: &Written, known: &dyn Fn(&str) -> Option<Said>) -> String {
    let meaning = |value: &str| {
        Some(match known(value)? {
            Said::Nothing => "skip",
            Said::Share(share) => ["A", "tie", "B"][usize::from(share <= 0.5) + usize::from(share < 0.5)],
        })
    };
    let shown = cells.values.iter().take(SHOWN).map(|(value, _)| (value, meaning(value)));
    let (said, open): (Vec<_>, Vec<_>) = shown.partition(|(_, meaning)| meaning.is_some());
    let all = said.into_iter().chain(open);
    let all: Vec<String> =
        all.map(|(value, meaning)| format!("{value}={}", meaning.unwrap_or("?"))).collect();
    all.join(",").replace('\'', "'\\''")
}

/// The options for a column that may mean the opposite of what it says.
fn reversed(
    cells: &Written,
    otherwise: Option<&Codes>,
    turn: Turn,
    hints: &Hints<'_>,
    sides: &str,
) -> String {
    let read = |value: &str| otherwise.and_then(|codes| codes.read(value));
    let soft = |value: &str| matches!(read(value), Some(Said::Share(s)) if ![0.0, 0.5, 1.0].contains(&s));
    if cells.said().any(soft) && cells.said().all(|value| number(value).is_some()) {
        return format!("if 0 is for A, add `--label-scale=0..1`; if 1 is, `--label-scale=1..0` ({sides})");
    }
    // Beside a 2 nobody knows what 1 is.
    let numbers_open = cells.said().any(|value| number(value).is_some() && read(value).is_none());
    let opposite = |value: &str| match (numbers_open && number(value).is_some(), otherwise) {
        (false, Some(codes)) => turned_round(&cells.name, value, codes, turn, hints),
        _ => None,
    };
    let again = |value: &str| opposite(value).map(mirrored);
    let map = suggested(cells, &opposite);
    let count = cells.said().filter(|value| opposite(value).is_none()).count();
    let of_open = if count > 0 { ", with A, B, tie or skip for every `?`" } else { "" };
    if count == cells.said().count() {
        return format!(
            "say what each value means{of_open}: `--label-map '{map}'` ({sides}), or name a column with the preferred \
             response with `--label-column`"
        );
    }
    let [turned, plain] = turn.cases();
    let plain = format!("{plain}, `--label-map '{}'`", suggested(cells, &again));
    format!("{turned}, add `--label-map '{map}'`; {plain}{of_open} ({sides})")
}

/// What a value says where its column's name, or the order of the responses, turns it round.
fn turned_round(name: &str, value: &str, codes: &Codes, turn: Turn, hints: &Hints<'_>) -> Option<Said> {
    let said = codes.read(value)?;
    let [first, second] = hints.responses;
    Some(match (turn, says_how_far(value, hints), sides::about(name, hints.responses)) {
        (Turn::Second | Turn::Order, ..) => mirrored(said),
        (Turn::Loser, false, _) => mirrored(understood(value, codes, hints)?),
        // That B is the worse one is a vote for A.
        (Turn::Loser, true, Some(1)) => said,
        (Turn::Loser, true, Some(_)) => mirrored(said),
        (Turn::Loser, true, None) if sides::order(first, second) == Order::Plain => mirrored(said),
        (Turn::Loser, true, None) => return None,
    })
}

/// The opposite; nothing stays nothing.
fn mirrored(said: Said) -> Said {
    match said {
        Said::Share(share) => Said::Share(1.0 - share),
        Said::Nothing => Said::Nothing,
    }
}

/// What a value says for certain, where others of its column are open.
fn understood(value: &str, codes: &Codes, hints: &Hints<'_>) -> Option<Said> {
    let said = codes.read(value)?;
    let [first, second] = hints.responses;
    match (said, sides::order(first, second)) {
        _ if hints.map.is_some() => Some(said),
        (Said::Nothing, _) | (_, Order::Plain) => Some(said),
        (Said::Share(share), _) if share == 0.5 && !says_how_far(value, hints) => Some(said),
        (Said::Share(share), Order::Turned) if !says_how_far(value, hints) => Some(Said::Share(1.0 - share)),
        _ => None,
    }
}

/// Why and what to do where some values are none of the codes.
fn unread(
    cells: &Written,
    read: &dyn Fn(&str) -> Option<Said>,
    plain: bool,
    sides: &str,
) -> (String, String) {
    let unread: Vec<&str> = cells.said().filter(|value| read(value).is_none()).collect();
    let quoted: Vec<String> = unread.iter().take(4).map(|value| format!("`{}`", shorten(value))).collect();
    let mut why = format!("what {} means is not known", quoted.join(", "));
    if unread.len() < cells.said().count() {
        why += ", and a label column is read as a whole or not at all";
    }
    // Beside a 2 nobody knows what 1 is: of numbers, all are known or none.
    let numbers_open = unread.iter().any(|value| number(value).is_some());
    let known = |value: &str| read(value).filter(|_| !(numbers_open && number(value).is_some()));
    let open: Vec<&str> = cells.said().filter(|value| known(value).is_none()).collect();
    let side_known =
        cells.said().any(|value| matches!(known(value), Some(Said::Share(share)) if share != 0.5));
    let other = "`--label-column` names another column";
    // C and D are two others than A and B.
    let is_other = |word: &String| matches!(word.as_bytes(), [b'c'..=b'f']);
    let others = open.iter().any(|value| sides::words(value).iter().any(is_other));
    if let ([one, two], true) = (open.as_slice(), plain && !side_known && !others) {
        let with = |a: &str| {
            let said = |value: &str| match known(value) {
                None => Some(Said::Share(f32::from(u8::from(value == a)))),
                known => known,
            };
            suggested(cells, &said)
        };
        let hint = format!(
            "if `{}` is for A, add `--label-map '{}'`; if `{}` is, `--label-map '{}'`, or tie or skip for either \
             ({sides}); {other}",
            shorten(one),
            with(one),
            shorten(two),
            with(two)
        );
        return (why, hint);
    }
    let more = match cells.values.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(", and so on for {more} more values"),
    };
    let hint = format!(
        "say what each value means, with A, B, tie or skip for every `?`{more}: `--label-map '{}'` ({sides}); {other}",
        suggested(cells, &known)
    );
    (why, hint)
}

/// A row with its label and both responses, from which the user can tell what the label means.
fn example(cells: &Written, hints: &Hints<'_>) -> Option<String> {
    let begins = hints.example?;
    let rarest = cells.said().max_by(|a, b| {
        let size = |text: &&str| number(text).map_or(0.0, f64::abs);
        size(a).total_cmp(&size(b))
    })?;
    let row = cells.texts.iter().position(|cell| cell.map(str::trim) == Some(rarest))?;
    let [a, b] = begins(row)?;
    Some(format!("; for example row {row} has `{}`, where A is {a} and B is {b}", shorten(rarest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hints() -> Hints<'static> {
        Hints { responses: ["response_A", "response_B"], path: "test", ..Hints::default() }
    }

    fn of_text(cells: &[Option<&str>]) -> Result<Option<LabelColumn>, PairsError> {
        read(&Column::new("label".into(), cells), &hints())
    }

    fn asked(column: &Column, hints: &Hints<'_>) -> String {
        match read(column, hints) {
            Err(error @ PairsError::Labels { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
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
        assert!(labels.missing.is_empty());
    }

    #[test]
    fn a_missing_cell_is_a_tie_among_numbers_of_typed_columns_only() {
        let column = Column::new("label".into(), [Some(1i64), None, Some(0)]);
        assert_eq!(read(&column, &hints()).unwrap().unwrap().values, [1.0, 0.5, 0.0]);
        let column = Column::new("label".into(), [1.0, f64::NAN]);
        assert_eq!(read(&column, &hints()).unwrap().unwrap().values, [1.0, 0.5]);
        let csv = Hints { empty_is_nothing: true, ..hints() };
        let labels = read(&Column::new("label".into(), [Some("1"), None, Some("")]), &csv).unwrap().unwrap();
        assert_eq!(labels.missing, [1, 2]);
        let words = of_text(&[Some("A"), None, Some("")]).unwrap().unwrap();
        assert_eq!(words.missing, [1, 2]);
        assert!(of_text(&[None, None]).unwrap().is_none());
        let column = Column::new("label".into(), [Some(true), Some(false), None]);
        assert_eq!(read(&column, &hints()).unwrap().unwrap().values, [1.0, 0.0, 0.5]);
    }

    #[test]
    fn a_column_is_read_as_a_whole_or_asked_about() {
        let asks = |cells: &[Option<&str>], words: &[&str]| {
            let message = asked(&Column::new("label".into(), cells), &hints());
            for word in words {
                assert!(message.contains(word), "{word} is not in {message}");
            }
        };
        asks(
            &[Some("A"), Some("maybe"), Some("a better one")],
            &["`maybe`", "as a whole", "A=A", "--label-map"],
        );
        asks(
            &[Some("good"), Some("bad"), Some("bad")],
            &["`bad` (2), `good` (1)", "'bad=A,good=B'", "'bad=B,good=A'"],
        );
        asks(&[Some("1"), Some("2"), Some("tie")], &["'1=A,2=B,tie=tie'", "'1=B,2=A,tie=tie'"]);
        // Nothing is proposed that is not known, and a map with a `?` is not read.
        asks(&[Some(">"), Some(">>"), Some("<<"), Some("=")], &["<<=?", ">>=?", "==?"]);
        asks(&[Some("A"), Some("1"), Some("2"), Some("tie")], &["'A=A,tie=tie,1=?,2=?'"]);
        asks(&[Some("A"), Some("B"), Some("C")], &["'A=A,B=B,C=?'"]);
        asks(&[Some("C"), Some("D")], &["'C=?,D=?'"]);
        assert!("A=A,tie=tie,1=?,2=?".parse::<LabelMap>().is_err());
        let numbers = |cells: &[f64]| Column::new("y".into(), cells);
        for (cells, words) in [
            (&[-3.0, 0.0, 2.0][..], &["--label-scale=-3..3", "--label-scale=3..-3"][..]),
            (&[1.0, 7.0, 4.0], &["--label-scale=1..7"]),
            (&[1.0, 2.0, 2.0], &["--label-scale=1..2"]),
            (&[0.0, 1.0, 2.0], &["0=A,1=tie,2=B"]),
            (&[0.0, 1.0, 7.0], &["--label-scale=0..7"]),
            (&[12.0, 80.0], &["--label-scale=0..100"]),
            (&[-1.0, 0.5], &["--label-scale=-1..1"]),
        ] {
            let message = asked(&numbers(cells), &hints());
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
        let message = asked(&Column::new("winner_id".into(), [0i64, 1]), &hints());
        assert!(message.contains("0=A,1=B"), "{message}");
        let zero = Hints { responses: ["response_0", "response_1"], ..hints() };
        assert!(asked(&Column::new("label".into(), [0i64, 1]), &zero).contains("1=A,0=B"));
        let labels = read(&numbers(&[1.0, -1.0, 0.0]), &hints()).unwrap().unwrap();
        assert_eq!((labels.values, labels.codes), (vec![1.0, 0.0, 0.5], Codes::Signs));
    }

    #[test]
    fn a_slip_in_hundreds_is_left_out_by_name_and_more_is_a_question() {
        let column = |slips: usize| {
            let cells = (0..1500usize).map(|i| if i < slips { 7.0 + i as f64 } else { (i % 2) as f64 });
            Column::new("y".into(), cells.collect::<Vec<f64>>())
        };
        let labels = read(&column(3), &hints()).unwrap().unwrap();
        assert_eq!(labels.unknown, [(0, "7".to_owned()), (1, "8".into()), (2, "9".into())]);
        assert!(labels.notes[1].contains("3 rows left out"), "{:?}", labels.notes);
        assert!(labels.values[3..].iter().all(|value| !value.is_nan()));
        asked(&column(4), &hints());
        asked(&column(1).head(Some(400)), &hints());
        // A scale is no slip, however few its middle.
        let scale = (0..1500usize).map(|i| if i == 7 { 3.0 } else { 1.0 + (i % 2) as f64 });
        asked(&Column::new("y".into(), scale.collect::<Vec<f64>>()), &hints());
    }

    #[test]
    fn what_is_said_by_hand_counts() {
        let column = Column::new("y".into(), [-3i64, 0, 2]);
        let with = Hints { scale: Some("-3..3".parse().unwrap()), ..hints() };
        let labels = read(&column, &with).unwrap().unwrap();
        assert_eq!(labels.values, [1.0, 0.5, 0.0]);
        assert!(labels.notes[0].contains("2 labels, 1 ties"), "{:?}", labels.notes);
        let with = Hints { scale: Some("1..2".parse().unwrap()), ..hints() };
        assert!(asked(&column, &with).contains("does not hold all"));
        let words = Column::new("y".into(), ["1", "2", "tie"]);
        let message = asked(&words, &with);
        assert!(message.contains("`tie` is no number") && message.contains("'1=A,2=B,tie=tie'"), "{message}");
        let map: LabelMap = "-3=A,0=tie".parse().unwrap();
        assert!(asked(&column, &Hints { map: Some(&map), ..hints() }).contains("`2`"));
        let map: LabelMap = "-3=B,0=skip,2=A".parse().unwrap();
        let labels = read(&column, &Hints { map: Some(&map), ..hints() }).unwrap().unwrap();
        assert_eq!((labels.values[0], labels.values[2], labels.missing), (0.0, 1.0, vec![1]));
        let soft = Column::new("y".into(), [75.0, 20.0]);
        let with = Hints { scale: Some("100..0".parse().unwrap()), ..hints() };
        assert_eq!(read(&soft, &with).unwrap().unwrap().values, [0.75, 0.2]);
    }

    #[test]
    fn classes_numbers_and_rows_tell_what_the_cells_do_not() {
        let column = Column::new("y".into(), [0i64, 1, 2]);
        let names = ["A", "B", "tie"].map(String::from);
        let labels = read(&column, &Hints { classes: Some(&names), ..hints() }).unwrap().unwrap();
        assert_eq!(labels.values, [1.0, 0.0, 0.5]);
        let names = ["good", "bad", "ugly"].map(String::from);
        assert!(asked(&column, &Hints { classes: Some(&names), ..hints() }).contains("`0` = good"));
        // −1 is no label in `datasets`.
        let names = ["response_A", "response_B"].map(String::from);
        let column = Column::new("y".into(), [0i64, -1, 1]);
        let labels = read(&column, &Hints { classes: Some(&names), ..hints() }).unwrap().unwrap();
        assert_eq!((labels.values[0], labels.values[2], labels.missing), (1.0, 0.0, vec![1]));
        let numbered = Hints { responses: ["output_1", "output_2"], ..hints() };
        let labels = read(&Column::new("y".into(), [1.0, 2.0, 1.5, 1.25]), &numbered).unwrap().unwrap();
        assert_eq!(labels.values, [1.0, 0.0, 0.5, 0.75]);
        let column = |name: &str, cells: [&str; 3]| -> StringChunked {
            StringChunked::from_iter_values(name.into(), cells.into_iter())
        };
        let named = vec![[column("model_a", ["x", "y", "x"]), column("model_b", ["y", "x", "y"])]];
        let labels = read(&Column::new("winner".into(), ["x", "x", "tie"]), &Hints { named, ..hints() })
            .unwrap()
            .unwrap();
        assert_eq!(labels.values, [1.0, 0.0, 0.5]);
        let labels = of_text(&[Some("response_0"), Some("response_1")]).unwrap().unwrap();
        assert_eq!(labels.values, [1.0, 0.0]);
        let labels = of_text(&[Some("response_1"), Some("response_2")]).unwrap().unwrap();
        assert_eq!(labels.values, [1.0, 0.0]);
    }

    #[test]
    fn a_response_is_meant_by_its_name_whichever_is_called_a() {
        let of = |responses: [&'static str; 2], cells: &[&str]| {
            read(&Column::new("winner".into(), cells), &Hints { responses, ..hints() })
        };
        for (responses, cells) in [
            (["response_b", "response_a"], ["response_a", "response_b", "tie"]),
            (["response_b", "response_a"], ["A is better", "prefer B", "same"]),
            (["conversation_b", "conversation_a"], ["model_a", "model_b", "tie (bothbad)"]),
            (["answer_2", "answer_1"], ["answer_1", "answer_2", "equal"]),
            (["right answer", "left answer"], ["left", "right", "both"]),
            (["Assistant B", "Assistant A"], ["Assistant A", "Assistant B", "tie"]),
            (["answer_1", "answer_0"], ["answer_0", "answer_1", "tie"]),
            (["reply_new", "reply_old"], ["old", "new", "tie"]),
            (["answer_3", "answer_1"], ["answer_1", "answer_3", "tie"]),
        ] {
            let labels = of(responses, &cells).unwrap().unwrap();
            assert_eq!(labels.values, [0.0, 1.0, 0.5], "{responses:?}");
            // What is read can be turned.
            let turned = labels.codes.opposite(cells[0]).unwrap();
            assert_eq!(labels.codes.read(&turned), Some(Said::Share(1.0)), "{responses:?}");
        }
        // What goes by no name is asked about, and so is the name of a third response.
        let asks = |responses: [&'static str; 2], column: &Column, words: &[&str]| {
            let message = asked(column, &Hints { responses, ..hints() });
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        };
        let turned = ["response_b", "response_a"];
        asks(turned, &Column::new("y".into(), [1i64, 0, 1]), &["'1=B,0=A'", "'1=A,0=B'"]);
        asks(turned, &Column::new("y".into(), [0.75, 0.0]), &["--label-scale=0..1", "--label-scale=1..0"]);
        asks(turned, &Column::new("y".into(), ["A", "B", "other"]), &["'A=B,B=A,other=?'"]);
        asks(turned, &Column::new("a_is_better".into(), [true, false]), &["'false=A,true=B'"]);
        asks(["answer_1", "answer_3"], &Column::new("y".into(), ["answer_1", "answer_2"]), &["answer_2=?"]);
        let labels =
            read(&Column::new("b_is_better".into(), [true, false]), &Hints { responses: turned, ..hints() });
        assert_eq!(labels.unwrap().unwrap().values, [1.0, 0.0]);
        // The numbers of classes go by the classes' names.
        let names = ["response_a", "response_b"].map(String::from);
        let with = Hints { responses: turned, classes: Some(&names), ..hints() };
        let labels = read(&Column::new("y".into(), [0i64, 1]), &with).unwrap().unwrap();
        assert_eq!(labels.values, [0.0, 1.0]);
    }

    #[test]
    fn a_column_that_is_named_for_b_or_for_the_loser_is_asked_about() {
        let asks = |name: &str, cells: &[&str], words: &[&str]| {
            let message = asked(&Column::new(name.into(), cells), &hints());
            assert!(words.iter().all(|word| message.contains(word)), "{name}: {message}");
        };
        for name in ["b_is_better", "prefer_b", "second_wins", "p_b"] {
            asks(name, &["true", "false", "false"], &["'false=A,true=B'", "'false=B,true=A'"]);
        }
        asks("p_b", &["0.25", "1"], &["--label-scale=0..1"]);
        asks("loser", &["response_A", "response_B"], &["'response_A=B,response_B=A'", "lost"]);
        asks("worse_response", &["A", "B", "tie"], &["'A=B,B=A,tie=tie'"]);
        asks("rejected_index", &["0", "1", "1"], &["lost, add `--label-map '1=A,0=B'`"]);
        asks("loser", &["1", "2", "2"], &["'2=?,1=?'"]);
        asks("loser_model", &["gpt", "claude"], &["'claude=?,gpt=?'"]);
        asks("worse_a", &["0", "1", "1"], &["lost, add `--label-map '1=B,0=A'`"]);
        // That B is the worse one is a vote for A, and whichever column is called A keeps its name.
        asks("worse_b", &["0", "1", "1"], &["lost, add `--label-map '1=A,0=B'`"]);
        let turned = |name: &str, cells: &[&str]| {
            let with = Hints { responses: ["response_b", "response_a"], ..hints() };
            asked(&Column::new(name.into(), cells), &with)
        };
        assert!(turned("loser", &["A", "B", "B"]).contains("lost, add `--label-map 'B=B,A=A'`"));
        assert!(turned("worse_a", &["0", "1", "1"]).contains("lost, add `--label-map '1=A,0=B'`"));
        assert!(turned("rejected_index", &["0", "1", "1"]).contains("'1=?,0=?'"));
        for name in ["label_b", "prefer_b"] {
            let labels = read(&Column::new(name.into(), ["A", "B"]), &hints()).unwrap().unwrap();
            assert_eq!(labels.values, [1.0, 0.0], "values that name a response need no such question");
        }
        let column = Column::new("a_better".into(), [true, false]);
        assert_eq!(read(&column, &hints()).unwrap().unwrap().values, [1.0, 0.0]);
        let map: LabelMap = "A=B,B=A".parse().unwrap();
        let by_hand = Hints { map: Some(&map), ..hints() };
        let labels = read(&Column::new("loser".into(), ["A", "B"]), &by_hand).unwrap().unwrap();
        assert_eq!(labels.values, [0.0, 1.0]);
    }

    #[test]
    fn a_missing_number_is_no_tie_where_the_codes_are_not_this_projects() {
        let column = Column::new("preference".into(), [Some(1.0), None, Some(2.0)]);
        let known = Hints { known: Some(Codes::Numbered), ..hints() };
        assert_eq!(read(&column, &known).unwrap().unwrap().missing, [1]);
        let numbered = Hints { responses: ["output_1", "output_2"], ..hints() };
        assert_eq!(read(&column, &numbered).unwrap().unwrap().missing, [1]);
    }

    #[test]
    fn lists_are_no_labels_unless_they_hold_one() {
        let list = |values: &[i64]| Series::new("".into(), values);
        let message = read(&Column::new("y".into(), [list(&[1, 0])]), &hints()).unwrap_err().to_string();
        assert!(message.contains("list of number"), "{message}");
        let labels = read(&Column::new("y".into(), [list(&[1]), list(&[0])]), &hints()).unwrap().unwrap();
        assert_eq!(labels.values, [1.0, 0.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever stands in a column: either every cell counts, or none does and the user is asked.
        #[test]
        fn no_column_is_read_in_part(
            cells in prop::collection::vec(prop::sample::select(vec![
                "A", "B", "tie", "1", "0", "2", "-1", "3", "7", "0.5", "1.5", "-3", "100", "75%", "yes", "no", "chosen", "model_a",
                "response_1", "response_2", "response_0", "A>>B", "maybe", "left", "gpt-4", "Response A is better", "true", "",
            ]), 1..6),
            typed in any::<bool>(),
            responses in prop::sample::select(vec![
                ["response_A", "response_B"], ["output_1", "output_2"], ["response_b", "response_a"], ["answer_1", "answer_3"],
            ]),
        ) {
            let numbers: Option<Vec<f64>> = cells.iter().map(|cell| cell.parse().ok()).collect();
            let column = match numbers.filter(|_| typed) {
                Some(numbers) => Column::new("label".into(), numbers),
                None => Column::new("label".into(), &cells),
            };
            match read(&column, &Hints { responses, ..hints() }) {
                Ok(Some(labels)) => {
                    for (cell, value) in cells.iter().zip(&labels.values) {
                        prop_assert_eq!(value.is_nan(), cell.is_empty(), "{:?} in {:?}: {}", cell, cells, value);
                        prop_assert!(value.is_nan() || (0.0..=1.0).contains(value));
                    }
                }
                Ok(None) => prop_assert!(cells.iter().all(|cell| cell.is_empty())),
                Err(PairsError::Labels { hint, .. }) => prop_assert!(hint.contains("--label-")),
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }
}
