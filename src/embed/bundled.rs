//! The embedder that is in the program: a static token-embedding model, distilled from
//! all-MiniLM-L6-v2 by `notebooks/make_boxed_embedder.py`; its card is `data/boxed/README.md`.

use model2vec_rs::model::StaticModel;
use sha2::{Digest, Sha256};

use super::{EmbedError, Embedder};
use crate::matrix::Matrix;

const MODEL: &[u8] = include_bytes!("../../data/boxed/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../../data/boxed/tokenizer.json");
const CONFIG: &[u8] = include_bytes!("../../data/boxed/config.json");

/// Bytes of a text that are read, about a million tokens. The vector of a text is a mean that has
/// long settled by then; the limit only keeps a broken cell of a gigabyte from filling the memory.
pub const MAX_BYTES: usize = 4 << 20;

/// The boxed model: weighted mean of token vectors, scaled to length 1, deterministic.
///
/// Unknown tokens are left out; a text without a known one is the zero vector.
#[derive(Debug, Clone)]
pub struct BundledEmbedder {
    model: StaticModel,
    identity: String,
}

impl BundledEmbedder {
    /// Unpacks the model that was compiled in; takes some tens of milliseconds.
    ///
    /// # Errors
    /// [`EmbedError::Model`] only where the program was built from damaged files.
    pub fn load() -> Result<Self, EmbedError> {
        let model = StaticModel::from_bytes(TOKENIZER, MODEL, CONFIG, Some(true))
            .map_err(|error| EmbedError::Model { embedder: "boxed".into(), message: format!("{error:#}") })?;
        let mut hash = Sha256::new();
        for file in [MODEL, TOKENIZER, CONFIG] {
            hash.update(file);
        }
        Ok(Self { model, identity: format!("boxed@sha256:{:x}", hash.finalize()) })
    }

    /// Whole words of the tokenizer's vocabulary that can name something, the more frequent ones first.
    pub fn vocabulary() -> Vec<String> {
        #[derive(serde::Deserialize)]
        struct File {
            model: Model,
        }
        #[derive(serde::Deserialize)]
        struct Model {
            vocab: std::collections::HashMap<String, usize>,
        }
        let Ok(file) = serde_json::from_slice::<File>(TOKENIZER) else { return Vec::new() };
        // Before these come parts of words and function words, after them names and rare words.
        const NAMING: std::ops::Range<usize> = 2_000..14_000;
        let names = |word: &str| word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_lowercase());
        let mut words: Vec<(usize, String)> = (file.model.vocab.into_iter())
            .filter(|(word, number)| NAMING.contains(number) && names(word))
            .map(|(word, number)| (number, word))
            .collect();
        words.sort_unstable();
        words.into_iter().map(|(_, word)| word).collect()
    }
}

impl Embedder for BundledEmbedder {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn dimensions(&self) -> Option<usize> {
        Some(self.model.dim())
    }

    /// Texts beyond [`MAX_BYTES`] are cut there, at a character's boundary.
    fn embed(&self, texts: &[&str]) -> Result<Matrix, EmbedError> {
        let owned: Vec<String> =
            texts.iter().map(|text| text[..text.floor_char_boundary(MAX_BYTES)].to_owned()).collect();
        Ok(Matrix { values: self.model.encode_flat_with_args(&owned, None), cols: self.model.dim() })
    }

    /// A look into the cache takes as long as the vector itself: some ten microseconds.
    fn cached(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: [&str; 8] = [
        "I'm sorry, but I can't help with that.",
        "",
        "Sure!\n\n- Preheat the oven\n- Mix flour & sugar\n\n**Enjoy!** 😀",
        "Конечно, вот рецепт. 当然可以。بالتأكيد",
        "\u{0}\u{fffd} \t",
        "```python\nprint('hi')\n```",
        "[MASK] [UNK] [CLS]",
        "e\u{301}te\u{301}, naïve — “quoted”",
    ];

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn a_row_of_a_batch_is_the_row_alone_bit_for_bit() {
        let embedder = BundledEmbedder::load().unwrap();
        let many: Vec<&str> = MIXED.iter().copied().cycle().take(100).collect();
        let batch = embedder.embed(&many).unwrap();
        assert_eq!((batch.rows(), Some(batch.cols)), (100, embedder.dimensions()));
        for (row, text) in many.iter().enumerate() {
            let alone = embedder.embed(&[text]).unwrap();
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(batch.row(row)), bits(&alone.values), "{text:?}");
        }
    }

    #[test]
    fn rows_have_length_one_or_are_zero_and_are_finite() {
        let embedder = BundledEmbedder::load().unwrap();
        let rows = embedder.embed(&MIXED).unwrap();
        for (row, text) in MIXED.iter().enumerate() {
            let norm = cosine(rows.row(row), rows.row(row));
            let silent = ["", "\u{0}\u{fffd} \t", "[MASK] [UNK] [CLS]"].contains(text);
            let expected = if silent { 0.0 } else { 1.0 };
            assert!((norm - expected).abs() < 1e-5, "{text:?}: {norm}");
        }
    }

    #[test]
    fn huge_texts_are_read_to_the_limit_and_no_further() {
        let embedder = BundledEmbedder::load().unwrap();
        let megabyte = "Bake the bread slowly. ".repeat(45_000);
        let sentence = embedder.embed(&["Bake the bread slowly. "]).unwrap();
        let long = embedder.embed(&[megabyte.as_str()]).unwrap();
        assert!(cosine(&long.values, &sentence.values) > 0.9999);

        // Four-byte characters across the limit, then text that must not be read.
        let mut cut = "x".to_owned() + &"😀".repeat(MAX_BYTES / 4);
        let before = embedder.embed(&[cut.as_str()]).unwrap();
        cut.push_str(&"bread ".repeat(1000));
        assert_eq!(embedder.embed(&[cut.as_str()]).unwrap(), before);
    }

    #[test]
    fn meaning_and_markup_both_show() {
        let embedder = BundledEmbedder::load().unwrap();
        let e = embedder
            .embed(&[
                "I refuse to answer this question.",
                "I will not reply to that.",
                "Whisk eggs with flour and butter.",
                "One thing. Another thing.",
                "\n- One thing.\n- Another thing.",
                "One thing. Another thing. 🎉",
            ])
            .unwrap();
        assert!(cosine(e.row(0), e.row(1)) > cosine(e.row(0), e.row(2)) + 0.1);
        for marked in [4, 5] {
            assert!(cosine(e.row(3), e.row(marked)) < 0.99, "markup of row {marked} is lost");
        }
    }

    #[test]
    fn it_agrees_with_the_formula_in_numpy() {
        #[derive(serde::Deserialize)]
        struct Case {
            text: String,
            vector: Vec<f32>,
        }
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/fixtures/embed/boxed.json")).unwrap();
        assert!(cases.len() >= 10);
        let embedder = BundledEmbedder::load().unwrap();
        for case in cases {
            let found = embedder.embed(&[case.text.as_str()]).unwrap();
            assert_eq!(found.values.len(), case.vector.len());
            let worst = found.values.iter().zip(&case.vector).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{:?}: {worst}", case.text);
        }
    }

    #[test]
    fn the_identity_names_the_files() {
        let identity = BundledEmbedder::load().unwrap().identity();
        let digest = identity.strip_prefix("boxed@sha256:").unwrap();
        assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{identity}");
    }
}
