//! Texts of a dataset in a prompt: cut by words, and fenced so that nothing inside can end the fence.

use sha2::{Digest, Sha256};

use crate::pairs::Pairs;

/// Words of a text that a model sees, as in the paper.
pub const WORDS: usize = 128;
/// Bytes that a word may have; "words" of a megabyte are not words.
const WORD_BYTES: usize = 64;

/// Which end of a text is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The beginning: responses.
    Start,
    /// The end: prompts, of which the last turn is what is answered.
    End,
}

/// The text's first or last `words` words with everything between them, the cut marked and counted.
pub fn cut(text: &str, words: usize, keep: Keep) -> String {
    let all: Vec<(usize, &str)> = word_places(text);
    let inner = |word: &str, at: usize| (at, at + word.len());
    let kept = match keep {
        Keep::Start => &all[..all.len().min(words)],
        Keep::End => &all[all.len().saturating_sub(words)..],
    };
    let (Some(first), Some(last)) = (kept.first(), kept.last()) else { return String::new() };
    let from = if keep == Keep::Start { 0 } else { first.0 };
    let to = if keep == Keep::End { text.len() } else { inner(last.1, last.0).1 };
    let part = text.get(from..to).unwrap_or("").trim();
    let left = all.len() - kept.len();
    let part = short_words(part);
    match (left, keep) {
        (0, _) => part,
        (left, Keep::Start) => format!("{part} [… {left} words cut]"),
        (left, Keep::End) => format!("[{left} words cut …] {part}"),
    }
}

/// Words with the place where they begin.
fn word_places(text: &str) -> Vec<(usize, &str)> {
    let base = text.as_ptr() as usize;
    text.split_whitespace().map(|word| (word.as_ptr() as usize - base, word)).collect()
}

/// Cuts what is too long for a word within it, so that one cell without spaces cannot fill a prompt.
/// Control characters other than line breaks and tabs are left out.
fn short_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(1 << 16));
    let mut run = 0;
    let mut cut = 0;
    for c in text.chars() {
        if c.is_whitespace() {
            if cut > 0 {
                out.push_str(&format!("[… {cut} characters cut]"));
            }
            (run, cut) = (0, 0);
            out.push(c);
        } else if c.is_control() {
        } else if run + c.len_utf8() <= WORD_BYTES {
            run += c.len_utf8();
            out.push(c);
        } else {
            run = WORD_BYTES;
            cut += 1;
        }
    }
    if cut > 0 {
        out.push_str(&format!("[… {cut} characters cut]"));
    }
    out
}

/// A mark that occurs in none of the texts: eight hexadecimal digits of their hash.
///
/// Nobody who writes a text can know its hash beforehand, so no response can close its own fence or name
/// its own pair. The same texts give the same mark, so requests can be cached.
pub fn mark<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut round = 0u32;
    loop {
        let mut hash = Sha256::new();
        hash.update(round.to_le_bytes());
        for text in texts.clone() {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        let mark: String = hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        if !texts.clone().any(|text| text.contains(&mark)) {
            return mark;
        }
        round += 1;
    }
}

/// A named text between marks, each on a line of its own.
pub fn fence(name: &str, mark: &str, text: &str) -> String {
    format!("<<{name} {mark}\n{text}\n{mark} {name}>>")
}

/// Prompt, first and second response of a pair as a model sees them: cut, and the other way round where
/// `swapped`.
pub fn texts(pairs: &Pairs, pair: u32, swapped: bool) -> [String; 3] {
    let at = pair as usize;
    let a = cut(pairs.response_a.get(at), WORDS, Keep::Start);
    let b = cut(pairs.response_b.get(at), WORDS, Keep::Start);
    let (first, second) = if swapped { (b, a) } else { (a, b) };
    [cut(pairs.prompt.get(at), WORDS, Keep::End), first, second]
}

/// A pair's texts under its name, fenced, each part on lines of its own.
pub fn named_pair(name: &str, mark: &str, [prompt, first, second]: &[String; 3]) -> String {
    format!(
        "# {name}\n{}\n{}\n{}\n",
        fence("PROMPT", mark, prompt),
        fence("RESPONSE A", mark, first),
        fence("RESPONSE B", mark, second),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_are_by_words_and_say_so() {
        assert_eq!(cut("one two  three\nfour", 10, Keep::Start), "one two  three\nfour");
        assert_eq!(cut("one two  three\nfour", 2, Keep::Start), "one two [… 2 words cut]");
        assert_eq!(cut("one two  three\nfour", 2, Keep::End), "[2 words cut …] three\nfour");
        assert_eq!(cut("", 5, Keep::End), "");
        assert_eq!(cut("  \n ", 5, Keep::Start), "");
        let long = cut(&"é".repeat(1 << 20), 128, Keep::Start);
        assert!(long.len() < 120 && long.ends_with("characters cut]"), "{long}");
        assert_eq!(cut("a\u{0}b\u{7}", 5, Keep::Start), "ab");
    }

    #[test]
    fn a_mark_is_in_none_of_the_texts() {
        let first = mark(["x", "y"].into_iter());
        assert_eq!(first, mark(["x", "y"].into_iter()));
        assert_ne!(first, mark(["xy", ""].into_iter()));
        assert_eq!(first.len(), 8);
    }

    proptest! {
        #[test]
        fn cutting_never_fails_and_never_grows_much(text in "\\PC{0,400}", words in 0usize..20, end in any::<bool>()) {
            let keep = if end { Keep::End } else { Keep::Start };
            let short = cut(&text, words, keep);
            prop_assert!(short.split_whitespace().count() <= words + 8 + 4 * words);
            prop_assert!(short.len() <= text.len() + 40 * (words + 1));
            if text.split_whitespace().count() <= words && text.split_whitespace().all(|w| w.len() <= WORD_BYTES) {
                let plain: String = text.trim().chars().filter(|c| !c.is_control() || c.is_whitespace()).collect();
                prop_assert_eq!(short, plain);
            }
        }
    }
}
