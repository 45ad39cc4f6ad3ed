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

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::context::Cancel;

pub use atomic::{TEMPORARY_PREFIX, write_bytes, write_file, write_json, write_parquet};
pub(crate) use atomic::{make_readable, plain_schema};
pub use error::StoreError;
pub use manifest::{
    DatasetRecord, EmbeddingRecord, Estimate, LanguageRecord, Manifest, Metrics, OutputRecord,
    SCHEMA_VERSION, SourceRecord, StageRecord,
};
pub(crate) use matrices::{failed, frame};
pub use matrices::{read_matrix, write_matrix};

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
        let is_run = record.exists() || path.join(".lock").exists();
        if path.is_dir() && !is_run {
            let mut entries = std::fs::read_dir(path).map_err(|source| StoreError::Io {
                action: "read",
                path: path.into(),
                source,
            })?;
            if entries.next().is_some() {
                return Err(StoreError::NotARun(path.into()));
            }
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
        let lock = File::create(&lock_path).map_err(|source| StoreError::Io {
            action: "write",
            path: lock_path,
            source,
        })?;
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
        Ok(Self { path: path.into(), manifest, cancel: Cancel::default(), _lock: lock })
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
    /// outputs are untouched (by size); else the stage is open and must be [`Self::finish`]ed.
    pub fn begin(&mut self, name: &'static str, fingerprint: &str) -> Option<OpenStage> {
        let reusable = self.manifest.stages.iter().find(|stage| stage.name == name).is_some_and(|stage| {
            stage.fingerprint == fingerprint
                && stage.outputs.iter().all(|output| {
                    std::fs::metadata(self.path.join(&output.file))
                        .is_ok_and(|meta| meta.len() == output.bytes)
                })
        });
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
        let mut records = Vec::with_capacity(outputs.len());
        for &file in outputs {
            let path = self.path.join(file);
            let bytes = std::fs::metadata(&path)
                .map_err(|source| StoreError::Io { action: "read", path, source })?
                .len();
            records.push(OutputRecord { file: file.into(), bytes });
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
        RunDir::open(&path, dataset("a"), false).unwrap();
        assert!(!leftover.exists());
    }
}

pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let bytes =
        std::fs::read(path).map_err(|source| StoreError::Io { action: "read", path: path.into(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| StoreError::Content { path: path.into(), message: error.to_string() })
}
