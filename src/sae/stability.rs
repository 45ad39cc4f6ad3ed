//! Whether a feature is a property of the data or of the pairs that were drawn.

use super::{Deltas, Sae, SaeError};
use crate::matrix::Matrix;

/// For each feature of `sae` the best absolute correlation of its activations with a feature's of
/// another model, the mean over the `others`; `[features]`, on the pairs `rows` of `deltas`.
///
/// 1 means that learning from other pairs of the same dataset finds the same feature; a feature
/// that is not found again says more about the draw than about the data.
///
/// # Errors
/// What [`Sae::activations`] reports.
pub fn stability(sae: &Sae, others: &[Sae], deltas: &dyn Deltas, rows: &[u32]) -> Result<Vec<f64>, SaeError> {
    let x = deltas.gather(rows)?;
    let own = standardised(&sae.activations(&x)?);
    let mut sums = vec![0.0; sae.features()];
    for other in others {
        let their = standardised(&other.activations(&x)?);
        for (sum, own) in sums.iter_mut().zip(&own) {
            let correlation = |their: &Vec<f32>| -> f64 {
                own.iter().zip(their).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>().abs()
            };
            *sum += their.iter().map(correlation).fold(0.0, f64::max);
        }
    }
    Ok(sums.into_iter().map(|sum| sum / others.len().max(1) as f64).collect())
}

/// Columns with mean zero and norm one; a constant column is all zero.
fn standardised(z: &Matrix) -> Vec<Vec<f32>> {
    (0..z.cols)
        .map(|feature| {
            let column = z.column(feature);
            let n = column.len().max(1) as f64;
            let mean = column.iter().map(|&z| f64::from(z)).sum::<f64>() / n;
            let square = column.iter().map(|&z| (f64::from(z) - mean).powi(2)).sum::<f64>();
            let by = if square > 0.0 { square.sqrt().recip() } else { 0.0 };
            column.into_iter().map(|z| ((f64::from(z) - mean) * by) as f32).collect()
        })
        .collect()
}
