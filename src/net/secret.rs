//! A text that is never printed.

use std::fmt;

use serde_json::Value;
use ureq::http::HeaderValue;

use crate::context::Context;

/// A shorter key may be part of any word, and is only known where it stands behind `Bearer`.
const LEAST: usize = 6;
/// What stands in its place.
const HIDDEN: &str = "***";

/// A key, a token, a password. It has no `Display` and no `Serialize`, its `Debug` shows nothing of it, and no other
/// crate can take it out.
///
/// ```compile_fail
/// println!("{}", wimhf::net::Secret::new("sk-1"));
/// ```
/// ```compile_fail
/// serde_json::to_string(&wimhf::net::Secret::new("sk-1"));
/// ```
/// ```compile_fail
/// wimhf::net::Secret::new("sk-1").reveal();
/// ```
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

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself, for a library that sends it.
    #[cfg_attr(not(feature = "hub"), allow(dead_code))]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// `Bearer …`, marked so that no log of the HTTP library shows it; `None` where it holds what no header may.
    pub(crate) fn bearer(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The text with the secret taken out: servers like to quote what they refuse.
    pub fn scrub(&self, text: &str) -> String {
        match self.found(text.as_bytes()) {
            // Both the secret and what stands for it are whole characters.
            Some(clean) => String::from_utf8_lossy(&clean).into_owned(),
            None => text.to_owned(),
        }
    }

    /// Takes the secret out of bytes from outside, before anything is made of them: cut first, a part of it would be
    /// left that nobody knows any more.
    pub fn scrub_bytes(&self, bytes: &mut Vec<u8>) {
        if let Some(clean) = self.found(bytes) {
            *bytes = clean;
        }
    }

    /// Takes the secret out of every text of a JSON value: there it may have been written with escapes.
    pub fn scrub_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(clean) = self.found(text.as_bytes()) {
                    *text = String::from_utf8_lossy(&clean).into_owned();
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.scrub_value(value)),
            Value::Object(fields) => {
                if fields.keys().any(|name| self.found(name.as_bytes()).is_some()) {
                    let own = std::mem::take(fields);
                    fields.extend(own.into_iter().map(|(name, value)| (self.scrub(&name), value)));
                }
                fields.values_mut().for_each(|value| self.scrub_value(value));
            }
            _ => {}
        }
    }

    /// The bytes without the secret, where it is among them.
    fn found(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let short = format!("Bearer {}", self.0);
        let (wanted, instead) = match self.0.len() {
            0 => return None,
            length if length < LEAST => (short.as_bytes(), format!("Bearer {HIDDEN}")),
            _ => (self.0.as_bytes(), HIDDEN.to_owned()),
        };
        // Making the search takes as long as the secret is, and most texts are too short to hold it.
        if bytes.len() < wanted.len() {
            return None;
        }
        let finder = aho_corasick::AhoCorasick::new([wanted]).ok()?;
        finder.find(bytes)?;
        Some(finder.replace_all_bytes(bytes, &[instead.as_bytes()]))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_written_with_escapes_is_found_too() {
        let key = Secret::new("sk-/abc\"def");
        let mut value: Value =
            serde_json::from_str(r#"{"sk-\/abc\u0022def": ["a sk-\u002fabc\"def b", 1, null]}"#).unwrap();
        key.scrub_value(&mut value);
        assert_eq!(value, json!({ "***": ["a *** b", 1, null] }));
    }

    #[test]
    fn a_very_short_key_is_known_by_what_stands_before_it() {
        assert_eq!(Secret::new("ab").scrub("about Bearer ab"), "about Bearer ***");
        assert_eq!(Secret::new("").scrub("Bearer "), "Bearer ");
        assert!(Secret::new("a\nb").bearer().is_none());
        assert_eq!(format!("{:?}", Secret::new("a-long-key").bearer()), "Some(Sensitive)");
    }

    proptest! {
        /// Whatever stands around it, and wherever it is cut afterwards, nothing of four characters is left.
        #[test]
        fn nothing_of_a_key_is_left_after_any_cut(before in ".{0,40}", after in ".{0,40}", cut in 0_usize..120) {
            let key = "Kq7ZxW4vB2nM9tRs";
            let mut bytes = format!("{before}{key}{after}{key}").into_bytes();
            Secret::new(key).scrub_bytes(&mut bytes);
            bytes.truncate(cut);
            let left = String::from_utf8_lossy(&bytes).into_owned();
            let outside = format!("{before} {after}");
            for part in key.as_bytes().windows(4) {
                let part = std::str::from_utf8(part).unwrap();
                prop_assert!(!left.contains(part) || outside.contains(part), "{left}");
            }
        }
    }
}
