//! Matrices by pair as Parquet: `pair_id`, and a column for each name.

use std::path::Path;

use polars::prelude::*;
use rayon::prelude::*;

use super::atomic::write_parquet_plain;
use super::error::StoreError;
use crate::matrix::Matrix;

/// Rows that are put together at a time.
const NEAR: usize = 256;

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
    let mut columns = vec![Column::new("pair_id".into(), pair_ids)];
    for (name, values) in names.iter().zip(matrix.all_columns()) {
        columns.push(Column::new(name.as_str().into(), values));
    }
    write_parquet_plain(path, &mut frame(path, columns)?)
}

/// Reads what [`write_matrix`] wrote, `[pairs, names]`.
pub fn read_matrix(path: &Path, pairs: usize, names: &[String]) -> Result<Matrix, StoreError> {
    let file = crate::limits::open(path).map_err(|source| StoreError::Io {
        action: "read",
        path: path.into(),
        source,
    })?;
    let table = ParquetReader::new(file).finish().map_err(failed("read", path))?;
    let content = |message: String| StoreError::Content { path: path.into(), message };
    if table.height() != pairs {
        return Err(content(format!("{} rows where {pairs} pairs are expected", table.height())));
    }
    let mut matrix = Matrix::zeros(pairs, names.len());
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
    matrix.values.par_chunks_mut(names.len().max(1) * NEAR).enumerate().for_each(|(block, rows)| {
        for (at, column) in columns.iter().enumerate() {
            let values = column.get(block * NEAR..).unwrap_or_default();
            rows.iter_mut()
                .skip(at)
                .step_by(columns.len())
                .zip(values)
                .for_each(|(slot, value)| *slot = *value);
        }
    });
    Ok(matrix)
}
