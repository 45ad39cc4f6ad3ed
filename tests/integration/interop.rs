//! Files for other programs, read by those programs: needs `WIMHF_PYTHON`, a Python with the packages of
//! `tests/interop/requirements.txt`, as `.ci/run` has it.

use std::path::Path;
use std::process::{Command, Output};

use polars::prelude::*;
use wimhf::run::Run;

use crate::util::{analyze, data, json, parquet, root, small, stderr, stdout, wimhf, write};

/// A script of `tests/interop/`, or of the notebooks, under that Python.
pub fn python(script: &str) -> Command {
    let python = std::env::var_os("WIMHF_PYTHON").expect(
        "WIMHF_PYTHON names a Python with the packages of tests/interop/requirements.txt; `.ci/run` makes one",
    );
    let mut command = Command::new(python);
    command.arg(root().join(script)).env("OMP_NUM_THREADS", "1").env("HF_HUB_OFFLINE", "1");
    command
}

pub fn checked(command: &mut Command) -> Output {
    let output = command.output().expect("Python starts");
    assert!(output.status.success(), "{}\n{}", stdout(&output), stderr(&output));
    output
}

fn run(dir: &Path, data: &str, name: &str) {
    let output = analyze(dir, &[data, "--out", name, "--quiet"]);
    assert!(output.status.success(), "{name}: {}", stderr(&output));
}

/// `small` with a clear preference for lists, and a change to its columns.
fn variant(dir: &Path, name: &str, rows: usize, change: impl FnOnce(&mut DataFrame)) {
    let path = dir.join(format!("{name}.parquet"));
    small(&path, rows, |i| {
        let (a, b) = ((i * 7) % 5 == 0, (i * 7 + 3) % 5 == 0);
        f64::from(u8::from(if a == b { i % 2 == 0 } else { a != (i % 9 == 0) }))
    });
    let mut table = parquet(&path);
    change(&mut table);
    write(&path, table);
    run(dir, &format!("{name}.parquet"), name);
}

/// A copy of a run with the first of its principles alone, exported again.
fn alone(dir: &Path, name: &str, to: &str) {
    let copied = Command::new("cp").arg("-r").arg(dir.join(name)).arg(dir.join(to)).status().unwrap();
    assert!(copied.success());
    let file = dir.join(to).join("principles.json");
    let mut findings = json(&file);
    findings["principles"].as_array_mut().unwrap().truncate(1);
    std::fs::write(&file, findings.to_string()).unwrap();
    let out = format!("{to}/annotated_pairs.json");
    let exported = wimhf(dir)
        .args(["export", to, "--format", "annotated-pairs", "--out", &out, "--force"])
        .output()
        .unwrap();
    assert!(exported.status.success(), "{}", stderr(&exported));
}

fn set(table: &mut DataFrame, name: &str, values: impl IntoIterator<Item = String>) {
    table.with_column(Column::new(name.into(), values.into_iter().collect::<Vec<_>>())).unwrap();
}

#[test]
#[ignore = "needs WIMHF_PYTHON with tests/interop/requirements.txt; `.ci/run` runs it"]
fn feedback_forensics_loads_every_variant_and_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    run(at, &data("sample.parquet"), "sample");
    variant(at, "plain", 400, |_| {});
    variant(at, "ties", 400, |table| {
        let labels = table.column("label").unwrap().f64().unwrap().clone();
        let ties: Vec<f64> =
            labels.iter().enumerate().map(|(i, y)| if i % 4 == 3 { 0.5 } else { y.unwrap() }).collect();
        table.with_column(Column::new("label".into(), ties)).unwrap();
    });
    variant(at, "soft", 400, |table| {
        let labels = table.column("label").unwrap().f64().unwrap().clone();
        let soft: Vec<f64> = labels.iter().map(|y| 0.15 + 0.7 * y.unwrap()).collect();
        table.with_column(Column::new("label".into(), soft)).unwrap();
    });
    variant(at, "no-prompt", 400, |table| *table = table.drop("prompt").unwrap());
    variant(at, "some-prompts", 400, |table| {
        let prompts: Vec<Option<String>> =
            (0..400).map(|i| (i % 3 == 0).then(|| format!("prompt {i}"))).collect();
        table.with_column(Column::new("prompt".into(), prompts)).unwrap();
    });
    variant(at, "annotators", 400, |table| {
        set(table, "annotator_id", (0..400).map(|i| format!("who {} ÿ\"\\", i % 7)));
        // The same pairs again, by others and the other way round.
        let twice = table.slice(0, 150);
        let mut turned = twice.clone();
        for (from, to) in [("response_A", "response_B"), ("response_B", "response_A")] {
            let column = twice.column(from).unwrap().clone().with_name(to.into());
            turned.with_column(column).unwrap();
        }
        set(&mut turned, "annotator_id", (0..150).map(|i| format!("other {}", i % 5)));
        *table = table.vstack(&turned).unwrap();
    });
    variant(at, "duplicated-texts", 400, |table| {
        // A hundred prompts have the same two responses.
        for side in ["response_A", "response_B"] {
            let first = table.column(side).unwrap().str().unwrap().get(0).unwrap().to_owned();
            let texts: Vec<String> = table
                .column(side)
                .unwrap()
                .str()
                .unwrap()
                .iter()
                .enumerate()
                .map(|(i, text)| if i < 100 { first.clone() } else { text.unwrap().to_owned() })
                .collect();
            set(table, side, texts);
        }
    });
    variant(at, "unicode", 400, |table| {
        let odd =
            ["😀", "\u{202e}عربي", "e\u{301}", "\u{0}", "\u{feff}", "\u{2028}", "\"\\\n\t\r", "nan", "漢字"];
        for side in ["response_A", "response_B"] {
            let texts: Vec<String> = table
                .column(side)
                .unwrap()
                .str()
                .unwrap()
                .iter()
                .enumerate()
                .map(|(i, text)| {
                    // One whole text that its readers would take for a missing one.
                    if i % 50 == 7 && side == "response_A" {
                        "nan".into()
                    } else {
                        format!("{} {}", text.unwrap(), odd[i % odd.len()])
                    }
                })
                .collect();
            set(table, side, texts);
        }
    });
    variant(at, "no-principles", 60, |table| {
        let labels: Vec<f64> = (0..60).map(|i| f64::from(u8::from((i / 2) % 2 == 0))).collect();
        table.with_column(Column::new("label".into(), labels)).unwrap();
    });
    variant(at, "no-labels", 200, |table| *table = table.drop("label").unwrap());
    // How many principles a variant has is the program's business: of one there is just one in any case.
    alone(at, "sample", "one-principle");
    let names = [
        "sample",
        "one-principle",
        "plain",
        "ties",
        "soft",
        "no-prompt",
        "some-prompts",
        "annotators",
        "duplicated-texts",
        "unicode",
        "no-principles",
        "no-labels",
    ];
    let count =
        |name: &str| json(&at.join(name).join("principles.json"))["principles"].as_array().unwrap().len();
    assert!(count("sample") >= 8);
    assert_eq!(count("no-principles"), 0);
    assert_eq!(count("one-principle"), 1);
    let output = checked(python("tests/interop/feedback_forensics_reads.py").current_dir(at).args(names));
    let told = stdout(&output);
    for name in names {
        // Its loader logs to stdout as well.
        assert_eq!(told.lines().filter(|line| line.starts_with(&format!("{name}: "))).count(), 1, "{told}");
    }
    assert_eq!(told.matches("figures equal").count(), names.len() - 1, "{told}");
    eprintln!("{told}");
}

#[test]
fn exports_hold_every_label_once_and_say_who_won() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    variant(at, "d", 300, |table| {
        let labels = table.column("label").unwrap().f64().unwrap().clone();
        let ties: Vec<f64> =
            labels.iter().enumerate().map(|(i, y)| if i % 10 == 9 { 0.5 } else { y.unwrap() }).collect();
        table.with_column(Column::new("label".into(), ties)).unwrap();
    });
    let export = |arguments: &[&str]| {
        let output = wimhf(at).args(["export", "d"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).trim_end().to_owned()
    };
    let source = Run::open(at.join("d")).unwrap().source().unwrap();
    let table = parquet(&at.join("d.parquet"));
    let text =
        |name: &str, row: usize| table.column(name).unwrap().str().unwrap().get(row).unwrap().to_owned();
    let label = table.column("label").unwrap().f64().unwrap().clone();

    assert_eq!(export(&["--format", "trl"]), "d/trl.jsonl");
    let lines = std::fs::read_to_string(at.join("d/trl.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 270);
    for line in lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let row = value["row"].as_u64().unwrap() as usize;
        let (won, lost) = if label.get(row) == Some(1.0) {
            ("response_A", "response_B")
        } else {
            ("response_B", "response_A")
        };
        assert_eq!(value["chosen"], text(won, row));
        assert_eq!(value["rejected"], text(lost, row));
        assert_eq!(value["prompt"], text("prompt", row));
    }
    assert_eq!(export(&["--format", "trl", "--out", "t.parquet"]), "t.parquet");
    assert_eq!(parquet(&at.join("t.parquet")).height(), 270);
    assert_eq!(export(&["--format", "trl", "--side", "held-out", "--out", "h.parquet"]), "h.parquet");
    let held_out = parquet(&at.join("h.parquet")).height();
    assert!(held_out > 50 && held_out < 270);

    // ICAI's and our own table are datasets of ours: the same pairs, the same labels.
    for (format, file, rows) in [("icai", "d/icai.csv", 270), ("csv", "d/pairs.csv", 300)] {
        assert_eq!(export(&["--format", format]), file);
        run(at, file, &format!("again-{format}"));
        let again = Run::open(at.join(format!("again-{format}"))).unwrap();
        assert_eq!(again.manifest.dataset.pairs_used, rows, "{format}");
        let known = again.source().unwrap();
        let before: std::collections::HashMap<&String, f32> =
            source.pairs.pair_id.iter().zip(source.mean_labels.iter().copied()).collect();
        for (id, label) in known.pairs.pair_id.iter().zip(&known.mean_labels) {
            assert_eq!(before.get(id), Some(label), "{format}: {id}");
        }
    }

    let all = export(&["--format", "annotated-pairs", "--side", "all"]);
    assert_eq!(all, "d/annotated_pairs.all.json");
    assert_eq!(json(&at.join(all))["comparisons"].as_array().unwrap().len(), 300);
    let held_out = json(&at.join("d/annotated_pairs.json"));
    let before = held_out["comparisons"].as_array().unwrap().len();
    assert!(before > 100 && before < 160, "{before} held-out labels");
    assert!(held_out["comparisons"].as_array().unwrap().iter().all(|c| c["metadata"]["side"] == "held_out"));
    let written = std::fs::read(at.join("d/annotated_pairs.json")).unwrap();
    export(&["--format", "annotated-pairs"]);
    assert!(written == std::fs::read(at.join("d/annotated_pairs.json")).unwrap(), "the same file again");
}

#[test]
#[ignore = "needs WIMHF_PYTHON with tests/interop/requirements.txt; `.ci/run` runs it"]
fn pandas_polars_duckdb_datasets_and_numpy_read_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    run(at, &data("sample.parquet"), "sample");
    for (format, out) in
        [("trl", "trl.jsonl"), ("trl", "trl.parquet"), ("icai", "icai.csv"), ("csv", "pairs.csv")]
    {
        let out = at.join("sample").join(out).display().to_string();
        checked(wimhf(at).args(["export", "sample", "--format", format, "--out", &out]));
    }
    let told = stdout(&checked(python("tests/interop/tables_read.py").current_dir(at).arg("sample")));
    assert!(told.contains("Parquet files") && told.contains("differ by at most"), "{told}");
    eprintln!("{told}");
}

/// Its own app in a real browser: it shows what its loader lets pass as a red error.
#[test]
#[ignore = "needs WIMHF_PYTHON with tests/interop/requirements.txt, node and Chromium; `.ci/run` runs it"]
fn feedback_forensics_shows_our_file_in_its_app() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    run(at, &data("sample.parquet"), "sample");
    let mut app = Command::new("node");
    app.arg(root().join("tests/interop/ff_app.mjs")).arg(at.join("sample/annotated_pairs.json"));
    let told = stdout(&checked(&mut app));
    assert!(told.contains("no error"), "{told}");
    eprintln!("{told}");
}
