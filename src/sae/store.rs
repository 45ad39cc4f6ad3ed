//! The autoencoder on disk: weights in safetensors, and beside them how to use these.

use std::{collections::HashMap, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{Sae, SaeError};
use crate::matrix::Matrix;

/// `encoder` and `decoder` `[features, dimensions]`, `threshold` `[1]`.
pub const WEIGHTS_FILE: &str = "sae.safetensors";
/// [`SaeCard`] as JSON.
pub const CARD_FILE: &str = "sae.json";
/// Version of both files; grows when a reader has to change.
const SCHEMA_VERSION: u32 = 1;

/// How to use the weights: everything that another program needs beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SaeCard {
    /// Version of the files.
    pub schema_version: u32,
    /// Number of dimensions of a delta, D.
    pub dimensions: usize,
    /// Number of features, M.
    pub features: usize,
    /// Features active in an average pair, K.
    pub active: usize,
    /// Matryoshka prefixes, ascending.
    pub prefixes: Vec<usize>,
    /// θ, in the units of the deltas.
    pub threshold: f32,
    /// Which embedder the deltas come from, with its revision.
    pub embedder: String,
    /// The formula in words that a program can be written from.
    pub formula: String,
    /// What the sign means.
    pub orientation: String,
}

impl SaeCard {
    /// The card of `sae`, trained for `active` and `prefixes` on deltas of `embedder`.
    pub fn new(sae: &Sae, active: usize, prefixes: &[usize], embedder: &str) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            dimensions: sae.dimensions(),
            features: sae.features(),
            active,
            prefixes: prefixes.to_vec(),
            threshold: sae.threshold,
            embedder: embedder.to_string(),
            formula: "x = embedding(response A) - embedding(response B); pre = x · encoderᵀ; \
                      z = pre where |pre| > threshold, else 0; reconstruction = z · decoder"
                .into(),
            orientation: "z > 0: more of the feature in response A; z(-x) = -z(x)".into(),
        }
    }
}

impl Sae {
    /// Writes [`WEIGHTS_FILE`] and [`CARD_FILE`] into `directory`, each under a temporary name
    /// first.
    ///
    /// # Errors
    /// [`SaeError::File`].
    pub fn save(&self, directory: &Path, card: &SaeCard) -> Result<(), SaeError> {
        let shape = vec![self.features(), self.dimensions()];
        let tensors = [
            ("decoder", shape.clone(), bytes(&self.decoder.values)),
            ("encoder", shape, bytes(&self.encoder.values)),
            ("threshold", vec![1], bytes(&[self.threshold])),
        ];
        let weights = directory.join(WEIGHTS_FILE);
        let broken = |path: &Path, reason: String| SaeError::Format { path: path.into(), reason };
        let mut views = Vec::with_capacity(tensors.len());
        for (name, shape, data) in &tensors {
            let view = TensorView::new(Dtype::F32, shape.clone(), data)
                .map_err(|error| broken(&weights, error.to_string()))?;
            views.push((*name, view));
        }
        let about = HashMap::from([("formula".to_string(), card.formula.clone())]);
        let data = safetensors::serialize(views, Some(about))
            .map_err(|error| broken(&weights, error.to_string()))?;
        write(&weights, &data)?;

        let path = directory.join(CARD_FILE);
        let mut json = serde_json::to_vec_pretty(card).map_err(|error| broken(&path, error.to_string()))?;
        json.push(b'\n');
        write(&path, &json)
    }

    /// Reads what [`Sae::save`] wrote; the weights are checked against the card.
    ///
    /// # Errors
    /// [`SaeError::File`], [`SaeError::Format`].
    pub fn load(directory: &Path) -> Result<(Self, SaeCard), SaeError> {
        let path = directory.join(CARD_FILE);
        let card: SaeCard = serde_json::from_slice(&read(&path)?)
            .map_err(|error| SaeError::Format { path: path.clone(), reason: error.to_string() })?;
        if card.schema_version != SCHEMA_VERSION {
            let reason =
                format!("schema version {} where this program reads {SCHEMA_VERSION}", card.schema_version);
            return Err(SaeError::Format { path, reason });
        }

        let path = directory.join(WEIGHTS_FILE);
        let data = read(&path)?;
        let broken = |reason: String| SaeError::Format { path: path.clone(), reason };
        let file = SafeTensors::deserialize(&data).map_err(|error| broken(error.to_string()))?;
        let tensor = |name: &str, shape: &[usize]| -> Result<Vec<f32>, SaeError> {
            let tensor = file.tensor(name).map_err(|error| broken(error.to_string()))?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                return Err(broken(format!(
                    "`{name}` is {:?} {:?}, expected F32 {shape:?}",
                    tensor.dtype(),
                    tensor.shape()
                )));
            }
            let (values, _) = tensor.data().as_chunks::<4>();
            let values: Vec<f32> = values.iter().map(|&value| f32::from_le_bytes(value)).collect();
            match values.iter().all(|value| value.is_finite()) {
                true => Ok(values),
                false => Err(broken(format!("`{name}` holds NaN or infinity"))),
            }
        };
        let shape = [card.features, card.dimensions];
        if shape.contains(&0) {
            return Err(broken(format!("its shape is {shape:?}")));
        }
        let matrix = |values| Matrix { values, cols: card.dimensions };
        let encoder = matrix(tensor("encoder", &shape)?);
        let decoder = matrix(tensor("decoder", &shape)?);
        let threshold = tensor("threshold", &[1])?.first().copied().unwrap_or(0.0);
        Ok((Self { encoder, decoder, threshold }, card))
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, SaeError> {
    crate::limits::read(path).map_err(|source| SaeError::File { action: "read", path: path.into(), source })
}

/// All or nothing: a reader never sees half a file, and the next run sweeps away what a killed one left.
pub(super) fn write(path: &Path, data: &[u8]) -> Result<(), SaeError> {
    crate::store::write_bytes(path, data).map_err(|error| {
        let source = match error {
            crate::store::StoreError::Io { source, .. } => source,
            other => std::io::Error::other(other),
        };
        SaeError::File { action: "write", path: path.into(), source }
    })
}
