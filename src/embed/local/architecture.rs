//! What every architecture is built from: a batch of tokens in, hidden states out, by any engine.

use super::super::EmbedError;
use super::engine::{Activation, Engine, Layout};
use super::weights::{Array, Weights};

/// Tokens of some texts, as an engine wants them.
#[derive(Debug)]
pub(super) struct Batch {
    /// Token of every row of the layout; 0 between the texts.
    pub(super) ids: Vec<u32>,
    pub(super) layout: Layout,
}

/// Columns of a head.
pub(super) fn head_width(size: usize, heads: usize) -> Result<usize, String> {
    match size.checked_div(heads) {
        Some(width) if width > 0 && width * heads == size => Ok(width),
        _ => Err(format!("{size} dimensions cannot be shared among {heads} heads")),
    }
}

pub(super) fn activation(name: &str) -> Result<Activation, String> {
    match name {
        "gelu" | "gelu_python" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "silu" | "swish" => Ok(Activation::Silu),
        "relu" => Ok(Activation::Relu),
        other => Err(format!("the activation `{other}` is not supported")),
    }
}

/// A linear layer whose outputs are those of several, side by side: tensors `NAME.weight` and, where they are there,
/// `NAME.bias`.
pub(super) fn linear<E: Engine>(
    engine: &E,
    weights: &Weights,
    parts: &[(String, usize)],
    inputs: usize,
) -> Result<E::Linear, EmbedError> {
    let mut matrices = Vec::with_capacity(parts.len());
    let mut biases = Vec::with_capacity(parts.len());
    for (name, outputs) in parts {
        matrices.push(weights.get(&format!("{name}.weight"), &[*outputs, inputs])?);
        biases.extend(weights.optional(&format!("{name}.bias"), &[*outputs])?);
    }
    let bias = (biases.len() == parts.len()).then(|| Array::stacked(biases));
    Ok(engine.linear_weights(Array::stacked(matrices), bias))
}

/// The part of a model that turns tokens into rows, `[rows, width]`.
pub(super) trait Architecture<E: Engine>: Send + Sync {
    fn forward(&self, engine: &E, batch: &Batch) -> E::Tensor;
}
