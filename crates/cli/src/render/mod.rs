//! Answers of the library as text for a terminal or a pipe. Nothing is computed here.

use std::path::PathBuf;

use serde_json::{Value, json};
use wimhf::Analysis;

pub mod ask;
pub mod audit;
pub mod bill;
pub mod comparison;
pub mod constitution;
pub mod contexts;
pub mod inspection;
pub mod judged;
pub mod models;
pub mod personalize;
pub mod reasons;
pub mod relabel;
pub mod score;
pub mod sweep;
pub mod terminal;

/// What an analysis found, for programs: `run.json` and `principles.json` in one.
pub fn analysis_value(analysis: &Analysis) -> Value {
    json!({"run": analysis.run, "record": analysis.manifest, "findings": analysis.findings})
}

/// The last line of a command that writes files.
pub fn written(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("\nWritten: {}\n", files.join(", "))
}
