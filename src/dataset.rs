//! What the user named as data: found, fetched where it lies on the Hub, and read as the settings say.

use crate::config::Config;
use crate::context::{Context, Observer};
use crate::hub::{self, HubError};
use crate::pairs::{Pairs, ReadOptions, ReadReport, Source};
use crate::store::{DatasetRecord, SourceRecord};

/// How the settings want a dataset read.
pub fn read_options(config: &Config) -> ReadOptions {
    let data = &config.data;
    ReadOptions {
        prompt_column: data.prompt_column.clone(),
        response_a_column: data.response_a_column.clone(),
        response_b_column: data.response_b_column.clone(),
        label_column: data.label_column.clone(),
        label_map: data.label_map.clone(),
        label_scale: data.label_scale,
        annotator_column: data.annotator_column.clone(),
        embedding_columns: data.embedding_columns.clone(),
        group_columns: config.split.columns.clone(),
        preference: data.preference.clone(),
        pairing: data.pairing,
        max_pairs: data.max_pairs,
        seed: config.seed,
    }
}

/// What the user named as data, with what lies on the Hub fetched: its name then holds the commit.
///
/// # Errors
/// See [`HubError`].
pub fn locate(
    names: &[String],
    context: &Context,
    observer: &mut dyn Observer,
) -> Result<Vec<Source>, HubError> {
    names
        .iter()
        .map(|name| {
            if !hub::is_hub(name) {
                return Ok(Source::new(name));
            }
            let fetched = hub::dataset(name, context, observer)?;
            Ok(Source { path: fetched.pinned, fetched: Some(fetched.files) })
        })
        .collect()
}

/// What `run.json` says of a dataset.
pub fn record(read: &ReadReport, pairs: &Pairs) -> DatasetRecord {
    let location = |path: &str| match path.contains("://") {
        true => String::new(),
        false => std::path::absolute(path).map(|path| path.display().to_string()).unwrap_or_default(),
    };
    let sources: Vec<SourceRecord> = (read.sources.iter())
        .map(|source| SourceRecord {
            dataset: source.dataset.clone(),
            path: source.path.clone(),
            location: location(&source.path),
            shape: source.shape.clone(),
            rows: source.rows,
            pairs_read: source.pairs_read,
            pairs_used: source.pairs_used,
        })
        .collect();
    DatasetRecord {
        path: read.path.clone(),
        location: sources
            .first()
            .filter(|_| sources.len() == 1)
            .map(|only| only.location.clone())
            .unwrap_or_default(),
        fingerprint: read.fingerprint.clone(),
        shape: read.shape.clone(),
        pairs_read: read.pairs_read,
        pairs_used: read.pairs_used,
        pairs_unique: pairs.pair_id.len(),
        annotators: pairs.annotators.len(),
        dropped: read.dropped.clone(),
        sources,
    }
}
