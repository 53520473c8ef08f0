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

mod data;
mod overlay;
mod pace;
mod turn;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cairndb::{Batch, Db, Entry, KeyRange, Keyspace, Look, Scan};
use tokio::sync::Notify;

pub(crate) use self::data::Data;
pub(crate) use self::overlay::{Held, Stretch};
pub(crate) use self::turn::{Outcome, Revision};
use crate::latency::Latency;
use crate::log;
use crate::metrics::TurnMeter;
use data::{EXPIRY, expiry_key};
use pace::Pace;
use turn::{Staged, Turn};

/// How many databases a client can select, as in Redis's own configuration.
pub(crate) const DATABASES: usize = 16;

/// The keyspace of what the server keeps for itself.
pub(crate) const KEYSPACE_SERVER: u8 = 254;

/// In the server's keyspace: written to see whether there is room.
const ROOM: u8 = b'r';

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
        let turn = Turn {
            gathering: Staged::default(),
            committing: None,
            is_led: false,
            company: 0,
            pace: Pace::default(),
            settled_seq,
            watches: HashMap::new(),
        };
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

    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
