//! Training, put aside after each epoch: a run that was killed goes on to the same weights.
//!
//! One safetensors file, replaced as a whole. Everything random in an epoch comes from a stream of
//! that epoch's own, so no state of a generator has to be kept.

use std::{collections::HashMap, path::PathBuf};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{SaeError, store};

/// Where to put training aside, and for which work: a file of other work is not taken up.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// Fingerprint of data, settings and seed.
    pub print: String,
}

/// What is known after an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) print: String,
    pub(super) epoch: usize,
    pub(super) best_epoch: usize,
    pub(super) best_loss: f64,
    pub(super) improved_loss: f64,
    pub(super) improved_epoch: usize,
    pub(super) losses: Vec<(f64, f64)>,
    pub(super) steps: i32,
    pub(super) dead: usize,
    pub(super) steps_since_fired: Vec<usize>,
}

/// Names and values of the arrays that go with it.
pub(super) type Arrays = Vec<(String, Vec<f32>)>;

impl Checkpoint {
    /// Replaces the file.
    ///
    /// # Errors
    /// [`SaeError::File`], [`SaeError::Format`].
    pub(super) fn save(&self, progress: &Progress, arrays: &Arrays) -> Result<(), SaeError> {
        let broken = |reason: String| SaeError::Format { path: self.path.clone(), reason };
        let progress = Progress { print: self.print.clone(), ..progress.clone() };
        let about = serde_json::to_string(&progress).map_err(|error| broken(error.to_string()))?;
        let mut views = Vec::with_capacity(arrays.len());
        for (name, values) in arrays {
            let bytes: &[u8] = bytemuck::cast_slice(values);
            let view = TensorView::new(Dtype::F32, vec![values.len()], bytes)
                .map_err(|error| broken(error.to_string()))?;
            views.push((name.as_str(), view));
        }
        let data = safetensors::serialize(views, Some(HashMap::from([("progress".to_owned(), about)])))
            .map_err(|error| broken(error.to_string()))?;
        store::write(&self.path, &data)
    }

    /// What the file holds; `None` where there is none, or one of other work, or half a one.
    pub(super) fn load(&self) -> Option<(Progress, Arrays)> {
        let data = crate::limits::read(&self.path).ok()?;
        let (_, header) = SafeTensors::read_metadata(&data).ok()?;
        let about = header.metadata().as_ref()?.get("progress")?;
        let progress: Progress = serde_json::from_str(about).ok()?;
        if progress.print != self.print {
            return None;
        }
        let file = SafeTensors::deserialize(&data).ok()?;
        let mut arrays = Vec::new();
        for (name, tensor) in file.tensors() {
            let (values, _) = tensor.data().as_chunks::<4>();
            let values: Vec<f32> = values.iter().map(|&value| f32::from_le_bytes(value)).collect();
            if tensor.dtype() != Dtype::F32 || !values.iter().all(|value| value.is_finite()) {
                return None;
            }
            arrays.push((name, values));
        }
        Some((progress, arrays))
    }

    /// Work that is done needs no checkpoint.
    pub(super) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
