//! A response made ready for its detectors: what it says, and how it is laid out.

use super::plain::Signs;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Bytes of a text that detectors read. Style shows long before; the limit keeps a cell of a
/// gigabyte from taking the memory and the hour.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// How a response is laid out, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Layout {
    /// Items of bulleted and numbered lists.
    pub list_items: usize,
    /// Items of numbered lists alone.
    pub numbered_items: usize,
    /// Markdown headings, and lines that are bold as a whole.
    pub headings: usize,
    /// Rows of tables.
    pub table_rows: usize,
    /// Fenced code blocks.
    pub code_blocks: usize,
    /// Bold runs within lines.
    pub bold: usize,
    /// Runs in italics.
    pub italics: usize,
    /// Block quotes.
    pub block_quotes: usize,
    /// Blocks of text between blank lines.
    pub paragraphs: usize,
    /// Lines with text, list items left aside.
    pub lines: usize,
}

/// A text as detectors read it.
#[derive(Debug, Clone, Default)]
pub(super) struct Text<'a> {
    /// The text as it came, up to [`MAX_BYTES`].
    pub raw: &'a str,
    /// Code and markup left out, lower case, typographic signs made plain, contractions written out
    /// ("can't" is `can not`, "I'm" is `i am`), one sentence a line.
    pub prose: String,
    /// Where each sentence lies in [`Self::prose`].
    pub sentences: Vec<(usize, usize)>,
    /// The prose letter by letter in ASCII, where it is not ASCII itself; see [`Signs`].
    pub signs: Option<Signs>,
    /// Words of the prose.
    pub words: usize,
    /// See [`Layout`].
    pub layout: Layout,
}

impl<'a> Text<'a> {
    /// Reads `raw`, as far as [`MAX_BYTES`].
    pub fn new(raw: &'a str) -> Self {
        let raw = raw.get(..raw.floor_char_boundary(MAX_BYTES)).unwrap_or_default();
        let mut layout = lines(raw);
        // Only texts with such signs pay for the parser.
        if raw.contains(['*', '#', '|', '`', '_', '>', '[']) {
            markdown(raw, &mut layout);
        }
        let plain = plain(raw, None);
        let mut text = Self { raw, layout, ..Self::default() };
        text.write_prose(&plain, None);
        text.signs = Signs::new(&text.prose, &text.sentences);
        text
    }

    /// The text, and where in `raw` each of its sentences stands (bytes from, to).
    pub fn with_places(raw: &'a str) -> (Self, Vec<(usize, usize)>) {
        let mut text = Self::new(raw);
        let raw = text.raw;
        let mut origin = Vec::with_capacity(raw.len());
        let plain = plain(raw, Some(&mut origin));
        let mut places = Vec::with_capacity(text.sentences.len());
        (text.prose, text.sentences, text.words) = (String::new(), Vec::new(), 0);
        text.write_prose(&plain, Some(&mut places));
        let at = |plain: usize| origin.get(plain).map_or(raw.len(), |&at| at as usize);
        let end = |last: usize| {
            let from = at(last);
            from + raw.get(from..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8)
        };
        let places = places.into_iter().map(|(from, to)| (at(from), end(to.saturating_sub(1)))).collect();
        (text, places)
    }

    /// The prose as patterns read it that ask of a character beyond ASCII its kind alone.
    pub fn by_signs(&self) -> &str {
        self.signs.as_ref().map_or(&self.prose, |signs| &signs.prose)
    }

    /// Sentence `index` of the prose.
    pub fn sentence(&self, index: usize) -> &str {
        self.sentences.get(index).and_then(|&(from, to)| self.prose.get(from..to)).unwrap_or("")
    }

    /// Splits lower-case lines into sentences with contractions written out; `places` receives where each
    /// of them stands in `plain`.
    fn write_prose(&mut self, plain: &str, mut places: Option<&mut Vec<(usize, usize)>>) {
        self.prose.reserve(plain.len() + plain.len() / 16);
        for line in plain.split('\n') {
            let mut rest = line.trim();
            while !rest.is_empty() {
                let (sentence, after) = split_sentence(rest);
                let from = self.prose.len();
                self.words += write_out(sentence, &mut self.prose);
                if self.prose.len() > from {
                    self.sentences.push((from, self.prose.len()));
                    self.prose.push('\n');
                    if let Some(places) = places.as_deref_mut() {
                        // `sentence` is a part of `plain`.
                        let at = sentence.as_ptr() as usize - plain.as_ptr() as usize;
                        places.push((at, at + sentence.len()));
                    }
                }
                rest = after.trim_start();
            }
        }
    }
}

/// The sentence among `sentences` that holds byte `at`.
pub(super) fn sentence_at(sentences: &[(usize, usize)], at: usize) -> usize {
    sentences.partition_point(|&(from, _)| from <= at).saturating_sub(1)
}

/// The list marker that a line begins with: its length, and whether it is a number.
pub(super) fn marker(line: &str) -> Option<(usize, bool)> {
    let first = line.chars().next()?;
    let after = line.get(first.len_utf8()..)?;
    if matches!(first, '-' | '*' | '+' | '•' | '·' | '◦' | '▪' | '●' | '‣' | '–') {
        let space = after.chars().next()?;
        return space.is_whitespace().then_some((first.len_utf8() + space.len_utf8(), false));
    }
    let open = usize::from(first == '(');
    let inner = line.get(open..)?;
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    let label = if (1..=3).contains(&digits) { digits } else { 0 };
    if label == 0 {
        return None;
    }
    let rest = inner.get(label..)?;
    let close = rest.chars().next()?;
    let wanted: &[char] = if open == 1 { &[')'] } else { &['.', ')'] };
    let space = rest.get(close.len_utf8()..)?.chars().next()?;
    (wanted.contains(&close) && space.is_whitespace()).then_some((open + label + 2, true))
}

/// What shows line by line. Plain text has lists too, so this does not ask a Markdown parser.
fn lines(raw: &str) -> Layout {
    let mut layout = Layout::default();
    let (mut fenced, mut blank) = (false, true);
    let (mut bullets, mut numbers) = (0, 0);
    for line in raw.lines() {
        let line = line.trim();
        if line.starts_with("```") || line.starts_with("~~~") {
            layout.code_blocks += usize::from(!fenced);
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        if line.is_empty() {
            blank = true;
            continue;
        }
        match marker(line) {
            Some((_, true)) => numbers += 1,
            Some((_, false)) => bullets += 1,
            None => {
                layout.lines += 1;
                layout.paragraphs += usize::from(blank);
            }
        }
        blank = false;
    }
    // One line that begins with a dash or "1." is no list.
    layout.numbered_items = if numbers >= 2 { numbers } else { 0 };
    layout.list_items = layout.numbered_items + if bullets >= 2 { bullets } else { 0 };
    layout
}

/// What only a Markdown parser knows: emphasis, headings, tables, quotes.
fn markdown(raw: &str, layout: &mut Layout) {
    let mut strong_in_paragraph = 0;
    let mut other_in_paragraph = 0;
    let mut depth = 0;
    for event in Parser::new_ext(raw, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { level, .. }) if level <= HeadingLevel::H6 => layout.headings += 1,
            Event::Start(Tag::Paragraph) => (strong_in_paragraph, other_in_paragraph) = (0, 0),
            // A line that is bold as a whole is a heading in all but name.
            Event::End(TagEnd::Paragraph) if strong_in_paragraph == 1 && other_in_paragraph == 0 => {
                layout.headings += 1;
                layout.bold = layout.bold.saturating_sub(1);
            }
            Event::Start(Tag::Strong) => {
                layout.bold += 1;
                strong_in_paragraph += 1;
                depth += 1;
            }
            Event::End(TagEnd::Strong) => depth -= 1,
            Event::Start(Tag::Emphasis) => layout.italics += 1,
            Event::Start(Tag::TableRow | Tag::TableHead) => layout.table_rows += 1,
            Event::Start(Tag::BlockQuote(_)) => layout.block_quotes += 1,
            Event::Text(text) if depth == 0 && !text.trim().is_empty() => other_in_paragraph += 1,
            Event::Code(_) if depth == 0 => other_in_paragraph += 1,
            _ => {}
        }
    }
}

/// Lower case without code, list markers and markup; typographic signs made plain. Lines stay lines.
/// `origin` receives, for every byte of that, the position in `raw` of the character it comes from.
fn plain(raw: &str, mut origin: Option<&mut Vec<u32>>) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut fenced = false;
    for line in raw.lines() {
        let mut line = line.trim();
        if line.starts_with("```") || line.starts_with("~~~") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        line = line.trim_start_matches(['#', '>']).trim_start();
        if let Some((length, _)) = marker(line) {
            line = line.get(length..).unwrap_or("").trim_start();
        }
        // `line` is a part of `raw`.
        let start = line.as_ptr() as usize - raw.as_ptr() as usize;
        for (offset, c) in line.char_indices() {
            match c {
                '*' | '`' | '|' => {}
                '’' | '‘' | 'ʼ' | '´' => out.push('\''),
                '“' | '”' | '„' | '«' | '»' => out.push('"'),
                '–' | '—' | '‐' | '‑' | '−' => out.push('-'),
                '…' => out.push_str("..."),
                '\u{a0}' | '\t' | '\u{202f}' => out.push(' '),
                c if c.is_control() => {}
                c if c.is_ascii() => out.push(c.to_ascii_lowercase()),
                '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => {}
                c => out.extend(c.to_lowercase()),
            }
            if let Some(origin) = origin.as_deref_mut() {
                origin.resize(out.len(), (start + offset) as u32);
            }
        }
        out.push('\n');
        if let Some(origin) = origin.as_deref_mut() {
            origin.resize(out.len(), (start + line.len()) as u32);
        }
    }
    out
}

/// Words that a full stop after them does not end a sentence with.
const ABBREVIATIONS: [&str; 22] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "e.g", "i.e", "eg", "ie", "no", "fig", "jr", "sr",
    "inc", "approx", "dept", "u.s", "u.k", "cf",
];

/// The first sentence of a line, its final mark included, and the rest.
fn split_sentence(line: &str) -> (&str, &str) {
    let bytes = line.as_bytes();
    let mut at = 0;
    while let Some(offset) =
        bytes.get(at..).and_then(|rest| rest.iter().position(|b| matches!(b, b'.' | b'!' | b'?')))
    {
        let mark = at + offset;
        let mut end = mark + 1;
        while bytes.get(end).is_some_and(|b| matches!(b, b'.' | b'!' | b'?' | b'"' | b'\'' | b')' | b']')) {
            end += 1;
        }
        let ends = bytes.get(end).is_none_or(|b| b.is_ascii_whitespace());
        if ends && !(bytes.get(mark) == Some(&b'.') && abbreviation(line.get(..mark).unwrap_or(""))) {
            return line.split_at(end);
        }
        // Bytes of longer characters are never in the ASCII range, so this stays on a boundary.
        at = end;
    }
    (line, "")
}

fn abbreviation(before: &str) -> bool {
    let word = before.rsplit([' ', '(', '"']).next().unwrap_or("");
    // A single letter: an initial, or the last of "e.g".
    (word.len() == 1 && word.bytes().all(|b| b.is_ascii_alphabetic()) && word != "i")
        || ABBREVIATIONS.contains(&word)
}

/// Copies a sentence with contractions written out and single spaces; returns its number of words.
fn write_out(sentence: &str, out: &mut String) -> usize {
    let mut words = 0;
    let start = out.len();
    for word in sentence.split_ascii_whitespace() {
        if out.len() > start {
            out.push(' ');
        }
        words += usize::from(word.bytes().any(|b| b.is_ascii_alphanumeric() || b >= 0x80));
        if word.contains('\'') || word.starts_with("cannot") {
            expand(word, out);
        } else {
            out.push_str(word);
        }
    }
    words
}

/// One word with an apostrophe; its punctuation stays.
fn expand(word: &str, out: &mut String) {
    const WHOLE: [(&str, &str); 14] = [
        ("can't", "can not"),
        ("cannot", "can not"),
        ("won't", "will not"),
        ("shan't", "shall not"),
        ("i'm", "i am"),
        ("let's", "let us"),
        ("it's", "it is"),
        ("that's", "that is"),
        ("here's", "here is"),
        ("there's", "there is"),
        ("what's", "what is"),
        ("he's", "he is"),
        ("she's", "she is"),
        ("who's", "who is"),
    ];
    const ENDINGS: [(&str, &str); 5] =
        [("n't", " not"), ("'re", " are"), ("'ve", " have"), ("'ll", " will"), ("'d", " would")];
    let core_start = word.find(|c: char| c.is_alphanumeric()).unwrap_or(word.len());
    let core_end = word.rfind(|c: char| c.is_alphanumeric()).map_or(core_start, |at| {
        at + word.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    });
    let (Some(before), Some(core), Some(after)) =
        (word.get(..core_start), word.get(core_start..core_end), word.get(core_end..))
    else {
        return out.push_str(word);
    };
    out.push_str(before);
    if let Some((_, long)) = WHOLE.iter().find(|(short, _)| *short == core) {
        out.push_str(long);
    } else if core == "ain't" {
        out.push_str(core);
    } else if let Some((stem, long)) =
        ENDINGS.iter().find_map(|(ending, long)| Some((core.strip_suffix(ending)?, long)))
    {
        out.push_str(stem);
        out.push_str(long);
    } else {
        out.push_str(core);
    }
    out.push_str(after);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(raw: &str) -> Vec<String> {
        let text = Text::new(raw);
        (0..text.sentences.len()).map(|i| text.sentence(i).to_owned()).collect()
    }

    #[test]
    fn sentences_are_plain_and_contractions_written_out() {
        assert_eq!(
            sentences(
                "I can’t help, Dr. Smith. It’s **not** OK — we won't! See e.g. page 3.5?\n\n- “Let's go.” she said"
            ),
            [
                "i can not help, dr. smith.",
                "it is not ok - we will not!",
                "see e.g. page 3.5?",
                "\"let us go.\"",
                "she said"
            ]
        );
        assert_eq!(sentences("They'd've said don't; y'all ain't"), ["they'd have said do not; y'all ain't"]);
        assert_eq!(sentences("\u{0}\u{202e}..."), ["..."]);
        assert!(sentences("```\nx = 1\n```").is_empty());
    }

    #[test]
    fn layout_is_counted_in_markdown_and_in_plain_text() {
        let text = Text::new(
            "# Title\n\nIntro with **bold** words and *leaning* ones.\n\n**Part one**\n\n1. a\n2. b\n3) c\n\n• x\n• y\n\n\
             | a | b |\n|---|---|\n| 1 | 2 |\n\n```py\n# no heading\n- no item\n```\n> said so",
        );
        let layout = text.layout;
        assert_eq!((layout.list_items, layout.numbered_items, layout.headings), (5, 3, 2));
        assert_eq!((layout.bold, layout.italics, layout.table_rows), (1, 1, 2));
        assert_eq!((layout.code_blocks, layout.block_quotes), (1, 1));
        assert_eq!(Text::new("- just one dash\nand a line").layout.list_items, 0);
        assert_eq!(Text::new("In 1999. Yes.").layout.list_items, 0);
    }

    #[test]
    fn sentences_are_found_again_in_the_text() {
        let raw =
            "# **Title** here\n\n- “I can’t,” he said. It’s é fine!\n```\nlet x = 1;\n```\n> ok… 😀 ÀB?";
        let (text, places) = Text::with_places(raw);
        let plain = Text::new(raw);
        assert_eq!((&text.prose, &text.sentences, text.words), (&plain.prose, &plain.sentences, plain.words));
        let found: Vec<&str> = places.iter().map(|&(from, to)| &raw[from..to]).collect();
        assert_eq!(found, ["Title** here", "“I can’t,” he said.", "It’s é fine!", "ok…", "😀 ÀB?"]);
        for hostile in ["", "\0\u{202e}", "**", "...", "`".repeat(9).as_str(), "İİ. İ!"] {
            let (text, places) = Text::with_places(hostile);
            assert_eq!(text.sentences.len(), places.len());
            assert!(
                places.iter().all(|&(from, to)| hostile.get(from..to).is_some_and(|part| !part.is_empty()))
            );
        }
    }

    #[test]
    fn a_position_finds_its_sentence() {
        let text = Text::new("One. Two two. Three.");
        let at = text.prose.find("two two").unwrap();
        assert_eq!(sentence_at(&text.sentences, at + 4), 1);
        assert_eq!(sentence_at(&text.sentences, 0), 0);
        assert_eq!(text.words, 4);
    }

    #[test]
    fn hostile_texts_are_read_to_the_limit() {
        let long = "'".repeat(3 << 20);
        assert!(Text::new(&long).raw.len() <= MAX_BYTES);
        let emoji = "😀".repeat(1 << 19);
        assert_eq!(Text::new(&emoji).raw.len() % 4, 0);
        assert_eq!(Text::new("").sentences.len(), 0);
    }
}
