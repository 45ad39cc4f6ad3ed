//! A training step on a graphics card in five kernels, with everything it needs staying there.
//!
//! The same step as on the CPU (`fused`) and in Burn's generic operations (`train::Trainer`), on Burn's WGPU device
//! and in its buffers:
//!
//! ```text
//! encode      pre = x · Eᵀ                              tiles of 32 rows × 32 features
//! select      the thresholds of batch top-k             radix select on bits, the dead beside the rest
//! residuals   x̂_p − x for all prefixes, slopes          a workgroup a row
//! gradients   by encoder and decoder, projected         a workgroup a feature
//! update      global clip, Adam, norms, next step       a workgroup a feature
//! ```
//!
//! Rows lie on the device once, where they fit; then a step costs the host five launches, and an epoch the upload of
//! its order. Where they do not fit, they follow in pieces: while the device works on one the host reads the next.
//! What tells steps apart (rows, step size) stands in the plan, and the last kernel moves on: nothing is read back
//! within an epoch, but in pieces one loss for each of them, so that no more than two wait.
//!
//! ```text
//! plan    0 D · 1 M · 2 K · 3 P · 4 dead after · 5 look every · 6 steps · 7 B, the largest batch · 8 auxiliary weight
//!         9 where the steps begin · 10 where the index begins · 11 whether ReLU with a bias · 16… prefixes
//!         steps [steps, 4]: first place in the index, rows, step size, ε · index: rows of x
//! encoder [M, D], then [M] biases · moments [M, 4, D], then [M, 2] of the biases
//! gradients [M, 2, D], then [M] squares, then [M] of the biases
//! state   0 next step · 1 this step · 2, 3 thresholds · 4 dead features · 5 steps so far · 8… [M] batches since it fired
//! ```

use std::collections::VecDeque;

use burn::{
    backend::{Backend, Dispatch, ExtensionType, backend_extension, tensor::FloatTensor},
    tensor::{Device, Tensor, TensorData},
};
use burn_cubecl::{
    CubeBackend,
    template::{KernelSource, SourceKernel, SourceTemplate},
    tensor::CubeTensor,
};
use cubecl::{
    CubeCount, CubeDim,
    prelude::KernelId,
    server::{Handle, KernelArguments},
};

use super::checkpoint::Arrays;
use super::cpu_engine::Source;
use super::kernels::Adam;
use super::shape::{LOOK_EVERY, Shape};
use super::{Activation, SaeConfig, SaeError};

/// Bytes of rows that stay on the device at most, however much it offers.
const RESIDENT: usize = 1 << 31;
/// Bytes of a piece where they do not.
const PIECE: usize = 1 << 26;
/// Pieces under way: one is computed, one is on its way.
const AHEAD: usize = 2;
/// Features, and rows in a batch, that the kernels' masks have room for.
const MOST: usize = 4096;
/// Numbers before the prefixes in the plan, and before the features in the state.
const HEAD: usize = 16;
const STATE: usize = 8;

/// The buffers of a training, as tensors of rank one; integers lie in them bit by bit.
#[derive(ExtensionType)]
pub(super) struct Buffers<B: Backend> {
    x: FloatTensor<B>,
    plan: FloatTensor<B>,
    state: FloatTensor<B>,
    encoder: FloatTensor<B>,
    decoder: FloatTensor<B>,
    moments: FloatTensor<B>,
    pre: FloatTensor<B>,
    planes: FloatTensor<B>,
    rows: FloatTensor<B>,
    gradients: FloatTensor<B>,
    losses: FloatTensor<B>,
}

/// The steps as a backend offers them; only graphics cards are asked.
#[backend_extension(Cube)]
pub(super) trait StepOps: Backend {
    /// Does the `steps` steps of the plan for `features` features and at most `most` rows a batch, in place; the losses.
    fn steps(
        #[extension_type] buffers: Buffers<Self>,
        steps: usize,
        features: usize,
        most: usize,
    ) -> FloatTensor<Self>;
}

/// The WGSL kernels; each is described in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kernel {
    Encode,
    Select,
    Residuals,
    Gradients,
    Update,
}

/// Invocations per workgroup in each of them.
const WORKGROUP: u32 = 256;
/// Rows and features that a workgroup of `encode` serves.
const TILE: usize = 32;

impl KernelSource for Kernel {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(match self {
            Kernel::Encode => include_str!("../../shaders/encode.wgsl"),
            Kernel::Select => include_str!("../../shaders/select.wgsl"),
            Kernel::Residuals => include_str!("../../shaders/residuals.wgsl"),
            Kernel::Gradients => include_str!("../../shaders/gradients.wgsl"),
            Kernel::Update => include_str!("../../shaders/update.wgsl"),
        })
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(*self)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

impl Kernel {
    fn launch(self, on: &CubeTensor, groups: (usize, usize), buffers: &[&Handle]) {
        on.client.launch(
            Box::new(SourceKernel::new(self, CubeDim::new_1d(WORKGROUP))),
            CubeCount::Static(groups.0 as u32, groups.1 as u32, 1),
            KernelArguments::new()
                .with_buffers(buffers.iter().map(|&buffer| buffer.clone().binding()).collect()),
        );
    }
}

impl StepOps for CubeBackend {
    fn steps(buffers: Buffers<Self>, steps: usize, features: usize, most: usize) -> FloatTensor<Self> {
        let Buffers { x, plan, state, encoder, decoder, moments, pre, planes, rows, gradients, losses } =
            &buffers;
        let of = |tensors: &[&CubeTensor], kernel: Kernel, groups: (usize, usize)| {
            let handles: Vec<&Handle> = tensors.iter().map(|tensor| &tensor.handle).collect();
            kernel.launch(x, groups, &handles);
        };
        for _ in 0..steps {
            let tiles = (features.div_ceil(TILE), most.div_ceil(TILE));
            of(&[x, plan, state, encoder, pre], Kernel::Encode, tiles);
            of(&[plan, state, pre], Kernel::Select, (2, 1));
            of(&[x, plan, state, decoder, pre, planes, rows], Kernel::Residuals, (most, 1));
            let all = [x, plan, state, decoder, pre, planes, rows, gradients];
            of(&all, Kernel::Gradients, (features, 1));
            let all = [plan, state, rows, gradients, encoder, decoder, moments, losses];
            of(&all, Kernel::Update, (features, 1));
        }
        losses.clone()
    }
}

/// Rows on the device.
#[allow(clippy::large_enum_variant)] // there is one of it
enum Placed {
    /// All of them: where each row of the data lies.
    All { x: Tensor<1>, place: Vec<u32> },
    /// They come in pieces.
    InPieces,
}

/// A training on a graphics card.
pub(super) struct Resident {
    dimensions: usize,
    features: usize,
    prefixes: Vec<usize>,
    active: usize,
    activation: Activation,
    dead_after: usize,
    auxiliary_weight: f32,
    learning_rate: f64,
    /// Rows of the largest batch.
    most: usize,
    steps: i32,
    device: Device,
    placed: Placed,
    /// Bytes of a piece, where rows come in pieces.
    piece: usize,
    state: Tensor<1>,
    encoder: Tensor<1>,
    decoder: Tensor<1>,
    moments: Tensor<1>,
    pre: Tensor<1>,
    planes: Tensor<1>,
    rows: Tensor<1>,
    gradients: Tensor<1>,
    /// Losses that nobody has asked for yet.
    losses: VecDeque<Tensor<1>>,
    /// Sum of those that were read already.
    sum: f64,
}

fn upload(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// Integers as the floats with the same bits.
fn bits(values: Vec<u32>) -> Vec<f32> {
    values.into_iter().map(f32::from_bits).collect()
}

/// Whether the kernels' masks have room for this, and buffers of `largest` bytes for all but the rows.
pub(super) fn fits(shape: &Shape, config: &SaeConfig, dimensions: usize, largest: usize) -> bool {
    let (features, planes) = (shape.features, shape.prefixes.len() + 1);
    let longest = [
        features * (4 * dimensions + 2),
        config.batch * planes * dimensions,
        config.batch * (2 * features + 3),
    ];
    let bytes = longest.into_iter().max().unwrap_or(0) * size_of::<f32>();
    features <= MOST && config.batch <= MOST && bytes <= largest
}

impl Resident {
    /// Starts with encoder and decoder equal to `decoder`, row-major `[dimensions, features]`, on the rows `index` of
    /// `source`; `largest` is the size in bytes that a buffer can have.
    ///
    /// # Errors
    /// Where the rows cannot be read.
    pub(super) fn new(
        decoder: &[f32],
        shape: &Shape,
        config: &SaeConfig,
        source: &dyn Source,
        index: &[u32],
        device: &Device,
        largest: usize,
    ) -> Result<Self, SaeError> {
        let features = shape.features;
        let dimensions = decoder.len() / features.max(1);
        // An epoch is cut into even pieces, none of which has more rows than this.
        let most = config.batch.min(2 * index.len().max(1));
        let planes = shape.prefixes.len() + 1;
        let by_feature: Vec<f32> = (0..features * dimensions)
            .map(|at| decoder[at % dimensions * features + at / dimensions])
            .collect();
        let with_bias = [by_feature.clone(), vec![0.0; features]].concat();
        let bytes = index.len() * dimensions * size_of::<f32>();
        let placed = if bytes <= largest.min(RESIDENT) {
            let mut x = vec![0.0; index.len() * dimensions];
            source.fill(index, dimensions, &mut x)?;
            let mut place = vec![0; index.iter().max().map_or(0, |&row| row as usize + 1)];
            for (at, &row) in (0u32..).zip(index) {
                place[row as usize] = at;
            }
            Placed::All { x: upload(x, device), place }
        } else {
            Placed::InPieces
        };
        let zeros = |count: usize| Tensor::<1>::zeros([count], device);
        Ok(Self {
            dimensions,
            features,
            prefixes: shape.prefixes.clone(),
            active: shape.active,
            activation: shape.activation,
            dead_after: config.dead_after,
            auxiliary_weight: config.auxiliary_weight as f32,
            learning_rate: config.learning_rate,
            most,
            steps: 0,
            device: device.clone(),
            placed,
            piece: PIECE.min(largest),
            // Not `zeros`: each of these is written in place and may not share its buffer.
            state: upload(vec![0.0; STATE + features], device),
            encoder: upload(with_bias, device),
            decoder: upload(by_feature, device),
            moments: upload(vec![0.0; features * (4 * dimensions + 2)], device),
            pre: zeros(most * features),
            planes: zeros(most * planes * dimensions),
            rows: zeros(most * (2 * features + 3)),
            gradients: zeros(features * (2 * dimensions + 2)),
            losses: VecDeque::new(),
            sum: 0.0,
        })
    }

    /// One step on each of the batches.
    ///
    /// # Errors
    /// Where rows cannot be read, or what `host` reports of the device.
    pub(super) fn run(
        &mut self,
        source: &dyn Source,
        batches: &[&[u32]],
        host: &dyn Fn(Tensor<1>) -> Result<Vec<f32>, SaeError>,
    ) -> Result<(), SaeError> {
        if let Placed::All { x, place } = &self.placed {
            let (x, index) = (x.clone(), batches.concat());
            let index = index.into_iter().map(|row| place[row as usize]).collect();
            self.launch(x, batches, index);
            return Ok(());
        }
        let row = self.dimensions * size_of::<f32>();
        let together = (self.piece / (self.most * row).max(1)).max(1);
        for batches in batches.chunks(together) {
            while self.losses.len() >= AHEAD {
                self.settle(host)?;
            }
            let index = batches.concat();
            let mut x = vec![0.0; index.len() * self.dimensions];
            source.fill(&index, self.dimensions, &mut x)?;
            self.launch(upload(x, &self.device), batches, (0..index.len() as u32).collect());
        }
        Ok(())
    }

    fn launch(&mut self, x: Tensor<1>, batches: &[&[u32]], index: Vec<u32>) {
        let table = HEAD + self.prefixes.len();
        let mut plan = vec![0u32; table];
        let head = [
            self.dimensions,
            self.features,
            self.active,
            self.prefixes.len(),
            self.dead_after,
            LOOK_EVERY,
            batches.len(),
            self.most,
        ];
        for (slot, value) in plan.iter_mut().zip(head) {
            *slot = value as u32;
        }
        plan[8] = self.auxiliary_weight.to_bits();
        plan[9] = table as u32;
        plan[10] = (table + 4 * batches.len()) as u32;
        plan[11] = u32::from(self.activation == Activation::Relu);
        for (slot, prefix) in plan[HEAD..].iter_mut().zip(&self.prefixes) {
            *slot = *prefix as u32;
        }
        let mut first = 0;
        for batch in batches {
            self.steps += 1;
            let Adam { rate, epsilon, .. } = Adam::at(self.learning_rate, self.steps);
            plan.extend([first, batch.len() as u32, rate.to_bits(), epsilon.to_bits()]);
            first += batch.len() as u32;
        }
        plan.extend(index);
        let losses = upload(vec![0.0; batches.len()], &self.device);
        let give = |tensor: &Tensor<1>| tensor.clone().into_dispatch();
        let buffers = Buffers::<Dispatch> {
            x: x.into_dispatch(),
            plan: upload(bits(plan), &self.device).into_dispatch(),
            state: give(&self.state),
            encoder: give(&self.encoder),
            decoder: give(&self.decoder),
            moments: give(&self.moments),
            pre: give(&self.pre),
            planes: give(&self.planes),
            rows: give(&self.rows),
            gradients: give(&self.gradients),
            losses: give(&losses),
        };
        let losses = <Dispatch as StepOps>::steps(buffers, batches.len(), self.features, self.most);
        self.losses.push_back(Tensor::from_dispatch(losses));
    }

    /// Reads the oldest losses, for which the device has to have come so far.
    fn settle(&mut self, host: &dyn Fn(Tensor<1>) -> Result<Vec<f32>, SaeError>) -> Result<(), SaeError> {
        if let Some(losses) = self.losses.pop_front() {
            self.sum += host(losses)?.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        }
        Ok(())
    }

    /// The sum of the losses since the last call; waits for the device.
    ///
    /// # Errors
    /// What `host` reports.
    pub(super) fn take_loss(
        &mut self,
        host: &dyn Fn(Tensor<1>) -> Result<Vec<f32>, SaeError>,
    ) -> Result<f64, SaeError> {
        while !self.losses.is_empty() {
            self.settle(host)?;
        }
        Ok(std::mem::take(&mut self.sum))
    }

    /// Everything that the next step depends on, after an epoch: arrays by name, steps done, dead features at the last
    /// look, batches since each feature fired.
    ///
    /// # Errors
    /// What `host` reports.
    pub(super) fn state(
        &self,
        host: &dyn Fn(Tensor<1>) -> Result<Vec<f32>, SaeError>,
    ) -> Result<(Arrays, i32, usize, Vec<usize>), SaeError> {
        let mut arrays = Vec::new();
        for (name, tensor) in self.arrays() {
            arrays.push((name.to_owned(), host(tensor.clone())?));
        }
        let state: Vec<u32> = host(self.state.clone())?.into_iter().map(f32::to_bits).collect();
        let steps_since_fired =
            state.iter().skip(STATE).map(|&steps_since_fired| steps_since_fired as usize).collect();
        Ok((arrays, self.steps, state.get(4).map_or(0, |&dead| dead as usize), steps_since_fired))
    }

    /// Takes up a state; `false`, and nothing is changed, where it is of another shape.
    pub(super) fn restore(
        &mut self,
        arrays: &Arrays,
        steps: i32,
        dead: usize,
        steps_since_fired: &[usize],
    ) -> bool {
        let mut found = Vec::new();
        for (name, tensor) in self.arrays() {
            let values = arrays.iter().find(|(found, _)| found == name).map(|(_, values)| values);
            let Some(values) = values.filter(|values| values.len() == tensor.dims()[0]) else { return false };
            found.push(upload(values.clone(), &self.device));
        }
        let (Ok([encoder, decoder, moments]), true) =
            (<[Tensor<1>; 3]>::try_from(found), steps_since_fired.len() == self.features)
        else {
            return false;
        };
        (self.encoder, self.decoder, self.moments, self.steps) = (encoder, decoder, moments, steps);
        let mut state = vec![0, 0, 0, 0, dead as u32, steps as u32, 0, 0];
        state.extend(steps_since_fired.iter().map(|&steps_since_fired| steps_since_fired as u32));
        self.state = upload(bits(state), &self.device);
        true
    }

    fn arrays(&self) -> [(&'static str, &Tensor<1>); 3] {
        [("encoder", &self.encoder), ("decoder", &self.decoder), ("moments", &self.moments)]
    }

    /// Encoder and decoder as they are now, row-major `[features, dimensions]`; behind the encoder the biases, `[features]`.
    pub(super) fn weights(&self) -> [Tensor<1>; 2] {
        [self.encoder.clone(), self.decoder.clone()]
    }
}

/// Rows of a table.
struct Table(Vec<f32>, usize);

impl Source for Table {
    fn fill(&self, index: &[u32], stride: usize, out: &mut [f32]) -> Result<(), SaeError> {
        for (&row, out) in index.iter().zip(out.chunks_exact_mut(stride)) {
            out[..self.1].copy_from_slice(&self.0[row as usize * self.1..][..self.1]);
        }
        Ok(())
    }
}

/// Twelve steps here and on the CPU from the same start, features dying on the way.
pub(super) fn agrees_with_the_cpu(device: &Device, largest: usize) -> Result<bool, SaeError> {
    let signed = agrees(device, largest, Activation::Signed)?;
    Ok(signed && agrees(device, largest, Activation::Relu)?)
}

fn agrees(device: &Device, largest: usize, activation: Activation) -> Result<bool, SaeError> {
    const ROWS: usize = 48;
    const DIMENSIONS: usize = 20;
    let config =
        SaeConfig { features: 18, active: 2, prefixes: vec![5, 18], dead_after: 3, ..SaeConfig::default() };
    let shape = Shape { features: 18, active: 2, activation, prefixes: vec![5, 18] };
    let mut random = crate::rng::stream(0, "graphics card");
    let mut draw = |count: usize| -> Vec<f32> {
        (0..count).map(|_| rand::RngExt::random_range(&mut random, -1.0f32..1.0)).collect()
    };
    let (table, mut start) = (Table(draw(ROWS * DIMENSIONS), DIMENSIONS), draw(DIMENSIONS * 18));
    for feature in 0..18 {
        let column = || (0..DIMENSIONS).map(|d| d * 18 + feature);
        let norm = column().map(|at| start[at] * start[at]).sum::<f32>().sqrt();
        column().for_each(|at| start[at] /= norm);
    }
    let index: Vec<u32> = (0..ROWS as u32).collect();
    let batches: Vec<&[u32]> = (0..12).map(|step| &index[step * 3..step * 3 + 13]).collect();
    let mut here = Resident::new(&start, &shape, &config, &table, &index, device, largest)?;
    let host = |tensor: Tensor<1>| Ok(tensor.into_data().iter::<f32>().collect());
    here.run(&table, &batches, &host)?;
    let mut there = super::cpu_engine::Fused::new(&start, &shape, &config);
    let expected = there.steps(&table, batches.iter().copied())?;
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b.abs().max(1e-3);
    let mut same = near(here.take_loss(&host)?, expected);
    let [encoder, decoder] = there.weights();
    let theirs = [[encoder, there.bias().to_vec()].concat(), decoder];
    for (ours, theirs) in here.weights().into_iter().zip(theirs) {
        let ours: Vec<f32> = host(ours)?;
        let (mut apart, mut size) = (0.0, 0.0);
        for (a, b) in ours.iter().zip(&theirs) {
            apart += f64::from(a - b).powi(2);
            size += f64::from(*b).powi(2);
        }
        same &= ours.len() == theirs.len() && apart <= 1e-6 * size;
    }
    Ok(same)
}

#[cfg(test)]
impl Resident {
    /// Other weights than a start's, both row-major `[dimensions, features]`, and which are dead.
    pub(super) fn set(&mut self, encoder: &[f32], bias: &[f32], dead: &[bool]) {
        let (d, m) = (self.dimensions, self.features);
        let by_feature: Vec<f32> = (0..m * d).map(|at| encoder[at % d * m + at / d]).collect();
        self.encoder = upload([by_feature, bias.to_vec()].concat(), &self.device);
        let mut state = vec![0u32; STATE + m];
        state[4] = dead.iter().filter(|dead| **dead).count() as u32;
        for (slot, &dead) in state[STATE..].iter_mut().zip(dead) {
            *slot = if dead { self.dead_after as u32 } else { 0 };
        }
        self.state = upload(bits(state), &self.device);
    }

    /// The gradients of the last step by encoder and decoder, row-major `[dimensions, features]`, the decoder's
    /// projected, and by the bias, `[features]`.
    pub(super) fn last_gradients(&self, values: &dyn Fn(Tensor<1>) -> Vec<f32>) -> [Vec<f32>; 3] {
        let all = values(self.gradients.clone());
        let (d, m) = (self.dimensions, self.features);
        let by = |which: usize| (0..m * d).map(|at| all[(2 * (at % m) + which) * d + at / m]).collect();
        [by(0), by(1), all[m * (2 * d + 1)..].to_vec()]
    }
}
