//! Explain: what a read of one key looks at, and what it finds there.
//!
//! The same places in the same order as a read's, with what each had to say: which memtable, which tables, what their filters
//! answered, which block was read and whether it was in the cache. For people who wonder where a slow read spends its time.
//!
//! # Where it sits
//! On views.

use crate::error::Result;
use crate::key::{Kind, SeqNo, hash_key};
use crate::sync::Arc;
use crate::view::View;

/// What one read of a key looked at: see [`Reader::explain`](crate::Reader::explain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Where it looked.
    pub place: LookPlace,
    /// The block in which the key would stand, if the table was asked for it.
    pub block: Option<BlockLook>,
    /// What it found.
    pub answer: LookAnswer,
}

/// Where a read looks, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookPlace {
    /// The memtable that takes writes.
    ActiveMemtable,
    /// The memtable that waits for its flush.
    FrozenMemtable,
    /// An SSTable.
    Table {
        /// Its level.
        level: usize,
        /// Its number, which its file is named for.
        number: u64,
    },
}

/// The block of a table in which a key would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLook {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length there, in bytes.
    pub len: u32,
    /// Whether it was in the cache.
    pub cached: bool,
}

/// What a read finds in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookAnswer {
    /// The table's filter says that the key is not there.
    FilteredOut,
    /// The key is not there; of a table whose filter let it through, too.
    NotThere,
    /// A value, which may have expired, written with this sequence number.
    Value(SeqNo),
    /// A delete with this sequence number, of the key or of a range around it.
    Delete(SeqNo),
}

impl View {
    /// Where [`View::get`] looks for the stored key `key`, and what it finds in each place, up to the one that ends the search.
    pub(crate) fn explain(&self, key: &[u8]) -> Result<Vec<Look>> {
        let (mut looks, hash, seq) = (Vec::new(), hash_key(key), self.seq());
        let places = [LookPlace::ActiveMemtable, LookPlace::FrozenMemtable];
        for (place, memtable) in places.into_iter().zip(self.tables().memtables()) {
            let deleted_at = memtable.newest_range_delete_over(key, seq);
            let found = memtable.get(key, hash, seq).map(|entry| (entry.seq(), entry.kind()));
            looks.push(Look { place, block: None, answer: answer(found, deleted_at, LookAnswer::NotThere) });
        }
        for table in self.candidates(key) {
            let level = self.tables().version.tables().find(|(_, other)| Arc::ptr_eq(other, table));
            let place =
                LookPlace::Table { level: level.map_or(0, |(level, _)| level), number: table.meta.number };
            let deletes = table.range_deletes()?;
            let deleted_at = deletes.and_then(|deletes| deletes.newest_over(key, seq));
            let may_contain = table.may_contain(hash)?;
            let (block, nothing) = match may_contain {
                true => (table.locate(key, seq)?, LookAnswer::NotThere),
                false => (None, LookAnswer::FilteredOut),
            };
            let block =
                block.map(|(handle, cached)| BlockLook { offset: handle.offset, len: handle.len, cached });
            let entry = if may_contain { table.get(key, seq)? } else { None };
            let found = entry.map(|entry| (entry.seq, entry.kind));
            looks.push(Look { place, block, answer: answer(found, deleted_at, nothing) });
        }
        let end =
            looks.iter().position(|look| !look.answer.is_nothing()).map_or(looks.len(), |index| index + 1);
        looks.truncate(end);
        Ok(looks)
    }
}

impl LookAnswer {
    fn is_nothing(self) -> bool {
        matches!(self, LookAnswer::FilteredOut | LookAnswer::NotThere)
    }
}

/// What is said of a place that has this entry of the key, and this range delete over it.
fn answer(found: Option<(SeqNo, Kind)>, deleted_at: Option<SeqNo>, nothing: LookAnswer) -> LookAnswer {
    match (found, deleted_at) {
        (Some((seq, _)), Some(deleted_at)) if deleted_at > seq => LookAnswer::Delete(deleted_at),
        (Some((seq, Kind::Delete)), _) => LookAnswer::Delete(seq),
        (Some((seq, _)), _) => LookAnswer::Value(seq),
        (None, Some(deleted_at)) => LookAnswer::Delete(deleted_at),
        (None, None) => nothing,
    }
}
