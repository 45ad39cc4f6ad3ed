//! What a server was found to refuse, and how a request is written so that it takes it: one table, learnt per server
//! and model, and kept.
//!
//! A refusal that names a wish of ours ("Unsupported parameter: temperature") is believed at once. One that names
//! none is tried out: the request without each wish alone, then without all. What was learnt is *proven*, and kept
//! in the cache, once a request that was mended so has been answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::one_line;
use crate::cache::{Cache, Key, SERVERS, key};

/// Something that a server may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lack {
    /// Probabilities of an answer's tokens.
    Probabilities,
    /// An answer held to a JSON schema, the way OpenAI names it.
    Schema,
    /// An answer held to be a JSON object.
    Object,
    /// A temperature.
    Temperature,
    /// `max_tokens`, which newer models call `max_completion_tokens`.
    MaxTokens,
    /// Any limit on an answer's length.
    Room,
    /// A system's message.
    System,
    /// `encoding_format` of embeddings.
    Encoding,
    /// An address without a slash at its end.
    Slash,
    /// The usual room for an answer: the model thinks longer first.
    Thinks,
    /// A context that holds a whole call.
    Context,
    /// Larger batches than this.
    Batch(usize),
}

/// One line of the table.
struct Row {
    lack: Lack,
    /// Its name in the cache.
    name: &'static str,
    /// Where the wish stands in a request; none where it is no wish of ours.
    field: Option<&'static str>,
    /// Words by which a refusal names it.
    words: &'static [&'static str],
    /// What is done instead, for the user.
    told: &'static str,
}

/// The table. A row's wish is looked for before those below it: `max_tokens` stands in both rows' messages.
const TABLE: &[Row] = &[
    Row {
        lack: Lack::Probabilities,
        name: "logprobs",
        field: Some("logprobs"),
        words: &["logprob", "log prob", "log-prob"],
        told: "gives no probabilities of its words; verdicts are taken as they are said",
    },
    Row {
        lack: Lack::Schema,
        name: "json_schema",
        field: Some("response_format"),
        words: &["response_format", "json_schema", "grammar", "structured output", "guided"],
        told: "does not hold answers to a JSON schema; it is asked for a JSON object",
    },
    Row {
        lack: Lack::Object,
        name: "json_object",
        field: Some("response_format"),
        words: &["response_format", "json_object", "json mode", "grammar", "structured output", "guided"],
        told: "does not hold answers to a form; they are read as they come",
    },
    Row {
        lack: Lack::Temperature,
        name: "temperature",
        field: Some("temperature"),
        words: &["temperature"],
        told: "takes no temperature; its own is used",
    },
    Row {
        lack: Lack::MaxTokens,
        name: "max_tokens",
        field: Some("max_tokens"),
        words: &["max_completion_tokens"],
        told: "wants `max_completion_tokens` in place of `max_tokens`",
    },
    Row {
        lack: Lack::Room,
        name: "any max_tokens",
        field: Some("max_tokens|max_completion_tokens"),
        words: &["max_tokens", "max_completion_tokens", "max_new_tokens", "completion tokens"],
        told: "takes no limit on an answer's length as large as ours; none is sent",
    },
    Row {
        lack: Lack::System,
        name: "system",
        field: Some("messages.system"),
        words: &[
            "system role",
            "system message",
            "system prompt",
            "role system",
            "role 'system'",
            "role \"system\"",
            "role `system`",
            "'system'",
            "`system`",
            "\"system\"",
            "roles must alternate",
            "developer instruction",
            "system instruction",
            "only user and assistant roles",
        ],
        told: "knows no system's message; the instructions stand in the user's",
    },
    Row {
        lack: Lack::Encoding,
        name: "encoding_format",
        field: Some("encoding_format"),
        words: &["encoding_format", "encoding format"],
        told: "does not know `encoding_format`; it is left out",
    },
    Row {
        lack: Lack::Slash,
        name: "slash",
        field: None,
        words: &[],
        told: "sends on to the same address with a slash at its end; that one is asked",
    },
    Row {
        lack: Lack::Thinks,
        name: "thinks",
        field: None,
        words: &[],
        told: "ran out of room while it was thinking; its answers get eight times as much",
    },
    Row {
        lack: Lack::Context,
        name: "context",
        field: None,
        words: &[],
        told: "does not read several pairs in one call; it is asked pair by pair",
    },
];

/// Statuses by which servers refuse a wish; 404 only where they say that they do not support it.
pub fn may_be_a_wish(status: Option<u16>, said: &str) -> bool {
    match status {
        Some(400 | 403 | 405 | 406 | 415 | 422 | 500 | 501) => true,
        Some(404) => said.to_lowercase().contains("support"),
        _ => false,
    }
}

/// How long the cache is believed: servers get better.
const BELIEVED_DAYS: u64 = 30;

/// What one model at one server was found to lack.
#[derive(Debug)]
pub struct Accepts {
    learnt: Mutex<BTreeMap<Lack, Lesson>>,
    /// Who it is, for keys and for people.
    base: String,
    model: String,
    cache: Option<Cache>,
}

#[derive(Debug, Default)]
struct Lesson {
    /// What the server said, on one line.
    said: String,
    /// A request without it was answered.
    proven: bool,
    /// It was known before this run, or was said in it.
    known: bool,
}

/// The name of the largest batch in the cache; the number is in the entry, before what the server said.
const BATCH: &str = "largest batch";
/// Characters of what a server said that are kept and said.
const SAID: usize = 160;

impl Accepts {
    /// With what the cache knows of this model at this server.
    pub fn open(base: &str, model: &str, cache: Option<&Cache>) -> Self {
        let mut learnt = BTreeMap::new();
        // Nothing depends on it but a few requests: a cache that cannot be read is none.
        if let Some(bucket) = cache.and_then(|cache| cache.bucket(SERVERS).ok()) {
            let names: Vec<&str> = TABLE.iter().map(|row| row.name).chain([BATCH]).collect();
            let keys: Vec<Key> = names.iter().map(|name| address(base, model, name)).collect();
            let _ = bucket.read(&keys, |at, said| {
                let said = String::from_utf8_lossy(said).into_owned();
                let known = match TABLE.get(at) {
                    Some(row) => Some((row.lack, said)),
                    None => said
                        .split_once(' ')
                        .and_then(|(most, said)| Some((Lack::Batch(most.parse().ok()?), said.to_owned()))),
                };
                learnt.extend(known.map(|(lack, said)| (lack, Lesson { said, proven: true, known: true })));
            });
        }
        let cache = cache.cloned();
        Self { learnt: Mutex::new(learnt), base: base.into(), model: model.into(), cache }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Lack, Lesson>> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that it lacks.
    pub fn lacks(&self) -> BTreeSet<Lack> {
        self.lock().keys().copied().collect()
    }

    /// The largest batch that it takes, as far as known.
    pub fn batch(&self) -> usize {
        let limit = |lack: &Lack| match lack {
            Lack::Batch(most) => Some(*most),
            _ => None,
        };
        self.lock().keys().filter_map(limit).min().unwrap_or(usize::MAX)
    }

    /// Which wishes of the request a refusal names; the first of the table that was sent.
    pub fn named(said: &str, sent: &Value) -> Option<Lack> {
        let lower = said.to_lowercase();
        let names = |row: &&Row| row.words.iter().any(|word| lower.contains(word));
        TABLE.iter().filter(|row| sent_in(row.lack, sent)).find(names).map(|row| row.lack)
    }

    /// The wishes of a request, for a refusal that names none.
    pub fn wishes(sent: &Value) -> Vec<Lack> {
        TABLE.iter().map(|row| row.lack).filter(|lack| sent_in(*lack, sent)).collect()
    }

    /// From now on requests are written without it.
    pub fn learn(&self, lack: Lack, said: &str) {
        let lesson = Lesson { said: one_line(said, SAID), ..Lesson::default() };
        let mut learnt = self.lock();
        if let Lack::Batch(most) = lack {
            // Only the smallest counts.
            if learnt.keys().any(|known| matches!(known, Lack::Batch(known) if *known <= most)) {
                return;
            }
            learnt.retain(|known, _| !matches!(known, Lack::Batch(_)));
        }
        learnt.entry(lack).or_insert(lesson);
    }

    /// A request without these was answered: they are kept for the next run.
    pub fn prove(&self, lacks: impl IntoIterator<Item = Lack>) {
        let mut fresh = Vec::new();
        {
            let mut learnt = self.lock();
            for lack in lacks {
                if let Some(lesson) = learnt.get_mut(&lack)
                    && !lesson.proven
                {
                    lesson.proven = true;
                    fresh.push(match lack {
                        Lack::Batch(most) => (self.address(BATCH), format!("{most} {}", lesson.said)),
                        lack => (self.address(named(lack)), lesson.said.clone()),
                    });
                }
            }
        }
        if fresh.is_empty() {
            return;
        }
        let keep = |cache: &Cache| -> Result<(), crate::cache::CacheError> {
            let mut bucket = cache.bucket(SERVERS)?;
            let space = bucket.space(&format!("{} at {}", self.model, self.base))?;
            // A larger batch may stand there from before.
            let keys: Vec<Key> = fresh.iter().map(|(key, _)| *key).collect();
            bucket.remove(&keys)?;
            bucket.put(space, fresh.iter().map(|(key, said)| (key, said.as_bytes())))
        };
        // Not kept, it is learnt again.
        let _ = self.cache.as_ref().map(keep);
    }

    fn address(&self, name: &str) -> Key {
        address(&self.base, &self.model, name)
    }

    /// What was found out since this was last asked, in sentences.
    pub fn news(&self) -> Vec<String> {
        let mut learnt = self.lock();
        let told = |(lack, lesson): (&Lack, &mut Lesson)| {
            if lesson.known || !lesson.proven {
                return None;
            }
            lesson.known = true;
            let what = match lack {
                Lack::Batch(1) => "takes no more than 1 text at once".to_owned(),
                Lack::Batch(most) => format!("takes no more than {most} texts at once"),
                lack => TABLE.iter().find(|row| row.lack == *lack)?.told.to_owned(),
            };
            let said =
                if lesson.said.is_empty() { String::new() } else { format!(" (it said: {})", lesson.said) };
            Some(format!("`{}` at `{}` {what}{said}", self.model, self.base))
        };
        learnt.iter_mut().filter_map(told).collect()
    }
}

/// Whether a wish stands in a request.
fn sent_in(lack: Lack, sent: &Value) -> bool {
    let format = || sent.get("response_format").and_then(|format| format.get("type")).and_then(Value::as_str);
    match lack {
        Lack::Schema => format() == Some("json_schema"),
        Lack::Object => format() == Some("json_object"),
        Lack::System => sent
            .get("messages")
            .and_then(|messages| messages.get(0)?.get("role")?.as_str())
            .is_some_and(|role| role == "system"),
        lack => TABLE
            .iter()
            .find(|row| row.lack == lack)
            .and_then(|row| row.field)
            .is_some_and(|fields| fields.split('|').any(|field| sent.get(field).is_some())),
    }
}

fn named(lack: Lack) -> &'static str {
    TABLE.iter().find(|row| row.lack == lack).map_or("", |row| row.name)
}

fn address(base: &str, model: &str, name: &str) -> Key {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs() / 86_400);
    let period = (days / BELIEVED_DAYS).to_string();
    key(&[b"accepts 1", base.as_bytes(), model.as_bytes(), name.as_bytes(), period.as_bytes()])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_in_the_words_of_real_servers_name_the_wish() {
        let chat = json!({
            "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": "u" }],
            "temperature": 0, "max_tokens": 100, "logprobs": true, "top_logprobs": 5,
            "response_format": { "type": "json_schema", "json_schema": {} },
        });
        for (said, lack) in [
            // OpenAI's reasoning models.
            ("You are not allowed to request logprobs from this model", Lack::Probabilities),
            (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                Lack::MaxTokens,
            ),
            (
                "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
                Lack::Temperature,
            ),
            ("Invalid parameter: 'response_format' of type 'json_schema' is not supported", Lack::Schema),
            // vLLM with Gemma's and Mistral's templates.
            ("System role not supported", Lack::System),
            ("Conversation roles must alternate user/assistant/user/assistant/...", Lack::System),
            // Google.
            ("Developer instruction is not enabled for models/gemma-3-4b-it", Lack::System),
            ("max_tokens must be less than or equal to 1024", Lack::Room),
        ] {
            assert_eq!(Accepts::named(said, &chat), Some(lack), "{said}");
        }
        assert_eq!(Accepts::named("This is not allowed", &chat), None);
        // What was not sent cannot be the cause.
        assert_eq!(Accepts::named("temperature", &json!({ "model": "m" })), None);
        assert_eq!(
            Accepts::named("unknown field `encoding_format`", &json!({ "encoding_format": "float" })),
            Some(Lack::Encoding)
        );
    }

    #[test]
    fn what_was_proven_is_kept_per_server_and_model_and_what_was_not_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let first = Accepts::open("http://a/v1", "m", Some(&cache));
        assert_eq!(first.batch(), usize::MAX);
        first.learn(Lack::Temperature, "no\ntemperature");
        first.learn(Lack::Schema, "perhaps");
        first.learn(Lack::Batch(32), "at most 32");
        first.prove([Lack::Temperature, Lack::Batch(32), Lack::Room]);
        let told = first.news();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("`m` at `http://a/v1`") && told[0].contains("no temperature"), "{told:?}");
        assert!(first.news().is_empty(), "it is said once");

        let again = Accepts::open("http://a/v1", "m", Some(&cache));
        assert_eq!(again.lacks(), BTreeSet::from([Lack::Temperature, Lack::Batch(32)]));
        assert_eq!(again.batch(), 32);
        assert!(again.news().is_empty(), "known already");
        // A smaller batch takes the place of a larger one, of whatever size, and is said alone.
        for most in [40, 30, 7, 11] {
            again.learn(Lack::Batch(most), &format!("no more than {most} {}", "word ".repeat(100)));
        }
        again.prove(again.lacks());
        let told = again.news();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("no more than 7 texts at once") && told[0].ends_with("…)"), "{told:?}");
        assert_eq!(Accepts::open("http://a/v1", "m", Some(&cache)).batch(), 7);
        assert!(Accepts::open("http://b/v1", "m", Some(&cache)).lacks().is_empty());
        assert!(Accepts::open("http://a/v1", "n", Some(&cache)).lacks().is_empty());
    }
}
