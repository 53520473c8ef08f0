//! Turns: what clients have staged together, until one of them writes it for all.
//!
//! The first client to settle a turn leads it: waits for company as long as that pays ([`super::pace`]), closes the turn,
//! writes its batch, and wakes the others. Meanwhile the next turn gathers, and is led by one of those that wait for it.
//!
//! Invariants:
//! - I1. There is one leader at a time, from the wait for company to the end of the write.
//! - I2. A turn that gathered on top of one that fails, fails with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use cairndb::{Batch, SeqNo};
use tokio::sync::Notify;

use super::Store;
use super::overlay::{Change, Overlay};
use super::pace::{Pace, Patience};
use crate::events::Event;

/// What has been staged and not written, and who wants to know of writes.
pub(super) struct Turn {
    pub(super) gathering: Staged,
    /// What the turn that is being written changes, and how that will end.
    pub(super) committing: Option<(Overlay, Arc<Outcome>)>,
    /// Whether somebody waits for company, or writes.
    pub(super) is_led: bool,
    /// How many clients have come to settle, since the last turn was closed.
    pub(super) company: usize,
    pub(super) pace: Pace,
    /// The last number of the turns that have settled.
    pub(super) settled_seq: SeqNo,
    pub(super) watches: HashMap<(usize, Vec<u8>), Vec<Weak<AtomicBool>>>,
}

/// A turn that gathers.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) batch: Batch,
    pub(super) overlay: Overlay,
    pub(super) events: Vec<Event>,
    pub(super) outcome: Arc<Outcome>,
    /// How many commands wait for it.
    pub(super) commands: u64,
}

/// A turn that is to be written.
struct Led {
    batch: Batch,
    events: Vec<Event>,
    outcome: Arc<Outcome>,
    commands: u64,
}

/// How a turn ended, for those who wait for it.
#[derive(Default)]
pub(crate) struct Outcome {
    result: OnceLock<Settled>,
    done: Notify,
}

/// The sequence number of the first entry that the turn has written, or why it has not.
pub(crate) type Settled = Result<SeqNo, Arc<cairndb::Error>>;

/// Which write put a value there.
#[derive(Clone)]
pub(crate) enum Revision {
    /// The one with this sequence number.
    Written(SeqNo),
    /// The one at this index of a turn that has not settled: nobody outside can know its number.
    Staged(Arc<Outcome>, u64),
}

impl Revision {
    /// The write's sequence number; `None` while its turn has not settled, or if it failed.
    pub(crate) fn seq(&self) -> Option<SeqNo> {
        match self {
            Revision::Written(seq) => Some(*seq),
            Revision::Staged(outcome, index) => Some(outcome.result.get()?.as_ref().ok()? + index),
        }
    }
}

impl Store {
    /// Waits until the turn is written, or writes it. Must not be dropped halfway: others wait for who leads.
    pub(crate) async fn settle(&self, outcome: &Arc<Outcome>, publish: impl Fn(Vec<Event>)) -> Settled {
        // Whoever can run now may still join the turn.
        tokio::task::yield_now().await;
        loop {
            let woken = outcome.done.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if let Some(settled) = outcome.result.get() {
                return settled.clone();
            }
            match self.lead() {
                Some(patience) => {
                    self.wait_for_company(patience).await;
                    self.commit(self.close(patience), &publish);
                }
                None => woken.await,
            }
        }
    }

    /// Makes the caller the leader of the turn that gathers, unless there is one, or a turn is being written. Returns how
    /// long it is to wait for company.
    fn lead(&self) -> Option<Patience> {
        let mut turn = self.lock();
        turn.company += 1;
        if turn.is_led {
            return None;
        }
        turn.is_led = true;
        Some(turn.pace.patience())
    }

    /// Waits as long as commands keep joining the turn.
    async fn wait_for_company(&self, patience: Patience) {
        if patience.each.is_zero() {
            return;
        }
        let began = Instant::now();
        let (mut len, mut joined) = (0, began);
        loop {
            tokio::task::yield_now().await;
            let (now, now_len) = (Instant::now(), self.gathered_len.load(Ordering::Relaxed));
            if now_len != len {
                (len, joined) = (now_len, now);
            }
            if now - joined > patience.each || now - began > patience.all || len >= self.turn_len_max {
                return;
            }
        }
    }

    /// Ends the gathering of the turn that the caller leads.
    fn close(&self, patience: Patience) -> Led {
        let mut turn = self.lock();
        let company = std::mem::take(&mut turn.company);
        turn.pace.waited(patience, company > 1);
        let mut staged = std::mem::take(&mut turn.gathering);
        self.gathered_len.store(0, Ordering::Relaxed);
        turn.committing = Some((std::mem::take(&mut staged.overlay), staged.outcome.clone()));
        let Staged { batch, events, outcome, commands, .. } = staged;
        Led { batch, events, outcome, commands }
    }

    fn commit(&self, Led { batch, events, outcome, commands }: Led, publish: &impl Fn(Vec<Event>)) {
        let (began, count) = (Instant::now(), batch.len() as u64);
        let settled = self.db.write(batch).map(|last| last + 1 - count).map_err(Arc::new);
        let took = began.elapsed();
        if self.latency.wants(took) {
            self.latency.add("aof-write", took, (self.now_ms)() / 1_000);
        }
        self.log.ended(&settled, took, count);
        self.turns.ended(took, commands, count as usize);
        let mut turn = self.lock();
        if let Ok(first) = &settled {
            turn.settled_seq = first + count - 1;
        }
        turn.committing = None;
        turn.is_led = false;
        turn.pace.took(took);
        let failed = settled.is_err().then(|| std::mem::take(&mut turn.gathering).outcome);
        let next = turn.gathering.outcome.clone();
        drop(turn);
        if let (Some(failed), Err(error)) = (failed, &settled) {
            _ = failed.result.set(Err(error.clone()));
            failed.done.notify_waiters();
        }
        if settled.is_ok() && !events.is_empty() {
            publish(events);
        }
        _ = outcome.result.set(settled);
        self.written.notify_waiters();
        outcome.done.notify_waiters();
        next.done.notify_one();
    }
}

impl Turn {
    pub(super) fn stage(&mut self, database: usize, key: &[u8], change: Change) {
        self.gathering.overlay.databases[database].entries.insert(key.to_vec(), change);
        if !self.watches.is_empty()
            && let Some(watches) = self.watches.remove(&(database, key.to_vec()))
        {
            watches.iter().for_each(mark);
        }
    }
}

pub(super) fn mark(watch: &Weak<AtomicBool>) {
    if let Some(dirty) = watch.upgrade() {
        dirty.store(true, Ordering::Relaxed);
    }
}
