//! Cells as prompt and two responses: the small set of repairs that every format shares.
//!
//! A cell is a text, one message, a list of messages or a list of turns. All of it becomes a conversation; what both
//! conversations of a pair begin with is the prompt. Messages may be written as JSON, as Python prints them or as numpy
//! does; any other list or record that is written in a text is that text: an answer may be JSON because it was asked
//! for.

use std::ops::Range;

use polars::prelude::*;
use serde_json::Value;

use super::columns::type_name;
use super::error::PairsError;
use super::literal::{self, WRAPPED};
use super::records::json_of;

/// Cells that are looked at to tell what a column of texts holds.
const SAMPLE: usize = 400;

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
    /// What was mended, for the user.
    pub notes: Vec<String>,
}

/// One column: plain texts or conversations.
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
    /// Empty: a plain text, or turns of one speaker.
    role: StringChunked,
    content: StringChunked,
    /// Messages that call a tool.
    calls: Vec<bool>,
    /// What was mended.
    notes: Vec<String>,
}

/// A column as texts in one chunk; null cells stay null.
pub(super) fn text(column: &Column, path: &str) -> Result<StringChunked, PairsError> {
    Ok(match cells(column, path)? {
        Cells::Text(text) => text,
        Cells::Messages(messages) => messages.rendered(),
    })
}

/// A column as texts or conversations.
pub(super) fn cells(column: &Column, path: &str) -> Result<Cells, PairsError> {
    read(column, false, path)
}

/// The same for a format that writes the turns of a conversation as a JSON list of texts.
pub(super) fn turns(column: &Column, path: &str) -> Result<Cells, PairsError> {
    read(column, true, path)
}

fn read(column: &Column, of_turns: bool, path: &str) -> Result<Cells, PairsError> {
    let wrong = || PairsError::ColumnType {
        path: path.to_owned(),
        name: column.name().to_string(),
        found: type_name(column.dtype()),
        expected: "texts or messages (`role`, `content`)",
        hint: "name the right columns with `--prompt-column`, `--response-a-column`, `--response-b-column`",
    };
    let dtype = column.dtype();
    match dtype {
        DataType::String
        | DataType::Categorical(..)
        | DataType::Enum(..)
        | DataType::Null
        | DataType::Binary => {
            let text = if *dtype == DataType::Binary { utf8(column) } else { column.cast(&DataType::String) };
            let text = text.map_err(|_| wrong())?;
            let text = text.str().map_err(|_| wrong())?.rechunk().into_owned();
            Ok(Messages::written(&text, of_turns).map_or(Cells::Text(text), Cells::Messages))
        }
        DataType::List(inner) => {
            let list = column.list().map_err(|_| wrong())?.rechunk();
            let plain = matches!(**inner, DataType::Struct(_)).then(|| Messages::from_list(&list)).flatten();
            plain.or_else(|| Messages::nested(column)).map(Cells::Messages).ok_or_else(wrong)
        }
        DataType::Struct(_) | DataType::Array(..) => {
            Messages::nested(column).map(Cells::Messages).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

/// Bytes that are UTF-8 as text; others are missing.
fn utf8(column: &Column) -> PolarsResult<Column> {
    let bytes = column.binary()?;
    let text: StringChunked =
        bytes.iter().map(|cell| cell.and_then(|cell| std::str::from_utf8(cell).ok())).collect();
    Ok(text.with_name(column.name().clone()).into_column())
}

/// Texts of a table whose prompt and responses stand in columns of their own.
///
/// Conversations: what both begin with is the prompt, the rest are the responses.
/// With `strip`, responses that repeat the prompt lose it.
pub(super) fn from_cells(prompt: Option<Cells>, first: Cells, second: Cells, strip: bool) -> Texts {
    match (prompt, first, second) {
        (prompt, Cells::Text(first), Cells::Text(second)) => {
            let (prompt, notes) = match prompt {
                Some(Cells::Text(text)) => (text, Vec::new()),
                Some(Cells::Messages(messages)) => {
                    let rows = 0..first.len();
                    // A conversation that was recorded with one of its answers must not give that away.
                    let without = |row: usize| {
                        let range = messages.asked(row, [first.get(row), second.get(row)])?;
                        Some(messages.render(range, true))
                    };
                    (rows.map(without).collect(), messages.notes)
                }
                None => (StringChunked::full_null("prompt".into(), first.len()), Vec::new()),
            };
            let texts = Texts { prompt, first, second, notes, ..Texts::default() };
            if strip { strip_prompt(texts) } else { texts }
        }
        (prompt, first, second) => {
            let prompt = prompt.map(Cells::messages);
            split_messages(prompt.as_ref(), &first.messages(), &second.messages())
        }
    }
}

fn strip_prompt(texts: Texts) -> Texts {
    let Texts { prompt, first, second, .. } = &texts;
    let repeats = |i: usize| {
        let p = prompt.get(i).filter(|p| !p.trim().is_empty())?;
        let cut = |text: Option<&'_ str>| text.and_then(|t| t.strip_prefix(p)).is_some();
        (cut(first.get(i)) && cut(second.get(i))).then_some(p)
    };
    if !(0..first.len()).any(|i| repeats(i).is_some()) {
        return texts;
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
    let (first, second) = (cut(first), cut(second));
    Texts { first, second, ..texts }
}

/// One message on its way into a text.
#[derive(Clone, Copy, PartialEq)]
struct Turn<'a> {
    role: &'a str,
    content: &'a str,
    call: bool,
}

impl Turn<'_> {
    fn asks(&self) -> bool {
        matches!(self.role, "Human" | "System")
    }
}

/// A row taken apart: prompt and the two responses, or why not.
type Apart<'a> = Result<(Option<Vec<Turn<'a>>>, Vec<Turn<'a>>, Vec<Turn<'a>>), &'static str>;

fn split_messages(prompt: Option<&Messages>, a: &Messages, b: &Messages) -> Texts {
    let rows = a.valid.len().min(b.valid.len());
    let builder = || StringChunkedBuilder::new(PlSmallStr::EMPTY, rows);
    let (mut prompts, mut first, mut second) = (builder(), builder(), builder());
    let mut problems = Vec::new();
    for row in 0..rows {
        let (Some(one), Some(other)) = (a.turns(row), b.turns(row)) else {
            prompts.append_null();
            first.append_null();
            second.append_null();
            continue;
        };
        let asked = prompt.and_then(|prompt| prompt.turns(row));
        match apart(asked, one, other) {
            Ok((shared, one, other)) => {
                prompts.append_option(shared.map(|shared| render(&shared, true)));
                for (turns, out) in [(one, &mut first), (other, &mut second)] {
                    if turns.iter().any(|turn| turn.call)
                        && turns.iter().all(|turn| turn.content.trim().is_empty())
                    {
                        problems.push((row as u32, "response is only a tool call"));
                    }
                    out.append_value(render(&turns, false));
                }
            }
            Err(problem) => {
                problems.push((row as u32, problem));
                prompts.append_null();
                first.append_null();
                second.append_null();
            }
        }
    }
    let mut notes: Vec<String> = Vec::new();
    for note in prompt.into_iter().chain([a, b]).flat_map(|messages| &messages.notes) {
        if !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    Texts { prompt: prompts.finish(), first: first.finish(), second: second.finish(), problems, notes }
}

fn apart<'a>(asked: Option<Vec<Turn<'a>>>, one: Vec<Turn<'a>>, other: Vec<Turn<'a>>) -> Apart<'a> {
    let turns_only = |turns: &[Turn<'_>]| turns.iter().all(|turn| turn.role.is_empty());
    // Questions in one column, answers in two others: turn by turn.
    if let Some(questions) = asked.as_ref().filter(|turns| turns_only(turns))
        && turns_only(&one)
        && turns_only(&other)
        && (one.len() > 1 || other.len() > 1)
        && one.len() == questions.len()
        && other.len() == questions.len()
    {
        let woven = |answers: &[Turn<'a>]| {
            let pairs = questions.iter().zip(answers);
            pairs
                .flat_map(|(q, a)| [Turn { role: "Human", ..*q }, Turn { role: "Assistant", ..*a }])
                .collect()
        };
        return apart(None, woven(&one), woven(&other));
    }
    let spoken = |turns: Vec<Turn<'a>>| -> Vec<Turn<'a>> {
        let named =
            |turn: Turn<'a>| if turn.role.is_empty() { Turn { role: "Assistant", ..turn } } else { turn };
        turns.into_iter().map(named).collect()
    };
    let (one, other) = (spoken(one), spoken(other));
    let asks = |turns: &[Turn<'_>]| turns.first().is_some_and(Turn::asks);
    // A whole conversation against a mere answer to it.
    for (whole, answer, turned) in [(&one, &other, false), (&other, &one, true)] {
        if asks(whole) && !asks(answer) && !answer.is_empty() {
            let Some(last) = whole.iter().rposition(|turn| turn.role == "Assistant") else {
                return Err("no shared prompt in the conversations");
            };
            let (shared, rest) = (whole[..last].to_vec(), whole[last..].to_vec());
            let (a, b) = if turned { (answer.clone(), rest) } else { (rest, answer.clone()) };
            return Ok((Some(shared), a, b));
        }
    }
    let shared =
        one.iter().zip(&other).take_while(|(a, b)| a.role == b.role && a.content == b.content).count();
    // Something is left of each, so that identical ones are told as that.
    let shared = shared.min(one.len().saturating_sub(1)).min(other.len().saturating_sub(1));
    let (prompt, a) = (one[..shared].to_vec(), one[shared..].to_vec());
    let b = other[shared..].to_vec();
    if asks(&a) || asks(&b) {
        return Err("the two conversations have different prompts");
    }
    if shared > 0 {
        return Ok((Some(prompt), a, b));
    }
    let asked = asked.map(|mut turns| {
        let given = |turn: &Turn<'_>| {
            [&a, &b].iter().any(|r| r.last().is_some_and(|last| last.content == turn.content))
        };
        turns.pop_if(|turn| turn.role == "Assistant" && given(turn));
        turns
    });
    Ok((asked, a, b))
}

/// Messages as text: a single one bare, several as a transcript. In a response the first speaker is
/// understood and not named; in a prompt (`name_first`) everybody is.
fn render(turns: &[Turn<'_>], name_first: bool) -> String {
    let mut text = String::new();
    for (i, turn) in turns.iter().enumerate() {
        if i > 0 {
            text.push_str("\n\n");
        }
        if turns.len() > 1 && (name_first || i > 0) && !turn.role.is_empty() {
            text.push_str(turn.role);
            text.push_str(": ");
        }
        text.push_str(turn.content);
    }
    text
}

impl Cells {
    /// Texts as conversations of one message.
    fn messages(self) -> Messages {
        match self {
            Cells::Messages(messages) => messages,
            Cells::Text(text) => {
                let mut builder = Builder::new(text.len());
                text.iter().for_each(|cell| builder.plain(cell));
                builder.finish()
            }
        }
    }
}

impl Messages {
    /// From lists of records with `role` and `content` (or other names for them), where both are plain.
    fn from_list(list: &ListChunked) -> Option<Self> {
        let array = list.downcast_iter().next()?;
        let offsets =
            array.offsets().iter().map(|offset| usize::try_from(*offset).ok()).collect::<Option<_>>()?;
        let valid = (0..list.len())
            .map(|i| array.validity().is_none_or(|bits| bits.get(i).unwrap_or(false)))
            .collect();
        let inner = list.get_inner();
        let records = inner.struct_().ok()?;
        let field = |names: &[&str]| names.iter().find_map(|name| records.field_by_name(name).ok());
        let role = field(&ROLE)?;
        let content = field(&CONTENT)?;
        let plain = |dtype: &DataType| {
            matches!(
                dtype,
                DataType::String | DataType::Categorical(..) | DataType::Enum(..) | DataType::Null
            )
        };
        if !plain(role.dtype())
            || !plain(content.dtype())
            || field(&CALLS).is_some_and(|calls| calls.null_count() < calls.len())
        {
            return None;
        }
        let role = role.cast(&DataType::String).ok()?;
        let content = content.cast(&DataType::String).ok()?;
        let content = content.str().ok()?.rechunk().into_owned();
        if content.iter().flatten().any(|text| text.starts_with(WRAPPED)) {
            return None;
        }
        let role = role.str().ok()?.iter().map(|role| role.map(speaker)).collect();
        Some(Self { offsets, valid, role, calls: vec![false; content.len()], content, notes: Vec::new() })
    }

    /// From nested cells of any kind; `None` where no cell is a conversation.
    fn nested(column: &Column) -> Option<Self> {
        let series = column.as_materialized_series();
        let mut builder = Builder::new(series.len());
        for cell in series.iter() {
            builder.cell(&json_of(&cell));
        }
        builder.any.then(|| builder.finish())
    }

    /// From text cells that hold conversations as JSON, Python or numpy write them; `None` for plain texts.
    fn written(text: &StringChunked, of_turns: bool) -> Option<Self> {
        let (mut seen, mut nested, mut wrapped) = (0, 0, false);
        for cell in text.iter().flatten().filter(|cell| !cell.trim().is_empty()).take(SAMPLE) {
            seen += 1;
            nested += usize::from(Written::of(cell, of_turns).is_some());
            wrapped |= cell.starts_with(WRAPPED);
        }
        if nested == 0 || nested * 2 <= seen && !wrapped {
            return None;
        }
        let mut builder = Builder::new(text.len());
        let (mut json, mut python, mut twice) = (0, 0, 0);
        for cell in text.iter() {
            match cell.filter(|cell| literal::looks_nested(cell) || is_quoted(cell)) {
                None => builder.plain(cell),
                Some(cell) => match Written::of(cell, of_turns) {
                    Some(Written { value, how }) => {
                        match how {
                            How::Twice => twice += 1,
                            How::Json => json += 1,
                            How::Python => python += 1,
                        }
                        builder.cell(&value);
                    }
                    None if is_quoted(cell) => builder.plain(Some(cell)),
                    None => builder.unreadable(),
                },
            }
        }
        let name = text.name();
        if python > 0 {
            builder
                .notes
                .push(format!("`{name}`: {python} cells are lists as Python prints them, read as messages"));
        } else if json > 0 && !wrapped {
            builder.notes.push(format!("`{name}`: {json} cells are JSON, read as messages"));
        }
        if twice > 0 {
            builder.notes.push(format!("`{name}`: {twice} cells are JSON in JSON, read as messages"));
        }
        Some(builder.finish())
    }

    fn range(&self, row: usize) -> Range<usize> {
        let at = |i: usize| self.offsets.get(i).copied().unwrap_or(0);
        at(row)..at(row + 1).max(at(row))
    }

    /// The messages of a row; `None` where it has no conversation that can be read.
    fn turns(&self, row: usize) -> Option<Vec<Turn<'_>>> {
        let valid = self.valid.get(row).copied().unwrap_or(false);
        valid.then(|| self.range(row).map(|i| self.turn(i)).collect())
    }

    fn turn(&self, i: usize) -> Turn<'_> {
        Turn {
            role: self.role.get(i).unwrap_or(""),
            content: self.content.get(i).unwrap_or(""),
            call: self.calls.get(i).copied().unwrap_or(false),
        }
    }

    /// The messages of a row without one of these answers at its end.
    fn asked(&self, row: usize, answers: [Option<&str>; 2]) -> Option<Range<usize>> {
        self.valid.get(row).copied().unwrap_or(false).then_some(())?;
        let mut range = self.range(row);
        let last = range.clone().last().map(|i| self.turn(i));
        if last.is_some_and(|turn| turn.role == "Assistant" && answers.contains(&Some(turn.content))) {
            range.end -= 1;
        }
        Some(range)
    }

    fn render(&self, range: Range<usize>, name_first: bool) -> String {
        render(&range.map(|i| self.turn(i)).collect::<Vec<_>>(), name_first)
    }

    /// Whole conversations as prompts.
    pub fn rendered(&self) -> StringChunked {
        let rows = self.valid.iter().enumerate();
        rows.map(|(row, valid)| valid.then(|| self.render(self.range(row), true))).collect()
    }

    /// The first `turns` questions and answers of each conversation; where the number is missing, all.
    pub fn cut(self, turns: &[f64]) -> Self {
        let mut builder = Builder::new(self.valid.len());
        builder.notes.clone_from(&self.notes);
        for row in 0..self.valid.len() {
            let Some(all) = self.turns(row) else {
                builder.unreadable();
                continue;
            };
            let wanted = turns.get(row).copied().unwrap_or(f64::NAN);
            let mut answers = 0.0;
            for turn in all {
                if answers >= wanted {
                    break;
                }
                answers += f64::from(u8::from(turn.role == "Assistant"));
                builder.push(turn.role, Some(turn.content), turn.call);
            }
            builder.close(true);
        }
        builder.finish()
    }
}

/// Names of the field that says who speaks.
const ROLE: [&str; 6] = ["role", "from", "author", "speaker", "sender", "user_type"];
/// Names of the field that says what.
const CONTENT: [&str; 6] = ["content", "value", "text", "message", "utterance", "parts"];
/// Fields of a message that calls a tool.
const CALLS: [&str; 2] = ["tool_calls", "function_call"];
/// Fields that hold a conversation in a record.
const INSIDE: [&str; 4] = ["messages", "conversation", "conversations", "turns"];
/// Fields that hold a text in a record.
const TEXT: [&str; 16] = [
    "full_text",
    "text",
    "content",
    "value",
    "answer",
    "response",
    "completion",
    "output",
    "prompt",
    "question",
    "post",
    "article",
    "query",
    "instruction",
    "body",
    "generated_text",
];

/// The speaker in the words of a transcript.
fn speaker(role: &str) -> &str {
    match role.trim() {
        "user" | "human" | "prompter" | "User" | "Human" | "USER" | "HUMAN" | "instruction" => "Human",
        "assistant" | "gpt" | "model" | "bot" | "chatbot" | "Assistant" | "ASSISTANT" | "ai" | "AI"
        | "chatgpt" | "bard" | "bing" | "agent" => "Assistant",
        "system" | "System" | "SYSTEM" | "developer" => "System",
        other => other,
    }
}

fn field<'a>(value: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| value.get(*name).filter(|found| !found.is_null()))
}

/// Who speaks in a message; `None`: the record is no message.
fn role_of(value: &Value) -> Option<&str> {
    let role = field(value, &ROLE)?;
    role.as_str().or_else(|| role.get("role")?.as_str())
}

/// A conversation that is written in a text.
struct Written {
    value: Value,
    how: How,
}

/// How it is written.
enum How {
    /// As JSON, or wrapped by this program.
    Json,
    /// As Python prints it.
    Python,
    /// As a JSON text that holds JSON.
    Twice,
}

impl Written {
    /// `of_turns`: a list of texts is one, too.
    fn of(cell: &str, of_turns: bool) -> Option<Self> {
        let spoken = |value: &Value| of_turns && is_turns(value) || is_spoken(value);
        if is_quoted(cell) {
            let inner: String = serde_json::from_str(cell.trim()).ok()?;
            let value = literal::parse(&inner).filter(spoken)?;
            return Some(Self { value, how: How::Twice });
        }
        if !literal::looks_nested(cell) {
            return None;
        }
        let value = literal::parse(cell)?;
        // What this program has wrapped was a list or record in the file, and no text.
        if cell.starts_with(WRAPPED) {
            return is_conversation(&value).then_some(Self { value, how: How::Json });
        }
        let how = if serde_json::from_str::<Value>(cell).is_ok() { How::Json } else { How::Python };
        spoken(&value).then_some(Self { value, how })
    }
}

/// Whether a text is a JSON text of its own, quotation marks included, that may hold a list or record.
fn is_quoted(cell: &str) -> bool {
    let cell = cell.trim();
    cell.len() > 4 && (cell.starts_with("\"[") || cell.starts_with("\"{")) && cell.ends_with('"')
}

/// Whether a value that stands in a text is a message or a list of them, by the names that messages have.
fn is_spoken(value: &Value) -> bool {
    let has = |value: &Value, name: &str| value.get(name).is_some();
    let message = |value: &Value| {
        let says = has(value, "content") || has(value, "parts") || CALLS.iter().any(|name| has(value, name));
        let who = |name: &str| value.get(name).is_some_and(Value::is_string);
        // Exports of ChatGPT name the author in a record.
        let author = value.get("author").is_some_and(|author| has(author, "role"));
        (who("role") || author) && says || who("from") && has(value, "value")
    };
    match value {
        Value::Array(values) => !values.is_empty() && values.iter().all(message),
        Value::Object(_) => {
            message(value)
                || field(value, &INSIDE).is_some_and(|inside| inside.is_array() && is_spoken(inside))
        }
        _ => false,
    }
}

/// Turns of one speaker: texts, with nulls where nothing was said (Kaggle's Arena).
fn is_turns(value: &Value) -> bool {
    value.as_array().is_some_and(|values| {
        values.iter().all(|value| value.is_string() || value.is_null()) && values.iter().any(Value::is_string)
    })
}

/// Whether a list or record of the file can be read as texts: anything but a list or record of other things.
fn is_conversation(value: &Value) -> bool {
    match value {
        Value::Array(values) if values.is_empty() => false,
        Value::Array(values) => {
            is_turns(value)
                || values.iter().all(|value| {
                    role_of(value).is_some()
                        || value
                            .as_array()
                            .is_some_and(|pair| pair.len() == 2 && pair.iter().all(Value::is_string))
                })
        }
        Value::Object(_) => {
            role_of(value).is_some()
                || field(value, &INSIDE).is_some()
                || field(value, &TEXT).is_some_and(Value::is_string)
        }
        _ => false,
    }
}

/// Conversations, cell by cell.
struct Builder {
    offsets: Vec<usize>,
    valid: Vec<bool>,
    role: StringChunkedBuilder,
    content: StringChunkedBuilder,
    calls: Vec<bool>,
    notes: Vec<String>,
    /// Parts of messages that are no text.
    others: usize,
    /// Some cell was a conversation.
    any: bool,
}

impl Builder {
    fn new(rows: usize) -> Self {
        Self {
            offsets: vec![0],
            valid: Vec::with_capacity(rows),
            role: StringChunkedBuilder::new(PlSmallStr::EMPTY, rows),
            content: StringChunkedBuilder::new(PlSmallStr::EMPTY, rows),
            calls: Vec::with_capacity(rows),
            notes: Vec::new(),
            others: 0,
            any: false,
        }
    }

    fn push(&mut self, role: &str, content: Option<&str>, call: bool) {
        self.role.append_value(role);
        self.content.append_option(content);
        self.calls.push(call);
    }

    fn close(&mut self, valid: bool) {
        self.offsets.push(self.calls.len());
        self.valid.push(valid);
    }

    fn plain(&mut self, text: Option<&str>) {
        if text.is_some() {
            self.push("", text, false);
        }
        self.close(text.is_some());
    }

    fn unreadable(&mut self) {
        self.close(false);
    }

    fn cell(&mut self, value: &Value) {
        let valid = self.value(value);
        self.close(valid);
    }

    /// Adds what a cell holds; whether it can be read.
    fn value(&mut self, value: &Value) -> bool {
        match value {
            Value::String(text) if text.starts_with(WRAPPED) => {
                literal::parse(text).is_some_and(|value| self.value(&value))
            }
            Value::String(text) => {
                self.push("", Some(text), false);
                true
            }
            Value::Array(values) => values.iter().all(|value| self.element(value)),
            Value::Object(_) if role_of(value).is_some() => self.element(value),
            Value::Object(_) => match (field(value, &INSIDE), field(value, &TEXT)) {
                (Some(inside), _) => self.value(inside),
                (None, Some(text)) => {
                    self.any = true;
                    self.value(text)
                }
                (None, None) => false,
            },
            _ => false,
        }
    }

    /// A message, a turn, or a question with its answer.
    fn element(&mut self, value: &Value) -> bool {
        match value {
            Value::Null => {
                self.push("", None, false);
                true
            }
            Value::String(text) => {
                self.push("", Some(text), false);
                self.any = true;
                true
            }
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(question), Value::String(answer)] => {
                    self.push("Human", Some(question), false);
                    self.push("Assistant", Some(answer), false);
                    self.any = true;
                    true
                }
                _ => false,
            },
            Value::Object(_) => {
                let role = role_of(value).map(speaker);
                let content = field(value, &CONTENT).map(|content| self.content(content));
                let call = field(value, &CALLS)
                    .is_some_and(|calls| calls.as_array().is_none_or(|list| !list.is_empty()));
                self.any |= role.is_some();
                self.push(role.unwrap_or(""), content.as_deref(), call || role == Some("function_call"));
                role.is_some() || content.is_some()
            }
            _ => false,
        }
    }

    /// What a message says: its text, or the texts of its parts, a line each.
    fn content(&mut self, content: &Value) -> String {
        match content {
            Value::String(text) => match literal::parse(text).filter(|_| text.starts_with(WRAPPED)) {
                Some(parts) => self.content(&parts),
                None => text.clone(),
            },
            Value::Array(parts) => {
                let mut texts = Vec::with_capacity(parts.len());
                for part in parts {
                    match part.as_str().or_else(|| field(part, &CONTENT)?.as_str()) {
                        Some(text) => texts.push(text),
                        None => self.others += 1,
                    }
                }
                texts.join("\n")
            }
            Value::Object(_) => field(content, &CONTENT).map(|inner| self.content(inner)).unwrap_or_default(),
            other => other.to_string(),
        }
    }

    fn finish(mut self) -> Messages {
        if self.others > 0 {
            self.notes.push(format!(
                "{} images or other parts that are no text were left out of the messages",
                self.others
            ));
        }
        Messages {
            offsets: self.offsets,
            valid: self.valid,
            role: self.role.finish(),
            content: self.content.finish(),
            calls: self.calls,
            notes: self.notes,
        }
    }
}
