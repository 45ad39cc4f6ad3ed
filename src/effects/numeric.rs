//! Small numerical helpers shared by the fits: loops that vectorise, tail probabilities, columns.

use faer::traits::pulp::Arch;
use rayon::prelude::*;
use statrs::distribution::{Continuous, ContinuousCDF, StudentsT};
use statrs::function::beta::beta_reg;
use statrs::function::erf::erfc;

use crate::matrix::Matrix;

/// Runs `body` compiled for the widest vector instructions of this machine.
///
/// Plain loops inside an `#[inline(always)]` closure are then vectorised by the compiler.
#[inline]
pub(crate) fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(body)
}

/// e^x to about 2 ulp, branch-free so that loops over it vectorise; saturates outside ±708.
#[inline(always)]
fn exp(x: f64) -> f64 {
    // Adding 1.5·2^52 rounds to an integer and leaves it in the low bits.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    const LN2_HI: f64 = 6.931_471_803_691_238e-1;
    const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;
    // 1/k!, from k = 13 down to 2: |r| ≤ ln2/2 leaves a remainder below 1e-17.
    const SERIES: [f64; 12] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    let x = x.clamp(-708.0, 708.0);
    let shifted = x * std::f64::consts::LOG2_E + SHIFT;
    let k = shifted - SHIFT;
    let r = (x - k * LN2_HI) - k * LN2_LO;
    let mut series = SERIES[0];
    for &term in &SERIES[1..] {
        series = series * r + term;
    }
    let fraction = (series * r + 1.0) * r + 1.0;
    fraction * f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52))
}

/// log(1 + e) for 0 ≤ e ≤ 1, branch-free: 2·artanh(e / (2 + e)) as a series.
#[inline(always)]
fn log1p_unit(e: f64) -> f64 {
    let s = e / (2.0 + e);
    let s2 = s * s;
    let mut series = 0.0;
    for k in (0..17_u32).rev() {
        series = series * s2 + 1.0 / f64::from(2 * k + 1);
    }
    2.0 * s * series
}

/// σ(η).
#[inline(always)]
pub(crate) fn sigmoid(eta: f64) -> f64 {
    let e = exp(-eta.abs());
    let large = 1.0 / (1.0 + e);
    if eta >= 0.0 { large } else { e * large }
}

/// Turns the linear predictors of some rows into what a logit's Newton step needs.
///
/// Row i stands for `weight` judgements of which `success` prefer A. `eta` becomes the residual
/// s − w·p, `curvature` becomes w·p(1−p). Returns the log-likelihood. Nothing cancels where p is
/// near 0 or 1.
#[inline(always)]
pub(crate) fn logistic_block(eta: &mut [f64], success: &[f64], weight: &[f64], curvature: &mut [f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let blocks = eta.chunks_mut(LANES).zip(success.chunks(LANES));
    for (((eta, s), w), v) in blocks.zip(weight.chunks(LANES)).zip(curvature.chunks_mut(LANES)) {
        for ((((eta, &s), &w), v), sum) in eta.iter_mut().zip(s).zip(w).zip(v).zip(&mut sums) {
            let e = exp(-eta.abs());
            let large = 1.0 / (1.0 + e);
            let small = e * large;
            let positive = *eta >= 0.0;
            let (p, q) = (if positive { large } else { small }, if positive { small } else { large });
            *sum += s * *eta - w * (eta.max(0.0) + log1p_unit(e));
            *v = w * large * small;
            *eta = s * q - (w - s) * p;
        }
    }
    sums.iter().sum()
}

/// Partial sums that a loop keeps apart, so that it can use vector registers.
pub(crate) const LANES: usize = 8;

/// Σ aᵢ·bᵢ.
#[inline(always)]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Σ aᵢ·bᵢ in `f64` for single-precision `a`.
#[inline(always)]
pub(crate) fn dot_f32(a: &[f32], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 =
        a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(&a, b)| f64::from(a) * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for ((sum, &a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f64::from(a) * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Σⱼ xⱼ·wⱼ in double precision for four single-precision rows, which share the reading of w.
#[inline(always)]
pub(crate) fn dot4(rows: [&[f32]; 4], w: &[f64]) -> [f64; 4] {
    let mut sums = [[0.0; LANES]; 4];
    let whole = w.len() / LANES * LANES;
    for (at, w) in w[..whole].chunks_exact(LANES).enumerate() {
        for (sums, row) in sums.iter_mut().zip(rows) {
            for ((sum, &x), w) in sums.iter_mut().zip(&row[at * LANES..(at + 1) * LANES]).zip(w) {
                *sum += f64::from(x) * w;
            }
        }
    }
    let mut out = [0.0; 4];
    for ((out, sums), row) in out.iter_mut().zip(sums).zip(rows) {
        let rest: f64 = row[whole..].iter().zip(&w[whole..]).map(|(&x, w)| f64::from(x) * w).sum();
        *out = sums.iter().sum::<f64>() + rest;
    }
    out
}

/// y += Σ factor·row over four single-precision rows, which share the writing of y.
#[inline(always)]
pub(crate) fn add_scaled4(y: &mut [f64], factors: [f64; 4], rows: [&[f32]; 4]) {
    let n = y.len();
    let [a, b, c, d] = rows.map(|row| &row[..n]);
    for j in 0..n {
        y[j] += (factors[0] * f64::from(a[j]) + factors[1] * f64::from(b[j]))
            + (factors[2] * f64::from(c[j]) + factors[3] * f64::from(d[j]));
    }
}

/// y += factor·x.
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// Mean and standard deviation (divisor n) of `values` that count `weight` times each.
pub(crate) fn mean_sd(values: impl Iterator<Item = (f64, f64)> + Clone) -> (f64, f64) {
    let (sum, total) = values.clone().fold((0.0, 0.0), |(sum, total), (x, w)| (sum + w * x, total + w));
    let mean = sum / total;
    // The second term repairs the rounding of the mean.
    let (squares, rest) = values.fold((0.0, 0.0), |(squares, rest), (x, w)| {
        let d = x - mean;
        (squares + w * d * d, rest + w * d)
    });
    (mean, ((squares - rest * rest / total) / total).max(0.0).sqrt())
}

/// Some columns of `matrix` at the given rows, column after column, `[features, rows]`.
///
/// What the matrix does not have is read as NaN.
pub(crate) fn gather_columns(matrix: &Matrix, features: &[usize], rows: &[u32]) -> Vec<f32> {
    const TILE: usize = 1024;
    let n = rows.len();
    let mut out = vec![f32::NAN; n * features.len()];
    if n == 0 || features.is_empty() {
        return out;
    }
    // Eight columns at a time read each cache line of the matrix once.
    out.par_chunks_mut(8 * n).zip(features.par_chunks(8)).for_each(|(columns, features)| {
        for tile in (0..n).step_by(TILE) {
            for i in tile..n.min(tile + TILE) {
                let start = rows[i] as usize * matrix.cols;
                let Some(values) = matrix.values.get(start..start + matrix.cols) else { continue };
                for (column, &feature) in columns.chunks_exact_mut(n).zip(features) {
                    column[i] = values.get(feature).copied().unwrap_or(f32::NAN);
                }
            }
        }
    });
    out
}

/// P(|N(0, 1)| ≥ |z|).
pub(crate) fn normal_p(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// P(|t| ≥ |value|) under Student's t with `df` degrees of freedom.
pub(crate) fn student_p(value: f64, df: f64) -> f64 {
    if !value.is_finite() || df.is_nan() || df <= 0.0 {
        return if value.is_infinite() { 0.0 } else { f64::NAN };
    }
    beta_reg(df / 2.0, 0.5, df / (df + value * value))
}

/// The half-width of a 95 % interval in standard errors: of Student's t where `df` is given.
pub(crate) fn quantile_95(df: Option<f64>) -> f64 {
    let normal = 1.959_963_984_540_054;
    let Some(Ok(student)) = df.map(|df| StudentsT::new(0.0, 1.0, df)) else { return normal };
    let df = student.freedom();
    // The library's quantile is right to five digits; Newton steps give the rest.
    let mut t = student.inverse_cdf(0.975);
    for _ in 0..3 {
        t += (student_p(t, df) - 0.05) / (2.0 * student.pdf(t));
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_log1p_equal_the_standard_library() {
        for i in -70_000..70_000 {
            let x = f64::from(i) / 100.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-15, "{x}");
        }
        for i in 0..=1_000 {
            let e = f64::from(i) / 1_000.0;
            assert!((log1p_unit(e) - e.ln_1p()).abs() <= 4e-16 * e.ln_1p(), "{e}");
        }
    }
}
