//! The explorer of **wimhf**: a finished run's pairs on a local page, what people decide about them, and its figures as
//! tools for a language model.
//!
//! ```text
//! opened    a run, read once; columns and presence as they are needed
//! search    full text of prompts and responses (SQLite FTS5)
//! pairs     filters, sorting, one pair with its marks
//! journal   what people decided, one row each, never lost and never doubled
//! review validate edits rating   what is made of it
//! find tools ask mcp       the run's figures for a language model, every figure checked
//! server    HTTP on 127.0.0.1, with a token
//! ```
//!
//! Nothing of the run itself is changed: what people decide stands in `RUN/explore/` and `RUN/edits.toml`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    warn(
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::too_many_lines
    )
)]

pub mod ask;
pub mod checked;
pub mod columns;
pub mod download;
pub mod edits;
pub mod error;
pub mod find;
pub mod journal;
pub mod map;
pub mod mcp;
pub mod opened;
pub mod pairs;
pub mod presence;
pub mod rating;
pub mod review;
pub mod search;
pub mod server;
pub mod sql;
pub mod tools;
pub mod validate;

pub use error::ExploreError;
pub use opened::Opened;
pub use server::{Options, serve};
