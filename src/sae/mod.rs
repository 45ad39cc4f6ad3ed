//! The signed sparse autoencoder: deltas in, features out.
//!
//! ```text
//! deltas       rows in memory, or in a file larger than memory
//! train        deltas [pairs, dimensions] ──► Sae + TrainReport     (on the device chosen)
//!   initial      a decoder to start from, read off the data
//!   fused        a step on the CPU, by hand; `kernels` are its inner loops
//!   resident     the same step on a GPU: five kernels in WGSL, all data on the device
//!   objective    the same step in Burn's own operations, for GPUs on which those kernels fail their test
//!   select       batch top-k with its gradient: WGSL on a GPU, Rust on the CPU
//! learn        the autoencoder over differences, and its stability
//! stability    which features come back when half of the pairs are learned from
//! sentence     the same training over sentences: ReLU, a bias, features that are said or not
//! clear        from which activation on a feature of sentences is clear to a reader
//! model        the trained Sae on the host: activations, reconstruction, NMSE
//! checkpoint   training put aside after each epoch
//! store        sae.safetensors and sae.json
//! device       which backend, and why
//! ```
//!
//! There are no biases. A pair and its mirror image (A and B swapped) are the same observation, so
//! the training data is symmetric around zero and the best biases are zero; leaving them out makes
//! every activation exactly odd, `z(−x) = −z(x)`, and makes a mirrored row's gradient equal to the
//! row's own. Doubling the rows then only means seeing each of them twice in an epoch.

mod checkpoint;
mod clear;
mod cpu_engine;
mod deltas;
mod device;
mod gpu_engine;
mod initial;
mod kernels;
mod learn;
mod linear;
mod model;
mod objective;
mod select;
mod sentence;
mod shape;
mod stability;
mod store;
mod train;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use checkpoint::Checkpoint;
pub use clear::{clear_level, clear_levels};
pub use deltas::{DeltaFile, Deltas};
pub use device::{Compute, DeviceChoice, choose};
pub use learn::TrainData;
pub use model::Sae;
pub(crate) use sentence::features_for;
pub use sentence::{SentenceSae, SparseRows, sentence_config, train_sentences};
pub use stability::stability;
pub use store::{CARD_FILE, SaeCard, WEIGHTS_FILE};
pub use train::{Control, Progress, TrainReport, train, train_resumable};

/// What happens between the encoder and the selection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Nothing: `pre = x · E`, selected by magnitude. For differences, where either sign means something.
    #[default]
    Signed,
    /// `pre = max(0, x · E + b)`. For sentences, which say a thing or do not.
    Relu,
}

/// How the autoencoder is built and trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SaeConfig {
    /// Features to learn, M. 32 served every dataset of the paper; more for diverse prompts.
    pub features: usize,
    /// Features active in an average pair, K. 4 as in the paper; more for long responses.
    pub active: usize,
    /// Matryoshka prefixes: the first so many features must reconstruct on their own. Those of M
    /// and above are dropped and M itself is always the last.
    pub prefixes: Vec<usize>,
    /// Rows per step.
    pub batch: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Epochs at most; one epoch sees every pair and its mirror image.
    pub epochs_max: usize,
    /// Epochs at least, before stopping early is considered.
    pub epochs_min: usize,
    /// Stop after this many epochs without a better validation loss.
    pub patience: usize,
    /// What counts as better, in NMSE. The paper's 1e-6 spends half of the epochs on the fourth
    /// digit.
    pub improvement: f64,
    /// A feature that fired in none of this many batches is dead and gets help.
    pub dead_after: usize,
    /// Weight of the auxiliary loss that revives dead features.
    pub auxiliary_weight: f64,
    /// The run's seed.
    pub seed: u64,
}

impl Default for SaeConfig {
    fn default() -> Self {
        Self {
            features: 32,
            active: 4,
            prefixes: vec![8, 32],
            batch: 256,
            learning_rate: 5e-4,
            epochs_max: 50,
            epochs_min: 10,
            patience: 3,
            improvement: 1e-4,
            dead_after: 64,
            auxiliary_weight: 1.0 / 32.0,
            seed: 0,
        }
    }
}

/// What can go wrong between deltas and features.
#[derive(Debug, thiserror::Error)]
pub enum SaeError {
    /// A setting outside its range.
    #[error("the autoencoder's `{setting}` is {value}; it must be {allowed}")]
    Setting {
        /// Name in [`SaeConfig`].
        setting: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        allowed: String,
    },
    /// Nothing to learn from.
    #[error(
        "nothing to train the autoencoder on: of {given} training rows {zero} are zero (a pair whose responses have equal vectors, or a sentence that says nothing to the embedder)\nhint: use more data or another embedder"
    )]
    NoRows {
        /// Training rows given.
        given: usize,
        /// How many of them are all zero.
        zero: usize,
    },
    /// NaN, infinity or an absurd magnitude in the data.
    #[error(
        "row {row} of the vectors has NaN, infinity or a value beyond 1e30 in dimension {column}; check the vectors of that pair or sentence, or leave it out"
    )]
    NotFinite {
        /// Row of the deltas or of the sentences' vectors.
        row: usize,
        /// Column.
        column: usize,
    },
    /// A row number outside the data.
    #[error("row {row} was asked for, but there are only {rows} pairs")]
    RowOutside {
        /// The number asked for.
        row: usize,
        /// Rows there are.
        rows: usize,
    },
    /// Vectors of another embedder.
    #[error(
        "the autoencoder expects vectors with {expected} dimensions, these have {found}; use the embedder it was trained with"
    )]
    Dimensions {
        /// What the autoencoder was trained on.
        expected: usize,
        /// What it was given.
        found: usize,
    },
    /// The loss left the number line.
    #[error(
        "training diverged in epoch {epoch}: the loss is not a number any more; try a smaller `learning_rate` (now {learning_rate})"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// The step size that was used.
        learning_rate: f64,
    },
    /// The caller asked to stop.
    #[error("training was stopped in epoch {epoch}")]
    Stopped {
        /// Epoch, from 1.
        epoch: usize,
    },
    /// `--device gpu` on a machine without one.
    #[error(
        "`--device gpu`: no graphics adapter with a Vulkan, Metal or DirectX 12 driver was found; install the driver or use `--device cpu`"
    )]
    NoGpu,
    /// An adapter that cannot be used.
    #[error("`--device gpu`: {adapter} cannot be used ({reason}); update its driver or use `--device cpu`")]
    GpuUnusable {
        /// Name of the adapter.
        adapter: String,
        /// What went wrong.
        reason: String,
    },
    /// The device failed in the middle of the work.
    #[error("{adapter} failed during training ({reason}); use `--device cpu`")]
    DeviceFailed {
        /// Name of the adapter.
        adapter: String,
        /// What went wrong.
        reason: String,
    },
    /// A file that cannot be read or written.
    #[error("cannot {action} `{}`: {}{}", path.display(), crate::limits::said(.source), crate::limits::hint(.source))]
    File {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("`{}` is not a usable autoencoder: {reason}\nhint: make the run anew with `--force`", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl SaeError {
    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        !matches!(self, Self::RowOutside { .. } | Self::Diverged { .. })
    }
}

#[cfg(test)]
mod tests;
