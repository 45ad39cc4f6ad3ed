//! Against a server that gives embeddings, and one that gives them badly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::cache::Cache;
use crate::embed::dataset::tests::{Silent, pairs_of};
use crate::embed::{Embedding, Recipe};
use crate::pairs::Pairs;
use crate::support::{Answer, Request, Server};

/// Length of the server's vectors.
const DIMENSIONS: usize = 8;

/// What a text's vector is.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let hash = crate::cache::key(&[text.as_bytes()]);
    (0..dimensions).map(|i| f32::from(hash[i % 32]) / 255.0 - 0.5).collect()
}

fn inputs(request: &Request) -> Vec<String> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    serde_json::from_value(body["input"].clone()).unwrap()
}

/// A good answer; out of order, as the numbers allow.
fn answer(request: &Request, dimensions: usize) -> Answer {
    let inputs = inputs(request);
    let mut data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, text)| json!({ "object": "embedding", "index": index, "embedding": vector(text, dimensions) }))
        .collect();
    data.reverse();
    let tokens: usize = inputs.iter().map(|text| text.split_whitespace().count()).sum();
    let body = json!({ "object": "list", "data": data, "model": "m",
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens } });
    Answer::json(body.to_string())
}

fn settings() -> EmbedConfig {
    EmbedConfig { batch_texts: 5, ..EmbedConfig::default() }
}

fn embedder(server: &Server, settings: &EmbedConfig) -> RemoteEmbedder {
    let policy = Policy {
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(20),
        timeout: Duration::from_secs(6),
        concurrency: 6,
        ..Policy::default()
    };
    let endpoint = Endpoint::new(&format!("{}/v1", server.url()), None).unwrap();
    RemoteEmbedder::with_policy("m", settings, endpoint, policy, None).unwrap()
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("text number {i} {}", "and more ".repeat(i % 7))).collect()
}

fn rows(found: &Matrix) -> Vec<Vec<f32>> {
    (0..found.rows()).map(|row| found.row(row).to_vec()).collect()
}

#[test]
fn vectors_come_back_in_the_order_of_the_texts() {
    let server = Server::start(|request| answer(request, DIMENSIONS));
    let embedder = embedder(&server, &settings());
    assert_eq!(embedder.dimensions(), None);
    let texts = texts(43);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = embedder.embed(&texts).unwrap();
    assert_eq!(rows(&found), texts.iter().map(|text| vector(text, DIMENSIONS)).collect::<Vec<_>>());
    assert_eq!(embedder.dimensions(), Some(DIMENSIONS));
    let usage = embedder.usage();
    assert_eq!((usage.texts, usage.requests), (43, 9));
    assert_eq!(usage.tokens, texts.iter().map(|text| text.split_whitespace().count() as u64).sum::<u64>());
    let body: Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    assert_eq!((&body["model"], &body["encoding_format"]), (&json!("m"), &json!("float")));
    assert!(server.requests().iter().all(|request| request.path == "/v1/embeddings"));
}

/// Faults of every kind for three requests in ten; what they were is decided by the server alone.
fn faulty(paid: Arc<Mutex<BTreeMap<String, usize>>>) -> Server {
    Server::start(move |request| {
        let kind = request.number * 7919 % 100;
        match kind {
            0..5 => Answer::error(429, "slow down").header("retry-after", "0.01"),
            5..10 => Answer::error(500, "oh no"),
            // Slower than we wait: a few, as each takes that long.
            10..13 if request.number < 100 => Answer::json("{}").after(Duration::from_secs(8)),
            13..18 => answer(request, DIMENSIONS).cut(40),
            18..23 => answer(request, DIMENSIONS - 1),
            23..25 => Answer::json(r#"{"data":[]}"#),
            25..28 => Answer::silent(),
            28..30 => Answer::new(200, "text/html", "<html>hello</html>"),
            _ => {
                for text in inputs(request) {
                    *paid.lock().unwrap().entry(text).or_default() += 1;
                }
                answer(request, DIMENSIONS)
            }
        }
    })
}

#[test]
fn with_three_faults_in_ten_the_result_is_that_without_and_nothing_is_paid_twice() {
    let texts = texts(400);
    let pairs: Vec<(&str, &str)> =
        texts.chunks_exact(2).map(|two| (two[0].as_str(), two[1].as_str())).collect();
    let pairs = pairs_of(&pairs);
    let recipe = Recipe::default();
    let deltas = |embedder: &RemoteEmbedder, folder: &tempfile::TempDir| {
        let cache = Cache::at(folder.path());
        let mut embedding = Embedding::with_cache(&pairs, embedder, &recipe, &cache).unwrap();
        let deltas = embedding.deltas(&mut Silent).unwrap();
        (deltas, embedding.record)
    };
    let well = Server::start(|request| answer(request, DIMENSIONS));
    let (wanted, _) = deltas(&embedder(&well, &settings()), &tempfile::tempdir().unwrap());

    let paid = Arc::new(Mutex::new(BTreeMap::new()));
    let server = faulty(paid.clone());
    let folder = tempfile::tempdir().unwrap();
    let (found, record) = deltas(&embedder(&server, &settings()), &folder);
    assert_eq!(found, wanted);
    assert_eq!((record.texts, record.embedded, record.from_cache), (400, 400, 0));
    let asked = server.count();
    assert!(asked > 100, "{asked} requests: there were faults");
    {
        let paid = paid.lock().unwrap();
        assert_eq!(paid.len(), 400);
        assert!(paid.values().all(|times| *times == 1), "{paid:?}");
    }
    // Once more: nothing is asked at all.
    let (found, record) = deltas(&embedder(&server, &settings()), &folder);
    assert_eq!((found, server.count()), (wanted, asked));
    assert_eq!((record.embedded, record.from_cache, record.requests), (0, 400, 0));
}

#[test]
fn the_first_answer_may_be_the_wrong_one() {
    // The very first vectors have another length than all that follow.
    let server = Server::start(|request| {
        answer(request, if request.number == 0 { DIMENSIONS + 4 } else { DIMENSIONS })
    });
    let texts = texts(30);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = embedder(&server, &settings()).embed(&texts).unwrap();
    assert_eq!(rows(&found), texts.iter().map(|text| vector(text, DIMENSIONS)).collect::<Vec<_>>());
}

#[test]
fn a_server_that_always_gives_another_length_than_asked_for_is_named() {
    let server = Server::start(|request| answer(request, DIMENSIONS));
    let settings = EmbedConfig { dimensions: Some(3), ..settings() };
    let error = embedder(&server, &settings).embed(&["a", "b"]).unwrap_err().to_string();
    assert!(error.contains("8 dimensions where 3 are due") && error.contains("hint:"), "{error}");
    let body: Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    assert_eq!(body["dimensions"], json!(3));
}

#[test]
fn what_is_too_large_is_sent_in_halves_and_at_last_cut() {
    let server = Server::start(|request| {
        let bytes: usize = inputs(request).iter().map(String::len).sum();
        match bytes {
            0..100 => answer(request, DIMENSIONS),
            _ => Answer::error(400, "This model's maximum context length is 25 tokens"),
        }
    });
    let embedder = embedder(&server, &settings());
    let long = "é".repeat(200);
    let texts = ["a", &long, "c", &"d".repeat(60), &"e".repeat(60)];
    let found = embedder.embed(&texts).unwrap();
    let kept = ["a", &"é".repeat(25), "c", texts[3], texts[4]];
    for (row, text) in kept.iter().enumerate() {
        // 400 bytes halved to 200, 100, 50.
        assert_eq!(found.row(row), vector(text, DIMENSIONS), "{text}");
    }
    assert_eq!(embedder.usage().cut, 1);
}

/// Everything that a server may refuse, in its own words: the slash, `encoding_format`, batches, long texts.
#[test]
fn a_server_that_refuses_everything_in_turn_gives_the_same_vectors() {
    let texts: Vec<String> = texts(70);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    for (status, said) in [
        (413, "batch size 5 > maximum allowed batch size 2"),
        (400, "'input' array too long. Expected an array with maximum length 2"),
        (422, "Invalid 'input': too many texts"),
        (400, "no"),
    ] {
        let refused = Arc::new(Mutex::new(0));
        let count = refused.clone();
        let server = Server::start(move |request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let fail = |answer| {
                *count.lock().unwrap() += 1;
                answer
            };
            if !request.path.ends_with('/') {
                return fail(Answer::new(307, "", "").header("location", "/v1/embeddings/"));
            }
            if body.get("encoding_format").is_some() {
                return fail(Answer::new(
                    422,
                    "application/json",
                    r#"{"error":"unknown field `encoding_format`"}"#,
                ));
            }
            if inputs(request).len() > 2 {
                return fail(Answer::error(status, said));
            }
            // Vectors in each of the forms that there are.
            let data: Vec<Value> = inputs(request)
                .iter()
                .map(|text| {
                    let vector = vector(text, DIMENSIONS);
                    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                    use base64::Engine;
                    let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
                    match request.number % 3 {
                        0 => json!({ "embedding": [vector] }),
                        1 => json!({ "embedding": base64 }),
                        _ => json!({ "embedding": vector }),
                    }
                })
                .collect();
            Answer::json(json!({ "data": data }).to_string())
        });
        let open = || {
            let policy = Policy {
                first_wait: Duration::from_millis(2),
                longest_wait: Duration::from_millis(20),
                concurrency: 1,
                ..Policy::default()
            };
            let endpoint = Endpoint::new(&format!("{}/v1", server.url()), None).unwrap();
            RemoteEmbedder::with_policy("m", &settings(), endpoint, policy, Some(&cache)).unwrap()
        };
        let embedder = open();
        let found = embedder.embed(&texts).unwrap();
        assert_eq!(
            rows(&found),
            texts.iter().map(|text| vector(text, DIMENSIONS)).collect::<Vec<_>>(),
            "{said}"
        );
        let told = embedder.learnt();
        let once =
            |what: &str| assert_eq!(told.iter().filter(|text| text.contains(what)).count(), 1, "{told:?}");
        once("slash");
        once("encoding_format");
        if said != "no" {
            once("texts at once");
            // Kept for the next run: nothing is refused any more.
            let before = *refused.lock().unwrap();
            open().embed(&texts).unwrap();
            assert_eq!(*refused.lock().unwrap(), before, "{said}");
        }
    }
}

/// Sixty texts, and the pairs of each two of them.
fn sixty_texts() -> (Vec<String>, Pairs) {
    let all = texts(60);
    let pairs: Vec<(&str, &str)> =
        all.chunks_exact(2).map(|two| (two[0].as_str(), two[1].as_str())).collect();
    let pairs = pairs_of(&pairs);
    (all, pairs)
}

#[test]
fn one_text_that_the_server_does_not_want_is_named_and_the_others_go_on() {
    let (all, pairs) = sixty_texts();
    let recipe = Recipe::default();
    // 0 is in one of the first batches, 33 in a later one.
    let poison = [all[0].clone(), all[33].clone()];
    for (status, message) in [(400, "invalid input"), (422, "cannot tokenize"), (500, "NaN in the output")] {
        let (bad, asked) = (poison.clone(), Arc::new(Mutex::new(BTreeMap::<String, usize>::new())));
        let answered = asked.clone();
        let server = Server::start(move |request| {
            if inputs(request).iter().any(|text| bad.contains(text)) {
                return Answer::error(status, message);
            }
            for text in inputs(request) {
                *answered.lock().unwrap().entry(text).or_default() += 1;
            }
            answer(request, DIMENSIONS)
        });
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let remote = embedder(&server, &settings());
        let mut embedding = Embedding::with_cache(&pairs, &remote, &recipe, &cache).unwrap();
        let mut heard = Notes::default();
        let deltas = embedding.deltas(&mut heard).unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!((embedding.record.refused, embedding.record.embedded), (2, 58), "{status}");
        for pair in 0..30 {
            let (a, b) = (&all[2 * pair], &all[2 * pair + 1]);
            let expected: Vec<f32> = if poison.contains(a) || poison.contains(b) {
                vec![0.0; DIMENSIONS]
            } else {
                vector(a, DIMENSIONS).iter().zip(vector(b, DIMENSIONS)).map(|(a, b)| a - b).collect()
            };
            assert_eq!(deltas.row(pair), expected, "{status}: pair {pair}");
        }
        assert!(asked.lock().unwrap().values().all(|times| *times == 1), "{status}");
        let told = heard.0.join("\n");
        for part in ["no vector for 2 of the texts", "response A of pair 0", "response B of pair 16", message]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}

/// A text whose vector is none, among others that are: it is asked for once more, alone.
#[test]
fn one_odd_vector_is_its_texts_failure() {
    let (all, pairs) = sixty_texts();
    let recipe = Recipe::default();
    let poison = [all[0].clone(), all[33].clone()];
    for (odd, said) in [
        ("null", "no vector for a text"),
        ("[]", "an empty vector"),
        ("[null, null]", "other than numbers"),
        ("[NaN, 1.0]", "other than numbers"),
        ("[-Infinity, Infinity]", "other than numbers"),
        ("[1e99, 1.0]", "not finite"),
        (r#""AADAfwAAwH8=""#, "not finite"),
    ] {
        // The first time, or each time.
        for heals in [true, false] {
            let bad = poison.clone();
            let asked = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
            let seen = asked.clone();
            let server = Server::start(move |request| {
                let vectors: Vec<String> = (inputs(request).into_iter().enumerate())
                    .map(|(index, text)| {
                        let mut seen = seen.lock().unwrap();
                        let times = seen.entry(text.clone()).or_default();
                        *times += 1;
                        let vector = match bad.contains(&text) && (*times == 1 || !heals) {
                            true => odd.to_owned(),
                            false => json!(vector(&text, DIMENSIONS)).to_string(),
                        };
                        format!(r#"{{"index":{index},"embedding":{vector}}}"#)
                    })
                    .collect();
                let count = vectors.len();
                Answer::json(format!(
                    r#"{{"data":[{}],"usage":{{"total_tokens":{count}}}}}"#,
                    vectors.join(",")
                ))
            });
            let folder = tempfile::tempdir().unwrap();
            let cache = Cache::at(folder.path());
            let remote = embedder(&server, &settings());
            let mut embedding = Embedding::with_cache(&pairs, &remote, &recipe, &cache).unwrap();
            let mut heard = Notes::default();
            let deltas = embedding.deltas(&mut heard).unwrap_or_else(|error| panic!("{odd}: {error}"));
            let record = &embedding.record;
            let refused = if heals { 0 } else { 2 };
            assert_eq!((record.refused, record.embedded), (refused, 60 - refused), "{odd}");
            for pair in 0..30 {
                let (a, b) = (&all[2 * pair], &all[2 * pair + 1]);
                let expected: Vec<f32> = if !heals && (poison.contains(a) || poison.contains(b)) {
                    vec![0.0; DIMENSIONS]
                } else {
                    vector(a, DIMENSIONS).iter().zip(vector(b, DIMENSIONS)).map(|(a, b)| a - b).collect()
                };
                assert_eq!(deltas.row(pair), expected, "{odd}: pair {pair}");
            }
            for (text, times) in asked.lock().unwrap().iter() {
                assert_eq!(*times, 1 + usize::from(poison.contains(text)), "{odd}: {text}");
            }
            // All that was answered is counted, what was asked twice twice.
            assert_eq!((record.requests, record.sent, record.tokens), (14, 14, 62), "{odd}");
            assert_eq!(server.count(), 14, "{odd}");
            let told = heard.0.join("\n");
            assert_eq!(
                told.contains("no vector for 2 of the texts") && told.contains(said),
                !heals,
                "{told}"
            );
        }
    }
}

/// The words of servers that say how many texts they take, and of one that only says that it is too much.
#[test]
fn the_largest_batch_is_read_or_found_said_once_and_kept() {
    let pydantic = json!({ "detail": [{ "type": "too_long", "loc": ["body", "input"],
        "msg": "List should have at most 3 items after validation, not 8", "ctx": { "max_length": 3 } }] });
    let page = "<html><head><title>413 Request Entity Too Large</title></head></html>";
    let error = |status: u16, said: &str| Answer::error(status, said);
    for (refusal, limit, said) in [
        (error(413, "batch size 8 > maximum allowed batch size 3"), 3, "batch size 8"),
        (error(400, "input: list length must be less than or equal to 3"), 3, "less than or equal"),
        (error(400, "too many inputs, the maximum is 3"), 3, "the maximum is 3"),
        (Answer::new(422, "application/json", pydantic.to_string()), 3, "at most 3 items"),
        (Answer::new(413, "text/html", page), 2, "(it said: 413 Request Entity Too Large)"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let answer_of = refusal.clone();
        let server = Server::start(move |request| match inputs(request).len() {
            0..=3 => answer(request, DIMENSIONS),
            _ => answer_of.clone(),
        });
        let open = || {
            let policy = Policy { concurrency: 1, first_wait: Duration::from_millis(2), ..Policy::default() };
            let endpoint = Endpoint::new(&format!("{}/v1", server.url()), None).unwrap();
            let settings = EmbedConfig { batch_texts: 8, ..EmbedConfig::default() };
            RemoteEmbedder::with_policy("m", &settings, endpoint, policy, Some(&cache)).unwrap()
        };
        let all = texts(64);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let wanted: Vec<Vec<f32>> = all.iter().map(|text| vector(text, DIMENSIONS)).collect();
        let first = open();
        assert_eq!(rows(&first.embed(&all).unwrap()), wanted, "{said}");
        let told = first.learnt();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains(&format!("no more than {limit} texts")) && told[0].contains(said),
            "{told:?}"
        );
        assert!(first.learnt().is_empty(), "it is said once");
        let sizes = |from: usize| -> Vec<usize> {
            server.requests().iter().skip(from).map(|request| inputs(request).len()).collect()
        };
        let usage = first.usage();
        let well = sizes(0).into_iter().filter(|size| *size <= 3).count() as u64;
        assert_eq!((usage.requests, usage.sent), (well, server.count() as u64), "{said}");
        assert!(usage.sent > usage.requests, "{said}");
        // The next run knows it.
        let count = server.count();
        let next = open();
        assert_eq!(rows(&next.embed(&all).unwrap()), wanted, "{said}");
        assert!(sizes(count).iter().all(|size| *size <= limit), "{said}: {:?}", sizes(count));
        assert!(next.learnt().is_empty(), "{said}");
    }
}

/// Texts longer than the server reads, found out by its refusals or cut as the user asks: said in every run.
#[test]
fn texts_that_were_cut_are_counted_again_when_they_come_from_the_cache() {
    let long = |i: usize| format!("{i} {}", "many words ".repeat(30));
    let all: Vec<String> = (0..20).map(|i| if i % 5 == 0 { long(i) } else { format!("text {i}") }).collect();
    let pairs: Vec<(&str, &str)> =
        all.chunks_exact(2).map(|two| (two[0].as_str(), two[1].as_str())).collect();
    let pairs = pairs_of(&pairs);
    let recipe = Recipe::default();
    for max_tokens in [None, Some(40)] {
        let server = Server::start(|request| match inputs(request).iter().all(|text| text.len() < 200) {
            true => answer(request, DIMENSIONS),
            false => Answer::error(400, "This model's maximum context length is 50 tokens"),
        });
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        for (embedded, from_cache) in [(20, 0), (0, 20)] {
            let settings = EmbedConfig { max_tokens, ..settings() };
            let remote = embedder(&server, &settings);
            let mut embedding = Embedding::with_cache(&pairs, &remote, &recipe, &cache).unwrap();
            embedding.deltas(&mut Silent).unwrap();
            let record = &embedding.record;
            assert_eq!(
                (record.embedded, record.from_cache, record.cut),
                (embedded, from_cache, 4),
                "{max_tokens:?}"
            );
        }
    }
}

#[test]
fn hints_are_about_what_was_refused() {
    let page = Answer::new(200, "text/html", "<!doctype html><title>Welcome</title>");
    let stream = Answer::new(200, "text/event-stream", "data: {}\n\n");
    for (dimensions, answer, message, hint) in [
        (None, Answer::error(402, "pay first"), "pay first", "no credit"),
        (
            Some(3),
            Answer::error(400, "this model does not support dimensions"),
            "dimensions",
            "leave out `--dimensions`",
        ),
        (Some(3), Answer::error(400, "no"), "400: no", "check `--dimensions`"),
        (
            Some(3),
            Answer::json(r#"{"data":[{"embedding":[1.0,2.0]}]}"#),
            "2 dimensions where 3 are due",
            "leave out `--dimensions`",
        ),
        (None, page, "a web page (“Welcome”)", "`/v1`"),
        (None, stream, "a stream of events", "streams"),
        (None, Answer::json(r#"{"models":[]}"#), "no embeddings", "`/v1`"),
        (None, Answer::error(501, "not here"), "501: not here", "`/v1`"),
        (None, Answer::error(405, "not so"), "405: not so", "`/v1`"),
    ] {
        let server = Server::start(move |_| answer.clone());
        let settings = EmbedConfig { dimensions, ..settings() };
        let error = embedder(&server, &settings).embed(&["a"]).unwrap_err().to_string();
        let (said, advice) = error.split_once("\nhint: ").unwrap_or_else(|| panic!("{error}"));
        assert!(said.contains(message) && advice.contains(hint), "{error}");
        assert!(!advice.contains("whether it runs"), "{error}");
        assert!(hint.starts_with("check") || !advice.contains("the model's name"), "{error}");
        assert!(server.count() <= 12, "{} requests", server.count());
    }
    // A mark of the byte order before it is no fault at all.
    let marked = Server::start(|request| {
        let good = answer(request, DIMENSIONS);
        Answer::json([b"\xef\xbb\xbf".as_slice(), &good.body].concat())
    });
    let found = embedder(&marked, &settings()).embed(&["a"]).unwrap();
    assert_eq!(found.row(0), vector("a", DIMENSIONS));
    assert_eq!(marked.count(), 1);
}

/// What was set aside in one run is all that the next one asks for: it fails again, and ends nothing.
#[test]
fn texts_that_always_fail_end_no_later_run() {
    let all = texts(200);
    let pairs: Vec<(&str, &str)> =
        all.chunks_exact(2).map(|two| (two[0].as_str(), two[1].as_str())).collect();
    let pairs = pairs_of(&pairs);
    let recipe = Recipe::default();
    for ill in [Answer::error(500, "boom"), Answer::silent()] {
        let server = Server::start(move |request| {
            match inputs(request).iter().any(|text| text.contains("7 ") && text.len() % 2 == 0) {
                true => ill.clone(),
                false => answer(request, DIMENSIONS),
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let run = || {
            let remote = embedder(&server, &settings());
            let mut embedding = Embedding::with_cache(&pairs, &remote, &recipe, &cache).unwrap();
            let deltas = embedding.deltas(&mut Silent).unwrap_or_else(|error| panic!("{error}"));
            (deltas, embedding.record.refused, embedding.record.embedded)
        };
        let (deltas, refused, embedded) = run();
        assert!((5..=20).contains(&refused), "{refused}");
        assert_eq!(embedded, 200 - refused);
        assert_eq!(run(), (deltas, refused, 0));
    }
}

/// Remembers the notes.
#[derive(Default)]
struct Notes(Vec<String>);

impl crate::context::Observer for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn a_server_that_refuses_every_text_is_given_up_soon() {
    let server = Server::start(|_| Answer::error(400, "this is not allowed"));
    let all = texts(400);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let error = embedder(&server, &settings()).embed(&all).unwrap_err().to_string();
    assert!(error.contains("this is not allowed") && error.contains("hint:"), "{error}");
    assert!(server.count() < 60, "{} requests", server.count());
    let tokens = Server::start(|_| {
        Answer::json(r#"{"data":[{"embedding":[[1,2],[3,4]]},{"embedding":[[1,2],[3,4]]}]}"#)
    });
    let error = embedder(&tokens, &settings()).embed(&["a", "b"]).unwrap_err().to_string();
    assert!(error.contains("one for each token") && error.contains("--pooling"), "{error}");
    let long = Server::start(|request| answer(request, 20_000));
    let error = embedder(&long, &settings()).embed(&["a", "b"]).unwrap_err().to_string();
    assert!(error.contains("20000 dimensions") && error.contains("WIMHF_MAX_DIMENSIONS"), "{error}");
}

/// A server that says how much it reads: the text is cut to that, not in half.
#[test]
fn a_text_that_is_too_long_is_cut_by_what_the_server_says() {
    let server = Server::start(|request| {
        let tokens = inputs(request).iter().map(|text| text.len() / 4).max().unwrap();
        match tokens {
            0..512 => answer(request, DIMENSIONS),
            _ => Answer::error(413, &format!("`inputs` must have less than 512 tokens. Given: {tokens}")),
        }
    });
    let embedder = embedder(&server, &settings());
    let long = "abcd".repeat(600);
    let found = embedder.embed(&["short", &long]).unwrap();
    let kept = (0..=long.len()).rev().find(|&end| found.row(1) == vector(&long[..end], DIMENSIONS));
    assert!(kept.is_some_and(|kept| kept > 1800), "{kept:?} of 2400 bytes, where 2047 fit");
    assert_eq!((embedder.usage().cut, found.row(0)), (1, vector("short", DIMENSIONS).as_slice()));
}

#[test]
fn what_servers_refuse_to_read_is_never_sent() {
    let server = Server::start(|request| {
        assert!(inputs(request).iter().all(|text| !text.is_empty()));
        answer(request, DIMENSIONS)
    });
    let settings = EmbedConfig { max_tokens: Some(3), ..settings() };
    let embedder = embedder(&server, &settings);
    let found = embedder.embed(&["", "twelve bytes and more"]).unwrap();
    assert_eq!(found.row(1), vector("twelve bytes", DIMENSIONS));
    assert_eq!(embedder.usage().cut, 1);
    assert_ne!(embedder.identity(), self::embedder(&server, &self::settings()).identity());
}

#[test]
fn odd_answers_are_failures_and_not_results() {
    for (name, body) in [
        ("a message", r#"{"error":"overloaded"}"#.to_owned()),
        ("a list", "[]".to_owned()),
        ("too few", json!({ "data": [{ "index": 0, "embedding": [1.0] }] }).to_string()),
        (
            "twice the same",
            json!({ "data": [{ "index": 0, "embedding": [1.0] }, { "index": 0, "embedding": [1.0] }] })
                .to_string(),
        ),
        (
            "a number outside",
            json!({ "data": [{ "index": 0, "embedding": [1.0] }, { "index": 7, "embedding": [1.0] }] })
                .to_string(),
        ),
        (
            "two lengths",
            json!({ "data": [{ "index": 0, "embedding": [1.0] }, { "index": 1, "embedding": [1.0, 2.0] }] })
                .to_string(),
        ),
        (
            "empty vectors",
            json!({ "data": [{ "index": 0, "embedding": [] }, { "index": 1, "embedding": [] }] }).to_string(),
        ),
        (
            "no numbers",
            json!({ "data": [{ "index": 0, "embedding": [null] }, { "index": 1, "embedding": ["x"] }] })
                .to_string(),
        ),
        (
            "infinite",
            r#"{"data":[{"index":0,"embedding":[1e99]},{"index":1,"embedding":[1e99]}]}"#.to_owned(),
        ),
        (
            "no numbers of JSON",
            r#"{"data":[{"index":0,"embedding":[NaN]},{"index":1,"embedding":[NaN]}]}"#.to_owned(),
        ),
    ] {
        let server = Server::start(move |_| Answer::json(body.clone()));
        let error = embedder(&server, &settings()).embed(&["a", "b"]).unwrap_err();
        assert!(
            matches!(error, EmbedError::Net(NetError::Down { .. } | NetError::GivenUp { .. })),
            "{name}: {error}"
        );
        assert!(error.is_users());
    }
}
