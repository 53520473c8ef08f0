//! Each stage, and the engine, held to the contract: what it passes, and by name what it does not.

use std::sync::Arc;

use cairndb::Db;
use contract::{Directory, Subject, TESTS, Test};
use measure::{ENGINE, STAGES};

/// What goes wrong where the log is believed that was read: memory may have of it what a failed sync left off the disk.
const BELIEVES_MEMORY: &str = "after a failed sync and a restart it loses nothing";

/// What goes wrong where nothing is synced and no checksum is looked at.
const UNSAFE: &[&str] = &[
    "a power cut loses nothing that was confirmed",
    "after a power cut it opens",
    "a power cut leaves what once was: no holes, no garbage",
    "a power cut while it opens changes nothing",
    "after a failed sync it confirms nothing more",
    BELIEVES_MEMORY,
    "a flipped bit is noticed",
];

#[test]
fn stage_1_answers_and_loses_what_the_power_takes() {
    hold(&STAGES[0], UNSAFE);
}

#[test]
fn stage_2_answers_and_loses_what_the_power_takes() {
    hold(&STAGES[1], UNSAFE);
}

#[test]
fn stage_3_keeps_what_it_confirmed_but_believes_memory() {
    hold(&STAGES[2], &[BELIEVES_MEMORY]);
}

#[test]
fn stage_4_keeps_what_it_confirmed_but_believes_memory() {
    hold(&STAGES[3], &[BELIEVES_MEMORY]);
}

#[test]
fn the_engine_passes_everything() {
    hold(&ENGINE, &[]);
}

/// Runs every test; those named in `failing` must fail, and no others.
fn hold(subject: &Subject, failing: &[&str]) {
    let unknown: Vec<_> =
        failing.iter().filter(|name| TESTS.iter().all(|test| test.name != **name)).collect();
    assert!(unknown.is_empty(), "the contract has no such tests: {unknown:?}");
    let mut wrong = 0;
    for Test { name, run, .. } in TESTS {
        let (result, should_fail) = (run(subject), failing.contains(name));
        let said = match &result {
            Ok(()) if should_fail => "passes, and should not".to_string(),
            Ok(()) => "passes".to_string(),
            Err(what) if should_fail => format!("fails, as it should: {what}"),
            Err(what) => format!("FAILS, and should not: {what}"),
        };
        println!("{}: \"{name}\" {said}", subject.name);
        wrong += usize::from(result.is_err() != should_fail);
    }
    assert!(
        wrong == 0,
        "{}: {wrong} of {} tests came out otherwise than they should",
        subject.name,
        TESTS.len()
    );
}

/// A crash test says nothing of what it never comes by.
#[test]
fn the_crash_tests_come_by_checkpoints_and_merges() {
    let count = |stage: &Subject, site: &str| -> u64 {
        contract::calls(stage).iter().filter(|call| call.0 == site).map(|call| call.2).sum()
    };
    assert!(count(&STAGES[2], "checkpoint.remove") > 1);
    // A flush removes a log; what it removes beyond that are tables that were merged.
    assert!(count(&STAGES[3], "flush.remove") > count(&STAGES[3], "flush.create"));
}

/// `data.log`, as the first three stages write it, is a log that the engine takes in.
#[test]
fn the_engine_takes_in_what_a_stage_wrote() {
    for stage in &STAGES[..3] {
        let place = tempfile::tempdir().expect("there is room for a directory");
        let directory = Directory::create(place.path().join("stage")).expect("it can be made");
        let mut small = (stage.open)(Arc::new(directory)).expect("it opens");
        small.put(b"once", b"opened again").expect("it writes");
        small.delete(b"once").expect("it deletes");
        drop(small);
        let directory = Directory::create(place.path().join("stage")).expect("it is there");
        let mut small = (stage.open)(Arc::new(directory)).expect("it opens again");
        let key = |n: u32| [b"key ".as_slice(), &(n % 701).to_be_bytes()].concat();
        for n in 0..1_500_u32 {
            match n % 5 {
                4 => small.delete(&key(n * 7)).expect("it deletes"),
                _ => small.put(&key(n), &n.to_le_bytes().repeat(n as usize % 40)).expect("it writes"),
            }
        }
        let log = std::fs::File::open(place.path().join("stage/data.log")).expect("it is there");
        let db = Db::open(place.path().join("cairn")).expect("it opens");
        db.replay_log(log, None).expect("every record is whole");
        let mut held = 0;
        for key in (0..701).map(key) {
            let value = db.get(&key).expect("it reads").map(|value| value.to_vec());
            assert_eq!(value, small.get(&key).expect("it reads"), "{}: {}", stage.name, key.escape_ascii());
            held += u32::from(value.is_some());
        }
        assert!(held > 300, "{}: {held} keys hold a value", stage.name);
        assert_eq!(db.scan(..).count() as u32, held, "{}: and no others", stage.name);
    }
}
