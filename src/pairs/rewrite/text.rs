//! Text containers: every byte of an untouched row stays, what is added stands at its end.

use std::io::Write;
use std::path::Path;

use super::changes::{ADDED, Action, Changes, RewriteError, Target};
use super::edit::TextEdit;
use super::record::{Record, Restore, record_path, sha256};
use super::{csv, json};
use crate::pairs::dialect::Dialect;
use crate::pairs::error::PairsError;
use crate::pairs::pieces::{self, Parts};
use crate::pairs::table::{Packing, text_bytes};
use crate::store::{StoreError, write_bytes, write_json};

/// How rows stand in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv(Dialect),
    JsonLines,
    JsonArray,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv(Dialect { separator: b'\t', .. }) => "tsv",
            Self::Csv(_) => "csv",
            Self::JsonLines => "json lines",
            Self::JsonArray => "json array",
        }
    }

    pub fn split(self, bytes: &[u8]) -> Option<Parts<'_>> {
        match self {
            Self::Csv(dialect) => Some(csv::split(bytes, dialect)),
            Self::JsonLines => Some(pieces::split_lines(bytes)),
            Self::JsonArray => pieces::split_array(bytes),
        }
    }

    /// The head with the names of the added columns, where it has names.
    fn head(self, head: &[u8], added: &[&str]) -> Vec<u8> {
        match self {
            Self::Csv(dialect) => csv::add_names(head, dialect, added),
            _ => head.to_vec(),
        }
    }

    fn edit(
        self,
        columns: &csv::Columns,
        row: &[u8],
        edit: &TextEdit<'_>,
        added: &[&str],
    ) -> Result<Vec<u8>, String> {
        match self {
            Self::Csv(dialect) => csv::edit(row, dialect, columns, edit),
            _ => json::edit(row, edit, added),
        }
    }

    /// A row without what was added.
    pub fn strip(self, row: &[u8], added: &[String]) -> Option<Vec<u8>> {
        match self {
            Self::Csv(dialect) => csv::strip(row, dialect, added.len()),
            _ => json::strip(row, added),
        }
    }

    /// The head without the added names.
    pub fn strip_head(self, head: &[u8], added: &[String]) -> Option<Vec<u8>> {
        match self {
            Self::Csv(dialect) => csv::strip_names(head, dialect, added.len()),
            _ => Some(head.to_vec()),
        }
    }
}

/// Writes `file` with `changes` to `to`, and the record beside it.
pub(super) fn write(
    file: &Path,
    format: Format,
    rows: usize,
    target: &Target,
    changes: &Changes,
    added: &[&str],
    to: &Path,
) -> Result<(), RewriteError> {
    let (bytes, packing) = text_bytes(file)?;
    let parts = format.split(&bytes).unwrap_or_default();
    if parts.rows.len() != rows {
        return Err(RewriteError::Rows { path: file.into(), found: parts.rows.len(), expected: rows });
    }
    let columns = match format {
        Format::Csv(dialect) => csv::Columns::new(parts.head, dialect, target),
        _ => csv::Columns::default(),
    };
    let mut out = format.head(parts.head, added);
    let mut restore: Vec<Restore> = Vec::new();
    let mut dropped = Vec::new();
    // The last row that stays takes over the end of the file.
    let last_kept = (0..rows as u32)
        .rev()
        .find(|row| changes.marks.get(row).is_none_or(|mark| mark.action != Action::Drop));
    let last_tail = parts.rows.last().map_or(&b""[..], |(_, tail)| tail);
    for (row, &(content, tail)) in (0u32..).zip(&parts.rows) {
        let mark = changes.marks.get(&row);
        let moved = Some(row) == last_kept && tail != last_tail;
        if mark.is_some() || moved {
            restore.push(Restore {
                row,
                text: String::from_utf8_lossy(content).into_owned(),
                tail: String::from_utf8_lossy(tail).into_owned(),
            });
        }
        if mark.is_some_and(|mark| mark.action == Action::Drop) {
            dropped.push(row);
            continue;
        }
        let weight = (added.len() > ADDED.len())
            .then(|| if mark.is_some_and(|m| m.action == Action::Weight) { changes.weight } else { 1.0 });
        let edit = TextEdit { mark, target, weight };
        let edited = format.edit(&columns, content, &edit, added).map_err(|label| RewriteError::Label {
            path: file.into(),
            row: row as usize,
            label: label.chars().take(60).collect(),
            hint: "use `--action drop` or `--action weight`",
        })?;
        out.extend_from_slice(&edited);
        out.extend_from_slice(if Some(row) == last_kept { last_tail } else { tail });
    }
    if last_kept.is_none() {
        out.extend_from_slice(last_tail);
    }
    let finished = packed(out, packing, to)?;
    let record = Record {
        container: format.name().into(),
        dialect: if let Format::Csv(dialect) = format { Some(dialect) } else { None },
        packing,
        original: file.display().to_string(),
        location: std::path::absolute(file).map(|path| path.display().to_string()).unwrap_or_default(),
        original_sha256: sha256(&bytes),
        written_sha256: sha256(&finished),
        added: added.iter().map(|name| (*name).to_owned()).collect(),
        rows,
        changed: changes.marks.len(),
        dropped,
        restore,
        ..Record::default()
    };
    // The record first: a relabelled file without it could not be undone.
    write_json(&record_path(to), &record)?;
    write_bytes(to, &finished)?;
    Ok(())
}

/// A text packed as its original was.
pub(super) fn packed(bytes: Vec<u8>, packing: Option<Packing>, path: &Path) -> Result<Vec<u8>, RewriteError> {
    let done = match packing {
        None => return Ok(bytes),
        Some(Packing::Gzip) => {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packer.write_all(&bytes).and_then(|()| packer.finish())
        }
        Some(Packing::Zstd) => zstd::stream::encode_all(bytes.as_slice(), 0),
    };
    done.map_err(|source| StoreError::Io { action: "write", path: path.into(), source }.into())
}

/// A text file that was relabelled, unpacked.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, PairsError> {
    Ok(text_bytes(path)?.0)
}
