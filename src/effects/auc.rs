//! Area under the ROC curve, with an interval that knows about clusters.

use super::Estimate;
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
    pub fn figure(&self, clusters: &Clusters) -> Option<Estimate> {
        let (value, n) = (self.value, self.influence.len());
        if clusters.rows() != n {
            return None;
        }
        if clusters.count(0) < 2 {
            return Some(Estimate { value, low: 0.0, high: 1.0, n });
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
        Some(Estimate { value, low, high, n })
    }

    /// This figure minus that of another ranking of the same judgements, with the 95 % interval of the
    /// difference (DeLong's for correlated curves, clustered): far narrower than two intervals side by side.
    pub fn minus(&self, other: &Self, clusters: &Clusters) -> Option<Estimate> {
        let n = self.influence.len();
        if clusters.rows() != n || other.influence.len() != n {
            return None;
        }
        let value = self.value - other.value;
        let influence: Vec<f64> = self.influence.iter().zip(&other.influence).map(|(a, b)| a - b).collect();
        let (variance, df) = clusters.variance(None, &influence)?;
        let half = quantile_95(Some(df)) * variance.sqrt();
        Some(Estimate { value, low: value - half, high: value + half, n })
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
pub fn auc(score: &[f64], y: &[f64], clusters: &Clusters) -> Option<Estimate> {
    Ranking::new(score, y)?.figure(clusters)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    /// Two scores of the same labels, correlated, with ties.
    fn drawn(n: usize) -> ([Vec<f64>; 2], Vec<f64>) {
        let mut random = crate::rng::stream(5, "two scores");
        let mut draw = || random.random_range(-1.0f64..1.0) + random.random_range(-1.0f64..1.0);
        let y: Vec<f64> = (0..n).map(|row| f64::from(u8::from(row % 3 == 0))).collect();
        let shared: Vec<f64> = y.iter().map(|y| 0.7 * y + draw()).collect();
        let scores = [0.5, 1.0].map(|noise| -> Vec<f64> {
            shared.iter().map(|shared| ((shared + noise * draw()) * 8.0).round() / 8.0).collect()
        });
        (scores, y)
    }

    /// DeLong, DeLong & Clarke-Pearson (1988) as they write it: every positive against every negative.
    fn by_definition(scores: &[Vec<f64>; 2], y: &[f64]) -> (f64, f64) {
        let at = |wanted: f64| -> Vec<usize> { (0..y.len()).filter(|&row| y[row] == wanted).collect() };
        let (positive, negative) = (at(1.0), at(0.0));
        // −0 and 0, which rounding leaves, are a tie.
        let wins = |score: &[f64], i: usize, j: usize| {
            if score[i] == score[j] { 0.5 } else { f64::from(u8::from(score[i] > score[j])) }
        };
        // Differences of the structural components, so that one variance is the difference's.
        let difference = |i: usize, j: usize| wins(&scores[0], i, j) - wins(&scores[1], i, j);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let of_positive: Vec<f64> = (positive.iter())
            .map(|&i| mean(&negative.iter().map(|&j| difference(i, j)).collect::<Vec<_>>()))
            .collect();
        let of_negative: Vec<f64> = (negative.iter())
            .map(|&j| mean(&positive.iter().map(|&i| difference(i, j)).collect::<Vec<_>>()))
            .collect();
        let part = |values: &[f64]| {
            let center = mean(values);
            let square: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
            square / (values.len() - 1) as f64 / values.len() as f64
        };
        (mean(&of_positive), (part(&of_positive) + part(&of_negative)).sqrt())
    }

    #[test]
    fn the_difference_of_two_areas_is_delongs() {
        let (scores, y) = drawn(600);
        let clusters = Clusters::new(y.len(), &[]);
        let [one, other] = scores.each_ref().map(|score| Ranking::new(score, &y).unwrap());
        let (value, error) = by_definition(&scores, &y);
        let found = one.minus(&other, &clusters).unwrap();
        assert!((found.value - value).abs() < 1e-12, "{found:?} {value}");
        // The variance differs from theirs in the n − 1 of each label, and in Student's quantile.
        let half = (found.high - found.low) / 2.0;
        assert!((half / (1.96 * error) - 1.0).abs() < 0.01, "{half} where DeLong has {}", 1.96 * error);
        // Taking the two apart would give far more.
        let alone = |ranking: &Ranking| ranking.figure(&clusters).map(|f| (f.high - f.low) / 2.0).unwrap();
        assert!(half < 0.8 * alone(&one).hypot(alone(&other)));
        // The other way round, and against itself.
        let back = other.minus(&one, &clusters).unwrap();
        assert_eq!((back.value, back.low, back.high), (-found.value, -found.high, -found.low));
        let nothing = one.minus(&one, &clusters).unwrap();
        assert_eq!((nothing.value, nothing.low, nothing.high), (0.0, 0.0, 0.0));
        // Every judgement twice in a cluster of its own: the same interval, not a narrower one.
        let twice = |values: &[f64]| -> Vec<f64> { values.iter().flat_map(|v| [*v, *v]).collect() };
        let pairs = Clusters::new(2 * y.len(), &[(0..2 * y.len() as u32).map(|row| row / 2).collect()]);
        let [one, other] = scores.each_ref().map(|score| Ranking::new(&twice(score), &twice(&y)).unwrap());
        let again = one.minus(&other, &pairs).unwrap();
        assert!(((again.high - again.low) / 2.0 / half - 1.0).abs() < 0.01, "{again:?} {found:?}");
        assert!(one.minus(&other, &clusters).is_none(), "other judgements");
    }

    #[test]
    fn the_mean_of_rankings_has_the_means_figure() {
        let (scores, y) = drawn(200);
        let rankings = scores.map(|score| Ranking::new(&score, &y).unwrap());
        let mean = Ranking::mean(&rankings).unwrap();
        assert!((mean.value - (rankings[0].value + rankings[1].value) / 2.0).abs() < 1e-12);
        assert_eq!(
            Ranking::mean(&[rankings[0].clone(), rankings[0].clone()]).unwrap().value,
            rankings[0].value
        );
        assert!(Ranking::mean(&[]).is_none());
        let (_, fewer) = drawn(100);
        let short = Ranking::new(&vec![0.0; 100], &fewer).unwrap();
        assert!(Ranking::mean(&[rankings[0].clone(), short]).is_none());
    }
}
