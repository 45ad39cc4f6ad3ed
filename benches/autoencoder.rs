//! CPU seconds of an epoch of the autoencoder, beside the reference's method in PyTorch in the same run.
//!
//!     cargo bench --bench autoencoder                        100,000 × 384 and × 1536, M = 32, K = 4
//!     cargo bench --bench autoencoder -- scale               10,000, 100,000 and 1,000,000 rows × 384
//!     cargo bench --bench autoencoder -- file                1,000,000 × 768 from a file (3 GB under target/tmp)
//!     cargo bench --bench autoencoder -- gpu                 the same on the graphics adapter, PyTorch on CUDA beside it
//!
//! The peer is `benches/peers/autoencoder_peer.py`; its packages stand in `benches/peers/requirements.txt`
//! and `WIMHF_BENCH_PYTHON` names the interpreter that has them. An epoch sees every pair and its mirror
//! image. The reference's own figures (REFERENCE.md §2) were measured on another machine.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use faer::{Accum, Mat, Par, linalg::matmul::matmul};
use rand::RngExt;
use wimhf::matrix::Matrix;
use wimhf::rng;
use wimhf::sae::{self, Compute, Control, DeviceChoice, Progress, SaeConfig};

/// The program's allocator, without which its times would not be the program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pairs and dimensions, and the reference's CPU seconds.
const CASES: [(usize, usize, Option<f64>); 2] = [(100_000, 384, Some(7.3)), (100_000, 1536, Some(15.9))];
const SCALE: [(usize, usize, Option<f64>); 3] =
    [(10_000, 384, None), (100_000, 384, Some(7.3)), (1_000_000, 384, None)];
/// Epochs, of which the first is not counted.
const EPOCHS: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |word: &str| arguments.iter().any(|argument| argument == word);
    let compute = if asked("gpu") {
        match sae::choose(DeviceChoice::Gpu) {
            Ok(compute) => compute,
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(2);
            }
        }
    } else {
        Compute::cpu()
    };
    println!(
        "{} · {} threads · wimhf {} · {}",
        processor(),
        rayon::current_num_threads(),
        env!("CARGO_PKG_VERSION"),
        compute.adapter
    );
    let (gemm, bandwidth) = (gemm_rate(), bandwidth());
    println!("one core: {gemm:.0} GFLOP/s in a product of 1024 × 1024 matrices, {bandwidth:.1} GB/s read");
    if asked("file") {
        return out_of_core(&compute);
    }
    println!("\nM = 32, K = 4, batch 256; seconds per epoch, median of {}", EPOCHS - 1);
    println!(
        "{:>9} {:>5} {:>8} {:>8} {:>8} {:>7} {:>10} {:>7} {:>7} {:>7} {:>8}",
        "pairs", "D", "CPU", "wall", "peer", "ratio", "reference", "ratio", "% GEMM", "% mem", "peak MB"
    );
    for (pairs, dimensions, reference) in if asked("scale") { &SCALE[..] } else { &CASES[..] } {
        let on_card = asked("gpu");
        let peer = if asked("scale") || on_card { None } else { peer(*pairs, *dimensions) };
        let card = if on_card && !asked("scale") { card(*pairs, *dimensions) } else { Vec::new() };
        let deltas = made_up(*pairs, *dimensions);
        forget_peak();
        let (cpu, wall) = epoch(&deltas, &compute);
        // Dense product, then for each of K active features: decode, slope, both gradients.
        let operations = 2.0 * 2.0 * *pairs as f64 * *dimensions as f64 * (32.0 + 4.0 * 4.0);
        let bytes = 2.0 * 4.0 * *pairs as f64 * *dimensions as f64;
        let show =
            |value: Option<f64>, digits: usize| value.map_or("–".into(), |v| format!("{v:.digits$}"));
        println!(
            "{pairs:>9} {dimensions:>5} {cpu:>8.3} {wall:>8.3} {:>8} {:>7} {:>10} {:>7} {:>7.0} {:>7.0} {:>8.0}",
            show(peer, 2),
            show(peer.map(|peer| peer / cpu), 1),
            show(*reference, 1),
            show(reference.map(|reference| reference / cpu), 1),
            100.0 * operations / cpu / 1e9 / gemm,
            100.0 * bytes / cpu / 1e9 / bandwidth,
            peak_memory(),
        );
        for (way, seconds) in card {
            println!(
                "{:>15} PyTorch on the card, {way}: {seconds:.3} s, {:.1} times as long",
                "",
                seconds / wall
            );
        }
    }
    println!("ratio: how many times as much the other takes. Reference: its own machine.");
}

/// Rows with 48 planted directions and noise, of norm about one.
fn made_up(pairs: usize, dimensions: usize) -> Matrix {
    let mut random = rng::stream(0, "bench");
    let directions: Vec<f32> = (0..48 * dimensions).map(|_| random.random_range(-1.0..1.0)).collect();
    let mut deltas = Matrix::zeros(pairs, dimensions);
    let size = (dimensions as f32).sqrt().recip();
    for row in 0..pairs {
        let row = deltas.row_mut(row);
        row.iter_mut().for_each(|value| *value = 0.5 * size * random.random_range(-1.0f32..1.0));
        for direction in directions.chunks_exact(dimensions) {
            if random.random::<f32>() < 0.1 {
                let by = 0.5 * size * random.random_range(-1.0f32..1.0);
                row.iter_mut().zip(direction).for_each(|(value, direction)| *value += by * direction);
            }
        }
    }
    deltas
}

/// Trains on more deltas than are in memory at once.
fn out_of_core(compute: &Compute) {
    const ROWS: usize = 1_000_000;
    const DIMENSIONS: usize = 768;
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("deltas.safetensors");
    let file = std::fs::File::create(&path).expect("a file under target");
    let mut file = std::io::BufWriter::new(file);
    let end = ROWS * DIMENSIONS * 4;
    let mut header = format!(
        "{{\"deltas\":{{\"dtype\":\"F32\",\"shape\":[{ROWS},{DIMENSIONS}],\"data_offsets\":[0,{end}]}}}}"
    );
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut put = |bytes: &[u8]| file.write_all(bytes).expect("room on the disk");
    put(&(header.len() as u64).to_le_bytes());
    put(header.as_bytes());
    // The same thousand rows again and again, each time with other signs and sizes.
    let rows = made_up(1_000, DIMENSIONS);
    let mut random = rng::stream(1, "bench file");
    for _ in 0..ROWS / 1_000 {
        let mut block = rows.clone();
        for row in 0..1_000 {
            let by = random.random_range(-1.2f32..1.2);
            block.row_mut(row).iter_mut().for_each(|value| *value *= by);
        }
        put(bytemuck::cast_slice(&block.values));
    }
    drop(file);
    forget_peak();
    let deltas = sae::DeltaFile::open(&path).expect("what was just written");
    let (cpu, wall) = epoch(&deltas, compute);
    println!(
        "{ROWS} × {DIMENSIONS} from a file of {:.1} GB: {cpu:.2} CPU s and {wall:.2} s per epoch, peak {:.0} MB",
        end as f64 / 1e9,
        peak_memory()
    );
    let _ = std::fs::remove_file(&path);
}

/// Median CPU and wall seconds of an epoch after the first.
fn epoch(deltas: &dyn sae::Deltas, compute: &Compute) -> (f64, f64) {
    let rows: Vec<u32> = (0..deltas.rows() as u32).collect();
    let config = SaeConfig { epochs_max: EPOCHS, epochs_min: EPOCHS, ..SaeConfig::default() };
    let mut times = Vec::new();
    let mut last = None;
    let mut listen = |progress: Progress| {
        if let Progress::Epoch { .. } = progress {
            let now = (cpu_seconds(), Instant::now());
            if let Some((cpu, wall)) = last.replace(now) {
                times.push((now.0 - cpu, now.1.duration_since(wall).as_secs_f64()));
            }
        }
        Control::Continue
    };
    // One row judges, so that the evaluation costs nothing: the peer's time is without it, too.
    sae::train(deltas, &rows, &rows[..1], &rows[..1], &config, compute, &mut listen).expect("sound data");
    let median = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = times.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    (median(&|t| t.0), median(&|t| t.1))
}

/// The peer's CPU seconds per epoch, or `None` and why.
fn peer(pairs: usize, dimensions: usize) -> Option<f64> {
    let report = ask_peer(pairs, dimensions, &[])?;
    let seconds = report["cpu_seconds"].as_array()?.iter().filter_map(serde_json::Value::as_f64);
    Some(seconds.fold(f64::INFINITY, f64::min))
}

/// The peer's wall seconds per epoch on a card that CUDA reaches: step by step (`eager`), and as one recorded CUDA
/// graph (`graph`). Nothing, and why, without one.
fn card(pairs: usize, dimensions: usize) -> Vec<(String, f64)> {
    let report = ask_peer(pairs, dimensions, &["--card", "cuda", "--epochs", "4"]).unwrap_or_default();
    let ways = report["wall_seconds"].as_object().into_iter().flatten();
    ways.filter_map(|(way, seconds)| Some((way.clone(), seconds.as_f64()?))).collect()
}

fn ask_peer(pairs: usize, dimensions: usize, more: &[&str]) -> Option<serde_json::Value> {
    let python = std::env::var("WIMHF_BENCH_PYTHON").unwrap_or_else(|_| "python3".into());
    let report = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("autoencoder_peer.json");
    let _ = std::fs::remove_file(&report);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/autoencoder_peer.py");
    let output = Command::new(&python)
        .args([script, "--time", &pairs.to_string(), &dimensions.to_string()])
        .args(more)
        .arg("--json")
        .arg(&report)
        .env_remove("OPENBLAS_CORETYPE")
        .env_remove("OPENBLAS_L2_SIZE")
        .env("OMP_NUM_THREADS", "1")
        .output();
    let failed = match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            Some(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("it failed").to_owned())
        }
        Err(error) => Some(format!("cannot start `{python}`: {error}")),
    };
    if let Some(reason) = failed {
        println!("PEER NOT RUN: {reason}");
        println!("pip install -r benches/peers/requirements.txt, and name that python by WIMHF_BENCH_PYTHON");
        return None;
    }
    serde_json::from_slice(&std::fs::read(&report).ok()?).ok()
}

/// GFLOP per second of a large product on one thread.
fn gemm_rate() -> f64 {
    let a = Mat::<f32>::from_fn(1024, 1024, |i, j| ((i * 7 + j * 3) % 11) as f32);
    let mut out = Mat::<f32>::zeros(1024, 1024);
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let started = Instant::now();
        matmul(out.as_mut(), Accum::Replace, a.as_ref(), a.as_ref(), 1.0, Par::Seq);
        best = best.min(started.elapsed().as_secs_f64());
    }
    2.0 * 1024f64.powi(3) / best / 1e9
}

/// GB per second that one thread reads from memory.
fn bandwidth() -> f64 {
    let values = vec![1u64; 1 << 25];
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let started = Instant::now();
        let sum: u64 = std::hint::black_box(&values).iter().sum();
        best = best.min(started.elapsed().as_secs_f64());
        assert_eq!(std::hint::black_box(sum), values.len() as u64);
    }
    values.len() as f64 * 8.0 / best / 1e9
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

/// Linux counts the peak anew from here.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Largest resident memory of this process since then, in MB.
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
