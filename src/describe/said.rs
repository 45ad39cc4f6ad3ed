//! What there is to say about a feature, and how it becomes words.

use super::feature::{Feature, Offer};
use super::known::ConceptBank;
use super::phrases::stem;
use crate::sentences::SentenceKind;
use crate::statistics::correlation::Correlation;

/// Words of a topic that are shown.
const TOPIC: usize = 4;

/// What there is to say about a feature.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// Phrases that it goes by, by their number in [`Phrases`](super::phrases::Phrases), and as they are shown.
    pub phrases: Vec<(u32, String)>,
    /// Whether these are the words of a topic, and not all of them are shown.
    pub is_topic: bool,
    /// Typical sentences, which name nothing by themselves; none where too few responses say it.
    pub quotes: Vec<String>,
    /// Nearest words.
    pub near: Vec<String>,
    /// The concept of the bank that it is.
    pub act: Option<usize>,
    /// Whether that concept is its name.
    pub names_act: bool,
    /// What most of its sentences are.
    pub kind: SentenceKind,
}

impl Said {
    /// Gives a feature its words.
    pub(super) fn name(&self, feature: &mut Feature, bank: &ConceptBank, fidelity: Option<Correlation>) {
        feature.fidelity = fidelity;
        feature.typical = self.quotes.clone();
        feature.terms = self.near.clone();
        feature.describer = "none".into();
        let concept = self.act.and_then(|act| bank.concepts().get(act));
        if !self.phrases.is_empty() {
            // In words of its own even where a detector finds an act in its sentences: it may be a part of that act, or
            // what the detector errs in.
            feature.describer = "phrases".into();
            feature.description = self.in_phrases();
            feature.clause = feature.description.clone();
            feature.short = if self.is_topic { self.shown_of_topic() } else { self.shown(2) };
        } else if let Some(concept) = concept.filter(|_| self.names_act) {
            feature.describer = "bank".into();
            feature.description = concept.description.clone();
            feature.clause = concept.prefer.clone();
            feature.short = concept.short.clone();
        }
        if let Some(concept) = concept {
            feature.concept = Some(concept.id.clone());
            feature.flags = concept.flags.clone();
        }
    }

    /// Completes "The response …", word for word: `says “I don't know” or “not sure” (as in “I don't know that.”)`.
    fn in_phrases(&self) -> String {
        if self.is_topic {
            return format!("mentions {}", self.shown_of_topic());
        }
        let verb =
            if self.phrases.iter().all(|(_, shown)| !shown.contains(' ')) { "mentions" } else { "says" };
        let as_in = match self.quotes.first() {
            Some(quote) => format!(" (as in “{quote}”)"),
            None => String::new(),
        };
        format!("{verb} {}{as_in}", self.shown(usize::MAX))
    }

    /// A topic's first words, no two of one stem: `“water”, “alcohol”, “juice”, “bottle” and the like`.
    fn shown_of_topic(&self) -> String {
        let mut named: Vec<&str> = Vec::new();
        for (_, word) in &self.phrases {
            if named.len() < TOPIC && named.iter().all(|other| stem(other) != stem(word)) {
                named.push(word);
            }
        }
        let quoted: Vec<String> = named.iter().map(|word| format!("“{word}”")).collect();
        format!("{} and the like", quoted.join(", "))
    }

    /// The first phrases, quoted.
    fn shown(&self, most: usize) -> String {
        let quoted: Vec<String> =
            self.phrases.iter().take(most).map(|(_, shown)| format!("“{shown}”")).collect();
        match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => quoted.concat(),
        }
    }

    /// Completes "The response …" with typical sentences: what a judge may find true and nothing here measures.
    fn in_quotes(&self) -> String {
        let lead = match self.kind {
            SentenceKind::Prose => "says things like",
            SentenceKind::ListItem => "has list items like",
            SentenceKind::Heading => "has headings like",
            SentenceKind::TableRow => "has table rows like",
            SentenceKind::Code => "has code like",
            SentenceKind::Quote => "quotes texts like",
        };
        let quotes: Vec<String> = self.quotes.iter().take(2).map(|quote| format!("“{quote}”")).collect();
        format!("{lead} {}", quotes.join(" or "))
    }

    /// What a language model's descriptions compete with.
    pub(super) fn offers(&self, bank: &ConceptBank) -> Vec<Offer> {
        let act = self.act.and_then(|act| bank.concepts().get(act)).map(|concept| concept.prefer.clone());
        let phrases = Some(self.in_phrases()).filter(|_| !self.phrases.is_empty());
        let quotes = Some(self.in_quotes()).filter(|_| !self.quotes.is_empty());
        let offer = |text| Offer { text, concept: self.act, sign: 1.0 };
        act.or(phrases).or(quotes).map(offer).into_iter().collect()
    }
}
