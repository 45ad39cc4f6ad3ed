//! Several responses to one prompt, ranked or scored, as pairs.

use polars::prelude::*;
use sha2::{Digest, Sha256};

use super::dedup::gather;
use super::format::ExtractedPairs;
use super::texts::Texts;
use crate::config::Pairing;

/// Prompts with two or more scored responses each, collected group by group.
///
/// Responses are numbers into a column that is already there: texts are not copied.
pub(super) struct Rankings {
    pool: StringChunked,
    prompts: StringChunkedBuilder,
    /// Row in the source of each group.
    rows: Vec<u32>,
    /// Number in `pool` and score (higher is better) of every response, group after group.
    members: Vec<(u32, f64)>,
    /// Where each group ends in `members`.
    ends: Vec<usize>,
    left_out: Vec<(u32, &'static str)>,
    drawn: usize,
}

impl Rankings {
    /// Responses will be numbers into `pool`.
    pub fn new(pool: StringChunked) -> Self {
        Self {
            prompts: StringChunkedBuilder::new(PlSmallStr::EMPTY, pool.len()),
            pool,
            rows: Vec::new(),
            members: Vec::new(),
            ends: Vec::new(),
            left_out: Vec::new(),
            drawn: 0,
        }
    }

    /// The responses to one prompt, as number and score; NaN is no score.
    pub fn add(&mut self, row: u32, prompt: &str, members: &[(u32, f64)]) {
        let scored = members.iter().filter(|(_, score)| !score.is_nan()).count();
        match members.len() {
            0 => return,
            1 => return self.leave_out(row, "only one response"),
            _ if scored < 2 => return self.leave_out(row, "fewer than two responses with a rank or score"),
            _ => {}
        }
        for _ in scored..members.len() {
            self.leave_out(row, "response without a rank or score");
        }
        self.members.extend(members.iter().filter(|(_, score)| !score.is_nan()));
        self.ends.push(self.members.len());
        self.prompts.append_value(prompt);
        self.rows.push(row);
    }

    /// Something of a row that makes no pair.
    pub fn leave_out(&mut self, row: u32, reason: &'static str) {
        self.left_out.push((row, reason));
    }

    /// The best of each group against the others, the preferred response first; an equal score is a tie.
    pub fn pairs(mut self, pairing: Pairing) -> ExtractedPairs {
        let (mut group_of, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
        let mut labels = Vec::new();
        let mut start = 0;
        for (group, &end) in (0u32..).zip(&self.ends) {
            let members = self.members.get(start..end).unwrap_or_default();
            start = end;
            let Some(best) = position_of_best(members) else { continue };
            let (best_text, best_score) = members[best];
            let mut push = |(text, score): (u32, f64)| {
                group_of.push(group);
                first.push(best_text);
                second.push(text);
                labels.push(if score < best_score { 1.0 } else { 0.5 });
            };
            let others = members.iter().enumerate().filter(|(i, _)| *i != best).map(|(_, member)| *member);
            match pairing {
                Pairing::BestVsRest => others.for_each(&mut push),
                Pairing::TopVsBottom => {
                    let lowest = others.clone().map(|(_, score)| score).fold(f64::INFINITY, f64::min);
                    let at_bottom: Vec<(u32, f64)> = others.filter(|(_, score)| *score == lowest).collect();
                    self.drawn += usize::from(at_bottom.len() > 1);
                    // Not the place in the list decides, which may mean something, but the text.
                    let draw = |member: &&(u32, f64)| {
                        let text = self.pool.get(member.0 as usize).unwrap_or("");
                        (<[u8; 32]>::from(Sha256::digest(text)), member.0)
                    };
                    at_bottom.iter().min_by_key(draw).copied().into_iter().for_each(&mut push);
                }
            }
        }
        let mut notes = Vec::new();
        if self.drawn > 0 {
            notes.push(format!(
                "{} prompts have several lowest responses, of which one was drawn; `--pairing best-vs-rest` takes all",
                self.drawn
            ));
        }
        let prompts = self.prompts.finish();
        ExtractedPairs {
            rows: Some(group_of.iter().filter_map(|group| self.rows.get(*group as usize).copied()).collect()),
            texts: Texts {
                prompt: gather(&prompts, group_of.into_iter()),
                first: gather(&self.pool, first.into_iter()),
                second: gather(&self.pool, second.into_iter()),
                ..Texts::default()
            },
            labels: Some(labels),
            written: None,
            annotators: None,
            left_out: self.left_out.into_iter().map(|(row, reason)| (row, reason.to_owned())).collect(),
            notes,
        }
    }
}

/// The first of the highest scores.
pub(super) fn position_of_best(members: &[(u32, f64)]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (i, (_, score)) in members.iter().enumerate() {
        if !score.is_nan() && best.is_none_or(|(_, high)| *score > high) {
            best = Some((i, *score));
        }
    }
    best.map(|(i, _)| i)
}

/// What was said so far in a conversation, as the prompt of the next response.
#[derive(Debug, Default, Clone)]
pub(super) struct Dialogue(String);

impl Dialogue {
    /// The prompt when the user says this now: bare in the first turn, a transcript after it.
    pub fn ask(&self, user: &str) -> String {
        if self.0.is_empty() { user.to_owned() } else { format!("{}\n\nHuman: {user}", self.0) }
    }

    /// A turn is over.
    pub fn push(&mut self, user: &str, assistant: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\n\n");
        }
        self.0.push_str(&format!("Human: {user}\n\nAssistant: {assistant}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(pairing: Pairing) -> Vec<(String, String, String, f32)> {
        let pool: StringChunked = ["a", "b", "c", "d", "e", "f", "g"].into_iter().map(Some).collect();
        let mut rankings = Rankings::new(pool);
        rankings.add(4, "p", &[(0, 3.0), (1, 9.0), (2, 1.0), (3, 9.0)]);
        rankings.add(6, "q", &[(4, f64::NAN), (5, -2.0), (6, -1.0)]);
        rankings.add(7, "alone", &[(0, 1.0)]);
        let taken = rankings.pairs(pairing);
        assert_eq!(
            taken.left_out,
            [(6, "response without a rank or score".to_owned()), (7, "only one response".to_owned())]
        );
        let at = |column: &StringChunked, i: usize| column.get(i).unwrap().to_owned();
        let labels = taken.labels.unwrap();
        (0..labels.len())
            .map(|i| {
                let texts = &taken.texts;
                (at(&texts.prompt, i), at(&texts.first, i), at(&texts.second, i), labels[i])
            })
            .collect()
    }

    fn expect(all: &[(&str, &str, &str, f32)]) -> Vec<(String, String, String, f32)> {
        all.iter().map(|(p, a, b, l)| ((*p).into(), (*a).into(), (*b).into(), *l)).collect()
    }

    #[test]
    fn the_best_goes_against_the_rest_and_equals_are_ties() {
        assert_eq!(
            ranked(Pairing::BestVsRest),
            expect(&[("p", "b", "a", 1.0), ("p", "b", "c", 1.0), ("p", "b", "d", 0.5), ("q", "g", "f", 1.0)])
        );
    }

    #[test]
    fn top_goes_against_bottom_once() {
        assert_eq!(ranked(Pairing::TopVsBottom), expect(&[("p", "b", "c", 1.0), ("q", "g", "f", 1.0)]));
    }

    #[test]
    fn among_equally_low_ones_the_text_decides_and_not_the_place() {
        let drawn = |texts: [&str; 3]| {
            let mut rankings = Rankings::new(texts.into_iter().map(Some).collect());
            rankings.add(0, "p", &[(0, 1.0), (1, 0.0), (2, 0.0)]);
            let taken = rankings.pairs(Pairing::TopVsBottom);
            assert_eq!(taken.notes.len(), 1);
            taken.texts.second.get(0).unwrap().to_owned()
        };
        assert_eq!(drawn(["best", "x", "y"]), drawn(["best", "y", "x"]));
    }

    #[test]
    fn a_conversation_is_a_transcript_from_its_second_turn_on() {
        let mut dialogue = Dialogue::default();
        assert_eq!(dialogue.ask("Hi"), "Hi");
        dialogue.push("Hi", "Hello");
        dialogue.push("And?", "So.");
        assert_eq!(
            dialogue.ask("Why?"),
            "Human: Hi\n\nAssistant: Hello\n\nHuman: And?\n\nAssistant: So.\n\nHuman: Why?"
        );
    }
}
