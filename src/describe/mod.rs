//! Words for the features, and how true they are.
//!
//! ```text
//! sentence_features   the autoencoders that read sentences
//! presence   what fires in sentences ──► what sets two responses apart
//! wording    phrases in sentences, and those that features are named by
//! phrases    what stands word for word in the responses that have a feature, and how true it is of other pairs
//! says       those, typical sentences, nearest words and known acts ──► words for a feature
//! reader     quoted sentences, read by themselves: hints for features of whole responses
//! known      concepts with detectors: features in their own right
//! written    language models write, another judges
//! ```
//!
//! Offline a learned feature is named by phrases that its responses have and others have not, with a sentence in which it
//! fires: what a reader can check word for word. A feature on whole responses is named by a known concept that goes with it, or not
//! at all. Words are taken from pairs that are not held out; their fidelity is measured once, on `held_out`
//! pairs (METHOD §4; the reference chose and reported on the same rows). What nothing describes stays unexplained.

pub mod contrast;
mod feature;
pub mod judging;
pub mod known;
pub mod llm_describer;
pub mod model_judge;
mod phrases;
pub mod presence;
mod reader;
mod said;
mod says;
pub mod sentence_features;
mod setting;
pub mod user_concepts;
mod wording;

use std::ops::Range;

use crate::config::{DescribeConfig, Describer};
use crate::context::{Cancel, Stopped};
use crate::matrix::Matrix;
use crate::pairs::Pairs;
pub use feature::{Described, Feature, FeatureSource, Offer, Reading};
use phrases::Phrases;
use presence::Firing;
use reader::Reader;
use setting::Sides;
pub use setting::{Found, NamedEntry, Setting, Vocabulary, strongest};
pub(crate) use wording::Wording;

/// Least correlation of a learned feature with its phrases over all held-out pairs, those in which neither stands
/// included. Below it, people who read pairs by the words alone mostly saw nothing of the feature.
const EVERYWHERE: f64 = 0.4;

/// The same for the words of a topic: what they stand in beside it is not counted as present, and they are read as a kind of thing.
const TOPICAL: f64 = 0.33;

/// Which way of putting features into words this is: what an earlier one left is done again.
pub const REVISION: u32 = 4;

/// Least share of the held-out pairs with a feature of whose phrases one stands on its side alone: words for less are not its
/// words.
const COVERED: f64 = 0.4;

/// Describes what was found.
///
/// # Errors
/// Where the embedder that reads the words fails, or somebody wants it to stop.
pub fn describe(setting: &Setting<'_>, found: &Found<'_>) -> Result<Described, crate::embed::EmbedError> {
    let cancel = setting.cancel;
    let sides = Sides::new(setting.pairs, setting.sides, found.firing);
    let clear = clear_levels(found.firing, found.learned, found.dictionary);
    let (graded, mut presence) = found.firing.differences(&clear);
    let levels: Vec<f32> =
        (0..found.difference.cols).map(|column| middle(&found.difference.column(column))).collect();
    let reader = Reader::new(found.firing, &sides.read_choose, cancel)?;
    let phrases = Phrases::new(found.firing, &sides.read_choose, &sides.read_held_out);
    cancel.check()?;

    let said = says::sentences(setting, found, &phrases, &clear, &sides.open);
    cancel.check()?;
    let mut offers: Vec<Vec<Offer>> = said.iter().map(|said| said.offers(setting.bank)).collect();
    let tests = (found.learned + found.difference.cols).max(1) as f64;
    let mut features = Vec::new();
    for (index, said) in said.iter().enumerate() {
        cancel.check()?;
        let column = present(&graded.column(index), &presence.column(index));
        let mut feature = Feature {
            feature_id: format!("learned_{index:03}"),
            clear_level: Some(clear[index]).filter(|level| level.is_finite()),
            stability: found.stability.get(index).copied().filter(|s| s.is_finite()),
            examples: strongest(&column, &sides.held_out, 10),
            ..Feature::default()
        };
        let named: Vec<u32> = said.phrases.iter().map(|(phrase, _)| *phrase).collect();
        let (right, [fidelity, everywhere]) = phrases.fidelity(&named, &column, &sides.read_held_out);
        said.name(&mut feature, setting.bank, Some(fidelity).filter(|c| c.r.is_finite() && c.p.is_finite()));
        let least = if said.is_topic { TOPICAL } else { EVERYWHERE };
        feature.keep(setting.config, tests, everywhere.r >= least && right >= COVERED);
        // Where a model judges the words, it is what says in which pairs they are true.
        if feature.kept && setting.config.describer == Describer::Offline {
            feature.phrases = said.phrases.iter().map(|(_, phrase)| phrase.clone()).collect();
        }
        features.push(feature);
    }
    only_where_worded(&mut features, found.firing, &clear, (&graded, &mut presence), &sides);

    let mut difference = found.difference.clone();
    let mut flipped = Vec::new();
    for (index, &level) in levels.iter().enumerate().take(found.difference.cols) {
        cancel.check()?;
        let mut column: Vec<f32> = difference.column(index);
        column.iter_mut().filter(|z| z.abs() < level).for_each(|z| *z = 0.0);
        let mut feature = Feature {
            feature_id: format!("difference_{index:02}"),
            source: FeatureSource::Difference,
            clear_level: Some(level),
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
        let fidelity = called.said.act.and_then(|act| {
            let read: Vec<f32> = found.known.column(act).into_iter().map(setting::reading).collect();
            setting::fidelity(&column, &read, 1.0, &sides.held_out)
        });
        called.said.name(&mut feature, setting.bank, fidelity);
        feature.keep(setting.config, tests, true);
        features.push(feature);
    }
    features.extend(dictionary(found, &clear, &graded, &presence, &sides));
    features.extend(known(setting, found.known, &sides));

    let activations = together(found.firing.graded(graded), found.learned, &difference, found.known);
    let presence = together(presence, found.learned, &signs(&difference, &levels), &signs(found.known, &[]));
    let mut described = Described { features, activations, presence, flipped, offers };
    described.mark_redundant(setting.pairs, &sides.choose, setting.redundant_above, cancel)?;
    Ok(described)
}

/// Features in their order: those `learned` in sentences, on differences, the dictionary's, known ones. In one go, and
/// `sentences` are given back at once: on a million pairs each of these is a gigabyte.
fn together(sentences: Matrix, learned: usize, difference: &Matrix, known: &Matrix) -> Matrix {
    let (learned, all) = (learned.min(sentences.cols), sentences.cols);
    joined(&[
        (&sentences, 0..learned),
        (difference, 0..difference.cols),
        (&sentences, learned..all),
        (known, 0..known.cols),
    ])
}

/// The sign of each activation that reaches the level of its column (0 where there is none), else 0.
fn signs(matrix: &Matrix, levels: &[f32]) -> Matrix {
    let sign = |(at, &z): (usize, &f32)| {
        let least = levels.get(at % matrix.cols.max(1)).copied().unwrap_or(0.0);
        if z == 0.0 || z.abs() < least { 0.0 } else { z.signum() }
    };
    Matrix { values: matrix.values.iter().enumerate().map(sign).collect(), cols: matrix.cols }
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

/// Corrects the presence of features that are named by phrases to where these stand; those of which then hardly anything is
/// left lose their words.
fn only_where_worded(
    features: &mut [Feature],
    firing: &Firing,
    clear: &[f32],
    (graded, presence): (&Matrix, &mut Matrix),
    sides: &Sides,
) {
    let wording = Wording::of(features.iter());
    let (there, named) = (firing.where_worded(&wording, clear), wording.features());
    for (at, &index) in named.iter().enumerate() {
        let column = || there.iter().skip(at).step_by(named.len());
        let share = column().filter(|there| **there != 0).count() as f64 / presence.rows().max(1) as f64;
        let Some(feature) = features.get_mut(index as usize) else { continue };
        if share < COMMON {
            feature.kept = false;
            feature.silence();
            continue;
        }
        for (row, &there) in presence.values.chunks_exact_mut(graded.cols).zip(column()) {
            row[index as usize] = f32::from(there);
        }
        let column = present(&graded.column(index as usize), &presence.column(index as usize));
        feature.examples = strongest(&column, &sides.held_out, 10);
    }
}

/// Share of the pairs in which an entry of the dictionary, or a feature that is named by phrases, must be present in one response alone to be a feature here:
/// what is rarer can be told nothing about, and makes every test of the others stricter.
const COMMON: f64 = 0.02;

/// Leaves out entries of the dictionary that hardly occur; returns the others. No label is looked at.
pub fn common_entries(firing: &mut Firing, learned: usize, dictionary: &[NamedEntry]) -> Vec<NamedEntry> {
    let clear = clear_levels(firing, learned, dictionary);
    let mut kept: Vec<bool> = firing.prevalence(&clear).into_iter().map(|share| share >= COMMON).collect();
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
    /// Keeps its words where they `fit`, are true on held-out pairs beyond chance over so many `tests`, and it recurs.
    fn keep(&mut self, config: &DescribeConfig, tests: f64, fit: bool) {
        self.kept = fit
            && !self.description.is_empty()
            && self.recurs(config)
            && self.fidelity.is_some_and(|f| f.r >= config.min_fidelity && f.p * tests < config.alpha);
        if !self.kept {
            self.silence();
        }
    }

    /// Words that do not hold are worse than none; what it was read off stays.
    fn silence(&mut self) {
        self.describer = "none".into();
        self.phrases.clear();
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
            reading: entry.reading,
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
            reading: entry.reading,
            examples: strongest(&z, &sides.held_out, 10),
            ..Feature::default()
        }
    };
    entries.map(feature).collect()
}

/// Some columns of matrices with the same rows, side by side.
fn joined(parts: &[(&Matrix, Range<usize>)]) -> Matrix {
    let rows = parts.iter().map(|(matrix, _)| matrix.rows()).max().unwrap_or(0);
    let cols = parts.iter().map(|(_, range)| range.len()).sum();
    let mut values = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        for (matrix, range) in parts.iter().filter(|(_, range)| !range.is_empty()) {
            values.extend_from_slice(matrix.row(row).get(range.clone()).unwrap_or_default());
        }
    }
    Matrix { values, cols }
}

/// Two matrices with the same rows, side by side.
pub(crate) fn beside(left: &Matrix, right: &Matrix) -> Matrix {
    joined(&[(left, 0..left.cols), (right, 0..right.cols)])
}

/// Rows that redundancy is judged on; the threshold is coarse, more rows would not move it.
const REDUNDANCY_ROWS: usize = 20_000;
/// Correlation with the length difference beyond which a feature is little but length.
const LENGTH: f64 = 0.7;

impl Described {
    /// The activation where a feature is present in one response alone, else 0: what is shown as evidence.
    pub fn shown(&self, pair: usize, feature: usize) -> f32 {
        let (z, there) = (self.activations.row(pair)[feature], self.presence.row(pair)[feature]);
        if z * there > 0.0 { z } else { 0.0 }
    }

    /// Marks what another feature says better: whose activations, graded or by presence, correlate beyond the
    /// threshold with one that stands before it, and what is little but length.
    ///
    /// Known concepts come first (they are exact), then names of the dictionary, then words by their fidelity, then
    /// what has no words; frequent before rare.
    fn mark_redundant(
        &mut self,
        pairs: &Pairs,
        among: &[u32],
        above: f64,
        cancel: &Cancel,
    ) -> Result<(), Stopped> {
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
            cancel.check()?;
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
        Ok(())
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
