//! Preference data as trainers read it: `prompt`, `chosen`, `rejected`, and where each row comes from.

use std::io::Write;
use std::path::Path;

use polars::prelude::*;

use crate::pairs::{MISSING, Pairs};
use crate::relabel::Decision;
use crate::store::{StoreError, write_file, write_parquet};

/// Writes one row per label with a preference, after the decisions; JSON lines where the name says so, else
/// Parquet. Returns the rows written and the labels without a preference, which trainers cannot use.
///
/// # Errors
/// Where the file cannot be written.
#[allow(clippy::too_many_lines)] // steps that share their locals
pub fn write(
    path: &Path,
    pairs: &Pairs,
    labels: &[f32],
    marked: &[Decision],
    weight: Option<f64>,
) -> Result<(usize, usize), StoreError> {
    let judgements = &pairs.judgements;
    let mut decision_of: Vec<Option<&Decision>> = vec![None; judgements.pair.len()];
    for decision in marked {
        if let Some(slot) = decision_of.get_mut(decision.judgement as usize) {
            *slot = Some(decision);
        }
    }
    let used: Vec<usize> =
        (0..labels.len()).filter(|&at| !labels[at].is_nan() && labels[at] != 0.5).collect();
    let ties = labels.iter().filter(|label| **label == 0.5).count();
    let pair = |at: usize| judgements.pair[at] as usize;
    let sides = |at: usize| {
        let (a, b) = (pairs.response_a.get(pair(at)), pairs.response_b.get(pair(at)));
        if labels[at] > 0.5 { (a, b) } else { (b, a) }
    };
    let annotator = |at: usize| match judgements.annotator[at] {
        MISSING => None,
        code => pairs.annotators.get(code as usize).map(String::as_str),
    };
    let action = |at: usize| decision_of[at].map_or("keep", |decision| decision.action.name());
    let rule = |at: usize| {
        decision_of[at].map_or(String::new(), |d| format!("{}: {}", d.rules.join(", "), d.reason))
    };
    let score = |at: usize| decision_of[at].map_or(0.0, |decision| decision.score);
    // Of the columns as they stand here: 0 where the two were the other way round.
    let original = |at: usize| {
        let before = judgements.label[at];
        if labels[at] > 0.5 { before } else { 1.0 - before }
    };
    let weight_of = |at: usize| {
        weight.map(|weight| {
            if decision_of[at].is_some_and(|d| d.action == crate::pairs::rewrite::Action::Weight) {
                weight
            } else {
                1.0
            }
        })
    };
    let json = path.extension().is_some_and(|ending| {
        let ending = ending.to_string_lossy().to_lowercase();
        matches!(ending.as_str(), "jsonl" | "json" | "ndjson")
    });
    if json {
        write_file(path, |file| {
            for &at in &used {
                let (chosen, rejected) = sides(at);
                // In the columns' order, which a map of `serde_json` would not keep.
                let mut row = Vec::new();
                let mut put = |name: &str, value: serde_json::Value| row.push(format!("\"{name}\":{value}"));
                put("prompt", pairs.prompt.get(pair(at)).into());
                put("chosen", chosen.into());
                put("rejected", rejected.into());
                put("pair_id", pairs.pair_id[pair(at)].as_str().into());
                put("annotator_id", annotator(at).unwrap_or("").into());
                put("wimhf_original_label", original(at).into());
                put("wimhf_action", action(at).into());
                put("wimhf_rule", rule(at).into());
                put("wimhf_score", score(at).into());
                if let Some(weight) = weight_of(at) {
                    put("wimhf_weight", weight.into());
                }
                let io = |source| StoreError::Io { action: "write", path: path.into(), source };
                writeln!(file, "{{{}}}", row.join(",")).map_err(io)?;
            }
            Ok(())
        })?;
        return Ok((used.len(), ties));
    }
    let texts = |name: &str, get: &dyn Fn(usize) -> String| {
        Column::new(name.into(), used.iter().map(|&at| get(at)).collect::<Vec<String>>())
    };
    let mut columns = vec![
        texts("prompt", &|at| pairs.prompt.get(pair(at)).to_owned()),
        texts("chosen", &|at| sides(at).0.to_owned()),
        texts("rejected", &|at| sides(at).1.to_owned()),
        texts("pair_id", &|at| pairs.pair_id[pair(at)].clone()),
        texts("annotator_id", &|at| annotator(at).unwrap_or("").to_owned()),
        Column::new(
            "wimhf_original_label".into(),
            used.iter().map(|&at| f64::from(original(at))).collect::<Vec<_>>(),
        ),
        texts("wimhf_action", &|at| action(at).to_owned()),
        texts("wimhf_rule", &rule),
        Column::new("wimhf_score".into(), used.iter().map(|&at| score(at)).collect::<Vec<_>>()),
    ];
    if weight.is_some() {
        let weights: Vec<f64> = used.iter().filter_map(|&at| weight_of(at)).collect();
        columns.push(Column::new("wimhf_weight".into(), weights));
    }
    let failed = |error: PolarsError| StoreError::Table {
        action: "write",
        path: path.into(),
        message: error.to_string(),
    };
    write_parquet(path, &mut DataFrame::new(used.len(), columns).map_err(failed)?)?;
    Ok((used.len(), ties))
}
