//! Figures: the list of all that is measured, by name, as it is now.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::storage::FileKind;

use super::usage::Usage;
use super::{Distribution, Spread, rows_of_commands};
use crate::pubsub::Kind as Subscription;
use crate::server::Server;

/// One figure: a number, or one for each value of its labels.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    pub(crate) labels: &'static [&'static str],
    pub(crate) samples: Vec<Sample>,
}

/// What may happen to a figure, and what its distribution is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only rises, until the server starts anew.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How long something took, each time; held in nanoseconds and shown in seconds.
    Seconds,
    /// How many of something there were, each time.
    Counts,
}

#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The value of each of the figure's labels.
    pub(crate) labels: Vec<Cow<'static, str>>,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Whole(u64),
    Real(f64),
    Spread(Spread),
}

/// All figures at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) list: Vec<Figure>,
    /// What is no number: why writing stopped, why maintenance failed. Empty where nothing has.
    pub(crate) texts: Vec<(&'static str, String)>,
}

/// How a number of the engine's is shown: the name of its row there, the figure and the label it becomes, and what it is.
type Row = (&'static str, &'static str, &'static str, Kind, &'static str);

/// The label that tells the parts of a figure apart; all figures of the engine's that have parts have one.
const PARTS: [(&str, &[&str]); 4] = [
    ("cairn_memory_bytes", &["part"]),
    ("cairn_cache_reads_total", &["result"]),
    ("cairn_stalls_total", &["cause"]),
    ("cairn_filter_answers_total", &["answer"]),
];

use Kind::{Counter, Gauge};

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("seq", "cairn_seq", "", Gauge, "Sequence number of the last write that reads see"),
    ("writes", "cairn_batches_written_total", "", Counter, "Batches written"),
    ("entries_written", "cairn_entries_written_total", "", Counter, "Entries written"),
    ("bytes_written", "cairn_batch_written_bytes_total", "", Counter, "Bytes of the batches written, as they stand in the log"),
    ("groups", "cairn_groups_total", "", Counter, "Groups in which the engine committed batches"),
    ("wal_syncs", "cairn_groups_synced_total", "", Counter, "Groups that were synced before they were acknowledged"),
    ("memtable_bytes", "cairn_memory_bytes", "memtables", Gauge, "Memory that the engine takes, by part; both together stay within the budget"),
    ("cache_bytes", "cairn_memory_bytes", "cache", Gauge, ""),
    ("memory_budget_bytes", "cairn_memory_budget_bytes", "", Gauge, "What memtables and cache together may take"),
    ("memtable_entries", "cairn_memtable_entries", "", Gauge, "Entries in memtables"),
    ("cache_hits", "cairn_cache_reads_total", "hit", Counter, "Blocks, indexes and filters that were looked for in the cache"),
    ("cache_misses", "cairn_cache_reads_total", "miss", Counter, ""),
    ("filter_passed_over", "cairn_filter_answers_total", "absent", Counter, "Tables that did not hold a key that was looked for, by what their filters said: that they do not, and the look was saved, or, falsely, that they may"),
    ("filter_let_through", "cairn_filter_answers_total", "false_positive", Counter, ""),
    ("stalls_memory", "cairn_stalls_total", "memory", Counter, "Times a writer had to wait for maintenance, by cause: full memtables, too many runs in level 0, or, for one step only, many of them"),
    ("stalls_level_0", "cairn_stalls_total", "level_0", Counter, ""),
    ("slowdowns_level_0", "cairn_stalls_total", "level_0_slow", Counter, ""),
    ("flushes", "cairn_flushes_total", "", Counter, "Memtables flushed to tables"),
    ("compactions", "cairn_compactions_total", "", Counter, "Compactions finished"),
    ("table_bytes_written", "cairn_table_written_bytes_total", "", Counter, "Bytes that flushes and compactions have written"),
    ("disk_bytes", "cairn_disk_bytes", "", Gauge, "What tables take on disk"),
    ("pinned_bytes", "cairn_pinned_bytes", "", Gauge, "Bytes of dropped tables that only long readers still hold"),
    ("reserve_bytes", "cairn_reserve_bytes", "", Gauge, "Room that is held for the time when the disk has none"),
    ("reserve_uses", "cairn_reserve_uses_total", "", Counter, "Times that room was given up, because a flush or compaction met a full disk"),
    ("removes_failed", "cairn_file_removes_failed_total", "", Counter, "Files that could not be removed"),
    ("changes_bytes", "cairn_changes_kept_bytes", "", Gauge, "Bytes of logs that recovery does not need and that are kept for their changes"),
    ("oldest_change_seq", "cairn_oldest_change_seq", "", Gauge, "First sequence number whose change can be read"),
    ("checkpoint_wal", "cairn_checkpoint_wal", "", Gauge, "Number of the first log that recovery needs"),
    ("checkpoint_seq", "cairn_checkpoint_seq", "", Gauge, "First sequence number in that log"),
    ("snapshots", "cairn_snapshots", "", Gauge, "Snapshots held"),
    ("iterators", "cairn_iterators", "", Gauge, "Scans and cursors open"),
    ("oldest_reader_ms", "cairn_oldest_reader_seconds", "", Gauge, "How long the oldest snapshot, scan or cursor has been held"),
];

/// The list, as it is now.
pub(crate) fn figures(server: &Server) -> Figures {
    let mut figures = Figures::default();
    figures.add_process(server);
    figures.add_clients(server);
    figures.add_commands(server);
    figures.add_http(server);
    figures.add_keys(server);
    figures.add_turns(server);
    figures.add_storage(server);
    figures.add_engine(&server.store.db().stats(), server);
    figures
}

impl Figures {
    /// The value of a figure; of one with labels, the sum over all that begin with these; 0 if there is none.
    pub(crate) fn number(&self, name: &str, labels: &[&str]) -> f64 {
        self.samples(name)
            .filter(|sample| sample.labels.iter().zip(labels).all(|(has, wanted)| has == wanted))
            .map(|sample| match &sample.value {
                Value::Whole(n) => *n as f64,
                Value::Real(n) => *n,
                Value::Spread(spread) => spread.count as f64,
            })
            .sum()
    }

    /// [`Figures::number`] of what counts things or bytes.
    pub(crate) fn whole(&self, name: &str, labels: &[&str]) -> u64 {
        self.number(name, labels) as u64
    }

    pub(crate) fn samples(&self, name: &str) -> impl Iterator<Item = &Sample> {
        let named = self.list.iter().find(|figure| figure.name == name);
        debug_assert!(named.is_some(), "there is no figure {name}");
        named.into_iter().flat_map(|figure| &figure.samples)
    }

    fn add_process(&mut self, server: &Server) {
        let usage = Usage::now();
        let version = labelled(env!("CARGO_PKG_VERSION"), Value::Whole(1));
        self.family("cairn_build_info", Gauge, "The version that runs", &["version"], vec![version]);
        let uptime = Value::Real(server.began.elapsed().as_secs_f64());
        self.one("cairn_uptime_seconds", Gauge, "How long the server has run", uptime);
        let cpu = vec![
            labelled("user", Value::Real(usage.cpu_user_seconds)),
            labelled("system", Value::Real(usage.cpu_system_seconds)),
        ];
        self.family("process_cpu_seconds_total", Counter, "Processor time, by mode", &["mode"], cpu);
        for (name, help, n) in [
            ("process_resident_memory_bytes", "Memory of the whole process", usage.resident_bytes),
            ("process_resident_memory_max_bytes", "The most it has been", usage.resident_bytes_max),
            ("process_open_fds", "Files and sockets open", usage.open_files),
            ("process_max_fds", "How many the system allows", usage.open_files_max),
            ("process_threads", "Threads", usage.threads),
        ] {
            self.one(name, Gauge, help, Value::Whole(n));
        }
    }

    fn add_clients(&mut self, server: &Server) {
        let counters = &server.counters;
        let clients = server.clients();
        let count = |kind| Value::Whole(server.channels.count(kind) as u64);
        self.one("cairn_clients", Gauge, "Clients of the Redis protocol", Value::Whole(clients.len() as u64));
        let clients_max = server.limits().clients as u64;
        self.one("cairn_clients_max", Gauge, "How many there may be", Value::Whole(clients_max));
        self.count("cairn_connections_total", "Connections taken from them", &counters.connections);
        self.count(
            "cairn_connections_refused_total",
            "Connections refused because there were too many",
            &counters.refused_connections,
        );
        self.count("cairn_received_bytes_total", "Bytes received from them", &counters.bytes_in);
        self.count("cairn_sent_bytes_total", "Bytes sent to them", &counters.bytes_out);
        self.one("cairn_channels", Gauge, "Channels that somebody listens to", count(Subscription::Channel));
        self.one(
            "cairn_patterns",
            Gauge,
            "Patterns of channels that somebody listens to",
            count(Subscription::Pattern),
        );
    }

    fn add_commands(&mut self, server: &Server) {
        let counters = &server.counters;
        let rates = counters.rates();
        for (name, help, rate) in [
            (
                "cairn_commands_per_second",
                "Commands run in a second, over the last one and a half",
                rates.commands,
            ),
            (
                "cairn_received_bytes_per_second",
                "Bytes received in a second, over the same time",
                rates.bytes_in,
            ),
            ("cairn_sent_bytes_per_second", "Bytes sent in a second, over the same time", rates.bytes_out),
        ] {
            self.one(name, Gauge, help, Value::Real(rate));
        }
        let (mut runs, mut refused, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for command in rows_of_commands() {
            let meter = counters.command(command);
            let spread = meter.runs_ns.spread();
            let count = |number: &AtomicU64| Value::Whole(number.load(Ordering::Relaxed));
            if spread.count > 0 || meter.refused.load(Ordering::Relaxed) > 0 {
                runs.push(labelled(command.name, Value::Spread(spread)));
                refused.push(labelled(command.name, count(&meter.refused)));
                failed.push(labelled(command.name, count(&meter.failed)));
            }
        }
        let by = &["command"];
        self.family(
            "cairn_command_seconds",
            Kind::Seconds,
            "How long commands ran, without the wait for the disk; those that nobody has asked for are left out",
            by,
            runs,
        );
        self.family("cairn_commands_failed_total", Counter, "Commands that answered an error", by, failed);
        self.family(
            "cairn_commands_refused_total",
            Counter,
            "Commands that were not run: forbidden where they came, or to whom they came from",
            by,
            refused,
        );
        let errors = counters.errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let errors =
            errors.iter().map(|(code, count)| labelled(code.clone(), Value::Whole(*count))).collect();
        self.family(
            "cairn_error_replies_total",
            Counter,
            "Errors told to clients, by code",
            &["code"],
            errors,
        );
        self.spread(
            "cairn_reply_seconds",
            Kind::Seconds,
            "From when requests were read until their replies could go, as durable as promised; a pipeline counts once",
            &counters.replies_ns,
        );
    }

    fn add_http(&mut self, server: &Server) {
        let counters = &server.counters;
        let requests = counters.http.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let requests = requests.iter().map(|((method, status), count)| Sample {
            labels: vec![(*method).into(), status.to_string().into()],
            value: Value::Whole(*count),
        });
        let requests = requests.collect();
        let (name, by) = ("cairn_http_requests_total", &["method", "status"]);
        self.family(
            name,
            Counter,
            "Requests over HTTP, by method and by how they were answered",
            by,
            requests,
        );
        self.spread(
            "cairn_http_request_seconds",
            Kind::Seconds,
            "How long requests over HTTP took, from their head to the head of their answer",
            &counters.http_ns,
        );
    }

    fn add_keys(&mut self, server: &Server) {
        let counters = &server.counters;
        let count = |number: &AtomicU64| Value::Whole(number.load(Ordering::Relaxed));
        self.family(
            "cairn_keyspace_reads_total",
            Counter,
            "Keys that were looked for by commands which only read",
            &["result"],
            vec![labelled("hit", count(&counters.hits)), labelled("miss", count(&counters.misses))],
        );
        self.count("cairn_expired_keys_total", "Keys that have expired", &counters.expired);
        let (mut keys, mut expiring, mut estimated) = (Vec::new(), Vec::new(), Vec::new());
        // What cannot be read has no number; whoever reads it is told why.
        let counts = server.store.key_counts().unwrap_or_default();
        for (database, counted) in counts.into_iter().enumerate().filter(|(_, counted)| counted.keys > 0) {
            let of = |n| labelled(database.to_string(), Value::Whole(n));
            keys.push(of(counted.keys));
            expiring.push(of(counted.expiring));
            estimated.push(of(u64::from(counted.is_estimated)));
        }
        let by = &["db"];
        self.family("cairn_keys", Gauge, "Keys, by database; empty ones are left out", by, keys);
        self.family("cairn_keys_expiring", Gauge, "Those of them that will expire", by, expiring);
        self.family(
            "cairn_keys_estimated",
            Gauge,
            "1 where there are too many keys to count them, and both numbers are estimates",
            by,
            estimated,
        );
    }

    fn add_turns(&mut self, server: &Server) {
        let turns = &server.store.turns;
        self.spread(
            "cairn_turn_seconds",
            Kind::Seconds,
            "How long it took to write a turn: what clients wrote at one time, with one sync for all",
            &turns.writes_ns,
        );
        self.spread("cairn_turn_commands", Kind::Counts, "Commands that shared a turn", &turns.commands);
        self.spread("cairn_turn_entries", Kind::Counts, "Entries that a turn wrote", &turns.entries);
    }

    fn add_storage(&mut self, server: &Server) {
        let storage = &server.counters.storage;
        let kinds = FileKind::ALL.map(|kind| (kind.extension(), storage.of(kind)));
        let count = |number: &AtomicU64| Value::Whole(number.load(Ordering::Relaxed));
        let mut syncs: Vec<Sample> = kinds
            .iter()
            .map(|(file, meter)| labelled(*file, Value::Spread(meter.syncs_ns.spread())))
            .collect();
        syncs.push(labelled("directory", Value::Spread(storage.name_syncs_ns.spread())));
        let read = kinds.iter().map(|(file, meter)| labelled(*file, count(&meter.bytes_read))).collect();
        let written =
            kinds.iter().map(|(file, meter)| labelled(*file, count(&meter.bytes_written))).collect();
        let by = &["file"];
        self.family("cairn_sync_seconds", Kind::Seconds, "How long syncs took, by kind of file", by, syncs);
        self.family("cairn_file_read_bytes_total", Counter, "Bytes read from files, by kind", by, read);
        self.family(
            "cairn_file_written_bytes_total",
            Counter,
            "Bytes written to files, by kind",
            by,
            written,
        );
    }

    fn add_engine(&mut self, stats: &cairndb::Stats, server: &Server) {
        for (row, n) in stats.rows() {
            let value = if row.ends_with("_ms") { Value::Real(n as f64 / 1_000.0) } else { Value::Whole(n) };
            match ROWS.iter().find(|(name, ..)| *name == row) {
                Some((_, name, "", kind, help)) => self.one(name, *kind, help, value),
                Some((_, name, part, kind, help)) => self.part(name, *kind, help, labelled(*part, value)),
                None => {
                    let name = format!("cairn_{row}").into();
                    let samples = vec![Sample { labels: Vec::new(), value }];
                    self.list.push(Figure {
                        name,
                        kind: Gauge,
                        help: "As the engine counts it",
                        labels: &[],
                        samples,
                    });
                }
            }
        }
        let levels: Vec<_> = stats.levels.iter().enumerate().collect();
        let by_level = |of: fn(&cairndb::LevelStats) -> Value| {
            levels.iter().map(|(level, stats)| labelled(level.to_string(), of(stats))).collect::<Vec<_>>()
        };
        for (name, help, samples) in [
            ("cairn_level_files", "Tables, by level", by_level(|level| Value::Whole(level.tables))),
            ("cairn_level_bytes", "The length of their files", by_level(|level| Value::Whole(level.bytes))),
            (
                "cairn_level_entries",
                "Entries in them, deletes included",
                by_level(|level| Value::Whole(level.entries)),
            ),
            ("cairn_level_deletes", "Deletes in them", by_level(|level| Value::Whole(level.deletes))),
            (
                "cairn_level_score",
                "How near a level is to its compaction, which is due at 1; the last level has none",
                by_level(|level| Value::Real(level.pressure_percent as f64 / 100.0)),
            ),
        ] {
            self.family(name, Gauge, help, &["level"], samples);
        }
        self.add_ratios(stats, server);
        let stopped = u64::from(stats.stopped.is_some());
        self.one(
            "cairn_stopped",
            Gauge,
            "1 if the engine writes no more until it is opened anew",
            Value::Whole(stopped),
        );
        let failing = u64::from(stats.maintenance_error.is_some());
        self.one(
            "cairn_maintenance_failing",
            Gauge,
            "1 if the last step of maintenance failed",
            Value::Whole(failing),
        );
        self.texts.push(("stopped_by", stats.stopped.clone().unwrap_or_default()));
        self.texts.push(("maintenance_error", stats.maintenance_error.clone().unwrap_or_default()));
    }

    /// What is told by two numbers together. 0 as long as there is nothing to tell.
    fn add_ratios(&mut self, stats: &cairndb::Stats, server: &Server) {
        let ratio =
            |part: u64, whole: u64| Value::Real(if whole == 0 { 0.0 } else { part as f64 / whole as f64 });
        let storage = &server.counters.storage;
        let written =
            FileKind::ALL.iter().map(|kind| storage.of(*kind).bytes_written.load(Ordering::Relaxed)).sum();
        self.one(
            "cairn_write_amplification_ratio",
            Gauge,
            "Bytes written to files for each byte that was to be written",
            ratio(written, stats.bytes_written),
        );
        let below = stats.levels.iter().skip(1).filter(|level| level.tables > 0).count() as u64;
        let level_0 = stats.levels.first().map_or(0, |level| level.tables);
        self.one(
            "cairn_read_amplification_runs",
            Gauge,
            "Sorted runs on disk that a read may have to look at: each table of level 0, and each level below that is not empty",
            Value::Whole(level_0 + below),
        );
        let last = stats.levels.iter().rev().find(|level| level.tables > 0).map_or(0, |level| level.bytes);
        self.one(
            "cairn_space_amplification_ratio",
            Gauge,
            "Bytes of all tables for each byte of the last level that has some, which is about what compacting would leave",
            ratio(stats.disk_bytes, last),
        );
        self.one(
            "cairn_cache_hit_ratio",
            Gauge,
            "The share of what was looked for in the cache that was there",
            ratio(stats.cache_hits, stats.cache_hits + stats.cache_misses),
        );
        let (saved, wasted) = (stats.filter_passed_over, stats.filter_let_through);
        self.one(
            "cairn_filter_useful_ratio",
            Gauge,
            "The share of keys that a table did not hold for which its filter said so, and saved a look",
            ratio(saved, saved + wasted),
        );
    }

    fn one(&mut self, name: &'static str, kind: Kind, help: &'static str, value: Value) {
        self.family(name, kind, help, &[], vec![Sample { labels: Vec::new(), value }]);
    }

    fn count(&mut self, name: &'static str, help: &'static str, number: &AtomicU64) {
        self.one(name, Counter, help, Value::Whole(number.load(Ordering::Relaxed)));
    }

    fn spread(&mut self, name: &'static str, kind: Kind, help: &'static str, distribution: &Distribution) {
        self.one(name, kind, help, Value::Spread(distribution.spread()));
    }

    fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
        labels: &'static [&'static str],
        samples: Vec<Sample>,
    ) {
        self.list.push(Figure { name: name.into(), kind, help, labels, samples });
    }

    /// Adds to a figure what one of its parts is.
    fn part(&mut self, name: &'static str, kind: Kind, help: &'static str, sample: Sample) {
        match self.list.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.samples.push(sample),
            None => {
                let labels = PARTS.iter().find(|(figure, _)| *figure == name).map_or(&[][..], |(_, by)| by);
                self.family(name, kind, help, labels, vec![sample]);
            }
        }
    }
}

/// The engine's numbers that have names here.
#[cfg(test)]
pub(super) fn rows() -> Vec<&'static str> {
    ROWS.iter().map(|(row, ..)| *row).collect()
}

fn labelled(label: impl Into<Cow<'static, str>>, value: Value) -> Sample {
    Sample { labels: vec![label.into()], value }
}
