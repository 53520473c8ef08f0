//! Overlays: what a turn would change, for the commands that look before it is written.
//!
//! Invariants:
//! - I1. An entry says what its key holds when the turn is written; a stretch that is gone says it of every other key in it.

use std::collections::BTreeMap;
use std::ops::{Bound, Deref};
use std::sync::Arc;

use cairndb::{KeyRange, Value};

use super::DATABASES;

/// What a turn would change.
#[derive(Default)]
pub(super) struct Overlay {
    pub(super) databases: [Changes; DATABASES],
}

#[derive(Default)]
pub(super) struct Changes {
    /// Of these stretches everything is gone that is not among the entries.
    pub(super) gone: Vec<Stretch>,
    pub(super) entries: BTreeMap<Vec<u8>, Change>,
}

/// What a turn does to a key.
#[derive(Clone)]
pub(super) struct Change {
    /// What the key holds then; `None` for nothing.
    pub(super) held: Option<Held>,
    /// Which entry of the turn's batch does it.
    pub(super) index: u64,
}

/// Keys from `start` on, and before `end` if there is one.
#[derive(Clone, Default)]
pub(crate) struct Stretch {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
}

/// What a key holds.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) value: Bytes,
    pub(crate) expires_at_ms: Option<u64>,
}

impl Held {
    pub(super) fn is_live(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_none_or(|at| at > now_ms)
    }
}

impl Stretch {
    /// All keys that begin with `prefix`.
    pub(crate) fn of_prefix(prefix: &[u8]) -> Stretch {
        // The first key beyond them: the prefix with its last byte that can rise risen, and the rest cut off.
        let end = prefix.iter().rposition(|&byte| byte < 0xFF).map(|last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        });
        Stretch { start: prefix.to_vec(), end }
    }

    /// Leaves what lies from `start` on, and before `end` if there is one.
    pub(crate) fn cut(&mut self, start: &[u8], end: Option<&[u8]>) {
        if *self.start < *start {
            self.start = start.to_vec();
        }
        if let Some(end) = end
            && self.end.as_ref().is_none_or(|own| *end < **own)
        {
            self.end = Some(end.to_vec());
        }
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end.as_ref().is_none_or(|end| *key < **end)
    }

    pub(super) fn is_everything(&self) -> bool {
        self.start.is_empty() && self.end.is_none()
    }

    pub(super) fn range(self) -> KeyRange {
        let end = self.end.map_or(Bound::Unbounded, Bound::Excluded);
        KeyRange::from((Bound::Included(self.start), end))
    }
}

impl Changes {
    /// What the key holds, if the turn does anything to it.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<(&Held, u64)>> {
        match self.entries.get(key) {
            Some(change) => Some(change.held.as_ref().map(|held| (held, change.index))),
            None => self.is_gone(key).then_some(None),
        }
    }

    pub(super) fn is_gone(&self, key: &[u8]) -> bool {
        self.gone.iter().any(|stretch| stretch.contains(key))
    }

    pub(super) fn is_all_gone(&self) -> bool {
        self.gone.iter().any(Stretch::is_everything)
    }

    pub(super) fn take_away(&mut self, stretch: Stretch) {
        if stretch.is_everything() {
            *self = Changes::default();
        } else {
            self.entries.retain(|key, _| !stretch.contains(key));
        }
        self.gone.push(stretch);
    }
}

/// A value, out of the engine's memory or a turn's.
#[derive(Clone)]
pub(crate) enum Bytes {
    Stored(Value),
    Staged(Arc<[u8]>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Stored(value) => value.as_ref(),
            Bytes::Staged(value) => value,
        }
    }
}
