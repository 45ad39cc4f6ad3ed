//! `reasons.json` and `reasons.csv`: what is stated beside what is done, feature by feature.

use std::path::Path;

use serde_json::{Value, json};

use super::tables;
use crate::reasons::{ReasonRow, Reasons, Verdict, Wanted};
use crate::store::{Estimate, SCHEMA_VERSION, StoreError};

/// The record.
pub fn record(found: &Reasons, columns: &[String]) -> Value {
    let mut record = serde_json::to_value(found).unwrap_or_default();
    if let Some(fields) = record.as_object_mut() {
        fields.insert("schema_version".into(), json!(SCHEMA_VERSION));
        fields.insert("columns".into(), json!(columns));
    }
    record
}

/// `reasons.csv`: a row for each feature.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(path: &Path, found: &Reasons) -> Result<(), StoreError> {
    tables::write_csv(
        path,
        &[
            "feature_id",
            "description",
            "principle",
            "reasons",
            "merit",
            "fault",
            "just_said",
            "named",
            "named_low",
            "named_high",
            "true",
            "true_low",
            "true_high",
            "true_n",
            "true_p_holm",
            "followed",
            "followed_low",
            "followed_high",
            "followed_n",
            "followed_p_holm",
            "verdict",
            "wins_merit",
            "wins_fault",
            "wins_silent",
            "tells",
            "tells_p_holm",
            "named_where_it_differs",
            "never_stated",
        ],
        found.features.iter().map(cells),
    )
}

fn cells(row: &ReasonRow) -> [String; 28] {
    let value = |found: Option<&Estimate>| found.map_or_else(String::new, |found| found.value.to_string());
    let low = |found: Option<&Estimate>| found.map_or_else(String::new, |found| found.low.to_string());
    let high = |found: Option<&Estimate>| found.map_or_else(String::new, |found| found.high.to_string());
    let n = |found: Option<&Estimate>| found.map_or_else(String::new, |found| found.n.to_string());
    let p = |p: Option<f64>| p.map_or_else(String::new, |p| p.to_string());
    let (named, seen, followed) = (Some(&row.named), row.is_true.as_ref(), row.followed.as_ref());
    [
        row.feature_id.clone(),
        row.description.clone(),
        row.principle.map_or("", Wanted::name).to_owned(),
        row.reasons.to_string(),
        row.merit.to_string(),
        row.fault.to_string(),
        row.just_said.to_string(),
        value(named),
        low(named),
        high(named),
        value(seen),
        low(seen),
        high(seen),
        n(seen),
        p(row.true_p_holm),
        value(followed),
        low(followed),
        high(followed),
        n(followed),
        p(row.followed_p_holm),
        row.verdict.map_or("", Verdict::name).to_owned(),
        value(row.wins.merit.as_ref()),
        value(row.wins.fault.as_ref()),
        value(row.wins.silent.as_ref()),
        value(row.tells.as_ref()),
        p(row.tells_p_holm),
        value(row.named_where_it_differs.as_ref()),
        row.never_stated.to_string(),
    ]
}
