//! ModernBERT: rotary positions, gated layers, norms before each half, most layers see only a window.

use serde::Deserialize;

use super::architecture::{self, Batch};
use super::engine::{Activation, Attention, Engine, Mask, NormKind};
use super::weights::Weights;
use crate::embed::EmbedError;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_activation: String,
    max_position_embeddings: usize,
    #[serde(default = "epsilon")]
    norm_eps: f64,
    #[serde(default = "window")]
    local_attention: usize,
    #[serde(default = "every")]
    global_attn_every_n_layers: usize,
    #[serde(default = "global_theta")]
    global_rope_theta: f32,
    #[serde(default)]
    local_rope_theta: Option<f32>,
    /// Newer files say for each layer whether it is `full_attention` or `sliding_attention` …
    #[serde(default)]
    layer_types: Option<Vec<String>>,
    /// … and the bases of the rotary angles by that name.
    #[serde(default)]
    rope_parameters: Option<std::collections::BTreeMap<String, Rope>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Rope {
    #[serde(default)]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
}

fn gelu() -> String {
    "gelu".into()
}

fn epsilon() -> f64 {
    1e-5
}

fn window() -> usize {
    128
}

fn every() -> usize {
    3
}

fn global_theta() -> f32 {
    160_000.0
}

const LOCAL_THETA: f32 = 10_000.0;

impl Config {
    pub fn positions(&self) -> usize {
        self.max_position_embeddings
    }

    pub fn products(&self) -> usize {
        // An estimate, of numbers that may be anything.
        let (width, inner) = (self.hidden_size as f64, self.intermediate_size as f64);
        (self.num_hidden_layers as f64 * width * (4.0 * width + 3.0 * inner)) as usize
    }

    pub fn width(&self) -> usize {
        self.hidden_size
    }

    /// What a layer sees, and the base of its rotary angles.
    fn layer(&self, index: usize) -> (Mask, f32) {
        let full = match self.layer_types.as_ref().and_then(|types| types.get(index)) {
            Some(kind) => kind == "full_attention",
            None => index.is_multiple_of(self.global_attn_every_n_layers.max(1)),
        };
        let named = |kind: &str| self.rope_parameters.as_ref().and_then(|all| all.get(kind)?.rope_theta);
        if full {
            (Mask::Full, named("full_attention").unwrap_or(self.global_rope_theta))
        } else {
            let theta = named("sliding_attention").or(self.local_rope_theta).unwrap_or(LOCAL_THETA);
            (Mask::Window(self.local_attention / 2), theta)
        }
    }
}

pub(super) struct ModernBert<E: Engine> {
    words: E::Table,
    norm: E::Norm,
    final_norm: E::Norm,
    activation: Activation,
    layers: Vec<Layer<E>>,
}

struct Layer<E: Engine> {
    /// The first layer has none: its input is normed already.
    norm: Option<E::Norm>,
    qkv: E::Linear,
    out: E::Linear,
    mlp_norm: E::Norm,
    up: E::Linear,
    down: E::Linear,
    attention: Attention,
    theta: f32,
}

pub(super) const PREFIXES: [&str; 2] = ["", "model."];
pub(super) const PROBE: &str = "embeddings.tok_embeddings.weight";

impl<E: Engine> ModernBert<E> {
    pub fn load(engine: &E, config: &Config, weights: &Weights, embedder: &str) -> Result<Self, EmbedError> {
        let unsupported = |message: String| EmbedError::Model { embedder: embedder.to_owned(), message };
        let scaled =
            config.rope_parameters.iter().flat_map(|all| all.values()).filter_map(|r| r.rope_type.as_deref());
        if let Some(other) = scaled.into_iter().find(|kind| *kind != "default") {
            return Err(unsupported(format!("rotary positions of the type `{other}` are not supported")));
        }
        let size = config.hidden_size;
        let heads = config.num_attention_heads;
        let width = architecture::head_width(size, heads).map_err(unsupported)?;
        let norm = |name: &str| -> Result<E::Norm, EmbedError> {
            let scale = weights.get(&format!("{name}.weight"), &[size])?;
            let shift = weights.optional(&format!("{name}.bias"), &[size])?;
            Ok(engine.norm_weights(scale, shift, NormKind::Layer, config.norm_eps as f32))
        };
        // Not as many as the configuration promises: the weights tell how many there are.
        let mut layers = Vec::new();
        for index in 0..config.num_hidden_layers {
            let at = |name: &str| format!("layers.{index}.{name}");
            let linear = |name: &str, inputs: usize, outputs: usize| {
                architecture::linear(engine, weights, &[(at(name), outputs)], inputs)
            };
            let (mask, theta) = config.layer(index);
            layers.push(Layer {
                norm: if weights.has(&at("attn_norm.weight")) { Some(norm(&at("attn_norm"))?) } else { None },
                qkv: linear("attn.Wqkv", size, 3 * size)?,
                out: linear("attn.Wo", size, size)?,
                mlp_norm: norm(&at("mlp_norm"))?,
                up: linear("mlp.Wi", size, 2 * config.intermediate_size)?,
                down: linear("mlp.Wo", config.intermediate_size, size)?,
                attention: Attention { heads, kv_heads: heads, width, mask },
                theta,
            });
        }
        let rows = weights.rows(PROBE).unwrap_or(0);
        Ok(Self {
            words: engine.table(weights.get(PROBE, &[rows, size])?),
            norm: norm("embeddings.norm")?,
            final_norm: norm("final_norm")?,
            activation: architecture::activation(&config.hidden_activation).map_err(unsupported)?,
            layers,
        })
    }
}

impl<E: Engine> architecture::Architecture<E> for ModernBert<E> {
    fn forward(&self, engine: &E, batch: &Batch) -> E::Tensor {
        let layout = &batch.layout;
        let mut x = engine.norm(&engine.lookup(&self.words, &batch.ids), &self.norm);
        for layer in &self.layers {
            let Attention { heads, width, .. } = layer.attention;
            let qkv = match &layer.norm {
                Some(norm) => engine.linear(&engine.norm(&x, norm), &layer.qkv, Activation::None),
                None => engine.linear(&x, &layer.qkv, Activation::None),
            };
            let qkv = engine.rotate(qkv, width, 2 * heads, layer.theta, layout);
            let seen = engine.attention(&qkv, &layer.attention, layout);
            x = engine.add(engine.linear(&seen, &layer.out, Activation::None), &x);
            let up = engine.linear(&engine.norm(&x, &layer.mlp_norm), &layer.up, Activation::None);
            let inner = engine.gated(up, self.activation);
            x = engine.add(engine.linear(&inner, &layer.down, Activation::None), &x);
        }
        engine.norm(&x, &self.final_norm)
    }
}
