//! Labels with who gave them.

use crate::effects::Sample;
use crate::pairs::{MISSING, Pairs};

/// A name per judgement, in the order of [`crate::pairs::Labels`]: annotators, or whatever else the
/// user groups by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Names {
    /// The distinct names.
    pub names: Vec<String>,
    /// Index into them per judgement, or [`MISSING`].
    pub of: Vec<u32>,
}

impl Names {
    /// The annotators of a dataset.
    pub fn annotators(pairs: &Pairs) -> Self {
        Self { names: pairs.annotators.clone(), of: pairs.judgements.annotator.clone() }
    }

    /// From one value per judgement; empty texts count as none.
    pub fn from_values(values: &[Option<String>]) -> Self {
        let mut index = std::collections::HashMap::new();
        let mut names = Vec::new();
        let of = values
            .iter()
            .map(|value| match value.as_deref().map(str::trim) {
                None | Some("") => MISSING,
                Some(value) => *index.entry(value.to_owned()).or_insert_with(|| {
                    names.push(value.to_owned());
                    names.len() as u32 - 1
                }),
            })
            .collect();
        Self { names, of }
    }
}

/// Labels without ties, one row each, columnar, `[labels]`.
#[derive(Debug, Clone, Default)]
pub struct Labelled {
    /// Row of the pair in the activations.
    pub pair: Vec<u32>,
    /// 1 where A is preferred, 0 where B.
    pub y: Vec<f64>,
    /// Word-count difference A − B.
    pub length: Vec<f64>,
    /// Who gave the label: index into [`Self::names`], or [`MISSING`].
    pub annotator: Vec<u32>,
    /// The judgement it is, in the order of the dataset's judgements.
    pub judgement: Vec<u32>,
    /// Same number = same prompt.
    pub prompt: Vec<u32>,
    /// The annotators.
    pub names: Vec<String>,
}

impl Labelled {
    /// The usable labels of a dataset.
    pub fn new(pairs: &Pairs, by: &Names) -> Self {
        let judgements = &pairs.judgements;
        let mut out = Self { names: by.names.clone(), ..Self::default() };
        for (at, (&pair, &label)) in judgements.pair.iter().zip(&judgements.label).enumerate() {
            let row = pair as usize;
            if label.is_nan() || label == 0.5 {
                continue;
            }
            let key = pairs.prompt_key[row];
            out.pair.push(pair);
            out.y.push(f64::from(label));
            out.length.push(f64::from(pairs.length_delta[row]));
            out.annotator.push(by.of.get(at).copied().unwrap_or(MISSING));
            out.judgement.push(at as u32);
            out.prompt.push(if key == MISSING { MISSING / 2 + pair } else { key });
        }
        out
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// Every row.
    pub fn all(&self) -> Vec<u32> {
        (0..self.len() as u32).collect()
    }

    /// The rows of each annotator among `rows`, `[annotators]`.
    pub fn by_annotator(&self, rows: &[u32]) -> Vec<Vec<u32>> {
        let mut out = vec![Vec::new(); self.names.len()];
        for &row in rows {
            if let Some(own) = out.get_mut(self.annotator[row as usize] as usize) {
                own.push(row);
            }
        }
        out
    }

    /// Some labels as a sample, clustered by prompt.
    pub fn sample(&self, rows: &[u32]) -> Sample {
        let column = |values: &[f64]| rows.iter().map(|&row| values[row as usize]).collect::<Vec<f64>>();
        let keys = |values: &[u32]| rows.iter().map(|&row| values[row as usize]).collect::<Vec<u32>>();
        let mut clusters = vec![keys(&self.prompt)];
        // One cluster says nothing about variance.
        clusters.retain(|ids| ids.iter().any(|id| *id != ids[0]));
        Sample::new(column(&self.y), column(&self.length), keys(&self.pair), &clusters).unwrap_or_default()
    }
}
