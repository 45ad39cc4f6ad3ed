//! Files that are either whole or not there.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use polars::io::parquet::write::StatisticsOptions;
use polars::prelude::{
    CompatLevel, DataFrame, KeyValueMetadata, ParquetCompression, ParquetWriter, PolarsError, Schema,
    SchemaExt,
};
use polars_parquet::write::schema_to_metadata_key;
use serde::Serialize;

use super::error::StoreError;
use super::place;

/// Every half-written file starts with this; a later run sweeps them away.
pub const TEMPORARY_PREFIX: &str = ".wimhf-tmp-";

/// What is locked by its process as long as that writes it ends so: what is not locked, nobody writes any more.
const LOCKED_SUFFIX: &str = ".part";

/// Locked files whose process is gone are removed at most so often that this many names are looked at.
const MOST_NAMES: usize = 100_000;

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
    let temporary = temporary(path)?;
    {
        let mut writer = BufWriter::with_capacity(1 << 16, temporary.as_file());
        fill(&mut writer)?;
        writer.flush().map_err(io("write", path))?;
    }
    keep(temporary, path)?;
    Ok(())
}

/// A file in the folder of `path` that goes with its process: removed when it is dropped, and by the next
/// [`sweep_leftovers`] where the process was killed.
///
/// # Errors
/// Where `path` is a link, a folder or a device, or the folder cannot be written to.
pub fn temporary(path: &Path) -> Result<tempfile::NamedTempFile, StoreError> {
    if let Some(what) = place::odd(path) {
        return Err(StoreError::Odd { path: path.into(), what });
    }
    let folder = place::parent(path);
    loop {
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .suffix(LOCKED_SUFFIX)
            .tempfile_in(folder)
            .map_err(io("write", path))?;
        match file.as_file().try_lock() {
            // Between making and locking it, somebody may have swept it away as a dead process's.
            Ok(()) if !file.path().exists() => continue,
            Err(std::fs::TryLockError::WouldBlock) => continue,
            // A file system without locks: there nothing is swept.
            Ok(()) | Err(std::fs::TryLockError::Error(_)) => return Ok(file),
        }
    }
}

/// Gives a finished file its name, once it is on the disk.
///
/// # Errors
/// Where that fails; then the old file stands as it was.
pub fn keep(file: tempfile::NamedTempFile, path: &Path) -> Result<(), StoreError> {
    make_readable(file.as_file());
    file.as_file().sync_all().map_err(io("write", path))?;
    if let Some(what) = place::odd(path) {
        return Err(StoreError::Odd { path: path.into(), what });
    }
    file.persist(path).map_err(|error| io("write", path)(error.error))?;
    Ok(())
}

/// Removes half-written files of processes that were killed, and of no other, from any folder.
pub fn sweep_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_NAMES) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours = name.starts_with(TEMPORARY_PREFIX) && name.ends_with(LOCKED_SUFFIX);
        if is_ours
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::options().read(true).write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            // Still locked by us while it goes. Failing is harmless: the names are never read.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Temporary files are private by default; results are for sharing, as far as the umask allows.
#[cfg(unix)]
fn make_readable(file: &File) {
    use std::os::unix::fs::PermissionsExt;
    // Failing here (odd file systems) leaves a private file, which is no reason to lose the result.
    let _ = file.set_permissions(std::fs::Permissions::from_mode(0o644));
}

#[cfg(not(unix))]
fn make_readable(_: &File) {}

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
        let failure = Failure::default();
        ParquetWriter::new(failure.of(writer))
            .with_compression(ParquetCompression::Zstd(None))
            .with_statistics(StatisticsOptions::default())
            .with_key_value_metadata(Some(schema))
            .finish(table)
            .map(drop)
            .map_err(|error| failure.reason(path, &error))
    })
}

/// The same in parts of the same columns, which are made one after the other, and without statistics: of hundreds of columns of
/// figures they take long and help nobody to skip a row.
pub fn write_parquet_parts(
    path: &Path,
    mut parts: impl Iterator<Item = Result<DataFrame, StoreError>>,
) -> Result<(), StoreError> {
    let Some(first) = parts.next().transpose()? else { return Ok(()) };
    let schema = plain_schema(first.schema());
    write_file(path, |writer| {
        let failure = Failure::default();
        // What a part cannot be made for is no fault of the writing.
        let mut made = Ok(());
        let write = || {
            let mut table = ParquetWriter::new(failure.of(writer))
                .with_compression(ParquetCompression::Zstd(None))
                .with_statistics(StatisticsOptions::empty())
                .with_key_value_metadata(Some(schema))
                .batched(first.schema())?;
            table.write_batch(&first)?;
            drop(first);
            for part in parts {
                match part {
                    Ok(part) => table.write_batch(&part)?,
                    Err(error) => {
                        made = Err(error);
                        break;
                    }
                }
            }
            table.finish()
        };
        let written = write();
        made?;
        written.map(drop).map_err(|error: PolarsError| failure.reason(path, &error))
    })
}

/// What the system said to a writer first: the user can act on that, and polars wraps it three times or drops it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure(Arc<OnceLock<std::io::Error>>);

impl Failure {
    /// A writer whose failure this is.
    pub(crate) fn of<W>(&self, writer: W) -> Remembering<W> {
        Remembering { writer, failure: self.clone() }
    }

    /// Why `path` was not written.
    pub(crate) fn reason(&self, path: &Path, error: &PolarsError) -> StoreError {
        match self.0.get() {
            Some(failure) => io("write", path)(copied(failure)),
            None => StoreError::Table { action: "write", path: path.into(), message: error.to_string() },
        }
    }

    /// Whether nobody reads what is written any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.get().is_some_and(|failure| failure.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// The same error once more, without what it wraps.
fn copied(error: &std::io::Error) -> std::io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error)
}

/// A writer that remembers what went wrong.
#[derive(Debug)]
pub(crate) struct Remembering<W> {
    writer: W,
    failure: Failure,
}

impl<W> Remembering<W> {
    fn note<T>(&self, outcome: std::io::Result<T>) -> std::io::Result<T> {
        outcome.inspect_err(|error| {
            self.failure.0.get_or_init(|| copied(error));
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

/// Removes what a killed process left half-written in a run's own folder, whose lock we hold.
pub(super) fn sweep(folder: &Path) {
    sweep_leftovers(folder);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(TEMPORARY_PREFIX) && !name.ends_with(LOCKED_SUFFIX) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes what killed processes left half-written in the folders of a run, where other verbs write without its lock.
pub(super) fn sweep_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_NAMES) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep_leftovers(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_goes_and_what_a_living_one_writes_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.parquet");
        let living = temporary(&path).unwrap();
        let dead = dir.path().join(format!("{TEMPORARY_PREFIX}abc{LOCKED_SUFFIX}"));
        let other = dir.path().join(format!("{TEMPORARY_PREFIX}mine"));
        std::fs::write(&dead, "half").unwrap();
        std::fs::write(&other, "not locked by its writer").unwrap();
        sweep_leftovers(dir.path());
        assert!(!dead.exists() && other.exists() && living.path().exists());
        keep(living, &path).unwrap();
        assert!(path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (data, link) = (dir.path().join("data"), dir.path().join("link"));
        std::fs::write(&data, "precious").unwrap();
        std::os::unix::fs::symlink(&data, &link).unwrap();
        let error = write_bytes(&link, b"new").unwrap_err();
        assert!(
            matches!(error, StoreError::Odd { .. }) && error.to_string().contains("a link to"),
            "{error}"
        );
        assert_eq!(std::fs::read(&data).unwrap(), b"precious");
        assert!(link.is_symlink());
    }

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

    /// Takes so many bytes, as a disk or a limit on files does.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            match self.0.min(bytes.len()) {
                0 if !bytes.is_empty() => Err(std::io::Error::from_raw_os_error(27)),
                room => {
                    self.0 -= room;
                    Ok(room)
                }
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// polars says of a footer that does not fit "invalid thrift: transport error".
    #[test]
    fn a_disk_that_is_full_at_any_byte_is_told_as_the_system_does() {
        let mut table = polars::df!("a" => [1, 2, 3], "b" => ["x", "y", "z"]).unwrap();
        let mut whole = Vec::new();
        ParquetWriter::new(&mut whole).finish(&mut table).unwrap();
        for room in 0..whole.len() {
            let failure = Failure::default();
            let written = ParquetWriter::new(failure.of(Full(room))).finish(&mut table);
            let said = failure.reason(Path::new("t.parquet"), &written.unwrap_err());
            assert!(matches!(said, StoreError::Io { .. }) && said.is_users(), "at {room}: {said}");
            assert!(said.to_string().contains("`ulimit -f`"), "at {room}: {said}");
        }
        assert!(ParquetWriter::new(Full(whole.len())).finish(&mut table).is_ok());
    }
}
