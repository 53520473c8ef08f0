//! Cursors of `SCAN`: numbers that stand for keys.
//!
//! Clients take a cursor for a number, and a key does not fit one; so the server keeps, for as many cursors as it has room
//! for, the key behind which each goes on. A cursor may be used again and again. The oldest are forgotten first; who
//! comes back with a forgotten one gets an error, and no answer that is not complete.
//!
//! Invariants:
//! - I1. Keys that are kept take at most `BYTES_MAX`, besides the newest.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is kept for all clients together.
const BYTES_MAX: usize = 16 << 20;
/// What a cursor takes besides its key, roughly.
const OVERHEAD: usize = 128;

#[derive(Default)]
pub(crate) struct Scans(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    keys: HashMap<u64, Vec<u8>>,
    /// The oldest first.
    order: VecDeque<u64>,
    bytes: usize,
}

impl Scans {
    /// A number for `key`.
    pub(crate) fn cursor(&self, key: Vec<u8>) -> u64 {
        let mut kept = self.lock();
        // Positive in every client's integers, and exact in those that take them for floats.
        let cursor = loop {
            let cursor = crate::random::number() >> 11;
            if cursor != 0 && !kept.keys.contains_key(&cursor) {
                break cursor;
            }
        };
        kept.bytes += key.len() + OVERHEAD;
        kept.keys.insert(cursor, key);
        while kept.bytes > BYTES_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            let key = kept.keys.remove(&oldest).unwrap_or_default();
            kept.bytes -= key.len() + OVERHEAD;
        }
        kept.order.push_back(cursor);
        cursor
    }

    /// The key that a cursor stands for; `None` if it was never given, or is forgotten.
    pub(crate) fn key(&self, cursor: u64) -> Option<Vec<u8>> {
        self.lock().keys.get(&cursor).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_cursors_are_forgotten_for_new_ones() {
        let scans = Scans::default();
        let first = scans.cursor(b"first".to_vec());
        assert_eq!(scans.key(first).as_deref(), Some(&b"first"[..]));
        assert_eq!(scans.key(first).as_deref(), Some(&b"first"[..]), "it may be used again");
        let large = vec![7; 60_000];
        let last = (0..300).map(|_| scans.cursor(large.clone())).last().expect("there are some");
        assert_eq!(scans.key(first), None);
        assert_eq!(scans.key(last), Some(large));
        let kept = scans.lock();
        assert!(kept.bytes <= BYTES_MAX + 60_000 + OVERHEAD);
        assert_eq!(kept.keys.len(), kept.order.len());
    }
}
