//! From deltas to a trained autoencoder.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::{
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor, TensorData},
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::shape::{LOOK_EVERY, Shape};
use super::{
    Activation, Checkpoint, Compute, Deltas, Sae, SaeConfig, SaeError,
    checkpoint::{Arrays, Progress as Aside},
    cpu_engine::{Fused, Source},
    device::panic_text,
    gpu_engine::{self, Resident},
    initial,
    linear::times_transposed,
    model::{check_rows, spread, usable},
    objective::{Dead, Network, Objective},
    select::{passes, threshold_bits},
};
use crate::{matrix::Matrix, rng};

/// Rows that are looked at together where every row is.
const LOOKED_AT: usize = 4096;
/// Validation rows at most; more would only move the loss in its fourth digit.
const JUDGED: usize = 32_768;
/// Steps between two reports.
const REPORT_EVERY: usize = 16;

/// What the caller hears while training runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// In the middle of an epoch, every few steps.
    Step {
        /// From 1; 0 between two trainings.
        epoch: usize,
        /// Steps done in this epoch.
        step: usize,
        /// Steps in an epoch.
        steps: usize,
    },
    /// An epoch is over.
    Epoch {
        /// From 1.
        epoch: usize,
        /// Epochs at most; training may stop before.
        epochs_max: usize,
        /// Mean training loss, auxiliary term included.
        loss: f64,
        /// Validation loss: mean NMSE over the prefixes.
        validation: f64,
        /// The best epoch so far; 0 is the start.
        best_epoch: usize,
    },
}

/// What the caller answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop; [`train`] returns [`SaeError::Stopped`].
    Stop,
}

/// How training went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainReport {
    /// Epochs run.
    pub epochs: usize,
    /// The epoch whose weights were kept; 0 is the start, before any step.
    pub best_epoch: usize,
    /// NMSE at θ on the validation rows (on the training rows where there are none).
    pub nmse: f64,
    /// The same per Matryoshka prefix: (prefix, NMSE).
    pub nmse_prefixes: Vec<(usize, f64)>,
    /// Mean number of active features per pair at θ, on the rows NMSE was measured on.
    pub active_mean: f64,
    /// Features that are active in no training row.
    pub dead: usize,
    /// Per epoch: (training loss, validation loss).
    pub losses: Vec<(f64, f64)>,
    /// Rows that were trained on.
    pub rows: usize,
    /// Training rows left out because the two responses have equal vectors.
    pub rows_zero: usize,
    /// Features, M; fewer than asked where the data is too small.
    pub features: usize,
    /// Active features per pair, K; fewer than asked where M is.
    pub active: usize,
    /// Sentences the user should read once.
    pub notes: Vec<String>,
    /// How well each feature comes back when half of the training pairs are learned from, `[features]`;
    /// see [`stability`](super::stability). Empty where it was not measured.
    pub stability: Vec<f64>,
}

/// Trains on the rows `train` of `deltas` `[pairs, dimensions]`, stops by `validation`, sets θ on
/// `calibrate`. Where `validation` is empty the training rows take its place, where `calibrate` is,
/// the validation rows do. Rows that are all zero teach nothing and are left out of training.
///
/// The same seed gives the same result on the CPU, whatever the number of threads.
///
/// ```text
/// per step   z = batch top-k of x·E        loss: see `objective`
///            decoder gradient made orthogonal to its columns; global gradient norm ≤ 1
///            Adam (β .9/.999); decoder columns back to norm one
/// ```
///
/// # Errors
/// [`SaeError::Setting`], [`SaeError::NoRows`], [`SaeError::NotFinite`], [`SaeError::RowOutside`],
/// [`SaeError::Diverged`], [`SaeError::Stopped`], [`SaeError::DeviceFailed`].
pub fn train(
    deltas: &dyn Deltas,
    train: &[u32],
    validation: &[u32],
    calibrate: &[u32],
    config: &SaeConfig,
    compute: &Compute,
    events: &mut dyn FnMut(Progress) -> Control,
) -> Result<(Sae, TrainReport), SaeError> {
    train_resumable(deltas, train, validation, calibrate, config, compute, None, events)
}

/// [`train`], put aside after each epoch on the CPU: where `checkpoint` names a file of the same
/// work, training goes on from it, to the same weights as without the interruption. The file is
/// removed when training ends.
///
/// # Errors
/// Those of [`train`]; [`SaeError::File`] where the checkpoint cannot be written.
#[allow(clippy::too_many_arguments, reason = "data, three sets of rows, how, where, and who listens")]
pub fn train_resumable(
    deltas: &dyn Deltas,
    train: &[u32],
    validation: &[u32],
    calibrate: &[u32],
    config: &SaeConfig,
    compute: &Compute,
    checkpoint: Option<&Checkpoint>,
    events: &mut dyn FnMut(Progress) -> Control,
) -> Result<(Sae, TrainReport), SaeError> {
    check_config(config)?;
    for rows in [train, validation, calibrate] {
        check_rows(rows, deltas)?;
        check_finite(rows, deltas)?;
    }
    let rows = Rows::new(deltas, train)?;
    let validation: Vec<u32> = non_zero(validation, deltas)?;
    let validation = if validation.is_empty() { &rows.index } else { &validation };
    let calibrate = if calibrate.is_empty() { validation } else { calibrate };

    let (shape, notes) = Shape::fitting(config, rows.index.len(), deltas.dimensions());
    let mut report = TrainReport {
        rows: rows.index.len(),
        rows_zero: train.len() - rows.index.len(),
        features: shape.features,
        active: shape.active,
        notes,
        ..TrainReport::default()
    };
    let best = fit_guarded(&rows, validation, &shape, config, compute, checkpoint, events, &mut report)?;
    let matrix = |values| Matrix { values, cols: deltas.dimensions() };
    let mut sae = Sae { encoder: matrix(best.encoder), decoder: matrix(best.decoder), threshold: 0.0 };
    sae.calibrate(deltas, calibrate, shape.active)?;
    for &prefix in &shape.prefixes {
        report.nmse_prefixes.push((prefix, sae.nmse(deltas, Some(validation), prefix)?));
    }
    report.nmse = report.nmse_prefixes.last().map_or(f64::NAN, |&(_, nmse)| nmse);
    report.active_mean =
        count_active(&sae, deltas, validation)?.iter().sum::<usize>() as f64 / validation.len().max(1) as f64;
    report.dead = count_active(&sae, deltas, &rows.index)?.iter().filter(|&&n| n == 0).count();
    Ok((sae, report))
}

/// [`fit`], with a driver's failure as an error; the checkpoint goes when training ends.
#[allow(clippy::too_many_arguments, reason = "see `train_resumable`")]
pub(super) fn fit_guarded(
    rows: &Rows<'_>,
    validation: &[u32],
    shape: &Shape,
    config: &SaeConfig,
    compute: &Compute,
    checkpoint: Option<&Checkpoint>,
    events: &mut dyn FnMut(Progress) -> Control,
    report: &mut TrainReport,
) -> Result<Weights, SaeError> {
    // A driver that fails in the middle panics; the user is owed a sentence.
    let mut fit = || fit(rows, validation, shape, config, compute, checkpoint, events, report);
    let best = if compute.is_gpu() {
        catch_unwind(AssertUnwindSafe(fit))
            .unwrap_or_else(|panic| Err(failed(compute, &panic_text(&*panic))))?
    } else {
        fit()?
    };
    if let Some(checkpoint) = checkpoint {
        checkpoint.remove();
    }
    Ok(best)
}

pub(super) fn check_config(config: &SaeConfig) -> Result<(), SaeError> {
    let refuse = |setting, value: String, allowed: &str| {
        Err(SaeError::Setting { setting, value, allowed: allowed.to_string() })
    };
    for (setting, value) in [
        ("features", config.features),
        ("active", config.active),
        ("batch", config.batch),
        ("epochs_max", config.epochs_max),
        ("patience", config.patience),
    ] {
        if value == 0 {
            return refuse(setting, value.to_string(), "at least 1");
        }
    }
    if config.features > 65_536 {
        return refuse("features", config.features.to_string(), "at most 65536");
    }
    if config.active > config.features {
        let allowed = format!("at most `features` ({})", config.features);
        return refuse("active", config.active.to_string(), &allowed);
    }
    if !(config.learning_rate > 0.0 && config.learning_rate <= 1.0) {
        return refuse("learning_rate", config.learning_rate.to_string(), "above 0 and at most 1");
    }
    if !(config.auxiliary_weight >= 0.0 && config.auxiliary_weight.is_finite()) {
        return refuse("auxiliary_weight", config.auxiliary_weight.to_string(), "0 or more");
    }
    if config.improvement.is_nan() || config.improvement < 0.0 {
        return refuse("improvement", config.improvement.to_string(), "0 or more");
    }
    Ok(())
}

pub(super) fn check_finite(rows: &[u32], deltas: &dyn Deltas) -> Result<(), SaeError> {
    for rows in rows.chunks(LOOKED_AT) {
        let x = deltas.gather(rows)?;
        if let Some(at) = x.values.iter().position(|&value| !usable(value)) {
            let row = rows.get(at / x.cols.max(1)).copied().unwrap_or_default();
            return Err(SaeError::NotFinite { row: row as usize, column: at % x.cols.max(1) });
        }
    }
    Ok(())
}

/// Those of `rows` that are not all zero.
pub(super) fn non_zero(rows: &[u32], deltas: &dyn Deltas) -> Result<Vec<u32>, SaeError> {
    let mut kept = Vec::with_capacity(rows.len());
    for rows in rows.chunks(LOOKED_AT) {
        let x = deltas.gather(rows)?;
        let any = |(i, _): &(usize, &u32)| x.row(*i).iter().any(|&value| value != 0.0);
        kept.extend(rows.iter().enumerate().filter(any).map(|(_, &row)| row));
    }
    Ok(kept)
}

/// The training rows, scaled to mean square norm one: so neither tiny nor huge vectors leave the
/// range of `f32`, and Adam sees gradients of one size.
pub(super) struct Rows<'a> {
    deltas: &'a dyn Deltas,
    /// Rows that are not all zero.
    pub(super) index: Vec<u32>,
    pub(super) scale: f64,
}

impl<'a> Rows<'a> {
    pub(super) fn new(deltas: &'a dyn Deltas, train: &[u32]) -> Result<Self, SaeError> {
        let index = non_zero(train, deltas)?;
        let mut square = 0.0;
        for rows in index.chunks(LOOKED_AT) {
            let x = deltas.gather(rows)?;
            square += x.values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
        }
        if index.is_empty() {
            return Err(SaeError::NoRows { given: train.len(), zero: train.len() });
        }
        let scale = (square / index.len() as f64).sqrt();
        Ok(Self { deltas, index, scale })
    }

    /// The given rows, scaled, row-major.
    fn gather(&self, rows: &[u32]) -> Result<Vec<f32>, SaeError> {
        let mut values = vec![0.0; rows.len() * self.deltas.dimensions()];
        self.fill(rows, self.deltas.dimensions(), &mut values)?;
        Ok(values)
    }
}

impl Source for Rows<'_> {
    fn fill(&self, index: &[u32], stride: usize, out: &mut [f32]) -> Result<(), SaeError> {
        self.deltas.read(index, stride, out)?;
        let factor = self.scale.recip();
        let short = factor as f32;
        let out = &mut out[..index.len() * stride];
        if short.is_normal() {
            out.iter_mut().for_each(|value| *value *= short);
        } else {
            out.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        }
        Ok(())
    }
}

/// The training loop; θ is still open in what it returns, and the bias in the scale of `rows`.
#[allow(clippy::too_many_arguments, reason = "see `train_resumable`")]
#[allow(
    clippy::too_many_lines,
    reason = "the loop of training: what is carried from epoch to epoch stands in one place"
)]
fn fit(
    rows: &Rows<'_>,
    validation: &[u32],
    shape: &Shape,
    config: &SaeConfig,
    compute: &Compute,
    checkpoint: Option<&Checkpoint>,
    events: &mut dyn FnMut(Progress) -> Control,
    report: &mut TrainReport,
) -> Result<Weights, SaeError> {
    let dimensions = rows.deltas.dimensions();
    let (mut aside, saved) = match checkpoint.and_then(Checkpoint::load) {
        Some((aside, arrays)) => (aside, Some(arrays)),
        None => (Aside::default(), None),
    };
    let mut draw = rng::stream(config.seed, "sae validation");
    let judge = Judge::new(
        rows.gather(&initial::sample_of(validation, judged(shape), &mut draw))?,
        dimensions,
        shape,
    );
    let resumed = match saved {
        Some(arrays) => Engine::resume(&aside, &arrays, shape, config, rows, compute)?,
        None => None,
    };
    let (mut engine, mut best) = match resumed {
        Some(resumed) => resumed,
        None => {
            let mut random = rng::stream(config.seed, "sae");
            let sample = rows.gather(&initial::sample(&rows.index, &mut random))?;
            let decoder = match shape.activation {
                Activation::Signed => initial::decoder(&sample, dimensions, &shape.prefixes, &mut random),
                Activation::Relu => initial::rows(&sample, dimensions, shape.features, &mut random),
            };
            let engine = Engine::new(decoder, shape, config, rows, compute)?;
            let best = engine.weights(compute)?;
            let loss = judge.loss(&best);
            aside = Aside { best_loss: loss, improved_loss: loss, ..Aside::default() };
            (engine, best)
        }
    };
    report.epochs = aside.epoch;
    let done = |aside: &Aside| {
        aside.epoch >= config.epochs_min && aside.epoch >= aside.improved_epoch + config.patience
    };
    // Weights are kept for any improvement; patience counts from the last one worth the name.
    while aside.epoch < config.epochs_max && !(aside.epoch > 0 && done(&aside)) {
        let epoch = aside.epoch + 1;
        report.epochs = epoch;
        let mut random = rng::stream(config.seed, &format!("sae epoch {epoch}"));
        let mut upcoming = rows.index.clone();
        upcoming.shuffle(&mut random);
        if shape.activation == Activation::Signed {
            // Twice over the rows: once for each pair, once for its mirror image (same gradient).
            let pairs = upcoming.len();
            upcoming.extend_from_within(..);
            if let Some(mirrored) = upcoming.get_mut(pairs..) {
                mirrored.shuffle(&mut random);
            }
        }
        let steps = upcoming.len().div_ceil(config.batch);
        for first in (0..steps).step_by(REPORT_EVERY) {
            let end = (first + REPORT_EVERY).min(steps);
            engine.run(rows, (first..end).map(|step| even_chunk(&upcoming, steps, step)), compute)?;
            if end < steps && events(Progress::Step { epoch, step: end, steps }) == Control::Stop {
                return Err(SaeError::Stopped { epoch });
            }
        }
        let loss = engine.take_loss(compute)? / steps as f64;
        let weights = engine.weights(compute)?;
        let validation = judge.loss(&weights);
        if !(loss.is_finite() && validation.is_finite()) {
            return Err(SaeError::Diverged { epoch, learning_rate: config.learning_rate });
        }
        aside.epoch = epoch;
        aside.losses.push((loss, validation));
        if validation < aside.best_loss {
            aside.best_loss = validation;
            best = weights;
            aside.best_epoch = epoch;
        }
        if validation < aside.improved_loss - config.improvement {
            (aside.improved_loss, aside.improved_epoch) = (validation, epoch);
        }
        if let Some(checkpoint) = checkpoint
            && let Some((mut arrays, steps, dead, steps_since_fired)) = engine.state(compute)?
        {
            arrays.push(("best encoder".into(), best.encoder.clone()));
            arrays.push(("best decoder".into(), best.decoder.clone()));
            arrays.push(("best bias".into(), best.bias.clone()));
            (aside.steps, aside.dead, aside.steps_since_fired) = (steps, dead, steps_since_fired);
            checkpoint.save(&aside, &arrays)?;
        }
        let event = Progress::Epoch {
            epoch,
            epochs_max: config.epochs_max,
            loss,
            validation,
            best_epoch: aside.best_epoch,
        };
        if events(event) == Control::Stop {
            return Err(SaeError::Stopped { epoch });
        }
    }
    (report.best_epoch, report.losses) = (aside.best_epoch, aside.losses);
    Ok(best)
}

/// Rows that the validation loss is looked at on.
fn judged(shape: &Shape) -> usize {
    // Over sentences M is large and the loss settles early; looking must not cost more than learning.
    if shape.activation == Activation::Signed { JUDGED } else { JUDGED / 4 }
}

/// The `i`-th of `count` consecutive pieces of `items`, whose lengths differ by at most one.
fn even_chunk<T>(items: &[T], count: usize, i: usize) -> &[T] {
    items.get(items.len() * i / count..items.len() * (i + 1) / count).unwrap_or_default()
}

/// Who does the steps: our own loops on the CPU, our own kernels on a GPU, or Burn's operations there.
#[allow(clippy::large_enum_variant)] // there is one of it
enum Engine {
    Fused { step: Box<Fused>, loss: f64 },
    Resident(Box<Resident>),
    Burn { trainer: Box<Trainer>, loss: Option<Tensor<1>> },
}

impl Engine {
    fn new(
        decoder: Vec<f32>,
        shape: &Shape,
        config: &SaeConfig,
        rows: &Rows<'_>,
        compute: &Compute,
    ) -> Result<Self, SaeError> {
        Ok(match compute.largest {
            _ if !compute.is_gpu() => {
                Self::Fused { step: Box::new(Fused::new(&decoder, shape, config)), loss: 0.0 }
            }
            Some(largest) if gpu_engine::fits(shape, config, rows.deltas.dimensions(), largest) => {
                let (index, device) = (&rows.index, &compute.device);
                Self::Resident(Box::new(Resident::new(
                    &decoder, shape, config, rows, index, device, largest,
                )?))
            }
            _ => {
                let trainer = Box::new(Trainer::new(decoder, shape, config, &compute.device));
                Self::Burn { trainer, loss: None }
            }
        })
    }

    /// What a checkpoint says, with the best weights so far; `None` where it does not fit.
    fn resume(
        aside: &Aside,
        arrays: &Arrays,
        shape: &Shape,
        config: &SaeConfig,
        rows: &Rows<'_>,
        compute: &Compute,
    ) -> Result<Option<(Self, Weights)>, SaeError> {
        let size = shape.features * rows.deltas.dimensions();
        let best = |name: &str, size: usize| {
            let found = arrays.iter().find(|(found, _)| found == name)?;
            Some(found.1.clone()).filter(|values| values.len() == size)
        };
        let (Some(encoder), Some(decoder), Some(bias)) =
            (best("best encoder", size), best("best decoder", size), best("best bias", shape.features))
        else {
            return Ok(None);
        };
        let mut engine = Self::new(vec![0.0; size], shape, config, rows, compute)?;
        let fits = match &mut engine {
            Self::Fused { step, .. } => {
                step.restore(arrays, aside.steps, aside.dead, &aside.steps_since_fired)
            }
            Self::Resident(step) => step.restore(arrays, aside.steps, aside.dead, &aside.steps_since_fired),
            Self::Burn { .. } => false,
        };
        Ok(fits.then_some((engine, Weights { encoder, decoder, bias })))
    }

    /// What a checkpoint needs; `None` where there are none.
    #[allow(clippy::type_complexity)] // the checkpoint's parts
    fn state(&self, compute: &Compute) -> Result<Option<(Arrays, i32, usize, Vec<usize>)>, SaeError> {
        Ok(match self {
            Self::Fused { step, .. } => {
                let (arrays, steps, dead, steps_since_fired) = step.state();
                Some((arrays, steps, dead, steps_since_fired.to_vec()))
            }
            Self::Resident(step) => Some(step.state(&|tensor| host(tensor, compute))?),
            Self::Burn { .. } => None,
        })
    }

    /// Steps on the given batches.
    fn run<'a>(
        &mut self,
        rows: &Rows<'_>,
        batches: impl Iterator<Item = &'a [u32]> + Send,
        compute: &Compute,
    ) -> Result<(), SaeError> {
        match self {
            Self::Fused { step, loss } => *loss += step.steps(rows, batches)?,
            Self::Resident(resident) => {
                let batches: Vec<&[u32]> = batches.collect();
                resident.run(rows, &batches, &|tensor| host(tensor, compute))?;
            }
            Self::Burn { trainer, loss } => {
                for batch in batches {
                    let new = trainer.step(rows.gather(batch)?, batch.len(), compute)?;
                    *loss = Some(loss.take().map_or(new.clone(), |loss| loss + new));
                }
            }
        }
        Ok(())
    }

    /// The sum of the losses since the last call; waits for the device.
    fn take_loss(&mut self, compute: &Compute) -> Result<f64, SaeError> {
        match self {
            Self::Fused { loss, .. } => Ok(std::mem::take(loss)),
            Self::Resident(resident) => resident.take_loss(&|tensor| host(tensor, compute)),
            Self::Burn { loss, .. } => loss.take().map_or(Ok(0.0), |loss| scalar(loss, compute)),
        }
    }

    fn weights(&self, compute: &Compute) -> Result<Weights, SaeError> {
        match self {
            Self::Fused { step, .. } => {
                let [encoder, decoder] = step.weights();
                Ok(Weights { encoder, decoder, bias: step.bias().to_vec() })
            }
            Self::Resident(resident) => {
                let [encoder, decoder] = resident.weights();
                let (mut encoder, decoder) = (host(encoder, compute)?, host(decoder, compute)?);
                let bias = encoder.split_off(decoder.len());
                Ok(Weights { encoder, decoder, bias })
            }
            Self::Burn { trainer, .. } => trainer.weights(compute),
        }
    }
}

/// Weights on the host, both matrices row-major `[features, dimensions]`, of scaled rows.
#[derive(Clone)]
pub(super) struct Weights {
    pub(super) encoder: Vec<f32>,
    pub(super) decoder: Vec<f32>,
    /// `[features]`; empty without [`Activation::Relu`].
    pub(super) bias: Vec<f32>,
}

/// Network, optimiser and firing history on a device of Burn's.
pub(super) struct Trainer {
    network: Network,
    optimizer: ModuleOptimizer,
    objective: Objective,
    /// Batches since each feature last fired, `[1, features]`.
    steps_since_fired: Tensor<2>,
    /// Dead features at the last look.
    dead: usize,
    steps: usize,
    active: usize,
    dead_after: usize,
    learning_rate: f64,
    /// With autodiff.
    device: Device,
}

impl Trainer {
    /// Starts with encoder and decoder equal to `decoder`, row-major `[dimensions, features]`.
    pub(super) fn new(decoder: Vec<f32>, shape: &Shape, config: &SaeConfig, device: &Device) -> Self {
        let plain = device.clone();
        let device = device.clone().autodiff();
        Self {
            network: match shape.activation {
                Activation::Signed => Network::tied(decoder, shape.features, &device),
                Activation::Relu => Network::tied(decoder, shape.features, &device).with_relu(&device),
            },
            optimizer: AdamConfig::new().with_epsilon(1e-8).init(),
            objective: Objective::new(&shape.prefixes, shape.active, config.auxiliary_weight, &device),
            steps_since_fired: Tensor::zeros([1, shape.features], &plain),
            dead: 0,
            steps: 0,
            active: shape.active,
            dead_after: config.dead_after,
            learning_rate: config.learning_rate,
            device,
        }
    }

    /// One step on `rows` (row-major, `count` of them); the loss before it, on the device.
    pub(super) fn step(
        &mut self,
        rows: Vec<f32>,
        count: usize,
        compute: &Compute,
    ) -> Result<Tensor<1>, SaeError> {
        let square_sum: f64 = rows.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        let dimensions = rows.len() / count.max(1);
        let x = Tensor::from_data(TensorData::new(rows, [count, dimensions]), &self.device);

        let dead = (self.dead > 0).then(|| Dead {
            mask: Tensor::from_inner(
                self.steps_since_fired.clone().greater_equal_scalar(self.dead_after as f32).float(),
            ),
            active: (2 * self.active).min(self.dead),
        });
        let (loss, fired) = self.objective.loss(&self.network, x, square_sum, dead.as_ref());
        self.update(&loss);
        self.steps += 1;

        let fired = fired.abs().max_dim(0).sign();
        self.steps_since_fired = (self.steps_since_fired.clone() + 1.0) * (fired * -1.0 + 1.0);
        if self.steps.is_multiple_of(LOOK_EVERY) {
            let steps_since_fired = host(self.steps_since_fired.clone(), compute)?;
            self.dead = steps_since_fired
                .iter()
                .filter(|&&steps_since_fired| steps_since_fired >= self.dead_after as f32)
                .count();
        }
        Ok(loss.inner())
    }

    /// Backward pass and the optimiser's step.
    fn update(&mut self, loss: &Tensor<1>) {
        let gradients = loss.backward();
        let mut gradients = GradientsParams::from_grads(gradients, &self.network);
        let (encoder, decoder) = (self.network.encoder.id, self.network.decoder.id);
        let (Some(encoder_gradient), Some(decoder_gradient)) =
            (gradients.remove::<2>(encoder), gradients.remove::<2>(decoder))
        else {
            return;
        };
        // Only the part along the unit sphere changes anything; the rest would upset Adam.
        let columns = self.network.decoder.val().inner();
        let radial = (decoder_gradient.clone() * columns.clone()).sum_dim(0);
        let decoder_gradient = decoder_gradient - columns * radial;

        let bias = self.network.bias.as_ref().map(|bias| bias.id);
        let bias_gradient = bias.and_then(|bias| gradients.remove::<2>(bias));
        let mut square =
            encoder_gradient.clone().powi_scalar(2).sum() + decoder_gradient.clone().powi_scalar(2).sum();
        if let Some(gradient) = &bias_gradient {
            square = square + gradient.clone().powi_scalar(2).sum();
        }
        let clip = square.sqrt().clamp_min(1.0).recip().unsqueeze::<2>();
        if let (Some(bias), Some(gradient)) = (bias, bias_gradient) {
            gradients.register(bias, gradient * clip.clone());
        }
        gradients.register(encoder, encoder_gradient * clip.clone());
        gradients.register(decoder, decoder_gradient * clip);

        let mut network = self.optimizer.step(self.learning_rate, self.network.clone(), gradients);
        network.decoder = network.decoder.map(|columns| {
            let columns = columns.inner();
            let norm = columns.clone().powi_scalar(2).sum_dim(0).sqrt().clamp_min(1e-12);
            Tensor::from_inner(columns / norm).require_grad()
        });
        self.network = network;
    }

    /// The weights as they are now.
    fn weights(&self, compute: &Compute) -> Result<Weights, SaeError> {
        let weights =
            |parameter: &burn::module::Param<Tensor<2>>| host(parameter.val().inner().transpose(), compute);
        let bias = self.network.bias.as_ref().map(weights).transpose()?.unwrap_or_default();
        Ok(Weights {
            encoder: weights(&self.network.encoder)?,
            decoder: weights(&self.network.decoder)?,
            bias,
        })
    }
}

/// A tensor's values, row-major.
fn host<const D: usize>(tensor: Tensor<D>, compute: &Compute) -> Result<Vec<f32>, SaeError> {
    let data = tensor.try_into_data().map_err(|error| failed(compute, &format!("{error:?}")))?;
    Ok(data.iter::<f32>().collect())
}

fn scalar(tensor: Tensor<1>, compute: &Compute) -> Result<f64, SaeError> {
    Ok(host(tensor, compute)?.first().map_or(f64::NAN, |&value| f64::from(value)))
}

fn failed(compute: &Compute, reason: &str) -> SaeError {
    SaeError::DeviceFailed { adapter: compute.adapter.clone(), reason: reason.to_string() }
}

/// Measures the validation loss on the host, in `f64` and the same on every device. Looking here
/// leaves no trace in the firing history.
struct Judge<'a> {
    rows: Vec<f32>,
    dimensions: usize,
    shape: &'a Shape,
    square: f64,
    spread: f64,
}

impl<'a> Judge<'a> {
    fn new(rows: Vec<f32>, dimensions: usize, shape: &'a Shape) -> Self {
        let mut square = 0.0;
        let mut sum = vec![0.0; dimensions];
        for row in rows.chunks_exact(dimensions) {
            for (&value, sum) in row.iter().zip(&mut sum) {
                square += f64::from(value) * f64::from(value);
                *sum += f64::from(value);
            }
        }
        let spread = spread(square, &sum, rows.len() / dimensions);
        Self { rows, dimensions, shape, square, spread }
    }

    /// Mean over the prefixes of the NMSE with batch top-k over all rows.
    fn loss(&self, weights: &Weights) -> f64 {
        let features = self.shape.features;
        let mut pre = times_transposed(&self.rows, &weights.encoder, self.dimensions);
        if self.shape.activation == Activation::Relu {
            for row in pre.chunks_exact_mut(features) {
                for (pre, bias) in row.iter_mut().zip(&weights.bias) {
                    *pre = if *pre + bias < 0.0 { 0.0 } else { *pre + bias };
                }
            }
        }
        let along = times_transposed(&self.rows, &weights.decoder, self.dimensions);
        let gram = times_transposed(&weights.decoder, &weights.decoder, self.dimensions);
        let threshold = threshold_bits(&pre, pre.len() / features * self.shape.active);
        let mut errors = vec![self.square; self.shape.prefixes.len()];
        let mut active: Vec<(usize, f64)> = Vec::with_capacity(features);
        for (pre, along) in pre.chunks_exact(features).zip(along.chunks_exact(features)) {
            active.clear();
            active.extend(
                pre.iter()
                    .enumerate()
                    .filter(|(_, pre)| **pre != 0.0 && passes(**pre, threshold))
                    .map(|(feature, &pre)| (feature, f64::from(pre))),
            );
            for (error, &prefix) in errors.iter_mut().zip(&self.shape.prefixes) {
                let within = active.partition_point(|&(feature, _)| feature < prefix);
                let within = active.get(..within).unwrap_or_default();
                for &(i, z) in within {
                    let overlap = |&(j, other): &(usize, f64)| other * f64::from(gram[i * features + j]);
                    let shared: f64 = within.iter().map(overlap).sum();
                    *error += z * (shared - 2.0 * f64::from(along[i]));
                }
            }
        }
        errors.iter().sum::<f64>() / errors.len() as f64 / self.spread
    }
}

/// In how many of the rows each feature is active, `[features]`.
pub(super) fn count_active(sae: &Sae, deltas: &dyn Deltas, rows: &[u32]) -> Result<Vec<usize>, SaeError> {
    let mut counts = vec![0; sae.features()];
    for rows in rows.chunks(4096) {
        let z = sae.activations(&deltas.gather(rows)?)?;
        for row in z.values.chunks_exact(sae.features()) {
            for (count, &z) in counts.iter_mut().zip(row) {
                *count += usize::from(z != 0.0);
            }
        }
    }
    Ok(counts)
}
