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
    let content = |message: String| StoreError::Content { path: path.into(), message };
    let rows = reader(path)?.num_rows().map_err(failed("read", path))?;
    if rows != pairs {
        return Err(content(format!("{rows} rows where {pairs} pairs are expected")));
    }
    let mut matrix = Matrix::zeros(pairs, names.len());
    let cols = names.len().max(1);
    for (from, rows) in (0..pairs).step_by(TOGETHER).zip(matrix.values.chunks_mut(TOGETHER * cols)) {
        read_part(path, from, names, rows)?;
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
        read_part(path, from, names, &mut part.values[..(to - from) * cols])?;
        own.iter().for_each(|&row| matrix.values.extend_from_slice(part.row(row as usize - from)));
    }
    Ok(matrix)
}

fn reader(path: &Path) -> Result<ParquetReader<std::fs::File>, StoreError> {
    let open = crate::limits::open(path);
    let file = open.map_err(|source| StoreError::Io { action: "read", path: path.into(), source })?;
    Ok(ParquetReader::new(file))
}

/// The columns `names` of a file into `rows` of a matrix, the first of which is row `from`.
fn read_part(path: &Path, from: usize, names: &[String], rows: &mut [f32]) -> Result<(), StoreError> {
    let count = rows.len() / names.len().max(1);
    let table = reader(path)?.with_slice(Some((from, count))).finish().map_err(failed("read", path))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_parts_is_read_whole_and_in_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.parquet");
        // More than two parts, the last of them short.
        let count = 2 * TOGETHER + 3;
        let matrix = Matrix { values: (0..2 * count).map(|at| at as f32).collect(), cols: 2 };
        let ids: Vec<String> = (0..count).map(|at| at.to_string()).collect();
        let names = ["a".to_owned(), "b".to_owned()];
        write_matrix(&path, &ids, &names, &matrix).unwrap();
        assert_eq!(read_matrix(&path, count, &names).unwrap(), matrix);
        let rows = [0, 1, TOGETHER as u32 - 1, TOGETHER as u32, 2 * TOGETHER as u32 + 2];
        assert_eq!(read_matrix_rows(&path, count, &names, &rows).unwrap(), matrix.select_rows(&rows));
        // Columns in another order, and a file that has other rows than the run.
        let turned = ["b".to_owned(), "a".to_owned()];
        assert_eq!(read_matrix_rows(&path, count, &turned, &[7]).unwrap().values, [15.0, 14.0]);
        assert!(read_matrix(&path, count + 1, &names).is_err());
        assert!(read_matrix_rows(&path, count + 1, &names, &[count as u32]).is_err());
        assert!(read_matrix(&path, count, &["c".to_owned()]).is_err());
    }

    #[test]
    fn a_matrix_without_rows_or_columns_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.parquet");
        let names = ["a".to_owned()];
        write_matrix(&path, &[], &names, &Matrix { values: Vec::new(), cols: 1 }).unwrap();
        assert_eq!(read_matrix(&path, 0, &names).unwrap().rows(), 0);
        write_matrix(&path, &["x".to_owned()], &[], &Matrix::default()).unwrap();
        assert_eq!(read_matrix(&path, 1, &[]).unwrap().cols, 0);
    }
}
