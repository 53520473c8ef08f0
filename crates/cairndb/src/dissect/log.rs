//! Log: the records of WALs and manifests, and what stands between and behind them.

use cairndb_storage::{File, FileKind};

use super::fields::Fields;
use super::{Part, PartKind, SITE, counted, room, unread};
use crate::batch::decode_batch;
use crate::error::Result;
use crate::header::{HEADER_LEN, Header};
use crate::inspect::{entry_text, kind_name, shown, shown_key};
use crate::key::{EntryRef, KEY_LEN_MAX, Kind, SeqNo};
use crate::record::{
    Found, RECORD_ALIGNMENT, RECORD_HEADER_LEN, Record, RecordKind, RecordReader, record_len,
};
use crate::sstable::TableCounts;
use crate::sync::Arc;
use crate::version::{Edit, LEVEL_COUNT, tag_name};
use crate::wal::written_len;

/// The parts behind the header.
pub(super) fn parts(file: &Arc<dyn File>, header: &Header) -> Result<Vec<Part>> {
    let mut reader = RecordReader::new(Arc::clone(file), header, SITE)?;
    let file_len = reader.file_len();
    let mut parts = Vec::new();
    loop {
        match reader.next()? {
            // The file may end within the zeros behind a record.
            Found::Record(record) => {
                let part = record_part(&record, header);
                parts.push(Part { len: part.len.min(file_len - part.offset), ..part });
            }
            Found::End => return Ok(parts),
            Found::Bad { offset, what } => {
                let goes_on = reader.skip_bad()?;
                let end = if goes_on { reader.offset() } else { reader.file_len() };
                // Where records follow, zeros too are bytes that are missing.
                let written = written_len(file.as_ref(), header.name, offset)?;
                let bad = if goes_on { end - offset } else { written.next_multiple_of(RECORD_ALIGNMENT) };
                let bad_end = end.min(offset + bad);
                if bad_end > offset {
                    let why = if goes_on {
                        format!("{what}, and whole records stand behind it")
                    } else {
                        format!("{what}: the torn end that a crash leaves, or rot that nothing tells from it")
                    };
                    parts.push(unread(offset, bad_end, &why));
                }
                if end > bad_end {
                    parts.push(room(bad_end, end, "laid down for what comes next"));
                }
                if !goes_on {
                    return Ok(parts);
                }
            }
        }
    }
}

fn record_part(record: &Record<'_>, header: &Header) -> Part {
    let is_of_wal = header.name.kind == FileKind::Wal;
    let (title, is_well) = match record.kind {
        RecordKind::Batch => match decode_batch(record.payload) {
            Some((first, entries)) => {
                let count = counted(u64::from(entries.left()), "entry", "entries");
                (
                    format!("batch: {count} from @{first}"),
                    is_of_wal && entries.into_iter().all(|e| e.is_some()),
                )
            }
            None => ("batch".into(), false),
        },
        RecordKind::Mark => ("mark: vouches for what is before it".into(), is_of_wal),
        RecordKind::Close => ("close mark: the database was closed cleanly".into(), is_of_wal),
        RecordKind::Base | RecordKind::Edit => {
            let name = if record.kind == RecordKind::Base { "base" } else { "edit" };
            match Edit::decode(record.payload) {
                Some(edit) => (format!("{name}: {}", edit_text(&edit)), !is_of_wal),
                None => (name.into(), false),
            }
        }
    };
    let damage = (!is_well).then(|| "it passes its checksum, but makes no sense here".into());
    Part {
        offset: record.offset,
        len: record_len(record.payload.len()),
        kind: PartKind::Record,
        title,
        damage,
    }
}

fn edit_text(edit: &Edit) -> String {
    let mut said = Vec::new();
    let count = |count: usize| counted(count as u64, "table", "tables");
    if !edit.removed.is_empty() {
        said.push(format!("{} removed", count(edit.removed.len())));
    }
    if !edit.added.is_empty() {
        said.push(format!("{} added", count(edit.added.len())));
    }
    if let Some(checkpoint) = edit.checkpoint {
        said.push(format!("checkpoint WAL {} @{}", checkpoint.wal, checkpoint.seq));
    }
    if said.is_empty() { "clock and numbers".into() } else { said.join(", ") }
}

/// The fields of a record, whole or not, and of the zeros behind it.
pub(super) fn fields(fields: &mut Fields<'_>, header: &Header, bytes: &[u8]) -> Option<()> {
    let (place, at) = (header.place(), fields.place());
    let header_crc = fields.crc("header crc")?;
    let is_whole = bytes
        .get(4..RECORD_HEADER_LEN)
        .is_some_and(|rest| fields.check_crc(header_crc, place.checksum(at, &[rest])));
    let payload_len = fields.u32("payload len")? as usize;
    let payload_crc = fields.crc("payload crc")?;
    let payload = bytes.get(RECORD_HEADER_LEN..).and_then(|rest| rest.get(..payload_len));
    let has_payload = match payload {
        Some(payload) => {
            let right = place.checksum(at + RECORD_HEADER_LEN as u64, &[payload]);
            fields.check_crc(payload_crc, right)
        }
        None => {
            fields.damaged_unless(false, || "the bytes end before the payload does".into());
            false
        }
    };
    let kind = fields.u8("kind")?;
    let known = [RecordKind::Batch, RecordKind::Mark, RecordKind::Close, RecordKind::Base, RecordKind::Edit]
        .into_iter()
        .find(|known| *known as u8 == kind);
    match known {
        Some(kind) => fields.say(format!("{}: {}", kind as u8, format!("{kind:?}").to_lowercase())),
        None => fields.damaged_unless(false, || "there is no such kind".into()),
    }
    fields.bytes("zero", 3)?;
    let number = fields.u64("vouched file")?;
    if number > 0 {
        fields.say(format!("WAL {number}"));
    }
    fields.u64("vouched offset")?;
    let (Some(payload), true, true) = (payload, is_whole, has_payload) else { return Some(()) };
    match known? {
        RecordKind::Batch => batch(fields, payload.len())?,
        RecordKind::Base | RecordKind::Edit => edit(fields, payload.len())?,
        RecordKind::Mark | RecordKind::Close => {}
    }
    if fields.left() > 0 {
        fields.bytes("zero", fields.left())?;
    }
    Some(())
}

fn batch(fields: &mut Fields<'_>, len: usize) -> Option<()> {
    let end = fields.offset() + len;
    let first_seq = fields.u64("first seq")?;
    let count = fields.u32("count")?;
    first_seq.checked_add(u64::from(count))?;
    for seq in (first_seq..).take(count as usize) {
        let kind = Kind::from_byte(fields.peek()?)?;
        fields.group(kind_name(kind), |fields| entry(fields, kind, seq))?;
    }
    (fields.offset() == end).then_some(())
}

fn entry(fields: &mut Fields<'_>, kind: Kind, seq: SeqNo) -> Option<String> {
    fields.u8("kind")?;
    fields.say(format!("{}: {}", kind as u8, kind_name(kind)));
    let key = key(fields, "key len", KEY_LEN_MAX + 2)?;
    let expires_at_ms = if kind == Kind::PutWithExpiry { fields.u64("expiry")? } else { 0 };
    let value = match kind {
        Kind::Delete => &[],
        Kind::RangeDelete => fields.slice("end len", "end")?,
        Kind::Put | Kind::PutWithExpiry => fields.slice("value len", "value")?,
    };
    Some(entry_text(EntryRef { key, seq, kind, expires_at_ms, value }))
}

/// A length, a keyspace, and the user's key: together the stored key.
pub(super) fn key<'a>(fields: &mut Fields<'a>, len_name: &'static str, len_max: usize) -> Option<&'a [u8]> {
    let len = usize::try_from(fields.varint(len_name)?).ok().filter(|len| (1..=len_max).contains(len))?;
    let stored = fields.ahead(len)?;
    fields.u8("keyspace")?;
    fields.bytes("key", len - 1)?;
    Some(stored)
}

fn edit(fields: &mut Fields<'_>, len: usize) -> Option<()> {
    let end = fields.offset() + len;
    while fields.offset() < end {
        let name = tag_name(fields.peek()?)?;
        fields.group(name, |fields| change(fields, name))?;
    }
    Some(())
}

fn change(fields: &mut Fields<'_>, name: &'static str) -> Option<String> {
    fields.u8("tag")?;
    Some(match name {
        "added table" => {
            let level = fields.u8("level").filter(|level| usize::from(*level) < LEVEL_COUNT)?;
            let number = fields.varint("number")?;
            fields.id("id")?;
            let len = fields.varint("len")?;
            fields.hash("hash")?;
            let start = key(fields, "start len", usize::MAX)?;
            let end = fields.slice("end len", "end")?;
            for name in TableCounts::NAMES {
                fields.varint(name)?;
            }
            let stretch = format!("{} .. {}", shown_key(start), shown(end));
            format!("{number:06}.sst to level {level}: {stretch}, {len} bytes")
        }
        "removed table" => format!("{:06}.sst", fields.varint("number")?),
        "checkpoint" => {
            let (wal, seq) = (fields.varint("WAL")?, fields.varint("seq")?);
            format!("recovery begins with WAL {wal} @{seq}")
        }
        "clock" => format!("{} ms since 1970", fields.varint("ms")?),
        "last numbers" => {
            format!("SSTable {}, WAL {}", fields.varint("SSTable")?, fields.varint("WAL")?)
        }
        _ => format!("WAL {} of incarnation {:032x}", fields.varint("number")?, fields.id("id")?),
    })
}

/// The entries of a whole record: where each stands in the file, and how long it is.
pub(super) fn entries_of<'a>(record: &'a Record<'a>) -> Vec<(u64, u64, EntryRef<'a>)> {
    let start = record.offset + (RECORD_HEADER_LEN + crate::batch::BATCH_HEADER_LEN) as u64;
    let mut found = Vec::new();
    let Some((_, mut entries)) = decode_batch(record.payload) else { return found };
    loop {
        let from = entries.offset() as u64;
        let Some(Some(entry)) = entries.next() else { return found };
        found.push((start + from, entries.offset() as u64 - from, entry));
    }
}

/// Where records begin.
pub(super) const RECORDS_AT: u64 = HEADER_LEN;
