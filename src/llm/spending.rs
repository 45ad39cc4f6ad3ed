//! What asking costs: prices, limits, and what was spent.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::ask::Ask;
use super::tokens;
use crate::net::Failure;
pub use crate::store::Spent;

/// Prices of the models that most people use, in dollars per million tokens.
const BOXED: &str = include_str!("../../data/prices.toml");

/// What a million tokens cost, in dollars.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Tokens that are sent.
    #[serde(rename = "in")]
    pub input: f64,
    /// Tokens that are answered, thinking included.
    #[serde(rename = "out")]
    pub output: f64,
}

impl Price {
    /// What so many tokens cost, in dollars.
    pub fn of(self, tokens_in: u64, tokens_out: u64) -> f64 {
        (tokens_in as f64 * self.input + tokens_out as f64 * self.output) / 1e6
    }
}

/// A price table that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the prices in `{path}` cannot be used: {message}\nhint: one line a model, such as `\"gpt-5-mini\" = {{ in = 0.25, out = 2.0 }}`"
)]
pub struct PriceError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub message: String,
}

/// Prices by model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// The prices in the program.
    pub fn boxed() -> Self {
        // The file is part of the program and read by a test; an empty table only means "price unknown".
        Self(toml::from_str(BOXED).unwrap_or_default())
    }

    /// The same, with those of a file over them.
    ///
    /// # Errors
    /// Where the file cannot be read or is no such table.
    pub fn with_file(path: &Path) -> Result<Self, PriceError> {
        let fail = |message: String| PriceError { path: path.into(), message };
        let text = crate::limits::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let own: BTreeMap<String, Price> = toml::from_str(&text).map_err(|error| fail(error.to_string()))?;
        if let Some((model, _)) =
            own.iter().find(|(_, p)| ![p.input, p.output].iter().all(|v| v.is_finite() && *v >= 0.0))
        {
            return Err(fail(format!("`{model}` has a price that is no number of dollars")));
        }
        let mut all = Self::boxed();
        all.0.extend(own);
        Ok(all)
    }

    /// The price of a model at a server: 0 where the server is this machine, `None` where nobody knows.
    pub fn of(&self, model: &str, base_url: &str) -> Option<Price> {
        // "openai/gpt-5-mini" at a gateway, "gpt-5-mini-2025-08-07" with a date.
        let plain = model.rsplit('/').next().unwrap_or(model);
        let known = self.0.get(model).or_else(|| self.0.get(plain)).or_else(|| {
            let dated = |name: &&String| {
                plain.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with("-20"))
            };
            self.0.iter().filter(|(name, _)| dated(name)).max_by_key(|(name, _)| name.len()).map(|(_, p)| p)
        });
        let host = base_url.split("://").nth(1).unwrap_or("").split(['/', ':']).next().unwrap_or("");
        if matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0" | "[") || host.ends_with(".local") {
            return Some(Price { input: 0.0, output: 0.0 });
        }
        known.copied()
    }
}

/// What asking will cost, before any request is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UsageEstimate {
    /// Requests.
    pub calls: u64,
    /// Tokens sent, estimated.
    pub tokens_in: u64,
    /// Tokens answered, estimated, without thinking.
    pub tokens_out: u64,
}

impl UsageEstimate {
    /// Of these requests, each with the tokens of a plain answer. The same request twice is asked once.
    pub fn of<'a>(asks: impl IntoIterator<Item = (&'a Ask, u64)>) -> Self {
        let mut seen = HashSet::new();
        let mut forecast = Self::default();
        for (ask, answer) in asks {
            if seen.insert((ask.system.as_str(), ask.user.as_str())) {
                forecast.calls += 1;
                // A few for what frames the messages.
                forecast.tokens_in += tokens::estimate(&ask.system) + tokens::estimate(&ask.user) + 12;
                forecast.tokens_out += answer;
            }
        }
        forecast
    }
}

/// What must not be exceeded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Requests that may be sent, those that fail included.
    pub calls: Option<u64>,
    /// Dollars that may be spent.
    pub dollars: Option<f64>,
}

/// Why asking stopped, to be told apart from a server's refusal.
pub const LIMIT_HINT: &str =
    "finished answers are kept; the same command with a higher limit goes on from there";

/// The purse of a run: every request is paid from it.
#[derive(Debug, Default)]
pub struct Budget {
    limits: Limits,
    state: Mutex<State>,
    models: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    spent: BTreeMap<&'static str, Spent>,
    sent: u64,
    under_way: u64,
    paid: u64,
    dollars: f64,
    told: BTreeMap<String, String>,
}

impl Budget {
    /// A purse with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A number for a model that is paid from it.
    pub fn next_model(&self) -> usize {
        self.models.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the right to send one request.
    ///
    /// # Errors
    /// A failure that ends asking, where the limit is reached.
    pub fn take(&self, purpose: &'static str) -> Result<(), Failure> {
        let mut state = self.lock();
        if let Some(most) = self.limits.calls
            && state.sent >= most
        {
            return Err(Failure::fatal(
                format!("stopped after {most} calls, as `--max-calls` says"),
                LIMIT_HINT,
            ));
        }
        if let Some(most) = self.limits.dollars {
            // Requests under way will cost about what the others did.
            let each = if state.paid > 0 { state.dollars / state.paid as f64 } else { 0.0 };
            if state.dollars + each * (state.under_way + 1) as f64 > most {
                let spent = state.dollars;
                return Err(Failure::fatal(
                    format!("stopped at ${spent:.4} of the ${most} that `--max-cost` allows"),
                    LIMIT_HINT,
                ));
            }
        }
        state.sent += 1;
        state.under_way += 1;
        state.spent.entry(purpose).or_default().sent += 1;
        Ok(())
    }

    /// A request that was sent has ended without an answer.
    pub fn failed(&self) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
    }

    /// A request was answered.
    pub fn pay(&self, purpose: &'static str, tokens_in: u64, tokens_out: u64, price: Option<Price>) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        state.paid += 1;
        let dollars = price.map(|price| price.of(tokens_in, tokens_out));
        state.dollars += dollars.unwrap_or(0.0);
        let spent = state.spent.entry(purpose).or_default();
        spent.calls += 1;
        spent.tokens_in += tokens_in;
        spent.tokens_out += tokens_out;
        spent.dollars = match (spent.calls, spent.dollars, dollars) {
            (1, _, dollars) => dollars,
            (_, Some(so_far), Some(dollars)) => Some(so_far + dollars),
            _ => None,
        };
    }

    /// Answers that cost nothing, and those in which nothing could be read.
    pub fn note(&self, purpose: &'static str, cached: u64, unreadable: u64) {
        let mut state = self.lock();
        let spent = state.spent.entry(purpose).or_default();
        spent.cached += cached;
        spent.unreadable += unreadable;
    }

    /// Something that the user should know; said again under the same name, it takes the place of what was said.
    pub fn tell(&self, name: &str, text: String) {
        self.lock().told.insert(name.to_owned(), text);
    }

    /// What was said under this name is no longer so.
    pub fn withdraw(&self, name: &str) {
        self.lock().told.remove(name);
    }

    /// What the user should know of how asking went.
    pub fn told(&self) -> Vec<String> {
        self.lock().told.values().cloned().collect()
    }

    /// What was spent, by purpose.
    pub fn spent(&self) -> BTreeMap<String, Spent> {
        self.lock().spent.iter().map(|(purpose, spent)| ((*purpose).to_owned(), *spent)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_found_by_name_date_and_gateway() {
        let prices = Prices::boxed();
        assert!(!prices.0.is_empty(), "data/prices.toml is read");
        let mini = prices.of("gpt-5-mini", "https://api.openai.com/v1").unwrap();
        assert_eq!(prices.of("gpt-5-mini-2025-08-07", "https://api.openai.com/v1"), Some(mini));
        assert_eq!(prices.of("openai/gpt-5-mini", "https://openrouter.ai/api/v1"), Some(mini));
        assert_eq!(prices.of("no-such", "https://example.org/v1"), None);
        assert_eq!(prices.of("no-such", "http://localhost:8000/v1").unwrap().of(9, 9), 0.0);
        assert!((mini.of(1_000_000, 1_000_000) - mini.input - mini.output).abs() < 1e-12);
    }

    #[test]
    fn a_file_of_prices_goes_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        std::fs::write(&path, "\"mine\" = { in = 1.0, out = 2.0 }").unwrap();
        assert!(Prices::with_file(&path).unwrap().of("mine", "https://x/v1").is_some());
        std::fs::write(&path, "\"mine\" = { in = -1.0, out = 2.0 }").unwrap();
        assert!(Prices::with_file(&path).unwrap_err().to_string().contains("mine"));
    }

    #[test]
    fn limits_hold_exactly() {
        let purse = Budget::new(Limits { calls: Some(3), dollars: None });
        assert_eq!((0..9).filter(|_| purse.take("judge").is_ok()).count(), 3);
        let purse = Budget::new(Limits { calls: None, dollars: Some(1.0) });
        let price = Some(Price { input: 0.3e6, output: 0.0 });
        let mut paid = 0;
        while purse.take("judge").is_ok() {
            purse.pay("judge", 1, 0, price);
            paid += 1;
        }
        assert_eq!(paid, 3, "a fourth would be too much");
        assert!((purse.spent()["judge"].dollars.unwrap() - 0.9).abs() < 1e-9);
    }
}
