//! `openai:MODEL`: any server with OpenAI's `/v1/embeddings` (OpenAI, vLLM, Ollama, llama.cpp, TEI, …).

mod answer;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{Amount, EmbedError, Embedder, Task, Usage, Work};
use crate::cache::Cache;
use crate::config::EmbedConfig;
use crate::context::Context;
use crate::matrix::Matrix;
use crate::net::accepts::{Accepts, Lack, may_be_a_wish};
use crate::net::{
    Client, Endpoint, Failure, FailureKind, Gate, NetError, Policy, batch_limit, for_each, is_about_a_text,
    is_about_the_batch,
};

/// Answers that must agree on the vectors' length before it is believed, where the user does not give it: a single one
/// may be the broken one.
const QUORUM: usize = 3;

/// How often a text that is too long for the server is cut.
const CUTS: u32 = 12;

/// Attempts for a batch that a server answers badly, once it has answered others well: it may be one of its texts.
const ATTEMPTS_FOR_A_BATCH: u32 = 4;

/// Single texts refused, and never one embedded, from which on it is not the texts.
const HOPELESS: u64 = 3;

/// Refused texts that are set aside in any case, and the share of all beyond which it is not the texts.
const SET_ASIDE: u64 = 20;
const SET_ASIDE_SHARE: f64 = 0.05;

/// What helps where a server does not shorten vectors.
const DIMENSIONS_HINT: &str =
    "this model gives vectors of one length alone: leave out `--dimensions`, or name another model";
/// What may help where `--dimensions` was sent and it is not said what was wrong.
const ASKED_HINT: &str = "check `--dimensions`, the model's name and what the server supports";

/// What helps where a text is too long even when it is cut.
const LONG_HINT: &str = "cut texts earlier with `--max-tokens`";

/// A server's embedder.
#[derive(Debug)]
pub struct RemoteEmbedder {
    client: Client,
    gate: Gate,
    model: String,
    /// Asked of the server, where the user wants shorter vectors.
    asked: Option<usize>,
    max_tokens: Option<usize>,
    amount: Amount,
    /// Length of a vector; 0 until it is known.
    dimensions: AtomicUsize,
    texts: AtomicU64,
    tokens: AtomicU64,
    cut: AtomicU64,
    /// Requests sent, and those of them that were answered.
    sent: AtomicU64,
    requests: AtomicU64,
    /// It has embedded something, now or in an earlier run.
    answered: AtomicBool,
    /// Single texts that the server refused.
    refused: AtomicU64,
    accepts: Accepts,
}

/// Vectors of a task.
#[derive(Default)]
struct Vectors {
    /// All zeros where a text was refused; without columns where all were.
    rows: Matrix,
    /// Which texts were refused, and what the server said.
    refused: Vec<(usize, String)>,
    /// Which texts were longer than the server reads.
    cut: BTreeSet<usize>,
    /// How many texts that is.
    texts: usize,
}

impl Vectors {
    /// Followed by those of further texts.
    fn and(mut self, mut other: Self) -> Self {
        // Texts that were all refused came without a length.
        let cols = self.rows.cols.max(other.rows.cols);
        for part in [&mut self, &mut other] {
            if part.rows.cols == 0 {
                part.rows = Matrix::zeros(part.texts, cols);
            }
        }
        self.rows.values.extend(other.rows.values);
        let before = self.texts;
        self.refused.extend(other.refused.into_iter().map(|(at, said)| (at + before, said)));
        self.cut.extend(other.cut.into_iter().map(|at| at + before));
        self.texts += other.texts;
        self
    }
}

/// Why some texts have no vectors.
enum Why {
    /// Too many of them, or too long ones; what the server said, and by which status.
    TooLarge(String, Option<u16>),
    /// The server does not want one of them, or fails on it.
    Refused(NetError, String),
    /// Anything else.
    Failed(NetError),
}

impl RemoteEmbedder {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// [`NetError`] where the endpoint cannot be used.
    pub fn new(model: &str, settings: &EmbedConfig, seed: u64, context: &Context) -> Result<Self, NetError> {
        let policy = Policy {
            concurrency: settings.concurrency,
            timeout: std::time::Duration::from_secs(settings.timeout_seconds),
            seed,
            context: context.clone(),
            ..Policy::default()
        };
        let endpoint = Endpoint::of(settings.base_url.as_deref(), context)?;
        let cache = Cache::of(context).ok();
        Self::with_policy(model, settings, endpoint, policy, cache.as_ref())
    }

    /// The same with an endpoint and a patience of one's own, and a cache for what is learnt of the server.
    ///
    /// # Errors
    /// [`NetError`] where the way to the server cannot be used.
    pub fn with_policy(
        model: &str,
        settings: &EmbedConfig,
        endpoint: Endpoint,
        policy: Policy,
        cache: Option<&Cache>,
    ) -> Result<Self, NetError> {
        // OpenAI's models read 8,191 tokens and refuse more. Of others nobody knows before they refuse.
        let known = model.starts_with("text-embedding-").then_some(8191);
        let accepts = Accepts::open(endpoint.base(), model, cache);
        let client = Client::new(endpoint, &policy)?;
        let policy = Policy { one_by_one: true, ..policy };
        if accepts.lacks().contains(&Lack::Slash) {
            client.end_in_slash();
        }
        Ok(Self {
            client,
            accepts,
            refused: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            gate: Gate::new(policy),
            model: model.to_owned(),
            asked: settings.dimensions,
            max_tokens: settings.max_tokens.or(known),
            amount: Amount { texts: settings.batch_texts, bytes: settings.batch_tokens.saturating_mul(4) },
            dimensions: AtomicUsize::new(settings.dimensions.unwrap_or(0)),
            texts: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        })
    }

    /// Where it sends to.
    pub fn base(&self) -> &str {
        self.client.endpoint().base()
    }

    fn known(&self) -> Option<usize> {
        Some(self.dimensions.load(Ordering::SeqCst)).filter(|dimensions| *dimensions > 0)
    }

    /// The text as it is sent: cut where that is asked for, and never empty, which servers refuse.
    fn prepared<'a>(&self, text: &'a str) -> &'a str {
        let most = self.max_tokens.map_or(usize::MAX, |tokens| tokens.saturating_mul(4));
        let text = if text.len() > most { &text[..text.floor_char_boundary(most)] } else { text };
        if text.is_empty() { " " } else { text }
    }

    /// Vectors of some texts; what is too large for the server is sent in halves, and at last cut.
    fn request(&self, texts: &[&str]) -> Result<Vectors, NetError> {
        let prepared: Vec<&str> = texts.iter().map(|text| self.prepared(text)).collect();
        let mut vectors = self.vectors(&prepared)?;
        vectors.cut.extend((0..texts.len()).filter(|&at| self.is_cut(texts[at])));
        Ok(vectors)
    }

    /// Whether the server has ever embedded anything.
    fn has_answered(&self) -> bool {
        self.answered.load(Ordering::SeqCst)
    }

    fn vectors(&self, texts: &[&str]) -> Result<Vectors, NetError> {
        let most = self.accepts.batch().max(1);
        if texts.len() > most {
            let (first, rest) = texts.split_at(most);
            return Ok(self.vectors(first)?.and(self.vectors(rest)?));
        }
        match (self.send(texts), texts) {
            (Ok(answer), _) => self.without_odd(texts, answer),
            (Err(Why::Failed(error)), _) => Err(error),
            (Err(Why::TooLarge(said, status)), [_, _, ..]) => self.smaller(texts, &said, status),
            (Err(Why::TooLarge(said, _)), [text]) => self.shortened(text, said),
            (Err(Why::TooLarge(..)), []) => Ok(Vectors::default()),
            (Err(Why::Refused(..)), [_, _, ..]) => self.halves(texts, texts.len().div_ceil(2)),
            (Err(Why::Refused(error, said)), _) => self.set_aside(error, said),
        }
    }

    /// What is too large in one request, in several: as many texts at once as the server says that it takes, or half.
    fn smaller(&self, texts: &[&str], said: &str, status: Option<u16>) -> Result<Vectors, NetError> {
        if let Some(limit) = batch_limit(said).filter(|limit| *limit < texts.len()) {
            self.accepts.learn(Lack::Batch(limit), said);
            return self.vectors(texts);
        }
        let half = texts.len().div_ceil(2);
        // Whether it was their number shows once half of them passes, and passes whole.
        let vectors = self.halves(texts, half)?;
        let is_number = is_about_the_batch(said)
            || (status == Some(413) && !is_about_a_text(said) && vectors.cut.is_empty());
        if is_number && self.accepts.batch() > half {
            self.accepts.learn(Lack::Batch(half), said);
            self.accepts.prove([Lack::Batch(half)]);
        }
        Ok(vectors)
    }

    /// Both parts of some texts. Where the first fails before the server has ever answered, the second says whether
    /// it is the texts.
    fn halves(&self, texts: &[&str], half: usize) -> Result<Vectors, NetError> {
        let (left, right) = texts.split_at(half);
        let answered = self.has_answered();
        match self.vectors(left) {
            Ok(first) => Ok(first.and(self.vectors(right)?)),
            // Others were answered meanwhile.
            Err(NetError::Refused { .. }) if !answered && self.has_answered() => {
                Ok(self.vectors(left)?.and(self.vectors(right)?))
            }
            Err(error @ NetError::Refused { .. })
                if !answered && self.refused.load(Ordering::SeqCst) < HOPELESS =>
            {
                let Ok(second) = self.vectors(right) else { return Err(error) };
                Ok(self.vectors(left)?.and(second))
            }
            Err(error) => Err(error),
        }
    }

    /// An answer whose odd vectors are asked for again, each text alone, and at last done without.
    fn without_odd(&self, texts: &[&str], answer: answer::Vectors) -> Result<Vectors, NetError> {
        let answer::Vectors { rows, odd } = answer;
        let mut vectors = Vectors { rows, texts: texts.len(), ..Vectors::default() };
        for (at, _) in odd {
            let Some(text) = texts.get(at) else { continue };
            let alone = match self.send(&[text]) {
                Ok(answer::Vectors { odd, .. }) if !odd.is_empty() => {
                    let said = odd.into_iter().next().map(|(_, said)| said).unwrap_or_default();
                    let hint = "see what the server says of it";
                    self.set_aside(NetError::Refused { message: said.clone(), hint }, said)?
                }
                Ok(answer::Vectors { rows, .. }) => Vectors { rows, texts: 1, ..Vectors::default() },
                Err(Why::TooLarge(said, _)) => self.shortened(text, said)?,
                Err(Why::Refused(error, said)) => self.set_aside(error, said)?,
                Err(Why::Failed(error)) => return Err(error),
            };
            vectors.refused.extend(alone.refused.into_iter().map(|(_, said)| (at, said)));
            vectors.cut.extend(alone.cut.into_iter().map(|_| at));
            if vectors.rows.cols == 0 {
                vectors.rows = Matrix::zeros(texts.len(), alone.rows.cols);
            }
            match alone.rows.cols {
                0 => {}
                cols if cols == vectors.rows.cols => {
                    vectors.rows.row_mut(at).copy_from_slice(alone.rows.row(0))
                }
                _ => vectors.refused.push((at, "a vector of another length than the others'".into())),
            }
        }
        Ok(vectors)
    }

    /// A single text that the server does not want: the others go on without it, as long as it is the exception.
    fn set_aside(&self, error: NetError, said: String) -> Result<Vectors, NetError> {
        let refused = self.refused.fetch_add(1, Ordering::SeqCst) + 1;
        let most = SET_ASIDE.max((self.texts.load(Ordering::Relaxed) as f64 * SET_ASIDE_SHARE) as u64);
        if !self.has_answered() || refused > most {
            return Err(error);
        }
        Ok(Vectors { refused: vec![(0, said)], texts: 1, ..Vectors::default() })
    }

    /// A text that is longer than the server reads: cut by what the server says of its length, or in half, until it
    /// passes.
    fn shortened(&self, text: &str, mut said: String) -> Result<Vectors, NetError> {
        let mut text = text;
        for _ in 0..CUTS {
            let share = answer::share_that_fits(&said).unwrap_or(0.5);
            let end = text.floor_char_boundary((text.len() as f64 * share) as usize);
            if end < 4 {
                break;
            }
            text = &text[..end];
            match self.send(&[text]) {
                Ok(answer) => {
                    let vectors = self.without_odd(&[text], answer)?;
                    return Ok(Vectors { cut: BTreeSet::from([0]), ..vectors });
                }
                Err(Why::TooLarge(again, _)) => said = again,
                Err(Why::Refused(error, said)) => return self.set_aside(error, said),
                Err(Why::Failed(error)) => return Err(error),
            }
        }
        let error = NetError::TooLarge { message: said.clone(), hint: LONG_HINT };
        self.set_aside(error, said)
    }

    /// The request for some texts, without what the server does not know.
    fn body(&self, texts: &[&str], lacks: &BTreeSet<Lack>) -> Value {
        let mut body = json!({ "model": self.model, "input": texts });
        if let Some(body) = body.as_object_mut() {
            if !lacks.contains(&Lack::Encoding) {
                body.insert("encoding_format".into(), "float".into());
            }
            if let Some(asked) = self.asked {
                body.insert("dimensions".into(), asked.into());
            }
        }
        body
    }

    /// One request, mended where the server does not know something in it, and tried until it is answered well.
    fn send(&self, texts: &[&str]) -> Result<answer::Vectors, Why> {
        let name = crate::cache::key(&[texts.first().copied().unwrap_or_default().as_bytes()]);
        let name: String = name.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let mut attempts = 0;
        let mut last: Option<Failure> = None;
        // Left out to see whether it is what the server refuses without a word.
        let mut tried = BTreeSet::new();
        let outcome = self.gate.with_retries(&name, || {
            let mut lacks = self.accepts.lacks();
            lacks.extend(&tried);
            let body = self.body(texts, &lacks);
            match self.post(texts, &body) {
                Ok(vectors) => {
                    let said = last.as_ref().map_or("", |failure| failure.said.as_str());
                    tried.iter().for_each(|lack| self.accepts.learn(*lack, said));
                    self.accepts.prove(lacks);
                    Ok(vectors)
                }
                Err(failure) => {
                    let mut failure = self.hinted(self.mended(failure, &body, &mut tried));
                    if failure.kind == FailureKind::Again && failure.reached {
                        attempts += 1;
                        // It answers others well: one of these texts may be too much for it.
                        if attempts >= ATTEMPTS_FOR_A_BATCH && self.has_answered() {
                            failure.kind = FailureKind::Fatal("see what the server says of it");
                            self.gate.forgive();
                        }
                    }
                    last = Some(failure.clone());
                    Err(failure)
                }
            }
        });
        outcome.map_err(|error| self.why(error, last, attempts))
    }

    /// One attempt, counted.
    fn post(&self, texts: &[&str], body: &Value) -> Result<answer::Vectors, Failure> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let value = self.client.post("embeddings", body)?;
        self.requests.fetch_add(1, Ordering::SeqCst);
        let counted = answer::tokens(&value);
        let outcome = answer::understood(value, texts.len(), self.known(), self.base());
        // Servers that count nothing: about four bytes a token. Whatever becomes of an answer, it is paid.
        let estimate = || texts.iter().map(|text| self.tokens(text) as u64).sum();
        let tokens = counted.unwrap_or_else(|| if outcome.is_ok() { estimate() } else { 0 });
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
        let vectors = outcome?;
        match vectors.odd.first() {
            // No vector at all, and never one before: that is the server, not the texts.
            Some((_, what)) if vectors.rows.cols == 0 && !self.has_answered() => Err(Failure::odd(what, 200)),
            _ => {
                if vectors.rows.cols > 0 {
                    self.answered.store(true, Ordering::SeqCst);
                }
                Ok(vectors)
            }
        }
    }

    /// What a failure means for the texts of its request.
    fn why(&self, error: NetError, last: Option<Failure>, attempts: u32) -> Why {
        let Some(failure) = last else { return Why::Failed(error) };
        let said = if failure.said.is_empty() { failure.message.clone() } else { failure.said.clone() };
        if let NetError::TooLarge { .. } = error {
            return Why::TooLarge(said, failure.status);
        }
        let lower = failure.said.to_lowercase();
        let is_model = ["model", "deployment"].iter().any(|word| lower.contains(word))
            && ["not found", "not exist", "unknown", "no such", "invalid model"]
                .iter()
                .any(|words| lower.contains(words));
        let is_texts = match failure.status {
            _ if failure.kind == FailureKind::Fatal(DIMENSIONS_HINT) => false,
            Some(400 | 413 | 422) => !is_model,
            Some(200..=299 | 500..=599) | None => attempts >= ATTEMPTS_FOR_A_BATCH && self.has_answered(),
            _ => false,
        };
        if matches!(error, NetError::Refused { .. }) && is_texts {
            return Why::Refused(error, said);
        }
        Why::Failed(error)
    }

    /// A refusal of what the user asked for says so.
    fn hinted(&self, failure: Failure) -> Failure {
        if self.asked.is_none()
            || !matches!(failure.kind, FailureKind::Fatal(_))
            || !matches!(failure.status, Some(400 | 422))
        {
            return failure;
        }
        let lower = failure.said.to_lowercase();
        let hint = match ["dimension", "matryoshka"].iter().any(|word| lower.contains(word)) {
            true => DIMENSIONS_HINT,
            false => ASKED_HINT,
        };
        Failure { kind: FailureKind::Fatal(hint), ..failure }
    }

    /// What a refusal says of the request: perhaps the next one can be written so that it passes.
    fn mended(&self, failure: Failure, sent: &Value, tried: &mut BTreeSet<Lack>) -> Failure {
        if failure.kind == FailureKind::Mended {
            self.accepts.learn(Lack::Slash, &failure.said);
            return failure;
        }
        if failure.kind == FailureKind::TooLarge || !may_be_a_wish(failure.status, &failure.said) {
            return failure;
        }
        if let Some(lack) = Accepts::named(&failure.said, sent) {
            self.accepts.learn(lack, &failure.said);
            return failure.mended();
        }
        let unnamed = matches!(failure.status, Some(400 | 415 | 422 | 501));
        // Once the server has taken it, it is not that.
        if unnamed
            && !self.has_answered()
            && sent.get("encoding_format").is_some()
            && tried.insert(Lack::Encoding)
        {
            return failure.mended();
        }
        failure
    }
}

/// Answers that wait until their vectors' length is settled.
#[derive(Default)]
struct Held {
    answers: Vec<(Task, Vectors)>,
    again: VecDeque<Task>,
    rounds: u32,
}

impl Held {
    /// The length that most answers have, and how many; `None` where two lengths are as frequent.
    fn most(&self) -> Option<(usize, usize)> {
        let mut counts: Vec<(usize, usize)> = Vec::new();
        for (_, vectors) in &self.answers {
            match counts.iter_mut().find(|(cols, _)| *cols == vectors.rows.cols) {
                Some((_, count)) => *count += 1,
                None => counts.push((vectors.rows.cols, 1)),
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        match counts[..] {
            [] => None,
            [first, second, ..] if first.1 == second.1 => None,
            [first, ..] => Some(first),
        }
    }
}

impl Embedder for RemoteEmbedder {
    fn identity(&self) -> String {
        let mut identity = format!("openai:{}@{}", self.model, self.base());
        if let Some(asked) = self.asked {
            identity.push_str(&format!(";dimensions={asked}"));
        }
        if let Some(tokens) = self.max_tokens {
            identity.push_str(&format!(";tokens={tokens}"));
        }
        identity
    }

    fn dimensions(&self) -> Option<usize> {
        self.known()
    }

    fn embed(&self, texts: &[&str]) -> Result<Matrix, EmbedError> {
        let mut work = InMemory::new(texts);
        self.embed_all(&mut work)?;
        Ok(work.into_rows())
    }

    #[allow(
        clippy::too_many_lines,
        reason = "closures lend each other what is held back until a length is believed"
    )]
    fn embed_all(&self, work: &mut dyn Work) -> Result<(), EmbedError> {
        let work = RefCell::new(work);
        let held = RefCell::new(Held::default());
        let keep = |task: Task, vectors: Vectors| {
            self.texts.fetch_add(task.items.len() as u64, Ordering::Relaxed);
            self.cut.fetch_add(vectors.cut.len() as u64, Ordering::Relaxed);
            let mut work = work.borrow_mut();
            let cut: Vec<usize> =
                vectors.cut.iter().filter_map(|at| task.items.get(*at)).map(|(slot, _)| *slot).collect();
            work.cut(&cut);
            if vectors.refused.is_empty() {
                return work.done(task, vectors.rows);
            }
            let refused: BTreeMap<usize, String> = vectors.refused.into_iter().collect();
            let (mut good, mut rows) = (Vec::new(), Matrix { values: Vec::new(), cols: vectors.rows.cols });
            for (at, item) in task.items.into_iter().enumerate() {
                if let Some(said) = refused.get(&at) {
                    work.refused(Task { items: vec![item] }, said)?;
                } else {
                    rows.values.extend_from_slice(vectors.rows.row(at));
                    good.push(item);
                }
            }
            if good.is_empty() { Ok(()) } else { work.done(Task { items: good }, rows) }
        };
        // Believes a length: keeps the answers that have it and asks for the others again.
        let settle = |cols: usize| {
            self.dimensions.store(cols, Ordering::SeqCst);
            let answers = std::mem::take(&mut held.borrow_mut().answers);
            for (task, vectors) in answers {
                if vectors.rows.cols == cols {
                    keep(task, vectors)?;
                } else {
                    held.borrow_mut().again.push_back(task);
                }
            }
            Ok::<_, EmbedError>(())
        };
        loop {
            for_each(
                self.gate.policy().concurrency,
                &self.gate.policy().context.cancel,
                &mut || match held.borrow_mut().again.pop_front() {
                    Some(task) => Ok(Some(task)),
                    None => work.borrow_mut().next(self.amount),
                },
                &|task: &Task| self.request(&task.texts()),
                &mut |task, vectors| {
                    if vectors.rows.cols == 0 {
                        // All of them were refused: they say nothing of the length.
                        return keep(task, vectors);
                    }
                    if let Some(known) = self.known() {
                        // Sent before the length was settled.
                        if vectors.rows.cols != known {
                            held.borrow_mut().again.push_back(task);
                            return Ok(());
                        }
                        return keep(task, vectors);
                    }
                    held.borrow_mut().answers.push((task, vectors));
                    let most = held.borrow().most();
                    match most {
                        Some((cols, count)) if count >= QUORUM => settle(cols),
                        _ => Ok(()),
                    }
                },
            )?;
            // Fewer answers than it takes to be sure: what most of them say; where they disagree, one is asked again.
            let most = held.borrow().most();
            match most {
                Some((cols, _)) => settle(cols)?,
                None => {
                    let mut held = held.borrow_mut();
                    held.rounds += 1;
                    if let Some((task, vectors)) = held.answers.pop() {
                        if held.rounds > self.gate.policy().attempts {
                            return Err(EmbedError::Shape {
                                embedder: self.identity(),
                                rows: vectors.rows.rows(),
                                cols: vectors.rows.cols,
                                texts: task.texts().len(),
                                dimensions: held.answers.last().map_or(0, |(_, other)| other.rows.cols),
                            });
                        }
                        held.again.push_back(task);
                    }
                }
            }
            if held.borrow().again.is_empty() && held.borrow().answers.is_empty() {
                return Ok(());
            }
        }
    }

    fn expect(&self, dimensions: usize) {
        // What stands in the cache it has answered: then a text that it refuses is the exception, not the server.
        self.answered.store(true, Ordering::SeqCst);
        self.gate.expect_answers();
        // What the user asked for goes first.
        let _ = self.dimensions.compare_exchange(0, dimensions, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn cached(&self) -> bool {
        true
    }

    fn max_tokens(&self) -> Option<usize> {
        self.max_tokens
    }

    fn usage(&self) -> Usage {
        Usage {
            texts: self.texts.load(Ordering::Relaxed),
            tokens: self.tokens.load(Ordering::Relaxed),
            cut: self.cut.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::SeqCst),
            sent: self.sent.load(Ordering::SeqCst),
        }
    }

    fn is_cut(&self, text: &str) -> bool {
        self.max_tokens.is_some_and(|tokens| text.len() > tokens.saturating_mul(4))
    }

    fn learnt(&self) -> Vec<String> {
        self.accepts.news()
    }
}

/// Texts in memory, for a caller that wants the vectors themselves.
struct InMemory<'a> {
    texts: &'a [&'a str],
    next: usize,
    rows: Vec<Vec<f32>>,
}

impl<'a> InMemory<'a> {
    fn new(texts: &'a [&'a str]) -> Self {
        Self { texts, next: 0, rows: vec![Vec::new(); texts.len()] }
    }

    fn into_rows(mut self) -> Matrix {
        let cols = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        // A text that was refused says nothing.
        self.rows.iter_mut().filter(|row| row.is_empty()).for_each(|row| row.resize(cols, 0.0));
        Matrix { values: self.rows.concat(), cols }
    }
}

impl Work for InMemory<'_> {
    fn next(&mut self, most: Amount) -> Result<Option<Task>, EmbedError> {
        let mut items = Vec::new();
        let mut bytes = 0;
        while let Some(text) = self.texts.get(self.next) {
            bytes += text.len();
            if !items.is_empty() && (items.len() >= most.texts || bytes > most.bytes) {
                break;
            }
            items.push((self.next, (*text).to_owned()));
            self.next += 1;
        }
        Ok((!items.is_empty()).then_some(Task { items }))
    }

    fn done(&mut self, task: Task, rows: Matrix) -> Result<(), EmbedError> {
        for (i, (position, _)) in task.items.iter().enumerate() {
            if let Some(row) = self.rows.get_mut(*position) {
                *row = rows.row(i).to_vec();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
