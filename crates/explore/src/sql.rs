//! Read-only SQL over a run's tables: in memory, so that nothing can be written, with limits on time and rows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::error::ExploreError;
use crate::opened::Opened;

/// Rows of an answer.
const ROWS: usize = 200;
/// Longest query.
const LONGEST: usize = 4_000;
/// Time that a query may take.
const TIME: Duration = Duration::from_secs(3);
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;
/// Characters of a cell.
const CELL: usize = 2_000;
/// Pairs up to which presence is a table: of more it would not fit.
const PRESENCE: usize = 300_000;

/// What the tables are, for whoever writes a query.
pub const SCHEMA: &str = "features(feature_id, source, description, short, statement, rank, speaks, prevalence, win, win_low, win_high, n, p_corrected) \
one row per feature, win = how much more often the side with it wins (share, -1 to 1); \
pairs(pair, pair_id, side, label, labels, words_more_in_a, probability) label = mean preference for A (1, 0, .5 tie, NULL none); \
labels(pair, row, label, annotator); presence(pair, feature_id, side) where a feature tells the responses apart, side = 'A' or 'B'";

/// The tables of a run.
#[derive(Default)]
pub struct Tables {
    made: OnceLock<Result<Mutex<Connection>, String>>,
    /// When the query that runs must end, in milliseconds since `began`.
    clock: Arc<Clock>,
}

struct Clock {
    began: Instant,
    until: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { began: Instant::now(), until: AtomicU64::new(u64::MAX) }
    }
}

impl Clock {
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

impl Tables {
    /// The answer to a query: columns and at most [`ROWS`] rows.
    ///
    /// # Errors
    /// Where the query does anything but read, is wrong, or takes too long.
    pub fn ask(&self, opened: &Opened, query: &str) -> Result<Value, ExploreError> {
        if query.len() > LONGEST {
            return Err(ExploreError::asked(format!("a query has at most {LONGEST} characters"), ""));
        }
        // Both must be there before the tables are: they are part of them.
        opened.presence()?;
        opened.chances()?;
        let made = self
            .made
            .get_or_init(|| fill(opened, &self.clock).map(Mutex::new).map_err(|error| error.to_string()));
        let connection = made.as_ref().map_err(|error| ExploreError::asked(error.clone(), ""))?;
        let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        self.clock.until.store(self.clock.now() + TIME.as_millis() as u64, Ordering::Relaxed);
        let answer = run(&connection, query);
        self.clock.until.store(u64::MAX, Ordering::Relaxed);
        answer.map_err(|error| {
            let late = matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::OperationInterrupted));
            let hint = if late {
                "it took longer than three seconds: narrow it".to_owned()
            } else {
                format!("the tables are: {SCHEMA}")
            };
            ExploreError::asked(format!("the query cannot be answered: {error}"), hint)
        })
    }
}

fn run(connection: &Connection, query: &str) -> rusqlite::Result<Value> {
    let mut statement = connection.prepare(query)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let width = names.len();
    let mut rows = statement.query([])?;
    let (mut found, mut more) = (Vec::new(), false);
    while let Some(row) = rows.next()? {
        if found.len() == ROWS {
            more = true;
            break;
        }
        let cells: rusqlite::Result<Vec<Value>> = (0..width).map(|at| Ok(cell(row.get_ref(at)?))).collect();
        found.push(cells?);
    }
    Ok(json!({"columns": names, "rows": found, "more": more}))
}

fn cell(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            match text.char_indices().nth(CELL) {
                Some((end, _)) => format!("{}…", &text[..end]).into(),
                None => text.into_owned().into(),
            }
        }
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()).into(),
    }
}

/// Only reading is allowed, whatever the query says.
fn only_reading(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Function { function_name }
            if !matches!(function_name, "load_extension" | "randomblob" | "zeroblob") =>
        {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }
}

fn fill(opened: &Opened, clock: &Arc<Clock>) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    connection.execute_batch(
        "CREATE TABLE features (feature_id TEXT PRIMARY KEY, source TEXT, description TEXT, short TEXT, statement TEXT, rank INTEGER,
           speaks INTEGER, prevalence REAL, win REAL, win_low REAL, win_high REAL, n INTEGER, p_corrected REAL);
         CREATE TABLE pairs (pair INTEGER PRIMARY KEY, pair_id TEXT, side TEXT, label REAL, labels INTEGER, words_more_in_a REAL, probability REAL);
         CREATE TABLE labels (pair INTEGER, row INTEGER, label REAL, annotator TEXT);
         CREATE TABLE presence (feature_id TEXT, pair INTEGER, side TEXT);",
    )?;
    let change = connection.transaction()?;
    insert_features(&change, opened)?;
    insert_pairs(&change, opened)?;
    insert_presence(&change, opened)?;
    change.commit()?;
    connection.execute_batch(
        "CREATE INDEX by_pair ON labels (pair); CREATE INDEX by_feature ON presence (feature_id, pair); PRAGMA query_only = ON;",
    )?;
    let clock = clock.clone();
    connection.progress_handler(STEPS, Some(move || clock.now() > clock.until.load(Ordering::Relaxed)))?;
    connection.authorizer(Some(only_reading))?;
    Ok(connection)
}

fn insert_features(change: &Connection, opened: &Opened) -> rusqlite::Result<()> {
    let mut insert = change.prepare("INSERT INTO features VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)")?;
    for &at in &opened.order {
        let (own, win, principle) = (&opened.run.features[at], opened.win(at), opened.principle(at));
        insert.execute(params![
            own.feature_id,
            own.source.name(),
            own.words(),
            own.short,
            principle.map(|principle| &principle.statement),
            principle.map(|principle| principle.rank as i64),
            own.speaks(),
            opened.effect(at).map(|row| row.prevalence),
            win.map(|win| win.value),
            win.map(|win| win.low),
            win.map(|win| win.high),
            win.map(|win| win.n as i64),
            opened.run.effects.corrected(at),
        ])?;
    }
    Ok(())
}

fn insert_pairs(change: &Connection, opened: &Opened) -> rusqlite::Result<()> {
    let (pairs, sides) = (&opened.source.pairs, &opened.source.sides);
    let chances = opened.chances().ok().flatten();
    let mut insert = change.prepare("INSERT INTO pairs VALUES (?,?,?,?,?,?,?)")?;
    for (at, (label, labels)) in opened.labels.iter().enumerate() {
        insert.execute(params![
            at as i64,
            pairs.pair_id[at],
            sides.get(at).map(|side| side.name()),
            (!label.is_nan()).then_some(label),
            labels,
            pairs.length_delta[at],
            chances.map(|chances| chances[at]),
        ])?;
    }
    let judgements = &pairs.judgements;
    let mut insert = change.prepare("INSERT INTO labels VALUES (?,?,?,?)")?;
    for (at, pair) in judgements.pair.iter().enumerate() {
        let who = pairs.annotators.get(judgements.annotator[at] as usize).filter(|_| !opened.anonymise);
        let label = judgements.label[at];
        insert.execute(params![pair, judgements.row[at], (!label.is_nan()).then_some(label), who])?;
    }
    Ok(())
}

fn insert_presence(change: &Connection, opened: &Opened) -> rusqlite::Result<()> {
    let Ok(presence) = opened.presence() else { return Ok(()) };
    if opened.labels.len() > PRESENCE {
        return Ok(());
    }
    let mut insert = change.prepare("INSERT INTO presence VALUES (?,?,?)")?;
    for (at, own) in opened.run.features.iter().enumerate() {
        for (pair, is_b) in presence.pairs(at) {
            insert.execute(params![own.feature_id, pair, crate::pairs::side(is_b)])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> (Connection, Arc<Clock>) {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1), (2), (3);").unwrap();
        let clock = Arc::new(Clock::default());
        let own = clock.clone();
        connection
            .progress_handler(STEPS, Some(move || own.now() > own.until.load(Ordering::Relaxed)))
            .unwrap();
        connection.authorizer(Some(only_reading)).unwrap();
        (connection, clock)
    }

    #[test]
    fn reading_is_all_that_can_be_done() {
        let (connection, _) = tables();
        let found =
            run(&connection, "WITH two AS (SELECT x FROM t WHERE x > 1) SELECT count(*), sum(x) FROM two")
                .unwrap();
        assert_eq!(found["rows"], json!([[2, 5]]));
        for wrong in [
            "DELETE FROM t",
            "UPDATE t SET x = 0",
            "INSERT INTO t VALUES (9)",
            "DROP TABLE t",
            "CREATE TABLE u (y)",
            "ATTACH DATABASE '/tmp/wimhf-evil.sqlite' AS evil",
            "PRAGMA query_only = OFF",
            "PRAGMA writable_schema = 1",
            "VACUUM INTO '/tmp/wimhf-evil.sqlite'",
            "SELECT load_extension('x')",
            "BEGIN; DELETE FROM t",
            "REPLACE INTO t VALUES (1)",
            "ALTER TABLE t RENAME TO u",
            "SELECT 1; DROP TABLE t",
            "nonsense",
        ] {
            assert!(run(&connection, wrong).is_err(), "{wrong}");
        }
        assert_eq!(run(&connection, "SELECT sum(x) FROM t").unwrap()["rows"], json!([[6]]));
        assert!(!std::path::Path::new("/tmp/wimhf-evil.sqlite").exists());
    }

    #[test]
    fn what_never_ends_is_ended_and_long_answers_are_cut() {
        let (connection, clock) = tables();
        clock.until.store(clock.now() + 50, Ordering::Relaxed);
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        let error = run(&connection, endless).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::OperationInterrupted));
        clock.until.store(u64::MAX, Ordering::Relaxed);
        let many =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT i FROM n";
        let found = run(&connection, many).unwrap();
        assert_eq!((found["rows"].as_array().unwrap().len(), &found["more"]), (ROWS, &json!(true)));
    }
}
