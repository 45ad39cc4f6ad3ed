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

/// Names of the classes of every column that has some: from the schema's own metadata, or from the
/// `dataset_info.json` beside the file.
pub(super) fn classes(features: Option<&str>, path: &Path) -> Classes {
    let own = features.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let own = own.as_ref().and_then(|value| value.get("info")?.get("features"));
    if let Some(found) = own.map(named).filter(|found| !found.is_empty()) {
        return found;
    }
    let beside = path.parent().map(|folder| folder.join("dataset_info.json"));
    let text = beside.and_then(|path| crate::limits::read_to_string(path).ok());
    let info = text.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    info.as_ref().and_then(|info| info.get("features")).map(named).unwrap_or_default()
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
}
