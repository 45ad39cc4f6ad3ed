//! Requests to servers that may be slow, busy, broken or far away: one place for timeouts, retries, limits on how
//! many run at once, and keeping secrets out of everything that is printed.
//!
//! [`Client::post`] is one attempt. [`Gate::with_retries`] repeats an attempt by the [`Policy`] and lets through only
//! as many at once as the server takes well. [`for_each`] does that for many items on plain threads and hands
//! every answer to its caller as it comes, so that it can be kept at once; it stops cleanly on Ctrl-C.

pub mod accepts;
mod client;
mod gate;
mod odd;
mod pool;
pub(crate) mod reach;
mod retry_after;
mod secret;
mod too_large;

use std::time::Duration;

use crate::context::Context;

pub use client::{Client, Endpoint, said_in};
pub use gate::Gate;
pub use pool::for_each;
pub use secret::Secret;
pub use too_large::{batch_limit, is_about_a_text, is_about_the_batch};

/// How patient we are.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Attempts per request before it is given up.
    pub attempts: u32,
    /// Failures of any requests in a row, without a success between, before everything is given up.
    pub failures: u32,
    /// The same as long as it has never answered well: it does not run, or the address is wrong. A server that says
    /// that it is busy, as one that loads its model, is there and not counted.
    pub cold_failures: u32,
    /// Wait after the first failure; doubled after each further one, with up to as much again by chance.
    pub first_wait: Duration,
    /// Longest such wait.
    pub longest_wait: Duration,
    /// Longest wait that a server may ask for (`Retry-After`).
    pub longest_asked: Duration,
    /// Time to connect.
    pub connect: Duration,
    /// Time for a whole request. Long: a request that was given up may have been computed, and paid, all the same.
    pub timeout: Duration,
    /// Most requests at once.
    pub concurrency: usize,
    /// Whoever sends requests gives up those that the server fails while it answers others ([`Gate::forgive`]), so that
    /// many failures of one of them are no sign of a server that is down.
    pub one_by_one: bool,
    /// Where chance comes from.
    pub seed: u64,
    /// Whether to stop, and the way out that the environment says.
    pub context: Context,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 12,
            failures: 25,
            cold_failures: 8,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            longest_asked: Duration::from_secs(15 * 60),
            connect: Duration::from_secs(20),
            timeout: Duration::from_secs(600),
            concurrency: 8,
            one_by_one: false,
            seed: 0,
            context: Context::default(),
        }
    }
}

/// Why one attempt failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What to do about it.
    pub kind: FailureKind,
    /// For the user; free of secrets.
    pub message: String,
    /// The status of the server's answer; `None` where there was none.
    pub status: Option<u16>,
    /// What the server itself said, on one line, free of secrets.
    pub said: String,
    /// A server took the request, whatever became of it. Nothing of the kind shows where nobody listens.
    pub reached: bool,
    /// What the user can do where trying again does not mend it; empty where nothing more is known.
    pub hint: &'static str,
}

/// What to do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FailureKind {
    /// Try again after a while.
    Again,
    /// The server is busy: try again, with fewer requests at once; after so long, where it says so.
    Busy(Option<Duration>),
    /// The request is too large for this server; a smaller one may pass.
    TooLarge,
    /// The next attempt is another request, which leaves out what was refused: at once.
    Mended,
    /// It will not get better.
    Fatal(&'static str),
}

impl Failure {
    /// A failure that another attempt may mend.
    pub fn again(message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Again,
            message: message.into(),
            status: None,
            said: String::new(),
            reached: false,
            hint: "",
        }
    }

    /// The same of an answer with this status that is not what was asked for.
    pub fn odd(message: impl Into<String>, status: u16) -> Self {
        Self { status: Some(status), reached: true, ..Self::again(message) }
    }

    /// A failure that no attempt mends; `hint` says what the user can do.
    pub fn fatal(message: impl Into<String>, hint: &'static str) -> Self {
        Self { kind: FailureKind::Fatal(hint), ..Self::again(message) }
    }

    /// What the user can do: what is known of this failure, or `usual`.
    fn hint_or(&self, usual: &'static str) -> &'static str {
        if self.hint.is_empty() { usual } else { self.hint }
    }

    /// The same, to be tried again at once with a request written anew.
    #[must_use]
    pub fn mended(self) -> Self {
        Self { kind: FailureKind::Mended, ..self }
    }
}

/// Why requests were given up.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NetError {
    /// The base URL cannot be used.
    #[error(
        "the base URL `{url}` cannot be used: {message}\nhint: such as `http://localhost:8000/v1`; the key goes into `OPENAI_API_KEY`"
    )]
    Url {
        /// As given, without what may be a secret.
        url: String,
        /// What is wrong with it.
        message: &'static str,
    },
    /// It will not get better by trying again.
    #[error("{message}\nhint: {hint}")]
    Refused {
        /// Who said what.
        message: String,
        /// What the user can do.
        hint: &'static str,
    },
    /// The request is too large, and it is one that cannot be made smaller here.
    #[error("{message}\nhint: {hint}")]
    TooLarge {
        /// Who said what.
        message: String,
        /// What the user can do.
        hint: &'static str,
    },
    /// Tried often enough.
    #[error("given up after {attempts} attempts: {message}\nhint: {hint}")]
    GivenUp {
        /// How often.
        attempts: u32,
        /// What was last said.
        message: String,
        /// What the user can do.
        hint: &'static str,
    },
    /// Nothing works any more.
    #[error("the server has failed {failures} times in a row: {message}\nhint: {hint}")]
    Down {
        /// How often.
        failures: u32,
        /// What was last said.
        message: String,
        /// What the user can do.
        hint: &'static str,
    },
    /// The user pressed Ctrl-C.
    #[error("stopped; finished answers are kept, the same command goes on from there")]
    Stopped,
}

/// What somebody said, for one line of a message: at most so many characters, and it shows where it was cut. Secrets
/// are to be taken out before: a part of one is known by nobody.
pub fn one_line(text: &str, most: usize) -> String {
    let mut chars = text.trim().chars();
    let line: String = chars.by_ref().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = if chars.next().is_some() { "…" } else { "" };
    format!("{}{end}", line.trim())
}

#[cfg(test)]
mod tests;
