//! Full disk: what still works when there is no room, and that the reserve is what makes it work.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use cairndb::storage::{Fate, Fault, Faulty, FileKind, FileName, Storage, Unsynced};
use cairndb::{Db, Error, verify};

use crate::common;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Small, but not so small that the overhead of tables is most of what there is.
const BUDGET: u64 = 256 << 10;

fn open(disk: &Faulty, first_id: u64) -> Db {
    Db::open_with(Arc::new(disk.clone()), common::options(BUDGET, first_id)).unwrap()
}

/// A way to delete most of what there is.
type Delete = fn(&Db, &mut Map) -> Result<(), Error>;

const WAYS: [(&str, Delete); 3] =
    [("one by one", delete_one_by_one), ("by a range", delete_a_range), ("all at once", delete_all)];

/// A key of 16 bytes, scattered.
fn key(number: u64) -> Vec<u8> {
    let mut key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
    key.extend(number.to_be_bytes());
    key
}

/// 100 bytes that do not repeat themselves.
fn value(number: u64) -> Vec<u8> {
    let mix = |index: u64| (number ^ index << 56).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes();
    (0..13).flat_map(mix).take(100).collect()
}

fn put(db: &Db, map: &mut Map, number: u64) -> Result<(), Error> {
    db.put(key(number), value(number))?;
    map.insert(key(number), value(number));
    Ok(())
}

/// All but every tenth key.
fn delete_one_by_one(db: &Db, map: &mut Map) -> Result<(), Error> {
    let keys: Vec<_> =
        map.keys().enumerate().filter(|(index, _)| index % 10 > 0).map(|(_, key)| key.clone()).collect();
    for key in keys {
        db.delete(&key)?;
        map.remove(&key);
    }
    Ok(())
}

fn delete_a_range(db: &Db, map: &mut Map) -> Result<(), Error> {
    db.delete_range([0x20_u8]..)?;
    map.retain(|key, _| key.as_slice() < &[0x20]);
    Ok(())
}

fn delete_all(db: &Db, map: &mut Map) -> Result<(), Error> {
    db.clear()?;
    map.clear();
    Ok(())
}

/// Lets maintenance do what it can, as a thread that looks now and then would.
fn rest(db: &Db) {
    let (mut idle, mut failed, mut steps) = (0, 0, 0);
    while idle < 4 && failed < 20 {
        let step = db.maintain();
        idle = if matches!(step, Ok(true)) { 0 } else { idle + 1 };
        failed += u64::from(step.is_err_and(|error| !matches!(error, Error::DiskFull { .. })));
        steps += 1;
        assert!(steps < 10_000, "maintenance does not come to rest: {}", db.stats());
    }
}

fn require_exactly(db: &Db, map: &Map, what: &str) {
    assert!(common::contents(db).into_iter().eq(map.clone()), "{what}: a scan differs");
    for (key, value) in map {
        assert_eq!(db.get(key).unwrap().as_deref(), Some(value.as_slice()), "{what}: a get differs");
    }
}

/// Deletes, and shows that puts go on by themselves.
fn require_relief(db: &Db, map: &mut Map, delete: Delete, next: &mut u64, what: &str) {
    delete(db, map).unwrap_or_else(|error| panic!("{what}: a delete is refused: {error}"));
    require_exactly(db, map, what);
    rest(db);
    for _ in 0..20 {
        *next += 1;
        put(db, map, *next)
            .unwrap_or_else(|error| panic!("{what}: puts do not resume: {error}\n{}", db.stats()));
    }
    require_exactly(db, map, what);
    assert!(db.stats().stopped.is_none(), "{what}: a full disk is no failure");
}

/// Others fill the disk to the last byte, at any moment in the life of the database.
#[test]
fn with_no_byte_left_deletes_give_space_back_and_puts_resume() {
    let mut uses = 0;
    for (round, puts) in (200..4000).step_by(290).enumerate() {
        for (how, delete) in WAYS {
            for is_maintained in [false, true] {
                let what = format!("{puts} puts, maintained: {is_maintained}, {how}");
                let disk = Faulty::default();
                let db = open(&disk, 1);
                let (mut map, mut next) = (Map::new(), 0);
                while next < puts {
                    next += 1;
                    put(&db, &mut map, next).unwrap();
                    if is_maintained && next % 7 == round as u64 % 7 {
                        db.maintain().unwrap();
                    }
                }
                disk.set_capacity(Some(disk.used_bytes()));
                require_relief(&db, &mut map, delete, &mut next, &what);
                uses += db.stats().reserve_uses;
                db.close().unwrap();
                drop(db);
                let checked = verify(Arc::new(disk.clone())).unwrap();
                assert!(checked.ok(), "{what}: {checked:?}");
                require_exactly(&open(&disk, 1000), &map, &what);
            }
        }
    }
    assert!(uses > 20, "the reserve was needed {uses} times");
}

/// The database fills the disk itself: puts are refused cleanly, and refused again after all that maintenance can do.
#[test]
fn a_disk_that_the_database_has_filled_can_be_emptied() {
    for capacity in (150 << 10..900 << 10).step_by(90_000) {
        for (how, delete) in WAYS {
            let what = format!("{capacity} bytes, {how}");
            let disk = Faulty::default();
            let db = open(&disk, 1);
            disk.set_capacity(Some(capacity));
            let (mut map, mut next) = (Map::new(), 0);
            let mut refused = 0;
            while refused < 5 {
                match put(&db, &mut map, next + 1) {
                    Ok(()) => (next, refused) = (next + 1, 0),
                    Err(Error::DiskFull { .. }) => {
                        refused += 1;
                        rest(&db);
                    }
                    Err(error) => panic!("{what}: {error:?}"),
                }
            }
            require_exactly(&db, &map, &what);
            require_relief(&db, &mut map, delete, &mut next, &what);
            let crashed = disk.crash(capacity);
            drop(db);
            require_exactly(&open(&crashed, 1000), &map, &what);
        }
    }
}

/// The power goes at any call of it; what is found is opened with as little room as there was.
#[test]
fn a_crash_while_the_reserve_is_in_use_loses_nothing() {
    let (mut stopped, mut opened) = (0, 0);
    for calls in (0..).step_by(3) {
        let what = format!("after {calls} calls");
        let disk = Faulty::default();
        let db = open(&disk, 1);
        let (mut map, mut next) = (Map::new(), 0);
        while next < 1000 {
            next += 1;
            put(&db, &mut map, next).unwrap();
        }
        disk.set_capacity(Some(disk.used_bytes()));
        disk.stop_after(calls);
        let done = db.delete_range([0x20_u8]..);
        rest(&db);
        let is_over = done.is_ok() && disk.list("test").is_ok();
        let crashed = if calls % 2 == 0 { disk.crash(calls) } else { disk.kill() };
        drop(db);
        // Where a file had gone, others have taken its space.
        let db = open(&crashed, 1000);
        opened += 1;
        let is_deleted = db.get(map.last_key_value().unwrap().0).unwrap().is_none();
        assert!(is_deleted || done.is_err(), "{what}: an acknowledged delete is gone");
        if is_deleted {
            map.retain(|key, _| key.as_slice() < &[0x20]);
        }
        require_exactly(&db, &map, &what);
        require_relief(&db, &mut map, delete_all, &mut next, &what);
        let reserves =
            crashed.list("test").unwrap().iter().filter(|name| name.kind == FileKind::Reserve).count();
        assert!(reserves <= 4, "{what}: {reserves} files of reserve");
        if is_over {
            break;
        }
        stopped += 1;
    }
    assert!(stopped > 20 && opened > stopped, "{stopped} crashes");
}

/// Without the reserve, the same is in vain: so it is the reserve that the tests above are about.
#[test]
fn without_the_reserve_nothing_comes_back() {
    let disk = Faulty::default();
    let db = open(&disk, 1);
    let (mut map, mut next) = (Map::new(), 0);
    while next < 1000 {
        next += 1;
        put(&db, &mut map, next).unwrap();
    }
    let reserves: Vec<_> =
        disk.list("test").unwrap().into_iter().filter(|name| name.kind == FileKind::Reserve).collect();
    assert!(!reserves.is_empty() && db.stats().reserve_bytes > 0);
    for name in reserves {
        disk.remove("test", name).unwrap();
    }
    disk.set_capacity(Some(disk.used_bytes()));
    let deleted = delete_one_by_one(&db, &mut map);
    rest(&db);
    assert!(matches!(deleted, Err(Error::DiskFull { .. })), "{deleted:?}");
    assert!(matches!(put(&db, &mut map, next + 1), Err(Error::DiskFull { .. })));
    require_exactly(&db, &map, "all that was acknowledged");
}

#[test]
fn a_full_disk_is_opened_out_of_the_reserve() {
    for is_closed in [true, false] {
        let disk = Faulty::default();
        let db = open(&disk, 1);
        let (mut map, mut next) = (Map::new(), 0);
        while next < 800 {
            next += 1;
            put(&db, &mut map, next).unwrap();
        }
        if is_closed {
            db.close().unwrap();
        }
        let disk = disk.kill();
        drop(db);
        disk.set_capacity(Some(disk.used_bytes()));
        let used = disk.used_bytes();
        let read_only =
            Db::open_read_only_with(Arc::new(disk.clone()), common::options(BUDGET, 500)).unwrap();
        require_exactly(&read_only, &map, "read only");
        drop(read_only);
        assert_eq!(disk.used_bytes(), used, "a reader touches nothing");
        let db = open(&disk, 1000);
        require_exactly(&db, &map, "written");
        require_relief(&db, &mut map, delete_one_by_one, &mut next, "opened");
    }
}

/// A reserve that was cut short, is damaged or is not there is laid down again, and read by nobody.
#[test]
fn what_is_in_the_reserve_is_nobodys_business() {
    let disk = Faulty::default();
    let db = open(&disk, 1);
    let (mut map, mut next) = (Map::new(), 0);
    while next < 800 {
        next += 1;
        put(&db, &mut map, next).unwrap();
    }
    let held = db.stats().reserve_bytes;
    db.close().unwrap();
    drop(db);
    let name = *disk.list("test").unwrap().iter().find(|name| name.kind == FileKind::Reserve).unwrap();
    for bytes in [vec![0; 10], vec![0xff; 5000], Vec::new()] {
        disk.write_file(name, &bytes);
        assert!(verify(Arc::new(disk.clone())).unwrap().ok());
        let db = open(&disk, next * 1000);
        require_exactly(&db, &map, "damaged reserve");
        assert!(db.stats().reserve_bytes > 0 && held > 0);
        next += 1;
        put(&db, &mut map, next).unwrap();
        db.close().unwrap();
    }
}

/// The kernel refused one call while an open laid the reserve down, and every put after it was told that the disk was
/// full.
#[test]
fn a_failed_call_while_the_reserve_was_laid_down_looked_like_a_full_disk() {
    let disk = Faulty::default();
    disk.fail(Fault::nth(1, ErrorKind::OutOfMemory).at("reserve.reserve"));
    let db = open(&disk, 1);
    assert_eq!(disk.struck_calls(), 1);
    db.put("k", "v").unwrap();
    assert!(db.stats().reserve_bytes > 0);
}

/// Opens what a killed process has left, on a disk without room, which stops after so many calls; then names reach the disk,
/// and bytes do not.
fn open_without_room(disk: &Faulty, stop_after: u64) -> Faulty {
    // Whoever needs the room may have removed the reserve.
    let names = disk.list("test").unwrap();
    for name in names.iter().filter(|name| name.kind == FileKind::Reserve) {
        disk.remove("test", *name).unwrap();
    }
    disk.set_capacity(Some(disk.used_bytes()));
    disk.stop_after(stop_after);
    let stopped = Db::open_with(Arc::new(disk.clone()), common::options(BUDGET, 200));
    let found = disk.crash_with(&mut |unsynced| match unsynced {
        Unsynced::Sector { .. } | Unsynced::Length { .. } => Fate::Lose,
        _ => Fate::Keep,
    });
    drop(stopped);
    found.set_capacity(None);
    found
}

/// An open that had to make room took every manifest but the newest for replaced, and removed them and their logs. But the
/// newest may be in the page cache alone, left by an open that was killed; then a power loss took all there was.
#[test]
fn an_open_without_room_removed_the_only_manifest_that_was_synced() {
    let disk = Faulty::default();
    let (db, mut map) = (open(&disk, 1), Map::new());
    (0..40).for_each(|number| put(&db, &mut map, number).unwrap());
    db.flush().unwrap();
    (40..60).for_each(|number| put(&db, &mut map, number).unwrap());
    let begun = disk.kill();
    for stop_first in 1..60 {
        for stop_second in 1..60 {
            let what = format!("stopped after {stop_first} and {stop_second} calls");
            let disk = begun.crashed_with(&mut |_| Fate::Keep);
            disk.stop_after(stop_first);
            let stopped = Db::open_with(Arc::new(disk.clone()), common::options(BUDGET, 100));
            let found = open_without_room(&disk.kill(), stop_second);
            drop(stopped);
            let db = Db::open_with(Arc::new(found), common::options(BUDGET, 300));
            require_exactly(&db.unwrap_or_else(|error| panic!("{what}: {error}")), &map, &what);
        }
    }
}

/// An open that had to make room believed the manifest's last edit, and removed the log and the tables that it had given
/// up. But that edit too may be in the page cache alone, left by a process that was killed before its sync, or whose sync
/// failed; then a power loss took the edit, and what was left needed the log.
#[test]
fn an_open_without_room_removed_what_the_last_synced_edit_needed() {
    let disk = Faulty::default();
    let (db, mut map) = (open(&disk, 1), Map::new());
    for number in 0..60 {
        put(&db, &mut map, number).unwrap();
        if number % 20 == 19 {
            db.flush().unwrap();
        }
    }
    (60..80).for_each(|number| put(&db, &mut map, number).unwrap());
    db.close().unwrap();
    let mut stopped = 0;
    for stop_first in 0..40 {
        for stop_second in 40..70 {
            let what = format!("stopped after {stop_first} and {stop_second} calls");
            let disk = disk.crashed_with(&mut |_| Fate::Keep);
            let db = open(&disk, 100);
            disk.stop_after(stop_first);
            stopped += u64::from(db.compact().is_err());
            let found = open_without_room(&disk.kill(), stop_second);
            drop(db);
            let db = Db::open_with(Arc::new(found), common::options(BUDGET, 300));
            require_exactly(&db.unwrap_or_else(|error| panic!("{what}: {error}")), &map, &what);
        }
    }
    assert!(stopped > 100, "{stopped} processes were killed in a flush or a compaction");
}

/// Once a put had been refused, every look for idleness compacted all there was, also when there had been room for long.
#[test]
fn a_disk_that_had_been_full_for_a_moment_counted_as_full_for_good() {
    let disk = Faulty::default();
    let (db, mut map) = (open(&disk, 1), Map::new());
    (0..900).for_each(|number| put(&db, &mut map, number).unwrap());
    rest(&db);
    disk.set_capacity(Some(disk.used_bytes()));
    let refused = (900..5000).any(|number| put(&db, &mut map, number).is_err());
    assert!(refused, "a put was not refused");
    disk.set_capacity(None);
    let before = db.stats();
    for number in 6000..6040 {
        put(&db, &mut map, number).unwrap();
        rest(&db);
    }
    let after = db.stats();
    assert!(after.flushes <= before.flushes + 2, "{} flushes for 40 puts", after.flushes - before.flushes);
    require_exactly(&db, &map, "afterwards");
}

/// Nothing can be numbered after such a file, so every put was damage.
#[test]
fn a_reserve_of_the_greatest_number_ended_all_writing() {
    let disk = Faulty::default();
    open(&disk, 1).close().unwrap();
    let name = FileName { kind: FileKind::Reserve, number: u64::MAX };
    disk.write_file(name, b"\0");
    let (db, mut map) = (open(&disk, 100), Map::new());
    (0..500).for_each(|number| put(&db, &mut map, number).unwrap());
    rest(&db);
    assert!(db.stats().stopped.is_none() && disk.read_file(name).is_none());
}

#[test]
fn of_many_reserves_the_four_longest_are_taken_over() {
    let disk = Faulty::default();
    open(&disk, 1).close().unwrap();
    let reserve = |number| FileName { kind: FileKind::Reserve, number };
    let standing = || disk.list("test").unwrap().into_iter().filter(|name| name.kind == FileKind::Reserve);
    standing().for_each(|name| disk.remove("test", name).unwrap());
    let lens = [(11, 5_000), (12, 9_000), (13, 7_000), (14, 8_000), (15, 1), (16, 6_000)];
    lens.iter().for_each(|(number, len)| disk.write_file(reserve(*number), &vec![0; *len]));
    let db = open(&disk, 100);
    let left = standing().map(|name| name.number).filter(|number| (11..=16).contains(number));
    assert_eq!(left.collect::<Vec<_>>(), [12, 13, 14, 16]);
    assert!(db.stats().reserve_bytes >= 30_000, "{}", db.stats().reserve_bytes);
}

/// docs/decisions/0010: of the longest table below level 0 one piece and half another, and an eighth more. While much was
/// in memory, it was much longer.
#[test]
fn the_reserve_reaches_for_the_longest_table_and_is_cut_back() {
    let disk = Faulty::default();
    let db = Db::open_with(Arc::new(disk.clone()), common::options(4 << 20, 1)).unwrap();
    let mut map = Map::new();
    let mut most = 0;
    for number in 0..20_000 {
        put(&db, &mut map, number).unwrap();
        most = most.max(db.stats().reserve_bytes);
    }
    db.compact().unwrap();
    rest(&db);
    let names = disk.list("test").unwrap();
    let lens = |kind| {
        let of_kind = names.iter().filter(move |name| name.kind == kind);
        of_kind.map(|name| disk.read_file(*name).unwrap().len() as u64).collect::<Vec<_>>()
    };
    let (longest, held) = (*lens(FileKind::SsTable).iter().max().unwrap(), db.stats().reserve_bytes);
    assert!(held > longest * 9 / 8 && held < longest * 4, "{held} bytes for tables of {longest}");
    assert!(held < most / 2 && lens(FileKind::Reserve) == [held], "{held} of {most} bytes");
    require_relief(&db, &mut map, delete_all, &mut 30_000, "afterwards");
}
