//! The command line: one file per subcommand. Arguments become a request, the answer is rendered.
//!
//! Exit codes: 0 done, 2 a mistake the user can mend, 1 our failure, 130 stopped by Ctrl-C.
//! Data goes to stdout, everything else to stderr.

mod analyze;
mod cache;
mod compare;
mod concepts;
mod constitution;
mod data;
mod demo;
mod dictionary;
mod export;
mod generate;
mod inspect;
mod judge;
mod language;
mod personalize;
mod relabel;
mod report;
mod score;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::Path;

use clap::{Parser, Subcommand};
use wimhf::error::{message, printable};
use wimhf::{Cancel, Config, Context, Run};

/// Which principles did the annotators of a preference dataset really follow?
#[derive(Debug, Parser)]
#[command(name = "wimhf", version, about, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Example: wimhf analyze dataset.parquet")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find, measure and rank the principles in a preference dataset.
    Analyze(Box<analyze::AnalyzeArguments>),
    /// What a dataset holds, before anything is run on it.
    Inspect(Box<inspect::InspectArguments>),
    /// Find the few principles from which most of the labels can be told, and measure them.
    Constitution(Box<constitution::ConstitutionArguments>),
    /// Find what differs between annotators, and give each weights of its own.
    Personalize(personalize::PersonalizeArguments),
    /// Write a run's page again, or without what is personal, and open it.
    Report(report::ReportArguments),
    /// Write a run's pairs for other tools: Feedback Forensics, trainers, spreadsheets.
    Export(export::ExportArguments),
    /// Change labels that go against a rule or are unsafe, with a reason for each
    Relabel(Box<relabel::RelabelArguments>),
    /// Score new pairs: features, the probability that A is preferred, and what decides it.
    Score(Box<score::ScoreArguments>),
    /// Compare runs, or the groups of one dataset: the same concepts, differences tested.
    Compare(compare::CompareArguments),
    /// Measure a concept of your own on a run's pairs, read by a language model.
    Judge(Box<judge::JudgeArguments>),
    /// List the bank of known concepts, or see what it finds in a text.
    Concepts(concepts::ConceptsArguments),
    /// Features of sentences with names: list them, read a text with them, learn your own.
    Dictionary(dictionary::DictionaryArguments),
    /// Analyse the sample that comes with the program; needs no file.
    Demo(demo::DemoArguments),
    /// Where embeddings are kept between runs, and how to remove them.
    Cache(cache::CacheArguments),
    /// Print a shell's completion script.
    Completions(generate::CompletionsArguments),
    /// Print the man page, or write those of all subcommands.
    Man(generate::ManArguments),
}

/// Why the command ended, and with which exit code.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub code: u8,
    message: String,
}

impl Failure {
    fn new(code: u8, error: &anyhow::Error) -> Self {
        Self { code, message: in_words(error) }
    }

    /// Something gave up that should have returned an error: a defect of ours, unless the system gave no more threads.
    pub fn of_panic(panicked: &wimhf::panics::Panicked) -> Self {
        if panicked.is_out_of_threads {
            let message = format!(
                "the work cannot be done: {}\nhint: {}",
                panicked.message,
                wimhf::panics::THREADS_HINT
            );
            return Self { code: 2, message };
        }
        let place = wimhf::panics::last_place().map_or(String::new(), |place| format!(" ({place})"));
        let message = format!(
            "a defect of wimhf {}{place}: {}\nhint: report it with the command that was typed; finished stages are kept",
            env!("CARGO_PKG_VERSION"),
            panicked.message
        );
        Self { code: 1, message }
    }

    /// A mistake of the user's, with what to do.
    fn mistake(text: impl Into<String>) -> Self {
        Self { code: 2, message: text.into() }
    }

    /// Writes the message to stderr; nothing for an empty one.
    pub fn report(&self) {
        if self.message.is_empty() {
            return;
        }
        let (on, off) = if colour(&std::io::stderr()) { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
        // Nowhere is left to report that stderr is closed.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("{on}error{off}: {}\n", message(&self.message)),
        );
    }
}

/// An error and its causes, each once: most messages say what the system said in their own words already. What helps
/// comes last.
fn in_words(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        let plain = cause.split(" (os error ").next().unwrap_or(&cause);
        if text.contains(plain) {
            continue;
        }
        let at = text.find("\nhint:").unwrap_or(text.len());
        text.insert_str(at, &format!(": {cause}"));
    }
    text
}

/// Refuses an output that would do harm, before any work begins.
pub(crate) fn door(output: &wimhf::store::output::Output) -> Result<(), Failure> {
    output.check().map_err(|error| Failure::new(2, &error.into()))
}

/// Whether to colour what goes to this stream: a terminal, and nobody said no (<https://no-color.org>).
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Parses and runs; every error carries its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are errors to clap, and go to stdout.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return if code == 0 { Ok(()) } else { Err(Failure { code, message: String::new() }) };
        }
    };
    let context = Context::from_environment();
    stop_on_ctrl_c(context.cancel.clone());
    match arguments.command {
        Command::Analyze(arguments) => analyze::run(*arguments, &context),
        Command::Inspect(arguments) => inspect::run(*arguments, &context),
        Command::Constitution(arguments) => constitution::run(*arguments, &context),
        Command::Personalize(arguments) => personalize::run(arguments, &context),
        Command::Compare(arguments) => compare::run(arguments, &context),
        Command::Completions(arguments) => generate::completions(arguments),
        Command::Demo(arguments) => demo::run(arguments, &context),
        Command::Dictionary(arguments) => dictionary::run(arguments, &context),
        Command::Cache(arguments) => cache::run(arguments, &context),
        Command::Concepts(arguments) => concepts::run(arguments),
        Command::Relabel(arguments) => relabel::run(*arguments, &context),
        Command::Score(arguments) => score::run(*arguments, &context),
        Command::Judge(arguments) => judge::run(*arguments, &context),
        Command::Export(arguments) => export::run(arguments, &context),
        Command::Man(arguments) => generate::man(arguments),
        Command::Report(arguments) => report::run(arguments, &context),
    }
}

/// An error of the library: its kind is the exit code.
impl From<wimhf::Error> for Failure {
    fn from(error: wimhf::Error) -> Self {
        Self { code: error.kind.exit_code(), message: error.to_string() }
    }
}

/// The settings file, or the defaults.
pub(crate) fn settings(file: Option<&Path>) -> Result<Config, Failure> {
    match file {
        Some(path) => Ok(Config::from_file(path).map_err(wimhf::Error::from)?),
        None => Ok(Config::default()),
    }
}

/// Opens a finished run.
pub(crate) fn open_run(path: &Path, context: &Context) -> Result<Run, Failure> {
    Ok(Run::open_in(path, context).map_err(wimhf::Error::from)?)
}

/// Everything is written to temporary names and renamed, so stopping at once loses nothing that was finished; the next
/// run sweeps the leftovers and goes on. Only answers that were paid for are waited for.
fn stop_on_ctrl_c(cancel: Cancel) {
    let _ = ctrlc::set_handler(move || {
        let say = |text: &[u8]| {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text);
        };
        if cancel.request() {
            say(b"\nstopping when what is under way is done; Ctrl-C again stops at once\n");
            return;
        }
        say(b"\nstopped; finished stages are kept, the same command goes on from there\n");
        std::process::exit(130);
    });
}

/// A sentence on stderr; a closed one is no reason to stop.
pub(crate) fn note(text: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("note: {}\n", printable(text)));
}

/// Writes to stdout; a reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(printable(text).as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            let failed = wimhf::store::StoreError::Io { action: "write", path: "stdout".into(), source };
            Err(Failure::new(2, &failed.into()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once_and_what_helps_comes_last() {
        let source = || std::io::Error::from_raw_os_error(13);
        let io = wimhf::store::StoreError::Io { action: "write", path: "x/y".into(), source: source() };
        assert_eq!(
            in_words(&anyhow::Error::new(io)),
            "cannot write `x/y`: Permission denied\nhint: give yourself the right to it, or name another place"
        );
        let context = anyhow::Error::new(source()).context("cannot write the metrics to `m`\nhint: x");
        assert_eq!(
            in_words(&context),
            "cannot write the metrics to `m`: Permission denied (os error 13)\nhint: x"
        );
    }
}
