//! Crashes: what a database still says after the power went, the process was killed, or the disk lied.
//!
//! The disk is [`Faulty`]: what was not synced may be lost after a crash, or stand there in part, or as zeros, or as
//! garbage. Every call that a database makes of it is one moment at which the power may go.

use std::io::ErrorKind;
use std::sync::Arc;

use cairndb_storage::{Fate, Fault, Faulty, FileKind, Operation as Call, Site, Unsynced};

use crate::answers::{same, told};
use crate::database::Subject;
use crate::model::{Dice, Moment, Operation, read_all, script};

/// How many ways a power cut at one call is looked at, and one more: [`names_apart`].
const SEEDS: u64 = 2;

/// How many calls of an opening have their power cut.
const OPEN_CUTS: u64 = 24;

/// How many bits are flipped, one at a time.
const FLIPS: u64 = 150;

/// A run that ended at one call.
struct Stopped {
    disk: Faulty,
    /// Operations that were begun, and those that were confirmed.
    begun: usize,
    confirmed: usize,
}

/// Long enough for a stage to do all it does: keys are overwritten and deleted, logs are replaced, tables merged.
fn operations() -> Vec<Operation> {
    script(7, 70, 12, 18_000)
}

/// Opens a fresh database and runs the operations, until a call is not let through any more.
fn run_until(subject: &Subject, operations: &[Operation], calls: u64) -> Stopped {
    let disk = Faulty::default();
    disk.stop_after(calls);
    let (mut begun, mut confirmed) = (0, 0);
    if let Ok(mut database) = (subject.open)(Arc::new(disk.clone())) {
        for operation in operations {
            begun += 1;
            if operation.run(database.as_mut()).is_err() {
                break;
            }
            confirmed += 1;
        }
    }
    Stopped { disk, begun, confirmed }
}

/// How many calls the whole run makes.
fn count_calls(subject: &Subject, operations: &[Operation]) -> u64 {
    run_until(subject, operations, u64::MAX).disk.total_calls()
}

/// Cuts the power at each call, and lets `look` see what is found.
fn each_cut(
    subject: &Subject,
    look: impl Fn(&Stopped, Faulty, &[Operation]) -> Result<(), String>,
) -> Result<(), String> {
    let operations = operations();
    for call in 0..count_calls(subject, &operations) {
        let stopped = run_until(subject, &operations, call);
        let drawn = (0..SEEDS).map(|seed| stopped.disk.crash(SEEDS * call + seed));
        for found in drawn.chain([stopped.disk.crash_with(&mut names_apart)]) {
            look(&stopped, found, &operations).map_err(|what| format!("power cut at call {call}: {what}"))?;
        }
    }
    Ok(())
}

/// What was removed is gone, and what was made is not there: of two changes of names, the later one alone.
fn names_apart(unsynced: Unsynced) -> Fate {
    if matches!(unsynced, Unsynced::Removed { .. }) { Fate::Keep } else { Fate::Lose }
}

/// The calls that a database makes of its disk in the crash tests: where, what, and how many.
pub fn calls(subject: &Subject) -> Vec<(Site, Call, u64)> {
    run_until(subject, &operations(), u64::MAX).disk.calls()
}

/// What the disk holds, as the database says.
fn moment_of(subject: &Subject, disk: Faulty, operations: &[Operation]) -> Result<Moment, String> {
    let mut database =
        (subject.open)(Arc::new(disk)).map_err(|error| format!("it does not open: {error}"))?;
    read_all(database.as_mut(), operations)
}

/// Whether `found` is what stood after one of the operations, of which at least `least` are in it and at most `most`.
fn was_once(found: &Moment, operations: &[Operation], least: usize, most: usize) -> Result<(), String> {
    let (mut moment, mut difference) = (Moment::new(), None);
    for done in 0..=most {
        if done > 0 {
            operations[done - 1].apply_to(&mut moment);
        }
        if done >= least {
            match same(found, &moment) {
                Ok(()) => return Ok(()),
                Err(what) => difference = difference.or(Some(what)),
            }
        }
    }
    Err(format!("{}, with {least} operations confirmed of {most}", difference.unwrap_or_default()))
}

pub(crate) fn kill(subject: &Subject) -> Result<(), String> {
    let operations = operations();
    for call in 0..count_calls(subject, &operations) {
        let stopped = run_until(subject, &operations, call);
        let found = moment_of(subject, stopped.disk.kill(), &operations);
        found
            .and_then(|found| was_once(&found, &operations, stopped.confirmed, stopped.begun))
            .map_err(|what| format!("killed at call {call}: {what}"))?;
    }
    Ok(())
}

pub(crate) fn power_cut_loses_nothing(subject: &Subject) -> Result<(), String> {
    each_cut(subject, |stopped, disk, operations| {
        let found = moment_of(subject, disk, operations)?;
        was_once(&found, operations, stopped.confirmed, stopped.begun)
    })
}

pub(crate) fn power_cut_opens(subject: &Subject) -> Result<(), String> {
    each_cut(subject, |_, disk, operations| moment_of(subject, disk, operations).map(drop))
}

pub(crate) fn power_cut_leaves_a_moment(subject: &Subject) -> Result<(), String> {
    each_cut(subject, |stopped, disk, operations| {
        // One that does not open says nothing wrong.
        let Ok(found) = moment_of(subject, disk, operations) else { return Ok(()) };
        was_once(&found, operations, 0, stopped.begun)
    })
}

pub(crate) fn power_cut_at_open(subject: &Subject) -> Result<(), String> {
    let operations = operations();
    let calls = count_calls(subject, &operations);
    for call in (0..calls).step_by(calls.div_ceil(OPEN_CUTS) as usize) {
        let stopped = run_until(subject, &operations, call);
        let found = stopped.disk.crash(call);
        let whole = found.killed();
        moment_of(subject, whole.clone(), &operations)?;
        for open_call in (0..whole.total_calls()).step_by(whole.total_calls().div_ceil(OPEN_CUTS) as usize) {
            let again = found.killed();
            again.stop_after(open_call);
            let opened = (subject.open)(Arc::new(again.clone()));
            drop(opened);
            let after = again.crash(open_call);
            moment_of(subject, after, &operations)
                .and_then(|found| was_once(&found, &operations, stopped.confirmed, stopped.begun))
                .map_err(|what| {
                    format!("power cut at call {call}, and at call {open_call} of opening: {what}")
                })?;
        }
    }
    Ok(())
}

/// How many times the whole run syncs a file.
fn count_syncs(subject: &Subject, operations: &[Operation]) -> Result<u64, String> {
    let calls = run_until(subject, operations, u64::MAX).disk.calls();
    match calls.iter().filter(|call| call.1 == Call::Sync).map(|call| call.2).sum() {
        0 => Err("it syncs nothing".into()),
        count => Ok(count),
    }
}

pub(crate) fn failed_sync(subject: &Subject) -> Result<(), String> {
    let operations = operations();
    for nth in 1..=count_syncs(subject, &operations)? {
        let disk = Faulty::default();
        disk.fail(Fault::nth(nth, ErrorKind::Other).on(Call::Sync));
        let Ok(mut database) = (subject.open)(Arc::new(disk.clone())) else { continue };
        // A few more after the failure: later a checkpoint may have healed what it left.
        let (mut results, mut more) = (Vec::new(), 4);
        for operation in &operations {
            more -= disk.struck_calls().min(1);
            if more == 0 {
                break;
            }
            results.push(operation.run(database.as_mut()));
        }
        let first = results.iter().position(Result::is_err).unwrap_or(results.len());
        if let Some(behind) = results[first..].iter().position(Result::is_ok) {
            return Err(format!(
                "sync {nth} failed, and operation {} was confirmed after that",
                first + behind
            ));
        }
        for seed in 0..SEEDS {
            moment_of(subject, disk.crash(SEEDS * nth + seed), &operations)
                .and_then(|found| was_once(&found, &operations, first, results.len().min(first + 1)))
                .map_err(|what| format!("sync {nth} failed, and then the power: {what}"))?;
        }
    }
    Ok(())
}

/// Memory still has what the disk may not, and a sync that comes later says that all is well.
pub(crate) fn failed_sync_and_restart(subject: &Subject) -> Result<(), String> {
    let operations = [operations(), vec![Operation::put(b"after the restart", b"confirmed")]].concat();
    let (last, before) = operations.split_last().ok_or("there are operations")?;
    for nth in 1..=count_syncs(subject, before)? {
        let disk = Faulty::default();
        disk.fail(Fault::nth(nth, ErrorKind::Other).on(Call::Sync));
        if let Ok(mut database) = (subject.open)(Arc::new(disk.clone())) {
            let _failed = before.iter().find(|operation| operation.run(database.as_mut()).is_err());
        }
        let mut database = told((subject.open)(Arc::new(disk.clone())))?;
        let mut wanted = read_all(database.as_mut(), &operations)?;
        told(last.run(database.as_mut()))?;
        last.apply_to(&mut wanted);
        for seed in 0..SEEDS {
            moment_of(subject, disk.crash(SEEDS * nth + seed), &operations)
                .and_then(|found| same(&found, &wanted))
                .map_err(|what| {
                    format!("sync {nth} failed, it was opened again, and the power went: {what}")
                })?;
        }
    }
    Ok(())
}

/// Bits of the tables, and of the logs but for their ends, where damage cannot be told from a torn write.
pub(crate) fn flipped_bit(subject: &Subject) -> Result<(), String> {
    // Short values, so that no last record is longer than the end that is left out.
    let operations = script(7, 150, 12, 5_000);
    let disk = run_until(subject, &operations, u64::MAX).disk.kill();
    let wanted = moment_of(subject, disk.killed(), &operations)?;
    let names = told(cairndb_storage::Storage::list(&disk, "contract.list"))?;
    let stretches = names.into_iter().filter_map(|name| {
        let len = disk.read_file(name)?.len() as u64;
        Some((name, if name.kind == FileKind::Wal { len - len / 8 } else { len })).filter(|(_, len)| *len > 0)
    });
    let (stretches, mut dice): (Vec<_>, _) = (stretches.collect(), Dice(3));
    for _ in 0..FLIPS {
        let (name, len) = stretches[dice.below(stretches.len() as u64) as usize];
        let (offset, bit) = (dice.below(len), dice.below(8) as u8);
        let flipped = disk.killed();
        flipped.flip_bit(name, offset, bit);
        // To say that something is wrong is right.
        if let Ok(found) = moment_of(subject, flipped, &operations) {
            same(&found, &wanted).map_err(|what| format!("{name}, byte {offset}, bit {bit}: {what}"))?;
        }
    }
    Ok(())
}
