//! Kinds of request: rules that read the last message of a prompt, and topics, which are clusters of such messages (spherical
//! k-means) and what comes of joining the nearest of these again and again (Ward): narrow and wide ones, since nobody knows
//! beforehand how wide a kind of request is.
//!
//! No label is looked at. A cluster says nothing to a reader, so a topic is the messages in which one of a few words stands: those
//! that tell its cluster best. A cluster that no few words tell is no topic. It is quoted with the messages nearest to the centre.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use rand::RngExt;
use rayon::prelude::*;
use regex::Regex;

use super::{Context, ContextSource, order_of};
use crate::context::Cancel;
use crate::describe::contrast::stopwords;
use crate::describe::known::ConceptBankError;
use crate::embed::{BundledEmbedder, EmbedError, Embedder};
use crate::matrix::Matrix;
use crate::pairs::Pairs;
use crate::relabel::UNSAFE;
use crate::relabel::unsafe_content::{Reader, turns_of_the_person};
use crate::rng;

/// Characters of a message that are read: half of them its beginning, half its end, where it is longer.
const READ: usize = 1_500;
/// The same for rules about what is asked: what is quoted along stands behind or before the question.
const ASKED: usize = 600;
/// Messages that topics are found in, at most.
const LEARNED: usize = 4_000;
/// Texts embedded at a time.
const BLOCK: usize = 512;
/// Clusters that are joined to topics, at most; each has so many messages on average at least.
const LEAVES: usize = 24;
const MESSAGES: usize = 25;
/// Rounds of moving the centres.
const ROUNDS: usize = 20;
/// Words that a topic has at most, the φ of all together with its cluster at least, and what each of them adds to it.
const WORDS: usize = 6;
const GOES_WITH: f64 = 0.4;
const ADDS: f64 = 0.02;
/// Messages that a word stands in at least, and words that are tried, the best by themselves.
const STANDS_IN: usize = 5;
const TRIED: usize = 40;
/// Messages that a topic is quoted with.
const QUOTES: usize = 3;
/// Characters of a quoted message.
const QUOTED: usize = 80;

/// What is read of a prompt.
struct Message<'a> {
    /// Messages of the person, this one included.
    turns: usize,
    /// Words of the last one.
    words: usize,
    /// The last one, or its beginning and its end.
    last: Cow<'a, str>,
    /// As much of it as says what is asked.
    asked: Cow<'a, str>,
}

impl<'a> Message<'a> {
    fn of(prompt: &'a str) -> Self {
        let turns = turns_of_the_person(prompt);
        let last = turns.last().copied().unwrap_or("");
        Self {
            turns: turns.len(),
            words: last.split_whitespace().count(),
            last: ends(last, READ),
            asked: ends(last, ASKED),
        }
    }
}

/// The beginning and the end of a text, cut between words, where it has more characters than `most`.
fn ends(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most || text.chars().count() <= most {
        return Cow::Borrowed(text);
    }
    let half = most / 2;
    let head = text.char_indices().nth(half).map_or(text.len(), |(at, _)| at);
    let tail = text.char_indices().rev().nth(half).map_or(0, |(at, _)| at);
    let (head, tail) = (text.get(..head).unwrap_or(""), text.get(tail..).unwrap_or(""));
    let head = head.rfind(char::is_whitespace).and_then(|at| head.get(..at)).unwrap_or(head);
    let tail = tail.find(char::is_whitespace).and_then(|at| tail.get(at..)).unwrap_or(tail);
    Cow::Owned(format!("{head}\n{tail}"))
}

/// A kind of request that a pattern in the message tells.
const PATTERNS: [(&str, &str, &str); 4] = [
    (
        "code",
        "the message mentions code or a programming language",
        r"(?i)```|\b(?:code|coding|programming|python|javascript|typescript|java|c\+\+|html|css|sql|regex|bash|json|algorithm)\b",
    ),
    (
        "writing",
        "the message asks for a text to be written (a story, poem, letter and the like)",
        r"(?i)\b(?:write|compose|draft|create|generate|make up|rewrite)\b.{0,60}\b(?:story|stories|poem|song|lyrics|letter|e-?mail|essay|article|post|script|speech|haiku|joke|slogan|paragraph|review|summary|dialogue|tweet|sentence)s?\b",
    ),
    (
        "facts",
        "the message asks who, what, which, when, where or how many",
        r"(?i)(?:^|[.!?\n]\s*)(?:who|what|which|when|where|how (?:many|much|old|long|far))\b[^.!\n]*\?",
    ),
    (
        "speaks_of_self",
        "“I” or “my” stands in the message",
        r"\bI\b|(?i:\b(?:my|mine|myself|i['’](?:m|ve|d|ll))\b)",
    ),
];

/// Tells of new prompts which kinds of request they are, as [`found`] told it of a run's.
#[derive(Debug, Default)]
pub struct Kinds {
    contexts: Vec<Context>,
    /// Where one of the kinds is about harm.
    harm: Option<Reader>,
}

impl Kinds {
    /// Of these contexts, none of which is a column's.
    ///
    /// # Errors
    /// Where the boxed cues for harm cannot be read.
    pub fn new(contexts: Vec<Context>) -> Result<Self, ConceptBankError> {
        let harm = contexts.iter().any(|context| context.context_id == HARM);
        Ok(Self { harm: harm.then(|| Reader::new(None)).transpose()?, contexts })
    }

    /// Whether the prompt is of each kind, `[contexts]`.
    pub fn of(&self, prompt: &str) -> Vec<bool> {
        if self.contexts.is_empty() || prompt.trim().is_empty() {
            return vec![false; self.contexts.len()];
        }
        let message = Message::of(prompt);
        let of_topics = self.contexts.iter().any(|context| !context.words.is_empty());
        let words = if of_topics { words(&message.last) } else { HashSet::new() };
        let inside = |context: &Context| match context.context_id.as_str() {
            HARM => self.harm.as_ref().is_some_and(|reader| reader.read(prompt).score >= UNSAFE),
            FOLLOW_UP => message.turns > 1,
            LONG => context.more_words_than.is_some_and(|most| message.words > most),
            id => match KNOWN.iter().find(|(known, _, _)| *known == id) {
                Some((_, _, pattern)) => pattern.is_match(&message.asked),
                None => context.words.iter().any(|word| words.contains(word)),
            },
        };
        self.contexts.iter().map(inside).collect()
    }
}

/// Ids of the kinds that are no patterns.
const HARM: &str = "asks_for_harm";
const FOLLOW_UP: &str = "follow_up";
const LONG: &str = "long_message";

/// The contexts that the prompts have by themselves.
#[derive(Debug, Clone, Default)]
pub struct Finding {
    /// Rules first, then topics; `[pairs]` in each.
    pub contexts: Vec<Context>,
}

/// Finds the kinds of request that there are; `seed` draws the first centres of topics.
///
/// # Errors
/// Where the boxed embedder cannot be loaded, or somebody wants it to stop.
pub fn found(pairs: &Pairs, seed: u64, reader: &Reader, cancel: &Cancel) -> Result<Finding, EmbedError> {
    let count = pairs.pair_id.len();
    // A prompt is read once, however many pairs have it.
    let mut number: HashMap<u32, u32> = HashMap::new();
    let mut prompts: Vec<usize> = Vec::new();
    let of_pair: Vec<Option<u32>> = (0..count)
        .map(|pair| {
            if pairs.prompt.get(pair).trim().is_empty() {
                return None;
            }
            let next = prompts.len() as u32;
            let own = *number.entry(pairs.prompt_key[pair]).or_insert(next);
            if own == next {
                prompts.push(pair);
            }
            Some(own)
        })
        .collect();
    if prompts.len() < 2 {
        return Ok(Finding::default());
    }
    let messages: Vec<Message<'_>> =
        prompts.par_iter().map(|&pair| Message::of(pairs.prompt.get(pair))).collect();
    let spread = |inside: &[bool]| -> Vec<bool> {
        of_pair.iter().map(|own| own.is_some_and(|own| inside[own as usize])).collect()
    };
    let mut contexts = Vec::new();
    let mut add = |id: &str, text: &str, inside: Vec<bool>| {
        contexts.push(Context {
            context_id: id.to_owned(),
            text: text.to_owned(),
            inside: spread(&inside),
            ..Context::default()
        });
    };
    let harm = prompts
        .par_iter()
        .map(|&pair| !cancel.requested() && reader.read(pairs.prompt.get(pair)).score >= UNSAFE)
        .collect();
    add(HARM, "the request reads as asking for harm", harm);
    add(
        FOLLOW_UP,
        "the conversation has gone on (not its first message)",
        messages.iter().map(|message| message.turns > 1).collect(),
    );
    for (id, text, pattern) in &*KNOWN {
        add(id, text, messages.par_iter().map(|message| pattern.is_match(&message.asked)).collect());
    }
    let mut lengths: Vec<usize> = messages.iter().map(|message| message.words).collect();
    lengths.sort_unstable();
    let middle = lengths[lengths.len() / 2];
    let long = messages.iter().map(|message| message.words > middle).collect();
    add(LONG, &format!("the message has more than {middle} words"), long);
    contexts
        .iter_mut()
        .filter(|own| own.context_id == LONG)
        .for_each(|own| own.more_words_than = Some(middle));
    cancel.check()?;
    for topic in topics(&messages, seed, cancel)? {
        let inside = spread(&topic.inside);
        contexts.push(Context { inside, ..topic });
    }
    Ok(Finding { contexts })
}

static KNOWN: LazyLock<Vec<(&str, &str, Regex)>> = LazyLock::new(|| {
    PATTERNS
        .into_iter()
        .filter_map(|(id, text, pattern)| Regex::new(pattern).ok().map(|pattern| (id, text, pattern)))
        .collect()
});

/// Clusters of the messages; `inside` is by message.
fn topics(messages: &[Message<'_>], seed: u64, cancel: &Cancel) -> Result<Vec<Context>, EmbedError> {
    let mut learned: Vec<usize> = (0..messages.len()).filter(|&at| !messages[at].last.is_empty()).collect();
    let order: Vec<u64> =
        messages.par_iter().map(|message| order_of(seed, &rng::plain(&message.last))).collect();
    learned.sort_by(|&a, &b| (order[a], &messages[a].last).cmp(&(order[b], &messages[b].last)));
    learned.truncate(LEARNED);
    if learned.len() < 3 * MESSAGES {
        return Ok(Vec::new());
    }
    let vectors = embedded(messages, cancel)?;
    let x = centred(&vectors, &learned);
    let leaves = LEAVES.min(learned.len() / MESSAGES);
    let centres = cluster(&x, &learned, leaves, seed, cancel)?;
    let nearest: Vec<usize> =
        (0..messages.len()).into_par_iter().map(|at| near(x.row(at), &centres).0).collect();
    let nodes = merged(&x, &learned, &nearest, leaves);
    let words: Vec<HashSet<String>> = messages.par_iter().map(|message| words(&message.last)).collect();
    let told: Vec<(&Node, Vec<String>)> = nodes
        .par_iter()
        .filter_map(|node| {
            let in_cluster: Vec<bool> = learned.iter().map(|&at| node.leaves[nearest[at]]).collect();
            let own: Vec<&HashSet<String>> = learned.iter().map(|&at| &words[at]).collect();
            Some((node, telling_words(&own, &in_cluster)?))
        })
        .collect();
    Ok(told
        .into_par_iter()
        .enumerate()
        .map(|(topic, (node, named))| {
            let inside = |at: usize| named.iter().any(|word| words[at].contains(word));
            let mut closest: Vec<(f32, usize)> = learned
                .iter()
                .filter(|&&at| inside(at) && node.leaves[nearest[at]])
                .map(|&at| (x.row(at).iter().zip(&node.mean).map(|(a, b)| a * b).sum(), at))
                .collect();
            closest.sort_by(|a, b| b.0.total_cmp(&a.0).then(order[a.1].cmp(&order[b.1])));
            let mut examples: Vec<String> = Vec::new();
            for &(_, at) in &closest {
                let quoted = quoted(&messages[at].last);
                if examples.len() < QUOTES && !examples.contains(&quoted) {
                    examples.push(quoted);
                }
            }
            Context {
                context_id: format!("topic_{topic:02}"),
                text: format!("the message mentions {}", listed(&named)),
                source: ContextSource::Topic,
                examples,
                words: named.clone(),
                inside: (0..messages.len()).map(inside).collect(),
                ..Context::default()
            }
        })
        .collect())
}

/// Some of the leaves together.
struct Node {
    leaves: Vec<bool>,
    /// Mean of its messages' vectors.
    mean: Vec<f32>,
    size: f64,
}

/// The nodes of the tree that comes of joining the two nearest nodes (Ward) again and again, up to half of the messages.
fn merged(x: &Matrix, learned: &[usize], nearest: &[usize], leaves: usize) -> Vec<Node> {
    let mut open: Vec<Node> = (0..leaves)
        .filter_map(|leaf| {
            let own: Vec<usize> = learned.iter().copied().filter(|&at| nearest[at] == leaf).collect();
            if own.is_empty() {
                return None;
            }
            let mut mean = vec![0f32; x.cols];
            for &at in &own {
                mean.iter_mut().zip(x.row(at)).for_each(|(sum, value)| *sum += value / own.len() as f32);
            }
            let leaves = (0..leaves).map(|other| other == leaf).collect();
            Some(Node { leaves, mean, size: own.len() as f64 })
        })
        .collect();
    let mut done: Vec<Node> = Vec::new();
    while open.len() > 2 {
        let cost = |a: &Node, b: &Node| {
            let apart: f64 = a.mean.iter().zip(&b.mean).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            a.size * b.size / (a.size + b.size) * apart
        };
        let mut best = (f64::INFINITY, 0, 1);
        for one in 0..open.len() {
            for other in one + 1..open.len() {
                let cost = cost(&open[one], &open[other]);
                if cost < best.0 {
                    best = (cost, one, other);
                }
            }
        }
        let (b, a) = (open.swap_remove(best.2), open.swap_remove(best.1));
        let size = a.size + b.size;
        let mean = a.mean.iter().zip(&b.mean);
        let mean =
            mean.map(|(x, y)| ((f64::from(*x) * a.size + f64::from(*y) * b.size) / size) as f32).collect();
        let leaves = a.leaves.iter().zip(&b.leaves).map(|(x, y)| x | y).collect();
        done.extend([a, b]);
        open.push(Node { leaves, mean, size });
    }
    // What holds more than half is everything but a kind of request. Of two that are nearly the same, the wider stays.
    done.extend(open);
    done.retain(|node| node.size <= learned.len() as f64 / 2.0);
    done.sort_by(|a, b| b.size.total_cmp(&a.size).then_with(|| b.leaves.cmp(&a.leaves)));
    done
}

/// Vectors of the messages, `[messages, dimensions]`.
fn embedded(messages: &[Message<'_>], cancel: &Cancel) -> Result<Matrix, EmbedError> {
    let embedder = BundledEmbedder::load()?;
    let blocks: Result<Vec<Matrix>, EmbedError> = messages
        .par_chunks(BLOCK)
        .map(|block| {
            cancel.check()?;
            let texts: Vec<&str> = block.iter().map(|message| &*message.last).collect();
            embedder.embed(&texts)
        })
        .collect();
    let values = blocks?.into_iter().flat_map(|block| block.values).collect();
    Ok(Matrix { values, cols: embedder.dimensions().unwrap_or(0) })
}

/// Less the mean of the messages `learned`, at unit length.
fn centred(vectors: &Matrix, learned: &[usize]) -> Matrix {
    let mut mean = vec![0f64; vectors.cols];
    for &at in learned {
        mean.iter_mut().zip(vectors.row(at)).for_each(|(mean, value)| *mean += f64::from(*value));
    }
    let mut x = vectors.clone();
    for row in x.values.chunks_exact_mut(vectors.cols.max(1)) {
        row.iter_mut()
            .zip(&mean)
            .for_each(|(value, mean)| *value -= (mean / learned.len().max(1) as f64) as f32);
        unit(row);
    }
    x
}

fn unit(row: &mut [f32]) {
    let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|value| *value /= norm);
    }
}

/// The nearest centre and its cosine.
fn near(row: &[f32], centres: &Matrix) -> (usize, f32) {
    let (mut own, mut first) = (0, f32::NEG_INFINITY);
    for centre in 0..centres.rows() {
        let cosine: f32 = row.iter().zip(centres.row(centre)).map(|(a, b)| a * b).sum();
        if cosine > first {
            (own, first) = (centre, cosine);
        }
    }
    (own, first)
}

/// Spherical k-means: first centres far from each other, then moved to the means of what is nearest.
fn cluster(
    x: &Matrix,
    learned: &[usize],
    count: usize,
    seed: u64,
    cancel: &Cancel,
) -> Result<Matrix, EmbedError> {
    let mut random = rng::stream(seed, &format!("{count} topics"));
    let mut centres = Matrix { values: Vec::new(), cols: x.cols };
    let first = learned[random.random_range(0..learned.len())];
    centres.values.extend_from_slice(x.row(first));
    while centres.rows() < count {
        let far: Vec<f64> =
            learned.par_iter().map(|&at| f64::from((1.0 - near(x.row(at), &centres).1).max(0.0))).collect();
        let mut left = random.random::<f64>() * far.iter().sum::<f64>();
        let chosen = far.iter().position(|far| {
            left -= far;
            left <= 0.0
        });
        let at = learned[chosen.unwrap_or(learned.len() - 1)];
        centres.values.extend_from_slice(x.row(at));
    }
    let mut before: Vec<usize> = Vec::new();
    for _ in 0..ROUNDS {
        cancel.check()?;
        let own: Vec<usize> = learned.par_iter().map(|&at| near(x.row(at), &centres).0).collect();
        if own == before {
            break;
        }
        let mut moved = Matrix::zeros(count, x.cols);
        for (&at, &own) in learned.iter().zip(&own) {
            moved.row_mut(own).iter_mut().zip(x.row(at)).for_each(|(sum, value)| *sum += value);
        }
        for centre in 0..count {
            // One that nothing is nearest to stays where it was.
            if moved.row(centre).iter().all(|value| *value == 0.0) {
                moved.row_mut(centre).copy_from_slice(centres.row(centre));
            }
            unit(moved.row_mut(centre));
        }
        (centres, before) = (moved, own);
    }
    Ok(centres)
}

/// Different words of a message that say something, as they stand: what a topic is said to mention must be there to be found.
fn words(text: &str) -> HashSet<String> {
    static STOP: LazyLock<HashSet<&str>> = LazyLock::new(stopwords);
    text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '’'))
        .map(|word| word.trim_matches(['\'', '’']).to_lowercase().replace('’', "'"))
        .filter(|word| word.chars().count() > 2 && word.chars().any(char::is_alphabetic))
        .filter(|word| !STOP.contains(word.as_str()) && !STOP.contains(word.replace('\'', "").as_str()))
        .collect()
}

/// φ of two properties: `both` of the `n` have both, `one` and `other` either.
fn phi(n: usize, one: usize, other: usize, both: usize) -> f64 {
    let (n, one, other, both) = (n as f64, one as f64, other as f64, both as f64);
    let spread = (one * (n - one) * other * (n - other)).sqrt();
    if spread > 0.0 { (n * both - one * other) / spread } else { 0.0 }
}

/// The few words of which one stands in most messages that have a property and in few others; `None` where there are none.
fn telling_words(words: &[&HashSet<String>], has: &[bool]) -> Option<Vec<String>> {
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for (words, &has) in words.iter().zip(has) {
        for word in *words {
            let count = counts.entry(word).or_default();
            *count = (count.0 + 1, count.1 + usize::from(has));
        }
    }
    let (n, inside) = (has.len(), has.iter().filter(|has| **has).count());
    let mut tried: Vec<(f64, &str)> = counts
        .into_iter()
        .filter(|(_, (_, both))| *both >= STANDS_IN)
        .map(|(word, (all, both))| (phi(n, inside, all, both), word))
        .filter(|(phi, _)| *phi > 0.0)
        .collect();
    tried.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    tried.truncate(TRIED);
    let mut named: Vec<String> = Vec::new();
    let (mut stands, mut best) = (vec![false; n], 0.0);
    while named.len() < WORDS {
        let with = |word: &str| {
            let (mut all, mut both) = (0, 0);
            for at in 0..n {
                if stands[at] || words[at].contains(word) {
                    all += 1;
                    both += usize::from(has[at]);
                }
            }
            phi(n, inside, all, both)
        };
        let next = tried.iter().map(|(_, word)| (with(word), *word));
        let next = next.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)));
        let Some((reached, word)) = next.filter(|(reached, _)| reached - best >= ADDS) else { break };
        best = reached;
        stands.iter_mut().zip(words).for_each(|(stands, words)| *stands |= words.contains(word));
        named.push(word.to_owned());
    }
    (best >= GOES_WITH).then_some(named)
}

/// `“bread”, “oven” or “flour”`.
fn listed(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("“{word}”")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// A message on one line, cut, with quotation marks that do not end ours.
fn quoted(text: &str) -> String {
    let unseen = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let line: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || unseen(c)).filter(|word| !word.is_empty()).collect();
    let line = line.join(" ").replace(['“', '”', '"'], "'");
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or("").trim_end()),
        None => line,
    }
}
