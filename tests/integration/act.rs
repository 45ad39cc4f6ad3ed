//! What the findings are for: relabelling and scoring, on a finished run of the sample.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard};

use polars::prelude::*;

use crate::util::{analyze, copy_of_sample_run, data, json, parquet, small, stderr, stdout, wimhf, write};

/// A finished run of the sample that is written to here.
static SAMPLE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    copy_of_sample_run(dir.path());
    dir
});

fn sample() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| SAMPLE.path().join("run").display().to_string());
    &PATH
}

/// Relabelling writes into the run: one test at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|failed| failed.into_inner())
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    wimhf(dir).args(arguments).output().expect("the program starts")
}

fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn text<'a>(table: &'a DataFrame, name: &str) -> &'a StringChunked {
    table.column(name).unwrap().str().unwrap()
}

fn flags(table: &DataFrame, name: &str) -> Vec<Option<bool>> {
    table.column(name).unwrap().bool().unwrap().iter().collect()
}

#[test]
fn the_preset_finds_the_planted_harmful_pairs_and_leaves_benign_refusals_alone() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let flip = ["relabel", sample(), "--preset", "safety", "--action", "flip", "--min-score", "0.63"];
    let dry = done(dir.path(), &[&flip[..], &["--dry-run"]].concat());
    assert!(dry.contains("go against a rule") && dry.contains("Examples") && dry.contains("What changes"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a dry run writes nothing");

    let wrote = done(dir.path(), &[&flip[..], &["--out", "out.parquet", "--trl", "trl.jsonl"]].concat());
    assert!(wrote.starts_with(dry.trim_end()), "the dry run says what is then done");
    let (before, after) =
        (parquet(Path::new(&data("sample.parquet"))), parquet(&dir.path().join("out.parquet")));
    let truth = parquet(Path::new(&data("sample_attributes.parquet")));
    let harmful = flags(&truth, "harmful");
    let (a, b) = (flags(&truth, "refusal_A"), flags(&truth, "refusal_B"));
    let label: Vec<Option<f64>> = before.column("label").unwrap().f64().unwrap().iter().collect();
    let action = text(&after, "wimhf_action");
    let (mut planted, mut found, mut touched, mut benign, mut benign_touched) = (0, 0, 0, 0, 0);
    for row in 0..before.height() {
        let (Some(a), Some(b)) = (a[row], b[row]) else { continue };
        let marked = action.get(row) == Some("flip");
        let refused_and_lost = a && !b && label[row] == Some(0.0) || b && !a && label[row] == Some(1.0);
        let is_planted = harmful[row] == Some(true) && refused_and_lost;
        planted += usize::from(is_planted);
        touched += usize::from(marked);
        found += usize::from(is_planted && marked);
        if harmful[row] == Some(false) && (a || b) {
            benign += 1;
            benign_touched += usize::from(marked);
        }
    }
    let (precision, recall) = (found as f64 / touched as f64, found as f64 / planted as f64);
    assert!(precision >= 0.9 && recall >= 0.7, "precision {precision}, recall {recall} of {planted}");
    assert!(benign_touched as f64 <= 0.02 * benign as f64, "{benign_touched} of {benign}");

    // The rest of the table is the table.
    for column in before.columns() {
        let new = after.column(column.name()).unwrap();
        if column.name() != "label" {
            assert!(column.equals_missing(new), "{}", column.name());
        }
    }
    // Trainers get the changed preference.
    let lines = std::fs::read_to_string(dir.path().join("trl.jsonl")).unwrap();
    let flipped = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|row| row["wimhf_action"] == "flip")
        .unwrap();
    assert_eq!(flipped["wimhf_original_label"], 0.0);
    let undone = done(dir.path(), &["relabel", "--undo", "out.parquet", "--out", "back.parquet"]);
    assert!(undone.contains("byte by byte"), "{undone}");
    assert_eq!(
        std::fs::read(dir.path().join("back.parquet")).unwrap(),
        std::fs::read(data("sample.parquet")).unwrap()
    );
}

#[test]
fn relabelled_labels_make_safer_probes() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let table = parquet(Path::new(&data("sample.parquet")));
    let truth = parquet(Path::new(&data("sample_attributes.parquet")));
    let (harmful, kind) = (flags(&truth, "harmful"), text(&truth, "kind").clone());
    let (a, b) = (flags(&truth, "refusal_A"), flags(&truth, "refusal_B"));
    let part = |keep: &dyn Fn(usize) -> bool, safety: bool, name: &str| {
        let mask: BooleanChunked =
            (0..table.height()).map(|row| Some(kind.get(row) == Some("pair") && keep(row))).collect();
        let mut part = table.filter(&mask).unwrap();
        if safety {
            let labels: Vec<f64> = (0..table.height())
                .filter(|&row| kind.get(row) == Some("pair") && keep(row))
                .map(|row| f64::from(u8::from(a[row] == Some(true))))
                .collect();
            part.with_column(Column::new("label".into(), labels)).unwrap();
        }
        write(&dir.path().join(name), part);
    };
    part(&|row| harmful[row] == Some(true) && a[row] != b[row], true, "safety.parquet");
    part(&|row| harmful[row] == Some(false), false, "general.parquet");
    done(
        dir.path(),
        &[
            "relabel",
            sample(),
            "--preset",
            "safety",
            "--action",
            "flip",
            "--min-score",
            "0.63",
            "--out",
            "out.parquet",
            "--evaluate",
            "safety.parquet",
            "general.parquet",
        ],
    );
    let record = json(&Path::new(sample()).join("relabel/relabel.json"));
    let tables = record["evaluation"].as_array().unwrap();
    for (table, safety) in tables.iter().zip([true, false]) {
        let rows = table["rows"].as_array().unwrap();
        for probe in ["embedding", "features"] {
            let of_probe: Vec<_> = rows.iter().filter(|row| row["probe"] == probe).collect();
            let original = &of_probe[0]["accuracy"];
            for action in ["flip", "drop"] {
                let last = of_probe.iter().rfind(|row| row["action"] == action).unwrap();
                let value = last["accuracy"]["value"].as_f64().unwrap();
                let before = original["value"].as_f64().unwrap();
                if safety && action == "flip" {
                    assert!(value >= before + 0.2, "{probe}, {action}: {before} → {value}");
                }
                if !safety {
                    let inside = original["low"].as_f64().unwrap()..=original["high"].as_f64().unwrap();
                    assert!(inside.contains(&value), "{probe}, {action}: {value} in {inside:?}");
                }
            }
        }
    }
}

#[test]
fn the_preset_proposes_a_person_decides_and_only_that_is_done() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let folder = Path::new(sample()).join("relabel");
    let _ = std::fs::remove_dir_all(&folder);
    let said = done(dir.path(), &["relabel", sample(), "--preset", "safety"]);
    assert!(said.contains("Nothing was changed") && said.contains("were right"), "{said}");
    let written: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(written.len(), 3, "a table, a page and the record: {written:?}");
    let table = folder.join("review.csv");
    let read = |path: &Path| -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path).unwrap();
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    let mut rows = read(&table);
    let at = |rows: &[Vec<String>], name: &str| rows[0].iter().position(|cell| cell == name).unwrap();
    let (row, decision, score) = (at(&rows, "row"), at(&rows, "decision"), at(&rows, "score"));
    let scores: Vec<f64> = rows[1..].iter().map(|cells| cells[score].parse().unwrap()).collect();
    assert!(scores.len() > 20 && scores.is_sorted_by(|a, b| a >= b) && scores.iter().all(|s| *s >= 0.4));
    assert!(
        rows[1..].iter().all(|cells| cells[decision].is_empty() && !cells[at(&rows, "preferred")].is_empty())
    );

    // Asked to change labels unread, it changes none and says why; with a file and no action it says what is missing.
    let flip = done(
        dir.path(),
        &["relabel", sample(), "--preset", "safety", "--action", "flip", "--out", "u.parquet"],
    );
    assert!(flip.contains("not sure enough to be changed unread"), "{flip}");
    let (before, same) =
        (parquet(Path::new(&data("sample.parquet"))), parquet(&dir.path().join("u.parquet")));
    assert!(before.column("label").unwrap().equals_missing(same.column("label").unwrap()));
    let output = run(dir.path(), &["relabel", sample(), "--preset", "safety", "--out", "o.parquet"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("only proposes"), "{}", stderr(&output));

    for (place, word) in ["accept", "drop", "reject"].into_iter().enumerate() {
        rows[place + 1][decision] = word.into();
    }
    let filled = dir.path().join("filled.csv");
    let mut writer = csv::Writer::from_path(&filled).unwrap();
    rows.iter().for_each(|cells| writer.write_record(cells).unwrap());
    writer.flush().unwrap();
    let said = done(dir.path(), &["relabel", sample(), "--decisions", "filled.csv", "--out", "d.parquet"]);
    assert!(said.contains("1 rejected") && said.contains("without a decision"), "{said}");
    let after = parquet(&dir.path().join("d.parquet"));
    let row_of = |place: usize| rows[place + 1][row].parse::<usize>().unwrap();
    let (flipped, dropped) = (row_of(0), row_of(1));
    let label = |table: &DataFrame, row: usize| table.column("label").unwrap().f64().unwrap().get(row);
    assert_eq!(after.height(), before.height() - 1);
    let shift = usize::from(dropped < flipped);
    assert_eq!(label(&after, flipped - shift), label(&before, flipped).map(|label| 1.0 - label));
    let actions = text(&after, "wimhf_action");
    assert_eq!(actions.iter().filter(|action| *action != Some("keep")).count(), 1);

    // Another review keeps what was decided.
    std::fs::copy(&filled, &table).unwrap();
    let again = done(dir.path(), &["relabel", sample(), "--preset", "safety"]);
    assert!(again.contains("3 decisions"), "{again}");
    assert_eq!(read(&table)[1][decision], "accept");
    // One that would have no place for a decision is refused.
    let fewer = run(dir.path(), &["relabel", sample(), "--preset", "safety", "--top", "2"]);
    assert_eq!(fewer.status.code(), Some(2));
    assert!(stderr(&fewer).contains("1 decisions about labels"), "{}", stderr(&fewer));
    assert_eq!(read(&table)[3][decision], "reject", "and nothing is lost");
    let mixed = run(dir.path(), &["relabel", sample(), "--decisions", "filled.csv", "--preset", "safety"]);
    assert_eq!(mixed.status.code(), Some(2));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn relabel_says_what_is_wrong() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("o.parquet").display().to_string();
    let said = |arguments: &[&str]| {
        let output = run(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        stderr(&output)
    };
    assert!(said(&["relabel", "nowhere", "--preset", "safety"]).contains("no run directory"));
    assert!(said(&["relabel", sample()]).contains("--rule"));
    assert!(said(&["relabel", sample(), "--rule", "refusal"]).contains("refuses:prefer"));
    let near = said(&["relabel", sample(), "--rule", "refusess:prefer"]);
    assert!(near.contains("did you mean `refuses`"), "{near}");
    assert!(
        said(&["relabel", sample(), "--preset", "safety", "--out", &data("sample.parquet")])
            .contains("data that this run reads")
    );
    assert!(
        said(&["relabel", sample(), "--preset", "safety", "--min-score", "2"]).contains("between 0 and 1")
    );
    assert!(said(&["relabel", "--undo", &data("sample.parquet")]).contains("no record"));
    std::fs::write(dir.path().join("rules.toml"), "[[rule]]\nfeature = \"refuses\"\n").unwrap();
    assert!(said(&["relabel", sample(), "--rules", "rules.toml"]).contains("side"));
    // A run that stopped on its way.
    let mut record = json(&Path::new(sample()).join("run.json"));
    record["stages"].as_array_mut().unwrap().truncate(3);
    std::fs::create_dir(dir.path().join("half")).unwrap();
    std::fs::write(dir.path().join("half/run.json"), record.to_string()).unwrap();
    for command in
        [&["relabel", "half", "--preset", "safety"][..], &["score", "half", &data("sample.parquet")]]
    {
        let unfinished = said(command);
        assert!(unfinished.contains("not finished") && unfinished.contains("hint:"), "{unfinished}");
    }
    // Nothing to change is an answer, not an error.
    let none = done(
        dir.path(),
        &["relabel", sample(), "--preset", "safety", "--action", "flip", "--min-score", "1", "--out", &out],
    );
    assert!(none.contains("Nothing to change"), "{none}");
    // A rule with a condition only touches what it is about.
    std::fs::write(
        dir.path().join("rules.toml"),
        "[[rule]]\nfeature = \"refuses\"\nside = \"avoid\"\nunsafe_prompt = false\naction = \"drop\"\n",
    )
    .unwrap();
    let dropped = done(dir.path(), &["relabel", sample(), "--rules", "rules.toml", "--out", "d.parquet"]);
    assert!(dropped.contains("drop "), "{dropped}");
    let kept = parquet(&dir.path().join("d.parquet"));
    assert!(kept.height() < parquet(Path::new(&data("sample.parquet"))).height());
}

/// What a command makes of a stream on stdin.
fn piped(dir: &Path, arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = wimhf(dir)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    // All of it is sent while the other pipes are read, and a command that stops early is no failure of the test.
    std::thread::scope(|scope| {
        scope.spawn(move || drop(to.write_all(stdin)));
        child.wait_with_output().unwrap()
    })
}

/// A run's rules on other data: on a copy of its own they change the very labels that they change in the run, from a file and
/// in a stream.
#[test]
fn other_data_are_relabelled_as_the_runs_own_would_be() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(data("sample.parquet"), dir.path().join("copy.parquet")).unwrap();
    // A known feature, and every principle: one that is named by phrases goes by where these stand.
    let principles = json(&Path::new(sample()).join("principles.json"));
    let ranks = principles["principles"].as_array().map_or(0, Vec::len);
    let mut rules = vec![vec!["--rule".to_owned(), "refuses:prefer".to_owned()]];
    rules.push((1..=ranks).flat_map(|rank| ["--rule".to_owned(), format!("{rank}:avoid")]).collect());
    rules.push(["--preset", "safety", "--action", "drop", "--min-score", "0.5"].map(str::to_owned).into());
    for rule in &rules {
        let rule: Vec<&str> = rule.iter().map(String::as_str).collect();
        done(dir.path(), &[&["relabel", sample()][..], &rule, &["--out", "own.parquet", "--force"]].concat());
        let said = done(
            dir.path(),
            &[&["relabel", sample(), "copy.parquet"][..], &rule, &["--out", "other.parquet", "--force"]]
                .concat(),
        );
        assert!(said.contains("labels with a preference"), "{said}");
        let (own, other) =
            (parquet(&dir.path().join("own.parquet")), parquet(&dir.path().join("other.parquet")));
        assert!(own.equals_missing(&other), "{rule:?}");
        assert!(
            text(&own, "wimhf_action").iter().flatten().any(|action| action != "keep")
                || rule[0] == "--preset"
        );

        let stream = run(dir.path(), &["embed", "copy.parquet", "--out", "-", "--quiet"]).stdout;
        let relabelled = piped(dir.path(), &[&["relabel", sample(), "-"][..], &rule].concat(), &stream);
        assert!(relabelled.status.success(), "{}", stderr(&relabelled));
        assert!(stderr(&relabelled).contains("labels with a preference"), "what was done goes to stderr");
        let back = piped(
            dir.path(),
            &["score", sample(), "-", "--out", "back.parquet", "--force"],
            &relabelled.stdout,
        );
        assert!(back.status.success(), "{}", stderr(&back));
        let back = parquet(&dir.path().join("back.parquet"));
        for name in own.get_column_names() {
            let (own, back) = (own.column(name).unwrap(), back.column(name).unwrap());
            assert!(own.equals_missing(&back.cast(own.dtype()).unwrap()), "{rule:?}: {name}");
        }
    }
    let before: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    let refused = |arguments: &[&str], words: &str| {
        let output = run(dir.path(), &[&["relabel", sample(), "copy.parquet"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    };
    refused(&["--preset", "safety"], "--action flip");
    refused(&["--rule", "refuses:prefer", "--action", "flip"], "--out");
    refused(&["--rule", "refuses:prefer", "--out", "copy.parquet"], "copy.parquet");
    refused(&["--rule", "refuses:prefer", "--out", "-"], "--out cleaned.parquet");
    let cut =
        piped(dir.path(), &["relabel", sample(), "-", "--rule", "refuses:prefer"], b"\xff\xff\xff\xff\x10");
    assert_eq!(cut.status.code(), Some(2), "{}", stderr(&cut));
    assert!(cut.stdout.is_empty());
    let after: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(before, after, "what is refused writes nothing");
}

#[test]
#[ignore = "needs WIMHF_PYTHON with tests/interop/requirements.txt; `.ci/run` runs it"]
fn datasets_loads_what_trainers_get() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    for trl in ["trl.parquet", "trl.jsonl"] {
        let flip = ["relabel", sample(), "--preset", "safety", "--action", "flip", "--min-score", "0.63"];
        done(dir.path(), &[&flip[..], &["--out", "o.parquet", "--trl", trl]].concat());
    }
    let script = "
import sys, datasets
for kind, name in (('parquet', 'trl.parquet'), ('json', 'trl.jsonl')):
    d = datasets.load_dataset(kind, data_files=name, cache_dir='cache')['train']
    assert d.column_names[:3] == ['prompt', 'chosen', 'rejected'], d.column_names
    assert all(isinstance(x, str) and x for x in d['chosen']) and all(isinstance(x, str) for x in d['rejected'])
    flips = [r for r in d if r['wimhf_action'] == 'flip']
    assert flips and all(r['wimhf_original_label'] == 0 and r['wimhf_rule'] for r in flips)
    print(len(d), len(flips))
";
    let first = python(dir.path(), script, &[]);
    let lines: Vec<&str> = first.lines().collect();
    assert_eq!(lines[0], lines[1], "both files hold the same");
}

/// A Python with the packages of the interop tests runs a script; its stdout.
fn python(dir: &Path, script: &str, arguments: &[&str]) -> String {
    let python = std::env::var_os("WIMHF_PYTHON").expect(
        "WIMHF_PYTHON names a Python with the packages of tests/interop/requirements.txt; `.ci/run` makes one",
    );
    let output = Command::new(python)
        .current_dir(dir)
        .args(["-c", script])
        .args(arguments)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

/// Activations of the run's pairs by their id.
fn of_run(run: &Path) -> std::collections::HashMap<String, Vec<f32>> {
    rows_of(&parquet(&run.join("activations.parquet")), "pair_id", &[])
}

fn rows_of(table: &DataFrame, id: &str, names: &[String]) -> std::collections::HashMap<String, Vec<f32>> {
    let columns: Vec<&Float32Chunked> = table
        .columns()
        .iter()
        .filter(|column| {
            names.iter().any(|name| name == column.name()) || names.is_empty() && column.name() != id
        })
        .map(|column| column.f32().unwrap())
        .collect();
    let ids = text(table, id);
    (0..table.height())
        .map(|row| {
            let z = columns.iter().map(|column| column.get(row).unwrap_or(f32::NAN)).collect();
            (ids.get(row).unwrap().to_owned(), z)
        })
        .collect()
}

#[test]
fn the_runs_own_pairs_get_the_runs_own_answers() {
    let dir = tempfile::tempdir().unwrap();
    let said =
        done(dir.path(), &["score", sample(), &data("sample.parquet"), "--out", "s.parquet", "--explain"]);
    assert!(said.contains("held-out labels") && !said.contains("warning"), "{said}");
    let scored = parquet(&dir.path().join("s.parquet"));
    let own = of_run(Path::new(sample()));
    let names: Vec<String> = parquet(&Path::new(sample()).join("activations.parquet"))
        .get_column_names()
        .iter()
        .map(|name| name.to_string())
        .filter(|name| name != "pair_id")
        .collect();
    let new = rows_of(&scored, "wimhf_pair_id", &names);
    let mut compared = 0;
    for (id, z) in &own {
        let Some(again) = new.get(id) else { continue };
        compared += 1;
        for (x, y) in z.iter().zip(again) {
            assert!((x - y).abs() <= 1e-6, "{id}: {x} {y}");
        }
    }
    // All but the few that the source has both ways round.
    assert!(compared * 100 >= own.len() * 99, "{compared} of {}", own.len());
    // Rows keep their order and their columns.
    let source = parquet(Path::new(&data("sample.parquet")));
    for column in source.columns() {
        assert!(column.equals_missing(scored.column(column.name()).unwrap()), "{}", column.name());
    }
    let because = text(&scored, "wimhf_because");
    assert!(because.iter().flatten().any(|text| text.contains("refuses or declines to help")));
    // Rows that cannot be scored say why.
    let note = text(&scored, "wimhf_note");
    let p = scored.column("wimhf_p_a").unwrap().f64().unwrap();
    assert!((0..scored.height()).all(|row| note.get(row).is_some() == p.get(row).is_none()));
    assert!(note.iter().flatten().count() >= 6);

    // The other way round gives the opposite.
    let mut turned = source.clone();
    let (a, b) = (source.column("response_A").unwrap().clone(), source.column("response_B").unwrap().clone());
    turned.with_column(b.with_name("response_A".into())).unwrap();
    turned.with_column(a.with_name("response_B".into())).unwrap();
    write(&dir.path().join("turned.parquet"), turned);
    done(dir.path(), &["score", sample(), "turned.parquet", "--out", "t.parquet", "--no-features"]);
    let t = parquet(&dir.path().join("t.parquet"));
    let q = t.column("wimhf_p_a").unwrap().f64().unwrap();
    for (p, q) in p.iter().zip(q.iter()) {
        match (p, q) {
            (Some(p), Some(q)) => assert!((p + q - 1.0).abs() < 1e-9, "{p} {q}"),
            (p, q) => assert_eq!(p, q),
        }
    }
}

#[test]
fn every_way_in_and_out_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("new.parquet"), 300, |i| (i % 2) as f64);
    let mut table = parquet(&dir.path().join("new.parquet"));
    let lines = std::fs::File::create(dir.path().join("new.jsonl")).unwrap();
    JsonWriter::new(lines).with_json_format(JsonFormat::JsonLines).finish(&mut table).unwrap();
    done(dir.path(), &["score", sample(), "new.parquet", "--out", "a.parquet"]);
    done(dir.path(), &["score", sample(), "new.jsonl", "--out", "b.jsonl"]);
    let a = parquet(&dir.path().join("a.parquet"));
    let b = JsonReader::new(std::fs::File::open(dir.path().join("b.jsonl")).unwrap())
        .with_json_format(JsonFormat::JsonLines)
        .infer_schema_len(None)
        .finish()
        .unwrap();
    let p = |table: &DataFrame| -> Vec<f64> {
        table.column("wimhf_p_a").unwrap().f64().unwrap().iter().map(Option::unwrap).collect()
    };
    assert_eq!(p(&a).len(), 300);
    assert!(p(&a).iter().zip(p(&b)).all(|(x, y)| (x - y).abs() < 1e-12));

    // Through a pipe: what `--out -` writes, `-` reads again, with its own columns in new ones' place.
    let streamed = run(dir.path(), &["score", sample(), "new.parquet", "--out", "-"]);
    assert!(streamed.status.success(), "{}", stderr(&streamed));
    assert!(stderr(&streamed).contains("Scored 300"), "the summary goes to stderr");
    let mut child = wimhf(dir.path())
        .args(["score", sample(), "-", "--out", "c.parquet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&streamed.stdout).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let c = parquet(&dir.path().join("c.parquet"));
    assert_eq!(p(&a), p(&c));
    assert_eq!(a.get_column_names(), c.get_column_names());

    // A stream that breaks off says so and leaves no file.
    let mut child = wimhf(dir.path())
        .args(["score", sample(), "-", "--out", "cut.parquet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let half = &streamed.stdout[..streamed.stdout.len() / 2];
    // The reader may stop before all of it is sent.
    let _ = child.stdin.take().unwrap().write_all(half);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(!dir.path().join("cut.parquet").exists());
}

#[test]
fn single_responses_get_rewards_and_strange_data_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let single = "{\"prompt\": \"How do I cook rice?\", \"response\": \"I can't help with that.\"}\n\
                  {\"prompt\": \"How do I cook rice?\", \"response\": \"Rinse it.\\n- boil\\n- wait\"}\n\
                  {\"prompt\": \"How do I cook rice?\", \"response\": \"\"}\n";
    std::fs::write(dir.path().join("single.jsonl"), single).unwrap();
    done(dir.path(), &["score", sample(), "single.jsonl", "--out", "s.parquet", "--explain"]);
    let table = parquet(&dir.path().join("s.parquet"));
    let reward = table.column("wimhf_reward").unwrap().f64().unwrap();
    assert!(reward.get(1) > reward.get(0), "{reward:?}");
    assert_eq!(reward.get(2), None);

    // Half a page of code and nothing else is unlike the sample.
    let code = "```python\nfor i in range(10):\n    print(i)\n```\n".repeat(12);
    let rows: Vec<String> = (0..200)
        .map(|i| {
            format!(
                "{{\"prompt\": \"p{i}\", \"response_A\": {}, \"response_B\": \"no {i}\"}}",
                serde_json::json!(format!("{code}{i}"))
            )
        })
        .collect();
    std::fs::write(dir.path().join("code.jsonl"), rows.join("\n")).unwrap();
    let said = done(dir.path(), &["score", sample(), "code.jsonl", "--out", "c.jsonl", "--no-features"]);
    assert!(said.contains("warning: the new pairs look unlike the run's"), "{said}");
}

#[test]
fn vectors_of_ones_own_are_scored_without_texts() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("plain.parquet"), 400, |i| f64::from(u8::from(i % 3 == 0)));
    let mut table = parquet(&dir.path().join("plain.parquet"));
    let vector = |side: usize| {
        let rows: Vec<Series> = (0..400usize)
            .map(|i| {
                let x = |d: usize| ((i * (d + 3 + side) * 37 + d * 11) % 101) as f32 / 50.0 - 1.0;
                Series::new("".into(), (0..24).map(x).collect::<Vec<f32>>())
            })
            .collect();
        Series::new(if side == 0 { "vec_a" } else { "vec_b" }.into(), rows)
    };
    table.with_column(vector(0).into_column()).unwrap();
    table.with_column(vector(1).into_column()).unwrap();
    write(&dir.path().join("data.parquet"), table.clone());
    let output = analyze(
        dir.path(),
        &[
            "data.parquet",
            "--embedding-columns",
            "vec_a,vec_b",
            "--features",
            "16",
            "--out",
            "run",
            "--quiet",
        ],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    done(dir.path(), &["score", "run", "data.parquet", "--out", "whole.parquet"]);
    let measured = parquet(&dir.path().join("run/activations.parquet"));
    let scored = parquet(&dir.path().join("whole.parquet"));
    assert!(scored.column("vec_a").is_err(), "vectors are not passed on");
    // By name: the run holds features of the sentences beside those of the vectors.
    let learned: Vec<String> = (0..16).map(|i| format!("difference_{i:02}")).collect();
    let own = rows_of(&measured, "pair_id", &learned);
    let new = rows_of(&scored, "wimhf_pair_id", &learned);
    assert_eq!(own.len(), 400);
    assert!(own.values().all(|z| z.len() == learned.len()));
    assert!(own.iter().all(|(id, z)| new[id].iter().zip(z).all(|(x, y)| (x - y).abs() <= 1e-6)));

    write(&dir.path().join("bare.parquet"), table.select(["vec_a", "vec_b"]).unwrap());
    done(dir.path(), &["score", "run", "bare.parquet", "--out", "bare_scored.parquet"]);
    let bare = parquet(&dir.path().join("bare_scored.parquet"));
    for name in &learned {
        assert!(bare.column(name).unwrap().equals_missing(scored.column(name).unwrap()), "{name}");
    }
    let missing = run(dir.path(), &["score", "run", "plain.parquet"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("vec_a"), "{}", stderr(&missing));
}

#[test]
fn score_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let said = |arguments: &[&str]| {
        let output = run(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        stderr(&output)
    };
    let sample_data = data("sample.parquet");
    assert!(said(&["score", "nowhere", &sample_data]).contains("no run directory"));
    assert!(said(&["score", sample(), "nothing.parquet"]).contains("nothing.parquet"));
    std::fs::write(dir.path().join("bad.jsonl"), "{\"prompt\": \"x\"\n").unwrap();
    assert!(said(&["score", sample(), "bad.jsonl"]).contains("line 1"));
    std::fs::write(dir.path().join("other.jsonl"), "{\"a\": 1, \"b\": 2}\n").unwrap();
    assert!(said(&["score", sample(), "other.jsonl"]).contains("pairs"));
    std::fs::write(dir.path().join("cut.parquet"), &std::fs::read(&sample_data).unwrap()[..5000]).unwrap();
    said(&["score", sample(), "cut.parquet"]);
    assert!(said(&["score", sample(), &sample_data, "--annotator", "ann_01"]).contains("personalize"));
}

#[test]
fn personal_weights_shift_the_odds_by_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("run");
    for file in ["", "stages"] {
        std::fs::create_dir_all(copy.join(file)).unwrap();
        for entry in std::fs::read_dir(Path::new(sample()).join(file)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, copy.join(file).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    let weights = df!(
        "annotator" => ["ada", "ada", "bob"],
        "feature_id" => ["known_refuses", "known_emoji", "known_refuses"],
        "description" => ["", "", ""],
        "population_weight" => [-1.0, -0.5, -1.0],
        "personal_weight" => [0.5, -0.5, -1.0],
        "sd" => [0.1, 0.1, 0.1],
        "n" => [30i64, 30, 9],
        "shrinkage" => [0.3, 0.3, 0.9]
    )
    .unwrap();
    write(&copy.join("annotator_weights.parquet"), weights);
    let odds = |arguments: &[&str]| {
        let input = data("sample.parquet");
        let all = [&["score", "run", input.as_str(), "--out", "o.parquet"], arguments].concat();
        done(dir.path(), &all);
        parquet(&dir.path().join("o.parquet"))
    };
    let (everybody, ada, bob) = (odds(&[]), odds(&["--annotator", "ada"]), odds(&["--annotator", "bob"]));
    let column = |table: &DataFrame| table.column("wimhf_log_odds").unwrap().f64().unwrap().clone();
    let refuses = everybody.column("known_refuses").unwrap().f32().unwrap();
    for row in 0..everybody.height() {
        let Some(before) = column(&everybody).get(row) else { continue };
        assert!((column(&bob).get(row).unwrap() - before).abs() < 1e-9);
        let shift = 1.5 * f64::from(refuses.get(row).unwrap());
        assert!((column(&ada).get(row).unwrap() - before - shift).abs() < 1e-6, "row {row}");
    }
    let output = run(dir.path(), &["score", "run", &data("sample.parquet"), "--annotator", "adda"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `ada`"), "{}", stderr(&output));
}

#[test]
#[ignore = "needs WIMHF_PYTHON with tests/interop/requirements.txt; `.ci/run` runs it"]
fn pyarrow_sends_and_reads_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("new.parquet"), 700, |i| (i % 2) as f64);
    let script = "
import subprocess, sys, pyarrow as pa, pyarrow.parquet as pq
wimhf, run = sys.argv[1:]
table = pq.read_table('new.parquet')
table = table.append_column('kind', pa.array(['x', 'y'] * 350).dictionary_encode())
p = subprocess.Popen([wimhf, 'score', run, '-', '--explain'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
sink = pa.BufferOutputStream()
with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression='zstd')) as w:
    for batch in table.to_batches(max_chunksize=150):
        w.write_batch(batch)
out, _ = p.communicate(sink.getvalue().to_pybytes())
assert p.returncode == 0
back = pa.ipc.open_stream(out).read_all()
assert back.num_rows == 700 and back['prompt'].to_pylist() == table['prompt'].to_pylist()
assert back['kind'].to_pylist() == table['kind'].to_pylist()
ps = back['wimhf_p_a'].to_pylist()
subprocess.run([wimhf, 'score', run, 'new.parquet', '--out', 'f.parquet', '--quiet'], check=True)
again = pq.read_table('f.parquet')['wimhf_p_a'].to_pylist()
assert all(abs(a - b) < 1e-12 for a, b in zip(ps, again)) and len(again) == 700
print('ok')
";
    let out = python(dir.path(), script, &[env!("CARGO_BIN_EXE_wimhf"), sample()]);
    assert_eq!(out.trim(), "ok");
}

/// What scoring needs is made by `analyze`: a run is scored where nothing can be written, with the bytes of a run of a
/// version that made the weights when it was first scored.
#[test]
fn a_run_that_cannot_be_written_to_is_scored() {
    let dir = tempfile::tempdir().unwrap();
    let path = copy_of_sample_run(dir.path());
    let weights = path.join("score/weights.json");
    let made = std::fs::read(&weights).expect("`analyze` makes the weights");
    let record = json(&path.join("run.json"));
    let stage = record["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == "score").unwrap();
    assert_eq!(stage["outputs"][0]["file"], "score/weights.json");
    assert_eq!(stage["outputs"][0]["sha256"].as_str().map(str::len), Some(64));
    let score = |out: &str| {
        done(dir.path(), &["score", "run", &data("sample.parquet"), "--out", out, "--explain"]);
        std::fs::read(dir.path().join(out)).unwrap()
    };
    let before = crate::util::contents(&path);
    let scored = score("new.parquet");
    assert!(before == crate::util::contents(&path), "scoring to elsewhere writes nothing into the run");

    // An older run, and a file where the folder of the weights would be: nobody can write there, whatever his rights.
    let stages = record["stages"].as_array().unwrap().iter().filter(|stage| stage["name"] != "score");
    let stages: Vec<serde_json::Value> = stages.cloned().collect();
    let old = serde_json::Value::Object(
        record
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                (name.clone(), if name == "stages" { stages.clone().into() } else { value.clone() })
            })
            .collect(),
    );
    std::fs::write(path.join("run.json"), old.to_string()).unwrap();
    std::fs::remove_dir_all(path.join("score")).unwrap();
    std::fs::write(path.join("score"), "in the way").unwrap();
    assert!(score("old.parquet") == scored, "weights made while scoring are those of `analyze`");
    std::fs::remove_file(path.join("score")).unwrap();
    assert!(score("older.parquet") == scored);
    assert_eq!(std::fs::read(&weights).unwrap(), made, "they are kept where that is possible");

    // The same call of `analyze` adds the stage, and a damaged file is made again.
    for _ in 0..2 {
        done(
            dir.path(),
            &["analyze", &data("sample.parquet"), "--seed", "1", "--device", "cpu", "--out", "run"],
        );
        assert_eq!(std::fs::read(&weights).unwrap(), made);
        std::fs::write(&weights, "{}").unwrap();
    }
}

/// A dataset without labels is analysed to its end; there is nothing to score by, and who scores is told so.
#[test]
fn a_run_without_labels_has_no_weights() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("labelled.parquet"), 200, |_| 1.0);
    let table = parquet(&dir.path().join("labelled.parquet")).drop("label").unwrap();
    write(&dir.path().join("plain.parquet"), table);
    let output = analyze(dir.path(), &["plain.parquet", "--features", "8", "--active", "2", "--out", "run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!dir.path().join("run/score/weights.json").exists());
    let refused = run(dir.path(), &["score", "run", "plain.parquet", "--out", "o.parquet"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("no labels to learn from"), "{}", stderr(&refused));
}
