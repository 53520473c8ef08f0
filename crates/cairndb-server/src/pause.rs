//! Pause: a time in which clients' commands are held back.
//!
//! Whoever runs the server may want no writes for a while, or nothing at all: before a switch to another, say. A command
//! that is held is not run and its client is not read from; it waits in its connection's task, and no thread waits with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// What is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Writes,
    All,
}

/// Longer nobody waits.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The pause there is, if there is one.
pub(crate) struct Pause {
    /// Whether there may be one: what each command looks at first.
    on: AtomicBool,
    now: watch::Sender<Option<(Held, Instant)>>,
}

impl Default for Pause {
    fn default() -> Pause {
        Pause { on: AtomicBool::new(false), now: watch::Sender::new(None) }
    }
}

impl Pause {
    /// Begins one. One that is going on is never shortened nor weakened by it.
    pub(crate) fn begin(&self, held: Held, length: Duration) {
        let until = Instant::now() + length.min(LONGEST);
        self.now.send_modify(|now| {
            let (old_held, old_until) = now.filter(|(_, old)| *old > Instant::now()).unwrap_or((held, until));
            let held = if old_held == Held::All { Held::All } else { held };
            *now = Some((held, until.max(old_until)));
        });
        self.on.store(true, Ordering::Release);
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.on.store(false, Ordering::Release);
        self.now.send_replace(None);
    }

    /// What is held back now.
    pub(crate) fn held(&self) -> Option<Held> {
        if !self.on.load(Ordering::Acquire) {
            return None;
        }
        let (held, until) = (*self.now.borrow())?;
        if until > Instant::now() {
            return Some(held);
        }
        self.on.store(false, Ordering::Release);
        None
    }

    /// Returns when there is none.
    pub(crate) async fn over(&self) {
        let mut now = self.now.subscribe();
        loop {
            let until = now.borrow_and_update().map(|(_, until)| until);
            let Some(until) = until.filter(|until| *until > Instant::now()) else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                _ = now.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_not_shortened_but_ended() {
        let pause = Pause::default();
        assert_eq!(pause.held(), None);
        pause.begin(Held::Writes, Duration::from_secs(60));
        pause.begin(Held::All, Duration::ZERO);
        assert_eq!(pause.held(), Some(Held::All));
        pause.end();
        assert_eq!(pause.held(), None);
        pause.begin(Held::Writes, Duration::ZERO);
        assert_eq!(pause.held(), None, "it is over at once");
        pause.begin(Held::Writes, Duration::MAX);
        assert_eq!(pause.held(), Some(Held::Writes));
    }
}
