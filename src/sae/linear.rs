//! Dense products on the host, with a fixed order of additions.
//!
//! Rows are worked on in blocks of one fixed height, whatever their number and however many
//! threads there are. So a row's result depends on that row alone, bit for bit.

use faer::{Accum, Mat, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

/// Rows per block.
const BLOCK: usize = 128;

/// `rows · weightsᵀ`, shape `[n, features]`, row-major: `rows` is `[n, dimensions]` and `weights`
/// `[features, dimensions]`, both row-major.
pub(super) fn times_transposed(rows: &[f32], weights: &[f32], dimensions: usize) -> Vec<f32> {
    if dimensions == 0 || weights.is_empty() {
        return Vec::new();
    }
    let features = weights.len() / dimensions;
    let weights = MatRef::from_row_major_slice(weights, features, dimensions);
    let mut out = vec![0.0; rows.len() / dimensions * features];
    out.par_chunks_mut(BLOCK * features).zip(rows.par_chunks(BLOCK * dimensions)).for_each(|(out, rows)| {
        if rows.len() == BLOCK * dimensions {
            block(out, rows, weights);
        } else {
            // A block of another height could take another path through the kernel.
            let mut padded = vec![0.0; BLOCK * dimensions];
            padded[..rows.len()].copy_from_slice(rows);
            let mut full = vec![0.0; BLOCK * features];
            block(&mut full, &padded, weights);
            out.copy_from_slice(&full[..out.len()]);
        }
    });
    out
}

fn block(out: &mut [f32], rows: &[f32], weights: MatRef<'_, f32>) {
    let (features, dimensions) = (weights.nrows(), weights.ncols());
    matmul(
        MatMut::from_row_major_slice_mut(out, BLOCK, features),
        Accum::Replace,
        MatRef::from_row_major_slice(rows, BLOCK, dimensions),
        weights.transpose(),
        1.0,
        Par::Seq,
    );
}

/// Sums `part(block of rows)` over all blocks in order, shape `[height, width]`; `rows` is
/// row-major `[n, columns]`.
pub(super) fn sum_blocks<F>(rows: &[f32], columns: usize, height: usize, width: usize, part: F) -> Mat<f32>
where
    F: Fn(MatRef<'_, f32>) -> Mat<f32> + Sync,
{
    let parts: Vec<Mat<f32>> = rows
        .par_chunks(8 * BLOCK * columns.max(1))
        .map(|rows| part(MatRef::from_row_major_slice(rows, rows.len() / columns.max(1), columns)))
        .collect();
    parts.into_iter().fold(Mat::zeros(height, width), |sum, part| sum + part)
}

/// `a · b` on one thread.
pub(super) fn product(a: MatRef<'_, f32>, b: MatRef<'_, f32>) -> Mat<f32> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    out
}
