//! The labelled judgements that an effect is estimated on.

use std::collections::HashSet;

use super::EffectsError;
use super::clusters::Clusters;
use super::control::Control;

/// Judgements with a label and without ties, one row per judgement, columnar.
///
/// Activations are looked up in a matrix by [`Sample::row`], so several judgements can share a pair.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    y: Vec<f64>,
    length: Vec<f64>,
    ratio: Vec<f64>,
    row: Vec<u32>,
    clusters: Clusters,
    /// Whether a judgement is the first of its matrix row.
    first: Vec<bool>,
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
        let first = firsts(&row);
        Ok(Self { clusters: Clusters::new(n, clusters), y, length, ratio: Vec::new(), row, first })
    }

    /// The same with the logarithm of the ratio of the two lengths, `[judgements]`, so that length may bend; one of
    /// another length or with a value that is not finite is left out.
    pub fn with_ratio(mut self, ratio: Vec<f64>) -> Self {
        if ratio.len() == self.len() && ratio.iter().all(|x| x.is_finite()) {
            self.ratio = ratio;
        }
        self
    }

    /// Some of the judgements, by position.
    pub fn subset(&self, at: &[usize]) -> Self {
        let pick = |values: &[f64]| at.iter().filter_map(|&at| values.get(at)).copied().collect::<Vec<f64>>();
        let row: Vec<u32> = at.iter().map(|&at| self.row[at]).collect();
        Self {
            y: pick(&self.y),
            length: pick(&self.length),
            ratio: pick(&self.ratio),
            clusters: self.clusters.subset(at),
            first: firsts(&row),
            row,
        }
    }

    /// The same judgements, their pairs in other rows of another matrix.
    pub(crate) fn with_rows(&self, place: impl Fn(u32) -> u32) -> Self {
        Self { row: self.row.iter().map(|&row| place(row)).collect(), ..self.clone() }
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

    /// log((1 + words of A) / (1 + words of B)); empty where it is not known.
    pub fn ratio(&self) -> &[f64] {
        &self.ratio
    }

    /// What a control holds fixed, a column each.
    pub(crate) fn controls(&self, control: Control) -> Vec<Vec<f64>> {
        match control {
            Control::Nothing => Vec::new(),
            Control::Length if self.ratio.is_empty() => vec![self.length.clone()],
            Control::Length => vec![self.length.clone(), self.ratio.clone()],
        }
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

/// Whether each judgement is the first of its row.
fn firsts(row: &[u32]) -> Vec<bool> {
    let most = row.iter().max().map_or(0, |&most| most as usize);
    // Rows are those of a matrix; a table of them is faster than a set, unless they are few of very many.
    if most > (1 << 16) + 64 * row.len() {
        let mut seen = HashSet::with_capacity(row.len());
        return row.iter().map(|&row| seen.insert(row)).collect();
    }
    let mut seen = vec![false; most + 1];
    row.iter().map(|&row| !std::mem::replace(&mut seen[row as usize], true)).collect()
}

/// A number that is the same for all judgements of a prompt.
pub(super) fn fold(sample: &Sample, at: usize) -> u32 {
    // Cluster numbers follow the data's order; the folds should not.
    sample.clusters().first(at).wrapping_mul(0x9e37_79b1) >> 16 & 0xffff
}
