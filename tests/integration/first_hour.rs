//! The first hour with the program: an answer on one screen, help that fits, JSON everywhere, nothing lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::util::{copy_of_sample_run, data, json, small, stderr, stdout, wimhf};

fn call(dir: &Path, arguments: &[&str]) -> Output {
    wimhf(dir).env_remove("OPENAI_API_KEY").env_remove("OPENAI_BASE_URL").args(arguments).output().unwrap()
}

fn ok(dir: &Path, arguments: &[&str]) -> String {
    let output = call(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn value(dir: &Path, arguments: &[&str]) -> Value {
    let text = ok(dir, arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// What a reader must not have to know.
const TRADE: [&str; 14] = [
    "Δ",
    "AUC",
    "sae",
    "effects",
    "fidelity",
    "detector",
    "joint",
    "alone)",
    "more of it",
    "bring back",
    "known_",
    "difference_",
    "p <",
    "p =",
];

/// A point figure as the terminal writes it.
fn points(share: f64) -> String {
    let rounded = (share * 100.0).round();
    match rounded {
        r if r > 0.0 => format!("+{r:.0}"),
        r if r < 0.0 => format!("−{:.0}", -r),
        _ => "0".into(),
    }
}

#[test]
fn the_answer_fits_a_screen_and_says_what_the_table_says() {
    let dir = tempfile::tempdir().unwrap();
    let run = copy_of_sample_run(dir.path());
    let table = json(&run.join("principles.json"));
    let principles = table["principles"].as_array().unwrap();
    let said = |width: &str, more: &[&str]| {
        let output = wimhf(dir.path())
            .args(["analyze", &data("sample.parquet"), "--seed", "1", "--out", "run", "--device", "cpu"])
            .args(more)
            .env("COLUMNS", width)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let words: BTreeSet<String> = principles
        .iter()
        .flat_map(|p| {
            p["statement"].as_str().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    for width in [80, 140] {
        let text = said(&width.to_string(), &[]);
        assert!(text.lines().count() <= 24, "{} lines:\n{text}", text.lines().count());
        for line in text.lines() {
            assert!(line.chars().count() <= width, "wider than {width}: {line}");
        }
        for word in TRADE {
            assert!(!text.contains(word), "{word} is not for everybody:\n{text}");
        }
        let head = format!("sample.parquet: {} principles are confirmed on ", principles.len());
        assert!(text.starts_with(&head), "{head}:\n{text}");
        // One line for each that is listed, in the table's order, with its own figures.
        let listed: Vec<&str> =
            text.lines().skip_while(|line| !line.contains("The response that …")).skip(1).collect();
        let mut shown = 0;
        for (line, principle) in listed.iter().zip(principles) {
            if line.contains("more (--all)") {
                assert!(line.contains(&format!("… and {} more", principles.len() - shown)), "{text}");
                break;
            }
            let number = |key: &str| points(principle[key].as_f64().unwrap());
            let figure = format!("{} [{}, {}]", number("win_delta"), number("win_low"), number("win_high"));
            let unclear = principle["flags"].as_array().unwrap().iter().any(|flag| flag == "size_unclear");
            assert!(
                line.contains(if unclear { "size unclear" } else { figure.as_str() }),
                "{figure}: {line}"
            );
            let end = |key: &str| principle[key].as_f64();
            let along = end("win_low_joint").is_some_and(|low| low <= 0.0)
                && end("win_high_joint").is_some_and(|high| high >= 0.0);
            let risk = principle["flags"].as_array().unwrap().iter().any(|flag| flag == "safety_risk");
            let sign = if risk {
                "!"
            } else if along {
                "*"
            } else {
                " "
            };
            assert!(line.starts_with(sign), "{sign}: {line}");
            // Cut after a word: each one that is shown is one of the statement.
            let what = line[2..].split("  ").next().unwrap();
            for word in what.trim_end_matches('…').split_whitespace() {
                let is_word = words
                    .iter()
                    .any(|whole| whole == word || whole.trim_end_matches([',', ';', ':', '(']) == word);
                assert!(is_word, "{word} is a broken word: {line}");
            }
            shown += 1;
        }
        assert!(shown >= 10.min(principles.len()), "{shown} lines:\n{text}");
        // Where there are no themes, everything is what is learned and known.
        let rungs = &json(&run.join("run.json"))["metrics"]["auc"];
        let auc = if rungs["all"].is_object() { &rungs["all"] } else { &rungs["learned_and_known"] };
        let hundred = |key: &str| (auc[key].as_f64().unwrap() * 100.0).round();
        let figure = format!("{} times in 100 [{}, {}]", hundred("value"), hundred("low"), hundred("high"));
        assert!(text.replace('\n', " ").contains(&figure), "{figure}:\n{text}");
        let last = text.lines().last().unwrap();
        assert!(last.contains("--all") && last.contains("--explain-terms"), "{last}");
    }
    // The rest comes before it, so that the answer is what is left on the screen.
    let all = said("80", &["--all"]);
    assert!(all.ends_with(&said("80", &[])), "{all}");
    assert!(all.lines().count() > 40 && all.contains("held fixed"), "{all}");
    for line in all.lines() {
        // A word may be longer than a screen is wide; nothing else may.
        assert!(
            wimhf::report::text::columns(line) <= 80 || !line.trim().contains(' ') || line.contains('/'),
            "{line}"
        );
    }
    for finding in table["unexplained"].as_array().unwrap() {
        let id = finding["feature_id"].as_str().unwrap();
        assert!(!all.contains(&format!("{id} ({id}")), "{id} is named by itself");
    }
}

#[test]
fn words_are_explained_without_data() {
    let dir = tempfile::tempdir().unwrap();
    let text = ok(dir.path(), &["analyze", "--explain-terms"]);
    for term in ["label:", "wins more often:", "by chance:", "picks the right one:", "safety risk:"] {
        assert!(text.contains(term), "{term} is missing from {text}");
    }
    assert!(value(dir.path(), &["analyze", "--explain-terms", "--json"])["label"].is_string());
    assert_eq!(call(dir.path(), &["analyze"]).status.code(), Some(2), "data are needed for anything else");
}

/// Every command with those below it.
fn commands() -> Vec<Vec<&'static str>> {
    let mut all: Vec<Vec<&str>> = [
        "demo",
        "inspect",
        "analyze",
        "report",
        "constitution",
        "personalize",
        "compare",
        "audit",
        "contexts",
        "reasons",
        "models",
        "runs",
        "relabel",
        "export",
        "score",
        "judge",
        "concepts",
        "dictionary",
        "config",
        "cache",
        "completions",
        "man",
    ]
    .map(|name| vec![name])
    .to_vec();
    for name in ["list", "search", "explain", "read", "train", "export-sentences", "name"] {
        all.push(vec!["dictionary", name]);
    }
    all.extend(["init", "path", "show"].map(|name| vec!["config", name]));
    all.extend(["dir", "size", "prune", "clear"].map(|name| vec!["cache", name]));
    all
}

#[test]
fn the_short_help_of_every_command_fits_a_screen() {
    let dir = tempfile::tempdir().unwrap();
    let top = ok(dir.path(), &["-h"]);
    for command in commands() {
        let short = ok(dir.path(), &[&command[..], &["-h"]].concat());
        let lines = short.lines().count();
        assert!(lines <= 50, "{command:?} -h has {lines} lines:\n{short}");
        let (_, general) =
            short.split_once("General options:\n").unwrap_or_else(|| panic!("{command:?}:\n{short}"));
        for option in ["--quiet", "--verbose", "--json", "--color", "--no-progress", "--help", "--version"] {
            assert!(general.contains(option), "{option} is missing from {command:?} -h:\n{short}");
        }
        if let Some((_, models)) = short.split_once("Language models:\n") {
            let until = models.split("\n\n").next().unwrap();
            assert!(!until.contains("--quiet") && !until.contains("--json"), "{command:?}:\n{short}");
        }
        let long = ok(dir.path(), &[&command[..], &["--help"]].concat());
        assert!(long.lines().count() >= lines, "{command:?} --help says less than -h");
        assert!(top.contains(&format!("\n  {} ", command[0])), "{command:?} is not in\n{top}");
    }
    // What is left out of the short help stands in the long one.
    let (short, long) = (ok(dir.path(), &["analyze", "-h"]), ok(dir.path(), &["analyze", "--help"]));
    for option in ["--sae-mode", "--split-columns", "--judge-param", "--save-embeddings"] {
        assert!(!short.contains(option) && long.contains(option), "{option}");
    }
}

#[test]
fn every_command_answers_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    std::fs::create_dir(at.join("runs")).unwrap();
    copy_of_sample_run(&at.join("runs"));
    let sample = data("sample.parquet");
    let cache = at.join("cache").display().to_string();
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (
            vec!["analyze", &sample, "--seed", "1", "--out", "runs/run", "--device", "cpu"],
            "/findings/principles/0/rank",
        ),
        (vec!["inspect", &sample], "/found/labels/labels"),
        (vec!["report", "runs/run"], "/page"),
        (vec!["export", "runs/run", "--format", "trl"], "/rows"),
        (vec!["constitution", "runs/run", "--dry-run"], "/found/principles"),
        (vec!["personalize", "runs/run", "--no-evaluation", "--dry-run"], "/found/labels"),
        (vec!["relabel", "runs/run", "--rule", "refuses:prefer", "--dry-run"], "/decisions/labels"),
        (vec!["compare", "runs/run", "--by", "prompt_topic"], "/parts"),
        (vec!["models", "runs/run"], "/models/0/rating/low"),
        (vec!["audit", "runs/run", "--judge-data", &sample], "/features/0/difference/value"),
        (vec!["contexts", "runs/run", "--column", "model_A"], "/rows/0/inside/value"),
        (vec!["score", "runs/run", &sample, "--device", "cpu"], "/rows"),
        (vec!["judge", "runs/run", "--concept", "uses humour", "--judge", "m", "--dry-run"], "/0/calls"),
        (vec!["concepts"], "/0/id"),
        (vec!["runs"], "/0/principles"),
        (vec!["config", "path"], ""),
        (vec!["config", "show"], "/sae/mode"),
        (vec!["cache", "size"], "/folder"),
        (vec!["cache", "dir"], "/folder"),
        (vec!["completions", "bash"], "/script"),
        (vec!["man"], "/page"),
        (vec!["--version"], "/version"),
    ];
    for (arguments, pointer) in cases {
        let output =
            wimhf(at).env("WIMHF_CACHE_DIR", &cache).args(&arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        let found: Value = serde_json::from_str(&stdout(&output))
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", stdout(&output)));
        assert!(found.pointer(pointer).is_some(), "{arguments:?} has no {pointer}: {found:.300}");
    }
    // Before the command, too, and what is said besides stays on stderr.
    assert_eq!(value(at, &["--json", "runs"])[0]["run"], "runs/run");
    let built = value(at, &["--version", "--json"]);
    assert_eq!(built["version"], env!("CARGO_PKG_VERSION"));
    assert!(built["hub"].is_boolean() && built["backends"].is_array());
}

#[test]
fn what_asking_would_cost_is_told_without_a_key() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 200, |i| f64::from(u8::from(i % 3 == 0)));
    let costs = value(
        dir.path(),
        &[
            "analyze",
            "d.parquet",
            "--device",
            "cpu",
            "--describer",
            "model",
            "--writer",
            "gpt-5",
            "--dry-run",
            "--json",
        ],
    );
    let stages: Vec<&str> =
        costs.as_array().unwrap().iter().map(|cost| cost["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["write", "judge", "shorten"]);
}

#[test]
fn runs_are_listed_and_settings_are_written_found_and_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    small(&at.join("d.parquet"), 150, |i| f64::from(u8::from(i % 3 == 0)));
    let none = call(at, &["runs"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("wimhf analyze DATA"), "{}", stderr(&none));

    assert_eq!(ok(at, &["config", "init"]), "wimhf.toml\n");
    let again = call(at, &["config", "init"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("`--force`"), "{}", stderr(&again));
    let text = std::fs::read_to_string(at.join("wimhf.toml")).unwrap();
    assert!(text.contains("#seed = 0\n"), "{text}");
    let analyze = |more: &[&str]| {
        let output = call(at, &[&["analyze", "d.parquet", "--device", "cpu"], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    assert!(analyze(&[]).contains("wimhf.toml"), "what is found is said");

    // Another seed, by the file that is found, in a folder below: a run of its own beside the first.
    std::fs::write(at.join("wimhf.toml"), text.replace("#seed = 0\n", "seed = 7\n")).unwrap();
    let said = analyze(&[]);
    assert!(
        said.contains("`runs/d` holds a run with other settings") && said.contains("`runs/d-2`"),
        "{said}"
    );
    assert!(!analyze(&[]).contains("runs/d-3"), "the same command finds its own run again");
    let listed = value(at, &["runs", "--json"]);
    let mut seeds: Vec<(String, u64)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["run"].as_str().unwrap().to_owned(), run["seed"].as_u64().unwrap()))
        .collect();
    seeds.sort();
    assert_eq!(seeds, [("runs/d".to_owned(), 0), ("runs/d-2".to_owned(), 7)]);
    let table = ok(at, &["runs"]);
    assert!(table.lines().count() == 3 && table.contains("d.parquet"), "{table}");
    std::fs::create_dir(at.join("below")).unwrap();
    assert!(ok(&at.join("below"), &["config", "path"]).trim().ends_with("wimhf.toml"));
    assert!(ok(&at.join("below"), &["config", "show"]).contains("* seed = 7\n"));
    // Named by hand, the folder is refused, and an option goes before the file.
    let refused = call(at, &["analyze", "d.parquet", "--device", "cpu", "--out", "runs/d"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("`seed` 0 there, 7 now"), "{}", stderr(&refused));
    assert!(!analyze(&["--seed", "0"]).contains("other settings"));
    // How a server would be talked to is no other setting.
    let same = analyze(&["--seed", "0", "--base-url", "http://127.0.0.1:9/v1", "--concurrency", "2"]);
    assert!(!same.contains("`runs/d-"), "{same}");
}

#[test]
fn who_hears_what_can_be_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    small(&at.join("d.parquet"), 150, |i| f64::from(u8::from(i % 3 == 0)));
    let said = |more: &[&str]| {
        let output = call(at, &[&["analyze", "d.parquet", "--device", "cpu"], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    let (plain, loud) = said(&["-v"]);
    assert!(loud.contains("✓ read the data") && loud.contains("✓ choose principles"), "{loud}");
    assert!(!loud.contains("sae"), "{loud}");
    assert!(!said(&[]).1.contains('✓'), "no lines of stages into a pipe unless they are asked for");
    assert_eq!(said(&["-q"]).1, "");
    assert!(!plain.contains('\u{1b}'));
    let refused = call(at, &["--color", "always", "report", "nowhere"]);
    assert!(stderr(&refused).contains("\u{1b}[1;31merror"), "{}", stderr(&refused));
    assert_eq!(call(at, &["report", "nowhere", "-q", "-v"]).status.code(), Some(2), "one or the other");
}

/// A text may hold what would command a terminal: JSON writes it its own way, and stays JSON.
#[test]
fn json_stays_json_whatever_the_texts_hold() {
    let dir = tempfile::tempdir().unwrap();
    let odd = "a\u{85}b\u{9b}31mc\u{7f}d\u{202e}e\u{1b}[31mf";
    let line = |at: usize| {
        let pair = serde_json::json!({"prompt": format!("p{at} {odd}"), "response_a": format!("x {odd} {at}"), "response_b": "y", "label": 1});
        format!("{pair}\n")
    };
    std::fs::write(dir.path().join("d.jsonl"), (0..5).map(line).collect::<String>()).unwrap();
    let text = ok(dir.path(), &["inspect", "d.jsonl", "--json"]);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n') && !text.contains('\u{202e}'));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(value.to_string().contains("x a\u{85}b\u{9b}31mc\u{7f}d\u{202e}e"), "{text}");
}
