//! Calls: a fault at each storage call of an operation, once and for good.

use std::sync::{Arc, Mutex};

use cairndb::Error;
use cairndb::storage::{Fate, Fates, Fault, Faulty, Operation};

use crate::judge::{Promised, judge};
use crate::oracle::{differences, live};
use crate::reads::everything;
use crate::states::State;
use crate::tally::Tally;
use crate::trouble::{Done, Trouble, require};

use super::places::look_at_place;
use super::scene::{Image, NOW_MS, Scene};
use super::{CallFault, Plant};

/// Crashes by seed that are judged after each fault, besides that in which everything is lost.
const CRASHES: u64 = 2;

/// After every how many faults the recovery is crashed too, and what is at rest then looked at.
const DEEP_ONE_IN: usize = 8;

impl CallFault {
    fn strikes(self, operation: Operation) -> bool {
        use Operation::{Append, Create, List, Lock, Open, Reserve, Sync, SyncNames};
        match self {
            CallFault::Io => !matches!(operation, Sync | SyncNames),
            CallFault::Full => matches!(operation, Create | Reserve | Append | Sync | SyncNames),
            CallFault::Short => matches!(operation, Reserve | Append),
            CallFault::TooManyFiles => matches!(operation, Create | Open | List | Lock),
            CallFault::SyncFails => matches!(operation, Sync | SyncNames),
        }
    }

    fn fault(self) -> Fault {
        use std::io::ErrorKind::{Other, StorageFull, WriteZero};
        match self {
            CallFault::Io | CallFault::SyncFails => Fault::nth(1, Other).os_error(5),
            CallFault::Full => Fault::nth(1, StorageFull),
            CallFault::Short => Fault::nth(1, WriteZero),
            CallFault::TooManyFiles => Fault::nth(1, Other).os_error(24),
        }
    }

    /// Whether the operation may answer so.
    fn fits(self, error: &Error) -> bool {
        match error {
            Error::Io { .. } | Error::Busy { .. } => true,
            Error::DiskFull { .. } => self == CallFault::Full,
            Error::Stopped { cause } => self.fits(cause),
            _ => false,
        }
    }
}

const OPERATIONS: [Operation; 11] = [
    Operation::Create,
    Operation::Open,
    Operation::Remove,
    Operation::List,
    Operation::SyncNames,
    Operation::Lock,
    Operation::Reserve,
    Operation::Append,
    Operation::ReadAt,
    Operation::Len,
    Operation::Sync,
];

/// What an operation does when nothing fails.
pub(super) struct Clean {
    outcome: String,
    calls: Vec<Operation>,
}

/// Calls `at` with number, disk and operation before each call that is made of the scene's disks.
fn watch(scene: &Scene<'_>, at: impl FnMut(usize, &Faulty, Operation) + Send + 'static) {
    let shared = Arc::new(Mutex::new((0, at)));
    for disk in [&scene.disk, &scene.place] {
        let shared = Arc::clone(&shared);
        disk.observe(Some(Box::new(move |disk, _, operation| {
            let (number, at) = &mut *shared.lock().expect("nobody panics here");
            at(*number, disk, operation);
            *number += 1;
        })));
    }
}

fn unwatch(scene: &Scene<'_>) {
    scene.disk.observe(None);
    scene.place.observe(None);
}

impl Clean {
    pub(super) fn of(image: &Image) -> Result<Clean, Trouble> {
        let mut scene = image.stage(Plant::None);
        let calls: Arc<Mutex<Vec<Operation>>> = Arc::default();
        let noted = Arc::clone(&calls);
        watch(&scene, move |_, _, operation| noted.lock().expect("nobody panics here").push(operation));
        let outcome = scene.act()?;
        unwatch(&scene);
        let calls = std::mem::take(&mut *calls.lock().expect("nobody panics here"));
        Ok(Clean { outcome, calls })
    }

    pub(super) fn outcome(&self) -> &str {
        &self.outcome
    }
}

/// A fault at every call that it can strike; how often the outcome changed.
pub(super) fn every_call(
    image: &Image,
    clean: &Clean,
    fault: CallFault,
    sticky: bool,
    plant: Plant,
    tally: &mut Tally,
) -> Result<u64, String> {
    let mut changed = 0;
    for (number, operation) in clean.calls.iter().enumerate() {
        if !fault.strikes(*operation) {
            continue;
        }
        let told =
            |told: String| format!("{fault:?}, sticky: {sticky}, at call {number}, {operation:?}: {told}");
        let (struck, scene, answer) =
            strike(image, number, *operation, fault, sticky, plant).map_err(told)?;
        tally.add("calls_struck", 1);
        let is_changed = answer.as_ref().map_or(true, |outcome| *outcome != clean.outcome);
        after(scene, &answer, fault, number, tally).map_err(told)?;
        tally.follow(&format!("{fault:?} {sticky} {number} {struck} {is_changed}"));
        changed += u64::from(is_changed);
    }
    Ok(changed)
}

type Answer = Result<String, Error>;

fn strike<'a>(
    image: &'a Image,
    at: usize,
    expected: Operation,
    fault: CallFault,
    sticky: bool,
    plant: Plant,
) -> Result<(u64, Scene<'a>, Answer), String> {
    let mut scene = image.stage(plant);
    watch(&scene, move |number, disk, operation| {
        if number == at && sticky {
            let struck = OPERATIONS.into_iter().filter(|operation| fault.strikes(*operation));
            struck.for_each(|operation| disk.fail(fault.fault().on(operation).sticky()));
        } else if number == at {
            disk.fail(fault.fault().on(operation));
        }
    });
    let answer = scene.act();
    unwatch(&scene);
    let struck = scene.disk.struck_calls() + scene.place.struck_calls();
    if struck == 0 {
        return Err(format!("{expected:?} was not struck: the operation does not do the same each time"));
    }
    Ok((struck, scene, answer))
}

/// The oracle: the answer fits the fault, reads are right, and so is whatever a crash, a kill or a close leaves.
fn after(
    mut scene: Scene<'_>,
    answer: &Answer,
    fault: CallFault,
    number: usize,
    tally: &mut Tally,
) -> Result<(), String> {
    if let Err(error) = answer
        && !fault.fits(error)
    {
        return Err(format!("it is told as {error:?}"));
    }
    look(&scene, true).map_err(Trouble::told)?;
    scene.disk.clear_faults();
    scene.place.clear_faults();
    look(&scene, false).map_err(Trouble::told)?;
    look_at_place(&scene, answer.is_ok(), &[]).map_err(Trouble::told)?;
    let options = scene.image.options(7 << 100);
    let judge_left = |scene: &Scene<'_>, disk: Faulty, fates: &str, deep: bool, tally: &mut Tally| {
        let given_floor = scene.oracle.given_floor;
        let promised = Promised { allowed: scene.allowed(), now_ms: NOW_MS, given_floor };
        tally.add("states_judged", 1);
        let id = number as u64;
        judge(&State { disk, id, moment_id: id, fates: fates.into() }, &promised, &options, deep, tally)
    };
    let lost = scene.disk.crashed_with(&mut |_| Fate::Lose);
    judge_left(&scene, lost, "everything lost", number.is_multiple_of(DEEP_ONE_IN), tally)?;
    for seed in 0..CRASHES {
        let mut fates = Fates::new(number as u64 * CRASHES + seed);
        let left = scene.disk.crashed_with(&mut |unsynced| fates.draw(unsynced));
        judge_left(&scene, left, &format!("fates {seed}"), false, tally)?;
    }
    go_on(&mut scene, answer.is_err()).map_err(Trouble::told)?;
    let lost = scene.disk.crashed_with(&mut |_| Fate::Lose);
    judge_left(&scene, lost, "everything lost, later", false, tally)?;
    if number.is_multiple_of(2) {
        let left = scene.disk.kill();
        return judge_left(&scene, left, "killed", false, tally);
    }
    let Some(db) = scene.db.take() else { return Ok(()) };
    let stopped = db.stats().stopped.is_some();
    let closed = db.close();
    if let (Err(error), false) = (&closed, stopped) {
        return Err(format!("it does not close: {error:?}"));
    }
    drop(db);
    let left = scene.disk.crashed_with(&mut |_| if closed.is_ok() { Fate::Lose } else { Fate::Keep });
    judge_left(&scene, left, "closed", false, tally)
}

/// Reads of the database that is still open.
fn look(scene: &Scene<'_>, failing: bool) -> Done {
    let Some(db) = &scene.db else { return Ok(()) };
    match everything(db) {
        Err(Trouble::Engine(Error::Io { .. })) if failing => Ok(()),
        Err(trouble) => Err(trouble),
        Ok(found) => {
            let is_found = |map: &Arc<_>| live(map, NOW_MS) == found;
            // Before a crash what failed is not seen; after a recovery that succeeded, what it found is.
            let told = || differences(&live(&scene.oracle.map, NOW_MS), &found);
            require!(is_found(&scene.oracle.map), "reads of the open database are wrong:\n{}", told());
            Ok(())
        }
    }
}

/// Where nothing fails any more, a database that has not stopped does what it was asked; one that has says so.
fn go_on(scene: &mut Scene<'_>, failed: bool) -> Done {
    if let Some(db) = &scene.db
        && db.stats().stopped.is_some()
    {
        let refused = db.put("k", "v");
        require!(matches!(refused, Err(Error::Stopped { .. })), "a stopped database answers {refused:?}");
        return Ok(());
    }
    if failed {
        scene.place = Faulty::default();
        scene.act()?;
        look_at_place(scene, true, &[])?;
    }
    look(scene, false)
}
