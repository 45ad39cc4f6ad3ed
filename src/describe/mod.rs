//! Words for the features, and how true they are.
//!
//! ```text
//! sentence_features   the autoencoders that read sentences
//! presence   what fires in sentences ──► what sets two responses apart
//! says       typical sentences, nearest words and known acts ──► words for a feature
//! reader     the words, read by themselves in other pairs ──► how true they are
//! known      concepts with detectors: features in their own right
//! written    language models write, another judges
//! ```
//!
//! Offline a learned feature is what its firing sentences say, quoted, with the words nearest to its direction; a known act
//! in them gives it its label. Words are taken from pairs that are not held out; their fidelity is measured once, on `held_out`
//! pairs (METHOD §4; the reference chose and reported on the same rows). What nothing describes stays unexplained.

pub mod contrast;
pub mod judging;
pub mod known;
pub mod llm_describer;
pub mod model_judge;
pub mod presence;
mod reader;
mod says;
pub mod sentence_features;
pub mod user_concepts;

use serde::{Deserialize, Serialize};

use crate::config::DescribeConfig;
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Split};
use crate::statistics::correlation::{Correlation, pearson};
use known::ConceptBank;
use presence::Firing;
use reader::Reader;
pub use says::{NamedEntry, Vocabulary};

/// Where a feature comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureSource {
    /// The autoencoder over this dataset's sentences.
    #[default]
    Learned,
    /// The paper's autoencoder over the differences of whole responses.
    Difference,
    /// The dictionary that comes with the program.
    Dictionary,
    /// The bank of concepts with detectors.
    Known,
    /// Words that go with the labels and that nothing else explains.
    Theme,
}

impl FeatureSource {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Difference => "difference",
            Self::Dictionary => "dictionary",
            Self::Known => "known",
            Self::Theme => "theme",
        }
    }

    /// Whether an autoencoder found it: those features stand first.
    pub fn is_found(self) -> bool {
        matches!(self, Self::Learned | Self::Difference | Self::Dictionary)
    }

    /// Whether it fires in sentences.
    pub fn reads_sentences(self) -> bool {
        matches!(self, Self::Learned | Self::Dictionary)
    }
}

/// A feature in words, with how true the words are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Feature {
    /// `learned_07`, `known_apologises`, `theme_02`; names the column in `activations.parquet`.
    pub feature_id: String,
    /// Who found it.
    pub source: FeatureSource,
    /// The concept of the bank that describes it, or the entry of the dictionary that it is.
    pub concept: Option<String>,
    /// What the side with a positive activation does; empty when unexplained.
    pub description: String,
    /// A label of a few words.
    pub short: String,
    /// Completes "Prefer the response that …".
    pub clause: String,
    /// `detector` (is the concept itself), `words` (is a count of them), `dictionary`, `bank` (a known concept that goes
    /// with it), `sentences` (they are quoted), `model`, or `none`.
    pub describer: String,
    /// Correlation of activation and description on held-out pairs where the feature is present in one response;
    /// `None` where the description is the detector itself, or nothing describes the feature.
    pub fidelity: Option<Correlation>,
    /// How well the feature comes back when half of the material is learned from, 0 to 1;
    /// `None` where it is not learned.
    pub stability: Option<f64>,
    /// Activation from which on it counts as present in a response; `None` where any counts.
    pub clear_level: Option<f32>,
    /// Fidelity is high enough and beyond chance, corrected over the features that were found.
    pub kept: bool,
    /// The feature that says the same thing and stands before this one.
    pub redundant_with: Option<String>,
    /// `safety`, `protective`, `harmful`, `length` … from the bank.
    pub flags: Vec<String>,
    /// Words near it in the embedder's vocabulary; of a theme, its words.
    pub terms: Vec<String>,
    /// Short sentences in which it fires most strongly, each from another response.
    pub typical: Vec<String>,
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
    /// What half of the material does not bring back says more about the draw than about the data.
    fn recurs(&self, config: &DescribeConfig) -> bool {
        self.stability.is_none_or(|stability| stability >= config.min_stability)
    }

    /// Its description; where nothing describes it for good, what it was read off.
    pub fn words(&self) -> String {
        if !self.description.is_empty() {
            return self.description.clone();
        }
        let quotes: Vec<String> = self.typical.iter().map(|text| format!("“{text}”")).collect();
        if quotes.is_empty() { self.feature_id.clone() } else { format!("fires at {}", quotes.join(", ")) }
    }

    /// Whether its words may make a statement: they say what is measured, and nothing before it says the same.
    ///
    /// Known concepts and themes are what their words say. A feature on differences in a known concept's words is left to
    /// that concept, which measures them exactly; one of sentences is a kind of it, with an example.
    pub fn speaks(&self) -> bool {
        let own = self.kept && self.redundant_with.is_none();
        match self.source {
            FeatureSource::Known | FeatureSource::Theme => true,
            FeatureSource::Difference => own && self.describer != "bank",
            FeatureSource::Learned | FeatureSource::Dictionary => own,
        }
    }
}

/// What the describe stage found.
#[derive(Debug, Clone, Default)]
pub struct Described {
    /// By source, in its order: learned, difference, dictionary, known, themes; `[features]`.
    pub features: Vec<Feature>,
    /// Signed activations in the features' orientation, graded, `[pairs, features]`: what fits use.
    pub activations: Matrix,
    /// −1, 0 or +1: present in A minus present in B, `[pairs, features]`: what is shown to people goes by it.
    pub presence: Matrix,
    /// Features on differences whose sign was turned so that the description fits the positive side, by their number
    /// among those.
    pub flipped: Vec<usize>,
    /// What competes with a language model's descriptions, by learned feature; empty in a finished run.
    pub offers: Vec<Vec<Offer>>,
}

/// What there is to describe.
pub struct Found<'a> {
    /// What fires in the sentences: `learned` features first, then those of the dictionary.
    pub firing: &'a Firing,
    /// Features of the autoencoder over this dataset's sentences.
    pub learned: usize,
    /// The others of `firing`.
    pub dictionary: &'a [NamedEntry],
    /// Directions of the learned features in the embedder's space, `[learned, dimensions]`.
    pub decoder: &'a Matrix,
    /// Activations of the autoencoder over differences, `[pairs, difference]`.
    pub difference: &'a Matrix,
    /// How well each learned feature comes back from half of the sentences; NaN or missing where that is unknown.
    pub stability: &'a [f64],
    /// The same of the features on differences.
    pub difference_stability: &'a [f64],
    /// The known concepts' measurements, `[pairs, concepts]`, in the bank's order.
    pub known: &'a Matrix,
    /// Words of the embedder's vocabulary and where they lie.
    pub vocabulary: &'a Vocabulary,
}

/// The dataset and how to judge descriptions of it.
pub struct Setting<'a> {
    /// The dataset.
    pub pairs: &'a Pairs,
    /// The side of each pair.
    pub sides: &'a [Split],
    /// Concepts with detectors.
    pub bank: &'a ConceptBank,
    /// What counts as true.
    pub config: &'a DescribeConfig,
    /// Activations correlated more than this say the same thing.
    pub redundant_above: f64,
}

/// Sides as lists of pairs.
struct Sides {
    /// Words are chosen on these.
    choose: Vec<u32>,
    held_out: Vec<u32>,
    /// Whether a sentence stands in a response that is not held out, `[sentences]`.
    open: Vec<bool>,
}

impl Sides {
    fn new(sides: &[Split], firing: &Firing) -> Self {
        let on = |side: Split| -> Vec<u32> {
            (0u32..).zip(sides).filter(|(_, at)| **at == side).map(|(pair, _)| pair).collect()
        };
        let (train, describe, held_out) = (on(Split::Train), on(Split::Validation), on(Split::Test));
        let mut open = vec![false; firing.table.len()];
        for &pair in train.iter().chain(&describe) {
            for slot in [pair as usize, firing.pairs() + pair as usize] {
                for &sentence in firing.table.of(slot) {
                    if let Some(open) = open.get_mut(sentence as usize) {
                        *open = true;
                    }
                }
            }
        }
        let mut choose = [train, describe].concat();
        choose.sort_unstable();
        Self { choose, held_out, open }
    }
}

/// Describes what was found.
///
/// # Errors
/// Where the embedder that reads the words fails.
pub fn describe(setting: &Setting<'_>, found: &Found<'_>) -> Result<Described, crate::embed::EmbedError> {
    let sides = Sides::new(setting.sides, found.firing);
    let clear = clear_levels(found.firing, found.learned, found.dictionary);
    let (graded, presence) = found.firing.differences(&clear);
    let levels: Vec<f32> =
        (0..found.difference.cols).map(|column| middle(&found.difference.column(column))).collect();
    let reader = Reader::new(setting.pairs, found.firing, &sides.choose, &sides.held_out)?;

    let said = says::sentences(setting, found, &clear, &sides.open);
    let mut features = Vec::new();
    let mut offers = Vec::new();
    for (index, said) in said.iter().enumerate() {
        let column = present(&graded.column(index), &presence.column(index));
        let mut feature = Feature {
            feature_id: format!("learned_{index:03}"),
            clear_level: Some(clear[index]).filter(|level| level.is_finite()),
            stability: found.stability.get(index).copied().filter(|s| s.is_finite()),
            examples: strongest(&column, &sides.held_out, 10),
            ..Feature::default()
        };
        offers.push(said.offers(setting.bank));
        let fidelity = reader.fidelity(found, said, &column, &sides);
        said.name(&mut feature, setting.bank, fidelity);
        features.push(feature);
    }

    let mut difference = found.difference.clone();
    let mut flipped = Vec::new();
    for index in 0..difference.cols {
        let mut column: Vec<f32> = difference.column(index);
        column.iter_mut().filter(|z| z.abs() < levels[index]).for_each(|z| *z = 0.0);
        let mut feature = Feature {
            feature_id: format!("difference_{index:02}"),
            source: FeatureSource::Difference,
            clear_level: Some(levels[index]),
            stability: found.difference_stability.get(index).copied().filter(|s| s.is_finite()),
            examples: strongest(&column, &sides.held_out, 10),
            ..Feature::default()
        };
        let called = says::difference(setting, found, &column, &sides, &reader);
        offers.push(called.offers);
        if called.sign < 0.0 {
            flipped.push(index);
            column.iter_mut().for_each(|z| *z = -*z);
            difference.values.iter_mut().skip(index).step_by(found.difference.cols).for_each(|z| *z = -*z);
        }
        let fidelity = reader.fidelity(found, &called.said, &column, &sides);
        called.said.name(&mut feature, setting.bank, fidelity);
        features.push(feature);
    }

    let found_count = features.len().max(1) as f64;
    for feature in &mut features {
        feature.kept = !feature.description.is_empty()
            && feature.recurs(setting.config)
            && feature.fidelity.is_some_and(|f| {
                f.r >= setting.config.min_fidelity && f.p * found_count < setting.config.alpha
            });
        if !feature.kept {
            feature.silence();
        }
    }
    features.extend(dictionary(found, &clear, &graded, &presence, &sides));
    features.extend(known(setting, found.known, &sides));

    let learned = found.learned;
    let sign_of = |matrix: &Matrix, levels: &[f32]| Matrix {
        values: (matrix.values.iter().enumerate())
            .map(|(at, &z)| {
                let least = levels.get(at % matrix.cols.max(1)).copied().unwrap_or(0.0);
                if z == 0.0 || z.abs() < least { 0.0 } else { z.signum() }
            })
            .collect(),
        cols: matrix.cols,
    };
    let parts = |sentences: &Matrix, difference: &Matrix, known: &Matrix| {
        let (first, second) = (sentences.columns(0, learned), sentences.columns(learned, sentences.cols));
        beside(&beside(&beside(&first, difference), &second), known)
    };
    let activations = parts(&graded, &difference, found.known);
    let presence = parts(&presence, &sign_of(&difference, &levels), &sign_of(found.known, &[]));
    let mut described = Described { features, activations, presence, flipped, offers };
    described.mark_redundant(setting.pairs, &sides.choose, setting.redundant_above);
    Ok(described)
}

/// The clear level of every sentence feature: the data's for what was learned here (`learned` of them), the
/// dictionary's own for its entries.
fn clear_levels(firing: &Firing, learned: usize, dictionary: &[NamedEntry]) -> Vec<f32> {
    let mut clear = firing.clear_levels();
    for (level, entry) in clear.iter_mut().skip(learned).zip(dictionary) {
        *level = entry.clear;
    }
    clear
}

/// Share of the pairs in which an entry of the dictionary must be present in one response alone to be a feature here:
/// what is rarer can be told nothing about, and makes every test of the others stricter.
const COMMON_ENTRY: f64 = 0.02;

/// Leaves out entries of the dictionary that hardly occur; returns the others. No label is looked at.
pub fn common_entries(firing: &mut Firing, learned: usize, dictionary: &[NamedEntry]) -> Vec<NamedEntry> {
    let clear = clear_levels(firing, learned, dictionary);
    let mut kept: Vec<bool> =
        firing.prevalence(&clear).into_iter().map(|share| share >= COMMON_ENTRY).collect();
    kept.iter_mut().take(learned).for_each(|kept| *kept = true);
    firing.retain(&kept);
    let kept = kept.into_iter().skip(learned);
    dictionary.iter().zip(kept).filter(|(_, kept)| *kept).map(|(entry, _)| entry.clone()).collect()
}

/// An activation where the feature is present in one of the two responses alone, else 0.
fn present(z: &[f32], presence: &[f32]) -> Vec<f32> {
    z.iter().zip(presence).map(|(z, there)| if z * there > 0.0 { *z } else { 0.0 }).collect()
}

/// The middle of |z| where it is not 0: what is weaker, no reader sees.
fn middle(z: &[f32]) -> f32 {
    let mut sizes: Vec<f32> = z.iter().map(|z| z.abs()).filter(|z| *z > 0.0).collect();
    if sizes.is_empty() {
        return 0.0;
    }
    let at = sizes.len() / 2;
    *sizes.select_nth_unstable_by(at, f32::total_cmp).1
}

impl Feature {
    /// Words that do not hold are worse than none; what it was read off stays.
    fn silence(&mut self) {
        self.describer = "none".into();
        self.concept = None;
        self.flags.clear();
        for text in [&mut self.description, &mut self.short, &mut self.clause] {
            text.clear();
        }
    }
}

/// Entries of the dictionary as features: their names were checked when it was made.
fn dictionary(
    found: &Found<'_>,
    clear: &[f32],
    graded: &Matrix,
    presence: &Matrix,
    sides: &Sides,
) -> Vec<Feature> {
    let entries = found.dictionary.iter().enumerate();
    let feature = |(index, entry): (usize, &NamedEntry)| {
        let column = found.learned + index;
        let z = present(&graded.column(column), &presence.column(column));
        Feature {
            feature_id: format!("dictionary_{}", entry.id),
            source: FeatureSource::Dictionary,
            concept: Some(entry.id.clone()),
            description: entry.definition.clone(),
            clause: entry.definition.clone(),
            short: entry.name.clone(),
            describer: if entry.name.is_empty() { "none" } else { "dictionary" }.into(),
            kept: entry.speaks && sides.held_out.iter().any(|&pair| z[pair as usize] != 0.0),
            clear_level: Some(clear[column]),
            typical: entry.examples.clone(),
            examples: strongest(&z, &sides.held_out, 10),
            ..Feature::default()
        }
    };
    entries.map(feature).collect()
}

/// The bank's concepts as features in their own right.
fn known(setting: &Setting<'_>, known: &Matrix, sides: &Sides) -> Vec<Feature> {
    let entries = setting.bank.concepts().iter().enumerate();
    let feature = |(concept, entry): (usize, &known::Concept)| {
        let z = known.column(concept);
        Feature {
            feature_id: format!("known_{}", entry.id),
            source: FeatureSource::Known,
            concept: Some(entry.id.clone()),
            description: entry.description.clone(),
            short: entry.short.clone(),
            clause: entry.prefer.clone(),
            describer: "detector".into(),
            // The detector is what the words mean here; its agreement with itself would be no news.
            kept: sides.held_out.iter().any(|&pair| z[pair as usize] != 0.0),
            flags: entry.flags.clone(),
            examples: strongest(&z, &sides.held_out, 10),
            ..Feature::default()
        }
    };
    entries.map(feature).collect()
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
/// Correlation with the length difference beyond which a feature is little but length.
const LENGTH: f64 = 0.7;

impl Described {
    /// Activations where a feature is present in one response alone, else 0, `[pairs, features]`: what is shown as evidence.
    pub fn shown(&self) -> Matrix {
        let graded = self.activations.values.iter().zip(&self.presence.values);
        let values = graded.map(|(z, there)| if z * there > 0.0 { *z } else { 0.0 }).collect();
        Matrix { values, cols: self.activations.cols }
    }

    /// Marks what another feature says better: whose activations, graded or by presence, correlate beyond the
    /// threshold with one that stands before it, and what is little but length.
    ///
    /// Known concepts come first (they are exact), then names of the dictionary, then words by their fidelity, then
    /// what has no words; frequent before rare.
    fn mark_redundant(&mut self, pairs: &Pairs, among: &[u32], above: f64) {
        let mut rows = among.to_vec();
        rows.sort_by(|&a, &b| pairs.pair_id[a as usize].cmp(&pairs.pair_id[b as usize]));
        rows.truncate(REDUNDANCY_ROWS);
        // Differences are odd under swapping A and B, so their mean is an accident of the order: none is taken off.
        let unit = |value: &dyn Fn(usize) -> f32| -> Vec<f32> {
            let z: Vec<f32> = rows.iter().map(|&pair| value(pair as usize)).collect();
            let norm = z.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt() as f32;
            if norm > 0.0 { z.iter().map(|v| v / norm).collect() } else { Vec::new() }
        };
        let alike = |a: &[f32], b: &[f32]| -> f64 {
            f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()).abs()
        };
        let count = self.features.len();
        let graded: Vec<Vec<f32>> = (0..count).map(|f| unit(&|pair| self.activations.row(pair)[f])).collect();
        let clear: Vec<Vec<f32>> = (0..count).map(|f| unit(&|pair| self.presence.row(pair)[f])).collect();
        let length = unit(&|pair| pairs.length_delta[pair]);
        let longer = self.features.iter().find(|f| f.source == FeatureSource::Known && f.is_length());
        let longer = longer.map(|feature| feature.feature_id.clone());

        let rank = |feature: &Feature| match feature.source {
            FeatureSource::Known => 0,
            FeatureSource::Dictionary if feature.kept => 1,
            _ if feature.kept => 2,
            _ => 3,
        };
        let truth = |feature: &Feature| (feature.fidelity.map_or(0.0, |f| f.r) * 1e3) as i64;
        let frequency = |feature: usize| clear[feature].iter().filter(|v| **v != 0.0).count();
        let mut order: Vec<usize> = (0..count).filter(|&f| !graded[f].is_empty()).collect();
        order.sort_by_key(|&f| {
            let feature = &self.features[f];
            (rank(feature), std::cmp::Reverse(truth(feature)), std::cmp::Reverse(frequency(f)), f)
        });
        let mut stands: Vec<usize> = Vec::new();
        for feature in order {
            let is_length = self.features[feature].source != FeatureSource::Known
                && alike(&graded[feature], &length) > LENGTH;
            if let Some(longer) = longer.as_ref().filter(|_| is_length) {
                self.features[feature].redundant_with = Some(longer.clone());
                self.features[feature].flags.push("length".into());
                continue;
            }
            let twin = stands.iter().copied().find(|&other| {
                alike(&graded[feature], &graded[other]) > above
                    || alike(&clear[feature], &clear[other]) > above
            });
            match twin {
                Some(other) => {
                    self.features[feature].redundant_with = Some(self.features[other].feature_id.clone());
                }
                None => stands.push(feature),
            }
        }
    }
}

impl Feature {
    /// Whether it is about the response's length.
    fn is_length(&self) -> bool {
        self.concept.as_deref() == Some("longer")
    }
}

#[cfg(test)]
mod tests;
