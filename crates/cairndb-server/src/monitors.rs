//! Monitors: clients that are told of every command that others run.
//!
//! Each is told through its mailbox, which has a bound: who does not read in time is disconnected, and costs nobody else
//! anything. What runs the server, and what has secrets, is not told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::client::{Client, Mailbox};
use crate::commands::{Command, Flags};

/// How much of a word is told.
const WORD_LEN_MAX: usize = 64 * 1024;

#[derive(Default)]
pub(crate) struct Monitors {
    /// What each command looks at first.
    count: AtomicUsize,
    mailboxes: Mutex<HashMap<u64, Arc<Mailbox>>>,
}

impl Monitors {
    pub(crate) fn enter(&self, client: &Client) {
        let mut mailboxes = self.lock();
        mailboxes.insert(client.id, client.mailbox.clone());
        self.count.store(mailboxes.len(), Ordering::Relaxed);
    }

    pub(crate) fn leave(&self, client: u64) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut mailboxes = self.lock();
            mailboxes.remove(&client);
            self.count.store(mailboxes.len(), Ordering::Relaxed);
        }
    }

    /// Tells of a command that is about to be run.
    pub(crate) fn tell(&self, command: &Command, words: &[&[u8]], client: &Client) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        if command.flags.has(Flags::ADMIN) || command.flags.has(Flags::SECRET) {
            return;
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (database, address) = (client.database, &client.shown.address);
        let mut line = format!("{}.{:06} [{database} {address}]", since.as_secs(), since.subsec_micros());
        words.iter().for_each(|word| push_quoted(&mut line, word));
        self.lock().values().for_each(|mailbox| mailbox.push(|out| out.simple(&line)));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mailbox>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blank, and the word in quotes, as Redis writes it.
fn push_quoted(line: &mut String, word: &[u8]) {
    line.push_str(" \"");
    for &byte in &word[..word.len().min(WORD_LEN_MAX)] {
        match byte {
            b'\\' | b'"' => line.extend(['\\', char::from(byte)]),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(byte)),
            _ => line.push_str(&format!("\\x{byte:02x}")),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_redis_quotes_them() {
        let mut line = String::new();
        push_quoted(&mut line, b"a \"b\"\\\n\r\t\x07\x08\x00\xff~");
        assert_eq!(line, r#" "a \"b\"\\\n\r\t\a\b\x00\xff~""#);
    }
}
