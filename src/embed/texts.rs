//! Texts that are no pairs, sentences above all: each through the embedder once, with the cache between.

use polars::prelude::*;

use super::{EmbedError, Embedder, Embedding, Recipe};
use crate::context::{Context, Observer};
use crate::matrix::Matrix;
use crate::pairs::{Pairs, TextColumn};
use crate::store::EmbeddingRecord;

/// The vectors of `count` texts, `[texts, dimensions]`, and what it took. A text that stands in a dataset as a whole
/// response, embedded alone, shares its place in the cache. `listener` hears of texts.
///
/// # Errors
/// Where the embedder or the cache fails; what was embedded by then is in the cache.
pub fn embed_texts<'a>(
    embedder: &dyn Embedder,
    count: usize,
    text: &dyn Fn(usize) -> &'a str,
    context: &Context,
    listener: &mut dyn Observer,
) -> Result<(Matrix, EmbeddingRecord), EmbedError> {
    // The way of pairs (claims, longest first, a cache that cannot be used) serves any two columns of texts: the first
    // half of ours are the A, the second half the B. An odd one out stands on both sides and is embedded once.
    let half = count.div_ceil(2);
    let column = |from: usize| {
        let texts = (from..from + half).map(text);
        TextColumn(StringChunked::from_iter_values(PlSmallStr::EMPTY, texts))
    };
    let pairs = Pairs {
        pair_id: vec![String::new(); half],
        response_a: column(0),
        response_b: column(count - half),
        ..Pairs::default()
    };
    let recipe = Recipe::default();
    let mut twice = Twice(listener, count);
    let mut embedding = Embedding::new(&pairs, embedder, &recipe, context, &mut twice)?;
    embedding.is_loose = true;
    let mut vectors = Matrix { values: Vec::new(), cols: embedder.dimensions().unwrap_or(0) };
    embedding.for_each_block(&mut twice, |start, a, b| {
        if vectors.values.is_empty() {
            vectors = Matrix::zeros(count, a.cols);
        }
        let cols = vectors.cols;
        for (first, rows) in [(start, a), (count - half + start, b)] {
            if let Some(to) = vectors.values.get_mut(first * cols..first * cols + rows.values.len()) {
                to.copy_from_slice(&rows.values);
            }
        }
        Ok::<_, EmbedError>(())
    })?;
    let mut record = embedding.record.clone();
    record.texts = record.texts.min(count);
    record.embedded = record.embedded.min(count);
    Ok((vectors, record))
}

/// Counts texts where its owner counts pairs.
struct Twice<'l>(&'l mut dyn Observer, usize);

impl Observer for Twice<'_> {
    fn advance(&mut self, pairs: usize) {
        self.0.advance((2 * pairs).min(self.1));
    }

    fn note(&mut self, text: &str) {
        self.0.note(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::BundledEmbedder;

    struct Silent;

    impl Observer for Silent {}

    #[test]
    fn every_text_has_its_own_vector() {
        let embedder = BundledEmbedder::load().unwrap();
        let texts: Vec<String> = (0..2501).map(|i| format!("Sentence number {i} of bread.")).collect();
        for count in [0, 1, 2, 3, 2500, 2501] {
            let (found, record) =
                embed_texts(&embedder, count, &|i| &texts[i], &Context::default(), &mut Silent).unwrap();
            let plain: Vec<&str> = texts[..count].iter().map(String::as_str).collect();
            let expected = embedder.embed(&plain).unwrap();
            assert_eq!(found.values, expected.values, "{count}");
            assert_eq!((found.cols, record.texts), (256, count));
        }
    }
}
