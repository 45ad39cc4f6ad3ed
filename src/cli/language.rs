//! The options of every command that asks language models.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value};

use super::Failure;
use super::progress::Progress;
use crate::analyze::{Bill, Observer, spent_in_words};
use crate::config::LanguageConfig;
use crate::language::chat::ChatModel;
use crate::language::open::{self, Named, OpenError, Role, Spending};
use crate::language::prompts::Prompts;
use crate::language::spending::{Forecast, Limits, Price, Purse, Spent};

/// What was typed about language models; `None` leaves the settings file's value.
#[derive(Debug, Args)]
#[command(next_help_heading = "Language models")]
pub struct LanguageArguments {
    /// The model that judges [default: the writer].
    #[arg(long, value_name = "MODEL", env = "WIMHF_JUDGE")]
    pub judge: Option<String>,
    /// The judge's server, where it is another one; its key is WIMHF_JUDGE_API_KEY.
    #[arg(long, value_name = "URL")]
    judge_base_url: Option<String>,
    /// The same, for the judge only.
    #[arg(long = "judge-param", value_name = "NAME=JSON", value_parser = parameter)]
    judge_params: Vec<(String, Value)>,
    /// Print the calls, tokens and dollars that this would take, and ask nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    spending: SpendingArguments,
}

/// What every request of a command carries, and what may be spent on all of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Language models")]
pub struct SpendingArguments {
    /// Sent along with every request, such as `reasoning_effort="low"`; `temperature=null` takes ours out.
    #[arg(long = "param", value_name = "NAME=JSON", value_parser = parameter)]
    params: Vec<(String, Value)>,
    /// A folder with prompts of your own (judge.md, write.md, execute.md …) in place of the program's.
    #[arg(long, value_name = "DIR", env = "WIMHF_PROMPTS")]
    prompts: Option<PathBuf>,
    /// Stop before more requests than this are sent; what is answered by then is kept.
    #[arg(long, value_name = "N")]
    max_calls: Option<u64>,
    /// Stop before more dollars than this are spent.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    max_cost: Option<f64>,
    /// Dollars per million tokens sent, in place of the price table's.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars, requires = "price_out")]
    price_in: Option<f64>,
    /// Dollars per million tokens answered.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars, requires = "price_in")]
    price_out: Option<f64>,
    /// A price table of your own (TOML), over the one in the program.
    #[arg(long, value_name = "FILE", env = "WIMHF_PRICES")]
    prices: Option<PathBuf>,
    /// Seconds until a request is given up [default: 600].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl SpendingArguments {
    /// Whether anything of it was typed.
    pub fn typed(&self) -> bool {
        !self.params.is_empty()
            || self.max_calls.is_some()
            || self.max_cost.is_some()
            || self.price_in.is_some()
            || self.timeout.is_some()
    }

    /// Puts what was typed over the settings, and says what may be spent.
    pub fn over(
        &self,
        config: &mut LanguageConfig,
        base_url: Option<&str>,
        concurrency: Option<usize>,
    ) -> Spending {
        if let Some(url) = base_url {
            config.base_url = Some(url.to_owned());
        }
        if self.prompts.is_some() {
            config.prompts.clone_from(&self.prompts);
        }
        extend(&mut config.params, &self.params);
        Spending {
            limits: Limits { calls: self.max_calls, dollars: self.max_cost },
            price: self.price_in.zip(self.price_out).map(|(input, output)| Price { input, output }),
            prices: self.prices.clone(),
            concurrency,
            timeout_seconds: self.timeout,
        }
    }

    /// One model that is named on the command line, looked up before anything is computed: a missing key should
    /// not cost a minute. The settings are the run's, but for what they say of another judge.
    pub fn model(
        &self,
        run: &LanguageConfig,
        model: &str,
        role: Role,
        base_url: Option<&str>,
        concurrency: Option<usize>,
    ) -> Result<NamedModel, Failure> {
        let mut config = run.clone();
        if config.judge.as_deref() != Some(model) {
            config.judge = Some(model.to_owned());
            config.judge_params.clear();
            config.judge_base_url = None;
        }
        // What is typed goes before the judge's own server.
        if base_url.is_some() {
            config.judge_base_url = None;
        }
        let spending = self.over(&mut config, base_url, concurrency);
        let user = |error: OpenError| Failure::new(2, &error.into());
        let prompts = open::prompts(&config).map_err(user)?;
        let named = open::named(&config, role, &spending).map_err(user)?;
        Ok(NamedModel { named, prompts, spending })
    }
}

/// What came of asking, and what it took, by model.
pub type Asked<T, E> = (Result<T, E>, BTreeMap<String, Spent>);

/// A model, what it is told and what may be spent on it.
pub struct NamedModel {
    /// Its name and server.
    pub named: Named,
    /// What it is told.
    pub prompts: Prompts,
    spending: Spending,
}

impl NamedModel {
    /// Lets `ask` talk to it with the progress shown, says what that took, and gives back both.
    pub fn ask<T, E>(
        &self,
        seed: u64,
        ask: impl FnOnce(&mut ChatModel, &mut Progress) -> Result<T, E>,
    ) -> Result<Asked<T, E>, Failure> {
        let purse = Arc::new(Purse::new(self.spending.limits));
        let opened = self.named.clone().open(&self.spending, &purse, seed);
        let mut model = opened.map_err(|error| Failure::new(2, &error.into()))?;
        let mut progress = Progress::new(false);
        let outcome = ask(&mut model, &mut progress);
        progress.end();
        let spent = purse.spent();
        progress.note(&spent_in_words(&spent));
        purse.told().iter().for_each(|text| progress.note(text));
        Ok((outcome, spent))
    }
}

/// The bill of a model by purpose.
pub fn bills(model: &Named, forecasts: Vec<(&'static str, Forecast)>) -> Vec<Bill> {
    let bill = |(stage, forecast): (&'static str, Forecast)| Bill {
        stage,
        model: model.name.clone(),
        server: model.base_url.clone(),
        dollars: model.price.map(|price| price.of(forecast.tokens_in, forecast.tokens_out)),
        forecast,
    };
    forecasts.into_iter().map(bill).collect()
}

impl LanguageArguments {
    /// Puts what was typed over the settings, and says what may be spent.
    pub fn over(
        &self,
        config: &mut LanguageConfig,
        base_url: Option<&str>,
        concurrency: Option<usize>,
    ) -> Spending {
        if self.judge.is_some() {
            config.judge.clone_from(&self.judge);
        }
        if self.judge_base_url.is_some() {
            config.judge_base_url.clone_from(&self.judge_base_url);
        }
        extend(&mut config.judge_params, &self.judge_params);
        self.spending.over(config, base_url, concurrency)
    }
}

/// Adds typed parameters to those of the settings.
pub fn extend(target: &mut Map<String, Value>, typed: &[(String, Value)]) {
    target.extend(typed.iter().cloned());
}

/// `NAME=JSON`; what is no JSON is a text.
pub fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("such as reasoning_effort=\"low\" or temperature=0.2")?;
    let name = name.trim();
    if name.is_empty() || matches!(name, "model" | "messages" | "stream" | "n") {
        return Err(format!("`{name}` cannot be set: wimhf sets it itself"));
    }
    Ok((name.to_owned(), serde_json::from_str(value.trim()).unwrap_or_else(|_| value.trim().into())))
}

/// A number of dollars.
fn dollars(text: &str) -> Result<f64, String> {
    let value: f64 =
        text.trim_start_matches('$').parse().map_err(|_| "a number of dollars is needed".to_owned())?;
    if value.is_finite() && value >= 0.0 { Ok(value) } else { Err("a number of dollars is needed".into()) }
}
