//! Where it holds: for each feature and each kind of request, whether the labels reward it there as elsewhere.
//!
//! ```text
//! Δ_in, Δ_out   how much more often the side with the feature wins, in the context and outside of it, both lengths held
//!               fixed in either; a context is a property of the prompt, so the two rest on different prompts
//! Δ_in − Δ_out  tested with the variance of both, clustered by prompt (Bell & McCaffrey), Welch's degrees of freedom;
//!               corrected (Holm) over every feature and context that were looked at; where principles hold is asked first, at
//!               half of α
//! shrunk        Δ_in drawn to the feature's Δ over all labels by how much its contexts differ (DerSimonian & Laird)
//! ```
//!
//! Features and contexts are found without labels, so all labels may test them. Where a difference is claimed, its figures
//! come from fifths of the prompts whose others show it.

mod prompts;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::constitution::select::normal_quantile;
use crate::context::{Cancel, Stopped};
use crate::describe::{Described, Feature, FeatureSource};
use crate::effects::crossfit::{FOLDS, WIDER, fold};
use crate::effects::table::{ALL, LabelledSample, control_of};
use crate::effects::{Control, Sample, WinDelta, student_p, win_influence};
use crate::pairs::{Pairs, Split};
use crate::rng;
use crate::statistics::multiplicity::holm;
use crate::store::Estimate;

pub use prompts::{Finding, Kinds, found};

/// Chance of claiming any difference where there is none.
pub const ALPHA: f64 = 0.05;
/// Labels on pairs with a feature below which nothing is said of it in a context, or outside.
const FEWEST: usize = 30;
/// Labels that are looked at, at most: what so many do not show is small.
const MOST_LABELS: usize = 50_000;
/// Share of the labels that a feature sets apart at least: of a rarer one nothing can be told in a part of them, and it makes every
/// other test stricter.
const COMMON: f64 = 0.05;
/// Share of the labels that a context, and what is outside of it, holds at least.
const LEAST_SHARE: f64 = 0.03;
/// φ of two contexts beyond which they are one.
const SAME: f64 = 0.8;

/// Where a context comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextSource {
    /// A rule that reads the prompt.
    #[default]
    Known,
    /// A cluster of prompts.
    Topic,
    /// A value of a column of the dataset.
    Column,
}

/// A kind of request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// `follow_up`, `topic_03`, `domain=medical`.
    pub context_id: String,
    /// Completes "where …".
    pub text: String,
    /// Where it comes from.
    pub source: ContextSource,
    /// Share of the labels inside.
    pub share: f64,
    /// Labels inside.
    pub labels: usize,
    /// The most typical messages of a topic.
    pub examples: Vec<String>,
    /// Words of a topic: a message in which one of them stands is inside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Of long messages: words that one has at most to be outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_words_than: Option<usize>,
    /// Whether each pair is inside, `[pairs]`.
    #[serde(skip)]
    pub inside: Vec<bool>,
}

/// How a feature's effect in a context compares with its effect elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// Rewarded in one, punished in the other.
    TurnsRound,
    /// Shown in the context alone.
    OnlyThere,
    /// Shown elsewhere alone.
    OnlyElsewhere,
    /// In the same direction, stronger there.
    Stronger,
    /// In the same direction, weaker there.
    Weaker,
}

/// One feature in one context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dependence {
    /// As in `features.parquet`.
    pub feature_id: String,
    /// The feature in words.
    pub description: String,
    /// As in `contexts`.
    pub context_id: String,
    /// The context in words.
    pub context: String,
    /// How much more often the side with the feature wins in the context.
    pub inside: Estimate,
    /// The same outside of it.
    pub outside: Estimate,
    /// `inside`, drawn to the figure over all labels.
    pub shrunk: Estimate,
    /// `inside` − `outside`.
    pub difference: Estimate,
    /// Two-sided p-value of no difference.
    pub p: f64,
    /// Corrected (Holm) over everything that was looked at, principles and other features at half of α each.
    pub p_holm: f64,
    /// What is claimed; `None` where nothing is.
    pub kind: Option<Difference>,
    /// The claim as a sentence; empty where there is none.
    pub statement: String,
}

/// What depends on the request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contexts {
    /// The contexts that were looked at.
    pub contexts: Vec<Context>,
    /// Features that were looked at.
    pub features: usize,
    /// Features × contexts that had labels enough to be tested.
    pub tested: usize,
    /// Labels that were looked at.
    pub labels: usize,
    /// Those that were looked at closely, claims first, then the surest.
    pub rows: Vec<Dependence>,
    /// Difference that an ordinary one of them would have needed to be claimed; `None` where none was tested.
    pub detectable: Option<f64>,
    /// Sentences that a reader should know.
    pub notes: Vec<String>,
}

impl Contexts {
    /// What is claimed.
    pub fn claims(&self) -> impl Iterator<Item = &Dependence> {
        self.rows.iter().filter(|row| row.kind.is_some())
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Principles of the run, by their features: half of the chance of a wrong claim is theirs, since where they hold is
    /// asked first.
    pub principles: &'a [String],
    /// How closely.
    pub look: Look,
}

/// How closely everything is looked at. What is claimed is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Every feature in every context.
    All,
    /// First what least squares say: what is within two standard errors there counts as tested and has no row.
    Promising,
}

/// Standard errors by least squares within which a difference is not looked at closely: no correction lets it pass.
const PROMISING: f64 = 2.0;

/// The labels that are looked at.
fn sample(pairs: &Pairs, sides: &[Split]) -> Sample {
    LabelledSample::on(pairs, sides, &ALL).at_most(MOST_LABELS, pairs).sample
}

/// Keeps the contexts that divide the labels and are not another one over again; fills in their shares.
fn usable(mut contexts: Vec<Context>, sample: &Sample) -> Vec<Context> {
    let n = sample.len() as f64;
    let inside = |context: &Context, at: usize| context.inside.get(sample.row()[at] as usize) == Some(&true);
    for context in &mut contexts {
        context.labels = (0..sample.len()).filter(|&at| inside(context, at)).count();
        context.share = context.labels as f64 / n.max(1.0);
    }
    contexts.retain(|context| (LEAST_SHARE..=1.0 - LEAST_SHARE).contains(&context.share));
    let mut kept: Vec<Context> = Vec::new();
    for context in contexts {
        let twin = kept.iter().any(|other| {
            let both =
                (0..sample.len()).filter(|&at| inside(&context, at) && inside(other, at)).count() as f64;
            let (a, b) = (context.labels as f64, other.labels as f64);
            let spread = (a * (n - a) * b * (n - b)).sqrt();
            spread > 0.0 && ((n * both - a * b) / spread).abs() > SAME
        });
        if !twin {
            kept.push(context);
        }
    }
    kept
}

/// A context's labels and the others, by position.
struct Part {
    at: Vec<usize>,
    sample: Sample,
}

impl Part {
    fn new(sample: &Sample, at: Vec<usize>) -> Self {
        Self { sample: sample.subset(&at), at }
    }

    /// How much more often the side with the feature wins.
    fn win(&self, s: &[f32], feature: &Feature) -> Option<WinDelta> {
        let own: Vec<f32> = self.at.iter().map(|&at| s[at]).collect();
        if own.iter().filter(|s| **s != 0.0).count() < FEWEST {
            return None;
        }
        let win = win_influence(&own, &self.sample, control_of(feature)).0;
        (win.value.is_finite() && win.se.is_finite() && win.se > 0.0).then_some(win)
    }
}

/// A difference by least squares, as if all labels were independent.
#[derive(Clone, Copy)]
struct Rough {
    feature: usize,
    context: usize,
    /// How much more often the side with it wins in the context, and its standard error.
    inside: (f64, f64),
    /// Standard error of the difference, and the difference in such.
    se: f64,
    z: f64,
}

/// Which contexts each label is in.
struct Membership {
    /// `[labels]`, ascending.
    of: Vec<Vec<u32>>,
    contexts: usize,
}

/// What least squares need of some labels: s, words, log ratio, and the label.
#[derive(Clone, Copy, Default)]
struct Sums {
    gram: [f64; 6],
    right: [f64; 3],
    square: f64,
    n: f64,
}

impl Sums {
    fn add(&mut self, x: [f64; 3], y: f64) {
        let [a, b, c] = x;
        let products = [a * a, a * b, a * c, b * b, b * c, c * c];
        self.gram.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        self.right.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * y);
        (self.square, self.n) = (self.square + y * y, self.n + 1.0);
    }

    fn without(&self, part: &Self) -> Self {
        let mut rest = *self;
        rest.gram.iter_mut().zip(part.gram).for_each(|(sum, part)| *sum -= part);
        rest.right.iter_mut().zip(part.right).for_each(|(sum, part)| *sum -= part);
        (rest.square, rest.n) = (rest.square - part.square, rest.n - part.n);
        rest
    }

    /// The first coefficient doubled, which is a difference in win rate, and its standard error.
    fn slope(&self, length: bool) -> Option<(f64, f64)> {
        let [aa, ab, ac, bb, bc, cc] = self.gram;
        let (value, variance, taken) = if length {
            // Cofactors of a symmetric 3 × 3 matrix.
            let (f, g, h) = (bb * cc - bc * bc, ac * bc - ab * cc, ab * bc - ac * bb);
            let determinant = aa * f + ab * g + ac * h;
            if determinant <= 1e-9 * aa * bb * cc {
                return self.slope(false);
            }
            let [x, y, z] = self.right;
            let value = (f * x + g * y + h * z) / determinant;
            // The other two, for what is left of the labels.
            let (i, j, k) = (aa * cc - ac * ac, ab * ac - aa * bc, aa * bb - ab * ab);
            let (words, ratio) =
                ((g * x + i * y + j * z) / determinant, (h * x + j * y + k * z) / determinant);
            let left = self.square - value * x - words * y - ratio * z;
            (value, left * f / determinant, 3.0)
        } else {
            let value = self.right[0] / aa;
            (value, (self.square - value * self.right[0]) / aa, 1.0)
        };
        let se = (variance / (self.n - taken).max(1.0)).sqrt();
        (value.is_finite() && se.is_finite() && se > 0.0).then_some((2.0 * value, 2.0 * se))
    }
}

impl Membership {
    fn new(contexts: &[Context], sample: &Sample) -> Self {
        let of = sample
            .row()
            .iter()
            .map(|&row| {
                let inside = |at: &u32| contexts[*at as usize].inside.get(row as usize) == Some(&true);
                (0..contexts.len() as u32).filter(inside).collect()
            })
            .collect();
        Self { of, contexts: contexts.len() }
    }

    /// Every context with labels enough.
    fn rough(&self, s: &[f32], sample: &Sample, length: bool, feature: usize) -> Vec<Rough> {
        let mut all = Sums::default();
        let mut parts = vec![Sums::default(); self.contexts];
        for (at, &s) in s.iter().enumerate().filter(|(_, s)| **s != 0.0) {
            let ratio = sample.ratio().get(at).copied().unwrap_or(0.0);
            let x = [f64::from(s), sample.length()[at], ratio];
            let y = sample.y()[at] - 0.5;
            all.add(x, y);
            self.of[at].iter().for_each(|&context| parts[context as usize].add(x, y));
        }
        let least = FEWEST as f64;
        (parts.iter().enumerate())
            .filter_map(|(context, part)| {
                let rest = all.without(part);
                if part.n < least || rest.n < least {
                    return None;
                }
                let (inside, outside) = (part.slope(length)?, rest.slope(length)?);
                let se = inside.1.hypot(outside.1);
                Some(Rough { feature, context, inside, se, z: (inside.0 - outside.0) / se })
            })
            .collect()
    }
}

/// A difference with what it is made of.
#[derive(Clone, Copy)]
struct Tested {
    feature: usize,
    context: usize,
    inside: WinDelta,
    outside: WinDelta,
    p: f64,
}

fn p_of(inside: &WinDelta, outside: &WinDelta) -> f64 {
    let (a, b) = (inside.se.powi(2), outside.se.powi(2));
    let df = |win: &WinDelta| win.df.clamp(1.0, 1e6);
    let welch = (a + b).powi(2) / (a * a / df(inside) + b * b / df(outside)).max(1e-300);
    student_p((inside.value - outside.value) / (a + b).sqrt(), welch)
}

fn estimate(win: &WinDelta) -> Estimate {
    Estimate { value: win.value, low: win.low, high: win.high, n: win.n }
}

fn difference(inside: &WinDelta, outside: &WinDelta) -> Estimate {
    let half = 1.96 * inside.se.hypot(outside.se);
    let value = inside.value - outside.value;
    Estimate { value, low: value - half, high: value + half, n: inside.n + outside.n }
}

/// Looks at every feature that may make a statement in every one of `contexts`; of two that are the same, the first stays.
///
/// # Errors
/// [`Stopped`].
pub fn measure(
    pairs: &Pairs,
    sides: &[Split],
    described: &Described,
    contexts: Vec<Context>,
    question: Question<'_>,
    cancel: &Cancel,
) -> Result<Contexts, Stopped> {
    let sample = sample(pairs, sides);
    let contexts = usable(contexts, &sample);
    let looked = looked(described, &sample, question.principles);
    let mut out = Contexts { labels: sample.len(), features: looked.len(), ..Contexts::default() };
    if contexts.is_empty() {
        out.notes.push("the prompts cannot be put into kinds that both have labels enough".into());
        return Ok(out);
    }
    let places = Places::new(pairs, described, &sample, &contexts);
    let (rough, tested) = places.look(&looked, question.look, cancel);
    cancel.check()?;
    out.tested = rough.len();
    out.detectable = detectable(&rough);
    let principle: Vec<bool> =
        described.features.iter().map(|f| question.principles.contains(&f.feature_id)).collect();
    let (corrected, bars) = corrected(&rough, &tested, &principle);
    let overall = places.overall(&looked);
    let spread = spread(&rough, &overall);
    out.rows = (tested.iter().zip(&corrected))
        .map(|(row, &p_holm)| {
            let feature = &described.features[row.feature];
            Dependence {
                feature_id: feature.feature_id.clone(),
                description: feature.description.clone(),
                context_id: contexts[row.context].context_id.clone(),
                context: contexts[row.context].text.clone(),
                inside: estimate(&row.inside),
                outside: estimate(&row.outside),
                shrunk: shrunk(&row.inside, overall.get(&row.feature), spread.get(&row.feature)),
                difference: difference(&row.inside, &row.outside),
                p: row.p,
                p_holm,
                kind: None,
                statement: String::new(),
            }
        })
        .collect();
    let bar = |feature: usize| bars[usize::from(principle[feature])];
    for (at, inside, outside) in places.claims(&tested, &corrected, &bar) {
        let row = &mut out.rows[at];
        row.inside = estimate(&inside);
        row.outside = estimate(&outside);
        row.difference = difference(&inside, &outside);
        row.kind = Some(kind(&row.inside, &row.outside));
        row.statement = statement(row, &described.features[tested[at].feature]);
    }
    out.rows.sort_by(|a, b| {
        (b.kind.is_some().cmp(&a.kind.is_some()))
            .then(a.p.total_cmp(&b.p))
            .then_with(|| (&a.feature_id, &a.context_id).cmp(&(&b.feature_id, &b.context_id)))
    });
    out.contexts = contexts;
    cancel.check()?;
    Ok(out)
}

/// The features that are looked at: principles, however rare, and what is common enough.
fn looked(described: &Described, sample: &Sample, principles: &[String]) -> Vec<usize> {
    let least = COMMON * sample.len() as f64;
    let common = |feature: usize| {
        let with = sample.row().iter().filter(|row| described.presence.row(**row as usize)[feature] != 0.0);
        with.count() as f64 >= least
    };
    (0..described.features.len())
        .filter(|&at| {
            let feature = &described.features[at];
            feature.speaks()
                && feature.is_said()
                // Labels found it.
                && feature.source != FeatureSource::Theme
                // Length is looked at once, as length.
                && (feature.source == FeatureSource::Known || !feature.is_about("length"))
                && (principles.contains(&feature.feature_id) || common(at))
        })
        .collect()
}

/// The labels, in and out of every context.
struct Places<'a> {
    described: &'a Described,
    sample: &'a Sample,
    contexts: &'a [Context],
    parts: Vec<[Part; 2]>,
    /// The fifth of each label.
    folds: Vec<u8>,
}

impl<'a> Places<'a> {
    fn new(pairs: &Pairs, described: &'a Described, sample: &'a Sample, contexts: &'a [Context]) -> Self {
        let part = |context: &Context| {
            let inside = |at: &usize| context.inside.get(sample.row()[*at] as usize) == Some(&true);
            let (there, elsewhere) = (0..sample.len()).partition(inside);
            [there, elsewhere].map(|at| Part::new(sample, at))
        };
        Self {
            described,
            sample,
            contexts,
            parts: contexts.iter().map(part).collect(),
            folds: sample.row().iter().map(|&row| fold(pairs, row as usize)).collect(),
        }
    }

    /// Which side of each label has the feature.
    fn column(&self, feature: usize) -> Vec<f32> {
        self.sample.row().iter().map(|&row| self.described.presence.row(row as usize)[feature]).collect()
    }

    /// What least squares say of every feature in every context, and those that were looked at closely.
    fn look(&self, looked: &[usize], look: Look, cancel: &Cancel) -> (Vec<Rough>, Vec<Tested>) {
        let member = Membership::new(self.contexts, self.sample);
        let looks: Vec<(Vec<Rough>, Vec<Tested>)> = looked
            .par_iter()
            .map(|&feature| {
                let s = if cancel.requested() { Vec::new() } else { self.column(feature) };
                let known = &self.described.features[feature];
                let rough = member.rough(&s, self.sample, control_of(known) == Control::Length, feature);
                let closely = |rough: &&Rough| look == Look::All || rough.z.abs() > PROMISING;
                let rows = rough.iter().filter(closely).filter_map(|rough| {
                    let [there, elsewhere] = &self.parts[rough.context];
                    let (inside, outside) = (there.win(&s, known)?, elsewhere.win(&s, known)?);
                    let p = p_of(&inside, &outside);
                    p.is_finite().then_some(Tested { feature, context: rough.context, inside, outside, p })
                });
                let rows = rows.collect();
                (rough, rows)
            })
            .collect();
        let (rough, tested): (Vec<Vec<Rough>>, Vec<Vec<Tested>>) = looks.into_iter().unzip();
        (rough.concat(), tested.concat())
    }

    /// Each feature's win rate over all labels.
    fn overall(&self, looked: &[usize]) -> BTreeMap<usize, WinDelta> {
        let of = |&feature: &usize| {
            let control = control_of(&self.described.features[feature]);
            let win = win_influence(&self.column(feature), self.sample, control).0;
            (win.value.is_finite() && win.se.is_finite()).then_some((feature, win))
        };
        looked.par_iter().filter_map(of).collect()
    }

    /// Which of those `tested` are claimed, with their figures.
    fn claims(
        &self,
        tested: &[Tested],
        corrected: &[f64],
        bar: &(impl Fn(usize) -> f64 + Sync),
    ) -> Vec<(usize, WinDelta, WinDelta)> {
        let mut significant: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        (0..tested.len()).filter(|&at| corrected[at] < ALPHA).for_each(|at| {
            significant.entry(tested[at].feature).or_default().push(at);
        });
        significant
            .par_iter()
            .flat_map_iter(|(&feature, found)| {
                let labels = Labels {
                    sample: self.sample,
                    s: &self.column(feature),
                    feature: &self.described.features[feature],
                    folds: &self.folds,
                    bar: bar(feature),
                };
                labels.claims(found, tested, &self.parts)
            })
            .collect()
    }
}

/// The p-values of those `tested`, corrected (Holm) within the principles and within the other features, each at half of the
/// chance of a wrong claim; and the p-value that the last significant one of the others and of the principles had to reach.
fn corrected(rough: &[Rough], tested: &[Tested], principle: &[bool]) -> (Vec<f64>, [f64; 2]) {
    let mut corrected = vec![1.0; tested.len()];
    let mut bars = [0.0; 2];
    for family in [false, true] {
        let own: Vec<usize> =
            (0..tested.len()).filter(|&at| principle[tested[at].feature] == family).collect();
        // What was not looked at closely counts.
        let all = rough.iter().filter(|row| principle[row.feature] == family).count().max(own.len());
        let mut p: Vec<f64> = own.iter().map(|&at| tested[at].p).collect();
        p.resize(all, 1.0);
        let found = holm(&p);
        let both = |p: f64| (FAMILIES * p).min(1.0);
        own.iter().zip(&found).for_each(|(&at, &p)| corrected[at] = both(p));
        let passed = found.iter().filter(|p| both(**p) < ALPHA).count();
        bars[usize::from(family)] = ALPHA / FAMILIES / (all + 1 - passed.max(1).min(all + 1)).max(1) as f64;
    }
    (corrected, bars)
}

/// Principles, and the others.
const FAMILIES: f64 = 2.0;

/// How much each feature's effect varies between contexts beyond chance, as a variance.
fn spread(rough: &[Rough], overall: &BTreeMap<usize, WinDelta>) -> BTreeMap<usize, f64> {
    let mut rows: BTreeMap<usize, Vec<&Rough>> = BTreeMap::new();
    rough.iter().for_each(|row| rows.entry(row.feature).or_default().push(row));
    rows.into_iter()
        .filter_map(|(feature, wins)| {
            let centre = overall.get(&feature)?.value;
            let weights: Vec<f64> = wins.iter().map(|row| row.inside.1.powi(-2)).collect();
            let all: f64 = weights.iter().sum();
            let q: f64 = wins.iter().zip(&weights).map(|(row, w)| w * (row.inside.0 - centre).powi(2)).sum();
            let scale = all - weights.iter().map(|w| w * w).sum::<f64>() / all;
            let excess = (q - wins.len() as f64) / if scale > 0.0 { scale } else { all };
            Some((feature, excess.max(0.0)))
        })
        .collect()
}

/// A context's figure, drawn to the one over all labels.
fn shrunk(inside: &WinDelta, overall: Option<&WinDelta>, spread: Option<&f64>) -> Estimate {
    let (Some(all), Some(&spread)) = (overall, spread) else { return estimate(inside) };
    let own = inside.se.powi(2);
    let weight = spread / (spread + own);
    let value = weight * inside.value + (1.0 - weight) * all.value;
    let half = 1.96 * (weight * own + ((1.0 - weight) * all.se).powi(2)).sqrt();
    Estimate { value, low: (value - half).max(-1.0), high: (value + half).min(1.0), n: inside.n }
}

/// The labels, and how one feature stands in them.
struct Labels<'a> {
    sample: &'a Sample,
    s: &'a [f32],
    feature: &'a Feature,
    folds: &'a [u8],
    /// The p-value that a claim has to reach.
    bar: f64,
}

impl Labels<'_> {
    /// Which of the differences `found` are claimed, with their figures: the surest first, and each other one where it is
    /// there without the labels in contexts that are claimed. What holds in one topic is otherwise a difference of every other
    /// topic from the rest, and of every wider and narrower one.
    fn claims(
        &self,
        found: &[usize],
        tested: &[Tested],
        parts: &[[Part; 2]],
    ) -> Vec<(usize, WinDelta, WinDelta)> {
        let mut order = found.to_vec();
        order.sort_by(|&a, &b| tested[a].p.total_cmp(&tested[b].p).then(a.cmp(&b)));
        let mut told = vec![false; self.sample.len()];
        let mut claims = Vec::new();
        for at in order {
            let row = &tested[at];
            let sign = (row.inside.value - row.outside.value).signum();
            let part = &parts[row.context];
            if !claims.is_empty() {
                let left = |side: &Part| {
                    Part::new(self.sample, side.at.iter().copied().filter(|&at| !told[at]).collect())
                        .win(self.s, self.feature)
                };
                let (Some(a), Some(b)) = (left(&part[0]), left(&part[1])) else { continue };
                if p_of(&a, &b) > self.bar || (a.value - b.value) * sign <= 0.0 {
                    continue;
                }
            }
            if let Some((inside, outside)) = self.cross_fitted(part, sign) {
                part[0].at.iter().for_each(|&at| told[at] = true);
                claims.push((at, inside, outside));
            }
        }
        claims
    }

    /// Both figures on the fifths of the prompts whose others show the difference, in the direction `sign`. `None` where
    /// no fifth counts.
    fn cross_fitted(&self, [there, elsewhere]: &[Part; 2], sign: f64) -> Option<(WinDelta, WinDelta)> {
        let on = |part: &Part, counts: &dyn Fn(u8) -> bool| {
            let at = part.at.iter().copied().filter(|&at| counts(self.folds[at])).collect();
            Part::new(self.sample, at).win(self.s, self.feature)
        };
        let shows = |number: &u8| {
            let rest = |fold: u8| fold != *number;
            let (Some(a), Some(b)) = (on(there, &rest), on(elsewhere, &rest)) else { return false };
            p_of(&a, &b) <= self.bar && (a.value - b.value) * sign > 0.0
        };
        let chosen: Vec<u8> = (0..FOLDS).filter(shows).collect();
        let counts = |fold: u8| chosen.contains(&fold);
        let (mut inside, mut outside) = (on(there, &counts)?, on(elsewhere, &counts)?);
        if (inside.value - outside.value) * sign <= 0.0 {
            return None;
        }
        if chosen.len() < usize::from(FOLDS) {
            for win in [&mut inside, &mut outside] {
                win.low = (win.value - WIDER * (win.value - win.low)).max(-1.0);
                win.high = (win.value + WIDER * (win.high - win.value)).min(1.0);
                win.se *= WIDER;
            }
        }
        Some((inside, outside))
    }
}

fn shown(figure: &Estimate) -> bool {
    figure.low > 0.0 || figure.high < 0.0
}

fn kind(inside: &Estimate, outside: &Estimate) -> Difference {
    match (shown(inside), shown(outside)) {
        (true, true) if inside.value * outside.value < 0.0 => Difference::TurnsRound,
        (true, false) => Difference::OnlyThere,
        (false, true) => Difference::OnlyElsewhere,
        _ if inside.value.abs() > outside.value.abs() => Difference::Stronger,
        _ => Difference::Weaker,
    }
}

/// "Where the message is a question, prefer the response that …; elsewhere avoid it."
fn statement(row: &Dependence, feature: &Feature) -> String {
    let verb = |figure: &Estimate| if figure.value > 0.0 { "prefer" } else { "avoid" };
    let clause = if feature.clause.is_empty() { &feature.description } else { &feature.clause };
    let place = &row.context;
    match row.kind {
        None => String::new(),
        Some(Difference::TurnsRound) => format!(
            "Where {place}, {} the response that {clause}; elsewhere {} it",
            verb(&row.inside),
            verb(&row.outside)
        ),
        Some(Difference::OnlyThere) => format!(
            "Where {place}, {} the response that {clause}; elsewhere nothing shows",
            verb(&row.inside)
        ),
        Some(Difference::OnlyElsewhere) => format!(
            "{} the response that {clause}, but not where {place}: there nothing shows",
            if row.outside.value > 0.0 { "Prefer" } else { "Avoid" }
        ),
        Some(kind) => format!(
            "{} the response that {clause}, {} so where {place}",
            if row.outside.value > 0.0 { "Prefer" } else { "Avoid" },
            if kind == Difference::Stronger { "more" } else { "less" }
        ),
    }
}

/// The difference that the middle one of those tested would have needed, with a power of one half.
fn detectable(rough: &[Rough]) -> Option<f64> {
    let mut errors: Vec<f64> = rough.iter().map(|row| row.se).collect();
    errors.sort_by(f64::total_cmp);
    let middle = *errors.get(errors.len() / 2)?;
    let bar = normal_quantile(ALPHA / FAMILIES / rough.len() as f64);
    Some((bar * middle).min(2.0))
}

/// Contexts from the values of a column: each value that is common enough, `values` `[pairs]`, empty where there is none.
pub fn of_column(name: &str, values: &[String]) -> Vec<Context> {
    /// Values of a column that are looked at, the most frequent ones.
    const MOST: usize = 20;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    values.iter().filter(|value| !value.is_empty()).for_each(|value| *counts.entry(value).or_default() += 1);
    let mut common: Vec<(&str, usize)> = counts.into_iter().collect();
    common.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    common
        .into_iter()
        .take(MOST)
        .map(|(value, _)| Context {
            context_id: format!("{name}={value}"),
            text: format!("`{name}` is {value}"),
            source: ContextSource::Column,
            inside: values.iter().map(|own| own == value).collect(),
            ..Context::default()
        })
        .collect()
}

/// A number for what is drawn by the seed, so that prompts decide and not their order.
fn order_of(seed: u64, text: &str) -> u64 {
    rng::of_content(seed, "contexts", &[text])
}

#[cfg(test)]
mod tests;
