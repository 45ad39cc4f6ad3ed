//! **wimhf** — what is in my human feedback?
//!
//! A preference dataset says which of two responses people preferred, not why. This crate finds
//! out which principles the annotators followed, ranks them by how strongly each one is associated
//! with the label, and shows the evidence. One way in, one way through:
//!
//! ```text
//! pairs ──► embed ──► sae ──► describe ──► effects ──► constitution ──► report
//! (A,B,y)   [N,D]     [N,M]   words+fidelity  β, Δwin, CI   principles      files, page, terminal
//! ```
//!
//! Each module looks only to its left in that picture. [`analyze`] is the whole way in one
//! function; the run directory it leaves is described in [`run`].
//!
//! Everything is seen from response A: an activation above zero means "more in A", a positive
//! effect means that the side with more of it is preferred more often. Every figure is an
//! association in the labels at hand, never a causal claim.

pub mod analyze;
pub mod apply;
pub mod cache;
pub mod cli;
pub mod compare;
pub mod config;
pub mod constitution;
pub mod curate;
pub mod describe;
pub mod dictionary;
pub mod effects;
pub mod embed;
pub mod finished;
#[cfg_attr(not(feature = "hub"), path = "hub_off.rs")]
pub mod hub;
pub mod language;
pub mod matrix;
pub mod names;
pub mod net;
pub mod pairs;
pub mod personalize;
pub mod report;
pub mod run;
pub mod sae;
pub mod score;
pub mod seed;
pub mod sentences;
pub mod statistics;
pub mod stop;
pub mod sweep;

#[cfg(test)]
#[path = "../tests/support/server.rs"]
mod support;
