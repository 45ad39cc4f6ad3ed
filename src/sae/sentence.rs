//! The sparse autoencoder over sentences: a feature is a thing that a sentence says or does not say.
//!
//! ```text
//! x = v − mean        z = max(0, x · encoderᵀ + bias) where that exceeds θ, else 0        x̂ = z · decoder + mean
//! ```
//!
//! The training is [`train_resumable`](super::train_resumable)'s, with [`Activation::Relu`] between encoder and
//! selection: the same engines, the same loss. What differs is what goes in: sentences' vectors, centred, each seen
//! once an epoch (a sentence has no mirror image).

use std::{collections::HashMap, path::Path};

use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    Activation, Checkpoint, Compute, Control, Deltas, Progress, SaeConfig, SaeError, TrainReport,
    linear::times_transposed,
    model::{check_rows, spread, threshold_for, usable},
    shape::Shape,
    store,
    train::{Rows, check_config, check_finite, fit_guarded, non_zero},
};
use crate::matrix::Matrix;

/// Rows that are looked at together.
const BLOCK: usize = 512;
/// Fewer sentences than this say neither when to stop nor where θ lies.
const FEW: usize = 200;
/// Sentences from which θ is set, at most: the mean of so many counts is known to a hundredth.
const CALIBRATED: usize = 32_768;

/// Sparse features of sentences; see the module.
///
/// A sentence's activations depend on its own vector alone, bit for bit. A vector of zeros, which is what an embedder
/// makes of a text that says nothing to it, activates nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct SentenceSae {
    /// `[features, dimensions]`.
    pub encoder: Matrix,
    /// `[features]`, in the units of the vectors.
    pub bias: Vec<f32>,
    /// `[features, dimensions]`, rows of norm one.
    pub decoder: Matrix,
    /// The mean vector of the training sentences, `[dimensions]`.
    pub mean: Vec<f32>,
    /// θ, in the units of the vectors.
    pub threshold: f32,
}

/// A sparse matrix `[rows, cols]`, row after row, columns ascending within a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SparseRows {
    /// Where each row begins, and where the last one ends, `[rows + 1]`.
    pub indptr: Vec<usize>,
    /// Columns.
    pub index: Vec<u32>,
    /// Values, none of them zero.
    pub value: Vec<f32>,
    /// Number of columns.
    pub cols: usize,
}

impl SparseRows {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.indptr.len().saturating_sub(1)
    }

    /// Columns and values of row `row`; nothing where there is no such row.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let span = self.indptr.get(row).copied().zip(self.indptr.get(row + 1).copied());
        let (start, end) = span.unwrap_or_default();
        (self.index.get(start..end).unwrap_or_default(), self.value.get(start..end).unwrap_or_default())
    }

    /// Puts the rows of another one, of the same columns, behind these.
    pub fn append(&mut self, other: Self) {
        let before = self.index.len();
        self.index.extend(other.index);
        self.value.extend(other.value);
        self.indptr.extend(other.indptr.iter().skip(1).map(|end| before + end));
    }

    /// Without the columns that are not `kept` (`[cols]`).
    pub fn retain(&mut self, kept: &[bool]) {
        let mut next = 0;
        let place: Vec<Option<u32>> = (0..self.cols)
            .map(|column| {
                let at = next;
                let stays = kept.get(column) == Some(&true);
                next += u32::from(stays);
                stays.then_some(at)
            })
            .collect();
        let mut left = Self { indptr: vec![0], cols: next as usize, ..Self::default() };
        for row in 0..self.rows() {
            let (index, value) = self.row(row);
            for (&column, &value) in index.iter().zip(value) {
                if let Some(Some(column)) = place.get(column as usize) {
                    left.index.push(*column);
                    left.value.push(value);
                }
            }
            left.indptr.push(left.index.len());
        }
        *self = left;
    }

    /// What exceeds the level of its column (`[cols]`), and the rest.
    pub fn parted(self, levels: &[f32]) -> (Self, Self) {
        let empty = || Self { indptr: vec![0], cols: self.cols, ..Self::default() };
        let (mut above, mut below) = (empty(), empty());
        for row in 0..self.rows() {
            let (index, value) = self.row(row);
            for (&column, &value) in index.iter().zip(value) {
                let exceeds = levels.get(column as usize).is_none_or(|level| value > *level);
                let side = if exceeds { &mut above } else { &mut below };
                side.index.push(column);
                side.value.push(value);
            }
            above.indptr.push(above.index.len());
            below.indptr.push(below.index.len());
        }
        (above, below)
    }

    /// The values of each column, in the order of rows: `[cols]` lists of (row, value).
    pub fn columns(&self) -> Vec<Vec<(u32, f32)>> {
        let mut columns = vec![Vec::new(); self.cols];
        for row in 0..self.rows() {
            let (index, value) = self.row(row);
            for (&col, &value) in index.iter().zip(value) {
                if let Some(column) = columns.get_mut(col as usize) {
                    column.push((row as u32, value));
                }
            }
        }
        columns
    }
}

/// Settings for training on the rows `train`, in which a row may stand several times.
///
/// A feature needs sentences to be learned from and to be read by. With one feature for 40 rows and K / M of them active
/// in a row, each is active in some 120: enough to name it by, and to see it on held-out pairs. Where few sentences
/// are said over and over (templates), a feature for each of them would be a list, not a meaning: there are four
/// different ones for each feature at least. Beyond 256 readers find the same act again under several numbers. On
/// planted texts (`benches/sentences.rs`) half as many features merge attributes and twice as many split them by phrase;
/// K = 2 loses those that share a sentence with another.
///
/// Some 600 steps are enough whatever the number of rows, so that epochs become fewer where rows are many.
pub fn sentence_config(train: &[u32], seed: u64) -> SaeConfig {
    let features = features_for(train, 256);
    let batch = 512;
    let steps = train.len().div_ceil(batch).max(1);
    SaeConfig {
        features,
        active: 3,
        prefixes: vec![features / 4, features],
        batch,
        learning_rate: 2e-3,
        epochs_max: (600 / steps).clamp(12, 40),
        epochs_min: 10,
        patience: 3,
        improvement: 1e-3,
        dead_after: 32,
        auxiliary_weight: 1.0 / 8.0,
        seed,
    }
}

/// M for the rows `train`, in steps of 16, at most `most`; see [`sentence_config`].
pub(crate) fn features_for(train: &[u32], most: usize) -> usize {
    let mut different = train.to_vec();
    different.sort_unstable();
    different.dedup();
    let features = (train.len() / 40).min(different.len() / 4) / 16 * 16;
    features.clamp(16, most.max(16))
}

/// Trains on the rows `train` of `vectors` `[sentences, dimensions]`, stops by `validation`, sets θ on `calibrate`
/// (sentences that training has not seen), so that K features are active in a sentence of theirs on average. A row may
/// stand in `train` several times and weighs as much, see [`crate::sentences::weighted`]. Where `validation` holds fewer
/// than 200 rows the training rows take its place, where `calibrate` does, the validation rows do. Rows of zeros are
/// left out everywhere.
///
/// The same seed gives the same result on the CPU, whatever the number of threads. Work per epoch is linear in rows,
/// memory beside the vectors is bounded.
///
/// # Errors
/// Those of [`train_resumable`](super::train_resumable).
#[allow(clippy::too_many_arguments, reason = "see `train_resumable`")]
pub fn train_sentences(
    vectors: &dyn Deltas,
    train: &[u32],
    validation: &[u32],
    calibrate: &[u32],
    config: &SaeConfig,
    compute: &Compute,
    checkpoint: Option<&Checkpoint>,
    events: &mut dyn FnMut(Progress) -> Control,
) -> Result<(SentenceSae, TrainReport), SaeError> {
    check_config(config)?;
    for rows in [train, validation, calibrate] {
        check_rows(rows, vectors)?;
        check_finite(rows, vectors)?;
    }
    let told = non_zero(train, vectors)?;
    if told.is_empty() {
        return Err(SaeError::NoRows { given: train.len(), zero: train.len() });
    }
    let mean = mean(vectors, &told)?;
    let centred = Centred { vectors, mean: &mean };
    let rows = Rows::new(&centred, &told)?;
    let validation = non_zero(validation, vectors)?;
    let validation = if validation.len() < FEW { &told } else { &validation };
    let calibrate = non_zero(calibrate, vectors)?;
    let calibrate = if calibrate.len() < FEW { validation } else { &calibrate };

    let (shape, notes) = Shape::fitting(config, rows.index.len(), vectors.dimensions());
    let shape = Shape { activation: Activation::Relu, ..shape };
    let mut report = TrainReport {
        rows: rows.index.len(),
        rows_zero: train.len() - rows.index.len(),
        features: shape.features,
        active: shape.active,
        notes,
        ..TrainReport::default()
    };
    let best = fit_guarded(&rows, validation, &shape, config, compute, checkpoint, events, &mut report)?;
    let matrix = |values| Matrix { values, cols: vectors.dimensions() };
    // Training saw rows of mean square one.
    let bias = best.bias.iter().map(|&bias| (f64::from(bias) * rows.scale) as f32).collect();
    let mut sae = SentenceSae {
        encoder: matrix(best.encoder),
        bias,
        decoder: matrix(best.decoder),
        mean: mean.clone(),
        threshold: 0.0,
    };
    sae.calibrate(vectors, calibrate, shape.active)?;
    sae.report(vectors, validation, &rows.index, &shape.prefixes, &mut report)?;
    Ok((sae, report))
}

impl SentenceSae {
    /// Number of features, M.
    pub fn features(&self) -> usize {
        self.encoder.rows()
    }

    /// Number of dimensions of a vector, D.
    pub fn dimensions(&self) -> usize {
        self.encoder.cols
    }

    /// Activations `[sentences, features]` of the vectors `x` `[sentences, dimensions]`.
    ///
    /// # Errors
    /// [`SaeError::Dimensions`] for vectors of another embedder, [`SaeError::NotFinite`].
    pub fn activations(&self, x: &Matrix) -> Result<SparseRows, SaeError> {
        let least = self.threshold;
        self.above(x, least)
    }

    /// Activations that exceed `least` in place of θ.
    ///
    /// # Errors
    /// As for [`Self::activations`].
    pub fn above(&self, x: &Matrix, least: f32) -> Result<SparseRows, SaeError> {
        let (dimensions, features) = (self.dimensions(), self.features());
        if x.cols != dimensions && !x.values.is_empty() {
            return Err(SaeError::Dimensions { expected: dimensions, found: x.cols });
        }
        let shift = self.shift();
        let parts: Vec<Result<Part, SaeError>> = x
            .values
            .par_chunks(BLOCK * dimensions.max(1))
            .enumerate()
            .map(|(number, rows)| {
                let pre = times_transposed(rows, &self.encoder.values, dimensions);
                let mut part = Part::default();
                let each = rows.chunks_exact(dimensions.max(1)).zip(pre.chunks_exact(features.max(1)));
                for (row, (x, pre)) in each.enumerate() {
                    if let Some(column) = x.iter().position(|&value| !usable(value)) {
                        return Err(SaeError::NotFinite { row: number * BLOCK + row, column });
                    }
                    if x.iter().any(|&value| value != 0.0) {
                        for ((feature, &pre), &shift) in (0u32..).zip(pre).zip(&shift) {
                            let z = pre + shift;
                            if z > least && z > 0.0 {
                                part.index.push(feature);
                                part.value.push(z);
                            }
                        }
                    }
                    part.ends.push(part.index.len());
                }
                Ok(part)
            })
            .collect();
        let mut all = SparseRows { indptr: vec![0], cols: features, ..SparseRows::default() };
        for part in parts {
            let part = part?;
            let before = all.index.len();
            all.indptr.extend(part.ends.iter().map(|end| before + end));
            all.index.extend(part.index);
            all.value.extend(part.value);
        }
        Ok(all)
    }

    /// Reconstruction `[sentences, dimensions]` from activations `[sentences, features]`: the mean where none is active.
    ///
    /// # Errors
    /// [`SaeError::Dimensions`] where the number of features differs.
    pub fn decode(&self, z: &SparseRows) -> Result<Matrix, SaeError> {
        if z.cols != self.features() {
            return Err(SaeError::Dimensions { expected: self.features(), found: z.cols });
        }
        let cols = self.dimensions();
        let mut out = Matrix::zeros(z.rows(), cols);
        out.values.par_chunks_mut(cols.max(1)).enumerate().for_each(|(row, out)| {
            out.copy_from_slice(&self.mean);
            let (index, value) = z.row(row);
            for (&feature, &value) in index.iter().zip(value) {
                let weights = self.decoder.row(feature as usize);
                out.iter_mut().zip(weights).for_each(|(out, weight)| *out += value * weight);
            }
        });
        Ok(out)
    }

    /// What the features leave of `x`, `[sentences, dimensions]`: x − x̂; zeros for a vector of zeros.
    ///
    /// # Errors
    /// Those of [`SentenceSae::activations`].
    pub fn rest(&self, x: &Matrix) -> Result<Matrix, SaeError> {
        let mut rest = self.decode(&self.activations(x)?)?;
        for (rest, x) in rest.values.chunks_mut(x.cols.max(1)).zip(x.values.chunks(x.cols.max(1))) {
            let told = x.iter().any(|&value| value != 0.0);
            rest.iter_mut().zip(x).for_each(|(rest, x)| *rest = if told { x - *rest } else { 0.0 });
        }
        Ok(rest)
    }

    /// The bias of vectors that are not centred: b − encoder · mean.
    fn shift(&self) -> Vec<f32> {
        let along = |feature: usize| -> f64 {
            let terms = self.encoder.row(feature).iter().zip(&self.mean);
            terms.map(|(weight, mean)| f64::from(*weight) * f64::from(*mean)).sum()
        };
        self.bias
            .iter()
            .enumerate()
            .map(|(feature, &bias)| (f64::from(bias) - along(feature)) as f32)
            .collect()
    }

    /// Sets θ so that on `rows` the mean number of active features is `active`.
    fn calibrate(&mut self, vectors: &dyn Deltas, rows: &[u32], active: usize) -> Result<(), SaeError> {
        // Evenly spread, as rows may stand in any order.
        let step = rows.len().div_ceil(CALIBRATED).max(1);
        let rows: Vec<u32> = rows.iter().copied().step_by(step).collect();
        let mut values = Vec::new();
        for rows in rows.chunks(8 * BLOCK) {
            values.extend(self.above(&vectors.gather(rows)?, 0.0)?.value);
        }
        self.threshold = threshold_for(&mut values, rows.len() * active);
        Ok(())
    }

    /// NMSE per prefix and active features at θ on the rows `validation`, dead features on `trained`.
    fn report(
        &self,
        vectors: &dyn Deltas,
        validation: &[u32],
        trained: &[u32],
        prefixes: &[usize],
        report: &mut TrainReport,
    ) -> Result<(), SaeError> {
        let dimensions = self.dimensions();
        let mut errors = vec![0.0; prefixes.len()];
        let (mut square, mut sum, mut active) = (0.0, vec![0.0f64; dimensions], 0);
        for rows in validation.chunks(8 * BLOCK) {
            let x = vectors.gather(rows)?;
            let z = self.activations(&x)?;
            active += z.index.len();
            for (row, x) in x.values.chunks_exact(dimensions.max(1)).enumerate() {
                let mut left: Vec<f64> =
                    x.iter().zip(&self.mean).map(|(x, mean)| f64::from(*x) - f64::from(*mean)).collect();
                square += left.iter().map(|x| x * x).sum::<f64>();
                sum.iter_mut().zip(&left).for_each(|(sum, x)| *sum += x);
                let (index, value) = z.row(row);
                let mut at = 0;
                for (error, &prefix) in errors.iter_mut().zip(prefixes) {
                    while let (Some(&feature), Some(&value)) = (index.get(at), value.get(at))
                        && (feature as usize) < prefix
                    {
                        let weights = self.decoder.row(feature as usize);
                        left.iter_mut()
                            .zip(weights)
                            .for_each(|(x, w)| *x -= f64::from(value) * f64::from(*w));
                        at += 1;
                    }
                    *error += left.iter().map(|x| x * x).sum::<f64>();
                }
            }
        }
        let spread = spread(square, &sum, validation.len());
        report.nmse_prefixes =
            prefixes.iter().zip(errors).map(|(&prefix, error)| (prefix, error / spread)).collect();
        report.nmse = report.nmse_prefixes.last().map_or(f64::NAN, |&(_, nmse)| nmse);
        report.active_mean = active as f64 / validation.len().max(1) as f64;
        let mut fired = vec![false; self.features()];
        for rows in trained.chunks(8 * BLOCK) {
            for feature in self.activations(&vectors.gather(rows)?)?.index {
                if let Some(fired) = fired.get_mut(feature as usize) {
                    *fired = true;
                }
            }
        }
        report.dead = fired.iter().filter(|fired| !**fired).count();
        Ok(())
    }

    /// Writes [`SentenceSae::to_bytes`].
    ///
    /// # Errors
    /// [`SaeError::File`].
    pub fn save(&self, path: &Path, half: bool) -> Result<(), SaeError> {
        let data = self.to_bytes(half).map_err(|reason| SaeError::Format { path: path.into(), reason })?;
        store::write(path, &data)
    }

    /// `encoder`, `decoder` `[features, dimensions]`, `bias` `[features]`, `mean` `[dimensions]` and `threshold` `[1]` as
    /// one safetensors file, the same bytes for the same values; `half` precision for the two matrices saves half of it
    /// and moves an activation by about a thousandth.
    ///
    /// # Errors
    /// What safetensors says where sizes do not fit, which they do.
    pub fn to_bytes(&self, half: bool) -> Result<Vec<u8>, String> {
        let shape = vec![self.features(), self.dimensions()];
        let tensors = [
            ("bias", vec![self.features()], &self.bias[..], false),
            ("decoder", shape.clone(), &self.decoder.values[..], half),
            ("encoder", shape, &self.encoder.values[..], half),
            ("mean", vec![self.dimensions()], &self.mean[..], false),
            ("threshold", vec![1], std::slice::from_ref(&self.threshold), false),
        ];
        let tensors = tensors.map(|(name, shape, values, half)| {
            let bytes: Vec<u8> = if half {
                values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect()
            } else {
                values.iter().flat_map(|value| value.to_le_bytes()).collect()
            };
            (name, shape, bytes, if half { Dtype::F16 } else { Dtype::F32 })
        });
        let mut views = Vec::with_capacity(tensors.len());
        for (name, shape, bytes, dtype) in &tensors {
            let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|error| error.to_string())?;
            views.push((*name, view));
        }
        let formula = "x = embedding(sentence) - mean; pre = x · encoderᵀ + bias; z = pre where pre > threshold, else \
                       0; reconstruction = z · decoder + mean";
        // One entry alone: several would stand in any order.
        let header = HashMap::from([("formula".to_owned(), formula.to_owned())]);
        safetensors::serialize(views, Some(header)).map_err(|error| error.to_string())
    }

    /// The features `kept`, in that order.
    pub fn select(&self, kept: &[u32]) -> Self {
        let bias = kept.iter().filter_map(|&feature| self.bias.get(feature as usize)).copied().collect();
        Self {
            encoder: self.encoder.select_rows(kept),
            bias,
            decoder: self.decoder.select_rows(kept),
            mean: self.mean.clone(),
            threshold: self.threshold,
        }
    }

    /// Reads what [`SentenceSae::save`] wrote.
    ///
    /// # Errors
    /// [`SaeError::File`], [`SaeError::Format`].
    pub fn load(path: &Path) -> Result<Self, SaeError> {
        let data = crate::limits::read(path).map_err(|source| SaeError::File {
            action: "read",
            path: path.into(),
            source,
        })?;
        Self::from_bytes(&data, path)
    }

    /// The same from the file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// [`SaeError::Format`].
    pub fn from_bytes(data: &[u8], path: &Path) -> Result<Self, SaeError> {
        let broken = |reason: String| SaeError::Format { path: path.into(), reason };
        let file = SafeTensors::deserialize(data).map_err(|error| broken(error.to_string()))?;
        let tensor = |name: &str, rank: usize| -> Result<(Vec<usize>, Vec<f32>), SaeError> {
            let view = file.tensor(name).map_err(|error| broken(error.to_string()))?;
            let values: Vec<f32> = match view.dtype() {
                Dtype::F32 => view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
                Dtype::F16 => {
                    let halves = view.data().as_chunks::<2>().0.iter();
                    halves.map(|&bytes| half::f16::from_le_bytes(bytes).to_f32()).collect()
                }
                other => return Err(broken(format!("`{name}` is {other:?}, not F32 or F16"))),
            };
            if view.shape().len() != rank || !values.iter().all(|&value| usable(value)) {
                return Err(broken(format!(
                    "`{name}` has the shape {:?} or values without end",
                    view.shape()
                )));
            }
            Ok((view.shape().to_vec(), values))
        };
        let (shape, encoder) = tensor("encoder", 2)?;
        let (decoder_shape, decoder) = tensor("decoder", 2)?;
        let ((_, bias), (_, mean), (_, threshold)) =
            (tensor("bias", 1)?, tensor("mean", 1)?, tensor("threshold", 1)?);
        let &[features, dimensions] = shape.as_slice() else { return Err(broken("no matrix".into())) };
        let (1.., 1.., &[threshold]) = (features, dimensions, threshold.as_slice()) else {
            return Err(broken("it is empty".into()));
        };
        if decoder_shape != shape || bias.len() != features || mean.len() != dimensions {
            return Err(broken("its tensors are of different sizes".into()));
        }
        let matrix = |values| Matrix { values, cols: dimensions };
        Ok(Self { encoder: matrix(encoder), bias, decoder: matrix(decoder), mean, threshold })
    }
}

#[derive(Default)]
struct Part {
    ends: Vec<usize>,
    index: Vec<u32>,
    value: Vec<f32>,
}

/// Vectors less their mean.
struct Centred<'a> {
    vectors: &'a dyn Deltas,
    mean: &'a [f32],
}

impl Deltas for Centred<'_> {
    fn rows(&self) -> usize {
        self.vectors.rows()
    }

    fn dimensions(&self) -> usize {
        self.vectors.dimensions()
    }

    fn read(&self, index: &[u32], stride: usize, out: &mut [f32]) -> Result<(), SaeError> {
        self.vectors.read(index, stride, out)?;
        for (_, out) in index.iter().zip(out.chunks_mut(stride.max(1))) {
            out.iter_mut().zip(self.mean).for_each(|(value, mean)| *value -= mean);
        }
        Ok(())
    }
}

/// The mean of the rows `rows`, in double precision.
fn mean(vectors: &dyn Deltas, rows: &[u32]) -> Result<Vec<f32>, SaeError> {
    let mut sum = vec![0.0f64; vectors.dimensions()];
    for rows in rows.chunks(8 * BLOCK) {
        let x = vectors.gather(rows)?;
        for row in x.values.chunks_exact(x.cols.max(1)) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }
    Ok(sum.into_iter().map(|sum| (sum / rows.len().max(1) as f64) as f32).collect())
}
