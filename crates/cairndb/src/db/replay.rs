//! Replay: takes up a log in the roadmap's format, and later what has come to it since.
//!
//! How far a log has been taken is written in the same batch as the entries it covers, so a crash between two batches
//! loses nothing and repeats nothing. It is kept under the log's *identity*, a hash of its first record, not under its
//! path: a log that is moved is the same log. With the offset goes a hash of all bytes before it; if they have changed
//! since, replay stops and says so.
//!
//! # On disk
//! In keyspace 255, under `replay/` and the identity in 16 hexadecimal digits: offset u64, hash u64. Agrees with
//! FORMAT.md, "Keyspace 255".

use std::io::Read;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::Engine;
use super::write::Request;
use crate::batch::Batch;
use crate::coding::Decoder;
use crate::error::{Error, Result};
use crate::key::{KEYSPACE_SYSTEM, stored_key};
use crate::options::Durability;
use crate::roadmap_log::LogReader;

/// A batch of replayed entries is written when it is this long, in bytes.
const BATCH_LEN: usize = 256 << 10;

/// How far a log has been taken into the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayCheckpoint {
    /// The log's identity: a hash of its first record.
    pub log: u64,
    /// Everything before this offset has been taken.
    pub offset: u64,
    /// A hash of the bytes before it.
    pub hash: u64,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReplayReport {
    /// The log's identity; 0 if it has no whole record.
    pub log: u64,
    /// Where replay began in the log.
    pub from: u64,
    /// The log's new checkpoint.
    pub to: u64,
    /// Puts taken.
    pub puts: u64,
    /// Deletes taken.
    pub deletes: u64,
    /// Bytes of a torn record at the end, left for next time.
    pub torn_bytes: u64,
}

impl Engine {
    /// Takes what is new in `log`: what lies behind its checkpoint, or behind `from` if that is given.
    pub(super) fn replay_log(
        &self,
        log: impl Read,
        from: Option<u64>,
        keyspace: u8,
        durability: Durability,
    ) -> Result<ReplayReport> {
        let mut reader = LogReader::new(log);
        let mut hasher = Xxh3::new();
        let mut report = ReplayReport::default();
        let mut begin: Option<Begin> = None;
        let mut batch = Batch::new();
        loop {
            let offset = reader.offset();
            let Some((entry, bytes)) = reader.next_record()? else { break };
            let begin = match &mut begin {
                Some(begin) => begin,
                None => {
                    report.log = xxh3_64(bytes);
                    begin.insert(self.begin_of(report.log, from)?)
                }
            };
            begin.check(offset, &hasher)?;
            hasher.update(bytes);
            if offset < begin.offset {
                continue;
            }
            batch.keyspace(keyspace);
            match &entry.value {
                Some(value) => batch.put(&entry.key, value),
                None => batch.delete(&entry.key),
            };
            report.puts += u64::from(entry.value.is_some());
            report.deletes += u64::from(entry.value.is_none());
            if batch.encoded_len() >= BATCH_LEN.min(self.options.batch_len_max() as usize / 2) {
                self.write_replayed(&mut batch, report.log, reader.offset(), &hasher, durability)?;
            }
        }
        if let Some(mut begin) = begin {
            begin.check(reader.offset(), &hasher)?;
            if reader.offset() < begin.offset {
                return Err(changed(
                    reader.offset(),
                    begin.offset,
                    "the log has become shorter than its checkpoint",
                ));
            }
            report.from = begin.offset;
        }
        if !batch.is_empty() {
            self.write_replayed(&mut batch, report.log, reader.offset(), &hasher, durability)?;
        }
        report.to = reader.offset();
        report.torn_bytes = reader.torn_bytes();
        Ok(report)
    }

    /// How far this log has been taken; `None` if it never was, or has no whole record.
    pub(super) fn replay_status(&self, log: impl Read) -> Result<Option<ReplayCheckpoint>> {
        let mut reader = LogReader::new(log);
        match reader.next_record()? {
            Some((_, bytes)) => {
                let log = xxh3_64(bytes);
                self.replay_checkpoint(log)
            }
            None => Ok(None),
        }
    }

    fn replay_checkpoint(&self, log: u64) -> Result<Option<ReplayCheckpoint>> {
        let Some(entry) = self.view()?.get(&stored_key(KEYSPACE_SYSTEM, &checkpoint_key(log)))? else {
            return Ok(None);
        };
        let mut from = Decoder::new(&entry.value);
        match (from.u64(), from.u64(), from.is_at_end()) {
            (Some(offset), Some(hash), true) => Ok(Some(ReplayCheckpoint { log, offset, hash })),
            _ => Err(Error::invalid(format_args!("the replay checkpoint of log {log:016x} makes no sense"))),
        }
    }

    fn begin_of(&self, log: u64, from: Option<u64>) -> Result<Begin> {
        let stored = if from.is_some() { None } else { self.replay_checkpoint(log)? };
        Ok(match (from, stored) {
            (Some(offset), _) => Begin { offset, hash: None, reached: false },
            (None, Some(stored)) => Begin { offset: stored.offset, hash: Some(stored.hash), reached: false },
            (None, None) => Begin { offset: 0, hash: None, reached: false },
        })
    }

    fn write_replayed(
        &self,
        batch: &mut Batch,
        log: u64,
        offset: u64,
        hasher: &Xxh3,
        durability: Durability,
    ) -> Result<()> {
        let mut value = offset.to_le_bytes().to_vec();
        value.extend_from_slice(&hasher.digest().to_le_bytes());
        batch.any_keyspace(KEYSPACE_SYSTEM).put(checkpoint_key(log), value);
        let batch = std::mem::take(batch);
        self.write(Request { batch, conditions: Vec::new(), durability })?;
        Ok(())
    }
}

/// Where a replay begins, and what the bytes before it must hash to.
struct Begin {
    offset: u64,
    hash: Option<u64>,
    reached: bool,
}

impl Begin {
    /// Called at the start of each record: when the beginning is reached, all before it is as it was.
    fn check(&mut self, offset: u64, hasher: &Xxh3) -> Result<()> {
        if self.reached || offset < self.offset {
            return Ok(());
        }
        self.reached = true;
        if offset > self.offset {
            return Err(changed(offset, self.offset, "no record begins there"));
        }
        if self.hash.is_some_and(|hash| hash != hasher.digest()) {
            return Err(changed(offset, self.offset, "the bytes before it are not those that were taken"));
        }
        Ok(())
    }
}

fn changed(offset: u64, checkpoint: u64, what: &str) -> Error {
    let what = format!("the log's checkpoint is at offset {checkpoint}, but {what}");
    Error::Corrupt { file: "the log".into(), offset, what }
}

fn checkpoint_key(log: u64) -> Vec<u8> {
    format!("replay/{log:016x}").into_bytes()
}
