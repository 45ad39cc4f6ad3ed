//! What a feature is to a reader: where it comes from, its words and how true they are.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::config::DescribeConfig;
use crate::matrix::Matrix;
use crate::statistics::correlation::Correlation;

/// Where a feature comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureSource {
    /// The autoencoder over this dataset's sentences.
    #[default]
    Learned,
    /// The paper's autoencoder over the differences of whole responses.
    Difference,
    /// The dictionary that comes with the program.
    Dictionary,
    /// The bank of concepts with detectors.
    Known,
    /// Words that go with the labels and that nothing else explains.
    Theme,
}

impl FeatureSource {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Difference => "difference",
            Self::Dictionary => "dictionary",
            Self::Known => "known",
            Self::Theme => "theme",
        }
    }

    /// Whether an autoencoder found it: those features stand first.
    pub fn is_found(self) -> bool {
        matches!(self, Self::Learned | Self::Difference | Self::Dictionary)
    }

    /// Whether it fires in sentences.
    pub fn reads_sentences(self) -> bool {
        matches!(self, Self::Learned | Self::Dictionary)
    }
}

/// How readers, who saw the words alone, judged what the program finds in real pairs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Pairs (of a dictionary's entry: sentences) in which it was found and the reader saw the same.
    pub right: u32,
    /// Pairs in which it was found and that were read.
    pub n: u32,
    /// Pairs in which the reader saw it and it was found.
    pub found: u32,
    /// Pairs in which the reader saw it.
    pub of: u32,
}

/// Readings below which a share says nothing.
const READ: u32 = 10;
/// Share of the readings that must be right for a statement.
const PRECISION: f64 = 0.8;

impl Reading {
    /// Share of what is found that readers saw, too; `None` where too few were read.
    pub fn precision(&self) -> Option<f64> {
        (self.n >= READ).then(|| f64::from(self.right) / f64::from(self.n))
    }

    /// Whether it may form a sentence.
    pub fn holds(&self) -> bool {
        self.precision().is_none_or(|precision| precision >= PRECISION)
    }
}

/// A feature in words, with how true the words are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Feature {
    /// `learned_07`, `known_apologises`, `theme_02`; names the column in `activations.parquet`.
    pub feature_id: String,
    /// Who found it.
    pub source: FeatureSource,
    /// The concept of the bank that describes it, or the entry of the dictionary that it is.
    pub concept: Option<String>,
    /// What the side with a positive activation does; empty when unexplained.
    pub description: String,
    /// A label of a few words.
    pub short: String,
    /// Completes "Prefer the response that …".
    pub clause: String,
    /// `detector` (is the concept itself), `words` (is a count of them), `dictionary`, `bank` (a known concept that goes
    /// with it), `phrases` (that its responses have and others have not), `sentences` (quoted, which a judging model found true), `model`,
    /// or `none`.
    pub describer: String,
    /// Correlation of activation and description on held-out pairs where the feature is present in one response;
    /// `None` where the description is the detector itself, or nothing describes the feature.
    pub fidelity: Option<Correlation>,
    /// How readers judged the words; `None` where nobody has.
    pub reading: Option<Reading>,
    /// How well the feature comes back when half of the material is learned from, 0 to 1;
    /// `None` where it is not learned.
    pub stability: Option<f64>,
    /// Activation from which on it counts as present in a response; `None` where any counts.
    pub clear_level: Option<f32>,
    /// Fidelity is high enough and beyond chance, corrected over the features that were found.
    pub kept: bool,
    /// The feature that says the same thing and stands before this one.
    pub redundant_with: Option<String>,
    /// `safety`, `protective`, `harmful`, `length` … from the bank.
    pub flags: Vec<String>,
    /// Phrases that its words name, in lower case: where none of them stands, the words say nothing, and it does not count
    /// as present. Empty where it is present wherever it is clear.
    pub phrases: Vec<String>,
    /// Words near it in the embedder's vocabulary; of a theme, its words.
    pub terms: Vec<String>,
    /// Short sentences in which it fires most strongly, each from another response.
    pub typical: Vec<String>,
    /// Index (into the pairs) of its strongest held-out pairs, strongest first.
    pub examples: Vec<u32>,
}

/// A description that the offline describer offers for a learned feature, kept or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Completes "The response …".
    pub text: String,
    /// The concept of the bank that it is.
    pub concept: Option<usize>,
    /// 1 where it describes the feature's positive side, −1 the other.
    pub sign: f64,
}

impl Feature {
    /// What half of the material does not bring back says more about the draw than about the data.
    pub(super) fn recurs(&self, config: &DescribeConfig) -> bool {
        self.stability.is_none_or(|stability| stability >= config.min_stability)
    }

    /// Its description; where nothing describes it for good, what it was read off.
    pub fn words(&self) -> String {
        if !self.description.is_empty() {
            return self.description.clone();
        }
        let quotes: Vec<String> = self.typical.iter().map(|text| format!("“{text}”")).collect();
        match (self.source, quotes.is_empty()) {
            (_, true) => self.feature_id.clone(),
            (FeatureSource::Difference, false) => {
                format!("its strongest responses say {}", quotes.join(", "))
            }
            (_, false) => format!("fires at {}", quotes.join(", ")),
        }
    }

    /// Whether it has words at all.
    pub fn is_said(&self) -> bool {
        !self.description.is_empty()
    }

    /// Whether it counts as present only where phrases that its words name stand.
    pub fn is_worded(&self) -> bool {
        !self.phrases.is_empty()
    }

    /// Whether it carries a flag, such as `length` or `safety`.
    pub fn is_about(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }

    /// Whether its words may make a statement: they say what is measured, and nothing before it says the same.
    ///
    /// A theme is what its words say, and so is a known concept, unless readers saw something else in more than one of five
    /// pairs in which its detector finds it. A feature on differences in a known concept's words is left to
    /// that concept, which measures them exactly; one of sentences is a kind of it, with an example.
    pub fn speaks(&self) -> bool {
        let own = self.kept && self.redundant_with.is_none();
        match self.source {
            FeatureSource::Known => self.reading.is_none_or(|reading| reading.holds()),
            FeatureSource::Theme => true,
            FeatureSource::Difference => own && self.describer != "bank",
            FeatureSource::Learned | FeatureSource::Dictionary => own,
        }
    }
}

/// What the describe stage found.
#[derive(Debug, Clone, Default)]
pub struct Described {
    /// By source, in its order: learned, difference, dictionary, known, themes; `[features]`.
    pub features: Vec<Feature>,
    /// Signed activations in the features' orientation, graded, `[pairs, features]`: what fits use.
    pub activations: Matrix,
    /// −1, 0 or +1: present in A minus present in B, `[pairs, features]`: what is shown to people goes by it.
    pub presence: Matrix,
    /// Features on differences whose sign was turned so that the description fits the positive side, by their number
    /// among those.
    pub flipped: Vec<usize>,
    /// What competes with a language model's descriptions, by learned feature; empty in a finished run.
    pub offers: Vec<Vec<Offer>>,
}

impl Described {
    /// What statements rest on, `[pairs, features]`: graded activations, and the presence of features whose words name
    /// phrases. How strongly such a feature fires is no part of what its words say.
    pub fn stated(&self) -> Cow<'_, Matrix> {
        let worded: Vec<usize> =
            (0..self.features.len()).filter(|&feature| self.features[feature].is_worded()).collect();
        if worded.is_empty() {
            return Cow::Borrowed(&self.activations);
        }
        let mut stated = self.activations.clone();
        let cols = stated.cols.max(1);
        for (row, there) in stated.values.chunks_exact_mut(cols).zip(self.presence.values.chunks_exact(cols))
        {
            worded.iter().for_each(|&feature| row[feature] = there[feature]);
        }
        Cow::Owned(stated)
    }
}
