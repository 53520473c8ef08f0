//! Sync: locks and atomics under one name.
//!
//! Every other room takes them from here, so that a schedule checker can be put in their place in this one file: built
//! with `--cfg shuttle` the same names are shuttle's, and `cairndb-schedules` decides at each of their calls which
//! thread goes on. The locks hand out their guards without a `Result`: a thread that panicked while it held one has
//! broken a promise, and whoever comes next must not build on what it left.
//!
//! # Where it sits
//! At the bottom, on nothing.
//!
//! # Why this way
//! Shuttle, which draws schedules, and not loom, which tries all of them: loom earns its time where weak memory meets
//! `unsafe`, and there is no `unsafe` room here. Shuttle takes every ordering for the strongest one; Miri, which runs
//! the unit tests, does not. Two things are simpler under shuttle. Its threads share one real thread, so a panic in
//! one would seem to poison what another holds: there, poison is passed over. And `Arc` is std's: a count that is
//! read has no schedule of its own.

#[cfg(shuttle)]
use shuttle::sync as base;
#[cfg(not(shuttle))]
use std::sync as base;

pub(crate) use base::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
pub(crate) use base::{Arc, MutexGuard, RwLockReadGuard, RwLockWriteGuard};
#[cfg(shuttle)]
pub(crate) use scheduled::{OnceLock, fence};
#[cfg(not(shuttle))]
pub(crate) use std::sync::OnceLock;
#[cfg(not(shuttle))]
pub(crate) use std::sync::atomic::fence;

/// What was locked, unless it is poisoned.
fn unpoisoned<G>(locked: base::LockResult<G>) -> G {
    if cfg!(shuttle) {
        return locked.unwrap_or_else(base::PoisonError::into_inner);
    }
    locked.expect("another thread panicked while it held this lock")
}

/// A mutual exclusion lock.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(base::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(base::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        unpoisoned(self.0.lock())
    }
}

/// A lock that many may hold for reading.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(base::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> RwLock<T> {
        RwLock(base::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        unpoisoned(self.0.read())
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        unpoisoned(self.0.write())
    }
}

/// A place to wait under a [`Mutex`] until somebody says that something has changed.
#[derive(Debug, Default)]
pub(crate) struct Condvar(base::Condvar);

impl Condvar {
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        unpoisoned(self.0.wait(guard))
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, ms: u64) -> MutexGuard<'a, T> {
        unpoisoned(self.0.wait_timeout(guard, std::time::Duration::from_millis(ms))).0
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// What shuttle does not have.
#[cfg(shuttle)]
mod scheduled {
    /// Shuttle takes every ordering for the strongest one.
    pub(crate) fn fence(_: crate::sync::Ordering) {}

    /// A value that is set once. Others may run before it is; a `get` follows another look at shared memory everywhere
    /// in the engine, and has no point of its own.
    pub(crate) struct OnceLock<T>(std::sync::OnceLock<T>);

    impl<T> OnceLock<T> {
        pub(crate) const fn new() -> OnceLock<T> {
            OnceLock(std::sync::OnceLock::new())
        }

        pub(crate) fn get(&self) -> Option<&T> {
            self.0.get()
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            shuttle::thread::yield_now();
            self.0.set(value)
        }

        /// Where two threads come at once both make a value, and the first one stays: nobody waits inside `std`.
        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            if self.0.get().is_none() {
                drop(self.set(make()));
            }
            self.0.get().expect("it was just set")
        }
    }
}
