//! `wimhf embed PAIRS`: vectors of both responses beside the pairs, for `analyze --embedding-columns`.

use clap::Args;
use serde_json::json;
use wimhf::EmbedRequest;
use wimhf::config::EmbedConfig;
use wimhf::pairs::ReadOptions;
use wimhf::report::text::thousands;

use super::analyze::{PrecisionArgument, WhatArgument};
use super::data::two_names;
use super::{Call, Failure, print};

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf embed pairs.parquet --embedder models/all-MiniLM-L6-v2 --out vectors.parquet
  producer | wimhf embed - | consumer        (Arrow IPC streams)
  wimhf analyze vectors.parquet --embedding-columns embedding_a,embedding_b")]
pub struct EmbedArguments {
    /// Pairs: Parquet, JSON lines, or `-` for an Arrow IPC stream on stdin.
    pairs: String,
    /// What turns texts into vectors: `boxed`, a model's FOLDER or `static:FOLDER`, on this machine.
    #[arg(long, value_name = "EMBEDDER", default_value = "boxed", env = "WIMHF_EMBEDDER")]
    embedder: String,
    /// What of a pair is embedded [default: response].
    #[arg(long, value_enum, value_name = "WHAT")]
    embed: Option<WhatArgument>,
    /// The frame of `--embed instructed`, with `{prompt}` and `{response}`.
    #[arg(long, value_name = "TEMPLATE")]
    template: Option<String>,
    /// Tokens of a text that the model reads at most.
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<usize>,
    /// How a transformer computes: `int8` is about three times as fast on a CPU with AVX-512 [default: f32].
    #[arg(long, value_enum, value_name = "PRECISION", env = "WIMHF_EMBEDDER_PRECISION")]
    embedder_precision: Option<PrecisionArgument>,
    /// Parquet, or JSON lines for names ending in .jsonl; `-` for an Arrow IPC stream on stdout [default: `-` where
    /// PAIRS is `-`].
    #[arg(long, value_name = "FILE")]
    out: Option<String>,
    /// Names of the two columns with vectors.
    #[arg(long, value_name = "A,B", value_parser = two_names, default_value = "embedding_a,embedding_b")]
    columns: (String, String),
    /// Column with the prompt.
    #[arg(long, value_name = "COLUMN")]
    prompt_column: Option<String>,
    /// Column with response A.
    #[arg(long, value_name = "COLUMN", requires = "response_b_column")]
    response_a_column: Option<String>,
    /// Column with response B.
    #[arg(long, value_name = "COLUMN", requires = "response_a_column")]
    response_b_column: Option<String>,
    /// Replace a file even where it is of another kind.
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand.
pub fn run(arguments: EmbedArguments, call: &Call) -> Result<(), Failure> {
    let out = match arguments.out {
        Some(out) => out,
        None if arguments.pairs == "-" => "-".to_owned(),
        None => {
            let message = anyhow::anyhow!(
                "nothing says where the vectors go\nhint: `--out vectors.parquet`, or `--out -` for an Arrow stream"
            );
            return Err(Failure::new(2, &message));
        }
    };
    let request = EmbedRequest {
        pairs: arguments.pairs,
        out,
        settings: EmbedConfig {
            embedder: arguments.embedder,
            what: arguments.embed.map_or_else(Default::default, Into::into),
            template: arguments.template,
            max_tokens: arguments.max_tokens,
            precision: arguments.embedder_precision.map_or_else(Default::default, Into::into),
            ..EmbedConfig::default()
        },
        columns: ReadOptions {
            prompt_column: arguments.prompt_column,
            response_a_column: arguments.response_a_column,
            response_b_column: arguments.response_b_column,
            ..ReadOptions::default()
        },
        names: arguments.columns,
        force: arguments.force,
    };
    let found = wimhf::embed(&request, &call.context)?;
    if found.closed || (call.quiet && !call.json) {
        return Ok(());
    }
    let text = if call.json {
        let value = json!({
            "rows": found.rows,
            "left_out": found.left_out,
            "embedder": found.embedder,
            "dimensions": found.dimensions,
            "columns": [request.names.0, request.names.1],
            "out": found.out,
        });
        format!("{value:#}\n")
    } else {
        let left_out = match found.left_out {
            0 => String::new(),
            n => format!("; {} without vectors, since they hold no pair", thousands(n)),
        };
        format!("{} rows by {}{left_out}\nWrote {}.\n", thousands(found.rows), found.embedder, found.out)
    };
    if found.out == "-" {
        return super::beside_data(&text);
    }
    print(&text)
}
