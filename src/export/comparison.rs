//! `comparison.json`: what was compared, for programs.

use serde_json::Value;

use crate::compare::{ALPHA, Part, Row};
use crate::store::SCHEMA_VERSION;

/// The record of a comparison: `parts`, `concepts` with a cell for each part, `learned` features that match, `notes`.
pub fn record(parts: &[Part<'_>], known: &[Row], learned: &[(Row, String, f64)], notes: &[String]) -> Value {
    let labels = |part: usize| known.first().and_then(|row| row.cells.get(part)).map_or(0, |cell| cell.n);
    let parts: Vec<Value> = (parts.iter().enumerate())
        .map(|(index, part)| {
            serde_json::json!({"name": part.name, "dataset": part.dataset, "labels": labels(index)})
        })
        .collect();
    let learned: Vec<Value> = (learned.iter())
        .map(|(row, other, cosine)| {
            serde_json::json!({"row": row, "other_description": other, "cosine": cosine})
        })
        .collect();
    serde_json::json!({
        "schema_version": SCHEMA_VERSION,
        "version": env!("CARGO_PKG_VERSION"),
        "alpha": ALPHA,
        "parts": parts,
        "concepts": known,
        "learned": learned,
        "notes": notes,
    })
}
