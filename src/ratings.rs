//! Which models win, and why: Bradley–Terry ratings without and with what the responses are like.
//!
//! ```text
//! P(A preferred) = σ(θ_A − θ_B + Σ_f β_f x_f)      x: how much more of each feature A has, in standard deviations
//! rating         = 1000 + 400 / ln 10 · (θ − mean θ)
//! ```
//!
//! Without features that is Bradley & Terry's model (1952); with length and format it is what LMArena calls style
//! control; with everything that the run's features say, what is left is the rating that a model would have if all wrote
//! alike. A tie is half a win for both. Every battle is also counted the other way round, so that the side a model stands
//! on has no say and the estimates are those without an intercept. Intervals are clustered by prompt and, where they are
//! many, by annotator. Where models fall into groups that never meet, each group has a mean of its own. A model that
//! always wins has no finite rating: then the estimate is bounded (Firth), and that is said.

use std::collections::BTreeMap;

use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::effects::clusters::Influence;
use crate::effects::logistic::{Coefficient, Column, fit};
use crate::effects::{Clusters, Outcome, quantile_95};
use crate::matrix::Matrix;
use crate::pairs::{MISSING, Pairs};
use crate::statistics::multiplicity::holm;
use crate::statistics::share::wilson_of;
use crate::store::Estimate;

/// Rating points of one unit of log-odds.
const ELO: f64 = 400.0 / std::f64::consts::LN_10;
/// The mean rating.
const MEAN: f64 = 1000.0;
/// Battles that a feature held fixed wants.
const BATTLES_A_FEATURE: usize = 20;
/// Battles below which a model's figures are said to be few.
pub const FEW: usize = 30;
/// Battles that a rating and a trait are shown with.
const DECIDING: usize = 3;
/// Chance of calling any trait a model's own where there is none.
const ALPHA: f64 = 0.05;

/// One comparison of two models by one judgement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Battle {
    /// Index into the pairs.
    pub pair: u32,
    /// The model of response A.
    pub a: u32,
    /// The model of response B.
    pub b: u32,
    /// 1 where A is preferred, 0 where B is, .5 for a tie.
    pub y: f64,
    /// What it shares with other battles.
    pub prompt: u32,
    /// Who judged; [`MISSING`] where that is not known.
    pub annotator: u32,
}

/// All battles of a dataset.
#[derive(Debug, Clone, Default)]
pub struct Battles {
    /// Names of the models, the one with most battles first.
    pub models: Vec<String>,
    /// The battles.
    pub battles: Vec<Battle>,
    /// Labels of rows that do not name both models.
    pub nameless: usize,
    /// Labels of rows in which a model meets itself.
    pub own: usize,
}

impl Battles {
    /// From the models of each row's first and second response.
    pub fn new(pairs: &Pairs, first: &[Option<String>], second: &[Option<String>]) -> Self {
        let name = |column: &[Option<String>], row: u32| {
            let name = column.get(row as usize).cloned().flatten()?;
            Some(name.trim().to_owned()).filter(|name| !name.is_empty())
        };
        let judgements = &pairs.judgements;
        let mut found = Self::default();
        let mut named: Vec<(String, String, Battle)> = Vec::new();
        for (at, (&pair, &label)) in judgements.pair.iter().zip(&judgements.label).enumerate() {
            if label.is_nan() {
                continue;
            }
            let row = judgements.row[at];
            let (Some(mut a), Some(mut b)) = (name(first, row), name(second, row)) else {
                found.nameless += 1;
                continue;
            };
            if judgements.swapped[at] {
                std::mem::swap(&mut a, &mut b);
            }
            if a == b {
                found.own += 1;
                continue;
            }
            let key = pairs.prompt_key[pair as usize];
            let prompt = if key == MISSING { MISSING / 2 + pair } else { key };
            let annotator = judgements.annotator[at];
            named.push((a, b, Battle { pair, a: 0, b: 0, y: f64::from(label), prompt, annotator }));
        }
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for (a, b, _) in &named {
            *count.entry(a).or_default() += 1;
            *count.entry(b).or_default() += 1;
        }
        let mut models: Vec<(&str, usize)> = count.into_iter().collect();
        models.sort_by(|x, y| y.1.cmp(&x.1).then(x.0.cmp(y.0)));
        let place: BTreeMap<&str, u32> = models.iter().map(|(name, _)| *name).zip(0..).collect();
        found.battles = named
            .iter()
            .map(|(a, b, battle)| Battle { a: place[a.as_str()], b: place[b.as_str()], ..*battle })
            .collect();
        found.models = models.iter().map(|(name, _)| (*name).to_owned()).collect();
        found
    }

    /// The group of each model: those that meet, directly or through others.
    fn groups(&self) -> Vec<usize> {
        let mut group: Vec<usize> = (0..self.models.len()).collect();
        fn root(group: &mut [usize], mut at: usize) -> usize {
            while group[at] != at {
                group[at] = group[group[at]];
                at = group[at];
            }
            at
        }
        for battle in &self.battles {
            let (a, b) = (root(&mut group, battle.a as usize), root(&mut group, battle.b as usize));
            group[a.max(b)] = a.min(b);
        }
        (0..group.len()).map(|at| root(&mut group, at)).collect()
    }

    fn clusters(&self, twice: bool) -> Clusters {
        let column = |of: fn(&Battle) -> u32| -> Vec<u32> {
            let once: Vec<u32> = self.battles.iter().map(of).collect();
            if twice { [&once[..], &once[..]].concat() } else { once }
        };
        let mut dimensions = vec![column(|battle| battle.prompt)];
        let people = column(|battle| battle.annotator);
        if people.iter().any(|id| *id != people[0]) {
            dimensions.push(people);
        }
        Clusters::new(dimensions[0].len(), &dimensions)
    }
}

/// A feature to hold fixed.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariate {
    /// Its id, or `length` and `length_ratio`.
    pub id: String,
    /// What a response with more of it does.
    pub description: String,
    /// How much more of it A has in each pair, `[pairs]`.
    pub values: Vec<f64>,
}

/// What a feature is worth beside the models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Style {
    /// Its id.
    pub feature_id: String,
    /// In words.
    pub description: String,
    /// Rating points of one standard deviation more of it.
    pub points: Estimate,
}

/// A fit.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ratings {
    /// Rating of each model, `[models]`; `None` where it cannot be estimated.
    pub ratings: Vec<Option<Estimate>>,
    /// What is held fixed.
    pub held: Vec<Style>,
    /// What a reader should know about the fit.
    pub note: Option<String>,
    /// `[models, models]`, row by row: covariance of the ratings.
    #[serde(skip)]
    pub covariance: Vec<f64>,
    /// Rating points that a battle adds to a model's rating, beyond what was expected, `[battles]` for each model.
    #[serde(skip)]
    pub influence: Vec<Vec<f64>>,
    /// Log-odds per standard deviation and that standard deviation, `[held]`.
    #[serde(skip)]
    coefficients: Vec<(f64, f64, usize)>,
}

/// A column for each model, 1 where it is A and −1 where it is B, then one for each covariate; and the labels. Every
/// battle stands there a second time the other way round.
fn design(battles: &Battles, covariates: &[Covariate]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let n = battles.battles.len();
    let mut values: Vec<Vec<f64>> = vec![vec![0.0; 2 * n]; battles.models.len()];
    let mut y = vec![0.0; 2 * n];
    for (at, battle) in battles.battles.iter().enumerate() {
        for (row, sign) in [(at, 1.0), (n + at, -1.0)] {
            values[battle.a as usize][row] = sign;
            values[battle.b as usize][row] = -sign;
            y[row] = if sign > 0.0 { battle.y } else { 1.0 - battle.y };
        }
    }
    for covariate in covariates {
        let own = battles.battles.iter().map(|battle| covariate.values[battle.pair as usize]);
        let once: Vec<f64> = own.collect();
        values.push(once.iter().copied().chain(once.iter().map(|x| -x)).collect());
    }
    (values, y)
}

/// Rates every model, with `covariates` held fixed.
pub fn rate(battles: &Battles, covariates: &[Covariate]) -> Ratings {
    let (n, k) = (battles.battles.len(), battles.models.len());
    let (values, y) = design(battles, covariates);
    let names: Vec<String> = (0..values.len()).map(|at| at.to_string()).collect();
    let columns: Vec<Column<'_>> =
        names.iter().zip(&values).map(|(name, values)| Column { name, values }).collect();
    let clusters = battles.clusters(true);
    let fitted = fit(&columns, &y, Some(&clusters));
    if !fitted.outcome.has_estimate() {
        return Ratings {
            ratings: vec![None; k],
            note: fitted.outcome.note().map(str::to_owned),
            ..Ratings::default()
        };
    }
    // Where each column stands among those that were estimated; the intercept, which is 0, is the first.
    let mut place = Vec::with_capacity(values.len());
    let mut next = 1;
    for coefficient in &fitted.coefficients[1..] {
        let kept = coefficient.value.is_finite();
        place.push(kept.then_some(next));
        next += usize::from(kept);
    }
    let model_based = || {
        let mut halved = fitted.covariance.clone();
        // Every battle was counted twice.
        (0..halved.nrows()).for_each(|i| (0..halved.ncols()).for_each(|j| halved[(i, j)] *= 2.0));
        halved
    };
    let covariance = fitted.covariance_clustered.clone().unwrap_or_else(model_based);
    let t = quantile_95(Some((clusters.count(0) as f64 - 1.0).max(1.0)));

    // Ratings around the mean of their group: L θ with L = I − 1/size within the group.
    let groups = battles.groups();
    let size = |group: usize| groups.iter().filter(|other| **other == group).count() as f64;
    let loading = |model: usize, other: usize| {
        let same = if groups[model] == groups[other] { 1.0 / size(groups[model]) } else { 0.0 };
        f64::from(u8::from(model == other)) - same
    };
    let mut l = Mat::<f64>::zeros(k, next);
    for model in 0..k {
        for (other, at) in place.iter().take(k).enumerate() {
            if let Some(at) = at {
                l[(model, *at)] = loading(model, other) * ELO;
            }
        }
    }
    let of_ratings = &l * &covariance * l.transpose();
    let beta = |column: usize| {
        let value = fitted.coefficients[column + 1].value;
        if value.is_finite() { value } else { 0.0 }
    };
    let theta: Vec<f64> =
        (0..k).map(|model| (0..k).map(|other| loading(model, other) * beta(other)).sum()).collect();
    let estimate = |value: f64, variance: f64, n: usize| {
        let half = t * variance.max(0.0).sqrt();
        Estimate { value, low: value - half, high: value + half, n }
    };
    let battles_of = |model: usize| {
        battles.battles.iter().filter(|b| b.a as usize == model || b.b as usize == model).count()
    };
    let ratings = (0..k)
        .map(|model| Some(estimate(MEAN + ELO * theta[model], of_ratings[(model, model)], battles_of(model))))
        .collect();
    let sized = |value: f64, variance: f64| estimate(value, variance, n);
    let (held, coefficients) =
        worth(&fitted.coefficients[k + 1..], covariates, &place[k..], &covariance, &sized);
    Ratings {
        ratings,
        held,
        note: fitted.outcome.note().filter(|_| fitted.outcome != Outcome::Fitted).map(str::to_owned),
        covariance: (0..k).flat_map(|i| (0..k).map(move |j| (i, j))).map(|at| of_ratings[at]).collect(),
        influence: influence(battles, &values, &place, &l, &model_based(), &beta),
        coefficients,
    }
}

/// What each covariate is worth, and its coefficient with its standard deviation and place.
fn worth(
    coefficients: &[Coefficient],
    covariates: &[Covariate],
    place: &[Option<usize>],
    covariance: &Mat<f64>,
    estimate: &impl Fn(f64, f64) -> Estimate,
) -> (Vec<Style>, Vec<(f64, f64, usize)>) {
    let (mut held, mut found) = (Vec::new(), Vec::new());
    for (at, (covariate, coefficient)) in covariates.iter().zip(coefficients).enumerate() {
        let Some(place) = place[at] else { continue };
        let scale = ELO * coefficient.sd;
        held.push(Style {
            feature_id: covariate.id.clone(),
            description: covariate.description.clone(),
            points: estimate(coefficient.value * scale, covariance[(place, place)] * scale * scale),
        });
        found.push((coefficient.value, coefficient.sd, at));
    }
    (held, found)
}

/// What each battle adds to each rating: L Σ x (y − p).
fn influence(
    battles: &Battles,
    values: &[Vec<f64>],
    place: &[Option<usize>],
    l: &Mat<f64>,
    covariance: &Mat<f64>,
    beta: &(impl Fn(usize) -> f64 + Sync),
) -> Vec<Vec<f64>> {
    let reach = l * covariance;
    let of_battle = |(at, battle): (usize, &Battle)| -> Vec<f64> {
        let eta: f64 = values.iter().enumerate().map(|(column, values)| beta(column) * values[at]).sum();
        let left = battle.y - 1.0 / (1.0 + (-eta).exp());
        let adds = |model: usize| {
            let kept = place.iter().zip(values).filter_map(|(place, values)| Some(((*place)?, values[at])));
            left * kept.map(|(place, x)| reach[(model, place)] * x).sum::<f64>()
        };
        (0..l.nrows()).map(adds).collect()
    };
    let by_battle: Vec<Vec<f64>> = battles.battles.par_iter().enumerate().map(of_battle).collect();
    (0..l.nrows()).map(|model| by_battle.iter().map(|battle| battle[model]).collect()).collect()
}

/// Something that a model does more often, or less often, than those it meets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trait {
    /// As in `features.parquet`.
    pub feature_id: String,
    /// "uses lists": completes "the response that …".
    pub description: String,
    /// Share of its battles in which it clearly has it and the other has not, minus the reverse.
    pub more: Estimate,
    /// Rating points that the model owes to it, by the fit with everything held fixed; `None` where it is not held.
    pub points: Option<f64>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRow {
    /// Its name.
    pub model: String,
    /// Battles.
    pub battles: usize,
    /// Won, tied, lost.
    pub record: [usize; 3],
    /// Share won, ties as a half.
    pub win_rate: Estimate,
    /// Rating by the labels alone.
    pub rating: Option<Estimate>,
    /// Rating with length and format held fixed.
    pub rating_style: Option<Estimate>,
    /// Rating with everything that the run's features say held fixed.
    pub rating_all: Option<Estimate>,
    /// Place by the first rating, and the best and worst that its interval leaves: models that are surely better, and so on.
    pub rank: [usize; 3],
    /// Which models can be compared with it: those with the same number.
    pub group: usize,
    /// What it does more or less of, the surest and largest first.
    pub traits: Vec<Trait>,
    /// Pairs that raise its rating most, by id.
    pub wins_that_count: Vec<String>,
    /// Pairs that lower it most.
    pub losses_that_count: Vec<String>,
    /// What a reader should know.
    pub note: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelRatings {
    /// The best rating first, group by group.
    pub models: Vec<ModelRow>,
    /// Battles used, ties among them.
    pub battles: usize,
    /// Ties.
    pub ties: usize,
    /// Prompts of the battles.
    pub prompts: usize,
    /// What length and format are worth.
    pub style: Vec<Style>,
    /// What everything is worth.
    pub all: Vec<Style>,
    /// Groups of models that never meet.
    pub groups: usize,
    /// Sentences that a reader should know.
    pub notes: Vec<String>,
}

/// What the report is made from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The pairs.
    pub pairs: &'a Pairs,
    /// The battles.
    pub battles: &'a Battles,
    /// Length and format.
    pub style: &'a [Covariate],
    /// These and every feature that speaks, the more frequent first.
    pub all: &'a [Covariate],
    /// Who clearly has a feature: 1 where A has and B has not, −1 the other way round, else 0, `[pairs, features]`.
    pub presence: &'a Matrix,
    /// Columns of `presence` that may be traits: column, id, words.
    pub traits: &'a [(usize, String, String)],
}

/// Ratings of every kind, traits and the battles that count.
pub fn report(input: Input<'_>) -> ModelRatings {
    let battles = input.battles;
    let (n, k) = (battles.battles.len(), battles.models.len());
    let most = (n / BATTLES_A_FEATURE).saturating_sub(k);
    let mut notes = Vec::new();
    let fits = |covariates: &[Covariate]| covariates.len().min(most.max(2));
    let all = &input.all[..fits(input.all)];
    if all.len() < input.all.len() {
        notes.push(format!(
            "{} of {} features are held fixed: {n} battles do not tell more apart ({BATTLES_A_FEATURE} for each)",
            all.len(),
            input.all.len()
        ));
    }
    let plain = rate(battles, &[]);
    let style = rate(battles, &input.style[..fits(input.style)]);
    let full = rate(battles, all);
    for (name, ratings) in [("plain", &plain), ("style", &style), ("all", &full)] {
        if let Some(note) = &ratings.note {
            notes.push(format!("ratings ({name}): a model or feature {note}"));
        }
    }
    let groups = battles.groups();
    let mut numbers: Vec<usize> = groups.clone();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() > 1 {
        notes.push(format!(
            "the models fall into {} groups that never meet: ratings can be compared within a group only",
            numbers.len()
        ));
    }
    if battles.nameless > 0 {
        notes.push(format!("{} labels are of rows that do not name both models", battles.nameless));
    }
    if battles.own > 0 {
        notes.push(format!("{} labels compare a model with itself and are left out", battles.own));
    }
    let mut traits = traits(input, &full, all);
    let group = |model: usize| numbers.iter().position(|number| *number == groups[model]).unwrap_or(0);
    let fits = [&plain, &style, &full];
    let mut models: Vec<ModelRow> = (0..k)
        .map(|model| model_row(input, model, fits, group(model), std::mem::take(&mut traits[model])))
        .collect();
    ranks(&mut models, &plain);
    let value = |row: &ModelRow| row.rating.map_or(f64::NEG_INFINITY, |rating| rating.value);
    models.sort_by(|x, y| x.group.cmp(&y.group).then(value(y).total_cmp(&value(x))));
    let mut prompts: Vec<u32> = battles.battles.iter().map(|battle| battle.prompt).collect();
    prompts.sort_unstable();
    prompts.dedup();
    ModelRatings {
        models,
        battles: n,
        ties: battles.battles.iter().filter(|battle| battle.y == 0.5).count(),
        prompts: prompts.len(),
        style: style.held,
        all: full.held,
        groups: numbers.len(),
        notes,
    }
}

/// One model with its figures in each of the fits.
fn model_row(
    input: Input<'_>,
    model: usize,
    [plain, style, full]: [&Ratings; 3],
    group: usize,
    traits: Vec<Trait>,
) -> ModelRow {
    let battles = input.battles;
    let own = || battles.battles.iter().filter(move |b| b.a as usize == model || b.b as usize == model);
    let score = |b: &Battle| if b.a as usize == model { b.y } else { 1.0 - b.y };
    let count = own().count();
    let record = [
        own().filter(|b| score(b) > 0.5).count(),
        own().filter(|b| score(b) == 0.5).count(),
        own().filter(|b| score(b) < 0.5).count(),
    ];
    let share = own().map(score).sum::<f64>() / count.max(1) as f64;
    let [value, low, high] = wilson_of(share, count.max(1) as f64);
    let note = match (record, count) {
        ([_, 0, 0], _) => Some("won every battle: its rating is a lower bound".to_owned()),
        ([0, 0, _], _) => Some("lost every battle: its rating is an upper bound".to_owned()),
        (_, few) if few < FEW => Some(format!("few battles: {few}")),
        _ => None,
    };
    let deciding = |sign: f64| -> Vec<String> {
        let Some(adds) = plain.influence.get(model) else { return Vec::new() };
        let mut order: Vec<usize> = (0..battles.battles.len()).filter(|at| adds[*at] * sign > 0.0).collect();
        order.sort_by(|x, y| (adds[*y] * sign).total_cmp(&(adds[*x] * sign)).then(x.cmp(y)));
        let pair = |at: &usize| input.pairs.pair_id[battles.battles[*at].pair as usize].clone();
        order.iter().take(DECIDING).map(pair).collect()
    };
    ModelRow {
        model: battles.models[model].clone(),
        battles: count,
        record,
        win_rate: Estimate { value, low, high, n: count },
        rating: plain.ratings[model],
        rating_style: style.ratings[model],
        rating_all: full.ratings[model],
        rank: [0; 3],
        group,
        traits,
        wins_that_count: deciding(1.0),
        losses_that_count: deciding(-1.0),
        note,
    }
}

/// Places, and how far the intervals of the differences leave them open.
fn ranks(models: &mut [ModelRow], plain: &Ratings) {
    let k = models.len();
    let covariance = |i: usize, j: usize| plain.covariance.get(i * k + j).copied().unwrap_or(0.0);
    let values: Vec<Option<f64>> = plain.ratings.iter().map(|rating| Some((*rating)?.value)).collect();
    for at in 0..k {
        let Some(own) = values[at] else { continue };
        let (mut place, mut better, mut worse) = (1, 0, 0);
        for (other, value) in values.iter().enumerate() {
            let Some(value) = value.filter(|_| other != at && models[other].group == models[at].group) else {
                continue;
            };
            place += usize::from(value > own);
            let variance = covariance(at, at) + covariance(other, other) - 2.0 * covariance(at, other);
            let sure = (value - own).abs() > crate::statistics::Z95 * variance.max(0.0).sqrt();
            better += usize::from(sure && value > own);
            worse += usize::from(sure && value < own);
        }
        let group = models.iter().filter(|model| model.group == models[at].group).count();
        models[at].rank = [place, 1 + better, group - worse];
    }
}

/// What each model does more of than those it meets, `[models]`.
fn traits(input: Input<'_>, full: &Ratings, held: &[Covariate]) -> Vec<Vec<Trait>> {
    let battles = input.battles;
    let k = battles.models.len();
    let points: BTreeMap<&str, (f64, &[f64])> = (full.coefficients.iter())
        .map(|&(beta, _, at)| (held[at].id.as_str(), (beta, held[at].values.as_slice())))
        .collect();
    let of = |model: usize| -> Vec<(Trait, f64)> {
        let own: Vec<&Battle> =
            battles.battles.iter().filter(|b| b.a as usize == model || b.b as usize == model).collect();
        let sign = |battle: &Battle| if battle.a as usize == model { 1.0 } else { -1.0 };
        let clusters = Clusters::new(own.len(), &[own.iter().map(|battle| battle.prompt).collect()]);
        let n = own.len().max(1) as f64;
        input
            .traits
            .iter()
            .map(|(column, id, description)| {
                let has = |battle: &&Battle| {
                    sign(battle) * f64::from(input.presence.row(battle.pair as usize)[*column])
                };
                let values: Vec<f64> = own.iter().map(has).collect();
                let value = values.iter().sum::<f64>() / n;
                let left: Vec<f64> = values.iter().map(|x| (x - value) / n).collect();
                let sandwich = clusters.sandwich(None, &Influence::of_mean(&left));
                let (se, df) = sandwich.map_or((f64::NAN, 1.0), |found| (found.variance.sqrt(), found.df));
                let half = quantile_95(Some(df)) * se;
                let p = if se > 0.0 { crate::effects::student_p(value / se, df) } else { f64::NAN };
                let points = points.get(id.as_str()).map(|(beta, values)| {
                    let signed = own.iter().map(|battle| sign(battle) * values[battle.pair as usize]);
                    ELO * beta * signed.sum::<f64>() / n
                });
                let more = Estimate { value, low: value - half, high: value + half, n: own.len() };
                (Trait { feature_id: id.clone(), description: description.clone(), more, points }, p)
            })
            .collect()
    };
    let found: Vec<Vec<(Trait, f64)>> = (0..k).into_par_iter().map(of).collect();
    let p: Vec<f64> = found.iter().flatten().map(|(_, p)| *p).collect();
    let mut corrected = holm(&p).into_iter();
    found
        .into_iter()
        .map(|own| {
            let sure = own.into_iter().zip(corrected.by_ref()).filter(|(_, p)| *p < ALPHA);
            let mut own: Vec<Trait> = sure.map(|((found, _), _)| found).collect();
            own.sort_by(|x, y| y.more.value.abs().total_cmp(&x.more.value.abs()));
            own
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    fn battles(models: usize, of: impl Iterator<Item = (u32, u32, u32, f64)>) -> Battles {
        let battles = of.enumerate().map(|(pair, (a, b, prompt, y))| Battle {
            pair: pair as u32,
            a,
            b,
            y,
            prompt,
            annotator: MISSING,
        });
        let models = (0..models).map(|model| format!("m{model}")).collect();
        Battles { models, battles: battles.collect(), ..Battles::default() }
    }

    fn log_odds(ratings: &Ratings) -> Vec<f64> {
        ratings.ratings.iter().map(|rating| (rating.unwrap().value - MEAN) / ELO).collect()
    }

    /// `tests/fixtures/ratings/make.py`: choix 0.4 and statsmodels 0.15.
    #[test]
    fn ratings_are_those_of_choix_and_statsmodels() {
        let fixture: serde_json::Value =
            serde_json::from_str(include_str!("../tests/fixtures/ratings/ratings.json")).unwrap();
        let numbers = |name: &str| -> Vec<f64> {
            fixture[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let (a, b, prompt, x, y) =
            (numbers("a"), numbers("b"), numbers("prompt"), numbers("x"), numbers("y"));
        let all = battles(6, (0..a.len()).map(|at| (a[at] as u32, b[at] as u32, prompt[at] as u32, y[at])));
        let near = |found: &[f64], wanted: &[f64]| {
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
            }
        };
        near(&log_odds(&rate(&all, &[])), &numbers("with_ties"));
        let x = Covariate { id: "x".into(), description: String::new(), values: x };
        let style = rate(&all, std::slice::from_ref(&x));
        near(&log_odds(&style), &numbers("style"));
        near(&[style.coefficients[0].0], &numbers("style_beta"));
        let mut decided = all.clone();
        decided.battles.retain(|battle| battle.y != 0.5);
        near(&log_odds(&rate(&decided, &[])), &numbers("choix_without_ties"));
        near(&log_odds(&rate(&decided, &[])), &numbers("without_ties"));
    }

    /// Battles of a world: four models of the given strengths, and a feature that two of them have more of.
    fn world(seed: u64, n: usize, theta: &[f64], more: &[f64], beta: f64) -> (Battles, Vec<f64>) {
        let mut rng = crate::rng::stream(seed, "battles");
        let mut x = Vec::with_capacity(n);
        let models = theta.len() as u32;
        let made: Vec<(u32, u32, u32, f64)> = (0..n)
            .map(|_| {
                let a = rng.random_range(0..models);
                let b = (a + rng.random_range(1..models)) % models;
                let noise: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
                let own = noise + more[a as usize] - more[b as usize];
                x.push(own);
                let p = 1.0 / (1.0 + (-(theta[a as usize] - theta[b as usize] + beta * own)).exp());
                let y = if rng.random::<f64>() < p { 1.0 } else { 0.0 };
                (a, b, rng.random_range(0..n as u32 / 3), y)
            })
            .collect();
        (battles(theta.len(), made.into_iter()), x)
    }

    #[test]
    fn who_wins_by_length_loses_the_lead_and_who_wins_by_substance_keeps_it() {
        let rated = |theta: [f64; 4], more: [f64; 4], beta: f64| {
            let (all, x) = world(7, 4000, &theta, &more, beta);
            let x = Covariate { id: "length".into(), description: "is longer".into(), values: x };
            (log_odds(&rate(&all, &[])), log_odds(&rate(&all, &[x])))
        };
        // The first writes at length, and length is liked.
        let (plain, fixed) = rated([0.0; 4], [2.0, 0.0, 0.0, 0.0], 0.6);
        assert!(plain[0] > plain[1] + 0.6, "{plain:?}");
        assert!((fixed[0] - fixed[1]).abs() < 0.2, "{fixed:?}");
        // The first is good, and another one writes at length.
        let (plain, fixed) = rated([1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], 0.6);
        assert!(fixed[0] > fixed[1] + 0.8 && plain[0] < plain[1] + 0.3, "{plain:?} {fixed:?}");
    }

    #[test]
    fn intervals_hold_the_truth_in_nineteen_of_twenty() {
        let theta = [0.6, 0.1, -0.2, -0.5];
        let (mut inside, mut all) = (0, 0);
        for seed in 0..250 {
            let (battles, x) = world(seed, 400, &theta, &[0.5, 0.0, 0.0, -0.5], 0.4);
            let x = Covariate { id: "x".into(), description: String::new(), values: x };
            let found = rate(&battles, &[x]);
            for (rating, theta) in found.ratings.iter().zip(theta) {
                let rating = rating.unwrap();
                inside += usize::from((rating.low..=rating.high).contains(&(MEAN + ELO * theta)));
                all += 1;
            }
        }
        let share = inside as f64 / all as f64;
        assert!((0.93..=0.97).contains(&share), "{share}");
    }

    #[test]
    fn turning_every_battle_round_changes_no_rating() {
        let (all, x) = world(1, 300, &[0.5, 0.0, -0.5], &[1.0, 0.0, 0.0], 0.4);
        let mut turned = all.clone();
        for battle in &mut turned.battles {
            (battle.a, battle.b, battle.y) = (battle.b, battle.a, 1.0 - battle.y);
        }
        let held = |x: Vec<f64>| vec![Covariate { id: "x".into(), description: String::new(), values: x }];
        let (one, other) =
            (rate(&all, &held(x.clone())), rate(&turned, &held(x.iter().map(|x| -x).collect())));
        for (a, b) in one.ratings.iter().zip(&other.ratings) {
            assert!((a.unwrap().value - b.unwrap().value).abs() < 1e-6);
        }
    }

    #[test]
    fn groups_that_never_meet_and_models_that_always_win_are_handled() {
        // 0 beats 1 always; 2 and 3 meet only each other.
        let of =
            (0..40).map(|at| if at % 2 == 0 { (0, 1, at, 1.0) } else { (2, 3, at, f64::from(at % 4 == 1)) });
        let all = battles(4, of);
        assert_eq!(all.groups(), [0, 0, 2, 2]);
        let found = rate(&all, &[]);
        let rating = |model: usize| found.ratings[model].unwrap();
        assert!(rating(0).value.is_finite() && rating(0).value > rating(1).value + 100.0);
        assert!((rating(2).value - MEAN).abs() < 1.0 && (rating(3).value - MEAN).abs() < 1.0);
        assert!(found.note.is_some());
    }
}
