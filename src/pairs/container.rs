//! How a file holds its rows, and what can be wrong with one.

use std::io::ErrorKind;
use std::path::Path;

use polars::prelude::PolarsResult;

use super::error::PairsError;
use crate::panics;

/// How a file holds its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Parquet,
    Ipc,
    /// An Arrow stream, as `save_to_disk` writes it.
    Stream,
    Csv,
    JsonLines,
    JsonArray,
    /// Rows that cannot be written back, and why.
    Other(&'static str),
}

/// Wraps what the system said, with what usually helps.
pub(super) fn io_error(path: &Path, source: std::io::Error) -> PairsError {
    let hint = match source.kind() {
        ErrorKind::PermissionDenied => "give yourself the right to read it (`chmod u+r`)",
        ErrorKind::NotFound => "it has vanished while it was being read; run again",
        ErrorKind::OutOfMemory => "it is too large for this machine's memory; take a sample",
        _ => "check the disk or the network share that it lies on",
    };
    PairsError::Io { path: path.into(), source, hint }
}

/// A file that is not what it should be.
pub(super) fn damaged(
    path: &Path,
    format: &'static str,
    detail: impl Into<String>,
    hint: impl Into<String>,
) -> PairsError {
    PairsError::Damaged { path: path.into(), format, detail: detail.into(), hint: hint.into() }
}

/// Endings of packed texts.
pub(super) const PACKED: [&str; 3] = [".gz", ".zst", ".zstd"];

/// A file's name without the ending that says how it is packed.
pub(super) fn unpacked_name(name: &str) -> &str {
    PACKED.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// Runs a reader of polars; neither its errors nor its panics on damaged bytes leave here as such.
pub(super) fn guard<T>(
    path: &Path,
    format: &'static str,
    read: impl FnOnce() -> PolarsResult<T>,
) -> Result<T, PairsError> {
    let detail = match panics::caught(read) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => shorten_message(&error.to_string()),
        Err(panicked) if panicked.is_out_of_threads => {
            return Err(PairsError::NoThreads { path: path.into(), detail: panicked.message });
        }
        Err(panicked) => format!("its content contradicts itself{}", panicked.aside()),
    };
    Err(damaged(
        path,
        format,
        detail,
        "the file is damaged or was not written as its name says; write it again",
    ))
}

/// The first line of a library's message, at most 200 characters, as far as it is in words: what follows is how the
/// library's own types print, or control characters of the file's.
fn shorten_message(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown").trim();
    let words = line.split(" {").next().unwrap_or(line).trim_end_matches(" Error");
    let plain: String = words.chars().filter(|c| !c.is_control()).take(200).collect();
    plain.trim_end_matches([' ', ':']).to_owned()
}
