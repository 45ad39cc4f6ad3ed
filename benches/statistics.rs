//! CPU seconds of everything around the autoencoder, beside a Python pipeline on the same data.
//!
//!     cargo bench --bench statistics                  100,000 pairs × 384
//!     cargo bench --bench statistics -- 20000         fewer pairs
//!
//! The peer is `benches/peers/statistics_peer.py` (scikit-learn, statsmodels, skglm, pyarrow); it makes
//! the data, too. Its packages stand in `benches/peers/requirements.txt`; `WIMHF_BENCH_PYTHON` names the
//! interpreter that has them. The last columns are what REFERENCE.md reports of the reference
//! implementation, measured on another machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use polars::prelude::*;
use wimhf::effects::{self, Control, Sample, lasso::Lasso, penalised};
use wimhf::matrix::Matrix;
use wimhf::pairs::{self, ReadOptions, Split};
use wimhf::sae::Sae;

/// The program's allocator, without which its times would not be the program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Our stage, the peer's stages that it stands for, and the reference's seconds at 100,000 × 384.
const STAGES: [(&str, &[&str], Option<f64>); 7] = [
    ("read (load, dedup, delta, words)", &["load", "dedup", "delta", "words"], Some(3.5 + 5.5)),
    ("split", &["split_networkx"], Some(0.67)),
    ("activations", &["activations"], Some(0.33)),
    ("embedding probe", &["embedding_probe"], Some(2.2)),
    ("L1 top 5", &["lasso_top5_skglm"], Some(23.0)),
    ("L1 top 10", &["lasso_top10_skglm"], Some(27.0)),
    ("32 logits and win rates", &["logits", "win_rates"], Some(0.96)),
];

fn main() {
    let pairs: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(100_000);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("statistics");
    std::fs::create_dir_all(&folder).expect("a folder under target");
    let data = folder.join(format!("synthetic_{pairs}x384.parquet"));
    let peer = run_peer(pairs, &folder);
    if !data.exists() {
        eprintln!("there is no data: the peer makes it");
        std::process::exit(1);
    }
    println!(
        "\n{} · {} threads · wimhf {}",
        processor(),
        rayon::current_num_threads(),
        env!("CARGO_PKG_VERSION")
    );
    if let Some(peer) = &peer {
        println!("peer: {} · {} thread(s)", peer["versions"], peer["threads"]);
    }
    let repeats: Vec<Vec<f64>> = (0..3).map(|_| once(&data)).collect();
    println!("\n{pairs} pairs × 384, CPU seconds (user + system), median of 3");
    println!(
        "{:<34} {:>8} {:>8} {:>8} {:>10} {:>8}",
        "stage", "wimhf", "peer", "ratio", "reference", "ratio"
    );
    let (mut ours_total, mut peer_total, mut reference_total) = (0.0, 0.0, 0.0);
    for (index, (name, of_peer, reference)) in STAGES.iter().enumerate() {
        let mut times: Vec<f64> = repeats.iter().map(|times| times[index]).collect();
        times.sort_by(f64::total_cmp);
        let ours = times[1];
        let theirs = peer.as_ref().map(|peer| {
            of_peer
                .iter()
                .map(|stage| peer["stages"][stage]["cpu_seconds"].as_f64().unwrap_or(f64::NAN))
                .sum::<f64>()
        });
        let reference = reference.filter(|_| pairs == 100_000);
        row(name, ours, theirs, reference);
        ours_total += ours;
        peer_total += theirs.unwrap_or(f64::NAN);
        reference_total += reference.unwrap_or(f64::NAN);
    }
    row("all", ours_total, Some(peer_total), Some(reference_total).filter(|r| r.is_finite()));
    let rss = peer.as_ref().and_then(|peer| peer["peak_rss_mb"].as_f64());
    println!(
        "peak memory: wimhf {:.0} MB, peer {} MB",
        peak_memory(),
        rss.map_or("–".into(), |mb| format!("{mb:.0}"))
    );
    println!("(reference: REFERENCE.md §2, its own machine; no figure there for loading 100,000 pairs)");
}

fn row(name: &str, ours: f64, theirs: Option<f64>, reference: Option<f64>) {
    let show = |value: Option<f64>, digits: usize| {
        value.filter(|v| v.is_finite()).map_or("–".into(), |v| format!("{v:.digits$}"))
    };
    println!(
        "{name:<34} {ours:>8.3} {:>8} {:>8} {:>10} {:>8}",
        show(theirs, 3),
        show(theirs.map(|theirs| theirs / ours), 1),
        show(reference, 2),
        show(reference.map(|reference| reference / ours), 1),
    );
}

/// Runs the peer, which also makes the data; its report, or why there is none.
fn run_peer(pairs: usize, folder: &Path) -> Option<serde_json::Value> {
    let python = std::env::var("WIMHF_BENCH_PYTHON").unwrap_or_else(|_| "python3".into());
    let report = folder.join("peer.json");
    let _ = std::fs::remove_file(&report);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/statistics_peer.py");
    println!("running the peer with {python} …");
    let output = Command::new(&python)
        .args([script, "--pairs", &pairs.to_string(), "--folder"])
        .arg(folder)
        .arg("--json")
        .arg(&report)
        .env_remove("OPENBLAS_CORETYPE")
        .env_remove("OPENBLAS_L2_SIZE")
        .env("OMP_NUM_THREADS", "1")
        .output();
    match output {
        Ok(output) if output.status.success() => serde_json::from_slice(&std::fs::read(&report).ok()?).ok(),
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            println!("PEER NOT RUN: {}", error.lines().last().unwrap_or("it failed"));
            println!(
                "pip install -r benches/peers/requirements.txt, and name that python by WIMHF_BENCH_PYTHON"
            );
            None
        }
        Err(error) => {
            println!("PEER NOT RUN: cannot start `{python}`: {error}");
            None
        }
    }
}

/// CPU seconds of each of [`STAGES`], once.
fn once(data: &Path) -> Vec<f64> {
    let mut times = Vec::new();
    let mut clock = |started: f64| times.push(cpu_seconds() - started);
    let options =
        ReadOptions { embedding_columns: Some(("vec_a".into(), "vec_b".into())), ..ReadOptions::default() };
    let started = cpu_seconds();
    let (mut pairs, _) = pairs::read(&data.to_string_lossy(), &options).expect("the peer's data");
    clock(started);

    let started = cpu_seconds();
    let (sides, _) = pairs::split(&pairs, [0.8, 0.0, 0.2], 0).expect("shares that add up");
    clock(started);

    let deltas = pairs.own_deltas.take().expect("vectors were asked for");
    let sae = encoder(&data.with_file_name(format!(
        "{}_encoder.parquet",
        data.file_stem().unwrap_or_default().to_string_lossy()
    )));
    let started = cpu_seconds();
    let z = sae.activations(&deltas).expect("vectors that fit");
    clock(started);

    let sample = |side: Option<Split>| -> Sample {
        let judgements = &pairs.judgements;
        let used: Vec<usize> = (0..judgements.pair.len())
            .filter(|&j| {
                judgements.label[j] != 0.5
                    && side.is_none_or(|side| sides[judgements.pair[j] as usize] == side)
            })
            .collect();
        let of = |get: &dyn Fn(usize) -> f64| used.iter().map(|&j| get(j)).collect::<Vec<f64>>();
        let row: Vec<u32> = used.iter().map(|&j| judgements.pair[j]).collect();
        let prompt = row.iter().map(|&pair| pairs.prompt_key[pair as usize]).collect();
        let annotator = used.iter().map(|&j| judgements.annotator[j]).collect();
        Sample::new(
            of(&|j| f64::from(judgements.label[j])),
            of(&|j| f64::from(pairs.length_delta[judgements.pair[j] as usize])),
            row,
            &[prompt, annotator],
        )
        .expect("columns of one length")
    };
    let (train, test, all) = (sample(Some(Split::Train)), sample(Some(Split::Test)), sample(None));
    let started = cpu_seconds();
    let probe =
        penalised::fit(&deltas, train.row(), train.y(), &penalised::Penalty::default()).expect("two labels");
    let auc = effects::auc(&probe.score(&deltas, test.row()), test.y(), test.clusters()).expect("two labels");
    clock(started);
    assert!(auc.value > 0.6, "the planted signal is found: {auc:?}");

    for count in [5, 10] {
        let started = cpu_seconds();
        let chosen = Lasso::new(&z, &train, Control::Length).expect("two labels").select(count).active();
        clock(started);
        assert_eq!(chosen.len(), count);
    }

    let started = cpu_seconds();
    let effects = effects::feature_effects(&z, &all, Control::Length);
    clock(started);
    assert!(effects.iter().all(|effect| effect.beta.is_finite() && effect.win.value.is_finite()));
    times
}

/// The autoencoder that the peer uses.
fn encoder(path: &Path) -> Sae {
    let table =
        ParquetReader::new(std::fs::File::open(path).expect("the peer's encoder")).finish().expect("Parquet");
    let weights = table
        .column("weights")
        .expect("weights")
        .list()
        .expect("lists")
        .explode(ExplodeOptions { empty_as_null: false, keep_nulls: false });
    let values: Vec<f32> = weights.expect("numbers").f32().expect("f32").into_no_null_iter().collect();
    let cols = values.len() / table.height();
    let threshold =
        table.column("threshold").expect("threshold").get(0).expect("a row").try_extract().expect("a number");
    let encoder = Matrix { values, cols };
    Sae { decoder: encoder.clone(), encoder, threshold }
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
