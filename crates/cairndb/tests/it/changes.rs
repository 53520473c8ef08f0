//! Changes: everything that was written comes back, in order and whole, as long as it is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cairndb::storage::{Fault, Faulty, FileKind, Memory, Storage};
use cairndb::{Batch, Change, ChangeEntry, ChangeKind, Changes, Db, Durability, Error, Options, verify};

use crate::common;

const BUDGET: u64 = 64 << 10;

fn options(keep_changes_bytes: u64, id: u64) -> Options {
    Options { keep_changes_bytes, ..common::options(BUDGET, id) }
}

fn open(storage: &(impl Storage + Clone + 'static), keep_changes_bytes: u64, id: u64) -> Db {
    Db::open_with(Arc::new(storage.clone()), options(keep_changes_bytes, id)).unwrap()
}

fn all(changes: &mut Changes) -> Vec<Change> {
    std::iter::from_fn(|| changes.next_change().unwrap()).collect()
}

fn put(seq: u64, keyspace: u8, key: &str, value: &str, expires_at_ms: Option<u64>) -> ChangeEntry {
    let kind = ChangeKind::Put { value: value.into(), expires_at_ms };
    ChangeEntry { seq, keyspace, key: key.into(), kind }
}

/// Writes batch number `n`, whose length differs from its neighbours', and returns what should be read of it.
fn write(db: &Db, n: u64) -> Change {
    let mut batch = Batch::new();
    for index in 0..n % 3 + 1 {
        batch.put(format!("key {n}.{index}"), format!("{n:>100}"));
    }
    let last_seq = db.write(batch).unwrap();
    let first_seq = last_seq - n % 3;
    let entry = |index| put(first_seq + index, 0, &format!("key {n}.{index}"), &format!("{n:>100}"), None);
    Change { first_seq, last_seq, entries: (0..n % 3 + 1).map(entry).collect() }
}

fn wal_bytes(disk: &Faulty) -> u64 {
    let wals = disk.list("test").unwrap().into_iter().filter(|name| name.kind == FileKind::Wal);
    wals.map(|name| disk.open("test", name).unwrap().len("test").unwrap()).sum()
}

#[test]
fn every_kind_of_entry_comes_back() {
    let db = open(&Memory::default(), 0, 1);
    let mut changes = db.changes(0).unwrap();
    assert_eq!(changes.next_change().unwrap(), None);
    let mut batch = Batch::new();
    batch.put("a", "1").put_with_expiry("b", "2", 5_000).delete("a").delete_range("c".."d");
    batch.keyspace(254).delete_range("e"..).put("", "");
    db.write(batch).unwrap();
    db.replay_log(&b""[..], None).unwrap();
    db.keyspace(7).unwrap().put("z", "26").unwrap();
    let entry = |seq, keyspace, key: &str, kind| ChangeEntry { seq, keyspace, key: key.into(), kind };
    let expected = [
        Change {
            first_seq: 1,
            last_seq: 6,
            entries: vec![
                put(1, 0, "a", "1", None),
                put(2, 0, "b", "2", Some(5_000)),
                entry(3, 0, "a", ChangeKind::Delete),
                entry(4, 0, "c", ChangeKind::DeleteRange { end: Some(b"d".to_vec()) }),
                entry(5, 254, "e", ChangeKind::DeleteRange { end: None }),
                put(6, 254, "", "", None),
            ],
        },
        Change { first_seq: 7, last_seq: 7, entries: vec![put(7, 7, "z", "26", None)] },
    ];
    assert_eq!(all(&mut changes), expected);
    assert_eq!(all(&mut db.changes(6).unwrap()), expected[1..]);
    // In the middle of a batch: the batch is whole all the same.
    assert_eq!(all(&mut db.changes(3).unwrap()), expected);
    assert!(matches!(db.changes(8), Err(Error::Invalid { .. })), "there is no such change yet");
}

#[test]
fn the_engines_own_entries_are_not_shown() {
    let db = open(&Memory::default(), 0, 1);
    let mut log = Vec::new();
    cairndb::roadmap_log::encode_put(b"key", b"value", &mut log);
    db.replay_log(&log[..], None).unwrap();
    let seen = all(&mut db.changes(0).unwrap());
    assert_eq!(seen.len(), 1);
    assert!(seen[0].entries.iter().all(|entry| entry.keyspace == 0 && entry.key == b"key"), "{seen:?}");
    assert!(seen[0].last_seq - seen[0].first_seq >= 1, "the replay's checkpoint was in the batch");
}

#[test]
fn changes_outlive_flushes_opens_and_crashes() {
    let mut disk = Faulty::default();
    let mut expected = Vec::new();
    for life in 0..4 {
        let db = open(&disk, 64 << 20, 1 + life);
        expected.extend((0..300).map(|n| write(&db, life * 300 + n)));
        assert!(db.stats().flushes > 0, "the test wants logs that recovery does not need");
        match life % 2 {
            0 => db.close().unwrap(),
            _ => disk = disk.crash(life),
        }
    }
    let db = open(&disk, 64 << 20, 9);
    assert_eq!(db.oldest_change(), 1);
    assert_eq!(all(&mut db.changes(0).unwrap()), expected);
    for since in [1, 77, 599, 600, 601] {
        let behind: Vec<_> = expected.iter().filter(|change| change.last_seq > since).cloned().collect();
        assert_eq!(all(&mut db.changes(since).unwrap()), behind, "behind {since}");
    }
    drop(db);
    let verification = verify(Arc::new(disk.clone())).unwrap();
    assert!(verification.ok(), "{verification:?}");
}

#[test]
fn no_more_is_kept_than_was_asked_for() {
    let disk = Faulty::default();
    let keep = 100 << 10;
    let db = open(&disk, keep, 1);
    let first = write(&db, 0);
    let mut slow = db.changes(0).unwrap();
    assert_eq!(slow.next_change().unwrap(), Some(first));
    (1..4_000).for_each(|n| drop(write(&db, n)));
    db.flush().unwrap();
    while db.maintain().unwrap() {}
    let stats = db.stats();
    assert!((1..=keep).contains(&stats.changes_bytes), "{}", stats.changes_bytes);
    assert_eq!(stats.oldest_change_seq, db.oldest_change());
    // What is being written and its successor come on top.
    assert!(wal_bytes(&disk) <= keep + 2 * BUDGET, "{}", wal_bytes(&disk));
    let oldest = db.oldest_change();
    assert!(oldest > 1_000, "{oldest}");
    let gone = |result: Result<(), Error>| match result {
        Err(Error::Invalid { what }) => assert!(what.contains("not kept any more"), "{what}"),
        other => panic!("{other:?}"),
    };
    gone(slow.next_change().map(drop));
    gone(db.changes(oldest - 2).map(drop));
    let kept = all(&mut db.changes(oldest - 1).unwrap());
    assert_eq!(kept[0].first_seq, oldest);
    assert_eq!(kept.last().unwrap().last_seq, db.stats().seq);
    // Who opens it with less keeps less.
    db.close().unwrap();
    let db = open(&disk, 0, 2);
    assert!(db.oldest_change() > oldest);
    assert_eq!(db.stats().changes_bytes, 0);
    assert!(wal_bytes(&disk) <= 2 * BUDGET, "{}", wal_bytes(&disk));
}

#[test]
fn what_waits_in_memory_is_read_too() {
    let db = open(&Memory::default(), 0, 1).with_durability(Durability::Buffered);
    let mut changes = db.changes(0).unwrap();
    db.put("a", "1").unwrap();
    assert_eq!(all(&mut changes).len(), 1);
    db.put("b", "2").unwrap();
    assert_eq!(all(&mut changes)[0].entries, [put(2, 0, "b", "2", None)]);
}

#[test]
fn a_full_disk_takes_the_kept_logs_first() {
    let disk = Faulty::default();
    let db = open(&disk, 64 << 20, 1);
    (0..3_000).for_each(|n| drop(write(&db, n)));
    while db.maintain().unwrap() {}
    let kept = db.stats().changes_bytes;
    assert!(kept > 300 << 10, "{kept}");
    disk.set_capacity(Some(disk.used_bytes()));
    // So much does not fit a full disk, and fits what the logs took.
    for n in 3_000..3_400 {
        write(&db, n);
    }
    assert!(db.stats().changes_bytes < kept);
    assert_eq!(db.stats().reserve_uses, 0, "the reserve was not needed");
}

/// What was killed may have left changes in the page cache alone. Recovery has put them into tables; those who read changes
/// get them only if they are on the disk.
#[test]
fn changes_that_cannot_be_synced_after_a_kill_are_not_kept() {
    for can_sync in [true, false] {
        let disk = Faulty::default();
        let db = open(&disk, 64 << 20, 1).with_durability(Durability::Os);
        let written: Vec<_> = (0..20).map(|n| write(&db, n)).collect();
        let left = disk.kill();
        drop(db);
        if !can_sync {
            left.fail(Fault::nth(1, std::io::ErrorKind::Other).at("open.sync_passed").sticky());
        }
        let db = open(&left, 64 << 20, 2);
        assert_eq!(left.struck_calls() > 0, !can_sync);
        let last = written[19].last_seq;
        assert_eq!(common::contents(&db).len() as u64, last, "nothing is lost");
        if can_sync {
            assert_eq!(all(&mut db.changes(0).unwrap()), written);
        } else {
            assert!(db.oldest_change() > last, "{}", db.oldest_change());
        }
    }
}

#[test]
fn after_a_full_disk_changes_are_kept_again() {
    let disk = Faulty::default();
    let db = open(&disk, 64 << 20, 1);
    (0..500).for_each(|n| drop(write(&db, n)));
    disk.set_capacity(Some(disk.used_bytes() + (100 << 10)));
    let refused = (500..5_000).find_map(|n| db.put(format!("key {n}"), [n as u8; 200]).err());
    assert!(matches!(refused, Some(Error::DiskFull { .. })), "{refused:?}");
    db.delete_range(..).unwrap();
    assert!(db.stats().reserve_uses > 0 && db.stats().changes_bytes == 0);
    disk.set_capacity(None);
    while db.maintain().unwrap() {}
    let expected: Vec<_> = (0..1_000).map(|n| write(&db, n)).collect();
    while db.maintain().unwrap() {}
    assert!(db.stats().changes_bytes > 100 << 10, "{}", db.stats().changes_bytes);
    assert_eq!(all(&mut db.changes(expected[0].first_seq - 1).unwrap()), expected);
}

#[test]
fn a_reader_that_follows_misses_nothing() {
    let db = open(&Memory::default(), 128 << 20, 1);
    let done = AtomicBool::new(false);
    let (mut seen, mut changes) = (0, db.changes(0).unwrap());
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2_u64)
            .map(|writer| {
                let db = db.clone();
                scope.spawn(move || (0..2_000).for_each(|n| drop(write(&db, writer + n))))
            })
            .collect();
        scope.spawn(|| {
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            done.store(true, Ordering::Release);
        });
        loop {
            let was_done = done.load(Ordering::Acquire);
            for change in all(&mut changes) {
                assert_eq!(change.first_seq, seen + 1, "no gap, and nothing twice");
                assert_eq!(change.entries.len() as u64, change.last_seq - seen, "whole");
                seen = change.last_seq;
            }
            if was_done {
                break;
            }
        }
    });
    assert_eq!(seen, db.stats().seq);
}
