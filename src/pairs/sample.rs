//! Of more pairs than fit: those whose texts have the lowest hashes, read piece by piece.
//!
//! Neither the order of the rows nor their division into files decides which these are, and rows with the same prompt and
//! the same two responses are taken or left together. No label is looked at.

use polars::prelude::*;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::error::PairsError;
use super::texts;

/// Rows that are in memory beside those that are kept.
pub(super) const PIECE: usize = 1 << 17;

/// Rows with the lowest keys, as they come.
pub(super) struct Sample<'a> {
    /// Pairs that are kept.
    most: usize,
    /// Columns of prompt and responses, the responses last.
    columns: &'a [String],
    /// How each kept row stands in the source, ascending.
    rows: Vec<u32>,
    /// `[kept rows]`
    keys: Vec<u64>,
    /// No row with a higher key is among the lowest.
    highest: u64,
    /// Rows that came.
    seen: usize,
    path: &'a str,
}

impl<'a> Sample<'a> {
    pub fn new(most: usize, columns: &'a [String], path: &'a str) -> Self {
        Self { most, columns, rows: Vec::new(), keys: Vec::new(), highest: u64::MAX, seen: 0, path }
    }

    /// Whether rows have come.
    pub fn has_begun(&self) -> bool {
        self.seen > 0
    }

    /// Whether so many rows may be more pairs than are kept.
    pub fn is_exceeded_by(&self, rows: usize) -> bool {
        rows > self.most
    }

    /// The rows of the next piece that may be among the lowest.
    pub fn of(&mut self, piece: &DataFrame) -> Result<DataFrame, PairsError> {
        let keys = keys(piece, self.columns, self.path)?;
        let stays: Vec<IdxSize> =
            (0..).zip(&keys).filter(|(_, key)| **key <= self.highest).map(|(at, _)| at).collect();
        let start = self.seen as u32;
        self.rows.extend(stays.iter().map(|&at| start + at));
        self.keys.extend(stays.iter().filter_map(|&at| keys.get(at as usize)));
        self.seen += piece.height();
        taken(piece, &stays, self.path)
    }

    /// Whether so many are kept that it pays to leave out what is no longer among the lowest.
    pub fn is_full(&self) -> bool {
        self.rows.len() > 2 * self.most
    }

    /// `kept`, all that [`Sample::of`] gave one below the other, without what is no longer among the lowest.
    pub fn lowest(&mut self, kept: &DataFrame) -> Result<DataFrame, PairsError> {
        let mut different = self.keys.clone();
        different.sort_unstable();
        different.dedup();
        if let Some(&highest) = self.most.checked_sub(1).and_then(|last| different.get(last)) {
            self.highest = highest;
        }
        let stays: Vec<IdxSize> =
            (0..).zip(&self.keys).filter(|(_, key)| **key <= self.highest).map(|(at, _)| at).collect();
        let rows = stays.iter().filter_map(|&at| self.rows.get(at as usize).copied()).collect();
        let keys = stays.iter().filter_map(|&at| self.keys.get(at as usize).copied()).collect();
        (self.rows, self.keys) = (rows, keys);
        taken(kept, &stays, self.path)
    }

    /// Where the kept rows stand in the source, ascending; `None` where they are all of them.
    pub fn rows(self) -> Option<Vec<u32>> {
        (self.rows.len() < self.seen).then_some(self.rows)
    }
}

/// Some rows of a table, ascending. Texts are copied: what a table shares with the piece it was cut from would keep all
/// of that in memory.
pub(super) fn taken(piece: &DataFrame, rows: &[IdxSize], path: &str) -> Result<DataFrame, PairsError> {
    let unexpected = |error: PolarsError| PairsError::Damaged {
        path: path.into(),
        format: "a table",
        detail: error.to_string(),
        hint: "write it again".into(),
    };
    let columns = (piece.columns().iter())
        .map(|column| {
            let Ok(text) = column.str() else { return column.take_slice(rows) };
            let mut copied = StringChunkedBuilder::new(column.name().clone(), rows.len());
            let whole = text.rechunk();
            rows.iter().for_each(|&row| copied.append_option(whole.get(row as usize)));
            Ok(copied.finish().into_column())
        })
        .collect::<PolarsResult<Vec<Column>>>()
        .map_err(unexpected)?;
    DataFrame::new(rows.len(), columns).map_err(unexpected)
}

/// The key of every row: which of its two responses stands first does not matter.
fn keys(piece: &DataFrame, columns: &[String], path: &str) -> Result<Vec<u64>, PairsError> {
    let mut sum = vec![0u64; piece.height()];
    let responses = columns.len().saturating_sub(2);
    for (place, name) in columns.iter().enumerate() {
        let Ok(column) = piece.column(name) else { continue };
        let text = match column.str() {
            Ok(text) => text.rechunk().into_owned(),
            Err(_) => texts::text(column, path)?,
        };
        // Responses count alike, what stands before them by its place.
        let weight = if place < responses { 2 * place as u64 + 3 } else { 1 };
        sum.par_iter_mut().enumerate().for_each(|(row, sum)| {
            let digest = Sha256::digest(text.get(row).unwrap_or_default().as_bytes());
            let key = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            *sum = sum.wrapping_add(key.wrapping_mul(weight));
        });
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: impl Iterator<Item = usize>) -> DataFrame {
        let rows: Vec<usize> = rows.collect();
        let text = |of: &dyn Fn(usize) -> String| rows.iter().map(|&row| of(row)).collect::<Vec<_>>();
        df!(
            "prompt" => text(&|row| format!("What is {}?", row / 3)),
            "a" => text(&|row| if row % 2 == 0 { format!("It is {row}.") } else { "No.".into() }),
            "b" => text(&|row| if row % 2 == 0 { "No.".into() } else { format!("It is {row}.") }),
            "row" => rows.iter().map(|&row| row as u32).collect::<Vec<_>>(),
        )
        .unwrap()
    }

    /// What is kept of pieces, by the value in `row`, and where it stood.
    fn kept(most: usize, pieces: &[DataFrame]) -> (Vec<u32>, Option<Vec<u32>>) {
        let columns = ["prompt", "a", "b"].map(str::to_owned);
        let mut sample = Sample::new(most, &columns, "test");
        let mut whole: Option<DataFrame> = None;
        for piece in pieces {
            let part = sample.of(piece).unwrap();
            let mut above = whole.map_or(part.clone(), |above| above.vstack(&part).unwrap());
            if sample.is_full() {
                above = sample.lowest(&above).unwrap();
            }
            whole = Some(above);
        }
        let whole = sample.lowest(&whole.unwrap()).unwrap();
        let found = whole.column("row").unwrap().u32().unwrap().iter().flatten().collect();
        (found, sample.rows())
    }

    #[test]
    fn the_same_pairs_are_kept_whatever_their_order_and_pieces() {
        let (mut one, rows) = kept(40, &[table(0..500)]);
        assert_eq!(one.len(), 40);
        assert_eq!(Some(&one), rows.as_ref());
        one.sort_unstable();
        let pieces: Vec<DataFrame> = (0..10).map(|at| table((at * 50..at * 50 + 50).rev())).collect();
        let (mut other, rows) = kept(40, &pieces);
        for (row, place) in other.iter().zip(rows.unwrap()) {
            assert_eq!(row / 50 * 50 + 49 - row % 50, place);
        }
        other.sort_unstable();
        assert_eq!(one, other);
    }

    #[test]
    fn all_labels_of_a_pair_are_kept_and_either_order_of_its_responses() {
        let columns = ["prompt", "a", "b"].map(str::to_owned);
        let one = table(0..200);
        let mut turned = one.clone();
        turned.rename("a", "c".into()).unwrap();
        turned.rename("b", "a".into()).unwrap();
        turned.rename("c", "b".into()).unwrap();
        assert_eq!(keys(&one, &columns, "test").unwrap(), keys(&turned, &columns, "test").unwrap());
        let turned = turned.select(["prompt", "a", "b", "row"]).unwrap();
        let (found, _) = kept(20, &[one, turned]);
        assert_eq!(found.len(), 40);
        assert_eq!(found[..20], found[20..]);
    }

    #[test]
    fn nothing_is_left_out_where_all_fit() {
        let (found, rows) = kept(500, &[table(0..500)]);
        assert_eq!((found.len(), rows), (500, None));
    }
}
