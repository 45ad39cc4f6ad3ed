//! Every setting, with its default and the reason for it.
//!
//! The same structure is read from `--config FILE.toml` (unknown keys are refused), overridden by
//! the command line, and written whole into `run.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A settings file or a combination of settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The settings file cannot be read.
    #[error("cannot read the settings file `{path}`: {}{}", crate::limits::said(.source), crate::limits::hint(.source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The settings file is not valid TOML of the known keys.
    #[error(
        "the settings file `{path}` is not usable: {message}\nhint: its keys are those of `config` in a run's `run.json`, written as TOML"
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A value is out of range.
    #[error("`{setting}` is {value}, but {must}")]
    Value {
        /// Name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        must: &'static str,
    },
}

/// Everything that determines the result of a run, apart from the data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The one seed that every random choice comes from.
    pub seed: u64,
    /// How the source is read.
    pub data: DataConfig,
    /// How pairs are divided into sides.
    pub split: SplitConfig,
    /// Texts to vectors.
    pub embed: EmbedConfig,
    /// The sparse autoencoder.
    pub sae: SaeSettings,
    /// Words for the features.
    pub describe: DescribeConfig,
    /// Effects and what counts as a principle.
    pub principles: PrincipleConfig,
    /// Where it holds.
    pub contexts: ContextsConfig,
}

/// Kinds of request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContextsConfig {
    /// Columns of the dataset whose values are kinds of request, beside those that the prompts have by themselves.
    pub columns: Vec<String>,
}

/// How the source is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Column with the prompt; recognised when not given.
    pub prompt_column: Option<String>,
    /// Column with response A.
    pub response_a_column: Option<String>,
    /// Column with response B.
    pub response_b_column: Option<String>,
    /// Column with the label.
    pub label_column: Option<String>,
    /// What the values of the label column mean, one by one.
    pub label_map: Option<LabelMap>,
    /// Which end of the label's scale is for A.
    pub label_scale: Option<LabelScale>,
    /// Column with the annotator's id.
    pub annotator_column: Option<String>,
    /// The user's own vectors of the two responses, instead of embedding the texts.
    pub embedding_columns: Option<(String, String)>,
    /// Which label, where a source has several: `helpful` or `safe` in PKU-SafeRLHF.
    pub preference: Option<String>,
    /// How several responses to one prompt become pairs.
    pub pairing: Pairing,
    /// Pairs of each source that are analysed, at most: those whose texts have the lowest hashes. 0: all of them.
    pub max_pairs: usize,
}

/// Pairs that an analysis takes where nobody says otherwise. Their labels know a win rate to a third of a point and tell
/// of what is in one pair of fifty some thousand times; they take two minutes and two gigabytes, and more would take more
/// of both for each.
const MAX_PAIRS: usize = 200_000;

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            prompt_column: None,
            response_a_column: None,
            response_b_column: None,
            label_column: None,
            label_map: None,
            label_scale: None,
            annotator_column: None,
            embedding_columns: None,
            preference: None,
            pairing: Pairing::default(),
            max_pairs: MAX_PAIRS,
        }
    }
}

/// How several ranked or scored responses to one prompt become pairs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// The best against each of the others: every response counts.
    #[default]
    BestVsRest,
    /// The best against the worst: one pair a prompt, the clearest.
    TopVsBottom,
}

/// How pairs are divided into sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// Shares of `train`, `describe` and `held_out`. The held-out side is large, because every
    /// figure that is shown and every decision about a principle stands on it alone.
    pub shares: [f64; 3],
    /// Columns besides the prompt whose values must stay on one side (a conversation, a user).
    pub columns: Vec<String>,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self { shares: [0.35, 0.20, 0.45], columns: Vec::new() }
    }
}

/// What of a pair is embedded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The response alone, as in the paper: the prompt is the same on both sides.
    #[default]
    Response,
    /// The prompt and the response.
    PromptResponse,
    /// Both, under an instruction, for embedders that follow one (METHOD §3).
    Instructed,
}

/// How a transformer on this machine computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// In single precision, as the model was published.
    #[default]
    F32,
    /// The layers' products in whole numbers of 8 bits, on the CPU: about three times as fast with AVX-512, other vectors by a little.
    Int8,
}

/// Texts to vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbedConfig {
    /// `boxed`, a folder, `static:FOLDER`, `hf://OWNER/NAME[@REV]` or `openai:MODEL`.
    pub embedder: String,
    /// What of a pair is embedded.
    pub what: What,
    /// A template of the user's own, with `{prompt}` and `{response}`.
    pub template: Option<String>,
    /// Cuts texts earlier than the model does.
    pub max_tokens: Option<usize>,
    /// How a transformer on this machine computes.
    pub precision: Precision,
    /// Address of an OpenAI-compatible server, for `openai:MODEL`; `OPENAI_BASE_URL` where not given.
    pub base_url: Option<String>,
    /// Length of the vectors to ask the server for, where it can shorten them.
    pub dimensions: Option<usize>,
    /// Most texts in a request. Servers on one machine do best with a few dozen.
    pub batch_texts: usize,
    /// Most tokens in a request, estimated: what a server takes in memory, and what a failure costs.
    pub batch_tokens: usize,
    /// Most requests at once; fewer run where the server says that it is busy.
    pub concurrency: usize,
    /// Seconds until a request is given up. Long, as it may be paid all the same.
    pub timeout_seconds: u64,
    /// Dollars per million tokens, to say what it cost.
    pub price: Option<f64>,
}

impl Default for EmbedConfig {
    fn default() -> Self {
        Self {
            embedder: "boxed".into(),
            what: What::Response,
            template: None,
            max_tokens: None,
            precision: Precision::F32,
            base_url: None,
            dimensions: None,
            batch_texts: 64,
            batch_tokens: 16_384,
            concurrency: 8,
            timeout_seconds: 600,
            price: None,
        }
    }
}

/// The sparse autoencoders (METHOD §2, §2b).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SaeSettings {
    /// What the learned features read.
    pub mode: SaeMode,
    /// Number of features, M; what suits the number of sentences, or the paper's, where not given.
    pub features: Option<usize>,
    /// Features active in a sentence, or a pair, on average, K.
    pub active: Option<usize>,
}

impl SaeSettings {
    /// M and K of the autoencoder over differences. Beside the one over sentences it has the paper's sizes.
    pub fn difference(&self) -> (usize, usize) {
        const PAPER: (usize, usize) = (32, 4);
        match self.mode {
            SaeMode::Sentences => PAPER,
            SaeMode::Difference => {
                let features = self.features.unwrap_or(PAPER.0);
                (features, self.active.unwrap_or((features * PAPER.1 / PAPER.0).max(1)))
            }
        }
    }
}

/// What the learned features read; see `docs/autoencoder.md` for what each finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaeMode {
    /// The sentences of the responses, and beside them the differences of the paper.
    #[default]
    Sentences,
    /// The differences of whole responses alone: the paper's method.
    #[serde(alias = "reconstruction")]
    Difference,
}

impl SaeMode {
    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sentences => "sentences",
            Self::Difference => "difference",
        }
    }
}

/// Words for the features (METHOD §4, offline).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DescribeConfig {
    /// A user's own bank of concepts, added to the boxed one.
    pub concepts: Option<PathBuf>,
    /// A description is kept when its fidelity on held-out pairs is at least this. With hundreds
    /// of thousands of pairs a correlation of .02 is significant and still describes nothing.
    pub min_fidelity: f64,
    /// A learned feature is kept when learning from either half of the material brings it back: the mean of the best
    /// correlations of its activations is at least this. 0 asks for nothing: stability is printed, and what decides is
    /// whether the words are true and the effect is confirmed.
    pub min_stability: f64,
    /// Family-wise error rate of the kept descriptions.
    pub alpha: f64,
    /// Where descriptions of learned features come from.
    pub describer: Describer,
    /// The language models of `describer = "model"`.
    pub language: LanguageConfig,
}

impl Default for DescribeConfig {
    fn default() -> Self {
        Self {
            concepts: None,
            min_fidelity: 0.3,
            min_stability: 0.0,
            alpha: 0.05,
            describer: Describer::Offline,
            language: LanguageConfig::default(),
        }
    }
}

/// Where descriptions of learned features come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Describer {
    /// The bank of known concepts and the words that separate the sides.
    #[default]
    Offline,
    /// A language model writes, another judges; the offline descriptions compete.
    Model,
}

/// Language models, and how much they are asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanguageConfig {
    /// The model that writes descriptions.
    pub writer: Option<String>,
    /// The model that judges them; the writer where not given.
    pub judge: Option<String>,
    /// Address of an OpenAI-compatible server; `OPENAI_BASE_URL` where not given.
    pub base_url: Option<String>,
    /// The writer's server, where it is another one.
    pub writer_base_url: Option<String>,
    /// The judge's server, where it is another one.
    pub judge_base_url: Option<String>,
    /// Sent along with every request, as the server names it; `null` takes something of ours out.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// The same for the writer only.
    pub writer_params: serde_json::Map<String, serde_json::Value>,
    /// The same for the judge only.
    pub judge_params: serde_json::Map<String, serde_json::Value>,
    /// A folder with prompts of the user's own.
    pub prompts: Option<PathBuf>,
    /// Pairs in one call of the judge.
    pub pairs_per_call: usize,
    /// Active pairs per feature on which its descriptions are compared.
    pub choose: usize,
    /// Active pairs per feature on which the winner's fidelity is measured.
    pub measure: usize,
}

impl Default for LanguageConfig {
    fn default() -> Self {
        Self {
            writer: None,
            judge: None,
            base_url: None,
            writer_base_url: None,
            judge_base_url: None,
            params: serde_json::Map::new(),
            writer_params: serde_json::Map::new(),
            judge_params: serde_json::Map::new(),
            prompts: None,
            pairs_per_call: 5,
            choose: 340,
            measure: 300,
        }
    }
}

/// Effects and what counts as a principle (METHOD §5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrincipleConfig {
    /// Chance of printing any principle at all when nothing is associated with the label.
    pub alpha: f64,
    /// A principle that applies to fewer pairs than this is flagged `rare`.
    pub rare_below: f64,
    /// Activations correlated more than this say the same thing.
    pub redundant_above: f64,
    /// Evidence pairs named per principle, for and against each.
    pub evidence: usize,
}

impl Default for PrincipleConfig {
    fn default() -> Self {
        Self { alpha: 0.05, rare_below: 0.05, redundant_above: 0.7, evidence: 5 }
    }
}

impl Config {
    /// Reads a settings file.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = crate::limits::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.into(),
            message: error.to_string().trim_end().to_owned(),
        })
    }

    /// Checks ranges; every stage may rely on them.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |setting, value: String, must| Err(ConfigError::Value { setting, value, must });
        let shares = self.split.shares;
        if shares.iter().any(|share| !share.is_finite() || *share < 0.0)
            || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-6
            || shares[0] <= 0.0
            || shares[2] <= 0.0
        {
            return bad(
                "split",
                format!("{shares:?}"),
                "three shares that add up to 1 are needed (train, describe, held_out), train and held_out above 0",
            );
        }
        for (setting, value, most) in [
            ("embed.batch_texts", self.embed.batch_texts, 100_000),
            ("embed.batch_tokens", self.embed.batch_tokens, 100_000_000),
            ("embed.concurrency", self.embed.concurrency, 512),
            ("embed.timeout_seconds", self.embed.timeout_seconds as usize, 86_400),
            ("embed.max_tokens", self.embed.max_tokens.unwrap_or(8), 100_000_000),
            ("embed.dimensions", self.embed.dimensions.unwrap_or(1), 1 << 20),
        ] {
            if !(1..=most).contains(&value) {
                return bad(setting, value.to_string(), "it must be at least 1, and not absurdly large");
            }
        }
        if let Some(price) = self.embed.price
            && !(price.is_finite() && price >= 0.0)
        {
            return bad(
                "embed.price",
                price.to_string(),
                "it must be a number of dollars per million tokens",
            );
        }
        let language = &self.describe.language;
        if self.describe.describer == Describer::Model && language.writer.is_none() {
            return bad(
                "writer",
                "not given".into(),
                "`--describer model` needs a model that writes (`--writer MODEL`; `--judge MODEL` for another one that judges)",
            );
        }
        for (setting, value, most) in [
            ("describe.language.pairs_per_call", language.pairs_per_call, 100),
            ("describe.language.choose", language.choose, 100_000),
            ("describe.language.measure", language.measure, 100_000),
        ] {
            if !(1..=most).contains(&value) {
                return bad(setting, value.to_string(), "it must be at least 1, and not absurdly large");
            }
        }
        let features = self.sae.features.unwrap_or(4096);
        if !(1..=4096).contains(&features) {
            return bad("features", features.to_string(), "it must lie between 1 and 4096");
        }
        if let Some(active) = self.sae.active
            && !(1..=features).contains(&active)
        {
            return bad("active", active.to_string(), "it must lie between 1 and the number of features");
        }
        for (setting, value) in [
            ("describe.alpha", self.describe.alpha),
            ("principles.alpha", self.principles.alpha),
            ("describe.min_fidelity", self.describe.min_fidelity),
            ("describe.min_stability", self.describe.min_stability),
            ("principles.rare_below", self.principles.rare_below),
            ("principles.redundant_above", self.principles.redundant_above),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return bad(setting, value.to_string(), "it must lie between 0 and 1");
            }
        }
        Ok(())
    }
}

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Meaning {
    /// The first response, A, is preferred.
    #[serde(alias = "A")]
    A,
    /// The second response, B, is preferred.
    #[serde(alias = "B")]
    B,
    /// Neither is.
    Tie,
    /// No label: the row is left out.
    Skip,
}

/// Values of a label column by hand: `model_1=A,model_2=B,draw=tie`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelMap(pub Vec<(String, Meaning)>);

/// A scale by hand, `FIRST..SECOND`: the end that is for the first response, and the one for the second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelScale {
    /// Here A is preferred most clearly.
    pub first: f64,
    /// Here B is.
    pub second: f64,
}

impl std::str::FromStr for LabelMap {
    type Err = String;

    /// `VALUE=A`, `VALUE=B`, `VALUE=tie` or `VALUE=skip`, with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut map: Vec<(String, Meaning)> = Vec::new();
        // A value may hold commas: what follows one without `=` belongs to the value before it.
        let mut pending = String::new();
        for part in text.split(',') {
            if !pending.is_empty() {
                pending.push(',');
            }
            pending.push_str(part);
            let Some((value, meaning)) = pending.rsplit_once('=') else { continue };
            let meaning = match meaning.trim().to_ascii_lowercase().as_str() {
                "a" | "first" => Meaning::A,
                "b" | "second" => Meaning::B,
                "tie" => Meaning::Tie,
                "skip" | "none" => Meaning::Skip,
                // `A=B` is the code of some judge.
                _ => continue,
            };
            let value = value.trim().to_owned();
            if map.iter().any(|(other, _)| *other == value) {
                return Err(format!("`{value}` stands twice"));
            }
            map.push((value, meaning));
            pending.clear();
        }
        if map.is_empty() || !pending.trim().is_empty() {
            return Err(format!(
                "`{}` is no `VALUE=A`, `VALUE=B`, `VALUE=tie` or `VALUE=skip`; write them with commas between, such as \
                 model_1=A,model_2=B,draw=tie",
                pending.trim()
            ));
        }
        Ok(Self(map))
    }
}

impl std::str::FromStr for LabelScale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().replace('−', "-").parse::<f64>().ok().filter(|x| x.is_finite());
        let ends = text.split_once("..").map(|(a, b)| (number(a), number(b.trim_start_matches(['.', '=']))));
        match ends {
            Some((Some(first), Some(second))) if first != second => Ok(Self { first, second }),
            _ => Err("two different numbers with `..` between them are needed, A's end first, such as -3..3"
                .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "[sae]\nfeaturs = 3\n").unwrap();
        let message = Config::from_file(&path).unwrap_err().to_string();
        assert!(message.contains("featurs") && message.contains("c.toml"), "{message}");
    }

    #[test]
    fn shares_must_add_up() {
        let mut config = Config::default();
        config.validate().unwrap();
        config.split.shares = [0.5, 0.5, 0.5];
        assert!(config.validate().is_err());
        config.split.shares = [f64::NAN, 0.5, 0.5];
        assert!(config.validate().is_err());
    }
}
