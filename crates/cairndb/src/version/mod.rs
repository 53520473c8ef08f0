//! Version: which tables stand at which level.
//!
//! Tables gather in a tree of levels. A flushed memtable becomes a table of level 0, where tables overlap and the
//! newest comes first; compaction moves entries down, each level about ten times as large as the one above it. Below
//! level 0 a level is one *run*: its tables cover disjoint stretches of keys, so one key is in at most one of them.
//!
//! A version never changes: an [`Edit`] makes the next one, and readers keep the one they took.
//!
//! # Where it sits
//! On `sstable`; `manifest` records edits, `compaction` proposes them, `view` reads.
//!
//! # Invariants
//! - I1. Level 0 is sorted by newest sequence number, falling, and the stretches of sequence numbers are disjoint.
//! - I2. Every other level is sorted by start, and `end <= start` of the next: all entries of a key are in one table.
//! - I3. An entry of a key lies at no deeper a level than an older entry of that key.
//!
//! # Why this way
//! O'Neil et al., "The Log-Structured Merge-Tree" (1996), as leveldb arranged it. Each edit copies the lists of tables,
//! which are short: a persistent tree would be quicker for tens of thousands of tables.

mod edit;
mod level;

#[cfg(feature = "dissect")]
pub(crate) use edit::tag_name;
pub(crate) use edit::{Edit, State};
pub(crate) use level::{Level, LevelCursor};

use std::cmp::Reverse;

use crate::sstable::{Table, TableFiles, TableMeta};
use crate::sync::Arc;

/// How many levels there are, level 0 included. FORMAT.md, "Constants".
pub(crate) const LEVEL_COUNT: usize = 7;

/// The tables of one moment.
pub(crate) struct Version {
    /// Level 0: newest first. The others: by key.
    pub(crate) levels: [Arc<Level>; LEVEL_COUNT],
}

impl Version {
    /// The version that holds these tables.
    pub(crate) fn new<'a>(
        tables: impl IntoIterator<Item = (usize, &'a TableMeta)>,
        files: &Arc<TableFiles>,
    ) -> Version {
        let mut levels: [Vec<Arc<Table>>; LEVEL_COUNT] = Default::default();
        for (level, meta) in tables {
            levels[level].push(Arc::new(Table::new(meta.clone(), Arc::clone(files))));
        }
        Version::sorted(levels)
    }

    /// The version after `edit`.
    pub(crate) fn apply(&self, edit: &Edit, files: &Arc<TableFiles>) -> Version {
        let stays = |table: &&Arc<Table>| !edit.removed.contains(&table.meta.number);
        let mut levels =
            self.levels.each_ref().map(|level| level.iter().filter(stays).cloned().collect::<Vec<_>>());
        for (level, meta) in &edit.added {
            // A table that moves between levels stays the same table: what readers have opened stays open.
            let table = self
                .tables()
                .find(|(_, table)| table.meta.number == meta.number)
                .map(|(_, table)| Arc::clone(table));
            let table = table.unwrap_or_else(|| Arc::new(Table::new(meta.clone(), Arc::clone(files))));
            levels[*level].push(table);
        }
        Version::sorted(levels)
    }

    fn sorted(mut levels: [Vec<Arc<Table>>; LEVEL_COUNT]) -> Version {
        let (level_0, deeper) = levels.split_first_mut().expect("there is a level 0");
        level_0.sort_unstable_by_key(|table| Reverse(table.meta.counts.seq_max));
        for level in deeper {
            level.sort_unstable_by(|a, b| a.meta.start.cmp(&b.meta.start));
            assert!(level.is_sorted_by(|a, b| a.meta.end <= b.meta.start), "promise 6: a level is one run");
        }
        Version { levels: levels.map(|tables| Arc::new(Level::new(tables))) }
    }

    /// Every table with its level, newest data first.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (usize, &Arc<Table>)> {
        self.levels
            .iter()
            .enumerate()
            .flat_map(|(level, tables)| tables.iter().map(move |table| (level, table)))
    }

    /// The tables of `level` that overlap `start..end`.
    pub(crate) fn overlapping<'a>(
        &'a self,
        level: usize,
        start: &'a [u8],
        end: &'a [u8],
    ) -> impl Iterator<Item = &'a Arc<Table>> {
        self.levels[level].iter().filter(move |table| table.meta.overlaps(start, end))
    }

    /// The length of all files of `level`.
    pub(crate) fn level_bytes(&self, level: usize) -> u64 {
        self.levels[level].iter().map(|table| table.meta.len).sum()
    }

    /// The length of all files.
    pub(crate) fn bytes(&self) -> u64 {
        (0..LEVEL_COUNT).map(|level| self.level_bytes(level)).sum()
    }

    /// The deepest level that has a table.
    pub(crate) fn last_level(&self) -> Option<usize> {
        self.levels.iter().rposition(|tables| !tables.is_empty())
    }
}
