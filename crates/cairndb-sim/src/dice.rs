//! Dice: numbers that depend on a seed alone, or on bytes that somebody chose.

/// Splitmix64 (Steele, Lea, Flood, 2014); before it, the bytes that were given, as long as they last.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    state: u64,
    bytes: std::vec::IntoIter<u8>,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice { state: seed, bytes: Vec::new().into_iter() }
    }

    /// Every choice is taken from these bytes, so that whoever changes one byte changes one choice.
    pub(crate) fn loaded(bytes: &[u8]) -> Dice {
        Dice { state: 0, bytes: Vec::from(bytes).into_iter() }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.bytes.as_slice().is_empty()
    }

    pub(crate) fn next(&mut self) -> u64 {
        if let Some(byte) = self.bytes.next() {
            return u64::from(byte) | u64::from(self.bytes.next().unwrap_or(0)) << 8;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if bound <= 256
            && let Some(byte) = self.bytes.next()
        {
            return usize::from(byte) % bound;
        }
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}
