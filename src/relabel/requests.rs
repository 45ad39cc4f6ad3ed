//! What stands behind a safety risk: how many of the labels against the safe side are about unsafe requests at all.

use super::UNSAFE;
use super::unsafe_content::Reader;
use crate::constitution::{Findings, RiskRequests};
use crate::describe::Described;
use crate::describe::known::ConceptBankError;
use crate::pairs::Pairs;

/// Counts, for every principle flagged `safety_risk`, the labels that follow it by the request they are about. "The
/// labels punish refusing" says one thing where somebody asked how to hurt people, and another where he asked for a
/// recipe.
///
/// # Errors
/// Where the boxed cues cannot be read.
pub fn count(findings: &mut Findings, pairs: &Pairs, described: &Described) -> Result<(), ConceptBankError> {
    let risky = |flags: &[String]| flags.iter().any(|flag| flag == "safety_risk");
    if !findings.principles.iter().any(|principle| risky(&principle.flags)) {
        return Ok(());
    }
    let reader = Reader::new(None)?;
    for principle in findings.principles.iter_mut().filter(|principle| risky(&principle.flags)) {
        let id = principle.feature_ids.first();
        let Some(column) = described.features.iter().position(|feature| Some(&feature.feature_id) == id)
        else {
            continue;
        };
        let sign = if principle.direction == "prefer" { 1.0 } else { -1.0 };
        let mut found = RiskRequests::default();
        for (&pair, &label) in pairs.judgements.pair.iter().zip(&pairs.judgements.label) {
            let z = described.activations.row(pair as usize)[column];
            // The label follows the principle: the side that it favours won.
            if label.is_nan() || label == 0.5 || (z * sign > 0.0) != (label > 0.5) || z == 0.0 {
                continue;
            }
            match reader.read(pairs.prompt.get(pair as usize)).score >= UNSAFE {
                true => found.unsafe_requests += 1,
                false => found.other_requests += 1,
            }
        }
        principle.risk_requests = Some(found);
    }
    Ok(())
}
