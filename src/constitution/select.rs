//! Which features become principles: explore on some labels, confirm on others.

use std::cmp::Reverse;

use crate::config::PrincipleConfig;
use crate::describe::{Described, FeatureSource};
use crate::effects::table::{EffectTable, Labels, control_of, one_by_one};
use crate::effects::{
    Conditional, Control, Sample, WinDelta, conditional_effects, conditional_win_deltas, score_tests,
};
use crate::embed::{EmbedError, Embedder};
use crate::matrix::Matrix;
use crate::pairs::{Pairs, Side};
use crate::run::SCHEMA_VERSION;
use crate::statistics::multiplicity::holm;

use super::agreement::agreement;
use super::themes::{self, Theme};
use super::{Evidence, Finding, Findings, Principle};

/// p-value from which on a candidate adds something on the explore labels. What is weaker there would
/// hardly be confirmed, and every candidate makes it harder for the others.
const EXPLORE_P: f64 = 0.01;
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

/// Themes of words in what nothing else explains of the `train` and `describe` labels.
///
/// # Errors
/// Where the embedder fails.
pub fn themes(
    pairs: &Pairs,
    sides: &[Side],
    described: &Described,
    embedder: &dyn Embedder,
) -> Result<Vec<Theme>, EmbedError> {
    let explore = Labels::on(pairs, sides, &[Side::Train, Side::Describe]);
    let tested = Tested::new(described);
    let inside = tested.enter(&explore, |_| true);
    let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
    themes::find(pairs, &tested.columns, &features, tested.control(&inside), &explore.sample, embedder)
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
    let measured = |feature: usize| effects.rows.get(feature).is_some_and(Option::is_some);
    let entered = tested.extend(tested.enter(&explore, measured), &explore, measured, config.redundant_above);
    let rejected = tested.associated(&explore, &entered);

    let tests = tested.confirm(&entered, effects, &held_out);
    let corrected = holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>());
    let mut confirmed: Vec<Candidate> = entered.clone();
    let mut place = 0..entered.len();
    confirmed
        .retain(|_| place.next().is_some_and(|i| tests[i].same_direction && corrected[i] < config.alpha));
    tested.prune(&mut confirmed, &held_out, JOINT_P);
    let together = tested.joint(&confirmed, &held_out);
    let deltas = tested.joint_win_deltas(&confirmed, &held_out);

    let chosen: Vec<usize> = confirmed.iter().map(|candidate| candidate.feature).collect();
    let mut principles = Vec::new();
    for ((candidate, joint), delta) in confirmed.iter().zip(&together).zip(&deltas) {
        let Some(test) = entered.iter().position(|other| other.feature == candidate.feature) else {
            continue;
        };
        let measured = Measured { joint, delta, candidate };
        if let Some(mut principle) =
            principle(candidate.feature, &measured, pairs, described, effects, &held_out, &chosen, config)
        {
            principle.p = tests[test].p;
            principle.p_confirm = corrected[test];
            principle.length_controlled = tested.control(&confirmed) == Control::Length;
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
        .map(|candidate| candidate.feature)
        .chain(rejected)
        .filter(|feature| !chosen.contains(feature))
        .map(|feature| {
            let mut finding = finding(feature, described, effects);
            finding.overlaps = overlap(feature, &chosen, described, &held_out);
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
        .filter(|&f| described.features[f].source.is_found() && !described.features[f].kept)
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

/// The columns that decide: the graded activations.
pub(crate) struct Tested<'a> {
    pub(crate) described: &'a Described,
    /// `[pairs, features]`
    pub(crate) columns: Matrix,
}

#[derive(Debug, Clone, Copy)]
struct Confirmation {
    p: f64,
    same_direction: bool,
}

impl<'a> Tested<'a> {
    pub(crate) fn new(described: &'a Described) -> Self {
        Self { described, columns: described.activations.clone() }
    }

    /// Whether a feature's words say what is measured, and may make a statement.
    pub(crate) fn has_words(&self, feature: usize) -> bool {
        self.described.features[feature].speaks()
    }

    /// Features with words that are associated with the explore labels, but did not enter.
    fn associated(&self, explore: &Labels, entered: &[Candidate]) -> Vec<usize> {
        let alone = one_by_one(&self.columns, &self.described.features, &explore.sample);
        (0..alone.len())
            .filter(|&feature| {
                self.has_words(feature)
                    && alone[feature].beta_p_clustered < EXPLORE_P
                    && entered.iter().all(|candidate| candidate.feature != feature)
            })
            .collect()
    }

    /// Forward selection: lets in what adds most to those already in, as long as anything does.
    ///
    /// What matters only once others are held fixed (length, where refusals are long) is found, too.
    fn enter(&self, explore: &Labels, admitted: impl Fn(usize) -> bool) -> Vec<Candidate> {
        let mut inside: Vec<Candidate> = Vec::new();
        let mut open: Vec<usize> =
            (0..self.columns.cols).filter(|&feature| self.has_words(feature) && admitted(feature)).collect();
        let least = normal_quantile(EXPLORE_P);
        while inside.len() < MOST_CANDIDATES {
            let scores = self.scores(&inside, &explore.sample);
            open.retain(|&feature| scores[feature].abs() > least);
            let Some(&best) =
                open.iter().max_by(|a, b| scores[**a].abs().total_cmp(&scores[**b].abs()).then(b.cmp(a)))
            else {
                break;
            };
            open.retain(|&feature| feature != best);
            inside.push(Candidate { feature: best, sign: scores[best].signum(), basis: Basis::Joint });
            // The score test takes judgements for independent; the fit does not.
            let adds = self.joint(&inside, explore).last().is_some_and(|last| {
                last.beta_p_clustered < EXPLORE_P && last.beta.signum() == scores[best].signum()
            });
            if !adds {
                inside.pop();
            }
        }
        // A later one may have taken the place of an earlier one.
        self.prune(&mut inside, explore, EXPLORE_P);
        inside
    }

    /// Lets in what is associated by itself and keeps most of that when those inside are held fixed, though
    /// it does not clearly add to them: refusing, where refusals begin with "I" and "sorry".
    fn extend(
        &self,
        mut inside: Vec<Candidate>,
        explore: &Labels,
        admitted: impl Fn(usize) -> bool,
        redundant_above: f64,
    ) -> Vec<Candidate> {
        let alone = one_by_one(&self.columns, &self.described.features, &explore.sample);
        let strength = |feature: usize| (alone[feature].beta / alone[feature].beta_se_clustered).abs();
        let mut open: Vec<usize> = (0..alone.len())
            .filter(|&feature| {
                self.has_words(feature)
                    && admitted(feature)
                    && alone[feature].beta_p_clustered < EXPLORE_P
                    && inside.iter().all(|candidate| candidate.feature != feature)
            })
            .collect();
        open.sort_by(|&a, &b| strength(b).total_cmp(&strength(a)).then(a.cmp(&b)));
        let rows: Vec<u32> = explore.pair_means().into_iter().map(|(pair, _)| pair).collect();
        for feature in open {
            let twin = |other: &Candidate| {
                cosine(self.described, &rows, feature, other.feature).abs() > redundant_above
            };
            if inside.len() >= MOST_CANDIDATES || inside.iter().any(twin) {
                continue;
            }
            let beta = alone[feature].beta;
            inside.push(Candidate { feature, sign: beta.signum(), basis: Basis::Alone });
            let keeps = self.joint(&inside, explore).last().is_some_and(|last| last.beta / beta >= RETAINED);
            if !keeps {
                inside.pop();
            }
        }
        inside
    }

    /// Score test of every column, given those inside; one about length is tested without the control.
    fn scores(&self, inside: &[Candidate], sample: &Sample) -> Vec<f64> {
        let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
        let control = self.control(inside);
        let mut scores = score_tests(&self.columns, &features, sample, control);
        if control == Control::Length {
            let without = score_tests(&self.columns, &features, sample, Control::Nothing);
            for (feature, score) in scores.iter_mut().enumerate() {
                if control_of(&self.described.features[feature]) == Control::Nothing {
                    *score = without[feature];
                }
            }
        }
        scores
    }

    /// Drops, weakest first, what the others explain: of the other sign, no longer significant, or, for
    /// what was tested by itself, no longer most of its effect.
    fn prune(&self, inside: &mut Vec<Candidate>, labels: &Labels, p: f64) {
        let alone = one_by_one(&self.columns, &self.described.features, &labels.sample);
        while inside.len() > 1 {
            let weakness = |(place, fit): (usize, Conditional)| {
                let candidate = inside[place];
                let sound = fit.beta.signum() == candidate.sign && fit.beta_p_clustered.is_finite();
                let kept = fit.beta / alone[candidate.feature].beta;
                let weakness = match candidate.basis {
                    _ if !sound => 2.0,
                    Basis::Joint => fit.beta_p_clustered,
                    Basis::Alone if kept >= RETAINED => 0.0,
                    Basis::Alone => 1.0,
                };
                (place, weakness)
            };
            let fits = self.joint(inside, labels);
            let weakest = fits.into_iter().enumerate().map(weakness).max_by(|a, b| a.1.total_cmp(&b.1));
            match weakest {
                Some((place, value)) if value > p => drop(inside.remove(place)),
                _ => return,
            }
        }
    }

    /// Length, unless a candidate is about it.
    fn control(&self, inside: &[Candidate]) -> Control {
        let about_length = |candidate: &Candidate| {
            control_of(&self.described.features[candidate.feature]) == Control::Nothing
        };
        if inside.iter().any(about_length) { Control::Nothing } else { Control::Length }
    }

    /// One logit over several candidates and the control.
    fn joint(&self, inside: &[Candidate], labels: &Labels) -> Vec<Conditional> {
        let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
        conditional_effects(&self.columns, &features, &labels.sample, self.control(inside))
    }

    /// Δwin-rate of each, the others and the control held fixed.
    fn joint_win_deltas(&self, inside: &[Candidate], labels: &Labels) -> Vec<WinDelta> {
        let features: Vec<usize> = inside.iter().map(|candidate| candidate.feature).collect();
        conditional_win_deltas(&self.described.presence, &features, &labels.sample, self.control(inside))
    }

    /// The test on held-out labels, as a candidate's basis says.
    fn confirm(&self, entered: &[Candidate], effects: &EffectTable, held_out: &Labels) -> Vec<Confirmation> {
        let failed = Confirmation { p: 1.0, same_direction: false };
        (entered.iter().zip(self.joint(entered, held_out)))
            .map(|(candidate, joint)| {
                let Some(alone) = effects.rows.get(candidate.feature).and_then(Option::as_ref) else {
                    return failed;
                };
                let mut test = match candidate.basis {
                    Basis::Joint => Confirmation {
                        p: joint.beta_p_clustered,
                        same_direction: joint.beta.signum() == candidate.sign,
                    },
                    Basis::Alone => Confirmation {
                        p: alone.beta_p_cluster,
                        same_direction: alone.beta.signum() == candidate.sign,
                    },
                };
                // By itself it must not point clearly the other way: nobody could follow such a principle.
                let against = match candidate.sign > 0.0 {
                    true => alone.win_high.is_some_and(|high| high < 0.0),
                    false => alone.win_low.is_some_and(|low| low > 0.0),
                };
                test.same_direction &= !against;
                if test.p.is_nan() { failed } else { test }
            })
            .collect()
    }
}

/// |z| beyond which a two-sided normal test is below `p`.
fn normal_quantile(p: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    Normal::standard().inverse_cdf(1.0 - p / 2.0)
}

/// What was measured for a principle with all principles in one fit.
struct Measured<'a> {
    joint: &'a Conditional,
    delta: &'a WinDelta,
    candidate: &'a Candidate,
}

#[allow(clippy::too_many_arguments)] // what was measured, and what it was measured on
fn principle(
    index: usize,
    measured: &Measured<'_>,
    pairs: &Pairs,
    described: &Described,
    effects: &EffectTable,
    held_out: &Labels,
    chosen: &[usize],
    config: &PrincipleConfig,
) -> Option<Principle> {
    let feature = &described.features[index];
    let alone = effects.rows.get(index)?.as_ref()?;
    let prefer = measured.candidate.sign > 0.0;
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let delta = measured.delta;
    let joint = [finite(delta.value), finite(delta.low), finite(delta.high)];
    let by_itself = [alone.win_delta, alone.win_low, alone.win_high];
    let [Some(win_delta), Some(win_low), Some(win_high)] = (match measured.candidate.basis {
        Basis::Joint => joint,
        Basis::Alone => by_itself,
    }) else {
        return None;
    };
    // It is what people read: a win rate that contradicts the direction or may be nothing is no principle's.
    let clear = if prefer { win_low > 0.0 } else { win_high < 0.0 };
    if !clear {
        return None;
    }
    let votes: Vec<f32> =
        (held_out.sample.row().iter()).map(|&pair| described.presence.row(pair as usize)[index]).collect();
    let mut principle = Principle {
        direction: if prefer { "prefer" } else { "avoid" }.into(),
        description: feature.description.clone(),
        short: feature.short.clone(),
        describer: feature.describer.clone(),
        basis: match measured.candidate.basis {
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
        win_delta_alone: alone.win_delta,
        win_low_alone: alone.win_low,
        win_high_alone: alone.win_high,
        beta: alone.beta,
        beta_se: alone.beta_se_cluster,
        beta_joint: finite(measured.joint.beta),
        beta_joint_se: finite(measured.joint.beta_se_clustered),
        p_bonferroni: effects.bonferroni.get(index).copied().flatten().unwrap_or(1.0),
        q_bh: effects.q_bh.get(index).copied().flatten().unwrap_or(1.0),
        prevalence: alone.prevalence,
        n: alone.n,
        agreement: agreement(&votes, &held_out.sample),
        significant: true,
        evidence: evidence(index, prefer, pairs, described, held_out, config.evidence),
        ..Principle::default()
    };
    principle.set_fidelity(feature.fidelity);
    principle.feature_ids.push(feature.feature_id.clone());
    let rows: Vec<u32> = held_out.pair_means().into_iter().map(|(pair, _)| pair).collect();
    let mut nearest: Option<(f64, usize)> = None;
    for (other_index, other) in described.features.iter().enumerate() {
        if other_index == index || !other.kept {
            continue;
        }
        // Learned features that the same words describe, and features that move with it, are the same
        // principle.
        let same_words =
            other.source == FeatureSource::Learned && other.concept.is_some() && other.concept == feature.concept;
        let twin = other.redundant_with.as_deref() == Some(feature.feature_id.as_str())
            || feature.redundant_with.as_deref() == Some(other.feature_id.as_str());
        if same_words || twin {
            principle.feature_ids.push(other.feature_id.clone());
        }
        if twin && other.source == FeatureSource::Known && !chosen.contains(&other_index) {
            let r = cosine(described, &rows, index, other_index);
            if r > config.redundant_above && nearest.is_none_or(|(best, _)| r > best) {
                nearest = Some((r, other_index));
            }
        }
    }
    let verb = if prefer { "Prefer" } else { "Avoid" };
    principle.statement = format!("{verb} the response that {}", feature.clause);
    // The labels cannot tell the two apart, so the statement must not pretend to.
    if let Some((_, twin)) = nearest {
        principle.statement += &format!(" or {}", described.features[twin].clause);
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
    flag("rare", alone.prevalence < config.rare_below);
    flag("redundant", feature.redundant_with.is_some());
    Some(principle)
}

/// The clearest held-out pairs for and against a principle about feature `index`, by id.
fn evidence(
    index: usize,
    prefer: bool,
    pairs: &Pairs,
    described: &Described,
    held_out: &Labels,
    count: usize,
) -> Evidence {
    let means = held_out.pair_means();
    let shown = |pair: u32| {
        let (z, there) = (described.activations.row(pair as usize)[index], described.presence.row(pair as usize)[index]);
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
    let mut active: Vec<(u32, f64)> =
        means.iter().copied().filter(|&(pair, mean)| mean != 0.5 && z(pair) != 0.0).collect();
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
            .map(|&(pair, _)| pair)
            .collect()
    };
    (side(true), side(false))
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
        overlaps: None,
    }
}

/// How much two features move together over some pairs. Activations are odd under swapping A and B, so
/// their mean is an accident of the order and is not taken off.
fn cosine(described: &Described, rows: &[u32], a: usize, b: usize) -> f64 {
    let dot = |a: usize, b: usize| -> f64 {
        rows.iter()
            .map(|&pair| {
                let row = described.activations.row(pair as usize);
                f64::from(row[a]) * f64::from(row[b])
            })
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The chosen feature that this one moves with most, if it does at all.
fn overlap(index: usize, chosen: &[usize], described: &Described, held_out: &Labels) -> Option<String> {
    let rows: Vec<u32> = held_out.pair_means().into_iter().map(|(pair, _)| pair).collect();
    chosen
        .iter()
        .map(|&other| (other, cosine(described, &rows, index, other).abs()))
        .filter(|(_, r)| *r > OVERLAP)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(other, _)| described.features[other].feature_id.clone())
}
