//! The effects stage: every feature on held-out labels, and how well sets of features predict them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Control, Effect, Sample, feature_effects, ladder};
use crate::describe::{Described, Feature, FeatureSource};
use crate::matrix::Matrix;
use crate::pairs::{MISSING, Pairs, Side};
use crate::run::Figure;
use crate::statistics::multiplicity::{benjamini_hochberg, bonferroni};

/// A feature's effect on held-out labels, with figures that exist.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EffectRow {
    /// Log-odds per standard deviation of the activation, length held fixed.
    pub beta: f64,
    /// Its standard error by maximum likelihood.
    pub beta_se: f64,
    /// Its two-sided p-value by maximum likelihood.
    pub beta_p: f64,
    /// Its standard error clustered by prompt and annotator.
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
    /// False discovery rate (Benjamini–Hochberg), `[features]`.
    pub q_bh: Vec<Option<f64>>,
    /// The ladder, by rung.
    pub auc: BTreeMap<String, Option<Figure>>,
    /// AUC of each rung minus that of the embedding.
    pub auc_minus_embedding: BTreeMap<String, Figure>,
    /// Why a rung is missing.
    pub auc_missing: BTreeMap<String, String>,
    /// Held-out labels without ties.
    pub labels_held_out: usize,
    /// Held-out ties.
    pub ties_held_out: usize,
}

/// The usable labels of some sides.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// The judgements without ties.
    pub sample: Sample,
    /// Ties left out.
    pub ties: usize,
}

impl Labels {
    /// The labels of the given sides, clustered by prompt and, where annotators are named, by annotator.
    pub fn on(pairs: &Pairs, sides: &[Side], which: &[Side]) -> Self {
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
        // A dimension with one cluster says nothing about variance: one prompt, one annotator.
        let varied = |ids: &[u32]| ids.iter().any(|id| *id == MISSING || *id != ids[0]);
        let mut clusters = vec![prompt];
        if !pairs.annotators.is_empty() {
            clusters.push(annotator);
        }
        clusters.retain(|ids| varied(ids));
        // Labels and lengths come from `Pairs`, which holds finite lengths and labels from 0 to 1.
        let sample = Sample::new(y, length, row, &clusters).unwrap_or_default();
        Self { sample, ties }
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

/// What a feature's effect holds fixed: length, unless the feature is about length.
pub fn control_of(feature: &Feature) -> Control {
    if feature.source == FeatureSource::Known && feature.flags.iter().any(|flag| flag == "length") {
        Control::Nothing
    } else {
        Control::Length
    }
}

/// The effect of every column by itself, each with its own control, `[features]`.
pub fn one_by_one(columns: &Matrix, features: &[Feature], sample: &Sample) -> Vec<Effect> {
    let mut effects = feature_effects(columns, sample, Control::Length);
    for (index, feature) in features.iter().enumerate() {
        if control_of(feature) == Control::Nothing {
            let alone = Matrix { values: columns.column(index), cols: 1 };
            if let (Some(slot), Some(effect)) =
                (effects.get_mut(index), feature_effects(&alone, sample, Control::Nothing).first())
            {
                *slot = *effect;
            }
        }
    }
    effects
}

/// Measures every feature on held-out labels; the ladder is fitted on the other sides' labels.
pub fn measure(pairs: &Pairs, sides: &[Side], described: &Described, deltas: &Matrix) -> EffectTable {
    let held_out = Labels::on(pairs, sides, &[Side::HeldOut]);
    let mut effects = one_by_one(&described.activations, &described.features, &held_out.sample);
    // β is of the graded activation; how often it applies and who wins then, of clear presence.
    for (effect, clear) in
        effects.iter_mut().zip(one_by_one(&described.presence, &described.features, &held_out.sample))
    {
        (effect.win, effect.prevalence) = (clear.win, clear.prevalence);
    }
    let mut table = EffectTable {
        labels_held_out: held_out.sample.len(),
        ties_held_out: held_out.ties,
        ..EffectTable::default()
    };
    for (effect, feature) in effects.iter().zip(&described.features) {
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
    let explore = Labels::on(pairs, sides, &[Side::Train, Side::Describe]);
    let count = |is: &dyn Fn(FeatureSource) -> bool| described.features.iter().filter(|f| is(f.source)).count();
    let (learned, known) =
        (count(&FeatureSource::is_found), count(&|source| source == FeatureSource::Known));
    for rung in
        ladder(&described.activations, learned, known, Some(deltas), &explore.sample, &held_out.sample)
    {
        if let Err(why) = rung.auc {
            table.auc_missing.insert(rung.name.into(), why.into());
        }
        if let Some(minus) = rung.minus_embedding {
            table.auc_minus_embedding.insert(rung.name.into(), minus);
        }
        table.auc.insert(rung.name.into(), rung.auc.ok());
    }
    table
}
