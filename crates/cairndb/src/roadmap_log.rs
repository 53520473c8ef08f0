//! Roadmap log: the record format that the project began with, and that other programs can write with a few lines.
//!
//! One file of puts and deletes, appended one after the other; to know what a key holds, read it all. It is kept as a
//! way in and out of the database: `cairn replay` takes such a log up to where it has been written, and later what has
//! come since.
//!
//! # Where it sits
//! On `error` alone; `db` replays such logs.
//!
//! # On disk
//! ```text
//! | key len u32 | value len u32 | key | value | crc32c u32 |
//! ```
//! A value length of `0xFFFF_FFFF` is a delete, and no value follows. The checksum covers all before it in the record.
//! Agrees with FORMAT.md, "The roadmap's log".
//!
//! # When things break
//! A record that is not whole, with no whole one behind it, is torn: it is left for next time. One with a whole record
//! behind it is corrupt. We look for one that begins within a mebibyte and is no longer than 64.

use std::io::Read;

use crate::error::{Error, Result};
use crate::key::{KEY_LEN_MAX, VALUE_LEN_MAX};

/// The value length that says: the key is deleted. FORMAT.md, "Constants".
pub const LOG_DELETE: u32 = 0xFFFF_FFFF;

/// How much is read at once, and how far behind a bad record a whole one is looked for, in bytes.
const WINDOW_LEN: usize = 1 << 20;

/// A whole record behind a bad one is recognised up to this length, in bytes: what is no record may say that it is long.
const FOLLOWING_LEN_MAX: usize = 64 << 20;

/// Appends a put to `out`.
///
/// ```
/// # use cairndb::roadmap_log::{encode_delete, encode_put, LogReader};
/// let mut log = Vec::new();
/// encode_put(b"a", b"1", &mut log);
/// encode_delete(b"a", &mut log);
/// let mut reader = LogReader::new(&log[..]);
/// assert_eq!(reader.next()?.unwrap().value.as_deref(), Some(&b"1"[..]));
/// assert_eq!(reader.next()?.unwrap().value, None);
/// assert!(reader.next()?.is_none());
/// # Ok::<(), cairndb::Error>(())
/// ```
pub fn encode_put(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    encode(key, value.len() as u32, value, out);
}

/// Appends a delete to `out`.
pub fn encode_delete(key: &[u8], out: &mut Vec<u8>) {
    encode(key, LOG_DELETE, b"", out);
}

fn encode(key: &[u8], value_len: u32, value: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    let crc = crc32c::crc32c(&out[begin..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// One record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Where the record begins, in bytes from the log's start.
    pub offset: u64,
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` for a delete.
    pub value: Option<Vec<u8>>,
}

/// Reads a log front to back.
pub struct LogReader<R> {
    source: R,
    /// Bytes that were read, of which those before `at` have been handed out.
    buffer: Vec<u8>,
    at: usize,
    /// Where the buffer begins in the log.
    buffer_offset: u64,
    source_ended: bool,
    torn_bytes: u64,
}

/// Where a whole record's parts lie in the buffer.
struct Whole {
    key: std::ops::Range<usize>,
    value: Option<std::ops::Range<usize>>,
    end: usize,
}

impl<R: Read> LogReader<R> {
    /// Begins at the start of `source`.
    pub fn new(source: R) -> LogReader<R> {
        LogReader { source, buffer: Vec::new(), at: 0, buffer_offset: 0, source_ended: false, torn_bytes: 0 }
    }

    /// The next record; `None` at the end, or before a torn one.
    ///
    /// Errors: `Corrupt` for a record that is not whole with a whole one behind it; `Io`.
    #[expect(clippy::should_implement_trait, reason = "its error ends the walk; an iterator would go on")]
    pub fn next(&mut self) -> Result<Option<LogEntry>> {
        Ok(self.next_record()?.map(|(entry, _)| entry))
    }

    /// The next record, and its bytes.
    pub(crate) fn next_record(&mut self) -> Result<Option<(LogEntry, &[u8])>> {
        let Some(whole) = self.whole_record()? else { return Ok(None) };
        let (offset, begin) = (self.offset(), self.at);
        let key = self.buffer[whole.key].to_vec();
        let value = whole.value.map(|range| self.buffer[range].to_vec());
        self.at = whole.end;
        Ok(Some((LogEntry { offset, key, value }, &self.buffer[begin..whole.end])))
    }

    /// The bytes of the next record, which stays the next one.
    pub(crate) fn peek_record(&mut self) -> Result<Option<&[u8]>> {
        let whole = self.whole_record()?;
        Ok(whole.map(|whole| &self.buffer[self.at..whole.end]))
    }

    /// Goes to `offset`, whatever stands before it, and hands the bytes it passes to `take`; `false` if the log ends
    /// before that.
    pub(crate) fn skip_to(&mut self, offset: u64, take: &mut dyn FnMut(&[u8])) -> Result<bool> {
        while self.offset() < offset {
            self.fill(1)?;
            let left = usize::try_from(offset - self.offset()).unwrap_or(usize::MAX);
            let len = left.min(self.buffer.len() - self.at);
            if len == 0 {
                return Ok(false);
            }
            take(&self.buffer[self.at..self.at + len]);
            self.at += len;
        }
        Ok(true)
    }

    /// Where the next record begins.
    pub fn offset(&self) -> u64 {
        self.buffer_offset + self.at as u64
    }

    /// After the end: how many bytes of a torn record stand there.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    fn whole_record(&mut self) -> Result<Option<Whole>> {
        self.fill(8)?;
        if self.at == self.buffer.len() {
            return Ok(None);
        }
        if let Some(len) = record_len(&self.buffer[self.at..]) {
            self.fill(len)?;
        }
        if let Some(whole) = take(&self.buffer, self.at) {
            return Ok(Some(whole));
        }
        self.fill(WINDOW_LEN)?;
        if let Some(next) = self.following_record()? {
            let (offset, next) = (self.offset(), self.offset() + next as u64);
            let what = format!("the record is not whole, and the one at offset {next} is");
            return Err(Error::Corrupt { file: "the log".into(), offset, what });
        }
        self.torn_bytes = (self.buffer.len() - self.at) as u64 + self.drain()?;
        Ok(None)
    }

    /// How far behind a bad record the next whole one begins, if one does within the window.
    fn following_record(&mut self) -> Result<Option<usize>> {
        for ahead in 1..(self.buffer.len() - self.at).min(WINDOW_LEN) {
            let Some(len) =
                record_len(&self.buffer[self.at + ahead..]).filter(|len| *len <= FOLLOWING_LEN_MAX)
            else {
                continue;
            };
            self.fill(ahead + len)?;
            if take(&self.buffer, self.at + ahead).is_some() {
                return Ok(Some(ahead));
            }
        }
        Ok(None)
    }

    /// Reads on until `len` bytes wait behind `at`, or the source ends.
    fn fill(&mut self, len: usize) -> Result<()> {
        if self.buffer.len() - self.at >= len {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.buffer_offset += self.at as u64;
        self.at = 0;
        let mut end = self.buffer.len();
        while end < len && !self.source_ended {
            // The buffer grows with what is really there, whatever a record says of its length; and once for many reads,
            // since a pipe may give a few bytes at a time.
            if end + WINDOW_LEN / 2 > self.buffer.len() {
                self.buffer.resize(end + WINDOW_LEN, 0);
            }
            let read = self.read(end).inspect_err(|_| self.buffer.truncate(end))?;
            end += read;
            self.source_ended = read == 0;
        }
        self.buffer.truncate(end);
        Ok(())
    }

    fn read(&mut self, begin: usize) -> Result<usize> {
        loop {
            match self.source.read(&mut self.buffer[begin..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => return result.map_err(|e| Error::io("reading the log", e)),
            }
        }
    }

    fn drain(&mut self) -> Result<u64> {
        let mut drained = 0;
        let begin = self.buffer.len();
        while !self.source_ended {
            self.buffer.resize(begin + WINDOW_LEN, 0);
            let read = self.read(begin).inspect_err(|_| self.buffer.truncate(begin))?;
            drained += read as u64;
            self.source_ended = read == 0;
        }
        self.buffer.truncate(begin);
        Ok(drained)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

/// How long the record that begins here says it is, if that can be.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let (key_len, value_len) = (u32_at(bytes, 0)? as usize, u32_at(bytes, 4)?);
    let value_len = if value_len == LOG_DELETE { 0 } else { value_len as usize };
    (key_len <= KEY_LEN_MAX && value_len <= VALUE_LEN_MAX).then_some(8 + key_len + value_len + 4)
}

fn take(bytes: &[u8], at: usize) -> Option<Whole> {
    let len = record_len(&bytes[at..])?;
    let end = at.checked_add(len).filter(|end| *end <= bytes.len())?;
    if u32_at(bytes, end - 4)? != crc32c::crc32c(&bytes[at..end - 4]) {
        return None;
    }
    let key_end = at + 8 + u32_at(bytes, at)? as usize;
    let is_delete = u32_at(bytes, at + 4)? == LOG_DELETE;
    Some(Whole { key: at + 8..key_end, value: (!is_delete).then_some(key_end..end - 4), end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        encode_put(b"a", b"1", &mut bytes);
        ends.push(bytes.len());
        encode_delete(b"", &mut bytes);
        ends.push(bytes.len());
        encode_put(b"key", &[7; 300], &mut bytes);
        ends.push(bytes.len());
        (bytes, ends)
    }

    #[test]
    fn a_log_cut_anywhere_ends_at_the_last_whole_record() {
        let (bytes, ends) = log();
        for len in 0..=bytes.len() {
            let mut reader = LogReader::new(&bytes[..len]);
            while reader.next().unwrap().is_some() {}
            let whole = *ends.iter().rfind(|end| **end <= len).unwrap();
            assert_eq!((reader.offset() as usize, reader.torn_bytes() as usize), (whole, len - whole));
        }
    }

    #[test]
    fn a_bad_record_before_a_whole_one_is_corrupt() {
        let (whole, ends) = log();
        for at in 0..ends[2] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let mut reader = LogReader::new(&bytes[..]);
            let error = loop {
                match reader.next() {
                    Ok(entry) => assert!(entry.is_some(), "byte {at} was passed over"),
                    Err(error) => break error,
                }
            };
            let begin = *ends.iter().rfind(|end| **end <= at).unwrap() as u64;
            assert!(matches!(error, Error::Corrupt { offset, .. } if offset == begin), "byte {at}: {error}");
        }
    }
}
