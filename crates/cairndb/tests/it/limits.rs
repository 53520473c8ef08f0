//! Limits: how much memory and disk a database takes, and what it does when there is no more.

#![expect(clippy::disallowed_methods, reason = "processes, directories and time are what is measured")]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairndb::storage::{Fault, Faulty, FileKind, Memory, Operation, Storage};
use cairndb::{Batch, Db, Durability, Error, Options};

use crate::common;

/// The bytes of all files.
fn disk_len(storage: &dyn Storage) -> u64 {
    let names = storage.list("test").unwrap();
    names.iter().map(|name| storage.open("test", *name).unwrap().len("test").unwrap()).sum()
}

/// Lets maintenance come to rest: twice nothing to do, since what an idle database owes shows at the second look.
fn rest(db: &Db) {
    let mut idle = 0;
    while idle < 3 {
        idle = if db.maintain().unwrap() { 0 } else { idle + 1 };
    }
}

/// A key of 16 bytes, scattered.
fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// 100 bytes that do not repeat themselves.
fn value(number: u64, round: u64) -> [u8; 100] {
    let mut value = [0; 100];
    for (index, chunk) in (0..).zip(value.chunks_mut(8)) {
        let mixed = (number ^ round << 40 ^ index << 56).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        chunk.copy_from_slice(&(mixed ^ mixed >> 29).to_le_bytes()[..chunk.len()]);
    }
    value
}

/// What rests beside the data whatever its size, in bytes: two logs of a memtable each, laid down in steps of up to 1
/// MiB; the manifest; and a memtable that is too small a part of the data to be flushed.
fn disk_constant(memory_budget_bytes: u64) -> u64 {
    2 * (memory_budget_bytes / 6 + (1 << 20)) + (512 << 10)
}

/// Overwrites `keys` keys `rounds` times and holds what is left on the disk against what a compaction leaves.
fn overwrite(keys: u64, rounds: u64, memory_budget_bytes: u64) {
    let storage = Memory::default();
    let options = Options { durability: Durability::Os, ..common::options(memory_budget_bytes, 1) };
    let db = Db::open_with(Arc::new(storage.clone()), options).unwrap();
    for round in 0..rounds {
        for number in 0..keys {
            db.put(key(number * 7919 % keys), value(number, round)).unwrap();
        }
    }
    rest(&db);
    let at_rest = disk_len(&storage);
    db.compact().unwrap();
    rest(&db);
    let compacted = disk_len(&storage);
    let allowed = compacted + compacted / 5 + disk_constant(memory_budget_bytes);
    println!("{keys} keys {rounds} times: {at_rest} bytes at rest, {compacted} compacted, {allowed} allowed");
    assert!(at_rest <= allowed, "{at_rest} bytes at rest, {compacted} compacted, {allowed} allowed");
    assert!(db.stats().disk_bytes < 2 * keys * 116, "{}", db.stats());
    assert_eq!(db.scan(..).count() as u64, keys);
}

#[test]
fn overwrites_leave_little_behind() {
    overwrite(2000, 20, 64 << 10);
}

#[test]
#[ignore = "optimised run"]
fn slow_five_million_overwrites_leave_little_behind() {
    overwrite(100_000, 50, 8 << 20);
}

#[test]
fn an_empty_database_takes_a_few_kibibytes() {
    let storage = Memory::default();
    let options = || common::options(256 << 20, 1);
    drop(Db::open_with(Arc::new(storage.clone()), options()).unwrap());
    assert!(disk_len(&storage) <= 32 << 10, "{} bytes", disk_len(&storage));
    let db = Db::open_with(Arc::new(storage.clone()), options()).unwrap();
    rest(&db);
    assert!(disk_len(&storage) <= 32 << 10, "{} bytes", disk_len(&storage));
}

#[test]
fn a_thousand_short_lives_leave_few_files_and_grow_no_dearer() {
    let disk = Faulty::default();
    let mut calls = Vec::new();
    for round in 0..1000_u64 {
        let before = disk.total_calls();
        // Each process draws ids of its own.
        let db = Db::open_with(Arc::new(disk.clone()), common::options(256 << 20, round * 10 + 1)).unwrap();
        db.put(key(round), value(round, 0)).unwrap();
        db.close().unwrap();
        calls.push(disk.total_calls() - before);
    }
    let files = disk.list("test").unwrap().len();
    assert!(files < 20, "{files} files");
    let (first, last): (u64, u64) = (calls[..100].iter().sum(), calls[900..].iter().sum());
    assert!(last <= 2 * first, "the first hundred made {first} calls, the last hundred {last}");
    let db = Db::open_with(Arc::new(disk), common::options(256 << 20, 1 << 40)).unwrap();
    assert_eq!(db.scan(..).count(), 1000);
}

#[test]
#[ignore = "optimised run"]
fn slow_a_thousand_short_lives_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut took = Vec::new();
    for round in 0..1000_u64 {
        let begun = Instant::now();
        let db = Db::open(&path).unwrap();
        db.put(key(round), value(round, 0)).unwrap();
        db.close().unwrap();
        drop(db);
        took.push(begun.elapsed());
    }
    let files = std::fs::read_dir(&path).unwrap().count();
    assert!(files < 20, "{files} files");
    // The quick ones, for the machine has other things to do as well. What grew with each life would be ten times as long.
    let quick = |took: &mut [Duration]| {
        took.sort();
        took[took.len() / 10]
    };
    let (first, last) = (quick(&mut took[..100]), quick(&mut took[900..]));
    println!("the first hundred took {first:?} each, the last hundred {last:?}");
    assert!(last <= 3 * first, "the first hundred took {first:?} each, the last hundred {last:?}");
}

#[test]
fn what_is_deleted_gives_its_space_back() {
    type Delete = fn(&Db, u64);
    let ways: [(&str, Delete); 3] = [
        ("one by one", |db, keys| {
            (0..keys).for_each(|number| db.delete(key(number)).unwrap());
        }),
        ("by ranges", |db, _| {
            (0..=254_u8).for_each(|byte| db.delete_range([byte]..[byte + 1]).unwrap());
            db.delete_range([255_u8]..).unwrap();
        }),
        ("at once", |db, _| db.clear().unwrap()),
    ];
    for (how, delete) in ways {
        let storage = Memory::default();
        let db = Db::open_with(Arc::new(storage.clone()), common::options(common::TINY, 1)).unwrap();
        for number in 0..20_000 {
            db.put(key(number), value(number, 0)).unwrap();
        }
        rest(&db);
        let full = disk_len(&storage);
        delete(&db, 20_000);
        rest(&db);
        let left = disk_len(&storage);
        assert_eq!(db.scan(..).count(), 0);
        assert!(full > 2 << 20, "{full}");
        // A manifest may grow to 256 KiB, in room of twice that, before it is replaced.
        assert!(left <= 600 << 10, "{how}: {left} of {full} bytes are left\n{}", db.stats());
    }
}

const MEMORY_ENTRIES: &str = "CAIRN_TEST_ENTRIES";
const MEMORY_BUDGET: u64 = 8 << 20;

/// What is allocated beside the budget, in bytes: the blocks that a compaction and the scans hold, the log's and the
/// table writers' buffers, the filter's hashes, the list of tables.
const MEMORY_CONSTANT: u64 = 4 << 20;

/// The part of [`slow_memory_keeps_to_the_budget`] that runs in a process of its own: loads, reads, scans, compacts.
#[test]
#[ignore = "optimised run"]
fn load_for_another_process() {
    let Ok(entries) = std::env::var(MEMORY_ENTRIES) else { return };
    let entries: u64 = entries.parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    crate::ALLOCATOR.reset_peak_usage();
    let before = crate::ALLOCATOR.current_usage();
    let options =
        Options { memory_budget_bytes: MEMORY_BUDGET, durability: Durability::Os, ..Options::default() };
    let db = options.open(dir.path().join("db")).unwrap();
    let mut batch = Batch::new();
    for number in 0..entries {
        batch.put(key(number), value(number, 0));
        if batch.len() == 100 {
            db.write(std::mem::take(&mut batch)).unwrap();
        }
    }
    db.write(batch).unwrap();
    for number in (0..entries).step_by(37) {
        assert_eq!(db.get(key(number)).unwrap().unwrap(), value(number, 0)[..]);
    }
    assert_eq!(db.scan(..).count() as u64, entries);
    db.compact().unwrap();
    assert_eq!(db.scan(..).rev().count() as u64, entries);
    assert!(db.stats().disk_bytes > MEMORY_BUDGET, "over the budget: {}", db.stats());
    println!("took {} bytes more than before the open", crate::ALLOCATOR.peak_usage() - before);
}

/// The counting allocator counts what a whole process allocates, so each load runs in one of its own.
#[test]
#[ignore = "optimised run"]
fn slow_memory_keeps_to_the_budget() {
    let allowed = MEMORY_BUDGET + MEMORY_CONSTANT;
    let took = [150_000_u64, 8 * 150_000].map(|entries| {
        let ran = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "limits::load_for_another_process", "--ignored", "--nocapture"])
            .env(MEMORY_ENTRIES, entries.to_string())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success(), "{told}{}", String::from_utf8_lossy(&ran.stderr));
        let words: Vec<&str> = told.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "took").unwrap_or_else(|| panic!("{told}"));
        words[at + 1].parse::<u64>().unwrap()
    });
    println!("{took:?} bytes, {allowed} allowed");
    assert!(took.iter().all(|took| *took <= allowed), "{took:?} bytes, {allowed} allowed");
    assert!(took[0] > MEMORY_BUDGET / 2, "the count counts something: {took:?}");
}

/// Others have taken the space that the database kept back.
fn remove_reserve(disk: &Faulty) {
    let names = disk.list("test").unwrap();
    for name in names.into_iter().filter(|name| name.kind == FileKind::Reserve) {
        disk.remove("test", name).unwrap();
    }
}

/// Puts until the disk is full; how many were acknowledged.
fn fill(db: &Db) -> u64 {
    for number in 0.. {
        match db.put(key(number), value(number, 0)) {
            Ok(()) => {}
            Err(Error::DiskFull { .. }) => return number,
            Err(error) => panic!("put {number}: {error:?}"),
        }
        assert!(number < 1 << 20, "the disk does not fill up");
    }
    unreachable!()
}

fn require_exactly(db: &Db, count: u64) {
    for number in 0..count {
        assert_eq!(db.get(key(number)).unwrap().unwrap(), value(number, 0)[..], "of {count}: {number}");
    }
    assert_eq!(db.scan(..).count() as u64, count);
}

#[test]
fn a_full_disk_is_refused_and_waited_out() {
    for capacity in [24 << 10, 40 << 10, 100 << 10, 300 << 10, 700 << 10, 1_500_000] {
        let disk = Faulty::default();
        let db = common::open(&disk, 1);
        disk.set_capacity(Some(capacity));
        let mut count = fill(&db);
        require_exactly(&db, count);
        // A flush may have given back enough for some more.
        for _ in 0..20 {
            match db.put(key(count), value(count, 0)) {
                Ok(()) => count += 1,
                refused => assert!(matches!(refused, Err(Error::DiskFull { .. })), "{refused:?}"),
            }
        }
        assert!(db.stats().stopped.is_none(), "a full disk is no failure: {:?}", db.stats().stopped);

        // What was refused is not written, ever: not here, and not after a crash.
        require_exactly(&db, count);
        let crashed = disk.crash(capacity);
        drop(db);
        crashed.set_capacity(None);
        let db = common::open(&crashed, 1000);
        require_exactly(&db, count);
        db.put("more", "room").unwrap();
    }
}

#[test]
fn writing_resumes_when_there_is_room() {
    for capacity in [60 << 10, 200 << 10, 700 << 10] {
        let disk = Faulty::default();
        let db = common::open(&disk, 1);
        disk.set_capacity(Some(capacity));
        let count = fill(&db);
        drop(db.maintain());
        disk.set_capacity(Some(4 * capacity));
        rest(&db);
        for number in count..count + 200 {
            db.put(key(number), value(number, 0)).unwrap();
        }
        require_exactly(&db, count + 200);
        db.close().unwrap();
        drop(db);
        let db = common::open(&disk, 1000);
        require_exactly(&db, count + 200);
    }
}

#[test]
fn a_log_that_cannot_grow_still_takes_deletes() {
    let disk = Faulty::default();
    // The memtable has room: what is full is the log.
    let db = Db::open_with(Arc::new(disk.clone()), common::options(4 << 20, 1)).unwrap();
    disk.set_capacity(Some(100 << 10));
    let count = fill(&db);
    for number in 0..20 {
        db.delete(key(number)).unwrap();
    }
    db.clear().unwrap();
    assert_eq!(db.scan(..).count(), 0);
    assert!(matches!(db.put(key(count), value(count, 0)), Err(Error::DiskFull { .. })));
    let crashed = disk.crash(9);
    drop(db);
    crashed.set_capacity(None);
    assert_eq!(common::open(&crashed, 1000).scan(..).count(), 0);
}

#[test]
fn a_disk_that_is_full_at_the_open_is_named() {
    let disk = Faulty::default();
    let db = common::open(&disk, 1);
    for number in 0..100 {
        db.put(key(number), value(number, 0)).unwrap();
    }
    db.close().unwrap();
    drop(db);
    remove_reserve(&disk);
    disk.set_capacity(Some(disk.used_bytes() + 100));
    let opened = Db::open_with(Arc::new(disk.clone()), common::options(common::TINY, 100));
    let error = opened.err().expect("there was no room for a log");
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    let read_only =
        Db::open_read_only_with(Arc::new(disk.clone()), common::options(common::TINY, 200)).unwrap();
    require_exactly(&read_only, 100);
    drop(read_only);
    disk.set_capacity(None);
    let db = common::open(&disk, 300);
    require_exactly(&db, 100);
}

/// An open that failed for want of room left its half-written table behind, and the next one found less room than the
/// one before, until none was left.
#[test]
fn an_open_that_fails_leaves_no_file_behind() {
    let disk = Faulty::default();
    let db = common::open(&disk, 1);
    for number in 0..60 {
        db.put(key(number), value(number, 0)).unwrap();
    }
    let disk = disk.kill();
    drop(db);
    remove_reserve(&disk);
    let (used, mut failed) = (disk.used_bytes(), 0);
    for more in (0..40_000).step_by(500) {
        disk.set_capacity(Some(used + more));
        match Db::open_with(Arc::new(disk.clone()), common::options(common::TINY, 100 + more)) {
            Ok(db) => {
                require_exactly(&db, 60);
                break;
            }
            Err(Error::DiskFull { .. }) => failed += 1,
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(disk.used_bytes(), used, "with {more} bytes of room");
    }
    assert!(failed > 3, "{failed} opens failed");
}

#[test]
fn a_failed_append_or_sync_of_the_log_stops_writing_and_reads_go_on() {
    for operation in [Operation::Append, Operation::Sync] {
        let disk = Faulty::default();
        let db = common::open(&disk, 1);
        for number in 0..200 {
            db.put(key(number), value(number, 0)).unwrap();
        }
        let site = if operation == Operation::Sync { "wal.sync" } else { "wal.append" };
        disk.fail(Fault::nth(1, std::io::ErrorKind::Other).at(site).on(operation));
        let unknown = db.put(key(200), value(200, 0));
        assert!(matches!(unknown, Err(Error::Io { .. })), "{unknown:?}");
        for refused in
            [db.put("more", "1"), db.delete("more"), db.flush(), db.compact(), db.maintain().map(drop)]
        {
            assert!(matches!(refused, Err(Error::Stopped { .. })), "{refused:?}");
        }
        assert!(db.stats().stopped.is_some_and(|cause| cause.contains(".wal")));
        for number in 0..200 {
            assert_eq!(db.get(key(number)).unwrap().unwrap(), value(number, 0)[..]);
        }
        assert_eq!(db.snapshot().unwrap().scan(..).count(), 200);
        let crashed = disk.crash(7);
        drop(db);
        let db = common::open(&crashed, 1000);
        let count = db.scan(..).count() as u64;
        assert!(count == 200 || count == 201, "{count}");
        require_exactly(&db, count);
        db.put("more", "1").unwrap();
    }
}

#[test]
fn a_failed_write_of_the_manifest_stops_writing_and_reads_go_on() {
    for (site, operation) in [("manifest.append", Operation::Append), ("manifest.sync", Operation::Sync)] {
        let disk = Faulty::default();
        let db = common::open(&disk, 1);
        for number in 0..50 {
            db.put(key(number), value(number, 0)).unwrap();
        }
        disk.fail(Fault::nth(1, std::io::ErrorKind::Other).at(site).on(operation));
        assert!(matches!(db.flush(), Err(Error::Io { .. })));
        assert!(matches!(db.put("more", "1"), Err(Error::Stopped { .. })));
        require_exactly(&db, 50);
        drop(db);
        let db = common::open(&disk, 1000);
        require_exactly(&db, 50);
        db.close().unwrap();
        let crashed = disk.crash(3);
        drop(db);
        require_exactly(&common::open(&crashed, 2000), 50);
    }
}

#[test]
fn a_failed_write_of_a_table_is_tried_again_into_a_new_one() {
    let faults = [
        ("sstable.create", Operation::Create),
        ("sstable.append", Operation::Append),
        ("sstable.sync", Operation::Sync),
    ];
    for (site, operation) in faults {
        let disk = Faulty::default();
        let db = common::open(&disk, 1);
        for number in 0..50 {
            db.put(key(number), value(number, 0)).unwrap();
        }
        disk.fail(Fault::nth(1, std::io::ErrorKind::Other).at(site).on(operation));
        let failed = db.flush();
        assert!(matches!(failed, Err(Error::Io { .. })), "{site}: {failed:?}");
        assert!(db.stats().stopped.is_none() && db.stats().maintenance_error.is_some(), "{site}");
        db.put("in", "between").unwrap();
        db.delete("in").unwrap();
        db.flush().unwrap();
        require_exactly(&db, 50);
        db.compact().unwrap();
        require_exactly(&db, 50);
        let tables = disk.list("test").unwrap().iter().filter(|name| name.kind == FileKind::SsTable).count();
        assert_eq!(tables as u64, db.stats().levels.iter().map(|level| level.tables).sum::<u64>(), "{site}");
        let crashed = disk.crash(5);
        drop(db);
        require_exactly(&common::open(&crashed, 1000), 50);
    }
}

#[test]
fn without_a_spare_file_nothing_is_lost_and_writing_goes_on_later() {
    let disk = Faulty::default();
    let db = common::open(&disk, 1);
    disk.set_spares(Some(0));
    let mut count = 0;
    let refused = loop {
        match db.put(key(count), value(count, 0)) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Busy { .. }), "{refused:?}");
    require_exactly(&db, count);
    disk.set_spares(Some(3));
    rest(&db);
    for number in count..count + 20 {
        db.put(key(number), value(number, 0)).unwrap();
    }
    require_exactly(&db, count + 20);
    let crashed = disk.crash(11);
    drop(db);
    require_exactly(&common::open(&crashed, 1000), count + 20);
}

/// An empty `Sync` batch, which is how weaker writes are synced together, was told `Busy` when they had just filled memory
/// up: so were they, though they had been made.
#[test]
fn what_was_written_could_not_be_synced_while_memory_was_full() {
    let disk = Faulty::default();
    let db = common::open(&disk, 1);
    let weak = db.with_durability(Durability::Buffered);
    disk.set_spares(Some(0));
    let mut count = 0;
    while weak.put(key(count), value(count, 0)).is_ok() {
        count += 1;
    }
    db.write(Batch::new()).unwrap();
    assert!(matches!(weak.put(key(count), value(count, 0)), Err(Error::Busy { .. })));
    let crashed = disk.crash(13);
    drop(db);
    require_exactly(&common::open(&crashed, 1000), count);
}

/// The cache gives way to memtables that one long batch has made longer than they should be.
#[test]
fn a_batch_of_a_quarter_of_the_budget_takes_room_from_the_cache() {
    let budget = 1 << 20;
    let db = Db::open_with(Arc::new(Memory::default()), common::options(budget, 1)).unwrap();
    for key in 0..3000_u32 {
        db.put(key.to_be_bytes(), vec![key as u8; 500]).unwrap();
    }
    db.compact().unwrap();
    assert_eq!(db.scan(..).count(), 3000);
    (0..3000_u32).for_each(|key| drop(db.get(key.to_be_bytes()).unwrap()));
    let full = db.stats().cache_bytes;
    // Two memtables as long as they get, the second of them by a batch.
    for key in 0..700_u32 {
        let before = db.stats();
        if before.memtable_bytes > budget * 3 / 10 {
            break;
        }
        db.put(key.to_be_bytes(), vec![7; 500]).unwrap();
    }
    db.put("long", vec![8; budget as usize / 4 - 100]).unwrap();
    let stats = db.stats();
    assert!(full > budget / 2 && stats.memtable_bytes > budget / 2, "{full} bytes of cache, {stats}");
    assert!(stats.memtable_bytes + stats.cache_bytes <= budget + budget / 16, "{stats}");
}

/// What tables hold themselves, and what the cache holds of them, goes with them.
#[test]
fn the_memory_of_tables_that_are_gone_is_given_back() {
    let db = Db::open_with(Arc::new(Memory::default()), common::options(common::TINY, 1)).unwrap();
    for round in 0..3 {
        for number in 0..20_000 {
            db.put(key(number), value(number, round)).unwrap();
        }
        rest(&db);
        (0..20_000).step_by(7).for_each(|number| assert!(db.get(key(number)).unwrap().is_some()));
        assert!(db.stats().cache_bytes > 0, "{}", db.stats());
        db.clear().unwrap();
        db.compact().unwrap();
        rest(&db);
        assert_eq!(db.stats().cache_bytes, 0, "{}", db.stats());
    }
}

/// The simulator opens a database for every crash state that it judges, so an open must cost next to nothing.
#[test]
fn a_small_database_opens_within_200_microseconds() {
    let memory = Memory::default();
    let db = common::open(&memory, 1);
    for key in 0..20_u32 {
        db.put(key.to_be_bytes(), "value").unwrap();
    }
    db.compact().unwrap();
    db.put("in the log", "value").unwrap();
    db.close().unwrap();
    let timed = || {
        let start = Instant::now();
        let db = common::open(&memory, 100);
        let took = start.elapsed();
        db.close().unwrap();
        took
    };
    let quickest = (0..200).map(|_| timed()).min().unwrap();
    println!("{} us", quickest.as_nanos() as f64 / 1e3);
    assert!(quickest < Duration::from_micros(200), "{quickest:?}");
}
