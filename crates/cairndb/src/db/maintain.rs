//! Maintain: one bounded step of the work that writes leave behind.
//!
//! A step moves about a mebibyte, or makes one file, or removes a few, and returns; whoever has time calls it again.
//! In order of urgency: a log to go on to, the flush of a frozen memtable, compaction that is under way or due, a manifest
//! that has grown long; and when nothing was written since the last look, what an idle database owes (promise 10).
//!
//! # Invariants
//! - I1. A table is synced, bytes and name, before an edit names it; a file is removed after the edit that drops it is
//!   synced, and after the last view that holds it is gone (promise 5).
//!
//! # When things break
//! A failed write of a table discards that file, and the work is tried again into a new one. A failed write of the
//! manifest stops all writing; but a full disk is met before any byte is written, and waited out.

use std::collections::VecDeque;

use cairndb_storage::{FileKind, FileName};

use super::Engine;
use super::history::History;
use crate::compaction::{Outside, Owed, Progress, Run, Shape, Task, Waiting, due, everything, owed};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::files::{ROOM_STEP_MIN, create_file, sync_file, sync_names};
use crate::key::SeqNo;
use crate::manifest::Manifest;
use crate::memtable::MemtableCursor;
use crate::range_delete::RangeDeletes;
use crate::record::{Position, RecordKind};
use crate::snapshot::Live;
use crate::sstable::{Keep, Table, TableCursor, TableMeta, TableWriter};
use crate::sync::{Arc, Ordering};
use crate::version::{Edit, State, Version};
use crate::view::{Stage, Tables};
use crate::wal::SpareWal;

/// About how many bytes one step moves.
const STEP_LEN: u64 = 1 << 20;

/// The most room that is laid down in a log to go on to while the disk is full, in bytes: some thousands of deletes.
const TIGHT_ROOM_MAX: u64 = 128 << 10;

/// What an idle database may leave above the last level, however small that is, in bytes: part of promise 10's constant.
const SLACK_BYTES: u64 = 1 << 20;

/// The steps that `close` makes to leave a small database tidy; a large one is tidied when it is open again.
const CLOSE_STEPS: usize = 8;

/// What maintenance owns.
pub(super) struct Maintenance {
    /// `None` if the database is only read.
    pub(super) manifest: Option<Manifest>,
    /// What the manifest says.
    pub(super) state: State,
    flush: Option<Job>,
    compaction: Option<Job>,
    /// Tables that no version names any more, and logs that recovery does not need.
    doomed: Vec<Arc<Table>>,
    doomed_wals: Vec<u64>,
    /// The last visible write when nothing else was left to do.
    idle_since: Option<SeqNo>,
    /// Where the log ended when an idle mark was last left.
    marked: Position,
    /// Somebody waits until everything up to this write is compacted; and how far that was last done.
    compacts_to: Option<SeqNo>,
    compacted_to: Option<SeqNo>,
}

/// A flush or a compaction that is under way.
struct Job {
    /// `None` for a flush.
    task: Option<Task>,
    run: Option<Run>,
    /// Tables to be recorded: those of a piece, if the run is still there, else all that are left.
    tables: Option<Vec<TableMeta>>,
    /// The inputs that these replace.
    replaced: Vec<Arc<Table>>,
    base_seq: SeqNo,
}

impl Job {
    /// The run has ended a piece: its tables replace the inputs of their level up to `cut`.
    fn end_piece(&mut self, cut: &[u8]) {
        let Some(task) = &mut self.task else { return };
        let is_replaced = |(level, table): &mut (usize, Arc<Table>)| {
            *level == task.level && table.meta.end.as_slice() <= cut
        };
        self.replaced = task.inputs.extract_if(.., is_replaced).map(|(_, table)| table).collect();
        self.tables = self.run.as_mut().map(Run::take_tables);
    }

    /// The run is done: its tables replace all inputs that are left.
    fn end(&mut self) {
        let inputs = self.task.iter_mut().flat_map(|task| task.inputs.drain(..));
        self.replaced = inputs.map(|(_, table)| table).collect();
        self.tables = self.run.take().map(|mut run| run.take_tables());
    }
}

impl Maintenance {
    pub(super) fn new(manifest: Option<Manifest>, state: State) -> Maintenance {
        Maintenance {
            manifest,
            state,
            flush: None,
            compaction: None,
            doomed: Vec::new(),
            doomed_wals: Vec::new(),
            idle_since: None,
            marked: Position::default(),
            compacts_to: None,
            compacted_to: None,
        }
    }
}

impl Engine {
    /// Makes one step; whether another one is waiting. Two calls that find nothing to do, and nothing written in between,
    /// make the database count as idle.
    pub(crate) fn maintain(&self) -> Result<bool> {
        self.make_step(Engine::idle)
    }

    /// Makes one step of what is due, for who calls it oftener than idleness can be told by.
    pub(crate) fn maintain_due(&self) -> Result<bool> {
        self.make_step(|_, _| Ok(false))
    }

    fn make_step(&self, otherwise: impl FnOnce(&Engine, &mut Maintenance) -> Result<bool>) -> Result<bool> {
        let mut maintenance = self.maintenance.lock();
        // Under the lock, which closing takes too: a step that comes later must not touch what is somebody else's now.
        let result = self
            .check_writable()
            .and_then(|()| self.step(&mut maintenance))
            .and_then(|more| if more { Ok(true) } else { otherwise(self, &mut maintenance) })
            .and_then(|more| if more { Ok(true) } else { self.step_reserve() })
            .or_else(|error| self.give_way(&mut maintenance, error).map(|()| true));
        drop(maintenance);
        if let Err(error @ Error::Corrupt { .. }) = &result {
            // Trying again will not help, and what was written since would rest on damage.
            self.stop(error.clone());
        }
        // A step that could not be made is told too: somebody may be waiting for it.
        self.progress.note_step(result.as_ref().err().cloned());
        result
    }

    /// Moves the active memtable into a table. What was written before the call is in tables when it returns.
    pub(super) fn flush(&self) -> Result<()> {
        let last_seq = self.visible();
        loop {
            self.check_writable()?;
            let current = self.current.take();
            let is_old = |stage: &Stage| stage.checkpoint.seq <= last_seq && !stage.memtable.is_empty();
            match (&current.frozen, is_old(&current.active)) {
                (None, false) => return Ok(()),
                (Some(frozen), false) if !is_old(frozen) => return Ok(()),
                (None, true) => self.freeze()?,
                (Some(_), _) => {
                    self.maintain()?;
                }
            }
        }
    }

    /// Freezes the active memtable, making a log to go on to if there is none.
    fn freeze(&self) -> Result<()> {
        let mut maintenance = self.maintenance.lock();
        // Under the lock, which closing takes too: no file may be made once the directory is somebody else's.
        self.check_writable()?;
        if let Err(error) = self.make_spare(&mut maintenance) {
            self.give_way(&mut maintenance, error)?;
            self.make_spare(&mut maintenance)?;
        }
        self.try_freeze(&mut self.log.lock())?;
        Ok(())
    }

    /// After a full disk: gives up the logs that are kept for their changes, or else the reserve, so that what failed can be
    /// tried again. Otherwise hands the error back.
    fn give_way(&self, maintenance: &mut Maintenance, error: Error) -> Result<()> {
        if !matches!(error, Error::DiskFull { .. }) {
            return Err(error);
        }
        self.full.store(true, Ordering::Release);
        if self.doom_logs(maintenance, |history, needed| history.trim(needed, 0)) {
            self.remove_doomed(maintenance);
            return Ok(());
        }
        let mut log = self.log.lock();
        let given = log.reserve.give_up(self.storage.as_ref(), &error);
        self.counters.reserve_bytes.store(log.reserve.len(), Ordering::Relaxed);
        self.counters.reserve_uses.fetch_add(u64::from(given), Ordering::Relaxed);
        if given { Ok(()) } else { Err(error) }
    }

    /// Removes the logs that are kept for their changes; whether there were any.
    pub(super) fn give_up_changes(&self) -> bool {
        self.drop_logs(|history, needed| history.trim(needed, 0))
    }

    /// Removes those that `drop` takes out of the history, as long as that is ours to do; whether there were any. It is told
    /// which log recovery needs first.
    pub(super) fn drop_logs(&self, drop: impl FnOnce(&mut History, u64) -> Vec<u64>) -> bool {
        let mut maintenance = self.maintenance.lock();
        let has_dropped = self.check_writable().is_ok() && self.doom_logs(&mut maintenance, drop);
        if has_dropped {
            self.remove_doomed(&mut maintenance);
        }
        has_dropped
    }

    fn doom_logs(
        &self,
        maintenance: &mut Maintenance,
        drop: impl FnOnce(&mut History, u64) -> Vec<u64>,
    ) -> bool {
        let needed = self.checkpoint().wal;
        let mut history = self.history.lock();
        let dropped = drop(&mut history, needed);
        self.counters.changes_bytes.store(history.passed_bytes(needed), Ordering::Relaxed);
        let has_dropped = !dropped.is_empty();
        maintenance.doomed_wals.extend(dropped);
        has_dropped
    }

    /// Flushes, and compacts until there is nothing left that nobody can see and nothing above the last level, of what was
    /// written before the call.
    pub(super) fn compact(&self) -> Result<()> {
        let seq = self.visible();
        self.flush()?;
        // What was done before is done again: a snapshot may have gone since.
        self.maintenance.lock().compacted_to = None;
        loop {
            {
                let mut maintenance = self.maintenance.lock();
                if maintenance.compacted_to.is_some_and(|compacted_to| compacted_to >= seq) {
                    maintenance.compacted_to = None;
                    return Ok(());
                }
                let wanted = maintenance.compacts_to.unwrap_or(0);
                maintenance.compacts_to = Some(wanted.max(seq));
            }
            self.maintain().inspect_err(|_| self.maintenance.lock().compacts_to = None)?;
        }
    }

    /// What a closing database does: a few steps, then nothing half-done stays.
    pub(super) fn finish_maintenance(&self) {
        let mut maintenance = self.maintenance.lock();
        for _ in 0..CLOSE_STEPS {
            // After a failed write nothing more is written, least of all behind it (promise 8).
            let stopped = self.health.stopped.load(Ordering::Acquire);
            if stopped || !matches!(self.step(&mut maintenance), Ok(true)) {
                break;
            }
        }
        for job in [maintenance.flush.take(), maintenance.compaction.take()].into_iter().flatten() {
            self.discard(job);
        }
        self.remove_doomed(&mut maintenance);
    }

    /// One step of what is due; `false` if nothing is.
    fn step(&self, maintenance: &mut Maintenance) -> Result<bool> {
        if self.is_full() {
            self.doom_logs(maintenance, |history, needed| history.trim(needed, 0));
        }
        self.remove_doomed(maintenance);
        let current = self.current.take();
        // A full disk, or a storage without a spare file, keeps back what needs one; something else may go on.
        let mut refused = None;
        for work in [Engine::step_spare, Engine::step_flush, Engine::step_compaction, Engine::step_manifest] {
            match work(self, maintenance, &current) {
                Ok(false) => {}
                Err(error @ (Error::DiskFull { .. } | Error::Busy { .. })) => {
                    refused = refused.or(Some(error));
                }
                done => return done,
            }
        }
        refused.map_or(Ok(false), Err)
    }

    fn step_spare(&self, maintenance: &mut Maintenance, current: &Tables) -> Result<bool> {
        if !self.wants_spare(current) {
            return Ok(false);
        }
        match self.make_spare(maintenance) {
            // It can wait until the memtable is full.
            Err(Error::DiskFull { .. })
                if current.active.memtable.memory_len() < self.options.memtable_bytes() =>
            {
                Ok(false)
            }
            made => made,
        }
    }

    /// Lays down what is missing of the reserve, a step of it. Only when nothing else wants room: a full disk is no error
    /// here, and what there is of it is held until something does.
    fn step_reserve(&self) -> Result<bool> {
        match self.lay_reserve() {
            Err(Error::DiskFull { .. }) => Ok(false),
            laid => laid,
        }
    }

    /// `false` if the reserve stands in full already.
    fn lay_reserve(&self) -> Result<bool> {
        let mut log = self.log.lock();
        let (before, was_spent) = (log.reserve.len(), log.reserve.is_spent());
        let laid = log.reserve.lay(self.storage.as_ref(), STEP_LEN);
        self.counters.reserve_bytes.store(log.reserve.len(), Ordering::Relaxed);
        laid?;
        if was_spent && !log.reserve.is_spent() {
            self.full.store(false, Ordering::Release);
        }
        Ok(log.reserve.len() > before)
    }

    /// After an open: lays down what is missing of the reserve, if the disk has it.
    pub(super) fn begin_reserve(&self) {
        let maintenance = self.maintenance.lock();
        let version = Arc::clone(&self.current.take().version);
        self.note_needs(&maintenance, &version, None);
        let laid = loop {
            match self.lay_reserve() {
                Ok(true) => {}
                laid => break laid,
            }
        };
        // Without it the database is open all the same, and takes no puts yet; after another failure the first put tries
        // again.
        self.full.store(matches!(laid, Err(Error::DiskFull { .. })), Ordering::Release);
    }

    /// What the reserve is needed for as things stand, and if `task` were done.
    fn note_needs(&self, maintenance: &Maintenance, version: &Version, task: Option<&Task>) {
        let longest = |tables: &[Arc<Table>]| tables.iter().map(|table| table.meta.len).max().unwrap_or(0);
        let inputs_len =
            task.map_or(0, |task| task.inputs.iter().map(|(_, table)| table.meta.len).sum::<u64>());
        let (merged_len, moved_len) = match task {
            Some(task) if task.level == 0 => (inputs_len, 0),
            Some(task) if task.is_move => (0, inputs_len),
            _ => (0, 0),
        };
        let table_len =
            version.levels[1..].iter().map(|level| longest(level)).max().unwrap_or(0).max(moved_len);
        let lower_len = version.bytes() - version.level_bytes(0);
        let piece_len = table_len + lower_len.min(self.options.table_bytes(version.bytes()) / 2);
        let manifest_len = maintenance.manifest.as_ref().map_or(0, Manifest::room_ahead);
        let mut log = self.log.lock();
        let needs = &mut log.reserve.needs;
        // A table of a level between goes down as a run of level 0 does.
        let last = version.last_level().unwrap_or(0);
        let upper_len = version.levels[..last.max(1)].iter().map(|level| longest(level)).max().unwrap_or(0);
        needs.run_len = upper_len.max(merged_len);
        // Blocks that are cut anew may pack a little worse.
        needs.piece_len = piece_len + piece_len / 8;
        needs.spare_len = (version.bytes() / 64).clamp(ROOM_STEP_MIN, TIGHT_ROOM_MAX);
        needs.manifest_len = manifest_len;
    }

    fn step_flush(&self, maintenance: &mut Maintenance, current: &Tables) -> Result<bool> {
        let Some(frozen) = &current.frozen else { return Ok(false) };
        self.sync_predecessors()?;
        let job = maintenance.flush.take().unwrap_or_else(|| self.flush_job(frozen, &current.version));
        maintenance.flush = self.step_job(maintenance, job)?;
        Ok(true)
    }

    fn step_compaction(&self, maintenance: &mut Maintenance, current: &Tables) -> Result<bool> {
        if maintenance.compaction.is_none() {
            let Some(task) = self.due_task(maintenance, &current.version) else { return Ok(false) };
            // What the task makes will have to be compacted in turn: the reserve has to reach for that before.
            if !self.is_full() {
                self.note_needs(maintenance, &current.version, Some(&task));
                match self.lay_reserve() {
                    Ok(false) => {}
                    // Without it, another task is picked.
                    Err(Error::DiskFull { .. }) => {
                        self.full.store(true, Ordering::Release);
                        self.note_needs(maintenance, &current.version, None);
                        return Ok(true);
                    }
                    laid => return laid,
                }
            }
            maintenance.compaction = Some(self.compaction_job(task, &current.version)?);
        }
        let Some(job) = maintenance.compaction.take() else { return Ok(false) };
        maintenance.compaction = self.step_job(maintenance, job)?;
        Ok(true)
    }

    fn step_manifest(&self, maintenance: &mut Maintenance, _current: &Tables) -> Result<bool> {
        let is_long = maintenance.manifest.as_ref().is_some_and(|manifest| manifest.is_long(self.is_full()));
        if is_long {
            self.replace_manifest(maintenance)?;
        }
        Ok(is_long)
    }

    /// What an idle database owes. It is idle if nothing was written since the last time there was nothing to do.
    fn idle(&self, maintenance: &mut Maintenance) -> Result<bool> {
        let seq = self.visible();
        if maintenance.idle_since.replace(seq) != Some(seq) {
            return Ok(false);
        }
        let current = self.current.take();
        let memtable = &current.active.memtable;
        if self.is_full() {
            return self.relieve(maintenance, &current, seq);
        }
        let waiting = match memtable.has_range_deletes() {
            true => Waiting::RangeDeletes,
            false => Waiting::Entries(memtable.entries()),
        };
        match owed(&current.version, self.shape(), &self.live(), waiting) {
            Owed::Flush => {
                self.make_spare(maintenance)?;
                return self.try_freeze(&mut self.log.lock());
            }
            Owed::Compaction(task) => {
                maintenance.compaction = Some(self.compaction_job(task, &current.version)?);
                return Ok(true);
            }
            Owed::Nothing => {}
        }
        self.leave_mark(maintenance)?;
        self.note_needs(maintenance, &current.version, None);
        let mut log = self.log.lock();
        log.reserve.trim(self.storage.as_ref());
        self.counters.reserve_bytes.store(log.reserve.len(), Ordering::Relaxed);
        Ok(false)
    }

    /// What an idle database owes a full disk: everything that gives space back.
    fn relieve(&self, maintenance: &mut Maintenance, current: &Tables, seq: SeqNo) -> Result<bool> {
        if !current.active.memtable.is_empty() {
            self.make_spare(maintenance)?;
            return self.try_freeze(&mut self.log.lock());
        }
        let task = everything(&current.version, self.shape(), &self.live(), seq);
        let Some(task) = task else { return Ok(false) };
        maintenance.compaction = Some(self.compaction_job(task, &current.version)?);
        Ok(true)
    }

    /// Vouches for all that was written, so that rot in it can be told from a torn tail.
    fn leave_mark(&self, maintenance: &mut Maintenance) -> Result<()> {
        let mut log = self.log.lock();
        let end = log.wal.as_ref().ok_or(Error::Closed)?.end();
        let is_begun = log.wal.as_ref().is_some_and(|wal| wal.first_seq() < log.next_seq);
        if maintenance.marked != end && is_begun {
            match log.seal(RecordKind::Mark) {
                Ok(()) | Err(Error::DiskFull { .. }) => {}
                Err(error) => return Err(self.stop(error)),
            }
            maintenance.marked = log.wal.as_ref().ok_or(Error::Closed)?.end();
        }
        Ok(())
    }

    fn due_task(&self, maintenance: &mut Maintenance, version: &Version) -> Option<Task> {
        let live = self.live();
        if let Some(seq) = maintenance.compacts_to {
            let task = everything(version, self.shape(), &live, seq);
            if task.is_none() {
                maintenance.compacted_to = maintenance.compacts_to.take();
            }
            return task;
        }
        due(version, self.shape(), &live)
    }

    pub(super) fn shape(&self) -> Shape {
        let base_bytes = 4 * self.options.memtable_bytes();
        let slack_bytes = SLACK_BYTES.min(self.options.memtable_bytes() / 8);
        Shape { base_bytes, slack_bytes, is_tight: self.is_full() }
    }

    pub(super) fn live(&self) -> Live {
        self.snapshots.live(|| (self.visible(), self.clock.now_ms()))
    }

    fn wants_spare(&self, current: &Tables) -> bool {
        current.active.memtable.memory_len() >= self.options.memtable_bytes() / 2
    }

    /// Makes a log to go on to; `false` if there is one.
    fn make_spare(&self, maintenance: &mut Maintenance) -> Result<bool> {
        let room = {
            let log = self.log.lock();
            let wal = log.wal.as_ref().ok_or(Error::Closed)?;
            if log.spare.is_some() {
                return Ok(false);
            }
            if self.is_full() { wal.room().min(log.reserve.needs.spare_len) } else { wal.room() }
        };
        let mut create =
            |room| SpareWal::create(self.storage.as_ref(), &mut maintenance.state.last_wal, self.id, room);
        let spare = match create(room) {
            Err(Error::DiskFull { .. }) if self.is_full() => create(0)?,
            spare => spare?,
        };
        sync_names(self.storage.as_ref(), "names.sync").map_err(|error| self.stop(error))?;
        let mut log = self.log.lock();
        log.spare = Some(spare);
        self.spare_ready.store(true, Ordering::Release);
        Ok(true)
    }

    /// Syncs the logs before the active one, so that only the active one is left for who waits for a sync.
    fn sync_predecessors(&self) -> Result<()> {
        let unsynced = self.log.lock().unsynced.clone();
        for (name, file) in unsynced {
            sync_file(file.as_ref(), name, "wal.sync").map_err(|error| self.stop(error))?;
            self.log.lock().unsynced.retain(|(other, _)| *other != name);
        }
        Ok(())
    }

    /// Syncs the active log if nobody has yet: the edit of a flush names it as the checkpoint, so its header has to stand.
    fn sync_active_header(&self) -> Result<()> {
        let (name, file) = {
            let log = self.log.lock();
            let wal = log.wal.as_ref().ok_or(Error::Closed)?;
            if log.synced.number == wal.number() {
                return Ok(());
            }
            (wal.name(), wal.file())
        };
        sync_file(file.as_ref(), name, "wal.sync").map_err(|error| self.stop(error))
    }

    fn flush_job(&self, frozen: &Stage, version: &Version) -> Job {
        let cursor: Box<dyn Cursor> = Box::new(MemtableCursor::new(Arc::clone(&frozen.memtable)));
        let deletes = RangeDeletes::clone(&frozen.memtable.range_deletes());
        let outside = Outside::below(version, 0, SeqNo::MAX);
        let run = Run::new(vec![cursor], deletes, self.live(), outside, u64::MAX, VecDeque::new());
        let base_seq = frozen.checkpoint.seq;
        Job { task: None, run: Some(run), tables: None, replaced: Vec::new(), base_seq }
    }

    fn compaction_job(&self, task: Task, version: &Version) -> Result<Job> {
        if task.is_move {
            let tables = task.inputs.iter().map(|(_, table)| table.meta.clone()).collect();
            let replaced = task.inputs.iter().map(|(_, table)| Arc::clone(table)).collect();
            return Ok(Job { task: Some(task), run: None, tables: Some(tables), replaced, base_seq: 0 });
        }
        let live = self.live();
        let mut deletes = RangeDeletes::default();
        let mut cursors: Vec<Box<dyn Cursor>> = Vec::new();
        let mut base_seq = SeqNo::MAX;
        for (_, table) in &task.inputs {
            if let Some(of_table) = table.range_deletes()? {
                // Of two in one stretch nobody can see the older one.
                let alike = |newer, older| live.stretch(newer) == live.stretch(older);
                deletes.merge_alike(&of_table, &table.meta.start, &table.meta.end, alike);
            }
            cursors.push(Box::new(TableCursor::new(Arc::clone(table), Keep::Never)));
            base_seq = base_seq.min(table.meta.counts.seq_min);
        }
        let outside = Outside::below(version, task.level, base_seq);
        let table_bytes = if task.level == 0 { u64::MAX } else { self.options.table_bytes(version.bytes()) };
        // A table that is rewritten where it is ends with the run; level 0 is no run that could be replaced in part.
        let below = task.inputs.iter().filter(|(level, _)| *level == task.level && task.level > 0);
        let ends = below.map(|(_, table)| (table.meta.end.clone(), table.meta.len)).collect();
        let run = Run::new(cursors, deletes, live, outside, table_bytes, ends);
        Ok(Job { task: Some(task), run: Some(run), tables: None, replaced: Vec::new(), base_seq })
    }

    /// Steps a job, and records what it has finished; `None` when that was all.
    fn step_job(&self, maintenance: &mut Maintenance, mut job: Job) -> Result<Option<Job>> {
        if let (Some(run), None) = (&mut job.run, &job.tables) {
            let mut create = || self.create_table(maintenance, job.base_seq);
            match run.step(STEP_LEN, &mut create) {
                Ok(Progress::More) => return Ok(Some(job)),
                Ok(Progress::Piece(cut)) => job.end_piece(&cut),
                Ok(Progress::Done) => job.end(),
                Err(error @ Error::Busy { .. }) => {
                    self.keep_job(maintenance, job);
                    return Err(error);
                }
                Err(error) => {
                    self.discard(job);
                    return Err(error);
                }
            }
        }
        if job.task.is_none() {
            self.sync_active_header()?;
        }
        let edit = self.edit_of(&job);
        match self.record(maintenance, &edit) {
            Ok(()) => {}
            Err(error @ Error::DiskFull { .. }) => {
                self.keep_job(maintenance, job);
                return Err(error);
            }
            Err(error) => return Err(self.stop(error)),
        }
        self.install(maintenance, &job, &edit);
        job.tables = None;
        job.replaced.clear();
        let left = job.run.is_some().then_some(job);
        self.remove_doomed(maintenance);
        Ok(left)
    }

    fn keep_job(&self, maintenance: &mut Maintenance, job: Job) {
        let place = if job.task.is_some() { &mut maintenance.compaction } else { &mut maintenance.flush };
        *place = Some(job);
    }

    fn create_table(&self, maintenance: &mut Maintenance, base_seq: SeqNo) -> Result<TableWriter> {
        let above = maintenance.state.last_sstable;
        let (number, file) = create_file(self.storage.as_ref(), FileKind::SsTable, above, "sstable.create")?;
        maintenance.state.last_sstable = number;
        let manifest = maintenance.manifest.as_ref().map_or(0, Manifest::number);
        Ok(TableWriter::new(file, number, self.id, manifest, base_seq, self.options.compression))
    }

    fn edit_of(&self, job: &Job) -> Edit {
        let tables = job.tables.iter().flatten();
        match &job.task {
            None => Edit {
                added: tables.map(|meta| (0, meta.clone())).collect(),
                checkpoint: Some(self.current.take().active.checkpoint),
                ..Edit::default()
            },
            Some(task) => Edit {
                added: tables.map(|meta| (task.level, meta.clone())).collect(),
                removed: job.replaced.iter().map(|table| table.meta.number).collect(),
                ..Edit::default()
            },
        }
    }

    /// Records an edit, with the clock and the last numbers; names are synced first (promise 5).
    fn record(&self, maintenance: &mut Maintenance, edit: &Edit) -> Result<()> {
        sync_names(self.storage.as_ref(), "names.sync")?;
        let last_numbers = Some((maintenance.state.last_sstable, maintenance.state.last_wal));
        let edit = Edit { clock_ms: Some(self.clock.now_ms()), last_numbers, ..edit.clone() };
        maintenance.manifest.as_mut().ok_or(Error::ReadOnly)?.record(&edit)?;
        maintenance.state.apply(&edit).expect("an edit of this version fits it");
        Ok(())
    }

    /// Shows readers what the edit has changed, and dooms what it has dropped.
    fn install(&self, maintenance: &mut Maintenance, job: &Job, edit: &Edit) {
        let moved = |number: &u64| edit.added.iter().any(|(_, meta)| meta.number == *number);
        match &job.task {
            Some(_) => {
                let dropped = job.replaced.iter().filter(|table| !moved(&table.meta.number));
                maintenance.doomed.extend(dropped.cloned());
                let done = job.run.is_none();
                self.counters.compactions.fetch_add(u64::from(done), Ordering::Relaxed);
            }
            None => {
                self.counters.flushes.fetch_add(1, Ordering::Relaxed);
            }
        }
        let written: u64 = if job.task.as_ref().is_some_and(|task| task.is_move) {
            0
        } else {
            edit.added.iter().map(|(_, meta)| meta.len).sum()
        };
        self.counters.table_bytes_written.fetch_add(written, Ordering::Relaxed);
        self.current.change(|tables| {
            let version = Arc::new(tables.version.apply(edit, &self.files));
            let frozen = if job.task.is_none() { None } else { tables.frozen.clone() };
            Tables { version, frozen, ..tables.clone() }
        });
        self.fit_cache();
        let version = Arc::clone(&self.current.take().version);
        self.note_needs(maintenance, &version, None);
        if let Some(checkpoint) = edit.checkpoint {
            self.log.lock().reserve.needs.frozen_len = 0;
            self.log.lock().unsynced.retain(|(name, _)| name.number >= checkpoint.wal);
            self.doom_logs(maintenance, |history, needed| {
                history.trim(needed, self.options.keep_changes_bytes)
            });
        }
    }

    fn discard(&self, job: Job) {
        let unfinished = job.run.iter().flat_map(Run::numbers);
        let is_move = job.task.as_ref().is_some_and(|task| task.is_move);
        let finished = job.tables.iter().flatten().map(|meta| meta.number).filter(|_| !is_move);
        for number in unfinished.chain(finished) {
            self.remove_table(number);
        }
    }

    fn remove_table(&self, number: u64) {
        self.files.forget(number);
        self.remove(FileName { kind: FileKind::SsTable, number });
    }

    /// Removes a file that nothing names. If that fails, the next open finds it and tries again.
    fn remove(&self, name: FileName) {
        if self.storage.remove("remove", name).is_err() {
            self.counters.removes_failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes the tables that no view holds any more, and the logs that recovery does not need.
    fn remove_doomed(&self, maintenance: &mut Maintenance) {
        let (free, held): (Vec<_>, Vec<_>) = std::mem::take(&mut maintenance.doomed)
            .into_iter()
            .partition(|table| Arc::strong_count(table) == 1);
        let pinned = held.iter().map(|table| table.meta.len).sum();
        self.counters.pinned_bytes.store(pinned, Ordering::Relaxed);
        maintenance.doomed = held;
        for table in free {
            self.remove_table(table.meta.number);
        }
        for number in std::mem::take(&mut maintenance.doomed_wals) {
            self.remove(FileName { kind: FileKind::Wal, number });
        }
    }

    fn replace_manifest(&self, maintenance: &mut Maintenance) -> Result<()> {
        let Some(old) = maintenance.manifest.as_ref().map(Manifest::number) else { return Ok(()) };
        let base = maintenance.state.base();
        let fresh = Manifest::create(self.storage.as_ref(), old, old, self.id, &base);
        let fresh = match fresh {
            Ok(fresh) => fresh,
            // The old one is as good as it was. A half-made new one is no whole base, or says the same.
            Err(error @ (Error::DiskFull { .. } | Error::Busy { .. })) => return Err(error),
            Err(error) => return Err(self.stop(error)),
        };
        self.counters.manifest.store(fresh.number(), Ordering::Release);
        maintenance.manifest = Some(fresh);
        self.remove(FileName { kind: FileKind::Manifest, number: old });
        Ok(())
    }
}
