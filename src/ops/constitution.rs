//! The few principles from which most of the labels can be told, measured, and applied by a model where one is named.

use std::borrow::Cow;
use std::path::PathBuf;

use super::models::{CostEstimate, ModelRequest, NamedModel};
use crate::constitution::by_model::Asking;
use crate::constitution::choose::Objective;
use crate::constitution::edits::{self, EditError, EditFile};
use crate::constitution::execution::ByModelError;
use crate::constitution::reconstruct::{Edit, Options, Reconstruction, reconstruct};
use crate::context::{Observer, Stopped};
use crate::contexts::Contexts;
use crate::describe::Described;
use crate::effects::table::LabelledSample;
use crate::llm::open::{OpenError, Role};
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Split};
use crate::report::constitution as files;
use crate::run::{Run, RunError, Source};
use crate::store::{StoreError, read_json};

/// Pairs that a model is asked about unless said otherwise.
pub const MODEL_PAIRS: usize = 300;
/// Pairs in one call unless said otherwise.
pub const PAIRS_PER_CALL: usize = 5;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct ConstitutionRequest {
    /// Number of principles; where the cross-validated curve is flat if none is given.
    pub principles: Option<usize>,
    /// What the list is chosen for.
    pub objective: Objective,
    /// A file of edits: pin, drop, order, reword; the run's own `edits.toml` where none is named and it is there.
    pub edits: Option<PathBuf>,
    /// Write nothing, and ask no model.
    pub dry_run: bool,
    /// The folder to write to; the run's where none is given.
    pub out: Option<PathBuf>,
    /// The model that applies the list.
    pub model: ModelRequest,
    /// Also make and apply a list as Inverse Constitutional AI does.
    pub icai: bool,
    /// Held-out pairs that the model is asked about.
    pub pairs: usize,
    /// Pairs in one call.
    pub pairs_per_call: usize,
}

impl Default for ConstitutionRequest {
    fn default() -> Self {
        Self {
            principles: None,
            objective: Objective::Linear,
            edits: None,
            dry_run: false,
            out: None,
            model: ModelRequest::default(),
            icai: false,
            pairs: MODEL_PAIRS,
            pairs_per_call: PAIRS_PER_CALL,
        }
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Constitution {
    /// The list and how well it reconstructs held-out labels.
    pub found: Reconstruction,
    /// What asking the model would cost, in a dry run.
    pub cost: Vec<CostEstimate>,
    /// The files that were written.
    pub files: Vec<PathBuf>,
}

/// Why there is no constitution.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // some variants are their sources
pub enum ConstitutionError {
    /// A model's options without a model.
    #[error("no language model is named\nhint: `--executor model --model MODEL`")]
    NoModel,
    /// Nothing to reconstruct.
    #[error(
        "the run in `{path}` has no usable labels to reconstruct: both sides must be preferred somewhere, on explore and on \
         held-out pairs\nhint: name the label column with `wimhf analyze {data} --label-column …`"
    )]
    NoLabels { path: PathBuf, data: String },
    /// Somebody asked to stop.
    #[error("stopped; nothing was written")]
    Stopped,
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Model(#[from] ByModelError),
}

impl From<Stopped> for ConstitutionError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Finds the list, measures it, has the model apply it, and writes it.
///
/// # Errors
/// See [`ConstitutionError`].
pub fn constitution(
    run: &Run,
    request: &ConstitutionRequest,
    observer: &mut dyn Observer,
) -> Result<Constitution, ConstitutionError> {
    let source = run.source()?;
    let sample = ConstitutionSample {
        described: run.described()?,
        deltas: Some(run.deltas(&source)?),
        pairs: Cow::Borrowed(&source.pairs),
        sides: source.sides.clone(),
    };
    make(run, &sample, Some(&source), request, observer)
}

/// What a list is chosen and measured on, in memory.
#[derive(Debug)]
pub struct ConstitutionSample<'a> {
    pairs: Cow<'a, Pairs>,
    sides: Vec<Split>,
    described: Described,
    deltas: Option<Matrix>,
}

impl ConstitutionSample<'static> {
    /// Of the labels that a list is chosen on, and of those that it is measured on, those on the pairs with the lowest ids (which
    /// are hashes), so that there are hardly more than `most` of either: for whoever asks again and again, as the explorer does.
    ///
    /// # Errors
    /// Where the run's tables cannot be read.
    pub fn of(run: &Run, source: &Source, most: usize) -> Result<Self, ConstitutionError> {
        let (pairs, sides) = (&source.pairs, &source.sides);
        let on = |which: &[Split]| LabelledSample::on(pairs, sides, which).at_most(most, pairs).sample;
        let (explore, held_out) = (on(&[Split::Train, Split::Validation]), on(&[Split::Test]));
        let mut rows = [explore.row(), held_out.row()].concat();
        rows.sort_unstable();
        rows.dedup();
        Ok(Self {
            described: run.described_of(&rows)?,
            deltas: None,
            pairs: Cow::Owned(pairs.without_texts(&rows)),
            sides: rows.iter().map(|&row| sides[row as usize]).collect(),
        })
    }
}

/// Finds the list on such a sample and measures it; writes nothing and asks no model.
///
/// # Errors
/// See [`ConstitutionError`].
pub fn constitution_of(
    run: &Run,
    sample: &ConstitutionSample<'_>,
    request: &ConstitutionRequest,
    observer: &mut dyn Observer,
) -> Result<Constitution, ConstitutionError> {
    make(run, sample, None, &ConstitutionRequest { dry_run: true, ..request.clone() }, observer)
}

/// Without `source` no model is asked.
fn make(
    run: &Run,
    sample: &ConstitutionSample<'_>,
    source: Option<&Source>,
    request: &ConstitutionRequest,
    observer: &mut dyn Observer,
) -> Result<Constitution, ConstitutionError> {
    let config = &run.manifest.config;
    let model = request.model.resolve(&config.describe.language, Role::Executor, request.dry_run)?;
    let edits = edits(run, request, observer)?;
    let options = Options {
        principles: request.principles,
        aim: request.objective,
        edits,
        seed: run.manifest.seed,
        alpha: config.principles.alpha,
        redundant_above: config.principles.redundant_above,
        cancel: run.context.cancel.clone(),
    };
    let described = &sample.described;
    let found = reconstruct(&sample.pairs, &sample.sides, described, sample.deltas.as_ref(), &options)?;
    let mut found = found.ok_or_else(|| ConstitutionError::NoLabels {
        path: run.path.clone(),
        data: run.manifest.dataset.path.clone(),
    })?;
    found.dataset.clone_from(&run.manifest.dataset.path);
    conditions(run, &mut found)?;
    let cost = match (&model, source) {
        (Some(model), Some(source)) => {
            apply(model, request, source, described, &mut found, options.seed, observer)?
        }
        _ => Vec::new(),
    };
    let mut written = Vec::new();
    if !request.dry_run {
        let folder = request.out.as_ref().unwrap_or(&run.path);
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Io {
            action: "make the folder",
            path: folder.clone(),
            source,
        })?;
        run.may_write_into(folder, &files::FILES, &[], false)?;
        written.extend(files::write(folder, &found)?.iter().map(|file| folder.join(file)));
    }
    Ok(Constitution { found, cost, files: written })
}

fn edits(
    run: &Run,
    request: &ConstitutionRequest,
    observer: &mut dyn Observer,
) -> Result<Vec<Edit>, ConstitutionError> {
    let own = run.path.join(edits::FILE);
    let path = match &request.edits {
        Some(path) => path,
        None if own.is_file() => {
            // What changes the list without being named is said.
            observer.note(&format!("with the edits in `{}`", own.display()));
            &own
        }
        None => return Ok(Vec::new()),
    };
    EditFile::read(path)?.resolve(path, |name| Ok(run.feature(name)?))
}

/// What the run claims of the rules by kind of request; nothing in a run from before there were any.
fn conditions(run: &Run, found: &mut Reconstruction) -> Result<(), ConstitutionError> {
    let file = run.path.join("contexts.json");
    if !file.exists() {
        return Ok(());
    }
    let contexts: Contexts = read_json(&file)?;
    for rule in &mut found.principles {
        let own = contexts.claims().filter(|row| row.feature_id == rule.feature_id);
        rule.by_context = own.map(|row| row.statement.clone()).collect();
    }
    Ok(())
}

/// Has the model apply the list, or says what that would cost.
fn apply(
    model: &NamedModel,
    request: &ConstitutionRequest,
    source: &Source,
    described: &Described,
    found: &mut Reconstruction,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<Vec<CostEstimate>, ConstitutionError> {
    let asking = Asking::new(
        &source.pairs,
        &source.sides,
        &model.prompts,
        request.pairs,
        request.pairs_per_call,
        request.icai,
        seed,
    );
    if request.dry_run {
        return Ok(model.costs(asking.forecast(found)));
    }
    if found.principles.is_empty() {
        return Ok(Vec::new());
    }
    let (outcome, spent) = model.ask(seed, observer, |chat, calls| {
        asking.ask(found, described, chat, &mut |name, done, total| calls.done(name, done, total))
    })?;
    let mut by_model = outcome?;
    by_model.server.clone_from(&model.spec.base_url);
    by_model.spent = spent;
    found.by_model = Some(by_model);
    Ok(Vec::new())
}
