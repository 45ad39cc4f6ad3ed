//! Nothing of the user's is lost: every output passes one door, locks change nothing, the killed leave nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use crate::util::{analyze, data, small, stderr, wimhf};

/// A folder with a dataset, a run of it, and another run.
fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 150, |i| f64::from(u8::from(i % 3 == 0)));
    let output = analyze(dir.path(), &["d.parquet", "--out", "run", "--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(dir.path().join("run/run.json"), other.join("run.json")).unwrap();
    dir
}

fn call(dir: &Path, arguments: &[&str]) -> Output {
    wimhf(dir).args(arguments).output().expect("the program starts")
}

/// Every file with its content.
fn all(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.is_file() {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn no_output_replaces_data_a_record_or_another_run() {
    let dir = place();
    let path = dir.path();
    std::fs::write(path.join("thesis.html"), "Dear all,").unwrap();
    std::fs::write(path.join("mine.jsonl"), "{\"chosen\": \"a\"}\n").unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(path.join("d.parquet"), path.join("link.parquet")).unwrap();
        std::os::unix::fs::symlink("/dev/null", path.join("null.jsonl")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path.join("pipe.html")).status().unwrap().success());
    }
    std::fs::copy(path.join("d.parquet"), path.join("new.parquet")).unwrap();
    let rule = ["--rule", "refuses:avoid"];
    let relabel = |more: [&'static str; 2]| [&["relabel", "run"], &rule[..], &more[..]].concat();
    let export =
        |format: &'static str, out: &'static str| vec!["export", "run", "--format", format, "--out", out];
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (relabel(["--trl", "d.parquet"]), "data that this run reads"),
        (relabel(["--out", "d.parquet"]), "data that this run reads"),
        (relabel(["--out", "run/run.json"]), "record of the run"),
        (relabel(["--out", "run/pairs.parquet"]), "record of the run"),
        (relabel(["--out", "other/x.parquet"]), "another run"),
        (relabel(["--out", "link.parquet"]), "a link to"),
        (relabel(["--trl", "null.jsonl"]), "a link to"),
        (export("trl", "d.parquet"), "data that this run reads"),
        (export("csv", "thesis.html"), "is text, not a table as text"),
        (export("annotated-pairs", "run/principles.json"), "record of the run"),
        (export("csv", "mine.jsonl"), "JSON lines, not"),
        (export("trl", "mine.jsonl"), "is there already"),
        (vec!["report", "run", "--out", "d.parquet"], "data that this run reads"),
        (vec!["report", "run", "--out", "thesis.html"], "`--force`"),
        (vec!["report", "run", "--out", "pipe.html"], "is a pipe"),
        (vec!["report", "run", "--out", "/dev/null"], "is a device"),
        (vec!["report", "run", "--out", "run/run.json"], "record of the run"),
        (
            vec!["analyze", "d.parquet", "--out", "r2", "--save-embeddings", "d.parquet"],
            "data that this run reads",
        ),
        (vec!["analyze", "d.parquet", "--out", "r2", "--log", "d.parquet"], "data that this run reads"),
        (vec!["analyze", "d.parquet", "--out", "r2", "--log", "mine.jsonl"], "not a log of metrics"),
        (vec!["analyze", "d.parquet", "--out", "run/inner"], "another run"),
        (vec!["score", "run", "new.parquet", "--out", "d.parquet"], "data that this run reads"),
        (vec!["score", "run", "new.parquet", "--out", "new.parquet"], "data that this run reads"),
        (vec!["score", "run", "new.parquet", "--out", "thesis.html"], "not a Parquet file"),
        (vec!["personalize", "run", "--out", "other"], "another run"),
        (vec!["constitution", "run", "--out", "other"], "another run"),
    ];
    let before = all(path);
    for (arguments, words) in &cases {
        let output = call(path, arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words) && said.contains("hint:"), "{arguments:?}: {said}");
        let after = all(path);
        let changed: Vec<_> = before.keys().filter(|name| after.get(*name) != before.get(*name)).collect();
        assert!(changed.is_empty(), "{arguments:?} changed {changed:?}");
        assert!(path.join("link.parquet").is_symlink() && path.join("pipe.html").exists());
    }
    // What is meant is done.
    for arguments in [
        vec!["report", "run", "--out", "thesis.html", "--force"],
        vec!["report", "run", "--out", "thesis.html"],
        vec!["export", "run", "--format", "trl", "--out", "new.jsonl"],
        vec!["export", "run", "--format", "trl", "--out", "mine.jsonl", "--force"],
        vec!["export", "run", "--format", "csv"],
        vec!["export", "run", "--format", "csv"],
        vec!["score", "run", "new.parquet", "--out", "scored.parquet", "--quiet"],
        vec!["score", "run", "new.parquet", "--out", "scored.parquet", "--quiet"],
        vec!["constitution", "run"],
        vec!["constitution", "run"],
    ] {
        let output = call(path, &arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    }
    let again: Vec<_> = all(path).into_iter().filter(|(name, _)| name.ends_with("d.parquet")).collect();
    assert_eq!(again.len(), 1);
    assert_eq!(before.get(&again[0].0), Some(&again[0].1));
}

#[test]
fn what_has_a_lock_is_no_run_and_no_lock_is_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    small(&path.join("d.parquet"), 80, |i| f64::from(u8::from(i % 3 == 0)));
    let mine = path.join("mine");
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join(".lock"), "a package manager's").unwrap();
    std::fs::write(mine.join("pairs.parquet"), "my pairs").unwrap();
    let before = all(path);
    for more in [&[][..], &["--force"]] {
        let output = analyze(path, &[&["d.parquet", "--out", "mine"], more].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("not a run directory"), "{}", stderr(&output));
        assert!(all(path) == before, "something has changed");
    }
}

/// Slow to read: a kill falls into the middle.
#[test]
fn a_killed_score_leaves_nothing_that_stays() {
    let dir = place();
    let path = dir.path();
    let streamed = call(path, &["score", "run", "d.parquet", "--out", "-", "--quiet"]);
    assert!(streamed.status.success(), "{}", stderr(&streamed));
    let bytes = streamed.stdout;
    let mut child = wimhf(path)
        .args(["score", "run", "-", "--out", "scored.parquet", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A stream that begins and does not end.
    use std::io::Write;
    let mut input = child.stdin.take().unwrap();
    input.write_all(&bytes[..bytes.len() - 8]).unwrap();
    input.flush().unwrap();
    let leftovers = || {
        std::fs::read_dir(path)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".wimhf-tmp-"))
            .count()
    };
    for _ in 0..600 {
        if leftovers() > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(leftovers(), 1, "it is being written");
    // A second call beside it leaves it alone.
    let beside = call(path, &["score", "run", "d.parquet", "--out", "beside.parquet", "--quiet"]);
    assert!(beside.status.success(), "{}", stderr(&beside));
    assert_eq!(leftovers(), 1, "a living process's file stays");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(leftovers(), 1);
    let again = call(path, &["score", "run", "d.parquet", "--out", "scored.parquet", "--quiet"]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(leftovers(), 0, "a dead process's file goes");
}

#[test]
fn a_damaged_file_of_a_run_is_the_users_to_mend_and_said_once() {
    let dir = place();
    let path = dir.path();
    for (file, command) in [
        ("run/run.json", vec!["report", "run"]),
        ("run/stages/described.json", vec!["report", "run"]),
        ("run/features.parquet", vec!["report", "run"]),
        ("run/activations.parquet", vec!["export", "run", "--format", "csv"]),
        ("run/principles.json", vec!["report", "run"]),
        ("run/sae.json", vec!["score", "run", "d.parquet", "--out", "s.parquet"]),
        ("run/sae.safetensors", vec!["score", "run", "d.parquet", "--out", "s.parquet"]),
    ] {
        let whole = std::fs::read(path.join(file)).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"", b"{\"schema_version\": [[[[", &[0xff; 64]] {
            std::fs::write(path.join(file), damaged).unwrap();
            let output = call(path, &command);
            let said = stderr(&output);
            if output.status.success() {
                // Not every command reads every file.
                continue;
            }
            assert_eq!(output.status.code(), Some(2), "{file}: {said}");
            assert!(!said.contains("panicked") && said.matches("error").count() <= 2, "{file}: {said}");
            for part in said.split(": ").filter(|part| part.len() > 12) {
                assert_eq!(said.matches(part).count(), 1, "{file}: said twice: {said}");
            }
        }
        std::fs::write(path.join(file), whole).unwrap();
    }
    let output = call(path, &["report", "run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let _ = data("sample.parquet");
}
