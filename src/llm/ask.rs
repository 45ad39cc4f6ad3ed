//! A request to a language model, before it is known who answers.

use serde_json::Value;

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// `write`, `judge`, `shorten` …
    pub purpose: &'static str,
    /// What the system says.
    pub system: String,
    /// What the user says.
    pub user: String,
    /// Version of the prompt that both came from.
    pub version: String,
    /// JSON schema of the answer, for servers that hold a model to it.
    pub schema: Option<Value>,
    /// The probabilities of the answer's tokens are wanted, where the server gives them.
    pub graded: bool,
    /// Words that a plain answer has at most; leaves room for thinking.
    pub room: usize,
}
