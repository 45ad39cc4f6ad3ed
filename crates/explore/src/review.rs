//! Labels that are proposed for a change, laid before people one after the other; what they decided, how far they agree, and
//! how often the proposals were right.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Value, json};
use wimhf::export::tables::cell;
use wimhf::statistics::share::wilson;
use wimhf::store::Estimate;

use crate::error::ExploreError;
use crate::journal::Kept;
use crate::opened::{Candidate, Opened};

/// Half of an interval's width at which the share of right proposals is known well enough.
const ENOUGH: f64 = 0.1;
/// Decisions below which nothing is said to be known, however alike they are.
const FEWEST: usize = 20;

/// What one person decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Who; empty where that is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reviewer: String,
    /// Labels, those that were skipped left out.
    pub decided: usize,
    /// As it was proposed.
    pub accepted: usize,
    /// Left as it is.
    pub rejected: usize,
    /// Not decided.
    pub skipped: usize,
}

impl Count {
    fn add(&mut self, decision: &str) {
        match decision {
            "skip" => self.skipped += 1,
            "reject" => self.rejected += 1,
            _ => self.accepted += 1,
        }
        self.decided = self.accepted + self.rejected;
    }
}

/// What is next for a reviewer, and how far everybody is.
///
/// # Errors
/// Where the journal is damaged, or the proposals are still being made.
pub fn review(opened: &Opened, reviewer: &str, limit: usize) -> Result<Value, ExploreError> {
    let candidates = opened.candidates()?;
    let kept = opened.journal.decisions()?;
    let pairs = &opened.source.pairs;
    let done: HashMap<(u32, &str), &Kept> = (kept.iter())
        .filter(|one| one.reviewer == reviewer.trim())
        .map(|one| ((one.row, one.pair_id.as_str()), one))
        .collect();
    let id = |one: &Candidate| pairs.pair_id[one.pair as usize].as_str();
    let open = candidates.all.iter().filter(|one| !done.contains_key(&(one.row, id(one))));
    let queue: Vec<Value> = open.take(limit.clamp(1, 50)).map(|one| card(opened, one)).collect();
    let mut people: BTreeMap<&str, Count> = BTreeMap::new();
    for one in &kept {
        people.entry(&one.reviewer).or_default().add(&one.decision);
    }
    let mine = people.get(reviewer.trim()).cloned().unwrap_or_default();
    let people: Vec<Count> =
        people.into_iter().map(|(name, count)| Count { reviewer: name.to_owned(), ..count }).collect();
    let (precision, enough, sentence) = precision(candidates.all.iter().map(|one| (one, id(one))), &kept);
    Ok(json!({
        "queue": queue,
        "candidates": candidates.all.len(),
        "source": candidates.source,
        "mine": mine,
        "people": people,
        "precision": precision,
        "enough": enough,
        "sentence": sentence,
        "agreement": agreement(&kept),
    }))
}

fn card(opened: &Opened, one: &Candidate) -> Value {
    let pairs = &opened.source.pairs;
    let at = one.pair as usize;
    let prefers_a = (opened.judgements(at).iter().map(|judgement| *judgement as usize))
        .find(|judgement| pairs.judgements.row[*judgement] == one.row)
        .is_none_or(|judgement| pairs.judgements.label[judgement] > 0.5);
    let (a, b) = (opened.shown(pairs.response_a.get(at)), opened.shown(pairs.response_b.get(at)));
    let (preferred, other) = if prefers_a { (a, b) } else { (b, a) };
    json!({
        "pair_id": pairs.pair_id[at], "row": one.row, "action": one.action, "score": one.score,
        "reason": one.reason, "rule": one.rule, "prompt": opened.shown(pairs.prompt.get(at)),
        "preferred": preferred, "other": other, "preferred_is": if prefers_a { "A" } else { "B" },
    })
}

/// What most of the people who decided about a label want; `None` where they do not agree.
fn majority<'a>(words: &[&'a str]) -> Option<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    words.iter().filter(|word| **word != "skip").for_each(|word| *counts.entry(word).or_default() += 1);
    let all: usize = counts.values().sum();
    counts.into_iter().find(|(_, count)| 2 * count > all).map(|(word, _)| word)
}

/// Every label with what people decided about it.
fn by_label(kept: &[Kept]) -> BTreeMap<(u32, &str), Vec<&Kept>> {
    let mut of: BTreeMap<(u32, &str), Vec<&Kept>> = BTreeMap::new();
    kept.iter().for_each(|one| of.entry((one.row, one.pair_id.as_str())).or_default().push(one));
    of
}

/// How often the proposals that were looked at were right.
fn precision<'a>(
    candidates: impl Iterator<Item = (&'a Candidate, &'a str)>,
    kept: &[Kept],
) -> (Option<Estimate>, bool, String) {
    let of = by_label(kept);
    let (mut right, mut looked, mut all) = (0, 0, 0);
    for (one, id) in candidates {
        all += 1;
        let words = of.get(&(one.row, id)).into_iter().flatten().map(|own| own.decision.as_str());
        // What is proposed, under either name.
        let words: Vec<&str> = words.map(|word| if word == one.action { "accept" } else { word }).collect();
        let Some(word) = majority(&words) else { continue };
        looked += 1;
        right += usize::from(word == "accept");
    }
    if looked == 0 {
        let sentence = match all {
            0 => "Nothing is proposed for a change.".to_owned(),
            _ => format!("{all} labels are proposed for a change; nobody has decided about any yet."),
        };
        return (None, false, sentence);
    }
    let [value, low, high] = wilson(right, looked);
    let enough = looked == all || (looked >= FEWEST && (high - low) / 2.0 <= ENOUGH);
    let so_far = format!(
        "So far {right} of {looked} proposals were right ({:.0} %, 95 % interval {:.0} to {:.0} %)",
        100.0 * value,
        100.0 * low,
        100.0 * high
    );
    let next = if looked == all {
        "all of them are decided.".to_owned()
    } else if enough {
        format!(
            "that is known well enough for those looked at, the most certain ones. The {} that are left are less certain and may be right less often.",
            all - looked
        )
    } else {
        // p(1 − p)(z / half)², with the share as it looks now.
        let p = value.clamp(0.1, 0.9);
        let wanted = (p * (1.0 - p) * (1.96 / ENOUGH).powi(2)).ceil() as usize;
        format!(
            "about {} more would tell it within 10 points. Those looked at are the most certain ones.",
            wanted.max(FEWEST).saturating_sub(looked).clamp(1, all - looked)
        )
    };
    (Some(Estimate { value, low, high, n: looked }), enough, format!("{so_far}: {next}"))
}

/// How far people agree where several decided about the same label.
fn agreement(kept: &[Kept]) -> Option<String> {
    let (mut pairs, mut alike) = (0, 0);
    let mut labels = 0;
    for of in by_label(kept).into_values() {
        let words: Vec<&str> =
            of.iter().map(|one| one.decision.as_str()).filter(|word| *word != "skip").collect();
        labels += usize::from(words.len() > 1);
        for (at, one) in words.iter().enumerate() {
            for other in &words[at + 1..] {
                pairs += 1;
                alike += usize::from(one == other);
            }
        }
    }
    if pairs == 0 {
        return None;
    }
    let [value, low, high] = wilson(alike, pairs);
    Some(format!(
        "Where several people decided about the same label ({labels} labels), two of them agree in {alike} of {pairs} comparisons ({:.0} %, 95 % interval {:.0} to {:.0} %).",
        100.0 * value,
        100.0 * low,
        100.0 * high
    ))
}

/// The table that `wimhf relabel RUN --decisions FILE` carries out: what most people decided about each label, and no decision
/// where they do not agree.
///
/// # Errors
/// Where the journal is damaged.
pub fn table(opened: &Opened) -> Result<Vec<u8>, ExploreError> {
    let kept = opened.journal.decisions()?;
    let candidates = opened.candidates()?;
    let known: HashMap<(u32, &str), &Candidate> = (candidates.all.iter())
        .map(|one| ((one.row, opened.source.pairs.pair_id[one.pair as usize].as_str()), one))
        .collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |cells: [&str; 8]| writer.write_record(cells.map(|text| cell(text).into_owned())).is_ok();
    write(["row", "decision", "pair_id", "action", "score", "rule", "reason", "reviewers"]);
    for ((row, id), of) in by_label(&kept) {
        let candidate = known.get(&(row, id));
        let proposed = |word: &str| candidate.is_some_and(|one| one.action == word);
        let words = of.iter().map(|one| one.decision.as_str());
        let words: Vec<&str> = words.map(|word| if proposed(word) { "accept" } else { word }).collect();
        let who: Vec<String> = of.iter().map(|one| format!("{}: {}", one.reviewer, one.decision)).collect();
        // Nothing was proposed that could be accepted.
        let word =
            majority(&words).map(|word| if word == "accept" && candidate.is_none() { "flip" } else { word });
        write([
            &row.to_string(),
            word.unwrap_or_default(),
            id,
            candidate.map_or("", |one| &one.action),
            &candidate.map_or(String::new(), |one| one.score.to_string()),
            candidate.map_or("review", |one| &one.rule),
            candidate.map_or("decided by hand", |one| &one.reason),
            &who.join("; "),
        ]);
    }
    writer
        .into_inner()
        .map_err(|error| ExploreError::asked(format!("the table cannot be written: {error}"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(row: u32) -> Candidate {
        Candidate { pair: row, row, action: "flip".into(), score: 0.9, reason: "r".into(), rule: "s".into() }
    }

    fn kept(reviewer: &str, row: u32, decision: &str) -> Kept {
        Kept {
            seq: 0,
            reviewer: reviewer.into(),
            pair_id: format!("p{row}"),
            row,
            decision: decision.into(),
            time: String::new(),
        }
    }

    #[test]
    fn precision_counts_what_most_want() {
        let all: Vec<(Candidate, String)> = (0..40).map(|row| (candidate(row), format!("p{row}"))).collect();
        let of = |kept: &[Kept]| precision(all.iter().map(|(one, id)| (one, id.as_str())), kept);
        assert!(of(&[]).0.is_none());
        // Two against one; one against one says nothing; skipping says nothing; another action is no proof.
        let few = [
            kept("a", 0, "accept"),
            kept("b", 0, "flip"),
            kept("c", 0, "reject"),
            kept("a", 1, "accept"),
            kept("b", 1, "reject"),
            kept("a", 2, "skip"),
            kept("a", 3, "drop"),
            kept("a", 99, "accept"),
        ];
        // "accept" and "flip" mean the same here; to drop what was to be flipped is another decision.
        let (found, enough, sentence) = of(&few);
        assert_eq!(found.map(|found| (found.value, found.n)), Some((0.5, 2)), "{sentence}");
        assert!(!enough);
        let many: Vec<Kept> =
            (0..40).map(|row| kept("a", row, if row < 36 { "accept" } else { "reject" })).collect();
        let (found, enough, sentence) = of(&many);
        assert_eq!((found.unwrap().value, enough), (0.9, true));
        assert!(sentence.contains("36 of 40") && sentence.contains("all of them"), "{sentence}");
    }

    #[test]
    fn agreement_is_of_the_same_labels() {
        assert!(agreement(&[kept("a", 1, "drop"), kept("b", 2, "drop")]).is_none());
        let said = agreement(&[
            kept("a", 1, "drop"),
            kept("b", 1, "drop"),
            kept("a", 2, "drop"),
            kept("b", 2, "reject"),
        ]);
        assert!(said.unwrap().contains("1 of 2 comparisons"));
    }
}
