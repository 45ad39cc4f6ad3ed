//! `wimhf concepts`: the bank of known concepts, and what it finds in a text.

use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;

use super::{Failure, print};
use wimhf::describe::known::ConceptBank;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf concepts
  wimhf concepts --concepts mine.toml
  echo \"I'm sorry, but I can't help with that.\" | wimhf concepts --read -")]
pub struct ConceptsArguments {
    /// Concepts of your own (TOML), added to the boxed bank.
    #[arg(long, value_name = "FILE", env = "WIMHF_CONCEPTS")]
    concepts: Option<PathBuf>,
    /// Read this file (`-` for standard input) and print, line by line, which concepts are found in it.
    #[arg(long, value_name = "FILE")]
    read: Option<PathBuf>,
    /// The prompt that the lines are responses to.
    #[arg(long, value_name = "TEXT", default_value = "", requires = "read")]
    prompt: String,
}

/// Runs the subcommand.
pub fn run(arguments: ConceptsArguments) -> Result<(), Failure> {
    let user = |error: anyhow::Error| Failure::new(2, &error);
    let bank = match &arguments.concepts {
        Some(path) => ConceptBank::with_file(path),
        None => ConceptBank::boxed(),
    }
    .map_err(|error| user(error.into()))?;
    let mut out = String::new();
    // Writing into a string cannot fail.
    match &arguments.read {
        None => {
            for concept in bank.concepts() {
                let flags = if concept.flags.is_empty() {
                    String::new()
                } else {
                    format!(" [{}]", concept.flags.join(", "))
                };
                let _ = writeln!(out, "{:<20} {}{flags}", concept.id, concept.description);
            }
        }
        Some(path) => {
            let mut text = String::new();
            let read = if path.as_os_str() == "-" {
                std::io::stdin().read_to_string(&mut text).map(drop)
            } else {
                wimhf::limits::read_to_string(path).map(|content| text = content)
            };
            read.map_err(|source| {
                let path = path.clone();
                user(wimhf::store::StoreError::Io { action: "read", path, source }.into())
            })?;
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let found: Vec<String> = bank
                    .concepts()
                    .iter()
                    .zip(bank.read(&arguments.prompt, line))
                    .filter(|(_, score)| *score > 0.0)
                    .map(|(concept, score)| format!("{} {score:.2}", concept.id))
                    .collect();
                let _ = writeln!(out, "{line}\n    {}", found.join(", "));
            }
        }
    }
    print(&out)
}
