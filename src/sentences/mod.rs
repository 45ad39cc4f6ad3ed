//! What a response says, piece by piece: its sentences, list items, headings, table rows and code blocks.
//!
//! ```text
//! split    a text ──► spans with their kind
//! near     answers to one prompt in nearly the same words, once
//! table    the responses of a dataset ──► each different sentence once, and which response holds which
//! ```
//!
//! A response says many things at once, and the mean vector of all of them says none. The autoencoder
//! over sentences ([`crate::sae`]) reads what this module takes apart.

mod near;
mod split;
mod table;

use serde::{Deserialize, Serialize};

pub use near::{NEAR, without_near_copies};
pub use split::{LONGEST, LONGEST_CODE, split};
pub use table::{SentenceTable, Which, weighted};

/// What a piece of a response is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum SentenceKind {
    /// A sentence of running text.
    #[default]
    Prose,
    /// A sentence of a list item, with the item's marker where it is the first.
    ListItem,
    /// A heading: Markdown's, an underlined line, or a line that is bold as a whole.
    Heading,
    /// A row of a table.
    TableRow,
    /// A fenced block of code, or a part of a very long one.
    Code,
    /// A sentence of a quotation (`> …`).
    Quote,
}

impl SentenceKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Prose, Self::ListItem, Self::Heading, Self::TableRow, Self::Code, Self::Quote];

    /// Its name in files, `list_item`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prose => "prose",
            Self::ListItem => "list_item",
            Self::Heading => "heading",
            Self::TableRow => "table_row",
            Self::Code => "code",
            Self::Quote => "quote",
        }
    }
}

/// A piece of a text: its bytes `start..end`, without white space at either end, never empty.
///
/// Markers (`- `, `2. `, `## `, `> `, `Human: `, fences) are inside. They are part of what a reader sees quoted,
/// and embedders see them, too: that a response has lists is found from its sentences, without a detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentence {
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
    /// What it is.
    pub kind: SentenceKind,
}

impl Sentence {
    /// Its words in `text`, the text that it was split from.
    pub fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or("")
    }
}
