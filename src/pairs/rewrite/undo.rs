//! From a relabelled file back to the original.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::text::{self, Format};
use super::{RewriteError, columnar};
use crate::pairs::dialect::Dialect;
use crate::pairs::table::Packing;
use crate::store::{StoreError, write_bytes};

/// Version of the record's layout.
const SCHEMA_VERSION: u64 = 1;

/// What was changed in a file, and what it was before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub schema_version: u64,
    /// `csv`, `tsv`, `json lines`, `json array`, `parquet`, `arrow ipc`, `arrow stream`.
    pub container: String,
    /// Of CSV, in records of earlier versions: its dialect was the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<u8>,
    /// Of CSV.
    pub dialect: Option<Dialect>,
    /// In records of earlier versions: the file is compressed with gzip.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub packed: bool,
    /// How the file is compressed.
    pub packing: Option<Packing>,
    /// The dataset, as it was named.
    pub original: String,
    /// Where that is, from the root.
    pub location: String,
    /// Of the original's bytes, unpacked.
    pub original_sha256: String,
    /// Of the relabelled file.
    pub written_sha256: String,
    /// Columns that were added.
    pub added: Vec<String>,
    /// Rows of the original.
    pub rows: usize,
    /// Rows that were changed or left out.
    pub changed: usize,
    /// Rows that stand in the file of changed rows (binary containers).
    pub touched: Vec<u32>,
    /// Rows that were left out.
    pub dropped: Vec<u32>,
    /// Rows as they were (text containers).
    pub restore: Vec<Restore>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            container: String::new(),
            separator: None,
            dialect: None,
            packed: false,
            packing: None,
            original: String::new(),
            location: String::new(),
            original_sha256: String::new(),
            written_sha256: String::new(),
            added: Vec::new(),
            rows: 0,
            changed: 0,
            touched: Vec::new(),
            dropped: Vec::new(),
            restore: Vec::new(),
        }
    }
}

/// A row of a text and what followed it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Restore {
    pub row: u32,
    pub text: String,
    pub tail: String,
}

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

/// Where the record of a relabelled file stands.
pub(super) fn record_path(file: &Path) -> PathBuf {
    beside(file, ".undo.json")
}

/// Where its changed rows stand, for binary containers.
pub(super) fn rows_path(file: &Path) -> PathBuf {
    beside(file, ".undo.rows")
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    file.with_file_name(name)
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn sha256_file(path: &Path) -> Result<String, StoreError> {
    let io = |source| StoreError::Io { action: "read", path: path.into(), source };
    let mut file = crate::limits::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).map_err(io)? {
            0 => return Ok(hex(hash.finalize().as_slice())),
            n => hash.update(&block[..n]),
        }
    }
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
        text::Parts { head: bytes, rows: Vec::new() }
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
