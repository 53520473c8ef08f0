//! Stats: what the engine counts, and how it is put before people and programs.

use std::fmt;

use super::Engine;
use crate::sync::{AtomicU64, Ordering};
use crate::version::LEVEL_COUNT;

/// What is counted as it happens.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) writes: AtomicU64,
    pub(super) entries_written: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) wal_syncs: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) compactions: AtomicU64,
    pub(super) table_bytes_written: AtomicU64,
    pub(super) stalls_memory: AtomicU64,
    pub(super) stalls_level_0: AtomicU64,
    pub(super) slowdowns_level_0: AtomicU64,
    pub(super) removes_failed: AtomicU64,
    /// What the reserve holds now.
    pub(super) reserve_bytes: AtomicU64,
    pub(super) reserve_uses: AtomicU64,
    /// Bytes of dropped tables that views still hold, when they were last looked through.
    pub(super) pinned_bytes: AtomicU64,
    /// Bytes of logs that are kept for their changes.
    pub(super) changes_bytes: AtomicU64,
    /// The current manifest's number.
    pub(super) manifest: AtomicU64,
}

/// Makes [`Stats`] and its list by name from one list of numbers.
macro_rules! stats {
    ($($(#[$doc:meta])* $number:ident,)*) => {
        /// What a database holds and has done since it was opened. Fields end in their unit; those that end in none
        /// count things.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            /// Tables by level.
            pub levels: Vec<LevelStats>,
            /// Why writing stopped, if it did.
            pub stopped: Option<String>,
            /// Why the last step of maintenance failed, if it did.
            pub maintenance_error: Option<String>,
            $($(#[$doc])* pub $number: u64,)*
        }

        impl Stats {
            /// The numbers by name, for programs. Names do not change; new ones may come.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($number), self.$number)),*]
            }
        }
    };
}

stats! {
    /// The last visible write.
    seq,
    /// What tables take on disk.
    disk_bytes,
    /// Memory that memtables take.
    memtable_bytes,
    /// Entries in memtables.
    memtable_entries,
    /// Memory that cached blocks, indexes and filters take.
    cache_bytes,
    /// What memtables and cache together may take.
    memory_budget_bytes,
    /// Reads that the cache could answer.
    cache_hits,
    /// Reads that it could not.
    cache_misses,
    /// Tables that a read of one key passed over, since their filters say that it is not there.
    filter_passed_over,
    /// Tables whose filters let a read through that found nothing there.
    filter_let_through,
    /// Batches written.
    writes,
    /// Entries written.
    entries_written,
    /// Bytes of those, as they stand in the log.
    bytes_written,
    /// Groups in which they were committed.
    groups,
    /// Groups that were synced.
    wal_syncs,
    /// The first WAL that recovery needs.
    checkpoint_wal,
    /// The first sequence number in it.
    checkpoint_seq,
    /// Memtables flushed.
    flushes,
    /// Compactions finished.
    compactions,
    /// Bytes that flushes and compactions have written.
    table_bytes_written,
    /// Times a writer waited because both memtables were full.
    stalls_memory,
    /// Times a writer waited because level 0 had too many runs.
    stalls_level_0,
    /// Times a writer waited for one step because level 0 had many runs.
    slowdowns_level_0,
    /// Files that could not be removed.
    removes_failed,
    /// Room that is held for the time when the disk has none.
    reserve_bytes,
    /// Times it was given up, because a flush or compaction met a full disk.
    reserve_uses,
    /// Bytes of logs that recovery does not need and that are kept for their changes.
    changes_bytes,
    /// The first sequence number whose change can be read.
    oldest_change_seq,
    /// Snapshots held.
    snapshots,
    /// Scans and cursors open.
    iterators,
    /// How long the oldest of them has been held.
    oldest_reader_ms,
    /// Bytes of tables that only long readers still hold.
    pinned_bytes,
}

/// What one level holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Its tables.
    pub tables: u64,
    /// Entries in them, deletes included.
    pub entries: u64,
    /// Deletes and range deletes in them.
    pub deletes: u64,
    /// The length of their files.
    pub bytes: u64,
    /// How near the level is to its compaction: due above 100, and level 0 from 100 on. The last level has none.
    pub pressure_percent: u64,
}

impl Engine {
    pub(crate) fn stats(&self) -> Stats {
        let current = self.current.take();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let (cache_hits, cache_misses) = self.files.hits_and_misses();
        let readers = self.snapshots.readers();
        let checkpoint = current.checkpoint();
        let pressures = self.shape().pressures(&current.version);
        let levels = (0..LEVEL_COUNT).map(|level| {
            let tables = &current.version.levels[level];
            let sum =
                |of: fn(&crate::sstable::TableMeta) -> u64| tables.iter().map(|table| of(&table.meta)).sum();
            LevelStats {
                tables: tables.len() as u64,
                entries: sum(|meta| meta.counts.entries),
                deletes: sum(|meta| meta.counts.deletes + meta.counts.range_deletes),
                bytes: sum(|meta| meta.len),
                pressure_percent: pressures[level],
            }
        });
        Stats {
            seq: current.active.memtable.visible(),
            levels: levels.collect(),
            disk_bytes: current.version.bytes(),
            memtable_bytes: current.memtables().map(|memtable| memtable.memory_len()).sum(),
            memtable_entries: current.memtables().map(|memtable| memtable.entries()).sum(),
            cache_bytes: self.files.memory_len(),
            memory_budget_bytes: self.options.memory_budget_bytes,
            cache_hits,
            cache_misses,
            filter_passed_over: self.files.filter_counts.passed_over.sum(),
            filter_let_through: self.files.filter_counts.let_through.sum(),
            writes: count(&counters.writes),
            entries_written: count(&counters.entries_written),
            bytes_written: count(&counters.bytes_written),
            groups: count(&counters.groups),
            wal_syncs: count(&counters.wal_syncs),
            checkpoint_wal: checkpoint.wal,
            checkpoint_seq: checkpoint.seq,
            flushes: count(&counters.flushes),
            compactions: count(&counters.compactions),
            table_bytes_written: count(&counters.table_bytes_written),
            stalls_memory: count(&counters.stalls_memory),
            stalls_level_0: count(&counters.stalls_level_0),
            slowdowns_level_0: count(&counters.slowdowns_level_0),
            removes_failed: count(&counters.removes_failed),
            reserve_bytes: count(&counters.reserve_bytes),
            reserve_uses: count(&counters.reserve_uses),
            changes_bytes: count(&counters.changes_bytes),
            oldest_change_seq: self.history.lock().oldest_seq(),
            snapshots: readers.snapshots,
            iterators: readers.iterators,
            oldest_reader_ms: readers.since_ms.map_or(0, |since| self.clock.now_ms().saturating_sub(since)),
            pinned_bytes: count(&counters.pinned_bytes),
            stopped: self.health.cause.lock().as_ref().map(ToString::to_string),
            maintenance_error: self.progress.state.lock().error.as_ref().map(ToString::to_string),
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>5} {:>8} {:>12} {:>10} {:>14}", "level", "tables", "entries", "deletes", "bytes")?;
        for (index, level) in self.levels.iter().enumerate().filter(|(_, level)| level.tables > 0) {
            let LevelStats { tables, entries, deletes, bytes, .. } = level;
            writeln!(f, "{index:>5} {tables:>8} {entries:>12} {deletes:>10} {bytes:>14}")?;
        }
        for (name, value) in self.rows() {
            writeln!(f, "{name:<22} {value}")?;
        }
        for (name, text) in [("stopped", &self.stopped), ("maintenance_error", &self.maintenance_error)] {
            if let Some(text) = text {
                writeln!(f, "{name:<22} {text}")?;
            }
        }
        Ok(())
    }
}
