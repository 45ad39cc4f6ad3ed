//! From which activation on a feature is *clear*: where a reader would say that the sentence says it.
//!
//! Faint activations are noise to a reader: of sentences in the strongest fifth of a feature's activations .71 fit its
//! name, of the next fifth .43, of those below .28 (METHOD §2b). One cut for all features is wrong, too: where a
//! feature has two humps, one faint and one strong, the valley between them is the level.

use rayon::prelude::*;

use super::SparseRows;

/// Cells of the histogram over log activations.
const CELLS: usize = 48;
/// A valley counts where it is no higher than this share of the lower of the humps on its sides.
const DEEP: f64 = 0.6;
/// Share of a feature's activations that each side of a valley has at least.
const SIDE: f64 = 0.08;
/// Activations below which a histogram has no shape; then the widest gap between neighbours is the valley.
const FEW: usize = 40;
/// Such a gap is this wide at least, in logs.
const GAP: f64 = 0.2;
/// Where there is no valley, the quantile that takes its place.
const UPPER: f64 = 0.75;

/// The clear level of every feature, `[features]`, from its positive activations in different sentences: the deepest
/// valley of their smoothed histogram on a log scale (of a few, their widest gap), else their upper quartile. `f32::MAX` for a feature that is never
/// active.
pub fn clear_levels(z: &SparseRows) -> Vec<f32> {
    z.columns()
        .into_par_iter()
        .map(|column| clear_level(column.into_iter().map(|(_, value)| value).collect()))
        .collect()
}

/// The clear level of one feature with these positive activations.
pub fn clear_level(mut values: Vec<f32>) -> f32 {
    values.retain(|value| *value > 0.0 && value.is_finite());
    values.sort_unstable_by(f32::total_cmp);
    let quantile = |q: f64| {
        let at = (q * values.len().saturating_sub(1) as f64).round() as usize;
        values.get(at).copied()
    };
    let Some(upper) = quantile(UPPER) else { return f32::MAX };
    let valley = if values.len() >= FEW { valley(&values) } else { gap(&values) };
    valley.unwrap_or(upper)
}

/// The activation above the widest gap of ascending positive `values` that leaves three of them, and a sixth, above it.
fn gap(values: &[f32]) -> Option<f32> {
    let above = 3.max(values.len().div_ceil(6));
    let gaps = values.windows(2).take(values.len().saturating_sub(above)).filter_map(|pair| {
        let [low, high] = pair else { return None };
        Some(((f64::from(*high) / f64::from(*low)).ln(), *high))
    });
    let (wide, level) = gaps.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (wide >= GAP).then_some(level)
}

/// The deepest valley between two humps of ascending positive `values`.
fn valley(values: &[f32]) -> Option<f32> {
    let logs: Vec<f64> = values.iter().map(|value| f64::from(*value).ln()).collect();
    let (low, high) = (*logs.first()?, *logs.last()?);
    let width = (high - low) / CELLS as f64;
    if !(width.is_finite() && width > 1e-6) {
        return None;
    }
    let mut counts = vec![0.0; CELLS];
    for log in &logs {
        let cell = (((log - low) / width) as usize).min(CELLS - 1);
        if let Some(count) = counts.get_mut(cell) {
            *count += 1.0;
        }
    }
    // Wide enough that chance makes no valley: Silverman's width, and a cell and a half at least.
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let deviation = (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / logs.len() as f64).sqrt();
    let by = (0.9 * deviation * (logs.len() as f64).powf(-0.2) / width).max(1.5);
    let smooth: Vec<f64> = (0..CELLS)
        .map(|at| {
            let weight = |other: usize| (-0.5 * ((at as f64 - other as f64) / by).powi(2)).exp();
            let sum: f64 = counts.iter().enumerate().map(|(other, count)| count * weight(other)).sum();
            // At the ends half of the kernel lies where there can be no values.
            sum / (0..CELLS).map(weight).sum::<f64>()
        })
        .collect();
    let total: f64 = counts.iter().sum();
    let mut best: Option<(f64, usize)> = None;
    let mut below = 0.0;
    for at in 1..CELLS - 1 {
        below += counts[at - 1];
        if below < SIDE * total || below > (1.0 - SIDE) * total {
            continue;
        }
        let left = smooth[..at].iter().copied().fold(0.0, f64::max);
        let right = smooth[at + 1..].iter().copied().fold(0.0, f64::max);
        let depth = smooth[at] / left.min(right).max(f64::MIN_POSITIVE);
        if depth <= DEEP && best.is_none_or(|(lowest, _)| depth < lowest) {
            best = Some((depth, at));
        }
    }
    best.map(|(_, at)| (low + (at as f64 + 0.5) * width).exp() as f32)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::rng;

    fn humps(parts: &[(usize, f64, f64)]) -> Vec<f32> {
        let mut random = rng::stream(7, "humps");
        let mut normal = || {
            let (u, v): (f64, f64) = (random.random(), random.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        let all = parts.iter().flat_map(|&(n, at, by)| std::iter::repeat_n((at, by), n));
        all.map(|(at, by)| (at + by * normal()).exp() as f32).collect()
    }

    #[test]
    fn two_humps_are_parted_in_their_valley_and_one_hump_at_its_upper_quartile() {
        let level = clear_level(humps(&[(300, -2.0, 0.2), (200, -0.3, 0.2)]));
        assert!((-1.7..-0.7).contains(&f64::from(level).ln()), "{level}");
        // A small hump of strong ones, a faint one cut off on its left as θ cuts it.
        let mut values = humps(&[(800, -2.0, 0.3), (90, -0.2, 0.15)]);
        values.retain(|value| *value > 0.13);
        let level = clear_level(values);
        assert!((-1.3..-0.5).contains(&f64::from(level).ln()), "{level}");
        // A dozen sentences, four of which say it.
        let level = clear_level(humps(&[(8, -2.0, 0.05), (4, -0.5, 0.05)]));
        assert!((-0.7..-0.4).contains(&f64::from(level).ln()), "{level}");
        for parts in [vec![(500, -1.0, 0.4)], vec![(300, -1.0, 0.2), (200, -0.8, 0.2)]] {
            let values = humps(&parts);
            let level = clear_level(values.clone());
            let above = values.iter().filter(|value| **value >= level).count() as f64 / values.len() as f64;
            assert!((above - 0.25).abs() < 0.03, "{parts:?}: {above}");
        }
    }

    #[test]
    fn levels_of_nothing_and_of_equal_values_are_sound() {
        assert_eq!(clear_level(vec![]), f32::MAX);
        assert_eq!(clear_level(vec![0.5; 100]), 0.5);
        assert_eq!(clear_level(vec![0.3]), 0.3);
    }
}
