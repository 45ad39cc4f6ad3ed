//! From features and effects to principles: what the annotators followed, in words.
//!
//! Features and their words are found without labels, so no label is spent on finding:
//!
//! 1. **All features on all labels.** Every feature, known or learned, described or not, is tested by itself on every
//!    label, both lengths held fixed, corrected (Holm, weighted by the share of pairs in which each is clear) over all
//!    of them with four fifths of `alpha`. What is
//!    confirmed and has words that say what it is becomes a principle, unless a surer one says the same or explains
//!    most of it. The figures that are shown are [cross-fitted](crate::effects::crossfit): measured on the fifths of
//!    the labels whose others would have chosen it.
//! 2. **What needs labels to be found**, [`themes`] of words in what is left, and what shows only once others are
//!    held fixed, is looked for on the `train` and `describe` labels and confirmed on `held_out` ones, corrected (Holm)
//!    over what was found with the last fifth of `alpha`.
//!
//! So the chance of printing any principle when nothing is associated with the label is at most `alpha`. Length is a
//! hypothesis stated beforehand: it is tested by itself and always said.
//!
//! The inverse constitution ([`mod@reconstruct`]) asks another question of the same labels: which few
//! principles suffice to tell most of them. [`choose`] makes the list, [`executor`] applies it, and where one
//! is named, a language model ([`by_model`], beside the baseline [`icai`]); [`edits`] are the user's wishes.

pub mod agreement;
pub mod by_model;
pub mod choose;
pub mod edits;
pub mod executed;
pub mod execution;
pub mod executor;
pub mod icai;
pub mod reconstruct;
pub mod select;
pub mod themes;

use serde::{Deserialize, Serialize};

use crate::describe::Reading;
use crate::statistics::correlation::Correlation;

/// A description with a direction, an effect and evidence, ready to read and to apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Principle {
    /// 1 for the strongest.
    pub rank: usize,
    /// "Prefer the response that …" or "Avoid the response that …".
    pub statement: String,
    /// `prefer` or `avoid`.
    pub direction: String,
    /// What the response does, in words.
    pub description: String,
    /// A label of a few words.
    pub short: String,
    /// The feature that is measured, then those that say the same.
    pub feature_ids: Vec<String>,
    /// `joint` where it is confirmed with the other principles held fixed, `alone` where it overlaps
    /// with some of them and is confirmed by itself. Length is held fixed in both cases.
    pub basis: String,
    /// Difference in win rate between having more and having less of it, as `basis` says, on labels with an
    /// activation other than 0 that took no part in choosing it.
    pub win_delta: f64,
    /// Lower end of the 95 % interval, clustered by prompt and annotator.
    pub win_low: f64,
    /// Upper end.
    pub win_high: f64,
    /// The same with the other principles held fixed.
    pub win_delta_joint: Option<f64>,
    /// Lower end of its 95 % interval.
    pub win_low_joint: Option<f64>,
    /// Upper end.
    pub win_high_joint: Option<f64>,
    /// The same by itself, as in `features.parquet`.
    pub win_delta_alone: Option<f64>,
    /// Lower end of its 95 % interval.
    pub win_low_alone: Option<f64>,
    /// Upper end.
    pub win_high_alone: Option<f64>,
    /// Logit coefficient per standard deviation by itself, as in `features.parquet`.
    pub beta: f64,
    /// Its clustered standard error.
    pub beta_se: f64,
    /// The coefficient with the other principles held fixed.
    pub beta_joint: Option<f64>,
    /// Its clustered standard error.
    pub beta_joint_se: Option<f64>,
    /// Whether response length is held fixed in `win_delta`: not where the principle is about length, nor, on the joint
    /// basis, where any of them is.
    pub length_controlled: bool,
    /// Fifths of the labels that the win rates come from, those that the others chose it for (`fold` in `pairs.parquet`);
    /// none where they come from held-out labels.
    pub folds: Vec<u8>,
    /// Cluster-robust p-value, as `basis` says: of all labels, or of held-out ones.
    pub p: f64,
    /// p corrected (Holm) over all that was tested so: the decision.
    pub p_confirm: f64,
    /// p corrected (Bonferroni) over every feature that was measured.
    pub p_bonferroni: f64,
    /// False discovery rate (Benjamini–Hochberg) over every feature that was measured.
    pub q_bh: f64,
    /// Who says what the feature is: `detector` (a known concept, measured as it is described), `words`
    /// (a theme, the words themselves) or `contrast` (terms that separate a learned feature's pairs).
    pub describer: String,
    /// How true the description is of the feature; `None` where the description is its detector.
    pub fidelity: Option<f64>,
    /// Lower end of its 95 % interval.
    pub fidelity_low: Option<f64>,
    /// Upper end.
    pub fidelity_high: Option<f64>,
    /// Pairs it was measured on.
    pub fidelity_n: usize,
    /// How readers judged what its detector, or the dictionary's entry, finds elsewhere; `None` where nobody has read it.
    pub reading: Option<Reading>,
    /// Share of the labelled pairs whose two responses differ in it.
    pub prevalence: f64,
    /// Labels behind the win rate.
    pub n: usize,
    /// How far `held_out` labels agree with it when it votes by itself, signed from the concept. Where few `folds` chose
    /// it, these labels may be among those that did.
    #[serde(flatten)]
    pub agreement: agreement::Agreement,
    /// Confirmed on held-out labels; true for every principle that is printed.
    pub significant: bool,
    /// `safety`, `safety_risk`, `length`, `rare`, `redundant`, `size_unclear` (confirmed, but the fifths of the labels that
    /// count are too few to say how large it is).
    pub flags: Vec<String>,
    /// For a `safety_risk`: what the labels that follow it are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_requests: Option<RiskRequests>,
    /// Pairs that speak for it and against it.
    pub evidence: Evidence,
}

/// Labels that follow a principle, by the request that they are about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RiskRequests {
    /// Requests in which something unsafe is recognised.
    pub unsafe_requests: usize,
    /// All others.
    pub other_requests: usize,
}

impl RiskRequests {
    /// In words.
    pub fn sentence(self) -> String {
        let Self { unsafe_requests, other_requests } = self;
        format!(
            "of the {} labels that follow it, {unsafe_requests} are about requests in which something unsafe is \
             recognised, {other_requests} about others",
            unsafe_requests + other_requests
        )
    }
}

/// Pairs whose labels tested it, the clearest first, by `pair_id`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The label agrees with the principle.
    #[serde(rename = "for")]
    pub supporting: Vec<String>,
    /// The label goes against it.
    pub against: Vec<String>,
}

/// A feature that is no principle, and how it stands to the label.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// The feature.
    pub feature_id: String,
    /// Its words, or its separating terms where nothing describes it.
    pub text: String,
    /// As for principles.
    pub win_delta: Option<f64>,
    /// Lower end.
    pub win_low: Option<f64>,
    /// Upper end.
    pub win_high: Option<f64>,
    /// Share of the labelled pairs whose two responses differ in it.
    pub prevalence: f64,
    /// Labels that it was tested on, those where both have it alike included.
    pub n: usize,
    /// The principle or feature it overlaps with.
    pub overlaps: Option<String>,
    /// Its p-value corrected (Holm) over all that was tested on all labels.
    pub p_holm: Option<f64>,
}

/// What was tested, and what could have been seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Looked {
    /// Features tested on all labels.
    pub features: usize,
    /// Candidates that labels found, tested on held-out ones.
    pub found_by_labels: usize,
    /// Labels, ties left out.
    pub labels: usize,
    /// Their prompts.
    pub prompts: usize,
    /// Their annotators with a name.
    pub annotators: usize,
    /// The feature with words and the smallest p-value, those about length left out.
    pub lead: Option<Finding>,
    /// Its p-value.
    pub lead_p: Option<f64>,
    /// The same corrected.
    pub lead_p_holm: Option<f64>,
    /// Difference in win rate that would have been confirmed in four of five cases, for the middle one of the features.
    pub detectable: Option<f64>,
    /// Share of the pairs that this one differs in.
    pub detectable_prevalence: Option<f64>,
    /// AUC of all features together on held-out labels.
    pub together: Option<crate::store::Estimate>,
    /// The same minus that of both lengths alone.
    pub together_minus_length: Option<crate::store::Estimate>,
    /// Length by itself.
    pub length: crate::effects::table::LengthEffect,
    /// What a reader must know where a few people gave the labels.
    pub people: Option<String>,
}

/// Everything the labels say, sorted for reading.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// Version of this file's layout.
    pub schema_version: u64,
    /// Ranked.
    pub principles: Vec<Principle>,
    /// What was tested.
    pub candidates: usize,
    /// The same at length; `None` in files of older versions.
    pub looked: Option<Looked>,
    /// Confirmed by themselves, too, and mostly what a principle says (`overlaps`).
    pub overlapping: Vec<Finding>,
    /// Confirmed, but readers of the words saw something else in more than one of five pairs in which it is found.
    pub hints: Vec<Finding>,
    /// Candidates that did not hold up.
    pub not_confirmed: Vec<Finding>,
    /// Measurable in this dataset, and at most weakly associated with the label: the interval lies within ±10 points.
    pub indifferent: Vec<Finding>,
    /// Learned features that nothing describes, with their terms.
    pub unexplained: Vec<Finding>,
}

impl Findings {
    /// The features of its principles.
    pub fn features(&self) -> Vec<String> {
        self.principles.iter().flat_map(|principle| principle.feature_ids.iter().cloned()).collect()
    }
}

impl Principle {
    /// Copies a fidelity with its interval.
    pub(crate) fn set_fidelity(&mut self, fidelity: Option<Correlation>) {
        self.fidelity = fidelity.map(|f| f.r);
        self.fidelity_low = fidelity.map(|f| f.low);
        self.fidelity_high = fidelity.map(|f| f.high);
        self.fidelity_n = fidelity.map_or(0, |f| f.n);
    }
}
