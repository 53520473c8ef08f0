//! Db: the rooms below, put together and kept running.
//!
//! The [`Engine`] is what all handles of one open database share. It is four things side by side: what readers take
//! (the tables of this moment and the last visible sequence number), what writers pass through (a queue and the log),
//! what maintenance owns (the manifest and its jobs), and how the database is (open, stopped, closed). Each is touched
//! by one group of functions, in a file of its own.
//!
//! # Where it sits
//! On everything. It makes no thread, reads no clock of its own, and opens no file but through `Storage`.
//!
//! # Invariants
//! - I1. Locks are taken in this order: maintenance, log, current, queue, history; none while waiting for maintenance.
//! - I2. `visible` rises only after the entries up to it are in a memtable that `current` names (promise 3).

mod stats;
mod history;
mod write;
mod maintain;
mod open;
mod backup;
mod replay;
mod changes;
mod handle;

pub(crate) use backup::write_anew;
pub use backup::{BackupMode, BackupReport};
pub use changes::{Change, ChangeEntry, ChangeKind, Changes};
pub use handle::{CheckpointMove, Db, Keyspace, Reader, Snapshot};
pub use open::RecoveryReport;
pub(crate) use open::SEQ_JUMP;
pub use replay::{ReplayCheckpoint, ReplayReport};
pub use stats::{LevelStats, Stats};
pub use write::{Condition, Outcome};

use cairndb_storage::{Lock, LockMode, Storage};

use crate::clock::MonotonicClock;
use crate::error::{Error, Result};
use crate::key::SeqNo;
use crate::options::Options;
use crate::publish::Published;
use crate::snapshot::Snapshots;
use crate::sstable::TableFiles;
use crate::sync::{Arc, AtomicBool, Condvar, Mutex, Ordering};
use crate::version::Version;
use crate::view::{Tables, View};
use crate::wal::Checkpoint;
use history::History;
use maintain::Maintenance;
use stats::Counters;
use write::{Log, Queue};

/// What all handles of one open database share.
pub(crate) struct Engine {
    // Given at open; never changed.
    pub(crate) options: Options,
    storage: Arc<dyn Storage>,
    files: Arc<TableFiles>,
    clock: Arc<MonotonicClock>,
    /// This incarnation of the database.
    id: u128,
    read_only: bool,
    recovery: RecoveryReport,

    // What readers take.
    current: Published<Tables>,
    snapshots: Arc<Snapshots>,

    // What writers pass through.
    queue: Mutex<Queue>,
    log: Mutex<Log>,
    /// The logs that stand, as far as they can be read from.
    history: Mutex<History>,
    /// Whether the log has a spare, to be asked without waiting for a sync.
    spare_ready: AtomicBool,
    /// The disk had no room when it was last asked for some.
    full: AtomicBool,

    // What maintenance owns.
    maintenance: Mutex<Maintenance>,
    pub(crate) progress: Progress,

    // How the database is.
    health: Health,
    lock: Mutex<Option<Lock>>,
    counters: Counters,
}

/// Whether the database is open and may be written.
#[derive(Default)]
struct Health {
    /// Shared with whoever reads tables.
    closed: Arc<AtomicBool>,
    stopped: AtomicBool,
    cause: Mutex<Option<Arc<Error>>>,
}

/// How writers that wait and whoever does maintenance tell each other.
#[derive(Default)]
pub(crate) struct Progress {
    state: Mutex<ProgressState>,
    stepped: Condvar,
    wanted: Condvar,
    /// Somebody calls `maintain` whenever it is wanted.
    attended: AtomicBool,
}

#[derive(Default)]
struct ProgressState {
    steps: u64,
    wanted: bool,
    /// Why the last step failed, if it did.
    error: Option<Error>,
}

impl Engine {
    /// The present.
    fn view(&self) -> Result<View> {
        self.check_open()?;
        let tables = self.current.take();
        // The tables, then their number: of what was written since they were taken, all is in this memtable, or none of it
        // can be seen by that number (promise 4).
        let seq = tables.active.memtable.visible();
        Ok(View::new(tables, seq, None))
    }

    /// The moment `seq`, at which somebody holds a snapshot.
    fn view_at(&self, seq: SeqNo, now_ms: u64) -> Result<View> {
        self.check_open()?;
        Ok(View::new(self.current.take(), seq, Some(now_ms)))
    }

    /// The last write that readers see.
    fn visible(&self) -> SeqNo {
        self.current.take().active.memtable.visible()
    }

    /// Where recovery would have to begin now.
    fn checkpoint(&self) -> Checkpoint {
        self.current.take().checkpoint()
    }

    /// The tables of the present, which stand as long as they are held.
    pub(crate) fn version(&self) -> Result<Arc<Version>> {
        self.check_open()?;
        Ok(Arc::clone(&self.current.take().version))
    }

    /// Looks at the files while neither maintenance nor a writer changes any; what is returned keeps the tables there.
    pub(crate) fn while_still<T>(
        &self,
        look: impl FnOnce(&Arc<dyn Storage>) -> Result<T>,
    ) -> Result<(T, Arc<Version>)> {
        let _maintenance = self.maintenance.lock();
        let _log = self.log.lock();
        Ok((look(&self.storage)?, self.version()?))
    }

    /// Whether somebody else could open what is open here for writing (promise 12).
    pub(crate) fn lets_others_in(&self) -> bool {
        !self.read_only && self.storage.lock("verify.lock", LockMode::Shared).is_ok()
    }

    /// Gives the cache what the memtables leave of the budget.
    fn fit_cache(&self) {
        let memtables_len = self.current.take().memtables().map(|memtable| memtable.memory_len()).sum();
        self.files.set_capacity(self.options.cache_bytes(memtables_len));
    }

    fn is_closed(&self) -> bool {
        self.health.closed.load(Ordering::Acquire)
    }

    fn check_open(&self) -> Result<()> {
        if self.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if self.health.stopped.load(Ordering::Acquire) {
            let cause = self.health.cause.lock().clone();
            return Err(Error::Stopped { cause: cause.expect("a stopped database knows why") });
        }
        Ok(())
    }

    /// Ends all writing until the database is opened again (promise 8), and hands the cause back.
    pub(crate) fn stop(&self, cause: Error) -> Error {
        let mut kept = self.health.cause.lock();
        if kept.is_none() {
            *kept = Some(Arc::new(cause.clone()));
            self.health.stopped.store(true, Ordering::Release);
        }
        drop(kept);
        self.progress.note_step(Some(cause.clone()));
        cause
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }
}

impl Progress {
    /// Says that there is something to do.
    pub(crate) fn want(&self) {
        let mut state = self.state.lock();
        state.wanted = true;
        self.wanted.notify_all();
    }

    fn note_step(&self, error: Option<Error>) {
        let mut state = self.state.lock();
        state.steps += 1;
        state.error = error;
        self.stepped.notify_all();
    }

    /// Says whether somebody calls `maintain` whenever it is wanted; if not, writers that must wait call it themselves.
    #[cfg(unix)]
    pub(crate) fn set_attended(&self, attended: bool) {
        self.attended.store(attended, Ordering::Release);
        self.note_step(None);
    }

    fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Acquire)
    }

    /// Waits until a step has been made, and hands on its error.
    fn wait_for_step(&self) -> Result<()> {
        let mut state = self.state.lock();
        let before = state.steps;
        state.wanted = true;
        self.wanted.notify_all();
        while state.steps == before && self.is_attended() {
            state = self.stepped.wait(state);
        }
        state.error.clone().map_or(Ok(()), Err)
    }

    /// Waits until maintenance is wanted, at most for `ms`; whether it is.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn wait_until_wanted(&self, ms: u64) -> bool {
        let mut state = self.state.lock();
        if !state.wanted {
            state = self.wanted.wait_for(state, ms);
        }
        std::mem::take(&mut state.wanted)
    }
}
