//! Which features become principles: explore on some labels, confirm on others.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use rayon::prelude::*;

use crate::config::PrincipleConfig;
use crate::context::{Cancel, Stopped};
use crate::describe::{Described, Feature, FeatureSource};
use crate::effects::table::{ALL, EffectTable, LabelledSample, MOST_LABELS, control_of, one_by_one, shown};
use crate::effects::{
    Conditional, Control, Effect, Part, Sample, WinDelta, conditional_effect_at, conditional_effects,
    conditional_win_delta_at, conditional_win_deltas, crossfit, last_conditional_effect, score_tests_of,
};
use crate::embed::{EmbedError, Embedder};
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Split};
use crate::statistics::multiplicity::{holm, weighted_holm};
use crate::store::SCHEMA_VERSION;

use super::agreement::agreement;
use super::themes::{self, Theme};
use super::{Evidence, Finding, Findings, Looked, Principle};

/// p-value from which on a candidate adds something on the explore labels. What is weaker there would
/// hardly be confirmed, and every candidate makes it harder for the others.
const EXPLORE_P: f64 = 0.01;
/// Share of the error rate that goes to what labels found: it is confirmed on held-out labels, in a family of its own.
const FOUND_BY_LABELS: f64 = 0.2;
/// Chance of seeing an effect that is there, for the smallest effect that could have been seen.
const POWER: f64 = 0.8;
/// Candidates that enter the joint fit; each costs a fit, and nobody reads a longer list.
const MOST_CANDIDATES: usize = 60;
/// Share of its coefficient that a candidate associated by itself must keep when the others are held
/// fixed. What keeps less is their shadow: exclamation marks, where flattery is what is minded.
const RETAINED: f64 = 0.5;
/// p-value up to which a confirmed candidate still says something of its own among the confirmed ones.
const JOINT_P: f64 = 0.05;
/// |Δ win rate| within which an effect is practically none.
const INDIFFERENT: f64 = 0.10;
/// A feature that applies to less cannot be called measurable here.
const MEASURABLE: f64 = 0.05;
/// Correlation from which on a rejected candidate is said to overlap with a principle.
const OVERLAP: f64 = 0.2;

/// Something that might be a principle: a feature whose words say what is tested.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// Column of the tested matrix and index into [`Described::features`].
    feature: usize,
    /// Sign of its association on the explore labels.
    sign: f64,
    /// What its association is tested with.
    basis: Basis,
}

/// What is held fixed when an association is tested, besides length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    /// The other candidates: it adds something to them.
    Joint,
    /// Nothing else: it overlaps with others, and no label says which of them it is.
    Alone,
}

/// The labels that something may be chosen on before others confirm it.
fn exploring(pairs: &Pairs, sides: &[Split]) -> LabelledSample {
    LabelledSample::on(pairs, sides, &[Split::Train, Split::Validation]).at_most(MOST_LABELS, pairs)
}

/// Themes of words in what nothing else explains of the `train` and `describe` labels.
///
/// # Errors
/// Where the embedder fails, or somebody wants it to stop.
pub fn themes(
    pairs: &Pairs,
    sides: &[Split],
    described: &Described,
    embedder: &dyn Embedder,
    cancel: &Cancel,
) -> Result<Vec<Theme>, EmbedError> {
    let explore = exploring(pairs, sides);
    let tested = Tested::new(described, cancel);
    let inside = tested.enter(Vec::new(), &explore, |_| true)?;
    let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
    let left = themes::Left {
        matrix: &tested.columns,
        inside: &features,
        control: tested.control(&inside),
        sample: &explore.sample,
    };
    themes::find(pairs, &left, embedder, cancel)
}

/// Sorts everything the labels say into principles and the rest.
///
/// # Errors
/// [`Stopped`].
pub fn select(
    pairs: &Pairs,
    sides: &[Split],
    described: &Described,
    effects: &EffectTable,
    config: &PrincipleConfig,
    cancel: &Cancel,
) -> Result<Findings, Stopped> {
    let labels = Sets::new(pairs, sides);
    let tested = Tested::new(described, cancel);
    let family = Family::new(&tested, effects, config.alpha * (1.0 - FOUND_BY_LABELS));
    let (mut inside, shadows) = tested.readable(&family, &labels, config.redundant_above)?;
    let confirmed_alone = inside.len();
    let (added, candidates) = tested.added(&mut inside, effects, &labels, config.alpha * FOUND_BY_LABELS)?;

    let chosen: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
    let fold = crossfit::folds(pairs, &labels.all.sample);
    let mut principles = Vec::new();
    let mut fell: Vec<usize> = shadows;
    let mut hinted: Vec<usize> = Vec::new();
    let cross_fitted =
        tested.all_cross_fitted(&inside[..confirmed_alone], &inside, &family, (pairs, &labels.all), &fold);
    for (place, candidate) in inside.iter().enumerate() {
        cancel.check()?;
        if tested.is_hint(candidate.feature) {
            hinted.push(candidate.feature);
            continue;
        }
        let figures = match candidate.basis {
            Basis::Alone => cross_fitted.get(place).cloned().flatten(),
            Basis::Joint => added.get(place - confirmed_alone).cloned(),
        };
        let written = figures.and_then(|figures| {
            principle(candidate, &figures, pairs, described, effects, &labels, &chosen, config)
        });
        match written {
            Some(mut written) => {
                // By itself it has the control of its own row; together, that of all of them.
                let control = match candidate.basis {
                    Basis::Alone => control_of(&described.features[candidate.feature]),
                    Basis::Joint => tested.control(&inside),
                };
                written.length_controlled = control == Control::Length;
                principles.push((candidate.feature, written));
            }
            None => fell.push(candidate.feature),
        }
    }
    principles.sort_by(|a, b| b.1.win_delta.abs().total_cmp(&a.1.win_delta.abs()).then(a.0.cmp(&b.0)));
    for (rank, (_, principle)) in principles.iter_mut().enumerate() {
        principle.rank = rank + 1;
    }

    let chosen: Vec<usize> = principles.iter().map(|(feature, _)| *feature).collect();
    fell.extend(candidates.iter().filter(|feature| !chosen.contains(feature)));
    fell.extend(tested.associated(&labels.explore)?);
    fell.retain(|&feature| !chosen.contains(&feature) && !tested.is_hint(feature));
    fell.sort_unstable();
    fell.dedup();
    let standing = [&chosen[..], &hinted].concat();
    let judged = some_of(&labels.judged());
    let listed = |features: Vec<usize>| {
        let mut found: Vec<Finding> = (features.into_iter())
            .map(|feature| Finding {
                overlaps: overlap(feature, &standing, described, &judged),
                p_holm: Some(family.holm[feature]).filter(|p| p.is_finite()),
                ..finding(feature, described, effects)
            })
            .collect();
        found.sort_by_key(|f| Reverse((f.win_delta.unwrap_or(0.0).abs() * 1e6) as u64));
        found
    };
    let (confirmed, fell): (Vec<usize>, Vec<usize>) =
        fell.into_iter().partition(|&feature| family.confirms(feature));
    let misread = |&feature: &usize| tested.is_hint(feature) && family.confirms(feature);
    let hints = listed((0..described.features.len()).filter(misread).collect());
    let (overlapping, not_confirmed) = (listed(confirmed), listed(fell));

    let elsewhere: Vec<&Finding> = overlapping.iter().chain(&hints).chain(&not_confirmed).collect();
    let indifferent = indifferent(described, effects, &principles, &elsewhere);
    Ok(Findings {
        schema_version: SCHEMA_VERSION,
        principles: principles.into_iter().map(|(_, principle)| principle).collect(),
        candidates: family.tests() + candidates.len(),
        looked: Some(looked(&tested, &family, effects, candidates.len())),
        overlapping,
        hints,
        not_confirmed,
        indifferent,
        unexplained: unexplained(described, effects),
    })
}

/// Measurable, with words, and practically without an effect.
fn indifferent(
    described: &Described,
    effects: &EffectTable,
    principles: &[(usize, Principle)],
    elsewhere: &[&Finding],
) -> Vec<Finding> {
    let in_use: Vec<&str> = principles.iter().flat_map(|(_, p)| &p.feature_ids).map(String::as_str).collect();
    let mut found: Vec<Finding> = (0..described.features.len())
        .filter(|&f| {
            let feature = &described.features[f];
            feature.kept && feature.redundant_with.is_none() && !in_use.contains(&feature.feature_id.as_str())
        })
        .map(|f| finding(f, described, effects))
        .filter(|f| {
            f.prevalence >= MEASURABLE
                && f.win_low.is_some_and(|low| low > -INDIFFERENT)
                && f.win_high.is_some_and(|high| high < INDIFFERENT)
                && elsewhere.iter().all(|other| other.feature_id != f.feature_id)
        })
        .collect();
    found.sort_by_key(|f| Reverse((f.prevalence * 1e6) as u64));
    found
}

/// Learned features that nothing describes.
fn unexplained(described: &Described, effects: &EffectTable) -> Vec<Finding> {
    let mut found: Vec<Finding> = (0..described.features.len())
        .filter(|&f| described.features[f].source.is_found() && !described.features[f].kept)
        .map(|f| finding(f, described, effects))
        .collect();
    found.sort_by_key(|f| Reverse((f.win_delta.unwrap_or(0.0).abs() * 1e6) as u64));
    found
}

/// The labels that select.
struct Sets {
    all: LabelledSample,
    explore: LabelledSample,
    held_out: LabelledSample,
    /// Of the held-out ones those that a fit of many columns is made on.
    confirming: LabelledSample,
}

impl Sets {
    fn new(pairs: &Pairs, sides: &[Split]) -> Self {
        let held_out = LabelledSample::on(pairs, sides, &[Split::Test]);
        Self {
            all: LabelledSample::on(pairs, sides, &ALL),
            explore: exploring(pairs, sides),
            confirming: held_out.clone().at_most(MOST_LABELS, pairs),
            held_out,
        }
    }

    /// Every pair with a label.
    fn judged(&self) -> Vec<u32> {
        self.all.pair_means().into_iter().map(|(pair, _)| pair).collect()
    }
}

/// Every feature that no label took part in finding, tested on all labels.
struct Family {
    /// `[features]`, NaN where a feature is not of the family.
    p: Vec<f64>,
    /// The share of pairs in which it is clear: its weight in the correction.
    weights: Vec<f64>,
    /// The same corrected (Holm, weighted).
    holm: Vec<f64>,
    alpha: f64,
}

impl Family {
    fn new(tested: &Tested<'_>, effects: &EffectTable, alpha: f64) -> Self {
        let (p, weights) = effects.family(&tested.described.features);
        Self { holm: weighted_holm(&p, &weights), p, weights, alpha }
    }

    fn tests(&self) -> usize {
        self.p.iter().filter(|p| !p.is_nan()).count()
    }

    fn confirms(&self, feature: usize) -> bool {
        self.holm[feature] < self.alpha
    }

    /// The smaller, the nearer to being confirmed.
    fn nearness(&self, feature: usize) -> f64 {
        self.p[feature] / self.weights[feature]
    }

    /// A p with which this feature would have been confirmed whatever the others show.
    fn least(&self, feature: usize) -> f64 {
        let all: f64 = self.p.iter().zip(&self.weights).filter(|(p, _)| !p.is_nan()).map(|(_, w)| w).sum();
        self.alpha * self.weights[feature] / all.max(self.weights[feature])
    }

    /// The largest p with which this feature would have been confirmed.
    fn bar(&self, feature: usize) -> f64 {
        let least = self.least(feature);
        let own = self.alpha * self.p[feature] / self.holm[feature];
        if own.is_finite() { own.max(least) } else { least }
    }
}

/// What a principle's figures are.
#[derive(Debug, Clone)]
struct Figures {
    /// As the basis says.
    win: WinDelta,
    /// With the other principles held fixed.
    joint: Option<(Conditional, WinDelta)>,
    /// By itself.
    alone: WinDelta,
    /// Fifths of the labels that count, where it is cross-fitted.
    folds: Vec<u8>,
    p: f64,
    p_confirm: f64,
}

/// What was tested and what could have been seen.
fn looked(tested: &Tested<'_>, family: &Family, effects: &EffectTable, found: usize) -> Looked {
    let features = &tested.described.features;
    let speaking = |at: &usize| !family.p[*at].is_nan() && tested.has_words(*at);
    // Length is said by itself, whatever else is.
    let lead = (0..features.len())
        .filter(|at| speaking(at) && !features[*at].is_about("length"))
        .min_by(|&a, &b| family.nearness(a).total_cmp(&family.nearness(b)));
    // The middle one of the features that differ in at least a twentieth of the pairs.
    let reach = |at: usize| normal_quantile(family.least(at)) + normal_quantile(2.0 * (1.0 - POWER));
    let mut seen: Vec<(f64, f64)> = (0..features.len())
        .filter(speaking)
        .filter_map(|at| {
            let row = effects.rows[at].as_ref().filter(|row| row.prevalence >= MEASURABLE)?;
            Some((reach(at) * (row.win_high? - row.win_low?) / (2.0 * normal_quantile(0.05)), row.prevalence))
        })
        .filter(|(size, _)| size.is_finite())
        .collect();
    seen.sort_by(|a, b| a.0.total_cmp(&b.0));
    let middle = seen.get(seen.len() / 2);
    let together = ["all", "learned_and_known"]
        .into_iter()
        .find(|rung| effects.auc.get(*rung).is_some_and(Option::is_some));
    Looked {
        features: family.tests(),
        found_by_labels: found,
        labels: effects.labels,
        prompts: effects.prompts,
        annotators: effects.people.named,
        lead: lead.map(|at| finding(at, tested.described, effects)),
        lead_p: lead.map(|at| family.p[at]),
        lead_p_holm: lead.map(|at| family.holm[at]),
        detectable: middle.map(|(size, _)| size.min(1.0)),
        detectable_prevalence: middle.map(|(_, prevalence)| *prevalence),
        together: together.and_then(|rung| effects.auc.get(rung).copied().flatten()),
        together_minus_length: together.and_then(|rung| effects.auc_minus_length.get(rung).copied()),
        length: effects.length.clone(),
        people: effects.people.note(),
    }
}

/// The columns that decide: what statements rest on.
pub(crate) struct Tested<'a> {
    pub(crate) described: &'a Described,
    /// `[pairs, features]`
    pub(crate) columns: Cow<'a, Matrix>,
    /// Whether to stop.
    pub(crate) cancel: Cancel,
}

impl<'a> Tested<'a> {
    pub(crate) fn new(described: &'a Described, cancel: &Cancel) -> Self {
        Self { described, columns: described.stated(), cancel: cancel.clone() }
    }

    /// The same of graded activations: what models of the labels are fitted on, and no statement rests on.
    pub(crate) fn graded(described: &'a Described, cancel: &Cancel) -> Self {
        Self { described, columns: Cow::Borrowed(&described.activations), cancel: cancel.clone() }
    }

    /// The coefficient of every column by itself; win rates are NaN.
    pub(crate) fn one_by_one(&self, sample: &Sample) -> Result<Vec<Effect>, Stopped> {
        let all: Vec<usize> = (0..self.columns.cols).collect();
        self.slopes(&all, sample)
    }

    /// The coefficients of the columns `which` by themselves, in their order.
    fn slopes(&self, which: &[usize], sample: &Sample) -> Result<Vec<Effect>, Stopped> {
        one_by_one(&self.columns, &self.described.features, which, sample, Part::Slope, &self.cancel)
    }

    /// Whether a feature's words say what is measured, and may make a statement.
    pub(crate) fn has_words(&self, feature: usize) -> bool {
        self.described.features[feature].speaks()
    }

    /// Whether its words were read as something else too often for a statement: it is told as a hint, and what is only its
    /// shadow is not told in its place.
    fn is_hint(&self, feature: usize) -> bool {
        let feature = &self.described.features[feature];
        feature.kept && feature.redundant_with.is_none() && feature.reading.is_some_and(|read| !read.holds())
    }

    /// Features with words that are associated with the explore labels by themselves.
    fn associated(&self, explore: &LabelledSample) -> Result<Vec<usize>, Stopped> {
        let speaking: Vec<usize> =
            (0..self.described.features.len()).filter(|&feature| self.has_words(feature)).collect();
        let alone = self.slopes(&speaking, &explore.sample)?;
        Ok(speaking
            .into_iter()
            .zip(alone)
            .filter(|(_, effect)| effect.beta_p_clustered < EXPLORE_P)
            .map(|(feature, _)| feature)
            .collect())
    }

    /// What the family confirms, the surest first, without what says the same as a surer one or is its shadow; and
    /// that. Which of two that move together stays is decided on the explore labels; that both are associated with the label
    /// stands without it.
    fn readable(
        &self,
        family: &Family,
        labels: &Sets,
        redundant_above: f64,
    ) -> Result<(Vec<Candidate>, Vec<usize>), Stopped> {
        let mut open: Vec<usize> = (0..self.described.features.len())
            .filter(|&feature| (self.has_words(feature) || self.is_hint(feature)) && family.confirms(feature))
            .collect();
        let by_feature =
            |effects: Vec<Effect>| open.iter().copied().zip(effects).collect::<HashMap<usize, Effect>>();
        let alone = by_feature(self.slopes(&open, &labels.explore.sample)?);
        let all = by_feature(shown(self.described, &self.columns, &open, &labels.all.sample, &self.cancel)?);
        // By itself it must not point the other way: nobody could follow such a principle.
        open.retain(|feature| {
            let (beta, win) = (all[feature].beta, all[feature].win);
            if beta > 0.0 { win.low > 0.0 } else { win.high < 0.0 }
        });
        let strength = |feature: usize| (all[&feature].beta / all[&feature].beta_se_clustered).abs();
        open.sort_by(|&a, &b| strength(b).total_cmp(&strength(a)).then(a.cmp(&b)));
        let rows = some_of(&labels.judged());
        let (mut inside, mut shadows): (Vec<Candidate>, Vec<usize>) = (Vec::new(), Vec::new());
        for feature in open {
            self.cancel.check()?;
            let twin = |other: &Candidate| {
                cosine(self.described, &rows, feature, other.feature).abs() > redundant_above
            };
            if inside.len() >= MOST_CANDIDATES || inside.iter().any(twin) {
                shadows.push(feature);
                continue;
            }
            inside.push(Candidate { feature, sign: all[&feature].beta.signum(), basis: Basis::Alone });
            let keeps = self
                .last_joint(&inside, &labels.explore)
                .is_some_and(|last| last.beta / alone[&feature].beta >= RETAINED || inside.len() == 1);
            if !keeps {
                inside.pop();
                shadows.push(feature);
            }
        }
        // A later one may cast the shadow that an earlier one is.
        let before: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
        self.prune(&mut inside, 0, &labels.explore, JOINT_P)?;
        shadows.extend(before.into_iter().filter(|&f| inside.iter().all(|candidate| candidate.feature != f)));
        Ok((inside, shadows))
    }

    /// What adds something to those inside: found on the explore labels, confirmed on held-out ones (Holm over what was
    /// found). Appends it to `inside`; returns its figures, and all that was found.
    fn added(
        &self,
        inside: &mut Vec<Candidate>,
        effects: &EffectTable,
        labels: &Sets,
        alpha: f64,
    ) -> Result<(Vec<Figures>, Vec<usize>), Stopped> {
        let fixed = inside.len();
        let measured = |feature: usize| effects.rows.get(feature).is_some_and(Option::is_some);
        let entered = self.enter(inside.clone(), &labels.explore, measured)?;
        let found: Vec<usize> = entered[fixed..].iter().map(|candidate| candidate.feature).collect();
        let candidates: Vec<usize> = entered.iter().map(|candidate| candidate.feature).collect();
        let held_out: HashMap<usize, Effect> = (candidates.iter().copied())
            .zip(shown(self.described, &self.columns, &candidates, &labels.confirming.sample, &self.cancel)?)
            .collect();
        let tests: Vec<f64> = (entered.iter().zip(self.joint(&entered, &labels.confirming)))
            .skip(fixed)
            .map(|(candidate, joint)| {
                let win = held_out[&candidate.feature].win;
                // By itself it must not point clearly the other way.
                let against = if candidate.sign > 0.0 { win.high < 0.0 } else { win.low > 0.0 };
                let sound = joint.beta.signum() == candidate.sign && !against;
                if sound && joint.beta_p_clustered.is_finite() { joint.beta_p_clustered } else { 1.0 }
            })
            .collect();
        let corrected = holm(&tests);
        let passed = |at: usize| corrected[at] < alpha;
        inside.extend((0..found.len()).filter(|&at| passed(at)).map(|at| entered[fixed + at]));
        self.prune(inside, fixed, &labels.confirming, JOINT_P)?;
        let joint = self.joint(inside, &labels.confirming);
        let deltas = self.joint_win_deltas(inside, &labels.confirming);
        let figures = (inside.iter().zip(joint).zip(deltas).skip(fixed))
            .map(|((candidate, joint), delta)| {
                let at = found.iter().position(|feature| *feature == candidate.feature).unwrap_or(0);
                Figures {
                    win: delta,
                    joint: Some((joint, delta)),
                    alone: held_out[&candidate.feature].win,
                    folds: Vec::new(),
                    p: tests[at],
                    p_confirm: corrected[at],
                }
            })
            .collect();
        Ok((figures, found))
    }

    /// [`Self::cross_fitted`] of every candidate in `which`; `None` of hints, which are not measured.
    fn all_cross_fitted(
        &self,
        which: &[Candidate],
        inside: &[Candidate],
        family: &Family,
        labels: (&Pairs, &LabelledSample),
        fold: &[u8],
    ) -> Vec<Option<Figures>> {
        which
            .par_iter()
            .map(|candidate| {
                // One that is left out because somebody stops is not missed: nothing is written then.
                let wanted = !self.cancel.requested() && !self.is_hint(candidate.feature);
                wanted.then(|| self.cross_fitted(candidate, inside, family, labels, fold)).flatten()
            })
            .collect()
    }

    /// The figures of what the family confirmed, on the fifths of the labels that did not choose it.
    fn cross_fitted(
        &self,
        candidate: &Candidate,
        inside: &[Candidate],
        family: &Family,
        (pairs, all): (&Pairs, &LabelledSample),
        fold: &[u8],
    ) -> Option<Figures> {
        let feature = candidate.feature;
        let column = |matrix: &Matrix| -> Vec<f32> {
            all.sample.row().iter().map(|&row| matrix.row(row as usize)[feature]).collect()
        };
        let (z, clear) = (column(&self.columns), column(&self.described.presence));
        let control = control_of(&self.described.features[feature]);
        let own = crossfit::cross_fitted(
            (&z, &clear),
            &all.sample,
            control,
            fold,
            family.bar(feature),
            candidate.sign,
        )?;
        // On these fifths it may point the other way: then there is nothing to say.
        (own.win.value * candidate.sign > 0.0).then_some(())?;
        let part = LabelledSample { sample: all.sample.subset(&own.rows), ties: 0 };
        let part = part.at_most(MOST_LABELS, pairs).sample;
        let place = inside.iter().position(|other| other.feature == feature)?;
        let (features, control): (Vec<usize>, Control) =
            (inside.iter().map(|other| other.feature).collect(), self.control(inside));
        let joint = conditional_effect_at(&self.columns, &features, place, &part, control);
        let delta = conditional_win_delta_at(&self.described.presence, &features, place, &part, control);
        Some(Figures {
            win: own.win,
            joint: joint.map(|joint| (joint, delta)),
            alone: own.win,
            folds: own.folds,
            p: family.p[feature],
            p_confirm: family.holm[feature],
        })
    }

    /// Forward selection: lets in what adds most to those already in, as long as anything does.
    ///
    /// What matters only once others are held fixed (length, where refusals are long) is found, too.
    fn enter(
        &self,
        mut inside: Vec<Candidate>,
        explore: &LabelledSample,
        admitted: impl Fn(usize) -> bool,
    ) -> Result<Vec<Candidate>, Stopped> {
        let fixed = inside.len();
        let is_inside = |feature: usize| inside.iter().any(|candidate| candidate.feature == feature);
        let mut open: Vec<usize> = (0..self.columns.cols)
            .filter(|&feature| self.has_words(feature) && admitted(feature) && !is_inside(feature))
            .collect();
        let least = normal_quantile(EXPLORE_P);
        while inside.len() < MOST_CANDIDATES {
            self.cancel.check()?;
            let scores = self.scores(&open, &inside, &explore.sample);
            open.retain(|feature| scores[feature].abs() > least);
            let Some(&best) =
                open.iter().max_by(|a, b| scores[a].abs().total_cmp(&scores[b].abs()).then(b.cmp(a)))
            else {
                break;
            };
            open.retain(|&feature| feature != best);
            inside.push(Candidate { feature: best, sign: scores[&best].signum(), basis: Basis::Joint });
            // The score test takes judgements for independent; the fit does not.
            let adds = self.last_joint(&inside, explore).is_some_and(|last| {
                last.beta_p_clustered < EXPLORE_P && last.beta.signum() == scores[&best].signum()
            });
            if !adds {
                inside.pop();
            }
        }
        // A later one may have taken the place of an earlier one.
        self.prune(&mut inside, fixed, explore, EXPLORE_P)?;
        Ok(inside)
    }

    /// Score tests of the columns `open`, given those inside; one about length is tested without the control.
    fn scores(&self, open: &[usize], inside: &[Candidate], sample: &Sample) -> HashMap<usize, f64> {
        let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
        let control = self.control(inside);
        let (about_length, others): (Vec<usize>, Vec<usize>) = (open.iter().copied())
            .partition(|&feature| control_of(&self.described.features[feature]) == Control::Nothing);
        let of = |open: Vec<usize>, control| {
            let scores = score_tests_of(&self.columns, &open, &features, sample, control);
            open.into_iter().zip(scores)
        };
        of(others, control).chain(of(about_length, Control::Nothing)).collect()
    }

    /// Drops, weakest first, what the others explain: of the other sign, no longer significant, or, for
    /// what was tested by itself, no longer most of its effect. The first `fixed` stay.
    fn prune(
        &self,
        inside: &mut Vec<Candidate>,
        fixed: usize,
        labels: &LabelledSample,
        p: f64,
    ) -> Result<(), Stopped> {
        let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
        let alone: HashMap<usize, Effect> =
            features.iter().copied().zip(self.slopes(&features, &labels.sample)?).collect();
        while inside.len() > fixed.max(1) {
            self.cancel.check()?;
            let weakness = |(place, fit): (usize, Conditional)| {
                let candidate = inside[place];
                let sound = fit.beta.signum() == candidate.sign && fit.beta_p_clustered.is_finite();
                let kept = fit.beta / alone[&candidate.feature].beta;
                let weakness = match candidate.basis {
                    _ if !sound => 2.0,
                    Basis::Joint => fit.beta_p_clustered,
                    Basis::Alone if kept >= RETAINED => 0.0,
                    Basis::Alone => 1.0,
                };
                (place, weakness)
            };
            let fits = self.joint(inside, labels);
            let weakest =
                fits.into_iter().enumerate().skip(fixed).map(weakness).max_by(|a, b| a.1.total_cmp(&b.1));
            match weakest {
                Some((place, value)) if value > p => drop(inside.remove(place)),
                _ => break,
            }
        }
        Ok(())
    }

    /// Length, unless a candidate is about it.
    fn control(&self, inside: &[Candidate]) -> Control {
        let about_length = |candidate: &Candidate| {
            control_of(&self.described.features[candidate.feature]) == Control::Nothing
        };
        if inside.iter().any(about_length) { Control::Nothing } else { Control::Length }
    }

    /// One logit over several candidates and the control.
    fn joint(&self, inside: &[Candidate], labels: &LabelledSample) -> Vec<Conditional> {
        let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
        conditional_effects(&self.columns, &features, &labels.sample, self.control(inside))
    }

    /// Of the last of several candidates alone, in the same fit.
    fn last_joint(&self, inside: &[Candidate], labels: &LabelledSample) -> Option<Conditional> {
        let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
        last_conditional_effect(&self.columns, &features, &labels.sample, self.control(inside))
    }

    /// Δwin-rate of each, the others and the control held fixed.
    fn joint_win_deltas(&self, inside: &[Candidate], labels: &LabelledSample) -> Vec<WinDelta> {
        let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
        conditional_win_deltas(&self.described.presence, &features, &labels.sample, self.control(inside))
    }
}

/// |z| beyond which a two-sided normal test is below `p`.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    Normal::standard().inverse_cdf(1.0 - p / 2.0)
}

#[allow(clippy::too_many_arguments, reason = "what was measured, and what it was measured on")]
fn principle(
    candidate: &Candidate,
    figures: &Figures,
    pairs: &Pairs,
    described: &Described,
    effects: &EffectTable,
    labels: &Sets,
    chosen: &[usize],
    config: &PrincipleConfig,
) -> Option<Principle> {
    let index = candidate.feature;
    let feature = &described.features[index];
    let row = effects.rows.get(index)?.as_ref()?;
    let prefer = candidate.sign > 0.0;
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let of = |win: &WinDelta| [finite(win.value), finite(win.low), finite(win.high)];
    let [Some(win_delta), Some(win_low), Some(win_high)] = of(&figures.win) else { return None };
    let joint = figures.joint.as_ref().map_or([None; 3], |(_, win)| of(win));
    let alone = of(&figures.alone);
    // What labels found is shown as it was confirmed: a win rate that may be nothing is no principle's.
    if candidate.basis == Basis::Joint && (if prefer { win_low <= 0.0 } else { win_high >= 0.0 }) {
        return None;
    }
    let tested_on = match candidate.basis {
        Basis::Alone => &labels.all,
        Basis::Joint => &labels.held_out,
    };
    // Of held-out labels whatever the basis: the same for every principle, and what `annotated_pairs.json` holds.
    let voted_on = &labels.held_out.sample;
    let votes: Vec<f32> =
        (voted_on.row().iter()).map(|&pair| described.presence.row(pair as usize)[index]).collect();
    let mut principle = Principle {
        direction: if prefer { "prefer" } else { "avoid" }.into(),
        description: feature.description.clone(),
        short: feature.short.clone(),
        describer: feature.describer.clone(),
        basis: match candidate.basis {
            Basis::Joint => "joint",
            Basis::Alone => "alone",
        }
        .into(),
        win_delta,
        win_low,
        win_high,
        win_delta_joint: joint[0],
        win_low_joint: joint[1],
        win_high_joint: joint[2],
        win_delta_alone: alone[0],
        win_low_alone: alone[1],
        win_high_alone: alone[2],
        beta: row.beta,
        beta_se: row.beta_se_cluster,
        beta_joint: figures.joint.as_ref().and_then(|(fit, _)| finite(fit.beta)),
        beta_joint_se: figures.joint.as_ref().and_then(|(fit, _)| finite(fit.beta_se_clustered)),
        folds: figures.folds.clone(),
        p: figures.p,
        p_confirm: figures.p_confirm,
        p_bonferroni: effects.bonferroni.get(index).copied().flatten().unwrap_or(1.0),
        q_bh: effects.q_bh.get(index).copied().flatten().unwrap_or(1.0),
        reading: feature.reading,
        prevalence: row.prevalence,
        n: figures.win.n,
        agreement: agreement(&votes, voted_on),
        significant: true,
        evidence: evidence(index, prefer, pairs, described, tested_on, config.evidence),
        ..Principle::default()
    };
    principle.set_fidelity(feature.fidelity);
    let rows: Vec<u32> = tested_on.pair_means().into_iter().map(|(pair, _)| pair).collect();
    let rows = some_of(&rows);
    let (ids, nearest) = same_principle(index, described, &rows, chosen, config.redundant_above);
    principle.feature_ids = ids;
    let verb = if prefer { "Prefer" } else { "Avoid" };
    principle.statement = format!("{verb} the response that {}", feature.clause);
    // The labels cannot tell the two apart, so the statement must not pretend to.
    if let Some(twin) = nearest {
        principle.statement += &format!(" or {}", described.features[twin].clause);
    }
    principle.flags = flags(feature, prefer, row.prevalence < config.rare_below);
    // That it is associated is confirmed on all labels; how much, few of them can say without having chosen it.
    if win_low < 0.0 && win_high > 0.0 {
        principle.flags.push("size_unclear".into());
    }
    Some(principle)
}

/// A feature with those that say the same, by id, and the known one that moves with it most, if the labels cannot tell
/// the two apart.
fn same_principle(
    index: usize,
    described: &Described,
    rows: &[u32],
    chosen: &[usize],
    redundant_above: f64,
) -> (Vec<String>, Option<usize>) {
    let feature = &described.features[index];
    let mut ids = vec![feature.feature_id.clone()];
    let mut nearest: Option<(f64, usize)> = None;
    for (other_index, other) in described.features.iter().enumerate() {
        if other_index == index || !other.kept {
            continue;
        }
        // Learned features that the same words describe, and features that move with it, are the same
        // principle.
        let same_words = other.source == FeatureSource::Learned
            && other.concept.is_some()
            && other.concept == feature.concept;
        let twin = other.redundant_with.as_deref() == Some(feature.feature_id.as_str())
            || feature.redundant_with.as_deref() == Some(other.feature_id.as_str());
        if same_words || twin {
            ids.push(other.feature_id.clone());
        }
        if twin && other.source == FeatureSource::Known && !chosen.contains(&other_index) {
            let r = cosine(described, rows, index, other_index);
            if r > redundant_above && nearest.is_none_or(|(best, _)| r > best) {
                nearest = Some((r, other_index));
            }
        }
    }
    (ids, nearest.map(|(_, twin)| twin))
}

/// What a reader should know about a principle at one glance.
fn flags(feature: &Feature, prefer: bool, rare: bool) -> Vec<String> {
    let has = |name: &str| feature.flags.iter().any(|flag| flag == name);
    let all = [
        ("safety", has("safety")),
        ("safety_risk", (has("protective") && !prefer) || (has("harmful") && prefer)),
        ("length", has("length")),
        ("rare", rare),
        ("redundant", feature.redundant_with.is_some()),
    ];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect()
}

/// The clearest held-out pairs for and against a principle about feature `index`, by id.
fn evidence(
    index: usize,
    prefer: bool,
    pairs: &Pairs,
    described: &Described,
    held_out: &LabelledSample,
    count: usize,
) -> Evidence {
    let means = held_out.pair_means();
    let shown = |pair: u32| {
        let (z, there) =
            (described.activations.row(pair as usize)[index], described.presence.row(pair as usize)[index]);
        if z * there > 0.0 { z } else { 0.0 }
    };
    let (supporting, against) = evidence_pairs(shown, prefer, pairs, &means, count);
    let ids = |found: Vec<u32>| found.into_iter().map(|pair| pairs.pair_id[pair as usize].clone()).collect();
    Evidence { supporting: ids(supporting), against: ids(against) }
}

/// The clearest pairs whose mean label (`means`, without ties) agrees with preferring (or avoiding) what
/// the activations `z` of the pairs measure, and those where it goes against it; at most `count` of each.
pub fn evidence_pairs(
    z: impl Fn(u32) -> f32,
    prefer: bool,
    pairs: &Pairs,
    means: &[(u32, f64)],
    count: usize,
) -> (Vec<u32>, Vec<u32>) {
    // Among equally strong pairs the shortest are the easiest to read.
    let size = |pair: u32| {
        let at = pair as usize;
        pairs.prompt.get(at).len() + pairs.response_a.get(at).len() + pairs.response_b.get(at).len()
    };
    let clearer = |a: &(f32, u32), b: &(f32, u32)| {
        b.0.total_cmp(&a.0).then_with(|| size(a.1).cmp(&size(b.1))).then(a.1.cmp(&b.1))
    };
    let (mut supporting, mut against) = (Vec::new(), Vec::new());
    for &(pair, mean) in means {
        let z = z(pair);
        if mean != 0.5 && z != 0.0 {
            let supports = ((z > 0.0) == (mean > 0.5)) == prefer;
            if supports { &mut supporting } else { &mut against }.push((z.abs(), pair));
        }
    }
    let first = |mut active: Vec<(f32, u32)>| {
        // Few of many: only those are put in order.
        if count > 0 && active.len() > count {
            active.select_nth_unstable_by(count - 1, clearer);
        }
        active.truncate(count);
        active.sort_by(clearer);
        active.into_iter().map(|(_, pair)| pair).collect()
    };
    (first(supporting), first(against))
}

fn finding(index: usize, described: &Described, effects: &EffectTable) -> Finding {
    let feature = &described.features[index];
    let effect = effects.rows.get(index).and_then(Option::as_ref);
    let text = feature.words();
    Finding {
        feature_id: feature.feature_id.clone(),
        text,
        win_delta: effect.and_then(|e| e.win_delta),
        win_low: effect.and_then(|e| e.win_low),
        win_high: effect.and_then(|e| e.win_high),
        prevalence: effects.prevalence.get(index).copied().unwrap_or(0.0),
        n: effect.map_or(0, |e| e.n),
        ..Finding::default()
    }
}

/// Rows that two features are compared on; more would not move it.
const ALIKE_ROWS: usize = 20_000;

/// Some of many rows, evenly spread: pairs stand in the order of a hash.
fn some_of(rows: &[u32]) -> Vec<u32> {
    rows.iter().copied().step_by(rows.len().div_ceil(ALIKE_ROWS).max(1)).collect()
}

/// How much two features move together over some pairs. Activations are odd under swapping A and B, so
/// their mean is an accident of the order and is not taken off.
fn cosine(described: &Described, rows: &[u32], a: usize, b: usize) -> f64 {
    // One pass: a row of activations is a cache miss.
    let (mut both, mut first, mut second) = (0.0, 0.0, 0.0);
    for &pair in rows {
        let row = described.activations.row(pair as usize);
        let (x, y) = (f64::from(row[a]), f64::from(row[b]));
        both += x * y;
        first += x * x;
        second += y * y;
    }
    both / (first * second).sqrt()
}

/// The chosen feature that this one moves with most, if it does at all.
fn overlap(index: usize, chosen: &[usize], described: &Described, rows: &[u32]) -> Option<String> {
    chosen
        .iter()
        .map(|&other| (other, cosine(described, rows, index, other).abs()))
        .filter(|(_, r)| *r > OVERLAP)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(other, _)| described.features[other].feature_id.clone())
}
