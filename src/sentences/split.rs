//! Text to sentences, in one pass: lines to blocks, blocks to sentences, long ones cut.
//!
//! Unicode's sentence rules (UAX 29) were tried first: they keep "i like it. so do you." together, break "Dr. Smith"
//! and URLs at `?`, and know no lists. So the rules stand here, few and in order:
//!
//! ```text
//! line     fence ──► code up to its end (or a new turn, or the end) · heading · table row · list item · quote · prose
//!          a line that goes on the one before (hard-wrapped prose) is joined to it; rulers are left out
//! mark     . ! ? … and closing quotes, then white space        a break
//!          。！？؟।۔ and their kin                               a break, white space or not
//! no break after an abbreviation or an initial, a list's number, "…" or a quoted question before a small letter
//! length   at most LONGEST bytes: cut at a clause, else at white space, else between characters
//! ```

use super::{Sentence, SentenceKind};

/// Bytes of a sentence at most. Longer ones (no punctuation at all, mostly) say several things again.
pub const LONGEST: usize = 480;
/// Bytes of a code block's part at most: a block is one thing, but an embedder reads no book.
pub const LONGEST_CODE: usize = 2048;
/// Texts are read up to here, as positions are 32 bits wide.
const MOST: usize = u32::MAX as usize;
/// A line of prose shorter than this ends where its author pressed Enter; hard-wrapped ones are longer.
const WRAPPED: usize = 40;

/// The sentences of `text`, in order and without overlap. Every letter and digit lies in one of them; white space and
/// lines that only rule (`---`) in none. Never empty for a text that is not blank. Linear in the text.
pub fn split(text: &str) -> Vec<Sentence> {
    let text = &text[..text.floor_char_boundary(MOST)];
    let mut out = Splitter { text, out: Vec::new() };
    out.blocks();
    if out.out.is_empty() {
        out.unit(0, text.len(), SentenceKind::Prose, LONGEST);
    }
    out.out
}

struct Splitter<'a> {
    text: &'a str,
    out: Vec<Sentence>,
}

/// One line: its text without white space around it, as a span; blank where both are equal.
#[derive(Clone, Copy)]
struct Line {
    start: usize,
    end: usize,
    /// Where the next line begins.
    next: usize,
}

/// Running text that may go on in the next line.
struct Open {
    start: usize,
    end: usize,
    kind: SentenceKind,
    /// Bytes of the last line.
    last: usize,
}

impl<'a> Splitter<'a> {
    fn line(&self, from: usize) -> Option<Line> {
        let rest = self.text.get(from..).filter(|rest| !rest.is_empty())?;
        let length = rest.find(['\n', '\r', '\u{2028}', '\u{2029}']).unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or("");
        let end_mark = rest.get(length..).unwrap_or("");
        let mark =
            if end_mark.starts_with("\r\n") { 2 } else { end_mark.chars().next().map_or(0, char::len_utf8) };
        let start = from + (line.len() - line.trim_start().len());
        let end = start + line.trim().len();
        Some(Line { start, end, next: from + length + mark })
    }

    fn words(&self, line: Line) -> &'a str {
        self.text.get(line.start..line.end).unwrap_or("")
    }

    fn blocks(&mut self) {
        let mut at = 0;
        let mut open: Option<Open> = None;
        let mut table = false;
        while let Some(line) = self.line(at) {
            at = line.next;
            let words = self.words(line);
            if words.is_empty() {
                self.close(&mut open);
                table = false;
                continue;
            }
            if let Some(fence) = fence(words) {
                self.close(&mut open);
                at = self.code(line, fence);
                continue;
            }
            let next = self.line(at).map(|next| self.words(next)).unwrap_or("");
            let pipes = words.bytes().filter(|&byte| byte == b'|').count();
            table = pipes > 0 && (table || separates(next) || separates(words));
            if rules(words) {
                self.close(&mut open);
            } else if pipes > 0 && (table || (words.starts_with('|') && pipes > 1)) {
                self.close(&mut open);
                self.unit(line.start, line.end, SentenceKind::TableRow, LONGEST);
            } else if is_heading(words, next) {
                self.close(&mut open);
                self.unit(line.start, line.end, SentenceKind::Heading, LONGEST);
            } else {
                self.running(line, &mut open);
            }
        }
        self.close(&mut open);
    }

    /// A line of running text, which may go on the one before it.
    fn running(&mut self, line: Line, open: &mut Option<Open>) {
        let words = self.words(line);
        let last = line.end - line.start;
        let kind = if words.starts_with('>') {
            SentenceKind::Quote
        } else if marker(words) > 0 {
            SentenceKind::ListItem
        } else {
            SentenceKind::Prose
        };
        if kind == SentenceKind::Prose
            && let Some(open) = open
            && open.last >= WRAPPED
            && words.starts_with(char::is_lowercase)
            && !self.text.get(..open.end).is_some_and(|before| {
                before.ends_with(|c: char| ends(c) || matches!(c, ':' | ';' | '…') || closes(c))
            })
        {
            (open.end, open.last) = (line.end, last);
            return;
        }
        self.close(open);
        *open = Some(Open { start: line.start, end: line.end, kind, last });
    }

    fn close(&mut self, open: &mut Option<Open>) {
        if let Some(open) = open.take() {
            self.sentences(open.start, open.end, open.kind);
        }
    }

    /// A block of code from its opening fence on; where to go on.
    fn code(&mut self, opening: Line, fence: &str) -> usize {
        let start = opening.start;
        let (mut end, mut at) = (opening.end, opening.next);
        let mut blank = false;
        while let Some(line) = self.line(at) {
            let words = self.words(line);
            // Nobody's code goes on into another's turn.
            if blank && speaker(words) {
                break;
            }
            at = line.next;
            blank = words.is_empty();
            if !blank {
                end = line.end;
            }
            if words.len() >= fence.len() && words.bytes().all(|byte| Some(&byte) == fence.as_bytes().first())
            {
                break;
            }
        }
        self.unit(start, end, SentenceKind::Code, LONGEST_CODE);
        at
    }

    /// Takes running text apart.
    fn sentences(&mut self, start: usize, end: usize, kind: SentenceKind) {
        let Some(block) = self.text.get(start..end) else { return };
        let marker = marker(block);
        let mut from = 0;
        // Whether anything but punctuation stands between `from` and here.
        let mut said = false;
        // After the marker, so that "1." is no sentence.
        let mut chars = block.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if at < marker || !(ends(c) || c == '…') {
                said |= c.is_alphanumeric() || !(c.is_ascii() || c.is_whitespace());
                continue;
            }
            let (mut wide, mut full_stops, mut other) = (always_ends(c), usize::from(c == '.'), c != '.');
            let mut quoted = false;
            let mut after = at + c.len_utf8();
            while let Some(&(next, c)) = chars.peek() {
                if ends(c) || c == '…' {
                    wide |= always_ends(c);
                    full_stops += usize::from(c == '.');
                    other |= c != '.';
                } else if closes(c) {
                    quoted |= !matches!(c, '*' | '_' | '`');
                } else {
                    break;
                }
                after = next + c.len_utf8();
                chars.next();
            }
            let rest = block.get(after..).unwrap_or("");
            let next = rest.chars().find(|c| !c.is_whitespace() && !opens(*c));
            if !wide {
                if !rest.starts_with(char::is_whitespace) {
                    continue;
                }
                let small = next.is_some_and(char::is_lowercase);
                let trails = full_stops > 1 && !other || c == '…';
                if small && (trails || quoted) {
                    continue;
                }
                let before = block.get(from..at).unwrap_or("");
                if full_stops == 1 && !other && !quoted && abbreviates(before, rest) {
                    continue;
                }
                // "...", "(!)": nothing has been said yet.
                if !said {
                    continue;
                }
            }
            self.unit(start + from, start + after, kind, LONGEST);
            (from, said) = (after, false);
        }
        self.unit(start + from, end, kind, LONGEST);
    }

    /// Keeps `start..end`, trimmed, in pieces of at most `longest` bytes.
    fn unit(&mut self, mut start: usize, end: usize, kind: SentenceKind, longest: usize) {
        loop {
            let Some(words) = self.text.get(start..end) else { return };
            start += words.len() - words.trim_start().len();
            let words = words.trim();
            if words.is_empty() {
                return;
            }
            let length = if words.len() <= longest { words.len() } else { cut(words, longest, kind) };
            let piece = words.get(..length).unwrap_or(words);
            let piece_end = start + piece.trim_end().len();
            self.out.push(Sentence { start: start as u32, end: piece_end as u32, kind });
            start += piece.len();
        }
    }
}

/// Where to cut `words`, which are longer than `longest` bytes: behind the last line (code), clause or word of the
/// second half of what fits, else between two characters.
fn cut(words: &str, longest: usize, kind: SentenceKind) -> usize {
    let end = words.floor_char_boundary(longest).max(words.chars().next().map_or(1, char::len_utf8));
    let begin = words.ceil_char_boundary(longest / 2).min(end);
    let window = words.get(begin..end).unwrap_or("");
    let behind = |found: &dyn Fn(char, Option<char>) -> bool| {
        let mut best = None;
        let mut chars = window.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if found(c, chars.peek().map(|&(_, next)| next)) {
                best = Some(begin + at + c.len_utf8());
            }
        }
        best
    };
    let spaced = |next: Option<char>| next.is_some_and(char::is_whitespace);
    let line = || behind(&|c, _| c == '\n');
    let clause =
        || behind(&|c, next| matches!(c, '；' | '：') || matches!(c, ';' | ':' | '—' | '–') && spaced(next));
    let comma = || behind(&|c, next| matches!(c, '，' | '、' | '،') || c == ',' && spaced(next));
    let word = || behind(&|c, _| c.is_whitespace());
    let found =
        if kind == SentenceKind::Code { line().or_else(word) } else { clause().or_else(comma).or_else(word) };
    found.unwrap_or(end)
}

/// Marks that end a sentence.
fn ends(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '‼' | '⁇' | '⁈' | '⁉') || always_ends(c)
}

/// Those after which scripts put no space, or which mean nothing else.
fn always_ends(c: char) -> bool {
    matches!(
        c,
        '。' | '！'
            | '？'
            | '｡'
            | '．'
            | '؟'
            | '۔'
            | '।'
            | '॥'
            | '።'
            | '፧'
            | '၊'
            | '။'
            | '។'
            | '᠃'
            | '։'
    )
}

/// What may follow such a mark and still belongs to the sentence.
fn closes(c: char) -> bool {
    matches!(
        c,
        '"' | '\''
            | '”'
            | '’'
            | '»'
            | '›'
            | '」'
            | '』'
            | '）'
            | ')'
            | ']'
            | '}'
            | '】'
            | '》'
            | '*'
            | '_'
            | '`'
    )
}

/// What may stand before a sentence's first letter.
fn opens(c: char) -> bool {
    matches!(c, '"' | '\'' | '“' | '‘' | '«' | '‹' | '(' | '[' | '*' | '_' | '`')
}

/// Bytes of the list marker that a line begins with, the space after it included; 0 for none.
fn marker(line: &str) -> usize {
    let Some(first) = line.chars().next() else { return 0 };
    let space = |at: usize| line.get(at..).and_then(|rest| rest.chars().next()).filter(|c| c.is_whitespace());
    if matches!(first, '-' | '*' | '+' | '•' | '·' | '◦' | '▪' | '●' | '○' | '‣' | '–') {
        return space(first.len_utf8()).map_or(0, |c| first.len_utf8() + c.len_utf8());
    }
    let open = usize::from(first == '(');
    let inner = line.get(open..).unwrap_or("");
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    let letters = inner.bytes().take_while(u8::is_ascii_alphabetic).count();
    let label = match (digits, letters) {
        (1..=3, _) => digits,
        (0, 1) => letters,
        (0, 2..=4) if inner.bytes().take(letters).all(|byte| b"ivx".contains(&byte)) => letters,
        _ => return 0,
    };
    let close = inner.as_bytes().get(label);
    // "I. Introduction" and "A. Blue" are items, but a bare letter with a bracket needs both or the closing one.
    if close == Some(&b')') || (open == 0 && close == Some(&b'.')) {
        return space(open + label + 1).map_or(0, |c| open + label + 1 + c.len_utf8());
    }
    0
}

/// The fence that a line opens a block of code with.
fn fence(line: &str) -> Option<&str> {
    let first = line.bytes().next().filter(|byte| matches!(byte, b'`' | b'~'))?;
    let length = line.bytes().take_while(|&byte| byte == first).count();
    // With a backtick behind it, it is code within a line.
    let inline = first == b'`' && line.get(length..).is_some_and(|rest| rest.contains('`'));
    if length >= 3 && !inline { line.get(..length) } else { None }
}

/// `Human: …`: somebody else speaks from here on.
fn speaker(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or("");
    name.len() < line.len()
        && matches!(name, "Human" | "Assistant" | "User" | "AI" | "System" | "Bot" | "H" | "A")
}

/// A line that only rules: `---`, `***`, `===`, a table's `|---|:--|`.
fn rules(line: &str) -> bool {
    line.len() >= 3
        && line
            .bytes()
            .all(|byte| matches!(byte, b'-' | b'*' | b'=' | b'_' | b'|' | b':' | b'+' | b'~' | b'#' | b' '))
}

/// The line between a table's head and its rows.
fn separates(line: &str) -> bool {
    line.contains('|') && line.contains("--") && rules(line)
}

fn is_heading(line: &str, next: &str) -> bool {
    let level = line.bytes().take_while(|&byte| byte == b'#').count();
    if (1..=6).contains(&level) && line.get(level..).is_some_and(|rest| rest.starts_with(char::is_whitespace))
    {
        return true;
    }
    if line.len() > 120 {
        return false;
    }
    let underlined = next.len() >= 3
        && (next.bytes().all(|byte| byte == b'=') || next.bytes().all(|byte| byte == b'-'))
        && marker(line) == 0;
    let inside = line.trim_end_matches(':').strip_prefix("**").and_then(|rest| rest.strip_suffix("**"));
    underlined || inside.is_some_and(|inside| !inside.is_empty() && !inside.contains("**"))
}

/// After these a name or a number follows, whatever its first letter.
const TITLES: [&str; 30] = [
    "mr", "mrs", "ms", "mx", "dr", "prof", "st", "mt", "gen", "sen", "rep", "gov", "capt", "col", "lt",
    "sgt", "rev", "hon", "vs", "v", "e.g", "i.e", "eg", "ie", "cf", "fig", "figs", "approx", "ca", "viz",
];
/// After these a sentence may end: it does where the next word is one that sentences begin with.
const SHORT: [&str; 46] = [
    "etc", "inc", "ltd", "co", "corp", "jr", "sr", "dept", "univ", "u.s", "u.k", "u.n", "u.s.a", "d.c",
    "a.m", "p.m", "ph.d", "m.d", "b.a", "m.a", "b.c", "a.d", "al", "ed", "eds", "vol", "pp", "p", "ch",
    "sec", "est", "min", "max", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov",
    "dec", "no",
];
/// Words that sentences begin with.
const STARTERS: [&str; 44] = [
    "the", "a", "an", "it", "he", "she", "they", "we", "i", "you", "this", "that", "these", "those", "there",
    "in", "on", "at", "but", "and", "or", "so", "however", "if", "when", "as", "his", "her", "its", "their",
    "our", "my", "your", "what", "how", "why", "while", "after", "before", "for", "to", "yes", "then",
    "also",
];

/// Whether the full stop after `before` belongs to an abbreviation, a number's label or an initial.
fn abbreviates(before: &str, rest: &str) -> bool {
    // Abbreviations are short; what is longer need not be searched for its beginning.
    let tail = before.get(before.ceil_char_boundary(before.len().saturating_sub(24))..).unwrap_or("");
    let word = tail
        .rsplit(|c: char| c.is_whitespace() || opens(c) || matches!(c, '/' | '-' | ','))
        .next()
        .unwrap_or("");
    let alone = before.len() <= 24 && word.len() == before.trim_start().trim_start_matches(opens).len();
    if alone && word.len() <= 3 && word.bytes().all(|b| b.is_ascii_digit()) {
        // "1. Mix": a label, not a sentence.
        return !word.is_empty();
    }
    let small = word.to_lowercase();
    if TITLES.contains(&small.as_str()) && rest.chars().any(char::is_alphanumeric) {
        // "No. 5", but not "I said no. Then", is below.
        return true;
    }
    let mut letters = word.chars();
    let initial = matches!((letters.next(), letters.next()), (Some(first), None) if first.is_uppercase() && first != 'I');
    let dotted = word.len() >= 3
        && word.split('.').all(|part| part.len() == 1 && part.bytes().all(|b| b.is_ascii_alphabetic()));
    if !(initial || dotted || SHORT.contains(&small.as_str())) {
        return false;
    }
    let following = rest.trim_start().trim_start_matches(opens);
    let next: String = following.chars().take_while(|c| c.is_alphabetic()).take(12).collect();
    match small.as_str() {
        // Words of their own, too: only a number after them makes them short.
        "no" | "al" | "ed" | "co" | "min" | "max" | "mar" | "jun" | "sec" | "est" | "p" | "dec"
            if word != "al" =>
        {
            following.starts_with(|c: char| c.is_ascii_digit())
        }
        _ if following.starts_with(char::is_lowercase) => true,
        _ => {
            !next.is_empty() && !STARTERS.contains(&next.to_lowercase().as_str())
                || following.starts_with(|c: char| c.is_ascii_digit())
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
