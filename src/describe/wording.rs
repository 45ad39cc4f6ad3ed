//! Phrases of one to three words in sentences, and those that features are named by.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::contrast::{clauses, push_folded, raw_words, stopwords};
use super::feature::Feature;

/// Words of a phrase, at most.
const LONGEST: usize = 3;
/// Words that no phrase begins or ends with: what they belong to is missing.
const JOINING: [&str; 22] = [
    "a", "an", "and", "as", "at", "but", "by", "for", "from", "if", "in", "into", "of", "on", "or", "so",
    "than", "that", "the", "to", "when", "with",
];
/// The phrases that features are named by, to be found in sentences.
#[derive(Debug, Clone, Default)]
pub struct Wording {
    /// Features by the hash of a phrase that they are named by.
    named: HashMap<u64, Vec<u32>>,
    stop: HashSet<&'static str>,
}

impl Wording {
    /// Of features, in the order of the columns of what fires.
    pub fn of<'a>(features: impl Iterator<Item = &'a Feature>) -> Self {
        let mut named: HashMap<u64, Vec<u32>> = HashMap::new();
        for (column, feature) in (0u32..).zip(features) {
            feature.phrases.iter().for_each(|phrase| named.entry(hash(phrase)).or_default().push(column));
        }
        Self { named, stop: stopwords() }
    }

    /// Whether no feature is named by phrases.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// The features that are named by phrases, ascending.
    pub(crate) fn features(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.named.values().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The features of whose phrases one stands in the sentence, ascending.
    pub fn in_sentence(&self, sentence: &str) -> Vec<u32> {
        let mut found = Vec::new();
        if !self.is_empty() {
            each(sentence, &self.stop, |phrase| {
                found.extend(self.named.get(&hash(phrase)).into_iter().flatten())
            });
            found.sort_unstable();
            found.dedup();
        }
        found
    }
}

/// Every phrase of a sentence; phrases do not cross punctuation, and a stop word alone is none.
pub(super) fn each(sentence: &str, stop: &HashSet<&str>, mut found: impl FnMut(&str)) {
    let mut phrase = String::new();
    for clause in clauses(sentence) {
        let words: Vec<String> = raw_words(clause)
            .map(|word| {
                let mut folded = String::with_capacity(word.len());
                push_folded(word, &mut folded);
                folded
            })
            .collect();
        for start in 0..words.len() {
            phrase.clear();
            for (length, word) in words[start..].iter().take(LONGEST).enumerate() {
                if length > 0 {
                    phrase.push(' ');
                }
                phrase.push_str(word);
                let says = phrase.chars().any(char::is_alphabetic) && phrase.chars().count() > 1;
                let whole = match length {
                    0 => !stop.contains(word.as_str()),
                    _ => [&words[start], word].iter().all(|end| !JOINING.contains(&end.as_str())),
                };
                if says && whole {
                    found(&phrase);
                }
            }
        }
    }
}

/// The same in every process: `DefaultHasher` begins with fixed keys.
pub(super) fn hash(phrase: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    phrase.hash(&mut hasher);
    hasher.finish()
}
