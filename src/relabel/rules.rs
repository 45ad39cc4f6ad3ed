//! Rules: which side should not have won, and where.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use regex::Regex;
use serde::Deserialize;

use crate::pairs::rewrite::Action;
use crate::run::{Run, RunError};

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// Not of the form `NAME:prefer` or `NAME:avoid`.
    #[error(
        "`{0}` is no rule\nhint: name a feature or principle and what the labels should do with it, such as `refuses:prefer` or `3:avoid`"
    )]
    Form(String),
    /// The file of rules cannot be read.
    #[error("cannot read the rules `{path}`: {}{}", crate::limits::said(.source), crate::limits::hint(.source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of rules is not valid.
    #[error(
        "the rules in `{path}` are not usable: {message}\nhint: each is `[[rule]]` with `feature = \"refuses\"` and `side = \"prefer\"`; further keys are `name`, `unsafe_prompt`, `prompt_matches`, `context`, `min_strength` and `action`"
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// No such feature.
    #[error(transparent)]
    Feature(#[from] RunError),
}

/// Which response the labels should prefer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Should {
    /// The one with more of the feature.
    Prefer,
    /// The one with less of it.
    Avoid,
}

impl Should {
    /// `prefer` or `avoid`.
    pub fn name(self) -> &'static str {
        if self == Self::Prefer { "prefer" } else { "avoid" }
    }
}

/// A rule that is ready to use.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What reports call it.
    pub name: String,
    /// Index into the run's features.
    pub feature: usize,
    /// Which side the labels should prefer.
    pub should: Should,
    /// Only where the prompt is unsafe (true) or is not (false).
    pub unsafe_prompt: Option<bool>,
    /// Only where the prompt matches one of these.
    pub prompt_matches: Vec<Regex>,
    /// Only in this kind of request, and the pairs in it, `[pairs]`.
    pub context: Option<(String, Arc<[bool]>)>,
    /// Only where the strength is at least this, 0 to 1.
    pub min_strength: f64,
    /// What to do, instead of what was asked for all.
    pub action: Option<Action>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    feature: Name,
    side: Should,
    name: Option<String>,
    unsafe_prompt: Option<bool>,
    #[serde(default)]
    prompt_matches: Vec<String>,
    context: Option<String>,
    #[serde(default)]
    min_strength: f64,
    action: Option<Action>,
}

/// A feature's name, or a principle's rank.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Name {
    Rank(usize),
    Text(String),
}

impl Rule {
    /// From `NAME:prefer` or `NAME:avoid`.
    ///
    /// # Errors
    /// [`RuleError::Form`], [`RuleError::Feature`].
    pub fn parse(text: &str, run: &Run) -> Result<Self, RuleError> {
        let form = || RuleError::Form(text.to_owned());
        let (name, should) = text.rsplit_once(':').ok_or_else(form)?;
        let should = match should.trim().to_lowercase().as_str() {
            "prefer" => Should::Prefer,
            "avoid" => Should::Avoid,
            _ => return Err(form()),
        };
        if name.trim().is_empty() {
            return Err(form());
        }
        let feature = run.feature(name)?;
        Ok(Self {
            name: format!("{}:{}", short_id(run, feature), should.name()),
            feature,
            should,
            unsafe_prompt: None,
            prompt_matches: Vec::new(),
            context: None,
            min_strength: 0.0,
            action: None,
        })
    }

    /// From a file of rules.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn from_file(path: &Path, run: &Run) -> Result<Vec<Self>, RuleError> {
        let parse = |message: String| RuleError::Parse { path: path.into(), message };
        let text = crate::limits::read_to_string(path)
            .map_err(|source| RuleError::Read { path: path.into(), source })?;
        let file: File =
            toml::from_str(&text).map_err(|error| parse(error.to_string().trim_end().to_owned()))?;
        if file.rule.is_empty() {
            return Err(parse("it has no rule".into()));
        }
        file.rule
            .into_iter()
            .map(|entry| {
                if !(0.0..=1.0).contains(&entry.min_strength) {
                    return Err(parse(format!(
                        "`min_strength` is {}, but must lie between 0 and 1",
                        entry.min_strength
                    )));
                }
                let name = match &entry.feature {
                    Name::Rank(rank) => rank.to_string(),
                    Name::Text(text) => text.clone(),
                };
                let feature = run.feature(&name).map_err(|error| match error {
                    RunError::NoFeature { .. } => {
                        parse(error.to_string().lines().next().unwrap_or_default().into())
                    }
                    other => other.into(),
                })?;
                let prompt_matches = entry
                    .prompt_matches
                    .iter()
                    .map(|pattern| {
                        regex::RegexBuilder::new(pattern)
                            .case_insensitive(true)
                            .build()
                            .map_err(|error| parse(format!("`{pattern}` is no regular expression: {error}")))
                    })
                    .collect::<Result<_, _>>()?;
                let name =
                    entry.name.unwrap_or_else(|| format!("{}:{}", short_id(run, feature), entry.side.name()));
                Ok(Self {
                    name,
                    feature,
                    should: entry.side,
                    unsafe_prompt: entry.unsafe_prompt,
                    prompt_matches,
                    // Which pairs are in it is looked up where the pairs are.
                    context: entry.context.map(|id| (id, Arc::default())),
                    min_strength: entry.min_strength,
                    action: entry.action,
                })
            })
            .collect()
    }
}

/// A feature's name without its source, where that says enough.
fn short_id(run: &Run, feature: usize) -> &str {
    let id = run.features[feature].feature_id.as_str();
    id.strip_prefix("known_").unwrap_or(id)
}
