//! From features and effects to principles: what the annotators followed, in words.
//!
//! A principle has to show up twice, on different pairs:
//!
//! 1. **Explore** (`train` and `describe` labels). Candidates are the known concepts, the learned
//!    features whose own words carry the effect, and [`themes`] of words that neither explains. They enter one logit by forward selection,
//!    and stay only while they add something to those already in: a concept that is merely
//!    associated with another one (exclamation marks with flattery) adds nothing to it. What is
//!    associated by itself and keeps most of that when those are held fixed is let in as well.
//! 2. **Confirm** (`held_out` labels). What stayed is tested again (in one fit, or by itself where it
//!    was let in for that), in the same direction, corrected (Holm) over the number of candidates that stayed. Every figure shown comes
//!    from here, and none of these labels took part in choosing.
//!
//! So the chance of printing any principle when nothing is associated with the label is at most
//! `alpha`, and in practice about half of it, since the direction has to agree as well.
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
    /// Difference in win rate between having more and having less of it, as `basis` says, on held-out
    /// labels with an activation other than 0.
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
    /// Whether response length is held fixed; not where one of the principles is about length.
    pub length_controlled: bool,
    /// Cluster-robust p-value on held-out labels, as `basis` says.
    pub p: f64,
    /// p corrected (Holm) over the candidates that were confirmed or not: the decision.
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
    /// Share of held-out labels whose two responses differ in it.
    pub prevalence: f64,
    /// Held-out labels behind the effect.
    pub n: usize,
    /// How far held-out labels agree with it when it votes by itself, signed from the concept.
    #[serde(flatten)]
    pub agreement: agreement::Agreement,
    /// Confirmed on held-out labels; true for every principle that is printed.
    pub significant: bool,
    /// `safety`, `safety_risk`, `length`, `rare`, `redundant`.
    pub flags: Vec<String>,
    /// Pairs that speak for it and against it.
    pub evidence: Evidence,
}

/// Held-out pairs, the clearest first, by `pair_id`.
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
    /// Share of held-out labels whose two responses differ in it.
    pub prevalence: f64,
    /// Held-out labels.
    pub n: usize,
    /// The principle or feature it overlaps with.
    pub overlaps: Option<String>,
}

/// Everything the labels say, sorted for reading.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// Version of this file's layout.
    pub schema_version: u64,
    /// Ranked.
    pub principles: Vec<Principle>,
    /// Candidates that went into the confirmation: the family of `p_confirm`.
    pub candidates: usize,
    /// Candidates that did not hold up, or that others explain.
    pub not_confirmed: Vec<Finding>,
    /// Measurable in this dataset, and at most weakly associated with the label: the interval lies within ±10 points.
    pub indifferent: Vec<Finding>,
    /// Learned features that nothing describes, with their terms.
    pub unexplained: Vec<Finding>,
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
