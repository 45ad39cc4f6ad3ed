//! The one error that leaves this crate: what is wrong, which option it is about, what to do.
//!
//! Inside, every stage has an enum of its own. Their texts name options as the command has them (`--label-column`);
//! each door shows them as its users type them: [`Error::render`].

use std::borrow::Cow;
use std::fmt;

use crate::config::ConfigError;
use crate::constitution::execution::ByModelError;
use crate::embed::{EmbedError, TableError};
use crate::hub::HubError;
use crate::llm::chat::LanguageError;
use crate::llm::open::OpenError;
use crate::ops::analyze::AnalyzeError;
use crate::ops::audit::AuditError;
use crate::ops::compare::CompareError;
use crate::ops::constitution::ConstitutionError;
use crate::ops::contexts::ContextsError;
use crate::ops::embed::EmbedTableError;
use crate::ops::judge::JudgeError;
use crate::ops::personalize::PersonalizeFailure;
use crate::ops::rate::RateError;
use crate::ops::reasons::ReasonsError;
use crate::ops::relabel::RelabelFailure;
use crate::pairs::PairsError;
use crate::pairs::rewrite::RewriteError;
use crate::personalize::PersonalizeError;
use crate::relabel::RelabelError;
use crate::relabel::evaluate::EvaluateError;
use crate::relabel::rules::RuleError;
use crate::run::RunError;
use crate::score::ScoreError;
use crate::store::StoreError;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Data or settings that cannot be used as they are.
    Input,
    /// A run directory that is not there, not finished, damaged, or of other data.
    Run,
    /// A language model or an embedder's server.
    Model,
    /// A limit on calls or dollars that the user set.
    Budget,
    /// Somebody asked to stop; the same call goes on from there.
    Cancelled,
    /// A defect of ours.
    Internal,
}

impl ErrorKind {
    /// The exit code of the command: 2 for what the user can mend, 130 for a stop, 1 for our failure.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Input | Self::Run | Self::Model | Self::Budget => 2,
            Self::Cancelled => 130,
            Self::Internal => 1,
        }
    }
}

/// How a door writes an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `--label-column`
    Command,
    /// `label_column`
    Python,
}

/// What is wrong, which option it is about, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of thing.
    pub kind: ErrorKind,
    /// What is wrong and where, in a sentence.
    pub what: String,
    /// The first option that the text names, with underscores: `label_column`.
    pub field: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Error {
    /// From a text as the enums have it: the sentence, then `hint:` on a line of its own.
    pub fn new(kind: ErrorKind, text: &str) -> Self {
        let text = message(text);
        let text = text.as_str();
        let (what, hint) = match text.split_once("\nhint: ") {
            Some((what, hint)) => (what, Some(hint.trim().to_owned())),
            None => (text, None),
        };
        Self { kind, what: what.trim_end().to_owned(), field: first_option(text), hint }
    }

    /// The whole text as a door shows it.
    pub fn render(&self, door: Door) -> String {
        let mut text = self.what.clone();
        if let Some(hint) = &self.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        match door {
            Door::Command => text,
            Door::Python => as_keywords(&text),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Door::Command))
    }
}

impl std::error::Error for Error {}

/// The longest piece between backticks that is shown whole: paths may be long.
const MOST_QUOTED: usize = 1000;
/// The longest line: a parser quotes the whole line in which it found something.
const MOST_IN_LINE: usize = 1200;

/// A text as a message: nothing in it commands a terminal, nothing fills it.
pub fn message(text: &str) -> String {
    let quoted = shortened(text);
    let lines = quoted.split('\n').map(|line| match line.char_indices().nth(MOST_IN_LINE) {
        Some((at, _)) if line.split('`').count() < 3 => format!("{}…", line.get(..at).unwrap_or_default()),
        _ => line.to_owned(),
    });
    printable(&lines.collect::<Vec<_>>().join("\n")).into_owned()
}

/// A text whose quoted pieces are no longer than a path may sensibly be: what was typed is known to who typed it.
fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= MOST_QUOTED {
        return Cow::Borrowed(text);
    }
    let short = |(place, piece): (usize, &str)| match piece.char_indices().nth(MOST_QUOTED) {
        Some((at, _)) if place % 2 == 1 => format!("{}…", piece.get(..at).unwrap_or_default()),
        _ => piece.to_owned(),
    };
    Cow::Owned(text.split('`').enumerate().map(short).collect::<Vec<_>>().join("`"))
}

/// A text without what would command a terminal: names of files and columns, and what servers say, come from anybody.
/// Colours are ours and stay; marks that turn the direction of writing are spelt out, too.
pub fn printable(text: &str) -> Cow<'_, str> {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_odd = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || turns(c);
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = rest.strip_prefix("\u{1b}[").and_then(|code| {
            let end = code.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            code.get(end..)?.starts_with('m').then_some(end + 3)
        });
        let length = colour.unwrap_or(c.len_utf8());
        match is_odd(c) && colour.is_none() {
            true => out.extend(c.escape_unicode()),
            false => out.push_str(rest.get(..length).unwrap_or_default()),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// Where an option's name begins and ends: `--` after a boundary, then letters and single hyphens.
fn option_at(text: &str, from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    while let Some(found) = text.get(at..)?.find("--") {
        let start = at + found;
        let before = text[..start].chars().next_back();
        let name = text[start + 2..]
            .find(|c: char| !c.is_ascii_lowercase() && c != '-')
            .map_or(text.len(), |length| start + 2 + length);
        let boundary = before.is_none_or(|c| c.is_whitespace() || matches!(c, '`' | '(' | '"' | '\''));
        let is_name = text[start + 2..name].starts_with(|c: char| c.is_ascii_lowercase());
        if boundary && is_name {
            return Some((start, name));
        }
        at = name.max(start + 2);
    }
    None
}

fn first_option(text: &str) -> Option<String> {
    option_at(text, 0).map(|(start, end)| text[start + 2..end].replace('-', "_"))
}

/// `--label-column` as `label_column`, everywhere in a text.
fn as_keywords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some((start, end)) = option_at(text, at) {
        out.push_str(&text[at..start]);
        out.push_str(&text[start + 2..end].replace('-', "_"));
        at = end;
    }
    out.push_str(&text[at..]);
    out
}

/// What kind of thing an error of a stage is.
trait Kind: fmt::Display {
    fn kind(&self) -> ErrorKind;
}

fn ours_unless(users: bool, kind: ErrorKind) -> ErrorKind {
    if users { kind } else { ErrorKind::Internal }
}

impl Kind for LanguageError {
    fn kind(&self) -> ErrorKind {
        match self {
            _ if self.is_stop() => ErrorKind::Cancelled,
            Self::Limit(_) => ErrorKind::Budget,
            _ => ErrorKind::Model,
        }
    }
}

impl Kind for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Language(error) => error.kind(),
            _ => ErrorKind::Model,
        }
    }
}

impl Kind for HubError {
    fn kind(&self) -> ErrorKind {
        if self.is_stop() { ErrorKind::Cancelled } else { ErrorKind::Input }
    }
}

impl Kind for EmbedError {
    fn kind(&self) -> ErrorKind {
        match self {
            _ if self.is_stop() => ErrorKind::Cancelled,
            Self::Net(_) => ErrorKind::Model,
            Self::Hub(error) => error.kind(),
            _ => ours_unless(self.is_users(), ErrorKind::Input),
        }
    }
}

impl Kind for TableError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Pairs(error) => error.kind(),
            Self::Embed(error) => error.kind(),
            Self::Elsewhere(_) => ErrorKind::Input,
            Self::Columns(_) => ErrorKind::Internal,
        }
    }
}

impl Kind for EmbedTableError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Table(error) => error.kind(),
            Self::Batch(error) => error.kind(),
            Self::Run(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

impl Kind for PairsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Input
    }
}

impl Kind for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Input
    }
}

impl Kind for StoreError {
    fn kind(&self) -> ErrorKind {
        ours_unless(self.is_users(), ErrorKind::Run)
    }
}

impl Kind for RunError {
    fn kind(&self) -> ErrorKind {
        match self {
            _ if self.is_stop() => ErrorKind::Cancelled,
            Self::Pairs(error) => error.kind(),
            Self::Hub(error) => error.kind(),
            Self::Embed(error) => error.kind(),
            Self::NoFeature { .. } | Self::ConceptBank(_) | Self::Output(_) => ErrorKind::Input,
            _ => ours_unless(self.is_users(), ErrorKind::Run),
        }
    }
}

impl Kind for AnalyzeError {
    fn kind(&self) -> ErrorKind {
        match self {
            _ if self.is_stop() => ErrorKind::Cancelled,
            Self::Run(error) => error.kind(),
            Self::Embed(error) => error.kind(),
            Self::Open(error) => error.kind(),
            Self::Language(error) => error.kind(),
            Self::Finished(error) => error.kind(),
            Self::Score(error) => error.kind(),
            Self::Contexts(error) => error.kind(),
            _ => ours_unless(self.is_users(), ErrorKind::Input),
        }
    }
}

impl Kind for ScoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            _ if self.is_stop() => ErrorKind::Cancelled,
            Self::Finished(error) => error.kind(),
            Self::Run(error) => error.kind(),
            _ => ErrorKind::Input,
        }
    }
}

impl Kind for RewriteError {
    fn kind(&self) -> ErrorKind {
        ours_unless(self.is_users(), ErrorKind::Input)
    }
}

impl Kind for RelabelError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Finished(error) | Self::Rule(RuleError::Feature(error)) => error.kind(),
            Self::Evaluate(EvaluateError::Finished(error)) => error.kind(),
            _ => ours_unless(self.is_users(), ErrorKind::Input),
        }
    }
}

impl Kind for RelabelFailure {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Range { .. }
            | Self::OnlyProposed(_)
            | Self::Decided { .. }
            | Self::DecidedAndMarked
            | Self::NotReviewed(_)
            | Self::NoOut(_)
            | Self::OwnPairs { .. }
            | Self::Stream { .. } => ErrorKind::Input,
            Self::Embed(error) => error.kind(),
            Self::Relabel(error) => error.kind(),
            Self::Open(error) => error.kind(),
            Self::Language(error) => error.kind(),
            Self::Context(error) => error.kind(),
        }
    }
}

impl Kind for PersonalizeFailure {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Personalize(PersonalizeError::Stopped) => ErrorKind::Cancelled,
            Self::Personalize(_) | Self::Pairs(_) => ErrorKind::Input,
            Self::Run(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

impl Kind for ConstitutionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Stopped => ErrorKind::Cancelled,
            Self::NoModel | Self::NoLabels { .. } | Self::Edit(_) => ErrorKind::Input,
            Self::Run(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Open(error) => error.kind(),
            Self::Model(ByModelError::Language(error)) => error.kind(),
            Self::Model(ByModelError::Embed(error)) => error.kind(),
        }
    }
}

impl Kind for AuditError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Run(error) => error.kind(),
            Self::Store(error) => error.kind(),
            _ => ErrorKind::Input,
        }
    }
}

impl Kind for ContextsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Run(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Embed(error) => error.kind(),
            _ => ErrorKind::Input,
        }
    }
}

impl Kind for ReasonsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Run(error) => error.kind(),
            Self::Store(error) => error.kind(),
            _ => ErrorKind::Input,
        }
    }
}

impl Kind for RateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Run(error) => error.kind(),
            Self::Store(error) => error.kind(),
            _ => ErrorKind::Input,
        }
    }
}

impl Kind for CompareError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Run(error) => error.kind(),
            Self::Store(error) => error.kind(),
            _ => ErrorKind::Input,
        }
    }
}

impl Kind for JudgeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Run(error) => error.kind(),
            Self::Open(error) => error.kind(),
            Self::Language(error) => error.kind(),
            _ => ErrorKind::Input,
        }
    }
}

impl<E: Kind> From<E> for Error {
    fn from(error: E) -> Self {
        Self::new(error.kind(), &error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_writes_options_as_its_users_type_them() {
        let error = Error::new(
            ErrorKind::Input,
            "no column `lable`\nhint: did you mean `label`? name it with `--label-column label` (well--known stays)",
        );
        assert_eq!(error.field.as_deref(), Some("label_column"));
        assert_eq!(error.what, "no column `lable`");
        assert!(error.to_string().contains("`--label-column label`"));
        let python = error.render(Door::Python);
        assert!(python.ends_with("name it with `label_column label` (well--known stays)"), "{python}");
    }

    #[test]
    fn nothing_in_a_message_commands_a_terminal() {
        assert!(matches!(printable("a\tb\né 🙂"), Cow::Borrowed(_)));
        assert_eq!(printable("\u{1b}]0;x\u{7}\u{202e}y"), "\\u{1b}]0;x\\u{7}\\u{202e}y");
        assert_eq!(printable("\u{1b}[1;31mred\u{1b}[0m \u{1b}[2J"), "\u{1b}[1;31mred\u{1b}[0m \\u{1b}[2J");
        let long = format!("no `{}` in `x`", "y".repeat(5000));
        assert_eq!(Error::new(ErrorKind::Input, &long).what.len(), 1000 + "no `…` in `x`".len());
        let error = Error::new(ErrorKind::Input, "no `\u{1b}[2J`\nhint: \u{9b}");
        assert_eq!(error.to_string(), "no `\\u{1b}[2J`\nhint: \\u{9b}");
    }

    #[test]
    fn a_text_without_options_is_left_alone() {
        let error = Error::new(ErrorKind::Run, "a -- b --");
        assert_eq!((error.field.as_deref(), error.hint.as_deref()), (None, None));
        assert_eq!(error.render(Door::Python), "a -- b --");
    }

    #[test]
    fn kinds_have_the_exit_codes_of_the_command() {
        assert_eq!(ErrorKind::Budget.exit_code(), 2);
        assert_eq!(ErrorKind::Cancelled.exit_code(), 130);
        assert_eq!(ErrorKind::Internal.exit_code(), 1);
        assert_eq!(Error::from(LanguageError::Limit("no more".into())).kind, ErrorKind::Budget);
    }
}
