//! A map of the features: those that stand on the same side of the same pairs lie near each other.

use serde_json::{Value, json};

use crate::error::ExploreError;
use crate::opened::Opened;

/// Features on the map.
const MOST: usize = 60;
/// What two of them share from which on a line joins them.
const JOINED: f64 = 0.2;
/// Rounds of the power iteration.
const ROUNDS: usize = 200;

/// Places, sizes, effects and lines.
///
/// # Errors
/// While the index of features is being made.
pub fn map(opened: &Opened) -> Result<Value, ExploreError> {
    let presence = opened.presence()?;
    let speaks = |at: &&usize| {
        let own = &opened.run.features[**at];
        own.speaks() && own.is_said() && presence.count(**at) > 0
    };
    let shown: Vec<usize> = opened.order.iter().filter(speaks).take(MOST).copied().collect();
    let shared: Vec<Vec<f64>> =
        shown.iter().map(|&x| shown.iter().map(|&y| presence.shared(x, y)).collect()).collect();
    let places = places(&shared);
    let features: Vec<Value> = (shown.iter().zip(&places))
        .map(|(&at, [x, y])| {
            let own = &opened.run.features[at];
            let win = opened.win(at);
            json!({
                "id": own.feature_id, "text": own.words(), "x": x, "y": y,
                "effect": win.map(|win| win.value), "low": win.map(|win| win.low), "high": win.map(|win| win.high),
                "n": win.map(|win| win.n),
                "prevalence": presence.count(at) as f64 / opened.labels.len().max(1) as f64,
                "principle": opened.principle(at).map(|principle| principle.rank),
            })
        })
        .collect();
    let mut links = Vec::new();
    for (x, row) in shared.iter().enumerate() {
        for (y, share) in row.iter().enumerate().take(x).filter(|(_, share)| share.abs() >= JOINED) {
            let id = |at: usize| &opened.run.features[shown[at]].feature_id;
            links.push(json!({"a": id(x), "b": id(y), "share": share}));
        }
    }
    Ok(json!({"features": features, "links": links}))
}

/// Places in the unit square whose distances follow the similarities: classical scaling of 1 − |similarity|.
fn places(shared: &[Vec<f64>]) -> Vec<[f64; 2]> {
    let n = shared.len();
    let squared: Vec<Vec<f64>> = (shared.iter().enumerate())
        .map(|(x, row)| {
            row.iter().enumerate().map(|(y, s)| if x == y { 0.0 } else { (1.0 - s.abs()).powi(2) }).collect()
        })
        .collect();
    let mean = |row: &Vec<f64>| row.iter().sum::<f64>() / n.max(1) as f64;
    let rows: Vec<f64> = squared.iter().map(mean).collect();
    let all = rows.iter().sum::<f64>() / n.max(1) as f64;
    let mut centred: Vec<Vec<f64>> =
        (0..n).map(|x| (0..n).map(|y| -0.5 * (squared[x][y] - rows[x] - rows[y] + all)).collect()).collect();
    let first = axis(&mut centred);
    let second = axis(&mut centred);
    let scale = |values: &[f64]| {
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        let width = (high - low).max(1e-9);
        values.iter().map(|value| (value - low) / width).collect::<Vec<f64>>()
    };
    scale(&first).into_iter().zip(scale(&second)).map(|(x, y)| [x, y]).collect()
}

/// The strongest direction of a symmetric matrix, which is taken out of it.
fn axis(matrix: &mut [Vec<f64>]) -> Vec<f64> {
    let n = matrix.len();
    // Any start that is not at right angles to it; fixed, so that the map is the same each time.
    let mut vector: Vec<f64> = (0..n).map(|at| ((at * 37 + 11) % 101) as f64 / 101.0 - 0.5).collect();
    let mut value = 0.0;
    for _ in 0..ROUNDS {
        let next: Vec<f64> =
            matrix.iter().map(|row| row.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
        value = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        if value < 1e-12 {
            return vec![0.0; n];
        }
        vector = next.into_iter().map(|x| x / value).collect();
    }
    for (row, x) in matrix.iter_mut().zip(&vector) {
        row.iter_mut().zip(&vector).for_each(|(cell, y)| *cell -= value * x * y);
    }
    vector.into_iter().map(|x| x * value.sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_lies_together() {
        // Two groups that share nothing.
        let shared: Vec<Vec<f64>> = (0..6)
            .map(|x| {
                (0..6)
                    .map(|y| {
                        if x == y {
                            1.0
                        } else if x / 3 == y / 3 {
                            0.8
                        } else {
                            0.0
                        }
                    })
                    .collect()
            })
            .collect();
        let found = places(&shared);
        let apart =
            |x: usize, y: usize| (0..2).map(|at| (found[x][at] - found[y][at]).powi(2)).sum::<f64>().sqrt();
        assert!(found.iter().flatten().all(|at| (0.0..=1.0).contains(at)));
        assert!(
            (found[0][0] - found[1][0]).abs() < 0.2 && (found[0][0] - found[4][0]).abs() > 0.8,
            "{found:?} {}",
            apart(0, 1)
        );
        assert!(places(&[]).is_empty());
        assert_eq!(places(&[vec![1.0]]).len(), 1);
    }
}
