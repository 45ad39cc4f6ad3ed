//! The reference: commands, settings and environment variables, made from what the program itself goes by.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::{Arg, Command};

use super::{GROUPS, command};
use crate::settings_table::SETTINGS;

/// Variables that no option stands for.
pub(super) const VARIABLES: &[(&str, &str)] = &[
    ("ALL_PROXY", "Proxy for every request; also in lower case."),
    ("COLUMNS", "Width of the answer where stdout is no terminal."),
    ("FORCE_COLOR", "Anything but 0: colour without a terminal, too."),
    ("HF_ENDPOINT", "Another server than huggingface.co."),
    ("HF_HOME", "Folder of the Hub's cache and token."),
    ("HF_HUB_CACHE", "Folder of the Hub's cache alone."),
    ("HF_HUB_OFFLINE", "1: only what is in the Hub's cache."),
    ("HF_TOKEN", "Token for the Hub."),
    ("HF_TOKEN_PATH", "File with the token for the Hub."),
    ("HTTPS_PROXY", "Proxy for https; also in lower case."),
    ("HTTP_PROXY", "Proxy for http; also in lower case."),
    ("HUGGING_FACE_HUB_TOKEN", "Older name of HF_TOKEN."),
    ("NO_COLOR", "Anything: no colour."),
    ("NO_PROXY", "Hosts without a proxy; also in lower case."),
    ("OPENAI_API_KEY", "Key for servers that are asked."),
    ("OPENAI_BASE_URL", "Their address where none is named."),
    ("REQUESTS_CA_BUNDLE", "Certificates to trust; as SSL_CERT_FILE."),
    ("SSL_CERT_FILE", "Certificates to trust."),
    ("WIMHF_CACHE_DIR", "Folder of the cache of embeddings and answers."),
    ("WIMHF_CACHE_LIMIT", "What it is pruned to after a run, such as 10GiB."),
    ("WIMHF_JUDGE_API_KEY", "Key for the judge's server, where it is another one."),
    (
        "WIMHF_LOG",
        "debug (or info, warn, error, trace): what happens inside, on stderr: stages, requests, files.",
    ),
    ("WIMHF_MODEL_API_KEY", "Key for the server of `constitution --model`."),
    ("WIMHF_NO_PROGRESS", "Anything but 0: as --no-progress."),
    ("WIMHF_WRITER_API_KEY", "Key for the writer's server, where it is another one."),
    ("XDG_CACHE_HOME", "Where caches go on Linux."),
];

const HEAD: &str = "# Reference\n\n\
    Made by `wimhf man --markdown`; a test holds it against the program. What the commands are for: the\n\
    [README](../README.md#documentation) names a page for each.\n";

const CODES: &str = "\n## Exit codes\n\n\
    0 done · 2 something you can mend (the message says what and how) · 1 our failure · 130 stopped by Ctrl-C.\n\
    The answer goes to stdout, everything else to stderr.\n";

/// The whole page.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    // Writing into a string cannot fail.
    let _ = markdown_into(&mut out);
    out
}

fn markdown_into(out: &mut String) -> std::fmt::Result {
    let mut root = command();
    root.build();
    writeln!(out, "\n## Commands\n")?;
    for (group, names) in GROUPS {
        let links: Vec<String> = names.iter().map(|name| format!("[{name}](#wimhf-{name})")).collect();
        writeln!(out, "- {group}: {}", links.join(" · "))?;
    }
    writeln!(out, "\nEvery command understands:\n")?;
    options(out, &root, true)?;
    let mut variables: BTreeMap<String, String> =
        VARIABLES.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect();
    for (_, names) in GROUPS {
        for name in names {
            if let Some(found) = root.find_subcommand(name) {
                section(out, found, &format!("wimhf {name}"), 3, &mut variables)?;
            }
        }
    }
    writeln!(out, "\n## Settings\n")?;
    writeln!(
        out,
        "`wimhf config init` writes them as `wimhf.toml`. The file is found in the folder of the call and those above it, \
         by `--config FILE` or by WIMHF_CONFIG; options go before it.\n\n| setting | default | what it does |\n|---|---|---|"
    )?;
    for setting in SETTINGS {
        let dot = if setting.section.is_empty() { "" } else { "." };
        let value = if setting.is_default { format!("`{}`", setting.value) } else { "not set".into() };
        writeln!(out, "| `{}{dot}{}` | {value} | {} |", setting.section, setting.name, setting.what)?;
    }
    writeln!(out, "\n## Environment variables\n\n| variable | what it does |\n|---|---|")?;
    for (name, what) in variables {
        writeln!(out, "| `{name}` | {what} |")?;
    }
    out.push_str(CODES);
    Ok(())
}

fn section(
    out: &mut String,
    command: &Command,
    name: &str,
    level: usize,
    variables: &mut BTreeMap<String, String>,
) -> std::fmt::Result {
    writeln!(out, "\n{} {name}\n", "#".repeat(level))?;
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        writeln!(out, "{}.", plain(&about.to_string()).trim_end_matches('.'))?;
    }
    for argument in command.get_arguments() {
        let (Some(variable), Some(long)) = (argument.get_env(), argument.get_long()) else { continue };
        let entry = variables.entry(variable.to_string_lossy().into_owned()).or_default();
        let option = format!("`--{long}`");
        if entry.is_empty() {
            *entry = format!("As {option}.");
        }
    }
    let usage = command.clone().render_usage().to_string();
    writeln!(out, "\n```text\n{}\n```\n", usage.trim_start_matches("Usage: ").trim())?;
    options(out, command, false)?;
    for inner in command.get_subcommands() {
        section(out, inner, &format!("{name} {}", inner.get_name()), level + 1, variables)?;
    }
    Ok(())
}

/// A line for each option, under their headings.
fn options(out: &mut String, command: &Command, general: bool) -> std::fmt::Result {
    let is_general = |argument: &&Arg| argument.get_help_heading() == Some(super::general::HEADING);
    let mut heading = None;
    for argument in command.get_arguments().filter(|argument| is_general(argument) == general) {
        let here = argument.get_help_heading().filter(|_| !general);
        if here != heading && here.is_some() {
            writeln!(out, "\n{}:\n", here.unwrap_or_default())?;
        }
        heading = here;
        line(out, argument)?;
    }
    Ok(())
}

fn line(out: &mut String, argument: &Arg) -> std::fmt::Result {
    let takes_value = argument.get_action().takes_values();
    let value = argument.get_value_names().filter(|_| takes_value).unwrap_or_default();
    let value: Vec<String> = value.iter().map(ToString::to_string).collect();
    let name = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        _ => value.join(" "),
    };
    let shown = match (argument.get_long(), value.is_empty()) {
        (Some(_), false) => format!("{name} {}", value.join(" ")),
        _ => name,
    };
    let help = argument.get_long_help().or(argument.get_help());
    let mut text = help.map_or(String::new(), |help| plain(&help.to_string()));
    let possible: Vec<String> = if takes_value && !argument.is_hide_possible_values_set() {
        argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect()
    } else {
        Vec::new()
    };
    if !possible.is_empty() {
        text += &format!(" One of {}.", possible.join(", "));
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value && !defaults.is_empty() && !defaults.iter().all(|value| value.is_empty()) {
        text += &format!(" Default: `{}`.", defaults.join(" "));
    }
    if let Some(variable) = argument.get_env() {
        text += &format!(" Also {}.", variable.to_string_lossy());
    }
    writeln!(out, "- `{shown}`: {text}")
}

/// One line, without what Markdown would take for markup.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('<', "&lt;").replace('*', "\\*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_in_a_group_and_every_variable_in_the_table() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let root = command();
        let mut there: Vec<&str> = root.get_subcommands().map(Command::get_name).collect();
        grouped.sort_unstable();
        there.sort_unstable();
        assert_eq!(grouped, there);
        for name in wimhf::context::VARIABLES {
            let known = |wanted: &str| VARIABLES.iter().any(|(other, _)| *other == wanted);
            assert!(known(name) || known(&name.to_uppercase()), "{name} is not explained");
        }
    }

    #[test]
    fn the_reference_is_that_of_this_program() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md");
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/reference.md is of another program: `cargo run -- man --markdown > docs/reference.md`"
        );
    }
}
