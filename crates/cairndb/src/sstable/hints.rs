//! Hints: the keys of a block laid out for searching, behind the block in its memory.
//!
//! Entries of a block stand a hundred bytes apart, so that walking over them costs a line of memory each. A hint is eight
//! bytes of a key, those behind what all keys of the block share: hints lie side by side, and a search among them costs
//! two or three lines in all.
//!
//! ```text
//! | what all keys share | hint u64 | hint u64 | ... | offset u16 | offset u16 | ... |
//! ```
//!
//! # Why this way
//! In the same piece of memory as the block: a page of memory that was not looked at lately costs more than a line, and
//! more still in a virtual machine. A block that moved to where there is room for its hints would no longer stand beside its
//! neighbours, and a scan over them would take a sixth longer.

use crate::key::{hint_of, shared_len};

/// How many bytes of a key a hint holds.
const HINT_LEN: usize = size_of::<u64>();

/// How many bytes an offset takes.
const OFFSET_LEN: usize = size_of::<u16>();

/// The longest block that has hints, in bytes: one that is longer holds few entries.
pub(super) const HINTED_LEN_MAX: usize = u16::MAX as usize;

/// Where a block's hints stand in its memory.
#[derive(Clone, Copy)]
pub(super) struct Hints {
    at: usize,
    skip: usize,
    count: usize,
}

/// What a block has of hints.
pub(super) enum BlockHints {
    /// None yet.
    Untried,
    /// None: it is too long, or its keys are not fit for them.
    Unfit,
    Made(Hints),
}

/// What hints know of a key.
pub(super) enum Hinted {
    /// It is not in the block.
    Nowhere,
    /// If it is there, then at this offset, and the hint stands for all of it that its entry does not hold itself.
    At(usize),
    /// Several entries are alike.
    Unsure,
}

impl Hints {
    pub(super) fn find(self, bytes: &[u8], key: &[u8]) -> Hinted {
        let (shared, rest) = bytes[self.at..].split_at(self.skip);
        if key.get(..self.skip) != Some(shared) {
            return Hinted::Nowhere;
        }
        let (hints, offsets) = rest.split_at(HINT_LEN * self.count);
        let (hints, offsets) = (hints.as_chunks().0, offsets.as_chunks().0);
        let hint = hint_of(key, self.skip);
        let hint_at = |at: usize| hints.get(at).map(|hint| u64::from_le_bytes(*hint));
        let at = hints.partition_point(|before| u64::from_le_bytes(*before) < hint);
        match (hint_at(at) == Some(hint), hint_at(at + 1) == Some(hint)) {
            (false, _) => Hinted::Nowhere,
            (true, true) => Hinted::Unsure,
            (true, false) => Hinted::At(u16::from_le_bytes(offsets[at]).into()),
        }
    }
}

/// Makes hints: it sees all keys once, to learn what they share, and then again.
#[derive(Default)]
pub(super) struct HintMaker {
    first: Vec<u8>,
    skip: usize,
    hints: Vec<u64>,
    offsets: Vec<u16>,
}

impl HintMaker {
    /// The first time round.
    pub(super) fn see(&mut self, key: &[u8]) {
        if self.first.is_empty() {
            self.first = key.to_vec();
            self.skip = key.len();
        }
        let shared = &self.first[..self.skip];
        if !key.starts_with(shared) {
            self.skip = shared_len(shared, key);
        }
    }

    /// The second time: the entry of `key` is at `offset`, and does not hold its first `shared` bytes. `None`: such a block can
    /// have no hints.
    pub(super) fn add(&mut self, key: &[u8], offset: usize, shared: usize) -> Option<()> {
        let hint = hint_of(key, self.skip);
        let is_sorted = self.hints.last().is_none_or(|before| *before <= hint);
        let is_known = shared <= self.skip + HINT_LEN;
        self.offsets.push(u16::try_from(offset).ok().filter(|_| is_sorted && is_known)?);
        self.hints.push(hint);
        Some(())
    }

    /// How many bytes the hints will take.
    pub(super) fn hints_len(&self) -> usize {
        self.skip + (HINT_LEN + OFFSET_LEN) * self.hints.len()
    }

    pub(super) fn append_to(self, bytes: &mut Vec<u8>) -> Hints {
        let hints = Hints { at: bytes.len(), skip: self.skip, count: self.hints.len() };
        bytes.extend_from_slice(&self.first[..self.skip]);
        self.hints.iter().for_each(|hint| bytes.extend_from_slice(&hint.to_le_bytes()));
        self.offsets.iter().for_each(|offset| bytes.extend_from_slice(&offset.to_le_bytes()));
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hints of these keys, as a block would have them that holds each whole.
    fn hints_of(keys: &[&str]) -> Option<(Vec<u8>, Hints)> {
        let mut maker = HintMaker::default();
        keys.iter().for_each(|key| maker.see(key.as_bytes()));
        for (at, key) in keys.iter().enumerate() {
            maker.add(key.as_bytes(), 100 * at, 0)?;
        }
        let (len, mut bytes) = (maker.hints_len(), b"a block".to_vec());
        let hints = maker.append_to(&mut bytes);
        assert_eq!(bytes.len(), 7 + len);
        Some((bytes, hints))
    }

    #[test]
    fn a_hint_is_of_what_the_keys_do_not_share() {
        let keys =
            ["rock/igneous/basalt", "rock/igneous/granite", "rock/igneous/granite", "rock/igneous/tuff"];
        let (bytes, hints) = hints_of(&keys).unwrap();
        let find = |key: &str| hints.find(&bytes, key.as_bytes());
        assert!(matches!(find("rock/igneous/basalt"), Hinted::At(0)));
        assert!(matches!(find("rock/igneous/tuff"), Hinted::At(300)));
        assert!(matches!(find("rock/igneous/granite"), Hinted::Unsure), "two versions");
        assert!(matches!(find("rock/igneous/gabbro"), Hinted::Nowhere));
        assert!(matches!(find("rock/"), Hinted::Nowhere), "shorter than what all share");
        assert!(matches!(find("salt/igneous/basalt"), Hinted::Nowhere));
    }

    #[test]
    fn keys_that_do_not_rise_have_no_hints() {
        assert!(hints_of(&["a", "b"]).is_some());
        assert!(hints_of(&["b", "a"]).is_none());
    }

    /// A hint must stand for what its entry leaves out.
    #[test]
    fn an_entry_that_leaves_out_more_than_its_hint_tells_has_none() {
        let keys = ["rock/igneous/basalt", "rock/igneous/granite"];
        let mut maker = HintMaker::default();
        keys.iter().for_each(|key| maker.see(key.as_bytes()));
        let shared_by_all = "rock/igneous/".len();
        assert!(maker.add(keys[0].as_bytes(), 0, shared_by_all + HINT_LEN + 1).is_none());
        assert!(maker.add(keys[1].as_bytes(), 0, shared_by_all + HINT_LEN).is_some());
    }
}
