//! Parquet and Arrow IPC: columns stay as they are, the touched ones are taken from row by row.

use std::io::Write;
use std::path::Path;

use polars::prelude::*;
use polars_arrow::datatypes::Metadata;
use polars_arrow::io::ipc::write::{StreamWriter, WriteOptions};
use polars_parquet::write::KeyValue;

use super::changes::{self, Action, Changes, Edit, RewriteError, Target};
use super::record::{Record, record_path, rows_path, sha256_file};
use crate::pairs::container::guard;
use crate::pairs::error::PairsError;
use crate::pairs::features;
use crate::pairs::table::{Container, Table};
use crate::store::{Failure, StoreError, write_file, write_json};

/// Writes `table` with `changes` to `to`, and the record and the changed rows beside it.
pub(super) fn write(
    table: &Table,
    rows: usize,
    target: &Target,
    changes: &Changes,
    added: &[&str],
    to: &Path,
) -> Result<(), RewriteError> {
    let path = &table.path;
    if table.columns.0.iter().any(|(_, dtype)| matches!(dtype, DataType::Unknown(_))) {
        let reason = "it has a column of a type that is not read, which would be lost";
        return Err(RewriteError::Container { path: path.clone(), reason });
    }
    let frame = whole(table)?;
    if frame.height() != rows {
        return Err(RewriteError::Rows { path: path.clone(), found: frame.height(), expected: rows });
    }
    let mut changed = frame.clone();
    let original = match &target.label {
        Some(name) => {
            let column = frame.column(name).map_err(failed(path))?.clone();
            let turned = turn(&column, target, changes)?;
            changed.with_column(turned).map_err(failed(path))?;
            column.as_materialized_series().clone()
        }
        None => {
            swap(&mut changed, target, changes).map_err(failed(path))?;
            let flipped = |row: u32| changes.marks.get(&row).is_some_and(|m| m.action == Action::Flip);
            let values = (0..rows as u32).map(|row| i64::from(!flipped(row)));
            Int64Chunked::from_iter_values("".into(), values).into_series()
        }
    };
    let marks = |row: usize| changes.marks.get(&(row as u32));
    let action: Vec<&str> = (0..rows).map(|row| marks(row).map_or("keep", |m| m.action.name())).collect();
    let rule: Vec<&str> = (0..rows).map(|row| marks(row).map_or("", |m| m.rule.as_str())).collect();
    let score: Vec<f64> = (0..rows).map(|row| marks(row).map_or(0.0, |m| m.score)).collect();
    let weight: Vec<f64> = (0..rows)
        .map(|row| match marks(row) {
            Some(mark) if mark.action == Action::Weight => changes.weight,
            _ => 1.0,
        })
        .collect();
    let columns = [
        original.with_name("".into()).into_column(),
        Column::new("".into(), action),
        Column::new("".into(), rule),
        Column::new("".into(), score),
        Column::new("".into(), weight),
    ];
    for (name, column) in added.iter().zip(columns) {
        changed.with_column(column.with_name((*name).into())).map_err(failed(path))?;
    }
    let dropped: Vec<u32> =
        changes.marks.iter().filter(|(_, mark)| mark.action == Action::Drop).map(|(&row, _)| row).collect();
    let kept: Vec<IdxSize> = (0..rows as u32).filter(|row| dropped.binary_search(row).is_err()).collect();
    let touched: Vec<IdxSize> = changes.marks.keys().copied().collect();
    let take = |frame: &DataFrame, rows: &[IdxSize]| {
        frame.take(&IdxCa::from_slice("".into(), rows)).map_err(failed(path))
    };
    let container = table.container();
    save(container, table.features.as_deref(), &mut take(&frame, &touched)?, &rows_path(to))?;
    let mut kept = if dropped.is_empty() { changed } else { take(&changed, &kept)? };
    // Written under its name last: a file without its record could not be undone.
    let finished = tempfile_beside(to)?;
    save(container, table.features.as_deref(), &mut kept, &finished)?;
    let record = Record {
        container: name_of(container).into(),
        original: path.display().to_string(),
        location: std::path::absolute(path).map(|path| path.display().to_string()).unwrap_or_default(),
        original_sha256: sha256_file(path)?,
        written_sha256: sha256_file(&finished)?,
        added: added.iter().map(|name| (*name).to_owned()).collect(),
        rows,
        changed: touched.len(),
        touched,
        dropped,
        ..Record::default()
    };
    write_json(&record_path(to), &record)?;
    std::fs::rename(&finished, to).map_err(|source| StoreError::Io {
        action: "write",
        path: to.into(),
        source,
    })?;
    Ok(())
}

pub(super) fn name_of(container: Container) -> &'static str {
    match container {
        Container::Ipc => "arrow ipc",
        Container::Stream => "arrow stream",
        _ => "parquet",
    }
}

/// All columns of a file.
pub(super) fn whole(table: &Table) -> Result<DataFrame, PairsError> {
    let names: Vec<String> = table.columns.0.iter().map(|(name, _)| name.clone()).collect();
    table.load(&names)
}

fn failed(path: &Path) -> impl Fn(PolarsError) -> RewriteError {
    let path = path.to_path_buf();
    move |error| StoreError::Table { action: "change", path: path.clone(), message: error.to_string() }.into()
}

/// A name in the same folder that a later run sweeps away if this one is killed.
fn tempfile_beside(to: &Path) -> Result<std::path::PathBuf, RewriteError> {
    let name = to.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(to.with_file_name(format!("{}{name}", crate::store::TEMPORARY_PREFIX)))
}

/// Writes a table in the container it came from, with the features that `datasets` keeps in its schema.
pub(super) fn save(
    container: Container,
    features: Option<&str>,
    frame: &mut DataFrame,
    path: &Path,
) -> Result<(), RewriteError> {
    let features = features.and_then(|features| features::for_table(features, frame.schema()));
    let metadata =
        features.map(|text| Arc::new(Metadata::from([(features::KEY.into(), text.as_str().into())])));
    write_file(path, |file| {
        let failure = Failure::default();
        let file = failure.of(file);
        let written = match container {
            Container::Ipc => {
                let mut writer = IpcWriter::new(file).with_compat_level(CompatLevel::oldest());
                if let Some(metadata) = metadata {
                    writer.set_custom_schema_metadata(metadata);
                }
                writer.finish(frame)
            }
            Container::Stream => stream(file, frame, metadata),
            _ => ParquetWriter::new(file)
                .with_compression(ParquetCompression::Zstd(None))
                .with_key_value_metadata(Some(key_values(frame.schema(), metadata.as_deref())))
                .finish(frame)
                .map(drop),
        };
        written.map_err(|error| failure.reason(path, &error).into())
    })
}

/// A plain schema, and what `datasets` keeps.
fn key_values(schema: &Schema, metadata: Option<&Metadata>) -> KeyValueMetadata {
    let KeyValueMetadata::Static(mut pairs) = crate::store::plain_schema(schema) else {
        return crate::store::plain_schema(schema);
    };
    let kept = metadata.into_iter().flatten();
    pairs.extend(kept.map(|(key, value)| KeyValue { key: key.to_string(), value: Some(value.to_string()) }));
    KeyValueMetadata::Static(pairs)
}

/// A table as an Arrow stream, as `save_to_disk` writes it.
fn stream(file: impl Write, frame: &mut DataFrame, metadata: Option<Arc<Metadata>>) -> PolarsResult<()> {
    let compat = CompatLevel::oldest();
    let mut writer = StreamWriter::new(file, WriteOptions { compression: None });
    if let Some(metadata) = metadata {
        writer.set_custom_schema_metadata(metadata);
    }
    writer.start(&frame.schema().to_arrow(compat), None)?;
    frame.align_chunks();
    for batch in frame.iter_chunks(compat, false) {
        writer.write(&batch, None)?;
    }
    writer.finish()
}

/// The label column with the marked rows turned.
fn turn(column: &Column, target: &Target, changes: &Changes) -> Result<Column, RewriteError> {
    let dtype = column.dtype().clone();
    let hint = "use `--action drop` or `--action weight`";
    let wrong = |row: usize, label: String| RewriteError::Label {
        path: target.path.clone(),
        row,
        label: label.chars().take(60).collect(),
        hint,
    };
    if dtype.is_nested() {
        return Err(wrong(0, crate::pairs::columns::type_name(&dtype)));
    }
    let texts = column.cast(&DataType::String).map_err(failed(&target.path))?;
    let texts = texts.str().map_err(failed(&target.path))?;
    let mut turned: Vec<Option<String>> = texts.iter().map(|text| text.map(str::to_owned)).collect();
    let turning = |mark: &Edit| matches!(mark.action, Action::Flip | Action::Tie);
    for (&row, mark) in changes.marks.iter().filter(|(_, mark)| turning(mark)) {
        let Some(slot) = turned.get_mut(row as usize) else { continue };
        // A missing label is a tie, and its own opposite.
        let Some(text) = slot.as_deref() else { continue };
        let new = changes::turned(text, mark.action, &target.codes)
            .ok_or_else(|| wrong(row as usize, text.to_owned()))?;
        *slot = Some(new);
    }
    let strings = Column::new(column.name().clone(), &turned);
    let back = match &dtype {
        DataType::String => return Ok(strings),
        DataType::Boolean => {
            let cells = turned.iter().map(|text| match text.as_deref() {
                Some("true") => Some(true),
                Some("false") => Some(false),
                _ => None,
            });
            return Ok(cells.collect::<BooleanChunked>().with_name(column.name().clone()).into_column());
        }
        // A tie among whole numbers is a missing label.
        dtype if dtype.is_integer() => {
            let floats = strings.cast(&DataType::Float64).map_err(failed(&target.path))?;
            let whole = floats.f64().map_err(failed(&target.path))?;
            let whole: Float64Chunked = whole.iter().map(|x| x.filter(|x| x.fract() == 0.0)).collect();
            whole.with_name(column.name().clone()).into_column().cast(dtype)
        }
        dtype => strings.cast(dtype),
    }
    .map_err(failed(&target.path))?;
    // An enumeration may lack the word.
    let lost = (0..turned.len())
        .find(|&row| turned[row].is_some() && back.get(row).is_ok_and(|value| value.is_null()));
    match lost {
        Some(row) if !dtype.is_integer() => Err(wrong(row, turned[row].clone().unwrap_or_default())),
        _ => Ok(back),
    }
}

/// Swaps the two responses, and what goes with them, in the rows that are flipped.
fn swap(frame: &mut DataFrame, target: &Target, changes: &Changes) -> PolarsResult<()> {
    let rows = frame.height() as IdxSize;
    let flipped: Vec<IdxSize> =
        changes.marks.iter().filter(|(_, mark)| mark.action == Action::Flip).map(|(&row, _)| row).collect();
    if flipped.is_empty() {
        return Ok(());
    }
    for (first, second) in &target.swaps {
        let (first, second) = (frame.column(first)?.clone(), frame.column(second)?.clone());
        let mut both = first.clone();
        both.append(&second.cast(first.dtype())?.with_name(first.name().clone()))?;
        let mut index: Vec<IdxSize> = (0..rows).collect();
        let pick = |index: &[IdxSize]| both.take(&IdxCa::from_slice("".into(), index));
        for &row in &flipped {
            index[row as usize] = row + rows;
        }
        let new_first = pick(&index)?;
        index = (rows..2 * rows).collect();
        for &row in &flipped {
            index[row as usize] = row;
        }
        let new_second = pick(&index)?.cast(second.dtype())?.with_name(second.name().clone());
        frame.with_column(new_first)?;
        frame.with_column(new_second)?;
    }
    Ok(())
}

/// Writes the original table from the relabelled one and its changed rows.
pub(super) fn restore(relabelled: &Path, record: &Record, out: &Path) -> Result<(), RewriteError> {
    let table = Table::open(relabelled, &mut Default::default())?;
    let touched = Table::open(&rows_path(relabelled), &mut Default::default())?;
    let container = table.container();
    let mut frame = whole(&table)?;
    let touched = whole(&touched)?;
    for name in &record.added {
        frame = frame.drop(name).map_err(failed(relabelled))?;
    }
    let height = frame.height() as IdxSize;
    let both = guard(relabelled, "relabelled", || frame.vstack(&touched))?;
    let (mut next, mut saved) = (0, height);
    let index: Vec<IdxSize> = (0..record.rows as u32)
        .map(|row| {
            let changed = record.touched.binary_search(&row).is_ok();
            let dropped = record.dropped.binary_search(&row).is_ok();
            let from_file = next;
            next += IdxSize::from(!dropped);
            if changed {
                saved += 1;
                saved - 1
            } else {
                from_file
            }
        })
        .collect();
    if next != height || both.height() as IdxSize != saved {
        return Err(RewriteError::NotRestored { path: relabelled.into() });
    }
    let mut restored = both.take(&IdxCa::from_slice("".into(), &index)).map_err(failed(relabelled))?;
    save(container, table.features.as_deref(), &mut restored, out)
}
