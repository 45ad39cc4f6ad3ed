//! Against a real server on a real socket, well and unwell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::context::Cancel;
use crate::limits;
use crate::support::{Answer, Request, Server};

/// As patient as the default, in a hurry.
fn policy() -> Policy {
    Policy {
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(20),
        timeout: Duration::from_secs(20),
        ..Policy::default()
    }
}

fn client(server: &Server, policy: &Policy) -> Client {
    Client::new(Endpoint::new(&format!("{}/v1/", server.url()), None).unwrap(), policy).unwrap()
}

fn post(server: &Server, policy: Policy) -> Result<Value, NetError> {
    let client = client(server, &policy);
    Gate::new(policy).with_retries("one", || client.post("chat/completions", &json!({ "n": 1 })))
}

/// Gives the first answers in turn, then good ones.
fn first(answers: Vec<Answer>) -> Server {
    Server::start(move |request| {
        answers.get(request.number).cloned().unwrap_or_else(|| Answer::json(r#"{"good":true}"#))
    })
}

#[test]
fn a_good_answer_costs_one_request() {
    let server = first(vec![]);
    assert_eq!(post(&server, policy()).unwrap(), json!({ "good": true }));
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(requests[0].header("content-type").unwrap().split(';').next(), Some("application/json"));
    assert_eq!(requests[0].text(), r#"{"n":1}"#);
    assert!(requests[0].header("authorization").is_none(), "no key, no header");
}

#[test]
fn every_fault_that_may_pass_is_tried_again() {
    let whole = r#"{"good":true}"#;
    for (name, fault) in [
        ("429", Answer::error(429, "slow down")),
        ("429 with a wait", Answer::error(429, "slow down").header("Retry-After", "0.05")),
        ("429 with a wait in ms", Answer::error(429, "slow down").header("retry-after-ms", "50")),
        ("500", Answer::error(500, "oh no")),
        ("502 of a proxy", Answer::new(502, "text/html", "<html>Bad gateway</html>")),
        ("503", Answer::error(503, "loading")),
        ("408", Answer::error(408, "too slow")),
        ("cut short", Answer::json(whole).cut(5)),
        ("nothing", Answer::json(whole).cut(0)),
        ("hung up", Answer::silent()),
        ("half a JSON", Answer::json(r#"{"good":"#)),
        ("another type", Answer::new(200, "text/html", "<html>Welcome</html>")),
        ("empty", Answer::json("")),
        ("no UTF-8", Answer::json(vec![0xff, 0xfe, 0])),
    ] {
        let server = first(vec![fault.clone(), fault]);
        let answer = post(&server, policy()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(answer, json!({ "good": true }), "{name}");
        assert_eq!(server.count(), 3, "{name}");
    }
}

#[test]
fn a_server_that_hangs_is_left_and_asked_again() {
    let server = first(vec![Answer::json("{}").after(Duration::from_secs(60))]);
    let hurry = Policy { timeout: Duration::from_millis(200), ..policy() };
    // The second attempt must not be caught by the short timeout on a busy machine: several may.
    assert_eq!(post(&server, hurry).unwrap(), json!({ "good": true }));
    assert!(server.count() >= 2);
}

#[test]
fn nothing_is_sent_before_the_time_that_a_server_asks_for() {
    for header in [("retry-after", "1"), ("retry-after-ms", "1000")] {
        let server = first(vec![Answer::error(429, "slow down").header(header.0, header.1)]);
        let began = Instant::now();
        post(&server, policy()).unwrap();
        assert!(began.elapsed() >= Duration::from_secs(1), "{header:?}");
        assert_eq!(server.count(), 2);
    }
}

#[test]
fn a_wait_that_is_far_too_long_ends_it_at_once() {
    let server = first(vec![Answer::error(429, "come back tomorrow").header("retry-after", "86400")]);
    let error = post(&server, policy()).unwrap_err();
    assert!(matches!(&error, NetError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("come back tomorrow"), "{error}");
    assert_eq!(server.count(), 1);
}

#[test]
fn what_no_attempt_mends_is_not_tried_again() {
    for (status, said, hint) in [
        (401, "bad key", "OPENAI_API_KEY"),
        (403, "no", "OPENAI_API_KEY"),
        (404, "no such model", "model's name"),
        (400, "this is not allowed", "what the server supports"),
        (302, "", "another address"),
        (429, "You exceeded your current quota", "credit"),
    ] {
        let server = Server::start(move |_| Answer::error(status, said).header("location", "http://evil/"));
        let error = post(&server, policy()).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(hint) && error.contains("hint:"), "{error}");
        assert_eq!(server.count(), 1, "{status}");
    }
}

#[test]
fn a_request_that_is_too_large_says_so() {
    for answer in [
        Answer::error(413, "no"),
        Answer::error(400, "This model's maximum context length is 8192 tokens"),
        Answer::error(500, "input is too large to process. increase the physical batch size"),
    ] {
        let server = Server::start(move |_| answer.clone());
        assert!(matches!(post(&server, policy()), Err(NetError::TooLarge { .. })));
        assert_eq!(server.count(), 1);
    }
}

#[test]
fn the_key_is_sent_and_never_shown() {
    const KEY: &str = "sk-very-secret-0123456789";
    // A server that quotes what it refuses, as several do.
    let server = Server::start(|request: &Request| {
        Answer::error(
            401,
            &format!("Incorrect API key provided: {}", request.header("authorization").unwrap()),
        )
    });
    let endpoint = Endpoint::new(&server.url(), Some(Secret::new(&format!(" {KEY}\n")))).unwrap();
    let client = Client::new(endpoint, &policy()).unwrap();
    let failure = client.post("embeddings", &json!({})).unwrap_err();
    assert_eq!(server.requests()[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    let shown = format!("{failure:?} {client:?} {} {:?}", failure.message, client.endpoint());
    assert!(!shown.contains(KEY), "{shown}");
    assert!(failure.message.contains("Incorrect API key provided"), "{}", failure.message);
    let dead =
        Client::new(Endpoint::new("http://127.0.0.1:9/v1", Some(Secret::new(KEY))).unwrap(), &policy())
            .unwrap();
    assert!(!format!("{:?}", dead.post("embeddings", &json!({}))).contains(KEY));
}

#[test]
fn a_key_inside_an_address_is_refused_without_showing_it() {
    for url in ["http://me:hunter22@host/v1", "https://host/v1?api_key=hunter22", "https://host/#hunter22"] {
        let error = Endpoint::new(url, None).unwrap_err().to_string();
        assert!(!error.contains("hunter22") && error.contains("hint:"), "{error}");
    }
    for url in ["", "host:80/v1", "ftp://host/", "http://", "http:///v1", "http://a b/", "file:///etc/passwd"]
    {
        assert!(Endpoint::new(url, None).is_err(), "{url}");
    }
    // What is only counted needs no key; what is asked at OpenAI does.
    let nobody = crate::context::Context::default();
    assert!(Endpoint::of(None, &nobody).is_err());
    assert!(Endpoint::unasked(None, &nobody).unwrap().base().contains("openai.com"));
    assert!(Endpoint::unasked(Some("ftp://host"), &nobody).is_err());
    assert_eq!(Endpoint::new(" http://host:1/v1// ", None).unwrap().base(), "http://host:1/v1");
}

#[test]
fn a_server_that_never_answers_is_given_up_soon() {
    // The user forgot to start it, or the address is wrong.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let policy = policy();
    let client = Client::new(Endpoint::new(&format!("http://{free}/v1"), None).unwrap(), &policy).unwrap();
    let attempts = AtomicUsize::new(0);
    let error = Gate::new(policy.clone())
        .with_retries("one", || {
            attempts.fetch_add(1, Ordering::SeqCst);
            client.post("embeddings", &json!({}))
        })
        .unwrap_err();
    assert!(matches!(error, NetError::Down { .. }), "{error}");
    assert!(error.to_string().contains("no answer from") && error.to_string().contains("hint:"), "{error}");
    assert_eq!(attempts.load(Ordering::SeqCst), policy.cold_failures as usize);
}

#[test]
fn a_hiccup_at_the_start_ends_nothing() {
    // As many requests at once as failures that say that a server is not there.
    let server = Server::start(|request| match request.number {
        0..8 => Answer::error(502, "starting"),
        _ => Answer::json("{}"),
    });
    let policy = Policy { concurrency: 8, ..policy() };
    let (client, gate) = (client(&server, &policy), Gate::new(policy.clone()));
    let mut left = 0..40;
    let kept = Mutex::new(0);
    for_each(
        policy.concurrency,
        &Cancel::default(),
        &mut || Ok::<_, NetError>(left.next()),
        &|item: &i32| gate.with_retries(&item.to_string(), || client.post("embeddings", &json!({}))),
        &mut |_, _| {
            *kept.lock().unwrap() += 1;
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(*kept.lock().unwrap(), 40);
}

#[test]
fn a_server_that_dies_is_not_asked_for_ever() {
    let server = Server::start(|request| match request.number {
        0..5 => Answer::json("{}"),
        _ => Answer::error(500, "dead"),
    });
    let policy = Policy { failures: 9, concurrency: 6, ..policy() };
    let (client, gate) = (client(&server, &policy), Gate::new(policy.clone()));
    let mut left = 0..200;
    let kept = Mutex::new(0);
    let error = for_each(
        policy.concurrency,
        &Cancel::default(),
        &mut || Ok::<_, NetError>(left.next()),
        &|item: &i32| gate.with_retries(&item.to_string(), || client.post("embeddings", &json!({}))),
        &mut |_, _| {
            *kept.lock().unwrap() += 1;
            Ok(())
        },
    )
    .unwrap_err();
    assert!(matches!(error, NetError::Down { failures: 9.., .. }), "{error}");
    assert_eq!(*kept.lock().unwrap(), 5, "what was answered is kept");
    // Those that were under way when it was given up may still have failed.
    assert!(server.count() <= 5 + 9 + policy.concurrency, "{} requests", server.count());
}

/// A body that quotes the key across the place where messages are cut, and one that quotes it in an answer.
#[test]
fn no_part_of_a_key_is_left_whatever_is_cut_and_none_is_in_an_answer() {
    const KEY: &str = "sk-proj-Zx8Qv7Lm2Ty5Rk9Wd4Hb6Nc3Pf1Gs0Ja8Ue7Xi2Oo5Mm9Vq1";
    let key = || Some(Secret::new(KEY));
    for before in [0, 100, 240, 280, 299, 350, 380, 395, 399, 1000] {
        let answers = [
            Answer::new(400, "text/plain", format!("{}{KEY} is wrong", "x".repeat(before))),
            Answer::error(400, &format!("{}{KEY}", "x".repeat(before))),
            Answer::new(
                400,
                "application/json",
                format!(r#"{{"detail":[{{"msg":"{}{KEY}"}}]}}"#, "x".repeat(before)),
            ),
        ];
        for answer in answers {
            let server = Server::start(move |_| answer.clone());
            let client = Client::new(Endpoint::new(&server.url(), key()).unwrap(), &policy()).unwrap();
            let failure = client.post("embeddings", &json!({})).unwrap_err();
            let shown = format!("{failure:?}");
            let left = (4..=KEY.len()).rev().find(|&length| shown.contains(&KEY[..length]));
            assert_eq!(left, None, "{shown}");
        }
    }
    let server = Server::start(|_| {
        Answer::json(format!(r#"{{"text":"your key {KEY}","{KEY}":["\u0073{}"]}}"#, &KEY[1..]))
    });
    let client = Client::new(Endpoint::new(&server.url(), key()).unwrap(), &policy()).unwrap();
    let answer = client.post("embeddings", &json!({})).unwrap().to_string();
    assert_eq!(answer, r#"{"***":["***"],"text":"your key ***"}"#);
}

#[test]
fn a_redirect_to_the_same_place_with_a_slash_is_followed_and_no_other() {
    let server = Server::start(|request| match request.path.ends_with('/') {
        true => Answer::json(r#"{"good":true}"#),
        false => Answer::new(307, "text/plain", "").header("location", &format!("{}/", request.path)),
    });
    assert_eq!(post(&server, policy()).unwrap(), json!({ "good": true }));
    let client = client(&server, &policy());
    let gate = Gate::new(policy());
    for _ in 0..3 {
        gate.with_retries("one", || client.post("chat/completions", &json!({}))).unwrap();
    }
    assert_eq!(server.count(), 2 + 2 + 2, "it is learnt once");
    for location in
        ["http://evil.example/v1/other/", "/v2/chat/completions", "https://u:p4ss@evil.example/x?key=k"]
    {
        let server = Server::start(move |_| Answer::new(308, "text/plain", "").header("location", location));
        let error = post(&server, policy()).unwrap_err().to_string();
        assert!(
            error.contains("another address") && !error.contains("p4ss") && !error.contains("key=k"),
            "{error}"
        );
        assert_eq!(server.count(), 1);
    }
}

#[test]
fn an_answer_that_is_far_too_large_is_not_read_to_its_end() {
    let server = Server::start(|_| Answer::json(vec![b' '; (limits::ANSWER.most() + 100) as usize]));
    let error = post(&server, policy()).unwrap_err().to_string();
    assert!(error.contains("67 MB") && error.contains("WIMHF_MAX_ANSWER"), "{error}");
    assert_eq!(server.count(), 1, "it would be as large again");
    let deep = Server::start(|_| Answer::json("[".repeat(200_000)));
    assert!(post(&deep, Policy { attempts: 2, ..policy() }).is_err());
}

/// Every item with its answer, whatever goes wrong, and none that was answered well asked again.
#[test]
fn a_third_of_faults_changes_nothing_and_nothing_is_paid_twice() {
    let well = std::sync::Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let paid = well.clone();
    let server = Server::start(move |request| {
        // Which requests fail depends on when they come: as in life.
        match (request.number * 7919 + 13) % 10 {
            0 => Answer::error(429, "slow down").header("retry-after", "0.02"),
            1 => Answer::error(500, "oh no"),
            2 => Answer::json(r#"{"n":1}"#).cut(3),
            _ => {
                *paid.lock().unwrap().entry(request.text()).or_default() += 1;
                Answer::json(request.body.clone())
            }
        }
    });
    let policy = Policy { concurrency: 7, ..policy() };
    let (client, gate) = (client(&server, &policy), Gate::new(policy.clone()));
    let mut left = 0..300;
    let mut answers = BTreeMap::new();
    for_each(
        policy.concurrency,
        &Cancel::default(),
        &mut || Ok::<_, NetError>(left.next()),
        &|item: &u64| {
            gate.with_retries(&item.to_string(), || client.post("embeddings", &json!({ "n": item })))
        },
        &mut |item, answer: Value| {
            assert!(answers.insert(item, answer["n"].clone()).is_none());
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(answers, (0..300).map(|n| (n, json!(n))).collect());
    let paid = well.lock().unwrap();
    assert_eq!(paid.len(), 300);
    assert!(paid.values().all(|count| *count == 1), "{paid:?}");
    assert!(server.count() > 400, "there were faults");
    assert!(server.requests().iter().all(|request| request.at_once <= 7));
}

#[test]
fn fewer_run_at_once_where_the_server_takes_fewer() {
    let running = std::sync::Arc::new(AtomicUsize::new(0));
    let refused = std::sync::Arc::new(AtomicUsize::new(0));
    let (inside, count) = (running, refused.clone());
    let server = Server::start(move |_| {
        // Takes two, refuses the third.
        let outcome = if inside.fetch_add(1, Ordering::SeqCst) >= 2 {
            count.fetch_add(1, Ordering::SeqCst);
            Answer::error(429, "busy")
        } else {
            std::thread::sleep(Duration::from_millis(10));
            Answer::json("{}")
        };
        inside.fetch_sub(1, Ordering::SeqCst);
        outcome
    });
    let policy = Policy { concurrency: 32, ..policy() };
    let (client, gate) = (client(&server, &policy), Gate::new(policy));
    let mut left = 0..150;
    let mut done = 0;
    for_each(
        32,
        &Cancel::default(),
        &mut || Ok::<_, NetError>(left.next()),
        &|item: &i32| gate.with_retries(&item.to_string(), || client.post("embeddings", &json!({}))),
        &mut |_, _: Value| {
            done += 1;
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(done, 150);
    // 32 at once against a server that takes two would be refused 15 times for every answer.
    let refused = refused.load(Ordering::SeqCst);
    assert!(refused < 150, "{refused} refusals for 150 answers");
}

#[test]
fn an_error_of_the_keeper_ends_it_and_what_is_under_way_is_still_offered() {
    let mut left = 0..100;
    let mut offered = BTreeSet::new();
    let error = for_each(
        4,
        &Cancel::default(),
        &mut || Ok::<_, NetError>(left.next()),
        &|item: &i32| Ok(*item),
        &mut |item, answer| {
            assert_eq!(item, answer);
            offered.insert(item);
            if offered.len() == 10 {
                return Err(NetError::TooLarge { message: "full".into(), hint: "" });
            }
            Ok(())
        },
    )
    .unwrap_err();
    assert!(matches!(error, NetError::TooLarge { .. }));
    assert!(offered.len() < 10 + 4, "{}", offered.len());
}

#[test]
fn a_defect_of_ours_does_not_hang_the_caller() {
    let mut left = 0..10;
    let outcome = for_each(
        3,
        &Cancel::default(),
        &mut || Ok::<_, NetError>(left.next()),
        &|item: &i32| if *item == 4 { std::panic::panic_any("defect") } else { Ok(()) },
        &mut |_, ()| Ok(()),
    );
    assert!(matches!(outcome, Err(NetError::Refused { .. })));
}
