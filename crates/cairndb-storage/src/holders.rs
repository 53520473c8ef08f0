//! Holders: who has a database locked, among the handles of one process.
//!
//! A directory is locked through the operating system. Memory has none, so its storages count here: one writer or
//! any number of readers, and a [`Lock`] that takes its holder off the count when it is dropped.
//!
//! # Where it sits
//! Called by [`Memory`](crate::Memory), [`Faulty`](crate::Faulty), and any storage that has no lock of an operating
//! system's; knows nothing of files.

use crate::{Lock, LockError, LockMode};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The holders of one database's lock; a clone counts the same ones.
#[derive(Clone, Default)]
pub struct Holders(Arc<Mutex<Counts>>);

impl fmt::Debug for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holders").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Counts {
    writers: usize,
    readers: usize,
}

impl Holders {
    /// Takes the lock, at once or not at all.
    ///
    /// Errors: `Held` if the two cannot be held side by side.
    pub fn take(&self, mode: LockMode) -> Result<Lock, LockError> {
        let mut counts = self.counts();
        if counts.writers > 0 {
            return Err(LockError::Held("a writer in this process".into()));
        }
        match mode {
            LockMode::Exclusive if counts.readers > 0 => {
                return Err(LockError::Held("a reader in this process".into()));
            }
            LockMode::Exclusive => counts.writers += 1,
            LockMode::Shared => counts.readers += 1,
        }
        Ok(Lock::new(Hold { holders: self.clone(), mode }))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One holder; its drop gives the lock back.
struct Hold {
    holders: Holders,
    mode: LockMode,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut counts = self.holders.counts();
        match self.mode {
            LockMode::Exclusive => counts.writers -= 1,
            LockMode::Shared => counts.readers -= 1,
        }
    }
}
