//! `wimhf relabel RUN`: change the labels that go against a rule, with a reason for each.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::language::{SpendingArguments, bills};
use super::{Failure, door, print};
use crate::curate::{self, CurateError, Settings, confirm, rules::Rule, unsafe_content::Reader};
use crate::finished::FinishedRun;
use crate::language::open::Role;
use crate::language::which::Which;
use crate::pairs::rewrite::{self, Action};
use crate::report;
use crate::run::output::{Kind, Output, inputs};
use crate::run::{RunError, write_json};

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf relabel runs/mine --preset safety --dry-run
  wimhf relabel runs/mine --preset safety --action drop --top 1000 --out cleaned.parquet
  wimhf relabel runs/mine --preset safety --judge gpt-5-mini --max-cost 1
  wimhf relabel runs/mine --rule \"refuses:prefer\" --rule \"3:avoid\" --trl cleaned_trl.jsonl
  wimhf relabel runs/mine --preset safety --dry-run --evaluate safety.parquet general.parquet
  wimhf relabel --undo cleaned.parquet --out original.parquet")]
pub struct RelabelArguments {
    /// Run directory that `analyze` finished.
    #[arg(required_unless_present = "undo")]
    run: Option<PathBuf>,
    /// FEATURE:prefer where the response with more of it should win, FEATURE:avoid where it should not; a
    /// feature's id, concept or label, or a principle's rank. May be given several times.
    #[arg(long, value_name = "FEATURE:SIDE")]
    rule: Vec<String>,
    /// Rules with conditions (TOML).
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Labels that prefer the unsafe response of an unsafe request.
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// What to do with them.
    #[arg(long, value_enum, default_value_t = ActionArgument::Flip)]
    action: ActionArgument,
    /// At most this many labels, the highest scores first.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Only labels with at least this score, 0 to 1 [default: 0.6 for the preset, 0 for rules].
    #[arg(long, value_name = "S")]
    min_score: Option<f64>,
    /// The weight that `--action weight` gives.
    #[arg(long, value_name = "W", default_value_t = 0.0)]
    weight: f64,
    /// The whole dataset, in its own format (a folder where it has several files) [default: RUN/relabel/NAME].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write prompt, chosen, rejected for trainers (.parquet or .jsonl).
    #[arg(long, value_name = "FILE")]
    trl: Option<PathBuf>,
    /// Say what would change, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Preference data to judge reward probes on that are trained on the original and on the changed labels;
    /// the run's own held-out pairs where none is named.
    #[arg(long, value_name = "EVALSET", num_args = 0..)]
    evaluate: Option<Vec<String>>,
    /// Cues of unsafe requests of your own (TOML), added to the boxed ones.
    #[arg(long, value_name = "FILE")]
    cues: Option<PathBuf>,
    /// A language model that has to confirm each label that the preset marks; the others are left alone.
    #[arg(long, value_name = "MODEL", requires = "preset", help_heading = MODELS)]
    judge: Option<String>,
    /// Address of an OpenAI-compatible server; the key is taken from OPENAI_API_KEY
    /// [default: OPENAI_BASE_URL, or OpenAI's].
    #[arg(long, value_name = "URL", requires = "judge", help_heading = MODELS)]
    base_url: Option<String>,
    /// Most requests at once [default: 8].
    #[arg(long, value_name = "N", env = "WIMHF_CONCURRENCY", help_heading = MODELS)]
    concurrency: Option<usize>,
    #[command(flatten)]
    spending: SpendingArguments,
    /// Replace files even where they are of another kind than what is written.
    #[arg(long)]
    force: bool,
    /// Restore the original of a relabelled file or folder.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rule", "rules", "preset", "dry_run", "evaluate", "trl", "run", "judge"])]
    undo: Option<PathBuf>,
}

const MODELS: &str = "Language models";
/// Pairs in one call of the judge.
const PAIRS_PER_CALL: usize = 5;

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

fn failure(error: impl Into<CurateError>) -> Failure {
    let error = error.into();
    let code = if error.is_users() { 2 } else { 1 };
    Failure::new(code, &anyhow::Error::new(error))
}

/// Runs the subcommand.
pub fn run(arguments: RelabelArguments) -> Result<(), Failure> {
    if let Some(file) = &arguments.undo {
        let out = arguments.out.clone().unwrap_or_else(|| restored_name(file));
        let (inputs, force) = ([file.clone()], arguments.force);
        door(&Output { path: &out, flag: "--out", kind: Kind::Dataset, run: None, inputs: &inputs, force })?;
        let undone = rewrite::undo(file, &out).map_err(failure)?;
        return print(&report::relabel::undone(&undone));
    }
    let Some(path) = &arguments.run else {
        return Err(Failure::new(2, &anyhow::anyhow!("name a run directory")));
    };
    for (name, value) in [("--min-score", arguments.min_score.unwrap_or(0.0)), ("--weight", arguments.weight)]
    {
        if !(0.0..=1.0).contains(&value) {
            return Err(Failure::new(
                2,
                &anyhow::anyhow!("`{name}` is {value}, but must lie between 0 and 1"),
            ));
        }
    }
    if arguments.judge.is_none() && arguments.spending.typed() {
        return Err(Failure::new(2, &anyhow::anyhow!("no language model is named\nhint: `--judge MODEL`")));
    }
    let run = FinishedRun::open(path).map_err(failure)?;
    let read = inputs(&run.manifest);
    let output = |path, flag, kind| {
        let force = arguments.force;
        door(&Output { path, flag, kind, run: Some(&run.path), inputs: &read, force })
    };
    if let Some(out) = &arguments.out {
        output(out, "--out", Kind::Dataset)?;
    }
    if let Some(file) = &arguments.trl {
        let is_json = matches!(Kind::of_name(file), Kind::Json | Kind::JsonLines);
        output(file, "--trl", if is_json { Kind::JsonLines } else { Kind::Parquet })?;
    }
    let judge = |name: &str| {
        let (config, url) = (&run.manifest.config.describe.language, arguments.base_url.as_deref());
        arguments.spending.model(config, name, Role::Judge, url, arguments.concurrency)
    };
    let judge = arguments.judge.as_deref().map(judge).transpose()?;
    let mut rules = Vec::new();
    for text in &arguments.rule {
        rules.push(Rule::parse(text, &run).map_err(failure)?);
    }
    if let Some(file) = &arguments.rules {
        rules.extend(Rule::from_file(file, &run).map_err(failure)?);
    }
    let settings = Settings {
        rules,
        safety: arguments.preset == Some(Preset::Safety),
        action: arguments.action.into(),
        top: arguments.top,
        min_score: arguments.min_score,
        weight: arguments.weight,
    };
    let reader = Reader::new(arguments.cues.as_deref()).map_err(failure)?;
    let source = run.source().map_err(failure)?;
    let activations = run.activations().map_err(failure)?;
    let mut decisions = curate::decide(&run, &source, &activations, &settings, &reader).map_err(failure)?;
    let mut bill = None;
    if let Some(judge) = &judge {
        let prompt = judge.prompts.get("safer");
        let pairs = &source.pairs;
        let which =
            Which { pairs, prompt: &prompt, values: &[], purpose: "confirm", pairs_per_call: PAIRS_PER_CALL };
        let asked = confirm::pairs(&decisions);
        let forecast = which.forecast(&asked);
        if arguments.dry_run {
            bill = Some(bills(&judge.named, vec![("confirm", forecast)]));
        } else {
            let (outcome, _) = judge.ask(run.manifest.seed, |model, progress| {
                let mut done = |done| progress.calls("confirm", done as u64, forecast.calls);
                which.ask(model, &asked, &mut done)
            })?;
            let choices = outcome
                .map_err(|error| Failure::new(if error.is_stop() { 130 } else { 2 }, &error.into()))?;
            let labels = &pairs.judgements.label;
            let mut confirmation = confirm::confirm(&mut decisions, labels, &choices, &judge.named.name);
            confirmation.server.clone_from(&judge.named.base_url);
            prompt.version().clone_into(&mut confirmation.prompt);
            confirmation.calls = forecast.calls;
            decisions.confirmation = Some(confirmation);
        }
    }
    let changes = curate::changes(&source.pairs, &decisions.marked, settings.weight);
    let preview = curate::preview::preview(&run, &source, &activations, &decisions, changes.marks.len());
    print(&report::relabel::render(&decisions, &preview, &source.pairs))?;
    if let Some(bills) = &bill {
        print(&format!(
            "\nThe judge has not been asked: what it does not confirm will be left alone.\n\n{}",
            report::bill::render("having a language model confirm the preset's labels", bills)
        ))?;
    }
    let evaluation = match &arguments.evaluate {
        Some(sets) if !decisions.marked.is_empty() => {
            let tables = curate::evaluate::evaluate(&run, &source, &activations, &decisions, &reader, sets)
                .map_err(failure)?;
            print(&report::relabel::evaluation(&tables))?;
            Some(tables)
        }
        _ => None,
    };

    if !arguments.dry_run {
        let folder = path.join("relabel");
        let out = arguments
            .out
            .clone()
            .unwrap_or_else(|| default_out(&folder, run.data(), source.layout.files.len()));
        let make = |folder: &Path| {
            std::fs::create_dir_all(folder).map_err(|source| {
                failure(rewrite::RewriteError::from(RunError::Io {
                    action: "make the folder",
                    path: folder.into(),
                    source,
                }))
            })
        };
        make(&folder)?;
        let only_trl = source.layout.files.is_empty() && arguments.trl.is_some();
        let written = if only_trl {
            rewrite::Written::default()
        } else {
            rewrite::write(&source.layout, &changes, &out).map_err(failure)?
        };
        let io = |error: RunError| failure(rewrite::RewriteError::from(error));
        let trl = match &arguments.trl {
            Some(file) => {
                let labels = curate::relabelled(&source.pairs, &decisions.marked);
                let weight = (settings.action == Action::Weight).then_some(settings.weight);
                let (rows, ties) =
                    report::trl::write(file, &source.pairs, &labels, &decisions.marked, weight)
                        .map_err(io)?;
                Some((file.as_path(), rows, ties))
            }
            None => None,
        };
        report::relabel::write_decisions(&folder.join("decisions.csv"), &decisions.marked, &source.pairs)
            .map_err(io)?;
        write_json(
            &folder.join("relabel.json"),
            &serde_json::json!({
                "schema_version": crate::run::SCHEMA_VERSION,
                "out": out.display().to_string(),
                "decisions": decisions,
                "preview": preview,
                "evaluation": evaluation,
            }),
        )
        .map_err(io)?;
        print(&report::relabel::written(&written, trl))?;
    }
    Ok(())
}

/// `RUN/relabel/NAME`; a folder of that name where the dataset has several files.
fn default_out(folder: &Path, data: &str, files: usize) -> PathBuf {
    let name = Path::new(data.trim_end_matches('/'))
        .file_name()
        .map(|name| name.to_string_lossy().replace(['*', '?', '[', ']', '{', '}'], ""))
        .filter(|name| !name.is_empty() && name != "." && name != "..")
        .unwrap_or_else(|| "relabelled".into());
    if files > 1 { folder.join(name.trim_end_matches(".parquet")) } else { folder.join(name) }
}

/// `x.restored.parquet` for `x.parquet`.
fn restored_name(file: &Path) -> PathBuf {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let new = match name.split_once('.') {
        Some((stem, ending)) if !stem.is_empty() => format!("{stem}.restored.{ending}"),
        _ => format!("{name}.restored"),
    };
    file.with_file_name(new)
}
