//! Stated beside revealed, feature by feature.
//!
//! ```text
//! c = 1, −1    the response that reasons say has more of it (A, B)       s = 1, −1    the one that has, by the run's presence
//! t = 1, 0, −1 more of it is called good, nothing is said, bad          w = 1, 0     the label prefers the one that has more
//! true         share of c = s                                          tested beyond what c and s agree in by chance
//! followed     share of w = 1 where t = 1, and w = 0 where t = −1       tested against one half
//! tells        δ of w = α + δ t + ε                                     tested against 0: says it, does it more often
//! ```
//!
//! Errors are clustered by prompt and annotator; p-values are corrected (Holm) over all features and the three tests.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::coverage::{self, Coverage, Sign};
use super::reading::Reader;
use super::resolved::{Given, Loose, Resolved, Told, resolve, side};
use super::themes::{self, Unnamed};
use crate::describe::Feature;
use crate::effects::{Clusters, quantile_95, student_p};
use crate::matrix::Matrix;
use crate::pairs::MISSING;
use crate::statistics::multiplicity::holm;
use crate::statistics::share::wilson_of;
use crate::store::Estimate;

/// Chance of claiming anything where there is nothing.
pub const ALPHA: f64 = 0.05;
/// Reasons below which nothing is tested.
pub const FEWEST: usize = 20;
/// A feature that surely fewer of the reasons name, in pairs that differ in it, is never stated.
pub const NEVER: f64 = 0.05;
/// Pairs that are listed, at most.
const LISTED: usize = 200;
/// Prompts from which on errors are clustered by them.
const FEWEST_PROMPTS: usize = 5;

/// What is held beside the reasons.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// The features that reasons may name.
    pub features: Vec<&'a Feature>,
    /// Their columns in `presence`.
    pub columns: Vec<usize>,
    /// −1, 0 or 1: present in A minus present in B, `[pairs, columns]`.
    pub presence: &'a Matrix,
    /// The principles; features as numbered in `features`.
    pub principles: Vec<Sign>,
    /// Whether "the first response" in a reason is the row's first.
    pub ordered: bool,
    /// For handing the reasons round.
    pub seed: u64,
}

/// How often the response with more of a feature wins, by what the reason says of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct When {
    /// Where more of it is called good.
    pub merit: Option<Estimate>,
    /// Where it is called bad.
    pub fault: Option<Estimate>,
    /// Where the reason does not name it.
    pub silent: Option<Estimate>,
}

/// What a principle wants of its feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// More of it.
    Prefer,
    /// Less of it.
    Avoid,
}

/// Whether labels go the way that the reasons say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Beyond chance.
    Followed,
    /// The other way, beyond chance.
    NotFollowed,
    /// Neither is seen.
    Unclear,
}

impl Verdict {
    /// As the files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Followed => "followed",
            Self::NotFollowed => "not_followed",
            Self::Unclear => "unclear",
        }
    }
}

impl Wanted {
    /// As the files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefer => "prefer",
            Self::Avoid => "avoid",
        }
    }
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReasonRow {
    /// As in `features.parquet`.
    pub feature_id: String,
    /// In words.
    pub description: String,
    /// Nothing where the labels confirm neither.
    pub principle: Option<Wanted>,
    /// Reasons that name it.
    pub reasons: usize,
    /// Their share of the reasons that say anything.
    pub named: Estimate,
    /// Reasons that call more of it good.
    pub merit: usize,
    /// Reasons that call more of it bad.
    pub fault: usize,
    /// Reasons that name it and call it neither.
    pub just_said: usize,
    /// Of the reasons that say which response has more of it, in pairs in which the run sees a difference: share that are right.
    pub is_true: Option<Estimate>,
    /// Reasons that say which response has more of it, in pairs in which the run sees no difference.
    pub not_seen: usize,
    /// Of the reasons that call it good or bad, in pairs that differ in it: share whose label goes the same way.
    pub followed: Option<Estimate>,
    /// Of the reasons that speak for one of the two by its name or place: share whose label is for that one.
    pub spoken_for: Option<Estimate>,
    /// How often the response with more of it wins.
    pub wins: When,
    /// How much more often it wins for each step from fault to silence to merit.
    pub tells: Option<Estimate>,
    /// p of `is_true`, beyond chance, corrected.
    pub true_p_holm: Option<f64>,
    /// p of `followed` against one half, corrected.
    pub followed_p_holm: Option<f64>,
    /// p of `tells`, corrected.
    pub tells_p_holm: Option<f64>,
    /// Nothing where there are too few.
    pub verdict: Option<Verdict>,
    /// Of the reasons in pairs that differ in it: share that name it.
    pub named_where_it_differs: Option<Estimate>,
    /// A principle that surely fewer than [`NEVER`] of these reasons name.
    pub never_stated: bool,
    /// Pairs whose reason calls it good or bad and whose label goes the other way.
    pub not_followed: Vec<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reasons {
    /// Reasons that were read.
    pub reasons: usize,
    /// Pairs that have one.
    pub pairs: usize,
    /// Reasons that say something of what a response is like.
    pub saying: usize,
    /// Share of those that name a feature.
    pub naming: Option<Estimate>,
    /// Of all statements that are good or bad, in pairs that differ in them: share that the label follows.
    pub followed: Option<Estimate>,
    /// Of all statements of which response has more, in pairs that differ: share that are right.
    pub is_true: Option<Estimate>,
    /// Every feature that can be named, the most named first.
    pub features: Vec<ReasonRow>,
    /// Confirmed features that no words are known for: nothing is said of how often they are stated.
    pub cannot_be_named: Vec<String>,
    /// By the principles.
    pub coverage: Coverage,
    /// What no feature covers.
    pub themes: Vec<Unnamed>,
    /// Sentences that a reader should know.
    pub notes: Vec<String>,
}

/// Figures of some of the reasons, with errors that know what these share.
struct Figures {
    clusters: Clusters,
}

impl Figures {
    fn new(given: &[&Given]) -> Self {
        let distinct = |ids: &[u32]| ids.iter().collect::<std::collections::HashSet<_>>().len();
        let prompts: Vec<u32> = given.iter().map(|given| given.prompt).collect();
        let pairs = || given.iter().map(|given| given.pair).collect();
        let mut dimensions = vec![if distinct(&prompts) < FEWEST_PROMPTS { pairs() } else { prompts }];
        let annotators: Vec<u32> = given.iter().map(|given| given.annotator).collect();
        if distinct(&annotators) > 1 && annotators.iter().any(|id| *id != MISSING) {
            dimensions.push(annotators);
        }
        Self { clusters: Clusters::new(given.len(), &dimensions) }
    }

    /// A share of `at` (positions may repeat) with Wilson's interval at the size that its clusters leave; degrees of freedom.
    fn share(&self, at: &[usize], values: &[f64]) -> Option<(Estimate, f64, f64)> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let influence: Vec<f64> = values.iter().map(|value| (value - mean) / n as f64).collect();
        let clusters = self.clusters.subset(at);
        let all = clusters.count(0) as f64;
        let (size, df) = match clusters.variance(None, &influence) {
            Some((variance, df)) if variance > 0.0 => {
                ((mean * (1.0 - mean) / variance).clamp(1.0, n as f64), df)
            }
            // All the same: each cluster counts once.
            _ => (all, (all - 1.0).max(1.0)),
        };
        let [value, low, high] = wilson_of(mean, size);
        Some((Estimate { value, low, high, n }, size, df))
    }

    fn estimate(&self, at: &[usize], values: &[f64]) -> Option<Estimate> {
        self.share(at, values).map(|found| found.0)
    }

    /// p of a share against one half.
    fn half(&self, at: &[usize], values: &[f64]) -> Option<f64> {
        let (share, size, df) = self.share(at, values)?;
        (values.len() >= FEWEST).then(|| student_p((share.value - 0.5) * 2.0 * size.sqrt(), df))
    }

    /// p of two signs agreeing more, or less, often than chance.
    fn together(&self, at: &[usize], claim: &[f64], seen: &[f64]) -> Option<f64> {
        let n = at.len();
        if n < FEWEST {
            return None;
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
        let (c, s) = (mean(claim), mean(seen));
        let products: Vec<f64> = claim.iter().zip(seen).map(|(x, y)| (x - c) * (y - s)).collect();
        let value = mean(&products);
        let influence: Vec<f64> = products.iter().map(|product| (product - value) / n as f64).collect();
        let (variance, df) = self.clusters.subset(at).variance(None, &influence)?;
        // Nothing varies: all agree, or one of the two is always the same.
        if variance <= 0.0 {
            Some(if value.abs() > 0.5 { 0.0 } else { 1.0 })
        } else {
            Some(student_p(value / variance.sqrt(), df))
        }
    }

    /// Slope of `y` on `x` with an intercept, and its p.
    fn slope(&self, at: &[usize], x: &[f64], y: &[f64]) -> Option<(Estimate, f64)> {
        let n = at.len();
        let with = x.iter().filter(|x| **x != 0.0).count();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / n.max(1) as f64;
        let (mx, my) = (mean(x), mean(y));
        let spread: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
        if with < FEWEST || spread <= 1e-9 {
            return None;
        }
        let value = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>() / spread;
        // What one reason bends the line by is put back: few say it, and each of them weighs much.
        let influence: Vec<f64> = x
            .iter()
            .zip(y)
            .map(|(x, y)| {
                let own = (1.0 / n as f64 + (x - mx).powi(2) / spread).min(0.98);
                (x - mx) * (y - my - value * (x - mx)) / spread / (1.0 - own)
            })
            .collect();
        let (variance, df) = self.clusters.subset(at).variance(None, &influence)?;
        let df = df.min(with as f64 - 1.0);
        let half = quantile_95(Some(df)) * variance.sqrt();
        let p = if variance > 0.0 { student_p(value / variance.sqrt(), df) } else { 1.0 };
        Some((Estimate { value, low: value - half, high: value + half, n: with }, p))
    }
}

/// What one feature shows, reason by reason.
#[derive(Default)]
struct Seen {
    named: Vec<(usize, Told)>,
    /// Reasons in pairs that differ in it: position, s, what is said.
    differ: Vec<(usize, f64, Told, bool)>,
}

impl Seen {
    /// `differ` where `of` finds a value.
    fn of(&self, of: impl Fn(f64, Told, bool, usize) -> Option<f64>) -> (Vec<usize>, Vec<f64>) {
        self.differ
            .iter()
            .filter_map(|&(at, s, told, named)| of(s, told, named, at).map(|value| (at, value)))
            .unzip()
    }
}

/// 1 where the label prefers the response with more of it, 0 where the other; `None` without a preference.
fn wins(label: f64, s: f64) -> Option<f64> {
    match side(label) {
        0 => None,
        side => Some(f64::from(u8::from((side > 0) == (s > 0.0)))),
    }
}

/// Reads the reasons and holds them against the pairs and the labels; `name` is the id of a pair.
pub fn measure(given: &[Given], asked: &Asked<'_>, name: impl Fn(u32) -> String + Sync) -> Reasons {
    let reader = Reader::new(&asked.features);
    let read: Vec<Resolved> = given.par_iter().map(|given| resolve(&reader, given, asked.ordered)).collect();
    // What says nothing ("better overall") neither states nor leaves out.
    let saying: Vec<usize> = (0..given.len()).filter(|&at| read[at].says_anything).collect();
    let kept: Vec<&Given> = saying.iter().map(|&at| &given[at]).collect();
    let resolved: Vec<Resolved> = saying.iter().map(|&at| read[at].clone()).collect();
    let figures = Figures::new(&kept);
    let nameable: Vec<usize> = (0..asked.features.len()).filter(|&f| reader.knows(f)).collect();
    let seen = |feature: usize| seen(feature, &kept, &resolved, asked);
    let mut rows: Vec<(ReasonRow, [Option<f64>; 3])> = nameable
        .par_iter()
        .map(|&feature| row(feature, &seen(feature), &kept, asked, &figures, &name))
        .collect();
    correct(&mut rows);
    let mut features: Vec<ReasonRow> = rows.into_iter().map(|(row, _)| row).collect();
    features.sort_by(|x, y| y.reasons.cmp(&x.reasons).then_with(|| x.feature_id.cmp(&y.feature_id)));

    let everywhere: Vec<usize> = (0..kept.len()).collect();
    let flags: Vec<f64> = resolved.iter().map(|r| f64::from(u8::from(!r.told.is_empty()))).collect();
    let loose: Vec<&[Loose]> = resolved.iter().map(|reason| reason.loose.as_slice()).collect();
    let pairs: Vec<u32> = kept.iter().map(|given| given.pair).collect();
    let aspects: Vec<usize> =
        (0..kept.len()).flat_map(|at| std::iter::repeat_n(at, resolved[at].aspects.len())).collect();
    let coverage = coverage::coverage(
        &resolved,
        &pairs,
        &asked.principles,
        (asked.presence, &asked.columns),
        asked.seed,
        |flags| figures.estimate(&aspects, flags),
    );
    let (followed, is_true) = altogether(&nameable, &seen, &kept, &figures);
    let confirmed = |f: &usize| principle(*f, asked).is_some() && !reader.knows(*f);
    let all_pairs: std::collections::HashSet<u32> = given.iter().map(|given| given.pair).collect();
    Reasons {
        reasons: given.len(),
        pairs: all_pairs.len(),
        saying: kept.len(),
        naming: figures.estimate(&everywhere, &flags),
        followed,
        is_true,
        features,
        cannot_be_named: (0..asked.features.len())
            .filter(confirmed)
            .map(|f| asked.features[f].description.clone())
            .collect(),
        coverage,
        themes: themes::themes(&loose, |flags| figures.estimate(&everywhere, flags)),
        notes: notes(&read, given, asked),
    }
}

/// What a reader should know of how the reasons were read.
fn notes(read: &[Resolved], given: &[Given], asked: &Asked<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let empty = read.iter().filter(|reason| !reason.says_anything).count();
    if empty > 0 {
        notes.push(format!("{empty} reasons say nothing of what a response is like, and are left out"));
    }
    let fixed = given.iter().any(|given| given.texts.iter().any(|(_, who)| who.is_some()));
    if !asked.ordered && !fixed {
        notes.push(
            "the dataset names the chosen response and the rejected one, not which of them people saw first, so \
             “the first one” and “A” in a reason name nobody"
                .to_owned(),
        );
    }
    notes
}

/// Statements of all features together.
fn altogether(
    features: &[usize],
    seen: &(impl Fn(usize) -> Seen + Sync),
    given: &[&Given],
    figures: &Figures,
) -> (Option<Estimate>, Option<Estimate>) {
    let (mut follow, mut claims) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for &feature in features {
        let seen = seen(feature);
        let (at, values) = followed(&seen, given);
        follow.0.extend(at);
        follow.1.extend(values);
        let (at, values) = is_true(&seen);
        claims.0.extend(at);
        claims.1.extend(values);
    }
    (figures.estimate(&follow.0, &follow.1), figures.estimate(&claims.0, &claims.1))
}

fn seen(feature: usize, given: &[&Given], resolved: &[Resolved], asked: &Asked<'_>) -> Seen {
    let mut seen = Seen::default();
    let column = asked.columns[feature];
    for (at, (given, reason)) in given.iter().zip(resolved).enumerate() {
        let told = reason.told.get(&feature);
        if let Some(told) = told {
            seen.named.push((at, *told));
        }
        let s = f64::from(asked.presence.row(given.pair as usize)[column]);
        if s != 0.0 {
            seen.differ.push((at, s.signum(), told.copied().unwrap_or_default(), told.is_some()));
        }
    }
    seen
}

fn followed(seen: &Seen, given: &[&Given]) -> (Vec<usize>, Vec<f64>) {
    seen.of(|s, told, _, at| match told.merit {
        0 => None,
        merit => wins(given[at].label, s).map(|won| if merit > 0 { won } else { 1.0 - won }),
    })
}

fn is_true(seen: &Seen) -> (Vec<usize>, Vec<f64>) {
    seen.of(|s, told, _, _| (told.claim != 0).then(|| f64::from(u8::from((told.claim > 0) == (s > 0.0)))))
}

/// 1 or −1 where a principle has the feature.
fn principle(feature: usize, asked: &Asked<'_>) -> Option<i8> {
    // Its first feature is what it measures.
    asked.principles.iter().find(|p| p.features.first() == Some(&feature)).map(|principle| principle.sign)
}

fn row(
    feature: usize,
    seen: &Seen,
    given: &[&Given],
    asked: &Asked<'_>,
    figures: &Figures,
    name: &(impl Fn(u32) -> String + Sync),
) -> (ReasonRow, [Option<f64>; 3]) {
    let everywhere: Vec<usize> = (0..given.len()).collect();
    let mut flags = vec![0.0; given.len()];
    seen.named.iter().for_each(|(at, _)| flags[*at] = 1.0);
    let count = |which: &dyn Fn(&Told) -> bool| seen.named.iter().filter(|(_, told)| which(told)).count();
    let (follow, kept) = followed(seen, given);
    let (claimed, right) = is_true(seen);
    let claims: Vec<f64> = seen.of(|_, told, _, _| (told.claim != 0).then(|| f64::from(told.claim))).1;
    let sides: Vec<f64> = seen.of(|s, told, _, _| (told.claim != 0).then_some(s)).1;
    let won = |which: &dyn Fn(Told, bool) -> bool| {
        let (at, values) =
            seen.of(|s, told, named, at| which(told, named).then(|| wins(given[at].label, s)).flatten());
        figures.estimate(&at, &values)
    };
    let (at, y) = seen.of(|s, _, _, at| wins(given[at].label, s));
    let t: Vec<f64> = seen.of(|s, told, _, at| wins(given[at].label, s).map(|_| f64::from(told.merit))).1;
    let slope = figures.slope(&at, &t, &y);
    let (spoke, agreed): (Vec<usize>, Vec<f64>) = seen
        .named
        .iter()
        .filter(|(at, told)| told.speaks_for != 0 && side(given[*at].label) != 0)
        .map(|(at, told)| (*at, f64::from(u8::from(told.speaks_for == side(given[*at].label)))))
        .unzip();
    let (there, said) = seen.of(|_, _, named, _| Some(f64::from(u8::from(named))));
    let named_where_it_differs = figures.estimate(&there, &said);
    let sign = principle(feature, asked);
    let mut against: Vec<u32> =
        follow.iter().zip(&kept).filter(|(_, kept)| **kept == 0.0).map(|(at, _)| given[*at].pair).collect();
    against.dedup();
    let none = Estimate { value: 0.0, low: 0.0, high: 1.0, n: 0 };
    let row = ReasonRow {
        feature_id: asked.features[feature].feature_id.clone(),
        description: asked.features[feature].description.clone(),
        principle: sign.map(|sign| if sign > 0 { Wanted::Prefer } else { Wanted::Avoid }),
        reasons: seen.named.len(),
        named: figures.estimate(&everywhere, &flags).unwrap_or(none),
        merit: count(&|told| told.merit > 0),
        fault: count(&|told| told.merit < 0),
        just_said: count(&|told| told.merit == 0),
        is_true: figures.estimate(&claimed, &right),
        not_seen: count(&|told| told.claim != 0) - claimed.len(),
        followed: figures.estimate(&follow, &kept),
        spoken_for: figures.estimate(&spoke, &agreed),
        wins: When {
            merit: won(&|told, _| told.merit > 0),
            fault: won(&|told, _| told.merit < 0),
            silent: won(&|_, named| !named),
        },
        tells: slope.map(|(estimate, _)| estimate),
        true_p_holm: None,
        followed_p_holm: None,
        tells_p_holm: None,
        verdict: None,
        never_stated: sign.is_some()
            && named_where_it_differs.is_some_and(|share| share.n >= FEWEST && share.high < NEVER),
        named_where_it_differs,
        not_followed: against.into_iter().take(LISTED).map(name).collect(),
    };
    (row, [figures.together(&claimed, &claims, &sides), figures.half(&follow, &kept), slope.map(|(_, p)| p)])
}

/// Corrects the p-values over all features and tests, and says what they allow.
fn correct(rows: &mut [(ReasonRow, [Option<f64>; 3])]) {
    let p: Vec<f64> = rows.iter().flat_map(|(_, p)| p.map(|p| p.unwrap_or(f64::NAN))).collect();
    let corrected = holm(&p);
    for ((row, p), corrected) in rows.iter_mut().zip(corrected.chunks_exact(3)) {
        let of = |test: usize| p[test].map(|_| corrected[test]).filter(|p| p.is_finite());
        (row.true_p_holm, row.followed_p_holm, row.tells_p_holm) = (of(0), of(1), of(2));
        row.verdict = row.followed_p_holm.map(|p| match row.followed {
            Some(followed) if p < ALPHA && followed.value > 0.5 => Verdict::Followed,
            Some(_) if p < ALPHA => Verdict::NotFollowed,
            _ => Verdict::Unclear,
        });
    }
}
