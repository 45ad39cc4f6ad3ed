//! Answers of the library as text for a terminal or a pipe. Nothing is computed here.

use std::path::PathBuf;

pub mod bill;
pub mod comparison;
pub mod constitution;
pub mod inspection;
pub mod judged;
pub mod personalize;
pub mod relabel;
pub mod score;
pub mod sweep;
pub mod terminal;

/// The last line of a command that writes files.
pub fn written(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("\nWritten: {}\n", files.join(", "))
}
