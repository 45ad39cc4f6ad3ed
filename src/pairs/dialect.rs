//! CSV as it comes: separators, quotation marks, line ends and preambles; rows and fields by their bytes.

use std::borrow::Cow;

/// How a text of separated fields is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Dialect {
    /// Between fields.
    pub separator: u8,
    /// How fields are quoted.
    pub quotes: Quotes,
    /// Lines end with a carriage return alone.
    pub cr: bool,
    /// Bytes before the header: byte order mark and a `sep=` line.
    pub start: usize,
}

/// How quotation marks are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Quotes {
    /// A field may be quoted; a quotation mark in it is doubled.
    Doubled,
    /// A field may be quoted; a quotation mark in it has a backslash before it.
    Backslash,
    /// They are signs like any other.
    Literal,
}

/// A record: where its fields lie, where it ends, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// From and to of every field, quotation marks included.
    pub fields: Vec<(usize, usize)>,
    /// Without the line end.
    pub end: usize,
    /// Behind the line end.
    pub next: usize,
    /// A quoted field goes on behind its closing mark, or is never closed.
    pub broken: bool,
    /// A quotation mark stands inside a field that is not quoted.
    pub loose: bool,
}

impl Record {
    /// A line with nothing on it.
    pub fn is_blank(&self) -> bool {
        matches!(self.fields.as_slice(), [(from, to)] if from == to)
    }
}

impl Dialect {
    /// The usual one.
    pub fn plain(separator: u8) -> Self {
        Self { separator, quotes: Quotes::Doubled, cr: false, start: 0 }
    }

    /// The record that begins at `at`; `None` at the end.
    pub fn record(&self, bytes: &[u8], at: usize) -> Option<Record> {
        if at >= bytes.len() {
            return None;
        }
        let mut record = Record { fields: Vec::new(), end: at, next: at, broken: false, loose: false };
        let mut from = at;
        loop {
            let to = self.field_end(bytes, from, &mut record);
            record.fields.push((from, to));
            if bytes.get(to) == Some(&self.separator) {
                from = to + 1;
                continue;
            }
            record.end = to;
            record.next = match (bytes.get(to), bytes.get(to + 1)) {
                (Some(b'\r'), Some(b'\n')) => to + 2,
                (Some(_), _) => to + 1,
                (None, _) => to,
            };
            return Some(record);
        }
    }

    /// Where a line ends at `at`.
    fn is_end(&self, bytes: &[u8], at: usize) -> bool {
        match bytes.get(at) {
            Some(b'\n') => !self.cr,
            Some(b'\r') => self.cr || bytes.get(at + 1) == Some(&b'\n'),
            _ => false,
        }
    }

    fn field_end(&self, bytes: &[u8], from: usize, record: &mut Record) -> usize {
        let mut at = from;
        if self.quotes != Quotes::Literal && bytes.get(at) == Some(&b'"') {
            at += 1;
            loop {
                match bytes.get(at) {
                    None => {
                        record.broken = true;
                        return bytes.len();
                    }
                    Some(b'\\') if self.quotes == Quotes::Backslash => at += 2,
                    Some(b'"') if bytes.get(at + 1) == Some(&b'"') => at += 2,
                    Some(b'"') => break,
                    Some(_) => at += 1,
                }
            }
            at = (at + 1).min(bytes.len());
            let closed = bytes.get(at).is_none_or(|byte| *byte == self.separator) || self.is_end(bytes, at);
            record.broken |= !closed;
        }
        while let Some(byte) = bytes.get(at) {
            if *byte == self.separator || self.is_end(bytes, at) {
                break;
            }
            record.loose |= *byte == b'"';
            at += 1;
        }
        at
    }

    /// What a field says; `None` for nothing at all, which a quoted empty field is not.
    pub fn value<'a>(&self, field: &'a [u8]) -> Option<Cow<'a, str>> {
        let text = match String::from_utf8_lossy(field) {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => return Some(Cow::Owned(text)),
        };
        if text.is_empty() {
            return None;
        }
        let quoted = text.strip_prefix('"').filter(|_| self.quotes != Quotes::Literal);
        let Some(inner) = quoted.and_then(|rest| rest.strip_suffix('"')) else { return Some(text.into()) };
        Some(match self.quotes {
            Quotes::Backslash => unescaped(inner).into(),
            _ if inner.contains("\"\"") => inner.replace("\"\"", "\"").into(),
            _ => inner.into(),
        })
    }

    /// A field that says `text`; in quotation marks where `like` is or where it must be.
    pub fn field(&self, text: &str, like: &[u8]) -> Vec<u8> {
        if self.quotes == Quotes::Literal {
            // Nothing can stand for a separator or a line end here.
            let plain = |byte: u8| {
                if byte == self.separator || matches!(byte, b'\n' | b'\r') { b' ' } else { byte }
            };
            return text.bytes().map(plain).collect();
        }
        let special = |byte: u8| byte == self.separator || matches!(byte, b'"' | b'\n' | b'\r' | b'\\');
        if like.starts_with(b"\"") || text.bytes().any(special) || text.starts_with([' ', '\t']) {
            let inner = match self.quotes {
                Quotes::Backslash => text.replace('\\', "\\\\").replace('"', "\\\""),
                _ => text.replace('"', "\"\""),
            };
            format!("\"{inner}\"").into_bytes()
        } else {
            text.as_bytes().to_vec()
        }
    }
}

/// Without the backslashes before quotation marks and backslashes; others are text.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(c) = signs.next() {
        let escaped = match c {
            '\\' => signs.next_if(|next| matches!(next, '"' | '\\')),
            '"' => signs.next_if_eq(&'"'),
            _ => None,
        };
        out.push(escaped.unwrap_or(c));
    }
    out
}

/// What is wrong with a table in a dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A quoted field that began on this line is never closed, or goes on behind its closing mark.
    Quote(usize),
    /// Line, its fields, those of the header.
    Fields(usize, usize, usize),
}

/// How a text is written, and what the fast reader must know about it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The dialect.
    pub dialect: Dialect,
    /// Names of the columns; nameless ones are empty.
    pub names: Vec<String>,
    /// A quotation mark inside an unquoted field, empty fields beyond the header, a nameless column, or a
    /// dialect of its own: only the reader here takes it as it is meant.
    pub odd: bool,
    /// Some rows have empty fields beyond the header.
    pub surplus: bool,
    /// What is wrong with it, in the dialect that fits best.
    pub flaw: Option<Flaw>,
}

/// The dialect in which a text is a table: all records with as many fields as the header.
///
/// `tab`: the name of the file says that tabs separate.
pub(super) fn detect(bytes: &[u8], tab: bool) -> Found {
    let mark = if bytes.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
    let cr = !bytes.contains(&b'\n') && bytes.contains(&b'\r');
    let line_end = |from: usize| {
        let end = bytes.iter().skip(from).position(|byte| matches!(byte, b'\n' | b'\r'));
        end.map_or(bytes.len(), |length| from + length)
    };
    let first = bytes.get(mark..line_end(mark)).unwrap_or_default();
    // Excel's own line about the separator; it may stand in quotation marks.
    let plain = String::from_utf8_lossy(first).trim_matches('"').to_ascii_lowercase();
    let (start, said) = match plain.strip_prefix("sep=").map(str::as_bytes) {
        Some([separator]) => {
            let end = line_end(mark);
            let two = bytes.get(end) == Some(&b'\r') && bytes.get(end + 1) == Some(&b'\n');
            (end + 1 + usize::from(two), Some(*separator))
        }
        Some(b"\\t") => (line_end(mark) + 1, Some(b'\t')),
        _ => (mark, None),
    };
    let header = bytes.get(start..line_end(start)).unwrap_or_default();
    let count = |separator: u8| header.iter().filter(|byte| **byte == separator).count();
    // The first of the most frequent ones: a comma unless something else clearly separates.
    let likely = [b',', b'\t', b';', b'|'].into_iter().rev().max_by_key(|s| count(*s)).unwrap_or(b',');
    let separator = match said {
        Some(separator) => separator,
        None if tab && count(b'\t') > 0 => b'\t',
        None => likely,
    };
    let of = |quotes| check(bytes, Dialect { separator, quotes, cr, start });
    let usual = of(Quotes::Doubled);
    if usual.flaw.is_none() {
        return usual;
    }
    let mut others = vec![Quotes::Backslash];
    // Without any quoting a comma in a text would shift the columns; where none does, it is meant so.
    others.push(Quotes::Literal);
    let sound = others.into_iter().map(of).find(|found| found.flaw.is_none() && found.names.len() > 1);
    sound.unwrap_or(usual)
}

fn check(bytes: &[u8], dialect: Dialect) -> Found {
    let mut found = Found {
        dialect,
        names: Vec::new(),
        odd: dialect.quotes != Quotes::Doubled || dialect.cr || dialect.start > 3,
        surplus: false,
        flaw: None,
    };
    let (mut at, mut line) = (dialect.start, 1);
    let end: &[u8] = if dialect.cr { b"\r" } else { b"\n" };
    line += bytes.get(..at).unwrap_or_default().iter().filter(|byte| end.contains(byte)).count();
    let mut header = None;
    while let Some(record) = dialect.record(bytes, at) {
        if record.broken {
            found.flaw = Some(Flaw::Quote(line));
            return found;
        }
        found.odd |= record.loose;
        if !record.is_blank() {
            match header {
                None => {
                    header = Some(record.fields.len());
                    let name = |&(from, to): &(usize, usize)| {
                        let value = dialect.value(bytes.get(from..to).unwrap_or_default());
                        let value = value.unwrap_or_default();
                        let name = value.trim();
                        (name.to_owned(), name.is_empty() || name.len() < value.len())
                    };
                    let names: Vec<(String, bool)> = record.fields.iter().map(name).collect();
                    found.odd |= names.iter().any(|(_, odd)| *odd);
                    found.names = names.into_iter().map(|(name, _)| name).collect();
                }
                Some(wanted) => {
                    let count = record.fields.len();
                    // A spreadsheet adds empty fields behind the last one.
                    let surplus = record.fields.get(wanted..).unwrap_or_default();
                    if count < wanted || surplus.iter().any(|(from, to)| from < to) {
                        found.flaw = Some(Flaw::Fields(line, count, wanted));
                        return found;
                    }
                    found.surplus |= count > wanted;
                }
            }
        }
        let passed = bytes.get(at..record.next).unwrap_or_default();
        line += passed.iter().filter(|byte| end.contains(byte)).count();
        at = record.next;
    }
    found.odd |= found.surplus;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, tab: bool) -> (Found, Vec<Vec<String>>) {
        let found = detect(text.as_bytes(), tab);
        let mut at = found.dialect.start;
        let mut rows = Vec::new();
        while let Some(record) = found.dialect.record(text.as_bytes(), at) {
            at = record.next;
            if !record.is_blank() {
                let value = |&(from, to): &(usize, usize)| {
                    found.dialect.value(&text.as_bytes()[from..to]).unwrap_or_default().into_owned()
                };
                rows.push(record.fields.iter().map(value).collect());
            }
        }
        (found, rows)
    }

    #[test]
    fn each_dialect_is_told_by_what_fits() {
        let cases: [(&str, bool, Quotes, &[&str]); 9] = [
            ("a,b\n\"x \"\"y\"\", z\",1\n", false, Quotes::Doubled, &["x \"y\", z", "1"]),
            ("a,b\n\"x \\\"y\\\", z\",\"1\"\n", false, Quotes::Backslash, &["x \"y\", z", "1"]),
            ("a\tb\n\"x\" y\t1\n", true, Quotes::Literal, &["\"x\" y", "1"]),
            ("a\tb\n\"x\t1\n", true, Quotes::Literal, &["\"x", "1"]),
            ("a\tb\n5\" pipe\t1\n", true, Quotes::Doubled, &["5\" pipe", "1"]),
            ("sep=;\r\na;b\r\nx,y;1\r\n", false, Quotes::Doubled, &["x,y", "1"]),
            ("\u{feff}sep=|\na|b\nx|1\n", false, Quotes::Doubled, &["x", "1"]),
            ("a,b\r\"x\ry\",1\r", false, Quotes::Doubled, &["x\ry", "1"]),
            ("a;b\n1,5;2\n", false, Quotes::Doubled, &["1,5", "2"]),
        ];
        for (text, tab, quotes, row) in cases {
            let (found, rows) = rows(text, tab);
            assert_eq!((found.flaw, found.dialect.quotes), (None, quotes), "{text:?}");
            assert_eq!(found.names, ["a", "b"], "{text:?}");
            assert_eq!(rows[1], row, "{text:?}");
        }
    }

    #[test]
    fn surplus_fields_may_be_empty_only() {
        assert_eq!(detect(b"a,b\n1,2,,\n", false).flaw, None);
        assert_eq!(detect(b"a,b\n1,2,3\n", false).flaw, Some(Flaw::Fields(2, 3, 2)));
        assert_eq!(detect(b"a,b\n1\n", false).flaw, Some(Flaw::Fields(2, 1, 2)));
        assert_eq!(detect(b"a,b\n\"x\ny\",2\n\"z,1\n", false).flaw, Some(Flaw::Quote(4)));
    }

    #[test]
    fn what_is_written_is_read() {
        for quotes in [Quotes::Doubled, Quotes::Backslash] {
            let dialect = Dialect { quotes, ..Dialect::plain(b',') };
            for text in ["x", "a,b", "\"", "\\", "\\\"", "a\nb", " x", "\"\""] {
                let field = dialect.field(text, b"");
                assert_eq!(dialect.value(&field).unwrap(), text, "{quotes:?}");
            }
        }
    }
}
