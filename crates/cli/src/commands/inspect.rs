//! `wimhf inspect DATA`

use std::path::PathBuf;

use clap::Args;

use super::data::DataArguments;
use super::{Call, Failure, print, settings};
use crate::render::inspection;

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
    /// No settings file.
    #[arg(long)]
    no_config: bool,
}

/// Runs the subcommand.
pub fn run(arguments: InspectArguments, call: &Call) -> Result<(), Failure> {
    let mut config = settings(arguments.config.as_deref(), arguments.no_config, call)?;
    let data = arguments.data.over(&mut config);
    let found = wimhf::inspect(&data, &config, &call.context, &mut call.progress())?;
    print(&if call.json { inspection::json(&found) } else { inspection::text(&found) })
}
