//! Memtable: the sorted map that takes writes until it is frozen and flushed.
//!
//! A skiplist: a sorted linked list in which some nodes carry further links that skip ahead, so that a search takes
//! about log n steps. Nodes are only ever added and never change once they are linked, so readers walk the list while
//! the one writer adds to it, and wait for nothing.
//!
//! Range deletes stand beside the list, as fragments.
//!
//! # Where it sits
//! On `key`, `cursor` and `range_delete`. It knows nothing of logs and files.
//!
//! # Invariants
//! - I1. One thread at a time inserts; any number read. A node is whole before a link to it is published.
//! - I2. Each level's list is sorted by [`compare`] and is part of the list below it.
//!
//! # Why this way
//! Pugh, "Skip Lists: A Probabilistic Alternative to Balanced Trees" (1990). Nodes are named by their index in
//! segments of doubling length, which keeps the code safe Rust: no node moves or is freed while the table lives. An
//! arena with raw pointers would save a check per hop; it has to earn its `unsafe` by measurement first.

use std::cmp::Ordering as Order;

use crate::cursor::Cursor;
use crate::error::Result;
use crate::key::{EntryRef, Kind, SeqNo, compare};
use crate::range_delete::RangeDeletes;
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, OnceLock, Ordering, RwLock};

/// The most levels a node can have. With a quarter of the nodes on each next level, 12 serve 16 million.
const HEIGHT_MAX: usize = 12;

/// How many levels a node holds in place; the others are allocated.
const HEIGHT_NEAR: usize = 2;

/// The length of the first segment, as a power of two.
const FIRST_SEGMENT_BITS: u32 = 5;

/// Segments double, so this many hold four billion nodes.
const SEGMENT_COUNT: usize = 27;

/// The index that links nowhere. Nodes count from 1.
const NIL: u32 = 0;

/// What an allocation costs beside its bytes, about.
const ALLOCATION_LEN: u64 = 16;

type Segment = Box<[OnceLock<Node>]>;

/// A sorted map of entries. Safe to read from any thread.
pub(crate) struct Memtable {
    segments: [OnceLock<Segment>; SEGMENT_COUNT],
    /// The first node of each level.
    head: [AtomicU32; HEIGHT_MAX],
    /// What only the inserting thread uses (I1).
    tail: Mutex<Tail>,
    range_deletes: RwLock<Arc<RangeDeletes>>,
    has_range_deletes: AtomicBool,
    memory_len: AtomicU64,
    entries: AtomicU64,
}

struct Node {
    /// Key, then value.
    data: Box<[u8]>,
    key_len: u32,
    kind: Kind,
    seq: SeqNo,
    expires_at_ms: u64,
    near: [AtomicU32; HEIGHT_NEAR],
    far: Box<[AtomicU32]>,
}

struct Tail {
    count: u32,
    dice: u64,
    /// The last node of each level: where an entry beyond all others goes without a search.
    last: [u32; HEIGHT_MAX],
}

impl Memtable {
    pub(crate) fn new() -> Memtable {
        Memtable {
            segments: [const { OnceLock::new() }; SEGMENT_COUNT],
            head: [const { AtomicU32::new(NIL) }; HEIGHT_MAX],
            tail: Mutex::new(Tail { count: 0, dice: 0x2545_F491_4F6C_DD1D, last: [NIL; HEIGHT_MAX] }),
            range_deletes: RwLock::default(),
            has_range_deletes: AtomicBool::new(false),
            memory_len: AtomicU64::new(0),
            entries: AtomicU64::new(0),
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
        let mut tail = self.tail.lock();
        let (before, after) = self.neighbours(&tail, entry);
        let height = tail.height();
        tail.count += 1;
        let index = tail.count;
        let mut node = Node::new(entry, height);
        for (level, link) in node.links().take(height).enumerate() {
            *link = AtomicU32::new(after[level]);
        }
        let far_len = ALLOCATION_LEN.min(node.far.len() as u64 * 16) + node.far.len() as u64 * 4;
        self.place(index, node);
        for level in 0..height {
            self.link(before[level], level).store(index, Ordering::Release);
            if after[level] == NIL {
                tail.last[level] = index;
            }
        }
        self.count(entry.data_len() + ALLOCATION_LEN + far_len);
    }

    /// The newest entry of `key` among those that a reader at `seq` sees; range deletes apart.
    pub(crate) fn get(&self, key: &[u8], seq: SeqNo) -> Option<EntryRef<'_>> {
        let entry = self.node(self.first_at_or_behind(key, seq))?.entry();
        (entry.key == key).then_some(entry)
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

    /// On each level, the nodes between which `entry` belongs.
    fn neighbours(&self, tail: &Tail, entry: EntryRef<'_>) -> ([u32; HEIGHT_MAX], [u32; HEIGHT_MAX]) {
        let beyond_all = self
            .node(tail.last[0])
            .is_some_and(|last| compare(last.order(), (entry.key, entry.seq)) == Order::Less);
        if beyond_all {
            return (tail.last, [NIL; HEIGHT_MAX]);
        }
        let (mut before, mut after) = ([NIL; HEIGHT_MAX], [NIL; HEIGHT_MAX]);
        let mut at = NIL;
        for level in (0..HEIGHT_MAX).rev() {
            (at, after[level]) =
                self.walk(at, level, |node| compare(node.order(), (entry.key, entry.seq)) == Order::Less);
            before[level] = at;
        }
        (before, after)
    }

    /// Walks on from `at` on `level` while `passes`; returns the last node that does, and the one behind it.
    fn walk(&self, mut at: u32, level: usize, passes: impl Fn(&Node) -> bool) -> (u32, u32) {
        loop {
            let next = self.link(at, level).load(Ordering::Acquire);
            match self.node(next) {
                Some(node) if passes(node) => at = next,
                _ => return (at, next),
            }
        }
    }

    fn first_at_or_behind(&self, key: &[u8], seq: SeqNo) -> u32 {
        let (mut at, mut next) = (NIL, NIL);
        for level in (0..HEIGHT_MAX).rev() {
            (at, next) = self.walk(at, level, |node| compare(node.order(), (key, seq)) == Order::Less);
        }
        next
    }

    /// The last node that lies before (`key`, `seq`).
    fn last_before(&self, key: &[u8], seq: SeqNo) -> u32 {
        let mut at = NIL;
        for level in (0..HEIGHT_MAX).rev() {
            at = self.walk(at, level, |node| compare(node.order(), (key, seq)) == Order::Less).0;
        }
        at
    }

    fn link(&self, index: u32, level: usize) -> &AtomicU32 {
        match self.node(index) {
            None => &self.head[level],
            Some(node) if level < HEIGHT_NEAR => &node.near[level],
            Some(node) => &node.far[level - HEIGHT_NEAR],
        }
    }

    fn node(&self, index: u32) -> Option<&Node> {
        if index == NIL {
            return None;
        }
        let (segment, offset) = segment_of(index);
        self.segments[segment].get()?[offset].get()
    }

    fn place(&self, index: u32, node: Node) {
        let (segment, offset) = segment_of(index);
        let slots = self.segments[segment].get_or_init(|| {
            let count = 1_usize << (FIRST_SEGMENT_BITS + segment as u32);
            self.memory_len.fetch_add((count * size_of::<OnceLock<Node>>()) as u64, Ordering::Relaxed);
            (0..count).map(|_| OnceLock::new()).collect()
        });
        assert!(slots[offset].set(node).is_ok(), "I1: one thread inserts");
    }
}

/// Which segment holds node `index`, and where in it.
fn segment_of(index: u32) -> (usize, usize) {
    let shifted = u64::from(index - 1) + (1 << FIRST_SEGMENT_BITS);
    let bits = 63 - shifted.leading_zeros();
    ((bits - FIRST_SEGMENT_BITS) as usize, (shifted - (1 << bits)) as usize)
}

impl Node {
    fn new(entry: EntryRef<'_>, height: usize) -> Node {
        let mut data = Vec::with_capacity(entry.key.len() + entry.value.len());
        data.extend_from_slice(entry.key);
        data.extend_from_slice(entry.value);
        Node {
            data: data.into_boxed_slice(),
            key_len: entry.key.len() as u32,
            kind: entry.kind,
            seq: entry.seq,
            expires_at_ms: entry.expires_at_ms,
            near: [const { AtomicU32::new(NIL) }; HEIGHT_NEAR],
            far: (HEIGHT_NEAR..height).map(|_| AtomicU32::new(NIL)).collect(),
        }
    }

    fn order(&self) -> (&[u8], SeqNo) {
        (&self.data[..self.key_len as usize], self.seq)
    }

    fn entry(&self) -> EntryRef<'_> {
        let (key, value) = self.data.split_at(self.key_len as usize);
        EntryRef { key, seq: self.seq, kind: self.kind, expires_at_ms: self.expires_at_ms, value }
    }

    fn links(&mut self) -> impl Iterator<Item = &mut AtomicU32> {
        self.near.iter_mut().chain(self.far.iter_mut())
    }
}

impl Tail {
    /// A height from 1: each next level takes a quarter of the nodes. The dice are loaded the same way every time, so
    /// that a run can be repeated.
    fn height(&mut self) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (1 + (self.dice.trailing_ones() / 2) as usize).min(HEIGHT_MAX)
    }
}

/// A position in a memtable, which it keeps alive.
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    index: u32,
}

impl MemtableCursor {
    pub(crate) fn new(memtable: Arc<Memtable>) -> MemtableCursor {
        MemtableCursor { memtable, index: NIL }
    }
}

impl Cursor for MemtableCursor {
    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        self.index = self.memtable.first_at_or_behind(key, seq);
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.index = self.memtable.last_before(key, SeqNo::MAX);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        assert_ne!(self.index, NIL, "a cursor that stands on no entry has no next");
        self.index = self.memtable.link(self.index, 0).load(Ordering::Acquire);
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        // The list has no links back; a search costs log n, and reverse scans of a memtable are short.
        let (key, seq) = self.memtable.node(self.index).map(Node::order).expect("a cursor on an entry");
        self.index = self.memtable.last_before(key, seq);
        Ok(())
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        self.memtable.node(self.index).map(Node::entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn put<'a>(key: &'a [u8], seq: SeqNo, value: &'a [u8]) -> EntryRef<'a> {
        EntryRef { key, seq, kind: Kind::Put, expires_at_ms: 0, value }
    }

    #[test]
    fn it_holds_what_a_sorted_map_holds() {
        let (memtable, mut model) = (Arc::new(Memtable::new()), BTreeMap::new());
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
        let memtable = Memtable::new();
        memtable.insert(put(b"k", 5, b"five"), 5);
        memtable.insert(put(b"k", 9, b"nine"), 9);
        assert_eq!(memtable.get(b"k", 4), None);
        assert_eq!(memtable.get(b"k", 8), Some(put(b"k", 5, b"five")));
        assert_eq!(memtable.get(b"k", 9), Some(put(b"k", 9, b"nine")));
        assert_eq!(memtable.get(b"j", 9), None);
    }

    #[test]
    fn readers_walk_while_it_grows() {
        let memtable = Arc::new(Memtable::new());
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
        let memtable = Memtable::new();
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
