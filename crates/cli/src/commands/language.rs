//! The options of every command that asks language models.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};
use wimhf::config::LanguageConfig;
use wimhf::llm::open::LlmOptions;
use wimhf::llm::spending::{Limits, Price};
use wimhf::{Context, ModelRequest};

/// The heading of these options.
pub const HEADING: &str = "Language models";

/// What was typed about language models; `None` leaves the settings file's value.
#[derive(Debug, Args)]
pub struct LanguageArguments {
    /// The model that judges [default: the writer].
    #[arg(long, value_name = "MODEL", env = "WIMHF_JUDGE", hide_env = true, help_heading = HEADING)]
    pub judge: Option<String>,
    /// The judge's server, where it is another one; its key is WIMHF_JUDGE_API_KEY.
    #[arg(long, value_name = "URL", hide_short_help = true, help_heading = HEADING)]
    judge_base_url: Option<String>,
    /// As `--param`, for the judge only.
    #[arg(
        long = "judge-param",
        value_name = "NAME=JSON",
        value_parser = parameter,
        hide_short_help = true,
        help_heading = HEADING
    )]
    judge_params: Vec<(String, Value)>,
    /// Print the calls, tokens and dollars it would take; needs no key.
    #[arg(long, help_heading = HEADING)]
    pub dry_run: bool,
    #[command(flatten)]
    spending: SpendingArguments,
}

/// What every request of a command carries, and what may be spent on all of them.
#[derive(Debug, Args)]
pub struct SpendingArguments {
    /// Sent along with every request, such as `reasoning_effort="low"`; `temperature=null` takes ours out.
    #[arg(
        long = "param",
        value_name = "NAME=JSON",
        value_parser = parameter,
        hide_short_help = true,
        help_heading = HEADING
    )]
    params: Vec<(String, Value)>,
    /// A folder with prompts of your own (judge.md, write.md, execute.md …) in place of the program's.
    #[arg(long, value_name = "DIR", env = "WIMHF_PROMPTS", hide_short_help = true, help_heading = HEADING)]
    prompts: Option<PathBuf>,
    /// Stop before more requests than this are sent; what is answered by then is kept.
    #[arg(long, value_name = "N", hide_short_help = true, help_heading = HEADING)]
    max_calls: Option<u64>,
    /// Stop before more dollars than this are spent.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars, help_heading = HEADING)]
    max_cost: Option<f64>,
    /// Dollars per million tokens sent, in place of the price table's.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars, requires = "price_out", hide_short_help = true, help_heading = HEADING)]
    price_in: Option<f64>,
    /// Dollars per million tokens answered.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars, requires = "price_in", hide_short_help = true, help_heading = HEADING)]
    price_out: Option<f64>,
    /// A price table of your own (TOML), over the one in the program.
    #[arg(long, value_name = "FILE", env = "WIMHF_PRICES", hide_short_help = true, help_heading = HEADING)]
    prices: Option<PathBuf>,
    /// Seconds until a request is given up [default: 600].
    #[arg(long, value_name = "SECONDS", hide_short_help = true, help_heading = HEADING)]
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

    /// What is asked for; `model` by name where the command has one.
    pub fn request(
        &self,
        model: Option<&str>,
        base_url: Option<&str>,
        concurrency: Option<usize>,
        context: &Context,
    ) -> ModelRequest {
        ModelRequest {
            model: model.map(str::to_owned),
            base_url: base_url.map(str::to_owned),
            params: self.params.iter().cloned().collect(),
            prompts: self.prompts.clone(),
            options: LlmOptions {
                context: context.clone(),
                limits: Limits { calls: self.max_calls, dollars: self.max_cost },
                price: self.price_in.zip(self.price_out).map(|(input, output)| Price { input, output }),
                prices: self.prices.clone(),
                concurrency,
                timeout_seconds: self.timeout,
                // The operations know whether they are one.
                dry_run: false,
            },
        }
    }
}

impl LanguageArguments {
    /// Puts what was typed over the settings, and says what may be spent.
    pub fn over(
        &self,
        config: &mut LanguageConfig,
        base_url: Option<&str>,
        concurrency: Option<usize>,
        context: &Context,
    ) -> ModelRequest {
        if self.judge.is_some() {
            config.judge.clone_from(&self.judge);
        }
        if self.judge_base_url.is_some() {
            config.judge_base_url.clone_from(&self.judge_base_url);
        }
        extend(&mut config.judge_params, &self.judge_params);
        let request = self.spending.request(None, base_url, concurrency, context);
        request.over(config);
        request
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
