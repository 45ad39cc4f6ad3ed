//! Columns of a run's tables, read when they are needed and kept while there is room.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::*;

use crate::error::ExploreError;

/// Columns that are kept: 256 MB of a million pairs.
const KEPT: usize = 64;

/// A run's table of numbers, `[pairs, features]`, column by column.
pub struct Columns {
    path: PathBuf,
    rows: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    columns: HashMap<String, (u64, Arc<Vec<f32>>)>,
    turn: u64,
}

impl Columns {
    /// Of `activations.parquet` or `presence.parquet`, which has `rows` rows.
    pub fn new(path: &Path, rows: usize) -> Self {
        Self { path: path.into(), rows, kept: Mutex::default() }
    }

    /// One column, `[pairs]`.
    ///
    /// # Errors
    /// Where the file is gone, damaged or of another run.
    pub fn get(&self, name: &str) -> Result<Arc<Vec<f32>>, ExploreError> {
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.turn += 1;
            let turn = kept.turn;
            if let Some((used, column)) = kept.columns.get_mut(name) {
                *used = turn;
                return Ok(column.clone());
            }
        }
        let column = Arc::new(self.read(name)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.columns.len() >= KEPT {
            let oldest = kept.columns.iter().min_by_key(|(_, (used, _))| *used).map(|(name, _)| name.clone());
            oldest.and_then(|name| kept.columns.remove(&name));
        }
        let turn = kept.turn;
        kept.columns.insert(name.to_owned(), (turn, column.clone()));
        Ok(column)
    }

    /// The column from the file, which is not kept.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn read(&self, name: &str) -> Result<Vec<f32>, ExploreError> {
        let damaged = |message: String| {
            let path = self.path.display();
            ExploreError::missing(
                format!("`{path}` cannot be read: {message}"),
                "the run was moved, is being written or is damaged: `wimhf analyze` makes it whole",
            )
        };
        let file = wimhf::limits::open(&self.path).map_err(|error| damaged(error.to_string()))?;
        let frame = ParquetReader::new(file)
            .with_columns(Some(vec![name.to_owned()]))
            .finish()
            .map_err(|error| damaged(error.to_string()))?;
        let column = frame.column(name).map_err(|error| damaged(error.to_string()))?;
        let values = column.cast(&DataType::Float32).map_err(|error| damaged(error.to_string()))?;
        let values = values.f32().map_err(|error| damaged(error.to_string()))?;
        if values.len() != self.rows {
            return Err(damaged(format!("it has {} rows where the run has {}", values.len(), self.rows)));
        }
        Ok(values.iter().map(|value| value.unwrap_or(0.0)).collect())
    }
}
