//! Are the words true? People say of which response a description is true, without seeing what was measured or preferred.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wimhf::export::tables::cell;
use wimhf::pairs::Split;
use wimhf::statistics::krippendorff;
use wimhf::statistics::share::wilson;
use wimhf::store::Estimate;

use crate::error::ExploreError;
use crate::journal::{Said, Verdict};
use crate::opened::Opened;

/// Features that are read.
const FEATURES: usize = 20;
/// Held-out pairs of each in which it tells the responses apart, and in which it does not.
const PAIRS: [usize; 2] = [8, 2];
/// Verdicts from which on other words are advised, where fewer than [`TRUE`] of them agree.
const FEWEST: usize = 8;
const TRUE: f64 = 0.6;

/// A pair to be read for a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Task {
    feature: usize,
    pair: usize,
    /// B is shown first.
    swapped: bool,
    /// Which response has the feature: 1 for A, −1 for B, 0 for neither.
    sign: i8,
}

/// What is next for a rater, and what people say so far.
///
/// # Errors
/// Where the journal is damaged, or an index is still being made.
pub fn validate(opened: &Opened, rater: &str) -> Result<Value, ExploreError> {
    let tasks = tasks(opened)?;
    let said = opened.journal.verdicts()?;
    let ids = &opened.source.pairs.pair_id;
    let id = |task: &Task| (opened.run.features[task.feature].feature_id.as_str(), ids[task.pair].as_str());
    let mine: HashMap<(&str, &str), &Said> = (said.iter())
        .filter(|one| one.rater == rater.trim())
        .map(|one| ((one.feature.as_str(), one.pair_id.as_str()), one))
        .collect();
    let next = tasks.iter().find(|task| !mine.contains_key(&id(task))).map(|task| shown(opened, task));
    let done = tasks.iter().filter(|task| mine.contains_key(&id(task))).count();
    let mut features = Vec::new();
    let (mut all, mut right) = (0, 0);
    for &feature in &features_of(opened) {
        let figures = figures(opened, feature, &tasks, &said);
        all += figures.judged;
        right += figures.right;
        features.push(figures.value(opened, feature));
    }
    let sentence = if all == 0 {
        format!(
            "{} pairs wait to be read, {} descriptions with up to {} each.",
            tasks.len(),
            features.len(),
            PAIRS[0] + PAIRS[1]
        )
    } else {
        let [value, low, high] = wilson(right, all);
        format!(
            "People agree with the words in {right} of {all} readings ({:.0} %, 95 % interval {:.0} to {:.0} %).",
            100.0 * value,
            100.0 * low,
            100.0 * high
        )
    };
    Ok(json!({"task": next, "done": done, "of": tasks.len(), "features": features, "sentence": sentence}))
}

/// Every task as it is shown, for other tools.
///
/// # Errors
/// While an index is being made.
pub fn all(opened: &Opened) -> Result<Vec<Value>, ExploreError> {
    Ok(tasks(opened)?.iter().map(|task| shown(opened, task)).collect())
}

/// The features whose words are worth reading: principles first.
fn features_of(opened: &Opened) -> Vec<usize> {
    let speaks = |at: &&usize| opened.run.features[**at].speaks() && opened.run.features[**at].is_said();
    opened.order.iter().filter(speaks).take(FEATURES).copied().collect()
}

/// What is read, the first pair of every feature before the second of any.
fn tasks(opened: &Opened) -> Result<Vec<Task>, ExploreError> {
    let presence = opened.presence()?;
    let held_out = |pair: usize| opened.source.sides.get(pair) == Some(&Split::Test);
    let count = opened.labels.len();
    let mut turns: Vec<Vec<Task>> = Vec::new();
    for &feature in &features_of(opened) {
        // Pairs stand in the order of their ids, which are hashes: whatever comes after any place is a random draw.
        let start = draw(opened, feature) as usize;
        let told: Vec<(u32, bool)> = presence.pairs(feature).collect();
        let present: HashSet<u32> = told.iter().map(|(pair, _)| *pair).collect();
        let task = |pair: usize, sign: i8, turn: usize| Task {
            feature,
            pair,
            swapped: (start >> (turn % 16)) & 1 == 1,
            sign,
        };
        let apart = (0..told.len())
            .map(|turn| told[(start + turn) % told.len()])
            .filter(|(pair, _)| held_out(*pair as usize))
            .take(PAIRS[0])
            .enumerate()
            .map(|(turn, (pair, is_b))| task(pair as usize, if is_b { -1 } else { 1 }, turn));
        let silent = (0..count)
            .map(|turn| (start + turn) % count)
            .filter(|pair| held_out(*pair) && !present.contains(&(*pair as u32)))
            .take(PAIRS[1])
            .enumerate()
            .map(|(turn, pair)| task(pair, 0, PAIRS[0] + turn));
        let mut own: Vec<Task> = apart.chain(silent).collect();
        // Nobody should know from the order which are which.
        own.sort_by_key(|task| (task.pair.wrapping_mul(0x9e37_79b9) ^ start) & 0xffff);
        turns.push(own);
    }
    let most = PAIRS[0] + PAIRS[1];
    Ok((0..most).flat_map(|turn| turns.iter().filter_map(move |own| own.get(turn).cloned())).collect())
}

/// A number that depends on the run's seed and the feature alone.
fn draw(opened: &Opened, feature: usize) -> u32 {
    let mut hash = Sha256::new();
    hash.update(opened.run.manifest.seed.to_le_bytes());
    hash.update(opened.run.features[feature].feature_id.as_bytes());
    hash.finalize().iter().take(4).fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

fn shown(opened: &Opened, task: &Task) -> Value {
    let (pairs, own) = (&opened.source.pairs, &opened.run.features[task.feature]);
    let (a, b) =
        (opened.shown(pairs.response_a.get(task.pair)), opened.shown(pairs.response_b.get(task.pair)));
    let (first, second) = if task.swapped { (b, a) } else { (a, b) };
    json!({
        "feature": own.feature_id, "text": own.description, "pair_id": pairs.pair_id[task.pair],
        "prompt": opened.shown(pairs.prompt.get(task.pair)), "first": first, "second": second,
    })
}

/// What people say of a feature.
#[derive(Debug, Clone, Default, PartialEq)]
struct Figures {
    judged: usize,
    right: usize,
    raters: usize,
    alpha: Option<f64>,
}

fn figures(opened: &Opened, feature: usize, tasks: &[Task], said: &[Said]) -> Figures {
    let id = &opened.run.features[feature].feature_id;
    let ids = &opened.source.pairs.pair_id;
    let own: HashMap<&str, &Task> = tasks
        .iter()
        .filter(|task| task.feature == feature)
        .map(|task| (ids[task.pair].as_str(), task))
        .collect();
    let answers = said.iter().filter(|one| one.feature == *id && one.answer != "unsure");
    let read = answers.filter_map(|one| {
        let task = own.get(one.pair_id.as_str())?;
        Some((one.rater.as_str(), one.pair_id.as_str(), side_of(&one.answer, task.swapped), task.sign))
    });
    let mut units: BTreeMap<&str, Vec<Option<i8>>> = BTreeMap::new();
    let mut raters = std::collections::BTreeSet::new();
    let mut found = Figures::default();
    for (rater, pair, side, sign) in read {
        raters.insert(rater);
        units.entry(pair).or_default().push(Some(side));
        found.judged += 1;
        found.right += usize::from(side == sign);
    }
    found.raters = raters.len();
    found.alpha = krippendorff::nominal(&units.into_values().collect::<Vec<_>>());
    found
}

/// 1 where the description is true of A alone, −1 of B alone, 0 otherwise.
fn side_of(answer: &str, swapped: bool) -> i8 {
    let first = if swapped { -1 } else { 1 };
    match answer {
        "first" => first,
        "second" => -first,
        _ => 0,
    }
}

impl Figures {
    fn value(&self, opened: &Opened, feature: usize) -> Value {
        let own = &opened.run.features[feature];
        let right = (self.judged > 0).then(|| {
            let [value, low, high] = wilson(self.right, self.judged);
            Estimate { value, low, high, n: self.judged }
        });
        json!({
            "feature": own.feature_id, "text": own.description, "judged": self.judged, "raters": self.raters,
            "right": right, "machine": crate::server::fidelity(own), "alpha": self.alpha,
            "rename": self.judged >= FEWEST && right.is_some_and(|right| right.value < TRUE),
        })
    }
}

/// Keeps a verdict about a pair and a feature that there are.
///
/// # Errors
/// Where there are not, or nothing can be written.
pub fn judge(opened: &Opened, verdict: &Verdict) -> Result<Value, ExploreError> {
    opened.pair(&verdict.pair_id)?;
    opened.feature(&verdict.feature)?;
    opened.journal.judge(verdict)?;
    Ok(json!({"saved": true}))
}

/// Every verdict with what was measured, for those who go on elsewhere.
///
/// # Errors
/// Where the journal is damaged, or an index is still being made.
pub fn table(opened: &Opened) -> Result<Vec<u8>, ExploreError> {
    let tasks = tasks(opened)?;
    let ids = &opened.source.pairs.pair_id;
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |cells: [&str; 7]| writer.write_record(cells.map(|text| cell(text).into_owned())).is_ok();
    write(["rater", "feature_id", "description", "pair_id", "people_say", "measured", "time"]);
    for one in opened.journal.verdicts()? {
        let Ok(feature) = opened.feature(&one.feature) else { continue };
        let task = tasks.iter().find(|task| task.feature == feature && ids[task.pair] == one.pair_id);
        let Some(task) = task else { continue };
        let word = |side: i8| match side {
            1 => "A",
            -1 => "B",
            _ => "neither",
        };
        let said = match one.answer.as_str() {
            answer @ ("both" | "unsure") => answer,
            answer => word(side_of(answer, task.swapped)),
        };
        let description = &opened.run.features[feature].description;
        write([&one.rater, &one.feature, description, &one.pair_id, said, word(task.sign), &one.time]);
    }
    writer
        .into_inner()
        .map_err(|error| ExploreError::asked(format!("the table cannot be written: {error}"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_first_is_turned_back() {
        assert_eq!((side_of("first", false), side_of("first", true)), (1, -1));
        assert_eq!((side_of("second", true), side_of("both", true)), (1, 0));
    }
}
