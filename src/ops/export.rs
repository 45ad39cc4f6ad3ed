//! A run's pairs for other tools: Feedback Forensics, trainers, spreadsheets.

use std::path::PathBuf;

use crate::export::{annotated_pairs, exports};
use crate::run::{Run, RunError};
use crate::store::output::{Kind, OutputError};

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// JSON for Feedback Forensics and ICAI.
    AnnotatedPairs,
    /// `prompt`, `chosen`, `rejected` for trainers; JSON lines, or Parquet by the file's name.
    Trl,
    /// CSV for Inverse Constitutional AI.
    Icai,
    /// A table with every principle's activation.
    Csv,
}

/// What to write.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// For whom.
    pub format: ExportFormat,
    /// The file; a name of the format's in the run's folder where none is given.
    pub out: Option<PathBuf>,
    /// Only held-out labels; `None`: those for annotated pairs, since its figures are read as measurements, else all.
    pub held_out: Option<bool>,
    /// Replace the file even where it is of another kind.
    pub force: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The file.
    pub path: PathBuf,
    /// Rows or comparisons in it.
    pub rows: usize,
    /// Whether only held-out labels are in it.
    pub held_out: bool,
}

/// Writes a run's pairs for another tool.
///
/// # Errors
/// Where the dataset is gone or has changed, or the file cannot be written.
pub fn export(run: &Run, request: &ExportRequest) -> Result<Exported, RunError> {
    let held_out = request.held_out.unwrap_or(request.format == ExportFormat::AnnotatedPairs);
    let name = match request.format {
        // The run's own file holds held-out labels; all of them go beside it.
        ExportFormat::AnnotatedPairs if !held_out => "annotated_pairs.all.json",
        ExportFormat::AnnotatedPairs => "annotated_pairs.json",
        ExportFormat::Trl => "trl.jsonl",
        ExportFormat::Icai => "icai.csv",
        ExportFormat::Csv => "pairs.csv",
    };
    let path = request.out.clone().unwrap_or_else(|| run.path.join(name));
    let kind = match request.format {
        ExportFormat::AnnotatedPairs => Kind::Json,
        ExportFormat::Trl if matches!(Kind::of_name(&path), Kind::Json | Kind::JsonLines) => Kind::JsonLines,
        ExportFormat::Trl => Kind::Parquet,
        ExportFormat::Icai | ExportFormat::Csv => Kind::Csv,
    };
    run.may_write(&path, "--out", kind, request.force)?;
    // A file of the same kind may be somebody's work; only the run's own names are written again without asking.
    if let Some(out) = request.out.as_ref().filter(|out| !request.force && out.exists()) {
        return Err(OutputError::There { path: out.clone(), flag: "--out" }.into());
    }
    let source = run.source()?;
    let input = exports::Input { pairs: &source.pairs, sides: &source.sides, held_out };
    let principles = &run.findings.principles;
    let rows = match request.format {
        ExportFormat::AnnotatedPairs => annotated_pairs::write(
            &path,
            annotated_pairs::Input {
                dataset: &run.manifest.dataset.path,
                principles,
                features: &run.features,
                presence: &run.presence()?,
                pairs: &source.pairs,
                sides: &source.sides,
                held_out,
            },
        )?,
        ExportFormat::Trl => exports::write_trl(&path, input)?,
        ExportFormat::Icai => exports::write_icai(&path, input)?,
        ExportFormat::Csv => {
            exports::write_table(&path, input, principles, &run.features, &run.activations()?)?
        }
    };
    Ok(Exported { path, rows, held_out })
}
