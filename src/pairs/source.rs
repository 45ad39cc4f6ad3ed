//! From what the user typed to the files that are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::columns::shorten;
use super::container::{io_error, unpacked_name};
use super::error::PairsError;
use super::json_rows;
use crate::limits::FILES;
use crate::suggest::nearest;

/// Extensions of data files, the preferred kind first: a folder of shards often carries JSON or
/// CSV notes beside them, which are not the data.
const KINDS: [&[&str]; 4] = [
    &["parquet", "pq", "parq"],
    &["arrow", "ipc", "feather"],
    &["jsonl", "ndjson", "jsonlines", "json"],
    &["csv", "tsv", "tab"],
];

/// A larger JSON file is data.
const MAX_ABOUT: u64 = 1 << 20;

/// How deep a folder is searched when it has no data at its top.
const MAX_DEPTH: usize = 4;

/// What the user named as data, and the files it stands for where they were fetched already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// A file, a folder, a glob, or the name of something fetched.
    pub path: String,
    /// The files, where the name is no path.
    pub fetched: Option<Vec<PathBuf>>,
}

impl Source {
    /// A file, a folder of shards or a glob.
    pub fn new(path: &str) -> Self {
        Self { path: path.to_owned(), fetched: None }
    }

    /// The files, with notes for the user.
    pub(super) fn files(&self) -> Result<(Vec<PathBuf>, Vec<String>), PairsError> {
        match &self.fetched {
            Some(files) => Ok((files.clone(), Vec::new())),
            None => locate(&self.path),
        }
    }
}

/// A short name for a source: that of the file or folder without its extension.
pub fn dataset_name(path: &str) -> String {
    if let Some(name) = path.strip_prefix("hf://datasets/") {
        // The commit says nothing to a reader.
        let (name, rest) = name.split_once('@').unwrap_or((name, ""));
        let within = rest.split_once('/').map_or("", |(_, within)| within);
        return if within.is_empty() { name.to_owned() } else { format!("{name}/{within}") };
    }
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let plain: String = last.chars().filter(|c| !"*?[]{}".contains(*c)).collect();
    let known = |end: &&str| KINDS.iter().any(|kinds| kinds.contains(&&*end.to_ascii_lowercase()));
    let mut name = unpacked_name(&plain);
    if let Some((stem, end)) = name.rsplit_once('.')
        && known(&end)
    {
        name = stem;
    }
    let name = name.trim_matches(['-', '_', '.', ' ']);
    if name.is_empty() { "data".to_owned() } else { shorten(name) }
}

/// The files that `source` stands for: a file, a folder of shards or a glob; sorted by name.
///
/// The second part are notes for the user (what was left aside).
pub(super) fn locate(source: &str) -> Result<(Vec<PathBuf>, Vec<String>), PairsError> {
    let path = Path::new(source);
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => folder(path).map(with_gaps),
        Ok(meta) if meta.is_file() => Ok((vec![path.to_path_buf()], Vec::new())),
        Ok(_) => Err(PairsError::NotFound {
            path: shorten(source),
            hint: "it is neither a file nor a folder; save the data to a file first".into(),
        }),
        Err(_) if source.contains(['*', '?', '[']) => pattern(source).map(with_gaps),
        Err(error) if is_absent(&error) => {
            Err(PairsError::NotFound { path: shorten(source), hint: absent_hint(source) })
        }
        Err(error) => Err(io_error(path, error)),
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename)
        || error.kind() == ErrorKind::InvalidInput
}

/// The nearest file name, or the part of the path that exists.
fn absent_hint(source: &str) -> String {
    if source.trim().is_empty() {
        return "name a file, a folder or a glob".into();
    }
    if source.contains("://") {
        return "other addresses than `hf://datasets/OWNER/NAME` are not read; download the file and name it here".into();
    }
    let path = Path::new(source);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        let existing = parent.ancestors().find(|p| p.is_dir() && !p.as_os_str().is_empty());
        return match existing {
            Some(folder) => format!(
                "the folder `{}` does not exist either, only `{}`",
                parent.display(),
                folder.display()
            ),
            None => format!("the folder `{}` does not exist either", parent.display()),
        };
    }
    let names: Vec<String> = std::fs::read_dir(parent)
        .map(|entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match nearest(&wanted, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean `{}`?", parent.join(name).display()),
        None => format!("the folder `{}` exists and holds {} other entries", parent.display(), names.len()),
    }
}

/// Rank in [`KINDS`] by extension, the ending of a packed file aside.
fn kind(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    if name.starts_with(['.', '_']) {
        return None;
    }
    let name = unpacked_name(&name);
    let (_, extension) = name.rsplit_once('.')?;
    KINDS.iter().position(|kinds| kinds.contains(&extension))
}

/// JSON that stands beside data and says something about them.
const ABOUT: [&str; 12] = [
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "metadata.json",
    "config.json",
    "info.json",
    "package.json",
    "README.json",
    "croissant.json",
    "stats.json",
    "schema.json",
];

/// Data files of one kind under a folder: its own, or those of its sub-folders when it has none.
///
/// A folder of the Hub's cache stands for its main revision, one that `save_to_disk` wrote for the files that
/// it lists.
fn folder(root: &Path) -> Result<(Vec<PathBuf>, Vec<String>), PairsError> {
    if let Some((snapshot, note)) = cached(root) {
        let (files, mut notes) = folder(&snapshot)?;
        notes.insert(0, note);
        return Ok((files, notes));
    }
    if let Some(found) = saved(root)? {
        return Ok(found);
    }
    let mut level = vec![root.to_path_buf()];
    let mut others: Vec<String> = Vec::new();
    // What is about the data may be all there is; then it is looked at.
    let mut about: Vec<PathBuf> = Vec::new();
    let mut seen = 0;
    for _ in 0..MAX_DEPTH {
        let mut files = Vec::new();
        let mut below = Vec::new();
        for dir in &level {
            for entry in std::fs::read_dir(dir).map_err(|error| io_error(dir, error))? {
                one_more(&mut seen, root)?;
                let path = entry.map_err(|error| io_error(dir, error))?.path();
                let name =
                    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if path.is_dir() {
                    // `.git`, `.cache`: no data of the user's.
                    if !name.starts_with('.') {
                        below.push(path);
                    }
                } else if kind(&path).is_some() {
                    let aside = ABOUT.contains(&name.as_str()) || describes(&path);
                    if aside { &mut about } else { &mut files }.push(path);
                } else {
                    others.push(format!("`{}`", shorten(&name)));
                }
            }
        }
        if !files.is_empty() {
            return Ok(preferred(files));
        }
        level = below;
    }
    if !about.is_empty() {
        return Ok(preferred(about));
    }
    others.sort();
    let count = others.len();
    others.truncate(5);
    let seen = match count {
        0 => "it is empty".to_owned(),
        count => format!("it holds {}{}", others.join(", "), if count > 5 { ", …" } else { "" }),
    };
    Err(PairsError::NoData { path: root.into(), seen })
}

/// Whether a file is one JSON object that holds no rows: it says something about the data beside it.
fn describes(path: &Path) -> bool {
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let small = std::fs::metadata(path).is_ok_and(|meta| meta.len() <= MAX_ABOUT);
    let read = || serde_json::from_slice(&crate::limits::read(path).ok()?).ok();
    json && small && read().is_some_and(json_rows::is_no_table)
}

/// The revision that a folder of the Hub's cache stands for: that of `refs/main`, or the only or newest one.
fn cached(root: &Path) -> Option<(PathBuf, String)> {
    let snapshots = root.join("snapshots");
    let revisions = folders(&snapshots)?;
    let read = |name: &str| crate::limits::read_to_string(root.join("refs").join(name)).ok();
    let named = read("main").map(|commit| snapshots.join(commit.trim())).filter(|path| path.is_dir());
    if let Some(path) = named {
        let others = revisions.len().saturating_sub(1);
        let others =
            if others > 0 { format!("; {others} other revision(s) left aside") } else { String::new() };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Some((
            path,
            format!("a folder of the Hub's cache: revision `{}` of `main` is read{others}", shorten(&name)),
        ));
    }
    let age = |path: &PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let newest = revisions.iter().max_by_key(|path| age(path))?.clone();
    let name = newest.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let note = format!(
        "a folder of the Hub's cache without `refs/main`: of {} revision(s), the newest (`{}`) is read",
        revisions.len(),
        shorten(&name)
    );
    Some((newest, note))
}

fn folders(path: &Path) -> Option<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).ok()?;
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    (!found.is_empty()).then_some(found)
}

/// Files and what to say about them.
type Located = (Vec<PathBuf>, Vec<String>);

/// The files of a folder that `datasets` wrote with `save_to_disk`: a dataset, or several splits of one. `None`: it is no
/// such folder.
///
/// # Errors
/// Where a file is not there that the folder itself says it has: half of a dataset is never read without a word.
fn saved(root: &Path) -> Result<Option<Located>, PairsError> {
    let json =
        |path: PathBuf| serde_json::from_slice::<serde_json::Value>(&crate::limits::read(path).ok()?).ok();
    let of = |dir: &Path| -> Result<Option<Vec<PathBuf>>, PairsError> {
        let state = dir.join("state.json");
        let listed = json(state.clone()).and_then(|value| value.get("_data_files").cloned());
        let listed = listed.as_ref().and_then(serde_json::Value::as_array);
        let names = listed.into_iter().flatten().filter_map(|file| file.get("filename")?.as_str());
        let files: Vec<PathBuf> = names.map(|name| dir.join(name)).collect();
        match files.iter().find(|file| !file.is_file()) {
            Some(file) => Err(lacks(file, &state)),
            None => Ok((!files.is_empty()).then_some(files)),
        }
    };
    if let Some(files) = of(root)? {
        return Ok(Some((files, Vec::new())));
    }
    let list = root.join("dataset_dict.json");
    let splits = json(list.clone());
    let Some(splits) =
        splits.as_ref().and_then(|value| value.get("splits")).and_then(serde_json::Value::as_array)
    else {
        return Ok(None);
    };
    let names: Vec<&str> = splits.iter().filter_map(serde_json::Value::as_str).collect();
    let mut files = Vec::new();
    for name in &names {
        let dir = root.join(name);
        files.extend(of(&dir)?.ok_or_else(|| lacks(&dir.join("state.json"), &list))?);
    }
    if files.is_empty() {
        return Ok(None);
    }
    let note = format!(
        "splits {} read as one set; name one of their folders to read that alone",
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    );
    let notes = if names.len() > 1 { vec![note] } else { Vec::new() };
    Ok(Some((files, notes)))
}

/// A file that is not there although another one names it.
fn lacks(file: &Path, named_in: &Path) -> PairsError {
    PairsError::Incomplete { path: file.into(), list: named_in.into() }
}

/// With a note on files of a numbered set that are not among them: `train-00000-of-00002` without its second part.
fn with_gaps((files, mut notes): Located) -> Located {
    // By folder, beginning and ending: the count, and the numbers that are there.
    let mut sets: BTreeMap<(PathBuf, String, String, usize), BTreeSet<usize>> = BTreeMap::new();
    for file in &files {
        if let Some((set, number)) = numbered(file) {
            sets.entry(set).or_default().insert(number);
        }
    }
    for ((folder, start, end, count), there) in sets {
        let missing = (0..count).find(|number| !there.contains(number));
        // Some tools count from 1.
        let from_one = there.len() == count && there.contains(&count);
        if let Some(number) = missing.filter(|_| !from_one) {
            let digits = 5;
            let name = format!("{start}-{number:0digits$}-of-{count:0digits$}{end}");
            notes.push(format!(
                "only {} of {count} parts are there, and what follows is about these alone: `{}` is missing, for one; fetch the rest",
                there.len(),
                folder.join(name).display()
            ));
        }
    }
    (files, notes)
}

/// The set and the number of a file called `START-00000-of-00002END`.
fn numbered(file: &Path) -> Option<((PathBuf, String, String, usize), usize)> {
    let name = file.file_name()?.to_str()?;
    let (before, after) = name.split_once("-of-")?;
    let (start, number) = before.rsplit_once('-')?;
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let (count, rest) = after.split_at_checked(end)?;
    let count = count.parse().ok().filter(|count| FILES.check(*count as u64).is_ok())?;
    let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
    Some(((folder, start.to_owned(), rest.to_owned(), count), number.parse().ok()?))
}

/// Files of the preferred kind among `files`, sorted, with a note on the rest.
fn preferred(files: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<String>) {
    let best = files.iter().filter_map(|path| kind(path)).min();
    let (mut kept, rest): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| kind(path) == best);
    kept.sort();
    let notes = match rest.as_slice() {
        [] => Vec::new(),
        [first, ..] => vec![format!(
            "{} file(s) of another kind in the folder left aside, such as `{}`",
            rest.len(),
            first.display()
        )],
    };
    (kept, notes)
}

/// Counts a file that is looked at for `source`.
fn one_more(seen: &mut u64, source: &Path) -> Result<(), PairsError> {
    *seen += 1;
    let over = |too_much| PairsError::TooMuch { path: source.into(), too_much, at: String::new() };
    FILES.check(*seen).map_err(over)
}

/// Files that a pattern with `**` matches, links to folders not followed: they may lead in circles, and then a pattern
/// has more matches than there are files.
fn everywhere(source: &str) -> Result<Vec<PathBuf>, PairsError> {
    let wrong = |error: glob::PatternError| PairsError::NotFound {
        path: shorten(source),
        hint: format!("the pattern is not valid: {error}"),
    };
    let pattern = glob::Pattern::new(source).map_err(wrong)?;
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
    let start = source.find(['*', '?', '[']).unwrap_or(source.len());
    let root = source.get(..start).and_then(|plain| plain.rfind('/').and_then(|at| plain.get(..=at)));
    let root = PathBuf::from(root.unwrap_or("."));
    let is_plain = root == Path::new(".");
    let (mut folders, mut files, mut seen) = (vec![root], Vec::new(), 0_u64);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            one_more(&mut seen, Path::new(source))?;
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) => {
                    let name = if is_plain { path.strip_prefix(".").unwrap_or(&path) } else { &path };
                    if pattern.matches_path_with(name, options) && path.is_file() {
                        files.push(name.to_path_buf());
                    }
                }
                Err(_) => {}
            }
        }
    }
    Ok(files)
}

/// Files that a glob matches, sorted.
fn pattern(source: &str) -> Result<(Vec<PathBuf>, Vec<String>), PairsError> {
    if source.contains("**") {
        let mut files = everywhere(source)?;
        files.sort();
        return if files.is_empty() { Err(matches_nothing(source)) } else { Ok((files, Vec::new())) };
    }
    let paths = glob::glob(source).map_err(|error| PairsError::NotFound {
        path: shorten(source),
        hint: format!("the pattern is not valid: {error}"),
    })?;
    let (mut files, mut seen) = (Vec::new(), 0);
    for path in paths {
        one_more(&mut seen, Path::new(source))?;
        match path {
            Ok(path) if path.is_file() => files.push(path),
            Ok(_) => {}
            Err(error) => {
                let path = error.path().to_path_buf();
                return Err(io_error(&path, error.into()));
            }
        }
    }
    if files.is_empty() {
        return Err(matches_nothing(source));
    }
    files.sort();
    Ok((files, Vec::new()))
}

fn matches_nothing(source: &str) -> PairsError {
    PairsError::NotFound {
        path: shorten(source),
        hint: "the pattern matches no file; quote it so that the shell leaves it alone".into(),
    }
}
