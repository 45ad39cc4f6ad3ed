//! `wimhf analyze DATA`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use wimhf::config::{Describer, Precision, SaeMode, SaeSettings, What};
use wimhf::ops::analyze::default_out;
use wimhf::sae::DeviceChoice;
use wimhf::store::Manifest;
use wimhf::store::output::{Kind, Output};
use wimhf::{AnalyzeRequest, Config, Grid};

use super::data::DataArguments;
use super::language::{HEADING as MODELS, LanguageArguments, extend};
use super::{Call, Failure, door, is_finished, print, settings};
use crate::log::Log;
use crate::render::{self, terminal};
use crate::settings_table::flat;

/// Every example; the short help has the first three.
const EXAMPLES: &str = "Examples:
  wimhf analyze dataset.parquet
  wimhf analyze 'shards/*.parquet' --out runs/mine --seed 2
  wimhf analyze helpful.jsonl harmless.jsonl --out runs/both
  wimhf analyze pku.parquet --preference safe
  wimhf analyze hf://datasets/HuggingFaceH4/ultrafeedback_binarized/test_prefs
  wimhf analyze votes.csv --prompt-column question --response-a-column left --response-b-column right --label-column winner
  wimhf analyze vectors.parquet --embedding-columns vec_a,vec_b
  wimhf analyze dataset.parquet --embedder hf://sentence-transformers/all-MiniLM-L6-v2
  wimhf analyze dataset.parquet --embedder openai:text-embedding-3-small --price 0.02
  wimhf analyze dataset.parquet --embedder openai:nomic-embed-text --base-url http://localhost:11434/v1
  wimhf analyze dataset.parquet --sweep='mode=sentences features=64,128 seeds=3'
  wimhf analyze dataset.parquet --describer model --writer gpt-5 --judge gpt-5-mini --dry-run
  wimhf analyze dataset.parquet --describer model --writer qwen3 --base-url http://localhost:8000/v1";

const RESULT: &str = "What comes out";
const HOW: &str = "How it is done";
const SERVER: &str = "A server that embeds";

/// What was typed; `None` leaves the settings file's value.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "Examples:
  wimhf analyze dataset.parquet
  wimhf analyze 'shards/*.parquet' --out runs/mine --seed 2")]
pub struct AnalyzeArguments {
    #[command(flatten)]
    data: DataArguments,
    /// Run directory to write to or to go on with [default: runs/NAME].
    #[arg(long, value_name = "RUN", env = "WIMHF_OUT", hide_env = true, help_heading = RESULT)]
    out: Option<PathBuf>,
    /// Every figure, before the answer.
    #[arg(long, help_heading = RESULT)]
    all: bool,
    /// Say what the words of the answer mean, and do nothing else.
    #[arg(long, help_heading = RESULT)]
    explain_terms: bool,
    /// Redo what other settings change in a finished run, and keep the rest.
    #[arg(long, conflicts_with = "force", help_heading = RESULT)]
    replace: bool,
    /// Redo every stage, whatever run is there.
    #[arg(long, help_heading = RESULT)]
    force: bool,
    /// Also write the embeddings of both responses to this Parquet file.
    #[arg(long, value_name = "FILE", hide_short_help = true, help_heading = RESULT)]
    save_embeddings: Option<PathBuf>,
    /// Append metrics to this file, a JSON object a line: losses by epoch, seconds by stage, the result.
    #[arg(long, value_name = "FILE", env = "WIMHF_LOG", hide_short_help = true, help_heading = RESULT)]
    log: Option<PathBuf>,
    /// Settings file [default: the nearest wimhf.toml].
    ///
    /// The options here go before it; `wimhf config init` writes one with every setting explained.
    #[arg(long, value_name = "FILE", env = "WIMHF_CONFIG", hide_env = true, help_heading = HOW)]
    config: Option<PathBuf>,
    /// No settings file: the defaults and the options here alone.
    #[arg(long, hide_short_help = true, help_heading = HOW)]
    no_config: bool,
    /// The seed that every random choice comes from [default: 0].
    #[arg(long, env = "WIMHF_SEED", hide_env = true, help_heading = HOW)]
    seed: Option<u64>,
    /// What turns texts into vectors [default: boxed].
    ///
    /// `boxed`, a model's FOLDER, `static:FOLDER`, `hf://OWNER/NAME[@REV]` or `openai:MODEL`.
    #[arg(long, value_name = "EMBEDDER", env = "WIMHF_EMBEDDER", hide_env = true, help_heading = HOW)]
    embedder: Option<String>,
    /// Concepts of your own (TOML), beside those in the program.
    #[arg(long, value_name = "FILE", env = "WIMHF_CONCEPTS", hide_env = true, help_heading = HOW)]
    concepts: Option<PathBuf>,
    /// Number of learned features, M [default: what suits the number of sentences; 32 with `--sae-mode difference`].
    #[arg(long, value_name = "M", env = "WIMHF_FEATURES", hide_short_help = true, help_heading = HOW)]
    features: Option<usize>,
    /// Features active on average in a sentence, or in a pair with `--sae-mode difference`, K [default: 3; an
    /// eighth of M with `--sae-mode difference`].
    #[arg(long, value_name = "K", env = "WIMHF_ACTIVE", hide_short_help = true, help_heading = HOW)]
    active: Option<usize>,
    /// Compare settings over several seeds instead of analysing.
    ///
    /// With the same vectors and without a look at the held-out pairs: every combination of lists such as
    /// `mode=sentences,difference features=32,64 active=4,8 seeds=3` [without lists: every mode with its usual
    /// sizes, 3 seeds].
    #[arg(
        long,
        value_name = "LISTS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_parser = Grid::parse,
        conflicts_with_all = ["sae_mode", "features", "active", "dry_run"],
        help_heading = HOW
    )]
    sweep: Option<Grid>,
    /// Where the autoencoder runs: auto (a GPU if there is one), gpu, cpu.
    #[arg(
        long,
        value_enum,
        value_name = "WHERE",
        hide_possible_values = true,
        hide_default_value = true,
        default_value_t = DeviceArgument::Auto,
        env = "WIMHF_DEVICE",
        hide_env = true,
        help_heading = HOW
    )]
    device: DeviceArgument,
    /// What the learned features read: the `sentences` of the responses (and beside them the differences, with the
    /// paper's sizes), or the `difference` of whole responses alone, as in the paper [default: sentences].
    #[arg(long, value_enum, value_name = "MODE", env = "WIMHF_SAE_MODE", hide_short_help = true, help_heading = HOW)]
    sae_mode: Option<SaeModeArgument>,
    /// Shares of train, describe and held-out pairs [default: 0.35,0.2,0.45].
    #[arg(long, value_name = "T,D,H", value_parser = numbers::<3>, env = "WIMHF_SPLIT", hide_short_help = true, help_heading = HOW)]
    split: Option<[f64; 3]>,
    /// Columns whose equal values stay on one side of the split, besides the prompt.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', hide_short_help = true, help_heading = HOW)]
    split_columns: Option<Vec<String>>,
    /// Column of the dataset whose values are kinds of request, too ("Where it holds"); may be given several times.
    #[arg(long = "context", value_name = "COLUMN", hide_short_help = true, help_heading = HOW)]
    contexts: Vec<String>,
    /// What of a pair is embedded [default: response].
    #[arg(long, value_enum, value_name = "WHAT", env = "WIMHF_EMBED", hide_short_help = true, help_heading = HOW)]
    embed: Option<WhatArgument>,
    /// A template of your own, with {prompt} and {response}, instead.
    #[arg(long, value_name = "TEXT", hide_short_help = true, help_heading = HOW)]
    template: Option<String>,
    /// Cut texts to so many tokens before they are embedded [default: what the model reads].
    #[arg(long, value_name = "N", hide_short_help = true, help_heading = HOW)]
    max_tokens: Option<usize>,
    /// How a transformer on this machine computes: `int8` is about three times as fast on a CPU with AVX-512 [default: f32].
    #[arg(long, value_enum, value_name = "PRECISION", env = "WIMHF_EMBEDDER_PRECISION", hide_short_help = true, help_heading = HOW)]
    embedder_precision: Option<PrecisionArgument>,
    /// Length of the vectors to ask the server for.
    #[arg(long, value_name = "N", hide_short_help = true, help_heading = SERVER)]
    dimensions: Option<usize>,
    /// Most requests to the server at once [default: 8].
    #[arg(long, value_name = "N", env = "WIMHF_CONCURRENCY", hide_short_help = true, help_heading = SERVER)]
    concurrency: Option<usize>,
    /// Dollars per million tokens, to say what the embeddings cost.
    #[arg(long, value_name = "DOLLARS", hide_short_help = true, help_heading = SERVER)]
    price: Option<f64>,
    /// Who puts features into words: offline (nobody is asked), or model.
    #[arg(
        long,
        value_enum,
        value_name = "WHO",
        hide_possible_values = true,
        env = "WIMHF_DESCRIBER",
        hide_env = true,
        help_heading = MODELS
    )]
    describer: Option<DescriberArgument>,
    /// The model that writes descriptions.
    #[arg(long, value_name = "MODEL", env = "WIMHF_WRITER", hide_env = true, help_heading = MODELS)]
    writer: Option<String>,
    /// The writer's server, where it is another one; its key is WIMHF_WRITER_API_KEY.
    #[arg(long, value_name = "URL", hide_short_help = true, help_heading = MODELS)]
    writer_base_url: Option<String>,
    /// As `--param`, for the writer only.
    #[arg(
        long = "writer-param",
        value_name = "NAME=JSON",
        value_parser = super::language::parameter,
        hide_short_help = true,
        help_heading = MODELS
    )]
    writer_params: Vec<(String, serde_json::Value)>,
    /// Their OpenAI-compatible server [default: OPENAI_BASE_URL, or OpenAI's].
    ///
    /// Also that of `--embedder openai:MODEL`; the key is taken from OPENAI_API_KEY.
    #[arg(long, value_name = "URL", help_heading = MODELS)]
    base_url: Option<String>,
    #[command(flatten)]
    language: LanguageArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SaeModeArgument {
    Sentences,
    #[value(alias = "reconstruction")]
    Difference,
}

/// What was typed over what the settings file says; sizes of another mode do not carry over.
fn sae_settings(
    file: &SaeSettings,
    mode: Option<SaeModeArgument>,
    features: Option<usize>,
    active: Option<usize>,
) -> SaeSettings {
    let mode = mode.map_or(file.mode, |mode| match mode {
        SaeModeArgument::Sentences => SaeMode::Sentences,
        SaeModeArgument::Difference => SaeMode::Difference,
    });
    let file = if mode == file.mode { file.clone() } else { SaeSettings::default() };
    SaeSettings { mode, features: features.or(file.features), active: active.or(file.active) }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DescriberArgument {
    /// Detectors and words; nothing leaves the machine.
    Offline,
    /// A writer and a judge.
    Model,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum WhatArgument {
    /// The response alone, as in the paper.
    Response,
    /// The prompt and the response.
    PromptResponse,
    /// Both, under an instruction, for embedders that follow one.
    Instructed,
}

impl From<WhatArgument> for What {
    fn from(what: WhatArgument) -> Self {
        match what {
            WhatArgument::Response => Self::Response,
            WhatArgument::PromptResponse => Self::PromptResponse,
            WhatArgument::Instructed => Self::Instructed,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum PrecisionArgument {
    /// As the model was published.
    F32,
    /// The layers' products in whole numbers of 8 bits, on the CPU.
    Int8,
}

impl From<PrecisionArgument> for Precision {
    fn from(typed: PrecisionArgument) -> Self {
        match typed {
            PrecisionArgument::F32 => Self::F32,
            PrecisionArgument::Int8 => Self::Int8,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum DeviceArgument {
    Auto,
    Gpu,
    Cpu,
}

impl From<DeviceArgument> for DeviceChoice {
    fn from(typed: DeviceArgument) -> Self {
        match typed {
            DeviceArgument::Auto => Self::Auto,
            DeviceArgument::Gpu => Self::Gpu,
            DeviceArgument::Cpu => Self::Cpu,
        }
    }
}

impl AnalyzeArguments {
    /// What was typed, over the settings file, over the defaults.
    fn request(self, call: &Call) -> Result<AnalyzeRequest, Failure> {
        let context = &call.context;
        let mut config = settings(self.config.as_deref(), self.no_config, call)?;
        fn set<T>(target: &mut T, typed: Option<T>) {
            if let Some(value) = typed {
                *target = value;
            }
        }
        set(&mut config.seed, self.seed);
        config.sae = sae_settings(&config.sae, self.sae_mode, self.features, self.active);
        set(&mut config.split.columns, self.split_columns);
        set(&mut config.contexts.columns, Some(self.contexts).filter(|columns| !columns.is_empty()));
        set(&mut config.split.shares, self.split);
        let data = self.data.over(&mut config);
        let embed = &mut config.embed;
        set(&mut embed.embedder, self.embedder);
        set(&mut embed.what, self.embed.map(What::from));
        set(&mut embed.template, self.template.map(Some));
        set(&mut embed.max_tokens, self.max_tokens.map(Some));
        set(&mut embed.precision, self.embedder_precision.map(Precision::from));
        set(&mut embed.base_url, self.base_url.map(Some));
        set(&mut embed.dimensions, self.dimensions.map(Some));
        set(&mut embed.concurrency, self.concurrency);
        set(&mut embed.price, self.price.map(Some));
        set(&mut config.describe.concepts, self.concepts.map(Some));
        let describe = &mut config.describe;
        let describer = self.describer.map(|who| match who {
            DescriberArgument::Offline => Describer::Offline,
            DescriberArgument::Model => Describer::Model,
        });
        set(&mut describe.describer, describer);
        set(&mut describe.language.writer, self.writer.map(Some));
        set(&mut describe.language.writer_base_url, self.writer_base_url.map(Some));
        extend(&mut describe.language.writer_params, &self.writer_params);
        let address = config.embed.base_url.clone();
        let model = self.language.over(&mut describe.language, address.as_deref(), self.concurrency, context);
        if self.language.dry_run && config.describe.describer == Describer::Offline {
            return Err(Failure::mistake(
                "`--dry-run` has nothing to count: no language model is asked\nhint: `--describer model --writer MODEL` asks one",
            ));
        }
        let is_free = self.force || self.replace || self.sweep.is_some();
        let out = match self.out {
            Some(out) if is_free => out,
            Some(out) => spared(out, &config)?,
            None if is_free => default_out(&data),
            None => own_out(&data, &config, call),
        };
        Ok(AnalyzeRequest {
            spending: model.options,
            data,
            out,
            config,
            device: self.device.into(),
            save_embeddings: self.save_embeddings,
            force: self.force,
        })
    }
}

/// `COUNT` numbers with commas between them.
fn numbers<const COUNT: usize>(text: &str) -> Result<[f64; COUNT], String> {
    let parts: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse::<f64>()).collect();
    parts
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| format!("{COUNT} numbers with commas between them are needed, such as 0.35,0.2,0.45"))
}

/// Settings that change no result: how a server is talked to. `base_url` is recorded as the address that was really asked,
/// none where nobody was.
const NO_MATTER: [&str; 6] = [
    "embed.base_url",
    "embed.batch_texts",
    "embed.batch_tokens",
    "embed.concurrency",
    "embed.price",
    "embed.timeout_seconds",
];

/// What a finished run at this place was made with otherwise; `None` where there is none.
fn other_settings(out: &Path, config: &Config) -> Option<Vec<String>> {
    let record = out.join("run.json");
    let manifest = Manifest::is_one(&record).then(|| Manifest::read(&record).ok()).flatten()?;
    if !is_finished(&manifest) {
        return None;
    }
    let value = |config: &Config| flat(&serde_json::to_value(config).unwrap_or_default());
    let (there, asked) = (value(&manifest.config), value(config));
    // Where no language model is asked, what is said about them changes nothing.
    let is_offline =
        [&manifest.config, config].iter().all(|one| one.describe.describer == Describer::Offline);
    let is_idle =
        |name: &str| NO_MATTER.contains(&name) || (is_offline && name.starts_with("describe.language."));
    let changed =
        asked.iter().filter(|(name, value)| !is_idle(name.as_str()) && there.get(*name) != Some(value));
    let shown = |value: Option<&serde_json::Value>| match value {
        Some(value) if !value.is_null() => value.to_string(),
        _ => "not set".to_owned(),
    };
    Some(
        changed
            .map(|(name, value)| {
                format!("`{name}` {} there, {} now", shown(there.get(name)), shown(Some(value)))
            })
            .collect(),
    )
}

/// The folder that was named, unless a finished run of other settings would be lost in it.
fn spared(out: PathBuf, config: &Config) -> Result<PathBuf, Failure> {
    match other_settings(&out, config) {
        Some(changed) if !changed.is_empty() => Err(Failure::mistake(format!(
            "`{}` holds a finished run with other settings: {}\nhint: name another folder with `--out`, or let what they \
             change be redone there with `--replace`",
            out.display(),
            changed.join("; ")
        ))),
        _ => Ok(out),
    }
}

/// The run's usual name, or the first numbered one that holds no finished run of other settings.
fn own_out(data: &[String], config: &Config, call: &Call) -> PathBuf {
    let usual = default_out(data);
    let is_free = |out: &Path| other_settings(out, config).is_none_or(|changed| changed.is_empty());
    if is_free(&usual) {
        return usual;
    }
    let numbered = |number: u32| {
        let mut name = usual.clone().into_os_string();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    };
    let own = (2..).map(numbered).find(|out| is_free(out)).unwrap_or(usual.clone());
    call.note(&format!(
        "`{}` holds a run with other settings and is kept; this one is `{}`",
        usual.display(),
        own.display()
    ));
    own
}

/// Runs the subcommand.
pub fn run(arguments: AnalyzeArguments, call: &Call) -> Result<(), Failure> {
    if arguments.explain_terms {
        return call.answer(&terminal::terms_value(), |_| terminal::terms());
    }
    let path = arguments.log.clone();
    let unwritable = |error: std::io::Error| {
        let file = path.as_deref().unwrap_or(Path::new("")).display();
        let (said, hint) = (wimhf::limits::said(&error), wimhf::limits::hint(&error));
        Failure::mistake(format!("cannot write the metrics to `{file}`: {said}{hint}"))
    };
    let inputs: Vec<PathBuf> = arguments.data.inputs().iter().map(PathBuf::from).collect();
    let written = [
        (&arguments.log, "--log", Kind::Metrics),
        (&arguments.save_embeddings, "--save-embeddings", Kind::Parquet),
    ];
    for (path, flag, kind) in written {
        if let Some(path) = path {
            let run = arguments.out.as_deref();
            door(&Output { path, flag, kind, run, inputs: &inputs, force: false })?;
        }
    }
    let mut observer = Log::new(call.progress(), path.as_deref()).map_err(&unwritable)?;
    let (dry_run, all) = (arguments.language.dry_run, arguments.all);
    let grid = arguments.sweep.clone();
    let request = arguments.request(call)?;
    if dry_run {
        let costs = wimhf::forecast(&request, &mut observer)?;
        return call.answer(&costs, |_| render::bill::render("describing with language models", &costs));
    }
    if let Some(grid) = grid {
        let found = wimhf::sweep(&request, &grid, &mut observer)?;
        let run = request.out.display().to_string();
        return call.answer(&found, |colour| render::sweep::render(&found, &run, colour));
    }
    let analysis = wimhf::analyze(&request, &mut observer)?;
    observer.close(&analysis.manifest).map_err(&unwritable)?;
    if call.json {
        return call.value(&render::analysis_value(&analysis));
    }
    print(&terminal::render(&analysis, terminal::View { colour: call.colour(), all, taken: 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_what_is_said() {
        use SaeModeArgument::{Difference, Sentences};
        let usual = SaeSettings::default();
        assert_eq!((usual.mode, usual.difference()), (SaeMode::Sentences, (32, 4)), "the paper's beside it");
        let paper = sae_settings(&usual, Some(Difference), None, None);
        assert_eq!((paper.mode, paper.difference()), (SaeMode::Difference, (32, 4)));
        let of = |m, k| sae_settings(&usual, Some(Difference), m, k).difference();
        assert_eq!(of(Some(64), None), (64, 8));
        assert_eq!(of(Some(3), None), (3, 1));
        assert_eq!(of(None, Some(5)), (32, 5));
        let larger = sae_settings(&usual, None, Some(256), None);
        assert_eq!((larger.features, larger.active, larger.difference()), (Some(256), None, (32, 4)));
        // What the settings file names stands, but not for another mode.
        let read: wimhf::Config = toml::from_str("[sae]\nmode = \"reconstruction\"\nactive = 5").unwrap();
        assert_eq!(sae_settings(&read.sae, None, Some(16), None).difference(), (16, 5));
        assert_eq!(sae_settings(&read.sae, Some(Sentences), None, None), usual);
    }

    #[test]
    fn the_default_run_directory_is_named_after_the_data() {
        for (data, expected) in [
            (&["data/sample.parquet"][..], "runs/sample"),
            (&["/x/shards/"], "runs/shards"),
            (&["shards/part-*.parquet"], "runs/part"),
            (&["*"], "runs/data"),
            (&[".."], "runs/data"),
            (&["a/v1.2.csv.gz", "b.json"], "runs/v1.2-and-1-more"),
            (&["hf://datasets/owner/name@0123abc/test"], "runs/owner--name--test"),
        ] {
            let data: Vec<String> = data.iter().map(|path| (*path).to_owned()).collect();
            assert_eq!(default_out(&data), PathBuf::from(expected), "{data:?}");
        }
    }
}
