//! A training step on the CPU in one piece, made for K of M features being active.
//!
//! The same step as the Burn path's (`objective`, `train::Trainer`), with what autodiff cannot know:
//! only the product with the encoder is dense. From the active features on, everything is sparse,
//! nothing is allocated, and reconstructions are formed once for all prefixes and both gradients.
//!
//! ```text
//! s_p = x̂_p − x                 residual of prefix p, P prefixes, n rows
//! loss = Σ_p ‖s_p‖² / (n P)
//! v_b = Σ_{p ≥ b} s_p           the residuals that a feature of block b has a part in
//! ∂/∂z_j = 2/(n P) · W_j·v_b    ∂/∂W_j = 2/(n P) Σ_rows z_j v_b    ∂/∂E_j = Σ_rows ∂/∂z_j · x
//! ```
//!
//! With [`Activation::Relu`] z is `max(0, E_j·x + b_j)` before the selection, and ∂/∂b_j = Σ_rows ∂/∂z_j.
//!
//! Rows are worked on in pieces of one size and every sum has one order, so the result depends
//! neither on the number of threads nor on their timing.

use rayon::prelude::*;

use super::checkpoint::Arrays;
use super::kernels::{Adam, Item, Kernels, PANEL, STRIDE};
use super::select::MAGNITUDE;
use super::shape::{LOOK_EVERY, Shape};
use super::{Activation, SaeConfig, SaeError};

/// Rows per piece of work; a multiple of the height of the dense product's blocks.
const PIECE: usize = 24;
/// Fewer multiplications than this in a phase are not worth a second thread.
const WORTH_A_THREAD: usize = 200_000;

/// Where a step gets its rows from.
pub(super) trait Source: Sync {
    /// Writes the rows `index`, scaled, to `out`: row i at `i · stride`.
    ///
    /// # Errors
    /// Where the rows are read from a file.
    fn fill(&self, index: &[u32], stride: usize, out: &mut [f32]) -> Result<(), SaeError>;
}

/// Network, optimiser and firing history.
pub(super) struct Fused {
    kernels: Kernels,
    dimensions: usize,
    /// `dimensions`, padded.
    stride: usize,
    features: usize,
    active: usize,
    activation: Activation,
    dead_after: usize,
    learning_rate: f64,
    auxiliary_weight: f32,
    prefixes: Vec<usize>,
    /// The first prefix that holds each feature.
    block: Vec<usize>,
    /// `[features, stride]`.
    encoder: Vec<f32>,
    /// `[features, stride]`, rows of norm one.
    decoder: Vec<f32>,
    /// b, `[features]`; zero and untouched without [`Activation::Relu`].
    bias: Vec<f32>,
    /// The encoder once more, `[panels, stride, PANEL]`.
    panels: Vec<f32>,
    columns: Vec<Column>,
    /// Batches since each feature last fired.
    steps_since_fired: Vec<usize>,
    /// Dead features at the last look.
    dead: usize,
    steps: i32,
    batch: Batch,
}

/// What belongs to one feature.
struct Column {
    /// By encoder and decoder, first and second moment of each, `[stride]` each.
    gradients: [Vec<f32>; 2],
    first: [Vec<f32>; 2],
    second: [Vec<f32>; 2],
    /// Gradient of the bias, its first and second moment.
    bias: [f32; 3],
    items: Vec<Item>,
    /// Squared norm of all gradients.
    square: f64,
}

/// Buffers of a batch, as large as the largest so far.
#[derive(Default)]
struct Batch {
    /// `[rows, stride]`.
    x: Vec<f32>,
    /// `[rows, features]`.
    pre: Vec<f32>,
    /// `[rows, planes, stride]`.
    residuals: Vec<f32>,
    pieces: Vec<Piece>,
    /// Magnitudes among which a threshold is looked for.
    candidates: Vec<u32>,
    /// Last thresholds of the features and of the dead ones.
    guesses: [u32; 2],
}

/// What one piece of a batch reports.
#[derive(Default)]
struct Piece {
    entries: Vec<Entry>,
    active: Vec<(u32, f32)>,
    ends: Vec<usize>,
    helped: Vec<(u32, f32)>,
    norms: [f64; 3],
    failed: Option<SaeError>,
}

/// An active feature of a row.
struct Entry {
    row: usize,
    feature: u32,
    /// Which plane of the row's residuals it answers for.
    plane: usize,
    z: f32,
    /// `W_j · residual`.
    along: f32,
}

impl Fused {
    /// Starts with encoder and decoder equal to `decoder`, row-major `[dimensions, features]`.
    pub(super) fn new(decoder: &[f32], shape: &Shape, config: &SaeConfig) -> Self {
        let features = shape.features;
        let dimensions = decoder.len() / features.max(1);
        let stride = dimensions.next_multiple_of(STRIDE);
        let mut rows = vec![0.0; features * stride];
        for (dimension, values) in decoder.chunks_exact(features).enumerate() {
            for (feature, &value) in values.iter().enumerate() {
                rows[feature * stride + dimension] = value;
            }
        }
        let row = || [vec![0.0; stride], vec![0.0; stride]];
        let column = |_| Column {
            gradients: row(),
            first: row(),
            second: row(),
            bias: [0.0; 3],
            items: Vec::new(),
            square: 0.0,
        };
        let mut new = Self {
            kernels: Kernels::new(),
            dimensions,
            stride,
            features,
            active: shape.active,
            activation: shape.activation,
            dead_after: config.dead_after,
            learning_rate: config.learning_rate,
            auxiliary_weight: config.auxiliary_weight as f32,
            prefixes: shape.prefixes.clone(),
            block: (0..features).map(|j| shape.prefixes.partition_point(|&p| p <= j)).collect(),
            encoder: rows.clone(),
            decoder: rows,
            bias: vec![0.0; features],
            panels: vec![0.0; features.div_ceil(PANEL) * PANEL * stride],
            columns: (0..features).map(column).collect(),
            steps_since_fired: vec![0; features],
            dead: 0,
            steps: 0,
            batch: Batch::default(),
        };
        new.refill_panels();
        new
    }

    /// Steps on the given batches of `source`; the sum of the losses before each.
    ///
    /// # Errors
    /// What the source reports.
    pub(super) fn steps<'a>(
        &mut self,
        source: &dyn Source,
        batches: impl Iterator<Item = &'a [u32]> + Send,
    ) -> Result<f64, SaeError> {
        // From inside the pool, starting a phase costs no switch of threads.
        rayon::scope(|_| {
            let mut sum = 0.0;
            for batch in batches {
                sum += self.step(source, batch)?;
            }
            Ok(sum)
        })
    }

    /// Encoder and decoder, both row-major `[features, dimensions]`.
    pub(super) fn weights(&self) -> [Vec<f32>; 2] {
        let dense = |weights: &[f32]| -> Vec<f32> {
            weights.chunks_exact(self.stride).flat_map(|row| &row[..self.dimensions]).copied().collect()
        };
        [dense(&self.encoder), dense(&self.decoder)]
    }

    /// b, `[features]`.
    pub(super) fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Everything that the next step depends on: arrays by name, steps done, dead features at the
    /// last look, batches since each feature fired.
    pub(super) fn state(&self) -> (Arrays, i32, usize, &[usize]) {
        let mut arrays =
            vec![("encoder".to_owned(), self.encoder.clone()), ("decoder".to_owned(), self.decoder.clone())];
        for (i, of) in ["encoder", "decoder"].into_iter().enumerate() {
            let first = self.columns.iter().flat_map(|column| &column.first[i]).copied().collect();
            let second = self.columns.iter().flat_map(|column| &column.second[i]).copied().collect();
            arrays.push((format!("{of} first moment"), first));
            arrays.push((format!("{of} second moment"), second));
        }
        if self.activation == Activation::Relu {
            let moment = |i: usize| self.columns.iter().map(|column| column.bias[i]).collect();
            arrays.push(("bias".to_owned(), self.bias.clone()));
            arrays.push(("bias first moment".to_owned(), moment(1)));
            arrays.push(("bias second moment".to_owned(), moment(2)));
        }
        (arrays, self.steps, self.dead, &self.steps_since_fired)
    }

    /// Takes up a state; `false`, and nothing is changed, where it is of another shape.
    pub(super) fn restore(
        &mut self,
        arrays: &Arrays,
        steps: i32,
        dead: usize,
        steps_since_fired: &[usize],
    ) -> bool {
        let array = |name: &str| {
            let found = arrays.iter().find(|(found, _)| found == name).map(|(_, values)| values);
            found.filter(|values| values.len() == self.encoder.len())
        };
        let names = ["encoder", "decoder"].map(|of| {
            (array(of), array(&format!("{of} first moment")), array(&format!("{of} second moment")))
        });
        let [(Some(encoder), Some(e1), Some(e2)), (Some(decoder), Some(d1), Some(d2))] = names else {
            return false;
        };
        let of_bias = |name: &str| {
            let found = arrays.iter().find(|(found, _)| found == name).map(|(_, values)| values);
            found.filter(|values| values.len() == self.features)
        };
        let biases = ["bias", "bias first moment", "bias second moment"].map(of_bias);
        let relu = self.activation == Activation::Relu;
        if steps_since_fired.len() != self.features || (relu && biases.iter().any(Option::is_none)) {
            return false;
        }
        if let ([Some(bias), Some(first), Some(second)], true) = (biases, relu) {
            self.bias.copy_from_slice(bias);
            for (column, (first, second)) in self.columns.iter_mut().zip(first.iter().zip(second)) {
                (column.bias[1], column.bias[2]) = (*first, *second);
            }
        }
        let rows = [(e1, e2), (d1, d2)]
            .map(|(first, second)| first.chunks_exact(self.stride).zip(second.chunks_exact(self.stride)));
        for (i, rows) in rows.into_iter().enumerate() {
            for (column, (first, second)) in self.columns.iter_mut().zip(rows) {
                column.first[i].copy_from_slice(first);
                column.second[i].copy_from_slice(second);
            }
        }
        self.encoder.copy_from_slice(encoder);
        self.decoder.copy_from_slice(decoder);
        self.steps_since_fired.copy_from_slice(steps_since_fired);
        (self.steps, self.dead) = (steps, dead);
        self.refill_panels();
        true
    }

    /// One step on the rows `index`; the loss before it.
    fn step(&mut self, source: &dyn Source, index: &[u32]) -> Result<f64, SaeError> {
        let dead = self.dead;
        let loss = self.gradients(source, index, dead)?;
        self.update();
        self.steps += 1;
        if (self.steps as usize).is_multiple_of(LOOK_EVERY) {
            self.dead = self
                .steps_since_fired
                .iter()
                .filter(|&&steps_since_fired| steps_since_fired >= self.dead_after)
                .count();
        }
        Ok(loss)
    }

    /// Fills the columns' gradients, with the decoder's made orthogonal to it.
    #[allow(
        clippy::too_many_lines,
        reason = "one step by hand, forward and back: each part reads what the one before left"
    )]
    fn gradients(&mut self, source: &dyn Source, index: &[u32], dead: usize) -> Result<f64, SaeError> {
        let (n, stride, features) = (index.len(), self.stride, self.features);
        let planes = self.prefixes.len() + 1;
        let kernels = self.kernels;
        let batch = &mut self.batch;
        batch.x.resize(n.max(batch.x.len() / stride) * stride, 0.0);
        batch.pre.resize(n.max(batch.pre.len() / features) * features, 0.0);
        let wide = planes * stride;
        batch.residuals.resize(n.max(batch.residuals.len() / wide) * wide, 0.0);
        batch.pieces.resize_with(n.div_ceil(PIECE).max(batch.pieces.len()), Piece::default);

        // Rows, and what every feature says of them.
        let tasks = |work: usize| if work < WORTH_A_THREAD { usize::MAX } else { 1 };
        let (panels, bias, relu) = (&self.panels, &self.bias, self.activation == Activation::Relu);
        index
            .par_chunks(PIECE)
            .zip(batch.x.par_chunks_mut(PIECE * stride))
            .zip(batch.pre.par_chunks_mut(PIECE * features))
            .zip(&mut batch.pieces)
            .with_min_len(tasks(n * features * stride).min(n.max(1)))
            .for_each(|(((index, x), pre), piece)| {
                let x = &mut x[..index.len() * stride];
                piece.failed = source.fill(index, stride, x).err();
                for (number, panel) in panels.chunks_exact(PANEL * stride).enumerate() {
                    kernels.product(x, stride, panel, pre, features, number * PANEL);
                }
                if relu {
                    for row in pre[..index.len() * features].chunks_exact_mut(features) {
                        for (value, bias) in row.iter_mut().zip(bias) {
                            // Not `max`, which would hide NaN.
                            let shifted = *value + bias;
                            *value = if shifted < 0.0 { 0.0 } else { shifted };
                        }
                    }
                }
            });
        let pieces = &mut batch.pieces[..n.div_ceil(PIECE)];
        if let Some(error) = pieces.iter_mut().find_map(|piece| piece.failed.take()) {
            return Err(error);
        }

        // What is active in this batch, and of the dead what is nearest to it.
        let pre = &batch.pre[..n * features];
        let bits = |value: &f32| value.to_bits() & MAGNITUDE;
        let [guess, guess_helped] = &mut batch.guesses;
        let threshold =
            kth_largest(&mut batch.candidates, pre.iter().map(bits), n * features, n * self.active, guess);
        let help = dead > 0;
        let is_dead: &[usize] = &self.steps_since_fired;
        let dead_after = self.dead_after;
        let threshold_helped = if help {
            let magnitudes = pre.chunks_exact(features).flat_map(|row| {
                row.iter()
                    .zip(is_dead)
                    .filter(|&(_, &steps_since_fired)| steps_since_fired >= dead_after)
                    .map(|(v, _)| bits(v))
            });
            let count =
                n * is_dead.iter().filter(|&&steps_since_fired| steps_since_fired >= dead_after).count();
            let keep = n * (2 * self.active).min(dead);
            kth_largest(&mut batch.candidates, magnitudes, count, keep, guess_helped)
        } else {
            u32::MAX
        };

        // Residuals, and how the loss changes with every active z.
        let (decoder, block, prefixes) = (&self.decoder, &self.block, &self.prefixes);
        let work = n * stride * self.active * 3;
        pieces
            .par_iter_mut()
            .zip(batch.x.par_chunks(PIECE * stride))
            .zip(pre.par_chunks(PIECE * features))
            .zip(batch.residuals.par_chunks_mut(PIECE * planes * stride))
            .with_min_len(tasks(work).min(n.max(1)))
            .for_each(|(((piece, x), pre), residuals)| {
                piece.entries.clear();
                piece.norms = [0.0; 3];
                let rows = pre.chunks_exact(features).zip(x.chunks_exact(stride));
                for (row, ((pre, x), residuals)) in
                    rows.zip(residuals.chunks_exact_mut(planes * stride)).enumerate()
                {
                    piece.active.clear();
                    piece.helped.clear();
                    for (feature, &value) in (0u32..).zip(pre) {
                        if value == 0.0 {
                            continue;
                        }
                        if bits(&value) >= threshold {
                            piece.active.push((feature, value));
                        }
                        if help && is_dead[feature as usize] >= dead_after && bits(&value) >= threshold_helped
                        {
                            piece.helped.push((feature, value));
                        }
                    }
                    piece.ends.clear();
                    for &prefix in prefixes {
                        piece
                            .ends
                            .push(piece.active.partition_point(|&(feature, _)| (feature as usize) < prefix));
                    }
                    let norms =
                        kernels.residuals(x, decoder, &piece.active, &piece.ends, &piece.helped, residuals);
                    for (sum, norm) in piece.norms.iter_mut().zip([norms.all, norms.last, norms.helped]) {
                        *sum += f64::from(norm);
                    }
                    let active = piece.active.iter().map(|&(j, z)| (j, z, block[j as usize]));
                    let helped = piece.helped.iter().map(|&(j, z)| (j, z, planes - 1));
                    for (feature, z, plane) in active.chain(helped) {
                        let column = &decoder[feature as usize * stride..][..stride];
                        let along = kernels.dot(column, &residuals[plane * stride..][..stride]);
                        piece.entries.push(Entry { row, feature, plane, z, along });
                    }
                }
            });

        let mut norms = [0.0f64; 3];
        for piece in pieces.iter() {
            norms.iter_mut().zip(piece.norms).for_each(|(sum, norm)| *sum += norm);
        }
        let share = 1.0 / (n as f64 * prefixes.len() as f64);
        let left = norms[1].max(f64::from(f32::MIN_POSITIVE));
        let weight = f64::from(self.auxiliary_weight);
        let mut loss = norms[0] * share;
        if help {
            loss += weight * norms[2] / left;
        }

        // Turn rows of features into features of rows.
        for (column, steps_since_fired) in self.columns.iter_mut().zip(&mut self.steps_since_fired) {
            column.items.clear();
            *steps_since_fired += 1;
        }
        for (number, piece) in pieces.iter().enumerate() {
            for entry in &piece.entries {
                let feature = entry.feature as usize;
                let (Some(column), Some(steps_since_fired)) =
                    (self.columns.get_mut(feature), self.steps_since_fired.get_mut(feature))
                else {
                    continue;
                };
                let main = entry.plane + 1 < planes;
                if main {
                    *steps_since_fired = 0;
                }
                let scale = if main { 2.0 * share } else { 2.0 * weight / left } as f32;
                let row = number * PIECE + entry.row;
                column.items.push(Item {
                    x: row * stride,
                    residual: (row * planes + entry.plane) * stride,
                    z: entry.z * scale,
                    slope: entry.along * scale,
                });
            }
        }

        let (x, residuals) = (&batch.x, &batch.residuals);
        self.columns
            .par_iter_mut()
            .zip(decoder.par_chunks_exact(stride))
            .with_min_len(tasks(2 * n * stride * self.active).min(features))
            .for_each(|(column, weights)| {
                let [by_encoder, by_decoder] = &mut column.gradients;
                kernels.gather(&column.items, x, residuals, by_encoder, by_decoder);
                // Only the part along the unit sphere changes anything; the rest would upset Adam.
                let radial = kernels.dot(by_decoder, weights);
                kernels.add_scaled(by_decoder, -radial, weights);
                column.bias[0] = if relu { column.items.iter().map(|item| item.slope).sum() } else { 0.0 };
                column.square = f64::from(kernels.dot(by_encoder, by_encoder))
                    + f64::from(kernels.dot(by_decoder, by_decoder))
                    + f64::from(column.bias[0]).powi(2);
            });
        Ok(loss)
    }

    /// Adam on the clipped gradients; decoder rows back to norm one.
    fn update(&mut self) {
        let norm = self.columns.iter().map(|column| column.square).sum::<f64>().sqrt();
        let step =
            Adam { clip: norm.max(1.0).recip() as f32, ..Adam::at(self.learning_rate, self.steps + 1) };
        let (kernels, stride, relu) = (self.kernels, self.stride, self.activation == Activation::Relu);
        let worth = 16 * self.features * stride >= WORTH_A_THREAD;
        self.columns
            .par_chunks_mut(PANEL)
            .zip(self.encoder.par_chunks_mut(PANEL * stride))
            .zip(self.decoder.par_chunks_mut(PANEL * stride))
            .zip(self.panels.par_chunks_mut(PANEL * stride))
            .zip(self.bias.par_chunks_mut(PANEL))
            .with_min_len(if worth { 1 } else { self.features })
            .for_each(|((((columns, encoder), decoder), panel), bias)| {
                if relu {
                    for (column, bias) in columns.iter_mut().zip(bias) {
                        let [gradient, first, second] = &mut column.bias;
                        step.one(*gradient, first, second, bias);
                    }
                }
                let rows = encoder.chunks_exact_mut(stride).zip(decoder.chunks_exact_mut(stride));
                for (column, (encoder, decoder)) in columns.iter_mut().zip(rows) {
                    let weights = [encoder, decoder];
                    for (i, weights) in weights.into_iter().enumerate() {
                        kernels.adam(
                            step,
                            &column.gradients[i],
                            &mut column.first[i],
                            &mut column.second[i],
                            weights,
                        );
                        if i == 1 {
                            let norm = kernels.dot(weights, weights).sqrt().max(1e-12);
                            kernels.scale(weights, norm.recip());
                        }
                    }
                }
                transpose(encoder, stride, panel);
            });
    }

    fn refill_panels(&mut self) {
        let stride = self.stride;
        let rows = self.encoder.chunks(PANEL * stride);
        for (panel, rows) in self.panels.chunks_exact_mut(PANEL * stride).zip(rows) {
            transpose(rows, stride, panel);
        }
    }
}

/// Rows `[up to PANEL, stride]` to `[stride, PANEL]`.
fn transpose(rows: &[f32], stride: usize, panel: &mut [f32]) {
    for (feature, row) in rows.chunks_exact(stride).enumerate() {
        for (values, &value) in panel.chunks_exact_mut(PANEL).zip(row) {
            values[feature] = value;
        }
    }
}

/// The `keep`-th largest of `count` magnitudes; 0 from `keep = count` on. `guess` is where it was
/// last time: mostly, few values lie above three quarters of that, and only they are looked at.
fn kth_largest(
    candidates: &mut Vec<u32>,
    magnitudes: impl Iterator<Item = u32> + Clone,
    count: usize,
    keep: usize,
    guess: &mut u32,
) -> u32 {
    if keep >= count {
        return 0;
    }
    for least in [(f32::from_bits(*guess) * 0.75).to_bits(), 0] {
        candidates.clear();
        candidates.extend(magnitudes.clone().filter(|&bits| bits >= least));
        if let Some(rank) = candidates.len().checked_sub(keep) {
            *guess = *candidates.select_nth_unstable(rank).1;
            return *guess;
        }
    }
    0
}

#[cfg(test)]
impl Fused {
    /// Other weights than a start's: both row-major `[dimensions, features]`, and which are dead.
    pub(super) fn set(&mut self, encoder: &[f32], dead: &[bool]) {
        for (at, &value) in encoder.iter().enumerate() {
            self.encoder[at % self.features * self.stride + at / self.features] = value;
        }
        self.refill_panels();
        for (steps_since_fired, &dead) in self.steps_since_fired.iter_mut().zip(dead) {
            *steps_since_fired = if dead { self.dead_after } else { 0 };
        }
        self.dead = dead.iter().filter(|&&dead| dead).count();
    }

    /// The same for the bias.
    pub(super) fn set_bias(&mut self, bias: &[f32]) {
        self.bias.copy_from_slice(bias);
    }

    /// The bias's gradient of the last look, `[features]`.
    pub(super) fn bias_gradient(&self) -> Vec<f32> {
        self.columns.iter().map(|column| column.bias[0]).collect()
    }

    /// The loss on all rows of `source` and both gradients, row-major `[dimensions, features]`.
    pub(super) fn look(&mut self, source: &dyn Source, rows: usize) -> (f64, Vec<f32>, Vec<f32>) {
        let index: Vec<u32> = (0..rows as u32).collect();
        let loss = self.gradients(source, &index, self.dead).unwrap();
        let by = |i: usize| -> Vec<f32> {
            (0..self.dimensions)
                .flat_map(|d| self.columns.iter().map(move |column| column.gradients[i][d]))
                .collect()
        };
        (loss, by(0), by(1))
    }
}
