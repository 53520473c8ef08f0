//! The table's terms: what a row says of a command, and how commands are found by name.

use std::sync::LazyLock;

use super::rows::{OVERWRITES, TABLE};
use super::{Answer, Context};

/// A row: a command, or a subcommand of one.
pub(crate) struct Command {
    /// In lower case; of a subcommand `config|get`.
    pub(crate) name: &'static str,
    /// How many words it takes, its names among them; at least as many, if negative.
    pub(crate) arity: i32,
    pub(crate) flags: Flags,
    /// Which words are keys.
    pub(crate) keys: &'static [KeySpec],
    /// What it belongs to in Redis's documentation.
    pub(crate) group: &'static str,
    /// The version of Redis that had it first.
    pub(crate) since: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) run: fn(&mut Context<'_>, &[&[u8]]) -> Answer,
    pub(crate) subcommands: &'static [Command],
}

/// Some words that are keys, and what is done to what they hold.
pub(crate) struct KeySpec {
    pub(crate) first: usize,
    /// How far behind the first the last one stands; from the end, if negative.
    pub(crate) last: i32,
    pub(crate) step: usize,
    pub(crate) usage: Usage,
    /// Whether it is used so only with the option `GET`, and otherwise overwritten.
    pub(crate) varies: bool,
}

/// What a command does to what a key holds, in Redis's words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// `RO`, `RW`, `OW` or `RM`: reads, reads and writes, overwrites, removes.
    pub(crate) mode: &'static str,
    /// Returns the value, or copies it, or has it decide what is done.
    pub(crate) access: bool,
    /// `update`, `insert`, `delete`; nothing for what leaves the value as it is.
    pub(crate) change: &'static str,
}

/// What a command does, and when it may.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(crate) const NONE: Flags = Flags(0);
    /// Reads what keys hold.
    pub(crate) const READ: Flags = Flags(1);
    /// Changes what keys hold.
    pub(crate) const WRITE: Flags = Flags(1 << 1);
    /// Makes the data larger: not on a full disk.
    pub(crate) const GROWS: Flags = Flags(1 << 2);
    /// Takes a time that does not grow with the data.
    pub(crate) const FAST: Flags = Flags(1 << 3);
    /// Is for who runs the server.
    pub(crate) const ADMIN: Flags = Flags(1 << 4);
    /// May be asked before a password was shown.
    pub(crate) const NO_AUTH: Flags = Flags(1 << 5);
    /// Has to do with channels.
    pub(crate) const PUBSUB: Flags = Flags(1 << 6);
    /// May be asked in the second version of the protocol while subscribed.
    pub(crate) const LISTENING: Flags = Flags(1 << 7);
    /// Is not queued, but done, within a transaction.
    pub(crate) const NOT_QUEUED: Flags = Flags(1 << 8);
    /// Cannot stand in a transaction.
    pub(crate) const NO_MULTI: Flags = Flags(1 << 9);
    /// Has words that nobody else must see: not for who monitors, nor for the slow log.
    pub(crate) const SECRET: Flags = Flags(1 << 10);
    /// Runs in the turn, though it need not write.
    pub(crate) const TURN: Flags = Flags(1 << 11);

    pub(crate) const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those that Redis has too, by its names.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let named = [
            (Flags::WRITE, "write"),
            (Flags::READ, "readonly"),
            (Flags::GROWS, "denyoom"),
            (Flags::ADMIN, "admin"),
            (Flags::PUBSUB, "pubsub"),
            (Flags::FAST, "fast"),
            (Flags::NO_AUTH, "no_auth"),
            (Flags::NO_MULTI, "no_multi"),
        ];
        named.into_iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| name).collect()
    }
}

impl Usage {
    /// As `COMMAND` shows it.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let mut names = vec![self.mode];
        names.extend(self.access.then_some("access"));
        names.extend(Some(self.change).filter(|change| !change.is_empty()));
        names
    }
}

impl KeySpec {
    fn places(&self, words: usize) -> impl Iterator<Item = usize> + use<> {
        let last = match usize::try_from(self.last) {
            Ok(more) => self.first + more,
            Err(_) => words.saturating_sub(self.last.unsigned_abs() as usize),
        };
        (self.first..words.min(last + 1)).step_by(self.step)
    }
}

impl Command {
    /// Whether it may have as many words.
    pub(crate) fn takes(&self, words: usize) -> bool {
        let least = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= least } else { words == least }
    }

    /// Where its keys stand among these words, and what it does to what they hold.
    pub(crate) fn keys_of(&self, words: &[&[u8]]) -> impl Iterator<Item = (usize, Usage)> + use<> {
        let gets = words.iter().skip(3).any(|word| word.eq_ignore_ascii_case(b"get"));
        let count = words.len();
        self.keys.iter().flat_map(move |spec| {
            let usage = if spec.varies && !gets { OVERWRITES } else { spec.usage };
            spec.places(count).map(move |place| (place, usage))
        })
    }

    /// The first and the last word that is a key, and how far from one to the next: what `COMMAND` showed before it showed
    /// more. Zeros for none.
    pub(crate) fn key_range(&self) -> (i64, i64, i64) {
        let (Some(first), Some(last)) = (self.keys.first(), self.keys.last()) else { return (0, 0, 0) };
        let last_key =
            if last.last < 0 { i64::from(last.last) } else { last.first as i64 + i64::from(last.last) };
        (first.first as i64, last_key, last.step as i64)
    }

    /// The name without that of the command that it is a subcommand of.
    pub(crate) fn last_name(&self) -> &'static str {
        self.name.rsplit('|').next().unwrap_or(self.name)
    }

    /// Whether it does nothing itself, and has subcommands that do.
    pub(crate) fn is_container(&self) -> bool {
        !self.subcommands.is_empty() && self.arity == -2
    }

    /// Its subcommand of that name, in whatever case.
    pub(crate) fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands.iter().find(|sub| name.eq_ignore_ascii_case(sub.last_name().as_bytes()))
    }
}

/// The row of a command, in whatever case its name is written.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    static BY_NAME: LazyLock<Vec<(u128, &'static Command)>> = LazyLock::new(|| {
        let row = |row: &'static Command| Some((packed(row.name.as_bytes())?, row));
        let mut rows: Vec<_> = TABLE.iter().filter_map(row).collect();
        rows.sort_by_key(|(name, _)| *name);
        rows
    });
    let wanted = packed(name)?;
    let index = BY_NAME.binary_search_by_key(&wanted, |(name, _)| *name).ok()?;
    Some(BY_NAME[index].1).filter(|command| command.name.len() == name.len())
}

/// A name in small letters, as a number; `None` if it is longer than any command's.
fn packed(name: &[u8]) -> Option<u128> {
    let mut bytes = [0; size_of::<u128>()];
    bytes.get_mut(..name.len())?.copy_from_slice(name);
    bytes.make_ascii_lowercase();
    Some(u128::from_le_bytes(bytes))
}

/// The row of a command, or of a subcommand by both names: `config|get`.
pub(crate) fn find_row(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        Some(bar) => find(&name[..bar])?.subcommand(&name[bar + 1..]),
        None => find(name),
    }
}

/// Every row, subcommands behind their commands.
pub(crate) fn all_rows() -> impl Iterator<Item = &'static Command> {
    TABLE.iter().flat_map(|command| std::iter::once(command).chain(command.subcommands))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_fit() {
        for command in all_rows() {
            let upper = command.name.to_ascii_uppercase();
            assert!(
                std::ptr::eq(find_row(upper.as_bytes()).expect("it is there"), command),
                "{}",
                command.name
            );
        }
        assert!(find(b"").is_none() && find(&[b'a'; 100]).is_none());
        assert!(find_row(b"get|x").is_none() && find_row(b"|").is_none());
    }

    #[test]
    fn keys_are_found_among_words() {
        let places = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let command = super::super::resolve(&words).expect("it is there");
            command.keys_of(&words).map(|(place, _)| place).collect::<Vec<_>>()
        };
        assert_eq!(places("get a"), [1]);
        assert_eq!(places("mset a 1 b 2"), [1, 3]);
        assert_eq!(places("del a b c"), [1, 2, 3]);
        assert_eq!(places("bitop and d a b"), [2, 3, 4]);
        assert_eq!(places("object encoding a"), [2]);
        assert!(places("ping").is_empty());
    }

    #[test]
    fn set_reads_only_if_asked_to() {
        let access = |words: &[&[u8]]| {
            find(b"set").expect("it is there").keys_of(words).all(|(_, usage)| usage.access)
        };
        assert!(!access(&[b"set", b"get", b"get"]));
        assert!(access(&[b"set", b"a", b"1", b"Get"]));
    }
}
