//! A server that speaks the Hub's API, for a few repositories in memory.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::server::{Answer, Request, Server};

/// A repository as the Hub shows it.
#[derive(Debug, Clone, Default)]
pub struct Repository {
    /// Files of the one commit that there is.
    pub files: BTreeMap<String, Vec<u8>>,
    /// 40 hexadecimal digits.
    pub commit: String,
    /// Names that mean the commit.
    pub revisions: Vec<String>,
    /// Only with this token.
    pub token: Option<String>,
}

impl Repository {
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self {
            files: files.into_iter().collect(),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            revisions: vec!["main".into()],
            token: None,
        }
    }
}

/// Repositories by `models/OWNER/NAME` or `datasets/OWNER/NAME`.
pub type Repositories = BTreeMap<String, Repository>;

/// Changes an answer, or leaves it.
pub type Fault = Box<dyn Fn(&Request, Answer) -> Answer + Send + Sync>;

/// Serves them; set `HF_ENDPOINT` to its URL.
pub fn serve(repositories: Repositories, fault: Fault) -> Server {
    // What a test changes while the server runs would go behind a lock; none does.
    let shared = Arc::new(Mutex::new(repositories));
    Server::start(move |request| {
        let good = {
            let repositories = shared.lock().expect("no panic while it was held");
            answer(&repositories, request)
        };
        fault(request, good)
    })
}

fn missing(code: &str) -> Answer {
    Answer::error(404, code).header("X-Error-Code", code)
}

fn answer(repositories: &Repositories, request: &Request) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default().trim_start_matches('/').replace("%2F", "/");
    let (name, rest) = match path.strip_prefix("api/") {
        Some(rest) => {
            let mut parts = rest.splitn(4, '/');
            let mut part = || parts.next().unwrap_or_default();
            (format!("{}/{}/{}", part(), part(), part()), format!("api/{}", part()))
        }
        None => {
            let (kind, rest) = match path.strip_prefix("datasets/") {
                Some(rest) => ("datasets", rest),
                None => ("models", path.as_str()),
            };
            let mut parts = rest.splitn(3, '/');
            let mut part = || parts.next().unwrap_or_default();
            (format!("{kind}/{}/{}", part(), part()), part().to_owned())
        }
    };
    let allowed = |repository: &&Repository| {
        let sent = request.header("authorization");
        repository.token.as_ref().is_none_or(|token| sent == Some(&format!("Bearer {token}")))
    };
    let Some(repository) = repositories.get(&name).filter(allowed) else {
        // The Hub does not say whether a private repository is there.
        return Answer::error(401, "Invalid username or password.").header("X-Error-Code", "RepoNotFound");
    };
    let known = |revision: &str| {
        repository.commit == revision || repository.revisions.iter().any(|other| other == revision)
    };
    if let Some(revision) = rest.strip_prefix("api/revision/") {
        if !known(revision) {
            return missing("RevisionNotFound");
        }
        let siblings: Vec<String> =
            repository.files.keys().map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
        return Answer::json(format!(
            r#"{{"id":"x","sha":"{}","siblings":[{}]}}"#,
            repository.commit,
            siblings.join(",")
        ));
    }
    if rest == "api/refs" {
        let branches: Vec<String> =
            repository.revisions.iter().map(|name| format!(r#"{{"name":"{name}"}}"#)).collect();
        return Answer::json(format!(r#"{{"branches":[{}],"tags":[]}}"#, branches.join(",")));
    }
    let Some(rest) = rest.strip_prefix("resolve/") else { return missing("EntryNotFound") };
    let Some((revision, file)) = rest.split_once('/').filter(|(revision, _)| known(revision)) else {
        return missing("RevisionNotFound");
    };
    let _ = revision;
    let Some(content) = repository.files.get(file) else { return missing("EntryNotFound") };
    send_file(request, content, &repository.commit)
}

/// The content of a file of a commit, whole or the part that is asked for.
pub fn send_file(request: &Request, content: &[u8], commit: &str) -> Answer {
    let digest = format!("{:x}", Sha256::digest(content));
    let total = content.len();
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    let (status, from, to) = match range.and_then(|range| range.split_once('-')) {
        Some((from, to)) => {
            let from: usize = from.parse().unwrap_or(0);
            if from >= total {
                return Answer::error(416, "out of range");
            }
            (206, from, to.parse().unwrap_or(total).min(total - 1) + 1)
        }
        None => (200, 0, total),
    };
    Answer::new(status, "application/octet-stream", &content[from..to])
        .header("ETag", &format!("\"{digest}\""))
        .header("X-Repo-Commit", commit)
        .header("Accept-Ranges", "bytes")
        .header("Content-Range", &format!("bytes {from}-{}/{total}", to - 1))
}
