//! Index: where in a table the block of a key is.
//!
//! The index block's separators, taken apart once and laid out for searching: their *hints*, eight bytes of each key
//! behind those that all of them share, lie side by side. Only where hints are equal are keys compared.
//!
//! # Why this way
//! A search that halves its way through whole keys touches a line of memory, or two, at each step; through hints the last
//! three steps are in one line. It costs about twenty bytes for each block of 4 KiB.

use std::cmp::Ordering;

use super::block::{Block, BlockCursor, BlockHandle};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::key::{SeqNo, compare, hint_of, partition, shared_len};
use crate::sync::Arc;

/// What an index takes beside its arrays, in bytes.
const INDEX_LEN: u64 = 160;

/// The separators of a table, and the blocks before them. Safe to use from any thread.
pub(crate) struct Index {
    /// The keys of all separators, one after the other, and where each ends.
    keys: Vec<u8>,
    ends: Vec<usize>,
    seqs: Vec<SeqNo>,
    handles: Vec<BlockHandle>,
    /// How many bytes all keys share, and what follows in each.
    skip: usize,
    hints: Vec<u64>,
}

impl Index {
    /// Takes an index block apart. Every block must lie within the first `len` bytes of the file.
    ///
    /// Errors: `Corrupt`.
    pub(super) fn new(block: Block, len: u64) -> Result<Index> {
        let (name, offset) = (block.name(), block.offset());
        let corrupt = || Error::corrupt(name, offset, "the index points nowhere");
        let (mut keys, mut ends, mut seqs, mut handles) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut cursor = BlockCursor::new(Arc::new(block));
        cursor.seek_first()?;
        while let Some(separator) = cursor.entry() {
            let handle = BlockHandle::decode_within(separator.value, len);
            handles.push(handle.ok_or_else(corrupt)?);
            keys.extend_from_slice(separator.key);
            ends.push(keys.len());
            seqs.push(separator.seq);
            cursor.next()?;
        }
        keys.shrink_to_fit();
        ends.shrink_to_fit();
        seqs.shrink_to_fit();
        handles.shrink_to_fit();
        let mut index = Index { keys, ends, seqs, handles, skip: 0, hints: Vec::new() };
        if let Some(last) = index.len().checked_sub(1) {
            index.skip = shared_len(index.key(0), index.key(last));
        }
        index.hints = (0..index.len()).map(|at| hint_of(index.key(at), index.skip)).collect();
        Ok(index)
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
        if self.len() == 0 {
            return 0;
        }
        // What all separators share decides for a key that does not.
        match key[..key.len().min(self.skip)].cmp(&self.keys[..self.skip]) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.len(),
            Ordering::Equal => {}
        }
        let hint = hint_of(key, self.skip);
        let begin = self.hints.partition_point(|before| *before < hint);
        let alike = self.hints[begin..].partition_point(|there| *there == hint);
        let is_before = |at: usize| compare((self.key(at), self.seqs[at]), (key, seq)).is_lt();
        partition(begin, alike, is_before)
    }

    pub(super) fn memory_len(&self) -> u64 {
        let per_block = size_of::<usize>() + size_of::<SeqNo>() + size_of::<BlockHandle>() + size_of::<u64>();
        INDEX_LEN + (self.keys.capacity() + self.len() * per_block) as u64
    }

    fn key(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.keys[start..self.ends[at]]
    }
}
