//! Texts per CPU second of all-MiniLM-L6-v2 in both precisions, beside sentence-transformers and ONNX Runtime with the
//! same texts and weights.
//!
//!     tests/support/minilm.sh                         fetches the weights, once
//!     cargo bench --bench embedding                   1,000 responses and 4,000 sentences
//!     cargo bench --bench embedding -- 400            other numbers of them, and four times as many sentences
//!
//! The peers are in `benches/peers/embedding_peer.py`; its packages stand in `benches/peers/requirements-embedding.txt`;
//! `WIMHF_BENCH_PYTHON` names the interpreter that has them. They run on one thread and on two, and the better of the
//! two counts. Every row is a process of its own, so that peak memory is its own, too. Texts are the responses of
//! `../shared/data/hh_harmless_base_test.parquet` where that is there (`WIMHF_TEST_DATA` names another folder), else those
//! of the sample. Cosines are to single precision of the same program. At the end stands what a linear probe on the
//! deltas is worth with vectors of either precision, as `cargo bench --bench embedders` measures it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use polars::prelude::*;
use serde_json::{Value, json};
use wimhf::config::{EmbedConfig, Precision};
use wimhf::context::{Context, Observer};
use wimhf::embed::{self, Embedder, Embedding, Hardware, LocalEmbedder, Recipe};
use wimhf::matrix::Matrix;
use wimhf::pairs::{self, ReadOptions};

#[path = "support/probe.rs"]
mod probe;

/// The program's allocator, without which its times would not be the program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SPLITS: u64 = 20;

struct Silent;

impl Observer for Silent {}

/// A program with a precision.
struct Row {
    name: &'static str,
    cpu: f64,
    vectors: Matrix,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let Some(model) = minilm() else {
        eprintln!("the weights are not there: run tests/support/minilm.sh");
        std::process::exit(1);
    };
    if let [flag, precision, texts, out] = &arguments[..]
        && flag == "--one"
    {
        return one(&model, precision, Path::new(texts), Path::new(out));
    }
    let count: usize = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(1000);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("embedding");
    std::fs::create_dir_all(&folder).expect("a folder under target");
    println!("\n{} · {} cores · wimhf {}", processor(), cores(), env!("CARGO_PKG_VERSION"));
    let (data, responses) = responses();
    let mut sentences: Vec<String> = responses
        .iter()
        .flat_map(|text| {
            let parts = wimhf::sentences::split(text);
            parts.into_iter().map(|part| part.of(text).to_owned()).collect::<Vec<_>>()
        })
        .collect();
    sentences.sort();
    sentences.dedup();
    let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    table(&model, &folder, &format!("responses of {name}"), &evenly(&responses, count));
    table(&model, &folder, &format!("sentences of {name}"), &evenly(&sentences, 4 * count));
    worth(&model, &data);
}

/// All programs over the same texts.
fn table(model: &Path, folder: &Path, what: &str, texts: &[String]) {
    let file = folder.join("texts.json");
    std::fs::write(&file, serde_json::to_vec(&texts).expect("strings")).expect("a file under target");
    let embedder = LocalEmbedder::open(model, "minilm", Hardware::Cpu, None).expect("the model");
    let tokens: usize = texts.iter().map(|text| (embedder.tokens(text) + 2).min(256)).sum();
    let per_text = tokens as f64 / texts.len() as f64;
    println!("\n{} {what}, {per_text:.0} tokens each after truncation to 256\n", texts.len());
    println!("{:<40} {:>9} {:>9} {:>12} {:>10}", "", "CPU s", "wall s", "texts/CPU s", "peak MB");
    let mut rows: Vec<Row> = Vec::new();
    let mut versions = Vec::new();
    for (name, engine) in [
        ("wimhf f32", None),
        ("wimhf int8", None),
        ("sentence-transformers f32", Some("torch")),
        ("ONNX Runtime f32", Some("onnx")),
        ("ONNX Runtime int8", Some("onnx-int8")),
    ] {
        let out = folder.join("vectors.safetensors");
        let mut best: Option<Row> = None;
        for threads in if engine.is_some() { &[1, 2][..] } else { &[0][..] } {
            let found = match engine {
                None => answer(own(name, &file, &out)),
                Some(engine) => answer(peer(model, engine, &file, &out, *threads)),
            };
            let Some(found) = found else { continue };
            let figure = |name: &str| found[name].as_f64().unwrap_or(f64::NAN);
            let cpu = figure("cpu_seconds");
            let label = match threads {
                0 => format!("{name} (median of 3)"),
                threads => format!("{name}, {threads} thread(s)"),
            };
            println!(
                "{label:<40} {cpu:>9.2} {:>9.2} {:>12.1} {:>10.0}",
                figure("wall_seconds"),
                texts.len() as f64 / cpu,
                figure("peak_mb")
            );
            versions.extend(found["versions"].as_str().map(str::to_owned));
            if best.as_ref().is_none_or(|best| cpu < best.cpu) {
                best = Some(Row { name, cpu, vectors: vectors(&out) });
            }
        }
        rows.extend(best);
    }
    versions.dedup();
    println!("\npeers: {}", versions.join("; "));
    let row = |name: &str| rows.iter().find(|row| row.name == name);
    for (one, other) in [
        ("wimhf f32", "sentence-transformers f32"),
        ("wimhf int8", "wimhf f32"),
        ("wimhf int8", "sentence-transformers f32"),
        ("wimhf int8", "ONNX Runtime f32"),
        ("wimhf int8", "ONNX Runtime int8"),
    ] {
        if let (Some(one), Some(other)) = (row(one), row(other)) {
            println!(
                "{} over {}: {:.2} × the texts per CPU second",
                one.name,
                other.name,
                other.cpu / one.cpu
            );
        }
    }
    for (one, other) in [
        ("wimhf f32", "sentence-transformers f32"),
        ("wimhf int8", "wimhf f32"),
        ("ONNX Runtime int8", "ONNX Runtime f32"),
    ] {
        if let (Some(one), Some(other)) = (row(one), row(other)) {
            let (smallest, mean) = cosines(&one.vectors, &other.vectors);
            println!("cosine of {} and {}: smallest {smallest:.5}, mean {mean:.5}", one.name, other.name);
        }
    }
}

/// A run of this program in a process of its own: one line of JSON.
fn one(model: &Path, precision: &str, texts: &Path, out: &Path) {
    let precision = if precision == "int8" { Precision::Int8 } else { Precision::F32 };
    let texts: Vec<String> =
        serde_json::from_slice(&std::fs::read(texts).expect("the texts")).expect("strings");
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embedder = LocalEmbedder::open(model, "minilm", Hardware::Cpu, None).expect("the model");
    let embedder = embedder.with_precision(precision).expect("the CPU has both");
    embedder.embed(&texts[..texts.len().min(8)]).expect("vectors");
    let mut runs = Vec::new();
    let mut found = Matrix::default();
    for _ in 0..3 {
        let (began, wall) = (cpu_seconds(), std::time::Instant::now());
        // As the program does it: in pieces, the longest first.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(texts[i].len()));
        let mut rows = Matrix::zeros(texts.len(), 384);
        for piece in order.chunks(256) {
            let some: Vec<&str> = piece.iter().map(|&i| texts[i]).collect();
            let part = embedder.embed(&some).expect("vectors");
            for (row, &i) in piece.iter().enumerate() {
                rows.row_mut(i).copy_from_slice(part.row(row));
            }
        }
        runs.push((cpu_seconds() - began, wall.elapsed().as_secs_f64()));
        found = rows;
    }
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bytes: Vec<u8> = found.values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let shape = vec![found.rows(), found.cols];
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &bytes).expect("a table");
    let file = safetensors::serialize([("vectors", view)], None).expect("a table");
    std::fs::write(out, file).expect("a file under target");
    let peak = peak_memory();
    println!("{}", json!({ "cpu_seconds": runs[1].0, "wall_seconds": runs[1].1, "peak_mb": peak }));
}

/// What a probe on vectors of either precision is worth.
fn worth(model: &Path, data: &Path) {
    let (pairs, _) = pairs::read(&data.to_string_lossy(), &ReadOptions::default()).expect("pairs");
    println!("\n{} pairs, {SPLITS} splits 60/40: AUC of a linear probe on the deltas\n", pairs.pair_id.len());
    let mut means = Vec::new();
    for precision in [Precision::F32, Precision::Int8] {
        let embedder = model.display().to_string();
        let settings = EmbedConfig { embedder, precision, ..EmbedConfig::default() };
        // No cache: neither is what is kept of an earlier build measured, nor is anything kept.
        let context = Context::default().without_cache();
        let opened = embed::open(&settings, Hardware::Cpu, 0, &context, &mut ()).expect("the model");
        let recipe = Recipe::default();
        let deltas = Embedding::new(&pairs, opened.embedder.as_ref(), &recipe, &context, &mut Silent)
            .and_then(|mut embedding| embedding.deltas(&mut Silent))
            .expect("vectors");
        let figures: Vec<_> = (0..SPLITS).map(|seed| probe::auc(&pairs, &deltas, seed).value).collect();
        let mean = figures.iter().sum::<f64>() / figures.len() as f64;
        println!("wimhf {precision:?}: mean {mean:.4}, first split {:.4}", figures[0]);
        means.push((mean, figures));
    }
    if let [(plain, first), (small, second)] = &means[..] {
        let furthest = first.iter().zip(second).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("difference of the means {:+.4}, of one split at most {furthest:.4}", small - plain);
    }
}

/// The folder with the weights.
fn minilm() -> Option<PathBuf> {
    let named = std::env::var_os("WIMHF_TEST_MINILM").map(PathBuf::from);
    let folder = named.or_else(|| Some(dirs::cache_dir()?.join("wimhf/test/all-MiniLM-L6-v2")))?;
    folder.join("model.safetensors").is_file().then_some(folder)
}

/// All different responses, and where they are from.
fn responses() -> (PathBuf, Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = std::env::var_os("WIMHF_TEST_DATA").map_or(root.join("../shared/data"), PathBuf::from);
    let real = data.join("hh_harmless_base_test.parquet");
    let path = if real.exists() { real } else { root.join("data/sample.parquet") };
    let table = ParquetReader::new(std::fs::File::open(&path).expect("a dataset")).finish().expect("Parquet");
    let mut texts: Vec<String> = ["response_A", "response_B"]
        .iter()
        .flat_map(|name| {
            table.column(name).expect("responses").str().expect("texts").iter().flatten().collect::<Vec<_>>()
        })
        .map(str::to_owned)
        .collect();
    texts.sort();
    texts.dedup();
    (path, texts)
}

/// So many of them, taken evenly.
fn evenly(texts: &[String], count: usize) -> Vec<String> {
    let count = count.min(texts.len());
    let step = texts.len() as f64 / count as f64;
    (0..count).map(|i| texts[(i as f64 * step) as usize].clone()).collect()
}

fn own(name: &str, texts: &Path, out: &Path) -> std::io::Result<Output> {
    let precision = name.rsplit(' ').next().unwrap_or_default();
    Command::new(std::env::current_exe()?).args(["--one", precision]).arg(texts).arg(out).output()
}

fn peer(model: &Path, engine: &str, texts: &Path, out: &Path, threads: usize) -> std::io::Result<Output> {
    let python = std::env::var("WIMHF_BENCH_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/embedding_peer.py");
    Command::new(&python)
        .arg(script)
        .arg("--model")
        .arg(model)
        .arg("--texts")
        .arg(texts)
        .arg("--out")
        .arg(out)
        .args(["--engine", engine, "--threads", &threads.to_string()])
        .env("OMP_NUM_THREADS", threads.to_string())
        .output()
}

/// The last line that a process wrote.
fn answer(output: std::io::Result<Output>) -> Option<Value> {
    match output {
        Ok(output) if output.status.success() => {
            let mut lines = output.stdout.rsplit(|byte| *byte == b'\n');
            serde_json::from_slice(lines.find(|line| !line.is_empty())?).ok()
        }
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            println!("NOT RUN: {}", error.lines().last().unwrap_or("it failed"));
            println!(
                "pip install -r benches/peers/requirements-embedding.txt; WIMHF_BENCH_PYTHON names that python"
            );
            None
        }
        Err(error) => {
            println!("NOT RUN: {error}");
            None
        }
    }
}

fn vectors(file: &Path) -> Matrix {
    let bytes = std::fs::read(file).expect("vectors");
    let table = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let values = table
        .tensor("vectors")
        .expect("vectors")
        .data()
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect();
    Matrix { values, cols: 384 }
}

/// The smallest and the mean cosine of two programs' vectors.
fn cosines(ours: &Matrix, theirs: &Matrix) -> (f64, f64) {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let found: Vec<f64> = (0..ours.rows())
        .map(|row| {
            let (a, b) = (ours.row(row), theirs.row(row));
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        })
        .collect();
    (found.iter().copied().fold(f64::INFINITY, f64::min), found.iter().sum::<f64>() / found.len() as f64)
}

/// User and system time of this process so far, all threads.
fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage writes the structure that it is given.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Largest resident memory of this process so far, in MB.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(f64::NAN, |kb| kb / 1024.0)
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name"));
    name.map_or("unknown processor".into(), |line| line.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
