//! Corrections for having tested many features. NaN (not tested) stays NaN and is not counted.

/// Bonferroni: each p times the number of tests.
pub fn bonferroni(p: &[f64]) -> Vec<f64> {
    let tests = p.iter().filter(|p| !p.is_nan()).count() as f64;
    p.iter().map(|p| if p.is_nan() { *p } else { (p * tests).min(1.0) }).collect()
}

/// Holm's step-down: as strict as Bonferroni about any false finding, never less powerful.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let tests = order.len();
    let mut adjusted = p.to_vec();
    let mut largest = 0.0_f64;
    for (rank, &at) in order.iter().enumerate() {
        largest = largest.max((p[at] * (tests - rank) as f64).min(1.0));
        adjusted[at] = largest;
    }
    adjusted
}

/// Benjamini–Hochberg: the share of false findings at which a test is still accepted (q-value).
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let tests = order.len() as f64;
    let mut adjusted = p.to_vec();
    let mut smallest = 1.0_f64;
    for (rank, &at) in order.iter().enumerate().rev() {
        smallest = smallest.min(p[at] * tests / (rank + 1) as f64);
        adjusted[at] = smallest;
    }
    adjusted
}

/// Positions of the values from small to large, without NaN.
fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).filter(|&at| !p[at].is_nan()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untested_feature_stays_untested_and_is_not_counted() {
        let p = [0.01, f64::NAN, 0.04, 0.03];
        let near = |a: Vec<f64>, b: [f64; 4]| {
            assert!(
                a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12 || (a.is_nan() && b.is_nan())),
                "{a:?}"
            );
        };
        near(bonferroni(&p), [0.03, f64::NAN, 0.12, 0.09]);
        near(holm(&p), [0.03, f64::NAN, 0.06, 0.06]);
        near(benjamini_hochberg(&p), [0.03, f64::NAN, 0.04, 0.04]);
        assert!(benjamini_hochberg(&[]).is_empty());
    }
}
