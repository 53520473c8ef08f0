//! Many threads at once: what each may count on while the others write, read, close and wait.

#![expect(clippy::disallowed_methods, reason = "threads and deadlines are what is tested")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use cairndb::storage::{Faulty, Native};
use cairndb::{BackupMode, Batch, Condition, Db, Durability, Error, Options, Outcome, Reader, verify};

use crate::common;

const THREADS: u64 = 8;

/// The keys that each writer writes in one batch, always with one number.
const SET: u64 = 4;

/// A value that carries a number and some weight.
fn numbered(number: u64) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(8 + (number % 200) as usize, number as u8);
    value
}

fn number_of(value: &[u8]) -> u64 {
    u64::from_be_bytes(value[..8].try_into().unwrap())
}

fn set_keys(writer: u64) -> Vec<String> {
    (0..SET).map(|index| format!("w{writer}/set/{index}")).collect()
}

/// Writes what only this writer writes, and reads it back; returns all of it.
fn write_on(db: &Db, writer: u64, over: &AtomicBool, shared: &AtomicU64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut mine = BTreeMap::new();
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let durability = if number % 32 == 0 { Durability::Sync } else { Durability::Os };
        let db = db.with_durability(durability);
        let mut batch = Batch::new();
        for key in set_keys(writer) {
            batch.put(&key, numbered(number));
            mine.insert(key.into_bytes(), numbered(number));
        }
        db.write(batch).unwrap();

        let key = format!("w{writer}/fill/{:04}", number * 7919 % 1000).into_bytes();
        db.put(&key, numbered(number)).unwrap();
        assert_eq!(db.get(&key).unwrap().unwrap(), numbered(number), "a writer reads what it wrote");
        mine.insert(key, numbered(number));

        if number % 50 == 0 {
            let from = number * 31 % 1000;
            let (from, to) =
                (format!("w{writer}/fill/{from:04}"), format!("w{writer}/fill/{:04}", from + 40));
            db.delete_range(&from..&to).unwrap();
            mine.retain(|key, _| key.as_slice() < from.as_bytes() || key.as_slice() >= to.as_bytes());
            assert_eq!(db.scan(&from..&to).count(), 0, "a writer reads what it deleted");
        }
        if number % 8 == 0 {
            let before = db.get("shared").unwrap();
            let next = before.as_ref().map_or(0, |value| number_of(value)) + 1;
            let condition = match &before {
                None => Condition::absent("shared"),
                Some(value) => Condition::value_equal("shared", value),
            };
            let mut batch = Batch::new();
            batch.put("shared", next.to_be_bytes());
            if let Outcome::Written(_) = db.write_if(batch, &[condition]).unwrap() {
                shared.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    mine
}

/// The one number that all keys of a writer's set hold; 0 before the first.
fn set_number(reader: &Reader, writer: u64) -> u64 {
    let values = reader.get_many(set_keys(writer)).unwrap();
    let numbers: Vec<u64> =
        values.iter().map(|value| value.as_ref().map_or(0, |value| number_of(value))).collect();
    assert!(numbers.iter().all(|number| *number == numbers[0]), "a batch seen in part: {numbers:?}");
    numbers[0]
}

fn all_of(reader: &Reader, prefix: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    reader.scan_prefix(prefix).map(|item| item.unwrap()).map(|(key, value)| (key, value.into_vec())).collect()
}

/// Reads what the others write: always whole batches, never older than before, and a snapshot never changes.
fn read_on(db: &Db, over: &AtomicBool) -> u64 {
    let (mut seen, mut shared_seen, mut rounds) = ([0; THREADS as usize], 0, 0);
    while !over.load(Ordering::Relaxed) {
        rounds += 1;
        let snapshot = db.snapshot().unwrap();
        let writer = rounds % THREADS;
        let before: Vec<u64> = (0..THREADS).map(|writer| set_number(&snapshot, writer)).collect();
        let all = all_of(&snapshot, &format!("w{writer}/"));
        for (seen, number) in seen.iter_mut().zip(&before) {
            assert!(*number >= *seen, "a later snapshot sees an older number: {number} after {seen}");
            *seen = *number;
        }
        let now = set_number(db, writer);
        assert!(now >= seen[writer as usize], "the present is older than a snapshot");
        seen[writer as usize] = now;
        let scanned: Vec<u64> =
            all_of(db, &format!("w{writer}/set/")).iter().map(|(_, value)| number_of(value)).collect();
        assert!(
            scanned.iter().all(|number| *number == scanned[0]),
            "a scan saw a batch in part: {scanned:?}"
        );
        let shared = db.get("shared").unwrap().map_or(0, |value| number_of(&value));
        assert!(shared >= shared_seen, "the shared counter fell from {shared_seen} to {shared}");
        shared_seen = shared;

        let again: Vec<u64> = (0..THREADS).map(|writer| set_number(&snapshot, writer)).collect();
        assert_eq!(before, again, "a snapshot has changed");
        let mut backward: Vec<_> = snapshot
            .scan_prefix(format!("w{writer}/"))
            .rev()
            .map(|item| item.unwrap())
            .map(|(key, value)| (key, value.into_vec()))
            .collect();
        backward.reverse();
        assert_eq!(all, backward, "a snapshot read backward is another one");
    }
    rounds
}

fn writers_and_readers(seconds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let options = || Options { memory_budget_bytes: 512 << 10, ..Options::default() };
    let db = options().open(&path).unwrap();
    let (over, shared) = (AtomicBool::new(false), AtomicU64::new(0));
    let (written, rounds) = thread::scope(|scope| {
        let (db, over, shared) = (&db, &over, &shared);
        let writers: Vec<_> =
            (0..THREADS).map(|writer| scope.spawn(move || write_on(db, writer, over, shared))).collect();
        let readers: Vec<_> = (0..THREADS).map(|_| scope.spawn(move || read_on(db, over))).collect();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end && !writers.iter().any(|writer| writer.is_finished()) {
            thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        (written, readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>())
    });
    let stats = db.stats();
    println!("{rounds} rounds of readers\n{stats}");
    assert!(rounds > 0 && stats.flushes > 0 && stats.compactions > 0, "too little happened: {stats}");
    db.close().unwrap();
    drop(db);

    let checked = verify(Arc::new(Native::read_only(&path).unwrap())).unwrap();
    assert!(checked.ok(), "{checked:?}");
    let db = options().open(&path).unwrap();
    for (writer, mine) in written.iter().enumerate() {
        let found: BTreeMap<_, _> = all_of(&db, &format!("w{writer}/")).into_iter().collect();
        assert!(*mine == found, "writer {writer} wrote {} keys, {} were found", mine.len(), found.len());
    }
    let counted = db.get("shared").unwrap().map_or(0, |value| number_of(&value));
    assert_eq!(counted, shared.load(Ordering::Relaxed), "an increment was lost or made twice");
}

#[test]
fn writers_and_readers_share_a_database() {
    writers_and_readers(2);
}

#[test]
#[ignore = "optimised run"]
fn slow_writers_and_readers() {
    writers_and_readers(60);
}

/// Runs `work` on a thread of its own; panics if it takes longer than anything without a wait in it can.
fn within_seconds<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    result.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what} does not return"))
}

/// Waits until `holds`, which another thread brings about.
fn wait_until(holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "what is waited for does not happen");
        thread::sleep(Duration::from_millis(1));
    }
}

fn syncs_at(disk: &Faulty, wanted: &str) -> u64 {
    let is_sync = |operation| matches!(operation, cairndb::storage::Operation::Sync);
    disk.calls().iter().filter(|(site, op, _)| *site == wanted && is_sync(*op)).map(|(.., count)| count).sum()
}

fn require_reads(db: &Db, keys: u32) {
    let db = db.clone();
    within_seconds("a read", move || {
        let snapshot = db.snapshot().unwrap();
        for key in (0..keys).step_by(7) {
            assert!(db.get(key.to_be_bytes()).unwrap().is_some());
            assert!(snapshot.get(key.to_be_bytes()).unwrap().is_some());
        }
        assert_eq!(db.scan(..).count(), keys as usize);
        assert_eq!(snapshot.scan(..).rev().count(), keys as usize);
        assert!(db.get("not yet").unwrap().is_none(), "a write is seen before it is durable");
    });
}

#[test]
fn reads_return_while_a_sync_is_held() {
    let disk = Faulty::default();
    let db = common::open(&disk, 1);
    for key in 0..2000_u32 {
        db.with_durability(Durability::Os).put(key.to_be_bytes(), [7; 40]).unwrap();
    }
    while db.maintain().unwrap() {}
    disk.hold_syncs(true);

    // A writer waits for its sync, and another one behind it.
    let before = syncs_at(&disk, "wal.sync");
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let db = db.clone();
            thread::spawn(move || db.put("not yet", "durable"))
        })
        .collect();
    wait_until(|| syncs_at(&disk, "wal.sync") > before);
    require_reads(&db, 2000);

    disk.hold_syncs(false);
    for writer in writers {
        writer.join().unwrap().unwrap();
    }
    assert_eq!(db.get("not yet").unwrap().unwrap(), "durable");
}

#[test]
fn reads_and_statistics_return_while_a_flush_is_held() {
    let disk = Faulty::default();
    let db = common::open(&disk, 1);
    for key in 0..2000_u32 {
        db.with_durability(Durability::Os).put(key.to_be_bytes(), [7; 40]).unwrap();
    }
    let total = disk.total_calls();
    disk.hold_syncs(true);
    let flusher = {
        let db = db.clone();
        thread::spawn(move || db.flush())
    };
    wait_until(|| disk.total_calls() > total);
    thread::sleep(Duration::from_millis(20));
    require_reads(&db, 2000);
    let asked = db.clone();
    within_seconds("stats()", move || asked.stats());
    disk.hold_syncs(false);
    flusher.join().unwrap().unwrap();
}

/// Writers that wait behind a sync are committed as one group: each condition must see the writes before it in the
/// group, which are in no memtable yet.
#[test]
fn conditions_see_what_waits_in_their_own_group() {
    for round in 0..20 {
        let disk = Faulty::default();
        let db = common::open(&disk, 1);
        db.put("counter", 0_u64.to_be_bytes()).unwrap();
        let before = syncs_at(&disk, "wal.sync");
        disk.hold_syncs(true);
        let leader = {
            let db = db.clone();
            thread::spawn(move || db.put("leader", "waits"))
        };
        wait_until(|| syncs_at(&disk, "wal.sync") > before);
        let claims: Vec<_> = (0..6_u64)
            .map(|claimant| {
                let db = db.clone();
                thread::spawn(move || {
                    let mut batch = Batch::new();
                    // Some remove what they find, so that the next finds it absent again.
                    if claimant == 5 {
                        batch.delete_range("claim".."claim~");
                        db.write(batch).map(Outcome::Written)
                    } else {
                        batch.put("claim", claimant.to_be_bytes());
                        db.write_if(batch, &[Condition::absent("claim")])
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(5));
        disk.hold_syncs(false);
        leader.join().unwrap().unwrap();
        let outcomes: Vec<Outcome> = claims.into_iter().map(|claim| claim.join().unwrap().unwrap()).collect();
        let written = outcomes[..5].iter().filter(|outcome| matches!(outcome, Outcome::Written(_))).count();
        assert!((1..=2).contains(&written), "round {round}: {outcomes:?}");
        if written == 2 {
            let deleted = |outcome: &Outcome| if let Outcome::Written(seq) = outcome { *seq } else { 0 };
            let mut seqs: Vec<u64> = outcomes[..5].iter().map(deleted).filter(|seq| *seq > 0).collect();
            seqs.sort_unstable();
            assert!((seqs[0]..seqs[1]).contains(&deleted(&outcomes[5])), "round {round}: {outcomes:?}");
        }
    }
}

/// Writers that wait behind a sync share the next one: all of them, or as many as a group may hold.
#[test]
fn writers_that_wait_behind_a_sync_share_the_next() {
    // A group holds a quarter of a memtable, 2,730 bytes here: three of the longer values.
    for (value_len, groups) in [(10, 1), (700, 3)] {
        let rounds = (0..20).map(|_| {
            let disk = Faulty::default();
            let db = common::open(&disk, 1);
            let before = syncs_at(&disk, "wal.sync");
            disk.hold_syncs(true);
            let put = |key: u64| {
                let db = db.clone();
                thread::spawn(move || db.put(key.to_be_bytes(), vec![7; value_len]))
            };
            let leader = put(0);
            wait_until(|| syncs_at(&disk, "wal.sync") > before);
            let writers: Vec<_> = (1..=THREADS).map(put).collect();
            thread::sleep(Duration::from_millis(5));
            disk.hold_syncs(false);
            leader.join().unwrap().unwrap();
            writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
            syncs_at(&disk, "wal.sync") - before - 1
        });
        // On a busy machine a writer may come late.
        assert_eq!(rounds.min(), Some(groups), "values of {value_len} bytes");
    }
}

#[test]
fn a_close_among_writers_loses_nothing_that_was_acknowledged() {
    for round in 0..10_u64 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let options = || Options {
            memory_budget_bytes: 256 << 10,
            durability: [Durability::Sync, Durability::Os, Durability::Buffered][round as usize % 3],
            ..Options::default()
        };
        let db = options().open(&path).unwrap();
        let writers: Vec<_> = (0..4_u64)
            .map(|writer| {
                let db = db.clone();
                thread::spawn(move || {
                    for number in 0.. {
                        match db.put(writer.to_be_bytes(), numbered(number)) {
                            Ok(()) => {}
                            Err(Error::Closed) => return number,
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                    unreachable!()
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(10 + 7 * round));
        let closed = db.clone();
        within_seconds("close()", move || closed.close()).unwrap();
        let written: Vec<u64> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        drop(db);
        let db = options().open(&path).unwrap();
        assert!(db.recovery().sealed, "{:?}", db.recovery());
        for (writer, written) in (0_u64..).zip(written) {
            let found = db.get(writer.to_be_bytes()).unwrap().map_or(0, |value| number_of(&value) + 1);
            assert_eq!(found, written, "writer {writer} in round {round}");
        }
    }
}

#[test]
fn a_scan_keeps_the_database_open_after_the_last_handle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let options = || Options { memory_budget_bytes: 256 << 10, ..Options::default() };
    let db = options().open(&path).unwrap();
    let buffered = db.with_durability(Durability::Buffered);
    for key in 0..5000_u32 {
        buffered.put(key.to_be_bytes(), numbered(u64::from(key))).unwrap();
    }
    let mut scan = db.scan(..);
    scan.next().unwrap().unwrap();
    drop((db, buffered));
    assert!(matches!(options().open(&path), Err(Error::Locked { .. })), "the scan still holds it");
    let end = thread::spawn(move || scan.filter(Result::is_ok).count()).join().unwrap();
    assert_eq!(end, 4999);
    let db = options().open(&path).unwrap();
    assert!(db.recovery().sealed);
    assert_eq!(db.scan(..).count(), 5000);
}

#[test]
fn a_snapshot_outlives_compaction_and_not_a_close() {
    let disk = Faulty::default();
    let db = common::open(&disk, 1);
    db.put("key", "old").unwrap();
    let snapshot = db.snapshot().unwrap();
    db.put("key", "new").unwrap();
    db.compact().unwrap();
    assert_eq!(snapshot.get("key").unwrap().unwrap(), "old");
    let mut scan = snapshot.scan(..);
    db.close().unwrap();
    assert!(matches!(snapshot.get("key"), Err(Error::Closed)));
    assert!(matches!(scan.next(), Some(Err(Error::Closed))));
    assert!(scan.next().is_none());
}

/// A reader or a backup that is under way while its database is closed, opened elsewhere and compacted finds its tables
/// gone. That is no damage: it used to be told `Corrupt`.
#[test]
fn a_read_under_way_at_a_close_is_told_of_the_close() {
    let closed_at = |site: &'static str, read: &dyn Fn(&Db, &Faulty) -> Error| {
        let (disk, target) = (Faulty::default(), Faulty::default());
        let db = common::open(&disk, 1);
        db.put("a", "1").unwrap();
        db.compact().unwrap();
        db.close().unwrap();
        let db = common::open(&disk, 100);
        let (closing, source) = (db.clone(), disk.clone());
        let observer = move |_: &Faulty, called, _| {
            if called == site {
                closing.close().unwrap();
                let other = common::open(&source, 200);
                other.put("a", "2").unwrap();
                other.compact().unwrap();
            }
        };
        let observed = if site.starts_with("backup") { &target } else { &disk };
        observed.observe(Some(Box::new(observer)));
        let error = read(&db, &target);
        assert!(matches!(error, Error::Closed), "{site}: {error}");
    };
    closed_at("sstable.open", &|db, _| db.get("a").unwrap_err());
    closed_at("backup.create", &|db, target| db.backup(target, BackupMode::Copy).unwrap_err());
}
