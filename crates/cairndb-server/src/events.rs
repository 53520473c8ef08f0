//! Events: what happens to keys, told to those who subscribed to it.
//!
//! Source: keyspace notifications, <https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/>.

use std::sync::atomic::{AtomicU16, Ordering};

/// Something that happened to a key.
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) database: usize,
    pub(crate) key: Vec<u8>,
}

/// Kinds of events that can be asked for one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Generic,
    String,
    Expired,
}

/// Which events are told, and on which channels: `notify-keyspace-events`.
#[derive(Default)]
pub(crate) struct Wanted(AtomicU16);

/// The letters of the setting; some name what this server does not have, and are kept so that they are read back.
const LETTERS: &[u8; 15] = b"KEg$lshzxetdmnA";

/// What `A` stands for.
const ALL: &[u8] = b"g$lshzxetd";

impl Wanted {
    /// What these letters stand for; `None` if one means nothing.
    pub(crate) fn parse(letters: &[u8]) -> Option<Wanted> {
        let mut bits = 0;
        for letter in letters {
            match letter {
                b'A' => ALL.iter().for_each(|letter| bits |= bit(*letter).unwrap_or(0)),
                letter => bits |= bit(*letter)?,
            }
        }
        Some(Wanted(bits.into()))
    }

    pub(crate) fn set(&self, wanted: Wanted) {
        self.0.store(wanted.0.into_inner(), Ordering::Relaxed);
    }

    /// As Redis would write it.
    pub(crate) fn letters(&self) -> String {
        let all = ALL.iter().all(|letter| self.has(*letter));
        // In the order in which Redis writes them.
        let classes = if all { "A" } else { "g$lshzxetd" };
        let named = classes.chars().chain("KEmn".chars());
        named.filter(|&letter| letter == 'A' || self.has(letter as u8)).collect()
    }

    /// Whether anybody is to be told of this class at all.
    pub(crate) fn wants(&self, class: Class) -> bool {
        let class = match class {
            Class::Generic => b'g',
            Class::String => b'$',
            Class::Expired => b'x',
        };
        self.has(class) && (self.by_key() || self.by_event())
    }

    /// Whether each key has a channel.
    pub(crate) fn by_key(&self) -> bool {
        self.has(b'K')
    }

    /// Whether each event has a channel.
    pub(crate) fn by_event(&self) -> bool {
        self.has(b'E')
    }

    fn has(&self, letter: u8) -> bool {
        bit(letter).is_some_and(|bit| self.0.load(Ordering::Relaxed) & bit != 0)
    }
}

fn bit(letter: u8) -> Option<u16> {
    LETTERS.iter().position(|&known| known == letter).map(|n| 1 << n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_back_as_redis_writes_them() {
        let told = |letters: &str| Wanted::parse(letters.as_bytes()).map(|wanted| wanted.letters());
        assert_eq!(told(""), Some(String::new()));
        assert_eq!(told("KEA"), Some("AKE".into()));
        assert_eq!(told("Ex"), Some("xE".into()));
        assert_eq!(told("Kg$"), Some("g$K".into()));
        assert_eq!(told("KEAm"), Some("AKEm".into()));
        assert_eq!(told("q"), None);
    }

    #[test]
    fn an_event_needs_a_class_and_a_channel() {
        let wanted = Wanted::parse(b"x").expect("it is a letter");
        assert!(!wanted.wants(Class::Expired));
        wanted.set(Wanted::parse(b"Ex").expect("they are letters"));
        assert!(wanted.wants(Class::Expired) && !wanted.wants(Class::String));
    }
}
