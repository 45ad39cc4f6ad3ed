//! How many bytes an Arrow file or stream becomes, by what its messages say: read before its columns are.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};

use arrow_ipc::{RecordBatch, root_as_footer, root_as_message};

use crate::limits::UNBELIEVABLE;

/// Messages of metadata that are longer are no metadata.
const MAX_METADATA: u64 = 64 << 20;
/// Bytes of an entry of a column in memory at least: a text is a view of so many.
const ENTRY: u64 = 16;

/// How many bytes the columns of an Arrow file or stream take in memory at least; `None` where it cannot be understood.
pub(super) fn arrow_bytes(mut file: File) -> Option<u64> {
    let size = file.metadata().ok()?.len();
    let mut head = [0; 8];
    file.read_exact(&mut head).ok()?;
    // A library that reads damaged messages may give up on them.
    let read =
        || if head.starts_with(b"ARROW1") { of_file(&mut file, size) } else { of_stream(&mut file, size) };
    crate::panics::caught(read).ok()?
}

/// The same of one message of a stream, with its body; 0 where it cannot be understood.
pub(crate) fn message_bytes(bytes: &[u8]) -> u64 {
    let size = bytes.len() as u64;
    let read = || message(&mut Cursor::new(bytes), 0, size);
    crate::panics::caught(read).ok().flatten().map_or(0, |(becomes, _)| becomes)
}

/// How long the body of a message is, by its metadata.
pub(crate) fn body_length(metadata: &[u8]) -> Option<u64> {
    let read = || root_as_message(metadata).ok().map(|message| message.bodyLength());
    u64::try_from(crate::panics::caught(read).ok()??).ok()
}

fn of_file(file: &mut (impl Read + Seek), size: u64) -> Option<u64> {
    let end = size.checked_sub(10)?;
    let length = u64::from(u32::from_le_bytes(at(file, end, 4)?.try_into().ok()?));
    let footer = at(file, end.checked_sub(length)?, length)?;
    let footer = root_as_footer(&footer).ok()?;
    let blocks = [footer.dictionaries(), footer.recordBatches()];
    let mut total = 0_u64;
    for block in blocks.into_iter().flatten().flatten() {
        let start = u64::try_from(block.offset()).ok()?;
        total = total.saturating_add(message(file, start, size)?.0);
    }
    Some(total)
}

fn of_stream(file: &mut (impl Read + Seek), size: u64) -> Option<u64> {
    let (mut start, mut total) = (0, 0_u64);
    while start + 8 <= size {
        // What follows may be damaged; what came before it is read all the same.
        let Some((bytes, next)) = message(file, start, size) else {
            return (total > 0).then_some(total);
        };
        total = total.saturating_add(bytes);
        match next {
            Some(next) if next > start => start = next,
            _ => break,
        }
    }
    Some(total)
}

/// The bytes that a message becomes, and where the next one begins; `None` there at the mark of the end.
fn message(file: &mut (impl Read + Seek), start: u64, size: u64) -> Option<(u64, Option<u64>)> {
    let head = at(file, start, 8)?;
    let four = |from: usize| Some(u32::from_le_bytes(head.get(from..from + 4)?.try_into().ok()?));
    // Before the first version there was no mark before the length.
    let (length, from) = match four(0)? {
        u32::MAX => (u64::from(four(4)?), start + 8),
        length => (u64::from(length), start + 4),
    };
    if length == 0 {
        return Some((0, None));
    }
    if length > MAX_METADATA || from + length > size {
        // The other reader takes what is there of it, and believes that.
        return Some((UNBELIEVABLE, None));
    }
    let metadata = at(file, from, length)?;
    // What the strict reader does not understand the other one may, and take what it claims.
    let Ok(message) = root_as_message(&metadata) else { return Some((UNBELIEVABLE, None)) };
    let body = from + length;
    let dictionary = message.header_as_dictionary_batch().and_then(|batch| batch.data());
    let bytes = match message.header_as_record_batch().or(dictionary) {
        Some(batch) => of_batch(file, &batch, body, size)?,
        None => 0,
    };
    let next = u64::try_from(message.bodyLength()).ok().and_then(|length| body.checked_add(length));
    Some((bytes, next))
}

fn of_batch(file: &mut (impl Read + Seek), batch: &RecordBatch, body: u64, size: u64) -> Option<u64> {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let entries = batch.nodes().into_iter().flatten().map(|node| count(node.length()).saturating_mul(ENTRY));
    let entries = entries.fold(0, u64::saturating_add);
    let mut bytes = 0_u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let length = count(buffer.length());
        let becomes = match batch.compression() {
            // What it becomes stands before it; less than nothing: it is as it is.
            Some(_) if length >= 8 => {
                let said = body.checked_add(count(buffer.offset())).and_then(|start| at(file, start, 8));
                let said = said.and_then(|said| Some(i64::from_le_bytes(said.try_into().ok()?)));
                said.and_then(|said| u64::try_from(said).ok()).unwrap_or(length)
            }
            // Nothing is longer than the file that it stands in.
            _ if length > size => UNBELIEVABLE,
            _ => length,
        };
        bytes = bytes.saturating_add(becomes);
    }
    Some(bytes.max(entries))
}

/// Some bytes of a file, which must be there.
fn at(file: &mut (impl Read + Seek), start: u64, length: u64) -> Option<Vec<u8>> {
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use polars::prelude::*;

    use super::*;

    fn write(compression: Option<IpcCompression>, rows: usize, path: &std::path::Path) {
        let column = |name: &str| Column::new(name.into(), vec![1.5_f64; rows]);
        let mut table = DataFrame::new_infer_height(vec![column("a"), column("b")]).unwrap();
        let file = File::create(path).unwrap();
        IpcWriter::new(file).with_compression(compression).finish(&mut table).unwrap();
    }

    #[test]
    fn what_it_becomes_is_told_by_its_messages() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.arrow");
        for compression in [None, Some(IpcCompression::ZSTD(Default::default())), Some(IpcCompression::LZ4)] {
            write(compression, 50_000, &path);
            // Two columns of 16 bytes an entry at least.
            assert_eq!(arrow_bytes(File::open(&path).unwrap()), Some(1_600_000), "{compression:?}");
        }
        let whole = std::fs::read(&path).unwrap();
        assert!(whole.len() < 100_000, "{}", whole.len());
        for cut in [0, 4, 9, 100, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(arrow_bytes(File::open(&path).unwrap()), None, "{cut}");
        }
    }
}
