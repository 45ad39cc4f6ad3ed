//! Area under the ROC curve, with an interval that knows about clusters.

use super::Figure;
use super::clusters::Clusters;
use super::numeric::quantile_95;

/// The area under the ROC curve with every judgement's share in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// P(a preferred pair scores above a dispreferred one), ties counted half.
    pub value: f64,
    /// Influence of each judgement, `[judgements]`: they sum to zero, and the variance of the figure is that
    /// of their sum over clusters.
    pub influence: Vec<f64>,
    /// Σ of the rarer label, for what a perfect ranking can still be wrong about.
    rarer: f64,
}

impl Ranking {
    /// How `score` ranks the labels `y`, both `[judgements]`. A soft label y counts as y of a positive and
    /// 1 − y of a negative row.
    ///
    /// `None` when one of the two labels is missing, a score is not finite, or the lengths differ.
    pub fn new(score: &[f64], y: &[f64]) -> Option<Self> {
        let n = y.len();
        if score.len() != n || !score.iter().all(|score| score.is_finite()) {
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
        let influence = (beats.iter().zip(y))
            .map(|(&(below, above), &y)| {
                y * (below - value) / positive + (1.0 - y) * (above - value) / negative
            })
            .collect();
        Some(Self { value, influence, rarer: positive.min(negative) })
    }

    /// The mean of several rankings of the same judgements; `None` without any, or where they differ in length.
    pub fn mean(rankings: &[Self]) -> Option<Self> {
        let first = rankings.first()?;
        let count = rankings.len() as f64;
        let mut mean = Self { value: 0.0, influence: vec![0.0; first.influence.len()], rarer: first.rarer };
        for ranking in rankings {
            if ranking.influence.len() != mean.influence.len() {
                return None;
            }
            mean.value += ranking.value / count;
            let both = mean.influence.iter_mut().zip(&ranking.influence);
            both.for_each(|(mean, one)| *mean += one / count);
        }
        Some(mean)
    }

    /// The figure with its 95 % interval; see [`auc`].
    pub fn figure(&self, clusters: &Clusters) -> Option<Figure> {
        let (value, n) = (self.value, self.influence.len());
        if clusters.rows() != n {
            return None;
        }
        if clusters.count(0) < 2 {
            return Some(Figure { value, low: 0.0, high: 1.0, n });
        }
        let (low, high) = match clusters.variance(None, &self.influence) {
            Some((variance, df)) if variance > 0.0 && value > 0.0 && value < 1.0 => {
                let half = quantile_95(Some(df)) * variance.sqrt() / (value * (1.0 - value));
                let logit = (value / (1.0 - value)).ln();
                let back = |x: f64| 1.0 / (1.0 + (-x).exp());
                (back(logit - half), back(logit + half))
            }
            // A perfect ranking: no spread to see, so the bound of as many successes as the rarer label has.
            _ if value <= 0.0 || value >= 1.0 => {
                let bound = 0.025_f64.powf(1.0 / self.rarer);
                if value >= 1.0 { (bound, 1.0) } else { (0.0, 1.0 - bound) }
            }
            _ => (0.0, 1.0),
        };
        Some(Figure { value, low, high, n })
    }

    /// This figure minus that of another ranking of the same judgements, with the 95 % interval of the
    /// difference (DeLong's for correlated curves, clustered): far narrower than two intervals side by side.
    pub fn minus(&self, other: &Self, clusters: &Clusters) -> Option<Figure> {
        let n = self.influence.len();
        if clusters.rows() != n || other.influence.len() != n {
            return None;
        }
        let value = self.value - other.value;
        let influence: Vec<f64> = self.influence.iter().zip(&other.influence).map(|(a, b)| a - b).collect();
        let (variance, df) = clusters.variance(None, &influence)?;
        let half = quantile_95(Some(df)) * variance.sqrt();
        Some(Figure { value, low: value - half, high: value + half, n })
    }
}

/// P(a preferred pair scores above a dispreferred one), ties counted half, with a 95 % interval.
///
/// The variance is that of DeLong, DeLong & Clarke-Pearson (1988) in its clustered form (Obuchowski 1997):
/// every judgement's influence on the figure, summed within clusters. It was chosen over a cluster bootstrap
/// because it needs one sort and no random numbers and has the same coverage. The interval is built on the
/// log-odds of the figure, so that it stays within 0 and 1.
///
/// `None` when one of the two labels is missing, a score is not finite, or the lengths differ.
pub fn auc(score: &[f64], y: &[f64], clusters: &Clusters) -> Option<Figure> {
    Ranking::new(score, y)?.figure(clusters)
}
