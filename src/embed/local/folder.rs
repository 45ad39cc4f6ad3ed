//! A model's folder: which files there are and what they say about pooling, length and prompts.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::engine::{Activation, Pool};
use super::weights::weight_files;
use crate::embed::EmbedError;

/// What a model's folder says, in the layout of sentence-transformers.
#[derive(Debug)]
pub(super) struct Folder {
    pub path: PathBuf,
    /// `config.json`, as it is.
    pub config: serde_json::Value,
    /// `model_type` in it.
    pub kind: String,
    pub weights: Vec<PathBuf>,
    pub tokenizer: PathBuf,
    pub pooling: Vec<Pool>,
    /// Layers after the pooling, in order.
    pub dense: Vec<DenseFiles>,
    pub normalise: bool,
    /// Longest text in tokens; the model's own limit where `None`.
    pub max_tokens: Option<usize>,
    pub lower_case: bool,
    /// Written before every text.
    pub prompt: String,
    /// Whether the prompt's tokens count in the pooling.
    pub pool_prompt: bool,
    /// SHA-256 over everything above, in hexadecimal.
    pub digest: String,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

/// A linear layer after the pooling.
#[derive(Debug)]
pub(super) struct DenseFiles {
    pub inputs: usize,
    pub outputs: usize,
    pub activation: Activation,
    pub weights: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

#[derive(Deserialize, Default)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode: Option<OneOrMany>,
    #[serde(default = "yes")]
    include_prompt: bool,
    #[serde(flatten)]
    flags: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn yes() -> bool {
    true
}

#[derive(Deserialize, Default)]
struct SentenceConfig {
    #[serde(default)]
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Deserialize, Default)]
struct Prompts {
    #[serde(default)]
    prompts: BTreeMap<String, Option<String>>,
    #[serde(default)]
    default_prompt_name: Option<String>,
}

#[derive(Deserialize, Default)]
struct TokenizerConfig {
    #[serde(default)]
    model_max_length: Option<f64>,
}

#[derive(Deserialize)]
struct DenseConfig {
    in_features: usize,
    out_features: usize,
    #[serde(default)]
    activation_function: Option<String>,
    #[serde(default)]
    use_residual: bool,
}

impl Folder {
    /// Reads the folder's settings and hashes its files; the weights are not loaded.
    pub fn open(path: &Path, embedder: &str) -> Result<Self, EmbedError> {
        let user = |message: String, hint: &str| EmbedError::Folder {
            path: path.into(),
            message,
            hint: hint.to_owned(),
        };
        const HINT: &str =
            "a model's folder has `config.json`, `tokenizer.json` and `model.safetensors`, as on the Hub";
        let required = |name: &str| {
            let file = path.join(name);
            if file.is_file() { Ok(file) } else { Err(user(format!("it has no `{name}`"), HINT)) }
        };
        let config_path = required("config.json")?;
        let config: serde_json::Value = json(path, &config_path)?;
        let Some(kind) = config.get("model_type").and_then(|kind| kind.as_str()).map(str::to_owned) else {
            let hint = if config.get("tokenizer_name").is_some() || path.join("model.safetensors").is_file() {
                format!("if it is a static (model2vec) model, name it as `static:{}`", path.display())
            } else {
                HINT.to_owned()
            };
            return Err(user("its `config.json` names no `model_type`".into(), &hint));
        };
        let tokenizer = required("tokenizer.json")?;
        let weights = weight_files(path).map_err(|message| user(message, HINT))?;

        let mut folder = Self {
            path: path.into(),
            config,
            kind,
            weights,
            tokenizer,
            pooling: vec![Pool::Mean],
            dense: Vec::new(),
            normalise: false,
            max_tokens: None,
            lower_case: false,
            prompt: String::new(),
            pool_prompt: true,
            digest: String::new(),
            notes: Vec::new(),
        };
        let mut hash = Sha256::new();
        let mut used = vec![config_path, folder.tokenizer.clone()];

        let sentence = path.join("sentence_bert_config.json");
        let sentence: SentenceConfig = optional(path, &sentence, &mut used)?.unwrap_or_default();
        let tokens = path.join("tokenizer_config.json");
        let tokens: TokenizerConfig = optional(path, &tokens, &mut used)?.unwrap_or_default();
        folder.lower_case = sentence.do_lower_case;
        // "No limit" is written as a very large number.
        let limit = tokens.model_max_length.filter(|limit| *limit >= 1.0 && *limit < 1e9);
        folder.max_tokens = sentence.max_seq_length.or(limit.map(|limit| limit as usize));

        let prompts = path.join("config_sentence_transformers.json");
        let prompts: Prompts = optional(path, &prompts, &mut used)?.unwrap_or_default();
        if let Some(name) = &prompts.default_prompt_name {
            match prompts.prompts.get(name) {
                Some(text) => folder.prompt = text.clone().unwrap_or_default(),
                None => {
                    return Err(user(format!("its default prompt `{name}` is not among its prompts"), HINT));
                }
            }
        }

        let modules = path.join("modules.json");
        match optional::<Vec<Module>>(path, &modules, &mut used)? {
            Some(modules) => folder.modules(&modules, embedder, &mut used)?,
            None => folder.notes.push(format!(
                "`{embedder}` says nothing about pooling (no `modules.json`): the mean over all tokens is taken"
            )),
        }
        used.extend(folder.weights.iter().cloned());
        used.extend(folder.dense.iter().flat_map(|dense| dense.weights.iter().cloned()));
        for file in &used {
            hash_file(file, &mut hash)?;
        }
        folder.digest = format!("{:x}", hash.finalize());
        Ok(folder)
    }

    /// Follows `modules.json`.
    fn modules(
        &mut self,
        modules: &[Module],
        embedder: &str,
        used: &mut Vec<PathBuf>,
    ) -> Result<(), EmbedError> {
        let root = self.path.clone();
        let unsupported = |message: String| EmbedError::Model { embedder: embedder.to_owned(), message };
        for (index, module) in modules.iter().enumerate() {
            if module.path.contains("..") || module.path.starts_with(['/', '\\']) {
                return Err(unsupported(format!("its module `{}` lies outside its folder", module.path)));
            }
            let place = root.join(&module.path);
            let kind = module.kind.rsplit('.').next().unwrap_or_default();
            match kind {
                "Transformer" if index == 0 => {
                    if !module.path.is_empty() {
                        return Err(unsupported("its transformer lies in a folder of its own".into()));
                    }
                }
                "Pooling" => {
                    let config: PoolingConfig =
                        optional(&root, &place.join("config.json"), used)?.unwrap_or_default();
                    self.pooling = pooling(&config).map_err(unsupported)?;
                    self.pool_prompt = config.include_prompt;
                }
                "Normalize" => self.normalise = true,
                "Dense" => {
                    let file = place.join("config.json");
                    let config: DenseConfig = json(&root, &file)?;
                    used.push(file);
                    if config.use_residual || self.normalise || self.pooling.len() > 1 {
                        return Err(unsupported("its dense layer is of a kind that is not supported".into()));
                    }
                    let name =
                        config.activation_function.as_deref().unwrap_or("torch.nn.modules.activation.Tanh");
                    let activation = match name.rsplit('.').next().unwrap_or_default() {
                        "Identity" => Activation::None,
                        "Tanh" => Activation::Tanh,
                        "ReLU" => Activation::Relu,
                        "GELU" => Activation::Gelu,
                        "SiLU" => Activation::Silu,
                        other => {
                            return Err(unsupported(format!("the activation `{other}` is not supported")));
                        }
                    };
                    let weights = weight_files(&place)
                        .map_err(|message| unsupported(format!("its layer `{}`: {message}", module.path)))?;
                    let (inputs, outputs) = (config.in_features, config.out_features);
                    self.dense.push(DenseFiles { inputs, outputs, activation, weights });
                }
                "Dropout" => {}
                other => return Err(unsupported(format!("its module `{other}` is not supported"))),
            }
        }
        Ok(())
    }
}

/// The ways of pooling that are switched on; several stand side by side in the vector.
fn pooling(config: &PoolingConfig) -> Result<Vec<Pool>, String> {
    // In the order in which sentence-transformers puts them side by side.
    const FLAGS: [(&str, &str); 6] = [
        ("pooling_mode_cls_token", "cls"),
        ("pooling_mode_max_tokens", "max"),
        ("pooling_mode_mean_tokens", "mean"),
        ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
        ("pooling_mode_weightedmean_tokens", "weightedmean"),
        ("pooling_mode_lasttoken", "lasttoken"),
    ];
    let on = |flag: &str| config.flags.get(flag).and_then(serde_json::Value::as_bool).unwrap_or(false);
    let names: Vec<String> = match &config.pooling_mode {
        Some(OneOrMany::One(name)) => vec![name.clone()],
        Some(OneOrMany::Many(names)) => names.clone(),
        None => FLAGS.iter().filter(|(flag, _)| on(flag)).map(|(_, name)| (*name).to_owned()).collect(),
    };
    if names.is_empty() {
        return Ok(vec![Pool::Mean]);
    }
    names
        .iter()
        .map(|name| match name.as_str() {
            "cls" => Ok(Pool::First),
            "max" => Ok(Pool::Max),
            "mean" => Ok(Pool::Mean),
            "mean_sqrt_len_tokens" => Ok(Pool::MeanSqrtLength),
            "weightedmean" => Ok(Pool::WeightedMean),
            "lasttoken" => Ok(Pool::Last),
            other => Err(format!("pooling by `{other}` is not supported")),
        })
        .collect()
}

fn json<T: DeserializeOwned>(folder: &Path, path: &Path) -> Result<T, EmbedError> {
    let failed = |message: String| EmbedError::Folder {
        path: folder.into(),
        message,
        hint: "download or save the model again".into(),
    };
    let bytes = crate::limits::read(path)
        .map_err(|error| failed(format!("cannot read `{}`: {error}", path.display())))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| failed(format!("`{}` is not what it should be: {error}", path.display())))
}

/// A file that need not be there; noted in `used` where it is.
fn optional<T: DeserializeOwned>(
    folder: &Path,
    path: &Path,
    used: &mut Vec<PathBuf>,
) -> Result<Option<T>, EmbedError> {
    if !path.exists() {
        return Ok(None);
    }
    let value = json(folder, path)?;
    used.push(path.into());
    Ok(Some(value))
}

fn hash_file(path: &Path, hash: &mut Sha256) -> Result<(), EmbedError> {
    let failed = |source: std::io::Error| {
        EmbedError::File(crate::store::StoreError::Io { action: "read", path: path.into(), source })
    };
    let mut file = crate::limits::open(path).map_err(failed)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    hash.update(name.as_bytes());
    hash.update(file.metadata().map_err(failed)?.len().to_le_bytes());
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => hash.update(block.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}
