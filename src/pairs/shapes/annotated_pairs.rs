//! Annotated-pairs JSON, version 2 (Inverse Constitutional AI, Feedback Forensics): one object with `comparisons`.

use std::collections::BTreeMap;

use polars::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::format::{ColumnMap, FormatAdapter};

pub(super) struct AnnotatedPairs;

/// The columns that a document is turned into.
const COLUMNS: [&str; 6] =
    ["prompt", "response_a.text", "response_b.text", "pref", "annotator", "conversation_id"];

impl FormatAdapter for AnnotatedPairs {
    fn name(&self) -> &'static str {
        "annotated pairs"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["comparisons", "annotators", "metadata"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let [prompt, first, second, label, annotator, _] = COLUMNS;
        let plan = ColumnMap {
            prompt: Some(prompt.into()),
            first: columns.find(&[first])?,
            second: columns.find(&[second])?,
            label: Some(columns.find(&[label])?),
            annotator: columns.find(&[annotator]),
            ..ColumnMap::default()
        };
        Some(plan)
    }

    fn document(&self, bytes: &[u8]) -> Option<Result<DataFrame, String>> {
        let head = bytes.get(..bytes.len().min(1 << 16)).unwrap_or(bytes);
        let says = |text: &[u8], what: &[u8]| text.windows(what.len()).any(|window| window == what);
        // `metadata` is written first by convention only.
        if !says(head, b"\"default_annotator\"") && !says(head, b"\"comparisons\"") {
            return None;
        }
        let document: Result<Document, _> = serde_json::from_slice(bytes);
        match document {
            Ok(document) => Some(document.rows()),
            // Rows that happen to have such a column are no document.
            Err(error) if says(bytes, b"\"comparisons\"") && says(bytes, b"\"annotators\"") => {
                Some(Err(error.to_string()))
            }
            Err(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    metadata: Metadata,
    annotators: BTreeMap<String, Annotator>,
    comparisons: Vec<Comparison>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    default_annotator: Option<String>,
}

#[derive(Deserialize)]
struct Annotator {
    #[serde(default)]
    r#type: Option<String>,
}

#[derive(Deserialize)]
struct Comparison {
    prompt: Option<String>,
    response_a: Response,
    response_b: Response,
    #[serde(default)]
    annotations: BTreeMap<String, Annotation>,
    #[serde(default)]
    metadata: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Response {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Annotation {
    pref: Option<String>,
    no_pref_reason: Option<String>,
}

impl Document {
    /// A row per comparison and judge. Judges are people and whoever is not a principle; else the default annotator.
    fn rows(self) -> Result<DataFrame, String> {
        let is_principle =
            |kind: &Option<String>| matches!(kind.as_deref(), Some("principle" | "non_preference_principle"));
        let mut judges: Vec<&str> =
            self.annotators.iter().filter(|(_, a)| !is_principle(&a.r#type)).map(|(id, _)| &**id).collect();
        if judges.is_empty() {
            judges.extend(self.metadata.default_annotator.as_deref());
        }
        if judges.is_empty() {
            return Err(
                "it names no annotator of type `human` or `unknown` and no `default_annotator`".into()
            );
        }
        let (mut prompt, mut a, mut b) = (Vec::new(), Vec::new(), Vec::new());
        let (mut pref, mut who, mut conversation) = (Vec::new(), Vec::new(), Vec::new());
        for comparison in &self.comparisons {
            let found: Vec<(&str, &Annotation)> =
                judges.iter().filter_map(|id| Some((*id, comparison.annotations.get(*id)?))).collect();
            // A comparison that nobody judged is there all the same.
            let found = if found.is_empty() {
                vec![(None, None)]
            } else {
                found.into_iter().map(|(id, annotation)| (Some(id), Some(annotation))).collect()
            };
            for (id, annotation) in found {
                prompt.push(comparison.prompt.as_deref());
                a.push(comparison.response_a.text.as_deref());
                b.push(comparison.response_b.text.as_deref());
                pref.push(annotation.and_then(Annotation::label));
                who.push(id.filter(|_| judges.len() > 1));
                conversation.push(comparison.metadata.get("conversation_id").and_then(Value::as_str));
            }
        }
        let [c0, c1, c2, c3, c4, c5] = COLUMNS;
        df!(c0 => prompt, c1 => a, c2 => b, c3 => pref, c4 => who, c5 => conversation)
            .map_err(|error| error.to_string())
    }
}

impl Annotation {
    /// The label's word; no preference between two that can be compared is a tie.
    fn label(&self) -> Option<&str> {
        match (self.pref.as_deref(), self.no_pref_reason.as_deref()) {
            (Some(pref), _) => Some(pref),
            (None, None | Some("both" | "neither")) => Some("tie"),
            (None, Some(_)) => None,
        }
    }
}
