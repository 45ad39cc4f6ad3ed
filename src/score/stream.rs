//! Tables that pass by in batches: Parquet, JSON lines, an Arrow stream on stdin or stdout.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Cursor, Read, Seek, SeekFrom, Stdout, Write};
use std::path::{Path, PathBuf};

use polars::io::parquet::write::BatchedWriter;
use polars::prelude::*;
use polars_arrow::io::ipc::read::{StreamReader, StreamState, read_stream_metadata};
use polars_arrow::io::ipc::write::{StreamWriter, WriteOptions};

use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use super::ScoreError;
use crate::limits::{self, LINE};
use crate::pairs::arrow_size::{body_length, message_bytes};
use crate::panics;
use crate::store::{Failure, Remembering, StoreError};

/// Rows in memory at a time.
pub const BATCH: usize = 4096;
/// Bytes of JSON lines read at a time.
const JSON_BYTES: usize = 16 << 20;

/// Where rows come from.
pub enum Source {
    /// A file of JSON lines.
    Lines {
        /// The file's name.
        path: String,
        /// What is left of it.
        reader: BufReader<File>,
        /// Lines read.
        line: usize,
        /// The columns, from the first lines.
        schema: SchemaRef,
        /// The first lines.
        first: Option<DataFrame>,
    },
    /// An Arrow IPC stream, or a Parquet file turned into one.
    Arrow {
        /// What it is called in a message, and what to do about it.
        path: String,
        /// What to do where it is damaged.
        hint: &'static str,
        /// The stream.
        reader: Box<StreamReader<Forward>>,
        /// The columns.
        schema: SchemaRef,
        /// Rows of the last batch that are not passed on yet.
        left: Option<DataFrame>,
    },
}

/// A pipe as far as Arrow's reader needs to move in it: ahead.
pub struct Forward {
    inner: Box<dyn Read + Send>,
    at: u64,
}

impl Read for Forward {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Forward {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let ahead = match to {
            SeekFrom::Current(by) => u64::try_from(by).ok(),
            SeekFrom::Start(at) => at.checked_sub(self.at),
            SeekFrom::End(_) => None,
        };
        let Some(ahead) = ahead else {
            return Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "a stream only goes ahead"));
        };
        std::io::copy(&mut self.by_ref().take(ahead), &mut std::io::sink())?;
        Ok(self.at)
    }
}

/// An Arrow stream, message by message, each of them looked at before it is read: a few bytes may promise to become
/// gigabytes.
struct Messages<R> {
    inner: R,
    message: Vec<u8>,
    at: usize,
}

impl<R: Read> Messages<R> {
    /// Reads as many bytes as there are, up to a number.
    fn take(&mut self, bytes: u64) -> std::io::Result<bool> {
        let read = self.inner.by_ref().take(bytes).read_to_end(&mut self.message)?;
        Ok(read as u64 == bytes)
    }

    /// The next message, which has to be there as a whole; what else is wrong with it, its reader says.
    fn next(&mut self) -> std::io::Result<()> {
        self.message.clear();
        self.at = 0;
        if !self.take(4)? {
            return Ok(());
        }
        if self.message.starts_with(&[0xff; 4]) && !self.take(4)? {
            return Ok(());
        }
        let start = self.message.len();
        let length =
            self.message.get(start - 4..).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
        let length = u64::from(length.unwrap_or_default());
        if length == 0 {
            return Ok(());
        }
        // Its reader takes the memory that a message claims before it looks what is there. (An end that it did not expect
        // would be none to it.)
        let cut =
            || std::io::Error::new(std::io::ErrorKind::InvalidData, "it ends in the middle of a message");
        if !self.take(length)? {
            return Err(cut());
        }
        let body = body_length(self.message.get(start..).unwrap_or_default()).unwrap_or(0);
        if !self.take(body)? {
            return Err(cut());
        }
        let becomes = message_bytes(&self.message);
        if becomes == limits::UNBELIEVABLE {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, limits::UNBELIEVABLE_SAID));
        }
        limits::unpacked(self.message.len() as u64, becomes)
            .map_err(|too_much| std::io::Error::new(std::io::ErrorKind::FileTooLarge, too_much))
    }
}

impl<R: Read> Read for Messages<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.message.len() {
            self.next()?;
        }
        let left = self.message.get(self.at..).unwrap_or_default();
        let read = buffer.len().min(left.len());
        buffer[..read].copy_from_slice(&left[..read]);
        self.at += read;
        Ok(read)
    }
}

/// A Parquet file as the Arrow stream of its batches.
///
/// Pages are read as they are needed. polars reads whole row groups, and anew for each part of one: pyarrow puts
/// a million rows into a group, so that neither time nor memory would have a bound.
struct Pages {
    batches: ParquetRecordBatchReader,
    /// Writes into the bytes that are passed on next; `None` once the stream has ended.
    writer: Option<arrow_ipc::writer::StreamWriter<Vec<u8>>>,
    bytes: Vec<u8>,
    at: usize,
}

impl Pages {
    fn open(file: File) -> Result<Self, ParquetError> {
        let options = ArrowReaderOptions::new();
        let mut metadata = ArrowReaderMetadata::load(&file, options.clone())?;
        // Dictionaries would have to be sent again with each batch; their values are what is wanted.
        let encoded = |dtype: &arrow_schema::DataType| {
            use arrow_schema::DataType::{Dictionary, RunEndEncoded};
            matches!(dtype, Dictionary(..) | RunEndEncoded(..))
        };
        if metadata.schema().flattened_fields().iter().any(|field| encoded(field.data_type())) {
            metadata = ArrowReaderMetadata::load(&file, options.with_skip_arrow_metadata(true))?;
        }
        // Texts as views: a dictionary's text that stands in every row is in memory once.
        let views = views(metadata.schema());
        let options = ArrowReaderOptions::new().with_schema(std::sync::Arc::new(views));
        if let Ok(viewed) = ArrowReaderMetadata::load(&file, options) {
            metadata = viewed;
        }
        let schema = metadata.schema().clone();
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_batch_size(BATCH)
            .build()?;
        let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &schema)?;
        let bytes = std::mem::take(writer.get_mut());
        Ok(Self { batches, writer: Some(writer), bytes, at: 0 })
    }
}

/// The schema with views of texts and bytes.
fn views(schema: &arrow_schema::Schema) -> arrow_schema::Schema {
    use arrow_schema::DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    let field = |field: &arrow_schema::FieldRef| {
        let dtype = match field.data_type() {
            Utf8 | LargeUtf8 => Utf8View,
            Binary | LargeBinary => BinaryView,
            _ => return field.clone(),
        };
        std::sync::Arc::new(field.as_ref().clone().with_data_type(dtype))
    };
    let fields: Vec<arrow_schema::FieldRef> = schema.fields().iter().map(field).collect();
    arrow_schema::Schema::new_with_metadata(fields, schema.metadata().clone())
}

impl Read for Pages {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.bytes.len() {
            let Some(mut writer) = self.writer.take() else { return Ok(0) };
            self.bytes.clear();
            self.at = 0;
            *writer.get_mut() = std::mem::take(&mut self.bytes);
            match self.batches.next() {
                Some(batch) => {
                    let batch = batch.map_err(std::io::Error::other)?;
                    writer.write(&batch).map_err(std::io::Error::other)?;
                    self.bytes = std::mem::take(writer.get_mut());
                    self.writer = Some(writer);
                }
                None => self.bytes = writer.into_inner().map_err(std::io::Error::other)?,
            }
        }
        let read = buffer.len().min(self.bytes.len() - self.at);
        buffer[..read].copy_from_slice(&self.bytes[self.at..self.at + read]);
        self.at += read;
        Ok(read)
    }
}

const FILE_HINT: &str = "download or write it again";
const ROWS_HINT: &str = "each line must be an object with the columns as keys";
const STREAM_HINT: &str =
    "send an Arrow IPC stream, for example `pyarrow.ipc.new_stream(sys.stdout.buffer, schema)`";

/// How to go on where a limit is exceeded.
fn too_much(error: &std::io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<limits::TooMuch>().map(limits::TooMuch::hint)
}

/// Runs a reader of polars; neither its errors nor its panics on damaged bytes leave here as such.
fn guard<T>(path: &str, hint: &str, read: impl FnOnce() -> PolarsResult<T>) -> Result<T, ScoreError> {
    let input = |message: String| ScoreError::Input { path: path.to_owned(), message, hint: hint.to_owned() };
    match panics::caught(read) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(PolarsError::IO { error, .. })) if too_much(&error).is_some() => Err(ScoreError::Input {
            path: path.to_owned(),
            message: error.to_string(),
            hint: too_much(&error).unwrap_or_default(),
        }),
        Ok(Err(error)) => {
            let said = error.to_string();
            let first = said.lines().next().unwrap_or_default();
            // Some errors of headers are the fields of the reader's own types.
            let is_inner = first.contains(" { ");
            Err(input(if is_inner {
                "it is damaged: its header cannot be read".into()
            } else {
                first.to_owned()
            }))
        }
        Err(panicked) if panicked.is_out_of_threads => Err(ScoreError::Input {
            path: path.to_owned(),
            message: panicked.message,
            hint: panics::THREADS_HINT.to_owned(),
        }),
        Err(panicked) => {
            Err(input(format!("it is damaged, or has a type that is not read{}", panicked.aside())))
        }
    }
}

impl Source {
    /// Opens a file by its bytes, or the Arrow stream on stdin for `-`.
    ///
    /// # Errors
    /// Where it is none of these, or damaged.
    pub fn open(name: &str) -> Result<Self, ScoreError> {
        if name == "-" {
            return Self::arrow("stdin", STREAM_HINT, Box::new(std::io::stdin()));
        }
        let path = Path::new(name);
        let input = |message: String, hint: &str| ScoreError::Input {
            path: name.to_owned(),
            message,
            hint: hint.to_owned(),
        };
        let open = || crate::limits::open(path).map_err(|error| input(error.to_string(), "check the path"));
        if path.is_dir() {
            return Err(input("it is a folder".into(), "name one file"));
        }
        if let Some(kind) = limits::odd_kind(path) {
            return Err(input(
                format!("it is {kind}, no plain file"),
                "send what comes through a pipe to `-`",
            ));
        }
        let mut head = [0; 8];
        let mut file = open()?;
        let read = file.read(&mut head).map_err(|error| input(error.to_string(), "check the path"))?;
        let head = &head[..read];
        if head.starts_with(b"PAR1") {
            let packed = file.metadata().map_or(0, |meta| meta.len());
            let becomes = limits::parquet_bytes(open()?).unwrap_or(0);
            if becomes == limits::UNBELIEVABLE {
                return Err(input(limits::UNBELIEVABLE_SAID.into(), FILE_HINT));
            }
            limits::unpacked(packed, becomes)
                .map_err(|too_much| input(format!("it has {too_much}"), &too_much.hint()))?;
            let file = open()?;
            let pages = guard(name, FILE_HINT, || {
                Pages::open(file).map_err(|error| PolarsError::ComputeError(error.to_string().into()))
            })?;
            return Self::arrow(name, FILE_HINT, Box::new(pages));
        }
        if head.starts_with(&[0xff; 4]) {
            return Self::arrow(name, STREAM_HINT, Box::new(open()?));
        }
        if head.starts_with(b"ARROW1") {
            return Err(input(
                "it is an Arrow file, not a stream".into(),
                "write it as Parquet, or send it as a stream to `-`",
            ));
        }
        let mut reader = BufReader::with_capacity(1 << 20, open()?);
        let mut line = 0;
        let first = lines(name, &mut reader, &mut line, None)?;
        let Some(first) = first else {
            return Err(input(
                "it holds no rows".into(),
                "send Parquet, JSON lines, or an Arrow stream to `-`",
            ));
        };
        Ok(Self::Lines {
            path: name.to_owned(),
            reader,
            line,
            schema: first.schema().clone(),
            first: Some(first),
        })
    }

    fn arrow(name: &str, hint: &'static str, inner: Box<dyn Read + Send>) -> Result<Self, ScoreError> {
        let inner = BufReader::with_capacity(1 << 20, inner);
        let inner: Box<dyn Read + Send> = Box::new(Messages { inner, message: Vec::new(), at: 0 });
        let mut forward = Forward { inner, at: 0 };
        let metadata = guard(name, hint, || read_stream_metadata(&mut forward))?;
        let schema = guard(name, hint, || Ok(Arc::new(Schema::from_arrow_schema(&metadata.schema))))?;
        let reader = Box::new(StreamReader::new(forward, metadata, None));
        Ok(Self::Arrow { path: name.to_owned(), hint, reader, schema, left: None })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Self::Lines { schema, .. } | Self::Arrow { schema, .. } => schema,
        }
    }

    /// The next rows, at most [`BATCH`] (JSON lines: some megabytes); `None` at the end.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<DataFrame>, ScoreError> {
        match self {
            Self::Lines { path, reader, line, schema, first } => match first.take() {
                Some(first) => Ok(Some(first)),
                None => lines(path, reader, line, Some(schema)),
            },
            Self::Arrow { path, hint, reader, schema, left } => loop {
                if let Some(frame) = left.take().filter(|frame| frame.height() > 0) {
                    let rest = frame.height().saturating_sub(BATCH);
                    *left = (rest > 0).then(|| frame.slice(BATCH as i64, rest));
                    return Ok(Some(frame.slice(0, BATCH)));
                }
                let batch = guard(path, hint, || reader.next().transpose())?;
                match batch {
                    // The end, told or not.
                    None | Some(StreamState::Waiting) => return Ok(None),
                    Some(StreamState::Some(batch)) => {
                        let height = batch.len();
                        let fields: Vec<_> = reader.schema().iter_values().cloned().collect();
                        let frame = guard(path, hint, || {
                            let columns = fields
                                .iter()
                                .zip(batch.into_arrays())
                                .map(|(field, array)| {
                                    Series::try_from((field, array)).map(Series::into_column)
                                })
                                .collect::<PolarsResult<Vec<_>>>()?;
                            DataFrame::new(height, columns)
                        })?;
                        debug_assert_eq!(frame.width(), schema.len());
                        *left = Some(frame);
                    }
                }
            },
        }
    }
}

/// Some lines as a table; with `schema` once the columns are known.
fn lines(
    path: &str,
    reader: &mut BufReader<File>,
    line: &mut usize,
    schema: Option<&SchemaRef>,
) -> Result<Option<DataFrame>, ScoreError> {
    let mut bytes: Vec<u8> = Vec::new();
    let (mut rows, mut start) = (0, 0);
    let input = |message: String| ScoreError::Input {
        path: path.to_owned(),
        message,
        hint: format!("send Parquet, JSON lines, or an Arrow stream to `-`; of JSON lines {ROWS_HINT}"),
    };
    while rows < BATCH && bytes.len() < JSON_BYTES {
        let most = LINE.most();
        let read = reader.by_ref().take(most.saturating_add(1)).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| input(error.to_string()))?;
        LINE.check(read as u64).map_err(|too_much| ScoreError::Input {
            path: path.to_owned(),
            message: format!("line {} has {too_much}", *line + 1),
            hint: too_much.hint(),
        })?;
        if read == 0 {
            break;
        }
        *line += 1;
        let row = bytes[start..].trim_ascii();
        if row.is_empty() {
            bytes.truncate(start);
            continue;
        }
        limits::json_depth(row).map_err(|(_, too_much)| ScoreError::Input {
            path: path.to_owned(),
            message: format!("line {} has {too_much}", *line),
            hint: too_much.hint(),
        })?;
        let object = row.starts_with(b"{");
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(row) {
            let error = error.to_string().replace(" at line 1 column ", " at column ");
            return Err(input(format!("line {}: {error}", *line)));
        }
        if !object {
            return Err(input(format!("line {} is no object", *line)));
        }
        if bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        rows += 1;
        start = bytes.len();
    }
    if rows == 0 {
        return Ok(None);
    }
    let hint = ROWS_HINT;
    guard(path, hint, || {
        let reader = JsonReader::new(Cursor::new(bytes)).with_json_format(JsonFormat::JsonLines);
        match schema {
            Some(schema) => reader.with_schema(schema.clone()).finish(),
            None => reader.infer_schema_len(None).finish(),
        }
    })
    .map(Some)
}

/// Where scored rows go.
pub struct Sink {
    to: To,
    /// What messages call it.
    path: PathBuf,
    failure: Failure,
}

/// A file has a temporary name until it is finished.
enum To {
    /// Parquet; its writer is there from the first rows on.
    Parquet(tempfile::NamedTempFile, Option<Box<BatchedWriter<Remembering<File>>>>),
    /// JSON lines.
    Lines(tempfile::NamedTempFile),
    /// An Arrow IPC stream on stdout; started with the first batch.
    Arrow(Box<StreamWriter<Remembering<BufWriter<Stdout>>>>, bool),
}

/// What a sink has to say.
#[derive(Debug)]
pub enum SinkError {
    /// Nobody reads stdout any more.
    Closed,
    /// The file cannot be written.
    Failed(StoreError),
}

impl Sink {
    /// `-` is stdout, `.jsonl` JSON lines, everything else Parquet.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn open(name: &str) -> Result<Self, StoreError> {
        let failure = Failure::default();
        if name == "-" {
            let out = failure.of(BufWriter::with_capacity(1 << 20, std::io::stdout()));
            let writer = Box::new(StreamWriter::new(out, WriteOptions { compression: None }));
            return Ok(Self { to: To::Arrow(writer, false), path: "stdout".into(), failure });
        }
        let path = PathBuf::from(name);
        let file = crate::store::temporary(&path)?;
        let ending =
            path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        let to = match &*ending {
            "jsonl" | "ndjson" | "json" => To::Lines(file),
            _ => To::Parquet(file, None),
        };
        Ok(Self { to, path, failure })
    }

    /// Writes some rows; all calls have the same columns.
    ///
    /// # Errors
    /// [`SinkError`].
    pub fn write(&mut self, frame: &mut DataFrame) -> Result<(), SinkError> {
        frame.rechunk_mut();
        let Self { to, path, failure } = self;
        let written = match to {
            To::Parquet(file, writer) => rows_of(file, writer, failure, frame),
            To::Lines(file) => JsonWriter::new(failure.of(file.as_file_mut()))
                .with_json_format(JsonFormat::JsonLines)
                .finish(frame),
            To::Arrow(writer, started) => batches_of(writer, started, frame),
        };
        written.map_err(|error| failed(path, failure, &error))
    }

    /// Ends the table; a file gets its name.
    ///
    /// # Errors
    /// [`SinkError`].
    pub fn finish(self) -> Result<(), SinkError> {
        let Self { to, path, failure } = self;
        let failed = |error: PolarsError| failed(&path, &failure, &error);
        let keep = |file| crate::store::keep(file, &path).map_err(SinkError::Failed);
        match to {
            To::Parquet(file, writer) => {
                if let Some(writer) = writer {
                    writer.finish().map_err(failed)?;
                }
                keep(file)
            }
            To::Lines(file) => keep(file),
            To::Arrow(mut writer, _) => {
                writer.finish().map_err(failed)?;
                writer.into_inner().flush().map_err(|error| failed(error.into()))
            }
        }
    }
}

/// Some rows to a Parquet file that grows.
fn rows_of(
    file: &tempfile::NamedTempFile,
    writer: &mut Option<Box<BatchedWriter<Remembering<File>>>>,
    failure: &Failure,
    frame: &DataFrame,
) -> PolarsResult<()> {
    let writer = match writer {
        Some(writer) => writer,
        None => {
            let new = ParquetWriter::new(failure.of(file.as_file().try_clone()?))
                .with_compression(ParquetCompression::Zstd(None))
                .with_key_value_metadata(Some(crate::store::plain_schema(frame.schema())))
                .batched(frame.schema())?;
            writer.insert(Box::new(new))
        }
    };
    writer.write_batch(frame)
}

/// Some rows to an Arrow stream.
fn batches_of<W: Write>(
    writer: &mut StreamWriter<W>,
    started: &mut bool,
    frame: &DataFrame,
) -> PolarsResult<()> {
    let compat = CompatLevel::oldest();
    if !*started {
        writer.start(&frame.schema().to_arrow(compat), None)?;
        *started = true;
    }
    frame.iter_chunks(compat, false).try_for_each(|batch| writer.write(&batch, None))
}

/// A reader that has gone away is no error.
fn failed(path: &Path, failure: &Failure, error: &PolarsError) -> SinkError {
    if failure.is_closed() { SinkError::Closed } else { SinkError::Failed(failure.reason(path, error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every type that a dataset is likely to have, in one row group of many batches.
    #[test]
    fn a_parquet_file_passes_by_as_it_is() {
        let rows = 2 * BATCH + 77;
        let missing = |row: usize| row % 11 == 3;
        let text: Vec<Option<String>> =
            (0..rows).map(|row| (!missing(row)).then(|| format!("text {} 🦀 {row}", row % 7))).collect();
        let vectors: Vec<Option<Series>> = (0..rows)
            .map(|row| (!missing(row)).then(|| Series::new("".into(), [row as f32, -1.5, f32::MIN_POSITIVE])))
            .collect();
        let lists = ListChunked::from_iter(vectors).into_series();
        let arrays = lists.cast(&DataType::Array(Box::new(DataType::Float32), 3)).unwrap();
        let word =
            Series::new("word".into(), (0..rows).map(|row| ["no", "yes"][row % 2]).collect::<Vec<_>>());
        let mut frame = DataFrame::new(
            rows,
            vec![
                Column::new("text".into(), text),
                Column::new("number".into(), (0..rows as i64).collect::<Vec<_>>()),
                Column::new("share".into(), (0..rows).map(|row| row as f64 / 7.0).collect::<Vec<_>>()),
                Column::new("flag".into(), (0..rows).map(|row| row % 3 == 0).collect::<Vec<_>>()),
                lists.with_name("list".into()).into_column(),
                arrays.with_name("array".into()).into_column(),
                word.cast(&DataType::from_categories(Categories::global())).unwrap().into_column(),
            ],
        )
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.parquet");
        ParquetWriter::new(File::create(&path).unwrap())
            .with_row_group_size(Some(rows))
            .finish(&mut frame)
            .unwrap();
        let mut source = Source::open(&path.display().to_string()).unwrap();
        let mut sizes = Vec::new();
        let mut read: Option<DataFrame> = None;
        while let Some(batch) = source.next_batch().unwrap() {
            sizes.push(batch.height());
            match &mut read {
                Some(read) => drop(read.vstack_mut(&batch).unwrap()),
                None => read = Some(batch),
            }
        }
        let read = read.unwrap();
        assert_eq!(sizes, [BATCH, BATCH, 77]);
        assert_eq!(read.get_column_names(), frame.get_column_names());
        for (read, wrote) in read.columns().iter().zip(frame.columns()) {
            let wrote = wrote.cast(read.dtype()).unwrap();
            assert!(read.equals_missing(&wrote), "{}: {} and {}", read.name(), read.dtype(), wrote.dtype());
        }
    }

    /// Found by fuzzing, among them a stream that ends before the body that its message claims.
    #[test]
    fn what_a_damaged_stream_claims_is_not_believed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fuzz");
        for name in ["claims_stream.arrow", "cut_stream.arrow", "claims.parquet", "page_claims.parquet"] {
            let read = || -> Result<(), ScoreError> {
                let mut source = Source::open(&folder.join(name).to_string_lossy())?;
                while source.next_batch()?.is_some() {}
                Ok(())
            };
            let said = read().unwrap_err().to_string();
            assert!(said.contains("hint: "), "{name}: {said}");
            let words = if name.ends_with("parquet") {
                limits::UNBELIEVABLE_SAID
            } else {
                "in the middle of a message"
            };
            assert!(said.contains(words), "{name}: {said}");
        }
    }

    #[test]
    fn a_parquet_file_that_was_cut_or_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.parquet");
        let values: Vec<String> =
            (0..50_000u32).map(|row| format!("{}", row.wrapping_mul(2_654_435_761))).collect();
        let mut frame = DataFrame::new(values.len(), vec![Column::new("text".into(), values)]).unwrap();
        ParquetWriter::new(File::create(&path).unwrap()).finish(&mut frame).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let name = path.display().to_string();
        let read = || -> Result<(), ScoreError> {
            let mut source = Source::open(&name)?;
            while source.next_batch()?.is_some() {}
            Ok(())
        };
        read().unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(read().unwrap_err().to_string().contains("hint: download or write it again"));
        // Pages that are no longer what the footer says.
        let mut changed = whole.clone();
        let middle = whole.len() / 2;
        changed[1000..middle].fill(0xff);
        std::fs::write(&path, changed).unwrap();
        assert!(read().unwrap_err().to_string().contains("hint: download or write it again"));
    }
}
