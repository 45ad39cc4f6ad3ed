//! What the learned features are worth, measured by whole analyses: planted attributes found, how sparse the features
//! are, how well they predict labels, how many have words and how many lead a principle.
//!
//!     python benches/peers/planted.py known.parquet --pairs 8000
//!     python benches/peers/planted.py unknown.parquet --pairs 6000 --kind unknown
//!     cargo bench --bench features -- known.parquet unknown.parquet ../shared/data/hh_harmless_base_test.parquet
//!     cargo bench --bench features -- --seeds 1 --modes sentences --embedder FOLDER hh.parquet
//!
//! Where `NAME_attributes.parquet` lies beside `NAME.parquet`, an attribute is found when some feature correlates with
//! its difference at |r| > .5 (.7) on held-out pairs. `difference` is the paper's method by itself. AUCs are on labels
//! that the fit has not seen; every set of features has length beside it. Density: presence at the clear level, in all
//! pairs. Confirmed: learned and dictionary features that pass Holm over all features, on all labels.

use std::path::{Path, PathBuf};

use polars::prelude::*;
use wimhf::Observer;
use wimhf::config::{Config, SaeMode};
use wimhf::describe::FeatureSource;
use wimhf::ops::analyze::{self, Request};
use wimhf::pairs::Split;
use wimhf::run::Run;
use wimhf::sae::DeviceChoice;

struct Silent;

impl Observer for Silent {
    fn stage(&mut self, _: &str, _: usize) {}
    fn advance(&mut self, _: usize) {}
    fn finished(&mut self, _: &str, _: f64, _: bool) {}
    fn note(&mut self, _: &str) {}
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let mut seeds = vec![1, 2, 3];
    let mut modes = vec![SaeMode::Sentences, SaeMode::Difference];
    let mut embedder = "boxed".to_owned();
    let mut sets = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().expect("a value").clone();
        match argument.as_str() {
            "--seeds" => seeds = value().split(',').map(|seed| seed.parse().expect("a number")).collect(),
            "--modes" => {
                let all = [SaeMode::Sentences, SaeMode::Difference];
                modes = value().split(',').filter_map(|v| all.into_iter().find(|m| m.name() == v)).collect();
            }
            "--embedder" => embedder = value(),
            set => sets.push(PathBuf::from(set)),
        }
    }
    if sets.is_empty() {
        println!("name data sets; see the head of benches/features.rs");
        return;
    }
    println!(
        "| set | mode | seed | attributes > .5 / > .7 | active in, median [2–35 %] | with words | confirmed | principles by learned | AUC length | learned + dictionary | TF-IDF | all | probe | s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for set in &sets {
        for mode in &modes {
            for &seed in &seeds {
                one(set, *mode, seed, &embedder);
            }
        }
    }
}

fn one(set: &Path, mode: SaeMode, seed: u64, embedder: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config { seed, ..Config::default() };
    config.sae.mode = mode;
    config.embed.embedder = embedder.to_owned();
    let request = Request {
        data: vec![set.display().to_string()],
        out: folder.path().join("run"),
        config,
        device: DeviceChoice::Cpu,
        save_embeddings: None,
        force: false,
        spending: wimhf::llm::open::LlmOptions::default(),
    };
    let started = std::time::Instant::now();
    let analysis = analyze::analyze(&request, &mut Silent).expect("an analysis");
    let seconds = started.elapsed().as_secs_f64();
    let run = Run::open(&request.out).expect("a run");
    let described = run.described().expect("its features");
    let source = run.source().expect("its data");
    let found: Vec<usize> =
        (0..described.features.len()).filter(|&f| described.features[f].source.is_found()).collect();

    let attributes = attributes(set, &source.pairs).map_or("–".to_owned(), |truth| {
        let held: Vec<usize> = (0..source.sides.len()).filter(|&p| source.sides[p] == Split::Test).collect();
        let best: Vec<f64> = truth
            .iter()
            .map(|attribute| {
                let y: Vec<f64> = held.iter().map(|&pair| attribute[pair]).collect();
                let r = |feature: &usize| {
                    let z: Vec<f64> =
                        held.iter().map(|&p| f64::from(described.activations.row(p)[*feature])).collect();
                    let r = wimhf::effects::pearson(&z, &y).r.abs();
                    if r.is_finite() { r } else { 0.0 }
                };
                found.iter().map(r).fold(0.0, f64::max)
            })
            .collect();
        let above = |least: f64| best.iter().filter(|r| **r > least).count();
        format!("{} / {} of {}", above(0.5), above(0.7), best.len())
    });
    let pairs = described.presence.rows().max(1) as f64;
    let mut shares: Vec<f64> = found
        .iter()
        .map(|&f| described.presence.column(f).iter().filter(|z| **z != 0.0).count() as f64 / pairs)
        .collect();
    shares.sort_by(f64::total_cmp);
    let within = shares.iter().filter(|share| (0.02..=0.35).contains(*share)).count() as f64;
    let kept = found.iter().filter(|&&f| described.features[f].kept).count();
    let by_learned = (analysis.findings.principles.iter())
        .filter_map(|p| p.feature_ids.first())
        .filter(|id| {
            let feature = described.features.iter().find(|f| f.feature_id == **id);
            feature.is_some_and(|f| f.source.is_found() && f.source != FeatureSource::Known)
        })
        .count();
    let bar = 0.8 * wimhf::config::PrincipleConfig::default().alpha;
    let passes = |f: &&usize| run.effects.holm.get(**f).copied().flatten().is_some_and(|p| p < bar);
    let spoken = |f: &&usize| described.features[**f].source != FeatureSource::Difference;
    let confirmed = found.iter().filter(spoken).filter(passes).count();
    let auc = |rung: &str| match analysis.manifest.metrics.auc.get(rung).copied().flatten() {
        Some(figure) => format!("{:.3}", figure.value),
        None => "–".into(),
    };
    println!(
        "| {} | {} | {seed} | {attributes} | {:.2} [{:.2}] | {kept} of {} | {confirmed} | {by_learned} of {} | {} | {} | {} | {} | {} | {seconds:.0} |",
        set.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
        mode.name(),
        shares.get(shares.len() / 2).copied().unwrap_or(0.0),
        within / found.len().max(1) as f64,
        found.len(),
        analysis.findings.principles.len(),
        auc("length"),
        auc("learned"),
        auc("tfidf"),
        if auc("all") == "–" { auc("learned_and_known") } else { auc("all") },
        auc("embedding"),
    );
}

/// Differences A − B of the planted attributes, as the run has its pairs; `None` where nothing was planted.
fn attributes(set: &Path, pairs: &wimhf::pairs::Pairs) -> Option<Vec<Vec<f64>>> {
    let stem = set.file_stem()?.to_string_lossy();
    let file = std::fs::File::open(set.with_file_name(format!("{stem}_attributes.parquet"))).ok()?;
    let table = ParquetReader::new(file).finish().ok()?;
    let column = |name: &str| -> Option<Vec<f64>> {
        let column = table.column(name).ok()?.cast(&DataType::Float64).ok()?;
        Some(column.f64().ok()?.iter().map(|value| value.unwrap_or(0.0)).collect())
    };
    let names: Vec<String> =
        table.get_column_names().iter().filter_map(|n| n.strip_suffix("_a")).map(str::to_owned).collect();
    let mut found = Vec::new();
    for name in names {
        let (a, b) = (column(&format!("{name}_a"))?, column(&format!("{name}_b"))?);
        let mut values = vec![0.0; pairs.pair_id.len()];
        let judgements = &pairs.judgements;
        for (at, &pair) in judgements.pair.iter().enumerate() {
            let row = judgements.row[at] as usize;
            let turn = if judgements.swapped[at] { -1.0 } else { 1.0 };
            values[pair as usize] = turn * (a[row] - b[row]);
        }
        found.push(values);
    }
    Some(found)
}
