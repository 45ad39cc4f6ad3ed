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
    let text = commands_as_calls(&error.render(Door::Python));
    Python::attach(|py| {
        let made = py
            .import("wimhf._errors")
            .and_then(|module| module.getattr(class))
            .and_then(|class| class.call1((text, error.field.clone(), error.hint.clone())));
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

/// `wimhf analyze` as `wimhf.analyze`: whoever reads this types Python.
fn commands_as_calls(text: &str) -> String {
    text.replace("`wimhf ", "`wimhf.")
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
