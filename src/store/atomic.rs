//! Files that are either whole or not there.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use polars::prelude::{
    CompatLevel, DataFrame, KeyValueMetadata, ParquetCompression, ParquetWriter, Schema, SchemaExt,
};
use polars_parquet::write::schema_to_metadata_key;
use serde::Serialize;

use super::error::StoreError;

/// Every half-written file starts with this; a later run sweeps them away.
pub const TEMPORARY_PREFIX: &str = ".wimhf-tmp-";

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = PathBuf::from(path);
    move |source| StoreError::Io { action, path, source }
}

/// Writes a file through `fill` under a temporary name in the same folder, flushes it to the disk
/// and renames it. On any error the old file stands as it was.
///
/// # Errors
/// What `fill` returns, or an I/O error with the path.
pub fn write_file<E: From<StoreError>>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> Result<(), E>,
) -> Result<(), E> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let temporary =
        tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder).map_err(io("write", path))?;
    {
        let mut writer = BufWriter::with_capacity(1 << 16, temporary.as_file());
        fill(&mut writer)?;
        writer.flush().map_err(io("write", path))?;
    }
    make_readable(temporary.as_file());
    temporary.as_file().sync_all().map_err(io("write", path))?;
    temporary.persist(path).map_err(|error| io("write", path)(error.error))?;
    Ok(())
}

/// Temporary files are private by default; results are for sharing, as far as the umask allows.
#[cfg(unix)]
pub(crate) fn make_readable(file: &File) {
    use std::os::unix::fs::PermissionsExt;
    // Failing here (odd file systems) leaves a private file, which is no reason to lose the result.
    let _ = file.set_permissions(std::fs::Permissions::from_mode(0o644));
}

#[cfg(not(unix))]
pub(crate) fn make_readable(_: &File) {}

/// Writes bytes; see [`write_file`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_file(path, |writer| writer.write_all(bytes).map_err(io("write", path)))
}

/// Writes a value as indented JSON with a final newline; see [`write_file`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    write_file(path, |writer| {
        serde_json::to_writer_pretty(&mut *writer, value)
            .map_err(|error| io("write", path)(std::io::Error::other(error)))?;
        writer.write_all(b"\n").map_err(io("write", path))
    })
}

/// The Arrow schema for a Parquet footer with plain strings: polars would name string views, which pandas
/// cannot read inside a list.
pub(crate) fn plain_schema(schema: &Schema) -> KeyValueMetadata {
    let schema = schema_to_metadata_key(&schema.to_arrow(CompatLevel::oldest()));
    KeyValueMetadata::from_static(vec![(schema.key, schema.value.unwrap_or_default())])
}

/// Writes a table as Parquet (zstd, with statistics, [`plain_schema`]); see [`write_file`].
pub fn write_parquet(path: &Path, table: &mut DataFrame) -> Result<(), StoreError> {
    let schema = plain_schema(table.schema());
    write_file(path, |writer| {
        let mut writer = Remembering { writer, failure: None };
        let written = ParquetWriter::new(&mut writer)
            .with_compression(ParquetCompression::Zstd(None))
            .with_key_value_metadata(Some(schema))
            .finish(table);
        match (written, writer.failure) {
            (Ok(_), _) => Ok(()),
            // What the system said is what the user can act on; polars wraps it three times.
            (Err(_), Some(failure)) => Err(io("write", path)(failure)),
            (Err(error), None) => {
                Err(StoreError::Table { action: "write", path: path.into(), message: error.to_string() })
            }
        }
    })
}

/// A writer that remembers what went wrong.
struct Remembering<W> {
    writer: W,
    failure: Option<std::io::Error>,
}

impl<W: Write> Remembering<W> {
    fn note<T>(&mut self, outcome: std::io::Result<T>) -> std::io::Result<T> {
        outcome.inspect_err(|error| {
            let copy = error
                .raw_os_error()
                .map_or_else(|| std::io::Error::from(error.kind()), std::io::Error::from_raw_os_error);
            self.failure.get_or_insert(copy);
        })
    }
}

impl<W: Write> Write for Remembering<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let outcome = self.writer.write(bytes);
        self.note(outcome)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let outcome = self.writer.flush();
        self.note(outcome)
    }
}

/// Removes what a killed process left half-written. Failing is harmless: the names are never read.
pub(super) fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_writer_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_bytes(&path, b"old").unwrap();
        let failed: Result<(), StoreError> = write_file(&path, |writer| {
            writer.write_all(b"half of the new").unwrap();
            Err(StoreError::NotARun("x".into()))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
