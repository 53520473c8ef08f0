//! Handle: what users hold: [`Db`], [`Keyspace`], [`Snapshot`].
//!
//! All three are cheap to clone and safe to share. The last of them to go, scans included, closes the database.

use std::io::Read;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;

use cairndb_storage::Storage;

use super::Engine;
use super::backup::{BackupMode, BackupReport};
use super::changes::Changes;
use super::open::{self, RecoveryReport};
use super::replay::{ReplayCheckpoint, ReplayReport};
use super::stats::Stats;
use super::write::{Condition, Outcome, Request};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::explain::Look;
use crate::key::{Entry, KEYSPACE_SYSTEM, KeyRange, SeqNo, Value, check_key, with_stored_key};
use crate::options::{Durability, Options};
use crate::record::RecordKind;
use crate::sync::{Arc, Mutex, Ordering};
use crate::view::{Hold, RangeCursor, Scan, View, ViewCursor};
use crate::wal::Checkpoint;

/// An open database, and its keyspace 0.
///
/// ```
/// # use cairndb::Db;
/// # let dir = tempfile::tempdir().unwrap();
/// let db = Db::open(dir.path().join("stones"))?;
/// db.put("granite", "igneous")?;
/// db.put("slate", "metamorphic")?;
/// assert_eq!(db.get("slate")?.unwrap(), "metamorphic");
/// let keys: Vec<Vec<u8>> = db.scan(..).map(|item| item.map(|(key, _)| key)).collect::<Result<_, _>>()?;
/// assert_eq!(keys, [b"granite".to_vec(), b"slate".to_vec()]);
/// # Ok::<(), cairndb::Error>(())
/// ```
#[derive(Clone)]
pub struct Db {
    keyspace: Keyspace,
}

/// One of the database's separate key spaces, read and written in the present.
#[derive(Clone)]
pub struct Keyspace {
    reader: Reader,
    durability: Durability,
}

/// A hold on one moment: reads through it see that moment, whatever is written since. Values that had not expired then
/// do not expire for it.
#[derive(Clone)]
pub struct Snapshot {
    reader: Reader,
}

/// Reads of one keyspace, in the present or at a snapshot's moment. [`Db`], [`Keyspace`] and [`Snapshot`] all read
/// through it.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
    keyspace: u8,
    /// `None` for the present.
    moment: Option<Moment>,
}

/// A snapshot's sequence number and clock reading, and the hold on them, which goes with the last reader.
#[derive(Clone)]
struct Moment {
    seq: SeqNo,
    now_ms: u64,
    #[expect(dead_code, reason = "held for its drop")]
    hold: Arc<Hold>,
}

/// Where the WAL checkpoint was, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointMove {
    /// Before the call.
    pub before: Checkpoint,
    /// Now.
    pub after: Checkpoint,
}

/// The engine, and what has to be done before it closes. Dropped with the last handle.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    /// Ends whatever attends to maintenance.
    before_close: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Db {
    /// Opens the database in `storage`, or makes one there. No thread is started: somebody has to call
    /// [`Db::maintain`]; where nobody does, writers that must wait make the steps themselves.
    ///
    /// Errors: `Locked`; `Corrupt`, and nothing was changed; `Invalid` for options or a format that cannot be used;
    /// `DiskFull`; `Io`.
    pub fn open_with(storage: Arc<dyn Storage>, options: Options) -> Result<Db> {
        Db::from_engine(open::open(storage, options, false)?)
    }

    /// Opens the database in `storage` for reading: nothing is written or removed, so it serves for damaged places and
    /// for backups. Others may read it at the same time. What the logs hold is in memory, whatever the budget.
    pub fn open_read_only_with(storage: Arc<dyn Storage>, options: Options) -> Result<Db> {
        Db::from_engine(open::open(storage, options, true)?)
    }

    fn from_engine(engine: Engine) -> Result<Db> {
        let durability = engine.options.durability;
        let shared = Arc::new(Shared { engine: Arc::new(engine), before_close: Mutex::new(None) });
        Ok(Db { keyspace: Keyspace { reader: Reader { shared, keyspace: 0, moment: None }, durability } })
    }

    /// A handle whose writes wait for `durability` when they do not say themselves.
    pub fn with_durability(&self, durability: Durability) -> Db {
        Db { keyspace: Keyspace { durability, ..self.keyspace.clone() } }
    }

    /// The keyspace `n`, from 0 to 254.
    ///
    /// Errors: `Invalid` for 255, which is the engine's own.
    pub fn keyspace(&self, n: u8) -> Result<Keyspace> {
        let reader = self.reader.in_keyspace(n)?;
        Ok(Keyspace { reader, durability: self.durability })
    }

    /// Writes a batch: all of it or nothing. Returns the sequence number of its last entry.
    ///
    /// An empty batch writes nothing, but waits for its durability: with `Sync`, everything written before it is on the
    /// disk when this returns.
    pub fn write(&self, batch: Batch) -> Result<SeqNo> {
        match self.write_if(batch, &[])? {
            Outcome::Written(seq) => Ok(seq),
            Outcome::Unmet { .. } => unreachable!("there was no condition"),
        }
    }

    /// Writes a batch if every condition holds, and nobody can write in between.
    ///
    /// ```
    /// # use cairndb::{Batch, Condition, Db, Outcome};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = Db::open(dir.path().join("db")).unwrap();
    /// db.put("counter", "1")?;
    /// let mut batch = Batch::new();
    /// batch.put("counter", "2");
    /// let outcome = db.write_if(batch, &[Condition::value_equal("counter", "1")])?;
    /// assert!(matches!(outcome, Outcome::Written(_)));
    /// # Ok::<(), cairndb::Error>(())
    /// ```
    pub fn write_if(&self, batch: Batch, conditions: &[Condition]) -> Result<Outcome> {
        let durability = batch.wanted_durability().unwrap_or(self.durability);
        self.engine().write(Request { batch, conditions: conditions.to_vec(), durability })
    }

    /// Holds the present moment.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let engine = self.engine();
        engine.check_open()?;
        let present = || (engine.visible(), engine.clock.now_ms());
        let (id, seq, now_ms) = engine.snapshots.hold(present);
        let moment = Moment { seq, now_ms, hold: Arc::new(self.reader.hold(id)) };
        Ok(Snapshot { reader: Reader { moment: Some(moment), ..self.reader.clone() } })
    }

    /// Moves what is in memory into tables on disk.
    pub fn flush(&self) -> Result<()> {
        self.engine().flush()
    }

    /// Compacts until nothing is left that nobody can see. Reads and writes go on.
    pub fn compact(&self) -> Result<()> {
        self.engine().compact()
    }

    /// Moves the WAL checkpoint to the present, so that recovery has nothing to replay, and tells where it was.
    pub fn checkpoint(&self) -> Result<CheckpointMove> {
        let before = self.engine().checkpoint();
        self.engine().flush()?;
        Ok(CheckpointMove { before, after: self.engine().checkpoint() })
    }

    /// Makes one bounded step of background work; whether more is waiting. Where a thread attends to it, nobody needs
    /// to call this.
    pub fn maintain(&self) -> Result<bool> {
        self.engine().maintain()
    }

    /// As [`Db::maintain`], but nothing is done for idleness: for who calls it oftener than idleness can be told by, as
    /// after each write.
    pub fn maintain_due(&self) -> Result<bool> {
        self.engine().maintain_due()
    }

    /// Writes an openable copy of the database into `to`, which must be empty, while reads and writes go on. What is
    /// written after the call began may not be in it.
    ///
    /// Errors: `Corrupt`, with the file's name, if a table that is copied is damaged; `Invalid` if `to` is not empty;
    /// `Locked`; `DiskFull`, `Io`. What was begun in `to` then is no database.
    pub fn backup(&self, to: &dyn Storage, how: BackupMode) -> Result<BackupReport> {
        self.engine().check_open()?;
        self.engine().backup(to, how)
    }

    /// What was written behind the sequence number `since`, batch by batch, in order, as far as it can be seen; and what comes
    /// later, as it comes. How far back that reaches is [`Options::keep_changes_bytes`]'s to say.
    ///
    /// Errors: `Invalid` if what was written right behind `since` is not kept any more ([`Db::oldest_change`] tells what is),
    /// or if `since` is beyond the last write; `ReadOnly`; `Closed`; `Io`.
    ///
    /// ```
    /// # use cairndb::{Batch, ChangeKind, Db, Options};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = Options { keep_changes_bytes: 1 << 20, ..Options::default() }.open(dir.path().join("db"))?;
    /// let mut changes = db.changes(db.snapshot()?.seq())?;
    /// db.put("granite", "igneous")?;
    /// db.delete("granite")?;
    /// let change = changes.next_change()?.expect("something was written");
    /// assert!(matches!(&change.entries[0].kind, ChangeKind::Put { value, .. } if value == b"igneous"));
    /// let change = changes.next_change()?.expect("twice");
    /// assert_eq!(change.entries[0].kind, ChangeKind::Delete);
    /// assert_eq!(changes.next_change()?, None);
    /// # Ok::<(), cairndb::Error>(())
    /// ```
    pub fn changes(&self, since: SeqNo) -> Result<Changes> {
        self.engine().check_open()?;
        let database = Arc::clone(&self.reader.shared) as Arc<dyn Send + Sync>;
        Changes::new(Arc::clone(self.engine()), database, since)
    }

    /// The first sequence number whose change can be read: [`Db::changes`] takes any `since` from the one before it on.
    pub fn oldest_change(&self) -> SeqNo {
        self.engine().history.lock().oldest_seq()
    }

    /// What the database holds and has done since it was opened.
    pub fn stats(&self) -> Stats {
        self.engine().stats()
    }

    /// What opening it found and did.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.engine().recovery
    }

    /// Closes the database: all handles answer `Closed` from now on. What was written is made durable, and the log is
    /// sealed, so that the next open need not doubt it.
    ///
    /// Errors: what kept the log from being sealed. The database is closed all the same.
    pub fn close(&self) -> Result<()> {
        self.reader.shared.close()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.reader.shared.engine
    }

    /// Has `end` called before the database closes.
    #[cfg(unix)]
    pub(crate) fn before_close(&self, end: Box<dyn FnOnce() + Send>) {
        *self.reader.shared.before_close.lock() = Some(end);
    }
}

impl Deref for Db {
    type Target = Keyspace;

    fn deref(&self) -> &Keyspace {
        &self.keyspace
    }
}

impl Keyspace {
    /// Gives `key` this value. When it returns, the write survives what the handle's durability says.
    ///
    /// Errors: `Invalid`, `DiskFull`, `Busy`: not written; `Io`: unknown until the database is opened again; `Stopped`,
    /// `Closed`, `ReadOnly`.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.write_one(|batch| batch.put(key, value))
    }

    /// Gives `key` this value until `expires_at_ms`, in milliseconds since 1970.
    pub fn put_with_expiry(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expires_at_ms: u64,
    ) -> Result<()> {
        self.write_one(|batch| batch.put_with_expiry(key, value, expires_at_ms))
    }

    /// Removes `key`, whether or not it is there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.write_one(|batch| batch.delete(key))
    }

    /// Removes every key in `range`, with one entry, however many there are.
    pub fn delete_range(&self, range: impl Into<KeyRange>) -> Result<()> {
        self.write_one(|batch| batch.delete_range(range))
    }

    /// Removes every key of this keyspace.
    pub fn clear(&self) -> Result<()> {
        self.delete_range(..)
    }

    /// Takes what is new in a log of the roadmap's format: what lies behind the log's checkpoint, or behind `from`.
    ///
    /// Errors: `Corrupt` at the first record that is not whole and has a whole one behind it: what came before is stored,
    /// and the checkpoint says how far that is. `Invalid` if the bytes before the checkpoint have changed: nothing is.
    pub fn replay_log(&self, log: impl Read, from: Option<u64>) -> Result<ReplayReport> {
        self.shared.engine.replay_log(log, from, self.reader.keyspace, self.durability)
    }

    /// How far a log in the roadmap's format has been taken into this keyspace; `None` if it never was.
    pub fn replay_status(&self, log: impl Read) -> Result<Option<ReplayCheckpoint>> {
        self.shared.engine.replay_status(log, self.reader.keyspace)
    }

    fn write_one(&self, fill: impl FnOnce(&mut Batch) -> &mut Batch) -> Result<()> {
        let mut batch = Batch::new();
        fill(batch.any_keyspace(self.reader.keyspace));
        self.shared.engine.write(Request { batch, conditions: Vec::new(), durability: self.durability })?;
        Ok(())
    }
}

impl Deref for Keyspace {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Snapshot {
    /// The last write that it sees.
    pub fn seq(&self) -> SeqNo {
        self.reader.moment.as_ref().map_or(0, |moment| moment.seq)
    }

    /// The same moment of keyspace `n`.
    pub fn keyspace(&self, n: u8) -> Result<Snapshot> {
        Ok(Snapshot { reader: self.reader.in_keyspace(n)? })
    }
}

impl Deref for Snapshot {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Reader {
    /// The value of `key`, if it has one.
    ///
    /// Errors: `Corrupt`, with the file and offset of the damage; `Io`; `Closed`; `Invalid` for a key that is too long.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        Ok(self.get_entry(key)?.map(|entry| entry.value))
    }

    /// The value of `key` with the write that put it there and its expiry.
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.get_in(&self.view()?, key.as_ref())
    }

    /// The values of several keys, all at one moment, in their order.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Value>>> {
        let view = self.view()?;
        let get = |key: K| Ok(self.get_in(&view, key.as_ref())?.map(|entry| entry.value));
        keys.into_iter().map(get).collect()
    }

    /// When `key` expired: if its newest entry is one that did, and no flush or compaction has dropped it since.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = cairndb::Db::open(dir.path().join("db")).unwrap();
    /// db.put_with_expiry("a", "1", 1_000)?; // in 1970
    /// assert_eq!((db.get("a")?, db.expired_at_ms("a")?), (None, Some(1_000)));
    /// db.delete("a")?;
    /// assert_eq!(db.expired_at_ms("a")?, None);
    /// # Ok::<(), cairndb::Error>(())
    /// ```
    pub fn expired_at_ms(&self, key: impl AsRef<[u8]>) -> Result<Option<u64>> {
        let view = self.view()?;
        if self.get_in(&view, key.as_ref())?.is_some() {
            return Ok(None);
        }
        // By a clock that stands at the beginning, nothing has expired.
        let before = View::new(Arc::clone(view.tables()), view.seq(), Some(0));
        Ok(self.get_in(&before, key.as_ref())?.and_then(|entry| entry.expires_at_ms))
    }

    /// What a read of `key` looks at, newest first, up to what ends the search. It reads as [`Reader::get`] does.
    ///
    /// ```
    /// # use cairndb::{LookAnswer, LookPlace};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = cairndb::Db::open(dir.path().join("db")).unwrap();
    /// db.put("granite", "igneous")?;
    /// db.flush()?;
    /// let looks = db.explain("granite")?;
    /// assert_eq!((looks[0].place, looks[0].answer), (LookPlace::ActiveMemtable, LookAnswer::NotThere));
    /// assert!(matches!(looks[1].place, LookPlace::Table { level: 0, .. }));
    /// assert_eq!(looks[1].answer, LookAnswer::Value(1));
    /// # Ok::<(), cairndb::Error>(())
    /// ```
    pub fn explain(&self, key: impl AsRef<[u8]>) -> Result<Vec<Look>> {
        let (view, key) = (self.view()?, key.as_ref());
        check_key(key)?;
        with_stored_key(self.keyspace, key, |stored| view.explain(stored))
    }

    /// Whether `key` has a value.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get_entry(key)?.is_some())
    }

    /// The values of a range of keys, from either end. A range that ends before it begins holds nothing.
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        let stored = range.into().stored(self.keyspace);
        // Both ends read the same tables at the same moment, by the same reading of the clock.
        let moment = self.view().map(|view| (Arc::clone(view.tables()), view.seq()));
        let now_ms =
            self.moment.as_ref().map_or_else(|| self.shared.engine.clock.now_ms(), |moment| moment.now_ms);
        let range = stored.clone();
        let make = move || {
            let (tables, seq) = moment.clone()?;
            View::new(tables, seq, Some(now_ms)).cursor(range.clone())
        };
        let (front, make_back) = (make(), make);
        Scan::new(front, Box::new(make_back), stored, self.hold_iterator())
    }

    /// The values of all keys that begin with `prefix`.
    pub fn scan_prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan(KeyRange::prefix(prefix))
    }

    /// A cursor over a range of keys, which lends keys and values without copying them.
    pub fn cursor(&self, range: impl Into<KeyRange>) -> RangeCursor {
        RangeCursor::new(self.view_cursor(&range.into()), self.keyspace, self.hold_iterator())
    }

    /// About how many bytes the entries of a range take, in memory and on disk.
    pub fn approximate_len(&self, range: impl Into<KeyRange>) -> Result<u64> {
        self.view()?.approximate_len(&range.into().stored(self.keyspace))
    }

    fn view_cursor(&self, range: &KeyRange) -> Result<ViewCursor> {
        self.view()?.cursor(range.stored(self.keyspace))
    }

    fn get_in(&self, view: &View, key: &[u8]) -> Result<Option<Entry>> {
        check_key(key)?;
        with_stored_key(self.keyspace, key, |stored| view.get(stored))
    }

    fn view(&self) -> Result<View> {
        match &self.moment {
            None => self.shared.engine.view(),
            Some(moment) => self.shared.engine.view_at(moment.seq, moment.now_ms),
        }
    }

    fn in_keyspace(&self, keyspace: u8) -> Result<Reader> {
        if keyspace == KEYSPACE_SYSTEM {
            return Err(Error::invalid("keyspace 255 belongs to the engine; the others are 0 to 254"));
        }
        Ok(Reader { keyspace, ..self.clone() })
    }

    fn hold_iterator(&self) -> Hold {
        let id = self.shared.engine.snapshots.hold_iterator(self.shared.engine.clock.now_ms());
        self.hold(id)
    }

    fn hold(&self, id: u64) -> Hold {
        let engine = &self.shared.engine;
        Hold {
            database: Arc::clone(&self.shared) as Arc<dyn Send + Sync>,
            snapshots: Arc::clone(&engine.snapshots),
            id,
            closed: Arc::clone(&engine.health.closed),
        }
    }
}

impl Shared {
    fn close(&self) -> Result<()> {
        if let Some(end) = self.before_close.lock().take() {
            end();
        }
        self.engine.close()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever wants to know how it went calls `close`. After a broken promise a lock may be poisoned; a second panic
        // out of here would abort the process, and hide the first.
        drop(std::panic::catch_unwind(AssertUnwindSafe(|| self.close())));
    }
}

impl Engine {
    fn close(&self) -> Result<()> {
        if self.health.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let sealed = if self.read_only { Ok(()) } else { self.seal() };
        self.lock.lock().take();
        sealed
    }

    fn seal(&self) -> Result<()> {
        self.finish_maintenance();
        let mut log = self.log.lock();
        let sealed =
            if self.health.stopped.load(Ordering::Acquire) { Ok(()) } else { log.seal(RecordKind::Close) };
        log.wal = None;
        log.spare = None;
        sealed
    }
}
