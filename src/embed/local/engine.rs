//! The operations that a transformer is made of, so that each architecture is written once and runs on the
//! CPU and on WGPU.

use super::weights::Array;

/// Texts as rows of a token table, `[rows, …]`: text `i` has the rows `starts[i] .. starts[i] + lengths[i]`.
///
/// On the CPU the rows of all texts follow each other; engines that want equal lengths leave rows between.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// First row of each text.
    pub starts: Vec<usize>,
    /// Number of tokens of each text.
    pub lengths: Vec<usize>,
    /// Number of rows in all.
    pub rows: usize,
    /// Rows of every text together with those left over, where that is the same for all.
    pub stride: usize,
}

impl Layout {
    /// Lays out texts of these lengths, each over as many rows as the longest with `padded`.
    pub fn new(lengths: Vec<usize>, padded: bool) -> Self {
        let stride = lengths.iter().copied().max().unwrap_or(0);
        let mut rows = 0;
        let starts = lengths
            .iter()
            .map(|length| {
                let start = rows;
                rows += if padded { stride } else { *length };
                start
            })
            .collect();
        Self { starts, lengths, rows, stride }
    }

    /// One value per row: `value(text, position)`; `rest` between the texts.
    pub fn per_row<T: Copy>(&self, rest: T, value: impl Fn(usize, usize) -> T) -> Vec<T> {
        let mut values = vec![rest; self.rows];
        for (text, (&start, &length)) in self.starts.iter().zip(&self.lengths).enumerate() {
            for (position, slot) in values.iter_mut().skip(start).take(length).enumerate() {
                *slot = value(text, position);
            }
        }
        values
    }
}

/// What follows a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    None,
    /// With the exact error function.
    Gelu,
    /// With the hyperbolic tangent.
    GeluTanh,
    Silu,
    Relu,
    Tanh,
}

/// How rows are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormKind {
    /// To mean 0 and variance 1.
    Layer,
    /// To root mean square 1.
    Rms,
}

/// Which tokens a token sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask {
    /// All of its text.
    Full,
    /// Itself and those before it.
    Causal,
    /// Those at most so far away on either side.
    Window(usize),
}

/// Shape of an attention. Queries, keys and values stand side by side in one table,
/// `[rows, (heads + 2 · kv_heads) · width]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub heads: usize,
    /// Heads of keys and values; several query heads share one where there are fewer.
    pub kv_heads: usize,
    /// Columns of a head.
    pub width: usize,
    pub mask: Mask,
}

impl Attention {
    /// Scores are divided by the root of the head's width.
    pub fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

/// Rows of a text as one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    Mean,
    MeanSqrtLength,
    WeightedMean,
    First,
    Last,
    Max,
}

/// What computes.
pub(super) trait Engine: Send + Sync {
    /// A table of rows.
    type Tensor;
    /// Weights `[out, in]` and a bias, ready to be applied.
    type Linear: Send + Sync;
    /// Scale and shift of a norm.
    type Norm: Send + Sync;
    /// Rows to be looked up.
    type Table: Send + Sync;

    /// Whether every text of a batch takes as many rows as the longest.
    const PADDED: bool;

    fn linear_weights(&self, weight: Array, bias: Option<Array>) -> Self::Linear;
    fn norm_weights(&self, scale: Array, shift: Option<Array>, kind: NormKind, epsilon: f32) -> Self::Norm;
    fn table(&self, weight: Array) -> Self::Table;

    /// Row `ids[i]` of the table as row `i`; ids outside give the last row.
    fn lookup(&self, table: &Self::Table, ids: &[u32]) -> Self::Tensor;
    fn add(&self, a: Self::Tensor, b: &Self::Tensor) -> Self::Tensor;
    /// `activation(x Wᵀ + b)`.
    fn linear(&self, x: &Self::Tensor, weights: &Self::Linear, activation: Activation) -> Self::Tensor;
    /// `activation(left half) · right half`.
    fn gated(&self, x: Self::Tensor, activation: Activation) -> Self::Tensor;
    fn norm(&self, x: &Self::Tensor, norm: &Self::Norm) -> Self::Tensor;
    /// Norms each of the heads `from .. to` of a table of heads by itself.
    fn head_norm(
        &self,
        x: Self::Tensor,
        width: usize,
        heads: std::ops::Range<usize>,
        norm: &Self::Norm,
    ) -> Self::Tensor;
    /// Rotary positions on the first `heads` heads.
    fn rotate(
        &self,
        x: Self::Tensor,
        width: usize,
        heads: usize,
        theta: f32,
        layout: &Layout,
    ) -> Self::Tensor;
    fn attention(&self, qkv: &Self::Tensor, shape: &Attention, layout: &Layout) -> Self::Tensor;
    /// One row per text; `skip` leading tokens (a prompt) are left out where enough others remain.
    fn pool(&self, x: &Self::Tensor, pool: Pool, skip: usize, layout: &Layout) -> Self::Tensor;
    /// The values, row after row; the message of a device that fails.
    fn values(&self, x: Self::Tensor) -> Result<Vec<f32>, String>;
}

/// Weight of every row in its text's vector, for the ways of pooling that are sums.
pub(super) fn pool_weights(pool: Pool, skip: usize, layout: &Layout) -> Vec<f32> {
    layout.per_row(0.0, |text, position| {
        let length = layout.lengths.get(text).copied().unwrap_or(0);
        let skip = if skip < length { skip } else { 0 };
        let counted = (length - skip) as f32;
        if position < skip {
            return 0.0;
        }
        match pool {
            Pool::Mean => 1.0 / counted,
            Pool::MeanSqrtLength => 1.0 / counted.sqrt(),
            Pool::WeightedMean => {
                let (from, to) = (skip as f32, length as f32);
                let sum = to * (to + 1.0) / 2.0 - from * (from + 1.0) / 2.0;
                (position + 1) as f32 / sum
            }
            Pool::First => f32::from(u8::from(position == skip)),
            Pool::Last => f32::from(u8::from(position + 1 == length)),
            Pool::Max => 0.0,
        }
    })
}

/// Cosines and sines of the rotary angles, each `[positions, width / 2]`.
pub(super) fn rotary(width: usize, theta: f32, positions: usize) -> (Vec<f32>, Vec<f32>) {
    let half = width / 2;
    // In single precision, as the models were trained.
    let frequency: Vec<f32> = (0..half).map(|i| 1.0 / theta.powf((2 * i) as f32 / width as f32)).collect();
    let angles = (0..positions).flat_map(|position| frequency.iter().map(move |f| position as f32 * f));
    angles.map(|angle| (angle.cos(), angle.sin())).unzip()
}
