//! What differs between annotators, and weights of their own (METHOD §8).
//!
//! 1. **Population**: one logit for everybody, over length and the few principles that reconstruct the
//!    labels ([`crate::constitution::choose`]).
//! 2. **Heterogeneity**: per feature, whether its effect differs between annotators beyond chance (score
//!    test, corrected), how much (τ by REML and Paule–Mandel with interval), and whether groups of
//!    annotators differ (likelihood ratio).
//! 3. **Weights**: per annotator, deviations from the population on the personal features only, shrunk by
//!    τ (penalised IRLS). Annotators with few labels keep the population's weights.
//! 4. **Evaluation**: what k labels of a new annotator are worth, on labels that nothing was learned from.
//!
//! Weights use every label; the evaluation repeats steps 1–3 without the annotators and prompts that it
//! is tested on.

mod evaluate;
mod heterogeneity;
mod labelled;
mod population;
mod stream;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::constitution::choose::{Chooser, Constraints, LONGEST};
use crate::constitution::select::Tested;
use crate::context::{Cancel, Stopped};
use crate::describe::Described;
use crate::effects::Outcome;
use crate::effects::table::MOST_LABELS;
use crate::pairs::Pairs;
use crate::store::SCHEMA_VERSION;

pub use evaluate::{CalibrationBin, Evaluation, Gain, KS};
pub use heterogeneity::{GroupEffect, GroupTest, Heterogeneity};
pub use labelled::{Labelled, Names};
pub use population::{Belief, Population, own_coefficient};
pub use stream::{NewLabels, Updated};

use evaluate::Learned;
use heterogeneity::Scaled;

/// The formula that turns weights into a probability, for whoever applies them elsewhere.
pub const FORMULA: &str = "P(A preferred) = 1 / (1 + exp(-(intercept + length_weight * (words in A - words in B) + sum over features of weight * activation))), activations as in activations.parquet (seen from A), weight = the annotator's personal_weight where there is one, else population_weight";

/// Annotators from which on statements about annotators in general are worth making.
const MANY: usize = 8;
/// Share of the labels in which a feature must differ to be tested.
const PREVALENT: f64 = 0.05;

/// Which features may be personal.
#[derive(Debug, Clone, PartialEq)]
pub enum Allowed {
    /// Those found to differ between annotators, without the safety-relevant ones.
    Subjective,
    /// These and no others, safety-relevant or not.
    Named(Vec<usize>),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who the annotators are, one name per judgement.
    pub by: Names,
    /// The name of that column.
    pub by_name: String,
    /// Columns that group the annotators, one value per judgement.
    pub groups: Vec<(String, Names)>,
    /// Features that may be personal.
    pub allowed: Allowed,
    /// Labels from which on an annotator gets weights of its own.
    pub min_pairs: usize,
    /// Family-wise error rate of the heterogeneity tests.
    pub alpha: f64,
    /// Whether to measure what the weights are worth; the slowest part.
    pub evaluate: bool,
    /// The run's seed.
    pub seed: u64,
    /// Correlation from which on two features say the same.
    pub redundant_above: f64,
    /// Whether to stop.
    pub cancel: Cancel,
}

/// Why there is nothing to personalise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PersonalizeError {
    /// No label has an annotator.
    #[error(
        "no label says who gave it: `{by}` is empty\nhint: name the column with `--by COLUMN`; without annotators there is nothing to personalise"
    )]
    NoAnnotators {
        /// The column.
        by: String,
    },
    /// Nothing to go on from.
    #[error("`{path}` cannot be gone on from: {why}\nhint: run `wimhf personalize` without `--update` first")]
    NoRecord {
        /// `personalize.json`.
        path: std::path::PathBuf,
        /// Why.
        why: String,
    },
    /// The new labels lack something.
    #[error(
        "`{path}` cannot be added: {why}\nhint: it needs `annotator_id`, `label`, `length_delta` and a column for each feature of `scorer.json`, named by its id"
    )]
    NewLabels {
        /// The file.
        path: String,
        /// What.
        why: String,
    },
    /// Somebody asked to stop.
    #[error("stopped; nothing was written")]
    Stopped,
    /// All labels are the same, or there are none.
    #[error("the labels cannot be modelled: {why}\nhint: `wimhf analyze` says what the dataset holds")]
    NoLabels {
        /// Why.
        why: String,
    },
}

impl From<Stopped> for PersonalizeError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// A personal weight of one annotator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Weight {
    /// Log-odds per unit of activation, for this annotator.
    pub personal_weight: f64,
    /// Standard deviation of the deviation from the population after the annotator's labels.
    pub sd: f64,
    /// sd² / τ²: 1 where nothing of its own is known, near 0 where its labels decide.
    pub shrinkage: f64,
}

/// One annotator's weights, on the personal features, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnnotatorWeights {
    /// Who.
    pub annotator: String,
    /// Labels without ties.
    pub n: usize,
    /// Too few labels: the population's weights.
    pub fallback: bool,
    /// `[features]`
    pub weights: Vec<Weight>,
    /// Deviations from the population by all its labels, also where they are too few to be used yet.
    pub deviations: Vec<f64>,
    /// Inverse covariance of the deviations, `[features, features]`, for going on with more labels.
    pub precision: Vec<Vec<f64>>,
}

/// A feature that may be personal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PersonalFeature {
    /// The feature.
    pub feature_id: String,
    /// What it measures, in words.
    pub description: String,
    /// A label of a few words.
    pub short: String,
    /// Log-odds per unit of activation, for everybody.
    pub population_weight: f64,
    /// τ per unit of activation: the prior of the deviations.
    pub tau: f64,
    /// Root mean square of the activation; a weight times this is log-odds per standard size.
    pub scale: f64,
}

/// A feature of the population's model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PopulationFeature {
    /// The feature.
    pub feature_id: String,
    /// What it measures, in words.
    pub description: String,
    /// Log-odds per unit of activation.
    pub weight: f64,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Personalization {
    /// Version of this file's layout.
    pub schema_version: u64,
    /// The dataset, as the user named it.
    pub dataset: String,
    /// The column that says who the annotators are.
    pub by: String,
    /// Labels without ties, with an annotator.
    pub labels: usize,
    /// Labels without an annotator: they count for the population only.
    pub labels_anonymous: usize,
    /// Annotators.
    pub annotators: usize,
    /// Annotators with labels enough for weights of their own.
    pub annotators_enough: usize,
    /// Annotators whose labels are all the same.
    pub annotators_one_label: usize,
    /// Labels that are enough.
    pub min_pairs: usize,
    /// How annotators differ, the clearest first.
    pub tests: Vec<Heterogeneity>,
    /// How groups of annotators differ, the clearest first.
    pub groups: Vec<GroupTest>,
    /// Log-odds of A where nothing differs.
    pub intercept: f64,
    /// Log-odds per word of difference.
    pub length_weight: f64,
    /// The population's model.
    pub population: Vec<PopulationFeature>,
    /// The personal features.
    pub features: Vec<PersonalFeature>,
    /// Personal weights.
    pub weights: Vec<AnnotatorWeights>,
    /// What they are worth.
    pub evaluation: Evaluation,
    /// What can and cannot be said, in words.
    pub notes: Vec<String>,
}

/// Personalises a run.
///
/// # Errors
/// [`PersonalizeError`], where there are no annotators or no labels to learn from.
pub fn personalize(
    pairs: &Pairs,
    described: &Described,
    options: &Options,
) -> Result<Personalization, PersonalizeError> {
    let labels = Labelled::new(pairs, &options.by);
    let tested = Tested::graded(described, &options.cancel);
    let job = Job { labels: &labels, described, tested: &tested, options };
    job.run()
}

/// Labels from which on an annotator has a coefficient of its own, unless told otherwise.
pub const MIN_PAIRS: usize = 8;

/// How the annotators of a run differ, for its report: the tests, without weighing what weights are worth. `None`
/// where fewer than two annotators have [`MIN_PAIRS`] labels, or the labels cannot be modelled.
///
/// # Errors
/// [`Stopped`].
pub fn differences(
    pairs: &Pairs,
    described: &Described,
    config: &crate::config::Config,
    cancel: &Cancel,
) -> Result<Option<Personalization>, Stopped> {
    let options = Options {
        by: Names::annotators(pairs),
        by_name: "annotator_id".into(),
        groups: Vec::new(),
        allowed: Allowed::Subjective,
        min_pairs: MIN_PAIRS,
        alpha: config.principles.alpha,
        evaluate: false,
        seed: config.seed,
        redundant_above: config.principles.redundant_above,
        cancel: cancel.clone(),
    };
    match personalize(pairs, described, &options) {
        Err(PersonalizeError::Stopped) => Err(Stopped),
        found => Ok(found.ok().filter(|found| found.annotators_enough > 1)),
    }
}

struct Job<'a> {
    labels: &'a Labelled,
    described: &'a Described,
    tested: &'a Tested<'a>,
    options: &'a Options,
}

impl Job<'_> {
    fn run(&self) -> Result<Personalization, PersonalizeError> {
        let (labels, options) = (self.labels, self.options);
        let rows = labels.all();
        let by_annotator = labels.by_annotator(&rows);
        let labelled: usize = by_annotator.iter().map(Vec::len).sum();
        if labelled == 0 {
            return Err(PersonalizeError::NoAnnotators { by: options.by_name.clone() });
        }
        let base = self.base(&rows)?;
        let failed = |outcome: Outcome| PersonalizeError::NoLabels {
            why: outcome.note().unwrap_or("they could not be fitted").into(),
        };
        let population = self.population(&base, &rows).map_err(failed)?;
        let mut tests = self.tests(&population, &rows);
        options.cancel.check()?;
        for test in &mut tests {
            let feature = &self.described.features[test.feature];
            test.feature_id.clone_from(&feature.feature_id);
            test.description.clone_from(&feature.description);
            test.short.clone_from(&feature.short);
            test.safety = self.is_safety(test.feature);
        }
        let allowed = self.allowed(&tests);
        // The model holds every personal feature, so that a deviation has something to deviate from.
        let population = self.population(&union(&base, &allowed), &rows).map_err(failed)?;
        let features = self.personal_features(&allowed, &tests, &population);
        let tau: Vec<f64> = features.iter().map(|feature| feature.tau).collect();
        let weights = (by_annotator.par_iter().zip(&labels.names))
            .filter(|(own, _)| !own.is_empty())
            .map(|(own, name)| self.weights(own, name, &allowed, &tau, &population, &features))
            .collect();
        let evaluation = match options.evaluate {
            true => {
                let columns = &self.tested.columns;
                let learn = |train: &[u32]| self.learn(train);
                evaluate::evaluate(columns, labels, options.min_pairs, options.seed, learn)
            }
            false => Evaluation::default(),
        };
        options.cancel.check()?;
        let mut groups = heterogeneity::group_tests(&tests, &options.groups, labels, options.seed);
        for test in &mut groups {
            test.groups.sort_by(|a, b| b.annotators.cmp(&a.annotators).then(a.value.cmp(&b.value)));
        }
        let words = |feature: usize| &self.described.features[feature];
        let one_label = |own: &&Vec<u32>| {
            let first = own.first().map(|&row| labels.y[row as usize] > 0.5);
            own.len() > 1 && own.iter().all(|&row| Some(labels.y[row as usize] > 0.5) == first)
        };
        let sure = |test: &Heterogeneity| (test.subjective, test.personal);
        tests.sort_by(|a, b| sure(b).cmp(&sure(a)).then(f64::total_cmp(&order(a.p), &order(b.p))));
        let mut found = Personalization {
            schema_version: SCHEMA_VERSION,
            by: options.by_name.clone(),
            labels: labelled,
            labels_anonymous: labels.len() - labelled,
            annotators: by_annotator.iter().filter(|own| !own.is_empty()).count(),
            annotators_enough: by_annotator.iter().filter(|own| own.len() >= options.min_pairs).count(),
            annotators_one_label: by_annotator.iter().filter(one_label).count(),
            min_pairs: options.min_pairs,
            tests,
            groups,
            intercept: population.intercept,
            length_weight: population.length,
            population: (population.features.iter().zip(&population.weights))
                .map(|(&feature, weight)| PopulationFeature {
                    feature_id: words(feature).feature_id.clone(),
                    description: words(feature).description.clone(),
                    weight: *weight,
                })
                .collect(),
            features,
            weights,
            evaluation,
            ..Personalization::default()
        };
        found.notes = self.notes(&found);
        Ok(found)
    }

    /// The principles that everybody's labels support.
    fn base(&self, rows: &[u32]) -> Result<Vec<usize>, Stopped> {
        // What more labels would add hardly shows; the pairs stand in the order of a hash.
        let step = rows.len().div_ceil(MOST_LABELS).max(1);
        let some: Vec<u32> = rows.iter().copied().step_by(step).collect();
        let sample = self.labels.sample(&some);
        if sample.is_empty() {
            return Ok(Vec::new());
        }
        let chooser = Chooser::new(self.tested, &sample, self.options.redundant_above);
        let chosen = chooser.choose(&sample, LONGEST, false, &Constraints::default())?;
        Ok(chosen.articles.iter().map(|article| article.feature).collect())
    }

    fn population(&self, features: &[usize], rows: &[u32]) -> Result<Population, Outcome> {
        Population::fit(&self.tested.columns, features, &self.described.features, self.labels, rows)
    }

    /// The features that are tested: in words, not a repetition, and frequent enough; and those named.
    fn family(&self, rows: &[u32]) -> Vec<usize> {
        let columns = &self.tested.columns;
        let frequent = |feature: usize| {
            let active = |row: &&u32| columns.row(self.labels.pair[**row as usize] as usize)[feature] != 0.0;
            rows.iter().filter(active).count() as f64 >= PREVALENT * rows.len() as f64
        };
        let named: &[usize] = match &self.options.allowed {
            Allowed::Named(features) => features,
            Allowed::Subjective => &[],
        };
        (0..columns.cols)
            .filter(|&feature| {
                let words = &self.described.features[feature];
                let usual =
                    self.tested.has_words(feature) && words.redundant_with.is_none() && frequent(feature);
                usual || named.contains(&feature)
            })
            .collect()
    }

    fn tests(&self, population: &Population, rows: &[u32]) -> Vec<Heterogeneity> {
        let columns = &self.tested.columns;
        let (labels, options) = (self.labels, self.options);
        let family = self.family(rows);
        let (least, cancel) = (options.min_pairs, &options.cancel);
        let mut tests = heterogeneity::measure(columns, &family, population, labels, rows, least, cancel);
        heterogeneity::mark_subjective(&mut tests, columns, population, labels, rows, options.alpha);
        tests
    }

    fn is_safety(&self, feature: usize) -> bool {
        let flags = &self.described.features[feature].flags;
        flags.iter().any(|flag| matches!(flag.as_str(), "safety" | "protective" | "harmful"))
    }

    fn allowed(&self, tests: &[Heterogeneity]) -> Vec<usize> {
        match &self.options.allowed {
            Allowed::Named(features) => features.clone(),
            Allowed::Subjective => {
                let personal = |test: &&Heterogeneity| test.personal && !self.is_safety(test.feature);
                tests.iter().filter(personal).map(|test| test.feature).collect()
            }
        }
    }

    fn personal_features(
        &self,
        allowed: &[usize],
        tests: &[Heterogeneity],
        population: &Population,
    ) -> Vec<PersonalFeature> {
        (allowed.iter())
            .map(|&feature| {
                let words = &self.described.features[feature];
                let test = tests.iter().find(|test| test.feature == feature);
                let scale = test.map_or(1.0, |test| test.scale);
                let tau = test.map_or(0.0, |test| test.tau / scale);
                PersonalFeature {
                    feature_id: words.feature_id.clone(),
                    description: words.description.clone(),
                    short: words.short.clone(),
                    population_weight: population.weight(feature),
                    tau: if tau.is_finite() { tau } else { 0.0 },
                    scale,
                }
            })
            .collect()
    }

    fn weights(
        &self,
        own: &[u32],
        name: &str,
        allowed: &[usize],
        tau: &[f64],
        population: &Population,
        features: &[PersonalFeature],
    ) -> AnnotatorWeights {
        let belief = heterogeneity::belief(&self.tested.columns, allowed, population, tau, self.labels, own);
        AnnotatorWeights::new(name, own.len(), self.options.min_pairs, &belief, features)
    }

    /// Steps 1–3 on the labels of other annotators; nothing once somebody wants it to stop.
    fn learn(&self, train: &[u32]) -> Option<Learned> {
        let base = self.base(train).ok()?;
        let population = self.population(&base, train).ok()?;
        let tests = self.tests(&population, train);
        let allowed = self.allowed(&tests);
        let population = self.population(&union(&base, &allowed), train).ok()?;
        let features = self.personal_features(&allowed, &tests, &population);
        let scales = (population.features.iter())
            .map(|&feature| Scaled::new(&self.tested.columns, feature, self.labels, train).scale)
            .collect();
        let tau = features.iter().map(|feature| feature.tau).collect();
        Some(Learned { population, features: allowed, tau, scales })
    }

    fn notes(&self, found: &Personalization) -> Vec<String> {
        let mut notes = Vec::new();
        let few = found.annotators_enough;
        if few < MANY {
            notes.push(format!(
                "{few} annotator{} with at least {} labels: whether these differ can be tested, and their own weights can be \
                 estimated; how much annotators differ in general cannot (see the width of τ's interval), groups of annotators \
                 cannot be compared, and what weights are worth for a new annotator cannot be measured to any use",
                if few == 1 { "" } else { "s" },
                found.min_pairs
            ));
        }
        if found.annotators_one_label > 0 {
            notes.push(format!(
                "{} annotator{} always the same side; {} weights stay close to the population's",
                found.annotators_one_label,
                if found.annotators_one_label == 1 { " prefers" } else { "s prefer" },
                if found.annotators_one_label == 1 { "its" } else { "their" }
            ));
        }
        if found.annotators > few {
            notes.push(format!(
                "{} of {} annotators have fewer than {} labels and keep the population's weights",
                found.annotators - few,
                found.annotators,
                found.min_pairs
            ));
        }
        if found.features.is_empty() {
            notes.push(
                "no feature's effect differs between annotators beyond chance: everybody gets the population's weights; \
                 name features with `--features` to personalise them anyway"
                    .into(),
            );
        }
        let nothing: Vec<&str> =
            found.features.iter().filter(|f| f.tau <= 0.0).map(|f| f.short.as_str()).collect();
        if !nothing.is_empty() {
            notes.push(format!(
                "τ is estimated as 0 for {}: its weights are the population's for everybody",
                nothing.join(", ")
            ));
        }
        let left: Vec<&str> = (found.tests.iter())
            .filter(|test| {
                test.personal
                    && test.safety
                    && found.features.iter().all(|feature| feature.feature_id != test.feature_id)
            })
            .map(|test| test.short.as_str())
            .collect();
        if !left.is_empty() {
            notes.push(format!(
                "safety-relevant features stay the same for everybody unless named with `--features`: {}",
                left.join(", ")
            ));
        }
        notes
    }
}

/// For sorting: tests without a p-value last.
fn order(p: f64) -> f64 {
    if p.is_nan() { f64::INFINITY } else { p }
}

fn union(base: &[usize], more: &[usize]) -> Vec<usize> {
    let mut all = base.to_vec();
    all.extend(more.iter().filter(|feature| !base.contains(feature)));
    all
}
