//! `wimhf completions SHELL` and `wimhf man`, both made from the command line's own definition.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use serde_json::json;

use super::{Call, Failure, command, print, reference};

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf completions bash > ~/.local/share/bash-completion/completions/wimhf
  wimhf completions zsh > ~/.zfunc/_wimhf
  wimhf completions fish > ~/.config/fish/completions/wimhf.fish")]
pub struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf man | man -l -
  wimhf man --out ~/.local/share/man/man1")]
pub struct ManArguments {
    /// Write the page of every subcommand into this folder, instead of the first one to stdout.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Commands, settings and environment variables as Markdown: docs/reference.md.
    #[arg(long, conflicts_with = "out")]
    markdown: bool,
}

/// Runs `completions`.
pub fn completions(arguments: CompletionsArguments, call: &Call) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "wimhf", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    call.answer(&json!({"shell": arguments.shell.to_string(), "script": script}), |_| script.clone())
}

/// What clap does not know, as a manual page writes it.
fn codes_and_variables() -> String {
    let mut out = String::from(".SH EXIT STATUS\n");
    for (code, what) in CODES {
        out.push_str(&format!(".TP\n{code}\n{what}\n"));
    }
    out.push_str(".SH ENVIRONMENT\nBeside those that stand with the options:\n");
    for (name, what) in reference::VARIABLES {
        out.push_str(&format!(".TP\n{name}\n{}\n", what.replace('-', "\\-")));
    }
    out
}

/// What the program ends with.
const CODES: [(&str, &str); 4] = [
    ("0", "done"),
    ("1", "our failure"),
    ("2", "something you can mend: the message says what and how"),
    ("130", "stopped by Ctrl\\-C"),
];

/// Runs `man`.
pub fn man(arguments: ManArguments, call: &Call) -> Result<(), Failure> {
    if arguments.markdown {
        return print(&reference::markdown());
    }
    let Some(folder) = arguments.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command())
            .render(&mut page)
            .map_err(|error| Failure::new(1, &anyhow::Error::new(error)))?;
        let page = String::from_utf8_lossy(&page).into_owned() + &codes_and_variables();
        return call.answer(&json!({"page": page}), |_| page.clone());
    };
    std::fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(command(), &folder)).map_err(
        |error| {
            Failure::new(
                2,
                &anyhow::Error::new(error).context(format!("cannot write into `{}`", folder.display())),
            )
        },
    )?;
    call.answer(&json!({"folder": folder}), |_| format!("{}\n", folder.display()))
}
