//! Upkeep: checkpoint, compact and backup, the commands that change where bytes lie but not what they say.
//!
//! # Where it sits
//! Called by `main`; stands on the engine's calls of the same names.

use cairndb::{BackupMode, Checkpoint};

use crate::args::{self, Target};
use crate::database::Database;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::progress::{Progress, Unit};

pub(crate) fn checkpoint(target: &Target) -> Result<(), Failure> {
    let database = Database::change(target)?;
    let moved = database.db.checkpoint()?;
    database.close()?;
    let mut out = Output::new();
    out.line(format_args!("was: {}", describe(&moved.before)))?;
    out.line(format_args!("is:  {}", describe(&moved.after)))?;
    out.flush()
}

fn describe(checkpoint: &Checkpoint) -> String {
    format!("recovery starts at {:06}.wal, sequence number {}", checkpoint.wal, checkpoint.seq)
}

pub(crate) fn compact(target: &Target) -> Result<(), Failure> {
    let database = Database::change(target)?;
    let progress = Progress::start("compacting", Unit::Time);
    database.db.flush()?; // so that the two lengths are of the same entries
    let before = database.db.stats().disk_bytes;
    database.db.compact()?;
    let after = database.db.stats().disk_bytes;
    database.close()?;
    drop(progress);
    let mut out = Output::new();
    out.line(format_args!("SSTables: {} before, {} now", human::bytes(before), human::bytes(after)))?;
    out.flush()
}

pub(crate) fn backup(target: &Target, args: &args::Backup) -> Result<(), Failure> {
    let database = Database::change(target)?;
    let progress = Progress::start("copying", Unit::Time);
    let how = if args.copy { BackupMode::Copy } else { BackupMode::Link };
    let report = database.db.backup_to(&args.dir, how)?;
    drop(progress);
    database.close()?;
    let linked = human::counted(report.linked as u64, "SSTable", "SSTables");
    let copied = human::counted(report.copied as u64, "SSTable", "SSTables");
    let bytes = human::bytes(report.bytes_copied);
    let mut out = Output::new();
    out.line(format_args!(
        "{}: everything up to sequence number {}; {linked} linked, {copied} copied ({bytes})",
        args.dir.display(),
        report.seq
    ))?;
    out.flush()
}
