//! Sorted keys: a list of keys laid out for searching.
//!
//! The keys stand one after the other, and beside them their *hints*: eight bytes of each key behind those that all of them
//! share, side by side. Only where hints are equal are keys compared.
//!
//! # Where it sits
//! On `key` alone. A table's index is one, and so are the ends of a level's tables.
//!
//! # Why this way
//! A search that halves its way through whole keys touches a line of memory, or two, at each step; through hints the last
//! three steps are in one line. It costs about twenty bytes a key.

use std::cmp::Ordering;

use crate::key::{hint_of, partition, shared_len};

/// What a list takes beside its arrays, in bytes.
const LIST_LEN: usize = 80;

/// Keys that rise, or stay the same.
#[derive(Default)]
pub(crate) struct SortedKeys {
    keys: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
    /// How many bytes all keys share, and what follows in each.
    skip: usize,
    hints: Vec<u64>,
}

impl SortedKeys {
    pub(crate) fn new<'a>(sorted: impl Iterator<Item = &'a [u8]> + Clone) -> SortedKeys {
        let mut keys =
            SortedKeys { ends: Vec::with_capacity(sorted.clone().count()), ..SortedKeys::default() };
        for key in sorted {
            keys.keys.extend_from_slice(key);
            keys.ends.push(keys.keys.len());
        }
        keys.keys.shrink_to_fit();
        if let Some(last) = keys.len().checked_sub(1) {
            keys.skip = shared_len(keys.get(0), keys.get(last));
        }
        keys.hints = (0..keys.len()).map(|at| hint_of(keys.get(at), keys.skip)).collect();
        keys
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.keys[start..self.ends[at]]
    }

    /// The first place that is not before `key`. Which lesser keys are is clear; `is_before` says it of one that looks like `key`.
    pub(crate) fn find(&self, key: &[u8], is_before: impl Fn(usize) -> bool) -> usize {
        if self.len() == 0 {
            return 0;
        }
        // What all keys share decides for a key that does not.
        match key[..key.len().min(self.skip)].cmp(&self.keys[..self.skip]) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.len(),
            Ordering::Equal => {}
        }
        let hint = hint_of(key, self.skip);
        let begin = self.hints.partition_point(|before| *before < hint);
        // Hints are seldom alike, so it is seldom worth looking how many are.
        if self.hints.get(begin) != Some(&hint) {
            return begin;
        }
        let alike = self.hints[begin..].partition_point(|there| *there == hint);
        partition(begin, alike, is_before)
    }

    /// How many bytes of memory it takes.
    pub(crate) fn memory_len(&self) -> usize {
        LIST_LEN + self.keys.capacity() + self.len() * (size_of::<usize>() + size_of::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_a_search_through_the_keys_finds() {
        let mut dice = 7_u64;
        let mut draw = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % below
        };
        for round in 0..if cfg!(miri) { 20 } else { 2_000 } {
            // Few different bytes and lengths beyond a hint: many keys that begin alike.
            let mut key = || {
                let tail = (0..draw(12)).map(|_| b'a' + draw(2) as u8);
                [&b"key/"[..(4 * (round % 2)) as usize], &tail.collect::<Vec<_>>()].concat()
            };
            let mut sorted: Vec<Vec<u8>> = (0..round % 40).map(|_| key()).collect();
            sorted.sort();
            let keys = SortedKeys::new(sorted.iter().map(Vec::as_slice));
            assert_eq!(keys.len(), sorted.len());
            let held = sorted.iter().map(|key| key.len() + 16).sum::<usize>() + LIST_LEN;
            assert!((held..=held + held / 4).contains(&keys.memory_len()));
            for wanted in [key(), key(), Vec::new(), b"z".to_vec()] {
                let not_below = sorted.partition_point(|key| *key < wanted);
                assert_eq!(keys.find(&wanted, |at| keys.get(at) < wanted.as_slice()), not_below);
                let above = sorted.partition_point(|key| *key <= wanted);
                assert_eq!(keys.find(&wanted, |at| keys.get(at) <= wanted.as_slice()), above);
            }
        }
    }
}
