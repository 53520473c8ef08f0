//! Replay: takes up a log in the roadmap's format, and later what has come to it since.
//!
//! How far a log has been taken is written in the same batch as the entries it covers, so a crash between two batches
//! loses nothing and repeats nothing. It is kept under the log's *identity*, a hash of its first record, not under its
//! path: a log that is moved is the same log. With the offset goes a hash of all bytes before it; if they have changed
//! since, replay stops and says so.
//!
//! # On disk
//! In keyspace 255, under `replay/`, the identity in 16 hexadecimal digits, `/`, and the keyspace that the entries go to
//! in 2: offset u64, hash u64. Agrees with FORMAT.md, "Keyspace 255".

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
        let mut replay = Replay {
            reader: LogReader::new(log),
            hasher: Xxh3::new(),
            batch: Batch::new(),
            keyspace,
            durability,
            report: ReplayReport::default(),
        };
        if self.begin(&mut replay, from)? {
            // What stands before a record that is not whole is stored, and then the error is told.
            let taken = self.take_records(&mut replay);
            self.write_taken(&mut replay)?;
            taken?;
        }
        replay.report.to = replay.reader.offset();
        replay.report.torn_bytes = replay.reader.torn_bytes();
        Ok(replay.report)
    }

    /// Learns which log this is and goes to where it has been taken to; `false` if it has no whole record.
    fn begin<R: Read>(&self, replay: &mut Replay<R>, from: Option<u64>) -> Result<bool> {
        let Some(first) = replay.reader.peek_record()? else { return Ok(false) };
        let log = xxh3_64(first);
        let stored = if from.is_some() { None } else { self.replay_checkpoint(log, replay.keyspace)? };
        let begin = from.or(stored.map(|stored| stored.offset)).unwrap_or(0);
        let changed = |what: &str| {
            Error::invalid(format_args!("the log's checkpoint is at offset {begin}, but {what}"))
        };
        if !replay.reader.skip_to(begin, &mut |bytes| replay.hasher.update(bytes))? {
            return Err(changed("the log is shorter than that"));
        }
        if stored.is_some_and(|stored| stored.hash != replay.hasher.digest()) {
            return Err(changed("the bytes before it are not those that were taken"));
        }
        replay.report.log = log;
        replay.report.from = begin;
        Ok(true)
    }

    fn take_records<R: Read>(&self, replay: &mut Replay<R>) -> Result<()> {
        while let Some((entry, bytes)) = replay.reader.next_record()? {
            replay.hasher.update(bytes);
            replay.batch.keyspace(replay.keyspace);
            match &entry.value {
                Some(value) => replay.batch.put(&entry.key, value),
                None => replay.batch.delete(&entry.key),
            };
            replay.report.puts += u64::from(entry.value.is_some());
            replay.report.deletes += u64::from(entry.value.is_none());
            if replay.batch.encoded_len() >= BATCH_LEN.min(self.options.batch_len_max() as usize / 2) {
                self.write_taken(replay)?;
            }
        }
        Ok(())
    }

    /// Writes what was taken, and in the same batch how far that is.
    fn write_taken<R: Read>(&self, replay: &mut Replay<R>) -> Result<()> {
        if replay.batch.is_empty() {
            return Ok(());
        }
        let mut value = replay.reader.offset().to_le_bytes().to_vec();
        value.extend_from_slice(&replay.hasher.digest().to_le_bytes());
        replay
            .batch
            .any_keyspace(KEYSPACE_SYSTEM)
            .put(checkpoint_key(replay.report.log, replay.keyspace), value);
        let batch = std::mem::take(&mut replay.batch);
        self.write(Request { batch, conditions: Vec::new(), durability: replay.durability })?;
        Ok(())
    }

    /// How far this log has been taken into `keyspace`; `None` if it never was, or has no whole record.
    pub(super) fn replay_status(&self, log: impl Read, keyspace: u8) -> Result<Option<ReplayCheckpoint>> {
        let mut reader = LogReader::new(log);
        match reader.peek_record()? {
            Some(first) => self.replay_checkpoint(xxh3_64(first), keyspace),
            None => Ok(None),
        }
    }

    fn replay_checkpoint(&self, log: u64, keyspace: u8) -> Result<Option<ReplayCheckpoint>> {
        let Some(entry) = self.view()?.get(&stored_key(KEYSPACE_SYSTEM, &checkpoint_key(log, keyspace)))?
        else {
            return Ok(None);
        };
        let mut from = Decoder::new(&entry.value);
        match (from.u64(), from.u64(), from.is_at_end()) {
            (Some(offset), Some(hash), true) => Ok(Some(ReplayCheckpoint { log, offset, hash })),
            _ => Err(Error::invalid(format_args!("the replay checkpoint of log {log:016x} makes no sense"))),
        }
    }
}

/// A replay that is under way.
struct Replay<R> {
    reader: LogReader<R>,
    /// Over all bytes of the log that were passed.
    hasher: Xxh3,
    batch: Batch,
    keyspace: u8,
    durability: Durability,
    report: ReplayReport,
}

fn checkpoint_key(log: u64, keyspace: u8) -> Vec<u8> {
    format!("replay/{log:016x}/{keyspace:02x}").into_bytes()
}
