//! The slow log: commands that took longer to run than they should, the latest first.
//!
//! What is measured is the running, as in Redis, and not the wait for a turn to be written: that has its own event, in
//! `latency`. What is kept is bounded by a count that can be set, and by bytes that cannot. Commands with secrets are kept
//! without their words.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::Shown;
use crate::commands::{Command, Flags};

/// What all that is kept may take.
const KEPT_LEN_MAX: usize = 4 << 20;
/// What is kept of one command.
const WORDS_MAX: usize = 32;
const WORD_LEN_MAX: usize = 128;
/// What an entry takes besides its words, roughly.
const OVERHEAD: usize = 200;

pub(crate) struct SlowLog {
    /// In microseconds; nothing is kept if it is negative.
    slower_than_us: AtomicI64,
    kept_max: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<Slow>,
    len: usize,
    next_id: u64,
}

/// A command that was slow.
#[derive(Clone)]
pub(crate) struct Slow {
    pub(crate) id: u64,
    /// In seconds since 1970.
    pub(crate) at_s: u64,
    pub(crate) took_us: u64,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) address: String,
    pub(crate) name: Vec<u8>,
}

impl SlowLog {
    pub(crate) fn new(slower_than_us: i64, kept_max: usize) -> SlowLog {
        SlowLog {
            slower_than_us: AtomicI64::new(slower_than_us),
            kept_max: AtomicUsize::new(kept_max),
            kept: Mutex::default(),
        }
    }

    pub(crate) fn set(&self, slower_than_us: i64, kept_max: usize) {
        self.slower_than_us.store(slower_than_us, Ordering::Relaxed);
        self.kept_max.store(kept_max, Ordering::Relaxed);
        self.lock().shrink(kept_max);
    }

    /// Whether a command that took so long is to be kept.
    pub(crate) fn wants(&self, took: Duration) -> bool {
        let slower_than_us = self.slower_than_us.load(Ordering::Relaxed);
        u64::try_from(slower_than_us).is_ok_and(|us| took >= Duration::from_micros(us))
    }

    pub(crate) fn add(&self, command: &Command, words: &[&[u8]], took: Duration, at_s: u64, client: &Shown) {
        // A transaction's commands are measured one by one.
        if command.name == "exec" {
            return;
        }
        let words = if command.flags.has(Flags::SECRET) {
            vec![words[0].to_vec(), b"(redacted)".into()]
        } else {
            short(words)
        };
        let mut kept = self.lock();
        let id = kept.next_id;
        kept.next_id += 1;
        let (address, name) = (client.address.clone(), client.state().name);
        let slow = Slow { id, at_s, took_us: took.as_micros() as u64, words, address, name };
        kept.len += slow.len();
        kept.entries.push_front(slow);
        kept.shrink(self.kept_max.load(Ordering::Relaxed));
    }

    /// The latest, first.
    pub(crate) fn latest(&self, count: usize) -> Vec<Slow> {
        self.lock().entries.iter().take(count).cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().entries.len()
    }

    pub(crate) fn forget(&self) {
        self.lock().shrink(0);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Forgets the oldest until there are no more than that, and they take no more than they may.
    fn shrink(&mut self, count_max: usize) {
        while self.entries.len() > count_max || self.len > KEPT_LEN_MAX {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.len -= oldest.len();
        }
    }
}

impl Slow {
    fn len(&self) -> usize {
        self.words.iter().map(|word| word.len() + size_of::<Vec<u8>>()).sum::<usize>() + OVERHEAD
    }
}

/// The words as far as they are kept, and how much more there was.
fn short(words: &[&[u8]]) -> Vec<Vec<u8>> {
    let cut = |word: &&[u8]| match word.len().checked_sub(WORD_LEN_MAX).filter(|&more| more > 0) {
        Some(more) => [&word[..WORD_LEN_MAX], format!("... ({more} more bytes)").as_bytes()].concat(),
        None => word.to_vec(),
    };
    if words.len() <= WORDS_MAX {
        return words.iter().map(cut).collect();
    }
    let more = words.len() - (WORDS_MAX - 1);
    let told = format!("... ({more} more arguments)").into_bytes();
    words[..WORDS_MAX - 1].iter().map(cut).chain([told]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::find_row;

    fn add(log: &SlowLog, name: &str, words: &[&[u8]]) {
        let client = Shown::new(1, "there:1".into(), "here:2".into());
        log.add(
            find_row(name.as_bytes()).expect("it is there"),
            words,
            Duration::from_millis(20),
            1_000,
            &client,
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let log = SlowLog::new(10_000, 3);
        assert!(!log.wants(Duration::from_millis(9)) && log.wants(Duration::from_millis(10)));
        let long = vec![b'x'; 1_000];
        let words: Vec<&[u8]> = [&b"del"[..]].into_iter().chain((0..100).map(|_| &long[..])).collect();
        (0..5).for_each(|_| add(&log, "del", &words));
        let kept = log.latest(usize::MAX);
        assert_eq!(kept.iter().map(|slow| slow.id).collect::<Vec<_>>(), [4, 3, 2]);
        assert_eq!(kept[0].words.len(), WORDS_MAX);
        assert_eq!(kept[0].words[31], b"... (70 more arguments)");
        assert!(kept[0].words[1].ends_with(b"x... (872 more bytes)"));
        log.set(-1, 1_000_000);
        assert!(!log.wants(Duration::MAX));
        (0..2_000).for_each(|_| add(&log, "del", &words));
        assert!(log.lock().len <= KEPT_LEN_MAX && log.count() > 100);
        log.forget();
        assert_eq!((log.count(), log.lock().len), (0, 0));
    }

    #[test]
    fn secrets_are_not_kept() {
        let log = SlowLog::new(0, 10);
        add(&log, "auth", &[b"AUTH", b"secret"]);
        add(&log, "exec", &[b"exec"]);
        let kept = log.latest(10);
        assert_eq!(kept.len(), 1, "a transaction's commands are kept, and not that they were done");
        assert_eq!(kept[0].words, [b"AUTH".to_vec(), b"(redacted)".to_vec()]);
    }
}
