//! Denials: what users were refused lately, for `ACL LOG`.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Denied;

/// How many are kept.
const KEPT: usize = 128;
/// How much of a name is kept.
const NAME_LEN_MAX: usize = 1024;
/// How long the same again counts with the first.
const SAME_FOR: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Denials(Mutex<VecDeque<Denial>>);

#[derive(Clone)]
pub(crate) struct Denial {
    pub(crate) count: u64,
    pub(crate) object: Object,
    /// Whether it was within a transaction.
    pub(crate) in_transaction: bool,
    pub(crate) user: Vec<u8>,
    pub(crate) last: Instant,
    pub(crate) client: String,
}

/// What was refused.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Object {
    /// To be let in, by this command.
    Entry(&'static str),
    Command(&'static str),
    Key(Vec<u8>),
    Channel(Vec<u8>),
}

impl Denials {
    /// Keeps one, or counts it with one like it.
    pub(crate) fn add(&self, object: Object, user: &[u8], in_transaction: bool, client: String) {
        let user = user[..user.len().min(NAME_LEN_MAX)].to_vec();
        let mut kept = self.lock();
        let same = kept.iter().position(|old| {
            (&old.object, old.in_transaction, &old.user) == (&object, in_transaction, &user)
                && old.last.elapsed() < SAME_FOR
        });
        let count = same.and_then(|place| kept.remove(place)).map_or(0, |old| old.count) + 1;
        kept.push_front(Denial { count, object, in_transaction, user, last: Instant::now(), client });
        kept.truncate(KEPT);
    }

    /// The latest, first.
    pub(crate) fn latest(&self, count: usize) -> Vec<Denial> {
        self.lock().iter().take(count).cloned().collect()
    }

    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Denial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Object {
    pub(crate) fn of(denied: &Denied) -> Object {
        let short = |name: &[u8]| name[..name.len().min(NAME_LEN_MAX)].to_vec();
        match denied {
            Denied::Command(name) => Object::Command(name),
            Denied::Key(key) => Object::Key(short(key)),
            Denied::Channel(channel) => Object::Channel(short(channel)),
        }
    }

    /// Why, and what, in Redis's words.
    pub(crate) fn told(&self) -> (&'static str, &[u8]) {
        match self {
            Object::Entry(command) => ("auth", command.as_bytes()),
            Object::Command(name) => ("command", name.as_bytes()),
            Object::Key(key) => ("key", key),
            Object::Channel(channel) => ("channel", channel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_counted_and_the_oldest_forgotten() {
        let denials = Denials::default();
        for n in 0..KEPT + 10 {
            denials.add(Object::Key(format!("{n}").into()), b"ann", false, String::new());
        }
        denials.add(Object::Key(b"50".into()), b"ann", false, String::new());
        denials.add(Object::Key(b"50".into()), b"bob", false, String::new());
        let kept = denials.latest(usize::MAX);
        assert_eq!(kept.len(), KEPT);
        assert_eq!((kept[0].count, kept[1].count), (1, 2));
        denials.forget();
        assert!(denials.latest(10).is_empty());
    }
}
