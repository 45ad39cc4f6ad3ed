//! `annotated_pairs.json`: the format of Inverse Constitutional AI and Feedback Forensics, version 2.0.
//!
//! Every principle is an annotator that votes for the side with more of it, so that Feedback Forensics
//! shows the relevance, κ and strength that `principles.json` holds (checked against 0.5.0 by
//! `tests/interop/`). Those are figures of held-out labels, so by default only held-out labels are in it.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::rows::{Rows, rows};
use crate::constitution::Principle;
use crate::describe::Feature;
use crate::matrix::Matrix;
use crate::pairs::{MISSING, Pairs, Split};
use crate::store::{StoreError, write_file};

/// Feedback Forensics 0.5.0 knows the default annotator by this id only.
const DEFAULT: &str = "ba751e7b";
/// What the app of Feedback Forensics (0.5.0) looks for by name, and opens with errors where it is missing.
const NAME: &str = "preferred_text";
const DEFAULT_DESCRIPTION: &str = "Default annotator from original dataset (from column `preferred_text`)";
/// Principles begin with these words.
const SELECT: &str = "Select the response that";

/// What the file is made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The dataset's name.
    pub dataset: &'a str,
    /// The annotators.
    pub principles: &'a [Principle],
    /// Names of the columns of `presence`.
    pub features: &'a [Feature],
    /// −1, 0 or +1, `[pairs, features]`: what annotators vote by.
    pub presence: &'a Matrix,
    /// The dataset.
    pub pairs: &'a Pairs,
    /// The side of each pair, `[pairs]`.
    pub sides: &'a [Split],
    /// Only the held-out labels.
    pub held_out: bool,
}

/// A principle as an annotator.
struct Annotator {
    id: String,
    text: String,
    column: usize,
}

/// Writes the file and returns the number of comparisons: one for each label, ties included.
///
/// # Errors
/// Where it cannot be written.
pub fn write(path: &Path, input: Input<'_>) -> Result<usize, StoreError> {
    let annotators = annotators(input.principles, input.features);
    let chosen = |unlabelled| {
        let choice = Rows { held_out: input.held_out, ties: true, unlabelled };
        rows(input.pairs, input.sides, choice)
    };
    let mut all = chosen(false);
    if all.is_empty() {
        // Its reader cannot open a file without comparisons.
        all = chosen(true);
    }
    write_file(path, |out| {
        let io = |source| StoreError::Io { action: "write", path: path.into(), source };
        let mut line = |text: String| out.write_all(text.as_bytes()).map_err(io);
        let metadata = json!({
            "version": "2.0",
            "default_annotator": DEFAULT,
            "description": "Written by wimhf: principles found in the labels, each voting for the side with more of it",
            "dataset_name": input.dataset,
            "available_metadata_keys_per_comparison": ["side", "annotator_id"],
        });
        line(format!("{{\n\"metadata\": {metadata},\n\"annotators\": {{\n"))?;
        let default = json!({"name": NAME, "description": DEFAULT_DESCRIPTION, "type": "human"});
        line(format!("\"{DEFAULT}\": {default}"))?;
        for annotator in &annotators {
            let value = json!({"description": annotator.text, "type": "principle"});
            line(format!(",\n\"{}\": {value}", annotator.id))?;
        }
        line("\n},\n\"comparisons\": [".into())?;
        let mut named = HashSet::new();
        for (at, &judgement) in all.iter().enumerate() {
            let value = comparison(input, &annotators, judgement, &mut named);
            line(format!("{}\n{value}", if at > 0 { "," } else { "" }))?;
        }
        line("\n]\n}\n".into())
    })?;
    Ok(all.len())
}

/// One label of one pair.
fn comparison(input: Input<'_>, annotators: &[Annotator], judgement: u32, named: &mut HashSet<u32>) -> Value {
    let Input { pairs, .. } = input;
    let judgements = &pairs.judgements;
    let at = judgement as usize;
    let (pair, row) = (judgements.pair[at], judgements.row[at]);
    let pair_id = &pairs.pair_id[pair as usize];
    // One id, one comparison: further labels of a pair are told apart by their row.
    let id = if named.insert(pair) { pair_id.clone() } else { format!("{pair_id}-{row}") };
    let label = judgements.label[at];
    let preferred = match label {
        label if label > 0.5 => json!("a"),
        label if label < 0.5 => json!("b"),
        _ => Value::Null,
    };
    let mut annotations = serde_json::Map::new();
    annotations.insert(DEFAULT.into(), json!({"pref": preferred}));
    for annotator in annotators {
        let z = input.presence.row(pair as usize)[annotator.column];
        let vote = if z > 0.0 {
            json!({"pref": "a"})
        } else if z < 0.0 {
            json!({"pref": "b"})
        } else {
            json!({"pref": null, "no_pref_reason": "not_applicable"})
        };
        annotations.insert(annotator.id.clone(), vote);
    }
    // Its readers take a text that says "nan" for one that is missing.
    let text = |text: &str| if text == "nan" { "nan ".to_owned() } else { text.to_owned() };
    let prompt = pairs.prompt.get(pair as usize);
    let annotator = judgements.annotator[at];
    let mut metadata = json!({
        "pair_id": pair_id,
        "row": row.to_string(),
        "side": input.sides[pair as usize].name(),
        // Every comparison has every key: its readers make columns of them.
        "annotator_id": "",
    });
    if annotator != MISSING
        && let Some(name) = pairs.annotators.get(annotator as usize)
    {
        metadata["annotator_id"] = json!(name);
    }
    json!({
        "id": id,
        "prompt": if prompt.is_empty() { Value::Null } else { json!(prompt) },
        "response_a": {"text": text(pairs.response_a.get(pair as usize))},
        "response_b": {"text": text(pairs.response_b.get(pair as usize))},
        "annotations": annotations,
        "metadata": metadata,
    })
}

/// Principles as annotators with texts and ids of their own.
fn annotators(principles: &[Principle], features: &[Feature]) -> Vec<Annotator> {
    let mut texts: HashSet<String> = HashSet::new();
    let mut ids: HashSet<String> = HashSet::from([DEFAULT.to_owned()]);
    let mut annotators = Vec::new();
    for principle in principles {
        let Some(id) = principle.feature_ids.first() else { continue };
        let Some(column) = features.iter().position(|feature| &feature.feature_id == id) else { continue };
        let clause = principle
            .statement
            .split_once(" the response that ")
            .map_or(principle.statement.as_str(), |(_, clause)| clause);
        let mut text = format!("{SELECT} {clause}");
        // Its reader compares texts without these words and the dots around them.
        let plain = |text: &str| text.replace(SELECT, "").trim_matches([' ', '.']).to_owned();
        if !texts.insert(plain(&text)) {
            text = format!("{text} ({id})");
            texts.insert(plain(&text));
        }
        let mut short = hash(&text);
        while !ids.insert(short.clone()) {
            text.push(' ');
            short = hash(&text);
        }
        annotators.push(Annotator { id: short, text, column });
    }
    annotators
}

/// The first eight hex digits of the MD5 of a text: an id, not a secret.
fn hash(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_annotators_id_is_its_descriptions_hash() {
        assert_eq!(hash(DEFAULT_DESCRIPTION), DEFAULT);
    }

    #[test]
    fn principles_have_texts_and_ids_of_their_own() {
        let features: Vec<Feature> = ["x", "y", "z"]
            .iter()
            .map(|id| Feature { feature_id: (*id).to_owned(), ..Feature::default() })
            .collect();
        let principle = |statement: &str, id: &str| Principle {
            statement: statement.into(),
            feature_ids: vec![id.into()],
            ..Principle::default()
        };
        let found = annotators(
            &[
                principle("Avoid the response that is long", "x"),
                principle("Prefer the response that is long.", "y"),
                principle("Prefer the response that is gone", "nowhere"),
                principle("No such form", "z"),
            ],
            &features,
        );
        let texts: Vec<&str> = found.iter().map(|annotator| annotator.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "Select the response that is long",
                "Select the response that is long. (y)",
                "Select the response that No such form"
            ]
        );
        assert_eq!(found.iter().map(|annotator| annotator.column).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
