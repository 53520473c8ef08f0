//! Data: how a command reads and writes, in the present or in the turn that gathers.
//!
//! Invariants:
//! - I1. In the turn, a key holds what the gathering turn says, else what the one being written says, else what is stored.
//! - I2. A key that will expire is written with an entry for the sweep, in the same batch.

use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};

use cairndb::{KeyRange, Value};

use super::overlay::{Bytes, Change, Changes, Held, Stretch};
use super::turn::{Outcome, Revision, Turn, mark};
use super::{DATABASES, KEYSPACE_SERVER, Store};
use crate::events::Event;

/// In the server's keyspace: `t`, when, the database, and the key that expires then.
pub(super) const EXPIRY: u8 = b't';

/// Longer keys expire when they are read, and leave with a compaction, but the sweep does not know them.
const SWEPT_KEY_LEN_MAX: usize = 65_535 - 10;

/// How many values are read at once for one command.
const VISITED_AT_ONCE: usize = 1_000;

/// Keys, and what each holds.
type Entries = Vec<(Vec<u8>, Held)>;

/// How a command reads and writes: in the present, or in the turn, which nobody else changes meanwhile.
pub(crate) struct Data<'a> {
    pub(super) store: &'a Store,
    pub(super) turn: Option<MutexGuard<'a, Turn>>,
    pub(crate) now_ms: u64,
}

impl<'a> Data<'a> {
    /// What to settle before replying; `None` if nothing was looked at that has not settled. Asked once for each command.
    pub(crate) fn outcome(&mut self) -> Option<Arc<Outcome>> {
        let turn = self.turn.as_mut()?;
        if turn.gathering.batch.is_empty() {
            return turn.committing.as_ref().map(|(_, outcome)| outcome.clone());
        }
        turn.gathering.commands += 1;
        Some(turn.gathering.outcome.clone())
    }

    /// The turn, if `len` bytes more would be more than one batch may have: then it has to settle first.
    pub(crate) fn lacks_room(&self, len: usize) -> Option<Arc<Outcome>> {
        let gathering = &self.turn.as_ref()?.gathering;
        let is_full = gathering.batch.encoded_len().saturating_add(len) > self.store.batch_len_max;
        (is_full && !gathering.batch.is_empty()).then(|| gathering.outcome.clone())
    }

    pub(crate) fn get(&self, database: usize, key: &[u8]) -> cairndb::Result<Option<Held>> {
        if let Some(staged) = self.staged(database, key) {
            return Ok(staged.map(|(held, _)| held).filter(|held| held.is_live(self.now_ms)).cloned());
        }
        let entry = self.store.databases[database].get_entry(key)?;
        Ok(entry.map(|entry| Held { value: Bytes::Stored(entry.value), expires_at_ms: entry.expires_at_ms }))
    }

    /// Which write put there what `key` holds; `None` if it holds nothing.
    pub(crate) fn revision(&self, database: usize, key: &[u8]) -> cairndb::Result<Option<Revision>> {
        let stored = || self.store.databases[database].get_entry(key);
        let Some(staged) = self.staged(database, key) else {
            return Ok(stored()?.map(|entry| Revision::Written(entry.seq)));
        };
        let Some((_, revision)) = staged.filter(|(held, _)| held.is_live(self.now_ms)) else {
            return Ok(None);
        };
        // Readers of the present may have seen what is being committed, and know it by its number.
        if let Some(turn) = &self.turn
            && let Revision::Staged(outcome, _) = &revision
            && !Arc::ptr_eq(outcome, &turn.gathering.outcome)
            && let Some(entry) = stored()?
            && entry.seq > turn.settled_seq
        {
            return Ok(Some(Revision::Written(entry.seq)));
        }
        Ok(Some(revision))
    }

    /// Visits what several keys hold, at one moment; of many keys a few values are held at a time.
    pub(crate) fn visit_values(
        &self,
        database: usize,
        keys: &[&[u8]],
        mut visit: impl FnMut(Option<&[u8]>),
    ) -> cairndb::Result<()> {
        if self.turn.is_some() {
            for key in keys {
                visit(self.get(database, key)?.as_ref().map(|held| &*held.value));
            }
            return Ok(());
        }
        let mut visit_all = |values: Vec<Option<Value>>| {
            values.iter().for_each(|value| visit(value.as_ref().map(AsRef::as_ref)));
        };
        if keys.len() <= VISITED_AT_ONCE {
            visit_all(self.store.databases[database].get_many(keys)?);
            return Ok(());
        }
        let moment = self.store.db.snapshot()?.keyspace(database as u8)?;
        for keys in keys.chunks(VISITED_AT_ONCE) {
            visit_all(moment.get_many(keys)?);
        }
        Ok(())
    }

    /// How many keys there are, roughly, if `counted` stand up to `last`: as many for each byte of the rest.
    pub(crate) fn estimate(&self, database: usize, counted: u64, last: &[u8]) -> cairndb::Result<u64> {
        let keyspace = &self.store.databases[database];
        let behind = [last, b"\0"].concat();
        let (all_len, counted_len) = (keyspace.approximate_len(..)?, keyspace.approximate_len(..behind)?);
        let keys = u128::from(counted) * u128::from(all_len) / u128::from(counted_len.max(1));
        Ok(u64::try_from(keys).unwrap_or(u64::MAX).max(counted))
    }

    pub(crate) fn contains(&self, database: usize, key: &[u8]) -> cairndb::Result<bool> {
        match self.turn {
            Some(_) => Ok(self.get(database, key)?.is_some()),
            None => self.store.databases[database].contains(key),
        }
    }

    /// What the turns that have not settled say of a key; `None` if nothing.
    fn staged(&self, database: usize, key: &[u8]) -> Option<Option<(&Held, Revision)>> {
        let turn = self.turn.as_ref()?;
        let gathering = (&turn.gathering.overlay, &turn.gathering.outcome);
        let committing = turn.committing.as_ref().map(|(overlay, outcome)| (overlay, outcome));
        let mut turns = [Some(gathering), committing].into_iter().flatten();
        turns.find_map(|(overlay, outcome)| {
            let held = overlay.databases[database].get(key)?;
            Some(held.map(|(held, index)| (held, Revision::Staged(outcome.clone(), index))))
        })
    }

    /// Gives `key` this value; `expires_at_ms` of `None` for ever.
    pub(crate) fn put(&mut self, database: usize, key: &[u8], value: &[u8], expires_at_ms: Option<u64>) {
        let turn = self.turn();
        let index = turn.gathering.batch.len() as u64;
        let batch = turn.gathering.batch.keyspace(database as u8);
        match expires_at_ms {
            Some(at) => batch.put_with_expiry(key, value, at),
            None => batch.put(key, value),
        };
        if let Some(at) = expires_at_ms
            && key.len() <= SWEPT_KEY_LEN_MAX
        {
            turn.gathering.batch.keyspace(KEYSPACE_SERVER).put(expiry_key(at, database, key), b"");
        }
        let held = Held { value: Bytes::Staged(value.into()), expires_at_ms };
        turn.stage(database, key, Change { held: Some(held), index });
    }

    /// Takes `key` away, whether it is there or not.
    pub(crate) fn delete(&mut self, database: usize, key: &[u8]) {
        let turn = self.turn();
        let index = turn.gathering.batch.len() as u64;
        turn.gathering.batch.keyspace(database as u8).delete(key);
        turn.stage(database, key, Change { held: None, index });
    }

    /// Takes every key of a database away.
    pub(crate) fn clear(&mut self, database: usize) {
        self.delete_range(database, Stretch::default());
    }

    /// Takes every key of a stretch away.
    pub(crate) fn delete_range(&mut self, database: usize, stretch: Stretch) {
        let watched = self.turn().watches.keys();
        let watched = watched.filter(|(watched, key)| *watched == database && stretch.contains(key));
        let watched: Vec<Vec<u8>> = watched.map(|(_, key)| key.clone()).collect();
        for key in watched {
            // A key that is not there stays so; one that cannot be read might be.
            if !matches!(self.get(database, &key), Ok(None))
                && let Some(watches) = self.turn().watches.remove(&(database, key))
            {
                watches.iter().for_each(mark);
            }
        }
        let turn = self.turn();
        turn.gathering.batch.keyspace(database as u8).delete_range(stretch.clone().range());
        turn.gathering.overlay.databases[database].take_away(stretch);
    }

    /// Exchanges what two databases hold, unless it is more than half of what a batch may hold: then `false`, and nothing is
    /// changed.
    pub(crate) fn swap(&mut self, one: usize, other: usize) -> cairndb::Result<bool> {
        let mut len_max = self.store.turn_len_max;
        let (Some(ones), Some(others)) =
            (self.collect(one, &mut len_max)?, self.collect(other, &mut len_max)?)
        else {
            return Ok(false);
        };
        for (database, entries) in [(one, others), (other, ones)] {
            self.clear(database);
            for (key, held) in entries {
                self.put(database, &key, &held.value, held.expires_at_ms);
            }
        }
        Ok(true)
    }

    /// All that a database holds, if it takes no more than what is left of `len_max`.
    fn collect(&self, database: usize, len_max: &mut usize) -> cairndb::Result<Option<Entries>> {
        // In a batch, for an entry and for the sweep's.
        const OVERHEAD: usize = 64;
        let mut entries = Vec::new();
        let mut fits = true;
        self.visit_keys(database, Bound::Unbounded, b"", |key| {
            let Some(held) = self.get(database, key)? else { return Ok(ControlFlow::Continue(())) };
            let len = 2 * key.len() + held.value.len() + OVERHEAD;
            fits = len <= *len_max;
            if !fits {
                return Ok(ControlFlow::Break(()));
            }
            *len_max -= len;
            entries.push((key.to_vec(), held));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(fits.then_some(entries))
    }

    /// Counts what has expired since the last time, tells of it, and forgets that it would. At most `max` keys; returns how
    /// many were looked at, and how many of those had expired and not been changed.
    pub(crate) fn sweep(&mut self, max: usize, tell: bool) -> cairndb::Result<(usize, usize)> {
        let due = KeyRange::from(vec![EXPIRY]..expiry_key(self.now_ms + 1, 0, b""));
        let (mut looked_at, mut expired, mut last) = (0, 0, None);
        for item in self.store.own.scan(due).take(max) {
            let (index, _) = item?;
            looked_at += 1;
            if let Some((at_ms, database, key)) = expiry_of(&index)
                && self.staged(database, key).is_none()
                && self.store.databases[database].expired_at_ms(key)? == Some(at_ms)
            {
                expired += 1;
                if tell {
                    self.happened(Event { name: "expired", database, key: key.to_vec() });
                }
            }
            last = Some(index);
        }
        if let Some(mut end) = last {
            end.push(0);
            self.turn().gathering.batch.keyspace(KEYSPACE_SERVER).delete_range(vec![EXPIRY]..end);
        }
        Ok((looked_at, expired))
    }

    /// Says what happened, to whoever subscribed, once the turn has settled.
    pub(crate) fn happened(&mut self, event: Event) {
        self.turn().gathering.events.push(event);
    }

    /// Has `dirty` set when somebody writes `key`.
    pub(crate) fn watch(&mut self, database: usize, key: &[u8], dirty: &Arc<AtomicBool>) {
        let watches = self.turn().watches.entry((database, key.to_vec())).or_default();
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(dirty));
    }

    /// Visits the keys of `database` in order, from `from` on.
    pub(crate) fn visit_keys(
        &self,
        database: usize,
        from: Bound<&[u8]>,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8]) -> cairndb::Result<ControlFlow<()>>,
    ) -> cairndb::Result<()> {
        let changes = self.changes(database);
        let start = match from {
            Bound::Unbounded => Bound::Included(prefix),
            Bound::Included(key) | Bound::Excluded(key) if key < prefix => Bound::Included(prefix),
            from => from,
        };
        let mut staged = changes.entries.range::<[u8], _>((start, Bound::Unbounded)).peekable();
        let mut stored = (!changes.is_all_gone())
            .then(|| self.store.databases[database].scan(KeyRange::from((owned(start), Bound::Unbounded))))
            .into_iter()
            .flatten()
            .map(|item| item.map(|(key, _)| key))
            .filter(
                |item| !matches!(item, Ok(key) if changes.is_gone(key) && !changes.entries.contains_key(key)),
            )
            .peekable();
        loop {
            if let Some(Err(_)) = stored.peek() {
                return stored.next().map_or(Ok(()), |error| error.map(drop));
            }
            let next_stored = stored.peek().and_then(|key| key.as_ref().ok());
            let next_staged = staged.peek().map(|(key, _)| *key);
            let take_staged = match (next_stored, next_staged) {
                (None, None) => return Ok(()),
                (Some(stored), Some(staged)) => staged <= stored,
                (stored, _) => stored.is_none(),
            };
            let key = if take_staged {
                let Some((key, change)) = staged.next() else { return Ok(()) };
                if next_stored == Some(key) {
                    stored.next();
                }
                if !change.held.as_ref().is_some_and(|held| held.is_live(self.now_ms)) {
                    continue;
                }
                key.clone()
            } else {
                let Some(key) = stored.next() else { return Ok(()) };
                key?
            };
            if !key.starts_with(prefix) {
                return Ok(());
            }
            if visit(&key)?.is_break() {
                return Ok(());
            }
        }
    }

    /// What the turns that have not settled change in a database.
    fn changes(&self, database: usize) -> Changes {
        let mut all = Changes::default();
        let Some(turn) = &self.turn else { return all };
        let overlays = [turn.committing.as_ref().map(|(overlay, _)| overlay), Some(&turn.gathering.overlay)];
        for changes in overlays.into_iter().flatten().map(|overlay| &overlay.databases[database]) {
            changes.gone.iter().for_each(|stretch| all.take_away(stretch.clone()));
            all.entries.extend(changes.entries.iter().map(|(key, change)| (key.clone(), change.clone())));
        }
        all
    }

    fn turn(&mut self) -> &mut Turn {
        self.turn.as_mut().expect("a command that writes is marked as one, and runs in the turn")
    }
}

impl Drop for Data<'_> {
    fn drop(&mut self) {
        if let Some(turn) = &self.turn {
            self.store.gathered_len.store(turn.gathering.batch.encoded_len(), Ordering::Relaxed);
        }
    }
}

fn owned(bound: Bound<&[u8]>) -> Bound<Vec<u8>> {
    bound.map(<[u8]>::to_vec)
}

/// Where the sweep finds that a key expires.
pub(super) fn expiry_key(at_ms: u64, database: usize, key: &[u8]) -> Vec<u8> {
    [&[EXPIRY], at_ms.to_be_bytes().as_slice(), &[database as u8], key].concat()
}

/// What [`expiry_key`] put together.
fn expiry_of(index: &[u8]) -> Option<(u64, usize, &[u8])> {
    let (at_ms, rest) = index.strip_prefix(&[EXPIRY])?.split_first_chunk::<8>()?;
    let (&database, key) = rest.split_first()?;
    let database = usize::from(database);
    (database < DATABASES).then_some((u64::from_be_bytes(*at_ms), database, key))
}
