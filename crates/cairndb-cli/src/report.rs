//! Report: what can be said of a database without changing it: verify, stats and inspect.
//!
//! # Where it sits
//! Called by `main`. Verify and inspect look at the files themselves, so that they work on a directory that is too
//! damaged to open.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cairndb::storage::{FileName, Native, Storage};
use cairndb::{Check, Pace, Verification};
use serde_json::{Map, Value, json};

use crate::args::{self, Target};
use crate::database::{self, Database};
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::progress::{Progress, Unit};

pub(crate) fn verify(target: &Target, args: &args::Verify) -> Result<(), Failure> {
    let storage = Arc::new(database::require(target.dir())?);
    let progress = Progress::start("verifying", Unit::Time);
    let found = match args.rate {
        None => cairndb::verify(storage)?,
        Some(rate) => cairndb::verify_at_pace(storage, pace(rate))?,
    };
    drop(progress);
    let mut out = Output::new();
    print_verification(&found, target.dir(), "", &mut out)?;
    out.flush()
}

/// Holds up who reads faster than `rate`, in bytes per second.
fn pace(rate: u64) -> Pace {
    let (begun, read) = (Instant::now(), AtomicU64::new(0));
    Arc::new(move |len| {
        let read = read.fetch_add(len, Ordering::Relaxed) + len;
        let due = Duration::from_secs_f64(read as f64 / rate as f64);
        thread::sleep(due.saturating_sub(begun.elapsed()));
    })
}

/// Prints each check, and fails if one did.
pub(crate) fn print_verification(
    found: &Verification,
    dir: &Path,
    indent: &str,
    out: &mut Output,
) -> Result<(), Failure> {
    for Check { promise, seen, what, problems, .. } in &found.checks {
        let verdict = match (seen, problems.is_empty()) {
            (false, _) => "  --",
            (true, true) => "pass",
            (true, false) => "FAIL",
        };
        out.line(format_args!("{indent}{verdict}  promise {promise:>2}: {what}"))?;
        for problem in problems {
            out.line(format_args!("{indent}      {}/{problem}", dir.display()))?;
        }
    }
    let files = human::counted(found.files as u64, "file", "files");
    let problems: usize = found.checks.iter().map(|check| check.problems.len()).sum();
    if problems == 0 {
        return out
            .line(format_args!("{indent}no damage in {files}; SSTables: {}", human::bytes(found.bytes)));
    }
    out.flush()?;
    let problems = human::counted(problems as u64, "problem", "problems");
    Err(Failure::hinted(
        format_args!("{}: {problems} found in {files}", dir.display()),
        "a backup is the way back to what was stored; `cairn repair NEW` salvages what is whole into a new directory",
    ))
}

pub(crate) fn stats(target: &Target, args: &args::Stats) -> Result<(), Failure> {
    let stats = Database::read(target)?.db.stats();
    let mut out = Output::new();
    if args.json {
        out.line(stats_object(&stats))?;
    } else {
        out.line(stats.to_string().trim_end())?;
    }
    out.flush()
}

/// The figures by name, the levels as a list, and what went wrong, or null.
fn stats_object(stats: &cairndb::Stats) -> Value {
    let rows = stats.rows().into_iter().map(|(name, figure)| (name.to_string(), Value::from(figure)));
    let mut object: Map<String, Value> = rows.collect();
    let level = |level: &cairndb::LevelStats| {
        let cairndb::LevelStats { tables, entries, deletes, bytes, .. } = *level;
        json!({ "tables": tables, "entries": entries, "deletes": deletes, "bytes": bytes })
    };
    object.insert("levels".into(), stats.levels.iter().map(level).collect());
    object.insert("stopped".into(), stats.stopped.clone().into());
    object.insert("maintenance_error".into(), stats.maintenance_error.clone().into());
    Value::Object(object)
}

pub(crate) fn inspect(args: &args::Inspect) -> Result<(), Failure> {
    let name: FileName = args
        .file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .parse()
        .map_err(|error| Failure::file(&args.file, error))?;
    let dir = match args.file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = Native::read_only(dir)
        .and_then(|storage| storage.open("cli.inspect", name))
        .map_err(Failure::told)?;
    let mut out = Output::new();
    let outcome = cairndb::inspect(file, name, out.writer());
    out.flush()?;
    outcome.map_err(|error| match error {
        cairndb::Error::Corrupt { .. } => Failure::hinted(
            format_args!("{}/{error}", dir.display()),
            "what stands above was read before the damage",
        ),
        other => other.into(),
    })
}
