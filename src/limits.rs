//! What is too much: every limit in one place, so that no file and no server can fill the memory, run for ever or end
//! the process. A limit is looked at before the memory is taken; where a user has a reason, an environment variable
//! raises it, which the doors read and hand to [`set`]; and what is over ends in a message that says what, where and how
//! to go on.

mod footer;

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// A limit: how much, of what, and the variable that raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Of what there is too much, in the plural: "levels of nesting".
    pub what: &'static str,
    /// The most, unless the user says otherwise.
    pub most: u64,
    /// The variable by which the user says otherwise; a number, or a size such as `4 GB`.
    pub variable: &'static str,
    /// Bytes are shown as such.
    pub is_bytes: bool,
}

const fn count(what: &'static str, most: u64, variable: &'static str) -> Limit {
    Limit { what, most, variable, is_bytes: false }
}

const fn size(what: &'static str, most: u64, variable: &'static str) -> Limit {
    Limit { what, most, variable, is_bytes: true }
}

/// Levels of lists and objects in a JSON value of a dataset. Conversations have four or five.
pub const JSON_DEPTH: Limit = count("levels of nesting", 64, "WIMHF_MAX_JSON_DEPTH");
/// Empty lists and objects of a JSON text that is made of little else: each takes a hundred times its size.
pub const EMPTY: Limit = count("empty lists and objects", 1_000_000, "WIMHF_MAX_EMPTY");
/// A text with fewer bytes for each of them is made of little else.
const EMPTY_BYTES: u64 = 8;
/// Columns of a table, those in objects included. What is beyond is no preference dataset.
pub const COLUMNS: Limit = count("columns", 4096, "WIMHF_MAX_COLUMNS");
/// Bytes that a compressed file may become.
pub const UNPACKED: Limit = size("unpacked", 16 << 30, "WIMHF_MAX_UNPACKED");
/// How many times larger than itself a compressed file may become, once it is larger than [`UNPACKED_FREE`].
pub const RATIO: Limit = count("times its size when unpacked", 100, "WIMHF_MAX_RATIO");
/// Up to so many bytes any file may become, whatever its size.
pub const UNPACKED_FREE: u64 = 128 << 20;
/// Length of a vector.
pub const DIMENSIONS: Limit = count("dimensions", 16_384, "WIMHF_MAX_DIMENSIONS");
/// Bytes of all vectors of a run together, in memory: pairs × dimensions × 4.
pub const VECTORS: Limit = size("of vectors", 32 << 30, "WIMHF_MAX_VECTORS");
/// Bytes of a server's answer. A batch of 256 vectors of 4,096 numbers has 14 MB.
pub const ANSWER: Limit = size("in an answer", 64 << 20, "WIMHF_MAX_ANSWER");
/// Bytes of one line of JSON lines that pass by.
pub const LINE: Limit = size("in one line", 256 << 20, "WIMHF_MAX_LINE");
/// Bytes of a file of certificates.
pub const CERTIFICATES: Limit = size("of certificates", 16 << 20, "WIMHF_MAX_CERTIFICATES");
/// Bytes of a record that this program writes itself (`run.json` …) and reads whole.
pub const RECORD: Limit = size("in a record", 1 << 30, "WIMHF_MAX_RECORD");
/// Bytes of a text that a user writes by hand: settings, concepts, rules, prompts. Each of them takes many times its size.
pub const TEXT: Limit = size("of text", 4 << 20, "WIMHF_MAX_TEXT");
/// Files that one name, folder or pattern may stand for.
pub const FILES: Limit = count("files", 100_000, "WIMHF_MAX_FILES");

/// Every limit, for the documentation.
pub const ALL: [Limit; 13] = [
    EMPTY,
    TEXT,
    LINE,
    JSON_DEPTH,
    COLUMNS,
    UNPACKED,
    RATIO,
    DIMENSIONS,
    VECTORS,
    ANSWER,
    CERTIFICATES,
    RECORD,
    FILES,
];

/// `12345` as `12,345`.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Where nobody said otherwise.
const UNSAID: u64 = u64::MAX;

/// What the user says about each of [`ALL`]. Limits guard the memory of the process, so they are the process's: the one
/// thing that is.
static SAID: [AtomicU64; ALL.len()] = [const { AtomicU64::new(UNSAID) }; ALL.len()];

/// Takes over what the user says; `variable` looks an environment variable up. Whoever does not call this has the limits
/// as they stand above.
pub fn set(variable: impl Fn(&str) -> Option<String>) {
    for (limit, said) in ALL.iter().zip(&SAID) {
        let most = variable(limit.variable).and_then(|text| bytes(&text));
        said.store(most.unwrap_or(UNSAID), Ordering::Relaxed);
    }
}

/// More than a limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch {
    limit: Limit,
    /// How much there is; `None` where it was not counted to the end.
    found: Option<u64>,
}

impl Limit {
    /// The most: what the user says, or the default.
    pub fn most(&self) -> u64 {
        let at = ALL.iter().position(|limit| limit.variable == self.variable);
        let said = at.and_then(|at| SAID.get(at)).map_or(UNSAID, |said| said.load(Ordering::Relaxed));
        if said == UNSAID { self.most } else { said }
    }

    /// Looks at how much there is.
    ///
    /// # Errors
    /// [`TooMuch`] where it is more than the limit.
    pub fn check(&self, found: u64) -> Result<(), TooMuch> {
        if found > self.most() { Err(TooMuch { limit: *self, found: Some(found) }) } else { Ok(()) }
    }

    /// Too much, seen before the end was reached.
    pub fn exceeded(&self) -> TooMuch {
        TooMuch { limit: *self, found: None }
    }

    fn shown(&self, number: u64) -> String {
        if !self.is_bytes {
            return number.to_string();
        }
        match number {
            0..=9_999 => format!("{number} bytes"),
            10_000..=9_999_999 => format!("{} kB", number / 1000),
            10_000_000..=9_999_999_999 => format!("{} MB", number / 1_000_000),
            _ => format!("{} GB", number / 1_000_000_000),
        }
    }
}

impl TooMuch {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let double = self.found.unwrap_or(self.limit.most()).max(self.limit.most()).saturating_mul(2);
        format!("if that is meant, `{}={}` raises the limit", self.limit.variable, double)
    }
}

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { what, .. } = self.limit;
        let most = self.limit.shown(self.limit.most());
        match self.found {
            Some(found) => {
                write!(f, "{} {what}, more than the {most} that are allowed", self.limit.shown(found))
            }
            None => write!(f, "more than the {most} {what} that are allowed"),
        }
    }
}

impl std::error::Error for TooMuch {}

/// Why a file could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A device, a pipe or a socket: reading it may never end.
    #[error("it is {0}, no plain file")]
    NotAFile(&'static str),
    /// Larger than the limit.
    #[error("{0}\nhint: {hint}", hint = .0.hint())]
    TooMuch(#[from] TooMuch),
}

/// What a path is that is no plain file and no folder; `None` where it is one of these, or nothing at all.
/// Follows links, as what they lead to is what would be read.
pub fn odd_kind(path: &Path) -> Option<&'static str> {
    let kind = std::fs::metadata(path).ok()?.file_type();
    if kind.is_file() || kind.is_dir() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kinds = [
            (kind.is_fifo(), "a pipe"),
            (kind.is_char_device() || kind.is_block_device(), "a device"),
            (kind.is_socket(), "a socket"),
        ];
        if let Some((_, name)) = kinds.into_iter().find(|(is, _)| *is) {
            return Some(name);
        }
    }
    Some("a special file")
}

/// Opens a plain file to read. A pipe or a device is refused before it is opened: opening a pipe waits for a writer.
///
/// # Errors
/// [`ReadError::Io`], [`ReadError::NotAFile`].
pub fn open_file(path: &Path) -> Result<std::fs::File, ReadError> {
    if let Some(kind) = odd_kind(path) {
        return Err(ReadError::NotAFile(kind));
    }
    Ok(std::fs::File::open(path)?)
}

/// Reads a plain file whole, up to a limit that is looked at before anything is read.
///
/// # Errors
/// See [`ReadError`].
pub fn read_file(path: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    let file = open_file(path)?;
    limit.check(file.metadata()?.len())?;
    let mut bytes = Vec::new();
    // It may grow while it is read.
    let most = limit.most();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    limit.check(bytes.len() as u64)?;
    Ok(bytes)
}

impl From<ReadError> for std::io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            ReadError::NotAFile(_) => Self::new(ErrorKind::InvalidInput, error),
            ReadError::TooMuch(too_much) => Self::new(ErrorKind::FileTooLarge, too_much),
        }
    }
}

/// [`std::fs::File::open`] for every file that a user may have named or changed: see [`open_file`].
///
/// # Errors
/// Those of the system; [`ErrorKind::InvalidInput`] for a pipe or a device.
pub fn open(path: impl AsRef<Path>) -> std::io::Result<std::fs::File> {
    Ok(open_file(path.as_ref())?)
}

/// [`std::fs::read`] of a record or a model's file, held to [`RECORD`]: see [`read_file`].
///
/// # Errors
/// Those of [`open`]; [`ErrorKind::FileTooLarge`].
pub fn read(path: impl AsRef<Path>) -> std::io::Result<Vec<u8>> {
    Ok(read_file(path.as_ref(), RECORD)?)
}

/// [`std::fs::read_to_string`] of a text that a user wrote, held to [`TEXT`].
///
/// # Errors
/// Those of [`read`]; [`ErrorKind::InvalidData`] where it is no UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> std::io::Result<String> {
    let bytes = read_file(path.as_ref(), TEXT)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        std::io::Error::new(ErrorKind::InvalidData, format!("it is not UTF-8 text, on line {line}"))
    })
}

/// What the system said, without its number.
pub fn said(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// What helps against it, as the last line of a message; empty where nobody knows.
pub fn hint(error: &std::io::Error) -> String {
    let too_much = error.get_ref().and_then(|inner| inner.downcast_ref::<TooMuch>());
    if let Some(too_much) = too_much {
        return format!("\nhint: {}", too_much.hint());
    }
    // An error that wraps another keeps its number in the text alone.
    let text = error.to_string();
    let written = || text.split(" (os error ").nth(1)?.split(')').next()?.parse().ok();
    let code: Option<i32> = error.raw_os_error().or_else(written);
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => "give yourself the right to it, or name another place",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room on the disk, or name another place; the same command goes on from here"
        }
        ErrorKind::ReadOnlyFilesystem => "the disk can only be read; name another place",
        ErrorKind::NotFound | ErrorKind::NotADirectory => "check the name; the folder must be there",
        ErrorKind::FileTooLarge => "a limit on the size of files is set (`ulimit -f`)",
        ErrorKind::IsADirectory | ErrorKind::InvalidInput => "name a plain file",
        ErrorKind::InvalidData => "write it as UTF-8 text",
        ErrorKind::InvalidFilename => "name it shorter",
        ErrorKind::AlreadyExists => "something else is there; name another place",
        // Kinds without a name: a link that leads to itself, too many open files.
        _ if code == Some(40) => "the link leads to itself; name the file that is meant",
        _ if matches!(code, Some(23 | 24)) => "raise the limit on open files (`ulimit -n`)",
        _ if code.is_some() => "check the disk that it lies on, or name another place",
        _ => return String::new(),
    };
    format!("\nhint: {hint}")
}

/// Bytes that a list or an object takes in memory while JSON becomes a table (measured).
const OPENED_BYTES: u64 = 640;
/// Bytes that a field takes in each row of a table, whether the row has it or not.
const FIELD_BYTES: u64 = 16;
/// Bytes that a field further down takes for every object that holds it (measured): each carries the type of all that
/// is in it, so that objects in objects in objects take the square of their depth.
const HELD_BYTES: u64 = 560;

/// The levels of nesting of a JSON text, counted without reading it: brackets outside of strings; and how many lists and
/// objects are empty. `Err` as soon as there are more levels than the limit.
///
/// # Errors
/// The byte at which there are too many, with the limit.
pub fn json_depth(text: &[u8]) -> Result<(), (usize, TooMuch)> {
    let most = JSON_DEPTH.most();
    let (mut depth, mut inside, mut escaped) = (0_u64, false, false);
    let (mut empty, mut opened, mut last) = (0_u64, 0_u64, 0_u8);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b'[' | b'{' if !inside => {
                depth += 1;
                opened += 1;
                if depth > most {
                    return Err((at, JSON_DEPTH.exceeded()));
                }
            }
            b']' | b'}' if !inside => {
                depth = depth.saturating_sub(1);
                empty += u64::from(matches!(last, b'[' | b'{'));
            }
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            last = if inside { b'"' } else { *byte };
        }
    }
    // Some here and there say nothing; where they are most of a file, memory is all that they are for.
    if empty.saturating_mul(EMPTY_BYTES) > text.len() as u64 {
        EMPTY.check(empty).map_err(|too_much| (text.len(), too_much))?;
    }
    unpacked(text.len() as u64, opened.saturating_mul(OPENED_BYTES))
        .map_err(|too_much| (text.len(), too_much))?;
    Ok(())
}

/// Counts the different fields of JSON values, those of objects inside included, and what objects hold further down.
struct Fields<'a> {
    seen: &'a mut HashSet<u64>,
    most: u64,
    /// Hash of the names that lead here.
    path: u64,
    /// Fields below those of an object itself, summed over all objects.
    held: &'a mut u64,
}

/// What is in a value: its fields, and those of the objects in it.
impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<u64, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_u64<E>(self, _: u64) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_f64<E>(self, _: f64) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_str<E>(self, _: &str) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_unit<E>(self) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<u64, A::Error> {
        let Self { seen, most, path, held } = self;
        let mut widest = 0;
        while let Some(inside) =
            values.next_element_seed(Fields { seen: &mut *seen, most, path, held: &mut *held })?
        {
            widest = widest.max(inside);
        }
        Ok(widest)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<u64, A::Error> {
        let Self { seen, most, path, held } = self;
        let (mut own, mut below) = (0, 0);
        while let Some(name) = values.next_key::<std::borrow::Cow<'de, str>>()? {
            let mut hash = DefaultHasher::new();
            (path, &*name).hash(&mut hash);
            let path = hash.finish();
            seen.insert(path);
            if seen.len() as u64 > most {
                return Err(serde::de::Error::custom(""));
            }
            own += 1;
            below += values.next_value_seed(Fields { seen: &mut *seen, most, path, held: &mut *held })?;
        }
        *held += below;
        Ok(own + below)
    }
}

/// Whether a JSON text, of one value or of one on each line, has more different fields than [`COLUMNS`] allows, or becomes
/// too large a table: every row has a place for every field. What is no JSON is none of its business.
///
/// # Errors
/// The byte at which there are too many, with the limit.
pub fn json_fields(text: &[u8]) -> Result<(), (usize, TooMuch)> {
    let (mut seen, most) = (HashSet::new(), COLUMNS.most());
    let (mut at, mut rows, mut held) = (0, 0_u64, 0_u64);
    while text.get(at..).is_some_and(|rest| !rest.trim_ascii().is_empty()) {
        let rest = text.get(at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        // A value over several lines is read to its end.
        let is_whole = rest.trim_ascii_start().first() == Some(&b'[');
        let part = if is_whole { rest } else { rest.get(..end).unwrap_or(rest) };
        let mut reader = serde_json::Deserializer::from_slice(part);
        let _ = Fields { seen: &mut seen, most, path: 0, held: &mut held }.deserialize(&mut reader);
        if seen.len() as u64 > most {
            return Err((at, COLUMNS.exceeded()));
        }
        at += part.len();
        rows += 1;
    }
    let cells = rows.saturating_mul(seen.len() as u64).saturating_mul(FIELD_BYTES);
    let table = cells.saturating_add(held.saturating_mul(HELD_BYTES));
    unpacked(text.len() as u64, table).map_err(|too_much| (text.len(), too_much))
}

/// Bytes that come out of a decompressor, held to [`UNPACKED`] and [`RATIO`].
#[derive(Debug)]
pub struct Unpacked<R> {
    reader: R,
    packed: u64,
    read: u64,
}

impl<R: Read> Unpacked<R> {
    /// `packed` is the size of the compressed file.
    pub fn new(reader: R, packed: u64) -> Self {
        Self { reader, packed, read: 0 }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read += count as u64;
        unpacked(self.packed, self.read)
            .map_err(|too_much| std::io::Error::new(std::io::ErrorKind::FileTooLarge, too_much))?;
        Ok(count)
    }
}

/// Whether a file of `packed` bytes may become so many.
///
/// # Errors
/// Where it is more than [`UNPACKED`], or [`RATIO`] times as much and more than [`UNPACKED_FREE`].
pub fn unpacked(packed: u64, bytes: u64) -> Result<(), TooMuch> {
    UNPACKED.check(bytes)?;
    if bytes > UNPACKED_FREE {
        RATIO.check(bytes / packed.max(1))?;
    }
    Ok(())
}

/// Bytes of a file that says of its own parts what cannot be. No limit that somebody raises lets it pass: its reader would
/// take the memory, and the process would end.
pub const UNBELIEVABLE: u64 = u64::MAX;
/// What is said of it.
pub const UNBELIEVABLE_SAID: &str = "what it says about its own contents cannot be true";
/// What to do about it.
pub const UNBELIEVABLE_HINT: &str = "the file is damaged or was not written as its name says; write it again";

/// How many bytes the columns of a Parquet file take in memory at least, by what its footer says; `None` where it
/// cannot be understood. A text takes 16 bytes, however small it is in the file.
pub fn parquet_bytes(mut file: std::fs::File) -> Option<u64> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    if footer_of(&mut file).is_some_and(|footer| !footer::fits(&footer)) {
        return Some(UNBELIEVABLE);
    }
    let mut of_pages = file.try_clone().ok()?;
    let reader = crate::panics::caught(|| SerializedFileReader::new(file)).ok()?.ok()?;
    if pages_claim_too_much(&mut of_pages, reader.metadata()).unwrap_or(true) {
        return Some(UNBELIEVABLE);
    }
    let columns = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    let bytes = columns.map(|column| {
        let of = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
        of(column.uncompressed_size()).max(of(column.num_values()).saturating_mul(16))
    });
    Some(bytes.fold(0, u64::saturating_add))
}

/// Whether a page claims more than its column has, or cannot be understood (`None`): readers take memory for what is claimed
/// before they look. Only the headers of the pages are read.
fn pages_claim_too_much(
    file: &mut std::fs::File,
    metadata: &parquet::file::metadata::ParquetMetaData,
) -> Option<bool> {
    let size = file.metadata().ok()?.len();
    for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let mut at = u64::try_from(start).ok()?;
        let end = at.saturating_add(u64::try_from(column.compressed_size()).ok()?).min(size);
        let (of_column, most) = (u64::try_from(column.uncompressed_size()).ok()?, column.num_values());
        let mut seen = 0_i64;
        while seen < most && at < end {
            let page = page_at(file, at, end)?;
            // A value of a dictionary has a byte at least.
            let claims =
                [page.values.map(|values| (values, most)), page.entries.map(|some| (some, page.becomes))];
            let too_much = claims.iter().flatten().any(|&(claimed, most)| claimed < 0 || claimed > most);
            // What the footer says of all pages of the column together holds for each.
            let becomes = u64::try_from(page.becomes).ok()?;
            if too_much || (becomes > of_column && becomes > UNPACKED_FREE) {
                return Some(true);
            }
            seen = seen.saturating_add(page.values.unwrap_or(0));
            for part in page.length {
                at = at.checked_add(u64::try_from(part).ok()?)?;
            }
        }
    }
    Some(false)
}

/// The page whose header begins at a place in a file.
fn page_at(file: &mut std::fs::File, at: u64, end: u64) -> Option<footer::Page> {
    use std::io::{Seek, SeekFrom};
    // The smallest and the largest value of a column may stand in it in full length.
    let mut window = 512;
    loop {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(at)).ok()?;
        file.by_ref().take(window.min(end - at)).read_to_end(&mut bytes).ok()?;
        match footer::page(&bytes) {
            Some(page) => return Some(page),
            None if window >= end - at => return None,
            None => window = window.saturating_mul(16),
        }
    }
}

/// The footer of a Parquet file; `None` where there is none.
fn footer_of(file: &mut std::fs::File) -> Option<Vec<u8>> {
    use std::io::{Seek, SeekFrom};
    let end = file.seek(SeekFrom::End(-8)).ok()?;
    let mut tail = [0; 8];
    file.read_exact(&mut tail).ok()?;
    if !tail.ends_with(b"PAR1") {
        return None;
    }
    let length = u64::from(u32::from_le_bytes(*tail.first_chunk::<4>()?));
    file.seek(SeekFrom::Start(end.checked_sub(length)?)).ok()?;
    let mut footer = Vec::new();
    file.take(length).read_to_end(&mut footer).ok()?;
    file.rewind().ok()?;
    Some(footer)
}

/// A file and what is too much of it, for errors that need the path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}`: {too_much}\nhint: {hint}", .path.display(), hint = .too_much.hint())]
pub struct FileTooMuch {
    /// The file.
    pub path: PathBuf,
    /// How much of what.
    pub too_much: TooMuch,
}

/// A size in words: "500MB", "1.5 GB", "2GiB", "1048576".
pub fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let number: f64 = lower.get(..digits)?.parse().ok()?;
    let unit: u64 = match lower.get(digits..)?.trim() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    Some((number * unit as f64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_over_says_what_and_how_to_go_on() {
        assert!(COLUMNS.check(4096).is_ok());
        let error = COLUMNS.check(100_000).unwrap_err();
        assert_eq!(error.to_string(), "100000 columns, more than the 4096 that are allowed");
        assert_eq!(error.hint(), "if that is meant, `WIMHF_MAX_COLUMNS=200000` raises the limit");
        assert_eq!(ANSWER.exceeded().to_string(), "more than the 67 MB in an answer that are allowed");
        let mut names: Vec<&str> = ALL.iter().map(|limit| limit.variable).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn the_user_raises_a_limit_and_takes_that_back() {
        // Of certificates, which no other test reads so many of.
        set(|name| (name == "WIMHF_MAX_CERTIFICATES").then(|| "1 GB".to_owned()));
        assert_eq!((CERTIFICATES.most(), COLUMNS.most()), (1_000_000_000, COLUMNS.most));
        set(|name| (name == "WIMHF_MAX_CERTIFICATES").then(|| "much".to_owned()));
        assert_eq!(CERTIFICATES.most(), CERTIFICATES.most, "what is no number says nothing");
        set(|_| None);
        assert_eq!(CERTIFICATES.most(), CERTIFICATES.most);
    }

    #[test]
    fn every_limit_stands_in_the_documentation() {
        let page = include_str!("../SECURITY.md");
        for limit in ALL {
            let shown = match limit.is_bytes {
                true if limit.most >= 1 << 30 => format!("{} GiB", limit.most >> 30),
                true => format!("{} MiB", limit.most >> 20),
                false => limit.most.to_string(),
            };
            let line = format!("| `{}` | {shown} |", limit.variable);
            assert!(page.contains(&line), "{line}");
        }
    }

    #[test]
    fn empty_lists_count_where_there_is_little_else() {
        let many = format!("[{}1]", "[ ],".repeat(1_100_000));
        assert!(json_depth(many.as_bytes()).unwrap_err().1.to_string().contains("1100000 empty lists"));
        assert!(json_depth(&many.as_bytes()[..700_000]).is_ok());
        let rows = "{\"tags\":[],\"text\":\"a few words\"}".repeat(1_100_000);
        assert!(json_depth(rows.as_bytes()).is_ok());
        assert!(json_depth(format!("{{\"a\":\"{}\"}}", "[]".repeat(1_100_000)).as_bytes()).is_ok());
    }

    #[test]
    fn a_bomb_is_seen_before_it_is_in_memory() {
        let mut out = Unpacked::new(std::io::repeat(b'a'), 1000);
        let error = std::io::copy(&mut out, &mut std::io::sink()).unwrap_err();
        assert!(error.to_string().contains("times its size"), "{error}");
        // Small files may be as repetitive as they like; large ones are as large as they are.
        assert!(unpacked(10, UNPACKED_FREE).is_ok());
        assert!(unpacked(1 << 30, 8 << 30).is_ok());
        assert!(unpacked(1 << 30, 17 << 30).is_err());
    }

    #[test]
    fn fields_are_counted_once_wherever_they_stand() {
        assert!(json_fields(b"{\"a\": {\"b\": 1}}\n{\"a\": [{\"b\": 1.5, \"c\": null}]}\nno json\n").is_ok());
        let wide: Vec<String> = (0..5000).map(|i| format!("\"c{i}\":{i}")).collect();
        let wide = format!("{{{}}}", wide.join(","));
        for text in [wide.clone(), format!("[{{\"x\":1}},{wide}]"), format!("{{\"in\":{wide}}}")] {
            assert!(json_fields(text.as_bytes()).is_err(), "{}", &text[..20]);
        }
        let rows: String = (0..5000).map(|i| format!("{{\"c{i}\":1}}\n")).collect();
        assert!(json_fields(rows.as_bytes()).is_err(), "a new name on every line");
        let same = "{\"x\":1}\n".repeat(10_000);
        assert!(json_fields(same.as_bytes()).is_ok());
        let sparse: String = (0..240_000).map(|i| format!("{{\"c{}\":1}}\n", i % 4000)).collect();
        assert!(json_fields(sparse.as_bytes()).is_err(), "a place for 4,000 fields in each of 240,000 rows");
        let levels = format!("{}{}\n", "[".repeat(60), "]".repeat(60)).repeat(64_000);
        assert!(json_depth(levels.as_bytes()).is_err(), "60 levels in each of 64,000 rows");
        let talk = "{\"m\":[{\"role\":\"user\",\"content\":\"a question\"},{\"role\":\"assistant\",\"content\":\"an answer\"}]}\n";
        assert!(json_depth(talk.repeat(100_000).as_bytes()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_are_refused_before_they_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("zero.json");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        assert!(matches!(read_file(&link, RECORD), Err(ReadError::NotAFile("a device"))));
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(matches!(read_file(&pipe, RECORD), Err(ReadError::NotAFile("a pipe"))));
    }

    proptest! {
        #[test]
        fn depth_is_what_a_parser_would_find(levels in 0_usize..130, text in "[\\[\\]{}\\\\\" a]{0,12}") {
            let inner = serde_json::to_string(&text).unwrap();
            let json = format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels));
            prop_assert_eq!(json_depth(json.as_bytes()).is_ok(), levels <= 64, "{}", json);
        }
    }
}
