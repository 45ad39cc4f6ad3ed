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

/// Holm's step-down with weights (Holm 1979, section 4): the error rate is shared out in proportion to `weights`
/// (positive), which nothing but the labels may depend on. As strict as [`holm`] about any false finding; with equal
/// weights the same.
pub fn weighted_holm(p: &[f64], weights: &[f64]) -> Vec<f64> {
    let ratio: Vec<f64> = p.iter().zip(weights).map(|(p, weight)| p / weight).collect();
    let order = ascending(&ratio);
    // The weight of each and of all that come after it, summed from the small end.
    let mut left: Vec<f64> = (order.iter().rev())
        .scan(0.0, |sum, &at| {
            *sum += weights[at];
            Some(*sum)
        })
        .collect();
    let mut adjusted = p.to_vec();
    let mut largest = 0.0_f64;
    for at in order {
        largest = largest.max((ratio[at] * left.pop().unwrap_or(0.0)).min(1.0));
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
    use rand::RngExt;

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

    #[test]
    fn holms_weights_share_the_error_rate_out() {
        // By hand: p / w is .02, .05, .08; what is left of the weights 3.5, 3, 1.
        let adjusted = weighted_holm(&[0.01, 0.1, f64::NAN, 0.08], &[0.5, 2.0, 9.0, 1.0]);
        for (ours, right) in adjusted.iter().zip([0.07, 0.15, f64::NAN, 0.15]) {
            assert!((ours - right).abs() < 1e-12 || (ours.is_nan() && right.is_nan()), "{adjusted:?}");
        }
        let p = [0.2, 0.01, 0.04, 0.03, 0.04];
        for (ours, right) in weighted_holm(&p, &[0.3; 5]).iter().zip(holm(&p)) {
            assert!((ours - right).abs() < 1e-12);
        }
    }

    #[test]
    fn weighted_holm_finds_something_among_nothing_in_one_set_of_twenty_at_most() {
        let mut random = crate::rng::stream(4, "weighted holm");
        let mut uniform = || random.random::<f64>();
        let weights: Vec<f64> = (0..50).map(|_| uniform().powi(3).max(0.01)).collect();
        let found = (0..4000)
            .filter(|_| {
                let p: Vec<f64> = (0..50).map(|_| uniform()).collect();
                weighted_holm(&p, &weights).iter().any(|&p| p < 0.05)
            })
            .count();
        // 4.9 % expected, sd .34.
        assert!((150..=240).contains(&found), "{found}");
    }
}
