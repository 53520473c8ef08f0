//! The table: a row for every command.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Answer, Context, bits, connection, keys, pubsub, server, strings, transactions};

/// A row.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// How many words it takes, the name among them; at least as many, if negative.
    pub(crate) arity: i32,
    pub(crate) flags: Flags,
    /// The first and the last word that is a key (from the end, if negative), and how far from one to the next; zeros for
    /// none.
    pub(crate) keys: (i32, i32, i32),
    /// What it belongs to in Redis's documentation.
    pub(crate) group: &'static str,
    /// The version of Redis that had it first.
    pub(crate) since: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) run: fn(&mut Context<'_>, &[&[u8]]) -> Answer,
}

/// What a command does, and when it may.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(crate) const NONE: Flags = Flags(0);
    /// Reads what keys hold.
    pub(crate) const READ: Flags = Flags(1);
    /// Changes what keys hold, and so runs in the turn.
    pub(crate) const WRITE: Flags = Flags(1 << 1);
    /// Makes the data larger: not on a full disk.
    pub(crate) const GROWS: Flags = Flags(1 << 2);
    /// Takes a time that does not grow with the data.
    pub(crate) const FAST: Flags = Flags(1 << 3);
    /// Is for who runs the server.
    pub(crate) const ADMIN: Flags = Flags(1 << 4);
    /// May be asked before a password was shown.
    pub(crate) const NO_AUTH: Flags = Flags(1 << 5);
    /// May be asked of the second version of the protocol while subscribed.
    pub(crate) const PUBSUB: Flags = Flags(1 << 6);
    /// Is not queued, but done, within a transaction.
    pub(crate) const NOT_QUEUED: Flags = Flags(1 << 7);
    /// Cannot stand in a transaction.
    pub(crate) const NO_MULTI: Flags = Flags(1 << 8);
    /// Is not shown to who monitors, nor in the slow log.
    pub(crate) const SECRET: Flags = Flags(1 << 9);

    pub(crate) const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

const R: Flags = Flags::READ;
const RF: Flags = Flags::READ.and(Flags::FAST);
const W: Flags = Flags::WRITE;
const WF: Flags = Flags::WRITE.and(Flags::FAST);
const WG: Flags = Flags::WRITE.and(Flags::GROWS);
const WGF: Flags = WG.and(Flags::FAST);
const F: Flags = Flags::FAST;
const ADMIN: Flags = Flags::ADMIN;
const NONE: Flags = Flags::NONE;
const SUBSCRIBES: Flags = Flags::PUBSUB;
const DIRECT: Flags = Flags::FAST.and(Flags::NOT_QUEUED);
/// Transactions that write hold the turn; so all do.
const EXEC: Flags = Flags::WRITE.and(Flags::NOT_QUEUED);
const HELLO: Flags = Flags::FAST.and(Flags::NO_AUTH).and(Flags::SECRET);
const AUTH: Flags = Flags::FAST.and(Flags::NO_AUTH).and(Flags::SECRET);
const QUIT: Flags = Flags::FAST.and(Flags::NO_AUTH).and(Flags::NOT_QUEUED).and(Flags::PUBSUB);

const NO_KEYS: (i32, i32, i32) = (0, 0, 0);
const ONE: (i32, i32, i32) = (1, 1, 1);
const TWO: (i32, i32, i32) = (1, 2, 1);
const ALL: (i32, i32, i32) = (1, -1, 1);
const PAIRS: (i32, i32, i32) = (1, -1, 2);

macro_rules! table {
    ($($group:literal { $($name:literal $arity:literal $flags:expr, $keys:expr, $since:literal $summary:literal $run:path;)* })*) => {
        &[$($(Command {
            name: $name,
            arity: $arity,
            flags: $flags,
            keys: $keys,
            group: $group,
            since: $since,
            summary: $summary,
            run: $run,
        },)*)*]
    };
}

/// Every command, by group.
pub(crate) static TABLE: &[Command] = table! {
    "string" {
        "append" 3 WGF, ONE, "2.0.0" "Append to a value" strings::append;
        "decr" 2 WGF, ONE, "1.0.0" "Take one from an integer" strings::decr;
        "decrby" 3 WGF, ONE, "1.0.0" "Take from an integer" strings::decrby;
        "get" 2 RF, ONE, "1.0.0" "Get a value" strings::get;
        "getdel" 2 WF, ONE, "6.2.0" "Get a value and delete the key" strings::getdel;
        "getex" -2 WF, ONE, "6.2.0" "Get a value and change when it expires" strings::getex;
        "getrange" 4 R, ONE, "2.4.0" "Get a part of a value" strings::getrange;
        "getset" 3 WGF, ONE, "1.0.0" "Set a value and get the old one" strings::getset;
        "incr" 2 WGF, ONE, "1.0.0" "Add one to an integer" strings::incr;
        "incrby" 3 WGF, ONE, "1.0.0" "Add to an integer" strings::incrby;
        "incrbyfloat" 3 WGF, ONE, "2.6.0" "Add to a number" strings::incrbyfloat;
        "lcs" -3 R, TWO, "7.0.0" "Find the longest common subsequence of two values" strings::lcs;
        "mget" -2 RF, ALL, "1.0.0" "Get several values" strings::mget;
        "mset" -3 WG, PAIRS, "1.0.1" "Set several values" strings::mset;
        "msetnx" -3 WG, PAIRS, "1.0.1" "Set several values, if none of the keys is there" strings::msetnx;
        "psetex" 4 WG, ONE, "2.6.0" "Set a value that expires in milliseconds" strings::psetex;
        "set" -3 WG, ONE, "1.0.0" "Set a value" strings::set;
        "setex" 4 WG, ONE, "2.0.0" "Set a value that expires in seconds" strings::setex;
        "setnx" 3 WGF, ONE, "1.0.0" "Set a value, if the key is not there" strings::setnx;
        "setrange" 4 WG, ONE, "2.2.0" "Overwrite a part of a value" strings::setrange;
        "strlen" 2 RF, ONE, "2.2.0" "Get the length of a value" strings::strlen;
        "substr" 4 R, ONE, "1.0.0" "Get a part of a value" strings::getrange;
    }
    "bitmap" {
        "bitcount" -2 R, ONE, "2.6.0" "Count the bits that are set" bits::bitcount;
        "bitop" -4 WG, (2, -1, 1), "2.6.0" "Combine values bit by bit" bits::bitop;
        "bitpos" -3 R, ONE, "2.8.7" "Find the first bit that is set, or clear" bits::bitpos;
        "getbit" 3 RF, ONE, "2.2.0" "Get a bit" bits::getbit;
        "setbit" 4 WG, ONE, "2.2.0" "Set or clear a bit" bits::setbit;
    }
    "generic" {
        "copy" -3 WG, TWO, "6.2.0" "Copy a key" keys::copy;
        "del" -2 W, ALL, "1.0.0" "Delete keys" keys::del;
        "exists" -2 RF, ALL, "1.0.0" "Count the keys that are there" keys::exists;
        "expire" -3 WF, ONE, "1.0.0" "Have a key expire in seconds" keys::expire;
        "expireat" -3 WF, ONE, "1.2.0" "Have a key expire at a time in seconds" keys::expireat;
        "expiretime" 2 RF, ONE, "7.0.0" "Tell when a key expires, in seconds" keys::expiretime;
        "keys" 2 R, NO_KEYS, "1.0.0" "List the keys that fit a pattern" keys::keys;
        "move" 3 WF, ONE, "1.0.0" "Move a key to another database" keys::move_to;
        "object" -2 R, (2, 2, 1), "2.2.3" "Tell about how a value is held" keys::object;
        "persist" 2 WF, ONE, "2.2.0" "Have a key not expire" keys::persist;
        "pexpire" -3 WF, ONE, "2.6.0" "Have a key expire in milliseconds" keys::pexpire;
        "pexpireat" -3 WF, ONE, "2.6.0" "Have a key expire at a time in milliseconds" keys::pexpireat;
        "pexpiretime" 2 RF, ONE, "7.0.0" "Tell when a key expires, in milliseconds" keys::pexpiretime;
        "pttl" 2 RF, ONE, "2.6.0" "Tell in how many milliseconds a key expires" keys::pttl;
        "randomkey" 1 R, NO_KEYS, "1.0.0" "Get some key" keys::randomkey;
        "rename" 3 W, TWO, "1.0.0" "Rename a key" keys::rename;
        "renamenx" 3 WF, TWO, "1.0.0" "Rename a key, if the new name is not there" keys::renamenx;
        "scan" -2 R, NO_KEYS, "2.8.0" "List keys, some with each call" keys::scan;
        "touch" -2 RF, ALL, "3.2.1" "Count the keys that are there" keys::exists;
        "ttl" 2 RF, ONE, "1.0.0" "Tell in how many seconds a key expires" keys::ttl;
        "type" 2 RF, ONE, "1.0.0" "Tell the type of a value" keys::type_of;
        "unlink" -2 WF, ALL, "4.0.0" "Delete keys" keys::del;
    }
    "transactions" {
        "discard" 1 DIRECT, NO_KEYS, "2.0.0" "Forget a transaction" transactions::discard;
        "exec" 1 EXEC, NO_KEYS, "1.2.0" "Do the commands of a transaction" transactions::exec;
        "multi" 1 DIRECT, NO_KEYS, "1.2.0" "Begin a transaction" transactions::multi;
        "unwatch" 1 F, NO_KEYS, "2.2.0" "Forget the keys that are watched" transactions::unwatch;
        "watch" -2 EXEC, ALL, "2.2.0" "Have the transaction depend on keys" transactions::watch;
    }
    "pubsub" {
        "psubscribe" -2 SUBSCRIBES, NO_KEYS, "2.0.0" "Listen to channels that fit patterns" pubsub::psubscribe;
        "publish" 3 F, NO_KEYS, "2.0.0" "Send a message to a channel" pubsub::publish;
        "pubsub" -2 NONE, NO_KEYS, "2.8.0" "Tell about channels" pubsub::pubsub;
        "punsubscribe" -1 SUBSCRIBES, NO_KEYS, "2.0.0" "No longer listen to patterns" pubsub::punsubscribe;
        "subscribe" -2 SUBSCRIBES, NO_KEYS, "2.0.0" "Listen to channels" pubsub::subscribe;
        "unsubscribe" -1 SUBSCRIBES, NO_KEYS, "2.0.0" "No longer listen to channels" pubsub::unsubscribe;
    }
    "connection" {
        "auth" -2 AUTH, NO_KEYS, "1.0.0" "Show a password" connection::auth;
        "client" -2 NONE, NO_KEYS, "2.4.0" "Tell about clients, and change them" connection::client;
        "echo" 2 F, NO_KEYS, "1.0.0" "Get back what was sent" connection::echo;
        "hello" -1 HELLO, NO_KEYS, "6.0.0" "Choose a version of the protocol" connection::hello;
        "ping" -1 F.and(Flags::PUBSUB), NO_KEYS, "1.0.0" "Ask whether somebody is there" connection::ping;
        "quit" -1 QUIT, NO_KEYS, "1.0.0" "End the connection" connection::quit;
        "reset" 1 QUIT, NO_KEYS, "6.2.0" "Begin the connection anew" connection::reset;
        "select" 2 F, NO_KEYS, "1.0.0" "Choose a database" keys::select;
    }
    "server" {
        "command" -1 NONE, NO_KEYS, "2.8.13" "Tell about commands" server::command;
        "config" -2 ADMIN, NO_KEYS, "2.0.0" "Read and change the configuration" server::config;
        "dbsize" 1 RF, NO_KEYS, "1.0.0" "Tell how many keys there are" keys::dbsize;
        "flushall" -1 W, NO_KEYS, "1.0.0" "Delete every key of every database" keys::flushall;
        "flushdb" -1 W, NO_KEYS, "1.0.0" "Delete every key of the database" keys::flushdb;
        "info" -1 NONE, NO_KEYS, "1.0.0" "Tell how the server is" server::info;
        "time" 1 F, NO_KEYS, "2.6.0" "Tell the time" server::time;
    }
};

/// The subcommands of a command that has some, and how many words each takes, as in a row; `None` for one that has none.
pub(crate) fn subcommands(command: &str) -> Option<&'static [(&'static str, i32)]> {
    Some(match command {
        "client" => &[
            ("getname", 2),
            ("help", 2),
            ("id", 2),
            ("info", 2),
            ("kill", -3),
            ("list", -2),
            ("no-evict", 3),
            ("no-touch", 3),
            ("reply", 3),
            ("setinfo", 4),
            ("setname", 3),
        ],
        "command" => &[("count", 2), ("docs", -2), ("getkeys", -4), ("help", 2), ("info", -2), ("list", -2)],
        "config" => &[("get", -3), ("help", 2), ("resetstat", 2), ("rewrite", 2), ("set", -4)],
        "object" => &[("encoding", 3), ("freq", 3), ("help", 2), ("idletime", 3), ("refcount", 3)],
        "pubsub" => &[("channels", -2), ("help", 2), ("numpat", 2), ("numsub", -2)],
        _ => return None,
    })
}

/// The row of a command, in whatever case its name is written.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    static BY_NAME: LazyLock<HashMap<&[u8], &'static Command>> =
        LazyLock::new(|| TABLE.iter().map(|command| (command.name.as_bytes(), command)).collect());
    const NAME_LEN_MAX: usize = 16;
    let mut lower = [0; NAME_LEN_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    BY_NAME.get(&*lower).copied()
}

impl Command {
    /// Whether it may have as many words.
    pub(crate) fn takes(&self, words: usize) -> bool {
        takes(self.arity, words)
    }

    /// Where its keys stand among as many words.
    pub(crate) fn key_places(&self, words: usize) -> impl Iterator<Item = usize> {
        let (first, last, step) = self.keys;
        let last = if last < 0 { words as i32 + last } else { last };
        let end = if first == 0 { 0 } else { last + 1 };
        (first..end)
            .step_by(step.max(1) as usize)
            .map(|place| place as usize)
            .filter(move |&place| place < words)
    }
}

pub(crate) fn takes(arity: i32, words: usize) -> bool {
    let least = arity.unsigned_abs() as usize;
    if arity < 0 { words >= least } else { words == least }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_fit() {
        for command in TABLE {
            let upper = command.name.to_ascii_uppercase();
            assert!(std::ptr::eq(find(upper.as_bytes()).expect("it is there"), command), "{}", command.name);
        }
        assert!(find(b"").is_none() && find(&[b'a'; 100]).is_none());
    }

    #[test]
    fn keys_are_found_among_words() {
        let places =
            |name: &[u8], words| find(name).expect("it is there").key_places(words).collect::<Vec<_>>();
        assert_eq!(places(b"get", 2), [1]);
        assert_eq!(places(b"mset", 5), [1, 3]);
        assert_eq!(places(b"del", 4), [1, 2, 3]);
        assert_eq!(places(b"bitop", 5), [2, 3, 4]);
        assert_eq!(places(b"ping", 1), []);
    }
}
