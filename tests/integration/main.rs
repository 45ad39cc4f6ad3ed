//! The program from outside, in one binary: real files, real processes.

mod bad_input;
mod interop;
mod language;
mod planted;
mod resume;
mod run_directory;
#[path = "../support/server.rs"]
mod server;
mod util;
mod web;
