//! Servers as they are in the field: each refuses something else, and the figures are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::chat::whole;
use crate::language::think;
use crate::server::{Answer, Request, Server};
use crate::util::{contents, small, stderr, wimhf};

const KEY: &str = "sk-proj-Zx8Qv7Lm2Ty5Rk9Wd4Hb6Nc3Pf1Gs0Ja8Ue7Xi2Oo5Mm9Vq1";

fn body_of(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("a request is JSON")
}

/// What is asked, wherever the instructions stand.
fn asked(body: &Value) -> String {
    let messages = body["messages"].as_array().expect("messages");
    let last = messages.last().and_then(|message| message["content"].as_str()).expect("a user's message");
    if messages.len() == 2 {
        return last.to_owned();
    }
    // The instructions end where the prompt's user part begins.
    ["# pair_", "# Pair ", "{\n"]
        .iter()
        .filter_map(|start| last.find(&format!("\n\n{start}")))
        .min()
        .map_or(last.to_owned(), |at| last[at + 2..].to_owned())
}

fn pairs_in(user: &str) -> usize {
    user.matches("\nStatements about pair_").count()
}

fn well(request: &Request) -> Answer {
    let user = asked(&body_of(request));
    Answer::json(whole(&think(&user), &user))
}

/// Refuses everything that a server may refuse, in its own words, until the request is as it likes.
fn picky(request: &Request) -> Answer {
    if !request.path.ends_with('/') {
        return Answer::new(307, "text/plain", "").header("location", &format!("{}/", request.path));
    }
    let body = body_of(request);
    let plain = |status: u16, text: &str| {
        Answer::new(status, "application/json", json!({ "error": text }).to_string())
    };
    if body.get("logprobs").is_some() {
        return Answer::error(403, "You are not allowed to request logprobs from this model");
    }
    match body["response_format"]["type"].as_str() {
        Some("json_schema") => return plain(400, "response_format: json_schema is not supported"),
        Some(_) => {
            let detail = json!({ "detail": [{ "loc": ["body", "response_format"], "msg": "Extra inputs are not permitted" }] });
            return Answer::new(422, "application/json", detail.to_string());
        }
        None => {}
    }
    if body.get("temperature").is_some() {
        return plain(400, "Unsupported value: 'temperature' does not support 0 with this model");
    }
    if body.get("max_tokens").is_some() {
        return Answer::error(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        );
    }
    if body["messages"][0]["role"] == "system" {
        return Answer::error(400, "System role not supported");
    }
    let user = asked(&body);
    let room = body["max_completion_tokens"].as_u64().unwrap_or(u64::MAX);
    if pairs_in(&user) > 1 {
        return plain(400, "the request exceeds the available context size");
    }
    if room < 8000 {
        let thought = json!({ "choices": [{ "finish_reason": "length",
            "message": { "content": null, "reasoning_content": "Let me see …" } }] });
        return Answer::json(thought.to_string());
    }
    // Answers as parts, as some gateways give them.
    let parts = json!({ "choices": [{ "finish_reason": "stop", "message": { "content": [
        { "type": "text", "text": think(&user) }], "reasoning_content": "Let me see …" } }] });
    Answer::json(parts.to_string())
}

fn command(dir: &Path, server: &Server, cache: &str, out: &str) -> Command {
    let mut command = wimhf(dir);
    command
        .env("WIMHF_CACHE_DIR", dir.join(cache))
        .env("OPENAI_API_KEY", KEY)
        // A server on this machine is not asked through a proxy.
        .envs([
            ("HTTP_PROXY", "http://127.0.0.1:9"),
            ("http_proxy", "http://127.0.0.1:9"),
            ("ALL_PROXY", "http://127.0.0.1:9"),
        ])
        .args(["analyze", "--device", "cpu", "--features", "8", "--active", "2", "--describer", "model"])
        .args(["--writer", "small-writer", "--judge", "small-judge", "--base-url"])
        .arg(format!("{}/v1", server.url()))
        .args(["d.parquet", "--out", out]);
    command
}

fn run(dir: &Path, server: &Server, cache: &str, out: &str) -> Output {
    let output = command(dir, server, cache, out).output().expect("the program starts");
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

fn same(dir: &Path, one: &str, other: &str) {
    for file in ["principles.json", "stages/described.json", "stages/activations.parquet"] {
        let of = |run: &str| std::fs::read(dir.join(run).join(file)).unwrap();
        assert!(of(one) == of(other), "{file} differs between {one} and {other}");
    }
}

#[test]
fn a_server_that_refuses_everything_in_turn_gives_the_same_figures() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 200, |i| f64::from(u8::from(i % 3 == 0)));
    let good = Server::start(well);
    run(dir.path(), &good, "plain-cache", "plain");

    let server = Server::start(picky);
    let first = run(dir.path(), &server, "cache", "picky");
    same(dir.path(), "plain", "picky");
    let said = stderr(&first);
    for cause in [
        "no probabilities",
        "JSON schema",
        "do not hold answers to a form",
        "takes no temperature",
        "`max_completion_tokens` in place",
        "no system's message",
        "a slash at its end",
        "pair by pair",
        "ran out of room",
    ] {
        let cause = cause.replace("do not hold", "does not hold");
        for model in ["small-writer", "small-judge"] {
            let lines = said.lines().filter(|line| line.contains(&cause) && line.contains(model)).count();
            // A writer's requests have no probabilities and no pairs to part.
            let expected = usize::from(
                model == "small-judge" || !["no probabilities", "pair by pair"].contains(&cause.as_str()),
            );
            assert_eq!(lines, expected, "{cause} for {model}: {said}");
        }
    }
    // Nothing that was answered is asked again.
    let mut answered = BTreeMap::<Vec<u8>, usize>::new();
    for request in server.requests() {
        let body = body_of(&request);
        let whole = picky(&request);
        if whole.status == 200 && !String::from_utf8_lossy(&whole.body).contains("\"length\"") {
            *answered.entry(body.to_string().into_bytes()).or_default() += 1;
        }
    }
    assert!(answered.values().all(|times| *times == 1), "asked twice");
    let count = server.count();
    run(dir.path(), &server, "cache", "again");
    assert_eq!(server.count(), count, "everything is in the cache");
    same(dir.path(), "plain", "again");

    // What was learnt is kept: other questions are asked as the server likes them from the first.
    small(&dir.path().join("d.parquet"), 190, |i| f64::from(u8::from(i % 4 == 0)));
    let other = run(dir.path(), &server, "cache", "other");
    for request in server.requests().into_iter().skip(count) {
        assert_eq!(picky(&request).status, 200, "{}", request.text());
    }
    assert!(!stderr(&other).contains("no probabilities"), "known: {}", stderr(&other));
}

/// Content null, a refusal, nothing but reasoning: each for some of the requests, until the server is mended.
#[test]
fn what_could_not_be_read_is_not_kept_and_asked_again_when_the_server_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 200, |i| f64::from(u8::from(i % 3 == 0)));
    let good = Server::start(well);
    run(dir.path(), &good, "plain-cache", "plain");
    let all = good.count();

    let ill = Arc::new(AtomicBool::new(true));
    let spoilt = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let answered = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let (is_ill, spoil, well_answered) = (ill.clone(), spoilt.clone(), answered.clone());
    let server = Server::start(move |request| {
        let text = request.text();
        let kind = text.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 10;
        let message = match kind {
            0 => json!({ "content": null }),
            1 => json!({ "content": null, "refusal": format!("I will not, {KEY}") }),
            2 => json!({ "content": "", "reasoning_content": "Hmm." }),
            _ => Value::Null,
        };
        if is_ill.load(Ordering::SeqCst) && !message.is_null() {
            spoil.lock().unwrap().insert(text);
            return Answer::json(
                json!({ "choices": [{ "message": message, "finish_reason": "stop" }] }).to_string(),
            );
        }
        *well_answered.lock().unwrap().entry(text).or_default() += 1;
        well(request)
    });
    let first = run(dir.path(), &server, "cache", "ill");
    let said = stderr(&first);
    assert!(
        said.contains("were empty")
            && said.contains("were refused")
            && said.contains("reasoning and no text"),
        "{said}"
    );
    let unread = spoilt.lock().unwrap().len();
    assert!(unread > all / 10, "{unread} of {all}");
    for (name, bytes) in contents(&dir.path().join("cache")) {
        assert!(
            !bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()),
            "the key is in {}",
            name.display()
        );
        assert!(
            !bytes.windows(12).any(|part| part == b"\"text\":\"\",\"u"),
            "an empty answer is in {}",
            name.display()
        );
    }

    ill.store(false, Ordering::SeqCst);
    run(dir.path(), &server, "cache", "mended");
    same(dir.path(), "plain", "mended");
    let answered = answered.lock().unwrap();
    assert!(answered.values().all(|times| *times == 1), "what was read is not asked again");
    assert!(spoilt.lock().unwrap().iter().any(|text| answered.contains_key(text)), "what was not is");
}

#[test]
fn a_model_that_never_says_anything_is_left_soon_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 200, |i| f64::from(u8::from(i % 3 == 0)));
    let server = Server::start(|_| {
        let message = json!({ "content": null, "reasoning_content": "And then again …" });
        Answer::json(json!({ "choices": [{ "message": message, "finish_reason": "stop" }] }).to_string())
    });
    let output = command(dir.path(), &server, "cache", "run").output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("reasoning and no text") && said.contains("hint:") && said.contains("--param"),
        "{said}"
    );
    assert!(server.count() < 100, "{} requests", server.count());
}

/// A judge with too few calls to be given up, and a writer that talks in place of answering.
#[test]
fn words_that_answer_nothing_are_no_verdicts_and_no_descriptions_and_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let answered = |to: &'static str, words: &'static str| {
        Server::start(move |request| match asked(&body_of(request)).contains(to) {
            true => Answer::json(whole(words, "")),
            false => well(request),
        })
    };
    small(&dir.path().join("d.parquet"), 24, |i| f64::from(u8::from(i % 3 == 0)));
    let judge = answered("\nStatements about pair_", "I would rather not say.");
    let said = stderr(&run(dir.path(), &judge, "judge-cache", "judge"));
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("small-judge")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    for part in ["nothing could be read", "“I would rather not say.”", "Hint: "] {
        assert!(lines[0].contains(part), "{part}: {said}");
    }

    small(&dir.path().join("d.parquet"), 200, |i| f64::from(u8::from(i % 3 == 0)));
    let writer = answered("Answer with {\"concept\"", "Bullet points galore");
    let output = command(dir.path(), &writer, "writer-cache", "writer").output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("did not say what was asked, such as “Bullet points galore”"), "{said}");
    assert!(said.contains("hint:"), "{said}");
}

#[test]
fn a_wish_refused_without_a_word_is_found_by_trying() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 150, |i| f64::from(u8::from(i % 3 == 0)));
    let good = Server::start(well);
    run(dir.path(), &good, "plain-cache", "plain");
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    let server = Server::start(move |request| {
        if body_of(request).get("temperature").is_some() {
            count.fetch_add(1, Ordering::SeqCst);
            return Answer::new(400, "text/plain", "Bad Request");
        }
        well(request)
    });
    let output = run(dir.path(), &server, "cache", "run");
    same(dir.path(), "plain", "run");
    let said = stderr(&output);
    assert!(said.contains("takes no temperature") && !said.contains("JSON schema"), "{said}");
    assert!(refused.load(Ordering::SeqCst) < 80, "it is learnt once by each model");
}

#[test]
fn proxies_are_named_and_certificates_too() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 60, |i| f64::from(u8::from(i % 3 == 0)));
    let embed = |url: &str, set: &[(&str, &str)]| {
        let mut command = wimhf(dir.path());
        command.env("WIMHF_CACHE_DIR", dir.path().join("cache")).env("OPENAI_API_KEY", KEY);
        for name in [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
            "NO_PROXY",
            "no_proxy",
        ] {
            command.env_remove(name);
        }
        let output = command
            .envs(set.iter().copied())
            .args([
                "analyze",
                "d.parquet",
                "--device",
                "cpu",
                "--out",
                "run",
                "--force",
                "--embedder",
                "openai:m",
                "--base-url",
                url,
            ])
            .output()
            .unwrap();
        (output.status.code(), stderr(&output))
    };
    let (code, said) =
        embed("http://model.example.invalid/v1", &[("http_proxy", "http://me:hunter22@127.0.0.1:9")]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("`http_proxy`") && said.contains("127.0.0.1:9") && !said.contains("hunter22"),
        "{said}"
    );
    let (code, said) = embed("https://model.example.invalid/v1", &[("SSL_CERT_FILE", "no-such.pem")]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("SSL_CERT_FILE") && said.contains("no-such.pem"), "{said}");

    // A proxy that works is used.
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let proxy = Server::start(move |request| {
        if request.path.contains("model.example.invalid") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Answer::error(401, "no")
    });
    let (_, said) = embed("http://model.example.invalid/v1", &[("HTTP_PROXY", &proxy.url())]);
    assert!(seen.load(Ordering::SeqCst) > 0, "{said}");
}
