//! JSON exports of annotation tools: Label Studio's tasks and Argilla's records, a row per answer.

use polars::prelude::*;
use serde_json::{Map, Value};

use super::argilla::first_choice;
use super::paired;
use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::format::{ColumnMap, FormatAdapter};
use crate::pairs::literal::WRAPPED;

pub(super) struct LabelStudio;
pub(super) struct ArgillaRecords;

/// Columns that an export is given besides its own.
const LABEL: &str = "label";
const WHO: &str = "annotator_id";

/// An answer to a task: fields of the task, label, who gave it.
type Answer<'a> = (&'a Map<String, Value>, Option<String>, Option<String>);

impl FormatAdapter for LabelStudio {
    fn name(&self) -> &'static str {
        "Label Studio export"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["data", "annotations"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let found = paired::responses(columns)?;
        Some(ColumnMap { label: Some(columns.find(&[LABEL])?), annotator: columns.find(&[WHO]), ..found })
    }

    fn is_document(&self) -> bool {
        true
    }

    fn document(&self, bytes: &[u8]) -> Option<Result<DataFrame, String>> {
        let tasks = array(bytes, &["\"data\"", "\"result\""])?;
        let is_task = |task: &Value| {
            task.get("data").is_some_and(Value::is_object)
                && task.get("annotations").or(task.get("completions")).is_some_and(Value::is_array)
        };
        tasks.iter().all(is_task).then_some(())?;
        let mut answers: Vec<Answer<'_>> = Vec::new();
        for task in &tasks {
            let Some(data) = task.get("data").and_then(Value::as_object) else { continue };
            let given = task.get("annotations").or(task.get("completions")).and_then(Value::as_array);
            let before = answers.len();
            for annotation in given.into_iter().flatten() {
                if annotation.get("was_cancelled") == Some(&Value::Bool(true)) {
                    continue;
                }
                let who = match annotation.get("completed_by") {
                    Some(Value::Object(user)) => user.get("email").or(user.get("id")).map(plain),
                    Some(Value::Null) | None => None,
                    Some(user) => Some(plain(user)),
                };
                answers.push((data, selected(annotation).map(|side| shown(data, annotation, side)), who));
            }
            // A task that nobody has answered is there all the same.
            if answers.len() == before {
                answers.push((data, None, None));
            }
        }
        Some(table(&answers))
    }
}

/// What was selected in an annotation: the side of a pairwise control, or the one choice.
fn selected(annotation: &Value) -> Option<String> {
    let results = annotation.get("result")?.as_array()?;
    let value = |kind: &str| results.iter().filter_map(|r| r.get("value")?.get(kind)).next();
    let choice = || value("choices")?.as_array()?.first().map(plain);
    value("selected").map(plain).or_else(choice).or_else(|| value("rating").map(plain))
}

/// The field of the task that was shown on the selected side, where the control names the two: `left` is the first of
/// `to_name`, whatever the fields are called and in which order they stand.
fn shown(data: &Map<String, Value>, annotation: &Value, side: String) -> String {
    let results = annotation.get("result").and_then(Value::as_array).into_iter().flatten();
    let control = results.filter_map(|result| result.get("to_name")?.as_str()).find_map(|names| {
        let (left, right) = names.split_once(',')?;
        let (left, right) = (left.trim(), right.trim());
        (data.contains_key(left) && data.contains_key(right)).then_some((left, right))
    });
    match (control, side.as_str()) {
        (Some((left, _)), "left") => left.to_owned(),
        (Some((_, right)), "right") => right.to_owned(),
        _ => side,
    }
}

impl FormatAdapter for ArgillaRecords {
    fn name(&self) -> &'static str {
        "Argilla records"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["fields", "responses"]
    }

    fn recognise(&self, columns: &Columns, options: &ReadOptions) -> Option<ColumnMap> {
        LabelStudio.recognise(columns, options)
    }

    fn is_document(&self) -> bool {
        true
    }

    fn document(&self, bytes: &[u8]) -> Option<Result<DataFrame, String>> {
        let records = array(bytes, &["\"fields\"", "\"responses\""])?;
        let is_record = |record: &Value| {
            record.get("fields").is_some_and(Value::is_object) && record.get("responses").is_some()
        };
        records.iter().all(is_record).then_some(())?;
        let mut answers: Vec<Answer<'_>> = Vec::new();
        for record in &records {
            let Some(fields) = record.get("fields").and_then(Value::as_object) else { continue };
            let before = answers.len();
            match record.get("responses") {
                // By question: {"preference": [{"value", "user_id"}]}.
                Some(Value::Object(questions)) => {
                    let given = question(questions).and_then(Value::as_array);
                    answers.extend(
                        given
                            .into_iter()
                            .flatten()
                            .filter(|a| counts(a))
                            .map(|a| (fields, first_choice(a), user(a))),
                    );
                }
                // By person: [{"user_id", "values": {"preference": {"value"}}}].
                Some(Value::Array(people)) => {
                    for person in people.iter().filter(|person| counts(person)) {
                        let label = person
                            .get("values")
                            .and_then(Value::as_object)
                            .and_then(question)
                            .and_then(first_choice);
                        answers.push((fields, label, user(person)));
                    }
                }
                _ => {}
            }
            if answers.len() == before {
                answers.push((fields, None, None));
            }
        }
        Some(table(&answers))
    }
}

/// The question about preference among several.
fn question(questions: &Map<String, Value>) -> Option<&Value> {
    let about = |name: &str| {
        ["prefer", "rank", "choice", "best", "better", "compar", "winner"]
            .iter()
            .any(|word| name.contains(word))
    };
    let named = questions.iter().find(|(name, _)| about(&name.to_lowercase()));
    named.or_else(|| questions.iter().next()).map(|(_, value)| value)
}

fn counts(answer: &Value) -> bool {
    !matches!(answer.get("status").and_then(Value::as_str), Some("discarded" | "draft"))
}

fn user(answer: &Value) -> Option<String> {
    answer.get("user_id").filter(|user| !user.is_null()).map(plain)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The elements of an array, or of JSON lines, where all these words stand in the text.
fn array(bytes: &[u8], words: &[&str]) -> Option<Vec<Value>> {
    let head = bytes.get(..bytes.len().min(1 << 20)).unwrap_or(bytes);
    let says = |word: &&str| head.windows(word.len()).any(|window| window == word.as_bytes());
    words.iter().all(says).then_some(())?;
    let values = match serde_json::from_slice(bytes) {
        Ok(Value::Array(values)) => values,
        Ok(Value::Object(mut object)) => match object.remove("records").or_else(|| object.remove("tasks")) {
            Some(Value::Array(values)) => values,
            _ => vec![Value::Object(object)],
        },
        Ok(_) => return None,
        Err(_) => {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            lines.map(|line| serde_json::from_slice(line).ok()).collect::<Option<Vec<Value>>>()?
        }
    };
    (!values.is_empty()).then_some(values)
}

/// A column for every field, then label and annotator; nested fields stay what they are, wrapped as text.
fn table(answers: &[Answer<'_>]) -> Result<DataFrame, String> {
    let mut names: Vec<&String> = Vec::new();
    for name in answers.iter().flat_map(|(fields, ..)| fields.keys()) {
        if !names.contains(&name) && name != LABEL && name != WHO {
            names.push(name);
        }
    }
    let cell = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => Some(format!("{WRAPPED}{value}")),
        other => Some(other.to_string()),
    };
    let mut columns: Vec<Column> = (names.iter())
        .map(|name| {
            let cells: Vec<Option<String>> =
                answers.iter().map(|(fields, ..)| fields.get(*name).and_then(cell)).collect();
            Column::new(name.as_str().into(), cells)
        })
        .collect();
    let labels: Vec<Option<&str>> = answers.iter().map(|(_, label, _)| label.as_deref()).collect();
    let people: Vec<Option<&str>> = answers.iter().map(|(_, _, who)| who.as_deref()).collect();
    columns.push(Column::new(LABEL.into(), labels));
    columns.push(Column::new(WHO.into(), people));
    DataFrame::new(answers.len(), columns).map_err(|error| error.to_string())
}
