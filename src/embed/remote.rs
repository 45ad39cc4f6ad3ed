//! `openai:MODEL`: any server with OpenAI's `/v1/embeddings` (OpenAI, vLLM, Ollama, llama.cpp, TEI, …).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Amount, EmbedError, Embedder, Task, Usage, Work};
use crate::config::EmbedConfig;
use crate::context::Context;
use crate::matrix::Matrix;
use crate::net::{Client, Endpoint, Failure, Gate, NetError, Policy, for_each};

/// Answers that must agree on the vectors' length before it is believed, where the user does not give it: a single one
/// may be the broken one.
const QUORUM: usize = 3;

/// How often a text that is too long for the server is halved.
const HALVINGS: u32 = 10;

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
    requests: AtomicU64,
}

/// What a server answers.
#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Deserialize, Default)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
}

/// Vectors of a task and what the server counted.
struct Vectors {
    rows: Matrix,
    tokens: Option<u64>,
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
            cancel: context.cancel.clone(),
            ..Policy::default()
        };
        Ok(Self::with_policy(model, settings, Endpoint::of(settings.base_url.as_deref(), context)?, policy))
    }

    /// The same with an endpoint and a patience of one's own.
    pub fn with_policy(model: &str, settings: &EmbedConfig, endpoint: Endpoint, policy: Policy) -> Self {
        // OpenAI's models read 8,191 tokens and refuse more. Of others nobody knows before they refuse.
        let known = model.starts_with("text-embedding-").then_some(8191);
        Self {
            client: Client::new(endpoint, &policy),
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
        }
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
        let text = match self.max_tokens {
            Some(tokens) if text.len() > tokens.saturating_mul(4) => {
                self.cut.fetch_add(1, Ordering::Relaxed);
                &text[..text.floor_char_boundary(tokens.saturating_mul(4))]
            }
            _ => text,
        };
        if text.is_empty() { " " } else { text }
    }

    /// Vectors of some texts; what is too large for the server is sent in halves.
    fn request(&self, texts: &[&str]) -> Result<Vectors, NetError> {
        let prepared: Vec<&str> = texts.iter().map(|text| self.prepared(text)).collect();
        self.halving(&prepared, 0)
    }

    fn halving(&self, texts: &[&str], halved: u32) -> Result<Vectors, NetError> {
        match (self.send(texts), texts) {
            (Err(NetError::TooLarge { .. }), [_, _, ..]) => {
                let (left, right) = texts.split_at(texts.len() / 2);
                let (mut left, right) = (self.halving(left, halved)?, self.halving(right, halved)?);
                left.rows.values.extend(right.rows.values);
                left.tokens = left.tokens.zip(right.tokens).map(|(a, b)| a + b);
                Ok(left)
            }
            (Err(NetError::TooLarge { .. }), [text]) if halved < HALVINGS && text.len() > 8 => {
                if halved == 0 {
                    self.cut.fetch_add(1, Ordering::Relaxed);
                }
                let text = &text[..text.floor_char_boundary(text.len() / 2)];
                self.halving(&[text], halved + 1)
            }
            (outcome, _) => outcome,
        }
    }

    /// One request, tried until it is answered well.
    fn send(&self, texts: &[&str]) -> Result<Vectors, NetError> {
        let mut body = json!({ "model": self.model, "input": texts, "encoding_format": "float" });
        if let (Some(asked), Some(body)) = (self.asked, body.as_object_mut()) {
            body.insert("dimensions".into(), asked.into());
        }
        let name = crate::cache::key(&[texts.first().copied().unwrap_or_default().as_bytes()]);
        let name: String = name.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let vectors = self.gate.with_retries(&name, || {
            let answer = self.client.post("embeddings", &body)?;
            self.understood(answer, texts.len())
        })?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(vectors)
    }

    /// An answer as a table; anything but one whole vector per text is a failure that another attempt may mend.
    fn understood(&self, answer: Value, texts: usize) -> Result<Vectors, Failure> {
        let wrong = |what: String| Failure::again(format!("`{}` gave {what}", self.base()));
        let answer: Answer =
            serde_json::from_value(answer).map_err(|error| wrong(format!("no embeddings: {error}")))?;
        if answer.data.len() != texts {
            return Err(wrong(format!("{} vectors for {texts} texts", answer.data.len())));
        }
        let cols = answer.data.first().map_or(0, |item| item.embedding.len());
        if cols == 0 || answer.data.iter().any(|item| item.embedding.len() != cols) {
            return Err(wrong("vectors of different lengths".into()));
        }
        if let Some(known) = self.known()
            && known != cols
        {
            return Err(wrong(format!("vectors of {cols} dimensions where {known} are due")));
        }
        let mut rows = Matrix::zeros(texts, cols);
        let mut seen = vec![false; texts];
        for (position, item) in answer.data.iter().enumerate() {
            let at = item.index.unwrap_or(position);
            if item.embedding.iter().any(|value| !value.is_finite()) {
                return Err(wrong("a vector that is not finite".into()));
            }
            match seen.get_mut(at) {
                Some(slot) if !*slot => *slot = true,
                _ => return Err(wrong("vectors whose numbers do not fit the texts".into())),
            }
            rows.row_mut(at).copy_from_slice(&item.embedding);
        }
        let tokens = answer.usage.and_then(|usage| usage.total_tokens.or(usage.prompt_tokens));
        Ok(Vectors { rows, tokens })
    }

    /// Counts what is kept.
    fn count(&self, texts: &[&str], vectors: &Vectors) {
        self.texts.fetch_add(texts.len() as u64, Ordering::Relaxed);
        // Servers that count nothing: about four bytes a token.
        let estimate = || texts.iter().map(|text| self.tokens(text) as u64).sum();
        self.tokens.fetch_add(vectors.tokens.unwrap_or_else(estimate), Ordering::Relaxed);
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

    fn embed_all(&self, work: &mut dyn Work) -> Result<(), EmbedError> {
        let work = RefCell::new(work);
        let held = RefCell::new(Held::default());
        let keep = |task: Task, vectors: Vectors| {
            self.count(&task.texts(), &vectors);
            work.borrow_mut().done(task, vectors.rows)
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
                &self.gate.policy().cancel,
                &mut || match held.borrow_mut().again.pop_front() {
                    Some(task) => Ok(Some(task)),
                    None => work.borrow_mut().next(self.amount),
                },
                &|task: &Task| self.request(&task.texts()),
                &mut |task, vectors| {
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
            requests: self.requests.load(Ordering::Relaxed),
        }
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

    fn into_rows(self) -> Matrix {
        let cols = self.rows.first().map_or(0, Vec::len);
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
