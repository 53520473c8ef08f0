//! Each stage, and the engine, held to the contract: what it passes, and by name what it does not.

use std::sync::Arc;

use cairndb::Db;
use contract::{Directory, Subject, TESTS};
use measure::{ENGINE, STAGES};

/// What goes wrong where nothing is synced and no checksum is looked at.
const UNSAFE: &[&str] = &[
    "a power cut loses nothing that was confirmed",
    "after a power cut it opens",
    "a power cut leaves what once was: no holes, no garbage",
    "a power cut while it opens changes nothing",
    "after a failed sync it confirms nothing more",
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
fn stage_3_passes_everything() {
    hold(&STAGES[2], &[]);
}

#[test]
fn stage_4_passes_everything() {
    hold(&STAGES[3], &[]);
}

#[test]
fn the_engine_passes_everything() {
    hold(&ENGINE, &[]);
}

/// Runs every test; those named in `failing` must fail, and no others.
fn hold(subject: &Subject, failing: &[&str]) {
    for test in TESTS {
        match ((test.run)(subject), failing.contains(&test.name)) {
            (Ok(()), false) => {}
            (Err(what), true) => println!("{}: \"{}\" fails, as it should: {what}", subject.name, test.name),
            (Ok(()), true) => panic!("{}: \"{}\" passes, and should not", subject.name, test.name),
            (Err(what), false) => panic!("{}: \"{}\": {what}", subject.name, test.name),
        }
    }
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
        for n in 0..3_000_u32 {
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
