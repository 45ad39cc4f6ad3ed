//! The command line: one file per subcommand. Arguments become a request, the answer is rendered.
//!
//! Exit codes: 0 done, 2 a mistake the user can mend, 1 our failure, 130 stopped by Ctrl-C.
//! Data goes to stdout, everything else to stderr.

mod analyze;
mod audit;
mod cache;
mod compare;
mod concepts;
mod config;
mod constitution;
mod contexts;
mod data;
mod demo;
mod dictionary;
mod embed;
mod explore;
mod export;
mod general;
mod generate;
mod inside;
mod inspect;
mod judge;
mod language;
mod models;
mod personalize;
mod reasons;
mod reference;
mod relabel;
mod report;
mod runs;
mod score;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind as ClapError;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::json;
use wimhf::error::{message, printable};
use wimhf::{Cancel, Config, Context, Run};

pub(crate) use general::{Call, colour, in_ascii_where_odd};

/// Which principles did the annotators of a preference dataset really follow?
#[derive(Debug, Parser)]
#[command(name = "wimhf", bin_name = "wimhf", version, max_term_width = 100, propagate_version = true)]
#[command(disable_help_flag = true, disable_version_flag = true, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    general: general::GeneralArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find, measure and rank the principles in a preference dataset
    Analyze(Box<analyze::AnalyzeArguments>),
    /// What a dataset holds, before anything is run on it
    Inspect(Box<inspect::InspectArguments>),
    /// The few principles from which most of the labels can be told
    Constitution(Box<constitution::ConstitutionArguments>),
    /// What differs between annotators, and weights for each
    Personalize(personalize::PersonalizeArguments),
    /// Write a run's page again, or without what is personal, and open it
    Report(report::ReportArguments),
    /// Write a run's pairs for other tools: trainers, Feedback Forensics, spreadsheets
    Export(export::ExportArguments),
    /// Change labels that go against a rule or are unsafe, with a reason for each
    Relabel(Box<relabel::RelabelArguments>),
    /// Score new pairs: the probability that A is preferred, and what decides it
    Score(Box<score::ScoreArguments>),
    /// Vectors of both responses beside the pairs, for `analyze --embedding-columns`
    Embed(Box<embed::EmbedArguments>),
    /// Compare runs, or the groups of one dataset, with the differences tested
    Compare(compare::CompareArguments),
    /// Two judges on the same pairs: which features one rewards more
    Audit(audit::AuditArguments),
    /// Where it holds: what is rewarded in some kinds of request and not in others
    Contexts(contexts::ContextsArguments),
    /// Do they do what they say? People's own reasons beside their labels
    Reasons(reasons::ReasonsArguments),
    /// Which models win, and why: ratings without and with style held fixed
    Models(models::ModelsArguments),
    /// Measure a concept of your own on a run's pairs, read by a language model
    Judge(Box<judge::JudgeArguments>),
    /// Look at all pairs, decide, check words and edit, on a local page
    Explore(Box<explore::ExploreArguments>),
    /// A question in plain words, answered from the run's figures by a language model
    Ask(Box<explore::AskArguments>),
    /// The run's figures as tools for an assistant (MCP)
    Mcp(explore::McpArguments),
    /// List the known concepts, or see what is found in a text
    Concepts(concepts::ConceptsArguments),
    /// Named features of sentences: list them, read a text with them, learn your own
    Dictionary(dictionary::DictionaryArguments),
    /// Analyse the sample that comes with the program; needs no file
    Demo(demo::DemoArguments),
    /// List the runs in a folder
    Runs(runs::RunsArguments),
    /// Write, find or show the settings file, wimhf.toml
    Config(config::ConfigArguments),
    /// Where embeddings are kept between runs, and how to remove them
    Cache(cache::CacheArguments),
    /// Print a shell's completion script
    Completions(generate::CompletionsArguments),
    /// Print the man page, or write those of all subcommands
    Man(generate::ManArguments),
}

/// The commands by what one wants to do.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Begin", &["demo", "inspect", "analyze"]),
    (
        "Read a run",
        &[
            "report",
            "constitution",
            "personalize",
            "compare",
            "audit",
            "contexts",
            "reasons",
            "models",
            "runs",
        ],
    ),
    ("Use a run", &["relabel", "export", "score", "embed", "judge"]),
    ("Look and ask", &["explore", "ask", "mcp"]),
    ("Look inside", &["concepts", "dictionary"]),
    ("The program", &["config", "cache", "completions", "man"]),
];

/// The command line as it is parsed, shown and written down: with the commands in their groups.
fn command() -> clap::Command {
    let command = Arguments::command();
    let about = |name: &str| {
        let found = command.find_subcommand(name).and_then(clap::Command::get_about);
        found.map_or(String::new(), ToString::to_string)
    };
    let mut listed = String::new();
    for (group, names) in GROUPS {
        listed += &format!("{group}:\n");
        for name in names {
            listed += &format!("  {name:<13} {}\n", about(name));
        }
    }
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{listed}\nGeneral options:\n{{options}}\n\nExample: wimhf analyze dataset.parquet\n\
         `wimhf COMMAND -h` says what a command does, `--help` all that it can.\n\
         Exit codes: 0 done, 2 something you can mend, 1 our failure, 130 stopped by Ctrl-C."
    );
    let command = command.help_template(template);
    // The words can be explained without data.
    command.mut_subcommand("analyze", |analyze| {
        analyze
            .mut_arg("data", |data| data.required(false).required_unless_present("explain_terms"))
            .override_usage("wimhf analyze [OPTIONS] <DATA>...")
    })
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

/// Parses and runs; every error carries its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let typed: Vec<OsString> = arguments.into_iter().collect();
    let parsed = command().try_get_matches_from(&typed).and_then(|matches| {
        Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
    });
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error)
            if error.kind() == ClapError::DisplayVersion && typed.iter().any(|word| word == "--json") =>
        {
            return print(&format!("{}\n", built_in()));
        }
        Err(error) => {
            // Help and version are errors to clap, and go to stdout.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return if code == 0 { Ok(()) } else { Err(Failure { code, message: String::new() }) };
        }
    };
    wimhf::limits::set(|name| std::env::var(name).ok());
    inside::listen(std::env::var("WIMHF_LOG").ok().as_deref());
    let call = &Call::new(&arguments.general, Context::from_environment());
    stop_on_ctrl_c(call.context.cancel.clone());
    match arguments.command {
        Command::Analyze(arguments) => analyze::run(*arguments, call),
        Command::Inspect(arguments) => inspect::run(*arguments, call),
        Command::Constitution(arguments) => constitution::run(*arguments, call),
        Command::Personalize(arguments) => personalize::run(arguments, call),
        Command::Compare(arguments) => compare::run(arguments, call),
        Command::Completions(arguments) => generate::completions(arguments, call),
        Command::Demo(arguments) => demo::run(arguments, call),
        Command::Dictionary(arguments) => dictionary::run(arguments, call),
        Command::Cache(arguments) => cache::run(arguments, call),
        Command::Concepts(arguments) => concepts::run(arguments, call),
        Command::Config(arguments) => config::run(arguments, call),
        Command::Relabel(arguments) => relabel::run(*arguments, call),
        Command::Runs(arguments) => runs::run(&arguments, call),
        Command::Score(arguments) => score::run(*arguments, call),
        Command::Embed(arguments) => embed::run(*arguments, call),
        Command::Judge(arguments) => judge::run(*arguments, call),
        Command::Explore(arguments) => explore::run(*arguments, call),
        Command::Ask(arguments) => explore::answer(&arguments, call),
        Command::Mcp(arguments) => explore::tools(&arguments, call),
        Command::Export(arguments) => export::run(arguments, call),
        Command::Audit(arguments) => audit::run(arguments, call),
        Command::Contexts(arguments) => contexts::run(arguments, call),
        Command::Reasons(arguments) => reasons::run(arguments, call),
        Command::Models(arguments) => models::run(arguments, call),
        Command::Man(arguments) => generate::man(arguments, call),
        Command::Report(arguments) => report::run(arguments, call),
    }
}

/// What this program was built with, for whoever files a bug.
fn built_in() -> serde_json::Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "hub": cfg!(feature = "hub"),
        "backends": ["cpu", "wgpu"],
        "embedder": "boxed",
        "run_schema": wimhf::store::SCHEMA_VERSION,
        "optimised": !cfg!(debug_assertions),
    })
}

/// An error of the library: its kind is the exit code.
impl From<wimhf::Error> for Failure {
    fn from(error: wimhf::Error) -> Self {
        Self { code: error.kind.exit_code(), message: error.to_string() }
    }
}

/// The name of the settings file that is found.
pub(crate) const SETTINGS_FILE: &str = "wimhf.toml";

/// The settings file in this folder or the nearest one above.
pub(crate) fn found_settings() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join(SETTINGS_FILE)).find(|file| file.is_file())
}

/// The settings file that is named, else the one that is found, else the defaults.
///
/// The defaults, too, where the user wants `none`.
pub(crate) fn settings(file: Option<&Path>, none: bool, call: &Call) -> Result<Config, Failure> {
    if none {
        return Ok(Config::default());
    }
    let found = if file.is_none() { found_settings() } else { None };
    if let Some(found) = &found {
        // What is found without being named is said: it changes what comes out.
        call.note(&format!("settings of `{}`", found.display()));
    }
    match file.or(found.as_deref()) {
        Some(path) => Ok(Config::from_file(path).map_err(wimhf::Error::from)?),
        None => Ok(Config::default()),
    }
}

/// Whether a run came to its end; what is not finished may be gone on with in any way.
pub(crate) fn is_finished(manifest: &wimhf::store::Manifest) -> bool {
    manifest.stages.iter().any(|stage| stage.name == "principles")
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

/// What was done, on stderr: where data go to stdout, everything else goes there. A closed one is no reason to stop.
pub(crate) fn beside_data(text: &str) -> Result<(), Failure> {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), printable(text).as_bytes());
    Ok(())
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
