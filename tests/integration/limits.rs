//! Input that is far too much: refused before it takes the memory, with what, where and how to go on.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::util::{small, stderr, wimhf};

/// Runs `inspect` with at most a gigabyte of memory and half a minute; it must end by itself.
fn inspect(dir: &Path, name: &str, more: &[(&str, &str)]) -> Output {
    bounded(dir, &["inspect", name], more)
}

fn bounded(dir: &Path, arguments: &[&str], more: &[(&str, &str)]) -> Output {
    let program = wimhf(dir).get_program().to_owned();
    // Resident memory is what counts; the address space of an allocator and of threads is larger.
    let mut command = wimhf(dir);
    command.args(arguments).envs(more.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let (began, mut peak) = (Instant::now(), 0_u64);
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
        peak = peak.max(line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        if peak > 1_100_000 || began.elapsed() > Duration::from_secs(240) {
            child.kill().unwrap();
            panic!("{arguments:?}: {peak} kB after {:?}", began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

fn refused(output: &Output, words: &[&str], case: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{case}: {said}");
    assert!(!said.contains("panicked") && said.contains("hint:"), "{case}: {said}");
    for word in words {
        assert!(said.contains(word), "{case}: lacks {word:?}: {said}");
    }
}

#[test]
fn json_that_is_nested_too_deep() {
    let dir = tempfile::tempdir().unwrap();
    for (levels, name) in [(100, "a"), (400, "b"), (5_000, "c"), (400_000, "d")] {
        let cell = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let objects = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        for (kind, value) in [("lists", cell), ("objects", objects)] {
            let good = "{\"chosen\": \"a\", \"rejected\": \"b\"}\n";
            let line = format!("{good}{good}{{\"chosen\": \"a\", \"rejected\": \"b\", \"x\": {value}}}\n");
            let file = format!("{name}-{kind}.jsonl");
            std::fs::write(dir.path().join(&file), line).unwrap();
            let output = inspect(dir.path(), &file, &[]);
            refused(&output, &[&file, "levels of nesting", "line 3", "WIMHF_MAX_JSON_DEPTH"], &file);
        }
    }
}

/// Each object carries the type of all that is in it: sixty in one another took a megabyte a line.
#[test]
fn objects_in_objects_in_objects() {
    let dir = tempfile::tempdir().unwrap();
    let of = |levels: usize| {
        format!(
            "{{\"chosen\":\"a\",\"rejected\":\"b\",\"x\":{}1{}}}\n",
            "{\"a\":".repeat(levels),
            "}".repeat(levels)
        )
    };
    for levels in [60, 12] {
        let line = of(levels);
        let name = format!("deep{levels}.jsonl");
        std::fs::write(dir.path().join(&name), line.repeat(9_000_000 / line.len())).unwrap();
        refused(&inspect(dir.path(), &name, &[]), &[&name, "WIMHF_MAX_"], &name);
    }
    // A few of them are data like any other.
    std::fs::write(dir.path().join("few.jsonl"), of(12).repeat(200)).unwrap();
    let output = inspect(dir.path(), "few.jsonl", &[]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn more_files_than_are_allowed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    for i in 0..120 {
        let line = format!("{{\"chosen\": \"a{i}\", \"rejected\": \"b\"}}\n");
        std::fs::write(dir.path().join(format!("in/{i:03}.jsonl")), line).unwrap();
    }
    for source in ["in", "in/*.jsonl", "in/**/*.jsonl"] {
        let output = inspect(dir.path(), source, &[("WIMHF_MAX_FILES", "100")]);
        refused(&output, &["in", "files", "WIMHF_MAX_FILES"], source);
        assert!(inspect(dir.path(), source, &[]).status.success(), "{source}");
    }
}

#[test]
fn packed_files_that_become_far_more() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let file = std::fs::File::create(at("bomb.jsonl.gz")).unwrap();
    let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    let block = vec![b' '; 1 << 20];
    for _ in 0..300 {
        out.write_all(&block).unwrap();
    }
    out.finish().unwrap();
    let output = inspect(dir.path(), "bomb.jsonl.gz", &[]);
    refused(&output, &["bomb.jsonl.gz", "times its size", "WIMHF_MAX_RATIO"], "gzip");
    assert!(!stderr(&output).contains("download it again"));

    // Twenty million nulls in a few kilobytes: 16 bytes each, once they are a column of texts.
    use polars::prelude::*;
    let nulls = |name: &str| Column::full_null(name.into(), 10_000_000, &DataType::String);
    let mut table = DataFrame::new_infer_height(vec![nulls("chosen"), nulls("rejected")]).unwrap();
    ParquetWriter::new(std::fs::File::create(at("bomb.parquet")).unwrap()).finish(&mut table).unwrap();
    drop(table);
    assert!(std::fs::metadata(at("bomb.parquet")).unwrap().len() < 1 << 20);
    let output = inspect(dir.path(), "bomb.parquet", &[]);
    refused(&output, &["bomb.parquet", "WIMHF_MAX_RATIO"], "Parquet");

    // One long text in every row, which a dictionary holds once.
    let long = "a".repeat(3_000_000);
    let texts =
        |name: &str| Column::new_scalar(name.into(), Scalar::from(PlSmallStr::from(long.as_str())), 200);
    let other = Column::new("rejected".into(), (0..200).map(|i| i.to_string()).collect::<Vec<_>>());
    let mut table = DataFrame::new_infer_height(vec![texts("chosen"), other]).unwrap();
    ParquetWriter::new(std::fs::File::create(at("long.parquet")).unwrap()).finish(&mut table).unwrap();
    if std::fs::metadata(at("long.parquet")).unwrap().len() < 1 << 20 {
        let output = inspect(dir.path(), "long.parquet", &[]);
        refused(&output, &["long.parquet", "WIMHF_MAX_RATIO"], "a dictionary");
    }
}

#[test]
fn a_hundred_thousand_columns() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..100_000).map(|i| format!("c{i}")).collect();
    let ones = vec!["1"; names.len()];
    std::fs::write(dir.path().join("wide.csv"), format!("{}\n{}\n", names.join(","), ones.join(",")))
        .unwrap();
    refused(
        &inspect(dir.path(), "wide.csv", &[]),
        &["wide.csv", "100000 columns", "WIMHF_MAX_COLUMNS"],
        "CSV",
    );
    let fields: Vec<String> = names.iter().map(|name| format!("\"{name}\":1")).collect();
    std::fs::write(dir.path().join("wide.jsonl"), format!("{{{}}}\n", fields.join(","))).unwrap();
    refused(
        &inspect(dir.path(), "wide.jsonl", &[]),
        &["wide.jsonl", "columns", "WIMHF_MAX_COLUMNS"],
        "JSON lines",
    );
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_links_in_circles() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("pipes")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("pipes/a.jsonl")).status().unwrap().success());
    refused(&inspect(dir.path(), "pipes", &[]), &["a.jsonl", "a pipe"], "a pipe in a folder");
    refused(&inspect(dir.path(), "pipes/a.jsonl", &[]), &["a.jsonl"], "a pipe by name");
    std::fs::create_dir_all(at("zero")).unwrap();
    symlink("/dev/zero", at("zero/a.csv")).unwrap();
    refused(&inspect(dir.path(), "zero", &[]), &["a.csv", "a device"], "a device in a folder");

    std::fs::create_dir_all(at("loop/in")).unwrap();
    small(&at("loop/in/d.parquet"), 20, |i| (i % 2) as f64);
    for name in ["a", "b", "c"] {
        symlink(at("loop"), at("loop/in").join(name)).unwrap();
    }
    let output = inspect(dir.path(), "loop/**/*.parquet", &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    refused(&inspect(dir.path(), "loop/**/*.csv", &[]), &["matches no file"], "a loop without a match");
}

#[test]
fn vectors_that_are_too_long() {
    use polars::prelude::*;
    let dir = tempfile::tempdir().unwrap();
    let rows = 8;
    let long = Series::new("".into(), vec![0.5_f32; 20_000]);
    let column = |name: &str| Series::new(name.into(), vec![long.clone(); rows]).into_column();
    let texts =
        |name: &str| Column::new(name.into(), (0..rows).map(|i| format!("{name} {i}")).collect::<Vec<_>>());
    let label = Column::new("label".into(), (0..rows).map(|i| (i % 2) as f64).collect::<Vec<_>>());
    let table = DataFrame::new_infer_height(vec![
        texts("response_A"),
        texts("response_B"),
        label,
        column("ea"),
        column("eb"),
    ])
    .unwrap();
    crate::util::write(&dir.path().join("v.parquet"), table);
    let output = bounded(
        dir.path(),
        &["analyze", "v.parquet", "--embedding-columns", "ea,eb", "--out", "run", "--device", "cpu"],
        &[],
    );
    refused(&output, &["v.parquet", "20000 dimensions", "`ea`", "WIMHF_MAX_DIMENSIONS"], "vectors");
}

/// The limit is the user's to raise.
#[test]
fn a_limit_can_be_raised() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..5_000).map(|i| format!("c{i}")).collect();
    let mut text = format!("prompt,chosen,rejected,{}\n", names.join(","));
    for row in 0..30 {
        text.push_str(&format!(
            "p{row},a long answer {row},another answer {row}{}\n",
            ",1".repeat(names.len())
        ));
    }
    std::fs::write(dir.path().join("wide.csv"), text).unwrap();
    refused(&inspect(dir.path(), "wide.csv", &[]), &["WIMHF_MAX_COLUMNS"], "as it is");
    let output = inspect(dir.path(), "wide.csv", &[("WIMHF_MAX_COLUMNS", "10000")]);
    assert!(output.status.success(), "{}", stderr(&output));
}
