//! What embedding will take, from the lengths of the texts alone.

use serde::Serialize;

use crate::config::EmbedConfig;

/// What a kind of embedder will take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbeddingEstimate {
    /// "boxed", "local", "api".
    pub embedder: &'static str,
    /// In words.
    pub what: &'static str,
    /// Tokens that it will read, longer texts cut where it cuts them.
    pub tokens: u64,
    /// Wall-clock seconds on this machine's processor; `None`: it depends on the server.
    pub seconds: Option<f64>,
    /// Requests; 0 for what runs here.
    pub calls: u64,
}

/// Tokens per second and core. Static vectors are looked up and added; measured on the boxed embedder.
const BOXED_RATE: f64 = 1_500_000.0;
/// Tokens per second and core of a transformer with 22 million parameters (all-MiniLM-L6-v2), from what others' engines reach.
const MINILM_RATE: f64 = 3_500.0;
/// Tokens that all-MiniLM-L6-v2 reads of a text.
const MINILM_TOKENS: u64 = 256;
/// Loading a model.
const START_SECONDS: f64 = 0.3;

/// Estimates for texts with about so many tokens each, on a processor with `cores`.
pub fn estimate(tokens: &[u32], cores: usize, settings: &EmbedConfig) -> Vec<EmbeddingEstimate> {
    let all: u64 = tokens.iter().map(|n| u64::from(*n)).sum();
    let cut: u64 = tokens.iter().map(|n| u64::from(*n).min(MINILM_TOKENS)).sum();
    let seconds = |tokens: u64, rate: f64| Some(START_SECONDS + tokens as f64 / (rate * cores.max(1) as f64));
    vec![
        EmbeddingEstimate {
            embedder: "boxed",
            what: "the embedder in the program",
            tokens: all,
            seconds: seconds(all, BOXED_RATE),
            calls: 0,
        },
        EmbeddingEstimate {
            embedder: "local",
            what: "a model of MiniLM's size on this processor",
            tokens: cut,
            seconds: seconds(cut, MINILM_RATE),
            calls: 0,
        },
        EmbeddingEstimate {
            embedder: "api",
            what: "an OpenAI-compatible server",
            tokens: all,
            seconds: None,
            calls: calls(tokens, settings),
        },
    ]
}

/// Requests when texts are sent sorted by length.
fn calls(tokens: &[u32], settings: &EmbedConfig) -> u64 {
    let (most_texts, most_tokens) = (settings.batch_texts as u64, settings.batch_tokens as u64);
    let mut sorted: Vec<u64> = tokens.iter().map(|n| u64::from(*n)).collect();
    sorted.sort_unstable();
    let (mut calls, mut texts, mut sum) = (0, 0, 0);
    for n in sorted {
        if texts > 0 && (texts == most_texts || sum + n > most_tokens) {
            calls += 1;
            (texts, sum) = (0, 0);
        }
        texts += 1;
        sum += n;
    }
    calls + u64::from(texts > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_bounded_by_texts_and_by_tokens() {
        let settings = EmbedConfig { batch_texts: 64, batch_tokens: 16_384, ..EmbedConfig::default() };
        let calls = |tokens: &[u32]| calls(tokens, &settings);
        assert_eq!(calls(&[]), 0);
        assert_eq!(calls(&[1; 64]), 1);
        assert_eq!(calls(&[1; 65]), 2);
        assert_eq!(calls(&[8_192; 3]), 2);
        // One that is too long goes alone, and is the server's to refuse.
        assert_eq!(calls(&[50_000, 10]), 2);
    }

    #[test]
    fn long_texts_are_cut_where_the_model_cuts_them() {
        let found = estimate(&[100, 1000], 2, &EmbedConfig::default());
        assert_eq!(found.iter().map(|e| e.tokens).collect::<Vec<_>>(), [1100, 356, 1100]);
        assert!(found[1].seconds > found[0].seconds && found[2].seconds.is_none());
    }
}
