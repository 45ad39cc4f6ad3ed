//! **wimhf** — what is in my human feedback?
//!
//! A preference dataset says which of two responses people preferred, not why. This crate finds
//! out which principles the annotators followed, ranks them by how strongly each one is associated
//! with the label, and shows the evidence. One way in, one way through:
//!
//! ```text
//! pairs ──► embed ──► sae ──► describe ──► effects ──► constitution ──► report
//! (A,B,y)   [N,D]     [N,M]   words+fidelity  β, Δwin, CI   principles      files, page
//! ```
//!
//! [`analyze`](api::analyze) is the whole way in one function and leaves a run directory, described in [`store`];
//! [`Run`] opens one and has every other verb. What a call brings along from outside stands in its [`Context`].
//! Nothing here prints, reads the environment or keeps state of the process, but for its [`limits`]: the doors do that,
//! the command in `crates/cli` and the Python module in `crates/python`.
//!
//! Everything is seen from response A: an activation above zero means "more in A", a positive
//! effect means that the side with more of it is preferred more often. Every figure is an
//! association in the labels at hand, never a causal claim.
//!
//! # The house
//!
//! A module looks only at those before it in this list, and no two files look at each other; a test holds the
//! sources against it (`tests/integration/architecture.rs`).
//!
//! ```text
//! order: panics limits rng suggest matrix context statistics config store cache net hub pairs sentences embed sae dictionary llm describe effects
//!        constitution dataset run featurizer relabel contexts personalize score compare ratings audit reasons report export ops error api
//! ```

#![forbid(unsafe_code)]
// A library that prints or panics takes the choice from whoever uses it. Tests may.
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

pub mod api;
pub mod audit;
pub mod cache;
pub mod compare;
pub mod config;
pub mod constitution;
pub mod context;
pub mod contexts;
pub mod dataset;
pub mod describe;
pub mod dictionary;
pub mod effects;
pub mod embed;
pub mod error;
pub mod export;
pub mod featurizer;
#[cfg_attr(not(feature = "hub"), path = "hub_off.rs")]
pub mod hub;
pub mod limits;
pub mod llm;
pub mod matrix;
pub mod net;
pub mod ops;
pub mod pairs;
pub mod panics;
pub mod personalize;
pub mod ratings;
pub mod reasons;
pub mod relabel;
pub mod report;
pub mod rng;
pub mod run;
pub mod sae;
pub mod score;
pub mod sentences;
pub mod statistics;
pub mod store;
pub mod suggest;

pub use api::*;

#[cfg(test)]
#[path = "../tests/support/server.rs"]
mod support;
