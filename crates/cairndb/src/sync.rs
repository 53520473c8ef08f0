//! Sync: locks and atomics under one name.
//!
//! Every other room takes them from here, so that a schedule checker can be put in their place in one file. The
//! locks hand out their guards without a `Result`: a thread that panicked while it held one has broken a promise, and
//! whoever comes next must not build on what it left.
//!
//! # Where it sits
//! At the bottom, on nothing.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
pub(crate) use std::sync::{Arc, MutexGuard, OnceLock, RwLockReadGuard, RwLockWriteGuard};

const POISONED: &str = "another thread panicked while it held this lock";

/// A mutual exclusion lock.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect(POISONED)
    }
}

/// A lock that many may hold for reading.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> RwLock<T> {
        RwLock(std::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().expect(POISONED)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().expect(POISONED)
    }
}

/// A place to wait under a [`Mutex`] until somebody says that something has changed.
#[derive(Debug, Default)]
pub(crate) struct Condvar(std::sync::Condvar);

impl Condvar {
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).expect(POISONED)
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, ms: u64) -> MutexGuard<'a, T> {
        self.0.wait_timeout(guard, std::time::Duration::from_millis(ms)).expect(POISONED).0
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
