//! Two judges on the same pairs, and the models that win: on a finished run, through the program.

use std::path::Path;

use polars::prelude::*;

use crate::util::{data, json, parquet, stderr, stdout, wimhf};

/// The sample with a judge that counts words, one that counts marks, and scores of the first.
fn with_judges(path: &Path) {
    let mut table = parquet(Path::new(&data("sample.parquet")));
    let text = |name: &str| -> Vec<String> {
        let column = table.column(name).unwrap().str().unwrap();
        column.iter().map(|cell| cell.unwrap_or("").to_owned()).collect()
    };
    let (a, b) = (text("response_A"), text("response_B"));
    let words = |text: &str| text.split_whitespace().count() as f64;
    let marks = |text: &str| text.matches(['*', '#', '-', '|']).count() as f64;
    let judge = |of: &dyn Fn(&str) -> f64| -> Vec<f64> {
        let which = |(a, b): (&String, &String)| match of(a).total_cmp(&of(b)) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => 0.5,
        };
        a.iter().zip(&b).map(which).collect()
    };
    let scores = |texts: &[String]| texts.iter().map(|text| words(text)).collect::<Vec<f64>>();
    let grades = judge(&words).into_iter().map(|vote| 1.0 + 4.0 * vote).collect::<Vec<f64>>();
    for (name, values) in [
        ("grade", grades),
        ("by_words", judge(&words)),
        ("by_marks", judge(&marks)),
        ("reward_a", scores(&a)),
        ("reward_b", scores(&b)),
    ] {
        table.with_column(Column::new(name.into(), values)).unwrap();
    }
    let file = std::fs::File::create(path).unwrap();
    ParquetWriter::new(file).finish(&mut table).unwrap();
}

fn call(dir: &Path, arguments: &[&str]) -> String {
    let output = wimhf(dir).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

#[test]
fn a_judge_of_length_and_a_judge_of_marks_are_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    with_judges(&dir.path().join("d.parquet"));
    call(
        dir.path(),
        &["analyze", "d.parquet", "--label-column", "label", "--out", "run", "--device", "cpu", "--quiet"],
    );
    let audit = |more: &[&str]| -> serde_json::Value {
        serde_json::from_str(&call(dir.path(), &[&["audit", "run", "--json"], more].concat())).unwrap()
    };
    let differing = |found: &serde_json::Value| -> Vec<(String, f64)> {
        let rows = found["features"].as_array().unwrap().iter().filter(|row| row["differs"] == true);
        let mut all: Vec<(String, f64)> = rows
            .map(|row| {
                (row["feature_id"].as_str().unwrap().to_owned(), row["difference"]["value"].as_f64().unwrap())
            })
            .collect();
        all.sort_by(|x, y| y.1.abs().total_cmp(&x.1.abs()));
        all
    };
    let words = audit(&["--judge-column", "by_words"]);
    assert_eq!(differing(&words)[0].0, "known_longer");
    assert!(differing(&words)[0].1 > 0.3, "{:?}", differing(&words));
    assert!(words["disagreement_auc"]["low"].as_f64().unwrap() > 0.9);
    // The same judge as scores of each response.
    let scores = audit(&["--judge-scores", "reward_a,reward_b"]);
    assert_eq!(scores["features"], words["features"]);
    // And as grades, which are asked about with the option that this command has.
    let graded = ["audit", "run", "--judge-column", "grade"];
    let output = wimhf(dir.path()).args(graded).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--label-scale=5..1"), "{}", stderr(&output));
    assert_eq!(audit(&["--judge-column", "grade", "--label-scale=5..1"])["features"], words["features"]);
    // Of marks: lists, bold words, headings, and nothing that has no marks lies before them.
    let marks = audit(&["--judge-column", "by_marks"]);
    let first = &differing(&marks)[0].0;
    assert!(
        ["known_lists", "known_bold", "known_headings", "known_steps"].contains(&first.as_str()),
        "{first}"
    );
    // The labels beside themselves, as another dataset with the same pairs: nothing differs.
    let same = audit(&["--judge-data", &data("sample.parquet")]);
    assert!(differing(&same).is_empty() && same["agreement"]["value"] == 1.0, "{same}");
    let text = call(dir.path(), &["audit", "run", "--judge-column", "by_words"]);
    assert!(text.contains("is longer") && text.contains("Where they disagree"), "{text}");
    let record = json(&dir.path().join("run/audit/audit.json"));
    assert_eq!(record["judge"], "by_words");
    assert!(dir.path().join("run/audit/audit.csv").is_file());

    let said = |arguments: &[&str]| {
        let output = wimhf(dir.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        stderr(&output)
    };
    assert!(said(&["audit", "run"]).contains("--judge-column"));
    assert!(said(&["audit", "run", "--judge-column", "by_word"]).contains("did you mean `by_words`"));
    assert!(said(&["audit", "run", "--judge-scores", "prompt,reward_b"]).contains("is no number"));
    std::fs::write(
        dir.path().join("other.jsonl"),
        "{\"prompt\":\"p\",\"response_a\":\"x\",\"response_b\":\"y\",\"label\":1}\n".repeat(3),
    )
    .unwrap();
    assert!(said(&["audit", "run", "--judge-data", "other.jsonl"]).contains("prefer a response"));
}

#[test]
fn models_are_rated_from_their_columns_or_it_is_said_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let run = crate::util::copy_of_sample_run(dir.path());
    let text = call(dir.path(), &["models", "run"]);
    assert!(text.contains("rating") && text.contains("model_A") && text.contains("Wrote"), "{text}");
    let broad: Vec<&str> = text.lines().filter(|line| line.chars().count() > 160).collect();
    assert!(broad.is_empty(), "{broad:?}");
    let found = json(&run.join("models/models.json"));
    let models = found["models"].as_array().unwrap();
    let ratings: Vec<f64> = models.iter().map(|row| row["rating"]["value"].as_f64().unwrap()).collect();
    assert!(ratings.len() > 1 && ratings.is_sorted_by(|a, b| a >= b));
    assert!((ratings.iter().sum::<f64>() / ratings.len() as f64 - 1000.0).abs() < 1e-6);
    // The columns the other way round: every rating is mirrored.
    call(dir.path(), &["models", "run", "--model-columns", "model_B,model_A", "--out", "turned"]);
    let turned = json(&dir.path().join("turned/models.json"));
    for row in models {
        let other = turned["models"].as_array().unwrap().iter().find(|other| other["model"] == row["model"]);
        let (one, other) = (row["rating"]["value"].as_f64(), other.unwrap()["rating"]["value"].as_f64());
        assert!((one.unwrap() + other.unwrap() - 2000.0).abs() < 1e-3);
    }
    let said = |arguments: &[&str]| {
        let output = wimhf(dir.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        stderr(&output)
    };
    assert!(said(&["models", "run", "--model-columns", "model_A"]).contains("two column names with a comma"));
    assert!(said(&["models", "run", "--model-columns", "model_A,model_C"]).contains("did you mean `model_"));
    assert!(said(&["models", "run", "--model-columns", "label,label"]).contains("too few"));
}

/// A column of the dataset is a kind of request for the analysis itself, and rules can hold in one alone.
#[test]
fn kinds_of_request_come_from_a_column_and_reach_the_rules() {
    let dir = tempfile::tempdir().unwrap();
    crate::util::small(&dir.path().join("plain.parquet"), 400, |at| f64::from(u8::from(at % 3 > 0)));
    let mut table = crate::util::parquet(&dir.path().join("plain.parquet"));
    let domain: Vec<&str> = (0..table.height()).map(|at| if at % 2 == 0 { "law" } else { "sport" }).collect();
    let rare: Vec<&str> = (0..table.height()).map(|at| if at < 4 { "x" } else { "y" }).collect();
    table.with_column(Column::new("domain".into(), domain)).unwrap();
    table.with_column(Column::new("rare".into(), rare)).unwrap();
    crate::util::write(&dir.path().join("d.parquet"), table);
    let arguments = ["d.parquet", "--out", "run", "--quiet", "--context", "domain"];
    let output = crate::util::analyze(dir.path(), &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let kinds = json(&dir.path().join("run/contexts.json"));
    let ids: Vec<&str> =
        kinds["contexts"].as_array().unwrap().iter().map(|one| one["context_id"].as_str().unwrap()).collect();
    // The other value says the same the other way round.
    assert!(ids.contains(&"domain=law") || ids.contains(&"domain=sport"), "{ids:?}");
    let fails = |arguments: &[&str], words: &str| {
        let output = wimhf(dir.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    };
    fails(&["analyze", "d.parquet", "--out", "other", "--context", "domains"], "did you mean `domain`");
    fails(&["contexts", "run", "--column", "prompt"], "no kind of request");
    let said = call(dir.path(), &["contexts", "run", "--column", "rare"]);
    assert!(said.contains("`rare` is left out"), "{said}");

    let marked = |context: &str| -> u64 {
        let rule = format!("[[rule]]\nfeature = \"refuses\"\nside = \"prefer\"\n{context}\n");
        std::fs::write(dir.path().join("r.toml"), rule).unwrap();
        let found = call(dir.path(), &["relabel", "run", "--rules", "r.toml", "--dry-run", "--json"]);
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        found["marked"]
            .as_array()
            .map_or_else(|| found["decisions"]["marked"].as_array().unwrap().len(), Vec::len) as u64
    };
    let (all, law, sport) =
        (marked(""), marked("context = \"domain=law\""), marked("context = \"domain=sport\""));
    assert!(law > 0 && sport > 0 && law + sport == all, "{law} + {sport} of {all}");
    std::fs::write(
        dir.path().join("r.toml"),
        "[[rule]]\nfeature = \"refuses\"\nside = \"prefer\"\ncontext = \"nowhere\"\n",
    )
    .unwrap();
    fails(&["relabel", "run", "--rules", "r.toml", "--dry-run"], "no kind of request `nowhere`");
}
