//! More labels of an annotator, without the old ones.

use std::collections::BTreeMap;

use faer::Mat;

use super::population::Belief;
use super::{AnnotatorWeights, PersonalFeature, Personalization, Weight};

/// New labels with the activations of their pairs, columnar, `[labels]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewLabels {
    /// Who gave each.
    pub annotator: Vec<String>,
    /// 1 where A is preferred, 0 where B; ties are left out.
    pub y: Vec<f64>,
    /// Words in A minus words in B.
    pub length: Vec<f64>,
    /// Activations by feature: every feature of [`Personalization::population`].
    pub activations: BTreeMap<String, Vec<f64>>,
}

/// What an update did to one annotator.
#[derive(Debug, Clone, PartialEq)]
pub struct Updated {
    /// Who.
    pub annotator: String,
    /// Labels that were added.
    pub added: usize,
    /// Whether it had no labels before.
    pub is_new: bool,
    /// Personal weights before and after, in the order of [`Personalization::features`].
    pub weights: Vec<(f64, f64)>,
}

impl AnnotatorWeights {
    /// The weights that a belief means, or the population's where its labels are too few.
    pub(super) fn new(
        annotator: &str,
        n: usize,
        min_pairs: usize,
        belief: &Belief,
        features: &[PersonalFeature],
    ) -> Self {
        let fallback = n < min_pairs;
        let k = features.len();
        let weights = (belief.mean.iter().zip(belief.sd()).zip(features))
            .map(|((deviation, sd), feature)| match (fallback, feature.tau > 0.0) {
                (false, true) => Weight {
                    personal_weight: feature.population_weight + deviation,
                    sd,
                    shrinkage: (sd / feature.tau).powi(2).min(1.0),
                },
                _ => Weight { personal_weight: feature.population_weight, sd: feature.tau, shrinkage: 1.0 },
            })
            .collect();
        Self {
            annotator: annotator.to_owned(),
            n,
            fallback,
            weights,
            deviations: belief.mean.clone(),
            precision: (0..k).map(|i| (0..k).map(|j| belief.precision[(i, j)]).collect()).collect(),
        }
    }

    /// What is known about the annotator's deviations.
    fn belief(&self) -> Belief {
        let k = self.deviations.len();
        let precision = Mat::from_fn(k, k, |i, j| {
            self.precision.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0.0)
        });
        Belief { mean: self.deviations.clone(), precision }
    }
}

impl Personalization {
    /// Adds new labels to what is known about their annotators; an annotator without labels so far starts
    /// from the population. The population itself, and τ, stay.
    ///
    /// # Errors
    /// The id of the first feature of the population whose activations are missing.
    pub fn update(&mut self, new: &NewLabels) -> Result<Vec<Updated>, String> {
        let column = |id: &str| {
            let values = new.activations.get(id).filter(|values| values.len() == new.y.len());
            values.ok_or_else(|| id.to_owned())
        };
        let mut offset: Vec<f64> =
            new.length.iter().map(|length| self.intercept + self.length_weight * length).collect();
        for feature in &self.population {
            let values = column(&feature.feature_id)?;
            offset.iter_mut().zip(values).for_each(|(eta, z)| *eta += feature.weight * z);
        }
        let personal: Vec<&Vec<f64>> =
            self.features.iter().map(|feature| column(&feature.feature_id)).collect::<Result<_, _>>()?;
        let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, who) in new.annotator.iter().enumerate() {
            rows.entry(who).or_default().push(at);
        }
        let tau: Vec<f64> = self.features.iter().map(|feature| feature.tau).collect();
        let mut done = Vec::new();
        for (who, rows) in rows {
            let z: Vec<f64> =
                rows.iter().flat_map(|&at| personal.iter().map(move |values| values[at])).collect();
            let pick = |values: &[f64]| rows.iter().map(|&at| values[at]).collect::<Vec<f64>>();
            let place = self.weights.iter().position(|known| known.annotator == who);
            let (before, n) = match place {
                Some(at) => (self.weights[at].belief(), self.weights[at].n),
                None => (Belief::prior(&tau), 0),
            };
            let belief = before.update(&z, &pick(&new.y), &pick(&offset));
            let after = AnnotatorWeights::new(who, n + rows.len(), self.min_pairs, &belief, &self.features);
            let old: Vec<f64> = match place {
                Some(at) => self.weights[at].weights.iter().map(|weight| weight.personal_weight).collect(),
                None => self.features.iter().map(|feature| feature.population_weight).collect(),
            };
            done.push(Updated {
                annotator: who.to_owned(),
                added: rows.len(),
                is_new: place.is_none(),
                weights: old.into_iter().zip(after.weights.iter().map(|w| w.personal_weight)).collect(),
            });
            match place {
                Some(at) => self.weights[at] = after,
                None => self.weights.push(after),
            }
        }
        self.labels += new.y.len();
        self.annotators = self.weights.len();
        self.annotators_enough = self.weights.iter().filter(|known| !known.fallback).count();
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::personalize::PopulationFeature;

    fn start() -> Personalization {
        Personalization {
            min_pairs: 4,
            population: vec![PopulationFeature {
                feature_id: "a".into(),
                description: String::new(),
                weight: 0.5,
            }],
            features: vec![PersonalFeature {
                feature_id: "a".into(),
                description: String::new(),
                short: "a".into(),
                population_weight: 0.5,
                tau: 0.8,
                scale: 1.0,
            }],
            ..Personalization::default()
        }
    }

    fn labels(y: &[f64]) -> NewLabels {
        NewLabels {
            annotator: vec!["x".into(); y.len()],
            y: y.to_vec(),
            length: vec![0.0; y.len()],
            activations: [("a".to_owned(), vec![1.0; y.len()])].into(),
        }
    }

    #[test]
    fn labels_move_the_weights_their_way_and_two_parts_end_where_the_whole_does() {
        let mut whole = start();
        let done = whole.update(&labels(&[0.0; 8])).unwrap();
        assert!(done[0].is_new && done[0].added == 8 && done[0].weights[0].1 < 0.3, "{done:?}");
        let mut parts = start();
        parts.update(&labels(&[0.0; 3])).unwrap();
        assert!(parts.weights[0].fallback && parts.weights[0].weights[0].personal_weight == 0.5);
        parts.update(&labels(&[0.0; 5])).unwrap();
        assert_eq!((parts.weights[0].n, parts.weights[0].fallback), (8, false));
        let (a, b) =
            (parts.weights[0].weights[0].personal_weight, whole.weights[0].weights[0].personal_weight);
        assert!((a - b).abs() < 0.1, "{a} {b}");
    }

    #[test]
    fn missing_activations_are_named() {
        let mut new = labels(&[1.0]);
        new.activations.clear();
        assert_eq!(start().update(&new), Err("a".into()));
    }
}
