//! JSON as it comes, as a table: lines, arrays, rows under a key, objects of columns; Python's `NaN`, halves of
//! characters, and columns whose cells are not all of one kind.

use std::borrow::Cow;
use std::path::Path;

use polars::prelude::*;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::io::Cursor;

use super::container::{Container, damaged, guard};
use super::error::PairsError;
use super::literal::WRAPPED;
use super::pieces::split_array;

/// What to do about JSON that holds no rows.
const HINT: &str = "each line, or each element of one array, must be an object with the columns as keys";

/// A JSON file as a table.
pub(super) struct Json {
    pub frame: DataFrame,
    pub container: Container,
    /// What was mended, and where the rows were found.
    pub notes: Vec<String>,
}

/// Reads rows of any layout.
pub(super) fn read(path: &Path, bytes: Vec<u8>) -> Result<Json, PairsError> {
    let mut notes = Vec::new();
    let bytes = match mended(&bytes) {
        Some((mended, numbers, halves)) => {
            if numbers > 0 {
                notes.push(format!(
                    "{numbers} `NaN` or `Infinity`, which JSON does not know, read as missing"
                ));
            }
            if halves > 0 {
                notes.push(format!("{halves} half characters (lone surrogates) replaced by U+FFFD"));
            }
            mended
        }
        None => bytes,
    };
    let (lines, container) = lines(path, bytes, &mut notes)?;
    let (lines, mixed) = of_one_kind(path, lines)?;
    if !mixed.is_empty() {
        notes.push(format!(
            "cells of different kinds (text, numbers, lists, records) in {}: each was read as what it is",
            mixed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ));
    }
    let frame = guard(path, "JSON", || {
        JsonReader::new(Cursor::new(lines))
            .with_json_format(JsonFormat::JsonLines)
            .infer_schema_len(None)
            .finish()
    })?;
    Ok(Json { frame, container, notes })
}

/// The text with what JSON does not allow mended, and how often: numbers that are none, and halves of
/// characters. `None`: nothing to mend. Keeps every line in its place.
fn mended(bytes: &[u8]) -> Option<(Vec<u8>, usize, usize)> {
    let has = |what: &[u8]| memchr_like(bytes, what);
    if !(has(b"NaN") || has(b"Infinity") || has(b"\\ud") || has(b"\\uD")) {
        return None;
    }
    let hex = |at: usize| {
        let digits = bytes.get(at + 2..at + 6)?;
        (bytes.get(at..at + 2)? == b"\\u")
            .then(|| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())?
    };
    let mut out = Vec::with_capacity(bytes.len());
    let (mut numbers, mut halves, mut at, mut inside) = (0, 0, 0, false);
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        if !inside {
            let word =
                [&b"NaN"[..], b"-NaN", b"Infinity", b"-Infinity"].into_iter().find(|w| rest.starts_with(w));
            if let Some(word) = word {
                out.extend_from_slice(b"null");
                numbers += 1;
                at += word.len();
                continue;
            }
        } else if byte == b'\\' {
            let (length, half) = match hex(at) {
                Some(0xd800..0xdc00) if matches!(hex(at + 6), Some(0xdc00..0xe000)) => (12, false),
                Some(0xd800..0xe000) => (6, true),
                _ => (2, false),
            };
            if half {
                out.extend_from_slice(b"\\ufffd");
                halves += 1;
            } else {
                out.extend_from_slice(bytes.get(at..at + length).unwrap_or(rest));
            }
            at += length;
            continue;
        }
        inside ^= byte == b'"';
        out.push(byte);
        at += 1;
    }
    (numbers + halves > 0).then_some((out, numbers, halves))
}

fn memchr_like(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// The rows, an object a line, and how the file holds them.
fn lines(path: &Path, bytes: Vec<u8>, notes: &mut Vec<String>) -> Result<(Vec<u8>, Container), PairsError> {
    let first = bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(b'[') {
        if let Err(error) = serde_json::from_slice::<Vec<IgnoredAny>>(&bytes) {
            return Err(damaged(path, "JSON", error.to_string(), HINT));
        }
        let parts = split_array(&bytes).unwrap_or_default();
        let mut lines = Vec::with_capacity(bytes.len());
        for (i, (row, _)) in parts.rows.iter().enumerate() {
            if row.first() != Some(&b'{') {
                return Err(damaged(path, "JSON", format!("element {i} is no object"), HINT));
            }
            push_line(&mut lines, row);
        }
        return Ok((lines, Container::JsonArray));
    }
    let problem = match first_bad_line(&bytes) {
        None => {
            let mut full = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            let alone = full.next().is_some() && full.next().is_none();
            match serde_json::from_slice::<Value>(&bytes).ok().filter(|_| alone).and_then(unwrap) {
                Some(found) => return Ok(found.into_lines(notes)),
                None => return Ok((bytes, Container::JsonLines)),
            }
        }
        Some(problem) => problem,
    };
    if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
        return match unwrap(value) {
            Some(found) => Ok(found.into_lines(notes)),
            None => Err(damaged(path, "JSON", "it is one object, not rows", HINT)),
        };
    }
    // Objects laid out over several lines, one after the other.
    let mut stream = serde_json::Deserializer::from_slice(&bytes).into_iter::<IgnoredAny>();
    let (mut lines, mut start, mut count) = (Vec::with_capacity(bytes.len()), 0, 0);
    while let Some(Ok(_)) = stream.next() {
        let end = stream.byte_offset();
        let object = bytes.get(start..end).unwrap_or_default().trim_ascii();
        if object.first() != Some(&b'{') {
            return Err(damaged(path, "JSON lines", problem, HINT));
        }
        push_line(&mut lines, object);
        start = end;
        count += 1;
    }
    let whole = bytes.get(start..).unwrap_or_default().trim_ascii().is_empty();
    if !whole || count < 2 {
        return Err(damaged(path, "JSON lines", problem, HINT));
    }
    notes.push(format!("{count} objects, laid out over several lines, read as rows"));
    Ok((lines, Container::Other("its objects stand over several lines")))
}

/// Line breaks inside an object are mere layout: in texts they are escaped.
fn push_line(lines: &mut Vec<u8>, object: &[u8]) {
    lines.extend(object.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    lines.push(b'\n');
}

/// What is wrong with the first line that is no object.
fn first_bad_line(bytes: &[u8]) -> Option<String> {
    bytes.split(|byte| *byte == b'\n').enumerate().find_map(|(i, line)| {
        let line = line.trim_ascii();
        if line.is_empty() {
            return None;
        }
        match serde_json::from_slice::<IgnoredAny>(line) {
            // serde_json counts from the line that it was given.
            Err(error) => Some(format!(
                "line {}: {}",
                i + 1,
                error.to_string().replace(" at line 1 column ", " at column ")
            )),
            Ok(_) if line.first() != Some(&b'{') => Some(format!("line {} is no object", i + 1)),
            Ok(_) => None,
        }
    })
}

/// Rows that were found inside one object.
#[derive(Debug)]
struct Inside {
    rows: Vec<Value>,
    note: String,
    reason: &'static str,
}

impl Inside {
    fn into_lines(self, notes: &mut Vec<String>) -> (Vec<u8>, Container) {
        let mut lines = Vec::new();
        for row in &self.rows {
            push_line(&mut lines, row.to_string().as_bytes());
        }
        notes.push(self.note);
        (lines, Container::Other(self.reason))
    }
}

/// Keys under which rows are kept.
const ROWS: [&str; 17] = [
    "data",
    "rows",
    "records",
    "examples",
    "items",
    "instances",
    "samples",
    "results",
    "dataset",
    "pairs",
    "comparisons",
    "entries",
    "tasks",
    "annotations",
    "preferences",
    "conversations",
    "items_list",
];
/// Keys that are splits.
const SPLITS: [&str; 8] = ["train", "test", "validation", "valid", "val", "dev", "train_prefs", "test_prefs"];

/// Rows inside one object: under a key, or as columns. `None`: it is a row itself, or something else.
fn unwrap(value: Value) -> Option<Inside> {
    let Value::Object(mut map) = value else { return None };
    // pandas, `orient="split"`.
    if let (Some(Value::Array(names)), Some(Value::Array(data))) = (map.get("columns"), map.get("data"))
        && data.iter().all(Value::is_array)
    {
        let rows = data.iter().map(|row| {
            let cells = row.as_array().into_iter().flatten().cloned();
            let name = |name: &Value| name.as_str().map_or_else(|| name.to_string(), str::to_owned);
            Value::Object(names.iter().map(name).zip(cells).collect())
        });
        return Some(Inside {
            rows: rows.collect(),
            note: "one object with `columns` and `data`: a row for each entry of `data`".into(),
            reason: "its rows are split from their columns' names",
        });
    }
    let of_rows = |value: &Value| {
        value.as_array().is_some_and(|rows| !rows.is_empty() && rows.iter().all(Value::is_object))
    };
    let splits: Vec<String> = map.keys().filter(|key| SPLITS.contains(&key.as_str())).cloned().collect();
    let key = ROWS.iter().find(|key| map.get(**key).is_some_and(of_rows)).map(|key| (*key).to_owned());
    let alone = (map.len() == 1).then(|| map.keys().next().cloned()).flatten();
    let keys = match (key, alone) {
        _ if !splits.is_empty() && splits.iter().all(|key| map.get(key).is_some_and(of_rows)) => splits,
        (Some(key), _) => vec![key],
        (None, Some(key)) if map.get(&key).is_some_and(of_rows) => vec![key],
        // {"data": {"train": […]}}
        (None, Some(key)) if ROWS.contains(&key.as_str()) => return unwrap(map.remove(&key)?),
        _ => return columns(map),
    };
    let mut rows = Vec::new();
    for key in &keys {
        if let Some(Value::Array(found)) = map.remove(key) {
            rows.extend(found);
        }
    }
    // The Hub's own preview: {"rows": [{"row_idx": 0, "row": {…}}]}.
    let preview = preview(&map, &rows);
    if rows.iter().all(|row| row.get("row").is_some_and(Value::is_object) && row.get("row_idx").is_some()) {
        rows = rows.into_iter().filter_map(|mut row| row.get_mut("row").map(Value::take)).collect();
    }
    let names = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ");
    Some(Inside {
        rows,
        note: format!("one object: its rows stand under {names}{}", preview.unwrap_or_default()),
        reason: "its rows stand under a key of one object",
    })
}

/// What a preview from the Hub's viewer says about what it lacks.
fn preview(about: &Map<String, Value>, rows: &[Value]) -> Option<String> {
    let is_row = |row: &Value| row.get("row").is_some_and(Value::is_object) && row.get("row_idx").is_some();
    rows.iter().all(is_row).then_some(())?;
    let cut = |row: &&Value| {
        row.get("truncated_cells").and_then(Value::as_array).is_some_and(|cells| !cells.is_empty())
    };
    let mut lacks = Vec::new();
    let total =
        about.get("num_rows_total").and_then(Value::as_u64).filter(|total| *total > rows.len() as u64);
    if let Some(total) = total {
        lacks.push(format!("{} of {total} rows", rows.len()));
    }
    if about.get("partial") == Some(&Value::Bool(true)) {
        lacks.push("rows of a part of the dataset alone (`partial`)".to_owned());
    }
    match rows.iter().filter(cut).count() {
        0 => {}
        count => lacks.push(format!("{count} rows whose texts are cut short (`truncated_cells`)")),
    }
    let lacks = (!lacks.is_empty()).then(|| lacks.join(", "))?;
    Some(format!(
        "; it is a page of the Hub's viewer with {lacks}: download the dataset itself for all of it"
    ))
}

/// Whether a value is an object that neither holds rows nor is a document of a known format.
pub(super) fn is_no_table(value: Value) -> bool {
    value.is_object()
        && super::shapes::document(value.to_string().as_bytes()).is_none()
        && unwrap(value).is_none()
}

/// One object of columns: lists of equal length, or pandas' records by row number.
fn columns(map: Map<String, Value>) -> Option<Inside> {
    let reason = "it is one object of columns";
    if map.len() < 2 {
        return None;
    }
    let lists: Option<Vec<(&String, &Vec<Value>)>> =
        map.iter().map(|(name, value)| Some((name, value.as_array()?))).collect();
    if let Some(lists) = lists {
        let rows = lists.first()?.1.len();
        let is_message =
            |value: &Value| value.get("role").or(value.get("from")).is_some_and(Value::is_string);
        // A row whose cells are conversations is no object of columns.
        let even = rows > 0 && lists.iter().all(|(_, list)| list.len() == rows);
        if !even || lists.iter().any(|(_, list)| list.iter().all(is_message)) {
            return None;
        }
        let row = |i: usize| {
            let cell = |(name, list): &(&String, &Vec<Value>)| {
                ((*name).clone(), list.get(i).cloned().unwrap_or_default())
            };
            Value::Object(lists.iter().map(cell).collect())
        };
        let note = format!("one object of {} columns: a row for each place in their lists", lists.len());
        return Some(Inside { rows: (0..rows).map(row).collect(), note, reason });
    }
    let records: Vec<(&String, &Map<String, Value>)> =
        map.iter().map(|(name, value)| Some((name, value.as_object()?))).collect::<Option<_>>()?;
    let digits = |key: &String| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    let first = records.first()?.1;
    let same =
        records.iter().all(|(_, fields)| fields.len() == first.len() && fields.keys().eq(first.keys()));
    if !same || first.is_empty() {
        return None;
    }
    if first.keys().all(digits) {
        let mut order: Vec<&String> = first.keys().collect();
        order.sort_by_key(|key| (key.len(), key.as_str()));
        let row = |key: &&String| {
            let cell = |(name, cells): &(&String, &Map<String, Value>)| {
                ((*name).clone(), cells.get(*key).cloned().unwrap_or_default())
            };
            Value::Object(records.iter().map(cell).collect())
        };
        let note = format!("one object of {} columns by row number, as pandas writes it", records.len());
        return Some(Inside { rows: order.iter().map(row).collect(), note, reason });
    }
    // Rows by id.
    let mut order: Vec<(&String, &Map<String, Value>)> = records;
    if order.iter().all(|(name, _)| digits(name)) {
        order.sort_by_key(|(name, _)| (name.len(), name.as_str()));
    }
    let rows = order.into_iter().map(|(_, fields)| Value::Object(fields.clone())).collect();
    Some(Inside {
        rows,
        note: "one object of rows by their ids".into(),
        reason: "it is one object of rows by their ids",
    })
}

/// What the values at one place are.
#[derive(Debug, Default, PartialEq)]
enum Kind {
    #[default]
    Null,
    Bool,
    Number,
    Text,
    List(Box<Kind>),
    Record(Vec<(String, Kind)>),
    /// Not of one kind.
    Mixed,
}

impl Kind {
    fn meet(&mut self, scalar: Kind) {
        if *self == Kind::Null {
            *self = scalar;
        } else if *self != scalar {
            *self = Kind::Mixed;
        }
    }

    /// Whether anything below is mixed; a record without fields counts, too, as no column can hold it.
    fn mixed(&self) -> bool {
        match self {
            Kind::Mixed => true,
            Kind::List(inner) => inner.mixed(),
            Kind::Record(fields) => fields.is_empty() || fields.iter().any(|(_, kind)| kind.mixed()),
            _ => false,
        }
    }

    /// A value with everything mixed as text: nested values wrapped, others as they are written.
    fn unmix(&self, value: &mut Value) {
        match (self, value) {
            (Kind::List(inner), Value::Array(values)) if inner.mixed() => {
                values.iter_mut().for_each(|value| inner.unmix(value));
            }
            (Kind::Record(fields), Value::Object(map)) if !fields.is_empty() => {
                for (name, kind) in fields.iter().filter(|(_, kind)| kind.mixed()) {
                    if let Some(value) = map.get_mut(name) {
                        kind.unmix(value);
                    }
                }
            }
            (Kind::Mixed | Kind::Record(_), value) => match value {
                Value::Null | Value::String(_) => {}
                Value::Array(_) | Value::Object(_) => *value = Value::String(format!("{WRAPPED}{value}")),
                Value::Bool(_) | Value::Number(_) => *value = Value::String(value.to_string()),
            },
            _ => {}
        }
    }
}

/// Rows whose columns hold one kind of value each, and the columns that did not.
fn of_one_kind(path: &Path, lines: Vec<u8>) -> Result<(Vec<u8>, Vec<String>), PairsError> {
    let mut kind = Kind::default();
    let rows = || lines.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let failed = |error: serde_json::Error| damaged(path, "JSON lines", error.to_string(), HINT);
    for line in rows() {
        Look(&mut kind).deserialize(&mut serde_json::Deserializer::from_slice(line)).map_err(failed)?;
    }
    let Kind::Record(fields) = &kind else { return Ok((lines, Vec::new())) };
    if fields.is_empty() || !kind.mixed() {
        return Ok((lines, Vec::new()));
    }
    let mut out = Vec::with_capacity(lines.len() + lines.len() / 8);
    for line in rows() {
        let mut row: Value = serde_json::from_slice(line).map_err(failed)?;
        kind.unmix(&mut row);
        serde_json::to_writer(&mut out, &row).map_err(failed)?;
        out.push(b'\n');
    }
    let told = |kind: &Kind| match kind {
        // Without fields: nothing to tell.
        Kind::Record(fields) => !fields.is_empty(),
        _ => true,
    };
    let mixed = fields.iter().filter(|(_, kind)| kind.mixed() && told(kind)).map(|(name, _)| name.clone());
    let mixed = mixed.collect();
    Ok((out, mixed))
}

/// Looks at a value and adds what it is to what was seen at its place.
struct Look<'a>(&'a mut Kind);

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.0.meet(Kind::Bool);
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.0.meet(Kind::Number);
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.0.meet(Kind::Number);
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.0.meet(Kind::Number);
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.0.meet(Kind::Text);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if *self.0 == Kind::Null {
            *self.0 = Kind::List(Box::default());
        }
        match self.0 {
            Kind::List(inner) => while list.next_element_seed(Look(inner))?.is_some() {},
            other => {
                *other = Kind::Mixed;
                while list.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if *self.0 == Kind::Null {
            *self.0 = Kind::Record(Vec::new());
        }
        match self.0 {
            Kind::Record(fields) => {
                // Keys mostly come in the same order.
                let mut guess = 0;
                while let Some(key) = map.next_key::<Cow<'_, str>>()? {
                    let at = match fields.get(guess) {
                        Some((name, _)) if *name == key => Some(guess),
                        _ => fields.iter().position(|(name, _)| *name == key),
                    };
                    let at = at.unwrap_or_else(|| {
                        fields.push((key.into_owned(), Kind::default()));
                        fields.len() - 1
                    });
                    guess = at + 1;
                    match fields.get_mut(at) {
                        Some((_, kind)) => map.next_value_seed(Look(kind))?,
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
            }
            other => {
                *other = Kind::Mixed;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Json {
        read(Path::new("t.json"), text.as_bytes().to_vec()).unwrap()
    }

    fn column(json: &Json, name: &str) -> Vec<String> {
        let column = json.frame.column(name).unwrap().cast(&DataType::String).unwrap();
        column.str().unwrap().iter().map(|cell| cell.unwrap_or("–").to_owned()).collect()
    }

    #[test]
    fn rows_are_found_wherever_they_stand() {
        for text in [
            "{\"p\":\"a\",\"n\":1}\n{\"p\":\"b\",\"n\":2}\n",
            "[{\"p\":\"a\",\"n\":1},\n {\"p\":\"b\",\n\"n\":2}]",
            "{\"version\": 3, \"data\": [{\"p\":\"a\",\"n\":1},{\"p\":\"b\",\"n\":2}]}",
            "{\"prefs\": [{\"p\":\"a\",\"n\":1},{\"p\":\"b\",\"n\":2}]}",
            "{\"data\": {\"train\": [{\"p\":\"a\",\"n\":1}], \"test\": [{\"p\":\"b\",\"n\":2}]}}",
            "{\"features\": [], \"rows\": [{\"row_idx\":0,\"row\":{\"p\":\"a\",\"n\":1}},{\"row_idx\":1,\"row\":{\"p\":\"b\",\"n\":2}}]}",
            "{\"p\": [\"a\", \"b\"], \"n\": [1, 2]}",
            "{\"p\": {\"0\": \"a\", \"1\": \"b\"}, \"n\": {\"0\": 1, \"1\": 2}}",
            "{\"0\": {\"p\": \"a\", \"n\": 1}, \"1\": {\"p\": \"b\", \"n\": 2}}",
            "{\"columns\": [\"p\", \"n\"], \"index\": [0, 1], \"data\": [[\"a\", 1], [\"b\", 2]]}",
            "{\n \"p\": \"a\",\n \"n\": 1\n}\n{\n \"p\": \"b\",\n \"n\": 2\n}",
        ] {
            let json = table(text);
            let (p, n) = (column(&json, "p"), column(&json, "n"));
            // Several splits come in the order of their names here.
            if text.contains("\"train\"") {
                assert_eq!((p.len(), n.len()), (2, 2), "{text}");
            } else {
                assert_eq!(
                    (p, n),
                    (vec!["a".to_owned(), "b".into()], vec!["1".into(), "2".into()]),
                    "{text}"
                );
            }
        }
        // A single row stays one.
        for row in [
            "{\"chosen\": [{\"role\": \"user\", \"content\": \"q\"}], \"rejected\": [{\"role\": \"user\", \"content\": \"q\"}]}",
            "{\"prompt\": \"q\", \"conversation_history\": [{\"a\": 1}]}",
        ] {
            assert_eq!(table(row).container, Container::JsonLines, "{row}");
        }
        for text in ["{\"a\": 1,\n\"b\": {\"c\": 2}\n}", "{\"a\": 1}\n[2]", "[1, 2]", "{\"a\": 1}\n{\"b\":"] {
            assert!(read(Path::new("t"), text.as_bytes().to_vec()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_json_does_not_know_is_mended_and_counted() {
        let json = table(
            "{\"p\": \"NaN \\\\ud83d \\ud83d x\", \"s\": NaN}\n{\"p\": \"\\ud83d\\ude00 \\udc00\", \"s\": -Infinity}\n",
        );
        assert_eq!(column(&json, "p"), ["NaN \\ud83d \u{fffd} x", "😀 \u{fffd}"]);
        assert_eq!(column(&json, "s"), ["–", "–"]);
        assert_eq!(json.notes.len(), 2);
    }

    #[test]
    fn cells_of_different_kinds_keep_what_they_are() {
        let json = table(
            "{\"c\": [{\"content\": \"t\", \"x\": {}}], \"l\": 1, \"m\": {\"a\": 1}}\n{\"c\": [{\"content\": [{\"text\": \"u\"}], \"x\": {}}], \"l\": \"tie\", \"m\": {\"a\": 2}}\n",
        );
        assert_eq!(column(&json, "l"), ["1", "tie"]);
        let DataType::List(inner) = json.frame.column("c").unwrap().dtype().clone() else { panic!() };
        assert!(matches!(*inner, DataType::Struct(_)));
        assert!(matches!(json.frame.column("m").unwrap().dtype(), DataType::Struct(_)));
        assert!(json.notes[0].contains("`c`, `l`"), "{:?}", json.notes);
    }
}
