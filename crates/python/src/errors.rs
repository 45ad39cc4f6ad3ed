//! Errors as exceptions. The classes are written in Python (`wimhf/_errors.py`) under their real module path, so that
//! they pickle; what they say is what the command says, with options as Python types them.

use pyo3::prelude::*;
use wimhf::{Door, Error, ErrorKind};

/// The exception of an error.
pub fn exception(error: &Error) -> PyErr {
    let class = match error.kind {
        ErrorKind::Input => "InputError",
        ErrorKind::Run => "RunError",
        ErrorKind::Model => "ModelError",
        ErrorKind::Budget => "BudgetError",
        ErrorKind::Cancelled => "Cancelled",
        ErrorKind::Internal => "WimhfError",
    };
    let as_calls = Error {
        what: commands_as_calls(&error.what),
        hint: error.hint.as_deref().map(commands_as_calls),
        ..error.clone()
    };
    let text = as_calls.render(Door::Python);
    let hint = text.split_once("\nhint: ").map(|(_, hint)| hint.to_owned());
    Python::attach(|py| {
        let made = py
            .import("wimhf._errors")
            .and_then(|module| module.getattr(class))
            .and_then(|class| class.call1((text, as_calls.field, hint)));
        match made {
            Ok(value) => PyErr::from_value(value),
            Err(failure) => failure,
        }
    })
}

/// An error of the user's, made here.
pub fn input(text: impl AsRef<str>) -> Error {
    Error::new(ErrorKind::Input, text.as_ref())
}

/// Commands in backticks as the calls that do the same: `wimhf analyze DATA --out x` as `wimhf.analyze(DATA, out="x")`.
fn commands_as_calls(text: &str) -> String {
    let parts: Vec<String> = text
        .split('`')
        .enumerate()
        .map(|(at, part)| match part.strip_prefix("wimhf ") {
            Some(command) if at % 2 == 1 => call(command),
            _ => part.to_owned(),
        })
        .collect();
    parts.join("`")
}

/// Verbs of a run that is named first.
const OF_A_RUN: [&str; 11] = [
    "audit",
    "constitution",
    "contexts",
    "export",
    "judge",
    "models",
    "personalize",
    "reasons",
    "relabel",
    "report",
    "score",
];

fn call(command: &str) -> String {
    // A word in capitals stands for what the user has.
    let stands_for = |word: &str| word.chars().all(|c| c.is_ascii_uppercase() || "_.…".contains(c));
    let value = |word: &str| if stands_for(word) { word.to_owned() } else { format!("\"{word}\"") };
    let mut words = command.split_whitespace().peekable();
    let verb = words.next().unwrap_or_default();
    let mut arguments: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        arguments.push(match word.strip_prefix("--") {
            None => value(word),
            Some(name) => {
                let given = words.next_if(|next| !next.starts_with("--"));
                format!("{}={}", name.replace('-', "_"), given.map_or_else(|| "True".to_owned(), value))
            }
        });
    }
    if OF_A_RUN.contains(&verb) && !arguments.is_empty() {
        let run = arguments.remove(0);
        return format!("wimhf.open({run}).{verb}({})", arguments.join(", "));
    }
    format!("wimhf.{verb}({})", arguments.join(", "))
}

/// What a panic said: a defect of ours, told like any other error.
pub fn defect(panic: &(dyn std::any::Any + Send)) -> Error {
    let said = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    Error::new(
        ErrorKind::Internal,
        &format!(
            "a defect in wimhf: {said}\nhint: report it with what was called; the interpreter is unharmed"
        ),
    )
}
