//! Log: what is told to who runs the server.
//!
//! Every event of the server's is written here, so that one look shows what a log can hold: places, counts, times and the
//! engine's errors, and never a key, a value or a password. Who calls decides that something happened; how often it is told
//! is decided here, so that a disk that stays full for an hour is two lines and not a million.
//!
//! # Where it sits
//! Above nothing but `tracing`, whose events go nowhere until the process says where.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cairndb::{Error, RecoveryReport};
use tracing::{error, info, warn};

use crate::settings::Config;

/// A turn that takes longer keeps everybody waiting.
const SLOW: Duration = Duration::from_secs(1);
/// How often the same trouble is told at most.
const AGAIN: Duration = Duration::from_secs(10);

pub(crate) fn opening(config: &Config) {
    info!(db = %Path(config), version = env!("CARGO_PKG_VERSION"), "opening the database");
}

/// What recovery found and did.
pub(crate) fn opened(report: &RecoveryReport) {
    let RecoveryReport { created, sealed, wals, records, entries, torn_bytes, torn, took_ms, .. } = report;
    if *created {
        info!("made a new database");
    } else if *sealed {
        info!(took_ms, wals, entries, "the database had been closed in good order");
    } else {
        info!(took_ms, wals, records, entries, "the database had not been closed; its log was replayed");
    }
    if let Some(place) = torn {
        warn!(torn_bytes, place, "dropped the torn end of the log, which was never promised to anybody");
    }
}

/// Clients can come.
pub(crate) fn serving(config: &Config, redis: SocketAddr, http: Option<SocketAddr>) {
    let http = http.map(tracing::field::display);
    info!(db = %Path(config), %redis, http, durability = %config.durability_word(), "serving");
}

/// No more clients are let in, and those who are there get their last replies.
pub(crate) fn closing(clients: usize) {
    info!(clients, "closing");
}

/// The time in which clients could take their last replies is over.
pub(crate) fn drained(left: usize) {
    if left > 0 {
        warn!(clients = left, "these did not take their last replies in time");
    }
}

/// The database is closed, or not.
pub(crate) fn closed(result: &cairndb::Result<()>) {
    match result {
        Ok(()) => info!("closed"),
        Err(error) => error!(%error, "the database did not close in good order"),
    }
}

/// The system does not allow as many clients as the settings do.
pub(crate) fn fewer_clients(wanted: usize, allowed: usize) {
    warn!(maxclients = wanted, allowed, "the limit of open files (ulimit -n) leaves room for fewer clients");
}

/// A backup that nobody waits for was not written.
pub(crate) fn not_backed_up(why: &str) {
    error!("no backup: {why}");
}

/// The certificate was read anew, or could not be.
pub(crate) fn reloaded(result: &Result<(), String>) {
    match result {
        Ok(()) => info!("read the certificate anew, for clients that come from now on"),
        Err(error) => error!(error, "the certificate cannot be read anew; the old one stays"),
    }
}

/// A client could not be let in.
pub(crate) fn refused(address: SocketAddr, why: &str, often: &Often) {
    if let Some(times) = often.now() {
        warn!(%address, times, "refused a client: {why}");
    }
}

/// A client has gone over a bound, and is closed.
pub(crate) fn over_a_limit(address: &str, why: &str, often: &Often) {
    if let Some(times) = often.now() {
        warn!(address, times, "closed a client: {why}");
    }
}

/// Connections cannot be accepted.
pub(crate) fn not_accepted(error: &std::io::Error, often: &Often) {
    if let Some(times) = often.now() {
        error!(%error, times, "cannot accept connections");
    }
}

/// Counts what happens often, so that it is told seldom.
#[derive(Default)]
pub(crate) struct Often {
    untold: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Often {
    /// How many times it happened since it was last told, this time too, if it is time to tell again.
    fn now(&self) -> Option<u64> {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < AGAIN) {
            return None;
        }
        *told = Some(Instant::now());
        Some(self.untold.swap(0, Ordering::Relaxed))
    }
}

/// How turns end, one after the other.
#[derive(Default)]
pub(crate) struct Turns {
    disk_full: AtomicBool,
    failed: Often,
    slow: Often,
}

impl Turns {
    /// Whether the last turn found no room.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    /// A turn was written, or was not.
    pub(crate) fn ended<T, E: AsRef<Error>>(&self, result: &Result<T, E>, took: Duration, entries: u64) {
        if took >= SLOW
            && let Some(times) = self.slow.now()
        {
            warn!(took_ms = took.as_millis() as u64, entries, times, "a turn of writes was slow");
        }
        match result.as_ref().map_err(AsRef::as_ref) {
            // Mostly there is nothing to tell, and nothing to store.
            Ok(_) if self.disk_full.load(Ordering::Relaxed) => {
                if entries > 0 && self.disk_full.swap(false, Ordering::Relaxed) {
                    info!("the disk has room again: writes go on");
                }
            }
            Ok(_) => {}
            Err(error @ Error::DiskFull { .. }) => {
                if !self.disk_full.swap(true, Ordering::Relaxed) {
                    error!(%error, "the disk is full: writes are refused, reads go on");
                }
            }
            Err(error) => {
                if let Some(times) = self.failed.now() {
                    error!(%error, times, "a turn of writes failed");
                }
            }
        }
    }
}

/// What the engine says of itself, looked at now and then.
#[derive(Default)]
pub(crate) struct Engine {
    maintenance_error: Option<String>,
    stopped: Option<String>,
}

impl Engine {
    /// Tells what has changed since the last look.
    pub(crate) fn look(&mut self, stats: cairndb::Stats) {
        if self.maintenance_error != stats.maintenance_error {
            match &stats.maintenance_error {
                Some(error) => error!(error, "maintenance failed, and is tried again"),
                None => info!("maintenance works again"),
            }
        }
        if self.stopped != stats.stopped
            && let Some(error) = &stats.stopped
        {
            error!(error, "writing has stopped until the server is started again; reads go on");
        }
        (self.maintenance_error, self.stopped) = (stats.maintenance_error, stats.stopped);
    }
}

/// The directory, on one line whatever it is called.
struct Path<'a>(&'a Config);

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.directory.display().to_string().escape_debug())
    }
}
