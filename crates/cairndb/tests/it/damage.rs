//! Damage: whatever becomes of the files, the answer is `Corrupt` with a file and an offset, or it is right.
//!
//! A small database of every kind of file is built once; each test spoils a copy of its bytes and reads what it can:
//! through a read-only open, through a check, and through an open that writes, closes and opens again. Nothing may
//! panic, and nothing may answer what was never there.

#![expect(clippy::disallowed_methods, reason = "what is in directories is looked at past the engine")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cairndb::storage::{Fate, Fault, Faulty, FileKind, FileName, Native, Storage, Unsynced};
use cairndb::{Batch, Compression, Db, Durability, Error, Options, verify};

use crate::common;

type Files = BTreeMap<FileName, Vec<u8>>;
type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(compression: Compression) -> Options {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 20);
    Options {
        compression,
        open_files_max: 4,
        ..common::options(32 << 10, NEXT.fetch_add(1000, Ordering::Relaxed))
    }
}

/// The bytes of a database at rest, and what it holds.
struct Built {
    files: Files,
    contents: Contents,
    /// What the contents were after each write to the last log, oldest first: what may be left if that log is cut.
    earlier: Vec<Contents>,
}

/// A database with tables at two levels, range deletes across them, a manifest of several edits, and several logs.
fn build(compression: Compression, salt: u8) -> Built {
    let disk = Faulty::default();
    let open = || Db::open_with(Arc::new(disk.clone()), options(compression)).unwrap();
    let db = open();
    let value = |key: u32| [salt, key as u8].repeat(20 + key as usize % 50);
    for key in 0..250_u32 {
        db.put(key.to_be_bytes(), value(key)).unwrap();
    }
    db.compact().unwrap();
    for key in 100..160_u32 {
        db.put(key.to_be_bytes(), value(key + 1)).unwrap();
    }
    db.delete_range(20_u32.to_be_bytes()..70_u32.to_be_bytes()).unwrap();
    db.flush().unwrap();
    db.put_with_expiry(300_u32.to_be_bytes(), value(300), u64::MAX).unwrap();
    db.delete(5_u32.to_be_bytes()).unwrap();
    db.delete_range(200_u32.to_be_bytes()..210_u32.to_be_bytes()).unwrap();
    db.flush().unwrap();
    // Logs that a clean close has sealed, one after the other.
    let mut db = db;
    for round in 0..3_u32 {
        let mut batch = Batch::new();
        batch.put((400 + round).to_be_bytes(), value(round)).delete((150 + round).to_be_bytes());
        db.write(batch).unwrap();
        db.put((500 + round).to_be_bytes(), value(round)).unwrap();
        db.close().unwrap();
        db = open();
    }
    let mut earlier = vec![contents_of(&db)];
    db.put(600_u32.to_be_bytes(), value(1)).unwrap();
    earlier.push(contents_of(&db));
    db.put(601_u32.to_be_bytes(), value(2)).unwrap();
    let contents = contents_of(&db);
    db.close().unwrap();
    let levels = db.stats().levels;
    assert!(levels[0].tables > 0 && levels[0].deletes > 0 && levels[6].tables > 1, "{levels:?}");
    let mut files: Files =
        disk.list("test").unwrap().into_iter().map(|name| (name, disk.read_file(name).unwrap())).collect();
    // A log that was laid down and never begun is nothing to lose.
    files.retain(|_, bytes| bytes.iter().any(|byte| *byte != 0));
    assert!(files.keys().filter(|name| name.kind == FileKind::Wal).count() > 2, "{:?}", files.keys());
    Built { files, contents, earlier }
}

fn contents_of(db: &Db) -> Contents {
    db.scan(..).map(|item| item.unwrap()).map(|(key, value)| (key, value.into_vec())).collect()
}

fn disk_of(files: &Files) -> Faulty {
    let disk = Faulty::default();
    for (name, bytes) in files {
        disk.write_file(*name, bytes);
    }
    disk
}

/// What came of reading spoiled files.
#[derive(Debug, Default)]
struct Seen {
    corrupt: usize,
    harmless: usize,
    /// Reads that found damage in a database that opens.
    corrupt_reads: usize,
    found_by_check: usize,
    looks: u32,
}

impl Seen {
    /// Reads everything in every way; `allowed` is all that may be found where nothing is noticed.
    fn look(&mut self, what: &str, files: &Files, allowed: &[&Contents]) -> bool {
        let noticed = catch_unwind(AssertUnwindSafe(|| self.look_at(what, files, allowed)));
        noticed.unwrap_or_else(|_| panic!("{what}: a panic"))
    }

    fn look_at(&mut self, what: &str, files: &Files, allowed: &[&Contents]) -> bool {
        let disk = disk_of(files);
        let check = verify(Arc::new(disk.clone()));
        let sound = match &check {
            Ok(check) => check.ok(),
            Err(Error::Invalid { .. }) => false,
            Err(error) => panic!("{what}: the check answered {error:?}"),
        };
        if let Ok(check) = &check {
            check
                .checks
                .iter()
                .flat_map(|check| &check.problems)
                .for_each(|error| require_located(what, error));
        }
        self.found_by_check += usize::from(!sound);

        let read_only = Db::open_read_only_with(Arc::new(disk.clone()), options(Compression::None));
        let read_only = self.read(what, read_only, allowed);
        assert!(disk_of(files).used_bytes() == disk.used_bytes(), "{what}: a reader changed something");

        let written = Db::open_with(Arc::new(disk.clone()), options(Compression::None));
        let opened = written.is_ok();
        let mut whole = self.read(what, written, allowed);
        if !opened {
            let untouched = files.iter().all(|(name, bytes)| disk.read_file(*name).as_ref() == Some(bytes));
            assert!(untouched, "{what}: an open that failed has changed the files");
        } else {
            // What a first open has made of it, a second one must answer too.
            whole &= self.read(what, Db::open_with(Arc::new(disk), options(Compression::None)), allowed);
        }
        if whole && read_only {
            self.harmless += 1;
        } else {
            self.corrupt += 1;
            assert!(!sound, "{what}: reads meet damage, and the check finds none");
        }
        sound
    }

    /// Whether all answers were right, and nothing was noticed.
    fn read(&mut self, what: &str, opened: Result<Db, Error>, allowed: &[&Contents]) -> bool {
        let db = match opened {
            Ok(db) => db,
            Err(error) => {
                require_located(what, &error);
                return false;
            }
        };
        let forward: Result<Contents, Error> =
            db.scan(..).map(|item| item.map(|(key, value)| (key, value.into_vec()))).collect();
        let backward: Result<Contents, Error> =
            db.scan(..).rev().map(|item| item.map(|(key, value)| (key, value.into_vec()))).collect();
        let mut possible: Vec<&Contents> = allowed.to_vec();
        for scanned in [&forward, &backward] {
            match scanned {
                Ok(contents) => {
                    assert!(allowed.contains(&contents), "{what}: a scan answers {} keys", contents.len());
                    possible = vec![contents];
                }
                Err(error) => require_located(what, error),
            }
        }
        let mut errors = 0;
        // Other keys each time, so that a look is quick and many looks see all.
        self.looks += 1;
        for key in (self.looks % 11..610).step_by(11) {
            let key = key.to_be_bytes();
            match db.get(key) {
                Ok(value) => {
                    let value = value.as_deref();
                    let right =
                        possible.iter().any(|contents| contents.get(&key[..]).map(Vec::as_slice) == value);
                    assert!(right, "{what}: a get of {key:?} answers {value:?}");
                }
                Err(error) => {
                    require_located(what, &error);
                    errors += 1;
                }
            }
        }
        let whole = errors == 0 && forward.is_ok() && backward.is_ok();
        self.corrupt_reads += usize::from(!whole);
        whole
    }
}

/// Damage is named with its place; only what says that it is of another format may be `Invalid`.
fn require_located(what: &str, error: &Error) {
    match error {
        Error::Corrupt { file, .. } => {
            assert!(file.parse::<FileName>().is_ok(), "{what}: damage in {file:?}");
        }
        Error::Invalid { what: told } if told.contains("no database") => {}
        Error::Stopped { cause } => require_located(what, cause),
        error => panic!("{what}: {error:?}"),
    }
}

#[test]
fn a_flipped_byte_is_found_or_does_no_harm() {
    // Some; the simulation's parts `rot-bytes` and `rot-bits` flip all.
    let step = 97;
    let built = [build(Compression::None, 1), build(Compression::Lz4, 1)];
    let mut flips: Vec<(&Built, FileName, usize)> = Vec::new();
    for (round, built) in built.iter().enumerate() {
        // Compression changes nothing but tables.
        let files = built.files.iter().filter(|(name, _)| round == 0 || name.kind == FileKind::SsTable);
        flips.extend(files.flat_map(|(name, bytes)| {
            (round % step..bytes.len()).step_by(step).map(move |offset| (built, *name, offset))
        }));
    }
    let (one, two) = flips.split_at(flips.len() / 2);
    std::thread::scope(|scope| {
        for flips in [one, two] {
            scope.spawn(move || {
                let mut seen = Seen::default();
                for (built, name, offset) in flips {
                    let mut files = built.files.clone();
                    files.get_mut(name).unwrap()[*offset] ^= 0x40;
                    let what = format!("{name} at {offset} of {}", files[name].len());
                    let sound = seen.look(&what, &files, &[&built.contents]);
                    assert!(!sound || name.kind != FileKind::SsTable, "{what}: the check does not find it");
                }
                println!("{seen:?}");
                assert!(seen.corrupt > 0 && seen.corrupt_reads > 0, "{seen:?}");
            });
        }
    });
}

/// An idle database vouches for what is in its log, so that rot there is told from a torn tail.
#[test]
fn rot_in_the_log_of_an_idle_database_is_not_taken_for_a_torn_tail() {
    let disk = Faulty::default();
    let db = Db::open_with(Arc::new(disk.clone()), options(Compression::None)).unwrap();
    // It looks twice before it pays what it owes.
    let idle = || (0..3).for_each(|_| while db.maintain().unwrap() {});
    let files = || -> Files {
        disk.list("test").unwrap().into_iter().map(|name| (name, disk.read_file(name).unwrap())).collect()
    };
    let logs = || -> Files { files().into_iter().filter(|(name, _)| name.kind == FileKind::Wal).collect() };
    let with_rot = || {
        let mut files = files();
        let log = files.values_mut().find_map(|bytes| {
            let at = bytes.windows(7).position(|window| window == b"vouched")?;
            Some(&mut bytes[at])
        });
        *log.expect("the value is in a log") ^= 1;
        Db::open_with(Arc::new(disk_of(&files)), options(Compression::None))
    };
    let empty = logs();
    idle();
    assert_eq!(logs(), empty, "there is nothing to vouch for");
    db.put("key", "vouched for").unwrap();
    let opened = with_rot().expect("it may be torn: nothing behind it says otherwise");
    assert!(opened.get("key").unwrap().is_none());
    idle();
    let marked = logs();
    require_located("rot before a mark", &with_rot().map(|_| ()).expect_err("it was whole once"));
    idle();
    assert_eq!(logs(), marked, "once is enough");
    db.put("another", "value").unwrap();
    idle();
    assert_ne!(logs(), marked);
}

/// What the last log's end may take with it: what lies behind the last record that is left.
fn allowed_if_last(built: &Built, name: FileName) -> Vec<&Contents> {
    let is_last = built.files.keys().rfind(|other| other.kind == FileKind::Wal) == Some(&name);
    let earlier = built.earlier.iter().filter(|_| is_last);
    earlier.chain([&built.contents]).collect()
}

#[test]
fn a_file_cut_short_is_found_or_ends_in_a_prefix() {
    let built = build(Compression::None, 1);
    let mut seen = Seen::default();
    for (name, bytes) in &built.files {
        for len in (0..bytes.len()).step_by(61).chain(bytes.len().saturating_sub(12)..bytes.len()) {
            let mut files = built.files.clone();
            files.get_mut(name).unwrap().truncate(len);
            let what = format!("{name} cut from {} to {len}", bytes.len());
            seen.look(&what, &files, &allowed_if_last(&built, *name));
        }
    }
    assert!(seen.corrupt > 0, "{seen:?}");
}

#[test]
fn bytes_behind_a_files_end_are_found_or_do_no_harm() {
    let built = build(Compression::None, 1);
    let mut seen = Seen::default();
    for name in built.files.keys() {
        for (len, byte) in [(1, 0), (1, 7), (600, 0xFF), (5000, 0), (5000, 0x55)] {
            let mut files = built.files.clone();
            files.get_mut(name).unwrap().extend(vec![byte; len]);
            seen.look(&format!("{name} with {len} times {byte} behind it"), &files, &[&built.contents]);
        }
    }
}

#[test]
fn a_file_in_the_place_of_another_is_found() {
    let built = build(Compression::None, 1);
    let mut seen = Seen::default();
    for (a, of_a) in &built.files {
        for (b, of_b) in built.files.iter().filter(|(b, _)| *b != a) {
            let mut files = built.files.clone();
            files.insert(*b, of_a.clone());
            seen.look(&format!("{a} in the place of {b}"), &files, &allowed_if_last(&built, *b));
            files.insert(*a, of_b.clone());
            seen.look(&format!("{a} and {b} changed round"), &files, &[&built.contents]);
        }
    }
    assert_eq!(seen.harmless, 0, "{seen:?}");
}

/// The blocks of a table, with their trailers: one ends where it is said that it is not packed, and how long it is.
/// FORMAT.md, "Blocks".
fn blocks_of(table: &[u8]) -> Vec<Range<usize>> {
    let (mut blocks, mut start) = (Vec::new(), 80);
    let ends_at = |start: usize, end: usize| {
        table[end] == 0 && table[end + 1..end + 5] == ((end - start) as u32).to_le_bytes()
    };
    while let Some(end) = (start + 1..table.len() - 5).find(|end| ends_at(start, *end)) {
        blocks.push(start..end + 9);
        start = end + 9;
    }
    blocks
}

/// A write that went astray, by a whole block: it has its checksum with it, and nothing around it moves.
#[test]
fn a_whole_block_in_the_place_of_another_is_found() {
    let disk = Faulty::default();
    let roomy = Options { memory_budget_bytes: 1 << 20, ..options(Compression::None) };
    let db = Db::open_with(Arc::new(disk.clone()), roomy).unwrap();
    // Two tables alike, so that blocks stand at the same places; keys and values are all of a length, so that blocks are.
    for table in 0..2_u8 {
        for key in 0..300_u32 {
            db.put((2 * key + u32::from(table)).to_be_bytes(), [table, key as u8].repeat(40)).unwrap();
        }
        db.flush().unwrap();
    }
    let contents = contents_of(&db);
    db.close().unwrap();
    let files: Files =
        disk.list("test").unwrap().into_iter().map(|name| (name, disk.read_file(name).unwrap())).collect();
    let tables = files.iter().filter(|(name, _)| name.kind == FileKind::SsTable);
    let blocks: Vec<(FileName, Range<usize>)> =
        tables.flat_map(|(name, bytes)| blocks_of(bytes).into_iter().map(|block| (*name, block))).collect();
    let mut seen = Seen::default();
    let (mut same_file, mut same_place) = (0, 0);
    for (a, to) in &blocks {
        for (b, from) in blocks.iter().filter(|(_, from)| from.len() == to.len()) {
            let moved = &files[b][from.clone()];
            if *moved == files[a][to.clone()] {
                continue;
            }
            let mut files = files.clone();
            files.get_mut(a).unwrap()[to.clone()].copy_from_slice(moved);
            let what = format!("{from:?} of {b} at {to:?} of {a}");
            assert!(!seen.look(&what, &files, &[&contents]), "{what}: the check does not find it");
            same_file += usize::from(a == b);
            same_place += usize::from(a != b && from == to);
        }
    }
    assert!(same_file > 4 && same_place > 4, "{same_file} in the same file, {same_place} at the same place");
    // The bounds of a table stand in the manifest too, and only the check reads them from the table.
    assert!(seen.harmless <= 2, "{seen:?}");
}

#[test]
fn a_file_of_another_database_is_found() {
    let (built, other) = (build(Compression::None, 1), build(Compression::None, 2));
    let mut seen = Seen::default();
    for (name, bytes) in built.files.keys().filter_map(|name| Some((name, other.files.get(name)?))) {
        let mut files = built.files.clone();
        files.insert(*name, bytes.clone());
        let before = seen.harmless;
        seen.look(&format!("another database's {name}"), &files, &[&built.contents]);
        assert!(seen.harmless == before, "another database's {name} does no harm");
    }
    assert!(seen.corrupt > 4 && seen.harmless == 0, "{seen:?}");
}

#[test]
fn a_missing_file_is_found() {
    let built = build(Compression::None, 1);
    let mut seen = Seen::default();
    // The reserve is nobody's loss.
    for name in built.files.keys().filter(|name| name.kind != FileKind::Reserve) {
        let mut files = built.files.clone();
        files.remove(name);
        seen.look(&format!("without {name}"), &files, &[&built.contents]);
    }
    for kind in FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Reserve) {
        let mut files = built.files.clone();
        files.retain(|name, _| name.kind != kind);
        seen.look(&format!("without any {}", kind.extension()), &files, &[&built.contents]);
    }
    assert_eq!(seen.harmless, 0, "{seen:?}");
}

#[test]
fn an_older_copy_of_a_file_is_found() {
    // What a partial restore makes: files of one moment among those of a later one.
    let built = build(Compression::None, 1);
    let disk = disk_of(&built.files);
    let db = Db::open_with(Arc::new(disk.clone()), options(Compression::None)).unwrap();
    db.put("later", "write").unwrap();
    db.flush().unwrap();
    let later = contents_of(&db);
    db.close().unwrap();
    let names = disk.list("test").unwrap();
    let mut seen = Seen::default();
    for kind in [FileKind::Manifest, FileKind::Wal] {
        let mut files: Files = names.iter().map(|name| (*name, disk.read_file(*name).unwrap())).collect();
        files.retain(|name, _| name.kind != kind);
        files.extend(built.files.iter().filter(|(name, _)| name.kind == kind).map(|(n, b)| (*n, b.clone())));
        seen.look(&format!("every {} of an earlier moment", kind.extension()), &files, &[&later]);
    }
    assert_eq!(seen.harmless, 0, "{seen:?}");
}

/// CRC-32C, bit by bit: the headers' checksum.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn a_later_format_is_named_and_nothing_is_changed() {
    let built = build(Compression::None, 1);
    for (name, bytes) in &built.files {
        let mut files = built.files.clone();
        let mut later = bytes.clone();
        later[8] = 9;
        let crc = crc32c(&later[..76]);
        later[76..80].copy_from_slice(&crc.to_le_bytes());
        files.insert(*name, later);
        let disk = disk_of(&files);
        let opened = Db::open_with(Arc::new(disk.clone()), options(Compression::None));
        let error = match opened {
            // A table is opened when it is read.
            Ok(db) => db
                .scan(..)
                .find_map(Result::err)
                .unwrap_or_else(|| panic!("{name}: a table of a later format was read")),
            Err(error) => {
                let same = files.iter().all(|(name, bytes)| disk.read_file(*name).as_ref() == Some(bytes));
                assert!(same, "{name}: files were changed");
                error
            }
        };
        assert!(matches!(error, Error::Invalid { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains("format 9, which a later build wrote"), "{name}: {error}");
    }
}

/// Every file below `dir`, with its bytes.
fn everything_in(dir: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap_or_default())
        })
        .collect()
}

#[test]
fn a_place_that_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Options { memory_budget_bytes: 1 << 20, ..Options::default() };

    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("notes.txt"), "mine").unwrap();
    for opened in [small().open(&foreign), small().open_read_only(&foreign)] {
        let error = opened.err().expect("somebody else's directory was opened");
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    }
    assert_eq!(everything_in(&foreign), [("notes.txt".to_string(), b"mine".to_vec())].into());

    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let error = small().open(&file).err().expect("a file was opened");
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");

    let missing = dir.path().join("missing");
    let error = small().open_read_only(&missing).err().expect("nothing was opened");
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert!(!missing.exists(), "a reader made a directory");
    let error = small().open(missing.join("deeper")).err().expect("a directory under none was made");
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert!(!missing.exists());

    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let error = small().open_read_only(&empty).err().expect("an empty directory was opened for reading");
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert!(everything_in(&empty).is_empty());
}

#[test]
fn a_place_that_cannot_be_written_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    drop(Db::open(&path).unwrap());
    let before = everything_in(&path);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o500)).unwrap();
    let probe = std::fs::write(path.join("probe"), "");
    if probe.is_ok() {
        // Permissions do not bind root.
        std::fs::remove_file(path.join("probe")).unwrap();
        return;
    }
    let error = Db::open(&path).err().expect("a directory that cannot be written was opened");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("db"), "the place is not named: {error}");
    assert_eq!(everything_in(&path).len(), before.len());
    drop(Db::open(&path).unwrap());
}

#[test]
fn what_is_over_a_limit_is_invalid_and_not_written() {
    let disk = Faulty::default();
    let db = common::open(&disk, 1);
    db.put("before", "1").unwrap();
    let bytes = |disk: &Faulty| -> Vec<_> {
        disk.list("test").unwrap().into_iter().map(|name| disk.read_file(name)).collect()
    };
    let before = bytes(&disk);
    let (long_key, long_value) = (vec![7; 65_536], vec![7; common::TINY as usize / 4]);
    let mut long_batch = Batch::new();
    for key in 0..100_u32 {
        long_batch.put(key.to_be_bytes(), [7; 200]);
    }
    let mut one_bad = Batch::new();
    one_bad.put("good", "1").put(&long_key, "2").durability(Durability::Sync);
    let mut bad_keyspace = Batch::new();
    bad_keyspace.keyspace(255).put("good", "1");
    let refused = [
        db.put(&long_key, "1").err(),
        db.put("key", &long_value).err(),
        db.put_with_expiry(&long_key, "1", u64::MAX).err(),
        db.delete(&long_key).err(),
        db.get(&long_key).err(),
        db.delete_range("b".."a").err(),
        db.write(long_batch).err(),
        db.write(one_bad).err(),
        db.write(bad_keyspace).err(),
        db.keyspace(255).err(),
    ];
    for (index, error) in refused.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("number {index} was not refused"));
        assert!(matches!(error, Error::Invalid { .. }), "number {index}: {error:?}");
    }
    assert_eq!(db.stats().seq, 1);
    assert!(bytes(&disk) == before, "what was refused has changed a file");
    db.put(&long_key[1..], "the longest key").unwrap_err();
    let roomy = Db::open_with(Arc::new(Faulty::default()), common::options(1 << 20, 9)).unwrap();
    roomy.put(&long_key[1..], "the longest key").unwrap();
    assert_eq!(roomy.get(&long_key[1..]).unwrap().unwrap(), "the longest key");
    roomy.flush().unwrap();
    roomy.delete_range(&long_key[1..]..=&long_key[1..]).unwrap();
    assert!(roomy.get(&long_key[1..]).unwrap().is_none());
}

#[test]
fn a_second_opener_is_told_who_holds_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let db = Db::open(&path).unwrap();
    db.put("key", "value").unwrap();
    for opened in [Db::open(&path), Db::open_read_only(&path)] {
        match opened.err() {
            Some(Error::Locked { holder }) => {
                assert!(holder.contains(&std::process::id().to_string()), "{holder}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(verify(Arc::new(Native::read_only(&path).unwrap())), Err(Error::Locked { .. })));
    drop(db);
    let (first, second) = (Db::open_read_only(&path).unwrap(), Db::open_read_only(&path).unwrap());
    assert_eq!(first.get("key").unwrap().unwrap(), "value");
    assert_eq!(second.get("key").unwrap().unwrap(), "value");
    assert!(matches!(Db::open(&path), Err(Error::Locked { .. })));
}

/// An open wrote its manifest and could not sync that manifest's name. The next open took it for the truth, as it stood
/// there, and began a log under it. Then the power failed, which kept the log's name and lost the manifest's: the log bore
/// witness of a manifest that was gone, and a database that had lost nothing was `Corrupt`.
#[test]
fn a_log_bore_witness_against_the_manifest_that_was_left() {
    let disk = Faulty::default();
    let db = common::open(&disk, 1);
    db.put("k", "v").unwrap();
    drop(db);
    let open = |first_id| Db::open_with(Arc::new(disk.clone()), common::options(common::TINY, first_id));
    disk.fail(Fault::nth(1, std::io::ErrorKind::Other).at("manifest.sync_names"));
    assert!(matches!(open(100), Err(Error::Io { .. })));
    let left = Arc::new(Mutex::new(None));
    let place = Arc::clone(&left);
    disk.observe(Some(Box::new(move |disk, site, _| {
        if site == "open.sync_names" {
            let mut without_manifests = |unsynced| match unsynced {
                Unsynced::Created { file } if file.kind == FileKind::Manifest => Fate::Lose,
                _ => Fate::Keep,
            };
            *place.lock().unwrap() = Some(disk.crashed_with(&mut without_manifests));
        }
    })));
    drop(open(200).unwrap());
    let left = left.lock().unwrap().take().expect("names are synced when the log stands");
    assert_eq!(common::contents(&common::open(&left, 300)), [(b"k".to_vec(), b"v".to_vec())]);
}

/// Without a manifest there is no database, unless what stands shows that there was one.
#[test]
fn a_table_without_a_manifest_is_not_overlooked() {
    let opened = |kind, bytes: &[u8]| {
        let disk = Faulty::default();
        disk.write_file(FileName { kind, number: 1 }, bytes);
        Db::open_with(Arc::new(disk), options(Compression::None)).map(drop).map_err(|error| error.to_string())
    };
    // What a first open leaves that did not live to promise anything.
    for bytes in [&b""[..], b"half a header"] {
        assert_eq!(opened(FileKind::Wal, bytes), Ok(()));
    }
    assert_eq!(opened(FileKind::SsTable, b""), Ok(()));
    let told = opened(FileKind::SsTable, b"half a header").unwrap_err();
    assert!(told.contains("000001.sst") && told.contains("no manifest names it"), "{told}");
    let disk = Faulty::default();
    let db = Db::open_with(Arc::new(disk.clone()), options(Compression::None)).unwrap();
    db.put("a", "1").unwrap();
    db.flush().unwrap();
    let whole = disk.read_file(FileName { kind: FileKind::SsTable, number: 1 }).unwrap();
    let told = opened(FileKind::SsTable, &whole).unwrap_err();
    assert!(told.contains("000001.sst") && told.contains("whose manifest is gone"), "{told}");
}
