//! What the user says about a source.

use super::codes::{LabelMap, LabelScale};
use crate::config::Pairing;

/// What the user says about the source; everything else is recognised.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadOptions {
    /// Column with the prompt.
    pub prompt_column: Option<String>,
    /// Column with the response that label 1 prefers.
    pub response_a_column: Option<String>,
    /// Column with the other response.
    pub response_b_column: Option<String>,
    /// Column with the label.
    pub label_column: Option<String>,
    /// What the values of the label column mean, one by one.
    pub label_map: Option<LabelMap>,
    /// Which end of the label's scale is for A.
    pub label_scale: Option<LabelScale>,
    /// Column with the annotator's id.
    pub annotator_column: Option<String>,
    /// Columns besides the prompt whose values the split must keep on one side.
    pub group_columns: Vec<String>,
    /// Columns with the vectors of the two responses, in the order of the response columns.
    pub embedding_columns: Option<(String, String)>,
    /// Which label, where a source has several.
    pub preference: Option<String>,
    /// How several responses to one prompt become pairs.
    pub pairing: Pairing,
    /// Pairs that are taken of a source, at most, where each of its rows is one: those whose texts have the lowest hashes;
    /// 0: all of them.
    pub max_pairs: usize,
    /// The run's seed: decides how pairs of chosen-first sources stand.
    pub seed: u64,
}
