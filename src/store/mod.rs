//! The run directory: what `analyze` leaves behind, and how it goes on after a stop.
//!
//! The layout is a contract (`run.json`, `pairs.parquet`, `sae.safetensors`, `activations.parquet`,
//! `features.parquet`, `principles.*`, `constitution.md`, `report.html`): fields are only added,
//! and [`SCHEMA_VERSION`] changes when a reader would misread. Work files that only later stages
//! read are under `stages/`.
//!
//! A stage is a function from files to files. It counts as finished once its outputs stand under
//! their final names *and* `run.json` records them with the fingerprint of everything that
//! determines them; so a kill at any moment costs the stage it hit, nothing more.

mod atomic;
mod error;
mod manifest;
mod matrices;
pub mod output;
mod place;
mod spent;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::context::Cancel;

pub(crate) use atomic::{Failure, Remembering, plain_schema};
pub use atomic::{
    TEMPORARY_PREFIX, keep, sweep_leftovers, temporary, write_bytes, write_file, write_json, write_parquet,
};
pub use error::{SCHEMA_VERSION, StoreError};
pub use manifest::{
    DatasetRecord, EmbeddingRecord, Estimate, Grading, LanguageRecord, Manifest, Metrics, OutputRecord,
    SentenceMetrics, SourceRecord, StageRecord,
};
pub(crate) use matrices::{failed, frame};
pub use matrices::{read_matrix, read_matrix_rows, write_matrix};
pub(crate) use place::names_a_folder;
pub use spent::Spent;

/// An open run directory; holds its lock until it is dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// What `run.json` says.
    pub manifest: Manifest,
    /// Whether to stop between two stages.
    pub cancel: Cancel,
    _lock: File,
}

/// A stage that has to be done now.
#[derive(Debug)]
pub struct OpenStage {
    name: &'static str,
    fingerprint: String,
    started: Instant,
}

impl RunDir {
    /// Opens or creates the directory for a dataset with this fingerprint.
    ///
    /// # Errors
    /// A folder that is not a run, or of another dataset, schema or process; `force` replaces the
    /// run in the second and third case and forgets every finished stage.
    pub fn open(path: &Path, dataset: DatasetRecord, force: bool) -> Result<Self, StoreError> {
        let record = path.join("run.json");
        if path.is_dir() && !may_become_a_run(path, force)? {
            return Err(StoreError::NotARun(path.into()));
        }
        let create = |folder: &Path| {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Io {
                action: "create",
                path: folder.into(),
                source,
            })
        };
        // The lock comes before anything else: it tells a run that was killed right here from a stranger's folder.
        create(path)?;
        let lock_path = path.join(".lock");
        let lock = open_lock(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(StoreError::Busy(path.into())),
            // A file system without locks: two runs at once are then the user's to avoid.
            Err(std::fs::TryLockError::Error(_)) => {}
        }
        let stages = path.join("stages");
        create(&stages)?;
        atomic::sweep(path);
        atomic::sweep(&stages);
        atomic::sweep_below(path);

        let mut manifest = if force || !record.exists() {
            Manifest::default()
        } else {
            let found = Manifest::read(&record)?;
            if found.schema_version != SCHEMA_VERSION {
                return Err(StoreError::Schema { path: path.into(), found: found.schema_version });
            }
            if found.dataset.fingerprint != dataset.fingerprint {
                return Err(StoreError::OtherDataset { path: path.into(), other: found.dataset.path });
            }
            found
        };
        manifest.dataset = dataset;
        let run = Self { path: path.into(), manifest, cancel: Cancel::default(), _lock: lock };
        // From now on this is a run, whatever happens to the process: only what has a record is taken for one.
        run.save()?;
        Ok(run)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Asks for a stage: `None` where a finished one with this fingerprint is at hand and its
    /// outputs are untouched (by checksum); else the stage is open and must be [`Self::finish`]ed.
    pub fn begin(&mut self, name: &'static str, fingerprint: &str) -> Option<OpenStage> {
        let reusable = self.manifest.stages.iter().find(|stage| stage.name == name).is_some_and(|stage| {
            stage.fingerprint == fingerprint
                && stage.outputs.iter().all(|output| {
                    let path = self.path.join(&output.file);
                    // The size is asked first: it costs nothing.
                    std::fs::metadata(&path).is_ok_and(|meta| meta.len() == output.bytes)
                        && checksum(&path).is_ok_and(|sum| sum == output.sha256)
                })
        });
        log::debug!(
            "stage {name}: {}, fingerprint {}",
            if reusable { "reused" } else { "to be made" },
            fingerprint.get(..12).unwrap_or(fingerprint)
        );
        if reusable {
            for stage in self.manifest.stages.iter_mut().filter(|stage| stage.name == name) {
                stage.status = "reused".into();
            }
            return None;
        }
        // Whatever stood here belongs to other settings; until the stage is finished it counts for nothing.
        self.manifest.stages.retain(|stage| stage.name != name);
        Some(OpenStage { name, fingerprint: fingerprint.into(), started: Instant::now() })
    }

    /// Records a stage and its outputs (relative names) as finished. Returns its seconds.
    pub fn finish(&mut self, stage: OpenStage, outputs: &[&str]) -> Result<f64, StoreError> {
        let seconds = stage.started.elapsed().as_secs_f64();
        log::debug!("stage {}: made in {seconds:.3} s, {} files", stage.name, outputs.len());
        let mut records = Vec::with_capacity(outputs.len());
        for &file in outputs {
            let path = self.path.join(file);
            let read = |source| StoreError::Io { action: "read", path: path.clone(), source };
            let bytes = std::fs::metadata(&path).map_err(read)?.len();
            let sha256 = checksum(&path).map_err(read)?;
            records.push(OutputRecord { file: file.into(), bytes, sha256 });
        }
        self.manifest.stages.push(StageRecord {
            name: stage.name.into(),
            seconds,
            status: "done".into(),
            fingerprint: stage.fingerprint,
            outputs: records,
        });
        self.save()?;
        Ok(seconds)
    }

    /// Writes `run.json`.
    pub fn save(&self) -> Result<(), StoreError> {
        write_json(&self.path.join("run.json"), &self.manifest)
    }
}

/// Whether a folder is a run, empty, or one whose process was killed before its record stood.
fn may_become_a_run(path: &Path, force: bool) -> Result<bool, StoreError> {
    let record = path.join("run.json");
    if Manifest::is_one(&record) {
        return Ok(true);
    }
    let io = |source| StoreError::Io { action: "read", path: path.into(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
    }
    let has_lock = std::fs::symlink_metadata(path.join(".lock")).is_ok_and(|meta| meta.is_file());
    if names.iter().any(|name| name == "run.json") {
        // It was one, and its record is damaged. Reading it says how; only `--force` makes it anew.
        let was_ours = has_lock && path.join("stages").is_dir();
        if was_ours && !force {
            Manifest::read(&record)?;
        }
        return Ok(was_ours);
    }
    let is_beginning =
        |name: &String| name == ".lock" || name == "stages" || name.starts_with(TEMPORARY_PREFIX);
    Ok(names.is_empty() || (has_lock && names.iter().all(is_beginning)))
}

/// Opens a run's lock without changing a file that stands there, and through no link.
fn open_lock(path: &Path) -> Result<File, StoreError> {
    if let Some(what) = place::odd(path) {
        return Err(StoreError::Odd { path: path.into(), what });
    }
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Somebody may have put a link there meanwhile.
        options.custom_flags(libc::O_NOFOLLOW);
    }
    options.open(path).map_err(|source| StoreError::Io { action: "write", path: path.into(), source })
}

/// SHA-256 over a file's bytes, in hex.
fn checksum(path: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut crate::limits::open(path)?, &mut hash)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Fingerprint of everything that determines a stage's outputs: 16 hex digits of SHA-256 over the
/// JSON form of `parts`, under the stage's name and the layout's version.
pub fn fingerprint(stage: &str, parts: &impl Serialize) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{stage}\0{SCHEMA_VERSION}\0{}\0", env!("CARGO_PKG_VERSION")));
    // Serialising plain settings into memory cannot fail; if it ever did, the stage would be redone.
    hash.update(serde_json::to_vec(parts).unwrap_or_default());
    let digest = hash.finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A value from a JSON file of a run.
///
/// # Errors
/// Where the file cannot be read, or holds something else.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let bytes = crate::limits::read(path).map_err(|source| StoreError::Io {
        action: "read",
        path: path.into(),
        source,
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| StoreError::Content { path: path.into(), message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(fingerprint: &str) -> DatasetRecord {
        DatasetRecord { path: "d.parquet".into(), fingerprint: fingerprint.into(), ..Default::default() }
    }

    #[test]
    fn a_finished_stage_is_reused_until_its_inputs_or_outputs_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        {
            let mut run = RunDir::open(&path, dataset("a"), false).unwrap();
            let stage = run.begin("sae", "f1").unwrap();
            write_bytes(&run.file("x.bin"), b"123").unwrap();
            run.finish(stage, &["x.bin"]).unwrap();
        }
        {
            let mut run = RunDir::open(&path, dataset("a"), false).unwrap();
            assert!(run.begin("sae", "f1").is_none());
            assert!(run.begin("sae", "f2").is_some());
        }
        std::fs::write(path.join("x.bin"), b"124").unwrap();
        let altered = RunDir::open(&path, dataset("a"), false).unwrap().begin("sae", "f1");
        assert!(altered.is_some(), "an output of the same size with other bytes is not the finished work");
        std::fs::write(path.join("x.bin"), b"12").unwrap();
        let mut run = RunDir::open(&path, dataset("a"), false).unwrap();
        assert!(run.begin("sae", "f1").is_some(), "a shortened output is not finished work");
    }

    #[test]
    fn foreign_folders_datasets_and_schemas_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        assert!(matches!(RunDir::open(dir.path(), dataset("a"), true), Err(StoreError::NotARun(_))));

        let path = dir.path().join("run");
        RunDir::open(&path, dataset("a"), false).unwrap().save().unwrap();
        assert!(matches!(RunDir::open(&path, dataset("b"), false), Err(StoreError::OtherDataset { .. })));
        RunDir::open(&path, dataset("b"), true).unwrap();

        std::fs::write(path.join("run.json"), r#"{"schema_version": 99}"#).unwrap();
        assert!(matches!(
            RunDir::open(&path, dataset("a"), false),
            Err(StoreError::Schema { found: 99, .. })
        ));
        std::fs::write(path.join("run.json"), "{").unwrap();
        assert!(matches!(RunDir::open(&path, dataset("a"), false), Err(StoreError::Damaged { .. })));
    }

    /// What has a file named `.lock` is no run: nothing in it may be touched.
    #[test]
    fn a_folder_with_a_lock_is_no_run() {
        let dir = tempfile::tempdir().unwrap();
        for force in [false, true] {
            std::fs::write(dir.path().join(".lock"), "somebody else's").unwrap();
            std::fs::write(dir.path().join("pairs.parquet"), "mine").unwrap();
            assert!(matches!(RunDir::open(dir.path(), dataset("a"), force), Err(StoreError::NotARun(_))));
            std::fs::write(dir.path().join("run.json"), r#"{"name": "a package"}"#).unwrap();
            assert!(matches!(RunDir::open(dir.path(), dataset("a"), force), Err(StoreError::NotARun(_))));
            assert_eq!(std::fs::read(dir.path().join(".lock")).unwrap(), b"somebody else's");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
            std::fs::remove_file(dir.path().join("run.json")).unwrap();
        }
        // A lock's content is not ours to change.
        std::fs::remove_file(dir.path().join("pairs.parquet")).unwrap();
        RunDir::open(dir.path(), dataset("a"), false).unwrap();
        assert_eq!(std::fs::read(dir.path().join(".lock")).unwrap(), b"somebody else's");
        assert!(Manifest::is_one(&dir.path().join("run.json")), "a run from the first moment");
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_that_is_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        drop(RunDir::open(&path, dataset("a"), false).unwrap());
        let precious = dir.path().join("precious");
        std::fs::write(&precious, "thesis").unwrap();
        std::fs::remove_file(path.join(".lock")).unwrap();
        std::os::unix::fs::symlink(&precious, path.join(".lock")).unwrap();
        for force in [false, true] {
            assert!(matches!(RunDir::open(&path, dataset("a"), force), Err(StoreError::Odd { .. })));
        }
        assert_eq!(std::fs::read(&precious).unwrap(), b"thesis");
    }

    /// A folder with anything but a lock in it would pass for a stranger's if the process died there.
    #[test]
    fn nothing_is_made_before_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        // A lock that cannot be made, as if the process had ended there.
        std::fs::create_dir_all(path.join(".lock")).unwrap();
        assert!(RunDir::open(&path, dataset("a"), false).is_err());
        assert!(!path.join("stages").exists());
        std::fs::remove_dir(path.join(".lock")).unwrap();
        drop(RunDir::open(&path, dataset("a"), false).unwrap());
        assert!(path.join("stages").is_dir());
    }

    #[test]
    fn a_directory_in_use_is_refused_and_leftovers_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let first = RunDir::open(&path, dataset("a"), false).unwrap();
        assert!(matches!(RunDir::open(&path, dataset("a"), false), Err(StoreError::Busy(_))));
        drop(first);
        let leftover = path.join(format!("{TEMPORARY_PREFIX}abc"));
        std::fs::write(&leftover, "half").unwrap();
        // What other verbs write lies in folders of its own: what a killed one left there goes, nothing else does.
        std::fs::create_dir(path.join("score")).unwrap();
        let below = path.join(format!("score/{TEMPORARY_PREFIX}abc.part"));
        let kept = path.join("score/weights.json");
        for file in [&below, &kept] {
            std::fs::write(file, "half").unwrap();
        }
        RunDir::open(&path, dataset("a"), false).unwrap();
        assert!(!leftover.exists() && !below.exists() && kept.exists());
    }
}
