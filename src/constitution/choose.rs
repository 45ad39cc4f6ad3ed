//! Which principles reconstruct the labels: an ordered list without repetition.
//!
//! Greedy: the next principle is the one that gains most likelihood over those already in the list (a
//! score test with these and length held fixed), discounted by how much it moves with one of them. The
//! lists for both executors are made so: choosing by the vote's own agreement was tried and is worse on
//! new labels, since it follows the noise of the labels it sees. What differs is the length, and the
//! order: for the vote the most reliable principle stands first, since the order decides split votes.
//! Only labels that no figure is computed on take part.

use std::collections::HashMap;

use rand::seq::SliceRandom;

use crate::context::Stopped;
use crate::effects::table::control_of;
use crate::effects::{
    Clusters, Control, Effect, Sample, last_conditional_effect, score_tests, score_tests_of,
};
use crate::matrix::Matrix;

use super::executor::{PrincipleRule, agrees, difference};
use super::select::Tested;

/// |z| of a score test below which a principle is not supported, where the list may end by itself.
const SUPPORTED: f64 = 2.576;
/// The same where a number of principles is asked for.
const ASKED_FOR: f64 = 1.96;
/// Longest list that is looked at by itself.
pub const LONGEST: usize = 30;
/// Judgements that the overlap of two features is computed on.
const OVERLAP_ROWS: usize = 20_000;
/// Folds of the choice of the length.
const FOLDS: usize = 5;

/// What the greedy choice works with.
pub struct Chooser<'a> {
    /// Columns and words.
    pub(crate) tested: &'a Tested<'a>,
    /// Features that may become principles.
    pub pool: Vec<usize>,
    /// Correlation from which on two features say the same.
    pub redundant_above: f64,
}

/// What must be in the list and in what order, beside what the labels say.
#[derive(Debug, Clone, Default)]
pub struct Constraints {
    /// In the list, with this sign where one is given (0 = as the labels say).
    pub pinned: Vec<(usize, f64)>,
    /// Not in the list.
    pub dropped: Vec<usize>,
    /// In front, in this order, as far as they are in the list.
    pub order: Vec<usize>,
}

/// Which executor the list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// A linear model: what gains most stands first.
    Linear,
    /// A majority vote: what is most reliable stands first.
    Vote,
}

/// A feature that was left out because one in the list says the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Twin {
    /// What was left out.
    pub feature: usize,
    /// What is in the list.
    pub of: usize,
    /// Their correlation.
    pub r: f64,
}

/// A list, with what it left out.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    /// Most important first.
    pub articles: Vec<PrincipleRule>,
    /// Left out as repetition.
    pub twins: Vec<Twin>,
}

impl<'a> Chooser<'a> {
    /// Every feature whose words say what it measures and that varies among the labels.
    pub(crate) fn new(tested: &'a Tested<'a>, explore: &Sample, redundant_above: f64) -> Self {
        let varies = |feature: usize| {
            explore.row().iter().filter(|row| tested.columns.row(**row as usize)[feature] != 0.0).count() > 1
        };
        let pool = (0..tested.columns.cols)
            .filter(|&feature| tested.has_words(feature) && varies(feature))
            .collect();
        Self { tested, pool, redundant_above }
    }

    /// The best list of at most `most` principles, in the order in which they gain most. Where the user
    /// `asked` for that number, weaker ones are taken to get there; else only what is clearly supported.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn choose(
        &self,
        explore: &Sample,
        most: usize,
        asked: bool,
        wishes: &Constraints,
    ) -> Result<Chosen, Stopped> {
        // Every feature's effect by itself on the labels at hand.
        let alone = self.tested.one_by_one(explore)?;
        let mut greedy = Greedy::new(self, explore, &alone);
        let cap = most.max(wishes.pinned.len());
        for &(feature, sign) in &wishes.pinned {
            greedy.pin(feature, sign);
        }
        greedy.open.retain(|feature| !wishes.dropped.contains(feature));
        let least = if asked { ASKED_FOR } else { SUPPORTED };
        while greedy.articles.len() < cap {
            match greedy.next(least)? {
                Some(article) => greedy.take(article),
                None => break,
            }
        }
        Ok(Chosen { articles: greedy.articles, twins: greedy.twins })
    }

    /// A principle with the threshold that serves it best.
    pub fn article(&self, feature: usize, sign: f64, explore: &Sample) -> PrincipleRule {
        let (threshold, accuracy) = threshold(&self.tested.columns, feature, sign, explore);
        PrincipleRule { feature, sign, threshold, accuracy }
    }

    /// A principle in the direction that the labels give it by itself; `None` where they give none.
    pub fn by_itself(&self, feature: usize, explore: &Sample) -> Option<PrincipleRule> {
        let control = control_of(&self.tested.described.features[feature]);
        let column = Matrix { values: self.tested.columns.column(feature), cols: 1 };
        let score = *score_tests(&column, &[], explore, control).first()?;
        (score != 0.0).then(|| self.article(feature, score.signum(), explore))
    }

    /// Agreement of every length of the list (0 to [`LONGEST`]) on labels that did not choose it,
    /// `[lengths, judgements]`: the explore judgements in folds by `groups`. `decide` gives the decisions
    /// of a list for the last sample, after learning from the first.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn cross_validated(
        &self,
        explore: &Sample,
        groups: &[u32],
        aim: Objective,
        seed: u64,
        decide: impl Fn(&Sample, &[PrincipleRule], &Sample) -> Vec<f64>,
    ) -> Result<Vec<Vec<f64>>, Stopped> {
        let fold = folds(groups, seed);
        let mut curve = vec![vec![0.5; explore.len()]; LONGEST + 1];
        for number in 0..FOLDS as u8 {
            let part = |wanted: bool| -> Vec<usize> {
                (0..explore.len()).filter(|&at| (fold[at] == number) == wanted).collect()
            };
            let (rest, these) = (part(false), part(true));
            let (learn, judge) = (subset(explore, groups, &rest), subset(explore, groups, &these));
            if learn.is_empty() || judge.is_empty() {
                continue;
            }
            let articles = self.choose(&learn, LONGEST, false, &Constraints::default())?.articles;
            let mut agreement = Vec::new();
            for (length, values) in curve.iter_mut().enumerate().skip(1) {
                self.tested.cancel.check()?;
                // A list that ends early is the whole list from then on.
                if length <= articles.len() {
                    let list = arrange(&articles[..length], aim, &[]);
                    agreement = agrees(&decide(&learn, &list, &judge), judge.y());
                }
                for (&at, value) in these.iter().zip(&agreement) {
                    values[at] = *value;
                }
            }
        }
        Ok(curve)
    }
}

/// The list in the order that its executor reads it in, what the user wants in front there.
pub fn arrange(articles: &[PrincipleRule], aim: Objective, order: &[usize]) -> Vec<PrincipleRule> {
    let mut list = articles.to_vec();
    if aim == Objective::Vote {
        list.sort_by(|a, b| b.accuracy.total_cmp(&a.accuracy));
    }
    // A stable sort: what is not named keeps its place behind.
    list.sort_by_key(|article| {
        order.iter().position(|feature| *feature == article.feature).unwrap_or(usize::MAX)
    });
    list
}

/// The length from which on the curve is flat: the shortest list whose distance to the best one is less
/// than that distance's standard error.
pub fn flat_from(curve: &[Vec<f64>], clusters: &Clusters) -> usize {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let best = (0..curve.len()).max_by(|&a, &b| mean(&curve[a]).total_cmp(&mean(&curve[b])).then(b.cmp(&a)));
    let Some(best) = best else { return 0 };
    (0..=best)
        .find(|&length| {
            let gap = difference(&curve[best], &curve[length], clusters);
            // The interval is about two standard errors wide to each side.
            gap.value <= (gap.high - gap.value) / 2.0
        })
        .unwrap_or(best)
}

/// A fold from 0 for every judgement, the same for those of one group.
fn folds(groups: &[u32], seed: u64) -> Vec<u8> {
    let mut names: Vec<u32> = groups.to_vec();
    names.sort_unstable();
    names.dedup();
    let mut shuffled = names;
    shuffled.shuffle(&mut crate::rng::stream(seed, "constitution folds"));
    let fold: HashMap<u32, u8> =
        shuffled.into_iter().enumerate().map(|(at, group)| (group, (at % FOLDS) as u8)).collect();
    groups.iter().map(|group| fold.get(group).copied().unwrap_or(0)).collect()
}

/// Some judgements of a sample, clustered by `groups`.
fn subset(sample: &Sample, groups: &[u32], at: &[usize]) -> Sample {
    let column = |values: &[f64]| at.iter().map(|&at| values[at]).collect::<Vec<f64>>();
    let rows = at.iter().map(|&at| sample.row()[at]).collect();
    let mut clusters = vec![at.iter().map(|&at| groups[at]).collect::<Vec<u32>>()];
    // One cluster says nothing about variance.
    clusters.retain(|ids| ids.iter().any(|id| *id != ids[0]));
    Sample::new(column(sample.y()), column(sample.length()), rows, &clusters).unwrap_or_default()
}

/// The size of an activation from which a vote of the feature says most about the label, and the share
/// of those votes that agree with it: the largest (agree − disagree)² / (agree + disagree) over quartiles
/// of the sizes that occur.
fn threshold(columns: &Matrix, feature: usize, sign: f64, explore: &Sample) -> (f64, f64) {
    let mut votes: Vec<(f64, f64)> = (explore.row().iter().zip(explore.y()))
        .map(|(&row, &y)| (f64::from(columns.row(row as usize)[feature]), 2.0 * y - 1.0))
        .filter(|(z, _)| *z != 0.0)
        .map(|(z, side)| (z.abs(), sign * z.signum() * side))
        .collect();
    votes.sort_by(|a, b| b.0.total_cmp(&a.0));
    let n = votes.len();
    let mut best = (f64::NEG_INFINITY, 0.0, 0.5);
    for quarter in 0..4 {
        // Sorted from large to small: the smallest `quarter` fourths do not vote.
        let Some(&(size, _)) = n.checked_sub(1 + n * quarter / 4).and_then(|at| votes.get(at)) else { break };
        let cut = if quarter == 0 { 0.0 } else { size };
        let voting = votes.iter().filter(|(z, _)| *z >= cut);
        let (balance, count) = voting.fold((0.0, 0.0), |(b, n), (_, side)| (b + side, n + 1.0));
        // A later quarter has to be clearly better: a principle should speak where it can.
        let merit =
            if balance > 0.0 { 0.98_f64.powi(quarter as i32) * balance * balance / count } else { 0.0 };
        if merit > best.0 {
            best = (merit, cut, 0.5 + balance / (2.0 * count));
        }
    }
    (best.1, best.2)
}

/// The list as it grows.
struct Greedy<'a> {
    chooser: &'a Chooser<'a>,
    explore: &'a Sample,
    alone: &'a [Effect],
    articles: Vec<PrincipleRule>,
    twins: Vec<Twin>,
    open: Vec<usize>,
    /// Unit activations of every feature of the pool, `[pool, rows]`.
    unit: HashMap<usize, Vec<f32>>,
    /// Largest correlation of every feature with one in the list.
    overlap: HashMap<usize, f64>,
}

impl<'a> Greedy<'a> {
    fn new(chooser: &'a Chooser<'a>, explore: &'a Sample, alone: &'a [Effect]) -> Self {
        let step = explore.len().div_ceil(OVERLAP_ROWS).max(1);
        let rows: Vec<u32> = explore.row().iter().copied().step_by(step).collect();
        let columns = &chooser.tested.columns;
        let unit = (chooser.pool.iter())
            .map(|&feature| {
                // Activations are odd under swapping A and B: their mean is an accident and stays in.
                let z: Vec<f32> = rows.iter().map(|&row| columns.row(row as usize)[feature]).collect();
                let norm = z.iter().map(|z| f64::from(*z).powi(2)).sum::<f64>().sqrt() as f32;
                (feature, if norm > 0.0 { z.iter().map(|z| z / norm).collect() } else { Vec::new() })
            })
            .collect();
        Self {
            chooser,
            explore,
            alone,
            articles: Vec::new(),
            twins: Vec::new(),
            open: chooser.pool.clone(),
            unit,
            overlap: HashMap::new(),
        }
    }

    fn pin(&mut self, feature: usize, sign: f64) {
        if self.articles.iter().any(|article| article.feature == feature) {
            return;
        }
        let labels = self.scores(&[feature]).get(&feature).copied().unwrap_or(0.0);
        let by_itself = self.alone.get(feature).map_or(0.0, |effect| effect.beta);
        let sign = [sign, labels, by_itself].into_iter().find(|s| *s != 0.0 && s.is_finite()).unwrap_or(1.0);
        self.take(self.chooser.article(feature, sign.signum(), self.explore));
    }

    fn control(&self) -> Control {
        let about_length = |article: &PrincipleRule| {
            control_of(&self.chooser.tested.described.features[article.feature]) == Control::Nothing
        };
        if self.articles.iter().any(about_length) { Control::Nothing } else { Control::Length }
    }

    /// Score tests of the columns `open` given the list; one about length is tested without the control.
    fn scores(&self, open: &[usize]) -> HashMap<usize, f64> {
        let inside: Vec<usize> = self.articles.iter().map(|article| article.feature).collect();
        let tested = self.chooser.tested;
        let (about_length, others): (Vec<usize>, Vec<usize>) = (open.iter().copied())
            .partition(|&feature| control_of(&tested.described.features[feature]) == Control::Nothing);
        let of = |open: Vec<usize>, control| {
            let scores = score_tests_of(&tested.columns, &open, &inside, self.explore, control);
            open.into_iter().zip(scores)
        };
        of(others, self.control()).chain(of(about_length, Control::Nothing)).collect()
    }

    /// 1 − r², r the largest correlation with a principle in the list.
    fn novelty(&self, feature: usize) -> f64 {
        1.0 - self.overlap.get(&feature).copied().unwrap_or(0.0).powi(2)
    }

    /// Whether the labels point the same way with and without the rest of the list. A principle that
    /// only holds against the others would mislead whoever reads it by itself.
    fn readable(&self, feature: usize, sign: f64) -> bool {
        self.alone.get(feature).is_some_and(|effect| effect.beta * sign > 0.0)
    }

    /// What gains most, where anything is supported: by the score test, which takes the labels for
    /// independent, and by the clustered test of the joint fit, which does not.
    fn next(&mut self, least: f64) -> Result<Option<PrincipleRule>, Stopped> {
        let scores = self.scores(&self.open);
        let merit = |feature: usize| scores[&feature].powi(2) * self.novelty(feature);
        let mut promising: Vec<usize> = (self.open.iter().copied())
            .filter(|&feature| {
                scores[&feature].abs() > least && self.readable(feature, scores[&feature].signum())
            })
            .collect();
        promising.sort_by(|&a, &b| merit(b).total_cmp(&merit(a)).then(a.cmp(&b)));
        for feature in promising {
            self.chooser.tested.cancel.check()?;
            let sign = scores[&feature].signum();
            if self.holds(feature, sign, least) {
                return Ok(Some(self.chooser.article(feature, sign, self.explore)));
            }
            self.open.retain(|other| *other != feature);
        }
        Ok(None)
    }

    /// Whether a feature still says something in one fit with the list, labels of one prompt (and of one
    /// annotator) not being independent.
    fn holds(&self, feature: usize, sign: f64, least: f64) -> bool {
        let mut inside: Vec<usize> = self.articles.iter().map(|article| article.feature).collect();
        inside.push(feature);
        let about_length = control_of(&self.chooser.tested.described.features[feature]) == Control::Nothing;
        let control = if about_length { Control::Nothing } else { self.control() };
        last_conditional_effect(&self.chooser.tested.columns, &inside, self.explore, control)
            .is_some_and(|fit| fit.beta * sign > 0.0 && (fit.beta / fit.beta_se_clustered).abs() > least)
    }

    /// Adds to the list; what says the same is no longer open.
    fn take(&mut self, article: PrincipleRule) {
        let feature = article.feature;
        self.articles.push(article);
        self.open.retain(|other| *other != feature);
        let Some(unit) = self.unit.get(&feature).cloned() else { return };
        let mut twins = Vec::new();
        for &other in &self.open {
            let Some(their) = self.unit.get(&other) else { continue };
            let r: f64 = unit.iter().zip(their).map(|(a, b)| f64::from(a * b)).sum();
            let largest = self.overlap.entry(other).or_insert(0.0);
            *largest = largest.max(r.abs());
            if r.abs() > self.chooser.redundant_above {
                twins.push(Twin { feature: other, of: feature, r });
            }
        }
        self.open.retain(|other| twins.iter().all(|twin| twin.feature != *other));
        // Only those that the labels say something about by themselves are worth naming.
        self.twins.extend(twins.into_iter().filter(|twin| {
            self.alone.get(twin.feature).is_some_and(|effect| effect.beta_p_clustered < 0.01)
        }));
    }
}
