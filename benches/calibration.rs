//! Whether the program's uncertainty is true: how often 95 % intervals cover what they should, and how
//! often labels without any meaning give a principle.
//!
//!     cargo bench --bench calibration                 all of it, some minutes
//!     cargo bench --bench calibration -- coverage     1,000 simulations of each kind
//!     cargo bench --bench calibration -- null 200     so many shuffles of the sample's labels
//!     cargo bench --bench calibration -- worlds 400   false positives and power in worlds of few, many and unequal
//!                                                     annotators and prompts
//!     cargo bench --bench calibration -- crossfit     figures of what was chosen: bias and coverage
//!     cargo bench --bench calibration -- compare 40   random groups of the sample: how often a difference is claimed

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
    let count = |otherwise| arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(otherwise);
    if wanted("worlds") {
        worlds(count(400));
    }
    if wanted("crossfit") {
        crossfit(count(1000));
    }
    if wanted("compare") {
        compare(count(40));
    }
    if wanted("null") {
        null(count(400));
    }
}

/// Who gave the labels, and how many each.
#[derive(Debug, Clone, Copy)]
enum Shares {
    Equal,
    /// Shares 1, 1/2, 1/3 …
    Zipf,
    /// So much by one, the rest by the others.
    One(f64),
}

/// How many labels a prompt has.
#[derive(Debug, Clone, Copy)]
enum Prompts {
    One,
    Four,
    /// From one to four hundred, most of them one.
    Unequal,
    /// Thirty prompts.
    Thirty,
}

/// A world of `annotators` with the feature's slope `slope`; annotators' slopes and prompts' shifts around it.
#[derive(Debug, Clone, Copy)]
struct Mix {
    annotators: usize,
    shares: Shares,
    prompts: Prompts,
    by_annotator: f64,
    by_prompt: f64,
}

const LABELS: usize = 1500;

fn normal(random: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn mix(world: Mix, slope: f64, random: &mut impl Rng) -> (Vec<f32>, Sample) {
    let mut prompt: Vec<u32> = Vec::new();
    let mut next = 0;
    while prompt.len() < LABELS {
        let size = match world.prompts {
            Prompts::One => 1,
            Prompts::Four => 4,
            Prompts::Unequal => (1.0 / (1.0 - random.random::<f64>())).min(400.0) as usize,
            Prompts::Thirty => LABELS / 30,
        };
        prompt.extend(std::iter::repeat_n(next, size.min(LABELS - prompt.len())));
        next += 1;
    }
    let weight = |at: usize| match world.shares {
        Shares::Equal => 1.0,
        Shares::Zipf => 1.0 / (at + 1) as f64,
        Shares::One(share) if at == 0 => share,
        Shares::One(share) => (1.0 - share) / (world.annotators - 1) as f64,
    };
    let mut sums: Vec<f64> = Vec::new();
    for at in 0..world.annotators {
        sums.push(sums.last().copied().unwrap_or(0.0) + weight(at));
    }
    let all = sums.last().copied().unwrap_or(1.0);
    let tastes: Vec<f64> = (0..world.annotators).map(|_| world.by_annotator * normal(random)).collect();
    // The pair that a prompt's labels are about; of four labels each is about another pair.
    let draw = |random: &mut _| if random_share(random) < 0.4 { normal(random) } else { 0.0 };
    let (mut z, mut length, mut y, mut who) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut pair, mut shift, mut before) = ((0.0, 0.0), 0.0, u32::MAX);
    for &id in &prompt {
        if id != before {
            (before, shift) = (id, world.by_prompt * normal(random));
            pair = (draw(random), normal(random));
        } else if matches!(world.prompts, Prompts::Four) {
            pair = (draw(random), normal(random));
        }
        let (feature, words) = (pair.0, pair.1 + 0.3 * pair.0);
        let place = random_share(random) * all;
        let at = sums.partition_point(|sum| *sum <= place).min(world.annotators - 1);
        let eta = (slope + tastes[at]) * feature + 0.2 * words + shift;
        y.push(f64::from(u8::from(random_share(random) < 1.0 / (1.0 + (-eta).exp()))));
        z.push(feature as f32);
        length.push(words);
        who.push(at as u32);
    }
    let rows = (0..y.len() as u32).collect();
    let mut clusters = vec![prompt];
    if world.annotators > 1 {
        clusters.push(who);
    }
    (z, Sample::new(y, length, rows, &clusters).expect("columns of one length"))
}

fn random_share(random: &mut impl Rng) -> f64 {
    random.random()
}

/// Share of `simulations` with p < .05 where the feature does nothing, and where an oracle that knows the
/// estimate's standard deviation sees it in about four of five.
fn worlds(simulations: usize) {
    println!(
        "{LABELS} labels; share of {simulations} simulations with p < .05: without an effect (5 % is right), and with one beside"
    );
    println!("an oracle's share, who knows the standard deviation of the estimate");
    println!(
        "{:<12} {:<22} {:<10} {:>9} {:>9} {:>9}",
        "prompts", "annotators", "labels", "null", "power", "oracle"
    );
    let shares = [
        (1, Shares::Equal),
        (2, Shares::Equal),
        (3, Shares::Equal),
        (3, Shares::One(0.98)),
        (8, Shares::Equal),
        (8, Shares::Zipf),
        (8, Shares::One(0.9)),
        (50, Shares::Equal),
        (50, Shares::Zipf),
        (50, Shares::One(0.9)),
        (5000, Shares::Equal),
        (5000, Shares::Zipf),
    ];
    for prompts in [Prompts::One, Prompts::Four, Prompts::Unequal, Prompts::Thirty] {
        for (annotators, share) in shares {
            for differ in [false, true] {
                // Few people are taken as they are; where they are a sample, their tastes differ.
                let sampled = matches!((annotators, share), (8.., Shares::Equal | Shares::Zipf));
                let by_annotator = if differ && sampled { 0.3 } else { 0.0 };
                let by_prompt = if differ && !matches!(prompts, Prompts::One) { 1.0 } else { 0.0 };
                if differ && by_annotator == 0.0 && by_prompt == 0.0 {
                    continue;
                }
                let world = Mix { annotators, shares: share, prompts, by_annotator, by_prompt };
                let run = |slope: f64| -> Vec<(f64, f64)> {
                    (0..simulations as u64)
                        .into_par_iter()
                        .map(|number| {
                            let name = format!("{world:?} {slope}");
                            let (z, sample) = mix(world, slope, &mut rng::stream(number, &name));
                            let effect = effects::feature_effect(&z, &sample, Control::Length);
                            (effect.beta, effect.beta_p_clustered)
                        })
                        .collect()
                };
                let significant = |found: &[(f64, f64)]| {
                    found.iter().filter(|(_, p)| *p < 0.05).count() as f64 / found.len() as f64
                };
                let spread = |found: &[(f64, f64)]| {
                    let n = found.len() as f64;
                    let mean = found.iter().map(|f| f.0).sum::<f64>() / n;
                    (found.iter().map(|f| (f.0 - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
                };
                let null = run(0.0);
                // β is per standard deviation of the feature, which is √.4.
                let effect = run(2.8 * spread(&null) / 0.4_f64.sqrt());
                let sd = spread(&effect);
                let oracle =
                    effect.iter().filter(|f| f.0.abs() > 1.96 * sd).count() as f64 / effect.len() as f64;
                println!(
                    "{:<12} {:<22} {:<10} {:>7.1} % {:>7.1} % {:>7.1} %",
                    format!("{prompts:?}"),
                    format!("{annotators} {share:?}"),
                    if differ { "correlated" } else { "coins" },
                    100.0 * significant(&null),
                    100.0 * significant(&effect),
                    100.0 * oracle
                );
            }
        }
    }
}

/// Figures of features that were confirmed among a hundred: as they come from all labels, and cross-fitted.
fn crossfit(simulations: usize) {
    const TESTS: f64 = 100.0;
    let bar = 0.04 / TESTS;
    let world = Mix {
        annotators: 1,
        shares: Shares::Equal,
        prompts: Prompts::Four,
        by_annotator: 0.0,
        by_prompt: 0.5,
    };
    println!("Δ win rate of features that are confirmed among {TESTS}: mean and coverage of 95 % intervals");
    println!("{:>6} {:>10} {:>8} {:>22} {:>22}", "slope", "confirmed", "truth", "all labels", "cross-fitted");
    let (mut printed, mut covered) = (0, 0);
    for slope in [0.15, 0.2, 0.25, 0.3, 0.4, 0.6] {
        // The truth: the same estimator on many times the labels.
        let truths: Vec<f64> = (0..300_u64)
            .into_par_iter()
            .map(|number| {
                let (z, sample) = mix(world, slope, &mut rng::stream(number, "crossfit truth"));
                effects::feature_effect(&z, &sample, Control::Length).win.value
            })
            .collect();
        let truth = truths.iter().sum::<f64>() / truths.len() as f64;
        let found: Vec<Option<[f64; 6]>> = (0..simulations as u64)
            .into_par_iter()
            .map(|number| {
                let (z, sample) = mix(world, slope, &mut rng::stream(number, &format!("crossfit {slope}")));
                let all = effects::feature_effect(&z, &sample, Control::Length);
                if !(all.beta_p_clustered < bar && all.beta > 0.0) {
                    return None;
                }
                let fold: Vec<u8> = (0..sample.len()).map(|row| (row / 4 % 5) as u8).collect();
                let own =
                    effects::crossfit::cross_fitted((&z, &z), &sample, Control::Length, &fold, bar, 1.0)?;
                Some([all.win.value, all.win.low, all.win.high, own.win.value, own.win.low, own.win.high])
            })
            .collect();
        let found: Vec<[f64; 6]> = found.into_iter().flatten().collect();
        let n = found.len().max(1) as f64;
        let mean = |at: usize| found.iter().map(|f| f[at]).sum::<f64>() / n;
        let hits = |at: usize| found.iter().filter(|f| f[at] <= truth && truth <= f[at + 1]).count();
        printed += found.len();
        covered += hits(4);
        println!(
            "{slope:>6} {:>8.1} % {truth:>8.3} {:>10.3}, {:>6.1} % {:>12.3}, {:>6.1} %",
            100.0 * n / simulations as f64,
            mean(0),
            100.0 * hits(1) as f64 / n,
            mean(3),
            100.0 * hits(4) as f64 / n
        );
    }
    println!(
        "cross-fitted, all that is confirmed: {:.1} %",
        100.0 * f64::from(covered as u32) / f64::from(printed as u32)
    );
}

/// Labels of the sample in random groups: how often `compare` claims a difference.
fn compare(draws: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prepared = prepare(folder.path(), 1);
    let features = &prepared.described.features;
    for groups in [2, 4, 12] {
        let claims: Vec<bool> = (0..draws)
            .into_par_iter()
            .map(|draw| {
                let mut random = rng::stream(draw as u64, "random groups");
                let mut judgements = vec![Vec::new(); groups];
                for at in 0..prepared.pairs.judgements.label.len() as u32 {
                    judgements[random.random_range(0..groups)].push(at);
                }
                let parts: Vec<wimhf::compare::Part<'_>> = (judgements.into_iter().enumerate())
                    .map(|(at, judgements)| wimhf::compare::Part {
                        name: at.to_string(),
                        dataset: "sample".into(),
                        pairs: &prepared.pairs,
                        activations: &prepared.described.activations,
                        judgements,
                    })
                    .collect();
                let same: Vec<&[wimhf::describe::Feature]> = vec![features; groups];
                wimhf::compare::compare(&parts, &wimhf::compare::known(&same)).iter().any(|row| row.differs)
            })
            .collect();
        let claimed = claims.iter().filter(|any| **any).count();
        println!("{groups} random groups: {claimed} of {draws} comparisons claim a difference (Holm 1 %)");
    }
}

/// The sample up to its features.
fn prepare(folder: &std::path::Path, run_seed: u64) -> analyze::DescribedRun {
    let request = Request {
        data: vec![format!("{}/data/sample.parquet", env!("CARGO_MANIFEST_DIR"))],
        out: folder.join(run_seed.to_string()),
        config: Config { seed: run_seed, ..Config::default() },
        device: DeviceChoice::Cpu,
        save_embeddings: None,
        force: false,
        spending: wimhf::llm::open::LlmOptions::default(),
    };
    analyze::measure(&request, &mut Silent).expect("the sample is sound")
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
    let (mut runs, mut with) = (0, 0);
    for run_seed in 1..=4 {
        let prepared = prepare(folder.path(), run_seed);
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
