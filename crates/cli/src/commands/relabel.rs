//! `wimhf relabel RUN`: change the labels that go against a rule, with a reason for each.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wimhf::RelabelRequest;
use wimhf::pairs::rewrite::Action;

use super::language::{HEADING as MODELS, SpendingArguments};
use super::{Call, Failure, open_run, print};
use crate::render;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf relabel runs/mine --preset safety
  wimhf relabel runs/mine --decisions decisions.csv --out cleaned.parquet
  wimhf relabel runs/mine --rule \"refuses:prefer\" --trl cleaned_trl.jsonl
  wimhf relabel runs/mine new.parquet --rule \"refuses:prefer\" --out cleaned.parquet
  wimhf relabel --undo cleaned.parquet --out original.parquet")]
#[command(after_long_help = "Examples:
  wimhf relabel runs/mine --preset safety
  wimhf relabel runs/mine --decisions runs/mine/relabel/review.csv --out cleaned.parquet
  wimhf relabel runs/mine --preset safety --action drop --top 1000 --out cleaned.parquet
  wimhf relabel runs/mine --preset safety --judge gpt-5-mini --max-cost 1
  wimhf relabel runs/mine --rule \"refuses:prefer\" --rule \"3:avoid\" --trl cleaned_trl.jsonl
  wimhf relabel runs/mine new.parquet --rule \"refuses:prefer\" --out cleaned.parquet
  producer | wimhf relabel runs/mine - --rule \"refuses:prefer\" --action drop | consumer
  wimhf relabel runs/mine --preset safety --dry-run --evaluate safety.parquet general.parquet
  wimhf relabel --undo cleaned.parquet --out original.parquet")]
pub struct RelabelArguments {
    /// Run directory that `analyze` finished.
    #[arg(required_unless_present = "undo")]
    run: Option<PathBuf>,
    /// Other data whose labels are changed by the run's features [default: the run's own].
    ///
    /// What `analyze` reads, all of its rows; `-` is an Arrow IPC stream on stdin, changed to stdout where there is no
    /// `--out`. Scores are shares of the strongest pair of these data.
    #[arg(conflicts_with_all = ["undo", "decisions", "evaluate"])]
    data: Option<String>,
    /// FEATURE:prefer or FEATURE:avoid; may be given several times.
    ///
    /// `prefer` where the response with more of it should win, `avoid` where it should not; a feature's id, concept or
    /// label, or a principle's rank.
    #[arg(long, value_name = "FEATURE:SIDE")]
    rule: Vec<String>,
    /// Rules with conditions (TOML).
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// safety: labels that prefer the more harmful response.
    #[arg(long, value_enum, hide_possible_values = true)]
    preset: Option<Preset>,
    /// What to do with them: flip, drop, tie or weight [default: review].
    ///
    /// Without it nothing is changed: the marks are laid before you in `RUN/relabel/review.html` and `review.csv`. A rule
    /// of your own flips them where `--out` or `--trl` is given.
    #[arg(long, value_enum, hide_possible_values = true)]
    action: Option<ActionArgument>,
    /// Carry out what a person decided in a review.
    ///
    /// The table `RUN/relabel/review.csv` with its column `decision` filled in (accept, reject, flip, drop, tie), or
    /// what the page saves. Rows without a decision stay as they are.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rule", "rules", "preset", "top", "min_score", "judge", "action"])]
    decisions: Option<PathBuf>,
    /// At most this many labels, the highest scores first.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Only labels with at least this score, 0 to 1 [default: 0.4, with a judge 0.02, rules: 0].
    #[arg(long, value_name = "S")]
    min_score: Option<f64>,
    /// The weight that `--action weight` gives.
    #[arg(long, value_name = "W", default_value_t = 0.0)]
    weight: f64,
    /// Where the whole dataset goes [default: RUN/relabel/NAME].
    ///
    /// In its own format; a folder where it has several files.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write prompt, chosen, rejected (.parquet or .jsonl).
    #[arg(long, value_name = "FILE")]
    trl: Option<PathBuf>,
    /// Say what would change, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Judge reward models of both labellings on these data.
    ///
    /// Small ones, trained on the original and on the changed labels. The run's own held-out pairs where none is named.
    #[arg(long, value_name = "EVALSET", num_args = 0..)]
    evaluate: Option<Vec<String>>,
    /// Cues of unsafe requests of your own (TOML).
    #[arg(long, value_name = "FILE")]
    cues: Option<PathBuf>,
    /// A language model that has to confirm the preset's marks.
    ///
    /// What it does not confirm is left alone.
    #[arg(long, value_name = "MODEL", requires = "preset", help_heading = MODELS)]
    judge: Option<String>,
    /// Its OpenAI-compatible server [default: OPENAI_BASE_URL, or OpenAI's].
    ///
    /// The key is taken from OPENAI_API_KEY.
    #[arg(long, value_name = "URL", requires = "judge", help_heading = MODELS)]
    base_url: Option<String>,
    /// Most requests at once [default: 8].
    #[arg(long, value_name = "N", env = "WIMHF_CONCURRENCY", hide_short_help = true, help_heading = MODELS)]
    concurrency: Option<usize>,
    #[command(flatten)]
    spending: SpendingArguments,
    /// Replace files of another kind, too.
    #[arg(long)]
    force: bool,
    /// Restore the original of a relabelled file or folder.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rule", "rules", "preset", "dry_run", "evaluate", "trl", "run", "judge", "decisions"])]
    undo: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preset {
    Safety,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ActionArgument {
    Flip,
    Drop,
    Tie,
    Weight,
}

impl From<ActionArgument> for Action {
    fn from(typed: ActionArgument) -> Self {
        match typed {
            ActionArgument::Flip => Self::Flip,
            ActionArgument::Drop => Self::Drop,
            ActionArgument::Tie => Self::Tie,
            ActionArgument::Weight => Self::Weight,
        }
    }
}

/// Runs the subcommand.
pub fn run(arguments: RelabelArguments, call: &Call) -> Result<(), Failure> {
    if let Some(file) = &arguments.undo {
        let undone = wimhf::undo_relabel(file, arguments.out.as_deref(), arguments.force)?;
        return call.answer(&render::relabel::undone_value(&undone), |_| render::relabel::undone(&undone));
    }
    let Some(path) = &arguments.run else {
        return Err(Failure::mistake("name a run directory"));
    };
    if arguments.judge.is_none() && arguments.spending.typed() {
        return Err(Failure::mistake("no language model is named\nhint: `--judge MODEL`"));
    }
    let run = open_run(path, &call.context)?;
    let (judge, url) = (arguments.judge.as_deref(), arguments.base_url.as_deref());
    let is_stream = arguments.data.as_deref() == Some("-");
    // A stream goes on as one, whether that is said or not.
    let out = arguments.out.filter(|out| !is_stream || out.as_os_str() != "-");
    let streams = is_stream && out.is_none() && !arguments.dry_run;
    let request = RelabelRequest {
        data: arguments.data,
        rules: arguments.rule,
        rules_file: arguments.rules,
        safety: arguments.preset == Some(Preset::Safety),
        action: arguments.action.map(Action::from),
        decisions: arguments.decisions,
        top: arguments.top,
        min_score: arguments.min_score,
        weight: arguments.weight,
        out,
        trl: arguments.trl,
        force: arguments.force,
        dry_run: arguments.dry_run,
        evaluate: arguments.evaluate,
        cues: arguments.cues,
        judge: arguments.spending.request(judge, url, arguments.concurrency, &call.context),
    };
    let done = run.relabel(&request, &mut call.progress())?;
    if streams {
        let text = match call.json {
            true => format!("{:#}\n", render::relabel::value(&done)),
            false if call.quiet => return Ok(()),
            false => render::relabel::render(&done.decisions, &done.preview, &done.source.pairs, false),
        };
        return super::beside_data(&text);
    }
    if call.json {
        return call.value(&render::relabel::value(&done));
    }
    let is_open = request.dry_run && request.judge.model.is_some();
    // Before the judge was asked nobody knows what would change: most of what it is asked about stays.
    let to_ask = Some(&done.decisions).filter(|_| is_open).and_then(render::relabel::to_ask);
    print(&to_ask.unwrap_or_else(|| {
        render::relabel::render(&done.decisions, &done.preview, &done.source.pairs, done.proposed)
    }))?;
    if is_open {
        print(&format!(
            "\nThe judge has not been asked: what it does not confirm will be left alone.\n\n{}",
            render::bill::render("having a language model confirm the preset's labels", &done.cost)
        ))?;
    }
    if let Some(tables) = &done.evaluation {
        print(&render::relabel::evaluation(tables))?;
    }
    if let Some(review) = &done.review {
        print(&render::relabel::review(review, path, done.decisions.marked.len()))?;
    }
    if let Some(written) = &done.written {
        let trl = done.trl.as_ref().map(|(path, rows, ties)| (path.as_path(), *rows, *ties));
        print(&render::relabel::written(written, trl))?;
    }
    Ok(())
}
