//! `wimhf audit RUN`: two judges on the same pairs.

use std::path::PathBuf;

use clap::Args;
use wimhf::AuditRequest;

use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf audit runs/mine --judge-column gpt4
  wimhf audit runs/mine --judge-column gpt4 --against expert
  wimhf audit runs/mine --judge-scores reward_a,reward_b
  wimhf audit runs/mine --judge-data judged_by_model.jsonl")]
pub struct AuditArguments {
    /// Run directory that `analyze` finished.
    run: PathBuf,
    /// Label column of the judge, in the run's dataset or in that of `--judge-data`.
    #[arg(long, value_name = "COLUMN")]
    judge_column: Option<String>,
    /// Columns with the judge's scores of the first and of the second response.
    #[arg(long, value_name = "FIRST,SECOND", value_delimiter = ',', num_args = 1..=2)]
    judge_scores: Vec<String>,
    /// Dataset with the judge's labels of the same pairs.
    #[arg(long, value_name = "DATA")]
    judge_data: Option<String>,
    /// Label column to hold it against [default: the labels of the run].
    #[arg(long, value_name = "COLUMN")]
    against: Option<String>,
    /// Folder for audit.json and audit.csv [default: RUN/audit].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Show every feature.
    #[arg(long)]
    all: bool,
    /// Replace files of another kind, too.
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand.
pub fn run(arguments: AuditArguments, call: &Call) -> Result<(), Failure> {
    let judge_scores = match arguments.judge_scores.as_slice() {
        [] => None,
        [first, second] => Some((first.clone(), second.clone())),
        _ => {
            return Err(Failure::mistake(
                "`--judge-scores` names two columns\nhint: `--judge-scores FIRST,SECOND`",
            ));
        }
    };
    let run = open_run(&arguments.run, &call.context)?;
    let audited = run.audit(&AuditRequest {
        judge_column: arguments.judge_column,
        judge_scores,
        judge_data: arguments.judge_data,
        against: arguments.against,
        out: arguments.out,
        force: arguments.force,
    })?;
    if call.json {
        return call.value(&render::audit::value(&audited));
    }
    print(&render::audit::terminal(&audited, arguments.all))
}
