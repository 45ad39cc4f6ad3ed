//! Rows of CSV and TSV by their bytes, in the dialect that they were read in.

use super::changes::Target;
use super::edit::TextEdit;
use crate::pairs::dialect::{Dialect, Record};
use crate::pairs::pieces::Parts;

/// Where the columns stand that a change touches.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// Pairs that change places in a flipped row.
    swaps: Vec<(usize, usize)>,
    label: Option<usize>,
    /// How many there are.
    width: usize,
}

impl Columns {
    /// Found by name in the header.
    pub fn new(head: &[u8], dialect: Dialect, target: &Target) -> Self {
        let (_, header, _) = header(head, dialect);
        let names: Vec<String> = spans(header, dialect)
            .iter()
            .map(|&(from, to)| dialect.value(&header[from..to]).unwrap_or_default().trim().to_owned())
            .collect();
        let find = |name: &str| names.iter().position(|other| other == name);
        let swaps = target.swaps.iter();
        Self {
            swaps: swaps.filter_map(|(first, second)| find(first).zip(find(second))).collect(),
            label: target.label.as_deref().and_then(find),
            width: names.len(),
        }
    }
}

/// The records that hold something.
fn records(bytes: &[u8], dialect: Dialect) -> Vec<(usize, Record)> {
    let (mut at, mut found) = (dialect.start, Vec::new());
    while let Some(record) = dialect.record(bytes, at) {
        let from = std::mem::replace(&mut at, record.next);
        if !record.is_blank() {
            found.push((from, record));
        }
    }
    found
}

/// Header and rows; empty lines belong to what is before them.
pub(super) fn split(bytes: &[u8], dialect: Dialect) -> Parts<'_> {
    let records = records(bytes, dialect);
    let Some((_, rows)) = records.split_first() else { return Parts { head: bytes, rows: Vec::new() } };
    let next = |index: usize| rows.get(index).map_or(bytes.len(), |(from, _)| *from);
    Parts {
        head: &bytes[..next(0)],
        rows: (rows.iter().enumerate())
            .map(|(index, (from, record))| (&bytes[*from..record.end], &bytes[record.end..next(index + 1)]))
            .collect(),
    }
}

/// Byte order mark, preamble and empty lines; header; line end.
fn header(head: &[u8], dialect: Dialect) -> (&[u8], &[u8], &[u8]) {
    match records(head, dialect).first() {
        Some((from, record)) => (&head[..*from], &head[*from..record.end], &head[record.end..]),
        None => (head, b"", b""),
    }
}

/// Where the fields of a row lie.
fn spans(row: &[u8], dialect: Dialect) -> Vec<(usize, usize)> {
    dialect.record(row, 0).map(|record| record.fields).unwrap_or_default()
}

/// The header with further names.
pub(super) fn add_names(head: &[u8], dialect: Dialect, added: &[&str]) -> Vec<u8> {
    let (before, names, after) = header(head, dialect);
    let mut out = [before, names].concat();
    for name in added {
        out.push(dialect.separator);
        out.extend_from_slice(name.as_bytes());
    }
    // A file that is only a header may lack its line end.
    out.extend_from_slice(after);
    out
}

/// A row with changed fields in place and the new ones at its end.
pub(super) fn edit(
    row: &[u8],
    dialect: Dialect,
    columns: &Columns,
    edit: &TextEdit<'_>,
) -> Result<Vec<u8>, String> {
    let spans = spans(row, dialect);
    if spans.len() != columns.width {
        return Err(format!("{} fields where the header has {}", spans.len(), columns.width));
    }
    let mut fields: Vec<Vec<u8>> = spans.iter().map(|&(from, to)| row[from..to].to_vec()).collect();
    let mut original = b"1".to_vec();
    match columns.label {
        Some(label) => {
            original = fields.get(label).cloned().unwrap_or_default();
            if let Some(turned) = edit.label(&dialect.value(&original).unwrap_or_default())? {
                let field = dialect.field(&turned, &original);
                if let Some(slot) = fields.get_mut(label) {
                    *slot = field;
                }
            }
        }
        None if edit.flips() => {
            for &(first, second) in &columns.swaps {
                if first.max(second) < fields.len() {
                    fields.swap(first, second);
                    original = b"0".to_vec();
                }
            }
        }
        None => {}
    }
    fields.push(original);
    fields.push(edit.action().as_bytes().to_vec());
    fields.push(dialect.field(edit.rule(), b""));
    fields.push(edit.score().into_bytes());
    if let Some(weight) = edit.weight {
        fields.push(format!("{weight:?}").into_bytes());
    }
    Ok(fields.join(&dialect.separator))
}

/// A row without its last `count` fields.
pub(super) fn strip(row: &[u8], dialect: Dialect, count: usize) -> Option<Vec<u8>> {
    let spans = spans(row, dialect);
    let keep = spans.len().checked_sub(count)?.checked_sub(1)?;
    Some(row[..spans[keep].1].to_vec())
}

/// The header without its last `count` names.
pub(super) fn strip_names(head: &[u8], dialect: Dialect, count: usize) -> Option<Vec<u8>> {
    let (before, names, after) = header(head, dialect);
    Some([before, &strip(names, dialect, count)?, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_bytes_between_line_ends_outside_quotes() {
        let bytes = b"\xef\xbb\xbfa,b\r\n\r\n1,\"x\r\ny\"\r\n\r\n2,\"q\"\"\n\"\n3,z";
        let dialect = Dialect { start: 3, ..Dialect::plain(b',') };
        let parts = split(bytes, dialect);
        assert_eq!(parts.head, b"\xef\xbb\xbfa,b\r\n\r\n");
        let rows: Vec<&[u8]> = parts.rows.iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [&b"1,\"x\r\ny\""[..], b"2,\"q\"\"\n\"", b"3,z"]);
        assert_eq!(parts.rows[0].1, b"\r\n\r\n");
        let whole: Vec<u8> = std::iter::once(parts.head)
            .chain(parts.rows.iter().flat_map(|&(row, tail)| [row, tail]))
            .collect::<Vec<_>>()
            .concat();
        assert_eq!(whole, bytes);
        assert_eq!(add_names(parts.head, dialect, &["c"]), b"\xef\xbb\xbfa,b,c\r\n\r\n");
        assert_eq!(dialect.value(b"\"q\"\"\n\"").unwrap(), "q\"\n");
    }
}
