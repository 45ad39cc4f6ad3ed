//! A chat model behind an OpenAI-compatible server: each request is paid once, kept at once, and asked again
//! only where nothing came back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answers::Said;
pub use super::ask::Ask;
use super::spending::{Budget, LIMIT_HINT, Price};
use super::tokens;
use crate::cache::{ANSWERS, Bucket, Cache, CacheError, Claim, Key, Space, key};
use crate::net::{Client, Endpoint, Failure, FailureKind, Gate, NetError, Policy, for_each};

/// How often the answer to a request is asked for, when nothing in it can be read.
const READINGS: u32 = 4;
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
}

impl Reply {
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

/// What the server was found to take; everything at first.
#[derive(Debug)]
struct Takes {
    /// [`JSON_SCHEMA`], [`JSON_OBJECT`], or 0 for neither.
    schema: AtomicU8,
    probabilities: AtomicBool,
    temperature: AtomicBool,
    room: AtomicBool,
}

/// The server holds the model to a schema, the way OpenAI names it.
const JSON_SCHEMA: u8 = 2;
/// It knows JSON objects, and perhaps a schema beside them, as llama.cpp's Python server does.
const JSON_OBJECT: u8 = 1;

impl Takes {
    fn all() -> Self {
        let yes = || AtomicBool::new(true);
        Self { schema: AtomicU8::new(JSON_SCHEMA), probabilities: yes(), temperature: yes(), room: yes() }
    }

    /// How the wished-for schema was sent.
    fn sent_schema(sent: &Value) -> Option<u8> {
        match sent.get("response_format")?.get("type")?.as_str()? {
            "json_schema" => Some(JSON_SCHEMA),
            _ => Some(JSON_OBJECT),
        }
    }

    /// Learns from a refusal: which of our wishes it names, or all of them where it names none and is one
    /// of the request (`all`). Whether there is something left to try.
    fn learn(&self, message: &str, sent: &Value, all: bool) -> bool {
        let lower = message.to_lowercase();
        let wishes: [(Option<&AtomicBool>, &str, &[&str]); 4] = [
            (None, "response_format", &["response_format", "json_schema", "grammar"]),
            (Some(&self.probabilities), "logprobs", &["logprobs"]),
            (Some(&self.temperature), "temperature", &["temperature"]),
            (Some(&self.room), "max_tokens", &["max_tokens", "max_completion_tokens"]),
        ];
        let mut drop: Vec<_> = wishes.iter().filter(|(_, field, _)| sent.get(field).is_some()).collect();
        let names = |(_, _, words): &&(_, _, &[&str])| words.iter().any(|word| lower.contains(word));
        if drop.iter().any(names) {
            drop.retain(names);
        } else if !all {
            return false;
        }
        for (flag, ..) in &drop {
            match flag {
                Some(flag) => flag.store(false, Ordering::Relaxed),
                // One step down from what was sent; another request may have gone further meanwhile.
                None => {
                    let next = Self::sent_schema(sent).unwrap_or(JSON_OBJECT).saturating_sub(1);
                    self.schema.fetch_min(next, Ordering::Relaxed);
                }
            }
        }
        !drop.is_empty()
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
    takes: Takes,
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
        let client = Client::new(endpoint, &policy);
        let takes = Takes::all();
        let gate = Gate::new(policy);
        let line = Line { client, gate, name: name.to_owned(), params, price, purse, takes };
        Ok(Self { line, store })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.line.name
    }

    /// The answers to the requests, in their order, each from the cache or the server.
    ///
    /// `readable` says whether anything in an answer can be read; one without is asked for again a few times.
    /// `progress` hears how many are done.
    ///
    /// # Errors
    /// Where the server gives out, a limit is reached or the user stops; what was answered is kept.
    pub fn ask(
        &mut self,
        asks: &[Ask],
        readable: &(dyn Fn(usize, &Reply) -> bool + Sync),
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Reply>, LanguageError> {
        let keys: Vec<Key> = asks.iter().map(|ask| self.line.key(ask)).collect();
        let mut replies: Vec<Option<Reply>> = vec![None; asks.len()];
        // The same request twice is one request.
        let mut first: HashMap<Key, usize> = HashMap::new();
        let same: Vec<usize> =
            keys.iter().enumerate().map(|(i, key)| *first.entry(*key).or_insert(i)).collect();
        let outcome = self.line.fill(asks, &keys, &same, &mut replies, &mut self.store, readable, progress);
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

    fn body(&self, ask: &Ask) -> Value {
        let on = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let mut body = Map::new();
        body.insert("model".into(), self.name.as_str().into());
        body.insert(
            "messages".into(),
            json!([{ "role": "system", "content": ask.system }, { "role": "user", "content": ask.user }]),
        );
        if on(&self.takes.temperature) {
            body.insert("temperature".into(), 0.into());
        }
        if on(&self.takes.room) && !self.params.contains_key("max_completion_tokens") {
            // Enough for a model that thinks first; a model that never ends is ended.
            body.insert("max_tokens".into(), (2048 + 4 * ask.room).into());
        }
        if let Some(schema) = &ask.schema {
            let named = json!({ "name": "answer", "strict": true, "schema": schema });
            let format = match self.takes.schema.load(Ordering::Relaxed) {
                JSON_SCHEMA => Some(json!({ "type": "json_schema", "json_schema": named })),
                JSON_OBJECT => Some(json!({ "type": "json_object", "schema": schema })),
                _ => None,
            };
            body.extend(format.map(|format| ("response_format".to_owned(), format)));
        }
        if ask.graded && on(&self.takes.probabilities) {
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

    /// One request until it is answered, and again where nothing in the answer can be read.
    fn answered(&self, ask: &Ask, readable: &(dyn Fn(&Reply) -> bool + Sync)) -> Result<Reply, NetError> {
        let mut last = Reply::default();
        let mut reading = 0;
        while reading < READINGS {
            let mut body = Value::Null;
            let outcome = self.gate.with_retries(&format!("{} {reading}", ask.version), || {
                body = self.body(ask);
                self.purse.take(ask.purpose)?;
                let reply = self.client.post("chat/completions", &body).and_then(|value| reply(&value));
                match &reply {
                    Ok(reply) => {
                        let (tokens_in, tokens_out) = reply.usage.unwrap_or_else(|| {
                            (
                                tokens::estimate(&ask.system) + tokens::estimate(&ask.user),
                                tokens::estimate(&reply.text),
                            )
                        });
                        self.purse.pay(ask.purpose, tokens_in, tokens_out, self.price);
                    }
                    Err(failure) => {
                        self.purse.failed();
                        // Some servers call a wish that they do not know a failure of their own (500).
                        if matches!(failure.kind, FailureKind::Again) {
                            self.takes.learn(&failure.message, &body, false);
                        }
                    }
                }
                reply
            });
            last = match outcome {
                Ok(reply) => reply,
                // Perhaps it is one of our wishes that the server does not know.
                Err(NetError::Refused { message, hint })
                    if hint != LIMIT_HINT
                        && [" 400", " 422", " 404", " 501"].iter().any(|status| message.contains(status))
                        && !message.contains(" 404") | message.to_lowercase().contains("support")
                        && self.takes.learn(&message, &body, true) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            if readable(&last) {
                return Ok(last);
            }
            reading += 1;
        }
        Ok(last)
    }

    #[allow(clippy::too_many_arguments)] // the parts of one call, some of them lent
    fn fill(
        &self,
        asks: &[Ask],
        keys: &[Key],
        same: &[usize],
        replies: &mut [Option<Reply>],
        store: &mut Option<(Bucket, Space)>,
        readable: &(dyn Fn(usize, &Reply) -> bool + Sync),
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), LanguageError> {
        let mut done = 0;
        if let Some((bucket, _)) = store.as_ref() {
            bucket.read(keys, |index, bytes| {
                if let (Ok(reply), Some(slot)) = (serde_json::from_slice(bytes), replies.get_mut(index)) {
                    *slot = Some(reply);
                }
            })?;
            for (index, ask) in asks.iter().enumerate() {
                if replies[index].is_some() && same[index] == index {
                    self.purse.note(ask.purpose, 1, 0);
                    done += 1;
                }
            }
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
            let outcome = for_each::<usize, Reply, LanguageError>(
                self.gate.policy().concurrency,
                &self.gate.policy().cancel,
                &mut || {
                    for &index in queue.by_ref() {
                        let claim = match shared.borrow_mut().as_mut() {
                            Some((bucket, _)) => bucket.claim(&keys[index..=index])?.first().copied(),
                            None => Some(Claim::Ours),
                        };
                        match claim {
                            Some(Claim::Ours) => return Ok(Some(index)),
                            Some(Claim::Theirs) => others.push(index),
                            _ => late.push(index),
                        }
                    }
                    Ok(None)
                },
                &|&index| self.answered(&asks[index], &|reply| readable(index, reply)),
                &mut |index, reply| {
                    if !readable(index, &reply) {
                        self.purse.note(asks[index].purpose, 0, 1);
                    }
                    if let Some((bucket, space)) = shared.borrow_mut().as_mut() {
                        let bytes = serde_json::to_vec(&reply).unwrap_or_default();
                        bucket.put(*space, [(&keys[index], bytes.as_slice())])?;
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
                let cancel = &self.gate.policy().cancel;
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

/// What a server answered.
fn reply(value: &Value) -> Result<Reply, Failure> {
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        let said = error.get("message").and_then(Value::as_str).unwrap_or("no message");
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(Failure::again(format!("the server answered with an error: {said}")));
    }
    let choice = value
        .get("choices")
        .and_then(|choices| choices.get(0))
        .ok_or_else(|| Failure::again("the server's answer has no `choices`"))?;
    let content = choice.get("message").and_then(|message| message.get("content"));
    let text = match content {
        Some(Value::String(text)) => text.clone(),
        // Parts, as some gateways give them.
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        _ => String::new(),
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
    Ok(Reply { text, tokens, usage })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_graded_by_its_tokens() {
        let text = "{\"p\": {\"s1\": \"A\"}}";
        let at = text.find("A\"").unwrap();
        let tokens = |word: &str, top: Vec<(&str, f64)>| {
            vec![
                (text[..at].to_owned(), vec![]),
                (word.to_owned(), top.into_iter().map(|(t, p)| (t.to_owned(), p.ln())).collect()),
                ("\"}}".to_owned(), vec![]),
            ]
        };
        let reply = |tokens| Reply { text: text.into(), tokens, usage: None };
        let sure = reply(tokens("A", vec![("A", 0.7), ("B", 0.2), ("tie", 0.1)]));
        assert!((sure.grade(Said::A, at) - 0.5).abs() < 1e-6);
        let odd = reply(tokens("X", vec![("A", 0.7)]));
        assert_eq!(odd.grade(Said::A, at), 1.0, "tokens that are not the text are not believed");
        let other = reply(tokens("A", vec![("zebra", 0.9), ("A", 0.05)]));
        assert_eq!(other.grade(Said::A, at), 1.0);
        assert_eq!(reply(vec![]).grade(Said::Tie, at), 0.0);
    }
}
