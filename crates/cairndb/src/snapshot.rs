//! Snapshots: who still reads at which sequence number.
//!
//! A snapshot is a promise to a reader that what it saw stays to be seen. Compaction, which drops what nobody can see,
//! asks here first. A snapshot also keeps its reading of the clock, so that what had not expired for it never does.
//!
//! # Where it sits
//! On `key` and `sync`. Compaction gets [`Live`], a value; it never sees the registry.
//!
//! # Invariants
//! - I1. A snapshot is registered, under the lock by which compaction reads [`Live`], before it takes any table (promise 4).

use std::collections::BTreeMap;

use crate::key::SeqNo;
use crate::sync::Mutex;

/// The snapshots that are held.
#[derive(Default)]
pub(crate) struct Snapshots {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    next_id: u64,
    by_id: BTreeMap<u64, Hold>,
}

/// What one snapshot holds.
#[derive(Clone, Copy, Debug)]
struct Hold {
    /// `None` for an iterator, which keeps its tables itself and holds nothing back.
    seq: Option<SeqNo>,
    now_ms: u64,
}

/// What compaction has to leave: the entries that somebody can still see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// The sequence numbers at which snapshots read, rising; the last is the present. None: somebody reads at each.
    pub(crate) seqs: Vec<SeqNo>,
    /// No reader's clock stands before this, in ms since 1970.
    pub(crate) now_ms: u64,
}

impl Live {
    /// All that was ever written: nothing is to be dropped but what is there twice.
    pub(crate) fn everything() -> Live {
        Live::default()
    }

    /// Which of the stretches between two snapshots `seq` lies in. Of two entries of one key in the same stretch nobody
    /// can see the older one.
    pub(crate) fn stretch(&self, seq: SeqNo) -> u64 {
        if self.seqs.is_empty() { seq } else { self.seqs.partition_point(|live| *live < seq) as u64 }
    }
}

/// What the statistics tell of long readers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readers {
    pub(crate) snapshots: u64,
    pub(crate) iterators: u64,
    /// When the oldest of them all began, in ms since 1970.
    pub(crate) since_ms: Option<u64>,
}

impl Snapshots {
    /// Holds the present, as `present` tells it under the registry's lock, and returns what names the hold.
    pub(crate) fn hold(&self, present: impl FnOnce() -> (SeqNo, u64)) -> (u64, SeqNo, u64) {
        let mut held = self.held.lock();
        let (seq, now_ms) = present();
        let id = held.next_id;
        held.next_id += 1;
        held.by_id.insert(id, Hold { seq: Some(seq), now_ms });
        (id, seq, now_ms)
    }

    /// Notes an iterator, for the statistics.
    pub(crate) fn hold_iterator(&self, now_ms: u64) -> u64 {
        let mut held = self.held.lock();
        let id = held.next_id;
        held.next_id += 1;
        held.by_id.insert(id, Hold { seq: None, now_ms });
        id
    }

    pub(crate) fn release(&self, id: u64) {
        self.held.lock().by_id.remove(&id);
    }

    /// What can still be seen, the present included.
    pub(crate) fn live(&self, present: impl FnOnce() -> (SeqNo, u64)) -> Live {
        let held = self.held.lock();
        let (seq, now_ms) = present();
        let mut seqs: Vec<SeqNo> = held.by_id.values().filter_map(|hold| hold.seq).chain([seq]).collect();
        seqs.sort_unstable();
        seqs.dedup();
        let snapshots = held.by_id.values().filter(|hold| hold.seq.is_some());
        let now_ms = snapshots.map(|hold| hold.now_ms).chain([now_ms]).min().unwrap_or(now_ms);
        Live { seqs, now_ms }
    }

    pub(crate) fn readers(&self) -> Readers {
        let held = self.held.lock();
        let snapshots = held.by_id.values().filter(|hold| hold.seq.is_some()).count() as u64;
        Readers {
            snapshots,
            iterators: held.by_id.len() as u64 - snapshots,
            since_ms: held.by_id.values().map(|hold| hold.now_ms).min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_snapshot_holds_nothing_back() {
        let snapshots = Snapshots::default();
        let (first, ..) = snapshots.hold(|| (5, 100));
        let (second, ..) = snapshots.hold(|| (9, 200));
        let live = snapshots.live(|| (20, 300));
        assert_eq!((live.seqs.as_slice(), live.now_ms), (&[5, 9, 20][..], 100));
        assert_eq!([5, 6, 9, 10, 20, 21].map(|seq| live.stretch(seq)), [0, 1, 1, 2, 2, 3]);
        snapshots.release(first);
        assert_eq!(snapshots.live(|| (20, 300)).seqs, [9, 20]);
        snapshots.release(second);
        assert_eq!(snapshots.live(|| (20, 300)).now_ms, 300);
    }
}
