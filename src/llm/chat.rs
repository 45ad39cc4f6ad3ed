//! A chat model behind an OpenAI-compatible server: each request is paid once, kept at once, and asked again
//! only where nothing came back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answers::Said;
pub use super::ask::Ask;
use super::spending::{Budget, LIMIT_HINT, Price};
use super::tokens;
use crate::cache::{ANSWERS, Bucket, Cache, CacheError, Claim, Key, Space, key};
use crate::net::accepts::{Accepts, Lack, may_be_a_wish};
use crate::net::{
    Client, Endpoint, Failure, FailureKind, Gate, NetError, Policy, for_each, one_line, said_in,
};

/// How often the answer to a request is asked for, when nothing in it can be read.
const READINGS: u32 = 4;
/// The same for what a model will not say: once more, as some draw.
const READINGS_OF_REFUSALS: u32 = 2;
/// Unreadable answers in a row from which on each is asked for once: the server is not well.
const DOUBTS: u32 = 8;
/// Unreadable answers, and never a readable one, from which on asking is no use.
const HOPELESS: u32 = 24;
/// Attempts for a request that a server fails while it answers others: it may be what the request says.
const ATTEMPTS_FOR_ONE: u32 = 8;
/// Requests failed so from which on it matters whether others were answered.
const FAILED: u32 = 8;
/// What helps where a server fails more than it answers.
const FAILED_HINT: &str =
    "see the server's log; what was answered is kept, the same command goes on from here";
/// What helps where a server refuses what the user adds to each request.
const PARAM_HINT: &str = "it is something that `--param` adds: take it out, or see how this server calls it";
/// What helps where what came is JSON of another service.
const CHOICES_HINT: &str = "what answers there is no chat model in OpenAI's form: does the base URL end in `/v1`, as it usually does?";
/// What may help where it is not said what was refused.
const PARAMS_HINT: &str = "check what `--param` adds, the model's name and what the server supports";
/// Characters of an answer that a message quotes.
const QUOTED: usize = 100;
/// Room for an answer of a model that thinks long, in multiples of the usual.
const WIDE: usize = 8;
/// What helps where a single pair is more than a server reads.
const CONTEXT_HINT: &str = "one question about one pair is more than this server reads: start it with a longer context (vLLM `--max-model-len`, llama.cpp `-c`, Ollama `num_ctx`), or name another model";
/// How long to wait for another process that asks the same.
const LOOK: Duration = Duration::from_millis(200);
/// Candidates for a token that are asked for, to see how sure the model is.
const TOP: u32 = 5;

/// Why a model could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum LanguageError {
    /// The server.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The cache of answers.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A limit that the user set.
    #[error("{0}\nhint: {LIMIT_HINT}")]
    Limit(String),
}

impl LanguageError {
    /// Whether the user stopped it (exit code 130).
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Net(NetError::Stopped))
    }
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reply {
    /// What the model said.
    pub text: String,
    /// Its tokens with the likeliest ones in each place and their log-probabilities; empty where unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<(String, Vec<(String, f64)>)>,
    /// Tokens sent and answered, as the server counts them.
    pub usage: Option<(u64, u64)>,
    /// Why there may be nothing in it to read; not kept.
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// Put together from parts of which some could not be read; not kept.
    #[serde(skip)]
    pub partial: bool,
    /// What the server said in place of an answer; not kept.
    #[serde(skip)]
    pub failure: String,
}

/// Why an answer may say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// There is no text at all.
    Empty,
    /// There is only reasoning.
    Thought,
    /// It was cut off, as its room was used up.
    Cut,
    /// The model, or a filter before it, refused.
    Refusal,
    /// There is text, but not what was asked for.
    Other,
    /// Something that was asked for is missing.
    Part,
    /// The server failed each time, while it answered others.
    Failed,
}

/// How much of an answer can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legible {
    /// Nothing.
    Nothing,
    /// Something, and not all that was asked for.
    Part,
    /// All of it.
    Whole,
}

impl From<bool> for Legible {
    fn from(is_read: bool) -> Self {
        if is_read { Self::Whole } else { Self::Nothing }
    }
}

impl Legible {
    /// Of `found` things that were asked for.
    pub fn of(found: impl Iterator<Item = bool>) -> Self {
        let (mut some, mut all) = (false, true);
        for found in found {
            some |= found;
            all &= found;
        }
        match (some, all) {
            (false, _) => Self::Nothing,
            (true, false) => Self::Part,
            (true, true) => Self::Whole,
        }
    }
}

impl Cause {
    /// For people: how many, asked for what, with an example where there is one.
    fn of(self, count: u64, purposes: &BTreeSet<&'static str>, example: &str) -> String {
        let purposes: Vec<&str> = purposes.iter().copied().collect();
        let what = match (self, count) {
            (Self::Failed, 1) => "1 request",
            (Self::Failed, _) => "requests",
            (_, 1) => "1 answer",
            _ => "answers",
        };
        let what = if count == 1 { what.to_owned() } else { format!("{count} {what}") };
        let words = match (count, self.in_words().strip_prefix("were ")) {
            (1, Some(rest)) => format!("was {rest}"),
            _ => self.in_words().to_owned(),
        };
        format!("{what} (asked to {}) {words}{}", purposes.join(" and "), such_as(example))
    }

    /// For people; completes "12 answers …".
    fn in_words(self) -> &'static str {
        match self {
            Self::Empty => "were empty",
            Self::Thought => "held reasoning and no text",
            Self::Cut => "were cut off before they said anything (`finish_reason: length`)",
            Self::Refusal => "were refused by the model or its filter",
            Self::Other => "did not say what was asked",
            Self::Part => "said a part of what was asked",
            Self::Failed => "ended in an error each time, while others were answered",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Thought | Self::Cut => {
                "the model thinks and does not come to an end: switch that off or give it room (`--param`, such as `--param reasoning_effort=low` or `--param max_tokens=16000`)"
            }
            Self::Refusal => "another model may answer",
            Self::Failed => FAILED_HINT,
            Self::Empty | Self::Other | Self::Part => {
                "see what the server answers to a plain question: its chat template may not fit the model, or the model may be too small"
            }
        }
    }
}

impl Reply {
    /// Takes up the next part of a question that was asked in parts.
    fn append(&mut self, part: Self) {
        let whole = self.text.is_empty() || !self.tokens.is_empty();
        if !self.text.is_empty() {
            self.text.push('\n');
            self.tokens.push(("\n".to_owned(), Vec::new()));
        }
        self.text.push_str(&part.text);
        // Tokens of some parts only would be counted at the wrong places.
        match whole && !part.tokens.is_empty() {
            true => self.tokens.extend(part.tokens),
            false => self.tokens.clear(),
        }
        self.usage = match (self.usage, part.usage) {
            (Some((a, b)), Some((c, d))) => Some((a + c, b + d)),
            (sum, one) => sum.or(one),
        };
        self.cause = self.cause.or(part.cause);
    }

    /// How sure the model was of a verdict that begins at byte `at` of its text: P(A) − P(B) where its tokens'
    /// probabilities are known, else the plain verdict.
    pub fn grade(&self, said: Said, at: usize) -> f32 {
        let mut end = 0;
        for (token, top) in &self.tokens {
            let start = end;
            end += token.len();
            if end <= at {
                continue;
            }
            // The tokens are the text only where both say the same.
            if self.text.get(start..end) != Some(token.as_str()) {
                return said.value();
            }
            let mut chance = [0.0_f64; 3];
            for (word, logprob) in top {
                let letters: String =
                    word.chars().filter(|c| c.is_alphabetic()).collect::<String>().to_lowercase();
                let place = match letters.as_str() {
                    "a" => 0,
                    "b" => 1,
                    "t" | "ti" | "tie" | "neither" => 2,
                    _ => continue,
                };
                chance[place] += logprob.exp();
            }
            let total: f64 = chance.iter().sum();
            return if total > 0.5 { ((chance[0] - chance[1]) / total) as f32 } else { said.value() };
        }
        said.value()
    }
}

/// Wishes left out of a request to see whether it is one of them that the server refuses without saying which.
#[derive(Debug, Default)]
struct Trial {
    left_out: BTreeSet<Lack>,
    /// What was known to be refused when it began.
    known: BTreeSet<Lack>,
    /// What is still to be tried, the last first.
    waiting: Option<Vec<BTreeSet<Lack>>>,
    said: String,
}

impl Trial {
    /// Goes on to the next; whether there is one.
    fn next(&mut self, sent: &Value, said: &str) -> bool {
        let waiting = self.waiting.get_or_insert_with(|| {
            let wishes = Accepts::wishes(sent);
            let with = |lack: Lack| match lack {
                Lack::Schema => vec![BTreeSet::from([lack]), BTreeSet::from([lack, Lack::Object])],
                lack => vec![BTreeSet::from([lack])],
            };
            let mut all: Vec<BTreeSet<Lack>> = wishes.into_iter().flat_map(with).collect();
            if all.len() > 1 {
                all.push(all.iter().flatten().copied().collect());
            }
            all.reverse();
            all
        });
        if self.said.is_empty() {
            said.clone_into(&mut self.said);
        }
        self.left_out = waiting.pop().unwrap_or_default();
        !self.left_out.is_empty()
    }
}

/// The schema of an object that has exactly these fields.
pub fn object(fields: Map<String, Value>) -> Value {
    let required: Vec<&String> = fields.keys().collect();
    let required = json!(required);
    json!({ "type": "object", "properties": fields, "required": required, "additionalProperties": false })
}

/// A chat model at a server, and the answers that are kept of it.
pub struct ChatModel {
    line: Line,
    store: Option<(Bucket, Space)>,
}

/// What reaches a model.
struct Line {
    client: Client,
    gate: Gate,
    name: String,
    /// What the user wants to send along; goes before everything of ours.
    params: Map<String, Value>,
    price: Option<Price>,
    purse: Arc<Budget>,
    accepts: Accepts,
    /// Answers in a row in which nothing could be read.
    unread: AtomicU32,
    /// Something could be read once.
    read: AtomicBool,
    /// Requests that were answered, whatever was in the answers, and those that failed while others were answered.
    answered: AtomicU32,
    failed: AtomicU32,
    /// The latter, since the last answer.
    failed_since: AtomicU32,
    /// Answers that were in the cache.
    cached: AtomicU32,
    causes: Mutex<BTreeMap<Cause, Unread>>,
    /// Its number among those that the purse pays: two of them may be the same model.
    number: usize,
}

/// What could not be read for one cause.
#[derive(Debug, Default)]
struct Unread {
    count: u64,
    /// What it was asked for.
    purposes: BTreeSet<&'static str>,
    /// The first case.
    example: String,
}

/// The parts of a request, by its number: each asks about one pair of it, under the same names.
pub type Parts<'a> = dyn Fn(usize) -> Vec<Ask> + Sync + 'a;

/// How much can be read of an answer to a request, by its number; of what was asked in one of its parts, where that is
/// given.
pub type Readable<'a> = dyn Fn(usize, Option<usize>, &Reply) -> Legible + Sync + 'a;

/// A request to be sent, and what the cache holds of its parts.
struct Job {
    index: usize,
    kept: HashMap<Key, Reply>,
}

/// What became of a request, and the parts of it that were read where the whole cannot be kept.
struct Answered {
    outcome: Result<Reply, NetError>,
    parts: Vec<(Key, Reply)>,
}

impl ChatModel {
    /// The model `name` at a server.
    ///
    /// # Errors
    /// Where the cache cannot be opened.
    pub fn new(
        endpoint: Endpoint,
        name: &str,
        params: Map<String, Value>,
        price: Option<Price>,
        purse: Arc<Budget>,
        policy: Policy,
        cache: Option<&Cache>,
    ) -> Result<Self, LanguageError> {
        let store = match cache {
            Some(cache) => {
                let bucket = cache.bucket(ANSWERS)?;
                let space = bucket.space(&format!("{name} at {}", endpoint.base()))?;
                Some((bucket, space))
            }
            None => None,
        };
        let accepts = Accepts::open(endpoint.base(), name, cache);
        let client = Client::new(endpoint, &policy)?;
        let policy = Policy { one_by_one: true, ..policy };
        if accepts.lacks().contains(&Lack::Slash) {
            client.end_in_slash();
        }
        let line = Line {
            number: purse.next_model(),
            client,
            gate: Gate::new(policy),
            name: name.to_owned(),
            params,
            price,
            purse,
            accepts,
            unread: AtomicU32::new(0),
            read: AtomicBool::new(false),
            answered: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            failed_since: AtomicU32::new(0),
            cached: AtomicU32::new(0),
            causes: Mutex::default(),
        };
        Ok(Self { line, store })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.line.name
    }

    /// The answers to the requests, in their order, each from the cache or the server.
    ///
    /// `readable` says how much of an answer can be read; one without anything is asked for again a few times, one without
    /// all of it once, and neither is kept.
    /// `progress` hears how many are done.
    ///
    /// # Errors
    /// Where the server gives out, a limit is reached or the user stops; what was answered is kept.
    pub fn ask(
        &mut self,
        asks: &[Ask],
        readable: &(dyn Fn(usize, &Reply) -> Legible + Sync),
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Reply>, LanguageError> {
        self.ask_in_parts(asks, &|_| Vec::new(), &|index, _, reply| readable(index, reply), progress)
    }

    /// The same; a request that is more than the server reads is asked in `parts`.
    ///
    /// # Errors
    /// As for [`Self::ask`].
    pub fn ask_in_parts(
        &mut self,
        asks: &[Ask],
        parts: &Parts<'_>,
        readable: &Readable<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Reply>, LanguageError> {
        let keys: Vec<Key> = asks.iter().map(|ask| self.line.key(ask)).collect();
        let mut replies: Vec<Option<Reply>> = vec![None; asks.len()];
        // The same request twice is one request.
        let mut first: HashMap<Key, usize> = HashMap::new();
        let same: Vec<usize> =
            keys.iter().enumerate().map(|(i, key)| *first.entry(*key).or_insert(i)).collect();
        let outcome =
            self.line.fill(asks, parts, &keys, &same, &mut replies, &mut self.store, readable, progress);
        self.line.tell(outcome.is_ok());
        outcome.map_err(|error| match error {
            LanguageError::Net(NetError::Refused { message, hint }) if hint == LIMIT_HINT => {
                LanguageError::Limit(message)
            }
            other => other,
        })?;
        for (index, first) in same.iter().enumerate() {
            if *first != index {
                replies[index] = replies.get(*first).cloned().flatten();
            }
        }
        Ok(replies.into_iter().map(Option::unwrap_or_default).collect())
    }
}

impl Line {
    /// What determines the answer to a request.
    fn key(&self, ask: &Ask) -> Key {
        let params = Value::Object(self.params.clone()).to_string();
        let schema = ask.schema.as_ref().map(Value::to_string).unwrap_or_default();
        key(&[
            b"chat 1",
            self.client.endpoint().base().as_bytes(),
            self.name.as_bytes(),
            params.as_bytes(),
            ask.version.as_bytes(),
            ask.system.as_bytes(),
            ask.user.as_bytes(),
            schema.as_bytes(),
            &[u8::from(ask.graded)],
        ])
    }

    /// A request as this server takes it: without what is in `lacks`.
    fn body(&self, ask: &Ask, lacks: &BTreeSet<Lack>) -> Value {
        let takes = |lack: Lack| !lacks.contains(&lack);
        let mut body = Map::new();
        body.insert("model".into(), self.name.as_str().into());
        let messages = if takes(Lack::System) {
            json!([{ "role": "system", "content": ask.system }, { "role": "user", "content": ask.user }])
        } else {
            json!([{ "role": "user", "content": format!("{}\n\n{}", ask.system, ask.user) }])
        };
        body.insert("messages".into(), messages);
        if takes(Lack::Temperature) {
            body.insert("temperature".into(), 0.into());
        }
        if takes(Lack::Room) && !self.params.contains_key("max_completion_tokens") {
            // Enough for a model that thinks first; a model that never ends is ended.
            let room = (2048 + 4 * ask.room) * if takes(Lack::Thinks) { 1 } else { WIDE };
            let name = if takes(Lack::MaxTokens) { "max_tokens" } else { "max_completion_tokens" };
            body.insert(name.into(), room.into());
        }
        if let Some(schema) = &ask.schema {
            let named = json!({ "name": "answer", "strict": true, "schema": schema });
            let format = match (takes(Lack::Schema), takes(Lack::Object)) {
                (true, _) => Some(json!({ "type": "json_schema", "json_schema": named })),
                (false, true) => Some(json!({ "type": "json_object", "schema": schema })),
                _ => None,
            };
            body.extend(format.map(|format| ("response_format".to_owned(), format)));
        }
        if ask.graded && takes(Lack::Probabilities) {
            body.insert("logprobs".into(), true.into());
            body.insert("top_logprobs".into(), TOP.into());
        }
        for (name, value) in &self.params {
            // `null` takes one of ours out.
            if value.is_null() {
                body.remove(name);
            } else {
                body.insert(name.clone(), value.clone());
            }
        }
        Value::Object(body)
    }

    /// One request until it is answered: whole, or in parts where the server does not read so much. `kept` holds what was
    /// read of its parts before.
    fn answered(
        &self,
        ask: &Ask,
        parts: &dyn Fn() -> Vec<Ask>,
        kept: &HashMap<Key, Reply>,
        readable: &dyn Fn(Option<usize>, &Reply) -> Legible,
    ) -> Answered {
        let mut pieces = if self.is_in_parts() { parts() } else { Vec::new() };
        if pieces.len() < 2 {
            match self.read(ask, &|reply| readable(None, reply)) {
                Err(NetError::TooLarge { message, .. }) => {
                    pieces = parts();
                    if pieces.len() < 2 {
                        let outcome = Err(NetError::TooLarge { message, hint: CONTEXT_HINT });
                        return Answered { outcome, parts: Vec::new() };
                    }
                    self.accepts.learn(Lack::Context, &message);
                }
                outcome => return Answered { outcome, parts: Vec::new() },
            }
        }
        let mut fresh = Vec::new();
        let outcome = self.pieced(ask.purpose, &pieces, kept, readable, &mut fresh);
        if outcome.as_ref().is_ok_and(|whole| !whole.partial) {
            // They stand in the whole.
            fresh.clear();
        }
        Answered { outcome, parts: fresh }
    }

    /// Whether this server is asked pair by pair.
    fn is_in_parts(&self) -> bool {
        self.accepts.lacks().contains(&Lack::Context)
    }

    /// The answer to a request from those to its parts; `fresh` gets what was read of them now.
    fn pieced(
        &self,
        purpose: &'static str,
        pieces: &[Ask],
        kept: &HashMap<Key, Reply>,
        readable: &dyn Fn(Option<usize>, &Reply) -> Legible,
        fresh: &mut Vec<(Key, Reply)>,
    ) -> Result<Reply, NetError> {
        let mut whole = Reply::default();
        for (at, piece) in pieces.iter().enumerate() {
            // A piece says only its part of what the whole is asked for.
            let of_piece = |reply: &Reply| readable(Some(at), reply);
            let key = self.key(piece);
            let reply = if let Some(reply) = kept.get(&key).filter(|reply| of_piece(reply) == Legible::Whole)
            {
                self.purse.note(purpose, 1, 0);
                reply.clone()
            } else {
                let reply = self.read(piece, &of_piece).map_err(|error| match error {
                    NetError::TooLarge { message, .. } => NetError::TooLarge { message, hint: CONTEXT_HINT },
                    error => error,
                })?;
                if !reply.partial && of_piece(&reply) == Legible::Whole {
                    // Known from now on, so that the next run looks for parts.
                    self.accepts.prove([Lack::Context]);
                    fresh.push((key, reply.clone()));
                }
                reply
            };
            let partial = whole.partial || of_piece(&reply) == Legible::Nothing;
            whole.append(reply);
            whole.partial = partial;
        }
        whole.partial |= readable(None, &whole) != Legible::Whole;
        Ok(whole)
    }

    /// One request until it is answered, and again where nothing in the answer can be read.
    fn read(&self, ask: &Ask, readable: &dyn Fn(&Reply) -> Legible) -> Result<Reply, NetError> {
        let mut reading = 0;
        let mut best: Option<Reply> = None;
        loop {
            let (mut reply, wide) = self.once(ask, reading)?;
            if reply.cause == Some(Cause::Failed) {
                return match best.take() {
                    Some(best) => Ok(self.in_part(ask, best)),
                    None => self.failed(ask, reply),
                };
            }
            let legible = readable(&reply);
            if legible == Legible::Part && best.is_none() && reply.cause != Some(Cause::Cut) {
                // Once more: what it forgot it may say.
                best = Some(reply);
                reading += 1;
                continue;
            }
            let good = legible != Legible::Nothing;
            if !good && let Some(best) = best.take() {
                return Ok(self.in_part(ask, best));
            }
            let limited = !self.params.contains_key("max_tokens")
                && !self.params.contains_key("max_completion_tokens")
                && !self.accepts.lacks().contains(&Lack::Room);
            if reply.cause == Some(Cause::Cut) && !wide && limited {
                self.accepts.learn(Lack::Thinks, "");
                continue;
            }
            if good {
                if wide {
                    self.accepts.prove([Lack::Thinks]);
                }
                self.unread.store(0, Ordering::SeqCst);
                self.read.store(true, Ordering::SeqCst);
                return Ok(if legible == Legible::Part { self.in_part(ask, reply) } else { reply });
            }
            reading += 1;
            let most = match reply.cause {
                _ if self.unread.load(Ordering::SeqCst) >= DOUBTS => 1,
                // The same again would be cut at the same place.
                Some(Cause::Cut) => 1,
                Some(Cause::Refusal) => READINGS_OF_REFUSALS,
                _ => READINGS,
            };
            if reading >= most {
                let cause = *reply.cause.get_or_insert(Cause::Other);
                self.note_cause(cause, ask.purpose, &reply.text);
                let unread = self.unread.fetch_add(1, Ordering::SeqCst) + 1;
                if unread >= HOPELESS && !self.read.load(Ordering::SeqCst) {
                    let message = format!(
                        "`{}` at `{}` answered {unread} requests and nothing in them could be read: the last answers {}{}",
                        self.name,
                        self.client.endpoint().base(),
                        cause.in_words(),
                        such_as(&reply.text)
                    );
                    return Err(NetError::Refused { message, hint: cause.hint() });
                }
                return Ok(reply);
            }
        }
    }

    /// Counts what could not be read, and keeps the first case of each cause.
    fn note_cause(&self, cause: Cause, purpose: &'static str, example: &str) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let unread = causes.entry(cause).or_default();
        unread.count += 1;
        unread.purposes.insert(purpose);
        if unread.example.is_empty() {
            unread.example = one_line(example, QUOTED);
        }
    }

    /// A request that failed however often it was tried, while others were answered: like an answer that cannot be read,
    /// as long as it is the exception.
    fn failed(&self, ask: &Ask, reply: Reply) -> Result<Reply, NetError> {
        self.note_cause(Cause::Failed, ask.purpose, &reply.failure);
        let failed = self.failed.fetch_add(1, Ordering::SeqCst) + 1;
        let since = self.failed_since.fetch_add(1, Ordering::SeqCst) + 1;
        let answered = self.answered.load(Ordering::SeqCst);
        let (name, base, said) = (&self.name, self.client.endpoint().base(), &reply.failure);
        let what = if failed >= FAILED && failed > answered + self.cached.load(Ordering::SeqCst) {
            format!("answered {answered} requests and failed {failed}")
        } else if answered > 0 && since >= HOPELESS.max(3 * self.gate.policy().concurrency as u32) {
            // It was well, and is no more.
            format!("answered {answered} requests, and then failed {since} in a row")
        } else {
            return Ok(reply);
        };
        Err(NetError::Refused { message: format!("`{name}` at `{base}` {what}: {said}"), hint: FAILED_HINT })
    }

    /// An answer of which a part can be used, and which is not kept.
    fn in_part(&self, ask: &Ask, reply: Reply) -> Reply {
        self.note_cause(Cause::Part, ask.purpose, "");
        self.read.store(true, Ordering::SeqCst);
        Reply { partial: true, ..reply }
    }

    /// One answer, of a request that is mended until the server takes it; and whether it had much room.
    fn once(&self, ask: &Ask, reading: u32) -> Result<(Reply, bool), NetError> {
        let mut trial = Trial::default();
        let mut attempts = 0;
        // What the server said, where it is this request alone that it fails.
        let mut alone = None;
        let outcome = self.gate.with_retries(&format!("{} {reading}", ask.version), || {
            let mut lacks = self.accepts.lacks();
            if trial.known != lacks {
                // Another request has found something out: that may be all, and nothing tried here may take the blame.
                trial = Trial { known: lacks.clone(), ..Trial::default() };
            }
            lacks.extend(&trial.left_out);
            let body = self.body(ask, &lacks);
            self.purse.take(ask.purpose)?;
            let failure = match self.client.post("chat/completions", &body).and_then(|value| reply(&value)) {
                Ok(reply) => return Ok(self.taken(ask, reply, lacks, &trial)),
                Err(failure) => failure,
            };
            self.purse.failed();
            if is_filtered(&failure) {
                let cause = Some(Cause::Refusal);
                return Ok((Reply { cause, ..Reply::default() }, true));
            }
            let mut failure = self.hinted(self.mended(failure, body, &mut trial));
            attempts += u32::from(failure.kind == FailureKind::Again && failure.reached);
            if self.has_answered() && is_of_one(&failure, attempts) {
                failure.kind = FailureKind::Fatal(FAILED_HINT);
                let said = if failure.said.is_empty() { &failure.message } else { &failure.said };
                alone = Some(said.clone());
                self.gate.forgive();
            }
            Err(failure)
        });
        match (outcome, alone) {
            (Err(NetError::Refused { .. }), Some(said)) => {
                let cause = Some(Cause::Failed);
                Ok((Reply { cause, failure: said, ..Reply::default() }, true))
            }
            (outcome, _) => outcome,
        }
    }

    /// Whether this model has answered anything, now or in an earlier run.
    fn has_answered(&self) -> bool {
        self.gate.has_answered() || self.read.load(Ordering::SeqCst)
    }

    /// An answer is paid, and what was left out of its request is learnt.
    fn taken(&self, ask: &Ask, reply: Reply, mut lacks: BTreeSet<Lack>, trial: &Trial) -> (Reply, bool) {
        self.answered.fetch_add(1, Ordering::SeqCst);
        self.failed_since.store(0, Ordering::SeqCst);
        let (tokens_in, tokens_out) = reply.usage.unwrap_or_else(|| {
            (tokens::estimate(&ask.system) + tokens::estimate(&ask.user), tokens::estimate(&reply.text))
        });
        self.purse.pay(ask.purpose, tokens_in, tokens_out, self.price);
        for lack in &trial.left_out {
            self.accepts.learn(*lack, &trial.said);
        }
        // These two are proven by what can be read.
        let wide = lacks.remove(&Lack::Thinks);
        lacks.remove(&Lack::Context);
        self.accepts.prove(lacks);
        (reply, wide)
    }

    /// A refusal of what the user adds to each request says so.
    fn hinted(&self, failure: Failure) -> Failure {
        let is_open =
            matches!(failure.kind, FailureKind::Fatal(_)) && matches!(failure.status, Some(400 | 422));
        if !is_open || self.params.is_empty() {
            return failure;
        }
        let lower = failure.said.to_lowercase();
        let words: BTreeSet<&str> = lower.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let is_named = self.params.keys().any(|name| words.contains(name.to_lowercase().as_str()));
        let kind = FailureKind::Fatal(if is_named { PARAM_HINT } else { PARAMS_HINT });
        Failure { kind, ..failure }
    }

    /// What a refusal says of the request: perhaps the next one can be written so that it passes.
    fn mended(&self, failure: Failure, mut sent: Value, trial: &mut Trial) -> Failure {
        if let Some(sent) = sent.as_object_mut() {
            // What the user asked for is the user's to take back.
            sent.retain(|name, _| !self.params.contains_key(name));
        }
        match failure.kind {
            FailureKind::Mended => {
                self.accepts.learn(Lack::Slash, &failure.said);
                failure
            }
            FailureKind::TooLarge => {
                // Perhaps the room for the answer is what is too much.
                let limited = Accepts::wishes(&sent).contains(&Lack::Room);
                if limited && trial.left_out.insert(Lack::Room) {
                    failure.said.clone_into(&mut trial.said);
                    return failure.mended();
                }
                failure
            }
            _ if !may_be_a_wish(failure.status, &failure.said) => failure,
            _ => {
                if let Some(lack) = Accepts::named(&failure.said, &sent) {
                    self.accepts.learn(lack, &failure.said);
                    return failure.mended();
                }
                let unnamed = matches!(failure.status, Some(400 | 404 | 405 | 406 | 415 | 422 | 501));
                if unnamed && trial.next(&sent, &failure.said) { failure.mended() } else { failure }
            }
        }
    }

    /// Puts what was found out where the user will read it, each cause once; what ends the run is said at its end.
    fn tell(&self, goes_on: bool) {
        for text in self.accepts.news() {
            self.purse.tell(&text, text.clone());
        }
        let causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let who = format!("{} {}", self.number, self.name);
        let nothing = format!("{who} nothing");
        let worst = causes.iter().max_by_key(|(_, unread)| unread.count);
        if let Some((cause, unread)) = worst.filter(|_| !self.read.load(Ordering::SeqCst)) {
            // Too few to end the run, and the user must not take what is missing for what was found.
            let all: u64 = causes.values().map(|unread| unread.count).sum();
            let text = format!(
                "nothing could be read of what `{}` answered, and all of it is missing: {}. Hint: {}",
                self.name,
                cause.of(all, &unread.purposes, &unread.example),
                cause.hint()
            );
            return if goes_on { self.purse.tell(&nothing, text) } else { self.purse.withdraw(&nothing) };
        }
        self.purse.withdraw(&nothing);
        for (cause, unread) in causes.iter() {
            // What went wrong at the server is worth its words; of answers the count will do.
            let example = if *cause == Cause::Failed { unread.example.as_str() } else { "" };
            let text = format!(
                "`{}`: {}; they count as missing and are asked for again next time",
                self.name,
                cause.of(unread.count, &unread.purposes, example)
            );
            self.purse.tell(&format!("{who} {cause:?}"), text);
        }
    }

    /// What the cache holds of a request's parts, where it would be asked in parts.
    fn kept(&self, bucket: &Bucket, parts: &dyn Fn() -> Vec<Ask>) -> Result<HashMap<Key, Reply>, CacheError> {
        let mut kept = HashMap::new();
        if self.is_in_parts() {
            let keys: Vec<Key> = parts().iter().map(|piece| self.key(piece)).collect();
            bucket.read(&keys, |at, bytes| {
                kept.extend(keys.get(at).copied().zip(serde_json::from_slice(bytes).ok()));
            })?;
        }
        Ok(kept)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one call, some of them lent")]
    #[allow(clippy::too_many_lines, reason = "two closures lend each other the cache and the answers")]
    fn fill(
        &self,
        asks: &[Ask],
        parts: &Parts<'_>,
        keys: &[Key],
        same: &[usize],
        replies: &mut [Option<Reply>],
        store: &mut Option<(Bucket, Space)>,
        readable: &Readable<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), LanguageError> {
        let mut done = 0;
        if let Some((bucket, _)) = store.as_mut() {
            let mut unread = Vec::new();
            bucket.read(keys, |index, bytes| {
                let Some((key, slot)) = keys.get(index).zip(replies.get_mut(index)) else { return };
                match serde_json::from_slice(bytes) {
                    Ok(reply) if readable(index, None, &reply) == Legible::Whole => *slot = Some(reply),
                    // Kept by an earlier version, which kept everything: asked for anew.
                    _ => unread.push(*key),
                }
            })?;
            if !unread.is_empty() {
                bucket.remove(&unread)?;
            }
            if replies.iter().any(Option::is_some) {
                self.read.store(true, Ordering::SeqCst);
                self.gate.expect_answers();
            }
            for (index, ask) in asks.iter().enumerate() {
                if replies[index].is_some() && same[index] == index {
                    self.purse.note(ask.purpose, 1, 0);
                    done += 1;
                }
            }
            self.cached.fetch_add(done as u32, Ordering::SeqCst);
        }
        progress(done);
        let mut waiting: Vec<usize> =
            (0..asks.len()).filter(|&index| replies[index].is_none() && same[index] == index).collect();
        while !waiting.is_empty() {
            let mut queue = waiting.iter();
            let mut others = Vec::new();
            let mut late = Vec::new();
            // Both closures need the cache, one after the other, on this thread.
            let shared = std::cell::RefCell::new(store.as_mut());
            let (replies_cell, done_cell) =
                (std::cell::RefCell::new(&mut *replies), std::cell::Cell::new(done));
            let outcome = for_each::<Job, Answered, LanguageError>(
                self.gate.policy().concurrency,
                &self.gate.policy().context.cancel,
                &mut || {
                    for &index in queue.by_ref() {
                        let claim = match shared.borrow_mut().as_mut() {
                            Some((bucket, _)) => bucket.claim(&keys[index..=index])?.first().copied(),
                            None => Some(Claim::Ours),
                        };
                        match claim {
                            Some(Claim::Ours) => {
                                let kept = match shared.borrow_mut().as_mut() {
                                    Some((bucket, _)) => self.kept(bucket, &|| parts(index))?,
                                    None => HashMap::new(),
                                };
                                return Ok(Some(Job { index, kept }));
                            }
                            Some(Claim::Theirs) => others.push(index),
                            _ => late.push(index),
                        }
                    }
                    Ok(None)
                },
                &|job| {
                    let Job { index, kept } = job;
                    let of = |part: Option<usize>, reply: &Reply| readable(*index, part, reply);
                    Ok(self.answered(&asks[*index], &|| parts(*index), kept, &of))
                },
                &mut |Job { index, .. }, Answered { outcome, parts }| {
                    if let Some((bucket, space)) = shared.borrow_mut().as_mut() {
                        for (key, part) in &parts {
                            let bytes = serde_json::to_vec(part).unwrap_or_default();
                            bucket.put(*space, [(key, bytes.as_slice())])?;
                        }
                    }
                    let reply = outcome?;
                    let read = readable(index, None, &reply) != Legible::Nothing;
                    if !read {
                        self.purse.note(asks[index].purpose, 0, 1);
                    }
                    if let Some((bucket, space)) = shared.borrow_mut().as_mut() {
                        // Only what was read is an answer: what was not may be better tomorrow.
                        if read && !reply.partial {
                            let bytes = serde_json::to_vec(&reply).unwrap_or_default();
                            bucket.put(*space, [(&keys[index], bytes.as_slice())])?;
                        } else {
                            bucket.release(&keys[index..=index])?;
                        }
                    }
                    replies_cell.borrow_mut()[index] = Some(reply);
                    done_cell.set(done_cell.get() + 1);
                    progress(done_cell.get());
                    Ok(())
                },
            );
            done = done_cell.get();
            if let Err(error) = outcome {
                // So that another process need not wait for this one to end.
                if let Some((bucket, _)) = store.as_mut() {
                    let open: Vec<Key> =
                        waiting.iter().filter(|&&i| replies[i].is_none()).map(|&i| keys[i]).collect();
                    bucket.release(&open)?;
                }
                return Err(error);
            }
            if let Some((bucket, _)) = store.as_ref() {
                let late_keys: Vec<Key> = late.iter().map(|&index| keys[index]).collect();
                bucket.read(&late_keys, |at, bytes| {
                    if let Ok(reply) = serde_json::from_slice(bytes) {
                        replies[late[at]] = Some(reply);
                    }
                })?;
                for &index in &late {
                    if replies[index].is_some() {
                        self.purse.note(asks[index].purpose, 1, 0);
                        done += 1;
                    }
                }
                progress(done);
            }
            waiting = others;
            if !waiting.is_empty() {
                // Another run asks the same. If it dies, its claims are worth nothing and we take them over.
                let cancel = &self.gate.policy().context.cancel;
                let _graceful = cancel.graceful_shutdown();
                std::thread::sleep(LOOK);
                if cancel.requested() {
                    return Err(NetError::Stopped.into());
                }
            }
        }
        Ok(())
    }
}

/// An example, behind what it is one of; nothing where there is none.
fn such_as(example: &str) -> String {
    let line = one_line(example, QUOTED);
    if line.is_empty() { String::new() } else { format!(", such as “{line}”") }
}

/// Whether a failure, of a server that answers others, is about one request alone: tried often, or refused for what is
/// in it.
fn is_of_one(failure: &Failure, attempts: u32) -> bool {
    match failure.kind {
        FailureKind::Again => failure.reached && attempts >= ATTEMPTS_FOR_ONE,
        FailureKind::Fatal(_) => matches!(failure.status, Some(400 | 422)),
        _ => false,
    }
}

/// Whether a refusal is about what the texts say, so that no other form of the request helps.
fn is_filtered(failure: &Failure) -> bool {
    const WORDS: &[&str] = &[
        "content_filter",
        "content filter",
        "content management policy",
        "content policy",
        "responsibleai",
        "data_inspection",
        "inappropriate content",
        "flagged",
        "moderation",
    ];
    let lower = failure.said.to_lowercase();
    matches!(failure.status, Some(400 | 403 | 422)) && WORDS.iter().any(|words| lower.contains(words))
}

/// What a server answered.
fn reply(value: &Value) -> Result<Reply, Failure> {
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        let said = said_in(value).unwrap_or_else(|| "no message".into());
        let said = one_line(&said, 200);
        let status = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let message = format!("the server answered with an error: {said}");
        return Err(Failure { status, said, ..Failure::odd(message, 200) });
    }
    let choice = value.get("choices").and_then(|choices| choices.get(0)).ok_or_else(|| Failure {
        hint: CHOICES_HINT,
        ..Failure::odd("the server's answer has no `choices`", 200)
    })?;
    let message = choice.get("message");
    let content = message.and_then(|message| message.get("content"));
    let text = match content {
        Some(Value::String(text)) => text.clone(),
        // Parts, as some gateways give them.
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        _ => String::new(),
    };
    let holds = |name: &str| {
        let value = message.and_then(|message| message.get(name));
        value.is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
    };
    let end = choice.get("finish_reason").and_then(Value::as_str).unwrap_or_default();
    let is_empty = text.trim().is_empty();
    let cause = match end {
        "content_filter" => Some(Cause::Refusal),
        _ if is_empty && holds("refusal") => Some(Cause::Refusal),
        "length" | "max_tokens" | "MAX_TOKENS" => Some(Cause::Cut),
        _ if is_empty && (holds("reasoning_content") || holds("reasoning")) => Some(Cause::Thought),
        _ if is_empty => Some(Cause::Empty),
        _ => None,
    };
    let pair =
        |value: &Value| Some((value.get("token")?.as_str()?.to_owned(), value.get("logprob")?.as_f64()?));
    let tokens = choice
        .get("logprobs")
        .and_then(|logprobs| logprobs.get("content"))
        .and_then(Value::as_array)
        .map(|tokens| {
            let one = |token: &Value| {
                let top = token.get("top_logprobs").and_then(Value::as_array);
                let top = top.map(|top| top.iter().filter_map(pair).collect()).unwrap_or_default();
                Some((token.get("token")?.as_str()?.to_owned(), top))
            };
            tokens.iter().filter_map(one).collect()
        })
        .unwrap_or_default();
    let count = |name: &str| value.get("usage").and_then(|usage| usage.get(name)).and_then(Value::as_u64);
    let usage = count("prompt_tokens").zip(count("completion_tokens"));
    Ok(Reply { text, tokens, usage, cause, ..Reply::default() })
}

#[cfg(test)]
mod tests;
