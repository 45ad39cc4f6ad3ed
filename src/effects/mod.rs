//! What the features have to do with the label: effects, intervals, and how well they predict.
//!
//! Pure functions over [`Sample`]s of labelled judgements and activation matrices:
//!
//! - [`feature_effects`]: one feature at a time, length held constant: β and Δwin-rate
//! - [`crossfit`]: the effect of what was chosen, measured on labels that did not choose it
//! - [`conditional_effects`], [`conditional_win_deltas`]: several features in one fit
//! - [`score_tests`], [`unexplained`]: which feature to add to a fit, what it leaves
//! - [`ladder()`]: how well sets of features predict, from length alone to the whole embedding
//! - [`lasso`], [`penalised`]: the selection and the wide fits beneath
//! - [`auc()`], [`pearson`]: figures with 95 % intervals
//! - [`multiplicity`]: corrections for having looked at many features
//! - [`logistic`]: the regression beneath
//!
//! Whatever cannot be estimated is an [`Outcome`] of that one feature, never an error for the rest.

pub mod ablation;
pub mod auc;
pub mod clusters;
pub mod control;
pub mod crossfit;
pub mod feature;
pub mod lasso;
pub mod logistic;
mod numeric;
pub mod penalised;
pub mod sample;
pub mod table;
pub mod tfidf;

pub use crate::statistics::correlation::{Correlation, pearson};
pub use crate::statistics::multiplicity;
pub use crate::store::Estimate;
pub use ablation::{Measure, Peers, Rung, ladder};
pub use auc::{Ranking, auc};
pub use clusters::Clusters;
pub use control::Control;
pub use feature::{
    Conditional, Effect, Part, WinDelta, conditional_effects, conditional_win_deltas, feature_effect,
    feature_effects, feature_effects_of, score_tests, unexplained,
};
pub(crate) use feature::{
    conditional_effect_at, conditional_win_delta_at, last_conditional_effect, score_tests_of, win_influence,
};
pub use logistic::Outcome;
pub(crate) use numeric::{quantile_95, student_p};
pub use sample::Sample;

/// Why a sample cannot be formed. These are mistakes of the caller, not of the data.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EffectsError {
    /// The columns of a sample differ in length.
    #[error("the column `{what}` has {found} rows where there are {expected} labels")]
    Length {
        /// The column.
        what: &'static str,
        /// Number of labels.
        expected: usize,
        /// Rows of the column.
        found: usize,
    },
    /// A label is not a share of preference.
    #[error("label {value} in row {at} is not between 0 and 1; leave judgements without a label out")]
    Label {
        /// Row of the sample.
        at: usize,
        /// The label.
        value: f64,
    },
    /// A number is missing or infinite.
    #[error("`{what}` in row {at} is not a finite number")]
    NotFinite {
        /// The column.
        what: &'static str,
        /// Row of the sample.
        at: usize,
    },
}

#[cfg(test)]
mod tests;
