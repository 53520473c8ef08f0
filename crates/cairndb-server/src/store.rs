//! The store: the databases, read in the present, and written in turns that share a write and a sync.
//!
//! A write is staged: it goes into the batch of the turn that gathers, and into that turn's overlay, where later commands
//! find it. When a client's pipeline has run, the client settles the turn: whoever comes first writes the batch for all,
//! and replies go out when it is as durable as the server promises. While one turn is written, the next gathers.
//!
//! Invariants:
//! - I1. What reads without the turn's lock is what has been written, and is as durable as promised.
//! - I2. Who has looked at an overlay replies only after that turn has settled; if it fails, so does the reply.
//! - I3. A turn that gathers on top of one that fails, fails with it: its commands have seen what never was.
//! - I4. Commands that write run one after the other, under the turn's lock; a transaction holds it from end to end.
//!
//! When things break: an error of the engine goes to every client whose commands were in the turn; nothing of the turn
//! was written, and the next begins anew.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, ControlFlow, Deref};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use cairndb::{Batch, Db, Entry, KeyRange, Keyspace, Look, Scan, SeqNo, Value};
use tokio::sync::Notify;

use crate::events::Event;
use crate::latency::Latency;
use crate::log;
use crate::metrics::TurnMeter;

/// How many databases a client can select, as in Redis's own configuration.
pub(crate) const DATABASES: usize = 16;

/// The keyspace of what the server keeps for itself.
pub(crate) const KEYSPACE_SERVER: u8 = 254;

/// In the server's keyspace: `t`, when, the database, and the key that expires then.
const EXPIRY: u8 = b't';

/// In the server's keyspace: written to see whether there is room.
const ROOM: u8 = b'r';

/// Longer keys expire when they are read, and leave with a compaction, but the sweep does not know them.
const SWEPT_KEY_LEN_MAX: usize = 65_535 - 10;

/// How many values are read at once for one command.
const VISITED_AT_ONCE: usize = 1_000;

/// How many keys of a database are counted, before the rest is estimated. Counting takes some milliseconds.
const COUNTED_MAX: u64 = 50_000;

/// The databases of one directory.
pub(crate) struct Store {
    db: Db,
    databases: Vec<Keyspace>,
    own: Keyspace,
    turn: Mutex<Turn>,
    /// How long the batch is that gathers: what each command looks at first.
    gathered_len: AtomicUsize,
    turn_len_max: usize,
    /// Wakes those who wait for something to be written.
    pub(crate) written: Notify,
    /// The longest batch, in bytes: longer ones the engine refuses.
    batch_len_max: usize,
    latency: Arc<Latency>,
    log: log::Turns,
    pub(crate) turns: TurnMeter,
    counted: Mutex<Option<Counted>>,
    now_ms: fn() -> u64,
}

/// How many keys a database has.
#[derive(Clone, Copy, Default)]
pub(crate) struct KeyCount {
    pub(crate) keys: u64,
    /// Those of them that will expire.
    pub(crate) expiring: u64,
    /// Whether there were too many to count.
    pub(crate) is_estimated: bool,
}

/// How many keys there were when the last visible write was `seq`.
struct Counted {
    seq: u64,
    counts: Vec<KeyCount>,
}

/// What has been staged and not written, and who wants to know of writes.
struct Turn {
    gathering: Staged,
    /// What the turn that is being written changes, and how that will end.
    committing: Option<(Overlay, Arc<Outcome>)>,
    /// The last number of the turns that have settled.
    settled_seq: SeqNo,
    watches: HashMap<(usize, Vec<u8>), Vec<Weak<AtomicBool>>>,
}

/// A turn that gathers.
#[derive(Default)]
struct Staged {
    batch: Batch,
    overlay: Overlay,
    events: Vec<Event>,
    outcome: Arc<Outcome>,
    /// How many commands wait for it.
    commands: u64,
}

/// A turn that is to be written.
struct Led {
    batch: Batch,
    events: Vec<Event>,
    outcome: Arc<Outcome>,
    commands: u64,
}

/// What a turn would change.
#[derive(Default)]
struct Overlay {
    databases: [Changes; DATABASES],
}

#[derive(Default)]
struct Changes {
    /// Of these stretches everything is gone that is not among the entries.
    gone: Vec<Stretch>,
    entries: BTreeMap<Vec<u8>, Change>,
}

/// What a turn does to a key.
#[derive(Clone)]
struct Change {
    /// What the key holds then; `None` for nothing.
    held: Option<Held>,
    /// Which entry of the turn's batch does it.
    index: u64,
}

/// Keys from `start` on, and before `end` if there is one.
#[derive(Clone, Default)]
pub(crate) struct Stretch {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
}

/// How a turn ended, for those who wait for it.
#[derive(Default)]
pub(crate) struct Outcome {
    result: OnceLock<Settled>,
    done: Notify,
}

/// The sequence number of the first entry that the turn has written, or why it has not.
pub(crate) type Settled = Result<SeqNo, Arc<cairndb::Error>>;

/// Which write put a value there.
#[derive(Clone)]
pub(crate) enum Revision {
    /// The one with this sequence number.
    Written(SeqNo),
    /// The one at this index of a turn that has not settled: nobody outside can know its number.
    Staged(Arc<Outcome>, u64),
}

impl Revision {
    /// The write's sequence number; `None` while its turn has not settled, or if it failed.
    pub(crate) fn seq(&self) -> Option<SeqNo> {
        match self {
            Revision::Written(seq) => Some(*seq),
            Revision::Staged(outcome, index) => Some(outcome.result.get()?.as_ref().ok()? + index),
        }
    }
}

/// What a key holds.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) value: Bytes,
    pub(crate) expires_at_ms: Option<u64>,
}

/// Keys, and what each holds.
type Entries = Vec<(Vec<u8>, Held)>;

impl Held {
    fn is_live(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_none_or(|at| at > now_ms)
    }
}

impl Stretch {
    /// All keys that begin with `prefix`.
    pub(crate) fn of_prefix(prefix: &[u8]) -> Stretch {
        // The first key beyond them: the prefix with its last byte that can rise risen, and the rest cut off.
        let end = prefix.iter().rposition(|&byte| byte < 0xFF).map(|last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        });
        Stretch { start: prefix.to_vec(), end }
    }

    /// Leaves what lies from `start` on, and before `end` if there is one.
    pub(crate) fn cut(&mut self, start: &[u8], end: Option<&[u8]>) {
        if *self.start < *start {
            self.start = start.to_vec();
        }
        if let Some(end) = end
            && self.end.as_ref().is_none_or(|own| *end < **own)
        {
            self.end = Some(end.to_vec());
        }
    }

    fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end.as_ref().is_none_or(|end| *key < **end)
    }

    fn is_everything(&self) -> bool {
        self.start.is_empty() && self.end.is_none()
    }

    fn range(self) -> KeyRange {
        let end = self.end.map_or(Bound::Unbounded, Bound::Excluded);
        KeyRange::from((Bound::Included(self.start), end))
    }
}

impl Changes {
    /// What the key holds, if the turn does anything to it.
    fn get(&self, key: &[u8]) -> Option<Option<(&Held, u64)>> {
        match self.entries.get(key) {
            Some(change) => Some(change.held.as_ref().map(|held| (held, change.index))),
            None => self.is_gone(key).then_some(None),
        }
    }

    fn is_gone(&self, key: &[u8]) -> bool {
        self.gone.iter().any(|stretch| stretch.contains(key))
    }

    fn is_all_gone(&self) -> bool {
        self.gone.iter().any(Stretch::is_everything)
    }

    fn take_away(&mut self, stretch: Stretch) {
        if stretch.is_everything() {
            *self = Changes::default();
        } else {
            self.entries.retain(|key, _| !stretch.contains(key));
        }
        self.gone.push(stretch);
    }
}

/// A value, out of the engine's memory or a turn's.
#[derive(Clone)]
pub(crate) enum Bytes {
    Stored(Value),
    Staged(Arc<[u8]>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Stored(value) => value.as_ref(),
            Bytes::Staged(value) => value,
        }
    }
}

/// How a command reads and writes: in the present, or in the turn, which nobody else changes meanwhile.
pub(crate) struct Data<'a> {
    store: &'a Store,
    turn: Option<MutexGuard<'a, Turn>>,
    pub(crate) now_ms: u64,
}

impl Store {
    /// A turn takes no more commands than fit into `turn_len_max` bytes, and one more.
    pub(crate) fn new(
        db: Db,
        turn_len_max: usize,
        latency: Arc<Latency>,
        now_ms: fn() -> u64,
    ) -> cairndb::Result<Store> {
        let batch_len_max = (db.stats().memory_budget_bytes / 4) as usize;
        let databases = (0..DATABASES).map(|n| db.keyspace(n as u8)).collect::<cairndb::Result<_>>()?;
        let own = db.keyspace(KEYSPACE_SERVER)?;
        let settled_seq = db.snapshot()?.seq();
        let turn =
            Turn { gathering: Staged::default(), committing: None, settled_seq, watches: HashMap::new() };
        Ok(Store {
            db,
            databases,
            own,
            turn: Mutex::new(turn),
            gathered_len: AtomicUsize::new(0),
            turn_len_max,
            written: Notify::new(),
            batch_len_max,
            latency,
            log: log::Turns::default(),
            turns: TurnMeter::default(),
            counted: Mutex::default(),
            now_ms,
        })
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    /// The turn to settle before a command of so many bytes is run, if they may be too many for it: a batch has a limit, and
    /// what runs over it fails for everybody in the turn.
    pub(crate) fn too_full_for(&self, len: usize) -> Option<Arc<Outcome>> {
        let gathered = self.gathered_len.load(Ordering::Relaxed);
        if gathered == 0 || gathered + len <= self.turn_len_max {
            return None;
        }
        let turn = self.lock();
        (!turn.gathering.batch.is_empty()).then(|| turn.gathering.outcome.clone())
    }

    /// Whether there is something to sweep.
    pub(crate) fn has_due(&self) -> cairndb::Result<bool> {
        let due = KeyRange::from(vec![EXPIRY]..expiry_key((self.now_ms)() + 1, 0, b""));
        self.own.scan(due).next().transpose().map(|first| first.is_some())
    }

    /// Where the last write found no room, whether there is some now: found out by writing, for nobody may be left who would.
    pub(crate) fn check_room(&self) -> Result<(), Arc<cairndb::Error>> {
        if !self.log.is_disk_full() {
            return Ok(());
        }
        let began = Instant::now();
        let mut batch = Batch::new();
        batch.keyspace(KEYSPACE_SERVER).put([ROOM], b"");
        let written = self.db.write(batch).map(drop).map_err(Arc::new);
        self.log.ended(&written, began.elapsed(), 1);
        written
    }

    /// What a key holds in the present, and which write put it there.
    pub(crate) fn entry(&self, database: usize, key: &[u8]) -> cairndb::Result<Option<Entry>> {
        self.databases[database].get_entry(key)
    }

    /// The keys of a stretch, in the present of this call.
    pub(crate) fn scan(&self, database: usize, stretch: Stretch) -> Scan {
        self.databases[database].scan(stretch.range())
    }

    /// What a read of the key looks at.
    pub(crate) fn explain(&self, database: usize, key: &[u8]) -> cairndb::Result<Vec<Look>> {
        self.databases[database].explain(key)
    }

    /// The longest batch, in bytes.
    pub(crate) fn batch_len_max(&self) -> usize {
        self.batch_len_max
    }

    /// How many keys each database has. Of many, some are counted, and the rest estimated; and as long as nothing is written,
    /// nothing is counted anew: this is asked every second.
    pub(crate) fn key_counts(&self) -> cairndb::Result<Vec<KeyCount>> {
        let seq = self.db.snapshot()?.seq();
        let mut last = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counted) = last.as_ref().filter(|counted| counted.seq == seq) {
            return Ok(counted.counts.clone());
        }
        let counts: Vec<_> =
            (0..DATABASES).map(|database| self.count_keys(database)).collect::<cairndb::Result<_>>()?;
        *last = Some(Counted { seq, counts: counts.clone() });
        Ok(counts)
    }

    fn count_keys(&self, database: usize) -> cairndb::Result<KeyCount> {
        let mut scan = self.databases[database].scan(..);
        let mut counted = KeyCount::default();
        while let Some(item) = scan.next_entry() {
            let (key, entry) = item?;
            counted.keys += 1;
            counted.expiring += u64::from(entry.expires_at_ms.is_some());
            if counted.keys == COUNTED_MAX {
                let keys = self.present().estimate(database, counted.keys, &key)?;
                let expiring = u128::from(counted.expiring) * u128::from(keys) / u128::from(counted.keys);
                return Ok(KeyCount { keys, expiring: expiring as u64, is_estimated: true });
            }
        }
        Ok(counted)
    }

    /// Reads of the present, without the turn.
    pub(crate) fn present(&self) -> Data<'_> {
        Data { store: self, turn: None, now_ms: (self.now_ms)() }
    }

    /// Reads and writes in the turn that gathers. Whoever looked or wrote settles [`Data::outcome`] before replying.
    pub(crate) fn gather(&self) -> Data<'_> {
        Data { store: self, turn: Some(self.lock()), now_ms: (self.now_ms)() }
    }

    /// Waits until the turn is written, or writes it. Must not be dropped halfway: others wait for who leads.
    pub(crate) async fn settle(&self, outcome: &Arc<Outcome>, publish: impl Fn(Vec<Event>)) -> Settled {
        // Whoever can run now may still join the turn.
        tokio::task::yield_now().await;
        loop {
            let woken = outcome.done.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if let Some(settled) = outcome.result.get() {
                return settled.clone();
            }
            match self.lead() {
                Some(staged) => self.commit(staged, &publish),
                None => woken.await,
            }
        }
    }

    /// The turn that gathered, to be written by the caller, unless one is being written.
    fn lead(&self) -> Option<Led> {
        let mut turn = self.lock();
        if turn.committing.is_some() {
            return None;
        }
        let mut staged = std::mem::take(&mut turn.gathering);
        self.gathered_len.store(0, Ordering::Relaxed);
        turn.committing = Some((std::mem::take(&mut staged.overlay), staged.outcome.clone()));
        let Staged { batch, events, outcome, commands, .. } = staged;
        Some(Led { batch, events, outcome, commands })
    }

    fn commit(&self, Led { batch, events, outcome, commands }: Led, publish: &impl Fn(Vec<Event>)) {
        let (began, count) = (Instant::now(), batch.len() as u64);
        let settled = self.db.write(batch).map(|last| last + 1 - count).map_err(Arc::new);
        let took = began.elapsed();
        if self.latency.wants(took) {
            self.latency.add("aof-write", took, (self.now_ms)() / 1_000);
        }
        self.log.ended(&settled, took, count);
        self.turns.ended(took, commands, count as usize);
        let mut turn = self.lock();
        if let Ok(first) = &settled {
            turn.settled_seq = first + count - 1;
        }
        turn.committing = None;
        let failed = settled.is_err().then(|| std::mem::take(&mut turn.gathering).outcome);
        let next = turn.gathering.outcome.clone();
        drop(turn);
        if let (Some(failed), Err(error)) = (failed, &settled) {
            _ = failed.result.set(Err(error.clone()));
            failed.done.notify_waiters();
        }
        if settled.is_ok() && !events.is_empty() {
            publish(events);
        }
        _ = outcome.result.set(settled);
        self.written.notify_waiters();
        outcome.done.notify_waiters();
        next.done.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Data<'a> {
    /// What to settle before replying; `None` if nothing was looked at that has not settled. Asked once for each command.
    pub(crate) fn outcome(&mut self) -> Option<Arc<Outcome>> {
        let turn = self.turn.as_mut()?;
        if turn.gathering.batch.is_empty() {
            return turn.committing.as_ref().map(|(_, outcome)| outcome.clone());
        }
        turn.gathering.commands += 1;
        Some(turn.gathering.outcome.clone())
    }

    /// The turn, if `len` bytes more would be more than one batch may have: then it has to settle first.
    pub(crate) fn lacks_room(&self, len: usize) -> Option<Arc<Outcome>> {
        let gathering = &self.turn.as_ref()?.gathering;
        let is_full = gathering.batch.encoded_len().saturating_add(len) > self.store.batch_len_max;
        (is_full && !gathering.batch.is_empty()).then(|| gathering.outcome.clone())
    }

    pub(crate) fn get(&self, database: usize, key: &[u8]) -> cairndb::Result<Option<Held>> {
        if let Some(staged) = self.staged(database, key) {
            return Ok(staged.map(|(held, _)| held).filter(|held| held.is_live(self.now_ms)).cloned());
        }
        let entry = self.store.databases[database].get_entry(key)?;
        Ok(entry.map(|entry| Held { value: Bytes::Stored(entry.value), expires_at_ms: entry.expires_at_ms }))
    }

    /// Which write put there what `key` holds; `None` if it holds nothing.
    pub(crate) fn revision(&self, database: usize, key: &[u8]) -> cairndb::Result<Option<Revision>> {
        let stored = || self.store.databases[database].get_entry(key);
        let Some(staged) = self.staged(database, key) else {
            return Ok(stored()?.map(|entry| Revision::Written(entry.seq)));
        };
        let Some((_, revision)) = staged.filter(|(held, _)| held.is_live(self.now_ms)) else {
            return Ok(None);
        };
        // Readers of the present may have seen what is being committed, and know it by its number.
        if let Some(turn) = &self.turn
            && let Revision::Staged(outcome, _) = &revision
            && !Arc::ptr_eq(outcome, &turn.gathering.outcome)
            && let Some(entry) = stored()?
            && entry.seq > turn.settled_seq
        {
            return Ok(Some(Revision::Written(entry.seq)));
        }
        Ok(Some(revision))
    }

    /// Visits what several keys hold, at one moment; of many keys a few values are held at a time.
    pub(crate) fn visit_values(
        &self,
        database: usize,
        keys: &[&[u8]],
        mut visit: impl FnMut(Option<&[u8]>),
    ) -> cairndb::Result<()> {
        if self.turn.is_some() {
            for key in keys {
                visit(self.get(database, key)?.as_ref().map(|held| &*held.value));
            }
            return Ok(());
        }
        let mut visit_all = |values: Vec<Option<Value>>| {
            values.iter().for_each(|value| visit(value.as_ref().map(AsRef::as_ref)));
        };
        if keys.len() <= VISITED_AT_ONCE {
            visit_all(self.store.databases[database].get_many(keys)?);
            return Ok(());
        }
        let moment = self.store.db.snapshot()?.keyspace(database as u8)?;
        for keys in keys.chunks(VISITED_AT_ONCE) {
            visit_all(moment.get_many(keys)?);
        }
        Ok(())
    }

    /// How many keys there are, roughly, if `counted` stand up to `last`: as many for each byte of the rest.
    pub(crate) fn estimate(&self, database: usize, counted: u64, last: &[u8]) -> cairndb::Result<u64> {
        let keyspace = &self.store.databases[database];
        let behind = [last, b"\0"].concat();
        let (all_len, counted_len) = (keyspace.approximate_len(..)?, keyspace.approximate_len(..behind)?);
        let keys = u128::from(counted) * u128::from(all_len) / u128::from(counted_len.max(1));
        Ok(u64::try_from(keys).unwrap_or(u64::MAX).max(counted))
    }

    pub(crate) fn contains(&self, database: usize, key: &[u8]) -> cairndb::Result<bool> {
        match self.turn {
            Some(_) => Ok(self.get(database, key)?.is_some()),
            None => self.store.databases[database].contains(key),
        }
    }

    /// What the turns that have not settled say of a key; `None` if nothing.
    fn staged(&self, database: usize, key: &[u8]) -> Option<Option<(&Held, Revision)>> {
        let turn = self.turn.as_ref()?;
        let gathering = (&turn.gathering.overlay, &turn.gathering.outcome);
        let committing = turn.committing.as_ref().map(|(overlay, outcome)| (overlay, outcome));
        let mut turns = [Some(gathering), committing].into_iter().flatten();
        turns.find_map(|(overlay, outcome)| {
            let held = overlay.databases[database].get(key)?;
            Some(held.map(|(held, index)| (held, Revision::Staged(outcome.clone(), index))))
        })
    }

    /// Gives `key` this value; `expires_at_ms` of `None` for ever.
    pub(crate) fn put(&mut self, database: usize, key: &[u8], value: &[u8], expires_at_ms: Option<u64>) {
        let turn = self.turn();
        let index = turn.gathering.batch.len() as u64;
        let batch = turn.gathering.batch.keyspace(database as u8);
        match expires_at_ms {
            Some(at) => batch.put_with_expiry(key, value, at),
            None => batch.put(key, value),
        };
        if let Some(at) = expires_at_ms
            && key.len() <= SWEPT_KEY_LEN_MAX
        {
            turn.gathering.batch.keyspace(KEYSPACE_SERVER).put(expiry_key(at, database, key), b"");
        }
        let held = Held { value: Bytes::Staged(value.into()), expires_at_ms };
        turn.stage(database, key, Change { held: Some(held), index });
    }

    /// Takes `key` away, whether it is there or not.
    pub(crate) fn delete(&mut self, database: usize, key: &[u8]) {
        let turn = self.turn();
        let index = turn.gathering.batch.len() as u64;
        turn.gathering.batch.keyspace(database as u8).delete(key);
        turn.stage(database, key, Change { held: None, index });
    }

    /// Takes every key of a database away.
    pub(crate) fn clear(&mut self, database: usize) {
        self.delete_range(database, Stretch::default());
    }

    /// Takes every key of a stretch away.
    pub(crate) fn delete_range(&mut self, database: usize, stretch: Stretch) {
        let watched = self.turn().watches.keys();
        let watched = watched.filter(|(watched, key)| *watched == database && stretch.contains(key));
        let watched: Vec<Vec<u8>> = watched.map(|(_, key)| key.clone()).collect();
        for key in watched {
            // A key that is not there stays so; one that cannot be read might be.
            if !matches!(self.get(database, &key), Ok(None))
                && let Some(watches) = self.turn().watches.remove(&(database, key))
            {
                watches.iter().for_each(mark);
            }
        }
        let turn = self.turn();
        turn.gathering.batch.keyspace(database as u8).delete_range(stretch.clone().range());
        turn.gathering.overlay.databases[database].take_away(stretch);
    }

    /// Exchanges what two databases hold, unless it is more than half of what a batch may hold: then `false`, and nothing is
    /// changed.
    pub(crate) fn swap(&mut self, one: usize, other: usize) -> cairndb::Result<bool> {
        let mut len_max = self.store.turn_len_max;
        let (Some(ones), Some(others)) =
            (self.collect(one, &mut len_max)?, self.collect(other, &mut len_max)?)
        else {
            return Ok(false);
        };
        for (database, entries) in [(one, others), (other, ones)] {
            self.clear(database);
            for (key, held) in entries {
                self.put(database, &key, &held.value, held.expires_at_ms);
            }
        }
        Ok(true)
    }

    /// All that a database holds, if it takes no more than what is left of `len_max`.
    fn collect(&self, database: usize, len_max: &mut usize) -> cairndb::Result<Option<Entries>> {
        // In a batch, for an entry and for the sweep's.
        const OVERHEAD: usize = 64;
        let mut entries = Vec::new();
        let mut fits = true;
        self.visit_keys(database, Bound::Unbounded, b"", |key| {
            let Some(held) = self.get(database, key)? else { return Ok(ControlFlow::Continue(())) };
            let len = 2 * key.len() + held.value.len() + OVERHEAD;
            fits = len <= *len_max;
            if !fits {
                return Ok(ControlFlow::Break(()));
            }
            *len_max -= len;
            entries.push((key.to_vec(), held));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(fits.then_some(entries))
    }

    /// Counts what has expired since the last time, tells of it, and forgets that it would. At most `max` keys; returns how
    /// many were looked at, and how many of those had expired and not been changed.
    pub(crate) fn sweep(&mut self, max: usize, tell: bool) -> cairndb::Result<(usize, usize)> {
        let due = KeyRange::from(vec![EXPIRY]..expiry_key(self.now_ms + 1, 0, b""));
        let (mut looked_at, mut expired, mut last) = (0, 0, None);
        for item in self.store.own.scan(due).take(max) {
            let (index, _) = item?;
            looked_at += 1;
            if let Some((at_ms, database, key)) = expiry_of(&index)
                && self.staged(database, key).is_none()
                && self.store.databases[database].expired_at_ms(key)? == Some(at_ms)
            {
                expired += 1;
                if tell {
                    self.happened(Event { name: "expired", database, key: key.to_vec() });
                }
            }
            last = Some(index);
        }
        if let Some(mut end) = last {
            end.push(0);
            self.turn().gathering.batch.keyspace(KEYSPACE_SERVER).delete_range(vec![EXPIRY]..end);
        }
        Ok((looked_at, expired))
    }

    /// Says what happened, to whoever subscribed, once the turn has settled.
    pub(crate) fn happened(&mut self, event: Event) {
        self.turn().gathering.events.push(event);
    }

    /// Has `dirty` set when somebody writes `key`.
    pub(crate) fn watch(&mut self, database: usize, key: &[u8], dirty: &Arc<AtomicBool>) {
        let watches = self.turn().watches.entry((database, key.to_vec())).or_default();
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(dirty));
    }

    /// Visits the keys of `database` in order, from `from` on.
    pub(crate) fn visit_keys(
        &self,
        database: usize,
        from: Bound<&[u8]>,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8]) -> cairndb::Result<ControlFlow<()>>,
    ) -> cairndb::Result<()> {
        let changes = self.changes(database);
        let start = match from {
            Bound::Unbounded => Bound::Included(prefix),
            Bound::Included(key) | Bound::Excluded(key) if key < prefix => Bound::Included(prefix),
            from => from,
        };
        let mut staged = changes.entries.range::<[u8], _>((start, Bound::Unbounded)).peekable();
        let mut stored = (!changes.is_all_gone())
            .then(|| self.store.databases[database].scan(KeyRange::from((owned(start), Bound::Unbounded))))
            .into_iter()
            .flatten()
            .map(|item| item.map(|(key, _)| key))
            .filter(
                |item| !matches!(item, Ok(key) if changes.is_gone(key) && !changes.entries.contains_key(key)),
            )
            .peekable();
        loop {
            if let Some(Err(_)) = stored.peek() {
                return stored.next().map_or(Ok(()), |error| error.map(drop));
            }
            let next_stored = stored.peek().and_then(|key| key.as_ref().ok());
            let next_staged = staged.peek().map(|(key, _)| *key);
            let take_staged = match (next_stored, next_staged) {
                (None, None) => return Ok(()),
                (Some(stored), Some(staged)) => staged <= stored,
                (stored, _) => stored.is_none(),
            };
            let key = if take_staged {
                let Some((key, change)) = staged.next() else { return Ok(()) };
                if next_stored == Some(key) {
                    stored.next();
                }
                if !change.held.as_ref().is_some_and(|held| held.is_live(self.now_ms)) {
                    continue;
                }
                key.clone()
            } else {
                let Some(key) = stored.next() else { return Ok(()) };
                key?
            };
            if !key.starts_with(prefix) {
                return Ok(());
            }
            if visit(&key)?.is_break() {
                return Ok(());
            }
        }
    }

    /// What the turns that have not settled change in a database.
    fn changes(&self, database: usize) -> Changes {
        let mut all = Changes::default();
        let Some(turn) = &self.turn else { return all };
        let overlays = [turn.committing.as_ref().map(|(overlay, _)| overlay), Some(&turn.gathering.overlay)];
        for changes in overlays.into_iter().flatten().map(|overlay| &overlay.databases[database]) {
            changes.gone.iter().for_each(|stretch| all.take_away(stretch.clone()));
            all.entries.extend(changes.entries.iter().map(|(key, change)| (key.clone(), change.clone())));
        }
        all
    }

    fn turn(&mut self) -> &mut Turn {
        self.turn.as_mut().expect("a command that writes is marked as one, and runs in the turn")
    }
}

impl Drop for Data<'_> {
    fn drop(&mut self) {
        if let Some(turn) = &self.turn {
            self.store.gathered_len.store(turn.gathering.batch.encoded_len(), Ordering::Relaxed);
        }
    }
}

impl Turn {
    fn stage(&mut self, database: usize, key: &[u8], change: Change) {
        self.gathering.overlay.databases[database].entries.insert(key.to_vec(), change);
        if !self.watches.is_empty()
            && let Some(watches) = self.watches.remove(&(database, key.to_vec()))
        {
            watches.iter().for_each(mark);
        }
    }
}

fn mark(watch: &Weak<AtomicBool>) {
    if let Some(dirty) = watch.upgrade() {
        dirty.store(true, Ordering::Relaxed);
    }
}

fn owned(bound: Bound<&[u8]>) -> Bound<Vec<u8>> {
    bound.map(<[u8]>::to_vec)
}

/// Where the sweep finds that a key expires.
fn expiry_key(at_ms: u64, database: usize, key: &[u8]) -> Vec<u8> {
    [&[EXPIRY], at_ms.to_be_bytes().as_slice(), &[database as u8], key].concat()
}

/// What [`expiry_key`] put together.
fn expiry_of(index: &[u8]) -> Option<(u64, usize, &[u8])> {
    let (at_ms, rest) = index.strip_prefix(&[EXPIRY])?.split_first_chunk::<8>()?;
    let (&database, key) = rest.split_first()?;
    let database = usize::from(database);
    (database < DATABASES).then_some((u64::from_be_bytes(*at_ms), database, key))
}
