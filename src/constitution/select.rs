//! Which features become principles: explore on some labels, confirm on others.

use std::cmp::Reverse;

use crate::config::PrincipleConfig;
use crate::describe::Described;
use crate::effects::table::{EffectTable, Labels, control_of, one_by_one};
use crate::effects::{Conditional, Control, conditional_effects, feature_effects};
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Side};
use crate::run::SCHEMA_VERSION;
use crate::statistics::multiplicity::holm;

use super::{Evidence, Finding, Findings, Principle};

/// p-value from which on a candidate adds something on the explore labels.
const EXPLORE_P: f64 = 0.05;
/// Candidates that enter the joint fit; each costs a fit, and nobody reads a longer list.
const MOST_CANDIDATES: usize = 60;
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
    /// |β| / SE there.
    strength: f64,
}

/// Sorts everything the labels say into principles and the rest.
pub fn select(
    pairs: &Pairs,
    sides: &[Side],
    described: &Described,
    effects: &EffectTable,
    config: &PrincipleConfig,
) -> Findings {
    let explore = Labels::on(pairs, sides, &[Side::Train, Side::Describe]);
    let held_out = Labels::on(pairs, sides, &[Side::HeldOut]);
    let tested = Tested::new(described);
    let candidates = tested.candidates(&explore, effects);
    let (entered, rejected) = tested.enter(candidates, &explore);

    let tests = tested.confirm(&entered, effects, &held_out);
    let corrected = holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>());
    let mut confirmed: Vec<Candidate> = entered.clone();
    let mut place = 0..entered.len();
    confirmed
        .retain(|_| place.next().is_some_and(|i| tests[i].same_direction && corrected[i] < config.alpha));
    tested.prune(&mut confirmed, &held_out, JOINT_P);
    let together = tested.joint(&confirmed, &held_out);

    let mut principles = Vec::new();
    for (candidate, joint) in confirmed.iter().zip(&together) {
        let Some(test) = entered.iter().position(|other| other.feature == candidate.feature) else {
            continue;
        };
        if let Some(mut principle) =
            principle(candidate.feature, pairs, described, effects, &held_out, config)
        {
            principle.p = tests[test].p;
            principle.p_confirm = corrected[test];
            principle.beta_joint = Some(joint.beta).filter(|beta| beta.is_finite());
            principles.push((candidate.feature, principle));
        }
    }
    principles.sort_by(|a, b| b.1.win_delta.abs().total_cmp(&a.1.win_delta.abs()).then(a.0.cmp(&b.0)));
    for (rank, (_, principle)) in principles.iter_mut().enumerate() {
        principle.rank = rank + 1;
    }

    let chosen: Vec<usize> = principles.iter().map(|(feature, _)| *feature).collect();
    let mut not_confirmed: Vec<Finding> = entered
        .iter()
        .chain(&rejected)
        .filter(|candidate| !chosen.contains(&candidate.feature))
        .map(|candidate| {
            let mut finding = finding(candidate.feature, described, effects);
            finding.overlaps = overlap(candidate.feature, &chosen, described, &held_out);
            finding
        })
        .collect();
    not_confirmed.sort_by_key(|f| Reverse((f.win_delta.unwrap_or(0.0).abs() * 1e6) as u64));

    let in_use: Vec<&str> = principles.iter().flat_map(|(_, p)| &p.feature_ids).map(String::as_str).collect();
    let mut indifferent: Vec<Finding> = (0..described.features.len())
        .filter(|&f| {
            let feature = &described.features[f];
            feature.kept && feature.redundant_with.is_none() && !in_use.contains(&feature.feature_id.as_str())
        })
        .map(|f| finding(f, described, effects))
        .filter(|f| {
            f.prevalence >= MEASURABLE
                && f.win_low.is_some_and(|low| low > -INDIFFERENT)
                && f.win_high.is_some_and(|high| high < INDIFFERENT)
                && not_confirmed.iter().all(|other| other.feature_id != f.feature_id)
        })
        .collect();
    indifferent.sort_by_key(|f| Reverse((f.prevalence * 1e6) as u64));

    let mut unexplained: Vec<Finding> = (0..described.features.len())
        .filter(|&f| described.features[f].source == "learned" && !described.features[f].kept)
        .map(|f| finding(f, described, effects))
        .collect();
    unexplained.sort_by_key(|f| Reverse((f.win_delta.unwrap_or(0.0).abs() * 1e6) as u64));

    Findings {
        schema_version: SCHEMA_VERSION,
        principles: principles.into_iter().map(|(_, principle)| principle).collect(),
        candidates: entered.len(),
        not_confirmed,
        indifferent,
        unexplained,
    }
}

/// The columns that decide: the activations, but for features described by terms the terms
/// themselves. If such a feature matters and its words do not, the words must not become a principle.
struct Tested<'a> {
    described: &'a Described,
    /// `[pairs, features]`
    columns: Matrix,
}

struct Confirmation {
    p: f64,
    same_direction: bool,
}

impl<'a> Tested<'a> {
    fn new(described: &'a Described) -> Self {
        let mut columns = described.activations.clone();
        let (width, words) = (columns.cols, described.readings.cols);
        for (row, reading) in
            columns.values.chunks_mut(width.max(1)).zip(described.readings.values.chunks(words.max(1)))
        {
            for (index, value) in reading.iter().enumerate() {
                if described.features[index].describer == "contrast" {
                    row[index] = *value;
                }
            }
        }
        Self { described, columns }
    }

    /// Features whose words say what is measured and that are associated with the explore labels,
    /// strongest first. A learned feature in the bank's words is not among them: the known concept
    /// itself is, and measures those words exactly.
    fn candidates(&self, explore: &Labels, effects: &EffectTable) -> Vec<Candidate> {
        let alone = one_by_one(&self.columns, &self.described.features, &explore.sample);
        let mut found: Vec<Candidate> = self
            .described
            .features
            .iter()
            .zip(alone)
            .enumerate()
            .filter(|(index, (feature, effect))| {
                let has_words =
                    feature.source == "known" || (feature.kept && feature.describer == "contrast");
                let measured = effects.rows.get(*index).is_some_and(Option::is_some);
                has_words && measured && effect.beta_p_clustered < EXPLORE_P
            })
            .map(|(index, (_, effect))| Candidate {
                feature: index,
                sign: effect.beta.signum(),
                strength: (effect.beta / effect.beta_se_clustered).abs(),
            })
            .collect();
        found.sort_by(|a, b| b.strength.total_cmp(&a.strength).then(a.feature.cmp(&b.feature)));
        found.truncate(MOST_CANDIDATES);
        found
    }

    /// Lets candidates in, strongest first, while each adds to those already in; returns them and the rest.
    fn enter(&self, candidates: Vec<Candidate>, explore: &Labels) -> (Vec<Candidate>, Vec<Candidate>) {
        let mut inside: Vec<Candidate> = Vec::new();
        for candidate in &candidates {
            inside.push(*candidate);
            let adds = self.joint(&inside, explore).last().is_some_and(|last| {
                last.beta_p_clustered < EXPLORE_P && last.beta.signum() == candidate.sign
            });
            if !adds {
                inside.pop();
            }
        }
        // A later one may have taken the place of an earlier one.
        self.prune(&mut inside, explore, EXPLORE_P);
        let is_inside = |c: &Candidate| inside.iter().any(|other| other.feature == c.feature);
        let rejected = candidates.into_iter().filter(|c| !is_inside(c)).collect();
        (inside, rejected)
    }

    /// Drops, weakest first, what the others explain: no longer significant or of the other sign.
    fn prune(&self, inside: &mut Vec<Candidate>, labels: &Labels, p: f64) {
        while inside.len() > 1 {
            let weakness = |(place, fit): (usize, Conditional)| {
                let sound = fit.beta.signum() == inside[place].sign && fit.beta_p_clustered.is_finite();
                (place, if sound { fit.beta_p_clustered } else { 2.0 })
            };
            let fits = self.joint(inside, labels);
            let weakest = fits.into_iter().enumerate().map(weakness).max_by(|a, b| a.1.total_cmp(&b.1));
            match weakest {
                Some((place, value)) if value > p => drop(inside.remove(place)),
                _ => return,
            }
        }
    }

    /// One logit over several candidates and length; length is left out once a candidate is about it.
    fn joint(&self, inside: &[Candidate], labels: &Labels) -> Vec<Conditional> {
        let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
        let about_length =
            features.iter().any(|&index| control_of(&self.described.features[index]) == Control::Nothing);
        let control = if about_length { Control::Nothing } else { Control::Length };
        conditional_effects(&self.columns, &features, &labels.sample, control)
    }

    /// The test on held-out labels: of the feature, and of its words where those are something else.
    fn confirm(&self, entered: &[Candidate], effects: &EffectTable, held_out: &Labels) -> Vec<Confirmation> {
        entered
            .iter()
            .map(|candidate| {
                let failed = Confirmation { p: 1.0, same_direction: false };
                let Some(effect) = effects.rows.get(candidate.feature).and_then(Option::as_ref) else {
                    return failed;
                };
                // The effect that is shown is the win rate's: it has to point the same way.
                let shown = effect.win_delta.map(f64::signum);
                let mut test = Confirmation {
                    p: effect.beta_p_cluster,
                    same_direction: effect.beta.signum() == candidate.sign && shown == Some(candidate.sign),
                };
                let feature = &self.described.features[candidate.feature];
                if feature.describer == "contrast" {
                    let words = Matrix { values: self.columns.column(candidate.feature), cols: 1 };
                    let Some(words) =
                        feature_effects(&words, &held_out.sample, control_of(feature)).first().copied()
                    else {
                        return failed;
                    };
                    test.p = test.p.max(words.beta_p_clustered);
                    test.same_direction &= words.beta.signum() == candidate.sign;
                }
                if test.p.is_nan() { failed } else { test }
            })
            .collect()
    }
}

fn principle(
    index: usize,
    pairs: &Pairs,
    described: &Described,
    effects: &EffectTable,
    held_out: &Labels,
    config: &PrincipleConfig,
) -> Option<Principle> {
    let feature = &described.features[index];
    let effect = effects.rows.get(index)?.as_ref()?;
    let (win_delta, win_low, win_high) = (effect.win_delta?, effect.win_low?, effect.win_high?);
    let prefer = win_delta > 0.0;
    let mut principle = Principle {
        statement: format!(
            "{} the response that {}",
            if prefer { "Prefer" } else { "Avoid" },
            feature.clause
        ),
        direction: if prefer { "prefer" } else { "avoid" }.into(),
        description: feature.description.clone(),
        short: feature.short.clone(),
        describer: feature.describer.clone(),
        win_delta,
        win_low,
        win_high,
        beta: effect.beta,
        beta_se: effect.beta_se_cluster,
        length_controlled: effect.length_controlled,
        p_bonferroni: effects.bonferroni.get(index).copied().flatten().unwrap_or(1.0),
        q_bh: effects.q_bh.get(index).copied().flatten().unwrap_or(1.0),
        prevalence: effect.prevalence,
        n: effect.n,
        significant: true,
        evidence: evidence(index, prefer, pairs, described, held_out, config.evidence),
        ..Principle::default()
    };
    principle.set_fidelity(feature.fidelity);
    principle.feature_ids.push(feature.feature_id.clone());
    // Learned features that the same words describe, or that move with it, are the same principle.
    for other in &described.features {
        let same_words = other.source == "learned"
            && other.kept
            && other.concept == feature.concept
            && other.concept.is_some();
        let twin = other.redundant_with.as_deref() == Some(feature.feature_id.as_str());
        if other.feature_id != feature.feature_id && (same_words || twin) {
            principle.feature_ids.push(other.feature_id.clone());
        }
    }
    let has = |name: &str| feature.flags.iter().any(|flag| flag == name);
    let mut flag = |name: &str, on: bool| {
        if on {
            principle.flags.push(name.into());
        }
    };
    flag("safety", has("safety"));
    flag("safety_risk", (has("protective") && !prefer) || (has("harmful") && prefer));
    flag("length", has("length"));
    flag("rare", effect.prevalence < config.rare_below);
    flag("redundant", feature.redundant_with.is_some());
    Some(principle)
}

/// The clearest held-out pairs for and against a principle about feature `index`.
fn evidence(
    index: usize,
    prefer: bool,
    pairs: &Pairs,
    described: &Described,
    held_out: &Labels,
    count: usize,
) -> Evidence {
    let z = |pair: u32| described.activations.row(pair as usize)[index];
    let mut active: Vec<(u32, f64)> =
        held_out.pair_means().into_iter().filter(|&(pair, mean)| mean != 0.5 && z(pair) != 0.0).collect();
    // Among equally strong pairs the shortest are the easiest to read.
    let size = |pair: u32| {
        let at = pair as usize;
        pairs.prompt.get(at).len() + pairs.response_a.get(at).len() + pairs.response_b.get(at).len()
    };
    active.sort_by(|a, b| {
        z(b.0).abs().total_cmp(&z(a.0).abs()).then_with(|| size(a.0).cmp(&size(b.0))).then(a.0.cmp(&b.0))
    });
    let side = |supports: bool| {
        active
            .iter()
            .filter(|&&(pair, mean)| (((z(pair) > 0.0) == (mean > 0.5)) == prefer) == supports)
            .take(count)
            .map(|&(pair, _)| pairs.pair_id[pair as usize].clone())
            .collect()
    };
    Evidence { supporting: side(true), against: side(false) }
}

fn finding(index: usize, described: &Described, effects: &EffectTable) -> Finding {
    let feature = &described.features[index];
    let effect = effects.rows.get(index).and_then(Option::as_ref);
    let quote = |terms: &[String]| terms.iter().map(|t| format!("“{t}”")).collect::<Vec<_>>().join(", ");
    let text =
        match (feature.description.is_empty(), feature.terms.is_empty(), feature.terms_against.is_empty()) {
            (false, ..) => feature.description.clone(),
            (true, true, true) => "no separating terms".into(),
            (true, false, true) => format!("more {}", quote(&feature.terms)),
            (true, true, false) => format!("fewer {}", quote(&feature.terms_against)),
            (true, false, false) => {
                format!("more {}, fewer {}", quote(&feature.terms), quote(&feature.terms_against))
            }
        };
    Finding {
        feature_id: feature.feature_id.clone(),
        text,
        win_delta: effect.and_then(|e| e.win_delta),
        win_low: effect.and_then(|e| e.win_low),
        win_high: effect.and_then(|e| e.win_high),
        prevalence: effects.prevalence.get(index).copied().unwrap_or(0.0),
        n: effect.map_or(0, |e| e.n),
        overlaps: None,
    }
}

/// The chosen feature that this one moves with most, if it does at all.
fn overlap(index: usize, chosen: &[usize], described: &Described, held_out: &Labels) -> Option<String> {
    let rows: Vec<u32> = held_out.pair_means().into_iter().map(|(pair, _)| pair).collect();
    let dot = |a: usize, b: usize| -> f64 {
        rows.iter()
            .map(|&pair| {
                let row = described.activations.row(pair as usize);
                f64::from(row[a]) * f64::from(row[b])
            })
            .sum()
    };
    let cosine = |other: usize| dot(index, other) / (dot(index, index) * dot(other, other)).sqrt();
    chosen
        .iter()
        .map(|&other| (other, cosine(other).abs()))
        .filter(|(_, r)| *r > OVERLAP)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(other, _)| described.features[other].feature_id.clone())
}
