//! Models and datasets of the Hugging Face Hub: `hf://OWNER/NAME[@REV]` and `hf://datasets/OWNER/NAME[@REV][/PATH]`.
//!
//! hf-hub downloads into its ordinary cache, so what Python has fetched is there and the other way round. `HF_HOME`,
//! `HF_HUB_CACHE`, `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` count. A name is resolved to a commit first and
//! every file is taken from that commit.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Repo, RepoType};
use serde::Deserialize;

use crate::context::{Cancel, Context, Observer};
use crate::net::reach::Reach;
use crate::net::{Failure, Gate, NetError, Policy, Secret};
use crate::suggest::nearest;

const ENDPOINT: &str = "https://huggingface.co";
/// The branch on which the Hub keeps every dataset as Parquet, `CONFIG/SPLIT/0000.parquet`.
const CONVERTED: &str = "refs/convert/parquet";
/// Without a byte for so long, a download has died.
const STALLED: Duration = Duration::from_secs(120);
/// How often in a row a download is taken up again without anything more of it coming.
const RESUMES: u32 = 8;
/// How long we wait for another process that fetches the same file.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What can go wrong with the Hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The name cannot be understood.
    #[error("`{name}` is no name on the Hub: {message}\nhint: write {form}")]
    Name {
        /// As given.
        name: String,
        /// What is wrong.
        message: &'static str,
        /// How it is written.
        form: &'static str,
    },
    /// There is no such thing, or it may not be seen.
    #[error("the Hub has no {what} that you may read\nhint: {hint}")]
    Missing {
        /// Repository, revision or file.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Several things are meant.
    #[error("`{name}` holds more than one dataset\nhint: name one of {choices}")]
    Several {
        /// As given.
        name: String,
        /// Names to choose from.
        choices: String,
    },
    /// `HF_HUB_OFFLINE` is set, and the cache lacks something.
    #[error("{what} is not in the Hub's cache `{}`, and `HF_HUB_OFFLINE` forbids to fetch it\nhint: run once without it", .cache.display())]
    Offline {
        /// What is missing.
        what: String,
        /// The cache.
        cache: PathBuf,
    },
    /// A file does not arrive.
    #[error(
        "`{file}` of {repo} cannot be fetched: {message}\nhint: the same command goes on from where it stopped"
    )]
    Download {
        /// The file.
        file: String,
        /// Of what.
        repo: String,
        /// What happened.
        message: String,
    },
    /// The Hub cannot be reached, or the user stopped.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl HubError {
    /// Whether the user stopped it.
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Net(NetError::Stopped))
    }
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The name, with the commit for the revision: names the very same files for ever.
    pub pinned: String,
    /// The commit.
    pub revision: String,
    /// The folder of that commit in the cache.
    pub folder: PathBuf,
    /// The files that were asked for.
    pub files: Vec<PathBuf>,
}

/// Whether a name means the Hub.
pub fn is_hub(name: &str) -> bool {
    name.starts_with("hf://")
}

/// Fetches a model: the files that an embedder reads.
///
/// # Errors
/// See [`HubError`].
pub fn model(name: &str, context: &Context, progress: &mut dyn Observer) -> Result<Fetched, HubError> {
    let place = Place::parse(name)?;
    if place.kind != Kind::Model || !place.path.is_empty() {
        return Err(HubError::Name { name: name.into(), message: "it names no model", form: MODEL_FORM });
    }
    let hub = Hub::open(context)?;
    let found = hub.resolve(&place, &place.revision, progress)?;
    let files = files_of_a_model(&found.listing);
    if !files.iter().any(|file| file == "config.json") {
        return Err(HubError::Missing {
            what: format!("`config.json` in `{}`", place.id),
            hint: "an embedder has `config.json`, `tokenizer.json` and `model.safetensors`".into(),
        });
    }
    hub.fetch(&place, &found, &files, "", progress)
}

/// Fetches a dataset's files: a file, a folder, a glob, a split, or a configuration and its split.
///
/// # Errors
/// See [`HubError`].
pub fn dataset(name: &str, context: &Context, progress: &mut dyn Observer) -> Result<Fetched, HubError> {
    let place = Place::parse(name)?;
    if place.kind != Kind::Dataset {
        return Err(HubError::Name { name: name.into(), message: "it names no dataset", form: DATASET_FORM });
    }
    let hub = Hub::open(context)?;
    // Without the Hub, what was fetched may all lie on the other branch.
    let (found, unreachable) = match hub.resolve(&place, &place.revision, progress) {
        Ok(found) => (found, None),
        Err(error @ (HubError::Offline { .. } | HubError::Net(_))) if place.revision == MAIN => {
            (Found { commit: String::new(), listing: Vec::new(), is_cached: true }, Some(error))
        }
        Err(error) => return Err(error),
    };
    let chosen = choose(&found.listing, &place.path);
    if let [_, ..] = chosen.as_slice() {
        hub.whole(&place, &found, &chosen)?;
        return hub.fetch(&place, &found, &chosen, &place.path, progress);
    }
    // The repository itself has no such file: the Hub's Parquet of it, which exists for its main branch only.
    let mut choices = Vec::new();
    if place.revision == MAIN {
        let converted = match (hub.resolve(&place, CONVERTED, progress), unreachable) {
            (Ok(converted), _) => Some(converted),
            (Err(_), Some(error)) => return Err(error),
            (Err(error @ HubError::Net(_)), None) => return Err(error),
            // Not every dataset has one.
            (Err(_), None) => None,
        };
        match converted.as_ref().map(|converted| converted_split(&converted.listing, &place.path)) {
            Some(Ok(files)) if !files.is_empty() => {
                let converted = converted.unwrap_or(found);
                hub.whole(&place, &converted, &files)?;
                // Configuration and split, whichever of them was named.
                let split =
                    files.first().and_then(|file| file.rsplit_once('/')).map_or("", |(split, _)| split);
                let fetched = hub.fetch(&place, &converted, &files, split, progress)?;
                progress.note(&format!("read from the Parquet that the Hub keeps of `{}`", place.id));
                return Ok(fetched);
            }
            Some(Err(several)) => choices = several,
            _ => {}
        }
    }
    if choices.is_empty() {
        choices = groups(&found.listing);
    }
    let base = format!("hf://datasets/{}", place.id);
    let shown = |most: usize| {
        let mut shown: Vec<String> =
            choices.iter().take(most).map(|path| format!("`{base}/{path}`")).collect();
        if choices.len() > most {
            shown.push(format!("and {} more", choices.len() - most));
        }
        shown.join(", ")
    };
    if place.path.is_empty() && choices.len() > 1 {
        return Err(HubError::Several { name: name.into(), choices: shown(12) });
    }
    let there = choices.iter().chain(&found.listing).map(String::as_str);
    let hint = match nearest(&place.path, there) {
        Some(near) => format!("did you mean `{base}/{near}`?"),
        None if choices.is_empty() => "the repository holds no file of a kind that is read".into(),
        None => format!("data there: {}", shown(8)),
    };
    Err(HubError::Missing { what: format!("data at `{}` in `{}`", place.path, place.id), hint })
}

const MAIN: &str = "main";
const MODEL_FORM: &str = "`hf://OWNER/NAME` or `hf://OWNER/NAME@REVISION`";
const DATASET_FORM: &str = "`hf://datasets/OWNER/NAME[@REVISION]`, and behind it a `/file`, a `/folder`, a `/split` or a `/config/split`";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Dataset,
}

/// A name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    kind: Kind,
    /// OWNER/NAME.
    id: String,
    revision: String,
    path: String,
}

impl Place {
    fn parse(name: &str) -> Result<Self, HubError> {
        let rest = name.strip_prefix("hf://").unwrap_or(name);
        let (kind, rest, form) = match rest.strip_prefix("datasets/") {
            Some(rest) => (Kind::Dataset, rest, DATASET_FORM),
            None => (Kind::Model, rest.strip_prefix("models/").unwrap_or(rest), MODEL_FORM),
        };
        let wrong = |message| HubError::Name { name: name.to_owned(), message, form };
        let (before, after) = match rest.split_once('@') {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let mut parts = before.splitn(3, '/');
        let (owner, repository) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mut path = parts.next().unwrap_or_default().to_owned();
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        if !plain(owner) || !plain(repository) {
            return Err(wrong("an owner and a name are needed"));
        }
        let revision = match after {
            None => MAIN.to_owned(),
            Some(_) if !path.is_empty() => {
                return Err(wrong("the revision belongs directly behind the name"));
            }
            Some(after) => {
                // Branches such as refs/convert/parquet and refs/pr/5 have slashes of their own.
                let own = if after.starts_with("refs/") { 3 } else { 1 };
                let cut = after.match_indices('/').nth(own - 1).map_or(after.len(), |(at, _)| at);
                path = after.get(cut + 1..).unwrap_or_default().to_owned();
                after[..cut].replace("%2F", "/")
            }
        };
        if revision.is_empty()
            || revision.contains("..")
            || revision.chars().any(|c| c.is_whitespace() || c.is_control())
        {
            return Err(wrong("the revision behind `@` is none"));
        }
        let path = path.trim_matches('/').to_owned();
        if path.split('/').any(|part| part == "..") {
            return Err(wrong("the path leads out of the repository"));
        }
        Ok(Self { kind, id: format!("{owner}/{repository}"), revision, path })
    }

    fn repository(&self, revision: &str) -> Repo {
        let kind = if self.kind == Kind::Model { RepoType::Model } else { RepoType::Dataset };
        Repo::with_revision(self.id.clone(), kind, revision.to_owned())
    }

    /// For messages.
    fn shown(&self) -> String {
        let kind = if self.kind == Kind::Model { "model" } else { "dataset" };
        format!("{kind} `{}`", self.id)
    }
}

/// The files of a model that are used, for fetching them: paths relative to its folder. `listing` are those it has.
fn files_of_a_model(listing: &[String]) -> Vec<String> {
    let plain = |name: &str| {
        matches!(
            name,
            "config.json"
                | "tokenizer.json"
                | "tokenizer_config.json"
                | "modules.json"
                | "sentence_bert_config.json"
                | "config_sentence_transformers.json"
                | "model.safetensors"
                | "model.safetensors.index.json"
        )
    };
    let shard = |name: &str| {
        name.strip_prefix("model-").is_some_and(|rest| rest.ends_with(".safetensors") && !rest.contains('/'))
    };
    // Modules lie in folders such as `1_Pooling`.
    let module = |name: &str| {
        name.split_once('/').is_some_and(|(folder, file)| {
            folder.starts_with(|c: char| c.is_ascii_digit())
                && matches!(file, "config.json" | "model.safetensors")
        })
    };
    listing.iter().filter(|name| plain(name) || shard(name) || module(name)).cloned().collect()
}

/// A commit and the files in it.
#[derive(Debug, Clone)]
struct Found {
    commit: String,
    listing: Vec<String>,
    /// The listing is of the files that were fetched before.
    is_cached: bool,
}

struct Hub {
    endpoint: String,
    cache: hf_hub::Cache,
    token: Option<Secret>,
    offline: bool,
    agent: ureq::Agent,
    reach: Reach,
    policy: Policy,
}

impl Hub {
    fn open(context: &Context) -> Result<Self, HubError> {
        let variable = |name: &str| context.variable(name).map(str::to_owned);
        let home = variable("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| dirs::home_dir().map(|home| home.join(".cache")));
            cache.map(|cache| cache.join("huggingface"))
        });
        let folder =
            variable("HF_HUB_CACHE").map(PathBuf::from).or(home.as_ref().map(|home| home.join("hub")));
        let Some(folder) = folder else {
            return Err(NetError::Refused {
                message: "there is no folder for the Hub's files".into(),
                hint: "set `HF_HOME`",
            }
            .into());
        };
        let file = variable("HF_TOKEN_PATH").map(PathBuf::from).or(home.map(|home| home.join("token")));
        let token = Secret::of(context, "HF_TOKEN")
            .or_else(|| Secret::of(context, "HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| crate::limits::read_to_string(file?).ok().map(|text| Secret::new(&text)))
            .filter(|token| !token.is_empty());
        let offline = variable("HF_HUB_OFFLINE")
            .is_some_and(|value| matches!(&*value.trim().to_ascii_lowercase(), "1" | "true" | "yes" | "on"));
        // hf-hub asserts that paths are absolute.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let policy = Policy {
            attempts: 5,
            longest_wait: Duration::from_secs(10),
            context: context.clone(),
            ..Policy::default()
        };
        let endpoint = variable("HF_ENDPOINT").unwrap_or(ENDPOINT.into()).trim_end_matches('/').to_owned();
        let reach = Reach::of(&endpoint, context)?;
        let mut agent = ureq::Agent::config_builder()
            .timeout_connect(Some(policy.connect))
            .timeout_global(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .proxy(reach.proxy.clone())
            .user_agent(concat!("wimhf/", env!("CARGO_PKG_VERSION")));
        if let Some(tls) = reach.tls.clone() {
            agent = agent.tls_config(tls);
        }
        let agent = agent.build();
        Ok(Self {
            endpoint,
            reach,
            cache: hf_hub::Cache::new(folder),
            token,
            offline,
            agent: agent.into(),
            policy,
        })
    }

    /// The commit behind a revision: from the Hub, or from the cache where it may not or cannot be asked.
    fn resolve(&self, place: &Place, revision: &str, progress: &mut dyn Observer) -> Result<Found, HubError> {
        let cached = self.cached(place, revision);
        if self.offline {
            return cached.ok_or_else(|| HubError::Offline {
                what: format!("revision `{revision}` of the {}", place.shown()),
                cache: self.cache.path().clone(),
            });
        }
        let asked = self.ask(place, revision);
        match (asked, cached) {
            (
                Err(HubError::Net(NetError::GivenUp { message, .. } | NetError::Down { message, .. })),
                Some(found),
            ) => {
                let commit = found.commit.get(..8).unwrap_or(&found.commit);
                progress.note(&format!(
                    "the Hub cannot be asked ({message}): the {} is taken from the cache, commit {commit}",
                    place.shown()
                ));
                Ok(found)
            }
            (asked, _) => asked,
        }
    }

    fn cached(&self, place: &Place, revision: &str) -> Option<Found> {
        let repository = self.cache.repo(place.repository(revision));
        let folder = self.cache.path().join(place.repository(revision).folder_name());
        let commit = crate::limits::read_to_string(folder.join("refs").join(revision))
            .map(|text| text.trim().to_owned())
            .unwrap_or(revision.to_owned());
        let snapshot = repository.pointer_path(&commit);
        let mut listing = Vec::new();
        list(&snapshot, &snapshot, &mut listing);
        listing.sort();
        let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_commit && !listing.is_empty()).then_some(Found { commit, listing, is_cached: true })
    }

    fn ask(&self, place: &Place, revision: &str) -> Result<Found, HubError> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            #[serde(default)]
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let url = format!("{}/api/{}", self.endpoint, place.repository(revision).api_url());
        let (status, code, body) = self.get(&url)?;
        let missing = |what: String, hint: String| Err(HubError::Missing { what, hint });
        let private = match self.token {
            None => "check the name; if it is private or gated, set `HF_TOKEN`",
            Some(_) => "check the name, and that the token in `HF_TOKEN` may read it",
        };
        match (status, code.as_str()) {
            (200, _) => {}
            (_, "GatedRepo") => {
                let hint = format!(
                    "ask for access on `{}/{}`, and set `HF_TOKEN`",
                    self.endpoint,
                    place.repository(revision).url()
                );
                return missing(place.shown(), hint);
            }
            (404, "RevisionNotFound") => {
                let hint = self.revisions(place, revision);
                return missing(format!("revision `{revision}` of the {}", place.shown()), hint);
            }
            (401 | 403 | 404, _) => return missing(place.shown(), private.to_owned()),
            (status, _) => {
                return Err(NetError::Refused {
                    message: format!("`{url}` answered {status}"),
                    hint: "check `HF_ENDPOINT`",
                }
                .into());
            }
        }
        let info: Info = serde_json::from_slice(&body).map_err(|error| NetError::Refused {
            message: format!("`{url}` gave an answer that cannot be understood: {error}"),
            hint: "check `HF_ENDPOINT`",
        })?;
        if info.sha.is_empty() || !info.sha.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(NetError::Refused {
                message: format!("`{url}` names no commit"),
                hint: "check `HF_ENDPOINT`",
            }
            .into());
        }
        // Names become paths on this disk.
        let inside = |name: &str| {
            !name.starts_with('/')
                && !name.contains('\\')
                && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
        };
        let mut listing: Vec<String> =
            info.siblings.into_iter().map(|sibling| sibling.rfilename).filter(|name| inside(name)).collect();
        listing.sort();
        // So that the same name is found without the Hub next time, by Python too.
        let _ = self.cache.repo(place.repository(revision)).create_ref(&info.sha);
        Ok(Found { commit: info.sha, listing, is_cached: false })
    }

    /// Status, `X-Error-Code` and body; tried again where that may help.
    fn get(&self, url: &str) -> Result<(u16, String, Vec<u8>), NetError> {
        let gate = Gate::new(self.policy.clone());
        gate.with_retries(url, || {
            let mut request = self.agent.get(url);
            if let Some(token) = &self.token {
                let header = token.bearer().ok_or_else(|| {
                    Failure::fatal("the Hub's token holds characters that cannot be sent", "check `HF_TOKEN`")
                })?;
                request = request.header("Authorization", header);
            }
            let unreachable = |error: ureq::Error| {
                Failure::again(format!("no answer from `{url}`{}: {error}", self.reach.in_words()))
            };
            let mut response = request.call().map_err(unreachable)?;
            let status = response.status().as_u16();
            let code = response.headers().get("x-error-code").and_then(|value| value.to_str().ok());
            let code = code.unwrap_or_default().to_owned();
            let mut body =
                response.body_mut().with_config().limit(256 << 20).read_to_vec().map_err(unreachable)?;
            if let Some(token) = &self.token {
                token.scrub_bytes(&mut body);
            }
            match status {
                408 | 429 | 500..=599 => Err(Failure::again(format!("`{url}` answered {status}"))),
                _ => Ok((status, code, body)),
            }
        })
    }

    /// What revisions there are, for the message about one that is not.
    fn revisions(&self, place: &Place, wanted: &str) -> String {
        #[derive(Deserialize, Default)]
        struct Refs {
            #[serde(default)]
            branches: Vec<Ref>,
            #[serde(default)]
            tags: Vec<Ref>,
        }
        #[derive(Deserialize)]
        struct Ref {
            name: String,
        }
        let kind = if place.kind == Kind::Model { "models" } else { "datasets" };
        let url = format!("{}/api/{kind}/{}/refs", self.endpoint, place.id);
        let refs: Refs = match self.get(&url) {
            Ok((200, _, body)) => serde_json::from_slice(&body).unwrap_or_default(),
            _ => Refs::default(),
        };
        let names: Vec<&str> = refs.branches.iter().chain(&refs.tags).map(|one| one.name.as_str()).collect();
        match nearest(wanted, names.iter().copied()) {
            Some(near) => format!("did you mean `@{near}`?"),
            None if names.is_empty() => {
                "leave the revision out to take the newest, or name a branch, a tag or a commit".into()
            }
            None => format!("revisions there: {}", names.join(", ")),
        }
    }

    /// Refuses some of the shards of a split for all of them: the cache holds what was asked for then, which may be
    /// less than is meant now.
    fn whole(&self, place: &Place, found: &Found, files: &[String]) -> Result<(), HubError> {
        let by_name = place.path.contains(['*', '?', '[']) || files.contains(&place.path);
        if found.is_cached
            && !by_name
            && let Some(missing) = missing_shard(files)
        {
            return Err(HubError::Offline {
                what: format!("`{missing}` of the {}", place.shown()),
                cache: self.cache.path().clone(),
            });
        }
        Ok(())
    }

    /// Gets the files of a commit into the cache, those that are not there yet.
    fn fetch(
        &self,
        place: &Place,
        found: &Found,
        files: &[String],
        path: &str,
        progress: &mut dyn Observer,
    ) -> Result<Fetched, HubError> {
        let folder = self.cache.repo(place.repository(&found.commit)).pointer_path(&found.commit);
        let mut paths = Vec::with_capacity(files.len());
        for file in files {
            let path = folder.join(file);
            if !path.exists() {
                if self.offline {
                    return Err(HubError::Offline {
                        what: format!("`{file}` of the {}", place.shown()),
                        cache: self.cache.path().clone(),
                    });
                }
                self.download(place, &found.commit, file, &path, progress)?;
            }
            paths.push(path);
        }
        let kind = if place.kind == Kind::Model { "" } else { "datasets/" };
        let mut pinned = format!("hf://{kind}{}@{}", place.id, found.commit);
        if !path.is_empty() {
            pinned.push('/');
            pinned.push_str(path);
        }
        Ok(Fetched { pinned, revision: found.commit.clone(), folder, files: paths })
    }

    /// One file by hf-hub, taken up again where it breaks off, and looked at when it is there.
    fn download(
        &self,
        place: &Place,
        commit: &str,
        file: &str,
        path: &Path,
        progress: &mut dyn Observer,
    ) -> Result<(), HubError> {
        let failed = |message: String| {
            let message = self.token.as_ref().map_or(message.clone(), |token| token.scrub(&message));
            HubError::Download { file: file.into(), repo: place.shown(), message }
        };
        let api = ApiBuilder::from_cache(self.cache.clone())
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.as_ref().map(|token| token.reveal().to_owned()))
            .with_progress(false)
            .with_user_agent("wimhf", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let blobs = self.cache.path().join(place.repository(commit).folder_name()).join("blobs");
        let (began, mut told, mut resumes) = (Instant::now(), false, 0);
        loop {
            if path.exists() {
                // Another process has fetched it meanwhile.
                return Ok(());
            }
            let before = part_bytes(&blobs);
            let outcome =
                one_download(&api, place.repository(commit), file, &self.policy.context.cancel, progress)?;
            let message = match outcome {
                Outcome::Done(bytes) => match check(path, bytes) {
                    Ok(()) => return Ok(()),
                    Err(message) => {
                        // What is wrong is never right later: begin anew.
                        let target = std::fs::canonicalize(path);
                        let _ = std::fs::remove_file(path);
                        let _ = target.map(std::fs::remove_file);
                        message
                    }
                },
                Outcome::Refused(status, message) => match status {
                    401 | 403 => {
                        return Err(HubError::Missing {
                            what: format!("`{file}` of the {}", place.shown()),
                            hint: "set `HF_TOKEN` to a token that may read it".into(),
                        });
                    }
                    404 => {
                        return Err(HubError::Missing {
                            what: format!("`{file}` of the {}", place.shown()),
                            hint: "check `HF_ENDPOINT`".into(),
                        });
                    }
                    // The part on the disk is whole already, or longer than the file: it cannot be gone on with.
                    416 => {
                        remove_parts(&blobs);
                        message
                    }
                    408 | 425 | 429 | 500..=599 => message,
                    _ => return Err(failed(message)),
                },
                Outcome::Broken(message) => message,
                Outcome::Corrupt => {
                    remove_parts(&blobs);
                    "the part on the disk did not fit".to_owned()
                }
                // hf-hub waits five seconds; a large file takes another process longer.
                Outcome::Locked if began.elapsed() < PATIENCE => {
                    if !told {
                        told = true;
                        progress.note(&format!("waiting for another process that fetches `{file}`"));
                    }
                    continue;
                }
                Outcome::Locked => return Err(failed("another process holds it and does not finish".into())),
                Outcome::Stalled => {
                    let message = format!("nothing came for {} seconds", STALLED.as_secs());
                    return Err(failed(message));
                }
            };
            if self.policy.context.cancel.requested() {
                return Err(NetError::Stopped.into());
            }
            // A long file on a bad line arrives as long as something of it comes.
            resumes = if part_bytes(&blobs) > before { 1 } else { resumes + 1 };
            if resumes > RESUMES {
                return Err(failed(message));
            }
            std::thread::sleep(Duration::from_millis(250 << resumes.min(5)));
        }
    }
}

/// How an attempt at a download ended.
enum Outcome {
    /// All is there, of so many bytes.
    Done(Option<u64>),
    /// The server answered with this status.
    Refused(u16, String),
    /// The connection broke; what came is kept.
    Broken(String),
    /// What lies on the disk is not the beginning of the file.
    Corrupt,
    /// Another process is at it.
    Locked,
    /// No byte for too long.
    Stalled,
}

enum Event {
    Begin(u64),
    Bytes(u64),
    End(Result<PathBuf, ApiError>),
}

/// Tells the thread that watches.
struct Teller(mpsc::Sender<Event>);

impl hf_hub::api::Progress for Teller {
    fn init(&mut self, size: usize, _: &str) {
        let _ = self.0.send(Event::Begin(size as u64));
    }

    fn update(&mut self, size: usize) {
        let _ = self.0.send(Event::Bytes(size as u64));
    }

    fn finish(&mut self) {}
}

/// hf-hub sets no time limits, so it works on a thread of its own and is left behind when it stalls.
fn one_download(
    api: &Api,
    repository: Repo,
    file: &str,
    cancel: &Cancel,
    progress: &mut dyn Observer,
) -> Result<Outcome, HubError> {
    let (sender, events) = mpsc::channel();
    let (api, name) = (api.clone(), file.to_owned());
    std::thread::spawn(move || {
        let outcome = api.repo(repository).download_with_progress(&name, Teller(sender.clone()));
        let _ = sender.send(Event::End(outcome));
    });
    let _graceful = cancel.graceful_shutdown();
    let (mut size, mut bytes) = (None, 0);
    let mut last = Instant::now();
    loop {
        if cancel.requested() {
            return Err(NetError::Stopped.into());
        }
        match events.recv_timeout(Duration::from_millis(200)) {
            Ok(Event::Begin(total)) => {
                (size, bytes) = (Some(total), 0);
                progress.stage(&format!("fetch {}", file.rsplit('/').next().unwrap_or(file)), total as usize);
            }
            Ok(Event::Bytes(more)) => {
                bytes += more;
                progress.advance(bytes as usize);
            }
            Ok(Event::End(Ok(_))) => return Ok(Outcome::Done(size)),
            Ok(Event::End(Err(error))) => return Ok(ended(&error)),
            Err(RecvTimeoutError::Timeout) if last.elapsed() > STALLED => return Ok(Outcome::Stalled),
            Err(RecvTimeoutError::Timeout) => continue,
            // The thread has panicked: hf-hub takes some answers for granted.
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(Outcome::Broken("the server's answer is not that of a Hub".into()));
            }
        }
        last = Instant::now();
    }
}

fn ended(error: &ApiError) -> Outcome {
    match error {
        ApiError::RequestError(request) => match &**request {
            ureq::Error::StatusCode(status) => {
                Outcome::Refused(*status, format!("the server answered {status}"))
            }
            other => Outcome::Broken(other.to_string()),
        },
        ApiError::InvalidResume => Outcome::Corrupt,
        ApiError::LockAcquisition(_) => Outcome::Locked,
        other => Outcome::Broken(other.to_string()),
    }
}

/// Whether a file is as long as was said and, where its blob is named by its SHA-256, holds what was meant.
fn check(path: &Path, bytes: Option<u64>) -> Result<(), String> {
    use sha2::{Digest, Sha256};
    use std::io::Read;
    let failed = |error: std::io::Error| format!("it cannot be read again: {error}");
    let mut file = crate::limits::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if let Some(bytes) = bytes
        && bytes != length
    {
        return Err(format!("{length} bytes came where {bytes} were announced"));
    }
    let blob = std::fs::canonicalize(path).map_err(failed)?;
    let name = blob.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let mut hash = Sha256::new();
        let mut block = vec![0; 1 << 20];
        loop {
            match file.read(&mut block).map_err(failed)? {
                0 => break,
                count => hash.update(block.get(..count).unwrap_or_default()),
            }
        }
        if format!("{:x}", hash.finalize()) != name {
            return Err("its content is not what its checksum says".into());
        }
    }
    Ok(())
}

/// Bytes that were begun and wait to be gone on with.
fn part_bytes(blobs: &Path) -> u64 {
    let parts = std::fs::read_dir(blobs).into_iter().flatten().flatten();
    parts
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "part"))
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}

/// Forgets what was begun and nobody goes on with.
fn remove_parts(blobs: &Path) {
    for entry in std::fs::read_dir(blobs).into_iter().flatten().flatten() {
        let path = entry.path();
        let part = path.extension().is_some_and(|extension| extension == "part");
        let held =
            || crate::limits::open(path.with_extension("lock")).is_ok_and(|lock| lock.try_lock().is_err());
        if part && !held() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Files below a folder, relative to `root`.
fn list(root: &Path, folder: &Path, out: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(root, &path, out);
        } else if let Ok(name) = path.strip_prefix(root) {
            out.push(name.to_string_lossy().replace('\\', "/"));
        }
    }
}

/// Extensions of data, the preferred first.
const DATA: [&[&str]; 4] = [
    &[".parquet"],
    &[".arrow"],
    &[".jsonl", ".jsonl.gz", ".json", ".json.gz"],
    &[".csv", ".tsv", ".csv.gz", ".tsv.gz"],
];

fn is_data(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    DATA.iter().flat_map(|kinds| kinds.iter()).any(|end| lower.ends_with(end)) && !is_note(&lower)
}

/// JSON files that describe a repository.
fn is_note(lower: &str) -> bool {
    let name = lower.rsplit('/').next().unwrap_or(lower);
    matches!(name, "dataset_infos.json" | "dataset_info.json" | "state.json" | "package.json")
        || name.starts_with('.')
}

/// The files of the first kind that is there at all.
fn preferred(names: Vec<&String>) -> Vec<String> {
    let kind = |name: &str| {
        let lower = name.to_ascii_lowercase();
        DATA.iter().position(|kinds| kinds.iter().any(|end| lower.ends_with(end)))
    };
    let best = names.iter().filter_map(|name| kind(name)).min();
    names.into_iter().filter(|name| kind(name) == best).cloned().collect()
}

/// The files of a repository that a path means: itself, what is in it, what matches it, or what is named after a split.
fn choose(listing: &[String], path: &str) -> Vec<String> {
    let data: Vec<&String> = listing.iter().filter(|name| is_data(name)).collect();
    if path.is_empty() {
        // Without a path there must be nothing to choose.
        return if groups(listing).len() == 1 { preferred(data) } else { Vec::new() };
    }
    if let Some(name) = listing.iter().find(|name| *name == path) {
        return vec![name.clone()];
    }
    let below = format!("{path}/");
    let inside: Vec<&String> = data.iter().copied().filter(|name| name.starts_with(&below)).collect();
    if !inside.is_empty() {
        return preferred(inside);
    }
    if path.contains(['*', '?', '[']) {
        let pattern = glob::Pattern::new(path).ok();
        return data
            .into_iter()
            .filter(|name| pattern.as_ref().is_some_and(|p| p.matches(name)))
            .cloned()
            .collect();
    }
    let (folder, split) = path.rsplit_once('/').unwrap_or(("", path));
    let named = |name: &String| {
        let (place, file) = name.rsplit_once('/').unwrap_or(("", name));
        let in_place = place == folder || (folder.is_empty() && place == "data");
        let rest = file.strip_prefix(split);
        in_place && rest.is_some_and(|rest| rest.starts_with(['-', '.', '_']))
    };
    preferred(data.into_iter().filter(|name| named(name)).collect())
}

/// A shard that the names of the others say there is: `train-00001-of-00002.parquet`, or a gap before `0002.parquet`.
fn missing_shard(files: &[String]) -> Option<String> {
    for file in files {
        let (place, name) = file.rsplit_once('/').map_or(("", &**file), |(place, name)| (place, name));
        let at = |name: String| if place.is_empty() { name } else { format!("{place}/{name}") };
        let Some((stem, extension)) = name.split_once('.') else { continue };
        let wanted: Vec<String> = if let Some((before, count)) = stem.rsplit_once("-of-") {
            let (Some((split, number)), Ok(count)) = (before.rsplit_once('-'), count.parse::<usize>()) else {
                continue;
            };
            let (width, total) = (number.len(), stem.len() - before.len() - 4);
            (0..count.min(100_000))
                .map(|i| at(format!("{split}-{i:0width$}-of-{count:0total$}.{extension}")))
                .collect()
        } else if let (4, "parquet", true, Ok(number)) =
            (stem.len(), extension, place.contains('/'), stem.parse::<usize>())
        {
            (0..number).map(|i| at(format!("{i:04}.{extension}"))).collect()
        } else {
            continue;
        };
        let there: std::collections::HashSet<&str> = files.iter().map(String::as_str).collect();
        if let Some(missing) = wanted.into_iter().find(|name| !there.contains(name.as_str())) {
            return Some(missing);
        }
    }
    None
}

/// What a repository's data files fall into: folder and split of each, `data/train-00000-of-00002.parquet` being `train`.
fn groups(listing: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in listing.iter().filter(|name| is_data(name)) {
        let (place, file) = name.rsplit_once('/').unwrap_or(("", name));
        let stem = file.split('.').next().unwrap_or(file);
        let split = match stem.find("-0") {
            Some(at) => &stem[..at],
            None => stem,
        };
        // Shards are one; any other file is one of its own and is named whole.
        let shard = split != stem;
        let group = match (shard, place) {
            (true, "" | "data") => split.to_owned(),
            (true, place) => format!("{place}/{split}"),
            (false, _) => name.clone(),
        };
        if !found.contains(&group) {
            found.push(group);
        }
    }
    found
}

/// Files of a configuration's split on the converted branch, or the names to choose from.
fn converted_split(listing: &[String], path: &str) -> Result<Vec<String>, Vec<String>> {
    let mut splits: Vec<(&str, &str)> = Vec::new();
    for name in listing {
        if let [config, split, file] = name.split('/').collect::<Vec<_>>()[..]
            && file.ends_with(".parquet")
            && !splits.contains(&(config, split))
        {
            splits.push((config, split));
        }
    }
    let wanted: Vec<&(&str, &str)> = match path.split_once('/') {
        Some((config, split)) => splits.iter().filter(|pair| **pair == (config, split)).collect(),
        None if path.is_empty() => splits.iter().collect(),
        None => splits.iter().filter(|(config, split)| *config == path || *split == path).collect(),
    };
    match wanted[..] {
        [(config, split)] => {
            let below = format!("{config}/{split}/");
            Ok(listing
                .iter()
                .filter(|name| name.starts_with(&below) && name.ends_with(".parquet"))
                .cloned()
                .collect())
        }
        [] => Err(splits.iter().map(|(config, split)| format!("{config}/{split}")).collect()),
        _ => Err(wanted.iter().map(|(config, split)| format!("{config}/{split}")).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn names_are_taken_apart() {
        let parse = |name: &str| {
            Place::parse(name).map(|p| (p.kind, p.id, p.revision, p.path)).map_err(|error| error.to_string())
        };
        let place =
            |kind, id: &str, revision: &str, path: &str| Ok((kind, id.into(), revision.into(), path.into()));
        assert_eq!(parse("hf://a/b"), place(Kind::Model, "a/b", "main", ""));
        assert_eq!(parse("hf://a/b@v1.0"), place(Kind::Model, "a/b", "v1.0", ""));
        assert_eq!(parse("hf://datasets/a/b.c"), place(Kind::Dataset, "a/b.c", "main", ""));
        assert_eq!(
            parse("hf://datasets/a/b/x/y.parquet"),
            place(Kind::Dataset, "a/b", "main", "x/y.parquet")
        );
        assert_eq!(parse("hf://datasets/a/b@r/x/"), place(Kind::Dataset, "a/b", "r", "x"));
        assert_eq!(
            parse("hf://datasets/a/b@refs/convert/parquet/default/train"),
            place(Kind::Dataset, "a/b", "refs/convert/parquet", "default/train")
        );
        assert_eq!(parse("hf://datasets/a/b@refs%2Fpr%2F5"), place(Kind::Dataset, "a/b", "refs/pr/5", ""));
        for wrong in [
            "hf://",
            "hf://a",
            "hf://datasets/a",
            "hf://a/b@",
            "hf://../b",
            "hf://a/b/../../c",
            "hf://a/b@x y",
        ] {
            let message = parse(wrong).unwrap_err();
            assert!(message.contains("hint:"), "{message}");
        }
    }

    #[test]
    fn a_path_means_files() {
        let listing = names(
            "README.md data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet \
             data/test-00000-of-00001.parquet dataset_infos.json extra/notes.csv extra/a.parquet",
        );
        assert_eq!(
            choose(&listing, "train"),
            names("data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet")
        );
        assert_eq!(choose(&listing, "data/test"), names("data/test-00000-of-00001.parquet"));
        assert_eq!(choose(&listing, "extra"), names("extra/a.parquet"));
        assert_eq!(choose(&listing, "extra/notes.csv"), names("extra/notes.csv"));
        assert_eq!(choose(&listing, "data/*.parquet").len(), 3);
        assert!(choose(&listing, "valid").is_empty());
        assert!(choose(&listing, "").is_empty(), "more than one thing is there");
        assert_eq!(groups(&listing), names("train test extra/notes.csv extra/a.parquet"));
        let single = names("README.md train.jsonl");
        assert_eq!(choose(&single, ""), names("train.jsonl"));
        assert_eq!(choose(&single, "train"), names("train.jsonl"));
    }

    #[test]
    fn a_shard_that_others_tell_of_is_missed() {
        let missing = |text: &str| missing_shard(&names(text));
        assert_eq!(missing("data/t-00000-of-00002.parquet data/t-00001-of-00002.parquet"), None);
        assert_eq!(
            missing("data/t-00000-of-00002.parquet").as_deref(),
            Some("data/t-00001-of-00002.parquet")
        );
        assert_eq!(
            missing("a/train/0000.parquet a/train/0002.parquet").as_deref(),
            Some("a/train/0001.parquet")
        );
        assert_eq!(missing("notes.csv train.jsonl.gz data/2024.parquet part-1-of-x.csv"), None);
    }

    #[test]
    fn a_split_is_found_on_the_converted_branch() {
        let listing = names(
            "default/train/0000.parquet default/train/0001.parquet default/test/0000.parquet other/train/0000.parquet",
        );
        assert_eq!(converted_split(&listing, "default/test").unwrap(), names("default/test/0000.parquet"));
        assert_eq!(converted_split(&listing, "test").unwrap(), names("default/test/0000.parquet"));
        assert_eq!(converted_split(&listing, "other").unwrap(), names("other/train/0000.parquet"));
        assert_eq!(converted_split(&listing, "train").unwrap_err(), names("default/train other/train"));
        assert_eq!(converted_split(&listing, "").unwrap_err().len(), 3);
    }
}
