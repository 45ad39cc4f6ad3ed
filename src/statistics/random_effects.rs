//! Random effects: estimates of several annotators that differ by chance and, perhaps, in truth.
//!
//! yᵢ ~ N(μ, vᵢ + τ²), the sampling variances vᵢ known (METHOD §8, second stage). τ² by restricted
//! maximum likelihood and by Paule & Mandel (1982), its interval by the Q-profile (Viechtbauer 2007),
//! and the likelihood-ratio test of groups with means of their own.

use rand::{Rng, RngExt};
use statrs::distribution::{ChiSquared, Continuous, ContinuousCDF};

/// Points of the grid on which the likelihood's ups and downs are looked for.
const GRID: usize = 60;
/// Simulated sets behind the correction of the likelihood-ratio test.
const SIMULATED: usize = 300;
/// Estimates from which on that test needs no correction: its error shrinks with their number.
const LARGE: usize = 500;

/// Estimates with their sampling variances; the same length, variances above 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimates {
    /// Estimates.
    pub y: Vec<f64>,
    /// Their sampling variances.
    pub v: Vec<f64>,
}

/// A test of a hypothesis by a chi-squared statistic.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ChiTest {
    /// The statistic.
    pub statistic: f64,
    /// Its degrees of freedom.
    pub df: f64,
    /// P of a larger one if there is nothing.
    pub p: f64,
}

/// P(χ² > x).
pub fn chi_squared_p(x: f64, df: f64) -> f64 {
    if !(x.is_finite() && df > 0.0) {
        return f64::NAN;
    }
    ChiSquared::new(df).map_or(f64::NAN, |chi| chi.sf(x.max(0.0)))
}

/// The value that χ² stays below with probability `share`.
fn chi_squared_quantile(share: f64, df: f64) -> f64 {
    let Ok(chi) = ChiSquared::new(df) else { return f64::NAN };
    let mut x = chi.inverse_cdf(share);
    // The library stops at a few digits; Newton steps give the rest.
    for _ in 0..4 {
        let slope = chi.pdf(x);
        if slope > 0.0 {
            x = (x - (chi.cdf(x) - share) / slope).max(x / 2.0);
        }
    }
    x
}

impl Estimates {
    /// Number of estimates.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// The weighted mean at τ² and its standard error.
    pub fn mean(&self, tau2: f64) -> (f64, f64) {
        let (sum, weights) = (self.y.iter().zip(&self.v)).fold((0.0, 0.0), |(sum, weights), (y, v)| {
            let w = 1.0 / (v + tau2);
            (sum + w * y, weights + w)
        });
        (sum / weights, weights.recip().sqrt())
    }

    /// Generalised Q at τ²: Σ (yᵢ − μ̂)² / (vᵢ + τ²).
    fn q(&self, tau2: f64) -> f64 {
        let (mean, _) = self.mean(tau2);
        self.y.iter().zip(&self.v).map(|(y, v)| (y - mean).powi(2) / (v + tau2)).sum()
    }

    /// Cochran's test of τ² = 0.
    pub fn cochran(&self) -> ChiTest {
        let (statistic, df) = (self.q(0.0), self.len() as f64 - 1.0);
        ChiTest { statistic, df, p: chi_squared_p(statistic, df) }
    }

    /// A τ² that is certainly too large: there Q is far below every quantile that is asked for.
    fn ceiling(&self) -> f64 {
        let largest = self.y.iter().map(|y| y.abs()).fold(0.0, f64::max);
        let noise = self.v.iter().copied().fold(0.0, f64::max);
        1.0 + 4.0 * largest * largest * self.len() as f64 + noise
    }

    /// The τ² ≥ 0 at which Q is `target`; 0 where Q is smaller already.
    fn tau2_where_q_is(&self, target: f64) -> f64 {
        if self.q(0.0) <= target {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, self.ceiling());
        while self.q(high) > target && high < 1e12 {
            high *= 4.0;
        }
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if self.q(middle) > target { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// Paule and Mandel's τ²: Q is what it is on average, its degrees of freedom. NaN for fewer than two.
    pub fn paule_mandel(&self) -> f64 {
        if self.len() < 2 {
            return f64::NAN;
        }
        self.tau2_where_q_is(self.len() as f64 - 1.0)
    }

    /// The 95 % interval of τ² by the Q-profile.
    pub fn q_profile(&self) -> (f64, f64) {
        if self.len() < 2 {
            return (0.0, f64::INFINITY);
        }
        let df = self.len() as f64 - 1.0;
        let at = |share| self.tau2_where_q_is(chi_squared_quantile(share, df));
        (at(0.975), at(0.025))
    }

    /// τ² by restricted maximum likelihood. NaN for fewer than two.
    pub fn reml(&self) -> f64 {
        if self.len() < 2 {
            return f64::NAN;
        }
        let sums = |tau2: f64| {
            let (mean, _) = self.mean(tau2);
            let mut s = [0.0; 4];
            for (y, v) in self.y.iter().zip(&self.v) {
                let w = 1.0 / (v + tau2);
                let square = (y - mean).powi(2);
                s[0] += w;
                s[1] += w * w;
                s[2] += w * square;
                s[3] += w * w * square;
            }
            s
        };
        let slope = |tau2: f64| {
            let [w, ww, _, wws] = sums(tau2);
            0.5 * (wws - w + ww / w)
        };
        let value = |tau2: f64| {
            let [w, _, ws, _] = sums(tau2);
            -0.5 * (self.log_variances(tau2) + w.ln() + ws)
        };
        maximise(&slope, &value, self.ceiling())
    }

    /// Σ log(vᵢ + τ²).
    fn log_variances(&self, tau2: f64) -> f64 {
        self.v.iter().map(|v| (v + tau2).ln()).sum()
    }

    /// The largest log-likelihood with one mean per group and a common τ², and that τ².
    fn grouped(&self, group: &[u32], groups: usize) -> (f64, f64) {
        let squares = |tau2: f64| {
            let mut sums = vec![(0.0, 0.0); groups];
            for ((y, v), &g) in self.y.iter().zip(&self.v).zip(group) {
                let w = 1.0 / (v + tau2);
                let slot = &mut sums[g as usize];
                *slot = (slot.0 + w * y, slot.1 + w);
            }
            let mut s = [0.0; 3];
            for ((y, v), &g) in self.y.iter().zip(&self.v).zip(group) {
                let w = 1.0 / (v + tau2);
                let square = (y - sums[g as usize].0 / sums[g as usize].1).powi(2);
                s[0] += w;
                s[1] += w * square;
                s[2] += w * w * square;
            }
            s
        };
        let slope = |tau2: f64| {
            let [w, _, wws] = squares(tau2);
            0.5 * (wws - w)
        };
        let value = |tau2: f64| -0.5 * (self.log_variances(tau2) + squares(tau2)[1]);
        let tau2 = maximise(&slope, &value, self.ceiling());
        (value(tau2), tau2)
    }

    /// Likelihood-ratio test of whether groups differ in their mean; `group` numbers them from 0.
    ///
    /// Both models have a τ² of their own, so that annotators who differ anyway do not pass for groups that
    /// do. With few annotators the statistic runs too large; it is divided by its mean in simulated sets
    /// without groups (an empirical Bartlett correction). `None` with fewer than two groups, or no
    /// annotator more than there are groups.
    pub fn groups(&self, group: &[u32], random: &mut impl Rng) -> Option<ChiTest> {
        let groups = group.iter().max().map_or(0, |&most| most as usize + 1);
        if groups < 2 || self.len() <= groups + 1 || group.len() != self.len() {
            return None;
        }
        let df = groups as f64 - 1.0;
        let one = vec![0; self.len()];
        let ratio = |set: &Self| (2.0 * (set.grouped(group, groups).0 - set.grouped(&one, 1).0)).max(0.0);
        let mut statistic = ratio(self);
        if self.len() < LARGE {
            let (_, tau2) = self.grouped(&one, 1);
            let mut total = 0.0;
            for _ in 0..SIMULATED {
                let y = self.v.iter().map(|v| (v + tau2).sqrt() * normal(random)).collect();
                total += ratio(&Self { y, v: self.v.clone() });
            }
            statistic /= (total / (SIMULATED as f64 * df)).max(1.0);
        }
        Some(ChiTest { statistic, df, p: chi_squared_p(statistic, df) })
    }
}

/// A draw from the standard normal distribution (Box & Muller).
pub(crate) fn normal(random: &mut impl Rng) -> f64 {
    let u: f64 = 1.0 - random.random::<f64>();
    let angle: f64 = std::f64::consts::TAU * random.random::<f64>();
    (-2.0 * u.ln()).sqrt() * angle.cos()
}

/// The τ² ≥ 0 with the largest `value`: every place where the `slope` goes from up to down, and 0.
fn maximise(slope: &impl Fn(f64) -> f64, value: &impl Fn(f64) -> f64, ceiling: f64) -> f64 {
    let smallest = 1e-8_f64.min(ceiling);
    let step = (ceiling / smallest).ln() / (GRID - 1) as f64;
    let grid = |at: usize| if at == 0 { 0.0 } else { smallest * (step * (at - 1) as f64).exp() };
    let mut best = (value(0.0), 0.0);
    let mut before = (0.0, slope(0.0));
    for at in 1..=GRID {
        let here = (grid(at), slope(grid(at)));
        if before.1 > 0.0 && here.1 <= 0.0 {
            let (mut low, mut high) = (before.0, here.0);
            for _ in 0..100 {
                let middle = 0.5 * (low + high);
                if slope(middle) > 0.0 { low = middle } else { high = middle }
            }
            let found = 0.5 * (low + high);
            let there = value(found);
            if there > best.0 {
                best = (there, found);
            }
        }
        before = here;
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/fixtures/personalize/random_effects.json")).unwrap()
    }

    fn numbers(value: &serde_json::Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    }

    #[test]
    fn tau_its_interval_and_the_tests_equal_the_fixture() {
        for case in fixture()["cases"].as_array().unwrap() {
            let set = Estimates { y: numbers(&case["y"]), v: numbers(&case["v"]) };
            let near = |name: &str, ours: f64| {
                let theirs = case[name].as_f64().unwrap();
                assert!(
                    (ours - theirs).abs() < 1e-6 * theirs.abs().max(1.0),
                    "{} {name}: {ours} where the fixture has {theirs}",
                    case["name"]
                );
            };
            near("tau2_reml", set.reml());
            near("tau2_pm", set.paule_mandel());
            let (low, high) = set.q_profile();
            near("tau2_low", low);
            near("tau2_high", high);
            let (mean, se) = set.mean(set.reml());
            near("mean_reml", mean);
            near("mean_reml_se", se);
            let q = set.cochran();
            near("q", q.statistic);
            near("q_p", q.p);
            let group: Vec<u32> = numbers(&case["group"]).iter().map(|g| *g as u32).collect();
            let groups = 1 + *group.iter().max().unwrap() as usize;
            let ratio = 2.0 * (set.grouped(&group, groups).0 - set.grouped(&vec![0; set.len()], 1).0);
            near("lr", ratio);
        }
    }

    #[test]
    fn groups_are_not_invented_where_annotators_differ_by_themselves() {
        let mut random = crate::rng::stream(3, "groups");
        let (mut found, repetitions) = (0, 400);
        for _ in 0..repetitions {
            let v: Vec<f64> = (0..24).map(|i| 0.05 + 0.02 * f64::from(i % 7)).collect();
            let y = v.iter().map(|v| 0.4 + (v + 0.25).sqrt() * normal(&mut random)).collect();
            let group: Vec<u32> = (0..24).map(|i| i % 3).collect();
            let test = Estimates { y, v }.groups(&group, &mut random).unwrap();
            found += usize::from(test.p < 0.05);
        }
        // 400 · .05 = 20 with a standard deviation of 4.4.
        assert!((7..=33).contains(&found), "{found} of {repetitions} at the 5 % level");
    }

    #[test]
    fn groups_that_differ_are_found() {
        let mut random = crate::rng::stream(4, "groups");
        let group: Vec<u32> = (0..30).map(|i| i % 2).collect();
        let y = group.iter().map(|g| f64::from(*g) + 0.3 * normal(&mut random)).collect();
        let test = Estimates { y, v: vec![0.09; 30] }.groups(&group, &mut random).unwrap();
        assert!(test.p < 1e-4, "{test:?}");
    }

    #[test]
    fn too_few_estimates_say_so() {
        let one = Estimates { y: vec![1.0], v: vec![0.1] };
        assert!(one.reml().is_nan() && one.paule_mandel().is_nan());
        assert_eq!(one.q_profile(), (0.0, f64::INFINITY));
        assert!(one.groups(&[0], &mut crate::rng::stream(0, "x")).is_none());
        assert!(chi_squared_p(f64::NAN, 1.0).is_nan());
    }
}
