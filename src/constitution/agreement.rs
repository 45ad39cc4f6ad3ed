//! How far the labels agree with a principle that votes by itself (METHOD §6).
//!
//! A principle votes on every labelled pair for the side with more of it, and says nothing where neither
//! has more. With a labels that agree with the vote, b that disagree and c without a vote:
//!
//! ```text
//! relevance = (a + b) / (a + b + c)      accuracy = a / (a + b)
//! κ = 2 (accuracy − ½)                   strength = κ · relevance = (a − b) / (a + b + c)
//! ```
//!
//! These are the figures of Inverse Constitutional AI and Feedback Forensics. Like every effect here they
//! are signed from the concept: what the annotators avoid has a negative κ and strength. Ties are left out.
//! The intervals are ours: 95 %, by the delta method, clustered by prompt and annotator.

use serde::{Deserialize, Serialize};

use crate::effects::{Sample, quantile_95};

/// The counts of a principle's votes and what follows from them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agreement {
    /// Labels that agree with the vote, a.
    pub agree: usize,
    /// Labels that disagree with it, b.
    pub disagree: usize,
    /// Labels on which it does not vote, c.
    pub other: usize,
    /// Share of the labels on which it votes; 0 without labels.
    pub relevance: f64,
    /// Lower end of its 95 % interval.
    pub relevance_low: Option<f64>,
    /// Upper end.
    pub relevance_high: Option<f64>,
    /// Share of the votes that the labels agree with; ½ without a vote.
    pub accuracy: f64,
    /// Lower end of its 95 % interval.
    pub accuracy_low: Option<f64>,
    /// Upper end.
    pub accuracy_high: Option<f64>,
    /// Cohen's κ where chance agrees half of the time.
    pub kappa: f64,
    /// Lower end of its 95 % interval.
    pub kappa_low: Option<f64>,
    /// Upper end.
    pub kappa_high: Option<f64>,
    /// κ times relevance.
    pub strength: f64,
    /// Lower end of its 95 % interval.
    pub strength_low: Option<f64>,
    /// Upper end.
    pub strength_high: Option<f64>,
}

impl Agreement {
    /// The figures of counts alone, without intervals.
    pub fn of_counts(agree: usize, disagree: usize, other: usize) -> Self {
        let (a, b, all) = (agree as f64, disagree as f64, (agree + disagree + other) as f64);
        let accuracy = if agree + disagree == 0 { 0.5 } else { a / (a + b) };
        let share = |part: f64| if all > 0.0 { part / all } else { 0.0 };
        Self {
            agree,
            disagree,
            other,
            relevance: share(a + b),
            accuracy,
            kappa: 2.0 * (accuracy - 0.5),
            strength: share(a - b),
            ..Self::default()
        }
    }

    /// Labels it is about.
    pub fn labels(&self) -> usize {
        self.agree + self.disagree + self.other
    }
}

/// Agreement of votes with the labels of `sample`; `votes` is signed, `[judgements]`: above 0 for A, below
/// 0 for B, 0 for neither. Values beyond its end count as no vote.
pub fn agreement(votes: &[f32], sample: &Sample) -> Agreement {
    // +1 agrees, −1 disagrees, 0 does not vote.
    let sides: Vec<f64> = sample
        .y()
        .iter()
        .enumerate()
        .map(|(at, y)| {
            let vote = votes.get(at).copied().unwrap_or(0.0);
            let sign = f64::from(i8::from(vote > 0.0) - i8::from(vote < 0.0));
            if *y > 0.5 { sign } else { -sign }
        })
        .collect();
    let count = |wanted: f64| sides.iter().filter(|side| **side == wanted).count();
    let mut found = Agreement::of_counts(count(1.0), count(-1.0), count(0.0));
    let (n, voted) = (sides.len() as f64, (found.agree + found.disagree) as f64);
    let half = |influence: &dyn Fn(f64) -> f64| {
        let values: Vec<f64> = sides.iter().map(|side| influence(*side)).collect();
        let (variance, df) = sample.clusters().variance(None, &values)?;
        Some(quantile_95(Some(df)) * variance.max(0.0).sqrt()).filter(|half| half.is_finite())
    };
    let ends = |value: f64, half: Option<f64>, least: f64| {
        (half.map(|half| (value - half).max(least)), half.map(|half| (value + half).min(1.0)))
    };
    let strength = half(&|side| (side - found.strength) / n);
    (found.strength_low, found.strength_high) = ends(found.strength, strength, -1.0);
    let relevance = half(&|side| (side.abs() - found.relevance) / n);
    (found.relevance_low, found.relevance_high) = ends(found.relevance, relevance, 0.0);
    if voted > 0.0 {
        let accuracy = half(&|side| side.abs() * (f64::from(u8::from(side > 0.0)) - found.accuracy) / voted);
        (found.accuracy_low, found.accuracy_high) = ends(found.accuracy, accuracy, 0.0);
        (found.kappa_low, found.kappa_high) = ends(found.kappa, accuracy.map(|half| 2.0 * half), -1.0);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(y: &[f64], clusters: &[Vec<u32>]) -> Sample {
        Sample::new(y.to_vec(), vec![0.0; y.len()], (0..y.len() as u32).collect(), clusters).unwrap()
    }

    #[test]
    fn the_formulas_are_those_of_the_method() {
        let found = agreement(&[1.0, 1.0, -2.0, 0.0, 0.5], &sample(&[1.0, 0.0, 0.0, 1.0, 0.9], &[]));
        assert_eq!((found.agree, found.disagree, found.other), (3, 1, 1));
        assert_eq!((found.relevance, found.accuracy, found.kappa), (0.8, 0.75, 0.5));
        assert!((found.strength - found.kappa * found.relevance).abs() < 1e-15);
        assert_eq!(found.strength, 0.4);
    }

    #[test]
    fn swapping_the_responses_changes_nothing_and_turning_the_concept_turns_the_sign() {
        let (votes, y) = ([1.0, -1.0, 0.0, 3.0, -0.5, 1.0], [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let minus: Vec<f32> = votes.iter().map(|v| -v).collect();
        let other: Vec<f64> = y.iter().map(|y| 1.0 - y).collect();
        let found = agreement(&votes, &sample(&y, &[]));
        assert_eq!(agreement(&minus, &sample(&other, &[])), found);
        let turned = agreement(&minus, &sample(&y, &[]));
        assert_eq!((turned.strength, turned.kappa), (-found.strength, -found.kappa));
        assert_eq!(turned.strength_low, found.strength_high.map(|high| -high));
    }

    #[test]
    fn intervals_are_those_of_a_mean_and_grow_with_clusters() {
        let y: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 4 != 0))).collect();
        let votes = vec![1.0; 400];
        let alone = agreement(&votes, &sample(&y, &[]));
        // Three of four agree: sd of ±1 is √(1 − ¼), over 400 labels.
        let half = 1.966 * (0.75f64 / 400.0).sqrt();
        assert!((alone.strength_high.unwrap() - 0.5 - half).abs() < 2e-3, "{alone:?}");
        let same: Vec<u32> = (0..400).map(|i| (i % 4) * 50 + i / 40).collect();
        let clustered = agreement(&votes, &sample(&y, &[same]));
        assert!(clustered.strength_high > alone.strength_high);
    }

    #[test]
    fn without_votes_or_labels_there_is_an_answer() {
        let none = agreement(&[0.0, 0.0], &sample(&[1.0, 0.0], &[]));
        assert_eq!((none.accuracy, none.kappa, none.strength, none.relevance), (0.5, 0.0, 0.0, 0.0));
        assert_eq!(none.accuracy_low, None);
        assert_eq!(agreement(&[], &sample(&[], &[])).strength, 0.0);
    }
}
