//! What people really throw at it: each gives one clear message and exit code 2, or a sensible
//! reduced run; never a panic, never a half-written file.

use std::fs;
use std::path::Path;
use std::process::Output;

use polars::prelude::*;

use crate::util::{analyze, data, json, parquet, small, stderr, stdout, wimhf, write};

/// The message must name `what`; nothing may be left behind in `run`.
fn refused(dir: &Path, arguments: &[&str], what: &[&str]) {
    let mut all = arguments.to_vec();
    all.extend(["--out", "refused-run"]);
    let output = analyze(dir, &all);
    check(&output, 2, what, &format!("{arguments:?}"));
    let left = dir.join("refused-run");
    assert!(!left.join("run.json").exists(), "{arguments:?} left a run behind");
}

fn check(output: &Output, code: i32, what: &[&str], case: &str) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{case}: {message}");
    assert!(!message.contains("panicked") && !message.contains("RUST_BACKTRACE"), "{case}: {message}");
    assert_eq!(message.matches("error:").count(), 1, "{case}: one message: {message}");
    for word in what {
        assert!(message.to_lowercase().contains(&word.to_lowercase()), "{case}: lacks {word:?}: {message}");
    }
    assert_eq!(stdout(output), "", "{case}: nothing on stdout");
}

#[test]
fn files_that_are_not_there_or_not_readable() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    small(&at("sample.parquet"), 60, |i| (i % 2) as f64);
    refused(dir.path(), &["sampel.parquet"], &["sampel.parquet", "sample.parquet"]);
    refused(dir.path(), &["nowhere/x.csv"], &["nowhere/x.csv"]);
    refused(dir.path(), &["*.jsonl"], &["*.jsonl"]);
    fs::create_dir(at("empty")).unwrap();
    refused(dir.path(), &["empty"], &["empty"]);
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other/readme.md"), "# hello").unwrap();
    refused(dir.path(), &["other"], &["other"]);
    fs::create_dir(at("folder.parquet")).unwrap();
    refused(dir.path(), &["folder.parquet"], &["folder.parquet"]);
    fs::write(at("zero.parquet"), "").unwrap();
    refused(dir.path(), &["zero.parquet"], &["zero.parquet"]);
    fs::write(at("zero.csv"), "").unwrap();
    refused(dir.path(), &["zero.csv"], &["zero.csv"]);
}

#[test]
fn damaged_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    small(&at("good.parquet"), 60, |i| (i % 2) as f64);
    let bytes = fs::read(at("good.parquet")).unwrap();
    fs::write(at("half.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    refused(dir.path(), &["half.parquet"], &["half.parquet"]);
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[8..middle].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(at("flipped.parquet"), &flipped).unwrap();
    refused(dir.path(), &["flipped.parquet"], &["flipped.parquet"]);
    fs::write(at("noise.arrow"), [7u8; 300]).unwrap();
    refused(dir.path(), &["noise.arrow"], &["noise.arrow"]);
    fs::write(at("latin.csv"), b"prompt,response_A,response_B,label\nhi,caf\xe9,tea,1\n").unwrap();
    refused(dir.path(), &["latin.csv"], &["latin.csv", "utf-8"]);
    let utf16: Vec<u8> = std::iter::once(0xfeffu16)
        .chain("prompt,response_A,response_B,label\nhi,a,b,1\n".encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    fs::write(at("utf16.csv"), utf16).unwrap();
    refused(dir.path(), &["utf16.csv"], &["utf16.csv", "utf-16"]);
    fs::write(at("cut.json"), r#"[{"prompt": "a", "response_A": "b""#).unwrap();
    refused(dir.path(), &["cut.json"], &["cut.json"]);
    fs::write(at("broken.jsonl"), "{\"prompt\": \"a\"\nnot json at all\n").unwrap();
    refused(dir.path(), &["broken.jsonl"], &["broken.jsonl"]);
}

#[test]
fn tables_that_are_not_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("header.csv"), "prompt,response_A,response_B,label\n").unwrap();
    refused(dir.path(), &["header.csv"], &["header.csv"]);
    fs::write(at("other.csv"), "text,score\nhello,3\n").unwrap();
    refused(dir.path(), &["other.csv"], &["text", "score", "--response-a-column"]);
    small(&at("good.parquet"), 60, |i| (i % 2) as f64);
    refused(dir.path(), &["good.parquet", "--label-column", "lable"], &["lable", "label"]);
    refused(dir.path(), &["good.parquet", "--embedding-columns", "ea,eb"], &["ea"]);
    fs::write(at("labels.csv"), "prompt,response_A,response_B,label\nq,a,b,great\nq,c,d,awful\n").unwrap();
    refused(dir.path(), &["labels.csv"], &["great"]);
    fs::write(at("same.csv"), "prompt,response_A,response_B,label\nq,a,a,1\nq2,b,b,0\n").unwrap();
    refused(dir.path(), &["same.csv"], &["identical"]);
    fs::write(at("blank.csv"), "prompt,response_A,response_B,label\nq,,b,1\nq2,b,,0\n").unwrap();
    refused(dir.path(), &["blank.csv"], &["missing or unreadable response (2)"]);
    fs::write(at("moderation.csv"), "prompt,any\nhello,1\n").unwrap();
    refused(dir.path(), &["moderation.csv"], &["prompt", "any"]);
}

#[test]
fn vectors_that_do_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let vectors = |name: &str, change: &dyn Fn(usize) -> Vec<f32>| {
        let path = dir.path().join(name);
        small(&path, 60, |i| (i % 2) as f64);
        let mut table = parquet(&path);
        let rows = table.height();
        let column = |name: &str, get: &dyn Fn(usize) -> Vec<f32>| {
            let lists: Vec<Series> = (0..rows).map(|i| Series::new(PlSmallStr::EMPTY, get(i))).collect();
            Column::new(name.into(), lists)
        };
        table.with_column(column("ea", change)).unwrap();
        table.with_column(column("eb", &|i| vec![0.5, i as f32, 1.0])).unwrap();
        write(&path, table);
    };
    vectors("wrong.parquet", &|i| if i == 17 { vec![1.0, 2.0] } else { vec![1.0, i as f32, 2.0] });
    refused(dir.path(), &["wrong.parquet", "--embedding-columns", "ea,eb"], &["17", "3", "2"]);
    vectors("nan.parquet", &|i| vec![if i < 5 { f32::NAN } else { (i * i) as f32 }, 1.0, (i % 7) as f32]);
    let output = analyze(dir.path(), &["nan.parquet", "--embedding-columns", "ea,eb", "--out", "nan-run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let dropped = json(&dir.path().join("nan-run/run.json"))["dataset"]["dropped"].clone();
    assert_eq!(dropped.as_object().unwrap().values().filter_map(|v| v.as_u64()).max(), Some(5), "{dropped}");
    vectors("allnan.parquet", &|_| vec![f32::NAN; 3]);
    refused(dir.path(), &["allnan.parquet", "--embedding-columns", "ea,eb"], &["finite"]);
}

#[test]
fn settings_that_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 60, |i| (i % 2) as f64);
    refused(dir.path(), &["d.parquet", "--split", "0.5,0.5,0.5"], &["split"]);
    refused(dir.path(), &["d.parquet", "--split", "1,0,0"], &["split"]);
    refused(dir.path(), &["d.parquet", "--features", "0"], &["features"]);
    refused(dir.path(), &["d.parquet", "--features", "4", "--active", "5"], &["active"]);
    refused(dir.path(), &["d.parquet", "--config", "none.toml"], &["none.toml"]);
    fs::write(dir.path().join("c.toml"), "sed = 3\n").unwrap();
    refused(dir.path(), &["d.parquet", "--config", "c.toml"], &["c.toml", "sed"]);
    refused(dir.path(), &["d.parquet", "--concepts", "none.toml"], &["none.toml"]);
    fs::write(dir.path().join("bank.toml"), "[[concept]]\nid = 3\n").unwrap();
    refused(dir.path(), &["d.parquet", "--concepts", "bank.toml"], &["bank.toml"]);
    refused(dir.path(), &["d.parquet", "--split-columns", "nobody"], &["nobody"]);
    let output = wimhf(dir.path()).args(["analyse", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("analyze"), "the nearest name is offered");
}

#[test]
fn run_directories_that_are_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    small(&at("a.parquet"), 80, |i| (i % 2) as f64);
    small(&at("b.parquet"), 90, |i| (i % 2) as f64);
    assert!(analyze(dir.path(), &["a.parquet", "--out", "run"]).status.success());
    let before = fs::read(at("run/principles.json")).unwrap();
    let other = analyze(dir.path(), &["b.parquet", "--out", "run"]);
    check(&other, 2, &["another dataset", "a.parquet", "--out", "--force"], "another dataset");
    assert_eq!(before, fs::read(at("run/principles.json")).unwrap());
    fs::write(at("run/run.json"), r#"{"schema_version": 0}"#).unwrap();
    let old = analyze(dir.path(), &["a.parquet", "--out", "run"]);
    check(&old, 2, &["schema version 0"], "an old schema");
    assert!(analyze(dir.path(), &["b.parquet", "--out", "run", "--force"]).status.success());
    fs::create_dir(at("papers")).unwrap();
    fs::write(at("papers/thesis.tex"), "x").unwrap();
    let foreign = analyze(dir.path(), &["a.parquet", "--out", "papers", "--force"]);
    check(&foreign, 2, &["papers", "not a run directory"], "somebody's folder");
    assert_eq!(fs::read_dir(at("papers")).unwrap().count(), 1);
    fs::write(at("file"), "x").unwrap();
    let file = analyze(dir.path(), &["a.parquet", "--out", "file/run"]);
    check(&file, 2, &["file/run"], "a folder that cannot be made");
}

/// A full disk, and one that may not be written to: the device that is always full serves for both.
#[cfg(target_os = "linux")]
#[test]
fn no_space_left() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 80, |i| (i % 2) as f64);
    // A file-size limit of one block makes every larger write fail, as a full disk would.
    let output = std::process::Command::new("sh")
        .current_dir(dir.path())
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" analyze --device cpu d.parquet --out run"])
        .arg(env!("CARGO_BIN_EXE_wimhf"))
        .output()
        .unwrap();
    check(&output, 2, &["cannot write", "run"], "no space");
    let again = analyze(dir.path(), &["d.parquet", "--out", "run"]);
    assert!(again.status.success(), "with space again: {}", stderr(&again));
}

#[test]
fn reduced_runs_say_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let run = |name: &str, extra: &[&str]| {
        let mut arguments = vec![name, "--out", "reduced", "--force"];
        arguments.extend(extra);
        let output = analyze(dir.path(), &arguments);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    // No label column: measurable preferences only.
    small(&at("plain.parquet"), 120, |i| (i % 2) as f64);
    write(&at("unlabelled.parquet"), parquet(&at("plain.parquet")).drop("label").unwrap());
    let (out, err) = run("unlabelled.parquet", &[]);
    assert!(err.contains("measurable preferences only") && out.contains("No usable labels"), "{err}{out}");
    // All ties, all one side (no accident from twenty labels on), one pair, two pairs.
    small(&at("ties.parquet"), 120, |_| 0.5);
    assert!(run("ties.parquet", &[]).0.contains("No usable labels"));
    small(&at("one-sided.parquet"), 120, |_| 1.0);
    refused(
        dir.path(),
        &["one-sided.parquet"],
        &["all 120 labels", "prefer response A", "`chosen` and `rejected`"],
    );
    small(&at("few-sided.parquet"), 120, |i| if i < 15 { 1.0 } else { 0.5 });
    run("few-sided.parquet", &[]);
    small(&at("one.parquet"), 1, |_| 1.0);
    refused(dir.path(), &["one.parquet"], &["1 pair(s) are too few"]);
    small(&at("two.parquet"), 2, |i| i as f64);
    run("two.parquet", &[]);
    // One prompt for everything: one component cannot be split.
    let mut table = parquet(&at("plain.parquet"));
    table.with_column(Column::new("prompt".into(), vec!["the same"; 120])).unwrap();
    write(&at("one-prompt.parquet"), table);
    assert!(run("one-prompt.parquet", &[]).1.contains("drawn pair by pair"));
    // Hostile text: markup, control characters, right-to-left, a megabyte without a space.
    fs::write(
        at("hostile.jsonl"),
        (0..40)
            .map(|i| {
                let huge = if i == 3 { "x".repeat(1 << 20) } else { String::new() };
                serde_json::json!({
                    "prompt": format!("</script><script>alert({i})</script>"),
                    "response_A": format!("\u{202e}\u{0}<img src=x onerror=alert(1)> {i} {huge}"),
                    "response_B": format!("```\n| a | b |\n{{{{ {i} }}}} %s ${{x}}"),
                    "label": i % 2,
                })
                .to_string()
                    + "\n"
            })
            .collect::<String>(),
    )
    .unwrap();
    run("hostile.jsonl", &[]);
    let page = fs::read_to_string(at("reduced/report.html")).unwrap();
    let scripts = page.matches("<script").count();
    assert!(scripts == 2 && !page.contains("<img"), "hostile text is text");
}

#[test]
fn the_sample_is_read_with_every_broken_row_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = analyze(dir.path(), &[&data("sample.parquet"), "--out", "run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let record = json(&dir.path().join("run/run.json"));
    let count = |key: &str| record["dataset"][key].as_u64().unwrap();
    let dropped: u64 =
        record["dataset"]["dropped"].as_object().unwrap().values().filter_map(|v| v.as_u64()).sum();
    assert_eq!(count("pairs_read"), count("pairs_used") + dropped);
    let listed = fs::read_to_string(dir.path().join("run/dropped.csv")).unwrap();
    assert_eq!(listed.lines().count() as u64, dropped + 1);
}
