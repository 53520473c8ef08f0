//! Stage 4, the LSM: what is newest in memory, sorted, with a log behind it; all else in sorted files.
//!
//! A `put` goes to the log, as in stage 3, and to the *memtable*. When the memtable is full, it is written as a *table*,
//! and a new log begins. A `get` looks from the newest to the oldest: memtable, then one table after the other. When
//! there are too many tables, they are merged into one, and what was overwritten or deleted is gone. So memory holds
//! no longer every key, and nothing is ever searched from one end to the other.
//!
//! # Invariants
//! - I1. Of the memtable, and the tables from the last to the first, whichever has a key first says what it holds.
//! - I2. The memtable is what the log says behind its first record. That one is the checkpoint, and names the tables.
//! - I3. A write is confirmed only when its record is synced, and the log's name too.
//! - I4. Nothing is written to a new log, but its checkpoint, before the old one's name is gone for good. So where two
//!   stand, the old one is right, and the new one was not finished. A table that no checkpoint names is not needed.
//! - I5. A tombstone (a deleted key's entry) stays until there is no older table that may have the key.
//!
//! # When things break
//! As in stage 3; and a table that is damaged says so, with the place, when it is read.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use cairndb_storage::{File, FileKind, FileName, Lock, LockError, LockMode, Storage};

mod record;
mod table;

use table::{Entries, Entry, Table};

/// The first log. In a directory it is called `data.log`.
pub const DATA_LOG: FileName = FileName { kind: FileKind::Wal, number: 1 };

/// The key of the record that every log begins with.
const CHECKPOINT: &[u8] = b"tables";

/// The memtable is full from so many bytes of records on.
const MEMTABLE_LEN: u64 = 64 << 10;

/// With so many tables, the next one takes them all in.
const TABLES_MAX: usize = 4;

/// A database: keys and values of any bytes.
pub struct Database {
    storage: Arc<dyn Storage>,
    name: FileName,
    log: Arc<dyn File>,
    /// Where the next record goes, in bytes.
    end: u64,
    /// What is not in a table yet; `None` for a deleted key.
    memtable: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Oldest first.
    tables: Vec<Table>,
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
        let names = storage.list("open.list")?;
        let logs: Vec<_> = names.iter().filter(|name| name.kind == DATA_LOG.kind).collect();
        // I4.
        for unfinished in logs.iter().skip(1) {
            storage.remove("open.remove", **unfinished)?;
        }
        let (name, log) = match logs.first() {
            Some(name) => (**name, storage.open("open.open", **name)?),
            None => (DATA_LOG, storage.create("open.create", DATA_LOG.kind, 0)?.1),
        };
        storage.sync_names("open.sync_names")?;
        let (memtable, tables, is_broken) = (BTreeMap::new(), Vec::new(), false);
        let mut database = Database { storage, name, log, end: 0, memtable, tables, is_broken, _lock: lock };
        database.replay(&names)?;
        Ok(database)
    }

    /// Opens the tables that the log's checkpoint names, removes others, and reads the rest of the log.
    fn replay(&mut self, names: &[FileName]) -> io::Result<()> {
        let len = self.log.len("open.len")?;
        let mut live = Vec::new();
        while let Some(record) = record::read(self.log.as_ref(), self.end, len)? {
            if self.end == 0 {
                let numbers = record.value.unwrap_or_default();
                live.extend(
                    numbers.chunks_exact(8).filter_map(|n| n.first_chunk()).map(|n| u64::from_le_bytes(*n)),
                );
            } else {
                self.memtable.insert(record.key, record.value);
            }
            self.end += record.len;
        }
        let mut tables = names.iter().filter(|name| name.kind == FileKind::SsTable).peekable();
        // A log without its checkpoint was never finished: then there is no table either.
        let lost_checkpoint = self.end == 0 && tables.peek().is_some();
        if lost_checkpoint || record::follows(self.log.as_ref(), self.end, len)? {
            let text = format!("{}: the record at {} is damaged", self.name, self.end);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        for orphan in tables.filter(|name| !live.contains(&name.number)) {
            self.storage.remove("open.remove", *orphan)?;
        }
        for number in live {
            self.tables.push(Table::open(self.storage.as_ref(), number)?);
        }
        // What has been read must not vanish again with the next power cut. And the log only grows, so a torn record
        // stays where it is: then a new log begins.
        self.log.sync("open.sync")?;
        if self.end == 0 || self.end < len { self.flush() } else { Ok(()) }
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
        if let Some(value) = self.memtable.get(key) {
            return Ok(value.clone());
        }
        for table in self.tables.iter().rev() {
            if let Some(value) = table.get(key)? {
                return Ok(value);
            }
        }
        Ok(None)
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
        let record = record::encode(key, value)?;
        self.is_broken = true;
        self.log.append("put.append", self.end, &record)?;
        self.log.sync("put.sync")?;
        self.is_broken = false;
        self.end += record.len() as u64;
        self.memtable.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        if self.end > MEMTABLE_LEN { self.flush() } else { Ok(()) }
    }

    /// Writes the memtable as a table, together with all others if there are too many, and begins a new log: I4.
    ///
    /// # Errors
    /// As [`Database::put`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.check_broken()?;
        self.is_broken = true;
        let above = self.tables.iter().map(|table| table.number).max().unwrap_or(0);
        let newest = self.memtable.iter().map(|(key, value)| Ok((key.clone(), value.clone())));
        let mut spent = Vec::new();
        if self.tables.len() < TABLES_MAX {
            if !self.memtable.is_empty() {
                self.tables.push(Table::write(self.storage.as_ref(), above, Box::new(newest))?);
            }
        } else {
            let older = self.tables.iter().rev().map(Table::entries);
            // I5: no table is left out, so there is none that a tombstone would have to hide from.
            let newest: Entries<'_> = Box::new(newest);
            let merged = merge([newest].into_iter().chain(older).collect());
            let values = merged.filter(|entry| !matches!(entry, Ok((_, None))));
            let table = Table::write(self.storage.as_ref(), above, Box::new(values))?;
            spent = std::mem::replace(&mut self.tables, vec![table]);
        }
        let (number, log) = self.storage.create("flush.create", self.name.kind, self.name.number)?;
        let numbers: Vec<u8> = self.tables.iter().flat_map(|table| table.number.to_le_bytes()).collect();
        let checkpoint = record::encode(CHECKPOINT, Some(&numbers))?;
        log.append("flush.append", 0, &checkpoint)?;
        log.sync("flush.sync")?;
        self.storage.sync_names("flush.sync_names")?;
        self.storage.remove("flush.remove", self.name)?;
        self.storage.sync_names("flush.sync_names")?;
        for table in spent {
            self.storage
                .remove("flush.remove", FileName { kind: FileKind::SsTable, number: table.number })?;
        }
        (self.name.number, self.log, self.end) = (number, log, checkpoint.len() as u64);
        self.memtable.clear();
        self.is_broken = false;
        Ok(())
    }

    fn check_broken(&self) -> io::Result<()> {
        if self.is_broken {
            Err(io::Error::other("a write has failed: open the database again"))
        } else {
            Ok(())
        }
    }
}

/// Several sorted runs of entries as one: of each key the entry of the first run that has it.
fn merge(runs: Vec<Entries<'_>>) -> impl Iterator<Item = io::Result<Entry>> {
    let mut runs: Vec<_> = runs.into_iter().map(Iterator::peekable).collect();
    std::iter::from_fn(move || {
        // An error comes before every key.
        let key_of = |next: &io::Result<Entry>| next.as_ref().ok().map(|(key, _)| key.clone());
        let least = runs.iter_mut().filter_map(|run| run.peek().map(key_of)).min()?;
        let mut same = runs.iter_mut().filter_map(|run| run.next_if(|next| key_of(next) == least));
        let newest = same.next();
        same.for_each(drop);
        newest
    })
}
