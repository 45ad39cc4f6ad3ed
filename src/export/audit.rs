//! `audit.json` and `audit.csv`: two judges on the same pairs, feature by feature.

use std::path::Path;

use serde_json::{Value, json};

use super::tables;
use crate::audit::{Among, AmongRow, Audit, AuditRow};
use crate::store::{Estimate, SCHEMA_VERSION, StoreError};

/// The record.
pub fn record(found: Option<&Audit>, among: Option<&Among>, judge: &str, reference: &str) -> Value {
    let mut record = found.map_or(json!({}), |found| serde_json::to_value(found).unwrap_or_default());
    if let Some(fields) = record.as_object_mut() {
        fields.insert("schema_version".into(), json!(SCHEMA_VERSION));
        fields.insert("judge".into(), json!(found.map(|_| judge)));
        fields.insert("reference".into(), json!(reference));
        fields.insert("annotators".into(), json!(among));
    }
    record
}

/// `audit.csv`: a row for each feature.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(path: &Path, found: Option<&Audit>, among: Option<&Among>) -> Result<(), StoreError> {
    let alphas = among.map_or(&[][..], |among| &among.features);
    let alpha = |id: &str| alphas.iter().find(|row| row.feature_id == id);
    let differing = found.map_or(&[][..], |found| &found.features);
    let rest =
        alphas.iter().filter(|row| !differing.iter().any(|differing| differing.feature_id == row.feature_id));
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
            "alpha",
            "alpha_low",
            "alpha_high",
            "alpha_pairs",
        ],
        (differing.iter())
            .map(|row| cells(&row.feature_id, &row.description, Some(row), alpha(&row.feature_id)))
            .chain(rest.map(|row| cells(&row.feature_id, &row.description, None, Some(row)))),
    )
}

fn cells(id: &str, description: &str, row: Option<&AuditRow>, alpha: Option<&AmongRow>) -> [String; 16] {
    let of = |cell: fn(&AuditRow) -> String| row.map_or_else(String::new, cell);
    let alpha_of = |cell: fn(&Estimate) -> String| alpha.map_or_else(String::new, |row| cell(&row.alpha));
    [
        id.to_owned(),
        description.to_owned(),
        of(|row| row.difference.value.to_string()),
        of(|row| row.difference.low.to_string()),
        of(|row| row.difference.high.to_string()),
        of(|row| row.p_holm.to_string()),
        of(|row| row.differs.to_string()),
        of(|row| row.reference.value.to_string()),
        of(|row| row.judge.value.to_string()),
        of(|row| row.agreement.value.to_string()),
        of(|row| row.kappa.map_or_else(String::new, |kappa| kappa.to_string())),
        of(|row| row.difference.n.to_string()),
        alpha_of(|alpha| alpha.value.to_string()),
        alpha_of(|alpha| alpha.low.to_string()),
        alpha_of(|alpha| alpha.high.to_string()),
        alpha_of(|alpha| alpha.n.to_string()),
    ]
}
