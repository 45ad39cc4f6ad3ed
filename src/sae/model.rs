//! The trained autoencoder on the host.

use serde::{Deserialize, Serialize};

use super::{Deltas, SaeError, linear::times_transposed};
use crate::matrix::Matrix;

/// Rows that are gathered at a time where a subset of the deltas is worked on.
const GATHER: usize = 4096;

/// Signed sparse features of deltas.
///
/// ```text
/// pre = x · encoderᵀ        z = pre where |pre| > threshold, else 0        x̂ = z · decoder
/// ```
///
/// z > 0 means more of the feature in response A. `z(−x) = −z(x)` holds bit for bit, and a pair's
/// activations do not depend on the pairs it is computed with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sae {
    /// `[features, dimensions]`.
    #[serde(skip)]
    pub encoder: Matrix,
    /// `[features, dimensions]`; rows of norm one where reconstruction was trained for, least squares where
    /// words led.
    #[serde(skip)]
    pub decoder: Matrix,
    /// θ, in the units of the deltas.
    pub threshold: f32,
}

impl Sae {
    /// Number of features, M.
    pub fn features(&self) -> usize {
        self.encoder.rows()
    }

    /// Number of dimensions of a delta, D.
    pub fn dimensions(&self) -> usize {
        self.encoder.cols
    }

    /// Activations `[pairs, features]` of `deltas` `[pairs, dimensions]`.
    ///
    /// # Errors
    /// [`SaeError::Dimensions`] for deltas of another embedder, [`SaeError::NotFinite`].
    pub fn activations(&self, deltas: &Matrix) -> Result<Matrix, SaeError> {
        let mut z = self.pre_activations(deltas)?;
        for value in &mut z.values {
            if value.abs() <= self.threshold {
                *value = 0.0;
            }
        }
        Ok(z)
    }

    /// `deltas · encoderᵀ` before the gate, `[pairs, features]`.
    ///
    /// # Errors
    /// [`SaeError::Dimensions`] for deltas of another embedder, [`SaeError::NotFinite`].
    pub fn pre_activations(&self, deltas: &Matrix) -> Result<Matrix, SaeError> {
        self.check(deltas)?;
        let values = times_transposed(&deltas.values, &self.encoder.values, self.dimensions());
        let pre = Matrix { values, cols: self.features() };
        if let Some(position) = pre.values.iter().position(|pre| !pre.is_finite()) {
            let row = position / pre.cols;
            let column = deltas.row(row).iter().position(|value| !usable(*value)).unwrap_or(0);
            return Err(SaeError::NotFinite { row, column });
        }
        Ok(pre)
    }

    /// Reconstruction `[pairs, dimensions]` from activations `[pairs, features]`.
    ///
    /// # Errors
    /// [`SaeError::Dimensions`] where the number of features differs.
    pub fn reconstruct(&self, activations: &Matrix) -> Result<Matrix, SaeError> {
        if activations.cols != self.features() {
            return Err(SaeError::Dimensions { expected: self.features(), found: activations.cols });
        }
        let transposed: Vec<f32> =
            (0..self.dimensions()).flat_map(|dimension| self.decoder.column(dimension)).collect();
        let values = times_transposed(&activations.values, &transposed, self.features());
        Ok(Matrix { values, cols: self.dimensions() })
    }

    /// Normalised mean squared error of the reconstruction from the first `prefix` features:
    /// `mse(x̂, x) / mse(mean x, x)` over the given rows (all for `None`); 0 is perfect, 1 no better
    /// than the mean. Where all rows are equal (or there is one), the mean square of x takes the
    /// place of the denominator; NaN without rows or when they are all zero.
    ///
    /// # Errors
    /// [`SaeError::Dimensions`], [`SaeError::RowOutside`], [`SaeError::File`].
    pub fn nmse(&self, deltas: &dyn Deltas, rows: Option<&[u32]>, prefix: usize) -> Result<f64, SaeError> {
        if deltas.rows() > 0 && deltas.dimensions() != self.dimensions() {
            return Err(SaeError::Dimensions { expected: self.dimensions(), found: deltas.dimensions() });
        }
        let all: Vec<u32>;
        let rows = match rows {
            Some(rows) => rows,
            None => {
                all = (0..deltas.rows() as u32).collect();
                &all
            }
        };
        check_rows(rows, deltas)?;
        let dimensions = self.dimensions();
        let (mut error, mut square) = (0.0, 0.0);
        let mut sum = vec![0.0f64; dimensions];
        for rows in rows.chunks(GATHER) {
            let x = deltas.gather(rows)?;
            let mut z = self.activations(&x)?;
            for row in z.values.chunks_exact_mut(z.cols.max(1)) {
                row.iter_mut().skip(prefix).for_each(|z| *z = 0.0);
            }
            let guess = self.reconstruct(&z)?;
            for (x, guess) in x.values.chunks_exact(dimensions).zip(guess.values.chunks_exact(dimensions)) {
                for ((&x, &guess), sum) in x.iter().zip(guess).zip(&mut sum) {
                    let (x, guess) = (f64::from(x), f64::from(guess));
                    error += (x - guess) * (x - guess);
                    square += x * x;
                    *sum += x;
                }
            }
        }
        Ok(error / spread(square, &sum, rows.len()))
    }

    /// Reverses what the sign of `feature` means: encoder and decoder row are negated.
    pub fn flip(&mut self, feature: usize) {
        if feature < self.features() {
            self.encoder.row_mut(feature).iter_mut().for_each(|weight| *weight = -*weight);
            self.decoder.row_mut(feature).iter_mut().for_each(|weight| *weight = -*weight);
        }
    }

    fn check(&self, deltas: &Matrix) -> Result<(), SaeError> {
        if deltas.cols == self.dimensions() || deltas.values.is_empty() {
            Ok(())
        } else {
            Err(SaeError::Dimensions { expected: self.dimensions(), found: deltas.cols })
        }
    }

    /// Sets θ so that on `rows` the mean number of active features per pair is `active`.
    ///
    /// θ lies between two neighbouring magnitudes, so the mean is met exactly; where magnitudes are
    /// tied at that place, by whichever side of the tie is nearer. Zeros are never active.
    pub(super) fn calibrate(
        &mut self,
        deltas: &dyn Deltas,
        rows: &[u32],
        active: usize,
    ) -> Result<(), SaeError> {
        let mut magnitudes = Vec::with_capacity(rows.len() * self.features());
        for rows in rows.chunks(GATHER) {
            let pre = self.pre_activations(&deltas.gather(rows)?)?;
            magnitudes.extend(pre.values.iter().map(|pre| pre.abs()).filter(|&pre| pre > 0.0));
        }
        self.threshold = threshold_for(&mut magnitudes, rows.len() * active);
        Ok(())
    }
}

/// θ such that `wanted` of the positive `magnitudes` exceed it, or as near as ties allow.
pub(super) fn threshold_for(magnitudes: &mut [f32], wanted: usize) -> f32 {
    if wanted >= magnitudes.len() {
        return 0.0;
    }
    // Descending: `outside` is the largest magnitude that should not pass.
    let (inside, outside, _) = magnitudes.select_nth_unstable_by(wanted, |a, b| b.total_cmp(a));
    let outside = *outside;
    let smallest_inside = inside.iter().copied().fold(f32::INFINITY, f32::min);
    if smallest_inside > outside {
        let middle = outside + (smallest_inside.min(f32::MAX) - outside) / 2.0;
        return if middle < smallest_inside { middle } else { outside };
    }
    let above = magnitudes.iter().filter(|&&magnitude| magnitude > outside).count();
    let with_ties = magnitudes.iter().filter(|&&magnitude| magnitude >= outside).count();
    if wanted - above <= with_ties - wanted { outside } else { outside.next_down() }
}

/// Σ ‖x − mean‖² from Σ x², Σ x and n; Σ x² where that vanishes against rounding.
pub(super) fn spread(square: f64, sum: &[f64], n: usize) -> f64 {
    let mean: f64 = sum.iter().map(|sum| sum * sum).sum::<f64>() / n.max(1) as f64;
    let spread = square - mean;
    if spread > square * 1e-12 { spread } else { square }
}

/// Finite, and small enough for sums of such values to be finite too.
pub(super) fn usable(value: f32) -> bool {
    value.abs() <= 1e30
}

/// Every row exists.
pub(super) fn check_rows(rows: &[u32], deltas: &dyn Deltas) -> Result<(), SaeError> {
    match rows.iter().find(|&&row| row as usize >= deltas.rows()) {
        Some(&row) => Err(SaeError::RowOutside { row: row as usize, rows: deltas.rows() }),
        None => Ok(()),
    }
}
