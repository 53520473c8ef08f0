//! Channels: who listens to what, and sending to them.
//!
//! A message goes into each listener's mailbox, as it stands in that listener's version of the protocol. A mailbox has a
//! bound; who lets theirs run over is disconnected, so that a slow listener costs nobody else anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::Mailbox;
use crate::glob;

/// Channels by name, or patterns: each with its listeners, by the client's number.
type Listeners = BTreeMap<Vec<u8>, HashMap<u64, Arc<Mailbox>>>;

#[derive(Default)]
pub(crate) struct Channels(Mutex<Listening>);

#[derive(Default)]
struct Listening {
    channels: Listeners,
    patterns: Listeners,
}

/// Whether a name is a channel's or a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Channel,
    Pattern,
}

impl Channels {
    pub(crate) fn listen(&self, kind: Kind, name: &[u8], client: u64, mailbox: &Arc<Mailbox>) {
        let mut listening = self.lock();
        listening.of(kind).entry(name.to_vec()).or_default().insert(client, mailbox.clone());
    }

    pub(crate) fn leave(&self, kind: Kind, name: &[u8], client: u64) {
        let mut listening = self.lock();
        let listeners = listening.of(kind);
        if let Some(clients) = listeners.get_mut(name) {
            clients.remove(&client);
            if clients.is_empty() {
                listeners.remove(name);
            }
        }
    }

    /// Returns how many were told.
    pub(crate) fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        let listening = self.lock();
        let mut told = 0;
        for mailbox in listening.channels.get(channel).into_iter().flat_map(HashMap::values) {
            mailbox.push(|out| {
                out.push(3);
                out.bulk(b"message");
                out.bulk(channel);
                out.bulk(message);
            });
            told += 1;
        }
        let fitting = listening.patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel));
        for (pattern, mailbox) in
            fitting.flat_map(|(pattern, clients)| clients.values().map(move |m| (pattern, m)))
        {
            mailbox.push(|out| {
                out.push(4);
                out.bulk(b"pmessage");
                out.bulk(pattern);
                out.bulk(channel);
                out.bulk(message);
            });
            told += 1;
        }
        told
    }

    /// The channels that somebody listens to and that fit the pattern.
    pub(crate) fn channels(&self, pattern: &[u8]) -> Vec<Vec<u8>> {
        self.lock().channels.keys().filter(|name| glob::matches(pattern, name)).cloned().collect()
    }

    /// How many listen to a channel by its name.
    pub(crate) fn listeners(&self, channel: &[u8]) -> usize {
        self.lock().channels.get(channel).map_or(0, HashMap::len)
    }

    /// How many channels, or patterns, somebody listens to.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.lock().of(kind).len()
    }

    fn lock(&self) -> MutexGuard<'_, Listening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    fn of(&mut self, kind: Kind) -> &mut Listeners {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }
}
