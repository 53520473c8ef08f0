//! What `INFO` tells, and that it is true.

use std::collections::BTreeMap;

use crate::Served;
use crate::client::{Client, Reply};

/// What a section tells, by name.
fn info(client: &mut Client, sections: &str) -> BTreeMap<String, String> {
    let text = text(client.line(&format!("INFO {sections}")));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} has no name"));
            (name.to_string(), value.to_string())
        })
        .collect()
}

fn text(reply: Reply) -> String {
    match reply {
        Reply::Bulk(_, Some(bytes)) => String::from_utf8(bytes).expect("text"),
        other => panic!("{other} is no text"),
    }
}

fn sections(client: &mut Client, wanted: &str) -> Vec<String> {
    let text = text(client.line(wanted));
    text.lines().filter_map(|line| line.strip_prefix("# ").map(str::to_string)).collect()
}

#[test]
fn sections_are_told_as_they_are_asked_for() {
    let served = Served::new();
    let mut client = served.client();
    let default = [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Errorstats",
        "Cluster",
        "Keyspace",
        "Engine",
    ];
    assert_eq!(sections(&mut client, "INFO"), default);
    assert_eq!(sections(&mut client, "INFO default"), default);
    let all = sections(&mut client, "INFO ALL");
    assert_eq!(all.len(), 14);
    assert_eq!(sections(&mut client, "INFO everything"), all);
    assert_eq!(sections(&mut client, "INFO cpu SERVER"), ["Server", "CPU"]);
    assert_eq!(sections(&mut client, "INFO default commandstats").len(), 13);
    assert!(sections(&mut client, "INFO nothing").is_empty());
}

#[test]
fn what_tools_read_is_there() {
    let served = Served::new();
    let mut client = served.client();
    let told = info(&mut client, "ALL");
    for (name, value) in [
        ("redis_version", "7.0.15"),
        ("redis_mode", "standalone"),
        ("loading", "0"),
        ("role", "master"),
        ("connected_slaves", "0"),
        ("connected_clients", "1"),
        ("maxmemory", "0"),
        ("aof_last_write_status", "ok"),
        ("cluster_enabled", "0"),
        ("evicted_keys", "0"),
        ("stopped", "0"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
    }
    for name in [
        "used_memory",
        "used_memory_rss",
        "uptime_in_seconds",
        "instantaneous_ops_per_sec",
        "used_cpu_sys",
        "total_net_input_bytes",
        "mem_fragmentation_ratio",
        "process_id",
        "sync_seconds_wal_p99",
        "level_score_0",
        "checkpoint_wal",
    ] {
        let value = told.get(name).unwrap_or_else(|| panic!("{name} is not told"));
        assert!(value.parse::<f64>().is_ok_and(|n| n >= 0.0), "{name}:{value}");
    }
    assert_eq!(told["run_id"].len(), 40);
}

#[test]
fn commands_keys_and_errors_are_counted() {
    let served = Served::new();
    let mut client = served.client();
    for line in [
        "SET a 1",
        "SET b 2",
        "SET soon 3 PX 60000",
        "GET a",
        "GET a",
        "GET missing",
        "MGET a missing",
        "INCR a",
        "EXISTS a b missing",
        "SETRANGE a 4294967296 x",
        "GET",
        "NOTHING",
        "SELECT 3",
        "SET far x",
        "SELECT 0",
        "MULTI",
        "GET a",
        "SET b 3",
        "EXEC",
    ] {
        client.line(line);
    }
    let told = info(&mut client, "ALL");
    assert_eq!(told["db0"], "keys=3,expires=1,avg_ttl=0");
    assert_eq!(told["db3"], "keys=1,expires=0,avg_ttl=0");
    // GET three times, MGET of two, EXISTS of three, and GET within the transaction: found but for three.
    assert_eq!((&*told["keyspace_hits"], &*told["keyspace_misses"]), ("6", "3"));
    assert!(told["cmdstat_get"].starts_with("calls=4,usec="), "{}", told["cmdstat_get"]);
    assert!(told["cmdstat_set"].starts_with("calls=5,"), "{}", told["cmdstat_set"]);
    assert!(told["cmdstat_setrange"].ends_with("failed_calls=1"), "{}", told["cmdstat_setrange"]);
    assert!(told["latency_percentiles_usec_get"].starts_with("p50="));
    assert_eq!(told["errorstat_ERR"], "count=3");
    assert_eq!(told["total_error_replies"], "3");
    // A command is counted once it has run, and this one still runs.
    assert_eq!(told["total_commands_processed"], "17");
    assert!(told["turn_commands_count"].parse::<u64>().expect("a number") >= 6);

    client.line("CONFIG GET port");
    assert!(info(&mut client, "commandstats")["cmdstat_config|get"].starts_with("calls=1,"));
    client.line("CONFIG RESETSTAT");
    let told = info(&mut client, "ALL");
    assert!(!told.contains_key("cmdstat_get") && !told.contains_key("errorstat_ERR"));
    assert_eq!(told["keyspace_hits"], "0");
}

#[test]
fn a_pipeline_shares_a_turn() {
    let served = Served::new();
    let mut client = served.client();
    client.send_raw(&b"SET key value\r\n".repeat(100));
    (0..100).for_each(|_| assert_eq!(client.reply().to_string(), "+OK"));
    let told = info(&mut client, "engine");
    assert_eq!((&*told["turn_commands_count"], &*told["turn_commands_sum"]), ("1", "100"));
    assert_eq!(told["turn_entries_sum"], "100");
    assert_eq!(told["reply_seconds_count"], "1");
}

/// As redis_exporter does.
#[test]
fn an_exporter_is_answered() {
    let served = Served::new();
    let mut client = served.client();
    assert_eq!(client.line("CLIENT SETNAME redis_exporter").to_string(), "+OK");
    match client.line("CONFIG GET *") {
        Reply::Many(b'*', Some(words)) => assert!(words.len() >= 20 && words.len().is_multiple_of(2)),
        other => panic!("{other}"),
    }
    assert!(info(&mut client, "ALL").len() > 100);
}
