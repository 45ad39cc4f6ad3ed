//! Columns of lists of records, flattened, and plain columns as numbers.

use std::ops::Range;

use polars::prelude::*;
use serde_json::{Map, Number, Value};

use super::columns::type_name;
use super::error::PairsError;

/// A column of lists of records: row `i` is the records `offsets[i]..offsets[i + 1]`.
pub(super) struct Records {
    offsets: Vec<usize>,
    valid: Vec<bool>,
    records: StructChunked,
}

impl Records {
    /// From a list column; `expected` says in plural what its cells should be.
    pub fn new(column: &Column, expected: &'static str, path: &str) -> Result<Self, PairsError> {
        Self::of(column).ok_or_else(|| PairsError::ColumnType {
            path: path.to_owned(),
            name: column.name().to_string(),
            found: type_name(column.dtype()),
            expected,
            hint: "read the file as it was published (Parquet or JSON), not a table made of it",
        })
    }

    fn of(column: &Column) -> Option<Self> {
        let list = column.list().ok()?.rechunk();
        let array = list.downcast_iter().next()?;
        let offsets: Vec<usize> =
            array.offsets().iter().map(|offset| usize::try_from(*offset).ok()).collect::<Option<_>>()?;
        let valid = (0..list.len())
            .map(|i| array.validity().is_none_or(|bits| bits.get(i).unwrap_or(false)))
            .collect();
        let records = list.get_inner().struct_().ok()?.clone();
        Some(Self { offsets, valid, records })
    }

    /// The records of a row.
    pub fn range(&self, row: usize) -> Range<usize> {
        match self.valid.get(row) {
            Some(true) => {
                let at = |i: usize| self.offsets.get(i).copied().unwrap_or(0);
                at(row)..at(row + 1).max(at(row))
            }
            _ => 0..0,
        }
    }

    /// A field, over all records.
    pub fn field(&self, name: &str) -> Option<Series> {
        self.records.field_by_name(name).ok()
    }

    /// Texts of a field, over all records; `None` for records and lists, which are no texts.
    pub fn texts(&self, field: &str) -> Option<StringChunked> {
        let field = self.field(field).filter(|field| !field.dtype().is_nested())?;
        let series = field.cast(&DataType::String).ok()?;
        Some(series.str().ok()?.rechunk().into_owned())
    }

    /// Numbers of a field, or of a field of a record in a field; NaN where there is none.
    pub fn numbers(&self, path: &[&str]) -> Option<Vec<f64>> {
        let (first, rest) = path.split_first()?;
        let mut series = self.records.field_by_name(first).ok()?;
        for name in rest {
            series = series.struct_().ok()?.field_by_name(name).ok()?;
        }
        numbers(&series)
    }
}

/// A cell of any type as JSON; dates and the like as they are written.
pub(super) fn json_of(cell: &AnyValue<'_>) -> Value {
    match cell {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(value) => Value::Bool(*value),
        AnyValue::String(text) => Value::String((*text).to_owned()),
        AnyValue::StringOwned(text) => Value::String(text.to_string()),
        AnyValue::Binary(bytes) => text_of(bytes),
        AnyValue::BinaryOwned(bytes) => text_of(bytes),
        AnyValue::List(list) | AnyValue::Array(list, _) => {
            Value::Array(list.iter().map(|cell| json_of(&cell)).collect())
        }
        AnyValue::Struct(..) | AnyValue::StructOwned(_) => {
            let mut fields = Map::new();
            let (names, values): (Vec<String>, Vec<Value>) = match cell {
                AnyValue::StructOwned(inner) => (
                    inner.1.iter().map(|field| field.name.to_string()).collect(),
                    inner.0.iter().map(json_of).collect(),
                ),
                AnyValue::Struct(_, _, known) => (
                    known.iter().map(|field| field.name.to_string()).collect(),
                    cell._iter_struct_av().map(|value| json_of(&value)).collect(),
                ),
                _ => Default::default(),
            };
            fields.extend(names.into_iter().zip(values));
            Value::Object(fields)
        }
        other => match (other.extract::<i64>(), other.extract::<f64>()) {
            (Some(whole), Some(number)) if whole as f64 == number => Value::Number(whole.into()),
            (_, Some(number)) => Number::from_f64(number).map_or(Value::Null, Value::Number),
            _ => Value::String(other.to_string()),
        },
    }
}

fn text_of(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or(Value::Null, |text| Value::String(text.to_owned()))
}

/// A column's numbers, also those written as text or true/false; NaN where there is none.
pub(super) fn numbers(series: &Series) -> Option<Vec<f64>> {
    if series.dtype().is_nested() {
        return None;
    }
    let numbers = series.cast(&DataType::Float64).ok()?;
    Some(numbers.f64().ok()?.iter().map(|x| x.unwrap_or(f64::NAN)).collect())
}

/// The elements of a column of lists: those of row `i` are `ranges[i]`.
type Elements<T> = (Vec<Range<usize>>, T);

fn flat(column: &Column, expected: &'static str, path: &str) -> Result<Elements<Series>, PairsError> {
    let wrong = || PairsError::ColumnType {
        path: path.to_owned(),
        name: column.name().to_string(),
        found: type_name(column.dtype()),
        expected,
        hint: "read the file as it was published (Parquet or JSON), not a table made of it",
    };
    let list = column.list().map_err(|_| wrong())?.rechunk();
    let array = list.downcast_iter().next().ok_or_else(wrong)?;
    let offsets: Vec<usize> =
        array.offsets().iter().map(|offset| usize::try_from(*offset).unwrap_or(0)).collect();
    let valid = |i: usize| array.validity().is_none_or(|bits| bits.get(i).unwrap_or(false));
    let ranges = offsets.windows(2).enumerate().map(|(i, ends)| match ends {
        [from, to] if valid(i) => *from..*to,
        _ => 0..0,
    });
    Ok((ranges.collect(), list.get_inner()))
}

/// A column of lists of texts.
pub(super) fn lists(column: &Column, path: &str) -> Result<Elements<StringChunked>, PairsError> {
    let (ranges, inner) = flat(column, "lists of texts", path)?;
    let texts =
        inner.cast(&DataType::String).ok().and_then(|texts| Some(texts.str().ok()?.rechunk().into_owned()));
    Ok((ranges, texts.unwrap_or_default()))
}

/// A column of lists of numbers; NaN where there is none.
pub(super) fn numbers_in(column: &Column, path: &str) -> Result<Elements<Vec<f64>>, PairsError> {
    let (ranges, inner) = flat(column, "lists of numbers", path)?;
    Ok((ranges, numbers(&inner).unwrap_or_default()))
}
