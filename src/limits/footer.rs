//! Whether the lists that a Parquet file's footer claims can stand in it.
//!
//! Readers take memory for a list by the number of entries that it claims; a footer of two kilobytes that claimed half a
//! milliard ended the process. An entry has a byte at least, so that a list can claim no more than there are bytes left.

/// Structures in structures; a schema's metadata have five or six.
const DEEPEST: usize = 32;

/// Walks over Thrift's compact encoding of one structure. `false`: a list claims more entries than there are bytes. What
/// cannot be understood is left to the reader, which stops there, too.
pub(super) fn fits(bytes: &[u8]) -> bool {
    let mut walk = Walk { bytes, at: 0, claims_too_much: false };
    walk.structure(0);
    !walk.claims_too_much
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    claims_too_much: bool,
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

    /// Notes a claim of so many entries.
    fn claim(&mut self, count: u64) -> Option<()> {
        let left = self.bytes.len().saturating_sub(self.at) as u64;
        self.claims_too_much |= count > left;
        (count <= left).then_some(())
    }

    fn structure(&mut self, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                return Some(());
            }
            if head >> 4 == 0 {
                self.number()?;
            }
            // The value of a truth stands in its kind.
            if !matches!(kind, 1 | 2) {
                self.value(kind, depth)?;
            }
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.number().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.number()?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.number()?,
                    few => u64::from(few),
                };
                self.claim(count)?;
                (0..count).try_for_each(|_| self.value(head & 0x0f, depth + 1))
            }
            11 => {
                let count = self.number()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                self.claim(count)?;
                (0..count).try_for_each(|_| {
                    self.value(kinds >> 4, depth + 1)?;
                    self.value(kinds & 0x0f, depth + 1)
                })
            }
            12 => self.structure(depth + 1),
            13 => self.skip(16),
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
        // In a structure in a list.
        assert!(!fits(&[0x29, 0x1c, 0x19, 0xf5, 0xff, 0xff, 0x03, 0x00, 0x00]));
        // What is cut short is the reader's to tell.
        assert!(fits(&[0x29]) && fits(&[]) && fits(&[0x18, 0x7f]));
    }
}
