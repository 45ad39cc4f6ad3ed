//! A dictionary: features of sentences that were learned once, with names that were given and checked once.
//!
//! ```text
//! train      responses ──► sentences ──► a sparse autoencoder, entries without names
//! sentences  per entry some sentences in which it is clear, and some in which it is silent: to be named, and checked
//! names      names and what readers said ──► entries
//! ```
//!
//! A dictionary makes names good without a language model, and features the same in every run: runs can be compared,
//! and a few hundred pairs are enough. It is a folder with three files, described in [`WEIGHTS_FILE`],
//! [`ENTRIES_FILE`] and [`CARD_FILE`]; it belongs to one embedder. What nobody could name stays nameless and says
//! nothing.

mod entry;
mod names;
mod sentences;
mod train;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::matrix::Matrix;
use crate::sae::{SaeError, SentenceSae, SparseRows};
use crate::store::StoreError;

pub use entry::{Entry, EntryKind, Truth};
pub use names::Naming;
pub use sentences::{ExportSettings, Exported, ExportedSentence, Split, export};
pub use train::{Listener, Settings, train};

/// The autoencoder, as [`SentenceSae::save`] writes it.
pub const WEIGHTS_FILE: &str = "dictionary.safetensors";
/// One [`Entry`] a line, in the order of the features.
pub const ENTRIES_FILE: &str = "entries.jsonl";
/// The [`Card`].
pub const CARD_FILE: &str = "dictionary.json";
/// The dictionaries in the program: weights, entries and card of each.
const BUNDLED: &[[&[u8]; 3]] = &[[
    include_bytes!("../../data/dictionary/boxed/dictionary.safetensors"),
    include_bytes!("../../data/dictionary/boxed/entries.jsonl"),
    include_bytes!("../../data/dictionary/boxed/dictionary.json"),
]];
/// Version of the three; grows when a reader has to change.
const SCHEMA_VERSION: u32 = 1;

/// How a dictionary came to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Version of the files.
    pub schema_version: u32,
    /// The embedder whose vectors it reads, with its revision: [`crate::embed::Embedder::identity`].
    pub embedder: String,
    /// Length of a vector, D.
    pub dimensions: usize,
    /// Number of features, M.
    pub features: usize,
    /// Features active in a sentence on average, K.
    pub active: usize,
    /// What it was trained on: names of data sets.
    pub sources: Vec<String>,
    /// Different sentences that it was trained on.
    pub sentences: usize,
    /// Share of the prompts whose responses training did not see.
    pub held_back: f64,
    /// Of training and of what is held back.
    pub seed: u64,
    /// NMSE on sentences that training has not seen.
    pub nmse: f64,
    /// The program that trained it.
    pub version: String,
}

/// Features of sentences with names.
#[derive(Debug, Clone, PartialEq)]
pub struct Dictionary {
    /// How it came to be.
    pub card: Card,
    /// One per feature, in the features' order.
    pub entries: Vec<Entry>,
    sae: SentenceSae,
    /// Of the weights' file.
    digest: Vec<u8>,
    version: String,
}

/// What can go wrong with a dictionary.
#[derive(Debug, thiserror::Error)]
pub enum DictionaryError {
    /// A file that cannot be read.
    #[error("cannot read `{}`: {}\nhint: a dictionary is a folder with `{WEIGHTS_FILE}`, `{ENTRIES_FILE}` and `{CARD_FILE}`, as `wimhf dictionary train` writes it", path.display(), crate::limits::said(.source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("`{}` is no dictionary that can be used: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where there is one.
        reason: String,
    },
    /// Vectors of another embedder.
    #[error(
        "the dictionary reads vectors of `{expected}`, these are of `{found}`\nhint: use that embedder, or train a dictionary for yours with `wimhf dictionary train`"
    )]
    Embedder {
        /// The dictionary's.
        expected: String,
        /// The one in use.
        found: String,
    },
    /// No entry of that name.
    #[error("the dictionary has no entry `{id}`{}", near.as_ref().map(|near| format!("\nhint: did you mean `{near}`?")).unwrap_or_default())]
    NoEntry {
        /// As given.
        id: String,
        /// One that is called nearly so.
        near: Option<String>,
    },
    /// Nothing to learn from.
    #[error("{found} different sentences to train on; {needed} are needed at least\nhint: name more data")]
    Few {
        /// Sentences there are.
        found: usize,
        /// Sentences there have to be.
        needed: usize,
    },
    /// Training failed, or was stopped.
    #[error(transparent)]
    Sae(#[from] SaeError),
    /// Embedding failed, or was stopped.
    #[error(transparent)]
    Embed(#[from] crate::embed::EmbedError),
    /// A file that cannot be written.
    #[error(transparent)]
    Run(#[from] StoreError),
}

impl DictionaryError {
    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        match self {
            Self::Embed(error) => error.is_users(),
            Self::Run(error) => error.is_users(),
            Self::Sae(SaeError::Diverged { .. } | SaeError::DeviceFailed { .. }) => false,
            _ => true,
        }
    }

    /// Whether the user stopped it.
    pub fn is_stop(&self) -> bool {
        match self {
            Self::Embed(error) => error.is_stop(),
            Self::Sae(SaeError::Stopped { .. }) => true,
            _ => false,
        }
    }
}

impl Dictionary {
    /// The dictionary in the program that reads the vectors of the embedder with this identity; `None` where there is
    /// none.
    ///
    /// # Errors
    /// [`DictionaryError::Format`] only where the program was built from damaged files.
    pub fn bundled_for(identity: &str) -> Result<Option<Self>, DictionaryError> {
        for [weights, entries, card] in BUNDLED {
            let about: Card = serde_json::from_slice(card).map_err(|error| DictionaryError::Format {
                path: CARD_FILE.into(),
                reason: error.to_string(),
            })?;
            if about.embedder == identity {
                return Self::from_bytes(weights, entries, card, Path::new("")).map(Some);
            }
        }
        Ok(None)
    }

    /// The dictionary in the program for the bundled embedder.
    ///
    /// # Errors
    /// As for [`Self::bundled_for`].
    pub fn bundled() -> Result<Self, DictionaryError> {
        match BUNDLED.first() {
            Some([weights, entries, card]) => Self::from_bytes(weights, entries, card, Path::new("")),
            None => Err(DictionaryError::Format { path: CARD_FILE.into(), reason: "there is none".into() }),
        }
    }

    /// Reads a dictionary's folder.
    ///
    /// # Errors
    /// [`DictionaryError::Unreadable`], [`DictionaryError::Format`].
    pub fn load(folder: &Path) -> Result<Self, DictionaryError> {
        let read = |name: &str| {
            let path = folder.join(name);
            crate::limits::read(&path).map_err(|source| DictionaryError::Unreadable { path, source })
        };
        Self::from_bytes(&read(WEIGHTS_FILE)?, &read(ENTRIES_FILE)?, &read(CARD_FILE)?, folder)
    }

    /// The same from the files' bytes; `folder` is for messages.
    ///
    /// # Errors
    /// [`DictionaryError::Format`].
    pub fn from_bytes(
        weights: &[u8],
        entries: &[u8],
        card: &[u8],
        folder: &Path,
    ) -> Result<Self, DictionaryError> {
        let broken = |file: &str, reason: String| DictionaryError::Format { path: folder.join(file), reason };
        let sae = SentenceSae::from_bytes(weights, &folder.join(WEIGHTS_FILE))?;
        let about: Card =
            serde_json::from_slice(card).map_err(|error| broken(CARD_FILE, error.to_string()))?;
        if about.schema_version != SCHEMA_VERSION {
            let reason =
                format!("it has version {}, this program reads {SCHEMA_VERSION}", about.schema_version);
            return Err(broken(CARD_FILE, reason));
        }
        let text = std::str::from_utf8(entries).map_err(|error| broken(ENTRIES_FILE, error.to_string()))?;
        let mut parsed: Vec<Entry> = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let entry = serde_json::from_str(line)
                .map_err(|error| broken(ENTRIES_FILE, format!("line {}: {error}", number + 1)))?;
            parsed.push(entry);
        }
        if parsed.len() != sae.features()
            || about.features != sae.features()
            || about.dimensions != sae.dimensions()
        {
            let reason = format!("{} entries for {} features", parsed.len(), sae.features());
            return Err(broken(ENTRIES_FILE, reason));
        }
        let mut ids: Vec<&str> = parsed.iter().map(|entry| entry.id.as_str()).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|ids| ids.first() == ids.last()) {
            return Err(broken(
                ENTRIES_FILE,
                format!("the entry `{}` stands twice", twice.first().unwrap_or(&"")),
            ));
        }
        Ok(Self::new(sae, parsed, about, Sha256::digest(weights).to_vec()))
    }

    fn new(sae: SentenceSae, entries: Vec<Entry>, card: Card, digest: Vec<u8>) -> Self {
        Self { card, entries, sae, digest, version: String::new() }.renewed()
    }

    /// The same with the version that its weights and entries deserve.
    fn renewed(mut self) -> Self {
        let mut hash = Sha256::new();
        hash.update(&self.digest);
        for entry in &self.entries {
            // Whatever is said of a text hangs on these.
            hash.update(entry.said().as_bytes());
        }
        let digest = format!("{:x}", hash.finalize());
        self.version = digest.get(..12).unwrap_or_default().to_owned();
        self
    }

    /// Writes the three files, each under a temporary name first.
    ///
    /// # Errors
    /// [`DictionaryError::Sae`], [`DictionaryError::Run`].
    pub fn save(&self, folder: &Path) -> Result<(), DictionaryError> {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Io {
            action: "create",
            path: folder.into(),
            source,
        })?;
        self.sae.save(&folder.join(WEIGHTS_FILE), true)?;
        self.save_entries(folder)?;
        let path = folder.join(CARD_FILE);
        let broken = |path: &Path, error: serde_json::Error| DictionaryError::Format {
            path: path.into(),
            reason: error.to_string(),
        };
        let mut card = serde_json::to_vec_pretty(&self.card).map_err(|error| broken(&path, error))?;
        card.push(b'\n');
        crate::store::write_bytes(&path, &card)?;
        Ok(())
    }

    /// Writes [`ENTRIES_FILE`] alone.
    ///
    /// # Errors
    /// [`DictionaryError::Run`].
    pub fn save_entries(&self, folder: &Path) -> Result<(), DictionaryError> {
        let path = folder.join(ENTRIES_FILE);
        let mut lines = Vec::new();
        for entry in &self.entries {
            serde_json::to_writer(&mut lines, entry)
                .map_err(|error| DictionaryError::Format { path: path.clone(), reason: error.to_string() })?;
            lines.push(b'\n');
        }
        crate::store::write_bytes(&path, &lines)?;
        Ok(())
    }

    /// Twelve hex digits that change with the weights, the names and the levels; stands in every run.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The autoencoder.
    pub fn sae(&self) -> &SentenceSae {
        &self.sae
    }

    /// Activations `[sentences, entries]` of the vectors `x` `[sentences, dimensions]`; an entry is clear in a sentence
    /// from its [`Entry::clear_level`] on.
    ///
    /// # Errors
    /// [`SaeError::Dimensions`], [`SaeError::NotFinite`].
    pub fn activations(&self, x: &Matrix) -> Result<SparseRows, SaeError> {
        self.sae.activations(x)
    }

    /// Holds an embedder's identity against the one that this reads.
    ///
    /// # Errors
    /// [`DictionaryError::Embedder`].
    pub fn expect_embedder(&self, identity: &str) -> Result<(), DictionaryError> {
        if self.card.embedder == identity {
            Ok(())
        } else {
            Err(DictionaryError::Embedder {
                expected: self.card.embedder.clone(),
                found: identity.to_owned(),
            })
        }
    }

    /// The number of an entry, by its id.
    ///
    /// # Errors
    /// [`DictionaryError::NoEntry`] with what was probably meant.
    pub fn find(&self, id: &str) -> Result<usize, DictionaryError> {
        self.entries.iter().position(|entry| entry.id == id).ok_or_else(|| {
            let names = self.entries.iter().map(|entry| entry.id.as_str());
            let near = crate::suggest::nearest(id, names).map(str::to_owned);
            DictionaryError::NoEntry { id: id.chars().take(80).collect(), near }
        })
    }

    /// Numbers of the entries whose name, definition or examples hold all of `words`, best first: in the name before in
    /// the definition before in the examples.
    pub fn search(&self, words: &[String]) -> Vec<usize> {
        let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
        let mut found: Vec<(usize, usize)> = Vec::new();
        for (number, entry) in self.entries.iter().enumerate() {
            let name = entry.name.as_deref().unwrap_or("").to_lowercase();
            let definition = entry.definition.as_deref().unwrap_or("").to_lowercase();
            let examples = entry.examples.join("\n").to_lowercase();
            let place = |word: &String| {
                let places = [&name, &definition, &examples];
                places.iter().position(|place| place.contains(word.as_str()))
            };
            let places: Option<Vec<usize>> = words.iter().map(place).collect();
            if let Some(places) = places.filter(|places| !places.is_empty()) {
                found.push((places.iter().sum(), number));
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(_, number)| number).collect()
    }
}

#[cfg(test)]
mod tests;
