//! The `wimhf` command as a library, so that the Python package can hold it, too: arguments become a request,
//! the library answers, and the answer is rendered for a terminal.

#![forbid(unsafe_code)]

mod commands;
mod confined;
mod log;
mod progress;
mod render;
mod settings_table;

pub use commands::{Failure, run};
pub use confined::in_child;
