//! `--log FILE`: a run's metrics as JSON lines, one object a line, for Weights & Biases, MLflow or `jq`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use wimhf::Observer;
use wimhf::store::Manifest;

/// Passes everything on, and writes what is a number.
pub struct Log<O> {
    inner: O,
    file: Option<File>,
}

impl<O: Observer> Log<O> {
    /// Without a path nothing is written.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn new(inner: O, path: Option<&Path>) -> std::io::Result<Self> {
        let open = |path: &Path| File::options().create(true).append(true).open(path);
        Ok(Self { inner, file: path.map(open).transpose()? })
    }

    /// The record's metrics, flat, as the last line.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn close(&mut self, manifest: &Manifest) -> std::io::Result<()> {
        let mut flat = Map::new();
        if let Ok(value) = serde_json::to_value(&manifest.metrics) {
            flatten("", &value, &mut flat);
        }
        flat.insert("event".into(), "result".into());
        self.line(Value::Object(flat))
    }

    fn line(&mut self, mut value: Value) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        value["_timestamp"] = json!((seconds * 1000.0).round() / 1000.0);
        file.write_all(format!("{value}\n").as_bytes())
    }

    /// A line in the middle of the work, which a full disk must not end; [`Self::close`] reports it.
    fn try_line(&mut self, value: Value) {
        let _ = self.line(value);
    }
}

/// Numbers under their path: `auc/length/value`.
fn flatten(path: &str, value: &Value, out: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                flatten(&path, value, out);
            }
        }
        Value::Number(_) => {
            out.insert(path.to_owned(), value.clone());
        }
        _ => {}
    }
}

impl<O: Observer> Observer for Log<O> {
    fn stage(&mut self, name: &str, total: usize) {
        self.inner.stage(name, total);
    }

    fn advance(&mut self, done: usize) {
        self.inner.advance(done);
    }

    fn metrics(&mut self, step: usize, values: &[(&str, f64)]) {
        self.inner.metrics(step, values);
        let mut line = json!({"event": "step", "step": step});
        for (name, value) in values {
            line[*name] = json!(value);
        }
        self.try_line(line);
    }

    fn finished(&mut self, name: &str, seconds: f64, reused: bool) {
        self.inner.finished(name, seconds, reused);
        let mut line = json!({"event": "stage", "stage": name, "reused": reused});
        line[format!("seconds/{name}")] = json!(seconds);
        self.try_line(line);
    }

    fn note(&mut self, text: &str) {
        self.inner.note(text);
    }
}
