//! What an analysis claims, on sets where the truth is plain.

use std::path::Path;

use polars::prelude::*;

use crate::util::{analyze, json, parquet, small, stderr, stdout, write};

/// A small set with the labels of `label`, from each row's two responses.
fn labelled(path: &Path, rows: usize, label: impl Fn(usize, &str, &str) -> f64) {
    small(path, rows, |_| 1.0);
    let mut table = parquet(path);
    let texts = |name: &str| -> Vec<String> {
        table.column(name).unwrap().str().unwrap().iter().map(|text| text.unwrap().to_owned()).collect()
    };
    let (a, b) = (texts("response_A"), texts("response_B"));
    let labels: Vec<f64> = (0..table.height()).map(|row| label(row, &a[row], &b[row])).collect();
    table.with_column(Column::new("label".into(), labels)).unwrap();
    write(path, table);
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// The longer one always wins, and where both are equally long a coin decides: nothing is surer than that.
#[test]
fn where_the_longer_one_always_wins_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    labelled(&dir.path().join("x.parquet"), 300, |row, a, b| match words(a).cmp(&words(b)) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Less => 0.0,
        std::cmp::Ordering::Equal => (row % 2) as f64,
    });
    for seed in ["1", "2", "3"] {
        let output = analyze(dir.path(), &["x.parquet", "--seed", seed, "--out", seed]);
        assert!(output.status.success(), "{}", stderr(&output));
        let found = json(&dir.path().join(seed).join("principles.json"));
        let principles = found["principles"].as_array().unwrap();
        assert!(!principles.is_empty(), "seed {seed}: {found:#}");
        let length = &found["looked"]["length"];
        assert!(length["longer_wins"]["low"].as_f64().unwrap() > 0.8, "{length}");
        assert!(length["p"].as_f64().unwrap() < 1e-6, "{length}");
        assert!(stdout(&output).contains("The longer response wins"), "{}", stdout(&output));
    }
}

/// Shuffled rows, in another format and in two files, are the same set: the same run to the last bit.
#[test]
fn the_order_of_rows_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain.parquet");
    labelled(&path, 200, |row, a, b| f64::from(u8::from(words(a) + row % 3 > words(b))));
    let table = parquet(&path);
    let rows = table.height() as u32;
    let mut order: Vec<u32> = (0..rows).collect();
    order.sort_by_key(|row| wimhf::rng::of_content(1, "order of rows", &[&row.to_string()]));
    let shuffled = table.take(&IdxCa::from_vec("row".into(), order)).unwrap();
    let file = |name: &str| std::fs::File::create(dir.path().join(name)).unwrap();
    CsvWriter::new(file("shuffled.csv")).finish(&mut shuffled.clone()).unwrap();
    std::fs::create_dir(dir.path().join("shards")).unwrap();
    let half = shuffled.height() / 2;
    write(&dir.path().join("shards/a.parquet"), shuffled.slice(0, half));
    write(&dir.path().join("shards/b.parquet"), shuffled.slice(half as i64, shuffled.height()));
    let results: Vec<(Vec<u8>, serde_json::Value)> = ["plain.parquet", "shuffled.csv", "shards"]
        .iter()
        .map(|data| {
            let run = format!("run-{data}");
            let output = analyze(dir.path(), &[data, "--seed", "4", "--out", &run, "--features", "8"]);
            assert!(output.status.success(), "{}", stderr(&output));
            let run = dir.path().join(run);
            (std::fs::read(run.join("activations.parquet")).unwrap(), json(&run.join("principles.json")))
        })
        .collect();
    for (activations, principles) in &results[1..] {
        assert_eq!(principles, &results[0].1);
        assert_eq!(activations, &results[0].0);
    }
}

#[test]
fn labels_that_all_say_a_are_refused_and_chosen_first_is_shuffled() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("x.parquet"), 100, |_| 1.0);
    let output = analyze(dir.path(), &["x.parquet", "--out", "run"]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    assert!(
        stderr(&output).contains("prefer response A") && stderr(&output).contains("hint: "),
        "{}",
        stderr(&output)
    );
    assert!(!dir.path().join("run").join("principles.json").exists());

    let mut table = parquet(&dir.path().join("x.parquet")).drop("label").unwrap();
    table.rename("response_A", "chosen".into()).unwrap();
    table.rename("response_B", "rejected".into()).unwrap();
    write(&dir.path().join("y.parquet"), table);
    let output = analyze(dir.path(), &["y.parquet", "--out", "run"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Where nothing is confirmed, the run says what it looked at and what it could have seen.
#[test]
fn nothing_confirmed_is_no_claim_that_there_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    labelled(&dir.path().join("x.parquet"), 150, |row, _, _| {
        (wimhf::rng::of_content(9, "coin", &[&row.to_string()]) % 2) as f64
    });
    let output = analyze(dir.path(), &["x.parquet", "--out", "run"]);
    // Where the lines break is no matter here.
    let said = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!said.contains("beyond chance") && said.contains("No principle is confirmed among"), "{said}");
    for part in [
        "labels from",
        "The best lead",
        "would have been confirmed in four cases of five",
        "The longer response wins",
    ] {
        assert!(said.contains(part), "{part} is missing from {said}");
    }
}
