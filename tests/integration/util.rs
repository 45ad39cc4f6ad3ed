//! Running the built program, and making datasets.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use polars::prelude::*;

/// The repository's folder.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    // The tests belong to the package of the program.
    ROOT.get_or_init(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
    })
}

/// A file of `data/`.
pub fn data(name: &str) -> String {
    root().join("data").join(name).display().to_string()
}

/// The program with a clean environment.
pub fn wimhf(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wimhf"));
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WIMHF_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `analyze` on the CPU.
pub fn analyze(dir: &Path, arguments: &[&str]) -> Output {
    wimhf(dir).args(["analyze", "--device", "cpu"]).args(arguments).output().expect("the program starts")
}

/// Stderr as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Stdout as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A JSON file of a run.
pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .unwrap()
}

/// Reads a Parquet file.
pub fn parquet(path: &Path) -> DataFrame {
    ParquetReader::new(std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .finish()
        .unwrap()
}

/// Writes a table as Parquet.
pub fn write(path: &Path, mut table: DataFrame) {
    ParquetWriter::new(std::fs::File::create(path).unwrap()).finish(&mut table).unwrap();
}

/// A small dataset of the project's own shape with varied texts; `label` per row.
pub fn small(path: &Path, rows: usize, label: impl Fn(usize) -> f64) {
    let topics = ["tea", "rain", "maps", "bread", "trains", "moss", "violins", "salt", "clouds", "chess"];
    let text = |i: usize, side: usize| {
        let base = format!(
            "Here is what to know about {} number {i}, told the {side} way.",
            topics[(i + side) % 10]
        );
        match (i * 7 + side * 3) % 5 {
            0 => format!("{base}\n- first point\n- second point\n- third point"),
            1 => format!("{base} I'm sorry, but I can't help with that."),
            2 => format!(
                "{base} {}",
                "It goes on and on with more detail about everything. ".repeat(1 + i % 3)
            ),
            3 => format!("{base} Isn't that great? Wow!"),
            _ => base,
        }
    };
    let table = df!(
        "prompt" => (0..rows).map(|i| format!("Tell me about {} ({i})", topics[i % 10])).collect::<Vec<_>>(),
        "response_A" => (0..rows).map(|i| text(i, 0)).collect::<Vec<_>>(),
        "response_B" => (0..rows).map(|i| text(i, 1)).collect::<Vec<_>>(),
        "label" => (0..rows).map(&label).collect::<Vec<_>>()
    )
    .unwrap();
    write(path, table);
}

/// Every file below a folder with its content, but for what differs between calls by design.
pub fn contents(run: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut folders = vec![run.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !matches!(path.file_name().and_then(|n| n.to_str()), Some(".lock" | "run.json")) {
                found.insert(path.strip_prefix(run).unwrap().to_path_buf(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// One finished run of the sample for all tests; nobody writes to it, and the folder lives as long as the process.
pub fn sample_run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap().keep();
        let output = analyze(&dir, &[&data("sample.parquet"), "--seed", "1", "--out", "run"]);
        assert!(output.status.success(), "{}", stderr(&output));
        dir.join("run")
    })
}

/// A copy of that run, named `run`, that a test may write to.
pub fn copy_of_sample_run(dir: &Path) -> PathBuf {
    let to = dir.join("run");
    let mut folders = vec![sample_run().to_path_buf()];
    while let Some(folder) = folders.pop() {
        std::fs::create_dir_all(to.join(folder.strip_prefix(sample_run()).unwrap())).unwrap();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                std::fs::copy(&path, to.join(path.strip_prefix(sample_run()).unwrap())).unwrap();
            }
        }
    }
    to
}
