//! `decisions.csv`: what relabelling marked, for a spreadsheet.

use std::collections::HashMap;
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

/// `review.csv`: the same for a person who decides, with both texts and a column for the decision; what was `decided`
/// before, by row and pair, stays. Returns how many decisions that were.
pub fn write_review(
    path: &Path,
    marked: &[Decision],
    pairs: &Pairs,
    decided: &HashMap<(String, String), String>,
) -> Result<usize, StoreError> {
    let mut kept = 0;
    let names = [
        "row",
        "decision",
        "pair_id",
        "annotator_id",
        "action",
        "score",
        "rule",
        "reason",
        "prompt",
        "preferred",
        "other",
    ];
    tables::write_csv(
        path,
        &names,
        marked.iter().map(|decision| {
            let (at, pair) = (decision.judgement as usize, decision.pair as usize);
            let judgements = &pairs.judgements;
            let (row, id) = (judgements.row[at].to_string(), pairs.pair_id[pair].clone());
            let before = decided.get(&(row.clone(), id.clone())).cloned().unwrap_or_default();
            kept += usize::from(!before.is_empty());
            let (a, b) = (pairs.response_a.get(pair), pairs.response_b.get(pair));
            let (won, lost) = if judgements.label[at] > 0.5 { (a, b) } else { (b, a) };
            [
                row,
                before,
                id,
                pairs.annotators.get(judgements.annotator[at] as usize).cloned().unwrap_or_default(),
                decision.action.name().into(),
                decision.score.to_string(),
                decision.rules.join(", "),
                decision.reason.clone(),
                pairs.prompt.get(pair).to_owned(),
                won.to_owned(),
                lost.to_owned(),
            ]
        }),
    )?;
    Ok(kept)
}
