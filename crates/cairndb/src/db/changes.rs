//! Changes: what was written, batch by batch, read back from the logs.
//!
//! Whoever keeps something in step with the database (an index, a copy, a browser tab) asks for everything behind the last
//! sequence number it has seen. The logs have it already, in the order of commits, with one checksum a batch; so none of it
//! is written twice: a log that recovery needs no more is kept until newer ones take all of
//! [`Options::keep_changes_bytes`](crate::Options::keep_changes_bytes).
//!
//! # Where it sits
//! On `wal`, `record` and the history of logs, which writers and maintenance keep; nobody waits for a reader.
//!
//! # Invariants
//! - I1. A change is handed out only when readers see it, in sequence order, and whole.
//! - I2. Changes are handed out without a gap, or the answer is `Invalid`: of a log that has gone, nothing read from it is.
//!
//! # When things break
//! A full disk takes the kept logs before it takes the reserve. A kept log that is damaged is told of once, as `Corrupt`, and
//! goes, with all before it; so does one that an open after a crash cannot sync, for it may be in the page cache alone. What was
//! seen and not yet synced may be lost with the power: a change says no more of durability than a read does.
//!
//! # Why this way
//! A reader holds no log back, so a slow one costs no space; it starts anew from a snapshot when it is told that what it asks
//! for has gone. Holding logs for readers, as replication slots do, would let one that never comes back fill the disk.

use cairndb_storage::File;

use super::Engine;
use crate::batch::decode_batch;
use crate::error::{Error, Result};
use crate::files::open_file;
use crate::header::{HEADER_LEN, Header};
use crate::key::{EntryRef, KEYSPACE_SYSTEM, KeyRange, Kind, SeqNo};
use crate::record::{Found, RecordKind, RecordReader};
use crate::sync::Arc;

/// A batch that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The sequence numbers of its first and its last entry.
    pub first_seq: SeqNo,
    /// The last. Whoever has seen this change goes on behind it.
    pub last_seq: SeqNo,
    /// What it did, in order; the engine's own entries apart.
    pub entries: Vec<ChangeEntry>,
}

/// One entry of a batch that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEntry {
    /// Its sequence number.
    pub seq: SeqNo,
    /// The keyspace it was written to.
    pub keyspace: u8,
    /// The key; of a range delete, where the range begins.
    pub key: Vec<u8>,
    /// What was done.
    pub kind: ChangeKind,
}

/// What an entry does to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// The key was given a value.
    Put {
        /// The value.
        value: Vec<u8>,
        /// Until when, in milliseconds since 1970; `None` for good.
        expires_at_ms: Option<u64>,
    },
    /// The key was deleted.
    Delete,
    /// Every key from this one on was deleted.
    DeleteRange {
        /// Up to here, and not this one; `None` for the end of the keyspace.
        end: Option<Vec<u8>>,
    },
}

/// A place in the sequence of changes, from which they are read as they come. See [`Db::changes`](crate::Db::changes).
pub struct Changes {
    engine: Arc<Engine>,
    #[expect(dead_code, reason = "held for its drop")]
    database: Arc<dyn Send + Sync>,
    /// Everything up to this has been handed out, or was never written.
    seen: SeqNo,
    place: Place,
}

/// Where the next record stands.
struct Place {
    log: Header,
    file: Arc<dyn File>,
    offset: u64,
    /// Of a log that is not written any more.
    reader: Option<RecordReader>,
}

impl Place {
    /// The start of the log in which what comes behind `since` begins.
    fn behind(engine: &Engine, since: SeqNo) -> Result<Place> {
        loop {
            let log = engine.history.lock().log_behind(since);
            let Some(log) = log else { return Err(gone(engine, since)) };
            match open_file(engine.storage.as_ref(), log.name, "changes.open") {
                Ok(file) => return Ok(Place { log, file, offset: HEADER_LEN, reader: None }),
                // Between the look and the open it may have gone.
                Err(_) if !engine.history.lock().contains(log.name.number) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A reader of the log as it is now.
    fn reader(&self) -> Result<RecordReader> {
        let reader = RecordReader::new(Arc::clone(&self.file), &self.log, "changes.read")?;
        Ok(reader.at(self.offset))
    }
}

impl Changes {
    /// `database` is what keeps it open.
    pub(super) fn new(engine: Arc<Engine>, database: Arc<dyn Send + Sync>, since: SeqNo) -> Result<Changes> {
        if engine.read_only {
            return Err(Error::ReadOnly);
        }
        let place = Place::behind(&engine, since)?;
        let visible = engine.visible();
        if since > visible {
            return Err(Error::invalid(format_args!(
                "the last change is {visible}; there is none behind {since}"
            )));
        }
        Ok(Changes { engine, database, seen: since, place })
    }

    /// The next change; `None` if there is none yet.
    ///
    /// Errors: `Invalid` if changes that were not read yet have gone, and with them the way to the next; `Corrupt`; `Io`;
    /// `Closed`.
    pub fn next_change(&mut self) -> Result<Option<Change>> {
        let engine = &Arc::clone(&self.engine);
        loop {
            engine.check_open()?;
            let visible = engine.visible();
            if self.seen >= visible {
                return Ok(None);
            }
            let number = self.place.log.name.number;
            let Some(next) = engine.history.lock().after(number) else {
                self.place = Place::behind(engine, self.seen)?;
                continue;
            };
            if let Some(next) = next.filter(|next| self.place.offset >= next.own[1]) {
                // After a crash numbers are passed over that no write has.
                self.seen = self.seen.max(next.own[2] - 1);
                self.place = Place::behind(engine, self.seen)?;
                continue;
            }
            let read = match next {
                Some(_) => self.read_passed(),
                None => self.read_active(engine, visible),
            };
            if !engine.history.lock().contains(number) {
                continue;
            }
            let read = read.inspect_err(|error| engine.forget_log(number, error))?;
            let Some(change) = read.filter(|change| change.last_seq > self.seen) else { continue };
            self.seen = change.last_seq;
            if !change.entries.is_empty() {
                return Ok(Some(change));
            }
        }
    }

    /// The next record of a log that is not written any more; `None` for a mark.
    fn read_passed(&mut self) -> Result<Option<Change>> {
        let mut reader = match self.place.reader.take() {
            Some(reader) => reader,
            None => self.place.reader()?,
        };
        let change = read_change(&mut reader, &self.place.log)?;
        self.place.offset = reader.offset();
        self.place.reader = Some(reader);
        Ok(change)
    }

    /// The next record of the log that is being written; there is one, since something behind `self.seen` can be seen.
    fn read_active(&mut self, engine: &Engine, visible: SeqNo) -> Result<Option<Change>> {
        engine.write_out()?;
        // What is read ahead here would be old by the next time.
        let mut reader = self.place.reader()?.exact();
        let change = read_change(&mut reader, &self.place.log)?;
        if change.as_ref().is_some_and(|change| change.last_seq > visible) {
            return Ok(None);
        }
        self.place.offset = reader.offset();
        Ok(change)
    }
}

impl Engine {
    /// After damage in log `number`: drops it and those before it, as far as recovery does not need them.
    fn forget_log(&self, number: u64, error: &Error) {
        if matches!(error, Error::Corrupt { .. }) {
            self.drop_logs(|history, needed| history.drop_up_to(number, needed));
        }
    }

    /// Has the operating system take what waits in the log's buffer.
    fn write_out(&self) -> Result<()> {
        let mut log = self.log.lock();
        let Some(wal) = log.wal.as_mut().filter(|wal| wal.buffered_len() > 0) else { return Ok(()) };
        self.check_not_stopped()?;
        wal.write().map_err(|error| self.stop(error))
    }
}

/// The batch at the reader's place; `None` if it is a mark, or holds nothing.
fn read_change(reader: &mut RecordReader, log: &Header) -> Result<Option<Change>> {
    let record = match reader.next()? {
        Found::Record(record) => record,
        Found::Bad { offset, what } => return Err(Error::corrupt(log.name, offset, what)),
        Found::End => {
            return Err(Error::corrupt(log.name, reader.offset(), "the log ends before its changes do"));
        }
    };
    if record.kind != RecordKind::Batch {
        return Ok(None);
    }
    let malformed =
        || Error::corrupt(log.name, record.offset, "the record passes its checksum, but is no batch");
    let (first_seq, entries) = decode_batch(record.payload).ok_or_else(malformed)?;
    let Some(last) = u64::from(entries.left()).checked_sub(1) else { return Ok(None) };
    let read: Option<Vec<EntryRef<'_>>> = entries.collect();
    let entries = read.ok_or_else(malformed)?.into_iter().filter_map(change_entry).collect();
    Ok(Some(Change { first_seq, last_seq: first_seq + last, entries }))
}

/// An entry as users know it; `None` for one of the engine's own.
fn change_entry(entry: EntryRef<'_>) -> Option<ChangeEntry> {
    let (&keyspace, key) = entry.key.split_first()?;
    if keyspace == KEYSPACE_SYSTEM {
        return None;
    }
    let kind = match entry.kind {
        Kind::Put => ChangeKind::Put { value: entry.value.to_vec(), expires_at_ms: None },
        Kind::PutWithExpiry => {
            ChangeKind::Put { value: entry.value.to_vec(), expires_at_ms: Some(entry.expires_at_ms) }
        }
        Kind::Delete => ChangeKind::Delete,
        Kind::RangeDelete => {
            let ends_with_keyspace = entry.value == KeyRange::from(..).stored(keyspace).end;
            ChangeKind::DeleteRange { end: (!ends_with_keyspace).then(|| entry.value[1..].to_vec()) }
        }
    };
    Some(ChangeEntry { seq: entry.seq, keyspace, key: key.to_vec(), kind })
}

fn gone(engine: &Engine, since: SeqNo) -> Error {
    let oldest = engine.history.lock().oldest_seq();
    Error::invalid(format_args!("the changes behind {since} are not kept any more; the oldest is {oldest}"))
}
