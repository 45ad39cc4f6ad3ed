//! A table through an embedder, batch by batch: its rows with a vector for each response beside them.
//!
//! Made for workers of a cluster: nothing is fetched, no server is asked, nothing is kept. What comes out is what
//! `--embedding-columns` reads.

use polars::prelude::*;
use polars_arrow::array::{FixedSizeListArray, PrimitiveArray};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::{ArrowDataType, Field as ArrowField};

use super::{EmbedError, Embedder, Embedding, Hardware, Recipe, Spec, open};
use crate::config::EmbedConfig;
use crate::context::Context;
use crate::pairs::rows::RowReader;
use crate::pairs::{PairsError, ReadOptions};

/// What messages call the table.
const TABLE: &str = "the table";

/// Why a table cannot be embedded.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Its columns hold no pairs.
    #[error(transparent)]
    Pairs(#[from] PairsError),
    /// The embedder cannot be used.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// A server, or a model that would have to be fetched.
    #[error(
        "the embedder `{0}` is not on this machine, and workers fetch nothing and ask no server\nhint: name `boxed`, or the folder of a model on a path that all workers see"
    )]
    Elsewhere(String),
    /// Columns that do not fit together.
    #[error("the vectors cannot be put beside the table: {0}")]
    Columns(#[from] PolarsError),
}

/// An embedder and what of a pair it embeds, opened once. On the CPU: a row's vectors have the same bits whatever the
/// rows that it comes with.
pub struct TableEmbedder {
    embedder: Box<dyn Embedder>,
    recipe: Recipe,
    columns: ReadOptions,
    context: Context,
}

impl TableEmbedder {
    /// Opens the embedder; weights are loaded with the first text.
    ///
    /// # Errors
    /// Where it is not on this machine, or cannot be used.
    pub fn open(settings: &EmbedConfig, columns: ReadOptions, context: &Context) -> Result<Self, TableError> {
        if matches!(Spec::parse(&settings.embedder)?, Spec::Hub(_) | Spec::Remote(_)) {
            return Err(TableError::Elsewhere(settings.embedder.clone()));
        }
        let recipe = Recipe::new(settings.what, settings.template.as_deref())?;
        let context = context.clone().without_cache();
        let opened = open(settings, Hardware::Cpu, 0, &context, &mut ())?;
        Ok(Self { embedder: opened.embedder, recipe, columns, context })
    }

    /// Name and revision of the embedder, with everything that changes its vectors.
    pub fn identity(&self) -> String {
        self.embedder.identity()
    }

    /// Length of a vector; `None` where only the first answer tells.
    pub fn dimensions(&self) -> Option<usize> {
        self.embedder.dimensions()
    }

    /// The rows with `wimhf_pair_id` and the vectors of the first and of the second response in columns of these
    /// names, `[rows, dimensions]`; null in both where a row cannot be embedded.
    ///
    /// # Errors
    /// Where the columns hold no pairs, or the embedder fails.
    pub fn transform(&self, frame: &DataFrame, names: (&str, &str)) -> Result<DataFrame, TableError> {
        let mut reader = RowReader::new(frame.schema(), TABLE, &self.columns)?;
        if reader.is_single() {
            return Err(TableError::Pairs(PairsError::NotPairs {
                path: TABLE.into(),
                detail: "a row holds a single response".into(),
                hint: "pass both responses of a pair in a row".into(),
            }));
        }
        let read = reader.read(frame)?;
        let embedder = self.embedder.as_ref();
        let mut cols = embedder.dimensions().unwrap_or(0);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        Embedding::new(&read.pairs, embedder, &self.recipe, &self.context, &mut ())?.for_each_block(
            &mut (),
            |_, a, b| {
                cols = a.cols;
                first.extend(a.values);
                second.extend(b.values);
                Ok::<_, EmbedError>(())
            },
        )?;
        let told: Bitmap = read.problems.iter().map(Option::is_none).collect();
        let mut out = frame.clone();
        out.with_column(Column::new("wimhf_pair_id".into(), &read.pairs.pair_id))?;
        for (name, values) in [(names.0, first), (names.1, second)] {
            out.with_column(vectors(name, values, (frame.height(), cols), told.clone())?)?;
        }
        Ok(out)
    }
}

/// A column of vectors, `[rows, cols]`, with nulls where `told` says no.
fn vectors(name: &str, values: Vec<f32>, (rows, cols): (usize, usize), told: Bitmap) -> PolarsResult<Column> {
    let item = ArrowField::new("item".into(), ArrowDataType::Float32, true);
    let dtype = ArrowDataType::FixedSizeList(Box::new(item), cols);
    let values = PrimitiveArray::from_vec(values).boxed();
    let array = FixedSizeListArray::try_new(dtype, rows, values, Some(told))?;
    Ok(Series::try_from((PlSmallStr::from(name), array.boxed()))?.into_column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> DataFrame {
        let long = "Bake the bread slowly. ".repeat(40_000);
        df!(
            "prompt" => ["p", "q", "r", "s"],
            "response_A" => [Some("Bake it."), None, Some("I refuse."), Some(long.as_str())],
            "response_B" => [Some("No."), Some("Yes."), Some("  "), Some("Knead it.")],
        )
        .unwrap()
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_among_others_and_null_where_a_response_is_missing() {
        let embedder =
            TableEmbedder::open(&EmbedConfig::default(), ReadOptions::default(), &Context::default())
                .unwrap();
        let table = table();
        let all = embedder.transform(&table, ("a", "b")).unwrap();
        assert_eq!(all.get_column_names().len(), 6);
        for name in ["a", "b"] {
            let column = all.column(name).unwrap();
            assert_eq!(column.dtype(), &DataType::Array(Box::new(DataType::Float32), 256));
            let nulls: Vec<bool> = column.is_null().iter().map(|null| null == Some(true)).collect();
            assert_eq!(nulls, [false, true, true, false]);
        }
        for row in 0..table.height() {
            let alone = embedder.transform(&table.slice(row as i64, 1), ("a", "b")).unwrap();
            assert!(alone.equals_missing(&all.slice(row as i64, 1)), "row {row}");
        }
        assert_eq!(embedder.transform(&table.slice(0, 0), ("a", "b")).unwrap().schema(), all.schema());
    }

    #[test]
    fn what_would_need_the_network_is_refused() {
        for name in ["openai:text-embedding-3-small", "hf://a/b"] {
            let settings = EmbedConfig { embedder: name.into(), ..EmbedConfig::default() };
            let refused = TableEmbedder::open(&settings, ReadOptions::default(), &Context::default());
            let message = refused.err().unwrap().to_string();
            assert!(message.contains(name) && message.contains("not on this machine"), "{message}");
        }
    }
}
