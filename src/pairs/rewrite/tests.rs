//! Every container and every way to write labels: untouched rows stay as they are, undo gives the original.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use polars::prelude::*;
use proptest::prelude::*;

use super::{ADDED, Action, Changes, Edit, RewriteError, WEIGHT, undo, write};
use crate::pairs::codes::Codes;
use crate::pairs::table::Packing;
use crate::pairs::{Layout, ReadOptions, read};

/// How the label says who won, with the opposite of each of its values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum LabelKind {
    Integers,
    Floats,
    Signs,
    Booleans,
    Words,
    /// No label: the preferred response stands first.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Parquet,
    Ipc,
    Csv,
    Tsv,
    CsvPacked,
    Lines,
    LinesPacked,
    Array,
}

const KINDS: [Kind; 8] = [
    Kind::Parquet,
    Kind::Ipc,
    Kind::Csv,
    Kind::Tsv,
    Kind::CsvPacked,
    Kind::Lines,
    Kind::LinesPacked,
    Kind::Array,
];
const LABELS: [LabelKind; 6] = [
    LabelKind::Integers,
    LabelKind::Floats,
    LabelKind::Signs,
    LabelKind::Booleans,
    LabelKind::Words,
    LabelKind::None,
];

#[derive(Debug, Clone)]
struct Row {
    texts: [String; 3],
    label: usize,
    /// 0 untouched, then flip, drop, tie, weight.
    action: usize,
}

impl LabelKind {
    /// Value, opposite, both as written.
    fn values(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Integers => &[("1", "0"), ("0", "1")],
            Self::Floats => &[("1.0", "0.0"), ("0.0", "1.0"), ("0.25", "0.75")],
            Self::Signs => &[("-1", "1"), ("1", "-1")],
            Self::Booleans => &[("true", "false"), ("false", "true")],
            Self::Words => &[("model_a", "model_b"), ("model_b", "model_a")],
            Self::None => &[],
        }
    }

    fn tie(self) -> Option<&'static str> {
        match self {
            Self::Signs => Some("0"),
            Self::Words => Some("tie"),
            Self::Floats => Some("0.5"),
            // A whole number or a truth value cannot say tie in a typed column.
            _ => None,
        }
    }

    fn name(self) -> Option<&'static str> {
        (self != Self::None).then_some("winner, so to say")
    }
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Self::Parquet => "data.parquet",
            Self::Ipc => "data.arrow",
            Self::Csv => "data.csv",
            Self::Tsv => "data.tsv",
            Self::CsvPacked => "data.csv.gz",
            Self::Lines => "data.jsonl",
            Self::LinesPacked => "data.jsonl.gz",
            Self::Array => "data.json",
        }
    }

    fn binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Ipc)
    }
}

/// The rows as a table: prompt, note, both responses, label, a number.
fn frame(rows: &[Row], labels: LabelKind) -> DataFrame {
    let text = |at: usize| rows.iter().map(|row| row.texts[at].clone()).collect::<Vec<_>>();
    let mut columns = vec![
        Column::new("question".into(), text(0)),
        Column::new("a".into(), text(1)),
        Column::new("b".into(), text(2)),
    ];
    let written: Vec<&str> = rows.iter().map(|row| value(row, labels)).collect();
    if let Some(name) = labels.name() {
        columns.push(match labels {
            LabelKind::Integers | LabelKind::Signs => {
                let values: Vec<i64> = written.iter().map(|v| v.parse().unwrap()).collect();
                Column::new(name.into(), values)
            }
            LabelKind::Floats => {
                let values: Vec<f64> = written.iter().map(|v| v.parse().unwrap()).collect();
                Column::new(name.into(), values)
            }
            LabelKind::Booleans => {
                Column::new(name.into(), written.iter().map(|v| *v == "true").collect::<Vec<_>>())
            }
            _ => Column::new(name.into(), written),
        });
    }
    columns.push(Column::new("n".into(), (0..rows.len() as i64).collect::<Vec<_>>()));
    DataFrame::new(rows.len(), columns).unwrap()
}

fn value(row: &Row, labels: LabelKind) -> &'static str {
    let values = labels.values();
    if values.is_empty() { "" } else { values[row.label % values.len()].0 }
}

/// The rows as text, and each row's own bytes.
fn text(rows: &[Row], labels: LabelKind, kind: Kind) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut own = Vec::new();
    match kind {
        Kind::Lines | Kind::LinesPacked | Kind::Array => {
            for (n, row) in rows.iter().enumerate() {
                let quoted = |text: &str| serde_json::to_string(text).unwrap();
                // Two ways to lay out an object.
                let (comma, colon) = if n % 2 == 0 { (", ", ": ") } else { (",", ":") };
                let mut fields = vec![
                    format!("\"question\"{colon}{}", quoted(&row.texts[0])),
                    format!("\"a\"{colon}{}", quoted(&row.texts[1])),
                    format!("\"b\"{colon}{}", quoted(&row.texts[2])),
                ];
                if let Some(name) = labels.name() {
                    let value = value(row, labels);
                    let value = if labels == LabelKind::Words { quoted(value) } else { value.to_owned() };
                    fields.push(format!("{}{colon}{value}", quoted(name)));
                }
                fields.push(format!("\"n\"{colon}{n}"));
                own.push(format!("{{{}}}", fields.join(comma)).into_bytes());
            }
            let joined = if kind == Kind::Array {
                [b"[\n  ".to_vec(), own.join(&b",\n  "[..]), b"\n]\n".to_vec()].concat()
            } else {
                // No line end after the last row.
                own.join(&b'\n')
            };
            (joined, own)
        }
        _ => {
            let separator = if kind == Kind::Tsv { b'\t' } else { b',' };
            let line = |fields: &[&str]| {
                let mut writer =
                    csv::WriterBuilder::new().delimiter(separator).has_headers(false).from_writer(Vec::new());
                writer.write_record(fields).unwrap();
                let mut bytes = writer.into_inner().unwrap();
                bytes.pop();
                bytes
            };
            let end: &[u8] = if rows.len().is_multiple_of(2) { b"\r\n" } else { b"\n" };
            let mut names = vec!["question", "a", "b"];
            names.extend(labels.name());
            names.push("n");
            let mut bytes = [line(&names), end.to_vec()].concat();
            for (n, row) in rows.iter().enumerate() {
                let n = n.to_string();
                let mut fields: Vec<&str> = row.texts.iter().map(String::as_str).collect();
                if labels.name().is_some() {
                    fields.push(value(row, labels));
                }
                fields.push(&n);
                let row = line(&fields);
                bytes.extend_from_slice(&row);
                bytes.extend_from_slice(end);
                own.push(row);
            }
            (bytes, own)
        }
    }
}

fn unpacked(path: &Path) -> Vec<u8> {
    super::text::read(path).unwrap()
}

/// Reads a relabelled file as anybody would: every column as text.
fn read_back(path: &Path, kind: Kind) -> Vec<Vec<(String, String)>> {
    let json = |value: serde_json::Value| match value {
        serde_json::Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| match value {
                serde_json::Value::String(text) => (name, text),
                other => (name, other.to_string()),
            })
            .collect(),
        other => panic!("{other}"),
    };
    match kind {
        Kind::Parquet | Kind::Ipc => {
            let file = fs::File::open(path).unwrap();
            let table = if kind == Kind::Ipc {
                IpcReader::new(file).finish().unwrap()
            } else {
                ParquetReader::new(file).finish().unwrap()
            };
            let columns: Vec<(String, StringChunked)> = table
                .columns()
                .iter()
                .map(|c| {
                    let text = c.cast(&DataType::String).unwrap();
                    (c.name().to_string(), text.str().unwrap().clone())
                })
                .collect();
            (0..table.height())
                .map(|row| {
                    columns
                        .iter()
                        .map(|(name, c)| (name.clone(), c.get(row).unwrap_or("null").to_owned()))
                        .collect()
                })
                .collect()
        }
        Kind::Array => {
            let rows: Vec<serde_json::Value> = serde_json::from_slice(&unpacked(path)).unwrap();
            rows.into_iter().map(json).collect()
        }
        Kind::Lines | Kind::LinesPacked => unpacked(path)
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| json(serde_json::from_slice(line).unwrap()))
            .collect(),
        Kind::Csv | Kind::Tsv | Kind::CsvPacked => {
            let bytes = unpacked(path);
            let separator = if kind == Kind::Tsv { b'\t' } else { b',' };
            let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(&bytes[..]);
            let names = reader.headers().unwrap().clone();
            reader
                .records()
                .map(|record| {
                    let record = record.unwrap();
                    names.iter().zip(record.iter()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
                })
                .collect()
        }
    }
}

/// What every row must say after the changes, in order; dropped rows are missing.
fn expected(rows: &[Row], labels: LabelKind) -> Vec<(usize, [String; 3], String, &'static str)> {
    rows.iter()
        .enumerate()
        .filter_map(|(n, row)| {
            let mut texts = row.texts.clone();
            let mut label = value(row, labels).to_owned();
            let action = ["keep", "flip", "drop", "tie", "weight"][row.action];
            match action {
                "flip" if labels == LabelKind::None => texts.swap(1, 2),
                "flip" => {
                    let values = labels.values();
                    label = values[row.label % values.len()].1.to_owned();
                }
                "tie" => label = labels.tie().unwrap().to_owned(),
                "drop" => return None,
                _ => {}
            }
            Some((n, texts, label, action))
        })
        .collect()
}

fn same_number(a: &str, b: &str) -> bool {
    a == b || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

fn check(mut rows: Vec<Row>, labels: LabelKind, kind: Kind) {
    for row in &mut rows {
        if row.action == 3 && labels.tie().is_none() {
            row.action = 2;
        }
    }
    // All of −1, 0, 1 or nothing says that they are signs.
    if labels == LabelKind::Signs && !rows.is_empty() {
        rows[0].label = 0;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(kind.file());
    let (bytes, own) = text(&rows, labels, kind);
    match kind {
        Kind::Parquet => {
            let file = fs::File::create(&path).unwrap();
            ParquetWriter::new(file).finish(&mut frame(&rows, labels)).map(drop).unwrap();
        }
        Kind::Ipc => {
            let file = fs::File::create(&path).unwrap();
            IpcWriter::new(file).finish(&mut frame(&rows, labels)).unwrap();
        }
        Kind::CsvPacked | Kind::LinesPacked => {
            fs::write(&path, super::text::packed(bytes.clone(), Some(Packing::Gzip), &path).unwrap())
                .unwrap();
        }
        _ => fs::write(&path, &bytes).unwrap(),
    }
    let before = fs::read(&path).unwrap();
    let actions = [None, Some(Action::Flip), Some(Action::Drop), Some(Action::Tie), Some(Action::Weight)];
    let marks = rows
        .iter()
        .enumerate()
        .filter_map(|(n, row)| {
            let action = actions[row.action]?;
            Some((n as u32, Edit { action, rule: format!("rule \"{n}\",\t\n…"), score: 0.5 }))
        })
        .collect();
    let changes = Changes { marks, weight: 0.25 };
    let layout = Layout {
        files: vec![path.clone()],
        rows: vec![rows.len()],
        prompt: Some("question".into()),
        first: "a".into(),
        second: "b".into(),
        label: labels.name().map(str::to_owned),
        chosen_first: labels == LabelKind::None,
        codes: if labels == LabelKind::Signs { Codes::Signs } else { Codes::Shares },
        ..Layout::default()
    };
    let out = dir.path().join(format!("out-{}", kind.file()));
    let written = write(&layout, &changes, &out).unwrap();
    let due = expected(&rows, labels);
    assert_eq!(written.rows, due.len());
    assert_eq!(fs::read(&path).unwrap(), before, "the original is untouched");

    let found = read_back(&out, kind);
    assert_eq!(found.len(), due.len());
    let weighs = rows.iter().any(|row| row.action == 4);
    for (found, (n, texts, label, action)) in found.iter().zip(&due) {
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let mut wanted = vec!["question", "a", "b"];
        wanted.extend(labels.name());
        wanted.push("n");
        wanted.extend(ADDED);
        wanted.extend(weighs.then_some(WEIGHT));
        // A JSON object is read into a map without order here; its bytes are checked below.
        if !matches!(kind, Kind::Lines | Kind::LinesPacked | Kind::Array) {
            assert_eq!(names, wanted);
        }
        let get = |name: &str| &found.iter().find(|(other, _)| other == name).unwrap().1;
        assert_eq!(get("n"), &n.to_string(), "rows keep their order");
        for (name, text) in ["question", "a", "b"].iter().zip(texts) {
            assert_eq!(get(name), text);
        }
        if let Some(name) = labels.name() {
            assert!(same_number(get(name), label), "row {n}, {action}: {} is not {label}", get(name));
            assert!(same_number(get(ADDED[0]), value(&rows[*n], labels)), "{}", get(ADDED[0]));
        } else {
            assert_eq!(get(ADDED[0]), if *action == "flip" { "0" } else { "1" });
        }
        assert_eq!(get(ADDED[1]), action);
        let rule = if *action == "keep" { String::new() } else { format!("rule \"{n}\",\t\n…") };
        assert_eq!(get(ADDED[2]), &rule);
        assert!(same_number(get(ADDED[3]), if *action == "keep" { "0" } else { "0.5" }));
        if weighs {
            assert!(same_number(get(WEIGHT), if *action == "weight" { "0.25" } else { "1" }));
        }
    }
    // Untouched rows are there byte by byte, in order.
    if !kind.binary() {
        let text = unpacked(&out);
        let mut at = 0;
        for (row, own) in rows.iter().zip(&own).filter(|(row, _)| row.action == 0) {
            let closed = matches!(kind, Kind::Lines | Kind::LinesPacked | Kind::Array);
            let own = if closed { &own[..own.len() - 1] } else { &own[..] };
            let place = text[at..].windows(own.len()).position(|window| window == own);
            at += place.unwrap_or_else(|| panic!("row {row:?} is not there as it was")) + own.len();
        }
    }

    // Undo, with the original in its place and without it.
    let restored = dir.path().join(format!("restored-{}", kind.file()));
    let undone = undo(&out, &restored).unwrap();
    assert_eq!(undone[0].rows, rows.len());
    if kind.binary() {
        assert_eq!(fs::read(&restored).unwrap(), before);
        assert!(undone[0].exact);
        fs::remove_file(&path).unwrap();
        undo(&out, &restored).unwrap();
        let open = |path: &Path| {
            let file = fs::File::open(path).unwrap();
            if kind == Kind::Ipc {
                IpcReader::new(file).finish().unwrap()
            } else {
                ParquetReader::new(file).finish().unwrap()
            }
        };
        assert!(open(&restored).equals_missing(&frame(&rows, labels)));
        assert_eq!(open(&restored).schema(), frame(&rows, labels).schema());
    } else {
        fs::remove_file(&path).unwrap();
        undo(&out, &restored).unwrap();
        assert_eq!(unpacked(&restored), bytes);
    }

    // A file that was changed since cannot be undone, and says so.
    let mut spoilt = fs::read(&out).unwrap();
    spoilt.push(b'\n');
    fs::write(&out, spoilt).unwrap();
    assert!(matches!(undo(&out, &restored), Err(RewriteError::Changed { .. })));
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // Everything that breaks a careless writer.
    let hostile = prop::sample::select(vec![
        ",", "\"", "\"\"", "\n", "\r\n", "\t", "\\", "\\\"", "{", "}]", "[", "null", " ", "é", "🙂", "中",
        "\u{2028}", "'", "word", "A", "0", "--", "a,b", ";",
    ]);
    let text = prop::collection::vec(hostile, 1..6).prop_map(|parts| format!("x{}y", parts.concat()));
    let row = (text.clone(), text.clone(), text, 0..6usize, prop_oneof![4 => Just(0), 4 => 1..5usize])
        .prop_map(|(p, a, b, label, action)| Row { texts: [p, a, b], label, action });
    prop::collection::vec(row, 1..9)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn untouched_rows_stay_and_undo_is_exact(
        rows in rows(),
        labels in prop::sample::select(LABELS.to_vec()),
        kind in prop::sample::select(KINDS.to_vec()),
    ) {
        check(rows, labels, kind);
    }
}

/// Each container with each way to write labels at least once, whatever the dice say.
#[test]
fn every_container_and_every_label() {
    let rows: Vec<Row> = (0..5)
        .map(|n| Row {
            texts: [format!("p{n}"), format!("one, \"{n}\"\nmore"), format!("two {n}")],
            label: n,
            action: n,
        })
        .collect();
    for kind in KINDS {
        for labels in LABELS {
            check(rows.clone(), labels, kind);
        }
        // Nothing is left, and nothing was changed.
        let all = |action: usize| rows.iter().cloned().map(|row| Row { action, ..row }).collect();
        check(all(2), LabelKind::Floats, kind);
        check(all(0), LabelKind::Floats, kind);
    }
}

#[test]
fn several_files_come_back_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<Row> = (0..6)
        .map(|n| Row {
            texts: [format!("p{n}"), format!("one {n}"), format!("two {n}")],
            label: n,
            action: 0,
        })
        .collect();
    let files: Vec<PathBuf> = ["s-0.csv", "s-1.csv"].iter().map(|name| dir.path().join(name)).collect();
    for (file, rows) in files.iter().zip(rows.chunks(3)) {
        fs::write(file, text(rows, LabelKind::Integers, Kind::Csv).0).unwrap();
    }
    let mark = |action| Edit { action, rule: "r".into(), score: 1.0 };
    let marks = [(1, mark(Action::Drop)), (3, mark(Action::Flip)), (4, mark(Action::Flip))];
    let changes = Changes { marks: marks.into(), weight: 0.0 };
    let layout = Layout {
        files: files.clone(),
        rows: vec![3, 3],
        prompt: None,
        first: "a".into(),
        second: "b".into(),
        label: LabelKind::Integers.name().map(str::to_owned),
        chosen_first: false,
        ..Layout::default()
    };
    let out = dir.path().join("out");
    let written = write(&layout, &changes, &out).unwrap();
    assert_eq!((written.rows, written.files.len()), (5, 2));
    let back = dir.path().join("back");
    undo(&out, &back).unwrap();
    for file in &files {
        assert_eq!(fs::read(back.join(file.file_name().unwrap())).unwrap(), fs::read(file).unwrap());
    }
    // The dataset itself is never the output.
    let error =
        write(&Layout { files: vec![files[0].clone()], rows: vec![3], ..layout }, &changes, &files[0]);
    assert!(matches!(error, Err(RewriteError::OntoItself(_))), "{error:?}");
}

/// The share for the alphabetically first response of every pair, by prompt and responses.
fn preferences(path: &Path, options: &ReadOptions) -> (BTreeMap<[String; 3], f32>, crate::pairs::ReadReport) {
    let (pairs, report) = read(&path.to_string_lossy(), options).unwrap();
    let mut all = BTreeMap::new();
    for (&pair, &label) in pairs.judgements.pair.iter().zip(&pairs.judgements.label) {
        let pair = pair as usize;
        let (a, b) = (pairs.response_a.get(pair).to_owned(), pairs.response_b.get(pair).to_owned());
        let prompt = pairs.prompt.get(pair).to_owned();
        let (key, share) = if a <= b { ([prompt, a, b], label) } else { ([prompt, b, a], 1.0 - label) };
        all.insert(key, share);
    }
    (all, report)
}

/// Reads a file, flips one row, drops one, writes it back, reads that, and takes it back. `None`: it was refused.
fn round_trip(path: &Path, options: &ReadOptions) -> Option<RewriteError> {
    let (before, report) = preferences(path, options);
    let mark = |action| Edit { action, rule: "a, \"rule\"".into(), score: 0.5 };
    let (flip, drop) = (1, 2);
    let marks = [(flip, mark(Action::Flip)), (drop, mark(Action::Drop))];
    let changes = Changes { marks: marks.into(), weight: 0.0 };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join(path.file_name().unwrap());
    let original = report.layout.files.first().cloned();
    if let Err(error) = write(&report.layout, &changes, &out) {
        assert!(!out.exists(), "{}: {error}", path.display());
        return Some(error);
    }
    let out = if out.is_dir() { fs::read_dir(&out).unwrap().next().unwrap().unwrap().path() } else { out };
    let (after, _) = preferences(&out, options);
    assert_eq!(after.len() + 1, before.len(), "{}", path.display());
    let changed: Vec<_> = after.iter().filter(|(key, share)| before[*key] != **share).collect();
    assert_eq!(changed.len(), 1, "{}: {changed:?}", path.display());
    let (key, share) = changed[0];
    assert!((before[key] - (1.0 - share)).abs() < 1e-6, "{}: {key:?}", path.display());
    let restored = dir.path().join("restored");
    let undone = undo(&out, &restored).unwrap();
    assert!(undone[0].exact, "{}", path.display());
    let (restored, original) = (unpacked(&restored), unpacked(&original.unwrap()));
    assert!(restored == original, "{} is not restored byte by byte", path.display());
    None
}

/// Every format and container of the fixtures: written back and restored, or refused with a reason.
#[test]
fn whatever_is_read_comes_back_or_is_refused() {
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shapes");
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for folder in [shapes.clone(), shapes.join("public")] {
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".py") || name == "public" || name.starts_with('_') {
                continue;
            }
            let preference = name.contains("pku").then(|| "helpful".to_owned());
            match round_trip(&file, &ReadOptions { preference, ..ReadOptions::default() }) {
                None => done.push(name),
                Some(RewriteError::Shape | RewriteError::Container { .. }) => refused.push(name),
                Some(error) => panic!("{name}: {error}"),
            }
        }
    }
    for name in [
        "hh_rlhf",
        "ultrafeedback_binarized",
        "shp",
        "pku_saferlhf",
        "helpsteer3",
        "arena",
        "webgpt",
        "summarize_from_feedback",
        "stack_exchange",
    ] {
        for container in ["jsonl", "parquet", "saved"] {
            assert!(done.contains(&format!("{name}.{container}")), "{name}.{container}: {refused:?}");
        }
    }
    for name in ["icai.csv", "own.parquet", "arena.parquet"] {
        assert!(done.iter().any(|other| other == name), "{name}");
    }
    for name in ["annotated_pairs.json", "nectar.jsonl", "reward_bench_2.parquet", "ultrafeedback.saved"] {
        assert!(refused.iter().any(|other| other == name), "{name}");
    }
}

/// Dialects and packings that only their own reader takes as they are meant.
#[test]
fn odd_texts_come_back_byte_by_byte() {
    let dir = tempfile::tempdir().unwrap();
    let zstd = |text: &str| zstd::stream::encode_all(text.as_bytes(), 0).unwrap();
    let jsonl = "{\"prompt\":\"p0\",\"response_A\":\"a0\",\"response_B\":\"b0\",\"label\":1,\"x\":NaN}\n{\"prompt\":\"p1\",\"response_A\":\"a1 \\ud83d\",\"response_B\":\"b1\",\"label\":0,\"x\":1}\r\n{\"prompt\":\"p2\",\"response_A\":\"a2\",\"response_B\":\"b2\",\"label\":1,\"x\":Infinity}";
    let files: [(&str, Vec<u8>); 11] = [
        ("sep.csv", b"sep=;\r\nprompt;response_A;response_B;label\r\np0;a,0;b0;1\r\np1;a1;\"b;1\";0\r\np2;a2;b2;1\r\n".to_vec()),
        ("bom.csv", b"\xef\xbb\xbfprompt;response_A;response_B;label;;\r\np0;a0;b0;1;;\r\np1;a1;b1;0;;\r\np2;a2;b2;1;;\r\n".to_vec()),
        ("cr.csv", b"prompt,response_A,response_B,label\rp0,\"a\r0\",b0,1\rp1,a1,b1,0\rp2,a2,b2,1\r".to_vec()),
        ("backslash.csv", b"prompt,response_A,response_B,label\n\"p \\\"0\\\", x\",a0,b0,1\n\"p1\",\"a\\\\1\",b1,0\np2,a2,b2,1\n".to_vec()),
        ("literal.tsv", b"prompt\tresponse_A\tresponse_B\tlabel\n\"p0\" x\ta0\tb0\t1\np1\t5\"\tb1\t0\np2\ta2\tb2\t1\n".to_vec()),
        ("loose.csv", b"prompt,response_A,response_B,label\np0,5\" pipe,b0,1\np1,a1,b1,0\np2,a2,b2,1".to_vec()),
        ("nameless.csv", b",prompt,response_A,response_B,winner,\n0,p0,a0,b0,model_a,\n1,p1,a1,b1,model_b,\n2,p2,a2,b2,tie,\n".to_vec()),
        ("nan.jsonl", jsonl.as_bytes().to_vec()),
        ("nan.jsonl.zst", zstd(jsonl)),
        ("likert.jsonl", b"{\"prompt\":\"p0\",\"response1\":\"a0\",\"response2\":\"b0\",\"overall_preference\":-3}\n{\"prompt\":\"p1\",\"response1\":\"a1\",\"response2\":\"b1\",\"overall_preference\":2}\n{\"prompt\":\"p2\",\"response1\":\"a2\",\"response2\":\"b2\",\"overall_preference\":0}\n".to_vec()),
        ("words.json", b"[{\"question\":\"p0\",\"answer_1\":\"a0\",\"answer_2\":\"b0\",\"winner\":\"Answer 1 is much better\"},\n {\"question\":\"p1\",\"answer_1\":\"a1\",\"answer_2\":\"b1\",\"winner\":\"Answer 2 is slightly better\"},{\"question\":\"p2\",\"answer_1\":\"a2\",\"answer_2\":\"b2\",\"winner\":\"tie\"}]".to_vec()),
    ];
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        assert!(round_trip(&path, &ReadOptions::default()).is_none(), "{name} was refused");
    }
    // Rows that have no place of their own, or too many fields to add some, are refused with a reason.
    let rows = "{\"data\": [{\"prompt\":\"p0\",\"response_A\":\"a0\",\"response_B\":\"b0\",\"label\":1},{\"prompt\":\"p1\",\"response_A\":\"a1\",\"response_B\":\"b1\",\"label\":0},{\"prompt\":\"p2\",\"response_A\":\"a2\",\"response_B\":\"b2\",\"label\":0}]}";
    let surplus = "prompt,response_A,response_B,label\np0,a0,b0,1,,\np1,a1,b1,0,,\np2,a2,b2,1,,\n";
    for (name, text) in [("key.json", rows), ("surplus.csv", surplus)] {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        let message = round_trip(&path, &ReadOptions::default()).unwrap().to_string();
        assert!(message.contains("hint:"), "{message}");
    }
}

/// What stands beside a response goes where it goes.
#[test]
fn scores_change_places_with_their_responses() {
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shapes/public");
    let dir = tempfile::tempdir().unwrap();
    for container in ["jsonl", "parquet"] {
        let path = shapes.join(format!("ultrafeedback_binarized.{container}"));
        let (_, report) = preferences(&path, &ReadOptions::default());
        assert_eq!(report.layout.twins, [("score_chosen".to_owned(), "score_rejected".to_owned())]);
        let roles: Vec<&str> = (report.sources[0].columns.iter())
            .filter(|column| column.name.starts_with("score"))
            .filter_map(|column| column.role.as_deref())
            .collect();
        assert_eq!(roles, ["goes with the preferred one", "goes with the other one"]);
        let mark = Edit { action: Action::Flip, rule: "r".into(), score: 1.0 };
        let changes = Changes { marks: [(0, mark)].into(), weight: 0.0 };
        let out = dir.path().join(format!("out.{container}"));
        write(&report.layout, &changes, &out).unwrap();
        let rows = if container == "jsonl" { read_back(&out, Kind::Lines) } else { numbers_of(&out) };
        let get =
            |row: usize, name: &str| rows[row].iter().find(|(other, _)| other == name).unwrap().1.clone();
        assert_eq!((get(0, "score_chosen"), get(0, "score_rejected")), ("4.0".into(), "8.5".into()));
        assert_eq!((get(1, "score_chosen"), get(1, "score_rejected")), ("8.5".into(), "4.0".into()));
        assert_eq!(get(0, ADDED[0]), "0");
    }
}

/// The plain columns of a Parquet file as texts.
fn numbers_of(path: &Path) -> Vec<Vec<(String, String)>> {
    let table = ParquetReader::new(fs::File::open(path).unwrap()).finish().unwrap();
    let plain: Vec<&Column> = table.columns().iter().filter(|column| !column.dtype().is_nested()).collect();
    let text = |column: &Column, row: usize| match column.get(row).unwrap() {
        AnyValue::Float64(value) => format!("{value:?}"),
        value => value.to_string(),
    };
    (0..table.height())
        .map(|row| plain.iter().map(|c| (c.name().to_string(), text(c, row))).collect())
        .collect()
}
