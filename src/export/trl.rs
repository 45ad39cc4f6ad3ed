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
    let rows = Rows { path, pairs, labels, used: &used, decision_of: &decision_of, weight };
    let json = path.extension().is_some_and(|ending| {
        let ending = ending.to_string_lossy().to_lowercase();
        matches!(ending.as_str(), "jsonl" | "json" | "ndjson")
    });
    if json {
        rows.write_lines()?;
    } else {
        rows.write_parquet()?;
    }
    Ok((used.len(), ties))
}

/// What is written: labels with a preference, and what was decided about each.
struct Rows<'a> {
    path: &'a Path,
    pairs: &'a Pairs,
    labels: &'a [f32],
    used: &'a [usize],
    decision_of: &'a [Option<&'a Decision>],
    weight: Option<f64>,
}

impl Rows<'_> {
    fn pair(&self, at: usize) -> usize {
        self.pairs.judgements.pair[at] as usize
    }

    /// Chosen and rejected.
    fn sides(&self, at: usize) -> (&str, &str) {
        let pair = self.pair(at);
        let (a, b) = (self.pairs.response_a.get(pair), self.pairs.response_b.get(pair));
        if self.labels[at] > 0.5 { (a, b) } else { (b, a) }
    }

    fn annotator(&self, at: usize) -> &str {
        let name = match self.pairs.judgements.annotator[at] {
            MISSING => None,
            code => self.pairs.annotators.get(code as usize).map(String::as_str),
        };
        name.unwrap_or("")
    }

    fn action(&self, at: usize) -> &'static str {
        self.decision_of[at].map_or("keep", |decision| decision.action.name())
    }

    fn rule(&self, at: usize) -> String {
        self.decision_of[at].map_or(String::new(), |d| format!("{}: {}", d.rules.join(", "), d.reason))
    }

    fn score(&self, at: usize) -> f64 {
        self.decision_of[at].map_or(0.0, |decision| decision.score)
    }

    /// Of the columns as they stand here: 0 where the two were the other way round.
    fn original(&self, at: usize) -> f32 {
        let before = self.pairs.judgements.label[at];
        if self.labels[at] > 0.5 { before } else { 1.0 - before }
    }

    fn weight(&self, at: usize) -> Option<f64> {
        let marked = |d: &Decision| d.action == crate::pairs::rewrite::Action::Weight;
        self.weight.map(|weight| if self.decision_of[at].is_some_and(marked) { weight } else { 1.0 })
    }

    fn write_lines(&self) -> Result<(), StoreError> {
        write_file(self.path, |file| {
            for &at in self.used {
                let (chosen, rejected) = self.sides(at);
                // In the columns' order, which a map of `serde_json` would not keep.
                let mut row = Vec::new();
                let mut put = |name: &str, value: serde_json::Value| row.push(format!("\"{name}\":{value}"));
                put("prompt", self.pairs.prompt.get(self.pair(at)).into());
                put("chosen", chosen.into());
                put("rejected", rejected.into());
                put("pair_id", self.pairs.pair_id[self.pair(at)].as_str().into());
                put("annotator_id", self.annotator(at).into());
                put("wimhf_original_label", self.original(at).into());
                put("wimhf_action", self.action(at).into());
                put("wimhf_rule", self.rule(at).into());
                put("wimhf_score", self.score(at).into());
                if let Some(weight) = self.weight(at) {
                    put("wimhf_weight", weight.into());
                }
                let io = |source| StoreError::Io { action: "write", path: self.path.into(), source };
                writeln!(file, "{{{}}}", row.join(",")).map_err(io)?;
            }
            Ok(())
        })
    }

    fn write_parquet(&self) -> Result<(), StoreError> {
        let texts = |name: &str, get: &dyn Fn(usize) -> String| {
            Column::new(name.into(), self.used.iter().map(|&at| get(at)).collect::<Vec<String>>())
        };
        let numbers = |name: &str, get: &dyn Fn(usize) -> f64| {
            Column::new(name.into(), self.used.iter().map(|&at| get(at)).collect::<Vec<f64>>())
        };
        let mut columns = vec![
            texts("prompt", &|at| self.pairs.prompt.get(self.pair(at)).to_owned()),
            texts("chosen", &|at| self.sides(at).0.to_owned()),
            texts("rejected", &|at| self.sides(at).1.to_owned()),
            texts("pair_id", &|at| self.pairs.pair_id[self.pair(at)].clone()),
            texts("annotator_id", &|at| self.annotator(at).to_owned()),
            numbers("wimhf_original_label", &|at| f64::from(self.original(at))),
            texts("wimhf_action", &|at| self.action(at).to_owned()),
            texts("wimhf_rule", &|at| self.rule(at)),
            numbers("wimhf_score", &|at| self.score(at)),
        ];
        if self.weight.is_some() {
            columns.push(numbers("wimhf_weight", &|at| self.weight(at).unwrap_or(1.0)));
        }
        let failed = |error: PolarsError| StoreError::Table {
            action: "write",
            path: self.path.into(),
            message: error.to_string(),
        };
        write_parquet(self.path, &mut DataFrame::new(self.used.len(), columns).map_err(failed)?)
    }
}
