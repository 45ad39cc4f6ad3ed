//! Datasets from a server that speaks the Hub's API.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hub::{Fault, Repository, serve};
use crate::server::{Answer, Server};
use crate::util::{json, small, stderr, stdout, wimhf};

const NAME: &str = "hf://datasets/me/votes";
const SHARDS: [&str; 2] = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"];
const CONVERTED: &str = "refs/convert/parquet";
const CONVERTED_COMMIT: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// A folder with two shards, the Hub's home, and whatever a test makes.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        small(&folder.path().join(SHARDS[0]), 140, |i| (i % 2) as f64);
        small(&folder.path().join(SHARDS[1]), 60, |i| (i % 3 == 0) as u8 as f64);
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn shard(&self, number: usize) -> Vec<u8> {
        std::fs::read(self.path().join(SHARDS[number])).unwrap()
    }

    /// The two shards of a split, and what else lies in a repository.
    fn repository(&self) -> Repository {
        Repository::new([
            ("README.md".to_owned(), b"# votes".to_vec()),
            ("dataset_infos.json".to_owned(), b"{}".to_vec()),
            (SHARDS[0].to_owned(), self.shard(0)),
            (SHARDS[1].to_owned(), self.shard(1)),
        ])
    }

    fn command(&self, server: &Server, arguments: &[&str]) -> Command {
        let mut command = wimhf(self.path());
        for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"]
        {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.path().join("hf")).env("HF_ENDPOINT", server.url());
        command.env("WIMHF_CACHE_DIR", self.path().join("cache")).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn inspect(&self, server: &Server, name: &str) -> Output {
        self.command(server, &["inspect", name, "--json"]).output().unwrap()
    }

    /// What the folder on this disk holds.
    fn local(&self) -> Value {
        found(&wimhf(self.path()).args(["inspect", "data", "--json"]).output().unwrap())
    }
}

fn found(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_str(&stdout(output)).unwrap()
}

fn refused(output: &Output, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(stdout(output).is_empty() && !said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}

fn one(repository: Repository) -> Server {
    with_fault(repository, Box::new(|_, answer| answer))
}

fn with_fault(repository: Repository, fault: Fault) -> Server {
    serve([("datasets/me/votes".to_owned(), repository)].into(), fault)
}

/// Bytes of the shards that were sent, by file.
fn sent(server: &Server, file: &str) -> Vec<u64> {
    let starts =
        server.requests().into_iter().filter(|request| request.path.ends_with(file)).map(|request| {
            let range =
                request.header("range").and_then(|range| range.strip_prefix("bytes=")).unwrap_or("0-");
            range.split('-').next().and_then(|start| start.parse().ok()).unwrap_or(0)
        });
    starts.collect()
}

#[test]
fn a_split_of_the_hub_is_the_same_as_its_files_and_pinned() {
    let place = Place::new();
    let server = one(place.repository());
    let local = place.local();
    let commit = place.repository().commit;
    for (name, pinned) in [
        (NAME.to_owned(), format!("{NAME}@{commit}")),
        (format!("{NAME}/train"), format!("{NAME}@{commit}/train")),
        (format!("{NAME}@main/data"), format!("{NAME}@{commit}/data")),
        (format!("{NAME}@{commit}/data/*.parquet"), format!("{NAME}@{commit}/data/*.parquet")),
    ] {
        let hub = found(&place.inspect(&server, &name));
        assert_eq!(hub["data"]["fingerprint"], local["data"]["fingerprint"], "{name}");
        assert_eq!(hub["data"]["sources"][0]["path"], Value::from(pinned), "{name}");
        assert_eq!(hub["data"]["sources"][0]["files"], 2, "{name}");
    }
    let one_shard = found(&place.inspect(&server, &format!("{NAME}/{}", SHARDS[1])));
    assert_eq!(one_shard["data"]["sources"][0]["rows"], 60);
    let fetched: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert!(!fetched.iter().any(|path| path.contains("README") || path.contains("infos")), "{fetched:?}");
    // Each file once: a probe of its size and the content.
    assert!(sent(&server, SHARDS[0]).len() <= 3, "{fetched:?}");
    // In the Hub's ordinary cache, where Python finds it.
    let cache = place.path().join("hf/hub/datasets--me--votes");
    assert!(cache.join("snapshots").join(&commit).join(SHARDS[0]).is_file());
    assert_eq!(std::fs::read_to_string(cache.join("refs/main")).unwrap(), commit);
}

#[test]
fn a_run_records_the_commit_and_reads_it_again_when_the_branch_moved() {
    let place = Place::new();
    let server = one(place.repository());
    let run = ["analyze", NAME, "--device", "cpu", "--features", "4", "--active", "2", "--out", "run"];
    let output = place.command(&server, &run).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let record = json(&place.path().join("run/run.json"));
    let commit = place.repository().commit;
    assert_eq!(record["dataset"]["path"], Value::from(format!("{NAME}@{commit}")));
    assert_eq!(record["dataset"]["sources"][0]["dataset"], "me/votes");
    drop(server);
    // The branch has other data now; what belongs to the run is still that commit, out of the cache.
    let mut moved = place.repository();
    moved.commit = "ffffffffffffffffffffffffffffffffffffffff".into();
    moved.files.insert(SHARDS[1].into(), place.shard(0));
    let server = one(moved);
    let mut export = place.command(&server, &["export", "run", "--format", "trl"]);
    let output = export.env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(server.count(), 0);
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let place = Place::new();
    let total = place.shard(0).len();
    let piece = total / 3 + 1;
    // Every answer with content breaks off after a third.
    let server = with_fault(
        place.repository(),
        Box::new(move |_, answer| if answer.body.len() > piece { answer.cut(piece) } else { answer }),
    );
    let hub = found(&place.inspect(&server, NAME));
    assert_eq!(hub["data"]["fingerprint"], place.local()["data"]["fingerprint"]);
    let starts: Vec<u64> = sent(&server, SHARDS[0]).into_iter().filter(|start| *start > 0).collect();
    assert!(starts.len() >= 2, "{starts:?}");
    assert!(starts.is_sorted() && starts.windows(2).all(|pair| pair[1] > pair[0]), "{starts:?}");
}

#[test]
fn a_killed_download_is_taken_up_by_the_next_run() {
    let place = Place::new();
    let total = place.shard(0).len() as u64;
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    // Half of the first shard comes; nothing more does as long as it is broken.
    let server = with_fault(
        place.repository(),
        Box::new(move |request, answer| {
            let is_first = request.path.ends_with(SHARDS[0]) && answer.body.len() > 1;
            match (is_first && is_broken.load(Ordering::SeqCst), request.header("range")) {
                (true, Some(range)) if !range.starts_with("bytes=0-") => {
                    answer.after(Duration::from_secs(30))
                }
                (true, _) => {
                    let half = answer.body.len() / 2;
                    answer.cut(half)
                }
                (false, _) => answer,
            }
        }),
    );
    let mut child = place.command(&server, &["inspect", NAME]).spawn().unwrap();
    // Until it asks for the second half, in vain.
    let began = Instant::now();
    while !sent(&server, SHARDS[0]).iter().any(|start| *start > 0) {
        assert!(began.elapsed() < Duration::from_secs(120), "it never went on");
        assert!(child.try_wait().unwrap().is_none(), "it gave up");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    broken.store(false, Ordering::SeqCst);
    let before = server.count();
    let hub = found(&place.inspect(&server, NAME));
    assert_eq!(hub["data"]["fingerprint"], place.local()["data"]["fingerprint"]);
    let later: Vec<u64> = server.requests()[before..]
        .iter()
        .filter(|request| request.path.ends_with(SHARDS[0]))
        .filter_map(|request| {
            request.header("range")?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
        })
        .filter(|start| *start > 0)
        .collect();
    assert!(later.iter().all(|start| *start >= total / 2), "what had come is fetched again: {later:?}");
    assert!(!later.is_empty(), "it began anew");
}

#[test]
fn what_the_hub_refuses_is_said_with_what_to_do() {
    let place = Place::new();
    let mut private = place.repository();
    private.token = Some("hf_secret_token".into());
    private.revisions.push("v1.0".into());
    let server = one(private);
    let with_token = |name: &str, token: &str| {
        let mut command = place.command(&server, &["inspect", name, "--json"]);
        command.env("HF_TOKEN", token).output().unwrap()
    };
    refused(&place.inspect(&server, NAME), &["dataset `me/votes`", "HF_TOKEN"]);
    let wrong = with_token(NAME, "hf_wrong_token");
    refused(&wrong, &["token in `HF_TOKEN`"]);
    assert!(!stderr(&wrong).contains("hf_wrong"));
    found(&with_token(NAME, "hf_secret_token"));
    refused(
        &with_token(&format!("{NAME}@v1.1"), "hf_secret_token"),
        &["revision `v1.1`", "did you mean `@v1.0`?"],
    );
    refused(
        &with_token(&format!("{NAME}/trian"), "hf_secret_token"),
        &["data at `trian`", "data there: `hf://datasets/me/votes/train`"],
    );
    refused(
        &place.inspect(&server, "hf://datasets/me"),
        &["an owner and a name", "hf://datasets/OWNER/NAME"],
    );
    refused(&place.inspect(&server, "hf://me/votes"), &["names no dataset", "hf://datasets/OWNER/NAME"]);
    refused(&place.inspect(&server, "hf://datasets/me/nothing"), &["`me/nothing`"]);
}

/// A repository of scripts, with what the Hub converted on the other branch.
fn with_converted(place: &Place, splits: &[&str]) -> Server {
    let plain = Repository::new([("votes.py".to_owned(), b"import datasets".to_vec())]);
    let files: BTreeMap<String, Vec<u8>> = splits
        .iter()
        .flat_map(|split| (0..2).map(move |i| (format!("{split}/000{i}.parquet"), place.shard(i))))
        .collect();
    let listing: Vec<String> = files.keys().map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
    let listing = format!(r#"{{"sha":"{CONVERTED_COMMIT}","siblings":[{}]}}"#, listing.join(","));
    with_fault(
        plain,
        Box::new(move |request, answer| {
            let path = request.path.replace("%2F", "/");
            let of_branch = |name| path.contains(&format!("/revision/{name}"));
            if of_branch(CONVERTED) || of_branch(CONVERTED_COMMIT) {
                return Answer::json(listing.clone());
            }
            let file = path.split_once(&format!("/resolve/{CONVERTED_COMMIT}/"));
            match file.and_then(|(_, file)| files.get(file)) {
                Some(content) => crate::hub::send_file(request, content, CONVERTED_COMMIT),
                None => answer,
            }
        }),
    )
}

#[test]
fn the_hubs_own_parquet_is_read_where_the_repository_has_none() {
    let place = Place::new();
    let local = place.local();
    let server = with_converted(&place, &["default/train"]);
    for name in [NAME.to_owned(), format!("{NAME}/train"), format!("{NAME}/default/train")] {
        let output = place.inspect(&server, &name);
        let hub = found(&output);
        assert_eq!(hub["data"]["sources"][0]["rows"], local["data"]["sources"][0]["rows"], "{name}");
        let path = format!("{NAME}@{CONVERTED_COMMIT}/default/train");
        assert_eq!(hub["data"]["sources"][0]["path"], Value::from(path.clone()), "{name}");
        assert!(stderr(&output).contains("the Parquet that the Hub keeps"), "{}", stderr(&output));
        // The pinned name means the same files.
        let again = found(&place.inspect(&server, &path));
        assert_eq!(again["data"]["fingerprint"], hub["data"]["fingerprint"]);
    }
    let server = with_converted(&place, &["default/train", "default/test"]);
    refused(
        &place.inspect(&server, NAME),
        &[
            "more than one dataset",
            "hf://datasets/me/votes/default/train",
            "hf://datasets/me/votes/default/test",
        ],
    );
}

#[test]
fn offline_the_cache_serves_and_a_part_is_never_taken_for_the_whole() {
    let place = Place::new();
    let server = one(place.repository());
    let offline = |name: &str| {
        let mut command = place.command(&server, &["inspect", name, "--json"]);
        command.env("HF_HUB_OFFLINE", "1").output().unwrap()
    };
    refused(&offline(NAME), &["HF_HUB_OFFLINE", "me/votes"]);
    assert_eq!(server.count(), 0);
    found(&place.inspect(&server, &format!("{NAME}/{}", SHARDS[0])));
    refused(&offline(&format!("{NAME}/train")), &["train-00001-of-00002.parquet", "HF_HUB_OFFLINE"]);
    assert_eq!(found(&offline(&format!("{NAME}/{}", SHARDS[0])))["data"]["sources"][0]["rows"], 140);
    found(&place.inspect(&server, NAME));
    let asked = server.count();
    assert_eq!(found(&offline(NAME))["data"]["fingerprint"], place.local()["data"]["fingerprint"]);
    assert_eq!(server.count(), asked);
}

#[test]
fn sources_of_the_hub_and_of_this_disk_are_one_set() {
    let place = Place::new();
    let server = one(place.repository());
    let output = place.command(&server, &["inspect", NAME, SHARDS[1], "--json"]).output().unwrap();
    let both = found(&output);
    let names: Vec<&str> = both["data"]["sources"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|source| source["dataset"].as_str())
        .collect();
    assert_eq!(names, ["me/votes", "train-00001-of-00002"]);
}
