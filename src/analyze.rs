//! The whole way in one function: pairs → embed → sae → describe → effects → principles → report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cache::{self, Cache};
use crate::config::{Config, ConfigError, Describer};
use crate::constitution::{self, Findings};
use crate::curate;
use crate::describe::judging::Plan;
use crate::describe::written::Models;
use crate::describe::{self, Described, Feature, known::Bank, known::BankError};
use crate::effects::table::{self, EffectTable};
use crate::embed::{self, BoxedEmbedder, EmbedError, Embedding, Hardware, Recipe, Spec};
use crate::hub::{self, HubError};
use crate::language;
use crate::language::chat::LanguageError;
use crate::language::open::{OpenError, Role, Spending};
use crate::language::prompts::Prompts;
use crate::language::spending::{Forecast, Purse, Spent};
use crate::matrix::Matrix;
use crate::pairs::{self, Pairs, PairsError, ReadOptions, ReadReport, Side, Source};
use crate::personalize;
use crate::report::{annotated_pairs, page, tables};
use crate::run::{
    DatasetRecord, EmbeddingRecord, LanguageRecord, Manifest, RunDir, RunError, SourceRecord, fingerprint,
    write_bytes, write_json,
};
use crate::sae::{
    self, Checkpoint, Control, DeviceChoice, Material, Progress, Sae, SaeCard, SaeConfig, SaeError,
    TrainReport,
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
    /// Limits and prices of language models.
    pub spending: Spending,
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
    /// Mean label of each pair, `[pairs]`; NaN where it has none.
    pub mean_labels: Vec<f32>,
}

/// Whoever watches a run: a progress bar, a notebook, a test.
pub trait Observer {
    /// A stage begins; `total` units of work, 0 where unknown.
    fn stage(&mut self, name: &str, total: usize);
    /// So many units of the stage are done.
    fn advance(&mut self, done: usize);
    /// Figures of a step of the stage, by name; for whoever keeps them.
    fn metrics(&mut self, _step: usize, _values: &[(&str, f64)]) {}
    /// The stage ended, or was found finished.
    fn finished(&mut self, name: &str, seconds: f64, reused: bool);
    /// A sentence that the user should read.
    fn note(&mut self, text: &str);
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
    Run(#[from] RunError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Bank(#[from] BankError),
    #[error(transparent)]
    Sae(#[from] SaeError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Language(#[from] LanguageError),
}

impl AnalyzeError {
    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        match self {
            // A server that is not there, a key that is wrong, a limit: all of them are for the user to mend.
            Self::Config(_) | Self::Pairs(_) | Self::Bank(_) | Self::Open(_) | Self::Language(_) => true,
            Self::Run(error) => error.is_users(),
            Self::Hub(_) => true,
            Self::Embed(error) => error.is_users(),
            Self::Sae(SaeError::RowOutside { .. } | SaeError::Diverged { .. } | SaeError::Format { .. }) => {
                false
            }
            Self::Sae(_) => true,
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
#[derive(Debug)]
pub struct Measured {
    /// The open run directory.
    pub run: RunDir,
    /// The pairs and every label given to them.
    pub pairs: Pairs,
    /// The side of each pair, `[pairs]`.
    pub sides: Vec<Side>,
    /// `e(A) − e(B)`, `[pairs, dimensions]`.
    pub deltas: Matrix,
    /// Features in words, and their activations.
    pub described: Described,
    /// How the autoencoder's training went.
    pub trained: TrainReport,
    /// How well it does on held-out pairs.
    pub quality: Quality,
    /// The detectors.
    bank: Bank,
    /// Fingerprint of all this.
    print: String,
}

/// Runs every stage that is not finished yet and returns the findings.
///
/// # Errors
/// See [`AnalyzeError`]; finished stages stay, and the same request goes on after them.
pub fn analyze(request: &Request, observer: &mut dyn Observer) -> Result<Analysis, AnalyzeError> {
    let measured = measure(request, observer)?;
    express(measured, &request.config, observer)
}

/// Reads, splits, embeds, trains and describes: what the two responses differ in.
///
/// # Errors
/// See [`AnalyzeError`].
pub fn measure(request: &Request, observer: &mut dyn Observer) -> Result<Measured, AnalyzeError> {
    let mut prepared = prepare(request, observer)?;
    let config = &request.config;
    let prompts = language::open::prompts(&config.describe.language)?;
    let versions = match config.describe.describer {
        Describer::Offline => Vec::new(),
        Describer::Model => language::open::versions(&prompts),
    };
    let print = fingerprint(
        "describe",
        &(
            &prepared.sae_print,
            &config.describe,
            versions,
            prepared.bank.fingerprint(),
            config.principles.redundant_above,
        ),
    );
    let described = describe_stage(&mut prepared, request, &prompts, observer, &print)?;
    let Prepared { run, bank, pairs, sides, deltas, trained, quality, .. } = prepared;
    Ok(Measured { run, pairs, sides, deltas, described, trained, quality, bank, print })
}

/// What describing by language models will cost, by stage, before any of them is asked.
///
/// Reads, splits, embeds and trains, as the analysis will; those stages are then finished.
///
/// # Errors
/// See [`AnalyzeError`].
pub fn forecast(request: &Request, observer: &mut dyn Observer) -> Result<Vec<Bill>, AnalyzeError> {
    let prepared = prepare(request, observer)?;
    let config = &request.config;
    let language = &config.describe.language;
    let prompts = language::open::prompts(language)?;
    observer.stage("forecast", 0);
    let started = std::time::Instant::now();
    let learned = prepared.model.activations(&prepared.deltas)?;
    let known = prepared.bank.measure(&prepared.pairs, &mut |_| {});
    let described = describe::describe(
        &prepared.pairs,
        &prepared.sides,
        &learned,
        &prepared.trained.stability,
        &known,
        &prepared.bank,
        &config.describe,
        config.principles.redundant_above,
    );
    let forecasts = describe::written::forecast(
        &prepared.pairs,
        &prepared.sides,
        &described,
        &prompts,
        &plan_of(config),
        config.seed,
    );
    let mut bills = Vec::new();
    for stage in ["write", "judge", "shorten"] {
        let role = if stage == "judge" { Role::Judge } else { Role::Writer };
        let model = language::open::named(language, role, &request.spending)?;
        let forecast = forecasts.get(stage).cloned().unwrap_or_default();
        let dollars = model.price.map(|price| price.of(forecast.tokens_in, forecast.tokens_out));
        bills.push(Bill { stage, model: model.name, server: model.base_url, forecast, dollars });
    }
    observer.finished("forecast", started.elapsed().as_secs_f64(), false);
    prepared.run.save()?;
    Ok(bills)
}

/// What one kind of request will cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bill {
    /// `write`, `judge`, `shorten`, `execute` …
    pub stage: &'static str,
    /// The model that is asked.
    pub model: String,
    /// Its server.
    pub server: String,
    /// Calls and tokens.
    #[serde(flatten)]
    pub forecast: Forecast,
    /// Dollars, where the price is known.
    pub dollars: Option<f64>,
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
pub(crate) struct Gathered {
    pub run: RunDir,
    pub bank: Bank,
    pub pairs: Pairs,
    pub sides: Vec<Side>,
    /// `[pairs, dimensions]`
    pub deltas: Matrix,
    /// Fingerprint of all this.
    pub embed_print: String,
}

/// A run up to its autoencoder.
struct Prepared {
    run: RunDir,
    bank: Bank,
    pairs: Pairs,
    sides: Vec<Side>,
    deltas: Matrix,
    model: Sae,
    card: SaeCard,
    trained: TrainReport,
    quality: Quality,
    sae_print: String,
}

/// Reads, splits, embeds and trains.
fn prepare(request: &Request, observer: &mut dyn Observer) -> Result<Prepared, AnalyzeError> {
    let Gathered { mut run, bank, pairs, sides, deltas, embed_print } = gather(request, observer)?;
    let (model, card, trained, sae_print) =
        sae_stage(&mut run, observer, &pairs, &sides, &deltas, request, &embed_print)?;
    let quality = Quality::on(&model, &deltas, &on(&sides, Side::HeldOut), &card.prefixes)?;
    Ok(Prepared { run, bank, pairs, sides, deltas, model, card, trained, quality, sae_print })
}

/// Reads, splits and embeds.
///
/// # Errors
/// See [`AnalyzeError`].
pub(crate) fn gather(request: &Request, observer: &mut dyn Observer) -> Result<Gathered, AnalyzeError> {
    let config = &request.config;
    config.validate()?;
    let bank = bank(config)?;

    // What the dataset is. Reading is not a stage: every later one needs the texts or the labels.
    let mut relay = Relay::new(observer);
    let sources = locate(&request.data, &mut relay)?;
    let fetch_notes = relay.end();
    let started = std::time::Instant::now();
    observer.stage("read", 0);
    let (pairs, read) = pairs::read_all(&sources, &read_options(config))?;
    pairs::refuse_one_sided(&pairs, &read.path)?;
    let mut pairs = pairs::canonical(pairs);
    observer.finished("read", started.elapsed().as_secs_f64(), false);
    let (sides, split_notes) = pairs::split(&pairs, config.split.shares, config.seed)?;
    for (side, purpose) in [(Side::Train, "training"), (Side::HeldOut, "measuring (held out)")] {
        if !sides.contains(&side) {
            return Err(PairsError::TooFew { pairs: sides.len(), side: purpose }.into());
        }
    }

    let mut run = RunDir::open(&request.out, dataset_record(&read, &pairs), request.force)?;
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

    let (deltas, embed_print) = embed_stage(&mut run, observer, &mut pairs, request, &pairs_print)?;
    Ok(Gathered { run, bank, pairs, sides, deltas, embed_print })
}

/// Adds themes, measures effects on held-out labels, selects principles and writes the report: what is
/// rewarded.
fn express(
    measured: Measured,
    config: &Config,
    observer: &mut dyn Observer,
) -> Result<Analysis, AnalyzeError> {
    let Measured { mut run, pairs, sides, deltas, described, trained, quality, bank, print } = measured;
    let themes_print = fingerprint("themes", &print);
    let described = themes_stage(&mut run, observer, &pairs, &sides, described, &themes_print)?;

    let effects_print = fingerprint("effects", &themes_print);
    let files = ["stages/effects.json", "features.parquet"];
    stage(&mut run, observer, "effects", &effects_print, 0, &files, |run, _| {
        let table = table::measure(&pairs, &sides, &described, &deltas);
        tables::write_features(&run.file("features.parquet"), &pairs, &described.features, &table)?;
        write_json(&run.file("stages/effects.json"), &table)?;
        Ok(())
    })?;
    let table: EffectTable = read_json(&run.file("stages/effects.json"))?;
    table.people.note().iter().for_each(|text| note(&mut run, observer, text));
    record_metrics(&mut run.manifest, &sides, &described, &trained, quality, &table);

    let principles_print = fingerprint("principles", &(&effects_print, &config.principles));
    // `constitution.md` is not among them: `wimhf constitution` writes a better one in its place.
    let files = ["principles.json", "principles.csv"];
    stage(&mut run, observer, "principles", &principles_print, 0, &files, |run, _| {
        let mut findings =
            constitution::select::select(&pairs, &sides, &described, &table, &config.principles);
        curate::requests::count(&mut findings, &pairs, &described)?;
        tables::write_principles_csv(&run.file("principles.csv"), &findings)?;
        let manifest = &run.manifest;
        let labels = manifest.metrics.judgements;
        tables::write_constitution(&run.file("constitution.md"), &manifest.dataset.path, labels, &findings)?;
        write_json(&run.file("principles.json"), &findings)?;
        Ok(())
    })?;
    let findings: Findings = read_json(&run.file("principles.json"))?;
    run.manifest.metrics.candidates = findings.candidates;
    run.manifest.metrics.principles = findings.principles.len();

    let mut analysis = Analysis {
        run: run.path().to_path_buf(),
        manifest: run.manifest.clone(),
        findings,
        mean_labels: mean_labels(&pairs),
    };
    let report_print = fingerprint("report", &(&principles_print, &run.manifest.notes));
    stage(&mut run, observer, "report", &report_print, 0, &["report.html"], |run, _| {
        let annotators = personalize::differences(&pairs, &described, config);
        let page = page::render(page::Input {
            manifest: &analysis.manifest,
            findings: &analysis.findings,
            described: &described,
            pairs: &pairs,
            sides: &sides,
            bank: &bank,
            annotators: annotators.as_ref(),
            anonymise: false,
        });
        write_bytes(&run.file("report.html"), page.as_bytes())?;
        Ok(())
    })?;
    let files = ["annotated_pairs.json"];
    stage(&mut run, observer, "annotated_pairs", &principles_print, 0, &files, |run, _| {
        let input = annotated_pairs::Input {
            dataset: &analysis.manifest.dataset.path,
            principles: &analysis.findings.principles,
            features: &described.features,
            activations: &described.activations,
            pairs: &pairs,
            sides: &sides,
            held_out: true,
        };
        annotated_pairs::write(&run.file("annotated_pairs.json"), input)?;
        Ok(())
    })?;
    run.save()?;
    analysis.manifest = run.manifest.clone();
    Ok(analysis)
}

/// Everything after the measurable half, in memory, without the ladder: themes, effects, findings. For what asks the
/// same question about other labels, such as shuffled ones.
///
/// # Errors
/// Where the words' embedder fails.
pub fn express_in_memory(
    pairs: &Pairs,
    sides: &[Side],
    described: &Described,
    config: &Config,
) -> Result<(EffectTable, Findings), AnalyzeError> {
    let themes = constitution::select::themes(pairs, sides, described, &BoxedEmbedder::load()?)?;
    let described = described.with_themes(pairs, sides, &themes);
    let table = table::effects(pairs, sides, &described);
    let findings = constitution::select::select(pairs, sides, &described, &table, &config.principles);
    Ok((table, findings))
}

/// The bank of concepts that the settings name.
pub(crate) fn bank(config: &Config) -> Result<Bank, BankError> {
    match &config.describe.concepts {
        Some(path) => Bank::with_file(path),
        None => Bank::boxed(),
    }
}

/// Tells the user and the record.
fn note(run: &mut RunDir, observer: &mut dyn Observer, text: &str) {
    observer.note(text);
    run.manifest.notes.push(text.to_owned());
}

/// The pairs on a side, in order.
pub(crate) fn on(sides: &[Side], side: Side) -> Vec<u32> {
    (0u32..).zip(sides).filter(|(_, at)| **at == side).map(|(pair, _)| pair).collect()
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
        Some(open) => {
            observer.stage(name, total);
            work(run, observer)?;
            let seconds = run.finish(open, outputs)?;
            observer.finished(name, seconds, false);
        }
    }
    Ok(())
}

pub(crate) fn read_options(config: &Config) -> ReadOptions {
    let data = &config.data;
    ReadOptions {
        prompt_column: data.prompt_column.clone(),
        response_a_column: data.response_a_column.clone(),
        response_b_column: data.response_b_column.clone(),
        label_column: data.label_column.clone(),
        annotator_column: data.annotator_column.clone(),
        embedding_columns: data.embedding_columns.clone(),
        group_columns: config.split.columns.clone(),
        preference: data.preference.clone(),
        pairing: data.pairing,
        seed: config.seed,
    }
}

/// What the user named as data, with what lies on the Hub fetched: its name then holds the commit.
///
/// # Errors
/// See [`HubError`].
pub fn locate(names: &[String], progress: &mut dyn hub::Progress) -> Result<Vec<Source>, HubError> {
    names
        .iter()
        .map(|name| {
            if !hub::is_hub(name) {
                return Ok(Source::new(name));
            }
            let fetched = hub::dataset(name, progress)?;
            Ok(Source { path: fetched.pinned, fetched: Some(fetched.files) })
        })
        .collect()
}

pub(crate) fn dataset_record(read: &ReadReport, pairs: &Pairs) -> DatasetRecord {
    let location = |path: &str| match path.contains("://") {
        true => String::new(),
        false => std::path::absolute(path).map(|path| path.display().to_string()).unwrap_or_default(),
    };
    let sources: Vec<SourceRecord> = (read.sources.iter())
        .map(|source| SourceRecord {
            dataset: source.dataset.clone(),
            path: source.path.clone(),
            location: location(&source.path),
            shape: source.shape.clone(),
            rows: source.rows,
            pairs_read: source.pairs_read,
            pairs_used: source.pairs_used,
        })
        .collect();
    DatasetRecord {
        path: read.path.clone(),
        location: sources
            .first()
            .filter(|_| sources.len() == 1)
            .map(|only| only.location.clone())
            .unwrap_or_default(),
        fingerprint: read.fingerprint.clone(),
        shape: read.shape.clone(),
        pairs_read: read.pairs_read,
        pairs_used: read.pairs_used,
        pairs_unique: pairs.pair_id.len(),
        annotators: pairs.annotators.len(),
        dropped: read.dropped.clone(),
        sources,
    }
}

/// The deltas, `[pairs, dimensions]`: the user's own, those of a finished stage, or embedded now.
fn embed_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    pairs: &mut Pairs,
    request: &Request,
    pairs_print: &str,
) -> Result<(Matrix, String), AnalyzeError> {
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
        return Ok((own, print));
    }
    let mut relay = Relay::new(observer);
    let opened = open_embedder(&request.config, request.device, &mut relay)?;
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
        let mut embedding = Embedding::new(pairs, embedder, &recipe, &mut relay)?;
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
        Embedding::new(pairs, embedder, &recipe, &mut relay)?.save(path, &mut relay)?;
    }
    let record: EmbeddingRecord = read_json(&run.file(RECORD))?;
    if fresh.is_some() && embedder.cached() {
        if let Some(text) = told(&record) {
            note(run, observer, &text);
        }
        // Not before the deltas stand: it may be this run's vectors that go. Failing leaves the cache larger.
        let _ = Cache::of_user().and_then(|cache| cache.prune(None, Some(cache::limit())));
    }
    run.manifest.embedding = record;
    let deltas = match fresh {
        Some(deltas) => deltas,
        None => embed::read_deltas(&run.file(FILE))?,
    };
    Ok((deltas, print))
}

/// What embedding took, where that was not nothing.
fn told(record: &EmbeddingRecord) -> Option<String> {
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

/// The embedder of the settings; a device is looked for only where one is of use.
pub(crate) fn open_embedder(
    config: &Config,
    device: DeviceChoice,
    progress: &mut dyn hub::Progress,
) -> Result<embed::Opened, AnalyzeError> {
    let hardware = match Spec::parse(&config.embed.embedder)? {
        Spec::Folder(_) | Spec::Hub(_) => {
            let compute = sae::choose(device)?;
            if compute.is_gpu() { Hardware::Wgpu(compute.device) } else { Hardware::Cpu }
        }
        _ => Hardware::Cpu,
    };
    Ok(embed::open(&config.embed, hardware, config.seed, progress)?)
}

/// Passes on what happens inside a stage, and keeps the sentences for the record.
pub(crate) struct Relay<'o> {
    observer: &'o mut dyn Observer,
    notes: Vec<String>,
    fetching: Option<std::time::Instant>,
}

impl<'o> Relay<'o> {
    pub(crate) fn new(observer: &'o mut dyn Observer) -> Self {
        Self { observer, notes: Vec::new(), fetching: None }
    }

    pub(crate) fn end(self) -> Vec<String> {
        if let Some(began) = self.fetching {
            self.observer.finished("fetch", began.elapsed().as_secs_f64(), false);
        }
        self.notes
    }
}

impl embed::Listener for Relay<'_> {
    fn advance(&mut self, pairs: usize) {
        self.observer.advance(pairs);
    }

    fn note(&mut self, text: &str) {
        self.observer.note(text);
        self.notes.push(text.to_owned());
    }
}

impl hub::Progress for Relay<'_> {
    fn file(&mut self, name: &str, bytes: u64) {
        self.fetching.get_or_insert_with(std::time::Instant::now);
        self.observer.stage(&format!("fetch {}", name.rsplit('/').next().unwrap_or(name)), bytes as usize);
    }

    fn advance(&mut self, bytes: u64) {
        self.observer.advance(bytes as usize);
    }

    fn note(&mut self, text: &str) {
        embed::Listener::note(self, text);
    }
}

/// Held-out pairs below which θ needs the `describe` pairs as well.
const FEW: usize = 50;

/// The autoencoder, trained now or in a finished stage.
fn sae_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    pairs: &Pairs,
    sides: &[Side],
    deltas: &Matrix,
    request: &Request,
    embed_print: &str,
) -> Result<(Sae, SaeCard, TrainReport, String), AnalyzeError> {
    let settings = &request.config.sae;
    let compute = sae::choose(request.device)?;
    note(run, observer, &compute.note);
    run.manifest.device = compute.adapter.clone();
    run.manifest.backend = compute.backend.to_owned();
    let print = fingerprint("sae", &(embed_print, settings, request.config.seed, &compute.backend));
    let config = SaeConfig {
        features: settings.features,
        active: settings.active,
        seed: request.config.seed,
        ..SaeConfig::default()
    };
    let files = ["stages/sae.safetensors", "stages/sae.json", "stages/training.json"];
    stage(run, observer, "sae", &print, config.epochs_max, &files, |run, observer| {
        let describe = on(sides, Side::Describe);
        let held_out = on(sides, Side::HeldOut);
        // θ is one number that looks at no label and no reconstruction: it is set where all figures are
        // measured, so that the asked number of features is active there.
        let unseen = if held_out.len() < FEW { [&describe[..], &held_out].concat() } else { held_out };
        let mut listen = |progress: Progress| {
            if let Progress::Epoch { epoch, loss, validation, .. } = progress {
                observer.advance(epoch);
                observer.metrics(epoch, &[("sae/loss", loss), ("sae/validation_loss", validation)]);
            }
            Control::Continue
        };
        let checkpoint =
            Checkpoint { path: run.file("stages/sae.checkpoint.safetensors"), print: print.clone() };
        let material = Material {
            deltas,
            pairs,
            train: &on(sides, Side::Train),
            validation: &describe,
            calibrate: &unseen,
            compute: &compute,
        };
        let (model, report) = material.learn(settings.mode, &config, Some(&checkpoint), &mut listen)?;
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
    prepared: &mut Prepared,
    request: &Request,
    prompts: &Prompts,
    observer: &mut dyn Observer,
    print: &str,
) -> Result<Described, AnalyzeError> {
    let files = [
        "sae.safetensors",
        "sae.json",
        "stages/activations.parquet",
        "stages/readings.parquet",
        "stages/described.json",
    ];
    let config = &request.config;
    let Prepared { run, bank, pairs, sides, deltas, model, card, trained, .. } = prepared;
    let mut fresh = None;
    let total = pairs.pair_id.len();
    stage(run, observer, "describe", print, total, &files, |run, observer| {
        let learned = model.activations(deltas)?;
        let known = bank.measure(pairs, &mut |done| observer.advance(done));
        let mut found = describe::describe(
            pairs,
            sides,
            &learned,
            &trained.stability,
            &known,
            bank,
            &config.describe,
            config.principles.redundant_above,
        );
        if config.describe.describer == Describer::Model {
            found = in_models_words(run, observer, request, prompts, pairs, sides, bank, found)?;
        }
        // The sign of a latent is an accident of training; it is turned so that its words fit.
        for &feature in &found.flipped {
            model.flip(feature);
        }
        model.save(run.path(), card)?;
        tables::write_matrix(
            &run.file("stages/activations.parquet"),
            &pairs.pair_id,
            &feature_ids(&found.features),
            &found.activations,
        )?;
        let learned_ids = feature_ids(&found.features[..found.readings.cols.min(found.features.len())]);
        tables::write_matrix(
            &run.file("stages/readings.parquet"),
            &pairs.pair_id,
            &learned_ids,
            &found.readings,
        )?;
        write_json(&run.file("stages/described.json"), &found.features)?;
        fresh = Some(found);
        Ok(())
    })?;
    if let Some(found) = fresh {
        return Ok(found);
    }
    let features: Vec<Feature> = read_json(&run.file("stages/described.json"))?;
    let ids = feature_ids(&features);
    let learned: Vec<String> =
        features.iter().filter(|f| f.source == "learned").map(|f| f.feature_id.clone()).collect();
    Ok(Described {
        activations: tables::read_matrix(&run.file("stages/activations.parquet"), total, &ids)?,
        readings: tables::read_matrix(&run.file("stages/readings.parquet"), total, &learned)?,
        features,
        flipped: Vec::new(),
        offers: Vec::new(),
    })
}

/// Has language models describe, and records what that took, whether it comes to an end or not.
#[allow(clippy::too_many_arguments)] // the stage's inputs, each from another stage
fn in_models_words(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    request: &Request,
    prompts: &Prompts,
    pairs: &Pairs,
    sides: &[Side],
    bank: &Bank,
    offline: Described,
) -> Result<Described, AnalyzeError> {
    let config = &request.config;
    let language = &config.describe.language;
    let purse = Arc::new(Purse::new(request.spending.limits));
    let open = |role: Role| language::open::named(language, role, &request.spending);
    let (writer, judge) = (open(Role::Writer)?, open(Role::Judge)?);
    let named = |model: &language::open::Named| format!("{} at {}", model.name, model.base_url);
    let (writer_name, judge_name) = (named(&writer), named(&judge));
    let mut writer = writer.open(&request.spending, &purse, config.seed)?;
    let mut judge = judge.open(&request.spending, &purse, config.seed)?;
    let mut models = Models { writer: &mut writer, judge: &mut judge, prompts };
    let outcome = describe::written::describe(
        pairs,
        sides,
        offline,
        &mut models,
        bank,
        &config.describe,
        &plan_of(config),
        config.seed,
        &mut Tell(observer),
    );
    let record = &mut run.manifest.language;
    if (&record.writer, &record.judge) != (&writer_name, &judge_name) {
        *record = LanguageRecord { writer: writer_name, judge: judge_name, ..LanguageRecord::default() };
    }
    for (purpose, now) in purse.spent() {
        let so_far = record.spent.entry(purpose).or_default();
        *so_far = so_far.and(now);
    }
    let text = spent_in_words(&purse.spent());
    if outcome.is_err() {
        run.save()?;
        observer.note(&text);
    } else {
        note(run, observer, &text);
    }
    Ok(outcome?)
}

/// What was spent, in a sentence.
pub(crate) fn spent_in_words(spent: &BTreeMap<String, Spent>) -> String {
    let all = spent.values().fold(Spent::default(), |sum, one| sum.and(*one));
    let mut text = format!(
        "language models: {} calls answered ({} sent), {} answers from the cache; {} tokens in, {} out",
        all.calls, all.sent, all.cached, all.tokens_in, all.tokens_out
    );
    match all.dollars {
        Some(dollars) => text.push_str(&format!(", ${dollars:.4}")),
        None if all.calls > 0 => text.push_str("; price not known (`--price-in`, `--price-out`)"),
        None => {}
    }
    if all.unreadable > 0 {
        text.push_str(&format!("; {} answers could not be read and count as missing", all.unreadable));
    }
    text
}

/// Passes on what the models are doing.
struct Tell<'o>(&'o mut dyn Observer);

impl describe::written::Listener for Tell<'_> {
    fn stage(&mut self, name: &str, total: usize) {
        self.0.stage(name, total);
    }

    fn advance(&mut self, done: usize) {
        self.0.advance(done);
    }
}

/// What is left: themes of words, beside the features that are there; all activations in one table.
fn themes_stage(
    run: &mut RunDir,
    observer: &mut dyn Observer,
    pairs: &Pairs,
    sides: &[Side],
    described: Described,
    print: &str,
) -> Result<Described, AnalyzeError> {
    stage(run, observer, "themes", print, 0, &["activations.parquet", "stages/themes.json"], |run, _| {
        let themes = constitution::select::themes(pairs, sides, &described, &BoxedEmbedder::load()?)?;
        let all = described.with_themes(pairs, sides, &themes);
        tables::write_matrix(
            &run.file("activations.parquet"),
            &pairs.pair_id,
            &feature_ids(&all.features),
            &all.activations,
        )?;
        write_json(&run.file("stages/themes.json"), &themes)?;
        Ok(())
    })?;
    // A theme is its words: counting them again is cheaper than a second copy of the activations.
    let themes: Vec<constitution::themes::Theme> = read_json(&run.file("stages/themes.json"))?;
    Ok(described.with_themes(pairs, sides, &themes))
}

fn feature_ids(features: &[Feature]) -> Vec<String> {
    features.iter().map(|feature| feature.feature_id.clone()).collect()
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let bytes =
        std::fs::read(path).map_err(|source| RunError::Io { action: "read", path: path.into(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| RunError::Content { path: path.into(), message: error.to_string() })
}

/// Mean label of each pair over its judgements, NaN where it has none.
pub(crate) fn mean_labels(pairs: &Pairs) -> Vec<f32> {
    let mut sums = vec![(0f32, 0u32); pairs.pair_id.len()];
    for (&pair, &label) in pairs.judgements.pair.iter().zip(&pairs.judgements.label) {
        if !label.is_nan() {
            let slot = &mut sums[pair as usize];
            *slot = (slot.0 + label, slot.1 + 1);
        }
    }
    sums.into_iter().map(|(sum, n)| if n > 0 { sum / n as f32 } else { f32::NAN }).collect()
}

fn record_metrics(
    manifest: &mut Manifest,
    sides: &[Side],
    described: &Described,
    trained: &TrainReport,
    quality: Quality,
    table: &EffectTable,
) {
    let count = |side: Side| sides.iter().filter(|at| **at == side).count();
    let metrics = &mut manifest.metrics;
    metrics.pairs_train = count(Side::Train);
    metrics.pairs_describe = count(Side::Describe);
    metrics.pairs_held_out = count(Side::HeldOut);
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
    let learned = described.features.iter().filter(|f| f.source == "learned");
    metrics.features_learned = learned.clone().count();
    metrics.features_described = learned.filter(|f| f.kept).count();
    metrics.features_known = described.features.iter().filter(|f| f.source == "known").count();
    metrics.features_themes = described.features.iter().filter(|f| f.source == "theme").count();
}
