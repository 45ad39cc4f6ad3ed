//! Vectors in files: both responses' embeddings for the user, the deltas for later stages.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use bytemuck::cast_slice;
use polars::prelude::{
    DataFrame, DataType, Field, Float32Type, IntoColumn, IntoSeries, ListBuilderTrait,
    ListPrimitiveChunkedBuilder, NamedFrom, ParquetCompression, ParquetWriter, PolarsError, Schema, Series,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{EmbedError, Embedding};
use crate::context::Observer;
use crate::matrix::Matrix;
use crate::store::{StoreError, write_file};

impl Embedding<'_> {
    /// Writes `pair_id`, `embedding_a` and `embedding_b` (lists of `f32`) of all pairs as Parquet.
    ///
    /// # Errors
    /// Where the embedder fails, or the file cannot be written; an old file then stands as it was.
    pub fn save(&mut self, path: &Path, listener: &mut dyn Observer) -> Result<(), EmbedError> {
        let list = || DataType::List(Box::new(DataType::Float32));
        let schema = Schema::from_iter([
            Field::new("pair_id".into(), DataType::String),
            Field::new("embedding_a".into(), list()),
            Field::new("embedding_b".into(), list()),
        ]);
        let failed = |error: PolarsError| {
            EmbedError::File(StoreError::Table {
                action: "write",
                path: path.into(),
                message: error.to_string(),
            })
        };
        let ids = self.pair_ids();
        write_file(path, |file| {
            let mut writer = ParquetWriter::new(file)
                .with_compression(ParquetCompression::Zstd(None))
                .batched(&schema)
                .map_err(failed)?;
            self.for_each_block(listener, |start, a, b| {
                let ids: Vec<&str> = ids.iter().skip(start).take(a.rows()).map(String::as_str).collect();
                let columns = vec![
                    Series::new("pair_id".into(), ids).into_column(),
                    lists("embedding_a", &a).into_column(),
                    lists("embedding_b", &b).into_column(),
                ];
                let table = DataFrame::new_infer_height(columns).map_err(failed)?;
                writer.write_batch(&table).map_err(failed)
            })?;
            writer.finish().map_err(failed)?;
            Ok(())
        })
    }
}

/// One list per row.
fn lists(name: &str, rows: &Matrix) -> Series {
    let mut builder = ListPrimitiveChunkedBuilder::<Float32Type>::new(
        name.into(),
        rows.rows(),
        rows.values.len(),
        DataType::Float32,
    );
    for row in 0..rows.rows() {
        builder.append_slice(rows.row(row));
    }
    builder.finish().into_series()
}

/// Writes the deltas, `[pairs, dimensions]`, as the tensor `deltas` of a safetensors file.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_deltas(path: &Path, deltas: &Matrix) -> Result<(), EmbedError> {
    let damaged = |message: String| EmbedError::File(StoreError::Content { path: path.into(), message });
    let shape = vec![deltas.rows(), deltas.cols];
    let view = TensorView::new(Dtype::F32, shape, cast_slice(&deltas.values))
        .map_err(|error| damaged(error.to_string()))?;
    let bytes = safetensors::serialize(BTreeMap::from([("deltas", view)]), None)
        .map_err(|error| damaged(error.to_string()))?;
    write_file(path, |file| {
        file.write_all(&bytes)
            .map_err(|source| EmbedError::File(StoreError::Io { action: "write", path: path.into(), source }))
    })
}

/// Reads what [`write_deltas`] wrote.
///
/// # Errors
/// Where the file cannot be read or holds something else.
pub fn read_deltas(path: &Path) -> Result<Matrix, EmbedError> {
    let damaged = |message: String| EmbedError::File(StoreError::Content { path: path.into(), message });
    // As large as the vectors of the run.
    let bytes = crate::limits::read_file(path, crate::limits::VECTORS).map_err(|error| {
        EmbedError::File(StoreError::Io { action: "read", path: path.into(), source: error.into() })
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let tensor = file.tensor("deltas").map_err(|error| damaged(error.to_string()))?;
    match (tensor.dtype(), tensor.shape()) {
        (Dtype::F32, &[_, cols]) => Ok(Matrix { values: bytemuck::pod_collect_to_vec(tensor.data()), cols }),
        (dtype, shape) => Err(damaged(format!("`deltas` is {dtype:?} {shape:?}, not a table of f32"))),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{ParquetReader, SerReader};

    use super::*;
    use crate::context::Context;
    use crate::embed::Recipe;
    use crate::embed::dataset::tests::{Counting, Silent, pairs_of};

    #[test]
    fn saved_embeddings_are_both_responses_by_pair_id() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors.parquet");
        let texts: Vec<(String, String)> =
            (0..1500).map(|i| ("x".repeat(i % 7), "Y".repeat(i % 3))).collect();
        let borrowed: Vec<(&str, &str)> = texts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let pairs = pairs_of(&borrowed);
        let (embedder, recipe) = (Counting { dimensions: 2, nan_for: None }, Recipe::default());
        let mut embedding =
            Embedding::new(&pairs, &embedder, &recipe, &Context::default(), &mut Silent).unwrap();
        embedding.save(&path, &mut Silent).unwrap();

        let table = ParquetReader::new(std::fs::File::open(&path).unwrap()).finish().unwrap();
        assert_eq!(
            table.get_column_names().iter().map(|name| name.as_str()).collect::<Vec<_>>(),
            ["pair_id", "embedding_a", "embedding_b"]
        );
        assert_eq!(table.height(), 1500);
        for pair in [0, 1023, 1024, 1499] {
            let list = |name: &str| {
                let row = table.column(name).unwrap().list().unwrap().get_as_series(pair).unwrap();
                row.f32().unwrap().into_no_null_iter().collect::<Vec<f32>>()
            };
            assert_eq!(list("embedding_a"), [(pair % 7) as f32, 0.0]);
            assert_eq!(list("embedding_b"), [(pair % 3) as f32, (pair % 3) as f32]);
            let id = table.column("pair_id").unwrap().str().unwrap().get(pair).unwrap();
            assert_eq!(id, pairs.pair_id[pair]);
        }
    }

    #[test]
    fn a_failing_embedder_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors.parquet");
        std::fs::write(&path, "old").unwrap();
        let nan = Counting { dimensions: 2, nan_for: Some("odd") };
        let (pairs, recipe) = (pairs_of(&[("odd", "b")]), Recipe::default());
        let mut embedding = Embedding::new(&pairs, &nan, &recipe, &Context::default(), &mut Silent).unwrap();
        assert!(embedding.save(&path, &mut Silent).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn deltas_survive_the_file_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deltas.safetensors");
        for deltas in [
            Matrix { values: vec![0.1, -2.5e-30, f32::MIN_POSITIVE, -0.0, 3.0, 7.0], cols: 3 },
            Matrix { values: Vec::new(), cols: 256 },
        ] {
            write_deltas(&path, &deltas).unwrap();
            let back = read_deltas(&path).unwrap();
            assert_eq!(back.cols, deltas.cols);
            let bits = |m: &Matrix| m.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&back), bits(&deltas));
        }
    }

    #[test]
    fn a_damaged_file_of_deltas_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deltas.safetensors");
        assert!(read_deltas(&path).unwrap_err().to_string().contains("deltas.safetensors"));
        write_deltas(&path, &Matrix { values: vec![1.0; 8], cols: 2 }).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let error = read_deltas(&path).unwrap_err();
        assert!(matches!(error, EmbedError::File(StoreError::Content { .. })), "{error}");
    }
}
