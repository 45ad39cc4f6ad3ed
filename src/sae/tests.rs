//! The autoencoder against plain `f64` arithmetic, on the CPU and on WGPU.

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::cpu_engine::{Fused, Source};
use super::gpu_engine::Resident;
use super::kernels::{Adam, Item, Kernels, PANEL, STRIDE};
use super::objective::{Dead, Network, Objective};
use super::select::keep_largest;
use super::shape::Shape;
use super::train::Trainer;
use super::*;
use crate::{matrix::Matrix, rng};

/// A graphics adapter, software ones included. Without one the WGPU half of a test cannot run: on the
/// CI machine that is a failure, on a newcomer's it is said aloud.
fn gpu() -> Option<Compute> {
    match choose(DeviceChoice::Gpu) {
        Ok(compute) => Some(compute),
        Err(error) if std::env::var_os("CI").is_some() => panic!("WGPU has to be tested here: {error}"),
        Err(error) => {
            eprintln!("NOT TESTED ON WGPU: {error} (Debian: apt-get install mesa-vulkan-drivers)");
            None
        }
    }
}

fn devices() -> Vec<Compute> {
    std::iter::once(Compute::cpu()).chain(gpu()).collect()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_data().unwrap().iter::<f32>().collect()
}

fn normal(random: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f32, f32) = (random.random(), random.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

fn normals(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| normal(random)).collect()
}

// ------------------------------------------------------------------ batch top-k

/// Batch top-k by sorting, in `f64`: everything as large as the `keep`-th largest magnitude stays.
fn kept(values: &[f32], keep: usize) -> Vec<f32> {
    let mut sizes: Vec<f64> = values.iter().map(|v| f64::from(*v).abs()).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    let least = if keep >= sizes.len() { 0.0 } else { sizes[keep - 1] };
    values.iter().map(|v| if f64::from(*v).abs() >= least { *v } else { 0.0 }).collect()
}

/// Random values, and those that selections get wrong: ties, zeros of both signs, denormals, infinities.
fn nasty(random: &mut ChaCha8Rng, count: usize, kind: usize) -> Vec<f32> {
    let mut values = normals(random, count);
    match kind % 5 {
        0 => {}
        1 => values.iter_mut().for_each(|v| *v = (*v * 2.0).round() / 2.0),
        2 => values.iter_mut().for_each(|v| *v *= 1e-42),
        3 => values.iter_mut().step_by(3).for_each(|v| *v = f32::INFINITY.copysign(*v)),
        _ => values.iter_mut().for_each(|v| *v = if *v > 0.0 { 1.0 } else { -0.0 }),
    }
    values
}

#[test]
fn the_selection_equals_sorting_on_every_device() {
    let shapes = [[1, 1], [1, 7], [5, 1], [3, 5], [17, 33], [2, 128], [256, 32], [255, 33], [513, 64]];
    for compute in devices() {
        let mut random = rng::stream(1, "selection");
        for (case, [rows, cols]) in shapes.into_iter().enumerate() {
            for kind in 0..5 {
                let n = rows * cols;
                let input = nasty(&mut random, n, kind + case);
                for keep in [1, n.div_ceil(8), n / 2, n.saturating_sub(1), n, n + 5] {
                    let tensor =
                        Tensor::<2>::from_data(TensorData::new(input.clone(), [rows, cols]), &compute.device);
                    let found = values(keep_largest(tensor, keep));
                    let expected = if keep == 0 { vec![0.0; n] } else { kept(&input, keep) };
                    let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits() || a == b);
                    assert!(same, "{} {rows} × {cols}, kind {kind}, keep {keep}", compute.adapter);
                }
            }
        }
        let empty = Tensor::<2>::zeros([0, 3], &compute.device);
        assert_eq!(keep_largest(empty, 2).dims(), [0, 3]);
    }
}

#[test]
fn the_selections_gradient_flows_through_what_is_kept() {
    for compute in devices() {
        let device: Device = compute.device.clone().autodiff();
        let mut random = rng::stream(2, "selection gradient");
        for (rows, cols, keep) in [(1, 1, 1), (4, 7, 9), (64, 33, 500), (300, 2, 1)] {
            let input = normals(&mut random, rows * cols);
            let weights = normals(&mut random, rows * cols);
            let tensor =
                Tensor::<2>::from_data(TensorData::new(input.clone(), [rows, cols]), &device).require_grad();
            let weight = Tensor::<2>::from_data(TensorData::new(weights.clone(), [rows, cols]), &device);
            let gradients = (keep_largest(tensor.clone(), keep) * weight).sum().backward();
            let found = values(tensor.grad(&gradients).unwrap());
            let expected: Vec<f32> = kept(&input, keep)
                .iter()
                .zip(&weights)
                .map(|(k, w)| if *k == 0.0 { 0.0 } else { *w })
                .collect();
            assert_eq!(found, expected, "{} {rows} × {cols}", compute.adapter);
        }
    }
}

// ------------------------------------------------------------------ the loss

/// A small problem with weights that are nobody's optimum.
struct Problem {
    rows: usize,
    dimensions: usize,
    features: usize,
    active: usize,
    prefixes: Vec<usize>,
    dead: Vec<bool>,
    x: Vec<f32>,
    encoder: Vec<f32>,
    decoder: Vec<f32>,
    /// With ReLU only.
    bias: Vec<f32>,
    activation: Activation,
}

/// Loss and its gradients by encoder, decoder and bias.
type Looked = (f64, Vec<f32>, Vec<f32>, Vec<f32>);
/// Encoder, decoder and bias in double precision.
type Weights64<'a> = (&'a [f64], &'a [f64], &'a [f64]);

impl Problem {
    /// The same with ReLU and a bias.
    fn relu(number: u64, rows: usize, dimensions: usize, features: usize, dead: bool) -> Self {
        let bias = normals(&mut rng::stream(number, "bias"), features);
        let bias = bias.into_iter().map(|bias| 0.3 * bias).collect();
        Self { bias, activation: Activation::Relu, ..Self::new(number, rows, dimensions, features, dead) }
    }

    fn shape(&self) -> Shape {
        Shape {
            features: self.features,
            active: self.active,
            activation: self.activation,
            prefixes: self.prefixes.clone(),
        }
    }

    fn new(number: u64, rows: usize, dimensions: usize, features: usize, dead: bool) -> Self {
        let mut random = rng::stream(number, "problem");
        let mut decoder = normals(&mut random, dimensions * features);
        for feature in 0..features {
            let norm: f32 =
                (0..dimensions).map(|d| decoder[d * features + feature].powi(2)).sum::<f32>().sqrt();
            (0..dimensions).for_each(|d| decoder[d * features + feature] /= norm);
        }
        let mut prefixes = vec![features.div_ceil(3), features];
        prefixes.dedup();
        Self {
            rows,
            dimensions,
            features,
            active: features.div_ceil(4),
            prefixes,
            dead: (0..features).map(|feature| dead && feature % 3 == 1).collect(),
            x: normals(&mut random, rows * dimensions),
            encoder: normals(&mut random, dimensions * features),
            decoder,
            bias: vec![0.0; features],
            activation: Activation::Signed,
        }
    }

    fn dead_active(&self) -> usize {
        (2 * self.active).min(self.dead.iter().filter(|dead| **dead).count())
    }

    fn square(&self) -> f64 {
        self.x.iter().map(|x| f64::from(*x).powi(2)).sum()
    }

    /// The loss as METHOD §2 writes it, with reconstructions formed one by one in `f64`. `fixed` holds
    /// the main reconstruction's weights, which the auxiliary term takes as given.
    fn reference(&self, (encoder, decoder, bias): Weights64<'_>, fixed: Weights64<'_>) -> f64 {
        let (n, d, m) = (self.rows, self.dimensions, self.features);
        let product = |weights: &[f64], bias: &[f64]| -> Vec<f64> {
            let x = |row: usize, i: usize| f64::from(self.x[row * d + i]);
            let pre = |at: usize| (0..d).map(|i| x(at / m, i) * weights[i * m + at % m]).sum::<f64>();
            (0..n * m)
                .map(|at| match self.activation {
                    Activation::Signed => pre(at),
                    Activation::Relu => (pre(at) + bias[at % m]).max(0.0),
                })
                .collect()
        };
        let select = |values: &[f64], keep: usize| -> Vec<f64> {
            let mut sizes: Vec<f64> = values.iter().map(|v| v.abs()).collect();
            sizes.sort_by(|a, b| b.total_cmp(a));
            let least = if keep >= sizes.len() { 0.0 } else { sizes[keep - 1] };
            values.iter().map(|v| if v.abs() >= least { *v } else { 0.0 }).collect()
        };
        let rest = |target: &dyn Fn(usize, usize) -> f64, z: &[f64], weights: &[f64], prefix: usize| -> f64 {
            (0..n)
                .flat_map(|row| (0..d).map(move |i| (row, i)))
                .map(|(row, i)| {
                    let guess: f64 = (0..prefix).map(|j| z[row * m + j] * weights[i * m + j]).sum();
                    (target(row, i) - guess).powi(2)
                })
                .sum()
        };
        let pre = product(encoder, bias);
        let z = select(&pre, n * self.active);
        let x = |row: usize, i: usize| f64::from(self.x[row * d + i]);
        let main: f64 = self.prefixes.iter().map(|&prefix| rest(&x, &z, decoder, prefix)).sum::<f64>()
            / self.prefixes.len() as f64
            / n as f64;
        if !self.dead.contains(&true) {
            return main;
        }
        let fixed_z = select(&product(fixed.0, fixed.2), n * self.active);
        let left = |row: usize, i: usize| {
            x(row, i) - (0..m).map(|j| fixed_z[row * m + j] * fixed.1[i * m + j]).sum::<f64>()
        };
        let masked: Vec<f64> =
            pre.iter().enumerate().map(|(at, v)| if self.dead[at % m] { *v } else { 0.0 }).collect();
        let helped = select(&masked, n * self.dead_active());
        let nothing = rest(&left, &vec![0.0; n * m], decoder, m);
        main + rest(&left, &helped, decoder, m) / nothing / 32.0
    }

    /// Loss and its gradients by encoder and decoder, by Burn.
    fn burn(&self, compute: &Compute) -> Looked {
        let device = compute.device.clone().autodiff();
        let mut network = Network::tied(self.decoder.clone(), self.features, &device);
        let shape = [self.dimensions, self.features];
        network.encoder = burn::module::Param::from_tensor(Tensor::from_data(
            TensorData::new(self.encoder.clone(), shape),
            &device,
        ));
        if self.activation == Activation::Relu {
            network = network.with_relu(&device);
            let bias = TensorData::new(self.bias.clone(), [1, self.features]);
            network.bias = Some(burn::module::Param::from_tensor(Tensor::from_data(bias, &device)));
        }
        let objective = Objective::new(&self.prefixes, self.active, 1.0 / 32.0, &device);
        let x = Tensor::from_data(TensorData::new(self.x.clone(), [self.rows, self.dimensions]), &device);
        let mask: Vec<f32> = self.dead.iter().map(|dead| f32::from(u8::from(*dead))).collect();
        let dead = self.dead.contains(&true).then(|| Dead {
            mask: Tensor::from_data(TensorData::new(mask, [1, self.features]), &device),
            active: self.dead_active(),
        });
        let (loss, _) = objective.loss(&network, x, self.square(), dead.as_ref());
        let gradients = loss.backward();
        let encoder = values(network.encoder.val().grad(&gradients).unwrap());
        let decoder = values(network.decoder.val().grad(&gradients).unwrap());
        let bias = network.bias.as_ref().map(|bias| values(bias.val().grad(&gradients).unwrap()));
        let bias = bias.unwrap_or_else(|| vec![0.0; self.features]);
        (f64::from(values(loss.inner())[0]), encoder, decoder, bias)
    }
}

impl Problem {
    /// The same by the hand-written step; its decoder gradient is orthogonal to the decoder.
    fn fused(&self) -> Looked {
        let config = SaeConfig {
            features: self.features,
            active: self.active,
            prefixes: self.prefixes.clone(),
            ..SaeConfig::default()
        };
        let mut step = Fused::new(&self.decoder, &self.shape(), &config);
        step.set(&self.encoder, &self.dead);
        step.set_bias(&self.bias);
        let (loss, encoder, decoder) =
            step.look(&Table { values: &self.x, cols: self.dimensions }, self.rows);
        (loss, encoder, decoder, step.bias_gradient())
    }

    /// The same by the kernels for graphics cards, rows on the device or in pieces; after one step.
    fn resident(&self, compute: &Compute, largest: usize) -> Looked {
        let config = SaeConfig { batch: self.rows, ..SaeConfig::default() };
        let shape = self.shape();
        let table = Table { values: &self.x, cols: self.dimensions };
        let index: Vec<u32> = (0..self.rows as u32).collect();
        let device = &compute.device;
        let mut step =
            Resident::new(&self.decoder, &shape, &config, &table, &index, device, largest).unwrap();
        step.set(&self.encoder, &self.bias, &self.dead);
        let host = |tensor: Tensor<1>| Ok(values(tensor));
        step.run(&table, &[&index], &host).unwrap();
        let [by_encoder, by_decoder, by_bias] = step.last_gradients(&values);
        (step.take_loss(&host).unwrap(), by_encoder, by_decoder, by_bias)
    }

    /// `gradient` `[dimensions, features]` without its part along the decoder's columns.
    fn tangential(&self, gradient: &[f64]) -> Vec<f64> {
        let m = self.features;
        let w = |d: usize, j: usize| f64::from(self.decoder[d * m + j]);
        let along = |j: usize| (0..self.dimensions).map(|d| gradient[d * m + j] * w(d, j)).sum::<f64>();
        let along: Vec<f64> = (0..m).map(along).collect();
        (0..gradient.len()).map(|at| gradient[at] - along[at % m] * w(at / m, at % m)).collect()
    }
}

/// Rows as they are.
struct Table<'a> {
    values: &'a [f32],
    cols: usize,
}

impl Source for Table<'_> {
    fn fill(&self, index: &[u32], stride: usize, out: &mut [f32]) -> Result<(), SaeError> {
        for (&row, out) in index.iter().zip(out.chunks_exact_mut(stride)) {
            out[..self.cols].copy_from_slice(&self.values[row as usize * self.cols..][..self.cols]);
        }
        Ok(())
    }
}

/// Loss and gradients of one step by the WGSL kernels, against the CPU's, which stand against finite
/// differences in `f64`: many shapes, ties, zeros, denormals, one row, one column, several workgroups.
#[test]
fn the_kernels_for_graphics_cards_equal_the_hand_written_step() {
    let Some(compute) = gpu() else { return };
    assert!(compute.largest.is_some(), "{} fails the kernels' own test", compute.adapter);
    let mut problems = vec![
        Problem::new(11, 6, 5, 7, false),
        Problem::new(12, 6, 5, 9, true),
        Problem::new(13, 1, 4, 3, false),
        Problem::new(14, 9, 1, 2, false),
        Problem::new(15, 53, 8, 33, true),
        Problem::new(16, 4, 70, 17, true),
        Problem::new(18, 300, 17, 40, true),
        Problem::new(19, 40, 300, 65, true),
        Problem::new(20, 70, 600, 300, true),
        Problem::relu(31, 6, 5, 7, false),
        Problem::relu(32, 6, 5, 9, true),
        Problem::relu(33, 1, 4, 3, false),
        Problem::relu(34, 300, 17, 40, true),
        Problem::relu(35, 70, 600, 300, true),
    ];
    let mut many = Problem::new(17, 40, 12, 20, true);
    many.prefixes = vec![1, 5, 12, 20];
    problems.push(many);
    for (number, kind) in [(21, 1), (22, 2), (23, 3)] {
        let mut problem = Problem::new(number, 31, 19, 12, true);
        match kind {
            // Rows that are equal, so that activations tie.
            1 => problem.x.copy_within(0..19 * 15, 19 * 15),
            // Rows and features of nothing.
            2 => {
                problem.x[..19 * 5].fill(0.0);
                problem.encoder.iter_mut().step_by(12).for_each(|weight| *weight = 0.0);
            }
            // Values too small to be normal: they may count as nothing on a card.
            _ => problem.x[..19 * 4].iter_mut().for_each(|value| *value *= 1e-38),
        }
        problems.push(problem);
    }
    let apart = |a: &[f32], b: &[f32]| {
        let size = b.iter().map(|b| f64::from(*b).powi(2)).sum::<f64>().sqrt();
        let apart = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt();
        apart / size.max(1e-30)
    };
    for (number, problem) in problems.iter().enumerate() {
        let (loss, by_encoder, by_decoder, by_bias) = problem.fused();
        for largest in [usize::MAX, 0] {
            let (ours, encoder, decoder, bias) = problem.resident(&compute, largest);
            let off = apart(&bias, &by_bias);
            assert!(off < 1e-5 || problem.activation == Activation::Signed, "problem {number}: {off}");
            assert!((ours / loss - 1.0).abs() < 1e-5, "problem {number}: {ours} here, {loss} on the CPU");
            assert_eq!(encoder.len(), by_encoder.len());
            assert!(
                apart(&encoder, &by_encoder) < 1e-5,
                "problem {number}: {}",
                apart(&encoder, &by_encoder)
            );
            assert!(
                apart(&decoder, &by_decoder) < 1e-5,
                "problem {number}: {}",
                apart(&decoder, &by_decoder)
            );
        }
    }
}

/// Several epochs: the same losses and weights as the CPU, from rows on the device and from rows in pieces, and the
/// same bits when it is done again.
#[test]
fn training_on_a_graphics_card_goes_the_cpus_way() {
    let Some(compute) = gpu() else { return };
    let (deltas, _) = planted(6, 700, 33, 12, 0.3);
    let all: Vec<u32> = (0..600).collect();
    let validation: Vec<u32> = (600..700).collect();
    let config = SaeConfig { features: 20, active: 3, batch: 64, epochs_max: 5, ..SaeConfig::default() };
    let run = |compute: &Compute| {
        train(&deltas, &all, &validation, &validation, &config, compute, &mut steps_since_fired).unwrap()
    };
    let (cpu, report) = run(&Compute::cpu());
    let (gpu, same) = run(&compute);
    // Room for every buffer but the rows, of which four batches are a piece.
    let in_pieces = Compute { largest: Some(40_000), ..compute.clone() };
    assert!(600 * 33 * size_of::<f32>() > 40_000);
    let shape = Shape::fitting(&config, 600, 33).0;
    assert!(gpu_engine::fits(&shape, &config, 33, 40_000) && !gpu_engine::fits(&shape, &config, 33, 20_000));
    assert_eq!(run(&compute).0, gpu);
    assert_eq!(run(&in_pieces).0, gpu);
    for (a, b) in report.losses.iter().zip(&same.losses) {
        assert!((a.0 / b.0 - 1.0).abs() < 1e-3 && (a.1 / b.1 - 1.0).abs() < 1e-3, "{a:?} {b:?}");
    }
    assert!((report.nmse / same.nmse - 1.0).abs() < 1e-2, "{} {}", report.nmse, same.nmse);
    assert_eq!(cpu.features(), gpu.features());
    // Burn's own operations stay for adapters that fail the kernels' test.
    let by_burn = run(&Compute { largest: None, ..compute.clone() }).1;
    assert!((report.nmse / by_burn.nmse - 1.0).abs() < 1e-2, "{} {}", report.nmse, by_burn.nmse);
}

#[test]
fn the_hand_written_step_equals_finite_differences_and_burn() {
    let mut problems = vec![
        Problem::new(11, 6, 5, 7, false),
        Problem::new(12, 6, 5, 9, true),
        Problem::new(13, 1, 4, 3, false),
        Problem::new(14, 9, 1, 2, false),
        Problem::new(15, 53, 8, 33, true),
        Problem::new(16, 4, 70, 17, true),
        Problem::relu(31, 6, 5, 7, false),
        Problem::relu(32, 6, 5, 9, true),
        Problem::relu(33, 1, 4, 3, false),
        Problem::relu(34, 53, 8, 33, true),
    ];
    // Four prefixes, one of them with a single feature.
    let mut many = Problem::new(17, 40, 12, 20, true);
    many.prefixes = vec![1, 5, 12, 20];
    problems.push(many);
    for (number, problem) in problems.iter().enumerate() {
        let (loss, by_encoder, by_decoder, by_bias) = problem.fused();
        let double = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let all = [double(&problem.encoder), double(&problem.decoder), double(&problem.bias)];
        let [encoder, decoder, bias] = &all;
        let at = |e: &[f64], d: &[f64], b: &[f64]| problem.reference((e, d, b), (encoder, decoder, bias));
        let expected = at(encoder, decoder, bias);
        assert!((loss / expected - 1.0).abs() < 1e-5, "problem {number}: {loss} and {expected}");
        if problem.rows * problem.features < 600 {
            let slopes = |which: usize| -> Vec<f64> {
                let slope = |i: usize| {
                    let moved = |by: f64| {
                        let mut weights = all.clone();
                        weights[which][i] += by;
                        at(&weights[0], &weights[1], &weights[2])
                    };
                    (moved(1e-6) - moved(-1e-6)) / 2e-6
                };
                (0..all[which].len()).map(slope).collect()
            };
            for (found, expected) in [
                (&by_encoder, slopes(0)),
                (&by_decoder, problem.tangential(&slopes(1))),
                (&by_bias, slopes(2)),
            ] {
                let largest = expected.iter().fold(1.0_f64, |max, g| max.max(g.abs()));
                for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let off = (f64::from(*found) - expected).abs();
                    assert!(off < 1e-4 * largest, "problem {number}, weight {i}: {found} and {expected}");
                }
            }
        }
        let (burn, encoder, decoder, bias) = problem.burn(&Compute::cpu());
        assert!((loss / burn - 1.0).abs() < 1e-5, "problem {number}: {loss} and Burn's {burn}");
        let decoder = problem.tangential(&double(&decoder));
        for (found, expected) in
            [(by_encoder, double(&encoder)), (by_decoder, decoder), (by_bias, double(&bias))]
        {
            let largest = expected.iter().fold(1.0_f64, |max, g| max.max(g.abs()));
            for (found, expected) in found.iter().zip(expected) {
                let off = (f64::from(*found) - expected).abs();
                assert!(off < 1e-4 * largest, "problem {number}: {found} and Burn's {expected}");
            }
        }
    }
}

#[test]
#[allow(clippy::needless_range_loop)] // several arrays side by side
fn the_inner_loops_equal_double_precision() {
    let kernels = Kernels::new();
    let mut random = rng::stream(21, "kernels");
    for (case, (rows, stride, features)) in
        [(1, 64, 1), (5, 64, 16), (6, 128, 17), (7, 448, 32), (24, 64, 40), (13, 1536, 3)]
            .into_iter()
            .enumerate()
    {
        assert_eq!(stride % STRIDE, 0);
        let x = nasty(&mut random, rows * stride, [0, 1, 2][case % 3]);
        let weights = normals(&mut random, features * stride);
        let near = |found: f32, expected: f64, size: f64| (f64::from(found) - expected).abs() <= 1e-5 * size;
        let exact = |a: &[f32], b: &[f32]| -> (f64, f64) {
            let terms = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
            (terms.clone().sum(), terms.map(f64::abs).sum::<f64>() + 1e-38)
        };
        let row = |values: &[f32], i: usize| values[i * stride..][..stride].to_vec();

        let mut pre = vec![f32::NAN; rows * features];
        for panel in 0..features.div_ceil(PANEL) {
            let mut side_by_side = vec![0.0; stride * PANEL];
            for j in panel * PANEL..features.min((panel + 1) * PANEL) {
                (0..stride).for_each(|d| side_by_side[d * PANEL + j % PANEL] = weights[j * stride + d]);
            }
            kernels.product(&x, stride, &side_by_side, &mut pre, features, panel * PANEL);
        }
        for i in 0..rows {
            for j in 0..features {
                let (sum, size) = exact(&row(&x, i), &row(&weights, j));
                assert!(near(pre[i * features + j], sum, size), "{rows} × {stride} × {features}: {i} {j}");
                assert!(near(kernels.dot(&row(&x, i), &row(&weights, j)), sum, size));
            }
        }

        // Prefixes of a third and of all; every other feature active; the first helps.
        let active: Vec<(u32, f32)> =
            (0..features as u32).step_by(2).map(|j| (j, normal(&mut random))).collect();
        let third = active.partition_point(|&(j, _)| (j as usize) < features.div_ceil(3));
        let helped = [(0, 0.5)];
        let mut out = vec![f32::NAN; 3 * stride];
        let norms =
            kernels.residuals(&x[..stride], &weights, &active, &[third, active.len()], &helped, &mut out);
        let (mut all, mut last, mut with_help) = (0.0, 0.0, 0.0);
        for d in 0..stride {
            let part = |active: &[(u32, f32)]| -> f64 {
                active.iter().map(|&(j, z)| f64::from(z) * f64::from(weights[j as usize * stride + d])).sum()
            };
            let short = part(&active[..third]) - f64::from(x[d]);
            let full = part(&active) - f64::from(x[d]);
            let after = full + part(&helped);
            all += short * short + full * full;
            last += full * full;
            with_help += after * after;
            let size = 10.0 + features as f64;
            assert!(near(out[d], short + full, size) && near(out[stride + d], full, size));
            assert!(near(out[2 * stride + d], after, size));
        }
        let size = 10.0 * all + 1e-30;
        assert!(
            near(norms.all, all, size) && near(norms.last, last, size) && near(norms.helped, with_help, size)
        );

        let items: Vec<Item> = (0..rows)
            .map(|i| Item { x: i * stride, residual: 0, z: normal(&mut random), slope: normal(&mut random) })
            .collect();
        let (mut by_x, mut by_residual) = (vec![f32::NAN; stride], vec![f32::NAN; stride]);
        kernels.gather(&items, &x, &weights, &mut by_x, &mut by_residual);
        for d in 0..stride {
            let sum = |of: &dyn Fn(&Item) -> f64| (items.iter().map(of).sum::<f64>(), rows as f64 * 20.0);
            let (expected, size) = sum(&|item| f64::from(item.slope) * f64::from(x[item.x + d]));
            assert!(near(by_x[d], expected, size));
            let (expected, size) = sum(&|item| f64::from(item.z) * f64::from(weights[d]));
            assert!(near(by_residual[d], expected, size));
        }

        let step = Adam { rate: 0.01, epsilon: 1e-8, clip: 0.5 };
        let (mut first, mut second) = (row(&weights, 0), row(&weights, 0));
        second.iter_mut().for_each(|v| *v *= *v);
        let (before_1, before_2) = (first.clone(), second.clone());
        let mut moved = row(&weights, 0);
        kernels.adam(step, &x[..stride], &mut first, &mut second, &mut moved);
        for d in 0..stride {
            let gradient = 0.5 * f64::from(x[d]);
            let m = 0.9 * f64::from(before_1[d]) + 0.1 * gradient;
            let v = 0.999 * f64::from(before_2[d]) + 0.001 * gradient * gradient;
            assert!(near(first[d], m, 10.0) && near(second[d], v, 10.0 + v));
            let expected = f64::from(weights[d]) - 0.01 * m / (v.sqrt() + 1e-8);
            assert!(near(moved[d], expected, 10.0), "{} and {expected}", moved[d]);
        }
    }
}

#[test]
fn loss_and_gradients_equal_finite_differences_in_double_precision() {
    let problems = [
        Problem::new(1, 6, 5, 7, false),
        Problem::new(2, 6, 5, 9, true),
        Problem::new(3, 1, 4, 3, false),
        Problem::new(4, 9, 1, 2, false),
        Problem::new(5, 20, 8, 16, true),
        Problem::relu(6, 6, 5, 9, true),
        Problem::relu(7, 20, 8, 16, true),
    ];
    for compute in devices() {
        for (number, problem) in problems.iter().enumerate() {
            let name = format!("{}, problem {}", compute.adapter, number + 1);
            let (loss, by_encoder, by_decoder, by_bias) = problem.burn(&compute);
            let double = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
            let all = [double(&problem.encoder), double(&problem.decoder), double(&problem.bias)];
            let at = |weights: &[Vec<f64>; 3]| {
                let as_given = (&all[0][..], &all[1][..], &all[2][..]);
                problem.reference((&weights[0], &weights[1], &weights[2]), as_given)
            };
            let expected = at(&all);
            assert!((loss / expected - 1.0).abs() < 1e-5, "{name}: {loss} and {expected}");
            for (which, found) in [&by_encoder, &by_decoder, &by_bias].into_iter().enumerate() {
                let largest = found.iter().fold(0.0_f64, |max, g| max.max(f64::from(g.abs())));
                for (i, found) in found.iter().enumerate() {
                    let step = 1e-6;
                    let moved = |by: f64| {
                        let mut weights = all.clone();
                        weights[which][i] += by;
                        at(&weights)
                    };
                    let slope = (moved(step) - moved(-step)) / (2.0 * step);
                    let off = (f64::from(*found) - slope).abs();
                    assert!(off < 1e-4 * largest.max(1.0), "{name}, weight {i}: {found} and {slope}");
                }
            }
        }
    }
}

// ------------------------------------------------------------------ training

/// Deltas made of a few of `directions` each, plus noise: what an autoencoder of this kind must find.
fn planted(number: u64, rows: usize, dimensions: usize, directions: usize, noise: f32) -> (Matrix, Vec<f32>) {
    let mut random = rng::stream(number, "planted deltas");
    let mut dictionary = normals(&mut random, directions * dimensions);
    for direction in dictionary.chunks_mut(dimensions) {
        let norm = direction.iter().map(|v| v * v).sum::<f32>().sqrt();
        direction.iter_mut().for_each(|v| *v /= norm);
    }
    let mut deltas = Matrix::zeros(rows, dimensions);
    for row in 0..rows {
        for direction in dictionary.chunks(dimensions) {
            if random.random::<f32>() < 0.2 {
                let size = normal(&mut random).signum() * (0.7 + random.random::<f32>());
                deltas.row_mut(row).iter_mut().zip(direction).for_each(|(x, d)| *x += size * d);
            }
        }
        deltas.row_mut(row).iter_mut().for_each(|x| *x += noise * normal(&mut random));
    }
    (deltas, dictionary)
}

fn steps_since_fired(_: Progress) -> Control {
    Control::Continue
}

fn fit(deltas: &Matrix, config: &SaeConfig) -> (Sae, TrainReport) {
    let rows: Vec<u32> = (0..deltas.rows() as u32).collect();
    let (train_rows, rest) = rows.split_at(rows.len() * 2 / 3);
    train(deltas, train_rows, rest, rest, config, &Compute::cpu(), &mut steps_since_fired).unwrap()
}

#[test]
fn planted_directions_are_found_with_the_asked_number_active() {
    let (deltas, dictionary) = planted(1, 6_000, 48, 16, 0.05);
    let config = SaeConfig { features: 16, active: 3, prefixes: vec![16], ..SaeConfig::default() };
    let (sae, report) = fit(&deltas, &config);
    let mean_best: f32 = dictionary
        .chunks(48)
        .map(|direction| {
            let cosine = |feature| -> f32 {
                sae.decoder.row(feature).iter().zip(direction).map(|(a, b)| a * b).sum::<f32>().abs()
            };
            (0..16).map(cosine).fold(0.0, f32::max)
        })
        .sum::<f32>()
        / 16.0;
    assert!(mean_best > 0.95, "{mean_best}");
    assert!((report.active_mean - 3.0).abs() < 0.01, "{}", report.active_mean);
    assert_eq!(report.dead, 0);
    assert!(report.nmse < 0.1, "{}", report.nmse);
    for row in 0..16 {
        let norm: f32 = sae.decoder.row(row).iter().map(|w| w * w).sum();
        assert!((norm - 1.0).abs() < 1e-4);
    }
}

#[test]
fn activations_are_exactly_odd_and_a_rows_own() {
    let (deltas, _) = planted(2, 700, 33, 12, 0.3);
    let config = SaeConfig { features: 20, active: 3, ..SaeConfig::default() };
    let (sae, _) = fit(&deltas, &config);
    let mirrored = Matrix { values: deltas.values.iter().map(|x| -x).collect(), cols: deltas.cols };
    let (z, turned) = (sae.activations(&deltas).unwrap(), sae.activations(&mirrored).unwrap());
    assert!(z.values.iter().zip(&turned.values).all(|(a, b)| *a == -*b));
    for row in [0, 127, 128, 500, 699] {
        let alone = sae.activations(&deltas.select_rows(&[row])).unwrap();
        assert_eq!(alone.values, z.row(row as usize), "row {row}");
    }
    let mut flipped = sae.clone();
    flipped.flip(3);
    assert_eq!(flipped.activations(&deltas).unwrap().column(3), turned.column(3));
    assert_eq!(flipped.nmse(&deltas, None, 20).unwrap(), sae.nmse(&deltas, None, 20).unwrap());
}

#[test]
fn the_same_seed_gives_the_same_bits_whatever_the_number_of_threads() {
    let (deltas, _) = planted(3, 900, 24, 10, 0.2);
    let config = SaeConfig { features: 12, active: 3, epochs_max: 12, ..SaeConfig::default() };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fit(&deltas, &config))
    };
    let ((one, first), (two, second)) = (with(1), with(2));
    assert_eq!(one, two);
    assert_eq!(first, second);
    let (other, _) = fit(&deltas, &SaeConfig { seed: 1, ..config });
    assert_ne!(one, other);
}

#[test]
fn the_loss_after_twenty_steps_agrees_between_the_devices() {
    for activation in [Activation::Signed, Activation::Relu] {
        twenty_steps(activation);
    }
}

fn twenty_steps(activation: Activation) {
    let (deltas, _) = planted(4, 512, 40, 12, 0.3);
    let config = SaeConfig {
        features: 24,
        active: 3,
        prefixes: vec![8, 24],
        // Dead ones are helped, too.
        dead_after: 4,
        ..SaeConfig::default()
    };
    let shape = Shape { activation, ..Shape::fitting(&config, 512, 40).0 };
    let mut random = rng::stream(9, "start");
    let mut start = normals(&mut random, 40 * 24);
    for feature in 0..24 {
        let norm: f32 = (0..40).map(|d| start[d * 24 + feature].powi(2)).sum::<f32>().sqrt();
        (0..40).for_each(|d| start[d * 24 + feature] /= norm);
    }
    let run = |compute: &Compute| -> Vec<f64> {
        let mut trainer = Trainer::new(start.clone(), &shape, &config, &compute.device);
        (0..20)
            .map(|step| {
                let rows: Vec<u32> = (0..64).map(|i| (step * 64 + i) % 512).collect();
                let loss = trainer.step(deltas.select_rows(&rows).values, 64, compute).unwrap();
                f64::from(values(loss)[0])
            })
            .collect()
    };
    let cpu = run(&Compute::cpu());
    assert!(cpu[19] < cpu[0], "training lowers the loss: {cpu:?}");
    let mut fused = Fused::new(&start, &shape, &config);
    let table = Table { values: &deltas.values, cols: 40 };
    for (step, burn) in cpu.iter().enumerate() {
        let rows: Vec<u32> = (0..64).map(|i| ((step * 64 + i) % 512) as u32).collect();
        let loss = fused.steps(&table, std::iter::once(&rows[..])).unwrap();
        assert!((loss / burn - 1.0).abs() < 1e-4, "step {}: {loss} by hand, {burn} by Burn", step + 1);
    }
    if let Some(compute) = gpu() {
        let gpu = run(&compute);
        let index: Vec<u32> = (0..512).collect();
        let mut resident =
            Resident::new(&start, &shape, &config, &table, &index, &compute.device, usize::MAX).unwrap();
        let host = |tensor: Tensor<1>| Ok(values(tensor));
        for (step, (a, b)) in cpu.iter().zip(&gpu).enumerate() {
            let rows: Vec<u32> = (0..64).map(|i| ((step * 64 + i) % 512) as u32).collect();
            resident.run(&table, &[&rows], &host).unwrap();
            let own = resident.take_loss(&host).unwrap();
            for other in [*b, own] {
                assert!(
                    (a / other - 1.0).abs() < 1e-4,
                    "step {}, {activation:?}: {a} on the CPU, {other} on {}",
                    step + 1,
                    compute.adapter
                );
            }
        }
    }
}

#[test]
fn odd_data_is_trained_on_or_refused_with_a_reason() {
    let all = |deltas: &Matrix| -> Vec<u32> { (0..deltas.rows() as u32).collect() };
    let config = SaeConfig { epochs_max: 3, epochs_min: 1, ..SaeConfig::default() };
    let run = |deltas: &Matrix| {
        train(deltas, &all(deltas), &[], &[], &config, &Compute::cpu(), &mut steps_since_fired)
    };
    let sound = |deltas: &Matrix| {
        let (sae, report) = run(deltas).unwrap();
        assert!(sae.encoder.values.iter().chain(&sae.decoder.values).all(|w| w.is_finite()));
        assert!(sae.activations(deltas).unwrap().values.iter().all(|z| z.is_finite()));
        report
    };
    let mut random = rng::stream(5, "odd data");
    // One row, one dimension, fewer rows than features, all rows equal, a last batch of one row.
    sound(&Matrix { values: normals(&mut random, 7), cols: 7 });
    sound(&Matrix { values: normals(&mut random, 50), cols: 1 });
    assert!(sound(&Matrix { values: normals(&mut random, 5 * 30), cols: 30 }).features <= 5);
    sound(&Matrix { values: [1.0, -2.0, 0.5].repeat(40), cols: 3 });
    sound(&Matrix { values: normals(&mut random, 257 * 8), cols: 8 });
    // Tiny and huge values, one outlier, half of the rows zero.
    for scale in [1e-25_f32, 1e25] {
        let values = normals(&mut random, 300 * 16).iter().map(|x| x * scale).collect();
        let report = sound(&Matrix { values, cols: 16 });
        assert!(report.nmse < 1.0, "scale {scale}: {}", report.nmse);
    }
    let mut values = normals(&mut random, 300 * 16);
    values[5] = 1e6;
    values[160..2400].fill(0.0);
    assert_eq!(sound(&Matrix { values, cols: 16 }).rows_zero, 140);
    // Nothing to learn from, and what cannot be learned from.
    let zeros = Matrix::zeros(20, 4);
    assert!(matches!(run(&zeros), Err(SaeError::NoRows { given: 20, zero: 20 })));
    let mut nan = Matrix { values: normals(&mut random, 80), cols: 4 };
    nan.row_mut(3)[2] = f32::NAN;
    assert!(matches!(run(&nan), Err(SaeError::NotFinite { row: 3, column: 2 })));
    let few = Matrix::zeros(2, 2);
    let outside = train(&few, &[0, 7], &[], &[], &config, &Compute::cpu(), &mut steps_since_fired);
    assert!(matches!(outside, Err(SaeError::RowOutside { row: 7, rows: 2 })));
    let (deltas, _) = planted(6, 200, 8, 4, 0.1);
    let stopped = train(&deltas, &all(&deltas), &[], &[], &config, &Compute::cpu(), &mut |_| Control::Stop);
    assert!(matches!(stopped, Err(SaeError::Stopped { .. })));
    for (change, setting) in [
        (SaeConfig { active: 40, ..SaeConfig::default() }, "active"),
        (SaeConfig { features: 0, ..SaeConfig::default() }, "features"),
        (SaeConfig { learning_rate: f64::NAN, ..SaeConfig::default() }, "learning_rate"),
    ] {
        let refused =
            train(&deltas, &[0], &[], &[], &change, &Compute::cpu(), &mut steps_since_fired).unwrap_err();
        assert!(refused.to_string().contains(setting), "{refused}");
    }
}

#[test]
fn a_saved_autoencoder_is_the_same_and_a_damaged_one_is_refused() {
    let (deltas, _) = planted(7, 300, 12, 6, 0.2);
    let (sae, report) =
        fit(&deltas, &SaeConfig { features: 8, active: 2, epochs_max: 3, ..SaeConfig::default() });
    let folder = tempfile::tempdir().unwrap();
    let card = SaeCard::new(&sae, report.active, &[8], "test@1");
    sae.save(folder.path(), &card).unwrap();
    let (back, read) = Sae::load(folder.path()).unwrap();
    assert_eq!((&back, &read), (&sae, &card));
    assert!(matches!(
        back.activations(&Matrix::zeros(2, 11)),
        Err(SaeError::Dimensions { expected: 12, found: 11 })
    ));

    let path = folder.path().join(WEIGHTS_FILE);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    assert!(matches!(Sae::load(folder.path()), Err(SaeError::Format { .. })));
    let mut other = card.clone();
    other.features = 9;
    sae.save(folder.path(), &other).unwrap();
    assert!(matches!(Sae::load(folder.path()), Err(SaeError::Format { .. })));
}

#[test]
fn a_killed_training_goes_on_to_the_same_weights() {
    for compute in devices() {
        killed_on(&compute);
    }
}

// ------------------------------------------------------------------ sentences

/// Vectors made of one to three of `directions` each, plus noise and a common part: what sentences are.
fn said(number: u64, rows: usize, dimensions: usize, directions: usize, noise: f32) -> (Matrix, Vec<f32>) {
    let mut random = rng::stream(number, "planted sentences");
    let mut dictionary = normals(&mut random, directions * dimensions);
    for direction in dictionary.chunks_mut(dimensions) {
        let norm = direction.iter().map(|v| v * v).sum::<f32>().sqrt();
        direction.iter_mut().for_each(|v| *v /= norm);
    }
    let common = normals(&mut random, dimensions);
    let mut vectors = Matrix::zeros(rows, dimensions);
    for row in 0..rows {
        let x = vectors.row_mut(row);
        for _ in 0..random.random_range(1..4) {
            let direction = random.random_range(0..directions) * dimensions;
            let size = 0.7 + random.random::<f32>();
            x.iter_mut().zip(&dictionary[direction..]).for_each(|(x, d)| *x += size * d);
        }
        x.iter_mut().zip(&common).for_each(|(x, common)| *x += 0.2 * common + noise * normal(&mut random));
    }
    (vectors, dictionary)
}

fn learn(vectors: &Matrix, config: &SaeConfig, compute: &Compute) -> (SentenceSae, TrainReport) {
    let rows: Vec<u32> = (0..vectors.rows() as u32).collect();
    let (first, rest) = rows.split_at(rows.len() * 2 / 3);
    train_sentences(vectors, first, rest, rest, config, compute, None, &mut steps_since_fired).unwrap()
}

fn short() -> SaeConfig {
    SaeConfig { features: 16, active: 2, prefixes: vec![], batch: 128, ..sentence_config(&[], 0) }
}

#[test]
fn what_sentences_say_is_found_with_the_asked_number_active() {
    let (vectors, dictionary) = said(1, 9_000, 48, 16, 0.02);
    let (sae, report) = learn(&vectors, &SaeConfig { features: 32, ..short() }, &Compute::cpu());
    let best = |direction: &[f32]| -> f32 {
        let cosine =
            |feature| sae.decoder.row(feature).iter().zip(direction).map(|(a, b)| a * b).sum::<f32>();
        (0..32).map(cosine).fold(0.0, f32::max)
    };
    let found = dictionary.chunks(48).filter(|direction| best(direction) > 0.9).count();
    assert!(found >= 15, "{found} of 16");
    assert!((report.active_mean - 2.0).abs() < 0.01, "{}", report.active_mean);
    // Twice as many features as there are things to say: the others have nothing to do.
    assert!(report.dead <= 16, "{}", report.dead);
    assert!(report.nmse < 0.1, "{}", report.nmse);
}

#[test]
fn a_sentences_activations_are_its_own_and_equal_the_formula() {
    let (vectors, _) = said(2, 700, 33, 12, 0.3);
    let (sae, _) = learn(&vectors, &short(), &Compute::cpu());
    let z = sae.activations(&vectors).unwrap();
    assert_eq!((z.rows(), z.cols), (700, 16));
    let mut near = 0;
    for row in 0..700 {
        let (index, value) = z.row(row);
        let alone = sae.activations(&vectors.select_rows(&[row as u32])).unwrap();
        assert_eq!((index, value), alone.row(0), "row {row}");
        for feature in 0..16u32 {
            let x = vectors.row(row).iter().zip(&sae.mean).map(|(x, mean)| f64::from(*x) - f64::from(*mean));
            let weights = sae.encoder.row(feature as usize);
            let pre = x.zip(weights).map(|(x, w)| x * f64::from(*w)).sum::<f64>()
                + f64::from(sae.bias[feature as usize]);
            let found = index.iter().position(|&i| i == feature).map_or(0.0, |at| f64::from(value[at]));
            let expected = if pre > f64::from(sae.threshold) { pre } else { 0.0 };
            // Within rounding of θ either is right.
            if (pre - f64::from(sae.threshold)).abs() < 1e-5 {
                near += 1;
            } else {
                assert!((found - expected).abs() < 1e-5, "{row} {feature}: {found} and {expected}");
            }
        }
    }
    assert!(near < 5);
    // What is decoded and what is left add up; nothing said is nothing found.
    let (guess, rest) = (sae.decode(&z).unwrap(), sae.rest(&vectors).unwrap());
    assert!(
        guess
            .values
            .iter()
            .zip(&rest.values)
            .zip(&vectors.values)
            .all(|((a, b), x)| (a + b - x).abs() < 1e-5)
    );
    let silent = Matrix::zeros(2, 33);
    assert_eq!(sae.activations(&silent).unwrap().index.len(), 0);
    assert_eq!(sae.rest(&silent).unwrap(), silent);
    // Columns hold what rows hold.
    let columns = z.columns();
    assert_eq!(columns.iter().map(Vec::len).sum::<usize>(), z.index.len());
    assert!(columns.iter().enumerate().all(|(j, column)| {
        column.iter().all(|&(row, value)| {
            let (index, values) = z.row(row as usize);
            index.iter().position(|&i| i as usize == j).is_some_and(|at| values[at] == value)
        })
    }));
}

#[test]
fn sentences_are_learned_to_the_same_bits_and_alike_on_every_device() {
    let (vectors, _) = said(3, 900, 24, 10, 0.2);
    let config = SaeConfig { epochs_max: 5, batch: 64, dead_after: 4, ..short() };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| learn(&vectors, &config, &Compute::cpu()))
    };
    let (one, report) = with(1);
    assert_eq!((&one, &report), (&with(2).0, &with(2).1));
    assert_ne!(one, learn(&vectors, &SaeConfig { seed: 1, ..config.clone() }, &Compute::cpu()).0);
    if let Some(compute) = gpu() {
        for compute in [compute.clone(), Compute { largest: None, ..compute }] {
            let (_, same) = learn(&vectors, &config, &compute);
            for (a, b) in report.losses.iter().zip(&same.losses) {
                assert!((a.0 / b.0 - 1.0).abs() < 1e-3 && (a.1 / b.1 - 1.0).abs() < 1e-3, "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn odd_sentences_are_learned_from_or_refused_with_a_reason() {
    let mut random = rng::stream(4, "odd sentences");
    let config = SaeConfig { epochs_max: 3, epochs_min: 1, ..short() };
    let run = |vectors: &Matrix| {
        let all: Vec<u32> = (0..vectors.rows() as u32).collect();
        train_sentences(vectors, &all, &[], &[], &config, &Compute::cpu(), None, &mut steps_since_fired)
    };
    for vectors in [
        Matrix { values: normals(&mut random, 7), cols: 7 },
        Matrix { values: normals(&mut random, 50), cols: 1 },
        Matrix { values: normals(&mut random, 5 * 30), cols: 30 },
        Matrix { values: [1.0, -2.0, 0.5].repeat(40), cols: 3 },
        Matrix { values: normals(&mut random, 300 * 16).iter().map(|x| x * 1e-20).collect(), cols: 16 },
    ] {
        // One sentence, or only equal ones: centred, nothing is left to learn from.
        match run(&vectors) {
            Ok((sae, _)) => {
                let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
                assert!(finite(&sae.encoder.values) && finite(&sae.decoder.values) && finite(&sae.bias));
            }
            Err(error) => assert!(matches!(error, SaeError::NoRows { .. }), "{error}"),
        }
    }
    assert!(matches!(run(&Matrix::zeros(20, 4)), Err(SaeError::NoRows { given: 20, zero: 20 })));
    let mut nan = Matrix { values: normals(&mut random, 80), cols: 4 };
    nan.row_mut(3)[2] = f32::NAN;
    assert!(matches!(run(&nan), Err(SaeError::NotFinite { row: 3, column: 2 })));
}

#[test]
fn a_saved_sentence_autoencoder_is_the_same_and_a_damaged_one_is_refused() {
    let (vectors, _) = said(5, 300, 12, 6, 0.2);
    let (sae, _) = learn(&vectors, &SaeConfig { epochs_max: 3, ..short() }, &Compute::cpu());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dictionary.safetensors");
    sae.save(&path, false).unwrap();
    let first = std::fs::read(&path).unwrap();
    sae.save(&path, false).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), first, "the same bytes for the same weights");
    assert_eq!(SentenceSae::load(&path).unwrap(), sae);
    sae.save(&path, true).unwrap();
    let halved = SentenceSae::load(&path).unwrap();
    let (a, b) = (sae.activations(&vectors).unwrap(), halved.activations(&vectors).unwrap());
    let sum = |z: &SparseRows| z.value.iter().map(|z| f64::from(*z)).sum::<f64>();
    assert!((sum(&a) / sum(&b) - 1.0).abs() < 1e-2, "{} {}", sum(&a), sum(&b));
    assert!(matches!(
        sae.activations(&Matrix::zeros(1, 5)),
        Err(SaeError::Dimensions { expected: 12, found: 5 })
    ));
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 7, 100, bytes.len() - 1] {
        assert!(matches!(SentenceSae::from_bytes(&bytes[..length], &path), Err(SaeError::Format { .. })));
    }
}

#[test]
fn a_killed_training_over_sentences_goes_on_to_the_same_weights() {
    let (vectors, _) = said(6, 600, 24, 10, 0.2);
    let config = SaeConfig { epochs_max: 8, batch: 64, dead_after: 4, ..short() };
    let rows: Vec<u32> = (0..600).collect();
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint { path: folder.path().join("aside.safetensors"), print: "sentences".into() };
    for compute in devices() {
        let run = |checkpoint: Option<&Checkpoint>, events: &mut dyn FnMut(Progress) -> Control| {
            let (train, rest) = (&rows[..400], &rows[400..]);
            train_sentences(&vectors, train, rest, rest, &config, &compute, checkpoint, events)
        };
        let (whole, _) = run(None, &mut steps_since_fired).unwrap();
        let mut kill = |progress: Progress| match progress {
            Progress::Epoch { epoch: 3, .. } => Control::Stop,
            _ => Control::Continue,
        };
        assert!(matches!(run(Some(&checkpoint), &mut kill), Err(SaeError::Stopped { epoch: 3 })));
        assert!(checkpoint.path.exists());
        assert_eq!(run(Some(&checkpoint), &mut steps_since_fired).unwrap().0, whole);
        assert!(!checkpoint.path.exists());
    }
}

// ------------------------------------------------------------------ a training that was killed

fn killed_on(compute: &Compute) {
    let (deltas, _) = planted(8, 900, 24, 10, 0.2);
    let config = SaeConfig { features: 12, active: 3, epochs_max: 14, dead_after: 4, ..SaeConfig::default() };
    let rows: Vec<u32> = (0..900).collect();
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint { path: folder.path().join("aside.safetensors"), print: "this work".into() };
    let run = |checkpoint: Option<&Checkpoint>, events: &mut dyn FnMut(Progress) -> Control| {
        train_resumable(
            &deltas,
            &rows[..600],
            &rows[600..],
            &rows[600..],
            &config,
            compute,
            checkpoint,
            events,
        )
    };
    let (whole, report) = run(None, &mut steps_since_fired).unwrap();
    let mut kill = |progress: Progress| match progress {
        Progress::Epoch { epoch: 5, .. } => Control::Stop,
        _ => Control::Continue,
    };
    assert!(matches!(run(Some(&checkpoint), &mut kill), Err(SaeError::Stopped { epoch: 5 })));
    assert!(checkpoint.path.exists());
    // Other work begins anew and leaves the file alone until its own first epoch.
    let other = Checkpoint { print: "other work".into(), ..checkpoint.clone() };
    assert!(other.load().is_none());
    let mut epochs = Vec::new();
    let mut listen = |progress: Progress| {
        if let Progress::Epoch { epoch, .. } = progress {
            epochs.push(epoch);
        }
        Control::Continue
    };
    let (resumed, again) = run(Some(&checkpoint), &mut listen).unwrap();
    assert_eq!(epochs.first(), Some(&6));
    assert_eq!(resumed, whole);
    assert_eq!(again, report);
    assert!(!checkpoint.path.exists(), "finished work needs no checkpoint");
    // Half a file is no checkpoint.
    std::fs::write(&checkpoint.path, [7; 100]).unwrap();
    assert_eq!(run(Some(&checkpoint), &mut steps_since_fired).unwrap().0, whole);
}

#[test]
fn deltas_in_a_file_teach_the_same_as_in_memory() {
    let (deltas, _) = planted(9, 800, 30, 10, 0.2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deltas.safetensors");
    crate::embed::write_deltas(&path, &deltas).unwrap();
    let file = DeltaFile::open(&path).unwrap();
    assert_eq!((Deltas::rows(&file), file.dimensions()), (800, 30));
    // Neighbours, repetitions, both ends, and a stride with room to spare.
    for index in [&[0u32, 1, 2, 799, 5, 5, 4][..], &(0..800).collect::<Vec<u32>>(), &[]] {
        assert_eq!(file.gather(index).unwrap(), deltas.select_rows(index));
        let mut wide = vec![7.0; index.len() * 32];
        file.read(index, 32, &mut wide).unwrap();
        for (&row, wide) in index.iter().zip(wide.chunks(32)) {
            assert_eq!((&wide[..30], &wide[30..]), (deltas.row(row as usize), &[7.0, 7.0][..]));
        }
    }
    let config = SaeConfig { features: 12, active: 3, epochs_max: 3, epochs_min: 3, ..SaeConfig::default() };
    let rows: Vec<u32> = (0..800).collect();
    let run = |deltas: &dyn Deltas| {
        train(
            deltas,
            &rows[..500],
            &rows[500..],
            &rows[500..],
            &config,
            &Compute::cpu(),
            &mut steps_since_fired,
        )
        .unwrap()
    };
    assert_eq!(run(&file), run(&deltas));

    let bytes = std::fs::read(&path).unwrap();
    for broken in [&bytes[..bytes.len() - 1], &bytes[..40], b"no safetensors file", b""] {
        std::fs::write(&path, broken).unwrap();
        let error = DeltaFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("deltas.safetensors"), "{error}");
    }
}
