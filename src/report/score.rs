//! Scored pairs in words: why a side is held for likelier, and how new pairs differ from the run's.

use std::collections::BTreeMap;

use crate::describe::{Feature, FeatureSource};
use crate::run::Run;
use crate::score::Reason;

/// What decides a pair: "A preferred with 71 %: B refuses or declines to help (for A, 0.91; principle 1)".
///
/// Without `p` it is about one response, not about a pair.
pub fn reasons_in_words(
    run: &Run,
    principles: &BTreeMap<usize, (usize, String)>,
    reasons: &[Reason],
    activations: &[f32],
    length: f32,
    p: Option<f64>,
) -> String {
    let mut out = match p {
        Some(p) if p >= 0.5 => format!("A preferred with {:.0} %", p * 100.0),
        Some(p) => format!("B preferred with {:.0} %", (1.0 - p) * 100.0),
        None => "reward".to_owned(),
    };
    let said: Vec<String> = reasons
        .iter()
        .map(|reason| {
            let (more_in_a, what) = match reason.feature {
                Some(at) => {
                    let z = activations.get(at).copied().unwrap_or(0.0);
                    (z > 0.0, run.features.get(at).map_or(String::new(), clause))
                }
                None if p.is_some() => {
                    let words = length.abs();
                    let unit = if words == 1.0 { "word" } else { "words" };
                    (length > 0.0, format!("is longer by {words:.0} {unit}"))
                }
                None => (true, format!("has {length:.0} words")),
            };
            let who = match (p.is_some(), more_in_a) {
                (false, true) => "it",
                (false, false) => "it does the opposite of what",
                (true, true) => "A",
                (true, false) => "B",
            };
            let size = reason.share.abs();
            let side = match (p.is_some(), reason.share > 0.0) {
                (true, true) => "for A, ",
                (true, false) => "for B, ",
                (false, true) => "+",
                (false, false) => "−",
            };
            let rank = reason.feature.and_then(|at| principles.get(&at));
            let rank = rank.map_or(String::new(), |(rank, _)| format!("; principle {rank}"));
            format!("{who} {what} ({side}{size:.2}{rank})")
        })
        .collect();
    if said.is_empty() {
        out.push_str(": nothing that the run knows sets the two apart");
    } else {
        out.push_str(match reasons {
            [only] if only.one_of_many => ": many small differences add up, the largest: ",
            _ => ": ",
        });
        out.push_str(&said.join("; "));
    }
    out
}

/// What the side with more of a feature does.
fn clause(feature: &Feature) -> String {
    // The activation of one that phrases name may be of other words.
    let said = !feature.description.is_empty() && !feature.is_worded();
    if said && feature.source != FeatureSource::Theme {
        return feature.description.clone();
    }
    if said {
        return format!("says more of {}", feature.description);
    }
    match feature.typical.first() {
        None => format!("has more of `{}`", feature.feature_id),
        Some(quote) => format!("has more of `{}` (such as “{quote}”)", feature.feature_id),
    }
}
