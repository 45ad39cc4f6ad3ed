//! One SQLite file of entries, claims and what made them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

use super::lock_holder::{self, Owner};
use super::{CacheError, Key};

/// How long another process may hold the file before we give up. A process holds it for milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Entries removed at a time, so that nobody waits long for us.
const REMOVE: u64 = 20_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS spaces (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        used INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS entries (
        key BLOB PRIMARY KEY,
        space INTEGER NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS entries_of_space ON entries (space);
    CREATE TABLE IF NOT EXISTS claims (
        key BLOB PRIMARY KEY,
        owner TEXT NOT NULL,
        since INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// An open bucket. Several, in one process or in many, may be open on one file.
#[derive(Debug)]
pub struct Bucket {
    connection: Connection,
    path: PathBuf,
    owners: PathBuf,
    owner: Option<Owner>,
}

/// What made an entry: an embedder's identity, a model and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space(i64);

/// What a space holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceSize {
    /// What made the entries.
    pub name: String,
    /// How many there are.
    pub entries: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Days since a run last used it.
    pub days: u64,
}

/// How an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is there.
    Present,
    /// It is ours to compute; then [`Bucket::put`] or [`Bucket::release`] it.
    Ours,
    /// Another process is computing it.
    Theirs,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}

impl Bucket {
    pub(super) fn open(path: &Path, owners: &Path) -> Result<Self, CacheError> {
        let failed = |error: rusqlite::Error| translate(path, &error);
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        let bucket = Self { connection, path: path.into(), owners: owners.into(), owner: None };
        bucket.prepare().map_err(failed)?;
        lock_holder::sweep(owners);
        Ok(bucket)
    }

    fn prepare(&self) -> rusqlite::Result<()> {
        let connection = &self.connection;
        // Pages are given back one by one when entries are removed; must come before the first table. Set only once,
        // as setting it writes.
        let vacuum: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
        if vacuum != 2 {
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        // Readers and a writer at the same time. Where the file system cannot (network drives), the older journal
        // stays, which is as safe and slower.
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode.eq_ignore_ascii_case("wal") {
            // After a power cut the last batches may be missing, never damaged; a killed process loses nothing.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
        }
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))
    }

    fn failed(&self, error: &rusqlite::Error) -> CacheError {
        translate(&self.path, error)
    }

    /// The space of this name; marks it as used now.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn space(&self, name: &str) -> Result<Space, CacheError> {
        let touch = "INSERT INTO spaces (name, used) VALUES (?1, ?2)
            ON CONFLICT (name) DO UPDATE SET used = max(used, ?2) RETURNING id";
        self.connection
            .query_row(touch, params![name, now()], |row| row.get(0))
            .map(Space)
            .map_err(|error| self.failed(&error))
    }

    /// Which of the entries are there.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn present(&self, keys: &[Key]) -> Result<Vec<bool>, CacheError> {
        let look = || -> rusqlite::Result<Vec<bool>> {
            let mut select = self.connection.prepare("SELECT 1 FROM entries WHERE key = ?1")?;
            keys.iter().map(|key| select.exists([key])).collect()
        };
        look().map_err(|error| self.failed(&error))
    }

    /// Calls `found` with the position and the value of every entry that is there.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn read(&self, keys: &[Key], mut found: impl FnMut(usize, &[u8])) -> Result<(), CacheError> {
        let mut look = || -> rusqlite::Result<()> {
            // One view of the file for all of them, and one lock instead of many.
            let view = self.connection.unchecked_transaction()?;
            let mut select = view.prepare("SELECT value FROM entries WHERE key = ?1")?;
            for (position, key) in keys.iter().enumerate() {
                let mut rows = select.query([key])?;
                if let Some(row) = rows.next()? {
                    found(position, row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
                }
            }
            Ok(())
        };
        look().map_err(|error| self.failed(&error))
    }

    /// Claims those of the entries that nobody has or computes.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn claim(&mut self, keys: &[Key]) -> Result<Vec<Claim>, CacheError> {
        let owner = match &self.owner {
            Some(owner) => owner.name.clone(),
            None => self.owner.insert(Owner::new(&self.owners)?).name.clone(),
        };
        let owners = &self.owners;
        let mut alive: HashMap<String, bool> = HashMap::new();
        let mut claim = || -> rusqlite::Result<Vec<Claim>> {
            let action = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut claims = Vec::with_capacity(keys.len());
            {
                let mut entry = action.prepare("SELECT 1 FROM entries WHERE key = ?1")?;
                let mut other = action.prepare("SELECT owner, since FROM claims WHERE key = ?1")?;
                let mut take = action
                    .prepare("INSERT OR REPLACE INTO claims (key, owner, since) VALUES (?1, ?2, ?3)")?;
                for key in keys {
                    if entry.exists([key])? {
                        claims.push(Claim::Present);
                        continue;
                    }
                    let held: Option<(String, u64)> =
                        other.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                    if let Some((name, since)) = held
                        && name != owner
                        && *alive.entry(name).or_insert_with_key(|name| {
                            lock_holder::is_alive(owners, name, now().saturating_sub(since))
                        })
                    {
                        claims.push(Claim::Theirs);
                        continue;
                    }
                    take.execute(params![key, owner, now()])?;
                    claims.push(Claim::Ours);
                }
            }
            action.commit()?;
            Ok(claims)
        };
        let outcome = claim();
        outcome.map_err(|error| self.failed(&error))
    }

    /// Adds entries and gives up the claims on them, all or nothing. One that is there already stays as it is.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn put<'a>(
        &mut self,
        space: Space,
        entries: impl IntoIterator<Item = (&'a Key, &'a [u8])>,
    ) -> Result<(), CacheError> {
        let put = || -> rusqlite::Result<()> {
            let action = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut insert = action
                    .prepare("INSERT OR IGNORE INTO entries (key, space, value) VALUES (?1, ?2, ?3)")?;
                let mut release = action.prepare("DELETE FROM claims WHERE key = ?1")?;
                for (key, value) in entries {
                    insert.execute(params![key, space.0, value])?;
                    release.execute([key])?;
                }
            }
            action.commit()
        };
        let outcome = put();
        outcome.map_err(|error| self.failed(&error))
    }

    /// Gives up claims without an entry, so that another process may try.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn release(&mut self, keys: &[Key]) -> Result<(), CacheError> {
        let Some(owner) = self.owner.as_ref().map(|owner| owner.name.clone()) else { return Ok(()) };
        let mut release = || -> rusqlite::Result<()> {
            let action = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut delete = action.prepare("DELETE FROM claims WHERE key = ?1 AND owner = ?2")?;
                for key in keys {
                    delete.execute(params![key, owner])?;
                }
            }
            action.commit()
        };
        let outcome = release();
        outcome.map_err(|error| self.failed(&error))
    }

    /// Removes entries, so that they are computed anew.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn remove(&mut self, keys: &[Key]) -> Result<(), CacheError> {
        let mut remove = || -> rusqlite::Result<()> {
            let action = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut delete = action.prepare("DELETE FROM entries WHERE key = ?1")?;
                for key in keys {
                    delete.execute([key])?;
                }
            }
            action.commit()
        };
        let outcome = remove();
        outcome.map_err(|error| self.failed(&error))
    }

    /// Bytes of the file on the disk, what waits to be merged into it included.
    pub fn bytes(&self) -> u64 {
        let size = |suffix: &str| {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            std::fs::metadata(name).map(|meta| meta.len()).unwrap_or(0)
        };
        size("") + size("-wal")
    }

    /// SQLite's own look at the file.
    #[cfg(test)]
    pub(super) fn check(&self) -> String {
        self.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
    }

    /// As if a space had been used last so many days ago.
    #[cfg(test)]
    pub(super) fn age(&self, space: &str, days: u64) {
        let used = now() - days * 86_400;
        self.connection.execute("UPDATE spaces SET used = ?1 WHERE name = ?2", params![used, space]).unwrap();
    }

    /// What is in it, the last used first.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn spaces(&self) -> Result<Vec<SpaceSize>, CacheError> {
        let sizes = || -> rusqlite::Result<Vec<SpaceSize>> {
            let mut select = self.connection.prepare(
                "SELECT name, count(entries.key), coalesce(sum(length(value)), 0), used
                 FROM spaces LEFT JOIN entries ON entries.space = spaces.id
                 GROUP BY spaces.id ORDER BY used DESC, name",
            )?;
            let today = now();
            let rows = select.query_map([], |row| {
                let used: u64 = row.get(3)?;
                Ok(SpaceSize {
                    name: row.get(0)?,
                    entries: row.get(1)?,
                    bytes: row.get(2)?,
                    days: today.saturating_sub(used) / 86_400,
                })
            })?;
            rows.collect()
        };
        sizes().map_err(|error| self.failed(&error))
    }

    /// Removes what no run used for so many days; returns how many entries went.
    pub(super) fn remove_unused(&mut self, days: u64) -> Result<u64, CacheError> {
        let before = now().saturating_sub(days * 86_400);
        let mut removed = 0;
        loop {
            let count = self
                .connection
                .execute(
                    "DELETE FROM entries WHERE rowid IN (
                         SELECT entries.rowid FROM entries JOIN spaces ON spaces.id = entries.space
                         WHERE used < ?1 LIMIT ?2)",
                    params![before, REMOVE],
                )
                .map_err(|error| self.failed(&error))? as u64;
            removed += count;
            if count < REMOVE {
                break;
            }
        }
        self.tidy()?;
        Ok(removed)
    }

    /// Removes entries until the file fits into `limit` bytes: of the space used longest ago, the oldest first.
    pub(super) fn shrink(&mut self, limit: u64) -> Result<u64, CacheError> {
        let mut removed = 0;
        self.tidy()?;
        while self.bytes() > limit {
            let remove = || -> rusqlite::Result<u64> {
                let entries: u64 =
                    self.connection.query_row("SELECT count(*) FROM entries", [], |row| row.get(0))?;
                // About what is over, so that not much more goes than must.
                let over = (self.bytes() - limit) as f64 / self.bytes().max(1) as f64;
                let count = ((entries as f64 * over).ceil() as u64).clamp(1, REMOVE);
                let gone = self.connection.execute(
                    "DELETE FROM entries WHERE rowid IN (
                         SELECT entries.rowid FROM entries JOIN spaces ON spaces.id = entries.space
                         ORDER BY used, entries.rowid LIMIT ?1)",
                    [count],
                )?;
                Ok(gone as u64)
            };
            let gone = remove().map_err(|error| self.failed(&error))?;
            removed += gone;
            self.tidy()?;
            if gone == 0 {
                break;
            }
        }
        Ok(removed)
    }

    /// Forgets spaces without entries and gives free pages back to the disk.
    fn tidy(&mut self) -> Result<(), CacheError> {
        let tidy = || -> rusqlite::Result<()> {
            // A run that has just begun may have a space and nothing in it yet.
            let begun = now().saturating_sub(7 * 86_400);
            let empty = "DELETE FROM spaces WHERE used < ?1 AND id NOT IN (SELECT space FROM entries)";
            self.connection.execute(empty, [begun])?;
            let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum")?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
            // Fails without harm while somebody reads.
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        tidy().map_err(|error| self.failed(&error))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if let Some(owner) = &self.owner {
            // Left behind, they would count for nothing: their owner is gone.
            let _ = self.connection.execute("DELETE FROM claims WHERE owner = ?1", [&owner.name]);
        }
    }
}

/// SQLite's errors in words that help.
fn translate(path: &Path, error: &rusqlite::Error) -> CacheError {
    let path = path.to_path_buf();
    let message = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => CacheError::Damaged { path, message },
        Some(ErrorCode::DiskFull) => {
            CacheError::Database { path, message, hint: "make room on the disk, or `wimhf cache prune`" }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => CacheError::Database {
            path,
            message,
            hint: "another process holds it for too long; wait for it or end it",
        },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            CacheError::Database {
                path,
                message,
                hint: "give yourself the right to write there, or name another folder with `WIMHF_CACHE_DIR`",
            }
        }
        _ => CacheError::Database { path, message, hint: "`wimhf cache clear` makes a new one" },
    }
}
