//! Stage 1, the log: a database that is one file, to which every put and delete is appended.
//!
//! A `get` looks at one record after the other, from the newest to the oldest, until one has its key. That is slow when
//! there are many, and right: the newest record of a key says what it holds.
//!
//! # Invariants
//! - I1. What a key holds is what its last record in the log says.
//! - I2. `records` names where every record begins, in the order in which they were appended.
//!
//! # When things break
//! Nothing is synced, and no checksum is looked at. A killed process loses nothing, because the system still has what
//! was written. A power cut may take any of it, or leave half a record, behind which nothing can be read any more.

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
    /// Where each record begins, in bytes.
    records: Vec<u64>,
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
        let (mut at, mut records) = (0, Vec::new());
        while at < end {
            records.push(at);
            at += Head::read(log.as_ref(), at)?.record_len();
        }
        Ok(Database { log, end, records })
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
        for at in self.records.iter().rev() {
            let head = Head::read(self.log.as_ref(), *at)?;
            if head.key_len == key.len() as u64 && head.key(self.log.as_ref(), *at)? == key {
                return head.value(self.log.as_ref(), *at);
            }
        }
        Ok(None)
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
        self.records.push(at);
        Ok(())
    }
}
