//! Words and two-word phrases in the two responses of a pair: how often one has what the other has not.
//!
//! A term counts once per response: a long response must not win by repeating itself.

use std::collections::{HashMap, HashSet};

use polars::prelude::PlHashMap;

use rayon::prelude::*;

use crate::matrix::Matrix;
use crate::pairs::Pairs;

/// A response longer than this is counted up to here: hostile input must not take the memory.
const COUNTED_WORDS: usize = 4_000;

/// Words of a clause as they stand; apostrophes belong to the word.
pub(super) fn raw_words(clause: &str) -> impl Iterator<Item = &str> {
    clause
        .split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '’'))
        .map(|word| word.trim_matches(['\'', '’']))
        .filter(|word| !word.is_empty() && word.len() <= 40)
}

/// Appends a word in lower case, with plain apostrophes.
pub(super) fn push_folded(word: &str, out: &mut String) {
    if word.is_ascii() {
        out.extend(word.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
    } else {
        out.extend(word.chars().flat_map(char::to_lowercase).map(|c| if c == '’' { '\'' } else { c }));
    }
}

/// Phrases do not cross punctuation.
pub(super) fn clauses(text: &str) -> impl Iterator<Item = &str> {
    text.split(['.', ',', ';', ':', '!', '?', '\n', '(', ')', '"'])
}

/// Words that say nothing by themselves.
pub(crate) fn stopwords() -> HashSet<&'static str> {
    include_str!("../../data/stopwords.txt").split_whitespace().collect()
}

/// The words of some pairs' responses that only one of the two has.
#[derive(Debug)]
pub struct Words {
    /// The words, `[words]`.
    pub terms: Vec<String>,
    /// Per pair the words that only A has, and those that only B has.
    documents: Vec<(Vec<u32>, Vec<u32>)>,
}

impl Words {
    /// The words of the pairs `index`: those that are neither stop words nor rare, at most `most`.
    pub fn new(pairs: &Pairs, index: &[u32], most: usize) -> Self {
        let stop = stopwords();
        let texts = |pair: u32| [pairs.response_a.get(pair as usize), pairs.response_b.get(pair as usize)];
        let distinct = |text: &str| {
            let mut found: Vec<String> = Vec::new();
            for word in clauses(text).flat_map(raw_words).take(COUNTED_WORDS) {
                let mut folded = String::with_capacity(word.len());
                push_folded(word, &mut folded);
                if !stop.contains(folded.as_str()) && folded.chars().any(char::is_alphabetic) {
                    found.push(folded);
                }
            }
            found.sort_unstable();
            found.dedup();
            found
        };
        let counts: HashMap<String, u32> = index
            .par_iter()
            .fold(HashMap::new, |mut counts, &pair| {
                for word in texts(pair).into_iter().flat_map(distinct) {
                    *counts.entry(word).or_default() += 1;
                }
                counts
            })
            .reduce(HashMap::new, |mut all, part| {
                for (word, count) in part {
                    *all.entry(word).or_default() += count;
                }
                all
            });
        let rare = (2.0 * index.len() as f64 * 0.001).max(5.0) as u32;
        let mut kept: Vec<(String, u32)> = counts.into_iter().filter(|(_, count)| *count >= rare).collect();
        // Ties by the word, so that the choice does not depend on the order of counting.
        kept.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        kept.truncate(most);
        let terms: Vec<String> = kept.into_iter().map(|(word, _)| word).collect();
        let documents = one_sided(pairs, index, &terms);
        Self { terms, documents }
    }

    /// The same words in other pairs.
    pub fn in_pairs(&self, pairs: &Pairs, index: &[u32]) -> Self {
        Self { terms: self.terms.clone(), documents: one_sided(pairs, index, &self.terms) }
    }

    /// How many of the words numbered `members` occur in A minus how many in B, as [`read`] counts them, `[pairs]`.
    pub fn counts(&self, members: &[usize]) -> Vec<f32> {
        let mut among = vec![false; self.terms.len()];
        members.iter().filter(|&&member| member < self.terms.len()).for_each(|&member| among[member] = true);
        let count = |terms: &[u32]| terms.iter().filter(|term| among[**term as usize]).count() as f32;
        self.documents.iter().map(|(a, b)| count(a) - count(b)).collect()
    }

    /// Each word's association with what is left of the labels: Σ d·r / √(Σ d²·v) over the pairs, `left`
    /// holding r and v of each; 0 for words in too few pairs to tell, `[words]`.
    pub fn associations(&self, left: &[(f64, f64)]) -> Vec<f64> {
        let mut sums = vec![(0.0, 0.0); self.terms.len()];
        for ((a, b), (r, v)) in self.documents.iter().zip(left) {
            for (terms, sign) in [(a, 1.0), (b, -1.0)] {
                for &term in terms {
                    let sum = &mut sums[term as usize];
                    *sum = (sum.0 + sign * r, sum.1 + v);
                }
            }
        }
        sums.into_iter().map(|(r, v)| if v < 1.0 { 0.0 } else { r / v.sqrt() }).collect()
    }
}

/// Per pair the terms that only A has, and those that only B has.
fn one_sided(pairs: &Pairs, index: &[u32], terms: &[String]) -> Vec<(Vec<u32>, Vec<u32>)> {
    let number: PlHashMap<&str, u32> = terms.iter().map(String::as_str).zip(0..).collect();
    index
        .par_iter()
        .map_init(
            || (Vec::new(), String::new()),
            |(found, phrase), &pair| {
                let at = pair as usize;
                let [a, b] = [pairs.response_a.get(at), pairs.response_b.get(at)].map(|text| {
                    found.clear();
                    find(text, &number, found, phrase);
                    found.sort_unstable();
                    found.dedup();
                    found.clone()
                });
                let without = |these: &[u32], those: &[u32]| -> Vec<u32> {
                    these.iter().copied().filter(|term| those.binary_search(term).is_err()).collect()
                };
                (without(&a, &b), without(&b, &a))
            },
        )
        .collect()
}

/// How many of a list's terms occur in A minus how many occur in B, `[pairs, lists]`.
pub fn read(pairs: &Pairs, lists: &[Vec<String>]) -> Matrix {
    let mut values = vec![0f32; pairs.pair_id.len() * lists.len()];
    if lists.is_empty() {
        return Matrix { values, cols: 0 };
    }
    // Every term once, with the lists that it is in.
    let mut terms: Vec<&str> = lists.iter().flatten().map(String::as_str).collect();
    terms.sort_unstable();
    terms.dedup();
    let number: PlHashMap<&str, u32> = terms.iter().copied().zip(0..).collect();
    let mut owners: Vec<Vec<usize>> = vec![Vec::new(); terms.len()];
    for (list, terms) in lists.iter().enumerate() {
        for term in terms {
            if let Some(&term) = number.get(term.as_str()) {
                owners[term as usize].push(list);
            }
        }
    }
    let count = lists.len();
    values.par_chunks_mut(count).enumerate().for_each_init(
        || (Vec::new(), String::new()),
        |(found, phrase), (pair, row)| {
            for (text, sign) in [(pairs.response_a.get(pair), 1.0), (pairs.response_b.get(pair), -1.0)] {
                found.clear();
                find(text, &number, found, phrase);
                found.sort_unstable();
                found.dedup();
                for &term in found.iter() {
                    for &list in &owners[term as usize] {
                        row[list] += sign;
                    }
                }
            }
        },
    );
    Matrix { values, cols: count }
}

/// Numbers of the terms (words and two-word phrases that do not cross punctuation) that occur in a text.
fn find(text: &str, number: &PlHashMap<&str, u32>, found: &mut Vec<u32>, phrase: &mut String) {
    let mut counted = 0;
    for clause in clauses(text) {
        // `phrase` holds the word before and the word, so that no word is copied twice.
        phrase.clear();
        for word in raw_words(clause) {
            counted += 1;
            if counted > COUNTED_WORDS {
                return;
            }
            let before = phrase.rfind(' ').map_or(0, |at| at + 1);
            phrase.drain(..before);
            let start = if phrase.is_empty() { 0 } else { phrase.len() + 1 };
            if start > 0 {
                phrase.push(' ');
            }
            push_folded(word, phrase);
            found.extend(number.get(&phrase[start..]));
            if start > 0 {
                found.extend(number.get(phrase.as_str()));
            }
        }
    }
}

/// Where in a text the terms (words and two-word phrases) stand, as byte ranges in order.
pub fn places(text: &str, terms: &[String]) -> Vec<(usize, usize)> {
    let wanted: HashSet<&str> = terms.iter().map(String::as_str).collect();
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut counted = 0;
    for clause in clauses(text) {
        let mut before: Option<(usize, String)> = None;
        for word in raw_words(clause) {
            counted += 1;
            if counted > COUNTED_WORDS {
                return found;
            }
            // `word` is a part of `text`.
            let from = word.as_ptr() as usize - text.as_ptr() as usize;
            let to = from + word.len();
            let mut folded = String::with_capacity(word.len());
            push_folded(word, &mut folded);
            let phrase = before.as_ref().filter(|(_, other)| wanted.contains(&*format!("{other} {folded}")));
            let start = match phrase {
                Some((start, _)) => Some(*start),
                None => wanted.contains(folded.as_str()).then_some(from),
            };
            if let Some(start) = start {
                match found.last_mut() {
                    Some(last) if start < last.1 => last.1 = to,
                    _ => found.push((start, to)),
                }
            }
            before = Some((from, folded));
        }
    }
    found
}

/// The terms as a phrase: `mentions “recipes”, “oven” or “flour”`.
pub fn phrase(terms: &[String]) -> String {
    let quoted: Vec<String> = terms.iter().map(|term| format!("“{term}”")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => format!("mentions {last}"),
        Some((last, rest)) => format!("mentions {} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::TextColumn;
    use polars::prelude::{NewChunkedArray, StringChunked};

    fn pairs(a: Vec<String>, b: Vec<String>) -> Pairs {
        let column = |texts: &[String]| {
            TextColumn(StringChunked::from_iter_values("t".into(), texts.iter().map(String::as_str)))
        };
        Pairs {
            pair_id: (0..a.len()).map(|i| i.to_string()).collect(),
            response_a: column(&a),
            response_b: column(&b),
            ..Pairs::default()
        }
    }

    fn planted() -> (Pairs, Vec<f32>) {
        let filler =
            ["the weather is mild", "cities grow slowly", "music needs practice", "trees give shade"];
        let mut a = Vec::new();
        let mut b = Vec::new();
        let mut z = Vec::new();
        for i in 0..200 {
            let plain = filler[i % 4].to_owned();
            let baked = format!("{} and the oven melts butter.", filler[(i / 4) % 4]);
            if i % 2 == 0 {
                a.push(baked);
                b.push(plain);
                z.push(1.0 + i as f32 / 100.0);
            } else {
                a.push(plain);
                b.push(baked);
                z.push(-1.0 - i as f32 / 100.0);
            }
        }
        (pairs(a, b), z)
    }

    #[test]
    fn terms_are_counted_on_the_side_that_has_them() {
        let (pairs, z) = planted();
        let terms = ["oven", "melts butter"].map(str::to_owned).to_vec();
        let reading = read(&pairs, &[terms]);
        assert!(reading.values.iter().zip(&z).all(|(r, z)| *r == 2.0 * z.signum()));
        // Counted from the words of all pairs, it is the same.
        let some: Vec<u32> = (0..100).collect();
        let words = Words::new(&pairs, &some, 100).in_pairs(&pairs, &(0..200).collect::<Vec<u32>>());
        let members: Vec<usize> =
            (0..words.terms.len()).filter(|&at| words.terms[at].contains('e')).collect();
        let list: Vec<String> = members.iter().map(|&at| words.terms[at].clone()).collect();
        let counts = words.counts(&members);
        assert!(members.len() > 1 && counts.iter().any(|count| *count != 0.0));
        assert_eq!(counts, read(&pairs, &[list]).values);
    }

    #[test]
    fn hostile_texts_do_no_harm() {
        let long = "x".repeat(1 << 20);
        let pairs = pairs(vec![long, "\0\u{202e}’’'".into()], vec![String::new(), "a ".repeat(100_000)]);
        assert_eq!(read(&pairs, &[vec!["x".into()]]).values, [0.0, 0.0]);
    }

    #[test]
    fn terms_are_found_where_they_stand() {
        let terms: Vec<String> = ["oven", "melts butter", "it's"].map(str::to_owned).into();
        let text = "The Oven melts Butter, melts. It’s an oven-glove; \0 é oven";
        let found: Vec<&str> = places(text, &terms).into_iter().map(|(a, b)| &text[a..b]).collect();
        assert_eq!(found, ["Oven", "melts Butter", "It’s", "oven", "oven"]);
    }

    #[test]
    fn phrases_read_like_sentences() {
        let terms = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        assert_eq!(phrase(&terms(&["oven"])), "mentions “oven”");
        assert_eq!(phrase(&terms(&["oven", "flour"])), "mentions “oven” or “flour”");
    }
}
