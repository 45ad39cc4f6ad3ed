//! Which features of a run a reason names, and how.
//!
//! ```text
//! statement   a response (or neither) has more (+1) or less (−1) of a feature, and that is good (+1), bad (−1) or just said (0)
//! merit       good · more: 1 where more of the feature is called good, −1 where it is called bad
//! ```
//!
//! A known concept is named by the words that people use for it ([`lexicon`](super::lexicon)); any other feature by the
//! phrases that it goes by, or by all words of its label. Nothing else counts: vectors of clauses beside vectors of descriptions were
//! not used, since nothing measures that they are right.

use std::sync::LazyLock;

use regex::Regex;

use super::clauses::{Clause, Who, clauses, content, pattern, stem};
use super::lexicon::{NAMINGS, Naming};
use crate::describe::{Feature, FeatureSource};

/// What a clause says of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// Index of the feature among those that are looked for.
    pub feature: usize,
    /// 1: whom it is about has more of it; −1: less.
    pub more: i8,
    /// 1: that is good; −1: that is bad; 0: it is just said.
    pub tone: i8,
}

impl Statement {
    /// 1 where more of the feature is called good, −1 where it is called bad, 0 where neither is said.
    pub fn merit(&self) -> i8 {
        self.more * self.tone
    }
}

/// A clause and the features that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The clause.
    pub clause: Clause,
    /// What it says of features, each once.
    pub says: Vec<Statement>,
}

impl Read {
    /// Whether it praises or complains about something that can be told: what coverage counts.
    pub fn is_aspect(&self) -> bool {
        if self.clause.alike {
            return false;
        }
        let named = self.says.iter().any(|statement| statement.tone != 0);
        named || (self.says.is_empty() && self.clause.tone() != 0 && !self.clause.words.is_empty())
    }

    /// Whether it says anything of what a response is like.
    pub fn says_anything(&self) -> bool {
        !self.says.is_empty() || !self.clause.words.is_empty()
    }
}

/// Ways of naming one feature.
enum Names {
    /// Those of the bank's concept.
    Known(Vec<&'static Naming>),
    /// One of these phrases, quoted, or where all of its words say something, word for word; or all of these stems.
    Words(Vec<(Regex, bool)>, Vec<String>),
}

/// Finds features in reasons.
pub struct Reader {
    names: Vec<Names>,
}

/// Stems that a label needs to name its feature: a single word is named too easily.
const LABEL: usize = 2;

impl Reader {
    /// For these features, in their order.
    pub fn new(features: &[&Feature]) -> Self {
        Self { names: features.iter().map(|feature| names(feature)).collect() }
    }

    /// Whether a feature can be named at all.
    pub fn knows(&self, feature: usize) -> bool {
        self.names.get(feature).is_some_and(|names| match names {
            Names::Known(words) => !words.is_empty(),
            Names::Words(phrases, stems) => !phrases.is_empty() || stems.len() >= LABEL,
        })
    }

    /// A reason, clause by clause; all about `fixed` where it is a critique of one response.
    pub fn read(&self, reason: &str, fixed: Option<Who>) -> Vec<Read> {
        clauses(reason, fixed).into_iter().map(|clause| Read { says: self.says(&clause), clause }).collect()
    }

    fn says(&self, clause: &Clause) -> Vec<Statement> {
        if clause.alike {
            return Vec::new();
        }
        let mut found: Vec<Statement> = Vec::new();
        for (feature, names) in self.names.iter().enumerate() {
            let statement = match names {
                Names::Known(words) => known(clause, words),
                Names::Words(phrases, stems) => {
                    let phrase = phrases
                        .iter()
                        .find_map(|(phrase, plain)| if *plain { phrase.find(&clause.text) } else { None });
                    // What is quoted is what the response says: there a small phrase names it, too.
                    let quoted = phrases.iter().any(|(phrase, _)| phrase.is_match(&clause.quoted));
                    let phrase = phrase.map(|found| (found.start(), found.end()));
                    let at = phrase.or_else(|| quoted.then(|| quoted_at(clause))).or_else(|| {
                        let all =
                            stems.len() >= LABEL && stems.iter().all(|stem| clause.words.contains(stem));
                        all.then(|| first_of(&clause.text, stems))
                    });
                    at.map(|at| turned(clause, at, 1, 0))
                }
            };
            if let Some((more, tone)) = statement {
                found.push(Statement { feature, more, tone });
            }
        }
        found
    }
}

fn names(feature: &Feature) -> Names {
    let namings: Vec<&'static Naming> = match (feature.source, feature.concept.as_deref()) {
        (FeatureSource::Known, Some(concept)) => NAMINGS.iter().filter(|n| n.concept == concept).collect(),
        _ => Vec::new(),
    };
    if !namings.is_empty() {
        return Names::Known(namings);
    }
    let phrase = |text: &String| {
        let words: Vec<String> = text.to_lowercase().split_whitespace().map(regex::escape).collect();
        // "I was" and "this is" stand in any reason: such phrases name their feature in quotes alone.
        let plain = content(&text.to_lowercase()).len() >= LABEL;
        Regex::new(&format!(r"\b{}\b", words.join(r"\s+"))).ok().map(|phrase| (phrase, plain))
    };
    let mut stems =
        if feature.phrases.is_empty() { content(&feature.short.to_lowercase()) } else { Vec::new() };
    stems.dedup();
    Names::Words(feature.phrases.iter().filter_map(phrase).collect(), stems)
}

/// Where a clause's quotation begins, as nearly as its plain text says.
fn quoted_at(clause: &Clause) -> (usize, usize) {
    let first = clause.quoted.split(" ; ").next().unwrap_or("");
    let at = clause.text.find(first).unwrap_or(0);
    (at, at + first.len().min(clause.text.len() - at))
}

/// Where the first of some stems stands.
fn first_of(text: &str, stems: &[String]) -> (usize, usize) {
    let mut at = 0;
    for word in text.split(' ') {
        if stems.contains(&stem(word.trim_matches([',', ':', ';', '(', ')']))) {
            return (at, at + word.len());
        }
        at += word.len() + 1;
    }
    (0, 0)
}

/// What a clause says of a known concept: its longest name decides; names that contradict each other say nothing.
fn known(clause: &Clause, names: &[&'static Naming]) -> Option<(i8, i8)> {
    let mut found: Vec<(usize, usize, i8, i8)> = names
        .iter()
        .flat_map(|n| n.words.find_iter(&clause.text).map(|m| (m.start(), m.end(), n.more, n.tone)))
        .filter(|(start, end, ..)| end > start)
        .collect();
    // Of names that overlap, the longest: "not very detailed" before "detailed".
    found.sort_by_key(|(start, end, ..)| (std::cmp::Reverse(end - start), *start));
    let mut kept: Vec<(usize, usize, i8, i8)> = Vec::new();
    for name in found {
        if kept.iter().all(|other| name.1 <= other.0 || other.1 <= name.0) {
            kept.push(name);
        }
    }
    let said: Vec<(i8, i8)> =
        kept.iter().map(|&(start, end, more, tone)| turned(clause, (start, end), more, tone)).collect();
    let (more, _) = said.first()?;
    if said.iter().any(|(other, _)| other != more) {
        return None;
    }
    // What is called good in one word and bad in the next is just said.
    let sum: i32 = said.iter().map(|(_, tone)| i32::from(*tone)).sum();
    Some((*more, sum.signum() as i8))
}

// What these turn round ends at "and": "it does not say and refuses".
static NOT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(?:not|never|hardly|less|fewer|instead of|rather than|stops|drops?|dropped|skip(?:s|ped)?|spares?|cuts?|leav(?:es|ing) out|leaves? off|omits?|omitted|does away with|refrains? from|resists?)\b(?: [\w'-]+){0,4}$",
    )
});
// What these turn round goes on: "without bullets and bold words".
static NONE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(?:no|without|nor|avoid(?:s|ed|ing)?|free of|free from|none of|zero|devoid of)\b(?: [\w'-]+){0,4}$",
    )
});
static LACK: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(?:miss(?:es|ed)|fail(?:s|ed)? (?:to|at)|needs?|needed|could (?:use|do with|have|be|stand)|should (?:have|be|use|include|give)|would have|wish(?:ed)?|wanted|want(?:s|ing)?|short on|forgets?(?: to)?|neglects? to|does not bother (?:to|with)|did not bother (?:to|with)|never bothers? to)\b(?: [\w'-]+){0,5}$",
    )
});
static LACKS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(?:lack(?:s|ed|ing)?|missing|not enough|too few|too little|insufficient\w*)\b(?: [\w'-]+){0,4}$",
    )
});
static TOO: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(?:too|overly|unnecessar(?:y|ily)|excessive(?:ly)?|needless(?:ly)?|pointless(?:ly)?|annoying(?:ly)?|irritating(?:ly)?|distracting|useless|silly|gratuitous(?:ly)?|way|endless(?:ly)?|superfluous|unwarranted|a bunch of|tons of|constant(?:ly)?|forced|empty|fake)\b(?: [\w'-]+){0,2}$",
    )
});
static AFTER_TOO: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?: [\w'-]+){0,3} (?:too much|too often|excessively|unnecessarily|needlessly|for no reason|so much|all the time|constantly|over and over)\b",
    )
});
static AFTER_NOT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(?: [\w'-]+)? (?:is|are|was|were) (?:missing|absent|lacking|left out|nowhere)\b")
});

/// What a name says once the words around it are read.
fn turned(clause: &Clause, (start, end): (usize, usize), more: i8, tone: i8) -> (i8, i8) {
    let text = &clause.text;
    let (before, after) = (text.get(..start).unwrap_or(""), text.get(end..).unwrap_or(""));
    // No further back than the last comma or the word that gives the reason.
    let before = before.rsplit([',', ':', ';', '(']).next().unwrap_or("");
    let before = [" because ", " since ", " which ", " so that "]
        .iter()
        .fold(before, |before, word| before.rsplit(word).next().unwrap_or(before))
        .replace("not only", "only")
        .replace("not stop", "go on")
        .replace("not just", "just")
        .replace("no doubt", "doubtless");
    let near = before.rsplit(" and ").next().unwrap_or("").trim_end();
    let before = before.trim_end();
    let (mut more, mut tone) = (more, tone);
    if TOO.is_match(near) || AFTER_TOO.is_match(after) {
        tone = -1;
    }
    if LACK.is_match(near) || LACKS.is_match(before) || AFTER_NOT.is_match(after) {
        return (-more, -1);
    }
    if NOT.is_match(near) || NONE.is_match(before) {
        (more, tone) = (-more, -tone);
    }
    if tone == 0 {
        tone = clause.tone();
    }
    (more, tone)
}
