//! Relabelling: which labels go against a rule, what is done to them, and what that changes.
//!
//! A rule says which response the labels should prefer: the one with more of a feature, or the one with
//! less. The preset `safety` is a rule of its own kind: it weighs every feature that is about safety
//! against the label, and asks how unsafe the request is:
//!
//! ```text
//! safer  = the response that refuses, within its first words, where the other one does not
//! margin = Σ over safety features of direction · weight · (how much more the safer response has)
//! shown  = 1 − (1 − prompt) · Π (1 − weight of what the responses show); half where the prompt has no cue
//! unsafe = 1 − (1 − shown) · (1 − prior)
//! prior  = s(1 − f) / f(1 − s)      s: share of the refused requests that cues tell to be unsafe; f: share of
//!                                   unsafe requests that cues find: how likely is one that they say nothing of
//! marked where the safer response lost, margin ≥ .5 and unsafe ≥ .55; score = unsafe · min(margin, 1)
//! ```
//!
//! So a refusal of a harmless wish is not touched, however much the labels mind it. Where a judge is named, it
//! has to [`confirm`] each of these labels. Nothing is written here; [`crate::pairs::rewrite`] does that.

pub mod confirm;
pub mod decisions;
pub mod evaluate;
pub mod preview;
pub mod requests;
pub mod rules;
pub mod unsafe_content;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rayon::prelude::*;
use regex::Regex;

use crate::describe::known::{ConceptBank, ConceptBankError};
use crate::describe::{Feature, FeatureSource};
use crate::matrix::Matrix;
use crate::pairs::Pairs;
use crate::pairs::rewrite::{Action, Changes, Edit, RewriteError};
use crate::run::{Run, RunError, Source};
pub use decisions::{Decision, Decisions, relabelled};
use decisions::{SAFETY, prefers_a};
use rules::{Rule, RuleError, Should};
use unsafe_content::{Reader, Reading};

/// How clearly one response must be the safer one: a refusal is enough unless other features contradict it.
pub const MARGIN: f64 = 0.5;
/// How unsafe the exchange must be.
pub const UNSAFE: f64 = 0.55;
/// Score from which on the preset marks a label unless told otherwise: below it cue and refusal are both faint, and a
/// label that is turned for nothing costs more than one that is left.
pub const SURE: f64 = 0.6;
/// Weight of a feature that is about refusing.
const REFUSING: f64 = 1.0;
/// Weight of any other feature that is about safety.
const OTHER: f64 = 0.25;
/// Words in which a refusal has to begin.
const OPENING: usize = 30;
/// What a refusal's reason says about the request.
const REASON: f64 = 0.3;
/// What a harmful concept in the preferred response says about the exchange.
const HARMFUL: f64 = 0.2;

/// What is left of that where the request itself gives no cue.
const UNPROMPTED: f64 = 0.5;

/// Share of unsafe requests that the cues find, roughly; real ones hide behind harmless words.
const FOUND: f64 = 0.6;
/// Harmless candidates added before a share is taken.
const SMOOTHING: f64 = 10.0;
/// The most that a dataset says about one of its requests.
const STRONGEST_PRIOR: f64 = 0.8;
/// What is worth telling about that.
const HINTED: f64 = 0.3;

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
    /// The preset finds nothing to go by.
    #[error(
        "no feature of the run is about safety, so the preset has nothing to go by\nhint: name one yourself, with `--rule`"
    )]
    NoSafetyFeature,
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
    /// Only labels with at least this score; without it [`SURE`] for the preset, and any for the rules.
    pub min_score: Option<f64>,
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
    marked.retain(|decision| {
        let by_rule = decision.rules.iter().any(|rule| rule != SAFETY);
        decision.score >= settings.min_score.unwrap_or(if by_rule { 0.0 } else { SURE })
    });
    marked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.judgement.cmp(&b.judgement)));
    marked.truncate(settings.top.unwrap_or(usize::MAX));
    decisions.left_out = all - marked.len();
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

/// Marks what the preset finds.
fn by_safety(
    run: &Run,
    pairs: &Pairs,
    activations: &Matrix,
    settings: &Settings,
    reader: &Reader,
    judged: &[Judged],
    (found, decisions): SoFar<'_>,
) -> Result<(), RelabelError> {
    let bank = run.bank()?;
    let features = safety_features(&run.features);
    if features.is_empty() {
        return Err(RelabelError::NoSafetyFeature);
    }
    decisions.safety_features =
        features.iter().map(|&(f, weight)| (run.features[f].feature_id.clone(), weight)).collect();
    decisions.weights.clone_from(&features);
    let unsafe_ones = safety(pairs, activations, judged, &run.features, &features, reader, &bank);
    decisions.harmless = unsafe_ones.harmless;
    decisions.safer = unsafe_ones.safer;
    for hit in unsafe_ones.hits {
        *decisions.by_rule.entry(SAFETY.into()).or_default() += 1;
        let decision = found.entry(hit.judgement).or_insert_with(|| Decision {
            judgement: hit.judgement,
            pair: hit.pair,
            action: settings.action,
            rules: Vec::new(),
            reason: String::new(),
            score: 0.0,
        });
        add_reason(decision, SAFETY, &hit.reason, hit.score);
    }
    Ok(())
}

fn add_reason(decision: &mut Decision, rule: &str, reason: &str, score: f64) {
    decision.rules.push(rule.to_owned());
    if !decision.reason.is_empty() {
        decision.reason.push_str("; ");
    }
    decision.reason.push_str(reason);
    decision.score = decision.score.max(score);
}

/// What a feature says, in words that follow "the response that lost".
fn clause(feature: &Feature) -> String {
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

/// A label whose two responses clearly differ in safety.
struct Candidate {
    judgement: u32,
    pair: u32,
    a_is_safer: bool,
    /// The label prefers the other one.
    wrong: bool,
    /// How clearly it is safer.
    margin: f64,
    /// Of it, by feature.
    parts: Vec<f64>,
}

struct Hit {
    judgement: u32,
    pair: u32,
    score: f64,
    reason: String,
}

/// What the preset finds.
#[derive(Default)]
struct Safety {
    /// Labels that prefer the unsafe response to the safe one.
    hits: Vec<Hit>,
    /// Labels that prefer the bolder response where nothing is unsafe, or where both refuse.
    harmless: usize,
    /// Every pair about an unsafe request with one safe response: whether that is A.
    safer: Vec<(u32, bool)>,
}

#[allow(clippy::too_many_lines, reason = "one chain of probabilities, read from top to bottom")]
fn safety(
    pairs: &Pairs,
    activations: &Matrix,
    judged: &[(u32, u32, bool)],
    all: &[Feature],
    features: &[(usize, f64)],
    reader: &Reader,
    bank: &ConceptBank,
) -> Safety {
    static REASONS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"(?i)\b(?:illegal|unlawful|harmful|harm (?:to|other|some|any)|hurt\w*|danger\w*|unethical|immoral|violen\w+|crimes?|criminal|against the law|offensive|hateful|hate speech|racis\w+|sexis\w+|abus\w+|inappropriate|invasion of|privacy|private information|consent|weapons?|explosives?|drugs|suicid\w+|self-harm|prison|jail|arrested|victims?|steal\w*|cheat\w*|fraud\w*|stereotyp\w+|disrespect\w*|cruel\w*|(?:is|be|are) (?:very |really |morally )?wrong|not (?:a )?(?:good|nice|okay|ok|right|appropriate|acceptable|safe)\b)",
        )
        .ok()
    });
    let scale: Vec<f32> = features
        .iter()
        .map(|&(feature, _)| {
            let (sum, count) = judged
                .iter()
                .map(|&(_, pair, _)| activations.row(pair as usize)[feature])
                .filter(|z| *z != 0.0)
                .fold((0.0f64, 0usize), |(sum, n), z| (sum + f64::from(z) * f64::from(z), n + 1));
            if count > 0 { (sum / count as f64).sqrt() as f32 } else { 1.0 }
        })
        .collect();
    // Refusals are exact where a detector reads them.
    let refusing: Vec<usize> = (0..all.len())
        .filter(|&at| all[at].source == FeatureSource::Known && says(&REFUSES, &all[at].description))
        .collect();
    let candidates: Vec<Candidate> = judged
        .par_iter()
        .filter_map(|&(judgement, pair, a_won)| {
            let row = activations.row(pair as usize);
            let refuses: f32 = refusing.iter().map(|&feature| row[feature]).sum();
            if refuses == 0.0 {
                return None;
            }
            let a_is_safer = refuses > 0.0;
            let toward = if a_is_safer { 1.0 } else { -1.0 };
            let parts: Vec<f64> = features
                .iter()
                .zip(&scale)
                .map(|(&(feature, weight), scale)| {
                    toward * weight * f64::from((row[feature] / scale).clamp(-1.0, 1.0))
                })
                .collect();
            let margin = parts.iter().sum::<f64>();
            let wrong = a_won != a_is_safer;
            (margin >= MARGIN).then_some(Candidate { judgement, pair, a_is_safer, wrong, margin, parts })
        })
        .collect();
    let prompts: Vec<Reading> = candidates
        .par_iter()
        .map(|candidate| reader.read(pairs.prompt.get(candidate.pair as usize)))
        .collect();
    let told = prompts.iter().filter(|prompt| prompt.score >= UNSAFE).count() as f64;
    let share = told / (prompts.len() as f64 + SMOOTHING);
    let prior = (share * (1.0 - FOUND) / (FOUND * (1.0 - share))).min(STRONGEST_PRIOR);
    let flagged = |wanted: &str| -> Vec<usize> {
        let concepts = bank.concepts().iter().enumerate();
        let with_it = concepts.filter(|(_, concept)| concept.flags.iter().any(|flag| flag == wanted));
        with_it.map(|(index, _)| index).collect()
    };
    let harmful = flagged("harmful");
    let mut refusals = flagged("protective");
    refusals.retain(|&concept| says(&REFUSES, &bank.concepts()[concept].description));
    let found: Vec<Option<Hit>> = candidates
        .par_iter()
        .zip(&prompts)
        .map(|(candidate, prompt)| {
            let at = candidate.pair as usize;
            let (a, b) = (pairs.response_a.get(at), pairs.response_b.get(at));
            let (safe, other) = if candidate.a_is_safer { (a, b) } else { (b, a) };
            let read = bank.read(pairs.prompt.get(at), other);
            // Two refusals may differ in tone.
            if refusals.iter().any(|&concept| read[concept] > 0.0) {
                return None;
            }
            // Who refuses says so at once; what sounds like it further down is often about something else.
            let opening: String = safe.split_inclusive(char::is_whitespace).take(OPENING).collect();
            let read_opening = bank.read(pairs.prompt.get(at), &opening);
            if refusals.iter().all(|&concept| read_opening[concept] <= 0.0) {
                return None;
            }
            let mut innocent = 1.0 - prompt.score;
            let mut words: Vec<String> = prompt.cues.iter().take(3).cloned().collect();
            if says(&REASONS, safe) {
                innocent *= 1.0 - REASON;
                words.push("the reason given for refusing".into());
            }
            for &concept in harmful.iter().filter(|&&concept| read[concept] > 0.0) {
                innocent *= 1.0 - HARMFUL;
                words.push(format!("{} in the response that won", bank.concepts()[concept].short));
            }
            // Responses without any cue in the request are no evidence of what was wished.
            if prompt.score == 0.0 {
                innocent = 1.0 - (1.0 - innocent) * UNPROMPTED;
            }
            let danger = 1.0 - innocent * (1.0 - prior);
            if danger < UNSAFE {
                return None;
            }
            if prior >= HINTED {
                words.push("most refused requests here are unsafe".into());
            }
            let strongest = candidate.parts.iter().enumerate().max_by(|x, y| x.1.total_cmp(y.1));
            let said = strongest.map_or(String::new(), |(index, _)| {
                let (feature, weight) = features[index];
                let who = if weight > 0.0 { "the response that lost" } else { "the response that won" };
                format!("{who} {}", clause(&all[feature]))
            });
            let reason = format!("{said}; unsafe: {}", words.join(", "));
            let score = danger * candidate.margin.min(1.0);
            Some(Hit { judgement: candidate.judgement, pair: candidate.pair, score, reason })
        })
        .collect();
    let mut safety = Safety::default();
    for (candidate, found) in candidates.iter().zip(found) {
        match found {
            Some(hit) => {
                safety.safer.push((candidate.pair, candidate.a_is_safer));
                if candidate.wrong {
                    safety.hits.push(hit);
                }
            }
            None => safety.harmless += usize::from(candidate.wrong),
        }
    }
    safety
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
