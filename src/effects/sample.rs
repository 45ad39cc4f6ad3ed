//! The labelled judgements that an effect is estimated on.

use std::collections::HashSet;

use super::EffectsError;
use super::clusters::Clusters;

/// Judgements with a label and without ties, one row per judgement, columnar.
///
/// Activations are looked up in a matrix by [`Sample::row`], so several judgements can share a pair.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    y: Vec<f64>,
    length: Vec<f64>,
    row: Vec<u32>,
    clusters: Clusters,
    pub(crate) lengths: Lengths,
    /// Whether a judgement is the first of its matrix row.
    first: Vec<bool>,
}

/// The judgements grouped by their length difference, which takes few distinct values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lengths {
    /// The distinct differences.
    pub(crate) value: Vec<f64>,
    /// Group of each judgement.
    pub(crate) group: Vec<u32>,
    /// Judgements in each group.
    pub(crate) weight: Vec<f64>,
    /// Σ of the labels in each group.
    pub(crate) success: Vec<f64>,
}

impl Sample {
    /// Judgements from their columns, each `[judgements]`.
    ///
    /// - `y`: 1 where A was preferred, 0 where B; between for soft labels (leave ties, .5, out)
    /// - `length`: word-count difference A − B
    /// - `row`: row of the judged pair in the activation matrix
    /// - `clusters`: one id column per dimension, prompt first, then annotator where there is one;
    ///   [`MISSING`](crate::pairs::MISSING) is a cluster of its own
    ///
    /// # Errors
    /// When the columns differ in length, a label is outside 0..1, or a length is not finite.
    pub fn new(
        y: Vec<f64>,
        length: Vec<f64>,
        row: Vec<u32>,
        clusters: &[Vec<u32>],
    ) -> Result<Self, EffectsError> {
        let n = y.len();
        let columns = [("length", length.len()), ("row", row.len())];
        let cluster_columns = clusters.iter().map(|ids| ("clusters", ids.len()));
        for (what, found) in columns.into_iter().chain(cluster_columns) {
            if found != n {
                return Err(EffectsError::Length { what, expected: n, found });
            }
        }
        if let Some(at) = y.iter().position(|y| !(0.0..=1.0).contains(y)) {
            return Err(EffectsError::Label { at, value: y[at] });
        }
        if let Some(at) = length.iter().position(|length| !length.is_finite()) {
            return Err(EffectsError::NotFinite { what: "length", at });
        }
        let mut seen = HashSet::with_capacity(n);
        let first = row.iter().map(|&row| seen.insert(row)).collect();
        let lengths = Lengths::new(&length, &y);
        Ok(Self { clusters: Clusters::new(n, clusters), y, length, row, lengths, first })
    }

    /// Number of judgements.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there is no judgement.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// The labels, 0 to 1.
    pub fn y(&self) -> &[f64] {
        &self.y
    }

    /// Word-count differences A − B.
    pub fn length(&self) -> &[f64] {
        &self.length
    }

    /// Row of each judged pair in the activation matrix.
    pub fn row(&self) -> &[u32] {
        &self.row
    }

    /// Which judgements are not independent.
    pub fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    /// Share of the judged pairs (each counted once) with a value other than 0.
    pub(crate) fn prevalence(&self, z: &[f32]) -> f64 {
        let pairs = self.first.iter().filter(|&&first| first).count();
        let nonzero = self.first.iter().zip(z).filter(|&(&first, &z)| first && z != 0.0).count();
        nonzero as f64 / pairs as f64
    }
}

impl Lengths {
    fn new(length: &[f64], y: &[f64]) -> Self {
        let mut order: Vec<u32> = (0..length.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| length[a as usize].total_cmp(&length[b as usize]));
        let mut out = Self { group: vec![0; length.len()], ..Self::default() };
        for row in order {
            let row = row as usize;
            if out.value.last() != Some(&length[row]) {
                out.value.push(length[row]);
                out.weight.push(0.0);
                out.success.push(0.0);
            }
            let group = out.value.len() - 1;
            out.group[row] = group as u32;
            out.weight[group] += 1.0;
            out.success[group] += y[row];
        }
        out
    }
}
