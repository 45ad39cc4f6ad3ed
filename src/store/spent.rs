//! What asking language models took, as `run.json` records it.

use serde::{Deserialize, Serialize};

/// What was asked for one purpose, and what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Requests that were answered.
    pub calls: u64,
    /// Requests that were sent, those that failed or were asked again included.
    pub sent: u64,
    /// Answers that were in the cache.
    pub cached: u64,
    /// Answers in which nothing could be read.
    pub unreadable: u64,
    /// Tokens sent, as the server counts them, or estimated where it does not.
    pub tokens_in: u64,
    /// Tokens answered.
    pub tokens_out: u64,
    /// Dollars; `None` where the price is not known.
    pub dollars: Option<f64>,
}

impl Spent {
    /// With what was spent at another time.
    pub fn and(self, other: Self) -> Self {
        let dollars = match (self.calls, other.calls) {
            (0, _) => other.dollars,
            (_, 0) => self.dollars,
            _ => self.dollars.zip(other.dollars).map(|(a, b)| a + b),
        };
        Self {
            calls: self.calls + other.calls,
            sent: self.sent + other.sent,
            cached: self.cached + other.cached,
            unreadable: self.unreadable + other.unreadable,
            tokens_in: self.tokens_in + other.tokens_in,
            tokens_out: self.tokens_out + other.tokens_out,
            dollars,
        }
    }
}
