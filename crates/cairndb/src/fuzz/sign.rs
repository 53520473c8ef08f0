//! Signing: right checksums for wrong bytes.
//!
//! Goes by what the bytes say of themselves, as a reader would: a record's checksums go where its length ends, a block's
//! where the index says that it ends. Where the bytes say nothing that makes sense, nothing is signed.

use cairndb_storage::{FileKind, FileName};
use xxhash_rust::xxh3::xxh3_64;

use super::{Files, file_of};
use crate::coding::{Decoder, Place};
use crate::cursor::Cursor;
use crate::header::{HEADER_LEN, Header};
use crate::record::{RECORD_ALIGNMENT, RECORD_HEADER_LEN};
use crate::sstable::{BLOCK_TRAILER_LEN, Block, BlockCursor, BlockHandle, FOOTER_LEN, Footer, decode_bounds};
use crate::sync::Arc;
use crate::version::Edit;

/// Signs every file, tables first: what manifests record of a table that stands becomes what its footer says. With
/// `bounds`, also the stretch that the table says it has.
pub fn sign(files: &mut Files, bounds: bool) {
    for (name, bytes) in files.iter_mut().filter(|(name, _)| name.kind == FileKind::SsTable) {
        sign_table(*name, bytes);
    }
    for (name, bytes) in files.iter_mut().filter(|(name, _)| name.kind == FileKind::Wal) {
        sign_records(*name, bytes, |payload| payload);
    }
    let tables = files.clone();
    for (name, bytes) in files.iter_mut().filter(|(name, _)| name.kind == FileKind::Manifest) {
        sign_records(*name, bytes, |payload| match Edit::decode(&payload) {
            Some(edit) => agree(edit, &tables, bounds).encode(),
            None => payload,
        });
    }
}

/// Gives the header its magic, its format and its crc; `None` if there is no room for one.
pub(super) fn sign_header(name: FileName, bytes: &mut [u8]) -> Option<Header> {
    let header = bytes.get_mut(..HEADER_LEN as usize)?;
    let model = Header { name, features: 0, manifest: 0, id: 0, own: [0; 3] }.encode();
    header[..12].copy_from_slice(&model[..12]);
    let crc = crc32c::crc32c(&header[..HEADER_LEN as usize - 4]);
    header[HEADER_LEN as usize - 4..].copy_from_slice(&crc.to_le_bytes());
    Header::decode(header, name).ok()
}

/// Signs a log's header and its records, up to the first that has no kind or ends behind the file. Payloads go through
/// `change`, and what stands behind one that changes its length moves.
pub(super) fn sign_records(name: FileName, bytes: &mut Vec<u8>, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let Some(header) = sign_header(name, bytes) else { return };
    let place = header.place();
    let mut out = bytes[..HEADER_LEN as usize].to_vec();
    let mut from = Decoder::at(bytes, HEADER_LEN as usize);
    loop {
        let rest = &bytes[from.offset()..];
        let Some(record) = from.bytes(RECORD_HEADER_LEN).filter(|record| (1..=5).contains(&record[12]))
        else {
            out.extend_from_slice(rest);
            break;
        };
        let mut record = record.to_vec();
        let payload_len = Decoder::at(&record, 4).u32().unwrap_or_default() as usize;
        let Some(payload) = from.bytes(payload_len) else {
            sign_record_header(&mut record, place, out.len() as u64);
            out.extend_from_slice(&record);
            out.extend_from_slice(&rest[RECORD_HEADER_LEN..]);
            break;
        };
        let payload = change(payload.to_vec());
        record[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let payload_crc = place.checksum((out.len() + RECORD_HEADER_LEN) as u64, &[&payload]);
        record[8..12].copy_from_slice(&payload_crc.to_le_bytes());
        sign_record_header(&mut record, place, out.len() as u64);
        out.extend_from_slice(&record);
        out.extend_from_slice(&payload);
        out.resize(out.len().next_multiple_of(RECORD_ALIGNMENT as usize), 0);
        from = Decoder::at(bytes, from.offset().next_multiple_of(RECORD_ALIGNMENT as usize));
    }
    *bytes = out;
}

fn sign_record_header(record: &mut [u8], place: Place, offset: u64) {
    let crc = place.checksum(offset, &[&record[4..]]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Signs a table: header, every block that the footer and the index name, hash and footer.
pub(super) fn sign_table(name: FileName, bytes: &mut [u8]) -> Option<(Header, Footer)> {
    let header = sign_header(name, bytes)?;
    let place = header.place();
    let footer_at = bytes.len().checked_sub(FOOTER_LEN).filter(|at| *at >= HEADER_LEN as usize)?;
    let handles = handles_of(&bytes[footer_at..])?;
    let [index, others @ ..] = handles;
    for handle in others.into_iter().chain(data_blocks(name, bytes, index)).chain([index]) {
        sign_block(&mut bytes[..footer_at], place, handle);
    }
    let hash = xxh3_64(&bytes[..footer_at]);
    let footer = &mut bytes[footer_at..];
    footer[152..160].copy_from_slice(&hash.to_le_bytes());
    let crc = place.checksum(footer_at as u64, &[&footer[..160]]);
    footer[160..164].copy_from_slice(&crc.to_le_bytes());
    footer[164..].copy_from_slice(b"cairnsst");
    let footer = Footer::decode(footer, place, footer_at as u64, name).ok()?;
    Some((header, footer))
}

pub(super) fn handles_of(footer: &[u8]) -> Option<[BlockHandle; 4]> {
    let mut from = Decoder::new(footer);
    let mut handle = || Some(BlockHandle { offset: from.u64()?, len: from.u32()? });
    Some([handle()?, handle()?, handle()?, handle()?])
}

/// The blocks that the index names, as far as it can be read.
pub(super) fn data_blocks(name: FileName, bytes: &[u8], index: BlockHandle) -> Vec<BlockHandle> {
    let mut blocks = Vec::new();
    let block = stretch(bytes, index).map(|range| bytes[range].to_vec());
    let Some(Ok(block)) = block.map(|block| Block::new(block, 0, name, index.offset)) else { return blocks };
    let mut cursor = BlockCursor::new(Arc::new(block));
    let mut stands = cursor.seek_first().is_ok();
    while let Some(separator) = cursor.entry().filter(|_| stands) {
        blocks.extend(BlockHandle::decode(separator.value));
        stands = cursor.next().is_ok();
    }
    blocks
}

/// Where a block lies, if its trailer lies in the file too.
pub(super) fn stretch(bytes: &[u8], handle: BlockHandle) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(handle.offset).ok()?;
    let end = start.checked_add(handle.len as usize)?;
    (end.checked_add(BLOCK_TRAILER_LEN)? <= bytes.len()).then_some(start..end)
}

/// A block that is not packed also gets its length right. One without a length is none.
fn sign_block(bytes: &mut [u8], place: Place, handle: BlockHandle) {
    let Some(range) = stretch(bytes, handle).filter(|range| !range.is_empty()) else { return };
    if bytes[range.end] == 0 {
        bytes[range.end + 1..range.end + 5].copy_from_slice(&handle.len.to_le_bytes());
    }
    let crc = place.checksum(handle.offset, &[&bytes[range.start..range.end + 5]]);
    bytes[range.end + 5..range.end + BLOCK_TRAILER_LEN].copy_from_slice(&crc.to_le_bytes());
}

/// Makes what an edit says of tables what the tables say.
fn agree(mut edit: Edit, files: &Files, bounds: bool) -> Edit {
    for (_, meta) in &mut edit.added {
        let name = FileName { kind: FileKind::SsTable, number: meta.number };
        let Some((bytes, (header, footer))) =
            files.get(&name).and_then(|bytes| Some((bytes, read_ends(name, bytes)?)))
        else {
            continue;
        };
        meta.id = header.id;
        meta.len = bytes.len() as u64;
        meta.hash = footer.hash;
        meta.counts = footer.counts;
        let stated = stretch(bytes, footer.bounds).and_then(|range| decode_bounds(&bytes[range]));
        if let Some((start, end)) = stated.filter(|_| bounds) {
            (meta.start, meta.end) = (start, end);
        }
    }
    edit
}

/// Header and footer of a table that was signed.
pub(super) fn read_ends(name: FileName, bytes: &[u8]) -> Option<(Header, Footer)> {
    let header = Header::read(file_of(name, bytes).as_ref(), name, "fuzz").ok()?;
    let at = bytes.len().checked_sub(FOOTER_LEN)?;
    let footer = Footer::decode(&bytes[at..], header.place(), at as u64, name).ok()?;
    Some((header, footer))
}
