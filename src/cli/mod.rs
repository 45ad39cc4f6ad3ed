//! The command line: one file per subcommand, arguments and wiring, no logic.
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
mod log;
mod personalize;
mod progress;
mod relabel;
mod report;
mod score;

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::{Parser, Subcommand};

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
        Self { code, message: format!("{error:#}") }
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
            format_args!("{on}error{off}: {}\n", self.message),
        );
    }
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
    // Everything is written to temporary names and renamed, so stopping at once loses nothing that
    // was finished; the next run sweeps the leftovers and goes on.
    // Only answers that were paid for are waited for.
    let _ = ctrlc::set_handler(|| {
        let say = |text: &[u8]| {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text);
        };
        if crate::stop::request() {
            say(b"\nstopping when what is under way is done; Ctrl-C again stops at once\n");
            return;
        }
        say(b"\nstopped; finished stages are kept, the same command goes on from there\n");
        std::process::exit(130);
    });
    match arguments.command {
        Command::Analyze(arguments) => analyze::run(*arguments),
        Command::Inspect(arguments) => inspect::run(*arguments),
        Command::Constitution(arguments) => constitution::run(*arguments),
        Command::Personalize(arguments) => personalize::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Completions(arguments) => generate::completions(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Dictionary(arguments) => dictionary::run(arguments),
        Command::Cache(arguments) => cache::run(arguments),
        Command::Concepts(arguments) => concepts::run(arguments),
        Command::Relabel(arguments) => relabel::run(*arguments),
        Command::Score(arguments) => score::run(*arguments),
        Command::Judge(arguments) => judge::run(*arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Man(arguments) => generate::man(arguments),
        Command::Report(arguments) => report::run(arguments),
    }
}

/// A run that cannot be opened, with the exit code that it deserves.
pub(crate) fn finished(error: crate::finished::FinishedError) -> Failure {
    let code = if error.is_users() { 2 } else { 1 };
    Failure::new(code, &anyhow::Error::new(error))
}

/// Writes to stdout; a reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(1, &anyhow::Error::new(error).context("cannot write to stdout")))
        }
        _ => Ok(()),
    }
}
