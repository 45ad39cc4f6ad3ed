//! `audit.json` and `audit.csv`: two judges on the same pairs, feature by feature.

use std::path::Path;

use serde_json::{Value, json};

use super::tables;
use crate::audit::Audit;
use crate::store::{SCHEMA_VERSION, StoreError};

/// The record.
pub fn record(found: &Audit, judge: &str, reference: &str) -> Value {
    let mut record = serde_json::to_value(found).unwrap_or_default();
    if let Some(fields) = record.as_object_mut() {
        fields.insert("schema_version".into(), json!(SCHEMA_VERSION));
        fields.insert("judge".into(), json!(judge));
        fields.insert("reference".into(), json!(reference));
    }
    record
}

/// `audit.csv`: a row for each feature.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(path: &Path, found: &Audit) -> Result<(), StoreError> {
    tables::write_csv(
        path,
        &[
            "feature_id",
            "description",
            "difference",
            "low",
            "high",
            "p_holm",
            "differs",
            "reference",
            "judge",
            "agreement",
            "kappa",
            "pairs",
        ],
        found.features.iter().map(|row| {
            [
                row.feature_id.clone(),
                row.description.clone(),
                row.difference.value.to_string(),
                row.difference.low.to_string(),
                row.difference.high.to_string(),
                row.p_holm.to_string(),
                row.differs.to_string(),
                row.reference.value.to_string(),
                row.judge.value.to_string(),
                row.agreement.value.to_string(),
                row.kappa.map_or_else(String::new, |kappa| kappa.to_string()),
                row.difference.n.to_string(),
            ]
        }),
    )
}
