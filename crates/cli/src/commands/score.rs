//! `wimhf score RUN NEW`: new pairs through a finished run.

use std::path::PathBuf;

use clap::Args;
use wimhf::pairs::ReadOptions;
use wimhf::{ScoreRequest, ScorerRequest};

use super::analyze::DeviceArgument;
use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf score runs/mine new.parquet --explain
  wimhf score runs/mine new.jsonl --out scored.jsonl --no-features
  wimhf score runs/mine new.parquet --annotator ann_07
  producer | wimhf score runs/mine - | consumer        (Arrow IPC streams)")]
pub struct ScoreArguments {
    /// Run directory that `analyze` finished.
    run: PathBuf,
    /// Pairs or single responses: Parquet, JSON lines, or `-` for an Arrow IPC stream on stdin.
    new: String,
    /// Parquet, or JSON lines for names ending in .jsonl; `-` for an Arrow IPC stream on stdout [default:
    /// RUN/score/NAME; `-` where NEW is `-`].
    #[arg(long, value_name = "FILE")]
    out: Option<String>,
    /// The personal weights of this annotator, as `wimhf personalize` made them.
    #[arg(long, value_name = "ID")]
    annotator: Option<String>,
    /// Say in words what decides each pair.
    #[arg(long)]
    explain: bool,
    /// Leave out the columns of activations.
    #[arg(long)]
    no_features: bool,
    /// Column with the prompt.
    #[arg(long, value_name = "COLUMN")]
    prompt_column: Option<String>,
    /// Column with response A.
    #[arg(long, value_name = "COLUMN", requires = "response_b_column")]
    response_a_column: Option<String>,
    /// Column with response B.
    #[arg(long, value_name = "COLUMN", requires = "response_a_column")]
    response_b_column: Option<String>,
    /// Two columns with vectors made by the run's embedder [default: the run's].
    #[arg(long, value_name = "A,B", value_parser = super::data::two_names)]
    embedding_columns: Option<(String, String)>,
    /// Where a model on this machine embeds the texts.
    #[arg(long, value_enum, default_value_t = DeviceArgument::Auto, env = "WIMHF_DEVICE")]
    device: DeviceArgument,
    /// Replace files even where they are of another kind than what is written.
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand.
pub fn run(arguments: ScoreArguments, call: &Call) -> Result<(), Failure> {
    let run = open_run(&arguments.run, &call.context)?;
    let scored = run.score(&ScoreRequest {
        new: arguments.new,
        out: arguments.out,
        how: ScorerRequest {
            annotator: arguments.annotator,
            explain: arguments.explain,
            no_features: arguments.no_features,
            columns: ReadOptions {
                prompt_column: arguments.prompt_column,
                response_a_column: arguments.response_a_column,
                response_b_column: arguments.response_b_column,
                embedding_columns: arguments.embedding_columns,
                ..ReadOptions::default()
            },
            device: arguments.device.into(),
        },
        force: arguments.force,
    })?;
    let Some(summary) = &scored.summary else { return Ok(()) };
    if call.quiet && !call.json {
        return Ok(());
    }
    let text = if call.json {
        let value = render::score::value(&run, summary, &scored.out);
        let text = serde_json::to_string_pretty(&value).map_err(|error| Failure::new(1, &error.into()))?;
        super::in_ascii_where_odd(&text) + "\n"
    } else {
        render::score::summary(&run, summary, &scored.out)
    };
    if scored.out == "-" {
        return super::beside_data(&text);
    }
    print(&text)
}
