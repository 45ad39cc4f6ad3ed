//! Which detectors can match a text at all, told in one pass over it.
//!
//! Every pattern is asked for literals of which each of its matches must contain at least one; an
//! Aho-Corasick automaton finds the literals of all patterns together. Most texts hold the words of a
//! few concepts only, so most of the regular expressions need not be run. A pattern without such
//! literals is always run: the filter never changes what is found.

use aho_corasick::AhoCorasick;
use regex_syntax::hir::{Hir, HirKind};

/// Literals that one pattern may contribute; beyond, it is cheaper to run it.
const MOST_LITERALS: usize = 600;
/// Shorter literals occur in every text.
const SHORTEST: usize = 3;
/// Classes up to this size are spelt out.
const CLASS: usize = 4;

/// The automaton over the literals of a bank's detectors.
#[derive(Debug)]
pub(super) struct Prefilter {
    automaton: Option<AhoCorasick>,
    /// Detector of each literal.
    owner: Vec<u32>,
    /// Detectors that have to be run on every text.
    always: Vec<bool>,
}

impl Prefilter {
    /// For each detector its patterns; a detector without patterns has nothing to run.
    pub fn new(detectors: &[&[String]]) -> Self {
        let mut literals = Vec::new();
        let mut owner = Vec::new();
        let mut always = Vec::with_capacity(detectors.len());
        for (index, patterns) in detectors.iter().enumerate() {
            let required: Option<Vec<Vec<String>>> =
                patterns.iter().map(|pattern| required(pattern)).collect();
            always.push(required.is_none());
            for literal in required.into_iter().flatten().flatten() {
                literals.push(literal);
                owner.push(index as u32);
            }
        }
        let automaton = AhoCorasick::new(&literals).ok();
        if automaton.is_none() {
            // Too large to build: everything is run.
            always.fill(true);
        }
        Self { automaton, owner, always }
    }

    /// How many detectors have to be run on every text.
    #[cfg(test)]
    pub fn always_run(&self) -> usize {
        self.always.iter().filter(|always| **always).count()
    }

    /// Whether each detector may match `prose`, into `may`.
    pub fn read(&self, prose: &str, may: &mut Vec<bool>) {
        may.clear();
        may.extend_from_slice(&self.always);
        for found in self.automaton.iter().flat_map(|automaton| automaton.find_overlapping_iter(prose)) {
            if let Some(slot) =
                self.owner.get(found.pattern().as_usize()).and_then(|&owner| may.get_mut(owner as usize))
            {
                *slot = true;
            }
        }
    }
}

/// Literals of which every match of `pattern` contains one; `None` where none are good enough.
fn required(pattern: &str) -> Option<Vec<String>> {
    let hir = regex_syntax::ParserBuilder::new().multi_line(true).build().parse(pattern).ok()?;
    let mut literals = inside(&hir)?;
    literals.sort_unstable();
    literals.dedup();
    (quality(&literals) >= SHORTEST).then_some(literals)
}

/// The length of the shortest literal.
fn quality(literals: &[String]) -> usize {
    literals.iter().map(String::len).min().unwrap_or(0)
}

/// The better of two sets: longer literals, then fewer of them.
fn better(a: Option<Vec<String>>, b: Option<Vec<String>>) -> Option<Vec<String>> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let rank = |set: &[String]| (quality(set).min(6), usize::MAX - set.len());
            Some(if rank(&b) > rank(&a) { b } else { a })
        }
        (a, b) => a.or(b),
    }
}

/// A set of literals of which every match contains one.
fn inside(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => None,
        HirKind::Capture(capture) => inside(&capture.sub),
        HirKind::Repetition(repetition) => {
            if repetition.min > 0 {
                inside(&repetition.sub)
            } else {
                None
            }
        }
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(inside(part)?);
                if all.len() > MOST_LITERALS {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Concat(parts) => {
            // Neighbours that spell something out are one longer literal.
            let mut best = None;
            let mut spelt: Option<Vec<String>> = None;
            for part in parts {
                let joined = match (spelt.take(), exactly(part)) {
                    (Some(before), Some(after)) if before.len() * after.len() <= MOST_LITERALS => Some(
                        before
                            .iter()
                            .flat_map(|a| after.iter().map(move |b| format!("{a}{b}")))
                            .collect::<Vec<_>>(),
                    ),
                    (before, after) => {
                        best = better(best, before);
                        after
                    }
                };
                if joined.is_none() {
                    best = better(best, inside(part));
                }
                spelt = joined;
            }
            better(best, spelt)
        }
        HirKind::Literal(_) | HirKind::Class(_) => exactly(hir),
    }
}

/// Everything that `hir` can match, where that is a short list.
fn exactly(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        // A place has no text: `\bword\b` is spelt out like `word`.
        HirKind::Empty | HirKind::Look(_) => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![String::from_utf8(literal.0.to_vec()).ok()?]),
        HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => {
            let mut chars = Vec::new();
            for range in class.ranges() {
                for c in range.start()..=range.end() {
                    chars.push(c.to_string());
                    if chars.len() > CLASS {
                        return None;
                    }
                }
            }
            Some(chars)
        }
        HirKind::Class(_) => None,
        HirKind::Capture(capture) => exactly(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min == 0 && repetition.max == Some(1) => {
            let mut all = exactly(&repetition.sub)?;
            all.push(String::new());
            Some(all)
        }
        HirKind::Repetition(_) => None,
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(exactly(part)?);
                if all.len() > MOST_LITERALS {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Concat(parts) => {
            let mut all = vec![String::new()];
            for part in parts {
                let next = exactly(part)?;
                if all.len() * next.len() > MOST_LITERALS {
                    return None;
                }
                all = all.iter().flat_map(|a| next.iter().map(move |b| format!("{a}{b}"))).collect();
            }
            Some(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> Option<Vec<String>> {
        required(pattern)
    }

    #[test]
    fn literals_are_required_by_every_match() {
        assert_eq!(of(r"\bsorry\b"), Some(vec!["sorry".into()]));
        assert_eq!(of(r"\bi (?:am|was) not\b"), Some(vec!["i am not".into(), "i was not".into()]));
        assert_eq!(of(r"\b(?:\w+ ){0,3}help\b"), Some(vec!["help".into()]));
        assert_eq!(of(r"apolog(?:y|ies)"), Some(vec!["apologies".into(), "apology".into()]));
        assert_eq!(of(r"\w+ing\b"), Some(vec!["ing".into()]));
        assert_eq!(of(r"\d+ of \w+"), Some(vec![" of ".into()]));
        assert_eq!(of(r"(?:sorry)?"), None);
        assert_eq!(of(r"\w+"), None);
        assert_eq!(of(r"\b(?:a|no)\b"), None);
    }

    #[test]
    fn a_detector_is_run_where_it_may_match_and_always_where_nobody_knows() {
        let owned = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        let detectors =
            [owned(&["sorry", "apolog"]), owned(&["perhaps"]), owned(&["perhaps", r"\w"]), owned(&[])];
        let detectors: Vec<&[String]> = detectors.iter().map(Vec::as_slice).collect();
        let prefilter = Prefilter::new(&detectors);
        let mut may = Vec::new();
        prefilter.read("my apologies.", &mut may);
        assert_eq!(may, [true, false, true, false]);
        prefilter.read("perhaps, sorry", &mut may);
        assert_eq!(may, [true, true, true, false]);
    }
}
