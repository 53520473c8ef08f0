//! Random: numbers, for where it does not matter that they could be guessed.

use std::hash::{BuildHasher, RandomState};

/// A number that differs from call to call.
pub(crate) fn number() -> u64 {
    RandomState::new().hash_one(0)
}
