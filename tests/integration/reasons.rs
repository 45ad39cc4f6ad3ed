//! What people say beside what they do, on the sample with made reasons, through the program.

use std::path::Path;

use polars::prelude::*;

use crate::util::{data, json, parquet, stderr, stdout, wimhf};

/// Attribute of the sample, the feature that measures it, how it is praised and how it is complained about.
const ATTRIBUTES: [(&str, &str, &str, &str); 5] = [
    ("refusal", "known_refuses", "rightly declines to go along", "refuses to help, which is useless"),
    (
        "bullets",
        "known_lists",
        "is easy to scan thanks to its bullet points",
        "is chopped up into annoying bullets",
    ),
    ("emoji", "known_emoji", "is more fun with the emojis, I like that", "is full of silly emojis"),
    ("example", "known_example", "makes it clear with an example", "distracts with a pointless example"),
    ("apology", "known_apologises", "is right to apologise, I like that", "apologises for no reason"),
];
const FIRST: [&str; 4] = ["Response A", "The first one", "A", "Answer 1"];
const SECOND: [&str; 4] = ["Response B", "The second one", "B", "Answer 2"];

type Flags = Vec<Option<bool>>;
type Texts = Vec<Option<String>>;

fn flags(table: &DataFrame, name: &str) -> Flags {
    table.column(name).unwrap().bool().unwrap().iter().collect()
}

/// Reasons that are true of their pair, as one text and as a text about each response; three of ten go against the label.
fn reasons(table: &DataFrame) -> [Texts; 3] {
    let truth = parquet(Path::new(&data("sample_attributes.parquet")));
    let labels: Vec<Option<f64>> =
        table.column("label").unwrap().cast(&DataType::Float64).unwrap().f64().unwrap().iter().collect();
    let sides: Vec<(Flags, Flags)> = ATTRIBUTES
        .iter()
        .map(|(name, ..)| (flags(&truth, &format!("{name}_A")), flags(&truth, &format!("{name}_B"))))
        .collect();
    let (mut whole, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
    for (row, label) in labels.iter().enumerate() {
        let apart =
            |at: &usize| matches!((sides[*at].0[row], sides[*at].1[row]), (Some(a), Some(b)) if a != b);
        let differing: Vec<usize> = (0..ATTRIBUTES.len()).filter(apart).collect();
        let wins_a = label.filter(|label| *label == 0.0 || *label == 1.0).map(|label| label == 1.0);
        let (Some(wins_a), false) = (wins_a, differing.is_empty()) else {
            [&mut whole, &mut first, &mut second].into_iter().for_each(|column| column.push(None));
            continue;
        };
        let at = differing[row % differing.len()];
        let has_a = sides[at].0[row] == Some(true);
        let follows = (row * 7 + row / 10) % 10 < 7;
        let praises = (has_a == wins_a) == follows;
        let (_, _, praise, complaint) = ATTRIBUTES[at];
        let says = if praises { praise } else { complaint };
        let who = if has_a { FIRST[row % 4] } else { SECOND[row % 4] };
        whole.push(Some(format!("This took me a while. {who} {says}.")));
        first.push(has_a.then(|| format!("It {says}.")));
        second.push((!has_a).then(|| format!("It {says}.")));
    }
    [whole, first, second]
}

fn with_reasons(path: &Path) {
    let mut table = parquet(Path::new(&data("sample.parquet")));
    let rows = table.height();
    let [why, first, second] = reasons(&table);
    let german = "Die erste Antwort ist besser, weil sie kürzer ist und genau sagt, was gefragt war, Nummer";
    let number = |text: &str| (0..rows).map(|row| format!("{text} {row}")).collect::<Vec<String>>();
    for column in [
        Column::new("why".into(), why),
        Column::new("critique_a".into(), first),
        Column::new("critique_b".into(), second),
        Column::new("nothing".into(), vec![None::<String>; rows]),
        Column::new("same".into(), vec!["no comment"; rows]),
        Column::new("warum".into(), number(german)),
        Column::new("beside".into(), number("I was in a hurry that day, visit")),
    ] {
        table.with_column(column).unwrap();
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
fn three_tenths_that_are_not_followed_are_told_and_bad_columns_refused() {
    let dir = tempfile::tempdir().unwrap();
    with_reasons(&dir.path().join("d.parquet"));
    call(
        dir.path(),
        &["analyze", "d.parquet", "--label-column", "label", "--out", "run", "--device", "cpu", "--quiet"],
    );
    let value = |more: &[&str]| -> serde_json::Value {
        serde_json::from_str(&call(dir.path(), &[&["reasons", "run", "--json"], more].concat())).unwrap()
    };
    let found = value(&["--reason-column", "why"]);
    let figure = |found: &serde_json::Value, at: &str| found.pointer(at).unwrap().as_f64().unwrap();
    assert!(
        figure(&found, "/followed/low") <= 0.7 && 0.7 <= figure(&found, "/followed/high"),
        "{}",
        found["followed"]
    );
    assert!(figure(&found, "/is_true/low") > 0.9, "{}", found["is_true"]);
    let row = |found: &serde_json::Value, id: &str| -> serde_json::Value {
        found["features"].as_array().unwrap().iter().find(|row| row["feature_id"] == id).unwrap().clone()
    };
    for (_, feature, ..) in ATTRIBUTES {
        let own = row(&found, feature);
        assert!(own["reasons"].as_u64().unwrap() > 50 && own["verdict"] == "followed", "{own}");
        assert!(!own["not_followed"].as_array().unwrap().is_empty());
    }
    // Planted and strong in the labels, and in no reason.
    assert!(found["features"].as_array().unwrap().iter().any(|row| row["never_stated"] == true), "{found}");
    let coverage = &found["coverage"];
    assert!(figure(coverage, "/coverage/low") > figure(coverage, "/coverage_floor/high"), "{coverage}");
    // A text about each response says the same.
    let critiques = value(&["--critique-columns", "critique_a,critique_b"]);
    assert_eq!(row(&critiques, "known_emoji")["followed"], row(&found, "known_emoji")["followed"]);
    // Words about other things name nothing, and show as a theme.
    let beside = value(&["--reason-column", "beside"]);
    assert_eq!(beside["naming"]["value"], 0.0);
    assert!(beside["themes"][0]["words"].to_string().contains("hurry"), "{}", beside["themes"]);

    let text = call(dir.path(), &["reasons", "run", "--reason-column", "why"]);
    for words in ["are stated and not followed", "hardly ever stated", "the principles explain", "uses emoji"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let broad: Vec<&str> =
        text.lines().filter(|line| line.chars().count() > 125 && !line.contains(".csv")).collect();
    assert!(broad.is_empty(), "{broad:?}");
    assert_eq!(json(&dir.path().join("run/reasons/reasons.json"))["columns"][0], "why");
    assert!(dir.path().join("run/reasons/reasons.csv").is_file());

    let said = |arguments: &[&str]| {
        let output = wimhf(dir.path()).args([&["reasons", "run"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
        stderr(&output)
    };
    assert!(said(&[]).contains("--reason-column"));
    assert!(said(&["--reason-column", "whi"]).contains("did you mean `why`"));
    assert!(said(&["--reason-column", "nothing"]).contains("is empty"));
    assert!(said(&["--reason-column", "same"]).contains("says the same in every row"));
    assert!(said(&["--reason-column", "warum"]).contains("in English"));
    assert!(said(&["--reason-column", "label"]).contains("no reasons in words"));
    assert!(said(&["--critique-columns", "critique_a,critique_c"]).contains("did you mean `critique_"));
}
