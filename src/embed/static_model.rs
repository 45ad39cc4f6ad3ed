//! `static:FOLDER`: any model in model2vec's format, as the boxed one is.

use std::path::Path;

use model2vec_rs::model::StaticModel;
use sha2::{Digest, Sha256};

use super::bundled::MAX_BYTES;
use super::{EmbedError, Embedder};
use crate::matrix::Matrix;
use crate::store::StoreError;

/// A static model from a folder with `model.safetensors`, `tokenizer.json` and `config.json`.
#[derive(Debug, Clone)]
pub struct StaticEmbedder {
    model: StaticModel,
    identity: String,
}

impl StaticEmbedder {
    /// Loads the folder's three files.
    ///
    /// # Errors
    /// [`EmbedError::Folder`] where they are not there or no such model.
    pub fn load(folder: &Path) -> Result<Self, EmbedError> {
        let wrong = |message: String| {
            EmbedError::Folder {
            path: folder.into(),
            message,
            hint: "a static model has `model.safetensors`, `tokenizer.json` and `config.json`, as model2vec writes them"
                .into(),
        }
        };
        let mut hash = Sha256::new();
        let mut read = |name: &str| {
            let path = folder.join(name);
            if !path.is_file() {
                return Err(wrong(format!("it has no `{name}`")));
            }
            let bytes = crate::limits::read(&path).map_err(|source| StoreError::Io {
                action: "read",
                path,
                source,
            })?;
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
            Ok(bytes)
        };
        let (model, tokenizer, config) =
            (read("model.safetensors")?, read("tokenizer.json")?, read("config.json")?);
        // The library takes files apart without looking whether they are whole.
        let loaded = std::panic::catch_unwind(|| StaticModel::from_bytes(&tokenizer, &model, &config, None));
        let model = match loaded {
            Ok(Ok(model)) => model,
            Ok(Err(error)) => return Err(wrong(format!("{error:#}"))),
            Err(_) => return Err(wrong("its files contradict each other".into())),
        };
        Ok(Self { model, identity: format!("static@sha256:{:x}", hash.finalize()) })
    }
}

impl Embedder for StaticEmbedder {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn dimensions(&self) -> Option<usize> {
        Some(self.model.dim())
    }

    /// Texts beyond the boxed embedder's limit are cut there.
    fn embed(&self, texts: &[&str]) -> Result<Matrix, EmbedError> {
        let owned: Vec<String> =
            texts.iter().map(|text| text[..text.floor_char_boundary(MAX_BYTES)].to_owned()).collect();
        Ok(Matrix { values: self.model.encode_flat_with_args(&owned, None), cols: self.model.dim() })
    }

    /// A look into the cache takes as long as the vector itself.
    fn cached(&self) -> bool {
        false
    }
}
