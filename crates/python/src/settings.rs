//! Settings as keyword arguments: `seed=2`, `label_column="winner"`, `sae={"features": 32}`, over a dict or a file.

use std::path::Path;

use serde_json::{Map, Value};
use wimhf::suggest::nearest;
use wimhf::{Config, Error};

use crate::errors::input;

/// Names of the command's options where a setting has another one, or several.
const NAMES: [(&str, &[&str]); 7] = [
    ("base_url", &["embed.base_url", "describe.language.base_url"]),
    ("context", &["contexts.columns"]),
    ("concurrency", &["embed.concurrency"]),
    ("embed", &["embed.what"]),
    ("sae_mode", &["sae.mode"]),
    ("split", &["split.shares"]),
    ("split_columns", &["split.columns"]),
];
/// Values that are whole by themselves: what is sent along to a server, by its names.
const FREE: [&str; 3] = ["params", "writer_params", "judge_params"];

/// The settings of a file with `given` over them; what is left out follows from the rest.
pub fn config(file: Option<&Path>, given: &Map<String, Value>) -> Result<Config, Error> {
    let mut tree = match file {
        None => Value::Object(Map::new()),
        Some(path) => {
            // For its errors; the text is read again, since the structure does not say what was left out.
            Config::from_file(path).map_err(Error::from)?;
            let text = wimhf::limits::read_to_string(path).map_err(|error| input(error.to_string()))?;
            toml::from_str(&text).map_err(|error| input(error.to_string()))?
        }
    };
    let known = serde_json::to_value(Config::default()).map_err(|error| input(error.to_string()))?;
    for (name, value) in given {
        match (known.get(name), value) {
            (Some(Value::Object(section)), Value::Object(fields)) => {
                check(fields, section, name)?;
                put(&mut tree, name, value.clone());
            }
            _ => {
                for path in places(name, &known)? {
                    put(&mut tree, &path, value.clone());
                }
            }
        }
    }
    serde_json::from_value(tree.clone())
        .map_err(|error| culprit(&tree).unwrap_or_else(|| input(error.to_string())))
}

/// Unknown names, with the nearest known one.
fn check(fields: &Map<String, Value>, known: &Map<String, Value>, path: &str) -> Result<(), Error> {
    for (name, value) in fields {
        let within = format!("{path}.{name}");
        match (known.get(name), value) {
            (None, _) => return Err(unknown(&within, nearest(name, known.keys().map(String::as_str)))),
            (Some(Value::Object(known)), Value::Object(fields)) if !FREE.contains(&&**name) => {
                check(fields, known, &within)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn unknown(name: &str, near: Option<&str>) -> Error {
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "docs/python.md lists the settings".to_owned(),
    };
    input(format!("there is no setting `{name}`\nhint: {hint}"))
}

/// Where a name stands in the tree of settings.
fn places(name: &str, known: &Value) -> Result<Vec<String>, Error> {
    if let Some((_, paths)) = NAMES.iter().find(|(other, _)| *other == name) {
        return Ok(paths.iter().map(|path| (*path).to_owned()).collect());
    }
    let mut all = Vec::new();
    leaves(known, "", &mut all);
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let found: Vec<String> =
        all.iter().filter(|path| last(path) == name || **path == name).cloned().collect();
    if found.is_empty() {
        let names: Vec<String> = all.iter().map(|path| last(path)).collect();
        let others = NAMES.iter().map(|(name, _)| *name);
        return Err(unknown(name, nearest(name, names.iter().map(String::as_str).chain(others))));
    }
    if found.len() > 1 {
        return Err(input(format!(
            "`{name}` is the name of several settings: {}\nhint: name it in its section, as in `config={{\"principles\": {{…}}}}`",
            found.join(", ")
        )));
    }
    Ok(found)
}

/// Paths of all settings.
fn leaves(tree: &Value, path: &str, out: &mut Vec<String>) {
    let free = FREE.iter().any(|name| path.ends_with(name));
    match tree {
        Value::Object(fields) if !free => {
            for (name, value) in fields {
                let within = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(value, &within, out);
            }
        }
        _ => out.push(path.to_owned()),
    }
}

/// Puts a value where `path` says; a table goes over what is there, name by name.
fn put(tree: &mut Value, path: &str, value: Value) {
    match (tree, path.split_once('.'), value) {
        (Value::Object(fields), Some((first, rest)), value) => {
            let inner = fields.entry(first).or_insert_with(|| Value::Object(Map::new()));
            put(inner, rest, value);
        }
        (Value::Object(fields), None, Value::Object(new)) if !FREE.contains(&path) => {
            let inner = fields.entry(path).or_insert_with(|| Value::Object(Map::new()));
            for (name, value) in new {
                put(inner, &name, value);
            }
        }
        (Value::Object(fields), None, value) => {
            fields.insert(path.to_owned(), value);
        }
        (other, _, value) => *other = value,
    }
}

/// The one setting that does not fit, by trying each alone.
fn culprit(tree: &Value) -> Option<Error> {
    let mut paths = Vec::new();
    leaves(tree, "", &mut paths);
    paths.into_iter().find_map(|path| {
        let value = path.split('.').try_fold(tree, |tree, name| tree.get(name))?;
        let mut alone = Value::Object(Map::new());
        put(&mut alone, &path, value.clone());
        let error = serde_json::from_value::<Config>(alone).err()?;
        Some(input(format!("the setting `{path}` cannot be {value}: {error}")))
    })
}
