//! Area under the ROC curve, with an interval that knows about clusters.

use super::Figure;
use super::clusters::Clusters;
use super::numeric::quantile_95;

/// P(a preferred pair scores above a dispreferred one), ties counted half, with a 95 % interval.
///
/// A soft label y counts as y of a positive and 1 − y of a negative row. The variance is that of
/// DeLong, DeLong & Clarke-Pearson (1988) in its clustered form (Obuchowski 1997): every judgement's
/// influence on the figure, summed within clusters. It was chosen over a cluster bootstrap because
/// it needs one sort and no random numbers and has the same coverage. The interval is built on the
/// log-odds of the figure, so that it stays within 0 and 1.
///
/// `None` when one of the two labels is missing, a score is not finite, or the lengths differ.
pub fn auc(score: &[f64], y: &[f64], clusters: &Clusters) -> Option<Figure> {
    let n = y.len();
    if score.len() != n || clusters.rows() != n || !score.iter().all(|score| score.is_finite()) {
        return None;
    }
    let positive: f64 = y.iter().sum();
    let negative = n as f64 - positive;
    if !(positive > 0.0 && negative > 0.0) {
        return None;
    }
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_unstable_by(|&a, &b| score[a as usize].total_cmp(&score[b as usize]));
    // Share of the other label that a row beats (as a positive) or is beaten by (as a negative).
    let mut beats = vec![(0.0, 0.0); n];
    let (mut positive_below, mut negative_below) = (0.0, 0.0);
    let mut value = 0.0;
    for tie in order.chunk_by(|&a, &b| score[a as usize] == score[b as usize]) {
        let here: f64 = tie.iter().map(|&row| y[row as usize]).sum();
        let not_here = tie.len() as f64 - here;
        let below = (negative_below + not_here / 2.0) / negative;
        let above = 1.0 - (positive_below + here / 2.0) / positive;
        value += here * (negative_below + not_here / 2.0);
        for &row in tie {
            beats[row as usize] = (below, above);
        }
        positive_below += here;
        negative_below += not_here;
    }
    value /= positive * negative;
    let influence: Vec<f64> = (beats.iter().zip(y))
        .map(|(&(below, above), &y)| y * (below - value) / positive + (1.0 - y) * (above - value) / negative)
        .collect();
    let (low, high) = match clusters.variance(None, &influence, 1) {
        Some((variance, df)) if variance > 0.0 && value > 0.0 && value < 1.0 => {
            let half = quantile_95(Some(df)) * variance.sqrt() / (value * (1.0 - value));
            let logit = (value / (1.0 - value)).ln();
            let back = |x: f64| 1.0 / (1.0 + (-x).exp());
            (back(logit - half), back(logit + half))
        }
        // A perfect ranking: no spread to see, so the bound of as many successes as the rarer label has.
        Some(_) if value <= 0.0 || value >= 1.0 => {
            let bound = 0.025_f64.powf(1.0 / positive.min(negative));
            if value >= 1.0 { (bound, 1.0) } else { (0.0, 1.0 - bound) }
        }
        _ => (0.0, 1.0),
    };
    Some(Figure { value, low, high, n })
}
