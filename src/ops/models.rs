//! Language models that a verb asks: named in its request, looked up before anything is computed, asked within limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::LanguageConfig;
use crate::context::Observer;
use crate::llm::chat::ChatModel;
use crate::llm::open::{self, LlmOptions, ModelSpec, OpenError, Role};
use crate::llm::prompts::Prompts;
use crate::llm::spending::{Budget, Spent, UsageEstimate};

/// What a request says about language models; what it leaves out is the run's settings'.
#[derive(Debug, Clone, Default)]
pub struct ModelRequest {
    /// The model's name.
    pub model: Option<String>,
    /// Address of its OpenAI-compatible server.
    pub base_url: Option<String>,
    /// Sent along with every request.
    pub params: Map<String, Value>,
    /// A folder with prompts of the user's own.
    pub prompts: Option<PathBuf>,
    /// Limits, prices, patience.
    pub options: LlmOptions,
}

impl ModelRequest {
    /// Puts what is asked for over the settings.
    pub fn over(&self, config: &mut LanguageConfig) {
        if self.base_url.is_some() {
            config.base_url.clone_from(&self.base_url);
        }
        if self.prompts.is_some() {
            config.prompts.clone_from(&self.prompts);
        }
        config.params.extend(self.params.clone());
    }

    /// The model that is named, with the run's settings but for what they say of another judge; `None` where none is
    /// named. Looked up before anything is computed: a missing key should not cost a minute. A dry run asks for none.
    ///
    /// # Errors
    /// Where its address, its key, its prompts or the prices cannot be used.
    pub fn resolve(
        &self,
        run: &LanguageConfig,
        role: Role,
        dry_run: bool,
    ) -> Result<Option<NamedModel>, OpenError> {
        let Some(model) = &self.model else { return Ok(None) };
        let mut config = run.clone();
        if config.judge.as_ref() != Some(model) {
            config.judge = Some(model.clone());
            config.judge_params.clear();
            config.judge_base_url = None;
        }
        // What is asked for goes before the judge's own server.
        if self.base_url.is_some() {
            config.judge_base_url = None;
        }
        self.over(&mut config);
        let prompts = open::prompts(&config)?;
        let options = LlmOptions { dry_run, ..self.options.clone() };
        let spec = open::named(&config, role, &options)?;
        Ok(Some(NamedModel { spec, prompts, options }))
    }
}

/// A model, what it is told and what may be spent on it.
#[derive(Debug, Clone)]
pub struct NamedModel {
    /// Its name and server.
    pub spec: ModelSpec,
    /// What it is told.
    pub prompts: Prompts,
    options: LlmOptions,
}

/// What came of asking, and what it took, by purpose.
pub type Asked<T, E> = (Result<T, E>, BTreeMap<String, Spent>);

impl NamedModel {
    /// Lets `ask` talk to it, says what that took, and gives back both.
    ///
    /// # Errors
    /// Where the cache of answers cannot be opened.
    pub fn ask<T, E>(
        &self,
        seed: u64,
        observer: &mut dyn Observer,
        ask: impl FnOnce(&mut ChatModel, &mut Calls<'_>) -> Result<T, E>,
    ) -> Result<Asked<T, E>, OpenError> {
        let budget = Arc::new(Budget::new(self.options.limits));
        let mut model = self.spec.clone().open(&self.options, &budget, seed)?;
        let mut calls = Calls { observer, under_way: None };
        let outcome = ask(&mut model, &mut calls);
        calls.end();
        let spent = budget.spent();
        observer.note(&spent_in_words(&spent));
        budget.told().iter().for_each(|text| observer.note(text));
        Ok((outcome, spent))
    }

    /// What asking will cost, by purpose.
    pub fn costs(&self, usage: Vec<(&'static str, UsageEstimate)>) -> Vec<CostEstimate> {
        usage.into_iter().map(|(stage, usage)| CostEstimate::of(stage, &self.spec, usage)).collect()
    }
}

/// Shows the calls of a purpose as a stage.
pub struct Calls<'o> {
    observer: &'o mut dyn Observer,
    under_way: Option<(&'static str, Instant)>,
}

impl Calls<'_> {
    /// How many of a purpose's calls are done; what was shown before has ended.
    pub fn done(&mut self, name: &'static str, done: u64, total: u64) {
        if self.under_way.is_none_or(|(other, _)| other != name) {
            self.end();
            self.observer.stage(name, total as usize);
            self.under_way = Some((name, Instant::now()));
        }
        self.observer.advance(done as usize);
    }

    fn end(&mut self) {
        if let Some((name, since)) = self.under_way.take() {
            self.observer.finished(name, since.elapsed().as_secs_f64(), false);
        }
    }
}

/// What one kind of request will cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostEstimate {
    /// `write`, `judge`, `shorten`, `execute` …
    pub stage: &'static str,
    /// The model that is asked.
    pub model: String,
    /// Its server.
    pub server: String,
    /// Calls and tokens.
    #[serde(flatten)]
    pub forecast: UsageEstimate,
    /// Dollars, where the price is known.
    pub dollars: Option<f64>,
}

impl CostEstimate {
    /// By the model's price.
    pub fn of(stage: &'static str, model: &ModelSpec, forecast: UsageEstimate) -> Self {
        Self {
            stage,
            model: model.name.clone(),
            server: model.base_url.clone(),
            dollars: model.price.map(|price| price.of(forecast.tokens_in, forecast.tokens_out)),
            forecast,
        }
    }
}

/// What was spent, in a sentence.
pub fn spent_in_words(spent: &BTreeMap<String, Spent>) -> String {
    let all = spent.values().fold(Spent::default(), |sum, one| sum.and(*one));
    let mut text = format!(
        "language models: {} calls answered ({} sent), {} answers from the cache; {} tokens in, {} out",
        all.calls, all.sent, all.cached, all.tokens_in, all.tokens_out
    );
    match all.dollars {
        Some(dollars) => text.push_str(&format!(", ${dollars:.4}")),
        None if all.calls > 0 => text.push_str("; price not known (`--price-in`, `--price-out`)"),
        None => {}
    }
    if all.unreadable > 0 {
        text.push_str(&format!("; {} answers could not be read and count as missing", all.unreadable));
    }
    text
}
