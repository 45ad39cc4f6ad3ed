//! The page and what it asks, over HTTP on this machine alone: a token in the address, and only this page's own requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query as FromQuery, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wimhf::describe::Feature;
use wimhf::ops::models::NamedModel;
use wimhf::statistics::share::wilson;
use wimhf::store::Estimate;
use wimhf::{Cancel, Context};

use crate::ask::ask;
use crate::edits::{self, Change};
use crate::error::ExploreError;
use crate::journal::{Decided, Verdict};
use crate::opened::Opened;
use crate::pairs::{self, Query};
use crate::sql::Tables;
use crate::tools::{TOOLS, call};
use crate::{download, map, review, validate};

/// Bytes of a request's body.
const BODY: usize = 64 * 1024;
/// Signs of a token that the user chooses.
const TOKEN: usize = 32;
/// Names in the lists of annotators and models.
const NAMES: usize = 200;
/// How often to look whether somebody wants it to stop.
const LOOK: Duration = Duration::from_millis(100);
/// What the page may do: nothing but ask this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's files.
const FILES: [(&str, &str, &str); 12] = [
    ("/app.css", "text/css; charset=utf-8", include_str!("page/app.css")),
    ("/api.js", SCRIPT, include_str!("page/api.js")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/ask.js", SCRIPT, include_str!("page/ask.js")),
    ("/features.js", SCRIPT, include_str!("page/features.js")),
    ("/map.js", SCRIPT, include_str!("page/map.js")),
    ("/pair.js", SCRIPT, include_str!("page/pair.js")),
    ("/pairs.js", SCRIPT, include_str!("page/pairs.js")),
    ("/review.js", SCRIPT, include_str!("page/review.js")),
    ("/runs.js", SCRIPT, include_str!("page/runs.js")),
    ("/text.js", SCRIPT, include_str!("page/text.js")),
    ("/validate.js", SCRIPT, include_str!("page/validate.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PAGE: &str = include_str!("page/index.html");

/// What is served.
pub struct Options {
    /// The runs.
    pub runs: Vec<PathBuf>,
    /// The port; any free one where it is 0.
    pub port: u16,
    /// Without annotators, models and obvious personal data.
    pub anonymise: bool,
    /// Who answers questions.
    pub model: Option<NamedModel>,
    /// The word in the address; a new one that nobody guesses where none is given.
    pub token: Option<String>,
    /// Keys, folders, and a request to stop.
    pub context: Context,
}

/// Everything that answers.
struct App {
    runs: Vec<(Arc<Opened>, Tables)>,
    token: String,
    /// `127.0.0.1:8080` and the like.
    hosts: Vec<String>,
    model: Option<NamedModel>,
}

/// Serves until somebody wants it to stop; `ready` hears the address with its token.
///
/// # Errors
/// Where a run cannot be opened, or the port is in use.
pub fn serve(options: Options, ready: impl FnOnce(&str)) -> Result<(), ExploreError> {
    let mut runs = Vec::new();
    for path in &options.runs {
        let opened = Arc::new(Opened::open(path, options.anonymise, &options.context)?);
        runs.push((opened, Tables::default()));
    }
    let token = match options.token {
        Some(own) if own.len() >= TOKEN && own.chars().all(|c| c.is_ascii_alphanumeric()) => own,
        Some(_) => {
            return Err(ExploreError::asked(
                format!("a token of your own has at least {TOKEN} letters and digits and nothing else"),
                "leave `WIMHF_EXPLORE_TOKEN` unset: each start then makes one",
            ));
        }
        None => token()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| ExploreError::File { path: "threads".into(), source })?;
    runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let listener = tokio::net::TcpListener::bind(address).await.map_err(|source| {
            if source.kind() == std::io::ErrorKind::AddrInUse {
                let message = format!("port {} is in use", options.port);
                return ExploreError::asked(message, "another explorer? leave `--port` out to take a free one");
            }
            ExploreError::File { path: address.to_string(), source }
        })?;
        let port = listener.local_addr().map_or(options.port, |address| address.port());
        for (opened, _) in &runs {
            let opened = opened.clone();
            std::thread::spawn(move || opened.prepare());
        }
        let app = Arc::new(App {
            runs,
            hosts: ["127.0.0.1", "localhost"].iter().map(|host| format!("{host}:{port}")).collect(),
            model: options.model,
            token,
        });
        ready(&format!("http://127.0.0.1:{port}/?token={}", app.token));
        let router = axum::Router::new().fallback(answer).with_state(app);
        let cancel = options.context.cancel.clone();
        let served = axum::serve(listener, router).with_graceful_shutdown(stop(cancel.clone()));
        // A page that keeps its connection open must not keep the server alive.
        tokio::select! {
            served = async { served.await } => served.map_err(|source| ExploreError::File { path: address.to_string(), source }),
            () = async { stop(cancel).await; tokio::time::sleep(Duration::from_secs(1)).await } => Ok(()),
        }
    })
}

async fn stop(cancel: Cancel) {
    while !cancel.requested() {
        tokio::time::sleep(LOOK).await;
    }
}

/// A word that nobody guesses.
fn token() -> Result<String, ExploreError> {
    let mut bytes = [0u8; 24];
    getrandom::fill(&mut bytes)
        .map_err(|error| ExploreError::asked(format!("the system gives no random numbers: {error}"), ""))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Equal, in a time that does not tell where they differ.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// What a request is answered with.
enum Reply {
    Json(Value),
    File { kind: &'static str, name: &'static str, bytes: Vec<u8> },
}

async fn answer(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if let Some(refusal) = refuse(&app, &parts.headers) {
        return refusal;
    }
    let path = parts.uri.path();
    if parts.method == Method::GET && !path.starts_with("/api/") {
        return page(&app, &parts.uri, &parts.headers);
    }
    if !has_token(&app, &parts.uri, &parts.headers) {
        return failure(401, "this needs the token", "open the link that `wimhf explore` printed");
    }
    let Ok(body) = axum::body::to_bytes(body, BODY).await else {
        return failure(413, "the request is too long", "");
    };
    let (method, uri) = (parts.method, parts.uri);
    // Reading takes time, and a panic in one request must not end the others.
    let work = move || route(&app, &method, &uri, &body);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(Reply::Json(value))) => respond(200, "application/json", None, value.to_string().into_bytes()),
        Ok(Ok(Reply::File { kind, name, bytes })) => respond(200, kind, Some(name), bytes),
        Ok(Err(error)) => {
            let mut value = json!({"error": error.to_string(), "hint": error.hint()});
            if let ExploreError::NotYet { progress, .. } = &error {
                value["progress"] = json!(progress);
            }
            respond(error.status(), "application/json", None, value.to_string().into_bytes())
        }
        Err(_) => failure(500, "a defect of wimhf: the request gave up", "report it with what you did"),
    }
}

/// Requests under another name, or from another page: a page on the web could send them through the user's browser.
fn refuse(app: &App, headers: &HeaderMap) -> Option<Response<Body>> {
    let text =
        |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    let host = text(header::HOST).unwrap_or_default();
    if !app.hosts.contains(&host) {
        return Some(failure(
            421,
            "this server answers under its own address alone",
            "open the link that `wimhf explore` printed",
        ));
    }
    if let Some(origin) = text(header::ORIGIN)
        && !app.hosts.iter().any(|host| origin == format!("http://{host}"))
    {
        return Some(failure(403, "requests from other pages are refused", ""));
    }
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    match site {
        None | Some("same-origin" | "none") => None,
        // A link on another page may lead here; it cannot read what it opens.
        Some(_) if headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate") => None,
        Some(_) => Some(failure(403, "requests from other pages are refused", "")),
    }
}

fn has_token(app: &App, uri: &Uri, headers: &HeaderMap) -> bool {
    #[derive(Deserialize)]
    struct Token {
        token: String,
    }
    let given = headers.get("x-wimhf-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let given = given.or_else(|| FromQuery::<Token>::try_from_uri(uri).ok().map(|query| query.0.token));
    given.is_some_and(|given| same(&given, &app.token))
}

fn page(app: &App, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
    if let Some((_, kind, text)) = FILES.iter().find(|(path, ..)| *path == uri.path()) {
        return respond(200, kind, None, text.as_bytes().to_vec());
    }
    match uri.path() {
        "/" if has_token(app, uri, headers) => respond(200, "text/html; charset=utf-8", None, PAGE.into()),
        "/" => respond(
            401,
            "text/plain; charset=utf-8",
            None,
            b"The address has no valid token: open the link that `wimhf explore` printed.\n".to_vec(),
        ),
        _ => failure(404, "there is nothing here", ""),
    }
}

fn failure(status: u16, error: &str, hint: &str) -> Response<Body> {
    respond(status, "application/json", None, json!({"error": error, "hint": hint}).to_string().into_bytes())
}

fn respond(status: u16, kind: &str, name: Option<&str>, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::builder()
        .status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::REFERRER_POLICY, "no-referrer")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header("cross-origin-resource-policy", "same-origin")
        .header("cross-origin-opener-policy", "same-origin");
    if let Some(name) = name {
        response = response.header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""));
    }
    response.body(Body::from(body)).unwrap_or_else(|_| Response::new(Body::empty()))
}

/// Parameters of a request that are no filter.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Asked {
    run: usize,
    reviewer: String,
    rater: String,
    limit: Option<usize>,
    format: String,
}

#[derive(Deserialize)]
struct Undo {
    id: String,
    reviewer: String,
}

#[derive(Deserialize)]
struct Question {
    question: String,
}

fn of_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ExploreError> {
    FromQuery::<T>::try_from_uri(uri)
        .map(|query| query.0)
        .map_err(|error| ExploreError::asked(format!("the address cannot be read: {error}"), ""))
}

fn of_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ExploreError> {
    serde_json::from_slice(body)
        .map_err(|error| ExploreError::asked(format!("the request cannot be read: {error}"), ""))
}

fn route(app: &App, method: &Method, uri: &Uri, body: &[u8]) -> Result<Reply, ExploreError> {
    let asked: Asked = of_query(uri)?;
    let (opened, tables) = app.runs.get(asked.run).ok_or_else(|| {
        ExploreError::missing(format!("there is no run {}", asked.run), "runs are numbered from 0")
    })?;
    let path = uri.path().trim_start_matches("/api/");
    match (method.as_str(), path) {
        ("GET", _) => get(app, opened, path, &asked, uri),
        ("POST", "decisions") => decide(opened, &of_body(body)?),
        ("POST", "undo") => {
            let Undo { id, reviewer } = of_body(body)?;
            Ok(Reply::Json(json!({"undone": opened.journal.undo(&id, &reviewer)?})))
        }
        ("POST", "verdicts") => Ok(Reply::Json(validate::judge(opened, &of_body::<Verdict>(body)?)?)),
        ("POST", "edits") => Ok(Reply::Json(edits::change(opened, &of_body::<Change>(body)?)?)),
        ("POST", "ask") => {
            let Question { question } = of_body(body)?;
            let model = app.model.as_ref().ok_or_else(|| {
                ExploreError::asked(
                    "no language model is named",
                    "start it with `--model MODEL`, or call the tools by hand",
                )
            })?;
            let answer = ask(opened, tables, model, &question, &mut ())?;
            Ok(Reply::Json(serde_json::to_value(answer).unwrap_or_default()))
        }
        ("POST", path) if path.starts_with("tools/") => {
            let arguments: Value = if body.is_empty() { json!({}) } else { of_body(body)? };
            Ok(Reply::Json(call(opened, tables, path.trim_start_matches("tools/"), &arguments)?))
        }
        _ => Err(ExploreError::missing(format!("there is no {method} {}", uri.path()), "")),
    }
}

fn get(app: &App, opened: &Opened, path: &str, asked: &Asked, uri: &Uri) -> Result<Reply, ExploreError> {
    let value = match path {
        "run" => about(app, opened, asked.run)?,
        "runs" => side_by_side(app),
        "pairs" => serde_json::to_value(pairs::find(opened, &of_query::<Query>(uri)?)?).unwrap_or_default(),
        "review" => review::review(opened, &asked.reviewer, asked.limit.unwrap_or(20))?,
        "validate" => validate::validate(opened, &asked.rater)?,
        "journal" => json!({"decisions": opened.journal.all()?}),
        "constitution" => edits::constitution(opened)?,
        "map" => map::map(opened)?,
        "tools" => {
            let all = TOOLS.iter().map(|tool| {
                json!({"name": tool.name, "description": tool.description, "parameters": tool.schema()})
            });
            json!({"tools": all.collect::<Vec<_>>()})
        }
        "decisions.csv" => {
            let bytes = review::table(opened)?;
            return Ok(Reply::File { kind: "text/csv; charset=utf-8", name: "decisions.csv", bytes });
        }
        "verdicts.csv" => {
            let bytes = validate::table(opened)?;
            return Ok(Reply::File { kind: "text/csv; charset=utf-8", name: "verdicts.csv", bytes });
        }
        "download" => {
            let file = download::download(opened, &of_query::<Query>(uri)?, &asked.format)?;
            return Ok(Reply::File { kind: file.kind, name: file.name, bytes: file.bytes });
        }
        path => match path.strip_prefix("pair/") {
            Some(id) => pairs::one(opened, id)?,
            None => return Err(ExploreError::missing(format!("there is no {}", uri.path()), "")),
        },
    };
    Ok(Reply::Json(value))
}

/// Keeps a decision about a label that there is.
fn decide(opened: &Opened, decided: &Decided) -> Result<Reply, ExploreError> {
    let pair = opened.pair(&decided.pair_id)?;
    let judgements = &opened.source.pairs.judgements;
    let known = opened.judgements(pair).iter().any(|at| judgements.row[*at as usize] == decided.row);
    if !known {
        let message = format!("pair `{}` has no label in row {}", decided.pair_id, decided.row);
        return Err(ExploreError::missing(message, "is the page from before a change of the dataset?"));
    }
    Ok(Reply::Json(json!({"saved": true, "seq": opened.journal.decide(decided)?})))
}

/// How often people saw what the words of a feature say; `None` where nobody has read it.
pub fn fidelity(feature: &Feature) -> Option<Estimate> {
    let reading = feature.reading.as_ref()?;
    let (right, n) = (reading.right as usize, reading.n as usize);
    if n == 0 {
        return None;
    }
    let [value, low, high] = wilson(right, n);
    Some(Estimate { value, low, high, n })
}

/// Everything that the page needs to begin.
fn about(app: &App, opened: &Opened, index: usize) -> Result<Value, ExploreError> {
    let runs: Vec<Value> = (app.runs.iter().enumerate())
        .map(|(index, (opened, _))| {
            let run = &opened.run;
            json!({
                "index": index, "name": name(opened), "path": run.path, "dataset": run.manifest.dataset.path,
                "pairs": opened.labels.len(), "labels": run.effects.labels,
            })
        })
        .collect();
    let judgements = &opened.source.pairs.judgements;
    let names = &opened.source.pairs.annotators;
    let mut annotators: Vec<(usize, &String)> = Vec::new();
    if !opened.anonymise {
        let mut counts = vec![0usize; names.len()];
        judgements
            .annotator
            .iter()
            .for_each(|at| counts.get_mut(*at as usize).into_iter().for_each(|count| *count += 1));
        annotators = counts.into_iter().zip(names).collect();
        annotators.sort_by(|x, y| y.0.cmp(&x.0).then(x.1.cmp(y.1)));
    }
    let total = annotators.len();
    let counted = |(pairs, name): (usize, &String)| json!({"name": name, "pairs": pairs});
    let models: Vec<Value> = opened.models().ok().map_or(Vec::new(), |models| {
        let mut counts = vec![0usize; models.names.len()];
        models
            .of
            .iter()
            .flatten()
            .for_each(|at| counts.get_mut(*at as usize).into_iter().for_each(|count| *count += 1));
        counts.into_iter().zip(&models.names).take(NAMES).map(counted).collect()
    });
    let kinds: Vec<Value> = (opened.kinds().unwrap_or_default().iter())
        .map(|kind| {
            let pairs = kind.inside.iter().filter(|inside| **inside).count();
            json!({"id": kind.context_id, "text": kind.text, "pairs": pairs})
        })
        .collect();
    let mut actions: Vec<&str> = Vec::new();
    for one in opened.candidates().ok().into_iter().flat_map(|found| &found.all) {
        if !actions.contains(&one.action.as_str()) {
            actions.push(&one.action);
        }
    }
    let edited = edits::read(opened).unwrap_or_default();
    let mut reviewers: Vec<String> =
        opened.journal.decisions()?.into_iter().map(|one| one.reviewer).collect();
    reviewers.sort_unstable();
    reviewers.dedup();
    Ok(json!({
        "runs": runs, "run": index, "version": env!("CARGO_PKG_VERSION"),
        "read_only": opened.journal.is_read_only(), "anonymise": opened.anonymise,
        "model": app.model.as_ref().map(|model| &model.spec.name),
        "index": {"ready": opened.progress() >= 1.0, "progress": opened.progress(), "trouble": opened.trouble()},
        "annotators": annotators.into_iter().take(NAMES).map(counted).collect::<Vec<_>>(),
        "downloads": download::MOST, "annotators_total": total, "models": models, "contexts": kinds, "actions": actions,
        "features": opened.order.iter().map(|at| feature(opened, *at, &edited)).collect::<Vec<_>>(),
        "reviewers": reviewers,
    }))
}

/// The name of a run: that of its folder.
fn name(opened: &Opened) -> String {
    let path = std::fs::canonicalize(&opened.run.path).unwrap_or_else(|_| opened.run.path.clone());
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn feature(opened: &Opened, at: usize, edited: &wimhf::constitution::edits::EditFile) -> Value {
    let own = &opened.run.features[at];
    let principle = opened.principle(at);
    let has = |list: &[String]| list.iter().any(|name| name.split(':').next() == Some(&own.feature_id));
    json!({
        "id": own.feature_id, "text": own.words(), "short": own.short, "source": own.source.name(),
        "speaks": own.speaks(), "principle": principle.map(|principle| principle.rank),
        "statement": principle.map(|principle| &principle.statement), "win": opened.win(at),
        "prevalence": opened.effect(at).map(|row| row.prevalence), "fidelity": fidelity(own), "flags": own.flags,
        "hidden": has(&edited.hide), "flagged": has(&edited.flag), "pinned": has(&edited.pin), "dropped": has(&edited.drop),
        "merged_into": edited.merge.get(&own.feature_id), "reworded": edited.reword.get(&own.feature_id),
    })
}

/// The same features in several runs: those that make a principle in any of them.
fn side_by_side(app: &App) -> Value {
    let mut ids: Vec<(&str, String)> = Vec::new();
    for (opened, _) in &app.runs {
        for principle in &opened.run.findings.principles {
            if let Some(id) = principle.feature_ids.first()
                && !ids.iter().any(|(own, _)| own == id)
            {
                ids.push((id, principle.description.clone()));
            }
        }
    }
    let rows: Vec<Value> = (ids.iter())
        .map(|(id, text)| {
            let cells: Vec<Value> = (app.runs.iter())
                .map(|(opened, _)| {
                    // Features that a run learned by itself are its own, whatever their numbers.
                    let found = opened.run.features.iter().position(|own| own.feature_id == *id && own.description == *text);
                    json!({
                        "win": found.and_then(|at| opened.win(at)),
                        "principle": found.and_then(|at| opened.principle(at)).map(|principle| principle.rank),
                    })
                })
                .collect();
            json!({"text": text, "feature": id, "cells": cells})
        })
        .collect();
    json!({"rows": rows, "runs": app.runs.iter().map(|(opened, _)| name(opened)).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_its_own() {
        let (one, other) = (token().unwrap(), token().unwrap());
        assert_eq!(one.len(), 48);
        assert_ne!(one, other);
        assert!(same(&one, &one.clone()) && !same(&one, &other) && !same(&one, "") && !same("", "x"));
    }
}
