//! Coverage and redundancy, as AutoLibra has them, of the reasons by the principles.
//!
//! ```text
//! explains     the aspect names one of the principle's features, with the principle's sign, and the pair shows it: one of its
//!              responses has more of the feature, the one that the aspect says it of
//! coverage     share of the aspects (praise or complaints about something) that some principle explains
//! redundancy   share of the active principles (those that explain anything) all of whose aspects others explain, too
//! floor        both with the reasons handed round among the pairs at random
//! ```

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::resolved::Resolved;
use crate::matrix::Matrix;
use crate::rng;
use crate::store::Estimate;

/// How often the reasons are handed round.
pub const ROUNDS: usize = 100;

/// A principle, as far as coverage needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sign {
    /// 1 where more of it is preferred, −1 where it is avoided.
    pub sign: i8,
    /// Its features, as the statements number them.
    pub features: Vec<usize>,
}

/// How far the principles explain what the reasons praise and complain about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Things that reasons praise or complain about.
    pub aspects: usize,
    /// Share of them that a principle of the right sign explains; `None` where there are no aspects.
    pub coverage: Option<Estimate>,
    /// The same with the reasons handed round at random: mean and the middle 95 of 100 rounds.
    pub coverage_floor: Option<Estimate>,
    /// Share of the aspects that a principle is named by with the right sign, whether the pair shows it or not.
    pub named: Option<f64>,
    /// Principles.
    pub principles: usize,
    /// Principles that explain anything.
    pub active: usize,
    /// Active ones that explain nothing that another does not.
    pub redundant: usize,
    /// Their share of the active ones.
    pub redundancy: Option<f64>,
    /// The same with the reasons handed round at random.
    pub redundancy_floor: Option<Estimate>,
}

/// Which principles explain which aspects of some reasons, `[aspects]`; `pair[i]` is where reason `i` is looked up.
pub(super) struct Explained(pub Vec<Vec<usize>>);

impl Explained {
    pub(super) fn of(
        reasons: &[Resolved],
        pair: &[u32],
        principles: &[Sign],
        presence: &Matrix,
        columns: &[usize],
    ) -> Self {
        let mut all = Vec::new();
        for (reason, &pair) in reasons.iter().zip(pair) {
            let row = presence.row(pair as usize);
            for aspect in &reason.aspects {
                let explains = |principle: &Sign| {
                    aspect.says.iter().any(|&(feature, merit, claim)| {
                        let shown = columns.get(feature).and_then(|&column| row.get(column)).copied();
                        let shown = shown.unwrap_or(0.0);
                        principle.features.contains(&feature)
                            && merit == principle.sign
                            && shown != 0.0
                            && (claim == 0 || (claim > 0) == (shown > 0.0))
                    })
                };
                all.push((0..principles.len()).filter(|&p| explains(&principles[p])).collect());
            }
        }
        Self(all)
    }

    /// Share of the aspects that anything explains.
    pub(super) fn coverage(&self) -> f64 {
        self.0.iter().filter(|by| !by.is_empty()).count() as f64 / self.0.len().max(1) as f64
    }

    /// Principles that explain anything, and those that explain nothing that another does not.
    pub(super) fn redundancy(&self, principles: usize) -> (usize, usize) {
        let (mut active, mut alone) = (vec![false; principles], vec![false; principles]);
        for by in &self.0 {
            by.iter().for_each(|&p| active[p] = true);
            if let [only] = by[..] {
                alone[only] = true;
            }
        }
        let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count();
        (count(&active), count(&active) - count(&alone))
    }
}

/// Mean and the middle 95 % of some figures.
fn spread(mut values: Vec<f64>) -> Option<Estimate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((n - 1) as f64 * share).round() as usize];
    Some(Estimate { value: values.iter().sum::<f64>() / n as f64, low: at(0.025), high: at(0.975), n })
}

/// Both measures with their floors; `share` makes the interval of the coverage from a flag for each aspect.
pub(super) fn coverage(
    reasons: &[Resolved],
    pair: &[u32],
    principles: &[Sign],
    (presence, columns): (&Matrix, &[usize]),
    seed: u64,
    share: impl Fn(&[f64]) -> Option<Estimate>,
) -> Coverage {
    let explained = Explained::of(reasons, pair, principles, presence, columns);
    let aspects = explained.0.len();
    let (active, redundant) = explained.redundancy(principles.len());
    let mut found =
        Coverage { aspects, principles: principles.len(), active, redundant, ..Coverage::default() };
    if aspects == 0 {
        return found;
    }
    let flags: Vec<f64> = explained.0.iter().map(|by| f64::from(u8::from(!by.is_empty()))).collect();
    found.coverage = share(&flags);
    found.redundancy = (active > 0).then(|| redundant as f64 / active as f64);
    let named = reasons.iter().flat_map(|reason| &reason.aspects).filter(|aspect| {
        let named =
            |p: &Sign| aspect.says.iter().any(|(f, merit, _)| *merit == p.sign && p.features.contains(f));
        principles.iter().any(named)
    });
    found.named = Some(named.count() as f64 / aspects as f64);
    let (mut covered, mut doubled) = (Vec::new(), Vec::new());
    let mut random = rng::stream(seed, "reasons handed round");
    let mut order = pair.to_vec();
    for _ in 0..ROUNDS {
        order.shuffle(&mut random);
        let explained = Explained::of(reasons, &order, principles, presence, columns);
        covered.push(explained.coverage());
        let (active, redundant) = explained.redundancy(principles.len());
        if active > 0 {
            doubled.push(redundant as f64 / active as f64);
        }
    }
    found.coverage_floor = spread(covered);
    found.redundancy_floor = spread(doubled);
    found
}

#[cfg(test)]
mod tests {
    use super::super::resolved::Aspect;
    use super::*;

    /// Five aspects in four pairs, three principles: prefer 0, avoid 1, prefer 0 or 2.
    #[test]
    fn both_measures_equal_a_calculation_by_hand() {
        let aspect = |says: &[(usize, i8, i8)]| Aspect { says: says.to_vec() };
        let reason = |aspects: Vec<Aspect>| Resolved { aspects, ..Resolved::default() };
        let reasons = [
            // Praises 0 of A, which A has: the first and the third principle.
            reason(vec![aspect(&[(0, 1, 1)])]),
            // Complains about 1 of B, which B has: the second. And praises something that no feature names: nobody.
            reason(vec![aspect(&[(1, -1, -1)]), aspect(&[])]),
            // Praises 0 of A, but B has it: nobody.
            reason(vec![aspect(&[(0, 1, 1)])]),
            // Praises 1, which is to be avoided: nobody.
            reason(vec![aspect(&[(1, 1, 1)])]),
        ];
        let presence =
            Matrix { values: vec![1.0, 0.0, 0.0, 0.0, -1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0, 0.0], cols: 3 };
        let principles = [
            Sign { sign: 1, features: vec![0] },
            Sign { sign: -1, features: vec![1] },
            Sign { sign: 1, features: vec![0, 2] },
        ];
        let share = |flags: &[f64]| {
            let value = flags.iter().sum::<f64>() / flags.len() as f64;
            Some(Estimate { value, low: value, high: value, n: flags.len() })
        };
        let found = coverage(&reasons, &[0, 1, 2, 3], &principles, (&presence, &[0, 1, 2]), 1, share);
        // 2 of 5 aspects are explained; named with the right sign are 3 of 5. All three principles are active; the first and the
        // third explain the same aspect and nothing else: 2 of 3.
        assert_eq!((found.aspects, found.active, found.redundant), (5, 3, 2));
        assert!((found.coverage.unwrap().value - 0.4).abs() < 1e-12);
        assert!((found.named.unwrap() - 0.6).abs() < 1e-12);
        assert!((found.redundancy.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        // Handed round: "0 of A" fits the first pair alone, "1 of B" the second alone; each of the three reasons lands there in
        // one of four rounds, so (1/4 + 1/4 + 1/4) / 5 = .15 on average.
        let floor = found.coverage_floor.unwrap();
        assert!((floor.value - 0.15).abs() < 0.05, "{floor:?}");
        assert_eq!(floor.n, ROUNDS);
        // Nothing to explain, nothing said.
        let none = coverage(&[], &[], &principles, (&presence, &[0, 1, 2]), 1, share);
        assert!(none.coverage.is_none() && none.redundancy.is_none() && none.coverage_floor.is_none());
    }
}
