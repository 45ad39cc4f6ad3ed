//! What is fuzzed: one function a kind of input, each from any bytes to what came of them. Shared by the libFuzzer targets in
//! `fuzz_targets/` and the runner in `tests/integration/fuzz.rs`, which needs no other compiler.

use std::path::Path;
use std::str::FromStr;
use std::sync::LazyLock;

use wimhf::Run;
use wimhf::config::{Config, LabelMap, LabelScale};
use wimhf::constitution::edits::EditFile;
use wimhf::describe::known::ConceptBank;
use wimhf::llm::answers;
use wimhf::pairs::{ReadOptions, read};
use wimhf::score::stream::Source;
use wimhf::sentences::split;

/// Fed with bytes and a folder to write to; says what came of it, in words by which new behaviour is told.
pub type Target = fn(&[u8], &Path) -> String;

/// Every target: its name, what it does, and the endings of files that it begins with.
pub const ALL: [(&str, Target, &[&str]); 11] = [
    ("parquet", parquet, &["parquet"]),
    ("arrow", arrow, &["arrow"]),
    ("csv", csv, &["csv", "tsv"]),
    ("json", json, &["jsonl", "json"]),
    ("packed", packed, &["gz", "zst"]),
    ("labels", labels, &["labels"]),
    ("sentences", sentences, &["jsonl", "csv", "md"]),
    ("answers", answers, &["answer"]),
    ("banks", banks, &["toml"]),
    ("runs", runs, &[]),
    ("streams", streams, &["arrow", "parquet", "jsonl"]),
];

/// For libFuzzer: a folder that stays for as long as the process does; in it a link to the run that `WIMHF_FUZZ_RUN`
/// names.
pub fn in_scratch(target: Target, data: &[u8]) {
    static SCRATCH: LazyLock<Option<tempfile::TempDir>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().ok()?;
        #[cfg(unix)]
        if let Some(run) = std::env::var_os("WIMHF_FUZZ_RUN") {
            std::os::unix::fs::symlink(std::fs::canonicalize(run).ok()?, folder.path().join("run")).ok()?;
        }
        Some(folder)
    });
    if let Some(folder) = &*SCRATCH {
        target(data, folder.path());
    }
}

/// A message without what differs from file to file.
fn kind_of(text: impl std::fmt::Display) -> String {
    text.to_string().chars().filter(|c| !c.is_ascii_digit()).take(120).collect()
}

fn dataset(data: &[u8], folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    if std::fs::write(&path, data).is_err() {
        return "no room".into();
    }
    match read(&path.to_string_lossy(), &ReadOptions::default()) {
        Ok((pairs, report)) => {
            assert_eq!(report.pairs_used, pairs.judgements.pair.len());
            assert!(pairs.judgements.label.iter().all(|label| label.is_nan() || (0.0..=1.0).contains(label)));
            format!("{}, {} notes", report.shape, report.notes.len())
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains("\nhint: "), "nothing to do is named: {said}");
            kind_of(said)
        }
    }
}

/// A Parquet file as a dataset.
pub fn parquet(data: &[u8], folder: &Path) -> String {
    dataset(data, folder, "x.parquet")
}

/// An Arrow file or stream as a dataset.
pub fn arrow(data: &[u8], folder: &Path) -> String {
    dataset(data, folder, "x.arrow")
}

/// Separated text as a dataset.
pub fn csv(data: &[u8], folder: &Path) -> String {
    dataset(data, folder, if data.len().is_multiple_of(2) { "x.csv" } else { "x.tsv" })
}

/// JSON of any arrangement as a dataset.
pub fn json(data: &[u8], folder: &Path) -> String {
    dataset(data, folder, if data.len().is_multiple_of(2) { "x.jsonl" } else { "x.json" })
}

/// Packed text as a dataset.
pub fn packed(data: &[u8], folder: &Path) -> String {
    dataset(data, folder, if data.starts_with(&[0x1f, 0x8b]) { "x.jsonl.gz" } else { "x.jsonl.zst" })
}

/// Each line is a label of its own pair; and the first one is a map and a scale of labels.
pub fn labels(data: &[u8], folder: &Path) -> String {
    let text = String::from_utf8_lossy(data);
    let (map, scale) = (LabelMap::from_str(&text), LabelScale::from_str(&text));
    let mut rows = String::new();
    for (row, label) in text.lines().enumerate() {
        let line = serde_json::json!({ "response_A": format!("one {row}"), "response_B": format!("{row} another"), "label": label });
        rows.push_str(&format!("{line}\n"));
    }
    format!("{} {} {}", map.is_ok(), scale.is_ok(), dataset(rows.as_bytes(), folder, "x.jsonl"))
}

/// Sentences lie one after the other inside of the text, on whole characters.
pub fn sentences(data: &[u8], _: &Path) -> String {
    let text = String::from_utf8_lossy(data);
    let (mut kinds, mut length) = (std::collections::BTreeSet::new(), 0);
    for sentence in split(&text) {
        kinds.insert(sentence.kind.name());
        length = length.max(sentence.of(&text).len().ilog2_or_zero());
    }
    format!("{kinds:?} {length}")
}

trait OrZero {
    fn ilog2_or_zero(self) -> u32;
}

impl OrZero for usize {
    fn ilog2_or_zero(self) -> u32 {
        self.checked_ilog2().unwrap_or(0)
    }
}

/// What a model may answer.
pub fn answers(data: &[u8], _: &Path) -> String {
    let text = String::from_utf8_lossy(data);
    let asked = [("pair_ab12".to_owned(), 2), ("pair_cd34".to_owned(), 1)];
    let verdicts = answers::verdicts(&text, &asked);
    assert_eq!(verdicts.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    let choices = answers::choices(&text, &["pair_ab12", "pair_cd34"]);
    assert_eq!(choices.len(), 2);
    for (_, at) in verdicts.into_iter().flatten().chain(choices.clone()).flatten() {
        assert!(text.is_char_boundary(at), "a verdict stands in the text");
    }
    let rules = answers::rules(&text, 5);
    assert!(rules.len() <= 5);
    format!(
        "{} {} {} {} {}",
        choices.iter().flatten().count(),
        answers::field(&text, "concept").is_some(),
        answers::objects(&text).len().min(9),
        answers::description(&text).is_some(),
        rules.len()
    )
}

/// A bank of concepts, settings, and edits of a constitution.
pub fn banks(data: &[u8], folder: &Path) -> String {
    let path = folder.join("x.toml");
    if std::fs::write(&path, data).is_err() {
        return "no room".into();
    }
    let bank = match ConceptBank::with_file(&path) {
        Ok(bank) => format!("{} of {}", bank.read("Why?", "I'm sorry, no.").len(), bank.concepts().len()),
        Err(error) => kind_of(error),
    };
    let config = Config::from_file(&path).and_then(|config| config.validate());
    let edits = EditFile::read(&path);
    format!("{bank}; {}; {}", config.err().map_or_else(String::new, kind_of), edits.is_ok())
}

/// Files of a run that [`runs`] damages, by the first byte of its input.
pub const RUN_FILES: [&str; 9] = [
    "run.json",
    "principles.json",
    "stages/described.json",
    "stages/themes.json",
    "stages/effects.json",
    "sae.json",
    "features.parquet",
    "activations.parquet",
    "sae.safetensors",
];

/// One file of the finished run in `run` replaced, and the run opened and read.
pub fn runs(data: &[u8], folder: &Path) -> String {
    let Some((&which, content)) = data.split_first() else { return "nothing".into() };
    let run = folder.join("run");
    let path = run.join(RUN_FILES[usize::from(which) % RUN_FILES.len()]);
    let Ok(whole) = std::fs::read(&path) else { return "no run to damage".into() };
    if std::fs::write(&path, content).is_err() {
        return "no room".into();
    }
    let outcome = match Run::open(&run) {
        Ok(run) => {
            let read = [
                run.activations().err().map(kind_of),
                run.described().err().map(kind_of),
                run.autoencoder().err().map(kind_of),
                run.sources().is_empty().then(|| "no source".to_owned()),
                run.feature("refuses").err().map(kind_of),
            ];
            format!("{which} {read:?}")
        }
        Err(error) => kind_of(error),
    };
    // The next input finds it whole.
    let _ = std::fs::write(&path, whole);
    outcome
}

/// What `score` takes: an Arrow stream, Parquet or JSON lines, batch by batch.
pub fn streams(data: &[u8], folder: &Path) -> String {
    let path = folder.join("x.any");
    if std::fs::write(&path, data).is_err() {
        return "no room".into();
    }
    let mut source = match Source::open(&path.to_string_lossy()) {
        Ok(source) => source,
        Err(error) => return kind_of(error),
    };
    let mut rows = 0_usize;
    // More batches than bytes: it does not come to an end.
    for _ in 0..=data.len() {
        match source.next_batch() {
            Ok(Some(batch)) => rows += batch.height(),
            Ok(None) => return format!("{} columns, {} rows", source.schema().len(), rows.ilog2_or_zero()),
            Err(error) => return kind_of(error),
        }
    }
    panic!("a stream of {} bytes without an end", data.len());
}
