//! Words for the features, and how true they are.
//!
//! Offline, two kinds of description compete for each learned feature: the concepts of the bank
//! ([`known`]) and the terms that separate its strongest pairs ([`contrast`]). Terms are taken from
//! `train` pairs, the winner is chosen on `describe` pairs, and its fidelity is measured once, on
//! `held_out` pairs (METHOD §4; the reference chose and reported on the same rows). What nothing
//! describes stays unexplained.
//!
//! The known concepts are also features in their own right, so that what the autoencoder misses is
//! still found.

pub mod contrast;
pub mod judging;
pub mod known;
pub mod llm_describer;
pub mod model_judge;
pub mod user_concepts;

use serde::{Deserialize, Serialize};

use crate::config::DescribeConfig;
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Split};
use crate::statistics::correlation::{Correlation, pearson};
use known::ConceptBank;

/// A feature in words, with how true the words are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Feature {
    /// `learned_07`, `known_apologises`, `theme_02`; names the column in `activations.parquet`.
    pub feature_id: String,
    /// `learned` by the autoencoder, `known` from the bank, or a `theme` of words that neither explains.
    pub source: String,
    /// The concept of the bank that describes it.
    pub concept: Option<String>,
    /// What the side with a positive activation does; empty when unexplained.
    pub description: String,
    /// A label of a few words.
    pub short: String,
    /// Completes "Prefer the response that …".
    pub clause: String,
    /// `detector` (is the concept itself), `words` (is a count of them), `bank`, `contrast`, or `none`.
    pub describer: String,
    /// Correlation of activation and description on held-out pairs where the feature is active;
    /// `None` where the description is the detector itself, or nothing describes the feature.
    pub fidelity: Option<Correlation>,
    /// How well the feature comes back when half of the training pairs are learned from, 0 to 1;
    /// `None` where it is not learned.
    pub stability: Option<f64>,
    /// Fidelity is high enough and beyond chance, corrected over the learned features, and the feature
    /// is stable.
    pub kept: bool,
    /// The feature that says the same thing and stands before this one.
    pub redundant_with: Option<String>,
    /// `safety`, `protective`, `harmful`, `length` … from the bank.
    pub flags: Vec<String>,
    /// Terms that separate its strongest pairs: on the positive side.
    pub terms: Vec<String>,
    /// And on the negative side.
    pub terms_against: Vec<String>,
    /// Index (into the pairs) of its strongest held-out pairs, strongest first.
    pub examples: Vec<u32>,
}

/// A description that the offline describer offers for a learned feature, kept or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Completes "The response …".
    pub text: String,
    /// The concept of the bank that it is.
    pub concept: Option<usize>,
    /// 1 where it describes the feature's positive side, −1 the other.
    pub sign: f64,
}

impl Feature {
    /// What half of the pairs does not bring back says more about the draw than about the data.
    fn recurs(&self, config: &DescribeConfig) -> bool {
        self.stability.is_none_or(|stability| stability >= config.min_stability)
    }
}

/// What the describe stage found.
#[derive(Debug, Clone, Default)]
pub struct Described {
    /// Learned features first, then known ones; `[features]`.
    pub features: Vec<Feature>,
    /// Signed activations in the features' orientation, `[pairs, features]`.
    pub activations: Matrix,
    /// The descriptions read by themselves (terms in A minus terms in B) for features with
    /// `describer = contrast`, zero elsewhere; `[pairs, learned]`.
    pub readings: Matrix,
    /// Learned features whose sign was turned so that the description fits the positive side.
    pub flipped: Vec<usize>,
    /// What competes with a language model's descriptions, by learned feature; empty in a finished run.
    pub offers: Vec<Vec<Offer>>,
}

/// Describes learned features with activations `learned` (`[pairs, learned]`) beside the known
/// concepts' own measurements `known` (`[pairs, concepts]`, in the bank's order). `stability` says how
/// well each learned feature comes back from other pairs; empty where that is unknown.
#[allow(clippy::too_many_arguments)] // columns of two kinds of feature, and how to judge them
pub fn describe(
    pairs: &Pairs,
    sides: &[Split],
    learned: &Matrix,
    stability: &[f64],
    known: &Matrix,
    bank: &ConceptBank,
    config: &DescribeConfig,
    redundant_above: f64,
) -> Described {
    let on = |side: Split| -> Vec<u32> {
        (0u32..).zip(sides).filter(|(_, at)| **at == side).map(|(pair, _)| pair).collect()
    };
    let (train, held_out) = (on(Split::Train), on(Split::Test));
    // Without a describe side (the user's split) words are chosen where they were taken from;
    // the fidelity is measured elsewhere all the same.
    let choose =
        Some(on(Split::Validation)).filter(|pairs| pairs.len() >= 20).unwrap_or_else(|| train.clone());

    let corpus = contrast::Corpus::new(pairs, &train);
    let columns: Vec<Vec<f32>> = (0..learned.cols).map(|feature| learned.column(feature)).collect();
    let lists: Vec<(Vec<String>, Vec<String>)> = columns.iter().map(|z| corpus.separate(z)).collect();
    let flat: Vec<Vec<String>> = lists.iter().flat_map(|(high, low)| [high.clone(), low.clone()]).collect();
    let term_readings = contrast::read(pairs, &flat);

    let concept_readings: Vec<Vec<f32>> = bank
        .concepts()
        .iter()
        .enumerate()
        .map(|(concept, _)| known.column(concept).iter().map(|value| reading(*value)).collect())
        .collect();

    let mut features = Vec::with_capacity(learned.cols + known.cols);
    let mut oriented = learned.clone();
    let mut readings = Matrix::zeros(pairs.pair_id.len(), learned.cols);
    let mut flipped = Vec::new();
    let mut all_offers = Vec::with_capacity(learned.cols);
    for (index, z) in columns.iter().enumerate() {
        let (high, low) = &lists[index];
        let mut feature = Feature {
            feature_id: format!("learned_{index:02}"),
            source: "learned".into(),
            describer: "none".into(),
            stability: stability.get(index).copied().filter(|s| s.is_finite()),
            ..Feature::default()
        };
        let offered = offer_descriptions(z, &choose, &concept_readings, &term_readings, index);
        let candidate = offered
            .iter()
            .max_by(|a, b| a.merit().total_cmp(&b.merit()).then(b.order().cmp(&a.order())))
            .map(|offered| (offered.candidate, offered.r));
        let sign = candidate.map_or(1.0, |(_, r)| if r < 0.0 { -1.0 } else { 1.0 });
        let to_offer = |offered: &Offered| {
            let (text, concept) = match offered.candidate {
                Candidate::Concept(concept) => (bank.concepts()[concept].prefer.clone(), Some(concept)),
                Candidate::Terms(column) => (contrast::phrase(&flat[column]), None),
            };
            Offer { text, concept, sign: if offered.r * sign < 0.0 { -1.0 } else { 1.0 } }
        };
        all_offers.push(offered.iter().map(to_offer).collect());
        if sign < 0.0 {
            flipped.push(index);
            oriented.values.iter_mut().skip(index).step_by(learned.cols).for_each(|value| *value = -*value);
        }
        (feature.terms, feature.terms_against) =
            if sign < 0.0 { (low.clone(), high.clone()) } else { (high.clone(), low.clone()) };
        feature.examples = strongest(z, &held_out, 10);
        if let Some((candidate, _)) = candidate {
            let read = match candidate {
                Candidate::Concept(concept) => {
                    let entry = &bank.concepts()[concept];
                    feature.concept = Some(entry.id.clone());
                    feature.describer = "bank".into();
                    feature.description = entry.description.clone();
                    feature.clause = entry.prefer.clone();
                    feature.short = entry.short.clone();
                    feature.flags = entry.flags.clone();
                    concept_readings[concept].clone()
                }
                Candidate::Terms(column) => {
                    feature.describer = "contrast".into();
                    feature.description = contrast::phrase(&flat[column]);
                    feature.clause = feature.description.clone();
                    feature.short = flat[column].iter().take(3).cloned().collect::<Vec<_>>().join(", ");
                    let values = term_readings.column(column);
                    for (pair, value) in values.iter().enumerate() {
                        readings.row_mut(pair)[index] = *value;
                    }
                    values.into_iter().map(reading).collect()
                }
            };
            feature.fidelity = fidelity(z, &read, sign, &held_out);
            feature.kept = feature.recurs(config)
                && feature.fidelity.is_some_and(|f| {
                    f.r >= config.min_fidelity && f.p * (learned.cols as f64) < config.alpha
                });
            if !feature.kept {
                // Words that do not hold are worse than none; the terms and examples stay.
                feature.describer = "none".into();
                feature.concept = None;
                feature.flags.clear();
                for text in [&mut feature.description, &mut feature.short, &mut feature.clause] {
                    text.clear();
                }
            }
        }
        features.push(feature);
    }

    for (concept, entry) in bank.concepts().iter().enumerate() {
        let z = known.column(concept);
        features.push(Feature {
            feature_id: format!("known_{}", entry.id),
            source: "known".into(),
            concept: Some(entry.id.clone()),
            description: entry.description.clone(),
            short: entry.short.clone(),
            clause: entry.prefer.clone(),
            describer: "detector".into(),
            // The detector is what the words mean here; its agreement with itself would be no news.
            fidelity: None,
            kept: held_out.iter().any(|&pair| z[pair as usize] != 0.0),
            flags: entry.flags.clone(),
            examples: strongest(&z, &held_out, 10),
            ..Feature::default()
        });
    }

    let activations = beside(&oriented, known);
    mark_redundant(&mut features, &activations, &choose, redundant_above);
    Described { features, activations, readings, flipped, offers: all_offers }
}

/// A judge's reading of a graded difference: −1, 0 or +1.
fn reading(value: f32) -> f32 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

#[derive(Debug, Clone, Copy)]
enum Candidate {
    Concept(usize),
    Terms(usize),
}

/// A candidate with its correlation on the pairs to choose on.
#[derive(Debug, Clone, Copy)]
struct Offered {
    candidate: Candidate,
    r: f64,
}

/// How much better quoted words must fit than a concept in plain words.
const PLAIN_WORDS_BONUS: f64 = 0.05;

impl Offered {
    fn merit(&self) -> f64 {
        self.r.abs() + if matches!(self.candidate, Candidate::Concept(_)) { PLAIN_WORDS_BONUS } else { 0.0 }
    }

    /// Of equals the first is taken: concepts in the bank's order, then the high side's words.
    fn order(&self) -> usize {
        match self.candidate {
            Candidate::Concept(index) => index,
            Candidate::Terms(column) => usize::MAX / 2 + column,
        }
    }
}

/// The best concept and the words of either side, with their signed correlations on the pairs to choose on.
fn offer_descriptions(
    z: &[f32],
    choose: &[u32],
    concepts: &[Vec<f32>],
    terms: &Matrix,
    feature: usize,
) -> Vec<Offered> {
    let mut offered: Vec<Offered> = concepts
        .iter()
        .enumerate()
        .filter_map(|(index, read)| {
            fidelity(z, read, 1.0, choose).map(|c| Offered { candidate: Candidate::Concept(index), r: c.r })
        })
        .max_by(|a, b| a.r.abs().total_cmp(&b.r.abs()).then(b.order().cmp(&a.order())))
        .into_iter()
        .collect();
    // The words of the high side describe +z, those of the low side −z; a fit of the wrong sign is noise.
    for (column, sign) in [(2 * feature, 1.0), (2 * feature + 1, -1.0)] {
        let read: Vec<f32> = terms.column(column).into_iter().map(reading).collect();
        if let Some(c) = fidelity(z, &read, 1.0, choose)
            && c.r * sign > 0.0
        {
            offered.push(Offered { candidate: Candidate::Terms(column), r: c.r });
        }
    }
    offered
}

/// Pearson correlation of `sign · z` and a reading over those of `pairs` where z is not 0.
fn fidelity(z: &[f32], reading: &[f32], sign: f64, pairs: &[u32]) -> Option<Correlation> {
    let (x, y): (Vec<f64>, Vec<f64>) = pairs
        .iter()
        .map(|&pair| pair as usize)
        .filter(|&pair| z[pair] != 0.0)
        .map(|pair| (sign * f64::from(z[pair]), f64::from(reading[pair])))
        .unzip();
    Some(pearson(&x, &y)).filter(|c| c.r.is_finite() && c.p.is_finite())
}

/// The `count` pairs with the largest |z|, strongest first; ties in the pairs' order.
pub fn strongest(z: &[f32], pairs: &[u32], count: usize) -> Vec<u32> {
    let mut active: Vec<u32> = pairs.iter().copied().filter(|&pair| z[pair as usize] != 0.0).collect();
    active.sort_by(|&a, &b| z[b as usize].abs().total_cmp(&z[a as usize].abs()).then(a.cmp(&b)));
    active.truncate(count);
    active
}

/// The parts of a response in which a feature shows (sentences, lines or words), as byte ranges in order;
/// none where it is about the response as a whole, or nothing describes it.
pub fn places(feature: &Feature, bank: &ConceptBank, prompt: &str, response: &str) -> Vec<(usize, usize)> {
    match &feature.concept {
        Some(concept) => bank.places(concept, prompt, response),
        None => contrast::places(response, &feature.terms),
    }
}

/// Two matrices with the same rows, side by side.
pub(crate) fn beside(left: &Matrix, right: &Matrix) -> Matrix {
    if left.cols == 0 {
        return right.clone();
    }
    if right.cols == 0 {
        return left.clone();
    }
    let mut values = Vec::with_capacity(left.values.len() + right.values.len());
    for row in 0..left.rows() {
        values.extend_from_slice(left.row(row));
        values.extend_from_slice(right.row(row));
    }
    Matrix { values, cols: left.cols + right.cols }
}

/// Rows that redundancy is judged on; the threshold is coarse, more rows would not move it.
const REDUNDANCY_ROWS: usize = 20_000;

/// Marks a feature whose activations correlate beyond the threshold with one that stands before it:
/// known concepts before learned features (they are exact), frequent before rare.
fn mark_redundant(features: &mut [Feature], activations: &Matrix, pairs: &[u32], above: f64) {
    let pairs = &pairs[..pairs.len().min(REDUNDANCY_ROWS)];
    let unit: Vec<Vec<f32>> = (0..features.len())
        .map(|feature| {
            // Activations are odd under swapping A and B, so their mean is an accident of the order: none is taken off.
            let z: Vec<f32> = pairs.iter().map(|&pair| activations.row(pair as usize)[feature]).collect();
            let norm = z.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt() as f32;
            if norm > 0.0 { z.iter().map(|v| v / norm).collect() } else { Vec::new() }
        })
        .collect();
    let frequency = |feature: usize| unit[feature].iter().filter(|v| **v != 0.0).count();
    let mut order: Vec<usize> = (0..features.len()).filter(|&f| !unit[f].is_empty()).collect();
    order.sort_by_key(|&f| (features[f].source != "known", std::cmp::Reverse(frequency(f)), f));
    let mut stands: Vec<usize> = Vec::new();
    for feature in order {
        let twin = stands.iter().copied().find(|&other| {
            let dot: f32 = unit[feature].iter().zip(&unit[other]).map(|(a, b)| a * b).sum();
            f64::from(dot.abs()) > above
        });
        match twin {
            Some(other) => features[feature].redundant_with = Some(features[other].feature_id.clone()),
            None => stands.push(feature),
        }
    }
}
