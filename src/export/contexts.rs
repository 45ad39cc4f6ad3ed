//! `contexts.json` and `contexts.csv`: each feature in each kind of request.

use std::path::Path;

use serde_json::{Value, json};

use super::tables;
use crate::contexts::Contexts;
use crate::store::{SCHEMA_VERSION, StoreError};

/// The record.
pub fn record(found: &Contexts) -> Value {
    let mut record = serde_json::to_value(found).unwrap_or_default();
    if let Some(fields) = record.as_object_mut() {
        fields.insert("schema_version".into(), json!(SCHEMA_VERSION));
    }
    record
}

/// `contexts.csv`: a row for each feature and context that were tested.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(path: &Path, found: &Contexts) -> Result<(), StoreError> {
    let columns = [
        "feature_id",
        "description",
        "context_id",
        "context",
        "claim",
        "inside",
        "inside_low",
        "inside_high",
        "inside_n",
        "outside",
        "outside_low",
        "outside_high",
        "outside_n",
        "shrunk",
        "shrunk_low",
        "shrunk_high",
        "difference",
        "p",
        "p_holm",
    ];
    tables::write_csv(
        path,
        &columns,
        found.rows.iter().map(|row| {
            let (i, o, s) = (&row.inside, &row.outside, &row.shrunk);
            [
                row.feature_id.clone(),
                row.description.clone(),
                row.context_id.clone(),
                row.context.clone(),
                row.statement.clone(),
                i.value.to_string(),
                i.low.to_string(),
                i.high.to_string(),
                i.n.to_string(),
                o.value.to_string(),
                o.low.to_string(),
                o.high.to_string(),
                o.n.to_string(),
                s.value.to_string(),
                s.low.to_string(),
                s.high.to_string(),
                row.difference.value.to_string(),
                row.p.to_string(),
                row.p_holm.to_string(),
            ]
        }),
    )
}
