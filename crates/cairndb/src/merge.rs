//! Merge: several cursors as one, newest entry first.
//!
//! The next entry of a merge is the first among the next entries of its cursors. A heap of the cursors keeps the one
//! that is first on top: after a step only the cursor that moved has to find its new place.
//!
//! # Where it sits
//! On `cursor`; reads merge memtables and tables with it, compaction merges its inputs.
//!
//! # Invariants
//! - I1. Forward, the heap's top has the first entry; backward, the last one. Cursors without an entry are not in it.
//!
//! # Why this way
//! A tournament tree halves the comparisons of a step. The heap is shorter, and a scan whose next entry comes from the
//! same cursor as the last one, the usual case, needs one or two comparisons either way.

use std::cmp::Ordering;

use crate::cursor::Cursor;
use crate::error::Result;
use crate::key::{EntryRef, SeqNo, Value, compare};

/// Several cursors as one. Where two of them hold the same entry, which of the two comes first is left open.
pub(crate) struct Merge {
    cursors: Vec<Box<dyn Cursor>>,
    /// Indexes of the cursors that stand on an entry, as a binary heap.
    heap: Vec<usize>,
    backward: bool,
}

impl Merge {
    pub(crate) fn new(cursors: Vec<Box<dyn Cursor>>) -> Merge {
        Merge { heap: Vec::with_capacity(cursors.len()), cursors, backward: false }
    }

    /// Whether cursor `a` comes before cursor `b`, in the direction of the walk.
    fn is_first(&self, a: usize, b: usize) -> bool {
        let (Some(a), Some(b)) = (self.cursors[a].entry(), self.cursors[b].entry()) else { return false };
        let first = if self.backward { Ordering::Greater } else { Ordering::Less };
        compare((a.key, a.seq), (b.key, b.seq)) == first
    }

    fn build(&mut self, backward: bool) {
        self.backward = backward;
        self.heap.clear();
        self.heap.extend((0..self.cursors.len()).filter(|index| self.cursors[*index].stands()));
        for place in (0..self.heap.len() / 2).rev() {
            self.sift_down(place);
        }
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let mut first = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && self.is_first(self.heap[child], self.heap[first]) {
                    first = child;
                }
            }
            if first == place {
                return;
            }
            self.heap.swap(place, first);
            place = first;
        }
    }

    /// After the top has moved: finds its new place, or lets it go.
    fn settle(&mut self) {
        if !self.cursors[self.heap[0]].stands() {
            self.heap.swap_remove(0);
        }
        if self.heap.len() > 1 {
            self.sift_down(0);
        }
    }

    /// Which of the cursors the merge's entry comes from.
    pub(crate) fn index(&self) -> Option<usize> {
        self.heap.first().copied()
    }

    /// Lets go of the cursors that have come to their end, and of the tables they hold. The merge cannot seek any more.
    pub(crate) fn drop_spent(&mut self) {
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.entry().is_none()) {
            *cursor = Box::new(Spent);
        }
    }

    fn top(&self) -> Option<&dyn Cursor> {
        self.heap.first().map(|index| self.cursors[*index].as_ref())
    }
}

/// A cursor that came to its end and holds nothing any more.
struct Spent;

impl Cursor for Spent {
    fn seek(&mut self, _key: &[u8], _seq: SeqNo) -> Result<()> {
        unreachable!("a merge that let go of cursors does not seek")
    }

    fn seek_before(&mut self, _key: &[u8]) -> Result<()> {
        unreachable!("a merge that let go of cursors does not seek")
    }

    fn next(&mut self) -> Result<()> {
        unreachable!("a cursor without an entry is not moved")
    }

    fn prev(&mut self) -> Result<()> {
        unreachable!("a cursor without an entry is not moved")
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        None
    }

    fn value(&self) -> Value {
        Value::from(&[][..])
    }
}

impl Cursor for Merge {
    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        for cursor in &mut self.cursors {
            cursor.seek(key, seq)?;
        }
        self.build(false);
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        for cursor in &mut self.cursors {
            cursor.seek_before(key)?;
        }
        self.build(true);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        debug_assert!(!self.backward, "a cursor that turns round seeks again");
        self.cursors[self.heap[0]].next()?;
        self.settle();
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        debug_assert!(self.backward, "a cursor that turns round seeks again");
        self.cursors[self.heap[0]].prev()?;
        self.settle();
        Ok(())
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        self.top()?.entry()
    }

    fn value(&self) -> Value {
        self.top().map_or_else(|| Value::from(&[][..]), Cursor::value)
    }
}
