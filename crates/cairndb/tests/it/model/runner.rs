//! Runner: a script, on the engine and on the oracle.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

use cairndb::storage::{Fault, Faulty};
use cairndb::{
    BackupMode, Batch, Condition, Db, Durability, Entry, Error, KeyRange, Options, Outcome, Reader, Scan,
    Snapshot, Stats, verify,
};

use super::oracle::{Change, Map, Name, Oracle, Slot, differences, live, within};
use super::script::{Config, Dice, Expect, Item, KEYSPACES, Op, Read, Step, Turn, Written, key};

/// How often each thing happened that the scripts are there to make happen.
#[derive(Clone, Debug, Default)]
pub(super) struct Reached {
    /// Most tables seen at each level.
    pub(super) tables: [u64; 7],
    pub(super) flushes: u64,
    pub(super) compactions: u64,
    pub(super) compactions_within_level_0: u64,
    pub(super) moves: u64,
    pub(super) crashes: u64,
    pub(super) kills: u64,
    pub(super) torn_tails: u64,
    pub(super) commits_lost: u64,
    pub(super) opens_stopped: u64,
    pub(super) closes: u64,
    pub(super) sealed_opens: u64,
    pub(super) several_logs: u64,
    pub(super) jumps: u64,
    pub(super) stopped_midway: u64,
    pub(super) faults_met: u64,
    pub(super) writes_unknown: u64,
    pub(super) conditions_met: u64,
    pub(super) conditions_unmet: u64,
    pub(super) batches_too_long: u64,
    pub(super) expired: u64,
    pub(super) snapshot_reads: u64,
    pub(super) scan_steps: u64,
    pub(super) backups: u64,
    pub(super) stalls: u64,
}

impl Reached {
    pub(super) fn add(&mut self, other: &Reached) {
        for (mine, theirs) in self.tables.iter_mut().zip(other.tables) {
            *mine = (*mine).max(theirs);
        }
        let (mine, theirs) = (self.counts(), other.clone().counts().map(|count| *count));
        for (mine, theirs) in mine.into_iter().zip(theirs) {
            *mine += theirs;
        }
    }

    fn counts(&mut self) -> [&mut u64; 24] {
        [
            &mut self.flushes,
            &mut self.compactions,
            &mut self.compactions_within_level_0,
            &mut self.moves,
            &mut self.crashes,
            &mut self.kills,
            &mut self.torn_tails,
            &mut self.commits_lost,
            &mut self.opens_stopped,
            &mut self.closes,
            &mut self.sealed_opens,
            &mut self.several_logs,
            &mut self.jumps,
            &mut self.stopped_midway,
            &mut self.faults_met,
            &mut self.writes_unknown,
            &mut self.conditions_met,
            &mut self.conditions_unmet,
            &mut self.batches_too_long,
            &mut self.expired,
            &mut self.snapshot_reads,
            &mut self.scan_steps,
            &mut self.backups,
            &mut self.stalls,
        ]
    }

    /// A short run is no proof of much, but these it must have met.
    pub(super) fn require_a_little(&self) {
        assert!(self.tables[0] > 0 && self.tables[6] > 0 && self.flushes > 0, "{self:#?}");
        assert!(self.compactions > 0 && self.crashes > 0 && self.torn_tails > 0, "{self:#?}");
    }

    /// The long run must have met everything.
    pub(super) fn require_everything(mut self) {
        let levels = [0, 4, 5, 6].map(|level| self.tables[level]);
        let told = format!("{self:#?}");
        assert!(levels.into_iter().all(|tables| tables > 0), "{told}");
        assert!(self.counts().iter().all(|count| **count > 0), "{told}");
    }
}

/// What ends a step before its end.
enum Trouble {
    /// The engine has answered with an error, which may be what the disk was asked for.
    Engine(Error),
    /// The engine is wrong.
    Wrong(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Engine(error)
    }
}

type Done = Result<(), Trouble>;

macro_rules! require {
    ($holds:expr, $($told:tt)*) => {
        if !$holds {
            return Err(Trouble::Wrong(format!($($told)*)));
        }
    };
}

thread_local! {
    /// Panics of this thread are an answer, not to be printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a script; what it reached, or what went wrong.
pub(super) fn run(config: &Config, steps: &[Step]) -> Result<Reached, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                // The first one: others follow from it.
                PANIC.with_borrow_mut(|told| {
                    if told.is_empty() {
                        *told = info.to_string();
                    }
                });
            } else {
                print(info);
            }
        }));
    });
    QUIET.set(true);
    PANIC.with_borrow_mut(String::clear);
    let at = Cell::new(0);
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| Runner::run(config, steps, &at)));
    QUIET.set(false);
    let told = match ran {
        Ok(Ok(reached)) => return Ok(reached),
        Ok(Err(told)) => told,
        Err(_) => PANIC.with_borrow(|told| format!("panic: {told}")),
    };
    let step = steps.get(at.get()).map_or("the end".to_string(), Step::to_string);
    Err(format!("at {step}: {told}"))
}

thread_local! {
    static PANIC: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

struct Runner<'a> {
    config: &'a Config,
    disk: Faulty,
    clock_ms: Arc<AtomicU64>,
    ids: Arc<AtomicU64>,
    /// `None` only while it is being opened again.
    db: Option<Db>,
    oracle: Oracle,
    snapshots: [Option<(Snapshot, Arc<Map>, u64)>; 3],
    scans: [Option<(Scan, Expected)>; 2],
    /// The disk has been asked to fail.
    disturbed: bool,
    /// ... for good, so that only a crash helps.
    stopping: bool,
    stats: Stats,
    reached: Reached,
    number: usize,
}

/// What an open scan has still to answer.
struct Expected {
    keyspace: u8,
    items: VecDeque<(Name, Slot)>,
}

impl Runner<'_> {
    fn run(config: &Config, steps: &[Step], at: &Cell<usize>) -> Result<Reached, String> {
        let mut runner = Runner {
            config,
            disk: Faulty::default(),
            clock_ms: Arc::new(AtomicU64::new(10_000)),
            ids: Arc::new(AtomicU64::new(1)),
            db: None,
            oracle: Oracle::new(10_000),
            snapshots: [const { None }; 3],
            scans: [const { None }; 2],
            disturbed: false,
            stopping: false,
            stats: Stats::default(),
            reached: Reached::default(),
            number: 0,
        };
        let told = |trouble| match trouble {
            Trouble::Wrong(told) => told,
            Trouble::Engine(error) => format!("the engine answered {error:?}"),
        };
        runner.open(false, None).map_err(told)?;
        for (index, step) in steps.iter().enumerate() {
            at.set(index);
            runner.number = step.number;
            let done = runner.step(&step.op);
            runner.after(done).map_err(told)?;
        }
        at.set(steps.len());
        let end = [
            Op::Close { by_drop: false, read_only: false },
            Op::Compact,
            Op::Crash { seed: 1, stop_open_after: None, read_only: true },
        ];
        for op in end {
            let done = runner.step(&op);
            runner.after(done).map_err(told)?;
        }
        Ok(runner.reached)
    }

    /// Decides what an error means, and looks at what the step has moved.
    fn after(&mut self, done: Done) -> Done {
        match done {
            Ok(()) => {}
            Err(Trouble::Engine(Error::Io { .. } | Error::Stopped { .. } | Error::Busy { .. }))
                if self.disturbed =>
            {
                return self.disturbance();
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
        }
        self.note_stats();
        Ok(())
    }

    fn note_stats(&mut self) {
        let Some(db) = &self.db else { return };
        let stats = db.stats();
        let before = std::mem::replace(&mut self.stats, stats);
        let stats = &self.stats;
        let reached = &mut self.reached;
        for (most, level) in reached.tables.iter_mut().zip(&stats.levels) {
            *most = (*most).max(level.tables);
        }
        if stats.flushes < before.flushes || stats.compactions < before.compactions {
            return;
        }
        reached.flushes += stats.flushes - before.flushes;
        let compactions = stats.compactions - before.compactions;
        reached.compactions += compactions;
        reached.stalls += stats.stalls_memory + stats.stalls_level_0 + stats.slowdowns_level_0
            - before.stalls_memory
            - before.stalls_level_0
            - before.slowdowns_level_0;
        if compactions == 1 && stats.flushes == before.flushes {
            let deeper = |stats: &Stats| stats.levels.get(1..).map(<[_]>::to_vec);
            if stats.table_bytes_written == before.table_bytes_written
                && stats.disk_bytes == before.disk_bytes
            {
                reached.moves += 1;
            } else if deeper(stats) == deeper(&before) {
                reached.compactions_within_level_0 += 1;
            }
        }
    }

    /// The disk has failed, as it was asked to: nothing else may be wrong, and a crash must leave what was promised.
    fn disturbance(&mut self) -> Done {
        self.reached.faults_met += 1;
        if self.stopping {
            self.reached.stopped_midway += 1;
            return self.crash(self.number as u64, None, false);
        }
        self.disk.clear_faults();
        self.disturbed = false;
        let Some(db) = self.db.clone() else {
            return self.reopen(false);
        };
        self.compare_all(&db, &self.oracle.map, self.oracle.now_ms)?;
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

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open between two steps")
    }

    fn options(&self) -> Options {
        let (clock_ms, ids) = (Arc::clone(&self.clock_ms), Arc::clone(&self.ids));
        Options {
            memory_budget_bytes: self.config.memory_budget_bytes,
            compression: self.config.compression,
            open_files_max: self.config.open_files_max,
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
                Ok(())
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
                self.reached.expired += (live_before - live_now) as u64;
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
            Op::Fault { nth, operation } => {
                self.disk.fail(Fault::nth(*nth, std::io::ErrorKind::Other).on(*operation));
                self.disturbed = true;
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
                self.reached.writes_unknown += 1;
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
            self.require_entry((written.keyspace, key), found, &self.oracle.map, self.oracle.now_ms)?;
        }
        Ok(())
    }

    /// The bytes follow from the step's number and the entry's index in it.
    fn change(&self, written: &Written, index: usize) -> Change {
        let mut dice = Dice((self.number * 1000 + index) as u64);
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
                self.reached.batches_too_long += 1;
                Ok(())
            }
            (Ok(Outcome::Unmet { index }), Some(unmet)) if index == unmet => {
                self.reached.conditions_unmet += 1;
                Ok(())
            }
            (Ok(Outcome::Written(seq)), None) if !too_long => {
                self.reached.conditions_met += u64::from(!conditions.is_empty());
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
        let (reader, map, now_ms): (Reader, _, _) = match held {
            Some((snapshot, map, now_ms)) => {
                self.reached.snapshot_reads += 1;
                (Reader::clone(&*snapshot.keyspace(keyspace)?), map, *now_ms)
            }
            None => (Reader::clone(&*self.db().keyspace(keyspace)?), &self.oracle.map, self.oracle.now_ms),
        };
        match read {
            Read::Get(number) => {
                let found = reader.get_entry(key(*number))?;
                self.require_entry((keyspace, key(*number)), found, map, now_ms)?;
            }
            Read::GetMany(numbers) => {
                let found = reader.get_many(numbers.iter().map(|number| key(*number)))?;
                require!(found.len() == numbers.len(), "{} answers", found.len());
                for (number, found) in numbers.iter().zip(found) {
                    let slot = map.get(&(keyspace, key(*number))).filter(|slot| slot.is_live(now_ms));
                    let same = found.as_deref() == slot.map(|slot| &*slot.value);
                    require!(same, "get_many of k{number}: {found:?}, expected {slot:?}");
                }
            }
            Read::Forward(stretch) => {
                let (start, end) = stretch.bounds();
                let expected = expected(map, keyspace, &start, end.as_deref(), now_ms);
                let mut scan = reader.scan(range(&start, end.as_deref()));
                let found = collect(|| scan.next_entry())?;
                require_items(&expected, &found)?;
            }
            Read::Backward(stretch) => {
                let (start, end) = stretch.bounds();
                let mut expected = expected(map, keyspace, &start, end.as_deref(), now_ms);
                expected.reverse();
                let mut scan = reader.scan(range(&start, end.as_deref()));
                let found = collect(|| scan.next_entry_back())?;
                require_items(&expected, &found)?;
            }
            Read::BothEnds(stretch, bits) => {
                let (start, end) = stretch.bounds();
                let expected = expected(map, keyspace, &start, end.as_deref(), now_ms);
                let (mut scan, mut dice) = (reader.scan(range(&start, end.as_deref())), Dice(*bits));
                let (mut front, mut back) = (Vec::new(), Vec::new());
                loop {
                    let from_back = dice.below(2) == 0;
                    let item = if from_back { scan.next_entry_back() } else { scan.next_entry() };
                    let Some(item) = item.transpose()? else { break };
                    if from_back { back.push(item) } else { front.push(item) }
                }
                require!(scan.next().is_none() && scan.next_back().is_none(), "a scan that is over goes on");
                front.extend(back.into_iter().rev());
                require_items(&expected, &front)?;
            }
            Read::Prefix(prefix) => {
                let all = expected(map, keyspace, prefix, None, now_ms);
                let expected: Vec<_> = all.into_iter().filter(|(key, _)| key.starts_with(prefix)).collect();
                let mut scan = reader.scan_prefix(prefix);
                let found = collect(|| scan.next_entry())?;
                require_items(&expected, &found)?;
            }
            Read::Cursor(stretch, turns) => {
                let (start, end) = stretch.bounds();
                let expected = expected(map, keyspace, &start, end.as_deref(), now_ms);
                walk_cursor(&reader, &expected, range(&start, end.as_deref()), turns)?;
            }
        }
        Ok(())
    }

    fn step_scan(&mut self, slot: usize, back: bool, count: usize) -> Done {
        let now_ms = self.oracle.now_ms;
        let Some((scan, expected)) = &mut self.scans[slot] else { return Ok(()) };
        for _ in 0..count {
            self.reached.scan_steps += 1;
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

    fn compact(&mut self) -> Done {
        self.db().compact()?;
        self.oracle.keep(Durability::Sync);
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
        self.reached.backups += 1;
        let place = place.crash(self.number as u64);
        let copy = Db::open_with(Arc::new(place), self.options())?;
        self.compare_all(&copy, &self.oracle.map, self.oracle.now_ms)?;
        copy.put("k", "in the backup alone")?;
        copy.close()?;
        Ok(())
    }

    fn close(&mut self, by_drop: bool, read_only: bool) -> Done {
        if !by_drop {
            let closed = self.db().close();
            if !(self.disturbed && matches!(closed, Err(Error::Io { .. }))) {
                closed?;
            }
            require!(matches!(self.db().get("k"), Err(Error::Closed)), "a closed database answers");
        }
        self.let_go();
        if self.disturbed {
            // Nobody has heard whether the log could be sealed.
            return self.reopen(false);
        }
        self.reached.closes += 1;
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
        self.reached.kills += 1;
        let mut found = self.disk.kill();
        self.let_go();
        if let Some(seed) = then_crash {
            self.reached.crashes += 1;
            found = found.crash(seed);
        }
        self.disk = found;
        (self.disturbed, self.stopping) = (false, false);
        self.reopen(then_crash.is_some())
    }

    fn crash(&mut self, seed: u64, stop_open_after: Option<u64>, read_only: bool) -> Done {
        self.reached.crashes += 1;
        let found = self.disk.crash(seed);
        // The same moment could have come out otherwise, too.
        let other = self.disk.crash(seed + 1_000_000);
        self.let_go();
        (self.disturbed, self.stopping) = (false, false);
        self.look(&other, true)?;
        self.disk = found;
        if read_only {
            self.look(&self.disk, true)?;
        }
        if let Some(calls) = stop_open_after {
            self.disk.stop_after(calls);
            match Db::open_with(Arc::new(self.disk.clone()), self.options()) {
                // The disk may stop later than the open ends.
                Ok(_) => {}
                Err(Error::Io { .. }) => self.reached.opens_stopped += 1,
                Err(error) => return Err(error.into()),
            }
            self.disk = self.disk.crash(seed + 1);
        }
        self.reopen(true)
    }

    fn let_go(&mut self) {
        // Time goes on while a database is closed. What a clock that stands behind makes of it is another test's.
        self.clock_ms.fetch_max(self.oracle.now_ms, Ordering::Relaxed);
        self.oracle.now_ms = self.clock_ms.load(Ordering::Relaxed);
        self.snapshots = [const { None }; 3];
        self.scans = [const { None }; 2];
        self.db = None;
    }

    /// Opens a disk for reading and holds what is there against the oracle, which stays as it is.
    fn look(&self, disk: &Faulty, power_lost: bool) -> Done {
        let used_bytes = disk.used_bytes();
        let check = verify(Arc::new(disk.clone()))?;
        require!(check.ok(), "the check finds damage: {check:?}");
        let db = Db::open_read_only_with(Arc::new(disk.clone()), self.options())?;
        let found = self.everything(&db)?;
        let mut oracle = self.oracle.clone();
        oracle.recover(&found, power_lost).map_err(Trouble::Wrong)?;
        require!(matches!(db.put("k", "v"), Err(Error::ReadOnly)), "a read-only database takes writes");
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
                    self.reached.opens_stopped += 1;
                    self.disk = self.disk.crash(self.number as u64);
                    (self.disturbed, self.stopping) = (false, false);
                    return self.open(true, next_seq);
                }
                Err(Error::Io { .. }) if self.disturbed => {
                    self.disk.clear_faults();
                    self.disturbed = false;
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.stats = Stats::default();
        let report = db.recovery();
        self.reached.torn_tails += u64::from(report.torn_bytes > 0);
        self.reached.sealed_opens += u64::from(report.sealed);
        self.reached.several_logs += u64::from(report.wals > 1);
        let found = match self.everything(&db) {
            Err(Trouble::Engine(Error::Io { .. })) if self.disturbed => {
                // Only what was asked for; once more, when it is over.
                if self.stopping {
                    drop(db);
                    self.disk = self.disk.crash(self.number as u64);
                    (self.disturbed, self.stopping) = (false, false);
                    return self.open(true, next_seq);
                }
                self.disk.clear_faults();
                self.disturbed = false;
                self.everything(&db)?
            }
            found => found?,
        };
        let lost = self.oracle.recover(&found, power_lost).map_err(Trouble::Wrong)?;
        self.reached.commits_lost += lost as u64;
        let seq = db.stats().seq + 1;
        require!(
            seq >= self.oracle.seq_floor,
            "sequence number {seq} could be given again: {} came before",
            self.oracle.seq_floor
        );
        self.reached.jumps += u64::from(next_seq.is_some_and(|next_seq| seq > next_seq + (1 << 31)));
        (self.oracle.next_seq, self.oracle.seq_floor) = (seq, seq);
        self.db = Some(db);
        Ok(())
    }

    /// Everything in all keyspaces.
    fn everything(&self, db: &Db) -> Result<Map, Trouble> {
        let mut found = Map::new();
        for keyspace in KEYSPACES {
            let mut scan = db.keyspace(keyspace)?.scan(..);
            while let Some((key, entry)) = scan.next_entry().transpose()? {
                let slot = Slot {
                    value: (&entry.value[..]).into(),
                    seq: entry.seq,
                    expires_at_ms: entry.expires_at_ms,
                };
                found.insert((keyspace, key), slot);
            }
        }
        Ok(found)
    }

    /// All of it by a scan, and every key by a get.
    fn compare_all(&self, db: &Db, map: &Map, now_ms: u64) -> Done {
        let (expected, found) = (live(map, now_ms), self.everything(db)?);
        require!(expected == found, "a whole scan differs:\n{}", differences(&expected, &found));
        for keyspace in KEYSPACES {
            let reader = db.keyspace(keyspace)?;
            for number in 0..self.config.keys.min(200) {
                let found = reader.get_entry(key(number))?;
                self.require_entry((keyspace, key(number)), found, map, now_ms)?;
            }
        }
        Ok(())
    }

    fn require_entry(&self, name: Name, found: Option<Entry>, map: &Map, now_ms: u64) -> Done {
        let slot = map.get(&name).filter(|slot| slot.is_live(now_ms));
        let same = match (slot, &found) {
            (None, None) => true,
            (Some(slot), Some(entry)) => is_entry(slot, entry),
            _ => false,
        };
        let key = name.1.escape_ascii();
        require!(same, "get of {}:{key} at {now_ms}: expected {slot:?}, found {found:?}", name.0);
        Ok(())
    }
}

fn is_entry(slot: &Slot, entry: &Entry) -> bool {
    *slot.value == entry.value[..] && slot.seq == entry.seq && slot.expires_at_ms == entry.expires_at_ms
}

fn range(start: &[u8], end: Option<&[u8]>) -> KeyRange {
    let end = end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.to_vec()));
    (Bound::Included(start.to_vec()), end).into()
}

/// A range delete of nothing is no entry.
fn range_change(keyspace: u8, start: Vec<u8>, end: Option<Vec<u8>>) -> Vec<Change> {
    if end.as_ref() == Some(&start) { Vec::new() } else { vec![Change::Range(keyspace, start, end)] }
}

type Items = Vec<(Vec<u8>, Slot)>;

fn expected(map: &Map, keyspace: u8, start: &[u8], end: Option<&[u8]>, now_ms: u64) -> Items {
    within(map, keyspace, start, end)
        .filter(|(_, slot)| slot.is_live(now_ms))
        .map(|(name, slot)| (name.1.clone(), slot.clone()))
        .collect()
}

fn collect(
    mut next: impl FnMut() -> Option<cairndb::Result<(Vec<u8>, Entry)>>,
) -> Result<Vec<(Vec<u8>, Entry)>, Trouble> {
    let mut all = Vec::new();
    while let Some(item) = next().transpose()? {
        all.push(item);
    }
    Ok(all)
}

fn require_items(expected: &Items, found: &[(Vec<u8>, Entry)]) -> Done {
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        let same = expected.0 == found.0 && is_entry(&expected.1, &found.1);
        require!(same, "item {index} of a scan: expected {expected:?}, found {found:?}");
    }
    let (expected, found) = (expected.len(), found.len());
    require!(expected == found, "a scan of {found} items, expected {expected}");
    Ok(())
}

/// A cursor stands between two keys; so does an index into what is expected.
fn walk_cursor(reader: &Reader, expected: &Items, range: KeyRange, turns: &[Turn]) -> Done {
    let (mut cursor, mut at) = (reader.cursor(range), 0);
    for (index, turn) in turns.iter().enumerate() {
        let (found, wanted) = match turn {
            Turn::First => {
                cursor.seek_first();
                at = 0;
                continue;
            }
            Turn::Last => {
                cursor.seek_last();
                at = expected.len();
                continue;
            }
            Turn::Seek(number) => {
                cursor.seek(key(*number));
                at = expected.partition_point(|(other, _)| *other < key(*number));
                continue;
            }
            Turn::Next => {
                let wanted = expected.get(at);
                at = (at + 1).min(expected.len());
                (cursor.next()?, wanted)
            }
            Turn::Prev => {
                let wanted = at.checked_sub(1).and_then(|before| expected.get(before));
                at = at.saturating_sub(1);
                (cursor.prev()?, wanted)
            }
        };
        let same = match (found, wanted) {
            (None, None) => true,
            (Some((key, value)), Some((wanted, slot))) => key == *wanted && *value == *slot.value,
            _ => false,
        };
        require!(same, "turn {index} ({turn:?}) of a cursor: expected {wanted:?}, found {found:?}");
        if let Some((_, slot)) = wanted {
            let entry = cursor.entry();
            let same = entry.as_ref().is_some_and(|entry| is_entry(slot, entry));
            require!(same, "the entry after turn {index}: expected {slot:?}, found {entry:?}");
        }
    }
    Ok(())
}
