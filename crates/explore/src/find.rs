//! Features by words: which of them says what somebody asks for, in whatever form the words come.

use wimhf::Error;
use wimhf::embed::{BundledEmbedder, EmbedError, Embedder};

use crate::error::ExploreError;
use crate::opened::Opened;

/// Letters that two forms of a word share at least, and their share of the longer one: "refusals", "refuses".
const SHARED: usize = 4;
const SHARE: f32 = 0.6;
/// Similarity of meaning below which a feature does not fit.
const NEAR: f32 = 0.45;

/// Words that ask, and say nothing of what is asked for.
const ASKING: [&str; 62] = [
    "about",
    "all",
    "and",
    "annotator",
    "annotators",
    "answer",
    "answers",
    "any",
    "are",
    "avoid",
    "avoided",
    "better",
    "between",
    "but",
    "can",
    "data",
    "dataset",
    "did",
    "does",
    "feedback",
    "for",
    "from",
    "have",
    "here",
    "how",
    "label",
    "labels",
    "less",
    "like",
    "liked",
    "likes",
    "more",
    "most",
    "not",
    "often",
    "pair",
    "pairs",
    "penalise",
    "penalize",
    "people",
    "prefer",
    "preferred",
    "prefers",
    "prompts",
    "punish",
    "punished",
    "punishes",
    "rather",
    "response",
    "responses",
    "reward",
    "rewarded",
    "rewards",
    "than",
    "that",
    "the",
    "they",
    "this",
    "what",
    "which",
    "why",
    "with",
];

/// Features that fit `words`, by how well, the best first; equals in the order of the list: principles first.
///
/// # Errors
/// Where there is no word to look for.
pub fn fitting(opened: &Opened, words: &str) -> Result<Vec<(f32, usize)>, ExploreError> {
    let wanted = wanted(words);
    if wanted.is_empty() {
        return Err(ExploreError::asked("there is no word to look for", "such as 'disclaimer' or 'list'"));
    }
    let texts: Vec<String> = (opened.order.iter())
        .map(|&at| {
            let own = &opened.run.features[at];
            format!("{} {} {}", own.feature_id.replace('_', " "), own.short, own.words()).to_lowercase()
        })
        .collect();
    let meaning = meanings(&wanted.join(" "), &texts).map_err(Error::from)?;
    let mut found: Vec<(f32, usize)> = (texts.iter().zip(meaning).zip(&opened.order))
        .map(|((text, near), &at)| {
            let of_text: Vec<&str> = split(text).collect();
            let said = wanted.iter().filter(|word| of_text.iter().any(|other| same(word, other))).count();
            (said as f32 + if near >= NEAR { near } else { 0.0 }, at)
        })
        .filter(|(score, _)| *score > 0.0)
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(found)
}

/// The words of a question that say what is asked for; all of them where none does.
fn wanted(words: &str) -> Vec<String> {
    let lower = words.to_lowercase();
    let all: Vec<&str> = split(&lower).filter(|word| word.chars().count() > 2).collect();
    let telling: Vec<String> =
        all.iter().filter(|word| !ASKING.contains(word)).map(|word| (*word).to_owned()).collect();
    if telling.is_empty() { all.iter().map(|word| (*word).to_owned()).collect() } else { telling }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether two words are forms of one.
fn same(one: &str, other: &str) -> bool {
    let shared = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let longer = one.chars().count().max(other.chars().count());
    shared == longer || (shared >= SHARED && shared as f32 >= SHARE * longer as f32)
}

/// Cosines of the boxed embedder, which is at hand whatever the run's own is.
fn meanings(words: &str, texts: &[String]) -> Result<Vec<f32>, EmbedError> {
    let embedder = BundledEmbedder::load()?;
    let all: Vec<&str> = texts.iter().map(String::as_str).chain([words]).collect();
    let rows = embedder.embed(&all)?;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let length = |row: &[f32]| dot(row, row).sqrt().max(f32::EPSILON);
    let question = rows.row(texts.len());
    let near = |at: usize| dot(rows.row(at), question) / (length(rows.row(at)) * length(question));
    Ok((0..texts.len()).map(near).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_are_one_word() {
        for (one, other) in
            [("refusals", "refuses"), ("list", "lists"), ("apologies", "apologises"), ("ai", "ai")]
        {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in
            [("the", "other"), ("list", "listen-to"), ("con", "confident"), ("form", "formidable")]
        {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_asks_is_not_looked_for() {
        assert_eq!(wanted("Do annotators punish refusals?"), ["refusals"]);
        assert_eq!(wanted("What is rewarded?"), ["what", "rewarded"]);
        assert!(ASKING.is_sorted());
    }
}
