//! Tally: what a part of the simulation did: how often each thing happened, and a hash of all of it.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How often each thing happened, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<&'static str, u64>,
    /// Things that count once however often they are met, by their hashes.
    distinct: Vec<u64>,
    trace: u64,
}

impl Tally {
    /// How often the thing of this name happened.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// All counts, in the order of their names.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(name, count)| (*name, *count))
    }

    /// A hash, in order, of every step, of how many storage calls it made and how much it left on the disk; of the answers, and
    /// of every byte on the disk at the end. Of two tallies it is of no use.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    pub(crate) fn add(&mut self, name: &'static str, count: u64) {
        *self.counts.entry(name).or_default() += count;
    }

    pub(crate) fn meet(&mut self, hash: u64) {
        self.distinct.push(hash);
    }

    pub(crate) fn take_distinct(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.distinct)
    }

    pub(crate) fn follow(&mut self, told: &str) {
        self.trace = xxh3_64_with_seed(told.as_bytes(), self.trace);
    }

    pub(crate) fn absorb(&mut self, other: &Tally) {
        for (name, count) in &other.counts {
            self.add(name, *count);
        }
        self.follow(&other.trace.to_string());
    }
}
