//! `analyze --sweep`: what it looks at, what it leaves alone, and going on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use polars::prelude::*;

use crate::util::{analyze, contents, data, json, parquet, small, stderr, stdout, wimhf, write};

/// The cells of `sweep.json` without what differs between calls by design.
fn cells(run: &Path) -> Vec<serde_json::Value> {
    let mut sweep = json(&run.join("sweep.json"));
    let cells = sweep["cells"].as_array_mut().unwrap();
    cells.iter_mut().for_each(|cell| cell["seconds"] = 0.into());
    cells.clone()
}

/// The sample with the labels of one side of the split turned round.
fn turned(to: &Path, run: &Path, side: &str) {
    let mut table = parquet(Path::new(&data("sample.parquet")));
    let pairs = parquet(&run.join("pairs.parquet"));
    let rows = pairs.column("row").unwrap().cast(&DataType::UInt64).unwrap();
    let sides = pairs.column("side").unwrap().cast(&DataType::String).unwrap();
    let turn: std::collections::HashSet<u64> = rows
        .u64()
        .unwrap()
        .into_no_null_iter()
        .zip(sides.str().unwrap().iter().flatten())
        .filter(|(_, at)| *at == side)
        .map(|(row, _)| row)
        .collect();
    let label = table.column("label").unwrap().cast(&DataType::Float64).unwrap();
    let label: Float64Chunked = label
        .f64()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(row, label)| label.map(|y| if turn.contains(&(row as u64)) { 1.0 - y } else { y }))
        .collect();
    table.with_column(label.with_name("label".into()).into_column()).unwrap();
    write(to, table);
}

const GRID: &str = "--sweep=mode=sentences,difference features=16 seeds=2";

#[test]
fn the_held_out_labels_are_not_looked_at_and_the_others_are() {
    let dir = tempfile::tempdir().unwrap();
    let sample = data("sample.parquet");
    let first = analyze(dir.path(), &[&sample, "--out", "one", "--quiet", GRID]);
    assert!(first.status.success(), "{}", stderr(&first));
    let text = stdout(&first);
    assert!(text.contains("2 settings × 2 seeds"), "{text}");
    assert!(text.contains("--sae-mode"), "the way on is shown: {text}");
    let one = dir.path().join("one");
    let expected = cells(&one);
    assert_eq!(expected.len(), 4);
    for cell in &expected {
        assert_eq!(cell["learned"], 16);
        let auc = &cell["auc_learned"];
        assert!(auc["low"].as_f64() < auc["value"].as_f64() && auc["value"].as_f64() < auc["high"].as_f64());
        assert!(cell["nmse"].as_f64().unwrap() < 1.0);
        assert_eq!(cell["dead"], 0);
    }
    let lines = std::fs::read_to_string(one.join("sweep.csv")).unwrap();
    assert_eq!(lines.lines().count(), 5);

    turned(&dir.path().join("held.parquet"), &one, "held_out");
    turned(&dir.path().join("other.parquet"), &one, "describe");
    for (file, same) in [("held.parquet", true), ("other.parquet", false)] {
        let output =
            analyze(dir.path(), &[file, "--out", file.trim_end_matches(".parquet"), "--quiet", GRID]);
        assert!(output.status.success(), "{}", stderr(&output));
        let found = cells(&dir.path().join(file.trim_end_matches(".parquet")));
        assert_eq!(found == expected, same, "{file}");
    }

    // One thread or three: the same figures. And an analysis goes on from the vectors.
    let output = wimhf(dir.path())
        .args(["analyze", "--device", "cpu", &sample, "--out", "three", "--quiet", GRID])
        .env("RAYON_NUM_THREADS", "3")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(cells(&dir.path().join("three")), expected);
    let output =
        analyze(dir.path(), &[&sample, "--out", "one", "--sae-mode", "difference", "--features", "16"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let status = |name: &str| {
        let run = json(&one.join("run.json"));
        let stages = run["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["name"] == name).map(|stage| stage["status"].clone())
    };
    assert_eq!(status("embed"), Some("reused".into()));

    // A sweep beside a finished analysis leaves its files and its record alone.
    let before = (contents(&one), json(&one.join("run.json"))["config"].clone());
    let output = analyze(dir.path(), &[&sample, "--out", "one", "--sweep=mode=sentences features=8 seeds=1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let after = contents(&one);
    for (file, content) in &before.0 {
        let own = file.starts_with("stages/sweep")
            || file.starts_with("sweep.json")
            || file.starts_with("sweep.csv");
        assert!(own || after[file] == *content, "{}", file.display());
    }
    assert_eq!(json(&one.join("run.json"))["config"], before.1);
    assert_eq!(status("report"), Some("done".into()));
}

#[test]
fn a_killed_sweep_goes_on_from_the_cells_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 300, |i| f64::from(u8::from(i % 3 == 0)));
    let grid = "--sweep=mode=difference features=6,8 active=2 seeds=4";
    let whole = analyze(dir.path(), &["d.parquet", "--out", "whole", grid]);
    assert!(whole.status.success(), "{}", stderr(&whole));
    let run = dir.path().join("run");
    let finished = || -> BTreeMap<_, _> {
        let Ok(folders) = std::fs::read_dir(run.join("stages/sweep")) else { return BTreeMap::new() };
        folders
            .filter_map(|folder| {
                let cell = folder.ok()?.path().join("cell.json");
                let written = std::fs::metadata(&cell).ok()?.modified().ok()?;
                Some((cell, written))
            })
            .collect()
    };
    let mut child = wimhf(dir.path())
        .args(["analyze", "--device", "cpu", "d.parquet", "--out", "run", grid])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Killed as soon as a cell is there.
    while finished().is_empty() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was over before it could be killed");
    let kept = finished();
    assert!(!kept.is_empty() && kept.len() < 8, "{} of 8 cells", kept.len());
    let again = analyze(dir.path(), &["d.parquet", "--out", "run", grid]);
    assert!(again.status.success(), "{}", stderr(&again));
    let after = finished();
    assert_eq!(after.len(), 8);
    for (cell, written) in kept {
        assert_eq!(after[&cell], written, "{} was done again", cell.display());
    }
    assert_eq!(cells(&run), cells(&dir.path().join("whole")));
}

#[test]
fn what_cannot_be_swept_is_a_users_mistake() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 60, |i| f64::from(u8::from(i % 3 == 0)));
    for (arguments, part) in [
        (&["d.parquet", "--sweep=feature=3"][..], "did you mean `features`"),
        (&["d.parquet", "--sweep=features=4 active=8"], "K cannot exceed M"),
        (&["d.parquet", "--sweep", "--features", "8"], "cannot be used with"),
        (&["d.parquet", "--sweep=mode=sentences", "--split", "0.5,0,0.5"], "describe"),
    ] {
        let output = analyze(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
    // Without labels there are figures, and no setting is suggested.
    small(&dir.path().join("none.parquet"), 200, |_| f64::NAN);
    let output = analyze(dir.path(), &["none.parquet", "--sweep=mode=difference features=8 seeds=1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("No usable labels"), "{}", stdout(&output));
}
