//! Inspect: prints a file's bytes as fields, for people who want to see.
//!
//! Each line gives an offset, the field that stands there, and what it says. What follows damage is not printed: it
//! would be guesswork.
//!
//! # Where it sits
//! On the rooms that define the bytes; nothing stands on it but the command line.

use std::fmt::Display;
use std::io::{self, Write};

use cairndb_storage::{File, FileKind, FileName};

use crate::batch::{BATCH_HEADER_LEN, decode_batch};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::files::len_of;
use crate::header::{HEADER_LEN, Header};
use crate::key::{EntryRef, Kind, SeqNo};
use crate::range_delete::RangeDeletes;
use crate::record::{Found, RECORD_HEADER_LEN, Record, RecordKind, RecordReader};
use crate::sstable::{
    BLOCK_TRAILER_LEN, Block, BlockCursor, BlockHandle, FOOTER_LEN, Footer, TableCounts, decode_bounds,
    read_block,
};
use crate::sync::Arc;
use crate::version::Edit;

/// A key or value longer than this is cut, in bytes.
const SHOWN_LEN: usize = 48;

/// Decodes a WAL, an SSTable or a manifest, and prints its bytes as fields to `out`.
///
/// Errors: `Corrupt` at the first damage, after everything before it has been printed; `Invalid` for another format;
/// `Io`, also of `out`.
pub fn inspect(file: Arc<dyn File>, name: FileName, out: &mut dyn Write) -> Result<()> {
    let mut page = Page { out };
    if name.kind == FileKind::Reserve {
        let len = len_of(file.as_ref(), name, "inspect.len")?;
        page.section(format_args!("{name}: reserve"))?;
        return page.line(0, "room", format_args!("{len} bytes that keep space, and that nobody reads"));
    }
    let header = Header::read(file.as_ref(), name, "inspect.header")?;
    page.header(&header)?;
    match name.kind {
        FileKind::Wal | FileKind::Manifest => {
            page.records(RecordReader::new(file, &header, "inspect.read")?, name)
        }
        FileKind::SsTable => page.table(file.as_ref(), &header),
        FileKind::Reserve => Ok(()),
    }
}

/// Where the fields go.
struct Page<'a> {
    out: &'a mut dyn Write,
}

impl Page<'_> {
    fn line(&mut self, offset: u64, field: &str, value: impl Display) -> Result<()> {
        writeln!(self.out, "{offset:>10}  {field:<18} {value}").map_err(write_error)
    }

    fn section(&mut self, title: impl Display) -> Result<()> {
        writeln!(self.out, "{title}").map_err(write_error)
    }

    fn header(&mut self, header: &Header) -> Result<()> {
        self.section(format_args!("{}: header", header.name))?;
        let own: [&str; 3] = match header.name.kind {
            FileKind::Wal => ["predecessor", "predecessor len", "first seq"],
            FileKind::SsTable => ["base seq", "zero", "zero"],
            FileKind::Manifest | FileKind::Reserve => ["zero", "zero", "zero"],
        };
        self.line(0, "magic", format_args!("\"{}\"", header.encode()[..8].escape_ascii()))?;
        self.line(8, "format", crate::header::FORMAT_VERSION)?;
        self.line(12, "features", format_args!("{:#x}", header.features))?;
        self.line(16, "number", header.name.number)?;
        self.line(24, "manifest", header.manifest)?;
        self.line(32, "id", format_args!("{:032x}", header.id))?;
        for ((field, value), offset) in own.iter().zip(header.own).zip([48, 56, 64]) {
            self.line(offset, field, value)?;
        }
        self.line(HEADER_LEN - 4, "crc", "fits")
    }

    fn records(&mut self, mut reader: RecordReader, name: FileName) -> Result<()> {
        loop {
            match reader.next()? {
                Found::Record(record) => self.record(&record, name)?,
                Found::End => return Ok(()),
                Found::Bad { offset, what } => {
                    if reader.skip_bad()? {
                        return Err(Error::corrupt(name, offset, what));
                    }
                    return self.section(format_args!("{offset:>10}  no whole record from here on: {what}"));
                }
            }
        }
    }

    fn record(&mut self, record: &Record<'_>, name: FileName) -> Result<()> {
        let offset = record.offset;
        self.section(format_args!("record: {:?}", record.kind))?;
        self.line(offset + 4, "payload len", record.payload.len())?;
        self.line(
            offset + 16,
            "vouched",
            format_args!("WAL {} up to {}", record.vouched.number, record.vouched.offset),
        )?;
        let payload_at = offset + RECORD_HEADER_LEN as u64;
        let malformed = || Error::corrupt(name, offset, "the record passes its checksum, but makes no sense");
        match record.kind {
            RecordKind::Batch => {
                let (first_seq, entries) = decode_batch(record.payload).ok_or_else(malformed)?;
                self.line(payload_at, "first seq", first_seq)?;
                self.line(payload_at + 8, "count", entries.left())?;
                let mut entries = entries;
                loop {
                    let at = payload_at + BATCH_HEADER_LEN as u64 + entries.offset() as u64;
                    match entries.next() {
                        None => return Ok(()),
                        Some(None) => return Err(malformed()),
                        Some(Some(entry)) => self.entry(at, entry)?,
                    }
                }
            }
            RecordKind::Mark | RecordKind::Close => Ok(()),
            RecordKind::Base | RecordKind::Edit => {
                let edit = Edit::decode(record.payload).ok_or_else(malformed)?;
                self.edit(payload_at, &edit)
            }
        }
    }

    fn edit(&mut self, offset: u64, edit: &Edit) -> Result<()> {
        for number in &edit.removed {
            self.line(offset, "removed", FileName { kind: FileKind::SsTable, number: *number })?;
        }
        for (level, meta) in &edit.added {
            let name = FileName { kind: FileKind::SsTable, number: meta.number };
            let (start, end) = (shown(&meta.start), shown(&meta.end));
            self.line(
                offset,
                "added",
                format_args!("{name} to level {level}: {start} .. {end}, {} bytes", meta.len),
            )?;
            self.counts(offset, 0, meta.counts)?;
        }
        if let Some(checkpoint) = edit.checkpoint {
            self.line(offset, "checkpoint", format_args!("WAL {}, seq {}", checkpoint.wal, checkpoint.seq))?;
        }
        if let Some(clock_ms) = edit.clock_ms {
            self.line(offset, "clock ms", clock_ms)?;
        }
        if let Some((sstable, wal)) = edit.last_numbers {
            self.line(offset, "last numbers", format_args!("SSTable {sstable}, WAL {wal}"))?;
        }
        for (number, id) in &edit.wals {
            self.line(offset, "needed WAL", format_args!("{number} of incarnation {id:032x}"))?;
        }
        Ok(())
    }

    /// The counts from `offset` on, `step` bytes each; 0 where they have no fixed length.
    fn counts(&mut self, offset: u64, step: u64, counts: TableCounts) -> Result<()> {
        for (index, (field, value)) in (0..).zip(TableCounts::NAMES.iter().zip(counts.to_fields())) {
            self.line(offset + index * step, field, value)?;
        }
        Ok(())
    }

    fn entry(&mut self, offset: u64, entry: EntryRef<'_>) -> Result<()> {
        self.line(offset, kind_name(entry.kind), entry_text(entry))
    }

    fn table(&mut self, file: &dyn File, header: &Header) -> Result<()> {
        let (name, place) = (header.name, header.place());
        let failed = |e| Error::io(format_args!("reading {name}"), e);
        let len = file.len("inspect.len").map_err(failed)?;
        let offset = len
            .checked_sub(FOOTER_LEN as u64)
            .ok_or_else(|| Error::corrupt(name, 0, "there is no room for a footer"))?;
        let mut bytes = vec![0; FOOTER_LEN];
        let read = file.read_at("inspect.footer", offset, &mut bytes).map_err(failed)?;
        let footer = Footer::decode(&bytes[..read], place, offset, name)?;
        self.footer(offset, &footer)?;
        let read = |handle: BlockHandle| read_block(file, len, name, place, handle, "inspect.read");
        let (start, end) = decode_bounds(&read(footer.bounds)?)
            .ok_or_else(|| Error::corrupt(name, footer.bounds.offset, "the bounds make no sense"))?;
        self.line(footer.bounds.offset, "bounds", format_args!("{} .. {}", shown(&start), shown(&end)))?;
        if footer.range_deletes.len > 0 {
            let deletes = RangeDeletes::decode(&read(footer.range_deletes)?).ok_or_else(|| {
                Error::corrupt(name, footer.range_deletes.offset, "the range deletes make no sense")
            })?;
            for fragment in deletes.iter() {
                let value =
                    format!("{} .. {} @{:?}", shown(fragment.start), shown(fragment.end), fragment.seqs);
                self.line(footer.range_deletes.offset, "range delete", value)?;
            }
        }
        if footer.index.len > 0 {
            let index = Block::new(read(footer.index)?, 0, name, footer.index.offset)?;
            self.blocks(&read, index, header.own[0], name)?;
        }
        Ok(())
    }

    fn footer(&mut self, offset: u64, footer: &Footer) -> Result<()> {
        self.section("footer")?;
        let handles = [footer.index, footer.filter, footer.range_deletes, footer.bounds];
        let fields = ["index", "filter", "range deletes", "bounds"];
        for ((handle, field), at) in handles.iter().zip(fields).zip((0..).step_by(12)) {
            self.line(offset + at, field, format_args!("{} bytes at {}", handle.len, handle.offset))?;
        }
        self.counts(offset + 48, 8, footer.counts)?;
        self.line(offset + FOOTER_LEN as u64 - 20, "hash", format_args!("{:016x}", footer.hash))
    }

    fn blocks(
        &mut self,
        read: &dyn Fn(BlockHandle) -> Result<Vec<u8>>,
        index: Block,
        base_seq: SeqNo,
        name: FileName,
    ) -> Result<()> {
        let mut index = BlockCursor::new(Arc::new(index));
        index.seek_first()?;
        while let Some(separator) = index.entry() {
            let handle = BlockHandle::decode(separator.value)
                .ok_or_else(|| Error::corrupt(name, index.block().offset(), "the index points nowhere"))?;
            let key = shown(separator.key);
            let stored_len = handle.len as usize + BLOCK_TRAILER_LEN;
            self.section(format_args!(
                "block: {stored_len} bytes at {}, up to {key} @{}",
                handle.offset, separator.seq
            ))?;
            let block = Block::new(read(handle)?, base_seq, name, handle.offset)?;
            let mut cursor = BlockCursor::new(Arc::new(block));
            cursor.seek_first()?;
            while let Some(entry) = cursor.entry() {
                self.entry(handle.offset, entry)?;
                cursor.next()?;
            }
            index.next()?;
        }
        Ok(())
    }
}

fn write_error(error: io::Error) -> Error {
    Error::unknown("writing the inspection", error)
}

/// What people call a kind of entry.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Delete => "delete",
        Kind::Put => "put",
        Kind::PutWithExpiry => "put with expiry",
        Kind::RangeDelete => "range delete",
    }
}

/// An entry in a line, but for its kind.
pub(crate) fn entry_text(entry: EntryRef<'_>) -> String {
    let key = format!("{} @{}", shown_key(entry.key), entry.seq);
    match entry.kind {
        Kind::Delete => key,
        Kind::Put => format!("{key} = {}", shown(entry.value)),
        Kind::PutWithExpiry => format!("{key} = {} until {}", shown(entry.value), entry.expires_at_ms),
        Kind::RangeDelete => format!("{key} .. {}", shown(entry.value)),
    }
}

/// A stored key: its keyspace, and the user's key.
pub(crate) fn shown_key(stored: &[u8]) -> String {
    let (keyspace, key) = stored.split_first().map_or((0, &[][..]), |(keyspace, key)| (*keyspace, key));
    format!("{keyspace}/{}", shown(key))
}

/// Bytes as text, escaped, and cut when they are long.
pub(crate) fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_LEN {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    format!("\"{}\"... ({} bytes)", bytes[..SHOWN_LEN].escape_ascii(), bytes.len())
}
