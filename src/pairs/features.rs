//! What `datasets` keeps beside its tables: features, among them the names behind `ClassLabel` numbers.

use std::collections::HashMap;
use std::path::Path;

use polars::prelude::{DataType, Schema};
use polars_arrow::datatypes::Metadata;
use serde_json::{Value, json};

/// Names of classes by column.
pub(super) type Classes = HashMap<String, Vec<String>>;

/// The key under which `datasets` keeps its features in a schema.
pub(super) const KEY: &str = "huggingface";

/// The features in the metadata of an Arrow schema.
pub(super) fn of_arrow(metadata: &Metadata) -> Option<String> {
    metadata.get(KEY).map(ToString::to_string)
}

/// Folders above that of a file in which a clone from the Hub keeps what is about it: `data/train-….parquet`,
/// `config/split/0000.parquet`.
const ABOVE: usize = 2;

/// Names of the classes of every column that has some: from the schema's own metadata, from the
/// `dataset_info.json` beside the file, or from the `README.md` or `dataset_infos.json` of a clone from the Hub.
pub(super) fn classes(features: Option<&str>, path: &Path) -> Classes {
    let own = features.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let own = own.as_ref().and_then(|value| value.get("info")?.get("features"));
    if let Some(found) = own.map(named).filter(|found| !found.is_empty()) {
        return found;
    }
    let text = |path: std::path::PathBuf| crate::limits::read_to_string(path).ok();
    let json = |path| text(path).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let of = |info: &Value| info.get("features").map(named).unwrap_or_default();
    let Some(folder) = path.parent() else { return Classes::new() };
    let beside = json(folder.join("dataset_info.json")).map(|info| of(&info)).unwrap_or_default();
    if !beside.is_empty() {
        return beside;
    }
    for folder in folder.ancestors().take(1 + ABOVE) {
        let mut found = Classes::new();
        // One entry a configuration.
        for info in
            json(folder.join("dataset_infos.json")).as_ref().and_then(Value::as_object).into_iter().flatten()
        {
            of(info.1).into_iter().for_each(|(column, names)| add(&mut found, column, names));
        }
        if let Some(card) = text(folder.join("README.md")) {
            of_card(&card).into_iter().for_each(|(column, names)| add(&mut found, column, names));
        }
        if !found.is_empty() {
            return found;
        }
    }
    Classes::new()
}

/// Adds names; where another configuration has others for the column, each number has all of them, which no label is
/// read by: then it is asked about.
fn add(all: &mut Classes, column: String, names: Vec<String>) {
    let Some(known) = all.get_mut(&column) else {
        all.insert(column, names);
        return;
    };
    if *known != names {
        let (longer, shorter) = if known.len() < names.len() { (&names, &*known) } else { (&*known, &names) };
        let both = longer.iter().enumerate().map(|(i, name)| match shorter.get(i) {
            Some(other) if other == name => name.clone(),
            Some(other) => format!("{name} or {other}"),
            None => name.clone(),
        });
        *known = both.collect();
    }
}

/// Names of classes in the card of a dataset: the YAML between `---` at the head of its README.
///
/// Only the lines that `datasets` itself writes are understood: a column under `features`, `class_label` in it, and its
/// `names` by number or as a list.
fn of_card(card: &str) -> Vec<(String, Vec<String>)> {
    let head =
        card.trim_start_matches('\u{feff}').strip_prefix("---").and_then(|rest| rest.split("\n---").next());
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    // Where the columns of the present `features` stand; the column; where its `names` stand.
    let (mut columns, mut column, mut names): (Option<usize>, Option<&str>, Option<usize>) =
        (None, None, None);
    let (mut features, mut is_class) = (None::<usize>, false);
    for line in head.unwrap_or_default().lines() {
        let plain = line.trim();
        let depth = line.len() - line.trim_start().len();
        if plain.is_empty() || plain.starts_with('#') {
            continue;
        }
        let item = plain.strip_prefix("- ").map(str::trim);
        if let Some(start) = names {
            let listed = item.is_some() && depth >= start || depth > start;
            let value = item.or_else(|| plain.split_once(':').map(|(_, value)| value.trim()));
            if let (true, Some(value), Some((_, all))) = (listed, value, found.last_mut()) {
                all.push(value.trim_matches(['"', '\'']).to_owned());
                continue;
            }
            names = None;
        }
        if plain == "features:" || item == Some("features:") {
            (features, columns, column) = (Some(depth), None, None);
        } else if features.is_some_and(|start| depth < start || depth == start && item.is_none()) {
            (features, column) = (None, None);
        } else if let Some(name) =
            item.and_then(|item| item.strip_prefix("name:")).filter(|_| features.is_some())
        {
            // A field of a record stands deeper, and is no column.
            let top = *columns.get_or_insert(depth) == depth;
            column = top.then(|| name.trim().trim_matches(['"', '\'']));
            is_class = false;
        } else if plain == "class_label:" {
            is_class = true;
        } else if let (Some(rest), Some(column), true) = (plain.strip_prefix("names:"), column, is_class) {
            let flow = rest.trim().strip_prefix(['[', '{']).and_then(|rest| rest.strip_suffix([']', '}']));
            let value = |part: &str| {
                let value = part.split_once(':').map_or(part, |(_, value)| value);
                value.trim().trim_matches(['"', '\'']).to_owned()
            };
            found.push((
                column.to_owned(),
                flow.map(|list| list.split(',').map(value).collect()).unwrap_or_default(),
            ));
            names = flow.is_none().then_some(depth);
        }
    }
    found.retain(|(_, names)| !names.is_empty());
    found
}

fn named(features: &Value) -> Classes {
    let names = |feature: &Value| {
        let is_class = feature.get("_type").and_then(Value::as_str) == Some("ClassLabel");
        let names = feature.get("names").and_then(Value::as_array).filter(|_| is_class)?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
    };
    let all = features.as_object().into_iter().flatten();
    all.filter_map(|(column, feature)| Some((column.clone(), names(feature)?))).collect()
}

/// The features for a table that got or lost plain columns, so that `datasets` reads it as it is.
pub(super) fn for_table(features: &str, schema: &Schema) -> Option<String> {
    let mut value: Value = serde_json::from_str(features).ok()?;
    let columns = value.get_mut("info")?.get_mut("features")?.as_object_mut()?;
    columns.retain(|name, _| schema.contains(name));
    for (name, dtype) in
        schema.iter().filter(|(name, _)| !columns.contains_key(name.as_str())).collect::<Vec<_>>()
    {
        let kind = match dtype {
            DataType::String => "string",
            DataType::Boolean => "bool",
            DataType::Int8 => "int8",
            DataType::Int16 => "int16",
            DataType::Int32 => "int32",
            DataType::Int64 => "int64",
            DataType::UInt8 => "uint8",
            DataType::UInt16 => "uint16",
            DataType::UInt32 => "uint32",
            DataType::UInt64 => "uint64",
            DataType::Float32 => "float32",
            DataType::Float64 => "float64",
            _ => return None,
        };
        columns.insert(name.to_string(), json!({"dtype": kind, "_type": "Value"}));
    }
    Some(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_are_read_from_the_schema_and_columns_added_to_it() {
        let text = r#"{"info": {"features": {"p": {"dtype": "string", "_type": "Value"}, "y": {"names": ["A", "B"], "_type": "ClassLabel"}}}}"#;
        let found = classes(Some(text), Path::new("nowhere/x.parquet"));
        assert_eq!(found, Classes::from([("y".into(), vec!["A".into(), "B".into()])]));
        let fields = [("p", DataType::String), ("y", DataType::Int64), ("z", DataType::String)];
        let schema =
            Schema::from_iter(fields.map(|(name, dtype)| polars::prelude::Field::new(name.into(), dtype)));
        let more = for_table(text, &schema).unwrap();
        assert!(more.contains(r#""z":{"_type":"Value","dtype":"string"}"#), "{more}");
        assert_eq!(classes(Some(&more), Path::new("x")), found);
    }

    #[test]
    fn class_names_stand_in_the_card_of_a_clone_too() {
        let card = "---\nlicense: mit\ndataset_info:\n- config_name: one\n  features:\n  - name: prompt\n    dtype: string\n  \
                    - name: label\n    dtype:\n      class_label:\n        names:\n          '0': A\n          '1': \"B\"\n  - \
                    name: meta\n    struct:\n    - name: label\n      dtype:\n        class_label:\n          names:\n          \
                    - x\n  - name: kind\n    dtype:\n      class_label:\n        names: [p, q]\n  splits:\n  - name: \
                    train\n---\n# Text\n- name: y\n";
        let named = |name: &str, names: [&str; 2]| (name.to_owned(), names.map(str::to_owned).to_vec());
        assert_eq!(of_card(card), [named("label", ["A", "B"]), named("kind", ["p", "q"])]);
        assert_eq!(of_card("# no head\nclass_label:\n"), []);

        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let file = dir.path().join("data/train-00000-of-00001.parquet");
        std::fs::write(dir.path().join("README.md"), card).unwrap();
        assert_eq!(classes(None, &file).get("label"), Some(&vec!["A".into(), "B".into()]));
        // Two configurations that do not agree name neither.
        let infos = r#"{"one": {"features": {"label": {"names": ["B", "A"], "_type": "ClassLabel"}}}}"#;
        std::fs::write(dir.path().join("dataset_infos.json"), infos).unwrap();
        assert_eq!(classes(None, &file).get("label"), Some(&vec!["B or A".into(), "A or B".into()]));
    }
}
