//! What can go wrong with the cache.

use std::path::PathBuf;

/// What can go wrong with the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The system does not say where caches go.
    #[error(
        "there is no folder for caches: neither `WIMHF_CACHE_DIR` nor a home directory is set\nhint: set `WIMHF_CACHE_DIR`"
    )]
    NoFolder,
    /// A folder or file cannot be made, read or removed.
    #[error("cannot {action} `{path}`: {}\nhint: `WIMHF_CACHE_DIR` names another folder for the cache", crate::limits::said(.source))]
    Io {
        /// "create", "read" …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no database, or a broken one.
    #[error(
        "the cache `{path}` is damaged: {message}\nhint: `wimhf cache clear` removes it; nothing but time is lost"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
    /// SQLite cannot do what is asked: no space, locked for too long.
    #[error("the cache `{path}` cannot be used: {message}\nhint: {hint}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
        /// What to do.
        hint: &'static str,
    },
}
