//! Concepts of the user's own, read by a language model in a run's held-out pairs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::models::{CostEstimate, ModelRequest, spent_in_words};
use crate::config::LanguageConfig;
use crate::context::Observer;
use crate::describe::FeatureSource;
use crate::describe::judging::Reading;
use crate::describe::known::{ConceptBank, ConceptBankError};
use crate::describe::model_judge::{CountingJudge, ModelJudge, Wording};
use crate::describe::user_concepts::{self, Agreement, Readings};
use crate::effects::Control;
use crate::effects::feature::feature_effects;
use crate::effects::table::LabelledSample;
use crate::llm::chat::LanguageError;
use crate::llm::open::{self, LlmOptions, ModelSpec, OpenError, Role};
use crate::llm::spending::{Budget, Spent};
use crate::matrix::Matrix;
use crate::pairs::Split;
use crate::pairs::split::on;
use crate::run::{Run, RunError, Source};
use crate::statistics::correlation::{Correlation, pearson};
use crate::statistics::share::wilson;

/// What to read, and by whom.
#[derive(Debug, Clone)]
pub struct JudgeRequest {
    /// What a response may do, completing "The response …".
    pub concepts: Vec<String>,
    /// How many held-out pairs are read.
    pub pairs: usize,
    /// Pairs in one call.
    pub pairs_per_call: usize,
    /// The judge; the run's own where none is named.
    pub judge: ModelRequest,
    /// Settings of the judge alone, over the run's: its server and what is sent along.
    pub settings: LanguageConfig,
    /// Another model that reads the same pairs.
    pub second_judge: Option<String>,
    /// Only say what it would cost.
    pub dry_run: bool,
}

/// What the judges said.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Judgement {
    /// A concept each; empty in a dry run.
    pub concepts: Vec<JudgedConcept>,
    /// The judges' names.
    pub judges: Vec<String>,
    /// What a dry run found that it would cost, by judge.
    pub cost: Vec<CostEstimate>,
    /// What it took.
    pub spent: BTreeMap<String, Spent>,
}

/// Why nothing was judged.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // some variants are their sources
pub enum JudgeError {
    /// A concept is not a few words.
    #[error("`--concept` needs a few words that complete \"The response …\", such as 'uses humour'")]
    Words,
    /// A count of none.
    #[error("`--pairs` and `--pairs-per-call` must be at least 1")]
    Count,
    /// Nobody to ask.
    #[error("no model is named\nhint: `--judge MODEL`")]
    NoModel,
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Language(#[from] LanguageError),
    #[error(transparent)]
    ConceptBank(#[from] ConceptBankError),
}

/// A concept as a judge sees it in a run's held-out pairs.
#[derive(Debug, Clone, Serialize)]
pub struct JudgedConcept {
    /// Completes "The response …".
    pub concept: String,
    /// Pairs that were read in both orders.
    pub pairs: usize,
    /// Pairs without a readable answer.
    pub missing: usize,
    /// Share of the pairs in which the concept tells the responses apart, with a 95 % interval.
    pub prevalence: [f64; 3],
    /// Labels of the pairs read, ties left out.
    pub labels: usize,
    /// Difference in win rate, with a 95 % interval, response length held fixed; `None` without an estimate.
    pub win_delta: Option<[f64; 3]>,
    /// Two-sided p-value of no difference.
    pub p: Option<f64>,
    /// Labels that it stands on.
    pub win_labels: usize,
    /// The judge's answers in one order against the other.
    pub with_itself: Agreement,
    /// How much more often it names the first response than the second.
    pub position_bias: f64,
    /// The second judge's answers against the first's.
    pub with_second_judge: Option<Agreement>,
    /// The concept of the bank that it agrees with most: its id and the correlation of the readings. The best
    /// of many, so too high.
    pub nearest_detector: Option<(String, Correlation)>,
}

impl JudgeRequest {
    /// The concepts without "The response", full stop and repetitions.
    fn words(&self) -> Result<Vec<String>, JudgeError> {
        let mut concepts: Vec<String> = Vec::new();
        for concept in &self.concepts {
            let words = concept.split_whitespace().collect::<Vec<_>>().join(" ");
            let words =
                words.strip_prefix("The response ").unwrap_or(&words).trim_end_matches('.').to_owned();
            if words.is_empty() || words.chars().count() > 300 {
                return Err(JudgeError::Words);
            }
            if !concepts.contains(&words) {
                concepts.push(words);
            }
        }
        if concepts.is_empty() { Err(JudgeError::Words) } else { Ok(concepts) }
    }

    /// The judges, in the order in which they are asked.
    fn models(&self) -> Result<Vec<ModelSpec>, JudgeError> {
        let config = &self.settings;
        if config.judge.is_none() && config.writer.is_none() {
            return Err(JudgeError::NoModel);
        }
        let options = LlmOptions { dry_run: self.dry_run, ..self.judge.options.clone() };
        let named = |config: &LanguageConfig| open::named(config, Role::Judge, &options);
        let mut models = vec![named(config)?];
        if self.second_judge.is_some() {
            models.push(named(&LanguageConfig { judge: self.second_judge.clone(), ..config.clone() })?);
        }
        Ok(models)
    }
}

/// Has language models read the concepts, and measures what they say on the labels of those pairs.
///
/// # Errors
/// See [`JudgeError`]; answers so far are in the cache.
pub fn judge(
    run: &Run,
    request: &JudgeRequest,
    observer: &mut dyn Observer,
) -> Result<Judgement, JudgeError> {
    let concepts = request.words()?;
    if request.pairs == 0 || request.pairs_per_call == 0 {
        return Err(JudgeError::Count);
    }
    let source = run.source()?;
    let models = request.models()?;
    let seed = run.manifest.seed;
    let pairs = user_concepts::sample(&on(&source.sides, Split::Test), request.pairs, seed);
    let prompts = open::prompts(&request.settings)?;
    let prompt = prompts.get("judge");
    let judges: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    if request.dry_run {
        let mut counting = CountingJudge::new(&source.pairs, &prompt, Wording::DESCRIPTIONS);
        let Ok(_) = user_concepts::read(&mut counting, &concepts, &pairs, request.pairs_per_call);
        let cost =
            models.iter().map(|model| CostEstimate::of("judge", model, counting.forecast.clone())).collect();
        return Ok(Judgement { judges, cost, ..Judgement::default() });
    }
    let budget = Arc::new(Budget::new(request.judge.options.limits));
    let mut read = Vec::new();
    let mut outcome = Ok(());
    for model in models {
        let mut model = model.open(&request.judge.options, &budget, seed)?;
        let mut silent = |_: usize| {};
        let mut judge = ModelJudge {
            model: &mut model,
            pairs: &source.pairs,
            prompt: &prompt,
            wording: Wording::DESCRIPTIONS,
            progress: &mut silent,
        };
        match user_concepts::read(&mut judge, &concepts, &pairs, request.pairs_per_call) {
            Ok(readings) => read.push(readings),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    let spent = budget.spent();
    observer.note(&spent_in_words(&spent));
    budget.told().iter().for_each(|text| observer.note(text));
    outcome?;
    let bank = run.bank()?;
    let activations = run.activations()?;
    let found = concepts.iter().enumerate().map(|(at, concept)| {
        let second = read.get(1).and_then(|readings| readings.get(at));
        measure(
            concept,
            &read[0][at],
            second,
            &Measuring { run, source: &source, activations: &activations, bank: &bank },
        )
    });
    Ok(Judgement { concepts: found.collect(), judges, cost: Vec::new(), spent })
}

/// What readings are held against.
struct Measuring<'a> {
    run: &'a Run,
    source: &'a Source,
    activations: &'a Matrix,
    bank: &'a ConceptBank,
}

/// What the readings say.
fn measure(
    concept: &str,
    readings: &Readings,
    second: Option<&Readings>,
    against: &Measuring<'_>,
) -> JudgedConcept {
    let value = |reading: &Reading| {
        let value = Readings::value(reading);
        // Less than half of an answer, in both orders together, is no answer.
        if value.abs() < 0.25 { 0.0 } else { value }
    };
    let source = against.source;
    let n = readings.read.len();
    let apart = readings.read.iter().filter(|reading| value(reading) != 0.0).count();
    // Only the labels of pairs that were read.
    let mut column = Matrix::zeros(source.pairs.pair_id.len(), 1);
    let mut sides = vec![Split::Train; source.sides.len()];
    for reading in &readings.read {
        column.row_mut(reading.pair as usize)[0] = value(reading);
        sides[reading.pair as usize] = Split::Test;
    }
    let labels = LabelledSample::on(&source.pairs, &sides, &[Split::Test]);
    let effect = feature_effects(&column, &labels.sample, Control::Length).first().copied();
    let win = effect.map(|effect| effect.win).filter(|win| win.value.is_finite() && win.low.is_finite());
    JudgedConcept {
        concept: concept.to_owned(),
        pairs: n,
        missing: readings.missing,
        prevalence: wilson(apart, n),
        labels: labels.sample.len(),
        win_delta: win.map(|win| [win.value, win.low, win.high]),
        p: win.map(|win| win.p).filter(|p| p.is_finite()),
        win_labels: win.map_or(0, |win| win.n),
        with_itself: user_concepts::with_itself(&readings.read),
        position_bias: user_concepts::position_bias(&readings.read),
        with_second_judge: second.map(|second| user_concepts::with_another(&readings.read, &second.read)),
        nearest_detector: nearest_detector(readings, against, &value),
    }
}

/// The concept of the bank whose readings correlate most.
fn nearest_detector(
    readings: &Readings,
    against: &Measuring<'_>,
    value: &dyn Fn(&Reading) -> f32,
) -> Option<(String, Correlation)> {
    let x: Vec<f64> = readings.read.iter().map(|reading| f64::from(value(reading))).collect();
    let features = against.run.features.iter().enumerate();
    features
        .filter(|(_, feature)| feature.source == FeatureSource::Known)
        .filter_map(|(index, feature)| {
            let id = feature.concept.clone()?;
            against.bank.concepts().iter().find(|concept| concept.id == id)?;
            let y: Vec<f64> = readings
                .read
                .iter()
                .map(|reading| f64::from(against.activations.row(reading.pair as usize)[index]))
                .map(|z| if z == 0.0 { 0.0 } else { z.signum() })
                .collect();
            Some((id, pearson(&x, &y))).filter(|(_, c)| c.r.is_finite() && c.p.is_finite())
        })
        .max_by(|a, b| a.1.r.total_cmp(&b.1.r))
}
