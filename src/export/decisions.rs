//! `decisions.csv`: what relabelling marked, for a spreadsheet.

use std::path::Path;

use super::tables;
use crate::pairs::Pairs;
use crate::relabel::Decision;
use crate::store::StoreError;

/// `decisions.csv`: every marked label with its reason.
pub fn write_decisions(path: &Path, marked: &[Decision], pairs: &Pairs) -> Result<(), StoreError> {
    tables::write_csv(
        path,
        &["row", "pair_id", "annotator_id", "action", "score", "rule", "reason", "original_label"],
        marked.iter().map(|decision| {
            let at = decision.judgement as usize;
            let judgements = &pairs.judgements;
            let annotator = pairs.annotators.get(judgements.annotator[at] as usize);
            let label = judgements.label[at];
            // Of the responses as the source has them.
            let original = if judgements.swapped[at] { 1.0 - label } else { label };
            [
                judgements.row[at].to_string(),
                pairs.pair_id[decision.pair as usize].clone(),
                annotator.cloned().unwrap_or_default(),
                decision.action.name().into(),
                decision.score.to_string(),
                decision.rules.join(", "),
                decision.reason.clone(),
                original.to_string(),
            ]
        }),
    )
}
