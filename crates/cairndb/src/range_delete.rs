//! Range deletes: which stretches of keys were removed, and when.
//!
//! A range delete is one entry that hides every older entry in its stretch. Many of them overlap, so asking "what is
//! the newest one over this key" of a plain list would cost a walk. Here they are cut at each other's ends into
//! *fragments* that never overlap; each fragment knows the sequence numbers of all range deletes over it:
//! ```text
//! [a ........ m) @7            [a .. f) 7 | [f .. m) 9,7 | [m .. t) 9
//!        [f ........ t) @9  =>
//! ```
//!
//! # Where it sits
//! On `key` and `coding`; memtables and SSTables each hold one, reads and compaction ask it.
//!
//! # On disk
//! `count`, then per fragment: start slice, end slice, number of sequence numbers, each as a varint, newest first.
//! Agrees with FORMAT.md, "Range-delete block".
//!
//! # Invariants
//! - I1. Fragments do not overlap, none is empty, and none is without a sequence number.
//! - I2. A fragment's sequence numbers fall.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::coding::{Decoder, put_slice, put_varint};
use crate::key::SeqNo;

/// The fragments of some range deletes, over stored keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeDeletes {
    fragments: BTreeMap<Vec<u8>, Fragment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fragment {
    end: Vec<u8>,
    seqs: Vec<SeqNo>,
}

/// Whether of two range deletes over one stretch nobody needs the older one.
type Alike<'a> = &'a dyn Fn(SeqNo, SeqNo) -> bool;

impl Fragment {
    /// Returns how many more sequence numbers it has then, if any.
    fn insert(&mut self, seq: SeqNo, alike: Alike<'_>) -> usize {
        let Err(index) = self.seqs.binary_search_by(|other| seq.cmp(other)) else { return 0 };
        if index > 0 && alike(self.seqs[index - 1], seq) {
            return 0;
        }
        let hidden = self.seqs[index..].iter().take_while(|older| alike(seq, **older)).count();
        self.seqs.splice(index..index + hidden, [seq]);
        usize::from(hidden == 0)
    }
}

/// One fragment, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FragmentRef<'a> {
    pub(crate) start: &'a [u8],
    pub(crate) end: &'a [u8],
    pub(crate) seqs: &'a [SeqNo],
}

impl RangeDeletes {
    pub(crate) fn is_empty(&self) -> bool {
        self.fragments.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.fragments.len()
    }

    /// How many bytes of memory it takes, about.
    pub(crate) fn memory_len(&self) -> usize {
        self.iter().map(|f| fragment_len(f.start, f.end, f.seqs.len())).sum()
    }

    /// Adds the range delete of `start..end` at `seq`. Returns how many bytes of memory that takes, about: where many
    /// overlap, each lies over many fragments.
    pub(crate) fn insert(&mut self, start: &[u8], end: &[u8], seq: SeqNo) -> usize {
        self.insert_unless(start, end, seq, &|_, _| false)
    }

    /// As [`RangeDeletes::insert`]; but of two over one fragment that are `alike`, only the newer stays.
    pub(crate) fn insert_unless(&mut self, start: &[u8], end: &[u8], seq: SeqNo, alike: Alike<'_>) -> usize {
        if start >= end {
            return 0;
        }
        let mut added = self.split_at(start) + self.split_at(end);
        let mut gaps = Vec::new();
        let mut covered_to = start.to_vec();
        let within = (Bound::Included(start), Bound::Excluded(end));
        for (fragment_start, fragment) in self.fragments.range_mut::<[u8], _>(within) {
            if covered_to < *fragment_start {
                gaps.push((covered_to, fragment_start.clone()));
            }
            added += size_of::<SeqNo>() * fragment.insert(seq, alike);
            covered_to = fragment.end.clone();
        }
        if covered_to.as_slice() < end {
            gaps.push((covered_to, end.to_vec()));
        }
        for (start, end) in gaps {
            added += fragment_len(&start, &end, 1);
            self.fragments.insert(start, Fragment { end, seqs: vec![seq] });
        }
        added
    }

    /// The newest range delete over `key` among those that a reader at `seq` sees.
    pub(crate) fn newest_over(&self, key: &[u8], seq: SeqNo) -> Option<SeqNo> {
        if self.is_empty() {
            return None;
        }
        let (_, fragment) =
            self.fragments.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        if fragment.end.as_slice() <= key {
            return None;
        }
        fragment.seqs.iter().copied().find(|s| *s <= seq)
    }

    /// All sequence numbers of range deletes over `key`, newest first.
    pub(crate) fn all_over(&self, key: &[u8]) -> &[SeqNo] {
        match self.fragments.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back() {
            Some((_, fragment)) if fragment.end.as_slice() > key => &fragment.seqs,
            _ => &[],
        }
    }

    /// The fragments, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = FragmentRef<'_>> {
        self.fragments.iter().map(|(start, f)| FragmentRef { start, end: &f.end, seqs: &f.seqs })
    }

    /// Adds what `other` has within `start..end`.
    pub(crate) fn merge_clipped(&mut self, other: &RangeDeletes, start: &[u8], end: &[u8]) {
        for fragment in other.iter().filter(|f| f.start < end && start < f.end) {
            for seq in fragment.seqs {
                self.insert(fragment.start.max(start), fragment.end.min(end), *seq);
            }
        }
    }

    /// As [`RangeDeletes::merge_clipped`]; but of two over one fragment that are `alike`, only the newer stays. So what many
    /// sources have over one another takes no more memory than their fragments do.
    pub(crate) fn merge_alike(
        &mut self,
        other: &RangeDeletes,
        start: &[u8],
        end: &[u8],
        alike: impl Fn(SeqNo, SeqNo) -> bool,
    ) {
        for fragment in other.iter().filter(|f| f.start < end && start < f.end) {
            let mut newer = None;
            for seq in fragment.seqs.iter().copied() {
                if !newer.replace(seq).is_some_and(|newer| alike(newer, seq)) {
                    self.insert_unless(fragment.start.max(start), fragment.end.min(end), seq, &alike);
                }
            }
        }
    }

    /// Those for which `keeps` holds, asked fragment by fragment with a sequence number of it.
    pub(crate) fn filtered(&self, mut keeps: impl FnMut(FragmentRef<'_>, SeqNo) -> bool) -> RangeDeletes {
        let mut fragments = BTreeMap::new();
        for fragment in self.iter() {
            let seqs: Vec<SeqNo> =
                fragment.seqs.iter().copied().filter(|seq| keeps(fragment, *seq)).collect();
            if !seqs.is_empty() {
                fragments.insert(fragment.start.to_vec(), Fragment { end: fragment.end.to_vec(), seqs });
            }
        }
        RangeDeletes { fragments }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.fragments.len() as u64);
        for fragment in self.iter() {
            put_slice(out, fragment.start);
            put_slice(out, fragment.end);
            put_varint(out, fragment.seqs.len() as u64);
            for seq in fragment.seqs {
                put_varint(out, *seq);
            }
        }
    }

    /// `None` if the bytes break I1 or I2.
    pub(crate) fn decode(bytes: &[u8]) -> Option<RangeDeletes> {
        let mut from = Decoder::new(bytes);
        let mut fragments = BTreeMap::new();
        let mut last_end: &[u8] = &[];
        for _ in 0..from.varint()? {
            let (start, end) = (from.slice()?, from.slice()?);
            let mut seqs = Vec::new();
            for _ in 0..from.varint()? {
                seqs.push(from.varint()?);
            }
            if start < last_end || start >= end || seqs.is_empty() || !seqs.is_sorted_by(|a, b| a > b) {
                return None;
            }
            last_end = end;
            fragments.insert(start.to_vec(), Fragment { end: end.to_vec(), seqs });
        }
        from.is_at_end().then_some(RangeDeletes { fragments })
    }

    fn split_at(&mut self, key: &[u8]) -> usize {
        let over = self
            .fragments
            .range_mut::<[u8], _>((Bound::Unbounded, Bound::Excluded(key)))
            .next_back()
            .filter(|(_, fragment)| fragment.end.as_slice() > key);
        let Some((_, fragment)) = over else { return 0 };
        let rest =
            Fragment { end: std::mem::replace(&mut fragment.end, key.to_vec()), seqs: fragment.seqs.clone() };
        let added = fragment_len(key, &rest.end, rest.seqs.len());
        self.fragments.insert(key.to_vec(), rest);
        added
    }
}

/// What a fragment takes in memory, its place in the map included, about.
fn fragment_len(start: &[u8], end: &[u8], seq_count: usize) -> usize {
    96 + start.len() + end.len() + size_of::<SeqNo>() * seq_count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(deletes: &RangeDeletes) -> String {
        let one =
            |f: FragmentRef| format!("[{}..{}) {:?}", f.start.escape_ascii(), f.end.escape_ascii(), f.seqs);
        deletes.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn overlapping_stretches_are_cut_at_each_others_ends() {
        let mut deletes = RangeDeletes::default();
        deletes.insert(b"a", b"m", 7);
        deletes.insert(b"f", b"t", 9);
        assert_eq!(shown(&deletes), "[a..f) [7] [f..m) [9, 7] [m..t) [9]");
        deletes.insert(b"b", b"z", 8);
        assert_eq!(shown(&deletes), "[a..b) [7] [b..f) [8, 7] [f..m) [9, 8, 7] [m..t) [9, 8] [t..z) [8]");
        assert_eq!(deletes.newest_over(b"g", 8), Some(8));
        assert_eq!(deletes.newest_over(b"g", 6), None);
        assert_eq!(deletes.newest_over(b"z", 99), None);
        let mut bytes = Vec::new();
        deletes.encode(&mut bytes);
        assert_eq!(RangeDeletes::decode(&bytes), Some(deletes));
        for len in 0..bytes.len() {
            assert_eq!(RangeDeletes::decode(&bytes[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn of_those_that_are_alike_the_newest_stays() {
        let mut wide = RangeDeletes::default();
        for seq in 1..100 {
            wide.insert(b"a", b"z", seq);
        }
        let mut merged = RangeDeletes::default();
        merged.insert(b"b", b"c", 40);
        merged.merge_alike(&wide, b"", b"y", |a, b| (a > 50) == (b > 50));
        assert_eq!(shown(&merged), "[a..b) [99, 50] [b..c) [99, 50] [c..y) [99, 50]");
    }

    #[test]
    fn gaps_between_fragments_are_filled() {
        let mut deletes = RangeDeletes::default();
        deletes.insert(b"b", b"c", 1);
        deletes.insert(b"d", b"e", 2);
        deletes.insert(b"a", b"f", 3);
        assert_eq!(shown(&deletes), "[a..b) [3] [b..c) [3, 1] [c..d) [3] [d..e) [3, 2] [e..f) [3]");
        let mut clipped = RangeDeletes::default();
        clipped.merge_clipped(&deletes, b"bb", b"dd");
        assert_eq!(shown(&clipped), "[bb..c) [3, 1] [c..d) [3] [d..dd) [3, 2]");
    }
}
