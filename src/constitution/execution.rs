//! A list as a language model applied it, and what can go wrong on the way.

use serde::{Deserialize, Serialize};

use crate::embed::EmbedError;
use crate::llm::chat::LanguageError;
use crate::store::Estimate;

/// Why a model could not execute a constitution.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source
pub enum ByModelError {
    #[error(transparent)]
    Language(#[from] LanguageError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
}

impl ByModelError {
    /// Whether the user stopped it (exit code 130).
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Language(error) if error.is_stop())
    }

    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        matches!(self, Self::Language(_))
    }
}

/// A list as a model applied it to pairs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Execution {
    /// Requests that it takes where nothing is cached.
    pub calls: u64,
    /// Pairs that were read in both orders.
    pub pairs: usize,
    /// Pairs without a readable answer in one order or both; they count nowhere.
    pub missing: usize,
    /// Labels of the pairs that were read, ties left out.
    pub labels: usize,
    /// Agreement with them; a pair that the model leaves even counts half. `None` without labels.
    pub agreement: Option<Estimate>,
    /// Share of the pairs that stay even, both orders together.
    pub undecided: f64,
    /// Share of the pairs with the same answer in both orders.
    pub same_in_both_orders: f64,
    /// How much more often it names the first response than the second, from −1 to 1.
    pub position_bias: f64,
}

/// Hears what is asked: its purpose, how many calls are done, and of how many.
pub type Progress<'a> = dyn FnMut(&'static str, u64, u64) + 'a;
