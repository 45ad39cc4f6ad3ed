//! BERT and its kin: absolute positions, norms after each half of a layer (MiniLM, BGE, E5, GTE; RoBERTa,
//! XLM-RoBERTa; DistilBERT).

use serde::Deserialize;

use super::architecture::{self, Batch};
use super::engine::{Activation, Attention, Engine, Mask, NormKind};
use super::weights::Weights;
use crate::embed::EmbedError;

/// What `config.json` says, under BERT's and DistilBERT's names.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    #[serde(alias = "dim")]
    hidden_size: usize,
    #[serde(alias = "n_layers")]
    num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    num_attention_heads: usize,
    #[serde(alias = "hidden_dim")]
    intermediate_size: usize,
    #[serde(alias = "activation")]
    hidden_act: String,
    max_position_embeddings: usize,
    vocab_size: usize,
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
    #[serde(default)]
    pad_token_id: Option<u32>,
    #[serde(default)]
    position_embedding_type: Option<String>,
}

fn epsilon() -> f64 {
    1e-12
}

/// Which of the kin it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bert,
    /// Positions are counted from behind the padding token's id.
    Roberta,
    /// Other names, no token types.
    DistilBert,
}

impl Config {
    /// Longest text in tokens.
    pub fn positions(&self, kind: Kind) -> usize {
        self.max_position_embeddings.saturating_sub(self.offset(kind) as usize)
    }

    /// What the first token's position is.
    fn offset(&self, kind: Kind) -> u32 {
        if kind == Kind::Roberta { self.pad_token_id.unwrap_or(1) + 1 } else { 0 }
    }

    /// Multiplications per token outside the attention, for estimates of the time it takes.
    pub fn products(&self) -> usize {
        // An estimate, of numbers that may be anything.
        let (width, inner) = (self.hidden_size as f64, self.intermediate_size as f64);
        (self.num_hidden_layers as f64 * width * (4.0 * width + 2.0 * inner)) as usize
    }

    pub fn width(&self) -> usize {
        self.hidden_size
    }
}

/// Weights of a BERT.
pub(super) struct Bert<E: Engine> {
    words: E::Table,
    positions: E::Table,
    /// The first token type's row, which every token gets.
    kinds: Option<E::Table>,
    offset: u32,
    norm: E::Norm,
    attention: Attention,
    activation: Activation,
    layers: Vec<Layer<E>>,
}

struct Layer<E: Engine> {
    qkv: E::Linear,
    out: E::Linear,
    norm: E::Norm,
    up: E::Linear,
    down: E::Linear,
    final_norm: E::Norm,
}

/// A tensor of `config.json`'s kind under the names of each of the kin.
struct Names {
    layer: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    out: &'static str,
    norm: &'static str,
    up: &'static str,
    down: &'static str,
    final_norm: &'static str,
}

const BERT: Names = Names {
    layer: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    out: "attention.output.dense",
    norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    final_norm: "output.LayerNorm",
};

const DISTILBERT: Names = Names {
    layer: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    out: "attention.out_lin",
    norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    final_norm: "output_layer_norm",
};

/// What the tensors' names may begin with.
pub(super) const PREFIXES: [&str; 6] = ["", "bert.", "roberta.", "distilbert.", "model.", "0.auto_model."];
/// A tensor that all of them have.
pub(super) const PROBE: &str = "embeddings.word_embeddings.weight";

impl<E: Engine> Bert<E> {
    pub fn load(
        engine: &E,
        config: &Config,
        kind: Kind,
        weights: &Weights,
        embedder: &str,
    ) -> Result<Self, EmbedError> {
        let unsupported = |message: String| EmbedError::Model { embedder: embedder.to_owned(), message };
        if let Some(other) = config.position_embedding_type.as_deref().filter(|name| *name != "absolute") {
            return Err(unsupported(format!(
                "positions of the type `{other}` are not supported, only `absolute`"
            )));
        }
        let width =
            architecture::head_width(config.hidden_size, config.num_attention_heads).map_err(unsupported)?;
        let activation = architecture::activation(&config.hidden_act).map_err(unsupported)?;
        let size = config.hidden_size;
        let norm = |name: &str| -> Result<E::Norm, EmbedError> {
            // Checkpoints converted from TensorFlow call them gamma and beta.
            let (scale, shift) = match weights.has(&format!("{name}.gamma")) {
                true => ("gamma", "beta"),
                false => ("weight", "bias"),
            };
            let scale = weights.get(&format!("{name}.{scale}"), &[size])?;
            let shift = weights.get(&format!("{name}.{shift}"), &[size])?;
            Ok(engine.norm_weights(scale, Some(shift), NormKind::Layer, config.layer_norm_eps as f32))
        };
        let linear = |names: &[String], inputs: usize, outputs: usize| {
            let parts: Vec<_> = names.iter().map(|name| (name.clone(), outputs)).collect();
            architecture::linear(engine, weights, &parts, inputs)
        };
        let names = if kind == Kind::DistilBert { &DISTILBERT } else { &BERT };
        // Not as many as the configuration promises: the weights tell how many there are.
        let mut layers = Vec::new();
        for index in 0..config.num_hidden_layers {
            let at = |name: &str| format!("{}.{index}.{name}", names.layer);
            layers.push(Layer {
                qkv: linear(&[at(names.query), at(names.key), at(names.value)], size, size)?,
                out: linear(&[at(names.out)], size, size)?,
                norm: norm(&at(names.norm))?,
                up: linear(&[at(names.up)], size, config.intermediate_size)?,
                down: linear(&[at(names.down)], config.intermediate_size, size)?,
                final_norm: norm(&at(names.final_norm))?,
            });
        }
        let table =
            |name: &str, rows: usize| Ok::<_, EmbedError>(engine.table(weights.get(name, &[rows, size])?));
        Ok(Self {
            words: table(PROBE, weights.rows(PROBE).unwrap_or(config.vocab_size))?,
            positions: table("embeddings.position_embeddings.weight", config.max_position_embeddings)?,
            kinds: match kind {
                Kind::DistilBert => None,
                _ => Some(table("embeddings.token_type_embeddings.weight", config.type_vocab_size)?),
            },
            offset: config.offset(kind),
            norm: norm("embeddings.LayerNorm")?,
            attention: Attention {
                heads: config.num_attention_heads,
                kv_heads: config.num_attention_heads,
                width,
                mask: Mask::Full,
            },
            activation,
            layers,
        })
    }
}

impl<E: Engine> architecture::Architecture<E> for Bert<E> {
    fn forward(&self, engine: &E, batch: &Batch) -> E::Tensor {
        let layout = &batch.layout;
        let positions = layout.per_row(0, |_, position| position as u32 + self.offset);
        let mut x = engine.lookup(&self.words, &batch.ids);
        if let Some(kinds) = &self.kinds {
            x = engine.add(x, &engine.lookup(kinds, &vec![0; layout.rows]));
        }
        x = engine.add(x, &engine.lookup(&self.positions, &positions));
        x = engine.norm(&x, &self.norm);
        for layer in &self.layers {
            let qkv = engine.linear(&x, &layer.qkv, Activation::None);
            let seen = engine.attention(&qkv, &self.attention, layout);
            x = engine.norm(&engine.add(engine.linear(&seen, &layer.out, Activation::None), &x), &layer.norm);
            let inner = engine.linear(&x, &layer.up, self.activation);
            x = engine.norm(
                &engine.add(engine.linear(&inner, &layer.down, Activation::None), &x),
                &layer.final_norm,
            );
        }
        x
    }
}
