//! What can go wrong with a run directory.

use std::path::PathBuf;

use crate::limits::{hint, said};

/// Version of the run directory's layout.
pub const SCHEMA_VERSION: u64 = 2;

/// What can go wrong with a run directory.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing failed.
    #[error("cannot {action} `{path}`: {said}{hint}", said = said(.source), hint = hint(.source))]
    Io {
        /// "write", "read", "create" …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is a link, a folder or a device.
    #[error("`{path}` is {what}, and nothing is written over that\nhint: name a plain file")]
    Odd {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// Parquet could not be written or read.
    #[error("cannot {action} `{path}`: {message}{hint}", hint = if *.action == "read" { "\nhint: the file is damaged; redo the run with `--force`" } else { "" })]
    Table {
        /// "write" or "read".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What polars said.
        message: String,
    },
    /// The folder holds something else.
    #[error("`{0}` is not empty and not a run directory\nhint: name another folder with `--out`")]
    NotARun(PathBuf),
    /// The folder holds the run of another dataset.
    #[error(
        "`{path}` holds a run of another dataset (`{other}`)\nhint: name another folder with `--out`, or replace that run with `--force`"
    )]
    OtherDataset {
        /// The run directory.
        path: PathBuf,
        /// The dataset it was made from.
        other: String,
    },
    /// The folder was written by another version of the layout.
    #[error(
        "`{path}` has schema version {found}, this program writes version {SCHEMA_VERSION}\nhint: name another folder with `--out`, or replace that run with `--force`"
    )]
    Schema {
        /// The run directory.
        path: PathBuf,
        /// What `run.json` says.
        found: u64,
    },
    /// `run.json` is there and cannot be understood.
    #[error(
        "`{path}` is not a readable run record: {message}\nhint: name another folder with `--out`, or replace that run with `--force`"
    )]
    Damaged {
        /// `run.json`.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A second process works in the same directory.
    #[error("another process is working in `{0}`\nhint: wait for it, or name another folder with `--out`")]
    Busy(PathBuf),
    /// A work file does not hold what its name says.
    #[error("`{path}` is damaged: {message}\nhint: redo the run with `--force`")]
    Content {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
}

impl StoreError {
    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        // A run's file that is damaged is mended by making the run anew.
        !matches!(self, Self::Table { action: "write", .. })
    }
}
