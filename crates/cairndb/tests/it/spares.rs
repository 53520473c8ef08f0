//! Spares: files that a storage makes ahead, because it cannot make them when they are wanted; and names that it cannot sync.

use std::collections::BTreeMap;

use cairndb::storage::{Faulty, FileKind, FileName, Memory, Storage};
use cairndb::{Db, Error, verify};

use crate::common;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Makes empty files ahead of every kind: `count` behind the last that stands.
fn make_spares(storage: &impl Storage, count: u64) {
    let names = storage.list("test").unwrap();
    for kind in FileKind::ALL {
        let of_kind = names.iter().filter(|name| name.kind == kind);
        let last = of_kind.map(|name| name.number).max().unwrap_or(0);
        (last..last + count).for_each(|above| drop(storage.create("test", kind, above).unwrap()));
    }
}

/// Writes, so that memtables are flushed and tables compacted; after each write `see` is told what should be there.
fn work(db: &Db, map: &mut Map, count: u64, mut see: impl FnMut(&Map)) {
    for number in 0..count {
        let (key, value) = (format!("key {}", number * 37 % 101).into_bytes(), vec![number as u8; 150]);
        db.put(&key, &value).unwrap();
        map.insert(key, value);
        see(map);
        if number % 8 == 0 {
            db.maintain().unwrap();
        }
    }
}

fn contents(db: &Db) -> Map {
    common::contents(db).into_iter().collect()
}

/// The files that hold bytes, and those.
fn files_of(storage: &Memory) -> Vec<(FileName, Vec<u8>)> {
    let bytes_of = |name: FileName| {
        let file = storage.open("test", name).unwrap();
        let mut bytes = vec![0; file.len("test").unwrap() as usize];
        file.read_at("test", 0, &mut bytes).unwrap();
        (name, bytes)
    };
    let files = storage.list("test").unwrap().into_iter().map(bytes_of);
    files.filter(|(_, bytes)| !bytes.is_empty()).collect()
}

/// The directory of a browser is one of ours, byte for byte, with empty files beside it.
#[test]
fn files_made_ahead_change_no_name_and_no_byte() {
    let (with, without) = (Memory::default(), Memory::default());
    for round in 0..4 {
        make_spares(&with, 3);
        let [with_report, without_report] = [&with, &without].map(|storage| {
            let db = common::open(storage, 1 + 100 * round);
            work(&db, &mut Map::new(), 900, |_| {});
            if round % 2 == 0 {
                db.close().unwrap();
            }
            db.recovery().clone()
        });
        assert_eq!(with_report, without_report, "round {round}: spares are no orphans");
        let [with_files, without_files] = [&with, &without].map(files_of);
        assert!(with_files.len() > 4, "round {round}: {} files", with_files.len());
        assert!(with_files == without_files, "round {round}: the files differ");
        let check = verify(std::sync::Arc::new(with.clone())).unwrap();
        assert!(check.ok() && !format!("{check:?}").contains("nothing names"), "round {round}: {check:?}");
    }
}

/// The next number is the next: an empty file that was left behind is used, not passed over.
#[test]
fn an_empty_file_that_a_crash_left_is_used_next() {
    let disk = Faulty::default();
    let db = common::open(&disk, 1);
    work(&db, &mut Map::new(), 900, |_| {});
    db.close().unwrap();
    let last = |kind| disk.list("test").unwrap().into_iter().filter(|name| name.kind == kind).max().unwrap();
    let before = FileKind::ALL.map(last);
    make_spares(&disk, 1);
    let db = common::open(&disk, 100);
    let after = [FileKind::Manifest, FileKind::Wal].map(last);
    assert_eq!(after[0].number, before[0].number + 1, "{before:?} {after:?}");
    assert_eq!(after[1].number, before[2].number + 1, "{before:?} {after:?}");
    assert_eq!(db.recovery().files_removed, 2, "the manifest and the log before");
}

/// What a browser promises of bytes and we of names that are older than the last of its own syncs: nothing is lost.
#[test]
fn names_made_long_before_are_as_good_as_synced() {
    for seed in 0..60 {
        let disk = Faulty::default();
        common::open(&disk, 1).close().unwrap();
        make_spares(&disk, 60);
        disk.sync_names("test").unwrap();
        disk.forget_names(true);
        let db = common::open(&disk, 100);
        let mut map = Map::new();
        work(&db, &mut map, 600 + seed * 7, |_| {});
        assert!(db.stats().flushes > 3 && db.stats().compactions > 0, "{}", db.stats());
        let found = disk.crash(seed);
        drop(db);
        assert!(contents(&common::open(&found, 1000)) == map, "seed {seed}");
    }
}

/// A name made just before the power went may go with it. Then an older state is found, whole, or the open says what is
/// missing; never anything in between.
#[test]
fn names_that_vanish_leave_a_prefix_or_are_told() {
    let (mut prefixes, mut losses, mut told) = (0, 0, 0);
    for seed in 0..60 {
        let disk = Faulty::default();
        let (mut map, mut states) = (Map::new(), vec![Map::new()]);
        let db = common::open(&disk, 1);
        work(&db, &mut map, 300 + seed, |map| states.push(map.clone()));
        disk.forget_names(true);
        work(&db, &mut map, 300 + seed % 7 * 60, |map| states.push(map.clone()));
        let found = disk.crash(seed);
        drop(db);
        match Db::open_with(std::sync::Arc::new(found), common::options(common::TINY, 1000)) {
            Ok(db) => {
                let found = contents(&db);
                assert!(states.contains(&found), "seed {seed}: what is found was never there");
                prefixes += 1;
                losses += u64::from(found != map);
            }
            Err(Error::Corrupt { .. }) => told += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    println!("{prefixes} prefixes, {losses} of them short; {told} told");
    assert!(prefixes > 0 && told > 0, "{prefixes} prefixes, {told} told");
}
