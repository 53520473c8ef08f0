//! Arena: entries in memory, put down once and read from then on, from any thread, without a lock.
//!
//! An entry is a row of 64-bit words in a chunk, and its number says which chunk and where in it:
//!
//! ```text
//! | sequence number | value len u32, key len u24, kind u8 | expiry, if the kind has one | key | value |
//! ```
//!
//! Key and value are each filled up with zeros to whole words. A word holds its bytes in the order in which they sort, so
//! that eight of them are compared at once.
//!
//! # Invariants
//! - I1. One thread at a time puts. Whoever has an entry's number through something that was released after the entry was
//!   put sees the entry whole. Whoever has it otherwise may see zeros in its place, and must not believe them.
//!
//! # Why this way
//! Words that are atomic can be written while others read without `unsafe`, at the price of a copy for whoever wants a
//! slice; that copy is made anyhow. A box for each entry costs a call of the allocator, a pointer to follow, and memory
//! that one thread takes and another frees, which the allocator's heaps, one a thread, are slow to give back.

use std::cmp::Ordering as Order;
use std::ops::Range;

use super::NIL;
use super::slots::Slots;
use crate::key::{EntryRef, Kind, SeqNo, Value, hint_of};
use crate::sync::{AtomicU64, Ordering};

/// How many bits of a number say where in its chunk an entry begins, in words.
const OFFSET_BITS: u32 = 15;

/// The shortest and the longest chunk, in words. Few where schedules are drawn or interpreted.
const CHUNK_LENS: (usize, usize) = if cfg!(any(shuttle, miri)) { (16, 64) } else { (64, 1 << OFFSET_BITS) };

/// Between the two, a chunk is this part of all chunks before it: so much may stand unused at the end.
const CHUNK_SHARE: usize = 16;

/// What is longer than this part of a chunk has one of its own, so that little is wasted at a chunk's end.
const OWN_CHUNK_SHARE: usize = 4;

/// A buffer that an entry is copied to keeps no more than this for the next one, in bytes.
const BUFFER_LEN_MAX: usize = 64 << 10;

/// The words before an expiry or a key.
const HEAD_LEN: usize = 2;

type Chunk = Box<[AtomicU64]>;

/// What an arena may be asked to hold, in bytes: more than two memtables as long as they get, and less than it has numbers for.
pub(crate) const LEN_MAX: u64 = 6 << 30;

/// Entries by number. Safe to read from any thread.
pub(super) struct Arena {
    chunks: Slots<Chunk>,
}

/// Where the next entry goes; only the thread that puts has it.
#[derive(Default)]
pub(super) struct End {
    chunk_count: u32,
    /// How long all chunks are together, in words.
    total_len: usize,
    /// The chunk that is being filled, how long it is, and how much of it is taken.
    chunk: u32,
    len: usize,
    used: usize,
}

/// An entry in an arena.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    /// From its first word to the end of its chunk.
    words: &'a [AtomicU64],
    /// Its second word: how long it is, and its kind.
    lens: u64,
}

impl Arena {
    pub(super) fn new() -> Arena {
        Arena { chunks: Slots::new() }
    }

    /// Puts an entry down; returns its number, and how much memory that took, in bytes.
    ///
    /// Requires: a kind that stands in a tree.
    pub(super) fn put(&self, end: &mut End, entry: EntryRef<'_>) -> (u32, u64) {
        let has_expiry = entry.kind == Kind::PutWithExpiry;
        let key_at = HEAD_LEN + usize::from(has_expiry);
        let value_at = key_at + entry.key.len().div_ceil(8);
        let len = value_at + entry.value.len().div_ceil(8);
        let total_before = end.total_len;
        let (chunk, at) = self.room(end, len);
        let words = &self.chunks.get(chunk).expect("it was just there")[at..at + len];
        let lens = entry.value.len() as u64 | (entry.key.len() as u64) << 32 | (entry.kind as u64) << 56;
        words[0].store(entry.seq, Ordering::Relaxed);
        words[1].store(lens, Ordering::Relaxed);
        if has_expiry {
            words[HEAD_LEN].store(entry.expires_at_ms, Ordering::Relaxed);
        }
        store(&words[key_at..value_at], entry.key);
        store(&words[value_at..], entry.value);
        (chunk << OFFSET_BITS | at as u32, 8 * (end.total_len - total_before) as u64)
    }

    /// Room for `len` words: the chunk, and where in it.
    fn room(&self, end: &mut End, len: usize) -> (u32, usize) {
        // Of few different lengths, so that what one memtable leaves fits the next.
        let chunk_len = 1 << (end.total_len / CHUNK_SHARE).clamp(CHUNK_LENS.0, CHUNK_LENS.1).ilog2();
        if len > chunk_len / OWN_CHUNK_SHARE {
            return (self.add_chunk(end, len), 0);
        }
        if end.used + len > end.len {
            (end.chunk, end.len, end.used) = (self.add_chunk(end, chunk_len), chunk_len, 0);
        }
        end.used += len;
        (end.chunk, end.used - len)
    }

    fn add_chunk(&self, end: &mut End, len: usize) -> u32 {
        end.chunk_count += 1;
        end.total_len += len;
        assert!(end.chunk_count < 1 << (u32::BITS - OFFSET_BITS), "8 GiB, which is more than LEN_MAX");
        self.chunks.set(end.chunk_count, (0..len).map(|_| AtomicU64::new(0)).collect());
        end.chunk_count
    }

    /// The entry with this number, if there is one (I1).
    pub(super) fn get(&self, number: u32) -> Option<Stored<'_>> {
        if number == NIL {
            return None;
        }
        let (chunk, at) = (number >> OFFSET_BITS, number & ((1 << OFFSET_BITS) - 1));
        let words = self.chunks.get(chunk)?.get(at as usize..)?;
        Some(Stored { words, lens: words.get(1)?.load(Ordering::Relaxed) })
    }
}

fn store(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_be_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        words[whole.len()].store(hint_of(rest, 0), Ordering::Relaxed);
    }
}

impl Stored<'_> {
    fn word(self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    pub(crate) fn seq(self) -> SeqNo {
        self.word(0)
    }

    pub(crate) fn kind(self) -> Kind {
        // What makes no sense is not believed (I1).
        Kind::from_byte((self.lens >> 56) as u8).unwrap_or(Kind::Delete)
    }

    pub(crate) fn expires_at_ms(self) -> u64 {
        if self.kind() == Kind::PutWithExpiry { self.word(HEAD_LEN) } else { 0 }
    }

    fn key_len(self) -> usize {
        (self.lens >> 32 & 0xFF_FFFF) as usize
    }

    fn value_len(self) -> usize {
        self.lens as u32 as usize
    }

    fn key_at(self) -> usize {
        HEAD_LEN + usize::from(self.kind() == Kind::PutWithExpiry)
    }

    /// The eight bytes of the key from `8 * at` on, as a number; zeros behind its end.
    fn key_word(self, at: usize) -> u64 {
        if 8 * at < self.key_len() { self.word(self.key_at() + at) } else { 0 }
    }

    /// As [`hint_of`] has it.
    pub(super) fn hint(self, skip: usize) -> u64 {
        let (at, bits) = (skip / 8, 8 * (skip % 8));
        let (first, second) = (self.key_word(at), self.key_word(at + 1));
        first << bits | second.checked_shr(u64::BITS - bits as u32).unwrap_or_default()
    }

    /// How many bytes two keys have in common before they differ.
    pub(super) fn shared_len(self, other: Stored<'_>) -> usize {
        let len_max = self.key_len().min(other.key_len());
        let differ = |at: &usize| self.key_word(*at) != other.key_word(*at);
        let Some(at) = (0..len_max.div_ceil(8)).find(differ) else { return len_max };
        let alike = (self.key_word(at) ^ other.key_word(at)).leading_zeros() / 8;
        len_max.min(8 * at + alike as usize)
    }

    fn compare_key(self, key: &[u8]) -> Order {
        let (len, key_at) = (self.key_len(), self.key_at());
        let words = self.words.get(key_at..key_at + len.div_ceil(8)).unwrap_or_default();
        for (at, word) in words.iter().enumerate() {
            let order = word.load(Ordering::Relaxed).cmp(&hint_of(key, 8 * at));
            if order.is_ne() {
                return order;
            }
        }
        // What is left are bytes that the other key has more, or zeros that look like none.
        len.cmp(&key.len())
    }

    pub(super) fn is_of_key(self, key: &[u8]) -> bool {
        self.compare_key(key).is_eq()
    }

    /// Its place before or behind `target`, as [`crate::key::compare`] has it.
    pub(super) fn compare(self, target: (&[u8], SeqNo)) -> Order {
        self.compare_key(target.0).then_with(|| target.1.cmp(&self.seq()))
    }

    pub(crate) fn value(self) -> Value {
        let mut value = Vec::new();
        self.copy(self.key_at() + self.key_len().div_ceil(8), self.value_len().div_ceil(8), &mut value);
        value.truncate(self.value_len());
        Value::from(value)
    }

    /// Copies key and value, each of them filled up to whole words; returns where in `into` they are.
    pub(super) fn copy_data(self, into: &mut Vec<u8>) -> (Range<usize>, Range<usize>) {
        let (key_len, value_len) = (self.key_len(), self.value_len());
        let value_at = key_len.next_multiple_of(8);
        if into.len() > BUFFER_LEN_MAX {
            *into = Vec::new();
        }
        self.copy(self.key_at(), value_at / 8 + value_len.div_ceil(8), into);
        (0..key_len, value_at..value_at + value_len)
    }

    fn copy(self, at: usize, len: usize, into: &mut Vec<u8>) {
        let words = self.words.get(at..at + len).unwrap_or_default();
        if into.len() < 8 * len {
            into.resize(8 * len, 0);
        }
        for (bytes, word) in into.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.load(Ordering::Relaxed).to_be_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{compare, shared_len};

    /// Keys of all lengths around a word's, with the bytes that matter: none, zero, and the largest.
    fn keys() -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = vec![vec![0xFF; 9], vec![0xFF; 17]];
        for len in 1..if cfg!(miri) { 10 } else { 19 } {
            for last in [0, 1, 0xFF] {
                let mut key = vec![b'k'; len];
                key[len - 1] = last;
                keys.push(key);
            }
        }
        keys
    }

    #[test]
    fn what_is_put_is_found_again() {
        let (arena, mut end) = (Arena::new(), End::default());
        let (mut put, mut all_taken, mut all_len) = (Vec::new(), 0, 0);
        for (seq, key) in (1..).zip(keys()) {
            let value = vec![seq as u8; 40 * seq as usize];
            let kind = [Kind::Put, Kind::PutWithExpiry, Kind::Delete][seq as usize % 3];
            let expires_at_ms = if kind == Kind::PutWithExpiry { seq * 1000 } else { 0 };
            let value = if kind == Kind::Delete { Vec::new() } else { value };
            let entry = EntryRef { key: &key, seq, kind, expires_at_ms, value: &value };
            let (number, taken) = arena.put(&mut end, entry);
            all_taken += taken;
            all_len += entry.data_len();
            assert!(all_taken >= all_len);
            put.push((number, key, seq, kind, expires_at_ms, value));
        }
        let mut data = Vec::new();
        for (number, key, seq, kind, expires_at_ms, value) in &put {
            let stored = arena.get(*number).unwrap();
            assert_eq!((stored.seq(), stored.kind(), stored.expires_at_ms()), (*seq, *kind, *expires_at_ms));
            let (key_at, value_at) = stored.copy_data(&mut data);
            assert_eq!((&data[key_at], &data[value_at]), (key.as_slice(), value.as_slice()));
            assert_eq!(stored.value()[..], value[..]);
            assert!(stored.is_of_key(key));
        }
        assert!(arena.get(NIL).is_none());
    }

    #[test]
    fn words_compare_as_bytes_do() {
        let (arena, mut end) = (Arena::new(), End::default());
        let keys = keys();
        let numbers: Vec<u32> = keys
            .iter()
            .map(|key| {
                arena
                    .put(&mut end, EntryRef { key, seq: 7, kind: Kind::Put, expires_at_ms: 0, value: b"v" })
                    .0
            })
            .collect();
        for (a, number) in keys.iter().zip(&numbers) {
            let stored = arena.get(*number).unwrap();
            for skip in 0..a.len() + 2 {
                assert_eq!(stored.hint(skip), hint_of(a, skip), "{a:?} behind {skip}");
            }
            for (b, other) in keys.iter().zip(&numbers) {
                for seq in [6, 7, 8] {
                    assert_eq!(stored.compare((b, seq)), compare((a, 7), (b, seq)), "{a:?} and {b:?}");
                }
                assert_eq!(
                    stored.shared_len(arena.get(*other).unwrap()),
                    shared_len(a, b),
                    "{a:?} and {b:?}"
                );
            }
        }
    }
}
