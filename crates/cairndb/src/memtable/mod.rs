//! Memtable: the sorted map that takes writes until it is frozen and flushed.
//!
//! Entries are put down once and stay where they are ([`arena`]); a tree holds their order ([`tree`]), and a filter knows
//! which keys are not there ([`filter`]). Readers ask and walk them while the one writer adds.
//!
//! Range deletes stand beside the tree, as fragments.
//!
//! # Where it sits
//! On `key`, `cursor` and `range_delete`. It knows nothing of logs and files.

mod slots;
mod arena;
mod filter;
mod tree;

use std::ops::Range;

pub(crate) use self::arena::{LEN_MAX, Stored};
use self::filter::Filter;
use self::tree::{Leaf, Tree};
use crate::cursor::Cursor;
use crate::error::Result;
use crate::key::{EntryRef, Kind, SeqNo, hash_key};
use crate::range_delete::RangeDeletes;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, RwLock};

/// The number that names nothing: entries and nodes count from 1.
const NIL: u32 = 0;

/// A sorted map of entries. Safe to read from any thread.
pub(crate) struct Memtable {
    tree: Tree,
    filter: Filter,
    range_deletes: RwLock<Arc<RangeDeletes>>,
    has_range_deletes: AtomicBool,
    memory_len: AtomicU64,
    entries: AtomicU64,
    visible: AtomicU64,
}

impl Memtable {
    /// An empty table, which is full at `full_len` bytes. Everything up to the write `visible` is in older ones.
    pub(crate) fn new(full_len: u64, visible: SeqNo) -> Memtable {
        let filter = Filter::new(full_len);
        Memtable {
            tree: Tree::new(),
            range_deletes: RwLock::default(),
            has_range_deletes: AtomicBool::new(false),
            memory_len: AtomicU64::new(filter.memory_len()),
            filter,
            entries: AtomicU64::new(0),
            visible: AtomicU64::new(visible),
        }
    }

    /// Adds an entry of a batch whose sequence numbers begin with `since`: at none between can anybody read, so of its range
    /// deletes over one key only the newest is kept.
    ///
    /// Requires: its (key, seq) is not in the table yet.
    pub(crate) fn insert(&self, entry: EntryRef<'_>, since: SeqNo) {
        if entry.kind == Kind::RangeDelete {
            let mut range_deletes = self.range_deletes.write();
            let alike = |_, older| older >= since;
            let range_deletes_now = Arc::make_mut(&mut range_deletes);
            let added = range_deletes_now.insert_unless(entry.key, entry.value, entry.seq, &alike);
            self.has_range_deletes.store(true, Ordering::Release);
            self.count(added as u64);
            return;
        }
        self.filter.add(hash_key(entry.key));
        let taken = self.tree.insert(entry);
        self.count(taken);
    }

    /// The last write that readers may see, as long as this table is the one that takes writes.
    pub(crate) fn visible(&self) -> SeqNo {
        self.visible.load(Ordering::Acquire)
    }

    /// Lets readers see everything up to the write `seq`.
    pub(crate) fn show(&self, seq: SeqNo) {
        self.visible.store(seq, Ordering::Release);
    }

    /// The newest entry of `key` among those that a reader at `seq` sees; range deletes apart. `hash` is the key's.
    pub(crate) fn get(&self, key: &[u8], hash: u64, seq: SeqNo) -> Option<Stored<'_>> {
        if !self.filter.may_contain(hash) {
            return None;
        }
        self.tree.first_from((key, seq)).filter(|entry| entry.is_of_key(key))
    }

    /// The newest range delete over `key` among those that a reader at `seq` sees.
    pub(crate) fn newest_range_delete_over(&self, key: &[u8], seq: SeqNo) -> Option<SeqNo> {
        if !self.has_range_deletes.load(Ordering::Acquire) {
            return None;
        }
        self.range_deletes.read().newest_over(key, seq)
    }

    /// The range deletes as they stand.
    pub(crate) fn range_deletes(&self) -> Arc<RangeDeletes> {
        Arc::clone(&self.range_deletes.read())
    }

    pub(crate) fn has_range_deletes(&self) -> bool {
        self.has_range_deletes.load(Ordering::Acquire)
    }

    /// How much memory the table takes, in bytes.
    pub(crate) fn memory_len(&self) -> u64 {
        self.memory_len.load(Ordering::Relaxed)
    }

    /// How many entries it holds, range deletes among them.
    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries() == 0
    }

    fn count(&self, memory_len: u64) {
        self.memory_len.fetch_add(memory_len, Ordering::Relaxed);
        self.entries.fetch_add(1, Ordering::Relaxed);
    }
}

/// A position in a memtable, which it keeps alive. It walks over copies of leaves: entries that come while it stands on one
/// may pass it by, and nobody who stands there may see them.
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    leaf: Leaf,
    at: usize,
    /// The entry it stands on: its key and its value, where they are, and the rest.
    data: Vec<u8>,
    key: Range<usize>,
    value: Range<usize>,
    seq: SeqNo,
    kind: Kind,
    expires_at_ms: u64,
}

impl MemtableCursor {
    pub(crate) fn new(memtable: Arc<Memtable>) -> MemtableCursor {
        let (leaf, data) = (Leaf::empty(), Vec::new());
        MemtableCursor {
            memtable,
            leaf,
            at: 0,
            data,
            key: 0..0,
            value: 0..0,
            seq: 0,
            kind: Kind::Delete,
            expires_at_ms: 0,
        }
    }

    /// Stands on the entry before `target`, or on none.
    fn seek_just_before(&mut self, key: &[u8], seq: SeqNo) {
        let before = self.memtable.tree.read_leaf_at((key, seq), &mut self.leaf);
        match before.checked_sub(1) {
            Some(at) => self.at = at,
            None => (self.leaf, self.at) = (Leaf::empty(), 0),
        }
        self.take();
    }

    /// Copies the entry it has come to stand on.
    fn take(&mut self) {
        if let Some(stored) = self.memtable.tree.entry(&self.leaf, self.at) {
            (self.key, self.value) = stored.copy_data(&mut self.data);
            (self.seq, self.kind) = (stored.seq(), stored.kind());
            self.expires_at_ms = stored.expires_at_ms();
        }
    }

    /// From a leaf's end, on to the next leaf.
    fn pass_on(&mut self) {
        if self.at == self.leaf.count() && self.memtable.tree.read_next_leaf(&mut self.leaf) {
            self.at = 0;
        }
        self.take();
    }
}

impl Cursor for MemtableCursor {
    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        self.at = self.memtable.tree.read_leaf_at((key, seq), &mut self.leaf);
        self.pass_on();
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.seek_just_before(key, SeqNo::MAX);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        assert!(self.at < self.leaf.count(), "a cursor that stands on no entry has no next");
        self.at += 1;
        self.pass_on();
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        if self.at > 0 {
            self.at -= 1;
            self.take();
            return Ok(());
        }
        assert!(self.stands(), "a cursor that stands on no entry has none before it");
        let key = self.data[self.key.clone()].to_vec();
        self.seek_just_before(&key, self.seq);
        Ok(())
    }

    fn stands(&self) -> bool {
        self.at < self.leaf.count()
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        if !self.stands() {
            return None;
        }
        let (key, value) = (&self.data[self.key.clone()], &self.data[self.value.clone()]);
        Some(EntryRef { key, seq: self.seq, kind: self.kind, expires_at_ms: self.expires_at_ms, value })
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering as Order;
    use std::collections::BTreeMap;

    use super::*;
    use crate::key::compare;

    fn put<'a>(key: &'a [u8], seq: SeqNo, value: &'a [u8]) -> EntryRef<'a> {
        EntryRef { key, seq, kind: Kind::Put, expires_at_ms: 0, value }
    }

    #[test]
    fn it_holds_what_a_sorted_map_holds() {
        let (memtable, mut model) = (Arc::new(Memtable::new(1 << 20, 0)), BTreeMap::new());
        let mut dice = 1_u64;
        let count = if cfg!(miri) { 60 } else { 3000 };
        for seq in 1..=count {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = ((dice >> 40) % 500).to_be_bytes();
            memtable.insert(put(&key, seq, &seq.to_le_bytes()), seq);
            model.insert((key, std::cmp::Reverse(seq)), seq.to_le_bytes());
        }
        let mut cursor = MemtableCursor::new(Arc::clone(&memtable));
        cursor.seek(b"", SeqNo::MAX).unwrap();
        for ((key, seq), value) in &model {
            assert_eq!(cursor.entry(), Some(put(key, seq.0, value)));
            cursor.next().unwrap();
        }
        assert_eq!(cursor.entry(), None);
        cursor.seek_before(&[0xFF; 9]).unwrap();
        for ((key, seq), value) in model.iter().rev() {
            assert_eq!(cursor.entry(), Some(put(key, seq.0, value)));
            cursor.prev().unwrap();
        }
        assert_eq!(cursor.entry(), None);
    }

    #[test]
    fn a_reader_sees_its_past() {
        let memtable = Memtable::new(1 << 20, 0);
        memtable.insert(put(b"k", 5, b"five"), 5);
        memtable.insert(put(b"k", 9, b"nine"), 9);
        let get = |key, seq| {
            memtable.get(key, hash_key(key), seq).map(|entry| (entry.seq(), entry.value().to_vec()))
        };
        assert_eq!(get(b"k", 4), None);
        assert_eq!(get(b"k", 8), Some((5, b"five".to_vec())));
        assert_eq!(get(b"k", 9), Some((9, b"nine".to_vec())));
        assert_eq!(get(b"j", 9), None);
    }

    #[test]
    fn readers_walk_while_it_grows() {
        let memtable = Arc::new(Memtable::new(1 << 20, 0));
        let count = if cfg!(miri) { 50_u64 } else { 20_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for seq in 1..=count {
                    let key = (seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 1000).to_be_bytes();
                    memtable.insert(put(&key, seq, b"v"), seq);
                }
            });
            scope.spawn(|| {
                let mut cursor = MemtableCursor::new(Arc::clone(&memtable));
                while memtable.entries() < count {
                    cursor.seek(b"", SeqNo::MAX).unwrap();
                    let mut last: Option<(Vec<u8>, SeqNo)> = None;
                    while let Some(entry) = cursor.entry() {
                        if let Some((key, seq)) = &last {
                            assert_eq!(compare((key, *seq), (entry.key, entry.seq)), Order::Less, "I2");
                        }
                        last = Some((entry.key.to_vec(), entry.seq));
                        cursor.next().unwrap();
                    }
                }
            });
        });
    }

    /// A batch of many range deletes, each within the last: each lay over all that came before, with a number of its own,
    /// and 20,000 of them took more memory than there was, again at each open.
    #[test]
    fn nested_range_deletes_of_one_batch_took_memory_by_their_square() {
        let memtable = Memtable::new(1 << 20, 0);
        let delete = |key: &[u8], seq| {
            let (kind, value) = (Kind::RangeDelete, &b"z"[..]);
            memtable.insert(EntryRef { key, seq, kind, expires_at_ms: 0, value }, 10);
        };
        for number in 0..200_u64 {
            delete(format!("k{number:04}").as_bytes(), 10 + number);
        }
        assert!(memtable.memory_len() < 64 << 10, "{} bytes", memtable.memory_len());
        assert_eq!(memtable.newest_range_delete_over(b"k0000", SeqNo::MAX), Some(10));
        assert_eq!(memtable.newest_range_delete_over(b"k0199x", SeqNo::MAX), Some(209));
        assert_eq!(memtable.newest_range_delete_over(b"k0199x", 9), None);
    }
}
