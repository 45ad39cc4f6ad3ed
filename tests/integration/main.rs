//! The program from outside, in one binary: real files, real processes.

mod bad_input;
mod compare;
mod docs;
mod interop;
mod planted;
mod resume;
mod run_directory;
mod util;
mod web;
