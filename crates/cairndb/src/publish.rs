//! Publish: a value that is replaced as a whole now and then, and taken by many threads all the time; and a count to which
//! they add.
//!
//! Taking it means a lock for a moment and a count that goes up, and two processors that write one line of memory make
//! each other wait: so there are several copies of the lock and of the count, and a thread stays with one. Whoever
//! changes the value goes through all of them.
//!
//! # Where it sits
//! On `sync` alone.
//!
//! # Invariants
//! - I1. Whoever takes the value after [`Published::change`] has returned gets what it left, or something later.
//!
//! # Why this way
//! A pointer that is swapped needs no lock to be taken, but somebody has to know when the old value can go: hazard
//! pointers or epochs, with `unsafe` beneath. This costs about as much while nobody else wants the same line.

use std::ops::Deref;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering, RwLock};

/// How many copies there are. Where schedules are drawn, all threads share one.
const STRIPES: usize = if cfg!(shuttle) { 1 } else { 8 };

static THREADS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// How many threads had asked before this one.
    static THREAD: u64 = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// A value that is replaced as a whole.
pub(crate) struct Published<T> {
    stripes: [Stripe<T>; STRIPES],
    /// Held while it is changed.
    latest: Mutex<Arc<T>>,
}

/// One of the copies, on lines of memory of its own.
#[repr(align(128))]
struct Stripe<T>(RwLock<Arc<Edition<T>>>);

/// The value as one of the copies holds it. How many hold this is the copy's own count; the one within is touched only
/// when the value changes. On lines of its own too, since that is where the count is.
#[repr(align(128))]
pub(crate) struct Edition<T>(Arc<T>);

impl<T> Deref for Edition<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Published<T> {
        let latest = Arc::new(value);
        let stripes = std::array::from_fn(|_| Stripe(RwLock::new(Arc::new(Edition(Arc::clone(&latest))))));
        Published { stripes, latest: Mutex::new(latest) }
    }

    /// The value as it is.
    pub(crate) fn take(&self) -> Arc<Edition<T>> {
        Arc::clone(&self.stripes[stripe()].0.read())
    }

    /// Puts what `change` makes of the value in its place.
    pub(crate) fn change(&self, change: impl FnOnce(&T) -> T) {
        let mut latest = self.latest.lock();
        *latest = Arc::new(change(&latest));
        // What was there may take long to go, so it goes when no lock is held.
        let replaced: Vec<_> = self
            .stripes
            .iter()
            .map(|stripe| std::mem::replace(&mut *stripe.0.write(), Arc::new(Edition(Arc::clone(&latest)))))
            .collect();
        drop(latest);
        drop(replaced);
    }
}

/// A count to which many threads add all the time.
#[derive(Default)]
pub(crate) struct StripedCount([CountStripe; STRIPES]);

#[derive(Default)]
#[repr(align(128))]
struct CountStripe(AtomicU64);

impl StripedCount {
    pub(crate) fn add(&self, count: u64) {
        self.0[stripe()].0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

/// The copy that this thread stays with.
fn stripe() -> usize {
    if STRIPES == 1 {
        return 0;
    }
    // In a thread that is about to end there is no telling any more.
    THREAD.try_with(|thread| *thread as usize % STRIPES).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_stays_and_what_comes_later_is_newer() {
        let published = Arc::new(Published::new(0_u64));
        let taken = published.take();
        std::thread::scope(|scope| {
            for _ in 0..STRIPES + 1 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 20 {
                        let now = **published.take();
                        assert!(now >= last, "I1: {now} after {last}");
                        last = now;
                    }
                });
            }
            for next in 1..=20 {
                published.change(|value| value + 1);
                assert_eq!(**published.take(), next, "I1");
            }
        });
        assert_eq!(**taken, 0);
    }
}
