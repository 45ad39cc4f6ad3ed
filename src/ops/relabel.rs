//! Labels that go against a rule or are unsafe, marked with a reason each, changed, and taken back.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::contexts::{self, ContextsError};
use super::models::{CostEstimate, ModelRequest, NamedModel};
use crate::context::Observer;
use crate::describe::known::ConceptBankError;
use crate::embed::EmbedError;
use crate::export::{decisions, trl};
use crate::featurizer::Featurizer;
use crate::llm::chat::LanguageError;
use crate::llm::open::{OpenError, Role};
use crate::llm::which::Which;
use crate::matrix::Matrix;
use crate::pairs::rewrite::{self, Action, RewriteError, Undone, Written};
use crate::relabel::evaluate::{self, Table};
use crate::relabel::preview::{self, Preview};
use crate::relabel::review::{self, ReviewError};
use crate::relabel::rules::{Rule, RuleError};
use crate::relabel::unsafe_content::Reader;
use crate::relabel::{self, Decisions, RelabelError, Settings, confirm};
use crate::report;
use crate::run::{Run, RunError, Source};
use crate::sae::DeviceChoice;
use crate::store::output::{Kind, Output};
use crate::store::{SCHEMA_VERSION, StoreError, write_bytes, write_json};

/// Pairs in one call of the judge.
const PAIRS_PER_CALL: usize = 5;

/// What is to be changed, and how.
#[derive(Debug, Clone)]
pub struct RelabelRequest {
    /// Other data than the run's own whose labels are changed by the run's features: a file, a folder, a set of the Hub, or
    /// `-` for an Arrow IPC stream on stdin, whose outcome goes to stdout where no `out` is given.
    pub data: Option<String>,
    /// `FEATURE:prefer` where the response with more of it should win, `FEATURE:avoid` where it should not.
    pub rules: Vec<String>,
    /// A file of rules with conditions (TOML).
    pub rules_file: Option<PathBuf>,
    /// The preset `safety`: labels that prefer the more harmful response.
    pub safety: bool,
    /// What is done with a marked label; without it the marks are only laid before a person, in a table and on a page,
    /// unless they are of the user's own rules and a file is named for the changed dataset.
    pub action: Option<Action>,
    /// The table of a review with a decision in each row: these are carried out, and nothing else is marked.
    pub decisions: Option<PathBuf>,
    /// At most this many labels, the highest scores first.
    pub top: Option<usize>,
    /// Only labels with at least this score, 0 to 1.
    pub min_score: Option<f64>,
    /// The weight that [`Action::Weight`] gives, 0 to 1.
    pub weight: f64,
    /// The whole dataset, in its own format; `RUN/relabel/NAME` where none is given.
    pub out: Option<PathBuf>,
    /// Also prompt, chosen, rejected for trainers.
    pub trl: Option<PathBuf>,
    /// Replace files even where they are of another kind.
    pub force: bool,
    /// Write nothing, and ask no model.
    pub dry_run: bool,
    /// Preference data to judge reward probes on; the run's own held-out pairs where the list is empty, nothing where
    /// there is none.
    pub evaluate: Option<Vec<String>>,
    /// Cues of unsafe requests of the user's own (TOML).
    pub cues: Option<PathBuf>,
    /// The language model that has to confirm each label that the preset marks; it is asked about all with a score of
    /// [`relabel::WORTH_ASKING`] or more.
    pub judge: ModelRequest,
}

impl Default for RelabelRequest {
    fn default() -> Self {
        Self {
            data: None,
            rules: Vec::new(),
            rules_file: None,
            safety: false,
            action: None,
            decisions: None,
            top: None,
            min_score: None,
            weight: 0.0,
            out: None,
            trl: None,
            force: false,
            dry_run: false,
            evaluate: None,
            cues: None,
            judge: ModelRequest::default(),
        }
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Relabelled {
    /// The marked labels, each with a reason.
    pub decisions: Decisions,
    /// What changing them does.
    pub preview: Preview,
    /// What asking the judge would cost, in a dry run.
    pub cost: Vec<CostEstimate>,
    /// Reward probes before and after.
    pub evaluation: Option<Vec<Table>>,
    /// The dataset as it was written; `None` in a dry run or a review.
    pub written: Option<Written>,
    /// The marks are only laid before a person, or would be outside a dry run.
    pub proposed: bool,
    /// What a person is to read and decide: the table and the page.
    pub review: Option<Review>,
    /// The trainers' file, its rows and the ties that were left out.
    pub trl: Option<(PathBuf, usize, usize)>,
    /// The dataset, for showing examples.
    pub source: Source,
}

/// Marks laid before a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// `RUN/relabel/review.csv`: a row for each mark, with both texts and a column for the decision.
    pub table: PathBuf,
    /// `RUN/relabel/review.html`: the same to read and click.
    pub page: PathBuf,
    /// Decisions of an earlier table that were kept.
    pub kept: usize,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // some variants are their sources
pub enum RelabelFailure {
    /// A number out of its range.
    #[error("`{option}` is {value}, but must lie between 0 and 1")]
    Range { option: &'static str, value: f64 },
    /// A review changes nothing.
    #[error(
        "`{0}` names a file for the changed dataset, but the preset only proposes changes for you to read\nhint: leave it out, read `RUN/relabel/review.html`, then `--decisions FILE`; or say `--action flip` (or drop, tie, weight)"
    )]
    OnlyProposed(&'static str),
    /// A new table would lose decisions.
    #[error(
        "`{path}` holds {lost} decisions about labels that this review does not propose, and they would be lost\nhint: carry them out first (`--decisions {path}`), keep a copy of the file, or say `--force`"
    )]
    Decided {
        /// The table.
        path: PathBuf,
        /// Decisions that have no row in the new one.
        lost: usize,
    },
    /// A review is of the run's own pairs.
    #[error(
        "a review is laid before you of the run's own pairs alone, and of `{0}` nothing says what is to be done\nhint: `--action flip` (or drop, tie, weight), or `--dry-run`"
    )]
    NotReviewed(String),
    /// Other data have to be written somewhere.
    #[error("nothing says where the changed rows of `{0}` go\nhint: `--out cleaned.parquet`, or `--dry-run`")]
    NoOut(String),
    /// What is not known of other data.
    #[error("{what} of the run's own pairs, and `{data}` holds others\nhint: {hint}")]
    OwnPairs {
        /// The option, and that it speaks.
        what: &'static str,
        /// The data.
        data: String,
        /// What to do.
        hint: &'static str,
    },
    /// Stdin or stdout failed.
    #[error("cannot {action}: {}\nhint: TMPDIR names the folder for temporary files", crate::limits::said(.source))]
    Stream {
        /// What was being done.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Two sources of decisions.
    #[error(
        "`--decisions` carries out what a person decided, so nothing else can be marked\nhint: leave out `--rule`, `--rules`, `--preset`, `--judge`, `--top` and `--min-score`"
    )]
    DecidedAndMarked,
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Relabel(#[from] RelabelError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Language(#[from] LanguageError),
    #[error(transparent)]
    Context(#[from] ContextsError),
}

impl From<RunError> for RelabelFailure {
    fn from(error: RunError) -> Self {
        RelabelError::from(error).into()
    }
}

impl From<RuleError> for RelabelFailure {
    fn from(error: RuleError) -> Self {
        RelabelError::from(error).into()
    }
}

impl From<RewriteError> for RelabelFailure {
    fn from(error: RewriteError) -> Self {
        RelabelError::from(error).into()
    }
}

impl From<StoreError> for RelabelFailure {
    fn from(error: StoreError) -> Self {
        RewriteError::from(error).into()
    }
}

impl From<ConceptBankError> for RelabelFailure {
    fn from(error: ConceptBankError) -> Self {
        RelabelError::from(error).into()
    }
}

impl From<ReviewError> for RelabelFailure {
    fn from(error: ReviewError) -> Self {
        RelabelError::from(error).into()
    }
}

impl From<evaluate::EvaluateError> for RelabelFailure {
    fn from(error: evaluate::EvaluateError) -> Self {
        RelabelError::from(error).into()
    }
}

/// Marks labels, says what changing them does, and writes the changed dataset unless it is a dry run.
///
/// # Errors
/// See [`RelabelFailure`].
pub fn relabel(
    run: &Run,
    request: &RelabelRequest,
    observer: &mut dyn Observer,
) -> Result<Relabelled, RelabelFailure> {
    for (option, value) in [("--min-score", request.min_score.unwrap_or(0.0)), ("--weight", request.weight)] {
        if !(0.0..=1.0).contains(&value) {
            return Err(RelabelFailure::Range { option, value });
        }
    }
    if let Some(out) = &request.out {
        run.may_write(out, "--out", Kind::Dataset, request.force)?;
    }
    if let Some(file) = &request.trl {
        let lines = matches!(Kind::of_name(file), Kind::Json | Kind::JsonLines);
        run.may_write(file, "--trl", if lines { Kind::JsonLines } else { Kind::Parquet }, request.force)?;
    }
    let proposed = proposed(request)?;
    let spool = request.data.as_deref().map(|data| other(run, request, data, proposed)).transpose()?;
    let judge =
        request.judge.resolve(&run.manifest.config.describe.language, Role::Judge, request.dry_run)?;
    let mut settings = settings(run, request)?;
    // Unread and without a judge, a label is changed only where such marks were right nearly always.
    let unread = request.safety && !proposed && request.judge.model.is_none() && request.min_score.is_none();
    if unread {
        settings.preset_score = relabel::harm::sure().unwrap_or(f64::INFINITY);
    }
    if request.judge.model.is_some() {
        settings.preset_score = relabel::WORTH_ASKING;
    }
    let reader = Reader::new(request.cues.as_deref())?;
    let (source, activations) = match &spool {
        Some(spool) => read_other(run, &spool.data, observer)?,
        None => (run.source()?, run.stated()?),
    };
    if let Some(data) = request.data.as_ref().filter(|_| settings.rules.iter().any(|r| r.context.is_some())) {
        return Err(RelabelFailure::OwnPairs {
            what: "a rule holds in a kind of request, and these are known",
            data: data.clone(),
            hint: "leave the rule's `context` out, or analyze the data first",
        });
    }
    for (id, inside) in settings.rules.iter_mut().filter_map(|rule| rule.context.as_mut()) {
        *inside = contexts::named(run, &source.pairs, id)?.inside.into();
    }
    let mut decisions = match &request.decisions {
        Some(file) => decided(file, &source)?,
        None => relabel::decide(run, &source, &activations, &settings, &reader)?,
    };
    if judge.is_some() {
        // That was counted of marks that nobody confirmed.
        decisions.precision = None;
    }
    let cost = match &judge {
        Some(judge) => confirmed(judge, run, &source, &mut decisions, request.dry_run, observer)?,
        None => Vec::new(),
    };
    let changes = relabel::changes(&source.pairs, &decisions.marked, settings.weight);
    let preview = preview::preview(run, &source, &activations, &decisions, changes.marks.len());
    let evaluation = match &request.evaluate {
        Some(sets) if !decisions.marked.is_empty() => {
            Some(evaluate::evaluate(run, &source, &activations, &decisions, &reader, sets)?)
        }
        _ => None,
    };
    let mut done = Relabelled {
        decisions,
        preview,
        cost,
        evaluation,
        written: None,
        proposed,
        review: None,
        trl: None,
        source,
    };
    if !request.dry_run {
        if proposed {
            propose(run, request.force, &mut done)?;
        } else {
            write(run, request, spool.as_ref(), &changes, &mut done)?;
        }
    }
    Ok(done)
}

/// Bytes of a stream that are put aside before somebody is asked whether to go on.
const SPOOLED: u64 = 16 << 20;

/// Other data, and where the outcome is written first: in `folder` where it then goes to stdout.
struct Spool {
    /// As it can be read again and again.
    data: String,
    /// `None` where no file of ours is needed.
    folder: Option<tempfile::TempDir>,
}

/// Refuses what is only possible with the run's own pairs; puts a stream aside, since it is read more than once: the strongest
/// of all rows has to be known before the first one is changed.
fn other(run: &Run, request: &RelabelRequest, data: &str, proposed: bool) -> Result<Spool, RelabelFailure> {
    let own = |what, hint| Err(RelabelFailure::OwnPairs { what, data: data.to_owned(), hint });
    if request.decisions.is_some() {
        return own("`--decisions` holds decisions", "leave it out");
    }
    if request.evaluate.is_some() {
        return own("`--evaluate` trains reward models", "leave it out, or analyze the data first");
    }
    if proposed && !request.dry_run {
        return Err(RelabelFailure::NotReviewed(data.to_owned()));
    }
    let is_stream = data == "-";
    if !is_stream && request.out.as_deref() == Some(Path::new("-")) {
        return Err(RelabelFailure::NoOut(data.to_owned()));
    }
    if let Some(out) = &request.out {
        let inputs = [PathBuf::from(data)];
        let (kind, force) = (Kind::Dataset, request.force);
        let output = Output { path: out, flag: "--out", kind, run: Some(&run.path), inputs: &inputs, force };
        output.check().map_err(RunError::from)?;
    } else if !is_stream && request.trl.is_none() && !request.dry_run {
        return Err(RelabelFailure::NoOut(data.to_owned()));
    }
    if !is_stream {
        return Ok(Spool { data: data.to_owned(), folder: None });
    }
    let failed = |source| RelabelFailure::Stream { action: "put the stream on stdin aside", source };
    let folder = tempfile::tempdir().map_err(failed)?;
    let path = folder.path().join("stdin.arrow");
    let mut file = std::fs::File::create(&path).map_err(failed)?;
    let mut stdin = std::io::stdin().lock();
    while std::io::copy(&mut stdin.by_ref().take(SPOOLED), &mut file).map_err(failed)? > 0 {
        run.context.cancel.check().map_err(EmbedError::from)?;
    }
    Ok(Spool { data: path.display().to_string(), folder: Some(folder) })
}

/// Other pairs and what statements rest on, `[pairs, features]`.
fn read_other(
    run: &Run,
    data: &str,
    observer: &mut dyn Observer,
) -> Result<(Source, Matrix), RelabelFailure> {
    let source = run.other_source(data, observer)?;
    let featurizer = Featurizer::of(run, DeviceChoice::Auto)?;
    let Some(deltas) = featurizer.deltas(&source.pairs)? else {
        return Err(RelabelFailure::OwnPairs {
            what: "the vectors are",
            data: data.to_owned(),
            hint: "add the columns of `--embedding-columns`",
        });
    };
    let activations = featurizer.stated(&source.pairs, &deltas)?;
    Ok((source, activations))
}

/// Sends a file to stdout; whoever reads may have enough before its end.
fn to_stdout(path: &Path) -> Result<(), RelabelFailure> {
    let failed = |source| RelabelFailure::Stream { action: "write to stdout", source };
    let mut file = crate::limits::open(path).map_err(failed)?;
    let mut out = std::io::stdout().lock();
    match std::io::copy(&mut file, &mut out).and_then(|_| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Whether the marks are only laid before a person. A rule of the user's own says which response should win, and a file
/// named for the outcome says that he wants it; the preset only guesses.
fn proposed(request: &RelabelRequest) -> Result<bool, RelabelFailure> {
    if request.decisions.is_some() {
        let marks = request.safety || !request.rules.is_empty() || request.rules_file.is_some();
        let limits = request.top.is_some() || request.min_score.is_some() || request.judge.model.is_some();
        return if marks || limits { Err(RelabelFailure::DecidedAndMarked) } else { Ok(false) };
    }
    let file = match (&request.out, &request.trl) {
        (Some(_), _) => Some("--out"),
        (None, Some(_)) => Some("--trl"),
        // The stream that goes on is a file of its own for the outcome.
        (None, None) => (request.data.as_deref() == Some("-")).then_some("-"),
    };
    if let (Some(data), None, true, false) = (&request.data, request.action, request.safety, request.dry_run)
    {
        return Err(RelabelFailure::NotReviewed(data.clone()));
    }
    match (request.action, request.safety, file) {
        (Some(_), _, _) | (None, false, Some(_)) => Ok(false),
        (None, true, Some(flag)) if !request.dry_run => Err(RelabelFailure::OnlyProposed(flag)),
        _ => Ok(true),
    }
}

/// What a person decided, as marks.
fn decided(file: &Path, source: &Source) -> Result<Decisions, RelabelFailure> {
    let labels = &source.pairs.judgements.label;
    let found = review::read(file, &source.pairs)?;
    let mut decisions = Decisions {
        labels: labels.iter().filter(|label| !label.is_nan() && **label != 0.5).count(),
        rejected: Some(found.rejected),
        undecided: Some(found.open),
        ..Decisions::default()
    };
    for decision in &found.changes {
        *decisions.by_rule.entry(decision.rules.join(", ")).or_default() += 1;
    }
    decisions.marked = found.changes;
    Ok(decisions)
}

/// Writes the table and the page for a person. What was decided in an earlier table stays.
fn propose(run: &Run, force: bool, done: &mut Relabelled) -> Result<(), RelabelFailure> {
    let folder = folder(run)?;
    let (table, page) = (folder.join("review.csv"), folder.join("review.html"));
    let (pairs, decisions) = (&done.source.pairs, &done.decisions);
    let before = match review::kept(&table) {
        Err(_) if force => Default::default(),
        before => before?,
    };
    let row = |mark: &relabel::Decision| {
        let row = pairs.judgements.row[mark.judgement as usize];
        (row.to_string(), pairs.pair_id[mark.pair as usize].clone())
    };
    let stays = decisions.marked.iter().filter(|mark| before.contains_key(&row(mark))).count();
    if stays < before.len() && !force {
        return Err(RelabelFailure::Decided { path: table, lost: before.len() - stays });
    }
    let kept = decisions::write_review(&table, &decisions.marked, pairs, &before)?;
    let name =
        run.manifest.stages.iter().map(|stage| stage.fingerprint.as_str()).next_back().unwrap_or_default();
    let precision = decisions.precision.as_ref().map(relabel::harm::Precision::said);
    let html = report::review::page(name, decisions, pairs, &before, precision.as_deref());
    write_bytes(&page, html.as_bytes())?;
    record(&folder, None, done)?;
    done.review = Some(Review { table, page, kept });
    Ok(())
}

/// `RUN/relabel`, made where it is not there.
fn folder(run: &Run) -> Result<PathBuf, StoreError> {
    let folder = run.path.join("relabel");
    match std::fs::create_dir_all(&folder) {
        Ok(()) => Ok(folder),
        Err(source) => Err(StoreError::Io { action: "make the folder", path: folder, source }),
    }
}

/// `relabel.json`: what was marked and what changing it does.
fn record(folder: &Path, out: Option<&Path>, done: &Relabelled) -> Result<(), StoreError> {
    write_json(
        &folder.join("relabel.json"),
        &serde_json::json!({
            "schema_version": SCHEMA_VERSION,
            "out": out.map(|out| out.display().to_string()),
            "decisions": done.decisions,
            "preview": done.preview,
            "evaluation": done.evaluation,
        }),
    )
}

fn settings(run: &Run, request: &RelabelRequest) -> Result<Settings, RuleError> {
    let mut rules = Vec::new();
    for text in &request.rules {
        rules.push(Rule::parse(text, run)?);
    }
    if let Some(file) = &request.rules_file {
        rules.extend(Rule::from_file(file, run)?);
    }
    Ok(Settings {
        rules,
        safety: request.safety,
        action: request.action.unwrap_or(Action::Flip),
        top: request.top,
        min_score: request.min_score,
        weight: request.weight,
        ..Settings::default()
    })
}

/// Has the judge confirm what the preset marks, or says what that would cost.
fn confirmed(
    judge: &NamedModel,
    run: &Run,
    source: &Source,
    decisions: &mut Decisions,
    dry_run: bool,
    observer: &mut dyn Observer,
) -> Result<Vec<CostEstimate>, RelabelFailure> {
    let prompt = judge.prompts.get("safer");
    let pairs = &source.pairs;
    let which =
        Which { pairs, prompt: &prompt, values: &[], purpose: "confirm", pairs_per_call: PAIRS_PER_CALL };
    let asked = confirm::pairs(decisions);
    let forecast = which.forecast(&asked);
    if dry_run {
        return Ok(judge.costs(vec![("confirm", forecast)]));
    }
    let (outcome, _) = judge.ask(run.manifest.seed, observer, |model, calls| {
        which.ask(model, &asked, &mut |done| calls.done("confirm", done as u64, forecast.calls))
    })?;
    let labels = &pairs.judgements.label;
    let mut confirmation = confirm::confirm(decisions, labels, &outcome?, &judge.spec.name);
    confirmation.server.clone_from(&judge.spec.base_url);
    prompt.version().clone_into(&mut confirmation.prompt);
    confirmation.calls = forecast.calls;
    decisions.confirmation = Some(confirmation);
    Ok(Vec::new())
}

/// Writes the dataset, the trainers' file and the record.
fn write(
    run: &Run,
    request: &RelabelRequest,
    other: Option<&Spool>,
    changes: &rewrite::Changes,
    done: &mut Relabelled,
) -> Result<(), RelabelFailure> {
    let layout = &done.source.layout;
    // Into the run goes what is said of its own pairs.
    let own = other.is_none().then(|| folder(run)).transpose()?;
    let streamed = other.and_then(|other| other.folder.as_ref()).filter(|_| request.out.is_none());
    let out = match (&request.out, &own, streamed) {
        (Some(out), ..) => out.clone(),
        (None, Some(folder), _) => default_out(folder, run.data(), layout.files.len()),
        (None, None, Some(folder)) => folder.path().join("stdout.arrow"),
        (None, None, None) => PathBuf::new(),
    };
    let only_trl = (layout.files.is_empty() || out.as_os_str().is_empty()) && request.trl.is_some();
    let written = if only_trl { Written::default() } else { rewrite::write(layout, changes, &out)? };
    let (pairs, marked) = (&done.source.pairs, &done.decisions.marked);
    if let Some(file) = &request.trl {
        let labels = relabel::relabelled(pairs, marked);
        let weight = (request.action == Some(Action::Weight)).then_some(request.weight);
        let (rows, ties) = trl::write(file, pairs, &labels, marked, weight)?;
        done.trl = Some((file.clone(), rows, ties));
    }
    if let Some(folder) = &own {
        decisions::write_decisions(&folder.join("decisions.csv"), marked, pairs)?;
        record(folder, Some(&out), done)?;
    }
    if streamed.is_some() {
        to_stdout(&out)?;
    }
    done.written = Some(written);
    Ok(())
}

/// Restores the original of a relabelled file or folder; to `NAME.restored.…` where no name is given.
///
/// # Errors
/// Where it was not relabelled by this program, or cannot be read or written.
pub fn undo(file: &Path, out: Option<&Path>, force: bool) -> Result<Vec<Undone>, RelabelFailure> {
    let out = out.map_or_else(|| restored_name(file), Path::to_path_buf);
    let inputs = [file.to_path_buf()];
    Output { path: &out, flag: "--out", kind: Kind::Dataset, run: None, inputs: &inputs, force }
        .check()
        .map_err(RunError::from)?;
    Ok(rewrite::undo(file, &out)?)
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
