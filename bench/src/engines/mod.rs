//! Engines: the store under test behind one trait, each through the cheapest calls of its public interface.
//!
//! An adapter panics when its engine fails: a benchmark of a store that answers errors measures nothing.

mod cairn;
mod fjall;
mod lmdb;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocks;
mod sled;

use std::path::Path;

/// The block cache of every engine that has one.
pub(crate) const CACHE_BYTES: u64 = 64 << 20;

/// One memtable of every engine that has them.
pub(crate) const MEMTABLE_BYTES: u64 = 16 << 20;

/// Threads for flushes and compactions.
pub(crate) const BACKGROUND_THREADS: usize = 2;

/// The data block of every engine that lets one choose.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// What a write waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The operating system has it, or whatever the engine has that comes nearest.
    Os,
    /// The disk has it.
    Sync,
}

/// A store that is open.
pub(crate) trait Engine: Send + Sync {
    fn put(&self, key: &[u8], value: &[u8]);

    fn delete(&self, key: &[u8]);

    /// Writes all of them at once, or none.
    fn write(&self, entries: &mut dyn Iterator<Item = ([u8; 16], &[u8])>);

    /// A number that no one gets who has not looked at the value.
    fn get(&self, key: &[u8]) -> Option<u64>;

    /// Walks at most `count` entries from `from` on; how many there were, and a number that depends on all of them.
    fn scan(&self, from: &[u8], count: u64) -> (u64, u64);

    /// Returns when nothing is left to flush or to compact that the engine would do by itself.
    fn settle(&self);

    /// Closes the store as its users would.
    fn close(self: Box<Self>);
}

/// What is to be known of an engine beside its figures.
pub(crate) struct Terms {
    pub(crate) name: &'static str,
    pub(crate) is_lsm: bool,
    /// A sync of this engine is one of the disk.
    pub(crate) syncs: bool,
    /// What it keeps off its user's heap in file mappings: then the peak of its memory says nothing.
    pub(crate) maps_files: bool,
    pub(crate) version: &'static str,
    /// What a killed process, and then a lost power supply, lose of writes at `Os`.
    pub(crate) loses: &'static str,
    open: fn(&Path, Durability) -> Box<dyn Engine>,
}

impl Terms {
    pub(crate) fn open(&self, dir: &Path, durability: Durability) -> Box<dyn Engine> {
        (self.open)(dir, durability)
    }
}

/// All engines that were built in, ours first.
pub(crate) const ENGINES: &[Terms] = &[
    cairn::TERMS,
    #[cfg(feature = "rocksdb")]
    rocks::TERMS,
    fjall::TERMS,
    redb::TERMS,
    lmdb::TERMS,
    sled::TERMS,
];

pub(crate) fn engine(name: &str) -> Option<&'static Terms> {
    ENGINES.iter().find(|terms| terms.name == name)
}

/// Looks at a value without walking it.
fn look(value: &[u8]) -> u64 {
    let end = value.last().copied().unwrap_or_default();
    value.len() as u64 + u64::from(end)
}
