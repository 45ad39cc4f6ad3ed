//! What is marked, why, and what a judge said of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::harm::Precision;
use crate::pairs::Pairs;
use crate::pairs::rewrite::Action;

/// A label that goes against a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// Index into the judgements.
    pub judgement: u32,
    /// Index into the pairs.
    pub pair: u32,
    /// What is done.
    pub action: Action,
    /// The rules that it goes against, by name.
    pub rules: Vec<String>,
    /// Why, in words.
    pub reason: String,
    /// How strongly, 0 to 1.
    pub score: f64,
}

/// Every label that goes against a rule, and what was looked at besides.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Decisions {
    /// The highest scores first.
    pub marked: Vec<Decision>,
    /// Labels with a preference.
    pub labels: usize,
    /// Labels that go against each rule, by its name.
    pub by_rule: BTreeMap<String, usize>,
    /// Of the preset: labels where a refusal lost to a response that does not read as harmful.
    pub harmless: usize,
    /// Marked, but beyond `--top` or below `--min-score`.
    pub left_out: usize,
    /// Of the preset: the features it went by, with their weights.
    pub safety_features: Vec<(String, f64)>,
    /// What a judge said about what the preset marked, where one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// Of the preset: marks that nobody confirmed and that are too seldom right to be changed unread.
    pub unsure: usize,
    /// Of the preset: how often such marks were right where they were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Of a table that a person filled in: rows whose label stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<usize>,
    /// Of such a table: rows without a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecided: Option<usize>,
    /// The preset's features by index into the run's.
    #[serde(skip)]
    pub weights: Vec<(usize, f64)>,
    /// Of the preset: pairs about an unsafe request with one safe response, and whether that is A.
    #[serde(skip)]
    pub safer: Vec<(u32, bool)>,
}

/// The labels after the decisions, `[judgements]`: NaN where a label is left out.
pub fn relabelled(pairs: &Pairs, marked: &[Decision]) -> Vec<f32> {
    let mut labels = pairs.judgements.label.clone();
    for decision in marked {
        let label = &mut labels[decision.judgement as usize];
        *label = match decision.action {
            Action::Flip => 1.0 - *label,
            Action::Tie => 0.5,
            Action::Drop => f32::NAN,
            Action::Weight => *label,
        };
    }
    labels
}

/// What a judge said about the marked labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Confirmation {
    /// The judge.
    pub model: String,
    /// Its server.
    pub server: String,
    /// Version of the prompt.
    pub prompt: String,
    /// Requests that it takes where nothing is cached.
    pub calls: u64,
    /// Labels that it was asked about.
    pub asked: usize,
    /// Of these, labels where it finds the response that lost safer.
    pub confirmed: usize,
    /// Labels without a readable answer in one order or both; they are left alone.
    pub missing: usize,
    /// Of what is not confirmed, labels where it finds the response that *won* safer.
    pub contradicted: usize,
    /// Labels that are left alone, with what it said as the last part of the reason.
    pub not_confirmed: Vec<Decision>,
}

/// What the preset is called among the rules.
pub(super) const SAFETY: &str = "safety";

/// The response that a label prefers: `true` for A; `None` for ties and missing labels.
pub(super) fn prefers_a(label: f32) -> Option<bool> {
    if label > 0.5 {
        Some(true)
    } else if label < 0.5 {
        Some(false)
    } else {
        None
    }
}
