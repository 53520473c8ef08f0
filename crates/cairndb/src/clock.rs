//! Clock: the time that expiry goes by, which never goes back.
//!
//! The caller's clock may be set back, or stand still; what has expired for one reader must not come back for the next.
//! So the largest reading so far is kept, and begins with what the manifest recorded last.
//!
//! # Where it sits
//! On `options`; views and compaction read it.

use crate::options::Clock;
use crate::sync::{AtomicU64, Ordering};

/// A clock that never goes back. Safe to use from any thread.
pub(crate) struct MonotonicClock {
    source: Clock,
    latest_ms: AtomicU64,
}

impl MonotonicClock {
    pub(crate) fn new(source: Clock, not_before_ms: u64) -> MonotonicClock {
        MonotonicClock { source, latest_ms: AtomicU64::new(not_before_ms) }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = (self.source)();
        now.max(self.latest_ms.fetch_max(now, Ordering::AcqRel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Arc;

    #[test]
    fn it_never_goes_back() {
        let source = Arc::new(AtomicU64::new(50));
        let reading = Arc::clone(&source);
        let clock = MonotonicClock::new(Arc::new(move || reading.load(Ordering::Relaxed)), 70);
        assert_eq!(clock.now_ms(), 70);
        source.store(90, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 90);
        source.store(10, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 90);
    }
}
