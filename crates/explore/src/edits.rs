//! `RUN/edits.toml`: what people reword, hide, flag, merge, pin and drop. `wimhf constitution` reads it.

use std::sync::PoisonError;

use serde::Deserialize;
use serde_json::{Value, json};
use wimhf::constitution::agreement::Agreement;
use wimhf::constitution::edits::{EditFile, FILE, LONGEST_STATEMENT};
use wimhf::store::Estimate;
use wimhf::{ConstitutionRequest, ConstitutionSample, Error};

use crate::error::ExploreError;
use crate::opened::Opened;

/// A change of one feature; what is left out stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// Any name of the feature.
    pub feature: String,
    /// Other words; an empty text takes them back.
    pub reworded: Option<String>,
    /// Not worth a reader's time.
    pub hidden: Option<bool>,
    /// For others to look at.
    pub flagged: Option<bool>,
    /// Says the same as this one; an empty text takes it back.
    pub merged_into: Option<String>,
    /// Must be in the constitution.
    pub pinned: Option<bool>,
    /// Must not be in it.
    pub dropped: Option<bool>,
}

/// The edits of a run; none where there is no file.
///
/// # Errors
/// Where the file is damaged.
pub fn read(opened: &Opened) -> Result<EditFile, ExploreError> {
    let path = opened.run.path.join(FILE);
    if !path.exists() {
        return Ok(EditFile::default());
    }
    EditFile::read(&path).map_err(|error| {
        ExploreError::asked(
            error.to_string(),
            "mend the file or move it away: nothing of it is replaced before",
        )
    })
}

/// Writes a change down.
///
/// # Errors
/// Where a name is unknown, the words cannot be a statement, or nothing can be written.
pub fn change(opened: &Opened, change: &Change) -> Result<Value, ExploreError> {
    let feature = opened.feature(&change.feature)?;
    let id = opened.run.features[feature].feature_id.clone();
    let merged = match change.merged_into.as_deref() {
        None | Some("") => change.merged_into.clone(),
        Some(other) => Some(opened.run.features[opened.feature(other)?].feature_id.clone()),
    };
    if merged.as_ref() == Some(&id) {
        return Err(ExploreError::asked("a feature cannot be merged into itself", "choose another one"));
    }
    let words = change.reworded.as_ref().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    if words.as_ref().is_some_and(|text| text.chars().count() > LONGEST_STATEMENT) {
        return Err(ExploreError::asked(
            format!("a statement has at most {LONGEST_STATEMENT} characters"),
            "",
        ));
    }
    let path = opened.run.path.join(FILE);
    opened.journal.alone(|| {
        let mut file = read(opened)?;
        apply(&mut file, &id, change, words, merged.clone());
        check(&file, merged.as_deref())?;
        let body = toml::to_string(&file)
            .map_err(|error| ExploreError::asked(format!("the edits cannot be written: {error}"), ""))?;
        let text =
            format!("# Edits of this run, kept by `wimhf explore`; `wimhf constitution` reads them.\n{body}");
        wimhf::store::write_bytes(&path, text.as_bytes())
            .map_err(|error| ExploreError::Library(Error::from(wimhf::run::RunError::from(error))))
    })?;
    Ok(json!({"saved": true, "file": path}))
}

fn apply(file: &mut EditFile, id: &str, change: &Change, words: Option<String>, merged: Option<String>) {
    let put = |list: &mut Vec<String>, wanted: Option<bool>| {
        if let Some(wanted) = wanted {
            // A pin may carry a direction: `id:avoid`.
            list.retain(|own| own != id && own.split(':').next() != Some(id));
            if wanted {
                list.push(id.to_owned());
            }
        }
    };
    put(&mut file.hide, change.hidden);
    put(&mut file.flag, change.flagged);
    put(&mut file.pin, change.pinned);
    put(&mut file.drop, change.dropped);
    // The last word counts: what is pinned is not dropped, and the other way round.
    if change.pinned == Some(true) {
        put(&mut file.drop, Some(false));
        put(&mut file.hide, Some(false));
        file.merge.remove(id);
    }
    let out = change.dropped == Some(true)
        || change.hidden == Some(true)
        || merged.as_ref().is_some_and(|to| !to.is_empty());
    if out {
        put(&mut file.pin, Some(false));
    }
    match words {
        Some(text) if text.is_empty() => drop(file.reword.remove(id)),
        Some(text) => drop(file.reword.insert(id.to_owned(), text)),
        None => {}
    }
    match merged {
        Some(to) if to.is_empty() => drop(file.merge.remove(id)),
        Some(to) => drop(file.merge.insert(id.to_owned(), to)),
        None => {}
    }
}

/// Refuses what goes in circles.
fn check(file: &EditFile, merged: Option<&str>) -> Result<(), ExploreError> {
    let mut at = merged;
    for _ in 0..=file.merge.len() {
        match at.and_then(|id| file.merge.get(id)) {
            Some(next) => at = Some(next),
            None => return Ok(()),
        }
    }
    Err(ExploreError::asked(
        "these features would be merged into each other in a circle",
        "take one of them back",
    ))
}

/// The constitution with the edits, and what each of them costs.
///
/// # Errors
/// Where the run has no labels, or the file is damaged.
pub fn constitution(opened: &Opened) -> Result<Value, ExploreError> {
    let path = opened.run.path.join(FILE);
    // Whoever asks meanwhile waits: two at once would take twice the time and the memory.
    let mut tried = opened.constitution.lock().unwrap_or_else(PoisonError::into_inner);
    let file = read(opened)?;
    if let Some((_, shown)) = tried.last.as_ref().filter(|(edits, _)| *edits == file) {
        return Ok(shown.clone());
    }
    let sample = match tried.sample.take() {
        Some(sample) => sample,
        None => ConstitutionSample::of(&opened.run, &opened.source, TRIED_ON).map_err(Error::from)?,
    };
    let sample = tried.sample.insert(sample);
    let request = ConstitutionRequest {
        edits: path.is_file().then(|| path.clone()),
        dry_run: true,
        ..ConstitutionRequest::default()
    };
    let made = opened.run.constitution_of(sample, &request, &mut ())?;
    let found = &made.found;
    let named = |name: &str| {
        let feature = opened.feature(name).ok()?;
        let own = &opened.run.features[feature];
        Some(json!({"feature": own.feature_id, "statement": own.words()}))
    };
    let rules: Vec<Value> = (found.principles.iter())
        .map(|rule| {
            json!({
                "feature": rule.feature_id, "statement": rule.statement, "direction": rule.direction,
                "accuracy": accuracy(&rule.agreement), "pinned": rule.flags.iter().any(|flag| flag == "pinned"),
            })
        })
        .collect();
    let costs: Vec<String> = (found.edits.iter())
        .map(|cost| {
            let one = &cost.linear;
            format!(
                "{}: {} points of the labels that the list picks right (95 % interval {} to {}, {} held-out labels)",
                cost.edit, points(one.value), points(one.low), points(one.high), one.n
            )
        })
        .collect();
    let mut sentence = match &found.linear {
        Some(share) => format!(
            "The list picks the preferred response in {:.0} of 100 held-out labels (95 % interval {:.0} to {:.0}, n = {}).",
            100.0 * share.value,
            100.0 * share.low,
            100.0 * share.high,
            share.n
        ),
        None => wimhf::report::constitution::none_holds(found),
    };
    if found.labels_held_out < opened.run.effects.labels_held_out {
        sentence += " So that edits show at once, it is chosen and measured on some of the labels here; \
                     `wimhf constitution` takes more.";
    }
    let dropped = file.drop.iter().chain(&file.hide).chain(file.merge.keys());
    let shown = json!({
        "rules": rules,
        "dropped": dropped.filter_map(|name| named(name)).collect::<Vec<_>>(),
        "accuracy": found.linear,
        "costs": costs,
        "sentence": sentence,
        "file": path,
    });
    tried.last = Some((file, shown.clone()));
    Ok(shown)
}

/// Labels that a list is chosen on, and as many that it is measured on, at most: what an edit costs is to be seen at once, and is
/// known to a point with so many.
const TRIED_ON: usize = 10_000;

/// How often a rule is right where it says anything, on held-out labels.
fn accuracy(found: &Agreement) -> Option<Estimate> {
    let (low, high) = (found.accuracy_low?, found.accuracy_high?);
    Some(Estimate { value: found.accuracy, low, high, n: found.agree + found.disagree })
}

fn points(share: f64) -> String {
    format!("{:+.1}", 100.0 * share).replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let mut file = EditFile { pin: vec!["a:avoid".into()], ..EditFile::default() };
        let change = |text: &str| -> Change { serde_json::from_str(text).unwrap() };
        let drop = change(r#"{"feature": "a", "dropped": true}"#);
        apply(&mut file, "a", &drop, None, None);
        assert_eq!((file.pin.len(), file.drop.clone()), (0, vec!["a".to_owned()]));
        apply(&mut file, "a", &change(r#"{"feature": "a", "pinned": true}"#), None, None);
        assert_eq!((file.pin.clone(), file.drop.len()), (vec!["a".to_owned()], 0));
        apply(&mut file, "a", &change(r#"{"feature": "a"}"#), Some("Be kind".into()), Some("b".into()));
        assert_eq!(
            (file.pin.len(), file.merge["a"].as_str(), file.reword["a"].as_str()),
            (0, "b", "Be kind")
        );
        assert!(check(&file, Some("b")).is_ok());
        apply(&mut file, "b", &change(r#"{"feature": "b"}"#), None, Some("a".into()));
        assert!(check(&file, Some("a")).is_err());
        apply(&mut file, "a", &change(r#"{"feature": "a"}"#), Some(String::new()), Some(String::new()));
        assert!(file.reword.is_empty() && !file.merge.contains_key("a"));
        assert!(serde_json::from_str::<Change>(r#"{"feature": "a", "hiden": true}"#).is_err());
    }
}
