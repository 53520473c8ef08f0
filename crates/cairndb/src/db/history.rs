//! History: which logs stand, as far as what was written can be read back from them.
//!
//! A writer that goes on to another log tells of it here; maintenance takes logs out when recovery does not need them any more
//! and they are more than is to be kept. Whoever reads changes asks where they begin.
//!
//! # Where it sits
//! On `wal`. It knows headers and lengths, and touches no file.

use std::collections::VecDeque;

use crate::header::Header;
use crate::key::SeqNo;
use crate::wal::PassedLog;

/// The logs whose batches can be read, oldest first. The last is being written, and its room is not counted yet.
#[derive(Default)]
pub(super) struct History(VecDeque<PassedLog>);

impl History {
    pub(super) fn new(logs: impl IntoIterator<Item = PassedLog>) -> History {
        History(logs.into_iter().collect())
    }

    /// A log has begun.
    pub(super) fn begin(&mut self, header: Header) {
        self.0.push_back(PassedLog { header, room: 0 });
    }

    /// The log that was being written has come to its end, and takes `room` bytes.
    pub(super) fn end(&mut self, room: u64) {
        if let Some(last) = self.0.back_mut() {
            last.room = room;
        }
    }

    /// Drops logs before number `needed` until the others of those take no more than `keep_bytes`: returns their numbers.
    pub(super) fn trim(&mut self, needed: u64, keep_bytes: u64) -> Vec<u64> {
        let mut dropped = Vec::new();
        while self.passed_bytes(needed) > keep_bytes
            && let Some(log) = self.0.pop_front()
        {
            dropped.push(log.header.name.number);
        }
        dropped
    }

    /// Drops the logs up to `number` that are before number `needed`: returns their numbers.
    pub(super) fn drop_up_to(&mut self, number: u64, needed: u64) -> Vec<u64> {
        let mut dropped = Vec::new();
        while let Some(log) = self.0.pop_front_if(|log| log.header.name.number < needed.min(number + 1)) {
            dropped.push(log.header.name.number);
        }
        dropped
    }

    /// What the logs before number `needed` take, in bytes.
    pub(super) fn passed_bytes(&self, needed: u64) -> u64 {
        self.0.iter().filter(|log| log.header.name.number < needed).map(|log| log.room).sum()
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.0.iter().any(|log| log.header.name.number == number)
    }

    /// The first sequence number whose change can be read.
    pub(super) fn oldest_seq(&self) -> SeqNo {
        self.0.front().map_or(SeqNo::MAX, |log| log.header.own[2])
    }

    /// The log in which changes behind `since` begin; `None` if it has gone.
    pub(super) fn log_behind(&self, since: SeqNo) -> Option<Header> {
        self.0.iter().rev().map(|log| log.header).find(|header| header.own[2] <= since.saturating_add(1))
    }

    /// The log after number `number`, which says where that one ends. `None` in the place of a log that has gone.
    pub(super) fn after(&self, number: u64) -> Option<Option<Header>> {
        let index = self.0.iter().position(|log| log.header.name.number == number)?;
        Some(self.0.get(index + 1).map(|log| log.header))
    }
}
