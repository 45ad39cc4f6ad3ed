//! The `wimhf` command: parse, run, exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// The default allocator loses more than half of the CPU backend's time to page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = wimhf_cli::in_child() {
        return code;
    }
    match wimhf::panics::caught(|| wimhf_cli::run(std::env::args_os())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            failure.report();
            ExitCode::from(failure.code)
        }
        // Whatever a library says when it gives up is for us; the user hears what to do.
        Err(panicked) => {
            let failure = wimhf_cli::Failure::of_panic(&panicked);
            failure.report();
            ExitCode::from(failure.code)
        }
    }
}
