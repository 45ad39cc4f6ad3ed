//! Tables that pass by in batches: Parquet, JSON lines, an Arrow stream on stdin or stdout.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::*;
use polars_arrow::io::ipc::read::{StreamReader, StreamState, read_stream_metadata};
use polars_arrow::io::ipc::write::{StreamWriter, WriteOptions};

use super::ScoreError;

/// Rows in memory at a time.
pub const BATCH: usize = 8192;
/// Bytes of JSON lines read at a time.
const JSON_BYTES: usize = 16 << 20;

/// Where rows come from.
pub enum Source {
    /// A Parquet file, by row.
    Parquet {
        /// The file's name.
        path: String,
        /// The next row.
        next: usize,
        /// All rows.
        rows: usize,
        /// The columns.
        schema: SchemaRef,
    },
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
    /// An Arrow IPC stream.
    Arrow {
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

const ROWS_HINT: &str = "each line must be an object with the columns as keys";
const STREAM_HINT: &str =
    "send an Arrow IPC stream, for example `pyarrow.ipc.new_stream(sys.stdout.buffer, schema)`";

/// Runs a reader of polars; neither its errors nor its panics on damaged bytes leave here as such.
fn guard<T>(path: &str, hint: &str, read: impl FnOnce() -> PolarsResult<T>) -> Result<T, ScoreError> {
    let input = |message: String| ScoreError::Input { path: path.to_owned(), message, hint: hint.to_owned() };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(input(error.to_string().lines().next().unwrap_or_default().to_owned())),
        Err(_) => Err(input("it is damaged".into())),
    }
}

impl Source {
    /// Opens a file by its bytes, or the Arrow stream on stdin for `-`.
    ///
    /// # Errors
    /// Where it is none of these, or damaged.
    pub fn open(name: &str) -> Result<Self, ScoreError> {
        if name == "-" {
            return Self::arrow("stdin", Box::new(std::io::stdin()));
        }
        let path = Path::new(name);
        let input = |message: String, hint: &str| ScoreError::Input {
            path: name.to_owned(),
            message,
            hint: hint.to_owned(),
        };
        let open = || File::open(path).map_err(|error| input(error.to_string(), "check the path"));
        if path.is_dir() {
            return Err(input("it is a folder".into(), "name one file"));
        }
        let mut head = [0; 8];
        let mut file = open()?;
        let read = file.read(&mut head).map_err(|error| input(error.to_string(), "check the path"))?;
        let head = &head[..read];
        if head.starts_with(b"PAR1") {
            let hint = "download or write it again";
            let mut reader = ParquetReader::new(open()?);
            let schema = guard(name, hint, || reader.schema())?;
            let rows = guard(name, hint, || reader.num_rows())?;
            let schema = Arc::new(Schema::from_arrow_schema(&schema));
            return Ok(Self::Parquet { path: name.to_owned(), next: 0, rows, schema });
        }
        if head.starts_with(&[0xff; 4]) {
            return Self::arrow(name, Box::new(open()?));
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

    fn arrow(name: &str, inner: Box<dyn Read + Send>) -> Result<Self, ScoreError> {
        let inner: Box<dyn Read + Send> = Box::new(BufReader::with_capacity(1 << 20, inner));
        let mut forward = Forward { inner, at: 0 };
        let metadata = guard(name, STREAM_HINT, || read_stream_metadata(&mut forward))?;
        let schema = Arc::new(Schema::from_arrow_schema(&metadata.schema));
        let reader = Box::new(StreamReader::new(forward, metadata, None));
        Ok(Self::Arrow { reader, schema, left: None })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Self::Parquet { schema, .. } | Self::Lines { schema, .. } | Self::Arrow { schema, .. } => schema,
        }
    }

    /// Rows, where known before.
    pub fn rows(&self) -> Option<usize> {
        if let Self::Parquet { rows, .. } = self { Some(*rows) } else { None }
    }

    /// The next rows, at most [`BATCH`] (JSON lines: some megabytes); `None` at the end.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<DataFrame>, ScoreError> {
        match self {
            Self::Parquet { path, next, rows, .. } => {
                if next >= rows {
                    return Ok(None);
                }
                let length = BATCH.min(*rows - *next);
                let file = File::open(&*path).map_err(|error| ScoreError::Input {
                    path: path.clone(),
                    message: error.to_string(),
                    hint: "it must stay where it is while it is scored".into(),
                })?;
                let frame = guard(path, "download or write it again", || {
                    ParquetReader::new(file)
                        .with_slice(Some((*next, length)))
                        .read_parallel(ParallelStrategy::None)
                        .set_low_memory(true)
                        .finish()
                })?;
                *next += length;
                Ok(Some(frame))
            }
            Self::Lines { path, reader, line, schema, first } => match first.take() {
                Some(first) => Ok(Some(first)),
                None => lines(path, reader, line, Some(schema)),
            },
            Self::Arrow { reader, schema, left } => loop {
                if let Some(frame) = left.take().filter(|frame| frame.height() > 0) {
                    let rest = frame.height().saturating_sub(BATCH);
                    *left = (rest > 0).then(|| frame.slice(BATCH as i64, rest));
                    return Ok(Some(frame.slice(0, BATCH)));
                }
                let batch = guard("the Arrow stream", STREAM_HINT, || reader.next().transpose())?;
                match batch {
                    // The end, told or not.
                    None | Some(StreamState::Waiting) => return Ok(None),
                    Some(StreamState::Some(batch)) => {
                        let height = batch.len();
                        let fields: Vec<_> = reader.schema().iter_values().cloned().collect();
                        let frame = guard("the Arrow stream", STREAM_HINT, || {
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
        let read = reader.read_until(b'\n', &mut bytes).map_err(|error| input(error.to_string()))?;
        if read == 0 {
            break;
        }
        *line += 1;
        let row = bytes[start..].trim_ascii();
        if row.is_empty() {
            bytes.truncate(start);
            continue;
        }
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
pub enum Sink {
    /// A Parquet file under a temporary name until it is finished.
    Parquet(Box<Parquet>),
    /// JSON lines, the same way.
    Lines(tempfile::NamedTempFile, std::path::PathBuf),
    /// An Arrow IPC stream on stdout; started with the first batch.
    Arrow(Box<StreamWriter<std::io::BufWriter<std::io::Stdout>>>, bool),
}

/// A Parquet file that grows.
pub struct Parquet {
    file: tempfile::NamedTempFile,
    path: std::path::PathBuf,
    writer: Option<polars::io::parquet::write::BatchedWriter<File>>,
}

/// What a sink has to say.
#[derive(Debug)]
pub enum SinkError {
    /// Nobody reads stdout any more.
    Closed,
    /// The file cannot be written.
    Failed(crate::run::RunError),
}

impl Sink {
    /// `-` is stdout, `.jsonl` JSON lines, everything else Parquet.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn open(name: &str) -> Result<Self, crate::run::RunError> {
        if name == "-" {
            let out = std::io::BufWriter::with_capacity(1 << 20, std::io::stdout());
            return Ok(Self::Arrow(
                Box::new(StreamWriter::new(out, WriteOptions { compression: None })),
                false,
            ));
        }
        let path = std::path::PathBuf::from(name);
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let io = |source| crate::run::RunError::Io { action: "write", path: path.clone(), source };
        if path.is_dir() {
            return Err(io(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
        }
        let file =
            tempfile::Builder::new().prefix(crate::run::TEMPORARY_PREFIX).tempfile_in(folder).map_err(io)?;
        let ending =
            path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        if matches!(&*ending, "jsonl" | "ndjson" | "json") {
            return Ok(Self::Lines(file, path));
        }
        Ok(Self::Parquet(Box::new(Parquet { file, path, writer: None })))
    }

    /// Writes some rows; all calls have the same columns.
    ///
    /// # Errors
    /// [`SinkError`].
    pub fn write(&mut self, frame: &mut DataFrame) -> Result<(), SinkError> {
        frame.rechunk_mut();
        match self {
            Self::Parquet(parquet) => {
                let path = parquet.path.clone();
                let failed = |error: PolarsError| failed(&path, error);
                if parquet.writer.is_none() {
                    let io =
                        |source| crate::run::RunError::Io { action: "write", path: path.clone(), source };
                    let file = parquet.file.as_file().try_clone().map_err(|e| SinkError::Failed(io(e)))?;
                    parquet.writer = Some(
                        ParquetWriter::new(file)
                            .with_compression(ParquetCompression::Zstd(None))
                            .with_key_value_metadata(Some(crate::run::plain_schema(frame.schema())))
                            .batched(frame.schema())
                            .map_err(failed)?,
                    );
                }
                if let Some(writer) = &mut parquet.writer {
                    writer.write_batch(frame).map_err(failed)?;
                }
                Ok(())
            }
            Self::Lines(file, path) => JsonWriter::new(file.as_file_mut())
                .with_json_format(JsonFormat::JsonLines)
                .finish(frame)
                .map_err(|error| failed(path, error)),
            Self::Arrow(writer, started) => {
                let out = Path::new("stdout");
                let compat = CompatLevel::oldest();
                if !*started {
                    let schema = frame.schema().to_arrow(compat);
                    writer.start(&schema, None).map_err(|error| failed(out, error))?;
                    *started = true;
                }
                for batch in frame.iter_chunks(compat, false) {
                    writer.write(&batch, None).map_err(|error| failed(out, error))?;
                }
                Ok(())
            }
        }
    }

    /// Ends the table; a file gets its name.
    ///
    /// # Errors
    /// [`SinkError`].
    pub fn finish(self) -> Result<(), SinkError> {
        let keep = |file: tempfile::NamedTempFile, path: &Path| {
            let io = |source| {
                SinkError::Failed(crate::run::RunError::Io { action: "write", path: path.into(), source })
            };
            crate::run::make_readable(file.as_file());
            file.as_file().sync_all().map_err(io)?;
            file.persist(path).map_err(|error| io(error.error))?;
            Ok(())
        };
        match self {
            Self::Parquet(parquet) => {
                let Parquet { file, path, writer } = *parquet;
                if let Some(writer) = writer {
                    writer.finish().map_err(|error| failed(&path, error))?;
                }
                keep(file, &path)
            }
            Self::Lines(file, path) => keep(file, &path),
            Self::Arrow(mut writer, _) => {
                let out = Path::new("stdout");
                writer.finish().map_err(|error| failed(out, error))?;
                let mut out = writer.into_inner();
                out.flush().map_err(|error| failed(Path::new("stdout"), error.into()))
            }
        }
    }
}

/// A reader that has gone away is no error.
fn failed(path: &Path, error: PolarsError) -> SinkError {
    match error {
        PolarsError::IO { error, .. } if error.kind() == std::io::ErrorKind::BrokenPipe => SinkError::Closed,
        PolarsError::IO { error, .. } => SinkError::Failed(crate::run::RunError::Io {
            action: "write",
            path: path.into(),
            source: std::io::Error::new(error.kind(), error.to_string()),
        }),
        error => SinkError::Failed(crate::run::RunError::Table {
            action: "write",
            path: path.into(),
            message: error.to_string(),
        }),
    }
}
