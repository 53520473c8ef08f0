//! The server: how it is.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::{Answer, Context};
use crate::server::REDIS_VERSION;
use crate::store::DATABASES;

pub(super) fn time(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    c.out.array(2);
    c.out.bulk(since.as_secs().to_string().as_bytes());
    c.out.bulk(since.subsec_micros().to_string().as_bytes());
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
                ("tcp_port", c.server.settings().port().to_string()),
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
                ("maxclients", c.server.limits().clients.to_string()),
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
            let (keys, counted) = super::databases::count(c, database)?;
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
