//! What there is to say about a feature, and how it becomes words.

use super::feature::{Feature, Offer};
use super::known::ConceptBank;
use crate::sentences::SentenceKind;
use crate::statistics::correlation::Correlation;

/// What there is to say about a feature.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// Typical sentences; none where too few responses say it.
    pub quotes: Vec<String>,
    /// Nearest words.
    pub near: Vec<String>,
    /// The concept of the bank that it is.
    pub act: Option<usize>,
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
        if !self.quotes.is_empty() {
            // Quoted even where a detector finds an act in them: the feature may be a part of it, or what it errs in.
            feature.describer = "sentences".into();
            feature.description = self.phrase();
            feature.clause = feature.description.clone();
            feature.short = concept.map_or_else(|| self.short(), |concept| concept.short.clone());
        } else if let Some(concept) = concept {
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

    /// Completes "The response …".
    fn phrase(&self) -> String {
        let lead = match self.kind {
            SentenceKind::Prose => "says things like",
            SentenceKind::ListItem => "has list items like",
            SentenceKind::Heading => "has headings like",
            SentenceKind::TableRow => "has table rows like",
            SentenceKind::Code => "has code like",
            SentenceKind::Quote => "quotes texts like",
        };
        let quotes: Vec<String> = self.quotes.iter().take(2).map(|quote| format!("“{quote}”")).collect();
        let mut text = format!("{lead} {}", quotes.join(" or "));
        if !self.near.is_empty() {
            text.push_str(&format!(" (near: {})", self.near.join(", ")));
        }
        text
    }

    /// A label of a few words.
    fn short(&self) -> String {
        match (self.near.is_empty(), self.quotes.first()) {
            (false, _) => self.near.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
            (true, Some(quote)) => format!("“{quote}”"),
            (true, None) => String::new(),
        }
    }

    /// What a language model's descriptions compete with.
    pub(super) fn offers(&self, bank: &ConceptBank) -> Vec<Offer> {
        let text = match self.act.and_then(|act| bank.concepts().get(act)) {
            Some(concept) => concept.prefer.clone(),
            None if self.quotes.is_empty() => return Vec::new(),
            None => self.phrase(),
        };
        vec![Offer { text, concept: self.act, sign: 1.0 }]
    }
}
