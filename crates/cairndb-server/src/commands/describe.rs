//! Commands about commands: the table, as clients may read it.

use super::syntax::{self, Argument};
use super::table::KeySpec;
use super::{
    Answer, Command, Context, Refusal, SYNTAX, TABLE, all_rows, categories, category, find, find_row, resolve,
};
use crate::glob;

pub(super) fn command(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.out.array(TABLE.len());
    TABLE.iter().for_each(|command| row(c, command));
    Ok(())
}

pub(super) fn count(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.out.integer(TABLE.len() as i64);
    Ok(())
}

pub(super) fn info(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    if words.len() == 2 {
        return command(c, words);
    }
    c.out.array(words.len() - 2);
    for name in &words[2..] {
        match find_row(name) {
            Some(command) => row(c, command),
            None => c.out.null_array(),
        }
    }
    Ok(())
}

pub(super) fn list(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let names: Vec<&str> = match &words[2..] {
        [] => all_rows().map(|command| command.name).collect(),
        [filter, kind, value] if filter.eq_ignore_ascii_case(b"FILTERBY") => {
            let value = value.to_ascii_lowercase();
            let fits: Box<dyn Fn(&Command) -> bool> = match kind.to_ascii_uppercase().as_slice() {
                b"MODULE" => Box::new(|_| false),
                b"ACLCAT" => {
                    let wanted = category(&value);
                    Box::new(move |command| {
                        wanted.is_some_and(|wanted| categories(command).contains(&wanted))
                    })
                }
                b"PATTERN" => Box::new(move |command| glob::matches(&value, command.name.as_bytes())),
                _ => return Err(SYNTAX),
            };
            all_rows().filter(|command| fits(command)).map(|command| command.name).collect()
        }
        _ => return Err(SYNTAX),
    };
    c.out.array(names.len());
    names.iter().for_each(|name| c.out.bulk(name.as_bytes()));
    Ok(())
}

pub(super) fn docs(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let named: Vec<&Command> = match &words[2..] {
        [] => TABLE.iter().collect(),
        names => names.iter().filter_map(|name| find_row(name)).collect(),
    };
    c.out.map(named.len());
    named.into_iter().for_each(|command| tell(c, command));
    Ok(())
}

fn tell(c: &mut Context<'_>, command: &Command) {
    c.out.bulk(command.name.as_bytes());
    let arguments = syntax::arguments(command.name);
    c.out.map(3 + usize::from(!arguments.is_empty()) + usize::from(!command.subcommands.is_empty()));
    for (name, text) in [("summary", command.summary), ("since", command.since), ("group", command.group)] {
        c.out.bulk(name.as_bytes());
        c.out.bulk(text.as_bytes());
    }
    if !arguments.is_empty() {
        c.out.bulk(b"arguments");
        tell_arguments(c, &arguments, &mut 0, command.keys.len());
    }
    if !command.subcommands.is_empty() {
        c.out.bulk(b"subcommands");
        c.out.map(command.subcommands.len());
        command.subcommands.iter().for_each(|sub| tell(c, sub));
    }
}

/// `keys_told` counts the keys among them, of which each belongs to a row of the command's keys, and the last ones to the last.
fn tell_arguments(c: &mut Context<'_>, arguments: &[Argument], keys_told: &mut usize, key_specs: usize) {
    c.out.array(arguments.len());
    for Argument { name, kind, token, optional, multiple, parts } in arguments {
        let flags: Vec<&str> = [(*optional, "optional"), (*multiple, "multiple")]
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, name)| *name)
            .collect();
        let is_key = *kind == "key" && key_specs > 0;
        let more = [is_key, token.is_some(), !flags.is_empty(), !parts.is_empty()];
        c.out.map(2 + more.iter().filter(|is| **is).count());
        for (what, text) in [("name", &**name), ("type", kind)] {
            c.out.bulk(what.as_bytes());
            c.out.bulk(text.as_bytes());
        }
        if is_key {
            c.out.bulk(b"key_spec_index");
            c.out.integer((*keys_told).min(key_specs - 1) as i64);
            *keys_told += 1;
        }
        if let Some(token) = token {
            c.out.bulk(b"token");
            c.out.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            c.out.bulk(b"flags");
            c.out.set(flags.len());
            flags.iter().for_each(|flag| c.out.simple(flag));
        }
        if !parts.is_empty() {
            c.out.bulk(b"arguments");
            tell_arguments(c, parts, keys_told, key_specs);
        }
    }
}

pub(super) fn getkeys(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let asked = &words[2..];
    let command = with_keys(asked)?;
    let places: Vec<usize> = command.keys_of(asked).map(|(place, _)| place).collect();
    c.out.array(places.len());
    places.iter().for_each(|&place| c.out.bulk(asked[place]));
    Ok(())
}

pub(super) fn getkeysandflags(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let asked = &words[2..];
    let command = with_keys(asked)?;
    let keys: Vec<_> = command.keys_of(asked).collect();
    c.out.array(keys.len());
    for (place, usage) in keys {
        c.out.array(2);
        c.out.bulk(asked[place]);
        let names = usage.names();
        c.out.set(names.len());
        names.iter().for_each(|name| c.out.simple(name));
    }
    Ok(())
}

/// The command that these words are of, if it has keys.
fn with_keys(words: &[&[u8]]) -> Result<&'static Command, Refusal> {
    let named = find(words[0]).and_then(|command| match words.get(1).filter(|_| command.is_container()) {
        Some(word) => command.subcommand(word),
        None => Some(command),
    });
    let command = named.ok_or(Refusal::text("ERR Invalid command specified"))?;
    if command.keys.is_empty() {
        return Err(Refusal::text("ERR The command has no key arguments"));
    }
    resolve(words).map_err(|_| Refusal::text("ERR Invalid number of arguments specified for command"))
}

/// A command as `COMMAND INFO` shows it.
fn row(c: &mut Context<'_>, command: &Command) {
    c.out.array(10);
    c.out.bulk(command.name.as_bytes());
    c.out.integer(i64::from(command.arity));
    let flags = command.flags.names();
    c.out.set(flags.len());
    flags.iter().for_each(|flag| c.out.simple(flag));
    let (first, last, step) = command.key_range();
    for n in [first, last, step] {
        c.out.integer(n);
    }
    let categories = categories(command);
    c.out.set(categories.len());
    categories.iter().for_each(|category| c.out.simple(&format!("@{category}")));
    // Hints, of which there are none.
    c.out.set(0);
    c.out.set(command.keys.len());
    command.keys.iter().for_each(|spec| key_spec(c, spec));
    match command.subcommands.len() {
        0 => c.out.set(0),
        count => c.out.array(count),
    }
    command.subcommands.iter().for_each(|sub| row(c, sub));
}

fn key_spec(c: &mut Context<'_>, spec: &KeySpec) {
    c.out.map(3);
    c.out.bulk(b"flags");
    let mut names = spec.usage.names();
    names.extend(spec.varies.then_some("variable_flags"));
    c.out.set(names.len());
    names.iter().for_each(|name| c.out.simple(name));
    for (what, kind) in [("begin_search", "index"), ("find_keys", "range")] {
        c.out.bulk(what.as_bytes());
        c.out.map(2);
        c.out.bulk(b"type");
        c.out.bulk(kind.as_bytes());
        c.out.bulk(b"spec");
        let numbers: &[(&str, i64)] = match kind {
            "index" => &[("index", spec.first as i64)],
            _ => &[("lastkey", i64::from(spec.last)), ("keystep", spec.step as i64), ("limit", 0)],
        };
        c.out.map(numbers.len());
        for (name, n) in numbers {
            c.out.bulk(name.as_bytes());
            c.out.integer(*n);
        }
    }
}
