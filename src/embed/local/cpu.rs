//! Transformer operations on the CPU: faer's matrix products, everything else in vectorised loops.
//!
//! Rows of all texts follow each other without padding. A row's result does not depend on the rows beside
//! it: one thread does a whole batch of texts, and the products give every row the same bits whatever the
//! number of rows (above one; [`Cpu::linear`]).

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use pulp::Arch;

use super::engine::{Activation, Attention, Engine, Layout, Mask, NormKind, Pool, pool_weights, rotary};
use super::weights::Array;
use crate::matrix::Matrix;

/// Queries that are scored at a time, so that a long text's scores stay in the cache.
const QUERIES: usize = 128;

/// Width of the partial sums: one or more vector registers on every processor.
pub(super) const LANES: usize = 16;

/// The CPU.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cpu;

/// A linear layer, its weights as `[in, out]`: the product then reads both sides row by row.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Vec<f32>,
    inputs: usize,
    outputs: usize,
    bias: Option<Vec<f32>>,
}

#[derive(Debug)]
pub(super) struct Norm {
    scale: Vec<f32>,
    shift: Option<Vec<f32>>,
    kind: NormKind,
    epsilon: f32,
}

impl Engine for Cpu {
    type Tensor = Matrix;
    type Linear = Linear;
    type Norm = Norm;
    type Table = Matrix;

    const PADDED: bool = false;

    fn linear_weights(&self, weight: Array, bias: Option<Array>) -> Linear {
        let (outputs, inputs) = match weight.shape[..] {
            [outputs, inputs] => (outputs, inputs),
            _ => (0, 0),
        };
        let mut turned = vec![0.0; weight.values.len()];
        MatMut::from_row_major_slice_mut(&mut turned, inputs, outputs)
            .copy_from(MatRef::from_column_major_slice(&weight.values, inputs, outputs));
        Linear { weight: turned, inputs, outputs, bias: bias.map(|bias| bias.values) }
    }

    fn norm_weights(&self, scale: Array, shift: Option<Array>, kind: NormKind, epsilon: f32) -> Norm {
        Norm { scale: scale.values, shift: shift.map(|shift| shift.values), kind, epsilon }
    }

    fn table(&self, weight: Array) -> Matrix {
        Matrix { cols: weight.shape.get(1).copied().unwrap_or(0), values: weight.values }
    }

    fn lookup(&self, table: &Matrix, ids: &[u32]) -> Matrix {
        let last = table.rows().saturating_sub(1);
        let mut values = Vec::with_capacity(ids.len() * table.cols);
        for &id in ids {
            values.extend_from_slice(table.row((id as usize).min(last)));
        }
        Matrix { values, cols: table.cols }
    }

    fn add(&self, mut a: Matrix, b: &Matrix) -> Matrix {
        vectorised(
            #[inline(always)]
            || {
                for (x, y) in a.values.iter_mut().zip(&b.values) {
                    *x += y;
                }
            },
        );
        a
    }

    fn linear(&self, x: &Matrix, layer: &Linear, activation: Activation) -> Matrix {
        let rows = x.rows();
        // A single row would be multiplied in another order of summation than the same row among others.
        if rows == 1 {
            let twice = Matrix { values: x.values.repeat(2), cols: x.cols };
            let mut both = self.linear(&twice, layer, activation);
            both.values.truncate(layer.outputs);
            return both;
        }
        let mut out = vec![0.0; rows * layer.outputs];
        matmul(
            MatMut::from_row_major_slice_mut(&mut out, rows, layer.outputs),
            Accum::Replace,
            MatRef::from_row_major_slice(&x.values, rows, layer.inputs),
            MatRef::from_row_major_slice(&layer.weight, layer.inputs, layer.outputs),
            1.0,
            Par::Seq,
        );
        match (activation, layer.bias.as_deref()) {
            (Activation::None, None) => {}
            (activation, None) => activate(&mut out, activation),
            (Activation::None, Some(bias)) => with_bias(&mut out, bias, |x| x),
            (Activation::Gelu, Some(bias)) => with_bias(&mut out, bias, gelu),
            (Activation::GeluTanh, Some(bias)) => with_bias(&mut out, bias, gelu_tanh),
            (Activation::Silu, Some(bias)) => with_bias(&mut out, bias, silu),
            (Activation::Relu, Some(bias)) => with_bias(&mut out, bias, |x| x.max(0.0)),
            (Activation::Tanh, Some(bias)) => with_bias(&mut out, bias, tanh),
        }
        Matrix { values: out, cols: layer.outputs }
    }

    fn gated(&self, mut x: Matrix, activation: Activation) -> Matrix {
        let half = x.cols / 2;
        let mut out = Matrix::zeros(x.rows(), half);
        for (to, from) in
            out.values.chunks_exact_mut(half.max(1)).zip(x.values.chunks_exact_mut(x.cols.max(1)))
        {
            let (left, right) = from.split_at_mut(half);
            activate(left, activation);
            vectorised(
                #[inline(always)]
                || {
                    for ((to, left), right) in to.iter_mut().zip(&*left).zip(&*right) {
                        *to = left * right;
                    }
                },
            );
        }
        out
    }

    fn norm(&self, x: &Matrix, norm: &Norm) -> Matrix {
        let mut out = x.clone();
        normalise_rows(&mut out, norm);
        out
    }

    fn head_norm(&self, mut x: Matrix, width: usize, heads: std::ops::Range<usize>, norm: &Norm) -> Matrix {
        let cols = x.cols.max(1);
        vectorised(
            #[inline(always)]
            || {
                for row in x.values.chunks_exact_mut(cols) {
                    for head in row.chunks_exact_mut(width).take(heads.end).skip(heads.start) {
                        normalise(head, norm);
                    }
                }
            },
        );
        x
    }

    fn rotate(&self, mut x: Matrix, width: usize, heads: usize, theta: f32, layout: &Layout) -> Matrix {
        let (cos, sin) = rotary(width, theta, layout.stride);
        let half = width / 2;
        let positions = layout.per_row(0, |_, position| position);
        let cols = x.cols.max(1);
        vectorised(
            #[inline(always)]
            || {
                for (row, position) in x.values.chunks_exact_mut(cols).zip(&positions) {
                    let at = position * half..(position + 1) * half;
                    let (cos, sin) = (&cos[at.clone()], &sin[at]);
                    for head in row.chunks_exact_mut(width).take(heads) {
                        let (left, right) = head.split_at_mut(half);
                        for (((l, r), c), s) in left.iter_mut().zip(right).zip(cos).zip(sin) {
                            (*l, *r) = (*l * c - *r * s, *r * c + *l * s);
                        }
                    }
                }
            },
        );
        x
    }

    fn attention(&self, qkv: &Matrix, shape: &Attention, layout: &Layout) -> Matrix {
        let Attention { heads, kv_heads, width, .. } = *shape;
        let mut out = Matrix::zeros(qkv.rows(), heads * width);
        let mut scores = Vec::new();
        for (&start, &length) in layout.starts.iter().zip(&layout.lengths) {
            if length == 0 {
                continue;
            }
            // Queries in equal parts, so that none of them is a single row unless the text is.
            let parts = length.div_ceil(QUERIES);
            let step = length.div_ceil(parts);
            for head in 0..heads {
                let shared = head * kv_heads / heads.max(1);
                let columns = |from: usize| {
                    let rows = &qkv.values[start * qkv.cols..(start + length) * qkv.cols];
                    MatRef::from_row_major_slice(rows, length, qkv.cols).subcols(from, width)
                };
                let queries = columns(head * width);
                let keys = columns((heads + shared) * width);
                let values = columns((heads + kv_heads + shared) * width);
                for first in (0..length).step_by(step) {
                    let count = step.min(length - first);
                    let (from, to) = seen(shape.mask, first, count, length);
                    let wide = to - from;
                    scores.clear();
                    scores.resize(count * wide, 0.0);
                    matmul(
                        MatMut::from_row_major_slice_mut(&mut scores, count, wide),
                        Accum::Replace,
                        queries.subrows(first, count),
                        keys.subrows(from, wide).transpose(),
                        shape.scale(),
                        Par::Seq,
                    );
                    vectorised(
                        #[inline(always)]
                        || {
                            for (i, row) in scores.chunks_exact_mut(wide).enumerate() {
                                let (low, high) = seen(shape.mask, first + i, 1, length);
                                row[..low - from].fill(0.0);
                                row[high - from..].fill(0.0);
                                softmax(&mut row[low - from..high - from]);
                            }
                        },
                    );
                    let rows = &mut out.values[(start + first) * heads * width..];
                    matmul(
                        MatMut::from_row_major_slice_mut(
                            &mut rows[..count * heads * width],
                            count,
                            heads * width,
                        )
                        .subcols_mut(head * width, width),
                        Accum::Replace,
                        MatRef::from_row_major_slice(&scores, count, wide),
                        values.subrows(from, wide),
                        1.0,
                        Par::Seq,
                    );
                }
            }
        }
        out
    }

    fn pool(&self, x: &Matrix, pool: Pool, skip: usize, layout: &Layout) -> Matrix {
        let mut out = Matrix::zeros(layout.lengths.len(), x.cols);
        let weights = pool_weights(pool, skip, layout);
        for (text, (&start, &length)) in layout.starts.iter().zip(&layout.lengths).enumerate() {
            let target = out.row_mut(text);
            if pool == Pool::Max {
                let skip = if skip < length { skip } else { 0 };
                target.fill(f32::NEG_INFINITY);
                for row in start + skip..start + length {
                    target.iter_mut().zip(x.row(row)).for_each(|(to, from)| *to = to.max(*from));
                }
                continue;
            }
            for (row, &weight) in weights.iter().enumerate().skip(start).take(length) {
                if weight != 0.0 {
                    target.iter_mut().zip(x.row(row)).for_each(|(to, from)| *to += weight * from);
                }
            }
        }
        out
    }

    fn values(&self, x: Matrix) -> Result<Vec<f32>, String> {
        Ok(x.values)
    }
}

/// Compiles the body for the processor's widest vectors, chosen when it runs.
///
/// A closure is part of that only where it is inlined: without the attribute softmax took a quarter of the time.
#[inline(always)]
pub(super) fn vectorised<T>(body: impl FnOnce() -> T) -> T {
    struct Body<F>(F);
    impl<T, F: FnOnce() -> T> pulp::NullaryFnOnce for Body<F> {
        type Output = T;

        #[inline(always)]
        fn call(self) -> T {
            (self.0)()
        }
    }
    Arch::new().dispatch(Body(body))
}

/// The tokens that the queries `first .. first + count` may see, as a range of the text's.
pub(super) fn seen(mask: Mask, first: usize, count: usize, length: usize) -> (usize, usize) {
    let last = (first + count - 1).min(length - 1);
    match mask {
        Mask::Full => (0, length),
        Mask::Causal => (0, last + 1),
        Mask::Window(reach) => (first.saturating_sub(reach), (last + reach + 1).min(length)),
    }
}

#[inline(always)]
fn with_bias(values: &mut [f32], bias: &[f32], activation: impl Fn(f32) -> f32) {
    vectorised(
        #[inline(always)]
        || {
            for row in values.chunks_exact_mut(bias.len().max(1)) {
                for (x, b) in row.iter_mut().zip(bias) {
                    *x = activation(*x + b);
                }
            }
        },
    );
}

fn activate(values: &mut [f32], activation: Activation) {
    #[inline(always)]
    fn each(values: &mut [f32], f: impl Fn(f32) -> f32) {
        vectorised(
            #[inline(always)]
            || values.iter_mut().for_each(|x| *x = f(*x)),
        );
    }
    match activation {
        Activation::None => {}
        Activation::Gelu => each(values, gelu),
        Activation::GeluTanh => each(values, gelu_tanh),
        Activation::Silu => each(values, silu),
        Activation::Relu => each(values, |x| x.max(0.0)),
        Activation::Tanh => each(values, tanh),
    }
}

/// Sum of `f` over a row in [`LANES`] partial sums: the same bits with vectors of any width.
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|x| f(*x)).sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

pub(super) fn normalise_rows(x: &mut Matrix, norm: &Norm) {
    let cols = x.cols.max(1);
    vectorised(
        #[inline(always)]
        || {
            for row in x.values.chunks_exact_mut(cols) {
                normalise(row, norm);
            }
        },
    );
}

#[inline(always)]
fn normalise(row: &mut [f32], norm: &Norm) {
    let count = row.len() as f32;
    let mean = if norm.kind == NormKind::Layer { sum(row, |x| x) / count } else { 0.0 };
    let variance = sum(row, |x| (x - mean) * (x - mean)) / count;
    let factor = 1.0 / (variance + norm.epsilon).sqrt();
    match &norm.shift {
        Some(shift) => {
            for ((x, scale), shift) in row.iter_mut().zip(&norm.scale).zip(shift) {
                *x = (*x - mean) * factor * scale + shift;
            }
        }
        None => row.iter_mut().zip(&norm.scale).for_each(|(x, scale)| *x = (*x - mean) * factor * scale),
    }
}

#[inline(always)]
pub(super) fn softmax(row: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let mut top = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    top = lanes.iter().copied().fold(top, f32::max);
    for x in row.iter_mut() {
        *x = exp(*x - top);
    }
    let factor = 1.0 / sum(row, |x| x);
    for x in row.iter_mut() {
        *x *= factor;
    }
}

/// e^x for x in about [−87, 88], to two units in the last place; smaller ones give e^−87.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2; e^r by its series, 2^n by the exponent's bits.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// Adding it leaves the nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > -87.0 { x } else { -87.0 };
    let x = if x < 88.0 { x } else { 88.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let series = 1.0
        + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))))));
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    series * f32::from_bits(exponent)
}

/// x Φ(x), with the error function of Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7).
#[inline(always)]
fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let polynomial =
        t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    // Φ(−|x|) directly: no difference of nearly equal numbers in the tail.
    let tail = 0.5 * polynomial * exp(-z * z);
    x * if x > 0.0 { 1.0 - tail } else { tail }
}

#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    let magnitude = (1.0 - e) / (1.0 + e);
    if x < 0.0 { -magnitude } else { magnitude }
}

#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + tanh(inner))
}

#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}
