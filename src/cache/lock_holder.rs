//! Who claims what: a file that its process holds locked as long as it lives.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::error::CacheError;

/// This process's part in a bucket. Its file is locked until it is dropped or the process ends in any way.
#[derive(Debug)]
pub(super) struct Owner {
    pub name: String,
    path: PathBuf,
    _lock: File,
}

impl Owner {
    /// A new owner with a name of its own.
    pub fn new(folder: &Path) -> Result<Self, CacheError> {
        let io = |path: &Path, source| CacheError::Io { action: "create", path: path.into(), source };
        std::fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
        loop {
            let file = tempfile::Builder::new()
                .prefix("")
                .rand_bytes(16)
                .tempfile_in(folder)
                .map_err(|source| io(folder, source))?;
            let (lock, path) = file.keep().map_err(|error| io(folder, error.error))?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            match lock.try_lock() {
                // Between making and locking it, somebody may have swept the file away as a dead owner's.
                Ok(()) if !path.exists() => continue,
                Err(TryLockError::WouldBlock) => continue,
                // Without locks on this file system, age decides ([`is_alive`]).
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self { name, path, _lock: lock }),
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A leftover is swept by the next process.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether an owner's process still runs. Where the file system has no locks, those that claimed in the last
/// quarter of an hour count as alive.
pub(super) fn is_alive(folder: &Path, name: &str, seconds: u64) -> bool {
    let Ok(file) = crate::limits::open(folder.join(name)) else { return false };
    match file.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => seconds < 15 * 60,
    }
}

/// Removes the files of owners that are gone.
pub(super) fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(file) = crate::limits::open(entry.path())
            && file.try_lock().is_ok()
        {
            // Still locked by us while it goes, so nobody can take it for alive.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
