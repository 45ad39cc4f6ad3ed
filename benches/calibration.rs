//! Whether the program's uncertainty is true: how often 95 % intervals cover what they should, and how
//! often labels without any meaning give a principle.
//!
//!     cargo bench --bench calibration                 all of it, some minutes
//!     cargo bench --bench calibration -- coverage     1,000 simulations of each kind
//!     cargo bench --bench calibration -- null 200     so many shuffles of the sample's labels

use rand::{Rng, RngExt};
use rayon::prelude::*;

use wimhf::Observer;
use wimhf::config::Config;
use wimhf::effects::{self, Control, Sample};
use wimhf::ops::analyze::{self, Request};
use wimhf::rng;
use wimhf::sae::DeviceChoice;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|a| a == name);
    if wanted("coverage") {
        coverage();
    }
    if wanted("null") {
        let shuffles = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(400);
        null(shuffles);
    }
}

/// How judgements come about.
struct World {
    name: &'static str,
    /// Prompts; each has `per_prompt` pairs.
    prompts: usize,
    per_prompt: usize,
    annotators: usize,
    /// Share of pairs in which the feature is active.
    active: f64,
    /// Standard deviation of what a prompt adds to the log-odds, and of the annotators' slopes.
    by_prompt: f64,
    by_annotator: f64,
}

const WORLDS: [World; 4] = [
    World {
        name: "independent, dense",
        prompts: 1500,
        per_prompt: 1,
        annotators: 0,
        active: 1.0,
        by_prompt: 0.0,
        by_annotator: 0.0,
    },
    World {
        name: "independent, 8 % active",
        prompts: 2000,
        per_prompt: 1,
        annotators: 0,
        active: 0.08,
        by_prompt: 0.0,
        by_annotator: 0.0,
    },
    World {
        name: "4 judgements a prompt that hang together",
        prompts: 500,
        per_prompt: 4,
        annotators: 0,
        active: 0.3,
        by_prompt: 1.0,
        by_annotator: 0.0,
    },
    World {
        name: "prompts and 60 annotators who differ",
        prompts: 800,
        per_prompt: 3,
        annotators: 60,
        active: 0.3,
        by_prompt: 0.7,
        by_annotator: 0.5,
    },
];

/// One draw: feature values by judgement, and the sample.
fn draw(world: &World, prompts: usize, random: &mut impl Rng) -> (Vec<f32>, Sample) {
    let mut normal = || {
        let (u, v): (f64, f64) = (random.random(), random.random());
        (
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos(),
            random.random::<f64>(),
            random.random::<u32>(),
        )
    };
    // As many annotators as needed to keep their share of the work.
    let annotators = world.annotators * prompts / world.prompts;
    let slopes: Vec<f64> = (0..annotators).map(|_| world.by_annotator * normal().0).collect();
    let (mut y, mut length, mut z) = (Vec::new(), Vec::new(), Vec::new());
    let (mut prompt_id, mut annotator_id) = (Vec::new(), Vec::new());
    for prompt in 0..prompts {
        let shift = world.by_prompt * normal().0;
        // The same feature shows in all pairs of a prompt, or in none: what clusters are about.
        let (_, coin, _) = normal();
        let on = coin < world.active;
        for _ in 0..world.per_prompt {
            let (value, coin, pick) = normal();
            let feature = if on { value } else { 0.0 };
            let words = (20.0 * normal().0 + 10.0 * feature).round();
            let who = if annotators > 0 { pick as usize % annotators } else { 0 };
            let slope = 0.6 + slopes.get(who).copied().unwrap_or(0.0);
            // A prompt's shift is for the side that its first pair has the feature on.
            let eta = 0.1 + slope * feature + 0.01 * words + shift * feature.signum();
            y.push(if coin < 1.0 / (1.0 + (-eta).exp()) { 1.0 } else { 0.0 });
            length.push(words);
            z.push(feature as f32);
            prompt_id.push(prompt as u32);
            annotator_id.push(who as u32);
        }
    }
    let rows = (0..y.len() as u32).collect();
    let mut clusters = vec![prompt_id];
    if annotators > 0 {
        clusters.push(annotator_id);
    }
    let sample = Sample::new(y, length, rows, &clusters).expect("columns of one length");
    (z, sample)
}

/// Two-sided 95 % quantile of Student's t, as the intervals use it.
fn quantile(df: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, StudentsT};
    StudentsT::new(0.0, 1.0, df).map_or(1.96, |t| t.inverse_cdf(0.975))
}

fn coverage() {
    const SIMULATIONS: usize = 1000;
    println!(
        "95 % intervals: share of {SIMULATIONS} simulations in which they cover the truth (93-97 % is right)"
    );
    println!("{:<45} {:>8} {:>10} {:>8}", "world", "beta", "win rate", "AUC");
    for world in &WORLDS {
        // The truth: the same estimators on a population large enough for its own error not to matter.
        let mut random = rng::stream(1, world.name);
        let (z, sample) = draw(world, world.prompts * 400, &mut random);
        let truth = effects::feature_effect(&z, &sample, Control::Length);
        let score: Vec<f64> = z.iter().map(|z| f64::from(*z)).collect();
        let auc = effects::auc(&score, sample.y(), sample.clusters()).expect("both labels").value;
        let hits: Vec<[bool; 3]> = (0..SIMULATIONS)
            .into_par_iter()
            .map(|simulation| {
                let mut random = rng::stream(simulation as u64, world.name);
                let (z, sample) = draw(world, world.prompts, &mut random);
                let effect = effects::feature_effect(&z, &sample, Control::Length);
                let clusters = if world.annotators > 0 { world.annotators } else { world.prompts };
                let half = quantile(clusters as f64 - 1.0) * effect.beta_se_clustered;
                let score: Vec<f64> = z.iter().map(|z| f64::from(*z)).collect();
                let found = effects::auc(&score, sample.y(), sample.clusters()).expect("both labels");
                [
                    (effect.beta - truth.beta).abs() <= half,
                    (effect.win.low..=effect.win.high).contains(&truth.win.value),
                    (found.low..=found.high).contains(&auc),
                ]
            })
            .collect();
        let share =
            |figure: usize| 100.0 * hits.iter().filter(|hit| hit[figure]).count() as f64 / SIMULATIONS as f64;
        println!("{:<45} {:>6.1} % {:>8.1} % {:>6.1} %", world.name, share(0), share(1), share(2));
    }
}

struct Silent;

impl Observer for Silent {
    fn stage(&mut self, _: &str, _: usize) {}
    fn advance(&mut self, _: usize) {}
    fn finished(&mut self, _: &str, _: f64, _: bool) {}
    fn note(&mut self, _: &str) {}
}

/// Shuffles the sample's labels; everything before the effects needs no label and is done once a seed.
fn null(shuffles: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = format!("{}/data/sample.parquet", env!("CARGO_MANIFEST_DIR"));
    let (mut runs, mut with) = (0, 0);
    for run_seed in 1..=4 {
        let request = Request {
            data: vec![data.clone()],
            out: folder.path().join(run_seed.to_string()),
            config: Config { seed: run_seed, ..Config::default() },
            device: DeviceChoice::Cpu,
            save_embeddings: None,
            force: false,
            spending: wimhf::llm::open::LlmOptions::default(),
        };
        let prepared = analyze::measure(&request, &mut Silent).expect("the sample is sound");
        let found: Vec<bool> = (0..shuffles / 4)
            .into_par_iter()
            .map(|shuffle| {
                let mut random = rng::stream(shuffle as u64, "shuffled labels");
                let mut pairs = prepared.pairs.clone();
                let labels = &mut pairs.judgements.label;
                for i in (1..labels.len()).rev() {
                    labels.swap(i, random.random_range(0..=i));
                }
                let (_, findings) = analyze::estimate_in_memory(
                    &pairs,
                    &prepared.sides,
                    &prepared.described,
                    &prepared.deltas,
                    &Config::default(),
                )
                .expect("the words' embedder is in the program");
                !findings.principles.is_empty()
            })
            .collect();
        runs += found.len();
        with += found.iter().filter(|any| **any).count();
    }
    println!(
        "labels shuffled: {with} of {runs} analyses of the sample print a principle ({:.1} %)",
        100.0 * with as f64 / runs as f64
    );
}
