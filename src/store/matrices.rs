//! Matrices by pair as Parquet: `pair_id`, and a column for each name.

use std::path::Path;

use polars::prelude::*;

use super::atomic::write_parquet;
use super::error::StoreError;
use crate::matrix::Matrix;

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
    for (index, name) in names.iter().enumerate() {
        columns.push(Column::new(name.as_str().into(), matrix.column(index)));
    }
    write_parquet(path, &mut frame(path, columns)?)
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
    for (index, name) in names.iter().enumerate() {
        let column = table.column(name).map_err(failed("read", path))?;
        let values = column.f32().map_err(failed("read", path))?;
        for (slot, value) in matrix.values.iter_mut().skip(index).step_by(names.len()).zip(values.iter()) {
            *slot = value.ok_or_else(|| content(format!("column `{name}` has gaps")))?;
        }
    }
    Ok(matrix)
}
