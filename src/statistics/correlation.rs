//! Pearson's correlation with interval and p-value.

use statrs::function::beta::beta_reg;

/// A correlation; figures are NaN where it is undefined.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Correlation {
    /// Pearson's r.
    pub r: f64,
    /// Lower end of the 95 % interval (Fisher's z).
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Two-sided p-value of r = 0 (Student's t with n − 2 degrees of freedom).
    pub p: f64,
    /// Number of points.
    pub n: usize,
}

/// Pearson's correlation of `x` and `y`, `[points]` each; the longer one is cut.
///
/// Undefined (NaN) with fewer than three points, a value that is not finite, or no variation.
pub fn pearson(x: &[f64], y: &[f64]) -> Correlation {
    let n = x.len().min(y.len());
    let (x, y) = (&x[..n], &y[..n]);
    let undefined = Correlation { r: f64::NAN, low: f64::NAN, high: f64::NAN, p: f64::NAN, n };
    let varies = |values: &[f64]| values.iter().any(|&value| value != values[0]);
    if n < 3 || !x.iter().chain(y).all(|value| value.is_finite()) || !varies(x) || !varies(y) {
        return undefined;
    }
    // Divided by the largest value first, so that squares neither overflow nor vanish.
    let centred = |values: &[f64]| -> Vec<f64> {
        let largest = values.iter().fold(0.0_f64, |max, value| max.max(value.abs()));
        let mean = values.iter().map(|value| value / largest).sum::<f64>() / n as f64;
        values.iter().map(|value| value / largest - mean).collect()
    };
    let (x, y) = (centred(x), centred(y));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let r = (product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt()).clamp(-1.0, 1.0);
    if r.is_nan() {
        return undefined;
    }
    let df = (n - 2) as f64;
    // df / (df + t²) is 1 − r².
    let p = beta_reg(df / 2.0, 0.5, (1.0 - r) * (1.0 + r));
    let (low, high) = if n > 3 {
        let half = 1.959_963_984_540_054 / ((n - 3) as f64).sqrt();
        ((r.atanh() - half).tanh(), (r.atanh() + half).tanh())
    } else {
        (-1.0, 1.0)
    };
    Correlation { r, low, high, p, n }
}
