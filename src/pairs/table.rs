//! One file of any container as a table whose columns are read when they are needed.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use polars::prelude::*;
use polars_arrow::io::ipc::read::{StreamReader, StreamState, read_stream_metadata};
use sha2::{Digest, Sha256};

use super::arrow_size::arrow_bytes;
use super::columns::{Columns, shorten};
pub(super) use super::container::Container;
use super::container::{damaged, guard, io_error, unpacked_name};
use super::dialect::{self, Dialect, Flaw};
use super::error::PairsError;
use super::features::{self, Classes};
use super::{json_rows, shapes};
use crate::limits::{self, COLUMNS, TooMuch};
use crate::panics;

/// A file that is open for reading columns.
pub(super) struct Table {
    /// Where it lies.
    pub path: PathBuf,
    /// Its columns.
    pub columns: Columns,
    /// Name of the format whose document it is, where it is no table.
    pub document: Option<&'static str>,
    /// Names behind the numbers of `ClassLabel` columns.
    pub classes: Classes,
    /// What `datasets` keeps in the schema, as JSON.
    pub features: Option<String>,
    /// What was mended, for the user.
    pub notes: Vec<String>,
    container: Container,
    content: Content,
}

enum Content {
    Parquet,
    Ipc,
    Stream,
    Csv { bytes: Vec<u8>, dialect: Dialect },
    Frame(DataFrame),
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
        if head.starts_with(&[0xff; 4]) {
            // What no text begins with: the mark of an Arrow stream.
            hash_file(path, &mut file, hash)?;
            Self::open_stream(path)
        } else if head.starts_with(b"PAR1") || matches!(&*extension, "parquet" | "pq" | "parq") {
            check_frame(path, &mut file, &head, "Parquet", b"PAR1")?;
            hash_file(path, &mut file, hash)?;
            Self::open_binary(path, "Parquet", Content::Parquet)
        } else if head.starts_with(b"ARROW1") || matches!(&*extension, "arrow" | "ipc" | "feather") {
            check_frame(path, &mut file, &head, "Arrow IPC", b"ARROW1")?;
            hash_file(path, &mut file, hash)?;
            Self::open_binary(path, "Arrow IPC", Content::Ipc)
        } else {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|error| io_error(path, error))?;
            hash.update(&bytes);
            let (bytes, _) = unpack(path, bytes)?;
            Self::open_text(path, &extension, check_text(path, bytes)?)
        }
    }

    fn open_binary(path: &Path, format: &'static str, content: Content) -> Result<Self, PairsError> {
        let ipc = matches!(content, Content::Ipc);
        let is_understood = check_unpacked(path, if ipc { arrow_bytes } else { limits::parquet_bytes })?;
        let file = crate::limits::open(path).map_err(|error| io_error(path, error))?;
        let (schema, features) = guard(path, format, || {
            if ipc {
                let mut reader = IpcReader::new(file);
                let features = reader.custom_metadata()?.and_then(|metadata| features::of_arrow(&metadata));
                Ok((reader.schema()?, features))
            } else {
                let mut reader = ParquetReader::new(file);
                let schema = reader.schema()?;
                let pairs = reader.get_metadata()?.key_value_metadata.clone().unwrap_or_default();
                let pairs = pairs.iter().find(|pair| pair.key == features::KEY);
                Ok((schema, pairs.and_then(|pair| pair.value.clone())))
            }
        })?;
        if !is_understood {
            return Err(unbelievable(path));
        }
        let columns = types(schema.iter_values());
        check_columns(path, &columns)?;
        Ok(Self {
            path: path.into(),
            columns: Columns(columns),
            document: None,
            classes: features::classes(features.as_deref(), path),
            features,
            notes: Vec::new(),
            container: if ipc { Container::Ipc } else { Container::Parquet },
            content,
        })
    }

    fn open_stream(path: &Path) -> Result<Self, PairsError> {
        let is_understood = check_unpacked(path, arrow_bytes)?;
        let file = crate::limits::open(path).map_err(|error| io_error(path, error))?;
        let metadata = guard(path, "Arrow stream", || read_stream_metadata(&mut BufReader::new(file)))?;
        if !is_understood {
            return Err(unbelievable(path));
        }
        let columns = types(metadata.schema.iter_values());
        check_columns(path, &columns)?;
        let features = metadata.custom_schema_metadata.as_ref().and_then(features::of_arrow);
        Ok(Self {
            path: path.into(),
            columns: Columns(columns),
            document: None,
            classes: features::classes(features.as_deref(), path),
            features,
            notes: Vec::new(),
            container: Container::Stream,
            content: Content::Stream,
        })
    }

    fn open_text(path: &Path, extension: &str, bytes: Vec<u8>) -> Result<Self, PairsError> {
        let first = bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        let json_name = matches!(extension, "json" | "jsonl" | "ndjson" | "jsonlines");
        let csv_name = matches!(extension, "csv" | "tsv" | "tab");
        let mut table = Self {
            path: path.into(),
            columns: Columns::default(),
            document: None,
            classes: features::classes(None, path),
            features: None,
            notes: Vec::new(),
            container: Container::JsonLines,
            content: Content::Stream,
        };
        match first {
            None => return Err(PairsError::Empty { path: path.display().to_string() }),
            Some(b'[' | b'{') if !csv_name => {
                check_json(path, &bytes)?;
                let frame = match shapes::document(&bytes) {
                    Some((shape, Ok(frame))) => {
                        table.document = Some(shape);
                        table.container = Container::Other("it is a document and no table");
                        frame
                    }
                    Some((shape, Err(detail))) => {
                        let hint = "the file is cut short or not of this format; write it again";
                        return Err(damaged(path, shape, detail, hint));
                    }
                    None => {
                        let json = json_rows::read(path, bytes)?;
                        table.notes = json.notes;
                        table.container = json.container;
                        json.frame
                    }
                };
                let columns = frame.columns().iter();
                let columns = columns.map(|column| (column.name().to_string(), column.dtype().clone()));
                table.columns = Columns(columns.collect());
                table.content = Content::Frame(frame);
            }
            Some(_) if json_name => {
                return Err(damaged(
                    path,
                    "JSON",
                    format!("it begins with `{}`, not with `[` or `{{`", first_line(&bytes)),
                    "each line, or each element of one array, must be an object with the columns as keys",
                ));
            }
            Some(_) => {
                let (found, names) = check_csv(path, extension, &bytes)?;
                let names = names.into_iter().filter(|name| !name.is_empty());
                table.columns = Columns(names.map(|name| (name, DataType::String)).collect());
                table.container = Container::Csv;
                table.content = if found.odd {
                    Content::Frame(odd_csv(path, &bytes, &found)?)
                } else {
                    Content::Csv { bytes, dialect: found.dialect }
                };
            }
        }
        Ok(table)
    }

    /// How the file holds its rows.
    pub fn container(&self) -> Container {
        self.container
    }

    /// Whether its cells are text by necessity, so that an empty one says nothing.
    pub fn is_csv(&self) -> bool {
        self.container == Container::Csv
    }

    /// Lets go of all columns but these, where they are already in memory.
    pub fn retain(&mut self, names: &[String]) -> Result<(), PairsError> {
        if let Content::Frame(frame) = &mut self.content {
            *frame = guard(&self.path, "JSON", || frame.select(names))?;
        }
        Ok(())
    }

    /// The named columns, which must be there, in the given order.
    pub fn load(&self, names: &[String]) -> Result<DataFrame, PairsError> {
        if let Some(name) = self.columns.unread(names) {
            return Err(damaged(
                &self.path,
                "a table",
                format!("column `{}` is of a type that is not read", shorten(name)),
                "write it as text or numbers, or name another column",
            ));
        }
        let open = || crate::limits::open(&self.path).map_err(|error| io_error(&self.path, error));
        match &self.content {
            Content::Parquet => {
                let file = open()?;
                let packed = file.metadata().map_or(0, |meta| meta.len());
                let frame = guard(&self.path, "Parquet", || {
                    ParquetReader::new(file).with_columns(Some(names.to_vec())).finish()?.select(names)
                })?;
                check_texts(&self.path, packed, 0, &frame)?;
                Ok(frame)
            }
            Content::Ipc => {
                let file = open()?;
                guard(&self.path, "Arrow IPC", || {
                    IpcReader::new(file).with_columns(Some(names.to_vec())).finish()?.select(names)
                })
            }
            Content::Stream => self.load_stream(names),
            Content::Csv { bytes, dialect } => {
                let bytes = bytes.get(dialect.start..).unwrap_or_default();
                let names: Arc<[PlSmallStr]> = names.iter().map(PlSmallStr::from).collect();
                guard(&self.path, "CSV", || {
                    // Everything as text: no guess from the first rows can then be wrong further down.
                    CsvReadOptions::default()
                        .with_infer_schema_length(Some(0))
                        .with_columns(Some(names.clone()))
                        .with_parse_options(CsvParseOptions::default().with_separator(dialect.separator))
                        .into_reader_with_file_handle(Cursor::new(bytes))
                        .finish()?
                        .select(names.iter().cloned())
                })
            }
            Content::Frame(frame) => guard(&self.path, "JSON", || frame.select(names)),
        }
    }

    /// The same piece by piece, of so many rows at most; a file that is no Parquet is one piece.
    pub fn pieces(
        &self,
        names: &[String],
        rows: usize,
        take: &mut dyn FnMut(DataFrame) -> Result<(), PairsError>,
    ) -> Result<(), PairsError> {
        if !matches!(self.content, Content::Parquet) || self.columns.unread(names).is_some() {
            return take(self.load(names)?);
        }
        let open = || crate::limits::open(&self.path).map_err(|error| io_error(&self.path, error));
        let file = open()?;
        let packed = file.metadata().map_or(0, |meta| meta.len());
        let groups: Vec<usize> = guard(&self.path, "Parquet", || {
            let metadata = ParquetReader::new(file).get_metadata()?.clone();
            Ok(metadata.row_groups.iter().map(|group| group.num_rows()).collect())
        })?;
        // Small groups together: each piece opens the file again, and some writers make a group of every thousand rows.
        let mut slices: Vec<(usize, usize)> = Vec::new();
        let mut start = 0;
        for group in groups {
            for within in (0..group).step_by(rows.max(1)) {
                let part = rows.min(group - within);
                match slices.last_mut() {
                    Some((_, length)) if *length + part <= rows => *length += part,
                    _ => slices.push((start + within, part)),
                }
            }
            start += group;
        }
        let mut bytes = 0;
        for slice in slices {
            let file = open()?;
            let piece = guard(&self.path, "Parquet", || {
                let reader = ParquetReader::new(file).with_columns(Some(names.to_vec()));
                reader.with_slice(Some(slice)).finish()?.select(names)
            })?;
            bytes = check_texts(&self.path, packed, bytes, &piece)?;
            take(piece)?;
        }
        if start == 0 {
            return take(self.load(names)?);
        }
        Ok(())
    }

    /// Columns of an Arrow stream.
    fn load_stream(&self, names: &[String]) -> Result<DataFrame, PairsError> {
        let file = crate::limits::open(&self.path).map_err(|error| io_error(&self.path, error))?;
        guard(&self.path, "Arrow stream", || {
            let mut file = BufReader::new(file);
            let metadata = read_stream_metadata(&mut file)?;
            let places = metadata.schema.iter_names().enumerate();
            // In ascending order, each once, as the reader wants them.
            let wanted: Vec<usize> =
                places.filter(|(_, name)| names.iter().any(|n| n == name.as_str())).map(|(i, _)| i).collect();
            let fields =
                self.columns.0.iter().map(|(name, dtype)| Field::new(name.as_str().into(), dtype.clone()));
            let empty = DataFrame::empty_with_schema(&Schema::from_iter(fields));
            let mut whole: Option<DataFrame> = None;
            for state in StreamReader::new(file, metadata, Some(wanted)) {
                // Waiting is the end, told or not: a file has no more to come, and the reader would say so for ever.
                let StreamState::Some(batch) = state? else { break };
                let part = DataFrame::from(batch);
                whole = Some(match whole {
                    None => part,
                    Some(above) => above.vstack(&part)?,
                });
            }
            whole.unwrap_or(empty).select(names)
        })
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

/// Columns and their types; polars gives up on those that it does not know, which matters where they are needed.
fn types<'a>(fields: impl Iterator<Item = &'a ArrowField>) -> Vec<(String, DataType)> {
    let of = |field: &ArrowField| {
        let dtype = panics::caught(|| DataType::from_arrow_field(field));
        (field.name.to_string(), dtype.unwrap_or(DataType::Unknown(UnknownKind::Any)))
    };
    fields.map(of).collect()
}

fn check_columns(path: &Path, columns: &[(String, DataType)]) -> Result<(), PairsError> {
    let fields: usize = columns.iter().map(|(_, dtype)| fields(dtype)).sum();
    COLUMNS.check(fields as u64).map_err(|too_much| over(path, too_much))
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
/// `before` bytes came of the same file; returns those and the frame's.
fn check_texts(path: &Path, packed: u64, before: u64, frame: &DataFrame) -> Result<u64, PairsError> {
    let texts = frame.columns().iter().filter_map(|column| column.str().ok());
    let bytes = texts
        .map(|texts| texts.iter().flatten().map(|text| text.len() as u64).sum())
        .fold(before, u64::saturating_add);
    limits::unpacked(packed, bytes).map_err(|too_much| over(path, too_much))?;
    Ok(bytes)
}

/// Looks at how large a file says that it becomes, before it does; whether that could be understood. Where it cannot, the
/// reader of the columns' names says why in its own words; where that one sees nothing wrong, [`unbelievable`] is what it is.
fn check_unpacked(path: &Path, becomes: fn(File) -> Option<u64>) -> Result<bool, PairsError> {
    let file = open_plain(path)?;
    let packed = file.metadata().map_or(0, |meta| meta.len());
    let Some(bytes) = becomes(file) else { return Ok(false) };
    if bytes == limits::UNBELIEVABLE {
        return Err(unbelievable(path));
    }
    limits::unpacked(packed, bytes).map_err(|too_much| over(path, too_much))?;
    Ok(true)
}

/// A file that says of its own parts what cannot be.
fn unbelievable(path: &Path) -> PairsError {
    damaged(path, "a table", limits::UNBELIEVABLE_SAID, limits::UNBELIEVABLE_HINT)
}

/// Columns of a text of separated fields that only its own reader takes as it is meant.
fn odd_csv(path: &Path, bytes: &[u8], found: &dialect::Found) -> Result<DataFrame, PairsError> {
    let width = found.names.len();
    let mut cells: Vec<StringChunkedBuilder> =
        found.names.iter().map(|name| StringChunkedBuilder::new(name.as_str().into(), 0)).collect();
    let (mut at, mut header) = (found.dialect.start, true);
    while let Some(record) = found.dialect.record(bytes, at) {
        at = record.next;
        if record.is_blank() || std::mem::take(&mut header) {
            continue;
        }
        for (builder, &(from, to)) in cells.iter_mut().zip(&record.fields) {
            builder.append_option(found.dialect.value(bytes.get(from..to).unwrap_or_default()).as_deref());
        }
    }
    // Nameless columns are an index or nothing.
    let named = cells.into_iter().zip(&found.names).filter(|(_, name)| !name.is_empty());
    let columns: Vec<Column> = named.map(|(builder, _)| builder.finish().into_column()).collect();
    guard(path, "CSV", || match width {
        0 => DataFrame::new_infer_height(Vec::new()),
        _ => DataFrame::new_infer_height(columns),
    })
}

/// Whether a file's name says that tabs separate its fields.
pub(super) fn is_tab(path: &Path) -> bool {
    matches!(&*extension(path), "tsv" | "tab")
}

/// Lower-case extension, that of `x.csv.gz` being `csv`.
fn extension(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let name = unpacked_name(&name);
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
    let known: [(&[u8], &str, &str); 7] = [
        (
            b"version https://git-lfs",
            "it is a Git LFS pointer, not the data",
            "fetch the data with `git lfs pull`",
        ),
        (b"<!doctype html", "it is a web page", "download the file itself, not the page that shows it"),
        (b"<html", "it is a web page", "download the file itself, not the page that shows it"),
        (b"pk\x03\x04", "it is a ZIP archive or an Excel workbook", "unpack it, or export the sheet as CSV"),
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

/// How a text file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Packing {
    Gzip,
    Zstd,
}

/// The bytes of a text file, unpacked where they are packed, and how.
fn unpack(path: &Path, bytes: Vec<u8>) -> Result<(Vec<u8>, Option<Packing>), PairsError> {
    let (packing, format) = if bytes.starts_with(&[0x1f, 0x8b]) {
        (Packing::Gzip, "gzip")
    } else if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        (Packing::Zstd, "zstd")
    } else {
        return Ok((bytes, None));
    };
    let mut text = Vec::new();
    let packed = bytes.len() as u64;
    let read = match packing {
        Packing::Gzip => {
            let decoder = flate2::read::MultiGzDecoder::new(bytes.as_slice());
            limits::Unpacked::new(decoder, packed).read_to_end(&mut text)
        }
        Packing::Zstd => zstd::stream::read::Decoder::new(bytes.as_slice())
            .and_then(|decoder| limits::Unpacked::new(decoder, packed).read_to_end(&mut text)),
    };
    read.map_err(|error| {
        if let Some(too_much) = error.get_ref().and_then(|inner| inner.downcast_ref::<TooMuch>()) {
            return over(path, *too_much);
        }
        damaged(
            path,
            format,
            format!("unpacking stops after {} bytes: {error}", text.len()),
            "it is cut short or damaged; download it again",
        )
    })?;
    match text.get(..4) {
        Some(b"PAR1") => {
            Err(damaged(path, "text", "it is packed Parquet", "unpack it first, with `gunzip` or `unzstd`"))
        }
        _ => Ok((text, Some(packing))),
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

/// Dialect and column names of a CSV file whose records all have as many fields as its header.
fn check_csv(
    path: &Path,
    extension: &str,
    bytes: &[u8],
) -> Result<(dialect::Found, Vec<String>), PairsError> {
    let found = dialect::detect(bytes, matches!(extension, "tsv" | "tab"));
    let (detail, hint) = match found.flaw {
        None => {
            let names = found.names.clone();
            COLUMNS.check(names.len() as u64).map_err(|too_much| over(path, too_much))?;
            let mut seen = std::collections::HashSet::with_capacity(names.len());
            for name in names.iter().filter(|name| !name.is_empty()) {
                if !seen.insert(name) {
                    return Err(PairsError::DuplicateColumn { path: path.into(), name: shorten(name) });
                }
            }
            return Ok((found, names));
        }
        Some(Flaw::Quote(line)) => (
            format!("a quotation mark is never closed, or text follows it, in the record on line {line}"),
            "close it, and double quotation marks inside a field (`\"\"`)",
        ),
        Some(Flaw::Fields(line, count, wanted)) => (
            format!("line {line} has {count} fields, the header has {wanted}"),
            "put fields that hold separators or line breaks in quotation marks",
        ),
    };
    Err(damaged(path, "CSV", detail, hint))
}

/// The bytes of a text file, unpacked, and how they were packed.
pub(super) fn text_bytes(path: &Path) -> Result<(Vec<u8>, Option<Packing>), PairsError> {
    let mut bytes = Vec::new();
    open_plain(path)?.read_to_end(&mut bytes).map_err(|error| io_error(path, error))?;
    unpack(path, bytes)
}
