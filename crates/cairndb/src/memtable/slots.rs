//! Slots: values that are put down once and read from then on, from any thread, without a lock.
//!
//! A slot is named by a number from 1. Slots lie in segments of doubling length, so that none moves when there are more:
//! a reference to a value is good as long as the slots are.

use super::NIL;
use crate::sync::OnceLock;

/// Segments double, so this many hold four billion values.
const SEGMENT_COUNT: usize = 32;

type Segment<T> = Box<[OnceLock<T>]>;

/// A growing list of values that never change.
pub(super) struct Slots<T> {
    segments: [OnceLock<Segment<T>>; SEGMENT_COUNT],
}

impl<T> Slots<T> {
    pub(super) fn new() -> Slots<T> {
        Slots { segments: [const { OnceLock::new() }; SEGMENT_COUNT] }
    }

    /// The value in slot `index`, if one has been put there.
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        if index == NIL {
            return None;
        }
        let (segment, offset) = segment_of(index);
        self.segments[segment].get()?[offset].get()
    }

    /// Puts `value` into slot `index`; returns how much memory was taken for it and for slots to come.
    ///
    /// Requires: nothing is there yet, and one thread at a time does this.
    pub(super) fn set(&self, index: u32, value: T) -> u64 {
        let (segment, offset) = segment_of(index);
        let mut taken = 0;
        let slots = self.segments[segment].get_or_init(|| {
            taken = ((1 << segment) * size_of::<OnceLock<T>>()) as u64;
            (0..1_usize << segment).map(|_| OnceLock::new()).collect()
        });
        assert!(slots[offset].set(value).is_ok(), "a slot is filled once");
        taken
    }
}

/// Which segment holds slot `index`, and where in it.
fn segment_of(index: u32) -> (usize, usize) {
    let segment = index.ilog2();
    (segment as usize, (index - (1 << segment)) as usize)
}
