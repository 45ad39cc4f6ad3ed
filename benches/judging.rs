//! Choosing and measuring descriptions with a simulated judge, beside the reference's scheme.
//!
//!     cargo bench --bench judging                 20 worlds of 32 features × 5 candidates
//!     cargo bench --bench judging -- 50           so many worlds
//!
//! The judge knows which response a statement is truer of, errs at random in 15 % of its answers and, with
//! position bias, names the first response in a share of them whatever is there. The reference asks 300
//! pairs for each candidate, one order, and reports the best candidate's figure on the pairs it was chosen
//! on. A scheme's true fidelity is what it would measure on all pairs.

use rand::{Rng, RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use wimhf::describe::judging::{Answers, Call, Candidate, Judge, Plan, Reading, choose, fidelity, measure};
use wimhf::matrix::Matrix;
use wimhf::rng;
use wimhf::statistics::correlation::pearson;

const FEATURES: usize = 32;
const CANDIDATES: usize = 5;
/// Pairs that schemes may ask about: one half to choose on, one to measure on.
const ASKED: usize = 8_000;
/// Further pairs, on which the truth is read.
const PAIRS: usize = 24_000;
const NOISE: f64 = 0.15;

fn normal(random: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Activations, and which response each statement is truer of.
struct World {
    z: Matrix,
    /// `[statements][pairs]`
    truth: Vec<Vec<f32>>,
}

impl World {
    fn new(number: u64) -> Self {
        let mut random = rng::stream(number, "judged world");
        let mut z = Matrix::zeros(PAIRS, FEATURES);
        for value in &mut z.values {
            // Active in an eighth of the pairs, as K = 4 of M = 32.
            let x = normal(&mut random);
            if x.abs() > 1.534 {
                *value = (x.signum() * (x.abs() - 1.034)) as f32;
            }
        }
        let mut truth = Vec::new();
        for feature in 0..FEATURES {
            let quality = random.random_range(0.1..0.9);
            for _ in 0..CANDIDATES {
                let strength = quality * random.random_range(0.5..1.0);
                let of = |pair: usize, random: &mut ChaCha8Rng| {
                    let signal = f64::from(z.row(pair)[feature]) / 0.9;
                    let score = strength * signal + (1.0 - strength) * normal(random);
                    if score.abs() > 0.35 { score.signum() as f32 } else { 0.0 }
                };
                truth.push((0..PAIRS).map(|pair| of(pair, &mut random)).collect());
            }
        }
        Self { z, truth }
    }
}

struct Simulated<'a> {
    world: &'a World,
    bias: f64,
    random: ChaCha8Rng,
    calls: usize,
}

impl Simulated<'_> {
    /// 1 for the first response, −1 for the second, 0 for a tie.
    fn one(&mut self, statement: usize, pair: usize, swapped: bool) -> f32 {
        let truth = self.world.truth[statement][pair];
        let seen = if swapped { -truth } else { truth };
        let said = if self.random.random::<f64>() < NOISE {
            f32::from(self.random.random_range(-1i8..=1))
        } else {
            seen
        };
        if self.random.random::<f64>() < self.bias { 1.0 } else { said }
    }
}

impl Judge for Simulated<'_> {
    type Error = std::convert::Infallible;

    fn answer(&mut self, calls: &[Call], _: &[String]) -> Result<Vec<Answers>, Self::Error> {
        self.calls += calls.len();
        let mut all = Vec::with_capacity(calls.len());
        for call in calls {
            let mut answers = Answers::new();
            for question in &call.questions {
                let of = |s: &u32| Some((*s as usize, question.pair as usize));
                answers.push(
                    question
                        .statements
                        .iter()
                        .filter_map(of)
                        .map(|(statement, pair)| Some(self.one(statement, pair, call.swapped)))
                        .collect(),
                );
            }
            all.push(answers);
        }
        Ok(all)
    }
}

/// What a scheme reports of one feature.
#[derive(Clone, Copy)]
struct Outcome {
    right: bool,
    error: f64,
    /// How much worse the chosen candidate is than the best.
    regret: f64,
}

#[derive(Default)]
struct Scheme {
    outcomes: Vec<Outcome>,
    calls: usize,
    reported: Vec<f64>,
}

fn lists() -> Vec<Vec<Candidate>> {
    (0..FEATURES)
        .map(|feature| {
            (0..CANDIDATES)
                .map(|c| Candidate { statement: (feature * CANDIDATES + c) as u32, sign: 1.0 })
                .collect()
        })
        .collect()
}

/// Active pairs of a feature among some.
fn active(world: &World, feature: usize, pairs: &[u32]) -> Vec<u32> {
    pairs.iter().copied().filter(|&pair| world.z.row(pair as usize)[feature] != 0.0).collect()
}

/// The figure that a scheme gives on many fresh pairs, averaged over several readings.
fn true_fidelity(
    world: &World,
    bias: f64,
    feature: usize,
    statement: usize,
    both: bool,
    readings: usize,
) -> f64 {
    let fresh: Vec<u32> = (ASKED as u32..PAIRS as u32).collect();
    let pairs = active(world, feature, &fresh);
    let mut judge = Simulated { world, bias, random: rng::stream(statement as u64, "truth"), calls: 0 };
    if both {
        let z: Vec<f64> = pairs.iter().map(|&pair| f64::from(world.z.row(pair as usize)[feature])).collect();
        let of_pairs = |judge: &mut Simulated| {
            let readings: Vec<Reading> = pairs
                .iter()
                .map(|&pair| Reading {
                    pair,
                    a_first: judge.one(statement, pair as usize, false),
                    b_first: judge.one(statement, pair as usize, true),
                })
                .collect();
            fidelity(&z, &readings, bias).r
        };
        return (0..readings).map(|_| of_pairs(&mut judge)).sum::<f64>() / readings as f64;
    }
    let of_pairs = |judge: &mut Simulated| {
        let (x, y): (Vec<f64>, Vec<f64>) = pairs
            .iter()
            .map(|&pair| {
                let swapped = judge.random.random::<bool>();
                let said = judge.one(statement, pair as usize, swapped);
                (
                    f64::from(world.z.row(pair as usize)[feature]),
                    f64::from(if swapped { -said } else { said }),
                )
            })
            .unzip();
        pearson(&x, &y).r
    };
    (0..2 * readings).map(|_| of_pairs(&mut judge)).sum::<f64>() / (2 * readings) as f64
}

/// The reference: 300 pairs for every candidate, random order, chosen and reported on the same.
fn reference(world: &World, bias: f64, number: u64) -> Scheme {
    let mut judge = Simulated { world, bias, random: rng::stream(number, "reference"), calls: 0 };
    let all: Vec<u32> = (0..ASKED as u32 / 2).collect();
    let mut scheme = Scheme::default();
    for feature in 0..FEATURES {
        let mut pairs = active(world, feature, &all);
        pairs.shuffle(&mut judge.random);
        pairs.truncate(300);
        let mut figures = Vec::new();
        for candidate in 0..CANDIDATES {
            let statement = feature * CANDIDATES + candidate;
            let (x, y): (Vec<f64>, Vec<f64>) = pairs
                .iter()
                .map(|&pair| {
                    let z = f64::from(world.z.row(pair as usize)[feature]);
                    let swapped = judge.random.random::<bool>();
                    let said = judge.one(statement, pair as usize, swapped);
                    (z, f64::from(if swapped { -said } else { said }))
                })
                .unzip();
            scheme.calls += pairs.len();
            figures.push(pearson(&x, &y).r);
        }
        let best = (0..CANDIDATES).max_by(|&a, &b| figures[a].total_cmp(&figures[b])).unwrap_or(0);
        scheme.note(world, bias, feature, best, figures[best], false);
    }
    scheme
}

impl Scheme {
    fn note(&mut self, world: &World, bias: f64, feature: usize, chosen: usize, reported: f64, both: bool) {
        let truth: Vec<f64> = (0..CANDIDATES)
            .map(|c| true_fidelity(world, bias, feature, feature * CANDIDATES + c, both, 4))
            .collect();
        let best = (0..CANDIDATES).max_by(|&a, &b| truth[a].total_cmp(&truth[b])).unwrap_or(0);
        self.outcomes.push(Outcome {
            right: best == chosen,
            error: reported - truth[chosen],
            regret: truth[best] - truth[chosen],
        });
        self.reported.push(reported);
    }
}

/// Ours, as `analyze --describer model` does it.
fn ours(world: &World, bias: f64, number: u64, plan: &Plan) -> Scheme {
    let mut judge = Simulated { world, bias, random: rng::stream(number, "ours"), calls: 0 };
    let statements = vec![String::new(); FEATURES * CANDIDATES];
    let describe: Vec<u32> = (0..ASKED as u32 / 2).collect();
    let held_out: Vec<u32> = (ASKED as u32 / 2..ASKED as u32).collect();
    let mut random = rng::stream(number, "plan");
    let lists = lists();
    let Ok((chosen, _)) = choose(&mut judge, &statements, &world.z, &describe, &lists, plan, &mut random);
    let winners: Vec<Option<Candidate>> =
        chosen.iter().zip(&lists).map(|(chosen, list)| Some(list[(*chosen)?.candidate])).collect();
    let Ok((measured, _)) =
        measure(&mut judge, &statements, &world.z, &held_out, &winners, plan, &mut random);
    let mut scheme = Scheme { calls: judge.calls, ..Scheme::default() };
    for (feature, (chosen, found)) in chosen.iter().zip(measured).enumerate() {
        if let (Some(chosen), Some(found)) = (chosen, found) {
            scheme.note(world, bias, feature, chosen.candidate, found.r, true);
        }
    }
    scheme
}

fn main() {
    let worlds: u64 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(20);
    let plan = Plan::default();
    println!("{worlds} worlds (seeds 1-{worlds}) × {FEATURES} features × {CANDIDATES} candidates; {plan:?}");
    println!(
        "{:<12} {:>6} {:>8} {:>14} {:>12} {:>18} {:>14}",
        "scheme", "bias", "calls", "right chosen", "regret", "reported − true", "RMS error"
    );
    for bias in [0.0, 0.2] {
        let run = |of: &(dyn Fn(&World, u64) -> Scheme + Sync)| -> Vec<Scheme> {
            (1..=worlds).into_par_iter().map(|number| of(&World::new(number), number)).collect()
        };
        let both = [
            ("reference", run(&|world, number| reference(world, bias, number))),
            ("wimhf", run(&|world, number| ours(world, bias, number, &plan))),
        ];
        for (name, schemes) in both {
            let outcomes: Vec<Outcome> = schemes.iter().flat_map(|s| s.outcomes.iter().copied()).collect();
            let n = outcomes.len() as f64;
            let mean = |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / n;
            let calls = schemes.iter().map(|s| s.calls).sum::<usize>() as f64 / schemes.len() as f64;
            let worst = schemes.iter().map(|s| s.calls).max().unwrap_or(0);
            let error = mean(&|o| o.error);
            let spread = (mean(&|o| (o.error - error).powi(2)) / n).sqrt();
            println!(
                "{name:<12} {bias:>6} {calls:>8.0} {:>12.1} % {:>12.4} {error:>10.4} ± {:.4} {:>14.4}   most calls {worst}",
                100.0 * mean(&|o| f64::from(u8::from(o.right))),
                mean(&|o| o.regret),
                1.96 * spread,
                mean(&|o| o.error * o.error).sqrt(),
            );
        }
    }
    // Position alone: each statement's true fidelity with and without bias.
    let world = World::new(1);
    let moved: Vec<f64> = (0..FEATURES * CANDIDATES)
        .into_par_iter()
        .map(|statement| {
            let feature = statement / CANDIDATES;
            let with = |bias| true_fidelity(&world, bias, feature, statement, true, 100);
            with(0.2) - with(0.0)
        })
        .collect();
    let mean = moved.iter().sum::<f64>() / moved.len() as f64;
    let largest = moved.iter().fold(0.0_f64, |max, m| max.max(m.abs()));
    println!(
        "a judge that names the first response in a fifth of its answers: fidelities move by {mean:.4} on average, \
         {largest:.4} at most (100 readings of 2,000 pairs each)"
    );
}
