//! What every command understands, and what it makes of it: who hears what, and in which form.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU8, Ordering};

use clap::{ArgAction, Args, ValueEnum};
use serde::Serialize;

use wimhf::Context;
use wimhf::error::printable;

use super::{Failure, print};
use crate::progress::{Progress, Talk};

/// The heading of these options in every help.
pub const HEADING: &str = "General options";

/// What was typed.
#[derive(Debug, Clone, Args)]
pub struct GeneralArguments {
    /// Nothing on stderr but errors.
    #[arg(long, short, global = true, help_heading = HEADING)]
    quiet: bool,
    /// Say every stage and what it took, without a terminal too.
    #[arg(long, short, global = true, conflicts_with = "quiet", help_heading = HEADING)]
    verbose: bool,
    /// The answer as JSON on stdout.
    #[arg(long, global = true, help_heading = HEADING)]
    json: bool,
    /// Colour: auto (in terminals, unless NO_COLOR is set), always, never.
    #[arg(
        long,
        alias = "colour",
        value_name = "WHEN",
        value_enum,
        hide_possible_values = true,
        hide_default_value = true,
        default_value_t = When::Auto,
        global = true,
        help_heading = HEADING
    )]
    color: When,
    /// No bars and no lines of stages.
    #[arg(long, global = true, help_heading = HEADING)]
    no_progress: bool,
    /// Print help: `-h` in short, `--help` with every option.
    #[arg(long, short, global = true, action = ArgAction::Help, help_heading = HEADING)]
    help: Option<bool>,
    /// Print the version; with `--json` what is built in.
    #[arg(long, short = 'V', global = true, action = ArgAction::Version, help_heading = HEADING)]
    version: Option<bool>,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// In terminals, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What was typed about colour: errors are coloured where nothing else of the call is at hand.
static COLOUR: AtomicU8 = AtomicU8::new(When::Auto as u8);

/// Whether to colour what goes to this stream: a terminal that can, or somebody wants it (`FORCE_COLOR`), and nobody said no
/// (<https://no-color.org>).
pub fn colour(stream: &impl IsTerminal) -> bool {
    match COLOUR.load(Ordering::Relaxed) {
        choice if choice == When::Always as u8 => true,
        choice if choice == When::Never as u8 => false,
        _ => {
            let says = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
            let forced = says("FORCE_COLOR").is_some_and(|value| value != "0");
            let able = stream.is_terminal() && says("TERM").is_none_or(|value| value != "dumb");
            says("NO_COLOR").is_none() && (forced || able)
        }
    }
}

/// One call of the program: its surroundings, and how it answers.
#[derive(Debug)]
pub struct Call {
    /// What the library is given of the environment.
    pub context: Context,
    /// Nothing on stderr but errors.
    pub quiet: bool,
    /// The answer as JSON.
    pub json: bool,
    talk: Talk,
}

impl Call {
    /// As it was typed.
    pub fn new(typed: &GeneralArguments, context: Context) -> Self {
        COLOUR.store(typed.color as u8, Ordering::Relaxed);
        let none = typed.no_progress
            || std::env::var_os("WIMHF_NO_PROGRESS").is_some_and(|value| !value.is_empty() && value != "0");
        let talk = match (typed.quiet, none, typed.verbose) {
            (true, ..) => Talk::Nothing,
            (_, true, _) => Talk::Notes,
            (.., true) => Talk::Stages,
            _ => Talk::Bars,
        };
        Self { context, quiet: typed.quiet, json: typed.json, talk }
    }

    /// Who watches the work.
    pub fn progress(&self) -> Progress {
        Progress::new(self.talk)
    }

    /// Whether the answer is coloured.
    pub fn colour(&self) -> bool {
        colour(&std::io::stdout())
    }

    /// A sentence on stderr, unless nobody wants to hear any.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            super::note(text);
        }
    }

    /// The answer: for people, or as JSON where that was asked for.
    pub fn answer(&self, value: &impl Serialize, text: impl FnOnce(bool) -> String) -> Result<(), Failure> {
        if self.json { self.value(value) } else { print(&text(self.colour())) }
    }

    /// A value as JSON.
    pub fn value(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(1, &error.into()))?;
        print(&(in_ascii_where_odd(&text) + "\n"))
    }
}

/// JSON in which no sign commands a terminal: such signs stand in texts only, where JSON has its own way to write them.
pub(crate) fn in_ascii_where_odd(json: &str) -> String {
    let odd = |c: char| !matches!(printable(c.encode_utf8(&mut [0; 4])), std::borrow::Cow::Borrowed(_));
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match odd(c) {
            // All of them lie below U+10000.
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}
