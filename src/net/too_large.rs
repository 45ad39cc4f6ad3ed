//! What a refusal says of the size of a request: that there is too much in it, of what, and how much may be.

use std::sync::LazyLock;

use regex::Regex;

#[allow(clippy::expect_used)] // literals of this file, compiled by the tests
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern of this file")
}

/// A number behind words that make it a limit: "at most 3", "maximum allowed batch size 32".
static LIMIT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:at most|no more than|up to|fewer than or equal to|(?:less|smaller) than or equal to|limited to|(?:max(?:imum)?|limit)(?: allowed| permitted| supported)?(?: (?:client )?(?:batch size|batch|array length|list length|length|size|count|number)(?: of [a-z]+)?)?(?: allowed| permitted| supported)?(?: is| of|:|=)*|<=|≤) *[`'\(]?(\d[\d,]*)",
    )
});

/// Whether a refusal says that there is too much in the request: of texts, or of one.
pub(super) fn is_too_large(lower: &str) -> bool {
    const WORDS: &[&str] = &[
        "context length",
        "context size",
        "context window",
        "context limit",
        "maximum context",
        "max context",
        "exceeds the context",
        "exceed context",
        "exceeds the available context",
        "too large",
        "too long",
        "too many tokens",
        "too many input",
        "too many text",
        "too many item",
        "max_tokens_per",
        "max_seq_len",
        "maximum sequence length",
        "max sequence length",
        "sequence length is longer",
        "longer than the maximum",
        "longest",
        "maximum input length",
        "input length",
        "maximum number of tokens",
        "token limit",
        "tokens exceed",
        "exceeds the maximum",
        "exceeds maximum",
        "exceeds the limit",
        "exceeds the max",
        "exceed the maximum",
        "reduce the length",
        "reduce your prompt",
        "must have less than",
        "fewer tokens",
        "batch size",
        "array too long",
        "maximum allowed batch",
        "at most",
    ];
    // "max_tokens must be at most 4096" is about our own wish.
    (WORDS.iter().any(|words| lower.contains(words)) || is_about_the_batch(lower))
        && !(lower.contains("max_tokens") && !lower.contains("context") && !lower.contains("max_tokens_per"))
}

/// Whether a refusal speaks of the length of a text, in tokens, and not of how many texts there are.
pub fn is_about_a_text(said: &str) -> bool {
    let lower = said.to_lowercase();
    // llama.cpp's "physical batch size" is the longest text that it reads.
    ["token", "context", "character", "sequence length", "input length", "physical batch", "must have less"]
        .iter()
        .any(|words| lower.contains(words))
}

/// Whether a refusal speaks of the number of texts rather than of one text's length.
pub fn is_about_the_batch(said: &str) -> bool {
    const WORDS: &[&str] = &[
        "batch size",
        "array too long",
        "allowed batch",
        "too many text",
        "too many item",
        "too many inputs",
    ];
    /// What servers call several texts, beside a number that is a limit.
    const SEVERAL: &[&str] = &[
        "batch",
        "items",
        "inputs",
        "input:",
        "`input`",
        "'input'",
        "\"input\"",
        "array",
        "list",
        "texts",
        "documents",
        "elements",
        "entries",
        "strings",
    ];
    let lower = said.to_lowercase();
    let is_limit = || SEVERAL.iter().any(|word| lower.contains(word)) && LIMIT.is_match(&lower);
    !is_about_a_text(said) && (WORDS.iter().any(|words| lower.contains(words)) || is_limit())
}

/// How many texts a server takes at once, where a refusal says it.
pub fn batch_limit(said: &str) -> Option<usize> {
    if !is_about_the_batch(said) {
        return None;
    }
    let lower = said.to_lowercase();
    let number = LIMIT.captures(&lower)?.get(1)?.as_str().replace(',', "");
    number.parse().ok().filter(|limit| *limit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Word for word what servers say when a text is longer than they read, or when there are too many.
    #[test]
    fn too_much_is_known_in_its_many_wordings() {
        for said in [
            "This model's maximum context length is 8192 tokens, however you requested 10000 tokens",
            "input (600 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
            "Input validation error: `inputs` must have less than 512 tokens. Given: 600",
            "the input length exceeds the context length",
            "batch size 64 > maximum allowed batch size 32",
            "'input' array too long. Expected an array with maximum length 2048",
            "Too many tokens in batch. Max: 16384, given: 20000",
            "Too many input tokens. Max input tokens: 8192, request input token count: 10000",
            "the request exceeds the available context size. try increasing the context size",
            "Token indices sequence length is longer than the specified maximum sequence length for this model (600 > 512)",
            "The input or output tokens must be reduced: prompt is too long",
            "Invalid 'input': at most 96 texts are allowed",
            "Requested tokens (5000) exceed context window of 4096",
            "input: list length must be less than or equal to 3",
        ] {
            assert!(is_too_large(&said.to_lowercase()), "{said}");
        }
        for said in [
            "max_tokens must be at most 4096",
            "Unsupported parameter: temperature",
            "bad model",
            "dimensions: Input should be less than or equal to 2048",
        ] {
            assert!(!is_too_large(&said.to_lowercase()), "{said}");
        }
        assert!(is_about_the_batch("batch size 64 > maximum allowed batch size 32"));
        assert!(!is_about_the_batch("increase the physical batch size (current batch size: 512)"));
    }

    /// The number of texts that a server takes stands in its refusal more often than not.
    #[test]
    fn a_limit_that_a_server_names_is_read() {
        for (said, limit) in [
            ("batch size 64 > maximum allowed batch size 32", Some(32)),
            ("'input' array too long. Expected an array with maximum length 2048, but got 3000", Some(2048)),
            ("Invalid 'input': at most 96 texts are allowed", Some(96)),
            // Pydantic 2 and 1, behind FastAPI.
            ("input: List should have at most 3 items after validation, not 8", Some(3)),
            ("input -> list[str]: ensure this value has at most 3 items", Some(3)),
            ("input: list length must be less than or equal to 3", Some(3)),
            ("Batch of 8 is too large: the maximum is 4", Some(4)),
            ("too many inputs: 8 given, limit is 1,000", Some(1000)),
            ("The maximum number of inputs is 16", Some(16)),
            ("'$.input' is invalid: expected maximum array length of 2048", Some(2048)),
            ("batch size must be <= 10", Some(10)),
            ("batch size is invalid, it should not be larger than that", None),
            ("Too many tokens in batch. Max: 16384, given: 20000", None),
            ("This model's maximum context length is 8192 tokens", None),
            ("input (600 tokens) is too large to process (current batch size: 512)", None),
            ("dimensions: Input should be less than or equal to 2048", None),
            ("the maximum batch size is 0", None),
        ] {
            assert_eq!(batch_limit(said), limit, "{said}");
        }
    }
}
