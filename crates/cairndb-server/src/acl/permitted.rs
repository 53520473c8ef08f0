//! Permitted: the set of commands that a user may run, and the shortest list of rules that makes it.

use std::collections::HashSet;

use crate::commands::{self, Command, Flags};

/// Some commands.
#[derive(Clone)]
pub(super) struct Permitted {
    /// Whether it began with all, or with none.
    all: bool,
    /// What was changed since, in order; none that a later one undoes.
    rules: Vec<Rule>,
    /// What follows: the rows' names.
    names: HashSet<&'static str>,
}

#[derive(Clone, Copy)]
struct Rule {
    allows: bool,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Category(&'static str),
    Row(&'static Command),
}

impl Permitted {
    pub(super) fn all() -> Permitted {
        Permitted { all: true, rules: Vec::new(), names: commands::all_rows().map(|row| row.name).collect() }
    }

    pub(super) fn none() -> Permitted {
        Permitted { all: false, rules: Vec::new(), names: HashSet::new() }
    }

    pub(super) fn has(&self, command: &Command) -> bool {
        (self.all && self.rules.is_empty())
            || command.flags.has(Flags::NO_AUTH)
            || self.names.contains(command.name)
    }

    /// Allows or forbids a command, a subcommand (`config|get`) or a category (`@read`); `None` if there is none of that
    /// name.
    pub(super) fn change(&mut self, allows: bool, name: &[u8]) -> Option<()> {
        let what = match name.strip_prefix(b"@") {
            Some(all) if all.eq_ignore_ascii_case(b"all") => {
                *self = if allows { Permitted::all() } else { Permitted::none() };
                return Some(());
            }
            Some(category) => What::Category(commands::category(category)?),
            None => What::Row(commands::find_row(name)?),
        };
        let rule = Rule { allows, what };
        rule.apply(&mut self.names);
        // What this rule covers altogether was said in vain; and so is this rule, if nothing else said otherwise.
        self.rules.retain(|old| !what.covers_all_of(old.what));
        if self.follow() != self.names {
            self.rules.push(rule);
        }
        Some(())
    }

    /// The set that the rules make.
    fn follow(&self) -> HashSet<&'static str> {
        let mut names = if self.all { Permitted::all().names } else { HashSet::new() };
        self.rules.iter().for_each(|rule| rule.apply(&mut names));
        names
    }

    /// The rules, with a blank between them.
    pub(super) fn rules(&self) -> String {
        let mut text = String::from(if self.all { "+@all" } else { "-@all" });
        for Rule { allows, what } in &self.rules {
            text += if *allows { " +" } else { " -" };
            match what {
                What::Category(name) => {
                    text += "@";
                    text += name;
                }
                What::Row(row) => text += row.name,
            }
        }
        text
    }
}

impl Rule {
    fn apply(self, names: &mut HashSet<&'static str>) {
        for row in commands::all_rows().filter(|row| self.what.covers(row)) {
            if self.allows {
                names.insert(row.name);
            } else {
                names.remove(row.name);
            }
        }
    }
}

impl What {
    /// A command is covered by its category and by itself, and with a command its subcommands.
    fn covers(self, row: &Command) -> bool {
        match self {
            What::Category(name) => commands::categories(row).contains(&name),
            What::Row(own) => row.name == own.name || own.subcommands.iter().any(|sub| sub.name == row.name),
        }
    }

    fn covers_all_of(self, other: What) -> bool {
        commands::all_rows().filter(|row| other.covers(row)).all(|row| self.covers(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What redis-server 7.0 tells after the same.
    #[test]
    fn rules_are_told_without_those_that_were_said_in_vain() {
        for (said, told) in [
            ("", "-@all"),
            ("+@all", "+@all"),
            ("+get -@all +get", "-@all +get"),
            ("+@all -@all +@read -get +set", "-@all +@read -get +set"),
            ("+@all -config +config|get", "+@all -config +config|get"),
            ("-config|set +@all -config|set +config|set -config|get", "+@all -config|get"),
            ("+config|get +config|set -config", "-@all"),
            ("+config|get +config", "-@all +config"),
            ("+@all +GET -@READ", "+@all -@read"),
            ("+@set", "-@all"),
        ] {
            let mut permitted = Permitted::none();
            for rule in said.split_whitespace() {
                permitted.change(rule.starts_with('+'), &rule.as_bytes()[1..]).expect("it is there");
            }
            assert_eq!(permitted.rules(), told, "{said}");
        }
    }

    #[test]
    fn the_rules_make_the_same_set_again() {
        let said = [
            "+@read",
            "-get",
            "+@string",
            "-@write",
            "+config",
            "-config|set",
            "+@keyspace",
            "-@dangerous",
            "+keys",
        ];
        let mut permitted = Permitted::none();
        for rule in said {
            permitted.change(rule.starts_with('+'), &rule.as_bytes()[1..]).expect("it is there");
            assert_eq!(permitted.follow(), permitted.names, "after {rule}");
        }
        assert!(permitted.names.contains("keys") && !permitted.names.contains("flushall"));
    }
}
