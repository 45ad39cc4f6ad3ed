//! `wimhf runs`: which runs there are, and of what.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use serde::Serialize;

use wimhf::report::text::{shortened, thousands};
use wimhf::store::Manifest;

use super::{Call, Failure};

/// Folders below the named one that are looked into.
const DEPTH: usize = 3;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf runs
  wimhf runs experiments --json | jq -r '.[] | select(.principles > 0) | .run'")]
pub struct RunsArguments {
    /// Where to look: this folder, and three levels of folders in it.
    #[arg(value_name = "FOLDER", default_value = "runs")]
    folder: PathBuf,
}

/// A run as it is listed.
#[derive(Debug, Serialize)]
struct Listed {
    run: PathBuf,
    data: String,
    seed: u64,
    labels: usize,
    principles: usize,
    finished: bool,
    version: String,
    /// Seconds since 1970 at which its record was written.
    written: Option<u64>,
}

/// Runs the subcommand.
pub fn run(arguments: &RunsArguments, call: &Call) -> Result<(), Failure> {
    if !arguments.folder.is_dir() {
        let message = format!(
            "there is no folder `{}`\nhint: `wimhf analyze DATA` makes its run in `runs`; or name the folder that holds yours",
            arguments.folder.display()
        );
        return Err(Failure::mistake(message));
    }
    let mut found = Vec::new();
    collect(&arguments.folder, DEPTH, &mut found);
    // The newest first.
    found.sort_by(|a, b| b.written.cmp(&a.written).then_with(|| a.run.cmp(&b.run)));
    call.answer(&found, |_| text(&found, &arguments.folder))
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<Listed>) {
    let record = folder.join("run.json");
    if Manifest::is_one(&record) {
        // What another version wrote is listed with what can be read of it.
        if let Ok(manifest) = Manifest::read(&record) {
            found.push(listed(folder, &record, manifest));
        }
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        // A link may lead back up.
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), depth - 1, found);
        }
    }
}

fn listed(folder: &Path, record: &Path, manifest: Manifest) -> Listed {
    let modified = std::fs::metadata(record).and_then(|meta| meta.modified()).ok();
    let written = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    Listed {
        run: folder.to_path_buf(),
        finished: super::is_finished(&manifest),
        data: manifest.dataset.path,
        seed: manifest.seed,
        labels: manifest.metrics.judgements,
        principles: manifest.metrics.principles,
        version: manifest.version,
        written: written.map(|since| since.as_secs()),
    }
}

fn text(found: &[Listed], folder: &Path) -> String {
    if found.is_empty() {
        return format!("no run in `{}`\n", folder.display());
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let names: Vec<String> = found.iter().map(|one| one.run.display().to_string()).collect();
    let wide = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(3);
    let mut out = format!(
        "{:<wide$}  {:>9}  {:>10}  {:>4}  {:<12}  data\n",
        "run", "labels", "principles", "seed", "written"
    );
    for (one, name) in found.iter().zip(names) {
        let principles = if one.finished { one.principles.to_string() } else { "unfinished".into() };
        out += &format!(
            "{name:<wide$}  {:>9}  {principles:>10}  {:>4}  {:<12}  {}\n",
            thousands(one.labels),
            one.seed,
            one.written.map_or_else(String::new, |then| ago(now.saturating_sub(then))),
            shortened(&one.data, 40)
        );
    }
    out
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => "just now".into(),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        assert_eq!(
            [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 900_000].map(ago),
            [
                "just now",
                "just now",
                "1 min ago",
                "59 min ago",
                "1 h ago",
                "23 h ago",
                "1 days ago",
                "10 days ago"
            ]
        );
    }
}
