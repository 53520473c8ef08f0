//! Table: the blocks of an SSTable, found as a reader finds them, and its footer.

use std::collections::BTreeMap;

use cairndb_storage::File;
use xxhash_rust::xxh3::xxh3_64;

use super::fields::Fields;
use super::log::key;
use super::{Part, PartKind, SITE, Taken, counted, read, unread, what};
use crate::coding::Decoder;
use crate::cursor::Cursor;
use crate::error::Result;
use crate::header::{HEADER_LEN, Header, MAGIC_SSTABLE};
use crate::inspect::{entry_text, kind_name, shown, shown_key};
use crate::key::{EntryRef, KEY_LEN_MAX, Kind, SeqNo};
use crate::sstable::{
    BLOCK_TRAILER_LEN, Block, BlockCursor, BlockHandle, FILTER_LINE_LEN, FOOTER_LEN, Footer, PACKING_LZ4,
    PACKING_NONE, TableCounts, read_block, unpack,
};
use crate::sync::Arc;

/// The parts behind the header of a table of `len` bytes.
pub(super) fn parts(file: &Arc<dyn File>, header: &Header, len: u64) -> Result<Vec<Part>> {
    let Some(footer_at) = len.checked_sub(FOOTER_LEN as u64).filter(|at| *at >= HEADER_LEN) else {
        return Ok(vec![unread(HEADER_LEN, len, "there is no room for a footer")]);
    };
    let bytes = read(file, header.name, footer_at, FOOTER_LEN as u64)?;
    let found = Footer::decode(&bytes, header.place(), footer_at, header.name);
    let mut blocks = Blocks { file, header, len, parts: BTreeMap::new() };
    let footer_part = Part {
        offset: footer_at,
        len: FOOTER_LEN as u64,
        kind: PartKind::Footer,
        title: match &found {
            Ok(footer) => {
                let entries = counted(footer.counts.entries, "entry", "entries");
                format!("footer: {entries} from @{} to @{}", footer.counts.seq_min, footer.counts.seq_max)
            }
            Err(_) => "footer".into(),
        },
        damage: found.as_ref().err().map(what),
    };
    if let Ok(footer) = &found {
        blocks.add_all(footer);
    }
    let mut parts = blocks.without_gaps(footer_at);
    parts.push(footer_part);
    Ok(parts)
}

/// Blocks that something names, by offset.
struct Blocks<'a> {
    file: &'a Arc<dyn File>,
    header: &'a Header,
    len: u64,
    parts: BTreeMap<u64, Part>,
}

impl Blocks<'_> {
    fn add_all(&mut self, footer: &Footer) {
        self.add(footer.bounds, PartKind::Bounds, "bounds: the first and the last key".into());
        if footer.range_deletes.len > 0 {
            let fragments = counted(footer.counts.range_deletes, "fragment", "fragments");
            self.add(footer.range_deletes, PartKind::RangeDeletes, format!("range deletes: {fragments}"));
        }
        if footer.filter.len > 0 {
            let lines = u64::from(footer.filter.len) / FILTER_LINE_LEN as u64;
            let title = format!("filter: {} of 512 bits", counted(lines, "line", "lines"));
            self.add(footer.filter, PartKind::Filter, title);
        }
        if footer.index.len == 0 {
            return;
        }
        let (name, at) = (self.header.name, footer.index.offset);
        let index = self
            .read(footer.index, PartKind::Index, "index".into())
            .and_then(|bytes| Block::new(bytes, 0, name, at).map_err(|error| what(&error)))
            .and_then(|index| self.add_data(index));
        if let Some(part) = self.parts.get_mut(&at) {
            match index {
                Ok(count) => part.title = format!("index: {}", counted(count, "block", "blocks")),
                Err(what) => part.damage = part.damage.take().or(Some(what)),
            }
        }
    }

    fn add_data(&mut self, index: Block) -> std::result::Result<u64, String> {
        let mut cursor = BlockCursor::new(Arc::new(index));
        let mut count = 0;
        cursor.seek_first().map_err(|error| what(&error))?;
        while let Some(separator) = cursor.entry() {
            let handle = BlockHandle::decode(separator.value).ok_or("the index points nowhere")?;
            count += 1;
            let title = format!("block {count}: to {}", shown_key(separator.key));
            self.add(handle, PartKind::Data, title);
            cursor.next().map_err(|error| what(&error))?;
        }
        Ok(count)
    }

    /// Notes the block at `handle`, and what is wrong with it.
    fn add(&mut self, handle: BlockHandle, kind: PartKind, title: String) {
        drop(self.read(handle, kind, title));
    }

    /// The same, and returns what is in it; or what is wrong, which the part says too.
    fn read(
        &mut self,
        handle: BlockHandle,
        kind: PartKind,
        title: String,
    ) -> std::result::Result<Vec<u8>, String> {
        let (name, place) = (self.header.name, self.header.place());
        let len = u64::from(handle.len) + BLOCK_TRAILER_LEN as u64;
        let bytes =
            read_block(self.file.as_ref(), self.len, name, place, handle, SITE).map_err(|error| what(&error));
        let damage = bytes.as_ref().err().cloned();
        self.parts.entry(handle.offset).or_insert(Part { offset: handle.offset, len, kind, title, damage });
        bytes
    }

    /// The blocks in order, with what no one names between them.
    fn without_gaps(self, end: u64) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let mut next = HEADER_LEN;
        let stray = "neither footer nor index names these bytes, or those that would cannot be read";
        for part in self.parts.into_values() {
            let part_end = part.offset.saturating_add(part.len);
            if part.offset < next || part_end > end {
                if let Some(last) = parts.last_mut() {
                    last.damage.get_or_insert(format!("something points to a block at {} too", part.offset));
                }
                continue;
            }
            if part.offset > next {
                parts.push(unread(next, part.offset, stray));
            }
            next = part_end;
            parts.push(part);
        }
        if next < end {
            parts.push(unread(next, end, stray));
        }
        parts
    }
}

/// The fields of a block of this kind: as it stands at `offset`, and unpacked.
pub(super) fn block(kind: PartKind, header: &Header, offset: u64, bytes: &[u8]) -> Taken {
    let Some(len) = bytes.len().checked_sub(BLOCK_TRAILER_LEN) else {
        return Fields::over(bytes, offset, |_| None::<()>);
    };
    let contents = &bytes[..len];
    let base_seq = if kind == PartKind::Data { header.own[0] } else { 0 };
    let unpacked_len = Decoder::at(bytes, len + 1).u32().unwrap_or_default() as usize;
    let unpacked = if bytes[len] == PACKING_LZ4 { unpack(contents, unpacked_len) } else { None };
    let stored = Fields::list(bytes, offset, |fields| {
        if bytes[len] == PACKING_NONE {
            let mut inner = Fields::list(contents, offset, |fields| inside(kind, fields, contents, base_seq));
            fields.skip(len)?;
            fields.append(&mut inner);
        } else {
            fields.bytes("packed block", len)?;
            fields.damaged_unless(unpacked.is_some(), || "the block does not unpack".into());
        }
        match fields.u8("packing")? {
            PACKING_NONE => fields.say("0: as it is".into()),
            PACKING_LZ4 => fields.say("1: lz4".into()),
            _ => fields.damaged_unless(false, || "there is no such packing".into()),
        }
        fields.u32("unpacked len")?;
        let right = bytes[len] != PACKING_NONE || unpacked_len == len;
        fields.damaged_unless(right, || format!("the block has {len} bytes"));
        let crc = fields.crc("crc")?;
        fields.check_crc(crc, header.place().checksum(offset, &[&bytes[..bytes.len() - 4]]));
        Some(())
    });
    let unpacked = unpacked.map(|bytes| {
        let fields = Fields::list(&bytes, 0, |fields| inside(kind, fields, &bytes, base_seq));
        (bytes, fields)
    });
    Taken { stored, unpacked }
}

fn inside(kind: PartKind, fields: &mut Fields<'_>, bytes: &[u8], base_seq: SeqNo) -> Option<()> {
    match kind {
        PartKind::Filter => filter(fields),
        PartKind::RangeDeletes => range_deletes(fields),
        PartKind::Bounds => {
            key(fields, "start len", KEY_LEN_MAX + 2)?;
            fields.slice("end len", "end").map(drop)
        }
        _ => entries(fields, bytes, base_seq, kind == PartKind::Index),
    }
}

/// A block of entries, and its restart points.
fn entries(fields: &mut Fields<'_>, bytes: &[u8], base_seq: SeqNo, is_index: bool) -> Option<()> {
    let count_at = bytes.len().checked_sub(4)?;
    let count = Decoder::at(bytes, count_at).u32()? as usize;
    let restarts_at = count_at.checked_sub(count.checked_mul(4)?)?;
    let mut key = Vec::new();
    while fields.offset() < restarts_at {
        let name = if is_index { "separator" } else { kind_name(peek_kind(bytes, fields.offset())?) };
        fields.group(name, |fields| entry(fields, &mut key, base_seq, is_index))?;
    }
    for _ in 0..count {
        fields.u32("restart offset")?;
    }
    fields.u32("restart count").map(drop)
}

/// The kind of the entry that begins at `at`.
fn peek_kind(bytes: &[u8], at: usize) -> Option<Kind> {
    let mut from = Decoder::at(bytes, at);
    let (_shared, _rest_len) = (from.varint()?, from.varint()?);
    Kind::from_byte((from.varint()? & 3) as u8).filter(|kind| *kind != Kind::RangeDelete)
}

fn entry(fields: &mut Fields<'_>, key: &mut Vec<u8>, base_seq: SeqNo, is_index: bool) -> Option<String> {
    let shared = usize::try_from(fields.varint("shared")?).ok().filter(|shared| *shared <= key.len())?;
    let rest_len = usize::try_from(fields.varint("rest len")?).ok()?;
    let tag = fields.varint("tag")?;
    let kind = Kind::from_byte((tag & 3) as u8)?;
    let seq = base_seq.checked_add(tag >> 2)?;
    fields.say(format!("{tag}: @{seq}, {}", kind_name(kind)));
    let expires_at_ms = if kind == Kind::PutWithExpiry { fields.u64("expiry")? } else { 0 };
    let value_len = match kind {
        Kind::Delete => 0,
        _ => usize::try_from(fields.varint("value len")?).ok()?,
    };
    let rest = fields.bytes("rest of key", rest_len)?;
    key.truncate(shared);
    key.extend_from_slice(rest);
    if kind == Kind::Delete {
        return Some(entry_text(EntryRef { key, seq, kind, expires_at_ms, value: &[] }));
    }
    if is_index {
        let handle = BlockHandle::decode(fields.ahead(value_len)?)?;
        fields.varint("block offset")?;
        fields.varint("block len")?;
        return Some(format!("up to {} @{seq}: {} bytes at {}", shown_key(key), handle.len, handle.offset));
    }
    let value = fields.bytes("value", value_len)?;
    Some(entry_text(EntryRef { key, seq, kind, expires_at_ms, value }))
}

fn filter(fields: &mut Fields<'_>) -> Option<()> {
    for number in 0.. {
        if fields.left() <= FILTER_LINE_LEN {
            break;
        }
        let line = fields.bytes("line", FILTER_LINE_LEN)?;
        let set: u32 = line.iter().map(|byte| byte.count_ones()).sum();
        fields.say(format!("{number}: {set} of 512 bits are set"));
    }
    fields.u8("probes")?;
    (fields.left() == 0).then_some(())
}

fn range_deletes(fields: &mut Fields<'_>) -> Option<()> {
    for _ in 0..fields.varint("fragment count")? {
        fields.group("range delete", |fields| {
            let start = key(fields, "start len", KEY_LEN_MAX + 2)?;
            let end = fields.slice("end len", "end")?;
            let mut seqs = Vec::new();
            for _ in 0..fields.varint("count")? {
                seqs.push(format!("@{}", fields.varint("seq")?));
            }
            Some(format!("{} .. {} {}", shown_key(start), shown(end), seqs.join(" ")))
        })?;
    }
    Some(())
}

/// The fields of the footer, of a file that holds `hashed` before it.
pub(super) fn footer(fields: &mut Fields<'_>, header: &Header, hashed: &[u8], bytes: &[u8]) -> Option<()> {
    let at = fields.place();
    for name in ["index", "filter", "range deletes", "bounds"] {
        fields.group(name, |fields| {
            let (offset, len) = (fields.u64("offset")?, fields.u32("len")?);
            Some(if len == 0 { "there is none".into() } else { format!("{len} bytes at {offset}") })
        })?;
    }
    for name in TableCounts::NAMES {
        fields.u64(name)?;
    }
    let (hash, right) = (fields.hash("hash")?, xxh3_64(hashed));
    fields.damaged_unless(hash == right, || format!("the bytes before it have {right:016x}"));
    let crc = fields.crc("crc")?;
    let checked = bytes.get(..FOOTER_LEN - 12)?;
    fields.check_crc(crc, header.place().checksum(at, &[checked]));
    let magic = fields.bytes("magic", 8)?;
    fields.damaged_unless(magic == MAGIC_SSTABLE, || "a table ends otherwise".into());
    Some(())
}
