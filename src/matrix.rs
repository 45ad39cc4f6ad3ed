//! The one dense matrix that travels between the stages.

use std::ops::Range;

use rayon::prelude::*;

/// Row-major `f32` matrix, shape `[rows, cols]`.
///
/// Deltas are `[pairs, dimensions]`, activations `[pairs, features]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matrix {
    /// Values, row after row; the length is `rows × cols`.
    pub values: Vec<f32>,
    /// Number of columns.
    pub cols: usize,
}

impl Matrix {
    /// All zeros, shape `[rows, cols]`.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { values: vec![0.0; rows * cols], cols }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.cols).unwrap_or(0)
    }

    /// Row `row`, length `cols`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.cols..(row + 1) * self.cols]
    }

    /// Row `row` to write to.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.cols..(row + 1) * self.cols]
    }

    /// Column `col` as a vector, length `rows`.
    pub fn column(&self, col: usize) -> Vec<f32> {
        self.values.iter().skip(col).step_by(self.cols.max(1)).copied().collect()
    }

    /// Every column of some rows as a vector, `[cols][rows]`; one pass over the rows for every sixteen of them.
    pub fn all_columns(&self, rows: Range<usize>) -> Vec<Vec<f32>> {
        const LINE: usize = 16;
        let values = self.values.get(rows.start * self.cols..rows.end * self.cols).unwrap_or_default();
        let rows = rows.len();
        (0..self.cols.div_ceil(LINE))
            .into_par_iter()
            .flat_map_iter(|line| {
                let from = line * LINE;
                let to = self.cols.min(from + LINE);
                let mut columns = vec![Vec::with_capacity(rows); to - from];
                for row in values.chunks_exact(self.cols) {
                    let values = row.get(from..to).unwrap_or_default();
                    columns.iter_mut().zip(values).for_each(|(column, &value)| column.push(value));
                }
                columns
            })
            .collect()
    }

    /// Columns `from..to`, shape `[rows, to - from]`.
    pub fn columns(&self, from: usize, to: usize) -> Self {
        let rows = self.values.chunks_exact(self.cols.max(1));
        let values = rows.flat_map(|row| row.get(from..to).unwrap_or_default()).copied().collect();
        Self { values, cols: to - from }
    }

    /// The given rows in the given order, shape `[index.len(), cols]`.
    pub fn select_rows(&self, index: &[u32]) -> Self {
        let mut values = Vec::with_capacity(index.len() * self.cols);
        for &row in index {
            values.extend_from_slice(self.row(row as usize));
        }
        Self { values, cols: self.cols }
    }
}

/// Makes faer's decompositions work on one thread, for the whole process: split over threads, they add in an
/// order that depends on how many there are, and so would every result. Called before each of them.
pub(crate) fn fixed_order() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| faer::set_global_parallelism(faer::Par::Seq));
}
