//! Record: one put or delete, as it stands in the log.
//!
//! # On disk
//! ```text
//! | key len u32 | value len u32 | key | value | crc32c u32 |
//! ```
//! Numbers are little-endian. A value length of `0xFFFF_FFFF` is a delete, and no value follows. The checksum covers
//! all before it in the record. FORMAT.md, "The roadmap's log".

use std::io;

use cairndb_storage::File;

/// How long a record is without its key and value, in bytes: two lengths before them, a checksum behind.
pub(crate) const FRAME_LEN: u64 = HEAD_LEN as u64 + 4;

/// The two lengths at a record's start, in bytes.
const HEAD_LEN: usize = 8;

/// The value length that says: the key is deleted.
const DELETED: u32 = 0xFFFF_FFFF;

/// What a record's first bytes say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The key's length, in bytes.
    pub(crate) key_len: u64,
    /// The value's length, in bytes; `None` for a delete.
    pub(crate) value_len: Option<u64>,
}

impl Head {
    /// Reads the head of the record at `at`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the log ends before; what the disk says.
    pub(crate) fn read(log: &dyn File, at: u64) -> io::Result<Head> {
        let bytes = read(log, at, HEAD_LEN as u64)?;
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let value_len = Some(number(4)).filter(|len| *len != DELETED).map(u64::from);
        Ok(Head { key_len: number(0).into(), value_len })
    }

    /// The whole record's length, in bytes.
    pub(crate) fn record_len(self) -> u64 {
        FRAME_LEN + self.key_len + self.value_len.unwrap_or(0)
    }

    /// Reads the key of the record at `at`.
    ///
    /// # Errors
    /// As [`Head::read`].
    pub(crate) fn key(self, log: &dyn File, at: u64) -> io::Result<Vec<u8>> {
        read(log, at + HEAD_LEN as u64, self.key_len)
    }

    /// Reads the value of the record at `at`; `None` for a delete.
    ///
    /// # Errors
    /// As [`Head::read`].
    pub(crate) fn value(self, log: &dyn File, at: u64) -> io::Result<Option<Vec<u8>>> {
        self.value_len.map(|len| read(log, at + HEAD_LEN as u64 + self.key_len, len)).transpose()
    }
}

/// The bytes of a put, or of a delete if there is no value.
///
/// # Errors
/// `InvalidInput` for what is too long for its length field.
pub(crate) fn encode(key: &[u8], value: Option<&[u8]>) -> io::Result<Vec<u8>> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "a key or value of 4 GiB or more");
    let len =
        |bytes: &[u8]| u32::try_from(bytes.len()).ok().filter(|len| *len != DELETED).ok_or_else(too_long);
    let value_len = value.map_or(Ok(DELETED), len)?;
    let mut record = Vec::new();
    record.extend_from_slice(&len(key)?.to_le_bytes());
    record.extend_from_slice(&value_len.to_le_bytes());
    record.extend_from_slice(key);
    record.extend_from_slice(value.unwrap_or_default());
    record.extend_from_slice(&checksum(&record).to_le_bytes());
    Ok(record)
}

/// CRC-32C, bit by bit: Castagnoli et al., "Optimization of Cyclic Redundancy-Check Codes" (1993). Processors have an
/// instruction for it, and the engine uses that one; this is what it computes.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 },
        )
    })
}

/// Reads `len` bytes at `at`. Memory is taken only for what the log holds, whatever the length claims to be.
fn read(log: &dyn File, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let ends =
        || io::Error::new(io::ErrorKind::UnexpectedEof, format!("the log ends inside the record at {at}"));
    if at.saturating_add(len) > log.len("record.len")? {
        return Err(ends());
    }
    let mut bytes = vec![0; len as usize];
    let read = log.read_at("record.read", at, &mut bytes)?;
    if read == bytes.len() { Ok(bytes) } else { Err(ends()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_that_everybody_computes() {
        // RFC 3720, appendix B.4.
        assert_eq!(checksum(&[0; 32]), 0x8A91_36AA);
        assert_eq!(checksum(&[0xFF; 32]), 0x62A8_AB43);
    }
}
