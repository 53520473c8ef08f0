//! Filter: which keys a memtable may hold, so that a search for one that it does not hold looks at one word.
//!
//! A Bloom filter in words: a key sets three bits of one word. At eight bits a key about one search in twenty is made in
//! vain. One thread adds; a reader sees every key that was added before what it may see was shown.
//!
//! # Why this way
//! A search in the tree that finds nothing costs more than everything else that a read of a missing key does. Words rather
//! than lines of 64 bytes, since the writer pays for each bit too.

use crate::sync::{AtomicU64, Ordering};

/// Bytes of a full memtable to one of the filter: entries of a hundred bytes have about eight bits each.
const MEMTABLE_SHARE: u64 = 128;

/// A filter that grows fuller, and never larger.
pub(super) struct Filter {
    words: Box<[AtomicU64]>,
}

impl Filter {
    /// For a memtable that is full at `full_len` bytes.
    pub(super) fn new(full_len: u64) -> Filter {
        let count = (full_len / MEMTABLE_SHARE / 8).max(1);
        let count = if cfg!(any(shuttle, miri)) { count.min(2) } else { count };
        Filter { words: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    pub(super) fn memory_len(&self) -> u64 {
        size_of_val(&*self.words) as u64
    }

    /// Requires: one thread at a time does this.
    pub(super) fn add(&self, hash: u64) {
        let (word, bits) = self.place(hash);
        word.store(word.load(Ordering::Relaxed) | bits, Ordering::Relaxed);
    }

    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let (word, bits) = self.place(hash);
        word.load(Ordering::Relaxed) & bits == bits
    }

    /// The word, by the hash's upper half as a share of all words, and the bits, by its lower half.
    fn place(&self, hash: u64) -> (&AtomicU64, u64) {
        let at = ((hash >> 32) * self.words.len() as u64) >> 32;
        let bits = (0..3).fold(0, |bits, index| bits | 1 << (hash >> (6 * index) & 63));
        (&self.words[at as usize], bits)
    }
}
