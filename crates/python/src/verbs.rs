//! Verbs that stand by themselves. A table is kept as Parquet under a name made of its content, in the run's folder,
//! where the ordinary reader finds it: the run can be opened again, and its figures are the command's on that file.

use std::fs;
use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};
use wimhf::store::{StoreError, write_parquet};
use wimhf::{AnalyzeRequest, CompareRequest, Error, ErrorKind, Run};

use crate::arrow::Frame;
use crate::errors::input;
use crate::options::{self, read};
use crate::run::{NativeRun, text};
use crate::settings;
use crate::work::work;

/// Where tables are kept in a run. Under `stages`, which a folder may hold that is only about to become a run.
const KEPT: &str = "stages/data";

/// Data as Python passes it.
#[derive(FromPyObject)]
pub enum Data<'py> {
    /// A file, a folder, a glob, `hf://…`
    Name(String),
    /// A table in memory.
    Table(Bound<'py, Frame>),
}

/// The same, off the interpreter.
enum Held {
    Name(String),
    Table(polars::prelude::DataFrame),
}

fn held(data: Vec<Data<'_>>) -> Vec<Held> {
    data.into_iter()
        .map(|data| match data {
            Data::Name(name) => Held::Name(name),
            Data::Table(frame) => Held::Table(frame.get().0.clone()),
        })
        .collect()
}

/// Files that were made for tables. Those that nobody needs in the end are taken away again.
#[derive(Default)]
struct Made {
    /// Where, and whether it is new.
    files: Vec<(PathBuf, bool)>,
}

impl Made {
    /// Takes away what is new.
    fn discard(&self) {
        for (file, _) in self.files.iter().filter(|(_, new)| *new) {
            // What stays is found again under the same name.
            let _ = fs::remove_file(file);
        }
    }

    /// The user passed a table, not a file.
    fn explain(&self, mut error: Error) -> Error {
        for (file, _) in &self.files {
            let name = file.display().to_string();
            error.what = error.what.replace(&format!("`{name}`"), "the table").replace(&name, "the table");
            error.hint = error
                .hint
                .map(|hint| hint.replace(&format!("`{name}`"), "the table").replace(&name, "the table"));
        }
        error
    }
}

/// A table's bytes as Parquet under a temporary name in `folder`, and the hash of these bytes.
fn keep(frame: &polars::prelude::DataFrame, folder: &Path) -> Result<(PathBuf, String), Error> {
    if frame.width() == 0 {
        return Err(input("the table has no columns\nhint: pass prompts, both responses and the label"));
    }
    let path = folder.join(format!(".wimhf-{}-{:p}.parquet", std::process::id(), frame));
    let mut frame = frame.clone();
    frame.rechunk_mut();
    write_parquet(&path, &mut frame).map_err(Error::from)?;
    let io = |source| Error::from(StoreError::Io { action: "read", path: path.clone(), source });
    let mut hash = Sha256::new();
    std::io::copy(&mut wimhf::limits::open(&path).map_err(io)?, &mut hash).map_err(io)?;
    let name = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok((path, name))
}

fn make(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder)
        .map_err(|source| StoreError::Io { action: "create", path: folder.into(), source }.into())
}

/// Gives every table a file in the run's folder; the names of all data, and the folder.
fn place(data: Vec<Held>, out: Option<PathBuf>, made: &mut Made) -> Result<(Vec<String>, PathBuf), Error> {
    // Where the run's name is made of the data's, that has to be known first.
    let near = match &out {
        Some(out) => {
            out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).into()
        }
        None => PathBuf::from("runs"),
    };
    let mut waiting: Vec<Option<(PathBuf, String)>> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for data in data {
        match data {
            Held::Name(name) => {
                names.push(name);
                waiting.push(None);
            }
            Held::Table(frame) => {
                make(&near)?;
                let (file, hash) = keep(&frame, &near)?;
                names.push(format!("table-{}", &hash[..8]));
                waiting.push(Some((file, hash)));
            }
        }
    }
    let out = out.unwrap_or_else(|| wimhf::ops::analyze::default_out(&names));
    if waiting.iter().any(Option::is_some)
        && let Err(error) = claim(&out)
    {
        for (file, _) in waiting.iter().flatten() {
            let _ = fs::remove_file(file);
        }
        return Err(error);
    }
    for (name, waiting) in names.iter_mut().zip(waiting) {
        let Some((file, hash)) = waiting else { continue };
        let kept = out.join(KEPT).join(format!("{hash}.parquet"));
        let new = !kept.exists();
        fs::rename(&file, &kept)
            .map_err(|source| Error::from(StoreError::Io { action: "write", path: kept.clone(), source }))?;
        *name = kept.display().to_string();
        made.files.push((kept, new));
    }
    Ok((names, out))
}

/// Makes the run's folder with one for data in it; a stranger's folder is refused as the library refuses it.
fn claim(out: &Path) -> Result<(), Error> {
    let ours = out.join("run.json").exists() || out.join(".lock").exists();
    let empty = fs::read_dir(out).map_or(true, |mut entries| entries.next().is_none());
    if !ours && !empty {
        return Err(StoreError::NotARun(out.into()).into());
    }
    make(out)?;
    let lock = out.join(".lock");
    if !lock.exists() {
        fs::write(&lock, "")
            .map_err(|source| Error::from(StoreError::Io { action: "write", path: lock.clone(), source }))?;
    }
    make(&out.join(KEPT))
}

/// Analyses data; the run's folder.
#[pyfunction]
pub fn analyze(
    py: Python<'_>,
    watcher: Option<&Bound<'_, PyAny>>,
    data: Vec<Data<'_>>,
    options: &str,
) -> PyResult<PathBuf> {
    let data = held(data);
    work(watcher, py, |context, observer| {
        let asked = read::<options::Analyze>(options)?;
        let config = settings::config(asked.config_file.as_deref(), &asked.settings)?;
        // Before anything is written.
        config.validate().map_err(Error::from)?;
        let mut made = Made::default();
        let (names, out) = place(data, asked.out, &mut made)?;
        let mut request = AnalyzeRequest {
            data: names,
            device: asked.device,
            force: asked.force,
            save_embeddings: asked.save_embeddings,
            config,
            ..AnalyzeRequest::new("", out)
        };
        request.spending.context = context.clone();
        request.spending.limits.dollars = asked.max_cost;
        request.spending.limits.calls = asked.max_calls;
        match wimhf::analyze(&request, observer) {
            Ok(analysis) => Ok(analysis.run),
            Err(error) => {
                // What was stopped goes on with this file; what was refused does not need it.
                if error.kind != ErrorKind::Cancelled && !mentions(&request.out, &made) {
                    made.discard();
                }
                Err(made.explain(error))
            }
        }
    })
}

/// Whether a run's record is about these files.
fn mentions(out: &Path, made: &Made) -> bool {
    let record = wimhf::limits::read_to_string(out.join("run.json")).unwrap_or_default();
    made.files
        .iter()
        .any(|(file, _)| file.file_name().is_some_and(|name| record.contains(&*name.to_string_lossy())))
}

/// What a dataset holds, as JSON.
#[pyfunction]
pub fn inspect(
    py: Python<'_>,
    watcher: Option<&Bound<'_, PyAny>>,
    data: Vec<Data<'_>>,
    options: &str,
) -> PyResult<String> {
    let data = held(data);
    work(watcher, py, |context, observer| {
        let asked = read::<options::Inspect>(options)?;
        let config = settings::config(asked.config_file.as_deref(), &asked.settings)?;
        let folder = std::env::temp_dir();
        let mut made = Made::default();
        let mut names = Vec::new();
        for data in data {
            match data {
                Held::Name(name) => names.push(name),
                Held::Table(frame) => {
                    let (file, _) = keep(&frame, &folder)?;
                    names.push(file.display().to_string());
                    made.files.push((file, true));
                }
            }
        }
        let found = wimhf::inspect(&names, &config, context, observer);
        made.discard();
        let found = found.map_err(|error| made.explain(error))?;
        text(&json!({"read": found.read, "found": found.found, "embedding": found.embedding}))
    })
}

/// The same concepts in several runs, or in the groups of one; the files.
#[pyfunction]
pub fn compare(
    py: Python<'_>,
    watcher: Option<&Bound<'_, PyAny>>,
    runs: Vec<PyRef<'_, NativeRun>>,
    options: &str,
) -> PyResult<(PathBuf, PathBuf)> {
    let runs: Vec<&NativeRun> = runs.iter().map(|run| &**run).collect();
    work(watcher, py, |context, _| {
        let asked = read::<options::Compare>(options)?;
        let runs: Vec<Run> = runs.iter().map(|run| run.run(context)).collect();
        let runs: Vec<&Run> = runs.iter().collect();
        let request = CompareRequest { by: asked.by, out: asked.out, anonymise: asked.anonymise };
        let done = wimhf::compare(&runs, &request)?;
        Ok((done.page, done.json))
    })
}

/// Restores the original of a relabelled file or folder; the files that were written.
#[pyfunction]
pub fn undo_relabel(
    py: Python<'_>,
    file: PathBuf,
    out: Option<PathBuf>,
    force: bool,
) -> PyResult<Vec<PathBuf>> {
    work(None, py, |_, _| {
        let undone = wimhf::undo_relabel(&file, out.as_deref(), force)?;
        Ok(undone.into_iter().map(|undone| undone.file).collect())
    })
}
