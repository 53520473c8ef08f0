//! Index: where in a table the block of a key is.
//!
//! The index block's separators, taken apart once and laid out for searching.

use super::block::{Block, BlockCursor, BlockHandle};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::key::{SeqNo, compare};
use crate::sorted_keys::SortedKeys;
use crate::sync::Arc;

/// What an index takes beside its arrays, in bytes.
const INDEX_LEN: usize = 80;

/// The separators of a table, and the blocks before them. Safe to use from any thread.
pub(crate) struct Index {
    keys: SortedKeys,
    seqs: Vec<SeqNo>,
    handles: Vec<BlockHandle>,
}

impl Index {
    /// Takes an index block apart. Every block must lie within the first `len` bytes of the file.
    ///
    /// Errors: `Corrupt`.
    pub(super) fn new(block: Block, len: u64) -> Result<Index> {
        let (name, offset) = (block.name(), block.offset());
        let corrupt = || Error::corrupt(name, offset, "the index points nowhere");
        let (mut keys, mut seqs, mut handles) = (Vec::new(), Vec::new(), Vec::new());
        let mut cursor = BlockCursor::new(Arc::new(block));
        cursor.seek_first()?;
        while let Some(separator) = cursor.entry() {
            let handle = BlockHandle::decode_within(separator.value, len);
            handles.push(handle.ok_or_else(corrupt)?);
            keys.push(separator.key.to_vec());
            seqs.push(separator.seq);
            cursor.next()?;
        }
        seqs.shrink_to_fit();
        handles.shrink_to_fit();
        Ok(Index { keys: SortedKeys::new(keys.iter().map(Vec::as_slice)), seqs, handles })
    }

    /// How many separators there are.
    pub(super) fn len(&self) -> usize {
        self.handles.len()
    }

    /// The block of separator `at`.
    pub(super) fn handle(&self, at: usize) -> Option<BlockHandle> {
        self.handles.get(at).copied()
    }

    /// The first separator at or behind (`key`, `seq`): its block is the one that may hold them.
    pub(super) fn find(&self, key: &[u8], seq: SeqNo) -> usize {
        self.keys.find(key, |at| compare((self.keys.get(at), self.seqs[at]), (key, seq)).is_lt())
    }

    /// How many bytes of memory it takes.
    pub(super) fn memory_len(&self) -> u64 {
        let per_block = size_of::<SeqNo>() + size_of::<BlockHandle>();
        (INDEX_LEN + self.keys.memory_len() + self.len() * per_block) as u64
    }
}
