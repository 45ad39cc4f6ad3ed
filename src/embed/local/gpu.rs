//! Transformer operations in Burn's tensors, for WGPU (any of Burn's devices will do).
//!
//! Every text of a batch takes as many rows as the longest; what lies between is masked.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::engine::{Activation, Attention, Engine, Layout, Mask, NormKind, Pool, pool_weights, rotary};
use super::weights::Array;

/// What a score becomes where a token is not seen: far below any real one, and still finite.
const UNSEEN: f32 = -1e30;

/// One of Burn's devices.
#[derive(Debug, Clone)]
pub(super) struct Gpu {
    device: Device,
}

#[derive(Debug)]
pub(super) struct Linear {
    /// `[in, out]`.
    weight: Tensor<2>,
    /// `[1, out]`.
    bias: Option<Tensor<2>>,
}

#[derive(Debug)]
pub(super) struct Norm {
    /// `[1, columns]`, as is the shift.
    scale: Tensor<2>,
    shift: Option<Tensor<2>>,
    kind: NormKind,
    epsilon: f32,
}

impl Gpu {
    pub fn new(device: Device) -> Self {
        Self { device }
    }

    fn table_of(&self, values: Vec<f32>, rows: usize, cols: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, [rows, cols]), &self.device)
    }

    fn activated(&self, x: Tensor<2>, kind: Activation) -> Tensor<2> {
        match kind {
            Activation::None => x,
            Activation::Gelu => activation::gelu(x),
            Activation::GeluTanh => {
                // Cubed by products: a power of a negative number is not defined on every adapter.
                let cube = x.clone() * x.clone() * x.clone();
                let inner = (x.clone() + cube * 0.044_715) * 0.797_884_560_8;
                x * (inner.tanh() + 1.0) * 0.5
            }
            Activation::Silu => activation::silu(x),
            Activation::Relu => activation::relu(x),
            Activation::Tanh => x.tanh(),
        }
    }

    /// Each row scaled by itself.
    fn normed(&self, x: Tensor<2>, norm: &Norm) -> Tensor<2> {
        let centred = match norm.kind {
            NormKind::Layer => x.clone() - x.mean_dim(1),
            NormKind::Rms => x,
        };
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let scaled = centred / (variance + norm.epsilon).sqrt() * norm.scale.clone();
        match &norm.shift {
            Some(shift) => scaled + shift.clone(),
            None => scaled,
        }
    }

    /// What is added to the scores, `[texts or 1, 1, queries or 1, keys]` and another of the kind to add up.
    fn masks(&self, mask: Mask, layout: &Layout) -> Vec<Tensor<4>> {
        let length = layout.stride;
        let texts = layout.lengths.len();
        let mut masks = Vec::new();
        if layout.lengths.iter().any(|own| *own < length) {
            let values: Vec<f32> = (layout.lengths.iter())
                .flat_map(|&own| (0..length).map(move |key| if key < own { 0.0 } else { UNSEEN }))
                .collect();
            masks.push(Tensor::from_data(TensorData::new(values, [texts, 1, 1, length]), &self.device));
        }
        let sees = |query: usize, key: usize| match mask {
            Mask::Full => true,
            Mask::Causal => key <= query,
            Mask::Window(reach) => key.abs_diff(query) <= reach,
        };
        if mask != Mask::Full {
            let values: Vec<f32> = (0..length)
                .flat_map(|query| (0..length).map(move |key| if sees(query, key) { 0.0 } else { UNSEEN }))
                .collect();
            masks.push(Tensor::from_data(TensorData::new(values, [1, 1, length, length]), &self.device));
        }
        masks
    }
}

impl Engine for Gpu {
    type Tensor = Tensor<2>;
    type Linear = Linear;
    type Norm = Norm;
    type Table = Tensor<2>;

    const PADDED: bool = true;

    fn linear_weights(&self, weight: Array, bias: Option<Array>) -> Linear {
        let outputs = weight.shape.first().copied().unwrap_or(0);
        let weight = self.table(weight).transpose();
        Linear { weight, bias: bias.map(|bias| self.table_of(bias.values, 1, outputs)) }
    }

    fn norm_weights(&self, scale: Array, shift: Option<Array>, kind: NormKind, epsilon: f32) -> Norm {
        let row = |array: Array| {
            let cols = array.values.len();
            self.table_of(array.values, 1, cols)
        };
        Norm { scale: row(scale), shift: shift.map(row), kind, epsilon }
    }

    fn table(&self, weight: Array) -> Tensor<2> {
        let cols = weight.shape.get(1).copied().unwrap_or(0);
        let rows = weight.shape.first().copied().unwrap_or(0);
        self.table_of(weight.values, rows, cols)
    }

    fn lookup(&self, table: &Tensor<2>, ids: &[u32]) -> Tensor<2> {
        let last = table.dims()[0].saturating_sub(1);
        let ids: Vec<i32> = ids.iter().map(|id| (*id as usize).min(last) as i32).collect();
        let count = ids.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), &self.device);
        table.clone().select(0, ids)
    }

    fn add(&self, a: Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
        a + b.clone()
    }

    fn linear(&self, x: &Tensor<2>, layer: &Linear, activation: Activation) -> Tensor<2> {
        let product = x.clone().matmul(layer.weight.clone());
        let sum = match &layer.bias {
            Some(bias) => product + bias.clone(),
            None => product,
        };
        self.activated(sum, activation)
    }

    fn gated(&self, x: Tensor<2>, activation: Activation) -> Tensor<2> {
        let [rows, cols] = x.dims();
        let left = x.clone().slice([0..rows, 0..cols / 2]);
        let right = x.slice([0..rows, cols / 2..cols]);
        self.activated(left, activation) * right
    }

    fn norm(&self, x: &Tensor<2>, norm: &Norm) -> Tensor<2> {
        self.normed(x.clone(), norm)
    }

    fn head_norm(&self, x: Tensor<2>, width: usize, heads: std::ops::Range<usize>, norm: &Norm) -> Tensor<2> {
        let [rows, cols] = x.dims();
        let (from, to) = (heads.start * width, heads.end * width);
        let part = x.clone().slice([0..rows, from..to]).reshape([rows * heads.len(), width]);
        let part = self.normed(part, norm).reshape([rows, to - from]);
        let mut parts = Vec::with_capacity(3);
        if from > 0 {
            parts.push(x.clone().slice([0..rows, 0..from]));
        }
        parts.push(part);
        if to < cols {
            parts.push(x.slice([0..rows, to..cols]));
        }
        Tensor::cat(parts, 1)
    }

    fn rotate(&self, x: Tensor<2>, width: usize, heads: usize, theta: f32, layout: &Layout) -> Tensor<2> {
        let [rows, cols] = x.dims();
        let (length, half) = (layout.stride, width / 2);
        let texts = layout.lengths.len();
        let (cos, sin) = rotary(width, theta, length);
        let angles =
            |values| Tensor::<4>::from_data(TensorData::new(values, [1, length, 1, half]), &self.device);
        let (cos, sin) = (angles(cos), angles(sin));
        let turned = x.clone().slice([0..rows, 0..heads * width]).reshape([texts, length, heads, width]);
        let side = |from: usize| turned.clone().slice([0..texts, 0..length, 0..heads, from..from + half]);
        let (left, right) = (side(0), side(half));
        let turned = Tensor::cat(
            vec![left.clone() * cos.clone() - right.clone() * sin.clone(), right * cos + left * sin],
            3,
        );
        let turned = turned.reshape([rows, heads * width]);
        if heads * width == cols {
            return turned;
        }
        Tensor::cat(vec![turned, x.slice([0..rows, heads * width..cols])], 1)
    }

    fn attention(&self, qkv: &Tensor<2>, shape: &Attention, layout: &Layout) -> Tensor<2> {
        let Attention { heads, kv_heads, width, mask } = *shape;
        let [rows, _] = qkv.dims();
        let (texts, length) = (layout.lengths.len(), layout.stride);
        // `[texts, heads, tokens, width]`.
        let part = |from: usize, count: usize| {
            let columns = from * width..(from + count) * width;
            qkv.clone().slice([0..rows, columns]).reshape([texts, length, count, width]).swap_dims(1, 2)
        };
        let shared = |x: Tensor<4>| match heads / kv_heads.max(1) {
            1 => x,
            times => x
                .reshape([texts, kv_heads, 1, length * width])
                .repeat_dim(2, times)
                .reshape([texts, heads, length, width]),
        };
        let queries = part(0, heads) * shape.scale();
        let keys = shared(part(heads, kv_heads));
        let values = shared(part(heads + kv_heads, kv_heads));
        let mut scores = queries.matmul(keys.swap_dims(2, 3));
        for mask in self.masks(mask, layout) {
            scores = scores + mask;
        }
        let seen = activation::softmax(scores, 3).matmul(values);
        seen.swap_dims(1, 2).reshape([rows, heads * width])
    }

    fn pool(&self, x: &Tensor<2>, pool: Pool, skip: usize, layout: &Layout) -> Tensor<2> {
        let [rows, cols] = x.dims();
        let (texts, length) = (layout.lengths.len(), layout.stride);
        let per_text = |x: Tensor<2>| x.reshape([texts, length, cols]);
        if pool == Pool::Max {
            let unseen = layout.per_row(UNSEEN, |text, position| {
                let own = layout.lengths.get(text).copied().unwrap_or(0);
                if position < skip && skip < own { UNSEEN } else { 0.0 }
            });
            let x = x.clone() + self.table_of(unseen, rows, 1);
            return per_text(x).max_dim(1).reshape([texts, cols]);
        }
        let weights = self.table_of(pool_weights(pool, skip, layout), rows, 1);
        per_text(x.clone() * weights).sum_dim(1).reshape([texts, cols])
    }

    fn values(&self, x: Tensor<2>) -> Result<Vec<f32>, String> {
        let data = x.try_into_data().map_err(|error| format!("the device gives no result: {error:?}"))?;
        data.try_to_vec::<f32>()
            .map_err(|error| format!("the device gives another kind of numbers: {error:?}"))
    }
}
