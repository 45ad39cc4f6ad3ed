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
    let mut totals: BTreeMap<T, f64> = BTreeMap::new();
    let mut apart = 0.0;
    for thing in things {
        let mut counts: BTreeMap<T, f64> = BTreeMap::new();
        thing.iter().flatten().for_each(|value| *counts.entry(*value).or_default() += 1.0);
        let values: f64 = counts.values().sum();
        if values < 2.0 {
            continue;
        }
        for (value, count) in counts {
            apart += count * (values - count) / (values - 1.0);
            *totals.entry(value).or_default() += count;
        }
    }
    let n: f64 = totals.values().sum();
    let by_chance: f64 = totals.values().map(|count| count * (n - count)).sum();
    (by_chance > 0.0).then(|| 1.0 - (n - 1.0) * apart / by_chance)
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
