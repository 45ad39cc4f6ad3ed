//! What a dataset holds, before anything is run on it.

use super::analyze::AnalyzeError;
use crate::config::Config;
use crate::context::{Context, Observer, Relay};
use crate::dataset;
use crate::embed::{self, EmbeddingEstimate};
use crate::pairs::{self, ReadOptions, ReadReport};

/// What is in the data, and what embedding it would take.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// How it was read.
    pub read: ReadReport,
    /// What was found.
    pub found: pairs::Inspection,
    /// What each way of embedding would take.
    pub embedding: Vec<EmbeddingEstimate>,
}

/// Reads files, folders, globs or datasets of the Hub as `analyze` would, and says what it found.
///
/// # Errors
/// Where the settings contradict each other, or the data cannot be found or read.
pub fn inspect(
    data: &[String],
    config: &Config,
    context: &Context,
    observer: &mut dyn Observer,
) -> Result<Inspection, AnalyzeError> {
    config.validate()?;
    let mut relay = Relay::new(observer);
    let sources = dataset::locate(data, context, &mut relay)?;
    relay.end();
    // What the files hold, however much an analysis would take.
    let options = ReadOptions { max_pairs: 0, ..dataset::read_options(config) };
    let (pairs, read) = pairs::read_all(&sources, &options)?;
    let found = pairs::inspect(&pairs);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let embedding = embed::estimate(&found.texts.lengths, cores, &config.embed);
    Ok(Inspection { read, found, embedding })
}
