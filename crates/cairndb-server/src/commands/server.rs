//! The server: its commands, its configuration, and how it is.

use std::fmt::Write;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::{Answer, Command, Context, Flags, Refusal, TABLE, find, unfit_subcommand};
use crate::glob;
use crate::server::REDIS_VERSION;
use crate::store::DATABASES;

pub(super) fn time(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    c.out.array(2);
    c.out.bulk(since.as_secs().to_string().as_bytes());
    c.out.bulk(since.subsec_micros().to_string().as_bytes());
    Ok(())
}

pub(super) fn command(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let Some(sub) = words.get(1) else {
        c.out.array(TABLE.len());
        TABLE.iter().for_each(|command| row(c, command));
        return Ok(());
    };
    let names = &words[2..];
    match (sub.to_ascii_uppercase().as_slice(), names) {
        (b"COUNT", []) => c.out.integer(TABLE.len() as i64),
        (b"INFO", []) => {
            c.out.array(TABLE.len());
            TABLE.iter().for_each(|command| row(c, command));
        }
        (b"INFO", names) => {
            c.out.array(names.len());
            for name in names {
                match find(name) {
                    Some(command) => row(c, command),
                    None => c.out.null_array(),
                }
            }
        }
        (b"LIST", []) => {
            c.out.array(TABLE.len());
            TABLE.iter().for_each(|command| c.out.bulk(command.name.as_bytes()));
        }
        (b"DOCS", names) => {
            let named: Vec<&Command> = match names {
                [] => TABLE.iter().collect(),
                names => names.iter().filter_map(|name| find(name)).collect(),
            };
            c.out.map(named.len());
            for command in named {
                c.out.bulk(command.name.as_bytes());
                c.out.map(3);
                c.out.bulk(b"summary");
                c.out.bulk(command.summary.as_bytes());
                c.out.bulk(b"since");
                c.out.bulk(command.since.as_bytes());
                c.out.bulk(b"group");
                c.out.bulk(command.group.as_bytes());
            }
        }
        (b"GETKEYS", [name, ..]) => {
            let command = find(name).ok_or(Refusal::text("ERR Invalid command specified"))?;
            if command.keys.0 == 0 {
                return Err(Refusal::text("ERR The command has no key arguments"));
            }
            if !command.takes(names.len()) {
                return Err(Refusal::text("ERR Invalid number of arguments specified for command"));
            }
            let places: Vec<usize> = command.key_places(names.len()).collect();
            c.out.array(places.len());
            places.iter().for_each(|&place| c.out.bulk(names[place]));
        }
        _ => return Err(unfit_subcommand("COMMAND", sub)),
    }
    Ok(())
}

/// A command as `COMMAND INFO` shows it.
fn row(c: &mut Context<'_>, command: &Command) {
    let flags: Vec<&str> = [
        (Flags::WRITE, "write"),
        (Flags::READ, "readonly"),
        (Flags::GROWS, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::FAST, "fast"),
    ]
    .iter()
    .filter(|(flag, _)| command.flags.has(*flag))
    .map(|(_, name)| *name)
    .collect();
    let categories = categories(command);
    let (first, last, step) = command.keys;
    c.out.array(10);
    c.out.bulk(command.name.as_bytes());
    c.out.integer(i64::from(command.arity));
    c.out.set(flags.len());
    flags.iter().for_each(|flag| c.out.simple(flag));
    for n in [first, last, step] {
        c.out.integer(i64::from(n));
    }
    c.out.set(categories.len());
    categories.iter().for_each(|category| c.out.simple(&format!("@{category}")));
    c.out.array(0);
    c.out.array(0);
    c.out.array(0);
}

/// What a command belongs to, for those who allow and forbid by kind.
pub(super) fn categories(command: &Command) -> Vec<&'static str> {
    let mut categories = Vec::new();
    let flags = command.flags;
    match command.group {
        "generic" => categories.push("keyspace"),
        "transactions" => categories.push("transaction"),
        "server" => {}
        group => categories.push(group),
    }
    if flags.has(Flags::READ) {
        categories.push("read");
    }
    if flags.has(Flags::WRITE) && command.group != "transactions" {
        categories.push("write");
    }
    if flags.has(Flags::ADMIN) {
        categories.extend(["admin", "dangerous"]);
    }
    if matches!(command.name, "keys" | "flushall" | "flushdb" | "info") {
        categories.push("dangerous");
    }
    categories.push(if flags.has(Flags::FAST) { "fast" } else { "slow" });
    categories
}

pub(super) fn config(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    match (words[1].to_ascii_uppercase().as_slice(), &words[2..]) {
        (b"GET", patterns @ [_, ..]) => {
            let all = c.server.settings().shown(&c.server.events.letters());
            let fits = |name: &str| {
                patterns.iter().any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
            };
            let shown: Vec<_> = all.into_iter().filter(|(name, _)| fits(name)).collect();
            c.out.map(shown.len());
            for (name, value) in shown {
                c.out.bulk(name.as_bytes());
                c.out.bulk(value.as_bytes());
            }
        }
        (b"SET", pairs @ [_, _, ..]) if pairs.len().is_multiple_of(2) => {
            for pair in pairs.chunks(2) {
                set(c, pair[0], pair[1])?;
            }
            c.out.ok();
        }
        (b"RESETSTAT", []) => {
            c.server.counters.reset();
            c.out.ok();
        }
        _ => return Err(unfit_subcommand("CONFIG", words[1])),
    }
    Ok(())
}

fn set(c: &mut Context<'_>, name: &[u8], value: &[u8]) -> Answer {
    let failed = |name: &[u8], why: &str| {
        let name = String::from_utf8_lossy(name);
        Refusal::Text(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into())
    };
    let mut settings = c.server.settings.write().unwrap_or_else(PoisonError::into_inner);
    match name.to_ascii_lowercase().as_slice() {
        b"notify-keyspace-events" => {
            let set = c.server.events.set(value);
            set.ok_or_else(|| failed(name, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."))?;
        }
        b"requirepass" => {
            let value =
                String::from_utf8(value.to_vec()).map_err(|_| failed(name, "the password is not UTF-8"))?;
            settings.password = Some(value).filter(|value| !value.is_empty());
        }
        b"maxclients" => {
            let n =
                crate::resp::request::integer(value).and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
            settings.clients_max =
                n.ok_or_else(|| failed(name, "argument must be between 1 and 4294967295 inclusive"))?;
        }
        // What there is only one value for may be set to it; tools do.
        other => {
            let shown = settings.shown(&c.server.events.letters());
            let old = shown.iter().find(|(known, _)| known.as_bytes() == other);
            let Some((_, old)) = old else {
                let name = String::from_utf8_lossy(name);
                let told = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
                return Err(Refusal::Text(told.into()));
            };
            if old.as_bytes() != value {
                return Err(failed(name, "can't set immutable config"));
            }
        }
    }
    Ok(())
}

pub(super) fn info(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let wanted: Vec<String> =
        words[1..].iter().map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect();
    let wants = |section: &str| {
        wanted.is_empty()
            || wanted
                .iter()
                .any(|word| matches!(&**word, "all" | "default" | "everything") || word == section)
    };
    let mut text = String::new();
    let counters = &c.server.counters;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    if wants("server") {
        section(
            &mut text,
            "Server",
            &[
                ("redis_version", REDIS_VERSION.to_string()),
                ("redis_mode", "standalone".to_string()),
                ("cairn_version", env!("CARGO_PKG_VERSION").to_string()),
                ("os", std::env::consts::OS.to_string()),
                ("arch_bits", usize::BITS.to_string()),
                ("process_id", std::process::id().to_string()),
                ("tcp_port", c.server.settings().port.to_string()),
                ("uptime_in_seconds", c.server.began.elapsed().as_secs().to_string()),
                ("uptime_in_days", (c.server.began.elapsed().as_secs() / 86_400).to_string()),
            ],
        );
    }
    if wants("clients") {
        section(
            &mut text,
            "Clients",
            &[
                ("connected_clients", c.server.clients().len().to_string()),
                ("maxclients", c.server.settings().clients_max.to_string()),
                ("blocked_clients", "0".to_string()),
            ],
        );
    }
    if wants("memory") {
        let stats = c.server.store.db().stats();
        let rows: Vec<_> = stats.rows();
        let used: u64 = rows.iter().filter(|(name, _)| name.starts_with("memory")).map(|(_, n)| n).sum();
        section(&mut text, "Memory", &[("used_memory", used.to_string()), ("maxmemory", "0".to_string())]);
    }
    if wants("persistence") {
        section(
            &mut text,
            "Persistence",
            &[
                ("loading", "0".to_string()),
                ("aof_enabled", "1".to_string()),
                ("rdb_bgsave_in_progress", "0".to_string()),
            ],
        );
    }
    if wants("stats") {
        section(
            &mut text,
            "Stats",
            &[
                ("total_connections_received", count(&counters.connections).to_string()),
                ("total_commands_processed", count(&counters.commands).to_string()),
                ("total_net_input_bytes", count(&counters.bytes_in).to_string()),
                ("total_net_output_bytes", count(&counters.bytes_out).to_string()),
                ("rejected_connections", count(&counters.refused_connections).to_string()),
                ("expired_keys", count(&counters.expired).to_string()),
                ("keyspace_hits", count(&counters.hits).to_string()),
                ("keyspace_misses", count(&counters.misses).to_string()),
            ],
        );
    }
    if wants("replication") {
        section(
            &mut text,
            "Replication",
            &[("role", "master".to_string()), ("connected_slaves", "0".to_string())],
        );
    }
    if wants("cpu") {
        section(&mut text, "CPU", &[]);
    }
    if wants("cluster") {
        section(&mut text, "Cluster", &[("cluster_enabled", "0".to_string())]);
    }
    if wants("keyspace") {
        section(&mut text, "Keyspace", &[]);
        for database in 0..DATABASES {
            let (keys, counted) = super::keys::count(c, database)?;
            if keys > 0 {
                let estimated = if counted { "" } else { ",estimated=1" };
                _ = write!(text, "db{database}:keys={keys},expires=0,avg_ttl=0{estimated}\r\n");
            }
        }
    }
    if wants("engine") {
        let rows = c.server.store.db().stats().rows();
        let rows: Vec<_> = rows.into_iter().map(|(name, n)| (name, n.to_string())).collect();
        section(&mut text, "Engine", &rows);
    }
    c.out.verbatim(&text);
    Ok(())
}

fn section(text: &mut String, name: &str, rows: &[(&str, String)]) {
    if !text.is_empty() {
        text.push_str("\r\n");
    }
    _ = write!(text, "# {name}\r\n");
    for (name, value) in rows {
        _ = write!(text, "{name}:{value}\r\n");
    }
}
