//! Conformance: what every storage must do, as far as it shows from outside.
//!
//! A backend of your own is right when [`run`] passes over it. Each check gets a storage of its own, new and
//! empty; a check that fails panics, after its name has been printed. What becomes of bytes when the power fails
//! cannot be checked from outside; a disk under your own control, such as [`Faulty`](crate::Faulty), is for that.
//!
//! ```
//! use cairndb_storage::{Memory, conformance};
//! use std::sync::Arc;
//! conformance::run(&mut || Arc::new(Memory::default()));
//! ```
//!
//! # Where it sits
//! Called by the tests of every backend; stands on the two traits alone.

use crate::{File, FileKind, FileName, LockError, LockMode, Storage};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SITE: &str = "conformance";

/// A check: it panics if the storage, which must be new and empty, breaks its contract.
pub type Check = fn(&Arc<dyn Storage>);

/// Every check, under the name of what it checks.
pub const CHECKS: [(&str, Check); 21] = [
    ("a new storage is empty", a_new_storage_is_empty),
    ("create numbers from above the floor", create_numbers_from_above_the_floor),
    ("each kind counts its own numbers", each_kind_counts_its_own_numbers),
    ("an empty file is taken over", an_empty_file_is_taken_over),
    ("create refuses a file that holds bytes", create_refuses_a_file_that_holds_bytes),
    ("open finds what was appended", open_finds_what_was_appended),
    ("a missing file is not found", a_missing_file_is_not_found),
    ("list is in order", list_is_in_order),
    ("a removed file is gone from the set", a_removed_file_is_gone_from_the_set),
    ("open handles outlive a remove", open_handles_outlive_a_remove),
    ("a removed name can be used again", a_removed_name_can_be_used_again),
    ("reserve lays down zeros", reserve_lays_down_zeros),
    ("appends go inside room and beyond it", appends_go_inside_room_and_beyond_it),
    ("a skipped gap is zeros", a_skipped_gap_is_zeros),
    ("reads stop at the end", reads_stop_at_the_end),
    ("large appends come back whole", large_appends_come_back_whole),
    ("syncs succeed", syncs_succeed),
    ("reads and syncs run beside appends", reads_and_syncs_run_beside_appends),
    ("a writer keeps everyone out", a_writer_keeps_everyone_out),
    ("readers share and keep a writer out", readers_share_and_keep_a_writer_out),
    ("link shares the bytes or declines", link_shares_the_bytes_or_declines),
];

/// Runs every check, each over a new storage from `make`.
///
/// # Panics
/// If a check fails.
pub fn run(make: &mut dyn FnMut() -> Arc<dyn Storage>) {
    for (name, check) in CHECKS {
        let _running = Running(name);
        check(&make());
    }
}

/// Names the check that is running, should it panic.
struct Running(&'static str);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("storage conformance: failed: {}", self.0);
        }
    }
}

/// A new storage lists nothing.
pub fn a_new_storage_is_empty(storage: &Arc<dyn Storage>) {
    assert_eq!(storage.list(SITE).unwrap(), []);
}

/// The lowest free number above the floor, so that numbers rise and none is skipped.
pub fn create_numbers_from_above_the_floor(storage: &Arc<dyn Storage>) {
    let mut floor = 0;
    for expected in 1..=3 {
        floor = create_with(storage, FileKind::Wal, floor, b"x").0;
        assert_eq!(floor, expected);
    }
    assert_eq!(create_with(storage, FileKind::Wal, 40, b"x").0, 41);
    assert!(storage.create(SITE, FileKind::Wal, u64::MAX).is_err(), "no number is above the last");
}

/// A number that one kind has used is free for another.
pub fn each_kind_counts_its_own_numbers(storage: &Arc<dyn Storage>) {
    for kind in FileKind::ALL {
        assert_eq!(create_with(storage, kind, 0, b"x").0, 1, "{kind:?}");
    }
    assert_eq!(storage.list(SITE).unwrap().len(), FileKind::ALL.len());
}

/// A file that was made and never used is used next.
pub fn an_empty_file_is_taken_over(storage: &Arc<dyn Storage>) {
    let (number, unused) = storage.create(SITE, FileKind::Wal, 6).unwrap();
    drop(unused);
    let (again, file) = storage.create(SITE, FileKind::Wal, 6).unwrap();
    assert_eq!((number, again), (7, 7));
    assert_eq!(storage.list(SITE).unwrap(), [wal(7)]);
    file.append(SITE, 0, b"used").unwrap();
    assert_eq!(bytes_of(storage, wal(7)), b"used");
}

/// A file with bytes is never given to be written again.
pub fn create_refuses_a_file_that_holds_bytes(storage: &Arc<dyn Storage>) {
    create_with(storage, FileKind::SsTable, 2, b"precious");
    assert_eq!(kind_of(storage.create(SITE, FileKind::SsTable, 2)), io::ErrorKind::AlreadyExists);
    assert_eq!(bytes_of(storage, FileName { kind: FileKind::SsTable, number: 3 }), b"precious");

    let (_, reserved) = storage.create(SITE, FileKind::SsTable, 3).unwrap();
    reserved.reserve(SITE, 1).unwrap();
    assert_eq!(kind_of(storage.create(SITE, FileKind::SsTable, 3)), io::ErrorKind::AlreadyExists);
}

/// Another handle reads the bytes, synced or not.
pub fn open_finds_what_was_appended(storage: &Arc<dyn Storage>) {
    let (number, file) = create_with(storage, FileKind::Manifest, 0, b"one");
    let name = FileName { kind: FileKind::Manifest, number };
    let reader = storage.open(SITE, name).unwrap();
    assert_eq!(all_bytes(&*reader), b"one");
    file.append(SITE, 3, b", two").unwrap();
    assert_eq!(all_bytes(&*reader), b"one, two", "an open handle sees later appends");
    assert_eq!(all_bytes(&*file), b"one, two", "the appender's handle reads too");
}

/// Opening and removing what is not there say so.
pub fn a_missing_file_is_not_found(storage: &Arc<dyn Storage>) {
    assert_eq!(kind_of(storage.open(SITE, wal(1))), io::ErrorKind::NotFound);
    assert_eq!(kind_of(storage.remove(SITE, wal(1))), io::ErrorKind::NotFound);
    assert_eq!(storage.list(SITE).unwrap(), [], "neither of them made it");
}

/// Sorted by kind, then by number: not by the text, in which 1000000 comes before 999999.
pub fn list_is_in_order(storage: &Arc<dyn Storage>) {
    let mut expected = Vec::new();
    for number in [1_000_000, 999_999, 3, 20] {
        for kind in [FileKind::Wal, FileKind::Manifest, FileKind::SsTable] {
            create_with(storage, kind, number - 1, b"x");
            expected.push(FileName { kind, number });
        }
    }
    expected.sort();
    assert_eq!(storage.list(SITE).unwrap(), expected);
}

/// Removed means that it is neither listed nor opened; its neighbours stay.
pub fn a_removed_file_is_gone_from_the_set(storage: &Arc<dyn Storage>) {
    create_with(storage, FileKind::Wal, 0, b"old");
    create_with(storage, FileKind::Wal, 1, b"new");
    storage.remove(SITE, wal(1)).unwrap();
    assert_eq!(storage.list(SITE).unwrap(), [wal(2)]);
    assert_eq!(kind_of(storage.open(SITE, wal(1))), io::ErrorKind::NotFound);
    assert_eq!(bytes_of(storage, wal(2)), b"new");
}

/// Whoever holds a file open reads it to the end of its days.
pub fn open_handles_outlive_a_remove(storage: &Arc<dyn Storage>) {
    let (_, file) = create_with(storage, FileKind::Wal, 0, b"still here");
    let reader = storage.open(SITE, wal(1)).unwrap();
    storage.remove(SITE, wal(1)).unwrap();
    storage.sync_names(SITE).unwrap();
    assert_eq!(all_bytes(&*reader), b"still here");
    assert_eq!(all_bytes(&*file), b"still here");
}

/// A new file under an old name has none of the old bytes, and old handles none of the new. (A storage whose files are
/// made ahead may have none under this name for the time being.)
pub fn a_removed_name_can_be_used_again(storage: &Arc<dyn Storage>) {
    create_with(storage, FileKind::Wal, 0, b"old bytes");
    let old = storage.open(SITE, wal(1)).unwrap();
    storage.remove(SITE, wal(1)).unwrap();
    match storage.create(SITE, FileKind::Wal, 0) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            assert_eq!(kind_of(storage.open(SITE, wal(1))), io::ErrorKind::NotFound);
            assert_eq!(all_bytes(&*old), b"old bytes");
            return;
        }
        created => created.unwrap().1.append(SITE, 0, b"new").unwrap(),
    }
    assert_eq!(bytes_of(storage, wal(1)), b"new");
    assert_eq!(all_bytes(&*old), b"old bytes");
}

/// Room is zeros, counts in the length, and never shrinks a file.
pub fn reserve_lays_down_zeros(storage: &Arc<dyn Storage>) {
    let (_, file) = storage.create(SITE, FileKind::Wal, 0).unwrap();
    file.reserve(SITE, 0).unwrap();
    assert_eq!(file.len(SITE).unwrap(), 0);
    file.append(SITE, 0, b"abc").unwrap();
    file.reserve(SITE, 200_000).unwrap();
    assert_eq!(file.len(SITE).unwrap(), 200_000);
    let bytes = all_bytes(&*file);
    assert_eq!(&bytes[..3], b"abc", "reserve leaves what stands");
    assert!(bytes[3..].iter().all(|&byte| byte == 0));
    file.reserve(SITE, 10).unwrap();
    assert_eq!(file.len(SITE).unwrap(), 200_000, "reserve never shrinks");
}

/// The length changes only when an append leaves the room.
pub fn appends_go_inside_room_and_beyond_it(storage: &Arc<dyn Storage>) {
    let (_, file) = storage.create(SITE, FileKind::Wal, 0).unwrap();
    file.reserve(SITE, 8).unwrap();
    file.append(SITE, 0, b"abc").unwrap();
    file.append(SITE, 3, b"").unwrap();
    file.append(SITE, 3, b"de").unwrap();
    assert_eq!(all_bytes(&*file), b"abcde\0\0\0");
    file.append(SITE, 5, b"fghij").unwrap();
    assert_eq!(all_bytes(&*file), b"abcdefghij");
    file.append(SITE, 10, b"k").unwrap();
    file.reserve(SITE, 12).unwrap();
    assert_eq!(all_bytes(&*file), b"abcdefghijk\0");
}

/// An append beyond the end leaves zeros between.
pub fn a_skipped_gap_is_zeros(storage: &Arc<dyn Storage>) {
    let (_, file) = create_with(storage, FileKind::Wal, 0, b"a");
    file.append(SITE, 4, b"b").unwrap();
    assert_eq!(all_bytes(&*file), b"a\0\0\0b");
}

/// A read returns what there is; beyond the end, at any distance, that is nothing.
pub fn reads_stop_at_the_end(storage: &Arc<dyn Storage>) {
    let (_, file) = create_with(storage, FileKind::Wal, 0, b"0123456789");
    let mut buf = [b'.'; 6];
    assert_eq!(file.read_at(SITE, 2, &mut buf).unwrap(), 6);
    assert_eq!(&buf, b"234567");
    let mut buf = [b'.'; 6];
    assert_eq!(file.read_at(SITE, 7, &mut buf).unwrap(), 3);
    assert_eq!(&buf, b"789...", "bytes past the count are left alone");
    for offset in [10, 11, 1 << 40] {
        assert_eq!(file.read_at(SITE, offset, &mut buf).unwrap(), 0);
    }
    assert_eq!(file.read_at(SITE, 3, &mut []).unwrap(), 0);
}

/// One append larger than any buffer on the way.
pub fn large_appends_come_back_whole(storage: &Arc<dyn Storage>) {
    let pattern: Vec<u8> = (0..3_000_001_u32).map(|index| (index % 251) as u8).collect();
    let (_, file) = storage.create(SITE, FileKind::SsTable, 0).unwrap();
    file.append(SITE, 0, b"#").unwrap();
    file.append(SITE, 1, &pattern).unwrap();
    assert!(all_bytes(&*file)[1..] == pattern, "the bytes differ");
}

/// Also with nothing to sync, twice, and on a handle that only reads.
pub fn syncs_succeed(storage: &Arc<dyn Storage>) {
    storage.sync_names(SITE).unwrap();
    let (_, file) = storage.create(SITE, FileKind::Wal, 0).unwrap();
    file.sync(SITE).unwrap();
    file.append(SITE, 0, b"bytes").unwrap();
    file.sync(SITE).unwrap();
    file.sync(SITE).unwrap();
    storage.open(SITE, wal(1)).unwrap().sync(SITE).unwrap();
    storage.sync_names(SITE).unwrap();
    assert_eq!(all_bytes(&*file), b"bytes");
}

/// While one thread appends, others read whole what was announced, and sync. (Where there are no threads, as in a
/// browser's module, there is nothing to check.)
pub fn reads_and_syncs_run_beside_appends(storage: &Arc<dyn Storage>) {
    const RECORD_COUNT: u64 = 400;
    const RECORD_LEN: u64 = 700;
    if cfg!(target_family = "wasm") {
        return;
    }
    let record = |index: u64| vec![(index % 255) as u8 + 1; RECORD_LEN as usize];
    let (_, file) = storage.create(SITE, FileKind::Wal, 0).unwrap();
    let reader = storage.open(SITE, wal(1)).unwrap();
    let written = AtomicU64::new(0);
    /// Lets the other threads end also when an append panics.
    struct End<'a>(&'a AtomicU64);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(RECORD_COUNT, Ordering::Release);
        }
    }
    std::thread::scope(|scope| {
        let _end = End(&written);
        scope.spawn(|| {
            while written.load(Ordering::Acquire) < RECORD_COUNT {
                file.sync(SITE).unwrap();
            }
        });
        scope.spawn(|| {
            let mut index = 0;
            while index < RECORD_COUNT {
                if index >= written.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                    continue;
                }
                let mut found = vec![0; RECORD_LEN as usize];
                let count = reader.read_at(SITE, index * RECORD_LEN, &mut found).unwrap();
                assert_eq!((count as u64, found), (RECORD_LEN, record(index)), "record {index}");
                index += 1;
            }
        });
        for index in 0..RECORD_COUNT {
            if index % 50 == 0 {
                file.reserve(SITE, (index + 25) * RECORD_LEN).unwrap();
            }
            file.append(SITE, index * RECORD_LEN, &record(index)).unwrap();
            written.store(index + 1, Ordering::Release);
        }
    });
}

/// An exclusive lock excludes both kinds until it is dropped.
pub fn a_writer_keeps_everyone_out(storage: &Arc<dyn Storage>) {
    let writer = storage.lock(SITE, LockMode::Exclusive).unwrap();
    for mode in [LockMode::Exclusive, LockMode::Shared] {
        match storage.lock(SITE, mode) {
            Err(LockError::Held(who)) => assert!(!who.is_empty(), "the holder is named"),
            other => panic!("{mode:?} beside a writer: {other:?}"),
        }
    }
    drop(writer);
    drop(storage.lock(SITE, LockMode::Shared).unwrap());
    storage.lock(SITE, LockMode::Exclusive).unwrap();
}

/// Any number of readers, and no writer until the last has gone.
pub fn readers_share_and_keep_a_writer_out(storage: &Arc<dyn Storage>) {
    // A storage that no writer ever locked may have nothing for readers to hold on to.
    drop(storage.lock(SITE, LockMode::Exclusive).unwrap());
    let first = storage.lock(SITE, LockMode::Shared).unwrap();
    let second = storage.lock(SITE, LockMode::Shared).unwrap();
    for reader in [first, second] {
        let writer = storage.lock(SITE, LockMode::Exclusive);
        assert!(matches!(writer, Err(LockError::Held(_))), "a writer beside a reader: {writer:?}");
        drop(reader);
    }
    storage.lock(SITE, LockMode::Exclusive).unwrap();
}

/// From a set onto itself, where the name is taken: the one case that needs no second storage of the same kind.
/// Either it cannot link, or it sees that the name is taken; the file is unharmed.
pub fn link_shares_the_bytes_or_declines(storage: &Arc<dyn Storage>) {
    create_with(storage, FileKind::SsTable, 0, b"shared");
    let name = FileName { kind: FileKind::SsTable, number: 1 };
    match storage.link(SITE, name, &**storage) {
        Ok(linked) => assert!(!linked, "a name that is taken was linked over"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::AlreadyExists),
    }
    assert_eq!(bytes_of(storage, name), b"shared");
}

fn wal(number: u64) -> FileName {
    FileName { kind: FileKind::Wal, number }
}

/// Creates a file that holds these bytes.
fn create_with(storage: &Arc<dyn Storage>, kind: FileKind, above: u64, bytes: &[u8]) -> (u64, Arc<dyn File>) {
    let (number, file) = storage.create(SITE, kind, above).unwrap();
    assert_eq!(file.len(SITE).unwrap(), 0, "a created file is empty");
    file.append(SITE, 0, bytes).unwrap();
    (number, file)
}

fn bytes_of(storage: &Arc<dyn Storage>, name: FileName) -> Vec<u8> {
    all_bytes(&*storage.open(SITE, name).unwrap())
}

fn all_bytes(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len(SITE).unwrap() as usize];
    let count = file.read_at(SITE, 0, &mut bytes).unwrap();
    assert_eq!(count, bytes.len(), "a read of the whole length");
    bytes
}

fn kind_of<T>(result: io::Result<T>) -> io::ErrorKind {
    match result {
        Ok(_) => panic!("succeeded where it must fail"),
        Err(error) => error.kind(),
    }
}
