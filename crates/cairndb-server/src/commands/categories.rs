//! Categories: kinds of commands, for those who allow and forbid by kind.
//!
//! They follow from a row's flags and group, with the exceptions that Redis makes; a test compares them with Redis's own.

use super::table::{Command, Flags};

/// Every category of Redis, in its order; those of types that are not here are empty.
pub(crate) const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The name of a category, in whatever case it is written.
pub(crate) fn category(name: &[u8]) -> Option<&'static str> {
    CATEGORIES.iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes())).copied()
}

/// What a command belongs to, in the order of [`CATEGORIES`].
pub(crate) fn categories(command: &Command) -> Vec<&'static str> {
    CATEGORIES.iter().filter(|category| belongs(command, category)).copied().collect()
}

fn belongs(command: &Command, category: &str) -> bool {
    let Command { flags, group, name, .. } = command;
    // What only has subcommands does nothing itself.
    if command.is_container() {
        return category == "slow";
    }
    match category {
        "keyspace" => {
            (*group == "generic" && *name != "wait" && *name != "waitaof")
                || matches!(*name, "dbsize" | "flushall" | "flushdb" | "swapdb")
        }
        "read" => flags.has(Flags::READ),
        "write" => flags.has(Flags::WRITE),
        "string" | "bitmap" => *group == category,
        "pubsub" => flags.has(Flags::PUBSUB),
        "admin" => flags.has(Flags::ADMIN) || *name == "lastsave",
        "fast" => flags.has(Flags::FAST),
        "slow" => !flags.has(Flags::FAST),
        "dangerous" => {
            flags.has(Flags::ADMIN)
                || matches!(*name, "lastsave" | "keys" | "flushall" | "flushdb" | "info" | "swapdb")
        }
        "connection" => {
            *group == "connection"
                || matches!(*name, "wait" | "waitaof" | "command")
                || name.starts_with("command|")
        }
        "transaction" => *group == "transactions",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::find_row;

    #[test]
    fn a_command_belongs_to_its_kinds() {
        let told = |name: &str| categories(find_row(name.as_bytes()).expect("it is there")).join(" ");
        assert_eq!(told("get"), "read string fast");
        assert_eq!(told("config|get"), "admin slow dangerous");
        assert_eq!(told("config"), "slow");
        assert_eq!(told("exec"), "slow transaction");
    }
}
