//! World: a script, on the engine and on the oracle.
//!
//! Everything that could differ from run to run is given: the disk, the clock, the ids, and who calls maintenance. So
//! the same script gives the same calls and the same answers, and the tally's trace is a hash of them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::storage::{Fault, Faulty};
use cairndb::{
    BackupMode, Batch, Condition, Db, Durability, Error, Options, Outcome, Reader, Scan, Snapshot, Stats,
    verify,
};

use crate::dice::Dice;
use crate::follower::Follower;
use crate::judge::{Promised, judge, judge_killed};
use crate::oracle::{Change, Map, Name, Oracle, Slot, live, within};
use crate::quiet::quietly;
use crate::reads::{Answers, Moment, check_read, everything, is_entry, range};
use crate::script::{Config, Expect, Item, Op, Read, Step, Written, key};
use crate::states::{Take, Watch, image_hash};
use crate::tally::Tally;
use crate::trouble::{Done, Trouble, require};

/// The names under which tables at each level are counted.
const LEVEL_NAMES: [&str; 7] = ["level_0", "level_1", "level_2", "level_3", "level_4", "level_5", "level_6"];

/// Changes are read every so many steps: between, what waits in memory is left there, to be lost.
const FOLLOW_EVERY: usize = 8;

/// Every state in how many is looked at closely: its recovery is crashed too.
const DEEP_ONE_IN: u64 = 10;

/// Runs a script; what happened, or what went wrong.
pub(crate) fn run(config: &Config, steps: &[Step]) -> Result<Tally, String> {
    guarded(steps, |at| {
        let mut world = World::new(config);
        world.begin()?;
        world.take_steps(steps, at)?;
        world.end()?;
        world.follow_end();
        Ok(world.tally)
    })
}

/// Runs a script, and judges the states that a crash can leave at every call from the step of index `from` on. Counts
/// those that are told apart.
pub(crate) fn run_watched(config: &Config, steps: &[Step], from: usize, take: Take) -> Result<Tally, String> {
    guarded(steps, |at| {
        let mut world = World::new(config);
        world.oracle.remember();
        if from == 0 {
            world.watch = Some(Watch::begin(&world.disk, take));
        }
        world.begin()?;
        world.take_steps(&steps[..from], at)?;
        if from > 0 {
            world.watch = Some(Watch::begin(&world.disk, take));
        }
        world.take_steps(&steps[from..], at)?;
        // What the last step has promised is kept only now.
        if let Some(watch) = &world.watch {
            watch.look();
        }
        world.judge_states(world.oracle.allowed())?;
        world.follow_end();
        Ok(world.tally)
    })
}

/// The answers to a script's reads, as a hash.
pub(crate) fn answers(config: &Config, steps: &[Step]) -> Result<u64, String> {
    guarded(steps, |at| {
        let mut world = World::new(config);
        world.begin()?;
        world.take_steps(steps, at)?;
        let found = everything(world.db()).map_err(Trouble::told)?;
        world.answers.note(format!("{found:?}").as_bytes());
        Ok(world.answers.hash())
    })
}

fn guarded<T>(steps: &[Step], work: impl FnOnce(&Cell<usize>) -> Result<T, String>) -> Result<T, String> {
    let at = Cell::new(usize::MAX);
    quietly(|| work(&at)).map_err(|told| {
        let number = at.get();
        let step = steps.iter().find(|step| step.number == number);
        let step = step.map_or("the beginning or the end".to_string(), Step::to_string);
        format!("at {step}:\n{told}")
    })
}

struct World<'a> {
    config: &'a Config,
    disk: Faulty,
    clock_ms: Arc<AtomicU64>,
    ids: Arc<AtomicU64>,
    /// `None` only while it is being opened again.
    db: Option<Db>,
    oracle: Oracle,
    snapshots: [Option<(Snapshot, Arc<Map>, u64)>; 3],
    scans: [Option<(Scan, Expected)>; 2],
    follower: Follower,
    /// The disk has been asked to fail.
    disturbed: bool,
    /// ... for good, so that only a crash helps.
    stopping: bool,
    /// The disk is full before this step.
    full_until: Option<usize>,
    stats: Stats,
    watch: Option<Watch>,
    tally: Tally,
    answers: Answers,
    number: usize,
}

/// What an open scan has still to answer.
struct Expected {
    keyspace: u8,
    items: VecDeque<(Name, Slot)>,
}

impl World<'_> {
    fn new(config: &Config) -> World<'_> {
        World {
            config,
            disk: Faulty::default(),
            clock_ms: Arc::new(AtomicU64::new(10_000)),
            ids: Arc::new(AtomicU64::new(1)),
            db: None,
            oracle: Oracle::new(10_000),
            snapshots: [const { None }; 3],
            scans: [const { None }; 2],
            follower: Follower::default(),
            disturbed: false,
            stopping: false,
            full_until: None,
            stats: Stats::default(),
            watch: None,
            tally: Tally::default(),
            answers: Answers::default(),
            number: 0,
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        self.open(false, None).map_err(Trouble::told)?;
        self.judge_states(self.oracle.allowed())
    }

    fn take_steps(&mut self, steps: &[Step], at: &Cell<usize>) -> Result<(), String> {
        for step in steps {
            at.set(step.number);
            self.take_step(step)?;
        }
        at.set(usize::MAX);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let ops = [
            Op::Close { by_drop: false, read_only: false },
            Op::Compact,
            Op::Crash { seed: 1, stop_open_after: None, read_only: true },
        ];
        ops.into_iter().try_for_each(|op| self.take_step(&Step { number: self.number, op }))
    }

    fn take_step(&mut self, step: &Step) -> Result<(), String> {
        self.number = step.number;
        if self.full_until.is_some_and(|until| until <= step.number) {
            self.give_room();
        }
        let mut allowed = self.oracle.allowed();
        let done = self.step(&step.op);
        // Before a failure is met with a crash: a write of which nothing is known may be there afterwards.
        allowed.extend(self.oracle.perhaps());
        self.after(done).map_err(Trouble::told)?;
        let seq = self.db().stats().seq;
        let calls = self.disk.total_calls();
        self.tally.follow(&format!("{step} {calls} {} {seq}", self.disk.used_bytes()));
        if allowed.last().is_none_or(|last| !Arc::ptr_eq(last, &self.oracle.map)) {
            allowed.push(Arc::clone(&self.oracle.map));
        }
        self.judge_states(allowed)
    }

    /// What was answered, and every byte that is left.
    fn follow_end(&mut self) {
        let (answers, disk) = (self.answers.hash(), image_hash(&self.disk));
        self.tally.follow(&format!("answers {answers:x}, disk {disk:x}"));
    }

    fn judge_states(&mut self, allowed: Vec<Arc<Map>>) -> Result<(), String> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let ((states, calls, too_many), killed) = (watch.drain(), watch.drain_killed());
        self.tally.add("calls", calls);
        self.tally.add("moments_cut_short", too_many);
        let promised = Promised { allowed, now_ms: self.oracle.now_ms, given_floor: self.oracle.given_floor };
        // Time has not gone back while the power was off. What a clock that stands behind makes of it is another test's.
        let now_ms = self.oracle.now_ms;
        let options = Options { clock: Arc::new(move || now_ms), ..self.options() };
        for state in &states {
            self.tally.add("states", 1);
            if promised.given_floor > 1 {
                // Before the first write every world is the same.
                self.tally.meet(state.id);
            }
            let deep = state.id.is_multiple_of(DEEP_ONE_IN);
            judge(state, &promised, &options, deep, &mut self.tally)?;
        }
        for killed in &killed {
            judge_killed(killed, &promised, &options, &mut self.tally)?;
        }
        Ok(())
    }

    /// Decides what an error means, and looks at what the step has moved.
    fn after(&mut self, done: Done) -> Done {
        match done {
            Ok(()) => {}
            Err(Trouble::Engine(
                Error::Io { .. } | Error::Stopped { .. } | Error::Busy { .. } | Error::DiskFull { .. },
            )) if self.disturbed => {
                return self.disturbance();
            }
            // Of what was refused nothing was done, and everything can be read.
            Err(Trouble::Engine(Error::DiskFull { .. })) if self.full_until.is_some() => {
                self.tally.add("full_disks_met", 1);
                self.present().compare_all(self.db(), self.config.keys.min(200))?;
            }
            Err(trouble) => return Err(trouble),
        }
        if let Some(db) = &self.db
            && !self.disturbed
        {
            let stats = db.stats();
            require!(stats.stopped.is_none(), "writing has stopped by itself: {:?}", stats.stopped);
            require!(
                stats.seq + 1 == self.oracle.next_seq,
                "the next write is {}, not {}",
                stats.seq + 1,
                self.oracle.next_seq
            );
            // A memtable grows in doubling steps, which in the least of budgets weigh: a quarter is let through.
            let memory_bytes = stats.memtable_bytes + stats.cache_bytes;
            require!(
                memory_bytes <= stats.memory_budget_bytes + stats.memory_budget_bytes / 4,
                "{memory_bytes} bytes of memory are in use, of a budget of {}",
                stats.memory_budget_bytes
            );
            if self.number.is_multiple_of(FOLLOW_EVERY) {
                self.follow()?;
            }
        }
        self.note_stats();
        Ok(())
    }

    fn note_stats(&mut self) {
        let Some(db) = &self.db else { return };
        let stats = db.stats();
        let before = std::mem::replace(&mut self.stats, stats);
        let stats = &self.stats;
        let tally = &mut self.tally;
        for (name, level) in LEVEL_NAMES.into_iter().zip(&stats.levels) {
            tally.add(name, level.tables.min(1));
        }
        if stats.flushes < before.flushes || stats.compactions < before.compactions {
            return;
        }
        tally.add("flushes", stats.flushes - before.flushes);
        let compactions = stats.compactions - before.compactions;
        tally.add("compactions", compactions);
        tally.add(
            "stalls",
            stats.stalls_memory + stats.stalls_level_0 + stats.slowdowns_level_0
                - before.stalls_memory
                - before.stalls_level_0
                - before.slowdowns_level_0,
        );
        if compactions == 1 && stats.flushes == before.flushes {
            let deeper = |stats: &Stats| stats.levels.get(1..).map(<[_]>::to_vec);
            if stats.table_bytes_written == before.table_bytes_written
                && stats.disk_bytes == before.disk_bytes
            {
                tally.add("moves", 1);
            } else if deeper(stats) == deeper(&before) {
                tally.add("compactions_within_level_0", 1);
            }
        }
    }

    /// The disk has failed, as it was asked to: nothing else may be wrong, and a crash must leave what was promised.
    fn disturbance(&mut self) -> Done {
        self.tally.add("faults_met", 1);
        if self.stopping {
            self.tally.add("stopped_midway", 1);
            return self.crash(self.number as u64, None, false);
        }
        self.disk.clear_faults();
        self.disturbed = false;
        let Some(db) = self.db.clone() else {
            return self.reopen(false);
        };
        self.present().compare_all(&db, self.config.keys.min(200))?;
        if db.stats().stopped.is_none() {
            return Ok(());
        }
        require!(matches!(db.put("k", "v"), Err(Error::Stopped { .. })), "a stopped database takes writes");
        drop(db);
        match self.number % 3 {
            0 => self.crash(self.number as u64, None, false),
            1 => self.kill(None),
            _ => {
                self.let_go();
                // What had not been written to the log goes with the process.
                self.reopen(false)
            }
        }
    }

    fn give_room(&mut self) {
        self.disk.set_capacity(None);
        self.full_until = None;
    }

    fn present(&self) -> Moment<'_> {
        Moment { map: &self.oracle.map, now_ms: self.oracle.now_ms }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open between two steps")
    }

    fn options(&self) -> Options {
        let (clock_ms, ids) = (Arc::clone(&self.clock_ms), Arc::clone(&self.ids));
        Options {
            memory_budget_bytes: self.config.memory_budget_bytes,
            compression: self.config.compression,
            open_files_max: self.config.open_files_max,
            keep_changes_bytes: self.config.keep_changes_bytes,
            ..Options::new(
                Arc::new(move || clock_ms.load(Ordering::Relaxed)),
                Arc::new(move || u128::from(ids.fetch_add(1, Ordering::Relaxed)) << 64 | 0xca12),
            )
        }
    }

    fn step(&mut self, op: &Op) -> Done {
        match op {
            Op::Put(written, durability) => self.put(written, 0, *durability),
            Op::Fill { keyspace, first, count, len, durability } => {
                for index in 0..*count {
                    let key = (first + index * 7) % self.config.keys;
                    let written = Written { keyspace: *keyspace, key, len: *len, expires_in: None };
                    self.put(&written, index, *durability)?;
                }
                Ok(())
            }
            Op::Delete(keyspace, number, durability) => {
                let handle = self.db().with_durability(*durability).keyspace(*keyspace)?;
                let name = (*keyspace, key(*number));
                let result = handle.delete(&name.1);
                self.wrote(result, vec![Change::Delete(name)], *durability)
            }
            Op::DeleteRange(keyspace, stretch, durability) => {
                let handle = self.db().with_durability(*durability).keyspace(*keyspace)?;
                let (start, end) = stretch.bounds();
                let result = handle.delete_range(range(&start, end.as_deref()));
                self.wrote(result, range_change(*keyspace, start, end), *durability)
            }
            Op::Clear(keyspace) => {
                let result = self.db().keyspace(*keyspace)?.clear();
                self.wrote(result, vec![Change::Range(*keyspace, Vec::new(), None)], Durability::Sync)
            }
            Op::Batch { items, conditions, durability } => self.batch(items, conditions, *durability),
            Op::SyncAll => {
                let result = self.db().write(Batch::new()).map(|_| ());
                self.wrote(result, Vec::new(), Durability::Sync)
            }
            Op::Read { keyspace, snapshot, read } => self.read(*keyspace, *snapshot, read),
            Op::Snapshot(slot) => {
                let snapshot = self.db().snapshot()?;
                require!(snapshot.seq() + 1 == self.oracle.next_seq, "a snapshot at {}", snapshot.seq());
                let held = (snapshot, Arc::clone(&self.oracle.map), self.oracle.now_ms);
                self.snapshots[*slot] = Some(held);
                Ok(())
            }
            Op::Release(slot) => {
                self.snapshots[*slot] = None;
                Ok(())
            }
            Op::OpenScan { slot, keyspace, stretch } => {
                let (start, end) = stretch.bounds();
                let scan = self.db().keyspace(*keyspace)?.scan(range(&start, end.as_deref()));
                let map = live(&self.oracle.map, self.oracle.now_ms);
                let items = within(&map, *keyspace, &start, end.as_deref());
                let items = items.map(|(name, slot)| (name.clone(), slot.clone())).collect();
                self.scans[*slot] = Some((scan, Expected { keyspace: *keyspace, items }));
                Ok(())
            }
            Op::StepScan { slot, back, count } => self.step_scan(*slot, *back, *count),
            Op::DropScan(slot) => {
                self.scans[*slot] = None;
                Ok(())
            }
            Op::Flush => {
                self.db().flush()?;
                self.oracle.keep(Durability::Sync);
                self.check_kept()
            }
            Op::Compact => self.compact(),
            Op::Maintain(count) => {
                for _ in 0..*count {
                    self.db().maintain()?;
                    self.note_stats();
                }
                Ok(())
            }
            Op::Checkpoint => {
                let moved = self.db().checkpoint()?;
                self.oracle.keep(Durability::Sync);
                require!(
                    moved.before.wal <= moved.after.wal && moved.before.seq <= moved.after.seq,
                    "the checkpoint went back: {moved:?}"
                );
                Ok(())
            }
            Op::Backup => self.backup(),
            Op::Clock(by) => {
                let now = self.clock_ms.load(Ordering::Relaxed).saturating_add_signed(*by);
                self.clock_ms.store(now, Ordering::Relaxed);
                // It is read at once, so that it is known how far the engine has seen it go.
                drop(self.db().snapshot()?);
                let live_before = live(&self.oracle.map, self.oracle.now_ms).len();
                self.oracle.now_ms = self.oracle.now_ms.max(now);
                let live_now = live(&self.oracle.map, self.oracle.now_ms).len();
                self.tally.add("expired", (live_before - live_now) as u64);
                Ok(())
            }
            Op::Close { by_drop, read_only } => self.close(*by_drop, *read_only),
            Op::Kill { then_crash } => self.kill(*then_crash),
            Op::Crash { seed, stop_open_after, read_only } => self.crash(*seed, *stop_open_after, *read_only),
            Op::StopAfter(calls) => {
                self.disk.stop_after(*calls);
                (self.disturbed, self.stopping) = (true, true);
                Ok(())
            }
            Op::Fault { nth, operation, kind } => {
                self.disk.fail(Fault::nth(*nth, *kind).on(*operation));
                self.follower.disk_failed = true;
                self.disturbed = true;
                Ok(())
            }
            Op::Full { room, steps } => {
                self.disk.set_capacity(Some(self.disk.used_bytes() + room));
                self.full_until = Some(self.number + steps);
                Ok(())
            }
        }
    }

    /// Hands a write's result to the oracle.
    fn wrote(&mut self, result: Result<(), Error>, changes: Vec<Change>, durability: Durability) -> Done {
        match &result {
            Ok(()) => self.oracle.commit(changes, durability),
            // Where writing goes on, what failed is what came before the write: waiting, or reading for a condition.
            Err(Error::Io { .. }) if self.db().stats().stopped.is_some() => {
                self.tally.add("writes_unknown", 1);
                self.oracle.commit_perhaps(changes);
            }
            Err(_) => {}
        }
        Ok(result?)
    }

    fn put(&mut self, written: &Written, index: usize, durability: Durability) -> Done {
        let handle = self.db().with_durability(durability).keyspace(written.keyspace)?;
        let change = self.change(written, index);
        let Change::Put((_, key), value, expires_at_ms) = &change else { unreachable!() };
        let result = match expires_at_ms {
            None => handle.put(key, value),
            Some(at) => handle.put_with_expiry(key, value, *at),
        };
        let key = key.clone();
        self.wrote(result, vec![change], durability)?;
        if self.number.is_multiple_of(4) {
            let found = handle.get_entry(&key)?;
            self.present().require_entry((written.keyspace, key), found)?;
        }
        Ok(())
    }

    /// The bytes follow from the step's number and the entry's index in it.
    fn change(&self, written: &Written, index: usize) -> Change {
        let mut dice = Dice::new(self.config.seed.wrapping_add((self.number * 1000 + index) as u64));
        let repeats = dice.below(2) == 0;
        let mut value = vec![0; written.len];
        let filler = dice.next().to_le_bytes();
        for chunk in value.chunks_mut(8) {
            let bytes = if repeats { filler } else { dice.next().to_le_bytes() };
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        let expires_at_ms = written.expires_in.map(|by| self.oracle.now_ms.saturating_add_signed(by));
        Change::Put((written.keyspace, key(written.key)), value.into(), expires_at_ms)
    }

    fn batch(&mut self, items: &[Item], conditions: &[(u8, usize, Expect)], durability: Durability) -> Done {
        let (mut batch, mut changes) = (Batch::new(), Vec::new());
        batch.durability(durability);
        for (index, item) in items.iter().enumerate() {
            match item {
                Item::Put(written) => {
                    let change = self.change(written, index);
                    let Change::Put((keyspace, key), value, expires_at_ms) = &change else { unreachable!() };
                    batch.keyspace(*keyspace);
                    match expires_at_ms {
                        None => batch.put(key, value),
                        Some(at) => batch.put_with_expiry(key, value, *at),
                    };
                    changes.push(change);
                }
                Item::Delete(keyspace, number) => {
                    batch.keyspace(*keyspace).delete(key(*number));
                    changes.push(Change::Delete((*keyspace, key(*number))));
                }
                Item::Range(keyspace, stretch) => {
                    let (start, end) = stretch.bounds();
                    batch.keyspace(*keyspace).delete_range(range(&start, end.as_deref()));
                    changes.extend(range_change(*keyspace, start, end));
                }
            }
        }
        require!(batch.len() == changes.len(), "{} entries, not {}", batch.len(), changes.len());
        let too_long = batch.encoded_len() as u64 > self.config.memory_budget_bytes / 4;
        let (conditions, unmet) = self.conditions(conditions);
        match (self.db().write_if(batch, &conditions), unmet) {
            (Err(Error::Invalid { .. }), _) if too_long => {
                self.tally.add("batches_too_long", 1);
                Ok(())
            }
            (Ok(Outcome::Unmet { index }), Some(unmet)) if index == unmet => {
                self.tally.add("conditions_unmet", 1);
                Ok(())
            }
            (Ok(Outcome::Written(seq)), None) if !too_long => {
                self.tally.add("conditions_met", u64::from(!conditions.is_empty()));
                self.wrote(Ok(()), changes, durability)?;
                require!(seq + 1 == self.oracle.next_seq, "the batch's last entry is {seq}");
                Ok(())
            }
            // A group in which nothing is accepted does nothing, so that an unmet batch cannot fail.
            (Err(error @ Error::Io { .. }), None) => self.wrote(Err(error), changes, durability),
            (Err(error), _) => Err(error.into()),
            (Ok(outcome), unmet) => {
                Err(Trouble::Wrong(format!("{outcome:?}, expected {unmet:?} (too long: {too_long})")))
            }
        }
    }

    /// The conditions, and the index of the first that does not hold.
    fn conditions(&self, wanted: &[(u8, usize, Expect)]) -> (Vec<Condition>, Option<usize>) {
        let mut unmet = None;
        let mut conditions = Vec::new();
        for (index, (keyspace, number, expect)) in wanted.iter().enumerate() {
            let name = (*keyspace, key(*number));
            let slot = self.oracle.map.get(&name).filter(|slot| slot.is_live(self.oracle.now_ms));
            let (value, seq) = slot.map_or((&b""[..], 0), |slot| (&*slot.value, slot.seq));
            let (condition, holds) = match expect {
                Expect::Absent => (Condition::absent(&name.1), slot.is_none()),
                Expect::ItsValue => (Condition::value_equal(&name.1, value), slot.is_some()),
                Expect::OtherValue => (Condition::value_equal(&name.1, [value, b"x"].concat()), false),
                Expect::ItsSeq => (Condition::seq_equal(&name.1, seq), slot.is_some()),
                Expect::OtherSeq => (Condition::seq_equal(&name.1, seq + 1), false),
            };
            conditions.push(condition.in_keyspace(*keyspace));
            if !holds {
                unmet.get_or_insert(index);
            }
        }
        (conditions, unmet)
    }

    fn read(&mut self, keyspace: u8, snapshot: Option<usize>, read: &Read) -> Done {
        let held = snapshot.and_then(|slot| self.snapshots[slot].as_ref());
        let (reader, moment): (Reader, _) = match held {
            Some((snapshot, map, now_ms)) => {
                self.tally.add("snapshot_reads", 1);
                (Reader::clone(&*snapshot.keyspace(keyspace)?), Moment { map, now_ms: *now_ms })
            }
            None => {
                let present = Moment { map: &self.oracle.map, now_ms: self.oracle.now_ms };
                (Reader::clone(&*self.db().keyspace(keyspace)?), present)
            }
        };
        check_read(&reader, moment, keyspace, read, &mut self.answers)
    }

    fn step_scan(&mut self, slot: usize, back: bool, count: usize) -> Done {
        let now_ms = self.oracle.now_ms;
        let Some((scan, expected)) = &mut self.scans[slot] else { return Ok(()) };
        for _ in 0..count {
            self.tally.add("scan_steps", 1);
            let item = if back { scan.next_entry_back() } else { scan.next_entry() }.transpose();
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    let end = if back { scan.next_entry_back() } else { scan.next_entry() };
                    require!(end.is_none(), "a scan goes on behind an error");
                    self.scans[slot] = None;
                    return Err(error.into());
                }
            };
            // A value that has expired since the scan began may be left out.
            loop {
                let next = if back { expected.items.pop_back() } else { expected.items.pop_front() };
                let told = || format!("a scan of keyspace {}: {next:?}, found {item:?}", expected.keyspace);
                match (&next, &item) {
                    (None, None) => {
                        self.scans[slot] = None;
                        return Ok(());
                    }
                    (Some((name, slot)), Some((key, entry))) if name.1 == *key && is_entry(slot, entry) => {
                        break;
                    }
                    (Some((_, slot)), _) if !slot.is_live(now_ms) => {}
                    _ => return Err(Trouble::Wrong(told())),
                }
            }
        }
        Ok(())
    }

    /// Promise 10: what is kept of old logs, for their changes.
    fn check_kept(&self) -> Done {
        let (kept, allowed) = (self.db().stats().changes_bytes, self.config.keep_changes_bytes);
        require!(kept <= allowed, "logs of {kept} bytes are kept for their changes, {allowed} are allowed");
        Ok(())
    }

    fn compact(&mut self) -> Done {
        self.db().compact()?;
        self.oracle.keep(Durability::Sync);
        self.check_kept()?;
        if self.disturbed || self.snapshots.iter().any(Option::is_some) {
            return Ok(());
        }
        let levels = self.db().stats().levels;
        let occupied = levels.iter().filter(|level| level.tables > 0).count();
        let entries: u64 = levels.iter().map(|level| level.entries).sum();
        let deletes: u64 = levels.iter().map(|level| level.deletes).sum();
        let live = live(&self.oracle.map, self.oracle.now_ms).len() as u64;
        require!(
            occupied <= 1 && deletes == 0 && entries == live,
            "compacted to {levels:?}, {live} are live"
        );
        Ok(())
    }

    fn backup(&mut self) -> Done {
        let place = Faulty::default();
        let report = self.db().backup(&place, BackupMode::Copy)?;
        self.oracle.keep(Durability::Sync);
        require!(report.seq + 1 == self.oracle.next_seq, "a backup up to {}", report.seq);
        self.tally.add("backups", 1);
        let place = place.crash(self.number as u64);
        let copy = Db::open_with(Arc::new(place), self.options())?;
        self.present().compare_all(&copy, self.config.keys.min(200))?;
        copy.put("k", "in the backup alone")?;
        copy.close()?;
        Ok(())
    }

    fn close(&mut self, by_drop: bool, read_only: bool) -> Done {
        if !self.disturbed {
            self.knock(&self.disk, true)?;
        }
        if !by_drop {
            let closed = self.db().close();
            let disturbed =
                self.disturbed && matches!(closed, Err(Error::Io { .. } | Error::DiskFull { .. }));
            let full = self.full_until.is_some() && matches!(closed, Err(Error::DiskFull { .. }));
            if !(disturbed || full) {
                closed?;
            }
            require!(matches!(self.db().get("k"), Err(Error::Closed)), "a closed database answers");
        }
        self.let_go();
        if self.disturbed || self.full_until.is_some() {
            // Nobody has heard whether the log could be sealed.
            return self.reopen(false);
        }
        self.tally.add("closes", 1);
        let next_seq = self.oracle.next_seq;
        self.oracle.keep(Durability::Sync);
        if read_only {
            self.look(&self.disk, false)?;
        }
        self.reopen(false)?;
        if !self.disturbed {
            require!(self.db().recovery().sealed, "a clean close was not seen: {:?}", self.db().recovery());
            require!(self.oracle.next_seq == next_seq, "{} follows {next_seq}", self.oracle.next_seq);
        }
        Ok(())
    }

    fn kill(&mut self, then_crash: Option<u64>) -> Done {
        self.tally.add("kills", 1);
        let mut found = self.disk.kill();
        self.let_go();
        if let Some(seed) = then_crash {
            self.tally.add("crashes", 1);
            found = found.crash(seed);
        }
        self.go_on_with(found);
        (self.disturbed, self.stopping) = (false, false);
        self.reopen(then_crash.is_some())
    }

    fn crash(&mut self, seed: u64, stop_open_after: Option<u64>, read_only: bool) -> Done {
        self.tally.add("crashes", 1);
        let found = self.disk.crash(seed);
        // The same moment could have come out otherwise, too.
        let other = self.disk.crash(seed + 1_000_000);
        self.let_go();
        (self.disturbed, self.stopping) = (false, false);
        self.look(&other, true)?;
        self.go_on_with(found);
        if read_only {
            self.look(&self.disk, true)?;
        }
        if let Some(calls) = stop_open_after {
            self.disk.stop_after(calls);
            match Db::open_with(Arc::new(self.disk.clone()), self.options()) {
                // The disk may stop later than the open ends.
                Ok(_) => {}
                Err(Error::Io { .. }) => self.tally.add("opens_stopped", 1),
                Err(error) => return Err(error.into()),
            }
            self.go_on_with(self.disk.crash(seed + 1));
        }
        self.reopen(true)
    }

    fn go_on_with(&mut self, disk: Faulty) {
        self.disk = disk;
        if let Some(watch) = &mut self.watch {
            watch.go_on_with(&self.disk);
        }
    }

    fn let_go(&mut self) {
        // Time goes on while a database is closed. What a clock that stands behind makes of it is another test's.
        self.clock_ms.fetch_max(self.oracle.now_ms, Ordering::Relaxed);
        self.oracle.now_ms = self.clock_ms.load(Ordering::Relaxed);
        self.snapshots = [const { None }; 3];
        self.scans = [const { None }; 2];
        self.follower.end();
        self.db = None;
    }

    /// Tries to open a disk that is open already: a writer is alone, and readers let in nobody but readers.
    fn knock(&self, disk: &Faulty, held_by_writer: bool) -> Done {
        let writer = Db::open_with(Arc::new(disk.clone()), self.options());
        require!(matches!(writer.err(), Some(Error::Locked { .. })), "a writer came in beside another");
        match (Db::open_read_only_with(Arc::new(disk.clone()), self.options()), held_by_writer) {
            (Err(Error::Locked { .. }), true) | (Ok(_), false) => Ok(()),
            (Ok(_), true) => Err(Trouble::Wrong("a reader came in beside a writer".into())),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Opens a disk for reading and holds what is there against the oracle, which stays as it is.
    fn look(&self, disk: &Faulty, power_lost: bool) -> Done {
        let used_bytes = disk.used_bytes();
        let check = verify(Arc::new(disk.clone()))?;
        require!(check.ok(), "the check finds damage: {check:?}");
        let db = Db::open_read_only_with(Arc::new(disk.clone()), self.options())?;
        let found = everything(&db)?;
        let mut oracle = self.oracle.clone();
        oracle.recover(&found, power_lost).map_err(Trouble::Wrong)?;
        require!(matches!(db.put("k", "v"), Err(Error::ReadOnly)), "a read-only database takes writes");
        self.knock(disk, false)?;
        drop(db);
        require!(disk.used_bytes() == used_bytes, "a read-only open changed the disk");
        Ok(())
    }

    fn reopen(&mut self, power_lost: bool) -> Done {
        self.open(power_lost, Some(self.oracle.next_seq))
    }

    fn open(&mut self, power_lost: bool, next_seq: Option<u64>) -> Done {
        let db = loop {
            match Db::open_with(Arc::new(self.disk.clone()), self.options()) {
                Ok(db) => break db,
                Err(Error::Io { .. }) if self.stopping => {
                    self.tally.add("opens_stopped", 1);
                    self.go_on_with(self.disk.crash(self.number as u64));
                    (self.disturbed, self.stopping) = (false, false);
                    return self.open(true, next_seq);
                }
                Err(Error::Io { .. } | Error::DiskFull { .. } | Error::Busy { .. }) if self.disturbed => {
                    self.disk.clear_faults();
                    self.disturbed = false;
                }
                Err(Error::DiskFull { .. }) if self.full_until.is_some() => {
                    self.tally.add("opens_without_room", 1);
                    self.give_room();
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.stats = Stats::default();
        let report = db.recovery();
        self.tally.add("torn_tails", u64::from(report.torn_bytes > 0));
        self.tally.add("sealed_opens", u64::from(report.sealed));
        self.tally.add("several_logs", u64::from(report.wals > 1));
        let found = match everything(&db) {
            Err(Trouble::Engine(Error::Io { .. })) if self.disturbed => {
                // Only what was asked for; once more, when it is over.
                if self.stopping {
                    drop(db);
                    self.go_on_with(self.disk.crash(self.number as u64));
                    (self.disturbed, self.stopping) = (false, false);
                    return self.open(true, next_seq);
                }
                self.disk.clear_faults();
                self.disturbed = false;
                everything(&db)?
            }
            found => found?,
        };
        let lost = self.oracle.recover(&found, power_lost).map_err(Trouble::Wrong)?;
        self.tally.add("commits_lost", lost as u64);
        let seq = db.stats().seq + 1;
        require!(
            seq >= self.oracle.seq_floor,
            "sequence number {seq} could be given again: {} came before",
            self.oracle.seq_floor
        );
        self.tally.add("jumps", u64::from(next_seq.is_some_and(|next_seq| seq > next_seq + (1 << 31))));
        (self.oracle.next_seq, self.oracle.seq_floor) = (seq, seq);
        if self.config.keep_changes_bytes > 0 && !self.disturbed {
            let kept = self.follower.begin(&db, &self.oracle.map)?;
            self.tally.add("changes_kept_over_opens", u64::from(kept));
        }
        self.db = Some(db);
        Ok(())
    }

    /// Reads the changes, and begins there after a crash if nothing can be lost any more.
    fn follow(&mut self) -> Done {
        let Some(db) = &self.db else { return Ok(()) };
        let count = self.follower.follow(db, &self.oracle.map, self.oracle.now_ms)?;
        self.tally.add("changes_followed", count);
        if self.oracle.is_safe() {
            self.follower.note_safe(self.oracle.next_seq - 1, &self.oracle.map);
        }
        Ok(())
    }
}

/// A range delete of nothing is no entry.
fn range_change(keyspace: u8, start: Vec<u8>, end: Option<Vec<u8>>) -> Vec<Change> {
    if end.as_ref() == Some(&start) { Vec::new() } else { vec![Change::Range(keyspace, start, end)] }
}
