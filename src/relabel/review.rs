//! What a person decided about the candidates: the table that a review leaves, read back.
//!
//! A row names the label by `row` (of the source, from 0) and, where it has one, `pair_id`; `decision` says what is to be
//! done. Nothing is done about a row without a decision.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::decisions::{Decision, prefers_a};
use crate::pairs::Pairs;
use crate::pairs::rewrite::Action;
use crate::suggest::nearest;

/// What stands in the column `decision`.
pub const WORDS: [&str; 6] = ["accept", "reject", "flip", "drop", "tie", "weight"];

/// Why decisions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Not such a table.
    #[error(
        "`{path}` cannot be read as decisions: {message}\nhint: a CSV with the columns `row` and `decision`, such as `RUN/relabel/review.csv` or what its page saves"
    )]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A word that means nothing.
    #[error("`{path}`, line {line}: `{word}` is no decision\nhint: {hint}")]
    Word {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What stands there.
        word: String,
        /// What might be meant.
        hint: String,
    },
    /// A row of another dataset.
    #[error(
        "`{path}`, line {line}: {message}\nhint: decisions belong to the dataset of the run that they were made from"
    )]
    Row {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What does not fit.
        message: String,
    },
}

/// The decisions of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reviewed {
    /// What is to be changed, in the order of the rows.
    pub changes: Vec<Decision>,
    /// Rows whose label stays.
    pub rejected: usize,
    /// Rows without a decision.
    pub open: usize,
}

/// A row of the table.
struct Line {
    at: usize,
    cells: HashMap<String, String>,
}

impl Line {
    fn cell(&self, name: &str) -> &str {
        self.cells.get(name).map_or("", |cell| cell.trim())
    }
}

/// Reads the decisions in `path` about the labels of `pairs`.
///
/// # Errors
/// See [`ReviewError`].
pub fn read(path: &Path, pairs: &Pairs) -> Result<Reviewed, ReviewError> {
    let by_row = by_row(pairs);
    let mut found = Reviewed::default();
    let mut seen: HashMap<u32, usize> = HashMap::new();
    for line in lines(path)? {
        let word = line.cell("decision").to_lowercase();
        let action = match word.as_str() {
            "" => {
                found.open += 1;
                continue;
            }
            "reject" | "keep" | "no" => {
                found.rejected += 1;
                continue;
            }
            "accept" | "yes" => line.cell("action").parse().unwrap_or(Action::Flip),
            other => other.parse().map_err(|()| ReviewError::Word {
                path: path.into(),
                line: line.at,
                word: other.to_owned(),
                hint: match nearest(other, WORDS.iter().copied()) {
                    Some(near) => format!("`{near}`?"),
                    None => format!("one of {}, or nothing", WORDS.join(", ")),
                },
            })?,
        };
        let wrong = |message: String| ReviewError::Row { path: path.into(), line: line.at, message };
        let row = line.cell("row");
        let row: u32 = row.parse().map_err(|_| wrong(format!("`{row}` is no number of a row")))?;
        let id = line.cell("pair_id");
        let of_row =
            by_row.get(&row).ok_or_else(|| wrong(format!("the dataset has no label in row {row}")))?;
        let pair_of = |judgement: u32| pairs.judgements.pair[judgement as usize];
        let judgement = of_row
            .iter()
            .copied()
            .find(|&judgement| id.is_empty() || pairs.pair_id[pair_of(judgement) as usize] == id)
            .ok_or_else(|| wrong(format!("row {row} of the dataset has other texts")))?;
        if prefers_a(pairs.judgements.label[judgement as usize]).is_none() {
            return Err(wrong(format!("the label of row {row} is a tie or missing")));
        }
        if let Some(before) = seen.insert(judgement, line.at) {
            return Err(wrong(format!("row {row} is decided in line {before} already")));
        }
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        found.changes.push(Decision {
            judgement,
            pair: pair_of(judgement),
            action,
            rules: vec![or(line.cell("rule"), "review")],
            reason: or(line.cell("reason"), "decided by hand"),
            score: line.cell("score").parse().ok().filter(|s: &f64| (0.0..=1.0).contains(s)).unwrap_or(1.0),
        });
    }
    found.changes.sort_by_key(|decision| decision.judgement);
    Ok(found)
}

/// The judgements of each row: a row of ranked responses has several pairs.
fn by_row(pairs: &Pairs) -> HashMap<u32, Vec<u32>> {
    let mut by_row: HashMap<u32, Vec<u32>> = HashMap::new();
    for (judgement, &row) in pairs.judgements.row.iter().enumerate() {
        by_row.entry(row).or_default().push(judgement as u32);
    }
    by_row
}

/// What a table proposes, decided or not, in the order of its rows; nothing where there is none. Rows of other datasets are passed
/// over.
///
/// # Errors
/// Where a table is there and cannot be read.
pub fn proposals(path: &Path, pairs: &Pairs) -> Result<Vec<Decision>, ReviewError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let by_row = by_row(pairs);
    let proposal = |line: &Line| {
        let pair_of = |judgement: u32| pairs.judgements.pair[judgement as usize];
        let of_row = by_row.get(&line.cell("row").parse().ok()?)?.iter().copied();
        let same = |judgement: &u32| pairs.pair_id[pair_of(*judgement) as usize] == line.cell("pair_id");
        let judgement = of_row.into_iter().find(same)?;
        Some(Decision {
            judgement,
            pair: pair_of(judgement),
            action: line.cell("action").parse().unwrap_or(Action::Flip),
            rules: vec![line.cell("rule").to_owned()],
            reason: line.cell("reason").to_owned(),
            score: line.cell("score").parse().unwrap_or(1.0),
        })
    };
    Ok(lines(path)?.iter().filter_map(proposal).collect())
}

/// What was decided in an earlier table of the same run, by row and pair; nothing where there is none. Words that mean
/// the same are one.
///
/// # Errors
/// Where a table is there and cannot be read: it may hold decisions.
pub fn kept(path: &Path) -> Result<HashMap<(String, String), String>, ReviewError> {
    if !path.exists() {
        return Ok(HashMap::new());
    }
    let lines = lines(path)?;
    let decided = lines.iter().filter(|line| !line.cell("decision").is_empty());
    let key = |line: &Line| (line.cell("row").to_owned(), line.cell("pair_id").to_owned());
    let word = |line: &Line| match line.cell("decision").to_lowercase().as_str() {
        "keep" | "no" => "reject".to_owned(),
        "yes" => "accept".to_owned(),
        // The button for what is proposed.
        word if word == line.cell("action") => "accept".to_owned(),
        word => word.to_owned(),
    };
    Ok(decided.map(|line| (key(line), word(line))).collect())
}

fn lines(path: &Path) -> Result<Vec<Line>, ReviewError> {
    let wrong = |message: String| ReviewError::Table { path: path.into(), message };
    let bytes = crate::limits::read(path).map_err(|error| wrong(error.to_string()))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    // Spreadsheets of many countries save with semicolons, some with tabs.
    let head: &[u8] = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |sign: u8| head.iter().filter(|byte| **byte == sign).count();
    let delimiter = [b',', b';', b'\t'].into_iter().max_by_key(|sign| count(*sign)).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(bytes);
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(|name| name.trim().to_lowercase()).collect(),
        Err(error) => return Err(wrong(error.to_string())),
    };
    for needed in ["row", "decision"] {
        if !names.iter().any(|name| name == needed) {
            return Err(wrong(format!("it has no column `{needed}`")));
        }
    }
    let mut found = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| wrong(error.to_string()))?;
        let at = record.position().map_or(0, |position| position.line() as usize);
        let cells = names.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
        found.push(Line { at, cells });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::{ReadOptions, read as read_pairs};

    fn read_text(text: &str) -> Result<Reviewed, ReviewError> {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data.jsonl");
        let line = |at: usize, label: f64| {
            format!(
                "{{\"prompt\":\"p{at}\",\"response_A\":\"a{at}\",\"response_B\":\"b{at}\",\"label\":{label}}}\n"
            )
        };
        let lines: String = [1.0, 0.0, 0.5].iter().enumerate().map(|(at, label)| line(at, *label)).collect();
        std::fs::write(&data, lines).unwrap();
        let (pairs, _) = read_pairs(data.to_str().unwrap(), &ReadOptions::default()).unwrap();
        let path = folder.path().join("d.csv");
        std::fs::write(&path, text).unwrap();
        read(&path, &pairs)
    }

    #[test]
    fn decisions_are_read_as_people_and_spreadsheets_write_them() {
        let found = read_text(
            "\u{feff}row;decision;action;score;reason\r\n0;Accept;drop;0.7;because\r\n1; REJECT ;;;\r\n",
        )
        .unwrap();
        assert_eq!((found.changes.len(), found.rejected, found.open), (1, 1, 0));
        let first = &found.changes[0];
        assert_eq!((first.judgement, first.action, first.score), (0, Action::Drop, 0.7));
        assert_eq!(first.reason, "because");
        let found = read_text("decision,row\n,0\ntie,1\n").unwrap();
        assert_eq!((found.open, found.changes[0].action), (1, Action::Tie));
    }

    #[test]
    fn an_earlier_table_is_kept_or_refused_never_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("review.csv");
        assert!(kept(&path).unwrap().is_empty());
        std::fs::write(
            &path,
            "row,decision,pair_id,action\n3,YES,p,flip\n4,flip,q,flip\n5,keep,r,flip\n6,,s,flip\n",
        )
        .unwrap();
        let found = kept(&path).unwrap();
        let word = |row: &str, pair: &str| found.get(&(row.into(), pair.into())).map(String::as_str);
        assert_eq!(
            (word("3", "p"), word("4", "q"), word("5", "r")),
            (Some("accept"), Some("accept"), Some("reject"))
        );
        assert_eq!(found.len(), 3);
        std::fs::write(&path, "something else\n").unwrap();
        assert!(kept(&path).is_err());
    }

    #[test]
    fn what_a_table_proposes_is_read_whether_decided_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data.jsonl");
        std::fs::write(&data, "{\"prompt\":\"p\",\"response_A\":\"a\",\"response_B\":\"b\",\"label\":1}\n")
            .unwrap();
        let (pairs, _) = read_pairs(data.to_str().unwrap(), &ReadOptions::default()).unwrap();
        let table = folder.path().join("review.csv");
        assert!(proposals(&table, &pairs).unwrap().is_empty());
        let id = &pairs.pair_id[0];
        let text = format!(
            "row;decision;pair_id;action;score;rule;reason\n0;reject;{id};drop;.7;safety;why\n0;;other;flip;.9;safety;x\n9;;{id};flip;.9;s;x\n"
        );
        std::fs::write(&table, text).unwrap();
        let found = proposals(&table, &pairs).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].judgement, found[0].action, found[0].score), (0, Action::Drop, 0.7));
        assert_eq!((found[0].rules[0].as_str(), found[0].reason.as_str()), ("safety", "why"));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_line() {
        let said = |text: &str| read_text(text).unwrap_err().to_string();
        assert!(
            said("row,decision\n0,flipp\n").contains("line 2: `flipp`"),
            "{}",
            said("row,decision\n0,flipp\n")
        );
        assert!(said("row,decision\n0,flipp\n").contains("`flip`?"));
        assert!(said("row,decision\n9,flip\n").contains("no label in row 9"));
        assert!(said("row,decision\nx,flip\n").contains("no number"));
        assert!(said("row,decision\n2,flip\n").contains("tie"));
        assert!(said("row,decision,pair_id\n0,flip,other\n").contains("other texts"));
        assert!(said("row,decision\n0,flip\n0,drop\n").contains("line 2 already"));
        assert!(said("a,b\n1,2\n").contains("no column `row`"));
    }
}
