//! `wimhf cache`: where embeddings and answers are kept, how much there is, and how it goes away.

use std::fmt::Write;

use clap::{Args, Subcommand};

use super::{Call, Failure};
use serde_json::{Value, json};
use wimhf::Context;
use wimhf::cache::{self, Cache, CacheError};

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wimhf cache size
  wimhf cache prune --older-than 30
  wimhf cache prune --to 2GB
  wimhf cache clear

The cache is at WIMHF_CACHE_DIR, or in the system's folder for caches. After each run it is pruned to
WIMHF_CACHE_LIMIT (10GiB). Models from the Hub are not in it: they lie in the Hub's own cache (HF_HOME).")]
pub struct CacheArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the cache's folder.
    Dir,
    /// Show what is in it, by what made it.
    Size,
    /// Remove what was not used for long, then the oldest until it fits.
    Prune {
        /// Remove what no run used for so many days.
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u64>,
        /// Remove what was used longest ago until so much is left [default: WIMHF_CACHE_LIMIT, or 10GiB].
        #[arg(long, value_name = "SIZE", value_parser = size)]
        to: Option<u64>,
    },
    /// Remove everything in it.
    Clear,
}

fn size(text: &str) -> Result<u64, String> {
    cache::bytes(text).ok_or_else(|| "write a size such as `500MB` or `2GiB`".to_owned())
}

/// Bytes for people.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn days(days: u64) -> String {
    match days {
        0 => "today".into(),
        1 => "yesterday".into(),
        days => format!("{days} days ago"),
    }
}

/// Runs the subcommand.
pub fn run(arguments: CacheArguments, call: &Call) -> Result<(), Failure> {
    let (value, text) =
        act(&arguments.action, &call.context).map_err(|error| Failure::new(2, &error.into()))?;
    call.answer(&value, |_| text)
}

fn act(action: &Action, context: &Context) -> Result<(Value, String), CacheError> {
    let cache = Cache::of(context)?;
    let mut out = String::new();
    let bytes_now = || cache.size().map(|buckets| buckets.iter().map(|bucket| bucket.bytes).sum::<u64>());
    // Writing into a string cannot fail.
    let value = match action {
        Action::Dir => {
            let _ = writeln!(out, "{}", cache.folder().display());
            json!({"folder": cache.folder()})
        }
        Action::Size => {
            let buckets = cache.size()?;
            if buckets.is_empty() {
                let _ = writeln!(out, "nothing is in the cache `{}`", cache.folder().display());
            }
            let mut values = Vec::new();
            for bucket in buckets {
                let _ = writeln!(out, "{}: {}", bucket.bucket, human(bucket.bytes));
                let mut spaces = Vec::new();
                for space in bucket.spaces {
                    // A template may have lines of its own.
                    let name: String =
                        space.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                    let (entries, bytes, used) = (space.entries, human(space.bytes), days(space.days));
                    let _ = writeln!(out, "  {entries:>9} entries  {bytes:>9}  used {used:<12}  {name}");
                    spaces.push(json!({
                        "name": name, "entries": entries, "bytes": space.bytes, "unused_days": space.days
                    }));
                }
                values.push(
                    json!({"name": bucket.bucket.to_string(), "bytes": bucket.bytes, "spaces": spaces}),
                );
            }
            json!({"folder": cache.folder(), "buckets": values})
        }
        Action::Prune { older_than, to } => {
            let limit = to.or_else(|| older_than.is_none().then(|| cache::limit(context)));
            let before = bytes_now()?;
            let removed = cache.prune(*older_than, limit)?;
            let after = bytes_now()?;
            let freed = before.saturating_sub(after);
            let _ = writeln!(out, "{removed} entries removed, {} freed, {} left", human(freed), human(after));
            json!({"removed": removed, "freed_bytes": freed, "left_bytes": after})
        }
        Action::Clear => {
            let freed = cache.clear()?;
            let _ = writeln!(out, "{} freed", human(freed));
            json!({"freed_bytes": freed})
        }
    };
    Ok((value, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (12_345_678, "12.3 MB")]
        {
            assert_eq!(human(bytes), text);
        }
        assert_eq!(human(5_000_000_000_000), "5000.0 GB");
    }
}
