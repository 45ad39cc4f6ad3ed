//! Words for a feature without a language model: what it says, quoted; what is near it; which known act it is.
//!
//! ```text
//! phrases             of one to three words that its responses have and others have not: its name
//! topic               words near its direction that its responses have: its name, where few phrases do not tell it
//! typical sentences   short ones in which it fires most strongly, from different responses, no two alike
//! nearest words       of the embedder's vocabulary, to the feature's direction: what it is about, beyond the words
//!                     that happened to occur
//! known acts          the bank's detectors read its sentences one by one: where one finds most of them and few of all
//!                     others, the feature has its label and flags, and is quoted with sentences that show it
//! ```

use std::collections::HashMap;

use rayon::prelude::*;

use super::feature::Offer;
use super::phrases::Phrases;
use super::reader::Reader;
use super::said::Said;
use super::setting::{Found, Setting, Sides, Vocabulary, fidelity, reading, strongest, unit};
use crate::describe::known::ConceptBank;
use crate::sentences::{SentenceKind, SentenceTable};

/// Characters of a quoted sentence.
const QUOTED: usize = 80;
/// Sentences that are quoted as typical.
const QUOTES: usize = 3;
/// Responses that must say it.
const RESPONSES: u32 = 3;
/// Share of words in common beyond which two sentences are one to a reader.
const ALIKE: f64 = 0.5;
/// Firing sentences of a feature, and sentences of all, that the detectors read.
const READ: usize = 100;
const READ_ALL: usize = 2_000;
/// Share of the firing sentences that an act must be found in, and how much rarer it must be elsewhere.
const COMMON: f64 = 0.6;
const RARER: f64 = 4.0;
/// What a topic must add to the φ of phrases to be the name: a few phrases say more exactly what is there.
const TOPIC: f64 = 0.05;
/// Mean cosine of two words of a topic, at least: of “store”, “drive” and “steal” (.13) readers found what was meant in eight of
/// twelve pairs, of seven others (.20 and more) in ten.
const COHERENT: f64 = 0.18;
/// Strongest pairs that the words of a feature on differences come from.
const STRONGEST: usize = 100;

/// What there is to say about every learned feature; read off sentences that are `open`, not held out.
pub(super) fn sentences(
    setting: &Setting<'_>,
    found: &Found<'_>,
    phrases: &Phrases,
    clear: &[f32],
    open: &[bool],
) -> Vec<Said> {
    let table = &found.firing.table;
    let counts = table.counts(|_| true);
    let all: Vec<u32> = (0..table.len() as u32).filter(|&s| open.get(s as usize) == Some(&true)).collect();
    let acts = Acts::new(setting.bank, table, &table.sample(&all, READ_ALL, 0));
    let columns = found.firing.z.columns();
    columns
        .par_iter()
        .take(found.learned)
        .enumerate()
        .map(|(feature, column)| {
            // Whoever asked for the words looks whether they are to be used.
            if setting.cancel.requested() {
                return Said::default();
            }
            let mut firing: Vec<(u32, f32)> = column
                .iter()
                .copied()
                .filter(|&(sentence, z)| z >= clear[feature] && open.get(sentence as usize) == Some(&true))
                .collect();
            let order = |sentence: u32| (table.hash(sentence as usize), table.kind(sentence as usize));
            firing.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| order(a.0).cmp(&order(b.0))));
            let sentences: Vec<u32> = firing.into_iter().map(|(sentence, _)| sentence).collect();
            let responses: u32 =
                sentences.iter().map(|&s| counts.get(s as usize).copied().unwrap_or(0)).sum();
            if responses < RESPONSES {
                return Said::default();
            }
            let near = found.vocabulary.near(found.decoder.row(feature));
            let (mut named, reached) = phrases.for_feature(found.firing, &sentences);
            let (topic, of_topic) = phrases.topic(found.firing, &sentences, &near);
            let coherent = found.vocabulary.coherence(topic.iter().map(|&word| phrases.shown(word)));
            let is_topic = of_topic >= reached + TOPIC && coherent >= COHERENT;
            if is_topic {
                named = topic;
            }
            // What it is quoted with must show its name.
            let shows = |sentence: &u32| named.is_empty() || phrases.stands_in(&named, *sentence);
            let quoted: Vec<u32> = sentences.iter().copied().take(READ).filter(shows).collect();
            Said {
                phrases: named.iter().map(|&phrase| (phrase, phrases.shown(phrase).to_owned())).collect(),
                quotes: typical(table, &quoted),
                is_topic,
                near: Vocabulary::nearest(&near),
                act: acts.of(setting.bank, table, &sentences),
                kind: usual_kind(table, &sentences),
                ..Said::default()
            }
        })
        .collect()
}

/// Short sentences from the strongest on, no two alike.
fn typical(table: &SentenceTable, sentences: &[u32]) -> Vec<String> {
    let mut taken: Vec<(String, Vec<String>)> = Vec::new();
    let fits = |short: bool, text: &str| {
        let length = text.chars().count();
        !short || (length <= QUOTED && text.split_whitespace().count() >= 2)
    };
    // Where all are long, the strongest are cut.
    for short in [true, false] {
        for &sentence in sentences.iter().take(READ) {
            if taken.len() == QUOTES || (!short && !taken.is_empty()) {
                break;
            }
            let text = quotable(table.text(sentence as usize));
            let words: Vec<String> = folded(&text);
            let alike = |(_, other): &(String, Vec<String>)| {
                let common = words.iter().filter(|word| other.contains(word)).count();
                common as f64 > ALIKE * words.len().max(other.len()) as f64
            };
            if !words.is_empty() && fits(short, &text) && !taken.iter().any(alike) {
                taken.push((text, words));
            }
        }
    }
    taken.into_iter().map(|(text, _)| cut(&text)).collect()
}

/// Different words of a text, in lower case.
fn folded(text: &str) -> Vec<String> {
    let mut words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// A sentence as it is quoted: on one line, without its list marker, with quotation marks that do not end ours.
fn quotable(text: &str) -> String {
    // Signs that turn the direction of what follows go with the controls: a quote must not look like another text.
    let unseen = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let line: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || unseen(c)).filter(|word| !word.is_empty()).collect();
    let line = line.join(" ").replace(['“', '”', '"'], "'");
    line.trim_start_matches(['-', '*', '•', '#', '>', ' ']).trim_matches('\'').to_owned()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("").trim_end()),
        None => text.to_owned(),
    }
}

/// What most of the strongest sentences are.
fn usual_kind(table: &SentenceTable, sentences: &[u32]) -> SentenceKind {
    let some = &sentences[..sentences.len().min(READ)];
    let share = |kind: SentenceKind| {
        some.iter().filter(|&&s| table.kind(s as usize) == kind).count() as f64 / some.len().max(1) as f64
    };
    SentenceKind::ALL.into_iter().find(|&kind| share(kind) >= COMMON).unwrap_or_default()
}

/// The bank's detectors on single sentences.
struct Acts {
    /// Share of all sentences in which each concept is found, `[concepts]`.
    everywhere: Vec<f64>,
    /// Concepts that a sentence can have.
    usable: Vec<bool>,
}

impl Acts {
    fn new(bank: &ConceptBank, table: &SentenceTable, some: &[u32]) -> Self {
        let usable = bank.concepts().iter().map(|c| !c.flags.iter().any(|flag| flag == "length")).collect();
        Self { everywhere: shares(bank, table, some), usable }
    }

    /// The concept that most of these sentences have, and few others.
    fn of(&self, bank: &ConceptBank, table: &SentenceTable, sentences: &[u32]) -> Option<usize> {
        let here = shares(bank, table, &sentences[..sentences.len().min(READ)]);
        (0..here.len())
            .filter(|&concept| {
                self.usable[concept]
                    && here[concept] >= COMMON
                    && here[concept] >= RARER * self.everywhere[concept]
            })
            .max_by(|&a, &b| {
                let lift = |concept: usize| here[concept] - self.everywhere[concept];
                lift(a).total_cmp(&lift(b)).then(b.cmp(&a))
            })
    }
}

/// Share of some sentences in which each concept is found by itself, `[concepts]`.
fn shares(bank: &ConceptBank, table: &SentenceTable, sentences: &[u32]) -> Vec<f64> {
    let mut counts = vec![0usize; bank.concepts().len()];
    for &sentence in sentences {
        let found = bank.read("", table.text(sentence as usize));
        counts.iter_mut().zip(found).for_each(|(count, value)| *count += usize::from(value > 0.0));
    }
    counts.into_iter().map(|count| count as f64 / sentences.len().max(1) as f64).collect()
}

/// What a feature on differences is called.
pub(super) struct Called {
    pub said: Said,
    /// −1 where the words describe its negative side.
    pub sign: f64,
    pub offers: Vec<Offer>,
}

/// Words for a feature on differences with activations `column` (`[pairs]`): the known concept that goes with it most.
///
/// Sentences that set its strongest pairs apart are hints, and offers to a language model, never its name: a feature of
/// whole responses fires in no sentence, and readers who saw the quotes alone found what they share in one pair of seven.
pub(super) fn difference(
    setting: &Setting<'_>,
    found: &Found<'_>,
    column: &[f32],
    sides: &Sides,
    reader: &Reader,
) -> Called {
    let concepts = (0..setting.bank.concepts().len()).filter_map(|concept| {
        let read: Vec<f32> = found.known.column(concept).into_iter().map(reading).collect();
        fidelity(column, &read, 1.0, &sides.choose).map(|c| (c.r, concept))
    });
    let best = concepts.max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()).then(b.1.cmp(&a.1)));
    let sign = best.map_or(1.0, |(r, _)| r.signum());
    let named = Said { act: best.map(|(_, concept)| concept), names_act: true, ..Said::default() };
    let mut apart: Vec<(f64, Said, f64)> = [1.0f32, -1.0]
        .into_iter()
        .filter_map(|side| {
            let turned: Vec<f32> = column.iter().map(|z| side * z).collect();
            let said = apart(found, &turned, reader);
            let (r, _) = reader.chosen(found.firing, &said, &turned)?;
            (r > 0.0).then_some((r, said, f64::from(side)))
        })
        .collect();
    apart.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut offers: Vec<Offer> = named.offers(setting.bank);
    for (_, said, side) in &apart {
        offers
            .extend(said.offers(setting.bank).into_iter().map(|offer| Offer { sign: side * sign, ..offer }));
    }
    // The hints show the side that the sign turns up.
    let hints = apart.into_iter().find(|(_, _, side)| *side == sign).map(|(_, said, _)| said.quotes);
    Called { said: Said { quotes: hints.unwrap_or_default(), ..named }, sign, offers }
}

/// Sentences of the side with more of a feature that the other side has least, in its strongest pairs.
fn apart(found: &Found<'_>, column: &[f32], reader: &Reader) -> Said {
    let firing = found.firing;
    let strongest = strongest(column, reader.choose(), STRONGEST);
    let slots = |pair: u32| {
        let (a, b) = (pair as usize, firing.pairs() + pair as usize);
        if column[pair as usize] > 0.0 { (a, b) } else { (b, a) }
    };
    let mut centre: Vec<f32> = Vec::new();
    for &pair in &strongest {
        let (with, without) = slots(pair);
        for (slot, sign) in [(with, 1.0f32), (without, -1.0)] {
            let sentences = firing.table.of(slot);
            for vector in sentences.iter().filter_map(|&sentence| reader.vector(sentence)) {
                centre.resize(vector.len(), 0.0);
                let weight = sign / sentences.len() as f32;
                centre.iter_mut().zip(vector).for_each(|(centre, value)| *centre += weight * value);
            }
        }
    }
    unit(&mut centre);
    let mut along: HashMap<u32, f32> = HashMap::new();
    for &pair in &strongest {
        for &sentence in firing.table.of(slots(pair).0) {
            if let Some(vector) = reader.vector(sentence) {
                along.insert(sentence, vector.iter().zip(&centre).map(|(a, b)| a * b).sum());
            }
        }
    }
    let mut sentences: Vec<(u32, f32)> = along.into_iter().collect();
    let order = |sentence: u32| (firing.table.hash(sentence as usize), firing.table.kind(sentence as usize));
    sentences.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| order(a.0).cmp(&order(b.0))));
    let sentences: Vec<u32> = sentences.into_iter().map(|(sentence, _)| sentence).collect();
    if strongest.len() < RESPONSES as usize {
        return Said::default();
    }
    let kind = usual_kind(&firing.table, &sentences);
    Said { quotes: typical(&firing.table, &sentences), kind, ..Said::default() }
}
