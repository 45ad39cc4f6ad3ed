//! Rating tasks for those who read pairs in another tool: Label Studio's JSON there and back, and a CSV of verdicts from
//! anywhere.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wimhf::Error;

use crate::error::ExploreError;
use crate::journal::Verdict;
use crate::opened::Opened;
use crate::validate;

/// How Label Studio shows a task; the names are those of the fields of a task's `data`.
const LABELING: &str = r#"<View>
  <Header value="Of which response is this true?"/>
  <Text name="description" value="$text"/>
  <Header value="Prompt"/>
  <Text name="prompt" value="$prompt"/>
  <Header value="First response"/>
  <Text name="first" value="$first"/>
  <Header value="Second response"/>
  <Text name="second" value="$second"/>
  <Choices name="answer" toName="description" choice="single" required="true" showInline="true">
    <Choice value="first"/>
    <Choice value="second"/>
    <Choice value="both"/>
    <Choice value="neither"/>
    <Choice value="unsure"/>
  </Choices>
</View>
"#;

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Verdicts that are kept now, those included that were there already.
    pub kept: usize,
    /// Left out, with why, each once.
    pub left_out: Vec<String>,
}

/// Writes the tasks, as many as the page would ask, and beside them `NAME.xml`, how Label Studio shows them. Nothing in them tells what
/// was measured or preferred. The number of tasks, and the files.
///
/// # Errors
/// Where an index is still being made, or a file cannot be written.
pub fn write(opened: &Opened, path: &Path) -> Result<(usize, [PathBuf; 2]), ExploreError> {
    let tasks: Vec<Value> = validate::all(opened)?.into_iter().map(|data| json!({"data": data})).collect();
    let labeling = path.with_extension("xml");
    let text = serde_json::to_string_pretty(&tasks)
        .map_err(|error| ExploreError::asked(format!("the tasks cannot be written: {error}"), ""))?;
    for (path, text) in [(path, text.as_str()), (labeling.as_path(), LABELING)] {
        wimhf::store::write_bytes(path, text.as_bytes())
            .map_err(|error| ExploreError::Library(Error::from(wimhf::run::RunError::from(error))))?;
    }
    Ok((tasks.len(), [path.to_path_buf(), labeling]))
}

/// Keeps the verdicts of a file: Label Studio's JSON (or JSON-MIN), or a CSV with `rater`, `feature`, `pair_id` and `answer`. The same
/// file twice changes nothing.
///
/// # Errors
/// Where the file is neither, or nothing can be written.
pub fn read(opened: &Opened, path: &Path) -> Result<Imported, ExploreError> {
    let name = path.display();
    let bytes =
        wimhf::limits::read(path).map_err(|source| ExploreError::File { path: name.to_string(), source })?;
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let found = if begins == Some(&b'[') {
        let tasks: Vec<Value> = serde_json::from_slice(&bytes)
            .map_err(|error| ExploreError::asked(format!("`{name}` cannot be read: {error}"), HINT))?;
        tasks.iter().flat_map(of_label_studio).collect()
    } else {
        of_csv(&bytes).map_err(|error| ExploreError::asked(format!("`{name}` {error}"), HINT))?
    };
    let mut imported = Imported::default();
    for [rater, feature, pair_id, answer] in found {
        let mut hash = Sha256::new();
        for part in [&rater, &feature, &pair_id, &answer] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let id = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let verdict = Verdict { id, rater, feature, pair_id, answer };
        match validate::judge(opened, &verdict) {
            Ok(_) => imported.kept += 1,
            Err(error @ (ExploreError::Asked { .. } | ExploreError::Missing { .. })) => {
                let why = error.to_string();
                if !imported.left_out.contains(&why) {
                    imported.left_out.push(why);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(imported)
}

const HINT: &str = "Label Studio's export as JSON or JSON-MIN, or a CSV with the columns rater, feature, pair_id and answer (first, second, both, neither, unsure)";

/// The verdicts of one task: rater, feature, pair, answer.
fn of_label_studio(task: &Value) -> Vec<[String; 4]> {
    let data = task.get("data").unwrap_or(task);
    let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
    let who = |by: &Value| match by {
        Value::String(name) => name.clone(),
        Value::Number(number) => format!("rater {number}"),
        Value::Object(fields) => fields.get("email").and_then(Value::as_str).unwrap_or("rater").to_owned(),
        _ => "rater".to_owned(),
    };
    let verdict =
        |by: &Value, answer: &str| [who(by), text("feature"), text("pair_id"), answer.to_lowercase()];
    let Some(annotations) = task["annotations"].as_array() else {
        // JSON-MIN: the answer stands in the task itself.
        let answer = task["answer"].as_str().into_iter();
        return answer.map(|answer| verdict(&task["annotator"], answer)).collect();
    };
    (annotations.iter())
        .filter(|annotation| annotation["was_cancelled"] != true)
        .filter_map(|annotation| {
            let results = annotation["result"].as_array()?;
            let own = results.iter().find(|one| one["from_name"] == "answer")?;
            Some(verdict(&annotation["completed_by"], own["value"]["choices"][0].as_str()?))
        })
        .collect()
}

fn of_csv(bytes: &[u8]) -> Result<Vec<[String; 4]>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(|name| name.trim().to_lowercase()).collect(),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let place = |wanted: &[&str]| {
        let found = wanted.iter().find_map(|name| names.iter().position(|own| own == name));
        found.ok_or_else(|| format!("has no column `{}`", wanted[0]))
    };
    let at =
        [place(&["rater"])?, place(&["feature", "feature_id"])?, place(&["pair_id"])?, place(&["answer"])?];
    let mut found = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| format!("cannot be read: {error}"))?;
        let cells = at.map(|at| record.get(at).unwrap_or_default().trim().to_owned());
        if !cells[3].is_empty() {
            let [rater, feature, pair, answer] = cells;
            found.push([rater, feature, pair, answer.to_lowercase()]);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::ANSWERS;

    #[test]
    fn what_label_studio_exports_is_read() {
        let task = json!({
            "data": {"feature": "f", "pair_id": "p"},
            "annotations": [
                {"completed_by": {"email": "a@b.c"}, "result": [{"from_name": "answer", "value": {"choices": ["first"]}}]},
                {"completed_by": 7, "result": [{"from_name": "answer", "value": {"choices": ["Both"]}}]},
                {"completed_by": 8, "was_cancelled": true, "result": []},
                {"completed_by": 9, "result": []},
            ],
        });
        let found = of_label_studio(&task);
        assert_eq!(
            found,
            [["a@b.c", "f", "p", "first"], ["rater 7", "f", "p", "both"]].map(|one| one.map(str::to_owned))
        );
        let small = json!({"feature": "f", "pair_id": "p", "answer": "neither", "annotator": 3});
        assert_eq!(of_label_studio(&small), [["rater 3", "f", "p", "neither"].map(str::to_owned)]);
        assert!(of_label_studio(&json!({"feature": "f"})).is_empty());
    }

    #[test]
    fn a_table_of_verdicts_is_read_or_refused() {
        let found =
            of_csv(b"\xef\xbb\xbfpair_id,answer,rater,feature_id\np,First,anna,f\nq,,anna,f\n").unwrap();
        assert_eq!(found, [["anna", "f", "p", "first"].map(str::to_owned)]);
        assert!(of_csv(b"a,b\n1,2\n").unwrap_err().contains("no column `rater`"));
        for answer in ANSWERS {
            assert!(LABELING.contains(&format!("<Choice value=\"{answer}\"/>")));
        }
    }
}
