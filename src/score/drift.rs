//! Whether new pairs look like those that the run was made from.
//!
//! What is compared needs no labels: how often each feature is active, how much of a delta the autoencoder
//! explains, how far the lengths differ. A warning needs both a difference that matters and more than chance.

use serde::{Deserialize, Serialize};

use crate::matrix::Matrix;

/// Difference in prevalence that matters.
const MATTERS: f64 = 0.10;
/// z beyond which a difference is no chance, with a hundred features looked at.
const BEYOND_CHANCE: f64 = 4.5;
/// Rise of the normalised error that matters.
const ERROR_MATTERS: f64 = 0.05;
/// Ratio of mean length differences that matters.
const LENGTH_MATTERS: f64 = 2.0;
/// Fewer pairs than this say nothing.
const FEWEST: usize = 50;

/// How pairs look.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BaselineStats {
    /// Pairs.
    pub pairs: usize,
    /// Share of pairs with an activation other than 0, `[features]`.
    pub prevalence: Vec<f64>,
    /// Share of pairs without any active feature of the autoencoder.
    pub silent: f64,
    /// Mean |word-count difference|.
    pub length: f64,
    /// Normalised mean squared error of the autoencoder.
    pub nmse: Option<f64>,
}

impl BaselineStats {
    /// Of the run's own pairs; the first `learned` features are the autoencoder's.
    pub fn of(activations: &Matrix, lengths: &[f32], learned: usize, nmse: Option<f64>) -> Self {
        let mut sum = Sum::new(activations.cols, learned);
        sum.add(activations, &[], None);
        let mut looks = sum.looks();
        looks.length = lengths.iter().map(|l| f64::from(l.abs())).sum::<f64>() / lengths.len().max(1) as f64;
        looks.nmse = nmse;
        looks
    }
}

/// Adds up pairs as they pass by.
#[derive(Debug, Clone)]
pub struct Sum {
    learned: usize,
    pairs: usize,
    active: Vec<u64>,
    silent: u64,
    length: f64,
    lengths: usize,
    nmse: f64,
    measured: usize,
}

impl Sum {
    /// Nothing yet.
    pub fn new(features: usize, learned: usize) -> Self {
        Self {
            learned,
            pairs: 0,
            active: vec![0; features],
            silent: 0,
            length: 0.0,
            lengths: 0,
            nmse: 0.0,
            measured: 0,
        }
    }

    /// Adds pairs, and their normalised error where it was measured.
    pub fn add(&mut self, activations: &Matrix, lengths: &[f32], nmse: Option<f64>) {
        for row in 0..activations.rows() {
            let z = activations.row(row);
            for (active, z) in self.active.iter_mut().zip(z) {
                *active += u64::from(*z != 0.0);
            }
            self.silent += u64::from(z.iter().take(self.learned).all(|z| *z == 0.0));
        }
        self.pairs += activations.rows();
        self.length += lengths.iter().map(|l| f64::from(l.abs())).sum::<f64>();
        self.lengths += lengths.len();
        if let Some(nmse) = nmse.filter(|nmse| nmse.is_finite()) {
            self.nmse += nmse * activations.rows() as f64;
            self.measured += activations.rows();
        }
    }

    /// What they look like.
    pub fn looks(&self) -> BaselineStats {
        let n = self.pairs.max(1) as f64;
        BaselineStats {
            pairs: self.pairs,
            prevalence: self.active.iter().map(|&active| active as f64 / n).collect(),
            silent: self.silent as f64 / n,
            length: self.length / self.lengths.max(1) as f64,
            nmse: (self.measured > 0).then(|| self.nmse / self.measured as f64),
        }
    }
}

/// One way in which new pairs differ.
#[derive(Debug, Clone, PartialEq)]
pub enum Drift {
    /// A feature is active in another share of the pairs.
    Prevalence {
        /// Index of the feature.
        feature: usize,
        /// Share in the run.
        before: f64,
        /// Share in the new pairs.
        now: f64,
    },
    /// No feature of the autoencoder is active in another share of the pairs.
    Silent {
        /// Share in the run.
        before: f64,
        /// Share in the new pairs.
        now: f64,
    },
    /// The autoencoder explains less.
    Error {
        /// Normalised error on the run's held-out pairs.
        before: f64,
        /// In the new pairs.
        now: f64,
    },
    /// Responses differ more, or less, in length.
    Length {
        /// Mean difference in words in the run.
        before: f64,
        /// In the new pairs.
        now: f64,
    },
}

/// How new pairs differ from the run's, the largest shifts of features first.
pub fn compare(run: &BaselineStats, new: &BaselineStats, with_texts: bool) -> Vec<Drift> {
    if new.pairs < FEWEST {
        return Vec::new();
    }
    let apart = |before: f64, now: f64| {
        let both = (before * run.pairs as f64 + now * new.pairs as f64) / (run.pairs + new.pairs) as f64;
        let variance = both * (1.0 - both) * (1.0 / run.pairs.max(1) as f64 + 1.0 / new.pairs as f64);
        (now - before).abs() > MATTERS && (now - before).abs() > BEYOND_CHANCE * variance.sqrt()
    };
    let mut found: Vec<Drift> = run
        .prevalence
        .iter()
        .zip(&new.prevalence)
        .enumerate()
        .filter(|(_, (before, now))| apart(**before, **now))
        .map(|(feature, (&before, &now))| Drift::Prevalence { feature, before, now })
        .collect();
    let size = |drift: &Drift| match drift {
        Drift::Prevalence { before, now, .. } => (now - before).abs(),
        _ => 0.0,
    };
    found.sort_by(|a, b| size(b).total_cmp(&size(a)));
    if apart(run.silent, new.silent) {
        found.push(Drift::Silent { before: run.silent, now: new.silent });
    }
    if let (Some(before), Some(now)) = (run.nmse, new.nmse)
        && now > before + ERROR_MATTERS
    {
        found.push(Drift::Error { before, now });
    }
    let ratio = (new.length + 1.0) / (run.length + 1.0);
    if with_texts && !(1.0 / LENGTH_MATTERS..LENGTH_MATTERS).contains(&ratio) {
        found.push(Drift::Length { before: run.length, now: new.length });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(share: f64, pairs: usize) -> BaselineStats {
        BaselineStats { pairs, prevalence: vec![share, 0.3], silent: 0.1, length: 20.0, nmse: Some(0.5) }
    }

    #[test]
    fn a_shift_needs_size_and_numbers() {
        assert!(compare(&looks(0.2, 1000), &looks(0.2, 1000), true).is_empty());
        assert_eq!(
            compare(&looks(0.2, 1000), &looks(0.5, 1000), true),
            [Drift::Prevalence { feature: 0, before: 0.2, now: 0.5 }]
        );
        // Large but chance, and certain but small.
        assert!(compare(&looks(0.2, 1000), &looks(0.31, 60), true).is_empty());
        assert!(compare(&looks(0.2, 1_000_000), &looks(0.22, 1_000_000), true).is_empty());
        assert!(compare(&looks(0.2, 1000), &looks(0.9, 20), true).is_empty());
        let odd = BaselineStats { length: 100.0, nmse: Some(0.9), ..looks(0.2, 1000) };
        assert_eq!(
            compare(&looks(0.2, 1000), &odd, true),
            [Drift::Error { before: 0.5, now: 0.9 }, Drift::Length { before: 20.0, now: 100.0 }]
        );
        assert_eq!(compare(&looks(0.2, 1000), &odd, false), [Drift::Error { before: 0.5, now: 0.9 }]);
    }

    #[test]
    fn pairs_add_up_in_any_pieces() {
        let whole = Matrix { values: vec![1.0, 0.0, 0.0, 0.0, -2.0, 3.0], cols: 2 };
        let mut in_one = Sum::new(2, 1);
        in_one.add(&whole, &[3.0, -1.0, 2.0], Some(0.5));
        let mut by_rows = Sum::new(2, 1);
        for (row, length) in [3.0, -1.0, 2.0].into_iter().enumerate() {
            by_rows.add(&whole.select_rows(&[row as u32]), &[length], Some(0.5));
        }
        assert_eq!(in_one.looks(), by_rows.looks());
        let looks = in_one.looks();
        assert_eq!((looks.pairs, looks.length, looks.nmse), (3, 2.0, Some(0.5)));
        assert!((looks.prevalence[0] - 2.0 / 3.0).abs() < 1e-12 && (looks.silent - 1.0 / 3.0).abs() < 1e-12);
    }
}
