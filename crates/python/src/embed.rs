//! An embedder for tables, opened once in each process.

use pyo3::prelude::*;
use wimhf::config::EmbedConfig;
use wimhf::embed::TableEmbedder;
use wimhf::pairs::ReadOptions;

use crate::arrow::Frame;
use crate::options::{self, read};
use crate::work::work;

/// An embedder and what of a pair it embeds.
#[pyclass(frozen, module = "wimhf._wimhf", name = "NativeEmbedder")]
pub struct NativeEmbedder(TableEmbedder);

#[pymethods]
impl NativeEmbedder {
    /// Opens the embedder that the options name; weights are loaded with the first text.
    #[staticmethod]
    fn open(py: Python<'_>, options: &str) -> PyResult<Self> {
        work(None, py, |context, _| {
            let asked = read::<options::Embed>(options)?;
            let usual = EmbedConfig::default();
            let settings = EmbedConfig {
                embedder: asked.embedder.unwrap_or(usual.embedder),
                what: asked.what,
                template: asked.template,
                max_tokens: asked.max_tokens,
                precision: asked.precision,
                ..EmbedConfig::default()
            };
            let columns = ReadOptions {
                prompt_column: asked.prompt_column,
                response_a_column: asked.response_a_column,
                response_b_column: asked.response_b_column,
                ..ReadOptions::default()
            };
            Ok(Self(TableEmbedder::open(&settings, columns, context)?))
        })
    }

    /// Name and revision.
    #[getter]
    fn identity(&self) -> String {
        self.0.identity()
    }

    /// Length of a vector.
    #[getter]
    fn dimensions(&self) -> Option<usize> {
        self.0.dimensions()
    }

    /// The rows with the vectors of both responses in columns of these names.
    fn transform(&self, py: Python<'_>, table: &Frame, first: &str, second: &str) -> PyResult<Frame> {
        let frame = table.0.clone();
        work(None, py, |_, _| Ok(self.0.transform(&frame, (first, second))?)).map(Frame)
    }
}
