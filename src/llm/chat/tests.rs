//! Against a server that answers as models do, well and badly.

use super::*;
use crate::support::{Answer, Request, Server};

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
    let reply = |tokens| Reply { text: text.into(), tokens, ..Reply::default() };
    let sure = reply(tokens("A", vec![("A", 0.7), ("B", 0.2), ("tie", 0.1)]));
    assert!((sure.grade(Said::A, at) - 0.5).abs() < 1e-6);
    let odd = reply(tokens("X", vec![("A", 0.7)]));
    assert_eq!(odd.grade(Said::A, at), 1.0, "tokens that are not the text are not believed");
    let other = reply(tokens("A", vec![("zebra", 0.9), ("A", 0.05)]));
    assert_eq!(other.grade(Said::A, at), 1.0);
    assert_eq!(reply(vec![]).grade(Said::Tie, at), 0.0);
}

/// A model at a server, in a hurry, and the purse that pays it.
fn model(server: &Server, params: Value, cache: Option<&Cache>) -> (ChatModel, Arc<Budget>) {
    let policy = Policy {
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(10),
        concurrency: 4,
        ..Policy::default()
    };
    let endpoint = Endpoint::new(&format!("{}/v1", server.url()), None).unwrap();
    let purse = Arc::new(Budget::default());
    let params = params.as_object().cloned().unwrap_or_default();
    let model = ChatModel::new(endpoint, "m", params, None, Arc::clone(&purse), policy, cache).unwrap();
    (model, purse)
}

fn asks(count: usize) -> Vec<Ask> {
    (0..count).map(|number| ask(&format!("question {number}."))).collect()
}

fn ask(user: &str) -> Ask {
    Ask {
        purpose: "judge",
        system: "answer".into(),
        user: user.into(),
        version: "1".into(),
        schema: Some(object(Map::new())),
        graded: true,
        room: 10,
    }
}

fn user(request: &Request) -> String {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let messages = body["messages"].as_array().unwrap();
    messages.last().unwrap()["content"].as_str().unwrap().to_owned()
}

fn says(text: &str) -> Answer {
    let message = json!({ "content": text });
    Answer::json(json!({ "choices": [{ "message": message, "finish_reason": "stop" }] }).to_string())
}

/// Everything that begins so can be read.
fn good(_: usize, reply: &Reply) -> Legible {
    reply.text.starts_with("good").into()
}

/// How often each question was sent.
fn times(server: &Server, word: &str) -> usize {
    server.requests().iter().filter(|request| user(request).contains(word)).count()
}

#[test]
fn requests_that_always_fail_are_set_aside_and_the_others_go_on() {
    let ill: [(&str, Answer); 4] = [
        ("boom", Answer::error(500, "boom")),
        ("no answer from", Answer::silent()),
        ("cannot be rendered", Answer::error(400, "the template cannot be rendered")),
        ("overloaded by this", Answer::json(r#"{"error":{"message":"overloaded by this"}}"#)),
    ];
    // Among the others, and alone at the end; in the second run nothing else is asked.
    let is_ill = |number: usize| number % 5 == 4 || number >= 56;
    let number = |user: &str| -> usize { user.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap() };
    let wanted: BTreeSet<usize> = (0..60).filter(|at| is_ill(*at)).collect();
    for (said, answer) in ill {
        let server = Server::start(move |request| match is_ill(number(&user(request))) {
            true => answer.clone(),
            false => says("good"),
        });
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        for run in 0..2 {
            let before = server.count();
            let (mut model, purse) = model(&server, Value::Null, Some(&cache));
            let replies = model
                .ask(&asks(60), &good, &mut |_| {})
                .unwrap_or_else(|error| panic!("{said}, run {run}: {error}"));
            for (at, reply) in replies.iter().enumerate() {
                assert_eq!(reply.text.is_empty(), is_ill(at), "{said}, run {run}: {at}");
            }
            let told = purse.told();
            let lines: Vec<&String> =
                told.iter().filter(|text| text.contains("an error each time")).collect();
            assert_eq!(lines.len(), 1, "{said}, run {run}: {told:?}");
            let count = format!("{} requests", wanted.len());
            assert!(lines[0].contains(said) && lines[0].contains(&count), "{said}, run {run}: {told:?}");
            // Nothing that was answered is asked again, and what was not is.
            let again = server.requests().into_iter().skip(before).map(|request| number(&user(&request)));
            assert!(run == 0 || again.collect::<BTreeSet<usize>>() == wanted, "{said}");
        }
    }
}

#[test]
fn a_server_that_was_well_and_fails_from_then_on_ends_it() {
    let server = Server::start(|request| match request.number {
        0..200 => says("good"),
        _ => Answer::error(500, "disk full"),
    });
    let (mut model, _) = model(&server, Value::Null, None);
    let error = model.ask(&asks(400), &good, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("disk full") && error.contains("hint:"), "{error}");
    assert!(server.count() < 200 + 250, "{} requests", server.count());
}

#[test]
fn a_server_that_fails_most_requests_ends_it_with_the_cause() {
    // It answers one in four, and what it fails it fails always.
    let server = Server::start(|request| {
        let user = user(request);
        let number: usize = user.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        if number.is_multiple_of(4) { says("good") } else { Answer::error(500, "out of memory") }
    });
    let (mut model, _) = model(&server, Value::Null, None);
    let error = model.ask(&asks(400), &good, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("out of memory") && error.contains("hint:"), "{error}");
    assert!(server.count() < 400, "{} requests", server.count());
}

#[test]
fn a_model_of_which_nothing_can_be_read_is_said_however_few_its_answers() {
    let server = Server::start(|request| match user(request).as_str() {
        "question 2." => says("good"),
        _ => says(&format!("I would rather {}", "not say ".repeat(40))),
    });
    let (mut model, purse) = model(&server, Value::Null, None);
    model.ask(&asks(2), &good, &mut |_| {}).unwrap();
    let told = purse.told();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["nothing could be read", "`m`", "2 answers", "I would rather not say", "…”", "Hint: "] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
    // Then something is.
    model.ask(&[ask("question 2.")], &good, &mut |_| {}).unwrap();
    let told = purse.told();
    assert!(told.iter().all(|text| !text.contains("nothing could be read")), "{told:?}");
    assert!(told.iter().any(|text| text.contains("2 answers")), "{told:?}");
}

/// Five questions in a request, of which the server reads one at a time.
#[test]
fn what_was_read_of_a_request_in_parts_is_kept_where_the_rest_is_not() {
    let parts = |_: usize| (0..5).map(|part| ask(&format!("part {part}."))).collect::<Vec<_>>();
    let readable = |_: usize, part: Option<usize>, reply: &Reply| {
        Legible::of(
            (0..5)
                .filter(|at| part.is_none_or(|part| part == *at))
                .map(|at| reply.text.contains(&format!("good{at}"))),
        )
    };
    let answer = |request: &Request, ill: Option<Answer>| match user(request) {
        user if user.starts_with("part 3") && ill.is_some() => ill.unwrap(),
        user if user.starts_with("part ") => says(&format!("good{}", &user[5..6])),
        _ => Answer::error(400, "the request exceeds the available context size"),
    };
    for ill in [says("who knows"), Answer::error(401, "no more for this key")] {
        let is_fatal = ill.status == 401;
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let state = Arc::new(Mutex::new(Some(ill)));
        let now = Arc::clone(&state);
        let server = Server::start(move |request| answer(request, now.lock().unwrap().clone()));
        let run = || {
            let (mut model, _) = model(&server, Value::Null, Some(&cache));
            model.ask_in_parts(&[ask("all five")], &parts, &readable, &mut |_| {})
        };
        assert_eq!(run().is_err(), is_fatal);
        *state.lock().unwrap() = None;
        let before: Vec<usize> = (0..5).map(|part| times(&server, &format!("part {part}."))).collect();
        // What the server takes is not proven where the first run broke off, and is learnt again.
        let replies = run().unwrap();
        assert_eq!(readable(0, None, &replies[0]), Legible::Whole, "{replies:?}");
        for part in [0, 1, 2] {
            assert_eq!(times(&server, &format!("part {part}.")), before[part], "part {part} is asked again");
        }
        assert_eq!(times(&server, "part 3."), before[3] + 1);
        let count = server.count();
        assert_eq!(run().unwrap()[0].text, replies[0].text);
        assert_eq!(server.count(), count, "the whole is kept");
    }
}

#[test]
fn numbers_that_json_does_not_have_are_no_probabilities() {
    let server = Server::start(|_| {
        Answer::json(
            "\u{feff}{\"choices\": [{\"message\": {\"content\": \"good, not NaN\"}, \"finish_reason\": \"stop\",
            \"logprobs\": {\"content\": [{\"token\": \"good\", \"logprob\": NaN, \"top_logprobs\":
            [{\"token\": \"A\", \"logprob\": -Infinity}, {\"token\": \"B\", \"logprob\": -0.5}]}]}}]}",
        )
    });
    let (mut model, _) = model(&server, Value::Null, None);
    let reply = model.ask(&asks(1), &good, &mut |_| {}).unwrap().remove(0);
    assert_eq!(reply.text, "good, not NaN");
    assert_eq!(reply.tokens, [("good".to_owned(), vec![("B".to_owned(), -0.5)])]);
    assert_eq!(server.count(), 1);
}

#[test]
fn hints_are_about_what_was_refused() {
    let page = Answer::new(200, "text/html", "<!doctype html><title>Open WebUI</title>");
    let stream = Answer::new(200, "text/event-stream", "data: {\"choices\": []}\n\ndata: [DONE]\n\n");
    for (params, answer, message, hint) in [
        (json!({}), Answer::error(402, "insufficient balance"), "insufficient balance", "no credit"),
        (
            json!({ "frobnicate": 1 }),
            Answer::error(400, "Unrecognized argument: frobnicate"),
            "frobnicate",
            "--param",
        ),
        (json!({ "top_k": 1 }), Answer::error(422, "no"), "422: no", "check what `--param` adds"),
        (json!({}), Answer::error(400, "no"), "400: no", "check the model's name"),
        (json!({}), page, "a web page (“Open WebUI”)", "`/v1`"),
        (json!({}), stream, "a stream of events", "--param stream=false"),
        (json!({}), Answer::json("{\"models\": []}"), "no `choices`", "`/v1`"),
        (json!({}), Answer::error(501, "not here"), "501: not here", "`/v1`"),
        (json!({}), Answer::error(405, "not so"), "405: not so", "`/v1`"),
        (json!({}), Answer::error(500, "out of memory"), "out of memory", "see its log"),
    ] {
        let server = Server::start(move |_| answer.clone());
        let (mut model, _) = model(&server, params, None);
        let error = model.ask(&asks(1), &good, &mut |_| {}).unwrap_err().to_string();
        let (said, advice) = error.split_once("\nhint: ").unwrap_or_else(|| panic!("{error}"));
        assert!(said.contains(message) && advice.contains(hint), "{error}");
        for wrong in ["whether it runs", "the model's name"] {
            assert!(hint.contains("check") || !advice.contains(wrong), "{error}");
        }
    }
}
