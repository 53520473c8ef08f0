//! Record: one put or delete, as it stands in the log.
//!
//! # On disk
//! ```text
//! | key len u32 | value len u32 | key | value | crc32c u32 |
//! ```
//! Numbers are little-endian. A value length of `0xFFFF_FFFF` is a delete, and no value follows. The checksum covers
//! all before it in the record. FORMAT.md, "The roadmap's log".
//!
//! # When things break
//! A record counts only if it is whole: long enough, and with the checksum that its bytes have. Whatever else stands
//! there, zeros, garbage or half of it, is none.

use std::io;

use cairndb_storage::File;

/// The two lengths at a record's start, in bytes.
const HEAD_LEN: usize = 8;

/// The value length that says: the key is deleted.
const DELETED: u32 = 0xFFFF_FFFF;

/// A whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// The value; `None` for a delete.
    pub(crate) value: Option<Vec<u8>>,
    /// How long the record is in the log, in bytes.
    pub(crate) len: u64,
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

/// The record that `bytes` begin with, if a whole one does.
pub(crate) fn decode(bytes: &[u8]) -> Option<Record> {
    let (key_len, rest) = take_u32(bytes)?;
    let (value_len, rest) = take_u32(rest)?;
    let (key, rest) = rest.split_at_checked(key_len as usize)?;
    let (value, rest) = match value_len {
        DELETED => (None, rest),
        len => rest.split_at_checked(len as usize).map(|(value, rest)| (Some(value), rest))?,
    };
    let covered = &bytes[..bytes.len() - rest.len()];
    let (crc, _) = take_u32(rest)?;
    let record =
        Record { key: key.to_vec(), value: value.map(<[u8]>::to_vec), len: covered.len() as u64 + 4 };
    (crc == checksum(covered)).then_some(record)
}

/// Reads the record at `at`, of which nothing may lie behind `end`; `None` if no whole one begins there.
///
/// # Errors
/// What the disk says.
pub(crate) fn read(log: &dyn File, at: u64, end: u64) -> io::Result<Option<Record>> {
    let head = read_bytes(log, at, end.min(at + HEAD_LEN as u64))?;
    let lens = take_u32(&head).and_then(|(key_len, rest)| Some((key_len, take_u32(rest)?.0)));
    let Some((key_len, value_len)) = lens else { return Ok(None) };
    let value_len = if value_len == DELETED { 0 } else { value_len };
    let behind = at + HEAD_LEN as u64 + u64::from(key_len) + u64::from(value_len) + 4;
    // What the log cannot hold, no memory is taken for.
    if behind > end { Ok(None) } else { Ok(decode(&read_bytes(log, at, behind)?)) }
}

/// Whether a whole record begins anywhere behind `at`.
///
/// # Errors
/// What the disk says.
pub(crate) fn follows(log: &dyn File, at: u64, end: u64) -> io::Result<bool> {
    let rest = read_bytes(log, at, end)?;
    Ok((1..rest.len()).any(|from| decode(&rest[from..]).is_some()))
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

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u32::from_le_bytes(*number), rest))
}

/// What stands from `at` to `end`, or to the file's end if that comes before.
///
/// # Errors
/// What the disk says.
pub(crate) fn read_bytes(log: &dyn File, at: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; end.saturating_sub(at) as usize];
    let read = log.read_at("record.read", at, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
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

    #[test]
    fn half_a_record_is_none() {
        let bytes = encode(b"key", Some(b"value")).expect("it is short");
        assert_eq!(decode(&bytes).map(|record| record.len), Some(bytes.len() as u64));
        assert!((0..bytes.len()).all(|len| decode(&bytes[..len]).is_none()));
    }
}
