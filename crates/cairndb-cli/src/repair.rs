//! Repair: a damaged database's whole parts, in a new directory.
//!
//! # Where it sits
//! Called by `main`; the engine's call of the same name does the work, and here it is told what came of it.

use std::sync::Arc;

use cairndb::storage::Native;
use cairndb::{Options, RepairReport};

use crate::args::{self, Target};
use crate::database;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::progress::{Progress, Unit};

pub(crate) fn repair(target: &Target, args: &args::Repair) -> Result<(), Failure> {
    let from = Arc::new(database::require(target.dir())?);
    let to = Native::create(&args.dir).map_err(Failure::told)?;
    let progress = Progress::start("repairing", Unit::Time);
    let report = cairndb::repair(from, Arc::new(to), Options::default())?;
    drop(progress);
    let mut out = Output::new();
    print_report(&report, args, &mut out)?;
    out.flush()?;
    if report.is_whole() {
        return Ok(());
    }
    let lost = human::counted(report.losses.len() as u64, "loss", "losses");
    Err(Failure::hinted(
        format_args!(
            "{}: {lost} listed; what is not in them is in {}",
            target.dir().display(),
            args.dir.display()
        ),
        "the old directory was not changed; a backup, if there is one, has what is lost",
    ))
}

fn print_report(report: &RepairReport, args: &args::Repair, out: &mut Output) -> Result<(), Failure> {
    for loss in &report.losses {
        out.line(format_args!("lost      {loss}"))?;
    }
    for doubt in &report.doubts {
        out.line(format_args!("unsure    {doubt}"))?;
    }
    for (file, why) in &report.left_out {
        out.line(format_args!("left out  {file}: {why}"))?;
    }
    if !report.sealed {
        out.line(format_args!(
            "note      the log has no mark of a clean close: if anything stood behind sequence number {}, it was never \
             synced or left no trace",
            report.last_seq
        ))?;
    }
    out.line(format_args!(
        "{}: {} ({}) from {} and {}, by {}",
        args.dir.display(),
        human::counted(report.entries, "entry", "entries"),
        human::bytes(report.bytes),
        human::counted(report.tables as u64, "SSTable", "SSTables"),
        human::counted(report.logs as u64, "WAL", "WALs"),
        report.manifest.as_deref().unwrap_or("no manifest"),
    ))
}
