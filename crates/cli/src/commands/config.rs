//! `wimhf config`: the settings file, written with every setting explained, found, and shown.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use wimhf::Config;
use wimhf::store::write_bytes;

use super::{Call, Failure, SETTINGS_FILE, command, found_settings, settings};
use crate::settings_table::{document, flat};

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf config init
  wimhf config show
  wimhf config path

`wimhf.toml` in this folder or one above it is read by `analyze` and `inspect`, and said so; `--config FILE` or
WIMHF_CONFIG names another one. Options go before it.")]
pub struct ConfigArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write wimhf.toml with every setting, its default and what it does
    Init {
        /// File to write.
        #[arg(long, value_name = "FILE", default_value = SETTINGS_FILE)]
        out: PathBuf,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
    },
    /// Print which settings file is read from here
    Path,
    /// Print the settings that hold here, those that differ from the defaults marked
    Show {
        /// Settings file instead of the one that is found.
        #[arg(long, value_name = "FILE", env = "WIMHF_CONFIG")]
        config: Option<PathBuf>,
    },
}

/// Variables that are set and go before the settings, with what they hold.
fn before() -> Vec<String> {
    let root = command();
    let analyze = root.find_subcommand("analyze").into_iter().flat_map(|command| command.get_arguments());
    analyze
        .filter_map(|argument| argument.get_env())
        .filter(|name| *name != "WIMHF_CONFIG")
        .filter_map(|name| Some(format!("{}={}", name.display(), std::env::var_os(name)?.display())))
        .collect()
}

/// Runs the subcommand.
pub fn run(arguments: ConfigArguments, call: &Call) -> Result<(), Failure> {
    match arguments.action {
        Action::Init { out, force } => {
            if out.exists() && !force {
                let message = format!(
                    "`{}` is there already\nhint: `--force` replaces it, or `--out FILE` names another",
                    out.display()
                );
                return Err(Failure::mistake(message));
            }
            write_bytes(&out, document().as_bytes()).map_err(wimhf::Error::from)?;
            call.answer(&json!({"file": out}), |_| format!("{}\n", out.display()))
        }
        Action::Path => {
            let named = std::env::var_os("WIMHF_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from);
            let found = named.or_else(found_settings);
            call.answer(&json!({"file": found}), |_| match &found {
                Some(file) => format!("{}\n", file.display()),
                None => "no settings file: the defaults hold; `wimhf config init` writes one\n".into(),
            })
        }
        Action::Show { config } => {
            let held = settings(config.as_deref(), false, call)?;
            for variable in before() {
                call.note(&format!("`{variable}` is set, and goes before this for `wimhf analyze`"));
            }
            call.answer(&held, |_| shown(&held))
        }
    }
}

fn shown(held: &Config) -> String {
    let value = |config: &Config| serde_json::to_value(config).unwrap_or(Value::Null);
    let (held, usual) = (flat(&value(held)), flat(&value(&Config::default())));
    let line = |(name, value): (&String, &Value)| {
        let mark = if usual.get(name) == Some(value) { " " } else { "*" };
        let value = if value.is_null() { "(not set)".to_owned() } else { value.to_string() };
        format!("{mark} {name} = {value}\n")
    };
    held.iter().map(line).collect()
}
