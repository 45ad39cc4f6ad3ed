//! Full text of prompts and responses: SQLite's FTS5 over all pairs, made once per run and kept beside it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, params};

use crate::error::ExploreError;
use crate::opened::Opened;

/// Pairs of a search that are looked at: of more, the first (pairs stand in the order of hashes, so they are a sample).
pub const MOST: usize = 200_000;
/// Version of the index's form.
const VERSION: u32 = 1;
/// Rows between two looks at the clock.
const BATCH: usize = 1_000;

/// The index.
pub struct Search {
    connection: Mutex<Connection>,
    path: String,
    last: Mutex<Option<(String, Hits)>>,
}

/// Pairs in which the words stand.
#[derive(Debug, Clone, Default)]
pub struct Hits {
    /// In order.
    pub pairs: Vec<u32>,
    /// There are more.
    pub more: bool,
}

impl Search {
    /// The index of a run, from its folder or made now; in memory where nothing can be written.
    ///
    /// # Errors
    /// Where SQLite cannot write it.
    pub fn of(folder: &Path, opened: &Opened, done: impl Fn(f64)) -> Result<Self, ExploreError> {
        let path = folder.join("search.sqlite");
        let key = format!(
            "{VERSION} {} {} {}",
            opened.run.manifest.dataset.fingerprint,
            opened.labels.len(),
            opened.anonymise
        );
        let wrong = |source| ExploreError::Database { path: path.display().to_string(), source };
        if let Ok(kept) = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            && kept
                .query_row("SELECT key FROM made", [], |row| row.get::<_, String>(0))
                .is_ok_and(|own| own == key)
        {
            return Ok(Self::with(kept, &path));
        }
        // Written to a name of its own and renamed: a killed server leaves no half of an index, and two do not disturb
        // each other.
        let part = folder.join(format!(".search-{}.part", std::process::id()));
        let may_write =
            std::fs::create_dir_all(folder).is_ok() && sweep(folder) && std::fs::File::create(&part).is_ok();
        let mut connection = if may_write {
            Connection::open(&part).map_err(wrong)?
        } else {
            Connection::open_in_memory().map_err(wrong)?
        };
        fill(&mut connection, opened, &key, done).map_err(wrong)?;
        if !may_write {
            return Ok(Self::with(connection, &path));
        }
        drop(connection);
        std::fs::rename(&part, &path)
            .map_err(|source| ExploreError::File { path: path.display().to_string(), source })?;
        let kept = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(wrong)?;
        Ok(Self::with(kept, &path))
    }

    fn with(connection: Connection, path: &Path) -> Self {
        Self { connection: Mutex::new(connection), path: path.display().to_string(), last: Mutex::default() }
    }

    /// Pairs in which all words of `text` stand: plain words, "a phrase", prefix*.
    ///
    /// # Errors
    /// Where nothing can be looked for.
    pub fn find(&self, text: &str) -> Result<Hits, ExploreError> {
        self.matching(query(text)?)
    }

    /// Pairs in whose prompt any of these stands.
    ///
    /// # Errors
    /// Where nothing can be looked for.
    pub fn in_prompts(&self, any_of: &[&str]) -> Result<Hits, ExploreError> {
        let each: Result<Vec<String>, ExploreError> =
            any_of.iter().map(|text| Ok(format!("({})", query(text)?))).collect();
        self.matching(format!("prompt : ({})", each?.join(" OR ")))
    }

    fn matching(&self, query: String) -> Result<Hits, ExploreError> {
        {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((own, hits)) = last.as_ref()
                && *own == query
            {
                return Ok(hits.clone());
            }
        }
        let wrong = |source| ExploreError::Database { path: self.path.clone(), source };
        let mut pairs = Vec::new();
        {
            let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let mut statement =
                connection.prepare("SELECT rowid FROM texts WHERE texts MATCH ?1 LIMIT ?2").map_err(wrong)?;
            let mut rows = statement.query(params![query, (MOST + 1) as i64]).map_err(wrong)?;
            while let Some(row) = rows.next().map_err(wrong)? {
                pairs.push(row.get::<_, u32>(0).map_err(wrong)?);
            }
        }
        let more = pairs.len() > MOST;
        pairs.truncate(MOST);
        let hits = Hits { pairs, more };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((query, hits.clone()));
        Ok(hits)
    }
}

/// Removes what killed servers left.
fn sweep(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let of = name.strip_prefix(".search-").and_then(|rest| rest.strip_suffix(".part"));
        let lives = of.is_some_and(|id| Path::new("/proc").join(id).exists());
        if of.is_some() && !lives {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    true
}

fn fill(connection: &mut Connection, opened: &Opened, key: &str, done: impl Fn(f64)) -> rusqlite::Result<()> {
    // Made anew where it is not whole: nothing needs to be safe on the way.
    connection.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;
         CREATE TABLE made (key TEXT NOT NULL);
         CREATE VIRTUAL TABLE texts USING fts5(prompt, a, b, content='', tokenize=\"unicode61 remove_diacritics 2\");",
    )?;
    let pairs = &opened.source.pairs;
    let count = pairs.pair_id.len();
    let transaction = connection.transaction()?;
    {
        let mut insert =
            transaction.prepare("INSERT INTO texts(rowid, prompt, a, b) VALUES (?1, ?2, ?3, ?4)")?;
        for pair in 0..count {
            let text = |text: &str| opened.shown(text);
            insert.execute(params![
                pair as i64,
                text(pairs.prompt.get(pair)),
                text(pairs.response_a.get(pair)),
                text(pairs.response_b.get(pair))
            ])?;
            if pair.is_multiple_of(BATCH) {
                done(pair as f64 / count as f64);
            }
        }
        transaction.execute("INSERT INTO made(key) VALUES (?1)", [key])?;
    }
    transaction.commit()
}

/// What was typed as a query that has no syntax errors: every word quoted, phrases kept, a star at the end of a word kept.
///
/// # Errors
/// Where there is no word in it.
pub fn query(text: &str) -> Result<String, ExploreError> {
    let mut parts: Vec<String> = Vec::new();
    let has_word = |word: &str| word.chars().any(char::is_alphanumeric);
    for (at, piece) in text.split('"').enumerate() {
        // Every second piece stood between quotation marks.
        if at % 2 == 1 {
            if has_word(piece) {
                parts.push(format!("\"{}\"", piece.replace('\0', " ")));
            }
            continue;
        }
        for word in piece.split_whitespace() {
            let (word, star) = match word.strip_suffix('*') {
                Some(word) => (word, "*"),
                None => (word, ""),
            };
            if has_word(word) {
                parts.push(format!("\"{}\"{star}", word.replace('\0', " ")));
            }
        }
    }
    if parts.is_empty() {
        return Err(ExploreError::asked(
            "there is no word to look for",
            "type words that must all be there, \"a phrase\" or the beginning of a word with a star: disclaim*",
        ));
    }
    Ok(parts.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_typed_is_a_query() {
        assert_eq!(query("one two*").unwrap(), "\"one\" AND \"two\"*");
        assert_eq!(query("say \"I am sorry\" now").unwrap(), "\"say\" AND \"I am sorry\" AND \"now\"");
        assert_eq!(
            query("a AND (b OR NEAR").unwrap(),
            "\"a\" AND \"AND\" AND \"(b\" AND \"OR\" AND \"NEAR\""
        );
        assert!(query("  *** \"\" -- ").is_err());
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE VIRTUAL TABLE texts USING fts5(a, content='')").unwrap();
        connection
            .execute("INSERT INTO texts(rowid, a) VALUES (7, 'I am (b) sorry AND c++ col:umn')", [])
            .unwrap();
        let both = "a : ((\"sorry\") OR (\"x\" AND \"y\"))";
        assert_eq!(
            connection.query_row("SELECT rowid FROM texts WHERE texts MATCH ?1", [both], |row| row
                .get::<_, i64>(0)),
            Ok(7)
        );
        for typed in
            ["sorry", "SORRY", "(b", "c++", "col:umn", "^am", "\"am (b\"", "so*", "NOT:x* sorry\" -", "a\0m"]
        {
            let asked = query(typed).unwrap();
            let mut statement = connection.prepare("SELECT rowid FROM texts WHERE texts MATCH ?1").unwrap();
            assert!(
                statement.query_map([&asked], |row| row.get::<_, i64>(0)).unwrap().all(|row| row.is_ok()),
                "{asked}"
            );
        }
    }
}
