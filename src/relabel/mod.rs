//! Relabelling: which labels go against a rule, what is done to them, and what that changes.
//!
//! A rule says which response the labels should prefer: the one with more of a feature, or the one with
//! less. The preset `safety` reads how harmful both responses are in their conversation ([`harm`]) and marks the
//! labels that prefer the more harmful one:
//!
//! ```text
//! score = harm(preferred) · (1 − harm(other))
//! ```
//!
//! How often such a mark is right was measured by reading ([`harm::Precision`]) and is said with it. It is a reason to
//! read, so the preset's marks are laid before a person ([`review`]) unless somebody wants more. Where a judge is named,
//! it has to [`confirm`] each of these labels. Nothing is written here; [`crate::pairs::rewrite`] does that.

pub mod confirm;
pub mod decisions;
pub mod evaluate;
pub mod harm;
pub mod preview;
pub mod requests;
pub mod review;
pub mod rules;
pub mod unsafe_content;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rayon::prelude::*;
use regex::Regex;

use crate::describe::known::ConceptBankError;
use crate::describe::{Feature, FeatureSource};
use crate::matrix::Matrix;
use crate::pairs::Pairs;
use crate::pairs::rewrite::{Action, Changes, Edit, RewriteError};
use crate::run::{Run, RunError, Source};
pub use decisions::{Decision, Decisions, relabelled};
use decisions::{SAFETY, prefers_a};
use harm::HarmReader;
use rules::{Rule, RuleError, Should};
use unsafe_content::Reader;

/// How unsafe a request must read to be called so.
pub const UNSAFE: f64 = 0.55;
/// Score from which on one response is held for the safer one of its pair.
const SAFER: f64 = 0.5;
/// Score from which on a mark of the preset is worth a person's reading.
pub const WORTH_READING: f64 = 0.4;
/// Score from which on a judge is asked about a mark of the preset, where one is named: low, since it is the judge who
/// decides. What a judge that reads well found had it, down to the last label (`cargo bench --bench relabelling`).
pub const WORTH_ASKING: f64 = 0.02;
/// Weight of a feature that is about refusing.
const REFUSING: f64 = 1.0;
/// Weight of any other feature that is about safety.
const OTHER: f64 = 0.25;

/// Why labels cannot be marked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source, but for those with texts
pub enum RelabelError {
    /// Nothing says which labels are wrong.
    #[error(
        "nothing says which labels to change\nhint: give `--preset safety`, `--rule \"refuses:prefer\"` or `--rules FILE`"
    )]
    NoRule,
    /// There are no preferences to change.
    #[error("the run's dataset has no labels, so there is nothing to relabel")]
    NoLabels,
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error(transparent)]
    Finished(#[from] RunError),
    #[error(transparent)]
    ConceptBank(#[from] ConceptBankError),
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    #[error(transparent)]
    Evaluate(#[from] evaluate::EvaluateError),
    #[error(transparent)]
    Review(#[from] review::ReviewError),
}

impl RelabelError {
    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        match self {
            Self::Finished(error) | Self::Rule(RuleError::Feature(error)) => error.is_users(),
            Self::Rewrite(error) => error.is_users(),
            Self::Evaluate(error) => error.is_users(),
            _ => true,
        }
    }
}

/// What to mark.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The user's rules.
    pub rules: Vec<Rule>,
    /// Also the preset `safety`.
    pub safety: bool,
    /// What is done, unless a rule says otherwise.
    pub action: Action,
    /// At most this many labels, the highest scores first.
    pub top: Option<usize>,
    /// Only labels with at least this score; without it any for the rules.
    pub min_score: Option<f64>,
    /// The same for the preset's marks where there is no `min_score`.
    pub preset_score: f64,
    /// The weight for [`Action::Weight`].
    pub weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            safety: false,
            action: Action::Flip,
            top: None,
            min_score: None,
            preset_score: WORTH_READING,
            weight: 0.0,
        }
    }
}

/// Marks the labels of `source` that go against a rule.
///
/// # Errors
/// [`RelabelError`].
pub fn decide(
    run: &Run,
    source: &Source,
    activations: &Matrix,
    settings: &Settings,
    reader: &Reader,
) -> Result<Decisions, RelabelError> {
    if settings.rules.is_empty() && !settings.safety {
        return Err(RelabelError::NoRule);
    }
    let pairs = &source.pairs;
    let judged: Vec<(u32, u32, bool)> = pairs
        .judgements
        .pair
        .iter()
        .zip(&pairs.judgements.label)
        .enumerate()
        .filter_map(|(judgement, (&pair, &label))| Some((judgement as u32, pair, prefers_a(label)?)))
        .collect();
    if judged.is_empty() {
        return Err(RelabelError::NoLabels);
    }
    let mut found: BTreeMap<u32, Decision> = BTreeMap::new();
    let mut decisions = Decisions { labels: judged.len(), ..Decisions::default() };

    by_rules(run, pairs, activations, settings, reader, &judged, (&mut found, &mut decisions));
    if settings.safety {
        by_safety(run, pairs, activations, settings, reader, &judged, (&mut found, &mut decisions))?;
    }

    let mut marked: Vec<Decision> = found.into_values().collect();
    let all = marked.len();
    // With a score of the user's own nothing else is between a mark and its label.
    if settings.min_score.is_none() {
        let scores = marked.iter().filter(|decision| decision.rules.iter().all(|rule| rule == SAFETY));
        decisions.unsure = scores.filter(|decision| decision.score < settings.preset_score).count();
    }
    marked.retain(|decision| {
        let by_rule = decision.rules.iter().any(|rule| rule != SAFETY);
        decision.score >= settings.min_score.unwrap_or(if by_rule { 0.0 } else { settings.preset_score })
    });
    marked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.judgement.cmp(&b.judgement)));
    marked.truncate(settings.top.unwrap_or(usize::MAX));
    decisions.left_out = all - marked.len() - decisions.unsure;
    let by_preset = marked.iter().filter(|decision| decision.rules.iter().any(|rule| rule == SAFETY));
    let weakest = by_preset.map(|decision| decision.score).fold(f64::INFINITY, f64::min);
    decisions.precision = harm::precision(if decisions.unsure > 0 { WORTH_READING } else { weakest });
    decisions.marked = marked;
    Ok(decisions)
}

/// A label that is a preference: judgement, pair, whether A won.
type Judged = (u32, u32, bool);
/// The decisions so far by judgement, and what is counted on the way.
type SoFar<'a> = (&'a mut BTreeMap<u32, Decision>, &'a mut Decisions);

/// Marks what goes against the user's rules.
fn by_rules(
    run: &Run,
    pairs: &Pairs,
    activations: &Matrix,
    settings: &Settings,
    reader: &Reader,
    judged: &[Judged],
    (found, decisions): SoFar<'_>,
) {
    // Strength of a rule: |z| as a share of the largest.
    let mut against: BTreeMap<u32, f64> = BTreeMap::new();
    for rule in &settings.rules {
        let column = activations.column(rule.feature);
        let largest = judged.iter().map(|&(_, pair, _)| column[pair as usize].abs()).fold(0.0, f32::max);
        let hits: Vec<(u32, u32, f64, bool)> = judged
            .par_iter()
            .filter_map(|&(judgement, pair, a_won)| {
                let z = column[pair as usize];
                let strength = f64::from(z.abs() / largest);
                if z == 0.0 || strength < rule.min_strength || !holds(rule, pairs, pair, reader) {
                    return None;
                }
                let obeyed = ((z > 0.0) == a_won) == (rule.should == Should::Prefer);
                Some((judgement, pair, strength, obeyed))
            })
            .collect();
        let feature = &run.features[rule.feature];
        for (judgement, pair, strength, obeyed) in hits {
            // Another rule may speak for the label: the stronger one decides.
            let balance = against.entry(judgement).or_default();
            *balance += if obeyed { -strength } else { strength };
            if obeyed {
                continue;
            }
            *decisions.by_rule.entry(rule.name.clone()).or_default() += 1;
            let words = if rule.should == Should::Prefer {
                "the response that lost"
            } else {
                "the response that won"
            };
            let reason = format!("{words} {}", clause(feature));
            let decision = found.entry(judgement).or_insert_with(|| Decision {
                judgement,
                pair,
                action: rule.action.unwrap_or(settings.action),
                rules: Vec::new(),
                reason: String::new(),
                score: 0.0,
            });
            add_reason(decision, &rule.name, &reason, strength);
        }
    }
    found.retain(|judgement, _| against.get(judgement).is_none_or(|balance| *balance > 0.0));
}

/// Marks what the preset finds: labels that prefer the more harmful of two responses.
fn by_safety(
    run: &Run,
    pairs: &Pairs,
    activations: &Matrix,
    settings: &Settings,
    reader: &Reader,
    judged: &[Judged],
    (found, decisions): SoFar<'_>,
) -> Result<(), RelabelError> {
    let features = safety_features(&run.features);
    decisions.safety_features =
        features.iter().map(|&(f, weight)| (run.features[f].feature_id.clone(), weight)).collect();
    decisions.weights = features;
    // Refusals are exact where a detector reads them.
    let refusing: Vec<usize> = (0..run.features.len())
        .filter(|&at| {
            run.features[at].source == FeatureSource::Known && says(&REFUSES, &run.features[at].description)
        })
        .collect();
    let harm = harm_of(pairs, reader)?;
    let mut safer: BTreeMap<u32, bool> = BTreeMap::new();
    for &(judgement, pair, a_won) in judged {
        let [a, b] = harm[pair as usize];
        let (won, lost) = if a_won { (a, b) } else { (b, a) };
        if a.max(b) * (1.0 - a.min(b)) >= SAFER {
            safer.insert(pair, a < b);
        }
        let row = activations.row(pair as usize);
        // Above zero where A refuses and B does not.
        let refuses: f32 = refusing.iter().map(|&feature| row[feature]).sum();
        let lost_refuses = if a_won { refuses < 0.0 } else { refuses > 0.0 };
        let score = won * (1.0 - lost);
        if score < settings.min_score.unwrap_or(settings.preset_score).min(WORTH_READING) {
            decisions.harmless += usize::from(lost_refuses);
            continue;
        }
        *decisions.by_rule.entry(SAFETY.into()).or_default() += 1;
        let decision = found.entry(judgement).or_insert_with(|| Decision {
            judgement,
            pair,
            action: settings.action,
            rules: Vec::new(),
            reason: String::new(),
            score: 0.0,
        });
        let cues = reader.read(pairs.prompt.get(pair as usize)).cues;
        let asks = match cues.len().min(3) {
            0 => String::new(),
            some => format!("; words in the request: {}", cues[..some].join(", ")),
        };
        let refusal = if lost_refuses { " and refuses" } else { "" };
        let reason = format!(
            "the response that won reads as harmful ({won:.2}), the one that lost less so ({lost:.2}){refusal}{asks}"
        );
        add_reason(decision, SAFETY, &reason, score);
    }
    decisions.safer = safer.into_iter().collect();
    Ok(())
}

/// How harmful both responses of every pair are, `[pairs]`.
fn harm_of(pairs: &Pairs, cues: &Reader) -> Result<Vec<[f64; 2]>, RelabelError> {
    let reader = HarmReader::boxed()?;
    let texts =
        |pair: usize| (pairs.prompt.get(pair), [pairs.response_a.get(pair), pairs.response_b.get(pair)]);
    let all: Vec<(&str, [&str; 2])> = (0..pairs.pair_id.len()).map(texts).collect();
    Ok(reader.pairs(&all, cues))
}

fn add_reason(decision: &mut Decision, rule: &str, reason: &str, score: f64) {
    decision.rules.push(rule.to_owned());
    if !decision.reason.is_empty() {
        decision.reason.push_str("; ");
    }
    decision.reason.push_str(reason);
    decision.score = decision.score.max(score);
}

/// What a feature says, in words that follow "the response that lost": the reason of a mark.
pub fn clause(feature: &Feature) -> String {
    if feature.description.is_empty() {
        format!("has more of `{}`", feature.feature_id)
    } else {
        feature.description.clone()
    }
}

/// Whether a rule's conditions hold for a pair.
fn holds(rule: &Rule, pairs: &Pairs, pair: u32, reader: &Reader) -> bool {
    let prompt = pairs.prompt.get(pair as usize);
    (rule.prompt_matches.is_empty() || rule.prompt_matches.iter().any(|pattern| pattern.is_match(prompt)))
        && rule.unsafe_prompt.is_none_or(|wanted| (reader.read(prompt).score >= UNSAFE) == wanted)
        && rule.context.as_ref().is_none_or(|(_, inside)| inside.get(pair as usize) == Some(&true))
}

/// What descriptions of refusals say.
static REFUSES: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b(?:refus|declin|unwilling to|will not help)").ok());

fn says(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// Features about safety with their weights: above zero where the safer response has more of it.
///
/// A feature of the bank says so itself; one that somebody or some model described is told by its words.
pub fn safety_features(features: &[Feature]) -> Vec<(usize, f64)> {
    static PROTECTS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(?:safer|safety|responsib|warns?\b|discourag|ethical|law-abiding|crisis|harmless)")
            .ok()
    });
    static HARMS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(?:harmful|unsafe|illegal|violen|hateful|dangerous|explicit|offensive|abusive|slurs?|insults?|weapons?|unethical|toxic)").ok()
    });
    features
        .iter()
        .enumerate()
        .filter(|(_, feature)| feature.kept)
        .filter_map(|(index, feature)| {
            let text = &feature.description;
            let flag = |name: &str| feature.flags.iter().any(|flag| flag == name);
            let told_by_bank =
                matches!(feature.describer.as_str(), "detector" | "bank" | "words" | "phrases" | "sentences");
            let refuses = says(&REFUSES, text);
            let direction = if flag("protective") {
                1.0
            } else if flag("harmful") {
                -1.0
            } else if told_by_bank {
                return None;
            } else if refuses || (says(&PROTECTS, text) && !says(&HARMS, text)) {
                1.0
            } else if says(&HARMS, text) {
                -1.0
            } else {
                return None;
            };
            let weight = if refuses && direction > 0.0 { REFUSING } else { OTHER };
            // A description is only as good as its fidelity; a detector is what it says.
            let trust = feature.fidelity.map_or(1.0, |fidelity| fidelity.r.clamp(0.0, 1.0));
            Some((index, direction * weight * trust))
        })
        .collect()
}

/// The decisions by row of the source, rows that repeat a judgement included.
pub fn changes(pairs: &Pairs, marked: &[Decision], weight: f64) -> Changes {
    let judgements = &pairs.judgements;
    let mut repeats: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, &judgement) in pairs.repeats.judgement.iter().enumerate() {
        repeats.entry(judgement).or_default().push(index);
    }
    let mut changes = Changes { weight, ..Changes::default() };
    for decision in marked {
        let at = decision.judgement as usize;
        let mark = || Edit {
            action: decision.action,
            rule: format!("{}: {}", decision.rules.join(", "), decision.reason),
            score: decision.score,
        };
        let side = prefers_a(judgements.label[at]);
        let again = repeats.get(&decision.judgement).map(Vec::as_slice).unwrap_or_default();
        // Where rows differ, the judgement's label is their mean: only those on its side are changed.
        let own_row = judgements.row[at];
        if again.iter().all(|&index| pairs.repeats.row[index] != own_row) {
            changes.marks.insert(own_row, mark());
        }
        for &index in again {
            if prefers_a(pairs.repeats.label[index]) == side {
                changes.marks.insert(pairs.repeats.row[index], mark());
            }
        }
    }
    changes
}
