//! One request to an OpenAI-compatible server, and what its answer means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::reach::Reach;
use super::too_large::is_too_large;
use super::{Failure, FailureKind, NetError, Policy, Secret, odd, one_line, retry_after};
use crate::context::Context;
use crate::limits::{self, ANSWER};

const OPENAI: &str = "https://api.openai.com/v1";

/// What helps where the server wants money first.
const CREDIT_HINT: &str = "the account has no credit left; add some, the same command goes on from here";

/// What helps where a server answers that it has failed.
const UNWELL_HINT: &str =
    "the server answers, and says that it fails: see its log; the same command goes on from here";

/// Where a server is, and the key to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    base: String,
    key: Option<Secret>,
}

impl Endpoint {
    /// The base URL as given, or `OPENAI_BASE_URL`, or OpenAI's own; the key from `OPENAI_API_KEY`.
    ///
    /// # Errors
    /// [`NetError::Url`]; [`NetError::Refused`] where OpenAI's own server is meant and there is no key.
    pub fn of(base_url: Option<&str>, context: &Context) -> Result<Self, NetError> {
        let base = base_url.or(context.variable("OPENAI_BASE_URL")).unwrap_or(OPENAI);
        Self::new(base, Secret::of(context, "OPENAI_API_KEY"))
    }

    /// A base URL, to which the names of the services are added (`/embeddings`, `/chat/completions`), and a key.
    ///
    /// # Errors
    /// As for [`Self::of`].
    pub fn new(base: &str, key: Option<Secret>) -> Result<Self, NetError> {
        let endpoint = Self::parsed(base, key)?;
        if endpoint.key.is_none() && endpoint.base == OPENAI {
            return Err(NetError::Refused {
                message: "OpenAI's server needs a key".into(),
                hint: "set `OPENAI_API_KEY`, or name another server with `--base-url` or `OPENAI_BASE_URL`",
            });
        }
        Ok(endpoint)
    }

    /// A server that is named and not asked, for a forecast: no key is needed.
    ///
    /// # Errors
    /// [`NetError::Url`].
    pub fn unasked(base_url: Option<&str>, context: &Context) -> Result<Self, NetError> {
        Self::parsed(base_url.or(context.variable("OPENAI_BASE_URL")).unwrap_or(OPENAI), None)
    }

    fn parsed(base: &str, key: Option<Secret>) -> Result<Self, NetError> {
        let base = base.trim().trim_end_matches('/');
        let Some((scheme, rest)) = base.split_once("://") else {
            return Err(NetError::Url {
                url: base.to_owned(),
                message: "it does not begin with http:// or https://",
            });
        };
        let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if let Some((_, host)) = place.rsplit_once('@') {
            let url = format!("{scheme}://…@{host}");
            return Err(NetError::Url {
                url,
                message: "it holds a user name or a password, which would be recorded",
            });
        }
        let plain = base.split(['?', '#']).next().unwrap_or_default();
        if plain != base {
            return Err(NetError::Url { url: format!("{plain}?…"), message: "it holds more than a path" });
        }
        if !matches!(scheme, "http" | "https") {
            return Err(NetError::Url {
                url: base.to_owned(),
                message: "it does not begin with http:// or https://",
            });
        }
        if place.is_empty() || base.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(NetError::Url { url: base.to_owned(), message: "it names no server" });
        }
        Ok(Self { base: base.to_owned(), key })
    }

    /// The base URL, which holds no secret.
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// Sends requests to one server.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    endpoint: Endpoint,
    reach: Reach,
    /// Addresses end in a slash: the server sends on to such.
    slash: Arc<AtomicBool>,
}

impl Client {
    /// A client with the policy's timeouts, on the way that the environment says.
    ///
    /// # Errors
    /// Where a proxy or certificates that the environment names cannot be used.
    pub fn new(endpoint: Endpoint, policy: &Policy) -> Result<Self, NetError> {
        let reach = Reach::of(&endpoint.base, &policy.context)?;
        let mut config = ureq::Agent::config_builder()
            .timeout_connect(Some(policy.connect))
            .timeout_global(Some(policy.timeout))
            .http_status_as_error(false)
            // A redirected request would carry the key to somebody else.
            .max_redirects(0)
            .proxy(reach.proxy.clone())
            .user_agent(concat!("wimhf/", env!("CARGO_PKG_VERSION")));
        if let Some(tls) = reach.tls.clone() {
            config = config.tls_config(tls);
        }
        let agent = config.build().into();
        Ok(Self { agent, endpoint, reach, slash: Arc::new(AtomicBool::new(false)) })
    }

    /// Where it sends to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// From now on addresses end in a slash.
    pub fn end_in_slash(&self) {
        self.slash.store(true, Ordering::SeqCst);
    }

    /// Posts `body` to `service` ("embeddings") once. A good answer is its JSON, without the key wherever the server
    /// quotes it.
    ///
    /// # Errors
    /// A [`Failure`] that says whether trying again may help.
    pub fn post(&self, service: &str, body: &Value) -> Result<Value, Failure> {
        let slash = if self.slash.load(Ordering::SeqCst) { "/" } else { "" };
        let url = format!("{}/{service}{slash}", self.endpoint.base);
        let mut request = self.agent.post(&url);
        if let Some(key) = &self.endpoint.key {
            let header = key.bearer().ok_or_else(|| {
                Failure::fatal(
                    "the key holds characters that cannot be sent",
                    "check the key in `OPENAI_API_KEY`: a line break or a letter with an accent may have come in",
                )
            })?;
            request = request.header("Authorization", header);
        }
        let bytes = serde_json::to_vec(body).map_err(|error| {
            Failure::fatal(format!("a request cannot be written: {error}"), "report this as a defect")
        })?;
        let request = request.header("Content-Type", "application/json");
        let began = Instant::now();
        let mut response = request.send(&bytes).map_err(|error| self.unreachable(&url, &error))?;
        let status = response.status().as_u16();
        let said = format!(
            "POST {url}: {status} after {} ms, {} bytes sent",
            began.elapsed().as_millis(),
            bytes.len()
        );
        log::debug!("{}", self.safe(&said));
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let wait = (header("retry-after-ms").and_then(|value| value.trim().parse().ok()))
            .map(Duration::from_millis)
            .or_else(|| retry_after::parse(&header("retry-after")?));
        let location = header("location");
        let kind = header("content-type").unwrap_or_default();
        let body = response.body_mut().with_config().limit(ANSWER.most()).read_to_vec();
        let mut body = match body {
            Ok(body) => body,
            Err(ureq::Error::BodyExceedsLimit(_)) => {
                return Err(Failure::fatal(
                    format!("`{url}` gave {}", ANSWER.exceeded()),
                    "ask for less at once (`--batch-texts`), or raise `WIMHF_MAX_ANSWER`",
                ));
            }
            // The answer broke off: whatever the status was, it says nothing.
            Err(error) => return Err(self.unreachable(&url, &error)),
        };
        // Before anything is made of it, and before anything is cut.
        for secret in self.secrets() {
            secret.scrub_bytes(&mut body);
        }
        if (200..300).contains(&status) {
            return self.json(&url, &kind, &body);
        }
        Err(self.refused(&url, status, wait, location.as_deref(), &body))
    }

    /// A good answer's JSON.
    fn json(&self, url: &str, kind: &str, body: &[u8]) -> Result<Value, Failure> {
        let body = odd::without_mark(body);
        if let Err((_, too_much)) = limits::json_depth(body) {
            return Err(Failure::odd(format!("`{url}` gave an answer that is not JSON: {too_much}"), 200));
        }
        let parsed = serde_json::from_slice(body).or_else(|error| {
            odd::without_nan(body).and_then(|body| serde_json::from_slice(&body).ok()).ok_or(error)
        });
        let mut value = parsed.map_err(|error| {
            let (what, hint) = odd::what_it_is(kind, body, &error.to_string());
            let message = self.safe(&format!("`{url}` gave {what}"));
            Failure { hint, ..Failure::odd(message, 200) }
        })?;
        for secret in self.secrets() {
            secret.scrub_value(&mut value);
        }
        Ok(value)
    }

    /// What must not come back to the screen or into a file.
    fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.endpoint.key.iter().chain(&self.reach.secret)
    }

    /// No answer at all.
    fn unreachable(&self, url: &str, error: &ureq::Error) -> Failure {
        log::debug!("{}", self.safe(&format!("POST {url}: no answer, {error}")));
        let way = self.reach.in_words();
        let message = self.safe(&format!("no answer from `{url}`{way}: {error}"));
        let lower = message.to_lowercase();
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Failure::fatal(message, "check the base URL"),
            ureq::Error::InvalidProxyUrl => Failure::fatal(message, "check the proxy that is set"),
            _ if lower.contains("unknownissuer") || lower.contains("unknown issuer") => Failure::fatal(
                message,
                "the server's certificate is signed by an authority that is not known here: name a file with that authority's certificate in `SSL_CERT_FILE`",
            ),
            _ if lower.contains("invalid peer certificate") => {
                Failure::fatal(message, "the server's certificate does not fit the address or the date")
            }
            _ => Failure { reached: was_reached(error), ..Failure::again(message) },
        }
    }

    /// What a status other than success means.
    fn refused(
        &self,
        url: &str,
        status: u16,
        wait: Option<Duration>,
        location: Option<&str>,
        body: &[u8],
    ) -> Failure {
        let said = self.said(body);
        let way = if status == 407 || status >= 500 { self.reach.in_words() } else { String::new() };
        let mut message =
            format!("`{url}`{way} answered {status}{}{said}", if said.is_empty() { "" } else { ": " });
        let lower = said.to_lowercase();
        if (300..=399).contains(&status)
            && let Some(location) = location
        {
            let path = |address: &str| {
                let rest = address
                    .split_once("://")
                    .map_or(address, |(_, rest)| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(""));
                rest.split(['?', '#']).next().unwrap_or_default().to_owned()
            };
            if path(location) == format!("{}/", path(url)) {
                // The same place: nobody else gets the key.
                self.end_in_slash();
                return Failure { kind: FailureKind::Mended, said, ..Failure::odd(message, status) };
            }
            let place = self.safe(location.split(['?', '#']).next().unwrap_or_default());
            let place = place.rsplit_once('@').map_or(place.as_str(), |(_, place)| place);
            message.push_str(&format!(" (to `{}`)", one_line(place, 200)));
        }
        let kind = match status {
            413 => FailureKind::TooLarge,
            400 | 422 | 500 if is_too_large(&lower) => FailureKind::TooLarge,
            402 => FailureKind::Fatal(CREDIT_HINT),
            429 if lower.contains("insufficient_quota") || lower.contains("exceeded your current quota") => {
                FailureKind::Fatal(CREDIT_HINT)
            }
            // What is not offered now is not offered in a minute.
            405 | 501 | 505 => FailureKind::Fatal(
                "what answers there does not offer this: check the base URL, which usually ends in `/v1`, and whether the server serves models of this kind",
            ),
            429 | 503 | 529 => FailureKind::Busy(wait),
            408 | 409 | 425 | 500..=599 => match wait {
                Some(wait) => FailureKind::Busy(Some(wait)),
                None => FailureKind::Again,
            },
            401 | 403 => FailureKind::Fatal("check the key in `OPENAI_API_KEY`"),
            404 => FailureKind::Fatal("check the model's name and the base URL, which usually ends in `/v1`"),
            407 => FailureKind::Fatal("the proxy wants a name and a password, in the variable that names it"),
            300..=399 => {
                FailureKind::Fatal("the server sends to another address; name that one as the base URL")
            }
            _ => FailureKind::Fatal("check the model's name and what the server supports"),
        };
        let hint = if status >= 500 { UNWELL_HINT } else { "" };
        Failure { kind, said, hint, ..Failure::odd(self.safe(&message), status) }
    }

    /// Without the key, whoever put it there.
    fn safe(&self, message: &str) -> String {
        self.secrets().fold(message.to_owned(), |message, secret| secret.scrub(&message))
    }

    /// What the body of a refusal says, short and on one line.
    fn said(&self, body: &[u8]) -> String {
        let body = odd::without_mark(body);
        let value: Option<Value> =
            if limits::json_depth(body).is_ok() { serde_json::from_slice(body).ok() } else { None };
        let text = (value.as_ref().and_then(said_in))
            .or_else(|| odd::title(body))
            .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        one_line(&self.safe(&text), 300)
    }
}

/// Whether a server took a request that it has not answered: it hung up or kept silent. Names that are not found and
/// connections that are refused show no server at all.
fn was_reached(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(error) => {
            [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof].contains(&error.kind())
        }
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => false,
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

/// What a server's error says, in whichever of the usual places: `error` as an object or as plain text, `message`,
/// `detail` as text or as FastAPI's list.
pub fn said_in(value: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
    let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
    let listed = |value: &Value| -> Option<String> {
        let one = |item: &Value| {
            let words = text(item.get("msg").or_else(|| item.get("message"))?)?;
            // FastAPI's place of the field that it does not want.
            let field = item.get("loc").and_then(|place| place.as_array()?.last().and_then(text));
            Some(field.map_or(words.clone(), |field| format!("{field}: {words}")))
        };
        let all: Vec<String> = value.as_array()?.iter().filter_map(one).collect();
        (!all.is_empty()).then(|| all.join("; "))
    };
    let message = ["message", "detail", "error", "errors", "msg", "title"]
        .iter()
        .find_map(|name| error.get(name).and_then(|inner| text(inner).or_else(|| listed(inner))))
        .or_else(|| text(error))
        .or_else(|| text(value.get("message")?))
        .or_else(|| text(value.get("detail")?));
    let code = error.get("code").and_then(text);
    match (message, code) {
        (Some(message), Some(code)) => Some(format!("{message} ({code})")),
        (message, code) => message.or(code),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_says_is_found_wherever_it_stands() {
        for (body, said) in [
            (json!({ "error": { "message": "no", "code": "bad" } }), "no (bad)"),
            // Ollama.
            (json!({ "error": "model 'x' not found" }), "model 'x' not found"),
            (json!({ "object": "error", "message": "too long", "code": 400 }), "too long"),
            (json!({ "detail": "Not Found" }), "Not Found"),
            (
                json!({ "detail": [{ "loc": ["body", "encoding_format"], "msg": "extra fields not permitted" }] }),
                "encoding_format: extra fields not permitted",
            ),
            (json!({ "error": { "error": "deep" } }), "deep"),
            (json!({ "error": null, "message": "outside" }), "outside"),
            (json!({ "error": { "code": "only_a_code" } }), "only_a_code"),
        ] {
            assert_eq!(said_in(&body).as_deref(), Some(said), "{body}");
        }
        assert_eq!(said_in(&json!({ "error": {} })), None);
        assert_eq!(said_in(&json!([])), None);
    }
}
