//! The program from outside, in one binary: real files, real processes.

mod act;
mod architecture;
mod bad_input;
mod browser;
mod chat;
mod compare;
mod constitution;
mod docs;
mod embedders;
mod executor;
mod explore;
mod first_hour;
mod fuzz;
#[cfg(feature = "hub")]
#[path = "../support/hub.rs"]
mod hub;
#[cfg(feature = "hub")]
mod hub_datasets;
#[cfg(feature = "hub")]
mod hub_models;
mod inspect;
mod interop;
mod judges;
mod language;
mod limits;
mod outputs;
mod personalize;
mod planted;
mod reasons;
mod resume;
mod run_directory;
#[path = "../support/server.rs"]
mod server;
mod servers;
mod statistics;
mod sweep;
#[path = "../../fuzz/targets.rs"]
#[allow(dead_code)]
mod targets;
mod util;
