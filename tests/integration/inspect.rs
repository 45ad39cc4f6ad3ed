//! `wimhf inspect`, on every shape, and several sources in one run.

use std::path::Path;

use serde_json::Value;

use crate::util::{analyze, data, json, parquet, root, small, stderr, stdout, wimhf};

fn fixture(name: &str) -> String {
    root().join("tests/fixtures/shapes").join(name).display().to_string()
}

fn inspect(arguments: &[&str]) -> std::process::Output {
    wimhf(Path::new(".")).arg("inspect").args(arguments).output().unwrap()
}

#[test]
fn every_shape_is_named_in_text_and_json() {
    for (name, arguments, shape, used) in [
        ("own.parquet", &[][..], "prompt, response_A, response_B", 8),
        ("chosen_rejected.jsonl", &[], "chosen/rejected", 8),
        ("ultrafeedback_binarized.parquet", &[], "chosen/rejected", 8),
        ("hh_rlhf.jsonl", &[], "chosen/rejected transcripts", 8),
        ("arena.parquet", &[], "Arena conversations", 8),
        ("pku_saferlhf.parquet", &["--preference", "safe"], "PKU-SafeRLHF (safe)", 12),
        ("shp.jsonl", &[], "SHP", 8),
        ("prism_conversations.jsonl", &[], "PRISM conversations", 27),
        ("prism_utterances.jsonl", &["--pairing", "top-vs-bottom"], "PRISM utterances", 15),
        ("community_alignment.csv", &[], "Community Alignment", 54),
        ("oasst_messages.parquet", &[], "OpenAssistant trees", 15),
        ("oasst_trees.jsonl", &[], "OpenAssistant trees", 15),
        ("ultrafeedback.parquet", &[], "UltraFeedback completions (overall)", 24),
        ("icai.csv", &[], "ICAI", 8),
        ("annotated_pairs.json", &[], "annotated pairs", 12),
        ("scored_responses.jsonl", &[], "scored responses, one a row", 16),
    ] {
        let path = fixture(name);
        let all: Vec<&str> = std::iter::once(path.as_str()).chain(arguments.iter().copied()).collect();
        let text = inspect(&all);
        assert!(text.status.success(), "{name}: {}", stderr(&text));
        assert!(
            stdout(&text).contains(&format!("read as      {shape} (1 file")),
            "{name}: {}",
            stdout(&text)
        );
        assert_eq!(stderr(&text), "", "{name}: notes are part of what is found");
        let found = inspect(&[&all[..], &["--json"]].concat());
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        assert_eq!(found["schema_version"], 1, "{name}");
        assert_eq!(found["data"]["shape"], shape, "{name}");
        assert_eq!(found["data"]["pairs_used"], used, "{name}");
        assert_eq!(found["found"]["labels"]["labels"], used, "{name}");
        assert_eq!(found["embedding"].as_array().map(Vec::len), Some(3), "{name}");
    }
    let output = inspect(&[&fixture("pku_saferlhf.parquet")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--preference helpful"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
}

#[test]
fn the_sample_is_described_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let output = wimhf(dir.path()).args(["inspect", &data("sample.parquet")]).output().unwrap();
    let text = stdout(&output);
    for word in
        ["columns", "left out", "labels", "length", "annotators", "prompts", "languages", "English", "calls"]
    {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn several_sources_are_analysed_as_one_set() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("first.parquet"), 120, |i| (i % 2) as f64);
    let rows = parquet(&dir.path().join("first.parquet"));
    let text = |name: &str, i: usize| rows.column(name).unwrap().str().unwrap().get(i).unwrap().to_owned();
    let lines: Vec<String> = (0..60)
        .map(|i| {
            serde_json::json!({"prompt": format!("Again: {}", text("prompt", i)), "chosen": text("response_A", i),
                               "rejected": if i == 7 { text("response_A", i) } else { text("response_B", i) }})
            .to_string()
        })
        .collect();
    std::fs::write(dir.path().join("second.jsonl"), lines.join("\n")).unwrap();
    let output = analyze(
        dir.path(),
        &["first.parquet", "second.jsonl", "--features", "4", "--active", "2", "--out", "run"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let pairs = parquet(&dir.path().join("run/pairs.parquet"));
    let datasets = pairs.column("dataset").unwrap().str().unwrap();
    let count = |name: &str| datasets.iter().filter(|other| *other == Some(name)).count();
    assert_eq!((count("first"), count("second"), datasets.len()), (120, 59, 179));
    let record = json(&dir.path().join("run/run.json"));
    let sources = record["dataset"]["sources"].as_array().unwrap();
    assert_eq!(sources[1]["shape"], "chosen/rejected");
    assert_eq!((&sources[0]["pairs_used"], &sources[1]["pairs_used"]), (&120.into(), &59.into()));
    assert_eq!(record["dataset"]["path"], "first.parquet, second.jsonl");
    let dropped = std::fs::read_to_string(dir.path().join("run/dropped.csv")).unwrap();
    assert_eq!(dropped, "row,reason,dataset\n7,identical responses,second\n");
    // What builds on the run finds both sources again.
    let output = wimhf(dir.path()).args(["export", "run", "--format", "trl"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn what_cannot_be_known_is_one_question_with_its_answers() {
    let dir = tempfile::tempdir().unwrap();
    let rows = |label: &dyn Fn(usize) -> String| -> String {
        let row = |i: usize| {
            format!(
                "{{\"question\":\"q{i}\",\"answer_1\":\"long answer number {i}\",\"answer_2\":\"short {i}\",\"winner\":{}}}\n",
                label(i)
            )
        };
        (0..14).map(row).collect()
    };
    let file = |name: &str, label: &dyn Fn(usize) -> String| {
        std::fs::write(dir.path().join(name), rows(label)).unwrap();
    };
    let run = |arguments: &[&str]| wimhf(dir.path()).arg("inspect").args(arguments).output().unwrap();
    file("likert.jsonl", &|i| (1 + i % 7).to_string());
    let output = run(&["likert.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    for word in [
        "`winner`",
        "`--label-scale=1..7`",
        "`--label-scale=7..1`",
        "example row 6 has `7`",
        "long answer number 6",
    ] {
        assert!(message.contains(word), "{word} is not in {message}");
    }
    for (scale, a) in [("1..7", 6), ("7..1", 6)] {
        let output = run(&["likert.jsonl", "--json", "--label-scale", scale]);
        let found: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        let labels = &found["found"]["labels"];
        assert_eq!((&labels["a"], &labels["ties"], &labels["b"]), (&a.into(), &2.into(), &6.into()));
        let longer = if scale == "1..7" { 3 } else { 5 };
        let first = found["found"]["examples"][0]["label"].as_f64();
        assert_eq!(first, Some(if longer == 3 { 1.0 } else { 0.0 }));
    }
    // Words of one's own, and part of them.
    file("words.jsonl", &|i| if i % 2 == 0 { "\"great\"".into() } else { "\"meh\"".into() });
    let message = stderr(&run(&["words.jsonl"]));
    assert!(message.contains("--label-map 'great=A,meh=B'"), "{message}");
    assert_eq!(run(&["words.jsonl", "--label-map", "great=A"]).status.code(), Some(2));
    let output = run(&["words.jsonl", "--label-map", "great=A,meh=B"]);
    let text = stdout(&output);
    for word in [
        "two columns of responses",
        "`--prompt-column question --response-a-column answer_1 --response-b-column answer_2 --label-column winner`",
        "by hand, `great` is A, `meh` is B; 14 labels, 0 ties",
        "row 0        q0 → A is preferred",
        "A: long answer number 0",
    ] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    // Nothing says who won.
    std::fs::write(dir.path().join("none.csv"), "question,answer_1,answer_2,stars\nq,a,b,x\n").unwrap();
    let message = stderr(&run(&["none.csv"]));
    assert!(message.contains("--response-b-column answer_2 --label-column L"), "{message}");
}
