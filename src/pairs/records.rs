//! Columns of lists of records, flattened, and plain columns as numbers.

use std::ops::Range;

use polars::prelude::*;

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

    /// Texts of a field, over all records.
    pub fn texts(&self, field: &str) -> Option<StringChunked> {
        let series = self.records.field_by_name(field).ok()?.cast(&DataType::String).ok()?;
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

/// A column's numbers, also those written as text or true/false; NaN where there is none.
pub(super) fn numbers(series: &Series) -> Option<Vec<f64>> {
    if series.dtype().is_nested() {
        return None;
    }
    let numbers = series.cast(&DataType::Float64).ok()?;
    Some(numbers.f64().ok()?.iter().map(|x| x.unwrap_or(f64::NAN)).collect())
}
