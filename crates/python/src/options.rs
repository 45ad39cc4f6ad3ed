//! Options of the verbs as Python gives them: a JSON object for each, checked here, so that a wrong type is an
//! `InputError` that names the option.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use wimhf::config::{Precision, What};
use wimhf::pairs::rewrite::Action;
use wimhf::pairs::{LabelMap, LabelScale, ReadOptions};
use wimhf::sae::DeviceChoice;
use wimhf::{Context, Error, ExportFormat, ModelRequest, ScorerRequest};

use crate::errors::input;

/// Reads options; an error names the one that does not fit.
pub fn read<T: DeserializeOwned + Default>(json: &str) -> Result<T, Error> {
    let values: Map<String, Value> = serde_json::from_str(json).map_err(|error| input(error.to_string()))?;
    let whole = Value::Object(values.clone());
    serde_json::from_value(whole).map_err(|error| {
        for (name, value) in values {
            let shown = value.to_string();
            let alone = Value::Object(Map::from_iter([(name.clone(), value)]));
            if let Err(error) = serde_json::from_value::<T>(alone) {
                return input(format!("`--{}` cannot be {shown}: {error}", name.replace('_', "-")));
            }
        }
        input(error.to_string())
    })
}

/// `analyze`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Analyze {
    pub out: Option<PathBuf>,
    pub config_file: Option<PathBuf>,
    pub settings: Map<String, Value>,
    pub device: DeviceChoice,
    pub force: bool,
    pub max_cost: Option<f64>,
    pub max_calls: Option<u64>,
    pub save_embeddings: Option<PathBuf>,
}

/// `inspect`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inspect {
    pub config_file: Option<PathBuf>,
    pub settings: Map<String, Value>,
}

/// `compare`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compare {
    pub by: Option<String>,
    pub out: Option<PathBuf>,
    pub anonymise: bool,
}

/// `score`, `scorer`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Score {
    pub force: bool,
    pub annotator: Option<String>,
    pub explain: bool,
    pub features: Option<bool>,
    pub prompt_column: Option<String>,
    pub response_a_column: Option<String>,
    pub response_b_column: Option<String>,
    pub embedding_columns: Option<(String, String)>,
    pub device: DeviceChoice,
    /// On a worker: nothing is fetched or kept.
    pub worker: bool,
}

impl Score {
    pub fn request(self) -> ScorerRequest {
        ScorerRequest {
            annotator: self.annotator,
            explain: self.explain,
            no_features: !self.features.unwrap_or(true),
            columns: ReadOptions {
                prompt_column: self.prompt_column,
                response_a_column: self.response_a_column,
                response_b_column: self.response_b_column,
                embedding_columns: self.embedding_columns,
                ..ReadOptions::default()
            },
            device: self.device,
        }
    }
}

/// `NativeEmbedder`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Embed {
    pub embedder: Option<String>,
    pub what: What,
    pub template: Option<String>,
    pub max_tokens: Option<usize>,
    pub precision: Precision,
    pub prompt_column: Option<String>,
    pub response_a_column: Option<String>,
    pub response_b_column: Option<String>,
}

/// The language model of a verb.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    pub model: Option<String>,
    pub base_url: Option<String>,
    pub params: Map<String, Value>,
    pub prompts: Option<PathBuf>,
    pub max_cost: Option<f64>,
    pub max_calls: Option<u64>,
}

impl Model {
    pub fn request(self, context: &Context) -> ModelRequest {
        let mut request = ModelRequest {
            model: self.model,
            base_url: self.base_url,
            params: self.params,
            prompts: self.prompts,
            ..ModelRequest::default()
        };
        request.options.context = context.clone();
        request.options.limits.dollars = self.max_cost;
        request.options.limits.calls = self.max_calls;
        request
    }
}

/// `relabel`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relabel {
    pub data: Option<String>,
    pub rules: Vec<String>,
    pub rules_file: Option<PathBuf>,
    pub safety: bool,
    pub action: Option<Action>,
    pub decisions: Option<PathBuf>,
    pub top: Option<usize>,
    pub min_score: Option<f64>,
    pub weight: f64,
    pub out: Option<PathBuf>,
    pub trl: Option<PathBuf>,
    pub dry_run: bool,
    pub evaluate: Option<Vec<String>>,
    pub cues: Option<PathBuf>,
    pub judge: Model,
    pub force: bool,
}

/// `personalize`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Personalize {
    pub by: Option<String>,
    pub features: Vec<String>,
    pub min_pairs: Option<usize>,
    pub groups: Vec<String>,
    pub evaluate: Option<bool>,
    pub dry_run: bool,
    pub out: Option<PathBuf>,
    pub force: bool,
}

/// `constitution`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Constitution {
    pub principles: Option<usize>,
    pub objective: ObjectiveName,
    pub edits: Option<PathBuf>,
    pub dry_run: bool,
    pub out: Option<PathBuf>,
    pub icai: bool,
    pub pairs: Option<usize>,
    pub pairs_per_call: Option<usize>,
    pub model: Model,
}

/// What a list is chosen for.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveName {
    #[default]
    Linear,
    Vote,
}

/// `judge`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Judge {
    pub concepts: Vec<String>,
    pub pairs: Option<usize>,
    pub pairs_per_call: Option<usize>,
    pub second_judge: Option<String>,
    pub dry_run: bool,
    pub judge: Model,
}

/// `audit`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    pub judge_column: Option<String>,
    pub judge_scores: Option<(String, String)>,
    pub judge_data: Option<String>,
    pub label_map: Option<LabelMap>,
    pub label_scale: Option<LabelScale>,
    pub against: Option<String>,
    pub out: Option<PathBuf>,
    pub force: bool,
}

/// `contexts`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contexts {
    pub columns: Vec<String>,
    pub out: Option<PathBuf>,
    pub force: bool,
}

/// `reasons`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reasons {
    pub reason_columns: Vec<String>,
    pub critique_columns: Option<(String, String)>,
    pub out: Option<PathBuf>,
    pub force: bool,
}

/// `models`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    pub columns: Option<(String, String)>,
    pub out: Option<PathBuf>,
    pub force: bool,
}

/// `report`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Report {
    pub anonymise: bool,
    pub force: bool,
    pub out: Option<PathBuf>,
}

/// `export`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Export {
    pub format: FormatName,
    pub force: bool,
    pub out: Option<PathBuf>,
    pub held_out: Option<bool>,
}

/// For whom.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormatName {
    #[default]
    AnnotatedPairs,
    Trl,
    Icai,
    Csv,
}

impl From<FormatName> for ExportFormat {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::AnnotatedPairs => Self::AnnotatedPairs,
            FormatName::Trl => Self::Trl,
            FormatName::Icai => Self::Icai,
            FormatName::Csv => Self::Csv,
        }
    }
}
