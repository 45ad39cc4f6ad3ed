//! Transformer operations on the CPU with the layers' products in whole numbers of 8 bits.
//!
//! Weights are rounded once, each output's by a factor of its own; a row of activations when it is multiplied, by
//! a factor and a lowest value of its own, so that a row's result does not depend on the rows beside it. Sums of
//! whole numbers are exact: the products are the same on every processor, with vectors or without. What is not a
//! product stays in `f32`, as [`Cpu`] does it, but for the attention and for GELU: once the products are quick, those
//! take most of the time.

use std::cell::RefCell;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use archmage::{SimdToken, X64V4xToken, arcane, rite};

use super::cpu::{self, Cpu, LANES, exp, seen};
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

/// A table whose memory is used again: to get it cleared from the system each time took a tenth of the time.
#[derive(Debug)]
pub(super) struct Rows(Matrix);

/// Tables that a thread keeps.
const SPARE: usize = 6;

/// Values of a table that is kept; those of long texts in large models go back.
const SPARE_VALUES: usize = 2 << 20;

thread_local! {
    static SPARES: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

impl Rows {
    /// A table in which anything may stand.
    fn any(rows: usize, cols: usize) -> Self {
        let spare = SPARES.try_with(|spares| {
            let mut spares = spares.borrow_mut();
            // The one that needs the least to be added to it or taken away.
            let distance = |values: &Vec<f32>| values.capacity().abs_diff(rows * cols);
            let nearest = (0..spares.len()).min_by_key(|i| spares.get(*i).map(distance));
            nearest.map(|nearest| spares.swap_remove(nearest))
        });
        let mut values = spare.ok().flatten().unwrap_or_default();
        values.resize(rows * cols, 0.0);
        Self(Matrix { values, cols })
    }

    fn take(mut self) -> Matrix {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.0.values);
        // A thread that ends has no use for it.
        let _ = SPARES.try_with(|spares| {
            let mut spares = spares.borrow_mut();
            if spares.len() < SPARE && (1..=SPARE_VALUES).contains(&values.capacity()) {
                spares.push(values);
            }
        });
    }
}

/// A linear layer of 8-bit weights.
#[derive(Debug)]
pub(super) struct Linear {
    /// `[panel][inputs / 4][output / 16]`, zeros where there is no input or output.
    weights: Vec<[Vector; PANEL / LANES]>,
    /// `[panel][group]`.
    scales: Vec<Scales>,
    /// `[panel]`, zeros where there is none.
    bias: Vec<[f32; PANEL]>,
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
                let odd: f32 = part.iter().map(|x| x * 0.0).sum();
                let scales = &mut scales[panel * groups + group];
                scales.factors[place] = most / 127.0 + odd;
                scales.sums[place] = sum as f32 * scales.factors[place];
            }
        }
        let mut shifts = vec![[0.0; PANEL]; panels];
        let values = bias.map(|bias| bias.values).unwrap_or_default();
        shifts.as_flattened_mut().iter_mut().zip(values).for_each(|(to, x)| *to = x);
        Self { weights, scales, bias: shifts, inputs, outputs }
    }

    fn apply(&self, x: &Matrix, activation: Activation, level: Level) -> Rows {
        match activation {
            Activation::None => self.with(x, |x| x, level),
            Activation::Gelu => self.with(x, gelu, level),
            Activation::GeluTanh => self.with(x, cpu::gelu_tanh, level),
            Activation::Silu => self.with(x, cpu::silu, level),
            Activation::Relu => self.with(x, |x| x.max(0.0), level),
            Activation::Tanh => self.with(x, cpu::tanh, level),
        }
    }

    fn with(&self, x: &Matrix, activation: impl Fn(f32) -> f32 + Copy, level: Level) -> Rows {
        let outputs = self.outputs;
        if outputs == 0 || self.inputs == 0 || x.cols != self.inputs {
            return Rows(Matrix::zeros(x.rows(), outputs));
        }
        let mut out = Rows::any(x.rows(), outputs);
        let (steps, groups) = (self.inputs.div_ceil(STEP), self.inputs.div_ceil(GROUP));
        let rounded = level.rounded(x);
        let rows = rounded.values.chunks(BLOCK * steps).zip(rounded.scales.chunks(BLOCK * groups));
        for ((values, scales), out) in rows.zip(out.0.values.chunks_mut(BLOCK * outputs)) {
            let parts = self.scales.chunks_exact(groups).zip(&self.bias);
            for (index, (weights, (means, bias))) in self.weights.chunks_exact(steps).zip(parts).enumerate() {
                let panel = Panel { weights, scales: means, bias, outputs, first: index * PANEL };
                let tiles = values.chunks(ROWS * steps).zip(scales.chunks(ROWS * groups));
                for ((values, scales), out) in tiles.zip(out.chunks_mut(ROWS * outputs)) {
                    level.product(values, scales, &panel, activation, out);
                }
            }
        }
        out
    }
}

impl Rounded {
    #[inline(always)]
    fn new(x: &Matrix, round: impl Fn(&[f32], &mut [u8]) -> (f32, f32)) -> Self {
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

/// Rounds values to whole numbers from 0 to 255; their factor and lowest value, NaN where one of them is no number.
#[inline(always)]
fn round(from: &[f32], to: &mut [u8]) -> (f32, f32) {
    /// Adding it leaves the nearest whole number in the lowest bits.
    const WHOLE: f32 = 8_388_608.0;
    let (mut low, mut high, mut odd) = (f32::INFINITY, f32::NEG_INFINITY, 0f32);
    for x in from {
        low = low.min(*x);
        high = high.max(*x);
        odd += x * 0.0;
    }
    let (factor, scale) = spread(low, high);
    for (to, x) in to.iter_mut().zip(from) {
        *to = ((x - low) * scale + WHOLE).to_bits() as u8;
    }
    (factor + odd, low)
}

/// What a step is worth, and how many steps are in 1.
#[inline(always)]
fn spread(low: f32, high: f32) -> (f32, f32) {
    let range = high - low;
    (range / 255.0, if range > 0.0 { 255.0 / range } else { 0.0 })
}

/// As [`round`] does it.
#[cfg(target_arch = "x86_64")]
#[rite(v4x, import_intrinsics)]
fn round_vectors(from: &[f32], to: &mut [u8]) -> (f32, f32) {
    let (vectors, rest) = from.as_chunks::<LANES>();
    let (places, _) = to.as_chunks_mut::<LANES>();
    if !rest.is_empty() || vectors.is_empty() {
        return round(from, to);
    }
    let mut low = _mm512_set1_ps(f32::INFINITY);
    let mut high = _mm512_set1_ps(f32::NEG_INFINITY);
    let mut odd = _mm512_setzero_ps();
    for x in vectors {
        let x = _mm512_loadu_ps(x);
        low = _mm512_min_ps(x, low);
        high = _mm512_max_ps(x, high);
        odd = _mm512_add_ps(odd, _mm512_mul_ps(x, _mm512_setzero_ps()));
    }
    let (low, odd) = (_mm512_reduce_min_ps(low), _mm512_reduce_add_ps(odd));
    let (factor, scale) = spread(low, _mm512_reduce_max_ps(high));
    for (to, x) in places.iter_mut().zip(vectors) {
        let x = _mm512_sub_ps(_mm512_loadu_ps(x), _mm512_set1_ps(low));
        let whole = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(scale)));
        _mm_storeu_si128(to, _mm512_cvtepi32_epi8(whole));
    }
    (factor + odd, low)
}

#[cfg(target_arch = "x86_64")]
#[arcane]
fn rounded_vectors(_token: X64V4xToken, x: &Matrix) -> Rounded {
    Rounded::new(x, |from, to| round_vectors(from, to))
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

    fn rounded(self, x: &Matrix) -> Rounded {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(token) => rounded_vectors(token, x),
            Self::Portable => cpu::vectorised(
                #[inline(always)]
                || Rounded::new(x, round),
            ),
        }
    }

    /// The layer's outputs of one panel for at most [`ROWS`] rows.
    #[inline(always)]
    fn product(
        self,
        x: &[[u8; STEP]],
        scales: &[(f32, f32)],
        panel: &Panel<'_>,
        activation: impl Fn(f32) -> f32,
        out: &mut [f32],
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(token) => vnni(token, x, scales, panel, activation, out),
            Self::Portable => cpu::vectorised(
                #[inline(always)]
                || portable(x, scales, panel, activation, out),
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
    bias: &'w [f32; PANEL],
    /// Outputs of the layer.
    outputs: usize,
    /// The panel's first output.
    first: usize,
}

impl Panel<'_> {
    /// From a row of products to its place among the layer's outputs.
    #[inline(always)]
    fn finish(&self, mut row: [f32; PANEL], activation: impl Fn(f32) -> f32, out: &mut [f32]) {
        for (x, bias) in row.iter_mut().zip(self.bias) {
            *x = activation(*x + bias);
        }
        let Some(out) = out.get_mut(self.first..) else { return };
        match out.first_chunk_mut::<PANEL>() {
            Some(to) => *to = row,
            None => out.iter_mut().zip(row).for_each(|(to, x)| *to = x),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[arcane]
fn vnni<A: Fn(f32) -> f32>(
    _token: X64V4xToken,
    x: &[[u8; STEP]],
    scales: &[(f32, f32)],
    panel: &Panel<'_>,
    activation: A,
    out: &mut [f32],
) {
    match x.len() / panel.weights.len().max(1) {
        ROWS.. => tile::<ROWS, A>(x, scales, panel, activation, out),
        5 => tile::<5, A>(x, scales, panel, activation, out),
        4 => tile::<4, A>(x, scales, panel, activation, out),
        3 => tile::<3, A>(x, scales, panel, activation, out),
        2 => tile::<2, A>(x, scales, panel, activation, out),
        1 => tile::<1, A>(x, scales, panel, activation, out),
        0 => {}
    }
}

#[cfg(target_arch = "x86_64")]
#[rite(v4x, import_intrinsics)]
// By index: iterators over the registers put them into memory.
#[allow(clippy::needless_range_loop)]
fn tile<const R: usize, A: Fn(f32) -> f32>(
    x: &[[u8; STEP]],
    scales: &[(f32, f32)],
    panel: &Panel<'_>,
    activation: A,
    out: &mut [f32],
) {
    let (steps, groups) = (panel.weights.len(), panel.scales.len());
    let mut totals = [[_mm512_setzero_ps(); PANEL / LANES]; R];
    for (group, (weights, means)) in panel.weights.chunks(GROUP / STEP).zip(panel.scales).enumerate() {
        let count = weights.len();
        let mut rows = [x; R];
        for r in 0..R {
            rows[r] = &x[r * steps + group * (GROUP / STEP)..][..count];
        }
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
                // Rounded where the portable form rounds.
                let worth = _mm512_mul_ps(_mm512_loadu_ps(&worth[c]), factor);
                totals[r][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][c]), worth, totals[r][c]);
                totals[r][c] = _mm512_fmadd_ps(_mm512_loadu_ps(&ones[c]), low, totals[r][c]);
            }
        }
    }
    for r in 0..R {
        let mut row = [[0f32; LANES]; PANEL / LANES];
        for c in 0..PANEL / LANES {
            _mm512_storeu_ps(&mut row[c], totals[r][c]);
        }
        let mut flat = [0f32; PANEL];
        flat.copy_from_slice(row.as_flattened());
        panel.finish(flat, &activation, &mut out[r * panel.outputs..][..panel.outputs]);
    }
}

/// As [`tile`] does it, with plain arithmetic: the same bits.
#[inline(always)]
fn portable(
    x: &[[u8; STEP]],
    scales: &[(f32, f32)],
    panel: &Panel<'_>,
    activation: impl Fn(f32) -> f32,
    out: &mut [f32],
) {
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
                *total = ones.mul_add(low, (*sum as f32).mul_add(worth * factor, *total));
            }
        }
        panel.finish(totals, &activation, out);
    }
}

/// x Φ(x) to 2e-5 for x between −4 and 4, to 3.2e-5 |x| outside: less than is lost when it is rounded to 8 bits.
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
    let mut rows: [&[f32]; QUERIES] = [scores; QUERIES];
    for q in 0..QUERIES {
        rows[q] = &scores[q * wide + seen.start..][..seen.len()];
    }
    let mut sums = [[_mm512_setzero_ps(); C]; QUERIES];
    for key in 0..seen.len() {
        let values = values[key * width + from * LANES..][..C * LANES].as_chunks::<LANES>().0;
        let mut vectors = [_mm512_setzero_ps(); C];
        for c in 0..C {
            vectors[c] = _mm512_loadu_ps(&values[c]);
        }
        for q in 0..QUERIES {
            let weight = _mm512_set1_ps(rows[q][key]);
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

/// Of whole vectors.
#[cfg(target_arch = "x86_64")]
#[rite(v4x, import_intrinsics)]
fn softmax(row: &mut [f32]) {
    let vectors = row.as_chunks_mut::<LANES>().0;
    let mut top = _mm512_set1_ps(f32::NEG_INFINITY);
    for x in &*vectors {
        top = _mm512_max_ps(top, _mm512_loadu_ps(x));
    }
    let top = _mm512_reduce_max_ps(top);
    let mut sum = _mm512_setzero_ps();
    for x in &mut *vectors {
        for x in &mut *x {
            *x = exp(*x - top);
        }
        sum = _mm512_add_ps(sum, _mm512_loadu_ps(x));
    }
    let factor = _mm512_set1_ps(1.0 / _mm512_reduce_add_ps(sum));
    for x in vectors {
        let scaled = _mm512_mul_ps(_mm512_loadu_ps(x), factor);
        _mm512_storeu_ps(x, scaled);
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
    for first in (0..length).step_by(QUERIES) {
        let count = QUERIES.min(length - first);
        // Where there are fewer, the last one takes the others' place.
        let mut queries: [&[f32]; QUERIES] = [rows; QUERIES];
        for (i, query) in queries.iter_mut().enumerate() {
            *query = &rows[(first + i).min(length - 1) * cols + head * width..][..width];
        }
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
            let (start, end) = (low / LANES * LANES, high.next_multiple_of(LANES));
            // Whole vectors: what is not seen has no weight among them.
            scores[start..low].fill(f32::NEG_INFINITY);
            scores[high..end].fill(f32::NEG_INFINITY);
            softmax(&mut scores[start..end]);
            scores[from..low].fill(0.0);
            scores[high..to.max(high)].fill(0.0);
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
    type Tensor = Rows;
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

    fn lookup(&self, table: &Matrix, ids: &[u32]) -> Rows {
        Rows(Cpu.lookup(table, ids))
    }

    fn add(&self, a: Rows, b: &Rows) -> Rows {
        Rows(Cpu.add(a.take(), &b.0))
    }

    fn linear(&self, x: &Rows, layer: &Linear, activation: Activation) -> Rows {
        layer.apply(&x.0, activation, self.level)
    }

    fn gated(&self, x: Rows, activation: Activation) -> Rows {
        Rows(Cpu.gated(x.take(), activation))
    }

    fn norm(&self, x: &Rows, norm: &cpu::Norm) -> Rows {
        let mut out = Rows::any(x.0.rows(), x.0.cols);
        out.0.values.copy_from_slice(&x.0.values);
        cpu::normalise_rows(&mut out.0, norm);
        out
    }

    fn head_norm(&self, x: Rows, width: usize, heads: Range<usize>, norm: &cpu::Norm) -> Rows {
        Rows(Cpu.head_norm(x.take(), width, heads, norm))
    }

    fn rotate(&self, x: Rows, width: usize, heads: usize, theta: f32, layout: &Layout) -> Rows {
        Rows(Cpu.rotate(x.take(), width, heads, theta, layout))
    }

    fn attention(&self, qkv: &Rows, shape: &Attention, layout: &Layout) -> Rows {
        let Rows(qkv) = qkv;
        #[cfg(target_arch = "x86_64")]
        if let Level::Vnni(token) = self.level
            && shape.width.is_multiple_of(LANES)
        {
            let width = shape.heads * shape.width;
            let mut out = Rows::any(qkv.rows(), width);
            let mut part = Head::default();
            for (&start, &length) in layout.starts.iter().zip(&layout.lengths) {
                if length == 0 {
                    continue;
                }
                let rows = &qkv.values[start * qkv.cols..(start + length) * qkv.cols];
                let out = &mut out.0.values[start * width..(start + length) * width];
                for head in 0..shape.heads {
                    attend(token, &mut part, rows, qkv.cols, head, shape, out);
                }
            }
            return out;
        }
        Rows(Cpu.attention(qkv, shape, layout))
    }

    fn pool(&self, x: &Rows, pool: Pool, skip: usize, layout: &Layout) -> Rows {
        Rows(Cpu.pool(&x.0, pool, skip, layout))
    }

    fn values(&self, x: Rows) -> Result<Vec<f32>, String> {
        Cpu.values(x.take())
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::engine::Mask;
    use super::*;

    fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
        (0..count).map(|_| rng.random_range(-1.0f32..1.0) * rng.random_range(0.0f32..3.0)).collect()
    }

    fn layer(rng: &mut ChaCha8Rng, outputs: usize, inputs: usize) -> (Array, Array) {
        let weight = Array { shape: vec![outputs, inputs], values: random(rng, outputs * inputs) };
        (weight, Array { shape: vec![outputs], values: random(rng, outputs) })
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|x| x.to_bits()).collect()
    }

    /// Shapes with tails of every kind: inputs of a step and of a group, outputs of a register and of a panel, rows.
    const SHAPES: [(usize, usize, usize); 9] = [
        (1, 1, 1),
        (2, 3, 15),
        (5, 4, 16),
        (7, 127, 63),
        (12, 128, 64),
        (13, 130, 65),
        (50, 257, 100),
        (49, 384, 130),
        (3, 1536, 33),
    ];

    /// From the very same whole numbers, one by one, in double precision.
    fn reference(x: &[f32], weight: &[f32], bias: f32) -> f64 {
        let mut total = f64::from(bias);
        for (x, weight) in x.chunks(GROUP).zip(weight.chunks(GROUP)) {
            let mut whole = vec![0; x.len()];
            let (factor, low) = round(x, &mut whole);
            let most = weight.iter().fold(0f32, |most, x| most.max(x.abs()));
            let small: Vec<i32> =
                weight.iter().map(|x| i32::from((x * (127.0 / most)).round() as i8)).collect();
            let product: i32 = whole.iter().zip(&small).map(|(x, w)| i32::from(*x) * w).sum();
            let sum: i32 = small.iter().sum();
            let value = f64::from(factor) * f64::from(product) + f64::from(low) * f64::from(sum);
            total += value * f64::from(most) / 127.0;
        }
        total
    }

    #[test]
    fn products_are_those_of_the_whole_numbers_and_close_to_the_real_ones() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (rows, inputs, outputs) in SHAPES {
            let x = Matrix { values: random(&mut rng, rows * inputs), cols: inputs };
            let (weight, bias) = layer(&mut rng, outputs, inputs);
            let linear = Linear::new(&weight, Some(bias.clone()));
            for level in [Level::best(), Level::Portable] {
                let found = linear.apply(&x, Activation::None, level).take();
                assert_eq!((found.rows(), found.cols), (rows, outputs));
                let (mut off, mut length) = (0.0, 0.0);
                for row in 0..rows {
                    for output in 0..outputs {
                        let weight = &weight.values[output * inputs..(output + 1) * inputs];
                        let value = f64::from(found.row(row)[output]);
                        let wanted = reference(x.row(row), weight, bias.values[output]);
                        assert!((value - wanted).abs() < 1e-4 * (1.0 + wanted.abs()), "{value} {wanted}");
                        let exact = x.row(row).iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w));
                        let exact = exact.sum::<f64>() + f64::from(bias.values[output]);
                        off += (value - exact).powi(2);
                        length += exact * exact;
                    }
                }
                assert!(off <= 2e-4 * length, "{rows} × {inputs} × {outputs}: {off} of {length}");
            }
        }
    }

    #[test]
    fn every_processor_gives_the_same_bits_and_a_row_has_them_alone() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for (rows, inputs, outputs) in SHAPES {
            let x = Matrix { values: random(&mut rng, rows * inputs), cols: inputs };
            let (weight, bias) = layer(&mut rng, outputs, inputs);
            for bias in [None, Some(bias)] {
                let linear = Linear::new(&weight, bias);
                for activation in [Activation::None, Activation::Gelu, Activation::Silu, Activation::Relu] {
                    let found = linear.apply(&x, activation, Level::best()).take();
                    let plain = linear.apply(&x, activation, Level::Portable).take();
                    assert_eq!(bits(&found.values), bits(&plain.values), "{rows} × {inputs} × {outputs}");
                    for row in 0..rows {
                        let alone = Matrix { values: x.row(row).to_vec(), cols: inputs };
                        let alone = linear.apply(&alone, activation, Level::best()).take();
                        assert_eq!(bits(&alone.values), bits(found.row(row)));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_seen_and_what_is_extreme_does_no_harm() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (weight, bias) = layer(&mut rng, 70, 256);
        let linear = Linear::new(&weight, Some(bias.clone()));
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = Matrix { values: random(&mut rng, 3 * 256), cols: 256 };
            let before = linear.apply(&x, Activation::None, Level::best()).take();
            x.values[256 + 200] = odd;
            let mut broken = weight.clone();
            broken.values[5 * 256 + 7] = odd;
            let broken = Linear::new(&broken, Some(bias.clone()));
            for level in [Level::best(), Level::Portable] {
                let found = linear.apply(&x, Activation::None, level).take();
                assert!(found.row(1).iter().all(|x| x.is_nan()));
                for row in [0, 2] {
                    assert_eq!(bits(found.row(row)), bits(before.row(row)));
                    let found = broken.apply(&x, Activation::None, level).take();
                    let odd = |i: &usize| !found.row(row)[*i].is_finite();
                    assert_eq!((0..70).filter(odd).collect::<Vec<_>>(), [5]);
                }
            }
        }
        for level in [Level::best(), Level::Portable] {
            let zeros = linear.apply(&Matrix::zeros(2, 256), Activation::None, level).take();
            assert_eq!(zeros.row(1), &bias.values[..]);
            let same =
                linear.apply(&Matrix { values: vec![1e-40; 256], cols: 256 }, Activation::None, level).take();
            assert!(same.values.iter().all(|x| x.is_finite()));
            let mut huge = Matrix { values: vec![3e38; 256], cols: 256 };
            huge.values[3] = -3e38;
            linear.apply(&huge, Activation::Gelu, level).take();
            let none = Linear::new(&Array { shape: vec![0, 256], values: Vec::new() }, None);
            assert!(none.apply(&Matrix::zeros(2, 256), Activation::None, level).take().values.is_empty());
            assert!(linear.apply(&Matrix::zeros(0, 256), Activation::None, level).take().values.is_empty());
        }
    }

    #[test]
    fn gelu_is_as_close_as_it_says() {
        for i in -120_000..120_000 {
            let x = i as f32 * 1e-4;
            let exact = statrs::distribution::ContinuousCDF::cdf(
                &statrs::distribution::Normal::standard(),
                f64::from(x),
            );
            let off = (f64::from(gelu(x)) - f64::from(x) * exact).abs();
            // The error of the sums in single precision is in it.
            assert!(off < if x.abs() < 4.0 { 2e-5 } else { 3.2e-5 * f64::from(x.abs()) }, "{x}: {off}");
        }
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn attention_is_that_of_single_precision() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let layout = Layout::new(vec![1, 7, 0, 16, 47, 130], false);
        for (heads, kv_heads, width) in [(3, 3, 32), (4, 2, 48), (2, 1, 16), (2, 2, 12)] {
            let cols = (heads + 2 * kv_heads) * width;
            let qkv = Rows(Matrix { values: random(&mut rng, layout.rows * cols), cols });
            for mask in [Mask::Full, Mask::Causal, Mask::Window(3), Mask::Window(20)] {
                let shape = Attention { heads, kv_heads, width, mask };
                let found = Int8::default().attention(&qkv, &shape, &layout).take();
                let wanted = Cpu.attention(&qkv.0, &shape, &layout);
                assert_eq!((found.rows(), found.cols), (wanted.rows(), wanted.cols));
                for (a, b) in found.values.iter().zip(&wanted.values) {
                    assert!((a - b).abs() < 1e-5, "{shape:?}: {a} {b}");
                }
                // The last text alone.
                let last = Layout::new(vec![130], false);
                let rows = qkv.0.values[(layout.rows - 130) * cols..].to_vec();
                let alone =
                    Int8::default().attention(&Rows(Matrix { values: rows, cols }), &shape, &last).take();
                assert_eq!(bits(&alone.values), bits(&found.values[(layout.rows - 130) * found.cols..]));
            }
        }
    }
}
