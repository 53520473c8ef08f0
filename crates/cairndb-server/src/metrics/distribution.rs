//! Distribution: how often a measured number was how large, to an eighth of itself.
//!
//! Eight counts for each doubling, from 1 up: fine enough for percentiles, and the ends of the doublings are exact, so a
//! coarser histogram can be read off. Measuring is two additions; nobody waits for anybody.
//!
//! # Why this way
//! It is the shape of an HDR histogram at its coarsest. Numbers that are read while others are added may be a moment apart.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts for each doubling.
const STEPS: u64 = 8;
/// Larger numbers are counted as this one: as nanoseconds more than two minutes, as a count more than one turn ever holds.
const VALUE_MAX: u64 = (1 << 37) - 1;
const COUNTS: usize = 8 + (37 - 3) * STEPS as usize;

/// Counts as they happen.
pub(crate) struct Distribution {
    /// `counts[n]` is of numbers up to `end_of(n)`, and above that of the one before.
    counts: [AtomicU64; COUNTS],
    sum: AtomicU64,
}

/// What a [`Distribution`] held at some moment.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    counts: Vec<u64>,
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Default for Distribution {
    fn default() -> Distribution {
        Distribution { counts: [const { AtomicU64::new(0) }; COUNTS], sum: AtomicU64::new(0) }
    }
}

impl Distribution {
    pub(crate) fn observe(&self, value: u64) {
        self.counts[index_of(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn spread(&self) -> Spread {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Spread { count: counts.iter().sum(), counts, sum: self.sum.load(Ordering::Relaxed) }
    }

    /// How many numbers were measured.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn reset(&self) {
        self.counts.iter().chain([&self.sum]).for_each(|number| number.store(0, Ordering::Relaxed));
    }
}

impl Spread {
    /// The number that as large a share of all is not above, from 0 to 1; 0 if there are none. What lies within a count is
    /// taken to lie evenly.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.count as f64;
        let mut below = 0;
        for (index, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            if (below + count) as f64 >= wanted {
                let start = index.checked_sub(1).map_or(0, end_of) as f64;
                let within = ((wanted - below as f64) / count as f64).clamp(0.0, 1.0);
                return start + (end_of(index) as f64 - start) * within;
            }
            below += count;
        }
        0.0
    }

    /// How many numbers were above `start` and not above `end`, both powers of two, or `start` 0.
    pub(crate) fn between(&self, start: u64, end: u64) -> u64 {
        let first = if start == 0 { 0 } else { index_of(start) + 1 };
        self.counts[first..=index_of(end)].iter().sum()
    }
}

fn index_of(value: u64) -> usize {
    let below = value.saturating_sub(1).min(VALUE_MAX);
    if below < STEPS {
        return below as usize;
    }
    let doublings = u64::from(63 - below.leading_zeros());
    ((doublings - 2) * STEPS + (below >> (doublings - 3)) % STEPS) as usize
}

/// The largest number that the count `index` is of.
fn end_of(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index + 1;
    }
    let (doublings, step) = (index / STEPS + 2, index % STEPS);
    (STEPS + step + 1) << (doublings - 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lies_within_its_count() {
        for doublings in 0..40 {
            for value in [1u64 << doublings, (1 << doublings) + 1, (1 << doublings) * 3 / 2 + 1] {
                let index = index_of(value);
                assert!(value.min(VALUE_MAX) <= end_of(index), "{value}");
                assert!(index == 0 || end_of(index - 1) < value, "{value}");
            }
        }
        assert_eq!(index_of(u64::MAX), COUNTS - 1);
        assert_eq!(end_of(COUNTS - 1), VALUE_MAX + 1);
    }

    #[test]
    fn powers_of_two_part_the_numbers_exactly() {
        let distribution = Distribution::default();
        (0..=1_000).for_each(|value| distribution.observe(value));
        let spread = distribution.spread();
        assert_eq!((spread.count, spread.sum), (1_001, 500_500));
        assert_eq!(spread.between(0, 1), 2);
        assert_eq!(spread.between(1, 2), 1);
        assert_eq!(spread.between(256, 512), 256);
        assert_eq!(spread.between(512, 1_024), 488);
    }

    #[test]
    fn quantiles_are_right_to_an_eighth() {
        let distribution = Distribution::default();
        assert_eq!(distribution.spread().quantile(0.99), 0.0);
        (1..=100_000).for_each(|value| distribution.observe(value));
        let spread = distribution.spread();
        for share in [0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let (told, right) = (spread.quantile(share), share * 100_000.0);
            assert!((told - right).abs() <= right / 8.0 + 1.0, "{share}: {told}, not {right}");
        }
    }
}
