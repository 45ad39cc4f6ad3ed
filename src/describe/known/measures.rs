//! Detectors that count instead of looking for words; the bank refers to them by name.
//!
//! Each reads one response, given its prompt, and returns how much of the concept is in it, 0 for
//! none. Counts are returned as ln(1 + n): the step from none to one says more than that from ten
//! to eleven.

use std::collections::HashSet;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use polars::prelude::PlHashSet;
use regex::Regex;
use whatlang::Lang;

use super::text::Text;

/// A detector: response, what is known of the prompt, how much of it there is.
pub(super) type Measure = fn(&Text<'_>, &Prompt) -> f32;

/// Every measure by its name in the bank.
pub(super) const ALL: [(&str, Measure); 30] = [
    ("words", |text, _| text.words as f32),
    ("sentence_length", |text, _| ratio(text.words, text.sentences.len())),
    ("long_words", |text, _| ratio(long_words(text), text.words)),
    ("paragraphs", |text, _| log(text.layout.paragraphs.saturating_sub(1))),
    ("list_items", |text, _| log(text.layout.list_items)),
    ("numbered_items", |text, _| log(text.layout.numbered_items)),
    ("headings", |text, _| log(text.layout.headings)),
    ("table_rows", |text, _| log(text.layout.table_rows)),
    ("code_blocks", |text, _| log(text.layout.code_blocks)),
    ("bold", |text, _| log(text.layout.bold)),
    ("italics", |text, _| log(text.layout.italics)),
    ("block_quotes", |text, _| log(text.layout.block_quotes)),
    ("emoji", |text, _| log(emoji(text))),
    ("exclamations", |text, _| log(exclamations(text))),
    ("capitals", |text, _| log(capitals(text))),
    ("quotations", |text, _| log(quotations(text))),
    ("links", |text, _| log(if may_link(text.raw) { count(&LINK, text.raw) } else { 0 })),
    ("figures", |text, _| log(figures(text))),
    ("formulas", |text, _| {
        log(if text.raw.contains(['$', '\\', '=']) { count(&FORMULA, text.raw) } else { 0 })
    }),
    ("names", |text, _| log(names(text))),
    ("inner_questions", |text, _| log(inner_questions(text))),
    ("closing_question", |text, _| flag(closing_question(text))),
    ("breaks_off", |text, _| flag(breaks_off(text))),
    ("few_words", |text, _| flag((1..=3).contains(&text.words))),
    ("verse", |text, _| flag(verse(text))),
    ("off_topic", off_topic),
    ("restates_prompt", restates_prompt),
    ("repeats_itself", |text, _| repeats_itself(text)),
    ("other_language", other_language),
    ("spelling_errors", |text, _| log(count(&MISSPELT, text.by_signs()))),
];

/// What detectors need to know about a prompt.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    /// Stems of the content words of its last turn.
    stems: HashSet<String>,
    /// Runs of [`RUN`] words of its last turn, as hashes.
    runs: HashSet<u64>,
    /// Its language, where that can be told.
    language: Option<Lang>,
}

/// Words in a row that count as repeated.
const RUN: usize = 4;

impl Prompt {
    /// Reads a prompt; of a conversation, what the person said last.
    pub fn new(prompt: &str) -> Self {
        let last = prompt.rfind("Human:").and_then(|at| prompt.get(at + "Human:".len()..)).unwrap_or(prompt);
        let text = Text::new(last);
        Self {
            stems: content_stems(&text.prose),
            runs: runs(&text.prose).collect(),
            language: language(&text),
        }
    }
}

fn log(n: usize) -> f32 {
    (n as f32).ln_1p()
}

fn flag(present: bool) -> f32 {
    f32::from(u8::from(present))
}

fn ratio(part: usize, whole: usize) -> f32 {
    if whole == 0 { 0.0 } else { part as f32 / whole as f32 }
}

fn regex(pattern: &str) -> Regex {
    #[allow(clippy::expect_used)] // a literal of this file; the tests compile every one
    Regex::new(pattern).expect("a pattern of this file")
}

fn count(pattern: &Regex, text: &str) -> usize {
    pattern.find_iter(text).count()
}

fn words(prose: &str) -> impl Iterator<Item = &str> {
    prose.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|word| !word.is_empty())
}

static LINK: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)https?://|\bwww\.|\bdoi:\s?10\.|\[\d{1,3}\]"));
/// What every match of [`LINK`] has in it; most texts have none of these.
static LINK_SIGN: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder().ascii_case_insensitive(true).build(["://", "www.", "doi:", "["]).ok()
});

/// Whether a text may hold a link; one that may not need not be searched.
fn may_link(raw: &str) -> bool {
    LINK_SIGN.as_ref().is_none_or(|signs| signs.is_match(raw))
}

static FORMULA: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"\$[^$\n]{1,80}[\\^_=][^$\n]{0,80}\$|\\\(|\\\[|\\frac|\b\w{1,3} ?= ?[-\w(]+ ?[-+*/^×÷]")
});
static EMOTICON: LazyLock<Regex> = LazyLock::new(|| regex(r"(?:^|\s)[:;=]-?[)DPp(](?:\s|$|[.,!])"));
static EMOJI: LazyLock<Regex> = LazyLock::new(|| regex(r"\p{Extended_Pictographic}"));
static FIGURE: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"\d+(?:[.,:]\d+)*|\b(?:percent|per cent|hundreds?|thousands?|millions?|billions?)\b")
});
static MISSPELT: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"\b(?:teh|recieve\w*|definately|seperate\w*|occured|untill|wich|becuase|alot|wierd|thier|beleive\w*|acheive\w*|tommorow|goverment|enviroment\w*|neccessar\w*|succesful\w*|accomodat\w*|embarass\w*|existance|arguement|grammer|publically|truely|writting|begining|dissapoint\w*|independant\w*|noticable|occassion\w*|persue|priviledge\w*|reccomend\w*|rythm|similiar|suprise\w*|tounge|wether|youre|dont|cant|doesnt|didnt|isnt|wasnt|im|ive|thats)\b",
    )
});

/// Pictographs (a sequence of several code points counts by its pictographs) and emoticons.
fn emoji(text: &Text<'_>) -> usize {
    let pictographs = if text.raw.is_ascii() {
        0
    } else {
        let signs = |found: &regex::Match<'_>| {
            !matches!(found.as_str(), "©" | "®" | "™" | "‼" | "⁉" | "↔" | "▪" | "▫")
        };
        EMOJI.find_iter(text.raw).filter(signs).count()
    };
    pictographs + if text.raw.contains([':', ';', '=']) { count(&EMOTICON, text.raw) } else { 0 }
}

/// Runs of exclamation marks in the prose, so not `!=` in code.
fn exclamations(text: &Text<'_>) -> usize {
    let bytes = text.prose.as_bytes();
    bytes
        .iter()
        .zip(bytes.iter().skip(1).chain([&b' ']))
        .filter(|&(a, b)| *a == b'!' && !matches!(*b, b'!' | b'='))
        .count()
}

/// Words of four or more capital letters.
fn capitals(text: &Text<'_>) -> usize {
    let shouted = |word: &&str| word.len() >= 4 && word.bytes().all(|b| b.is_ascii_uppercase());
    text.raw.split(|c: char| !c.is_alphanumeric()).filter(shouted).count()
}

/// Passages of two or more words in quotation marks.
fn quotations(text: &Text<'_>) -> usize {
    let passages = text.prose.split('"').skip(1).step_by(2);
    passages.filter(|passage| passage.contains(' ') && passage.len() <= 600).count()
}

/// Numbers in the prose; list markers are not in it.
fn figures(text: &Text<'_>) -> usize {
    if text.prose.bytes().any(|b| b.is_ascii_digit())
        || text.prose.contains("illion")
        || text.prose.contains("percent")
    {
        count(&FIGURE, text.by_signs())
    } else {
        0
    }
}

/// Words of ten or more letters.
fn long_words(text: &Text<'_>) -> usize {
    words(&text.prose).filter(|word| word.len() >= 10).count()
}

/// Capitalised words within sentences: people, places, products.
fn names(text: &Text<'_>) -> usize {
    let mut count = 0;
    for line in text.raw.lines() {
        let mut starts = true;
        for word in line.split_whitespace() {
            let core = word.trim_matches(|c: char| !c.is_alphanumeric());
            let mut chars = core.chars();
            let capital =
                chars.next().is_some_and(char::is_uppercase) && chars.next().is_some_and(char::is_lowercase);
            let opens =
                word.starts_with(['"', '“', '(', '*', '-', '#']) || word.contains('\'') || word.contains('’');
            count += usize::from(capital && !starts && !opens);
            starts = word.ends_with(['.', '!', '?', ':', '*', '"', '”']) || core.is_empty();
        }
    }
    count
}

fn inner_questions(text: &Text<'_>) -> usize {
    let last = text.sentences.len().saturating_sub(1);
    (0..last).filter(|&i| text.sentence(i).trim_end_matches(['"', '\'', ')']).ends_with('?')).count()
}

/// One of the last two sentences asks the reader: a rhetorical question is rarely that late.
fn closing_question(text: &Text<'_>) -> bool {
    let count = text.sentences.len();
    // Emoji, a signature or "Let me know!" may follow the question.
    (count.saturating_sub(2)..count)
        .any(|i| text.sentence(i).trim_end_matches(['"', '\'', ')']).contains('?'))
}

/// The text ends without an end: no final mark, on a word that promises more or after a longer run.
fn breaks_off(text: &Text<'_>) -> bool {
    let Some(last) = text.sentences.len().checked_sub(1).map(|i| text.sentence(i)) else { return false };
    let raw = text.raw.trim_end();
    let Some(end) = raw.chars().next_back() else { return false };
    if matches!(end, ',' | ';' | '-' | '–' | '(') || raw.ends_with(" -") {
        return true;
    }
    if !end.is_alphanumeric() || raw.ends_with("```") {
        return false;
    }
    // An address is not followed by a full stop, a cell of a table or an item of a list need not be.
    let address = |token: &str| token.contains("://") || token.contains("www.") || token.contains('/');
    if raw.split_whitespace().next_back().is_some_and(address) {
        return false;
    }
    let word = words(last).last().unwrap_or("");
    let promises = [
        "the", "a", "an", "and", "or", "but", "of", "to", "with", "for", "in", "on", "at", "by", "from",
        "that", "which", "because", "if", "is", "are", "was", "were", "will", "can", "should", "your",
        "their", "its", "as", "than", "into", "these", "who", "i", "we",
    ];
    let last_line = raw.lines().next_back().unwrap_or("").trim();
    let item = last_line.starts_with(['-', '*', '•', '#', '|'])
        || last_line.contains('\t')
        || last_line.chars().next().is_some_and(|c| c.is_ascii_digit());
    promises.contains(&word) || (!item && text.sentences.len() > 1 && last.split(' ').count() >= 6)
}

/// Short lines without a list: verse.
fn verse(text: &Text<'_>) -> bool {
    let layout = &text.layout;
    layout.lines >= 6
        && layout.list_items == 0
        && text.words <= 9 * layout.lines
        && text.words >= 3 * layout.lines
}

/// The first letters of a word: enough to bring its forms together.
fn stem(word: &str) -> &str {
    let end = word.char_indices().nth(5).map_or(word.len(), |(at, _)| at);
    word.get(..end).unwrap_or(word)
}

fn content_stems(prose: &str) -> HashSet<String> {
    words(prose)
        .filter(|word| word.len() >= 4 && !FUNCTION_WORDS.contains(word))
        .map(|word| stem(word).to_owned())
        .collect()
}

static FUNCTION_WORDS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("../../../data/stopwords.txt").split_whitespace().collect());

/// Share of the question's content words that the response never takes up.
fn off_topic(text: &Text<'_>, prompt: &Prompt) -> f32 {
    if prompt.stems.is_empty() || text.words == 0 {
        return 0.0;
    }
    let mut found: HashSet<&str> = HashSet::new();
    for word in words(&text.prose).filter(|word| word.len() >= 4) {
        if let Some(stem) = prompt.stems.get(stem(word)) {
            found.insert(stem);
        }
    }
    1.0 - ratio(found.len(), prompt.stems.len())
}

/// The runs of words of a text, each as a number that tells it from others.
fn runs(prose: &str) -> impl Iterator<Item = u64> {
    // Every word is hashed once (FNV-1a: words are short), and a run is put together from its words.
    let hash_of = |word: &str| {
        word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let words: Vec<u64> = words(prose).map(hash_of).collect();
    let together = |run: &[u64]| {
        run.iter().fold(0_u64, |all, word| (all.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    };
    words.windows(RUN).map(together).collect::<Vec<_>>().into_iter()
}

/// Runs of words taken over from the question.
fn restates_prompt(text: &Text<'_>, prompt: &Prompt) -> f32 {
    if prompt.runs.is_empty() {
        return 0.0;
    }
    log(runs(&text.prose).filter(|run| prompt.runs.contains(run)).count())
}

/// Share of the runs of words that occurred before in the same response.
fn repeats_itself(text: &Text<'_>) -> f32 {
    let mut seen = PlHashSet::default();
    let (mut all, mut again) = (0, 0);
    for run in runs(&text.prose) {
        all += 1;
        again += usize::from(!seen.insert(run));
    }
    if all < 12 { 0.0 } else { ratio(again, all) }
}

/// The language of a text that is long enough and clear. English, by far the most frequent, is told
/// by its function words, which is a hundred times as fast as a language model of letters.
fn language(text: &Text<'_>) -> Option<Lang> {
    if text.words < 4 {
        return None;
    }
    let sample = text.prose.get(..text.prose.floor_char_boundary(250)).unwrap_or("");
    let (mut all, mut english) = (0, 0);
    for word in words(sample) {
        all += 1;
        english += usize::from(FUNCTION_WORDS.contains(word));
    }
    // An emoji or a dash is no letter of another language.
    if english * 4 >= all && sample.chars().all(|c| c.is_ascii() || !c.is_alphabetic()) {
        return Some(Lang::Eng);
    }
    whatlang::detect(sample)
        .filter(|info| info.is_reliable() && info.confidence() > 0.9)
        .map(|info| info.lang())
}

/// 1 where the response is clearly in another language than the prompt.
fn other_language(text: &Text<'_>, prompt: &Prompt) -> f32 {
    // Telling a language is the dearest thing here: not where there is nothing to compare with.
    let Some(asked) = prompt.language else { return 0.0 };
    language(text).map_or(0.0, |answered| flag(asked != answered))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(name: &str, prompt: &str, response: &str) -> f32 {
        let (_, measure) = ALL.iter().find(|(other, _)| *other == name).unwrap();
        measure(&Text::new(response), &Prompt::new(prompt))
    }

    #[test]
    fn every_pattern_of_this_file_compiles() {
        for pattern in [&LINK, &FORMULA, &EMOTICON, &EMOJI, &FIGURE, &MISSPELT] {
            assert!(!pattern.is_match("\u{1}"));
        }
        for pattern in [&FIGURE, &MISSPELT] {
            assert!(
                super::super::plain::same_by_signs(pattern.as_str()),
                "{} is read by signs",
                pattern.as_str()
            );
        }
        for link in ["https://a.b", "HTTP://A", "Www.x.org", "DOI: 10.1", "as in [12]"] {
            assert!(LINK.is_match(link) && may_link(link), "{link}");
        }
        assert!(!may_link("A plain text: no link."));
    }

    #[test]
    fn counts_do_not_count_their_look_alikes() {
        for (name, yes, no) in [
            ("emoji", "Well done 🎉", "© 2020 Acme™ at 10:30"),
            ("emoji", "See you :)", "ratio 3:1 (a:b)"),
            ("exclamations", "Wow!", "```\na != b\n```\nx"),
            ("capitals", "This is VERY BAD and WRONG", "NASA? No: an FBI agent. The USA."),
            ("quotations", "She said \"all is well\" and left.", "the so-called \"expert\" view"),
            ("links", "See https://example.org.", "http is a protocol"),
            ("figures", "About 40 percent.", "1. First\n2. Second"),
            ("names", "We met Anna in Paris.", "We met her. Then I left."),
            (
                "closing_question",
                "Do this. Would you like more?",
                "Why? Because it works. And so on it goes.",
            ),
            ("breaks_off", "First you mix the flour with the", "First you mix the flour."),
            (
                "breaks_off",
                "It is a long story and it ends here. After that they went on to say",
                "- one\n- two",
            ),
            ("few_words", "Yes.", "Yes, it is true that it works."),
            ("code_blocks", "```\nx = 1\n```", "use `x` here"),
            (
                "repeats_itself",
                &"the same thing over and over again ".repeat(4),
                "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen",
            ),
        ] {
            assert!(measure(name, "", yes) > 0.0, "{name} in {yes:?}");
            if name != "capitals" {
                assert_eq!(measure(name, "", no), 0.0, "{name} in {no:?}");
            }
        }
    }

    #[test]
    fn what_depends_on_the_prompt_reads_it() {
        let prompt = "How do I bake sourdough bread in a small oven?";
        let near = "Bake the sourdough bread in the small oven for an hour.";
        let far = "Cars need petrol and regular service to run well.";
        assert!(measure("off_topic", prompt, far) > measure("off_topic", prompt, near) + 0.5);
        assert!(
            measure("restates_prompt", prompt, "To bake sourdough bread in a small oven, start early.") > 0.0
        );
        assert_eq!(measure("restates_prompt", prompt, far), 0.0);
        let german =
            "Das ist eine sehr gute Frage, und ich antworte gern auf Deutsch darauf, weil es mir so gefällt.";
        assert_eq!(measure("other_language", prompt, german), 1.0);
        assert_eq!(measure("other_language", prompt, near), 0.0);
        assert_eq!(measure("other_language", "", german), 0.0);
        let conversation = "Human: Tell me about cars\n\nAssistant: Sure.\n\nHuman: And bread?";
        assert_eq!(measure("off_topic", conversation, "Bread is fine."), 0.0);
    }
}
