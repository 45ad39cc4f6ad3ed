//! A language model's word on what the preset `safety` marked: is the response that lost the safer one?
//!
//! Asked in both orders, as everywhere. What it does not confirm is left alone: a label is only changed where
//! both the preset and the judge say so. Since the judge decides, it is asked about many more labels than the preset
//! would propose by itself ([`super::WORTH_ASKING`]); where its answer cannot be read, the label stays, too. Labels that
//! also go against a rule of the user's own stand on that rule, and nobody is asked about them.

use std::collections::HashMap;

use super::decisions::{Confirmation, Decision, Decisions, SAFETY as PRESET};
use crate::describe::judging::CLEAR;
use crate::llm::which::Choice;

/// How far either order has to point to the response that lost: where both did, 78 of 86 labels that were read preferred the
/// more harmful response, where one did and the other said tie, 12 of 26 (`cargo bench --bench relabelling`).
const SAID: f32 = 0.5;

/// The pairs that a judge has to be asked about, each once.
pub fn pairs(decisions: &Decisions) -> Vec<u32> {
    let mut pairs: Vec<u32> = decisions
        .marked
        .iter()
        .filter(|decision| by_preset(decision))
        .map(|decision| decision.pair)
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// Whether a label is marked by the preset alone.
fn by_preset(decision: &Decision) -> bool {
    decision.rules == [PRESET]
}

/// Takes out of `decisions` what the judge `model` does not confirm; `labels` are those of the judgements.
pub fn confirm(decisions: &mut Decisions, labels: &[f32], choices: &[Choice], model: &str) -> Confirmation {
    // Toward A, in either order.
    let said: HashMap<u32, Option<[f32; 2]>> = choices
        .iter()
        .map(|choice| (choice.pair, choice.a_first.zip(choice.b_first).map(|(a, b)| [a, -b])))
        .collect();
    let mut found = Confirmation { model: model.to_owned(), ..Confirmation::default() };
    let mut kept = Vec::with_capacity(decisions.marked.len());
    for mut decision in std::mem::take(&mut decisions.marked) {
        if !by_preset(&decision) {
            kept.push(decision);
            continue;
        }
        found.asked += 1;
        let a_won = labels.get(decision.judgement as usize).is_some_and(|label| *label > 0.5);
        let Some(orders) = said.get(&decision.pair).copied().flatten() else {
            found.missing += 1;
            decision.reason += &format!("; {model} gave no readable answer");
            found.not_confirmed.push(decision);
            continue;
        };
        let orders = if a_won { orders.map(|toward_a| -toward_a) } else { orders };
        let toward_lost = (orders[0] + orders[1]) / 2.0;
        let sure = toward_lost.abs();
        if orders.iter().all(|order| *order >= SAID) {
            found.confirmed += 1;
            decision.reason += &format!("; {model} finds the response that lost safer ({sure:.2})");
            kept.push(decision);
        } else {
            if toward_lost <= -CLEAR {
                found.contradicted += 1;
                decision.reason += &format!("; {model} finds the response that won safer ({sure:.2})");
            } else {
                decision.reason += &format!("; {model} finds neither response safer in both orders");
            }
            found.not_confirmed.push(decision);
        }
    }
    decisions.marked = kept;
    // What the preset marks is what is confirmed, and not what was asked about.
    let by_preset =
        decisions.marked.iter().filter(|decision| decision.rules.iter().any(|rule| rule == PRESET)).count();
    if let Some(count) = decisions.by_rule.get_mut(PRESET) {
        *count = by_preset;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::rewrite::Action;

    #[test]
    fn only_what_is_confirmed_stays_marked() {
        let mark = |judgement: u32, pair: u32, rules: &[&str]| Decision {
            judgement,
            pair,
            action: Action::Flip,
            rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
            reason: "r".into(),
            score: 1.0,
        };
        let mut decisions = Decisions {
            // Two judgements of pair 0 that prefer different responses; a rule of the user's own on pair 4.
            marked: vec![
                mark(0, 0, &[PRESET]),
                mark(1, 0, &[PRESET]),
                mark(2, 1, &[PRESET]),
                mark(3, 2, &[PRESET]),
                mark(5, 3, &[PRESET]),
                mark(4, 4, &["mine", PRESET]),
            ],
            ..Decisions::default()
        };
        decisions.by_rule.insert(PRESET.into(), 6);
        assert_eq!(pairs(&decisions), [0, 1, 2, 3]);
        let labels = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
        // A is safer in pair 0; the order decides in pair 1; pair 2 lacks an order.
        let choices = [
            Choice { pair: 0, a_first: Some(1.0), b_first: Some(-1.0) },
            Choice { pair: 1, a_first: Some(1.0), b_first: Some(1.0) },
            Choice { pair: 2, a_first: Some(1.0), b_first: None },
            // One order alone is not enough.
            Choice { pair: 3, a_first: Some(0.0), b_first: Some(1.0) },
        ];
        let found = confirm(&mut decisions, &labels, &choices, "j");
        assert_eq!((found.asked, found.confirmed, found.contradicted, found.missing), (5, 1, 1, 1));
        // One that is confirmed, one that also stands on a rule of the user's own.
        assert_eq!(decisions.by_rule[PRESET], 2);
        let kept: Vec<(u32, &str)> =
            decisions.marked.iter().map(|d| (d.judgement, d.reason.as_str())).collect();
        assert_eq!(kept, [(0, "r; j finds the response that lost safer (1.00)"), (4, "r"),]);
        let left: Vec<(u32, &str)> =
            found.not_confirmed.iter().map(|d| (d.judgement, d.reason.as_str())).collect();
        assert_eq!(
            left,
            [
                (1, "r; j finds the response that won safer (1.00)"),
                (2, "r; j finds neither response safer in both orders"),
                (3, "r; j gave no readable answer"),
                (5, "r; j finds neither response safer in both orders"),
            ]
        );
    }
}
