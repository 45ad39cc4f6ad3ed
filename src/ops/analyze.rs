//! The whole way in one function: pairs → embed → sae → describe → effects → principles → report.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::models::{CostEstimate, spent_in_words};
use crate::cache::{self, Cache};
use crate::config::{Config, ConfigError, Describer, SaeMode};
use crate::constitution::{self, Findings};
use crate::context::{Cancel, Context, Observer, Relay, Stopped};
use crate::contexts::{self, ContextSource, Contexts, Kinds, Look, Question};
use crate::dataset;
use crate::describe::judging::Plan;
use crate::describe::known::{ConceptBank, ConceptBankError};
use crate::describe::llm_describer::Models;
use crate::describe::presence::Firing;
use crate::describe::sentence_features::{
    DictionaryModel, SentenceError, SentenceMaterial, SentenceModels, bundled_dictionary, named_entries,
};
use crate::describe::{self, Described, Feature, FeatureSource, Found, Setting, Vocabulary};
use crate::dictionary::Dictionary;
use crate::effects::table::{self, EffectTable};
use crate::embed::{self, BundledEmbedder, EmbedError, Embedder, Embedding, Recipe, embed_texts};
use crate::export::contexts::record as contexts_record;
use crate::export::{annotated_pairs, tables};
use crate::featurizer::SentenceReader;
use crate::hub::HubError;
use crate::llm;
use crate::llm::chat::LanguageError;
use crate::llm::open::{LlmOptions, OpenError, Role};
use crate::llm::prompts::Prompts;
use crate::llm::spending::Budget;
use crate::matrix::Matrix;
use crate::ops::contexts::{ContextsError, of_columns};
use crate::pairs::{self, Pairs, PairsError, Split, mean_labels, split::on};
use crate::personalize;
use crate::relabel::{self, unsafe_content::Reader};
use crate::report::{constitution::write_constitution, page};
use crate::run::{RunError, entries_of, open_embedder};
use crate::sae::{
    self, Checkpoint, Compute, Control, DeviceChoice, Progress, Sae, SaeCard, SaeConfig, SaeError,
    SentenceSae, TrainData, TrainReport,
};
use crate::score::{self, Claimed, Learned, ScoreError, Weights};
use crate::sentences::SentenceTable;
use crate::store::{
    EmbeddingRecord, Grading, LanguageRecord, Manifest, RunDir, SentenceMetrics, StoreError, fingerprint,
    output, read_json, read_matrix, write_bytes, write_json, write_matrix,
};

/// What to analyse, and where to leave the result.
#[derive(Debug, Clone)]
pub struct Request {
    /// Files, folders or globs, each a dataset; they are analysed as one set.
    pub data: Vec<String>,
    /// The run directory.
    pub out: PathBuf,
    /// Everything that determines the result.
    pub config: Config,
    /// Where the autoencoder runs.
    pub device: DeviceChoice,
    /// Also write both responses' embeddings to this file.
    pub save_embeddings: Option<PathBuf>,
    /// Redo every stage; replace the run of another dataset.
    pub force: bool,
    /// Limits and prices of language models, and what the call brings along from outside.
    pub spending: LlmOptions,
}

impl Request {
    /// A dataset with the default settings, nothing from the environment, and no language model.
    pub fn new(data: &str, out: impl Into<PathBuf>) -> Self {
        Self {
            data: vec![data.to_owned()],
            out: out.into(),
            config: Config::default(),
            device: DeviceChoice::Auto,
            save_embeddings: None,
            force: false,
            spending: LlmOptions::default(),
        }
    }

    /// What the call brings along from outside.
    pub fn context(&self) -> &Context {
        &self.spending.context
    }
}

/// `runs/` and the data's name without folder, extension and glob characters: the run directory where none is named.
pub fn default_out(data: &[String]) -> PathBuf {
    let mut name = data.first().map_or_else(|| "run".into(), |first| pairs::dataset_name(first));
    if data.len() > 1 {
        name.push_str(&format!("-and-{}-more", data.len() - 1));
    }
    PathBuf::from("runs").join(name.replace(['/', '\\', ':'], "--"))
}

/// What came out, beside the files in the run directory.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// The run directory.
    pub run: PathBuf,
    /// What `run.json` says.
    pub manifest: Manifest,
    /// Principles and what else the labels say.
    pub findings: Findings,
    /// What depends on the request.
    pub contexts: Contexts,
    /// Mean label of each pair, `[pairs]`; NaN where it has none.
    pub mean_labels: Vec<f32>,
}

/// Why an analysis could not be done.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source
pub enum AnalyzeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Pairs(#[from] PairsError),
    #[error(transparent)]
    Run(#[from] StoreError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    ConceptBank(#[from] ConceptBankError),
    #[error(transparent)]
    Sae(#[from] SaeError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Language(#[from] LanguageError),
    #[error(transparent)]
    Finished(#[from] RunError),
    #[error(transparent)]
    Score(#[from] ScoreError),
    #[error(transparent)]
    Contexts(#[from] ContextsError),
    /// Somebody asked to stop.
    #[error("stopped; finished stages are kept, the same call goes on from there")]
    Stopped,
}

impl From<Stopped> for AnalyzeError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<SentenceError> for AnalyzeError {
    fn from(error: SentenceError) -> Self {
        match error {
            SentenceError::Embed(error) => error.into(),
            SentenceError::Sae(error) => error.into(),
        }
    }
}

impl AnalyzeError {
    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        match self {
            // A server that is not there, a key that is wrong, a limit: all of them are for the user to mend.
            Self::Config(_) | Self::Pairs(_) | Self::ConceptBank(_) | Self::Open(_) | Self::Language(_) => {
                true
            }
            Self::Contexts(_) => true,
            Self::Run(error) => error.is_users(),
            Self::Hub(_) => true,
            Self::Embed(error) => error.is_users(),
            Self::Sae(error) => error.is_users(),
            Self::Finished(error) => error.is_users(),
            Self::Score(error) => error.is_users(),
            Self::Stopped => true,
        }
    }
}

impl AnalyzeError {
    /// Whether the user stopped it (exit code 130).
    pub fn is_stop(&self) -> bool {
        match self {
            Self::Hub(error) => error.is_stop(),
            Self::Embed(error) => error.is_stop(),
            Self::Language(error) => error.is_stop(),
            Self::Finished(error) => error.is_stop(),
            Self::Score(error) => error.is_stop(),
            Self::Stopped | Self::Sae(SaeError::Stopped { .. }) => true,
            _ => false,
        }
    }
}

/// The autoencoder on held-out pairs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quality {
    /// Normalised mean squared error; `None` without held-out pairs.
    pub nmse: Option<f64>,
    /// The same for each Matryoshka prefix, by its number of features.
    pub nmse_prefixes: BTreeMap<String, f64>,
    /// Mean number of active features per pair.
    pub active_mean: Option<f64>,
}

impl Quality {
    fn on(model: &Sae, deltas: &Matrix, rows: &[u32], prefixes: &[usize]) -> Result<Self, SaeError> {
        let finite = |value: f64| Some(value).filter(|v| v.is_finite());
        if rows.is_empty() {
            return Ok(Self::default());
        }
        let held_out = model.activations(&deltas.select_rows(rows))?;
        let active = held_out.values.iter().filter(|z| **z != 0.0).count();
        let mut quality = Self {
            nmse: finite(model.nmse(deltas, Some(rows), model.features())?),
            active_mean: finite(active as f64 / rows.len() as f64),
            ..Self::default()
        };
        for &prefix in prefixes {
            if let Some(nmse) = finite(model.nmse(deltas, Some(rows), prefix)?) {
                quality.nmse_prefixes.insert(prefix.to_string(), nmse);
            }
        }
        Ok(quality)
    }
}

/// The measurable half of a run: everything that needs no labels.
pub struct DescribedRun {
    /// The open run directory.
    pub run: RunDir,
    /// The pairs and every label given to them.
    pub pairs: Pairs,
    /// The side of each pair, `[pairs]`.
    pub sides: Vec<Split>,
    /// `e(A) − e(B)`, `[pairs, dimensions]`.
    pub deltas: Matrix,
    /// Features in words, and their activations.
    pub described: Described,
    /// How the training of the autoencoder over differences went.
    pub trained: TrainReport,
    /// How that over sentences went; `None` without one.
    pub sentences: Option<TrainReport>,
    /// How well the autoencoder over differences does on held-out pairs.
    pub quality: Quality,
    /// The detectors.
    bank: ConceptBank,
    /// What finds the features in sentences.
    reader: (SentenceModels, Option<Sae>, Box<dyn Embedder>),
    /// Fingerprint of all this.
    print: String,
}

/// Runs every stage that is not finished yet and returns the findings.
///
/// # Errors
/// See [`AnalyzeError`]; finished stages stay, and the same request goes on after them.
pub fn analyze(request: &Request, observer: &mut dyn Observer) -> Result<Analysis, AnalyzeError> {
    let measured = measure(request, observer)?;
    estimate(measured, &request.config, request.context(), observer)
}

/// Reads, splits, embeds, trains and describes: what the two responses differ in.
///
/// # Errors
/// See [`AnalyzeError`].
pub fn measure(request: &Request, observer: &mut dyn Observer) -> Result<DescribedRun, AnalyzeError> {
    let mut prepared = prepare(request, observer)?;
    let config = &request.config;
    let prompts = llm::open::prompts(&config.describe.language)?;
    let versions = match config.describe.describer {
        Describer::Offline => Vec::new(),
        Describer::Model => llm::open::versions(&prompts),
    };
    let print = fingerprint(
        "describe",
        &(
            &prepared.sae_print,
            &config.describe,
            versions,
            prepared.bank.fingerprint(),
            config.principles.redundant_above,
            describe::REVISION,
        ),
    );
    let described = describe_stage(&mut prepared, request, &prompts, observer, &print)?;
    let TrainedRun {
        run,
        bank,
        pairs,
        sides,
        deltas,
        trained,
        sentences,
        quality,
        mut models,
        embedder,
        model,
        dictionary,
        ..
    } = prepared;
    if let (Some(dictionary), Some(model)) = (&dictionary, &mut models.dictionary) {
        model.only(dictionary, &entries_of(&described.features));
    }
    // The user's own vectors are no space that sentences lie in.
    let difference = request.config.data.embedding_columns.is_none().then_some(model);
    let reader = (models, difference, embedder);
    Ok(DescribedRun {
        run,
        pairs,
        sides,
        deltas,
        described,
        trained,
        sentences,
        quality,
        bank,
        reader,
        print,
    })
}

/// What describing by language models will cost, by stage, before any of them is asked.
///
/// Reads, splits, embeds and trains, as the analysis will; those stages are then finished.
///
/// # Errors
/// See [`AnalyzeError`].
pub fn forecast(request: &Request, observer: &mut dyn Observer) -> Result<Vec<CostEstimate>, AnalyzeError> {
    let prepared = prepare(request, observer)?;
    let config = &request.config;
    let language = &config.describe.language;
    let prompts = llm::open::prompts(language)?;
    observer.stage("forecast", 0);
    let started = std::time::Instant::now();
    let (described, firing) = prepared.describe(config, request.context(), observer, &mut |_| {})?;
    let dataset =
        describe::llm_describer::Dataset { pairs: &prepared.pairs, sides: &prepared.sides, firing: &firing };
    let forecasts =
        describe::llm_describer::forecast(dataset, &described, &prompts, &plan_of(config), config.seed);
    let spending = LlmOptions { dry_run: true, ..request.spending.clone() };
    let mut bills = Vec::new();
    for stage in ["write", "judge", "shorten"] {
        let role = if stage == "judge" { Role::Judge } else { Role::Writer };
        let model = llm::open::named(language, role, &spending)?;
        let forecast = forecasts.get(stage).cloned().unwrap_or_default();
        bills.push(CostEstimate::of(stage, &model, forecast));
    }
    observer.finished("forecast", started.elapsed().as_secs_f64(), false);
    prepared.run.save()?;
    Ok(bills)
}

fn plan_of(config: &Config) -> Plan {
    let language = &config.describe.language;
    Plan {
        pairs_per_call: language.pairs_per_call,
        choose: language.choose,
        measure: language.measure,
        ..Plan::default()
    }
}

/// A run before anything is learned.
pub(crate) struct EmbeddedDataset {
    pub run: RunDir,
    pub bank: ConceptBank,
    pub pairs: Pairs,
    pub sides: Vec<Split>,
    /// `[pairs, dimensions]`
    pub deltas: Matrix,
    /// What embeds sentences: the run's embedder, or the boxed one where the user brought vectors.
    pub embedder: Box<dyn Embedder>,
    /// Fingerprint of all this.
    pub embed_print: String,
}

/// A run up to its autoencoder.
struct TrainedRun {
    run: RunDir,
    bank: ConceptBank,
    pairs: Pairs,
    sides: Vec<Split>,
    deltas: Matrix,
    model: Sae,
    card: SaeCard,
    trained: TrainReport,
    quality: Quality,
    embedder: Box<dyn Embedder>,
    models: SentenceModels,
    dictionary: Option<Dictionary>,
    sentences: Option<TrainReport>,
    sae_print: String,
}

/// Reads, splits, embeds and trains.
fn prepare(request: &Request, observer: &mut dyn Observer) -> Result<TrainedRun, AnalyzeError> {
    let EmbeddedDataset { mut run, bank, pairs, sides, deltas, embedder, embed_print } =
        gather(request, observer)?;
    let compute = sae::choose(request.device)?;
    note(&mut run, observer, &compute.note);
    run.manifest.device = compute.adapter.clone();
    run.manifest.backend = compute.backend.to_owned();
    let dictionary = dictionary(request.config.sae.mode, embedder.as_ref());
    run.manifest.grading = Grading::Total;
    run.manifest.dictionary = dictionary.as_ref().map(|dictionary| dictionary.version().to_owned());
    let (models, sentences, sentence_print) = sentence_stage(
        &mut run,
        observer,
        &pairs,
        (embedder.as_ref(), dictionary.as_ref()),
        request,
        &compute,
        &embed_print,
    )?;
    let (model, card, trained, sae_print) =
        sae_stage(&mut run, observer, &sides, &deltas, request, &compute, &embed_print)?;
    let quality = Quality::on(&model, &deltas, &on(&sides, Split::Test), &card.prefixes)?;
    let sae_print = fingerprint("autoencoders", &(&sae_print, &sentence_print));
    Ok(TrainedRun {
        run,
        bank,
        pairs,
        sides,
        deltas,
        model,
        card,
        trained,
        quality,
        embedder,
        models,
        dictionary,
        sentences,
        sae_print,
    })
}

impl TrainedRun {
    /// What the features are, before any language model is asked.
    fn describe(
        &self,
        config: &Config,
        context: &Context,
        observer: &mut dyn Observer,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(Described, Firing), AnalyzeError> {
        let embedder = self.embedder.as_ref();
        let mut relay = Relay::silent(observer);
        let table = SentenceTable::of_pairs(&self.pairs);
        let mut firing = self.models.fire(table, embedder, context, &mut relay)?;
        let entries = self.dictionary.as_ref().map(named_entries).unwrap_or_default();
        let entries = describe::common_entries(&mut firing, self.models.learned_features(), &entries);
        let vocabulary = vocabulary(embedder, self.models.learned.is_some(), context, &mut relay)?;
        let mut go_on = |done| {
            progress(done);
            !context.cancel.requested()
        };
        let known = self.bank.measure_while(&self.pairs, &mut go_on).ok_or(AnalyzeError::Stopped)?;
        let difference = self.model.activations(&self.deltas)?;
        let nothing = Matrix::default();
        let setting = Setting {
            pairs: &self.pairs,
            sides: &self.sides,
            bank: &self.bank,
            config: &config.describe,
            redundant_above: config.principles.redundant_above,
            cancel: &context.cancel,
        };
        let found = Found {
            firing: &firing,
            learned: self.models.learned_features(),
            dictionary: &entries,
            decoder: self.models.learned.as_ref().map_or(&nothing, |learned| &learned.decoder),
            difference: &difference,
            stability: self.sentences.as_ref().map_or(&[], |report| &report.stability),
            difference_stability: &self.trained.stability,
            known: &known,
            vocabulary: &vocabulary,
        };
        let described = describe::describe(&setting, &found)?;
        Ok((described, firing))
    }
}

/// The dictionary that comes with the program, where sentences are read at all.
pub(crate) fn dictionary(mode: SaeMode, embedder: &dyn Embedder) -> Option<Dictionary> {
    if mode == SaeMode::Difference {
        return None;
    }
    bundled_dictionary(&embedder.identity())
}

/// The words of the boxed vocabulary in the embedder's space; none where nothing asks for them.
pub(crate) fn vocabulary(
    embedder: &dyn Embedder,
    wanted: bool,
    context: &Context,
    observer: &mut dyn Observer,
) -> Result<Vocabulary, EmbedError> {
    let words = if wanted { BundledEmbedder::vocabulary() } else { Vec::new() };
    let (vectors, _) = embed_texts(
        embedder,
        words.len(),
        &|at| words.get(at).map_or("", String::as_str),
        context,
        observer,
    )?;
    Ok(Vocabulary::new(words, vectors))
}

/// Reads, splits and embeds.
///
/// # Errors
/// See [`AnalyzeError`].
pub(crate) fn gather(
    request: &Request,
    observer: &mut dyn Observer,
) -> Result<EmbeddedDataset, AnalyzeError> {
    let config = &request.config;
    config.validate()?;
    let bank = ConceptBank::of(&config.describe)?;

    // What the dataset is. Reading is not a stage: every later one needs the texts or the labels.
    let mut relay = Relay::new(observer);
    let sources = dataset::locate(&request.data, request.context(), &mut relay)?;
    let fetch_notes = relay.end();
    let started = std::time::Instant::now();
    observer.stage("read", 0);
    let (pairs, read) = pairs::read_all(&sources, &dataset::read_options(config))?;
    pairs::refuse_one_sided(&pairs, &read.path)?;
    let mut pairs = pairs::canonical(pairs);
    observer.finished("read", started.elapsed().as_secs_f64(), false);
    if request.context().cancel.requested() {
        return Err(AnalyzeError::Stopped);
    }
    // A column that is none should not cost a minute.
    of_columns(&request.data, &pairs, &config.contexts.columns, "--context")?;
    let (sides, split_notes) = pairs::split(&pairs, config.split.shares, config.seed)?;
    for (side, purpose) in [(Split::Train, "training"), (Split::Test, "measuring (held out)")] {
        if !sides.contains(&side) {
            return Err(PairsError::TooFew { pairs: sides.len(), side: purpose }.into());
        }
    }

    output::check_run(&request.out, "--out").map_err(RunError::from)?;
    let mut run = RunDir::open(&request.out, dataset::record(&read, &pairs), request.force)?;
    run.cancel = request.context().cancel.clone();
    run.manifest.config = config.clone();
    run.manifest.seed = config.seed;
    run.manifest.notes.clear();
    // These were said while it was fetched.
    run.manifest.notes.extend(fetch_notes);
    for text in read.notes.iter().chain(&split_notes) {
        note(&mut run, observer, text);
    }

    // Orientation and split depend on the seed; the fingerprint covers what the file does not.
    let pairs_print =
        fingerprint("pairs", &(&read.fingerprint, &config.data, &config.split, config.seed, &pairs.datasets));
    stage(&mut run, observer, "pairs", &pairs_print, 0, &["pairs.parquet", "dropped.csv"], |run, _| {
        tables::write_pairs(&run.file("pairs.parquet"), &pairs, &sides)?;
        tables::write_dropped(&run.file("dropped.csv"), &read)?;
        Ok(())
    })?;

    let (deltas, embedder, embed_print) = embed_stage(&mut run, observer, &mut pairs, request, &pairs_print)?;
    Ok(EmbeddedDataset { run, bank, pairs, sides, deltas, embedder, embed_print })
}

/// The pairs, and what was measured in them.
#[derive(Clone, Copy)]
struct Measured<'a> {
    pairs: &'a Pairs,
    sides: &'a [Split],
    described: &'a Described,
}

/// Adds themes, measures effects on held-out labels, selects principles, writes the report and learns to score: what
/// is rewarded.
fn estimate(
    measured: DescribedRun,
    config: &Config,
    context: &Context,
    observer: &mut dyn Observer,
) -> Result<Analysis, AnalyzeError> {
    let DescribedRun { mut run, pairs, sides, deltas, described, trained, sentences, quality, .. } = measured;
    let themes_print = fingerprint("themes", &measured.print);
    let described = themes_stage(&mut run, observer, (&pairs, &sides), described, &themes_print)?;
    let data = Measured { pairs: &pairs, sides: &sides, described: &described };

    let effects_print = fingerprint("effects", &themes_print);
    let table = effects_stage(&mut run, observer, data, &deltas, &effects_print)?;
    // Nothing asks for the vectors from here on, and on a million pairs they are a gigabyte.
    drop(deltas);
    table.people.note().iter().for_each(|text| note(&mut run, observer, text));
    record_metrics(&mut run.manifest, &sides, &described, (&trained, sentences.as_ref()), quality, &table);

    let principles_print = fingerprint("principles", &(&effects_print, &config.principles));
    let findings = principles_stage(&mut run, observer, data, &table, config, &principles_print)?;
    run.manifest.metrics.candidates = findings.candidates;
    run.manifest.metrics.principles = findings.principles.len();

    let principles = findings.features();
    // As it was before there were columns, where there are none: such runs are not made again for nothing.
    let contexts_print = match config.contexts.columns.as_slice() {
        [] => fingerprint("contexts", &(&themes_print, &principles)),
        columns => fingerprint("contexts", &(&themes_print, &principles, columns)),
    };
    let contexts = contexts_stage(&mut run, observer, data, (&principles, config), &contexts_print)?;
    let mut analysis = Analysis {
        run: run.path().to_path_buf(),
        manifest: run.manifest.clone(),
        findings,
        contexts,
        mean_labels: mean_labels(&pairs),
    };
    let report_print = fingerprint("report", &(&principles_print, &run.manifest.notes));
    stage(&mut run, observer, "report", &report_print, 0, &["report.html"], |run, _| {
        let annotators = personalize::differences(&pairs, &described, config, &context.cancel)?;
        let (models, difference, embedder) = measured.reader;
        let sentences = SentenceReader::new(models, difference, embedder, &described.features, context);
        let page = page::render(page::Input {
            questions: &page::Questions::default(),
            manifest: &analysis.manifest,
            findings: &analysis.findings,
            contexts: &analysis.contexts,
            described: &described,
            pairs: &pairs,
            sides: &sides,
            bank: &measured.bank,
            sentences: &sentences,
            annotators: annotators.as_ref(),
            anonymise: false,
        });
        // A page that was stopped lacks what it had not come to.
        run.cancel.check()?;
        write_bytes(&run.file("report.html"), page.as_bytes())?;
        Ok(())
    })?;
    let files = ["annotated_pairs.json"];
    stage(&mut run, observer, "annotated_pairs", &principles_print, 0, &files, |run, _| {
        let input = annotated_pairs::Input {
            dataset: &analysis.manifest.dataset.path,
            principles: &analysis.findings.principles,
            features: &described.features,
            presence: &described.presence,
            pairs: &pairs,
            sides: &sides,
            held_out: true,
        };
        annotated_pairs::write(&run.file("annotated_pairs.json"), input)?;
        Ok(())
    })?;
    score_stage(&mut run, observer, data, &analysis.contexts, &principles_print)?;
    run.save()?;
    analysis.manifest = run.manifest.clone();
    Ok(analysis)
}

/// What every feature has to do with the label.
fn effects_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    Measured { pairs, sides, described }: Measured<'_>,
    deltas: &Matrix,
    print: &str,
) -> Result<EffectTable, AnalyzeError> {
    let files = ["stages/effects.json", "features.parquet"];
    stage(run, observer, "effects", print, 0, &files, |run, _| {
        let table = table::measure(pairs, sides, described, deltas, &run.cancel)?;
        tables::write_features(&run.file("features.parquet"), pairs, &described.features, &table)?;
        write_json(&run.file("stages/effects.json"), &table)?;
        Ok(())
    })?;
    Ok(read_json(&run.file("stages/effects.json"))?)
}

/// Which features are principles.
fn principles_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    Measured { pairs, sides, described }: Measured<'_>,
    table: &EffectTable,
    config: &Config,
    print: &str,
) -> Result<Findings, AnalyzeError> {
    // `constitution.md` is not among them: `wimhf constitution` writes a better one in its place.
    let files = ["principles.json", "principles.csv"];
    stage(run, observer, "principles", print, 0, &files, |run, _| {
        let settings = &config.principles;
        let mut findings =
            constitution::select::select(pairs, sides, described, table, settings, &run.cancel)?;
        relabel::requests::count(&mut findings, pairs, described)?;
        tables::write_principles_csv(&run.file("principles.csv"), &findings)?;
        let manifest = &run.manifest;
        let labels = manifest.metrics.judgements;
        write_constitution(&run.file("constitution.md"), &manifest.dataset.path, labels, &findings)?;
        write_json(&run.file("principles.json"), &findings)?;
        Ok(())
    })?;
    Ok(read_json(&run.file("principles.json"))?)
}

/// Where it holds: in which kinds of request.
fn contexts_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    Measured { pairs, sides, described }: Measured<'_>,
    (principles, config): (&[String], &Config),
    print: &str,
) -> Result<Contexts, AnalyzeError> {
    stage(run, observer, "contexts", print, 0, &["contexts.json"], |run, _| {
        let reader = Reader::new(None)?;
        let sources: Vec<String> =
            run.manifest.dataset.sources.iter().map(|source| source.path.clone()).collect();
        // The user's first: of two that say the same the first stays.
        let mut found = of_columns(&sources, pairs, &config.contexts.columns, "--context")?;
        found.extend(contexts::found(pairs, config.seed, &reader, &run.cancel)?.contexts);
        let question = Question { principles, look: Look::Promising };
        let mut found = contexts::measure(pairs, sides, described, found, question, &run.cancel)?;
        let claims = found.claims().count();
        found.rows.truncate(claims + LEADS);
        write_json(&run.file("contexts.json"), &contexts_record(&found))?;
        Ok(())
    })?;
    Ok(read_json(&run.file("contexts.json"))?)
}

/// Features in kinds of request that a run keeps beside what is claimed, the surest; `wimhf contexts` writes all.
const LEADS: usize = 50;

/// The kinds of request in which a feature is claimed to be rewarded otherwise, and which features in which; those of columns are left
/// out, since new pairs need not have them.
fn claimed(contexts: &Contexts, features: &[Feature]) -> (Vec<contexts::Context>, Vec<(usize, usize)>) {
    let mut kinds: Vec<contexts::Context> = Vec::new();
    let mut terms = Vec::new();
    for claim in contexts.claims() {
        let own = contexts.contexts.iter().find(|own| own.context_id == claim.context_id);
        let feature = features.iter().position(|feature| feature.feature_id == claim.feature_id);
        let (Some(own), Some(feature)) = (own, feature) else { continue };
        if own.source == ContextSource::Column {
            continue;
        }
        let known = kinds.iter().position(|kind| kind.context_id == own.context_id);
        let kind = known.unwrap_or_else(|| {
            kinds.push(own.clone());
            kinds.len() - 1
        });
        terms.push((kind, feature));
    }
    (kinds, terms)
}

/// What scoring new pairs needs, so that a run on a disk that cannot be written to can be scored. Labels that nothing
/// can be learned from leave nothing: whoever scores is told so then.
fn score_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    Measured { pairs, described, .. }: Measured<'_>,
    contexts: &Contexts,
    principles_print: &str,
) -> Result<(), AnalyzeError> {
    let (kinds, terms) = claimed(contexts, &described.features);
    // As it was before there were claims, where there are none.
    let print = match terms.is_empty() {
        true => fingerprint("score", &(principles_print, score::SCHEMA_VERSION)),
        false => fingerprint("score", &(principles_print, score::SCHEMA_VERSION, &kinds, &terms)),
    };
    let Some(open) = run.begin("score", &print) else {
        observer.finished("score", 0.0, true);
        return Ok(());
    };
    run.cancel.check()?;
    observer.stage("score", 0);
    let mut inside = vec![Vec::new(); kinds.len()];
    if !kinds.is_empty() {
        let told = Kinds::new(kinds.clone())?;
        let there: Vec<Vec<bool>> =
            (0..pairs.pair_id.len()).into_par_iter().map(|pair| told.of(pairs.prompt.get(pair))).collect();
        for there in there {
            inside.iter_mut().zip(there).for_each(|(own, there)| own.push(there));
        }
    }
    let learned = Learned {
        claimed: Claimed { contexts: &kinds, inside: &inside, terms: &terms },
        path: run.path(),
        manifest: &run.manifest,
        features: &described.features,
        activations: &described.activations,
    };
    let files: &[&str] = match Weights::fit(learned, &run.cancel) {
        Ok(weights) => {
            weights.keep(run.path())?;
            &[score::WEIGHTS]
        }
        Err(ScoreError::NoLabels(_)) => &[],
        Err(error) => return Err(error.into()),
    };
    let seconds = run.finish(open, files)?;
    observer.finished("score", seconds, false);
    Ok(())
}

/// Everything after the measurable half, in memory, without the ladder: themes, effects, findings. For what asks the
/// same question about other labels, such as shuffled ones.
///
/// # Errors
/// Where the words' embedder fails.
pub fn estimate_in_memory(
    pairs: &Pairs,
    sides: &[Split],
    described: &Described,
    config: &Config,
) -> Result<(EffectTable, Findings), AnalyzeError> {
    // Nobody can ask this one to stop.
    let go_on = Cancel::default();
    let themes = constitution::select::themes(pairs, sides, described, &BundledEmbedder::load()?, &go_on)?;
    let described = described.clone().with_themes(pairs, sides, &themes);
    let table = table::effects(pairs, sides, &described, &go_on)?;
    let findings =
        constitution::select::select(pairs, sides, &described, &table, &config.principles, &go_on)?;
    Ok((table, findings))
}

/// Tells the user and the record.
fn note(run: &mut RunDir, observer: &mut dyn Observer, text: &str) {
    observer.note(text);
    run.manifest.notes.push(text.to_owned());
}

/// Does a stage unless it is finished, and records it.
fn stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    name: &'static str,
    print: &str,
    total: usize,
    outputs: &[&str],
    work: impl FnOnce(&mut RunDir, &mut dyn Observer) -> Result<(), AnalyzeError>,
) -> Result<(), AnalyzeError> {
    match run.begin(name, print) {
        None => observer.finished(name, 0.0, true),
        Some(_) if run.cancel.requested() => return Err(AnalyzeError::Stopped),
        Some(open) => {
            observer.stage(name, total);
            work(run, observer)?;
            let seconds = run.finish(open, outputs)?;
            observer.finished(name, seconds, false);
        }
    }
    Ok(())
}

/// The deltas, `[pairs, dimensions]`: the user's own, those of a finished stage, or embedded now.
fn embed_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    pairs: &mut Pairs,
    request: &Request,
    pairs_print: &str,
) -> Result<(Matrix, Box<dyn Embedder>, String), AnalyzeError> {
    const FILE: &str = "stages/deltas.safetensors";
    const RECORD: &str = "stages/embed.json";
    if let Some(own) = pairs.own_deltas.take() {
        let (a, b) = request.config.data.embedding_columns.clone().unwrap_or_default();
        run.manifest.embedder = format!("columns `{a}` and `{b}`");
        run.manifest.embedding = EmbeddingRecord::default();
        if request.save_embeddings.is_some() {
            note(
                run,
                observer,
                "`--save-embeddings` has nothing to do: the vectors come from the dataset itself",
            );
        }
        let print = fingerprint("embed", &(pairs_print, &run.manifest.embedder));
        return Ok((own, Box::new(BundledEmbedder::load()?), print));
    }
    let mut relay = Relay::new(observer);
    let opened = open_embedder(&request.config, request.device, request.context(), &mut relay)?;
    let notes = relay.end();
    run.manifest.notes.extend(notes);
    for text in &opened.notes {
        note(run, observer, text);
    }
    let embedder = opened.embedder.as_ref();
    run.manifest.embedder = embedder.identity();
    // What the environment said must hold for whoever opens the run later.
    run.manifest.config.embed.base_url.clone_from(&opened.base_url);
    let settings = &request.config.embed;
    let recipe = Recipe::new(settings.what, settings.template.as_deref())?;
    let print = fingerprint("embed", &(pairs_print, &run.manifest.embedder, recipe.template()));
    let mut fresh = None;
    stage(run, observer, "embed", &print, pairs.pair_id.len(), &[FILE, RECORD], |run, observer| {
        let mut relay = Relay::new(observer);
        let mut embedding = Embedding::new(pairs, embedder, &recipe, request.context(), &mut relay)?;
        let deltas = embedding.deltas(&mut relay)?;
        let mut record = EmbeddingRecord { source: opened.source.clone(), ..embedding.record };
        record.dollars = settings.price.map(|price| price * record.tokens as f64 / 1e6);
        embed::write_deltas(&run.file(FILE), &deltas)?;
        write_json(&run.file(RECORD), &record)?;
        run.manifest.notes.extend(relay.end());
        fresh = Some(deltas);
        Ok(())
    })?;
    if let Some(path) = &request.save_embeddings {
        let mut relay = Relay::new(observer);
        Embedding::new(pairs, embedder, &recipe, request.context(), &mut relay)?.save(path, &mut relay)?;
    }
    let record: EmbeddingRecord = read_json(&run.file(RECORD))?;
    if fresh.is_some() && embedder.cached() {
        if let Some(text) = embedding_note(&record) {
            note(run, observer, &text);
        }
        // Not before the deltas stand: it may be this run's vectors that go. Failing leaves the cache larger.
        let _ = Cache::of(request.context())
            .and_then(|cache| cache.prune(None, Some(cache::limit(request.context()))));
    }
    run.manifest.embedding = record;
    let deltas = match fresh {
        Some(deltas) => deltas,
        None => embed::read_deltas(&run.file(FILE))?,
    };
    Ok((deltas, opened.embedder, print))
}

/// What embedding took, where that was not nothing.
fn embedding_note(record: &EmbeddingRecord) -> Option<String> {
    let EmbeddingRecord { texts, from_cache, embedded, cut, tokens, requests, .. } = record;
    let mut text = format!("{texts} different texts: {embedded} embedded, {from_cache} from the cache");
    if *requests > 0 {
        text.push_str(&format!("; {requests} requests, {tokens} tokens"));
    }
    if let Some(dollars) = record.dollars {
        text.push_str(&format!(", ${dollars:.4}"));
    }
    if *cut > 0 {
        let limit = record.max_tokens.map(|tokens| format!(" ({tokens} tokens)")).unwrap_or_default();
        text.push_str(&format!("; {cut} were longer than the embedder reads{limit} and were cut"));
    }
    (*requests > 0 || *cut > 0 || *from_cache > 0).then_some(text)
}

/// Held-out pairs below which θ needs the `describe` pairs as well.
const FEW: usize = 50;

/// The autoencoder over sentences, trained now or in a finished stage; nothing in the paper's mode.
fn sentence_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    pairs: &Pairs,
    (embedder, dictionary): (&dyn Embedder, Option<&Dictionary>),
    request: &Request,
    compute: &Compute,
    embed_print: &str,
) -> Result<(SentenceModels, Option<TrainReport>, String), AnalyzeError> {
    const MODEL: &str = "stages/sentences.safetensors";
    const REPORT: &str = "stages/sentences.json";
    let (settings, seed) = (&request.config.sae, request.config.seed);
    let version = dictionary.map(Dictionary::version);
    let print = fingerprint(
        "sentences",
        &(embed_print, settings, seed, &compute.backend, embedder.identity(), version),
    );
    let model_of = |dictionary| DictionaryModel::new(dictionary, &embedder.identity());
    let dictionary = dictionary.map(model_of).transpose()?;
    if settings.mode == SaeMode::Difference {
        return Ok((SentenceModels::default(), None, print));
    }
    stage(run, observer, "sentences", &print, 0, &[MODEL, REPORT], |run, observer| {
        let table = SentenceTable::of_pairs(pairs);
        let mut relay = Relay::silent(observer);
        let material = SentenceMaterial::new(&table, embedder, seed, request.context(), &mut relay)?;
        let config = material.config(settings.features, settings.active, seed);
        let cancel = request.context().cancel.clone();
        let mut listen = |progress: Progress| {
            if let Progress::Epoch { epoch, loss, validation, .. } = progress {
                observer
                    .metrics(epoch, &[("sentences/loss", loss), ("sentences/validation_loss", validation)]);
            }
            if cancel.requested() { Control::Stop } else { Control::Continue }
        };
        let report = match material.learn(&config, compute, &mut listen) {
            Ok(learned) => {
                learned.model.save(&run.file(MODEL), false)?;
                learned.report
            }
            // Responses without a word that the embedder knows: there is still what detectors and differences find.
            Err(SaeError::NoRows { .. }) => {
                // A stage has all of its files, or is done anew.
                write_bytes(&run.file(MODEL), b"")?;
                let notes =
                    vec!["no sentence says anything to the embedder: no features of sentences".to_owned()];
                TrainReport { notes, ..TrainReport::default() }
            }
            Err(error) => return Err(error.into()),
        };
        write_json(&run.file(REPORT), &report)?;
        Ok(())
    })?;
    let report: TrainReport = read_json(&run.file(REPORT))?;
    for text in &report.notes {
        note(run, observer, text);
    }
    let learned = if report.features > 0 { Some(SentenceSae::load(&run.file(MODEL))?) } else { None };
    Ok((SentenceModels { learned, dictionary, grading: Grading::Total }, Some(report), print))
}

/// The autoencoder over differences, trained now or in a finished stage.
#[allow(clippy::too_many_arguments, reason = "the stage's inputs, each from another stage")]
fn sae_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    sides: &[Split],
    deltas: &Matrix,
    request: &Request,
    compute: &Compute,
    embed_print: &str,
) -> Result<(Sae, SaeCard, TrainReport, String), AnalyzeError> {
    let (features, active) = request.config.sae.difference();
    let print = fingerprint("sae", &(embed_print, features, active, request.config.seed, &compute.backend));
    let config = SaeConfig { features, active, seed: request.config.seed, ..SaeConfig::default() };
    let files = ["stages/sae.safetensors", "stages/sae.json", "stages/training.json"];
    stage(run, observer, "sae", &print, config.epochs_max, &files, |run, observer| {
        let describe = on(sides, Split::Validation);
        let held_out = on(sides, Split::Test);
        // θ is one number that looks at no label and no reconstruction: it is set where all figures are
        // measured, so that the asked number of features is active there.
        let unseen = if held_out.len() < FEW { [&describe[..], &held_out].concat() } else { held_out };
        let cancel = request.context().cancel.clone();
        let mut listen = |progress: Progress| {
            if let Progress::Epoch { epoch, loss, validation, .. } = progress {
                observer.advance(epoch);
                observer.metrics(epoch, &[("sae/loss", loss), ("sae/validation_loss", validation)]);
            }
            if cancel.requested() { Control::Stop } else { Control::Continue }
        };
        let checkpoint =
            Checkpoint { path: run.file("stages/sae.checkpoint.safetensors"), print: print.clone() };
        let material = TrainData {
            deltas,
            train: &on(sides, Split::Train),
            validation: &describe,
            calibrate: &unseen,
            compute,
        };
        let (model, report) = material.learn(&config, Some(&checkpoint), &mut listen)?;
        let prefixes: Vec<usize> = report.nmse_prefixes.iter().map(|&(prefix, _)| prefix).collect();
        let card = SaeCard::new(&model, report.active, &prefixes, &run.manifest.embedder);
        model.save(&run.file("stages"), &card)?;
        write_json(&run.file("stages/training.json"), &report)?;
        Ok(())
    })?;
    let (model, card) = Sae::load(&run.file("stages"))?;
    let trained: TrainReport = read_json(&run.file("stages/training.json"))?;
    for text in &trained.notes {
        note(run, observer, text);
    }
    Ok((model, card, trained, print))
}

fn describe_stage(
    prepared: &mut TrainedRun,
    request: &Request,
    prompts: &Prompts,
    observer: &mut dyn Observer,
    print: &str,
) -> Result<Described, AnalyzeError> {
    const MODEL: &str = "sentences.safetensors";
    let mut files = vec![
        "sae.safetensors",
        "sae.json",
        "stages/activations.parquet",
        "stages/presence.parquet",
        "stages/described.json",
    ];
    if prepared.models.learned.is_some() {
        files.push(MODEL);
    }
    let config = &request.config;
    let total = prepared.pairs.pair_id.len();
    let mut fresh = None;
    match prepared.run.begin("describe", print) {
        None => observer.finished("describe", 0.0, true),
        Some(open) => {
            observer.stage("describe", total);
            let mut done = 0;
            let (mut found, firing) =
                prepared.describe(config, request.context(), observer, &mut |pairs| done = pairs)?;
            observer.advance(done);
            if config.describe.describer == Describer::Model {
                found = describe_with_llm(prepared, observer, request, prompts, &firing, found)?;
            }
            drop(firing);
            let TrainedRun { run, pairs, model, card, models, .. } = &mut *prepared;
            // The sign of a feature on differences is an accident of training; it is turned so that its words fit.
            for &feature in &found.flipped {
                model.flip(feature);
            }
            model.save(run.path(), card)?;
            if let Some(learned) = &models.learned {
                learned.save(&run.file(MODEL), false)?;
            }
            let ids = feature_ids(&found.features);
            let write =
                |file: &str, matrix: &Matrix| write_matrix(&run.file(file), &pairs.pair_id, &ids, matrix);
            write("stages/activations.parquet", &found.activations)?;
            write("stages/presence.parquet", &found.presence)?;
            write_json(&run.file("stages/described.json"), &found.features)?;
            let seconds = prepared.run.finish(open, &files)?;
            observer.finished("describe", seconds, false);
            fresh = Some(found);
        }
    }
    if let Some(found) = fresh {
        return Ok(found);
    }
    let run = &prepared.run;
    let features: Vec<Feature> = read_json(&run.file("stages/described.json"))?;
    let ids = feature_ids(&features);
    let read = |file: &str| read_matrix(&run.file(file), total, &ids);
    Ok(Described {
        activations: read("stages/activations.parquet")?,
        presence: read("stages/presence.parquet")?,
        features,
        flipped: Vec::new(),
        offers: Vec::new(),
    })
}

/// Has language models describe, and records what that took, whether it comes to an end or not.
fn describe_with_llm(
    prepared: &mut TrainedRun,
    observer: &mut dyn Observer,
    request: &Request,
    prompts: &Prompts,
    firing: &Firing,
    offline: Described,
) -> Result<Described, AnalyzeError> {
    let TrainedRun { run, bank, pairs, sides, .. } = prepared;
    let config = &request.config;
    let language = &config.describe.language;
    let purse = Arc::new(Budget::new(request.spending.limits));
    let open = |role: Role| llm::open::named(language, role, &request.spending);
    let (writer, judge) = (open(Role::Writer)?, open(Role::Judge)?);
    let named = |model: &llm::open::ModelSpec| format!("{} at {}", model.name, model.base_url);
    let (writer_name, judge_name) = (named(&writer), named(&judge));
    let mut writer = writer.open(&request.spending, &purse, config.seed)?;
    let mut judge = judge.open(&request.spending, &purse, config.seed)?;
    let mut models = Models { writer: &mut writer, judge: &mut judge, prompts };
    let outcome = describe::llm_describer::describe(
        describe::llm_describer::Dataset { pairs, sides, firing },
        offline,
        &mut models,
        bank,
        &config.describe,
        &plan_of(config),
        config.seed,
        observer,
    );
    let record = &mut run.manifest.language;
    if (&record.writer, &record.judge) != (&writer_name, &judge_name) {
        *record = LanguageRecord { writer: writer_name, judge: judge_name, ..LanguageRecord::default() };
    }
    for (purpose, now) in purse.spent() {
        let so_far = record.spent.entry(purpose).or_default();
        *so_far = so_far.and(now);
    }
    let texts = std::iter::once(spent_in_words(&purse.spent())).chain(purse.told());
    if outcome.is_err() {
        run.save()?;
        texts.for_each(|text| observer.note(&text));
    } else {
        texts.for_each(|text| note(run, observer, &text));
    }
    Ok(outcome?)
}

/// What is left: themes of words, beside the features that are there; all activations in one table.
fn themes_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    (pairs, sides): (&Pairs, &[Split]),
    described: Described,
    print: &str,
) -> Result<Described, AnalyzeError> {
    let files = ["activations.parquet", "presence.parquet", "stages/themes.json"];
    // Where they are found now, they are not counted twice.
    let (mut before, mut found) = (Some(described), None);
    stage(run, observer, "themes", print, 0, &files, |run, _| {
        let Some(described) = &before else { return Ok(()) };
        let embedder = BundledEmbedder::load()?;
        let themes = constitution::select::themes(pairs, sides, described, &embedder, &run.cancel)?;
        let Some(described) = before.take() else { return Ok(()) };
        let all = found.insert(described.with_themes(pairs, sides, &themes));
        let ids = feature_ids(&all.features);
        for (file, matrix) in [("activations.parquet", &all.activations), ("presence.parquet", &all.presence)]
        {
            write_matrix(&run.file(file), &pairs.pair_id, &ids, matrix)?;
        }
        write_json(&run.file("stages/themes.json"), &themes)?;
        Ok(())
    })?;
    if let Some(all) = found {
        return Ok(all);
    }
    // A theme is its words: counting them again is cheaper than a second copy of the activations.
    let themes: Vec<constitution::themes::Theme> = read_json(&run.file("stages/themes.json"))?;
    Ok(before.unwrap_or_default().with_themes(pairs, sides, &themes))
}

fn feature_ids(features: &[Feature]) -> Vec<String> {
    features.iter().map(|feature| feature.feature_id.clone()).collect()
}

fn record_metrics(
    manifest: &mut Manifest,
    sides: &[Split],
    described: &Described,
    (trained, sentences): (&TrainReport, Option<&TrainReport>),
    quality: Quality,
    table: &EffectTable,
) {
    let count = |side: Split| sides.iter().filter(|at| **at == side).count();
    let metrics = &mut manifest.metrics;
    metrics.pairs_train = count(Split::Train);
    metrics.pairs_describe = count(Split::Validation);
    metrics.pairs_held_out = count(Split::Test);
    metrics.judgements = table.labels;
    metrics.judgements_held_out = table.labels_held_out;
    metrics.ties_held_out = table.ties_held_out;
    metrics.auc = table.auc.clone();
    metrics.auc_minus_embedding = table.auc_minus_embedding.clone();
    metrics.auc_minus_length = table.auc_minus_length.clone();
    metrics.auc_missing = table.auc_missing.clone();
    metrics.nmse = quality.nmse;
    metrics.nmse_prefixes = quality.nmse_prefixes;
    metrics.active_mean = quality.active_mean;
    metrics.dead = Some(trained.dead);
    metrics.epochs = Some(trained.epochs);
    let count = |source: FeatureSource| described.features.iter().filter(|f| f.source == source).count();
    let found = described.features.iter().filter(|f| f.source.is_found());
    metrics.features_described = found.filter(|f| f.kept).count();
    metrics.features_learned = count(FeatureSource::Learned);
    metrics.features_difference = count(FeatureSource::Difference);
    metrics.features_dictionary = count(FeatureSource::Dictionary);
    metrics.features_known = count(FeatureSource::Known);
    metrics.features_themes = count(FeatureSource::Theme);
    metrics.sentences = sentences.map(|report| SentenceMetrics {
        learned_from: report.rows,
        features: report.features,
        nmse: Some(report.nmse).filter(|value| value.is_finite()),
        active_mean: Some(report.active_mean).filter(|value| value.is_finite()),
        dead: report.dead,
        epochs: report.epochs,
    });
}
