//! The pairs that the page shows for each feature, with the parts of the texts in which it shows.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::anonymise::mask;
use super::html::{inert, unseen};
use crate::describe::known::ConceptBank;
use crate::describe::{Feature, FeatureSource, contrast};
use crate::featurizer::{Places, SentenceReader};
use crate::pairs::{MISSING, Pairs};

/// Bytes of pairs in a page.
pub const BYTES: usize = 3_200_000;
/// Pairs for and against, each, of a feature at most.
pub const MOST: usize = 40;
/// Characters of a response that are shown from its beginning, and from its end.
const RESPONSE: (usize, usize) = (1_600, 400);
/// The same of a prompt, whose end is what is answered.
const PROMPT: (usize, usize) = (300, 900);

/// What one feature's evidence is about.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// The feature, and its column in the activations.
    pub feature: &'a Feature,
    /// Index of its column.
    pub column: usize,
    /// The principle's statement, or the feature's words.
    pub text: String,
    /// Its effect in words.
    pub effect: String,
    /// What the two lists are called.
    pub titles: [&'static str; 2],
    /// Pairs whose label agrees, the clearest first.
    pub supporting: Vec<u32>,
    /// Pairs whose label goes against it.
    pub against: Vec<u32>,
}

/// Where the pairs come from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The dataset.
    pub pairs: &'a Pairs,
    /// The activation of a feature (second) on a pair (first).
    pub activation: &'a dyn Fn(usize, usize) -> f32,
    /// Mean label and number of labels of each pair, ties included; NaN and 0 without any.
    pub labels: &'a [(f32, u32)],
    /// Detectors of the concepts.
    pub bank: &'a ConceptBank,
    /// What finds the other features in sentences.
    pub sentences: &'a SentenceReader,
    /// Without annotators and obvious personal data.
    pub anonymise: bool,
}

/// The page's data: `items` by feature, each with its evidence, and the `pairs` they refer to.
///
/// At most `most` bytes of pairs; the first of every feature come before the second of any.
pub fn pack(items: &[Item<'_>], source: Source<'_>, most: usize) -> Value {
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut pairs: Vec<Value> = Vec::new();
    let mut bytes = 0;
    let mut chosen: Vec<[Vec<Value>; 2]> = items.iter().map(|_| [Vec::new(), Vec::new()]).collect();
    let annotators = annotators(source.pairs, source.anonymise);
    let mut found = Found::new(items, source);
    'filled: for depth in 0..MOST {
        for (item, slots) in items.iter().zip(&mut chosen) {
            for (list, slot) in [&item.supporting, &item.against].into_iter().zip(slots) {
                let Some(&pair) = list.get(depth) else { continue };
                let texts = Texts::new(source, pair);
                let index = match places.get(&pair) {
                    Some(&index) => index,
                    None => {
                        let value = texts.value(source, pair, &annotators);
                        bytes += inert(&value.to_string()).len();
                        if bytes > most {
                            break 'filled;
                        }
                        pairs.push(value);
                        places.insert(pair, pairs.len() - 1);
                        pairs.len() - 1
                    }
                };
                let z = (source.activation)(pair as usize, item.column);
                let [a, b] = found.places(pair, item.feature, &texts);
                slot.push(json!([
                    index,
                    i8::from(z > 0.0) - i8::from(z < 0.0),
                    texts.shown_a.marks(&a),
                    texts.shown_b.marks(&b)
                ]));
            }
        }
    }
    let items: serde_json::Map<String, Value> = items
        .iter()
        .zip(chosen)
        .map(|(item, [supporting, against])| {
            let value = json!({
                "text": item.text,
                "effect": item.effect,
                "titles": item.titles,
                "for": supporting,
                "against": against,
            });
            (item.feature.feature_id.clone(), value)
        })
        .collect();
    json!({"items": items, "pairs": pairs})
}

/// Pairs whose sentences are read at a time.
const AT_ONCE: usize = 64;

/// Where features show, looked up pair by pair in the order in which the page is filled.
struct Found<'a> {
    source: Source<'a>,
    /// Pairs in that order, each once.
    order: Vec<u32>,
    next: usize,
    known: HashMap<u32, [Places; 2]>,
}

impl<'a> Found<'a> {
    fn new(items: &[Item<'_>], source: Source<'a>) -> Self {
        let mut seen = std::collections::HashSet::new();
        let order = (0..MOST)
            .flat_map(|depth| items.iter().map(move |item| (depth, item)))
            .flat_map(|(depth, item)| [item.supporting.get(depth), item.against.get(depth)])
            .flatten()
            .copied()
            .filter(|pair| seen.insert(*pair))
            .collect();
        Self { source, order, next: 0, known: HashMap::new() }
    }

    /// The parts of both responses in which a feature shows, as byte ranges in order; none where it is about the response
    /// as a whole.
    fn places(&mut self, pair: u32, feature: &Feature, texts: &Texts) -> [Vec<(usize, usize)>; 2] {
        match feature.source {
            FeatureSource::Known => [&texts.a, &texts.b].map(|text| {
                let concept = feature.concept.as_deref().unwrap_or("");
                self.source.bank.places(concept, &texts.prompt, text)
            }),
            FeatureSource::Theme => [&texts.a, &texts.b].map(|text| contrast::places(text, &feature.terms)),
            _ => {
                while !self.known.contains_key(&pair) && self.next < self.order.len() {
                    self.read();
                }
                let found = self.known.get(&pair);
                let side = |side: usize| {
                    found.and_then(|found| found[side].get(&feature.feature_id)).cloned().unwrap_or_default()
                };
                [side(0), side(1)]
            }
        }
    }

    /// Reads the next pairs. Where the embedder fails nothing is marked: the page is worth more than its marks.
    fn read(&mut self) {
        let pairs: Vec<u32> = self.order.iter().copied().skip(self.next).take(AT_ONCE).collect();
        self.next += pairs.len();
        let texts: Vec<Texts> = pairs.iter().map(|&pair| Texts::new(self.source, pair)).collect();
        let both: Vec<[&str; 2]> = texts.iter().map(|texts| [texts.a.as_str(), texts.b.as_str()]).collect();
        if let Ok(found) = self.source.sentences.places(&both) {
            self.known.extend(pairs.into_iter().zip(found));
        }
    }
}

/// Who judged each pair; empty without names or when they must not be shown.
fn annotators(pairs: &Pairs, anonymise: bool) -> HashMap<u32, Vec<u32>> {
    let mut of: HashMap<u32, Vec<u32>> = HashMap::new();
    if !anonymise {
        for (&pair, &annotator) in pairs.judgements.pair.iter().zip(&pairs.judgements.annotator) {
            if annotator != MISSING {
                of.entry(pair).or_default().push(annotator);
            }
        }
    }
    of
}

/// The texts of a pair, as they are and as they are shown.
struct Texts {
    prompt: String,
    a: String,
    b: String,
    shown_prompt: Shown,
    shown_a: Shown,
    shown_b: Shown,
}

impl Texts {
    fn new(source: Source<'_>, pair: u32) -> Self {
        let at = pair as usize;
        let text = |text: &str| if source.anonymise { mask(text).into_owned() } else { text.to_owned() };
        let prompt = text(source.pairs.prompt.get(at));
        let a = text(source.pairs.response_a.get(at));
        let b = text(source.pairs.response_b.get(at));
        Self {
            shown_prompt: Shown::new(&prompt, PROMPT),
            shown_a: Shown::new(&a, RESPONSE),
            shown_b: Shown::new(&b, RESPONSE),
            prompt,
            a,
            b,
        }
    }

    fn value(&self, source: Source<'_>, pair: u32, annotators: &HashMap<u32, Vec<u32>>) -> Value {
        let (mean, n) = source.labels[pair as usize];
        let mut value = json!({
            "p": self.shown_prompt.text,
            "a": self.shown_a.text,
            "b": self.shown_b.text,
            "y": mean,
            "n": n,
        });
        // It is made from the texts: who has them could tell that they are here.
        if !source.anonymise
            && let Some(id) = source.pairs.pair_id.get(pair as usize)
        {
            value["id"] = id.as_str().into();
        }
        if let Some(named) = annotators.get(&pair) {
            let names: Vec<&str> = named
                .iter()
                .take(5)
                .filter_map(|&at| source.pairs.annotators.get(at as usize))
                .map(String::as_str)
                .collect();
            let rest = named.len() - names.len();
            let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            value["w"] = (Shown::new(&names.join(", "), (200, 0)).text + &rest).into();
        }
        value
    }
}

/// A text cut to what is shown, and how its positions move.
#[derive(Debug)]
struct Shown {
    text: String,
    /// Shown in UTF-16 units, where JavaScript counts, for every byte at which a character begins.
    positions: Vec<(u32, u32)>,
}

impl Shown {
    /// The beginning and the end, with what is between them counted.
    fn new(text: &str, (head, tail): (usize, usize)) -> Self {
        let total = if text.len() <= head + tail { 0 } else { text.chars().count() };
        // A cut that saves a few words is not worth its gap.
        let (head, skip) =
            if total > head + tail + 100 { (head, total - head - tail) } else { (total.max(text.len()), 0) };
        let mut shown = Self { text: String::new(), positions: Vec::new() };
        let mut units = 0u32;
        let mut push = |shown: &mut Self, c: char| {
            shown.text.push(c);
            units += c.len_utf16() as u32;
            units
        };
        let mut at = 0;
        for (index, (byte, c)) in text.char_indices().enumerate() {
            if skip > 0 && index == head {
                for c in format!(" […{} characters left out…] ", super::text::thousands(skip)).chars() {
                    at = push(&mut shown, c);
                }
            }
            if index >= head && index < head + skip {
                continue;
            }
            shown.positions.push((byte as u32, at));
            match c {
                '\r' => {}
                '\n' | '\t' => at = push(&mut shown, c),
                c if unseen(c) => at = push(&mut shown, '\u{fffd}'),
                c => at = push(&mut shown, c),
            }
        }
        shown.positions.push((text.len() as u32, at));
        shown
    }

    /// Byte ranges of the text as a flat list of positions in what is shown.
    fn marks(&self, places: &[(usize, usize)]) -> Vec<u32> {
        let position = |byte: usize| {
            let after = self.positions.partition_point(|(at, _)| (*at as usize) < byte);
            self.positions.get(after).map_or(0, |(_, shown)| *shown)
        };
        let mut marks = Vec::with_capacity(places.len() * 2);
        for &(from, to) in places {
            let (from, to) = (position(from), position(to));
            if from < to && marks.last().is_none_or(|end| from >= *end) {
                marks.extend([from, to]);
            }
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_point_at_the_same_text_after_cutting() {
        let text = format!("😀 first.\r\n{} last one.", "é".repeat(3_000));
        let shown = Shown::new(&text, (20, 10));
        assert!(
            shown.text.contains("[…2,991 characters left out…]") || shown.text.contains("left out"),
            "{}",
            shown.text
        );
        let units: Vec<u16> = shown.text.encode_utf16().collect();
        let part = |mark: &[u32]| String::from_utf16(&units[mark[0] as usize..mark[1] as usize]).unwrap();
        let first = text.find("first").unwrap();
        let last = text.find("last").unwrap();
        let marks = shown.marks(&[(first, first + 5), (last, last + 4)]);
        assert_eq!((part(&marks[..2]), part(&marks[2..])), ("first".into(), "last".into()));
        // What is left out cannot be marked.
        assert_eq!(shown.marks(&[(2_000, 2_010)]), Vec::<u32>::new());
    }

    #[test]
    fn short_and_hostile_texts_are_shown_whole() {
        for text in ["", "short", "\0\u{1b}[31m\u{202e}", "a\r\nb"] {
            let shown = Shown::new(text, RESPONSE);
            assert_eq!(shown.text.chars().count(), text.chars().filter(|c| *c != '\r').count());
            assert!(!shown.text.contains(['\0', '\u{1b}']));
        }
    }
}
