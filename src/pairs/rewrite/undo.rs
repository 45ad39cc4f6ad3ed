//! From a relabelled file back to the original.

use std::path::{Path, PathBuf};

use super::changes::RewriteError;
use super::columnar;
use super::record::{Record, SCHEMA_VERSION, record_path, sha256, sha256_file};
use super::text::{self, Format};
use crate::pairs::dialect::Dialect;
use crate::pairs::pieces::Parts;
use crate::pairs::table::Packing;
use crate::store::{StoreError, write_bytes};

/// What was restored.
#[derive(Debug, Clone, PartialEq)]
pub struct Undone {
    /// The file that was written.
    pub file: PathBuf,
    /// Its rows.
    pub rows: usize,
    /// Rows that had been changed or left out.
    pub changed: usize,
    /// Whether every byte is the original's; otherwise every value is.
    pub exact: bool,
}

/// Restores the original of `file` (or of every relabelled file in a folder) to `out`.
///
/// Text comes back byte by byte. Parquet and Arrow files come back byte by byte where the original is still
/// where it was, and else with the same rows, columns, types and values.
///
/// # Errors
/// [`RewriteError`]; nothing is written where the original cannot be restored.
pub fn undo(file: &Path, out: &Path) -> Result<Vec<Undone>, RewriteError> {
    if !file.is_dir() {
        return Ok(vec![undo_one(file, out)?]);
    }
    let io = |source| StoreError::Io { action: "read", path: file.into(), source };
    let mut files: Vec<PathBuf> = std::fs::read_dir(file)
        .map_err(io)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| record_path(path).exists())
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(RewriteError::NoRecord { path: file.into(), record: file.join("*.undo.json") });
    }
    std::fs::create_dir_all(out).map_err(|source| StoreError::Io {
        action: "make the folder",
        path: out.into(),
        source,
    })?;
    files.iter().map(|path| undo_one(path, &out.join(path.file_name().unwrap_or_default()))).collect()
}

fn undo_one(file: &Path, out: &Path) -> Result<Undone, RewriteError> {
    let io = |source| StoreError::Io { action: "read", path: file.into(), source };
    std::fs::metadata(file).map_err(io)?;
    let path = record_path(file);
    if !path.exists() {
        return Err(RewriteError::NoRecord { path: file.into(), record: path });
    }
    let bytes = crate::limits::read(&path).map_err(io)?;
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|error| StoreError::Content { path: path.clone(), message: error.to_string() })?;
    if record.schema_version != SCHEMA_VERSION || sha256_file(file)? != record.written_sha256 {
        return Err(RewriteError::Changed { path: file.into(), original: record.original });
    }
    if out.is_dir() {
        return Err(RewriteError::Folder(out.into()));
    }
    let mut undone = Undone { file: out.into(), rows: record.rows, changed: record.changed, exact: true };
    let dialect = record.dialect.or(record.separator.map(Dialect::plain));
    let format = match (&*record.container, dialect) {
        ("csv" | "tsv", Some(dialect)) => Some(Format::Csv(dialect)),
        ("json lines", _) => Some(Format::JsonLines),
        ("json array", _) => Some(Format::JsonArray),
        _ => None,
    };
    let Some(format) = format else {
        let original = Path::new(&record.location);
        if original.is_file() && sha256_file(original)? == record.original_sha256 {
            let bytes = crate::limits::read_file(original, crate::limits::UNPACKED)
                .map_err(|error| io(error.into()))?;
            write_bytes(out, &bytes)?;
            return Ok(undone);
        }
        columnar::restore(file, &record, out)?;
        undone.exact = sha256_file(out)? == record.original_sha256;
        return Ok(undone);
    };
    let bytes = text::read(file)?;
    let restored = restore_text(&bytes, format, &record)
        .filter(|text| sha256(text) == record.original_sha256)
        .ok_or_else(|| RewriteError::NotRestored { path: file.into() })?;
    let packing = record.packing.or(record.packed.then_some(Packing::Gzip));
    write_bytes(out, &text::packed(restored, packing, out)?)?;
    Ok(undone)
}

fn restore_text(bytes: &[u8], format: Format, record: &Record) -> Option<Vec<u8>> {
    let bytes = match record.restore.last() {
        // Nothing is left of it but its ends.
        Some(last) if record.dropped.len() == record.rows => bytes.strip_suffix(last.tail.as_bytes())?,
        _ => bytes,
    };
    let parts = if record.dropped.len() == record.rows {
        Parts { head: bytes, rows: Vec::new() }
    } else {
        format.split(bytes)?
    };
    let mut out = format.strip_head(parts.head, &record.added)?;
    let mut rows = parts.rows.iter();
    let mut saved = record.restore.iter().peekable();
    for row in 0..record.rows as u32 {
        let dropped = record.dropped.binary_search(&row).is_ok();
        let here = if dropped { None } else { Some(rows.next()?) };
        match saved.next_if(|restore| restore.row == row) {
            Some(restore) => {
                out.extend_from_slice(restore.text.as_bytes());
                out.extend_from_slice(restore.tail.as_bytes());
            }
            None => {
                let (content, tail) = here?;
                out.extend_from_slice(&format.strip(content, &record.added)?);
                out.extend_from_slice(tail);
            }
        }
    }
    rows.next().is_none().then_some(out)
}
