//! What a language model makes of a constitution: the record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::execution::Execution;
use super::icai::Icai;
use crate::llm::spending::Spent;
use crate::store::Estimate;

/// What a language model makes of the constitution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ByModel {
    /// The model.
    pub model: String,
    /// Its server.
    pub server: String,
    /// Version of the prompt.
    pub prompt: String,
    /// Held-out pairs that it was asked about.
    pub asked: usize,
    /// The constitution.
    pub list: Execution,
    /// The linear executor on the same labels.
    pub linear: Option<Estimate>,
    /// The vote on the same labels.
    pub vote: Option<Estimate>,
    /// How much the model is above the linear executor: paired, on the same labels.
    pub above_linear: Option<Estimate>,
    /// How much it is above the vote.
    pub above_vote: Option<Estimate>,
    /// The baseline, where it was asked for.
    pub icai: Option<Icai>,
    /// What was spent, by purpose.
    pub spent: BTreeMap<String, Spent>,
}
