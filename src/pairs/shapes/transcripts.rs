//! Anthropic HH-RLHF: `chosen` and `rejected` are whole transcripts whose shared beginning is the prompt.

use polars::prelude::*;

use super::{Plan, Shape};
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::texts::{Texts, text};

const HUMAN: &str = "Human:";
const ASSISTANT: &str = "\n\nAssistant:";

pub(super) struct Transcripts;

impl Shape for Transcripts {
    fn name(&self) -> &'static str {
        "chosen/rejected transcripts"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["chosen", "rejected"]
    }

    fn recognise(&self, columns: &Columns) -> Option<Plan> {
        let first = columns.find(&["chosen"])?;
        let second = columns.find(&["rejected"])?;
        let texts = [&first, &second].iter().all(|name| columns.dtype(name) == Some(&DataType::String));
        texts.then(|| Plan { first, second, chosen_first: true, ..Plan::default() })
    }

    fn accepts(&self, frame: &DataFrame, plan: &Plan) -> bool {
        let Some(chosen) = frame.column(&plan.first).ok().and_then(|column| column.str().ok()) else {
            return false;
        };
        let (mut seen, mut transcripts) = (0, 0);
        for text in chosen.iter().flatten().take(200) {
            seen += 1;
            transcripts += usize::from(text.trim_start().starts_with(HUMAN) && text.contains(ASSISTANT));
        }
        transcripts * 2 > seen
    }

    fn texts(&self, frame: &DataFrame, plan: &Plan, path: &str) -> Result<Texts, PairsError> {
        let column = |name: &str| match frame.column(name) {
            Ok(column) => text(column, path),
            Err(_) => Ok(StringChunked::full_null(PlSmallStr::EMPTY, frame.height())),
        };
        let (chosen, rejected) = (column(&plan.first)?, column(&plan.second)?);
        let rows = chosen.len();
        let builder = || StringChunkedBuilder::new(PlSmallStr::EMPTY, rows);
        let (mut prompt, mut first, mut second) = (builder(), builder(), builder());
        let mut problems = Vec::new();
        for row in 0..rows {
            let (Some(a), Some(b)) = (chosen.get(row), rejected.get(row)) else {
                prompt.append_null();
                first.append_null();
                second.append_null();
                continue;
            };
            let (p, a, b) = split(a, b).unwrap_or_else(|| {
                problems.push((row as u32, "no shared prompt in the transcripts"));
                ("", a, b)
            });
            prompt.append_value(p);
            first.append_value(a);
            second.append_value(b);
        }
        Ok(Texts { prompt: prompt.finish(), first: first.finish(), second: second.finish(), problems })
    }
}

/// Prompt and the two responses: the transcripts part after the last `Assistant:` they share.
fn split<'a>(a: &'a str, b: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let shared = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    // Searching bytes: the shared part may end inside a character, never inside the ASCII marker.
    let marker = ASSISTANT.as_bytes();
    let at = a.as_bytes().get(..shared)?.windows(marker.len()).rposition(|window| window == marker)?;
    let after = at + marker.len();
    let prompt = a.get(..at)?.trim();
    // A single question stands for itself; a conversation keeps its speakers.
    let prompt = match prompt.strip_prefix(HUMAN) {
        Some(question) if !prompt.contains(ASSISTANT) && !question.contains("\n\nHuman:") => question.trim(),
        _ => prompt,
    };
    Some((prompt, a.get(after..)?.trim(), b.get(after..)?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_ends_at_the_last_shared_assistant() {
        let a = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why é?\n\nAssistant: Because é.";
        let b = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why é?\n\nAssistant: Because è.";
        let prompt = "Human: Hi\n\nAssistant: Yes?\n\nHuman: Why é?";
        assert_eq!(split(a, b), Some((prompt, "Because é.", "Because è.")));
        let question = split("\n\nHuman: Hi\n\nAssistant: A", "\n\nHuman: Hi\n\nAssistant: B");
        assert_eq!(question, Some(("Hi", "A", "B")));
    }

    #[test]
    fn different_beginnings_share_no_prompt() {
        assert_eq!(split("\n\nHuman: A\n\nAssistant: x", "\n\nHuman: B\n\nAssistant: y"), None);
        assert_eq!(split("", ""), None);
    }
}
