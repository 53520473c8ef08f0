//! Host: native convenience: a path, the system's clock, random ids, and the thread that attends to maintenance.
//!
//! Everything that the engine does without, in one place. It is not compiled where there is no operating system.
//!
//! # Where it sits
//! At the top; nothing stands on it.

#![expect(clippy::disallowed_methods, reason = "this is the room for clocks and threads")]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use cairndb_storage::{Native, Storage};

use crate::db::{BackupMode, BackupReport, Db, Engine};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::sync::{Arc, AtomicBool, Ordering};

/// How long the thread waits before it looks whether the database is idle, in milliseconds.
const LOOK_MS: u64 = 1000;

impl Default for Options {
    /// The engine's defaults, the system's clock, and ids from the system's randomness.
    fn default() -> Options {
        let now_ms =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Options::new(Arc::new(now_ms), Arc::new(random_id))
    }
}

/// 128 bits that nobody can guess: two hashes under keys that the standard library draws from the system.
fn random_id() -> u128 {
    let half = || u128::from(RandomState::new().build_hasher().finish());
    let process = u128::from(std::process::id());
    (half() << 64 | half()) ^ process
}

impl Options {
    /// Opens the database in the directory `path`, or makes one there, with a thread that attends to maintenance.
    ///
    /// Errors: as [`Db::open_with`]; `Invalid` for a directory that holds something else.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Db> {
        let storage = Native::create(path.as_ref()).map_err(place_error)?;
        self.open_storage(Arc::new(storage))
    }

    /// Opens the database that `storage` holds, or makes one there, with a thread that attends to maintenance: for a place
    /// that is wrapped, say to measure it. [`Db::open_with`] is the same without the thread.
    ///
    /// Errors: as [`Db::open_with`]; `Io` if no thread can be started.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cairndb::{Options, storage::Memory};
    /// let db = Options::default().open_storage(Arc::new(Memory::default()))?;
    /// db.put("key", "value")?;
    /// # Ok::<(), cairndb::Error>(())
    /// ```
    pub fn open_storage(self, storage: Arc<dyn Storage>) -> Result<Db> {
        let db = Db::open_with(storage, self)?;
        attend(&db)?;
        Ok(db)
    }

    /// Opens the database in the directory `path` for reading; see [`Db::open_read_only_with`].
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<Db> {
        let storage = Native::read_only(path.as_ref()).map_err(place_error)?;
        Db::open_read_only_with(Arc::new(storage), self)
    }
}

impl Db {
    /// Opens the database in the directory `path`, or makes one there: [`Options::open`] with the defaults.
    pub fn open(path: impl AsRef<Path>) -> Result<Db> {
        Options::default().open(path)
    }

    /// Opens the database in the directory `path` for reading: [`Options::open_read_only`] with the defaults.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Db> {
        Options::default().open_read_only(path)
    }

    /// Writes an openable copy of the database into the directory `path`, which must be empty or not there yet.
    pub fn backup_to(&self, path: impl AsRef<Path>, how: BackupMode) -> Result<BackupReport> {
        let to = Native::create(path.as_ref()).map_err(place_error)?;
        self.backup(&to as &dyn Storage, how)
    }
}

/// What the storage says of a place that cannot be used is for whoever named it.
fn place_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::invalid(error)
        }
        _ => Error::io("opening the directory", error),
    }
}

/// Starts the thread that attends to maintenance.
fn attend(db: &Db) -> Result<()> {
    attend_on(db, |work| {
        let thread = thread::Builder::new()
            .name("cairndb".into())
            .spawn(work)
            .map_err(|e| Error::io("starting the maintenance thread", e))?;
        // If it panicked, `Watch` has said so already.
        Ok(Box::new(move || drop(thread.join())))
    })
}

/// What runs on a thread, or waits until it has ended.
type Work = Box<dyn FnOnce() + Send>;

/// Has `start` start a thread that makes steps of maintenance while there are any, and looks for idleness now and then.
/// What it returns waits for the thread's end.
fn attend_on(db: &Db, start: impl FnOnce(Work) -> Result<Work>) -> Result<()> {
    let engine = Arc::clone(db.engine());
    engine.progress.set_attended(true);
    let ending = Arc::new(AtomicBool::new(false));
    let (its_engine, its_ending) = (Arc::clone(&engine), Arc::clone(&ending));
    let join = start(Box::new(move || {
        let watch = Watch(&its_engine);
        let mut looks_idle = false;
        while !its_ending.load(Ordering::Acquire) {
            let step = if looks_idle { its_engine.maintain() } else { its_engine.maintain_due() };
            // An error is shown to writers that wait and in the statistics; here it only means: later.
            if !matches!(step, Ok(true)) {
                looks_idle = !its_engine.progress.wait_until_wanted(LOOK_MS);
            }
        }
        drop(watch);
    }))?;
    db.before_close(Box::new(move || {
        ending.store(true, Ordering::Release);
        engine.progress.set_attended(false);
        engine.progress.want();
        join();
    }));
    Ok(())
}

#[cfg(shuttle)]
impl Db {
    /// Has a thread of the schedule checker attend to maintenance, as [`Options::open`] has one of the system's.
    pub fn attend_on(&self, start: impl FnOnce(Work) -> Result<Work>) -> Result<()> {
        attend_on(self, start)
    }
}

/// If the thread ends by a panic, nobody must wait for it for ever, and nothing more may be written.
struct Watch<'a>(&'a Engine);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // First the stop: a writer that is told that nobody attends would make steps itself, out of what the panic left.
        if thread::panicking() {
            self.0.stop(Error::invalid("the maintenance thread panicked; this is a bug in the engine"));
        }
        self.0.progress.set_attended(false);
    }
}
