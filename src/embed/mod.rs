//! Text to vectors, and what the rest of the program works on: the difference of the two responses.
//!
//! [`Embedder`] is the whole contract. Responses are embedded alone, as in the paper: the prompt is
//! the same on both sides and would add nothing to the difference.

pub mod boxed;
mod estimate;
mod files;

pub use boxed::BoxedEmbedder;
pub use estimate::{Estimate, estimate};
pub use files::{read_deltas, save, write_deltas};

use crate::matrix::Matrix;
use crate::pairs::Pairs;
use crate::run::RunError;

/// Pairs embedded at a time: what is in memory besides the deltas is two such blocks.
const BATCH: usize = 1024;

/// Turns texts into vectors.
///
/// The same text gives the same bits in every call, alone or among others.
pub trait Embedder: Send + Sync {
    /// Name and revision, `boxed@sha256:…`: what a cache or a run record keys on.
    fn identity(&self) -> String;

    /// Length of a vector.
    fn dimensions(&self) -> usize;

    /// One row per text in the order given, `[texts, dimensions]`, each of length 1, or all zeros
    /// where a text says nothing to this embedder.
    ///
    /// # Errors
    /// [`EmbedError::Model`] where the embedder fails.
    fn embed(&self, texts: &[&str]) -> Result<Matrix, EmbedError>;
}

/// What can go wrong between a text and its vector.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The model cannot be loaded or used.
    #[error("the embedder `{embedder}` failed: {message}")]
    Model {
        /// Which embedder.
        embedder: String,
        /// What it said.
        message: String,
    },
    /// An embedder returned another shape than it promised.
    #[error(
        "the embedder `{embedder}` returned {rows} × {cols} values where {texts} × {dimensions} were due"
    )]
    Shape {
        /// Which embedder.
        embedder: String,
        /// Rows returned.
        rows: usize,
        /// Columns returned.
        cols: usize,
        /// Rows asked for.
        texts: usize,
        /// Columns promised.
        dimensions: usize,
    },
    /// An embedder returned NaN or infinity.
    #[error("the embedder `{embedder}` returned a vector that is not finite, for pair {pair}")]
    NotFinite {
        /// Which embedder.
        embedder: String,
        /// Index of the pair, from 0.
        pair: usize,
    },
    /// A file could not be written or read.
    #[error(transparent)]
    File(#[from] RunError),
}

/// Both responses' embeddings for consecutive pairs, each `[batch, dimensions]`.
#[derive(Debug)]
struct Batch {
    /// Index of the first pair.
    start: usize,
    a: Matrix,
    b: Matrix,
}

/// Embeds the pairs block by block and hands each block to `sink`; `progress` hears the pairs done.
fn for_each_batch<E: From<EmbedError>>(
    pairs: &Pairs,
    embedder: &dyn Embedder,
    progress: &mut dyn FnMut(usize),
    mut sink: impl FnMut(Batch) -> Result<(), E>,
) -> Result<(), E> {
    let total = pairs.pair_id.len();
    for start in (0..total).step_by(BATCH) {
        let end = (start + BATCH).min(total);
        let texts_a: Vec<&str> = (start..end).map(|pair| pairs.response_a.get(pair)).collect();
        let texts_b: Vec<&str> = (start..end).map(|pair| pairs.response_b.get(pair)).collect();
        let (a, b) =
            rayon::join(|| checked(embedder, &texts_a, start), || checked(embedder, &texts_b, start));
        sink(Batch { start, a: a?, b: b? })?;
        progress(end);
    }
    Ok(())
}

/// Embeds, and holds the embedder to its contract; `start` is the first text's pair.
fn checked(embedder: &dyn Embedder, texts: &[&str], start: usize) -> Result<Matrix, EmbedError> {
    let rows = embedder.embed(texts)?;
    let dimensions = embedder.dimensions();
    if rows.cols != dimensions || rows.values.len() != texts.len() * dimensions {
        return Err(EmbedError::Shape {
            embedder: embedder.identity(),
            rows: rows.rows(),
            cols: rows.cols,
            texts: texts.len(),
            dimensions,
        });
    }
    match rows.values.iter().position(|value| !value.is_finite()) {
        Some(at) => {
            Err(EmbedError::NotFinite { embedder: embedder.identity(), pair: start + at / dimensions.max(1) })
        }
        None => Ok(rows),
    }
}

/// The deltas e(A) − e(B), `[pairs, dimensions]`; `progress` is called with the number of pairs done.
///
/// # Errors
/// Where the embedder fails or breaks its contract.
pub fn deltas(
    pairs: &Pairs,
    embedder: &dyn Embedder,
    progress: &mut dyn FnMut(usize),
) -> Result<Matrix, EmbedError> {
    let cols = embedder.dimensions();
    let mut values = Vec::with_capacity(pairs.pair_id.len() * cols);
    for_each_batch(pairs, embedder, progress, |batch| {
        values.extend(batch.a.values.iter().zip(&batch.b.values).map(|(a, b)| a - b));
        Ok::<_, EmbedError>(())
    })?;
    Ok(Matrix { values, cols })
}

#[cfg(test)]
mod tests {
    use polars::prelude::{NamedFrom, Series};

    use super::*;
    use crate::pairs::TextColumn;

    /// Texts as (A, B), with made-up ids.
    pub(super) fn pairs_of(texts: &[(&str, &str)]) -> Pairs {
        let column = |values: Vec<&str>| {
            TextColumn(Series::new("text".into(), values).str().expect("a text column").clone())
        };
        Pairs {
            pair_id: (0..texts.len()).map(|pair| format!("{pair:032x}")).collect(),
            response_a: column(texts.iter().map(|(a, _)| *a).collect()),
            response_b: column(texts.iter().map(|(_, b)| *b).collect()),
            ..Pairs::default()
        }
    }

    /// Number of bytes and of capital letters; other `dimensions` than 2, and NaN, break the contract.
    pub(super) struct Counting {
        pub(super) dimensions: usize,
        pub(super) nan_for: Option<&'static str>,
    }

    impl Embedder for Counting {
        fn identity(&self) -> String {
            "counting@1".into()
        }

        fn dimensions(&self) -> usize {
            self.dimensions
        }

        fn embed(&self, texts: &[&str]) -> Result<Matrix, EmbedError> {
            let row = |text: &&str| {
                let capitals = text.chars().filter(|c| c.is_uppercase()).count() as f32;
                [if self.nan_for == Some(*text) { f32::NAN } else { text.len() as f32 }, capitals]
            };
            Ok(Matrix { values: texts.iter().flat_map(row).collect(), cols: 2 })
        }
    }

    #[test]
    fn deltas_are_a_minus_b_in_the_order_of_the_pairs_across_batches() {
        let texts: Vec<(String, String)> =
            (0..BATCH * 2 + 3).map(|i| ("x".repeat(i % 17), "YY".repeat(i % 5))).collect();
        let borrowed: Vec<(&str, &str)> = texts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let mut heard = Vec::new();
        let found = deltas(&pairs_of(&borrowed), &Counting { dimensions: 2, nan_for: None }, &mut |done| {
            heard.push(done);
        })
        .unwrap();
        assert_eq!(found.rows(), texts.len());
        for i in 0..texts.len() {
            let capitals = 2.0 * (i % 5) as f32;
            assert_eq!(found.row(i), [(i % 17) as f32 - capitals, -capitals]);
        }
        assert_eq!(heard, [BATCH, BATCH * 2, BATCH * 2 + 3]);
    }

    #[test]
    fn an_embedder_that_breaks_its_contract_is_named() {
        let pairs = pairs_of(&[("a", "b"), ("odd", "c")]);
        let wide = Counting { dimensions: 3, nan_for: None };
        let error = deltas(&pairs, &wide, &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the embedder `counting@1` returned 2 × 2 values where 2 × 3 were due");
        let nan = Counting { dimensions: 2, nan_for: Some("odd") };
        let error = deltas(&pairs, &nan, &mut |_| ()).unwrap_err();
        assert!(matches!(error, EmbedError::NotFinite { pair: 1, .. }), "{error}");
    }

    #[test]
    fn no_pairs_give_no_rows() {
        let none =
            deltas(&Pairs::default(), &Counting { dimensions: 2, nan_for: None }, &mut |_| ()).unwrap();
        assert_eq!((none.rows(), none.cols), (0, 2));
    }
}
