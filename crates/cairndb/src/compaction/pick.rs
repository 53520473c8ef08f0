//! Pick: a version in, a task out.
//!
//! The last level holds most of the data, and each level above it a tenth of the one below; how large that is follows
//! from how large the last level has become. The first level that is worth having is the *base*, where level 0 goes.
//! A level that has outgrown its target gives its cheapest table to the next one.
//!
//! # Why this way
//! Targets that follow the last level (Dong et al., "Optimizing Space Amplification in RocksDB", 2017) keep what lies
//! above it, and so what can be out of date in it, near a ninth. We do not limit how much of the level after next an
//! output overlaps, as leveldb does: with a factor of ten between levels, one task stays near a dozen tables.

use crate::key::SeqNo;
use crate::snapshot::Live;
use crate::sstable::{Table, TableMeta};
use crate::sync::Arc;
use crate::version::{LEVEL_COUNT, Version};

/// From this many runs on, level 0 is compacted.
pub(crate) const L0_RUNS_COMPACT: usize = 4;

/// From this many runs on, writers are slowed.
pub(crate) const L0_RUNS_SLOW: usize = 8;

/// From this many runs on, writers wait.
pub(crate) const L0_RUNS_STOP: usize = 16;

/// How many times as large a level is as the one above it.
const LEVEL_FACTOR: u64 = 10;

/// The deepest level.
const LAST: usize = LEVEL_COUNT - 1;

/// How much a settled database may hold above its last level, together with what that may hide in it, in hundredths of
/// the last level. With [`STALE_PERMILLE`] it keeps promise 10: what `compact` would leave is at least the last level
/// less what is hidden and what is stale, and 1 / (1 - 0.14 - 0.025) is below 1.2.
const UPPER_PERCENT: u64 = 14;

/// How much of a settled table of the last level may be what nobody can see, in thousandths of its bytes.
const STALE_PERMILLE: u64 = 25;

/// A table of which this share are deletes goes down before its level is full, in hundredths.
const DENSE_PERCENT: u64 = 50;

/// The sizes that a tree is built in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The base level is not smaller than this, in bytes.
    pub(crate) base_bytes: u64,
    /// So much may always lie above the last level, in bytes: a small database is not worth tidying for less.
    pub(crate) slack_bytes: u64,
    /// The disk is full: no task may need more space on its way than the reserve holds, so level 0 goes down run by run.
    pub(crate) is_tight: bool,
}

/// Tables to be merged into `level`.
pub(crate) struct Task {
    /// All inputs, newest data first.
    pub(crate) inputs: Vec<(usize, Arc<Table>)>,
    /// The level of the output.
    pub(crate) level: usize,
    /// The input can be moved as it is.
    pub(crate) is_move: bool,
}

/// What an entry takes in a block and in index and filter beside its key and value, at most about, in bytes.
const ENTRY_OVERHEAD: u64 = 24;

/// What the memtables of an idle database hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting {
    /// So many entries, none of them a range delete.
    Entries(u64),
    /// Range deletes are among them.
    RangeDeletes,
}

/// What an idle database still has to do.
pub(crate) enum Owed {
    Nothing,
    /// Memory holds what should be on disk.
    Flush,
    Compaction(Task),
}

impl Shape {
    /// The level that level 0 is compacted into, and each level's target in bytes.
    fn targets(&self, version: &Version) -> (usize, [u64; LEVEL_COUNT]) {
        let mut targets = [u64::MAX; LEVEL_COUNT];
        let mut base = LAST;
        let mut target = version.level_bytes(LAST) / LEVEL_FACTOR;
        while base > 1 && target >= self.base_bytes {
            base -= 1;
            targets[base] = target;
            target /= LEVEL_FACTOR;
        }
        (base, targets)
    }

    /// How near each level is to its compaction, in hundredths: due above 100, and level 0 from 100 on. The last has none.
    pub(crate) fn pressures(&self, version: &Version) -> [u64; LEVEL_COUNT] {
        let (base, targets) = self.targets(version);
        let mut pressures = [0; LEVEL_COUNT];
        pressures[0] = (version.levels[0].len() * 100 / L0_RUNS_COMPACT) as u64;
        for level in base..LAST {
            pressures[level] = version.level_bytes(level) * 100 / targets[level].max(1);
        }
        pressures
    }
}

/// What must be done now, if anything.
pub(crate) fn due(version: &Version, shape: Shape, live: &Live) -> Option<Task> {
    let (base, _) = shape.targets(version);
    // The tree has shrunk: what is left above the base goes down, deepest first, so that runs stay in order.
    if let Some(level) = (1..base).rev().find(|level| !version.levels[*level].is_empty()) {
        return Some(down(version, level, cheapest(version, level)?));
    }
    let pressures = shape.pressures(version);
    let fullest = (base..LAST).max_by_key(|level| pressures[*level]);
    match fullest {
        Some(level) if pressures[level] > 100 && pressures[level] > pressures[0] => {
            Some(down(version, level, cheapest(version, level)?))
        }
        _ if pressures[0] >= 100 => Some(from_level_0(version, base, shape)),
        _ => dense(version, base).or_else(|| stale(version, live, 500)),
    }
}

/// What an idle database still has to do to keep promise 10. `waiting` is what is in memory.
pub(crate) fn owed(version: &Version, shape: Shape, live: &Live, waiting: Waiting) -> Owed {
    let last = version.last_level().filter(|last| *last > 0).unwrap_or(LAST);
    let last_bytes = version.level_bytes(last);
    let weights: Vec<u64> = (0..last).map(|level| upper_weight(version, level, last)).collect();
    let in_upper: u64 = weights.iter().sum();
    let longest = longest_entry(version.levels[last].iter());
    let in_memory = match waiting {
        Waiting::Entries(entries) => entries.saturating_mul(longest).min(last_bytes),
        Waiting::RangeDeletes => last_bytes,
    };
    let allowed = (last_bytes / 100 * UPPER_PERCENT).max(shape.slack_bytes);
    if in_memory > 0 && in_memory + in_upper > allowed {
        return Owed::Flush;
    }
    let task = if in_upper <= allowed {
        stale(version, live, STALE_PERMILLE)
    } else {
        let filled = (0..last).filter(|level| !version.levels[*level].is_empty());
        filled.max_by_key(|level| weights[*level]).and_then(|heaviest| match heaviest {
            0 => Some(from_level_0_to(version, first_level(version).min(last), shape)),
            level => cheapest(version, level).map(|table| down(version, level, table)),
        })
    };
    task.map_or(Owed::Nothing, Owed::Compaction)
}

/// What is left to do until nothing is left above the last level, and nothing in it that nobody can see, of what was
/// written up to `seq`.
pub(crate) fn everything(version: &Version, shape: Shape, live: &Live, seq: SeqNo) -> Option<Task> {
    let last = version.last_level()?;
    if version.levels[0].iter().any(|table| table.meta.counts.seq_min <= seq) {
        return Some(from_level_0_to(version, first_level(version), shape));
    }
    match (1..last).find(|level| !version.levels[*level].is_empty()) {
        Some(level) => Some(down(version, level, version.levels[level].first()?)),
        None => stale(version, live, 0),
    }
}

/// The bytes of `level`, and of the last level as many as its entries may hide: no more than lies under them, and no
/// more than the longest entry there for each.
fn upper_weight(version: &Version, level: usize, last: usize) -> u64 {
    let weight = |table: &Arc<Table>| {
        let meta = &table.meta;
        let under = || version.overlapping(last, &meta.start, &meta.end);
        let under_bytes: u64 = under().map(|table| table.meta.len).sum();
        let hidden = match meta.counts.range_deletes {
            0 => meta.counts.entries.saturating_mul(longest_entry(under())).min(under_bytes),
            _ => under_bytes,
        };
        meta.len + hidden
    };
    version.levels[level].iter().map(weight).sum()
}

/// The length of the longest entry in these tables, with what it costs to store one.
fn longest_entry<'a>(tables: impl Iterator<Item = &'a Arc<Table>>) -> u64 {
    tables.map(|table| table.meta.counts.entry_len_max + ENTRY_OVERHEAD).max().unwrap_or(ENTRY_OVERHEAD)
}

/// The first level below 0 that has a table; the last level if none has.
fn first_level(version: &Version) -> usize {
    (1..LAST).find(|level| !version.levels[*level].is_empty()).unwrap_or(LAST)
}

/// Level 0 goes into the base, or, where that would rewrite ten times as much, its newest runs become one run.
fn from_level_0(version: &Version, base: usize, shape: Shape) -> Task {
    let runs = &version.levels[0];
    let (start, end) = stretch_of(runs.iter().map(|table| &table.meta));
    let below: u64 = version.overlapping(base, start, end).map(|table| table.meta.len).sum();
    let total = version.level_bytes(0);
    if total.saturating_mul(LEVEL_FACTOR) >= below || runs.len() >= L0_RUNS_SLOW || shape.is_tight {
        return from_level_0_to(version, base, shape);
    }
    // Runs of about one size: each older one that is not much larger than all newer ones together.
    let (mut count, mut sum) = (0, 0);
    for table in runs.iter() {
        if count >= 2 && table.meta.len > 4 * sum {
            break;
        }
        count += 1;
        sum += table.meta.len;
    }
    let inputs = runs[..count].iter().map(|table| (0, Arc::clone(table))).collect();
    Task { inputs, level: 0, is_move: false }
}

fn from_level_0_to(version: &Version, level: usize, shape: Shape) -> Task {
    let all = &version.levels[0];
    let runs = if shape.is_tight { &all[all.len().saturating_sub(1)..] } else { all };
    let (start, end) = stretch_of(runs.iter().map(|table| &table.meta));
    let mut inputs: Vec<_> = runs.iter().map(|table| (0, Arc::clone(table))).collect();
    inputs.extend(version.overlapping(level, start, end).map(|table| (level, Arc::clone(table))));
    // Tight, a long run is cut into tables that can be rewritten one by one.
    let is_move = inputs.len() == 1 && !shape.is_tight && !leaves_deletes(version, &inputs[0].1, level);
    Task { inputs, level, is_move }
}

/// `table` goes from `level` to the next.
fn down(version: &Version, level: usize, table: &Arc<Table>) -> Task {
    let next = level + 1;
    let mut inputs = vec![(level, Arc::clone(table))];
    let (start, end) = (&table.meta.start, &table.meta.end);
    inputs.extend(version.overlapping(next, start, end).map(|below| (next, Arc::clone(below))));
    let is_move = inputs.len() == 1 && !leaves_deletes(version, table, next);
    Task { inputs, level: next, is_move }
}

/// Whether a move to `level` would leave deletes where merging could drop them.
fn leaves_deletes(version: &Version, table: &Table, level: usize) -> bool {
    let counts = &table.meta.counts;
    counts.deletes + counts.range_deletes > 0 && version.last_level().is_none_or(|last| level >= last)
}

/// The table of `level` that overlaps least of the next level, for its own length.
fn cheapest(version: &Version, level: usize) -> Option<&Arc<Table>> {
    version.levels[level].iter().min_by_key(|table| {
        let meta = &table.meta;
        let below: u64 =
            version.overlapping(level + 1, &meta.start, &meta.end).map(|table| table.meta.len).sum();
        (below.saturating_mul(1000) / meta.len.max(1), meta.number)
    })
}

/// A table between base and last level that is mostly deletes.
fn dense(version: &Version, base: usize) -> Option<Task> {
    let is_dense = |table: &&Arc<Table>| {
        let counts = &table.meta.counts;
        counts.range_deletes > 0 || counts.deletes * 100 > counts.entries * DENSE_PERCENT
    };
    (base..LAST).find_map(|level| {
        version.levels[level].iter().find(is_dense).map(|table| down(version, level, table))
    })
}

/// A table with nothing below it, of which more than `permille` is what nobody can see: it is rewritten where it is.
fn stale(version: &Version, live: &Live, permille: u64) -> Option<Task> {
    let last = version.last_level().filter(|last| *last > 0)?;
    let oldest: SeqNo = live.seqs.first().copied().unwrap_or(SeqNo::MAX);
    let table = version.levels[last].iter().find(|table| {
        let counts = &table.meta.counts;
        let droppable = counts.seq_max <= oldest;
        let stale_len = if droppable { counts.stale_len } else { 0 } + counts.expired_len(live.now_ms);
        let has_range_deletes = droppable && counts.range_deletes > 0;
        has_range_deletes || stale_len * 1000 > counts.data_len * permille
    })?;
    Some(Task { inputs: vec![(last, Arc::clone(table))], level: last, is_move: false })
}

/// The stretch that all of these tables lie in.
fn stretch_of<'a>(tables: impl Iterator<Item = &'a TableMeta> + Clone) -> (&'a [u8], &'a [u8]) {
    let start = tables.clone().map(|meta| meta.start.as_slice()).min().unwrap_or_default();
    let end = tables.map(|meta| meta.end.as_slice()).max().unwrap_or_default();
    (start, end)
}

#[cfg(test)]
mod tests;
