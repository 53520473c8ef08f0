//! Write: the commit path, one group at a time.
//!
//! Writers queue. The first in the queue *leads*: it takes everyone who waits behind it, puts all their batches into
//! the log with one append and, if one of them asks for it, one sync; inserts them into the memtable, makes them
//! visible, and tells each how it went. Then the next one leads. No thread is handed work: the callers' own threads do
//! it, and the more of them wait, the more share a sync.
//!
//! # Invariants
//! - I1. In a group, sequence numbers follow the queue; a condition is checked against everything before it, entries
//!   of its own group among them.
//! - I2. Nobody is told `Ok` before the group's sync, if there is one: a weaker write behind a `Sync` one waits for it.
//!
//! # When things break
//! No room in the log or the reserve: `DiskFull`, and nothing of that write was done; deletes then go on (promise 8). A failed append or sync: everyone in the group is
//! told `Io`, and the database stops writing, for what is on the disk is not known any more (promise 8).

use std::collections::VecDeque;

use cairndb_storage::{File, FileName};

use super::Engine;
use crate::batch::Batch;
use crate::compaction::{L0_RUNS_COMPACT, L0_RUNS_SLOW, L0_RUNS_STOP};
use crate::error::{Error, Result};
use crate::files::sync_file;
use crate::key::{Entry, EntryRef, KEYSPACE_SYSTEM, Kind, SeqNo, check_key, stored_key};
use crate::memtable::Memtable;
use crate::options::Durability;
use crate::record::{Position, RecordKind};
use crate::reserve::Reserve;
use crate::sync::{Arc, AtomicBool, Condvar, Mutex, Ordering};
use crate::view::{Stage, Tables};
use crate::wal::{Checkpoint, SpareWal, Wal};

/// A group takes no further member beyond this, in bytes: about what the disk takes in the time of a sync.
const GROUP_LEN_MAX: usize = 1 << 20;

/// `Buffered` writes wait in the log's buffer until there is this much, in bytes.
const BUFFERED_LEN_MAX: usize = 64 << 10;

/// Room in the log that only deletes may use, in bytes: on a full disk they need not wait for a flush one by one.
const DELETE_ROOM_LEN: usize = 2 << 10;

/// While level 0 is slow, a writer waits for one step of maintenance after this many bytes; with each further run, half.
const SLOW_LEN: u64 = 256 << 10;

/// It is halved so often at most: then a step of 1 MiB is made for every 32 KiB, and a compaction of level 0 ends long before
/// so many runs have come that writers would have to wait for the end of it.
const SLOW_HALVINGS_MAX: usize = 3;

/// Writers that wait.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Arc<Waiter>>,
    /// Somebody leads.
    led: bool,
    /// Bytes written since a writer last waited for level 0.
    unpaced_len: u64,
}

/// A writer that is not leading.
struct Waiter {
    request: Arc<Request>,
    turn: Mutex<Turn>,
    /// Its turn has come: what it looks at before it sleeps.
    is_called: AtomicBool,
    changed: Condvar,
}

enum Turn {
    Waits,
    /// It has to be woken.
    Sleeps,
    Leads,
    Done(Result<Outcome>),
}

/// How often a waiter looks whether its turn has come before it sleeps: for some microseconds, in which a group that waits
/// for no disk is done. To be put to sleep and woken takes ten times as long.
const LOOKS_BEFORE_SLEEP: u32 = if cfg!(any(shuttle, miri)) { 1 } else { 200 };

/// What an entry takes in a table beside what it takes in a batch, in bytes: more than its share of filter and index, and
/// as much again, which pays for logs of short entries that are shorter than the tables that take their place.
pub(super) const TABLE_ENTRY_LEN: u64 = 24;

/// The place of a result that is still to come.
const NOT_YET: Result<Outcome> = Err(Error::Closed);

/// One write, as it is asked for.
pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) conditions: Vec<Condition>,
    pub(super) durability: Durability,
}

/// The log, and what is known of it.
pub(super) struct Log {
    /// `None` once the database is closed, or if it is only read.
    pub(super) wal: Option<Wal>,
    pub(super) spare: Option<SpareWal>,
    /// Everything before this is known to be on the disk.
    pub(super) synced: Position,
    /// Predecessors that may hold bytes that are not.
    pub(super) unsynced: Vec<(FileName, Arc<dyn File>)>,
    pub(super) next_seq: SeqNo,
    pub(super) reserve: Reserve,
}

/// What must hold of a key for a conditional write to be done.
#[derive(Clone, Debug)]
pub struct Condition {
    keyspace: u8,
    key: Vec<u8>,
    expected: Expected,
}

#[derive(Clone, Debug)]
enum Expected {
    Absent,
    Value(Vec<u8>),
    Seq(SeqNo),
}

/// How a conditional write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done; this is the sequence number of its last entry.
    Written(SeqNo),
    /// It was not, because a condition did not hold.
    Unmet {
        /// The first condition that did not.
        index: usize,
    },
}

impl Condition {
    /// The key has no value.
    pub fn absent(key: impl AsRef<[u8]>) -> Condition {
        Condition::new(key.as_ref(), Expected::Absent)
    }

    /// The key has this value.
    pub fn value_equal(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Condition {
        Condition::new(key.as_ref(), Expected::Value(value.as_ref().to_vec()))
    }

    /// The key has a value, which the write with this sequence number put there.
    pub fn seq_equal(key: impl AsRef<[u8]>, seq: SeqNo) -> Condition {
        Condition::new(key.as_ref(), Expected::Seq(seq))
    }

    /// The same of the key in another keyspace than 0.
    pub fn in_keyspace(self, keyspace: u8) -> Condition {
        Condition { keyspace, ..self }
    }

    fn new(key: &[u8], expected: Expected) -> Condition {
        Condition { keyspace: 0, key: key.to_vec(), expected }
    }

    fn check(&self) -> Result<()> {
        if self.keyspace == KEYSPACE_SYSTEM {
            return Err(Error::invalid("keyspace 255 belongs to the engine"));
        }
        check_key(&self.key)
    }

    fn holds_of(&self, entry: Option<&Entry>) -> bool {
        match (&self.expected, entry) {
            (Expected::Absent, entry) => entry.is_none(),
            (Expected::Value(value), Some(entry)) => entry.value == *value,
            (Expected::Seq(seq), Some(entry)) => entry.seq == *seq,
            (_, None) => false,
        }
    }
}

impl Engine {
    /// Writes a batch, if all conditions hold.
    pub(super) fn write(&self, request: Request) -> Result<Outcome> {
        self.check_writable()?;
        request.batch.check(self.options.batch_len_max())?;
        request.conditions.iter().try_for_each(Condition::check)?;
        let request = Arc::new(request);
        let written = match self.write_in_turn(&request) {
            // What is kept for its changes goes before a write is refused.
            Err(Error::DiskFull { .. }) if self.give_up_changes() => self.write_in_turn(&request),
            done => done,
        };
        match written {
            Err(Error::DiskFull { .. }) if request.batch.only_deletes() => {
                self.make_way().map_err(|error| self.not_written(error))?;
                self.write_in_turn(&request)
            }
            Err(error @ Error::DiskFull { .. }) if !self.progress.is_attended() && self.owes_room() => {
                // Where nobody attends to maintenance, who is refused does what may give room back.
                while self.owes_room() && matches!(self.maintain(), Ok(true)) {}
                if self.owes_room() { Err(error) } else { self.write_in_turn(&request) }
            }
            done => done,
        }
    }

    /// Makes room for deletes on a full disk: flushed, out of the reserve if need be, the log gives its space back, and the
    /// next one takes deletes. Their runs take space too, so what there is of them is compacted first.
    fn make_way(&self) -> Result<()> {
        let has_many_runs = || self.current.take().version.levels[0].len() >= L0_RUNS_COMPACT;
        while self.is_spent() && has_many_runs() && matches!(self.maintain(), Ok(true)) {}
        loop {
            match self.flush() {
                Err(Error::DiskFull { .. }) if matches!(self.maintain(), Ok(true)) => {}
                done => return done,
            }
        }
    }

    /// Whether maintenance can give room back: the log of a frozen memtable, or the reserve.
    fn owes_room(&self) -> bool {
        self.is_spent() || self.current.take().frozen.is_some()
    }

    /// Whether the reserve is in use.
    fn is_spent(&self) -> bool {
        self.log.lock().reserve.is_spent()
    }

    fn write_in_turn(&self, request: &Arc<Request>) -> Result<Outcome> {
        let mut queue = self.queue.lock();
        if !queue.led {
            queue.led = true;
            drop(queue);
            return self.lead(request);
        }
        let waiter = Arc::new(Waiter::new(Arc::clone(request)));
        queue.waiting.push_back(Arc::clone(&waiter));
        drop(queue);
        match waiter.wait() {
            Some(result) => result,
            None => self.lead(&waiter.request),
        }
    }

    /// Commits the leader's own request and everyone's who waits, and hands the lead on.
    fn lead(&self, own: &Request) -> Result<Outcome> {
        let mut group = Group { engine: self, followers: Vec::new(), panics: true };
        let result = self.commit_group(own, &mut group);
        group.panics = false;
        result
    }

    fn commit_group(&self, own: &Request, group: &mut Group<'_>) -> Result<Outcome> {
        // An empty batch takes no memory: what it has synced must not be kept from that by a full memtable.
        if !own.batch.is_empty() {
            self.wait_for_memory()?;
        }
        group.followers = self.take_followers(own);
        if group.followers.is_empty() {
            let mut result = [NOT_YET];
            self.commit(&[own], &mut result);
            let [result] = result;
            return result;
        }
        let followers = group.followers.iter().map(|waiter| waiter.request.as_ref());
        let requests: Vec<&Request> = std::iter::once(own).chain(followers).collect();
        let mut results: Vec<_> = requests.iter().map(|_| NOT_YET).collect();
        self.commit(&requests, &mut results);
        let mut results = results.into_iter();
        let result = results.next().expect("a result for each request");
        for (waiter, result) in std::mem::take(&mut group.followers).iter().zip(results) {
            waiter.tell(result);
        }
        result
    }

    fn take_followers(&self, own: &Request) -> Vec<Arc<Waiter>> {
        let (mut queue, mut len, mut followers) = (self.queue.lock(), own.batch.encoded_len(), Vec::new());
        while let Some(waiter) = queue.waiting.front() {
            let batch = &waiter.request.batch;
            let with_it = len + batch.encoded_len();
            // Behind an empty batch nobody has waited for memory yet.
            let needs_memory = own.batch.is_empty() && !batch.is_empty();
            if needs_memory || with_it > GROUP_LEN_MAX.min(self.options.memtable_bytes() as usize / 4) {
                break;
            }
            len = with_it;
            followers.extend(queue.waiting.pop_front());
        }
        queue.unpaced_len += len as u64;
        followers
    }

    /// Commits a group, and fills in a result for each request.
    fn commit(&self, requests: &[&Request], results: &mut [Result<Outcome>]) {
        let mut log = self.log.lock();
        let mut durability = None;
        for index in 0..requests.len() {
            let before = written(&requests[..index], &results[..index]);
            let result = self.accept(&mut log, requests[index], before);
            if let Ok(Outcome::Written(_)) = result {
                durability = durability.max(Some(requests[index].durability));
            }
            results[index] = result;
        }
        let Some(durability) = durability else { return };
        if let Err(error) = self.make_durable(&mut log, durability) {
            let error = self.stop(error);
            let unknown = results.iter_mut().filter(|result| matches!(result, Ok(Outcome::Written(_))));
            unknown.for_each(|result| *result = Err(error.clone()));
            return;
        }
        let current = self.current.take();
        let memtable = &current.active.memtable;
        for (batch, first_seq) in written(requests, results) {
            for entry in batch.entries(first_seq) {
                memtable.insert(entry.expect("a batch that was just built is whole"), first_seq);
            }
        }
        memtable.show(log.next_seq - 1);
        self.count_commit(written(requests, results), durability);
    }

    fn count_commit<'a>(&self, written: impl Iterator<Item = (&'a Batch, SeqNo)>, durability: Durability) {
        let counters = &self.counters;
        let (mut batches, mut entries, mut len) = (0, 0, 0);
        for (batch, _) in written {
            batches += 1;
            entries += batch.len();
            len += batch.encoded_len();
        }
        if len as u64 > self.options.memtable_bytes() / 4 {
            self.fit_cache();
        }
        counters.entries_written.fetch_add(entries as u64, Ordering::Relaxed);
        counters.bytes_written.fetch_add(len as u64, Ordering::Relaxed);
        counters.writes.fetch_add(batches, Ordering::Relaxed);
        counters.groups.fetch_add(1, Ordering::Relaxed);
        if durability == Durability::Sync {
            counters.wal_syncs.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives a request its sequence numbers and puts it into the log's buffer, if its conditions hold and there is room.
    fn accept<'a>(
        &self,
        log: &mut Log,
        request: &Request,
        before: impl DoubleEndedIterator<Item = (&'a Batch, SeqNo)> + Clone,
    ) -> Result<Outcome> {
        self.check_not_stopped()?;
        for (index, condition) in request.conditions.iter().enumerate() {
            if !condition.holds_of(self.present_entry(condition, before.clone())?.as_ref()) {
                return Ok(Outcome::Unmet { index });
            }
        }
        let (first_seq, synced) = (log.next_seq, log.synced);
        if log.wal.is_none() {
            return Err(Error::Closed);
        }
        let batch = &request.batch;
        if !batch.is_empty() {
            self.make_room(log, batch)?;
            let wal = log.wal.as_mut().ok_or(Error::Closed)?;
            wal.push_batch(first_seq, batch.len() as u32, batch.encoded(), synced);
        }
        log.next_seq += batch.len() as u64;
        Ok(Outcome::Written(log.next_seq - 1))
    }

    /// Sees to it that the log has room for a batch, and the reserve for the table that the batch will come to.
    fn make_room(&self, log: &mut Log, batch: &Batch) -> Result<()> {
        if log.reserve.is_spent() && !self.is_full() {
            // Not for want of space: what an open could not lay down is tried again here.
            match log.reserve.lay(self.storage.as_ref(), u64::MAX) {
                Err(Error::DiskFull { .. }) => self.full.store(true, Ordering::Release),
                laid => drop(laid?),
            }
        }
        let len = batch.encoded_len();
        let table_len = log.reserve.needs.active_len + len as u64 + TABLE_ENTRY_LEN * batch.len() as u64;
        let wal = log.wal.as_mut().ok_or(Error::Closed)?;
        let has_all = wal.has_room(len + DELETE_ROOM_LEN) && log.reserve.covers(table_len);
        let takes_all = batch.only_deletes() && wal.has_room(len);
        // A full disk is one no longer when everything that is to be laid down has been.
        let is_enough = if self.is_full() { takes_all } else { has_all };
        if !is_enough {
            let covered = log.reserve.cover(self.storage.as_ref(), table_len);
            self.counters.reserve_bytes.store(log.reserve.len(), Ordering::Relaxed);
            let laid = match covered {
                Ok(()) => wal.make_room(len + DELETE_ROOM_LEN).map_err(|error| match error {
                    Error::DiskFull { .. } => error,
                    error => self.stop(error),
                }),
                refused => refused,
            };
            match laid {
                Ok(()) => self.full.store(false, Ordering::Release),
                Err(error) => {
                    if matches!(error, Error::DiskFull { .. }) {
                        self.full.store(true, Ordering::Release);
                    }
                    if !takes_all || self.health.stopped.load(Ordering::Acquire) {
                        return Err(error);
                    }
                }
            }
        }
        log.reserve.needs.active_len = table_len;
        Ok(())
    }

    pub(super) fn check_not_stopped(&self) -> Result<()> {
        if self.health.stopped.load(Ordering::Acquire) { self.check_writable() } else { Ok(()) }
    }

    /// What the condition's key holds, after the batches `before` it in its group.
    fn present_entry<'a>(
        &self,
        condition: &Condition,
        before: impl DoubleEndedIterator<Item = (&'a Batch, SeqNo)>,
    ) -> Result<Option<Entry>> {
        let key = stored_key(condition.keyspace, &condition.key);
        for (batch, first_seq) in before.rev() {
            let touches = |entry: &EntryRef<'_>| match entry.kind {
                Kind::RangeDelete => entry.key <= key.as_slice() && key.as_slice() < entry.value,
                _ => entry.key == key,
            };
            if let Some(entry) = batch.entries(first_seq).flatten().filter(touches).last() {
                let expires_at_ms = (entry.kind == Kind::PutWithExpiry).then_some(entry.expires_at_ms);
                let live = entry.is_live(self.clock.now_ms());
                return Ok(live.then(|| Entry { value: entry.value.into(), seq: entry.seq, expires_at_ms }));
            }
        }
        self.view()?.get(&key)
    }

    /// Does with what waits in the log's buffer what the strongest of the group asks for.
    fn make_durable(&self, log: &mut Log, durability: Durability) -> Result<()> {
        let wal = log.wal.as_mut().ok_or(Error::Closed)?;
        if durability > Durability::Buffered || wal.buffered_len() > BUFFERED_LEN_MAX {
            wal.write()?;
        }
        if durability == Durability::Sync { log.sync() } else { Ok(()) }
    }

    /// Waits until there is room in memory, and goes on to a new log when the memtable is full.
    ///
    /// Requires: the caller leads, so nobody else writes.
    fn wait_for_memory(&self) -> Result<()> {
        let full_len = self.options.memtable_bytes();
        let mut waited_in_vain = false;
        loop {
            self.check_not_stopped()?;
            // Not the view itself, which would keep the tables that maintenance is about to remove.
            let (memtable, runs) = {
                let current = self.current.take();
                (Arc::clone(&current.active.memtable), current.version.levels[0].len())
            };
            let active_len = memtable.memory_len();
            if active_len >= full_len && self.try_freeze(&mut self.log.lock())? {
                self.progress.want();
                continue;
            }
            // Without a frozen memtable's end, or without a log to go on to, this one overruns by a quarter.
            if active_len >= full_len + full_len / 4 {
                self.counters.stalls_memory.fetch_add(1, Ordering::Relaxed);
            } else if runs >= L0_RUNS_STOP {
                self.counters.stalls_level_0.fetch_add(1, Ordering::Relaxed);
            } else if runs >= L0_RUNS_SLOW && self.take_pace(runs) {
                self.counters.slowdowns_level_0.fetch_add(1, Ordering::Relaxed);
                // There is memory: a step that could not be made just now is no reason to refuse the write.
                return match self.wait_for_maintenance() {
                    Err(Error::Busy { .. }) => Ok(()),
                    waited => waited.map(|_| ()),
                };
            } else {
                if active_len >= full_len / 2 && !self.spare_ready.load(Ordering::Acquire) {
                    self.progress.want();
                }
                return Ok(());
            }
            let stepped = self.wait_for_maintenance()?;
            // Once is no proof, and nor is a step that was not there to make because somebody else had just made it.
            let now = self.current.take();
            let is_as_it_was =
                Arc::ptr_eq(&memtable, &now.active.memtable) && now.version.levels[0].len() == runs;
            let in_vain = !stepped && is_as_it_was;
            if in_vain && waited_in_vain {
                return Err(Error::Busy { what: "maintenance has to free memory first".into() });
            }
            waited_in_vain = in_vain;
        }
    }

    /// Whether it is time to wait for a step, while level 0 has this many runs.
    fn take_pace(&self, runs: usize) -> bool {
        let mut queue = self.queue.lock();
        let due = queue.unpaced_len >= SLOW_LEN >> (runs - L0_RUNS_SLOW).min(SLOW_HALVINGS_MAX);
        if due {
            queue.unpaced_len = 0;
        }
        due
    }

    /// Lets one step of maintenance be made: by who attends to it, or else here and now. `false` if there was none to make.
    fn wait_for_maintenance(&self) -> Result<bool> {
        let stepped = if self.progress.is_attended() {
            self.progress.wait_for_step().map(|()| true)
        } else {
            self.maintain()
        };
        stepped.map_err(|error| self.not_written(error))
    }

    /// What a writer is told whose wait for maintenance ended so: nothing of its write was done, and writing has stopped or
    /// the step will be tried again.
    fn not_written(&self, error: Error) -> Error {
        match self.check_not_stopped() {
            Err(stopped) => stopped,
            Ok(()) if matches!(error, Error::Io { .. }) => Error::Busy { what: error.to_string() },
            Ok(()) => error,
        }
    }

    /// Freezes the active memtable and goes on to the spare log, if there is one and no other memtable is frozen.
    pub(super) fn try_freeze(&self, log: &mut Log) -> Result<bool> {
        if self.current.take().frozen.is_some() || log.spare.is_none() {
            return Ok(false);
        }
        self.check_not_stopped()?;
        let (Some(spare), Some(wal)) = (log.spare.take(), log.wal.as_mut()) else { return Ok(false) };
        self.spare_ready.store(false, Ordering::Release);
        // The new log says where this one ends, so nothing may be left in its buffer.
        wal.write().map_err(|error| self.stop(error))?;
        let (before, manifest) = (wal.end(), self.counters.manifest.load(Ordering::Acquire));
        let (name, file, room) = (wal.name(), wal.file(), wal.room());
        if log.synced < before {
            log.unsynced.push((name, file));
        }
        let wal = Wal::begin(spare, manifest, before, log.next_seq).map_err(|error| self.stop(error))?;
        let checkpoint = Checkpoint { wal: wal.number(), seq: wal.first_seq() };
        let mut history = self.history.lock();
        history.end(room);
        history.begin(wal.header);
        drop(history);
        log.wal = Some(wal);
        log.reserve.needs.frozen_len = std::mem::take(&mut log.reserve.needs.active_len);
        let fresh = Stage {
            memtable: Arc::new(Memtable::new(self.options.memtable_bytes(), log.next_seq - 1)),
            checkpoint,
        };
        self.current.change(|tables| {
            let frozen = Some(tables.active.clone());
            Tables { active: fresh, frozen, ..tables.clone() }
        });
        self.fit_cache();
        Ok(true)
    }
}

/// The batches among `requests` that were accepted, with the sequence number of each one's first entry.
fn written<'a>(
    requests: &'a [&Request],
    results: &'a [Result<Outcome>],
) -> impl DoubleEndedIterator<Item = (&'a Batch, SeqNo)> + Clone {
    requests.iter().zip(results).filter_map(|(request, result)| match result {
        Ok(Outcome::Written(last_seq)) => Some((&request.batch, last_seq + 1 - request.batch.len() as u64)),
        _ => None,
    })
}

/// A group that is being committed. When it goes, the lead is handed on.
struct Group<'a> {
    engine: &'a Engine,
    /// Those of the group who have not been told yet how it went.
    followers: Vec<Arc<Waiter>>,
    /// Unless the leader has come to its end.
    panics: bool,
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if self.panics {
            // What the log and the memtable hold of this group is not known, and nobody else would wake the followers.
            let bug = Error::invalid("the writer that led a group panicked; this is a bug in the engine");
            let cause = Arc::new(self.engine.stop(bug));
            for waiter in self.followers.drain(..) {
                waiter.tell(Err(Error::Stopped { cause: Arc::clone(&cause) }));
            }
        }
        let mut queue = self.engine.queue.lock();
        match queue.waiting.pop_front() {
            Some(next) => next.call(Turn::Leads),
            None => queue.led = false,
        }
    }
}

impl Waiter {
    fn new(request: Arc<Request>) -> Waiter {
        let turn = Mutex::new(Turn::Waits);
        Waiter { request, turn, is_called: AtomicBool::new(false), changed: Condvar::default() }
    }

    /// Waits for its turn: the result, or `None` if it is to lead.
    fn wait(&self) -> Option<Result<Outcome>> {
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if self.is_called.load(Ordering::Acquire) {
                break;
            }
            std::hint::spin_loop();
        }
        let mut turn = self.turn.lock();
        loop {
            match std::mem::replace(&mut *turn, Turn::Sleeps) {
                Turn::Waits | Turn::Sleeps => turn = self.changed.wait(turn),
                Turn::Done(result) => return Some(result),
                Turn::Leads => return None,
            }
        }
    }

    fn tell(&self, result: Result<Outcome>) {
        self.call(Turn::Done(result));
    }

    fn call(&self, to: Turn) {
        let before = std::mem::replace(&mut *self.turn.lock(), to);
        self.is_called.store(true, Ordering::Release);
        if matches!(before, Turn::Sleeps) {
            self.changed.notify_one();
        }
    }
}

impl Log {
    /// Makes everything that was written so far survive power loss, predecessors first.
    pub(super) fn sync(&mut self) -> Result<()> {
        while let Some((name, file)) = self.unsynced.first() {
            sync_file(file.as_ref(), *name, "wal.sync")?;
            self.unsynced.remove(0);
        }
        let Some(wal) = &self.wal else { return Ok(()) };
        let mut end = wal.end();
        end.offset -= wal.buffered_len() as u64;
        sync_file(wal.file().as_ref(), wal.name(), "wal.sync")?;
        self.synced = end;
        Ok(())
    }

    /// Writes, syncs, and leaves a record that vouches for it.
    pub(super) fn seal(&mut self, kind: RecordKind) -> Result<()> {
        let Some(wal) = &mut self.wal else { return Ok(()) };
        wal.write()?;
        self.sync()?;
        let synced = self.synced;
        let Some(wal) = &mut self.wal else { return Ok(()) };
        wal.write_mark(kind, synced)?;
        self.sync()
    }
}

#[cfg(test)]
mod tests {
    use cairndb_storage::Faulty;

    use super::*;
    use crate::db::Db;
    use crate::options::Options;

    /// Where a thread attends to maintenance, a writer that finds no room waits for nobody: it takes the room itself.
    #[test]
    fn a_writer_gives_up_kept_logs_before_it_is_refused() {
        let disk = Faulty::default();
        let ids = std::sync::atomic::AtomicU64::new(1);
        let next_id = move || u128::from(ids.fetch_add(1, Ordering::Relaxed));
        let options = Options {
            memory_budget_bytes: 1 << 20,
            keep_changes_bytes: 64 << 20,
            ..Options::new(Arc::new(|| 1000), Arc::new(next_id))
        };
        let db = Db::open_with(Arc::new(disk.clone()), options).unwrap();
        let put = |number: u32| db.put(number.to_be_bytes(), [7; 1_000]).unwrap();
        (0..50).for_each(put);
        db.flush().unwrap();
        while db.maintain().unwrap() {}
        let (kept, flushes) = (db.stats().changes_bytes, db.stats().flushes);
        assert!(kept > 0);
        disk.set_capacity(Some(disk.used_bytes()));
        // By a thread that never comes.
        db.engine().progress.set_attended(true);
        let mut written = 0;
        while db.stats().changes_bytes > 0 {
            assert!(written < 150, "the disk was never full");
            put(written);
            written += 1;
        }
        assert_eq!((db.stats().reserve_uses, db.stats().flushes), (0, flushes));
        db.engine().progress.set_attended(false);
    }

    /// It has waited for no memory, so those behind it that need some lead a group of their own.
    #[test]
    fn behind_an_empty_batch_only_empty_ones_follow() {
        let options = Options::new(Arc::new(|| 1000), Arc::new(|| 1));
        let db = Db::open_with(Arc::new(Faulty::default()), options).unwrap();
        let engine = db.engine();
        let request = |is_empty: bool| {
            let mut batch = Batch::default();
            if !is_empty {
                batch.put("key", "value");
            }
            Request { batch, conditions: Vec::new(), durability: Durability::Os }
        };
        let count_followers = |own_is_empty, waiting: [bool; 3]| {
            let waiters = waiting.map(|is_empty| Arc::new(Waiter::new(Arc::new(request(is_empty)))));
            engine.queue.lock().waiting.extend(waiters);
            let followers = engine.take_followers(&request(own_is_empty));
            engine.queue.lock().waiting.clear();
            followers.len()
        };
        assert_eq!(count_followers(true, [true, false, true]), 1);
        assert_eq!(count_followers(true, [true, true, true]), 3);
        assert_eq!(count_followers(false, [true, false, true]), 3);
    }
}
