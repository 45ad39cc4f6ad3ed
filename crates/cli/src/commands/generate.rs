//! `wimhf completions SHELL` and `wimhf man`, both made from the command line's own definition.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, Failure, print};

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
}

/// Runs `completions`.
pub fn completions(arguments: CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "wimhf", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Runs `man`.
pub fn man(arguments: ManArguments) -> Result<(), Failure> {
    let Some(folder) = arguments.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command())
            .render(&mut page)
            .map_err(|error| Failure::new(1, &anyhow::Error::new(error)))?;
        return print(&String::from_utf8_lossy(&page));
    };
    std::fs::create_dir_all(&folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), &folder))
        .map_err(|error| {
        Failure::new(
            2,
            &anyhow::Error::new(error).context(format!("cannot write into `{}`", folder.display())),
        )
    })?;
    print(&format!("{}\n", folder.display()))
}
