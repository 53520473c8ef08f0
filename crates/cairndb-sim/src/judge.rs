//! Judge: opens what a crash has left, and holds it against what was promised.
//!
//! # Invariants
//! What is looked at after a recovery, by the numbers that the messages carry:
//! - O1. Every acknowledged `Sync` write is there. O2. The state is that after a prefix of the commits. O3. Batches
//!   are whole or absent. O4. No deleted or older value comes back. (One comparison: what is found, sequence numbers
//!   and all, must equal one of the states that the commits from the last promised one on have made.)
//! - O5. The next sequence number is beyond every one that was given.
//! - O6. A crash of the recovery itself, at each of its calls, changes nothing of what is found. (In a tenth of the
//!   states.)
//! - O7. No orphan file and no space stays that nothing accounts for. (In a tenth of the states also when maintenance has
//!   nothing left to do, and there the check of everything at rest finds nothing.)
//! - O8. The database takes a write, and reads it.

use std::sync::Arc;

use cairndb::storage::{Fate, Faulty, FileKind, FileName, Storage};
use cairndb::{Db, Error, Options, verify};

use crate::oracle::{Map, differences, live};
use crate::reads::{Moment, everything};
use crate::states::{Killed, State, Take, Watch};
use crate::tally::Tally;
use crate::trouble::{Done, Trouble, require};

/// What a recovery may find.
pub(crate) struct Promised {
    /// The states that the commits have made, from the last promised one on.
    pub(crate) allowed: Vec<Arc<Map>>,
    pub(crate) now_ms: u64,
    /// Beyond every sequence number that was ever given to a write.
    pub(crate) given_floor: u64,
}

/// A keyspace that is used by no script.
const ASIDE: u8 = 200;

/// So many keys are asked for one by one.
const KEYS_READ: usize = 60;

/// How many steps of maintenance a small database may need before nothing is left to do.
const STEPS_MAX: usize = 400;

/// Five that were closed and opened again without a flush, the active one and a spare.
const LOGS_MAX: u64 = 7;

/// States at each call of a recovery.
const STATES_PER_RECOVERY_CALL: u64 = 2;

/// Recovers `state`; with `deep`, crashes the recovery too, and looks at what is on the disk when it is at rest.
pub(crate) fn judge(
    state: &State,
    promised: &Promised,
    options: &Options,
    deep: bool,
    tally: &mut Tally,
) -> Result<(), String> {
    let told = |trouble: Trouble| format!("after a crash ({}): {}", state.fates, trouble.told());
    let image = deep.then(|| state.disk.crashed_with(&mut |_| Fate::Keep));
    let found = recover(&state.disk, promised, options, deep).map_err(told)?;
    if let Some(image) = image {
        tally.add("recoveries_crashed", 1);
        crash_recovery(&image, &found, promised, state.id, options, tally).map_err(told)?;
    }
    Ok(())
}

/// Opens what a killed process has left, with all the room there is and with none, and cuts the power at each call of
/// that: nothing that was promised may rest on what only the page cache held.
pub(crate) fn judge_killed(
    killed: &Killed,
    promised: &Promised,
    options: &Options,
    tally: &mut Tally,
) -> Result<(), String> {
    for (room, told) in [(true, "with room"), (false, "without room")] {
        let disk = killed.disk.killed();
        if !room {
            // Whoever needs the room may have removed the reserve.
            remove_reserve(&disk).map_err(|trouble| trouble.told())?;
            disk.set_capacity(Some(disk.used_bytes()));
        }
        let told = |trouble: Trouble| {
            format!("after a kill ({}) and a crash of the open {told}: {}", killed.at, trouble.told())
        };
        let states = crash_open(&disk, killed.seed, options).map_err(told)?;
        for state in states {
            tally.add("states_after_kills", 1);
            state.disk.set_capacity(None);
            recover(&state.disk, promised, options, false)
                .map_err(|trouble| format!("{}, {}", told(trouble), state.fates))?;
        }
    }
    Ok(())
}

fn remove_reserve(disk: &Faulty) -> Done {
    for name in disk.list("sim.list").map_err(|error| Trouble::Wrong(error.to_string()))? {
        if name.kind == FileKind::Reserve {
            disk.remove("sim.remove", name).map_err(|error| Trouble::Wrong(error.to_string()))?;
        }
    }
    Ok(())
}

/// What a crash at each call of an open of `disk` leaves.
fn crash_open(disk: &Faulty, seed: u64, options: &Options) -> Result<Vec<State>, Trouble> {
    let watch = Watch::begin(disk, Take::Drawn { seed, per_call: STATES_PER_RECOVERY_CALL });
    let opened = Db::open_with(Arc::new(disk.clone()), options.clone());
    let states = watch.take();
    disk.kill();
    if !matches!(opened, Err(Error::DiskFull { .. })) {
        drop(opened?);
    }
    Ok(states)
}

fn recover(disk: &Faulty, promised: &Promised, options: &Options, deep: bool) -> Result<Map, Trouble> {
    let db = open(disk, options)?;
    look_for_orphans(disk, &db, options.keep_changes_bytes)?;
    let found = everything(&db)?;
    let is_found = |map: &Arc<Map>| {
        let live = map.iter().filter(|(_, slot)| slot.is_live(promised.now_ms));
        live.eq(found.iter())
    };
    if !promised.allowed.iter().any(is_found) {
        return Err(Trouble::Wrong(no_prefix(promised, &found)));
    }
    disk.set_capacity(None);
    go_on(&db, promised)?;
    if deep {
        let moment = Moment { map: &found, now_ms: promised.now_ms };
        moment.compare_gets(&db, KEYS_READ)?;
        settle(&db)?;
        look_for_orphans(disk, &db, options.keep_changes_bytes)?;
    }
    // Closing in order is another test's, and would take longer than all of this.
    let disk_left = disk.kill();
    drop(db);
    if deep {
        let verification = verify(Arc::new(disk_left))?;
        require!(verification.ok(), "O7: the check finds damage: {verification:?}");
    }
    Ok(found)
}

/// On a disk that is too full for an open, room is made.
fn open(disk: &Faulty, options: &Options) -> Result<Db, Trouble> {
    let opened = match Db::open_with(Arc::new(disk.clone()), options.clone()) {
        Err(Error::DiskFull { .. }) => {
            disk.set_capacity(None);
            Db::open_with(Arc::new(disk.clone()), options.clone())
        }
        opened => opened,
    };
    Ok(opened?)
}

/// O5 and O8.
fn go_on(db: &Db, promised: &Promised) -> Done {
    let seq = db.stats().seq;
    require!(
        seq + 1 >= promised.given_floor,
        "O5: sequence number {} could be given again: {} came before",
        seq + 1,
        promised.given_floor
    );
    // In a keyspace that no script uses.
    let aside = db.keyspace(ASIDE)?;
    aside.put("after the crash", "written").map_err(|error| Trouble::Wrong(format!("O8: {error:?}")))?;
    let written = aside.get_entry("after the crash")?;
    require!(written.is_some_and(|entry| entry.seq == seq + 1), "O8: what is written now is not there");
    Ok(())
}

fn no_prefix(promised: &Promised, found: &Map) -> String {
    let against = |map: Option<&Arc<Map>>| {
        map.map_or_else(String::new, |map| differences(&live(map, promised.now_ms), found))
    };
    format!(
        "O1-O4: what was found is none of the {} states that were promised or possible;\nagainst the first:\n{}\n\
         against the last:\n{}",
        promised.allowed.len(),
        against(promised.allowed.first()),
        against(promised.allowed.last()),
    )
}

fn settle(db: &Db) -> Done {
    for _ in 0..STEPS_MAX {
        if !db.maintain()? {
            return Ok(());
        }
    }
    Err(Trouble::Wrong(format!("O7: maintenance has more to do after {STEPS_MAX} steps")))
}

/// One manifest, the tables that the version names, at their lengths, logs from the checkpoint on, and the reserve.
fn look_for_orphans(disk: &Faulty, db: &Db, keep_changes_bytes: u64) -> Done {
    let mut names = disk.list("sim.list").map_err(|error| Trouble::Wrong(error.to_string()))?;
    // An empty file is a spare: the next one of its kind.
    names.retain(|name| disk.read_file(*name).is_some_and(|bytes| !bytes.is_empty()));
    let count = |kind| names.iter().filter(|name| name.kind == kind).count() as u64;
    let tables: u64 = db.stats().levels.iter().map(|level| level.tables).sum();
    require!(count(FileKind::Manifest) == 1, "O7: not one manifest: {names:?}");
    require!(count(FileKind::SsTable) == tables, "O7: {tables} tables, and these files: {names:?}");
    let len_of = |kind| {
        let of_kind = names.iter().filter(|name| name.kind == kind);
        of_kind.map(|name| disk.read_file(*name).map_or(0, |bytes| bytes.len() as u64)).sum::<u64>()
    };
    let stats = db.stats();
    let lens = (len_of(FileKind::SsTable), len_of(FileKind::Reserve));
    require!(
        lens == (stats.disk_bytes, stats.reserve_bytes),
        "O7: tables and reserve are {lens:?} bytes long, of which {} and {} are known",
        stats.disk_bytes,
        stats.reserve_bytes
    );
    let checkpoint = stats.checkpoint_wal;
    let is_old = |name: &&FileName| name.kind == FileKind::Wal && name.number < checkpoint;
    let old_len: usize =
        names.iter().filter(is_old).map(|name| disk.read_file(*name).map_or(0, |bytes| bytes.len())).sum();
    require!(
        old_len as u64 == stats.changes_bytes && stats.changes_bytes <= keep_changes_bytes,
        "O7: logs before the checkpoint {checkpoint} are {old_len} bytes long, {} are known, {keep_changes_bytes} allowed: \
         {names:?}",
        stats.changes_bytes
    );
    let needed = names.iter().filter(|name| name.kind == FileKind::Wal && !is_old(name)).count() as u64;
    require!(needed <= LOGS_MAX, "O7: too many logs: {names:?}");
    Ok(())
}

/// O6: opens `image` and crashes that at each of its calls; every disk so left must recover to the same.
fn crash_recovery(
    image: &Faulty,
    found: &Map,
    promised: &Promised,
    seed: u64,
    options: &Options,
    tally: &mut Tally,
) -> Done {
    let states = crash_open(image, seed, options)?;
    for state in states {
        tally.add("states_in_recovery", 1);
        let db = open(&state.disk, options)?;
        let again = everything(&db)?;
        require!(
            again == *found,
            "O6: after a crash of the recovery ({}), something else is found:\n{}",
            state.fates,
            differences(found, &again)
        );
        look_for_orphans(&state.disk, &db, options.keep_changes_bytes)?;
        state.disk.set_capacity(None);
        go_on(&db, promised)?;
        state.disk.kill();
    }
    Ok(())
}
