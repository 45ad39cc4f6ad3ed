//! The models of a run's settings, opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::chat::{ChatModel, LanguageError};
use super::prompts::{PromptError, Prompts};
use super::spending::{Budget, Limits, Price, PriceError, Prices};
use crate::cache::Cache;
use crate::config::LanguageConfig;
use crate::context::Context;
use crate::net::{Endpoint, NetError, Policy, Secret};

/// What does not determine any answer: limits, prices, patience.
#[derive(Debug, Clone, Default)]
pub struct LlmOptions {
    /// Keys, servers and the cache's folder, and whether to stop.
    pub context: Context,
    /// What must not be exceeded.
    pub limits: Limits,
    /// Prices that go before the table's.
    pub price: Option<Price>,
    /// A table of prices of the user's own.
    pub prices: Option<PathBuf>,
    /// Most requests at once.
    pub concurrency: Option<usize>,
    /// Seconds until a request is given up.
    pub timeout_seconds: Option<u64>,
    /// Nothing will be asked, only counted: no key is needed.
    pub dry_run: bool,
}

/// Why the models cannot be opened.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source
pub enum OpenError {
    #[error(transparent)]
    Prompts(#[from] PromptError),
    #[error(transparent)]
    Prices(#[from] PriceError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Language(#[from] LanguageError),
    #[error(transparent)]
    Cache(#[from] crate::cache::CacheError),
}

/// Which of a run's models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Writes and shortens descriptions.
    Writer,
    /// Judges them.
    Judge,
    /// Applies a constitution; named on the command line, in the judge's place.
    Executor,
}

/// A model by name, address, price: all that is known before it is asked anything.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// The model's name.
    pub name: String,
    /// Address of its server.
    pub base_url: String,
    /// What it costs, where that is known.
    pub price: Option<Price>,
    endpoint: Endpoint,
    params: Map<String, Value>,
}

/// The prompts of the settings.
///
/// # Errors
/// Where the user's folder cannot be used.
pub fn prompts(config: &LanguageConfig) -> Result<Prompts, OpenError> {
    Ok(match &config.prompts {
        Some(folder) => Prompts::with_folder(folder)?,
        None => Prompts::default(),
    })
}

/// The model of a role.
///
/// # Errors
/// Where its address, its key or the prices cannot be used.
pub fn named(config: &LanguageConfig, role: Role, spending: &LlmOptions) -> Result<ModelSpec, OpenError> {
    let writer = config.writer.as_deref().unwrap_or_default();
    let (name, own_url, own_params, variable) = match role {
        Role::Writer => (writer, &config.writer_base_url, &config.writer_params, "WIMHF_WRITER_API_KEY"),
        Role::Judge => (
            config.judge.as_deref().unwrap_or(writer),
            &config.judge_base_url,
            &config.judge_params,
            "WIMHF_JUDGE_API_KEY",
        ),
        Role::Executor => (
            config.judge.as_deref().unwrap_or_default(),
            &config.judge_base_url,
            &config.judge_params,
            "WIMHF_MODEL_API_KEY",
        ),
    };
    let url = own_url.as_deref().or(config.base_url.as_deref());
    let endpoint = match (Secret::of(&spending.context, variable), url) {
        _ if spending.dry_run => Endpoint::unasked(url, &spending.context)?,
        (Some(key), Some(url)) => Endpoint::new(url, Some(key))?,
        _ => Endpoint::of(url, &spending.context)?,
    };
    let mut params = config.params.clone();
    params.extend(own_params.clone());
    let prices = match &spending.prices {
        Some(path) => Prices::with_file(path)?,
        None => Prices::boxed(),
    };
    let base_url = endpoint.base().to_owned();
    let price = spending.price.or_else(|| prices.of(name, &base_url));
    Ok(ModelSpec { name: name.to_owned(), base_url, price, endpoint, params })
}

impl ModelSpec {
    /// Ready to be asked; answers are kept in the user's cache.
    ///
    /// # Errors
    /// Where the cache cannot be opened.
    pub fn open(self, spending: &LlmOptions, purse: &Arc<Budget>, seed: u64) -> Result<ChatModel, OpenError> {
        let mut policy = Policy { seed, context: spending.context.clone(), ..Policy::default() };
        if let Some(concurrency) = spending.concurrency {
            policy.concurrency = concurrency.max(1);
        }
        if let Some(seconds) = spending.timeout_seconds {
            policy.timeout = Duration::from_secs(seconds.max(1));
        }
        let cache = Cache::of(&spending.context)?;
        Ok(ChatModel::new(
            self.endpoint,
            &self.name,
            self.params,
            self.price,
            Arc::clone(purse),
            policy,
            Some(&cache),
        )?)
    }
}

/// The versions of all prompts, for fingerprints.
pub fn versions(prompts: &Prompts) -> Vec<String> {
    ["write", "judge", "shorten"].iter().map(|name| prompts.get(name).version().to_owned()).collect()
}
