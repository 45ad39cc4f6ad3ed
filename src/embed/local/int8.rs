//! Transformer operations on the CPU with the layers' products in whole numbers of 8 bits.
//!
//! Weights are rounded once, each output's by a factor of its own; a row of activations when it is multiplied, by
//! a factor and a lowest value of its own, so that a row's result does not depend on the rows beside it. Sums of
//! whole numbers are exact: the products are the same on every processor, with vectors or without. What is not a
//! product stays in `f32`, as [`Cpu`] does it, but for the attention and for GELU: once the products are quick, those
//! take most of the time.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use archmage::{SimdToken, X64V4xToken, arcane, rite};

use super::cpu::{self, Cpu, LANES, seen, softmax};
use super::engine::{Activation, Attention, Engine, Layout, NormKind, Pool};
use super::weights::Array;
use crate::matrix::Matrix;

/// Outputs that are computed together: four of the widest registers.
const PANEL: usize = 4 * LANES;

/// Inputs that one instruction multiplies and adds for each output.
const STEP: usize = 4;

/// Inputs that are rounded together: where one is far from the others, only its group loses by it.
const GROUP: usize = 128;

/// Rows after which a panel of weights comes again: their results stay in the cache until they are finished.
const BLOCK: usize = 48;

/// Rows that are computed together, so that each register of weights is used so often.
const ROWS: usize = 6;

/// Queries whose scores are computed together.
const QUERIES: usize = 8;

/// The weights of four inputs for sixteen outputs: `[output][input]`.
type Vector = [i8; LANES * STEP];

/// The CPU, with products of 8 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Int8 {
    level: Level,
}

impl Default for Int8 {
    fn default() -> Self {
        Self { level: Level::best() }
    }
}

/// A linear layer of 8-bit weights.
#[derive(Debug)]
pub(super) struct Linear {
    /// `[panel][inputs / 4][output / 16]`, zeros where there is no input or output.
    weights: Vec<[Vector; PANEL / LANES]>,
    /// `[panel][group]`.
    scales: Vec<Scales>,
    bias: Option<Vec<f32>>,
    inputs: usize,
    outputs: usize,
}

/// What the weights of a panel mean in one group of inputs.
#[derive(Debug, Clone)]
struct Scales {
    /// What a weight of 1 is worth.
    factors: [f32; PANEL],
    /// Sum of the weights, by which the activations' lowest value is multiplied.
    sums: [f32; PANEL],
}

/// Rows of activations: `low + factor · value`.
struct Rounded {
    /// `[row][inputs / 4]`.
    values: Vec<[u8; STEP]>,
    /// Factor and lowest value, `[row][group]`.
    scales: Vec<(f32, f32)>,
}

impl Linear {
    fn new(weight: &Array, bias: Option<Array>) -> Self {
        let (outputs, inputs) = match weight.shape[..] {
            [outputs, inputs] => (outputs, inputs),
            _ => (0, 0),
        };
        let (steps, groups) = (inputs.div_ceil(STEP), inputs.div_ceil(GROUP));
        let panels = outputs.div_ceil(PANEL);
        let mut weights = vec![[[0i8; LANES * STEP]; PANEL / LANES]; panels * steps];
        let mut scales = vec![Scales { factors: [0.0; PANEL], sums: [0.0; PANEL] }; panels * groups];
        for (output, row) in weight.values.chunks_exact(inputs.max(1)).take(outputs).enumerate() {
            let (panel, place) = (output / PANEL, output % PANEL);
            for (group, part) in row.chunks(GROUP).enumerate() {
                let most = part.iter().fold(0f32, |most, x| most.max(x.abs()));
                let scale = if most > 0.0 { 127.0 / most } else { 0.0 };
                let mut sum = 0i32;
                for (at, x) in part.iter().enumerate() {
                    let input = group * GROUP + at;
                    // A weight that is no number becomes 0 here; the factor below keeps it visible.
                    let value = (x * scale).round() as i8;
                    sum += i32::from(value);
                    let vector = &mut weights[panel * steps + input / STEP][place / LANES];
                    vector[place % LANES * STEP + input % STEP] = value;
                }
                let odd: f32 = part.iter().map(|x| x - x).sum();
                let scales = &mut scales[panel * groups + group];
                scales.factors[place] = most / 127.0 + odd;
                scales.sums[place] = sum as f32 * scales.factors[place];
            }
        }
        Self { weights, scales, bias: bias.map(|bias| bias.values), inputs, outputs }
    }

    fn apply(&self, x: &Matrix, activation: Activation, level: Level) -> Matrix {
        let outputs = self.outputs;
        let mut out = Matrix::zeros(x.rows(), outputs);
        if outputs == 0 || self.inputs == 0 || x.cols != self.inputs {
            return out;
        }
        let (steps, groups) = (self.inputs.div_ceil(STEP), self.inputs.div_ceil(GROUP));
        let rounded = level.compiled(
            #[inline(always)]
            || Rounded::new(x),
        );
        let rows = rounded.values.chunks(BLOCK * steps).zip(rounded.scales.chunks(BLOCK * groups));
        for ((values, scales), out) in rows.zip(out.values.chunks_mut(BLOCK * outputs)) {
            let panels = self.weights.chunks_exact(steps).zip(self.scales.chunks_exact(groups));
            for (index, (weights, means)) in panels.enumerate() {
                let panel = Panel { weights, scales: means, outputs, first: index * PANEL };
                let tiles = values.chunks(ROWS * steps).zip(scales.chunks(ROWS * groups));
                for ((values, scales), out) in tiles.zip(out.chunks_mut(ROWS * outputs)) {
                    level.product(values, scales, &panel, out);
                }
            }
            level.compiled(
                #[inline(always)]
                || match activation {
                    Activation::None => self.finish(out, |x| x),
                    Activation::Gelu => self.finish(out, gelu),
                    Activation::GeluTanh => self.finish(out, cpu::gelu_tanh),
                    Activation::Silu => self.finish(out, cpu::silu),
                    Activation::Relu => self.finish(out, |x| x.max(0.0)),
                    Activation::Tanh => self.finish(out, cpu::tanh),
                },
            );
        }
        out
    }

    #[inline(always)]
    fn finish(&self, out: &mut [f32], activation: impl Fn(f32) -> f32) {
        match &self.bias {
            Some(bias) => {
                for row in out.chunks_exact_mut(self.outputs) {
                    for (x, bias) in row.iter_mut().zip(bias) {
                        *x = activation(*x + bias);
                    }
                }
            }
            None => {
                for x in out {
                    *x = activation(*x);
                }
            }
        }
    }
}

impl Rounded {
    #[inline(always)]
    fn new(x: &Matrix) -> Self {
        let (steps, groups) = (x.cols.div_ceil(STEP), x.cols.div_ceil(GROUP));
        let mut values = vec![[0; STEP]; x.rows() * steps];
        let mut scales = vec![(0.0, 0.0); x.rows() * groups];
        let places = values.chunks_exact_mut(steps).zip(scales.chunks_exact_mut(groups));
        for (row, (values, scales)) in x.values.chunks_exact(x.cols).zip(places) {
            let places = values.chunks_mut(GROUP / STEP).zip(scales);
            for (part, (values, scale)) in row.chunks(GROUP).zip(places) {
                *scale = round(part, values.as_flattened_mut());
            }
        }
        Self { values, scales }
    }
}

/// Rounds a row to whole numbers from 0 to 255; its factor and lowest value, NaN where one of the values is no number.
#[inline(always)]
fn round(from: &[f32], to: &mut [u8]) -> (f32, f32) {
    /// Adding it leaves the nearest whole number in the lowest bits.
    const WHOLE: f32 = 8_388_608.0;
    #[inline(always)]
    fn take(from: &[f32], [low, high, odd]: &mut [[f32; LANES]; 3]) {
        for (((x, low), high), odd) in from.iter().zip(low).zip(high).zip(odd) {
            *low = if *x < *low { *x } else { *low };
            *high = if *x > *high { *x } else { *high };
            *odd += x - x;
        }
    }
    let mut lanes = [[f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [0f32; LANES]];
    let chunks = from.as_chunks::<LANES>();
    for chunk in chunks.0 {
        take(chunk, &mut lanes);
    }
    take(chunks.1, &mut lanes);
    let [low, high, odd] = lanes;
    let lowest = low.iter().copied().fold(f32::INFINITY, f32::min);
    let range = high.iter().copied().fold(f32::NEG_INFINITY, f32::max) - lowest;
    let scale = if range > 0.0 { 255.0 / range } else { 0.0 };
    for (to, x) in to.iter_mut().zip(from) {
        *to = ((x - lowest) * scale + WHOLE).to_bits() as u8;
    }
    (range / 255.0 + odd.iter().sum::<f32>(), lowest)
}

/// What the processor can do.
#[derive(Debug, Clone, Copy)]
enum Level {
    /// AVX-512 with its instructions for products of 8 bits.
    #[cfg(target_arch = "x86_64")]
    Vnni(X64V4xToken),
    /// Whatever the compiler makes of loops.
    Portable,
}

impl Level {
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(token) = X64V4xToken::summon() {
            return Self::Vnni(token);
        }
        Self::Portable
    }

    /// Compiles the body, which must be inlined, for the processor's vectors.
    #[inline(always)]
    fn compiled<T>(self, body: impl FnOnce() -> T) -> T {
        #[cfg(target_arch = "x86_64")]
        if let Self::Vnni(token) = self {
            return widest(token, body);
        }
        cpu::vectorised(body)
    }

    /// The products of at most [`ROWS`] rows with one panel's weights.
    fn product(self, x: &[[u8; STEP]], scales: &[(f32, f32)], panel: &Panel<'_>, out: &mut [f32]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(token) => vnni(token, x, scales, panel, out),
            Self::Portable => cpu::vectorised(
                #[inline(always)]
                || portable(x, scales, panel, out),
            ),
        }
    }
}

/// Weights of [`PANEL`] outputs.
struct Panel<'w> {
    /// `[inputs / 4][output / 16]`.
    weights: &'w [[Vector; PANEL / LANES]],
    /// `[group]`.
    scales: &'w [Scales],
    /// Outputs of the layer.
    outputs: usize,
    /// The panel's first output.
    first: usize,
}

#[cfg(target_arch = "x86_64")]
#[arcane]
fn widest<T, F: FnOnce() -> T>(_token: X64V4xToken, body: F) -> T {
    body()
}

#[cfg(target_arch = "x86_64")]
#[arcane]
fn vnni(_token: X64V4xToken, x: &[[u8; STEP]], scales: &[(f32, f32)], panel: &Panel<'_>, out: &mut [f32]) {
    match x.len() / panel.weights.len().max(1) {
        ROWS.. => tile::<ROWS>(x, scales, panel, out),
        5 => tile::<5>(x, scales, panel, out),
        4 => tile::<4>(x, scales, panel, out),
        3 => tile::<3>(x, scales, panel, out),
        2 => tile::<2>(x, scales, panel, out),
        1 => tile::<1>(x, scales, panel, out),
        0 => {}
    }
}

#[cfg(target_arch = "x86_64")]
#[rite(v4x, import_intrinsics)]
// By index: iterators over the registers put them into memory.
#[allow(clippy::needless_range_loop)]
fn tile<const R: usize>(x: &[[u8; STEP]], scales: &[(f32, f32)], panel: &Panel<'_>, out: &mut [f32]) {
    let (steps, groups) = (panel.weights.len(), panel.scales.len());
    let mut totals = [[_mm512_setzero_ps(); PANEL / LANES]; R];
    for (group, (weights, means)) in panel.weights.chunks(GROUP / STEP).zip(panel.scales).enumerate() {
        let count = weights.len();
        let rows: [&[[u8; STEP]]; R] =
            std::array::from_fn(|r| &x[r * steps + group * (GROUP / STEP)..][..count]);
        let mut sums = [[_mm512_setzero_si512(); PANEL / LANES]; R];
        for step in 0..count {
            let mut vectors = [_mm512_setzero_si512(); PANEL / LANES];
            for c in 0..PANEL / LANES {
                vectors[c] = _mm512_loadu_si512(&weights[step][c]);
            }
            for r in 0..R {
                let four = _mm512_set1_epi32(i32::from_le_bytes(rows[r][step]));
                for c in 0..PANEL / LANES {
                    sums[r][c] = _mm512_dpbusd_epi32(sums[r][c], four, vectors[c]);
                }
            }
        }
        let (worth, ones) = (means.factors.as_chunks::<LANES>().0, means.sums.as_chunks::<LANES>().0);
        for r in 0..R {
            let (factor, low) = scales[r * groups + group];
            let (factor, low) = (_mm512_set1_ps(factor), _mm512_set1_ps(low));
            for c in 0..PANEL / LANES {
                // Multiplied and added apart, as the portable form does it.
                let worth = _mm512_mul_ps(_mm512_loadu_ps(&worth[c]), factor);
                let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][c]), worth);
                let lowest = _mm512_mul_ps(_mm512_loadu_ps(&ones[c]), low);
                totals[r][c] = _mm512_add_ps(totals[r][c], _mm512_add_ps(product, lowest));
            }
        }
    }
    for r in 0..R {
        let Some(out) = out.get_mut(r * panel.outputs + panel.first..(r + 1) * panel.outputs) else { continue };
        for (total, to) in totals[r].iter().zip(out.chunks_mut(LANES)) {
            if let Ok(to) = <&mut [f32; LANES]>::try_from(&mut *to) {
                _mm512_storeu_ps(to, *total);
            } else {
                let mut lanes = [0f32; LANES];
                _mm512_storeu_ps(&mut lanes, *total);
                to.iter_mut().zip(lanes).for_each(|(to, from)| *to = from);
            }
        }
    }
}

/// As [`tile`] does it, with plain arithmetic: the same bits.
#[inline(always)]
fn portable(x: &[[u8; STEP]], scales: &[(f32, f32)], panel: &Panel<'_>, out: &mut [f32]) {
    let (steps, groups) = (panel.weights.len(), panel.scales.len());
    let rows = x.chunks_exact(steps).zip(scales.chunks_exact(groups));
    for ((x, scales), out) in rows.zip(out.chunks_exact_mut(panel.outputs)) {
        let mut totals = [0f32; PANEL];
        let parts = x.chunks(GROUP / STEP).zip(panel.weights.chunks(GROUP / STEP));
        for ((x, weights), (means, &(factor, low))) in parts.zip(panel.scales.iter().zip(scales)) {
            let mut sums = [[0i32; LANES]; PANEL / LANES];
            for (four, weights) in x.iter().zip(weights) {
                let four = four.map(i16::from);
                for (sums, vector) in sums.iter_mut().zip(weights) {
                    for (sum, w) in sums.iter_mut().zip(vector.as_chunks::<STEP>().0) {
                        // In pairs: the compiler knows one instruction for that.
                        let product = |i: usize| i32::from(four[i]) * i32::from(i16::from(w[i]));
                        *sum += (product(0) + product(1)) + (product(2) + product(3));
                    }
                }
            }
            let means = means.factors.iter().zip(&means.sums);
            for ((total, sum), (worth, ones)) in totals.iter_mut().zip(sums.as_flattened()).zip(means) {
                *total += *sum as f32 * (worth * factor) + ones * low;
            }
        }
        let to = out.iter_mut().skip(panel.first);
        to.zip(totals).for_each(|(to, total)| *to = total);
    }
}

/// x Φ(x) to 1.3e-5 for x between −4 and 4, to 3.1e-5 |x| outside: less than what is lost when it is rounded to 8 bits.
///
/// Φ − ½ is an odd polynomial of least error, which stays where it is from 4 on.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    const END: f32 = 4.0;
    const COEFFICIENTS: [f32; 9] = [
        6.740_404e-11,
        -6.066_913e-9,
        2.440_847e-7,
        -5.860_603e-6,
        9.494_027e-5,
        -0.001_112_856_2,
        0.009_815_801,
        -0.066_323_63,
        0.398_881_02,
    ];
    let z = if x > -END { x } else { -END };
    let z = if z < END { z } else { END };
    let u = z * z;
    let mut polynomial = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        polynomial = polynomial * u + coefficient;
    }
    x * (z * polynomial + 0.5)
}

/// Scores of the queries with `C` vectors of keys, from the vector `from` on.
#[cfg(target_arch = "x86_64")]
#[rite(v4x, import_intrinsics)]
#[allow(clippy::needless_range_loop)]
fn score<const C: usize>(head: &mut Head, queries: &[&[f32]; QUERIES], from: usize, scale: f32) {
    let Head { keys, scores, wide, width, .. } = head;
    let queries = queries.map(|query| &query[..*width]);
    let mut sums = [[_mm512_setzero_ps(); C]; QUERIES];
    for column in 0..*width {
        let keys = &keys[column * *wide + from * LANES..][..C * LANES];
        let keys = keys.as_chunks::<LANES>().0;
        let mut vectors = [_mm512_setzero_ps(); C];
        for c in 0..C {
            vectors[c] = _mm512_loadu_ps(&keys[c]);
        }
        for q in 0..QUERIES {
            let query = _mm512_set1_ps(queries[q][column]);
            for c in 0..C {
                sums[q][c] = _mm512_fmadd_ps(query, vectors[c], sums[q][c]);
            }
        }
    }
    for q in 0..QUERIES {
        let to = scores[q * *wide + from * LANES..][..C * LANES].as_chunks_mut::<LANES>().0;
        for c in 0..C {
            _mm512_storeu_ps(&mut to[c], _mm512_mul_ps(sums[q][c], _mm512_set1_ps(scale)));
        }
    }
}

/// Means of `C` vectors of the values' columns, from the vector `from` on, by the scores of the queries.
#[cfg(target_arch = "x86_64")]
#[rite(v4x, import_intrinsics)]
#[allow(clippy::needless_range_loop)]
fn mean<const C: usize>(head: &Head, seen: Range<usize>, from: usize) -> [[[f32; LANES]; C]; QUERIES] {
    let Head { values, scores, wide, width, .. } = head;
    let values = &values[seen.start * width..seen.end * width];
    let scores: [&[f32]; QUERIES] = std::array::from_fn(|q| &scores[q * wide + seen.start..][..seen.len()]);
    let mut sums = [[_mm512_setzero_ps(); C]; QUERIES];
    for key in 0..seen.len() {
        let values = values[key * width + from * LANES..][..C * LANES].as_chunks::<LANES>().0;
        let mut vectors = [_mm512_setzero_ps(); C];
        for c in 0..C {
            vectors[c] = _mm512_loadu_ps(&values[c]);
        }
        for q in 0..QUERIES {
            let weight = _mm512_set1_ps(scores[q][key]);
            for c in 0..C {
                sums[q][c] = _mm512_fmadd_ps(weight, vectors[c], sums[q][c]);
            }
        }
    }
    let mut out = [[[0f32; LANES]; C]; QUERIES];
    for q in 0..QUERIES {
        for c in 0..C {
            _mm512_storeu_ps(&mut out[q][c], sums[q][c]);
        }
    }
    out
}

/// One head of a text, and the scores of some queries.
#[derive(Default)]
struct Head {
    /// `[column][key]`, each column padded to whole vectors.
    keys: Vec<f32>,
    /// `[key][column]`.
    values: Vec<f32>,
    /// `[query][key]`, padded likewise.
    scores: Vec<f32>,
    /// Keys with the padding.
    wide: usize,
    /// Columns.
    width: usize,
}

impl Head {
    /// Takes over the keys and values in some rows, from these columns on.
    #[inline(always)]
    fn read(&mut self, rows: &[f32], cols: usize, keys: usize, values: usize, width: usize) {
        self.width = width;
        self.wide = (rows.len() / cols).next_multiple_of(LANES);
        self.keys.clear();
        self.keys.resize(width * self.wide, 0.0);
        self.values.clear();
        for (i, row) in rows.chunks_exact(cols).enumerate() {
            self.values.extend_from_slice(&row[values..values + width]);
            for (to, x) in self.keys.chunks_exact_mut(self.wide).zip(&row[keys..keys + width]) {
                to[i] = *x;
            }
        }
        self.scores.clear();
        self.scores.resize(QUERIES * self.wide, 0.0);
    }
}

/// The attention of one head of a text, `[rows, cols]`; its result goes to the head's columns of `out`.
#[cfg(target_arch = "x86_64")]
#[arcane]
fn attend(
    _token: X64V4xToken,
    part: &mut Head,
    rows: &[f32],
    cols: usize,
    head: usize,
    shape: &Attention,
    out: &mut [f32],
) {
    let (heads, kv_heads, width) = (shape.heads, shape.kv_heads, shape.width);
    let shared = head * kv_heads / heads.max(1);
    part.read(rows, cols, (heads + shared) * width, (heads + kv_heads + shared) * width, width);
    let length = rows.len() / cols;
    let query = |i: usize| &rows[i * cols + head * width..][..width];
    for first in (0..length).step_by(QUERIES) {
        let count = QUERIES.min(length - first);
        // Where there are fewer, the last one takes the others' place.
        let queries: [&[f32]; QUERIES] = std::array::from_fn(|i| query((first + i).min(length - 1)));
        let (from, to) = seen(shape.mask, first, count, length);
        let (mut vector, end) = (from / LANES, to.div_ceil(LANES));
        while vector < end {
            if vector + 2 <= end {
                score::<2>(part, &queries, vector, shape.scale());
                vector += 2;
            } else {
                score::<1>(part, &queries, vector, shape.scale());
                vector += 1;
            }
        }
        for (i, scores) in part.scores.chunks_exact_mut(part.wide).enumerate().take(count) {
            let (low, high) = seen(shape.mask, first + i, 1, length);
            scores[from..low].fill(0.0);
            scores[high..to].fill(0.0);
            softmax(&mut scores[low..high]);
        }
        let vectors = width / LANES;
        let mut vector = 0;
        while vector < vectors {
            let at = (first * heads + head) * width + vector * LANES;
            let out = out[at..].chunks_mut(heads * width).take(count);
            if vector + 2 <= vectors {
                let means = mean::<2>(part, from..to, vector);
                out.zip(&means).for_each(|(to, means)| to[..2 * LANES].copy_from_slice(means.as_flattened()));
                vector += 2;
            } else {
                let means = mean::<1>(part, from..to, vector);
                out.zip(&means).for_each(|(to, means)| to[..LANES].copy_from_slice(means.as_flattened()));
                vector += 1;
            }
        }
    }
}

impl Engine for Int8 {
    type Tensor = Matrix;
    type Linear = Linear;
    type Norm = cpu::Norm;
    type Table = Matrix;

    const PADDED: bool = false;

    fn linear_weights(&self, weight: Array, bias: Option<Array>) -> Linear {
        Linear::new(&weight, bias)
    }

    fn norm_weights(&self, scale: Array, shift: Option<Array>, kind: NormKind, epsilon: f32) -> cpu::Norm {
        Cpu.norm_weights(scale, shift, kind, epsilon)
    }

    fn table(&self, weight: Array) -> Matrix {
        Cpu.table(weight)
    }

    fn lookup(&self, table: &Matrix, ids: &[u32]) -> Matrix {
        Cpu.lookup(table, ids)
    }

    fn add(&self, a: Matrix, b: &Matrix) -> Matrix {
        Cpu.add(a, b)
    }

    fn linear(&self, x: &Matrix, layer: &Linear, activation: Activation) -> Matrix {
        layer.apply(x, activation, self.level)
    }

    fn gated(&self, x: Matrix, activation: Activation) -> Matrix {
        Cpu.gated(x, activation)
    }

    fn norm(&self, x: &Matrix, norm: &cpu::Norm) -> Matrix {
        Cpu.norm(x, norm)
    }

    fn head_norm(&self, x: Matrix, width: usize, heads: Range<usize>, norm: &cpu::Norm) -> Matrix {
        Cpu.head_norm(x, width, heads, norm)
    }

    fn rotate(&self, x: Matrix, width: usize, heads: usize, theta: f32, layout: &Layout) -> Matrix {
        Cpu.rotate(x, width, heads, theta, layout)
    }

    fn attention(&self, qkv: &Matrix, shape: &Attention, layout: &Layout) -> Matrix {
        #[cfg(target_arch = "x86_64")]
        if let Level::Vnni(token) = self.level
            && shape.width.is_multiple_of(LANES)
        {
            let width = shape.heads * shape.width;
            let mut out = Matrix::zeros(qkv.rows(), width);
            let mut part = Head::default();
            for (&start, &length) in layout.starts.iter().zip(&layout.lengths) {
                let rows = &qkv.values[start * qkv.cols..(start + length) * qkv.cols];
                let out = &mut out.values[start * width..(start + length) * width];
                for head in 0..shape.heads {
                    attend(token, &mut part, rows, qkv.cols, head, shape, out);
                }
            }
            return out;
        }
        Cpu.attention(qkv, shape, layout)
    }

    fn pool(&self, x: &Matrix, pool: Pool, skip: usize, layout: &Layout) -> Matrix {
        Cpu.pool(x, pool, skip, layout)
    }

    fn values(&self, x: Matrix) -> Result<Vec<f32>, String> {
        Cpu.values(x)
    }
}
