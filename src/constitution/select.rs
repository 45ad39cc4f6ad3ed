//! Which features become principles: explore on some labels, confirm on others.

use std::cmp::Reverse;

use crate::config::PrincipleConfig;
use crate::describe::{Described, Feature};
use crate::effects::EffectTable;
use crate::effects::table::{Joint, Labels, joint};
use crate::pairs::{Pairs, Side};
use crate::run::SCHEMA_VERSION;
use crate::statistics::multiplicity::holm;

use super::{Evidence, Finding, Findings, Principle};

/// p-value from which on a candidate adds something on the explore labels.
const EXPLORE_P: f64 = 0.05;
/// Candidates that enter the joint fit; each costs a fit, and nobody reads a longer list.
const MOST_CANDIDATES: usize = 60;
/// |Δ win rate| within which an effect is practically none.
const INDIFFERENT: f64 = 0.10;
/// A feature that applies to less cannot be called measurable here.
const MEASURABLE: f64 = 0.05;
/// Correlation from which on a rejected candidate is said to overlap with a principle.
const OVERLAP: f64 = 0.2;

/// Something that might be a principle.
struct Candidate {
    /// Index into [`Described::features`].
    feature: usize,
    /// What is tested, `[pairs]`: the activation, or the words of a description by terms. (If a
    /// feature matters but its words do not, the words must not be printed as a principle.)
    tested: Vec<f32>,
    /// About length itself: no length control.
    is_length: bool,
    explore: Joint,
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
    let mut candidates = candidates(described, &explore, effects);
    candidates.sort_by(|a, b| b.explore.t.abs().total_cmp(&a.explore.t.abs()).then(a.feature.cmp(&b.feature)));
    candidates.truncate(MOST_CANDIDATES);
    let (entered, rejected) = enter(candidates, &explore);

    let tests: Vec<Confirmation> =
        entered.iter().map(|candidate| confirm(candidate, effects, &held_out)).collect();
    let corrected = holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>());
    let mut confirmed: Vec<usize> =
        (0..entered.len()).filter(|&i| tests[i].same_direction && corrected[i] < config.alpha).collect();
    prune(&mut confirmed, &entered, &held_out, 0.05);
    let together = joint_of(&confirmed, &entered, &held_out);

    let mut principles = Vec::new();
    for (place, &i) in confirmed.iter().enumerate() {
        let beta_joint = together.as_ref().and_then(|fit| fit.get(place)).map(|fit| fit.beta);
        let candidate = &entered[i];
        if let Some(mut principle) = principle(candidate, pairs, described, effects, &held_out, config) {
            principle.p = tests[i].p;
            principle.p_confirm = corrected[i];
            principle.beta_joint = beta_joint;
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

/// Everything whose words say what is measured and that is associated with the explore labels.
fn candidates(described: &Described, explore: &Labels, effects: &EffectTable) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (index, feature) in described.features.iter().enumerate() {
        let tested = match (feature.source.as_str(), feature.describer.as_str()) {
            ("known", _) => described.activations.column(index),
            // Those described by the bank's words are measured by the known concept itself, exactly.
            ("learned", "contrast") if feature.kept && index < described.readings.cols => {
                described.readings.column(index)
            }
            _ => continue,
        };
        if effects.rows.get(index).is_none_or(Option::is_none) {
            continue;
        }
        let is_length = is_length(feature);
        if let Some(alone) = joint(explore, &[&tested], !is_length).and_then(|fit| fit.into_iter().next())
            && alone.p < EXPLORE_P
        {
            found.push(Candidate { feature: index, tested, is_length, explore: alone });
        }
    }
    found
}

/// About length itself, so that holding length fixed would remove what is measured.
pub fn is_length(feature: &Feature) -> bool {
    feature.source == "known" && feature.flags.iter().any(|flag| flag == "length")
}

/// Lets candidates in, strongest first, while each adds to those already in; returns them and the rest.
fn enter(candidates: Vec<Candidate>, explore: &Labels) -> (Vec<Candidate>, Vec<Candidate>) {
    let mut inside: Vec<usize> = Vec::new();
    for index in 0..candidates.len() {
        inside.push(index);
        let adds = joint_of(&inside, &candidates, explore).and_then(|fit| fit.last().copied()).is_some_and(|last| {
            last.p < EXPLORE_P && last.beta.signum() == candidates[index].explore.beta.signum()
        });
        if !adds {
            inside.pop();
        }
    }
    // A later one may have taken the place of an earlier one.
    prune(&mut inside, &candidates, explore, EXPLORE_P);
    let mut entered = Vec::new();
    let mut rejected = Vec::new();
    for (index, candidate) in candidates.into_iter().enumerate() {
        if inside.contains(&index) { entered.push(candidate) } else { rejected.push(candidate) }
    }
    (entered, rejected)
}

/// Drops, weakest first, what the others explain: no longer significant or of the other sign.
fn prune(inside: &mut Vec<usize>, candidates: &[Candidate], labels: &Labels, p: f64) {
    while inside.len() > 1 {
        let Some(fit) = joint_of(inside, candidates, labels) else { return };
        let weakest = fit
            .iter()
            .enumerate()
            .map(|(place, f)| {
                let agrees = f.beta.signum() == candidates[inside[place]].explore.beta.signum();
                (place, if agrees { f.p } else { 2.0 })
            })
            .max_by(|a, b| a.1.total_cmp(&b.1));
        match weakest {
            Some((place, value)) if value.is_nan() || value > p => {
                inside.remove(place);
            }
            _ => return,
        }
    }
}

/// One logit over several candidates and length; length is left out once a candidate is about it.
fn joint_of(inside: &[usize], candidates: &[Candidate], labels: &Labels) -> Option<Vec<Joint>> {
    let columns: Vec<&[f32]> = inside.iter().map(|&i| candidates[i].tested.as_slice()).collect();
    joint(labels, &columns, !inside.iter().any(|&i| candidates[i].is_length))
}

struct Confirmation {
    p: f64,
    same_direction: bool,
}

/// The test on held-out labels: of the feature, and of its words where those are something else.
fn confirm(candidate: &Candidate, effects: &EffectTable, held_out: &Labels) -> Confirmation {
    let failed = Confirmation { p: 1.0, same_direction: false };
    let Some(effect) = effects.rows.get(candidate.feature).and_then(Option::as_ref) else { return failed };
    let Some(words) = joint(held_out, &[&candidate.tested], !candidate.is_length).and_then(|fit| fit.into_iter().next())
    else {
        return failed;
    };
    let sign = candidate.explore.beta.signum();
    // The effect shown is the win rate's: it has to point the same way.
    Confirmation {
        p: effect.beta_p_cluster.max(words.p),
        same_direction: effect.beta.signum() == sign
            && words.beta.signum() == sign
            && effect.win_delta.signum() == sign,
    }
}

fn principle(
    candidate: &Candidate,
    pairs: &Pairs,
    described: &Described,
    effects: &EffectTable,
    held_out: &Labels,
    config: &PrincipleConfig,
) -> Option<Principle> {
    let index = candidate.feature;
    let feature = &described.features[index];
    let effect = effects.rows.get(index)?.as_ref()?;
    let prefer = effect.win_delta > 0.0;
    let mut principle = Principle {
        statement: format!("{} the response that {}", if prefer { "Prefer" } else { "Avoid" }, feature.clause),
        direction: if prefer { "prefer" } else { "avoid" }.into(),
        description: feature.description.clone(),
        short: feature.short.clone(),
        win_delta: effect.win_delta,
        win_low: effect.win_low,
        win_high: effect.win_high,
        beta: effect.beta,
        beta_se: effect.beta_se_cluster,
        length_controlled: effect.length_controlled,
        p_bonferroni: effects.bonferroni.get(index).copied().unwrap_or(1.0),
        q_bh: effects.q_bh.get(index).copied().unwrap_or(1.0),
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
        let same_words = other.source == "learned" && other.kept && other.concept == feature.concept && other.concept.is_some();
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
    let mut active: Vec<(u32, f32)> =
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
    let text = match (feature.description.is_empty(), feature.terms.is_empty(), feature.terms_against.is_empty()) {
        (false, ..) => feature.description.clone(),
        (true, true, true) => "no separating terms".into(),
        (true, false, true) => format!("more {}", quote(&feature.terms)),
        (true, true, false) => format!("fewer {}", quote(&feature.terms_against)),
        (true, false, false) => format!("more {}, fewer {}", quote(&feature.terms), quote(&feature.terms_against)),
    };
    Finding {
        feature_id: feature.feature_id.clone(),
        text,
        win_delta: effect.map(|e| e.win_delta).filter(|v| v.is_finite()),
        win_low: effect.map(|e| e.win_low).filter(|v| v.is_finite()),
        win_high: effect.map(|e| e.win_high).filter(|v| v.is_finite()),
        prevalence: effect.map_or(0.0, |e| e.prevalence),
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
