//! Metrics: what the server measures, and the one list of figures by which it is shown.
//!
//! Things are counted where they happen, in [`Counters`]: additions that wait for nobody. Whoever wants to know asks for
//! the list, [`figures::figures`]: every figure with its name, kind, help and values, the engine's among them. The text
//! for Prometheus, the JSON of `/v1/stats`, `INFO` and the page in the documents are all made from that list, so that the
//! same number stands in all of them.
//!
//! # Why this way
//! Names are Prometheus's: a counter ends in `_total`, units are seconds and bytes and stand in the name. Distributions
//! are our own and not the library's, because that one takes a lock for each observation.

mod distribution;
mod figures;
mod formats;
mod timed;
mod usage;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use tokio::sync::watch;

use crate::commands::{Command, TABLE};
use crate::server::Server;
pub(crate) use distribution::{Distribution, Spread};
pub(crate) use figures::{Figures, Value, figures};
pub(crate) use formats::{OPEN_METRICS, PROMETHEUS};
pub(crate) use timed::{StorageMeter, Timed};
pub(crate) use usage::machine_memory_bytes;

/// How often rates are looked at, and how many looks they are taken over.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS: usize = 16;

/// What has happened since the start, or since `CONFIG RESETSTAT`.
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) refused_connections: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    /// Keys that commands which only read have looked for, and found, or not.
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) expired: AtomicU64,
    /// In the order of [`rows_of_commands`].
    commands: Box<[CommandMeter]>,
    /// Replies that are errors, by their code.
    errors: Mutex<BTreeMap<String, u64>>,
    /// From when requests had come until their replies could go, in nanoseconds: once for each time a client was read.
    pub(crate) replies_ns: Distribution,
    /// Requests over HTTP, by their method and how they were answered.
    http: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// How long those took until their answers began, in nanoseconds.
    pub(crate) http_ns: Distribution,
    pub(crate) storage: Arc<StorageMeter>,
    looks: Mutex<Vec<Look>>,
}

/// What one command has done.
#[derive(Default)]
pub(crate) struct CommandMeter {
    /// How long it ran, in nanoseconds, without the wait for its turn.
    pub(crate) runs_ns: Distribution,
    /// Times it was not run: it was forbidden, or had the wrong words.
    pub(crate) refused: AtomicU64,
    /// Times it answered an error.
    pub(crate) failed: AtomicU64,
}

/// What the store's turns have cost, and held.
#[derive(Default)]
pub(crate) struct TurnMeter {
    /// How long a turn took to be written, in nanoseconds.
    pub(crate) writes_ns: Distribution,
    /// Commands that waited for a turn.
    pub(crate) commands: Distribution,
    /// Entries that a turn wrote.
    pub(crate) entries: Distribution,
}

/// Where counters stood at a moment.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    commands: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// What happens in a second, taken over the last one and a half.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rates {
    pub(crate) commands: f64,
    pub(crate) bytes_in: f64,
    pub(crate) bytes_out: f64,
}

impl Counters {
    pub(crate) fn new(storage: Arc<StorageMeter>) -> Counters {
        Counters {
            connections: AtomicU64::default(),
            refused_connections: AtomicU64::default(),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            expired: AtomicU64::default(),
            commands: rows_of_commands().map(|_| CommandMeter::default()).collect(),
            errors: Mutex::default(),
            replies_ns: Distribution::default(),
            http: Mutex::default(),
            http_ns: Distribution::default(),
            storage,
            looks: Mutex::default(),
        }
    }

    pub(crate) fn command(&self, command: &'static Command) -> &CommandMeter {
        let index = TABLE.element_offset(command).or_else(|| index_of_subcommand(command));
        &self.commands[index.expect("every command has its row in the table")]
    }

    /// Counts an error that a client is told.
    pub(crate) fn error(&self, told: &str) {
        let code = told.split(' ').next().unwrap_or_default();
        let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
        let code = if is_code { code } else { "ERR" };
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        match errors.get_mut(code) {
            Some(count) => *count += 1,
            None => _ = errors.insert(code.to_string(), 1),
        }
    }

    /// Counts keys that were looked for, and those of them that were there.
    pub(crate) fn looked_up(&self, keys: usize, found: usize) {
        for (counter, n) in [(&self.hits, found), (&self.misses, keys - found)] {
            if n > 0 {
                counter.fetch_add(n as u64, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn http_request(&self, method: &Method, status: StatusCode, took: Duration) {
        // A method may be any word: those that some route has are counted by name.
        let named =
            ["GET", "HEAD", "PUT", "POST", "DELETE"].into_iter().find(|name| *name == method.as_str());
        let key = (named.unwrap_or("other"), status.as_u16());
        *self.http.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
        self.http_ns.observe(ns(took));
    }

    /// What happens in a second at present.
    pub(crate) fn rates(&self) -> Rates {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else { return Rates::default() };
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds == 0.0 {
            return Rates::default();
        }
        // After a reset the first is above the last.
        let rate = |of: fn(&Look) -> u64| of(last).saturating_sub(of(first)) as f64 / seconds;
        Rates {
            commands: rate(|look| look.commands),
            bytes_in: rate(|look| look.bytes_in),
            bytes_out: rate(|look| look.bytes_out),
        }
    }

    /// Begins anew, save for what the disk has cost.
    pub(crate) fn reset(&self) {
        let Counters { connections, refused_connections, bytes_in, bytes_out, hits, misses, expired, .. } =
            self;
        for counter in [connections, refused_connections, bytes_in, bytes_out, hits, misses, expired] {
            counter.store(0, Ordering::Relaxed);
        }
        for meter in &self.commands {
            meter.runs_ns.reset();
            meter.refused.store(0, Ordering::Relaxed);
            meter.failed.store(0, Ordering::Relaxed);
        }
        self.replies_ns.reset();
        self.http.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.http_ns.reset();
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn look(&self) -> Look {
        Look {
            at: Instant::now(),
            commands: self.commands.iter().map(|meter| meter.runs_ns.count()).sum(),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}

impl TurnMeter {
    pub(crate) fn ended(&self, took: Duration, commands: u64, entries: usize) {
        self.writes_ns.observe(ns(took));
        self.commands.observe(commands);
        self.entries.observe(entries as u64);
    }

    pub(crate) fn reset(&self) {
        [&self.writes_ns, &self.commands, &self.entries].into_iter().for_each(Distribution::reset);
    }
}

/// Looks at what rates are made of, until the server stops.
pub(crate) async fn watch_rates(server: Arc<Server>, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        let look = server.counters.look();
        {
            let mut looks = server.counters.looks.lock().unwrap_or_else(PoisonError::into_inner);
            if looks.len() == LOOKS {
                looks.remove(0);
            }
            looks.push(look);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// The rows of all commands, and behind them those of subcommands.
fn rows_of_commands() -> impl Iterator<Item = &'static Command> {
    TABLE.iter().chain(TABLE.iter().flat_map(|command| command.subcommands))
}

fn index_of_subcommand(command: &'static Command) -> Option<usize> {
    let mut before = TABLE.len();
    TABLE.iter().find_map(|parent| {
        let within = parent.subcommands.element_offset(command);
        let index = within.map(|within| before + within);
        before += parent.subcommands.len();
        index
    })
}

/// Nanoseconds, as distributions hold them.
pub(crate) fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
