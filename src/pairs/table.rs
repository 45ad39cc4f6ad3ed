//! One file of any container as a table whose columns are read when they are needed.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use polars::prelude::*;
use sha2::{Digest, Sha256};

use super::columns::{Columns, shorten};
use super::error::PairsError;
use super::shapes;
use super::source::io_error;
use crate::limits::{self, COLUMNS, TooMuch};
use crate::panics;

/// A file that is open for reading columns.
pub(super) struct Table {
    /// Where it lies.
    pub path: PathBuf,
    /// Its columns.
    pub columns: Columns,
    /// Name of the shape whose document it is, where it is no table.
    pub document: Option<&'static str>,
    content: Content,
}

enum Content {
    Parquet,
    Ipc,
    Csv { bytes: Vec<u8>, separator: u8 },
    Frame { frame: DataFrame, array: bool },
}

/// How a file holds its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Parquet,
    Ipc,
    Csv { separator: u8 },
    JsonLines,
    JsonArray,
}

impl Table {
    /// Opens `path`, recognises its container and its columns, and adds its bytes to `hash`.
    pub fn open(path: &Path, hash: &mut Sha256) -> Result<Self, PairsError> {
        let mut file = open_plain(path)?;
        let mut head = Vec::new();
        (&mut file).take(64).read_to_end(&mut head).map_err(|error| io_error(path, error))?;
        file.rewind().map_err(|error| io_error(path, error))?;
        refuse_foreign(path, &head)?;
        let extension = extension(path);
        if head.starts_with(b"PAR1") || matches!(&*extension, "parquet" | "pq" | "parq") {
            check_frame(path, &mut file, &head, "Parquet", b"PAR1")?;
            hash_file(path, &mut file, hash)?;
            Self::open_binary(path, "Parquet", Content::Parquet)
        } else if head.starts_with(b"ARROW1") || matches!(&*extension, "arrow" | "ipc" | "feather") {
            if head.starts_with(&[0xff; 4]) {
                return Err(damaged(
                    path,
                    "Arrow IPC",
                    "it is an Arrow stream, not an Arrow file",
                    "write it as Parquet, for example with `datasets.load_from_disk(…).to_parquet(…)`",
                ));
            }
            check_frame(path, &mut file, &head, "Arrow IPC", b"ARROW1")?;
            hash_file(path, &mut file, hash)?;
            Self::open_binary(path, "Arrow IPC", Content::Ipc)
        } else {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|error| io_error(path, error))?;
            hash.update(&bytes);
            if bytes.starts_with(&[0x1f, 0x8b]) {
                bytes = gunzip(path, &bytes)?;
            }
            Self::open_text(path, &extension, check_text(path, bytes)?)
        }
    }

    fn open_binary(path: &Path, format: &'static str, content: Content) -> Result<Self, PairsError> {
        let file = File::open(path).map_err(|error| io_error(path, error))?;
        let schema = guard(path, format, || match content {
            Content::Ipc => IpcReader::new(file).schema(),
            _ => ParquetReader::new(file).schema(),
        })?;
        let columns: Vec<(String, DataType)> = schema
            .iter_values()
            .map(|field| (field.name.to_string(), DataType::from_arrow_field(field)))
            .collect();
        let fields: usize = columns.iter().map(|(_, dtype)| fields(dtype)).sum();
        COLUMNS.check(fields as u64).map_err(|too_much| over(path, too_much))?;
        if format == "Parquet" {
            check_unpacked(path)?;
        }
        Ok(Self { path: path.into(), columns: Columns(columns), document: None, content })
    }

    fn open_text(path: &Path, extension: &str, bytes: Vec<u8>) -> Result<Self, PairsError> {
        let first = bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        let json_name = matches!(extension, "json" | "jsonl" | "ndjson" | "jsonlines");
        let csv_name = matches!(extension, "csv" | "tsv" | "tab");
        match first {
            None => Err(PairsError::Empty { path: path.display().to_string() }),
            Some(b'[' | b'{') if !csv_name => {
                check_json(path, &bytes)?;
                let (document, frame) = match shapes::document(&bytes) {
                    Some((shape, Ok(frame))) => (Some(shape), frame),
                    Some((shape, Err(detail))) => {
                        let hint = "the file is cut short or not of this format; write it again";
                        return Err(damaged(path, shape, detail, hint));
                    }
                    None => (None, read_json(path, bytes, first == Some(b'['))?),
                };
                let columns = (frame.columns().iter())
                    .map(|column| (column.name().to_string(), column.dtype().clone()))
                    .collect();
                let content = Content::Frame { frame, array: first == Some(b'[') };
                Ok(Self { path: path.into(), columns: Columns(columns), document, content })
            }
            Some(_) if json_name => Err(damaged(
                path,
                "JSON",
                format!("it begins with `{}`, not with `[` or `{{`", first_line(&bytes)),
                "each line, or each element of one array, must be an object with the columns as keys",
            )),
            Some(_) => {
                let (separator, names) = check_csv(path, extension, &bytes)?;
                let columns = names.into_iter().map(|name| (name, DataType::String)).collect();
                Ok(Self {
                    path: path.into(),
                    columns: Columns(columns),
                    document: None,
                    content: Content::Csv { bytes, separator },
                })
            }
        }
    }

    /// How the file holds its rows.
    pub fn container(&self) -> Container {
        match &self.content {
            Content::Parquet => Container::Parquet,
            Content::Ipc => Container::Ipc,
            Content::Csv { separator, .. } => Container::Csv { separator: *separator },
            Content::Frame { array: false, .. } => Container::JsonLines,
            Content::Frame { array: true, .. } => Container::JsonArray,
        }
    }

    /// Lets go of all columns but these, where they are already in memory.
    pub fn retain(&mut self, names: &[String]) -> Result<(), PairsError> {
        if let Content::Frame { frame, .. } = &mut self.content {
            *frame = guard(&self.path, "JSON", || frame.select(names))?;
        }
        Ok(())
    }

    /// The named columns, which must be there, in the given order.
    pub fn load(&self, names: &[String]) -> Result<DataFrame, PairsError> {
        let open = || File::open(&self.path).map_err(|error| io_error(&self.path, error));
        match &self.content {
            Content::Parquet => {
                let file = open()?;
                let packed = file.metadata().map_or(0, |meta| meta.len());
                let frame = guard(&self.path, "Parquet", || {
                    ParquetReader::new(file).with_columns(Some(names.to_vec())).finish()?.select(names)
                })?;
                check_texts(&self.path, packed, &frame)?;
                Ok(frame)
            }
            Content::Ipc => {
                let file = open()?;
                guard(&self.path, "Arrow IPC", || {
                    IpcReader::new(file).with_columns(Some(names.to_vec())).finish()?.select(names)
                })
            }
            Content::Csv { bytes, separator } => {
                let names: Arc<[PlSmallStr]> = names.iter().map(PlSmallStr::from).collect();
                guard(&self.path, "CSV", || {
                    // Everything as text: no guess from the first rows can then be wrong further down.
                    CsvReadOptions::default()
                        .with_infer_schema_length(Some(0))
                        .with_columns(Some(names.clone()))
                        .with_parse_options(CsvParseOptions::default().with_separator(*separator))
                        .into_reader_with_file_handle(Cursor::new(bytes))
                        .finish()?
                        .select(names.iter().cloned())
                })
            }
            Content::Frame { frame, .. } => guard(&self.path, "JSON", || frame.select(names)),
        }
    }
}

/// Opens a file; a pipe or a device is refused before it is opened.
fn open_plain(path: &Path) -> Result<File, PairsError> {
    limits::open_file(path).map_err(|error| match error {
        limits::ReadError::Io(error) => io_error(path, error),
        limits::ReadError::NotAFile(kind) => damaged(
            path,
            "data",
            format!("it is {kind}, no plain file"),
            "save the data to a file, and name that",
        ),
        limits::ReadError::TooMuch(too_much) => over(path, too_much),
    })
}

fn over(path: &Path, too_much: TooMuch) -> PairsError {
    PairsError::TooMuch { path: path.into(), too_much, at: String::new() }
}

/// Fields of a type, those inside of objects included.
fn fields(dtype: &DataType) -> usize {
    match dtype {
        DataType::Struct(inner) => inner.iter().map(|field| fields(&field.dtype)).sum::<usize>().max(1),
        DataType::List(inner) => fields(inner),
        DataType::Array(inner, _) => fields(inner),
        _ => 1,
    }
}

/// JSON that is nested too deep, or has too many fields, is refused before anything is made of it: parsers need stack or
/// memory for each level, and time for each field.
fn check_json(path: &Path, bytes: &[u8]) -> Result<(), PairsError> {
    limits::json_depth(bytes).and_then(|()| limits::json_fields(bytes)).map_err(|(at, too_much)| {
        let line = 1 + bytes.iter().take(at).filter(|byte| **byte == b'\n').count();
        PairsError::TooMuch { path: path.into(), too_much, at: format!(", on line {line}") }
    })
}

/// A text that stands in every row is in memory once, as in the file; but all work is done on each.
fn check_texts(path: &Path, packed: u64, frame: &DataFrame) -> Result<(), PairsError> {
    let texts = frame.columns().iter().filter_map(|column| column.str().ok());
    let bytes = texts
        .map(|texts| texts.iter().flatten().map(|text| text.len() as u64).sum())
        .fold(0, u64::saturating_add);
    limits::unpacked(packed, bytes).map_err(|too_much| over(path, too_much))
}

/// Looks at how large a Parquet file says that it becomes, before it does.
fn check_unpacked(path: &Path) -> Result<(), PairsError> {
    let file = open_plain(path)?;
    let packed = file.metadata().map_or(0, |meta| meta.len());
    // What this reader does not understand, polars says in its own words.
    let bytes = limits::parquet_bytes(file).unwrap_or(0);
    limits::unpacked(packed, bytes).map_err(|too_much| over(path, too_much))
}

fn damaged(
    path: &Path,
    format: &'static str,
    detail: impl Into<String>,
    hint: impl Into<String>,
) -> PairsError {
    PairsError::Damaged { path: path.into(), format, detail: detail.into(), hint: hint.into() }
}

/// Lower-case extension, that of `x.csv.gz` being `csv`.
fn extension(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map(|(_, extension)| extension.to_owned()).unwrap_or_default()
}

/// The first line, short enough to show.
fn first_line(bytes: &[u8]) -> String {
    let line =
        bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    shorten(String::from_utf8_lossy(line.get(..200).unwrap_or(line)).trim())
}

/// Kinds of file that turn up where data was meant, told by their first bytes.
fn refuse_foreign(path: &Path, head: &[u8]) -> Result<(), PairsError> {
    if head.is_empty() {
        return Err(damaged(path, "data", "the file is empty (0 bytes)", "download or write it again"));
    }
    let lower = head.to_ascii_lowercase();
    let known: [(&[u8], &str, &str); 8] = [
        (
            b"version https://git-lfs",
            "it is a Git LFS pointer, not the data",
            "fetch the data with `git lfs pull`",
        ),
        (b"<!doctype html", "it is a web page", "download the file itself, not the page that shows it"),
        (b"<html", "it is a web page", "download the file itself, not the page that shows it"),
        (b"pk\x03\x04", "it is a ZIP archive or an Excel workbook", "unpack it, or export the sheet as CSV"),
        (b"\x28\xb5\x2f\xfd", "it is compressed with zstd", "unpack it with `unzstd`"),
        (b"bzh", "it is compressed with bzip2", "unpack it with `bunzip2`"),
        (b"\xfd7zxz\0", "it is compressed with xz", "unpack it with `unxz`"),
        (b"sqlite format 3", "it is an SQLite database", "export the table as CSV"),
    ];
    match known.iter().find(|(magic, ..)| lower.starts_with(magic)) {
        Some((_, what, hint)) => Err(damaged(path, "data", *what, *hint)),
        None => Ok(()),
    }
}

/// A binary container must begin and end with its mark; one cut short does not.
fn check_frame(
    path: &Path,
    file: &mut File,
    head: &[u8],
    format: &'static str,
    magic: &[u8],
) -> Result<(), PairsError> {
    if !head.starts_with(magic) {
        return Err(damaged(
            path,
            format,
            format!(
                "it does not begin with `{}` but with `{}`",
                String::from_utf8_lossy(magic),
                first_line(head)
            ),
            "check the extension, or write the file again",
        ));
    }
    let size = file.seek(SeekFrom::End(0)).map_err(|error| io_error(path, error))?;
    let mut tail = vec![0; magic.len()];
    let long_enough = size >= 2 * magic.len() as u64 + 4;
    if long_enough {
        file.seek(SeekFrom::End(-(magic.len() as i64))).map_err(|error| io_error(path, error))?;
        file.read_exact(&mut tail).map_err(|error| io_error(path, error))?;
    }
    file.rewind().map_err(|error| io_error(path, error))?;
    if !long_enough || tail != magic {
        return Err(damaged(
            path,
            format,
            format!("it is cut short: its end mark is missing after {size} bytes"),
            "download or write it again",
        ));
    }
    Ok(())
}

fn hash_file(path: &Path, file: &mut File, hash: &mut Sha256) -> Result<(), PairsError> {
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(n) => hash.update(block.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io_error(path, error)),
        }
    }
}

fn gunzip(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, PairsError> {
    let mut text = Vec::new();
    let decoder = flate2::read::MultiGzDecoder::new(bytes);
    limits::Unpacked::new(decoder, bytes.len() as u64).read_to_end(&mut text).map_err(|error| {
        if let Some(too_much) = error.get_ref().and_then(|inner| inner.downcast_ref::<TooMuch>()) {
            return over(path, *too_much);
        }
        damaged(
            path,
            "gzip",
            format!("unpacking stops after {} bytes: {error}", text.len()),
            "it is cut short or damaged; download it again",
        )
    })?;
    match text.get(..4) {
        Some(b"PAR1") => Err(damaged(path, "text", "it is Parquet inside gzip", "unpack it with `gunzip`")),
        _ => Ok(text),
    }
}

/// UTF-8 without its byte order mark, or what else it is and where.
fn check_text(path: &Path, mut bytes: Vec<u8>) -> Result<Vec<u8>, PairsError> {
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        bytes.drain(..3);
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(PairsError::Encoding {
            path: path.into(),
            detail: "it begins with the byte order mark of UTF-16".into(),
            from: "UTF-16",
        });
    }
    if let Err(error) = std::str::from_utf8(&bytes) {
        let at = error.valid_up_to();
        let line = 1 + bytes.iter().take(at).filter(|byte| **byte == b'\n').count();
        let byte = bytes.get(at).copied().unwrap_or_default();
        return Err(PairsError::Encoding {
            path: path.into(),
            detail: format!("line {line}, byte offset {at}: unexpected byte 0x{byte:02x}"),
            from: "WINDOWS-1252",
        });
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        // NUL in the middle of ASCII is what UTF-16 without a mark, or a binary file, looks like.
        let zeros = bytes.iter().take(4096).filter(|byte| **byte == 0).count();
        if at < 4 || zeros > 16 {
            return Err(PairsError::Encoding {
                path: path.into(),
                detail: format!("it has zero bytes, the first at offset {at}: UTF-16 or no text at all"),
                from: "UTF-16LE",
            });
        }
    }
    Ok(bytes)
}

/// Separator and column names of a CSV file whose records all have as many fields as its header.
fn check_csv(path: &Path, extension: &str, bytes: &[u8]) -> Result<(u8, Vec<String>), PairsError> {
    let header_end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let header = bytes.get(..header_end).unwrap_or_default();
    let separator = if matches!(extension, "tsv" | "tab") {
        b'\t'
    } else {
        // The first of the most frequent ones: a comma unless something else clearly separates.
        let count = |separator: u8| header.iter().filter(|byte| **byte == separator).count();
        [b',', b'\t', b';', b'|'].into_iter().rev().max_by_key(|s| count(*s)).unwrap_or(b',')
    };
    // Quotes come in pairs, doubled ones too; an odd count means that one is never closed.
    if bytes.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        return Err(damaged(
            path,
            "CSV",
            format!(
                "a quotation mark is never closed, probably the one opened on line {}",
                open_quote(bytes, separator)
            ),
            "close it, and double quotation marks inside a field (`\"\"`)",
        ));
    }
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).has_headers(true).from_reader(bytes);
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(str::to_owned).collect(),
        Err(error) => return Err(damaged(path, "CSV", error.to_string(), "check its first line")),
    };
    COLUMNS.check(names.len() as u64).map_err(|too_much| over(path, too_much))?;
    let mut seen = std::collections::HashSet::with_capacity(names.len());
    for name in &names {
        if !seen.insert(name) {
            return Err(PairsError::DuplicateColumn { path: path.into(), name: shorten(name) });
        }
    }
    let mut record = csv::ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok((separator, names)),
            Err(error) => {
                let detail = match error.kind() {
                    csv::ErrorKind::UnequalLengths { pos, expected_len, len } => format!(
                        "line {} has {len} fields, the header has {expected_len}",
                        pos.as_ref().map_or(0, csv::Position::line)
                    ),
                    _ => error.to_string(),
                };
                return Err(damaged(
                    path,
                    "CSV",
                    detail,
                    "put fields that hold separators or line breaks in quotation marks",
                ));
            }
        }
    }
}

/// Line on which the quoted field begins that is still open at the end.
fn open_quote(bytes: &[u8], separator: u8) -> usize {
    let (mut line, mut opened, mut inside, mut before) = (1, 1, false, separator);
    for &byte in bytes {
        match byte {
            b'\n' => line += 1,
            b'"' if inside => inside = false,
            b'"' if before == separator || before == b'\n' || before == b'"' => {
                if before != b'"' {
                    opened = line;
                }
                inside = true;
            }
            _ => {}
        }
        before = byte;
    }
    opened
}

/// JSON lines or one array, after each line was seen to be valid: polars says neither line nor reason.
fn read_json(path: &Path, bytes: Vec<u8>, array: bool) -> Result<DataFrame, PairsError> {
    use serde::de::IgnoredAny;
    let hint = "each line, or each element of one array, must be an object with the columns as keys";
    if array {
        if let Err(error) = serde_json::from_slice::<Vec<IgnoredAny>>(&bytes) {
            return Err(damaged(path, "JSON", error.to_string(), hint));
        }
    } else {
        for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let problem = match serde_json::from_slice::<IgnoredAny>(line) {
                Err(_) if i == 0 && serde_json::from_slice::<IgnoredAny>(&bytes).is_ok() => {
                    "it is one object, not rows".to_owned()
                }
                Err(error) => format!("line {}: {}", i + 1, at_column(&error)),
                Ok(_) if line.first() != Some(&b'{') => format!("line {} is no object", i + 1),
                Ok(_) => continue,
            };
            return Err(damaged(path, "JSON lines", problem, hint));
        }
    }
    let format = if array { JsonFormat::Json } else { JsonFormat::JsonLines };
    guard(path, "JSON", || {
        JsonReader::new(Cursor::new(bytes)).with_json_format(format).infer_schema_len(None).finish()
    })
}

/// serde_json's message for one line, without its "line 1".
fn at_column(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// The bytes of a text file, unpacked; whether they were packed.
pub(super) fn text_bytes(path: &Path) -> Result<(Vec<u8>, bool), PairsError> {
    let mut bytes = Vec::new();
    open_plain(path)?.read_to_end(&mut bytes).map_err(|error| io_error(path, error))?;
    if bytes.starts_with(&[0x1f, 0x8b]) { Ok((gunzip(path, &bytes)?, true)) } else { Ok((bytes, false)) }
}

/// Runs a reader of polars; neither its errors nor its panics on damaged bytes leave here as such.
pub(super) fn guard<T>(
    path: &Path,
    format: &'static str,
    read: impl FnOnce() -> PolarsResult<T>,
) -> Result<T, PairsError> {
    let detail = match panics::caught(read) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => shorten_message(&error.to_string()),
        Err(panicked) if panicked.is_out_of_threads => {
            return Err(PairsError::NoThreads { path: path.into(), detail: panicked.message });
        }
        Err(panicked) => format!("its content contradicts itself ({})", panicked.message),
    };
    Err(damaged(
        path,
        format,
        detail,
        "the file is damaged or was not written as its name says; write it again",
    ))
}

/// The first line of a library's message, at most 200 characters.
fn shorten_message(text: &str) -> String {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown").trim().chars().take(200).collect()
}
