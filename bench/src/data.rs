//! Data: the keys and values of every workload, from seeds.
//!
//! A key is a number in 16 decimal digits. A value is 100 bytes, half of which are noise, so that it packs to about
//! half. Random orders come from a permutation that needs no memory, so that "every key once" can be said of millions.

/// The length of a value, in bytes.
pub(crate) const VALUE_LEN: usize = 100;

/// An entry's key and value, in bytes.
pub(crate) const ENTRY_LEN: u64 = 16 + VALUE_LEN as u64;

/// Noise to cut values from.
const NOISE_LEN: usize = 1 << 20;

/// A small generator: splitmix64.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `end`, evenly enough.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The key of a number.
pub(crate) fn key(mut number: u64) -> [u8; 16] {
    let mut digits = [b'0'; 16];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// Where values come from.
pub(crate) struct Values(Vec<u8>);

impl Values {
    pub(crate) fn new() -> Values {
        let mut dice = Dice::new(0xca1);
        let mut noise = vec![b'.'; NOISE_LEN];
        for value in noise.chunks_mut(VALUE_LEN) {
            for byte in value.iter_mut().take(VALUE_LEN / 2) {
                *byte = dice.next() as u8;
            }
        }
        Values(noise)
    }

    /// The value of the `n`th write.
    pub(crate) fn value(&self, n: u64) -> &[u8] {
        let start = mix(n) as usize % (NOISE_LEN - VALUE_LEN);
        &self.0[start..start + VALUE_LEN]
    }
}

/// The numbers below `count` in an order of their own: a Feistel network over the next even number of bits, walked on
/// until it falls below `count`.
pub(crate) struct Shuffled {
    count: u64,
    half_bits: u32,
    seed: u64,
}

impl Shuffled {
    pub(crate) fn new(count: u64, seed: u64) -> Shuffled {
        let bits = 64 - count.leading_zeros();
        Shuffled { count, half_bits: bits.div_ceil(2).max(1), seed }
    }

    /// The number at `index`, which is below `count`.
    pub(crate) fn at(&self, index: u64) -> u64 {
        let mut number = self.permute(index);
        while number >= self.count {
            number = self.permute(number);
        }
        number
    }

    fn permute(&self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for round in 0..4 {
            let mixed = mix(right ^ self.seed.wrapping_add(round << 32)) & mask;
            (left, right) = (right, left ^ mixed);
        }
        (left << self.half_bits) | right
    }
}

/// Numbers below `count`, the few far more often than the many: Zipf's law with exponent 0.99, scattered over the keys
/// (Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994; YCSB does the same).
pub(crate) struct Zipf {
    count: u64,
    zeta: f64,
    eta: f64,
}

const THETA: f64 = 0.99;

impl Zipf {
    pub(crate) fn new(count: u64) -> Zipf {
        let zeta_of = |end: u64| (1..=end).map(|rank| (rank as f64).powf(-THETA)).sum::<f64>();
        let zeta = zeta_of(count);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - THETA)) / (1.0 - zeta_of(2) / zeta);
        Zipf { count, zeta, eta }
    }

    pub(crate) fn draw(&self, dice: &mut Dice) -> u64 {
        let chance = dice.next() as f64 / 2f64.powi(64);
        let reach = chance * self.zeta;
        let rank = if reach < 1.0 {
            0
        } else if reach < 1.0 + 0.5f64.powf(THETA) {
            1
        } else {
            (self.count as f64 * (self.eta * chance - self.eta + 1.0).powf(1.0 / (1.0 - THETA))) as u64
        };
        mix(rank) % self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_gives_every_number_once() {
        for count in [1, 2, 3, 1000, 4097] {
            let shuffled = Shuffled::new(count, 7);
            let mut all: Vec<u64> = (0..count).map(|index| shuffled.at(index)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn keys_sort_as_numbers_do() {
        assert_eq!(&key(42), b"0000000000000042");
        assert!(key(999) < key(1000));
    }

    #[test]
    fn a_tenth_of_the_keys_are_asked_for_most_of_the_time() {
        let (zipf, mut dice) = (Zipf::new(10_000), Dice::new(1));
        let mut asked = vec![0u32; 10_000];
        for _ in 0..100_000 {
            asked[zipf.draw(&mut dice) as usize] += 1;
        }
        asked.sort_unstable_by(|a, b| b.cmp(a));
        let top: u32 = asked[..1000].iter().sum();
        assert!((60_000..95_000).contains(&top), "{top}");
    }
}
