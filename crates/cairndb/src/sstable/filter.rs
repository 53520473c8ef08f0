//! Filter: tells in one look that a key is not in a table.
//!
//! A Bloom filter of 10 bits a key, cut into lines of 64 bytes, the length of a processor's cache line. A key's hash
//! chooses one line and six bits in it; if one of them is not set, the key was never added. About one absent key in a
//! hundred is let through.
//!
//! # On disk
//! ```text
//! | line of 64 bytes | line | ... | probes u8 |
//! ```
//! Agrees with FORMAT.md, "Filter block".
//!
//! # Why this way
//! Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007): a blocked filter lets a few more
//! keys through than a plain one of the same size, and asks for one cache miss instead of six.

/// Bits per key.
const BITS_PER_KEY: usize = 10;

/// Bits asked per key. FORMAT.md, "Constants".
pub(crate) const FILTER_PROBES: u8 = 6;

/// The length of a line, in bytes. FORMAT.md, "Constants".
pub(crate) const FILTER_LINE_LEN: usize = 64;

/// What a probe's state is multiplied by to come to the next: 2^32 divided by the golden ratio. FORMAT.md, "Constants".
pub(crate) const FILTER_STEP: u32 = 0x9E37_79B9;

/// A filter over the keys of one table.
pub(crate) struct Filter {
    bytes: Vec<u8>,
}

impl Filter {
    /// Builds the bytes of a filter over keys with these hashes.
    pub(crate) fn build(hashes: &[u64]) -> Vec<u8> {
        let line_count = (hashes.len() * BITS_PER_KEY).div_ceil(FILTER_LINE_LEN * 8).max(1);
        let mut lines = vec![[0; FILTER_LINE_LEN]; line_count];
        for hash in hashes {
            let line = &mut lines[line_of(*hash, line_count)];
            probes(*hash, FILTER_PROBES).for_each(|bit| line[bit / 8] |= 1 << (bit % 8));
        }
        [lines.as_flattened(), &[FILTER_PROBES]].concat()
    }

    /// `None` if the bytes are no filter.
    pub(crate) fn new(mut bytes: Vec<u8>) -> Option<Filter> {
        // It stays, and the memory it was read into may be longer.
        bytes.shrink_to_fit();
        let whole = bytes.len() > FILTER_LINE_LEN && bytes.len() % FILTER_LINE_LEN == 1;
        whole.then_some(Filter { bytes })
    }

    /// `false`: the key was never added. `true`: it may have been.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let (lines, probe_count) = self.bytes.as_chunks::<FILTER_LINE_LEN>();
        let line = &lines[line_of(hash, lines.len())];
        probes(hash, probe_count[0]).all(|bit| line[bit / 8] & (1 << (bit % 8)) != 0)
    }

    /// Which line [`Filter::may_contain`] looks at, and which of its bits; and the first of those that is not set.
    #[cfg(feature = "dissect")]
    pub(crate) fn looks(&self, hash: u64) -> (usize, Vec<usize>, Option<usize>) {
        let (lines, probe_count) = self.bytes.as_chunks::<FILTER_LINE_LEN>();
        let line = line_of(hash, lines.len());
        let bits: Vec<usize> = probes(hash, probe_count[0]).collect();
        let clear = bits.iter().copied().find(|bit| lines[line][bit / 8] & (1 << (bit % 8)) == 0);
        (line, bits, clear)
    }

    pub(super) fn memory_len(&self) -> u64 {
        self.bytes.len() as u64 + 64
    }
}

/// The offset of the line that the hash's upper half chooses.
fn line_of(hash: u64, line_count: usize) -> usize {
    (((hash >> 32) * line_count as u64) >> 32) as usize
}

/// The bits in that line that the hash's lower half chooses.
fn probes(hash: u64, count: u8) -> impl Iterator<Item = usize> {
    let mut state = hash as u32;
    (0..count).map(move |_| {
        let bit = state >> 23;
        state = state.wrapping_mul(FILTER_STEP);
        bit as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::hash_key;

    #[test]
    fn all_keys_are_found_and_few_others() {
        let count = if cfg!(miri) { 400_u32 } else { 20_000 };
        let hashes: Vec<u64> = (0..count).map(|key| hash_key(&key.to_le_bytes())).collect();
        let filter = Filter::new(Filter::build(&hashes)).unwrap();
        assert!(hashes.iter().all(|hash| filter.may_contain(*hash)));
        let let_through =
            (count..2 * count).filter(|key| filter.may_contain(hash_key(&key.to_le_bytes()))).count();
        assert!(let_through < count as usize / 40, "{let_through} of {count} absent keys let through");
    }
}
