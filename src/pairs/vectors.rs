//! The user's own vectors: `e(A) − e(B)` straight from two columns of lists or arrays.

use polars::prelude::*;

use super::columns::type_name;
use super::error::PairsError;
use super::sample::{PIECE, taken};
use super::table::Table;
use crate::limits::{DIMENSIONS, VECTORS};
use crate::matrix::Matrix;

/// Rows that cannot be used, with the reason.
type Unusable = Vec<(u32, &'static str)>;

/// Differences of two vector columns, one row per row of the source, `[rows, dimensions]`, and the rows
/// that cannot be used, with the reason.
///
/// One column of one file at a time is in memory beside the result, or a piece of it where only some rows are `kept`.
pub(super) fn deltas(
    tables: &[Table],
    columns: (&str, &str),
    (rows, kept): (usize, Option<&[u32]>),
    path: &str,
) -> Result<(Matrix, Unusable), PairsError> {
    let mut sum = Accumulator { rows, ..Accumulator::default() };
    for (name, sign) in [(columns.0, 1.0), (columns.1, -1.0)] {
        let (mut start, mut seen) = (0, 0);
        for table in tables {
            let names = [name.to_owned()];
            let Some(kept) = kept else {
                start = sum.add(&table.load(&names)?, name, sign, start, path)?;
                continue;
            };
            table.pieces(&names, PIECE, &mut |piece| {
                let (from, to) = (seen, seen + piece.height());
                let place = |row: usize| kept.partition_point(|kept| (*kept as usize) < row);
                let wanted = kept.get(place(from)..place(to)).unwrap_or_default();
                let wanted: Vec<IdxSize> = wanted.iter().map(|row| row - from as u32).collect();
                start = sum.add(&taken(&piece, &wanted, path)?, name, sign, start, path)?;
                seen = to;
                Ok(())
            })?;
        }
    }
    Ok(sum.finish())
}

/// The same for rows that are in memory; all zeros and "missing vector" where no row has one.
pub(super) fn deltas_of(
    frame: &DataFrame,
    columns: (&str, &str),
    path: &str,
) -> Result<(Matrix, Unusable), PairsError> {
    let mut sum = Accumulator { rows: frame.height(), ..Accumulator::default() };
    for (name, sign) in [(columns.0, 1.0), (columns.1, -1.0)] {
        sum.add(frame, name, sign, 0, path)?;
    }
    Ok(sum.finish())
}

#[derive(Default)]
struct Accumulator {
    values: Vec<f32>,
    dimensions: usize,
    rows: usize,
    missing: Vec<u32>,
}

impl Accumulator {
    /// The sums, and the rows that have none.
    fn finish(self) -> (Matrix, Unusable) {
        let matrix = Matrix { values: self.values, cols: self.dimensions };
        let mut bad: Unusable = self.missing.into_iter().map(|row| (row, "missing vector")).collect();
        for (row, vector) in matrix.values.chunks_exact(matrix.cols.max(1)).enumerate() {
            // A sum with anything that is not finite is not finite; the reverse is checked only then.
            if !vector.iter().sum::<f32>().is_finite() && vector.iter().any(|x| !x.is_finite()) {
                bad.push((row as u32, "non-finite vector"));
            }
        }
        (matrix, bad)
    }

    /// Adds `sign` times the vectors of a column to the rows from `start` on; returns the row after.
    fn add(
        &mut self,
        frame: &DataFrame,
        name: &str,
        sign: f32,
        start: usize,
        path: &str,
    ) -> Result<usize, PairsError> {
        let wrong = |dtype: &DataType| PairsError::ColumnType {
            path: path.to_owned(),
            name: name.to_owned(),
            found: type_name(dtype),
            expected: "vectors (lists or arrays of numbers)",
            hint: "name two columns of vectors: `--embedding-columns A,B`",
        };
        let column = frame.column(name).map_err(|_| wrong(&DataType::Null))?;
        let series = column.as_materialized_series();
        let series = match series.dtype() {
            DataType::String => from_text(series).ok_or_else(|| wrong(series.dtype()))?,
            DataType::List(inner) | DataType::Array(inner, _) => match &**inner {
                DataType::Float32 | DataType::Float64 => series.clone(),
                inner if inner.is_numeric() => {
                    let to = DataType::List(Box::new(DataType::Float64));
                    series.cast(&to).map_err(|_| wrong(series.dtype()))?
                }
                _ => return Err(wrong(series.dtype())),
            },
            DataType::Null => {
                self.missing.extend((start..start + series.len()).map(|row| row as u32));
                return Ok(start + series.len());
            }
            other => return Err(wrong(other)),
        };
        let (inner, spans) = spans(&series).ok_or_else(|| wrong(series.dtype()))?;
        let mut row = start;
        if let Ok(values) = inner.f32() {
            for (chunk, spans) in values.downcast_iter().zip(&spans) {
                let nulls = chunk.validity().filter(|bits| bits.unset_bits() > 0);
                let is_null = |i: usize| nulls.is_some_and(|bits| !bits.get(i).unwrap_or(true));
                self.add_chunk(
                    chunk.values(),
                    nulls.is_some(),
                    is_null,
                    spans,
                    sign,
                    &mut row,
                    (name, path),
                )?;
            }
        } else if let Ok(values) = inner.f64() {
            for (chunk, spans) in values.downcast_iter().zip(&spans) {
                let nulls = chunk.validity().filter(|bits| bits.unset_bits() > 0);
                let is_null = |i: usize| nulls.is_some_and(|bits| !bits.get(i).unwrap_or(true));
                self.add_chunk(
                    chunk.values(),
                    nulls.is_some(),
                    is_null,
                    spans,
                    sign,
                    &mut row,
                    (name, path),
                )?;
            }
        }
        Ok(row)
    }

    #[allow(clippy::too_many_arguments, reason = "private; the two number types share this body")]
    fn add_chunk<T: AsF32>(
        &mut self,
        values: &[T],
        any_null: bool,
        is_null: impl Fn(usize) -> bool,
        spans: &[Option<(usize, usize)>],
        sign: f32,
        row: &mut usize,
        (column, path): (&str, &str),
    ) -> Result<(), PairsError> {
        for span in spans {
            let current = *row;
            *row += 1;
            let Some((from, length)) = *span else {
                self.missing.push(current as u32);
                continue;
            };
            if self.dimensions == 0 && length > 0 {
                let bytes = (self.rows as u64).saturating_mul(length as u64).saturating_mul(4);
                let checked = DIMENSIONS.check(length as u64).and_then(|()| VECTORS.check(bytes));
                checked.map_err(|too_much| PairsError::TooMuch {
                    path: path.into(),
                    too_much,
                    at: format!(" in column `{column}`"),
                })?;
                self.dimensions = length;
                self.values = vec![0.0; self.rows * length];
            }
            if length != self.dimensions || length == 0 {
                return Err(PairsError::VectorDimension {
                    column: column.to_owned(),
                    row: current,
                    expected: self.dimensions,
                    found: length,
                });
            }
            let at = current * length;
            let (Some(target), Some(source)) =
                (self.values.get_mut(at..at + length), values.get(from..from + length))
            else {
                self.missing.push(current as u32);
                continue;
            };
            for (x, y) in target.iter_mut().zip(source) {
                *x += sign * y.as_f32();
            }
            if any_null && (from..from + length).any(&is_null) {
                target.fill(f32::NAN);
            }
        }
        Ok(())
    }
}

/// Where each vector of a chunk lies in its flat values; `None` for a null.
type Spans = Vec<Option<(usize, usize)>>;

/// The flat values of a column of lists or arrays, and the spans of each chunk.
fn spans(series: &Series) -> Option<(Series, Vec<Spans>)> {
    let mut spans = Vec::new();
    if let Ok(list) = series.list() {
        for chunk in list.downcast_iter() {
            let ends = chunk.offsets().iter().zip(chunk.offsets().iter().skip(1)).enumerate();
            let span = |(i, (&from, &to)): (usize, (&i64, &i64))| {
                let valid = chunk.validity().is_none_or(|bits| bits.get(i).unwrap_or(false));
                valid.then_some((from as usize, (to - from) as usize))
            };
            spans.push(ends.map(span).collect());
        }
        return Some((list.get_inner(), spans));
    }
    let array = series.array().ok()?;
    let width = array.width();
    for chunk in array.downcast_iter() {
        let rows = chunk.values().len().checked_div(width).unwrap_or(0);
        let span = |i: usize| {
            let valid = chunk.validity().is_none_or(|bits| bits.get(i).unwrap_or(false));
            valid.then_some((i * width, width))
        };
        spans.push((0..rows).map(span).collect());
    }
    Some((array.get_inner(), spans))
}

/// Numbers that vectors are made of.
trait AsF32 {
    fn as_f32(&self) -> f32;
}

impl AsF32 for f32 {
    fn as_f32(&self) -> f32 {
        *self
    }
}

impl AsF32 for f64 {
    fn as_f32(&self) -> f32 {
        *self as f32
    }
}

/// Vectors written as JSON lists in text cells, as in CSV files; a cell that is none is a missing vector.
fn from_text(series: &Series) -> Option<Series> {
    let text = series.str().ok()?;
    let first = text.iter().flatten().find(|cell| !cell.trim().is_empty())?;
    serde_json::from_str::<Vec<f32>>(first).ok()?;
    let mut builder = ListPrimitiveChunkedBuilder::<Float32Type>::new(
        series.name().clone(),
        series.len(),
        0,
        DataType::Float32,
    );
    for cell in text.iter() {
        match cell.and_then(|cell| serde_json::from_str::<Vec<Option<f32>>>(cell).ok()) {
            Some(values) => builder.append_iter(values.into_iter()),
            None => builder.append_null(),
        }
    }
    Some(builder.finish().into_series())
}
