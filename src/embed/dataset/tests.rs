use polars::prelude::{NamedFrom, Series};

use super::*;
use crate::pairs::TextColumn;

/// Texts as (A, B), with made-up ids.
pub(crate) fn pairs_of(texts: &[(&str, &str)]) -> Pairs {
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
pub(crate) struct Counting {
    pub(crate) dimensions: usize,
    pub(crate) nan_for: Option<&'static str>,
}

impl Embedder for Counting {
    fn identity(&self) -> String {
        "counting@1".into()
    }

    fn dimensions(&self) -> Option<usize> {
        Some(self.dimensions)
    }

    fn embed(&self, texts: &[&str]) -> Result<Matrix, EmbedError> {
        let row = |text: &&str| {
            let capitals = text.chars().filter(|c| c.is_uppercase()).count() as f32;
            [if self.nan_for == Some(*text) { f32::NAN } else { text.len() as f32 }, capitals]
        };
        Ok(Matrix { values: texts.iter().flat_map(row).collect(), cols: 2 })
    }

    fn cached(&self) -> bool {
        false
    }
}

/// Hears nothing.
pub(crate) struct Silent;

impl Observer for Silent {}

/// Remembers what it hears.
#[derive(Default)]
struct Hearing(Vec<usize>);

impl Observer for Hearing {
    fn advance(&mut self, pairs: usize) {
        self.0.push(pairs);
    }
}

fn deltas(pairs: &Pairs, embedder: &dyn Embedder, listener: &mut dyn Observer) -> Result<Matrix, EmbedError> {
    let recipe = Recipe::default();
    let mut embedding = Embedding::new(pairs, embedder, &recipe, &Context::default(), listener)?;
    embedding.deltas(listener)
}

#[test]
fn deltas_are_a_minus_b_in_the_order_of_the_pairs_across_blocks() {
    let texts: Vec<(String, String)> =
        (0..BLOCK * 2 + 3).map(|i| ("x".repeat(i % 17), "YY".repeat(i % 5))).collect();
    let borrowed: Vec<(&str, &str)> = texts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let mut heard = Hearing::default();
    let found = deltas(&pairs_of(&borrowed), &Counting { dimensions: 2, nan_for: None }, &mut heard).unwrap();
    assert_eq!(found.rows(), texts.len());
    for i in 0..texts.len() {
        let capitals = 2.0 * (i % 5) as f32;
        assert_eq!(found.row(i), [(i % 17) as f32 - capitals, -capitals]);
    }
    assert_eq!(heard.0, [BLOCK, BLOCK * 2, BLOCK * 2 + 3]);
}

#[test]
fn an_embedder_that_breaks_its_contract_is_named() {
    let pairs = pairs_of(&[("a", "b"), ("odd", "c")]);
    let wide = Counting { dimensions: 3, nan_for: None };
    let error = deltas(&pairs, &wide, &mut Silent).unwrap_err();
    assert_eq!(error.to_string(), "the embedder `counting@1` returned 2 × 2 values where 2 × 3 were due");
    let nan = Counting { dimensions: 2, nan_for: Some("odd") };
    let error = deltas(&pairs, &nan, &mut Silent).unwrap_err();
    assert!(matches!(&error, EmbedError::NotFinite { text, .. } if text == "odd"), "{error}");
}

#[test]
fn no_pairs_give_no_rows() {
    let none = deltas(&Pairs::default(), &Counting { dimensions: 2, nan_for: None }, &mut Silent).unwrap();
    assert_eq!((none.rows(), none.cols), (0, 2));
}
