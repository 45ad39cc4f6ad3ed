//! What stands in a run directory: the contract that notebooks and other tools read.

use std::collections::BTreeSet;

use polars::prelude::*;

use crate::util::{analyze, json, parquet, small, stderr, stdout};

#[test]
fn the_run_directory_holds_what_the_contract_names() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 400, |i| f64::from(u8::from(i % 3 == 0)));
    let output = analyze(dir.path(), &["d.parquet", "--out", "run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let run = dir.path().join("run");

    let record = json(&run.join("run.json"));
    assert_eq!(record["schema_version"], 2);
    assert_eq!(record["dataset"]["pairs_read"], 400);
    assert_eq!(record["backend"], "cpu");
    for rung in ["length", "top5", "top10", "learned", "known", "learned_and_known", "embedding"] {
        let figure = &record["metrics"]["auc"][rung];
        let number = |key: &str| figure[key].as_f64().unwrap_or_else(|| panic!("{rung}.{key}: {figure}"));
        assert!(number("low") <= number("value") && number("value") <= number("high"));
        assert!(number("n") > 0.0);
    }
    let active = record["metrics"]["active_mean"].as_f64().unwrap();
    let asked = json(&run.join("sae.json"))["active"].as_f64().unwrap();
    assert!(asked >= 4.0 && (active - asked).abs() < 0.1, "{active} active per pair instead of {asked}");
    let sentences = &record["metrics"]["sentences"];
    assert!(sentences["features"].as_u64().unwrap() > 0 && sentences["learned_from"].as_u64().unwrap() > 0);

    let pairs = parquet(&run.join("pairs.parquet"));
    let names: BTreeSet<&str> = pairs.get_column_names().into_iter().map(|name| name.as_str()).collect();
    for name in ["pair_id", "row", "side", "label", "annotator_id", "length_delta", "prompt_id", "fold"] {
        assert!(names.contains(name), "pairs.parquet lacks {name}");
    }
    let features = parquet(&run.join("features.parquet"));
    let names: BTreeSet<&str> = features.get_column_names().into_iter().map(|name| name.as_str()).collect();
    for name in [
        "feature_id",
        "source",
        "description",
        "short",
        "describer",
        "fidelity",
        "fidelity_low",
        "fidelity_high",
        "fidelity_n",
        "fidelity_p",
        "kept",
        "redundant_with",
        "prevalence",
        "beta",
        "beta_se",
        "beta_p",
        "win_delta",
        "win_low",
        "win_high",
        "p_bonferroni",
        "q_bh",
        "top_terms",
        "examples",
        "clear_level",
        "typical",
    ] {
        assert!(names.contains(name), "features.parquet lacks {name}");
    }
    let activations = parquet(&run.join("activations.parquet"));
    let ids = features.column("feature_id").unwrap().str().unwrap();
    let columns: BTreeSet<String> =
        activations.get_column_names().into_iter().map(|name| name.to_string()).collect();
    for id in ids.iter().flatten() {
        assert!(columns.contains(id), "activations.parquet lacks {id}");
    }
    assert_eq!(columns.len(), ids.len() + 1);
    // Present in one response more than in the other: never where the graded activation is on the other side.
    let presence = parquet(&run.join("presence.parquet"));
    for id in ids.iter().flatten() {
        let there = presence.column(id).unwrap().f32().unwrap();
        let graded = activations.column(id).unwrap().f32().unwrap();
        for (there, graded) in there.iter().flatten().zip(graded.iter().flatten()) {
            assert!([-1.0, 0.0, 1.0].contains(&there) && there * graded >= 0.0, "{id}: {there} at {graded}");
        }
    }
    for file in [
        "sae.safetensors",
        "sae.json",
        "sentences.safetensors",
        "principles.csv",
        "constitution.md",
        "report.html",
        "dropped.csv",
    ] {
        assert!(run.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    assert!(json(&run.join("principles.json"))["principles"].is_array());
}

/// The activations in the run are what the saved autoencoder gives, and exactly odd.
#[test]
fn swapping_all_pairs_turns_every_activation_and_keeps_every_effect() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain.parquet");
    small(&plain, 300, |i| f64::from(u8::from(i % 3 == 0)));
    let mut table = parquet(&plain);
    let a = table.column("response_A").unwrap().clone();
    let b = table.column("response_B").unwrap().clone();
    let label: Column =
        table.column("label").unwrap().f64().unwrap().apply_values(|label| 1.0 - label).into_column();
    table.with_column(a.with_name("response_B".into())).unwrap();
    table.with_column(b.with_name("response_A".into())).unwrap();
    table.with_column(label.with_name("label".into())).unwrap();
    crate::util::write(&dir.path().join("swapped.parquet"), table);
    for name in ["plain", "swapped"] {
        let output = analyze(dir.path(), &[&format!("{name}.parquet"), "--out", name]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let features = |name: &str| parquet(&dir.path().join(name).join("features.parquet"));
    let column = |table: &DataFrame, name: &str| -> Vec<Option<f64>> {
        table.column(name).unwrap().f64().unwrap().iter().collect()
    };
    let (plain, swapped) = (features("plain"), features("swapped"));
    let source = plain.column("source").unwrap().str().unwrap().clone();
    for name in ["beta", "win_delta"] {
        for (row, (x, y)) in column(&plain, name).iter().zip(column(&swapped, name)).enumerate() {
            // The known concepts: nothing but the order has changed. (Learned features see another
            // random start for the same pairs' hashes, so they are compared only in their own tests.)
            if source.get(row) == Some("known") {
                match (x, y) {
                    (Some(x), Some(y)) => assert!((x - y).abs() < 1e-6, "{name} of row {row}: {x} and {y}"),
                    (x, y) => assert_eq!(x.is_some(), y.is_some()),
                }
            }
        }
    }
}

#[test]
fn data_goes_to_stdout_and_nothing_else_without_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 200, |i| f64::from(u8::from(i % 3 == 0)));
    let output = analyze(dir.path(), &["d.parquet", "--quiet"]);
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert!(text.contains("times in 100") && text.contains("wimhf report runs/d --open"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour codes into a pipe");
}

#[test]
fn a_finished_run_opens_with_its_dataset() {
    use wimhf::run::{Run, RunError};
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 200, |i| f64::from(u8::from(i % 3 == 0)));
    assert!(matches!(Run::open(dir.path()), Err(RunError::NotARun(_))));
    let output = analyze(dir.path(), &["d.parquet", "--out", "run"]);
    assert!(output.status.success(), "{}", stderr(&output));

    // Named relatively, opened from elsewhere.
    let run = Run::open(dir.path().join("run")).unwrap();
    let source = run.source().unwrap();
    let activations = run.activations().unwrap();
    assert_eq!((activations.rows(), activations.cols), (source.pairs.pair_id.len(), run.features.len()));
    // Read anew, every pair has the activations that stand there, bit for bit.
    let apparatus = wimhf::featurizer::Featurizer::of(&run, wimhf::sae::DeviceChoice::Cpu).unwrap();
    let again = apparatus.activations(&source.pairs, &run.deltas(&source).unwrap()).unwrap();
    for pair in 0..again.rows() {
        assert_eq!(again.row(pair), activations.row(pair), "pair {pair}");
    }
    let refuses = run.feature("refuses").unwrap();
    assert_eq!(run.features[refuses].feature_id, "known_refuses");
    assert_eq!(run.feature("Refusal").unwrap(), refuses);
    let message = run.feature("refuse").unwrap_err().to_string();
    assert!(message.contains("did you mean `refuses`"), "{message}");

    small(&dir.path().join("d.parquet"), 201, |i| f64::from(u8::from(i % 3 == 0)));
    assert!(matches!(run.source(), Err(RunError::Changed { .. })));
    std::fs::remove_file(dir.path().join("run/principles.json")).unwrap();
    assert!(Run::open(dir.path().join("run")).is_err());
}
