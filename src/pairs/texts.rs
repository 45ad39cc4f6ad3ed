//! Columns of texts or message lists, as prompt and two responses per row.

use polars::prelude::*;
use serde::Deserialize;

use super::columns::type_name;
use super::error::PairsError;

/// Prompt and responses per row of the source, before anything is left out.
#[derive(Default)]
pub(super) struct Texts {
    /// Null where there is none.
    pub prompt: StringChunked,
    /// The response that the source has first; null where it has none.
    pub first: StringChunked,
    /// The other one.
    pub second: StringChunked,
    /// Rows whose texts cannot be taken apart, and why.
    pub problems: Vec<(u32, &'static str)>,
}

/// One column: plain texts or lists of messages.
pub(super) enum Cells {
    /// One text per row.
    Text(StringChunked),
    /// One conversation per row.
    Messages(Messages),
}

/// Conversations, columnar: row `i` is the messages `offsets[i]..offsets[i + 1]`.
pub(super) struct Messages {
    offsets: Vec<usize>,
    valid: Vec<bool>,
    role: StringChunked,
    content: StringChunked,
}

/// A column as texts in one chunk; null cells stay null.
pub(super) fn text(column: &Column, path: &str) -> Result<StringChunked, PairsError> {
    match cells(column, path)? {
        Cells::Text(text) => Ok(text),
        Cells::Messages(messages) => Ok(messages.rendered()),
    }
}

/// A column as texts or conversations, told by its type; JSON lists in text cells are taken apart.
pub(super) fn cells(column: &Column, path: &str) -> Result<Cells, PairsError> {
    let wrong = || PairsError::ColumnType {
        path: path.to_owned(),
        name: column.name().to_string(),
        found: type_name(column.dtype()),
        expected: "texts or message lists (`role`, `content`)",
        hint: "name the right columns with `--prompt-column`, `--response-a-column`, `--response-b-column`",
    };
    match column.dtype() {
        DataType::String | DataType::Categorical(..) | DataType::Enum(..) | DataType::Null => {
            let column = column.cast(&DataType::String).map_err(|_| wrong())?;
            let text = column.str().map_err(|_| wrong())?.rechunk().into_owned();
            Ok(match Messages::from_json(&text) {
                Some(messages) => Cells::Messages(messages),
                None => Cells::Text(text),
            })
        }
        DataType::List(inner) if matches!(**inner, DataType::Struct(_)) => {
            let list = column.list().map_err(|_| wrong())?.rechunk();
            Messages::from_list(&list).map(Cells::Messages).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

/// Texts of a table whose prompt and responses stand in columns of their own.
///
/// Message lists: what both conversations begin with is the prompt, the rest are the responses.
/// With `strip`, responses that repeat the prompt lose it.
pub(super) fn from_columns(
    prompt: Option<&Column>,
    first: &Column,
    second: &Column,
    strip: bool,
    path: &str,
) -> Result<Texts, PairsError> {
    let prompt = match prompt {
        Some(column) => text(column, path)?,
        None => StringChunked::full_null("prompt".into(), first.len()),
    };
    match (cells(first, path)?, cells(second, path)?) {
        (Cells::Text(first), Cells::Text(second)) if strip => Ok(strip_prompt(prompt, first, second)),
        (Cells::Text(first), Cells::Text(second)) => {
            Ok(Texts { prompt, first, second, problems: Vec::new() })
        }
        (Cells::Messages(first), Cells::Messages(second)) => Ok(split_messages(&prompt, &first, &second)),
        (Cells::Text(_), Cells::Messages(_)) | (Cells::Messages(_), Cells::Text(_)) => {
            Err(PairsError::ColumnType {
                path: path.to_owned(),
                name: second.name().to_string(),
                found: type_name(second.dtype()),
                expected: "the same kind of cells as in the column of the other response",
                hint: "both responses must be texts, or both message lists",
            })
        }
    }
}

fn strip_prompt(prompt: StringChunked, first: StringChunked, second: StringChunked) -> Texts {
    let repeats = |i: usize| {
        let p = prompt.get(i).filter(|p| !p.trim().is_empty())?;
        let cut = |text: Option<&'_ str>| text.and_then(|t| t.strip_prefix(p)).is_some();
        (cut(first.get(i)) && cut(second.get(i))).then_some(p)
    };
    if !(0..first.len()).any(|i| repeats(i).is_some()) {
        return Texts { prompt, first, second, problems: Vec::new() };
    }
    let cut = |column: &StringChunked| -> StringChunked {
        (0..column.len())
            .map(|i| {
                let text = column.get(i)?;
                Some(match repeats(i) {
                    Some(p) => text.strip_prefix(p).unwrap_or(text).trim_start(),
                    None => text,
                })
            })
            .collect()
    };
    let (a, b) = (cut(&first), cut(&second));
    Texts { prompt, first: a, second: b, problems: Vec::new() }
}

fn split_messages(prompt: &StringChunked, a: &Messages, b: &Messages) -> Texts {
    let rows = a.valid.len().min(b.valid.len());
    let name = || PlSmallStr::EMPTY;
    let mut prompts = StringChunkedBuilder::new(name(), rows);
    let mut first = StringChunkedBuilder::new(name(), rows);
    let mut second = StringChunkedBuilder::new(name(), rows);
    for row in 0..rows {
        let (range_a, range_b) = (a.range(row), b.range(row));
        let shared = (range_a.clone().zip(range_b.clone()))
            .take_while(|&(i, j)| a.role(i) == b.role(j) && a.content.get(i) == b.content.get(j))
            .count();
        if shared > 0 {
            prompts.append_value(a.render(range_a.start..range_a.start + shared, true));
        } else {
            prompts.append_option(prompt.get(row));
        }
        let response =
            |messages: &Messages, range: std::ops::Range<usize>, out: &mut StringChunkedBuilder| {
                match messages.valid.get(row) {
                    Some(true) => out.append_value(messages.render(range.start + shared..range.end, false)),
                    _ => out.append_null(),
                }
            };
        response(a, range_a, &mut first);
        response(b, range_b, &mut second);
    }
    Texts { prompt: prompts.finish(), first: first.finish(), second: second.finish(), problems: Vec::new() }
}

impl Messages {
    /// From lists of records with `role` and `content` (or `from` and `value`).
    fn from_list(list: &ListChunked) -> Option<Self> {
        let array = list.downcast_iter().next()?;
        let offsets =
            array.offsets().iter().map(|offset| usize::try_from(*offset).ok()).collect::<Option<_>>()?;
        let valid = (0..list.len())
            .map(|i| array.validity().is_none_or(|bits| bits.get(i).unwrap_or(false)))
            .collect();
        let inner = list.get_inner();
        let records = inner.struct_().ok()?;
        let field = |names: [&str; 3]| names.iter().find_map(|name| records.field_by_name(name).ok());
        let role = field(["role", "from", "author"])?.cast(&DataType::String).ok()?;
        let content = field(["content", "value", "text"])?;
        let content = match content.dtype() {
            DataType::List(_) => joined_parts(content.list().ok()?)?,
            _ => content.cast(&DataType::String).ok()?.str().ok()?.rechunk().into_owned(),
        };
        Some(Self { offsets, valid, role: role.str().ok()?.rechunk().into_owned(), content })
    }

    /// From JSON in text cells; `None` when the first cell with text is no message list.
    fn from_json(text: &StringChunked) -> Option<Self> {
        #[derive(Deserialize)]
        struct Message {
            #[serde(alias = "from", alias = "author")]
            role: String,
            #[serde(alias = "value", alias = "text")]
            content: Option<Content>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Content {
            Text(String),
            Parts(Vec<Part>),
        }
        #[derive(Deserialize)]
        struct Part {
            text: Option<String>,
        }
        let parse = |cell: &str| serde_json::from_str::<Vec<Message>>(cell).ok();
        let sample = text.iter().flatten().map(str::trim_start).find(|cell| !cell.is_empty())?;
        if !sample.starts_with('[') || parse(sample).is_none_or(|messages| messages.is_empty()) {
            return None;
        }
        let mut offsets = vec![0];
        let mut valid = Vec::with_capacity(text.len());
        let mut role = StringChunkedBuilder::new(PlSmallStr::EMPTY, text.len());
        let mut content = StringChunkedBuilder::new(PlSmallStr::EMPTY, text.len());
        let mut count = 0;
        for cell in text.iter() {
            let messages = cell.and_then(parse);
            valid.push(messages.is_some());
            for message in messages.into_iter().flatten() {
                role.append_value(message.role);
                match message.content {
                    Some(Content::Text(text)) => content.append_value(text),
                    Some(Content::Parts(parts)) => {
                        let texts: Vec<String> = parts.into_iter().filter_map(|part| part.text).collect();
                        content.append_value(texts.join("\n"));
                    }
                    None => content.append_null(),
                }
                count += 1;
            }
            offsets.push(count);
        }
        Some(Self { offsets, valid, role: role.finish(), content: content.finish() })
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        let at = |i: usize| self.offsets.get(i).copied().unwrap_or(0);
        at(row)..at(row + 1).max(at(row))
    }

    /// The speaker of a message, in the words of a transcript.
    fn role(&self, message: usize) -> &str {
        match self.role.get(message).unwrap_or("") {
            "user" | "human" | "prompter" | "User" | "Human" => "Human",
            "assistant" | "gpt" | "model" | "bot" | "chatbot" | "Assistant" => "Assistant",
            "system" | "System" => "System",
            other => other,
        }
    }

    /// Messages as text: a single one bare, several as a transcript. In a response the first speaker is
    /// understood and not named; in a prompt (`name_first`) everybody is.
    fn render(&self, range: std::ops::Range<usize>, name_first: bool) -> String {
        let single = range.len() == 1;
        let mut text = String::new();
        for (i, message) in range.enumerate() {
            if i > 0 {
                text.push_str("\n\n");
            }
            if !single && (name_first || i > 0) {
                text.push_str(self.role(message));
                text.push_str(": ");
            }
            text.push_str(self.content.get(message).unwrap_or(""));
        }
        text
    }

    /// Whole conversations as prompts.
    fn rendered(&self) -> StringChunked {
        let rows = self.valid.iter().enumerate();
        rows.map(|(row, valid)| valid.then(|| self.render(self.range(row), true))).collect()
    }
}

/// Messages whose content is a list of parts: their texts, a line each.
fn joined_parts(list: &ListChunked) -> Option<StringChunked> {
    let list = list.rechunk();
    let array = list.downcast_iter().next()?;
    let offsets: Vec<usize> =
        array.offsets().iter().map(|offset| usize::try_from(*offset).ok()).collect::<Option<_>>()?;
    let inner = list.get_inner();
    let texts = match inner.dtype() {
        DataType::Struct(_) => inner.struct_().ok()?.field_by_name("text").ok()?,
        _ => inner,
    };
    let texts = texts.cast(&DataType::String).ok()?;
    let texts = texts.str().ok()?.rechunk();
    let joined = offsets.iter().zip(offsets.iter().skip(1)).map(|(&from, &to)| {
        let parts: Vec<&str> = (from..to).filter_map(|i| texts.get(i)).collect();
        Some(parts.join("\n"))
    });
    Some(joined.collect())
}
