//! What was changed in a file, kept beside it so that it can be taken back.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::pairs::dialect::Dialect;
use crate::pairs::table::Packing;
use crate::store::StoreError;

/// Version of the record's layout.
pub(super) const SCHEMA_VERSION: u64 = 1;

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
