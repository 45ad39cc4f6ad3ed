//! Texts of JSON taken apart by their bytes, without a parser that would change them.

/// A text taken apart. All of it together is the text again.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parts<'a> {
    /// What stands before the first row: byte order mark, header, opening bracket.
    pub head: &'a [u8],
    /// Each row, and what stands between it and the next one or the end.
    pub rows: Vec<(&'a [u8], &'a [u8])>,
}

/// The end of the JSON value that begins at `at`.
pub(super) fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match *bytes.get(at)? {
        b'"' => string_end(bytes, at),
        b'{' | b'[' => {
            let (mut depth, mut i) = (0usize, at);
            loop {
                match *bytes.get(i)? {
                    b'"' => {
                        i = string_end(bytes, i)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(i + 1);
                        }
                    }
                    _ => {}
                }
                i += 1;
            }
        }
        _ => {
            let length = bytes
                .get(at..)?
                .iter()
                .position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace());
            Some(length.map_or(bytes.len(), |length| at + length))
        }
    }
}

pub(super) fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        match *bytes.get(i)? {
            b'\\' => i += 2,
            b'"' => return Some(i + 1),
            _ => i += 1,
        }
    }
}

pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The lines that hold something; blank ones belong to what is before them.
pub(super) fn split_lines(bytes: &[u8]) -> Parts<'_> {
    let mark = if bytes.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
    let mut rows = Vec::new();
    let mut start = mark;
    while start < bytes.len() {
        let end = bytes[start..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| start + at);
        let line = &bytes[start..end];
        if !line.trim_ascii().is_empty() {
            let from = start + line.len() - line.trim_ascii_start().len();
            rows.push((from, from + line.trim_ascii().len()));
        }
        start = end + 1;
    }
    parts(bytes, &rows)
}

/// The elements of one array.
pub(super) fn split_array(bytes: &[u8]) -> Option<Parts<'_>> {
    let open = bytes.iter().position(|byte| *byte == b'[')?;
    let mut rows = Vec::new();
    let mut at = skip_space(bytes, open + 1);
    while *bytes.get(at)? != b']' {
        let end = value_end(bytes, at)?;
        rows.push((at, end));
        at = skip_space(bytes, end);
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
    }
    if rows.is_empty() {
        return Some(Parts { head: bytes, rows: Vec::new() });
    }
    Some(parts(bytes, &rows))
}

fn parts<'a>(bytes: &'a [u8], rows: &[(usize, usize)]) -> Parts<'a> {
    let next = |index: usize| rows.get(index).map_or(bytes.len(), |&(from, _)| from);
    Parts {
        head: &bytes[..next(0)],
        rows: (rows.iter().enumerate())
            .map(|(index, &(from, to))| (&bytes[from..to], &bytes[to..next(index + 1)]))
            .collect(),
    }
}
