//! Commands: the table of all that clients can ask for, and what they run in.
//!
//! A command's row says how many words it takes, which of them are keys, and what it does to data; everything that treats
//! commands alike (arity, who may, transactions, `COMMAND`, the compatibility table) reads the row.

mod bits;
mod categories;
mod clients;
#[cfg(test)]
mod compatibility;
mod config;
mod connection;
mod databases;
mod describe;
mod info;
mod keys;
mod later;
mod memory;
mod object;
mod options;
mod pubsub;
mod rows;
mod server;
mod strings;
mod syntax;
mod table;
mod transactions;
mod users;
mod watching;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::events::{Class, Event};
use crate::metrics::ns;
use crate::resp::reply::Output;
use crate::resp::request;
use crate::server::Server;
use crate::store::{Data, Held};
pub(crate) use categories::{categories, category};
pub(crate) use later::Later;
pub(crate) use rows::TABLE;
use table::find;
pub(crate) use table::{Command, Flags, all_rows, find_row};

/// What a command runs in.
pub(crate) struct Context<'a> {
    pub(crate) server: &'a Arc<Server>,
    pub(crate) client: &'a mut Client,
    pub(crate) data: Data<'a>,
    pub(crate) out: &'a mut Output,
    /// Whether the command that runs only reads: then keys that it looks for count as hits and misses.
    pub(crate) only_reads: bool,
}

/// Whether a command was done; its reply has been written, or is the refusal.
pub(crate) type Answer = Result<(), Refusal>;

/// Why a command was not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The reply, its code first.
    Text(Cow<'static, str>),
    Engine(cairndb::Error),
}

impl Refusal {
    pub(crate) const fn text(text: &'static str) -> Refusal {
        Refusal::Text(Cow::Borrowed(text))
    }

    /// What the client is told.
    pub(crate) fn reply(&self) -> Cow<'static, str> {
        match self {
            Refusal::Text(text) => text.clone(),
            Refusal::Engine(error) => engine_reply(error),
        }
    }
}

impl From<cairndb::Error> for Refusal {
    fn from(error: cairndb::Error) -> Refusal {
        Refusal::Engine(error)
    }
}

/// How an error of the engine is told.
pub(crate) fn engine_reply(error: &cairndb::Error) -> Cow<'static, str> {
    format!("ERR {error}").into()
}

pub(crate) const SYNTAX: Refusal = Refusal::text("ERR syntax error");
pub(crate) const NOT_AN_INTEGER: Refusal = Refusal::text("ERR value is not an integer or out of range");

impl Context<'_> {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Held>, Refusal> {
        let held = self.data.get(self.client.database, key)?;
        self.looked_up(1, usize::from(held.is_some()));
        Ok(held)
    }

    /// Replies with what several keys hold.
    pub(crate) fn reply_values(&mut self, keys: &[&[u8]]) -> Answer {
        self.out.array(keys.len());
        let mut found = 0;
        self.data.visit_values(self.client.database, keys, |value| {
            found += usize::from(value.is_some());
            self.out.bulk_or_null(value);
        })?;
        self.looked_up(keys.len(), found);
        Ok(())
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, Refusal> {
        let contains = self.data.contains(self.client.database, key)?;
        self.looked_up(1, usize::from(contains));
        Ok(contains)
    }

    /// Counts keys that were looked for, and those of them that were there.
    fn looked_up(&self, keys: usize, found: usize) {
        if self.only_reads {
            self.server.counters.looked_up(keys, found);
        }
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8], expires_at_ms: Option<u64>) {
        self.data.put(self.client.database, key, value, expires_at_ms);
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.data.delete(self.client.database, key);
    }

    pub(crate) fn happened(&mut self, class: Class, name: &'static str, key: &[u8]) {
        self.happened_in(self.client.database, class, name, key);
    }

    pub(crate) fn happened_in(&mut self, database: usize, class: Class, name: &'static str, key: &[u8]) {
        if self.server.events.wants(class) {
            self.data.happened(Event { name, database, key: key.to_vec() });
        }
    }
}

/// Runs a command whose arity and permission are settled. A refusal leaves nothing of a reply, but itself.
pub(crate) fn run(c: &mut Context<'_>, command: &'static Command, words: &[&[u8]]) -> bool {
    c.server.monitors.tell(command, words, c.client);
    let before = c.out.len();
    let began = c.client.clock;
    let outer = std::mem::replace(&mut c.only_reads, command.flags.has(Flags::READ));
    let answer = (command.run)(c, words);
    c.only_reads = outer;
    // The end of one command is the beginning of the next: one look at the clock for each.
    c.client.clock = Instant::now();
    let meter = c.server.counters.command(command);
    let took = c.client.clock.duration_since(began);
    meter.runs_ns.observe(ns(took));
    tell_if_slow(c, command, words, took);
    match answer {
        Ok(()) => true,
        Err(refusal) => {
            meter.failed.fetch_add(1, Ordering::Relaxed);
            c.out.truncate(before);
            let told = refusal.reply();
            c.server.counters.error(&told);
            c.out.error(&told);
            false
        }
    }
}

/// Keeps what took long, where it was asked to be kept.
fn tell_if_slow(c: &Context<'_>, command: &Command, words: &[&[u8]], took: Duration) {
    let at_s = c.data.now_ms / 1_000;
    if c.server.slow.wants(took) {
        c.server.slow.add(command, words, took, at_s, &c.client.shown);
    }
    if c.server.latency.wants(took) {
        let event = if command.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        c.server.latency.add(event, took, at_s);
    }
}

/// The command that these words ask for, or its subcommand, if they could be one: it is there, and has as many words as it
/// takes.
pub(crate) fn resolve(words: &[&[u8]]) -> Result<&'static Command, Refusal> {
    let mut command = find(words[0]).ok_or_else(|| unknown(words))?;
    if let Some(word) = words.get(1).filter(|_| !command.subcommands.is_empty()) {
        let sub = command.subcommand(word);
        command = sub.ok_or_else(|| unknown_subcommand(&command.name.to_ascii_uppercase(), word))?;
    }
    if command.takes(words.len()) { Ok(command) } else { Err(wrong_arity(command.name)) }
}

/// What is said of a command that is not there.
fn unknown(words: &[&[u8]]) -> Refusal {
    let mut told = String::new();
    let mut len = 0;
    for word in &words[1..] {
        if len >= TOLD_LEN_MAX {
            break;
        }
        let word = told_word(word, TOLD_LEN_MAX - len);
        len += word.len() + 3;
        told += &format!("'{word}' ");
    }
    let name = told_word(words[0], TOLD_LEN_MAX);
    Refusal::Text(format!("ERR unknown command '{name}', with args beginning with: {told}").into())
}

/// How much of a word is told.
const TOLD_LEN_MAX: usize = 128;

/// A word as errors tell it: it ends where Redis's strings end, and is not all told if it is long.
fn told_word(word: &[u8], len_max: usize) -> Cow<'_, str> {
    let end = word.iter().position(|&byte| byte == 0).unwrap_or(word.len());
    String::from_utf8_lossy(&word[..end.min(len_max)])
}

pub(crate) fn wrong_arity(command: &str) -> Refusal {
    Refusal::Text(format!("ERR wrong number of arguments for '{command}' command").into())
}

fn unknown_subcommand(command: &str, word: &[u8]) -> Refusal {
    let word = told_word(word, TOLD_LEN_MAX);
    Refusal::Text(format!("ERR unknown subcommand '{word}'. Try {command} HELP.").into())
}

/// What is said of a subcommand that cannot have the words it was given.
fn unfit_subcommand(command: &str, word: &[u8]) -> Refusal {
    let word = told_word(word, TOLD_LEN_MAX);
    let told =
        format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try {command} HELP.");
    Refusal::Text(told.into())
}

/// Answers for a command that only has subcommands, where none is named.
fn needs_subcommand(_: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    Err(wrong_arity(&String::from_utf8_lossy(words[0]).to_ascii_lowercase()))
}

/// Answers `HELP` of a command with subcommands, laid out as Redis does it.
fn help(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let subcommands = find(words[0]).map_or(&[][..], |command| command.subcommands);
    c.out.array(subcommands.len() * 2 + 1);
    let name = String::from_utf8_lossy(words[0]).to_ascii_uppercase();
    c.out.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in subcommands {
        c.out.simple(&sub.last_name().to_ascii_uppercase());
        c.out.simple(&format!("    {}.", sub.summary));
    }
    Ok(())
}

fn integer(word: &[u8]) -> Result<i64, Refusal> {
    request::integer(word).ok_or(NOT_AN_INTEGER)
}

/// The bytes from `start` to `end`, both within, counted from the end where negative.
fn slice(value: &[u8], start: i64, end: i64) -> &[u8] {
    let len = value.len() as i64;
    if (start < 0 && end < 0 && start > end) || value.is_empty() {
        return &[];
    }
    let from_end = |at: i64| if at < 0 { len.saturating_add(at).max(0) } else { at };
    let (first, last) = (from_end(start), from_end(end).min(len - 1));
    if first > last { &[] } else { &value[first as usize..=last as usize] }
}
