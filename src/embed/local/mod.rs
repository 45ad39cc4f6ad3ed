//! Transformer embedders from a folder in the layout of sentence-transformers, on the CPU or on WGPU.
//!
//! Settings come from the folder's files alone: pooling, normalisation, the longest text, prompts. The
//! tokenizer's own padding and truncation are overridden by them, as sentence-transformers does.

mod architecture;
mod bert;
mod cpu;
mod engine;
mod folder;
mod gpu;
mod int8;
mod modern_bert;
mod qwen3;
mod weights;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::Device;
use rayon::prelude::*;
use tokenizers::{Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

use self::architecture::{Architecture, Batch, linear};
use self::cpu::Cpu;
use self::engine::{Activation, Engine, Layout, Pool};
use self::folder::{DenseFiles, Folder};
use self::gpu::Gpu;
use self::int8::Int8;
use self::weights::Weights;
use super::{EmbedError, Embedder, Usage};
use crate::config::Precision;
use crate::matrix::Matrix;

/// Tokens that one thread takes through the model at a time: enough for the matrix products to be fast, few
/// enough for their results to stay in the cache.
const TOKENS_CPU: usize = 1024;

/// The same with products of 8 bits, which need fewer rows to be fast.
const TOKENS_INT8: usize = 256;

/// Tokens, padding included, that go to the graphics adapter at a time.
const TOKENS_GPU: usize = 16 * 1024;

/// Scores of one attention that are in the adapter's memory at a time.
const SCORES_GPU: usize = 64 << 20;

/// Bytes of a text that are tokenised per token of the longest text that is read. Real tokens have 4; the limit
/// only keeps a broken cell of a gigabyte from taking minutes.
const BYTES_PER_TOKEN: usize = 256;

/// Where a transformer runs.
#[derive(Debug, Clone, Default)]
pub enum Hardware {
    /// The processor.
    #[default]
    Cpu,
    /// A graphics adapter, by Burn's handle.
    Wgpu(Device),
}

/// A transformer from a folder.
pub struct LocalEmbedder {
    folder: Folder,
    config: Config,
    name: String,
    hardware: Hardware,
    precision: Precision,
    max_tokens: usize,
    dimensions: usize,
    /// Tokenizer and weights, loaded when the first text comes.
    model: OnceLock<Result<Loaded, EmbedError>>,
    plain: OnceLock<Option<Tokenizer>>,
    texts: AtomicU64,
    tokens: AtomicU64,
    cut: AtomicU64,
}

impl std::fmt::Debug for LocalEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalEmbedder").field("name", &self.name).field("kind", &self.folder.kind).finish()
    }
}

struct Loaded {
    tokenizer: Tokenizer,
    /// Tokens of the prompt, which stand before every text.
    prompt_tokens: usize,
    model: Box<dyn Run>,
}

/// What an architecture's `config.json` says.
#[derive(Debug)]
enum Config {
    Bert(bert::Config, bert::Kind),
    ModernBert(modern_bert::Config),
    Qwen3(qwen3::Config),
}

impl Config {
    fn read(folder: &Folder, embedder: &str) -> Result<Self, EmbedError> {
        fn parse<T: serde::de::DeserializeOwned>(folder: &Folder) -> Result<T, EmbedError> {
            serde_json::from_value(folder.config.clone()).map_err(|error| EmbedError::Folder {
                path: folder.path.clone(),
                message: format!("its `config.json` is not that of a `{}` model: {error}", folder.kind),
                hint: "download or save the model again".into(),
            })
        }
        match folder.kind.as_str() {
            "bert" => Ok(Self::Bert(parse(folder)?, bert::Kind::Bert)),
            "roberta" | "xlm-roberta" | "camembert" => Ok(Self::Bert(parse(folder)?, bert::Kind::Roberta)),
            "distilbert" => Ok(Self::Bert(parse(folder)?, bert::Kind::DistilBert)),
            "modernbert" => Ok(Self::ModernBert(parse(folder)?)),
            "qwen3" => Ok(Self::Qwen3(parse(folder)?)),
            other => Err(EmbedError::Model {
                embedder: embedder.to_owned(),
                message: format!(
                    "models of the type `{other}` are not supported, only bert, roberta, xlm-roberta, camembert, \
                     distilbert, modernbert and qwen3\nhint: serve it with an OpenAI-compatible server \
                     (vLLM, text-embeddings-inference, llama.cpp) and name it as `openai:MODEL --base-url URL`"
                ),
            }),
        }
    }

    fn positions(&self) -> usize {
        match self {
            Self::Bert(config, kind) => config.positions(*kind),
            Self::ModernBert(config) => config.positions(),
            Self::Qwen3(config) => config.positions(),
        }
    }

    fn products(&self) -> usize {
        match self {
            Self::Bert(config, _) => config.products(),
            Self::ModernBert(config) => config.products(),
            Self::Qwen3(config) => config.products(),
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Bert(config, _) => config.width(),
            Self::ModernBert(config) => config.width(),
            Self::Qwen3(config) => config.width(),
        }
    }
}

/// A loaded model: tokens in, vectors out.
trait Run: Send + Sync {
    /// One vector per text. `skip`: leading tokens that do not count.
    fn run(&self, texts: &[&[u32]], skip: usize) -> Result<Matrix, String>;
}

struct Model<E: Engine> {
    engine: E,
    architecture: Box<dyn Architecture<E>>,
    pooling: Vec<Pool>,
    dense: Vec<(E::Linear, Activation)>,
    normalise: bool,
    dimensions: usize,
}

impl<E: Engine> Run for Model<E> {
    fn run(&self, texts: &[&[u32]], skip: usize) -> Result<Matrix, String> {
        let layout = Layout::new(texts.iter().map(|ids| ids.len()).collect(), E::PADDED);
        let ids = layout.per_row(0, |text, position| {
            texts.get(text).and_then(|ids| ids.get(position)).copied().unwrap_or(0)
        });
        let batch = Batch { ids, layout };
        let rows = self.architecture.forward(&self.engine, &batch);
        let mut parts = Vec::with_capacity(self.pooling.len());
        for pool in &self.pooling {
            let mut part = self.engine.pool(&rows, *pool, skip, &batch.layout);
            for (layer, activation) in &self.dense {
                part = self.engine.linear(&part, layer, *activation);
            }
            parts.push(self.engine.values(part)?);
        }
        let mut out = side_by_side(parts, texts.len());
        if self.normalise {
            for row in out.chunks_exact_mut(self.dimensions.max(1)) {
                let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                // As torch does it: a vector of zeros stays one.
                row.iter_mut().for_each(|x| *x /= norm.max(1e-12));
            }
        }
        Ok(Matrix { values: out, cols: self.dimensions })
    }
}

/// Tables of as many rows, row by row side by side.
fn side_by_side(mut parts: Vec<Vec<f32>>, rows: usize) -> Vec<f32> {
    if parts.len() == 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut out = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    for row in 0..rows {
        for part in &parts {
            let width = part.len() / rows.max(1);
            out.extend_from_slice(&part[row * width..(row + 1) * width]);
        }
    }
    out
}

impl<E: Engine> Model<E> {
    fn load(engine: E, folder: &Folder, config: &Config, name: &str) -> Result<Self, EmbedError>
    where
        E: 'static,
    {
        let open = |prefixes: &[&str], probe| Weights::open(name, &folder.weights, prefixes, probe);
        let architecture: Box<dyn Architecture<E>> = match config {
            Config::Bert(config, kind) => {
                let weights = open(&bert::PREFIXES, bert::PROBE)?;
                Box::new(bert::Bert::load(&engine, config, *kind, &weights, name)?)
            }
            Config::ModernBert(config) => {
                let weights = open(&modern_bert::PREFIXES, modern_bert::PROBE)?;
                Box::new(modern_bert::ModernBert::load(&engine, config, &weights, name)?)
            }
            Config::Qwen3(config) => {
                let weights = open(&qwen3::PREFIXES, qwen3::PROBE)?;
                Box::new(qwen3::Qwen3::load(&engine, config, &weights, name)?)
            }
        };
        let mut dense = Vec::new();
        for DenseFiles { inputs, outputs, activation, weights } in &folder.dense {
            let weights = Weights::open(name, weights, &[""], "linear.weight")?;
            dense.push((linear(&engine, &weights, &[("linear".into(), *outputs)], *inputs)?, *activation));
        }
        Ok(Self {
            engine,
            architecture,
            pooling: folder.pooling.clone(),
            dense,
            normalise: folder.normalise,
            dimensions: dimensions(folder, config),
        })
    }
}

fn dimensions(folder: &Folder, config: &Config) -> usize {
    match folder.dense.last() {
        Some(last) => last.outputs,
        None => config.width() * folder.pooling.len(),
    }
}

impl LocalEmbedder {
    /// Reads a model's settings and hashes its files; weights are loaded with the first text.
    ///
    /// `name` is what messages call it. `max_tokens` cuts texts earlier than the model's files say.
    ///
    /// # Errors
    /// [`EmbedError::Folder`] for what is no model's folder, [`EmbedError::Model`] for a model that is not supported.
    pub fn open(
        path: &Path,
        name: &str,
        hardware: Hardware,
        max_tokens: Option<usize>,
    ) -> Result<Self, EmbedError> {
        let folder = Folder::open(path, name)?;
        let config = Config::read(&folder, name)?;
        let limit = config.positions().min(folder.max_tokens.unwrap_or(usize::MAX));
        let max_tokens = max_tokens.map_or(limit, |asked| asked.min(limit)).max(3);
        Ok(Self {
            dimensions: dimensions(&folder, &config),
            folder,
            config,
            name: name.to_owned(),
            hardware,
            precision: Precision::F32,
            max_tokens,
            model: OnceLock::new(),
            plain: OnceLock::new(),
            texts: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        })
    }

    /// The same model, computing in this precision.
    ///
    /// # Errors
    /// [`EmbedError::Model`] for [`Precision::Int8`] on a graphics adapter, which has no products of 8 bits.
    pub fn with_precision(self, precision: Precision) -> Result<Self, EmbedError> {
        if precision == Precision::Int8 && matches!(self.hardware, Hardware::Wgpu(_)) {
            return Err(EmbedError::Model {
                embedder: self.name,
                message:
                    "`int8` runs on the CPU only, not on a graphics adapter\nhint: `--device cpu`, or leave \
                          `--embedder-precision` (`embed.precision`) out"
                        .into(),
            });
        }
        Ok(Self { precision, ..self })
    }

    /// Sentences about the model that the user should read.
    pub fn notes(&self) -> &[String] {
        &self.folder.notes
    }

    /// Multiplications and additions that a text of so many tokens takes.
    pub fn operations(&self, tokens: usize) -> f64 {
        let tokens = tokens.min(self.max_tokens) as f64;
        2.0 * tokens * self.config.products() as f64
    }

    fn loaded(&self) -> Result<&Loaded, EmbedError> {
        self.model.get_or_init(|| self.load()).as_ref().map_err(|error| EmbedError::Model {
            embedder: self.name.clone(),
            message: match error {
                EmbedError::Model { message, .. } => message.clone(),
                other => other.to_string(),
            },
        })
    }

    fn load(&self) -> Result<Loaded, EmbedError> {
        let failed = |error: tokenizers::Error| EmbedError::Model {
            embedder: self.name.clone(),
            message: format!("its `tokenizer.json` cannot be used: {error}"),
        };
        let mut tokenizer = Tokenizer::from_file(&self.folder.tokenizer).map_err(failed)?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: self.max_tokens,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
                direction: TruncationDirection::Right,
            }))
            .map_err(failed)?;
        let prompt_tokens = if self.folder.prompt.is_empty() {
            0
        } else {
            // The prompt's own tokens and the one that opens a text; the one that closes it comes last.
            let with = tokenizer.encode_fast(self.folder.prompt.as_str(), true).map_err(failed)?.len();
            let without = tokenizer.encode_fast(self.folder.prompt.as_str(), false).map_err(failed)?.len();
            with - usize::from(with > without)
        };
        let model: Box<dyn Run> = match &self.hardware {
            Hardware::Cpu => match self.precision {
                Precision::F32 => Box::new(Model::load(Cpu, &self.folder, &self.config, &self.name)?),
                Precision::Int8 => {
                    Box::new(Model::load(Int8::default(), &self.folder, &self.config, &self.name)?)
                }
            },
            Hardware::Wgpu(device) => {
                Box::new(Model::load(Gpu::new(device.clone()), &self.folder, &self.config, &self.name)?)
            }
        };
        Ok(Loaded { tokenizer, prompt_tokens, model })
    }

    /// The tokenizer without truncation, to see how long texts really are; `None` for one that cannot be loaded,
    /// which the first text will tell.
    fn plain(&self) -> Option<&Tokenizer> {
        let load = || {
            let mut tokenizer = Tokenizer::from_file(&self.folder.tokenizer).ok()?;
            tokenizer.with_padding(None).with_truncation(None).ok()?;
            Some(tokenizer)
        };
        self.plain.get_or_init(load).as_ref()
    }

    /// The text as the tokenizer gets it.
    fn prepared(&self, text: &str) -> String {
        let limit = self.max_tokens.saturating_mul(BYTES_PER_TOKEN);
        let text = &text[..text.floor_char_boundary(limit)];
        let text = format!("{}{text}", self.folder.prompt);
        if self.folder.lower_case { text.to_lowercase() } else { text }
    }

    fn encode(&self, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, EmbedError> {
        let encoding =
            tokenizer.encode_fast(self.prepared(text), true).map_err(|error| EmbedError::Model {
                embedder: self.name.clone(),
                message: format!("a text cannot be tokenised: {error}"),
            })?;
        if !encoding.get_overflowing().is_empty() {
            self.cut.fetch_add(1, Ordering::Relaxed);
        }
        Ok(encoding.get_ids().to_vec())
    }

    /// Texts in groups that are computed at a time, each of about one length.
    fn groups(&self, ids: &[Vec<u32>]) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        // The longest first, so that the last groups are small and no thread waits long for another.
        order.sort_by_key(|&i| std::cmp::Reverse(ids.get(i).map_or(0, Vec::len)));
        let padded = matches!(self.hardware, Hardware::Wgpu(_));
        let most = if self.precision == Precision::Int8 { TOKENS_INT8 } else { TOKENS_CPU };
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let (mut tokens, mut longest) = (0, 0);
        for i in order {
            let length = ids.get(i).map_or(0, Vec::len);
            let count = groups.last().map_or(0, Vec::len) + 1;
            let full = if padded {
                let longest = length.max(longest);
                count * longest > TOKENS_GPU || count * longest * longest > SCORES_GPU / 16
            } else {
                tokens + length > most
            };
            match groups.last_mut() {
                Some(group) if !full => group.push(i),
                _ => {
                    groups.push(vec![i]);
                    (tokens, longest) = (0, 0);
                }
            }
            tokens += length;
            longest = longest.max(length);
        }
        groups
    }
}

impl Embedder for LocalEmbedder {
    fn identity(&self) -> String {
        let hardware = match (&self.hardware, self.precision) {
            (Hardware::Wgpu(_), _) => "wgpu",
            (Hardware::Cpu, Precision::F32) => "cpu",
            (Hardware::Cpu, Precision::Int8) => "cpu-int8",
        };
        let (kind, digest, tokens) = (&self.folder.kind, &self.folder.digest, self.max_tokens);
        format!("{kind}@sha256:{digest};tokens={tokens};{hardware}")
    }

    fn dimensions(&self) -> Option<usize> {
        Some(self.dimensions)
    }

    fn embed(&self, texts: &[&str]) -> Result<Matrix, EmbedError> {
        let loaded = self.loaded()?;
        let ids: Vec<Vec<u32>> =
            texts.par_iter().map(|text| self.encode(&loaded.tokenizer, text)).collect::<Result<_, _>>()?;
        self.texts.fetch_add(texts.len() as u64, Ordering::Relaxed);
        self.tokens.fetch_add(ids.iter().map(|ids| ids.len() as u64).sum(), Ordering::Relaxed);
        let skip = if self.folder.pool_prompt { 0 } else { loaded.prompt_tokens };
        let groups = self.groups(&ids);
        let one = |group: &Vec<usize>| {
            let texts: Vec<&[u32]> = group.iter().filter_map(|&i| ids.get(i).map(Vec::as_slice)).collect();
            loaded.model.run(&texts, skip)
        };
        let done: Result<Vec<Matrix>, String> = match self.hardware {
            Hardware::Cpu => groups.par_iter().map(one).collect(),
            Hardware::Wgpu(_) => groups.iter().map(one).collect(),
        };
        let done = done.map_err(|message| EmbedError::Model { embedder: self.name.clone(), message })?;
        let mut out = Matrix::zeros(texts.len(), self.dimensions);
        for (group, rows) in groups.iter().zip(done) {
            for (i, &text) in group.iter().enumerate() {
                out.row_mut(text).copy_from_slice(rows.row(i));
            }
        }
        Ok(out)
    }

    fn cached(&self) -> bool {
        true
    }

    fn max_tokens(&self) -> Option<usize> {
        Some(self.max_tokens)
    }

    fn is_cut(&self, text: &str) -> bool {
        // A token is a byte or more: most texts need not be looked at. A few stand around each text.
        if text.len() + self.folder.prompt.len() + 8 <= self.max_tokens {
            return false;
        }
        let encoded = self.plain().and_then(|plain| plain.encode_fast(self.prepared(text), true).ok());
        encoded.is_some_and(|encoding| encoding.len() > self.max_tokens)
    }

    fn tokens(&self, text: &str) -> usize {
        let encoded = self.plain().and_then(|tokenizer| tokenizer.encode_fast(text, false).ok());
        encoded.map_or(text.len().div_ceil(4), |encoding| encoding.len())
    }

    fn tail<'a>(&self, text: &'a str, tokens: usize) -> &'a str {
        let Some(encoding) = self.plain().and_then(|tokenizer| tokenizer.encode(text, false).ok()) else {
            return &text[text.ceil_char_boundary(text.len().saturating_sub(tokens.saturating_mul(3)))..];
        };
        let offsets = encoding.get_offsets();
        let first = offsets.get(offsets.len().saturating_sub(tokens));
        &text[text.ceil_char_boundary(first.map_or(text.len(), |(from, _)| *from))..]
    }

    fn usage(&self) -> Usage {
        Usage {
            texts: self.texts.load(Ordering::Relaxed),
            tokens: self.tokens.load(Ordering::Relaxed),
            cut: self.cut.load(Ordering::Relaxed),
            ..Usage::default()
        }
    }
}
