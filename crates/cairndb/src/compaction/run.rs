//! Run: entries in, tables out, in steps.
//!
//! The inputs are merged; each entry that somebody can still see goes into the output, which is cut into tables between
//! two keys. A step moves about as many bytes as its caller allows, so that no caller waits long for it.
//!
//! A run comes in *pieces*: where an input table of the level that the output goes to has been merged to its end, the
//! output so far can replace it at once, and its space comes back long before the run is done. The inputs from above stay
//! until the end: what was merged of them stands twice until then, in two copies of the same entries, which every reader
//! takes for one, and which the next merge of the two makes one again.
//!
//! # Invariants
//! - I1. An entry is dropped only if a newer one of its key, or a range delete over it, lies in the same stretch between
//!   two snapshots: no reader can tell (promise 7).
//! - I2. A delete, a range delete or an expired put goes only if nothing older lies under it outside the inputs.
//! - I3. All entries of a key go into one table (promise 6).
//! - I4. Behind a piece's cut lies no entry and no range delete of the tables that it replaces, and none of its own
//!   output.

use std::collections::VecDeque;

use crate::cursor::Cursor;
use crate::error::Result;
use crate::key::{EntryRef, Kind, SeqNo};
use crate::merge::Merge;
use crate::range_delete::{FragmentRef, RangeDeletes};
use crate::snapshot::Live;
use crate::sstable::{Table, TableMeta, TableWriter};
use crate::sync::Arc;
use crate::version::{Level, Version};

/// The tables outside a compaction that may hold entries older than its inputs.
#[derive(Default)]
pub(crate) struct Outside {
    /// Tables of level 0, in any order.
    loose: Vec<Arc<Table>>,
    /// Runs, each sorted.
    runs: Vec<Arc<Level>>,
}

impl Outside {
    /// What lies under inputs whose oldest is at `level` and whose output goes there; of level 0, only what is older than
    /// `seq_min`.
    pub(crate) fn below(version: &Version, level: usize, seq_min: SeqNo) -> Outside {
        let is_older = |table: &&Arc<Table>| table.meta.counts.seq_max < seq_min;
        let loose = if level == 0 {
            version.levels[0].iter().filter(is_older).cloned().collect()
        } else {
            Vec::new()
        };
        let runs = version.levels[level + 1..].iter().filter(|run| !run.is_empty()).cloned().collect();
        Outside { loose, runs }
    }

    /// Whether something in `start..end` may lie there.
    fn overlaps(&self, start: &[u8], end: &[u8]) -> bool {
        let in_run = |run: &Arc<Level>| {
            run.get(run.find(start)).is_some_and(|table| table.meta.start.as_slice() < end)
        };
        self.loose.iter().any(|table| table.meta.overlaps(start, end)) || self.runs.iter().any(in_run)
    }

    fn holds(&self, key: &[u8]) -> bool {
        let around =
            |table: &Arc<Table>| table.meta.start.as_slice() <= key && key < table.meta.end.as_slice();
        self.loose.iter().any(around) || self.runs.iter().any(|run| run.table_for(key).is_some())
    }
}

/// A merge that is under way.
pub(crate) struct Run {
    merge: Merge,
    started: bool,
    /// The range deletes of all inputs, and those of them that go into the output.
    range_deletes: RangeDeletes,
    kept_range_deletes: RangeDeletes,
    live: Live,
    outside: Outside,
    /// When an output table is full, in bytes.
    table_bytes: u64,
    /// Where the inputs end that pieces can replace, and how long they are: from the next one on, rising.
    ends: VecDeque<(Vec<u8>, u64)>,
    /// How much was read since the last of them ended, in bytes.
    read_len: u64,
    writer: Option<TableWriter>,
    /// The numbers of all tables that were begun and not handed over, those among them that failed too.
    begun: Vec<u64>,
    /// Range deletes before this key are in tables that are done.
    cut: Vec<u8>,
    done: Vec<TableMeta>,
    /// The key of the last entry that was met, and the stretch that entry lay in.
    last: Option<(Vec<u8>, u64)>,
}

/// How far a step has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is more to do.
    More,
    /// There is more to do, but the tables that were written can replace the inputs of the output's level that end at or
    /// before this key.
    Piece(Vec<u8>),
    /// All is done.
    Done,
}

impl Run {
    /// `ends` are those of the inputs that stand at the level of the output, with their lengths, rising.
    pub(crate) fn new(
        inputs: Vec<Box<dyn Cursor>>,
        range_deletes: RangeDeletes,
        live: Live,
        outside: Outside,
        table_bytes: u64,
        ends: VecDeque<(Vec<u8>, u64)>,
    ) -> Run {
        let mut run = Run {
            merge: Merge::new(inputs),
            started: false,
            range_deletes,
            kept_range_deletes: RangeDeletes::default(),
            live,
            outside,
            table_bytes,
            ends,
            read_len: 0,
            writer: None,
            begun: Vec::new(),
            cut: Vec::new(),
            done: Vec::new(),
            last: None,
        };
        run.kept_range_deletes = run.visible_range_deletes();
        run
    }

    /// Moves about `len` bytes. `create` makes an empty table.
    ///
    /// Errors: those of reading and writing. After `Busy` the step can be tried again; after any other error the run
    /// is to be dropped, and its tables with it.
    pub(crate) fn step(
        &mut self,
        len: u64,
        create: &mut dyn FnMut() -> Result<TableWriter>,
    ) -> Result<Progress> {
        if !self.started {
            self.merge.seek(b"", SeqNo::MAX)?;
            self.started = true;
        }
        let mut moved = 0;
        while moved < len {
            let Some(entry) = self.merge.entry() else {
                return self.finish(create).map(|()| Progress::Done);
            };
            if self.ends.front().is_some_and(|(end, _)| end.as_slice() <= entry.key) {
                if let Some(cut) = self.end_piece()? {
                    return Ok(Progress::Piece(cut));
                }
                continue;
            }
            let (data_len, kept) = (entry.data_len(), self.fate(entry));
            if let Some(kind) = kept {
                self.write(kind, create)?;
            }
            self.remember();
            self.merge.next()?;
            // An entry costs something however short it is.
            moved += data_len + 16;
            self.read_len += data_len;
        }
        Ok(Progress::More)
    }

    /// Hands over the tables that were written.
    ///
    /// Requires: the last step has answered with a piece, or that all is done.
    pub(crate) fn take_tables(&mut self) -> Vec<TableMeta> {
        assert!(self.writer.is_none(), "a piece ends with its last table");
        self.begun.clear();
        std::mem::take(&mut self.done)
    }

    /// The numbers of all files that were begun and not handed over.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.begun.clone()
    }

    /// As what the entry goes into the output, if at all.
    fn fate(&self, entry: EntryRef<'_>) -> Option<Kind> {
        let stretch = self.live.stretch(entry.seq);
        let hidden = |(key, newer): &(Vec<u8>, u64)| key == entry.key && *newer == stretch;
        if self.last.as_ref().is_some_and(hidden) || self.is_range_deleted(entry, stretch) {
            return None;
        }
        let expired = entry.kind == Kind::PutWithExpiry && !entry.is_live(self.live.now_ms);
        let kind = if expired { Kind::Delete } else { entry.kind };
        // I2: nothing older can come to light, and every reader is at this delete or beyond it.
        if kind == Kind::Delete && stretch == 0 && !self.outside.holds(entry.key) {
            return None;
        }
        Some(kind)
    }

    /// Whether a range delete lies over the entry, in the same stretch.
    fn is_range_deleted(&self, entry: EntryRef<'_>, stretch: u64) -> bool {
        if self.range_deletes.is_empty() {
            return false;
        }
        let newer = self.range_deletes.all_over(entry.key).iter().rev().find(|seq| **seq > entry.seq);
        newer.is_some_and(|seq| self.live.stretch(*seq) == stretch)
    }

    fn visible_range_deletes(&self) -> RangeDeletes {
        let mut last: Option<(Vec<u8>, u64)> = None;
        self.range_deletes.filtered(|fragment, seq| {
            let stretch = self.live.stretch(seq);
            let hidden =
                last.as_ref().is_some_and(|(start, newer)| start == fragment.start && *newer == stretch);
            last = Some((fragment.start.to_vec(), stretch));
            let needed = stretch > 0 || self.outside.overlaps(fragment.start, fragment.end);
            !hidden && needed
        })
    }

    fn remember(&mut self) {
        let Some(entry) = self.merge.entry() else { return };
        let stretch = self.live.stretch(entry.seq);
        let (key, newer) = self.last.get_or_insert_default();
        if key != entry.key {
            key.clear();
            key.extend_from_slice(entry.key);
        }
        *newer = stretch;
    }

    /// Writes the merge's entry, as `kind`.
    fn write(&mut self, kind: Kind, create: &mut dyn FnMut() -> Result<TableWriter>) -> Result<()> {
        let Some(entry) = self.merge.entry() else { return Ok(()) };
        let full = self.writer.as_ref().is_some_and(|writer| self.is_full(writer.len()));
        let new_key = self.last.as_ref().is_none_or(|(key, _)| key != entry.key);
        if full && new_key {
            let key = entry.key.to_vec();
            self.finish_table(&key)?;
        }
        if self.writer.is_none() {
            self.begin_table(create)?;
        }
        let Some(mut entry) = self.merge.entry() else { return Ok(()) };
        if kind == Kind::Delete {
            entry = EntryRef { kind, value: &[], expires_at_ms: 0, ..entry };
        }
        self.writer.as_mut().expect("it was just created").add(entry)
    }

    /// Whether an output table of this length ends here. It runs over, to twice its length, if less than half a table is
    /// left of the input that a piece can replace: that would become a short table, and stay one.
    fn is_full(&self, len: u64) -> bool {
        let left_len =
            self.ends.front().map_or(u64::MAX, |(_, input_len)| input_len.saturating_sub(self.read_len));
        len >= self.table_bytes && (left_len >= self.table_bytes / 2 || len / 2 >= self.table_bytes)
    }

    /// The merge stands behind the end of an input that can be replaced: ends the piece there, if it is long enough. Then
    /// the merge has let go of that input.
    fn end_piece(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.merge.entry() else { return Ok(None) };
        let passed = self.ends.partition_point(|(end, _)| end.as_slice() <= entry.key);
        let Some((end, _)) = self.ends.drain(..passed).next_back() else { return Ok(None) };
        self.read_len = 0;
        // A short piece goes on, so that short tables become longer ones; but one that waited for its last table to be
        // long would take space without end.
        let written: u64 = self.done.iter().map(|meta| meta.len).sum();
        let piece_len = written + self.writer.as_ref().map_or(0, TableWriter::len);
        if (1..self.table_bytes / 2).contains(&piece_len) {
            return Ok(None);
        }
        self.finish_table(&end)?;
        // I4: without a table to go into, range deletes that are kept wait for the next one.
        let waits =
            |fragment: FragmentRef<'_>| fragment.end > self.cut.as_slice() && fragment.start < end.as_slice();
        if self.kept_range_deletes.iter().any(waits) && self.cut < end {
            return Ok(None);
        }
        self.merge.drop_spent();
        Ok(Some(end))
    }

    fn begin_table(&mut self, create: &mut dyn FnMut() -> Result<TableWriter>) -> Result<()> {
        let writer = create()?;
        self.begun.push(writer.name().number);
        self.writer = Some(writer);
        Ok(())
    }

    /// Finishes the table, whose range deletes end at `cut`.
    fn finish_table(&mut self, cut: &[u8]) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let mut clipped = RangeDeletes::default();
        clipped.merge_clipped(&self.kept_range_deletes, &self.cut, cut);
        self.done.push(writer.finish(&clipped)?);
        self.cut = cut.to_vec();
        Ok(())
    }

    fn finish(&mut self, create: &mut dyn FnMut() -> Result<TableWriter>) -> Result<()> {
        let end = self.kept_range_deletes.iter().last().map(|fragment| fragment.end.to_vec());
        if self.writer.is_none() && end.as_ref().is_some_and(|end| *end > self.cut) {
            self.begin_table(create)?;
        }
        let end = end.unwrap_or_default();
        self.finish_table(&end)
    }
}
