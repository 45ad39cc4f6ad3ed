//! The inverse constitution: the principles from which most of the labels can be told (METHOD §6).
//!
//! Chosen on `train` and `describe` labels, its length by cross-validation among them; every figure is
//! computed on `held_out` labels, which took no part in choosing.

use rand::seq::index;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::context::{Cancel, Stopped};
use crate::describe::Described;
use crate::effects::table::{ALL, LabelledSample, MOST_LABELS, found_by_labels, one_by_one, weight};
use crate::effects::{Clusters, Estimate, Part, Sample, penalised};
use crate::matrix::Matrix;
use crate::pairs::{MISSING, Pairs, Split};
use crate::statistics::multiplicity::weighted_holm;
use crate::store::SCHEMA_VERSION;

use super::agreement::{Agreement, agreement};
use super::choose::{Chooser, Chosen, Constraints, LONGEST, Objective, arrange, flat_from};
use super::executed::ByModel;
use super::executor::{
    Executor, Linear, PrincipleRule, Vote, agrees, difference, gather, mean, mean_squares,
};
use super::select::Tested;

/// Lists of random principles that a baseline is made of.
const RANDOM_LISTS: usize = 100;
/// Judgements on which two principles must meet before their conflict is worth a line.
const MEETINGS: usize = 30;
/// Share of the meetings in which they must disagree to be called a conflict; independent ones disagree
/// in half of them.
const CONFLICT: f64 = 0.6;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of principles; as many as the labels support and the curve rewards, where not given.
    pub principles: Option<usize>,
    /// The executor that the list is chosen for.
    pub aim: Objective,
    /// Pinned, dropped, reordered and reworded principles.
    pub edits: Vec<Edit>,
    /// The run's seed.
    pub seed: u64,
    /// Correlation from which on two features say the same.
    pub redundant_above: f64,
    /// Chance of handing on any rule when nothing is associated with the label.
    pub alpha: f64,
    /// Whether to stop.
    pub cancel: Cancel,
}

/// One wish of the user.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Must be in the list; a direction against the labels is allowed, and costs.
    Pin {
        /// The feature.
        feature: usize,
        /// +1 prefer, −1 avoid, 0 as the labels say.
        sign: f64,
    },
    /// Must not be in the list.
    Drop(usize),
    /// These come first, in this order.
    Order(Vec<usize>),
    /// Other words for it.
    Reword {
        /// The feature.
        feature: usize,
        /// The new statement.
        statement: String,
    },
}

/// One principle of the constitution. Figures are on held-out labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConstitutionPrinciple {
    /// 1 for the most important.
    pub rank: usize,
    /// "Prefer the response that …", or the user's words.
    pub statement: String,
    /// `prefer` or `avoid`.
    pub direction: String,
    /// The feature behind it.
    pub feature_id: String,
    /// What the feature measures, in words.
    pub description: String,
    /// A label of a few words.
    pub short: String,
    /// `pinned`, `reworded`, and the feature's own flags.
    pub flags: Vec<String>,
    /// p-value of its direction on held-out labels. A rule stands where this is below `alpha`, or where it points its way
    /// there and is associated with all labels, corrected over all features; or because the user pinned it.
    pub p_confirm: f64,
    /// Its vote against the labels, in its own direction.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// Size of the activation from which it votes.
    pub threshold: f64,
    /// Log-odds per unit of its activation in the linear executor, fitted on the explore labels.
    pub weight: f64,
    /// The same per standard size (root mean square) of its activation.
    pub weight_per_sd: f64,
    /// How much the agreement of the linear executor falls without it.
    pub drop_linear: Option<Estimate>,
    /// The same for the vote.
    pub drop_vote: Option<Estimate>,
    /// Where it holds otherwise, in sentences: what the run claims of it by kind of request. The executors do not use it.
    pub by_context: Vec<String>,
}

/// Two principles that pull apart where they meet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// The first, by feature.
    pub first: String,
    /// Its label.
    pub first_short: String,
    /// The second.
    pub second: String,
    /// Its label.
    pub second_short: String,
    /// Held-out labels on which both vote.
    pub meetings: usize,
    /// Share of them on which they disagree.
    pub opposed: f64,
    /// Share of the disagreements in which the label follows the first.
    pub first_wins: Option<Estimate>,
}

/// A feature that was left out as repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// What was left out.
    pub feature_id: String,
    /// Its label.
    pub short: String,
    /// The principle that says the same.
    pub same_as: String,
    /// Its label.
    pub same_as_short: String,
    /// Their correlation.
    pub r: f64,
}

/// A rule that was chosen and not confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotConfirmed {
    /// Its feature.
    pub feature_id: String,
    /// Its label.
    pub short: String,
    /// Its p-value on held-out labels, in the direction that was chosen.
    pub p: f64,
}

/// What one edit did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EditCost {
    /// In words.
    pub edit: String,
    /// Change of the linear executor's agreement by this edit alone.
    pub linear: Estimate,
    /// Change of the vote's agreement.
    pub vote: Estimate,
}

/// Agreement of the first principles of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Number of principles.
    pub principles: usize,
    /// Of the linear executor.
    pub linear: Estimate,
    /// Of the vote.
    pub vote: Estimate,
    /// Agreement of the chosen executor in cross-validation among the explore labels, where the length
    /// was chosen; each fold chose its own list.
    pub cross_validated: Option<f64>,
}

/// What a figure is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// `majority`, `length`, `random_linear`, `random_vote`, `all_features`, `embedding`.
    pub name: String,
    /// Agreement with held-out labels. For random lists the mean, with the range that 95 % of them are in.
    pub agreement: Option<Estimate>,
    /// How much the constitution's executor is above it: paired, on the same labels. `None` for random
    /// lists.
    pub constitution_above: Option<Estimate>,
    /// Share of the random lists that agree at least as well as the constitution.
    pub as_good: Option<f64>,
}

/// The constitution with all its figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reconstruction {
    /// Version of this file's layout.
    pub schema_version: u64,
    /// The dataset, as the user named it.
    pub dataset: String,
    /// `linear` or `vote`: what the list was chosen for.
    pub executor: String,
    /// Labels that the list was chosen on.
    pub labels_explore: usize,
    /// Labels that every figure is computed on.
    pub labels_held_out: usize,
    /// Whether the user asked for a number of principles.
    pub asked_for: Option<usize>,
    /// Rules that the explore labels chose and the held-out ones did not confirm: left out.
    pub not_confirmed: Vec<NotConfirmed>,
    /// Most important first.
    pub principles: Vec<ConstitutionPrinciple>,
    /// Agreement with held-out labels, by executor.
    pub linear: Option<Estimate>,
    /// The same for the vote.
    pub vote: Option<Estimate>,
    /// Share of the held-out labels where the votes are split evenly and the order decides.
    pub vote_split: f64,
    /// Share where no principle votes.
    pub silent: f64,
    /// What they are compared with.
    pub baselines: Vec<Baseline>,
    /// Agreement by length, past the end of the list.
    pub curve: Vec<CurvePoint>,
    /// Share of the labels that some principle explains.
    pub coverage: Option<Estimate>,
    /// The same votes against coin flips instead of labels: what coverage is worth nothing below.
    pub coverage_floor: f64,
    /// Coverage of as many random principles, mean over the random lists.
    pub coverage_random: Option<f64>,
    /// Share of the votes that explain a label that another principle explains as well.
    pub redundancy: Option<Estimate>,
    /// Principles that pull apart.
    pub conflicts: Vec<Conflict>,
    /// What was left out as repetition.
    pub repetitions: Vec<Repetition>,
    /// What the user's edits did.
    pub edits: Vec<EditCost>,
    /// How much the better of every feature together and the embedding probe is above the linear executor.
    pub left_unexplained: Option<Estimate>,
    /// The same above the vote.
    pub left_unexplained_vote: Option<Estimate>,
    /// What that is measured with.
    pub left_unexplained_by: String,
    /// What a language model makes of the list, where one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_model: Option<ByModel>,
    /// The list as the executors see it.
    #[serde(skip)]
    pub articles: Vec<PrincipleRule>,
}

/// Chooses a constitution and measures it, each on 100,000 labels at most. `None` where there are no usable labels on one of
/// the sides. Without `deltas` it is not held against a probe of the embedding.
///
/// # Errors
/// [`Stopped`].
pub fn reconstruct(
    pairs: &Pairs,
    sides: &[Split],
    described: &Described,
    deltas: Option<&Matrix>,
    options: &Options,
) -> Result<Option<Reconstruction>, Stopped> {
    let some = |which: &[Split], most| LabelledSample::on(pairs, sides, which).at_most(most, pairs).sample;
    let explore = some(&[Split::Train, Split::Validation], MOST_LABELS);
    let held_out = some(&[Split::Test], MOST_LABELS);
    let both = |sample: &Sample| {
        let a: f64 = sample.y().iter().sum();
        a > 0.0 && a < sample.len() as f64
    };
    if !both(&explore) || !both(&held_out) {
        return Ok(None);
    }
    let tested = Tested::new(described, &options.cancel);
    let chooser = Chooser::new(&tested, &explore, options.redundant_above);
    let groups: Vec<u32> = explore.row().iter().map(|&pair| group_of(pairs, pair)).collect();
    let job = Job {
        described,
        columns: &tested.columns,
        linear: Linear { columns: &tested.columns, explore: &explore },
        vote: Vote { columns: &tested.columns },
        explore: &explore,
        held_out: &held_out,
        chooser: &chooser,
        associated: associated(&tested, &some(&ALL, 2 * MOST_LABELS), options.alpha)?,
        options,
    };
    Ok(Some(job.run(deltas, &groups)?))
}

/// Judgements of one prompt stay together.
fn group_of(pairs: &Pairs, pair: u32) -> u32 {
    let key = pairs.prompt_key[pair as usize];
    if key == MISSING { MISSING / 2 + pair } else { key }
}

/// Everything that the figures are computed from.
struct Job<'a> {
    described: &'a Described,
    columns: &'a Matrix,
    linear: Linear<'a>,
    vote: Vote<'a>,
    explore: &'a Sample,
    held_out: &'a Sample,
    chooser: &'a Chooser<'a>,
    /// Sign of the association that all labels (twice [`MOST_LABELS`] at most) confirm, corrected (Holm, weighted by
    /// prevalence) over all features; 0 without one.
    associated: Vec<f64>,
    options: &'a Options,
}

/// See [`Job::associated`]. Features that labels found have none: only held-out labels may test them.
fn associated(tested: &Tested<'_>, all: &Sample, alpha: f64) -> Result<Vec<f64>, Stopped> {
    let effects = tested.one_by_one(all)?;
    let p: Vec<f64> = (effects.iter().zip(&tested.described.features))
        .map(|(effect, feature)| if found_by_labels(feature) { f64::NAN } else { effect.beta_p_clustered })
        .collect();
    let presence = &tested.described.presence;
    let clear = |feature: usize| -> Vec<f32> {
        all.row().iter().map(|&row| presence.row(row as usize)[feature]).collect()
    };
    let weights: Vec<f64> = (0..p.len()).map(|at| weight(all.prevalence(&clear(at)))).collect();
    Ok(effects
        .iter()
        .zip(weighted_holm(&p, &weights))
        .map(|(effect, p)| if p < alpha { effect.beta.signum() } else { 0.0 })
        .collect())
}

impl Job<'_> {
    fn executor(&self) -> &dyn Executor {
        match self.options.aim {
            Objective::Linear => &self.linear,
            Objective::Vote => &self.vote,
        }
    }

    /// Agreement of a list with each held-out label.
    fn agreement(&self, executor: &dyn Executor, list: &[PrincipleRule]) -> Vec<f64> {
        agrees(&executor.decide(list, self.held_out), self.held_out.y())
    }

    fn clusters(&self) -> &Clusters {
        self.held_out.clusters()
    }

    fn run(&self, deltas: Option<&Matrix>, groups: &[u32]) -> Result<Reconstruction, Stopped> {
        let options = self.options;
        let crossed = self.chooser.cross_validated(
            self.explore,
            groups,
            options.aim,
            options.seed,
            |learn, list, judge| match options.aim {
                Objective::Linear => Linear { columns: self.columns, explore: learn }.decide(list, judge),
                Objective::Vote => self.vote.decide(list, judge),
            },
        )?;
        let length = options.principles.unwrap_or_else(|| flat_from(&crossed, self.explore.clusters()));
        let all = wishes(&options.edits);
        let mut chosen = self.choose(&all, length)?;
        let (confirmation, not_confirmed) = self.sift(&mut chosen.articles, &all);
        let articles = arrange(&chosen.articles, options.aim, &all.order);

        let (linear, vote) = (self.agreement(&self.linear, &articles), self.agreement(&self.vote, &articles));
        let mut found = Reconstruction {
            schema_version: SCHEMA_VERSION,
            executor: self.executor().name().to_owned(),
            labels_explore: self.explore.len(),
            labels_held_out: self.held_out.len(),
            asked_for: options.principles,
            not_confirmed,
            principles: self.principles(&articles, &linear, &vote, &confirmation),
            linear: Some(self.figure(&linear)),
            vote: Some(self.figure(&vote)),
            vote_split: self.vote.split(&articles, self.held_out),
            ..Reconstruction::default()
        };
        // The curve goes on past the end of the list, so that one sees that it is flat there.
        let mut long = chosen.articles.clone();
        let further = self.choose(&all, length + LONGEST / 3)?.articles;
        long.extend(further.into_iter().filter(|a| articles.iter().all(|b| a.feature != b.feature)));
        found.curve = self.curve(&long, &all, &crossed)?;
        self.cover(&mut found, &articles);
        self.baselines(&mut found, &articles, (&linear, &vote), deltas);
        options.cancel.check()?;
        found.conflicts = self.conflicts(&articles);
        found.articles.clone_from(&articles);
        found.repetitions = self.repetitions(&chosen, &articles);
        if !options.edits.is_empty() {
            found.edits = self.edit_costs(length)?;
        }
        Ok(found)
    }

    /// The list of at most `most` principles that honours the wishes.
    fn choose(&self, wishes: &Constraints, most: usize) -> Result<Chosen, Stopped> {
        self.chooser.choose(self.explore, most, self.options.principles.is_some(), wishes)
    }

    /// The mean over held-out labels, with its interval.
    fn figure(&self, values: &[f64]) -> Estimate {
        mean(values, self.clusters(), 0.0)
    }

    /// How well the first rules of a list do, for every length; `crossed` is what [`Chooser::cross_validated`] found.
    fn curve(
        &self,
        long: &[PrincipleRule],
        wishes: &Constraints,
        crossed: &[Vec<f64>],
    ) -> Result<Vec<CurvePoint>, Stopped> {
        (1..=long.len())
            .into_par_iter()
            .map(|count| -> Result<CurvePoint, Stopped> {
                self.options.cancel.check()?;
                let list = arrange(&long[..count], self.options.aim, &wishes.order);
                Ok(CurvePoint {
                    principles: count,
                    linear: self.figure(&self.agreement(&self.linear, &list)),
                    vote: self.figure(&self.agreement(&self.vote, &list)),
                    cross_validated: crossed
                        .get(count)
                        .map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64),
                })
            })
            .collect()
    }

    /// What was left out because a rule of the list says the same.
    fn repetitions(&self, chosen: &Chosen, articles: &[PrincipleRule]) -> Vec<Repetition> {
        let short = |feature: usize| self.described.features[feature].short.clone();
        let id = |feature: usize| self.described.features[feature].feature_id.clone();
        (chosen.twins.iter())
            .filter(|twin| articles.iter().any(|article| article.feature == twin.of))
            .map(|twin| Repetition {
                feature_id: id(twin.feature),
                short: short(twin.feature),
                same_as: id(twin.of),
                same_as_short: short(twin.of),
                r: twin.r,
            })
            .collect()
    }

    /// What each edit by itself changes about the list that the labels alone would make.
    fn edit_costs(&self, length: usize) -> Result<Vec<EditCost>, Stopped> {
        let list = |wishes: &Constraints| -> Result<Vec<PrincipleRule>, Stopped> {
            Ok(arrange(&self.choose(wishes, length)?.articles, self.options.aim, &wishes.order))
        };
        let without = list(&Constraints::default())?;
        let base = (self.agreement(&self.linear, &without), self.agreement(&self.vote, &without));
        (self.options.edits.iter())
            .map(|edit| {
                let edited = list(&wishes(std::slice::from_ref(edit)))?;
                let change = |executor: &dyn Executor, base: &[f64]| {
                    difference(&self.agreement(executor, &edited), base, self.clusters())
                };
                Ok(EditCost {
                    edit: self.words(edit),
                    linear: change(&self.linear, &base.0),
                    vote: change(&self.vote, &base.1),
                })
            })
            .collect()
    }

    fn words(&self, edit: &Edit) -> String {
        let short = |feature: &usize| self.described.features[*feature].short.clone();
        match edit {
            Edit::Pin { feature, sign } if *sign > 0.0 => format!("pin “prefer {}”", short(feature)),
            Edit::Pin { feature, sign } if *sign < 0.0 => format!("pin “avoid {}”", short(feature)),
            Edit::Pin { feature, .. } => format!("pin “{}”", short(feature)),
            Edit::Drop(feature) => format!("drop “{}”", short(feature)),
            Edit::Order(features) => {
                format!("order {}", features.iter().map(short).collect::<Vec<_>>().join(", "))
            }
            Edit::Reword { feature, .. } => format!("reword “{}”", short(feature)),
        }
    }

    /// Keeps the rules that held-out labels confirm, or the user wants; the p-values of all, and those that fell.
    fn sift(
        &self,
        articles: &mut Vec<PrincipleRule>,
        wishes: &Constraints,
    ) -> (Vec<(usize, f64)>, Vec<NotConfirmed>) {
        let confirmation = self.confirm(articles);
        let mut fell = Vec::new();
        articles.retain(|article| {
            let at = article.feature;
            let p = confirmation.iter().find(|(of, _)| *of == at).map_or(1.0, |(_, p)| *p);
            let associated = self.associated.get(at).copied().unwrap_or(0.0) * article.sign > 0.0;
            let stays = p < self.options.alpha
                || (associated && p < 0.5)
                || wishes.pinned.iter().any(|(pinned, _)| *pinned == at);
            if !stays {
                let feature = &self.described.features[at];
                let (feature_id, short) = (feature.feature_id.clone(), feature.short.clone());
                fell.push(NotConfirmed { feature_id, short, p });
            }
            stays
        });
        (confirmation, fell)
    }

    /// p-value of every rule on held-out labels in its own direction, by itself: that is what a reader takes it for, and
    /// what the vote does with it; no label that chose it takes part.
    fn confirm(&self, articles: &[PrincipleRule]) -> Vec<(usize, f64)> {
        let features: Vec<usize> = articles.iter().map(|article| article.feature).collect();
        let (described, never) = (&self.described.features, Cancel::default());
        // A few columns: over before anybody could want it to stop.
        let effects = one_by_one(self.columns, described, &features, self.held_out, Part::Slope, &never);
        let effects = effects.unwrap_or_default();
        (effects.iter().zip(articles))
            .map(|(effect, article)| {
                let p = effect.beta_p_clustered / 2.0;
                let p = match effect.beta * article.sign > 0.0 {
                    _ if !p.is_finite() => 1.0,
                    true => p,
                    false => 1.0 - p,
                };
                (article.feature, p)
            })
            .collect()
    }

    fn principles(
        &self,
        articles: &[PrincipleRule],
        linear: &[f64],
        vote: &[f64],
        confirmation: &[(usize, f64)],
    ) -> Vec<ConstitutionPrinciple> {
        let weights = self.linear.weights(articles);
        let features: Vec<usize> = articles.iter().map(|article| article.feature).collect();
        let sizes = mean_squares(&gather(self.columns, &features, self.explore.row()));
        (articles.par_iter().enumerate())
            .map(|(at, article)| {
                let feature = &self.described.features[article.feature];
                let votes: Vec<f32> = (self.held_out.row().iter())
                    .map(|&pair| article.vote(self.columns.row(pair as usize)[article.feature]) as f32)
                    .collect();
                let mut rest = articles.to_vec();
                rest.remove(at);
                let loss = |executor: &dyn Executor, with: &[f64]| {
                    Some(difference(with, &self.agreement(executor, &rest), self.clusters()))
                };
                let mut flags = feature.flags.clone();
                let prefer = article.sign > 0.0;
                let has = |name: &str| feature.flags.iter().any(|flag| flag == name);
                if (has("protective") && !prefer) || (has("harmful") && prefer) {
                    flags.push("safety_risk".into());
                }
                let mut statement = format!(
                    "{} the response that {}",
                    if prefer { "Prefer" } else { "Avoid" },
                    feature.clause
                );
                for edit in &self.options.edits {
                    match edit {
                        Edit::Pin { feature, .. } if *feature == article.feature => {
                            flags.push("pinned".into())
                        }
                        Edit::Reword { feature, statement: words } if *feature == article.feature => {
                            flags.push("reworded".into());
                            statement.clone_from(words);
                        }
                        _ => {}
                    }
                }
                ConstitutionPrinciple {
                    rank: at + 1,
                    statement,
                    direction: if prefer { "prefer" } else { "avoid" }.into(),
                    feature_id: feature.feature_id.clone(),
                    description: feature.description.clone(),
                    short: feature.short.clone(),
                    flags,
                    p_confirm: confirmation
                        .iter()
                        .find(|(of, _)| *of == article.feature)
                        .map_or(1.0, |(_, p)| *p),
                    agreement: agreement(&votes, self.held_out),
                    threshold: article.threshold,
                    weight: weights[at],
                    weight_per_sd: weights[at] * sizes[at].sqrt(),
                    drop_linear: loss(&self.linear, linear),
                    drop_vote: loss(&self.vote, vote),
                    by_context: Vec::new(),
                }
            })
            .collect()
    }

    /// Every principle's vote on every held-out judgement, turned so that +1 agrees with the label.
    fn sides(&self, articles: &[PrincipleRule]) -> Vec<Vec<f64>> {
        (articles.iter())
            .map(|article| {
                (self.held_out.row().iter().zip(self.held_out.y()))
                    .map(|(&pair, &y)| {
                        let vote = article.vote(self.columns.row(pair as usize)[article.feature]);
                        if y > 0.5 { vote } else { -vote }
                    })
                    .collect()
            })
            .collect()
    }

    /// Coverage with its floor, and redundancy.
    fn cover(&self, found: &mut Reconstruction, articles: &[PrincipleRule]) {
        let sides = self.sides(articles);
        let count = |at: usize, wanted: f64| sides.iter().filter(|side| side[at] == wanted).count() as f64;
        let n = self.held_out.len();
        let (mut covered, mut floor, mut silent) = (Vec::with_capacity(n), 0.0, 0.0);
        // Redundancy is a ratio of sums: votes that repeat another one over votes that explain.
        let (mut repeated, mut explaining) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for at in 0..n {
            let (right, wrong) = (count(at, 1.0), count(at, -1.0));
            covered.push(f64::from(u8::from(right > 0.0)));
            // A coin flip agrees with one side or the other.
            floor += f64::from(u8::from(right > 0.0)) / 2.0 + f64::from(u8::from(wrong > 0.0)) / 2.0;
            silent += f64::from(u8::from(right + wrong == 0.0));
            repeated.push(if right > 1.0 { right } else { 0.0 });
            explaining.push(right);
        }
        found.coverage = Some(mean(&covered, self.clusters(), 0.0));
        found.coverage_floor = floor / n.max(1) as f64;
        found.silent = silent / n.max(1) as f64;
        let total: f64 = explaining.iter().sum();
        if total > 0.0 {
            let ratio = repeated.iter().sum::<f64>() / total;
            // Delta method: the deviation of a ratio is that of (numerator − ratio · denominator).
            let values: Vec<f64> = (repeated.iter().zip(&explaining))
                .map(|(r, e)| ratio + (r - ratio * e) * n as f64 / total)
                .collect();
            found.redundancy = Some(mean(&values, self.clusters(), 0.0));
        }
    }

    fn conflicts(&self, articles: &[PrincipleRule]) -> Vec<Conflict> {
        let sides = self.sides(articles);
        let mut found = Vec::new();
        for first in 0..articles.len() {
            for second in first + 1..articles.len() {
                let meets = |at: &usize| sides[first][*at] != 0.0 && sides[second][*at] != 0.0;
                let meetings: Vec<usize> = (0..self.held_out.len()).filter(meets).collect();
                let opposed: Vec<usize> =
                    meetings.iter().copied().filter(|&at| sides[first][at] != sides[second][at]).collect();
                let share = opposed.len() as f64 / meetings.len().max(1) as f64;
                if meetings.len() < MEETINGS || share < CONFLICT {
                    continue;
                }
                let wins: Vec<f64> =
                    opposed.iter().map(|&at| f64::from(u8::from(sides[first][at] > 0.0))).collect();
                let feature = |at: usize| &self.described.features[articles[at].feature];
                found.push(Conflict {
                    first: feature(first).feature_id.clone(),
                    first_short: feature(first).short.clone(),
                    second: feature(second).feature_id.clone(),
                    second_short: feature(second).short.clone(),
                    meetings: meetings.len(),
                    opposed: share,
                    first_wins: Some(mean(&wins, &Clusters::new(wins.len(), &[]), 0.0)),
                });
            }
        }
        found.sort_by(|a, b| (b.opposed * b.meetings as f64).total_cmp(&(a.opposed * a.meetings as f64)));
        found
    }

    fn baselines(
        &self,
        found: &mut Reconstruction,
        articles: &[PrincipleRule],
        (linear, vote): (&[f64], &[f64]),
        deltas: Option<&Matrix>,
    ) {
        let own = match self.options.aim {
            Objective::Linear => linear,
            Objective::Vote => vote,
        };
        let y = self.held_out.y();
        let mut compare = |name: &str, decisions: Option<Vec<f64>>| {
            let values = decisions.map(|decisions| agrees(&decisions, y));
            found.baselines.push(Baseline {
                name: name.into(),
                agreement: values.as_ref().map(|values| mean(values, self.clusters(), 0.0)),
                constitution_above: values.as_ref().map(|values| difference(own, values, self.clusters())),
                as_good: None,
            });
            values
        };
        let share = self.explore.y().iter().sum::<f64>() / self.explore.len().max(1) as f64;
        compare("majority", Some(vec![if share > 0.5 { 1.0 } else { 0.0 }; y.len()]));
        compare("length", self.by_length());
        let all = compare("all_features", self.probe(self.columns, true));
        let embedding = compare("embedding", deltas.and_then(|deltas| self.probe(deltas, false)));

        let score = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let best = [("every feature together", all), ("the embedding probe", embedding)]
            .into_iter()
            .filter_map(|(name, values)| values.map(|values| (name, values)))
            .max_by(|a, b| score(&a.1).total_cmp(&score(&b.1)));
        if let Some((name, values)) = best {
            found.left_unexplained = Some(difference(&values, linear, self.clusters()));
            found.left_unexplained_vote = Some(difference(&values, vote, self.clusters()));
            found.left_unexplained_by = name.into();
        }

        let lists = self.random_lists(articles.len());
        if lists.is_empty() {
            return;
        }
        let executors: [(&str, &dyn Executor, Option<Estimate>); 2] =
            [("random_linear", &self.linear, found.linear), ("random_vote", &self.vote, found.vote)];
        for (name, executor, ours) in executors {
            // Once somebody wants it to stop, what is left is not used.
            let going_on = |_: &&Vec<PrincipleRule>| !self.options.cancel.requested();
            let mut values: Vec<f64> = (lists.par_iter().take_any_while(going_on))
                .map(|list| score(&self.agreement(executor, list)))
                .collect();
            if values.is_empty() {
                return;
            }
            let mean = score(&values);
            let as_good = ours.map(|ours| {
                values.iter().filter(|value| **value >= ours.value).count() as f64 / values.len() as f64
            });
            values.sort_by(f64::total_cmp);
            let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
            found.baselines.push(Baseline {
                name: name.into(),
                agreement: Some(Estimate { value: mean, low: at(0.025), high: at(0.975), n: y.len() }),
                constitution_above: None,
                as_good,
            });
        }
        let covered: Vec<f64> = lists
            .par_iter()
            .map(|list| {
                let sides = self.sides(list);
                let covers = |at: &usize| sides.iter().any(|side| side[*at] > 0.0);
                (0..y.len()).filter(covers).count() as f64 / y.len().max(1) as f64
            })
            .collect();
        found.coverage_random = Some(score(&covered));
    }

    /// As many principles as the constitution has, drawn from the same features, each in the direction
    /// that the explore labels give it.
    fn random_lists(&self, length: usize) -> Vec<Vec<PrincipleRule>> {
        if length == 0 {
            return Vec::new();
        }
        let pool: Vec<PrincipleRule> = (self.chooser.pool.par_iter())
            .take_any_while(|_| !self.options.cancel.requested())
            .filter_map(|&feature| self.chooser.by_itself(feature, self.explore))
            .collect();
        let length = length.min(pool.len());
        let mut random = crate::rng::stream(self.options.seed, "random principles");
        (0..RANDOM_LISTS)
            .map(|_| index::sample(&mut random, pool.len(), length).iter().map(|at| pool[at]).collect())
            .collect()
    }

    /// Decisions by the difference in length alone.
    fn by_length(&self) -> Option<Vec<f64>> {
        let column = |sample: &Sample| sample.length().iter().map(|l| *l as f32).collect::<Vec<f32>>();
        let design = Matrix { values: column(self.explore), cols: 1 };
        let rows: Vec<u32> = (0..self.explore.len() as u32).collect();
        let penalty = penalised::Penalty { factors: mean_squares(&design), ..Default::default() };
        let linear = penalised::fit(&design, &rows, self.explore.y(), &penalty).ok()?;
        let weight = *linear.coefficients.first()?;
        Some(self.held_out.length().iter().map(|l| 1.0 / (1.0 + (-weight * l).exp())).collect())
    }

    /// Decisions of a logistic over every column of `matrix`, without its intercept, as for the executors.
    fn probe(&self, matrix: &Matrix, scaled: bool) -> Option<Vec<f64>> {
        let mut penalty = penalised::Penalty::default();
        if scaled {
            let all: Vec<usize> = (0..matrix.cols).collect();
            penalty.factors = mean_squares(&gather(matrix, &all, self.explore.row()));
        }
        let linear = penalised::fit(matrix, self.explore.row(), self.explore.y(), &penalty).ok()?;
        let scores = linear.score(matrix, self.held_out.row());
        Some(scores.iter().map(|s| 1.0 / (1.0 + (linear.intercept - s).exp())).collect())
    }
}

/// The edits as wishes for the choice.
fn wishes(edits: &[Edit]) -> Constraints {
    let mut wishes = Constraints::default();
    for edit in edits {
        match edit {
            Edit::Pin { feature, sign } => wishes.pinned.push((*feature, *sign)),
            Edit::Drop(feature) => wishes.dropped.push(*feature),
            Edit::Order(features) => wishes.order.extend(features),
            Edit::Reword { .. } => {}
        }
    }
    wishes
}
