//! Descriptions by language models: written from examples, chosen and measured by a judge.
//!
//! For every learned feature several descriptions are written, each from another draw of examples on
//! `train` pairs. They compete with the offline describer's own ([`super::describe`]) on `describe` pairs, and
//! the fidelity of the winner is measured once, on `held_out` pairs (METHOD §4; see [`super::judging`]).

use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::SliceRandom;

use super::feature::{Described, Feature, FeatureSource};
use super::judging::{self, Candidate, Plan};
use super::known::{Concept, ConceptBank};
use super::model_judge::{CountingJudge, ModelJudge, Wording};
use super::presence::Firing;
use super::setting::strongest;
use crate::config::DescribeConfig;
use crate::context::Observer;
use crate::embed::{Embedder, bundled::BundledEmbedder};
use crate::llm::chat::{ChatModel, LanguageError};
use crate::llm::prompts::Prompts;
use crate::llm::spending::UsageEstimate;
use crate::llm::tokens;
use crate::llm::write::{self, Examples};
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Split};
use crate::rng;
use crate::statistics::correlation::Correlation;

/// Descriptions written for a feature.
pub const DRAWS: usize = 5;
/// Pairs with the feature, and silent ones, that a writer sees.
const WITH: usize = 6;
const SILENT: usize = 3;
/// Share of the active pairs that counts as strongly active, and how many they are at least.
const STRONG: f64 = 0.05;
const STRONG_LEAST: usize = 24;
/// Cosine of two descriptions' embeddings beyond which they say the same.
const SYNONYMS: f64 = 0.9;
/// Stands for a description that is not written yet, when the bill is made: of usual length.
const BLANK: &str = "explains each point with concrete steps or examples";

/// Why nothing more could be described.
pub type WrittenError = LanguageError;

/// The models, and what they are told.
pub struct Models<'a> {
    /// Writes.
    pub writer: &'a mut ChatModel,
    /// Judges.
    pub judge: &'a mut ChatModel,
    /// Their prompts.
    pub prompts: &'a Prompts,
}

/// What descriptions are written from.
#[derive(Clone, Copy)]
pub struct Dataset<'a> {
    /// The pairs.
    pub pairs: &'a Pairs,
    /// The side of each.
    pub sides: &'a [Split],
    /// What fires in their sentences.
    pub firing: &'a Firing,
}

/// How pairs are drawn for each purpose.
struct Draws {
    examples: Vec<Examples>,
    choose: Vec<u32>,
    held_out: Vec<u32>,
}

fn draws(dataset: Dataset<'_>, described: &Described, z: &Matrix, seed: u64) -> Draws {
    let Dataset { pairs, sides, firing } = dataset;
    let on = |side: Split| -> Vec<u32> {
        (0u32..).zip(sides).filter(|(_, at)| **at == side).map(|(pair, _)| pair).collect()
    };
    let (train, held_out) = (on(Split::Train), on(Split::Test));
    let choose =
        Some(on(Split::Validation)).filter(|pairs| pairs.len() >= 20).unwrap_or_else(|| train.clone());
    let mut random = rng::stream(seed, "examples for the writer");
    // Two texts that are the same show nothing.
    let differs = |pair: &u32| pairs.response_a.get(*pair as usize) != pairs.response_b.get(*pair as usize);
    let train: Vec<u32> = train.into_iter().filter(differs).collect();
    let mut examples = Vec::with_capacity(z.cols * DRAWS);
    for feature in 0..z.cols {
        let column = z.column(feature);
        let (active, silent): (Vec<u32>, Vec<u32>) =
            train.iter().partition(|&&pair| column[pair as usize] != 0.0);
        let strong = ((active.len() as f64 * STRONG) as usize).max(STRONG_LEAST);
        let strong = strongest(&column, &active, strong);
        for _ in 0..DRAWS {
            let with = sample(&strong, WITH, &mut random);
            let with: Vec<(u32, bool)> =
                with.into_iter().map(|pair| (pair, column[pair as usize] > 0.0)).collect();
            let silent = sample(&silent, SILENT, &mut random);
            let own = &described.features[feature];
            let shows = match own.clear_level.filter(|_| own.source == FeatureSource::Learned) {
                None => Vec::new(),
                Some(clear) => (with.iter())
                    .map(|&(pair, a_has)| {
                        let slot = pair as usize + if a_has { 0 } else { firing.pairs() };
                        firing.sentences_in(slot, feature, clear).into_iter().map(str::to_owned).collect()
                    })
                    .collect(),
            };
            examples.push(Examples { with, shows, silent });
        }
    }
    Draws { examples, choose, held_out }
}

fn sample(from: &[u32], count: usize, random: &mut impl Rng) -> Vec<u32> {
    let mut drawn = from.to_vec();
    let (drawn, _) = drawn.partial_shuffle(random, count);
    drawn.to_vec()
}

/// Statements and each feature's candidates among them.
#[derive(Debug, Default)]
struct Ballot {
    statements: Vec<String>,
    index: BTreeMap<String, u32>,
    candidates: Vec<Vec<Candidate>>,
    /// The offline offer behind a candidate, if it is one.
    offers: Vec<Vec<Option<usize>>>,
}

impl Ballot {
    fn new(features: usize) -> Self {
        Self { candidates: vec![Vec::new(); features], offers: vec![Vec::new(); features], ..Self::default() }
    }

    fn add(&mut self, feature: usize, text: &str, sign: f64, offer: Option<usize>) {
        let next = self.statements.len() as u32;
        let statement = *self.index.entry(text.to_lowercase()).or_insert(next);
        if statement == next {
            self.statements.push(text.to_owned());
        }
        if !self.candidates[feature].iter().any(|other| other.statement == statement) {
            self.candidates[feature].push(Candidate { statement, sign });
            self.offers[feature].push(offer);
        }
    }
}

/// Activations of the features that were learned here, where they are present in one response alone,
/// `[pairs, learned]`: what a dictionary names needs no writer.
fn learned(described: &Described) -> (usize, Matrix) {
    let is_learned = |source| matches!(source, FeatureSource::Learned | FeatureSource::Difference);
    let count = described.features.iter().filter(|feature| is_learned(feature.source)).count();
    let rows = described.activations.rows();
    let mut z = Matrix::zeros(rows, count);
    for row in 0..rows {
        let (graded, presence) = (described.activations.row(row), described.presence.row(row));
        for ((z, &graded), &there) in z.row_mut(row).iter_mut().zip(graded).zip(presence) {
            *z = if graded * there > 0.0 { graded } else { 0.0 };
        }
    }
    (count, z)
}

/// What describing will cost: exactly the calls that will be made where nothing is cached, by stage.
pub fn forecast(
    dataset: Dataset<'_>,
    described: &Described,
    prompts: &Prompts,
    plan: &Plan,
    run_seed: u64,
) -> BTreeMap<&'static str, UsageEstimate> {
    let (count, z) = learned(described);
    let Draws { examples, choose, held_out } = draws(dataset, described, &z, run_seed);
    let pairs = dataset.pairs;
    let write_prompt = prompts.get("write");
    let mut written = UsageEstimate::default();
    for examples in &examples {
        if examples.with.is_empty() {
            continue;
        }
        let ask = write::ask(pairs, &write_prompt, examples);
        written.calls += 1;
        written.tokens_in += tokens::estimate(&ask.system) + tokens::estimate(&ask.user) + 12;
        written.tokens_out += 18;
    }
    let mut ballot = Ballot::new(count);
    for (feature, examples) in examples.chunks(DRAWS).enumerate() {
        if examples.iter().any(|examples| !examples.with.is_empty()) {
            for _ in 0..DRAWS {
                let statement = ballot.statements.len() as u32;
                ballot.statements.push(BLANK.to_owned());
                ballot.candidates[feature].push(Candidate { statement, sign: 1.0 });
                ballot.offers[feature].push(None);
            }
        }
        for (number, offer) in described.offers.get(feature).into_iter().flatten().enumerate() {
            ballot.add(feature, &offer.text, offer.sign, Some(number));
        }
    }
    let judge_prompt = prompts.get("judge");
    let mut judge = CountingJudge::new(pairs, &judge_prompt, Wording::DESCRIPTIONS);
    let mut random = rng::stream(run_seed, "judging");
    let Ok((chosen, _)) =
        judging::choose(&mut judge, &ballot.statements, &z, &choose, &ballot.candidates, plan, &mut random);
    let winners = winners(&chosen, &ballot);
    let Ok(_) = judging::measure(&mut judge, &ballot.statements, &z, &held_out, &winners, plan, &mut random);
    let shorten_prompt = prompts.get("shorten");
    let texts: Vec<String> = winners.iter().flatten().map(|_| BLANK.to_owned()).collect();
    let mut shortened = UsageEstimate::default();
    for ask in write::shortening(&shorten_prompt, &texts) {
        shortened.calls += 1;
        shortened.tokens_in += tokens::estimate(&ask.system) + tokens::estimate(&ask.user) + 12;
        shortened.tokens_out += 12 * ask.room as u64 / 20;
    }
    let judged = judge.forecast;
    BTreeMap::from([("write", written), ("judge", judged), ("shorten", shortened)])
}

fn winners(chosen: &[Option<judging::Chosen>], ballot: &Ballot) -> Vec<Option<Candidate>> {
    let of = |(chosen, list): (&Option<judging::Chosen>, &Vec<Candidate>)| {
        chosen.as_ref().and_then(|chosen| list.get(chosen.candidate)).copied()
    };
    chosen.iter().zip(&ballot.candidates).map(of).collect()
}

/// Describes the learned features anew, in the models' words where those fit better.
///
/// # Errors
/// The models'; their answers so far are in the cache.
#[allow(clippy::too_many_arguments, reason = "the stage's inputs, each from another stage")]
pub fn describe(
    dataset: Dataset<'_>,
    mut described: Described,
    models: &mut Models<'_>,
    bank: &ConceptBank,
    config: &DescribeConfig,
    plan: &Plan,
    run_seed: u64,
    listener: &mut dyn Observer,
) -> Result<Described, WrittenError> {
    let (count, mut z) = learned(&described);
    let Draws { examples, choose, held_out } = draws(dataset, &described, &z, run_seed);
    let pairs = dataset.pairs;

    let write_prompt = models.prompts.get("write");
    let some: Vec<usize> = (0..examples.len()).filter(|&i| !examples[i].with.is_empty()).collect();
    let asks: Vec<_> = some.iter().map(|&i| write::ask(pairs, &write_prompt, &examples[i])).collect();
    listener.stage("write", asks.len());
    let texts = write::descriptions(models.writer, &asks, &mut |done| listener.advance(done))?;
    let mut ballot = Ballot::new(count);
    for (&index, text) in some.iter().zip(&texts) {
        if let Some(text) = text {
            ballot.add(index / DRAWS, text, 1.0, None);
        }
    }
    for (feature, offers) in described.offers.iter().enumerate().take(count) {
        for (number, offer) in offers.iter().enumerate() {
            ballot.add(feature, &offer.text, offer.sign, Some(number));
        }
    }

    let judge_prompt = models.prompts.get("judge");
    let mut random = rng::stream(run_seed, "judging");
    listener.stage("judge", 0);
    let mut tell = |done: usize| listener.advance(done);
    let mut judge = ModelJudge {
        model: models.judge,
        pairs,
        prompt: &judge_prompt,
        wording: Wording::DESCRIPTIONS,
        progress: &mut tell,
    };
    let (chosen, _) =
        judging::choose(&mut judge, &ballot.statements, &z, &choose, &ballot.candidates, plan, &mut random)?;
    let winners = winners(&chosen, &ballot);
    let (measured, _) =
        judging::measure(&mut judge, &ballot.statements, &z, &held_out, &winners, plan, &mut random)?;

    let chosen_texts: Vec<String> =
        winners.iter().flatten().map(|winner| ballot.statements[winner.statement as usize].clone()).collect();
    let shorten_prompt = models.prompts.get("shorten");
    let mut short = write::shorten(models.writer, &shorten_prompt, &chosen_texts)?.into_iter();

    for feature in 0..count {
        let Some(winner) = winners[feature] else { continue };
        let short = short.next().unwrap_or_default();
        let text = &ballot.statements[winner.statement as usize];
        let offer = chosen[feature]
            .and_then(|chosen| ballot.offers[feature].get(chosen.candidate).copied().flatten())
            .and_then(|number| described.offers[feature].get(number))
            .cloned();
        let concept = offer.as_ref().and_then(|offer| offer.concept).and_then(|at| bank.concepts().get(at));
        let words = match concept {
            Some(concept) => Words::Known(concept),
            None if offer.is_some() => Words::Written { describer: "sentences", text, short },
            None => Words::Written { describer: "model", text, short },
        };
        put_into_words(&mut described.features[feature], words, measured[feature], config, count);
        if winner.sign < 0.0 && described.features[feature].source == FeatureSource::Difference {
            turn(&mut described, feature);
            z.values.iter_mut().skip(feature).step_by(count).for_each(|value| *value = -*value);
        }
    }
    mark_synonyms(&mut described, count);
    Ok(described)
}

/// What a feature is to be called.
enum Words<'a> {
    /// As a concept of the bank.
    Known(&'a Concept),
    /// In words of a model, or quoted.
    Written { describer: &'a str, text: &'a str, short: String },
}

/// Gives a feature its words where they hold: where it recurs, and their fidelity is large and sure enough, one of so
/// many `features` being looked at.
fn put_into_words(
    entry: &mut Feature,
    words: Words<'_>,
    fidelity: Option<Correlation>,
    config: &DescribeConfig,
    features: usize,
) {
    // The offline reading had flags where its detectors saw something; words of a model carry them on.
    let flags = if entry.kept { std::mem::take(&mut entry.flags) } else { Vec::new() };
    entry.fidelity = fidelity;
    entry.kept = entry.recurs(config)
        && fidelity
            .is_some_and(|f| f.r >= config.min_fidelity && f.p * (features.max(1) as f64) < config.alpha);
    for text in [&mut entry.description, &mut entry.short, &mut entry.clause] {
        text.clear();
    }
    (entry.concept, entry.describer) = (None, "none".into());
    entry.flags.clear();
    entry.phrases.clear();
    if !entry.kept {
        return;
    }
    match words {
        Words::Known(concept) => {
            entry.concept = Some(concept.id.clone());
            entry.describer = "bank".into();
            entry.description.clone_from(&concept.description);
            entry.clause.clone_from(&concept.prefer);
            entry.short.clone_from(&concept.short);
            entry.flags.clone_from(&concept.flags);
        }
        Words::Written { describer, text, short } => {
            entry.describer = describer.into();
            text.clone_into(&mut entry.description);
            text.clone_into(&mut entry.clause);
            entry.short = short;
            entry.flags = flags;
        }
    }
}

/// Turns the sign of a feature on differences, so that its words fit the positive side.
fn turn(described: &mut Described, feature: usize) {
    let before = described.features.iter().filter(|f| f.source == FeatureSource::Learned).count();
    for matrix in [&mut described.activations, &mut described.presence] {
        let cols = matrix.cols;
        matrix.values.iter_mut().skip(feature).step_by(cols).for_each(|value| *value = -*value);
    }
    let number = feature.saturating_sub(before);
    match described.flipped.iter().position(|other| *other == number) {
        Some(at) => drop(described.flipped.swap_remove(at)),
        None => described.flipped.push(number),
    }
}

/// Marks a feature whose description says what that of a truer one says.
fn mark_synonyms(described: &mut Described, count: usize) {
    let Ok(embedder) = BundledEmbedder::load() else { return };
    let mut order: Vec<usize> = (0..count).filter(|&i| described.features[i].kept).collect();
    let r = |feature: &Feature| feature.fidelity.map_or(f64::MIN, |f| f.r);
    order.sort_by(|&a, &b| r(&described.features[b]).total_cmp(&r(&described.features[a])).then(a.cmp(&b)));
    let texts: Vec<&str> = order.iter().map(|&i| described.features[i].description.as_str()).collect();
    let Ok(rows) = embedder.embed(&texts) else { return };
    for at in 1..order.len() {
        let cosine = |other: &usize| -> f64 {
            rows.row(at).iter().zip(rows.row(*other)).map(|(a, b)| f64::from(a * b)).sum()
        };
        let twin = (0..at).find(|other| {
            described.features[order[*other]].redundant_with.is_none() && cosine(other) > SYNONYMS
        });
        if let Some(twin) = twin
            && described.features[order[at]].redundant_with.is_none()
        {
            described.features[order[at]].redundant_with =
                Some(described.features[order[twin]].feature_id.clone());
        }
    }
}
