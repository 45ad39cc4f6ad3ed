//! `wimhf audit RUN`: two judges on the same pairs, and the annotators among themselves.

use std::path::PathBuf;

use clap::Args;
use wimhf::AuditRequest;
use wimhf::pairs::{LabelMap, LabelScale};

use super::data::two_names;
use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf audit runs/mine --judge-column gpt4
  wimhf audit runs/mine --judge-column gpt4 --against expert
  wimhf audit runs/mine --judge-scores reward_a,reward_b
  wimhf audit runs/mine --judge-data judged_by_model.jsonl
  wimhf audit runs/mine                                    (no judge: the annotators among themselves)")]
pub struct AuditArguments {
    /// Run directory that `analyze` finished.
    run: PathBuf,
    /// Label column of the judge, in the run's dataset or in that of `--judge-data`.
    #[arg(long, value_name = "COLUMN")]
    judge_column: Option<String>,
    /// Columns with the judge's scores of the first and of the second response.
    #[arg(long, value_name = "FIRST,SECOND", value_parser = two_names)]
    judge_scores: Option<(String, String)>,
    /// Dataset with the judge's labels of the same pairs.
    #[arg(long, value_name = "DATA")]
    judge_data: Option<String>,
    /// What the values of the judge's column mean, such as `model_1=A,model_2=B,draw=tie`; each A, B, tie or skip.
    #[arg(long, value_name = "VALUE=A,…", conflicts_with = "label_scale")]
    label_map: Option<LabelMap>,
    /// The two ends of the scale of the judge's column, the one for A first: `-3..3` where -3 is for A.
    #[arg(long, value_name = "A..B", allow_hyphen_values = true)]
    label_scale: Option<LabelScale>,
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
    let run = open_run(&arguments.run, &call.context)?;
    let audited = run.audit(&AuditRequest {
        judge_column: arguments.judge_column,
        judge_scores: arguments.judge_scores,
        label_map: arguments.label_map,
        label_scale: arguments.label_scale,
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
