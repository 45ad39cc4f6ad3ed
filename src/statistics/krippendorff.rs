//! How far several people agree who have not all judged the same things: Krippendorff's α.

use std::collections::BTreeMap;

/// Krippendorff's α for values without an order (nominal): 1 where all agree, 0 where they agree as often as values drawn
/// from all that were given, below 0 where less often.
///
/// A row is a thing with one value for each person, `None` where he said nothing; rows with fewer than two values
/// say nothing about agreement and are left out. `None` where nothing is left, or where all values are the same: then nothing
/// could have been disagreed on.
///
/// ```text
/// o(c, k) = Σ over things of (pairs of values c, k) / (values − 1)        α = 1 − (n − 1) Σ_{c≠k} o(c, k) / Σ_{c≠k} n(c) n(k)
/// ```
pub fn nominal<T: Ord + Copy>(things: &[Vec<Option<T>>]) -> Option<f64> {
    let mut sums = Sums::default();
    things.iter().for_each(|thing| sums.add(thing));
    sums.alpha()
}

/// What α is computed from; sums of parts of the things are the sums of all of them.
#[derive(Debug, Clone)]
pub struct Sums<T> {
    /// How often each value was given, where another one was given to the same thing.
    totals: BTreeMap<T, f64>,
    /// Values that differ, Σ over things of (pairs of different values) / (values − 1).
    apart: f64,
    /// Things with two values or more.
    pub things: usize,
}

impl<T> Default for Sums<T> {
    fn default() -> Self {
        Self { totals: BTreeMap::new(), apart: 0.0, things: 0 }
    }
}

impl<T: Ord + Copy> Sums<T> {
    /// Adds a thing with one value for each person.
    pub fn add(&mut self, thing: &[Option<T>]) {
        let mut counts: BTreeMap<T, f64> = BTreeMap::new();
        thing.iter().flatten().for_each(|value| *counts.entry(*value).or_default() += 1.0);
        let values: f64 = counts.values().sum();
        if values < 2.0 {
            return;
        }
        self.things += 1;
        for (value, count) in counts {
            self.apart += count * (values - count) / (values - 1.0);
            *self.totals.entry(value).or_default() += count;
        }
    }

    /// Without some of the things.
    fn without(&self, part: &Self) -> Self {
        let left = |(value, count): (&T, &f64)| (*value, count - part.totals.get(value).unwrap_or(&0.0));
        Self {
            totals: self.totals.iter().map(left).collect(),
            apart: self.apart - part.apart,
            things: self.things - part.things,
        }
    }

    /// See [`nominal`].
    pub fn alpha(&self) -> Option<f64> {
        let n: f64 = self.totals.values().sum();
        let by_chance: f64 = self.totals.values().map(|count| count * (n - count)).sum();
        (by_chance > 0.0).then(|| 1.0 - (n - 1.0) * self.apart / by_chance)
    }

    /// α of all the parts together, with the standard error that leaving out one part after the other gives (the jackknife);
    /// `None` where there are fewer than two parts or α cannot be told without one of them.
    pub fn jackknife(parts: &[Self]) -> Option<(f64, f64)> {
        let mut all = Self::default();
        for part in parts {
            part.totals.iter().for_each(|(value, count)| *all.totals.entry(*value).or_default() += count);
            all.apart += part.apart;
            all.things += part.things;
        }
        let alpha = all.alpha()?;
        let left: Vec<f64> = parts.iter().map(|part| all.without(part).alpha()).collect::<Option<_>>()?;
        if left.len() < 2 {
            return None;
        }
        let n = left.len() as f64;
        let mean = left.iter().sum::<f64>() / n;
        let squares: f64 = left.iter().map(|alpha| (alpha - mean).powi(2)).sum();
        Some((alpha, ((n - 1.0) / n * squares).sqrt()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People in rows, things in columns, as the examples are printed.
    fn by_thing(people: &[&str]) -> Vec<Vec<Option<u32>>> {
        let rows: Vec<Vec<Option<u32>>> =
            people.iter().map(|row| row.split_whitespace().map(|cell| cell.parse().ok()).collect()).collect();
        (0..rows[0].len()).map(|thing| rows.iter().map(|row| row[thing]).collect()).collect()
    }

    /// Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example C: four people, twelve things, .743.
    fn four() -> Vec<Vec<Option<u32>>> {
        by_thing(&[
            "1 2 3 3 2 1 4 1 2 . . .",
            "1 2 3 3 2 2 4 1 2 5 . 3",
            ". 3 3 3 2 3 4 2 2 5 1 .",
            "1 2 3 3 2 4 4 1 2 5 1 .",
        ])
    }

    #[test]
    fn published_examples_come_out() {
        assert!((nominal(&four()).unwrap() - 113.0 / 152.0).abs() < 1e-12);
        // Three people, fifteen things (the one that encyclopedias print): .691, in exact fractions 56/81.
        let three = by_thing(&[
            ". . . . . 3 4 1 2 1 1 3 3 . 3",
            "1 . 2 1 3 3 4 3 . . . . . . .",
            ". . 2 1 3 4 4 . 2 1 1 3 3 . 4",
        ]);
        assert!((nominal(&three).unwrap() - 56.0 / 81.0).abs() < 1e-12);
    }

    #[test]
    fn parts_make_the_whole_and_the_error_is_that_of_many_samples() {
        use rand::RngExt;
        let mut rng = crate::rng::stream(3, "krippendorff");
        // A thing leans to one side or the other; people follow it in four of five.
        let mut sample = || -> Vec<Sums<u8>> {
            let mut parts = vec![Sums::default(); 40];
            for at in 0..160 {
                let side: u8 = rng.random_range(0..2);
                let thing: Vec<Option<u8>> = (0..3)
                    .map(|_| {
                        (rng.random::<f64>() < 0.9)
                            .then(|| if rng.random::<f64>() < 0.8 { side } else { 1 - side })
                    })
                    .collect();
                parts[at % 40].add(&thing);
            }
            parts
        };
        let found: Vec<(f64, f64)> = (0..300).map(|_| Sums::jackknife(&sample()).unwrap()).collect();
        let n = found.len() as f64;
        let mean = found.iter().map(|(alpha, _)| alpha).sum::<f64>() / n;
        let spread = (found.iter().map(|(alpha, _)| (alpha - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let error = found.iter().map(|(_, error)| error).sum::<f64>() / n;
        // Two who follow in .8 agree in .68 and by chance in .5: α is .36.
        assert!((mean - 0.36).abs() < 0.02, "{mean}");
        assert!((error / spread - 1.0).abs() < 0.15, "{error} for {spread}");

        let mut parts = vec![Sums::default(); 3];
        four().iter().enumerate().for_each(|(at, thing)| parts[at % 3].add(thing));
        assert!((Sums::jackknife(&parts).unwrap().0 - nominal(&four()).unwrap()).abs() < 1e-12);
        assert!(Sums::jackknife(&parts[..1]).is_none());
    }

    #[test]
    fn names_order_and_what_one_alone_says_do_not_matter() {
        let alpha = nominal(&four()).unwrap();
        let renamed: Vec<Vec<Option<u32>>> =
            four().iter().map(|row| row.iter().rev().map(|v| v.map(|v| 100 - 7 * v)).collect()).collect();
        assert!((nominal(&renamed).unwrap() - alpha).abs() < 1e-12);
        let mut more = four();
        more.push(vec![None, Some(9), None, None]);
        assert!((nominal(&more).unwrap() - alpha).abs() < 1e-12);
    }

    #[test]
    fn full_agreement_is_one_and_nothing_to_disagree_on_is_none() {
        assert_eq!(nominal(&[vec![Some(1), Some(1)], vec![Some(2), Some(2)]]), Some(1.0));
        assert_eq!(nominal(&[vec![Some(1), Some(1)], vec![Some(1), Some(1)]]), None);
        assert_eq!(nominal::<u32>(&[vec![None, Some(1)]]), None);
        // Two people who always say the opposite: worse than chance.
        let against = vec![vec![Some(0), Some(1)], vec![Some(1), Some(0)]];
        assert!((nominal(&against).unwrap() + 0.5).abs() < 1e-12);
    }
}
