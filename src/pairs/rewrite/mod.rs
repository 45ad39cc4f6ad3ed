//! Writing a dataset back with some labels changed, and taking that back.
//!
//! The container, the order of rows and columns and every untouched row stay as they are; text containers
//! keep their very bytes. Columns are added at the end that say what was done and why:
//!
//! | column | content |
//! |---|---|
//! | `wimhf_original_label` | what the label was, of the columns as they stand in this file; for `chosen`/`rejected` 1, or 0 where the two were swapped |
//! | `wimhf_action` | `keep`, `flip`, `tie` or `weight` |
//! | `wimhf_rule` | the rules behind it, empty where none applies |
//! | `wimhf_score` | how strongly they apply, 0 to 1 |
//! | `wimhf_weight` | a weight for training, where some action is `weight` |
//!
//! Beside every written file stands a record from which [`undo`] makes the original again.

mod changes;
mod columnar;
mod csv;
mod edit;
mod json;
mod record;
mod text;
mod undo;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::Layout;
use super::dialect;
use super::table::{Container, Table};
use crate::store::StoreError;
use crate::store::names_a_folder;

use changes::Target;
pub use changes::{ADDED, Action, Changes, Edit, RewriteError, WEIGHT, Written};
pub use undo::{Undone, undo};

/// Writes the dataset of `layout` to `out` (a file, or a folder where the dataset has several files) with
/// `changes`, and beside each file the record for [`undo`].
///
/// # Errors
/// [`RewriteError`]; each file is written whole or not at all.
pub fn write(layout: &Layout, changes: &Changes, out: &Path) -> Result<Written, RewriteError> {
    if layout.files.is_empty() {
        return Err(RewriteError::Shape);
    }
    let several = layout.files.len() > 1;
    if several {
        std::fs::create_dir_all(out).map_err(|source| StoreError::Io {
            action: "make the folder",
            path: out.into(),
            source,
        })?;
    } else if out.is_dir() || names_a_folder(out) {
        return Err(RewriteError::Folder(out.into()));
    }
    let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    };
    let mut swaps = layout.label_pair.iter().cloned().collect::<Vec<_>>();
    if layout.chosen_first {
        swaps = vec![(layout.first.clone(), layout.second.clone())];
        swaps.extend(layout.twins.iter().cloned());
    }
    let mut target = Target {
        swaps,
        label: layout.label.clone().filter(|_| !layout.chosen_first && layout.label_pair.is_none()),
        codes: layout.codes.clone(),
        path: PathBuf::new(),
    };
    if target.label.is_none() && changes.marks.values().any(|mark| mark.action == Action::Tie) {
        return Err(RewriteError::NoTie { first: layout.first.clone() });
    }

    let mut written = Written::default();
    for mark in changes.marks.values() {
        *written.changed.entry(mark.action).or_default() += 1;
    }
    let mut start = 0;
    for (index, (file, &rows)) in layout.files.iter().zip(&layout.rows).enumerate() {
        let to = match (several, file.file_name()) {
            (true, Some(name)) => {
                let twins = layout.files.iter().filter(|other| other.file_name() == Some(name)).count();
                let name = name.to_string_lossy();
                out.join(if twins > 1 { format!("{index:03}-{name}") } else { name.into_owned() })
            }
            _ => out.to_path_buf(),
        };
        if same(file, &to) {
            return Err(RewriteError::OntoItself(to));
        }
        target.path = file.clone();
        written.rows += write_one(file, rows, &target, &changes.part(start, rows), changes, &to)?;
        written.files.push(to);
        start += rows;
    }
    Ok(written)
}

/// Writes one file; `all` says which columns are added everywhere. Returns its rows.
fn write_one(
    file: &Path,
    rows: usize,
    target: &Target,
    changes: &Changes,
    all: &Changes,
    to: &Path,
) -> Result<usize, RewriteError> {
    let added = all.added();
    let table = Table::open(file, &mut Default::default())?;
    if let Some(column) = ADDED.iter().chain([&WEIGHT]).find(|name| table.columns.dtype(name).is_some()) {
        return Err(RewriteError::Relabelled { path: file.into(), column: (*column).to_owned() });
    }
    let format = match table.container() {
        Container::Parquet | Container::Ipc | Container::Stream => {
            columnar::write(&table, rows, target, changes, &added, to)?;
            return Ok(kept(rows, changes));
        }
        Container::Csv => {
            let (bytes, _) = super::table::text_bytes(file)?;
            let found = dialect::detect(&bytes, super::table::is_tab(file));
            if found.surplus {
                // New fields would stand behind those, and so in other columns than their names.
                let reason = "some of its rows have more fields than the header";
                return Err(RewriteError::Container { path: file.into(), reason });
            }
            text::Format::Csv(found.dialect)
        }
        Container::JsonLines => text::Format::JsonLines,
        Container::JsonArray => text::Format::JsonArray,
        Container::Other(reason) => {
            return Err(RewriteError::Container { path: file.into(), reason });
        }
    };
    text::write(file, format, rows, target, changes, &added, to)?;
    Ok(kept(rows, changes))
}

/// Rows that stay.
fn kept(rows: usize, changes: &Changes) -> usize {
    rows - changes.marks.values().filter(|mark| mark.action == Action::Drop).count()
}
