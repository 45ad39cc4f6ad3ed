//! What is dear to compute or to buy, kept between runs: embeddings, a language model's answers.
//!
//! One SQLite file a bucket in a versioned folder under the user's cache directory. SQLite, because several
//! processes may read and write at once and any of them may be killed at any moment. Entries are only added,
//! never changed; they are addressed by the hash of everything that determines them.
//!
//! Two processes that want the same entry do not both compute it: a process *claims* what it is about to compute
//! ([`Bucket::claim`]), and the others do something else meanwhile. A claim is worth nothing once its process is
//! gone, which the operating system tells by a file lock.
//!
//! The way of a run with it: make the [`key`]s from everything that determines the answers; [`Bucket::claim`] some;
//! compute what is [`Claim::Ours`] and [`Bucket::put`] each answer as soon as it is there (or [`Bucket::release`] it
//! where it failed); come back later for what is [`Claim::Theirs`]; [`Bucket::read`] the rest.

use crate::context::Context;
pub use crate::limits::bytes;

mod bucket;
mod error;
mod lock_holder;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use bucket::{Bucket, Claim, Space, SpaceSize};
pub use error::CacheError;

/// Version of the layout; another one gets another folder, so that old and new programs do not meet.
const VERSION: &str = "v1";

/// Vectors of texts.
pub const EMBEDDINGS: &str = "embeddings";

/// What language models answered.
pub const ANSWERS: &str = "answers";

/// What servers were found to refuse.
pub const SERVERS: &str = "servers";

/// Every bucket there is.
const BUCKETS: [&str; 3] = [EMBEDDINGS, ANSWERS, SERVERS];

/// What the cache may grow to, unless the user says otherwise: 10 GiB.
pub const DEFAULT_LIMIT: u64 = 10 << 30;

/// What the cache may grow to: `WIMHF_CACHE_LIMIT` ("500MB", "20 GB"), or [`DEFAULT_LIMIT`].
pub fn limit(context: &Context) -> u64 {
    context.variable("WIMHF_CACHE_LIMIT").and_then(bytes).unwrap_or(DEFAULT_LIMIT)
}

/// Address of an entry: a hash of what determines it.
pub type Key = [u8; 32];

/// The address of what `parts` determine; each part counts with its length, so that none run together.
pub fn key(parts: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The cache's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// What a bucket holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSize {
    /// Its name.
    pub bucket: &'static str,
    /// Bytes on the disk.
    pub bytes: u64,
    /// What is in it, by what made it.
    pub spaces: Vec<SpaceSize>,
}

impl Cache {
    /// The user's cache: `WIMHF_CACHE_DIR`, or `wimhf` in the system's folder for caches (`XDG_CACHE_HOME`).
    ///
    /// # Errors
    /// [`CacheError::NoFolder`].
    pub fn of(context: &Context) -> Result<Self, CacheError> {
        let named = context.variable("WIMHF_CACHE_DIR").map(PathBuf::from);
        let folder = named.or_else(|| dirs::cache_dir().map(|folder| folder.join("wimhf")));
        folder.map(|folder| Self::at(&folder)).ok_or(CacheError::NoFolder)
    }

    /// A cache in this folder.
    pub fn at(folder: &Path) -> Self {
        Self { root: folder.join(VERSION) }
    }

    /// The folder that holds everything.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    fn file(&self, bucket: &str) -> PathBuf {
        self.root.join(format!("{bucket}.sqlite"))
    }

    /// Opens a bucket, making it where it is not there yet.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn bucket(&self, name: &'static str) -> Result<Bucket, CacheError> {
        std::fs::create_dir_all(&self.root).map_err(|source| CacheError::Io {
            action: "create",
            path: self.root.clone(),
            source,
        })?;
        Bucket::open(&self.file(name), &self.root.join("owners"))
    }

    fn existing(&self) -> Result<Vec<(&'static str, Bucket)>, CacheError> {
        let there = BUCKETS.into_iter().filter(|name| self.file(name).exists());
        there.map(|name| Ok((name, self.bucket(name)?))).collect()
    }

    /// What is in the cache.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn size(&self) -> Result<Vec<BucketSize>, CacheError> {
        let buckets = self.existing()?.into_iter();
        buckets
            .map(|(bucket, open)| Ok(BucketSize { bucket, bytes: open.bytes(), spaces: open.spaces()? }))
            .collect()
    }

    /// Removes what was not used for `days`, then what was used longest ago until the cache fits into `limit` bytes.
    /// Returns the number of entries removed.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn prune(&self, days: Option<u64>, limit: Option<u64>) -> Result<u64, CacheError> {
        let mut removed = 0;
        let mut buckets = self.existing()?;
        if let Some(days) = days {
            for (_, bucket) in &mut buckets {
                removed += bucket.remove_unused(days)?;
            }
        }
        if let Some(limit) = limit {
            // The others' share stands; what is over comes from the largest first.
            buckets.sort_by_key(|(_, bucket)| std::cmp::Reverse(bucket.bytes()));
            let mut total: u64 = buckets.iter().map(|(_, bucket)| bucket.bytes()).sum();
            for (_, bucket) in &mut buckets {
                let before = bucket.bytes();
                if total > limit {
                    removed += bucket.shrink(before.saturating_sub(total - limit))?;
                    total = total - before + bucket.bytes();
                }
            }
        }
        Ok(removed)
    }

    /// Removes everything. Returns the bytes that were freed.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub fn clear(&self) -> Result<u64, CacheError> {
        let mut freed = 0;
        for bucket in BUCKETS {
            let file = self.file(bucket);
            for suffix in ["", "-wal", "-shm"] {
                let mut name = file.clone().into_os_string();
                name.push(suffix);
                let path = PathBuf::from(name);
                let bytes = std::fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0);
                match std::fs::remove_file(&path) {
                    Ok(()) => freed += bytes,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(source) => return Err(CacheError::Io { action: "remove", path, source }),
                }
            }
        }
        lock_holder::sweep(&self.root.join("owners"));
        Ok(freed)
    }
}

#[cfg(test)]
mod tests;
