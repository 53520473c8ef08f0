//! Latency: what took long lately, by event, as `LATENCY` tells it.
//!
//! There are three events: `command` and `fast-command`, the running of one, and `aof-write`, the writing of a turn with
//! its sync, which is what the others' replies wait for. Of each the worst of a second is kept, for the latest seconds that
//! had one above the threshold.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many seconds are kept of an event.
const SAMPLES_MAX: usize = 160;

#[derive(Default)]
pub(crate) struct Latency {
    /// In milliseconds; nothing is kept if it is 0.
    threshold_ms: AtomicU64,
    events: Mutex<BTreeMap<&'static str, Samples>>,
}

/// What is kept of an event.
#[derive(Clone, Default)]
pub(crate) struct Samples {
    /// The second since 1970, and the worst of it in milliseconds; the oldest first.
    pub(crate) worst: VecDeque<(u64, u64)>,
    /// The worst of all.
    pub(crate) max_ms: u64,
}

impl Latency {
    pub(crate) fn set(&self, threshold_ms: u64) {
        self.threshold_ms.store(threshold_ms, Ordering::Relaxed);
    }

    /// Whether something that took so long is to be kept.
    pub(crate) fn wants(&self, took: Duration) -> bool {
        let threshold_ms = self.threshold_ms.load(Ordering::Relaxed);
        threshold_ms > 0 && took >= Duration::from_millis(threshold_ms)
    }

    pub(crate) fn add(&self, event: &'static str, took: Duration, at_s: u64) {
        let ms = took.as_millis() as u64;
        let mut events = self.lock();
        let samples = events.entry(event).or_default();
        samples.max_ms = samples.max_ms.max(ms);
        match samples.worst.back_mut() {
            Some((second, worst)) if *second == at_s => *worst = ms.max(*worst),
            _ => samples.worst.push_back((at_s, ms)),
        }
        if samples.worst.len() > SAMPLES_MAX {
            samples.worst.pop_front();
        }
    }

    /// All events that had samples.
    pub(crate) fn events(&self) -> Vec<(&'static str, Samples)> {
        self.lock().iter().map(|(event, samples)| (*event, samples.clone())).collect()
    }

    /// Forgets these events, or all; returns how many there were.
    pub(crate) fn forget(&self, names: &[&[u8]]) -> usize {
        let mut events = self.lock();
        let before = events.len();
        events.retain(|event, _| {
            !names.is_empty() && !names.iter().any(|name| name.eq_ignore_ascii_case(event.as_bytes()))
        });
        before - events.len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Samples>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_second_is_kept_for_some_seconds() {
        let latency = Latency::default();
        assert!(!latency.wants(Duration::MAX), "nothing is kept where nobody asked for it");
        latency.set(10);
        assert!(latency.wants(Duration::from_millis(10)) && !latency.wants(Duration::from_millis(9)));
        for second in 0..200 {
            for ms in [20, 500 - second, 30] {
                latency.add("command", Duration::from_millis(ms), second);
            }
        }
        let samples = &latency.events()[0].1;
        assert_eq!((samples.worst.len(), samples.max_ms), (SAMPLES_MAX, 500));
        assert_eq!(samples.worst.back(), Some(&(199, 301)));
        latency.add("aof-write", Duration::from_millis(11), 1);
        assert_eq!(latency.forget(&[b"AOF-write", b"nothing"]), 1);
        assert_eq!(latency.forget(&[]), 1);
    }
}
