//! Texts per CPU second of all-MiniLM-L6-v2, beside sentence-transformers with the same texts and weights.
//!
//!     tests/support/minilm.sh                         fetches the weights, once
//!     cargo bench --bench embedding                   1,000 texts
//!     cargo bench --bench embedding -- 5000           more
//!
//! The peer is `benches/peers/embedding_peer.py`; its packages stand in `benches/peers/requirements-embedding.txt`;
//! `WIMHF_BENCH_PYTHON` names the interpreter that has them. It runs on one thread and on two, and the better of the
//! two counts. Texts are the responses of `../shared/data/hh_harmless_base_test.parquet` where that is there
//! (`WIMHF_TEST_DATA` names another folder), else those of the sample.

use std::path::{Path, PathBuf};
use std::process::Command;

use polars::prelude::*;
use wimhf::embed::{Embedder, Hardware, LocalEmbedder};
use wimhf::matrix::Matrix;

/// The program's allocator, without which its times would not be the program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let count: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(1000);
    let Some(model) = minilm() else {
        eprintln!("the weights are not there: run tests/support/minilm.sh");
        std::process::exit(1);
    };
    let (source, texts) = texts(count);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("embedding");
    std::fs::create_dir_all(&folder).expect("a folder under target");
    let file = folder.join("texts.json");
    std::fs::write(&file, serde_json::to_vec(&texts).expect("strings")).expect("a file under target");

    let embedder = LocalEmbedder::open(&model, "minilm", Hardware::Cpu, None).expect("the model");
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    embedder.embed(&texts[..texts.len().min(8)]).expect("vectors");
    let tokens = embedder.usage().tokens;
    let mut runs = Vec::new();
    let mut found = Matrix::default();
    for _ in 0..3 {
        let (began, wall) = (cpu_seconds(), std::time::Instant::now());
        // As the program does it: in pieces, the longest first.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(texts[i].len()));
        let mut out = Matrix::zeros(texts.len(), 384);
        for piece in order.chunks(256) {
            let some: Vec<&str> = piece.iter().map(|&i| texts[i]).collect();
            let rows = embedder.embed(&some).expect("vectors");
            for (row, &i) in piece.iter().enumerate() {
                out.row_mut(i).copy_from_slice(rows.row(row));
            }
        }
        runs.push((cpu_seconds() - began, wall.elapsed().as_secs_f64()));
        found = out;
    }
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ours = runs[1];
    let tokens = (embedder.usage().tokens - tokens) as f64 / 3.0;
    println!(
        "\n{} · {} threads · wimhf {}",
        processor(),
        rayon::current_num_threads(),
        env!("CARGO_PKG_VERSION")
    );
    let per_text = tokens / texts.len() as f64;
    println!("{} texts of {source}, {per_text:.0} tokens each after truncation to 256", texts.len());
    // Multiplications and additions of the six layers' products; attention adds a few per cent.
    let operations = embedder.operations(1) * tokens;
    println!("our rate: {:.1} GFLOP per CPU second in the layers' products\n", operations / ours.0 / 1e9);

    println!("{:<38} {:>9} {:>9} {:>12} {:>10}", "", "CPU s", "wall s", "texts/CPU s", "peak MB");
    let row = |name: &str, cpu: f64, wall: f64, memory: f64| {
        println!("{name:<38} {cpu:>9.2} {wall:>9.2} {:>12.1} {memory:>10.0}", texts.len() as f64 / cpu);
    };
    row("wimhf (median of 3)", ours.0, ours.1, peak_memory());
    let mut best: Option<f64> = None;
    for threads in [1, 2] {
        let out = folder.join("peer.safetensors");
        let Some(peer) = run_peer(&model, &file, &out, threads) else { continue };
        let figure = |name: &str| peer[name].as_f64().unwrap_or(f64::NAN);
        let name = format!("sentence-transformers, {threads} thread(s)");
        row(&name, figure("cpu_seconds"), figure("wall_seconds"), figure("peak_mb"));
        let cpu = figure("cpu_seconds");
        best = Some(best.map_or(cpu, |best| best.min(cpu)));
        if threads == 2 {
            println!("\npeer: {}", peer["versions"].as_str().unwrap_or_default());
            println!("smallest cosine between the two: {:.7}", smallest_cosine(&found, &out));
        }
    }
    if let Some(best) = best {
        println!("texts per CPU second: {:.2} × the better of the peer's two", best / ours.0);
    }
}

/// The folder with the weights.
fn minilm() -> Option<PathBuf> {
    let named = std::env::var_os("WIMHF_TEST_MINILM").map(PathBuf::from);
    let folder = named.or_else(|| Some(dirs::cache_dir()?.join("wimhf/test/all-MiniLM-L6-v2")))?;
    folder.join("model.safetensors").is_file().then_some(folder)
}

/// Different responses, taken evenly from all of them.
fn texts(count: usize) -> (String, Vec<String>) {
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
    let count = count.min(texts.len());
    let step = texts.len() as f64 / count as f64;
    let some = (0..count).map(|i| texts[(i as f64 * step) as usize].clone()).collect();
    (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), some)
}

fn run_peer(model: &Path, texts: &Path, out: &Path, threads: usize) -> Option<serde_json::Value> {
    let python = std::env::var("WIMHF_BENCH_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/embedding_peer.py");
    let output = Command::new(&python)
        .arg(script)
        .arg("--model")
        .arg(model)
        .arg("--texts")
        .arg(texts)
        .arg("--out")
        .arg(out)
        .args(["--threads", &threads.to_string()])
        .env("OMP_NUM_THREADS", threads.to_string())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            serde_json::from_slice(output.stdout.rsplit(|byte| *byte == b'\n').find(|line| !line.is_empty())?)
                .ok()
        }
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            println!("PEER NOT RUN: {}", error.lines().last().unwrap_or("it failed"));
            println!(
                "pip install -r benches/peers/requirements-embedding.txt; WIMHF_BENCH_PYTHON names that python"
            );
            None
        }
        Err(error) => {
            println!("PEER NOT RUN: cannot start `{python}`: {error}");
            None
        }
    }
}

fn smallest_cosine(ours: &Matrix, file: &Path) -> f64 {
    let bytes = std::fs::read(file).expect("the peer's vectors");
    let table = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let values: Vec<f32> = table
        .tensor("vectors")
        .expect("vectors")
        .data()
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect();
    let theirs = Matrix { values, cols: ours.cols };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    (0..ours.rows())
        .map(|row| {
            let (a, b) = (ours.row(row), theirs.row(row));
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        })
        .fold(f64::INFINITY, f64::min)
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
