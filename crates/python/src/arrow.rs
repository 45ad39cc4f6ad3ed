//! Tables in and out through the Arrow PyCapsule interface: pandas, polars, pyarrow, DuckDB, `datasets` and each other,
//! without a dependency on any of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use polars::prelude::*;
use polars_arrow::array::{
    Array, BinaryArray, FixedSizeListArray, ListArray, PrimitiveArray, StructArray, Utf8Array,
};
use polars_arrow::datatypes::{ArrowDataType, Field as ArrowField};
use polars_arrow::ffi::{ArrowArrayStream, ArrowArrayStreamReader, export_iterator};
use polars_arrow::offset::OffsetsBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyCapsuleMethods};
use wimhf::Error;

use crate::errors::{exception, input};
use crate::work::{moment, work};

/// Rows of a batch that goes out.
const BATCH: usize = 16_384;
/// Bytes of text or elements of lists in one batch that goes out: what 32-bit offsets reach.
const REACH: i64 = i32::MAX as i64;
const STREAM: &std::ffi::CStr = c"arrow_array_stream";

/// A table in memory.
#[pyclass(frozen, module = "wimhf._wimhf", name = "Frame")]
pub struct Frame(pub DataFrame);

/// A stream on its way to the thread that reads it.
struct Incoming(Box<ArrowArrayStream>);

#[pymethods]
impl Frame {
    /// Reads a stream to its end.
    #[staticmethod]
    fn read(py: Python<'_>, capsule: &Bound<'_, PyCapsule>) -> PyResult<Self> {
        let pointer = capsule.pointer_checked(Some(STREAM))?.cast::<ArrowArrayStream>();
        // SAFETY: a capsule of this name holds a stream by the interface's definition. It is moved out, so that the
        // capsule, whose stream then counts as released, does not release it again.
        let stream = unsafe { std::ptr::replace(pointer.as_ptr(), ArrowArrayStream::empty()) };
        let incoming = Incoming(Box::new(stream));
        // A stream may need the interpreter for its next batch.
        work(None, py, move |_, _| read(incoming)).map(Self)
    }

    fn __len__(&self) -> usize {
        self.0.height()
    }

    /// Names of the columns.
    fn columns(&self) -> Vec<String> {
        self.0.get_column_names().into_iter().map(ToString::to_string).collect()
    }

    /// The first rows.
    fn head(&self, rows: usize) -> Self {
        Self(self.0.head(Some(rows)))
    }

    /// The first rows as a JSON array of objects, for showing.
    fn rows(&self, py: Python<'_>, most: usize) -> PyResult<String> {
        let mut head = self.0.head(Some(most));
        moment(py, move |_| {
            let mut bytes = Vec::new();
            JsonWriter::new(&mut bytes)
                .with_json_format(JsonFormat::Json)
                .finish(&mut head)
                .map_err(|error| input(error.to_string()))?;
            String::from_utf8(bytes).map_err(|error| input(error.to_string()))
        })
    }

    /// The same with a column of vectors beside it: `values` are native 32-bit floats, row after row.
    fn with_vectors(&self, name: &str, values: &[u8], dimensions: usize) -> PyResult<Self> {
        let made = vectors(&self.0, name, values, dimensions).map_err(|error| exception(&error))?;
        Ok(Self(made))
    }

    /// As an Arrow stream; strings and lists with 32-bit offsets, which every reader takes.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // By the interface a request for other types may be left unanswered.
        let _ = requested_schema;
        let frame = self.0.clone();
        let stream = work(None, py, move |_, _| outgoing(frame))?;
        PyCapsule::new_with_value(py, stream, STREAM)
    }
}

fn table(error: impl std::fmt::Display) -> Error {
    input(format!(
        "the table cannot be read: {error}\nhint: pass it as a pyarrow, pandas or polars table of plain columns"
    ))
}

/// The whole stream as one table.
fn read(incoming: Incoming) -> Result<DataFrame, Error> {
    let read = || -> PolarsResult<DataFrame> {
        // SAFETY: whoever made the capsule promised a stream that keeps to the interface.
        let mut reader = unsafe { ArrowArrayStreamReader::try_new(incoming.0)? };
        let ArrowDataType::Struct(fields) = reader.field().dtype().clone() else {
            polars_bail!(ComputeError: "it is an array, not a table");
        };
        let mut chunks: Vec<Vec<Box<dyn Array>>> = vec![Vec::new(); fields.len()];
        let mut rows = 0;
        // SAFETY: as above.
        while let Some(batch) = unsafe { reader.next() } {
            let batch = batch?;
            rows += batch.len();
            let Some(batch) = batch.as_any().downcast_ref::<StructArray>() else {
                polars_bail!(ComputeError: "a batch is not a table");
            };
            for (column, values) in chunks.iter_mut().zip(batch.values()) {
                column.push(values.clone());
            }
        }
        let columns = fields.iter().zip(chunks).map(|(field, chunks)| {
            Ok(if chunks.is_empty() {
                Series::new_empty(field.name.clone(), &DataType::from_arrow_field(field))
            } else {
                Series::try_from((field, chunks))?
            }
            .into_column())
        });
        let mut frame = DataFrame::new(rows, columns.collect::<PolarsResult<Vec<_>>>()?)?;
        frame.rechunk_mut();
        Ok(frame)
    };
    // Types that polars does not know are a panic in it.
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(frame) => frame.map_err(table),
        Err(_) => Err(table("a column has a type that is not supported")),
    }
}

fn vectors(frame: &DataFrame, name: &str, values: &[u8], dimensions: usize) -> Result<DataFrame, Error> {
    let floats: Vec<f32> = values
        .chunks_exact(4)
        .map(|bytes| f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let rows = floats.len().checked_div(dimensions).unwrap_or(0);
    if rows != frame.height() {
        return Err(input(format!(
            "`embeddings` has {rows} vectors, but the table has {} rows\nhint: one vector a row for each response, in the table's order",
            frame.height()
        )));
    }
    let item = ArrowField::new("item".into(), ArrowDataType::Float32, true);
    let dtype = ArrowDataType::FixedSizeList(Box::new(item), dimensions);
    let add = || -> PolarsResult<DataFrame> {
        let values = PrimitiveArray::from_vec(floats).boxed();
        let array = FixedSizeListArray::try_new(dtype, rows, values, None)?;
        let column = Series::try_from((PlSmallStr::from(name), array.boxed()))?;
        let mut frame = frame.clone();
        frame.with_column(column.into_column())?;
        Ok(frame)
    };
    add().map_err(table)
}

/// A table as a stream that anybody reads.
fn outgoing(frame: DataFrame) -> Result<ArrowArrayStream, Error> {
    let failed = |error: PolarsError| input(format!("the table cannot be handed on: {error}"));
    let frame = without_categories(frame).map_err(failed)?;
    let fields: Vec<ArrowField> = (frame.schema().iter_fields())
        .map(|field| {
            let mut field = field.to_arrow(CompatLevel::oldest());
            field.dtype = plain_type(&field.dtype);
            field
        })
        .collect();
    let dtype = ArrowDataType::Struct(fields);
    let field = ArrowField::new(PlSmallStr::EMPTY, dtype.clone(), false);
    let mut starts = (0..frame.height()).step_by(BATCH).collect::<Vec<_>>().into_iter();
    let mut waiting: Vec<DataFrame> = Vec::new();
    let batches = std::iter::from_fn(move || {
        loop {
            let part = match waiting.pop() {
                Some(part) => part,
                None => frame.slice(starts.next()? as i64, BATCH),
            };
            match batch(&part, &dtype) {
                Ok(array) => return Some(Ok(array)),
                // More text than the offsets reach: in two halves, the first one first.
                Err(_) if part.height() > 1 => {
                    let half = part.height() / 2;
                    waiting.push(part.slice(half as i64, part.height() - half));
                    waiting.push(part.slice(0, half));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    });
    Ok(export_iterator(Box::new(batches), field))
}

fn without_categories(mut frame: DataFrame) -> PolarsResult<DataFrame> {
    for index in 0..frame.width() {
        let column = &frame.columns()[index];
        if matches!(column.dtype(), DataType::Categorical(..) | DataType::Enum(..)) {
            let plain = column.cast(&DataType::String)?;
            frame.with_column(plain)?;
        }
    }
    Ok(frame)
}

fn batch(part: &DataFrame, dtype: &ArrowDataType) -> PolarsResult<Box<dyn Array>> {
    let mut part = part.clone();
    part.rechunk_mut();
    let mut arrays = Vec::with_capacity(part.width());
    for column in part.columns() {
        let array = column.as_materialized_series().to_arrow(0, CompatLevel::oldest());
        arrays.push(plain(array)?);
    }
    Ok(StructArray::try_new(dtype.clone(), part.height(), arrays, None)?.boxed())
}

/// The same type with 32-bit offsets throughout.
fn plain_type(dtype: &ArrowDataType) -> ArrowDataType {
    let inner = |field: &ArrowField| ArrowField { dtype: plain_type(&field.dtype), ..field.clone() };
    match dtype {
        ArrowDataType::LargeUtf8 | ArrowDataType::Utf8View => ArrowDataType::Utf8,
        ArrowDataType::LargeBinary | ArrowDataType::BinaryView => ArrowDataType::Binary,
        ArrowDataType::LargeList(field) => ArrowDataType::List(Box::new(inner(field))),
        ArrowDataType::FixedSizeList(field, size) => {
            ArrowDataType::FixedSizeList(Box::new(inner(field)), *size)
        }
        ArrowDataType::Struct(fields) => ArrowDataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

/// The same array with 32-bit offsets throughout; an error where they do not reach.
fn plain(array: Box<dyn Array>) -> PolarsResult<Box<dyn Array>> {
    let dtype = plain_type(array.dtype());
    let any = array.as_any();
    if let Some(text) = any.downcast_ref::<Utf8Array<i64>>() {
        let (offsets, values) = within(text.offsets(), text.values().len())?.map_or_else(
            || Ok((offsets(text.offsets())?, text.values().clone())),
            |(from, length, moved)| {
                Ok::<_, PolarsError>((moved, text.values().clone().sliced(from..from + length)))
            },
        )?;
        return Ok(Utf8Array::<i32>::try_new(dtype, offsets, values, text.validity().cloned())?.boxed());
    }
    if let Some(bytes) = any.downcast_ref::<BinaryArray<i64>>() {
        let (offsets, values) = (offsets(bytes.offsets())?, bytes.values().clone());
        return Ok(BinaryArray::<i32>::try_new(dtype, offsets, values, bytes.validity().cloned())?.boxed());
    }
    if let Some(list) = any.downcast_ref::<ListArray<i64>>() {
        let values = plain(list.values().clone())?;
        let offsets = offsets(list.offsets())?;
        return Ok(ListArray::<i32>::try_new(dtype, offsets, values, list.validity().cloned())?.boxed());
    }
    if let Some(list) = any.downcast_ref::<FixedSizeListArray>() {
        let values = plain(list.values().clone())?;
        return Ok(FixedSizeListArray::try_new(dtype, list.len(), values, list.validity().cloned())?.boxed());
    }
    if let Some(fields) = any.downcast_ref::<StructArray>() {
        let values =
            fields.values().iter().map(|values| plain(values.clone())).collect::<PolarsResult<_>>()?;
        return Ok(StructArray::try_new(dtype, fields.len(), values, fields.validity().cloned())?.boxed());
    }
    Ok(array)
}

fn offsets(wide: &OffsetsBuffer<i64>) -> PolarsResult<OffsetsBuffer<i32>> {
    OffsetsBuffer::<i32>::try_from(wide)
}

/// Of a slice of a larger array only what it shows: where its bytes begin, how many they are, and offsets from there.
#[allow(clippy::type_complexity)] // used once
fn within(
    wide: &OffsetsBuffer<i64>,
    bytes: usize,
) -> PolarsResult<Option<(usize, usize, OffsetsBuffer<i32>)>> {
    let (first, last) = (*wide.first(), *wide.last());
    if first == 0 && last as usize == bytes {
        return Ok(None);
    }
    if last - first > REACH {
        polars_bail!(ComputeError: "more than 2 GB of text in one batch");
    }
    let moved: Vec<i32> = wide.as_slice().iter().map(|at| (at - first) as i32).collect();
    Ok(Some((first as usize, (last - first) as usize, OffsetsBuffer::try_from(moved)?)))
}
