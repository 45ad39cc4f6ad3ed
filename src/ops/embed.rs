//! A table of pairs through an embedder, from a file or stream to another one.

use std::path::{Path, PathBuf};

use polars::prelude::DataFrame;

use crate::config::EmbedConfig;
use crate::context::Context;
use crate::embed::{TableEmbedder, TableError};
use crate::pairs::ReadOptions;
use crate::run::RunError;
use crate::score::ScoreError;
use crate::score::stream::{Sink, SinkError, Source};
use crate::store::StoreError;
use crate::store::output::{Kind, Output};

/// What is embedded, and where the result goes.
#[derive(Debug, Clone)]
pub struct EmbedRequest {
    /// Pairs: Parquet, JSON lines, or `-` for an Arrow IPC stream on stdin.
    pub pairs: String,
    /// Parquet, JSON lines by its name, or `-` for an Arrow IPC stream on stdout.
    pub out: String,
    /// The embedder (on this machine: `boxed`, or a model's folder) and what of a pair it embeds.
    pub settings: EmbedConfig,
    /// Columns named by hand.
    pub columns: ReadOptions,
    /// Names of the columns with the vectors of the first and of the second response.
    pub names: (String, String),
    /// Replace the file even where it is of another kind.
    pub force: bool,
}

/// What was embedded, and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// The file, or `-`.
    pub out: String,
    /// Name and revision of the embedder.
    pub embedder: String,
    /// Rows.
    pub rows: usize,
    /// Rows of these that have no vectors, since they could not be read as a pair.
    pub left_out: usize,
    /// Length of a vector.
    pub dimensions: Option<usize>,
    /// Whoever read the stream had enough before its end.
    pub closed: bool,
}

/// Why there are no vectors.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source
pub enum EmbedTableError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Batch(#[from] ScoreError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Adds `wimhf_pair_id` and the vectors of both responses to every row, batch by batch.
///
/// # Errors
/// See [`EmbedTableError`].
pub fn embed(request: &EmbedRequest, context: &Context) -> Result<Embedded, EmbedTableError> {
    let embedder = TableEmbedder::open(&request.settings, request.columns.clone(), context)?;
    let mut source = Source::open(&request.pairs)?;
    let out = request.out.clone();
    if out != "-" {
        let path = Path::new(&out);
        let lines = matches!(Kind::of_name(path), Kind::Json | Kind::JsonLines);
        let kind = if lines { Kind::JsonLines } else { Kind::Parquet };
        let inputs = [PathBuf::from(&request.pairs)];
        let output = Output { path, flag: "--out", kind, run: None, inputs: &inputs, force: request.force };
        output.check().map_err(RunError::from)?;
    }
    let mut sink = Sink::open(&out)?;
    let names = (request.names.0.as_str(), request.names.1.as_str());
    let mut found = Embedded {
        out,
        embedder: embedder.identity(),
        rows: 0,
        left_out: 0,
        dimensions: None,
        closed: false,
    };
    // A table without rows has its columns all the same.
    let empty = DataFrame::empty_with_schema(source.schema());
    let mut batch = source.next_batch()?.unwrap_or(empty);
    loop {
        context.cancel.check().map_err(ScoreError::from)?;
        let mut done = embedder.transform(&batch, names)?;
        found.rows += done.height();
        found.left_out += done.column(names.0).map_or(0, polars::prelude::Column::null_count);
        match sink.write(&mut done) {
            Ok(()) => {}
            // Whoever reads has enough.
            Err(SinkError::Closed) => return Ok(Embedded { closed: true, ..found }),
            Err(SinkError::Failed(error)) => return Err(error.into()),
        }
        match source.next_batch()? {
            Some(more) => batch = more,
            None => break,
        }
    }
    match sink.finish() {
        Ok(()) => {}
        Err(SinkError::Closed) => found.closed = true,
        Err(SinkError::Failed(error)) => return Err(error.into()),
    }
    found.dimensions = embedder.dimensions();
    Ok(found)
}
