//! The table: a row for every command, by group.

use super::table::{Command, Flags, KeySpec, Usage};
use super::{
    bits, clients, config, connection, databases, describe, help, info, keys, later, memory,
    needs_subcommand, object, pubsub, server, strings, transactions, users, watching,
};

const NONE: Flags = Flags::NONE;
const F: Flags = Flags::FAST;
const R: Flags = Flags::READ;
const RF: Flags = R.and(F);
const W: Flags = Flags::WRITE.and(Flags::TURN);
const WF: Flags = W.and(F);
const WG: Flags = W.and(Flags::GROWS);
const WGF: Flags = WG.and(F);
const A: Flags = Flags::ADMIN;
const LISTENS: Flags = Flags::PUBSUB.and(Flags::LISTENING);
const DIRECT: Flags = F.and(Flags::NOT_QUEUED);
/// Transactions that write hold the turn; so all do.
const EXEC: Flags = Flags::TURN.and(Flags::NOT_QUEUED);
const SHOWS_PASSWORD: Flags = F.and(Flags::NO_AUTH).and(Flags::SECRET);
const LEAVES: Flags = F.and(Flags::NO_AUTH).and(Flags::NOT_QUEUED).and(Flags::LISTENING);

const fn usage(mode: &'static str, access: bool, change: &'static str) -> Usage {
    Usage { mode, access, change }
}

const LOOKS: Usage = usage("RO", false, "");
const READS: Usage = usage("RO", true, "");
const CHANGES: Usage = usage("RW", true, "update");
const EDITS: Usage = usage("RW", false, "update");
const EXTENDS: Usage = usage("RW", false, "insert");
const TAKES: Usage = usage("RW", true, "delete");
const REMOVES: Usage = usage("RM", false, "delete");
const ADDS: Usage = usage("OW", false, "insert");
pub(super) const OVERWRITES: Usage = usage("OW", false, "update");

const fn at(first: usize, usage: Usage) -> KeySpec {
    KeySpec { first, last: 0, step: 1, usage, varies: false }
}

const fn all_from(first: usize, step: usize, usage: Usage) -> KeySpec {
    KeySpec { first, last: -1, step, usage, varies: false }
}

const NO_KEYS: &[KeySpec] = &[];

macro_rules! table {
    ($($group:literal { $($name:literal $arity:literal $flags:expr, $keys:expr, $since:literal $summary:literal $run:path
        $({ $($sub:literal $sub_arity:literal $sub_flags:expr, $sub_keys:expr, $sub_since:literal $sub_summary:literal $sub_run:path;)* })?
    ;)* })*) => {
        &[$($(Command {
            name: $name,
            arity: $arity,
            flags: $flags,
            keys: $keys,
            group: $group,
            since: $since,
            summary: $summary,
            run: $run,
            subcommands: &[$($(Command {
                name: concat!($name, "|", $sub),
                arity: $sub_arity,
                flags: $sub_flags,
                keys: $sub_keys,
                group: $group,
                since: $sub_since,
                summary: $sub_summary,
                run: $sub_run,
                subcommands: &[],
            },)*)?],
        },)*)*]
    };
}

/// Every command, by group. A row: the name, how many words, flags, keys, since when, what it is for, what does it.
pub(crate) static TABLE: &[Command] = table! {
    "string" {
        "append" 3 WGF, &[at(1, EXTENDS)], "2.0.0" "Append to a value" strings::append;
        "decr" 2 WGF, &[at(1, CHANGES)], "1.0.0" "Take one from an integer" strings::decr;
        "decrby" 3 WGF, &[at(1, CHANGES)], "1.0.0" "Take from an integer" strings::decrby;
        "get" 2 RF, &[at(1, READS)], "1.0.0" "Get a value" strings::get;
        "getdel" 2 WF, &[at(1, TAKES)], "6.2.0" "Get a value and delete the key" strings::getdel;
        "getex" -2 WF, &[at(1, CHANGES)], "6.2.0" "Get a value and change when it expires" strings::getex;
        "getrange" 4 R, &[at(1, READS)], "2.4.0" "Get a part of a value" strings::getrange;
        "getset" 3 WGF, &[at(1, CHANGES)], "1.0.0" "Set a value and get the old one" strings::getset;
        "incr" 2 WGF, &[at(1, CHANGES)], "1.0.0" "Add one to an integer" strings::incr;
        "incrby" 3 WGF, &[at(1, CHANGES)], "1.0.0" "Add to an integer" strings::incrby;
        "incrbyfloat" 3 WGF, &[at(1, CHANGES)], "2.6.0" "Add to a number" strings::incrbyfloat;
        "lcs" -3 R, &[KeySpec { last: 1, ..at(1, READS) }], "7.0.0"
            "Find the longest common subsequence of two values" strings::lcs;
        "mget" -2 RF, &[all_from(1, 1, READS)], "1.0.0" "Get several values" strings::mget;
        "mset" -3 WG, &[all_from(1, 2, OVERWRITES)], "1.0.1" "Set several values" strings::mset;
        "msetnx" -3 WG, &[all_from(1, 2, ADDS)], "1.0.1" "Set several values, if none of the keys is there" strings::msetnx;
        "psetex" 4 WG, &[at(1, OVERWRITES)], "2.6.0" "Set a value that expires in milliseconds" strings::psetex;
        "set" -3 WG, &[KeySpec { varies: true, ..at(1, CHANGES) }], "1.0.0" "Set a value" strings::set;
        "setex" 4 WG, &[at(1, OVERWRITES)], "2.0.0" "Set a value that expires in seconds" strings::setex;
        "setnx" 3 WGF, &[at(1, ADDS)], "1.0.0" "Set a value, if the key is not there" strings::setnx;
        "setrange" 4 WG, &[at(1, EDITS)], "2.2.0" "Overwrite a part of a value" strings::setrange;
        "strlen" 2 RF, &[at(1, LOOKS)], "2.2.0" "Get the length of a value" strings::strlen;
        "substr" 4 R, &[at(1, READS)], "1.0.0" "Get a part of a value" strings::getrange;
    }
    "bitmap" {
        "bitcount" -2 R, &[at(1, READS)], "2.6.0" "Count the bits that are set" bits::bitcount;
        "bitop" -4 WG, &[at(2, OVERWRITES), all_from(3, 1, READS)], "2.6.0" "Combine values bit by bit" bits::bitop;
        "bitpos" -3 R, &[at(1, READS)], "2.8.7" "Find the first bit that is set, or clear" bits::bitpos;
        "getbit" 3 RF, &[at(1, READS)], "2.2.0" "Get a bit" bits::getbit;
        "setbit" 4 WG, &[at(1, CHANGES)], "2.2.0" "Set or clear a bit" bits::setbit;
    }
    "generic" {
        "copy" -3 WG, &[at(1, READS), at(2, OVERWRITES)], "6.2.0" "Copy a key" keys::copy;
        "del" -2 W, &[all_from(1, 1, REMOVES)], "1.0.0" "Delete keys" keys::del;
        "exists" -2 RF, &[all_from(1, 1, LOOKS)], "1.0.0" "Count the keys that are there" keys::exists;
        "expire" -3 WF, &[at(1, EDITS)], "1.0.0" "Have a key expire in seconds" keys::expire;
        "expireat" -3 WF, &[at(1, EDITS)], "1.2.0" "Have a key expire at a time in seconds" keys::expireat;
        "expiretime" 2 RF, &[at(1, READS)], "7.0.0" "Tell when a key expires, in seconds" keys::expiretime;
        "keys" 2 R, NO_KEYS, "1.0.0" "List the keys that fit a pattern" keys::keys;
        "move" 3 WF, &[at(1, CHANGES)], "1.0.0" "Move a key to another database" keys::move_to;
        "object" -2 NONE, NO_KEYS, "2.2.3" "Tell about how a value is held" needs_subcommand {
            "encoding" 3 R, &[at(2, LOOKS)], "2.2.3" "Tell how Redis would hold the value" object::encoding;
            "freq" 3 R, &[at(2, LOOKS)], "4.0.0" "Refused: nobody counts how often a key is read" object::freq;
            "help" 2 NONE, NO_KEYS, "6.2.0" "List the subcommands" help;
            "idletime" 3 R, &[at(2, LOOKS)], "2.2.3" "0: nobody keeps when a key was last read" object::idletime;
            "refcount" 3 R, &[at(2, LOOKS)], "2.2.3" "1: a value belongs to one key" object::refcount;
        };
        "persist" 2 WF, &[at(1, EDITS)], "2.2.0" "Have a key not expire" keys::persist;
        "pexpire" -3 WF, &[at(1, EDITS)], "2.6.0" "Have a key expire in milliseconds" keys::pexpire;
        "pexpireat" -3 WF, &[at(1, EDITS)], "2.6.0" "Have a key expire at a time in milliseconds" keys::pexpireat;
        "pexpiretime" 2 RF, &[at(1, READS)], "7.0.0" "Tell when a key expires, in milliseconds" keys::pexpiretime;
        "pttl" 2 RF, &[at(1, READS)], "2.6.0" "Tell in how many milliseconds a key expires" keys::pttl;
        "randomkey" 1 R, NO_KEYS, "1.0.0" "Get some key" keys::randomkey;
        "rename" 3 W, &[at(1, TAKES), at(2, OVERWRITES)], "1.0.0" "Rename a key" keys::rename;
        "renamenx" 3 WF, &[at(1, TAKES), at(2, ADDS)], "1.0.0" "Rename a key, if the new name is not there" keys::renamenx;
        "scan" -2 R, NO_KEYS, "2.8.0" "List keys, some with each call" keys::scan;
        "touch" -2 RF, &[all_from(1, 1, LOOKS)], "3.2.1" "Count the keys that are there" keys::exists;
        "ttl" 2 RF, &[at(1, READS)], "1.0.0" "Tell in how many seconds a key expires" keys::ttl;
        "type" 2 RF, &[at(1, LOOKS)], "1.0.0" "Tell the type of a value" keys::type_of;
        "wait" 3 NONE, NO_KEYS, "3.0.0" "0: there are no replicas" later::wait_for_replicas;
        "waitaof" 4 NONE, NO_KEYS, "7.2.0" "Have what was written synced" later::wait_for_sync;
        "unlink" -2 WF, &[all_from(1, 1, REMOVES)], "4.0.0" "Delete keys" keys::del;
    }
    "transactions" {
        "discard" 1 DIRECT, NO_KEYS, "2.0.0" "Forget a transaction" transactions::discard;
        "exec" 1 EXEC, NO_KEYS, "1.2.0" "Do the commands of a transaction" transactions::exec;
        "multi" 1 DIRECT, NO_KEYS, "1.2.0" "Begin a transaction" transactions::multi;
        "unwatch" 1 F, NO_KEYS, "2.2.0" "Forget the keys that are watched" transactions::unwatch;
        "watch" -2 EXEC.and(F), &[all_from(1, 1, LOOKS)], "2.2.0" "Have the transaction depend on keys" transactions::watch;
    }
    "pubsub" {
        "psubscribe" -2 LISTENS, NO_KEYS, "2.0.0" "Listen to channels that fit patterns" pubsub::psubscribe;
        "publish" 3 F.and(Flags::PUBSUB), NO_KEYS, "2.0.0" "Send a message to a channel" pubsub::publish;
        "pubsub" -2 NONE, NO_KEYS, "2.8.0" "Tell about channels" needs_subcommand {
            "channels" -2 Flags::PUBSUB, NO_KEYS, "2.8.0" "List the channels that somebody listens to" pubsub::channels;
            "help" 2 NONE, NO_KEYS, "6.2.0" "List the subcommands" help;
            "numpat" 2 Flags::PUBSUB, NO_KEYS, "2.8.0" "Count the patterns that somebody listens to" pubsub::numpat;
            "numsub" -2 Flags::PUBSUB, NO_KEYS, "2.8.0" "Count who listens to channels" pubsub::numsub;
        };
        "punsubscribe" -1 LISTENS, NO_KEYS, "2.0.0" "No longer listen to patterns" pubsub::punsubscribe;
        "subscribe" -2 LISTENS, NO_KEYS, "2.0.0" "Listen to channels" pubsub::subscribe;
        "unsubscribe" -1 LISTENS, NO_KEYS, "2.0.0" "No longer listen to channels" pubsub::unsubscribe;
    }
    "connection" {
        "auth" -2 SHOWS_PASSWORD, NO_KEYS, "1.0.0" "Show a password" connection::auth;
        "client" -2 NONE, NO_KEYS, "2.4.0" "Tell about clients, and change them" needs_subcommand {
            "getname" 2 NONE, NO_KEYS, "2.6.9" "Tell this connection's name" clients::getname;
            "help" 2 NONE, NO_KEYS, "5.0.0" "List the subcommands" help;
            "id" 2 NONE, NO_KEYS, "5.0.0" "Tell this connection's number" clients::id;
            "info" 2 NONE, NO_KEYS, "6.2.0" "Tell about this connection" clients::info;
            "kill" -3 A, NO_KEYS, "2.4.0" "End connections" clients::kill;
            "list" -2 A, NO_KEYS, "2.4.0" "Tell about connections" clients::list;
            "no-evict" 3 A, NO_KEYS, "7.0.0" "Accepted: no connection is ended to save memory" clients::switch;
            "no-touch" 3 NONE, NO_KEYS, "7.2.0" "Accepted: nobody keeps when a key was last read" clients::switch;
            "pause" -3 A, NO_KEYS, "2.9.50" "Hold commands back for a time" clients::pause;
            "reply" 3 NONE, NO_KEYS, "3.2.0" "Choose whether commands are answered" clients::reply;
            "setinfo" 4 NONE, NO_KEYS, "7.2.0" "Tell the client's library" clients::setinfo;
            "setname" 3 NONE, NO_KEYS, "2.6.9" "Name this connection" clients::setname;
            "unblock" -3 A, NO_KEYS, "5.0.0" "0: no command blocks" clients::unblock;
            "unpause" 2 A, NO_KEYS, "6.2.0" "No longer hold commands back" clients::unpause;
        };
        "echo" 2 F, NO_KEYS, "1.0.0" "Get back what was sent" connection::echo;
        "hello" -1 SHOWS_PASSWORD, NO_KEYS, "6.0.0" "Choose a version of the protocol" connection::hello;
        "ping" -1 F.and(Flags::LISTENING), NO_KEYS, "1.0.0" "Ask whether somebody is there" connection::ping;
        "quit" -1 LEAVES, NO_KEYS, "1.0.0" "End the connection" connection::quit;
        "reset" 1 LEAVES, NO_KEYS, "6.2.0" "Begin the connection anew" connection::reset;
        "select" 2 F, NO_KEYS, "1.0.0" "Choose a database" databases::select;
    }
    "server" {
        "acl" -2 NONE, NO_KEYS, "6.0.0" "Tell about users, and change them" needs_subcommand {
            "cat" -2 NONE, NO_KEYS, "6.0.0" "List the categories of commands, or the commands of one" users::cat;
            "deluser" -3 A, NO_KEYS, "6.0.0" "Delete users" users::deluser;
            "dryrun" -4 A, NO_KEYS, "7.0.0" "Tell whether a user may run a command" users::dryrun;
            "genpass" -2 NONE, NO_KEYS, "6.0.0" "Make up a password" users::genpass;
            "getuser" 3 A, NO_KEYS, "6.0.0" "Tell about a user" users::getuser;
            "help" 2 NONE, NO_KEYS, "6.0.0" "List the subcommands" help;
            "list" 2 A, NO_KEYS, "6.0.0" "Tell the rules of all users" users::list;
            "load" 2 A, NO_KEYS, "6.0.0" "Refused: users are not kept in a file" users::no_file;
            "log" -2 A, NO_KEYS, "6.0.0" "Tell what users were refused lately" users::log;
            "save" 2 A, NO_KEYS, "6.0.0" "Refused: users are not kept in a file" users::no_file;
            "setuser" -3 A.and(Flags::SECRET), NO_KEYS, "6.0.0" "Make a user, or change one" users::setuser;
            "users" 2 A, NO_KEYS, "6.0.0" "List the users" users::users;
            "whoami" 2 NONE, NO_KEYS, "6.0.0" "Tell who this connection is" users::whoami;
        };
        "bgsave" -1 A, NO_KEYS, "1.0.0" "Begin to write a backup" later::bgsave;
        "command" -1 NONE, NO_KEYS, "2.8.13" "Tell about commands" describe::command {
            "count" 2 NONE, NO_KEYS, "2.8.13" "Count the commands" describe::count;
            "docs" -2 NONE, NO_KEYS, "7.0.0" "Tell what commands are for" describe::docs;
            "getkeys" -4 NONE, NO_KEYS, "2.8.13" "Tell which words are keys" describe::getkeys;
            "getkeysandflags" -4 NONE, NO_KEYS, "7.0.0" "Tell which words are keys, and what is done to them"
                describe::getkeysandflags;
            "help" 2 NONE, NO_KEYS, "5.0.0" "List the subcommands" help;
            "info" -2 NONE, NO_KEYS, "2.8.13" "Tell about some commands" describe::info;
            "list" -2 NONE, NO_KEYS, "7.0.0" "List commands by name" describe::list;
        };
        "config" -2 NONE, NO_KEYS, "2.0.0" "Read and change the configuration" needs_subcommand {
            "get" -3 A, NO_KEYS, "2.0.0" "Read parameters" config::get;
            "help" 2 NONE, NO_KEYS, "5.0.0" "List the subcommands" help;
            "resetstat" 2 A, NO_KEYS, "2.0.0" "Begin to count anew" config::resetstat;
            "rewrite" 2 A, NO_KEYS, "2.8.0" "Write what was changed to the configuration file" config::rewrite;
            "set" -4 A.and(Flags::SECRET), NO_KEYS, "2.0.0" "Change parameters" config::set;
        };
        "dbsize" 1 RF, NO_KEYS, "1.0.0" "Tell how many keys there are" databases::dbsize;
        "debug" -2 A, NO_KEYS, "1.0.0" "Wait, or tell how Redis would hold a value" later::debug;
        "flushall" -1 W, NO_KEYS, "1.0.0" "Delete every key of every database" databases::flushall;
        "flushdb" -1 W, NO_KEYS, "1.0.0" "Delete every key of the database" databases::flushdb;
        "info" -1 NONE, NO_KEYS, "1.0.0" "Tell how the server is" info::info;
        "lastsave" 1 F, NO_KEYS, "1.0.0" "Tell when the last backup was done" later::lastsave;
        "latency" -2 NONE, NO_KEYS, "2.8.13" "Tell what took long" needs_subcommand {
            "help" 2 NONE, NO_KEYS, "2.8.13" "List the subcommands" help;
            "histogram" -2 A, NO_KEYS, "7.0.0" "Tell how long commands took" watching::latency_histogram;
            "history" 3 A, NO_KEYS, "2.8.13" "Tell the worst of each second, of an event" watching::latency_history;
            "latest" 2 A, NO_KEYS, "2.8.13" "Tell the latest and the worst of each event" watching::latency_latest;
            "reset" -2 A, NO_KEYS, "2.8.13" "Forget events" watching::latency_reset;
        };
        "memory" -2 NONE, NO_KEYS, "4.0.0" "Tell what is taken" needs_subcommand {
            "help" 2 NONE, NO_KEYS, "4.0.0" "List the subcommands" help;
            "usage" -3 R, &[at(2, LOOKS)], "4.0.0" "Tell what a key and its value take" memory::usage;
        };
        "monitor" 1 A, NO_KEYS, "1.0.0" "Listen to all commands that others run" watching::monitor;
        "save" 1 A.and(Flags::NO_MULTI), NO_KEYS, "1.0.0" "Write a backup" later::save;
        "shutdown" -1 A.and(Flags::NO_MULTI), NO_KEYS, "1.0.0" "End the server" later::shutdown;
        "slowlog" -2 NONE, NO_KEYS, "2.2.12" "Tell which commands were slow" needs_subcommand {
            "get" -2 A, NO_KEYS, "2.2.12" "List the latest" watching::slowlog_get;
            "help" 2 NONE, NO_KEYS, "6.2.0" "List the subcommands" help;
            "len" 2 A, NO_KEYS, "2.2.12" "Count those that are kept" watching::slowlog_len;
            "reset" 2 A, NO_KEYS, "2.2.12" "Forget them" watching::slowlog_reset;
        };
        "swapdb" 3 WF, NO_KEYS, "4.0.0" "Exchange what two databases hold" databases::swapdb;
        "time" 1 F, NO_KEYS, "2.6.0" "Tell the time" server::time;
    }
};
