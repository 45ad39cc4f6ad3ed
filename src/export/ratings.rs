//! `models.json` and `models.csv`: the models with their ratings, for programs and spreadsheets.

use std::path::Path;

use serde_json::{Value, json};

use super::tables;
use crate::ratings::ModelRatings;
use crate::store::{Estimate, SCHEMA_VERSION, StoreError};

/// The record.
pub fn record(found: &ModelRatings, columns: &(String, String)) -> Value {
    let mut record = serde_json::to_value(found).unwrap_or_default();
    if let Some(fields) = record.as_object_mut() {
        fields.insert("schema_version".into(), json!(SCHEMA_VERSION));
        fields.insert("columns".into(), json!([columns.0, columns.1]));
    }
    record
}

/// `models.csv`: a row for each model.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(path: &Path, found: &ModelRatings) -> Result<(), StoreError> {
    let three = |estimate: &Option<Estimate>| {
        estimate.map_or_else(Default::default, |e| [e.value, e.low, e.high].map(|value| value.to_string()))
    };
    tables::write_csv(
        path,
        &[
            "rank",
            "model",
            "battles",
            "won",
            "tied",
            "lost",
            "win_rate",
            "rating",
            "rating_low",
            "rating_high",
            "rating_style",
            "rating_style_low",
            "rating_style_high",
            "rating_all",
            "rating_all_low",
            "rating_all_high",
            "group",
            "does_more",
            "does_less",
            "note",
        ],
        found.models.iter().map(|row| {
            let said = |sign: f64| {
                let own = row.traits.iter().filter(|t| t.more.value * sign > 0.0);
                own.map(|t| t.description.as_str()).take(5).collect::<Vec<_>>().join("; ")
            };
            let ([r, rl, rh], [s, sl, sh], [a, al, ah]) =
                (three(&row.rating), three(&row.rating_style), three(&row.rating_all));
            [
                row.rank[0].to_string(),
                row.model.clone(),
                row.battles.to_string(),
                row.record[0].to_string(),
                row.record[1].to_string(),
                row.record[2].to_string(),
                row.win_rate.value.to_string(),
                r,
                rl,
                rh,
                s,
                sl,
                sh,
                a,
                al,
                ah,
                row.group.to_string(),
                said(1.0),
                said(-1.0),
                row.note.clone().unwrap_or_default(),
            ]
        }),
    )
}
