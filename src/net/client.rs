//! One request to an OpenAI-compatible server, and what its answer means.

use serde_json::Value;

use super::{Failure, FailureKind, NetError, Policy, Secret, retry_after};
use crate::context::Context;

/// Largest answer that is read.
const MAX_ANSWER: u64 = 512 << 20;

const OPENAI: &str = "https://api.openai.com/v1";

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
        if key.is_none() && base == OPENAI {
            return Err(NetError::Refused {
                message: "OpenAI's server needs a key".into(),
                hint: "set `OPENAI_API_KEY`, or name another server with `--base-url` or `OPENAI_BASE_URL`",
            });
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
}

impl Client {
    /// A client with the policy's timeouts.
    pub fn new(endpoint: Endpoint, policy: &Policy) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_connect(Some(policy.connect))
            .timeout_global(Some(policy.timeout))
            .http_status_as_error(false)
            // A redirected request would carry the key to somebody else.
            .max_redirects(0)
            .user_agent(concat!("wimhf/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: agent.into(), endpoint }
    }

    /// Where it sends to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Posts `body` to `service` ("embeddings") once. A good answer is its JSON.
    ///
    /// # Errors
    /// A [`Failure`] that says whether trying again may help.
    pub fn post(&self, service: &str, body: &Value) -> Result<Value, Failure> {
        let url = format!("{}/{service}", self.endpoint.base);
        let mut request = self.agent.post(&url);
        if let Some(key) = &self.endpoint.key {
            request = request.header("Authorization", format!("Bearer {}", key.reveal()));
        }
        let bytes = serde_json::to_vec(body).map_err(|error| {
            Failure::fatal(format!("a request cannot be written: {error}"), "report this as a defect")
        })?;
        let request = request.header("Content-Type", "application/json");
        let mut response = request.send(&bytes).map_err(|error| self.unreachable(&url, &error))?;
        let status = response.status().as_u16();
        let wait = (response.headers().get("retry-after-ms").and_then(|value| value.to_str().ok()))
            .and_then(|value| value.trim().parse().ok())
            .map(std::time::Duration::from_millis)
            .or_else(|| {
                let value = response.headers().get("retry-after")?;
                retry_after::parse(value.to_str().ok()?)
            });
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let body = match body {
            Ok(body) => body,
            // The answer broke off: whatever the status was, it says nothing.
            Err(error) => return Err(self.unreachable(&url, &error)),
        };
        if (200..300).contains(&status) {
            return serde_json::from_slice(&body).map_err(|error| {
                Failure::again(format!("`{url}` gave an answer that is not JSON: {error}"))
            });
        }
        Err(self.refused(&url, status, wait, &body))
    }

    /// No answer at all.
    fn unreachable(&self, url: &str, error: &ureq::Error) -> Failure {
        let message = self.safe(&format!("no answer from `{url}`: {error}"));
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl => {
                Failure::fatal(message, "check the base URL")
            }
            _ => Failure::again(message),
        }
    }

    /// What a status other than success means.
    fn refused(&self, url: &str, status: u16, wait: Option<std::time::Duration>, body: &[u8]) -> Failure {
        let said = said(body);
        let message =
            self.safe(&format!("`{url}` answered {status}{}{said}", if said.is_empty() { "" } else { ": " }));
        let lower = said.to_lowercase();
        let too_large =
            ["context length", "context size", "too large", "too long", "maximum context", "max_tokens_per"]
                .iter()
                .any(|words| lower.contains(words));
        let kind = match status {
            413 => FailureKind::TooLarge,
            400 | 422 | 500 if too_large => FailureKind::TooLarge,
            429 if lower.contains("insufficient_quota") || lower.contains("exceeded your current quota") => {
                FailureKind::Fatal(
                    "the account has no credit left; add some, the same command goes on from here",
                )
            }
            429 | 503 | 529 => FailureKind::Busy(wait),
            408 | 409 | 425 | 500..=599 => match wait {
                Some(wait) => FailureKind::Busy(Some(wait)),
                None => FailureKind::Again,
            },
            401 | 403 => FailureKind::Fatal("check the key in `OPENAI_API_KEY`"),
            404 => FailureKind::Fatal("check the model's name and the base URL, which usually ends in `/v1`"),
            300..=399 => {
                FailureKind::Fatal("the server sends to another address; name that one as the base URL")
            }
            _ => FailureKind::Fatal("check the model's name and what the server supports"),
        };
        Failure { kind, message }
    }

    /// Without the key, whoever put it there.
    fn safe(&self, message: &str) -> String {
        match &self.endpoint.key {
            Some(key) => key.scrub(message),
            None => message.to_owned(),
        }
    }
}

/// What the body of a refusal says, short and on one line.
fn said(body: &[u8]) -> String {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let text = value
        .as_ref()
        .and_then(|value| {
            let error = value.get("error").unwrap_or(value);
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let message = ["message", "detail"].iter().find_map(|name| error.get(name).and_then(text));
            let code = error.get("code").and_then(text);
            match (message.or_else(|| text(error)), code) {
                (Some(message), Some(code)) => Some(format!("{message} ({code})")),
                (message, code) => message.or(code),
            }
        })
        .unwrap_or_else(|| String::from_utf8_lossy(body.get(..400).unwrap_or(body)).into_owned());
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    line.trim().to_owned()
}
