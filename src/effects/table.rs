//! The effects stage: every feature on all labels, and how well sets of features predict held-out ones.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::ablation::{Measure, all_of_it};
use super::clusters::{Clusters, FEWEST_PEOPLE};
use super::crossfit::{folds, parting};
use super::feature::coefficient;
use super::{Control, Effect, Part, Peers, Sample, feature_effects_of, ladder, quantile_95};
use crate::context::{Cancel, Stopped};
use crate::describe::{Described, Feature, FeatureSource};
use crate::matrix::Matrix;
use crate::pairs::{MISSING, Pairs, Split};
use crate::statistics::multiplicity::{benjamini_hochberg, bonferroni, weighted_holm};
use crate::store::Estimate;

/// A feature's effect, with figures that exist: on all labels, or on held-out ones where labels found the feature.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EffectRow {
    /// Log-odds per standard deviation of the activation, length held fixed.
    pub beta: f64,
    /// Its standard error by maximum likelihood.
    pub beta_se: f64,
    /// Its two-sided p-value by maximum likelihood.
    pub beta_p: f64,
    /// Its standard error clustered by prompt and, where they are many, by annotator.
    pub beta_se_cluster: f64,
    /// Its p-value with that error; the one that decisions use.
    pub beta_p_cluster: f64,
    /// Difference in win rate between the side with more and the side with less.
    pub win_delta: Option<f64>,
    /// Lower end of its clustered 95 % interval.
    pub win_low: Option<f64>,
    /// Upper end.
    pub win_high: Option<f64>,
    /// Labels with an activation other than 0: the rows of the win rate.
    pub win_n: usize,
    /// Share of the judged pairs with an activation other than 0.
    pub prevalence: f64,
    /// Labels used, ties left out.
    pub n: usize,
    /// Whether length was held fixed; not for a feature that is about length.
    pub length_controlled: bool,
    /// What a reader should know about the fit.
    pub note: Option<String>,
}

/// What the effects stage found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EffectTable {
    /// One per feature, `[features]`; `None` where nothing could be estimated.
    pub rows: Vec<Option<EffectRow>>,
    /// Why there is none.
    pub missing: Vec<Option<String>>,
    /// Prevalence on held-out labels where there is no effect either, `[features]`.
    pub prevalence: Vec<f64>,
    /// `beta_p_cluster` corrected over all features with an effect (Bonferroni), `[features]`.
    pub bonferroni: Vec<Option<f64>>,
    /// `beta_p_cluster` corrected (Holm, weighted by prevalence) over all features that no label took part in finding,
    /// `[features]`: the one that confirms. See [`Self::family`].
    pub holm: Vec<Option<f64>>,
    /// False discovery rate (Benjamini–Hochberg), `[features]`.
    pub q_bh: Vec<Option<f64>>,
    /// The ladder, by rung.
    pub auc: BTreeMap<String, Option<Estimate>>,
    /// AUC of each rung minus that of the embedding.
    pub auc_minus_embedding: BTreeMap<String, Estimate>,
    /// Why a rung is missing.
    pub auc_missing: BTreeMap<String, String>,
    /// AUC of each rung minus that of length alone.
    pub auc_minus_length: BTreeMap<String, Estimate>,
    /// All labels without ties.
    pub labels: usize,
    /// All ties.
    pub ties: usize,
    /// Prompts of the labels.
    pub prompts: usize,
    /// Who gave the labels.
    pub people: People,
    /// Length by itself.
    pub length: LengthEffect,
    /// Held-out labels without ties.
    pub labels_held_out: usize,
    /// Held-out ties.
    pub ties_held_out: usize,
}

/// The usable labels of some sides.
#[derive(Debug, Clone, Default)]
pub struct LabelledSample {
    /// The judgements without ties.
    pub sample: Sample,
    /// Ties left out.
    pub ties: usize,
}

impl LabelledSample {
    /// The labels of the given sides, clustered by prompt and, where annotators are named, by annotator.
    pub fn on(pairs: &Pairs, sides: &[Split], which: &[Split]) -> Self {
        let judgements = &pairs.judgements;
        let (mut y, mut length, mut row, mut prompt, mut annotator) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut ties = 0;
        for (index, (&pair, &label)) in judgements.pair.iter().zip(&judgements.label).enumerate() {
            let at = pair as usize;
            if label.is_nan() || !which.contains(&sides[at]) {
                continue;
            }
            if label == 0.5 {
                ties += 1;
                continue;
            }
            y.push(f64::from(label));
            length.push(f64::from(pairs.length_delta[at]));
            row.push(pair);
            // A pair without a prompt still groups its own judgements.
            let key = pairs.prompt_key[at];
            prompt.push(if key == MISSING { MISSING / 2 + pair } else { key });
            annotator.push(judgements.annotator[index]);
        }
        // Two or three prompts say nothing about other prompts: then a pair is what labels share.
        let few = distinct(&prompt) < FEWEST_PROMPTS;
        let mut clusters = vec![if few { row.clone() } else { prompt }];
        // One annotator says nothing about variance.
        if distinct(&annotator) > 1 && !pairs.annotators.is_empty() {
            clusters.push(annotator);
        }
        // Labels and lengths come from `Pairs`, which holds finite lengths and labels from 0 to 1.
        let ratio = (row.iter())
            .map(|&pair| {
                pairs.log_length_ratio.get(pair as usize).map_or(f64::NAN, |ratio| f64::from(*ratio))
            })
            .collect();
        let sample = Sample::new(y, length, row, &clusters).unwrap_or_default().with_ratio(ratio);
        Self { sample, ties }
    }

    /// At most so many labels: those on the pairs with the lowest ids, which are hashes, so that the order of rows decides nothing.
    #[must_use]
    pub fn at_most(self, most: usize, pairs: &Pairs) -> Self {
        let all = &self.sample;
        if all.len() <= most {
            return self;
        }
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by(|&a, &b| {
            let id = |at: usize| &pairs.pair_id[all.row()[at] as usize];
            id(a).cmp(id(b)).then(a.cmp(&b))
        });
        order.truncate(most);
        order.sort_unstable();
        Self { sample: all.subset(&order), ties: self.ties }
    }

    /// Mean label of each judged pair, in the pairs' order.
    pub fn pair_means(&self) -> Vec<(u32, f64)> {
        let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for (&row, &y) in self.sample.row().iter().zip(self.sample.y()) {
            let slot = sums.entry(row).or_default();
            *slot = (slot.0 + y, slot.1 + 1.0);
        }
        sums.into_iter().map(|(pair, (sum, n))| (pair, sum / n)).collect()
    }
}

/// Labels that are explored, that many columns are fitted on at once, or that a rung of the ladder is measured on, at most: what so
/// many do not show is small (an AUC of so many is known to .002), and on half a million it took a quarter of an hour.
pub const MOST_LABELS: usize = 100_000;
/// Prompts that intervals can be clustered by.
const FEWEST_PROMPTS: usize = 5;

/// How many different ids there are; a missing one is one of its own.
fn distinct(ids: &[u32]) -> usize {
    let own = ids.iter().filter(|id| **id == MISSING).count();
    own + ids.iter().filter(|id| **id != MISSING).collect::<HashSet<_>>().len()
}

/// What a feature's effect holds fixed: length, unless the feature is about length.
pub fn control_of(feature: &Feature) -> Control {
    if feature.source == FeatureSource::Known && feature.flags.iter().any(|flag| flag == "length") {
        Control::Nothing
    } else {
        Control::Length
    }
}

/// The effects of the columns `which` by themselves, each with its own control, in their order and in part.
///
/// # Errors
/// [`Stopped`].
pub fn one_by_one(
    columns: &Matrix,
    features: &[Feature],
    which: &[usize],
    sample: &Sample,
    part: Part,
    cancel: &Cancel,
) -> Result<Vec<Effect>, Stopped> {
    let mut effects: Vec<(usize, Effect)> = Vec::with_capacity(which.len());
    for control in [Control::Length, Control::Nothing] {
        let (places, own): (Vec<usize>, Vec<usize>) = (which.iter().copied().enumerate())
            .filter(|&(_, feature)| features.get(feature).is_some_and(|own| control_of(own) == control))
            .unzip();
        let found = feature_effects_of(columns, &own, sample, control, part, cancel)?;
        effects.extend(places.into_iter().zip(found));
    }
    effects.sort_by_key(|(place, _)| *place);
    Ok(effects.into_iter().map(|(_, effect)| effect).collect())
}

/// Sides whose labels an effect may rest on, where no label took part in finding the feature.
pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

/// Whether labels took part in finding a feature: then only held-out ones may test it.
pub fn found_by_labels(feature: &Feature) -> bool {
    feature.source == FeatureSource::Theme
}

/// Measures every feature: on all labels, or on held-out ones where labels found it. The ladder is fitted on the
/// other sides' labels and measured on held-out ones.
///
/// # Errors
/// [`Stopped`].
pub fn measure(
    pairs: &Pairs,
    sides: &[Split],
    described: &Described,
    deltas: &Matrix,
    cancel: &Cancel,
) -> Result<EffectTable, Stopped> {
    let mut table = effects(pairs, sides, described, cancel)?;
    table.climb(pairs, sides, described, deltas, cancel)?;
    Ok(table)
}

/// [`measure`] without the ladder, which takes most of its time.
///
/// # Errors
/// [`Stopped`].
pub fn effects(
    pairs: &Pairs,
    sides: &[Split],
    described: &Described,
    cancel: &Cancel,
) -> Result<EffectTable, Stopped> {
    let all = LabelledSample::on(pairs, sides, &ALL);
    let held_out = LabelledSample::on(pairs, sides, &[Split::Test]);
    let mut table = EffectTable {
        labels: all.sample.len(),
        ties: all.ties,
        prompts: all.sample.clusters().count(0),
        people: People::of(pairs),
        length: LengthEffect::of(&all.sample),
        labels_held_out: held_out.sample.len(),
        ties_held_out: held_out.ties,
        ..EffectTable::default()
    };
    for (effect, feature) in
        effects_of(described, &all.sample, &held_out.sample, cancel)?.iter().zip(&described.features)
    {
        let usable =
            effect.outcome.has_estimate() && effect.beta.is_finite() && effect.beta_p_clustered.is_finite();
        let figure = |value: f64| Some(value).filter(|v| v.is_finite());
        table.prevalence.push(figure(effect.prevalence).unwrap_or(0.0));
        table
            .missing
            .push((!usable).then(|| effect.outcome.note().unwrap_or("could not be estimated").to_owned()));
        table.rows.push(usable.then(|| EffectRow {
            beta: effect.beta,
            beta_se: effect.beta_se,
            beta_p: effect.beta_p,
            beta_se_cluster: effect.beta_se_clustered,
            beta_p_cluster: effect.beta_p_clustered,
            win_delta: figure(effect.win.value),
            win_low: figure(effect.win.low),
            win_high: figure(effect.win.high),
            win_n: effect.win.n,
            prevalence: effect.prevalence,
            n: effect.n,
            length_controlled: control_of(feature) == Control::Length,
            note: effect.outcome.note().map(str::to_owned),
        }));
    }
    let p: Vec<f64> =
        table.rows.iter().map(|row| row.as_ref().map_or(f64::NAN, |r| r.beta_p_cluster)).collect();
    let finite = |values: Vec<f64>| values.into_iter().map(|v| Some(v).filter(|v| v.is_finite())).collect();
    table.bonferroni = finite(bonferroni(&p));
    table.q_bh = finite(benjamini_hochberg(&p));
    let (p, weights) = table.family(&described.features);
    table.holm = finite(weighted_holm(&p, &weights));
    Ok(table)
}

/// The effect of every feature by itself on the labels that may test it, `[features]`.
fn effects_of(
    described: &Described,
    all: &Sample,
    held_out: &Sample,
    cancel: &Cancel,
) -> Result<Vec<Effect>, Stopped> {
    let features = &described.features;
    let themes: Vec<usize> = (0..features.len()).filter(|&at| found_by_labels(&features[at])).collect();
    let every: Vec<usize> = (0..features.len()).collect();
    let stated = described.stated();
    let mut effects = shown(described, &stated, &every, all, cancel)?;
    let alone = shown(described, &stated, &themes, held_out, cancel)?;
    themes.iter().zip(alone).for_each(|(&at, effect)| effects[at] = effect);
    Ok(effects)
}

/// The effects of the features `which` by themselves, in their order: β is of what statements rest on (`stated`, as
/// [`Described::stated`] gives it); how often it
/// applies, and who wins then, of clear presence.
///
/// # Errors
/// [`Stopped`].
pub fn shown(
    described: &Described,
    stated: &Matrix,
    which: &[usize],
    sample: &Sample,
    cancel: &Cancel,
) -> Result<Vec<Effect>, Stopped> {
    let of = |columns, part| one_by_one(columns, &described.features, which, sample, part, cancel);
    let mut effects = of(stated, Part::Slope)?;
    for (effect, clear) in effects.iter_mut().zip(of(&described.presence, Part::Win)?) {
        (effect.win, effect.prevalence) = (clear.win, clear.prevalence);
    }
    Ok(effects)
}

/// Labels up to which the ladder is measured on all of them; with more, a part is plenty.
const CROSSED: usize = 10_000;
/// Times that labels are parted into fifths for it, at most: the fewer there are, the more hangs on how they happened to
/// be parted.
const PARTINGS: usize = 5;
/// Labels measured by all partings together, at most, unless one alone has more: each takes a fit of every rung.
const PARTED: usize = 5_000;

/// A feature that is clear in fewer pairs has the weight of this share of them.
const LEAST_WEIGHT: f64 = 0.01;

/// Of a feature in the correction for all of them, by the share of pairs in which it is clear.
pub(crate) fn weight(prevalence: f64) -> f64 {
    prevalence.max(LEAST_WEIGHT)
}

impl EffectTable {
    /// All features that no label took part in finding, to be tested on all labels: their p-values, `[features]` (NaN
    /// for the others), and their weights in the correction, `[features]`: the share of pairs in which each is clear.
    /// What a feature of two pairs in a hundred could show is little, so little of the error rate is spent on it; and no
    /// label is looked at for that.
    pub fn family(&self, features: &[Feature]) -> (Vec<f64>, Vec<f64>) {
        (self.rows.iter().zip(features))
            .map(|(row, feature)| match row {
                Some(row) if !found_by_labels(feature) => (row.beta_p_cluster, weight(row.prevalence)),
                _ => (f64::NAN, LEAST_WEIGHT),
            })
            .unzip()
    }

    /// p of a feature corrected for how many were tested: by what confirms it, else (labels found it) Bonferroni's.
    pub fn corrected(&self, at: usize) -> Option<f64> {
        let of = |values: &[Option<f64>]| values.get(at).copied().flatten();
        of(&self.holm).or(of(&self.bonferroni))
    }

    /// The ladder.
    fn climb(
        &mut self,
        pairs: &Pairs,
        sides: &[Split],
        described: &Described,
        deltas: &Matrix,
        cancel: &Cancel,
    ) -> Result<(), Stopped> {
        let some =
            |which: &[Split]| LabelledSample::on(pairs, sides, which).at_most(MOST_LABELS, pairs).sample;
        let (held_out, explore) = (some(&[Split::Test]), some(&[Split::Train, Split::Validation]));
        let split = Measure::split(&explore, &held_out);
        let count =
            |is: &dyn Fn(FeatureSource) -> bool| described.features.iter().filter(|f| is(f.source)).count();
        let (learned, known) =
            (count(&FeatureSource::is_found), count(&|source| source == FeatureSource::Known));
        let peers = Peers { deltas: Some(deltas), texts: Some(pairs), cancel: Some(cancel) };
        // Where labels are few, all of them are measured, each by a fit on other prompts' labels: no label took part in
        // finding these features.
        let all = some(&ALL);
        let crossed = (all.len() <= CROSSED).then(|| Measure::crossed(&all, &folds(pairs, &all))).flatten();
        let again = (PARTED / all.len().max(1)).clamp(1, PARTINGS) as u64;
        let crossed = crossed.map(|crossed| {
            (1..again).fold(crossed, |crossed, number| crossed.and_crossed(&parting(pairs, &all, number)))
        });
        let mut rungs =
            ladder(&described.activations, learned, known, peers, crossed.as_ref().unwrap_or(&split));
        if learned + known < described.activations.cols {
            rungs.push(all_of_it(&described.activations, peers, &split));
        }
        // A rung that was stopped says that it could not be fitted.
        cancel.check()?;
        for rung in rungs {
            if let Err(why) = rung.auc {
                self.auc_missing.insert(rung.name.into(), why.into());
            }
            if let Some(minus) = rung.minus_embedding {
                self.auc_minus_embedding.insert(rung.name.into(), minus);
            }
            if let Some(minus) = rung.minus_length {
                self.auc_minus_length.insert(rung.name.into(), minus);
            }
            self.auc.insert(rung.name.into(), rung.auc.ok());
        }
        Ok(())
    }
}

/// Who gave the labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct People {
    /// Annotators with a name and a label.
    pub named: usize,
    /// 1 / Σ share² of the labels: as many as there would be if all gave equally many.
    pub effective: f64,
    /// Share of the labels of the one with most.
    pub largest: f64,
    /// Who that is.
    pub largest_name: String,
}

impl People {
    /// From the judgements with a label and an annotator; ties count.
    pub fn of(pairs: &Pairs) -> Self {
        let judgements = &pairs.judgements;
        let mut given = vec![0_usize; pairs.annotators.len()];
        for (&who, label) in judgements.annotator.iter().zip(&judgements.label) {
            if let Some(count) = given.get_mut(who as usize).filter(|_| !label.is_nan()) {
                *count += 1;
            }
        }
        let all: f64 = given.iter().map(|n| *n as f64).sum();
        let Some(most) =
            (0..given.len()).max_by_key(|&at| (given[at], usize::MAX - at)).filter(|_| all > 0.0)
        else {
            return Self::default();
        };
        Self {
            named: given.iter().filter(|n| **n > 0).count(),
            effective: all * all / given.iter().map(|n| (*n as f64).powi(2)).sum::<f64>(),
            largest: given[most] as f64 / all,
            largest_name: pairs.annotators[most].clone(),
        }
    }

    /// What a reader must know where the labels are those of a few people or of one above all.
    pub fn note(&self) -> Option<String> {
        if self.named < 2 || self.effective >= FEWEST_PEOPLE {
            return None;
        }
        let share = self.largest * 100.0;
        Some(if self.largest >= 0.5 {
            format!(
                "annotator `{}` gave {share:.0} % of the labels ({} annotators): the figures are about these labels, \
                 above all about that one person, and not about people in general",
                self.largest_name, self.named
            )
        } else {
            format!(
                "{} annotators gave the labels (the one with most {share:.0} %): the figures are about these people, \
                 and not about people in general",
                self.named
            )
        })
    }
}

/// Length, a hypothesis stated beforehand: tested by itself and always said, confirmed or not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LengthEffect {
    /// Share of the labels that prefer the longer response, of those whose responses differ in words.
    pub longer_wins: Option<Estimate>,
    /// p-value of the two lengths together (difference and log ratio) having nothing to do with the label.
    pub p: Option<f64>,
}

impl LengthEffect {
    /// From all labels.
    pub fn of(sample: &Sample) -> Self {
        let differ: Vec<usize> = (0..sample.len()).filter(|&at| sample.length()[at] != 0.0).collect();
        let part = sample.subset(&differ);
        let wins: Vec<f64> = (part.y().iter().zip(part.length()))
            .map(|(y, length)| if *length > 0.0 { *y } else { 1.0 - y })
            .collect();
        Self { longer_wins: share(&wins, part.clusters()), p: length_p(sample) }
    }

    /// In a sentence.
    pub fn sentence(&self) -> Option<String> {
        let Estimate { value, low, high, n } = self.longer_wins?;
        let p = self.p.map_or(String::new(), |p| match p < 0.001 {
            true => ", p < 0.001".into(),
            false => format!(", p = {p:.3}"),
        });
        let verdict = match self.p {
            Some(p) if p < 0.05 => "length is associated with the label",
            _ => "no association of length with the label is confirmed",
        };
        Some(format!(
            "Length, tested by itself: the longer response is preferred in {:.1} % of {n} labels [{:.1}, {:.1}]; {verdict} \
             (difference and ratio of the words{p}).",
            value * 100.0,
            low * 100.0,
            high * 100.0
        ))
    }
}

/// Share with Wilson's interval at the sample size that the clusters leave, on their degrees of freedom.
fn share(values: &[f64], clusters: &Clusters) -> Option<Estimate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let total = n as f64;
    let p = values.iter().sum::<f64>() / total;
    let influence: Vec<f64> = values.iter().map(|value| (value - p) / total).collect();
    let binomial = p * (1.0 - p) / total;
    let (design, df) = match clusters.variance(None, &influence) {
        Some((variance, df)) if binomial > 0.0 => ((variance / binomial).max(1.0), Some(df)),
        _ => (1.0, None),
    };
    let (m, z) = (total / design, quantile_95(df));
    let middle = (p + z * z / (2.0 * m)) / (1.0 + z * z / m);
    let half = z / (1.0 + z * z / m) * (p * (1.0 - p) / m + z * z / (4.0 * m * m)).sqrt();
    Some(Estimate { value: p, low: (middle - half).max(0.0), high: (middle + half).min(1.0), n })
}

/// Clustered p-value of both lengths together: the better of the two scores, corrected for there being two.
///
/// A score test of each (so that an outcome that length decides alone has one), Holm over both.
fn length_p(sample: &Sample) -> Option<f64> {
    let mut tests = Vec::new();
    for values in [sample.length(), sample.ratio()].into_iter().filter(|values| !values.is_empty()) {
        let z: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        tests.extend(coefficient(&z, sample, Control::Nothing).map(|(_, p)| p).filter(|p| p.is_finite()));
    }
    let least = tests.iter().copied().fold(f64::INFINITY, f64::min);
    (!tests.is_empty()).then(|| (least * tests.len() as f64).min(1.0))
}
