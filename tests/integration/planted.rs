//! Planted truth: what was put into the sample comes out, and nothing else does.

use std::path::Path;

use rand::RngExt;
use wimhf::Observer;
use wimhf::config::Config;
use wimhf::ops::analyze::{self, Request};
use wimhf::sae::DeviceChoice;

use crate::util::{self, data, json, root, stderr};

/// Whether a statement names an attribute: one of its synonyms (`*` ends a stem) as whole words.
pub fn names(statement: &str, attribute: &serde_json::Value) -> bool {
    let lower = statement.to_lowercase();
    // Quoted terms are evidence, not names.
    let text: String = lower.split(['“', '”']).step_by(2).collect();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '\'').collect();
    attribute["synonyms"].as_array().unwrap().iter().any(|synonym| {
        let parts: Vec<&str> = synonym.as_str().unwrap().split(' ').collect();
        words.windows(parts.len()).any(|window| {
            window.iter().zip(&parts).all(|(word, part)| match part.strip_suffix('*') {
                Some(stem) => word.starts_with(stem),
                None => word == part,
            })
        })
    })
}

/// What is confirmed, and in which direction: principles; and hints, whose detectors are right about the sample and too
/// often wrong about other sets to form a sentence.
fn confirmed(run: &Path) -> [Vec<(String, String)>; 2] {
    let found = json(&run.join("principles.json"));
    let principles = found["principles"].as_array().unwrap().iter();
    let hints = found["hints"].as_array().unwrap().iter();
    let way = |hint: &serde_json::Value| {
        if hint["win_delta"].as_f64().unwrap() > 0.0 { "prefer" } else { "avoid" }
    };
    [
        principles
            .map(|p| (p["statement"].as_str().unwrap().into(), p["direction"].as_str().unwrap().into()))
            .collect(),
        hints.map(|hint| (hint["text"].as_str().unwrap().into(), way(hint).into())).collect(),
    ]
}

#[test]
fn every_strong_planted_attribute_is_found_and_no_absent_one() {
    let truth = json(&root().join("data/sample_truth.json"));
    let dir = tempfile::tempdir().unwrap();
    for seed in ["1", "2", "3"] {
        let mut run = dir.path().join(seed);
        if seed == "1" {
            run = util::sample_run().to_owned();
        } else {
            let output = util::analyze(dir.path(), &[&data("sample.parquet"), "--seed", seed, "--out", seed]);
            assert!(output.status.success(), "{}", stderr(&output));
        }
        let [sentences, hints] = confirmed(&run);
        for attribute in truth["attributes"].as_array().unwrap() {
            let weight = attribute["weight"].as_f64().unwrap();
            let name = &attribute["name"];
            // Slang is the one that readers of other sets did not find again.
            let found = if *name == "slang" { &hints } else { &sentences };
            let naming: Vec<&(String, String)> =
                found.iter().filter(|(statement, _)| names(statement, attribute)).collect();
            if weight.abs() >= 0.4 {
                let expected = if weight > 0.0 { "prefer" } else { "avoid" };
                assert!(!naming.is_empty(), "seed {seed}: {name} is missing from {found:#?}");
                assert!(
                    naming.iter().all(|(_, direction)| direction == expected),
                    "seed {seed}: {name} has the wrong direction in {naming:?}"
                );
            } else if weight == 0.0 {
                let hinted = hints.iter().find(|(text, _)| names(text, attribute));
                assert!(
                    naming.is_empty() && hinted.is_none(),
                    "seed {seed}: {name} has no weight, but {naming:?} {hinted:?}"
                );
            }
        }
    }
}

struct Silent;

impl Observer for Silent {
    fn stage(&mut self, _: &str, _: usize) {}
    fn advance(&mut self, _: usize) {}
    fn finished(&mut self, _: &str, _: f64, _: bool) {}
    fn note(&mut self, _: &str) {}
}

/// With labels shuffled among the pairs, at most one repetition in twenty prints any principle.
///
/// Only the labels change, so everything before the effects is done once.
#[test]
fn shuffled_labels_give_no_principles() {
    let dir = tempfile::tempdir().unwrap();
    let request = Request {
        data: vec![data("sample.parquet")],
        out: dir.path().join("run"),
        config: Config { seed: 1, ..Config::default() },
        device: DeviceChoice::Cpu,
        save_embeddings: None,
        force: false,
        spending: wimhf::llm::open::LlmOptions::default(),
    };
    let prepared = analyze::measure(&request, &mut Silent).unwrap();
    let mut with_principles = 0;
    let repetitions = 24;
    let mut random = wimhf::rng::stream(7, "shuffled labels");
    let mut pairs = prepared.pairs.clone();
    for _ in 0..repetitions {
        let labels = &mut pairs.judgements.label;
        for i in (1..labels.len()).rev() {
            labels.swap(i, random.random_range(0..=i));
        }
        let (_, findings) =
            analyze::estimate_in_memory(&pairs, &prepared.sides, &prepared.described, &Config::default())
                .unwrap();
        with_principles += usize::from(!findings.principles.is_empty());
    }
    assert!(with_principles <= repetitions / 20, "{with_principles} of {repetitions} print a principle");
}
