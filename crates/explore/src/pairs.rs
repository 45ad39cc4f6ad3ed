//! All pairs: filtered, sorted, and one of them with everything that is known of it.

use std::collections::HashSet;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wimhf::describe::{Feature, FeatureSource, contrast};
use wimhf::pairs::MISSING;
use wimhf::report::text::excerpt;

use crate::error::ExploreError;
use crate::opened::Opened;

/// Characters of a text in a list.
const EXCERPT: usize = 220;
/// Pairs in one answer.
const PAGE: usize = 100;

/// What is looked for; everything may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Query {
    /// Words that must stand in the texts.
    pub q: String,
    /// Any name of a feature.
    pub feature: String,
    /// `A`, `B`, `preferred`, `other`, `any`, `none`: which response has more of the feature.
    pub side: String,
    /// `A`, `B`, `tie`, `none`.
    pub label: String,
    /// An annotator.
    pub annotator: String,
    /// A model of either response.
    pub model: String,
    /// The id of a kind of request.
    pub context: String,
    /// Only pairs for which a change is proposed: `1`, or the action.
    pub candidate: String,
    /// `open` or `decided`.
    pub decided: String,
    /// `order`, `activation`, `surprise`, `certainty`, `length`.
    pub sort: String,
    /// `0`: the smallest first.
    pub descending: String,
    /// Pairs to pass over.
    pub offset: usize,
    /// Pairs to show.
    pub limit: Option<usize>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Pairs.
    pub total: usize,
    /// There are more than were looked at.
    pub at_least: bool,
    /// Pairs of the run.
    pub of: usize,
    /// Milliseconds.
    pub took_ms: f64,
    /// The page.
    pub rows: Vec<Row>,
}

/// A pair in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its number in the run.
    pub at: usize,
    /// Its id.
    pub pair_id: String,
    /// The beginning of its texts.
    pub prompt: String,
    /// Of the first response.
    pub a: String,
    /// Of the second.
    pub b: String,
    /// Mean preference for A.
    pub label: Option<f32>,
    /// Labels.
    pub labels: u32,
    /// How strongly the feature is there.
    pub activation: Option<f32>,
    /// Which response has it.
    pub side: Option<&'static str>,
    /// How far the label is from what the run expects, 0 to 1.
    pub surprise: Option<f32>,
    /// How sure the run is of either response, 0 to 1.
    pub certainty: Option<f32>,
    /// What is proposed.
    pub candidate: Option<String>,
    /// How many people have decided about it.
    pub decisions: usize,
}

/// Pairs that fit, in the order that was asked for.
pub struct Chosen {
    /// Numbers of the pairs.
    pub pairs: Vec<u32>,
    /// There are more than were looked at.
    pub at_least: bool,
    feature: Option<usize>,
}

/// Looks for pairs; `top` of them in the order that was asked for come first.
///
/// # Errors
/// Where a name is unknown, or an index is still being made.
pub fn choose(opened: &Opened, query: &Query, top: usize) -> Result<Chosen, ExploreError> {
    let count = opened.labels.len();
    let feature = if query.feature.is_empty() { None } else { Some(opened.feature(&query.feature)?) };
    let mut keep = vec![true; count];
    let mut at_least = false;
    if !query.q.trim().is_empty() {
        let hits = opened.search()?.find(&query.q)?;
        at_least = hits.more;
        only(&mut keep, hits.pairs.iter().copied());
    }
    if let Some(feature) = feature {
        by_side(opened, feature, &query.side, &mut keep)?;
    }
    by_label(opened, &query.label, &mut keep)?;
    by_people(opened, query, &mut keep)?;
    by_review(opened, query, &mut keep)?;
    let mut pairs: Vec<u32> = (0..count as u32).filter(|pair| keep[*pair as usize]).collect();
    sort(opened, query, feature, &mut pairs, top)?;
    Ok(Chosen { pairs, at_least, feature })
}

/// A page of the pairs that fit.
///
/// # Errors
/// As for [`choose`].
pub fn find(opened: &Opened, query: &Query) -> Result<Found, ExploreError> {
    let began = Instant::now();
    let limit = query.limit.unwrap_or(25).min(PAGE);
    let chosen = choose(opened, query, query.offset.saturating_add(limit))?;
    let page: Vec<u32> = chosen.pairs.iter().copied().skip(query.offset).take(limit).collect();
    let rows = rows(opened, &page, chosen.feature)?;
    Ok(Found {
        total: chosen.pairs.len(),
        at_least: chosen.at_least,
        of: opened.labels.len(),
        took_ms: began.elapsed().as_secs_f64() * 1e3,
        rows,
    })
}

/// Keeps only these.
fn only(keep: &mut [bool], pairs: impl Iterator<Item = u32>) {
    let mut own = vec![false; keep.len()];
    pairs.for_each(|pair| {
        if let Some(slot) = own.get_mut(pair as usize) {
            *slot = true;
        }
    });
    keep.iter_mut().zip(own).for_each(|(keep, own)| *keep &= own);
}

fn by_side(opened: &Opened, feature: usize, side: &str, keep: &mut [bool]) -> Result<(), ExploreError> {
    let presence = opened.presence()?;
    let found = presence.pairs(feature);
    let label = |pair: u32| opened.labels[pair as usize].0;
    // Which response has it, against which one was preferred.
    let won = |(pair, is_b): &(u32, bool)| match label(*pair) {
        label if label > 0.5 => Some(!is_b),
        label if label < 0.5 => Some(*is_b),
        _ => None,
    };
    match side {
        "A" => only(keep, found.filter(|(_, is_b)| !is_b).map(|(pair, _)| pair)),
        "B" => only(keep, found.filter(|(_, is_b)| *is_b).map(|(pair, _)| pair)),
        "preferred" => only(keep, found.filter(|one| won(one) == Some(true)).map(|(pair, _)| pair)),
        "other" => only(keep, found.filter(|one| won(one) == Some(false)).map(|(pair, _)| pair)),
        "" | "any" => only(keep, found.map(|(pair, _)| pair)),
        "none" => found.for_each(|(pair, _)| keep[pair as usize] = false),
        other => return Err(unknown("side", other, "A, B, preferred, other, any, none")),
    }
    Ok(())
}

fn unknown(what: &str, word: &str, words: &str) -> ExploreError {
    ExploreError::asked(
        format!("`{what}` cannot be `{}`", crate::opened::shorten(word)),
        format!("one of {words}"),
    )
}

fn by_label(opened: &Opened, label: &str, keep: &mut [bool]) -> Result<(), ExploreError> {
    let fits: fn(f32) -> bool = match label {
        "" => return Ok(()),
        "A" => |label| label > 0.5,
        "B" => |label| label < 0.5,
        "tie" => |label| label == 0.5,
        "none" => f32::is_nan,
        other => return Err(unknown("label", other, "A, B, tie, none")),
    };
    keep.iter_mut().zip(&opened.labels).for_each(|(keep, (label, _))| *keep &= fits(*label));
    Ok(())
}

fn by_people(opened: &Opened, query: &Query, keep: &mut [bool]) -> Result<(), ExploreError> {
    let pairs = &opened.source.pairs;
    if !query.annotator.is_empty() {
        let known = pairs.annotators.iter().position(|name| *name == query.annotator);
        let Some(at) = known.filter(|_| !opened.anonymise) else {
            let message =
                format!("nobody of the name `{}` has judged", crate::opened::shorten(&query.annotator));
            return Err(ExploreError::missing(message, "annotators are named as in the dataset"));
        };
        let own = pairs.judgements.annotator.iter().zip(&pairs.judgements.pair);
        only(keep, own.filter(|(annotator, _)| **annotator == at as u32).map(|(_, pair)| *pair));
    }
    if !query.model.is_empty() {
        let models = opened.models()?;
        let Some(at) = models.names.iter().position(|name| *name == query.model) else {
            let message = format!("no model is called `{}`", crate::opened::shorten(&query.model));
            return Err(ExploreError::missing(message, "models are named as in the dataset"));
        };
        keep.iter_mut().zip(&models.of).for_each(|(keep, of)| *keep &= of.contains(&(at as u32)));
    }
    if !query.context.is_empty() {
        let kinds = opened.kinds()?;
        let Some(kind) = kinds.iter().find(|kind| kind.context_id == query.context) else {
            let ids: Vec<&str> = kinds.iter().map(|kind| kind.context_id.as_str()).collect();
            let message = format!("there is no kind of request `{}`", crate::opened::shorten(&query.context));
            return Err(ExploreError::missing(message, format!("one of {}", ids.join(", "))));
        };
        keep.iter_mut().zip(&kind.inside).for_each(|(keep, inside)| *keep &= *inside);
    }
    Ok(())
}

fn by_review(opened: &Opened, query: &Query, keep: &mut [bool]) -> Result<(), ExploreError> {
    if !matches!(query.candidate.as_str(), "" | "0") {
        let all = &opened.candidates()?.all;
        let fits = |action: &str| query.candidate == "1" || query.candidate == action;
        only(keep, all.iter().filter(|one| fits(&one.action)).map(|one| one.pair));
    }
    let decided = || -> Result<HashSet<u32>, ExploreError> {
        let kept = opened.journal.decisions()?;
        Ok(kept.iter().filter_map(|one| opened.pair(&one.pair_id).ok()).map(|pair| pair as u32).collect())
    };
    match query.decided.as_str() {
        "" => {}
        "decided" => only(keep, decided()?.into_iter()),
        "open" => decided()?.into_iter().for_each(|pair| keep[pair as usize] = false),
        other => return Err(unknown("decided", other, "open, decided")),
    }
    Ok(())
}

/// Puts the first `top` pairs in the order that was asked for.
fn sort(
    opened: &Opened,
    query: &Query,
    feature: Option<usize>,
    pairs: &mut [u32],
    top: usize,
) -> Result<(), ExploreError> {
    let chances = match query.sort.as_str() {
        "surprise" | "certainty" => Some(opened.chances()?.ok_or_else(|| {
            ExploreError::asked(
                "the run has no labels to learn from, so nothing says what was to be expected",
                "",
            )
        })?),
        _ => None,
    };
    let strength = match (query.sort.as_str(), feature) {
        ("activation", Some(feature)) => Some(opened.strength(feature)?),
        ("activation", None) => {
            return Err(ExploreError::asked(
                "how strongly what is there? no feature is named",
                "choose a feature",
            ));
        }
        _ => None,
    };
    let key = |pair: u32| -> f32 {
        let at = pair as usize;
        match (&strength, chances) {
            (Some(strength), _) => strength[at].abs(),
            (None, Some(chances)) if query.sort == "surprise" => {
                surprise(opened.labels[at].0, chances[at]).unwrap_or(-1.0)
            }
            (None, Some(chances)) => (2.0 * chances[at] - 1.0).abs(),
            (None, None) => opened.source.pairs.length_delta[at].abs(),
        }
    };
    match query.sort.as_str() {
        "" | "order" => return Ok(()),
        "activation" | "surprise" | "certainty" | "length" => {}
        other => return Err(unknown("sort", other, "order, activation, surprise, certainty, length")),
    }
    let down = query.descending != "0";
    let before = |x: &(f32, u32), y: &(f32, u32)| {
        let by = if down { y.0.total_cmp(&x.0) } else { x.0.total_cmp(&y.0) };
        by.then(x.1.cmp(&y.1))
    };
    let mut keyed: Vec<(f32, u32)> = pairs.iter().map(|&pair| (key(pair), pair)).collect();
    if top < keyed.len() {
        keyed.select_nth_unstable_by(top, before);
    }
    let end = top.min(keyed.len());
    keyed[..end].sort_unstable_by(before);
    pairs.iter_mut().zip(keyed).for_each(|(slot, (_, pair))| *slot = pair);
    Ok(())
}

/// How far a label is from what was expected.
fn surprise(label: f32, chance: f32) -> Option<f32> {
    (!label.is_nan()).then(|| (label - chance).abs())
}

fn rows(opened: &Opened, page: &[u32], feature: Option<usize>) -> Result<Vec<Row>, ExploreError> {
    let strength = feature.map(|feature| opened.strength(feature)).transpose()?;
    let presence = feature.map(|_| opened.presence()).transpose()?;
    let chances = opened.chances().ok().flatten();
    let decisions = opened.journal.decisions()?;
    let texts = &opened.source.pairs;
    let row = |&pair: &u32| {
        let at = pair as usize;
        let (label, labels) = opened.labels[at];
        let short = |text: &str| excerpt(&opened.shown(text), EXCERPT);
        let id = &texts.pair_id[at];
        let there = presence.zip(feature).and_then(|(presence, feature)| {
            presence.features(at).find(|(own, _)| *own == feature).map(|(_, is_b)| is_b)
        });
        let candidates = opened.candidates().ok();
        Row {
            at,
            pair_id: id.clone(),
            prompt: short(last_message(texts.prompt.get(at))),
            a: short(texts.response_a.get(at)),
            b: short(texts.response_b.get(at)),
            label: (!label.is_nan()).then_some(label),
            labels,
            activation: strength.as_ref().map(|strength| strength[at].abs()),
            side: there.map(side),
            surprise: chances.and_then(|chances| surprise(label, chances[at])),
            certainty: chances.map(|chances| (2.0 * chances[at] - 1.0).abs()),
            candidate: candidates
                .and_then(|found| found.all.iter().find(|one| one.pair == pair))
                .map(|one| one.action.clone()),
            decisions: decisions.iter().filter(|one| one.pair_id == *id && one.decision != "skip").count(),
        }
    };
    Ok(page.iter().map(row).collect())
}

/// The name of a response.
pub fn side(is_b: bool) -> &'static str {
    if is_b { "B" } else { "A" }
}

/// What is answered stands at the end of a long conversation.
fn last_message(prompt: &str) -> &str {
    let from = prompt.rfind("\n\nHuman:").map(|at| at + 2);
    match from {
        Some(from) if prompt.len() > EXCERPT => &prompt[from..],
        _ => prompt,
    }
}

/// One pair with everything that is known of it.
///
/// # Errors
/// Where there is none of that id, or an index is still being made.
pub fn one(opened: &Opened, id: &str) -> Result<Value, ExploreError> {
    let at = opened.pair(id)?;
    let pairs = &opened.source.pairs;
    let [prompt, a, b] = [pairs.prompt.get(at), pairs.response_a.get(at), pairs.response_b.get(at)]
        .map(|text| opened.shown(text));
    let (label, _) = opened.labels[at];
    let judgements = &pairs.judgements;
    let labels: Vec<Value> = (opened.judgements(at).iter())
        .map(|&judgement| {
            let judgement = judgement as usize;
            let who = judgements.annotator[judgement];
            let name = pairs.annotators.get(who as usize).filter(|_| who != MISSING && !opened.anonymise);
            let label = judgements.label[judgement];
            json!({"row": judgements.row[judgement], "annotator": name, "label": (!label.is_nan()).then_some(label)})
        })
        .collect();
    let chance = opened.chances()?.map(|chances| chances[at]);
    let models =
        opened.models()?.of.get(at).map(|of| of.map(|model| opened.models().ok()?.names.get(model as usize)));
    let kinds: Vec<&str> = (opened.kinds()?.iter())
        .filter(|kind| kind.inside.get(at) == Some(&true))
        .map(|kind| kind.text.as_str())
        .collect();
    let candidate = opened.candidates()?.all.iter().find(|one| one.pair as usize == at);
    let decisions: Vec<_> = opened.journal.decisions()?.into_iter().filter(|one| one.pair_id == id).collect();
    Ok(json!({
        "at": at, "pair_id": id, "prompt": prompt, "a": a, "b": b,
        "label": (!label.is_nan()).then_some(label),
        "labels": labels,
        "models": models.filter(|of| of.iter().any(Option::is_some)),
        "contexts": kinds,
        "probability": chance,
        "surprise": chance.and_then(|chance| surprise(label, chance)),
        "features": features(opened, at, [&prompt, &a, &b])?,
        "candidate": candidate,
        "decisions": decisions,
    }))
}

/// What tells the responses of a pair apart, with where it shows, what moves labels most first.
fn features(opened: &Opened, at: usize, [prompt, a, b]: [&str; 3]) -> Result<Vec<Value>, ExploreError> {
    let mut found: Vec<(usize, bool)> = opened.presence()?.features(at).collect();
    let size = |feature: usize| opened.win(feature).map_or(0.0, |win| win.value.abs());
    let first = |feature: usize| opened.principle(feature).is_none();
    found.sort_by(|x, y| {
        first(x.0).cmp(&first(y.0)).then(size(y.0).total_cmp(&size(x.0))).then(x.0.cmp(&y.0))
    });
    // Where the embedder fails nothing is marked: the pair is worth more than its marks.
    let read = opened.reader.places(&[[a, b]]).unwrap_or_default();
    let read = read.first();
    let texts = [a, b];
    let units = [Units::of(a), Units::of(b)];
    found
        .into_iter()
        .filter(|(feature, _)| opened.run.features[*feature].is_said())
        .map(|(feature, is_b)| {
            let own = &opened.run.features[feature];
            let marks = [0, 1].map(|side| {
                let places = places(opened, own, prompt, texts[side], read.map(|read| &read[side]));
                units[side].marks(&places)
            });
            Ok(json!({
                "id": own.feature_id,
                "side": side(is_b),
                "activation": opened.strength(feature)?[at].abs(),
                "marks": {"a": marks[0], "b": marks[1]},
            }))
        })
        .collect()
}

/// The parts of a text in which a feature shows, as byte ranges.
fn places(
    opened: &Opened,
    feature: &Feature,
    prompt: &str,
    text: &str,
    read: Option<&wimhf::featurizer::Places>,
) -> Vec<(usize, usize)> {
    match feature.source {
        FeatureSource::Known => {
            opened.bank.places(feature.concept.as_deref().unwrap_or_default(), prompt, text)
        }
        FeatureSource::Theme => contrast::places(text, &feature.terms),
        _ => read.and_then(|read| read.get(&feature.feature_id)).cloned().unwrap_or_default(),
    }
}

/// Positions of a text in UTF-16 units, where browsers count.
struct Units {
    /// Byte and unit at which each character begins that is not one byte and one unit, in order.
    at: Vec<(u32, u32)>,
}

impl Units {
    fn of(text: &str) -> Self {
        let mut units = 0u32;
        let mut at = Vec::new();
        for (byte, c) in text.char_indices() {
            if !c.is_ascii() {
                at.push((byte as u32 + c.len_utf8() as u32, units + c.len_utf16() as u32));
            }
            units += c.len_utf16() as u32;
        }
        Self { at }
    }

    fn unit(&self, byte: usize) -> u32 {
        let before = self.at.partition_point(|(end, _)| *end as usize <= byte);
        match before.checked_sub(1).and_then(|last| self.at.get(last)) {
            Some((end, units)) => units + (byte as u32 - end),
            None => byte as u32,
        }
    }

    fn marks(&self, places: &[(usize, usize)]) -> Vec<[u32; 2]> {
        places
            .iter()
            .map(|&(from, to)| [self.unit(from), self.unit(to)])
            .filter(|[from, to]| from < to)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_counted_as_browsers_do() {
        let text = "aé😀b\u{0}c 日本 x";
        let units = Units::of(text);
        for (byte, _) in text.char_indices().chain([(text.len(), ' ')]) {
            assert_eq!(units.unit(byte) as usize, text[..byte].encode_utf16().count(), "{byte}");
        }
        assert_eq!(Units::of("plain").marks(&[(0, 2), (3, 3)]), [[0, 2]]);
    }

    #[test]
    fn a_conversation_is_shown_from_its_last_message() {
        let long = format!("{}\n\nHuman: now what?", "x".repeat(400));
        assert_eq!(last_message(&long), "Human: now what?");
        assert_eq!(last_message("a\n\nHuman: b"), "a\n\nHuman: b");
    }
}
