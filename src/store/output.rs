//! The one door for every path that a user names for an output: what is there already must not be lost.
//!
//! Refused are an input of the run, what belongs to a run's record, another run's folder, a link, a device or a pipe,
//! and (unless the user says so) an existing file of another kind than is about to be written. The door is passed
//! before any work begins, and again when the file gets its name ([`super::write_file`]).

use std::io::Read;
use std::path::{Path, PathBuf};

use super::Manifest;
use super::place::{names_a_folder, odd, parent};
use crate::limits;

/// What is about to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Parquet file.
    Parquet,
    /// One JSON value.
    Json,
    /// JSON lines.
    JsonLines,
    /// The metrics of `--log`, which are added to what is there.
    Metrics,
    /// A table as text.
    Csv,
    /// A page.
    Html,
    /// A dataset in the container that the name says, or a folder of such.
    Dataset,
    /// Text to read.
    Text,
}

impl Kind {
    /// What a name promises.
    pub fn of_name(path: &Path) -> Self {
        let ending =
            path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        match &*ending {
            "parquet" => Self::Parquet,
            "json" => Self::Json,
            "jsonl" | "ndjson" => Self::JsonLines,
            "csv" | "tsv" => Self::Csv,
            "html" | "htm" => Self::Html,
            "md" | "txt" => Self::Text,
            _ => Self::Dataset,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "a Parquet file",
            Self::Json => "a JSON file",
            Self::JsonLines => "JSON lines",
            Self::Metrics => "a log of metrics",
            Self::Csv => "a table as text",
            Self::Html => "a page",
            Self::Dataset => "a dataset",
            Self::Text => "text",
        }
    }
}

/// An output as a user names it.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// The path.
    pub path: &'a Path,
    /// The option that named it, for messages.
    pub flag: &'static str,
    /// What will be written.
    pub kind: Kind,
    /// The run that it is made from or of; its own files may lie in there.
    pub run: Option<&'a Path>,
    /// What must not be written over: files, folders and patterns.
    pub inputs: &'a [PathBuf],
    /// An existing file of another kind may go.
    pub force: bool,
}

/// Why nothing may be written there.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It would replace what is read.
    #[error("`{}`, which `{flag}` names, is data that this run reads\nhint: name another file", .path.display())]
    Input {
        /// The path.
        path: PathBuf,
        /// The option.
        flag: &'static str,
    },
    /// It would be read as data the next time.
    #[error(
        "`{}`, which `{flag}` names, would lie among the data of this run and be read with it the next time\nhint: name a file elsewhere", .path.display()
    )]
    AmongInputs {
        /// The path.
        path: PathBuf,
        /// The option.
        flag: &'static str,
    },
    /// It belongs to the record of a run.
    #[error("`{}`, which `{flag}` names, is part of the record of the run in `{}`\nhint: name another file", .path.display(), .run.display())]
    Record {
        /// The path.
        path: PathBuf,
        /// The option.
        flag: &'static str,
        /// The run.
        run: PathBuf,
    },
    /// It lies in another run.
    #[error("`{}`, which `{flag}` names, lies in another run, `{}`\nhint: name a file elsewhere", .path.display(), .run.display())]
    OtherRun {
        /// The path.
        path: PathBuf,
        /// The option.
        flag: &'static str,
        /// The other run.
        run: PathBuf,
    },
    /// It is something else than a file.
    #[error("`{}`, which `{flag}` names, is {what}\nhint: name a plain file", .path.display())]
    Odd {
        /// The path.
        path: PathBuf,
        /// The option.
        flag: &'static str,
        /// "a folder", "a link to …", "a device" …
        what: String,
    },
    /// There is a file of another kind.
    #[error(
        "`{}`, which `{flag}` names, is there already and is {found}, not {wanted}\nhint: name another file, or replace it with `--force`", .path.display()
    )]
    OtherKind {
        /// The path.
        path: PathBuf,
        /// The option.
        flag: &'static str,
        /// What is there.
        found: &'static str,
        /// What would be written.
        wanted: &'static str,
    },
    /// There is a file, of whatever kind.
    #[error("`{}`, which `{flag}` names, is there already\nhint: name another file, or replace it with `--force`", .path.display())]
    There {
        /// The path.
        path: PathBuf,
        /// The option.
        flag: &'static str,
    },
    /// The folder is not there.
    #[error("the folder of `{}`, which `{flag}` names, cannot be used: {message}\nhint: make it, or name another file", .path.display())]
    Folder {
        /// The path.
        path: PathBuf,
        /// The option.
        flag: &'static str,
        /// What the system said.
        message: String,
    },
}

/// Files of a run that only the stages of `analyze` write.
const RECORD: &[&str] = &[
    "run.json",
    ".lock",
    "pairs.parquet",
    "sae.safetensors",
    "sae.json",
    "activations.parquet",
    "features.parquet",
    "principles.json",
    "principles.csv",
    "dropped.csv",
    "sweep.json",
    "sweep.csv",
];

impl Output<'_> {
    /// Looks whether it may be written; nothing is changed but the leftovers of killed processes beside it, which go.
    ///
    /// # Errors
    /// See [`OutputError`].
    pub fn check(&self) -> Result<(), OutputError> {
        let (path, flag) = (self.path, self.flag);
        let folder = parent(path);
        let real_folder = match std::fs::canonicalize(folder) {
            Ok(folder) => folder,
            // The run that is about to be made.
            Err(_) if self.run.is_some_and(|run| folder == run && !run.exists()) => return Ok(()),
            Err(error) => {
                let message = crate::limits::said(&error);
                return Err(OutputError::Folder { path: path.into(), flag, message });
            }
        };
        let Some(name) = path.file_name() else {
            return Err(OutputError::Odd { path: path.into(), flag, what: "no name of a file".into() });
        };
        if names_a_folder(path) && self.kind != Kind::Dataset {
            return Err(OutputError::Odd { path: path.into(), flag, what: "the name of a folder".into() });
        }
        let real = real_folder.join(name);
        let is_folder = self.kind == Kind::Dataset && real.is_dir();
        if let Some(what) = odd(&real).filter(|_| !is_folder || real.is_symlink()) {
            return Err(OutputError::Odd { path: path.into(), flag, what });
        }
        self.spares_inputs(&real)?;
        self.spares_runs(&real, is_folder)?;
        if !self.force
            && let Some(found) = kind_of(&real)
            && !self.may_replace(found, &real)
        {
            let wanted = self.kind.name();
            return Err(OutputError::OtherKind { path: path.into(), flag, found: found.name(), wanted });
        }
        super::sweep_leftovers(&real_folder);
        Ok(())
    }

    fn spares_inputs(&self, real: &Path) -> Result<(), OutputError> {
        let (path, flag) = (self.path, self.flag);
        for input in self.inputs {
            let text = input.to_string_lossy();
            if text.contains("://") {
                continue;
            }
            let absolute = std::path::absolute(input).unwrap_or_else(|_| input.clone());
            if let Ok(source) = std::fs::canonicalize(input) {
                let is_it = source == real || same_file(&source, real);
                if is_it || (source.is_dir() && real.exists() && real.starts_with(&source) && is_data(real)) {
                    return Err(OutputError::Input { path: path.into(), flag });
                }
                if source.is_dir() && real.starts_with(&source) && is_data(real) {
                    return Err(OutputError::AmongInputs { path: path.into(), flag });
                }
            } else if let Ok(pattern) = glob::Pattern::new(&absolute.to_string_lossy())
                && (pattern.matches_path(real)
                    || std::path::absolute(path).is_ok_and(|path| pattern.matches_path(&path)))
            {
                let (path, exists) = (path.into(), real.exists());
                return Err(if exists {
                    OutputError::Input { path, flag }
                } else {
                    OutputError::AmongInputs { path, flag }
                });
            }
        }
        Ok(())
    }

    fn spares_runs(&self, real: &Path, is_folder: bool) -> Result<(), OutputError> {
        let (path, flag) = (self.path, self.flag);
        let start = if is_folder { Some(real) } else { real.parent() };
        let Some(run) = start.and_then(run_above) else { return Ok(()) };
        let own = self.run.and_then(|run| std::fs::canonicalize(run).ok());
        if own.as_deref() != Some(&run) {
            return Err(OutputError::OtherRun { path: path.into(), flag, run });
        }
        let inside = real.strip_prefix(&run).unwrap_or(real);
        let is_record = RECORD.iter().any(|name| Path::new(name) == inside)
            || inside.starts_with("stages")
            || inside.as_os_str().is_empty();
        if is_record { Err(OutputError::Record { path: path.into(), flag, run }) } else { Ok(()) }
    }

    fn may_replace(&self, found: Kind, real: &Path) -> bool {
        match self.kind {
            Kind::Dataset => match Kind::of_name(real) {
                // What no dataset is called is not one, whatever it holds: a picture, somebody's work.
                Kind::Dataset => is_data(real) && found != Kind::Html,
                // No dataset is called so.
                Kind::Text => false,
                named => found == named,
            },
            Kind::Text => matches!(found, Kind::Text | Kind::Csv),
            // Lines are written under this name, too.
            Kind::JsonLines if Kind::of_name(real) == Kind::Json => {
                matches!(found, Kind::Json | Kind::JsonLines)
            }
            kind => found == kind,
        }
    }
}

/// Whether a name looks like data to the reader of folders.
fn is_data(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    [".parquet", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".arrow", ".feather", ".ipc", ".gz", ".zst"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

/// The same file under another name.
#[cfg(unix)]
fn same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(one: &Path, other: &Path) -> bool {
    matches!((std::fs::canonicalize(one), std::fs::canonicalize(other)), (Ok(a), Ok(b)) if a == b)
}

/// The run that a folder lies in, or is: the nearest above with a valid `run.json`.
pub fn run_above(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| Manifest::is_one(&folder.join("run.json"))).map(Path::to_path_buf)
}

/// What kind of file stands there, by its first bytes; `None` for nothing and for an empty file.
fn kind_of(path: &Path) -> Option<Kind> {
    let mut head = Vec::new();
    limits::open_file(path).ok()?.take(4096).read_to_end(&mut head).ok()?;
    if head.is_empty() || path.is_dir() {
        return None;
    }
    if head.starts_with(b"PAR1") {
        return Some(Kind::Parquet);
    }
    let text = String::from_utf8_lossy(&head);
    if head.contains(&0) || text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count() > 2 {
        return Some(Kind::Dataset);
    }
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.get(..text.floor_char_boundary(20)).unwrap_or(text).to_lowercase();
    if lower.starts_with("<!doctype") || lower.starts_with("<html") {
        return Some(Kind::Html);
    }
    if text.starts_with('[') {
        return Some(Kind::Json);
    }
    if text.starts_with('{') {
        let first = text.lines().next().unwrap_or_default().trim_end();
        let is_line = serde_json::from_str::<serde_json::Value>(first).ok();
        return Some(match is_line {
            Some(line) if line.get("event").is_some() && line.get("_timestamp").is_some() => Kind::Metrics,
            // Lines by name, too: the first may be longer than what was read.
            Some(_) if Kind::of_name(path) != Kind::Json => Kind::JsonLines,
            _ if Kind::of_name(path) == Kind::JsonLines => Kind::JsonLines,
            _ => Kind::Json,
        });
    }
    Some(match Kind::of_name(path) {
        Kind::Csv => Kind::Csv,
        _ => Kind::Text,
    })
}

/// Looks whether a run may be made in `path`: not inside of another run.
///
/// # Errors
/// [`OutputError::OtherRun`].
pub fn check_run(path: &Path, flag: &'static str) -> Result<(), OutputError> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    // The nearest folder that is there; links on the way are what they lead to.
    let there = absolute.ancestors().skip(1).find_map(|folder| std::fs::canonicalize(folder).ok());
    match there.as_deref().and_then(run_above) {
        Some(run) => Err(OutputError::OtherRun { path: path.into(), flag, run }),
        None => Ok(()),
    }
}

/// Looks at each of the files that a command writes into a folder.
///
/// # Errors
/// See [`OutputError`].
pub fn check_folder(
    folder: &Path,
    files: &[&str],
    run: Option<&Path>,
    inputs: &[PathBuf],
    force: bool,
) -> Result<(), OutputError> {
    for file in files {
        let path = folder.join(file);
        Output { path: &path, flag: "--out", kind: Kind::of_name(&path), run, inputs, force }.check()?;
    }
    Ok(())
}

/// The inputs of a run: what its record says that it read.
pub fn inputs(manifest: &Manifest) -> Vec<PathBuf> {
    let record = &manifest.dataset;
    let sources = record.sources.iter().flat_map(|source| [&source.path, &source.location]);
    let all = sources.chain([&record.path, &record.location]);
    all.filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        folder: tempfile::TempDir,
        run: PathBuf,
    }

    /// A folder with a dataset, a run of it and a second run.
    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("data.jsonl"), "{\"chosen\":\"a\",\"rejected\":\"b\"}\n").unwrap();
        for run in ["run", "other"] {
            std::fs::create_dir_all(at(run).join("stages")).unwrap();
            super::super::write_json(&at(run).join("run.json"), &Manifest::default()).unwrap();
        }
        let run = at("run");
        Place { folder, run }
    }

    fn check(place: &Place, name: &str, kind: Kind) -> Result<(), OutputError> {
        let path = place.folder.path().join(name);
        let inputs = [place.folder.path().join("data.jsonl")];
        Output { path: &path, flag: "--out", kind, run: Some(&place.run), inputs: &inputs, force: false }
            .check()
    }

    #[test]
    fn inputs_records_and_other_runs_are_spared() {
        let place = place();
        assert!(matches!(check(&place, "data.jsonl", Kind::JsonLines), Err(OutputError::Input { .. })));
        assert!(matches!(
            check(&place, "run/../data.jsonl", Kind::JsonLines),
            Err(OutputError::Input { .. })
        ));
        std::fs::hard_link(place.folder.path().join("data.jsonl"), place.folder.path().join("hard.jsonl"))
            .unwrap();
        assert!(matches!(check(&place, "hard.jsonl", Kind::JsonLines), Err(OutputError::Input { .. })));
        for name in ["run/run.json", "run/.lock", "run/stages/x.json", "run/principles.json"] {
            assert!(matches!(check(&place, name, Kind::Json), Err(OutputError::Record { .. })), "{name}");
        }
        assert!(matches!(check(&place, "other/x.json", Kind::Json), Err(OutputError::OtherRun { .. })));
        assert!(matches!(check(&place, "nowhere/x.json", Kind::Json), Err(OutputError::Folder { .. })));
        check(&place, "run/export.json", Kind::Json).unwrap();
        check(&place, "new.json", Kind::Json).unwrap();
    }

    #[test]
    fn a_folder_or_a_pattern_of_data_is_spared() {
        let place = place();
        let data = place.folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("a.parquet"), "PAR1").unwrap();
        for input in [data.clone(), data.join("*.parquet")] {
            let inputs = [input];
            let out = |name: &str| {
                let path = data.join(name);
                let kind = Kind::Parquet;
                Output { path: &path, flag: "--out", kind, run: None, inputs: &inputs, force: true }.check()
            };
            assert!(matches!(out("a.parquet"), Err(OutputError::Input { .. })), "{inputs:?}");
            assert!(matches!(out("b.parquet"), Err(OutputError::AmongInputs { .. })), "{inputs:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_devices_pipes_and_folders_are_refused() {
        let place = place();
        let at = |name: &str| place.folder.path().join(name);
        std::os::unix::fs::symlink(at("data.jsonl"), at("link.jsonl")).unwrap();
        std::os::unix::fs::symlink("/dev/null", at("null")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        std::fs::create_dir(at("folder")).unwrap();
        for name in ["link.jsonl", "null", "dangling", "pipe", "folder"] {
            let error = check(&place, name, Kind::JsonLines).unwrap_err();
            assert!(matches!(error, OutputError::Odd { .. }), "{name}: {error}");
        }
        let null = Path::new("/dev/null");
        let out = Output { path: null, flag: "--out", kind: Kind::Json, run: None, inputs: &[], force: true };
        assert!(matches!(out.check(), Err(OutputError::Odd { .. })));
    }

    #[test]
    fn a_file_of_another_kind_stays_unless_the_user_says_so() {
        let place = place();
        let at = |name: &str| place.folder.path().join(name);
        for (name, content, kind, fits) in [
            ("a.parquet", "PAR1....", Kind::Parquet, true),
            ("a.json", "PAR1....", Kind::Json, false),
            ("thesis.html", "Dear all,", Kind::Html, false),
            ("page.html", "<!DOCTYPE html>", Kind::Html, true),
            ("x.csv", "a,b\n", Kind::Csv, true),
            ("x.csv", "{\"a\":1}", Kind::Csv, false),
            ("log.jsonl", "{\"event\":\"step\",\"_timestamp\":1}\n", Kind::Metrics, true),
            ("mine.jsonl", "{\"chosen\":\"x\"}\n", Kind::Metrics, false),
            ("mine.jsonl", "{\"chosen\":\"x\"}\n", Kind::JsonLines, true),
            ("mine.jsonl", "{\"chosen\":\"x\"}\n", Kind::Dataset, true),
            ("notes.txt", "Dear all,", Kind::Dataset, false),
            ("notes.md", "# Dear all", Kind::Text, true),
            ("page.parquet", "<html>", Kind::Dataset, false),
            ("mine.png", "\u{0}PNG", Kind::Dataset, false),
            ("old.arrow", "ARROW1\u{0}\u{0}", Kind::Dataset, true),
            ("empty.parquet", "", Kind::Html, true),
        ] {
            std::fs::write(at(name), content).unwrap();
            assert_eq!(check(&place, name, kind).is_ok(), fits, "{name} {kind:?}");
            let path = at(name);
            Output { path: &path, flag: "--out", kind, run: None, inputs: &[], force: true }.check().unwrap();
        }
    }
}
