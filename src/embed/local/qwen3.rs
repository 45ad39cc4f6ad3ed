//! Qwen3 as an embedder: a decoder whose last token stands for the text.

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
    num_key_value_heads: usize,
    #[serde(default)]
    head_dim: Option<usize>,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    #[serde(default)]
    rope_theta: Option<f32>,
    #[serde(default)]
    rope_scaling: Option<serde_json::Value>,
    #[serde(default)]
    rope_parameters: Option<Rope>,
    #[serde(default)]
    use_sliding_window: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Rope {
    #[serde(default)]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
}

impl Config {
    pub fn positions(&self) -> usize {
        self.max_position_embeddings
    }

    pub fn products(&self) -> usize {
        // An estimate, of numbers that may be anything.
        let heads = 2.0 * (self.num_attention_heads as f64 + self.num_key_value_heads as f64);
        let (width, inner) = (self.hidden_size as f64, self.intermediate_size as f64);
        (self.num_hidden_layers as f64 * width * (heads * self.head() as f64 + 3.0 * inner)) as usize
    }

    pub fn width(&self) -> usize {
        self.hidden_size
    }

    fn head(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }
}

pub(super) struct Qwen3<E: Engine> {
    words: E::Table,
    final_norm: E::Norm,
    attention: Attention,
    theta: f32,
    activation: Activation,
    layers: Vec<Layer<E>>,
}

struct Layer<E: Engine> {
    norm: E::Norm,
    qkv: E::Linear,
    query_norm: E::Norm,
    key_norm: E::Norm,
    out: E::Linear,
    mlp_norm: E::Norm,
    up: E::Linear,
    down: E::Linear,
}

pub(super) const PREFIXES: [&str; 2] = ["", "model."];
pub(super) const PROBE: &str = "embed_tokens.weight";

impl<E: Engine> Qwen3<E> {
    pub fn load(engine: &E, config: &Config, weights: &Weights, embedder: &str) -> Result<Self, EmbedError> {
        let unsupported =
            |message: &str| EmbedError::Model { embedder: embedder.to_owned(), message: message.into() };
        let kind = config.rope_parameters.as_ref().and_then(|rope| rope.rope_type.as_deref());
        if config.rope_scaling.as_ref().is_some_and(|value| !value.is_null())
            || kind.is_some_and(|k| k != "default")
        {
            return Err(unsupported("scaled rotary positions are not supported"));
        }
        if config.use_sliding_window {
            return Err(unsupported("a sliding window is not supported for this kind of model"));
        }
        let (size, width) = (config.hidden_size, config.head());
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        if width == 0 || width % 2 == 1 || kv_heads == 0 || heads % kv_heads != 0 {
            return Err(unsupported("the numbers of heads and their width do not fit together"));
        }
        let norm = |name: String, size: usize| -> Result<E::Norm, EmbedError> {
            let scale = weights.get(&format!("{name}.weight"), &[size])?;
            Ok(engine.norm_weights(scale, None, NormKind::Rms, config.rms_norm_eps as f32))
        };
        // Not as many as the configuration promises: the weights tell how many there are.
        let mut layers = Vec::new();
        for index in 0..config.num_hidden_layers {
            let at = |name: &str| format!("layers.{index}.{name}");
            let part = |name: &str, outputs: usize| (at(name), outputs);
            let linear = |parts: &[(String, usize)], inputs: usize| {
                architecture::linear(engine, weights, parts, inputs)
            };
            layers.push(Layer {
                norm: norm(at("input_layernorm"), size)?,
                qkv: linear(
                    &[
                        part("self_attn.q_proj", heads * width),
                        part("self_attn.k_proj", kv_heads * width),
                        part("self_attn.v_proj", kv_heads * width),
                    ],
                    size,
                )?,
                query_norm: norm(at("self_attn.q_norm"), width)?,
                key_norm: norm(at("self_attn.k_norm"), width)?,
                out: linear(&[part("self_attn.o_proj", size)], heads * width)?,
                mlp_norm: norm(at("post_attention_layernorm"), size)?,
                up: linear(
                    &[
                        part("mlp.gate_proj", config.intermediate_size),
                        part("mlp.up_proj", config.intermediate_size),
                    ],
                    size,
                )?,
                down: linear(&[part("mlp.down_proj", size)], config.intermediate_size)?,
            });
        }
        let rows = weights.rows(PROBE).unwrap_or(0);
        let theta = config.rope_parameters.as_ref().and_then(|rope| rope.rope_theta).or(config.rope_theta);
        Ok(Self {
            words: engine.table(weights.get(PROBE, &[rows, size])?),
            final_norm: norm("norm".into(), size)?,
            attention: Attention { heads, kv_heads, width, mask: Mask::Causal },
            theta: theta.unwrap_or(10_000.0),
            activation: architecture::activation(&config.hidden_act)
                .map_err(|message| unsupported(&message))?,
            layers,
        })
    }
}

impl<E: Engine> architecture::Architecture<E> for Qwen3<E> {
    fn forward(&self, engine: &E, batch: &Batch) -> E::Tensor {
        let layout = &batch.layout;
        let Attention { heads, kv_heads, width, .. } = self.attention;
        let mut x = engine.lookup(&self.words, &batch.ids);
        for layer in &self.layers {
            let qkv = engine.linear(&engine.norm(&x, &layer.norm), &layer.qkv, Activation::None);
            let qkv = engine.head_norm(qkv, width, 0..heads, &layer.query_norm);
            let qkv = engine.head_norm(qkv, width, heads..heads + kv_heads, &layer.key_norm);
            let qkv = engine.rotate(qkv, width, heads + kv_heads, self.theta, layout);
            let seen = engine.attention(&qkv, &self.attention, layout);
            x = engine.add(engine.linear(&seen, &layer.out, Activation::None), &x);
            let up = engine.linear(&engine.norm(&x, &layer.mlp_norm), &layer.up, Activation::None);
            let inner = engine.gated(up, self.activation);
            x = engine.add(engine.linear(&inner, &layer.down, Activation::None), &x);
        }
        engine.norm(&x, &self.final_norm)
    }
}
