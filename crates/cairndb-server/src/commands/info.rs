//! Info: how the server is, in the sections and by the names that Redis's tools know, and in one of its own.

use std::fmt::Write;

use super::{Answer, Context};
use crate::metrics::{self, Figures, Value, machine_memory_bytes};
use crate::server::{REDIS_VERSION, Server, now_ms};

/// The sections, in order, and whether they are told of without being asked for.
const SECTIONS: [(&str, bool, Tell); 14] = [
    ("Server", true, about_server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Modules", true, modules),
    ("Commandstats", false, commandstats),
    ("Errorstats", true, errorstats),
    ("Latencystats", false, latencystats),
    ("Cluster", true, cluster),
    ("Keyspace", true, keyspace),
    ("Engine", true, engine),
];

type Tell = fn(&Server, &Figures) -> Lines;

/// Names and values.
type Lines = Vec<(String, String)>;

pub(super) fn info(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let told = tell(c.server, &words[1..]);
    c.out.verbatim(&told);
    Ok(())
}

fn tell(server: &Server, wanted: &[&[u8]]) -> String {
    let asked = |name: &str| wanted.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let (all, default) = (asked("all") || asked("everything"), wanted.is_empty() || asked("default"));
    let figures = metrics::figures(server);
    let mut told = String::new();
    for (name, is_default, lines) in SECTIONS {
        if !(all || (default && is_default) || asked(name)) {
            continue;
        }
        if !told.is_empty() {
            told += "\r\n";
        }
        _ = write!(told, "# {name}\r\n");
        for (name, value) in lines(server, &figures) {
            _ = write!(told, "{name}:{value}\r\n");
        }
    }
    told
}

/// Lines of things that can be written.
macro_rules! lines {
    ($($name:literal $value:expr),* $(,)?) => { vec![$(($name.to_string(), $value.to_string())),*] };
}

fn about_server(server: &Server, figures: &Figures) -> Lines {
    let uptime = figures.whole("cairn_uptime_seconds", &[]);
    let program = std::env::current_exe().map_or_else(|_| String::new(), |path| path.display().to_string());
    lines![
        "redis_version" REDIS_VERSION,
        "redis_git_sha1" "00000000",
        "redis_git_dirty" 0,
        "redis_mode" "standalone",
        "cairn_version" env!("CARGO_PKG_VERSION"),
        "os" std::env::consts::OS,
        "arch_bits" usize::BITS,
        "process_id" std::process::id(),
        "run_id" server.run_id,
        "tcp_port" server.settings().port(),
        "server_time_usec" now_ms() * 1_000,
        "uptime_in_seconds" uptime,
        "uptime_in_days" uptime / 86_400,
        "hz" 10,
        "executable" program,
        "config_file" "",
    ]
}

fn clients(_: &Server, figures: &Figures) -> Lines {
    lines![
        "connected_clients" figures.whole("cairn_clients", &[]),
        "cluster_connections" 0,
        "maxclients" figures.whole("cairn_clients_max", &[]),
        "blocked_clients" 0,
        "tracking_clients" 0,
        "clients_in_timeout_table" 0,
    ]
}

/// Memory in use is the engine's, which has a budget. There is no limit to data, so `maxmemory` is 0.
fn memory(_: &Server, figures: &Figures) -> Lines {
    let used = figures.whole("cairn_memory_bytes", &[]);
    let resident = figures.whole("process_resident_memory_bytes", &[]);
    let peak = figures.whole("process_resident_memory_max_bytes", &[]);
    let machine = machine_memory_bytes();
    lines![
        "used_memory" used,
        "used_memory_human" human(used),
        "used_memory_rss" resident,
        "used_memory_rss_human" human(resident),
        "used_memory_peak" peak,
        "used_memory_peak_human" human(peak),
        "used_memory_dataset" figures.whole("cairn_memory_bytes", &["memtables"]),
        "total_system_memory" machine,
        "total_system_memory_human" human(machine),
        "maxmemory" 0,
        "maxmemory_human" human(0),
        "maxmemory_policy" "noeviction",
        "mem_fragmentation_ratio" format_args!("{:.2}", resident as f64 / used.max(1) as f64),
        "mem_allocator" "system",
    ]
}

fn persistence(server: &Server, figures: &Figures) -> Lines {
    let status = if figures.whole("cairn_stopped", &[]) > 0 { "err" } else { "ok" };
    lines![
        "loading" 0,
        "async_loading" 0,
        "rdb_changes_since_last_save" 0,
        "rdb_bgsave_in_progress" u8::from(server.backups.is_running()),
        "rdb_last_save_time" server.backups.last_s(),
        "rdb_last_bgsave_status" if server.backups.last_failed() { "err" } else { "ok" },
        "aof_enabled" 1,
        "aof_rewrite_in_progress" 0,
        "aof_rewrite_scheduled" 0,
        "aof_last_bgrewrite_status" "ok",
        "aof_last_write_status" status,
    ]
}

fn stats(_: &Server, figures: &Figures) -> Lines {
    let whole = |name| figures.whole(name, &[]);
    let kilobytes = |name| format!("{:.2}", figures.number(name, &[]) / 1024.0);
    lines![
        "total_connections_received" whole("cairn_connections_total"),
        "total_commands_processed" whole("cairn_command_seconds"),
        "instantaneous_ops_per_sec" figures.number("cairn_commands_per_second", &[]).round(),
        "total_net_input_bytes" whole("cairn_received_bytes_total"),
        "total_net_output_bytes" whole("cairn_sent_bytes_total"),
        "instantaneous_input_kbps" kilobytes("cairn_received_bytes_per_second"),
        "instantaneous_output_kbps" kilobytes("cairn_sent_bytes_per_second"),
        "rejected_connections" whole("cairn_connections_refused_total"),
        "sync_full" 0,
        "sync_partial_ok" 0,
        "sync_partial_err" 0,
        "expired_keys" whole("cairn_expired_keys_total"),
        "evicted_keys" 0,
        "keyspace_hits" figures.whole("cairn_keyspace_reads_total", &["hit"]),
        "keyspace_misses" figures.whole("cairn_keyspace_reads_total", &["miss"]),
        "pubsub_channels" whole("cairn_channels"),
        "pubsub_patterns" whole("cairn_patterns"),
        "total_error_replies" whole("cairn_error_replies_total"),
    ]
}

fn replication(server: &Server, _: &Figures) -> Lines {
    lines![
        "role" "master",
        "connected_slaves" 0,
        "master_failover_state" "no-failover",
        "master_replid" server.run_id,
        "master_replid2" "0".repeat(40),
        "master_repl_offset" 0,
        "second_repl_offset" -1,
        "repl_backlog_active" 0,
        "repl_backlog_size" 0,
        "repl_backlog_first_byte_offset" 0,
        "repl_backlog_histlen" 0,
    ]
}

fn cpu(_: &Server, figures: &Figures) -> Lines {
    let seconds = |mode| format!("{:.6}", figures.number("process_cpu_seconds_total", &[mode]));
    lines!["used_cpu_sys" seconds("system"), "used_cpu_user" seconds("user")]
}

fn modules(_: &Server, _: &Figures) -> Lines {
    Vec::new()
}

fn commandstats(_: &Server, figures: &Figures) -> Lines {
    let runs = figures.samples("cairn_command_seconds").filter_map(|sample| match &sample.value {
        Value::Spread(spread) => Some((sample.labels.first()?, spread)),
        _ => None,
    });
    runs.map(|(command, spread)| {
        let usec = spread.sum / 1_000;
        let usec_per_call = spread.sum as f64 / 1_000.0 / spread.count.max(1) as f64;
        let refused = figures.whole("cairn_commands_refused_total", &[command]);
        let failed = figures.whole("cairn_commands_failed_total", &[command]);
        let told = format!(
            "calls={},usec={usec},usec_per_call={usec_per_call:.2},rejected_calls={refused},failed_calls={failed}",
            spread.count
        );
        (format!("cmdstat_{command}"), told)
    })
    .collect()
}

fn errorstats(_: &Server, figures: &Figures) -> Lines {
    let errors = figures.samples("cairn_error_replies_total");
    errors
        .filter_map(|sample| {
            let code = sample.labels.first()?;
            let count = figures.whole("cairn_error_replies_total", &[code]);
            Some((format!("errorstat_{code}"), format!("count={count}")))
        })
        .collect()
}

fn latencystats(_: &Server, figures: &Figures) -> Lines {
    let runs = figures.samples("cairn_command_seconds").filter_map(|sample| match &sample.value {
        Value::Spread(spread) if spread.count > 0 => Some((sample.labels.first()?, spread)),
        _ => None,
    });
    runs.map(|(command, spread)| {
        let usec = |share| spread.quantile(share) / 1_000.0;
        let told = format!("p50={:.3},p99={:.3},p99.9={:.3}", usec(0.5), usec(0.99), usec(0.999));
        (format!("latency_percentiles_usec_{command}"), told)
    })
    .collect()
}

fn cluster(_: &Server, _: &Figures) -> Lines {
    lines!["cluster_enabled" 0]
}

fn keyspace(_: &Server, figures: &Figures) -> Lines {
    let keys = figures.samples("cairn_keys").filter_map(|sample| sample.labels.first());
    keys.map(|database| {
        let of = |name| figures.whole(name, &[database]);
        let estimated = if of("cairn_keys_estimated") > 0 { ",estimated=1" } else { "" };
        let (keys, expiring) = (of("cairn_keys"), of("cairn_keys_expiring"));
        (format!("db{database}"), format!("keys={keys},expires={expiring},avg_ttl=0{estimated}"))
    })
    .collect()
}

fn engine(_: &Server, figures: &Figures) -> Lines {
    // The commands have sections of their own.
    figures.lines().into_iter().filter(|(name, _)| !name.starts_with("command_seconds_")).collect()
}

/// Bytes as Redis writes them for people.
fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, letter)) => format!("{:.2}{letter}", bytes as f64 / *unit as f64),
        None => format!("{bytes}B"),
    }
}
