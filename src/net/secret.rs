//! A text that is never printed.

use std::fmt;

use crate::context::Context;

/// A key or a token. Its `Debug` shows nothing of it; only [`Secret::reveal`] gives it away.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret; surrounding white space is no part of it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The secret in a variable of the environment; `None` where it is not set or empty.
    pub fn of(context: &Context, name: &str) -> Option<Self> {
        context.variable(name).map(Self::new)
    }

    /// The secret itself, for the request's header.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The text with the secret taken out: servers like to quote what they refuse.
    pub fn scrub(&self, text: &str) -> String {
        // A very short key may be part of any word.
        if self.0.len() < 6 { text.to_owned() } else { text.replace(&self.0, "***") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
