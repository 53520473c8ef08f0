//! Stage 2, the index: the same log, and in memory where in it the newest record of each key begins.
//!
//! A `get` looks its key up and reads one record, however many there are. Opening pays for it: it reads every key, and
//! memory holds every key.
//!
//! # Invariants
//! - I1. What a key holds is what its last record in the log says.
//! - I2. `index` holds exactly the keys that have a value, and where the last record of each begins.
//!
//! # When things break
//! As in stage 1: nothing is synced, and no checksum is looked at. A power cut may take anything, or leave half a record,
//! behind which nothing can be read any more.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use cairndb_storage::{File, FileKind, FileName, Storage};

mod record;

use record::Head;

/// The log. In a directory it is called `data.log`.
pub const DATA_LOG: FileName = FileName { kind: FileKind::Wal, number: 1 };

/// A database: keys and values of any bytes.
pub struct Database {
    log: Arc<dyn File>,
    /// Where the next record goes, in bytes.
    end: u64,
    /// Where the newest record of each key begins, in bytes.
    index: HashMap<Vec<u8>, u64>,
}

impl Database {
    /// Opens the database in `storage`, or begins one.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(storage: Arc<dyn Storage>) -> io::Result<Database> {
        let log = if storage.list("open.list")?.contains(&DATA_LOG) {
            storage.open("open.open", DATA_LOG)?
        } else {
            storage.create("open.create", DATA_LOG.kind, 0)?.1
        };
        let end = log.len("open.len")?;
        let mut database = Database { log, end, index: HashMap::new() };
        let mut at = 0;
        while at < end {
            let head = Head::read(database.log.as_ref(), at)?;
            let key = head.key(database.log.as_ref(), at)?;
            database.note(key, at, head.value_len.is_some());
            at += head.record_len();
        }
        Ok(database)
    }

    /// Makes `key` hold `value`.
    ///
    /// # Errors
    /// `InvalidInput` for a key or value that is too long; what the disk says.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.append(key, Some(value))
    }

    /// What `key` holds, if anything.
    ///
    /// # Errors
    /// What the disk says.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(at) = self.index.get(key) else { return Ok(None) };
        Head::read(self.log.as_ref(), *at)?.value(self.log.as_ref(), *at)
    }

    /// Makes `key` hold nothing.
    ///
    /// # Errors
    /// As [`Database::put`].
    pub fn delete(&mut self, key: &[u8]) -> io::Result<()> {
        self.append(key, None)
    }

    fn append(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let record = record::encode(key, value)?;
        let at = self.end;
        // An append that fails may have written a part: the next one goes behind it.
        self.end += record.len() as u64;
        self.log.append("put.append", at, &record)?;
        self.note(key.to_vec(), at, value.is_some());
        Ok(())
    }

    /// Takes over what the record at `at` says: I2.
    fn note(&mut self, key: Vec<u8>, at: u64, has_value: bool) {
        if has_value {
            self.index.insert(key, at);
        } else {
            self.index.remove(&key);
        }
    }
}
