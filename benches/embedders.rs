//! What embedders are worth on a dataset: how well a linear probe on the deltas predicts held-out labels.
//!
//!     cargo bench --bench embedders -- DATA EMBEDDER...
//!     cargo bench --bench embedders -- ../shared/data/hh_harmless_base_test.parquet boxed ~/models/all-MiniLM-L6-v2
//!
//! EMBEDDER as for `wimhf analyze --embedder`. Prints the table of docs/embedders.md. The split is that of the
//! reference's figures, 60 % train and 40 % held out, prompts kept whole; the probe is L2-penalised logistic regression
//! on the raw deltas with C = 1. One split of a small dataset says little, so it is done for twenty; their standard
//! deviation is given, and the 95 % interval of the first of them.

use wimhf::config::EmbedConfig;
use wimhf::context::{Context, Observer};
use wimhf::embed::{self, Embedding, Hardware, Recipe};
use wimhf::pairs::{self, Pairs, ReadOptions};

#[path = "support/probe.rs"]
mod probe;

/// The program's allocator, without which its times would not be the program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SPLITS: u64 = 20;

struct Silent;

impl Observer for Silent {
    fn note(&mut self, text: &str) {
        eprintln!("{text}");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let (data, embedders) = match arguments.split_first() {
        Some((data, embedders)) if !embedders.is_empty() => (data.clone(), embedders.to_vec()),
        _ => {
            let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/data/sample.parquet");
            (sample.to_owned(), vec!["boxed".to_owned()])
        }
    };
    let (pairs, _) = match pairs::read(&data, &ReadOptions::default()) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    let name = data.rsplit('/').next().unwrap_or_default();
    println!("\n{name}: {} pairs, {SPLITS} splits 60/40\n", pairs.pair_id.len());
    println!(
        "| embedder | dimensions | AUC of the probe, mean ± sd over splits | first split, 95 % interval |"
    );
    println!("|---|---|---|---|");
    for embedder in &embedders {
        if let Err(error) = row(&pairs, embedder) {
            eprintln!("{error}");
            std::process::exit(2);
        }
    }
}

fn row(pairs: &Pairs, name: &str) -> Result<(), embed::EmbedError> {
    let settings = EmbedConfig { embedder: name.to_owned(), ..EmbedConfig::default() };
    let opened = embed::open(&settings, Hardware::Cpu, 0, &Context::default(), &mut ())?;
    let recipe = Recipe::default();
    let deltas = Embedding::new(pairs, opened.embedder.as_ref(), &recipe, &Context::default(), &mut Silent)?
        .deltas(&mut Silent)?;
    let figures: Vec<_> = (0..SPLITS).map(|seed| probe::auc(pairs, &deltas, seed)).collect();
    let mean = figures.iter().map(|figure| figure.value).sum::<f64>() / figures.len() as f64;
    let variance = figures.iter().map(|figure| (figure.value - mean).powi(2)).sum::<f64>();
    let sd = (variance / (figures.len() - 1) as f64).sqrt();
    let first = &figures[0];
    let short = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name);
    println!(
        "| {short} | {} | {mean:.3} ± {sd:.3} | {:.3} [{:.3}, {:.3}], n = {} |",
        deltas.cols, first.value, first.low, first.high, first.n
    );
    Ok(())
}
