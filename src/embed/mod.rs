//! Text to vectors, and what the rest of the program works on: the difference of the two responses.
//!
//! [`Embedder`] is the whole contract; [`open`] makes one from what the user names. What of a pair is embedded, the
//! response alone as in the paper or the prompt with it, says the [`Recipe`]. [`Embedding`] takes a dataset
//! through both, each text once, with the cache between wherever an embedder is slower than it.

pub mod bundled;
mod dataset;
mod estimate;
mod files;
mod local;
mod recipe;
mod remote;
mod spec;
mod static_model;
mod table;
mod texts;

pub use bundled::BundledEmbedder;
pub use dataset::Embedding;
pub use estimate::{EmbeddingEstimate, estimate};
pub use files::{read_deltas, write_deltas};
pub use local::{Hardware, LocalEmbedder};
pub use recipe::Recipe;
pub use remote::RemoteEmbedder;
pub use spec::{Opened, Spec, open};
pub use static_model::StaticEmbedder;
pub use table::{TableEmbedder, TableError};
pub use texts::embed_texts;

use std::path::PathBuf;

use rayon::prelude::*;

use crate::cache::CacheError;
use crate::context::Stopped;
use crate::hub::HubError;
use crate::matrix::Matrix;
use crate::net::NetError;
use crate::store::StoreError;

/// Turns texts into vectors.
///
/// On the CPU the same text gives the same bits in every call, alone or among others; on a graphics adapter and
/// from a server the same vector up to rounding.
pub trait Embedder: Send + Sync {
    /// Name and revision, `boxed@sha256:…`, with everything that changes its vectors: what the cache and a run's
    /// record key on.
    fn identity(&self) -> String;

    /// Length of a vector; `None` where only the first answer tells.
    fn dimensions(&self) -> Option<usize>;

    /// One row per text in the order given, `[texts, dimensions]`; all zeros where a text says nothing to this
    /// embedder. Rows have length 1 where the model's files say so, as nearly all do.
    ///
    /// # Errors
    /// [`EmbedError`] where the embedder fails.
    fn embed(&self, texts: &[&str]) -> Result<Matrix, EmbedError>;

    /// Takes work until there is none, and hands in each piece as it is done. An embedder that does better with
    /// several pieces at once has its own way.
    ///
    /// # Errors
    /// Where the embedder or the work fails; what was handed in stays.
    fn embed_all(&self, work: &mut dyn Work) -> Result<(), EmbedError> {
        // Pieces of about a second: what a crash costs, how long Ctrl-C waits, and what a progress bar moves by.
        let mut amount = Amount { texts: 32, bytes: usize::MAX };
        while let Some(task) = work.next(amount)? {
            let started = std::time::Instant::now();
            let rows = self.embed(&task.texts())?;
            let cut = task.items.par_iter().filter(|(_, text)| self.is_cut(text)).map(|(slot, _)| *slot);
            work.cut(&cut.collect::<Vec<usize>>());
            work.done(task, rows)?;
            match started.elapsed().as_millis() {
                0..250 => amount.texts = (amount.texts * 2).min(4096),
                1000.. => amount.texts = (amount.texts / 2).max(1),
                _ => {}
            }
        }
        Ok(())
    }

    /// Vectors of earlier runs have this length: others are a mistake of a server's.
    fn expect(&self, _dimensions: usize) {}

    /// Whether it is so slow, or dear, that its vectors are worth keeping.
    fn cached(&self) -> bool;

    /// Longest text in tokens that it reads; `None` where there is no limit or nobody knows.
    fn max_tokens(&self) -> Option<usize> {
        None
    }

    /// The end of a text that has about so many tokens, for prompts that must leave room for the response.
    fn tail<'a>(&self, text: &'a str, tokens: usize) -> &'a str {
        // Without a tokenizer: tokens have about four bytes in English, three are on the safe side.
        &text[text.ceil_char_boundary(text.len().saturating_sub(tokens.saturating_mul(3)))..]
    }

    /// About how many tokens a text has, not cut to what is read.
    fn tokens(&self, text: &str) -> usize {
        text.len().div_ceil(4)
    }

    /// Whether a text is longer than it reads, where that can be told without embedding it.
    fn is_cut(&self, _text: &str) -> bool {
        false
    }

    /// What was found out about it since this was last asked, in sentences for the user.
    fn learnt(&self) -> Vec<String> {
        Vec::new()
    }

    /// What was used since it was opened.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// What an embedder has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Texts embedded.
    pub texts: u64,
    /// Their tokens, as far as known.
    pub tokens: u64,
    /// Texts that were longer than is read.
    pub cut: u64,
    /// Requests that were answered, whether or not the answers could be used.
    pub requests: u64,
    /// Requests that were sent, those that were refused or got no answer included.
    pub sent: u64,
}

/// Most that an embedder takes at a time.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Texts.
    pub texts: usize,
    /// Bytes of text; a single text may be longer.
    pub bytes: usize,
}

/// Texts that wait to be embedded, the longest first.
pub trait Work {
    /// Some that nobody else works on; `None` when there are none.
    ///
    /// # Errors
    /// Where the cache fails.
    fn next(&mut self, most: Amount) -> Result<Option<Task>, EmbedError>;

    /// The vectors of a task, which are kept from now on.
    ///
    /// # Errors
    /// Where they break the contract or cannot be kept.
    fn done(&mut self, task: Task, rows: Matrix) -> Result<(), EmbedError>;

    /// Which texts of the task that is handed in next were longer than the embedder reads.
    fn cut(&mut self, slots: &[usize]) {
        let _ = slots;
    }

    /// Texts that the embedder refuses, while it takes others; `said` is why. Without their vectors the work goes on.
    ///
    /// # Errors
    /// Where the cache fails.
    fn refused(&mut self, task: Task, said: &str) -> Result<(), EmbedError> {
        let _ = (task, said);
        Ok(())
    }
}

/// A piece of work.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    items: Vec<(usize, String)>,
}

impl Task {
    /// The texts.
    pub fn texts(&self) -> Vec<&str> {
        self.items.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// What helps against a model whose files are not as they should be, where its message does not say it.
fn model_hint(message: &str) -> &'static str {
    match message.contains("\nhint: ") {
        true => "",
        false => "\nhint: download or save the model again, or name another one with `--embedder`",
    }
}

/// What can go wrong between a text and its vector.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The model cannot be loaded or used.
    #[error("the embedder `{embedder}` cannot be used: {message}{hint}", hint = model_hint(.message))]
    Model {
        /// Which embedder.
        embedder: String,
        /// What it said.
        message: String,
    },
    /// No model's folder.
    #[error("`{}` is no model that can be used: {message}\nhint: {hint}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Nothing that is called so.
    #[error("there is no embedder `{name}`\nhint: {hint}")]
    Unknown {
        /// As given.
        name: String,
        /// What there is.
        hint: String,
    },
    /// A template that cannot be used.
    #[error(
        "the template `{template}` cannot be used: {message}\nhint: write {{prompt}} and {{response}} where those go"
    )]
    Template {
        /// As given.
        template: String,
        /// What is wrong.
        message: &'static str,
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
    #[error(
        "the embedder `{embedder}` returned a vector that is not finite, for the text `{text}`\nhint: the model's files may be damaged: fetch them again, or name another model"
    )]
    NotFinite {
        /// Which embedder.
        embedder: String,
        /// How the text begins.
        text: String,
    },
    /// More vectors than a limit allows.
    #[error("the embedder `{embedder}` gives {too_much}\nhint: {hint}", hint = .too_much.hint())]
    TooMuch {
        /// Which embedder.
        embedder: String,
        /// How much of what.
        too_much: crate::limits::TooMuch,
    },
    /// A server cannot be reached, or refuses.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A model cannot be fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file could not be written or read.
    #[error(transparent)]
    File(#[from] StoreError),
}

impl From<Stopped> for EmbedError {
    fn from(_: Stopped) -> Self {
        NetError::Stopped.into()
    }
}

impl EmbedError {
    /// Whether the user can mend it (exit code 2) rather than we (exit code 1).
    pub fn is_users(&self) -> bool {
        match self {
            Self::Shape { .. } => false,
            Self::File(error) => error.is_users(),
            _ => true,
        }
    }

    /// Whether the user stopped it.
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Net(NetError::Stopped) | Self::Hub(HubError::Net(NetError::Stopped)))
    }
}

/// Holds an embedder to its contract.
fn checked(embedder: &dyn Embedder, texts: &[&str], rows: &Matrix) -> Result<(), EmbedError> {
    let dimensions = embedder.dimensions().unwrap_or(rows.cols);
    if rows.cols != dimensions || dimensions == 0 || rows.values.len() != texts.len() * dimensions {
        return Err(EmbedError::Shape {
            embedder: embedder.identity(),
            rows: rows.rows(),
            cols: rows.cols,
            texts: texts.len(),
            dimensions,
        });
    }
    match rows.values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(EmbedError::NotFinite {
            embedder: embedder.identity(),
            text: texts.get(at / dimensions).map(|text| text.chars().take(60).collect()).unwrap_or_default(),
        }),
        None => Ok(()),
    }
}
