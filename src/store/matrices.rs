//! Matrices by pair as Parquet: `pair_id`, and a column for each name.

use std::path::Path;

use polars::prelude::*;
use rayon::prelude::*;

use super::atomic::write_parquet_parts;
use super::error::StoreError;
use crate::matrix::Matrix;

/// Rows that are put together at a time.
const NEAR: usize = 256;
/// Rows that are read or written at a time: of hundreds of features some 200 MB.
const TOGETHER: usize = 1 << 17;

pub(crate) fn failed(action: &'static str, path: &Path) -> impl Fn(PolarsError) -> StoreError {
    let path = path.to_path_buf();
    move |error| StoreError::Table { action, path: path.clone(), message: error.to_string() }
}

pub(crate) fn frame(path: &Path, columns: Vec<Column>) -> Result<DataFrame, StoreError> {
    let height = columns.first().map_or(0, Column::len);
    DataFrame::new(height, columns).map_err(failed("write", path))
}

/// A matrix with one named `f32` column per feature, and the pairs' ids where given.
pub fn write_matrix(
    path: &Path,
    pair_ids: &[String],
    names: &[String],
    matrix: &Matrix,
) -> Result<(), StoreError> {
    let rows = pair_ids.len();
    // A part at a time: a second copy of all would be gigabytes. A table without rows is a part, too.
    let parts = (0..rows.max(1)).step_by(TOGETHER).map(|from| {
        let range = from..rows.min(from + TOGETHER);
        let mut columns =
            vec![Column::new("pair_id".into(), pair_ids.get(range.clone()).unwrap_or_default())];
        for (name, values) in names.iter().zip(matrix.all_columns(range)) {
            columns.push(Column::new(name.as_str().into(), values));
        }
        frame(path, columns)
    });
    write_parquet_parts(path, parts)
}

/// Reads what [`write_matrix`] wrote, `[pairs, names]`.
pub fn read_matrix(path: &Path, pairs: usize, names: &[String]) -> Result<Matrix, StoreError> {
    let open = || {
        let file = crate::limits::open(path).map_err(|source| StoreError::Io {
            action: "read",
            path: path.into(),
            source,
        })?;
        Ok(ParquetReader::new(file))
    };
    let content = |message: String| StoreError::Content { path: path.into(), message };
    let rows = open()?.num_rows().map_err(failed("read", path))?;
    if rows != pairs {
        return Err(content(format!("{rows} rows where {pairs} pairs are expected")));
    }
    let mut matrix = Matrix::zeros(pairs, names.len());
    let cols = names.len().max(1);
    for (from, rows) in (0..pairs).step_by(TOGETHER).zip(matrix.values.chunks_mut(TOGETHER * cols)) {
        let table =
            open()?.with_slice(Some((from, rows.len() / cols))).finish().map_err(failed("read", path))?;
        read_part(path, &table, names, rows)?;
    }
    Ok(matrix)
}

/// Some rows, ascending, of what [`write_matrix`] wrote, `[rows, names]`.
pub fn read_matrix_rows(
    path: &Path,
    pairs: usize,
    names: &[String],
    rows: &[u32],
) -> Result<Matrix, StoreError> {
    let cols = names.len();
    let mut matrix = Matrix { values: Vec::with_capacity(rows.len() * cols), cols };
    let mut part = Matrix { values: vec![0.0; TOGETHER.min(pairs) * cols], cols };
    let mut rest = rows;
    for from in (0..pairs).step_by(TOGETHER) {
        let to = pairs.min(from + TOGETHER);
        let (own, later) = rest.split_at(rest.partition_point(|&row| (row as usize) < to));
        rest = later;
        if own.is_empty() {
            continue;
        }
        let file = crate::limits::open(path).map_err(|source| StoreError::Io {
            action: "read",
            path: path.into(),
            source,
        })?;
        let table = ParquetReader::new(file).with_slice(Some((from, to - from))).finish();
        read_part(
            path,
            &table.map_err(failed("read", path))?,
            names,
            &mut part.values[..(to - from) * cols],
        )?;
        own.iter().for_each(|&row| matrix.values.extend_from_slice(part.row(row as usize - from)));
    }
    Ok(matrix)
}

/// The columns `names` of a table into rows of a matrix.
fn read_part(path: &Path, table: &DataFrame, names: &[String], rows: &mut [f32]) -> Result<(), StoreError> {
    let content = |message: String| StoreError::Content { path: path.into(), message };
    if table.height() * names.len() != rows.len() {
        return Err(content(format!("a part of it has {} rows, which is not what it says", table.height())));
    }
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let column = table.column(name).map_err(failed("read", path))?;
        let values = column.f32().map_err(failed("read", path))?.rechunk().into_owned();
        if values.null_count() > 0 {
            return Err(content(format!("column `{name}` has gaps")));
        }
        columns.push(values);
    }
    let columns: Vec<&[f32]> = columns
        .iter()
        .map(|values| values.cont_slice())
        .collect::<PolarsResult<_>>()
        .map_err(failed("read", path))?;
    // Some rows of all columns at a time, so that what is written stays near.
    rows.par_chunks_mut(names.len().max(1) * NEAR).enumerate().for_each(|(block, rows)| {
        for (at, column) in columns.iter().enumerate() {
            let values = column.get(block * NEAR..).unwrap_or_default();
            rows.iter_mut()
                .skip(at)
                .step_by(columns.len())
                .zip(values)
                .for_each(|(slot, value)| *slot = *value);
        }
    });
    Ok(())
}
