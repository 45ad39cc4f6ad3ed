//! What an embeddings server answered, in whichever form it gives vectors.

use std::sync::LazyLock;

use base64::Engine;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::limits::DIMENSIONS;
use crate::matrix::Matrix;
use crate::net::{Failure, one_line, said_in};

#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "embeddings")]
    data: Vec<Value>,
}

/// The tokens that a server counted, in whatever answer.
pub(super) fn tokens(value: &Value) -> Option<u64> {
    let count = |name: &str| value.get("usage")?.get(name)?.as_u64();
    count("total_tokens").or_else(|| count("prompt_tokens"))
}

/// What an answer holds.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    /// `[texts, dimensions]`, zeros where a vector is odd; without columns where all are.
    pub rows: Matrix,
    /// Texts whose vectors cannot be used while others' can, and what is wrong with each.
    pub odd: Vec<(usize, String)>,
}

/// What helps where vectors are of another length than they should be.
const LENGTH_HINT: &str = "these vectors are of another length than `--dimensions` asks for, or than this server gave before: leave out `--dimensions`, or see which model answers under this name";

/// An answer as a table: anything but one vector per text is a failure that another attempt may mend; a vector that is
/// none concerns its text alone.
pub(super) fn understood(
    value: Value,
    texts: usize,
    known: Option<usize>,
    base: &str,
) -> Result<Vectors, Failure> {
    let wrong = |what: String| Failure::odd(format!("`{base}` gave {what}"), 200);
    if value.get("error").is_some_and(|error| !error.is_null()) {
        let said = one_line(&said_in(&value).unwrap_or_else(|| "no message".into()), 200);
        let failure = wrong(format!("an error: {said}"));
        return Err(Failure { said, ..failure });
    }
    let answer: Answer = serde_json::from_value(value).map_err(|error| {
        let hint = "what answers there gives no embeddings in OpenAI's form: does the base URL end in `/v1`, and is this a model for embeddings?";
        Failure { hint, ..wrong(format!("no embeddings: {error}")) }
    })?;
    if answer.data.len() != texts {
        return Err(wrong(format!("{} vectors for {texts} texts", answer.data.len())));
    }
    let (mut rows, mut odd) = (Matrix::zeros(0, 0), Vec::new());
    let mut seen = vec![false; texts];
    for (position, item) in answer.data.iter().enumerate() {
        let index = item.get("index").and_then(Value::as_u64);
        let at = index.map_or(Some(position), |index| usize::try_from(index).ok());
        let Some(at) = at.filter(|at| seen.get(*at) == Some(&false)) else {
            return Err(wrong("vectors whose numbers do not fit the texts".into()));
        };
        seen[at] = true;
        let vector = match vector(item.get("embedding").unwrap_or(item)) {
            Ok(vector) => vector,
            Err(Odd::Broken(what)) => {
                odd.push((at, format!("`{base}` gave {what}")));
                continue;
            }
            Err(Odd::Settled(what, hint)) => {
                return Err(Failure::fatal(format!("`{base}` gave {what}"), hint));
            }
        };
        if rows.cols == 0 {
            if let Some(known) = known.filter(|known| *known != vector.len()) {
                let what = format!("vectors of {} dimensions where {known} are due", vector.len());
                return Err(Failure { hint: LENGTH_HINT, ..wrong(what) });
            }
            rows = Matrix::zeros(texts, vector.len());
        }
        if vector.len() != rows.cols {
            return Err(wrong("vectors of different lengths".into()));
        }
        rows.row_mut(at).copy_from_slice(&vector);
    }
    Ok(Vectors { rows, odd })
}

/// Why something is no vector.
enum Odd {
    /// Another attempt may mend it.
    Broken(String),
    /// It is how the server was started.
    Settled(String, &'static str),
}

/// A vector: a list of numbers, such a list in a list, or base64 of little-endian `f32`.
fn vector(value: &Value) -> Result<Vec<f32>, Odd> {
    let too_long = |length: usize| {
        DIMENSIONS.check(length as u64).map_err(|too_much| {
            let hint = "name a smaller model, ask for shorter vectors (`--dimensions`), or raise `WIMHF_MAX_DIMENSIONS`";
            Odd::Settled(format!("vectors of {too_much}"), hint)
        })
    };
    let vector = match value {
        Value::Array(inner) if inner.len() == 1 && inner.first().is_some_and(Value::is_array) => {
            return vector(&inner[0]);
        }
        Value::Array(inner) if inner.len() > 1 && inner.iter().all(Value::is_array) => {
            return Err(Odd::Settled(
                format!("{} vectors for one text, one for each token", inner.len()),
                "start the server so that it gives one vector for a text (llama.cpp `--pooling mean`)",
            ));
        }
        Value::Array(numbers) => {
            too_long(numbers.len())?;
            let number = |value: &Value| value.as_f64().map(|value| value as f32);
            let vector: Option<Vec<f32>> = numbers.iter().map(number).collect();
            vector.ok_or_else(|| Odd::Broken("a vector that holds something other than numbers".into()))?
        }
        Value::String(text) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).unwrap_or_default();
            too_long(bytes.len() / 4)?;
            if bytes.is_empty() || !bytes.len().is_multiple_of(4) {
                return Err(Odd::Broken("a text that is no base64 of numbers in place of a vector".into()));
            }
            let four = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            bytes.chunks_exact(4).map(four).collect()
        }
        _ => return Err(Odd::Broken("no vector for a text".into())),
    };
    match vector.iter().all(|value| value.is_finite()) {
        _ if vector.is_empty() => Err(Odd::Broken("an empty vector".into())),
        true => Ok(vector),
        false => Err(Odd::Broken("a vector that is not finite".into())),
    }
}

/// The share of a text that a server says it reads, from the two numbers that it names: how many tokens there were and
/// how many it takes; `None` where it does not say.
pub(super) fn share_that_fits(said: &str) -> Option<f64> {
    #[allow(clippy::expect_used)] // a literal, compiled by the tests
    static NUMBER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\d[\d,]*").expect("a pattern of this file"));
    let mut numbers: Vec<f64> = NUMBER
        .find_iter(said)
        .filter_map(|found| found.as_str().replace(',', "").parse().ok())
        .filter(|number| *number >= 32.0)
        .collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    let given = numbers.pop()?;
    let limit = numbers.pop()?;
    // Tokens are not spread evenly over a text.
    let share = limit / given * 0.95;
    (0.02..0.95).contains(&share).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_what_the_server_says() {
        for (said, share) in [
            (
                "This model's maximum context length is 8192 tokens, however you requested 10240 tokens",
                Some(0.76),
            ),
            ("`inputs` must have less than 512 tokens. Given: 1024", Some(0.475)),
            ("input (1,024 tokens) is too large to process (current batch size: 512)", Some(0.475)),
            ("maximum context length is 25 tokens", None),
            ("the input length exceeds the context length", None),
            ("at most 512 of 512 tokens", None),
            ("error 400: 99999999 of 512", None),
        ] {
            let found = share_that_fits(said);
            assert_eq!(
                found.map(|share| (share * 1000.0).round()),
                share.map(|s: f64| (s * 1000.0).round()),
                "{said}"
            );
        }
    }
}
