//! Several settings and seeds of the autoencoder over the same vectors, side by side.
//!
//! A setting that is chosen by a figure flatters that figure. So a sweep never looks at the pairs that the
//! analysis after it is measured on:
//!
//! ```text
//! analysis   train 35 %                     describe 20 %   held out 45 %
//! sweep      learn 24.5 % · choose 10.5 %   measure 20 %    left alone
//! ```
//!
//! Vectors, sides, sentences and the readings of the known concepts are made once. Cells are independent and run side
//! by side, one a core; each is put on disk when it is done, so that a sweep that was stopped goes on.

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::analyze::{AnalyzeError, EmbeddedDataset, Request, dictionary, gather, vocabulary};
use crate::config::{Config, SaeMode, SaeSettings};
use crate::context::{Context, Observer, Relay};
use crate::describe::sentence_features::{
    DictionaryModel, SentenceMaterial, SentenceModels, named_entries, stability as sentence_stability,
};
use crate::describe::{self, Found, Setting, Vocabulary, known::ConceptBank};
use crate::dictionary::Dictionary;
use crate::effects::ablation::{embedding_score, features_score};
use crate::effects::table::LabelledSample;
use crate::effects::{Estimate, Ranking, Sample};
use crate::embed::Embedder;
use crate::matrix::Matrix;
use crate::pairs::{self, Pairs, PairsError, Split, split::on};
use crate::sae::{
    self, Control, Sae, SaeCard, SaeConfig, SaeError, SentenceSae, TrainData, TrainReport, stability,
};
use crate::sentences::SentenceTable;
use crate::store::{Grading, Manifest, RunDir, StoreError, fingerprint, read_json, write_bytes, write_json};

/// Most cells of a sweep.
const MOST_CELLS: usize = 500;
/// Of the training pairs, the share that features are learned from; descriptions are chosen on the others.
const LEARN: f64 = 0.7;
/// Bytes that the cells under way may hold together, about.
const MEMORY: usize = 1 << 31;

/// What there is to vary.
const MODES: [SaeMode; 2] = [SaeMode::Sentences, SaeMode::Difference];

/// What is varied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// The settings, each once, in the order in which they are shown.
    pub settings: Vec<SaeSettings>,
    /// Seeds of each of them.
    pub seeds: usize,
    /// Combinations with more active features than features, left out.
    pub impossible: usize,
}

impl Grid {
    /// Reads `mode=sentences,difference features=32,64 active=4,8 seeds=3`: every combination. What is left out has its
    /// usual size; without anything it is every mode with its usual sizes.
    ///
    /// # Errors
    /// A message for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        const NAMES: &str = "mode, features, active, seeds";
        let (mut modes, mut features, mut active, mut seeds) = (Vec::new(), Vec::new(), Vec::new(), 3);
        let mut seen: Vec<&str> = Vec::new();
        for part in text.split([' ', ';', '\t', '\n']).filter(|part| !part.is_empty()) {
            let Some((name, list)) = part.split_once('=') else {
                return Err(format!("`{part}` is no list; write NAME=VALUE,VALUE with one of {NAMES}"));
            };
            if seen.contains(&name) {
                return Err(format!("`{name}` stands there twice; write its values in one list"));
            }
            seen.push(name);
            let numbers = || -> Result<Vec<usize>, String> {
                list.split(',')
                    .map(|value| match value.parse() {
                        Ok(number) if (1..=4096).contains(&number) => Ok(number),
                        _ => Err(format!("`{name}={value}`: whole numbers from 1 to 4096 are needed")),
                    })
                    .collect()
            };
            match name {
                "mode" => {
                    for value in list.split(',') {
                        let named = MODES.into_iter().find(|mode| mode.name() == value);
                        modes.push(
                            named.ok_or_else(|| {
                                format!("`mode={value}`: there are sentences and difference")
                            })?,
                        );
                    }
                }
                "features" => features = numbers()?,
                "active" => active = numbers()?,
                "seeds" => match numbers()?.as_slice() {
                    [number] if *number <= 100 => seeds = *number,
                    _ => return Err("`seeds` is how many of them: one number up to 100".into()),
                },
                _ => {
                    let nearest = crate::suggest::nearest(name, NAMES.split(", "));
                    let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?"));
                    return Err(format!(
                        "`{name}` cannot be varied, only {NAMES}{}",
                        hint.unwrap_or_default()
                    ));
                }
            }
        }
        if modes.is_empty() {
            modes = if features.is_empty() { MODES.to_vec() } else { vec![SaeMode::default()] };
        }
        let optional = |list: Vec<usize>| -> Vec<Option<usize>> {
            if list.is_empty() { vec![None] } else { list.into_iter().map(Some).collect() }
        };
        let (features, active) = (optional(features), optional(active));
        let mut grid = Self { settings: Vec::new(), seeds, impossible: 0 };
        for &mode in &modes {
            for &features in &features {
                for &active in &active {
                    let settings = SaeSettings { mode, features, active };
                    if features.zip(active).is_some_and(|(features, active)| active > features) {
                        grid.impossible += 1;
                    } else if !grid.settings.contains(&settings) {
                        grid.settings.push(settings);
                    }
                }
            }
        }
        if grid.settings.is_empty() {
            return Err("no combination has as many features as are to be active; K cannot exceed M".into());
        }
        let cells = grid.settings.len() * grid.seeds;
        if cells > MOST_CELLS {
            return Err(format!(
                "{cells} runs of the autoencoder are too many (at most {MOST_CELLS}); vary less at once"
            ));
        }
        Ok(grid)
    }
}

/// One setting with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What was set.
    #[serde(flatten)]
    pub settings: SaeSettings,
    /// With which seed.
    pub seed: u64,
    /// Features that were learned: fewer than M where the data carry no more.
    pub learned: usize,
    /// Features with words that hold and that come back.
    pub kept: Vec<usize>,
    /// Of these, how many say what no other feature and no known concept says.
    pub distinct: usize,
    /// AUC of length and the learned features; `None` where labels are missing.
    pub auc_learned: Option<Estimate>,
    /// AUC of these and the known concepts.
    pub auc_learned_and_known: Option<Estimate>,
    /// NMSE on what was set aside, all features.
    pub nmse: f64,
    /// Active features per pair, or per sentence.
    pub active_mean: f64,
    /// Features that are active in no training pair.
    pub dead: usize,
    /// How well the features come back from half of the pairs, on average; `None` where that is unknown.
    pub stability: Option<f64>,
    /// Epochs of the autoencoder's training, 0 without one.
    pub epochs: usize,
    /// Seconds, with other cells beside it.
    pub seconds: f64,
}

/// A setting over its seeds. Means, and standard deviations over the seeds (0 for one seed).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was set.
    #[serde(flatten)]
    pub settings: SaeSettings,
    /// Seeds.
    pub seeds: usize,
    /// Kept features.
    pub kept: Spread,
    /// Kept features that say what nothing else says.
    pub distinct: Spread,
    /// AUC of length and the learned features, the mean over the seeds; its interval is about the pairs.
    pub auc_learned: Option<Estimate>,
    /// Standard deviation of that AUC over the seeds.
    pub auc_learned_sd: f64,
    /// `auc_learned` minus that of the setting with the highest; 0 for this one itself.
    pub behind: Option<Estimate>,
    /// With the known concepts.
    pub auc_learned_and_known: Option<Estimate>,
    /// NMSE.
    pub nmse: Spread,
    /// Active features per pair.
    pub active_mean: Spread,
    /// Dead features.
    pub dead: Spread,
    /// How well features come back from half of the pairs.
    pub stability: Option<Spread>,
    /// How well kept features come back with another seed; `None` with one seed or without any.
    pub recurrence: Option<f64>,
    /// Seconds of one cell.
    pub seconds: Spread,
}

/// Mean and standard deviation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Standard deviation over the seeds, 0 for one.
    pub sd: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        Self { mean, sd: if values.len() > 1 { (square / (n - 1.0)).sqrt() } else { 0.0 } }
    }
}

/// What a sweep found; also `sweep.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sweep {
    /// Path of the dataset as given.
    pub dataset: String,
    /// The embedder.
    pub embedder: String,
    /// Pairs that features were learned from.
    pub pairs_learned: usize,
    /// Pairs that descriptions were chosen on.
    pub pairs_chosen: usize,
    /// Pairs that everything was measured on.
    pub pairs_measured: usize,
    /// Labels among them, ties left out.
    pub labels_measured: usize,
    /// Pairs that were left alone.
    pub pairs_apart: usize,
    /// The embedding probe on the same pairs.
    pub auc_embedding: Option<Estimate>,
    /// The settings, in the grid's order.
    pub rows: Vec<Row>,
    /// Index into `rows`: of the settings whose AUC is not shown to be behind, the one with most distinct
    /// features; the smaller one of equals. `None` without labels.
    pub suggested: Option<usize>,
    /// Every cell.
    pub cells: Vec<Cell>,
}

/// Runs every cell that is not finished yet. The run directory holds `sweep.json`, `sweep.csv` and the
/// vectors, which an analysis in the same directory goes on from.
///
/// # Errors
/// See [`AnalyzeError`].
pub fn sweep(request: &Request, grid: &Grid, observer: &mut dyn Observer) -> Result<Sweep, AnalyzeError> {
    let before = Manifest::read(&request.out.join("run.json")).ok();
    let EmbeddedDataset { mut run, bank, pairs, sides, deltas, embedder, embed_print } =
        gather(request, observer)?;
    let config = &request.config;
    let compute = sae::choose(request.device)?;
    [Some(compute.note.clone()), left_out(grid)].iter().flatten().for_each(|text| observer.note(text));
    keep_record(&mut run, before.filter(|_| !request.force));
    let sides = own_sides(&pairs, &sides, config)?;
    let known = concepts(&bank, &pairs, request.context(), observer)?;

    let reads = grid.settings.iter().any(|settings| settings.mode == SaeMode::Sentences);
    let table = SentenceTable::of_pairs(&pairs);
    let mode = if reads { SaeMode::Sentences } else { SaeMode::Difference };
    let dictionary = dictionary(mode, embedder.as_ref());
    let mut relay = Relay::silent(observer);
    let (seed, context) = (config.seed, request.context());
    let material = || SentenceMaterial::new(&table, embedder.as_ref(), seed, context, &mut relay);
    let sentences = reads.then(material).transpose()?;
    let vocabulary = vocabulary(embedder.as_ref(), reads, request.context(), &mut relay)?;
    drop(relay);
    let grid = &resolved(grid, sentences.as_ref());

    let labels = LabelledSample::on(&pairs, &sides, &[Split::Test]);
    let bench = Bench {
        pairs: &pairs,
        embedder: embedder.as_ref(),
        context: request.context(),
        table: &table,
        sentences: sentences.as_ref(),
        dictionary: dictionary.as_ref(),
        vocabulary: &vocabulary,
        material: TrainData {
            deltas: &deltas,
            train: &on(&sides, Split::Train),
            validation: &on(&sides, Split::Validation),
            calibrate: &on(&sides, Split::Test),
            compute: &compute,
        },
        sides: &sides,
        deltas: &deltas,
        known: &known,
        bank: &bank,
        config,
        explore: LabelledSample::on(&pairs, &sides, &[Split::Train, Split::Validation]).sample,
        measure: labels.sample,
        folder: run.file("stages/sweep"),
        print: fingerprint(
            "sweep",
            &(
                &embed_print,
                &config.describe,
                bank.fingerprint(),
                config.principles.redundant_above,
                &compute.backend,
            ),
        ),
    };
    let cells = bench.all(grid, config.seed, observer)?;
    let (rows, suggested) = bench.rows(grid, &cells)?;
    let count = |side: Split| sides.iter().filter(|at| **at == side).count();
    let probe = embedding_score(&deltas, &bench.explore, &bench.measure).ok();
    let sweep = Sweep {
        dataset: run.manifest.dataset.path.clone(),
        embedder: run.manifest.embedder.clone(),
        pairs_learned: count(Split::Train),
        pairs_chosen: count(Split::Validation),
        pairs_measured: count(Split::Test),
        labels_measured: bench.measure.len(),
        pairs_apart: count(Split::Apart),
        auc_embedding: probe
            .and_then(|score| Ranking::new(&score, bench.measure.y()))
            .and_then(|ranking| ranking.figure(bench.measure.clusters())),
        rows,
        suggested,
        cells: cells.into_iter().map(|done| done.cell).collect(),
    };
    write_bytes(&run.file("sweep.csv"), csv(&sweep).as_bytes())?;
    write_json(&run.file("sweep.json"), &sweep)?;
    run.save()?;
    Ok(sweep)
}

/// An analysis that stands in this directory keeps its own record.
fn keep_record(run: &mut RunDir, before: Option<Manifest>) {
    let analysed = |before: &Manifest| before.stages.iter().any(|stage| stage.name == "sae");
    if let Some(before) = before.filter(analysed) {
        let stages = std::mem::take(&mut run.manifest.stages);
        run.manifest = Manifest { stages, ..before };
    }
}

/// The known concepts, `[pairs, concepts]`.
fn concepts(
    bank: &ConceptBank,
    pairs: &Pairs,
    context: &Context,
    observer: &mut dyn Observer,
) -> Result<Matrix, AnalyzeError> {
    let seconds = std::time::Instant::now();
    observer.stage("concepts", pairs.pair_id.len());
    let mut go_on = |done| {
        observer.advance(done);
        !context.cancel.requested()
    };
    let known = bank.measure_while(pairs, &mut go_on).ok_or(AnalyzeError::Stopped)?;
    observer.finished("concepts", seconds.elapsed().as_secs_f64(), false);
    Ok(known)
}

/// The grid with every size as a number.
fn resolved(grid: &Grid, sentences: Option<&SentenceMaterial>) -> Grid {
    let mut all = Grid { settings: Vec::new(), ..grid.clone() };
    for settings in &grid.settings {
        let (features, active) = match (settings.mode, sentences) {
            (SaeMode::Sentences, Some(sentences)) => {
                let config = sentences.config(settings.features, settings.active, 0);
                (config.features, config.active)
            }
            _ => settings.difference(),
        };
        let settings = SaeSettings { features: Some(features), active: Some(active), ..settings.clone() };
        if !all.settings.contains(&settings) {
            all.settings.push(settings);
        }
    }
    all
}

fn left_out(grid: &Grid) -> Option<String> {
    (grid.impossible > 0).then(|| format!("{} combinations are left out: K cannot exceed M", grid.impossible))
}

/// The analysis's sides as a sweep sees them.
fn own_sides(pairs: &Pairs, sides: &[Split], config: &Config) -> Result<Vec<Split>, PairsError> {
    // Another shuffle than the analysis's, or the two splits would go together.
    let (learn, _) = pairs::split(pairs, [LEARN, 1.0 - LEARN, 0.0], !config.seed)?;
    let own: Vec<Split> = sides
        .iter()
        .zip(&learn)
        .map(|(side, learn)| match side {
            Split::Train if *learn == Split::Train => Split::Train,
            Split::Train => Split::Validation,
            Split::Validation => Split::Test,
            Split::Test | Split::Apart => Split::Apart,
        })
        .collect();
    for (side, purpose) in [
        (Split::Train, "training"),
        (Split::Validation, "choosing descriptions"),
        (Split::Test, "measuring (a sweep measures on the `describe` side)"),
    ] {
        if !own.contains(&side) {
            return Err(PairsError::TooFew { pairs: sides.len(), side: purpose });
        }
    }
    Ok(own)
}

/// What every cell needs.
struct Bench<'a> {
    pairs: &'a Pairs,
    embedder: &'a dyn Embedder,
    context: &'a Context,
    table: &'a SentenceTable,
    /// What features of sentences are learned from; `None` where no setting asks for them.
    sentences: Option<&'a SentenceMaterial>,
    dictionary: Option<&'a Dictionary>,
    vocabulary: &'a Vocabulary,
    material: TrainData<'a>,
    sides: &'a [Split],
    deltas: &'a Matrix,
    /// `[pairs, concepts]`
    known: &'a Matrix,
    bank: &'a ConceptBank,
    config: &'a Config,
    /// Labels that the figures' weights are fitted on.
    explore: Sample,
    /// Labels that they are measured on.
    measure: Sample,
    folder: PathBuf,
    print: String,
}

/// A cell and what comparing it with others takes.
struct Done {
    cell: Cell,
    model: Model,
    ranking: Option<Ranking>,
    ranking_known: Option<Ranking>,
}

/// What a cell learned.
enum Model {
    Sentences(SentenceSae),
    Difference(Sae),
}

impl Model {
    const SENTENCES: &str = "sentences.safetensors";

    fn load(mode: SaeMode, folder: &Path) -> Result<Self, SaeError> {
        match mode {
            SaeMode::Sentences => Ok(Self::Sentences(SentenceSae::load(&folder.join(Self::SENTENCES))?)),
            SaeMode::Difference => Ok(Self::Difference(Sae::load(folder)?.0)),
        }
    }

    fn save(&self, folder: &Path, trained: &TrainReport) -> Result<(), SaeError> {
        match self {
            Self::Sentences(model) => model.save(&folder.join(Self::SENTENCES), false),
            Self::Difference(model) => {
                let prefixes: Vec<usize> = trained.nmse_prefixes.iter().map(|&(prefix, _)| prefix).collect();
                model.save(folder, &SaeCard::new(model, trained.active, &prefixes, ""))
            }
        }
    }
}

/// A cell as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    print: String,
    cell: Cell,
    /// Log-odds of the measured labels by the learned features, and with the known concepts.
    score: Option<Vec<f32>>,
    score_known: Option<Vec<f32>>,
}

impl Bench<'_> {
    /// Every cell in the grid's order, seeds within settings.
    fn all(&self, grid: &Grid, seed: u64, observer: &mut dyn Observer) -> Result<Vec<Done>, AnalyzeError> {
        std::fs::create_dir_all(&self.folder).map_err(|source| StoreError::Io {
            action: "create",
            path: self.folder.clone(),
            source,
        })?;
        let started = std::time::Instant::now();
        let wanted: Vec<(&SaeSettings, u64)> = (grid.settings.iter())
            .flat_map(|settings| (0..grid.seeds as u64).map(move |s| (settings, seed.wrapping_add(s))))
            .collect();
        observer.stage("sweep", wanted.len());
        let at_once = self.at_once(grid);
        let (tell, told) = mpsc::channel();
        let cells = std::thread::scope(|scope| {
            let work = scope.spawn(move || -> Result<Vec<Done>, AnalyzeError> {
                let mut cells = Vec::with_capacity(wanted.len());
                for some in wanted.chunks(at_once) {
                    let done: Result<Vec<Done>, AnalyzeError> = some
                        .par_iter()
                        .with_max_len(1)
                        .map(|&(settings, seed)| {
                            let done = self.cell(settings, seed)?;
                            // Whoever listened has gone only if this is over, too.
                            let _ = tell.send((done.cell.auc_learned, done.cell.distinct));
                            Ok(done)
                        })
                        .collect();
                    cells.extend(done?);
                }
                Ok(cells)
            });
            for (step, (auc, distinct)) in told.iter().enumerate() {
                observer.advance(step + 1);
                let auc = auc.map_or(f64::NAN, |figure| figure.value);
                observer.metrics(step, &[("sweep/auc_learned", auc), ("sweep/distinct", distinct as f64)]);
            }
            work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        observer.finished("sweep", started.elapsed().as_secs_f64(), false);
        Ok(cells)
    }

    /// Cells that run side by side: one a core, as far as memory goes. A graphics card is busy with one.
    fn at_once(&self, grid: &Grid) -> usize {
        if self.material.compute.is_gpu() {
            return 1;
        }
        let most = grid.settings.iter().filter_map(|settings| settings.features).max().unwrap_or(1);
        // Activations graded and by presence, as they are and with the concepts beside them.
        let each = self.sides.len() * (4 * most + self.known.cols) * size_of::<f32>();
        (MEMORY / each.max(1)).clamp(1, rayon::current_num_threads())
    }

    /// One cell, from disk where it is finished.
    fn cell(&self, settings: &SaeSettings, seed: u64) -> Result<Done, AnalyzeError> {
        let (features, active) = (settings.features.unwrap_or(0), settings.active.unwrap_or(0));
        let name = format!("{}-{features}-{active}-{seed}", settings.mode.name());
        let folder = self.folder.join(name);
        let print = fingerprint("cell", &(&self.print, settings, seed));
        let record = folder.join("cell.json");
        if let Ok(kept) = read_json::<Kept>(&record)
            && kept.print == print
            && let Ok(model) = Model::load(settings.mode, &folder)
        {
            return Ok(self.done(kept, model));
        }
        let started = std::time::Instant::now();
        let mut ignore = |_: sae::Progress| Control::Continue;
        let (model, trained) = match (settings.mode, self.sentences) {
            (SaeMode::Sentences, Some(sentences)) => {
                let config = sentences.config(settings.features, settings.active, seed);
                let learned = sentences.learn(&config, self.material.compute, &mut ignore)?;
                (Model::Sentences(learned.model), learned.report)
            }
            _ => {
                let config = SaeConfig { features, active, seed, ..SaeConfig::default() };
                let (model, trained) = self.material.learn(&config, None, &mut ignore)?;
                (Model::Difference(model), trained)
            }
        };
        let mut kept = self.look(settings, seed, &model, &trained)?;
        kept.cell.seconds = started.elapsed().as_secs_f64();
        kept.print = print;
        std::fs::create_dir_all(&folder).map_err(|source| StoreError::Io {
            action: "create",
            path: folder.clone(),
            source,
        })?;
        // The record last: while it is missing or says something else, the cell counts for nothing.
        remove(&record)?;
        model.save(&folder, &trained)?;
        write_json(&record, &kept)?;
        Ok(self.done(kept, model))
    }

    /// Everything about a model that is measured.
    fn look(
        &self,
        settings: &SaeSettings,
        seed: u64,
        model: &Model,
        trained: &TrainReport,
    ) -> Result<Kept, AnalyzeError> {
        let nothing = Matrix::zeros(self.pairs.pair_id.len(), 0);
        let (models, difference) = match model {
            Model::Sentences(model) => {
                let identity = self.embedder.identity();
                let model_of = |dictionary| DictionaryModel::new(dictionary, &identity);
                let dictionary = self.dictionary.map(model_of).transpose()?;
                (
                    SentenceModels { learned: Some(model.clone()), dictionary, grading: Grading::Total },
                    nothing.clone(),
                )
            }
            Model::Difference(model) => (SentenceModels::default(), model.activations(self.deltas)?),
        };
        let mut firing = models.fire(self.table.clone(), self.embedder, self.context, &mut ())?;
        let entries = match &models.dictionary {
            Some(_) => self.dictionary.map(named_entries).unwrap_or_default(),
            None => Vec::new(),
        };
        let entries = describe::common_entries(&mut firing, models.learned_features(), &entries);
        let setting = Setting {
            pairs: self.pairs,
            sides: self.sides,
            bank: self.bank,
            config: &self.config.describe,
            redundant_above: self.config.principles.redundant_above,
            cancel: &self.context.cancel,
        };
        let found = Found {
            firing: &firing,
            learned: models.learned_features(),
            dictionary: &entries,
            decoder: models.learned.as_ref().map_or(&nothing, |learned| &learned.decoder),
            difference: &difference,
            stability: &trained.stability,
            difference_stability: &trained.stability,
            known: self.known,
            vocabulary: self.vocabulary,
        };
        let described = describe::describe(&setting, &found)?;
        let found = firing.z.cols + difference.cols;
        let learned = models.learned_features() + difference.cols;
        let kept: Vec<usize> = (0..learned).filter(|&feature| described.features[feature].kept).collect();
        let distinct =
            kept.iter().filter(|&&feature| described.features[feature].redundant_with.is_none()).count();
        let score = |columns: usize| -> Option<Vec<f32>> {
            let columns: Vec<usize> = (0..columns).collect();
            let score =
                features_score(&described.activations, &columns, &self.explore, &self.measure).ok()?;
            Some(score.into_iter().map(|value| value as f32).collect())
        };
        let stable: Vec<f64> = trained.stability.iter().copied().filter(|value| value.is_finite()).collect();
        Ok(Kept {
            print: String::new(),
            score: score(found),
            score_known: score(described.activations.cols),
            cell: Cell {
                settings: settings.clone(),
                seed,
                learned,
                kept,
                distinct,
                auc_learned: None,
                auc_learned_and_known: None,
                nmse: trained.nmse,
                active_mean: trained.active_mean,
                dead: trained.dead,
                stability: (!stable.is_empty()).then(|| stable.iter().sum::<f64>() / stable.len() as f64),
                epochs: trained.epochs,
                seconds: 0.0,
            },
        })
    }

    fn done(&self, kept: Kept, model: Model) -> Done {
        let rank = |score: Option<Vec<f32>>| {
            let score: Vec<f64> = score?.into_iter().map(f64::from).collect();
            Ranking::new(&score, self.measure.y())
        };
        let (ranking, ranking_known) = (rank(kept.score), rank(kept.score_known));
        let figure = |ranking: &Option<Ranking>| ranking.as_ref()?.figure(self.measure.clusters());
        let cell = Cell {
            auc_learned: figure(&ranking),
            auc_learned_and_known: figure(&ranking_known),
            ..kept.cell
        };
        Done { cell, model, ranking, ranking_known }
    }

    /// The settings over their seeds, and the one to suggest.
    fn rows(&self, grid: &Grid, cells: &[Done]) -> Result<(Vec<Row>, Option<usize>), SaeError> {
        let clusters = self.measure.clusters();
        let mean = |cells: &[Done], of: fn(&Done) -> Option<&Ranking>| {
            let all: Option<Vec<Ranking>> = cells.iter().map(|done| of(done).cloned()).collect();
            Ranking::mean(&all?)
        };
        let mut rankings = Vec::new();
        let mut rows = Vec::new();
        for (settings, cells) in grid.settings.iter().zip(cells.chunks(grid.seeds)) {
            let spread = |of: &dyn Fn(&Cell) -> f64| Spread::of(cells.iter().map(|done| of(&done.cell)));
            let ranking = mean(cells, |done| done.ranking.as_ref());
            let known = mean(cells, |done| done.ranking_known.as_ref());
            let auc = |cell: &Cell| cell.auc_learned.map_or(f64::NAN, |figure| figure.value);
            let stable: Option<Vec<f64>> = cells.iter().map(|done| done.cell.stability).collect();
            rows.push(Row {
                settings: settings.clone(),
                seeds: cells.len(),
                kept: spread(&|cell| cell.kept.len() as f64),
                distinct: spread(&|cell| cell.distinct as f64),
                auc_learned: ranking.as_ref().and_then(|ranking| ranking.figure(clusters)),
                auc_learned_sd: if ranking.is_some() { spread(&auc).sd } else { 0.0 },
                behind: None,
                auc_learned_and_known: known.and_then(|ranking| ranking.figure(clusters)),
                nmse: spread(&|cell| cell.nmse),
                active_mean: spread(&|cell| cell.active_mean),
                dead: spread(&|cell| cell.dead as f64),
                stability: stable.map(|values| Spread::of(values.into_iter())),
                recurrence: self.recurrence(cells)?,
                seconds: spread(&|cell| cell.seconds),
            });
            rankings.push(ranking);
        }
        let best = rankings.iter().flatten().max_by(|a, b| a.value.total_cmp(&b.value)).cloned();
        let Some(best) = best else { return Ok((rows, None)) };
        for (row, ranking) in rows.iter_mut().zip(&rankings) {
            row.behind = ranking.as_ref().and_then(|ranking| ranking.minus(&best, clusters));
        }
        let near = |row: &Row| row.behind.is_some_and(|behind| behind.high >= 0.0);
        let suggested = (0..rows.len()).filter(|&at| near(&rows[at])).max_by(|&a, &b| {
            let size = |at: usize| rows[at].settings.features.unwrap_or(0);
            rows[a]
                .distinct
                .mean
                .total_cmp(&rows[b].distinct.mean)
                .then(size(b).cmp(&size(a)))
                .then(b.cmp(&a))
        });
        Ok((rows, suggested))
    }

    /// How well the kept features of each seed come back with each other seed, on average.
    fn recurrence(&self, cells: &[Done]) -> Result<Option<f64>, SaeError> {
        let mut found = Vec::new();
        for (at, done) in cells.iter().enumerate() {
            for (other, their) in cells.iter().enumerate() {
                if at != other && !done.cell.kept.is_empty() {
                    let all = match (&done.model, &their.model) {
                        (Model::Difference(model), Model::Difference(their)) => {
                            let one = std::slice::from_ref(their);
                            stability(model, one, self.deltas, self.material.calibrate)?
                        }
                        (Model::Sentences(model), Model::Sentences(their)) => match self.sentences {
                            Some(sentences) => {
                                sentence_stability(model, std::slice::from_ref(their), &sentences.measured())?
                            }
                            None => continue,
                        },
                        _ => continue,
                    };
                    found.extend(done.cell.kept.iter().filter_map(|&feature| all.get(feature).copied()));
                }
            }
        }
        Ok((!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64))
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::Io { action: "remove", path: path.into(), source })
        }
        _ => Ok(()),
    }
}

/// A line for every cell.
fn csv(sweep: &Sweep) -> String {
    let mut out = String::from(
        "mode,features,active,seed,learned,kept,distinct,auc_learned,auc_learned_low,auc_learned_high,\
         auc_learned_and_known,nmse,active_mean,dead,stability,epochs,seconds\n",
    );
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.6}"));
    for cell in &sweep.cells {
        let auc = cell.auc_learned;
        let line = [
            cell.settings.mode.name().to_owned(),
            cell.settings.features.unwrap_or(0).to_string(),
            cell.settings.active.unwrap_or(0).to_string(),
            cell.seed.to_string(),
            cell.learned.to_string(),
            cell.kept.len().to_string(),
            cell.distinct.to_string(),
            number(auc.map(|figure| figure.value)),
            number(auc.map(|figure| figure.low)),
            number(auc.map(|figure| figure.high)),
            number(cell.auc_learned_and_known.map(|figure| figure.value)),
            number(Some(cell.nmse)),
            number(Some(cell.active_mean)),
            cell.dead.to_string(),
            number(cell.stability),
            cell.epochs.to_string(),
            format!("{:.2}", cell.seconds),
        ];
        out.push_str(&line.join(","));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_every_combination_that_can_be() {
        let grid = Grid::parse("mode=sentences,difference features=8,16 active=4,12 seeds=2").unwrap();
        assert_eq!((grid.settings.len(), grid.seeds, grid.impossible), (6, 2, 2));
        let usual = Grid::parse("").unwrap();
        let modes: Vec<_> = usual.settings.iter().map(|s| (s.mode, s.features, s.active)).collect();
        assert_eq!(modes, [(SaeMode::Sentences, None, None), (SaeMode::Difference, None, None)]);
        let sizes = Grid::parse("features=16,64").unwrap().settings;
        let of = |features| SaeSettings { features: Some(features), ..SaeSettings::default() };
        assert_eq!(sizes, [of(16), of(64)], "as analyze");
        assert_eq!(Grid::parse("features=16,16").unwrap().settings.len(), 1);
        let resolved = resolved(&Grid::parse("mode=difference features=16,32 active=4").unwrap(), None);
        assert_eq!(
            resolved.settings.iter().map(SaeSettings::difference).collect::<Vec<_>>(),
            [(16, 4), (32, 4)]
        );
    }

    #[test]
    fn a_grid_that_cannot_be_says_why() {
        for (text, part) in [
            ("feature=3", "did you mean `features`"),
            ("32", "no list"),
            ("features=3,x", "`features=x`"),
            ("features=0", "from 1 to 4096"),
            ("mode=paper", "sentences and difference"),
            ("features=8 features=9", "twice"),
            ("features=8 active=9", "K cannot exceed M"),
            ("seeds=0", "from 1"),
            ("seeds=1,2", "one number"),
            ("features=1,2,3,4,5,6 seeds=100", "too many"),
        ] {
            let message = Grid::parse(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
