//! Where training starts: a decoder read off the data.
//!
//! From random columns the few hundred steps that a small dataset affords do not get far, and each
//! seed ends in another dictionary. So the start is computed: the leading principal components,
//! rotated within each Matryoshka block towards independent components (FastICA, Hyvärinen 1999).
//! The first P columns then span the P leading components, which is what a prefix has to
//! reconstruct, and the rotation makes activations sparse, which is what top-k wants.

use faer::{Mat, MatRef, Side};
use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::linear::{product, sum_blocks, times_transposed};
use crate::matrix::fixed_order;

/// Rows to estimate from, at most.
pub(super) const SAMPLE: usize = 16_384;
/// Power iterations for the principal components.
const POWER: usize = 8;
/// Floating-point operations that the rotation of one block may take.
const ROTATION_BUDGET: usize = 20_000_000_000;

/// A decoder of unit columns, row-major `[dimensions, features]`, for `rows` (row-major
/// `[n, dimensions]`, finite, not all zero). `prefixes` ascend and end with the number of features.
pub(super) fn decoder(
    rows: &[f32],
    dimensions: usize,
    prefixes: &[usize],
    random: &mut ChaCha8Rng,
) -> Vec<f32> {
    let features = prefixes.last().copied().unwrap_or(0);
    let (components, variances) = principal_components(rows, dimensions, features, random);
    let mut columns = Mat::<f32>::zeros(dimensions, features);
    let mut start = 0;
    for &end in prefixes {
        let end = end.min(components.ncols());
        if start < end {
            let block = components.as_ref().subcols(start, end - start);
            let mixing = rotate(rows, block, &variances[start..end], random);
            columns.as_mut().subcols_mut(start, end - start).copy_from(&mixing);
        }
        start = start.max(end);
    }
    // More features than the data has directions: rows themselves fill up.
    for feature in start..features {
        let row = random.random_range(0..rows.len() / dimensions);
        for (dimension, &value) in rows[row * dimensions..(row + 1) * dimensions].iter().enumerate() {
            columns[(dimension, feature)] = value;
        }
    }
    for feature in 0..features {
        let mut norm = columns.col(feature).norm_l2();
        while !(norm > 0.0 && norm.is_finite()) {
            for dimension in 0..dimensions {
                columns[(dimension, feature)] = random.random_range(-1.0..1.0);
            }
            norm = columns.col(feature).norm_l2();
        }
        for dimension in 0..dimensions {
            columns[(dimension, feature)] /= norm;
        }
    }
    (0..dimensions * features).map(|i| columns[(i / features, i % features)]).collect()
}

/// A decoder of unit columns for features that are never negative: `features` of the rows `rows` (row-major
/// `[n, dimensions]`), row-major `[dimensions, features]`. Each feature so begins as the likeness to a sentence that
/// somebody wrote, and is active somewhere.
///
/// They are spread out as in k-means++ (Arthur & Vassilvitskii 2007): the next is drawn in proportion to 1 − its largest
/// cosine with those drawn before. Drawn blindly, what is common would get several features and what is rare none.
pub(super) fn rows(rows: &[f32], dimensions: usize, features: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let n = rows.len() / dimensions.max(1);
    let units: Vec<f32> = rows
        .chunks_exact(dimensions.max(1))
        .flat_map(|row| {
            let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            row.iter().map(move |value| value / norm)
        })
        .collect();
    let mut apart = vec![1.0f32; n];
    let mut columns = vec![0.0; dimensions * features];
    for feature in 0..features {
        let total: f64 = apart.iter().map(|&apart| f64::from(apart)).sum();
        let mut left = random.random_range(0.0..1.0) * total;
        let drawn = apart.iter().position(|&apart| {
            left -= f64::from(apart);
            left < 0.0
        });
        let drawn = drawn.unwrap_or_else(|| random.random_range(0..n.max(1)));
        let mut row: Vec<f32> = units.iter().skip(drawn * dimensions).take(dimensions).copied().collect();
        row.resize(dimensions, 0.0);
        let norm = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>().sqrt();
        while !(norm(&row) > 0.5 && norm(&row).is_finite()) {
            row.iter_mut().for_each(|value| *value = random.random_range(-1.0..1.0));
        }
        let norm = norm(&row);
        row.iter_mut().for_each(|value| *value /= norm);
        let likeness = times_transposed(&units, &row, dimensions);
        // Exactly 0 for copies of what was drawn, whatever the rounding.
        apart.iter_mut().zip(likeness).for_each(|(apart, like)| {
            *apart = if like > 0.999 { 0.0 } else { apart.min(1.0 - like.max(0.0)) };
        });
        for (dimension, value) in row.iter().enumerate() {
            columns[dimension * features + feature] = *value;
        }
    }
    columns
}

/// The leading uncentred principal components `[dimensions, r]` and the mean square along each,
/// descending; `r ≤ wanted` leaves out directions without variance. By subspace iteration.
pub(super) fn principal_components(
    rows: &[f32],
    dimensions: usize,
    wanted: usize,
    random: &mut ChaCha8Rng,
) -> (Mat<f32>, Vec<f32>) {
    fixed_order();
    let n = rows.len() / dimensions;
    let width = (wanted + 8).min(dimensions);
    let mut basis = Mat::from_fn(dimensions, width, |_, _| random.random_range(-1.0f32..1.0));
    for _ in 0..POWER {
        basis = basis.qr().compute_thin_Q();
        basis = sum_blocks(rows, dimensions, dimensions, width, |rows| {
            product(rows.transpose(), product(rows, basis.as_ref()).as_ref())
        });
    }
    let basis = basis.qr().compute_thin_Q();
    let width = basis.ncols();
    let scatter = sum_blocks(rows, dimensions, width, width, |rows| {
        let scores = product(rows, basis.as_ref());
        product(scores.transpose(), scores.as_ref())
    });
    let Ok(eigen) = scatter.self_adjoint_eigen(Side::Lower) else {
        return (Mat::zeros(dimensions, 0), Vec::new());
    };
    // Eigenvalues ascend.
    let largest = eigen.S()[width - 1];
    let kept =
        (0..width).rev().take(wanted).take_while(|&i| eigen.S()[i] > largest * 1e-6 && eigen.S()[i] > 0.0);
    let kept: Vec<usize> = kept.collect();
    let rotation = Mat::from_fn(width, kept.len(), |i, j| eigen.U()[(i, kept[j])]);
    let variances = kept.iter().map(|&i| eigen.S()[i] / n as f32).collect();
    (product(basis.as_ref(), rotation.as_ref()), variances)
}

/// The mixing directions of the independent components within the span of `components`
/// `[dimensions, b]`; symmetric FastICA with the smooth L1 contrast `√(1 + y²)`, which needs no
/// transcendental function.
fn rotate(rows: &[f32], components: MatRef<'_, f32>, variances: &[f32], random: &mut ChaCha8Rng) -> Mat<f32> {
    let (dimensions, b) = (components.nrows(), components.ncols());
    let n = rows.len() / dimensions;
    let whiten = Mat::from_fn(dimensions, b, |i, j| components[(i, j)] / variances[j].sqrt());
    // White scores, row-major [n, b].
    let mut scores = Vec::with_capacity(n * b);
    for block in rows.chunks(1024 * dimensions) {
        let block = MatRef::from_row_major_slice(block, block.len() / dimensions, dimensions);
        let block = product(block, whiten.as_ref());
        scores.extend((0..block.nrows() * b).map(|i| block[(i / b, i % b)]));
    }

    let start = Mat::from_fn(b, b, |_, _| random.random_range(-1.0f32..1.0));
    let mut rotation = orthogonal(start.as_ref()).unwrap_or_else(|| Mat::identity(b, b));
    let iterations = (ROTATION_BUDGET / (4 * n * b * b).max(1)).clamp(10, 100);
    for _ in 0..iterations {
        // Row b of the sum holds the mean slope of every component.
        let sum = sum_blocks(&scores, b, b + 1, b, |scores| {
            let mut y = product(scores, rotation.as_ref());
            let mut part = Mat::zeros(b + 1, b);
            for j in 0..b {
                let mut slope = 0.0;
                for i in 0..y.nrows() {
                    let root = (1.0 + y[(i, j)] * y[(i, j)]).sqrt();
                    y[(i, j)] /= root;
                    slope += 1.0 / (root * root * root);
                }
                part[(b, j)] = slope;
            }
            part.as_mut().subrows_mut(0, b).copy_from(product(scores.transpose(), y.as_ref()));
            part
        });
        let update = Mat::from_fn(b, b, |i, j| sum[(i, j)] - rotation[(i, j)] * sum[(b, j)]);
        let Some(next) = orthogonal(update.as_ref()) else {
            break;
        };
        let turned = (0..b).map(|j| {
            let cosine: f32 = (0..b).map(|i| next[(i, j)] * rotation[(i, j)]).sum();
            1.0 - cosine.abs()
        });
        let turned = turned.fold(0.0, f32::max);
        rotation = next;
        if turned < 1e-3 {
            break;
        }
    }
    let spread = Mat::from_fn(dimensions, b, |i, j| components[(i, j)] * variances[j].sqrt());
    product(spread.as_ref(), rotation.as_ref())
}

/// The orthogonal matrix nearest to `matrix`; `None` where it has none.
pub(super) fn orthogonal(matrix: MatRef<'_, f32>) -> Option<Mat<f32>> {
    fixed_order();
    let svd = matrix.thin_svd().ok()?;
    let nearest = product(svd.U(), svd.V().transpose());
    nearest.is_all_finite().then_some(nearest)
}

/// Up to [`SAMPLE`] of `rows`, drawn without replacement and in ascending order.
pub(super) fn sample(rows: &[u32], random: &mut ChaCha8Rng) -> Vec<u32> {
    sample_of(rows, SAMPLE, random)
}

/// Up to `most` of `rows`, drawn without replacement and in ascending order.
pub(super) fn sample_of(rows: &[u32], most: usize, random: &mut ChaCha8Rng) -> Vec<u32> {
    let mut rows = rows.to_vec();
    if rows.len() > most {
        let (drawn, _) = rows.partial_shuffle(random, most);
        let mut drawn = drawn.to_vec();
        drawn.sort_unstable();
        return drawn;
    }
    rows.shrink_to_fit();
    rows
}
