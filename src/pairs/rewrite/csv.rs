//! Rows of CSV and TSV by their bytes.

use super::Target;
use super::text::{Parts, TextEdit};

/// Where the columns stand that a change touches.
#[derive(Debug, Default)]
pub(super) struct Columns {
    first: Option<usize>,
    second: Option<usize>,
    label: Option<usize>,
}

impl Columns {
    /// Found by name in the header.
    pub fn new(head: &[u8], separator: u8, target: &Target) -> Self {
        let (_, header, _) = header(head);
        let names: Vec<String> =
            spans(header, separator).iter().map(|&(from, to)| value(&header[from..to])).collect();
        let find = |name: &str| names.iter().position(|other| other == name);
        Self {
            first: find(&target.first),
            second: find(&target.second),
            label: target.label.as_deref().and_then(find),
        }
    }
}

/// Where each line ends that is no part of a quoted field: a line holds one row.
fn lines(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => {
                found.push((start, at + 1));
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < bytes.len() {
        found.push((start, bytes.len()));
    }
    found
}

/// The line without its end.
fn content_end(bytes: &[u8], (from, to): (usize, usize)) -> usize {
    let mut end = to;
    if end > from && bytes[end - 1] == b'\n' {
        end -= 1;
        if end > from && bytes[end - 1] == b'\r' {
            end -= 1;
        }
    }
    end
}

/// Header and rows; empty lines belong to what is before them.
pub(super) fn split(bytes: &[u8]) -> Parts<'_> {
    let lines = lines(bytes);
    let full: Vec<(usize, usize)> =
        lines.iter().copied().filter(|&line| content_end(bytes, line) > line.0).collect();
    let Some((_, rows)) = full.split_first() else { return Parts { head: bytes, rows: Vec::new() } };
    let next = |index: usize| rows.get(index).map_or(bytes.len(), |&(from, _)| from);
    Parts {
        head: &bytes[..next(0)],
        rows: rows
            .iter()
            .enumerate()
            .map(|(index, &line)| {
                let end = content_end(bytes, line);
                (&bytes[line.0..end], &bytes[end..next(index + 1)])
            })
            .collect(),
    }
}

/// Byte order mark and empty lines, header, line end.
fn header(head: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let mark = if head.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
    let line = lines(&head[mark..])
        .into_iter()
        .map(|(from, to)| (from + mark, to + mark))
        .find(|&line| content_end(head, line) > line.0);
    let Some(line) = line else { return (head, b"", b"") };
    let end = content_end(head, line);
    (&head[..line.0], &head[line.0..end], &head[end..])
}

/// Where the fields of a row lie.
fn spans(row: &[u8], separator: u8) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, &byte) in row.iter().enumerate() {
        if byte == b'"' {
            quoted = !quoted;
        } else if byte == separator && !quoted {
            found.push((start, at));
            start = at + 1;
        }
    }
    found.push((start, row.len()));
    found
}

/// What a field says.
fn value(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.into_owned(),
    }
}

/// A field that says `text`; in quotation marks where `like` is or where it must be.
fn field(text: &str, separator: u8, like: &[u8]) -> Vec<u8> {
    let special = |byte: u8| byte == separator || matches!(byte, b'"' | b'\n' | b'\r');
    if like.starts_with(b"\"") || text.bytes().any(special) || text.starts_with([' ', '\t']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into_bytes()
    } else {
        text.as_bytes().to_vec()
    }
}

/// The header with further names.
pub(super) fn add_names(head: &[u8], separator: u8, added: &[&str]) -> Vec<u8> {
    let (before, names, after) = header(head);
    let mut out = [before, names].concat();
    for name in added {
        out.push(separator);
        out.extend_from_slice(name.as_bytes());
    }
    // A file that is only a header may lack its line end.
    out.extend_from_slice(after);
    out
}

/// A row with changed fields in place and the new ones at its end.
pub(super) fn edit(
    row: &[u8],
    separator: u8,
    columns: &Columns,
    edit: &TextEdit<'_>,
) -> Result<Vec<u8>, String> {
    let spans = spans(row, separator);
    let mut fields: Vec<Vec<u8>> = spans.iter().map(|&(from, to)| row[from..to].to_vec()).collect();
    let mut original = b"1".to_vec();
    match columns.label {
        Some(label) => {
            original = fields.get(label).cloned().unwrap_or_default();
            if let Some(turned) = edit.label(&value(&original))? {
                let field = field(&turned, separator, &original);
                if let Some(slot) = fields.get_mut(label) {
                    *slot = field;
                }
            }
        }
        None if edit.flips() => {
            if let (Some(first), Some(second)) = (columns.first, columns.second)
                && first.max(second) < fields.len()
            {
                fields.swap(first, second);
                original = b"0".to_vec();
            }
        }
        None => {}
    }
    fields.push(original);
    fields.push(edit.action().as_bytes().to_vec());
    fields.push(field(edit.rule(), separator, b""));
    fields.push(edit.score().into_bytes());
    if let Some(weight) = edit.weight {
        fields.push(format!("{weight:?}").into_bytes());
    }
    Ok(fields.join(&separator))
}

/// A row without its last `count` fields.
pub(super) fn strip(row: &[u8], separator: u8, count: usize) -> Option<Vec<u8>> {
    let spans = spans(row, separator);
    let keep = spans.len().checked_sub(count)?.checked_sub(1)?;
    Some(row[..spans[keep].1].to_vec())
}

/// The header without its last `count` names.
pub(super) fn strip_names(head: &[u8], separator: u8, count: usize) -> Option<Vec<u8>> {
    let (before, names, after) = header(head);
    Some([before, &strip(names, separator, count)?, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_bytes_between_line_ends_outside_quotes() {
        let bytes = b"\xef\xbb\xbfa,b\r\n\r\n1,\"x\r\ny\"\r\n\r\n2,\"q\"\"\n\"\n3,z";
        let parts = split(bytes);
        assert_eq!(parts.head, b"\xef\xbb\xbfa,b\r\n\r\n");
        let rows: Vec<&[u8]> = parts.rows.iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [&b"1,\"x\r\ny\""[..], b"2,\"q\"\"\n\"", b"3,z"]);
        assert_eq!(parts.rows[0].1, b"\r\n\r\n");
        let whole: Vec<u8> = std::iter::once(parts.head)
            .chain(parts.rows.iter().flat_map(|&(row, tail)| [row, tail]))
            .collect::<Vec<_>>()
            .concat();
        assert_eq!(whole, bytes);
        assert_eq!(add_names(parts.head, b',', &["c"]), b"\xef\xbb\xbfa,b,c\r\n\r\n");
        assert_eq!(value(b"\"q\"\"\n\""), "q\"\n");
    }
}
