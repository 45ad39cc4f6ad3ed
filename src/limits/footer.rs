//! Whether a Parquet file's footer is what a footer is, and the lists that it claims can stand in it; the headers of pages.
//!
//! Readers take memory for a list by the number of entries that it claims; a footer of two kilobytes that claimed half a
//! milliard ended the process. An entry has a byte at least, so that a list can claim no more than there are bytes left.
//! And they read what a field's number promises, whatever its type says, so that a number that stands where a list should is
//! read as one: here every field has to have its type.

/// Structures in structures; a schema's metadata have five or six.
const DEEPEST: usize = 32;

/// Thrift's types in its compact encoding; a truth is 1 or 2, numbers of 2, 4 and 8 bytes look the same.
const BYTE: u8 = 3;
const NUMBERS: std::ops::RangeInclusive<u8> = 4..=6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCTURE: u8 = 12;

/// Structures of a footer.
#[derive(Clone, Copy)]
enum Kind {
    File,
    Schema,
    Logical,
    Decimal,
    Time,
    Unit,
    Integer,
    Group,
    Sorting,
    Column,
    Metadata,
    Statistics,
    Encoding,
    Sizes,
    Places,
    KeyValue,
    Order,
    Page,
    DataPage,
    DataPageV2,
    DictionaryPage,
    /// One that no reader looks into.
    Other,
}

/// What a field has to be.
enum Field {
    Truth,
    Byte,
    Number,
    Binary,
    Structure(Kind),
    Structures(Kind),
    Numbers,
    Binaries,
    /// A field that readers do not know: its type says how it is passed over.
    Unknown,
}

/// The field of this number, as `parquet.thrift` has it.
fn field(of: Kind, number: i64) -> Field {
    match (of, number) {
        (Kind::File, 1 | 3)
        | (Kind::Schema, 1..=3 | 5..=9)
        | (Kind::Group, 2 | 3 | 5..=7)
        | (Kind::Column, 2 | 4..=7)
        | (Kind::Metadata, 1 | 4..=7 | 9..=11 | 14 | 15)
        | (Kind::Statistics, 3 | 4)
        | (Kind::Sorting | Kind::Sizes, 1)
        | (Kind::Decimal, 1 | 2)
        | (Kind::Encoding, 1..=3)
        | (Kind::Page | Kind::DataPage, 1..=4)
        | (Kind::DataPageV2, 1..=6)
        | (Kind::DictionaryPage, 1 | 2) => Field::Number,
        (Kind::File, 6 | 9)
        | (Kind::Schema, 4)
        | (Kind::Column, 1 | 9)
        | (Kind::Statistics, 1 | 2 | 5 | 6)
        | (Kind::KeyValue, 1 | 2) => Field::Binary,
        (Kind::Sorting, 2 | 3) | (Kind::Statistics, 7 | 8) | (Kind::Time, 1) | (Kind::Integer, 2) => {
            Field::Truth
        }
        (Kind::DataPageV2, 7) | (Kind::DictionaryPage, 3) => Field::Truth,
        (Kind::Integer, 1) => Field::Byte,
        (Kind::Page, 5) => Field::Structure(Kind::DataPage),
        (Kind::Page, 6) => Field::Structure(Kind::Other),
        (Kind::Page, 7) => Field::Structure(Kind::DictionaryPage),
        (Kind::Page, 8) => Field::Structure(Kind::DataPageV2),
        (Kind::DataPage, 5) | (Kind::DataPageV2, 8) => Field::Structure(Kind::Statistics),
        (Kind::Schema, 10) => Field::Structure(Kind::Logical),
        (Kind::Logical, 5) => Field::Structure(Kind::Decimal),
        (Kind::Logical, 7 | 8) => Field::Structure(Kind::Time),
        (Kind::Logical, 10) => Field::Structure(Kind::Integer),
        (Kind::Time, 2) => Field::Structure(Kind::Unit),
        (Kind::Column, 3) => Field::Structure(Kind::Metadata),
        (Kind::Metadata, 12) => Field::Structure(Kind::Statistics),
        (Kind::Metadata, 16) => Field::Structure(Kind::Sizes),
        (Kind::Metadata, 17) => Field::Structure(Kind::Places),
        (Kind::Logical | Kind::Unit | Kind::Order, _)
        | (Kind::File | Kind::Column, 8)
        | (Kind::Places, 1) => Field::Structure(Kind::Other),
        (Kind::File, 2) => Field::Structures(Kind::Schema),
        (Kind::File, 4) => Field::Structures(Kind::Group),
        (Kind::File, 5) | (Kind::Metadata, 8) => Field::Structures(Kind::KeyValue),
        (Kind::File, 7) => Field::Structures(Kind::Order),
        (Kind::Group, 1) => Field::Structures(Kind::Column),
        (Kind::Group, 4) => Field::Structures(Kind::Sorting),
        (Kind::Metadata, 13) => Field::Structures(Kind::Encoding),
        (Kind::Metadata, 2) | (Kind::Sizes, 2 | 3) | (Kind::Places, 2) => Field::Numbers,
        (Kind::Metadata, 3) => Field::Binaries,
        _ => Field::Unknown,
    }
}

/// Walks over a footer in Thrift's compact encoding. `false`: it is none, or a list in it claims more entries than there are
/// bytes.
pub(super) fn fits(bytes: &[u8]) -> bool {
    Walk { bytes, at: 0, page: Page::default() }.structure(Kind::File, 0).is_some()
}

/// What a page says of itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Page {
    /// Bytes of its header, and of itself in the file.
    pub length: [i64; 2],
    /// Bytes that it becomes.
    pub becomes: i64,
    /// Values in it, if it is one of data.
    pub values: Option<i64>,
    /// Values in it, if it is a dictionary.
    pub entries: Option<i64>,
}

/// The page whose header stands at the beginning of `bytes`; `None` where none does, or not all of it.
pub(super) fn page(bytes: &[u8]) -> Option<Page> {
    let mut walk = Walk { bytes, at: 0, page: Page::default() };
    walk.structure(Kind::Page, 0)?;
    walk.page.length[0] = i64::try_from(walk.at).ok()?;
    Some(walk.page)
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    page: Page,
}

/// A number as the encoding turns signed ones into ones without a sign.
fn signed(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

impl Walk<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn binary(&mut self) -> Option<()> {
        let length = self.number()?;
        self.skip(length)
    }

    fn structure(&mut self, of: Kind, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        let mut number = 0_i64;
        loop {
            let head = self.byte()?;
            let wire = head & 0x0f;
            if wire == 0 {
                return Some(());
            }
            number = match head >> 4 {
                0 => signed(self.number()?),
                step => number.checked_add(i64::from(step))?,
            };
            match (field(of, number), wire) {
                // Its value stands in its type.
                (Field::Truth, 1 | 2) => {}
                (Field::Byte, BYTE) => self.skip(1)?,
                (Field::Number, wire) if NUMBERS.contains(&wire) => {
                    let value = signed(self.number()?);
                    let page = &mut self.page;
                    match (of, number) {
                        (Kind::Page, 2) => page.becomes = value,
                        (Kind::Page, 3) => page.length[1] = value,
                        (Kind::DataPage | Kind::DataPageV2, 1) => page.values = Some(value),
                        (Kind::DictionaryPage, 1) => page.entries = Some(value),
                        _ => {}
                    }
                }
                (Field::Binary, BINARY) => self.binary()?,
                (Field::Structure(kind), STRUCTURE) => self.structure(kind, depth + 1)?,
                (Field::Structures(kind), LIST) => {
                    let count = self.list(|wire| wire == STRUCTURE)?.0;
                    (0..count).try_for_each(|_| self.structure(kind, depth + 1))?;
                }
                (Field::Numbers, LIST) => {
                    let count = self.list(|wire| NUMBERS.contains(&wire))?.0;
                    (0..count).try_for_each(|_| self.number().map(drop))?;
                }
                (Field::Binaries, LIST) => {
                    let count = self.list(|wire| wire == BINARY)?.0;
                    (0..count).try_for_each(|_| self.binary())?;
                }
                (Field::Unknown, 1 | 2) => {}
                (Field::Unknown, wire) => self.value(wire, depth)?,
                _ => return None,
            }
        }
    }

    /// How many entries a list has, and of what type; there has to be a byte for each.
    fn list(&mut self, is_right: impl Fn(u8) -> bool) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.number()?,
            few => u64::from(few),
        };
        let left = self.bytes.len().saturating_sub(self.at) as u64;
        // An empty one may be of no type.
        (count <= left && (count == 0 || is_right(head & 0x0f))).then_some((count, head & 0x0f))
    }

    fn value(&mut self, wire: u8, depth: usize) -> Option<()> {
        match wire {
            BYTE => self.skip(1),
            wire if NUMBERS.contains(&wire) => self.number().map(drop),
            DOUBLE => self.skip(8),
            BINARY => self.binary(),
            STRUCTURE => self.structure(Kind::Other, depth + 1),
            LIST if depth < DEEPEST => {
                let (count, wire) = self.list(|wire| wire > 2)?;
                (0..count).try_for_each(|_| self.value(wire, depth + 1))
            }
            // Sets, maps and lists of truths are in no footer.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_claims_more_than_there_is_does_not_fit() {
        // Field 2, a list of structures: one of them, empty; then the end.
        assert!(fits(&[0x29, 0x1c, 0x00, 0x00]));
        // Two claimed where one byte is left; half a milliard.
        assert!(!fits(&[0x29, 0x3c, 0x00, 0x00]));
        assert!(!fits(&[0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00, 0x00]));
        // In a field that readers do not know.
        assert!(fits(&[0xa9, 0x15, 0x02, 0x00]) && !fits(&[0xa9, 0xf5, 0xff, 0xff, 0x03, 0x00, 0x00]));
        // A number where the list of columns should be.
        assert!(!fits(&[0x25, 0x02, 0x00]));
        // What is cut short.
        assert!(!fits(&[0x29]) && !fits(&[]) && !fits(&[0x18, 0x7f]));
    }

    #[test]
    fn footers_of_every_writer_at_hand_fit() {
        let shapes = ["tests/fixtures/shapes", "tests/fixtures/shapes/public"];
        let folders = ["data", shapes[0], shapes[1], "../shared/data", "../shared/cases/files"];
        let mut read = 0;
        for folder in folders {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = file.path();
                if path.extension().is_none_or(|ending| ending != "parquet") {
                    continue;
                }
                let open = || std::fs::File::open(&path).unwrap();
                // Some of the cases are damaged on purpose.
                if parquet::file::reader::SerializedFileReader::new(open()).is_err() {
                    continue;
                }
                let footer = super::super::footer_of(&mut open());
                assert!(footer.is_some_and(|footer| fits(&footer)), "{}", path.display());
                let bytes = super::super::parquet_bytes(open());
                assert!(bytes.is_some_and(|bytes| bytes < 1 << 40), "{}: {bytes:?}", path.display());
                read += 1;
            }
        }
        // Those that stand in the repository.
        assert!(read >= 20, "{read}");
    }

    /// A dictionary of three texts that claims to have 63, in two dozen bytes.
    #[test]
    fn a_dictionary_that_claims_more_than_it_holds_is_not_believed() {
        use polars::prelude::*;
        let texts: Vec<&str> = (0..900).map(|row| ["one", "two", "three"][row % 3]).collect();
        let mut table = DataFrame::new_infer_height(vec![Column::new("text".into(), texts)]).unwrap();
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).finish(&mut table).unwrap();
        let path = tempfile::NamedTempFile::new().unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(path.path(), bytes).unwrap();
            super::super::parquet_bytes(std::fs::File::open(path.path()).unwrap())
        };
        assert!(read(&bytes).is_some_and(|bytes| bytes < 1 << 20));
        assert_eq!(page(&bytes[4..]).and_then(|page| page.entries), Some(3));
        // Field 7, its field 1: a number.
        let at = bytes.windows(3).position(|three| three == [0x4c, 0x15, 6]).unwrap();
        bytes[at + 2] = 126;
        assert_eq!(page(&bytes[4..]).and_then(|page| page.entries), Some(63));
        assert_eq!(read(&bytes), Some(super::super::UNBELIEVABLE));
    }
}
