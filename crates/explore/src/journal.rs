//! What people decided: one row for each decision, kept at once and for good (SQLite, write-ahead log, synchronous). A decision
//! has an id that its page made, so sending it twice does not double it; nothing is ever deleted, undone rows are marked.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use crate::error::ExploreError;

/// Longest name of a person, id and word.
const LONGEST: usize = 200;
/// How long to wait for another program that writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// What may be decided about a label.
pub const DECISIONS: [&str; 6] = ["accept", "reject", "flip", "drop", "tie", "skip"];
/// What may be said of a description.
pub const ANSWERS: [&str; 5] = ["first", "second", "both", "neither", "unsure"];

/// A decision about a label, as a page sends it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// Made by the page, once.
    pub id: String,
    /// Who.
    pub reviewer: String,
    /// The pair.
    pub pair_id: String,
    /// Row of the source, from 0.
    pub row: u32,
    /// One of [`DECISIONS`].
    pub decision: String,
}

/// A kept decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its place in the journal.
    pub seq: i64,
    /// Who.
    pub reviewer: String,
    /// The pair.
    pub pair_id: String,
    /// Row of the source.
    pub row: u32,
    /// One of [`DECISIONS`].
    pub decision: String,
    /// When, UTC.
    pub time: String,
}

/// What somebody said of a description, as a page sends it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Made by the page, once.
    pub id: String,
    /// Who.
    pub rater: String,
    /// The feature.
    pub feature: String,
    /// The pair.
    pub pair_id: String,
    /// One of [`ANSWERS`].
    pub answer: String,
}

/// A kept verdict, the last of its rater on this feature and pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Who.
    pub rater: String,
    /// The feature.
    pub feature: String,
    /// The pair.
    pub pair_id: String,
    /// One of [`ANSWERS`]: as it was shown, first and second are not A and B.
    pub answer: String,
    /// When, UTC.
    pub time: String,
}

/// The journal of a run.
pub struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

enum State {
    Closed,
    Open(Box<Connection>),
    ReadOnly(String),
}

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS decisions (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, reviewer TEXT NOT NULL, pair_id TEXT NOT NULL,
  row INTEGER NOT NULL, decision TEXT NOT NULL, time TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  undone_by TEXT UNIQUE);
CREATE INDEX IF NOT EXISTS by_reviewer ON decisions (reviewer, seq);
CREATE TABLE IF NOT EXISTS verdicts (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, rater TEXT NOT NULL, feature TEXT NOT NULL,
  pair_id TEXT NOT NULL, answer TEXT NOT NULL, time TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')));
PRAGMA user_version = 1;";

impl Journal {
    /// The journal in a folder; the file is made with the first decision.
    pub fn open(folder: &Path) -> Self {
        let path = folder.join("decisions.sqlite");
        let journal = Self { path, state: Mutex::new(State::Closed) };
        if !may_write(folder) {
            *journal.lock() = State::ReadOnly("the run's folder cannot be written to".to_owned());
        }
        journal
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing can be kept.
    pub fn is_read_only(&self) -> bool {
        matches!(*self.lock(), State::ReadOnly(_))
    }

    fn wrong(&self, source: rusqlite::Error) -> ExploreError {
        ExploreError::Database { path: self.path.display().to_string(), source }
    }

    /// Lets `work` at the database; makes it where `write`, and says `None` where there is none otherwise.
    fn with<T>(
        &self,
        write: bool,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, ExploreError> {
        let mut state = self.lock();
        if let State::ReadOnly(why) = &*state {
            return if write { Err(ExploreError::ReadOnly(why.clone())) } else { Ok(None) };
        }
        if matches!(*state, State::Closed) {
            if !write && !self.path.exists() {
                return Ok(None);
            }
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)
                    .map_err(|source| ExploreError::File { path: folder.display().to_string(), source })?;
            }
            let connection = Connection::open(&self.path).map_err(|error| self.wrong(error))?;
            let ready = || -> rusqlite::Result<()> {
                connection.busy_timeout(PATIENCE)?;
                connection.pragma_update(None, "journal_mode", "WAL")?;
                // What was answered "saved" survives a power cut, too.
                connection.pragma_update(None, "synchronous", "FULL")?;
                connection.execute_batch(TABLES)
            };
            ready().map_err(|error| self.wrong(error))?;
            *state = State::Open(Box::new(connection));
        }
        match &mut *state {
            State::Open(connection) => work(connection).map(Some).map_err(|error| self.wrong(error)),
            State::Closed | State::ReadOnly(_) => Ok(None),
        }
    }

    /// Keeps a decision; the same id a second time is the first. Its place.
    ///
    /// # Errors
    /// Where it says nothing, or nothing can be written.
    pub fn decide(&self, decided: &Decided) -> Result<i64, ExploreError> {
        check("id", &decided.id)?;
        check("reviewer", &decided.reviewer)?;
        one_of("decision", &decided.decision, &DECISIONS)?;
        let seq = self.with(true, |connection| {
            connection.execute(
                "INSERT INTO decisions (id, reviewer, pair_id, row, decision) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO NOTHING",
                params![decided.id, decided.reviewer.trim(), decided.pair_id, decided.row, decided.decision],
            )?;
            connection.query_row("SELECT seq FROM decisions WHERE id = ?1", [&decided.id], |row| row.get(0))
        })?;
        Ok(seq.unwrap_or_default())
    }

    /// Takes the reviewer's last decision back; the same id a second time takes nothing more. What was taken back.
    ///
    /// # Errors
    /// Where nothing can be written.
    pub fn undo(&self, id: &str, reviewer: &str) -> Result<Option<Kept>, ExploreError> {
        check("id", id)?;
        check("reviewer", reviewer)?;
        let done = self.with(true, |connection| {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let known =
                "SELECT seq, reviewer, pair_id, row, decision, time FROM decisions WHERE undone_by = ?1";
            if let Some(kept) = change.query_row(known, [id], kept).optional()? {
                return Ok(Some(kept));
            }
            change.execute(
                "UPDATE decisions SET undone_by = ?1 WHERE seq =
                   (SELECT max(seq) FROM decisions WHERE reviewer = ?2 AND undone_by IS NULL)",
                params![id, reviewer.trim()],
            )?;
            let undone = change.query_row(known, [id], kept).optional()?;
            change.commit()?;
            Ok(undone)
        })?;
        Ok(done.flatten())
    }

    /// What counts: the last decision of each reviewer about each label that was not taken back, in their order.
    ///
    /// # Errors
    /// Where the file is damaged.
    pub fn decisions(&self) -> Result<Vec<Kept>, ExploreError> {
        let found = self.with(false, |connection| {
            let mut statement = connection.prepare(
                "SELECT max(seq), reviewer, pair_id, row, decision, time FROM decisions WHERE undone_by IS NULL
                 GROUP BY reviewer, pair_id, row ORDER BY max(seq)",
            )?;
            statement.query_map([], kept)?.collect()
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Keeps a verdict; the same id a second time is the first.
    ///
    /// # Errors
    /// Where it says nothing, or nothing can be written.
    pub fn judge(&self, verdict: &Verdict) -> Result<(), ExploreError> {
        check("id", &verdict.id)?;
        check("rater", &verdict.rater)?;
        one_of("answer", &verdict.answer, &ANSWERS)?;
        self.with(true, |connection| {
            connection.execute(
                "INSERT INTO verdicts (id, rater, feature, pair_id, answer) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO NOTHING",
                params![verdict.id, verdict.rater.trim(), verdict.feature, verdict.pair_id, verdict.answer],
            )
        })?;
        Ok(())
    }

    /// The last verdict of each rater on each feature and pair.
    ///
    /// # Errors
    /// Where the file is damaged.
    pub fn verdicts(&self) -> Result<Vec<Said>, ExploreError> {
        let found = self.with(false, |connection| {
            let mut statement = connection.prepare(
                "SELECT max(seq), rater, feature, pair_id, answer, time FROM verdicts
                 GROUP BY rater, feature, pair_id ORDER BY max(seq)",
            )?;
            let said = |row: &rusqlite::Row<'_>| {
                Ok(Said {
                    rater: row.get(1)?,
                    feature: row.get(2)?,
                    pair_id: row.get(3)?,
                    answer: row.get(4)?,
                    time: row.get(5)?,
                })
            };
            statement.query_map([], said)?.collect()
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Lets `work` write a file of the run's while nobody else does, in this server or another one.
    ///
    /// # Errors
    /// Where nothing can be written, or what `work` returns.
    pub fn alone<T>(&self, work: impl FnOnce() -> Result<T, ExploreError>) -> Result<T, ExploreError> {
        let done = self.with(true, |connection| {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work();
            change.commit()?;
            Ok(done)
        })?;
        done.unwrap_or_else(|| {
            Err(ExploreError::ReadOnly("the run's folder cannot be written to".to_owned()))
        })
    }
}

fn kept(row: &rusqlite::Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        seq: row.get(0)?,
        reviewer: row.get(1)?,
        pair_id: row.get(2)?,
        row: row.get(3)?,
        decision: row.get(4)?,
        time: row.get(5)?,
    })
}

/// Whether files can be made in the folder, or in the nearest one above that is there.
fn may_write(folder: &Path) -> bool {
    let there = folder.ancestors().find(|folder| folder.is_dir());
    let Some(there) = there else { return false };
    // Rights are no proof: a disk may be mounted for reading only, and root may write where nobody can.
    let probe = there.join(format!(".wimhf-probe-{}", std::process::id()));
    let made = std::fs::File::create(&probe).is_ok();
    let _ = std::fs::remove_file(&probe);
    made
}

fn check(what: &str, text: &str) -> Result<(), ExploreError> {
    if text.trim().is_empty() || text.chars().count() > LONGEST {
        return Err(ExploreError::asked(format!("`{what}` must have 1 to {LONGEST} characters"), ""));
    }
    Ok(())
}

fn one_of(what: &str, word: &str, words: &[&str]) -> Result<(), ExploreError> {
    if words.contains(&word) {
        return Ok(());
    }
    Err(ExploreError::asked(format!("`{what}` is one of {}", words.join(", ")), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(id: &str, reviewer: &str, row: u32, decision: &str) -> Decided {
        let text = |text: &str| text.to_owned();
        Decided {
            id: text(id),
            reviewer: text(reviewer),
            pair_id: format!("p{row}"),
            row,
            decision: text(decision),
        }
    }

    #[test]
    fn a_decision_is_kept_once_and_undone_once() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("explore"));
        assert!(journal.decisions().unwrap().is_empty());
        assert!(!folder.path().join("explore").exists(), "looking makes nothing");
        let seq = journal.decide(&decided("1", "anna", 3, "accept")).unwrap();
        assert_eq!(journal.decide(&decided("1", "anna", 3, "accept")).unwrap(), seq);
        journal.decide(&decided("2", "anna", 4, "drop")).unwrap();
        journal.decide(&decided("3", "ben", 4, "reject")).unwrap();
        // A change of mind: the last one counts.
        journal.decide(&decided("4", "anna", 3, "reject")).unwrap();
        let words = |journal: &Journal| -> Vec<String> {
            journal
                .decisions()
                .unwrap()
                .iter()
                .map(|one| format!("{} {} {}", one.reviewer, one.row, one.decision))
                .collect()
        };
        assert_eq!(words(&journal), ["anna 4 drop", "ben 4 reject", "anna 3 reject"]);
        let undone = journal.undo("u1", "anna").unwrap().unwrap();
        assert_eq!((undone.row, undone.decision.as_str()), (3, "reject"));
        // The answer was lost and asked for again: nothing more is taken back.
        assert_eq!(journal.undo("u1", "anna").unwrap().unwrap(), undone);
        assert_eq!(words(&journal), ["anna 3 accept", "anna 4 drop", "ben 4 reject"]);
        // Another server on the same run sees the same.
        let other = Journal::open(&folder.path().join("explore"));
        other.decide(&decided("5", "ben", 9, "skip")).unwrap();
        assert_eq!(words(&journal), words(&other));
        assert!(journal.undo("u2", "nobody").unwrap().is_none());
        for wrong in [decided("", "a", 1, "drop"), decided("9", " ", 1, "drop"), decided("9", "a", 1, "burn")]
        {
            assert!(journal.decide(&wrong).is_err());
        }
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let servers = [Journal::open(folder.path()), Journal::open(folder.path())];
        std::thread::scope(|scope| {
            for (at, server) in servers.iter().enumerate() {
                scope.spawn(move || {
                    for row in 0..100 {
                        server
                            .decide(&decided(&format!("{at}-{row}"), &format!("r{at}"), row, "accept"))
                            .unwrap();
                        if row % 10 == 9 {
                            server.undo(&format!("u{at}-{row}"), &format!("r{at}")).unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(servers[0].decisions().unwrap().len(), 180);
    }

    #[test]
    fn where_nothing_can_be_written_that_is_said() {
        let journal = Journal::open(Path::new("/proc/no/such/folder"));
        assert!(journal.is_read_only());
        assert!(journal.decisions().unwrap().is_empty());
        assert!(matches!(journal.decide(&decided("1", "a", 1, "drop")), Err(ExploreError::ReadOnly(_))));
    }
}
