//! The program from outside, in one binary: real files, real processes.

mod act;
mod bad_input;
mod interop;
mod planted;
mod resume;
mod run_directory;
mod util;
mod web;
