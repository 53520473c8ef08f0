//! The disk that lies. Each promise is tested together with its other side: what may be lost is lost under some
//! seed, or the test would pass over a disk that never lies.

use crate::wal;
use cairndb_storage::{Fate, Fault, Faulty, File, FileKind, LockMode, Operation, Storage, Unsynced};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

const SITE: &str = "test";
const SEED_COUNT: u64 = 400;

/// A disk with one empty file, whose name is synced.
fn disk_with_file() -> (Faulty, Arc<dyn File>) {
    let disk = Faulty::default();
    let (_, file) = disk.create(SITE, FileKind::Wal, 0).unwrap();
    disk.sync_names(SITE).unwrap();
    (disk, file)
}

fn found(disk: &Faulty, seed: u64) -> Vec<u8> {
    disk.crash(seed).read_file(wal(1)).expect("a synced name is kept")
}

#[test]
fn synced_bytes_survive_every_crash_and_others_some() {
    let (disk, file) = disk_with_file();
    file.append(SITE, 0, b"synced").unwrap();
    file.sync(SITE).unwrap();
    file.append(SITE, 6, b"hoped").unwrap();
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEED_COUNT {
        let bytes = found(&disk, seed);
        assert!(bytes.starts_with(b"synced"), "seed {seed}: {bytes:?}");
        outcomes.insert(bytes);
    }
    assert!(outcomes.contains(&b"synced"[..]), "lost, length and all");
    assert!(outcomes.contains(&b"syncedhoped"[..]), "kept");
    assert!(outcomes.contains(&b"synced\0\0\0\0\0"[..]), "the length without the bytes");
    let garbage = |bytes: &Vec<u8>| bytes.len() == 11 && !b"\0h".contains(&bytes[6]);
    assert!(outcomes.iter().any(garbage), "garbage");
    assert!(outcomes.iter().any(|bytes| (7..11).contains(&bytes.len())), "a length between");
}

#[test]
fn the_same_seed_finds_the_same_disk() {
    let run = |seed| {
        let (disk, file) = disk_with_file();
        file.reserve(SITE, 10_000).unwrap();
        file.append(SITE, 0, &[7; 5000]).unwrap();
        found(&disk, seed)
    };
    let outcomes: BTreeSet<Vec<u8>> = (0..50).map(run).collect();
    assert!(outcomes.len() > 10, "seeds differ: {}", outcomes.len());
    for seed in 0..50 {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn sectors_tear_one_by_one_and_spare_their_synced_neighbours() {
    let (disk, file) = disk_with_file();
    file.append(SITE, 0, &[1; 100]).unwrap();
    file.sync(SITE).unwrap();
    file.append(SITE, 100, &[2; 1000]).unwrap();
    let mut asked = Vec::new();
    let crashed = disk.crash_with(&mut |unsynced| {
        asked.push(unsynced);
        match unsynced {
            Unsynced::Sector { offset: 512, .. } => Fate::Lose,
            Unsynced::Sector { offset: 100, .. } => Fate::Garbage(3),
            _ => Fate::Keep,
        }
    });
    let (file, write) = (wal(1), 1);
    assert_eq!(
        asked,
        [
            Unsynced::Length { file, from: 100, to: 1100 },
            Unsynced::Sector { file, write, offset: 100, len: 412, zeros: false },
            Unsynced::Sector { file, write, offset: 512, len: 512, zeros: false },
            Unsynced::Sector { file, write, offset: 1024, len: 76, zeros: false },
        ]
    );
    let bytes = crashed.read_file(wal(1)).unwrap();
    assert_eq!(bytes[..100], [1; 100]);
    assert!(bytes[100..512] != [2; 412] && bytes[100..512] != [0; 412], "garbage");
    assert_eq!(bytes[512..1024], [0; 512], "lost");
    assert_eq!(bytes[1024..], [2; 76], "kept");
}

#[test]
fn un_synced_room_may_hold_garbage_under_a_lost_append() {
    let (disk, file) = disk_with_file();
    file.reserve(SITE, 512).unwrap();
    file.append(SITE, 0, b"lost").unwrap();
    let crashed = disk.crash_with(&mut |unsynced| match unsynced {
        Unsynced::Sector { write: 0, .. } => Fate::Garbage(9),
        Unsynced::Sector { .. } => Fate::Lose,
        _ => Fate::Keep,
    });
    let bytes = crashed.read_file(wal(1)).unwrap();
    assert!(bytes[..4] != *b"lost" && bytes[..4] != [0; 4]);

    // Synced room is zeros for good.
    let (disk, file) = disk_with_file();
    file.reserve(SITE, 512).unwrap();
    file.sync(SITE).unwrap();
    file.append(SITE, 0, b"lost").unwrap();
    let bytes = disk.crash_with(&mut |_| Fate::Lose).read_file(wal(1)).unwrap();
    assert_eq!(bytes, [0; 512]);
}

#[test]
fn every_crash_of_a_small_disk_can_be_tried() {
    let (disk, file) = disk_with_file();
    for (offset, bytes) in [(0, b"a"), (1, b"b"), (2, b"c")] {
        file.append(SITE, offset, bytes).unwrap();
    }
    // Counts in binary through the answers; each run asks the same questions after the same answers.
    let mut answers: Vec<bool> = Vec::new();
    let mut outcomes = BTreeSet::new();
    loop {
        let mut next = 0;
        let crashed = disk.crash_with(&mut |_| {
            if next == answers.len() {
                answers.push(false);
            }
            next += 1;
            if answers[next - 1] { Fate::Keep } else { Fate::Lose }
        });
        outcomes.insert(crashed.read_file(wal(1)).unwrap());
        answers.truncate(next);
        while answers.last() == Some(&true) {
            answers.pop();
        }
        match answers.last_mut() {
            Some(last) => *last = true,
            None => break,
        }
    }
    // Each byte is kept or zero, at each length: 1 + 2 + 4 + 8.
    assert_eq!(outcomes.len(), 15);
}

#[test]
fn names_are_lost_and_come_back_until_they_are_synced() {
    let disk = Faulty::default();
    for above in 0..2 {
        let (_, file) = disk.create(SITE, FileKind::Wal, above).unwrap();
        file.append(SITE, 0, b"bytes").unwrap();
        file.sync(SITE).unwrap();
    }
    let names = |disk: &Faulty| -> BTreeSet<Vec<_>> {
        (0..SEED_COUNT).map(|seed| disk.crash(seed).list(SITE).unwrap()).collect()
    };
    let either = BTreeSet::from([vec![], vec![wal(1)], vec![wal(2)], vec![wal(1), wal(2)]]);
    assert_eq!(names(&disk), either, "a synced file is nothing without its name");

    let (disk, _) = disk_with_file();
    disk.create(SITE, FileKind::Wal, 1).unwrap();
    disk.sync_names(SITE).unwrap();
    disk.remove(SITE, wal(1)).unwrap();
    assert_eq!(disk.list(SITE).unwrap(), [wal(2)]);
    let undone = disk.kill();
    assert_eq!(names(&undone), BTreeSet::from([vec![wal(2)], vec![wal(1), wal(2)]]), "a remove is undone");

    let (disk, _) = disk_with_file();
    disk.remove(SITE, wal(1)).unwrap();
    disk.sync_names(SITE).unwrap();
    assert_eq!(names(&disk), BTreeSet::from([vec![]]), "a synced remove is final");
}

#[test]
fn after_a_failed_sync_a_good_one_proves_nothing() {
    for failed in [false, true] {
        let (disk, file) = disk_with_file();
        file.append(SITE, 0, b"doubtful").unwrap();
        if failed {
            disk.fail(Fault::nth(1, ErrorKind::Other).on(Operation::Sync));
            assert_eq!(file.sync(SITE).unwrap_err().kind(), ErrorKind::Other);
        }
        file.sync(SITE).unwrap();
        file.append(SITE, 8, b"later").unwrap();
        file.sync(SITE).unwrap();
        assert_eq!(disk.read_file(wal(1)).unwrap(), b"doubtfullater", "reads serve what no disk may have");
        let mut lost = false;
        for seed in 0..SEED_COUNT {
            let bytes = found(&disk, seed);
            assert_eq!(bytes[8..], *b"later", "what was written after the failure was synced");
            lost |= bytes[..8] != *b"doubtful";
        }
        assert_eq!(lost, failed);
    }
}

#[test]
fn a_good_sync_over_doubtful_room_holds() {
    let (disk, file) = disk_with_file();
    file.reserve(SITE, 2048).unwrap();
    disk.fail(Fault::nth(1, ErrorKind::Other));
    file.sync(SITE).unwrap_err();
    file.append(SITE, 0, b"synced").unwrap();
    file.sync(SITE).unwrap();
    let mut lengths = BTreeSet::new();
    for seed in 0..SEED_COUNT {
        let bytes = found(&disk, seed);
        assert!(bytes.starts_with(b"synced"), "seed {seed}");
        lengths.insert(bytes.len());
    }
    assert!(lengths.contains(&6) && lengths.contains(&2048), "the room itself stays doubtful");
}

#[test]
fn after_a_failed_sync_of_names_a_good_one_proves_nothing() {
    let (disk, _file) = disk_with_file();
    disk.create(SITE, FileKind::Wal, 1).unwrap();
    disk.fail(Fault::nth(1, ErrorKind::Other).on(Operation::SyncNames));
    disk.sync_names(SITE).unwrap_err();
    disk.create(SITE, FileKind::Wal, 2).unwrap();
    disk.remove(SITE, wal(1)).unwrap();
    disk.sync_names(SITE).unwrap();
    let mut asked = Vec::new();
    let mut found = |fate| {
        let crashed = disk.crash_with(&mut |unsynced| {
            asked.push(unsynced);
            fate
        });
        crashed.list(SITE).unwrap()
    };
    assert_eq!(found(Fate::Lose), [wal(3)], "made before the failure; made and removed after it");
    assert_eq!(found(Fate::Keep), [wal(2), wal(3)]);
    assert_eq!(asked, [Unsynced::Created { file: wal(2) }; 2]);
}

#[test]
fn an_append_is_torn_at_any_byte() {
    let (disk, file) = disk_with_file();
    file.reserve(SITE, 512).unwrap();
    file.sync(SITE).unwrap();
    file.append(SITE, 0, b"stones").unwrap();
    for kept in 0..6 {
        let bytes = disk.crash_with(&mut |_| Fate::Tear(kept)).read_file(wal(1)).unwrap();
        assert_eq!(bytes[..6], [&b"stones"[..kept as usize], &[0; 6][kept as usize..]].concat());
    }
}

#[test]
fn an_observer_sees_the_disk_before_each_call() {
    let (disk, file) = disk_with_file();
    let (send, seen) = mpsc::channel();
    disk.observe(Some(Box::new(move |disk, site, operation| {
        assert!(site == SITE && [Operation::Append, Operation::Sync].contains(&operation));
        let crashed = disk.crashed_with(&mut |_| Fate::Lose);
        // Nobody observes what the observer does.
        let asked = disk.open(SITE, wal(1)).unwrap().len(SITE).unwrap();
        send.send((asked, crashed.read_file(wal(1)).unwrap().len())).unwrap();
    })));
    file.append(SITE, 0, b"one").unwrap();
    file.sync(SITE).unwrap();
    file.append(SITE, 3, b"two").unwrap();
    disk.observe(None);
    file.sync(SITE).unwrap();
    assert_eq!(seen.iter().collect::<Vec<_>>(), [(0, 0), (3, 0), (3, 3)]);
    let found = disk.crash(0);
    assert_eq!(found.read_file(wal(1)).unwrap(), b"onetwo", "the disk went on");
    disk.observe(Some(Box::new(|_, _, _| panic!("a dead disk lets no call through"))));
    file.sync(SITE).unwrap_err();
}

#[test]
fn a_killed_process_loses_nothing_until_the_power_goes_too() {
    let (disk, file) = disk_with_file();
    let lock = disk.lock(SITE, LockMode::Exclusive).unwrap();
    file.append(SITE, 0, b"written").unwrap();
    disk.create(SITE, FileKind::Wal, 1).unwrap();
    let next = disk.kill();
    assert!(file.append(SITE, 7, b"!").is_err() && file.len(SITE).is_err() && disk.list(SITE).is_err());
    assert_eq!(next.list(SITE).unwrap(), [wal(1), wal(2)]);
    assert_eq!(next.read_file(wal(1)).unwrap(), b"written");
    next.lock(SITE, LockMode::Exclusive).expect("the lock died with its process");
    drop(lock);
    assert_eq!(next.crash_with(&mut |_| Fate::Lose).read_file(wal(1)).unwrap(), b"");
}

#[test]
fn old_handles_are_dead_after_a_crash() {
    let (disk, file) = disk_with_file();
    file.append(SITE, 0, b"bytes").unwrap();
    let crashed = disk.crash_with(&mut |_| Fate::Keep);
    let errors = [
        file.append(SITE, 5, b"!").unwrap_err(),
        file.reserve(SITE, 9).unwrap_err(),
        file.read_at(SITE, 0, &mut [0]).unwrap_err(),
        file.len(SITE).unwrap_err(),
        file.sync(SITE).unwrap_err(),
        disk.open(SITE, wal(1)).err().unwrap(),
        disk.remove(SITE, wal(1)).unwrap_err(),
        disk.sync_names(SITE).unwrap_err(),
    ];
    assert!(errors.iter().all(|error| error.to_string().contains("lost power")));
    assert_eq!(crashed.read_file(wal(1)).unwrap(), b"bytes");
    assert_eq!(
        crashed.crash_with(&mut |_| Fate::Lose).read_file(wal(1)).unwrap(),
        b"bytes",
        "found is synced"
    );
}

#[test]
fn faults_strike_the_call_they_were_aimed_at() {
    let (disk, file) = disk_with_file();
    disk.fail(Fault::nth(2, ErrorKind::TimedOut).at("aim").on(Operation::Len));
    file.len("aim").unwrap();
    file.len("elsewhere").unwrap();
    file.sync("aim").unwrap();
    let error = file.len("aim").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("Len at aim"), "{error}");
    file.len("aim").expect("once");

    disk.fail(Fault::nth(2, ErrorKind::Other).sticky());
    disk.list(SITE).unwrap();
    assert!(disk.list(SITE).is_err() && disk.list(SITE).is_err() && file.len("aim").is_err());
    disk.clear_faults();
    disk.list(SITE).unwrap();
}

#[test]
fn a_fault_may_be_an_error_of_the_operating_systems() {
    let disk = Faulty::default();
    disk.fail(Fault::nth(1, ErrorKind::Other).os_error(24));
    let error = disk.create(SITE, FileKind::Wal, 0).map(drop).unwrap_err();
    assert_eq!((error.raw_os_error(), disk.struck_calls()), (Some(24), 1));
}

#[test]
fn calls_are_counted() {
    let (disk, file) = disk_with_file();
    let before = disk.total_calls();
    file.append("wal.append", 0, b"a").unwrap();
    file.append("wal.append", 1, b"b").unwrap();
    file.sync("wal.sync").unwrap();
    assert_eq!(disk.total_calls() - before, 3);
    assert!(disk.calls().contains(&("wal.append", Operation::Append, 2)));
    assert!(disk.calls().contains(&("wal.sync", Operation::Sync, 1)));
}

#[test]
fn a_failed_append_has_written_any_part() {
    let mut parts = BTreeSet::new();
    for calls in 0..60 {
        let (disk, file) = disk_with_file();
        (0..calls).for_each(|_| drop(file.len(SITE)));
        disk.fail(Fault::nth(1, ErrorKind::Other).on(Operation::Append));
        file.append(SITE, 0, b"abc").unwrap_err();
        let bytes = disk.read_file(wal(1)).unwrap();
        assert!(b"abc".starts_with(&bytes));
        parts.insert(bytes.len());
    }
    assert_eq!(parts, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn a_full_disk_refuses_growth_and_takes_appends_into_room() {
    let (disk, file) = disk_with_file();
    let (_, other) = disk.create(SITE, FileKind::Wal, 1).unwrap();
    other.append(SITE, 0, &[1; 50]).unwrap();
    file.reserve(SITE, 40).unwrap();
    assert_eq!(disk.used_bytes(), 90);
    disk.set_capacity(Some(100));
    assert_eq!(file.reserve(SITE, 60).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len(SITE).unwrap(), 50, "it took what there was");
    file.append(SITE, 0, &[2; 45]).expect("inside room");
    assert_eq!(file.append(SITE, 45, &[3; 10]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.read_file(wal(1)).unwrap()[45..], [3; 5], "what fitted is written");
    disk.remove(SITE, wal(2)).unwrap();
    file.append(SITE, 55, &[4; 10]).expect("a remove gives space back");
    let crashed = disk.crash_with(&mut |_| Fate::Keep);
    assert_eq!(crashed.used_bytes(), 65);
    let (_, refused) = crashed.create(SITE, FileKind::Wal, 4).unwrap();
    assert_eq!(refused.reserve(SITE, 36).unwrap_err().kind(), ErrorKind::StorageFull, "as small as before");
    crashed.set_capacity(None);
    refused.reserve(SITE, 36).unwrap();
}

#[test]
fn without_spares_a_create_would_block() {
    let disk = Faulty::default();
    disk.set_spares(Some(1));
    disk.create(SITE, FileKind::Wal, 0).unwrap();
    assert_eq!(disk.create(SITE, FileKind::Wal, 1).err().unwrap().kind(), ErrorKind::WouldBlock);
    assert_eq!(disk.list(SITE).unwrap(), [wal(1)], "nothing was changed");
    disk.set_spares(None);
    disk.create(SITE, FileKind::Wal, 1).unwrap();
}

#[test]
fn a_held_sync_holds_nobody_else_and_covers_what_came_before_it() {
    let (disk, file) = disk_with_file();
    file.append(SITE, 0, b"before").unwrap();
    disk.hold_syncs(true);
    let (done, is_done) = mpsc::channel();
    let syncs = disk.total_calls();
    let syncing = file.clone();
    let thread = std::thread::spawn(move || done.send(syncing.sync(SITE)).unwrap());
    while disk.total_calls() == syncs {
        std::thread::yield_now();
    }
    file.append(SITE, 6, b"during").unwrap();
    let mut bytes = [0; 12];
    assert_eq!(file.read_at(SITE, 0, &mut bytes).unwrap(), 12);
    assert!(is_done.recv_timeout(Duration::from_millis(20)).is_err(), "it is held");
    disk.hold_syncs(false);
    is_done.recv().unwrap().unwrap();
    thread.join().unwrap();
    assert_eq!(disk.crash_with(&mut |_| Fate::Lose).read_file(wal(1)).unwrap(), b"before");
}

#[test]
fn a_crash_ends_a_held_sync_with_an_error() {
    let (disk, file) = disk_with_file();
    file.append(SITE, 0, b"never").unwrap();
    disk.hold_syncs(true);
    let syncs = disk.total_calls();
    let thread = std::thread::spawn(move || file.sync(SITE));
    while disk.total_calls() == syncs {
        std::thread::yield_now();
    }
    let crashed = disk.crash_with(&mut |_| Fate::Lose);
    assert!(thread.join().unwrap().is_err());
    assert_eq!(crashed.read_file(wal(1)).unwrap(), b"");
}

#[test]
fn a_stopped_disk_is_as_it_was_at_that_call() {
    let (disk, file) = disk_with_file();
    disk.stop_after(1);
    file.append(SITE, 0, b"in").unwrap();
    assert!(file.append(SITE, 2, b"out").is_err() && file.sync(SITE).is_err() && disk.list(SITE).is_err());
    assert_eq!(disk.crash_with(&mut |_| Fate::Keep).read_file(wal(1)).unwrap(), b"in");
    assert_eq!(disk.crash_with(&mut |_| Fate::Lose).read_file(wal(1)).unwrap(), b"");
    assert_eq!(disk.kill().read_file(wal(1)).unwrap(), b"in");
}

#[test]
fn rot_is_on_the_disk() {
    let (disk, file) = disk_with_file();
    file.append(SITE, 0, b"abc").unwrap();
    file.sync(SITE).unwrap();
    disk.flip_bit(wal(1), 1, 0);
    assert_eq!(disk.read_file(wal(1)).unwrap(), b"acc");
    assert_eq!(found(&disk, 5), b"acc");

    let disk = Faulty::default();
    disk.write_file(wal(4), b"planted");
    disk.write_file(wal(4), b"replanted");
    assert_eq!(disk.used_bytes(), 9);
    assert_eq!(disk.read_file(wal(3)), None);
    let crashed = disk.crash_with(&mut |_| Fate::Lose);
    assert_eq!(crashed.read_file(wal(4)).unwrap(), b"replanted");
}

#[test]
#[should_panic(expected = "goes back")]
fn an_append_that_goes_back_is_a_callers_bug() {
    let (_disk, file) = disk_with_file();
    file.append(SITE, 0, b"abc").unwrap();
    let _ = file.append(SITE, 2, b"x");
}

#[test]
#[should_panic(expected = "overwrites")]
fn an_append_over_old_bytes_is_a_callers_bug() {
    let (disk, file) = disk_with_file();
    file.append(SITE, 0, b"abc").unwrap();
    file.sync(SITE).unwrap();
    let crashed = disk.crash(0);
    let _ = crashed.open(SITE, wal(1)).unwrap().append(SITE, 2, b"x");
}

#[test]
fn a_found_file_can_be_appended_to_beyond_its_bytes() {
    let (disk, file) = disk_with_file();
    file.reserve(SITE, 100).unwrap();
    file.append(SITE, 0, b"abc").unwrap();
    file.sync(SITE).unwrap();
    let crashed = disk.crash(0);
    let reopened = crashed.open(SITE, wal(1)).unwrap();
    reopened.append(SITE, 3, b"def").unwrap();
    let bytes = crashed.read_file(wal(1)).unwrap();
    assert_eq!((&bytes[..6], bytes.len()), (&b"abcdef"[..], 100));
    assert_eq!(crashed.crash_with(&mut |_| Fate::Lose).read_file(wal(1)).unwrap()[..6], *b"abc\0\0\0");
}
