//! `wimhf concepts`: the bank of known concepts, and what it finds in a text.

use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;

use super::{Call, Failure};
use serde_json::json;
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
pub fn run(arguments: ConceptsArguments, call: &Call) -> Result<(), Failure> {
    let user = |error: anyhow::Error| Failure::new(2, &error);
    let bank = match &arguments.concepts {
        Some(path) => ConceptBank::with_file(path),
        None => ConceptBank::boxed(),
    }
    .map_err(|error| user(error.into()))?;
    let mut out = String::new();
    let mut values = Vec::new();
    // Writing into a string cannot fail.
    match &arguments.read {
        None => {
            for concept in bank.concepts() {
                let flags = if concept.flags.is_empty() {
                    String::new()
                } else {
                    format!(" [{}]", concept.flags.join(", "))
                };
                let read = match concept.reading {
                    Some(reading) if reading.n > 0 => format!(
                        " (read: right in {} of {} pairs, found in {} of {}{})",
                        reading.right,
                        reading.n,
                        reading.found,
                        reading.of,
                        if reading.holds() { "" } else { "; a hint, no principle" }
                    ),
                    _ => String::new(),
                };
                let _ = writeln!(out, "{:<20} {}{flags}{read}", concept.id, concept.description);
                let read = concept
                    .reading
                    .map(|r| json!({"right": r.right, "n": r.n, "found": r.found, "of": r.of}));
                values.push(json!({
                    "id": concept.id, "description": concept.description, "flags": concept.flags, "reading": read
                }));
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
                let scores = bank.read(&arguments.prompt, line);
                let found: Vec<_> = (bank.concepts().iter().zip(scores))
                    .filter(|(_, score)| *score > 0.0)
                    .map(|(concept, score)| (concept.id.clone(), score))
                    .collect();
                let names: Vec<String> = found.iter().map(|(id, score)| format!("{id} {score:.2}")).collect();
                let _ = writeln!(out, "{line}\n    {}", names.join(", "));
                let found: Vec<_> =
                    found.iter().map(|(id, score)| json!({"id": id, "score": score})).collect();
                values.push(json!({"text": line, "found": found}));
            }
        }
    }
    call.answer(&values, |_| out)
}
