//! Lengths: tables that lie of where their blocks are and how long, which no edit of a byte in place can say.
//!
//! A handle in an index is two varints, and a greater number takes more of them: the whole index has to be written anew.
//! What a packed block says of its length stands behind each block, wherever that is.

use cairndb_storage::{FileKind, FileName};

use super::Files;
use super::sign::{data_blocks, handles_of, sign, stretch};
use crate::cursor::Cursor;
use crate::key::{EntryRef, Kind};
use crate::sstable::{
    BLOCK_TRAILER_LEN, Block, BlockBuilder, BlockCursor, BlockHandle, FOOTER_LEN, PACKING_LZ4,
};
use crate::sync::Arc;

/// Every way in which one block of one table can lie of its place or its length, signed, and what was done.
pub fn lying_lengths(files: &Files) -> Vec<(String, Files)> {
    let mut out = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.kind == FileKind::SsTable) {
        let len = bytes.len() as u32;
        for number in [0, 1, len - 1, len, len + 1, 1 << 28, (1 << 30) + 1, u32::MAX - 1, u32::MAX] {
            for nth in 0..blocks_of(*name, bytes).len() {
                let mut lie = |what: &str, edit: &dyn Fn(&mut Vec<u8>) -> Option<()>| {
                    let mut files = files.clone();
                    if files.get_mut(name).and_then(edit).is_some() {
                        sign(&mut files, true);
                        out.push((format!("{name}, block {nth}: {what} {number}"), files));
                    }
                };
                lie("length", &|bytes| point(*name, bytes, nth, |handle| handle.len = number));
                lie("offset", &|bytes| point(*name, bytes, nth, |handle| handle.offset = u64::from(number)));
                lie("unpacks to", &|bytes| claim(*name, bytes, nth, number));
            }
        }
    }
    out
}

/// Changes the handle of a data block; `None` if the table has no such block. The index with it stands behind the old one.
pub(super) fn point(
    name: FileName,
    bytes: &mut Vec<u8>,
    nth: usize,
    change: impl Fn(&mut BlockHandle),
) -> Option<()> {
    let footer_at = bytes.len().checked_sub(FOOTER_LEN)?;
    let [index, ..] = handles_of(&bytes[footer_at..])?;
    let block = Block::new(bytes[stretch(bytes, index)?].to_vec(), 0, name, index.offset).ok()?;
    let mut cursor = BlockCursor::new(Arc::new(block));
    let mut builder = BlockBuilder::new(1, 0);
    cursor.seek_first().ok()?;
    let mut count = 0;
    while let Some(EntryRef { key, seq, value, .. }) = cursor.entry() {
        let mut handle = BlockHandle::decode(value)?;
        if count == nth {
            change(&mut handle);
        }
        let value = &handle.encode();
        builder.add(EntryRef { key, seq, kind: Kind::Put, expires_at_ms: 0, value });
        count += 1;
        cursor.next().ok()?;
    }
    let (block, trailer) = ((count > nth).then(|| builder.finish())?, [0; BLOCK_TRAILER_LEN]);
    let index = [&block[..], &trailer].concat();
    let handle = BlockHandle { offset: footer_at as u64, len: block.len() as u32 };
    bytes.splice(footer_at..footer_at, index);
    let footer_at = bytes.len() - FOOTER_LEN;
    bytes[footer_at..footer_at + 8].copy_from_slice(&handle.offset.to_le_bytes());
    bytes[footer_at + 8..footer_at + 12].copy_from_slice(&handle.len.to_le_bytes());
    Some(())
}

/// Makes a block say that it is packed and what it unpacks to; `None` if the table has no such block.
pub(super) fn claim(name: FileName, bytes: &mut [u8], nth: usize, len: u32) -> Option<()> {
    let end = stretch(bytes, *blocks_of(name, bytes).get(nth)?)?.end;
    bytes[end] = PACKING_LZ4;
    bytes[end + 1..end + 5].copy_from_slice(&len.to_le_bytes());
    Some(())
}

/// The data blocks, and the four others.
fn blocks_of(name: FileName, bytes: &[u8]) -> Vec<BlockHandle> {
    let handles = bytes.len().checked_sub(FOOTER_LEN).and_then(|at| handles_of(&bytes[at..]));
    let Some(others) = handles else { return Vec::new() };
    data_blocks(name, bytes, others[0]).into_iter().chain(others).collect()
}
