//! A backup is a database of its own: the two do not know of each other afterwards.

use std::sync::Arc;

use cairndb::storage::{Faulty, FileKind, Memory, Storage};
use cairndb::{BackupMode, Db, Error, Options, verify};

use crate::common::{TINY, contents, open, options};

fn fill(db: &Db, round: u32) {
    for key in 0..800_u32 {
        db.put(key.to_be_bytes(), (key * 31 + round).to_be_bytes().repeat(10)).unwrap();
    }
}

fn assert_whole(storage: &Memory) {
    let verification = verify(Arc::new(storage.clone())).unwrap();
    assert!(verification.ok(), "{verification:?}");
}

#[test]
fn both_go_on_by_themselves() {
    let (source, target) = (Memory::default(), Memory::default());
    let db = open(&source, 1);
    fill(&db, 0);
    db.delete_range(100_u32.to_be_bytes()..200_u32.to_be_bytes()).unwrap();
    let at_backup = contents(&db);
    let report = db.backup(&target, BackupMode::Link).unwrap();
    assert_eq!((report.linked, report.seq), (0, db.stats().seq), "memory cannot share");
    assert!(report.copied > 0);
    fill(&db, 1);
    db.compact().unwrap();

    let copy = open(&target, 1000);
    assert!(copy.recovery().sealed);
    assert_eq!(contents(&copy), at_backup);
    fill(&copy, 2);
    copy.compact().unwrap();
    assert_eq!(copy.get(5_u32.to_be_bytes()).unwrap().unwrap(), (5 * 31 + 2_u32).to_be_bytes().repeat(10));
    assert_eq!(db.get(5_u32.to_be_bytes()).unwrap().unwrap(), (5 * 31 + 1_u32).to_be_bytes().repeat(10));
    db.close().unwrap();
    copy.close().unwrap();
    assert_whole(&source);
    assert_whole(&target);
}

#[test]
fn it_is_taken_while_others_write() {
    let (source, target) = (Memory::default(), Memory::default());
    let db = open(&source, 1);
    fill(&db, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| (1..6).for_each(|round| fill(&db, round)));
        db.backup(&target, BackupMode::Copy).unwrap();
    });
    let copy = open(&target, 1000);
    // Rounds are written key by key: a prefix of them is one round up to some key, and the one before from there on.
    let rounds: Vec<u32> = (0..800_u32)
        .map(|key| {
            let value = copy.get(key.to_be_bytes()).unwrap().unwrap();
            u32::from_be_bytes(value[..4].try_into().unwrap()) - key * 31
        })
        .collect();
    assert!(rounds.is_sorted_by(|a, b| a >= b), "{rounds:?}");
    assert!(rounds[0] - rounds[799] <= 1, "{rounds:?}");
    copy.close().unwrap();
    assert_whole(&target);
}

#[test]
fn a_place_that_is_in_use_is_left_alone() {
    let (source, target) = (Memory::default(), Memory::default());
    let db = open(&source, 1);
    fill(&db, 0);
    open(&target, 1000).put("mine", "1").unwrap();
    let before = target.list("test").unwrap();
    assert!(matches!(db.backup(&target, BackupMode::Link), Err(Error::Invalid { .. })));
    assert_eq!(target.list("test").unwrap(), before);
    let other = open(&target, 2000);
    assert!(matches!(db.backup(&target, BackupMode::Link), Err(Error::Locked { .. })));
    assert_eq!(other.get("mine").unwrap().unwrap(), "1");
}

#[test]
fn directories_share_tables() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { memory_budget_bytes: 1 << 20, ..Options::default() };
    let db = options().open(dir.path().join("db")).unwrap();
    fill(&db, 0);
    let linked = db.backup_to(dir.path().join("linked"), BackupMode::Link).unwrap();
    let copied = db.backup_to(dir.path().join("copied"), BackupMode::Copy).unwrap();
    assert!(linked.linked > 0 && linked.copied == 0, "{linked:?}");
    assert!(copied.linked == 0 && copied.bytes_copied > 0, "{copied:?}");
    let before = contents(&db);
    fill(&db, 1);
    db.compact().unwrap();
    db.close().unwrap();
    for name in ["linked", "copied"] {
        let copy = options().open(dir.path().join(name)).unwrap();
        assert_eq!(contents(&copy), before);
        copy.clear().unwrap();
        copy.compact().unwrap();
    }
    assert_eq!(contents(&options().open_read_only(dir.path().join("db")).unwrap()).len(), 800);
}

#[test]
fn rot_was_copied_into_the_backup_without_a_word() {
    // A backup was taken of a database with a flipped bit, told as good, and found to be damaged when it was needed.
    let source = Faulty::default();
    let db = open(&source, 1);
    fill(&db, 0);
    db.flush().unwrap();
    db.close().unwrap();
    drop(db);
    let tables = || source.list("test").unwrap().into_iter().filter(|name| name.kind == FileKind::SsTable);
    for table in tables() {
        let len = source.read_file(table).unwrap().len() as u64;
        for offset in [0, 100, len / 2, len - 180, len - 172, len - 12, len - 1] {
            source.flip_bit(table, offset, 5);
            let db = open(&source, 2 + offset);
            match db.backup(&Memory::default(), BackupMode::Copy) {
                Err(Error::Corrupt { file, .. }) => assert_eq!(file, table.to_string()),
                other => panic!("{table} at {offset}: {other:?}"),
            }
            drop(db);
            source.flip_bit(table, offset, 5);
        }
    }
    let db = open(&source, 1000);
    db.backup(&Memory::default(), BackupMode::Copy).unwrap();
}

/// What is in the log alone is in no table, and who only reads cannot flush it.
#[test]
fn of_a_read_only_database_what_is_in_tables_can_be_backed_up() {
    let source = Memory::default();
    let db = open(&source, 1);
    fill(&db, 0);
    db.put("logged", "and not flushed").unwrap();
    db.close().unwrap();
    let read = || Db::open_read_only_with(Arc::new(source.clone()), options(TINY, 100)).unwrap();
    let refused = read().backup(&Memory::default(), BackupMode::Copy).unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");

    let db = open(&source, 200);
    db.flush().unwrap();
    db.close().unwrap();
    let (target, db) = (Memory::default(), read());
    db.backup(&target, BackupMode::Copy).unwrap();
    assert_whole(&target);
    assert_eq!(contents(&open(&target, 300)), contents(&db));
}
