//! Concepts of the user's own, read by a language model on a run's held-out pairs: how common they are, and
//! what they have to do with the label.

use serde::Serialize;

use super::judging::{Answers, CLEAR, Call, Judge, Question, Reading, taste_of};
use crate::rng;

/// A concept's readings, and what could not be read.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// In the order of the pairs.
    pub read: Vec<Reading>,
    /// Pairs in which an answer is missing in one order or both.
    pub missing: usize,
}

impl Readings {
    /// The reading of a pair: from −1 (B) over 0 (neither) to 1 (A), the mean of both orders.
    pub fn value(reading: &Reading) -> f32 {
        (reading.a_first - reading.b_first) / 2.0
    }
}

/// How two readings of the same pairs agree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// Pairs.
    pub n: usize,
    /// Share of pairs with the same answer of the three.
    pub same: f64,
    /// Cohen's κ over the three answers; `None` where it is not defined.
    pub kappa: Option<f64>,
}

/// Some of `pairs`, by chance.
pub fn sample(pairs: &[u32], count: usize, run_seed: u64) -> Vec<u32> {
    rng::sample(run_seed, "pairs for own concepts", pairs, count)
}

/// The calls that ask all `statements` about all `pairs`, in both orders.
pub fn calls(pairs: &[u32], statements: usize, pairs_per_call: usize) -> Vec<Call> {
    let all: Vec<u32> = (0..statements as u32).collect();
    pairs
        .chunks(pairs_per_call.max(1))
        .flat_map(|part| {
            let questions: Vec<Question> =
                part.iter().map(|&pair| Question { pair, statements: all.clone() }).collect();
            [false, true].map(|swapped| Call { questions: questions.clone(), swapped })
        })
        .collect()
}

/// Reads the concepts `statements` in `pairs`; one list of readings a concept.
///
/// # Errors
/// The judge's.
pub fn read<J: Judge>(
    judge: &mut J,
    statements: &[String],
    pairs: &[u32],
    pairs_per_call: usize,
) -> Result<Vec<Readings>, J::Error> {
    let calls = calls(pairs, statements.len(), pairs_per_call);
    let answers = judge.answer(&calls, statements)?;
    let mut readings = vec![Readings::default(); statements.len()];
    for (call, both) in calls.chunks(2).zip(answers.chunks(2)) {
        let [first, second] = both else { continue };
        for (place, question) in call[0].questions.iter().enumerate() {
            for (at, readings) in readings.iter_mut().enumerate() {
                let of = |answers: &Answers| answers.get(place)?.get(at).copied().flatten();
                match (of(first), of(second)) {
                    (Some(a_first), Some(b_first)) => {
                        readings.read.push(Reading { pair: question.pair, a_first, b_first });
                    }
                    _ => readings.missing += 1,
                }
            }
        }
    }
    Ok(readings)
}

/// The judge with itself: its answers with A first against those with B first.
pub fn with_itself(readings: &[Reading]) -> Agreement {
    agreement(readings.iter().map(|reading| (reading.a_first, -reading.b_first)))
}

/// Two judges on the pairs that both have read.
pub fn with_another(one: &[Reading], other: &[Reading]) -> Agreement {
    let both = one.iter().filter_map(|reading| {
        let twin = other.iter().find(|other| other.pair == reading.pair)?;
        Some((Readings::value(reading), Readings::value(twin)))
    });
    agreement(both)
}

/// How much more often the judge names the first response than the second.
pub fn position_bias(readings: &[Reading]) -> f64 {
    taste_of(readings)
}

fn agreement(answers: impl Iterator<Item = (f32, f32)>) -> Agreement {
    let class = |value: f32| {
        if value > CLEAR {
            0
        } else if value < -CLEAR {
            1
        } else {
            2
        }
    };
    let mut table = [[0.0_f64; 3]; 3];
    let mut n = 0;
    for (a, b) in answers {
        table[class(a)][class(b)] += 1.0;
        n += 1;
    }
    let total = n as f64;
    let same = (0..3).map(|i| table[i][i]).sum::<f64>() / total;
    let chance: f64 = (0..3)
        .map(|i| {
            let row: f64 = table[i].iter().sum();
            let column: f64 = table.iter().map(|row| row[i]).sum();
            row * column / (total * total)
        })
        .sum();
    let kappa = Some((same - chance) / (1.0 - chance)).filter(|kappa| kappa.is_finite());
    Agreement { n, same: if n == 0 { 0.0 } else { same }, kappa }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_is_cohens() {
        // 20 pairs: 8 both A, 6 both B, 2 both tie, 4 A against tie.
        let mut answers = vec![(1.0, 1.0); 8];
        answers.extend(vec![(-1.0, -1.0); 6]);
        answers.extend(vec![(0.0, 0.0); 2]);
        answers.extend(vec![(1.0, 0.0); 4]);
        let found = agreement(answers.into_iter());
        // same .8; chance .6·.4 + .3·.3 + .1·.3 = .36; κ = .44/.64
        assert!((found.same - 0.8).abs() < 1e-12 && (found.kappa.unwrap() - 0.6875).abs() < 1e-12);
        assert_eq!(agreement(std::iter::empty()), Agreement { n: 0, same: 0.0, kappa: None });
    }

    #[test]
    fn every_pair_is_asked_in_both_orders() {
        let calls = calls(&[1, 2, 3], 2, 2);
        assert_eq!(calls.len(), 4);
        assert_eq!(calls.iter().filter(|call| call.swapped).count(), 2);
        assert_eq!(calls[0].questions, calls[1].questions);
        assert!(calls.iter().flat_map(|call| &call.questions).all(|q| q.statements == [0, 1]));
    }
}
