//! Record: a file of checksummed records, the framing that WAL and manifest share.
//!
//! A log is written front to back and read back after a crash, when its end may be missing, zero or garbage. So each
//! record says how long it is, has a checksum over that, and another over its payload; both are bound to the file and
//! the offset. Records begin at multiples of eight bytes, so that a reader who has met a bad one can look for the next
//! whole one, and tell a torn end (nothing whole behind it) from rot (something whole behind it).
//!
//! Each record also carries a [`Position`] that its writer knew to be on the disk when it wrote the record: it *vouches*
//! for everything before that position. A bad record that a later one vouches past was once whole and synced.
//!
//! # Where it sits
//! On `header` and `coding`; `wal` and `manifest` stand on it.
//!
//! # On disk
//! ```text
//! 0           4            8              12    13    16            24              32        32+len
//! | header crc | payload len| payload crc  | kind| zero| vouched file| vouched offset| payload  | zeros to 8 |
//! ```
//! The header crc covers bytes 4..32. A kind is never 0, so that a run of zeros is never a record. Agrees with
//! FORMAT.md, "Records".
//!
//! # Invariants
//! - I1. A record is written only inside room that was laid down before, so a full disk is met before any byte.

use std::io;
use std::ops::Range;

use cairndb_storage::{File, FileName, Site};

use crate::coding::{Decoder, Place};
use crate::error::{Error, Result};
use crate::files::{lay_down, len_of, read_at, sync_file};
use crate::header::{HEADER_LEN, Header};
use crate::sync::{Arc, Mutex};

/// The length of a record's header, in bytes. FORMAT.md, "Constants".
pub(crate) const RECORD_HEADER_LEN: usize = 32;

/// Records begin at multiples of this, in bytes. FORMAT.md, "Constants".
pub(crate) const RECORD_ALIGNMENT: u64 = 8;

/// How much of a log is read at once, in bytes.
const READ_AHEAD_LEN: usize = 256 << 10;

/// A place in a log: a file's number and an offset in it. Later files lie behind earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) number: u64,
    pub(crate) offset: u64,
}

/// What kind of payload a record holds. The numbers are bytes on disk: FORMAT.md, "Records".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    /// WAL: one atomic write.
    Batch = 1,
    /// WAL: nothing but what the record vouches for.
    Mark = 2,
    /// WAL: the last record of a database that was closed cleanly.
    Close = 3,
    /// Manifest: a whole state, always the first record.
    Base = 4,
    /// Manifest: the difference between one state and the next.
    Edit = 5,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<RecordKind> {
        use RecordKind::{Base, Batch, Close, Edit, Mark};
        [Batch, Mark, Close, Base, Edit].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The length on disk of a record with this much payload, padding included.
pub(crate) fn record_len(payload_len: usize) -> u64 {
    (RECORD_HEADER_LEN as u64 + payload_len as u64).next_multiple_of(RECORD_ALIGNMENT)
}

/// Appends the record whose payload is `parts`, which is to stand at `offset` of the file at `place`.
pub(crate) fn encode_record(
    out: &mut Vec<u8>,
    place: Place,
    offset: u64,
    kind: RecordKind,
    vouched: Position,
    parts: &[&[u8]],
) {
    let payload_len: usize = parts.iter().map(|part| part.len()).sum();
    let mut header = [0; RECORD_HEADER_LEN];
    header[4..8].copy_from_slice(&(payload_len as u32).to_le_bytes());
    header[8..12].copy_from_slice(&place.checksum(offset + RECORD_HEADER_LEN as u64, parts).to_le_bytes());
    header[12] = kind as u8;
    header[16..24].copy_from_slice(&vouched.number.to_le_bytes());
    header[24..32].copy_from_slice(&vouched.offset.to_le_bytes());
    let crc = place.checksum(offset, &[&header[4..]]);
    header[..4].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&header);
    for part in parts {
        out.extend_from_slice(part);
    }
    let padding = record_len(payload_len) as usize - RECORD_HEADER_LEN - payload_len;
    out.resize(out.len() + padding, 0);
}

/// A log that is being written. It belongs to one writer at a time.
pub(crate) struct RecordWriter {
    pub(crate) file: Arc<dyn File>,
    pub(crate) name: FileName,
    pub(crate) place: Place,
    /// Where the next record goes.
    pub(crate) end: u64,
    /// How much of the file has been laid down.
    room: u64,
    /// How much at most is laid down ahead.
    room_step_max: u64,
}

/// A file that a writer and maintenance may sync at the same time. The system tells of a failure once for each open file,
/// and to whoever asks first; then the next sync "succeeds". So they take turns, and after a failure no other is tried.
struct SyncedByMany {
    file: Arc<dyn File>,
    failed: Mutex<Option<(io::ErrorKind, String)>>,
}

impl File for SyncedByMany {
    fn reserve(&self, site: Site, len: u64) -> io::Result<()> {
        self.file.reserve(site, len)
    }

    fn append(&self, site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.append(site, offset, bytes)
    }

    fn read_at(&self, site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(site, offset, buf)
    }

    fn len(&self, site: Site) -> io::Result<u64> {
        self.file.len(site)
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        let mut failed = self.failed.lock();
        if let Some((kind, told)) = &*failed {
            return Err(io::Error::new(*kind, format!("an earlier sync has failed: {told}")));
        }
        self.file.sync(site).inspect_err(|error| *failed = Some((error.kind(), error.to_string())))
    }
}

impl RecordWriter {
    /// Begins a log in an empty file by laying down its first room. The header is put down by [`RecordWriter::begin`].
    pub(crate) fn new(file: Arc<dyn File>, name: FileName, id: u128, room_step_max: u64) -> RecordWriter {
        let file = Arc::new(SyncedByMany { file, failed: Mutex::new(None) });
        RecordWriter { file, name, place: Place::new(id, name.number), end: 0, room: 0, room_step_max }
    }

    /// Writes the file's header.
    pub(crate) fn begin(&mut self, header: &Header, site: Site) -> Result<()> {
        assert_eq!(self.end, 0, "a header comes first");
        self.make_room(HEADER_LEN, site)?;
        self.append(&header.encode(), site)
    }

    /// Lays down room for `len` more bytes, ahead if the disk has it.
    ///
    /// Errors: `DiskFull`, and nothing is lost; `Io`.
    pub(crate) fn make_room(&mut self, len: u64, site: Site) -> Result<()> {
        let wanted = self.end + len;
        lay_down(self.file.as_ref(), self.name, &mut self.room, wanted, self.room_step_max, site)
    }

    /// Writes encoded records at the end.
    ///
    /// Requires: room for them (I1).
    pub(crate) fn append(&mut self, bytes: &[u8], site: Site) -> Result<()> {
        assert!(self.end + bytes.len() as u64 <= self.room, "I1: room comes before bytes");
        self.file.append(site, self.end, bytes).map_err(|e| {
            Error::unknown(format_args!("appending to {} at offset {}", self.name, self.end), e)
        })?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Makes all that was appended survive power loss.
    pub(crate) fn sync(&self, site: Site) -> Result<()> {
        sync_file(self.file.as_ref(), self.name, site)
    }

    pub(crate) fn position(&self) -> Position {
        Position { number: self.name.number, offset: self.end }
    }

    pub(crate) fn room(&self) -> u64 {
        self.room
    }
}

/// A record as it was found.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) offset: u64,
    pub(crate) kind: RecordKind,
    pub(crate) vouched: Position,
    pub(crate) payload: &'a [u8],
}

/// What a reader finds at its position.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A whole record; the reader stands behind it.
    Record(Record<'a>),
    /// Bytes that are no whole record; the reader stays.
    Bad { offset: u64, what: &'static str },
    /// The end of the file.
    End,
}

/// The fields of a record's header.
struct RecordHeader {
    payload_len: usize,
    payload_crc: u32,
    kind: RecordKind,
    vouched: Position,
}

/// A log that is being read, in stretches of [`READ_AHEAD_LEN`].
pub(crate) struct RecordReader {
    file: Arc<dyn File>,
    name: FileName,
    place: Place,
    site: Site,
    file_len: u64,
    offset: u64,
    /// The bytes of the file from `window_start` on.
    window: Vec<u8>,
    window_start: u64,
    /// At least so much is read at once.
    ahead: usize,
}

impl RecordReader {
    /// Reads the records behind the header of `file`.
    pub(crate) fn new(file: Arc<dyn File>, header: &Header, site: Site) -> Result<RecordReader> {
        let name = header.name;
        let file_len = len_of(file.as_ref(), name, site)?;
        let (place, window, ahead) = (header.place(), Vec::new(), READ_AHEAD_LEN);
        Ok(RecordReader {
            file,
            name,
            place,
            site,
            file_len,
            offset: HEADER_LEN,
            window,
            window_start: 0,
            ahead,
        })
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of the file when the reader was made.
    pub(crate) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// What stands at the reader's position.
    pub(crate) fn next(&mut self) -> Result<Found<'_>> {
        let offset = self.offset;
        if offset >= self.file_len {
            return Ok(Found::End);
        }
        let Some(range) = self.fetch(offset, RECORD_HEADER_LEN)? else {
            return Ok(Found::Bad { offset, what: "the file ends inside a record's header" });
        };
        let Some(header) = self.header_at(offset, range) else {
            return Ok(Found::Bad { offset, what: "the record's header does not fit its checksum" });
        };
        let Some(range) = self.fetch(offset + RECORD_HEADER_LEN as u64, header.payload_len)? else {
            return Ok(Found::Bad { offset, what: "the file ends inside a record" });
        };
        let payload_offset = offset + RECORD_HEADER_LEN as u64;
        if self.place.checksum(payload_offset, &[&self.window[range.clone()]]) != header.payload_crc {
            return Ok(Found::Bad { offset, what: "the record's payload does not fit its checksum" });
        }
        self.offset = offset + record_len(header.payload_len);
        let payload = &self.window[range];
        Ok(Found::Record(Record { offset, kind: header.kind, vouched: header.vouched, payload }))
    }

    /// Goes to where a record begins.
    pub(crate) fn at(self, offset: u64) -> RecordReader {
        RecordReader { offset, ..self }
    }

    /// Reads no byte that is not asked for: what cannot be read behind a record is no damage to it.
    pub(crate) fn exact(self) -> RecordReader {
        RecordReader { ahead: 0, ..self }
    }

    /// From a bad record on, goes to the next whole one, if there is any.
    pub(crate) fn skip_bad(&mut self) -> Result<bool> {
        loop {
            self.offset += RECORD_ALIGNMENT;
            if self.offset >= self.file_len {
                return Ok(false);
            }
            let here = self.offset;
            match self.next()? {
                Found::Record(_) => {
                    self.offset = here;
                    return Ok(true);
                }
                Found::Bad { .. } => {}
                Found::End => return Ok(false),
            }
        }
    }

    fn header_at(&self, offset: u64, range: Range<usize>) -> Option<RecordHeader> {
        let bytes = &self.window[range];
        // The kind is looked at before the checksum, so that runs of zeros are passed quickly.
        let kind = RecordKind::from_byte(bytes[12])?;
        let mut from = Decoder::new(bytes);
        if from.u32()? != self.place.checksum(offset, &[&bytes[4..]]) {
            return None;
        }
        let payload_len = usize::try_from(from.u32()?).ok()?;
        let payload_crc = from.u32()?;
        let mut from = Decoder::at(bytes, 16);
        let vouched = Position { number: from.u64()?, offset: from.u64()? };
        Some(RecordHeader { payload_len, payload_crc, kind, vouched })
    }

    /// Brings `len` bytes at `offset` into the window; `None` if the file ends before that.
    fn fetch(&mut self, offset: u64, len: usize) -> Result<Option<Range<usize>>> {
        if offset + len as u64 > self.file_len {
            return Ok(None);
        }
        let window_end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + len as u64 > window_end {
            let wanted = (len.max(self.ahead) as u64).min(self.file_len - offset) as usize;
            self.window.resize(wanted, 0);
            self.window_start = offset;
            let read = read_at(self.file.as_ref(), self.name, offset, &mut self.window, self.site)?;
            self.window.truncate(read);
            if read < len {
                return Ok(None);
            }
        }
        let start = (offset - self.window_start) as usize;
        Ok(Some(start..start + len))
    }
}

#[cfg(test)]
mod tests {
    use cairndb_storage::{Fault, Faulty, FileKind, Memory, Operation, Storage};

    use super::*;

    fn log_of(payloads: &[&[u8]]) -> (Arc<dyn File>, Header, Vec<u64>) {
        let (number, file) = Memory::default().create("test", FileKind::Wal, 0).unwrap();
        let header = Header {
            name: FileName { kind: FileKind::Wal, number },
            features: 0,
            manifest: 1,
            id: 9,
            own: [0; 3],
        };
        let mut writer = RecordWriter::new(Arc::clone(&file), header.name, header.id, 1 << 20);
        writer.begin(&header, "test").unwrap();
        let mut offsets = Vec::new();
        for payload in payloads {
            let mut bytes = Vec::new();
            offsets.push(writer.end);
            encode_record(
                &mut bytes,
                writer.place,
                writer.end,
                RecordKind::Batch,
                Position::default(),
                &[payload],
            );
            writer.make_room(bytes.len() as u64, "test").unwrap();
            writer.append(&bytes, "test").unwrap();
        }
        offsets.push(writer.end);
        (file, header, offsets)
    }

    #[test]
    fn records_come_back_and_zeros_are_none() {
        let (file, header, offsets) = log_of(&[b"one", b"", &[7; 5000]]);
        let mut reader = RecordReader::new(file, &header, "test").unwrap();
        for (index, expected) in [&b"one"[..], b"", &[7; 5000]].into_iter().enumerate() {
            let Found::Record(record) = reader.next().unwrap() else { panic!("record {index}") };
            assert_eq!((record.offset, record.payload), (offsets[index], expected));
        }
        assert!(matches!(reader.next().unwrap(), Found::Bad { offset, .. } if offset == offsets[3]));
        assert!(!reader.skip_bad().unwrap(), "nothing but laid-down room");
    }

    #[test]
    fn a_scan_goes_on_past_a_bad_record() {
        let (file, header, offsets) = log_of(&[b"one", b"two", b"three"]);
        file.append("test", offsets[1] + 33, b"X").unwrap();
        let mut reader = RecordReader::new(file, &header, "test").unwrap();
        assert!(matches!(reader.next().unwrap(), Found::Record(_)));
        assert!(matches!(reader.next().unwrap(), Found::Bad { .. }));
        assert!(reader.skip_bad().unwrap());
        let Found::Record(record) = reader.next().unwrap() else { panic!("the third record") };
        assert_eq!(record.payload, b"three");
    }

    /// Maintenance and a writer sync the same log. The system told one of them that the sync had failed, and the other, who
    /// asked next, that all was well: it acknowledged what was lost.
    #[test]
    fn a_failed_sync_was_told_to_one_of_two() {
        let disk = Faulty::default();
        let (number, file) = disk.create("test", FileKind::Wal, 0).unwrap();
        let name = FileName { kind: FileKind::Wal, number };
        let mut log = RecordWriter::new(file, name, 7, 4096);
        log.make_room(100, "test").unwrap();
        disk.fail(Fault::nth(1, io::ErrorKind::Other).on(Operation::Sync));
        log.sync("test").unwrap_err();
        let again = log.sync("test").unwrap_err();
        assert!(again.to_string().contains("an earlier sync has failed"), "{again}");
        sync_file(log.file.as_ref(), name, "test").unwrap_err();
    }
}
