//! Texts with letters and signs beyond ASCII, read as fast as others.
//!
//! A pattern with a word boundary in it cannot be run by the fast engine over a text that is not ASCII, and one “é” or
//! emoji made a whole text slow. What most patterns ask of such a character is its kind alone (letter, space, other), so
//! they find the same where each is replaced by a stand-in of its kind. Which patterns those are is worked out from the
//! patterns, so nothing that is found changes.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

/// Stands for a letter: a word character that patterns hardly ever name.
const LETTER: char = '_';
/// Stands for a space beyond ASCII: `\s` holds it, a plain space does not.
const SPACE: char = '\u{b}';
/// Stands for what is neither.
const OTHER: char = '\u{1}';

/// A text with every character beyond ASCII replaced by a stand-in of its kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs {
    /// The text, one byte for each character.
    pub prose: String,
    /// Where each sentence lies in [`Self::prose`].
    pub sentences: Vec<(usize, usize)>,
}

impl Signs {
    /// Of `prose` and its sentences; `None` where it is ASCII, or holds a digit beyond it (which patterns tell from letters).
    pub fn new(prose: &str, sentences: &[(usize, usize)]) -> Option<Self> {
        if prose.is_ascii() {
            return None;
        }
        let mut out = Self {
            prose: String::with_capacity(prose.len()),
            sentences: Vec::with_capacity(sentences.len()),
        };
        let mut done = 0;
        let mut write = |to: usize, out: &mut String| -> Option<usize> {
            for c in prose.get(done..to)?.chars() {
                out.push(stand_in(c)?);
            }
            done = to;
            Some(out.len())
        };
        for &(from, to) in sentences {
            let from = write(from, &mut out.prose)?;
            out.sentences.push((from, write(to, &mut out.prose)?));
        }
        write(prose.len(), &mut out.prose)?;
        Some(out)
    }
}

/// What stands for a character; `None` for a digit beyond ASCII, and for a stand-in that stands for itself.
fn stand_in(c: char) -> Option<char> {
    match c {
        OTHER | SPACE => None,
        c if c.is_ascii() => Some(c),
        c if c.is_whitespace() => Some(SPACE),
        c if !regex_syntax::is_word_character(c) => Some(OTHER),
        c if c.is_numeric() => None,
        _ => Some(LETTER),
    }
}

/// The characters beyond ASCII that a stand-in stands for.
static KINDS: LazyLock<Vec<(char, ClassUnicode)>> = LazyLock::new(|| {
    let class = |pattern: &str| match regex_syntax::parse(pattern).map(Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(class))) => class,
        _ => ClassUnicode::empty(),
    };
    vec![
        (LETTER, class(r"[[\w--\p{N}]&&[^\x00-\x7f]]")),
        (SPACE, class(r"[\s&&[^\x00-\x7f]]")),
        (OTHER, class(r"[[^\w\s]&&[^\x00-\x7f]]")),
    ]
});

/// Whether `pattern` finds the same in a text and in its [`Signs`].
pub(super) fn same_by_signs(pattern: &str) -> bool {
    regex_syntax::ParserBuilder::new().multi_line(true).build().parse(pattern).is_ok_and(|hir| same(&hir))
}

fn same(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => (literal.0.iter())
            .all(|&byte| byte.is_ascii() && ![LETTER, SPACE, OTHER].contains(&char::from(byte))),
        HirKind::Class(Class::Unicode(class)) => KINDS.iter().all(|(sign, kind)| {
            let holds = (class.iter()).any(|range| (range.start()..=range.end()).contains(sign));
            let mut shared = class.clone();
            shared.intersect(kind);
            // All of the kind where the stand-in is held, none of it where it is not.
            if holds { shared == *kind } else { shared.ranges().is_empty() }
        }),
        HirKind::Class(Class::Bytes(_)) => false,
        HirKind::Repetition(repetition) => same(&repetition.sub),
        HirKind::Capture(capture) => same(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(same),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_name_a_character_are_told_apart() {
        for pattern in
            [r"\bsorry\b", r"i (?:am|was) \w+", r"[^.!?]*\?", r"\d+ of", r"(?m)^so\b", r"[a-z]+\s", r"\W"]
        {
            assert!(same_by_signs(pattern), "{pattern}");
        }
        for pattern in ["é", "[€$]", r"\p{Emoji}", "snake_case", r"[\w--é]", "(?i)k", r"\p{Lu}"] {
            assert!(!same_by_signs(pattern), "{pattern}");
        }
    }

    #[test]
    fn characters_beyond_ascii_have_a_stand_in_of_their_kind() {
        let text = "naïve — 😀\u{3000}x\nça va";
        let at = text.find('\n').unwrap();
        let signs = Signs::new(text, &[(0, at), (at + 1, text.len())]).unwrap();
        assert_eq!(signs.prose, "na_ve \u{1} \u{1}\u{b}x\n_a va");
        assert_eq!(signs.sentences, [(0, 11), (12, 17)]);
        assert!(Signs::new("plain", &[(0, 5)]).is_none());
        assert!(Signs::new("٣ é", &[]).is_none());
    }
}
