//! Stage 3, the write-ahead log: the same log and index, which a power cut at any moment leaves right.
//!
//! A `put` that has returned is on the disk: the record was appended, and the log synced. On opening the log is read
//! from its start, which is the last *checkpoint*: a new log that begins with what was live, after which the old one
//! went. So neither the log nor the time to open grows for ever.
//!
//! # Invariants
//! - I1. What a key holds is what its last whole record in the log says.
//! - I2. `index` holds exactly the keys that have a value, and where the last record of each begins.
//! - I3. A write is confirmed only when its record is synced, and the log's name too.
//! - I4. Nothing is written to a new log, but what it begins with, before the old one's name is gone for good. So where
//!   two stand, the old one is right, and the new one was not finished.
//!
//! # When things break
//! At most one record was not synced when the power went, so at most the last one is torn: what is not whole, with
//! nothing whole behind it, is what was never confirmed, and opening leaves it out. With a whole record behind it, it
//! is damage, and opening says where. After a write that failed nobody knows what the disk has: from then on all
//! writes fail, until the database is opened again.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use cairndb_storage::{File, FileKind, FileName, Lock, LockError, LockMode, Storage};

mod record;

use record::Record;

/// The log, before the first checkpoint. In a directory it is called `data.log`.
pub const DATA_LOG: FileName = FileName { kind: FileKind::Wal, number: 1 };

/// The log may grow to twice what is live in it, and so much more, in bytes.
const CHECKPOINT_SLACK: u64 = 64 << 10;

/// A database: keys and values of any bytes.
pub struct Database {
    storage: Arc<dyn Storage>,
    name: FileName,
    log: Arc<dyn File>,
    /// Where the next record goes, in bytes.
    end: u64,
    /// Where the newest record of each key begins, in bytes, and how long it is.
    index: HashMap<Vec<u8>, (u64, u64)>,
    /// How long the records are that `index` names, in bytes.
    live_len: u64,
    /// A write has failed.
    is_broken: bool,
    /// Nobody else writes meanwhile.
    _lock: Lock,
}

impl Database {
    /// Opens the database in `storage`, or begins one.
    ///
    /// # Errors
    /// `WouldBlock` if somebody has it open; `InvalidData` for a damaged record; what the disk says.
    pub fn open(storage: Arc<dyn Storage>) -> io::Result<Database> {
        let lock = storage.lock("open.lock", LockMode::Exclusive).map_err(|error| match error {
            LockError::Held(who) => io::Error::new(io::ErrorKind::WouldBlock, format!("{who} has it open")),
            LockError::Io(error) => error,
        })?;
        let logs = storage.list("open.list")?.into_iter().filter(|name| name.kind == DATA_LOG.kind);
        let logs: Vec<_> = logs.collect();
        // I4.
        for unfinished in logs.iter().skip(1) {
            storage.remove("open.remove", *unfinished)?;
        }
        let (name, log) = match logs.first() {
            Some(name) => (*name, storage.open("open.open", *name)?),
            None => (DATA_LOG, storage.create("open.create", DATA_LOG.kind, 0)?.1),
        };
        storage.sync_names("open.sync_names")?;
        let (index, live_len, is_broken) = (HashMap::new(), 0, false);
        let mut database = Database { storage, name, log, end: 0, index, live_len, is_broken, _lock: lock };
        database.replay()?;
        Ok(database)
    }

    /// Reads the log.
    fn replay(&mut self) -> io::Result<()> {
        let len = self.log.len("open.len")?;
        while let Some(record) = record::read(self.log.as_ref(), self.end, len)? {
            self.note(&record.key, record.value.is_some().then_some((self.end, record.len)));
            self.end += record.len;
        }
        if record::follows(self.log.as_ref(), self.end, len)? {
            return Err(self.damaged(self.end));
        }
        // What has been read must not vanish again with the next power cut. And the log only grows, so a torn record
        // stays where it is: then the log goes, and what is live in it begins a new one.
        self.log.sync("open.sync")?;
        if self.end < len { self.checkpoint() } else { Ok(()) }
    }

    /// Makes `key` hold `value`. When it returns, that is on the disk.
    ///
    /// # Errors
    /// `InvalidInput` for a key or value that is too long; what the disk says: then it may or may not be there, and no
    /// write succeeds before the database has been opened again.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.append(key, Some(value))
    }

    /// What `key` holds, if anything.
    ///
    /// # Errors
    /// `InvalidData` for a record that is damaged; what the disk says.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some((at, _)) = self.index.get(key) else { return Ok(None) };
        Ok(self.read(*at)?.value)
    }

    /// Makes `key` hold nothing. When it returns, that is on the disk.
    ///
    /// # Errors
    /// As [`Database::put`].
    pub fn delete(&mut self, key: &[u8]) -> io::Result<()> {
        self.append(key, None)
    }

    fn append(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        self.check_broken()?;
        let (record, at) = (record::encode(key, value)?, self.end);
        self.is_broken = true;
        self.log.append("put.append", at, &record)?;
        self.log.sync("put.sync")?;
        self.is_broken = false;
        self.end += record.len() as u64;
        self.note(key, value.is_some().then_some((at, record.len() as u64)));
        if self.end > 2 * self.live_len + CHECKPOINT_SLACK { self.checkpoint() } else { Ok(()) }
    }

    /// Begins a new log with what is live, and lets the old one go: I4.
    ///
    /// # Errors
    /// As [`Database::put`].
    pub fn checkpoint(&mut self) -> io::Result<()> {
        self.check_broken()?;
        self.is_broken = true;
        let (number, log) = self.storage.create("checkpoint.create", self.name.kind, self.name.number)?;
        let mut live: Vec<u64> = self.index.values().map(|(at, _)| *at).collect();
        live.sort_unstable();
        let (mut end, mut index) = (0, HashMap::new());
        for at in live {
            let record = self.read(at)?;
            let bytes = record::encode(&record.key, record.value.as_deref())?;
            log.append("checkpoint.append", end, &bytes)?;
            index.insert(record.key, (end, record.len));
            end += record.len;
        }
        log.sync("checkpoint.sync")?;
        self.storage.sync_names("checkpoint.sync_names")?;
        self.storage.remove("checkpoint.remove", self.name)?;
        self.storage.sync_names("checkpoint.sync_names")?;
        (self.name.number, self.log, self.end, self.index) = (number, log, end, index);
        self.is_broken = false;
        Ok(())
    }

    /// Takes over where the newest record of `key` is, or that it holds nothing: I2.
    fn note(&mut self, key: &[u8], place: Option<(u64, u64)>) {
        let before = match place {
            Some(place) => self.index.insert(key.to_vec(), place),
            None => self.index.remove(key),
        };
        let len = |place: Option<(u64, u64)>| place.map_or(0, |(_, len)| len);
        self.live_len = self.live_len + len(place) - len(before);
    }

    fn read(&self, at: u64) -> io::Result<Record> {
        record::read(self.log.as_ref(), at, self.end)?.ok_or_else(|| self.damaged(at))
    }

    fn check_broken(&self) -> io::Result<()> {
        if self.is_broken {
            Err(io::Error::other("a write has failed: open the database again"))
        } else {
            Ok(())
        }
    }

    fn damaged(&self, at: u64) -> io::Error {
        let text = format!("{}: the record at {at} is damaged", self.name);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}
