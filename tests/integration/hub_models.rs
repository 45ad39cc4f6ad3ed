//! Models from a server that speaks the Hub's API.

use std::process::Command;

use serde_json::json;

use crate::embedders::{Place, done, tiny};
use crate::hub;
use crate::server::{Answer, Server};
use crate::util::{self, stderr};

fn repository(model: &str) -> hub::Repository {
    let root = tiny(model);
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    files.push(("README.md".into(), b"not needed".to_vec()));
    files.push(("pytorch_model.bin".into(), vec![0; 1000]));
    hub::Repository::new(files)
}

fn serve(repository: hub::Repository, fault: hub::Fault) -> Server {
    hub::serve([("models/me/tiny".to_owned(), repository)].into(), fault)
}

fn from_hub(place: &Place, server: &Server, name: &str, out: &str) -> Command {
    let mut command = place.analyze(out, &["--embedder", name]);
    command.env("HF_ENDPOINT", server.url());
    command
}

#[test]
fn a_model_of_the_hub_is_the_same_as_its_folder_and_pinned() {
    let place = Place::new();
    let repository = repository("modernbert");
    let commit = repository.commit.clone();
    let server = serve(repository, Box::new(|_, answer| answer));
    done(from_hub(&place, &server, "hf://me/tiny", "one"));
    let folder = tiny("modernbert").display().to_string();
    done(place.analyze("two", &["--embedder", &folder]));
    assert_eq!(place.deltas("one"), place.deltas("two"));
    assert_eq!(place.embedding("one")["source"], json!(format!("hf://me/tiny@{commit}")));
    assert_eq!(place.embedding("two")["from_cache"], place.embedding("two")["texts"], "it is the same model");
    let fetched: Vec<String> = server.requests().iter().map(|request| request.path.clone()).collect();
    assert!(!fetched.iter().any(|path| path.contains("README") || path.contains("pytorch")), "{fetched:?}");
    // In the Hub's ordinary cache, where Python finds it.
    let snapshot = place.path().join("hf/hub/models--me--tiny/snapshots").join(&commit);
    assert!(snapshot.join("model.safetensors").is_file() && snapshot.join("1_Pooling/config.json").is_file());
    assert_eq!(
        std::fs::read_to_string(place.path().join("hf/hub/models--me--tiny/refs/main")).unwrap(),
        commit
    );
    // Once there, without the Hub.
    let asked = server.count();
    let mut command = from_hub(&place, &server, "hf://me/tiny", "three");
    command.env("HF_HUB_OFFLINE", "1");
    done(command);
    assert_eq!(server.count(), asked);
    let mut command = from_hub(&place, &server, "hf://me/other", "four");
    let output = command.env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("HF_HUB_OFFLINE"), "{}", stderr(&output));
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let place = Place::new();
    let repository = repository("bert");
    let total = repository.files["model.safetensors"].len();
    let server = serve(
        repository,
        Box::new(|request, answer| {
            let range = request.header("range").unwrap_or_default();
            // Each attempt at the weights gives ten thousand bytes and hangs up.
            match request.path.ends_with("model.safetensors") && range != "bytes=0-0" {
                true if answer.body.len() > 10_000 => answer.cut(10_000),
                _ => answer,
            }
        }),
    );
    done(from_hub(&place, &server, "hf://me/tiny@main", "one"));
    let folder = tiny("bert").display().to_string();
    done(place.analyze("two", &["--embedder", &folder]));
    assert_eq!(place.deltas("one"), place.deltas("two"));
    let starts: Vec<usize> = (server.requests().iter())
        .filter(|request| request.path.ends_with("model.safetensors"))
        .filter_map(|request| {
            request.header("range")?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
        })
        .filter(|start| *start > 0)
        .collect();
    assert!(starts.len() >= total / 10_000, "{starts:?}");
    assert!(starts.is_sorted(), "nothing is fetched again: {starts:?}");
}

#[test]
fn what_the_hub_refuses_is_said_with_what_to_do() {
    let place = Place::new();
    let mut private = repository("bert");
    private.token = Some("hf_secret_token".into());
    let server = serve(private.clone(), Box::new(|_, answer| answer));
    let refused = |mut command: Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output)
    };
    let said = refused(from_hub(&place, &server, "hf://me/tiny", "x"));
    assert!(said.contains("`me/tiny`") && said.contains("HF_TOKEN"), "{said}");
    let mut wrong = from_hub(&place, &server, "hf://me/tiny", "x");
    wrong.env("HF_TOKEN", "hf_wrong_token");
    let said = refused(wrong);
    assert!(said.contains("token in `HF_TOKEN`") && !said.contains("hf_wrong"), "{said}");
    let mut right = from_hub(&place, &server, "hf://me/tiny", "one");
    right.env("HF_TOKEN", "hf_secret_token");
    done(right);
    for (name, content) in util::contents(&place.path().join("one")) {
        assert!(!String::from_utf8_lossy(&content).contains("hf_secret"), "{}", name.display());
    }
    let mut revision = from_hub(&place, &server, "hf://me/tiny@mainn", "x");
    revision.env("HF_TOKEN", "hf_secret_token");
    let said = refused(revision);
    assert!(said.contains("revision `mainn`") && said.contains("did you mean `@main`?"), "{said}");
    let said = refused(from_hub(&place, &server, "hf://one", "x"));
    assert!(said.contains("OWNER/NAME"), "{said}");
    let said = refused(from_hub(&place, &server, "hf://me/nothing", "x"));
    assert!(said.contains("`me/nothing`"), "{said}");
}

#[test]
fn a_hub_that_is_unwell_is_asked_again_and_a_broken_file_is_not_used() {
    let place = Place::new();
    let server = serve(
        repository("distilbert-max"),
        Box::new(|request, answer| match request.number {
            0 => Answer::error(503, "busy"),
            1 => answer.cut(10),
            // Once, bytes that are not what the checksum says.
            n if n < 12 && request.path.ends_with("model.safetensors") && answer.body.len() > 1000 => {
                let mut spoilt = answer;
                spoilt.body[500] ^= 1;
                spoilt
            }
            _ => answer,
        }),
    );
    done(from_hub(&place, &server, "hf://me/tiny", "one"));
    let folder = tiny("distilbert-max").display().to_string();
    done(place.analyze("two", &["--embedder", &folder]));
    assert_eq!(place.deltas("one"), place.deltas("two"));
}
