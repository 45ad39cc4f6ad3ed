//! The inner loops of a training step on the CPU, compiled for the processor's vectors by pulp.
//!
//! Every slice of a row is `stride` long, a multiple of [`STRIDE`] padded with zeros, so that no
//! loop has a remainder. Each sum has one fixed order, whatever the number of threads.

use pulp::{Arch, Simd, WithSimd};

/// Floats that a padded row is a multiple of: four of the widest vectors.
pub(super) const STRIDE: usize = 64;
/// Features whose encoder weights lie side by side in a panel `[stride, PANEL]`.
pub(super) const PANEL: usize = 16;
/// Rows that one pass over a panel serves: 6 × 2 sums and what they need fill AVX2's 16 registers.
const HEIGHT: usize = 6;
/// Vectors that are summed at a time along a row.
const TILE: usize = 4;

/// The processor's vectors, looked up once.
#[derive(Clone, Copy)]
pub(super) struct Kernels(Arch);

/// One active feature of one row, as its column of the gradient needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Where the row of x starts.
    pub(super) x: usize,
    /// Where the residual that this feature answers for starts.
    pub(super) residual: usize,
    /// Weight of the residual in the decoder's gradient.
    pub(super) z: f32,
    /// Weight of x in the encoder's gradient: the gradient of the loss by z.
    pub(super) slope: f32,
}

/// Squared norms of a row's residuals.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Norms {
    /// Over all prefixes together.
    pub(super) all: f32,
    /// After every feature.
    pub(super) last: f32,
    /// After the dead features' help, too.
    pub(super) helped: f32,
}

/// Adam's constants for one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adam {
    /// Step size times `√(1 − β₂ᵗ) / (1 − β₁ᵗ)`.
    pub(super) rate: f32,
    /// ε times `√(1 − β₂ᵗ)`.
    pub(super) epsilon: f32,
    /// What the gradient is multiplied with so that its global norm is at most one.
    pub(super) clip: f32,
}

impl Adam {
    /// Step number `time`, from 1, at the given learning rate, unclipped. Bias correction needs more digits than
    /// `f32` has.
    pub(super) fn at(learning_rate: f64, time: i32) -> Self {
        let second = (1.0 - 0.999f64.powi(time)).sqrt();
        Self {
            rate: (learning_rate * second / (1.0 - 0.9f64.powi(time))) as f32,
            epsilon: (1e-8 * second) as f32,
            clip: 1.0,
        }
    }

    /// The step on a single weight.
    pub(super) fn one(self, gradient: f32, first: &mut f32, second: &mut f32, weight: &mut f32) {
        let gradient = self.clip * gradient;
        *first = BETA_1 * *first + TAKE_1 * gradient;
        *second = BETA_2 * *second + TAKE_2 * (gradient * gradient);
        *weight -= self.rate * *first / (second.sqrt() + self.epsilon);
    }
}

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
/// 1 − β, without the rounding of β.
const TAKE_1: f32 = 0.1;
const TAKE_2: f32 = 0.001;

impl Kernels {
    pub(super) fn new() -> Self {
        Self(Arch::new())
    }

    /// `out = x · panelᵀ`: x `[n, stride]`, the panel `[stride, PANEL]`, out `[n, width]` of which
    /// the columns from `start` on are written.
    pub(super) fn product(
        self,
        x: &[f32],
        stride: usize,
        panel: &[f32],
        out: &mut [f32],
        width: usize,
        start: usize,
    ) {
        struct Product<'a>(&'a [f32], usize, &'a [f32], &'a mut [f32], usize, usize);
        impl WithSimd for Product<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let Self(x, stride, panel, out, width, start) = self;
                let high = x.chunks_exact(HEIGHT * stride);
                let low = high.remainder();
                let mut out = out.chunks_exact_mut(width);
                for rows in high {
                    block::<S, HEIGHT>(simd, rows, stride, panel, &mut out, start);
                }
                for row in low.chunks_exact(stride) {
                    block::<S, 1>(simd, row, stride, panel, &mut out, start);
                }
            }
        }
        self.0.dispatch(Product(x, stride, panel, out, width, start));
    }

    /// Residuals of one row, one plane of `out` `[planes, stride]` each, and their norms.
    ///
    /// `active` are the row's (feature, z), ascending; `ends[p]` how many of them lie in prefix p.
    /// With `s_p = x̂_p − x`, plane p becomes `Σ_{q ≥ p} s_q`: what the loss's gradient multiplies
    /// the features of block p with. The plane after the last holds `s_last` and what the `helped`
    /// features add to it.
    pub(super) fn residuals(
        self,
        x: &[f32],
        decoder: &[f32],
        active: &[(u32, f32)],
        ends: &[usize],
        helped: &[(u32, f32)],
        out: &mut [f32],
    ) -> Norms {
        struct Residuals<'a>(
            &'a [f32],
            &'a [f32],
            &'a [(u32, f32)],
            &'a [usize],
            &'a [(u32, f32)],
            &'a mut [f32],
        );
        impl WithSimd for Residuals<'_> {
            type Output = Norms;

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) -> Norms {
                let Self(x, decoder, active, ends, helped, out) = self;
                let stride = x.len();
                let tile = TILE * S::F32_LANES;
                let zero = simd.splat_f32s(0.0);
                let (mut all, mut last, mut with_help) = ([zero; TILE], [zero; TILE], [zero; TILE]);
                let mut at = 0;
                while at + tile <= stride {
                    let mut rest = load::<S>(&x[at..at + tile]).map(|x| simd.neg_f32s(x));
                    let mut from = 0;
                    for (plane, &end) in ends.iter().enumerate() {
                        add::<S>(simd, &mut rest, &active[from..end], decoder, stride, at);
                        from = end;
                        store::<S>(&mut out[plane * stride + at..][..tile], rest);
                        square::<S>(simd, &mut all, rest);
                    }
                    square::<S>(simd, &mut last, rest);
                    let mut sum = rest;
                    for plane in (0..ends.len() - 1).rev() {
                        let out = &mut out[plane * stride + at..][..tile];
                        let own = load::<S>(out);
                        for (sum, own) in sum.iter_mut().zip(own) {
                            *sum = simd.add_f32s(*sum, own);
                        }
                        store::<S>(out, sum);
                    }
                    if !helped.is_empty() {
                        add::<S>(simd, &mut rest, helped, decoder, stride, at);
                        store::<S>(&mut out[ends.len() * stride + at..][..tile], rest);
                        square::<S>(simd, &mut with_help, rest);
                    }
                    at += tile;
                }
                let last = total::<S>(simd, last);
                let helped = if helped.is_empty() { last } else { total::<S>(simd, with_help) };
                Norms { all: total::<S>(simd, all), last, helped }
            }
        }
        self.0.dispatch(Residuals(x, decoder, active, ends, helped, out))
    }

    /// `Σ a·b`.
    pub(super) fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        struct Dot<'a>(&'a [f32], &'a [f32]);
        impl WithSimd for Dot<'_> {
            type Output = f32;

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) -> f32 {
                let tile = TILE * S::F32_LANES;
                let mut sum = [simd.splat_f32s(0.0); TILE];
                for (a, b) in self.0.chunks_exact(tile).zip(self.1.chunks_exact(tile)) {
                    for ((sum, a), b) in sum.iter_mut().zip(load::<S>(a)).zip(load::<S>(b)) {
                        *sum = simd.mul_add_e_f32s(a, b, *sum);
                    }
                }
                total::<S>(simd, sum)
            }
        }
        self.0.dispatch(Dot(a, b))
    }

    /// One feature's gradients: `encoder = Σ slope · x`, `decoder = Σ z · residual` over its items.
    pub(super) fn gather(
        self,
        items: &[Item],
        x: &[f32],
        residuals: &[f32],
        encoder: &mut [f32],
        decoder: &mut [f32],
    ) {
        struct Gather<'a>(&'a [Item], &'a [f32], &'a [f32], &'a mut [f32], &'a mut [f32]);
        impl WithSimd for Gather<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let Self(items, x, residuals, encoder, decoder) = self;
                let tile = TILE * S::F32_LANES;
                let mut at = 0;
                for (encoder, decoder) in encoder.chunks_exact_mut(tile).zip(decoder.chunks_exact_mut(tile)) {
                    let mut by_x = [simd.splat_f32s(0.0); TILE];
                    let mut by_residual = by_x;
                    for item in items {
                        let (z, slope) = (simd.splat_f32s(item.z), simd.splat_f32s(item.slope));
                        let x = load::<S>(&x[item.x + at..][..tile]);
                        let residual = load::<S>(&residuals[item.residual + at..][..tile]);
                        for ((by_x, by_residual), (x, residual)) in
                            by_x.iter_mut().zip(&mut by_residual).zip(x.into_iter().zip(residual))
                        {
                            *by_x = simd.mul_add_e_f32s(slope, x, *by_x);
                            *by_residual = simd.mul_add_e_f32s(z, residual, *by_residual);
                        }
                    }
                    store::<S>(encoder, by_x);
                    store::<S>(decoder, by_residual);
                    at += tile;
                }
            }
        }
        self.0.dispatch(Gather(items, x, residuals, encoder, decoder));
    }

    /// `to += by · from`.
    pub(super) fn add_scaled(self, to: &mut [f32], by: f32, from: &[f32]) {
        struct AddScaled<'a>(&'a mut [f32], f32, &'a [f32]);
        impl WithSimd for AddScaled<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let by = simd.splat_f32s(self.1);
                for (to, from) in S::as_mut_simd_f32s(self.0).0.iter_mut().zip(S::as_simd_f32s(self.2).0) {
                    *to = simd.mul_add_e_f32s(by, *from, *to);
                }
            }
        }
        self.0.dispatch(AddScaled(to, by, from));
    }

    /// `values *= by`.
    pub(super) fn scale(self, values: &mut [f32], by: f32) {
        struct Scale<'a>(&'a mut [f32], f32);
        impl WithSimd for Scale<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let by = simd.splat_f32s(self.1);
                for value in S::as_mut_simd_f32s(self.0).0 {
                    *value = simd.mul_f32s(by, *value);
                }
            }
        }
        self.0.dispatch(Scale(values, by));
    }

    /// Adam on one row of weights (Kingma & Ba 2015, β .9 and .999).
    pub(super) fn adam(
        self,
        step: Adam,
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        weights: &mut [f32],
    ) {
        struct Update<'a>(Adam, &'a [f32], &'a mut [f32], &'a mut [f32], &'a mut [f32]);
        impl WithSimd for Update<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let Self(step, gradient, first, second, weights) = self;
                let clip = simd.splat_f32s(step.clip);
                let (rate, epsilon) = (simd.splat_f32s(-step.rate), simd.splat_f32s(step.epsilon));
                let (keep_1, take_1) = (simd.splat_f32s(BETA_1), simd.splat_f32s(TAKE_1));
                let (keep_2, take_2) = (simd.splat_f32s(BETA_2), simd.splat_f32s(TAKE_2));
                let moments =
                    S::as_mut_simd_f32s(first).0.iter_mut().zip(S::as_mut_simd_f32s(second).0.iter_mut());
                let weights = S::as_simd_f32s(gradient).0.iter().zip(S::as_mut_simd_f32s(weights).0);
                for ((first, second), (gradient, weight)) in moments.zip(weights) {
                    let gradient = simd.mul_f32s(clip, *gradient);
                    *first = simd.mul_add_e_f32s(keep_1, *first, simd.mul_f32s(take_1, gradient));
                    let square = simd.mul_f32s(gradient, gradient);
                    *second = simd.mul_add_e_f32s(keep_2, *second, simd.mul_f32s(take_2, square));
                    let size = simd.add_f32s(simd.sqrt_f32s(*second), epsilon);
                    let by = simd.div_f32s(simd.mul_f32s(rate, *first), size);
                    *weight = simd.add_f32s(*weight, by);
                }
            }
        }
        self.0.dispatch(Update(step, gradient, first, second, weights));
    }
}

/// The first `PANEL` features of `HEIGHT` rows.
#[inline(always)]
fn block<S: Simd, const ROWS: usize>(
    simd: S,
    rows: &[f32],
    stride: usize,
    panel: &[f32],
    out: &mut std::slice::ChunksExactMut<'_, f32>,
    start: usize,
) {
    // Two vectors at a time: all of a panel with AVX2, parts of it with narrower ones.
    let width = (2 * S::F32_LANES).min(PANEL);
    let mut sums = [[0.0f32; PANEL]; ROWS];
    let mut from = 0;
    while from + width <= PANEL {
        let zero = simd.splat_f32s(0.0);
        let mut pair = [[zero; 2]; ROWS];
        let single = width == S::F32_LANES;
        for (at, weights) in panel.chunks_exact(PANEL).enumerate() {
            let weights = S::as_simd_f32s(&weights[from..from + width]).0;
            for (row, pair) in pair.iter_mut().enumerate() {
                let x = simd.splat_f32s(rows[row * stride + at]);
                pair[0] = simd.mul_add_e_f32s(x, weights[0], pair[0]);
                if !single {
                    pair[1] = simd.mul_add_e_f32s(x, weights[1], pair[1]);
                }
            }
        }
        for (sums, pair) in sums.iter_mut().zip(&pair) {
            let to = S::as_mut_simd_f32s(&mut sums[from..from + width]).0;
            for (to, sum) in to.iter_mut().zip(pair) {
                *to = *sum;
            }
        }
        from += width;
    }
    // In this order: `zip` must not take a row of `out` that it has no sums for.
    for (sums, out) in sums.iter().zip(out) {
        let end = out.len().min(start + PANEL);
        out[start..end].copy_from_slice(&sums[..end - start]);
    }
}

#[inline(always)]
fn load<S: Simd>(values: &[f32]) -> [S::f32s; TILE] {
    let values = S::as_simd_f32s(values).0;
    [values[0], values[1], values[2], values[3]]
}

#[inline(always)]
fn store<S: Simd>(to: &mut [f32], values: [S::f32s; TILE]) {
    S::as_mut_simd_f32s(to).0.copy_from_slice(&values);
}

/// `rest += Σ z · decoder column`, within one tile.
#[inline(always)]
fn add<S: Simd>(
    simd: S,
    rest: &mut [S::f32s; TILE],
    active: &[(u32, f32)],
    decoder: &[f32],
    stride: usize,
    at: usize,
) {
    for &(feature, z) in active {
        let z = simd.splat_f32s(z);
        let column = load::<S>(&decoder[feature as usize * stride + at..][..TILE * S::F32_LANES]);
        for (rest, column) in rest.iter_mut().zip(column) {
            *rest = simd.mul_add_e_f32s(z, column, *rest);
        }
    }
}

#[inline(always)]
fn square<S: Simd>(simd: S, sum: &mut [S::f32s; TILE], values: [S::f32s; TILE]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum = simd.mul_add_e_f32s(value, value, *sum);
    }
}

#[inline(always)]
fn total<S: Simd>(simd: S, sum: [S::f32s; TILE]) -> f32 {
    let [a, b, c, d] = sum;
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}
