//! Embedders from outside: folders, servers, the Hub; the cache among runs that are stopped and killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Answer, Request, Server};
use crate::util::*;

const PAIRS: usize = 300;

fn texts(request: &Request) -> Vec<String> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    serde_json::from_value(body["input"].clone()).unwrap()
}

/// Vectors that say something about the text, so that there is something to find in them.
fn vector(text: &str) -> Vec<f32> {
    let count = |what: &str| text.matches(what).count() as f32;
    let length = text.len() as f32 / 100.0;
    let letters = ["a", "e", "- ", "sorry", "!", "It goes", "violins", "number"].map(count);
    let mut values: Vec<f32> = letters.into_iter().chain([length, 1.0]).collect();
    let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
    values.iter_mut().for_each(|x| *x /= norm);
    values
}

fn good(request: &Request) -> Answer {
    let data: Vec<Value> = texts(request)
        .iter()
        .enumerate()
        .map(|(index, text)| json!({ "index": index, "embedding": vector(text) }))
        .collect();
    Answer::json(json!({ "data": data, "usage": { "total_tokens": 7 } }).to_string())
}

type Counts = Arc<Mutex<BTreeMap<String, usize>>>;

/// Takes its time, and counts how often each text was embedded.
fn counting(counts: &Counts, delay: u64) -> Server {
    let counts = counts.clone();
    Server::start(move |request| {
        for text in texts(request) {
            *counts.lock().unwrap().entry(text).or_default() += 1;
        }
        good(request).after(Duration::from_millis(delay))
    })
}

/// A folder with a dataset, settings for small requests, and a cache of its own.
pub struct Place {
    folder: tempfile::TempDir,
}

/// Texts in flight at most: requests at once times texts in each.
const CONCURRENCY: usize = 2;
const BATCH: usize = 4;

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        small(&folder.path().join("d.parquet"), PAIRS, |i| f64::from(u8::from(i * 7 % 5 != 1)));
        let config = format!("[embed]\nbatch_texts = {BATCH}\nconcurrency = {CONCURRENCY}\n");
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program with a cache of its own and nothing of the user's environment that matters here.
    fn command(&self) -> Command {
        let mut command = wimhf(self.path());
        command.env("WIMHF_CACHE_DIR", self.path().join("cache"));
        for name in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT"] {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.path().join("hf"));
        command
    }

    pub fn analyze(&self, out: &str, embedder: &[&str]) -> Command {
        let mut command = self.command();
        command.args(["analyze", "d.parquet", "--device", "cpu", "--config", "config.toml", "--out", out]);
        // Whole responses alone, which these tests count; sentences go the same way.
        command.args(["--sae-mode", "difference", "--features", "4", "--active", "2"]).args(embedder);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn remote(&self, out: &str, server: &Server) -> Command {
        self.analyze(out, &["--embedder", "openai:m", "--base-url", &format!("{}/v1", server.url())])
    }

    pub fn embedding(&self, out: &str) -> Value {
        json(&self.path().join(out).join("run.json"))["embedding"].clone()
    }

    pub fn deltas(&self, out: &str) -> Vec<u8> {
        std::fs::read(self.path().join(out).join("stages/deltas.safetensors")).unwrap()
    }
}

/// Runs it to its end; what it said.
pub fn done(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

/// What a run without any disturbance gives.
fn undisturbed(place: &Place) -> (Vec<u8>, usize) {
    let counts = Counts::default();
    let server = counting(&counts, 0);
    let mut command = place.remote("undisturbed", &server);
    command.env("WIMHF_CACHE_DIR", place.path().join("another cache"));
    done(command);
    let texts = counts.lock().unwrap().len();
    (place.deltas("undisturbed"), texts)
}

#[test]
fn two_runs_at_once_embed_every_text_once() {
    let place = Place::new();
    let (wanted, texts) = undisturbed(&place);
    let counts = Counts::default();
    let server = counting(&counts, 20);
    let runs: Vec<Child> = ["one", "two"].map(|out| place.remote(out, &server).spawn().unwrap()).into();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let counts = counts.lock().unwrap();
    assert_eq!(counts.len(), texts);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!((place.deltas("one"), place.deltas("two")), (wanted.clone(), wanted));
    let embedded = |out| place.embedding(out)["embedded"].as_u64().unwrap();
    assert_eq!(embedded("one") + embedded("two"), texts as u64);
}

/// Waits until the server has seen so many more requests, so that the machine's speed does not matter.
fn until(server: &Server, more: usize, run: &mut Child) {
    let goal = server.count() + more;
    while server.count() < goal {
        if let Some(status) = run.try_wait().unwrap() {
            panic!("the run ended before it was stopped: {status}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(unix)]
#[test]
fn killed_twenty_times_only_what_was_under_way_is_embedded_again() {
    let place = Place::new();
    let (wanted, texts) = undisturbed(&place);
    let counts = Counts::default();
    let server = counting(&counts, 15);
    let mut kills = 0;
    while kills < 20 {
        let mut run = place.remote("run", &server).spawn().unwrap();
        // The first long enough for something to be kept at all.
        until(&server, if kills == 0 { 6 } else { 1 + kills * 5 % 4 }, &mut run);
        std::thread::sleep(Duration::from_millis((kills * 7 % 20) as u64));
        // SIGKILL.
        run.kill().unwrap();
        assert!(!run.wait().unwrap().success(), "it was still embedding");
        kills += 1;
    }
    done(place.remote("run", &server));
    assert_eq!(place.deltas("run"), wanted);
    let counts = counts.lock().unwrap();
    assert_eq!(counts.len(), texts);
    let again: usize = counts.values().map(|count| count - 1).sum();
    assert!(again <= kills * CONCURRENCY * BATCH, "{again} texts were embedded again after {kills} kills");
    // The next run asks nothing at all.
    let asked = server.count();
    done(place.remote("other", &server));
    assert_eq!(server.count(), asked);
    assert_eq!(place.embedding("other")["from_cache"], json!(texts));
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_answers_under_way() {
    let place = Place::new();
    let (wanted, texts) = undisturbed(&place);
    let counts = Counts::default();
    let server = counting(&counts, 30);
    let mut run = place.remote("run", &server).spawn().unwrap();
    until(&server, 9, &mut run);
    let killed = Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("same command goes on"), "{}", stderr(&output));
    assert!(counts.lock().unwrap().len() < texts, "it stopped early");
    done(place.remote("run", &server));
    let counts = counts.lock().unwrap();
    assert_eq!(place.deltas("run"), wanted);
    assert!(counts.values().all(|count| *count == 1), "nothing was paid twice: {counts:?}");
}

#[test]
fn a_server_that_refuses_is_said_with_what_mends_it_and_no_key_is_shown() {
    const KEY: &str = "sk-secret-0123456789abcdef";
    let place = Place::new();
    let server = Server::start(|request: &Request| {
        let key = request.header("authorization").unwrap_or_default();
        match key.ends_with("abcdef") {
            true => Answer::error(401, &format!("Incorrect API key provided: {key}")),
            false => good(request),
        }
    });
    let mut command = place.remote("run", &server);
    command.env("OPENAI_API_KEY", KEY);
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("401") && said.contains("hint: check the key"), "{said}");
    assert!(!said.contains(KEY) && !stdout(&output).contains(KEY), "{said}");
    let mut command = place.remote("run", &server);
    command.env("OPENAI_API_KEY", "sk-another-secret-987654");
    done(command);
    for (name, content) in contents(&place.path().join("run")) {
        let content = String::from_utf8_lossy(&content).into_owned();
        assert!(!content.contains("sk-"), "{}", name.display());
    }
    let run = std::fs::read_to_string(place.path().join("run/run.json")).unwrap();
    assert!(!run.contains("sk-another"), "{run}");
    // Without a server, and without a key for OpenAI's own.
    let output = place.analyze("x", &["--embedder", "openai:text-embedding-3-small"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("OPENAI_API_KEY"), "{}", stderr(&output));
}

/// No more than three texts at once, in Pydantic's words; a context that is too short for some, and a vector of NaN.
fn strict(request: &Request) -> Answer {
    let texts = texts(request);
    if texts.len() > 3 {
        let detail = json!({ "detail": [{ "loc": ["body", "input"],
            "msg": "List should have at most 3 items after validation, not 4" }] });
        return Answer::new(422, "application/json", detail.to_string());
    }
    if texts.iter().any(|text| text.len() > 90) {
        return Answer::error(400, "This model's maximum context length is 22 tokens");
    }
    let is_odd = |text: &str| text.contains("number 7, told the 0 way");
    let one = |(index, text): (usize, &String)| match is_odd(text) {
        true => format!(r#"{{"index":{index},"embedding":[{}]}}"#, ["NaN"; 10].join(",")),
        false => json!({ "index": index, "embedding": vector(text) }).to_string(),
    };
    let data: Vec<String> = texts.iter().enumerate().map(one).collect();
    Answer::json(format!(r#"{{"data":[{}],"usage":{{"total_tokens":7}}}}"#, data.join(",")))
}

#[test]
fn what_a_server_cannot_do_is_said_once_and_what_was_cut_in_every_run() {
    let place = Place::new();
    let server = Server::start(strict);
    // With sentences, whose vectors come in several parts.
    let mut sentences = place.command();
    sentences.args([
        "analyze",
        "d.parquet",
        "--device",
        "cpu",
        "--config",
        "config.toml",
        "--out",
        "sentences",
    ]);
    sentences.args(["--features", "4", "--active", "2", "--embedder", "openai:m"]);
    sentences.args(["--base-url", &format!("{}/v1", server.url())]);
    sentences.env("WIMHF_CACHE_DIR", place.path().join("another cache"));
    let said = done(sentences);
    assert_eq!(said.matches("no more than 3 texts at once").count(), 1, "{said}");

    let before = server.count();
    let first = done(place.remote("one", &server));
    let record = place.embedding("one");
    assert_eq!(record["sent"], json!(server.count() - before));
    let answered = server.requests().iter().skip(before).filter(|one| strict(one).status == 200).count();
    assert_eq!((&record["requests"], &record["tokens"]), (&json!(answered), &json!(7 * answered)));
    assert_eq!(record["refused"], json!(1));
    assert!(first.contains("no vector for 1 of the texts (response A of row 7)"), "{first}");
    let cut = record["cut"].as_u64().unwrap();
    assert!(cut > 50, "{record}");
    // From the cache: all but the text without a vector.
    let second = done(place.remote("two", &server));
    let record = place.embedding("two");
    assert_eq!((&record["embedded"], &record["cut"]), (&json!(0), &json!(cut)));
    assert!(second.contains(&format!("{cut} were longer than the embedder reads")), "{second}");
}

/// A tiny model's folder.
pub fn tiny(model: &str) -> PathBuf {
    root().join("tests/fixtures/embed/tiny").join(model)
}

#[test]
fn a_folder_is_an_embedder_and_texts_are_embedded_once_ever() {
    let place = Place::new();
    let folder = tiny("bert").display().to_string();
    // The response first: the tiny model would read nothing of it behind a prompt.
    let template = ["--template", "{response} to {prompt}"];
    let said = done(place.analyze("one", &[&["--embedder", folder.as_str()], &template[..]].concat()));
    assert!(said.contains("were cut"), "the tiny model reads 32 tokens, which must be said: {said}");
    let run = json(&place.path().join("one/run.json"));
    assert!(run["embedder"].as_str().unwrap().starts_with("bert@sha256:"), "{}", run["embedder"]);
    let record = &run["embedding"];
    assert_eq!((&record["dimensions"], &record["max_tokens"]), (&json!(16), &json!(32)));
    assert_eq!(record["template"], json!("{response} to {prompt}"));
    assert_eq!(record["source"], json!(folder));
    assert!(record["cut"].as_u64().unwrap() > 0);
    let texts = record["texts"].as_u64().unwrap();
    assert_eq!(record["embedded"], json!(texts));
    // The same from the cache, in another run directory and under another name of the same folder.
    let copy = place.path().join("model");
    assert!(Command::new("cp").args(["-r", &folder]).arg(&copy).status().unwrap().success());
    done(place.analyze("two", &[&["--embedder", "model"], &template[..]].concat()));
    let record = place.embedding("two");
    assert_eq!((&record["embedded"], &record["from_cache"]), (&json!(0), &json!(texts)));
    assert!(place.deltas("one") == place.deltas("two"));
    // Another template, other texts.
    done(place.analyze("three", &["--embedder", "model", "--template", "it says {response}"]));
    assert_eq!(place.embedding("three")["from_cache"], json!(0));
    assert!(place.deltas("three") != place.deltas("two"));
}

#[test]
fn the_cache_is_shown_pruned_and_cleared() {
    let place = Place::new();
    let cache = |arguments: &[&str]| {
        let output = place.command().arg("cache").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let dir = cache(&["dir"]);
    assert_eq!(Path::new(dir.trim()), place.path().join("cache/v1"));
    assert!(cache(&["size"]).contains("nothing is in the cache"));
    let folder = tiny("qwen3").display().to_string();
    done(place.analyze("one", &["--embedder", &folder]));
    let texts = place.embedding("one")["texts"].as_u64().unwrap();
    let size = cache(&["size"]);
    assert!(size.contains("embeddings:") && size.contains("qwen3@sha256:"), "{size}");
    assert!(size.contains(&format!("{texts} entries")) && size.contains("today"), "{size}");
    assert!(cache(&["prune", "--older-than", "1"]).starts_with("0 entries removed"));
    assert!(cache(&["prune"]).starts_with("0 entries removed"));
    assert!(cache(&["prune", "--to", "0"]).starts_with(&format!("{texts} entries removed")));
    assert!(cache(&["clear"]).contains("freed"));
    assert!(cache(&["size"]).contains("nothing is in the cache"));
    let output = place.command().args(["cache", "prune", "--to", "much"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    // Somebody has written something else there.
    std::fs::write(place.path().join("cache/v1/embeddings.sqlite"), "nonsense ".repeat(200)).unwrap();
    let output = place.analyze("two", &["--embedder", &folder]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("hint: `wimhf cache clear`"), "{}", stderr(&output));
    cache(&["clear"]);
    done(place.analyze("two", &["--embedder", &folder]));
}

#[test]
fn wrong_names_say_what_there_is() {
    let place = Place::new();
    for (embedder, expected) in [
        ("boxxed", "did you mean `boxed`?"),
        ("openai:", "name a model"),
        ("/no/such/folder", "no folder is at that path"),
        ("d.parquet", "not a file"),
        (".", "it has no `config.json`"),
        ("static:.", "it has no `model.safetensors`"),
    ] {
        let output = place.analyze("x", &["--embedder", embedder]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{embedder}: {said}");
        assert!(said.contains(expected) && said.contains("hint:"), "{embedder}: {said}");
    }
    let output = place.analyze("x", &["--template", "{prompt} only"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("{response}"), "{}", stderr(&output));
}

/// `wimhf embed`: the same vectors from a file and from a stream, the rows' own columns with them, and rows without a pair counted.
#[test]
fn pairs_get_their_vectors_from_files_and_streams() {
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    let row = |at: usize, b: Option<&str>| {
        serde_json::json!({"prompt": format!("What of {at}?"), "response_a": format!("This is thing number {at}."),
            "response_b": b, "mine": at})
        .to_string()
    };
    let mut rows: Vec<String> = (0..30).map(|at| row(at, Some("Something else."))).collect();
    rows.push(row(30, None));
    std::fs::write(dir.path().join("pairs.jsonl"), rows.join("\n")).unwrap();
    let call = |arguments: &[&str]| wimhf(dir.path()).args(arguments).output().unwrap();
    let output = call(&["embed", "pairs.jsonl", "--out", "one.parquet", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&said["rows"], &said["left_out"], &said["dimensions"]), (&31.into(), &1.into(), &256.into()));

    // One process pipes into another, which adds columns of other names.
    let mut first = Command::new(env!("CARGO_BIN_EXE_wimhf"))
        .args(["embed", "pairs.jsonl", "--out", "-", "--quiet"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let second = Command::new(env!("CARGO_BIN_EXE_wimhf"))
        .args(["embed", "-", "--columns", "again_a,again_b", "--out", "two.parquet"])
        .current_dir(dir.path())
        .stdin(first.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(first.wait().unwrap().success() && second.status.success(), "{}", stderr(&second));
    let (one, two) = (parquet(&dir.path().join("one.parquet")), parquet(&dir.path().join("two.parquet")));
    assert_eq!(one.height(), 31);
    assert_eq!(one.column("embedding_b").unwrap().null_count(), 1);
    for (name, again) in [("embedding_a", "again_a"), ("embedding_b", "again_b")] {
        let (x, y) = (one.column(name).unwrap(), two.column(again).unwrap());
        assert!(
            x.as_materialized_series()
                .equals_missing(&y.clone().with_name(name.into()).take_materialized_series())
        );
        assert!(
            x.as_materialized_series().equals_missing(two.column(name).unwrap().as_materialized_series())
        );
    }
    assert!(one.column("mine").is_ok() && one.column("wimhf_pair_id").is_ok());

    let refused = |arguments: &[&str], part: &str| {
        let output = call(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    };
    refused(&["embed", "pairs.jsonl"], "--out vectors.parquet");
    refused(&["embed", "pairs.jsonl", "--out", "pairs.jsonl"], "pairs.jsonl");
    refused(&["embed", "nowhere.jsonl", "--out", "x.parquet"], "nowhere.jsonl");
    refused(&["embed", "pairs.jsonl", "--embedder", "openai:m", "--out", "x.parquet"], "not on this machine");
    assert!(!dir.path().join("x.parquet").exists());
}
