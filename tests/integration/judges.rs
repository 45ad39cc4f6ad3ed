//! Two judges on the same pairs, and the models that win: on a finished run, through the program.

use std::path::Path;

use polars::prelude::*;
use rand::RngExt;

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
    assert!(said(&["audit", "run", "--against", "by_words"]).contains("--judge-column"));
    assert!(said(&["audit", "run", "--judge-column", "by_word"]).contains("did you mean `by_words`"));
    assert!(said(&["audit", "run", "--judge-scores", "prompt,reward_b"]).contains("is no number"));
    std::fs::write(
        dir.path().join("other.jsonl"),
        "{\"prompt\":\"p\",\"response_a\":\"x\",\"response_b\":\"y\",\"label\":1}\n".repeat(3),
    )
    .unwrap();
    assert!(said(&["audit", "run", "--judge-data", "other.jsonl"]).contains("prefer a response"));
}

/// Lists win where code is asked for, and lose elsewhere: new pairs are scored so.
#[test]
fn scores_know_where_a_principle_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = wimhf::rng::stream(7, "scores by context");
    let things = ["parser", "garden", "market", "train", "letter", "kitchen", "river", "museum"];
    let plain = |at: usize, thing: &str| {
        format!("You can begin with the {thing} number {at} and go on from there as it suits you best today.")
    };
    let list = |at: usize, thing: &str| {
        format!("- begin with the {thing}\n- number {at}\n- go on from there\n- end it")
    };
    let prompt = |at: usize, thing: &str, code: bool| match code {
        true => format!("Please give me python code for the {thing} of case {at}"),
        false => format!("Tell me something nice about the {thing} in town {at}"),
    };
    let mut rows = String::new();
    for at in 0..1_600 {
        let (code, list_first) = (rng.random::<bool>(), rng.random::<bool>());
        let list_wins = (rng.random::<f64>() < 0.85) == code;
        let thing = things[at % things.len()];
        let (a, b) = match list_first {
            true => (list(at, thing), plain(at, thing)),
            false => (plain(at, thing), list(at, thing)),
        };
        let label = u8::from(list_wins == list_first);
        let row = serde_json::json!({"prompt": prompt(at, thing, code), "response_a": a, "response_b": b, "label": label});
        rows += &format!("{row}\n");
    }
    std::fs::write(dir.path().join("d.jsonl"), rows).unwrap();
    call(dir.path(), &["analyze", "d.jsonl", "--out", "run", "--device", "cpu", "--quiet"]);
    let weights = json(&dir.path().join("run/score/weights.json"));
    let kinds: Vec<&str> = weights["contexts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| kind["context_id"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"code"), "{kinds:?}");
    assert!(weights["formula"].as_str().unwrap().contains("by_context"));

    let new: Vec<String> = [true, false]
        .iter()
        .map(|&code| {
            let row = serde_json::json!({"prompt": prompt(9_999, "tower", code), "response_a": list(9_999, "tower"),
                "response_b": plain(9_999, "tower")});
            row.to_string()
        })
        .collect();
    std::fs::write(dir.path().join("new.jsonl"), new.join("\n")).unwrap();
    call(dir.path(), &["score", "run", "new.jsonl", "--out", "scored.parquet", "--explain"]);
    let scored = parquet(&dir.path().join("scored.parquet"));
    let p: Vec<f64> = scored.column("wimhf_p_a").unwrap().f64().unwrap().iter().map(Option::unwrap).collect();
    assert!(p[0] > 0.7 && p[1] < 0.3, "{p:?}");
}

/// What was asked of a run stands on its page, without names where it is anonymised.
#[test]
fn audit_models_and_annotators_are_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let run = crate::util::copy_of_sample_run(dir.path());
    let page = || std::fs::read_to_string(run.join("report.html")).unwrap();
    call(dir.path(), &["models", "run"]);
    call(dir.path(), &["audit", "run", "--judge-data", &data("sample.parquet")]);
    call(dir.path(), &["report", "run"]);
    let text = page();
    assert!(text.contains("Why this model wins") && text.contains("Between whom"), "{}", text.len());
    let found = json(&run.join("models/models.json"));
    let model = found["models"][0]["model"].as_str().unwrap().to_owned();
    assert!(text.contains(&format!("<th scope=\"row\">{model}")));
    call(dir.path(), &["report", "run", "--anonymise", "--out", "a.html"]);
    let hidden = std::fs::read_to_string(dir.path().join("a.html")).unwrap();
    assert!(
        hidden.contains("Why this model wins") && hidden.contains(">model 1") && !hidden.contains(&model)
    );
    // Of an earlier analysis: not shown, and said.
    let file = run.join("models/models.json");
    let mut record = found;
    record["models"][0]["traits"] = serde_json::json!([{"feature_id": "known_refuses", "description": "did something else",
        "more": {"value": 0.1, "low": 0.0, "high": 0.2, "n": 9}, "points": null}]);
    std::fs::write(&file, record.to_string()).unwrap();
    call(dir.path(), &["report", "run"]);
    assert!(!page().contains("Why this model wins") && page().contains("of an earlier analysis"));
    // Damaged: said, and nothing is written.
    std::fs::write(&file, "{").unwrap();
    let output = wimhf(dir.path()).args(["report", "run"]).output().unwrap();
    assert!(
        output.status.code() == Some(2) && stderr(&output).contains("models.json"),
        "{}",
        stderr(&output)
    );
}

/// Three annotators who agree about lists and toss a coin elsewhere: α says so, overall and by feature.
#[test]
fn annotators_among_themselves_need_no_judge() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = wimhf::rng::stream(3, "annotators");
    let mut rows = String::new();
    for at in 0..400 {
        let (listed, first) = (at % 2 == 0, rng.random::<bool>());
        let one = match listed {
            true => format!("- one thing {at}\n- another thing\n- a third thing"),
            false => format!("One thing {at}, another thing and a third thing there"),
        };
        let other = format!("Something about the town {at}, and what it is like in winter");
        let (a, b) = if first { (&one, &other) } else { (&other, &one) };
        for who in ["ann", "ben", "cem"] {
            let label = if listed { first } else { rng.random::<bool>() };
            let row = serde_json::json!({"prompt": format!("What of {at}?"), "response_a": a, "response_b": b,
                "label": u8::from(label), "annotator_id": who});
            rows += &format!("{row}\n");
        }
    }
    std::fs::write(dir.path().join("d.jsonl"), rows).unwrap();
    call(dir.path(), &["analyze", "d.jsonl", "--out", "run", "--device", "cpu", "--quiet"]);
    let found: serde_json::Value =
        serde_json::from_str(&call(dir.path(), &["audit", "run", "--all", "--json"])).unwrap();
    let people = &found["annotators"];
    assert_eq!((&found["judge"], &people["people"]), (&serde_json::Value::Null, &serde_json::json!(3)));
    // Half of the pairs at 1, half at 0.
    let alpha = &people["alpha"];
    assert!(alpha["low"].as_f64().unwrap() < 0.5 && alpha["high"].as_f64().unwrap() > 0.5, "{alpha}");
    assert_eq!(alpha["n"], 400);
    let lists = people["features"].as_array().unwrap().iter().find(|row| row["feature_id"] == "known_lists");
    assert_eq!(lists.unwrap()["alpha"]["value"], 1.0);
    let said = call(dir.path(), &["audit", "run"]);
    assert!(said.contains("3 annotators among themselves") && !said.contains("beside"), "{said}");
    call(dir.path(), &["report", "run"]);
    let page = std::fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(page.contains("3 annotators among themselves"));
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
