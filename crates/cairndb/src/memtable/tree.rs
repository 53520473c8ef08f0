//! Tree: the sorted order of a memtable's entries: a B+-tree that one thread changes while any number read it.
//!
//! Entries are put down once and named by number; nodes hold numbers in the order of their entries, and beside each the
//! *hint*: the first eight bytes of its key behind those that all keys of the node share. A search compares hints,
//! which lie side by side, and looks at an entry only where hints are equal: once or twice in all.
//!
//! A node has a version, which is odd while the writer changes it. A reader takes the version, looks, and looks again: if
//! the version is another, what it saw is worth nothing and it begins anew. On its way down it takes a child's version
//! before it makes sure of the parent's: so the child was the right one when its version was taken. Nobody waits for a
//! reader, and a reader waits only while one node is being changed.
//!
//! ```text
//!              | - | k | t |                 inner: children, and the first entry of each but the first
//!             /      |      \
//! | c | e | h |->| k | n |->| t | v | x |    leaves: all entries, each leaf with a link to the next
//! ```
//!
//! # Invariants
//! - I1. One thread at a time inserts. Every number that a node holds, or has held, names an entry or node that stands. What
//!   a reader sees of an entry is worth nothing either until it has made sure of the node that named it.
//! - I2. The entries of a node, and of the leaves from left to right, are sorted by [`compare`]. The first entry of a child is
//!   the one that its parent holds for it, for ever, except below the leftmost.
//! - I3. All keys that belong into a node share its first `skip` bytes: both its bounds do.
//!
//! # Why this way
//! A skiplist takes about twenty steps to find its place among 100,000 entries, each to memory that no cache holds; this
//! takes three nodes. Versions in the place of locks: Leis, Scheibner, Kemper, Neumann, "The ART of Practical
//! Synchronization" (2016). Hints: the poor man's normalized keys of Graefe, "Modern B-Tree Techniques" (2011). Nothing
//! is ever removed, so there is no merging, and nothing to free before the whole table goes.

use std::cmp::Ordering as Order;

use super::NIL;
use super::arena::{Arena, End, Stored};
use super::slots::Slots;
use crate::key::{EntryRef, SeqNo, hint_of, partition};
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, fence};

/// How many numbers a node holds at most. Few where schedules are drawn or interpreted, so that nodes split.
const FANOUT: usize = if cfg!(any(shuttle, miri)) { 4 } else { 64 };

/// The hints of a node that was split are made anew when its keys share so many bytes more than before: half of a hint.
const SKIP_GAIN_MIN: usize = 4;

/// Where a search goes: a key, and the sequence number of whoever asks.
type Target<'a> = (&'a [u8], SeqNo);

/// Entries in order. Safe to read from any thread.
pub(super) struct Tree {
    entries: Arena,
    nodes: Slots<Node>,
    root: AtomicU32,
    /// What only the inserting thread uses (I1).
    tail: Mutex<Tail>,
}

struct Tail {
    end: End,
    node_count: u32,
    last_leaf: u32,
    /// The last entry in order: what lies beyond it goes to the last leaf without a search.
    last_entry: u32,
}

struct Node {
    /// Odd while the node changes.
    version: AtomicU32,
    count: AtomicU32,
    /// How many bytes all keys share (I3).
    skip: AtomicU32,
    /// The next leaf.
    next: AtomicU32,
    /// The bounds of what belongs here, as entries: from `low` on, before `high`; `NIL` where there is none. Only the
    /// writer looks.
    low: AtomicU32,
    high: AtomicU32,
    hints: [AtomicU64; FANOUT],
    entries: [AtomicU32; FANOUT],
    /// Of an inner node, for each entry the child that begins with it; the first entry stands for nothing.
    children: Option<Box<[AtomicU32; FANOUT]>>,
}

/// What a leaf held at one moment.
pub(super) struct Leaf {
    entries: [u32; FANOUT],
    count: usize,
    next: u32,
}

impl Tree {
    pub(super) fn new() -> Tree {
        let nodes = Slots::new();
        nodes.set(1, Node::new(false));
        let tail = Tail { end: End::default(), node_count: 1, last_leaf: 1, last_entry: NIL };
        Tree { entries: Arena::new(), nodes, root: AtomicU32::new(1), tail: Mutex::new(tail) }
    }

    /// The first entry at or behind `target`.
    pub(super) fn first_from(&self, target: Target<'_>) -> Option<Stored<'_>> {
        let index = self.look(target, |leaf| {
            let at = self.position(leaf, 0, target)?;
            if at < leaf.count() {
                return Some(leaf.entries[at].load(Ordering::Relaxed));
            }
            // The first entry of a leaf stays its first (I2).
            match leaf.next.load(Ordering::Relaxed) {
                NIL => Some(NIL),
                next => Some(self.nodes.get(next)?.entries[0].load(Ordering::Relaxed)),
            }
        });
        self.entries.get(index)
    }

    /// Copies the leaf in which the entries just before `target` stand, and says how many of it lie before.
    pub(super) fn read_leaf_at(&self, target: Target<'_>, into: &mut Leaf) -> usize {
        let (leaf, before) = self.look(target, |leaf| Some((leaf.copy(), self.position(leaf, 0, target)?)));
        *into = leaf;
        before
    }

    /// Copies the leaf behind `leaf` in its place; false if there is none.
    pub(super) fn read_next_leaf(&self, leaf: &mut Leaf) -> bool {
        let Some(next) = self.nodes.get(leaf.next) else { return false };
        loop {
            let version = next.version();
            *leaf = next.copy();
            if is_at_rest(version) && next.is_still(version) {
                return true;
            }
            self.wait_for_writer();
        }
    }

    pub(super) fn entry(&self, leaf: &Leaf, at: usize) -> Option<Stored<'_>> {
        (at < leaf.count).then(|| self.stored(leaf.entries[at]))
    }

    /// Goes down to the leaf that `target` belongs to and looks at it, until it did not change meanwhile.
    fn look<T>(&self, target: Target<'_>, look: impl Fn(&Node) -> Option<T>) -> T {
        loop {
            if let Some((leaf, version)) = self.descend(target)
                && let Some(seen) = look(leaf)
                && leaf.is_still(version)
            {
                return seen;
            }
            self.wait_for_writer();
        }
    }

    /// Whoever changes a node holds this lock, and there is nothing better to do until that is over.
    fn wait_for_writer(&self) {
        drop(self.tail.lock());
    }

    /// The leaf in which the entry just before `target` stands, with a version at which it was the right one.
    fn descend(&self, target: Target<'_>) -> Option<(&Node, u32)> {
        let root = self.root.load(Ordering::Acquire);
        let mut node = self.nodes.get(root)?;
        let mut version = node.version();
        if self.root.load(Ordering::Acquire) != root {
            return None;
        }
        while let Some(children) = &node.children {
            let at = self.position(node, 1, target)? - 1;
            let child = self.nodes.get(children[at].load(Ordering::Relaxed))?;
            let child_version = child.version();
            if !is_at_rest(version) || !node.is_still(version) {
                return None;
            }
            (node, version) = (child, child_version);
        }
        is_at_rest(version).then_some((node, version))
    }

    /// How many of a node's entries lie before `target`, counted from `from` on. `None` if the node was changed meanwhile.
    fn position(&self, node: &Node, from: usize, target: Target<'_>) -> Option<usize> {
        let hint = hint_of(target.0, node.skip.load(Ordering::Relaxed) as usize);
        let count = node.count();
        let hint_at = |at: usize| node.hints[at].load(Ordering::Relaxed);
        let low = partition(from, count.saturating_sub(from), |at| hint_at(at) < hint);
        if low >= count || hint_at(low) != hint {
            return Some(low);
        }
        let high = partition(low, count - low, |at| hint_at(at) == hint);
        let (mut low, mut high) = (low, high);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entries.get(node.entries[middle].load(Ordering::Relaxed))?;
            if entry.compare(target) == Order::Less { low = middle + 1 } else { high = middle }
        }
        Some(low)
    }

    fn stored(&self, number: u32) -> Stored<'_> {
        self.entries.get(number).expect("I1: what a node holds stands")
    }

    fn node(&self, index: u32) -> &Node {
        self.nodes.get(index).expect("I1: what a node holds stands")
    }
}

/// Insertion, by one thread at a time.
impl Tree {
    /// Adds an entry; returns how much memory that took.
    ///
    /// Requires: its (key, seq) is not in the tree yet.
    pub(super) fn insert(&self, entry: EntryRef<'_>) -> u64 {
        let mut tail = self.tail.lock();
        let (number, mut taken) = self.entries.put(&mut tail.end, entry);
        let target = (entry.key, entry.seq);
        let is_last =
            self.entries.get(tail.last_entry).is_none_or(|last| last.compare(target) == Order::Less);
        let leaf = if is_last && !self.node(tail.last_leaf).is_full() {
            tail.last_leaf
        } else {
            self.make_way(&mut tail, &mut taken, target, is_last)
        };
        if is_last {
            tail.last_entry = number;
        }
        let leaf = self.node(leaf);
        let at = if is_last { leaf.count() } else { self.position_now(leaf, 0, target) };
        leaf.begin_change();
        leaf.insert(at, hint_of(target.0, leaf.skip()), number, None);
        leaf.end_change();
        taken
    }

    /// Goes down to the leaf that `target` belongs to, and splits every full node on the way: so there is room in the
    /// parent of each that is split.
    fn make_way(&self, tail: &mut Tail, taken: &mut u64, target: Target<'_>, is_last: bool) -> u32 {
        let mut at = self.root.load(Ordering::Relaxed);
        if self.node(at).is_full() {
            let root = Node::new(true);
            root.insert(0, 0, NIL, Some(at));
            at = self.place(tail, taken, root);
            self.root.store(at, Ordering::Release);
        }
        while let Some(children) = &self.node(at).children {
            let node = self.node(at);
            let child_at = || self.position_now(node, 1, target) - 1;
            let mut place = child_at();
            if self.node(children[place].load(Ordering::Relaxed)).is_full() {
                self.split(tail, taken, node, place, is_last);
                place = child_at();
            }
            at = children[place].load(Ordering::Relaxed);
        }
        at
    }

    /// Moves the upper half of a full child into a new node beside it; where entries come in order, only the last one.
    fn split(&self, tail: &mut Tail, taken: &mut u64, parent: &Node, at: usize, is_last: bool) {
        let child_index = parent.children.as_ref().expect("an inner node")[at].load(Ordering::Relaxed);
        let child = self.node(child_index);
        let (count, is_inner) = (child.count(), child.children.is_some());
        let middle = if is_last { count - 1 } else { count / 2 };
        let first = child.entries[middle].load(Ordering::Relaxed);

        let right = Node::new(is_inner);
        for from in middle..count {
            let moved = child.children.as_ref().map(|children| children[from].load(Ordering::Relaxed));
            let entry = child.entries[from].load(Ordering::Relaxed);
            right.insert(from - middle, child.hints[from].load(Ordering::Relaxed), entry, moved);
        }
        right.next.store(child.next.load(Ordering::Relaxed), Ordering::Relaxed);
        right.low.store(first, Ordering::Relaxed);
        right.high.store(child.high.load(Ordering::Relaxed), Ordering::Relaxed);
        right.skip.store(child.skip() as u32, Ordering::Relaxed);
        self.narrow(&right);
        let right_index = self.place(tail, taken, right);
        if tail.last_leaf == child_index {
            tail.last_leaf = right_index;
        }

        // From here on a reader who comes through the parent waits; one who has passed it finds the child changed.
        parent.begin_change();
        child.begin_change();
        child.count.store(middle as u32, Ordering::Relaxed);
        child.high.store(first, Ordering::Relaxed);
        if !is_inner {
            child.next.store(right_index, Ordering::Relaxed);
        }
        self.narrow(child);
        parent.insert(at + 1, self.stored(first).hint(parent.skip()), first, Some(right_index));
        child.end_change();
        parent.end_change();
    }

    /// Makes a node's hints anew if its bounds now share enough more than they did.
    fn narrow(&self, node: &Node) {
        let bound = |bound: &AtomicU32| self.entries.get(bound.load(Ordering::Relaxed));
        let (Some(low), Some(high)) = (bound(&node.low), bound(&node.high)) else { return };
        let shared = low.shared_len(high);
        if shared < node.skip() + SKIP_GAIN_MIN {
            return;
        }
        node.skip.store(shared as u32, Ordering::Relaxed);
        let first = usize::from(node.children.is_some());
        for at in first..node.count() {
            let entry = self.stored(node.entries[at].load(Ordering::Relaxed));
            node.hints[at].store(entry.hint(shared), Ordering::Relaxed);
        }
    }

    fn position_now(&self, node: &Node, from: usize, target: Target<'_>) -> usize {
        self.position(node, from, target).expect("I1: nobody else changes it")
    }

    fn place(&self, tail: &mut Tail, taken: &mut u64, node: Node) -> u32 {
        tail.node_count += 1;
        *taken += self.nodes.set(tail.node_count, node);
        tail.node_count
    }
}

/// Whether a node with this version is not being changed.
fn is_at_rest(version: u32) -> bool {
    version.is_multiple_of(2)
}

impl Node {
    fn new(is_inner: bool) -> Node {
        Node {
            version: AtomicU32::new(0),
            count: AtomicU32::new(0),
            skip: AtomicU32::new(0),
            next: AtomicU32::new(NIL),
            low: AtomicU32::new(NIL),
            high: AtomicU32::new(NIL),
            hints: [const { AtomicU64::new(0) }; FANOUT],
            entries: [const { AtomicU32::new(NIL) }; FANOUT],
            children: is_inner.then(|| Box::new([const { AtomicU32::new(NIL) }; FANOUT])),
        }
    }

    fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether nothing that was loaded since `version` was taken can have been changed.
    fn is_still(&self, version: u32) -> bool {
        fence(Ordering::Acquire);
        self.version.load(Ordering::Relaxed) == version
    }

    fn begin_change(&self) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
    }

    fn end_change(&self) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Release);
    }

    fn count(&self) -> usize {
        (self.count.load(Ordering::Relaxed) as usize).min(FANOUT)
    }

    fn is_full(&self) -> bool {
        self.count() == FANOUT
    }

    fn skip(&self) -> usize {
        self.skip.load(Ordering::Relaxed) as usize
    }

    /// Requires: room, and that no reader takes the node as it is in between.
    fn insert(&self, at: usize, hint: u64, entry: u32, child: Option<u32>) {
        let count = self.count();
        let shift_u32 = |slots: &[AtomicU32; FANOUT], new: u32| {
            for to in (at + 1..=count).rev() {
                slots[to].store(slots[to - 1].load(Ordering::Relaxed), Ordering::Relaxed);
            }
            slots[at].store(new, Ordering::Relaxed);
        };
        for to in (at + 1..=count).rev() {
            self.hints[to].store(self.hints[to - 1].load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.hints[at].store(hint, Ordering::Relaxed);
        shift_u32(&self.entries, entry);
        if let (Some(children), Some(child)) = (&self.children, child) {
            shift_u32(children, child);
        }
        self.count.store(count as u32 + 1, Ordering::Relaxed);
    }

    fn copy(&self) -> Leaf {
        let count = self.count();
        let mut leaf = Leaf { entries: [NIL; FANOUT], count, next: self.next.load(Ordering::Relaxed) };
        for (to, from) in leaf.entries.iter_mut().zip(&self.entries).take(count) {
            *to = from.load(Ordering::Relaxed);
        }
        leaf
    }
}

impl Leaf {
    /// A leaf that holds nothing and has none behind it.
    pub(super) fn empty() -> Leaf {
        Leaf { entries: [NIL; FANOUT], count: 0, next: NIL }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}
