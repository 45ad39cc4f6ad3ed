//! Rows of JSON by their bytes. What comes here was read as valid JSON before.

use super::edit::TextEdit;
use crate::pairs::pieces::{skip_space, string_end, value_end};

/// A key of an object and where its value lies.
struct Entry {
    key: String,
    /// Where the key begins.
    from: usize,
    value: (usize, usize),
}

fn entries(object: &[u8]) -> Option<Vec<Entry>> {
    let mut found = Vec::new();
    let mut at = skip_space(object, object.iter().position(|byte| *byte == b'{')? + 1);
    while *object.get(at)? != b'}' {
        let from = at;
        let end = string_end(object, at)?;
        let key = serde_json::from_slice(object.get(at..end)?).ok()?;
        at = skip_space(object, end);
        // The colon.
        at = skip_space(object, at + 1);
        let end = value_end(object, at)?;
        found.push(Entry { key, from, value: (at, end) });
        at = skip_space(object, end);
        if object.get(at) == Some(&b',') {
            at = skip_space(object, at + 1);
        }
    }
    Some(found)
}

/// An object with changed values in place and the new keys at its end.
pub(super) fn edit(row: &[u8], edit: &TextEdit<'_>, added: &[&str]) -> Result<Vec<u8>, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let entries = entries(row).ok_or_else(|| text(row))?;
    let find = |name: &str| entries.iter().rfind(|entry| entry.key == name).map(|entry| entry.value);
    let mut replaced: Vec<((usize, usize), Vec<u8>)> = Vec::new();
    let mut original = "1".to_owned();
    match edit.target.label.as_deref() {
        Some(name) => {
            original = "null".to_owned();
            if let Some((from, to)) = find(name) {
                original = text(&row[from..to]);
                let word: Option<String> = serde_json::from_str(&original).ok();
                if let Some(turned) = edit.label(word.as_deref().unwrap_or(&original))? {
                    // A label that is true or false, or a number, stays one.
                    let turned = match word {
                        Some(_) => serde_json::to_string(&turned).unwrap_or_default(),
                        None if turned == "tie" => "null".to_owned(),
                        None => turned,
                    };
                    replaced.push(((from, to), turned.into_bytes()));
                }
            }
        }
        None if edit.flips() => {
            for (first, second) in &edit.target.swaps {
                if let (Some(first), Some(second)) = (find(first), find(second)) {
                    replaced.push((first, row[second.0..second.1].to_vec()));
                    replaced.push((second, row[first.0..first.1].to_vec()));
                    original = "0".to_owned();
                }
            }
        }
        None => {}
    }
    replaced.sort_by_key(|((from, _), _)| *from);
    let end = entries.last().map_or(1, |entry| entry.value.1);
    let mut out = Vec::with_capacity(row.len() + 160);
    let mut at = 0;
    for ((from, to), new) in replaced {
        out.extend_from_slice(&row[at..from]);
        out.extend_from_slice(&new);
        at = to;
    }
    out.extend_from_slice(&row[at..end]);
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let values = [original, quoted(edit.action()), quoted(edit.rule()), edit.score()];
    let values = values.into_iter().chain(edit.weight.map(|weight| format!("{weight:?}")));
    for (name, value) in added.iter().zip(values) {
        out.extend_from_slice(format!(", \"{name}\": {value}").as_bytes());
    }
    out.extend_from_slice(&row[end..]);
    Ok(out)
}

/// An object without the keys that were added.
pub(super) fn strip(row: &[u8], added: &[String]) -> Option<Vec<u8>> {
    let entries = entries(row)?;
    let first = entries.iter().position(|entry| Some(&entry.key) == added.first())?;
    let keep = entries.get(first.checked_sub(1)?)?.value.1;
    let last = entries.get(first + added.len() - 1)?;
    let sound = entries[first..].iter().zip(added).all(|(entry, name)| entry.key == *name)
        && entries.get(first).is_some_and(|entry| entry.from >= keep);
    sound.then(|| [&row[..keep], &row[last.value.1..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::pieces::{split_array, split_lines};

    #[test]
    fn arrays_and_lines_are_taken_apart_byte_by_byte() {
        let array =
            b"\xef\xbb\xbf [ {\"a\": \"]},{\\\"\", \"b\": [1, {}]} ,\n\t{\"a\": -1.5e3,\"b\":null}\n]\n";
        let parts = split_array(array).unwrap();
        assert_eq!(parts.rows.len(), 2);
        assert_eq!(parts.rows[1].0, b"{\"a\": -1.5e3,\"b\":null}");
        assert_eq!(parts.rows[1].1, b"\n]\n");
        let entries = entries(parts.rows[0].0).unwrap();
        assert_eq!(entries.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let lines = b"\n{\"a\":1}\r\n\n  {\"a\":2}";
        let parts = split_lines(lines);
        assert_eq!(parts.head, b"\n");
        assert_eq!(parts.rows, [(&b"{\"a\":1}"[..], &b"\r\n\n  "[..]), (b"{\"a\":2}", b"")]);
    }
}
