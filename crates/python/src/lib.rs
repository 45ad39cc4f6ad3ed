//! The Python module of wimhf, its native half: tables in and out, work off the interpreter's lock, errors as
//! exceptions. What a user sees is the Python beside it, in `wimhf/`.

mod arrow;
mod embed;
mod errors;
mod options;
mod run;
mod settings;
mod verbs;
mod work;

use std::ffi::OsString;

use pyo3::prelude::*;

/// The default allocator loses more than half of the CPU backend's time to page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The `wimhf` command; returns its exit code.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| match wimhf_cli::run(arguments) {
        Ok(()) => 0,
        Err(failure) => {
            failure.report();
            failure.code
        }
    })
}

#[pymodule]
fn _wimhf(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<arrow::Frame>()?;
    module.add_class::<run::NativeRun>()?;
    module.add_class::<run::NativeScorer>()?;
    module.add_class::<embed::NativeEmbedder>()?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(verbs::analyze, module)?)?;
    module.add_function(wrap_pyfunction!(verbs::inspect, module)?)?;
    module.add_function(wrap_pyfunction!(verbs::compare, module)?)?;
    module.add_function(wrap_pyfunction!(verbs::undo_relabel, module)?)?;
    Ok(())
}
