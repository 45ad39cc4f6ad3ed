//! A finished run, for the commands that build on one: what stands in its directory, and the dataset
//! it was made from, read again with the run's own settings.

use std::path::{Path, PathBuf};

use crate::config::{Config, Precision};
use crate::constitution::{Findings, themes::Theme};
use crate::context::{Context, Observer, Stopped};
use crate::dataset;
use crate::describe::known::{ConceptBank, ConceptBankError};
use crate::describe::sentence_features::{
    DictionaryModel, SentenceError, SentenceModels, bundled_dictionary,
};
use crate::describe::{Described, Feature, FeatureSource};
use crate::effects::table::EffectTable;
use crate::embed::{self, BundledEmbedder, EmbedError, Embedder, Embedding, Hardware, Recipe, Spec};
use crate::hub::HubError;
use crate::matrix::Matrix;
use crate::pairs::{self, Layout, Pairs, PairsError, ReadOptions, Split};
use crate::sae::{self, DeviceChoice, Sae, SaeCard, SaeError, SentenceSae};
use crate::store::output::{self, Kind, Output, OutputError};
use crate::store::{Manifest, StoreError, read_json, read_matrix, read_matrix_rows};
use crate::suggest::nearest;

/// Why a finished run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing there that `analyze` left.
    #[error(
        "`{0}` is no run directory: it has no `run.json`\nhint: `wimhf analyze DATA --out {0}` makes one"
    )]
    NotARun(PathBuf),
    /// A stage is missing.
    #[error(
        "the run in `{path}` is not finished: stage `{stage}` is missing\nhint: `wimhf analyze {data} --out {path}` goes on where it stopped"
    )]
    Unfinished {
        /// The run directory.
        path: PathBuf,
        /// The first stage that is missing.
        stage: &'static str,
        /// The dataset of the run.
        data: String,
    },
    /// The dataset is not what it was.
    #[error(
        "the dataset `{data}` of the run in `{path}` has changed since\nhint: `wimhf analyze {data} --out {path} --force` makes the run anew"
    )]
    Changed {
        /// The run directory.
        path: PathBuf,
        /// The dataset of the run.
        data: String,
    },
    /// The bank of concepts is not what it was.
    #[error(
        "the bank of concepts has changed since the run in `{path}` was made, so its features cannot be measured in other pairs\nhint: `wimhf analyze {data} --out {path}` brings the run up to date"
    )]
    OtherConcepts {
        /// The run directory.
        path: PathBuf,
        /// The dataset of the run.
        data: String,
    },
    /// The dictionary is not what it was.
    #[error(
        "the dictionary of sentence features has changed since the run in `{path}` was made, so its features cannot be measured in other pairs\nhint: `wimhf analyze {data} --out {path}` brings the run up to date"
    )]
    OtherDictionary {
        /// The run directory.
        path: PathBuf,
        /// The dataset of the run.
        data: String,
    },
    /// The embedder is not what it was.
    #[error(
        "the embedder `{embedder}` of the run in `{path}` has changed since\nhint: `wimhf analyze` makes a run with the new one"
    )]
    OtherEmbedder {
        /// The run directory.
        path: PathBuf,
        /// The embedder of the run.
        embedder: String,
    },
    /// A name that no feature has.
    #[error("the run has no feature or principle `{name}`\nhint: {hint}")]
    NoFeature {
        /// What was asked for.
        name: String,
        /// The nearest names.
        hint: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Run(#[from] StoreError),
    /// Something must not be written over.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The dataset cannot be read.
    #[error(transparent)]
    Pairs(#[from] pairs::PairsError),
    /// The dataset or the embedder cannot be fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The embedder cannot be used.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The concepts cannot be read.
    #[error(transparent)]
    ConceptBank(#[from] ConceptBankError),
    /// The autoencoder cannot be used.
    #[error(transparent)]
    Sae(#[from] SaeError),
    /// The features of sentences cannot be used.
    #[error(transparent)]
    Sentences(#[from] SentenceError),
    /// Somebody asked to stop.
    #[error("stopped; nothing was written")]
    Stopped,
}

impl From<Stopped> for RunError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl RunError {
    /// Whether somebody asked to stop.
    pub fn is_stop(&self) -> bool {
        match self {
            Self::Hub(error) => error.is_stop(),
            Self::Embed(error) | Self::Sentences(SentenceError::Embed(error)) => error.is_stop(),
            Self::Stopped => true,
            _ => false,
        }
    }

    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        match self {
            Self::Run(error) => error.is_users(),
            Self::Embed(error) => error.is_users(),
            Self::Sae(error) | Self::Sentences(SentenceError::Sae(error)) => error.is_users(),
            Self::Sentences(SentenceError::Embed(error)) => error.is_users(),
            _ => true,
        }
    }
}

/// A finished run, without its large tables.
#[derive(Debug, Clone)]
pub struct Run {
    /// What calls bring along from outside.
    pub context: Context,
    /// The run directory.
    pub path: PathBuf,
    /// `run.json`.
    pub manifest: Manifest,
    /// Every feature, themes included, in the order of the columns of [`Self::activations`].
    pub features: Vec<Feature>,
    /// Themes, the last of [`Self::features`].
    pub themes: Vec<Theme>,
    /// Their effects on held-out labels.
    pub effects: EffectTable,
    /// Principles and what else the labels say.
    pub findings: Findings,
}

/// The dataset of a run.
#[derive(Debug, Clone)]
pub struct Source {
    /// The pairs as the run saw them, in the rows' order of its tables.
    pub pairs: Pairs,
    /// Their sides, `[pairs]`.
    pub sides: Vec<Split>,
    /// Mean label of each pair, NaN without one, `[pairs]`.
    pub mean_labels: Vec<f32>,
    /// Where the pairs stand in the dataset's files.
    pub layout: Layout,
    /// Rows of these files that were read; the others were beyond the most that are taken.
    pub rows_read: usize,
}

/// The embedder of a run and what of a pair it embeds.
pub struct RunEmbedder {
    context: Context,
    embedder: Box<dyn Embedder>,
    recipe: Recipe,
}

impl RunEmbedder {
    /// Vectors of responses to prompts, `[texts, dimensions]`, made as the run's were.
    ///
    /// # Errors
    /// Where the embedder fails.
    pub fn embed(&self, texts: &[(&str, &str)]) -> Result<Matrix, RunError> {
        let embedder = self.embedder.as_ref();
        let rendered: Vec<_> =
            texts.iter().map(|(prompt, response)| self.recipe.render(prompt, response, embedder)).collect();
        let rendered: Vec<&str> = rendered.iter().map(|text| &**text).collect();
        Ok(embedder.embed(&rendered)?)
    }

    /// The deltas of other pairs, `[pairs, dimensions]`: each text once, through the cache where that pays.
    ///
    /// # Errors
    /// Where the embedder or the cache fails.
    pub fn deltas(&self, pairs: &Pairs, listener: &mut dyn Observer) -> Result<Matrix, RunError> {
        let embedder = self.embedder.as_ref();
        let deltas = Embedding::new(pairs, embedder, &self.recipe, &self.context, listener)
            .and_then(|mut embedding| embedding.deltas(listener));
        Ok(deltas?)
    }
}

const STAGES: [&str; 7] = ["pairs", "sae", "describe", "themes", "effects", "principles", "report"];

impl Run {
    /// Opens a run directory for reading; takes no lock and writes nothing.
    ///
    /// # Errors
    /// Where it is no run, not finished, of another schema, or damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RunError> {
        Self::open_in(path, &Context::default())
    }

    /// The same with keys, folders and a request to stop of the caller's.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_in(path: impl AsRef<Path>, context: &Context) -> Result<Self, RunError> {
        let path = path.as_ref();
        let record = path.join("run.json");
        if !record.exists() {
            return Err(RunError::NotARun(path.into()));
        }
        let manifest = Manifest::read(&record)?;
        if manifest.schema_version != crate::store::SCHEMA_VERSION {
            return Err(StoreError::Schema { path: path.into(), found: manifest.schema_version }.into());
        }
        let done = |name: &str| manifest.stages.iter().any(|stage| stage.name == name);
        if let Some(stage) = STAGES.into_iter().find(|stage| !done(stage)) {
            let data = manifest.dataset.path.clone();
            return Err(RunError::Unfinished { path: path.into(), stage, data });
        }
        let mut features: Vec<Feature> = read_json(&path.join("stages/described.json"))?;
        let themes: Vec<Theme> = read_json(&path.join("stages/themes.json"))?;
        features.extend(themes.iter().enumerate().map(|(index, theme)| theme.feature(index)));
        Ok(Self {
            effects: read_json(&path.join("stages/effects.json"))?,
            findings: read_json(&path.join("principles.json"))?,
            context: context.clone(),
            path: path.into(),
            manifest,
            features,
            themes,
        })
    }

    /// Activations of every feature, `[pairs, features]`.
    ///
    /// # Errors
    /// Where `activations.parquet` cannot be read or does not fit.
    pub fn activations(&self) -> Result<Matrix, RunError> {
        let ids: Vec<String> = self.features.iter().map(|feature| feature.feature_id.clone()).collect();
        let file = self.path.join("activations.parquet");
        Ok(read_matrix(&file, self.manifest.dataset.pairs_unique, &ids)?)
    }

    /// Features and activations together, as the later stages of `analyze` see them.
    ///
    /// # Errors
    /// As for [`Self::activations`].
    pub fn described(&self) -> Result<Described, RunError> {
        Ok(Described {
            activations: self.activations()?,
            presence: self.presence()?,
            features: self.features.clone(),
            flipped: Vec::new(),
            offers: Vec::new(),
        })
    }

    /// The same of some pairs, ascending, without holding all of them in memory.
    pub(crate) fn described_of(&self, rows: &[u32]) -> Result<Described, RunError> {
        let ids: Vec<String> = self.features.iter().map(|feature| feature.feature_id.clone()).collect();
        let read = |name: &str| {
            read_matrix_rows(&self.path.join(name), self.manifest.dataset.pairs_unique, &ids, rows)
        };
        Ok(Described {
            activations: read("activations.parquet")?,
            presence: read("presence.parquet")?,
            features: self.features.clone(),
            flipped: Vec::new(),
            offers: Vec::new(),
        })
    }

    /// What statements rest on, `[pairs, features]`: see [`Described::stated`].
    ///
    /// # Errors
    /// As for [`Self::described`].
    pub fn stated(&self) -> Result<Matrix, RunError> {
        if self.features.iter().any(Feature::is_worded) {
            return Ok(self.described()?.stated().into_owned());
        }
        self.activations()
    }

    /// −1, 0 or +1: present in A minus present in B, `[pairs, features]`.
    ///
    /// # Errors
    /// Where `presence.parquet` cannot be read or does not fit.
    pub fn presence(&self) -> Result<Matrix, RunError> {
        let ids: Vec<String> = self.features.iter().map(|feature| feature.feature_id.clone()).collect();
        let file = self.path.join("presence.parquet");
        Ok(read_matrix(&file, self.manifest.dataset.pairs_unique, &ids)?)
    }

    /// The bank of concepts that described the run.
    ///
    /// # Errors
    /// Where the user's own file of concepts is gone or damaged.
    pub fn bank(&self) -> Result<ConceptBank, RunError> {
        Ok(ConceptBank::of(&self.manifest.config.describe)?)
    }

    /// The autoencoders that read sentences.
    ///
    /// # Errors
    /// Where their files cannot be read.
    pub fn sentence_models(&self) -> Result<SentenceModels, RunError> {
        let any = self.features.iter().any(|feature| feature.source == FeatureSource::Learned);
        let load = || SentenceSae::load(&self.path.join("sentences.safetensors")).map_err(RunError::from);
        let (learned, dictionary) = (any.then(load).transpose()?, self.dictionary()?);
        Ok(SentenceModels { learned, dictionary, grading: self.manifest.grading })
    }

    /// The dictionary with the entries that are features of the run.
    fn dictionary(&self) -> Result<Option<DictionaryModel>, RunError> {
        let Some(version) = &self.manifest.dictionary else { return Ok(None) };
        let own = self.manifest.config.data.embedding_columns.is_some();
        let boxed = if own { BundledEmbedder::load()?.identity() } else { String::new() };
        let identity = if own { &boxed } else { &self.manifest.embedder };
        let dictionary = bundled_dictionary(identity).filter(|found| found.version() == version);
        let Some(dictionary) = dictionary else {
            return Err(RunError::OtherDictionary { path: self.path.clone(), data: self.data().to_owned() });
        };
        let mut model = DictionaryModel::new(&dictionary, identity)?;
        model.only(&dictionary, &entries_of(&self.features));
        Ok(Some(model))
    }

    /// What embeds sentences: the run's embedder, or the boxed one where the user brought vectors.
    ///
    /// # Errors
    /// As for [`Self::embedder`].
    pub fn sentence_embedder(&self, device: DeviceChoice) -> Result<Box<dyn Embedder>, RunError> {
        match self.embedder(device)? {
            Some(own) => Ok(own.embedder),
            None => Ok(Box::new(BundledEmbedder::load()?)),
        }
    }

    /// The autoencoder over differences.
    ///
    /// # Errors
    /// Where its files cannot be read.
    pub fn autoencoder(&self) -> Result<(Sae, SaeCard), RunError> {
        Ok(Sae::load(&self.path)?)
    }

    /// Where the dataset lies: as the user named it, or where that was then.
    pub fn data(&self) -> &str {
        let record = &self.manifest.dataset;
        let there = Path::new(&record.path).exists() || record.location.is_empty();
        if there { &record.path } else { &record.location }
    }

    /// Every source of the dataset, where it lies now: for what is of the Hub, the commit that the run read.
    pub fn sources(&self) -> Vec<String> {
        let sources = &self.manifest.dataset.sources;
        if sources.is_empty() {
            return vec![self.data().to_owned()];
        }
        let there = |path: &str| Path::new(path).exists();
        sources
            .iter()
            .map(|source| {
                let moved = !source.location.is_empty() && !there(&source.path);
                if moved { source.location.clone() } else { source.path.clone() }
            })
            .collect()
    }

    /// Reads the dataset again, the same way.
    ///
    /// # Errors
    /// Where it is gone or has changed.
    pub fn source(&self) -> Result<Source, RunError> {
        let config = &self.manifest.config;
        let sources = dataset::locate(&self.sources(), &self.context, &mut ())?;
        let mut options = dataset::read_options(config);
        // Runs of earlier versions took all pairs, and their settings do not say so.
        if self.manifest.dataset.pairs_unique > options.max_pairs.saturating_mul(sources.len()) {
            options.max_pairs = 0;
        }
        let (pairs, read) = pairs::read_all(&sources, &options)?;
        let pairs = pairs::canonical(pairs);
        let record = dataset::record(&read, &pairs);
        let same = record.fingerprint == self.manifest.dataset.fingerprint
            && record.pairs_unique == self.manifest.dataset.pairs_unique;
        if !same {
            return Err(RunError::Changed { path: self.path.clone(), data: self.data().to_owned() });
        }
        let (sides, _) = pairs::split(&pairs, config.split.shares, config.seed)?;
        let mean_labels = pairs::mean_labels(&pairs);
        Ok(Source { pairs, sides, mean_labels, layout: read.layout, rows_read: read.pairs_read })
    }

    /// Other pairs, read as the run's were where they have its columns: all of them, and none was used to find anything.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn other_source(&self, data: &str, observer: &mut dyn Observer) -> Result<Source, RunError> {
        let config = &self.manifest.config;
        let sources = dataset::locate(&[data.to_owned()], &self.context, observer)?;
        let of_run = dataset::read_options(config);
        let bare = ReadOptions { max_pairs: 0, seed: config.seed, ..ReadOptions::default() };
        let options = ReadOptions { max_pairs: 0, group_columns: Vec::new(), ..of_run };
        let (pairs, read) = match pairs::read_all(&sources, &options) {
            // Vectors of their own cannot be done without.
            Err(PairsError::NoColumn { flag, .. }) if flag != "--embedding-columns" => pairs::read_all(
                &sources,
                &ReadOptions { embedding_columns: options.embedding_columns, ..bare },
            )?,
            read => read?,
        };
        read.notes.iter().for_each(|note| observer.note(note));
        let pairs = pairs::canonical(pairs);
        let sides = vec![Split::Test; pairs.pair_id.len()];
        let mean_labels = pairs::mean_labels(&pairs);
        Ok(Source { pairs, sides, mean_labels, layout: read.layout, rows_read: read.pairs_read })
    }

    /// The deltas that the autoencoder saw, `[pairs, dimensions]`: the user's own, or the run's.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn deltas(&self, source: &Source) -> Result<Matrix, RunError> {
        match &source.pairs.own_deltas {
            Some(own) => Ok(own.clone()),
            None => Ok(embed::read_deltas(&self.path.join("stages/deltas.safetensors"))?),
        }
    }

    /// The embedder of the run, for other texts; `None` where the user brought vectors.
    ///
    /// # Errors
    /// Where it cannot be loaded, or is not the same any more.
    pub fn embedder(&self, device: DeviceChoice) -> Result<Option<RunEmbedder>, RunError> {
        let config = &self.manifest.config;
        if config.data.embedding_columns.is_some() {
            return Ok(None);
        }
        let mut settings = config.clone();
        // The commit and the path that were used, not what the name means today.
        if !self.manifest.embedding.source.is_empty() {
            settings.embed.embedder.clone_from(&self.manifest.embedding.source);
        }
        let opened = open_embedder(&settings, device, &self.context, &mut ())?;
        let found = opened.embedder.identity();
        // The device only changes the last digits.
        let plain = |identity: &str| identity.trim_end_matches(";cpu").trim_end_matches(";wgpu").to_owned();
        if plain(&found) != plain(&self.manifest.embedder) {
            return Err(RunError::OtherEmbedder {
                path: self.path.clone(),
                embedder: settings.embed.embedder,
            });
        }
        let recipe = Recipe::new(config.embed.what, config.embed.template.as_deref())?;
        Ok(Some(RunEmbedder { context: self.context.clone(), embedder: opened.embedder, recipe }))
    }

    /// Refuses an output that would replace what the run reads, another run's files, or a file of another kind.
    ///
    /// # Errors
    /// [`RunError::Output`].
    pub fn may_write(
        &self,
        path: &Path,
        flag: &'static str,
        kind: Kind,
        force: bool,
    ) -> Result<(), RunError> {
        let inputs = output::inputs(&self.manifest);
        Ok(Output { path, flag, kind, run: Some(&self.path), inputs: &inputs, force }.check()?)
    }

    /// The same for the files that are written into a folder; `read` are further inputs.
    ///
    /// # Errors
    /// [`RunError::Output`].
    pub fn may_write_into(
        &self,
        folder: &Path,
        files: &[&str],
        read: &[PathBuf],
        force: bool,
    ) -> Result<(), RunError> {
        let inputs = [output::inputs(&self.manifest), read.to_vec()].concat();
        Ok(output::check_folder(folder, files, Some(&self.path), &inputs, force)?)
    }

    /// The feature with this id, concept or label ("refuses", "known_refuses", "refusal"), or that of the
    /// principle with this rank ("3"); the index into [`Self::features`].
    ///
    /// # Errors
    /// [`RunError::NoFeature`] with the nearest names.
    pub fn feature(&self, name: &str) -> Result<usize, RunError> {
        let wanted = name.trim().to_lowercase();
        let by_rank = wanted.parse::<usize>().ok().and_then(|rank| {
            let principle = self.findings.principles.iter().find(|principle| principle.rank == rank)?;
            principle.feature_ids.first()
        });
        let matches = |feature: &Feature| {
            by_rank == Some(&feature.feature_id)
                || feature.feature_id == wanted
                || feature.short.to_lowercase() == wanted
                || (feature.source == FeatureSource::Known && feature.concept.as_deref() == Some(&wanted))
        };
        // Known concepts before found features of the same name: they are exact.
        let order = (0..self.features.len()).filter(|&i| self.features[i].source == FeatureSource::Known);
        let rest = (0..self.features.len()).filter(|&i| self.features[i].source != FeatureSource::Known);
        if let Some(found) = order.chain(rest).find(|&i| matches(&self.features[i])) {
            return Ok(found);
        }
        let names = self.features.iter().flat_map(|feature| {
            [Some(feature.feature_id.as_str()), Some(feature.short.as_str()), feature.concept.as_deref()]
        });
        let near = nearest(&wanted, names.flatten().filter(|name| !name.is_empty()));
        Err(RunError::NoFeature {
            name: name.to_owned(),
            hint: match near {
                Some(near) => format!("did you mean `{near}`? `features.parquet` lists all of them"),
                None => "`features.parquet` lists all of them".to_owned(),
            },
        })
    }
}

/// The embedder of the settings; a device is looked for only where one is of use.
pub fn open_embedder(
    config: &Config,
    device: DeviceChoice,
    context: &Context,
    observer: &mut dyn Observer,
) -> Result<embed::Opened, RunError> {
    let hardware = match Spec::parse(&config.embed.embedder)? {
        Spec::Folder(_) | Spec::Hub(_) => {
            // Whoever asks for 8 bits has chosen the CPU.
            let is_int8 = config.embed.precision == Precision::Int8;
            let device = if is_int8 && device == DeviceChoice::Auto { DeviceChoice::Cpu } else { device };
            let compute = sae::choose(device)?;
            if compute.is_gpu() { Hardware::Wgpu(compute.device) } else { Hardware::Cpu }
        }
        _ => Hardware::Cpu,
    };
    Ok(embed::open(&config.embed, hardware, config.seed, context, observer)?)
}

/// Ids of the dictionary's entries among some features.
pub fn entries_of(features: &[Feature]) -> Vec<&str> {
    let entries = features.iter().filter(|feature| feature.source == FeatureSource::Dictionary);
    entries.filter_map(|feature| feature.concept.as_deref()).collect()
}
