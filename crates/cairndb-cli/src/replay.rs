//! Replay: what is new in a log of the roadmap's format, stored in the database.
//!
//! The engine keeps, with the entries and in the same write, how far it has come in each log; so this command may be
//! killed at any moment and run again, and stores every record once.
//!
//! # Where it sits
//! Called by `main`; stands on the engine's `replay_log`. Adds the log's path to what the engine says of it.

use std::fs::File;
use std::io::BufReader;

use cairndb::{Error, ReplayCheckpoint, ReplayReport};

use crate::args::{self, Target};
use crate::database::Database;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::progress::{Progress, Unit};

pub(crate) fn replay(target: &Target, args: &args::Replay) -> Result<(), Failure> {
    let file = File::open(&args.log).map_err(|error| Failure::file(&args.log, error))?;
    let log = BufReader::with_capacity(256 << 10, file);
    let line = if args.status {
        let found = Database::read(target)?.db.replay_status(log).map_err(|error| in_log(args, error))?;
        describe_checkpoint(found.as_ref())
    } else {
        let database = Database::make(target)?;
        let progress = Progress::start("replaying", Unit::Time);
        let report = database.keyspace.replay_log(log, args.from).map_err(|error| in_log(args, error));
        drop(progress);
        database.close()?;
        describe_report(&report?)
    };
    let mut out = Output::new();
    out.line(format_args!("{}: {line}", args.log.display()))?;
    out.flush()
}

fn describe_checkpoint(found: Option<&ReplayCheckpoint>) -> String {
    match found {
        None => "nothing of it was replayed yet".into(),
        Some(ReplayCheckpoint { log, offset, hash }) => {
            format!(
                "replayed up to offset {offset} (log {log:016x}, hash of the bytes before it {hash:016x})"
            )
        }
    }
}

fn describe_report(report: &ReplayReport) -> String {
    let ReplayReport { from, to, puts, deletes, torn_bytes, .. } = report;
    let puts = human::counted(*puts, "put", "puts");
    let deletes = human::counted(*deletes, "delete", "deletes");
    let torn = match torn_bytes {
        0 => String::new(),
        len => format!("; a torn record at offset {to} ({}) is left for the next time", human::bytes(*len)),
    };
    format!("from offset {from} to {to}: {puts}, {deletes}{torn}")
}

/// The engine's error about the log itself, with the log's path; other errors are about the database.
fn in_log(args: &args::Replay, error: Error) -> Failure {
    match error {
        Error::Corrupt { offset, what, .. } => Failure::hinted(
            format_args!("{} is corrupt at offset {offset}: {what}", args.log.display()),
            "--from OFFSET starts at a record of your choice, whatever was replayed before",
        ),
        Error::Invalid { what } => Failure::file(&args.log, what),
        other => other.into(),
    }
}
