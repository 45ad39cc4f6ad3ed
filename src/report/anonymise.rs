//! What `--anonymise` takes out of texts before they are shown.
//!
//! Only what a pattern finds with little doubt: e-mail addresses, links, handles, telephone and other long
//! numbers, network addresses, and the names of models and their makers. Names of people and places are
//! not found by patterns; the page says so.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

fn regex(pattern: &str) -> Regex {
    #[allow(clippy::expect_used)] // a literal of this file; a test uses every one
    Regex::new(pattern).expect("a pattern of this file")
}

/// In the order in which they are applied.
static PATTERNS: LazyLock<[(Regex, &str); 6]> = LazyLock::new(|| {
    [
        (regex(r"(?i)\b[a-z0-9._%+-]{1,64}@[a-z0-9.-]{1,255}\.[a-z]{2,24}\b"), "[e-mail]"),
        (regex(r"(?i)\b(?:https?://|www\.)[^\s<>\x22)\]]+"), "[link]"),
        (regex(r"\b(?:\d{1,3}\.){3}\d{1,3}\b|(?i)\b(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}\b"), "[address]"),
        // Nine digits or more, however they are grouped: telephone, card, account, passport.
        (regex(r"\+?\(?\d(?:[ \u{a0}./()-]{0,2}\d){8,}"), "[number]"),
        (regex(r"(?:^|\B)@[A-Za-z0-9_]{2,40}\b"), "[handle]"),
        (
            regex(
                r"(?i)\b(?:chat ?gpt|gpt-?\d[\w.-]*|claude(?:[ -]\d[\w.-]*)?|gemini|bard|palm ?2|llama[\w.-]*|alpaca|vicuna|mistral[\w.-]*|mixtral[\w.-]*|qwen[\w.-]*|deepseek[\w.-]*|grok|command[ -]r\+?|koala-\d+b|dolly-v\d[\w.-]*|openassistant|open assistant|openai|anthropic|deepmind|cohere|hugging ?face)\b",
            ),
            "[model]",
        ),
    ]
});

/// The text without obvious personal data and names of models.
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut masked = Cow::Borrowed(text);
    for (pattern, instead) in PATTERNS.iter() {
        if let Cow::Owned(changed) = pattern.replace_all(&masked, *instead) {
            masked = Cow::Owned(changed);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obvious_personal_data_goes_and_the_rest_stays() {
        for (text, expected) in [
            ("Write to Ann.Lee@example.org now", "Write to [e-mail] now"),
            ("see https://example.org/u/ann?x=1, ok", "see [link] ok"),
            ("call +1 (555) 010-99 88 77", "call [number]"),
            ("card 4111 1111 1111 1111.", "card [number]."),
            ("host 192.168.0.12 is up", "host [address] is up"),
            ("thanks @ann_lee!", "thanks [handle]!"),
            ("As ChatGPT by OpenAI, or GPT-4-turbo", "As [model] by [model], or [model]"),
            ("In 1999, 3,500 people came at 10:30.", "In 1999, 3,500 people came at 10:30."),
            ("a@b and 2 @ 3", "a@b and 2 @ 3"),
        ] {
            assert_eq!(mask(text), expected);
        }
    }
}
