//! Node: one file's bytes, and which of them a crash may harm.
//!
//! Because files only grow, nothing old must be kept: beneath an un-synced append there is nothing but zeros or an
//! un-synced reserve. So a node holds its bytes once, as reads see them, and beside them the list of writes that
//! no sync has covered; a crash takes a copy, blanks those writes, and puts back what their fates say, in order.
//!
//! # Invariants
//! - I1. A byte that an append has written is never written by another append.
//! - I2. A byte of a write that a good sync covered comes through every crash as it was.

use super::fate::{Dice, Fate, Unsynced};
use crate::FileName;
use crate::memory::copy_from;
use std::sync::Arc;

/// The unit that a disk writes whole or not at all.
const SECTOR_LEN: u64 = 512;

/// One file. Not thread-safe: the disk locks it.
#[derive(Clone)]
pub(super) struct Node {
    /// What reads are served. Shared with the disk of before a crash until one of them writes.
    bytes: Arc<Vec<u8>>,
    /// The length that comes through every crash.
    synced_len: u64,
    /// The writes that a crash may harm, in order; and among them, once a sync has failed, those that a later one
    /// covered, since they lie over the doubtful ones.
    writes: Vec<Write>,
    /// How many writes there ever were.
    write_count: u64,
    /// The end of the appended bytes; `None` where a crash has hidden it and nobody has asked yet.
    written_end: Option<u64>,
    /// Whether the file has a name now, so that its bytes count as used.
    pub(super) named: bool,
}

#[derive(Clone)]
struct Write {
    number: u64,
    offset: u64,
    len: u64,
    /// The file's length before.
    grew_from: u64,
    /// A reserve: what was written are zeros, whatever stands there now.
    zeros: bool,
    standing: Standing,
}

/// What is known of a write, or of a name's change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No sync has covered it yet.
    Unsynced,
    /// A sync has failed since: no later one proves anything for it.
    Doubtful,
    /// Covered by a good sync.
    Synced,
}

impl Node {
    pub(super) fn empty() -> Node {
        Node { written_end: Some(0), ..Node::synced(Arc::default()) }
    }

    /// A file whose bytes are all on the disk.
    pub(super) fn synced(bytes: Arc<Vec<u8>>) -> Node {
        let synced_len = bytes.len() as u64;
        Node { bytes, synced_len, writes: Vec::new(), write_count: 0, written_end: None, named: true }
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        copy_from(&self.bytes, offset, buf)
    }

    /// Where the appended bytes end. After a crash, behind the last byte that is not zero: an append over anything
    /// else would overwrite.
    pub(super) fn written_end(&mut self) -> u64 {
        let last_set = || self.bytes.iter().rposition(|&byte| byte != 0);
        *self.written_end.get_or_insert_with(|| last_set().map_or(0, |last| last as u64 + 1))
    }

    /// Requires: `offset` at or beyond [`Node::written_end`] (I1).
    pub(super) fn append(&mut self, offset: u64, bytes: &[u8]) {
        debug_assert!(offset >= self.written_end(), "I1");
        if bytes.is_empty() {
            return;
        }
        self.note(offset, bytes.len() as u64, false);
        let end = offset as usize + bytes.len();
        let file = Arc::make_mut(&mut self.bytes);
        if end > file.len() {
            file.resize(end, 0);
        }
        file[offset as usize..end].copy_from_slice(bytes);
        self.written_end = Some(end as u64);
    }

    pub(super) fn reserve(&mut self, len: u64) {
        if len > self.len() {
            self.note(self.len(), len - self.len(), true);
            Arc::make_mut(&mut self.bytes).resize(len as usize, 0);
        }
    }

    fn note(&mut self, offset: u64, len: u64, zeros: bool) {
        let write = Write {
            number: self.write_count,
            offset,
            len,
            grew_from: self.len(),
            zeros,
            standing: Standing::Unsynced,
        };
        self.writes.push(write);
        self.write_count += 1;
    }

    /// How many writes there were: what a sync that begins now will cover.
    pub(super) fn write_count(&self) -> u64 {
        self.write_count
    }

    /// A sync that began after `write_count` writes has succeeded.
    pub(super) fn sync(&mut self, write_count: u64) {
        for write in &mut self.writes {
            if write.number < write_count && write.standing == Standing::Unsynced {
                write.standing = Standing::Synced;
                self.synced_len = self.synced_len.max(write.end());
            }
        }
        if self.writes.iter().all(|write| write.standing != Standing::Doubtful) {
            self.writes.retain(|write| write.standing != Standing::Synced);
        }
    }

    /// A sync has failed: nothing un-synced is known, for ever.
    pub(super) fn fail_sync(&mut self) {
        for write in &mut self.writes {
            if write.standing == Standing::Unsynced {
                write.standing = Standing::Doubtful;
            }
        }
    }

    /// Replaces all bytes, on the disk too.
    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        *self = Node { write_count: self.write_count, named: self.named, ..Node::synced(Arc::new(bytes)) };
    }

    /// Flips a bit, on the disk too.
    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) {
        Arc::make_mut(&mut self.bytes)[offset as usize] ^= 1 << bit;
    }

    /// The file as it is found after a power loss.
    pub(super) fn crashed(&self, file: FileName, decide: &mut dyn FnMut(Unsynced) -> Fate) -> Node {
        if self.writes.is_empty() {
            return Node::synced(self.bytes.clone());
        }
        let len = self.crashed_len(file, decide);
        let mut image = self.bytes[..len as usize].to_vec();
        for write in self.writes.iter().filter(|write| write.standing != Standing::Synced) {
            image[write.range_below(len)].fill(0);
        }
        for write in &self.writes {
            if write.standing == Standing::Synced {
                self.put(&mut image, write, write.range_below(len), Fate::Keep); // I2
                continue;
            }
            for piece in write.sectors_below(len) {
                let (offset, len) = (piece.start as u64, piece.len() as u64);
                let zeros = write.zeros;
                let fate = decide(Unsynced::Sector { file, write: write.number, offset, len, zeros });
                self.put(&mut image, write, piece, fate);
            }
        }
        Node::synced(Arc::new(image))
    }

    /// Lengths first, so that nobody is asked about bytes beyond the end.
    fn crashed_len(&self, file: FileName, decide: &mut dyn FnMut(Unsynced) -> Fate) -> u64 {
        let mut len = self.synced_len;
        for write in self.writes.iter().filter(|write| write.standing != Standing::Synced) {
            let to = write.end();
            if to <= write.grew_from || to <= len {
                continue;
            }
            len = match decide(Unsynced::Length { file, from: len, to }) {
                Fate::Keep => to,
                Fate::Lose | Fate::Zero => len,
                Fate::Tear(number) | Fate::Garbage(number) => len + number % (to - len + 1),
            };
        }
        len
    }

    fn put(&self, image: &mut [u8], write: &Write, piece: std::ops::Range<usize>, fate: Fate) {
        match fate {
            Fate::Keep if write.zeros => image[piece].fill(0),
            Fate::Keep => image[piece.clone()].copy_from_slice(&self.bytes[piece]),
            Fate::Lose => {}
            Fate::Zero => image[piece].fill(0),
            Fate::Tear(_) if write.zeros => {}
            Fate::Tear(number) => {
                let kept = piece.start..piece.start + (number % piece.len() as u64) as usize;
                image[kept.clone()].copy_from_slice(&self.bytes[kept]);
            }
            Fate::Garbage(number) => Dice(number).fill(&mut image[piece]),
        }
    }
}

impl Write {
    fn end(&self) -> u64 {
        self.offset + self.len
    }

    fn range_below(&self, len: u64) -> std::ops::Range<usize> {
        let end = self.end().min(len);
        self.offset.min(end) as usize..end as usize
    }

    /// The write's parts, one per sector, below `len`.
    fn sectors_below(&self, len: u64) -> impl Iterator<Item = std::ops::Range<usize>> {
        let end = self.end().min(len);
        let mut next = self.offset;
        std::iter::from_fn(move || {
            let start = next;
            next = end.min((start / SECTOR_LEN + 1) * SECTOR_LEN);
            (start < end).then_some(start as usize..next as usize)
        })
    }
}
