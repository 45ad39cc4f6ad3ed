//! Near copies: what several models answer to one question, in nearly the same words.

use std::collections::HashMap;

use crate::matrix::Matrix;

/// From this cosine on two answers to one prompt say the same.
pub const NEAR: f32 = 0.8;
/// Of one group so many are kept at most, which bounds the work.
const MOST: usize = 512;

/// Those of `rows` (of `vectors` `[sentences, dimensions]`, in their order) that are no near copy of an earlier one of
/// the same group (prompt): cosine below [`NEAR`] with each of those kept. Without this, an autoencoder spends features
/// on single questions that a dataset asks many models.
pub fn without_near_copies(rows: &[u32], groups: &[u32], vectors: &Matrix) -> Vec<u32> {
    let mut kept: HashMap<u32, Vec<u32>> = HashMap::new();
    let norm = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>().sqrt();
    let mut all = Vec::new();
    for (&row, &group) in rows.iter().zip(groups) {
        let others = kept.entry(group).or_default();
        let x = vectors.row(row as usize);
        let size = norm(x);
        let near = others.iter().any(|&other| {
            let y = vectors.row(other as usize);
            let dot: f32 = x.iter().zip(y).map(|(x, y)| x * y).sum();
            dot >= NEAR * size * norm(y)
        });
        if !near && others.len() < MOST {
            others.push(row);
            all.push(row);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_one_group_go_and_those_of_another_stay() {
        let vectors = Matrix { values: vec![1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 2.0, 0.1, -1.0, 0.0], cols: 2 };
        assert_eq!(without_near_copies(&[0, 1, 2, 3, 4], &[7, 7, 7, 8, 7], &vectors), [0, 2, 3, 4]);
        assert_eq!(without_near_copies(&[3, 2, 1, 0], &[0; 4], &vectors), [3, 2]);
    }
}
