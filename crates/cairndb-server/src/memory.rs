//! Memory: what the buffers of all clients take together, and who has to go when it is too much.
//!
//! Requests that have not come to their end, transactions that wait for `EXEC`, replies and messages that have not been
//! taken: each client says how much it holds of those. When all hold more than they may, and one of them more than an
//! equal share, that one goes. Who holds no more than its share stays, whatever others do.
//!
//! # Invariants
//! - I1. Each client stays within its share, or all together stay within the bound, but for what each thread's client
//!   grows by between two looks: the bytes of one read and the replies of one command.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::settings::Limits;

/// Sums up what clients hold.
#[derive(Default)]
pub(crate) struct Buffers {
    held: AtomicUsize,
    clients: AtomicUsize,
    /// What all may hold.
    all_max: AtomicUsize,
    /// What one may have as replies that it has not taken.
    replies_max: AtomicUsize,
}

/// What one client holds.
pub(crate) struct Share {
    buffers: Arc<Buffers>,
    held: AtomicUsize,
}

impl Buffers {
    /// What may be held from now on.
    pub(crate) fn bound(&self, limits: Limits) {
        let len = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        self.all_max.store(len(limits.buffers_len), Ordering::Relaxed);
        self.replies_max.store(len(limits.replies_len), Ordering::Relaxed);
    }

    /// A client that holds nothing yet.
    pub(crate) fn share(self: &Arc<Buffers>) -> Share {
        self.clients.fetch_add(1, Ordering::Relaxed);
        Share { buffers: self.clone(), held: AtomicUsize::new(0) }
    }

    /// What all clients hold, in bytes.
    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Share {
    /// The client holds so much more.
    pub(crate) fn grow(&self, len: usize) {
        self.held.fetch_add(len, Ordering::Relaxed);
        self.buffers.held.fetch_add(len, Ordering::Relaxed);
    }

    /// The client holds so much less.
    pub(crate) fn shrink(&self, len: usize) {
        self.held.fetch_sub(len, Ordering::Relaxed);
        self.buffers.held.fetch_sub(len, Ordering::Relaxed);
    }

    /// Whether all clients hold more than they may, and this one more than an equal share.
    pub(crate) fn is_too_much(&self) -> bool {
        let all_max = self.buffers.all_max.load(Ordering::Relaxed);
        let clients = self.buffers.clients.load(Ordering::Relaxed).max(1);
        self.buffers.held() > all_max && self.held.load(Ordering::Relaxed) > all_max / clients
    }

    /// What the client may have as replies that it has not taken.
    pub(crate) fn replies_max(&self) -> usize {
        self.buffers.replies_max.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.held.load(Ordering::Relaxed));
        self.buffers.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_most_goes_and_what_it_held_is_free_again() {
        let buffers = Arc::new(Buffers::default());
        buffers.bound(Limits { buffers_len: 110, ..Limits::default() });
        let (small, large) = (buffers.share(), buffers.share());
        small.grow(40);
        large.grow(70);
        assert!(!large.is_too_much());
        large.grow(5);
        assert!(large.is_too_much());
        assert!(!small.is_too_much(), "it is within its share");
        large.shrink(5);
        assert!(!large.is_too_much());
        drop(large);
        assert_eq!(buffers.held(), 40);
    }
}
