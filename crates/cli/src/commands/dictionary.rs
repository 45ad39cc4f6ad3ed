//! `wimhf dictionary`: what features of sentences there are, what they find in a text, and how to make one's own.

use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use wimhf::context::Relay;
use wimhf::dictionary::{self, Dictionary, DictionaryError, Entry, ExportSettings, Naming, Split};
use wimhf::embed::Embedder;
use wimhf::pairs::{self, Pairs, ReadReport};
use wimhf::sae::{self, Control};
use wimhf::{Config, Context, Observer, dataset, run, sentences, store};

use super::analyze::DeviceArgument;
use super::data::DataArguments;
use super::{Call, Failure, print};
use crate::progress::{Progress, Talk};

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf dictionary list
  wimhf dictionary search apologises
  wimhf dictionary explain d017
  echo \"I'm sorry, I don't know.\" | wimhf dictionary read -
  wimhf dictionary train dataset.parquet --out mine
  wimhf dictionary export-sentences mine dataset.parquet > sentences.jsonl
  wimhf dictionary name mine --names names.jsonl")]
pub struct DictionaryArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The entries that may make a statement.
    List {
        #[command(flatten)]
        which: Which,
        /// Entries without a name, or with one that was not checked or is not true enough, too.
        #[arg(long)]
        all: bool,
    },
    /// Entries whose name, definition or examples hold these words.
    Search {
        /// What to look for.
        #[arg(required = true)]
        words: Vec<String>,
        #[command(flatten)]
        which: Which,
    },
    /// All that is known of an entry.
    Explain {
        /// Its id, such as `d017`.
        id: String,
        #[command(flatten)]
        which: Which,
    },
    /// Take a text apart and say which entries are clear in each of its sentences.
    Read {
        /// The text; `-` reads it from standard input.
        text: String,
        #[command(flatten)]
        which: Which,
    },
    /// Learn a dictionary from the responses of your data; no label is looked at.
    Train(Box<TrainArguments>),
    /// For each entry, sentences in which it is clear and in which it is silent, as JSON lines: to name it by, or to
    /// check its name.
    ExportSentences(Box<ExportArguments>),
    /// Put names, definitions, and what readers said of them, into a dictionary.
    Name {
        /// The dictionary's folder.
        folder: PathBuf,
        /// JSON lines with `id` and any of `name`, `definition`, `examples`, `kind` (act, topic, style, format),
        /// `clear_level`, `truth` (`firing_true`, `firing_n`, `silent_true`, `silent_n`).
        #[arg(long, value_name = "FILE")]
        names: PathBuf,
    },
}

/// Which dictionary.
#[derive(Debug, Args)]
struct Which {
    /// The dictionary's folder.
    #[arg(long, value_name = "FOLDER", env = "WIMHF_DICTIONARY")]
    dictionary: PathBuf,
}

#[derive(Debug, Args)]
struct TrainArguments {
    #[command(flatten)]
    data: DataArguments,
    /// Folder for the dictionary.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Features to learn, M [default: by the number of sentences].
    #[arg(long, value_name = "M")]
    features: Option<usize>,
    /// Features active in a sentence on average, K [default: 3, or 4 above 256 features].
    #[arg(long, value_name = "K")]
    active: Option<usize>,
    /// Share of the prompts to hold back: their sentences are fresh when names are checked.
    #[arg(long, value_name = "SHARE", default_value_t = 0.15, value_parser = share)]
    held_back: f64,
    /// Different sentences to train on at most.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    sentences_max: usize,
    /// Replace a dictionary in the same folder.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    embedder: EmbedderArguments,
}

#[derive(Debug, Args)]
struct EmbedderArguments {
    /// What turns sentences into vectors, as in `wimhf analyze` [default: boxed].
    #[arg(long, value_name = "EMBEDDER", env = "WIMHF_EMBEDDER")]
    embedder: Option<String>,
    /// The seed that every random choice comes from [default: 0].
    #[arg(long, env = "WIMHF_SEED")]
    seed: Option<u64>,
    /// Where the work is done; `auto` takes a GPU if there is one.
    #[arg(long, value_enum, default_value_t = DeviceArgument::Auto, env = "WIMHF_DEVICE")]
    device: DeviceArgument,
}

#[derive(Debug, Args)]
struct ExportArguments {
    /// The dictionary's folder.
    #[arg(value_name = "FOLDER")]
    dictionary: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// Sentences per entry in which it is clear, spread over their strengths.
    #[arg(long, value_name = "N", default_value_t = 14)]
    clear: usize,
    /// Sentences per entry in which it is silent.
    #[arg(long, value_name = "N", default_value_t = 10)]
    silent: usize,
    /// From responses to prompts that training did not see, to check names with.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    embedder: EmbedderArguments,
}

/// A share of less than one.
fn share(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| (0.0..=0.9).contains(value));
    value.ok_or_else(|| "a share between 0 and 0.9 is needed".into())
}

/// Runs the subcommand.
pub fn run(arguments: DictionaryArguments, call: &Call) -> Result<(), Failure> {
    match arguments.what {
        What::List { which, all } => list(&which.open()?, all, call),
        What::Search { words, which } => {
            let dictionary = which.open()?;
            let found = dictionary.search(&words);
            let found: Vec<&Entry> = found.iter().filter_map(|&at| dictionary.entries.get(at)).collect();
            let lines: String = found.iter().copied().map(line).collect();
            let none = "no entry holds these words; `wimhf dictionary list` shows all\n";
            call.answer(&found, |_| if lines.is_empty() { none.to_owned() } else { lines })
        }
        What::Explain { id, which } => {
            let dictionary = which.open()?;
            let at = dictionary.find(&id).map_err(failure)?;
            let entry = dictionary.entries.get(at);
            call.answer(&entry, |_| entry.map(explained).unwrap_or_default())
        }
        What::Read { text, which } => read(&which.open()?, &text, call),
        What::Train(arguments) => train(*arguments, call),
        What::ExportSentences(arguments) => export(*arguments, call),
        What::Name { folder, names } => {
            let dictionary = Dictionary::load(&folder).map_err(failure)?;
            let text = wimhf::limits::read_to_string(&names)
                .map_err(|source| failure(DictionaryError::Unreadable { path: names.clone(), source }))?;
            let named = Naming::parse(&text, &names)
                .and_then(|namings| dictionary.named(&namings, &names))
                .and_then(|named| named.save_entries(&folder).map(|()| named))
                .map_err(failure)?;
            call.answer(&summary_value(&named), |_| summary(&named))
        }
    }
}

impl Which {
    fn open(&self) -> Result<Dictionary, Failure> {
        Dictionary::load(&self.dictionary).map_err(failure)
    }
}

fn failure(error: DictionaryError) -> Failure {
    let code = match (error.is_stop(), error.is_users()) {
        (true, _) => 130,
        (_, true) => 2,
        _ => 1,
    };
    Failure::new(code, &error.into())
}

fn summary(dictionary: &Dictionary) -> String {
    let named = dictionary.entries.iter().filter(|entry| entry.name.is_some()).count();
    let speak = dictionary.entries.iter().filter(|entry| entry.speaks()).count();
    format!(
        "dictionary {}: {} entries, {named} with a name, {speak} of them true enough to make a statement\n",
        dictionary.version(),
        dictionary.entries.len()
    )
}

/// The same for programs.
fn summary_value(dictionary: &Dictionary) -> Value {
    let count = |of: &dyn Fn(&Entry) -> bool| dictionary.entries.iter().filter(|entry| of(entry)).count();
    json!({
        "version": dictionary.version(),
        "entries": dictionary.entries.len(),
        "named": count(&|entry| entry.name.is_some()),
        "speak": count(&Entry::speaks),
    })
}

fn list(dictionary: &Dictionary, all: bool, call: &Call) -> Result<(), Failure> {
    let shown: Vec<&Entry> = dictionary.entries.iter().filter(|entry| all || entry.speaks()).collect();
    call.answer(&shown, |_| {
        let lines: String = shown.iter().copied().map(line).collect();
        format!("{}{lines}", summary(dictionary))
    })
}

fn line(entry: &Entry) -> String {
    let kind = entry.kind.map_or("", |kind| kind.name());
    format!("{}  {:<6}  {}\n", entry.id, kind, entry.name.as_deref().unwrap_or("(no name)"))
}

fn explained(entry: &Entry) -> String {
    let mut out = line(entry);
    // Writing into a string cannot fail.
    if let Some(definition) = &entry.definition {
        let _ = writeln!(out, "  {definition}");
    }
    for example in &entry.examples {
        let _ = writeln!(out, "  · “{example}”");
    }
    let _ = writeln!(
        out,
        "  active in {:.1} % of the sentences it was learned from; clear from {:.3} on",
        100.0 * entry.share,
        entry.clear_level
    );
    if let Some(truth) = entry.truth {
        let _ = writeln!(
            out,
            "  read blind: {} of {} sentences in which it is clear fit the name, {} of {} in which it is silent",
            truth.firing_true, truth.firing_n, truth.silent_true, truth.silent_n
        );
    }
    if !entry.speaks() {
        let _ = writeln!(out, "  makes no statement: its name is missing, unchecked, or not true enough");
    }
    out
}

fn read(dictionary: &Dictionary, text: &str, call: &Call) -> Result<(), Failure> {
    let mut input = String::new();
    let text = if text == "-" {
        std::io::stdin().read_to_string(&mut input).map_err(|error| {
            Failure::new(2, &anyhow::Error::new(error).context("cannot read standard input"))
        })?;
        &input
    } else {
        text
    };
    let config = Config::default();
    let embedder = open(&config, sae::DeviceChoice::Cpu, &call.context, &mut Progress::new(Talk::Nothing))?;
    dictionary.expect_embedder(&embedder.identity()).map_err(failure)?;
    let found = sentences::split(text);
    let texts: Vec<&str> = found.iter().map(|sentence| sentence.of(text)).collect();
    let vectors = embedder.embed(&texts).map_err(|error| failure(error.into()))?;
    let z = dictionary.activations(&vectors).map_err(|error| failure(error.into()))?;
    let mut out = String::new();
    let mut values = Vec::new();
    for (row, sentence) in texts.iter().enumerate() {
        let _ = writeln!(out, "{sentence}");
        let (index, value) = z.row(row);
        let mut clear: Vec<(f32, &Entry)> = index
            .iter()
            .zip(value)
            .filter_map(|(&at, &z)| Some((z, dictionary.entries.get(at as usize)?)))
            .filter(|(z, entry)| *z >= entry.clear_level)
            .collect();
        clear.sort_by(|a, b| (b.0 / b.1.clear_level).total_cmp(&(a.0 / a.1.clear_level)));
        let names: Vec<String> = clear.iter().map(|(z, entry)| format!("{} {z:.2}", entry.label())).collect();
        let _ = writeln!(out, "    {}", if names.is_empty() { "–".into() } else { names.join(", ") });
        let found: Vec<Value> = clear
            .iter()
            .map(|(z, entry)| json!({"id": entry.id, "name": entry.name, "strength": z}))
            .collect();
        values.push(json!({"text": sentence, "found": found}));
    }
    call.answer(&values, |_| out)
}

fn open(
    config: &Config,
    device: sae::DeviceChoice,
    context: &Context,
    progress: &mut Progress,
) -> Result<Box<dyn Embedder>, Failure> {
    let mut relay = Relay::new(progress);
    let opened = run::open_embedder(config, device, context, &mut relay).map_err(wimhf::Error::from)?;
    relay.end();
    for note in &opened.notes {
        progress.note(note);
    }
    Ok(opened.embedder)
}

/// Reads the pairs, and with what settings.
fn data(
    data: DataArguments,
    embedder: &EmbedderArguments,
    context: &Context,
    progress: &mut Progress,
) -> Result<(Pairs, ReadReport, Config), Failure> {
    let user = |error: anyhow::Error| Failure::new(2, &error);
    let mut config = Config::default();
    if let Some(name) = &embedder.embedder {
        config.embed.embedder.clone_from(name);
    }
    config.seed = embedder.seed.unwrap_or(config.seed);
    let names = data.over(&mut config);
    config.validate().map_err(|error| user(error.into()))?;
    let mut relay = Relay::new(progress);
    let sources = dataset::locate(&names, context, &mut relay).map_err(wimhf::Error::from)?;
    relay.end();
    let (pairs, report) =
        pairs::read_all(&sources, &dataset::read_options(&config)).map_err(|error| user(error.into()))?;
    Ok((pairs, report, config))
}

fn train(arguments: TrainArguments, call: &Call) -> Result<(), Failure> {
    let context = &call.context;
    let mut progress = call.progress();
    let weights = arguments.out.join(dictionary::WEIGHTS_FILE);
    if weights.exists() && !arguments.force {
        let message =
            format!("`{}` holds a dictionary already\nhint: `--force` replaces it", arguments.out.display());
        return Err(Failure::new(2, &anyhow::anyhow!(message)));
    }
    let (pairs, read, config) = data(arguments.data, &arguments.embedder, context, &mut progress)?;
    let device = arguments.embedder.device.into();
    let compute = sae::choose(device).map_err(|error| failure(error.into()))?;
    let embedder = open(&config, device, context, &mut progress)?;
    let settings = dictionary::Settings {
        features: arguments.features,
        active: arguments.active,
        context: context.clone(),
        held_back: arguments.held_back,
        sentences_max: arguments.sentences_max,
        seed: config.seed,
        sources: read.sources.iter().map(|source| source.dataset.clone()).collect(),
    };
    std::fs::create_dir_all(&arguments.out).map_err(|source| {
        failure(store::StoreError::Io { action: "create", path: arguments.out.clone(), source }.into())
    })?;
    let aside = arguments.out.join("training.safetensors");
    let mut listener = Listener { context: context.clone(), progress: &mut progress, stage: None };
    let (made, report) =
        dictionary::train(&pairs, embedder.as_ref(), &settings, &compute, Some(&aside), &mut listener)
            .map_err(failure)?;
    listener.end();
    for note in &report.notes {
        progress.note(note);
    }
    made.save(&arguments.out).map_err(failure)?;
    let value = json!({
        "dictionary": summary_value(&made),
        "sentences": report.rows,
        "epochs": report.epochs,
        "nmse": report.nmse,
        "active_mean": report.active_mean,
    });
    call.answer(&value, |_| {
        format!(
            "{}trained on {} different sentences, {} epochs; on unseen ones NMSE {:.3} with {:.2} active of {}\n",
            summary(&made),
            report.rows,
            report.epochs,
            report.nmse,
            report.active_mean,
            made.entries.len()
        )
    })
}

fn export(arguments: ExportArguments, call: &Call) -> Result<(), Failure> {
    let context = &call.context;
    let mut progress = call.progress();
    let dictionary = Dictionary::load(&arguments.dictionary).map_err(failure)?;
    let (pairs, _, config) = data(arguments.data, &arguments.embedder, context, &mut progress)?;
    let embedder = open(&config, arguments.embedder.device.into(), context, &mut progress)?;
    let settings = ExportSettings {
        context: context.clone(),
        clear: arguments.clear,
        silent: arguments.silent,
        side: if arguments.fresh { Split::Fresh } else { Split::Trained },
        seed: config.seed,
    };
    let mut listener = Listener { context: context.clone(), progress: &mut progress, stage: None };
    let exported = dictionary::export(&dictionary, &pairs, embedder.as_ref(), &settings, &mut listener)
        .map_err(failure)?;
    listener.end();
    let mut out = String::new();
    for one in &exported {
        let line = serde_json::to_string(one).map_err(|error| Failure::new(1, &error.into()))?;
        let line = super::in_ascii_where_odd(&line);
        let _ = writeln!(out, "{line}");
    }
    print(&out)
}

/// Stages of a training, shown to a person.
struct Listener<'p> {
    context: Context,
    progress: &'p mut Progress,
    stage: Option<(&'static str, std::time::Instant)>,
}

impl Listener<'_> {
    fn stage(&mut self, name: &'static str, done: usize, total: usize) {
        if self.stage.is_none_or(|(other, _)| other != name) {
            self.end();
            self.progress.stage(name, total);
            self.stage = Some((name, std::time::Instant::now()));
        }
        self.progress.advance(done);
    }

    fn end(&mut self) {
        if let Some((name, began)) = self.stage.take() {
            self.progress.finished(name, began.elapsed().as_secs_f64(), false);
        }
    }
}

impl dictionary::Listener for Listener<'_> {
    fn embedding(&mut self, done: usize, texts: usize) {
        self.stage("embed", done, texts);
    }

    fn training(&mut self, progress: sae::Progress) -> Control {
        if let sae::Progress::Epoch { epoch, epochs_max, .. } = progress {
            self.stage("train", epoch, epochs_max);
        }
        if self.context.cancel.requested() { Control::Stop } else { Control::Continue }
    }

    fn note(&mut self, text: &str) {
        self.progress.note(text);
    }
}
