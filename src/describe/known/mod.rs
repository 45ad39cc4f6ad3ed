//! Known concepts: what people say about responses, each with a detector that reads one response.
//!
//! The bank is data: `data/concepts.toml`, which a user extends with a file of the same form
//! (`--concepts FILE`). A concept finds words or phrases in the prose (regular expressions over
//! lower-case sentences with contractions written out) or refers to a measure by name ([`measures`]).
//! It carries sentences that it must find and must not find; they are checked when a bank is loaded
//! from a file and, for the boxed one, by a test.

mod measures;
mod plain;
mod prefilter;
mod spans;
mod text;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use regex::Regex;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::feature::Reading;
use crate::matrix::Matrix;
use crate::pairs::Pairs;
use measures::{Measure, Prompt};
use prefilter::Prefilter;
use text::Text;

/// The bank that is in the program.
const BOXED: &str = include_str!("../../../data/concepts.toml");
/// How readers, who saw the words alone, judged what the boxed detectors find in real pairs; made by `tests/reading`.
const READING: &str = include_str!("../../../data/reading.csv");
/// Cues of unsafe requests, in the same form.
const UNSAFE_PROMPTS: &str = include_str!("../../../data/unsafe_prompts.toml");
/// Pairs read between two calls of the progress function.
const BLOCK: usize = 256;
/// Compiled size of one concept's patterns: what one loop over words needs, many times over.
const PATTERN_BYTES: usize = 32 << 20;

/// A bank that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConceptBankError {
    /// The file cannot be read.
    #[error("cannot read the concepts `{path}`: {}{}", crate::limits::said(.source), crate::limits::hint(.source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not valid TOML of the known keys.
    #[error("the concepts in `{path}` are not usable: {message}\nhint: `data/concepts.toml` shows the form")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// One concept cannot be used.
    #[error("concept `{id}` in `{path}`: {reason}")]
    Concept {
        /// The file.
        path: PathBuf,
        /// The concept.
        id: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// A concept in words; its detector belongs to the [`ConceptBank`].
#[derive(Debug, Clone, PartialEq)]
pub struct Concept {
    /// Name in files: `known_ID` is the feature.
    pub id: String,
    /// A label of a few words.
    pub short: String,
    /// What a response with it does: "refuses or declines to help".
    pub description: String,
    /// Completes "Prefer the response that …"; the description where the bank says nothing else.
    pub prefer: String,
    /// `safety`, `protective`, `harmful`, `length`.
    pub flags: Vec<String>,
    /// How readers judged what its detector finds; `None` where nobody has read it, as with a user's own.
    pub reading: Option<Reading>,
}

/// Concepts with their detectors.
#[derive(Debug)]
pub struct ConceptBank {
    concepts: Vec<Concept>,
    detectors: Vec<Detector>,
    prefilter: Prefilter,
    fingerprint: String,
}

/// A row of `data/reading.csv`.
#[derive(Debug, Deserialize)]
struct Read {
    concept: String,
    right: u32,
    n: u32,
    found: u32,
    of: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    concept: Vec<Entry>,
}

/// A concept as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    short: String,
    description: String,
    prefer: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
    /// How matches become a figure.
    #[serde(default)]
    how: How,
    /// Which sentences are read.
    #[serde(default)]
    place: Place,
    /// Words, `*` for any ending.
    #[serde(default)]
    words: String,
    /// Patterns.
    #[serde(default, rename = "match")]
    patterns: Vec<String>,
    /// A sentence with one of these does not count.
    #[serde(default)]
    unless: Vec<String>,
    /// A detector by name.
    measure: Option<String>,
    /// Share of the larger figure that the two responses must differ by; less is a tie.
    #[serde(default = "clearly")]
    clear: f32,
    /// Responses that have it.
    #[serde(default)]
    yes: Vec<Example>,
    /// Responses that do not.
    #[serde(default)]
    no: Vec<Example>,
    /// From another file.
    #[serde(skip)]
    reading: Option<Reading>,
}

/// Four list items against six are a tie, three against six are not: readers who saw pairs with a smaller difference
/// called both alike (of 26 pairs in which years or dates differed at all, ten; of those that differ so much, one of twelve).
fn clearly() -> f32 {
    0.5
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    /// 1 where there is any match.
    #[default]
    Present,
    /// ln(1 + matches).
    Count,
    /// Share of the sentences that have a match.
    Share,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    #[default]
    Anywhere,
    /// The first two sentences.
    Start,
    /// The last two sentences.
    End,
}

/// A response, or a response to a prompt.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Example {
    Response(String),
    Exchange { prompt: String, response: String },
}

impl Example {
    fn parts(&self) -> (&str, &str) {
        match self {
            Self::Response(response) => ("", response),
            Self::Exchange { prompt, response } => (prompt, response),
        }
    }
}

#[derive(Debug)]
struct Detector {
    /// What [`Self::matches`] is made of.
    patterns: Vec<String>,
    /// Whether [`Self::matches`] finds the same in [`Text::signs`].
    by_signs: bool,
    matches: Option<Regex>,
    unless: Option<Regex>,
    how: How,
    place: Place,
    measure: Option<Measure>,
    /// Name of [`Self::measure`].
    measured: Option<&'static str>,
    clear: f32,
}

impl Detector {
    fn new(entry: &Entry) -> Result<Self, String> {
        let mut patterns = entry.patterns.clone();
        if !entry.words.trim().is_empty() {
            let words: Vec<String> = entry
                .words
                .split_whitespace()
                .map(|word| match word.strip_suffix('*') {
                    Some(stem) => format!(r"{}\w*", regex::escape(&stem.to_lowercase())),
                    None => regex::escape(&word.to_lowercase()),
                })
                .collect();
            patterns.push(format!(r"\b(?:{})\b", words.join("|")));
        }
        let measure = match &entry.measure {
            None => None,
            Some(name) => {
                let found = measures::ALL.iter().find(|(other, _)| other == name);
                let known: Vec<&str> = measures::ALL.iter().map(|(name, _)| *name).collect();
                let found = found.ok_or_else(|| {
                    format!("there is no measure `{name}`\nhint: there are {}", known.join(", "))
                })?;
                Some(*found)
            }
        };
        if measure.is_none() && patterns.is_empty() {
            return Err("it has no `words`, `match` or `measure` to detect it by\nhint: give it some, such as `words = [\"sorry\", \"my apologies\"]`".into());
        }
        let matches = combine(&patterns)?;
        if matches.as_ref().is_some_and(|matches| matches.is_match("")) {
            return Err("its pattern matches an empty sentence, so it would be found everywhere".into());
        }
        if !(0.0..1.0).contains(&entry.clear) {
            return Err(format!("`clear` is {}; it must be at least 0 and below 1", entry.clear));
        }
        let unless = combine(&entry.unless)?;
        Ok(Self {
            by_signs: patterns.iter().all(|pattern| plain::same_by_signs(pattern)),
            patterns,
            matches,
            unless,
            how: entry.how,
            place: entry.place,
            measure: measure.map(|(_, measure)| measure),
            measured: measure.map(|(name, _)| name),
            clear: entry.clear,
        })
    }

    /// How much more of it is in A than in B; 0 where a judge would say that they do not clearly differ.
    fn difference(&self, a: f32, b: f32) -> f32 {
        let difference = a - b;
        if difference.abs() < self.clear * a.max(b) { 0.0 } else { difference }
    }

    /// How much of the concept is in the response; 0 for none. Without `may_match`, no pattern can match.
    fn read(&self, text: &Text<'_>, prompt: &Prompt, may_match: bool) -> f32 {
        let measured = self.measure.map_or(0.0, |measure| measure(text, prompt));
        let found =
            self.matches.as_ref().filter(|_| may_match).map_or(0.0, |matches| self.find(matches, text));
        match self.how {
            How::Present if self.matches.is_some() => f32::from(u8::from(measured > 0.0 || found > 0.0)),
            _ => measured + found,
        }
    }

    fn find(&self, matches: &Regex, text: &Text<'_>) -> f32 {
        let (prose, places) = match &text.signs {
            Some(signs) if self.by_signs => (&signs.prose, &signs.sentences),
            _ => (&text.prose, &text.sentences),
        };
        let all = places.len();
        let read = match self.place {
            Place::Anywhere => 0..all,
            Place::Start => 0..all.min(2),
            Place::End => all.saturating_sub(2)..all,
        };
        let (Some(&(from, _)), Some(&(_, to))) =
            (places.get(read.start), places.get(read.end.wrapping_sub(1)))
        else {
            return 0.0;
        };
        let part = prose.get(from..to).unwrap_or("");
        let (mut count, mut sentences, mut last) = (0, 0, usize::MAX);
        let mut excused = false;
        for found in matches.find_iter(part) {
            let sentence = text::sentence_at(places, from + found.start());
            if sentence != last {
                last = sentence;
                excused = self.unless.as_ref().is_some_and(|unless| unless.is_match(text.sentence(sentence)));
                sentences += usize::from(!excused);
            }
            if !excused {
                count += 1;
                if self.how == How::Present {
                    return 1.0;
                }
            }
        }
        match self.how {
            How::Present => 0.0,
            How::Count => (count as f32).ln_1p(),
            How::Share => sentences as f32 / all as f32,
        }
    }
}

/// One pattern of several; `None` of none. `^` and `$` are a sentence's beginning and end.
fn combine(patterns: &[String]) -> Result<Option<Regex>, String> {
    for pattern in patterns {
        // Alone first, so that the message is about this one.
        Regex::new(pattern).map_err(|error| format!("`{pattern}` is no regular expression: {error}"))?;
    }
    if patterns.is_empty() {
        return Ok(None);
    }
    regex::RegexBuilder::new(&format!("(?:{})", patterns.join(")|(?:")))
        .multi_line(true)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .build()
        .map(Some)
        .map_err(|error| error.to_string())
}

/// The concepts in the program, with what readers said of them.
fn concepts() -> Result<Vec<Entry>, ConceptBankError> {
    let mut entries = parse(BOXED, Path::new("data/concepts.toml"))?;
    for row in csv::Reader::from_reader(READING.as_bytes()).into_deserialize() {
        let row: Read = row.map_err(|error| ConceptBankError::Parse {
            path: "data/reading.csv".into(),
            message: error.to_string(),
        })?;
        if let Some(entry) = entries.iter_mut().find(|entry| entry.id == row.concept) {
            entry.reading = Some(Reading { right: row.right, n: row.n, found: row.found, of: row.of });
        }
    }
    Ok(entries)
}

impl ConceptBank {
    /// The bank in the program.
    ///
    /// # Errors
    /// None in a program whose tests passed.
    pub fn boxed() -> Result<Self, ConceptBankError> {
        Self::assemble(concepts()?, Path::new("data/concepts.toml"))
    }

    /// The bank in the program and the user's own; a concept of the same id takes the boxed one's place.
    ///
    /// # Errors
    /// [`ConceptBankError`]; a concept that fails its own examples is one.
    pub fn with_file(path: &Path) -> Result<Self, ConceptBankError> {
        Self::extended(concepts()?, path)
    }

    /// Cues of unsafe requests, flagged `strong`, `hint` or `excuse`; with the user's own, where given.
    ///
    /// # Errors
    /// [`ConceptBankError`], about the user's file.
    pub fn unsafe_prompts(own: Option<&Path>) -> Result<Self, ConceptBankError> {
        let name = "data/unsafe_prompts.toml";
        match own {
            Some(path) => Self::extended(parse(UNSAFE_PROMPTS, Path::new(name))?, path),
            None => Self::assemble(parse(UNSAFE_PROMPTS, Path::new(name))?, Path::new(name)),
        }
    }

    /// The entries `all`, with those of a file in the place of the same ids.
    fn extended(mut all: Vec<Entry>, path: &Path) -> Result<Self, ConceptBankError> {
        let content = crate::limits::read_to_string(path)
            .map_err(|source| ConceptBankError::Read { path: path.into(), source })?;
        let own = parse(&content, path)?;
        check(&own, path)?;
        for entry in own {
            match all.iter_mut().find(|other| other.id == entry.id) {
                Some(other) => *other = entry,
                None => all.push(entry),
            }
        }
        Self::assemble(all, path)
    }

    fn assemble(entries: Vec<Entry>, path: &Path) -> Result<Self, ConceptBankError> {
        let mut hash = Sha256::new();
        let (mut concepts, mut detectors) = (Vec::new(), Vec::new());
        // Compiling their patterns is most of what a small run takes.
        let made: Vec<Result<Detector, String>> = entries.par_iter().map(Detector::new).collect();
        for (entry, detector) in entries.into_iter().zip(made) {
            hash.update(format!("{entry:?}"));
            let refuse = |reason: String| ConceptBankError::Concept {
                path: path.into(),
                id: entry.id.clone(),
                reason,
            };
            let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if entry.id.is_empty() || !entry.id.chars().all(named) {
                return Err(refuse("an id is made of a-z, 0-9 and _".into()));
            }
            detectors.push(detector.map_err(refuse)?);
            concepts.push(Concept {
                prefer: entry.prefer.unwrap_or_else(|| entry.description.clone()),
                id: entry.id,
                short: entry.short,
                description: entry.description,
                flags: entry.flags,
                reading: entry.reading,
            });
        }
        let patterns: Vec<&[String]> =
            detectors.iter().map(|detector| detector.patterns.as_slice()).collect();
        let prefilter = Prefilter::new(&patterns);
        let fingerprint = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { concepts, detectors, prefilter, fingerprint })
    }

    /// The concepts, in the order of the columns of [`Self::measure`].
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// Of everything that determines what the bank finds.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How much of each concept is in a response to a prompt, `[concepts]`.
    pub fn read(&self, prompt: &str, response: &str) -> Vec<f32> {
        self.read_prepared(&Prompt::new(prompt), response)
    }

    fn read_prepared(&self, prompt: &Prompt, response: &str) -> Vec<f32> {
        let text = Text::new(response);
        let mut may = Vec::with_capacity(self.detectors.len());
        self.prefilter.read(&text.prose, &mut may);
        self.detectors.iter().zip(may).map(|(detector, may)| detector.read(&text, prompt, may)).collect()
    }

    /// Every concept in A minus the same in B, `[pairs, concepts]`, 0 where the two do not clearly
    /// differ; `progress` hears the pairs done.
    pub fn measure(&self, pairs: &Pairs, progress: &mut dyn FnMut(usize)) -> Matrix {
        let mut all = |done| {
            progress(done);
            true
        };
        self.measure_while(pairs, &mut all).unwrap_or_default()
    }

    /// The same as long as `progress` says to go on; `None` where it said to stop.
    pub fn measure_while(&self, pairs: &Pairs, progress: &mut dyn FnMut(usize) -> bool) -> Option<Matrix> {
        let (total, cols) = (pairs.pair_id.len(), self.concepts.len());
        let mut found = Matrix::zeros(total, cols);
        if cols == 0 {
            return Some(found);
        }
        for (block, rows) in found.values.chunks_mut(BLOCK * cols).enumerate() {
            rows.par_chunks_mut(cols).enumerate().for_each(|(offset, row)| {
                let pair = block * BLOCK + offset;
                let prompt = Prompt::new(pairs.prompt.get(pair));
                let a = self.read_prepared(&prompt, pairs.response_a.get(pair));
                let b = self.read_prepared(&prompt, pairs.response_b.get(pair));
                for (((slot, detector), a), b) in row.iter_mut().zip(&self.detectors).zip(a).zip(b) {
                    *slot = detector.difference(a, b);
                }
            });
            if !progress((block + 1).saturating_mul(BLOCK).min(total)) {
                return None;
            }
        }
        Some(found)
    }
}

fn parse(content: &str, path: &Path) -> Result<Vec<Entry>, ConceptBankError> {
    let file: File = toml::from_str(content).map_err(|error| ConceptBankError::Parse {
        path: path.into(),
        message: error.to_string().trim_end().to_owned(),
    })?;
    Ok(file.concept)
}

/// Holds each concept of a file to its own examples, and the file to one concept an id.
fn check(entries: &[Entry], path: &Path) -> Result<(), ConceptBankError> {
    for (at, entry) in entries.iter().enumerate() {
        let refuse = |reason| ConceptBankError::Concept { path: path.into(), id: entry.id.clone(), reason };
        if entries.iter().take(at).any(|other| other.id == entry.id) {
            return Err(refuse("there are two with this id".into()));
        }
        let detector = Detector::new(entry).map_err(refuse)?;
        for (examples, wanted) in [(&entry.yes, true), (&entry.no, false)] {
            for example in examples {
                let (prompt, response) = example.parts();
                if (detector.read(&Text::new(response), &Prompt::new(prompt), true) > 0.0) != wanted {
                    let (does, must) = if wanted { ("does not find", "yes") } else { ("finds", "no") };
                    return Err(refuse(format!(
                        "its detector {does} it in {response:?}, which stands under `{must}`\nhint: mend the pattern, or the example"
                    )));
                }
            }
        }
    }
    Ok(())
}

impl ConceptBank {
    /// The bank of concepts that the settings name: the bundled one, and a file of the user's own.
    ///
    /// # Errors
    /// See [`ConceptBankError`].
    pub fn of(settings: &crate::config::DescribeConfig) -> Result<Self, ConceptBankError> {
        match &settings.concepts {
            Some(path) => Self::with_file(path),
            None => Self::boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_concept_of_the_bank_passes_its_examples() {
        let path = Path::new("data/concepts.toml");
        let entries = parse(BOXED, path).unwrap();
        assert!(entries.len() >= 60, "{} concepts", entries.len());
        passes_its_examples(&entries);
        ConceptBank::boxed().unwrap();
    }

    #[test]
    fn every_cue_of_unsafe_requests_passes_its_examples() {
        let entries = parse(UNSAFE_PROMPTS, Path::new("data/unsafe_prompts.toml")).unwrap();
        passes_its_examples(&entries);
        for concept in ConceptBank::unsafe_prompts(None).unwrap().concepts() {
            let flag = concept.flags.first().map(String::as_str);
            assert!(matches!(flag, Some("strong" | "hint" | "excuse")), "{}", concept.id);
        }
    }

    fn passes_its_examples(entries: &[Entry]) {
        let mut failures = Vec::new();
        for entry in entries {
            assert!(
                entry.yes.len() >= 2 && entry.no.len() >= 2,
                "`{}` needs examples of both kinds",
                entry.id
            );
            let detector = Detector::new(entry).unwrap_or_else(|reason| panic!("`{}`: {reason}", entry.id));
            for (examples, wanted) in [(&entry.yes, true), (&entry.no, false)] {
                for example in examples {
                    let (prompt, response) = example.parts();
                    let score = detector.read(&Text::new(response), &Prompt::new(prompt), true);
                    if (score > 0.0) != wanted {
                        failures
                            .push(format!("{}: wanted {wanted}, found {score} in {response:?}", entry.id));
                    }
                }
            }
        }
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    }

    fn own(content: &str) -> Result<ConceptBank, ConceptBankError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        ConceptBank::with_file(file.path())
    }

    #[test]
    fn an_own_bank_adds_and_replaces() {
        let boxed = ConceptBank::boxed().unwrap();
        let bank = own(
            "[[concept]]\nid = \"nautical\"\nshort = \"sea\"\ndescription = \"speaks of the sea\"\nhow = \"count\"\n\
             words = \"sail* anchor ship\"\nyes = [\"Set sails!\"]\nno = [\"A relationship.\"]\n\
             [[concept]]\nid = \"emoji\"\nshort = \"e\"\ndescription = \"d\"\nmeasure = \"emoji\"\n",
        )
        .unwrap();
        assert_eq!(bank.concepts().len(), boxed.concepts().len() + 1);
        assert_eq!(bank.concepts().last().unwrap().prefer, "speaks of the sea");
        assert_ne!(bank.fingerprint(), boxed.fingerprint());
        let read = bank.read("", "Sailing by ship, anchor down.");
        assert!((read.last().unwrap() - 4f32.ln()).abs() < 1e-6);
        assert_eq!(bank.concepts().iter().filter(|concept| concept.id == "emoji").count(), 1);
    }

    #[test]
    fn a_bank_that_cannot_work_says_why() {
        let concept =
            |rest: &str| format!("[[concept]]\nid = \"x\"\nshort = \"x\"\ndescription = \"x\"\n{rest}\n");
        for (content, words) in [
            (concept(""), "no `words`, `match` or `measure`"),
            (concept("measure = \"lenght\""), "there is no measure `lenght`"),
            (concept("words = \"sea\"\nclear = 1.5"), "`clear` is 1.5"),
            (concept("match = ['(']"), "`(` is no regular expression"),
            (concept("match = ['a*']"), "matches an empty sentence"),
            (concept("words = \"sea\"\nyes = [\"a lake\"]"), "does not find it in \"a lake\""),
            (concept("words = \"sea\"\nno = [\"The sea.\"]"), "finds it in \"The sea.\""),
            (concept("wrods = \"sea\""), "wrods"),
            (concept("words = \"sea\"").replace("\"x\"\nshort", "\"X Y\"\nshort"), "a-z, 0-9 and _"),
            (concept("words = \"sea\"") + &concept("words = \"sea\""), "two with this id"),
        ] {
            let message = own(&content).unwrap_err().to_string();
            assert!(message.contains(words), "{words}: {message}");
        }
        assert!(matches!(ConceptBank::with_file(Path::new("none.toml")), Err(ConceptBankError::Read { .. })));
    }

    #[test]
    fn the_prefilter_changes_nothing() {
        let bank = ConceptBank::boxed().unwrap();
        let entries = parse(BOXED, Path::new("x")).unwrap();
        let texts = entries.iter().flat_map(|entry| entry.yes.iter().chain(&entry.no)).map(Example::parts);
        let mut compared = 0;
        for (prompt, response) in texts {
            let (text, known) = (Text::new(response), Prompt::new(prompt));
            for (detector, filtered) in bank.detectors.iter().zip(bank.read(prompt, response)) {
                assert_eq!(detector.read(&text, &known, true), filtered, "{response:?}");
                compared += 1;
            }
        }
        assert!(compared > 10_000);
        let always = bank.prefilter.always_run();
        assert!(always * 4 < bank.concepts.len(), "{always} detectors have to be run on every text");
    }

    #[test]
    fn letters_beyond_ascii_change_nothing_of_what_is_found() {
        let bank = ConceptBank::boxed().unwrap();
        let entries = parse(BOXED, Path::new("x")).unwrap();
        let texts = entries.iter().flat_map(|entry| entry.yes.iter().chain(&entry.no)).map(Example::parts);
        let (mut compared, mut by_signs) = (0, 0);
        for (prompt, response) in texts {
            let known = Prompt::new(prompt);
            for response in [
                format!("Ça va — très bien 😀. {response} Voilà, señor\u{3000}Übung…"),
                response.replace("e", "é").replace(", ", " – "),
                response.replace(" ", " é "),
            ] {
                let text = Text::new(&response);
                let slow = Text { signs: None, ..text.clone() };
                for (detector, concept) in bank.detectors.iter().zip(&bank.concepts) {
                    let (a, b) = (detector.read(&text, &known, true), detector.read(&slow, &known, true));
                    assert_eq!(a, b, "{}: {response:?}", concept.id);
                    compared += 1;
                }
                by_signs += usize::from(text.signs.is_some());
            }
        }
        assert!(compared > 30_000 && by_signs > 100);
        let safe = bank.detectors.iter().filter(|detector| detector.by_signs).count();
        assert!(safe * 5 > bank.detectors.len() * 4, "only {safe} detectors read signs");
    }

    #[test]
    fn swapping_the_responses_turns_every_sign() {
        let bank = ConceptBank::boxed().unwrap();
        let prompt = "How can I sleep better?";
        let (a, b) = (
            "I'm sorry, but I can't help with that. 😀",
            "1. Go to bed early!\n2. Read 20 pages.\n\nDoes this help?",
        );
        let (x, y) = (bank.read(prompt, a), bank.read(prompt, b));
        let pairs = |a: &str, b: &str| {
            use polars::prelude::{NewChunkedArray, StringChunked};
            let column = |text: &str| {
                crate::pairs::TextColumn(StringChunked::from_iter_values("t".into(), [text].into_iter()))
            };
            Pairs {
                pair_id: vec!["p".into()],
                prompt: column(prompt),
                response_a: column(a),
                response_b: column(b),
                ..Pairs::default()
            }
        };
        let (there, back) =
            (bank.measure(&pairs(a, b), &mut |_| ()), bank.measure(&pairs(b, a), &mut |_| ()));
        for i in 0..x.len() {
            let clear = (x[i] - y[i]).abs() >= bank.detectors[i].clear * x[i].max(y[i]);
            assert_eq!(there.values[i], if clear { x[i] - y[i] } else { 0.0 });
            assert_eq!(there.values[i], -back.values[i]);
        }
    }
}
