use std::collections::BTreeMap;

use cairndb::storage::Memory;
use serde_json::Value as Json;

use super::figures::{Figure, Kind};
use super::*;
use crate::commands::resolve;
use crate::settings::{Config, Limits};

/// A server over a database in memory, that has done a little of everything.
fn server() -> Server {
    let meter = Arc::new(StorageMeter::default());
    let storage = Timed::new(Memory::default(), meter.clone());
    let db = cairndb::Options::default().open_storage(Arc::new(storage)).expect("memory opens");
    let limits = Limits { clients: 10, ..Limits::default() };
    let settings = Config { limits, ..Config::default() };
    let server = Server::new(db.clone(), meter, settings).expect("keyspaces are there");
    for n in 0..1_000 {
        db.put(format!("key {n}"), "value").expect("memory takes it");
    }
    db.flush().expect("memory takes it");
    db.put_with_expiry("expiring", "value", u64::MAX).expect("memory takes it");
    let asked: [(&[&[u8]], u64); 4] = [
        (&[b"get", b"a"], 800),
        (&[b"get", b"a"], 1_600),
        (&[b"set", b"a", b"1"], 70_000),
        (&[b"config", b"get", b"*"], 3_000_000_000),
    ];
    for (words, took_ns) in asked {
        let command = resolve(words).expect("it is in the table");
        server.counters.command(command).runs_ns.observe(took_ns);
    }
    server.counters.error("WRONGTYPE Operation against a key");
    server.counters.error("ERR syntax error");
    server.counters.error("not a code");
    server.counters.looked_up(3, 2);
    server.counters.replies_ns.observe(5_000);
    server.store.turns.commands.observe(3);
    server.counters.http_request(&Method::GET, StatusCode::OK, Duration::from_micros(40));
    server.counters.http_request(&Method::PATCH, StatusCode::METHOD_NOT_ALLOWED, Duration::from_micros(9));
    server
}

/// What Prometheus reads: numbers by name and labels, as they are written.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let value = value.parse().unwrap_or_else(|_| panic!("{line} ends in no number"));
            (told_alike(name), value)
        })
        .collect()
}

/// The two formats differ in the order of labels, and in how they write the ends of buckets.
fn told_alike(name: &str) -> String {
    let Some((name, labels)) = name.split_once('{') else { return name.to_string() };
    let mut labels: Vec<String> = labels
        .trim_end_matches('}')
        .split(',')
        .map(|label| match label.strip_prefix("le=\"") {
            Some(end) => {
                format!("le=\"{}\"", end.trim_end_matches('"').parse::<f64>().expect("a bucket's end"))
            }
            None => label.to_string(),
        })
        .collect();
    labels.sort();
    format!("{name}{{{}}}", labels.join(","))
}

/// The name under which [`parsed`] has a sample.
fn prometheus_name(figure: &str, ending: &str, labels: &[(&str, &str)]) -> String {
    let mut labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    labels.sort();
    match labels.as_slice() {
        [] => format!("{figure}{ending}"),
        labels => format!("{figure}{ending}{{{}}}", labels.join(",")),
    }
}

#[test]
fn the_same_numbers_stand_in_all_formats() {
    let figures = figures(&server());
    let prometheus = parsed(&figures.clone().prometheus());
    let open_metrics = parsed(figures.clone().open_metrics().strip_suffix("# EOF\n").expect("an end"));
    let json = figures.json();
    let lines: BTreeMap<String, String> = figures.lines().into_iter().collect();
    assert_eq!(lines.len(), figures.lines().len(), "two numbers have one name in INFO");
    assert!(prometheus == open_metrics, "{prometheus:#?}\n{open_metrics:#?}");

    let mut compared = 0;
    let mut compare = |name: &str, labels: &[(&str, &str)], info: &str, shown: &Json| {
        let mut same = |ending: &str, shown: &Json| {
            let name = prometheus_name(name, ending, labels);
            let shown = shown.as_f64().unwrap_or_else(|| panic!("{name} is no number in JSON"));
            assert_eq!(prometheus.get(&name), Some(&shown), "{name}");
            let told = &lines[&format!("{info}{ending}")];
            assert_eq!(told.parse::<f64>().expect("a number"), shown, "{name} in INFO");
            compared += 1;
        };
        if shown.is_object() {
            same("_count", &shown["count"]);
            same("_sum", &shown["sum"]);
            for bucket in shown["buckets"].as_array().expect("steps") {
                let end = bucket[0].as_f64().expect("a number").to_string();
                let labels = [labels, &[("le", end.as_str())]].concat();
                let name = prometheus_name(name, "_bucket", &labels);
                assert_eq!(prometheus.get(&name).copied(), bucket[1].as_f64(), "{name}");
            }
        } else {
            same("", shown);
        }
    };
    for figure in &figures.list {
        let shown = &json[figure.name.as_ref()];
        let info = figure.name.trim_start_matches("cairn_");
        if figure.labels.is_empty() {
            compare(&figure.name, &[], info, shown);
        }
        for (sample, shown) in figure.samples.iter().zip(shown.as_array().into_iter().flatten()) {
            let labels: Vec<(&str, &str)> =
                figure.labels.iter().copied().zip(sample.labels.iter().map(AsRef::as_ref)).collect();
            for (label, value) in &labels {
                assert_eq!(shown[label], *value, "{}", figure.name);
            }
            let info = format!("{info}_{}", sample.labels.join("_"));
            compare(&figure.name, &labels, &info, &shown["value"]);
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn what_was_done_is_what_is_told() {
    let figures = figures(&server());
    assert_eq!(figures.whole("cairn_command_seconds", &["get"]), 2);
    assert_eq!(figures.whole("cairn_command_seconds", &[]), 4);
    assert_eq!(figures.whole("cairn_error_replies_total", &["ERR"]), 2);
    assert_eq!(figures.whole("cairn_keyspace_reads_total", &["hit"]), 2);
    assert_eq!(figures.whole("cairn_keyspace_reads_total", &["miss"]), 1);
    assert_eq!(figures.whole("cairn_keys", &["0"]), 1_001);
    assert_eq!(figures.whole("cairn_keys_expiring", &["0"]), 1);
    assert_eq!(figures.whole("cairn_keys_estimated", &["0"]), 0);
    assert_eq!(figures.whole("cairn_seq", &[]), 1_001);
    assert_eq!(figures.whole("cairn_level_files", &[]), 1);
    assert_eq!(figures.whole("cairn_level_entries", &["0"]), 1_000);
    assert_eq!(figures.number("cairn_level_score", &["0"]), 0.25);
    assert!(figures.whole("cairn_sync_seconds", &["wal"]) >= 1_000, "each write was synced");
    let table_bytes = figures.whole("cairn_file_written_bytes_total", &["sst"]);
    assert_eq!(table_bytes, figures.whole("cairn_disk_bytes", &[]));
    let written = figures.whole("cairn_file_written_bytes_total", &[]);
    let ratio = written as f64 / figures.number("cairn_batch_written_bytes_total", &[]);
    assert_eq!(figures.number("cairn_write_amplification_ratio", &[]), ratio);
    assert!(ratio > 1.0);
    assert_eq!(figures.number("cairn_space_amplification_ratio", &[]), 1.0);
    assert_eq!(figures.whole("cairn_read_amplification_runs", &[]), 1);
}

#[test]
fn every_command_is_counted_by_itself() {
    let server = server();
    server.counters.reset();
    let rows: Vec<_> = rows_of_commands().collect();
    for (n, command) in rows.iter().enumerate() {
        server.counters.command(command).failed.fetch_add(n as u64 + 1, Ordering::Relaxed);
    }
    for (n, command) in rows.iter().enumerate() {
        assert_eq!(
            server.counters.command(command).failed.load(Ordering::Relaxed),
            n as u64 + 1,
            "{}",
            command.name
        );
    }
    assert!(rows.len() > TABLE.len(), "subcommands are among them");
}

#[test]
fn a_reset_begins_anew() {
    let server = server();
    server.counters.reset();
    server.store.turns.reset();
    let figures = figures(&server);
    for name in ["cairn_command_seconds", "cairn_error_replies_total", "cairn_keyspace_reads_total"] {
        assert_eq!(figures.whole(name, &[]), 0, "{name}");
    }
    assert_eq!(figures.whole("cairn_turn_commands", &[]), 0);
}

#[test]
fn names_are_as_prometheus_wants_them() {
    for figure in figures(&server()).list {
        let Figure { name, kind, help, .. } = &figure;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(
            name.chars().all(fits) && (name.starts_with("cairn_") || name.starts_with("process_")),
            "{name}"
        );
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(*kind != Kind::Seconds || name.ends_with("_seconds"), "{name}");
        assert!(!name.ends_with("_ms") && !help.is_empty() && !help.ends_with('.'), "{name}: {help}");
        assert!(!figure.samples.iter().any(|sample| sample.labels.len() != figure.labels.len()), "{name}");
    }
}

#[test]
fn every_number_of_the_engine_has_a_name_of_its_own() {
    let known = figures::rows();
    for (row, _) in cairndb::Stats::default().rows() {
        assert!(known.contains(&row), "the engine counts {row}, and metrics/figures.rs does not name it");
    }
}

/// The document lists what there is. `CAIRN_DOCS=write` writes it.
#[test]
fn the_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let page = figures(&server()).page();
    if std::env::var("CAIRN_DOCS").is_ok_and(|mode| mode == "write") {
        std::fs::write(path, page).expect("the documents can be written");
        return;
    }
    let written = std::fs::read_to_string(path).expect("docs/metrics.md is there");
    assert!(written == page, "docs/metrics.md is out of date: CAIRN_DOCS=write writes it");
}
