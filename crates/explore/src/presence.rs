//! Which features are present in which pairs, sparse and both ways: by feature for filters, by pair for reading one.

use crate::columns::Columns;
use crate::error::ExploreError;

/// Presence of some features, `[pairs, features]`, without its zeros.
#[derive(Debug, Default)]
pub struct Presence {
    /// By feature (index into the run's): pairs in which one response has it, twice their number, plus one where that is
    /// B.
    by_feature: Vec<Vec<u32>>,
    /// Where each pair begins in `by_pair`, `[pairs + 1]`.
    starts: Vec<u32>,
    /// Features of each pair, in the same form.
    by_pair: Vec<u32>,
}

impl Presence {
    /// Reads the columns of `features` (index and id), telling how much is done.
    ///
    /// # Errors
    /// Where a column cannot be read.
    pub fn read(
        columns: &Columns,
        features: &[(usize, String)],
        pairs: usize,
        done: impl Fn(f64),
    ) -> Result<Self, ExploreError> {
        let count = features.iter().map(|(at, _)| at + 1).max().unwrap_or(0);
        let mut by_feature = vec![Vec::new(); count];
        for (turn, (at, id)) in features.iter().enumerate() {
            let column = columns.read(id)?;
            let found = column.iter().enumerate().filter(|(_, value)| **value != 0.0);
            by_feature[*at] =
                found.map(|(pair, value)| ((pair as u32) << 1) | u32::from(*value < 0.0)).collect();
            done(turn as f64 / features.len() as f64);
        }
        Ok(Self::of(by_feature, pairs))
    }

    fn of(by_feature: Vec<Vec<u32>>, pairs: usize) -> Self {
        let mut starts = vec![0u32; pairs + 1];
        by_feature.iter().flatten().for_each(|entry| starts[(entry >> 1) as usize + 1] += 1);
        for pair in 0..pairs {
            starts[pair + 1] += starts[pair];
        }
        let mut next = starts.clone();
        let mut by_pair = vec![0; starts[pairs] as usize];
        for (feature, entries) in by_feature.iter().enumerate() {
            for entry in entries {
                let slot = &mut next[(entry >> 1) as usize];
                by_pair[*slot as usize] = ((feature as u32) << 1) | (entry & 1);
                *slot += 1;
            }
        }
        Self { by_feature, starts, by_pair }
    }

    /// Pairs in which a feature tells the responses apart, in order, and whether it is response B that has it.
    pub fn pairs(&self, feature: usize) -> impl Iterator<Item = (u32, bool)> {
        let entries = self.by_feature.get(feature).map_or(&[][..], Vec::as_slice);
        entries.iter().map(|entry| (entry >> 1, entry & 1 == 1))
    }

    /// Features that tell the responses of a pair apart, and whether it is response B that has them.
    pub fn features(&self, pair: usize) -> impl Iterator<Item = (usize, bool)> {
        let from = self.starts.get(pair).copied().unwrap_or(0) as usize;
        let to = self.starts.get(pair + 1).copied().unwrap_or(0) as usize;
        let entries = self.by_pair.get(from..to).unwrap_or_default();
        entries.iter().map(|entry| ((entry >> 1) as usize, entry & 1 == 1))
    }

    /// How many pairs a feature tells apart.
    pub fn count(&self, feature: usize) -> usize {
        self.by_feature.get(feature).map_or(0, Vec::len)
    }

    /// Share of the pairs in which both features stand in which they stand on the same side, less those on opposite sides,
    /// over those in which either stands: −1 to 1.
    pub fn shared(&self, first: usize, second: usize) -> f64 {
        let (mut one, mut other) = (self.pairs(first).peekable(), self.pairs(second).peekable());
        let mut both = 0i64;
        while let (Some((p, a)), Some((q, b))) = (one.peek().copied(), other.peek().copied()) {
            if p == q {
                both += if a == b { 1 } else { -1 };
            }
            if p <= q {
                one.next();
            }
            if q <= p {
                other.next();
            }
        }
        let either = self.count(first) + self.count(second);
        if either == 0 { 0.0 } else { 2.0 * both as f64 / either as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_say_the_same() {
        let found = Presence::of(vec![vec![0, 3, 8], vec![], vec![2, 8]], 5);
        assert_eq!(found.pairs(0).collect::<Vec<_>>(), [(0, false), (1, true), (4, false)]);
        assert_eq!(found.features(4).collect::<Vec<_>>(), [(0, false), (2, false)]);
        assert_eq!(found.features(1).collect::<Vec<_>>(), [(0, true), (2, false)]);
        assert_eq!(found.features(2).count(), 0);
        assert_eq!((found.count(0), found.count(1), found.count(9)), (3, 0, 0));
        // One pair on the same side, one on opposite sides.
        assert_eq!(found.shared(0, 2), 0.0);
        assert_eq!(found.shared(0, 0), 1.0);
        assert_eq!(found.features(9).count(), 0);
    }
}
