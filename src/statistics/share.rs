//! The interval of a share.

use super::Z95;

/// The share `correct / n` with Wilson's 95 % interval, `[value, low, high]`. `n` may be an effective sample size,
/// as clusters leave it; of nothing it is 0 with the whole range.
pub fn wilson(correct: usize, n: usize) -> [f64; 3] {
    if n == 0 {
        return [0.0, 0.0, 1.0];
    }
    wilson_of(correct as f64 / n as f64, n as f64)
}

/// The same for a share that is known, at a sample size that need not be whole.
pub fn wilson_of(share: f64, n: f64) -> [f64; 3] {
    let z2 = Z95 * Z95;
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    [share, (middle - half).max(0.0), (middle + half).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// statsmodels 0.15: `proportion_confint(3, 10, method="wilson")`, `(0, 5)`, `(5, 5)`.
    #[test]
    fn intervals_are_those_of_statsmodels() {
        for (k, n, low, high) in [
            (3, 10, 0.107_791_267_406_301_04, 0.603_221_852_538_854_6),
            (0, 5, 0.0, 0.434_482_464_783_174_87),
            (5, 5, 0.565_517_535_216_825_2, 1.0),
        ] {
            let [share, l, h] = wilson(k, n);
            assert!((share - k as f64 / n as f64).abs() < 1e-15);
            assert!((l - low).abs() < 1e-9 && (h - high).abs() < 1e-9, "{k}/{n}: {l} {h}");
        }
        assert_eq!(wilson(0, 0), [0.0, 0.0, 1.0]);
    }
}
