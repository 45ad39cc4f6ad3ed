//! The autoencoder over sentences: what it finds, how sparse it is, how fast it is.
//!
//!     cargo bench --bench sentences -- DATA [ATTRIBUTES] [features=M] [active=K] [seeds=N] [embedder=E] [NAME=VALUE …]
//!
//! DATA is anything `wimhf analyze` reads; ATTRIBUTES is the truth of `benches/peers/planted.py`, columns `NAME_a`,
//! `NAME_b` in the order of rows. For each seed features are learned on the sentences of 55 % of the pairs (prompts
//! kept whole) and everything is measured on the others: the largest |r| of any feature with each planted attribute's
//! difference, the share of pairs in which a feature differs, the AUC of an L2 logistic on the features and the
//! word-count difference, and how well the first seed's features come back. Other settings of the autoencoder may be
//! given by name: batch, learning_rate, epochs_max, epochs_min, patience, improvement, dead_after, auxiliary_weight,
//! prefixes (with `+` between them).

use wimhf::config::EmbedConfig;
use wimhf::context::{Context, Observer};
use wimhf::effects::table::LabelledSample;
use wimhf::effects::{self, penalised};
use wimhf::embed::{self, Hardware, embed_texts};
use wimhf::matrix::Matrix;
use wimhf::pairs::{self, Pairs, ReadOptions, Split};
use wimhf::sae::{
    Compute, Control, SaeConfig, SentenceSae, SparseRows, clear_levels, sentence_config, train_sentences,
};
use wimhf::sentences::{SentenceTable, Which, weighted};

/// The program's allocator, without which its times would not be the program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Silent;

impl Observer for Silent {
    fn note(&mut self, text: &str) {
        eprintln!("{text}");
    }
}

fn main() {
    if let Err(error) = bench() {
        eprintln!("{error}");
        std::process::exit(2);
    }
}

fn bench() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let (named, files): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|a| a.contains('='));
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/data/sample.parquet").to_owned();
    let data = files.first().map_or(&sample, |file| file);
    let value = |name: &str| named.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| value(name).and_then(|text| text.parse::<f64>().ok());

    let (pairs, _) = pairs::read(data, &ReadOptions::default())?;
    let table = SentenceTable::of_pairs(&pairs);
    let settings =
        EmbedConfig { embedder: value("embedder").unwrap_or("boxed").into(), ..EmbedConfig::default() };
    let opened = embed::open(&settings, Hardware::Cpu, 0, &Context::default(), &mut ())?;
    let (vectors, _) = embed_texts(
        opened.embedder.as_ref(),
        table.len(),
        &|i| table.text(i),
        &Context::default(),
        &mut Silent,
    )?;
    let truth = files.get(1).map(|file| attributes(file, &pairs)).transpose()?;
    println!("{data}: {} pairs, {} different sentences", pairs.pair_id.len(), table.len());

    let mut first: Option<SentenceSae> = None;
    for seed in 0..number("seeds").unwrap_or(1.0) as u64 {
        let (sides, _) = pairs::split(&pairs, [0.55, 0.0, 0.45], seed)?;
        let (learned, judged, unseen) = parts(&table, &sides);
        let config = configured(sentence_config(&learned, seed), &number, value("prefixes"));
        let began = std::time::Instant::now();
        let (sae, report) = train_sentences(
            &vectors,
            &learned,
            &judged,
            &unseen,
            &config,
            &Compute::cpu(),
            None,
            &mut |_| Control::Continue,
        )?;
        let seconds = began.elapsed().as_secs_f64();
        let z = sae.activations(&vectors)?;
        println!(
            "seed {seed}: M {} K {}, {} sentences, {} epochs (best {}), {seconds:.2} s ({:.1} s per epoch and million); NMSE {:.3}, {:.2} active, {} dead{}",
            report.features,
            report.active,
            report.rows,
            report.epochs,
            report.best_epoch,
            seconds / report.epochs.max(1) as f64 / report.rows as f64 * 1e6,
            report.nmse,
            report.active_mean,
            report.dead,
            first
                .as_ref()
                .map(|first| format!(", as in the first seed: {:.2}", alike(first, &sae)))
                .unwrap_or_default(),
        );
        measure(&pairs, &sides, &table, &z, truth.as_deref());
        first.get_or_insert(sae);
    }
    Ok(())
}

fn configured(
    mut config: SaeConfig,
    number: &dyn Fn(&str) -> Option<f64>,
    prefixes: Option<&str>,
) -> SaeConfig {
    if let Some(features) = number("features") {
        config.features = features as usize;
        config.prefixes = vec![config.features / 4, config.features];
    }
    let whole = |name: &str, old: usize| number(name).map_or(old, |value| value as usize);
    config.active = whole("active", config.active);
    config.batch = whole("batch", config.batch);
    config.epochs_max = whole("epochs_max", config.epochs_max);
    config.epochs_min = whole("epochs_min", config.epochs_min);
    config.patience = whole("patience", config.patience);
    config.dead_after = whole("dead_after", config.dead_after);
    config.learning_rate = number("learning_rate").unwrap_or(config.learning_rate);
    config.improvement = number("improvement").unwrap_or(config.improvement);
    config.auxiliary_weight = number("auxiliary_weight").unwrap_or(config.auxiliary_weight);
    if let Some(prefixes) = prefixes {
        config.prefixes = prefixes.split('+').filter_map(|prefix| prefix.parse().ok()).collect();
    }
    config
}

/// Sentences of the training pairs by weight, a twentieth of them to stop by, and those that stand in the others only.
fn parts(table: &SentenceTable, sides: &[Split]) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    let counts = table.counts(|slot| sides[slot % sides.len()] == Split::Train);
    let (seen, unseen): (Vec<u32>, Vec<u32>) = (0..table.len() as u32).partition(|&s| counts[s as usize] > 0);
    let (judged, learned) = seen.into_iter().enumerate().partition::<Vec<_>, _>(|(i, _)| i % 20 == 19);
    let plain = |rows: Vec<(usize, u32)>| rows.into_iter().map(|(_, row)| row).collect::<Vec<u32>>();
    let learned = plain(learned);
    let by_weight = weighted(learned.iter().map(|&s| counts[s as usize]));
    (by_weight.into_iter().map(|at| learned[at as usize]).collect(), plain(judged), unseen)
}

/// Mean over the features of `a` of the best cosine with a decoder row of `b`.
fn alike(a: &SentenceSae, b: &SentenceSae) -> f32 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    let best = |i| (0..b.features()).map(|j| dot(a.decoder.row(i), b.decoder.row(j))).fold(0.0, f32::max);
    (0..a.features()).map(best).sum::<f32>() / a.features() as f32
}

/// max over A's sentences − max over B's, `[pairs, features]`; activations below `levels` count as none.
fn by_pair(pairs: usize, table: &SentenceTable, z: &SparseRows, levels: Option<&[f32]>) -> Matrix {
    let mut out = Matrix::zeros(pairs, z.cols);
    let mut high = vec![0.0f32; z.cols];
    for pair in 0..pairs {
        for (which, sign) in [(Which::A, 1.0), (Which::B, -1.0)] {
            high.fill(0.0);
            for &sentence in table.response(pair, which) {
                let (index, value) = z.row(sentence as usize);
                for (&feature, &value) in index.iter().zip(value) {
                    if levels.is_none_or(|levels| value >= levels[feature as usize]) {
                        high[feature as usize] = high[feature as usize].max(value);
                    }
                }
            }
            out.row_mut(pair).iter_mut().zip(&high).for_each(|(out, high)| *out += sign * high);
        }
    }
    out
}

fn measure(
    pairs: &Pairs,
    sides: &[Split],
    table: &SentenceTable,
    z: &SparseRows,
    truth: Option<&[(String, Vec<f32>)]>,
) {
    let features = by_pair(sides.len(), table, z, None);
    let clear = by_pair(sides.len(), table, z, Some(&clear_levels(z)));
    let held: Vec<u32> =
        (0..sides.len() as u32).filter(|&pair| sides[pair as usize] == Split::Test).collect();
    let density = |features: &Matrix| {
        let features = features.select_rows(&held);
        let shares: Vec<f64> = (0..features.cols)
            .map(|j| features.column(j).iter().filter(|v| **v != 0.0).count() as f64 / held.len() as f64)
            .collect();
        let fit = shares.iter().filter(|share| (0.02..=0.35).contains(*share)).count();
        (shares.iter().sum::<f64>() / shares.len() as f64, fit as f64 / shares.len() as f64)
    };
    let ((mean, fit), (clear_mean, clear_fit)) = (density(&features), density(&clear));
    println!(
        "  a feature differs in {:.0} % of the pairs ({:.0} % of the features in 2–35 %), clearly in {:.0} % ({:.0} %)",
        100.0 * mean,
        100.0 * fit,
        100.0 * clear_mean,
        100.0 * clear_fit
    );
    println!("  AUC with length: {}", auc(pairs, &features, sides));
    let Some(truth) = truth else { return };
    let (mut half, mut seven, mut words) = (0, 0, Vec::new());
    for (name, values) in truth {
        let y: Vec<f32> = held.iter().map(|&pair| values[pair as usize]).collect();
        let r = (0..features.cols)
            .map(|j| {
                let x: Vec<f32> = held.iter().map(|&pair| features.row(pair as usize)[j]).collect();
                correlation(&x, &y).abs()
            })
            .fold(0.0, f64::max);
        half += usize::from(r > 0.5);
        seven += usize::from(r > 0.7);
        words.push(format!("{name} {r:.2}"));
    }
    println!("  {half} of {} attributes at |r| > .5, {seven} at > .7: {}", truth.len(), words.join(", "));
}

fn correlation(x: &[f32], y: &[f32]) -> f64 {
    let n = x.len() as f64;
    let mean = |v: &[f32]| v.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let (mx, my) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (f64::from(*x) - mx, f64::from(*y) - my);
        (xy, xx, yy) = (xy + x * y, xx + x * x, yy + y * y);
    }
    if xx * yy > 0.0 { xy / (xx * yy).sqrt() } else { 0.0 }
}

/// What an attribute is called, and its A − B per pair.
type Attribute = (String, Vec<f32>);

/// A − B of every attribute, per pair as it stands in [`Pairs`].
fn attributes(file: &str, pairs: &Pairs) -> Result<Vec<Attribute>, Box<dyn std::error::Error>> {
    use polars::prelude::*;
    let frame = ParquetReader::new(std::fs::File::open(file)?).finish()?;
    let names: Vec<String> = frame
        .get_column_names()
        .iter()
        .filter_map(|name| name.strip_suffix("_a").map(str::to_owned))
        .collect();
    let mut all = Vec::new();
    for name in names {
        let side = |side: &str| -> Result<Vec<f32>, PolarsError> {
            let column = frame.column(&format!("{name}_{side}"))?.cast(&DataType::Float32)?;
            Ok(column.f32()?.iter().map(|v| v.unwrap_or(0.0)).collect())
        };
        let (a, b) = (side("a")?, side("b")?);
        let mut values = vec![0.0; pairs.pair_id.len()];
        let judgements = &pairs.judgements;
        for ((&pair, &row), &swapped) in judgements.pair.iter().zip(&judgements.row).zip(&judgements.swapped)
        {
            let difference = a[row as usize] - b[row as usize];
            values[pair as usize] = if swapped { -difference } else { difference };
        }
        all.push((name, values));
    }
    Ok(all)
}

/// AUC on the held-out side of an L2 logistic on standardised features and the word-count difference.
fn auc(pairs: &Pairs, features: &Matrix, sides: &[Split]) -> String {
    let mut columns = Matrix::zeros(features.rows(), features.cols + 1);
    let train: Vec<u32> =
        (0..sides.len() as u32).filter(|&pair| sides[pair as usize] == Split::Train).collect();
    for j in 0..=features.cols {
        let raw: Vec<f32> = if j < features.cols { features.column(j) } else { pairs.length_delta.clone() };
        let square: f32 =
            train.iter().map(|&pair| raw[pair as usize].powi(2)).sum::<f32>() / train.len() as f32;
        let scale = square.sqrt().max(1e-9).recip();
        (0..features.rows()).for_each(|row| columns.row_mut(row)[j] = raw[row] * scale);
    }
    let sample = |side: Split| LabelledSample::on(pairs, sides, &[side]).sample;
    let (train, test) = (sample(Split::Train), sample(Split::Test));
    if train.is_empty() || test.is_empty() {
        return "no labels".into();
    }
    let mut best = String::new();
    for c in [0.003, 0.03] {
        let penalty = penalised::Penalty { c, ..penalised::Penalty::default() };
        let Ok(probe) = penalised::fit(&columns, train.row(), train.y(), &penalty) else {
            return "no fit".into();
        };
        if let Some(figure) = effects::auc(&probe.score(&columns, test.row()), test.y(), test.clusters()) {
            best += &format!("{:.3} (C = {c})  ", figure.value);
        }
    }
    best
}
