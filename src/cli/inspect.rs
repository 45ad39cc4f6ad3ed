//! `wimhf inspect DATA`

use std::path::PathBuf;

use clap::Args;

use super::data::DataArguments;
use super::progress::Progress;
use super::{Failure, print};
use crate::analyze::{self, Relay};
use crate::config::Config;
use crate::embed;
use crate::pairs;
use crate::report::inspection;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf inspect dataset.parquet
  wimhf inspect utterances.jsonl --pairing top-vs-bottom
  wimhf inspect hf://datasets/Anthropic/hh-rlhf/harmless-base/test
  wimhf inspect helpful.jsonl harmless.jsonl --json | jq .found.labels")]
pub struct InspectArguments {
    #[command(flatten)]
    data: DataArguments,
    /// Settings file (TOML); the options override it.
    #[arg(long, value_name = "FILE", env = "WIMHF_CONFIG")]
    config: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(arguments: InspectArguments) -> Result<(), Failure> {
    let user = |error: anyhow::Error| Failure::new(2, &error);
    let mut config = match &arguments.config {
        Some(path) => Config::from_file(path).map_err(|error| user(error.into()))?,
        None => Config::default(),
    };
    let data = arguments.data.over(&mut config);
    config.validate().map_err(|error| user(error.into()))?;
    let mut progress = Progress::new(false);
    let mut relay = Relay::new(&mut progress);
    let sources = analyze::locate(&data, &mut relay).map_err(|error| {
        let code = if error.is_stop() { 130 } else { 2 };
        Failure::new(code, &error.into())
    })?;
    relay.end();
    let (pairs, read) =
        pairs::read_all(&sources, &analyze::read_options(&config)).map_err(|error| user(error.into()))?;
    let found = pairs::inspect(&pairs);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let embedding = embed::estimate(&found.texts.lengths, cores, &config.embed);
    print(&if arguments.json {
        inspection::json(&read, &found, &embedding)
    } else {
        inspection::text(&read, &found, &embedding)
    })
}
